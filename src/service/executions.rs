//! Executions: starting, describing, stopping, listing.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use dashmap::DashMap;

use super::machines::{arn_of, name};
use super::{Error, Exception, Inner, Service, Target};
use crate::json::explain::explain;
use crate::runtime::{Handle, Outcome, Status};

/// Standard executions, by their ARN.
#[derive(Default)]
pub(super) struct Executions {
    by_arn: DashMap<Box<str>, Arc<Execution>>,
}

/// A Standard execution.
pub(super) struct Execution {
    arn: Box<str>,
    name: Box<str>,
    target: Target,
    input: Box<str>,
    started_ms: u64,
    trace_header: Option<Box<str>>,
    run: Mutex<Run>,
}

enum Run {
    Open(Handle),
    Over(Arc<Outcome>),
}

impl Execution {
    /// What it came to, if it is over.
    fn outcome(&self) -> Option<Arc<Outcome>> {
        // Nothing panics while it holds the lock.
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = match &mut *run {
            Run::Over(outcome) => return Some(Arc::clone(outcome)),
            Run::Open(handle) if handle.status() == Status::Running => return None,
            Run::Open(handle) => handle,
        };
        let polled = pin!(handle).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(outcome) = polled else { return None };
        let outcome = Arc::new(outcome);
        *run = Run::Over(Arc::clone(&outcome));
        Some(outcome)
    }
}

/// A request to start an execution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartExecution {
    /// `stateMachineArn`: of the machine, a version or an alias.
    pub machine_arn: String,
    /// `name`; a UUID unless given.
    pub name: Option<String>,
    /// `input`, JSON text; `{}` unless given.
    pub input: Option<String>,
    /// `traceHeader`
    pub trace_header: Option<String>,
}

/// An execution that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedExecution {
    /// `executionArn`
    pub arn: String,
    /// `startDate`, in milliseconds since 1970.
    pub started_ms: u64,
}

/// A request to start an execution of an Express machine and to wait for its end: the same as [`StartExecution`].
pub type SyncExecution = StartExecution;

/// What an Express execution came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOutcome {
    /// `executionArn`
    pub arn: String,
    /// `stateMachineArn`
    pub machine_arn: String,
    /// `name`
    pub name: String,
    /// Status, output and dates.
    pub outcome: Outcome,
    /// `billedDurationInMilliseconds`
    pub billed_ms: u64,
    /// `billedMemoryUsedInMB`
    pub billed_mb: u64,
}

/// An execution, as it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionDescription {
    /// `executionArn`
    pub arn: String,
    /// `stateMachineArn`
    pub machine_arn: String,
    /// `stateMachineVersionArn`
    pub version_arn: Option<String>,
    /// `stateMachineAliasArn`
    pub alias_arn: Option<String>,
    /// `name`
    pub name: String,
    /// `input`
    pub input: String,
    /// `startDate`, in milliseconds since 1970.
    pub started_ms: u64,
    /// `traceHeader`
    pub trace_header: Option<String>,
    /// Where it stands, and what it came to; `None` while it runs.
    pub outcome: Option<Arc<Outcome>>,
}

