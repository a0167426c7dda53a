// A server and a browser for tests.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const target = process.env.CARGO_TARGET_DIR ?? new URL('../../target', import.meta.url).pathname;
const binary = process.env.EXPRESSWAY ?? join(target, 'debug/expressway');
const browsers = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** How many times longer than on a quiet machine with an optimised build things may take. */
export const SLOW = Number(process.env.EXPRESSWAY_SLOW ?? 1);

/** Starts `expressway …`, and waits for the address that it says. */
export async function start(...words) {
  const child = spawn(binary, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  const lines = createInterface({ input: child.stderr });
  const said = [];
  const address = await new Promise((resolve, reject) => {
    lines.on('line', (line) => {
      said.push(line);
      const found = /(?:console|studio) at (http:\S+)/.exec(line);
      if (found) resolve(found[1]);
    });
    child.on('exit', () => reject(new Error(`it ended: ${said.join('\n')}`)));
    child.on('error', reject);
  });
  const origin = new URL(address).origin;
  const ended = new Promise((resolve) => child.on('exit', (code) => resolve(code)));
  return {
    address,
    origin,
    async stop() {
      child.kill('SIGTERM');
      return await ended;
    },
    async aws(action, body) {
      const headers = { 'x-amz-target': `AWSStepFunctions.${action}` };
      const response = await fetch(`${origin}/`, { method: 'POST', headers, body: JSON.stringify(body) });
      const answer = await response.json();
      if (!response.ok) throw new Error(JSON.stringify(answer));
      return answer;
    },
  };
}

export async function browse() {
  const executablePath = browsers.find((it) => it && existsSync(it));
  if (!executablePath) throw new Error('no Chromium was found: set CHROMIUM');
  return await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
}

/** A page that notes what goes wrong in it, and what it asks of others. */
export async function open(browser, address, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  const wrong = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) wrong.push(message.text());
  });
  page.on('pageerror', (error) => wrong.push(String(error)));
  const origin = new URL(address).origin;
  page.on('request', (request) => {
    if (!request.url().startsWith(origin) && !request.url().startsWith('data:')) wrong.push(`asked for ${request.url()}`);
  });
  const began = performance.now();
  await page.goto(address);
  return { page, wrong, began, close: () => context.close() };
}

const axe = readFileSync(new URL('../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

/** What axe finds against WCAG 2.2 A and AA. */
export async function accessible(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
    const { violations } = await window.axe.run(document, { runOnly: { type: 'tag', values: tags } });
    return violations.map((it) => `${it.id}: ${it.nodes.map((node) => `${node.html.slice(0, 160)} ${node.failureSummary}`).slice(0, 3).join(' | ')}`);
  });
  return found;
}

export function folder(files) {
  const path = mkdtempSync(join(tmpdir(), 'expressway-console-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

/** A machine of so many states: choices, joins, loops, catches, and a Map now and then. */
export function large(count) {
  const states = {};
  const name = (n) => `S${String(n).padStart(5, '0')}`;
  for (let n = 0; n < count; n++) {
    const next = n + 1 < count ? { Next: name(n + 1) } : { End: true };
    if (n % 7 === 3 && n + 9 < count) {
      states[name(n)] = {
        Type: 'Choice',
        Choices: [{ Condition: `{% $states.input.n > ${n} %}`, Next: name(n + 3) }, { Condition: '{% $states.input.again = true %}', Next: name(Math.max(0, n - 5)) }],
        Default: name(n + 1),
      };
    } else if (n % 11 === 5) {
      states[name(n)] = { Type: 'Task', Resource: 'arn:aws:states:::lambda:invoke', Arguments: { FunctionName: 'f' }, Catch: [{ ErrorEquals: ['States.ALL'], Next: name(count - 1) }], ...next };
    } else states[name(n)] = { Type: 'Pass', ...next };
  }
  // A line for each state.
  return JSON.stringify({ QueryLanguage: 'JSONata', StartAt: name(0), States: states }, null, 1).replace(/\n {3,}/g, ' ');
}
