// Drafts run for real: tasks call a server of this test, and only when the page is asked to.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { accessible, browse, folder, open, pictured, put, shows, start } from './serving.js';

/** Calls of the function that were received, and those that wait for their answer. */
const calls = [];
let waiting = [];
/** Called when another one arrives. */
let came = () => {};
const lambda = createServer((request, response) => {
  let body = '';
  request.on('data', (it) => (body += it));
  request.on('end', () => {
    calls.push({ path: request.url, body });
    waiting.push(() => response.end('{"paid": 12345678901234567890}'));
    came();
  });
});
const called = async (count) => {
  while (calls.length < count) await new Promise((resolve) => (came = resolve));
};
const answer = () => {
  waiting.forEach((it) => it());
  waiting = [];
};
const FLOW = JSON.stringify({
  StartAt: 'Charge',
  States: {
    Charge: { Type: 'Task', Resource: 'arn:aws:states:::lambda:invoke', Parameters: { FunctionName: 'charge', 'Payload.$': '$' }, OutputPath: '$.Payload', Next: 'Rest' },
    Rest: { Type: 'Wait', SecondsPath: '$.rest', Next: 'Done' },
    Done: { Type: 'Succeed' },
  },
});

let browser, server;
before(async () => {
  browser = await browse();
  await new Promise((resolve) => lambda.listen(0, '127.0.0.1', resolve));
  server = await start('serve', '--port', '0', '--endpoint', `Lambda=http://127.0.0.1:${lambda.address().port}`);
});
after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0, 'drained');
  lambda.close();
});

async function studio() {
  const opened = await open(browser, `${server.origin}/console/#/studio`, { reducedMotion: 'reduce' });
  await opened.page.locator('.state.is-succeeded').first().waitFor();
  await put(opened.page, FLOW);
  await opened.page.locator('[data-name="Rest"]').waitFor();
  return opened;
}

test('a run for real is asked for each time, followed while it runs, and shown as one with mocks', async () => {
  const { page, wrong, close } = await studio();
  await page.getByRole('radio', { name: 'for real' }).check();
  await page.getByLabel('Input (JSON)').fill('{"total": 1.50}');
  await page.getByRole('button', { name: 'Run for real…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Run for real' });
  await shows(dialog, /One task calls its service[\s\S]*Charge/);
  assert.deepEqual(await accessible(page), []);
  await pictured(page, 'run-for-real');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await dialog.waitFor({ state: 'detached' });
  assert.equal(calls.length, 0, 'neither edits nor a dialog call anything');
  await page.getByRole('button', { name: 'Run for real…' }).click();
  await dialog.getByRole('button', { name: 'Run for real' }).click();
  await called(1);
  assert.match(calls[0].path, /functions\/charge\/invocations/);
  // The engine writes numbers in their shortest form.
  assert.equal(calls[0].body, '{"total":1.5}');
  await page.locator('[data-name="Charge"].is-open').waitFor();
  await page.getByText('RUNNING', { exact: true }).waitFor();
  await pictured(page, 'running-for-real');
  answer();
  await page.locator('[data-name="Charge"].is-failed, [data-name="Charge"].is-succeeded').waitFor();
  // The answer has no `rest`: the Wait fails.
  await page.getByText('FAILED', { exact: true }).waitFor();
  await page.locator('[data-name="Charge"]').click();
  await page.locator('.panel h2', { hasText: 'Charge' }).waitFor();
  await shows(page.locator('.panel'), '12345678901234567890');
  assert.deepEqual(wrong, []);
  await close();
});

test('it is stopped, and answers of mocks can be kept', async () => {
  const { page, wrong, close } = await studio();
  const before = calls.length;
  await page.getByLabel(/^Mocks/).fill('{"Charge": {"0-9": {"Return": {"Payload": {"rest": 200}}}}}');
  // The mocked run has passed the Wait.
  await page.locator('[data-name="Done"].is-succeeded').waitFor();
  await page.getByRole('radio', { name: 'for real' }).check();
  await page.getByRole('button', { name: 'Run for real…' }).click();
  await page.getByLabel('answer the task that has a mock').check();
  await page.getByText('No task calls a service.').waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Run for real' }).click();
  await page.locator('[data-name="Rest"].is-open').waitFor();
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  await page.getByText('The run was stopped.').waitFor();
  // An edit does not run it, and is said not to be in what is shown.
  await page.getByLabel('Input (JSON)').fill('{"other": 1}');
  await page.getByText('The definition or the input has changed since.').waitFor();
  await pictured(page, 'stopped-for-real');
  assert.equal(calls.length, before, 'the mock answered');
  await page.getByRole('radio', { name: 'with mocks' }).check();
  await page.locator('[data-name="Done"].is-succeeded').waitFor();
  assert.deepEqual(wrong, []);
  await close();
});

test('where no services are called, the page says how drafts would run for real', async () => {
  const at = folder({ 'flow.asl.json': FLOW });
  const address = `Lambda=http://127.0.0.1:${lambda.address().port}`;
  const plain = await start('studio', at);
  const without = await open(browser, plain.address);
  await without.page.locator('[data-name="Charge"]').waitFor();
  await without.page.getByRole('radio', { name: 'for real', disabled: true }).waitFor();
  await shows(without.page.locator('.panel'), '--services');
  await without.close();
  assert.equal(await plain.stop(), 0);
  const calling = await start('studio', at, '--services', '--endpoint', address);
  // Whoever does not know the key gets nothing.
  await assert.rejects(calling.aws('ListStateMachines', {}), /only its own page/);
  const { page, wrong, close } = await open(browser, calling.address);
  const before = calls.length;
  await page.locator('[data-name="Charge"]').waitFor();
  await page.getByRole('radio', { name: 'for real' }).check();
  await page.getByRole('button', { name: 'Run for real…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Run for real' }).click();
  await called(before + 1);
  answer();
  await page.getByText('FAILED', { exact: true }).waitFor();
  assert.deepEqual(wrong, []);
  await close();
  assert.equal(await calling.stop(), 0);
});
