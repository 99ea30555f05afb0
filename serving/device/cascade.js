/**
 * MTCNN in the browser: the decisions of faceline/faces/mtcnn/cascade.py and faceline/faces/detector.py.
 *
 * Networks are functions (data, shape) => {offsets, scores, landmarks}, of the files that `faceline export` writes.
 */

import { byScore, round, SCORE, squared, suppressed } from "./boxes.js";
import { cut, shrink } from "./resampling.js";

const SCALE_FACTOR = 0.709; // between levels of the pyramid
const [WITHIN_LEVEL, BETWEEN_LEVELS, AFTERWARDS] = [0.5, 0.7, 0.7]; // overlaps that are still allowed
const [REACH, STRIDE] = [12, 2]; // of P-Net: pixels that one answer sees, and between two answers
const CELL = REACH - 1;
const TILE = 512; // pixels of a level that P-Net sees at once: its answers are the same, and memory stays small
const [REFINED, OUTPUT] = [24, 48]; // pixels a side of the patches of R- and O-Net
const SMALLEST = 24; // pixels; of a smaller picture the pyramid has no level
const BATCH = 64; // patches
const f32 = Math.fround;

/** The faces of a picture by descending score: {x, y, width, height, score, landmarks}, pixels. */
export async function detect(picture, networks, settings) {
  const { width, height } = picture;
  if (!settings.enabled) return [{ x: 0, y: 0, width, height, score: 1, landmarks: [] }];
  if (Math.min(width, height) < SMALLEST) return [];
  const [first, second, third] = settings.thresholds;
  let boxes = await propose(picture, networks.pnet, first, settings.min_face_size);
  boxes = await accepted(picture, boxes, networks.rnet, REFINED, second);
  boxes = squared(suppressed(byScore(boxes), AFTERWARDS));
  boxes = await accepted(picture, boxes, networks.onet, OUTPUT, third);
  const faces = suppressed(byScore(boxes), AFTERWARDS, true).map((box) => face(box, picture));
  return faces.sort((a, b) => b.score - a.score || a.x - b.x || a.y - b.y);
}

/** The scales of the levels, the largest first. */
export function scales(width, height, minFaceSize) {
  const levels = round(-(Math.log(Math.min(width, height) / REACH) / Math.log(SCALE_FACTOR) + 1));
  return Array.from({ length: Math.max(0, levels) }, (_, level) => (REACH / minFaceSize) * SCALE_FACTOR ** level);
}

/** How many answers P-Net gives along a side of so many pixels. */
function answers(side) {
  return Math.max(0, Math.ceil((side - 2) / STRIDE) - 4);
}

async function propose(picture, pnet, threshold, minFaceSize) {
  const found = [];
  for (const scale of scales(picture.width, picture.height, minFaceSize)) {
    const [width, height] = [Math.trunc(picture.width * scale), Math.trunc(picture.height * scale)];
    if (!answers(width) || !answers(height)) continue;
    const cells = await searched(shrink(picture, width, height), width, height, pnet, threshold);
    const boxes = cells.map(({ row, column, offsets, score }) => {
      const [left, top] = [column * STRIDE + 1, row * STRIDE + 1];
      const corners = [left, top, left + CELL, top + CELL];
      return [...corners.map((corner, i) => (corner + offsets[i] * CELL) / scale), score];
    });
    found.push(...suppressed(byScore(boxes), WITHIN_LEVEL));
  }
  return squared(suppressed(byScore(found), BETWEEN_LEVELS));
}

/** The cells of a level whose score is above the threshold, row by row. */
async function searched(level, width, height, pnet, threshold) {
  const found = [];
  for (const top of starts(height)) {
    for (const left of starts(width)) {
      const [rows, columns] = [Math.min(TILE, height - top), Math.min(TILE, width - left)];
      const tile = piece(level, width, top, left, rows, columns);
      const { offsets, scores } = await pnet(tile, [1, rows, columns, 3]);
      const across = answers(columns);
      scores.forEach((score, index) => {
        if (!(score > threshold)) return;
        const row = top / STRIDE + Math.floor(index / across);
        const column = left / STRIDE + (index % across);
        found.push({ row, column, score, offsets: offsets.slice(4 * index, 4 * index + 4) });
      });
    }
  }
  return found.sort((a, b) => a.row - b.row || a.column - b.column);
}

/** Where tiles begin along a side: they overlap as far as P-Net's answers reach. */
function starts(side) {
  const found = [];
  for (let start = 0; start < side; start += TILE - REACH + STRIDE) if (answers(side - start)) found.push(start);
  return found;
}

function piece(level, width, top, left, rows, columns) {
  const tile = new Float32Array(rows * columns * 3);
  for (let row = 0; row < rows; row++) {
    const from = 3 * ((top + row) * width + left);
    tile.set(level.subarray(from, from + 3 * columns), 3 * row * columns);
  }
  return tile;
}

/** The boxes that a network says are faces, moved by its offsets, with its score and landmarks, if it has any. */
async function accepted(picture, boxes, network, side, threshold) {
  const kept = [];
  for (let start = 0; start < boxes.length; start += BATCH) {
    const batch = boxes.slice(start, start + BATCH);
    const { offsets, scores, landmarks } = await network(cut(picture, batch, side), [batch.length, side, side, 3]);
    batch.forEach((box, index) => {
      if (!(scores[index] > threshold)) return;
      const [x, y] = box;
      const sides = [box[2] - x + 1, box[3] - y + 1];
      const corners = box.slice(0, SCORE);
      const moved = corners.map((corner, i) => f32(f32(corner) + f32(offsets[4 * index + i] * f32(sides[i % 2]))));
      const points = landmarks ? [...landmarks.slice(10 * index, 10 * index + 10)] : [];
      const placed = points.map((share, i) => f32(i < 5 ? sides[0] * share + x - 1 : sides[1] * share + y - 1));
      kept.push([...moved, scores[index], ...placed]);
    });
  }
  return kept;
}

function face(box, picture) {
  const within = (value, length) => Math.min(Math.max(value, 0), length - 1);
  const [x1, x2] = [box[0], box[2]].map((value) => within(value, picture.width));
  const [y1, y2] = [box[1], box[3]].map((value) => within(value, picture.height));
  const points = box.slice(SCORE + 1).map(round);
  const landmarks = [0, 1, 2, 3, 4].flatMap((point) => [points[point], points[point + 5]]);
  const score = Math.round(box[SCORE] * 1e4) / 1e4; // further digits differ between kinds of processor
  return { x: round(x1), y: round(y1), width: round(x2 - x1), height: round(y2 - y1), score, landmarks };
}
