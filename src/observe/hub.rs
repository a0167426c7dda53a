//! The observability hub: configured once, called when an execution begins, parks and ends, and read from any thread.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;

use super::counters::{MachineCounters, VersionCounters};
use super::lines::Lines;
use super::log::{Labels, Level};
use super::retained::{Ending, Page, Query, Reason, Recorded, RetainedHistories, Retention};
use super::sink::{BATCH_BYTES, Batch, Pipe, Sink};
use super::subscribers::{Wants, Watch};
use super::trace::{self, Traces};
use super::{Beginning, History, Redaction};
use crate::engine::{EventBuffer, EventMask, Identity, Listener};
use crate::json::Arena;
use crate::program::Program;

/// What an engine records of its executions. Nothing by default.
///
/// ```
/// use expressway::observe::log::Level;
/// use expressway::observe::{Redaction, Setup, Stdout, Retention};
///
/// let setup = Setup::default()
///     .history(Retention::default())
///     .log(Stdout, Level::Error, false)
///     .redact(Redaction::new(["$..password"])?)
///     .metrics();
/// # let _ = setup;
/// # Ok::<(), expressway::observe::RedactionError>(())
/// ```
#[derive(Default)]
pub struct Setup {
    retention: Option<Retention>,
    log: Option<(Box<dyn Sink>, Level, bool)>,
    log_bytes_max: Option<usize>,
    metrics: bool,
    redaction: Redaction,
    traces: Option<Traces>,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup")
            .field("tail", &self.retention)
            .field("metrics", &self.metrics)
            .finish_non_exhaustive()
    }
}

impl Setup {
    /// Keeps histories of executions that are over.
    #[must_use]
    pub fn history(mut self, retention: Retention) -> Setup {
        self.retention = Some(retention);
        self
    }

    /// Writes log lines to `sink`. The level, and whether inputs, outputs and variables are shown, are the defaults of
    /// machines.
    #[must_use]
    pub fn log(mut self, sink: impl Sink + 'static, level: Level, include_execution_data: bool) -> Setup {
        self.log = Some((Box::new(sink), level, include_execution_data));
        self
    }

    /// Bytes of log lines that may wait for a slow sink before lines are dropped; 64 MiB by default.
    #[must_use]
    pub fn log_bytes_max(mut self, bytes: usize) -> Setup {
        self.log_bytes_max = Some(bytes);
        self
    }

    /// Counts what happens, machine by machine, state by state and task by task.
    #[must_use]
    pub fn metrics(mut self) -> Setup {
        self.metrics = true;
        self
    }

    /// Hides values in histories and logs.
    #[must_use]
    pub fn redact(mut self, redaction: Redaction) -> Setup {
        self.redaction = redaction;
        self
    }

    /// Makes spans of executions.
    #[must_use]
    pub fn traces(mut self, traces: Traces) -> Setup {
        self.traces = Some(traces);
        self
    }
}

/// What was dropped because there was no room, or the sink failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// Lines of the log.
    pub log_lines: u64,
    /// Histories that were to be kept.
    pub histories: u64,
    /// Executions whose spans are missing.
    pub spans: u64,
}

/// The hub, with everything recorded so far.
pub(crate) struct Observability {
    retention: Option<Retention>,
    retained: Option<RetainedHistories>,
    pipe: Option<Pipe>,
    logging: (Level, bool),
    pub(crate) counts: bool,
    redaction: Arc<Redaction>,
    traces: Option<Traces>,
    finished: ArrayQueue<Finished>,
    finished_bytes: AtomicUsize,
    /// Histories that were handed over and are not stored yet.
    in_transit: AtomicUsize,
    spare: ArrayQueue<(Arena, EventBuffer)>,
    dropped: AtomicU64,
    /// For executions on their callers' threads; see [`Observability::log_buffer`].
    log_buffers: Box<[CachePadded<Mutex<LogBuffer>>]>,
    stripes: usize,
    /// Background threads that flush logs and finished histories.
    workers: Mutex<Vec<Thread>>,
    all_counters: Mutex<Vec<Weak<VersionCounters>>>,
}

/// An execution that is over and whose history is wanted, on its way to a worker.
struct Finished {
    counters: Arc<VersionCounters>,
    arena: Arena,
    event_buffer: EventBuffer,
    history: Option<Box<History>>,
    execution_arn: String,
    ending: Ending,
    started_ms: u64,
    stopped_ms: u64,
    reason: Option<Reason>,
    trace: Option<trace::Context>,
}

