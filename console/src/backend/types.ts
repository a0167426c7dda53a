// What the server answers. Payloads are texts: numbers stay as they were sent.

export interface Node {
  id: number;
  name: string;
  kind: string;
  small: string;
  lines: string[];
  x: number;
  y: number;
  w: number;
  h: number;
  parent: number | null;
  depth: number;
  holds: boolean;
  from: number;
  to: number;
}

export interface Edge {
  from: number;
  to: number;
  way: 'start' | 'next' | 'catch';
  /** Indices of its own paths, from its beginning on. The rest is as in another edge, from that place in its own ones on. */
  paths: number[];
  joins?: [edge: number, at: number];
  labels: string[];
}

/** The upper and the lower end, the heights between which it goes sideways, and flags; `view/path.ts` reads them. */
export type Path = [x1: number, y1: number, x2: number, y2: number, from: number, to: number, flags: number];

export interface Label {
  x: number;
  y: number;
  w: number;
  h: number;
  lines: string[];
  way: string;
}

export interface Picture {
  width: number;
  height: number;
  start: number | null;
  nodes: Node[];
  edges: Edge[];
  paths: Path[];
  labels: Label[];
  marks: { x: number; y: number; end: boolean }[];
  frames: { x: number; y: number; w: number; h: number }[];
}

export interface Problem {
  severity: 'ERROR' | 'WARNING';
  code: string;
  message: string;
  location?: string;
  suggestion?: string;
  from: number;
  to: number;
  fix?: { from: number; to: number; insert: string };
}

export interface Inspected {
  problems: Problem[];
  problemsMore: number;
  picture: Picture | null;
  /** Of an invalid text, the picture of what can be read of it, if it was asked for. */
  sketch?: Picture | null;
}

export interface Visit {
  state: string;
  kind: string;
  parent: number | null;
  iteration: number | null;
  /** The visit before it on the same path. */
  after: number | null;
  /** Indices of events. */
  entered: number;
  exited?: number;
  status: 'open' | 'succeeded' | 'caught' | 'failed' | 'aborted';
  attempts: number;
  input?: number;
  output?: number;
  assigned?: [string, number][];
  /** The event with its error. */
  fault?: number;
  steps: [string, number][];
}

export interface HistoryEvent {
  id: number;
  time: number;
  type: string;
  visit: number | null;
  /** Absent if they are fetched when they are displayed. */
  details: [string, 'text' | 'value', string | number][] | null;
}

export interface Trace {
  visits: Visit[];
  events: HistoryEvent[];
  values: string[];
}

/** The history without payloads, in columns; names are indices of `names`, and -1 means none. */
export interface Outline {
  first: number;
  names: string[];
  events: { time: number[]; type: number[]; visit: number[] };
  visits: Record<'state' | 'kind' | 'status' | 'parent' | 'after' | 'iteration' | 'entered' | 'exited' | 'fault' | 'attempts', number[]>;
}

/** The details of some events of an execution. */
export interface EventDetails {
  events: { id: number; details: [string, 'text' | 'value', string | number][] }[];
  values: string[];
}

export interface Ran {
  /** `RUNNING` before the end of a run for real. */
  status: string;
  why?: string;
  output?: string;
  error?: string | null;
  cause?: string | null;
  trace?: Trace;
  /** What it used of AWS's quotas: for `onAws` and `estimate`. */
  used?: unknown;
}

/** What AWS would bill, in dollars, for so many executions. */
export interface Estimate {
  executions: number;
  region: string;
  transitions: number;
  standard: number;
  /** Milliseconds and MB, as they are billed. */
  ms: number;
  mb: number;
  express: number;
}

/** Something that AWS would do with a draft. */
export interface Finding extends Partial<Omit<Problem, 'code'>> {
  when: 'creation' | 'run' | 'last' | 'deployment' | 'warning';
  severity: Problem['severity'];
  code: string | null;
  message: string;
  state?: string;
}

/** A quota of AWS, and how much of it is used: by the definition, or by the last run. */
export interface Quota {
  quota: string;
  unit: string;
  used: number;
  allowed: number;
  level: 'within' | 'near' | 'over';
  run: boolean;
  state?: string;
  from?: number;
  to?: number;
}

export interface OnAws {
  findings: Finding[];
  findingsMore: number;
  quotas: Quota[];
}

export interface Machine {
  arn: string;
  name: string;
  type: 'EXPRESS' | 'STANDARD';
  created: number;
  listed: boolean;
  last: number | null;
}

export interface Listed {
  number: number;
  arn: string;
  machineArn: string;
  name: string;
  status: string;
  started: number;
  stopped: number | null;
  error?: string | null;
}

