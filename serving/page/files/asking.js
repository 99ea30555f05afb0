/** Asks the server about a picture; what is too large for it, or unknown to it, is drawn anew as a smaller JPEG first. */

const LONGEST = 2560; // pixels of the longer side of a picture that was scaled down
const QUALITY = 0.92;
const STEP = 0.7; // of its sides, while a JPEG is still too large
const SHORTEST = 320; // pixels of the longer side: where that is too large too, nothing helps
const ATTEMPTS = 4; // while the server is busy
const TOO_SLOW = 408; // the picture did not arrive in time
const TOO_LARGE = 413;
const UNREAD = 415;
const BUSY = 503;
const KEY = /^[!-~]+$/; // what the server's keys are made of, and headers carry

/** The status of a key that is missing or wrong. */
export const UNKNOWN = 401;

/** The server's problem as one sentence. */
export class Refused extends Error {
  constructor({ title, detail, status }) {
    super(`${title}: ${detail}.`);
    this.status = status;
  }
}

/**
 * {answer, note}: what the server says of a picture, and what was done to the picture before, for people.
 *
 * Throws Refused, or an Error whose message is for people, or an AbortError where `signal` broke it off.
 */
export async function ask(picture, { most, say, ...options }) {
  if (picture.size > most) return askSmaller(picture, { most, say, ...options });
  const response = await patiently(picture, { say, ...options });
  if (![TOO_SLOW, TOO_LARGE, UNREAD].includes(response.status)) return { answer: await answered(response) };
  return askSmaller(picture, { most, say, ...options }, response);
}

async function askSmaller(picture, { most, ...options }, refusal) {
  const bitmap = await createImageBitmap(picture, { imageOrientation: "from-image" }).catch(() => null);
  if (!bitmap) {
    if (refusal) return answered(refusal);
    throw new Error("The picture is larger than the server takes, and the browser cannot read it to make it smaller.");
  }
  try {
    for (let longest = Math.min(LONGEST, Math.max(bitmap.width, bitmap.height)); ; longest *= STEP) {
      const last = longest * STEP < SHORTEST;
      const { blob, width, height } = await drawn(bitmap, longest);
      if (blob.size > most && !last) continue;
      const response = await patiently(blob, options);
      // It takes fewer pixels, a server before it fewer bytes, or the way there is slow.
      if ([TOO_SLOW, TOO_LARGE].includes(response.status) && !last) continue;
      return { answer: await answered(response), note: `It was sent as a JPEG of ${width}×${height} pixels.` };
    }
  } finally {
    bitmap.close();
  }
}

async function answered(response) {
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  throw new Refused(body?.title ? body : { title: "The server failed", detail: `status ${response.status}`, status: response.status });
}

async function patiently(picture, { say, signal, ...options }) {
  for (let attempt = 1; ; attempt++) {
    const response = await sent(picture, { signal, ...options });
    if (response.status !== BUSY || attempt === ATTEMPTS || (await tookTooLong(response))) return response;
    say("The server is busy; asking again…");
    await pause(Number(response.headers.get("Retry-After") ?? 1) * attempt, signal);
  }
}

/** Whether the server gave up on this very picture, and would again. */
async function tookTooLong(response) {
  const problem = await response.clone().json().catch(() => null);
  return problem?.type === "urn:faceline:timeout";
}

async function sent(picture, { largest, key, signal }) {
  const body = new FormData();
  body.append("picture", picture, "picture");
  const headers = key ? { "X-API-Key": key } : {};
  if (key && !KEY.test(key)) {
    throw new Refused({ title: "This cannot be the key", detail: "it has a character that no key has", status: UNKNOWN });
  }
  try {
    return await fetch(`../predict?largest=${largest}`, { method: "POST", body, headers, signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new Error("The server cannot be reached.");
  }
}

/** {blob, width, height}: the picture, which is upright, as JPEG on white with a longer side of so many pixels. */
async function drawn(bitmap, longest) {
  const scale = longest / Math.max(bitmap.width, bitmap.height);
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return { blob: await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY)), width, height };
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