/// Executions, and bytes of their arenas, that may wait for a worker.
const FINISHED_MAX: usize = 1_024;
const FINISHED_BYTES_MAX: usize = 64 << 20;
const SPARE_MAX: usize = 64;
/// Bytes of the history of one execution whose states are counted.
const HEAT_BYTES_MAX: usize = 1 << 20;
/// How often the workers look for data to flush, when there was none.
const CARRY_EVERY: Duration = Duration::from_millis(10);
/// How long a caller that waits for a flush waits at first.
const FLUSH_PAUSE: Duration = Duration::from_micros(50);
const LOG_BYTES_MAX: usize = 64 << 20;

/// Buffers of one thread: watches to be reused, and lines that are not handed over yet.
#[derive(Default)]
pub(crate) struct LogBuffer {
    // They move into buffers and residents as pointers: a word each.
    #[allow(clippy::vec_box)]
    watches: Vec<Box<Watch>>,
    batch: Batch,
}

const WATCHES_MAX: usize = 64;

/// An execution's identity, formed on demand.
#[derive(Clone, Copy)]
pub(crate) struct ExecutionIdentity<'c> {
    pub(crate) identity: &'c Identity,
    pub(crate) seed: u64,
}

impl Observability {
    /// For so many shards, and stripes of callers beside them; `None` when nothing is to be recorded.
    pub(crate) fn new(setup: Setup, shards: usize, callers: usize) -> Option<Observability> {
        let Setup { retention, log, log_bytes_max, metrics, redaction, traces } = setup;
        if retention.is_none() && log.is_none() && !metrics && traces.is_none() {
            return None;
        }
        let logging = log.as_ref().map_or((Level::Off, false), |(_, level, data)| (*level, *data));
        Some(Observability {
            retention,
            retained: retention.map(|retention| RetainedHistories::new(retention.bytes_max)),
            pipe: log.map(|(sink, ..)| Pipe::new(sink, log_bytes_max.unwrap_or(LOG_BYTES_MAX))),
            logging,
            counts: metrics,
            redaction: Arc::new(redaction),
            traces,
            finished: ArrayQueue::new(FINISHED_MAX),
            finished_bytes: AtomicUsize::new(0),
            in_transit: AtomicUsize::new(0),
            spare: ArrayQueue::new(SPARE_MAX),
            dropped: AtomicU64::new(0),
            log_buffers: (0..callers).map(|_| Default::default()).collect(),
            stripes: shards + callers,
            workers: Mutex::default(),
            all_counters: Mutex::default(),
        })
    }

    /// Whether an execution of this version may be watched, by a cheap check.
    pub(crate) fn may_watch(&self, counters: &VersionCounters, trace_header: Option<&str>) -> bool {
        self.retention.is_some()
            || (self.counts && counters.has_work)
            || self.logging(counters).0 != Level::Off
            || self.traces.as_ref().is_some_and(|traces| traces.may_begin(trace_header))
            || counters.machine.sample.is_armed()
    }

    /// The log settings of its executions: the level, and whether with their data.
    fn logging(&self, counters: &VersionCounters) -> (Level, bool) {
        match &self.pipe {
            Some(_) => counters.machine.logging().unwrap_or(self.logging),
            None => (Level::Off, false),
        }
    }

    // ---- machines ----

    /// A new state machine.
    pub(crate) fn counters(&self, state_machine_arn: &str) -> MachineCounters {
        MachineCounters::new(state_machine_arn, if self.counts { self.stripes } else { 0 })
    }

    /// A new version of a state machine.
    pub(crate) fn version(
        &self,
        counters: Arc<MachineCounters>,
        program: Arc<Program>,
    ) -> Arc<VersionCounters> {
        let version = Arc::new(VersionCounters::new(counters, program));
        let mut all_counters = lock(&self.all_counters);
        // Each time the list doubles, so that the cost per machine stays constant.
        if all_counters.len() == all_counters.capacity() {
            all_counters.retain(|counters| counters.strong_count() > 0);
            let len = all_counters.len();
            all_counters.reserve(len + 1);
        }
        all_counters.push(Arc::downgrade(&version));
        version
    }

    pub(crate) fn versions(&self) -> Vec<Arc<VersionCounters>> {
        lock(&self.all_counters).iter().filter_map(Weak::upgrade).collect()
    }

