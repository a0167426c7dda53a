// The console of a server that works: lists that move, executions that go on, failures, rates, and who may see what.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { accessible, browse, drawn, folder, open, shows, SLOW, start } from './serving.js';
import { starting } from './starting.js';

const ROLE = 'arn:aws:iam::123456789012:role/r';
const pass = (end) => ({ StartAt: 'P', States: { P: { Type: 'Pass', ...end } } });
let browser, server;
before(async () => {
  browser = await browse();
  server = await start('serve', '--port', '0', '--no-integrations', '--express-history');
});
after(async () => {
  await browser?.close();
  assert.equal(await server?.stop(), 0, 'drained');
});

async function create(name, definition, type = 'STANDARD', of = server) {
  return (await of.aws('CreateStateMachine', { name, definition: JSON.stringify(definition), roleArn: ROLE, type })).stateMachineArn;
}
const page = (address) => `${server.origin}/console/#/${address}`;

test('a list grows while it is looked at, and stays while it is scrolled', async () => {
  const machine = await create('many', pass({ End: true }));
  const begin = async (from, to) => {
    for (let n = from; n < to; n += 50)
      await Promise.all(Array.from({ length: Math.min(50, to - n) }, (_, i) => server.aws('StartExecution', { stateMachineArn: machine, name: `run-${String(n + i).padStart(5, '0')}` })));
  };
  await begin(0, 600);
  const { page: it, wrong, close } = await open(browser, page(`executions/${encodeURIComponent(machine)}`));
  await it.locator('text=600 executions').waitFor();
  assert.deepEqual(await accessible(it), []);
  await begin(600, 650);
  await it.locator('text=650 executions').waitFor();
  await it.getByRole('link', { name: 'run-00649' }).waitFor();
  // The row below the pointer stays there.
  await it.locator('.list').evaluate((list) => (list.scrollTop = 300 * 32));
  const middle = () => it.locator('.list').evaluate((list) => {
    const box = list.getBoundingClientRect();
    return document.elementFromPoint(box.left + 60, box.top + box.height / 2)?.closest('.row')?.querySelector('a')?.textContent;
  });
  await it.waitForFunction(() => document.querySelectorAll('.list .row a').length > 20 && [...document.querySelectorAll('.list .row a')].some((a) => a.textContent === 'run-00340'));
  const before = await middle();
  assert.match(before ?? '', /^run-/);
  await begin(650, 700);
  await it.getByRole('button', { name: '50 newer' }).waitFor();
  assert.equal(await middle(), before);
  await it.getByRole('button', { name: '50 newer' }).click();
  await it.getByRole('link', { name: 'run-00699' }).waitFor();
  // The filter stands in the address.
  await it.getByLabel('Name contains').fill('00012');
  await it.locator('text=1 execution').waitFor();
  await it.waitForURL(/name=00012/);
  await it.reload();
  await it.locator('text=1 execution').waitFor();
  assert.deepEqual(wrong, []);
  await close();
});

