/**
 * What MTCNN decides about boxes, as faceline/faces/mtcnn/boxes.py: their order, suppression, and their squares.
 *
 * A box is [x1, y1, x2, y2, score, …]. It dies of any better box that it overlaps, even of one that is dead itself.
 */

export const SCORE = 4;

/** The boxes by descending score. */
export function byScore(boxes) {
  return [...boxes].sort((a, b) => a[SCORE] - b[SCORE]).reverse();
}

/** The boxes, by descending score, that no better one overlaps too much: over the union, or the smaller one's area. */
export function suppressed(boxes, most, ofSmaller = false) {
  const areas = boxes.map(([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1));
  return boxes.filter((box, worse) => {
    for (let better = 0; better < worse; better++) {
      const other = boxes[better];
      const width = Math.min(box[2], other[2]) - Math.max(box[0], other[0]);
      const height = Math.min(box[3], other[3]) - Math.max(box[1], other[1]);
      const shared = Math.max(0, height) * Math.max(0, width);
      const [mine, its] = [areas[worse], areas[better]];
      if (shared / (ofSmaller ? Math.min(mine, its) : mine + its - shared) > most) return false;
    }
    return true;
  });
}

/** The boxes grown to squares about their centres. */
export function squared(boxes) {
  return boxes.map(([x1, y1, x2, y2, ...rest]) => {
    const [width, height] = [x2 - x1, y2 - y1];
    const side = Math.max(width, height);
    const left = x1 + width * 0.5 - side * 0.5;
    const top = y1 + height * 0.5 - side * 0.5;
    return [left, top, left + side, top + side, ...rest];
  });
}

/** To the nearest whole number, halves to the even one, as Python rounds. */
export function round(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}
