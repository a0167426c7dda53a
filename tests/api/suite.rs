//! The cases of `tests/suite` through the API: created, started, described, and their histories read.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use expressway::json;
use expressway::task::{Call, TaskError};
use serde_json::{Value as Json, json as object};

use super::client::Client;
use crate::cases::{self, NotRan, Ran, Script, Scripted, Told};
use crate::required::{is_all, some_of};

#[test]
fn suite_through_the_api() {
    run_one_of(4, "through the API", false);
}

#[test]
fn suite_through_a_socket() {
    run_one_of(8, "through a socket", true);
}

/// Each case has its own service, and in-line drivers and shards run all of them: here one of `every` suffices unless
/// everything is required.
fn run_one_of(every: u64, driver: &str, over_http: bool) {
    let every = if is_all() { 1 } else { every };
    let cases = Cell::new(0u64);
    cases::run_all(driver, some_of(550, every) as usize, |case, _| {
        if !cases.replace(cases.get() + 1).is_multiple_of(every) {
            return Err(NotRan::Cannot("not everything is required (EXPRESSWAY_REQUIRE)"));
        }
        run(case, over_http)
    });
}

fn run(case: &Json, over_http: bool) -> Result<Ran, NotRan> {
    let cannot =
        |what: &str| case.get(what).is_some() || case["tasks"].to_string().contains(&format!("\"{what}\""));
    if ["arena_bytes_max", "seconds_max"].into_iter().any(cannot) {
        return Err(NotRan::Cannot("it sets what the API does not"));
    }
    if ["after_ms", "never"].into_iter().any(cannot) {
        return Err(NotRan::Cannot("a task takes time"));
    }
    if case["tasks"].to_string().contains("\"throw\":{}") {
        return Err(NotRan::Cannot("a handler that fails says with which error"));
    }
    if case["output"].to_string().contains(":express:") {
        return Err(NotRan::Cannot("it shows an Express execution"));
    }
    if case["elapsed_ms"] == 300_000 && cases::definition(case)["TimeoutSeconds"] != 300 {
        return Err(NotRan::Cannot("it takes as long as an Express execution may"));
    }
    let script = Arc::new(Mutex::new(Script::new(case)));
    let handler = move |call: &mut Call<'_>| {
        let given = serde_json::from_str(&json::to_string(call.arena, call.input)).expect("JSON");
        match script.lock().expect("no panic").next(call.state, &given) {
            Scripted::Over { after_ms: None, result: Ok(text) } => {
                Ok(json::read(call.arena, &text).expect("JSON"))
            }
            Scripted::Over { after_ms: None, result: Err(fault) } => Err(TaskError::new(
                fault.error.as_deref().unwrap_or_default(),
                fault.cause.unwrap_or_default(),
            )),
            Scripted::Never | Scripted::Over { .. } => unreachable!("such cases are left out"),
        }
    };
    let set = |builder: expressway::service::Builder| {
        builder.engine(|engine| engine.handler_prefix("arn:", handler))
    };
    let mut client = if over_http { Client::over_http(set) } else { Client::with(set) };
    let request = object!({"name": "machine", "definition": cases::definition(case).to_string(),
        "roleArn": "arn:aws:iam::111111111111:role/role"});
    let refused = |what: &str, why| NotRan::Failed(format!("{what} is refused: {why:?}"));
    let created = client.call("CreateStateMachine", &request).map_err(|why| refused("the machine", why))?;
    let request =
        object!({"stateMachineArn": created["stateMachineArn"], "name": "run", "input": cases::input(case)});
    let started = client.call("StartExecution", &request).map_err(|why| refused("the start", why))?;
    client.pass(400 * 86_400_000);
    let this = object!({"executionArn": started["executionArn"]});
    let described = client.ok("DescribeExecution", &this);
    let text = |member: &str| described[member].as_str().map(str::to_owned);
    let status = ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "RUNNING"];
    Ok(Ran {
        status: status.into_iter().find(|status| described["status"] == *status).expect("a status"),
        output: text("output").map_or(Json::Null, |output| serde_json::from_str(&output).expect("JSON")),
        error: text("error"),
        cause: text("cause"),
        events: Some(client.history(&started["executionArn"]).iter().map(told).collect()),
        capacity: None,
    })
}

fn told(event: &Json) -> Told {
    let details = event.as_object().expect("an event").values().find(|value| value.is_object());
    Told {
        id: event["id"].as_u64().expect("an id"),
        previous: event["previousEventId"].as_u64().expect("an id"),
        time_ms: (event["timestamp"].as_f64().expect("a time") * 1_000.0).round() as u64,
        event_type: event["type"].as_str().expect("a type").to_owned(),
        name: details.and_then(|details| details["name"].as_str()).map(str::to_owned),
        location: details.and_then(|details| details["location"].as_str()).map(str::to_owned),
        assigned: (details.and_then(|details| details["assignedVariables"].as_object()).into_iter())
            .flat_map(|members| members.keys().cloned())
            .collect(),
    }
}
