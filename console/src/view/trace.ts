import type { Picture, Trace } from '../backend/types';

export type Status = '' | 'open' | 'succeeded' | 'caught' | 'failed' | 'aborted';

/** Colours shown in place of a run: states by name, edges by index. */
export interface Overlay {
  states: Map<string, { status: Status; visits: number }>;
  edges: Set<number>;
}

export interface Moment {
  /** By name. */
  states: Map<string, { status: Status; visits: number }>;
  /** Pairs of names that were passed, `from\nto`. */
  passed: Set<string>;
  /** The visit that the last event is about. */
  visit: number | null;
}

/** The statuses after the event at this index. */
export function at(trace: Trace, place: number): Moment {
  const states: Moment['states'] = new Map();
  const passed = new Set<string>();
  const last = place >= trace.events.length - 1;
  for (const visit of trace.visits) {
    if (visit.entered > place) continue;
    const over = visit.exited !== undefined ? visit.exited <= place : last;
    const status: Status = over ? visit.status : 'open';
    const before = states.get(visit.state);
    states.set(visit.state, { status, visits: (before?.visits ?? 0) + 1 });
    const from = visit.after === null ? '' : (trace.visits[visit.after]?.state ?? '');
    passed.add(`${from}\n${visit.state}`);
    if (visit.exited !== undefined && over && visit.status === 'succeeded') passed.add(`${visit.state}\n`);
  }
  let visit: number | null = null;
  for (let n = Math.min(place, trace.events.length - 1); n >= 0 && visit === null; n--) {
    visit = trace.events[n]!.visit;
  }
  return { states, passed, visit };
}

/** Which edges of a picture were passed. */
export function passedEdges(picture: Picture, moment: Moment): Set<number> {
  const edges = new Set<number>();
  const names = new Map(picture.nodes.map((node) => [node.id, node.name]));
  picture.edges.forEach((edge, n) => {
    const from = edge.from < 0 ? '' : (names.get(edge.from) ?? '');
    const to = edge.to < 0 ? '' : (names.get(edge.to) ?? '');
    if (moment.passed.has(`${from}\n${to}`)) edges.add(n);
  });
  return edges;
}
