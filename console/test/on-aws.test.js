// What AWS would refuse of a draft, or end, listed in one place.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible, browse, open, pictured, put, shows, start, text } from './serving.js';

const ROLE = 'arn:aws:iam::123456789012:role/r';
let browser, server;
before(async () => {
  browser = await browse();
  server = await start('serve', '--port', '0', '--no-integrations', '--express-history');
});
after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0, 'drained');
});

const DRAFT = `{
  "StartAt": "Ask",
  "TimeoutSeconds": 900,
  "States": {
    "Ask": {
      "Type": "Task",
      "Resource": "arn:aws:states:::nats:request",
      "Parameters": { "Subject": "\${Subject}", "Url": { "Fn::GetAtt": ["Broker", "Url"] } },
      "Next": "Rest"
    },
    "Rest": { "Type": "Wait", "Seconds": 600, "End": true }
  }
}`;

/** The text that is selected in the editor, once it has the focus. */
const selection = (page) => page.waitForFunction(() => document.activeElement?.matches('.cm-content') && getSelection().toString()).then((it) => it.jsonValue());

/** Waits for a row of the table of quotas. */
const row = (region, name) => region.getByRole('row', { name }).waitFor();

test('what AWS refuses, ends and leaves is listed with its place and a fix, by keys too', async () => {
  const { page, wrong, close } = await open(browser, `${server.origin}/console/#/studio`);
  await page.locator('.is-succeeded').first().waitFor();
  await page.locator('.cm-content').click();
  await page.keyboard.press('Control+a');
  await page.keyboard.insertText(DRAFT);
  const region = page.getByRole('region', { name: 'Problems' });
  // By keys: the command palette has it, as every button.
  await page.keyboard.press('Control+k');
  await page.keyboard.type('On AWS');
  await page.keyboard.press('Enter');
  await shows(region.getByRole('status'), 'AWS would refuse this as an Express state machine.');
  await shows(region.locator('li.error'), 'SCHEMA_VALIDATION_FAILED');
  for (const group of ['AWS refuses this', 'Executions fail here on AWS, or are cut', 'A deployment has to replace this'])
    await shows(region.getByRole('heading', { level: 3 }), group);
  await row(region, /Definition \d+ bytes 0 % 1,048,576 bytes/);
  for (const colorScheme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme });
    assert.deepEqual(await accessible(page), [], colorScheme);
  }
  await pictured(page, 'on-aws');
  // A place is gone to.
  await region.getByRole('button', { name: /In this Wait of 600 s/ }).focus();
  await page.keyboard.press('Enter');
  assert.equal(await selection(page), '600');
  await region.getByRole('button', { name: /nats:request/ }).click();
  assert.equal(await selection(page), '"arn:aws:states:::nats:request"');
  // A fix is one step of undo.
  await region.getByRole('button', { name: 'Fix' }).focus();
  await page.keyboard.press('Enter');
  await region.getByRole('button', { name: 'Fix' }).waitFor({ state: 'detached' });
  assert.equal(await text(page), DRAFT.replace('900', '300'));
  await page.locator('.cm-content').focus();
  await page.keyboard.press('Control+z');
  await region.getByRole('button', { name: 'Fix' }).waitFor();
  assert.equal(await text(page), DRAFT);
  // As a Standard machine neither limit is met.
  await page.getByLabel('Type').selectOption('STANDARD');
  await region.getByRole('button', { name: /In this Wait/ }).waitFor({ state: 'detached' });
  await shows(region.getByRole('status'), 'a Standard state machine');
  assert.equal(await region.getByRole('button', { name: 'Fix' }).count(), 0);
  assert.deepEqual(wrong, []);
  await close();
});

test('quotas show what the definition and the last run use, and where', async () => {
  const { page, wrong, close } = await open(browser, `${server.origin}/console/#/studio`);
  await page.locator('.is-succeeded').first().waitFor();
  const grows = {
    QueryLanguage: 'JSONata',
    StartAt: 'Grow',
    States: {
      Grow: { Type: 'Pass', Output: "{% $pad('', 220000, 'x') %}", Next: 'Twice' },
      Twice: { Type: 'Pass', Output: '{% [$states.input, $states.input] %}', End: true },
    },
  };
  await put(page, JSON.stringify(grows, null, 1));
  const region = page.getByRole('region', { name: 'Problems' });
  await region.getByRole('button', { name: 'On AWS' }).click();
  await shows(region.getByRole('status'), 'AWS would create this as an Express state machine.');
  await row(region, /Largest payload: \w+ 220,002 bytes 83 % 262,144 bytes/);
  await shows(region.locator('li.error'), 'States.DataLimitExceeded');
  await shows(region.getByRole('heading', { level: 3 }), 'The last run met a quota');
  assert.deepEqual(await accessible(page), []);
  await pictured(page, 'on-aws-run');
  await region.getByRole('button', { name: /States.DataLimitExceeded/ }).click();
  assert.match(await selection(page), /^\s*"Twice"|^\{/);
  await page.getByLabel('Type').selectOption('STANDARD');
  await row(region, /^Events \d+ events 0 % 25,000 events$/);
  assert.deepEqual(wrong, []);
  await close();
});

test('a machine is measured with its name and its tags', async () => {
  const definition = JSON.stringify({ StartAt: 'A', States: { A: { Type: 'Succeed' } } });
  const tags = Array.from({ length: 42 }, (_, n) => ({ key: `k${n}`, value: 'v' }));
  const { stateMachineArn } = await server.aws('CreateStateMachine', { name: 'tagged', definition, roleArn: ROLE, type: 'STANDARD', tags });
  const { page, wrong, close } = await open(browser, `${server.origin}/console/#/studio/${encodeURIComponent(stateMachineArn)}`);
  await page.locator('.is-succeeded').first().waitFor();
  const region = page.getByRole('region', { name: 'Problems' });
  await region.getByRole('button', { name: 'On AWS' }).click();
  await row(region, 'Tags of the state machine 42 tags 84 % 50 tags');
  await row(region, 'Name of the state machine 6 characters 7 % 80 characters');
  assert.deepEqual(wrong, []);
  await close();
});
