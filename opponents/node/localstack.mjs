// LocalStack's Step Functions, its server run on this machine without a container: StartSyncExecution over HTTP. A line of JSON
// for each workload; the output is checked first. Arguments: the workloads, the folder of its Python environment.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { measure, post, serving } from "./load.mjs";

const texts = JSON.parse(readFileSync(process.argv[2], "utf8"));
const python = join(process.argv[3], "bin/python");
// More at a time do not make it faster: it is one process of Python.
const CALLERS = 4;
const PORT = 14566;
let version = "?";
const kind = `ASL, over HTTP, ${CALLERS} at a time`;
const say = (workload, more) => console.log(JSON.stringify({ name: "localstack", version, kind, workload, ...more }));

const call = async (operation, body) => {
  const { status, text } = await post(PORT, "/", JSON.stringify(body), {
    "content-type": "application/x-amz-json-1.0",
    "x-amz-target": `AWSStepFunctions.${operation}`,
    authorization: "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/states/aws4_request, SignedHeaders=host, Signature=0",
  });
  if (status !== 200) throw new Error(`${operation}: HTTP ${status}: ${text.slice(0, 160)}`);
  return JSON.parse(text);
};

async function one(workload, { definition, input, output }) {
  const made = { name: workload, definition, roleArn: "arn:aws:iam::000000000000:role/bench", type: "EXPRESS" };
  const { stateMachineArn } = await call("CreateStateMachine", made);
  const start = async () => {
    const reply = await call("StartSyncExecution", { stateMachineArn, input });
    if (reply.status !== "SUCCEEDED") throw new Error(`it ends with ${reply.status}: ${reply.error}: ${reply.cause}`);
    return JSON.parse(reply.output);
  };
  return measure(start, output, CALLERS);
}

try {
  version = execFileSync(python, ["-c", "from importlib.metadata import version; print(version('localstack-core'))"]).toString().trim();
  const environment = {
    GATEWAY_LISTEN: `127.0.0.1:${PORT}`,
    SERVICES: "stepfunctions",
    SKIP_SSL_CERT_DOWNLOAD: "1",
    DISABLE_EVENTS: "1",
    LS_LOG: "error",
  };
  await serving(
    (folder) => {
      environment.FILESYSTEM_ROOT = folder;
      return [python, "-m", "localstack.runtime.main"];
    },
    environment,
    () => call("ListStateMachines", {}),
    async () => {
      for (const [workload, text] of Object.entries(texts)) {
        say(workload, await one(workload, text).catch((error) => ({ absent: error.message })));
      }
    },
  );
} catch (error) {
  say("all", { absent: String(error.message ?? error).slice(0, 200) });
}
process.exit(0);
