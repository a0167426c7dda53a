//! Map Runs: the child executions of a distributed Map's visit.
//!
//! A Map Run is the task of its state, and so a future on the shard of the execution it belongs to. It makes the inputs of
//! children as long as there is room for more, starts them like any execution, and takes what they came to. Children that
//! neither wait nor call are started in batches and cannot be stopped, for they are over at once; all others stop when the
//! Map Run is dropped.

mod batch;
mod children;
mod inputs;
#[cfg(feature = "map-data")]
mod reader;
#[cfg(not(feature = "map-data"))]
#[path = "no_reader.rs"]
mod reader;
mod results;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use serde_json::Value as Json;

pub(crate) use batch::Batcher;
use children::{Children, Ends, Started};
pub(crate) use inputs::Input;
use inputs::{Inputs, Next};
use results::Results;

use super::clock::Time;
use super::completion::SharedTasks;
use super::engine::{Engine, Inner};
use super::machine::{Published, Version};
use super::outcome::{Outcome, Status};
use crate::engine::{self, Execution, MapRunRequest, TaskCall};
use crate::fault::{self, Fault};
use crate::json::{self, Value};
use crate::limits;
use crate::task::data::DataStore;
use crate::task::{Handlers, TaskError, Tasks};

/// Keeps Map Runs and their child executions.
pub trait MapRuns: Send + Sync {
    /// One begins.
    fn begun(&self, run: &Arc<MapRun>);

    /// Whether the children are to be started by [`start`](MapRuns::start).
    fn keeps(&self, child: &Published) -> bool;

    /// Starts a child execution with this input, and these tasks where they are not the engine's: its ARN, and its end. None, when there is no
    /// room for it at present.
    ///
    /// # Errors
    /// Why it can never be started.
    fn start(
        &self,
        run: &Arc<MapRun>,
        child: &Published,
        input: &str,
        tasks: Option<Box<dyn Tasks + Send>>,
    ) -> Result<Option<(String, ChildFuture)>, Fault>;
}

/// Comes to what a child came to; dropping it stops the child.
pub type ChildFuture = Pin<Box<dyn Future<Output = Arc<Outcome>> + Send>>;

/// A Map Run.
#[derive(Debug)]
pub struct MapRun {
    arn: Box<str>,
    execution_arn: Box<str>,
    machine_arn: Box<str>,
    started_ms: u64,
    state: Mutex<MapRunState>,
    ends: Arc<Ends>,
}

/// How a Map Run stands.
#[derive(Clone, Debug, PartialEq)]
pub struct MapRunState {
    /// `status`
    pub status: Status,
    /// `stopDate`, in milliseconds since 1970.
    pub stopped_ms: Option<u64>,
    /// What it goes by.
    pub settings: MapRunSettings,
    /// `itemCounts`
    pub items: MapRunCounts,
    /// `executionCounts`
    pub executions: MapRunCounts,
}

/// What `UpdateMapRun` may change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapRunSettings {
    /// `maxConcurrency`; 0 is no limit.
    pub concurrency_max: u64,
    /// `toleratedFailureCount`; 0 is the same as none.
    pub tolerated_count: u64,
    /// `toleratedFailurePercentage`; 0 is the same as none.
    pub tolerated_percentage: f64,
}

/// How many there are, by where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // Names are those of AWS.
pub struct MapRunCounts {
    pub pending: u64,
    pub running: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub timed_out: u64,
    pub aborted: u64,
    pub results_written: u64,
}

impl MapRunCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.pending + self.running + self.not_succeeded() + self.succeeded
    }

    /// Those that ended otherwise.
    fn not_succeeded(&self) -> u64 {
        self.failed + self.timed_out + self.aborted
    }

    fn begin(&mut self, count: u64) {
        self.pending = self.pending.saturating_sub(count);
        self.running += count;
    }

    fn end(&mut self, status: Status, count: u64) {
        self.running -= count;
        match status {
            Status::Succeeded => {
                self.succeeded += count;
                self.results_written += count;
            }
            Status::Failed => self.failed += count,
            Status::TimedOut => self.timed_out += count,
            Status::Aborted => self.aborted += count,
            Status::Running => unreachable!("it ended"),
        }
    }

    fn abort_running(&mut self) {
        self.aborted += std::mem::take(&mut self.running);
    }
}

impl MapRun {
    /// `mapRunArn`
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// `executionArn`: of the execution that has the Map.
    pub fn execution_arn(&self) -> &str {
        &self.execution_arn
    }

    /// `stateMachineArn`: of the child executions.
    pub fn machine_arn(&self) -> &str {
        &self.machine_arn
    }

    /// `startDate`, in milliseconds since 1970.
    pub fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// How it stands.
    pub fn state(&self) -> MapRunState {
        self.lock().clone()
    }

    /// Changes what it goes by from now on. Whether it still runs.
    pub fn update(&self, change: impl FnOnce(&mut MapRunSettings)) -> bool {
        let mut state = self.lock();
        if state.status != Status::Running {
            return false;
        }
        change(&mut state.settings);
        drop(state);
        self.ends.wake();
        true
    }

