//! Starting executions.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::executions::{Draft, Execution, Executions};
use super::history::Recorder;
use super::inner::Inner;
use super::machine::{StateMachine, Target};
use super::mocks::split;
use super::names::name;
use super::spread::unavailable;
use super::{Error, Exception, Service};
use crate::json::explain::explain;
use crate::limits;
use crate::observe::{LiveHistory, Watcher};
use crate::runtime::{Handle, Outcome, StartError, StartOptions, inline};
use crate::task::Tasks;

/// A request to start an execution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartExecution {
    /// `stateMachineArn`: of the machine, a version or an alias; `#Case` behind it chooses a test case of the mock
    /// configuration.
    pub machine_arn: String,
    /// `name`; a UUID by default.
    pub name: Option<String>,
    /// `input`, JSON text; `{}` by default.
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

/// The outcome of an Express execution.
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

/// The bill on AWS (`billingDetails`).
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
    /// `InvalidArn`, `InvalidName`, `InvalidExecutionInput`, `StateMachineDoesNotExist`, `StateMachineDeleting`,
    /// `ExecutionAlreadyExists`, `ThrottlingException`, `ValidationException` for a test case that cannot be used.
    ///
    /// A durable execution counts as started when its start is durable: this blocks the thread meanwhile, for some
    /// milliseconds at most.
    pub fn start_execution(&self, request: StartExecution) -> Result<StartedExecution, Error> {
        pollster::block_on(self.start_recorded(request, None))
    }

    /// The same, for callers that must not block.
    pub(crate) async fn start_recorded(
        &self,
        request: StartExecution,
        parent: Option<String>,
    ) -> Result<StartedExecution, Error> {
        let (started, execution) = match self.inner.start(request, parent) {
            Ok((started, execution)) => (Ok(started), execution),
            // Also that it exists is only told when it will exist after a crash.
            Err(NotStarted::Exists(existing)) => (Err(exists(&existing.arn)), Some(existing)),
            Err(NotStarted::Refused(error)) => return Err(error),
        };
        if let Some(recorded) = execution.and_then(|execution| execution.recorded()) {
            recorded.await;
        }
        started
    }

    /// Completes when what is shown of these executions is durable: an answer that a crash makes wrong is not given.
    pub(crate) async fn until_recorded<'a>(&self, arns: impl IntoIterator<Item = &'a str>) {
        if !self.inner.engine.is_durable() {
            return;
        }
        for arn in arns {
            // Those that are not in memory are durable.
            let recorded = self.inner.executions.get(arn).and_then(|execution| execution.recorded());
            if let Some(recorded) = recorded {
                recorded.await;
            }
        }
    }

    /// Starts an execution of an Express machine and waits for its end. Dropping the future aborts it.
    ///
    /// # Errors
    /// As [`start_execution`](Service::start_execution), and `StateMachineTypeNotSupported` for a Standard machine. A
    /// workflow that fails is not an error here.
    pub async fn start_sync_execution(&self, request: StartExecution) -> Result<SyncOutcome, Error> {
        let inner = &*self.inner;
        let (draft, case) = inner.draft(request)?;
        let target = &draft.target;
        if !target.machine.is_express() {
            return Err(Error::not_this_type());
        }
        let tasks = inner.mocks(target, case.as_deref())?;
        let (arn, name) = (draft.arn.clone(), draft.name.clone());
        let (machine_arn, bytes) = (target.machine.arn.to_string(), draft.input.len());
        let outcome = if inner.settings.express_history {
            let begun = inner.executions.start(draft, |_| Ok(None), |draft| inner.begin(draft, tasks))?;
            let execution = begun.map_err(|existing| exists(&existing.arn))?;
            let outcome = execution.await_or_stop(None).await;
            // An Express execution does not leave for another node.
            Outcome::clone(&*outcome.ok_or_else(|| unavailable("The execution has moved to another node"))?)
        } else {
            let options = StartOptions { tasks, ..draft.options() };
            inner.engine.run_with(target.revision.runnable()?, draft.input, options).await?
        };
        let billing = Billing::of(outcome.stopped_ms.saturating_sub(outcome.started_ms), bytes);
        Ok(SyncOutcome { arn, machine_arn, name, outcome, billing })
    }
}

/// A short execution that ended at once.
pub(crate) struct Ended<'e> {
    pub(crate) ended: inline::Ended<'e>,
    pub(crate) started_ms: u64,
    pub(crate) stopped_ms: u64,
    pub(crate) billing: Billing,
}

/// An Express machine whose executions may be over at once.
pub(crate) struct ShortMachine {
    machine: Arc<StateMachine>,
    /// Of the registry, when it was found.
    generation: u64,
}