export interface Execution {
  arn: string;
  machineArn: string;
  name: string;
  status: string;
  started: number;
  stopped: number | null;
  input: string;
  output: string | null;
  error: string | null;
  cause: string | null;
  lost: number;
  cut: boolean;
  outline: Outline;
  picture?: Picture | null;
  /** Tasks that wait for an answer, by the number of the event they were scheduled by. */
  waits: { event: number; activity?: string; token?: string }[];
  /** Whether it can be redriven. */
  redrivable?: boolean;
}

export type Counts = Record<'total' | 'pending' | 'running' | 'succeeded' | 'failed' | 'timedOut' | 'aborted' | 'resultsWritten', number>;

/** As `DescribeMapRun` returns it. */
export interface MapRun {
  mapRunArn: string;
  status: string;
  maxConcurrency: number;
  toleratedFailureCount: number;
  toleratedFailurePercentage: number;
  itemCounts: Counts;
  executionCounts: Counts;
}

/** Which executions, and which of them: `count` from `from` on, none newer than number `upTo`. */
export interface Query {
  machineArn?: string;
  status?: string;
  name?: string;
  error?: string;
  from?: number;
  count?: number;
  upTo?: number;
}

/** The nodes that an answer is of, where executions are spread over several. */
export interface Nodes {
  count: number;
  /** The names of those that did not answer. */
  silent: string[];
}

export interface Found {
  nodes?: Nodes;
  executions: Listed[];
  from: number;
  matching: number;
  /** How many of them can be scrolled to, if not all. */
  listed?: number;
  newer: number;
  upTo: number;
  more: boolean;
  unlisted: number;
}

export interface Group {
  machineArn: string;
  state: string | null;
  status: string;
  error: string | null;
  cause: string | null;
  count: number;
  newest: number;
  oldest: number;
  samples: { arn: string; name: string }[];
}

export interface Failures {
  nodes?: Nodes;
  groups: Group[];
  groupsMore: number;
  failed: number;
  looked: number;
  more: boolean;
  unlisted: number;
}

export interface Counted {
  arn: string;
  started: number;
  /** Succeeded, failed, timed out, aborted. */
  ended: [number, number, number, number];
  throttled: number;
  took: number[];
}

export interface Rates {
  nodes?: Nodes;
  now: number;
  boundsUs: number[];
  machines: Counted[];
}

export interface Heat {
  nodes?: Nodes;
  now: number;
  oneIn: number;
  sampled: number;
  executions: number;
  states: { name: string; visits: number; failed: number; left: number; ms: number }[];
  edges: [string, string, number][];
}

export type Format = 'json' | 'yaml';
export type MachineType = 'EXPRESS' | 'STANDARD';
export interface Draft {
  text: string;
  format: Format;
  type: MachineType;
}

/** A change of a draft, which the server makes patches of. */
export type Edit =
  | { op: 'rename'; state: string; to: string }
  | { op: 'insert'; from: string; to: string | null; catch: boolean; kind: string; name: string; text?: string }
  | { op: 'set'; state: string; path: (string | number)[]; value: unknown; remove?: boolean }
  // The value as JSON text: its numbers may have more digits than a browser keeps.
  | { op: 'set'; state: string; path: (string | number)[]; text: string }
  | { op: 'lead'; state: string; to: string }
  | { op: 'raise'; state: string; field: string; item: number }
  | { op: 'wrap'; state: string; kind: 'Map' | 'Parallel'; name: string }
  | { op: 'delete'; state: string }
  | { op: 'catch'; state: string; to: string }
  | { op: 'retry'; state: string };

/** A field that a state may have. */
export interface Field {
  name: string;
  form: 'text' | 'path' | 'state' | 'bool' | 'number' | 'oneOf' | 'json';
  required: boolean;
  options?: string[];
}

/** A state for forms: `values` are JSON texts. */
export interface Form {
  type: string;
  language: 'JSONPath' | 'JSONata';
  fields: Field[];
  values: Record<string, string>;
}

export interface Words {
  fields: Record<'JSONPath' | 'JSONata', Record<string, Field[]>>;
  functions: [string, string][];
  intrinsics: string[];
}

/** An expression, and what it is evaluated over, as JSON texts. */
export interface Expression {
  source: string;
  language: 'JSONPath' | 'JSONata';
  input?: string;
  result?: string;
  errorOutput?: string;
  context: string;
  variables: [string, string][];
  now: number;
}

export type Changed = 'added' | 'removed' | 'changed' | 'rerouted';

export interface File {
  name: string;
  text: string;
  hash: string;
}

/** What a pipeline counted when it was asked, or why it did not answer. */
export interface Pipeline {
  address: string;
  at: number;
  error: string | null;
  source?: string | null;
  sink?: string | null;
  deadLetters?: string | null;
  ready?: boolean;
  inFlight?: number;
  lag?: number | null;
  counts?: Record<string, number>;
  /** How it sends dead letters again; null if it does not say from where and to where. */
  redrive?: { running: boolean; last: { at: number; sent?: number; left?: number; error?: string } | null } | null;
}

