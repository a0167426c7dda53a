// Restate's server with the workloads as handlers of its own SDK, called over HTTP: a durable engine, which writes down what
// it does before it answers. A line of JSON for each; the output is checked first.
import { readFileSync } from "node:fs";
import { CALLERS, measure } from "./load.mjs";
import { version as installed, withRestate } from "./restate-server.mjs";

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

try {
  version = installed();
  await withRestate("jobs", handlers, async (call) => {
    for (const [workload, { input, output }] of Object.entries(texts)) {
      const came = !(workload in handlers)
        ? { absent: "no handler was written for this workload" }
        : await measure(() => call(workload, input), output);
      say(workload, came);
    }
  });
} catch (error) {
  say("all", { absent: String(error.message ?? error).slice(0, 200) });
}
process.exit(0);
