// The studio of a server: state machines are created, opened and updated.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { accessible, binary, browse, folder, open, put, start, text } from './serving.js';

let browser, server;
before(async () => {
  browser = await browse();
  server = await start('serve', '--port', '0', '--no-integrations');
});
after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0, 'drained');
});

const pass = (result) => `{"StartAt":"A","States":{"A":{"Type":"Pass","Result":"${result}","End":true}}}`;
/** Answers the next question of the page, and returns it. */
const asked = (page, answer) =>
  new Promise((resolve) => page.once('dialog', async (dialog) => {
    await (answer ? dialog.accept() : dialog.dismiss());
    resolve(dialog.message());
  }));
const arnOf = (name) => `arn:aws:states:us-east-1:123456789012:stateMachine:${name}`;
const described = async (name) => (await server.aws('DescribeStateMachine', { stateMachineArn: arnOf(name) })).definition;

test('a draft becomes a state machine, is updated, and no change is lost without a question', async () => {
  const { page, wrong, close } = await open(browser, `${server.origin}/console/#/studio`);
  await put(page, pass('one'));
  await page.getByRole('button', { name: 'Create…' }).click();
  await page.getByLabel('Name').fill('not a name');
  await page.getByRole('button', { name: 'Create', exact: true }).click();
  await page.getByRole('alert').filter({ hasText: 'Invalid Name' }).waitFor();
  assert.deepEqual(await accessible(page), []);
  await page.getByLabel('Name').fill('orders');
  await page.getByRole('button', { name: 'Create', exact: true }).click();
  await page.waitForURL(/studio\/arn/);
  const update = page.getByRole('button', { name: 'Update orders' });
  await update.waitFor();
  assert.equal(await update.isDisabled(), true, 'there is nothing to update');
  assert.equal(await described('orders'), pass('one'));

  await put(page, pass('two'));
  await page.keyboard.press('Control+s');
  await page.locator('text=orders is updated').waitFor();
  assert.equal(await described('orders'), pass('two'));

  // Another client was faster.
  await server.aws('UpdateStateMachine', { stateMachineArn: arnOf('orders'), definition: pass('theirs') });
  await put(page, pass('three'));
  let question = asked(page, false);
  await update.click();
  assert.match(await question, /orders was changed since it was opened here/);
  assert.equal(await described('orders'), pass('theirs'));
  assert.equal(await text(page), pass('three'));

  // Leaving asks as well.
  question = asked(page, false);
  await page.getByRole('link', { name: 'State machines' }).click();
  assert.match(await question, /orders has changes that are not saved/);
  await page.waitForURL(/studio\/arn/);
  assert.equal(await text(page), pass('three'));
  question = asked(page, true);
  await update.click();
  await question;
  await page.locator('text=orders is updated').waitFor();
  assert.equal(await described('orders'), pass('three'));
  await page.getByRole('link', { name: 'State machines' }).click();
  await page.getByRole('heading', { name: 'State machines' }).waitFor();
  assert.ok(wrong.every((it) => it.includes('400')), wrong.join());
  await close();
});

test('YAML is created as JSON, and what has errors is not created', async () => {
  const { page, wrong, close } = await open(browser, `${server.origin}/console/#/studio`);
  await page.getByLabel('Format').selectOption('yaml');
  await put(page, 'StartAt: A\nStates: {A: {Type: Wait, Seconds: 1, End: true}} # kept short\n');
  await page.getByRole('button', { name: 'Create…' }).click();
  await page.getByLabel('Name').fill('from-yaml');
  await page.getByRole('button', { name: 'Create', exact: true }).click();
  await page.waitForURL(/studio\/arn/);
  assert.deepEqual(JSON.parse(await described('from-yaml')), { StartAt: 'A', States: { A: { Type: 'Wait', Seconds: 1, End: true } } });
  const update = page.getByRole('button', { name: 'Update from-yaml' });
  await update.waitFor();
  await page.locator('.cm-content').click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('x');
  await page.locator('.problems li.error').first().waitFor();
  assert.equal(await update.isDisabled(), true);
  assert.equal(await page.getByRole('button', { name: 'Create a copy…' }).isDisabled(), true);
  assert.deepEqual(wrong, []);
  await close();
});

test('who may not create or update is told so', async () => {
  const keys = join(folder({}), 'keys.json');
  writeFileSync(keys, JSON.stringify({ keys: [
    { accessKeyId: 'ALL', secretAccessKey: 'all-secret', allow: [{ actions: ['*'], resources: ['*'] }] },
    { accessKeyId: 'READ', secretAccessKey: 'read-secret', allow: [{ actions: ['expressway:*', 'states:Describe*', 'states:List*'], resources: ['*'] }] },
  ] }));
  const guarded = await start('serve', '--port', '0', '--no-integrations', '--auth', keys);
  const of = { id: 'ALL', secret: 'all-secret' };
  const roleArn = 'arn:aws:iam::123456789012:role/any';
  await guarded.aws('CreateStateMachine', { name: 'held', definition: pass('one'), roleArn, type: 'EXPRESS' }, of);
  const { page, close } = await open(browser, `${guarded.origin}/console/#/studio/${encodeURIComponent(arnOf('held'))}`);
  await page.getByLabel('Access key').fill('READ');
  await page.getByLabel('Secret key').fill('read-secret');
  await page.getByRole('button', { name: 'Use this key' }).click();
  await page.getByRole('button', { name: 'Update held' }).waitFor();
  await put(page, pass('two'));
  await page.getByRole('button', { name: 'Update held', disabled: true, description: /READ is not authorized to perform: states:UpdateStateMachine/ }).waitFor();
  await page.getByRole('button', { name: 'Create a copy…' }).click();
  await page.getByLabel('Name').fill('mine');
  await page.getByRole('alert').filter({ hasText: 'states:CreateStateMachine' }).waitFor();
  assert.equal(await page.getByRole('button', { name: 'Create', exact: true }).isDisabled(), true);
  assert.deepEqual(await accessible(page), []);
  await close();
  assert.equal(await guarded.stop(), 0);
});

