//! Checks of a mock, with AWS's messages.

use serde_json::Value as Json;

use super::model::{Mock, StateConfiguration, TestState, unreadable};
use super::schema;
use super::subject::Subject;
use crate::asl::model::{Pattern, ResourceKind, StateKind};
use crate::fault::Fault;
use crate::service::{Error, Exception};

/// The mocked result of the state's work.
#[derive(Clone, Debug)]
pub(super) enum Mocked {
    /// JSON text.
    Result(String),
    Error(Fault),
}

/// Combinations in a request that are never allowed.
pub(super) fn check_request(request: &TestState) -> Result<(), Error> {
    let StateConfiguration {
        retrier_retry_count: retries,
        error_caused_by_state: source,
        map_iteration_failure_count: failures,
        map_item_reader_data: data,
    } = &request.configuration;
    let Some(mock) = &request.mock else {
        let given = [
            ("Context", request.context.is_some()),
            ("RetrierRetryCount", retries.is_some()),
            ("ErrorCausedByState", source.is_some()),
            ("MapIterationFailureCount", failures.is_some()),
            ("MapItemReaderData", data.is_some()),
        ];
        return match given.iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((name, _)) => Err(Error::validation(format!(
                "TestState does not support {name} when a mock is not specified."
            ))),
        };
    };
    if request.reveal_secrets {
        return Err(Error::validation("TestState does not support RevealSecrets when a mock is specified."));
    }
    if mock.result.is_some() == mock.error_output.is_some() {
        let text = "A test mock should have only one of the following fields: [result, errorOutput].";
        return Err(Error::validation(text));
    }
    Ok(())
}

/// Whether a state of this kind may be tested with or without a mock.
pub(super) fn check_state(request: &TestState, subject: &Subject) -> Result<(), Error> {
    let kind = &subject.state.kind;
    let mocked = request.mock.is_some();
    match kind {
        StateKind::Map(_) | StateKind::Parallel(_) if !mocked => Err(Error::new(
            Exception::InvalidDefinition,
            "TestState API does not support Map or Parallel states. Supported state types include: [Task, Wait, \
             Pass, Succeed, Fail, Choice]",
        )),
        StateKind::Task(task) if !mocked => {
            let activity = task.resource.kind == ResourceKind::Activity;
            if activity || task.resource.pattern != Pattern::RequestResponse {
                return Err(Error::validation(
                    "TestState does not support Activity tasks, .sync or .waitForTaskToken service integration \
                     patterns when a mock is not specified.",
                ));
            }
            match request.role_arn {
                None => Err(Error::validation("RoleArn must be specified when testing a Task state")),
                Some(_) => Ok(()),
            }
        }
        StateKind::Map(_) | StateKind::Parallel(_) | StateKind::Task(_) => Ok(()),
        other if mocked => {
            let text = format!("State type '{}' is not supported when a mock is specified", other.name());
            Err(Error::validation(text))
        }
        _ => Ok(()),
    }
}

/// The mock, when it is valid for the state.
pub(super) fn mocked(request: &TestState, subject: &Subject) -> Result<Option<Mocked>, Error> {
    let Some(mock) = &request.mock else { return Ok(None) };
    let Mock { result, error_output, field_validation } = mock;
    if let Some(output) = error_output {
        let Some(error) = &output.error else {
            return Err(Error::validation("The mocked errorOutput must have an error."));
        };
        let fault = Fault { error: Some(error.clone().into()), cause: output.cause.clone() };
        return Ok(Some(Mocked::Error(fault)));
    }
    let text = result.clone().unwrap_or_default();
    let Ok(result) = serde_json::from_str::<Json>(&text) else {
        return Err(Error::validation(unreadable(&text, "Mocked result must be valid JSON")));
    };
    if let StateKind::Task(task) = &subject.state.kind {
        schema::check(&task.resource, &result, *field_validation).map_err(Error::validation)?;
    }
    check_shape(&result, subject, request.configuration.map_iteration_failure_count)?;
    Ok(Some(Mocked::Result(text)))
}

/// Checks the shape of a Map's or Parallel's mocked result.
fn check_shape(result: &Json, subject: &Subject, failures: Option<u32>) -> Result<(), Error> {
    if subject.distributed().is_some_and(|map| map.result_writer.is_some()) {
        return if result.is_object() {
            Ok(())
        } else {
            Err(Error::validation("Mocked result must be a JSON object."))
        };
    }
    let items = result.as_array();
    match (&subject.state.kind, items) {
        (StateKind::Map(_), Some(items)) if failures.is_some_and(|count| count as usize > items.len()) => {
            return Err(Error::validation(TOO_MANY_FAILURES));
        }
        (StateKind::Map(_) | StateKind::Parallel(_), None) => {
            return Err(Error::validation("Mocked result must be an array."));
        }
        (StateKind::Parallel(parallel), Some(items)) if items.len() != parallel.branches.len() => {
            return Err(Error::validation(
                "Mocked result must contain the same number of items as number of Parallel branches.",
            ));
        }
        _ => {}
    }
    Ok(())
}

pub(super) const TOO_MANY_FAILURES: &str =
    "Map iteration failure count must be less than or equal to the number of Map iterations";
