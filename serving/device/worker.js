/** The work beside the page: opens the models once, then answers {id, file} with {id, width, height, faces}. */

import { loadModels } from "./models.js";
import { decode } from "./picture.js";
import { predict } from "./predictor.js";

const models = loadModels(new URL("models/", import.meta.url), (done, total) => postMessage({ done, total }));

models.then(
  ({ card }) => postMessage({ ready: { licence: card.licence, dataset: card.dataset } }),
  (error) => postMessage({ failed: error.message }),
);

onmessage = async ({ data: { id, file } }) => {
  try {
    const loaded = await models;
    const picture = await decode(file, loaded.card.decode);
    const faces = await predict(picture, loaded);
    postMessage({ id, width: picture.width, height: picture.height, faces });
  } catch (error) {
    postMessage({ id, error: error.message });
  }
};
