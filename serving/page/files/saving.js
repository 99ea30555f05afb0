/** Saves the picture with its boxes, drawn here; nothing is asked of the server. */

const LONGEST = 4096; // pixels: phones have no larger canvas
const QUALITY = 0.92;

export async function save(picture, boxes) {
  const scale = Math.min(1, LONGEST / Math.max(picture.naturalWidth, picture.naturalHeight));
  const [width, height] = [picture.naturalWidth, picture.naturalHeight].map((side) => Math.round(side * scale));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // what shines through was judged so
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0, width, height);
  context.drawImage(await imageOf(boxes, width, height), 0, 0, width, height);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: "faces.jpg" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // when the browser has surely taken it
}

async function imageOf(boxes, width, height) {
  const copy = boxes.cloneNode(true);
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
  await image.decode();
  return image;
}
