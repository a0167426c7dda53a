//! Map Runs: the child executions of a distributed Map's visit.
//!
//! A Map Run is the task of its state, and so a future on the shard of the execution it belongs to. It makes the inputs
//! of children as long as there is room for more, starts them like any execution, and collects their outcomes. Children
//! that neither wait nor call are started in batches and cannot be stopped, because they end at once; all others stop
//! when the Map Run is dropped.

mod batch;
mod children;
mod dataset;
mod holding;
mod inputs;
mod log;
#[cfg(feature = "map-data")]
mod members;
#[cfg(feature = "map-data")]
mod paced;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "map-data")]
mod reader;
#[cfg(not(feature = "map-data"))]
#[path = "no_reader.rs"]
mod reader;
mod results;
#[cfg(feature = "map-data")]
mod rows;
mod work;

use std::collections::HashSet;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use serde_json::Value as Json;

pub(crate) use batch::Batcher;
use children::{Children, Ends};
use holding::Hold;
use inputs::{Inputs, Share};
use log::{Found, MapRunResult, Opened, Records, Sink};
use results::Results;
use work::Work;

#[cfg(feature = "parquet")]
use super::background::BackgroundQueue;
use super::clock::Time;
use super::completion::SharedTasks;
use super::durable::Durability;
use super::engine::{Engine, Inner};
use super::machine::{Published, Version};
use super::outcome::{Outcome, Status};
use crate::engine::{Execution, MapRunRequest, TaskCall};
use crate::fault::{self, Fault};
use crate::json::{self, Value};
use crate::task::data::DataStore;
use crate::task::{Handlers, TaskError, Tasks};

/// Keeps Map Runs and their child executions.
pub trait MapRuns: Send + Sync {
    /// A Map Run begins.
    fn begun(&self, run: &Arc<MapRun>);

    /// Whether the children are to be started by [`start`](MapRuns::start).
    fn keeps(&self, child: &Published) -> bool;

    /// The Map Run of this ARN, which is redriven: its start and its settings stay.
    fn redriven(&self, arn: &str) -> Option<Arc<MapRun>>;

    /// Starts a child execution with this input, and these tasks instead of the engine's. `None` when there is no room
    /// for it at present. If an earlier process started the child of this
    /// number, that one is used; if it did not succeed before the Map Run was redriven, it is redriven too.
    ///
    /// # Errors
    /// Why it can never be started.
    fn start(
        &self,
        numbered: (&Arc<MapRun>, u64),
        child: &Published,
        input: &str,
        tasks: Option<Box<dyn Tasks + Send>>,
    ) -> Result<Option<StartedChild>, Fault>;

    /// A Map Run that continued after a restart is over: children that still run are stopped.
    fn over(&self, run: &MapRun);
}

/// A child execution that was started.
pub struct StartedChild {
    /// `executionArn`
    pub arn: String,
    /// Its end.
    pub end: ChildFuture,
    /// Whether its status was `PENDING_REDRIVE` until now.
    pub waited_for_redrive: bool,
}

/// Resolves to a child's outcome; dropping it stops the child.
pub type ChildFuture = Pin<Box<dyn Future<Output = Arc<Outcome>> + Send>>;

/// A Map Run.
#[derive(Debug)]
pub struct MapRun {
    arn: Box<str>,
    execution_arn: Box<str>,
    machine_arn: Box<str>,
    started_ms: u64,
    redrives: MapRunRedrives,
    /// Of a durable one: a checksum of its request.
    mark: u32,
    state: Mutex<MapRunState>,
    ends: Arc<Ends>,
    /// Of a durable one: where changes of it are recorded.
    sink: OnceLock<Sink>,
    /// Whether its file has its end.
    is_filed: AtomicBool,
}

/// How often a Map Run was redriven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapRunRedrives {
    /// `redriveCount`
    pub count: u32,
    /// `redriveDate`, in milliseconds since 1970; 0 before the first.
    pub last_ms: u64,
}

/// The state of a Map Run.
#[derive(Clone, Debug, PartialEq)]
pub struct MapRunState {
    /// `status`
    pub status: Status,
    /// `stopDate`, in milliseconds since 1970.
    pub stopped_ms: Option<u64>,
    /// Its settings.
    pub settings: MapRunSettings,
    /// `itemCounts`
    pub items: MapRunCounts,
    /// `executionCounts`
    pub executions: MapRunCounts,
}

