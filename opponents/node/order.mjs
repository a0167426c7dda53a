// Restate's server with the order as a handler whose three tasks are recorded by `ctx.run`, called over HTTP; its log is in
// the folder that is given. Prints one line of JSON: its version, and executions a second for each round.
import { createRequire } from "node:module";
import { CALLERS, post, serving } from "./load.mjs";

Object.assign(process.env, { NODE_ENV: "production", RESTATE_LOGGING: "ERROR", RUST_LOG: "warn", DO_NOT_TRACK: "1" });
// The SDK expects this of Node 22.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new this((...both) => ([resolve, reject] = both));
  return { promise, resolve, reject };
};

const require = createRequire(import.meta.url);
const [folder, rounds, seconds] = process.argv.slice(2);
const [INGRESS, ADMIN, HANDLERS] = [18081, 19071, 19081];

/** Text of so many characters that does not repeat. */
const filler = (length) => {
  let text = "";
  while (text.length < length) text += Math.random().toString(16).slice(2, 10).padEnd(8, "0");
  return text.slice(0, length);
};
const answer = async () => ({ ok: true, text: filler(560) });

const order = async (ctx, order) => {
  if (!(order.total > 0)) throw new Error("Rejected");
  order.reserved = await ctx.run("Reserve", answer);
  order.price = 3;
  order.charged = await ctx.run("Charge", answer);
  if (order.charged.ok !== true) throw new Error("Rejected");
  order.shipped = await ctx.run("Ship", answer);
  return order;
};

const call = async (port, path, body) => {
  const { status, text } = await post(port, path, body);
  if (status >= 300) throw new Error(`HTTP ${status}: ${text.slice(0, 120)}`);
  return JSON.parse(text);
};

/** Executions a second with `CALLERS` at a time. */
async function round() {
  let calls = 0;
  const begin = process.hrtime.bigint(), until = begin + BigInt(seconds) * 1_000_000_000n;
  const caller = async (_, n) => {
    while (process.hrtime.bigint() < until) {
      const output = await call(INGRESS, "/orders/order", JSON.stringify({ order: n, total: 17, text: filler(200) }));
      if (!output.shipped.ok) throw new Error("its output is another");
      calls += 1;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return (calls * 1e9) / Number(process.hrtime.bigint() - begin);
}

try {
  const { version } = require("@restatedev/restate-server/package.json");
  const restate = await import("@restatedev/restate-sdk");
  await restate.serve({ services: [restate.service({ name: "orders", handlers: { order } })], port: HANDLERS });
  const { platform, arch } = process;
  // The binary itself, not the script around it, which would not pass its end on.
  const binary = require.resolve(`@restatedev/restate-server-${platform}-${arch}/bin/restate-server`);
  const addresses = {
    RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${INGRESS}`,
    RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${ADMIN}`,
  };
  const rates = [];
  await serving(
    () => [binary, "--base-dir", folder, "--node-name", "bench"],
    addresses,
    () => call(ADMIN, "/deployments", JSON.stringify({ uri: `http://127.0.0.1:${HANDLERS}` })),
    async () => {
      for (let n = 0; n < Number(rounds); n++) rates.push(await round());
    },
  );
  console.log(JSON.stringify({ version, rates }));
} catch (error) {
  console.log(JSON.stringify({ absent: String(error.message ?? error).slice(0, 200) }));
}
process.exit(0);
