// Restate's server, started for a measurement, with services of its SDK on Node.
import { createRequire } from "node:module";
import { post, serving } from "./load.mjs";

// Neither side is to spend its time on telling of every call, nor to write among the results.
Object.assign(process.env, { NODE_ENV: "production", RESTATE_LOGGING: "ERROR", RUST_LOG: "warn", DO_NOT_TRACK: "1" });
// The SDK expects this of Node 22.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new this((...both) => ([resolve, reject] = both));
  return { promise, resolve, reject };
};

const require = createRequire(import.meta.url);
const [INGRESS, ADMIN, HANDLERS] = [18080, 19070, 19080];

const call = async (port, path, body) => {
  const { status, text } = await post(port, path, body);
  if (status >= 300) throw new Error(`HTTP ${status}: ${text.slice(0, 120)}`);
  return JSON.parse(text);
};

export const version = () => require("@restatedev/restate-server/package.json").version;

/**
 * Runs the server with a service of these handlers while `work` goes on, which gets a function that calls one. Its log is in
 * `folder`, or in one of its own.
 */
export async function withRestate(name, handlers, work, folder) {
  const restate = await import("@restatedev/restate-sdk");
  await restate.serve({ services: [restate.service({ name, handlers })], port: HANDLERS });
  // The binary itself, not the script around it, which would not pass its end on.
  const { platform, arch } = process;
  const binary = require.resolve(`@restatedev/restate-server-${platform}-${arch}/bin/restate-server`);
  const addresses = {
    RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${INGRESS}`,
    RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${ADMIN}`,
  };
  await serving(
    (own) => [binary, "--base-dir", folder ?? own, "--node-name", "bench"],
    addresses,
    () => call(ADMIN, "/deployments", JSON.stringify({ uri: `http://127.0.0.1:${HANDLERS}` })),
    () => work((handler, body) => call(INGRESS, `/${name}/${handler}`, body)),
  );
}
