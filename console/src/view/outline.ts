// An execution whose payloads stay on the server until they are displayed.

import type { EventDetails, Outline, Trace, Visit } from '../backend/types';

/** The trace of an outline. */
export function expand({ first, names, events, visits }: Outline): Trace {
  const place = (n: number) => (n < 0 ? null : n);
  const optional = (n: number) => (n < 0 ? undefined : n);
  let time = 0;
  return {
    events: events.time.map((after, n) => ({
      id: first + n,
      time: (time += after),
      type: names[events.type[n]!]!,
      visit: place(events.visit[n]!),
      details: null,
    })),
    visits: visits.state.map((state, n) => ({
      state: names[state]!,
      kind: names[visits.kind[n]!]!,
      status: names[visits.status[n]!] as Visit['status'],
      parent: place(visits.parent[n]!),
      after: place(visits.after[n]!),
      iteration: place(visits.iteration[n]!),
      entered: visits.entered[n]!,
      exited: optional(visits.exited[n]!),
      fault: optional(visits.fault[n]!),
      attempts: visits.attempts[n]!,
      steps: [],
    })),
    values: [],
  };
}

/** A member of an event's details: its name, whether it is a payload, and its text. */
export type Detail = [name: string, kind: 'text' | 'value', text: string];

export function texts({ events, values }: EventDetails): Map<number, Detail[]> {
  return new Map(events.map(({ id, details }) => [id, details.map(([name, kind, it]) => [name, kind, kind === 'value' ? values[it as number]! : String(it)])]));
}