/// The settings that `UpdateMapRun` may change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapRunSettings {
    /// `maxConcurrency`; 0 is no limit.
    pub concurrency_max: u64,
    /// `toleratedFailureCount`; 0 means none.
    pub tolerated_count: u64,
    /// `toleratedFailurePercentage`; 0 means none.
    pub tolerated_percentage: f64,
}

/// Counts by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // Names are those of AWS.
pub struct MapRunCounts {
    pub pending: u64,
    pub pending_redrive: u64,
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
        self.pending + self.pending_redrive + self.running + self.not_succeeded() + self.succeeded
    }

    /// Those that ended without success.
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

    /// What did not succeed `before` is to be done once more.
    fn await_redrive(&mut self, before: &MapRunCounts) {
        self.pending_redrive = before.not_succeeded();
        self.pending = self.pending.saturating_sub(self.pending_redrive);
    }

    /// So many of those are about to begin. After a restart, they are counted as pending already.
    fn redrive(&mut self, count: u64) {
        let counted = count.min(self.pending_redrive);
        self.pending_redrive -= counted;
        self.pending += counted;
    }

    /// None of those that are left will be found.
    fn all_were_redriven(&mut self) {
        self.pending_redrive = 0;
    }

    /// What still runs is aborted, and what was to be redriven did not succeed.
    fn abort_running(&mut self) {
        self.aborted += std::mem::take(&mut self.running) + std::mem::take(&mut self.pending_redrive);
    }
}

impl MapRunState {
    fn new(settings: MapRunSettings, items: MapRunCounts, executions: MapRunCounts) -> MapRunState {
        MapRunState { status: Status::Running, stopped_ms: None, settings, items, executions }
    }
}

impl MapRun {
    fn new(
        arn: Box<str>,
        execution_arn: Box<str>,
        machine_arn: Box<str>,
        started_ms: u64,
        state: MapRunState,
    ) -> MapRun {
        let (state, ends, sink) = (Mutex::new(state), Arc::default(), OnceLock::new());
        let (redrives, is_filed) = (MapRunRedrives::default(), AtomicBool::new(false));
        MapRun { arn, execution_arn, machine_arn, started_ms, redrives, mark: 0, state, ends, sink, is_filed }
    }

    /// Whether it is the same one, with the same request.
    fn is_same(&self, other: &MapRun) -> bool {
        (&self.arn, self.mark) == (&other.arn, other.mark)
    }

    /// What stays of one that is redriven.
    fn goes_on_from(&mut self, before: &MapRun) {
        self.started_ms = before.started_ms;
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner).settings = before.state().settings;
    }

    /// Children that did not succeed `before` wait for their redrive.
    fn await_redrive(&mut self, before: &MapRunState) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.items.await_redrive(&before.items);
        state.executions.await_redrive(&before.executions);
    }

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

    /// How often it was redriven, and when last.
    pub fn redrives(&self) -> MapRunRedrives {
        self.redrives
    }

    /// Whether its file has its end: then it need not be in memory.
    #[cfg(feature = "service")]
    pub(crate) fn is_filed(&self) -> bool {
        self.is_filed.load(Ordering::Acquire)
    }

    /// The checksum of its request, if it is durable.
    #[cfg(feature = "service")]
    pub(crate) fn mark(&self) -> u32 {
        self.mark
    }

    /// Its state.
    pub fn state(&self) -> MapRunState {
        self.lock().clone()
    }

    /// Changes its settings. Whether it still runs.
    pub fn update(&self, change: impl FnOnce(&mut MapRunSettings)) -> bool {
        let mut state = self.lock();
        if state.status != Status::Running {
            return false;
        }
        change(&mut state.settings);
        if let Some(Err(error)) = self.sink.get().map(|sink| sink.write_change(state.settings)) {
            tracing::error!(map_run = self.arn(), %error, "a change of a Map Run cannot be written down");
        }
        drop(state);
        self.ends.wake();
        true
    }

    fn lock(&self) -> MutexGuard<'_, MapRunState> {
        // It is consistent between any two statements.
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