impl ShortMachine {
    pub(crate) fn known(&self) -> KnownMachine {
        KnownMachine { machine: Arc::downgrade(&self.machine), generation: self.generation }
    }
}

/// A machine that was found before; it is not kept alive.
pub(crate) struct KnownMachine {
    machine: Weak<StateMachine>,
    generation: u64,
}

impl Service {
    /// The Express machine of this ARN, if executions of it can be run by
    /// [`start_sync_execution_now`](Service::start_sync_execution_now).
    pub(crate) fn short_machine(&self, machine_arn: &str) -> Option<ShortMachine> {
        let inner = &*self.inner;
        // Before the machine: a machine found afterwards is as new, or newer.
        let generation = inner.machines.generation();
        let machine = inner.machines.get(machine_arn)?;
        let is_short = machine.is_express() && !machine.is_deleting && !inner.settings.express_history;
        is_short.then_some(ShortMachine { machine, generation })
    }

    /// The same without a lookup, if no machine has changed since.
    pub(crate) fn recall(&self, known: &KnownMachine) -> Option<ShortMachine> {
        let KnownMachine { machine, generation } = known;
        let machine = machine.upgrade().filter(|_| self.inner.machines.generation() == *generation)?;
        Some(ShortMachine { machine, generation: *generation })
    }

    /// Runs an execution of an Express machine on this thread and shows how it ended. `None`, without an execution,
    /// when that is not possible, for any reason: then use [`start_sync_execution`](Service::start_sync_execution).
    pub(crate) fn start_sync_execution_now<R>(
        &self,
        machine: &ShortMachine,
        input: &[u8],
        show: impl FnOnce(Ended<'_>) -> R,
    ) -> Option<R> {
        let inner = &*self.inner;
        let show = |ended: inline::Ended<'_>| {
            let started_ms = ended.execution().started_ms();
            let stopped_ms = inner.now_ms().max(started_ms);
            let billing = Billing::of(stopped_ms.saturating_sub(started_ms), input.len());
            show(Ended { ended, started_ms, stopped_ms, billing })
        };
        let machine = machine.machine.current.machine.as_ref().ok()?;
        inner.engine.run_now(machine, input, &StartOptions::default(), show).ok().flatten()
    }
}

impl Inner {
    /// Starts an execution, possibly for an attempt at a task, its parent; also returns the execution, if it is kept.
    pub(super) fn start(
        &self,
        request: StartExecution,
        parent: Option<String>,
    ) -> Result<(StartedExecution, Option<Arc<Execution>>), NotStarted> {
        let is_named = request.name.is_some();
        let (mut draft, case) = self.draft(request)?;
        draft.parent = parent.clone();
        let tasks = self.mocks(&draft.target, case.as_deref())?;
        if draft.target.machine.is_express() && !self.settings.express_history {
            let options = StartOptions { tasks, ..draft.options() };
            let Draft { arn, started_ms, input, target, .. } = draft;
            let runnable = target.revision.runnable()?;
            self.engine.start_with(runnable, input, options).map_err(Error::from)?;
            return Ok((StartedExecution { arn, started_ms }, None));
        }
        self.executions.expire(draft.started_ms);
        let wanted = draft.input.clone();
        let execution = match self.executions.start(
            draft,
            // A name that was made for it is new.
            |arn| if is_named { self.cold_view(arn) } else { Ok(None) },
            |draft| self.begin(draft, tasks),
        )? {
            Ok(begun) => begun,
            // It was started by the same attempt at the same task, in an earlier process.
            Err(existing) if parent.is_some() && existing.parent == parent => {
                // A caller may wait for its end.
                self.bring_back(&existing.arn)?.unwrap_or(existing)
            }
            Err(existing) if existing.outcome().is_none() && *existing.input == *wanted => existing,
            Err(existing) => return Err(NotStarted::Exists(existing)),
        };
        let started = StartedExecution { arn: execution.arn.to_string(), started_ms: execution.started_ms };
        Ok((started, Some(execution)))
    }

    /// The requested execution, and the test case.
    fn draft(&self, request: StartExecution) -> Result<(Draft, Option<String>), Error> {
        let (machine_arn, case) = split(&request.machine_arn);
        let target = self.target(machine_arn)?;
        target.machine.refuse_deleting()?;
        let case = case.map(str::to_owned);
        let name = self.execution_name(request.name)?;
        let input = request.input.unwrap_or_else(|| "{}".to_owned());
        is_json(&input)?;
        let arn = if target.machine.is_express() {
            target.machine.arn_of("express", &format!("{name}:{}", self.ids.uuid()))
        } else {
            target.machine.arn_of("execution", &name)
        };
        let (started_ms, trace_header) = (self.now_ms(), request.trace_header);
        let history = LiveHistory::new(self.settings.history_bytes_max);
        // Set when it begins.
        let number = 0;
        Ok((
            Draft {
                arn,
                name,
                target,
                input,
                started_ms,
                trace_header,
                history,
                number,
                parent: None,
                map_run: None,
            },
            case,
        ))
    }

