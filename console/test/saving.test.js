// The studio of a server: state machines are created, opened and updated.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { accessible, browse, folder, open, start } from './serving.js';

let browser, server;
before(async () => {
  browser = await browse();
  server = await start('serve', '--port', '0', '--no-integrations');
});
after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0, 'drained');
});

const text = (page) => page.evaluate(() => [...document.querySelectorAll('.cm-line')].map((it) => it.textContent).join('\n'));
const pass = (result) => `{"StartAt":"A","States":{"A":{"Type":"Pass","Result":"${result}","End":true}}}`;
async function put(page, written) {
  await page.locator('.cm-content').click();
  await page.keyboard.press('Control+a');
  await page.keyboard.insertText(written);
  await page.locator('text=No problems.').waitFor();
}
/** Answers the next question of the page, and returns it. */
const asked = (page, answer) =>
  new Promise((resolve) => page.once('dialog', async (dialog) => {
    resolve(dialog.message());
    await (answer ? dialog.accept() : dialog.dismiss());
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
  assert.match(page.url(), /studio\/arn/);
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
  await page.locator('.cm-content').click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('x');
  await page.locator('.problems li.error').first().waitFor();
  assert.equal(await page.getByRole('button', { name: 'Update from-yaml' }).isDisabled(), true);
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