export interface Pipelines {
  configured: number;
  /** Why the last request to send dead letters again was refused, by address. */
  redriveRefused: Record<string, string>;
  /** Empty before the first answers. */
  pipelines: Pipeline[];
}

/** The answer of the API's TestState. */
export interface TestedState {
  status: string;
  output?: string;
  error?: string;
  cause?: string;
  nextState?: string;
  inspectionData?: Record<string, unknown>;
}

export interface About {
  version: string;
  /** Whether the studio edits files of this machine. */
  files: boolean;
  /** Whether drafts may be run for real. */
  realRuns: boolean;
  /** Where new state machines are: their ARN without the name. */
  machines: string;
}

/** Requests of the studio; the implementation is HTTP. */
export interface Drafts {
  inspect(draft: Draft, sketch: boolean): Promise<Inspected>;
  edit(draft: Draft, edit: Edit): Promise<{ patches: { from: number; to: number; insert: string }[] }>;
  words(): Promise<Words>;
  /** Resources of tasks that contain all these words. */
  resources(words: string): Promise<{ resources: string[]; more: number }>;
  form(draft: Draft, state: string): Promise<Form>;
  compare(draft: Draft, before: string, beforeFormat: Format): Promise<{ states: { name: string; change: Changed }[]; machine: boolean }>;
  /** What AWS would do with it, as a machine of that name, or as that machine. */
  estimate(draft: Draft, used: unknown): Promise<Estimate>;
  onAws(draft: Draft, name: string, machineArn: string, used: unknown): Promise<OnAws>;
  export(draft: Draft, as: 'svg' | 'mermaid' | 'json'): Promise<{ text: string }>;
  run(draft: Draft, input: string, mocks: string): Promise<Ran>;
  /** Starts a run for real, which `watch` follows as `GetRun`. */
  startRun(draft: Draft, input: string, mocks: string): Promise<{ id: string }>;
  /** Stops it. Also when the page is being left. */
  stopRun(id: string): Promise<unknown>;
  /** The value of an expression as JSON text, or the error. */
  evaluate(expression: Expression): Promise<{ value?: string; problem?: string }>;
  createMachine(name: string, type: MachineType, definition: string, roleArn: string): Promise<{ stateMachineArn: string }>;
  updateMachine(arn: string, definition: string): Promise<unknown>;
  testState(request: Record<string, unknown>): Promise<TestedState>;
  listFiles(): Promise<{ folder: string; files: string[]; more: number }>;
  readFile(name: string): Promise<File>;
  writeFile(file: File): Promise<{ hash: string }>;
}

/** The other requests of the pages. */
export interface Backend {
  about(): Promise<About>;
  /** For actions and their resources: the reason why the key may not use them, or null. */
  may(ask: [action: string, resource: string][]): Promise<{ refused: (string | null)[] }>;
  overview(): Promise<{ machines: Machine[] }>;
  find(query: Query, more?: RequestInit): Promise<Found>;
  /** Reports the answer of an action, now and on each change; calling the result ends it. */
  watch(action: 'Overview' | 'FindExecutions' | 'GetExecution' | 'GetRun' | 'Failures' | 'Heat' | 'Rates' | 'Pipelines', ask: unknown, seen: (answer: any, problem: string | null) => void): () => void;
  execution(arn: string, picture: boolean): Promise<Execution>;
  /** The details of events of an execution, by their numbers. */
  events(arn: string, ids: number[]): Promise<EventDetails>;
  machine(arn: string): Promise<{ name: string; type: MachineType; definition: string; picture: Picture | null; listed: boolean; versions: string[]; aliases: { name: string; routes: [string, number][] }[] }>;
  start(machineArn: string, input: string, name?: string): Promise<{ executionArn: string }>;
  startSync(machineArn: string, input: string): Promise<{ status: string; output?: string; error?: string; cause?: string }>;
  /** A task of an activity that waits, or nothing. */
  activityTask(activityArn: string, signal: AbortSignal): Promise<{ taskToken?: string; input?: string }>;
  succeedTask(token: string, output: string): Promise<unknown>;
  failTask(token: string, error: string, cause: string): Promise<unknown>;
  mapRuns(executionArn: string, maxResults: number): Promise<{ mapRuns: { mapRunArn: string }[]; nextToken?: string }>;
  mapRun(mapRunArn: string): Promise<MapRun>;
  updateMapRun(mapRunArn: string, change: Partial<Record<'maxConcurrency' | 'toleratedFailureCount' | 'toleratedFailurePercentage', number>>): Promise<unknown>;
  /** Has a pipeline send its dead letters again. */
  redrivePipeline(address: string): Promise<unknown>;
  redrive(executionArn: string): Promise<unknown>;
  stop(executionArn: string): Promise<unknown>;
}
