// What may be written at the caret: fields, states, types, variables, `$states`, functions, and members that the last run's
// data had.

import type { Completion, CompletionContext, CompletionResult } from '@codemirror/autocomplete';
import { syntaxTree } from '@codemirror/language';
import type { EditorState } from '@codemirror/state';
import type { SyntaxNode } from '@lezer/common';
import type { Picture, Trace, Words } from '../backend/types';

/** The context of a completion beside the text. */
export interface Known {
  words: Words | null;
  picture: Picture | null;
  trace: Trace | null;
  yaml: boolean;
  language: 'JSONPath' | 'JSONata';
}

const TYPES = ['Task', 'Pass', 'Choice', 'Wait', 'Map', 'Parallel', 'Succeed', 'Fail'];
const ERRORS = ['States.ALL', 'States.TaskFailed', 'States.Timeout', 'States.HeartbeatTimeout', 'States.Permissions', 'States.DataLimitExceeded', 'States.Runtime', 'States.QueryEvaluationError', 'States.ExceedToleratedFailureThreshold', 'States.ItemReaderFailed', 'States.ResultWriterFailed', 'States.IntrinsicFailure', 'States.ParameterPathFailure', 'States.NoChoiceMatched', 'States.BranchFailed'];
const RESOURCES = ['arn:aws:states:::lambda:invoke', 'arn:aws:states:::lambda:invoke.waitForTaskToken', 'arn:aws:states:::sqs:sendMessage', 'arn:aws:states:::sqs:sendMessage.waitForTaskToken', 'arn:aws:states:::sns:publish', 'arn:aws:states:::dynamodb:getItem', 'arn:aws:states:::dynamodb:putItem', 'arn:aws:states:::dynamodb:updateItem', 'arn:aws:states:::dynamodb:deleteItem', 'arn:aws:states:::events:putEvents', 'arn:aws:states:::states:startExecution', 'arn:aws:states:::states:startExecution.sync:2', 'arn:aws:states:::http:invoke', 'arn:aws:states:::apigateway:invoke'];
const CONTEXT: Record<string, string[]> = {
  '': ['Execution', 'State', 'StateMachine', 'Task', 'Map'],
  Execution: ['Id', 'Input', 'Name', 'RoleArn', 'StartTime', 'RedriveCount', 'RedriveTime'],
  State: ['EnteredTime', 'Name', 'RetryCount'],
  StateMachine: ['Id', 'Name'],
  Task: ['Token'],
  Map: ['Item'],
};
/** Fields of what is inside of a state. */
const INNER: Record<string, string[]> = {
  Retry: ['ErrorEquals', 'IntervalSeconds', 'MaxAttempts', 'BackoffRate', 'MaxDelaySeconds', 'JitterStrategy', 'Comment'],
  Catch: ['ErrorEquals', 'Next', 'ResultPath', 'Output', 'Assign', 'Comment'],
  Choices: ['Condition', 'Variable', 'Next', 'And', 'Or', 'Not', 'Assign', 'Output', 'Comment', 'StringEquals', 'NumericEquals', 'NumericGreaterThan', 'NumericLessThan', 'BooleanEquals', 'IsPresent', 'IsNull', 'TimestampLessThan', 'StringMatches'],
  workflow: ['StartAt', 'States', 'ProcessorConfig', 'QueryLanguage', 'Comment'],
  machine: ['Comment', 'QueryLanguage', 'StartAt', 'States', 'TimeoutSeconds', 'Version'],
};

