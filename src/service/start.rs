//! Starting executions.

use std::sync::Arc;

use super::executions::{Draft, Execution};
use super::machines::name;
use super::mocks::split;
use super::{Error, Exception, Inner, Service, Target};
use crate::json::explain::explain;
use crate::observe::LiveHistory;
use crate::runtime::{Handle, Outcome, StartError, StartOptions};

/// A request to start an execution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartExecution {
    /// `stateMachineArn`: of the machine, a version or an alias; `#Case` behind it chooses a test case of the mock
    /// configuration.
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
    /// `billingDetails`
    pub billing: Billing,
}

/// What AWS would bill (`billingDetails`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Billing {
    /// `billedDurationInMilliseconds`: in steps of 100.
    pub duration_ms: u64,
    /// `billedMemoryUsedInMB`: in steps of 64.
    pub memory_mb: u64,
}

impl Billing {
    /// Of an execution that took so long, with an input of so many bytes.
    pub(crate) fn of(took_ms: u64, input_bytes: usize) -> Billing {
        // AWS counts 50 MB for any execution; the rest, which includes the definition, is not published.
        let memory_mb = (50 + (input_bytes as u64 >> 20)).div_ceil(64) * 64;
        Billing { duration_ms: took_ms.max(1).div_ceil(100) * 100, memory_mb }
    }
}

impl Service {
    /// Starts an execution. A Standard one of the same name and input that still runs is found again.
    ///
    /// # Errors
    /// `InvalidArn`, `InvalidName`, `InvalidExecutionInput`, `StateMachineDoesNotExist`, `ExecutionAlreadyExists`,
    /// `ThrottlingException`, `ValidationException` for a test case that cannot be used.
    pub fn start_execution(&self, request: StartExecution) -> Result<StartedExecution, Error> {
        self.inner.start(request).map(|(started, _)| started)
    }

    /// Starts an execution of an Express machine and waits for its end. Dropping the future aborts it.
    ///
    /// # Errors
    /// As [`start_execution`](Service::start_execution), and `StateMachineTypeNotSupported` for a Standard machine. A
    /// workflow that fails is not an error here.
    pub async fn start_sync_execution(&self, request: StartExecution) -> Result<SyncOutcome, Error> {
        let inner = &*self.inner;
        let (machine_arn, case) = split(&request.machine_arn);
        let target = inner.target(machine_arn)?;
        if !target.machine.is_express() {
            return Err(Error::not_this_type());
        }
        let execution_name = inner.execution_name(request.name)?;
        let input = request.input.unwrap_or_else(|| "{}".to_owned());
        is_json(&input)?;
        let arn = inner.express_arn(&target, &execution_name);
        let options = StartOptions {
            name: Some((*execution_name).into()),
            execution_arn: Some((*arn).into()),
            trace_header: request.trace_header.map(Into::into),
            tasks: inner.mocks(&target, case)?,
            watcher: None,
        };
        let bytes = input.len();
        let outcome = inner.engine.run_with(&target.revision.machine, input, options).await?;
        let took_ms = outcome.stopped_ms.saturating_sub(outcome.started_ms);
        Ok(SyncOutcome {
            arn,
            machine_arn: target.machine.arn.to_string(),
            name: execution_name,
            outcome,
            billing: Billing::of(took_ms, bytes),
        })
    }
}

impl Inner {
    /// Starts an execution; comes to the execution too, if it is a Standard one.
    pub(super) fn start(
        &self,
        request: StartExecution,
    ) -> Result<(StartedExecution, Option<Arc<Execution>>), Error> {
        let (machine_arn, case) = split(&request.machine_arn);
        let target = self.target(machine_arn)?;
        let execution_name = self.execution_name(request.name)?;
        let input = request.input.unwrap_or_else(|| "{}".to_owned());
        is_json(&input)?;
        let tasks = self.mocks(&target, case)?;
        let started_ms = self.now_ms();
        if target.machine.is_express() {
            let arn = self.express_arn(&target, &execution_name);
            let options = StartOptions {
                name: Some(execution_name.into()),
                execution_arn: Some((*arn).into()),
                trace_header: request.trace_header.map(Into::into),
                tasks,
                watcher: None,
            };
            self.engine.start_with(&target.revision.machine, input, options)?;
            return Ok((StartedExecution { arn, started_ms }, None));
        }
        let arn = self.arn("execution", &format!("{}:{execution_name}", target.machine.name));
        let history = LiveHistory::new(self.settings.history_bytes_max);
        let trace_header = request.trace_header;
        let draft = Draft { arn, name: execution_name, target, input, started_ms, trace_header, history };
        let wanted = draft.input.clone();
        let begin = |draft: &Draft| -> Result<Handle, Error> {
            let options = StartOptions {
                name: Some((*draft.name).into()),
                execution_arn: Some((*draft.arn).into()),
                trace_header: draft.trace_header.as_deref().map(Into::into),
                tasks,
                watcher: Some(draft.history.watcher()),
            };
            let machine = &draft.target.revision.machine;
            self.engine.start_with(machine, draft.input.clone(), options).map_err(Error::from)
        };
        let execution = match self.executions.start(draft, begin)? {
            Ok(begun) => begun,
            Err(existing) if existing.outcome().is_none() && *existing.input == *wanted => existing,
            Err(existing) => return Err(exists(&existing.arn)),
        };
        let started = StartedExecution { arn: execution.arn.to_string(), started_ms: execution.started_ms };
        Ok((started, Some(execution)))
    }

    pub(crate) fn execution_name(&self, given: Option<String>) -> Result<String, Error> {
        match given {
            Some(given) => name(&given).map(|()| given),
            None => Ok(self.chance.uuid()),
        }
    }

    fn express_arn(&self, target: &Target, name: &str) -> String {
        self.arn("express", &format!("{}:{name}:{}", target.machine.name, self.chance.uuid()))
    }
}

fn exists(arn: &str) -> Error {
    Error::new(Exception::ExecutionAlreadyExists, format!("Execution Already Exists: '{arn}'"))
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Error {
        match error {
            StartError::Throttled(throttled) => throttled.into(),
            StartError::AlreadyRuns(arn) => exists(&arn),
            other => Error::invalid_input(&other.to_string()),
        }
    }
}

/// Refuses an input that is not JSON, in the words of the parser AWS uses.
pub(super) fn is_json(input: &str) -> Result<(), Error> {
    match explain(input.as_bytes()) {
        None => Ok(()),
        Some(why) => Err(Error::invalid_input(&why.message)),
    }
}
