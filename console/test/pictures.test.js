// Eight pages in two themes, compared with what was looked at by eye once. Fonts differ from machine to machine, so what
// is compared is what stands on the page (its accessibility tree) and its colours, not pixels.
//
// GOLDEN=write writes them anew; PICTURES=FOLDER takes screenshots to look at.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { browse, drawn, folder, open, start } from './serving.js';

const ROLE = 'arn:aws:iam::123456789012:role/r';
const golden = new URL('golden/', import.meta.url).pathname;
let browser, server, guarded, machine, execution, pipeline;
before(async () => {
  browser = await browse();
  // What a pipeline answers, and an address at which none is.
  pipeline = createServer((request, response) => {
    const counts = { received: 12_003, succeeded: 11_990, published: 11_990, again: 4, dead: 3, away: 0 };
    const stats = { source: 'nats://localhost/ORDERS', sink: 'nats://localhost/priced', deadLetters: 'orders.dead.ndjson', ready: true, inFlight: 10, lag: 250, counts };
    response.end(request.url === '/stats' ? JSON.stringify(stats) : '');
  });
  const port = await new Promise((done) => pipeline.listen(0, '127.0.0.1', () => done(pipeline.address().port)));
  server = await start('serve', '--port', '0', '--no-integrations', '--express-history', '--pipeline', `127.0.0.1:${port}`, '--pipeline', '127.0.0.1:1');
  const keys = join(folder({}), 'keys.json');
  writeFileSync(keys, JSON.stringify({ keys: [{ accessKeyId: 'K', secretAccessKey: 's', allow: [] }] }));
  guarded = await start('serve', '--port', '0', '--no-integrations', '--auth', keys);
  const definition = JSON.stringify({
    StartAt: 'Check',
    States: {
      Check: { Type: 'Choice', Choices: [{ Variable: '$.lines', IsPresent: true, Next: 'Each line' }], Default: 'Refuse' },
      'Each line': { Type: 'Map', ItemsPath: '$.lines', ItemProcessor: { StartAt: 'Pack', States: { Pack: { Type: 'Pass', End: true } } }, Next: 'Settle' },
      Settle: { Type: 'Wait', Seconds: 1, Next: 'Done' },
      Done: { Type: 'Succeed' },
      Refuse: { Type: 'Fail', Error: 'Order.Empty', Cause: 'There is nothing to pack' },
    },
  });
  machine = (await server.aws('CreateStateMachine', { name: 'orders', definition, roleArn: ROLE, type: 'STANDARD' })).stateMachineArn;
  const run = async (name, input) => {
    const { executionArn } = await server.aws('StartExecution', { stateMachineArn: machine, name, input: JSON.stringify(input) });
    for (;;) if ((await server.aws('DescribeExecution', { executionArn })).status !== 'RUNNING') return executionArn;
  };
  execution = await run('order-1', { lines: ['book', 'pen'] });
  await run('order-2', {});
  await run('order-3', {});
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await guarded?.stop();
  pipeline?.close();
});

/** What differs from run to run. */
const steady = (text) =>
  text
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}/g, 'TIME')
    .replace(/\d\d:\d\d:\d\d\.\d{3}/g, 'TIME')
    .replace(/127\.0\.0\.1:\d{2,}/g, 'ADDRESS')
    .replace(/version \d+\.\d+\.\d+/g, 'VERSION')
    .replace(/≤ [\d.]+ (µs|ms|s)/g, '≤ TOOK')
    .replace(/\b[\d.]+ (µs|ms|s|min)\b/g, 'TOOK')
    .replace(/[\d.]+k?\/s/g, 'RATE')
    .replace(/definition: (–|RATE|≤ TOOK)/g, 'definition: VALUE')
    .replace(/\b(started|failed|half|9[59] %) (–|none|[\d.]+k?|TOOK)/g, '$1 VALUE');

/** The server, the address, and what a page shows when all that it asked for has come (each arrives on its own). */
const PAGES = {
  machines: () => [server, '#/machines', 'text=orders'],
  machine: () => [server, `#/machine/${encodeURIComponent(machine)}`, 'text=Every execution is', '.graph button'],
  executions: () => [server, '#/executions', 'text=order-3', 'text=3 executions, live'],
  execution: () => [server, `#/execution/${encodeURIComponent(execution)}`, '.is-succeeded', '.graph button'],
  failures: () => [server, '#/failures', 'text=Order.Empty'],
  pipelines: () => [server, '#/pipelines', 'text=NO ANSWER', 'text=RUNNING'],
  studio: () => [server, '#/studio', '.panel .status', '.graph button'],
  key: () => [guarded, '#/machines', 'text=A key is needed'],
};

for (const [name, of] of Object.entries(PAGES)) {
  test(`${name} is as it was`, async () => {
    for (const colorScheme of ['light', 'dark']) {
      const [on, address, ...shown] = of();
      const { page, close } = await open(browser, `${on.origin}/console/${address}`, { colorScheme, viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' });
      for (const it of shown) await page.locator(it).first().waitFor();
      const picture = async () => `${steady(await page.locator('body').ariaSnapshot())}\n\n${JSON.stringify(await colours(page), null, 1)}\n`;
      const colours = (page) => page.evaluate(() => {
        const of = (element) => {
          const { color, backgroundColor } = getComputedStyle(element);
          return `${color} on ${backgroundColor}`;
        };
        const told = {};
        for (const selector of ['body', '.top', 'h1', 'button.primary', '.status.is-succeeded', '.status.is-failed', '.state.is-succeeded', '.bad'])
          if (document.querySelector(selector)) told[selector] = of(document.querySelector(selector));
        return told;
      });
      const outside = await page.evaluate(() =>
        [...document.querySelectorAll('button, a, input, select, h1')]
          .filter((it) => !it.closest('.graph, .list, .timeline, .table, .tabs, .cm-editor, .sr, .panel, .problems') && it.checkVisibility() && !it.classList.contains('sr'))
          .filter((it) => it.getBoundingClientRect().right > innerWidth + 1)
          .map((it) => it.outerHTML.slice(0, 100)),
      );
      assert.deepEqual(outside, [], 'nothing stands outside of the window');
      if (process.env.PICTURES) {
        mkdirSync(process.env.PICTURES, { recursive: true });
        await page.screenshot({ path: join(process.env.PICTURES, `${name}-${colorScheme}.png`) });
        await page.setViewportSize({ width: 640, height: 900 });
        await page.screenshot({ path: join(process.env.PICTURES, `${name}-${colorScheme}-narrow.png`) });
      }
      const file = join(golden, `${name}-${colorScheme}.txt`);
      let now = await picture();
      if (process.env.GOLDEN === 'write' || !existsSync(file)) {
        assert.equal(process.env.GOLDEN, 'write', `${file} is missing: look at the page, and run with GOLDEN=write`);
        mkdirSync(golden, { recursive: true });
        writeFileSync(file, now);
      }
      // What is asked for beside what was waited for may come later.
      const wanted = steady(readFileSync(file, 'utf8'));
      for (const until = performance.now() + 60_000; now !== wanted && performance.now() < until; now = await picture()) await drawn(page);
      assert.equal(now, wanted, `${name} ${colorScheme}`);
      await close();
    }
  });
}
