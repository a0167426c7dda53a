//! Executions that a task started on another node of the cluster: they are waited for there, and stopped when the task is
//! dropped.

use std::sync::{Arc, Weak};

use serde_json::{Map, Value as Json, json};

use super::super::executions::Execution;
use super::super::inner::Inner;
use super::super::spread::{PAUSE_MS, PeerCall, PeerReply, Peers, Spread, Way};
use super::super::{StartExecution, StartedExecution};
use crate::fault::{self, Fault};
use crate::journal::partition_of;
use crate::task::TaskError;

/// How an execution on another node is waited for.
pub(super) enum Ended {
    /// Its partition has come to this node.
    Back(Arc<Execution>),
    /// It is over; as `DescribeExecution` shows it.
    Over(Json),
}

fn call(operation: &str, body: &Json) -> PeerCall {
    PeerCall {
        target: format!("Expressway.{operation}"),
        body: body.to_string().into_bytes(),
        ..PeerCall::default()
    }
}

/// The call that starts an execution for an attempt at a task.
pub(super) fn start(request: &StartExecution, parent: Option<&str>) -> PeerCall {
    let StartExecution { machine_arn, name, input, trace_header } = request;
    let body = json!({
        "stateMachineArn": machine_arn, "name": name, "input": input, "traceHeader": trace_header, "parent": parent,
    });
    call("StartNested", &body)
}

/// What was started; `None`, if it was refused.
pub(super) fn started(reply: &PeerReply) -> Option<StartedExecution> {
    let body: Json = serde_json::from_slice(&reply.body).ok()?;
    let arn = body["executionArn"].as_str().filter(|_| reply.status == 200)?.to_owned();
    Some(StartedExecution { arn, started_ms: milliseconds(&body["startDate"])? })
}

/// A time in seconds, with milliseconds behind the point.
fn milliseconds(time: &Json) -> Option<u64> {
    time.as_f64().map(|seconds| (seconds * 1e3).round() as u64)
}

/// Another node's refusal, as a task's fault.
pub(super) fn refused(reply: &PeerReply) -> TaskError {
    let body: Json = serde_json::from_slice(&reply.body).unwrap_or(Json::Null);
    let name = reply.error.as_deref().unwrap_or("InternalFailure");
    let suffix = if name.ends_with("Exception") { "" } else { "Exception" };
    let cause = format!(
        "{} (Service: AWSStepFunctions; Status Code: 400; Error Code: {name}; Request ID: \
         00000000-0000-0000-0000-000000000000; Proxy: null)",
        body["message"].as_str().unwrap_or("The node that has the execution gave no reason")
    );
    TaskError::new(format!("StepFunctions.{name}{suffix}"), cause)
}

/// Waits for the end of an execution, and stops it when the waiter is dropped.
pub(super) async fn ended(
    service: &Weak<Inner>,
    spread: &Arc<Spread>,
    arn: &str,
    stop: &mut StopOnDrop,
) -> Result<Ended, TaskError> {
    stop.is_needed = true;
    let ask = call("AwaitExecution", &json!({"executionArn": arn}));
    loop {
        match spread.go(partition_of(arn), &ask, true).await {
            Ok(Way::Here(_pass)) => {
                let execution = service.upgrade().and_then(|service| service.executions.get(arn));
                stop.is_needed = false;
                return match execution {
                    Some(execution) => Ok(Ended::Back(execution)),
                    None => {
                        Err(TaskError::new(fault::TASK_FAILED, format!("Execution Does Not Exist: '{arn}'")))
                    }
                };
            }
            Ok(Way::Answered(reply)) if reply.status == 200 => {
                let described: Json = serde_json::from_slice(&reply.body).unwrap_or(Json::Null);
                if described["status"].as_str().is_some_and(|status| status != "RUNNING") {
                    stop.is_needed = false;
                    return Ok(Ended::Over(described));
                }
            }
            Ok(Way::Answered(reply)) if reply.status == 400 => {
                stop.is_needed = false;
                return Err(refused(&reply));
            }
            // No node has it at present.
            Ok(Way::Answered(_)) | Err(_) => {
                if let Ok(peers) = spread.peers() {
                    peers.pause(PAUSE_MS).await;
                }
            }
        }
    }
}