test('an execution goes on before the eyes, with tries and waits on its timeline', async () => {
  const activity = (await server.aws('CreateActivity', { name: 'approve' })).activityArn;
  const machine = await create('approvals', {
    StartAt: 'Ask',
    States: {
      Ask: { Type: 'Task', Resource: activity, Retry: [{ ErrorEquals: ['Again'], IntervalSeconds: 1, MaxAttempts: 1 }], Next: 'Rest' },
      Rest: { Type: 'Wait', Seconds: 1, Next: 'Done' },
      Done: { Type: 'Succeed' },
    },
  });
  const { executionArn } = await server.aws('StartExecution', { stateMachineArn: machine, input: '{"order": 7}' });
  const { page: it, wrong, close } = await open(browser, page(`execution/${encodeURIComponent(executionArn)}`));
  await it.locator('.state.is-open', { hasText: 'Ask' }).waitFor();
  const answer = async () => {
    await it.getByRole('button', { name: 'Answer…' }).click();
    await it.getByRole('button', { name: 'Take a task' }).click();
    await it.getByRole('region', { name: 'Input of the task' }).or(it.locator('pre[aria-label="Input of the task"]')).first().waitFor();
  };
  await answer();
  assert.match(await it.locator('pre[aria-label="Input of the task"]').innerText(), /"order": 7/);
  assert.deepEqual(await accessible(it), []);
  await it.getByLabel('it failed').check();
  await it.getByLabel('Error').fill('Again');
  await it.getByRole('button', { name: 'Send the answer' }).click();
  await answer();
  await it.getByLabel('Output (JSON)').fill('{"approved": true, "by": 12345}');
  await it.getByRole('button', { name: 'Send the answer' }).click();
  await it.locator('.heading .status', { hasText: 'SUCCEEDED' }).waitFor();
  await it.getByRole('button', { name: 'Timeline' }).click();
  await it.locator('.timeline .bar').nth(4).waitFor();
  const bars = await it.locator('.timeline .bar').evaluateAll((bars) => bars.map((bar) => bar.className.replace(/ svelte-\w+/, '')));
  assert.deepEqual(bars, ['bar failed', 'bar retry', 'bar work', 'bar wait', 'bar work']);
  assert.deepEqual(await accessible(it), []);
  await it.locator('.timeline').getByRole('button', { name: 'Ask' }).click();
  await it.getByLabel('difference of input and output').check();
  await shows(it.locator('.diff'), '"by": 12345');
  const diff = await it.locator('.diff').innerText();
  assert.match(diff, /-\s+"order": 7/);
  assert.match(diff, /\+\s+"by": 12345/);
  assert.deepEqual(wrong, []);
  await close();
});

test('a callback is answered by its token, in the form', async () => {
  // A queue that takes every message: the token is in it, and nobody reads it there.
  const sent = [];
  const queue = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    sent.push(JSON.parse(body));
    response.setHeader('content-type', 'application/x-amz-json-1.0');
    response.end(JSON.stringify({ MessageId: 'm-1' }));
  });
  await new Promise((resolve) => queue.listen(0, '127.0.0.1', resolve));
  const at = `http://127.0.0.1:${queue.address().port}`;
  const own = await start('serve', '--port', '0', '--endpoint', `sqs=${at}`);
  const ask = (name) => ({
    StartAt: name,
    States: { [name]: { Type: 'Task', Resource: 'arn:aws:states:::sqs:sendMessage.waitForTaskToken', Parameters: { QueueUrl: `${at}/q`, MessageBody: { 'token.$': '$$.Task.Token' } }, Retry: [{ ErrorEquals: ['Again'], IntervalSeconds: 1, MaxAttempts: 1 }], End: true } },
  });
  const { executionArn } = await own.aws('StartExecution', { stateMachineArn: await create('callbacks', ask('Approve'), 'STANDARD', own) });
  const { page: it, wrong, close } = await open(browser, `${own.origin}/console/#/execution/${encodeURIComponent(executionArn)}`);
  const token = () => it.locator('dialog[open] code').innerText();
  await it.getByText('waits for an answer to its token').waitFor();
  await it.getByRole('button', { name: 'Answer…' }).click();
  const first = await token();
  assert.match(JSON.stringify(sent[0]), new RegExp(first), 'the token that was sent');
  assert.deepEqual(await accessible(it), []);
  // What is no JSON is refused, and the form stays.
  await it.getByLabel('Output (JSON)').fill('{');
  await it.getByRole('button', { name: 'Send the answer' }).click();
  await it.locator('dialog[open]').getByRole('alert').waitFor();
  await it.getByLabel('it failed').check();
  await it.getByLabel('Error').fill('Again');
  await it.getByRole('button', { name: 'Send the answer' }).click();
  await it.locator('dialog[open]').waitFor({ state: 'detached' });
  // The next attempt has a token of its own.
  await it.getByRole('tab', { name: 'Events (9)' }).waitFor();
  await it.getByRole('button', { name: 'Answer…' }).click();
  assert.notEqual(await token(), first);
  await it.getByLabel('Output (JSON)').fill('{"approved": 1.50}');
  await it.getByRole('button', { name: 'Send the answer' }).click();
  await it.locator('.heading .status', { hasText: 'SUCCEEDED' }).waitFor();
  await shows(it.locator('pre[aria-label="Output"]'), /"approved": 1\.5/);
  assert.equal(sent.length, 2);
  // The page logs the answer that was refused.
  assert.deepEqual(wrong.filter((it) => !/status of 400/.test(it)), []);
  await close();
  assert.equal(await own.stop(), 0);
  queue.close();
});

