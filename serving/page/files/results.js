/** The picture with its boxes, and the list of its faces; who looks at a face in the list sees its box lit. */

import { counted, outlined, percent } from "./faces.js";

export class Result {
  constructor(part) {
    this.part = part;
    this.address = "";
    part("picture").addEventListener("error", () => this.hidePicture());
  }

  /** Show a picture whose answer is on its way; what was shown before has been cleared. */
  expect(picture) {
    this.address = URL.createObjectURL(picture);
    const image = this.part("picture");
    image.alt = "The picture, not answered yet";
    image.src = this.address;
    this.part("empty").hidden = true;
    this.part("shown").hidden = false;
    this.part("view").classList.add("busy");
    this.part("view").scrollIntoView({ block: "nearest" });
    this.part("result").setAttribute("aria-busy", "true");
  }

  show({ width, height, faces }) {
    const longest = Math.max(width, height);
    const outlines = faces.map((face, index) => outlined(face, index + 1, longest));
    this.part("boxes").setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.part("boxes").replaceChildren(...outlines);
    this.part("faces").replaceChildren(...faces.map((face, index) => listed(face, index + 1, outlines[index])));
    this.part("faces").hidden = faces.length === 0;
    this.part("picture").alt = `The picture. ${counted(faces)}`;
    this.part("save").hidden = faces.length === 0 || this.part("shown").hidden;
  }

  /** Nothing is on its way any more. */
  rest() {
    this.part("view").classList.remove("busy");
    this.part("result").removeAttribute("aria-busy");
  }

  clear() {
    URL.revokeObjectURL(this.address);
    this.part("picture").removeAttribute("src");
    this.part("boxes").replaceChildren();
    this.part("faces").replaceChildren();
    this.part("faces").hidden = this.part("save").hidden = this.part("shown").hidden = true;
    this.part("empty").hidden = false;
  }

  hidePicture() {
    if (!this.part("picture").getAttribute("src")) return;
    this.part("shown").hidden = this.part("save").hidden = true; // a format that the server reads, and the browser does not
    this.part("empty").hidden = false;
  }
}

function listed({ score, age, gender, race }, number, outline) {
  const item = document.createElement("li");
  const button = made("button", "face", `Face ${number}`);
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  item.append(button, ...[age && told("Age", ...aged(age)), gender && label("Gender", gender), race && label("Race", race)].filter(Boolean));
  item.append(made("p", "score", `found with ${percent(score)}`));
  const light = (on) => outline.classList.toggle("lit", on || button.getAttribute("aria-pressed") === "true");
  item.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    light(false);
  });
  for (const [name, on] of [["pointerenter", true], ["pointerleave", false], ["focusin", true], ["focusout", false]]) {
    item.addEventListener(name, () => light(on));
  }
  return item;
}

function aged({ years, low, high }) {
  return [years.toFixed(0), low === null ? "" : `${low.toFixed(0)} to ${high.toFixed(0)} years`];
}

function label(name, { label: most, probability }) {
  const line = told(name, most, percent(probability));
  const bar = made("span", "bar");
  bar.style.setProperty("--share", probability);
  line.append(bar);
  return line;
}

function told(name, value, more) {
  const line = made("p", "line");
  line.append(made("span", "name", `${name} `), made("strong", "", value), made("span", "more", ` ${more}`));
  return line;
}

function made(tag, kind, text = "") {
  const node = document.createElement(tag);
  node.className = kind;
  node.textContent = text;
  return node;
}