/// The parts of a Map Run.
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
    /// If it is to be durable: the journal, and the execution's place there.
    pub(super) durability: Option<(Arc<Durability>, (u64, u64))>,
}

impl Setup {
    /// Whether the children are kept, and not counted only.
    fn keeps_children(&self) -> bool {
        let engine = self.engine.upgrade();
        engine.is_some_and(|engine| Children::are_kept(&Engine { inner: engine }, self))
    }

    /// Threads for work that cannot be suspended. Without its engine, it is about to be stopped.
    #[cfg(feature = "parquet")]
    fn background(&self) -> BackgroundQueue {
        let threads = self.engine.upgrade().map_or_else(Arc::default, |it| Arc::clone(&it.shared.background));
        threads.queue_of(&self.parent.usage)
    }

    /// Whether the process is about to end, or lets the execution go: what then happens to children is not their outcome.
    fn is_leaving(&self) -> bool {
        self.durability.as_ref().is_some_and(|(durability, (id, tenure))| {
            durability.leaves.load(Ordering::Acquire) || !durability.lasts(*id, *tenure)
        })
    }

    /// Where the entries of a durable Map Run are.
    fn records(&self, arn: &str) -> Option<Records> {
        self.durability.as_ref().map(|(durability, execution)| Records::of(durability, *execution, arn))
    }
}

/// Bytes that a Map Run holds for one purpose.
pub(super) struct Holding {
    engine: Weak<Inner>,
    version: Arc<Version>,
    bytes: AtomicUsize,
}

/// A change of fewer bytes is not counted.
const GRAIN_BYTES: usize = 64 << 10;
/// Bytes of a Map Run that has made its first item, about: it is billed from its beginning, even beyond the limit, so that
/// no more begin.
const MAP_RUN_BYTES: usize = 64 << 10;

impl Holding {
    pub(super) fn new(setup: &Setup) -> Holding {
        Holding {
            engine: Weak::clone(&setup.engine),
            version: Arc::clone(&setup.parent),
            bytes: AtomicUsize::default(),
        }
    }

    /// What any Map Run holds.
    pub(super) fn base(setup: &Setup) -> Holding {
        let holding = Holding::new(setup);
        if let Some(engine) = holding.engine.upgrade() {
            engine.shared.admission.adjust(&holding.version.usage, 0, MAP_RUN_BYTES);
            holding.bytes.store(MAP_RUN_BYTES, Ordering::Relaxed);
        }
        holding
    }

    /// The same as a function.
    pub(super) fn hold(setup: &Setup) -> Hold {
        let holding = Holding::new(setup);
        Arc::new(move |bytes| holding.set(bytes))
    }

