/**
 * From a picture and a face in it to the square crop that networks see, as faceline/faces/cropping.py.
 *
 * Resizing is Pillow's, bit for bit (Resample.c: LANCZOS in fixed point, first across, then down).
 */

import { round } from "./boxes.js";

const WHITE = 255;
const LARGEST = 4096; // pixels a side of the square that is cut out, four times the largest crop
const LOBES = 3; // of Lanczos's kernel, on each side
const BITS = 22; // behind the point, of a weight
const HALF = 1 << (BITS - 1);

/** The faces whose score is high enough to be counted, compared as float32, as the pipeline does. */
export function counted(faces, settings) {
  return faces.filter((face) => Math.fround(face.score) >= Math.fround(settings.min_score));
}

/** The crop of a face by the card's settings: {width, height, data}, size · size pixels of RGB. */
export function cropFace(whole, found, settings) {
  const [picture, face] = bounded(whole, found, settings.margin);
  const [width, height] = [face.width, face.height].map((side) => side * (1 + 2 * settings.margin));
  const side = Math.max(1, Math.ceil(Math.max(width, height)));
  const across = settings.fill === "picture" ? side : Math.ceil(width);
  const down = settings.fill === "picture" ? side : Math.ceil(height);
  const left = round(face.x + face.width / 2 - across / 2);
  const top = round(face.y + face.height / 2 - down / 2);
  const tilted = settings.align && face.landmarks.length > 0;
  const region = tilted
    ? turned(picture, left, top, across, down, tilt(face.landmarks))
    : taken(picture, left, top, across, down);
  const square = taken(region, -Math.floor((side - across) / 2), -Math.floor((side - down) / 2), side, side);
  return resized(square, settings.size);
}

/** The picture and the face in it, reduced where the square around the face would have more than LARGEST pixels. */
function bounded(picture, face, margin) {
  const factor = Math.ceil((Math.max(face.width, face.height) * (1 + 2 * margin)) / LARGEST);
  if (factor <= 1) return [picture, face];
  const places = (values) => values.map((value) => round(value / factor));
  const [x, y, width, height] = places([face.x, face.y, face.width, face.height]);
  return [reduced(picture, factor), { ...face, x, y, width, height, landmarks: places(face.landmarks) }];
}

/** The means of `factor` · `factor` pixels, of fewer at the right and lower edge, rounded as Pillow's Reduce.c does. */
export function reduced(picture, factor) {
  const [width, height] = [picture.width, picture.height].map((side) => Math.ceil(side / factor));
  const data = new Uint8Array(3 * width * height);
  for (let y = 0, at = 0; y < height; y++) {
    const [top, bottom] = [y * factor, Math.min((y + 1) * factor, picture.height)];
    for (let x = 0; x < width; x++) {
      const [left, right] = [x * factor, Math.min((x + 1) * factor, picture.width)];
      const pixels = (right - left) * (bottom - top);
      const share = Math.trunc(Math.fround(2 ** 24 / pixels)); // of one pixel, in 24 bits behind the point
      for (let channel = 0; channel < 3; channel++) {
        let sum = Math.trunc(pixels / 2);
        for (let row = top; row < bottom; row++) {
          const end = 3 * (row * picture.width + right);
          for (let i = 3 * (row * picture.width + left) + channel; i < end; i += 3) sum += picture.data[i];
        }
        data[at++] = (sum * share) >>> 24;
      }
    }
  }
  return { width, height, data };
}

/** The pixels of a box, white where it reaches over the picture's edge. */
export function taken(picture, left, top, width, height) {
  const data = new Uint8Array(3 * width * height).fill(WHITE);
  const [from, to] = [Math.max(left, 0), Math.min(left + width, picture.width)];
  for (let y = Math.max(top, 0); from < to && y < Math.min(top + height, picture.height); y++) {
    const row = 3 * y * picture.width;
    data.set(picture.data.subarray(row + 3 * from, row + 3 * to), 3 * ((y - top) * width + from - left));
  }
  return { width, height, data };
}