    /// For an execution on a caller's thread, whose stripe this is among the callers'.
    pub(crate) fn log_buffer(&self, stripe: usize) -> Option<MutexGuard<'_, LogBuffer>> {
        self.log_buffers.get(stripe).map(|log_buffer| lock(log_buffer))
    }

    pub(super) fn new_history(&self) -> History {
        let bytes_max = self.retention.map_or(1 << 20, |retention| retention.execution_bytes_max);
        History::new(bytes_max).redacted(Arc::clone(&self.redaction))
    }

    // ---- flushing ----

    /// Hands log lines to the sink; whether there were any.
    pub(crate) fn carry_lines(&self) -> bool {
        let Some(pipe) = &self.pipe else { return false };
        self.flush_log_buffers();
        pipe.carry() > 0
    }

    /// Makes histories of ended executions; whether there were any.
    pub(crate) fn carry_histories(&self) -> bool {
        let mut any = false;
        while let Some(finished) = self.finished.pop() {
            self.finished_bytes.fetch_sub(finished.arena.capacity_bytes(), Relaxed);
            self.put_away(finished);
            self.in_transit.fetch_sub(1, Release);
            any = true;
        }
        any
    }

    fn put_away(&self, finished: Finished) {
        let Finished {
            counters,
            mut arena,
            mut event_buffer,
            history,
            execution_arn,
            ending,
            reason,
            trace,
            ..
        } = finished;
        let mut history = history.map_or_else(|| self.new_history(), |history| *history);
        event_buffer.replay(|record| history.record(&counters.program, &arena, record));
        arena.clear();
        arena.shrink_above(256 * 1_024);
        event_buffer.clear();
        // Enough spare ones are kept already.
        let _ = self.spare.push((arena, event_buffer));
        let dropped = history.dropped();
        let recorded = Recorded {
            execution_arn: execution_arn.into(),
            state_machine_arn: counters.machine.state_machine_arn.clone(),
            ending,
            started_ms: finished.started_ms,
            stopped_ms: finished.stopped_ms,
            reason: reason.unwrap_or(Reason::Sample),
            events: history.take(),
            dropped,
        };
        if let (Some(traces), Some(context)) = (&self.traces, trace) {
            traces.take(&recorded, &context);
        }
        if let (Some(retained), Some(_)) = (&self.retained, reason) {
            retained.keep(recorded);
        }
    }

    /// Starts background threads that flush logs and finished histories, until no other reference to the hub is left.
    ///
    /// # Errors
    /// When the system cannot provide a thread.
    pub(crate) fn start_worker(observability: &Arc<Observability>) -> std::io::Result<()> {
        type Carry = fn(&Observability) -> bool;
        let work: [(bool, &str, Carry); 2] = [
            (observability.pipe.is_some(), "expressway-log", Observability::carry_lines),
            (
                observability.retained.is_some() || observability.traces.is_some(),
                "expressway-seen",
                Observability::carry_histories,
            ),
        ];
        for (_, name, carry) in work.into_iter().filter(|(wanted, ..)| *wanted) {
            let mut workers = lock(&observability.workers);
            let observability = Arc::clone(observability);
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                let mut told = Dropped::default();
                loop {
                    let alone = Arc::strong_count(&observability) <= lock(&observability.workers).len();
                    if carry(&observability) {
                        continue;
                    }
                    if alone {
                        break;
                    }
                    observability.complain(&mut told);
                    std::thread::park_timeout(CARRY_EVERY);
                }
            })?;
            workers.push(thread.thread().clone());
        }
        Ok(())
    }

    /// Logs that something was dropped.
    fn complain(&self, told: &mut Dropped) {
        let dropped = self.dropped();
        if dropped != *told {
            let Dropped { log_lines, histories, spans } = dropped;
            tracing::warn!(log_lines, histories, spans, "records of executions were dropped");
            *told = dropped;
        }
    }

    /// Waits until everything that was handed over is flushed; false when that takes longer.
    pub(crate) fn flush(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        let mut pause = FLUSH_PAUSE;
        self.flush_log_buffers();
        while !self.is_idle() {
            if Instant::now() >= until {
                return false;
            }
            // The workers also wake at intervals; unparking them only shortens the wait.
            lock(&self.workers).iter().for_each(Thread::unpark);
            std::thread::sleep(pause);
            pause = CARRY_EVERY.min(2 * pause);
        }
        true
    }

    /// Hands over what callers' threads have written.
    pub(crate) fn flush_log_buffers(&self) {
        for log_buffer in &self.log_buffers {
            lock(log_buffer).flush(self);
        }
    }

    /// Whether everything that was handed over is flushed.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_transit.load(Acquire) == 0 && self.pipe.as_ref().is_none_or(Pipe::is_idle)
    }

    // ---- reading ----

    pub(crate) fn find(&self, query: &Query<'_>) -> Page {
        self.retained.as_ref().map(|retained| retained.find(query)).unwrap_or_default()
    }

    pub(crate) fn get(&self, execution_arn: &str) -> Option<Arc<Recorded>> {
        self.retained.as_ref()?.get(execution_arn)
    }

    pub(crate) fn kept(&self) -> (usize, usize) {
        self.retained.as_ref().map(RetainedHistories::size).unwrap_or_default()
    }

    pub(crate) fn dropped(&self) -> Dropped {
        Dropped {
            log_lines: self.pipe.as_ref().map_or(0, Pipe::dropped),
            histories: self.dropped.load(Relaxed),
            spans: self.traces.as_ref().map_or(0, Traces::dropped),
        }
    }

    pub(crate) fn lines_written(&self) -> u64 {
        self.pipe.as_ref().map_or(0, Pipe::written)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in here is a user's, and leaves the locked data consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogBuffer {
    /// A watcher, if [any may watch](Observability::may_watch), for the execution that is about to begin, beside those
    /// passed with the start.
    pub(crate) fn begin(
        &mut self,
        observability: &Observability,
        counters: &VersionCounters,
        beginning: &Beginning<'_>,
        watch: &mut Option<Box<Watch>>,
    ) {
        let (mut wants, mut noted) = (0, EventMask::NONE);
        let logging = observability.logging(counters);
        match logging.0 {
            Level::All => (wants, noted) = (wants | Wants::LOG, EventMask::STATES),
            // Whatever the level; the line's writer decides.
            Level::Error | Level::Fatal => (wants, noted) = (wants | Wants::LOG, EventMask::FAILURES),
            Level::Off => {}
        }
        let is_noted = |retention: Retention| {
            retention.noted_one_in <= 1 || beginning.seed.is_multiple_of(retention.noted_one_in)
        };
        if observability.retention.is_some_and(is_noted) {
            (wants, noted) = (wants | Wants::RING, EventMask::STATES);
        }
        let trace = observability
            .traces
            .as_ref()
            .and_then(|traces| traces.begin(beginning.seed, beginning.trace_header));
        if trace.is_some() {
            (wants, noted) = (wants | Wants::TRACE, EventMask::STATES);
        }
        if counters.machine.sample.takes(beginning.seed, beginning.now_ms) {
            (wants, noted) = (wants | Wants::HEAT, EventMask::STATES);
        }
        let counts = observability.counts && counters.has_work;
        if wants == 0 && !counts {
            return;
        }
        let watch = watch.get_or_insert_with(|| self.watches.pop().unwrap_or_default());
        watch.wants = Wants(wants);
        watch.event_buffer.event_mask = noted;
        watch.logging = logging;
        watch.trace = trace;
        if counts {
            watch.count();
        }
    }

    /// Logs the records that are not logged yet.
    pub(crate) fn log(
        &mut self,
        observability: &Observability,
        watch: &mut Watch,
        program: &Program,
        arena: &Arena,
        identity: ExecutionIdentity<'_>,
    ) {
        let Some(pipe) = &observability.pipe else { return };
        let formed = watch.audience.history.as_ref().map_or(0, |history| history.events().len());
        if pipe.is_full() {
            pipe.drop_lines((watch.event_buffer.len() + formed) as u64);
        } else {
            let execution_arn = identity.identity.execution_arn_with(identity.seed);
            let labels = Labels { execution_arn: &execution_arn, role_arn: &identity.identity.role_arn };
            let out = &mut self.batch.lines;
            let mut lines = Lines::new(out, labels, watch.logging, &observability.redaction, watch.logged);
            if let Some(history) = &watch.audience.history {
                history.events().for_each(|event| lines.event(event));
            }
            watch.event_buffer.replay(|record| lines.record(program, arena, record));
            self.batch.count += lines.count;
        }
        let last = watch
            .audience
            .history
            .as_ref()
            .and_then(|history| history.events().next_back().map(|event| event.id));
        watch.logged = watch.event_buffer.last_id().or(last).unwrap_or(watch.logged).max(watch.logged);
        if !watch.wants.any(Wants::RING | Wants::TRACE | Wants::HEAT) {
            watch.event_buffer.clear();
            watch.audience.history = None;
        }
        if self.batch.lines.len() >= BATCH_BYTES {
            pipe.send(&mut self.batch);
        }
    }

    /// Hands over what was written so far.
    pub(crate) fn flush(&mut self, observability: &Observability) {
        if let Some(pipe) = &observability.pipe {
            pipe.send(&mut self.batch);
        }
    }

    /// The execution is over, and its waiters were notified: its history, if it is wanted, is handed over with the
    /// arena; the watch is reused.
    pub(crate) fn end(
        &mut self,
        observability: &Observability,
        mut watch: Box<Watch>,
        counters: &Arc<VersionCounters>,
        identity: ExecutionIdentity<'_>,
        arena: &mut Arena,
        over: Over,
    ) {
        if watch.wants.any(Wants::HEAT) {
            let formed = watch.audience.history.as_deref().cloned();
            let mut history = formed.unwrap_or_else(|| History::new(HEAT_BYTES_MAX)).without_payloads();
            watch.event_buffer.replay(|record| history.record(&counters.program, arena, record));
            counters.machine.sample.count(history.events());
        }
        if watch.wants.any(Wants::RING | Wants::TRACE) {
            let reason = match &observability.retention {
                Some(retention) if watch.wants.any(Wants::RING) => {
                    reason(retention, counters, identity.seed, &over)
                }
                _ => None,
            };
            let trace = watch.trace.take();
            if reason.is_some() || trace.is_some() {
                observability.send(&mut watch, counters, identity, arena, over, reason, trace);
            }
        }
        if self.watches.len() < WATCHES_MAX {
            watch.clear();
            self.watches.push(watch);
        }
    }
}

