// When states ran, row by row: visits in the order they were entered, those inside a Map or Parallel below it.
// Of a Map's iterations a thousand are shown at a time.

import type { Trace, Visit } from '../backend/types';

export const PAGE = 1_000;

export type PieceKind = 'work' | 'wait' | 'failed' | 'retry';

export interface Row {
  visit: number;
  it: Visit;
  depth: number;
  from: number;
  /** Absent while it runs. */
  to: number | null;
  pieces: { from: number; to: number | null; kind: PieceKind }[];
  /** Of a Map: how many iterations began, and which thousand of them is shown. */
  iterations: number;
  page: number;
  holds: boolean;
  open: boolean;
}

/** What is computed once for a trace. */
export interface Index {
  children: Map<number | null, number[]>;
  events: number[][];
}

export function index(trace: Trace): Index {
  const children: Index['children'] = new Map();
  trace.visits.forEach((visit, n) => {
    const siblings = children.get(visit.parent);
    if (siblings) siblings.push(n);
    else children.set(visit.parent, [n]);
  });
  const events: number[][] = trace.visits.map(() => []);
  trace.events.forEach((event, n) => {
    if (event.visit !== null) events[event.visit]!.push(n);
  });
  return { children, events };
}

/** The iteration that a visit is in, of the Map right around it. */
function iterationOf(trace: Trace, n: number): number | null {
  let at: number | null = n;
  const parent = trace.visits[n]!.parent;
  while (at !== null && trace.visits[at]!.parent === parent) {
    const { iteration, after }: Visit = trace.visits[at]!;
    if (iteration !== null) return iteration;
    at = after;
  }
  return null;
}

/** How many iterations of each Map began. */
export function iterations(trace: Trace, index: Index): Map<number, number[]> {
  const found = new Map<number, number[]>();
  for (const [parent, inner] of index.children) {
    if (parent === null || trace.visits[parent]!.kind !== 'Map') continue;
    found.set(
      parent,
      inner.map((n) => iterationOf(trace, n) ?? 0),
    );
  }
  return found;
}

function pieces(trace: Trace, events: number[], visit: Visit): Row['pieces'] {
  const time = (n: number) => trace.events[n]!.time;
  const end = visit.exited === undefined ? null : time(visit.exited);
  if (visit.kind === 'Wait') return [{ from: time(visit.entered), to: end, kind: 'wait' }];
  const found: Row['pieces'] = [];
  let since = time(visit.entered);
  let under: PieceKind = 'work';
  for (const n of events) {
    const type = trace.events[n]!.type;
    const at = time(n);
    if (type.endsWith('Scheduled')) {
      if (at > since) found.push({ from: since, to: at, kind: under });
      [since, under] = [at, 'work'];
    } else if (/(Failed|TimedOut)$/.test(type) && !/^(Execution|MapIteration)/.test(type)) {
      found.push({ from: since, to: at, kind: 'failed' });
      [since, under] = [at, 'retry'];
    }
  }
  const over = end ?? (visit.status === 'failed' || visit.status === 'aborted' ? trace.events[events[events.length - 1] ?? visit.entered]!.time : null);
  if (over === null || over > since || !found.length) found.push({ from: since, to: over, kind: under });
  return found;
}

/** The rows, without collapsed ones. `pages` says which thousand of a Map's iterations is shown. */
export function rows(trace: Trace, of: Index, maps: Map<number, number[]>, folded: Set<number>, pages: Map<number, number>): Row[] {
  const found: Row[] = [];
  const stack: { n: number; depth: number }[] = [];
  const push = (parent: number | null, depth: number, keep: (at: number) => boolean) => {
    const inner = of.children.get(parent) ?? [];
    for (let at = inner.length - 1; at >= 0; at--) if (keep(at)) stack.push({ n: inner[at]!, depth });
  };
  push(null, 0, () => true);
  while (stack.length) {
    const { n, depth } = stack.pop()!;
    const it = trace.visits[n]!;
    const numbers = maps.get(n);
    const count = numbers ? numbers.reduce((most, at) => Math.max(most, at + 1), 0) : 0;
    const page = pages.get(n) ?? 0;
    const holds = of.children.has(n);
    const open = holds && !folded.has(n);
    found.push({
      visit: n, it, depth, iterations: count, page, holds, open,
      from: trace.events[it.entered]!.time,
      to: it.exited === undefined ? null : trace.events[it.exited]!.time,
      pieces: pieces(trace, of.events[n]!, it),
    });
    if (open) push(n, depth + 1, (at) => !numbers || Math.floor(numbers[at]! / PAGE) === page);
  }
  return found;
}
