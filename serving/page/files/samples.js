/** The samples, which are handed to `take` as if they had been chosen; `complain` says why one could not be fetched. */
export function samples(part, take, complain) {
  let newest = null; // the sample asked for last; a slower one before it is not wanted any more
  part("samples").addEventListener("click", async ({ target }) => {
    const sample = target.closest("button");
    if (!sample) return;
    newest = sample;
    const response = await fetch(`files/${sample.dataset.file}`).catch(() => null);
    const picture = response?.ok ? await response.blob() : null;
    if (newest !== sample) return;
    if (picture) take(picture);
    else complain("The server cannot be reached.");
  });
}
