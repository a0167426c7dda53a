// What AWS would bill, about. Prices are those of US East (N. Virginia), us-east-1, in US dollars, without the free tier and
// without the lower prices of large amounts, as https://aws.amazon.com/step-functions/pricing/ lists them. They differ by region,
// and AWS changes them: where they differ, that page is right.

import type { Trace } from '../backend/types';

export const PRICES_OF = 'us-east-1';
/** Dollars for a state transition of a Standard execution, retries included; listed for 1,000. */
const PER_TRANSITION = 0.025 / 1_000;
/** Dollars for a start of an Express execution; listed for 1,000,000. */
const PER_REQUEST = 1 / 1_000_000;
/** Dollars for a gigabyte of memory in use for a second by an Express execution, in the first tier; listed for a GB-hour. */
const PER_GB_SECOND = 0.06 / 3_600;
/** The duration of an Express execution is billed in steps of so many milliseconds. */
const STEP_MS = 100;
/** Its memory is billed in steps of so many MB. */
const STEP_MB = 64;
/** The memory of an Express execution without data. */
const BASE_MB = 50;

export interface Bill {
  transitions: number;
  standard: number;
  /** Milliseconds, rounded up as they are billed. */
  ms: number;
  mb: number;
  express: number;
}

/** Of a thousand executions that go as this one did. Waiting takes no time in a run, but is billed. */
export function bill(trace: Trace): Bill | null {
  const [first, last] = [trace.events[0], trace.events[trace.events.length - 1]];
  if (!first || !last) return null;
  const retries = trace.visits.reduce((sum, it) => sum + Math.max(0, it.attempts - 1), 0);
  const transitions = trace.visits.length + retries + 1;
  const ms = Math.max(1, Math.ceil((last.time - first.time) / STEP_MS)) * STEP_MS;
  const bytes = trace.values.reduce((sum, it) => sum + it.length, 0);
  const mb = Math.ceil((BASE_MB + bytes / 1_048_576) / STEP_MB) * STEP_MB;
  return { transitions, standard: 1_000 * transitions * PER_TRANSITION, ms, mb, express: 1_000 * (PER_REQUEST + (ms / 1_000) * (mb / 1_024) * PER_GB_SECOND) };
}

export const dollars = (value: number): string => `$${value < 0.01 ? value.toPrecision(2) : value.toFixed(value < 1 ? 4 : 2)}`;
