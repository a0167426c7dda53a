//! `TestState` and `ValidateStateMachineDefinition` as actions: what they cannot do themselves is done with the engine.

use std::time::Duration;

use serde_json::json;

use super::test_state::{News, Progress, Surroundings, TaskWanted, Test, TestState, TestedState};
use super::validate::{self, ValidateStateMachineDefinition, Validation};
use super::{Error, Inner, Service};
use crate::asl::{MachineType, Resources};
use crate::fault::{self, Fault};
use crate::runtime::{MachineSpec, Status};

impl Service {
    /// Says what is wrong with a definition.
    pub fn validate_state_machine_definition(&self, request: ValidateStateMachineDefinition) -> Validation {
        validate::validate(&request)
    }

    /// Runs one state. Waits take their time, for which the caller must be inside a tokio runtime whose time driver is
    /// enabled; tasks that are not mocked are done by the engine's handlers.
    ///
    /// # Errors
    /// `InvalidDefinition`, `InvalidExecutionInput`, `ValidationException`.
    pub async fn test_state(&self, request: TestState) -> Result<TestedState, Error> {
        let inner = &*self.inner;
        let surroundings = Surroundings {
            partition: inner.settings.partition.clone(),
            region: inner.settings.region.clone(),
            account: inner.settings.account.clone(),
            now_ms: inner.now_ms(),
            seed: inner.chance.next(),
            resources: Resources::Aws,
        };
        let mut test = Box::new(Test::new(&request, &surroundings)?);
        let mut news = News::Begin;
        loop {
            news = match test.advance(news, inner.now_ms())? {
                Progress::Done(tested) => return Ok(*tested),
                Progress::Task(wanted) => News::Answer(inner.task(&wanted).await),
                Progress::Wait { until_ms } => {
                    let wait_ms = until_ms.saturating_sub(inner.now_ms());
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                    News::Time
                }
            };
        }
    }
}

impl Inner {
    /// Does a task, by a machine of one state.
    async fn task(&self, wanted: &TaskWanted) -> Result<Vec<u8>, Fault> {
        let mut state = json!({
            "Type": "Task",
            "QueryLanguage": "JSONata",
            "Resource": wanted.resource,
            "Arguments": "{% $states.input %}",
            "End": true,
        });
        let credentials = wanted.credentials.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let members: [(&str, Option<serde_json::Value>); 3] = [
            ("Credentials", credentials),
            ("TimeoutSeconds", wanted.timeout_seconds.map(Into::into)),
            ("HeartbeatSeconds", wanted.heartbeat_seconds.map(Into::into)),
        ];
        for (name, member) in members {
            if let Some(member) = member {
                state[name] = member;
            }
        }
        let definition = json!({"StartAt": "Task", "States": {"Task": state}}).to_string();
        let spec =
            MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("TestState", &definition) };
        let failed = |cause: String| Fault::new(fault::RUNTIME, cause);
        let machine = self.engine.create(&spec).map_err(|error| failed(error.to_string()))?;
        let ran = self.engine.run(&machine, &*wanted.input).await;
        let outcome = ran.map_err(|error| failed(error.to_string()))?;
        match outcome.status {
            Status::Succeeded => Ok(outcome.json().to_vec()),
            _ => Err(outcome.fault.unwrap_or(Fault { error: Some(fault::TIMEOUT.into()), cause: None })),
        }
    }
}
