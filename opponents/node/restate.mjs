// Restate's server with W2 as a handler of its own SDK, called over HTTP: a durable engine, which writes down what it does
// before it answers. One line of JSON; the output is checked first.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import http from "node:http";
import { isDeepStrictEqual } from "node:util";

const require = createRequire(import.meta.url);
const { input, output } = JSON.parse(readFileSync(process.argv[2], "utf8")).w2;
let version = "?";
const say = (more) =>
  console.log(JSON.stringify({ name: "restate-server", version, kind: "durable engine, over HTTP, 64 at a time", workload: "w2", ...more }));

const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
const post = (port, path, body) =>
  new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const request = http.request({ host: "127.0.0.1", port, path, method: "POST", headers, agent }, (response) => {
      let text = "";
      response.on("data", (part) => (text += part));
      response.on("end", () => resolve({ status: response.statusCode, text }));
    });
    request.on("error", reject);
    request.end(body);
  });

let server, folder;
try {
  const manifest = require.resolve("@restatedev/restate-server/package.json");
  version = JSON.parse(readFileSync(manifest, "utf8")).version;
  const restate = await import("@restatedev/restate-sdk");
  const handler = async (_, order) => {
    if (!(order.order.qty > 100)) void (order.order.qty >= 10);
    const { id, qty, tags } = order.order, { name, tier } = order.customer;
    return { id, qty, customer: { name, tier }, tags, source: "express", version: 3 };
  };
  await restate.serve({ services: [restate.service({ name: "orders", handlers: { w2: handler } })], port: 19080 });
  folder = mkdtempSync(join(tmpdir(), "opponents-"));
  const bin = join(manifest, "..", "..", "..", ".bin", "restate-server");
  server = spawn(bin, ["--base-dir", folder, "--node-name", "bench"], {
    stdio: "ignore",
    env: { ...process.env, RESTATE_INGRESS__BIND_ADDRESS: "127.0.0.1:18080", RESTATE_ADMIN__BIND_ADDRESS: "127.0.0.1:19070", DO_NOT_TRACK: "1" },
  });
  const gone = new Promise((_, reject) => {
    server.on("error", reject);
    server.on("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
  const ready = (async () => {
    for (let tries = 0; tries < 100; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      try {
        const reply = await post(19070, "/deployments", JSON.stringify({ uri: "http://127.0.0.1:19080" }));
        if (reply.status < 300) return;
      } catch { /* not there yet */ }
    }
    throw new Error("the server does not take the service");
  })();
  await Promise.race([ready, gone]);
  const first = await Promise.race([post(18080, "/orders/w2", input), gone]);
  if (first.status !== 200 || !isDeepStrictEqual(JSON.parse(first.text), output)) throw new Error(`its output is another: ${first.text.slice(0, 120)}`);
  let calls = 0;
  const begin = process.hrtime.bigint(), until = begin + 5_000_000_000n;
  const caller = async () => {
    while (process.hrtime.bigint() < until) {
      await post(18080, "/orders/w2", input);
      calls += 1;
    }
  };
  await Promise.race([Promise.all(Array.from({ length: 64 }, caller)), gone]);
  say({ ns: Number(process.hrtime.bigint() - begin) / calls });
} catch (error) {
  say({ absent: String(error.message ?? error).slice(0, 200) });
} finally {
  server?.removeAllListeners("exit").kill("SIGKILL");
  if (folder) rmSync(folder, { recursive: true, force: true });
  process.exit(0);
}
