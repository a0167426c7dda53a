//! Service tasks, against servers that the tests start.

mod bedrock;
mod corpus;
#[cfg(unix)]
mod credentials;
#[cfg(feature = "map-data")]
mod datasets;
mod ec2;
mod eks;
mod harness;
mod http;
#[cfg(feature = "durable")]
mod idempotency;
mod in_line;
mod jobs;
mod lambda;
mod moto;
#[cfg(feature = "parquet")]
mod parquet;
#[path = "../ports/mod.rs"]
mod ports;
mod refusals;
#[path = "../required/mod.rs"]
mod required;
mod rest;
mod rest_xml;
#[cfg(feature = "map-data")]
mod s3;
#[cfg(feature = "map-data")]
mod s3_api;
mod server;
mod services;
#[cfg(feature = "map-data")]
mod shapes;
mod tls;

use expressway::runtime::{Engine, Outcome, Profile};
use expressway::task::aws::Integrations;
use serde_json::{Value, json};

/// Runs a machine of one task.
fn run(integrations: Integrations, resource: &str, parameters: &Value) -> Outcome {
    run_state(integrations, json!({"Resource": resource, "Parameters": parameters}), &json!({}))
}

/// Runs a machine of one Task state with these fields.
fn run_state(integrations: Integrations, mut state: Value, input: &Value) -> Outcome {
    state["Type"] = json!("Task");
    state["End"] = json!(true);
    run_machine(integrations, &json!({"StartAt": "Call", "States": {"Call": state}}), input)
}

/// With the profile that does not look at parameters itself: here it is handlers that do.
fn run_machine(integrations: Integrations, definition: &Value, input: &Value) -> Outcome {
    let builder = Engine::builder().shards(1).profile(Profile::Open);
    let engine = builder.aws(integrations).build().expect("an engine");
    let machine = engine.create_state_machine("machine", &definition.to_string()).expect("a machine");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(engine.run(&machine, input.to_string())).expect("an execution")
}

fn output(outcome: &Outcome) -> Value {
    outcome.output().unwrap_or_else(|error| panic!("{error:?}"))
}

/// Error and cause.
fn failure(outcome: &Outcome) -> (String, String) {
    let Some(fault) = outcome.fault.clone() else { return Default::default() };
    (fault.error.unwrap_or_default().into_owned(), fault.cause.unwrap_or_default())
}
