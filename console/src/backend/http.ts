import { sign, type Key } from './sign';
import type { Backend } from './types';

/** A refusal of the server, and its reason. */
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

/** The key that requests are signed with, if any. */
export const signs = () => key;

let filesKey = '';
/** Removes the key of the studio's files from the address. */
export function takeFilesKey() {
  const found = /[?&]key=([0-9a-f]+)/.exec(location.hash);
  if (found) {
    filesKey = found[1]!;
    history.replaceState(null, '', location.hash.replace(/[?&]key=[0-9a-f]+/, ''));
  }
}

async function post(path: string, target: string, body: unknown, more: RequestInit = {}): Promise<any> {
  const text = JSON.stringify(body);
  const headers: Record<string, string> = {
    'content-type': 'application/x-amz-json-1.0',
    'x-amz-target': target,
  };
  if (key) Object.assign(headers, await sign(key, 'POST', path, headers, text));
  if (filesKey) headers['x-expressway-key'] = filesKey;
  let response: Response;
  try {
    response = await fetch(path, { method: 'POST', headers, body: text, credentials: 'omit', ...more });
  } catch (error) {
    if (more.signal?.aborted) throw error;
    throw new Refused('Unreachable', 'The server cannot be reached.');
  }
  return understood(await response.text(), response);
}

function understood(answer: string, response: Response): any {
  let read: any;
  try {
    read = answer ? JSON.parse(answer) : {};
  } catch {
    throw new Refused('Unreadable', `The server answered with status ${response.status} and no JSON.`);
  }
  if (!response.ok) throw refusal(read, response.status);
  return read;
}

function refusal(read: any, status: number): Refused {
  const code = String(read.__type ?? status).replace(/^.*#/, '');
  return new Refused(code, read.message ?? read.Message ?? code);
}

/** Encodes text for the signature of a query. */
const encoded = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

/** The delay before reconnecting, at first and at most. */
const AGAIN_MS = 250;
const AGAIN_MS_MAX = 5_000;

/** Reads one stream until it ends or is aborted. Returns whether there was a frame, and whether to reconnect. */
async function stream(action: string, ask: unknown, known: { id: string }, seen: Seen, signal: AbortSignal): Promise<boolean> {
  const address = `/console/live?ask=${encoded(JSON.stringify(ask))}`;
  const headers: Record<string, string> = { 'x-amz-target': `Expressway.${action}` };
  if (key) Object.assign(headers, await sign(key, 'GET', address, headers, ''));
  if (filesKey) headers['x-expressway-key'] = filesKey;
  if (known.id) headers['last-event-id'] = known.id;
  const response = await fetch(address, { headers, signal, credentials: 'omit', cache: 'no-store' });
  if (!response.ok || !response.body) {
    understood(await response.text(), response);
    return false;
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pieces: string[] = [];
  let any = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return any;
    // A frame may come in many pieces: it is joined when its end has arrived, which may be split itself.
    const ends = value.includes('\n\n') || (value.startsWith('\n') && pieces[pieces.length - 1]?.endsWith('\n'));
    pieces.push(value);
    if (!ends) continue;
    const parts = pieces.join('').split('\n\n');
    pieces = [parts.pop()!];
    // Of frames that arrive together, the last one is the newest.
    let newest: Record<string, string> | null = null;
    for (const part of parts) {
      const frame: Record<string, string> = {};
      for (const line of part.split('\n')) {
        const at = line.indexOf(': ');
        if (at > 0) frame[line.slice(0, at)] = line.slice(at + 2);
      }
      if (frame.data) newest = frame;
    }
    if (!newest) continue;
    any = true;
    known.id = newest.id ?? '';
    const read = JSON.parse(newest.data!);
    if (newest.event === 'refused') throw refusal(read, 400);
    seen(read, null);
  }
}

type Seen = (answer: any, problem: string | null) => void;

/**
 * Reports the answer of an action, now and on each change, at most four times a second. A lost connection
 * is reopened; while the page is hidden there is none. Calling the result ends it.
 */
function watch(action: string, ask: unknown, seen: Seen): () => void {
  const known = { id: '' };
  let over = false;
  let abort = new AbortController();
  let wake: () => void = () => {};
  const changed = () => {
    if (document.visibilityState === 'hidden') abort.abort();
    else wake();
  };
  document.addEventListener('visibilitychange', changed);
  void (async () => {
    let pause = AGAIN_MS;
    while (!over) {
      if (document.visibilityState === 'hidden') {
        await new Promise<void>((resolve) => (wake = resolve));
        continue;
      }
      abort = new AbortController();
      try {
        if (await stream(action, ask, known, seen, abort.signal)) pause = AGAIN_MS;
        if (!over) seen(null, 'The server ended the connection; it is tried again.');
      } catch (error) {
        if (over) return;
        const refused = error instanceof Refused && error.code !== 'ThrottlingException';
        if (abort.signal.aborted) continue;
        seen(null, refused ? error.message : 'The connection is lost; it is tried again.');
        if (refused) return;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, pause);
      });
      pause = Math.min(2 * pause, AGAIN_MS_MAX);
    }
  })();
  return () => {
    over = true;
    document.removeEventListener('visibilitychange', changed);
    abort.abort();
    wake();
  };
}

export const own = (action: string, body: unknown, more?: RequestInit) => post('/console/api', `Expressway.${action}`, body, more);
export const aws = (action: string, body: unknown, more?: RequestInit) => post('/', `AWSStepFunctions.${action}`, body, more);

export const http: Backend = {
  may: (ask) => own('Permissions', { ask }),
  about: () => own('About', {}),
  watch,
  overview: () => own('Overview', {}),
  find: (query, more) => own('FindExecutions', query, more),
  execution: (executionArn, picture) => own('GetExecution', { executionArn, picture }),
  events: (executionArn, ids) => own('GetEvents', { executionArn, ids }),
  machine: (machineArn) => own('GetMachine', { machineArn }),
  start: (stateMachineArn, input, name) => aws('StartExecution', { stateMachineArn, input, ...(name ? { name } : {}) }),
  startSync: (stateMachineArn, input) => aws('StartSyncExecution', { stateMachineArn, input }),
  activityTask: (activityArn, signal) => aws('GetActivityTask', { activityArn, workerName: 'console' }, { signal }),
  succeedTask: (taskToken, output) => aws('SendTaskSuccess', { taskToken, output }),
  failTask: (taskToken, error, cause) => aws('SendTaskFailure', { taskToken, error, cause }),
  mapRuns: (executionArn, maxResults) => aws('ListMapRuns', { executionArn, maxResults }),
  mapRun: (mapRunArn) => aws('DescribeMapRun', { mapRunArn }),
  updateMapRun: (mapRunArn, change) => aws('UpdateMapRun', { mapRunArn, ...change }),
  redrivePipeline: (address) => own('RedrivePipeline', { address }),
  redrive: (executionArn) => aws('RedriveExecution', { executionArn }),
  stop: (executionArn) => aws('StopExecution', { executionArn }),
};