test('a callback that nothing could send is refused', async () => {
  const machine = await create('callbacks', {
    StartAt: 'Wait for it',
    States: { 'Wait for it': { Type: 'Task', Resource: 'arn:aws:states:::sqs:sendMessage.waitForTaskToken', Parameters: { QueueUrl: 'http://127.0.0.1:9/q', 'MessageBody.$': '$$.Task.Token' }, End: true } },
  }).catch((error) => String(error));
  // Without integrations the server refuses such a machine, and says so.
  assert.match(machine, /arn:aws:states|not supported|cannot/i);
});

test('iterations of a large Map are shown a thousand at a time; 20,000 events open at once', async () => {
  const machine = await create('fan', {
    StartAt: 'Each',
    States: { Each: { Type: 'Map', ItemsPath: '$', ItemProcessor: { StartAt: 'One', States: { One: { Type: 'Pass', End: true } } }, End: true } },
  });
  const { executionArn } = await server.aws('StartExecution', { stateMachineArn: machine, input: JSON.stringify(Array.from({ length: 5_000 }, (_, n) => n)) });
  for (;;) if ((await server.aws('DescribeExecution', { executionArn })).status !== 'RUNNING') break;
  const { page: it, wrong, began, close } = await open(browser, page(`execution/${encodeURIComponent(executionArn)}`));
  await it.locator('.state.is-succeeded', { hasText: 'Each' }).waitFor();
  const took = performance.now() - began;
  console.log(`an execution of 20,006 events: ${took.toFixed(0)} ms`);
  assert.ok(took <= 1_000 * SLOW, `${took} ms`);
  await it.getByRole('button', { name: 'Timeline' }).click();
  assert.equal(await it.locator('.timeline').getAttribute('aria-rowcount'), '1002');
  await it.getByLabel('Iterations of Each').selectOption('4');
  await it.locator('.timeline .line', { hasText: '[4000]' }).waitFor();
  const nodes = await it.evaluate(() => document.querySelectorAll('*').length);
  console.log(`its timeline: ${nodes} DOM nodes`);
  assert.ok(nodes < 3_000);
  assert.deepEqual(wrong, []);
  await close();
});

test('a long list is scrolled and filtered while 5,000 executions a second start', async () => {
  // Where things are slow, a tenth: what is measured is the page, not how long it takes to start so many.
  const count = SLOW > 1 ? 10_000 : 100_000;
  const perSecond = SLOW > 1 ? 500 : 5_000;
  const own = await start('serve', '--port', '0', '--no-integrations', '--express-history');
  const machine = await create('crowd', pass({ End: true }), 'EXPRESS', own);
  assert.equal(await starting(own.origin, machine, 'crowd-', { count }).started, count);
  const { page: it, wrong, close } = await open(browser, `${own.origin}/console/#/executions/${encodeURIComponent(machine)}`);
  await it.locator(`text=${count.toLocaleString('en')} executions`).waitFor();
  const since = performance.now();
  const load = starting(own.origin, machine, 'crowd-', { from: count, perSecond });
  const name = it.getByLabel('Name contains');
  const scrolled = [];
  const filtered = [];
  for (let turn = 0; turn < 5; turn++) {
    await name.fill('');
    await it.locator('[role=status]', { hasText: /\d,\d{3} executions/ }).waitFor();
    // Ten of the newest: the server forgets the oldest when there are more than it has room for.
    const newest = await it.locator('.list .row a').first().innerText();
    const part = `crowd-${String(Math.floor(Number(newest.slice(6)) / 10) - 1).padStart(6, '0')}`;
    const frames = await it.locator('.list').evaluate(async (list) => {
      const took = [];
      for (let n = 0, last = performance.now(); n < 120; n++) {
        list.scrollTop += 400;
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        took.push(now - last);
        last = now;
      }
      return took.sort((a, b) => a - b);
    });
    scrolled.push(frames[Math.floor(frames.length * 0.95)]);
    // From the key to the frame with the list. It is measured in the page, as this process has other things to do.
    const took = it.evaluate(() => new Promise((resolve) => {
      let began = 0;
      document.addEventListener('input', () => (began = performance.now()), { once: true, capture: true });
      new MutationObserver((_, observer) => {
        if (!began || !/^\s*10 executions/.test(document.querySelector('[role=status]')?.textContent ?? '')) return;
        observer.disconnect();
        requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)));
      }).observe(document.body, { subtree: true, childList: true, characterData: true });
    }));
    await name.fill(part);
    filtered.push(await took);
  }
  const started = await load.stop();
  const rate = (1_000 * started) / (performance.now() - since);
  const median = (of) => of.toSorted((a, b) => a - b)[of.length >> 1];
  const told = (of) => `${median(of).toFixed(0)} ms (${of.map((it) => it.toFixed(0)).join(', ')})`;
  const nodes = await it.evaluate(() => document.querySelectorAll('*').length);
  console.log(`list of ${count} while ${rate.toFixed(0)} a second start: scrolled p95 ${told(scrolled)}, filtered in ${told(filtered)}, ${nodes} DOM nodes`);
  assert.ok(nodes < 3_000, `${nodes}`);
  assert.deepEqual(wrong, []);
  await close();
  assert.equal(await own.stop(), 0);
});

