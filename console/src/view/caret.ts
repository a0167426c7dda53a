// The expression at the caret, and the data of the last run to evaluate it with.

import { syntaxTree } from '@codemirror/language';
import type { EditorState } from '@codemirror/state';
import type { Expression, Picture, Trace, Visit } from '../backend/types';
import { path, stateAt } from './complete';

export interface AtCaret {
  source: string;
  language: Expression['language'];
  state: string;
  /** The fields that lead to it from its state. */
  fields: string[];
}

/** The text of a string of JSON or YAML; nothing if it is incomplete. */
function decoded(written: string, quote: string): string | null {
  if (quote === "'") return written.replaceAll("''", "'");
  if (quote !== '"') return written.trim();
  try {
    return JSON.parse(`"${written}"`);
  } catch {
    return null;
  }
}

/** The expression at the caret: its selected part, or all of it. */
export function expressionAt(state: EditorState, picture: Picture | null): AtCaret | null {
  const { from, to, head } = state.selection.main;
  let node = syntaxTree(state).resolveInner(head, -1);
  while (!/^(String|QuotedLiteral|Literal|BlockLiteral)$/.test(node.name)) {
    if (!node.parent) return null;
    node = node.parent;
  }
  if (node.parent?.name === 'Key' || from < node.from || to > node.to) return null;
  const raw = state.sliceDoc(node.from, node.to);
  const quote = /^["']/.exec(raw)?.[0] ?? '';
  const written = quote ? raw.slice(1, -1) : raw.replace(/^[|>][^\n]*\n/, '');
  const whole = decoded(written, quote)?.trim();
  if (!whole) return null;
  const jsonata = /^\{%([\s\S]*)%\}$/.exec(whole)?.[1];
  let source = (jsonata ?? whole).trim();
  if (jsonata === undefined && !/^(\$|States\.)/.test(source)) return null;
  if (from < to) source = decoded(state.sliceDoc(from, to), quote)?.replace(/^\s*\{%|%\}\s*$/g, '').trim() || source;
  const names = path(state, node.to);
  const found = stateAt(picture, node.from, names);
  if (!found) return null;
  const at = names.lastIndexOf('States');
  const fields = at < 0 ? names : names.slice(at + 2);
  // A path where a value is stored is not an expression.
  if (fields.at(-1) === 'ResultPath') return null;
  return { source, language: jsonata === undefined ? 'JSONPath' : 'JSONata', state: found.name, fields };
}

/** The variables visible to a visit: those assigned before it in its scopes. */
function variables(trace: Trace, visit: Visit): [string, string][] {
  const around = new Set<number | null>([null]);
  for (let at = visit.parent; at !== null; at = trace.visits[at]!.parent) around.add(at);
  return trace.visits
    .filter((it) => it.exited !== undefined && it.exited < visit.entered && around.has(it.parent))
    .sort((a, b) => a.exited! - b.exited!)
    .flatMap((it) => (it.assigned ?? []).map(([name, value]): [string, string] => [name, trace.values[value]!]));
}

/** The data of the last visit of its state; nothing if the run did not reach it. */
export function over(at: AtCaret, trace: Trace | null): { ask: Expression; visits: number } | null {
  const visits = trace?.visits.filter((it) => it.state === at.state) ?? [];
  const visit = visits.at(-1);
  if (!trace || !visit) return null;
  const value = (n: number | undefined) => (n === undefined ? undefined : trace.values[n]);
  const step = (label: string) => value(visit.steps.findLast(([it]) => it === label)?.[1]);
  const details = visit.fault === undefined ? null : trace.events[visit.fault]!.details;
  const told = (name: string) => details?.find((it) => it[0] === name)?.[2];
  const failed = details && JSON.stringify({ Error: told('error') ?? '', Cause: told('cause') ?? '' });
  const input = value(visit.input);
  const effective = step('InputPath') ?? input;
  const [field = ''] = at.fields;
  const within: Record<string, string | undefined> = {
    InputPath: input,
    ResultSelector: step('Result'),
    OutputPath: step('ResultPath') ?? effective,
    Assign: step('ResultSelector') ?? effective,
    Catch: failed ?? undefined,
  };
  const entered = trace.events[visit.entered]!;
  const first = trace.events[0]!;
  const execution = `"Execution":{"Input":${trace.values.length ? (value(trace.visits[0]?.input) ?? '{}') : '{}'},"Name":"Draft","StartTime":${JSON.stringify(new Date(first.time).toISOString())}}`;
  const state = `"State":{"EnteredTime":${JSON.stringify(new Date(entered.time).toISOString())},"Name":${JSON.stringify(visit.state)}}`;
  const item = visit.iteration === null ? '' : `,"Map":{"Item":{"Index":${visit.iteration}}}`;
  return {
    visits: visits.length,
    ask: {
      source: at.source,
      language: at.language,
      input: at.language === 'JSONata' ? input : field in within ? within[field] : effective,
      result: step('Result'),
      errorOutput: failed ?? undefined,
      context: `{${execution},${state}${item}}`,
      variables: variables(trace, visit),
      now: entered.time,
    },
  };
}
