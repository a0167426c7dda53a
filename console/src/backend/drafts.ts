// The studio's requests: they are not in the page for operating.
import { aws, own } from './http';
import type { Draft, Drafts, File } from './types';

export const drafts: Drafts = {
  inspect: (draft: Draft, sketch) => own('Inspect', { ...draft, sketch }),
  edit: (draft, edit) => own('Edit', { ...draft, edit }),
  words: () => own('Words', {}),
  resources: (words) => own('Resources', { words }),
  form: (draft, state) => own('Form', { ...draft, state }),
  compare: (draft, before, beforeFormat) => own('Compare', { ...draft, before, beforeFormat }),
  onAws: (draft, name, machineArn, used) => own('OnAws', { ...draft, name, machineArn, used }),
  estimate: (draft, used) => own('Estimate', { ...draft, used }),
  export: (draft, as) => own('Export', { ...draft, as }),
  run: (draft, input, mocks) => own('Run', { ...draft, input, mocks }),
  startRun: (draft, input, mocks) => own('StartRun', { ...draft, input, mocks }),
  stopRun: (id) => own('StopRun', { id }, { keepalive: true }),
  evaluate: (expression) => own('Evaluate', expression),
  createMachine: (name, type, definition, roleArn) => aws('CreateStateMachine', { name, type, definition, roleArn }),
  updateMachine: (stateMachineArn, definition) => aws('UpdateStateMachine', { stateMachineArn, definition }),
  testState: (request) => aws('TestState', request),
  listFiles: () => own('ListFiles', {}),
  readFile: (name) => own('ReadFile', { name }),
  writeFile: (file: File) => own('WriteFile', file),
};
