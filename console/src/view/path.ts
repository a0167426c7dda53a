// Paths of a picture, from the numbers that the server sends.

import type { Edge, Path, Picture } from '../backend/types';

const CATCH = 1;
const HEAD_AT_FROM = 2;
const HEAD_AT_TO = 4;
/** From the lower point to the upper one; the fifth number is how far it reaches to the right. */
const LOOP_AT_RIGHT = 8;

export const wayOf = ([, , , , , , flags]: Path): 'next' | 'catch' => (flags & CATCH ? 'catch' : 'next');
export const headsOf = ([, , , , , , flags]: Path): [boolean, boolean] => [(flags & HEAD_AT_FROM) > 0, (flags & HEAD_AT_TO) > 0];

/** As SVG has it. */
export function lineOf([x1, y1, x2, y2, from, to, flags]: Path): string {
  if (flags & LOOP_AT_RIGHT) return `M${x1} ${y1}C${from} ${y1 + 10} ${from} ${y2 - 10} ${x2} ${y2}`;
  if (Math.abs(x1 - x2) < 0.5) return `M${x1} ${y1}L${x2} ${y2}`;
  const middle = (from + to) / 2;
  // A line without a length has no direction, and the arrow at its end would lie on its side.
  const down = (before: number, to: number) => (Math.abs(before - to) < 0.05 ? '' : `V${to}`);
  return `M${x1} ${y1}${down(y1, from)}C${x1} ${middle} ${x2} ${middle} ${x2} ${to}${down(to, y2)}`;
}

export const boxOf = ([x1, y1, x2, y2, from, , flags]: Path): [number, number, number, number] =>
  flags & LOOP_AT_RIGHT ? [x1, y2 - 10, from, y1 + 10] : [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];

/** The indices of all paths of an edge. */
export function pathsOf(picture: Picture, edge: Edge | undefined): number[] {
  const all: number[] = [];
  for (let at = 0, it = edge; it; ) {
    for (; at < it.paths.length; at++) all.push(it.paths[at]!);
    if (!it.joins) break;
    at = it.joins[1];
    it = picture.edges[it.joins[0]];
  }
  return all;
}
