// Restate's server with the workloads as handlers of its own SDK, called over HTTP: a durable engine, which writes down what
// it does before it answers. A line of JSON for each; the output is checked first.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { CALLERS, measure, post, serving } from "./load.mjs";

// Neither side is to spend its time on telling of every call, nor to write among the results.
Object.assign(process.env, { NODE_ENV: "production", RESTATE_LOGGING: "ERROR", RUST_LOG: "warn", DO_NOT_TRACK: "1" });
// The SDK expects this of Node 22.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new this((...both) => ([resolve, reject] = both));
  return { promise, resolve, reject };
};

const require = createRequire(import.meta.url);
const texts = JSON.parse(readFileSync(process.argv[2], "utf8"));
const kind = `durable engine, over HTTP, ${CALLERS} at a time`;
let version = "?";
const say = (workload, more) => console.log(JSON.stringify({ name: "restate-server", version, kind, workload, ...more }));

// The workloads by hand, each a handler.
const handlers = {
  w1: async (_, input) => input,
  w2: async (_, { order, customer }) => {
    if (!(order.qty > 100)) void (order.qty >= 10);
    const { id, qty, tags } = order, { name, tier } = customer;
    return { id, qty, customer: { name, tier }, tags, source: "express", version: 3 };
  },
  w3: async (_, { prefix, items }) => items.map((item, idx) => ({ idx, item, prefix })),
};

const [INGRESS, ADMIN, HANDLERS] = [18080, 19070, 19080];
const call = async (port, path, body) => {
  const { status, text } = await post(port, path, body);
  if (status >= 300) throw new Error(`HTTP ${status}: ${text.slice(0, 120)}`);
  return JSON.parse(text);
};

try {
  version = require("@restatedev/restate-server/package.json").version;
  const restate = await import("@restatedev/restate-sdk");
  await restate.serve({ services: [restate.service({ name: "jobs", handlers })], port: HANDLERS });
  // The binary itself, not the script around it, which would not pass its end on.
  const { platform, arch } = process;
  const binary = require.resolve(`@restatedev/restate-server-${platform}-${arch}/bin/restate-server`);
  const addresses = {
    RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${INGRESS}`,
    RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${ADMIN}`,
  };
  await serving(
    (folder) => [binary, "--base-dir", folder, "--node-name", "bench"],
    addresses,
    () => call(ADMIN, "/deployments", JSON.stringify({ uri: `http://127.0.0.1:${HANDLERS}` })),
    async () => {
      for (const [workload, { input, output }] of Object.entries(texts)) {
        const came = !(workload in handlers)
          ? { absent: "no handler was written for this workload" }
          : await measure(() => call(INGRESS, `/jobs/${workload}`, input), output);
        say(workload, came);
      }
    },
  );
} catch (error) {
  say("all", { absent: String(error.message ?? error).slice(0, 200) });
}
process.exit(0);