/** A square picture with `size` pixels a side. */
export function resized(square, size) {
  if (square.width === size) return square;
  const kernel = weights(square.width, size);
  const narrow = passed(square.data, kernel, square.height, 3, 3 * square.width, 3 * size);
  const data = passed(narrow, kernel, size, 3 * size, 3, 3);
  return { width: size, height: size, data };
}

/** Of each new pixel the first old one that it takes from, and the weights of that and the next ones. */
function weights(from, to) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = LOBES * stretch;
  return Array.from({ length: to }, (_, pixel) => {
    const centre = (pixel + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const beyond = Math.min(Math.trunc(centre + support + 0.5), from);
    const found = [];
    for (let x = first; x < beyond; x++) found.push(lanczos((x - centre + 0.5) * (1 / stretch)));
    const total = found.reduce((sum, weight) => sum + weight, 0);
    const fixed = found.map((weight) => (weight / total) * (1 << BITS));
    return { first, factors: Int32Array.from(fixed, (weight) => Math.trunc(weight + (weight < 0 ? -0.5 : 0.5))) };
  });
}

function lanczos(x) {
  return x >= -LOBES && x < LOBES ? sinc(x) * sinc(x / LOBES) : 0;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/**
 * One pass along so many lines: rows whose pixels are `step` bytes apart, or columns. From line to line it is `line`
 * bytes in the old data, `newLine` in the new.
 */
function passed(data, kernel, lines, step, line, newLine) {
  const result = new Uint8Array(3 * kernel.length * lines);
  for (let index = 0; index < lines; index++) {
    kernel.forEach(({ first, factors }, pixel) => {
      for (let channel = 0; channel < 3; channel++) {
        let at = index * line + first * step + channel;
        let sum = HALF;
        for (let i = 0; i < factors.length; i++, at += step) sum = (sum + Math.imul(data[at], factors[i])) | 0;
        result[index * newLine + pixel * step + channel] = Math.min(Math.max(sum >> BITS, 0), 255);
      }
    });
  }
  return result;
}

/** The angle of the line from the left to the right eye of the picture, radians, clockwise from level. */
function tilt([leftX, leftY, rightX, rightY]) {
  return Math.atan2(rightY - leftY, rightX - leftX);
}

/** The pixels of a box that is turned clockwise about its centre by an angle, bicubic. */
function turned(picture, left, top, width, height, angle) {
  const reach = Math.ceil(Math.hypot(width, height) / 2) + 2;
  const [x, y] = [left + Math.floor(width / 2), top + Math.floor(height / 2)];
  const around = taken(picture, x - reach, y - reach, 2 * reach, 2 * reach);
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const startX = left + width / 2 - x + reach - (cos * width - sin * height) / 2;
  const startY = top + height / 2 - y + reach - (sin * width + cos * height) / 2;
  const data = new Uint8Array(3 * width * height);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const [u, v] = [column + 0.5, row + 0.5];
      const [sourceX, sourceY] = [cos * u - sin * v + startX - 0.5, sin * u + cos * v + startY - 0.5];
      for (let channel = 0; channel < 3; channel++) data[at++] = bicubic(around, sourceX, sourceY, channel);
    }
  }
  return { width, height, data };
}

/** The value between pixels, as Pillow's bicubic filter (Geometry.c) has it, which cuts off what is behind the point. */
function bicubic({ width, data }, x, y, channel) {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const rows = [-1, 0, 1, 2].map((row) => {
    const start = 3 * ((top + row) * width + left) + channel;
    return cubic(data[start - 3], data[start], data[start + 3], data[start + 6], x - left);
  });
  return Math.min(Math.max(Math.trunc(cubic(...rows, y - top)), 0), 255);
}

function cubic(a, b, c, d, shift) {
  return b + shift * (c - a + shift * (2 * (a - b) + c - d + shift * (b - a + d - c)));
}