    fn lock(&self) -> MutexGuard<'_, MapRunState> {
        // It is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self, status: Status, now_ms: u64) {
        let mut state = self.lock();
        state.status = status;
        state.stopped_ms = Some(now_ms);
        state.items.abort_running();
        state.executions.abort_running();
    }
}

/// What a Map Run is made of.
pub(super) struct Setup {
    pub(super) engine: Weak<Inner>,
    pub(super) keeper: Option<Arc<dyn MapRuns>>,
    pub(super) time: Arc<dyn Time>,
    pub(super) child: Arc<Version>,
    /// The version of the execution that has the Map.
    pub(super) parent: Arc<Version>,
    pub(super) tasks: Option<SharedTasks>,
    pub(super) stores: Arc<Handlers<dyn DataStore>>,
    pub(super) now_ms: u64,
    pub(super) ahead_ms: i64,
}

/// Begins the Map Run that `call` asks for.
pub(super) fn begin(
    setup: Setup,
    execution: &Execution,
    call: &TaskCall,
) -> impl Future<Output = Result<Vec<u8>, TaskError>> + 'static {
    let request = execution.map_run(call.token);
    let run = map_run(&setup, execution, &request);
    if let Some(keeper) = &setup.keeper {
        keeper.begun(&run);
    }
    let program = Arc::clone(&setup.parent.program);
    let mut distributed = program.maps.iter().filter_map(|(_, map)| map.distributed.as_ref());
    let Some(distributed) = distributed.find(|distributed| distributed.task == call.task) else {
        unreachable!("the call is one of a distributed Map's");
    };
    let inputs = Inputs::new(&setup, distributed, execution, call, &request);
    let results = Results::new(&setup, distributed, execution, &request, program.name(call.state));
    let children = Children::new(Arc::clone(&run.ends));
    async move {
        let mut guard = Guard { run: Arc::clone(&run), time: Arc::clone(&setup.time), is_over: false };
        let result = match results {
            Ok(results) => Work { run: Arc::clone(&run), setup, inputs, children, results }.run().await,
            Err(fault) => Err(fault),
        };
        guard.stop(if result.is_ok() { Status::Succeeded } else { Status::Failed });
        result.map_err(error)
    }
}

/// What a reader or writer is told.
fn arguments(execution: &Execution, value: Value) -> Json {
    if value.is_undefined() {
        return Json::Null;
    }
    match serde_json::from_str(&json::to_string(&execution.arena, value)) {
        Ok(arguments) => arguments,
        Err(error) => unreachable!("it was written as JSON: {error}"),
    }
}

/// Says that a Map Run was aborted, if it is dropped before its end.
struct Guard {
    run: Arc<MapRun>,
    time: Arc<dyn Time>,
    is_over: bool,
}

impl Guard {
    fn stop(&mut self, status: Status) {
        self.is_over = true;
        self.run.stop(status, self.time.now_ms());
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.is_over {
            self.stop(Status::Aborted);
        }
    }
}

fn error(fault: Fault) -> TaskError {
    let Fault { error, cause } = fault;
    TaskError::new(error.unwrap_or(fault::RUNTIME.into()), cause.unwrap_or_else(String::new))
}

fn map_run(setup: &Setup, execution: &Execution, request: &MapRunRequest) -> Arc<MapRun> {
    let settings = MapRunSettings {
        concurrency_max: request.concurrency_max,
        tolerated_count: request.tolerated_count,
        tolerated_percentage: request.tolerated_percentage,
    };
    // How many items are read, and how many batches they make, is not known beforehand.
    let pending = if request.items.is_undefined() { 0 } else { request.items.len() as u64 };
    let items = MapRunCounts { pending, ..MapRunCounts::default() };
    let is_batched = request.batch_items_max > 0 || request.batch_bytes_max > 0;
    let executions = if is_batched { MapRunCounts::default() } else { items };
    Arc::new(MapRun {
        arn: execution.arena.str(request.arn).into(),
        execution_arn: execution.execution_arn().into(),
        machine_arn: setup.child.identity.state_machine_arn.clone(),
        started_ms: setup.now_ms.saturating_add_signed(setup.ahead_ms),
        state: Mutex::new(MapRunState {
            status: Status::Running,
            stopped_ms: None,
            settings,
            items,
            executions,
        }),
        ends: Arc::default(),
    })
}

/// A Map Run at work.
struct Work {
    run: Arc<MapRun>,
    setup: Setup,
    inputs: Inputs,
    children: Children,
    results: Results,
}

/// Children that are started before others have their turn.
const STARTS_MAX: usize = 256;

impl Work {
    async fn run(mut self) -> Result<Vec<u8>, Fault> {
        if let Err(fault) = self.work().await {
            let Work { run, mut results, children, .. } = self;
            // Children that still run are stopped. What others came to is written before the Map Run has failed.
            drop(children);
            let _ = poll_fn(|context| results.poll_finish(context, &run)).await;
            return Err(fault);
        }
        let Work { run, results, .. } = &mut self;
        poll_fn(|context| results.poll_finish(context, run)).await
    }

