// Executions that start at a pace, as other machines start them: by requests that do not wait for each other, from a thread of
// its own. Each costs a few microseconds here, so that the processors are left to the server and the browser.
import { connect } from 'node:net';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';

/** Requests under way at once. */
const AHEAD_MAX = 256;
const EVERY_MS = 5;
const GOOD = 'HTTP/1.1 200';

/**
 * Starts executions of a machine, named by `name` of their numbers from `from` on: `count` of them at once, or `perSecond` until
 * they are stopped. Returns how many were started.
 */
export function starting(origin, machine, prefix, { from = 0, count = Infinity, perSecond = Infinity }) {
  const worker = new Worker(new URL(import.meta.url), { workerData: { port: Number(new URL(origin).port), machine, prefix, from, count, perSecond } });
  const started = new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  return {
    started,
    async stop() {
      worker.postMessage('stop');
      return await started;
    },
  };
}

function work({ port, machine, prefix, from, count, perSecond }) {
  const request = (n) => {
    const body = JSON.stringify({ stateMachineArn: machine, name: `${prefix}${String(n).padStart(7, '0')}` });
    return `POST / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nX-Amz-Target: AWSStepFunctions.StartExecution\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  };
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  const began = performance.now();
  let sent = 0;
  let answered = 0;
  const send = () => {
    const due = ((performance.now() - began) / 1_000) * perSecond;
    let text = '';
    while (sent < Math.min(count, due, answered + AHEAD_MAX)) text += request(from + sent++);
    if (text) socket.write(text);
  };
  const timer = setInterval(send, EVERY_MS);
  const stop = () => {
    clearInterval(timer);
    socket.destroy();
    parentPort.postMessage(answered);
    parentPort.close();
  };
  let left = '';
  socket.on('data', (data) => {
    const text = left + data.toString('latin1');
    if (/HTTP\/1\.1 [^2]/.test(text)) throw new Error(text);
    answered += text.split(GOOD).length - 1;
    // A status line may arrive in two pieces.
    left = text.slice(1 - GOOD.length);
    if (answered === count) stop();
    else if (perSecond === Infinity) send();
  });
  parentPort.on('message', stop);
}

if (!isMainThread) work(workerData);