/** Where the caret is: names of members from the outside in, `[]` for an item. */
export function path(state: EditorState, at: number): string[] {
  const names: string[] = [];
  let node: SyntaxNode | null = syntaxTree(state).resolveInner(at, -1);
  for (; node; node = node.parent) {
    const key = /^(Property|Pair)$/.test(node.name) ? node.firstChild : null;
    if (key && key.to < at) names.unshift(state.sliceDoc(key.from, key.to).replace(/^["']|["']$/g, ''));
  }
  return names;
}

/** The state at the caret: from the parsed text, or else the last one whose name precedes the caret. */
export function stateAt(picture: Picture | null, at: number, names: string[]): Picture['nodes'][number] | null {
  const name = names[names.lastIndexOf('States') + 1];
  const nodes = picture?.nodes ?? [];
  const named = names.includes('States') ? nodes.find((node) => node.name === name) : undefined;
  if (named) return named;
  let best: Picture['nodes'][number] | null = null;
  for (const node of nodes) if (node.from <= at && (!best || node.from >= best.from)) best = node;
  return best;
}

/** The members of the values that the last run had for a state. */
function members(trace: Trace | null, state: string, of: 'input' | 'result', names: string[]): string[] {
  const found = new Set<string>();
  for (const visit of trace?.visits.filter((it) => it.state === state).slice(-20) ?? []) {
    const step = visit.steps.find(([label]) => label === 'Result')?.[1];
    const n = of === 'input' ? visit.input : (step ?? visit.output);
    const text = n === undefined ? undefined : trace!.values[n];
    if (text === undefined || text.length > 500_000) continue;
    try {
      let value = JSON.parse(text);
      for (const name of names) value = Array.isArray(value) ? value[0]?.[name] : value?.[name];
      if (Array.isArray(value)) value = value[0];
      if (value && typeof value === 'object') Object.keys(value).forEach((name) => found.add(name));
    } catch {
      // Text that is not JSON has no members.
    }
  }
  return [...found];
}

const option = (type: string, boost = 0) => (label: string): Completion => ({ label, type, boost });

function expression(before: string, at: number, known: Known, text: string, place: string[]): CompletionResult | null {
  const state = stateAt(known.picture, at, place)?.name ?? '';
  const reads = /\$(states\.(input|result|context|errorOutput)|\$)?((?:\.\w+)*)\.(\w*)$/.exec(before);
  if (reads && (known.language === 'JSONPath' || reads[1])) {
    const names = reads[3]!.split('.').filter(Boolean);
    const from = at - reads[4]!.length;
    const isContext = reads[2] === 'context' || reads[1] === '$';
    if (isContext && names[0] !== 'Execution' && names.length < 2) return { from, options: (CONTEXT[names[0] ?? ''] ?? []).map(option('property')) };
    if (isContext && names.length === 1) return { from, options: CONTEXT.Execution!.map(option('property')) };
    if (reads[2] === 'errorOutput') return { from, options: ['Error', 'Cause'].map(option('property')) };
    const found = members(known.trace, state, reads[2] === 'result' ? 'result' : 'input', names);
    if (found.length) return { from, options: found.map((label) => ({ label, type: 'property', detail: 'last run' })), validFor: /^\w*$/ };
    if (reads[1]) return null;
  }
  const inside = /\$states\.(\w*)$/.exec(before);
  if (inside) return { from: at - inside[1]!.length, options: ['input', 'result', 'errorOutput', 'context'].map(option('property')) };
  const word = /\$(\w*)$/.exec(before);
  if (!word) return null;
  // Variables are those that any state assigns.
  const assigned = new Set<string>();
  for (const it of text.matchAll(/["']?Assign["']?\s*:\s*\{([^}]*)/g)) for (const name of it[1]!.matchAll(/["']?([A-Za-z_]\w*)(?:\.\$)?["']?\s*:/g)) assigned.add(name[1]!);
  for (const it of text.matchAll(/^(\s*)Assign:\s*\n((?:\1\s+.*\n?)+)/gm)) for (const name of it[2]!.matchAll(/^\s*([A-Za-z_]\w*)(?:\.\$)?:/gm)) assigned.add(name[1]!);
  const options: Completion[] = [...assigned].map((name) => ({ label: `$${name}`, type: 'variable', boost: 2 }));
  if (known.language === 'JSONata') {
    options.push({ label: '$states', type: 'variable', boost: 3 });
    for (const [name, signature] of known.words?.functions ?? []) options.push({ label: `$${name}`, type: 'function', detail: signature });
  }
  return { from: at - word[0].length, options, validFor: /^\$\w*$/ };
}

function fields(path: string[], at: number, known: Known): string[] {
  const last = path[path.length - 1];
  if (!path.length) return INNER.machine!;
  if (last && INNER[last]) return INNER[last]!;
  if (last === 'ItemProcessor' || last === 'Iterator' || last === 'Branches') return INNER.workflow!;
  if (path[path.length - 2] === 'States') {
    const kind = stateAt(known.picture, at, path)?.kind ?? '';
    const of = known.words?.fields[known.language][kind];
    return of ? of.map((it) => it.name) : ['Type', ...(known.words?.fields[known.language].Pass ?? []).map((it) => it.name)];
  }
  return [];
}

/** Completes at the caret. */
export function complete(context: CompletionContext, known: Known): CompletionResult | null {
  const at = context.pos;
  const line = context.state.doc.lineAt(at);
  const before = line.text.slice(0, at - line.from);
  const names = path(context.state, at);
  const here = expression(before, at, known, context.state.doc.toString(), names);
  if (here?.options.length) return here;
  const value = /["']?(Next|Default|StartAt|Type|Resource|ErrorEquals|QueryLanguage)["']?\s*:\s*(?:\[[^\]]*)?["']?([^"'\]]*)$/.exec(before);
  const intrinsic = /(States\.\w*)$/.exec(before);
  if (value) {
    const state = stateAt(known.picture, at, names);
    const beside = (known.picture?.nodes ?? []).filter((it) => !state || it.parent === state.parent).map((it) => it.name);
    const by: Record<string, string[]> = { Next: beside, Default: beside, StartAt: beside, Type: TYPES, Resource: RESOURCES, ErrorEquals: ERRORS, QueryLanguage: ['JSONata', 'JSONPath'] };
    return { from: at - value[2]!.length, options: by[value[1]!]!.map(option('constant')), validFor: /^[^"'\]]*$/ };
  }
  if (intrinsic && known.language === 'JSONPath') return { from: at - intrinsic[1]!.length, options: (known.words?.intrinsics ?? []).map(option('function')) };
  const key = known.yaml ? /^\s*(?:- )?(\w*)$/.exec(before) : /[{,]\s*"(\w*)$|^\s*"(\w*)$/.exec(before);
  if (!key || (!context.explicit && !(key[1] ?? key[2])?.length && known.yaml)) return null;
  const written = key[1] ?? key[2] ?? '';
  // The member being typed is not part of the path.
  const found = fields(names, at, known);
  return found.length ? { from: at - written.length, options: found.map(option('property')), validFor: /^\w*$/ } : null;
}
