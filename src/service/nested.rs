//! Executions started by Task states: `states:startExecution`, alone, `.sync`, `.sync:2` and `.waitForTaskToken`
//! (developer guide, "Start a new workflow from a running execution").

mod elsewhere;

use std::sync::{Arc, OnceLock, Weak};

use serde_json::{Map, Value as Json, json};

use super::executions::Execution;
use super::inner::Inner;
use super::redrives::RedriveDescription;
use super::spread::{Spread, Way};
use super::{Error, StartExecution, StartedExecution};
use crate::clock;
use crate::fault::{self, Fault};
use crate::journal::partition_of;
use crate::runtime::{Outcome, Status};
use crate::task::{AsyncHandler, Attempt, Call, TaskError, TaskFuture};

/// Starts executions for tasks. The service is set before the first of them.
#[derive(Clone, Default)]
pub(super) struct Nested {
    pub(super) service: Arc<OnceLock<Weak<Inner>>>,
}

/// What the task waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Started,
    /// Ended, with input and output as strings, or as JSON.
    Ended {
        json: bool,
    },
}

impl AsyncHandler for Nested {
    fn begin(&self, call: &Call<'_>, attempt: Attempt) -> Result<TaskFuture, TaskError> {
        let until = match call.resource.rsplit_once("startExecution").map(|(_, pattern)| pattern) {
            Some(".sync") => Until::Ended { json: false },
            Some(".sync:2") => Until::Ended { json: true },
            _ => Until::Started,
        };
        let service = self.service.get().and_then(Weak::upgrade);
        let service =
            service.ok_or_else(|| TaskError::new(fault::TASK_FAILED, "The service has shut down."))?;
        let mut request = request(call.input::<Map<String, Json>>()?)?;
        // The task of a durable execution may be repeated, and finds the execution it started before.
        if request.name.is_none() {
            request.name = attempt.idempotency_key();
        }
        Ok(Box::pin(run(service, request, attempt, until)))
    }

    fn wants_attempt(&self) -> bool {
        true
    }
}

/// The task's arguments, as `StartExecution` takes them.
fn request(mut arguments: Map<String, Json>) -> Result<StartExecution, TaskError> {
    let input = match arguments.remove("Input") {
        None | Some(Json::Null) => None,
        // Text is taken as JSON text.
        Some(Json::String(text)) => Some(text),
        Some(value) => Some(value.to_string()),
    };
    let mut text = |name: &str| match arguments.remove(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(runtime(&format!("The field '{name}' must be a string"))),
    };
    let machine_arn = text("StateMachineArn")?;
    let machine_arn =
        machine_arn.ok_or_else(|| runtime("The field 'StateMachineArn' is required but was missing"))?;
    Ok(StartExecution { machine_arn, name: text("Name")?, input, trace_header: text("TraceHeader")? })
}

fn runtime(cause: &str) -> TaskError {
    TaskError::new(fault::RUNTIME, cause)
}

async fn run(
    service: Arc<Inner>,
    mut request: StartExecution,
    attempt: Attempt,
    until: Until,
) -> Result<Vec<u8>, TaskError> {
    let parent = attempt.idempotency_key();
    let standard = service.spread.clone().and_then(|spread| {
        let name = request.name.get_or_insert_with(|| service.ids.uuid());
        Some((spread, service.standard_arn(&request.machine_arn, name)?))
    });
    let aborted = format!(
        "The Task state in AWS Step Functions execution [{}] which was managing this resource was aborted",
        attempt.execution_arn()
    );
    let mut stop = standard.as_ref().map(|(spread, arn)| elsewhere::StopOnDrop {
        service: Arc::downgrade(&service),
        spread: Arc::clone(spread),
        arn: arn.clone(),
        parent: parent.clone(),
        cause: aborted.clone(),
        // Without a parent, the execution found under this name may be another task's: it is left alone.
        is_needed: until != Until::Started && parent.is_some(),
    });
    let (started, mut child) = match &standard {
        Some((spread, arn)) => begin(&service, (spread, arn), request, parent).await?,
        None => {
            let (started, execution) = service.start(request, parent).map_err(|why| refused(&why.into()))?;
            (started, execution.map(Child::Here))
        }
    };
    if let Some(stop) = &mut stop {
        (stop.is_needed, stop.parent) = (false, None);
    }
    let response = response(&started, &service.ids.uuid()).to_string().into_bytes();
    // While it waits, the task holds no reference to the service: that would keep its own engine alive.
    let of = Arc::downgrade(&service);
    drop(service);
    if until == Until::Started {
        return Ok(response);
    }
    attempt.submitted(response);
    let wants_json = until == (Until::Ended { json: true });
    loop {
        child = match (child, standard.as_ref().zip(stop.as_mut())) {
            (Some(Child::Here(execution)), _) => match execution.await_or_stop(Some(&aborted)).await {
                Some(outcome) => {
                    // Measured: the input of a failed one is shown as text, by both.
                    let json = wants_json && outcome.status == Status::Succeeded;
                    // A dropped service redrives nothing.
                    let redrive = of.upgrade().map(|service| service.redrive_description(&execution));
                    let described = describe(&execution, &outcome, redrive, json);
                    return match outcome.status {
                        Status::Succeeded => Ok(described.to_string().into_bytes()),
                        _ => Err(TaskError::new(fault::TASK_FAILED, described.to_string())),
                    };
                }
                None => Some(Child::Elsewhere),
            },
            (Some(Child::Elsewhere), Some(((spread, arn), stop))) => {
                match elsewhere::ended(&of, spread, arn, stop).await? {
                    elsewhere::Ended::Back(execution) => Some(Child::Here(execution)),
                    elsewhere::Ended::Over(described) => return elsewhere::shown(&described, wants_json),
                }
            }
            _ => {
                let why = "An execution of an Express state machine cannot be waited for";
                return Err(TaskError::new("StepFunctions.StateMachineTypeNotSupportedException", why));
            }
        };
    }
}

