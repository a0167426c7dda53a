// aws-local-stepfunctions on the workloads of texts.json: a line of JSON for each, output checked first.
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

const name = "aws-local-stepfunctions";
const texts = JSON.parse(readFileSync(process.argv[2], "utf8"));
const say = (workload, more) => console.log(JSON.stringify({ name, version, kind: "ASL", workload, ...more }));

let version = "?", StateMachine;
try {
  ({ StateMachine } = await import(name));
  // Its manifest is not among what it exports.
  const manifest = new URL(`node_modules/${name}/package.json`, import.meta.url);
  version = JSON.parse(readFileSync(manifest, "utf8")).version;
} catch (error) {
  for (const workload of Object.keys(texts)) say(workload, { absent: `not installed: ${error.message}` });
  process.exit(0);
}

for (const [workload, { definition, input, output }] of Object.entries(texts)) {
  try {
    const machine = new StateMachine(JSON.parse(definition));
    const once = async () => JSON.stringify(await machine.run(JSON.parse(input)).result);
    const got = JSON.parse(await once());
    if (!isDeepStrictEqual(got, output)) {
      say(workload, { absent: `its output is another: ${JSON.stringify(got).slice(0, 120)}` });
      continue;
    }
    const rounds = [];
    for (let round = 0; round < 7; round++) {
      let calls = 0;
      const begin = process.hrtime.bigint();
      while (process.hrtime.bigint() - begin < 300_000_000n) {
        for (let n = 0; n < 10; n++) await once();
        calls += 10;
      }
      rounds.push(Number(process.hrtime.bigint() - begin) / calls);
    }
    say(workload, { ns: rounds.sort((a, b) => a - b)[3] });
  } catch (error) {
    say(workload, { absent: String(error.message ?? error).slice(0, 160) });
  }
}
