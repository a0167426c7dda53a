// Commands by name, Map Runs, and two executions side by side.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { accessible, browse, open, shows, start } from './serving.js';

const ROLE = 'arn:aws:iam::123456789012:role/r';
const ended = { SUCCEEDED: true, FAILED: true, ABORTED: true };
let browser, server;
before(async () => {
  browser = await browse();
  server = await start('serve', '--port', '0', '--no-integrations', '--express-history');
});
after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0, 'drained');
});
const page = (address) => `${server.origin}/console/#/${address}`;
const create = async (name, definition) => (await server.aws('CreateStateMachine', { name, definition: JSON.stringify(definition), roleArn: ROLE, type: 'STANDARD' })).stateMachineArn;
async function run(stateMachineArn, name, input) {
  const { executionArn } = await server.aws('StartExecution', { stateMachineArn, name, input: JSON.stringify(input) });
  while (!ended[(await server.aws('DescribeExecution', { executionArn })).status]);
  return executionArn;
}
/** Screenshots in both themes, if they are wanted, and what axe finds in them. */
async function looked(it, name) {
  for (const colorScheme of ['light', 'dark']) {
    await it.emulateMedia({ colorScheme });
    assert.deepEqual(await accessible(it), [], `${name} ${colorScheme}`);
    if (process.env.PICTURES) {
      mkdirSync(process.env.PICTURES, { recursive: true });
      await it.screenshot({ path: join(process.env.PICTURES, `${name}-${colorScheme}.png`) });
    }
  }
}

test('commands are found by their names, with keys only', async () => {
  await create('palette', { StartAt: 'P', States: { P: { Type: 'Pass', End: true } } });
  const { page: it, wrong, close } = await open(browser, page('machines'), { reducedMotion: 'reduce' });
  await it.getByRole('link', { name: 'palette', exact: true }).waitFor();
  await it.keyboard.press('Control+k');
  const field = it.getByRole('combobox', { name: 'Command' });
  await field.waitFor();
  assert.ok((await it.locator('.palette [role=option]').allInnerTexts()).some((it) => /^Commands\s+Ctrl\+K$/.test(it)), 'shortcuts are shown');
  await looked(it, 'palette');
  await it.keyboard.type('start palet');
  assert.deepEqual(await it.locator('.palette [role=option]').allInnerTexts(), ['Start palette']);
  await it.keyboard.press('Enter');
  await it.getByRole('heading', { name: 'Start palette' }).waitFor();
  // What is open is what commands are about.
  await it.keyboard.press('Meta+k');
  await it.keyboard.type('close');
  await it.keyboard.press('Enter');
  await it.locator('dialog[open]').waitFor({ state: 'detached' });
  await it.keyboard.press('Control+k');
  await it.keyboard.type('nothing is called like that');
  await it.getByText('No command matches.').waitFor();
  await it.keyboard.press('Escape');
  await it.locator('dialog[open]').waitFor({ state: 'detached' });
  await it.keyboard.press('Control+k');
  await it.keyboard.type('studio');
  await it.keyboard.press('ArrowDown');
  await it.keyboard.press('ArrowUp');
  await it.keyboard.press('Enter');
  await it.locator('.state.is-succeeded').first().waitFor();
  // In the editor too.
  await it.locator('.cm-content').click();
  await it.keyboard.press('Control+k');
  await it.keyboard.type('zoom in');
  assert.match((await it.locator('.palette [role=option]').allInnerTexts()).join(), /zoom in\s+\+/);
  await it.keyboard.press('Escape');
  // What is folded away is unfolded.
  await it.keyboard.press('Control+k');
  await it.keyboard.type('mermaid');
  const [download] = await Promise.all([it.waitForEvent('download'), it.keyboard.press('Enter')]);
  assert.match(download.suggestedFilename(), /\.mmd$/);
  assert.deepEqual(wrong, []);
  await close();
});