    /// Begins an execution that is kept.
    pub(super) fn begin(&self, draft: &Draft, tasks: Option<Box<dyn Tasks + Send>>) -> Result<Handle, Error> {
        self.executions.admit()?;
        // A test case's mocks are lost in a restart: its executions are in memory.
        let is_durable = self.engine.is_durable() && !draft.target.machine.is_express() && tasks.is_none();
        let durable = if is_durable { Some(self.label(draft)?) } else { None };
        let recorder = draft.recorder(&self.executions, is_durable);
        // They are also lost after the end: such executions are not redriven.
        let redrivable = !draft.target.machine.is_express() && tasks.is_none();
        let watcher: Option<Box<dyn Watcher>> = Some(Box::new(recorder));
        let options = StartOptions { tasks, durable, redrivable, watcher, ..draft.options() };
        let handle =
            self.engine.start_with(draft.target.revision.runnable()?, draft.input.clone(), options)?;
        Ok(handle)
    }

    pub(crate) fn execution_name(&self, given: Option<String>) -> Result<String, Error> {
        match given {
            Some(given) => name(&given).map(|()| given),
            None => Ok(self.ids.uuid()),
        }
    }
}

impl Draft {
    /// Records its history.
    pub(super) fn recorder(&self, executions: &Executions, is_durable: bool) -> Recorder {
        let bytes = Execution::bytes_of(&self.arn, &self.input);
        Recorder::new(&self.history, &executions.open_bytes, bytes, is_durable)
    }

    fn options(&self) -> StartOptions {
        StartOptions {
            name: Some((*self.name).into()),
            execution_arn: Some((*self.arn).into()),
            trace_header: self.trace_header.as_deref().map(Into::into),
            requested_ms: Some(self.started_ms),
            ..StartOptions::default()
        }
    }
}

/// Why no execution was started.
pub(super) enum NotStarted {
    /// There is one of this name.
    Exists(Arc<Execution>),
    Refused(Error),
}

impl From<Error> for NotStarted {
    fn from(error: Error) -> NotStarted {
        NotStarted::Refused(error)
    }
}

impl From<NotStarted> for Error {
    fn from(why: NotStarted) -> Error {
        match why {
            NotStarted::Exists(existing) => exists(&existing.arn),
            NotStarted::Refused(error) => error,
        }
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
            StartError::NotDurable(why) => {
                let message =
                    format!("Rate exceeded: the execution cannot be made durable at present: {why}");
                let mut error = Error::new(Exception::ThrottlingException, message);
                error.retry_after = Some(Duration::from_millis(100));
                error
            }
            StartError::Away(why) => away(&why),
            other => Error::invalid_input(&other.to_string()),
        }
    }
}

/// The error when the database does not store a change at present.
pub(super) fn away(why: &str) -> Error {
    let message = format!("Nothing was changed, for it cannot be made durable at present: {why}");
    let mut error = Error::new(Exception::ServiceUnavailable, message);
    error.retry_after = Some(Duration::from_millis(limits::AWAY_RETRY_MS));
    error
}

/// Refuses an input that is not JSON, in the words of the parser AWS uses.
pub(super) fn is_json(input: &str) -> Result<(), Error> {
    if input.is_empty() {
        return Err(Error::invalid_input("Invalid execution input."));
    }
    match explain(input.as_bytes()) {
        None => Ok(()),
        Some(why) => Err(Error::invalid_input(&why.message)),
    }
}

impl Inner {
    /// The handlers of an execution's tasks for this test case.
    pub(super) fn mocks(
        &self,
        target: &Target,
        case: Option<&str>,
    ) -> Result<Option<Box<dyn Tasks + Send>>, Error> {
        let Some(case) = case else { return Ok(None) };
        let refuse = |why: String| Error::validation(format!("Test case '{case}' cannot be used: {why}"));
        let config = self.mocks.config().map_err(refuse)?;
        let case = config.test_case(&target.machine.name, case).map_err(|error| refuse(error.to_string()))?;
        // A missing mock must not call AWS instead.
        Ok(Some(Box::new(case.to_mock(target.revision.runnable()?.states_that_call_out()))))
    }
}