test('failures stand in groups', async () => {
  const machine = await create('failing', { StartAt: 'F', States: { F: { Type: 'Fail', Error: 'Order.Lost', CausePath: '$.cause' } } });
  for (let n = 0; n < 7; n++) await server.aws('StartExecution', { stateMachineArn: machine, input: JSON.stringify({ cause: n < 6 ? `order 1${n} <b>is</b> gone` : 'something else' }) });
  const { page: it, wrong, close } = await open(browser, page(`failures/${encodeURIComponent(machine)}`));
  await it.locator('text=7 of 7 executions did not succeed').waitFor();
  const rows = await it.locator('tbody tr').allInnerTexts();
  assert.equal(rows.length, 2);
  assert.match(rows[0], /^6\s+F\s+Order\.Lost\s+order 1\d <b>is<\/b> gone/);
  assert.deepEqual(await accessible(it), []);
  await it.getByRole('link', { name: 'all', exact: true }).click();
  await it.locator('text=7 executions').waitFor();
  assert.deepEqual(wrong, []);
  await close();
});

test('a machine shows how often its states and edges are passed', async () => {
  const machine = await create('hot', {
    StartAt: 'Which',
    States: { Which: { Type: 'Choice', Choices: [{ Variable: '$.n', NumericLessThan: 3, Next: 'Small' }], Default: 'Large' }, Small: { Type: 'Pass', End: true }, Large: { Type: 'Fail', Error: 'Large' } },
  }, 'EXPRESS');
  const { page: it, wrong, close } = await open(browser, page(`machine/${encodeURIComponent(machine)}`));
  await it.locator('text=Every execution is counted').waitFor();
  let runs = true;
  const load = (async () => {
    for (let n = 0; runs; n++) await server.aws('StartSyncExecution', { stateMachineArn: machine, input: `{"n": ${n % 4}}` });
  })();
  await it.locator('[data-name="Which"].hot .badge', { hasText: '/s' }).waitFor();
  await it.locator('.edge.hot').first().waitFor({ state: 'attached' });
  const rates = () => it.locator('table.small tbody tr').evaluateAll((rows) => Object.fromEntries(rows.map((row) => [row.cells[0].innerText, Number.parseFloat(row.cells[1].innerText.replace(/k/, '000'))])));
  // Three of four go one way: rates come to that when there were enough.
  const shares = ({ Which, Small, Large }) => Math.abs(Small / Which - 0.75) < 0.1 && Math.abs(Large / Which - 0.25) < 0.1;
  let seen = {};
  for (const until = performance.now() + 120_000; !shares(seen) && performance.now() < until; ) {
    seen = await rates();
    await drawn(it);
  }
  console.log(`rates: ${JSON.stringify(seen)}`);
  assert.ok(shares(seen));
  await it.getByLabel('Colour by').selectOption('failures');
  await it.locator('[data-name="Large"].hot-bad').waitFor();
  assert.equal(await it.locator('[data-name="Small"].hot').count(), 0);
  assert.deepEqual(await accessible(it), []);
  runs = false;
  await load;
  assert.deepEqual(wrong, []);
  await close();
});