    /// It holds so many bytes, or is about to.
    ///
    /// # Errors
    /// When the memory of executions is used up.
    pub(super) fn set(&self, bytes: usize) -> Result<(), Fault> {
        let before = self.bytes.load(Ordering::Relaxed);
        if bytes.abs_diff(before) < GRAIN_BYTES && bytes > 0 {
            return Ok(());
        }
        // Without its engine, it is about to be stopped.
        let Some(engine) = self.engine.upgrade() else { return Ok(()) };
        let (admission, usage) = (&engine.shared.admission, &self.version.usage);
        if bytes <= before {
            admission.release(usage, 0, before - bytes);
        } else if let Err(limit) = admission.admit(usage, 0, bytes - before) {
            let cause = format!("There is no memory for the items of the Map Run: {limit}");
            return Err(Fault::new(fault::RUNTIME, cause));
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.upgrade() {
            engine.shared.admission.release(&self.version.usage, 0, self.bytes.load(Ordering::Relaxed));
        }
    }
}

/// Begins the Map Run of `call`, or continues the one that began in an earlier process.
pub(super) fn begin(
    setup: Setup,
    execution: &Execution,
    call: &TaskCall,
) -> impl Future<Output = Result<Vec<u8>, TaskError>> + 'static {
    let request = execution.map_run(call.token);
    let run = map_run(&setup, execution, &request);
    let mut run = MapRun { mark: setup.durability.as_ref().map_or(0, |_| mark(execution, &request)), ..run };
    if run.redrives.count > 0
        && let Some(before) = setup.keeper.as_ref().and_then(|keeper| keeper.redriven(&run.arn))
    {
        run.goes_on_from(&before);
        // Otherwise, which of them did not succeed is not known: all are done once more.
        if setup.durability.is_some() || setup.keeps_children() {
            run.await_redrive(&before.state());
        }
    }
    let records = setup.records(&run.arn);
    let (run, log, past, over) = match records.as_ref().map(|records| records.open(&run)) {
        None => (run, None, None, None),
        Some(Ok(Opened::New(log))) => (run, Some(log), None, None),
        Some(Ok(Opened::Again(log, past, found))) => {
            run.goes_on_from(&found);
            run.redrives = found.redrives;
            (run, Some(log), Some(past), None)
        }
        Some(Ok(Opened::Redriven(log, past))) => (run, Some(log), Some(past), None),
        Some(Ok(Opened::Over(run, result))) => (*run, None, None, Some(result)),
        Some(Err(error)) => (run, None, None, Some(Err(log::failed(&error)))),
    };
    let run = Arc::new(run);
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
    let setup = Rc::new(setup);
    async move {
        if let Some(result) = over {
            if run.state().status == Status::Running {
                run.stop(Status::Failed, setup.time.now_ms());
            }
            return result.map_err(error);
        }
        let goes_on = past.is_some() || run.redrives.count > 0;
        let mut guard =
            Guard { run: Arc::clone(&run), setup: Rc::clone(&setup), records, goes_on, is_over: false };
        let result = match results {
            Ok(results) => {
                let waiting = HashSet::new();
                Work { run, setup, inputs, children, results, log, waiting }.run(past).await
            }
            Err(fault) => Err(fault),
        };
        guard.stop(if result.is_ok() { Status::Succeeded } else { Status::Failed }, Some(&result));
        result.map_err(error)
    }
}

/// A checksum of the Map Run's request, because its state may be entered with other items after a restart.
fn mark(execution: &Execution, request: &MapRunRequest) -> u32 {
    let values = [request.items, request.reader, request.batch_input];
    let mut text = Vec::new();
    for value in values.into_iter().filter(|value| !value.is_undefined()) {
        json::write(&execution.arena, value, &mut text);
        text.push(b'\n');
    }
    crc32c::crc32c(&text)
}

/// The arguments of a reader or writer.
fn arguments(execution: &Execution, value: Value) -> Json {
    if value.is_undefined() {
        return Json::Null;
    }
    match serde_json::from_str(&json::to_string(&execution.arena, value)) {
        Ok(arguments) => arguments,
        Err(error) => unreachable!("it was written as JSON: {error}"),
    }
}

/// Marks a Map Run as aborted, if it is dropped before its end.
struct Guard {
    run: Arc<MapRun>,
    setup: Rc<Setup>,
    records: Option<Records>,
    goes_on: bool,
    is_over: bool,
}

