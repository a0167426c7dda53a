//! A test on an engine, with its handlers and its clock.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::json;

use super::subject::STATE_NAME;
use super::{News, Progress, Surroundings, TaskWanted, Test, TestState, TestedState};
use crate::asl::{MachineType, Resources};
use crate::clock;
use crate::fault::{self, Fault};
use crate::limits;
use crate::runtime::{Engine, MachineSpec, Outcome, Status};
use crate::service::{Error, Exception};
use crate::task::Permit;

/// Tests a state. A task without a mock, and the time a Wait state waits, are executions of `engine`: so its handlers,
/// its clock and its scale of time apply.
///
/// # Errors
/// AWS's exceptions and words: `ValidationException`, `InvalidDefinition`, `InvalidExecutionInput`; and
/// `ThrottlingException` when the engine has no room.
pub async fn test_state(
    request: &TestState,
    surroundings: &Surroundings,
    engine: &Engine,
) -> Result<TestedState, Error> {
    test_state_with(request, surroundings, engine, None, None).await
}

/// As [`test_state`], with a permit that the state's task needs, and a flag that is set when the caller no longer
/// waits.
pub(in super::super) async fn test_state_with(
    request: &TestState,
    surroundings: &Surroundings,
    engine: &Engine,
    permit: Option<Arc<dyn Permit>>,
    departed: Option<Arc<AtomicBool>>,
) -> Result<TestedState, Error> {
    let mut test = Test::new(request, surroundings)?;
    test.patience.departed = departed;
    test.limit((engine.budgets().bytes_max / limits::TEST_STATE_PARTS).max(limits::TEST_STATE_BYTES_MIN));
    // Messages of this engine name the state.
    let name = request.state_name.as_deref().unwrap_or(STATE_NAME);
    let mut now_ms = surroundings.now_ms;
    let mut news = News::Begin;
    loop {
        let (definition, input, until_ms) = match test.advance(news, now_ms)? {
            Progress::Done(tested) => return Ok(*tested),
            Progress::Task(wanted) => (task(name, &wanted), wanted.input, None),
            Progress::Wait { until_ms } => (wait(name, until_ms), "{}".to_owned(), Some(until_ms)),
        };
        let spec = MachineSpec {
            machine_type: MachineType::Standard,
            // The state was checked as in the definition; here it has no parameters, only their value.
            resources: Some(Resources::Any),
            role_arn: request.role_arn.as_deref(),
            permit: permit.clone(),
            ..MachineSpec::new("TestState", &definition)
        };
        let machine = engine.create(&spec);
        let machine = machine.map_err(|error| Error::new(Exception::InvalidDefinition, error.to_string()))?;
        let outcome = engine.run(&machine, input.as_str()).await?;
        now_ms = outcome.stopped_ms.max(now_ms);
        news = match until_ms {
            Some(until_ms) => {
                now_ms = now_ms.max(until_ms);
                News::Time
            }
            None => News::Answer(answer(outcome)),
        };
    }
}

fn answer(outcome: Outcome) -> Result<Vec<u8>, Fault> {
    match outcome.status {
        Status::Succeeded => Ok(outcome.json().to_vec()),
        _ => Err(outcome.fault.unwrap_or(Fault { error: Some(fault::TIMEOUT.into()), cause: None })),
    }
}

/// A machine that does one task. A test takes five minutes at most.
fn task(name: &str, wanted: &TaskWanted) -> String {
    let mut state = json!({"Type": "Task", "Resource": wanted.resource, "End": true});
    if let Some(seconds) = wanted.timeout_seconds {
        state["TimeoutSeconds"] = seconds.into();
    }
    if let Some(seconds) = wanted.heartbeat_seconds {
        state["HeartbeatSeconds"] = seconds.into();
    }
    if let Some(credentials) = &wanted.credentials {
        state["Credentials"] = serde_json::from_str(credentials).unwrap_or_default();
    }
    machine(name, state)
}

fn wait(name: &str, until_ms: u64) -> String {
    machine(name, json!({"Type": "Wait", "Timestamp": clock::format_millis(until_ms), "End": true}))
}

fn machine(name: &str, state: serde_json::Value) -> String {
    json!({"StartAt": name, "TimeoutSeconds": 300, "States": {name: state}}).to_string()
}