test('a server that comes back is found again, and nothing is told twice', async () => {
  const own = await start('serve', '--port', '0', '--no-integrations');
  const port = new URL(own.origin).port;
  const machine = await create('again', pass({ End: true }), 'STANDARD', own);
  await own.aws('StartExecution', { stateMachineArn: machine, name: 'one' });
  const { page: it, close } = await open(browser, `${own.origin}/console/#/executions`);
  await it.getByRole('link', { name: 'one' }).waitFor();
  const began = performance.now();
  assert.equal(await own.stop(), 0);
  console.log(`drained with an open stream after ${(performance.now() - began).toFixed(0)} ms`);
  await it.getByRole('alert').waitFor();
  const next = await start('serve', '--port', port, '--no-integrations');
  const other = await create('again', pass({ End: true }), 'STANDARD', next);
  await next.aws('StartExecution', { stateMachineArn: other, name: 'two' });
  await it.getByRole('link', { name: 'two' }).waitFor();
  await it.getByRole('alert').waitFor({ state: 'detached' });
  assert.equal(await it.locator('.rows-all .row').count(), 1, 'the new server knows one execution');
  await close();
  assert.equal(await next.stop(), 0);
});

test('with keys: the page asks for one, signs everything, and shows what it may', async () => {
  const keys = join(folder({}), 'keys.json');
  writeFileSync(keys, JSON.stringify({ keys: [
    { accessKeyId: 'ALL', secretAccessKey: 'all-secret', allow: [{ actions: ['*'], resources: ['*'] }] },
    { accessKeyId: 'READ', secretAccessKey: 'read-secret', allow: [{ actions: ['expressway:*', 'states:Describe*', 'states:List*'], resources: ['*'] }] },
  ] }));
  const guarded = await start('serve', '--port', '0', '--no-integrations', '--auth', keys);
  const enter = async (it, id, secret) => {
    await it.getByLabel('Access key').fill(id);
    await it.getByLabel('Secret key').fill(secret);
    await it.getByRole('button', { name: 'Use this key' }).click();
  };
  const { page: it, close } = await open(browser, `${guarded.origin}/console/`);
  await it.getByRole('heading', { name: 'A key is needed' }).waitFor();
  assert.deepEqual(await accessible(it), []);
  await enter(it, 'ALL', 'wrong');
  await it.getByRole('alert').filter({ hasText: 'signature' }).waitFor();
  await enter(it, 'ALL', 'all-secret');
  // The stream is signed as well.
  await it.locator('text=There is none yet').waitFor();
  assert.equal(await it.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]).includes('secret')), false);
  await close();
  const reading = await open(browser, `${guarded.origin}/console/#/executions`);
  await enter(reading.page, 'READ', 'read-secret');
  await reading.page.locator('text=No execution fits').waitFor();
  const refused = await reading.page.evaluate(async () => {
    const response = await fetch('/', { method: 'POST', headers: { 'x-amz-target': 'AWSStepFunctions.ListStateMachines' }, body: '{}' });
    return response.status;
  });
  assert.equal(refused, 400, 'what is not signed is refused');
  // What the key may not do cannot be pressed, and says why.
  const of = { id: 'ALL', secret: 'all-secret' };
  const machine = (await guarded.aws('CreateStateMachine', { name: 'held', definition: JSON.stringify({ StartAt: 'W', States: { W: { Type: 'Wait', Seconds: 600, End: true } } }), roleArn: ROLE, type: 'STANDARD' }, of)).stateMachineArn;
  const { executionArn } = await guarded.aws('StartExecution', { stateMachineArn: machine, name: 'held-1' }, of);
  const shown = async (it, address) => {
    await it.evaluate((to) => (location.hash = to), address);
    return it;
  };
  const it2 = await shown(reading.page, `#/execution/${encodeURIComponent(executionArn)}`);
  for (const [name, action, resource] of [['Stop', 'states:StopExecution', executionArn], ['Start again…', 'states:StartExecution', machine]]) {
    const button = it2.getByRole('button', { name, exact: true, disabled: true, description: `User: READ is not authorized to perform: ${action} on resource: ${resource}` });
    await button.waitFor();
    // A click does nothing, not even where it is forced.
    await button.click({ force: true });
  }
  assert.equal(await it2.locator('dialog[open]').count(), 0);
  assert.deepEqual(await accessible(it2), []);
  await shown(it2, '#/machines');
  await it2.getByRole('button', { name: 'Start held', disabled: true, description: /READ is not authorized/ }).waitFor();
  assert.deepEqual(await accessible(it2), []);
  assert.equal((await guarded.aws('DescribeExecution', { executionArn }, of)).status, 'RUNNING');
  await reading.close();
  const writing = await open(browser, `${guarded.origin}/console/#/execution/${encodeURIComponent(executionArn)}`);
  await enter(writing.page, 'ALL', 'all-secret');
  await writing.page.getByRole('button', { name: 'Stop', disabled: false }).click();
  await writing.page.locator('.heading .status', { hasText: 'ABORTED' }).waitFor();
  await writing.close();
  assert.equal(await guarded.stop(), 0);
});

