/** What people see: takes a picture by choice, drop or paste, hands it to the worker, and shows what comes back. */

import { counted, outlined, told } from "./faces.js";
import { incoming } from "./incoming.js";

const MEGABYTE = 1e6;
const element = (id) => document.getElementById(id);
const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
let asked = 0; // the number of the newest picture; answers to older ones are not shown
let address = "";
let broken = false; // whether the worker cannot answer at all, which stays on the page

worker.onmessage = ({ data }) => {
  if (data.total) loading(data);
  else if (data.ready) ready(data.ready);
  else if (data.failed) failed(data.failed);
  else if (data.id === asked) shown(data);
};
worker.onerror = () => {
  broken = true;
  failed("The networks could not be started: the page was not built, or this browser is too old.");
};

incoming(element("file"), element("drop"), take);

function take(file) {
  if (!file || broken) return;
  asked += 1;
  element("error").hidden = true;
  element("result").hidden = true;
  say("Looking for faces…");
  URL.revokeObjectURL(address);
  address = URL.createObjectURL(file);
  element("picture").src = address;
  worker.postMessage({ id: asked, file });
}

function loading({ done, total }) {
  element("progress").value = done / total;
  if (!asked) say(`Loading the networks: ${megabytes(done)} of ${megabytes(total)} MB`);
}

function ready({ licence, dataset }) {
  element("progress").hidden = true;
  element("licence").textContent = `Trained on the dataset ${dataset}: ${licence}.`;
  if (!asked) say("Ready.");
}

function failed(message) {
  element("progress").hidden = true;
  say("");
  complain(message);
}

function complain(message) {
  element("error").textContent = message;
  element("error").hidden = false;
}

function shown({ error, faces, width, height }) {
  if (error) {
    say("");
    complain(error);
    return;
  }
  say(counted(faces));
  element("boxes").setAttribute("viewBox", `0 0 ${width} ${height}`);
  element("boxes").replaceChildren(...faces.map((face, index) => outlined(face, index + 1, Math.max(width, height))));
  element("faces").replaceChildren(...faces.map(listed));
  element("json").textContent = JSON.stringify({ width, height, faces }, null, 2);
  element("picture").alt = `The chosen picture; ${element("status").textContent}`;
  element("result").hidden = false;
}

function listed(face) {
  const item = document.createElement("li");
  item.textContent = told(face);
  return item;
}

function megabytes(bytes) {
  return (bytes / MEGABYTE).toFixed(0);
}

function say(text) {
  element("status").textContent = text;
}