const TASKS = JSON.stringify({ StartAt: 'Charge', States: {
  Charge: { Type: 'Task', Resource: 'arn:aws:states:::lambda:invoke', Parameters: { FunctionName: 'charge', 'Payload.$': '$' }, ResultSelector: { 'paid.$': '$.Payload.paid', 'at.$': '$$.State.EnteredTime' },
    Retry: [{ ErrorEquals: ['Busy'], IntervalSeconds: 2, MaxAttempts: 3 }], Catch: [{ ErrorEquals: ['Declined'], Next: 'Sorry' }], Next: 'Rest' },
  Rest: { Type: 'Wait', Seconds: 60, End: true },
  Sorry: { Type: 'Pass', End: true },
} });
const ANSWER = '{"StatusCode":200,"Payload":{"paid":12345678901234567890}}';
const MOCKS = `{"Charge":{"0":{"Throw":{"Error":"Busy","Cause":"later"}},"1-9":{"Return":${ANSWER}}}}`;
async function withTasks() {
  const opened = await open(browser, `${server.origin}/console/#/studio`, { acceptDownloads: true });
  const { page } = opened;
  await put(page, TASKS);
  await page.getByLabel('Input (JSON)').fill('{"total": 1.5}');
  await page.getByLabel(/Mocks/).fill(MOCKS);
  // Of the run with these mocks: the ones that were there before succeed as well.
  await page.locator('pre[aria-label="Output"]', { hasText: '12345678901234567890' }).waitFor();
  return opened;
}

test('one state is tested, with what it had in the run', async () => {
  const { page, wrong, close } = await withTasks();
  await page.locator('[data-name="Charge"]').click();
  await page.getByRole('button', { name: 'Test this state…' }).click();
  const dialog = page.getByRole('dialog');
  assert.match(await dialog.getByLabel('Input (JSON)').inputValue(), /"total": 1\.5/);
  assert.match(await dialog.getByLabel('Result (JSON)').inputValue(), /12345678901234567890/);
  await dialog.getByRole('button', { name: 'Test' }).click();
  await dialog.getByText('SUCCEEDED').waitFor();
  await dialog.getByText('then Rest').waitFor();
  assert.match(await dialog.getByLabel('After Parameters').innerText(), /"FunctionName": "charge"[\s\S]*1\.5/);
  assert.match(await dialog.getByLabel('Output', { exact: true }).innerText(), /"paid": 12345678901234567890/);
  assert.deepEqual(await accessible(page), []);
  await dialog.getByLabel('fails').check();
  await dialog.getByLabel('Error').fill('Busy');
  await dialog.getByRole('button', { name: 'Test' }).click();
  await dialog.getByText('RETRIABLE').waitFor();
  await dialog.getByLabel('Error').fill('Declined');
  await dialog.getByRole('button', { name: 'Test' }).click();
  await dialog.getByText('CAUGHT_ERROR').waitFor();
  await dialog.getByText('then Sorry').waitFor();
  assert.match(await dialog.locator('code').innerText(), /^expressway test-state workflow\.asl\.json --state Charge --input '\{[\s\S]*--mock-error Declined --inspection DEBUG$/);
  assert.deepEqual(wrong, []);
  await close();
});

test('a run is taken as files, with which the command does the same', async () => {
  const { page, wrong, close } = await withTasks();
  await page.locator('summary', { hasText: 'This run as files' }).click();
  const at = folder({});
  for (const part of ['Definition', 'Input', 'Mocks']) {
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: part, exact: true }).click()]);
    await file.saveAs(join(at, file.suggestedFilename()));
  }
  // Both at once: the page may run it again meanwhile, at another time.
  const [shown, command] = await page.evaluate(() => ['pre[aria-label="Output"]', '.more[open] code'].map((it) => document.querySelector(it).textContent));
  assert.match(command, /^expressway run workflow\.asl\.json --type EXPRESS --input workflow\.input\.json --mock workflow\.mocks\.json --virtual-time --now \S+Z$/);
  const [, ...words] = command.split(' ');
  const ran = spawnSync(binary, words, { cwd: at, encoding: 'utf8' });
  assert.equal(ran.status, 0, ran.stderr);
  // The same numbers, and the same times.
  assert.equal(ran.stdout.replace(/\s/g, ''), shown.replace(/\s/g, ''));
  assert.match(shown, /12345678901234567890/);
  assert.deepEqual(await accessible(page), []);
  assert.deepEqual(wrong, []);
  await close();
});