    async fn work(&mut self) -> Result<(), Fault> {
        loop {
            self.settle()?;
            let goes_on = poll_fn(|context| Poll::Ready(self.go_on(context))).await?;
            if self.children.running() == 0 && self.inputs.is_over() {
                return self.verdict();
            }
            self.children.changed(goes_on).await;
        }
    }

    /// Writes results and starts children. Whether more could be started at once.
    fn go_on(&mut self, context: &mut Context<'_>) -> Result<bool, Fault> {
        match self.results.poll_write(context)? {
            // No child begins whose result has no room.
            Poll::Pending => Ok(false),
            Poll::Ready(()) => self.begin_children(context),
        }
    }

    /// Takes what children came to.
    fn settle(&mut self) -> Result<(), Fault> {
        let ended = self.children.take_ended();
        if ended.is_empty() {
            return Ok(());
        }
        let mut state = self.run.lock();
        for end in &ended {
            state.items.end(end.status, u64::from(end.items));
            state.executions.end(end.status, 1);
        }
        drop(state);
        for end in ended {
            self.results.add(end)?;
        }
        self.verdict()
    }

    /// Whether more failed than is tolerated.
    fn verdict(&self) -> Result<(), Fault> {
        let state = self.run.lock();
        let failed = state.items.not_succeeded();
        let MapRunSettings { tolerated_count, tolerated_percentage, .. } = state.settings;
        let counts = tolerated_count > 0;
        let has_share = tolerated_percentage > 0.0;
        let by_count = counts && failed > tolerated_count;
        // How many a percentage is of is known when all items are.
        let by_share = has_share
            && self.inputs.is_over()
            && failed as f64 * 100.0 > tolerated_percentage * state.items.total() as f64;
        if by_count || by_share || (failed > 0 && !counts && !has_share) {
            Err(engine::threshold_exceeded())
        } else {
            Ok(())
        }
    }

    /// Starts children as long as there is room. Whether more could be started at once.
    fn begin_children(&mut self, context: &mut Context<'_>) -> Result<bool, Fault> {
        let asked = self.run.lock().settings.concurrency_max;
        let at_once = if asked == 0 { limits::MAP_RUN_CONCURRENCY_MAX } else { asked };
        let at_once = at_once.min(limits::MAP_RUN_CONCURRENCY_MAX);
        let room = at_once.saturating_sub(self.children.running());
        let room = usize::try_from(room).unwrap_or(STARTS_MAX).min(STARTS_MAX);
        if room == 0 {
            return Ok(false);
        }
        let Some(inner) = self.setup.engine.upgrade() else {
            // The engine is gone, and this execution is about to be stopped.
            return Ok(false);
        };
        let engine = Engine { inner };
        if engine.shared().gate.is_closed() {
            // None begins any more, and this execution ends when the time for draining is over.
            return Ok(false);
        }
        let mut inputs = Vec::with_capacity(room);
        let mut goes_on = true;
        while inputs.len() < room {
            match self.inputs.next(context, self.setup.now_ms)? {
                Next::Input(input) => inputs.push(input),
                Next::Later => {
                    goes_on = false;
                    break;
                }
                Next::Over => {
                    // The last batch may have come.
                    goes_on = !self.inputs.is_over();
                    break;
                }
            }
        }
        if inputs.is_empty() {
            return Ok(false);
        }
        let Started { rest, begun, items } = self.start(context, &engine, inputs)?;
        let mut state = self.run.lock();
        state.executions.begin(begun);
        state.items.begin(items);
        drop(state);
        let is_refused = !rest.is_empty();
        self.inputs.give_back(rest);
        Ok(if is_refused {
            // When one of ours ends there is room again. Without any, others' have to end, and what they take may be
            // counted by who keeps children: that is looked at again and again.
            self.children.running() == 0 && Children::are_kept(&engine, &self.setup)
        } else {
            goes_on
        })
    }

    /// Starts children. Where there is no room for any, and none runs that could make some, the task is woken when there
    /// is.
    fn start(
        &mut self,
        context: &mut Context<'_>,
        engine: &Engine,
        inputs: Vec<Input>,
    ) -> Result<Started, Fault> {
        let wants_all = self.results.wants_all();
        let started = self.children.start(engine, &self.run, &self.setup, inputs, wants_all)?;
        if started.begun > 0 || self.children.running() > 0 || Children::are_kept(engine, &self.setup) {
            return Ok(started);
        }
        engine.shared().room.wait(context.waker());
        // The start of the whole batch was refused; one child may still fit.
        let mut inputs = started.rest;
        let later = inputs.split_off(1);
        let mut started = self.children.start(engine, &self.run, &self.setup, inputs, wants_all)?;
        started.rest.extend(later);
        Ok(started)
    }
}