/// An execution that was started and can be waited for.
enum Child {
    Here(Arc<Execution>),
    /// On another node.
    Elsewhere,
}

/// Starts a Standard execution on the node that has its partition.
async fn begin(
    service: &Arc<Inner>,
    (spread, arn): (&Arc<Spread>, &str),
    request: StartExecution,
    parent: Option<String>,
) -> Result<(StartedExecution, Option<Child>), TaskError> {
    let call = elsewhere::start(&request, parent.as_deref());
    // It is found again if it was started already.
    match spread.go(partition_of(arn), &call, true).await.map_err(|error| refused(&error))? {
        Way::Here(_pass) => {
            let (started, execution) = service.start(request, parent).map_err(|why| refused(&why.into()))?;
            Ok((started, execution.map(Child::Here)))
        }
        Way::Answered(reply) => {
            let started = elsewhere::started(&reply).ok_or_else(|| elsewhere::refused(&reply))?;
            Ok((started, Some(Child::Elsewhere)))
        }
    }
}

/// The answer of `StartExecution`, as a task's result. `AllHttpHeaders` is in the order of a Java hash map of these
/// names, `HttpHeaders` in alphabetical order.
fn response(started: &StartedExecution, request_id: &str) -> Json {
    let StartedExecution { arn, started_ms } = started;
    let (seconds, milliseconds) = (started_ms / 1_000, started_ms % 1_000);
    let length =
        format!(r#"{{"executionArn":"{arn}","startDate":{seconds}.{milliseconds:03}}}"#).len().to_string();
    let (date, kind) = (clock::http_date(seconds), "application/x-amz-json-1.0");
    json!({
        "ExecutionArn": arn,
        "SdkHttpMetadata": {
            "AllHttpHeaders": {
                "x-amzn-RequestId": [request_id],
                "connection": ["keep-alive"],
                "Content-Length": [length],
                "Date": [date],
                "Content-Type": [kind],
            },
            "HttpHeaders": {
                "connection": "keep-alive",
                "Content-Length": length,
                "Content-Type": kind,
                "Date": date,
                "x-amzn-RequestId": request_id,
            },
            "HttpStatusCode": 200,
        },
        "SdkResponseMetadata": {"RequestId": request_id},
        "StartDate": started_ms,
    })
}

/// The answer of `DescribeExecution`, as a task's result.
fn describe(
    execution: &Execution,
    outcome: &Outcome,
    redrive: Option<RedriveDescription>,
    json: bool,
) -> Json {
    let payload =
        |text: &str| if json { serde_json::from_str(text).unwrap_or(Json::Null) } else { Json::from(text) };
    let mut members = Map::new();
    if let Some(Fault { error, cause }) = &outcome.fault {
        members.extend(cause.as_ref().map(|cause| ("Cause".to_owned(), Json::from(&**cause))));
        members.extend(error.as_ref().map(|error| ("Error".to_owned(), Json::from(&**error))));
    }
    let mut put = |name: &str, value: Json| members.insert(name.to_owned(), value);
    put("ExecutionArn", (*execution.arn).into());
    put("Input", payload(&execution.input));
    put("InputDetails", json!({"Included": true}));
    put("Name", (*execution.name).into());
    if outcome.status == Status::Succeeded {
        put("Output", payload(std::str::from_utf8(outcome.json()).unwrap_or_default()));
        put("OutputDetails", json!({"Included": true}));
    }
    let status = match outcome.status {
        Status::Succeeded | Status::Running => "SUCCEEDED",
        Status::Failed => "FAILED",
        Status::TimedOut => "TIMED_OUT",
        Status::Aborted => "ABORTED",
    };
    if let Some(redrive) = redrive {
        put("RedriveCount", redrive.count.into());
        if let Some(date_ms) = redrive.date_ms {
            put("RedriveDate", date_ms.into());
        }
        put("RedriveStatus", redrive.status().into());
        if let Some(reason) = redrive.reason() {
            put("RedriveStatusReason", reason.into());
        }
    }
    put("StartDate", execution.started_ms.into());
    put("StateMachineArn", (*execution.target.machine.arn).into());
    put("Status", status.into());
    put("StopDate", outcome.stopped_ms.into());
    members.into()
}

/// An exception of the API, as a task's fault.
fn refused(error: &Error) -> TaskError {
    let name = error.exception.name();
    let suffix = if name.ends_with("Exception") { "" } else { "Exception" };
    let cause = format!(
        "{} (Service: AWSStepFunctions; Status Code: 400; Error Code: {name}; Request ID: {}; Proxy: null)",
        error.message, "00000000-0000-0000-0000-000000000000"
    );
    TaskError::new(format!("StepFunctions.{name}{suffix}"), cause)
}
