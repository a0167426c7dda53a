// The studio: forms, completion, comparing, coverage, exports, breakpoints.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { accessible, browse, drawn, open, put, start, text } from './serving.js';

let browser, server;
before(async () => {
  browser = await browse();
  server = await start('serve', '--port', '0', '--no-integrations');
});
after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0, 'drained');
});

async function studio() {
  const opened = await open(browser, `${server.origin}/console/#/studio`);
  await opened.page.locator('.is-succeeded').first().waitFor();
  return opened;
}

test('fields, ways, wrapping and copying are forms, and patches of the text', async () => {
  const { page, wrong, close } = await studio();
  const before = await text(page);
  const state = async (name) => {
    await page.locator(`[data-name="${name}"]`).focus();
    await page.keyboard.press('Enter');
    await page.locator('.panel h2, .change').first().waitFor();
  };
  await state('Ask for approval');
  const seconds = page.getByRole('textbox', { name: 'Seconds' });
  await seconds.fill('30');
  await seconds.press('Tab');
  await page.waitForFunction(() => document.querySelector('.cm-content').textContent.includes('"Seconds": 30'));
  await page.getByLabel('Leads to').selectOption('Ship each line');
  await page.waitForFunction(() => document.querySelector('.cm-content').textContent.includes('"Seconds": 30, "Next": "Ship each line"'));
  await page.locator('.fields form select').selectOption('Comment');
  await page.getByRole('button', { name: 'Add the field' }).click();
  await page.getByRole('textbox', { name: 'Comment' }).waitFor();
  await page.getByRole('button', { name: 'Remove Comment' }).click();
  await page.getByRole('textbox', { name: 'Comment' }).waitFor({ state: 'detached' });
  assert.deepEqual(await accessible(page), []);
  await page.getByRole('button', { name: 'Copy', exact: true }).click();
  await state('Charge');
  await page.getByLabel('Insert a state of the type').selectOption('copied');
  await page.getByRole('button', { name: 'before Ship each line' }).click();
  await page.locator('[data-name="New Wait"]').waitFor();
  assert.match(await text(page), /"New Wait": \{ "Type": "Wait", "Seconds": 30, "Next": "Ship each line" \}/);
  await page.getByRole('button', { name: 'Wrap in a Map' }).click();
  await page.locator('[data-name="New Map"]').waitFor();
  assert.match(await text(page), /"New Map": \{ "Type": "Map", "ItemProcessor": \{ "StartAt": "New Wait"/);
  await page.locator('.cm-content').focus();
  for (let n = 0; n < 6; n++) await page.keyboard.press('Control+z');
  assert.equal(await text(page), before);
  assert.deepEqual(wrong, []);
  await close();
});

test('states come from the flow, from services with their actions, and from patterns', async () => {
  const { page, wrong, close } = await studio();
  const before = await text(page);
  const chosen = page.getByLabel('Insert a state of the type');
  await page.locator('[data-name="Charge"]').focus();
  await page.keyboard.press('Enter');
  // What was inserted is selected, and the next one is inserted after it.
  const insert = async (choose, name, written) => {
    await choose();
    await page.getByRole('button', { name: 'before Ship each line' }).click();
    await page.locator(`.graph-frame:not(.stale) [data-name="${name}"]`).waitFor();
    await page.waitForFunction((name) => document.querySelector('.change input')?.value === name, name);
    await page.locator('text=No problems.').waitFor();
    assert.ok((await text(page)).includes(`"${name}": { ${written}`), await text(page));
  };
  // Express machines have no callbacks.
  await page.getByRole('combobox', { name: /^Type/ }).selectOption('STANDARD');
  await insert(() => chosen.selectOption('Choice'), 'New Choice', '"Type": "Choice", "Choices": [{ "Condition": "{% true %}"');
  await insert(() => chosen.selectOption('SQS: send a message'), 'New Task', '"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "Arguments": {');
  await insert(async () => {
    await chosen.selectOption('service');
    await page.getByLabel('Words of its service and action').fill('S3 listbuckets');
    await page.getByRole('combobox', { name: /^Resource/ }).selectOption('arn:aws:states:::aws-sdk:s3:listBuckets');
    assert.deepEqual(await accessible(page), []);
  }, 'New Task 2', '"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:listBuckets"');
  // Each pattern is a state without problems, in this definition's language.
  await insert(() => chosen.selectOption('Process each item'), 'New Map', '"Type": "Map", "Items": "{% $states.input.items %}"');
  await insert(() => chosen.selectOption('Do two things at once'), 'New Parallel', '"Type": "Parallel", "Branches": [{');
  await insert(() => chosen.selectOption('Ask and wait for the answer'), 'New Task 3', '"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken"');
  await insert(() => chosen.selectOption('Call a function, and again if it fails'), 'New Task 4', '"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke"');
  await page.locator('.cm-content').focus();
  for (let n = 0; n < 7; n++) await page.keyboard.press('Control+z');
  assert.equal(await text(page), before);
  assert.deepEqual(wrong, []);
  await close();
});

test('what may be written is offered: fields, states, `$states`, functions, and what the last run had', async () => {
  const { page, wrong, close } = await studio();
  /** Types at the mark `|`, and waits until this is offered. */
  const offers = async (written, typed, wanted) => {
    const definition = written.replace('|', '');
    // The run of this text has the data that members are known from.
    const isRun = (request) => request.headers()['x-amz-target'] === 'Expressway.Run' && JSON.parse(request.postData()).text === definition;
    const run = page.waitForResponse((response) => isRun(response.request()));
    await put(page, definition);
    await run;
    await page.locator('[data-name="A"].is-succeeded').waitFor();
    await page.locator('.cm-content').focus();
    await page.keyboard.press('Control+Home');
    for (let n = 0; n < written.indexOf('|'); n++) await page.keyboard.press('ArrowRight');
    await page.keyboard.type(typed);
    await page.keyboard.press('Control+Space');
    await page.locator('.cm-tooltip-autocomplete .cm-completionLabel', { hasText: new RegExp(`^${wanted.replace('$', '\\$')}$`) }).waitFor();
    await page.keyboard.press('Escape');
  };
  const jsonata = '{"QueryLanguage":"JSONata","StartAt":"A","States":{"A":{"Type":"Pass","Output":"{% 1|  %}","Next":"Beta"},"Beta":{"Type":"Succeed"}}}';
  await offers(jsonata, ' + $states.', 'errorOutput');
  await offers(jsonata, ' + $states.input.', 'total');
  await offers(jsonata, ' + $upper', '$uppercase');
  await offers(jsonata, ' + $states.context.Execution.', 'StartTime');
  const path = '{"StartAt":"A","States":{"A":{"Type":"Pass",|"Next":"Beta"},"Beta":{"Type":"Succeed"}}}';
  await offers(path, '"Res', 'ResultPath');
  await offers(path.replace('|', '"InputPath":"$|",'), '.', 'total');
  await offers('{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"|Beta"},"Beta":{"Type":"Succeed"}}}', 'B', 'Beta');
  assert.ok(wrong.every((it) => it.includes('400')), wrong.join());
  await close();
});

test('versions are compared, runs covered, a run stopped at breakpoints, its bill told', async () => {
  const { page, wrong, close } = await studio();
  const open = (name) => page.locator('summary', { hasText: name }).click();
  await open('Compare');
  await page.getByRole('button', { name: /Remember this version/ }).click();
  await page.locator('text=No difference in what it does.').waitFor();
  const written = await text(page);
  await put(page, written.replace('"Seconds": 120', '"Seconds": 60').replace('"Card.Busy"', '"Card.Slow"').replace('"Default": "Charge"', '"Default": "Say sorry"'));
  await page.locator('.changes li').nth(2).waitFor();
  const changes = await page.locator('.changes li').allInnerTexts();
  assert.deepEqual(changes, ['Ask for approval is changed', 'Charge is changed', 'Check the order leads elsewhere']);
  await page.locator('[data-name="Charge"].is-open').waitFor();
  assert.match(await page.locator('.diff').innerText(), /-\s+"Default": "Charge"/);
  assert.deepEqual(await accessible(page), []);
  await page.getByRole('button', { name: 'Stop comparing' }).click();
  await put(page, written);
  await open('Coverage');
  await page.getByLabel(/colour what the runs/).check();
  await page.getByRole('button', { name: 'Run now' }).click();
  // The run of the text that was put there may come to its end only now, and counts then.
  await page.getByText(/^\d runs?: 5 of 6 states/).waitFor();
  await page.getByLabel('Input (JSON)').fill('{"total": 1}');
  await page.getByText(/^\d runs: 5 of 6 states, 6 of 7 ways/).waitFor();
  await page.getByLabel(/colour what the runs/).uncheck();
  await open('Bill');
  await page.getByText('1,000 executions like this run, about:').waitFor();
  assert.match(await page.locator('.more[open]', { hasText: 'Bill' }).innerText(), /Standard\s+\$0\.\d+ \(\d+ transitions each\)[\s\S]+Express/);
  await page.locator('[data-name="Pack"]').click();
  await page.getByLabel('breakpoint').check();
  await page.getByRole('button', { name: '|◀ To the first event' }).click();
  await page.getByRole('button', { name: '●▶ To the next breakpoint' }).click();
  assert.match(await page.locator('.scrub output').innerText(), /PassStateEntered/);
  await drawn(page);
  assert.equal(await page.locator('[data-name="Pack"].stop').count(), 1);
  assert.deepEqual(wrong, []);
  await close();
});

test('pictures are taken along: SVG, Mermaid, and one HTML file that is inert', async () => {
  const { page, wrong, close } = await studio();
  const name = '<script>alert(1)</script>';
  await put(page, JSON.stringify({ StartAt: name, States: { [name]: { Type: 'Pass', Result: '<img src=x onerror=alert(1)>', End: true } } }));
  await page.locator('summary', { hasText: 'Export' }).click();
  const taken = {};
  for (const form of ['SVG', 'Mermaid', 'One HTML file']) {
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: form, exact: true }).click()]);
    taken[form] = readFileSync(await download.path(), 'utf8');
  }
  assert.match(taken.SVG, /^<svg /);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'PNG', exact: true }).click()]);
  assert.match(download.suggestedFilename(), /\.png$/);
  const picture = readFileSync(await download.path());
  assert.equal(picture.subarray(1, 4).toString(), 'PNG');
  const [, width, height] = /width="(\d+)" height="(\d+)"/.exec(taken.SVG);
  assert.deepEqual([picture.readUInt32BE(16), picture.readUInt32BE(20)], [2 * width, 2 * height]);
  assert.match(taken.Mermaid, /^flowchart TD/);
  assert.ok(!/<script|<img/.test(taken['One HTML file']), taken['One HTML file'].slice(0, 2_000));
  const context = await browser.newContext();
  const alone = await context.newPage();
  const asked = [];
  alone.on('request', (request) => asked.push(request.url()));
  alone.on('dialog', (dialog) => asked.push(dialog.message()));
  await alone.setContent(taken['One HTML file']);
  assert.match(await alone.locator('h2').first().innerText(), /Run: SUCCEEDED/);
  assert.deepEqual(asked, []);
  await context.close();
  assert.deepEqual(wrong, []);
  await close();
});

