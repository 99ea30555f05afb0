/** From a picture to its faces and what the bundle says of each, in the shape of `faceline predict --json`. */

import { detect } from "./cascade.js";
import { counted, cropFace } from "./cropping.js";

const BATCH = 8; // crops

/** The counted faces of a picture {width, height, data}, by descending score; `models` is of models.js. */
export async function predict(picture, models) {
  const { card } = models;
  const faces = counted(await detect(picture, models, card.detect), card.crop);
  const found = [];
  for (let start = 0; start < faces.length; start += BATCH) {
    const batch = faces.slice(start, start + BATCH);
    const answers = await models.predictor(...together(picture, batch, card.crop));
    found.push(...batch.map((face, index) => record(face, answers, index, card)));
  }
  return found;
}

function together(picture, faces, settings) {
  const { size } = settings;
  const crops = new Uint8Array(3 * size * size * faces.length);
  faces.forEach((face, index) => crops.set(cropFace(picture, face, settings).data, 3 * size * size * index));
  return [crops, [faces.length, size, size, 3]];
}

function record({ x, y, width, height, score }, answers, index, { labels }) {
  const found = { box: { x, y, width, height }, score };
  if (answers.age) {
    const bound = (name) => (answers[name] ? answers[name][index] : null);
    found.age = { years: answers.age[index], low: bound("age_low"), high: bound("age_high") };
  }
  if (answers.female_probability) {
    const [male, female] = labels.gender;
    const probability = answers.female_probability[index];
    found.gender = mostLikely({ [female]: probability, [male]: 1 - probability });
  }
  if (answers.race_probabilities) {
    const row = answers.race_probabilities.slice(index * labels.race.length, (index + 1) * labels.race.length);
    found.race = mostLikely(Object.fromEntries(labels.race.map((label, code) => [label, row[code]])));
  }
  return found;
}

function mostLikely(probabilities) {
  const [label, probability] = Object.entries(probabilities).reduce((best, each) => (each[1] > best[1] ? each : best));
  return { label, probability, probabilities };
}
