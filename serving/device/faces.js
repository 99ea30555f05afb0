/** How a face is drawn and told, here and on the server's page (`serving/page`). */

const SVG = "http://www.w3.org/2000/svg";

/** A face's box with its number and age, in pixels of a picture whose longer side is `longest`. */
export function outlined({ box, age }, number, longest) {
  const size = Math.max(longest / 40, Math.min(box.width / 5, longest / 20));
  const { x, y, width, height } = box;
  const frame = drawn("rect", { x, y, width, height, fill: "none", stroke: "#5fd3bb", "stroke-width": longest / 250 });
  const text = drawn("text", {
    x,
    y: y > size ? y - size / 4 : y + size,
    "font-size": size,
    "font-weight": 700,
    "font-family": "system-ui, sans-serif",
    fill: "#ffffff",
    stroke: "#000000",
    "stroke-width": size / 6,
    "paint-order": "stroke",
  });
  text.textContent = age ? `${number}: ${age.years.toFixed(0)}` : `${number}`;
  const group = drawn("g", {});
  group.append(frame, text);
  return group;
}

/** A face as one line. */
export function told({ box, score, age, gender, race }) {
  const parts = [
    age && `age ${yearsOf(age)}`,
    gender && likely(gender),
    race && likely(race),
    `box ${box.width}×${box.height} at ${box.x}, ${box.y}, found with ${percent(score)}`,
  ];
  return parts.filter(Boolean).join("; ");
}

/** How many faces were found, as a sentence. */
export function counted(faces) {
  if (faces.length === 0) return "No face was found.";
  return faces.length === 1 ? "1 face was found." : `${faces.length} faces were found.`;
}

export function percent(share) {
  return `${Math.round(share * 100)}\u00a0%`;
}

function yearsOf({ years, low, high }) {
  return low === null ? years.toFixed(0) : `${years.toFixed(0)} (${low.toFixed(0)} to ${high.toFixed(0)})`;
}

function likely({ label, probability }) {
  return `${label} ${percent(probability)}`;
}

function drawn(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}
