// A server and a browser for tests.
import { spawn } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { gunzipSync } from 'node:zlib';
import { chromium } from 'playwright-core';

const target = process.env.CARGO_TARGET_DIR ?? new URL('../../target', import.meta.url).pathname;
export const binary = process.env.EXPRESSWAY ?? join(target, 'debug/expressway');
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
    async aws(action, body, key) {
      const headers = { 'x-amz-target': `AWSStepFunctions.${action}` };
      if (key) Object.assign(headers, sign(key, new URL(origin).host, headers, JSON.stringify(body)));
      const response = await fetch(`${origin}/`, { method: 'POST', headers, body: JSON.stringify(body) });
      const answer = await response.json();
      if (!response.ok) throw new Error(JSON.stringify(answer));
      return answer;
    },
  };
}

/** Signature Version 4 of a POST to `/`. */
function sign(key, host, own, body) {
  const time = new Date().toISOString().replace(/[:-]|\.\d{3}/g, '');
  const day = time.slice(0, 8);
  const scope = `${day}/us-east-1/states/aws4_request`;
  const hash = (text) => createHash('sha256').update(text).digest('hex');
  const signed = [['host', host], ['x-amz-date', time], ['x-amz-target', own['x-amz-target']]];
  const names = signed.map(([name]) => name).join(';');
  const canonical = ['POST', '/', '', ...signed.map(([name, value]) => `${name}:${value}`), '', names, hash(body)].join('\n');
  let secret = `AWS4${key.secret}`;
  for (const part of [day, 'us-east-1', 'states', 'aws4_request']) secret = createHmac('sha256', secret).update(part).digest();
  const signature = createHmac('sha256', secret).update(['AWS4-HMAC-SHA256', time, scope, hash(canonical)].join('\n')).digest('hex');
  return { 'x-amz-date': time, authorization: `AWS4-HMAC-SHA256 Credential=${key.id}/${scope}, SignedHeaders=${names}, Signature=${signature}` };
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
  // What comes late on a busy machine is no failure.
  page.setDefaultTimeout(120_000);
  const wrong = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) wrong.push(message.text());
  });
  page.on('pageerror', (error) => wrong.push(String(error)));
  const origin = new URL(address).origin;
  page.on('request', (request) => {
    if (!request.url().startsWith(origin) && !request.url().startsWith('data:')) wrong.push(`asked for ${request.url()}`);
  });
  // The page as it was just built, not as it is in the binary.
  const built = process.env.EXPRESSWAY_PAGE;
  if (built) {
    const of = (response, name) => {
      const { 'content-encoding': _, 'content-length': __, ...headers } = response.headers();
      return { status: response.status(), headers, body: gunzipSync(readFileSync(join(built, `${name}.gz`))) };
    };
    await page.route((url) => url.origin === origin && /^\/console\/[\w-]+\.\w+$/.test(url.pathname), async (route) => {
      const response = await route.fetch();
      await route.fulfill(of(response, new URL(route.request().url()).pathname.slice('/console/'.length)));
    });
    await page.route(`${origin}/console/`, async (route) => route.fulfill(of(await route.fetch(), 'index.html')));
  }
  const began = performance.now();
  await page.goto(address);
  return { page, wrong, began, close: () => context.close() };
}

const axe = readFileSync(new URL('../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

/** What axe finds against WCAG 2.2 A and AA, once no color is on its way to another one. */
export async function accessible(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    // The editor's cursor blinks without end.
    const transitions = document.getAnimations().filter((it) => it instanceof CSSTransition);
    await Promise.allSettled(transitions.map((it) => it.finished));
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

/** The text in the studio's editor. */
export const text = (page) => page.evaluate(() => [...document.querySelectorAll('.cm-line')].map((it) => it.textContent).join('\n'));

/** Replaces it, by another valid definition, and waits until that was looked at. */
export async function put(page, written) {
  const isOfIt = (request) => request.headers()['x-amz-target'] === 'Expressway.Inspect' && JSON.parse(request.postData()).text === written;
  await page.locator('.cm-content').click();
  await page.keyboard.press('Control+a');
  const looked = page.waitForResponse((response) => isOfIt(response.request()));
  await page.keyboard.insertText(written);
  await (await looked).finished();
  await page.locator('text=No problems.').waitFor();
  await drawn(page);
}

/** Waits until this is shown, and has such a text. */
export const shows = (locator, text) => locator.filter({ hasText: text }).first().waitFor();

/** Waits until the graph is drawn as it is to be by now: that happens with the next frame. */
export const drawn = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

/** Screenshots in both themes, in the folder PICTURES, if that is set. */
export async function pictured(page, name) {
  if (!process.env.PICTURES) return;
  mkdirSync(process.env.PICTURES, { recursive: true });
  for (const colorScheme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: join(process.env.PICTURES, `${name}-${colorScheme}.png`) });
  }
}
