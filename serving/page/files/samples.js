/** The samples: `begin` is told that one is wanted, and `take` is handed it, as if it had been chosen. */

export class Samples {
  constructor(part, { begin, take, say, complain }) {
    this.fetching = new AbortController(); // of the sample pressed last
    part("samples").addEventListener("click", async ({ target }) => {
      const sample = target.closest("button");
      if (!sample) return;
      begin();
      say("Fetching the sample…");
      const { signal } = (this.fetching = new AbortController());
      const picture = await fetched(`files/${sample.dataset.file}`, signal).catch(() => null);
      if (signal.aborted) return;
      if (picture) {
        take(picture);
        return;
      }
      say("");
      complain("The server cannot be reached.");
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
