/** What people see and do: a picture comes in, the server is asked, and its answer is shown. */

import { ask, Refused, UNKNOWN } from "./asking.js";
import { Camera } from "./camera.js";
import { counted, percent, told } from "./faces.js";
import { incoming } from "./incoming.js";
import { Result } from "./results.js";
import { Samples } from "./samples.js";
import { save } from "./saving.js";

const KEY = "faceline-key"; // in the storage of this tab

/** Bring the page to life; `root` holds page.html, which is inert until then. */
export function start(root) {
  const part = (id) => root.querySelector(`#${id}`);
  const result = new Result(part);
  const camera = new Camera(part, { begin, take, say, complain });
  const samples = new Samples(part, { begin, take, say, complain });
  const { most, key } = part("faceline").dataset;
  let asking = new AbortController(); // the newest question; older ones are broken off
  let newest = null;

  /** Give up what is shown and what is on its way: something else is wanted. */
  function begin() {
    asking.abort();
    samples.cancel();
    camera.close();
    newest = null;
    result.clear();
    result.rest();
    complain("");
    say("");
  }

  async function take(picture) {
    if (!picture) return;
    begin();
    newest = picture;
    const { signal } = (asking = new AbortController());
    say("Looking for faces…");
    result.expect(picture);
    try {
      const options = { largest: part("largest").checked, key: part("key")?.value.trim(), most: Number(most) };
      const { answer, note } = await ask(picture, { ...options, signal, say });
      if (signal.aborted) return;
      result.show(answer);
      say([spoken(answer.faces), note].filter(Boolean).join(" "));
    } catch (error) {
      if (signal.aborted) return; // whatever became of it
      result.clear();
      say("");
      complain(error.message);
      if (error instanceof Refused && error.status === UNKNOWN) part("key")?.focus();
    }
    result.rest();
  }

  function say(text) {
    part("status").textContent = text;
  }

  function complain(text) {
    part("error").textContent = text;
    part("error").hidden = !text;
  }

  incoming(part("file"), part("view"), take);
  part("largest").addEventListener("change", () => take(newest));
  part("save").addEventListener("click", () => save(part("picture"), part("boxes")));
  if (part("key")) remember(part("key"));
  if (key !== "true") introduce(part("bundle"));
  part("faceline").inert = false;
}

function spoken(faces) {
  const [face] = faces;
  return faces.length === 1 ? `${counted(faces).replace(".", ":")} ${told(face)}.` : counted(faces);
}

function remember(field) {
  try {
    field.value = sessionStorage.getItem(KEY) ?? "";
    field.addEventListener("input", () => sessionStorage.setItem(KEY, field.value));
  } catch {
    // The browser keeps nothing of this site: the key has to be typed again each time.
  }
}

/** Say which bundle answers and how far it was off where that was measured; nothing while the server starts. */
async function introduce(place) {
  const response = await fetch("../model").catch(() => null);
  if (!response?.ok) return;
  const { dataset, validation, age_interval: interval } = await response.json();
  const agreed = [
    validation.gender && `${percent(validation.gender.accuracy)} of genders`,
    validation.race && `${percent(validation.race.accuracy)} of races`,
  ].filter(Boolean);
  const sentences = [
    `It was trained on ${dataset}.`,
    validation.age && `On ${validation.rows} further faces it was ${validation.age.mae.toFixed(1)} years off on average.`,
    agreed.length > 0 && `It agreed with the labels in ${agreed.join(" and ")}.`,
    interval && `Its ranges of age are meant to hold ${percent(interval.coverage)} of the true ones.`,
  ];
  place.textContent = sentences.filter(Boolean).join(" ");
}
