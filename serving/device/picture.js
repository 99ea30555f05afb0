/** From a file to upright RGB pixels, as faceline/faces/decoding.py: EXIF orientation honoured, alpha on white. */

const STRIP = 4_000_000; // pixels drawn at once: phones have no canvas for a large photo

/**
 * {width, height, data}: RGB, 3 bytes a pixel.
 *
 * Throws an Error whose message is for people where the file is no picture that the browser reads, or one of a size
 * that the card does not allow.
 */
export async function decode(file, { max_pixels: most, min_side: least }) {
  const bitmap = await bitmapOf(file);
  const { width, height } = bitmap;
  try {
    if (width * height > most) throw new Error(`${width}×${height} is more than ${most} pixels.`);
    if (Math.min(width, height) < least) throw new Error(`${width}×${height} has a side below ${least} pixels.`);
    return { width, height, data: pixels(bitmap) };
  } finally {
    bitmap.close();
  }
}

async function bitmapOf(file) {
  try {
    // Pillow does not convert colours by a profile either.
    return await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new Error("This file is not a picture that the browser can read.");
  }
}

function pixels(bitmap) {
  const { width, height } = bitmap;
  const data = new Uint8Array(3 * width * height);
  const rows = Math.min(height, Math.max(1, Math.floor(STRIP / width)));
  const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  let at = 0;
  for (let top = 0; top < height; top += rows) {
    context.fillRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, -top);
    const strip = context.getImageData(0, 0, width, Math.min(rows, height - top)).data;
    for (let i = 0; i < strip.length; i += 4, at += 3) {
      data[at] = strip[i];
      data[at + 1] = strip[i + 1];
      data[at + 2] = strip[i + 2];
    }
  }
  return data;
}