/// How an execution ended, and when.
#[derive(Clone, Copy)]
pub(crate) struct Over {
    pub(crate) ending: Ending,
    pub(crate) started_ms: u64,
    pub(crate) now_ms: u64,
}

/// Whether the history is to be kept, and why.
fn reason(retention: &Retention, counters: &VersionCounters, seed: u64, over: &Over) -> Option<Reason> {
    let took_ms = over.now_ms.saturating_sub(over.started_ms);
    if retention.failures && over.ending != Ending::Succeeded {
        Some(Reason::Failure)
    } else if counters.machine.is_slow(took_ms, over.now_ms, retention.slowest) {
        Some(Reason::Slow)
    } else if retention.one_in > 0 && (seed >> 8).is_multiple_of(retention.one_in) {
        Some(Reason::Sample)
    } else {
        None
    }
}

impl Observability {
    #[allow(clippy::too_many_arguments)]
    fn send(
        &self,
        watch: &mut Watch,
        counters: &Arc<VersionCounters>,
        identity: ExecutionIdentity<'_>,
        arena: &mut Arena,
        over: Over,
        reason: Option<Reason>,
        trace: Option<trace::Context>,
    ) {
        let bytes = arena.capacity_bytes();
        if self.finished_bytes.load(Relaxed) + bytes > FINISHED_BYTES_MAX || self.finished.is_full() {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let (arena_next, notes_next) = self.spare.pop().unwrap_or_default();
        let finished = Finished {
            counters: Arc::clone(counters),
            arena: std::mem::replace(arena, arena_next),
            event_buffer: std::mem::replace(&mut watch.event_buffer, notes_next),
            history: watch.audience.history.take(),
            execution_arn: identity.identity.execution_arn_with(identity.seed),
            ending: over.ending,
            started_ms: over.started_ms,
            stopped_ms: over.now_ms,
            reason,
            trace,
        };
        self.finished_bytes.fetch_add(bytes, Relaxed);
        self.in_transit.fetch_add(1, Relaxed);
        if let Err(finished) = self.finished.push(finished) {
            self.finished_bytes.fetch_sub(bytes, Relaxed);
            self.in_transit.fetch_sub(1, Release);
            self.dropped.fetch_add(1, Relaxed);
            *arena = finished.arena;
        }
    }
}
