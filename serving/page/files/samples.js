/** The samples, which are handed to `take` as if they had been chosen. */
export function samples(part, take) {
  part("samples").addEventListener("click", async ({ target }) => {
    const sample = target.closest("button");
    if (!sample) return;
    const response = await fetch(`files/${sample.dataset.file}`);
    take(await response.blob());
  });
}