/// Stops an execution, on whatever node it is, when it is dropped while that is needed.
pub(super) struct StopOnDrop {
    pub(super) service: Weak<Inner>,
    pub(super) spread: Arc<Spread>,
    pub(super) arn: String,
    /// The attempt that is starting it: another execution of this name is not stopped. `None` when it was started.
    pub(super) parent: Option<String>,
    pub(super) cause: String,
    pub(super) is_needed: bool,
}

/// How often, and after how long, an execution is looked for that may still be starting.
const STOPS: u32 = 30;
const STOP_AGAIN_MS: u64 = 100;

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Ok(peers) = self.spread.peers()
            && self.is_needed
        {
            let arn = std::mem::take(&mut self.arn);
            let (parent, cause) = (self.parent.take(), std::mem::take(&mut self.cause));
            let (service, spread, later) =
                (self.service.clone(), Arc::clone(&self.spread), Arc::clone(peers));
            peers.spawn(Box::pin(async move { stop((service, spread), &later, (arn, parent, cause)).await }));
        }
    }
}

/// Stops an execution.
async fn stop(
    (service, spread): (Weak<Inner>, Arc<Spread>),
    peers: &Arc<dyn Peers>,
    (arn, parent, cause): (String, Option<String>, String),
) {
    let stop = call("StopNested", &json!({"executionArn": arn, "parent": parent, "cause": cause}));
    for _ in 0..STOPS {
        let is_stopped = match spread.go(partition_of(&arn), &stop, true).await {
            // A service that is gone has no executions.
            Ok(Way::Here(_pass)) => {
                service.upgrade().is_none_or(|service| service.stop_child(&arn, parent.as_deref(), &cause))
            }
            Ok(Way::Answered(reply)) => reply.status == 200,
            Err(_) => false,
        };
        if is_stopped {
            return;
        }
        peers.pause(STOP_AGAIN_MS).await;
    }
    if parent.is_none() {
        tracing::warn!(%arn, "a child execution could not be stopped");
    }
}

impl Inner {
    /// Stops a child execution of this node; only that of this attempt, if one is given. Whether there is such a one.
    pub(in crate::service) fn stop_child(&self, arn: &str, parent: Option<&str>, cause: &str) -> bool {
        let found = self.executions.get(arn);
        let Some(child) = found.filter(|child| parent.is_none() || child.parent.as_deref() == parent) else {
            return false;
        };
        child.stop(Fault { error: None, cause: Some(cause.to_owned()) });
        true
    }
}

/// The result of a task that has waited for an execution, from what `DescribeExecution` shows of it.
pub(super) fn shown(described: &Json, wants_json: bool) -> Result<Vec<u8>, TaskError> {
    let has_succeeded = described["status"] == "SUCCEEDED";
    let payload = |value: &Json| match value.as_str() {
        Some(text) if wants_json && has_succeeded => serde_json::from_str(text).unwrap_or(Json::Null),
        _ => value.clone(),
    };
    let mut members = Map::new();
    for (from, to) in [
        ("cause", "Cause"),
        ("error", "Error"),
        ("executionArn", "ExecutionArn"),
        ("name", "Name"),
        ("redriveCount", "RedriveCount"),
        ("redriveStatus", "RedriveStatus"),
        ("redriveStatusReason", "RedriveStatusReason"),
        ("stateMachineArn", "StateMachineArn"),
        ("status", "Status"),
    ] {
        members.extend(described.get(from).map(|value| (to.to_owned(), value.clone())));
    }
    for (from, details, to) in [("input", "InputDetails", "Input"), ("output", "OutputDetails", "Output")] {
        if let Some(value) = described.get(from) {
            members.insert(to.to_owned(), payload(value));
            members.insert(details.to_owned(), json!({"Included": true}));
        }
    }
    for (from, to) in [("startDate", "StartDate"), ("stopDate", "StopDate"), ("redriveDate", "RedriveDate")] {
        members.extend(described.get(from).and_then(milliseconds).map(|ms| (to.to_owned(), ms.into())));
    }
    let shown = Json::from(members).to_string();
    if has_succeeded { Ok(shown.into_bytes()) } else { Err(TaskError::new(fault::TASK_FAILED, shown)) }
}
