/** How a picture comes in from people, here and on the server's page (`serving/page`): chosen, dropped or pasted. */

/** Hand each picture to `take`: of the input `file`, or dropped or pasted anywhere, which lights up `zone`. */
export function incoming(file, zone, take) {
  file.addEventListener("change", () => {
    take(file.files[0]);
    file.value = ""; // so that the same file can be chosen again
  });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) zone.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take(pictureIn(event.dataTransfer));
  });
  document.addEventListener("paste", ({ clipboardData }) => take(pictureIn(clipboardData)));
}

/** The picture among what was dropped or pasted; else its first file, so that it can be refused; none of mere text. */
function pictureIn({ files }) {
  return [...files].find((file) => file.type.startsWith("image/")) ?? files[0];
}
