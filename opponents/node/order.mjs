// Restate's server with the order as a handler whose three tasks are recorded by `ctx.run`, called over HTTP; its log is in
// the folder that is given. Prints one line of JSON: its version, and executions a second for each round.
import { CALLERS } from "./load.mjs";
import { version, withRestate } from "./restate-server.mjs";

const [folder, rounds, seconds] = process.argv.slice(2);

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

/** Executions a second with `CALLERS` at a time. */
async function round(call) {
  let calls = 0;
  const begin = process.hrtime.bigint(), until = begin + BigInt(seconds) * 1_000_000_000n;
  const caller = async (_, n) => {
    while (process.hrtime.bigint() < until) {
      const output = await call("order", JSON.stringify({ order: n, total: 17, text: filler(200) }));
      if (!output.shipped.ok) throw new Error("its output is another");
      calls += 1;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return (calls * 1e9) / Number(process.hrtime.bigint() - begin);
}

try {
  const rates = [];
  const work = async (call) => {
    for (let n = 0; n < Number(rounds); n++) rates.push(await round(call));
  };
  await withRestate("orders", { order }, work, folder);
  console.log(JSON.stringify({ version: version(), rates }));
} catch (error) {
  console.log(JSON.stringify({ absent: String(error.message ?? error).slice(0, 200) }));
}
process.exit(0);