test('a Map Run is followed and changed while it runs', async () => {
  const machine = await create('batches', {
    StartAt: 'Each',
    States: {
      Each: {
        Type: 'Map', Label: 'Each', ItemsPath: '$', MaxConcurrency: 2, End: true,
        ItemProcessor: { ProcessorConfig: { Mode: 'DISTRIBUTED', ExecutionType: 'STANDARD' }, StartAt: 'Hold', States: { Hold: { Type: 'Wait', Seconds: 3_600, End: true } } },
      },
    },
  });
  const { executionArn } = await server.aws('StartExecution', { stateMachineArn: machine, input: '[1,2,3,4,5]' });
  const { page: it, wrong, close } = await open(browser, page(`execution/${encodeURIComponent(executionArn)}`), { reducedMotion: 'reduce' });
  const run = it.getByRole('article', { name: 'Map Run of Each' });
  const row = (name) => run.getByRole('row', { name: new RegExp(`^${name}`) });
  await row('running').getByRole('cell', { name: '2' }).first().waitFor();
  await shows(row('all'), '5');
  await looked(it, 'map-run');
  await run.getByLabel('At once').fill('4');
  await run.getByLabel('Failures tolerated (%)').fill('12.5');
  await run.getByRole('button', { name: 'Change Each' }).click();
  await it.getByText('Each is changed.').waitFor();
  await row('running').getByRole('cell', { name: '4' }).first().waitFor();
  const [{ mapRunArn }] = (await server.aws('ListMapRuns', { executionArn })).mapRuns;
  const { maxConcurrency, toleratedFailurePercentage, toleratedFailureCount } = await server.aws('DescribeMapRun', { mapRunArn });
  assert.deepEqual([maxConcurrency, toleratedFailurePercentage, toleratedFailureCount], [4, 12.5, 0]);
  await run.getByRole('link', { name: 'Executions of the Map Run Each' }).click();
  await it.getByText('4 executions').waitFor();
  assert.match(await it.locator('h1').innerText(), /of the Map Run batches\/Each/);
  assert.equal(await it.locator('.rows-all .row').count(), 4);
  await it.goBack();
  await it.getByRole('button', { name: 'Stop', exact: true }).click();
  await run.getByText('ABORTED', { exact: true }).waitFor();
  // What is over is not changed.
  await run.getByRole('button').first().waitFor({ state: 'detached' });
  assert.deepEqual(wrong, []);
  await close();
});

test('two executions stand side by side, and the address says which', async () => {
  const machine = await create('beside', {
    StartAt: 'Which',
    States: {
      Which: { Type: 'Choice', Choices: [{ Variable: '$.n', NumericGreaterThan: 5, Next: 'Large' }], Default: 'Small' },
      Small: { Type: 'Pass', Next: 'Done' }, Large: { Type: 'Pass', Next: 'Done' }, Done: { Type: 'Pass', End: true },
    },
  });
  const a = await run(machine, 'first', { n: 1, same: true });
  const b = await run(machine, 'second', { n: 9, same: true });
  const { page: it, wrong, close } = await open(browser, page(`execution/${encodeURIComponent(a)}`), { reducedMotion: 'reduce' });
  await it.getByRole('link', { name: 'Compare…' }).click();
  await it.getByLabel('With').selectOption(b);
  const side = (name) => it.getByRole('region', { name, exact: true });
  await side('Execution A').locator('[data-name="Small"].is-succeeded').waitFor();
  await side('Execution B').locator('[data-name="Large"].is-succeeded').waitFor();
  assert.deepEqual((await side('Differences').getByRole('listitem').allInnerTexts()).sort(), ['Large only in B', 'Small only in A']);
  await side('Execution A').locator('[data-name="Done"]').click();
  const diff = side('Differences').locator('pre[aria-label="Input, from A to B"]');
  await diff.waitFor();
  const lines = (await diff.innerText()).split('\n').filter((line) => /^[-+]/.test(line)).map((line) => line.replace(/\s+/g, ' '));
  assert.deepEqual(lines, ['- "n": 1,', '+ "n": 9,']);
  await looked(it, 'beside');
  // Who is given the address sees the same.
  assert.match(it.url(), /state=Done/);
  await it.reload();
  await diff.waitFor();
  await it.getByRole('link', { name: 'Swap' }).click();
  await side('Execution A').getByRole('link', { name: 'second' }).waitFor();
  const other = await run(await create('another', { StartAt: 'P', States: { P: { Type: 'Pass', End: true } } }), 'third', {});
  await it.goto(page(`compare/${encodeURIComponent(a)}/${encodeURIComponent(other)}`));
  await it.getByRole('alert').filter({ hasText: 'two machines' }).waitFor();
  assert.deepEqual(wrong, []);
  await close();
});
