/** The ways by which a picture comes in: chosen, dropped, pasted, or one of the samples. */

import { pictureIn } from "./faces.js";

export function sources(part, take) {
  part("file").addEventListener("change", ({ target }) => {
    take(target.files[0]);
    target.value = ""; // so that the same file can be chosen again
  });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      part("view").classList.add("over");
    });
  }
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) part("view").classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    part("view").classList.remove("over");
    take(pictureIn(event.dataTransfer));
  });
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files.length > 0) take(pictureIn(clipboardData));
  });
  part("samples").addEventListener("click", async ({ target }) => {
    const sample = target.closest("button");
    if (!sample) return;
    const response = await fetch(`files/${sample.dataset.file}`);
    take(await response.blob());
  });
}
