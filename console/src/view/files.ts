// A run as files that the command takes, and commands as a shell reads them.

import { pretty } from './pretty';

/** Words as a command of a shell: quoted where they must be. */
export const shell = (words: string[]): string => words.map((it) => (/^[\w@%+=:,./-]+$/.test(it) ? it : `'${it.replaceAll("'", `'\\''`)}'`)).join(' ');

/** The name of a definition without its endings, for files beside it. */
export const stem = (name: string): string => name.replace(/^.*\//, '').replace(/(\.asl)?\.(json|ya?ml)$/, '') || 'workflow';

/** The states that have mocks; none if these are not JSON. */
export function mocked(mocks: string): Set<string> {
  try {
    return new Set(Object.keys(JSON.parse(mocks.trim() || '{}')));
  } catch {
    return new Set();
  }
}

/** The mock configuration of Step Functions Local for the answers of tasks by state. They are not parsed: numbers stay as they are. */
export function mockConfig(name: string, mocks: string): string {
  const states = Object.keys(JSON.parse(mocks.trim() || '{}'));
  const cases = Object.fromEntries(states.map((state) => [state, state]));
  return `${pretty(`{"StateMachines":${JSON.stringify({ [name]: { TestCases: { studio: cases } } })},"MockedResponses":${mocks.trim() || '{}'}}`)}\n`;
}
