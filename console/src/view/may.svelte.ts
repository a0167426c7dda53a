// The permissions of the page's key, as the server reports them, by the rules it checks requests with.

import { http, signs } from '../backend/http';

/** The most permissions in one request. */
const ASKED_MAX = 256;
/** By action and resource: the reason for a refusal, or null. */
let known = $state.raw<Map<string, string | null>>(new Map());
let asked = new Set<string>();
let waiting: [action: string, resource: string][] = [];
let of: unknown = null;

async function ask() {
  const now = waiting.splice(0, ASKED_MAX);
  if (waiting.length) queueMicrotask(ask);
  if (!now.length) return;
  const from = signs();
  // Without an answer the button is enabled, and the server checks the request.
  const { refused } = await http.may(now).catch(() => ({ refused: now.map(() => null) }));
  if (from !== signs()) return;
  known = new Map([...known, ...now.map((it, n) => [it.join(' '), refused[n] ?? null] as const)]);
}

/** Why the key may not do this: null if it may, undefined while unknown. */
export function refusal(action: string, resource: string): string | null | undefined {
  if (!signs()) return null;
  if (of !== signs()) {
    of = signs();
    asked = new Set();
    queueMicrotask(() => (known = new Map()));
  }
  const name = `${action} ${resource}`;
  if (!asked.has(name)) {
    asked.add(name);
    waiting.push([action, resource]);
    if (waiting.length === 1) queueMicrotask(ask);
  }
  return known.get(name);
}
