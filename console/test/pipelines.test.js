// The page of pipelines, with a pipeline that runs: its counts, and its dead letters sent again.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { accessible, binary, browse, folder, open, pictured, start } from './serving.js';

let browser, server, pipeline;
const at = folder({
  'judge.asl.json': JSON.stringify({ StartAt: 'Judge', States: { Judge: { Type: 'Fail', Error: 'Order.Bad' } } }),
  'redrive.toml': 'source = { type = "file", path = "dead.ndjson" }\nsink = { type = "file", path = "again.ndjson" }\n',
  'pipe.toml': `definition = "judge.asl.json"
source = { type = "webhook", address = "127.0.0.1:0", wait = true, insecure = true }
dead_letters = { type = "file", path = "dead.ndjson" }
pipe = { attempts = 1, metrics = "127.0.0.1:0", redrive = "redrive.toml" }
`,
});
before(async () => {
  browser = await browse();
  const child = spawn(binary, ['pipe', 'pipe.toml'], { cwd: at, stdio: ['ignore', 'ignore', 'pipe'] });
  const said = [];
  pipeline = await new Promise((resolve, reject) => {
    const found = {};
    createInterface({ input: child.stderr }).on('line', (line) => {
      said.push(line);
      found.pages ??= /Metrics are at http:\/\/([^/]+)/.exec(line)?.[1];
      found.source ??= /Post events to (http:\S+)/.exec(line)?.[1];
      if (line.includes('The pipeline runs.')) resolve(found);
    });
    child.on('exit', () => reject(new Error(said.join('\n'))));
    child.on('error', reject);
  });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  pipeline.stop = () => (child.kill('SIGTERM'), ended);
  server = await start('serve', '--port', '0', '--no-integrations', '--pipeline', pipeline.pages);
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await pipeline?.stop();
});

test('dead letters of a pipeline are sent again, when that is confirmed', async () => {
  assert.equal((await fetch(pipeline.source, { method: 'POST', body: '{"n":  1.50}' })).status, 500);
  const { page, wrong, close } = await open(browser, `${server.origin}/console/#/pipelines`);
  const button = page.getByRole('button', { name: /^Send again… the dead letters of / });
  await page.getByText('1 failed event went to').waitFor();
  assert.deepEqual(await accessible(page), []);
  await pictured(page, 'pipeline-dead');
  let asked = '';
  page.once('dialog', (it) => ((asked = it.message()), it.dismiss()));
  await button.click();
  assert.match(asked, /Their events run once more/);
  page.once('dialog', (it) => it.accept());
  await button.click();
  await page.getByText('1 sent again').waitFor();
  await pictured(page, 'pipeline-redriven');
  assert.equal(readFileSync(join(at, 'again.ndjson'), 'utf8'), '{"n":  1.50}\n');
  // What is no pipeline of this server is not asked.
  const refused = await fetch(`${server.origin}/console/api`, { method: 'POST', headers: { 'x-amz-target': 'Expressway.RedrivePipeline' }, body: '{"address": "127.0.0.1:1"}' });
  assert.match(await refused.text(), /was not told of a pipeline/);
  assert.deepEqual(wrong, []);
  await close();
});