test('the value of the expression at the caret is that of the last run', async () => {
  const { page, wrong, close } = await studio();
  const value = page.getByRole('group', { name: 'Value at the caret' });
  /** Selects this text in the first string that has it, or puts the caret there. */
  const at = async (wanted, shown, alone = false) => {
    await page.locator('.cm-content').focus();
    await page.evaluate(([wanted, alone]) => {
      const nodes = document.createTreeWalker(document.querySelector('.cm-content'), NodeFilter.SHOW_TEXT);
      while (nodes.nextNode() && !nodes.currentNode.data.includes(wanted));
      const from = nodes.currentNode.data.indexOf(wanted);
      getSelection().setBaseAndExtent(nodes.currentNode, from, nodes.currentNode, alone ? from : from + wanted.length);
    }, [wanted, alone]);
    await value.getByText(shown, { exact: true }).waitFor();
  };
  await at('$states.input.total', '250');
  await at('$states.input.total > 100', 'true');
  // The caret alone: the whole expression, of the last visit.
  await at('packed', '"pen packed"', true);
  await value.getByText('in the last of 2 visits').waitFor();
  await at('$states.result.Payload', '{"paid":true,"lines":["book","pen"]}');
  await at('$states.input.lines', '["book","pen"]');
  assert.deepEqual(await accessible(page), []);
  await put(page, JSON.stringify({
    StartAt: 'Sum', States: {
      Sum: { Type: 'Pass', Parameters: { 'all.$': "States.Format('{} of {}', $.total, $$.State.Name)" }, Assign: { 'seen.$': '$.all' }, Next: 'Never' },
      Never: { Type: 'Choice', Choices: [{ Variable: '$seen', IsPresent: true, Next: 'Last' }], Default: 'Other' },
      Last: { Type: 'Pass', End: true }, Other: { Type: 'Pass', InputPath: '$.nothing', End: true },
    },
  }, null, 2));
  await page.locator('.is-succeeded').first().waitFor();
  await at('$seen', '"250 of Sum"', true);
  await at('$.total', '250');
  await at('$.all', '"250 of Sum"', true);
  await at('$.nothing', 'The last run did not come to Other', true);
  assert.deepEqual(wrong, []);
  await close();
});