impl Guard {
    fn stop(&mut self, status: Status, result: Option<&MapRunResult>) {
        self.is_over = true;
        self.run.stop(status, self.setup.time.now_ms());
        match self.records.as_ref().map(|records| records.close(&self.run, result)) {
            None => {}
            Some(Ok(())) => self.run.is_filed.store(true, Ordering::Release),
            Some(Err(error)) => {
                tracing::error!(map_run = self.run.arn(), %error, "the end of a Map Run cannot be written down");
            }
        }
        if let Some(keeper) = self.setup.keeper.as_ref().filter(|_| self.goes_on) {
            keeper.over(&self.run);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // When the process is about to end, it continues in the next one.
        if !self.is_over && !self.setup.is_leaving() {
            self.stop(Status::Aborted, None);
        }
    }
}

fn error(fault: Fault) -> TaskError {
    let Fault { error, cause } = fault;
    TaskError::new(error.unwrap_or(fault::RUNTIME.into()), cause.unwrap_or_else(String::new))
}

fn map_run(setup: &Setup, execution: &Execution, request: &MapRunRequest) -> MapRun {
    let settings = MapRunSettings {
        concurrency_max: request.concurrency_max,
        tolerated_count: request.tolerated_count,
        tolerated_percentage: request.tolerated_percentage,
    };
    // The number of items that are read, and of their batches, is unknown in advance.
    let pending = if request.items.is_undefined() { 0 } else { request.items.len() as u64 };
    let items = MapRunCounts { pending, ..MapRunCounts::default() };
    let is_batched = request.batch_items_max > 0 || request.batch_bytes_max > 0;
    let executions = if is_batched { MapRunCounts::default() } else { items };
    let shown_ms = setup.now_ms.saturating_add_signed(setup.ahead_ms);
    let count = request.redrives;
    // The turn's time may be a little older than the redrive that it carries out.
    let last_ms = if count > 0 { shown_ms.max(execution.redrives().last_ms) } else { 0 };
    let redrives = MapRunRedrives { count, last_ms };
    let run = MapRun::new(
        execution.arena.str(request.arn).into(),
        execution.execution_arn().into(),
        setup.child.identity.state_machine_arn.clone(),
        shown_ms,
        MapRunState::new(settings, items, executions),
    );
    MapRun { redrives, ..run }
}

/// A file without a description that was not written to for so long does not get one.
const OLD: Duration = Duration::from_secs(60);

/// Removes the files of Map Runs whose executions are not known, until the answer is `None`.
pub(super) fn sweep(folder: &Path, mut is_known: impl FnMut(&str) -> Option<bool>) {
    visit(folder, |path, run| {
        let is_needed = match run {
            // It may be about to begin.
            None => Some(!is_old(path)),
            Some(run) => is_known(&run.execution_arn),
        };
        if is_needed == Some(false) {
            // If it stays, the next process removes it.
            let _ = fs::remove_file(path);
        }
        is_needed.is_some()
    });
}

/// Whether a file was not written to for a while.
fn is_old(path: &Path) -> bool {
    let written = fs::metadata(path).and_then(|file| file.modified());
    written.is_ok_and(|at| at.elapsed().is_ok_and(|since| since > OLD))
}

/// Visits the files, each with its Map Run, if it is one's, as long as more are wanted.
fn visit(folder: &Path, mut wanted: impl FnMut(&Path, Option<MapRun>) -> bool) {
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        match Found::read(&file.path()) {
            Ok(found) => {
                if !wanted(&file.path(), found.map(|found| found.run)) {
                    return;
                }
            }
            Err(error) => tracing::warn!(file = %file.path().display(), %error, "a Map Run cannot be read"),
        }
    }
}

/// The Map Run with this ARN, as in its file.
#[cfg(feature = "service")]
pub(super) fn read(folder: &Path, arn: &str) -> std::io::Result<Option<Arc<MapRun>>> {
    let uuid = arn.rsplit_once(':').map_or(arn, |(_, uuid)| uuid);
    // The ARN comes from a client, and is not to lead out of the folder.
    if uuid.len() != 36 || !uuid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        return Ok(None);
    }
    let found = Found::read(&log::path(folder, arn))?;
    Ok(found.map(|found| Arc::new(found.run)).filter(|run| *run.arn == *arn))
}

/// Those that the journal has, by their descriptions.
#[cfg(feature = "service")]
pub(super) fn described(descriptions: &[Vec<u8>]) -> Vec<Arc<MapRun>> {
    let read = |bytes: &Vec<u8>| Found::read_from(&mut bytes.as_slice()).ok().flatten();
    descriptions.iter().filter_map(read).map(|found| Arc::new(found.run)).collect()
}

/// Whether a Map Run in a folder of state is not over.
#[cfg(all(feature = "service", feature = "clustered"))]
pub(crate) fn has_open_map_run(folder: &Path) -> bool {
    let mut is_any = false;
    visit(&folder.join("map-runs"), |_, run| {
        is_any |= run.is_some_and(|run| run.state().status == Status::Running);
        !is_any
    });
    is_any
}

/// Deletes the log of a Map Run.
#[cfg(feature = "service")]
pub(super) fn forget(folder: &Path, arn: &str) {
    // If they stay, they are removed when the next process finds them.
    let path = log::path(folder, arn);
    let _ = fs::remove_file(log::before(&path));
    let _ = fs::remove_file(path);
}