test('no other page may use it, frame it, or be it under another name', async () => {
  const port = new URL(server.origin).port;
  const foreign = await browser.newContext();
  const it = await foreign.newPage();
  const html = '<!doctype html><title>elsewhere</title>';
  await it.route('http://elsewhere.test/**', (route) => route.fulfill({ body: html, contentType: 'text/html' }));
  await it.goto('http://elsewhere.test/');
  const tried = await it.evaluate(async (origin) => {
    const told = {};
    for (const [name, path, init] of [['api', '/console/api', { method: 'POST', headers: { 'x-amz-target': 'Expressway.Overview' }, body: '{}' }], ['plain', '/', { method: 'POST', body: '{}' }], ['live', '/console/live?ask=%7B%7D', {}], ['metrics', '/metrics', {}]])
      told[name] = await fetch(origin + path, init).then((response) => response.status, () => 'refused');
    return told;
  }, server.origin);
  assert.deepEqual(tried, { api: 'refused', plain: 'refused', live: 'refused', metrics: 'refused' });
  // It is loaded when this returns, whatever it shows.
  await it.setContent(`<iframe src="${server.origin}/console/"></iframe>`);
  const frame = it.frames().find((frame) => frame !== it.mainFrame());
  assert.equal(await frame?.evaluate(() => document.querySelector('.brand') !== null).catch(() => false), false);
  await foreign.close();
  // A name that leads here, which this server does not go by.
  const { chromium } = await import('playwright-core');
  const rebound = await chromium.launch({ executablePath: browser._executable ?? process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--host-resolver-rules=MAP evil.test 127.0.0.1'] });
  const bad = await rebound.newPage();
  for (const path of ['/console/', '/console/operate.js', '/metrics', '/health', '/console/live?ask=%7B%7D', '/']) {
    // What is no page is taken for a download, whose response is there all the same.
    const [response] = await Promise.all([bad.waitForResponse(/evil\.test/), bad.goto(`http://evil.test:${port}${path}`).catch(() => {})]);
    assert.equal(response.status(), 421, path);
  }
  await rebound.close();
});

test('at 200 % zoom nothing is lost', async () => {
  await create('zoomed', pass({ End: true }));
  for (const colorScheme of ['light', 'dark']) {
    for (const address of ['machines', 'executions', 'failures', 'studio']) {
      // Half the width and height, each pixel twice as large: what a browser does at 200 %.
      const { page: it, close } = await open(browser, page(address), { colorScheme, viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 });
      await it.locator('h1').first().waitFor({ state: 'attached' });
      await it.locator(address === 'studio' ? '.is-succeeded' : 'main .table, main [role=status]').first().waitFor();
      assert.deepEqual(await accessible(it), [], `${address} ${colorScheme}`);
      const wide = await it.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(wide <= 0, `${address} is ${wide} pixels wider than the window`);
      await close();
    }
  }
});
