// What the servers among the opponents have in common: requests over HTTP, so many at a time, and a process that is started
// for the measurement and ended after it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";

export const CALLERS = 64;
const MEMORY = "/dev/shm";
const agent = new http.Agent({ keepAlive: true, maxSockets: CALLERS });

/** The status and the text of the answer to a POST. */
export const post = (port, path, body, headers = {}) =>
  new Promise((resolve, reject) => {
    headers = { "content-type": "application/json", ...headers, "content-length": Buffer.byteLength(body) };
    const request = http.request({ host: "127.0.0.1", port, path, method: "POST", headers, agent }, (response) => {
      let text = "";
      response.on("data", (part) => (text += part));
      response.on("end", () => resolve({ status: response.statusCode, text }));
    });
    request.on("error", reject);
    request.setTimeout(60_000, () => request.destroy(new Error(`no answer of ${path} within a minute`)));
    request.end(body);
  });

/** Nanoseconds a call of `start` takes with `callers` of them at a time, or why there is no such figure. */
export async function measure(start, output, callers = CALLERS) {
  const first = await start();
  if (!isDeepStrictEqual(first, output)) {
    return { absent: `its output is another: ${JSON.stringify(first).slice(0, 120)}` };
  }
  let calls = 0;
  const begin = process.hrtime.bigint(), until = begin + 5_000_000_000n;
  const caller = async () => {
    while (process.hrtime.bigint() < until) {
      await start();
      calls += 1;
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return { ns: Number(process.hrtime.bigint() - begin) / calls };
}

/**
 * Runs a server in a folder of its own while `work` goes on. `begin` gets the folder and gives the command and its
 * arguments; `ready` is tried until it does not throw.
 */
export async function serving(begin, environment, ready, work) {
  // In memory where there is such a place: what disks are worth is not asked here.
  const folder = mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), "opponents-"));
  const [command, ...rest] = begin(folder);
  const server = spawn(command, rest, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, ...environment }, cwd: folder });
  let told = "";
  server.stderr.on("data", (part) => (told = (told + part).slice(-2_000)));
  const gone = new Promise((_, reject) => {
    server.on("error", reject);
    server.on("exit", (code) => {
      const last = told.trim().split("\n").at(-1);
      reject(new Error(`the server ended with ${code}: ${last}`));
    });
  });
  const there = async () => {
    for (let tries = 0; ; tries++) {
      try {
        return await ready();
      } catch (error) {
        if (tries >= 200) throw new Error(`the server does not come about: ${error.message}`);
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    }
  };
  try {
    await Promise.race([there(), gone]);
    await Promise.race([work(), gone]);
  } finally {
    if (server.exitCode === null) {
      const ended = once(server.removeAllListeners("exit"), "exit");
      server.kill("SIGKILL");
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
  }
}