impl Service {
    /// Starts an execution.
    ///
    /// # Errors
    /// `InvalidArn`, `InvalidName`, `InvalidExecutionInput`, `StateMachineDoesNotExist`, `ExecutionAlreadyExists`,
    /// `ThrottlingException`.
    pub fn start_execution(&self, request: StartExecution) -> Result<StartedExecution, Error> {
        let inner = &*self.inner;
        let target = inner.target(&request.machine_arn)?;
        let given = request.name.is_some();
        let execution_name = inner.execution_name(request.name)?;
        let input = request.input.unwrap_or_else(|| "{}".to_owned());
        is_json(&input)?;
        if target.machine.is_express() {
            let handle = inner.engine.start(&target.revision.machine, &execution_name, &input)?;
            return Ok(StartedExecution { arn: handle.arn(), started_ms: inner.now_ms() });
        }
        let arn = inner.arn("execution", &format!("{}:{execution_name}", target.machine.name));
        if given && let Some(existing) = inner.executions.by_arn.get(&*arn) {
            return match existing.outcome() {
                None if *existing.input == *input => {
                    Ok(StartedExecution { arn, started_ms: existing.started_ms })
                }
                _ => Err(Error::new(
                    Exception::ExecutionAlreadyExists,
                    format!("Execution Already Exists: '{arn}'"),
                )),
            };
        }
        let started_ms = inner.now_ms();
        let handle = inner.engine.start(&target.revision.machine, &execution_name, &input)?;
        let execution = Execution {
            arn: (*arn).into(),
            name: execution_name.into(),
            target,
            input: input.into(),
            started_ms,
            trace_header: request.trace_header.map(Into::into),
            run: Mutex::new(Run::Open(handle)),
        };
        inner.executions.by_arn.insert((*arn).into(), Arc::new(execution));
        Ok(StartedExecution { arn, started_ms })
    }

    /// Starts an execution of an Express machine and waits for its end.
    ///
    /// # Errors
    /// As [`start_execution`](Service::start_execution), and `StateMachineTypeNotSupported` for a Standard machine. A
    /// workflow that fails is not an error here.
    pub async fn start_sync_execution(&self, request: SyncExecution) -> Result<SyncOutcome, Error> {
        let inner = &*self.inner;
        let target = inner.target(&request.machine_arn)?;
        if !target.machine.is_express() {
            return Err(Error::not_this_type());
        }
        let execution_name = inner.execution_name(request.name)?;
        let input = request.input.unwrap_or_else(|| "{}".to_owned());
        is_json(&input)?;
        let outcome = inner.engine.run(&target.revision.machine, &execution_name, &input).await?;
        let resource = format!("{}:{execution_name}:{}", target.machine.name, inner.chance.uuid());
        let took_ms = outcome.stopped_ms.saturating_sub(outcome.started_ms);
        Ok(SyncOutcome {
            arn: inner.arn("express", &resource),
            machine_arn: target.machine.arn.to_string(),
            name: execution_name,
            outcome,
            billed_ms: took_ms.max(1).div_ceil(100) * 100,
            billed_mb: 64,
        })
    }

    /// Describes an execution.
    ///
    /// # Errors
    /// `InvalidArn`, `ExecutionDoesNotExist`.
    pub fn describe_execution(&self, arn: &str) -> Result<ExecutionDescription, Error> {
        let execution = self.inner.execution(arn)?;
        let target = &execution.target;
        let qualified = |qualifier: String| format!("{}:{qualifier}", target.machine.arn);
        Ok(ExecutionDescription {
            arn: execution.arn.to_string(),
            machine_arn: target.machine.arn.to_string(),
            version_arn: target.version.as_ref().map(|version| qualified(version.number.to_string())),
            alias_arn: target.alias.clone().map(qualified),
            name: execution.name.to_string(),
            input: execution.input.to_string(),
            started_ms: execution.started_ms,
            trace_header: execution.trace_header.as_deref().map(str::to_owned),
            outcome: execution.outcome(),
        })
    }
}

impl Inner {
    fn execution_name(&self, given: Option<String>) -> Result<String, Error> {
        match given {
            Some(given) => name(&given).map(|()| given),
            None => Ok(self.chance.uuid()),
        }
    }

    fn execution(&self, arn: &str) -> Result<Arc<Execution>, Error> {
        arn_of(arn, "execution")?;
        let found = self.executions.by_arn.get(arn);
        found.map(|execution| Arc::clone(&execution)).ok_or_else(|| Error::no_execution(arn))
    }
}

/// Refuses an input that is not JSON, in the words of the parser AWS uses.
fn is_json(input: &str) -> Result<(), Error> {
    match explain(input.as_bytes()) {
        None => Ok(()),
        Some(why) => Err(Error::invalid_input(&why.message)),
    }
}
