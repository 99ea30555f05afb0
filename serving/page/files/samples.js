/** The samples, which are handed to `take` as if they had been chosen; `complain` says why one could not be fetched. */
export class Samples {
  constructor(part, { take, complain }) {
    this.fetching = new AbortController(); // of the sample pressed last
    part("samples").addEventListener("click", async ({ target }) => {
      const sample = target.closest("button");
      if (!sample) return;
      this.cancel();
      const { signal } = (this.fetching = new AbortController());
      const picture = await fetched(`files/${sample.dataset.file}`, signal).catch(() => null);
      if (signal.aborted) return;
      if (picture) take(picture);
      else complain("The server cannot be reached.");
    });
  }

  /** Give up the sample that is on its way: another picture is wanted. */
  cancel() {
    this.fetching.abort();
  }
}

async function fetched(address, signal) {
  const response = await fetch(address, { signal });
  return response.ok ? response.blob() : null;
}
