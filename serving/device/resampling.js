/**
 * Pixels for MTCNN: levels of a picture's pyramid, and patches cut out of it.
 *
 * The arithmetic is that of faceline/faces/mtcnn/resampling.py, in 32 bits step by step, so the numbers are the same.
 * A picture is {width, height, data}: RGB, 3 bytes a pixel, row by row.
 */

const f32 = Math.fround;
const NORMAL = Float32Array.from({ length: 256 }, (_, value) => (value - 127.5) / 128); // exact in 32 bits

/** How `source` pixels are shared out among `target` cells: first and last pixel of each cell, and their weights. */
export function shares(source, target) {
  const length = f32(source / target);
  const start = new Int32Array(target);
  const end = new Int32Array(target);
  const first = new Float32Array(target);
  const last = new Float32Array(target);
  for (let cell = 0; cell < target; cell++) {
    const low = f32(cell * length);
    const high = f32((cell + 1) * length);
    const weight = (pixel) => {
      if (pixel < low) return pixel + 1 > high ? length : f32(pixel + 1 - low);
      return pixel + 1 > high ? f32(high - pixel) : 1;
    };
    start[cell] = Math.floor(low);
    end[cell] = Math.ceil(high);
    first[cell] = weight(start[cell]);
    last[cell] = weight(end[cell] - 1);
  }
  return { start, end, first, last, length };
}

/** The mean of the normalized pixels that each cell covers: Float32Array of height · width · 3. */
export function shrink(picture, width, height) {
  const across = shares(picture.width, width);
  const down = shares(picture.height, height);
  const scale = f32(1 / f32(down.length * across.length));
  const row = 3 * width;
  const level = new Float32Array(height * row);
  let sums = new Float32Array(row);
  let summed = -1; // the row of the picture that `sums` is of; two cells may share one
  const add = (y, weight, at, begin) => {
    const source = Math.min(y, picture.height - 1); // a rounding error may let the last cell reach past the edge
    if (source !== summed) sumAcross(picture, source, across, sums);
    summed = source;
    for (let i = 0; i < row; i++) {
      const part = weight === 1 ? sums[i] : f32(sums[i] * weight);
      level[at + i] = begin ? part : level[at + i] + part;
    }
  };
  for (let y = 0; y < height; y++) {
    const at = y * row;
    const beyond = down.end[y];
    add(down.start[y], down.first[y], at, true);
    for (let between = down.start[y] + 1; between < beyond - 1; between++) add(between, 1, at, false);
    if (down.start[y] + 1 !== beyond) add(beyond - 1, down.last[y], at, false);
    for (let i = at; i < at + row; i++) level[i] *= scale;
  }
  return level;
}

function sumAcross({ data, width }, y, { start, end, first, last }, sums) {
  const row = 3 * y * width;
  const edge = width - 1; // the last cell may reach past it, as above
  for (let x = 0; x < start.length; x++) {
    const from = row + 3 * Math.min(start[x], edge);
    const to = row + 3 * Math.min(end[x] - 1, edge);
    for (let channel = 0; channel < 3; channel++) {
      let total = f32(NORMAL[data[from + channel]] * first[x]);
      if (start[x] + 1 !== end[x]) {
        for (let pixel = start[x] + 1; pixel < end[x] - 1; pixel++) {
          total = f32(total + NORMAL[data[row + 3 * Math.min(pixel, edge) + channel]]);
        }
        total = f32(total + f32(NORMAL[data[to + channel]] * last[x]));
      }
      sums[3 * x + channel] = total;
    }
  }
}

/** Normalized patches of boxes [x1, y1, x2, y2, …], bilinear, 0 outside: Float32Array of n · side · side · 3. */
export function cut(picture, boxes, side) {
  const { width, height, data } = picture;
  const patches = new Float32Array(boxes.length * side * side * 3);
  let at = 0;
  for (const [left, top, right, bottom] of boxes) {
    const columns = places(left, right, width, side);
    const rows = places(top, bottom, height, side);
    for (const row of rows) {
      for (const column of columns) {
        for (let channel = 0; channel < 3; channel++, at++) {
          if (!row.inside || !column.inside) continue;
          const value = (y, x) => NORMAL[data[3 * (y * width + x) + channel]];
          const above = between(value(row.low, column.low), value(row.low, column.high), column.shift);
          const below = between(value(row.high, column.low), value(row.high, column.high), column.shift);
          patches[at] = between(above, below, row.shift);
        }
      }
    }
  }
  return patches;
}

function between(low, high, shift) {
  return f32(low + f32(f32(high - low) * shift));
}

/** Where the points of a patch fall along one side of the picture, and between which of its pixels. */
function places(from, to, length, count) {
  const first = f32(from / length);
  const step = f32(f32(f32(f32(to / length) - first) * f32(length - 1)) / f32(count - 1));
  return Array.from({ length: count }, (_, index) => {
    const place = f32(f32(first * f32(length - 1)) + f32(index * step));
    const low = Math.floor(place);
    return { inside: place >= 0 && place <= length - 1, low, high: Math.ceil(place), shift: f32(place - low) };
  });
}
