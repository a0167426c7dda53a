// Runs the export `handler` of a file: takes one invocation after the other from Lambda's runtime API.
import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

const file = path.resolve(process.argv.at(-1));
const { hostname, port } = new URL(`http://${process.env.AWS_LAMBDA_RUNTIME_API}`);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function ask(method, path, body = "", headers = {}) {
  const length = { "Content-Length": Buffer.byteLength(body) };
  const options = { hostname, port, method, agent, path: `/2018-06-01/runtime/${path}`, headers: { ...length, ...headers } };
  return new Promise((resolve, reject) => {
    const request = http.request(options, (reply) => {
      const parts = [];
      reply.on("data", (part) => parts.push(part));
      reply.on("error", reject);
      reply.on("end", () => resolve({ reply, text: Buffer.concat(parts).toString() }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

// Posts an error, and writes it to the log.
async function tell(path, error, kind) {
  const isError = error instanceof Error;
  const told = {
    errorType: kind ?? (isError ? error.name : typeof error),
    errorMessage: isError ? error.message : String(error),
    trace: isError && error.stack ? error.stack.split("\n") : [],
  };
  console.error(`[ERROR] ${told.trace.length ? told.trace.join("\n") : told.errorMessage}`);
  await ask("POST", path, JSON.stringify(told), { "Lambda-Runtime-Function-Error-Type": told.errorType });
}

async function load() {
  let module;
  try {
    module = await import(pathToFileURL(file));
  } catch (error) {
    const kinds = { ERR_MODULE_NOT_FOUND: "Runtime.ImportModuleError", MODULE_NOT_FOUND: "Runtime.ImportModuleError" };
    await tell("init/error", error, error instanceof SyntaxError ? "Runtime.UserCodeSyntaxError" : kinds[error?.code]);
    process.exit(1);
  }
  const handler = module.handler ?? module.default?.handler;
  if (typeof handler !== "function") {
    await tell("init/error", new Error(`${path.basename(file)} has no export 'handler'`), "Runtime.HandlerNotFound");
    process.exit(1);
  }
  return handler;
}

// Handlers are async, or take a callback.
function call(handler, event, context) {
  return new Promise((resolve, reject) => {
    const done = (error, result) => (error == null ? resolve(result) : reject(error));
    Object.assign(context, { done, succeed: resolve, fail: reject });
    const result = handler(event, context, done);
    if (typeof result?.then === "function") result.then(resolve, reject);
    else if (handler.length < 3 && result !== undefined) resolve(result);
    else if (handler.length < 2) resolve(result);
  });
}

function told(headers) {
  const env = process.env;
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const client = headers["lambda-runtime-client-context"];
  return {
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: client ? JSON.parse(client) : undefined,
    callbackWaitsForEmptyEventLoop: true,
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
}

const handler = await load();
for (;;) {
  const { reply, text } = await ask("GET", "invocation/next");
  if (reply.statusCode !== 200) {
    console.error(`the runtime API says ${reply.statusCode}`);
    process.exit(1);
  }
  const context = told(reply.headers);
  process.env._X_AMZN_TRACE_ID = reply.headers["lambda-runtime-trace-id"] ?? "";
  const path = `invocation/${context.awsRequestId}`;
  let body;
  try {
    body = JSON.stringify((await call(handler, JSON.parse(text), context)) ?? null);
  } catch (error) {
    await tell(`${path}/error`, error);
    continue;
  }
  await ask("POST", `${path}/response`, body);
}
