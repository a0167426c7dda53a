import { sign, type Key } from './sign';
import type { Backend, Draft, File } from './types';

/** What the server refused, and why. */
export class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
  /** Whether a key is missing or wrong. */
  get needsKey(): boolean {
    return /MissingAuthenticationToken|InvalidSignature|UnrecognizedClient|IncompleteSignature/.test(this.code);
  }
}

let key: Key | null = null;
/** Signs everything from now on. The key is kept in memory only. */
export function use(it: Key | null) {
  key = it;
}

let filesKey = '';
/** Takes the key of the studio's files out of the address. */
export function takeFilesKey() {
  const found = /[?&]key=([0-9a-f]+)/.exec(location.hash);
  if (found) {
    filesKey = found[1]!;
    history.replaceState(null, '', location.hash.replace(/[?&]key=[0-9a-f]+/, ''));
  }
}

async function post(path: string, target: string, body: unknown): Promise<any> {
  const text = JSON.stringify(body);
  const headers: Record<string, string> = {
    'content-type': 'application/x-amz-json-1.0',
    'x-amz-target': target,
  };
  if (key) Object.assign(headers, await sign(key, path, headers, text));
  if (filesKey) headers['x-expressway-key'] = filesKey;
  let response: Response;
  try {
    response = await fetch(path, { method: 'POST', headers, body: text, credentials: 'omit' });
  } catch {
    throw new Refused('Unreachable', 'The server cannot be reached.');
  }
  const answer = await response.text();
  let read: any;
  try {
    read = answer ? JSON.parse(answer) : {};
  } catch {
    throw new Refused('Unreadable', `The server answered with status ${response.status} and no JSON.`);
  }
  if (!response.ok) {
    const code = String(read.__type ?? response.status).replace(/^.*#/, '');
    throw new Refused(code, read.message ?? read.Message ?? code);
  }
  return read;
}

const own = (action: string, body: unknown) => post('/console/api', `Expressway.${action}`, body);
const aws = (action: string, body: unknown) => post('/', `AWSStepFunctions.${action}`, body);

export const http: Backend = {
  about: () => own('About', {}),
  inspect: (draft: Draft) => own('Inspect', draft),
  edit: (draft, edit) => own('Edit', { ...draft, edit }),
  run: (draft, input, mocks) => own('Run', { ...draft, input, mocks }),
  overview: () => own('Overview', {}),
  find: (query) => own('FindExecutions', query),
  execution: (executionArn, picture) => own('GetExecution', { executionArn, picture }),
  machine: (machineArn) => own('GetMachine', { machineArn }),
  listFiles: () => own('ListFiles', {}),
  readFile: (name) => own('ReadFile', { name }),
  writeFile: (file: File) => own('WriteFile', file),
  start: (stateMachineArn, input, name) => aws('StartExecution', { stateMachineArn, input, ...(name ? { name } : {}) }),
  startSync: (stateMachineArn, input) => aws('StartSyncExecution', { stateMachineArn, input }),
  stop: (executionArn) => aws('StopExecution', { executionArn }),
};
