/** The files of `faceline export`, opened by ONNX Runtime's WebAssembly; each network is a function of its input. */

import * as ort from "./vendor/ort.wasm.bundle.min.mjs";

const DETECTOR = ["pnet", "rnet", "onet"];

// One thread needs no special headers of the server, and a single worker of its own keeps the page awake.
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: new URL("./vendor/ort-wasm-simd-threaded.wasm", import.meta.url).href };

/**
 * {card, predictor, pnet, rnet, onet} of a folder; the last three only where the card's detector is on.
 *
 * `tell(done, total)` is called with bytes while they come.
 */
export async function loadModels(folder, tell) {
  const [about, card] = await Promise.all([json(new URL("export.json", folder)), json(new URL("card.json", folder))]);
  const names = ["predictor", ...(card.detect.enabled ? DETECTOR : [])];
  const total = names.reduce((sum, name) => sum + about.files[`${name}.onnx`].bytes, 0);
  let done = 0;
  const count = (bytes) => tell((done += bytes), total);
  const models = { card };
  for (const name of names) {
    const file = `${name}.onnx`;
    const bytes = await fetched(new URL(file, folder), about.files[file].bytes, count);
    models[name] = asked(await ort.InferenceSession.create(bytes));
  }
  return models;
}

async function json(url) {
  return (await answer(url)).json();
}

async function answer(url) {
  const response = await fetch(url, { cache: "no-cache" }); // files of two bundles do not fit together
  if (!response.ok) throw new Error(`${url.pathname} is not there (${response.status}). Was the page built?`);
  return response;
}

async function fetched(url, size, count) {
  const bytes = new Uint8Array(size);
  const reader = (await answer(url)).body.getReader();
  let at = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    bytes.set(part.value, at);
    at += part.value.length;
    count(part.value.length);
  }
  if (at !== size) throw new Error(`${url.pathname} has ${at} bytes, not ${size}.`);
  return bytes;
}

/** (data, shape) => the outputs' data by name. */
function asked(session) {
  const [name] = session.inputNames;
  return async (data, shape) => {
    const type = data instanceof Uint8Array ? "uint8" : "float32";
    const outputs = await session.run({ [name]: new ort.Tensor(type, data, shape) });
    return Object.fromEntries(Object.entries(outputs).map(([output, tensor]) => [output, tensor.data]));
  };
}
