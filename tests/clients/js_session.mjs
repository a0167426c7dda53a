// A session through the JavaScript SDK. usage: js_session.mjs FOLDER, which has node_modules in it.
import { createRequire } from "node:module";
import assert from "node:assert/strict";

const require = createRequire(`${process.argv[2]}/`);
const sfn = require("@aws-sdk/client-sfn");
// The endpoint comes from AWS_ENDPOINT_URL_SFN; that it gets no prefix is said here.
const client = new sfn.SFNClient({ disableHostPrefix: true, maxAttempts: 1 });
const ask = (name, request) => client.send(new sfn[`${name}Command`](request));
const roleArn = "arn:aws:iam::123456789012:role/clients";
const refused = (code, promise) =>
  promise.then((answer) => assert.fail(`${code} expected, not ${JSON.stringify(answer)}`),
    (error) => assert.equal(error.name, code, String(error)));

const pass = (Result) => JSON.stringify({ StartAt: "P", States: { P: { Type: "Pass", Result, End: true } } });
const valid = await ask("ValidateStateMachineDefinition", { definition: pass(1), type: "EXPRESS" });
assert.equal(valid.result, "OK");
const { stateMachineArn } = await ask("CreateStateMachine",
  { name: "js", definition: pass("one"), roleArn, type: "EXPRESS", tags: [{ key: "team", value: "js" }] });
const run = async (arn, input = "{}") => ask("StartSyncExecution", { stateMachineArn: arn, input });
const first = await run(stateMachineArn);
assert.equal(first.status, "SUCCEEDED");
assert.equal(first.output, '"one"');
assert.ok(first.startDate instanceof Date && first.startDate <= first.stopDate);
await refused("InvalidExecutionInput", run(stateMachineArn, "{"));
await refused("StateMachineDoesNotExist", run(`${stateMachineArn}-not`));
const one = await ask("PublishStateMachineVersion", { stateMachineArn });
const two = await ask("UpdateStateMachine", { stateMachineArn, definition: pass("two"), publish: true });
const alias = await ask("CreateStateMachineAlias", { name: "live",
  routingConfiguration: [{ stateMachineVersionArn: one.stateMachineVersionArn, weight: 100 }] });
assert.equal((await run(alias.stateMachineAliasArn)).output, '"one"');
await ask("UpdateStateMachineAlias", { stateMachineAliasArn: alias.stateMachineAliasArn,
  routingConfiguration: [{ stateMachineVersionArn: two.stateMachineVersionArn, weight: 100 }] });
assert.equal((await run(alias.stateMachineAliasArn)).output, '"two"');
assert.deepEqual((await ask("ListTagsForResource", { resourceArn: stateMachineArn })).tags, [{ key: "team", value: "js" }]);
await ask("UntagResource", { resourceArn: stateMachineArn, tagKeys: ["team"] });

const { activityArn } = await ask("CreateActivity", { name: "js-work" });
const worker = (async () => {
  const task = await ask("GetActivityTask", { activityArn, workerName: "js" });
  assert.deepEqual(JSON.parse(task.input), { n: 1 });
  await ask("SendTaskHeartbeat", { taskToken: task.taskToken });
  await ask("SendTaskSuccess", { taskToken: task.taskToken, output: '{"done":true}' });
})();
const standard = await ask("CreateStateMachine", { name: "js-standard", roleArn, definition: JSON.stringify({
  StartAt: "W", States: { W: { Type: "Task", Resource: activityArn, End: true } } }) });
const { executionArn } = await ask("StartExecution", { stateMachineArn: standard.stateMachineArn, input: '{"n":1}' });
await worker;
let execution;
const deadline = Date.now() + 60_000;
do {
  execution = await ask("DescribeExecution", { executionArn });
} while (execution.status === "RUNNING" && Date.now() < deadline);
assert.equal(execution.status, "SUCCEEDED");
assert.deepEqual(JSON.parse(execution.output), { done: true });
const { events } = await ask("GetExecutionHistory", { executionArn });
assert.equal(events.at(-1).type, "ExecutionSucceeded");

await ask("DeleteStateMachineAlias", { stateMachineAliasArn: alias.stateMachineAliasArn });
await ask("DeleteStateMachine", { stateMachineArn });
await ask("DeleteStateMachine", { stateMachineArn: standard.stateMachineArn });
await ask("DeleteActivity", { activityArn });
client.destroy();
console.log("a session through the JavaScript SDK");
