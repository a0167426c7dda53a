// Rates and percentiles, made of counts at two moments.

import type { Counted } from '../backend/types';

export interface Rate {
  /** In a second. */
  started: number;
  failed: number;
  ended: number;
  throttled: number;
  /** Microseconds that half, 95 and 99 of 100 executions took at most. */
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

/** The value below which this part of what was counted is; within a class it is taken as spread evenly. */
export function percentile(classes: number[], bounds: number[], part: number): number | null {
  const all = classes.reduce((sum, it) => sum + it, 0);
  if (all <= 0) return null;
  let left = all * part;
  for (let n = 0; n < classes.length; n++) {
    const inside = classes[n]!;
    if (left <= inside && inside > 0) {
      const [low, high] = [n ? bounds[n - 1]! : 0, bounds[n] ?? bounds[bounds.length - 1]!];
      return low + ((high - low) * left) / inside;
    }
    left -= inside;
  }
  return bounds[bounds.length - 1]!;
}

/** What happened from one moment to another. */
export function rate(before: Counted, after: Counted, ms: number, bounds: number[]): Rate {
  const second = (count: number) => (Math.max(0, count) * 1_000) / Math.max(1, ms);
  const ended = (it: Counted) => it.ended.reduce((sum, count) => sum + count, 0);
  const took = after.took.map((count, n) => count - (before.took[n] ?? 0));
  return {
    started: second(after.started - before.started),
    ended: second(ended(after) - ended(before)),
    failed: second(ended(after) - after.ended[0] - (ended(before) - before.ended[0])),
    throttled: second(after.throttled - before.throttled),
    p50: percentile(took, bounds, 0.5),
    p95: percentile(took, bounds, 0.95),
    p99: percentile(took, bounds, 0.99),
  };
}

/** Formats microseconds. */
export function took(us: number): string {
  if (us < 1_000) return `${us < 10 ? us.toFixed(1) : us.toFixed(0)} µs`;
  if (us < 1_000_000) return `${(us / 1_000).toFixed(us < 10_000 ? 1 : 0)} ms`;
  return `${(us / 1_000_000).toFixed(1)} s`;
}
