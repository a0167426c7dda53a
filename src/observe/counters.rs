//! Counters of a state machine's executions: one set per stripe (a shard, or some callers' threads), added up by the
//! reader.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crossbeam_utils::CachePadded;

use super::log::Level;
use super::sample::Sample;
use crate::engine::{EventKind, MetricEvent, Record, Schedule};
use crate::index::Id;
use crate::program::{Program, StateId, StateKind, TaskId};

/// Upper bounds of the classes that durations are counted in, in microseconds; the last class has none.
pub(crate) const BOUNDS_US: [u64; 26] = [
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
];

/// How long something took, as precisely as known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Took {
    /// In microseconds, as it was measured.
    Us(u64),
    /// In milliseconds, by the clock of executions. 0 means less than one.
    Ms(u64),
}

impl Took {
    fn us(self) -> u64 {
        match self {
            Took::Us(us) => us,
            Took::Ms(ms) => ms.saturating_mul(1_000),
        }
    }
}

/// A histogram of durations.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    classes: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Durations {
    pub(crate) fn add(&self, took: Took, count: u64) {
        let us = match took {
            Took::Us(us) => us,
            Took::Ms(ms) => Took::Ms(ms.max(1)).us(),
        };
        self.classes[BOUNDS_US.partition_point(|&bound| bound < us)].fetch_add(count, Relaxed);
        if took.us() > 0 {
            self.sum_us.fetch_add(took.us().saturating_mul(count), Relaxed);
        }
    }

    pub(crate) fn add_to(&self, sum: &mut DurationCounts) {
        for (sum, class) in sum.classes.iter_mut().zip(&self.classes) {
            *sum += class.load(Relaxed);
        }
        sum.sum_us += self.sum_us.load(Relaxed);
    }
}

/// Counts of durations at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DurationCounts {
    pub(crate) classes: [u64; BOUNDS_US.len() + 1],
    pub(crate) sum_us: u64,
}

impl DurationCounts {
    pub(crate) fn add(&mut self, other: &DurationCounts) {
        for (sum, class) in self.classes.iter_mut().zip(&other.classes) {
            *sum += class;
        }
        self.sum_us += other.sum_us;
    }
}

/// The counters of a state that takes time.
#[derive(Debug, Default)]
pub(crate) struct StateTally {
    pub(crate) took: Durations,
    pub(crate) retried: AtomicU64,
    pub(crate) caught: AtomicU64,
}

/// The counters of a task's calls.
#[derive(Debug, Default)]
pub(crate) struct TaskTally {
    pub(crate) scheduled: AtomicU64,
    pub(crate) started: AtomicU64,
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    /// Of those that timed out: because of a missing heartbeat.
    pub(crate) silent: AtomicU64,
    /// From being scheduled to being started.
    pub(crate) waited: Durations,
    /// From being started to the end.
    pub(crate) ran: Durations,
    /// From being scheduled to the end.
    pub(crate) took: Durations,
}

/// The calls of one execution's tasks that are under way: the id of the last record of each, when it was scheduled, and
/// when it was started.
#[derive(Debug, Default)]
pub(crate) struct Calls(HashMap<u64, (u64, Option<u64>)>);

impl Calls {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Memory that executions took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    bytes: u64,
    /// Each rounded up to 64 MB.
    billed_mb: u64,
}

impl Memory {
    /// Adds an execution that took so many bytes.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.billed_mb += (bytes as u64).max(1).div_ceil(BILLED_MB_MIN << 20) * BILLED_MB_MIN;
    }
}

/// The counters of a machine's executions, on one stripe.
#[derive(Debug, Default)]
pub(crate) struct MachineTally {
    pub(crate) started: AtomicU64,
    /// By [`Ending`](super::Ending).
    pub(crate) ended: [AtomicU64; 4],
    pub(crate) took: Durations,
    /// Each rounded up to 100 ms, beyond the first [`BILLED_MS_MIN`].
    billed_ms: AtomicU64,
    pub(crate) memory_bytes: AtomicU64,
    /// Each rounded up to 64 MB, beyond the first [`BILLED_MB_MIN`].
    billed_mb: AtomicU64,
}

impl MachineTally {
    /// Milliseconds and megabytes that were billed for so many executions, which are all that ended here.
    pub(crate) fn billed(&self, ended: u64) -> (u64, u64) {
        let (ms, mb) = (self.billed_ms.load(Relaxed), self.billed_mb.load(Relaxed));
        (ended * BILLED_MS_MIN + ms, ended * BILLED_MB_MIN + mb)
    }
}

/// The minimum billed for each execution, which is the bill of most: it costs nothing to count.
const BILLED_MS_MIN: u64 = 100;
const BILLED_MB_MIN: u64 = 64;

/// Counters and settings of all versions of one state machine.
#[derive(Debug)]
pub(crate) struct MachineCounters {
    pub(crate) state_machine_arn: Box<str>,
    /// Level and whether data is shown; [`UNSET`] for the engine's default.
    logging: AtomicU8,
    slow: Slow,
    pub(crate) sample: Sample,
    /// By the limit that was reached.
    pub(crate) throttled: [AtomicU64; THROTTLES],
    pub(crate) stripes: Box<[CachePadded<MachineTally>]>,
}

/// Reasons for which a start may be refused.
pub(crate) const THROTTLES: usize = 8;

const UNSET: u8 = u8::MAX;

/// Counters of one version of a state machine.
#[derive(Debug)]
pub(crate) struct VersionCounters {
    pub(crate) machine: Arc<MachineCounters>,
    pub(crate) program: Arc<Program>,
    /// Whether there is anything to count beside its executions.
    pub(crate) has_work: bool,
    stripes: Box<[OnceLock<Box<Tallies>>]>,
}

#[derive(Debug)]
pub(crate) struct Tallies {
    pub(crate) states: Box<[StateTally]>,
    pub(crate) tasks: Box<[TaskTally]>,
}

impl MachineCounters {
    pub(crate) fn new(state_machine_arn: &str, stripes: usize) -> MachineCounters {
        MachineCounters {
            state_machine_arn: state_machine_arn.into(),
            logging: AtomicU8::new(UNSET),
            slow: Slow::default(),
            sample: Sample::default(),
            throttled: Default::default(),
            stripes: (0..stripes).map(|_| Default::default()).collect(),
        }
    }

    /// Whether its executions are counted.
    pub(crate) fn is_counted(&self) -> bool {
        !self.stripes.is_empty()
    }

    pub(crate) fn set_logging(&self, level: Level, data: bool) {
        self.logging.store(level as u8 | u8::from(data) << 4, Relaxed);
    }

    pub(crate) fn logging(&self) -> Option<(Level, bool)> {
        let level = match self.logging.load(Relaxed) {
            UNSET => return None,
            logging => (logging & 0xF, logging & 0x10 != 0),
        };
        let data = level.1;
        Some(match level.0 {
            0 => (Level::All, data),
            1 => (Level::Error, data),
            2 => (Level::Fatal, data),
            _ => (Level::Off, data),
        })
    }

    /// Executions were accepted.
    pub(crate) fn began(&self, stripe: usize, executions: u64) {
        if let Some(stripe) = self.stripes.get(stripe) {
            stripe.started.fetch_add(executions, Relaxed);
        }
    }

    /// Executions were refused.
    pub(crate) fn refused(&self, reason: usize, executions: u64) {
        self.throttled[reason.min(THROTTLES - 1)].fetch_add(executions, Relaxed);
    }

    /// Executions that ended on this stripe, by [`Ending`](super::Ending), each after so long, and the memory they took
    /// together.
    pub(crate) fn ended(&self, stripe: usize, endings: [u64; 4], took: Took, memory: Memory) {
        let Some(stripe) = self.stripes.get(stripe) else { return };
        let mut all = 0;
        for (row, count) in stripe.ended.iter().zip(endings) {
            if count > 0 {
                row.fetch_add(count, Relaxed);
                all += count;
            }
        }
        if all > 0 {
            stripe.took.add(took, all);
            let more_ms = (took.us().max(1).div_ceil(100_000) - 1).saturating_mul(BILLED_MS_MIN);
            let more_mb = memory.billed_mb.saturating_sub(all * BILLED_MB_MIN);
            stripe.memory_bytes.fetch_add(memory.bytes, Relaxed);
            for (row, more) in
                [(&stripe.billed_ms, more_ms.saturating_mul(all)), (&stripe.billed_mb, more_mb)]
            {
                if more > 0 {
                    row.fetch_add(more, Relaxed);
                }
            }
        }
    }

    /// Whether an execution that took so long is among the slowest of this minute.
    pub(crate) fn is_slow(&self, took_ms: u64, now_ms: u64, most: usize) -> bool {
        took_ms > 0 && most > 0 && self.slow.takes(took_ms, now_ms, most)
    }
}

/// The durations of the slowest executions of a minute.
#[derive(Debug, Default)]
struct Slow {
    /// Executions that took no longer are not among the slowest, until the minute is over.
    floor_ms: AtomicU64,
    until_ms: AtomicU64,
    heap: Mutex<BinaryHeap<Reverse<u64>>>,
}

const SLOW_WINDOW_MS: u64 = 60_000;

impl Slow {
    fn takes(&self, took_ms: u64, now_ms: u64, most: usize) -> bool {
        let over = now_ms >= self.until_ms.load(Relaxed);
        if !over && took_ms <= self.floor_ms.load(Relaxed) {
            return false;
        }
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        if over {
            heap.clear();
            self.floor_ms.store(0, Relaxed);
            self.until_ms.store(now_ms.saturating_add(SLOW_WINDOW_MS), Relaxed);
        }
        heap.push(Reverse(took_ms));
        if heap.len() > most {
            let fastest = heap.pop();
            self.floor_ms.store(heap.peek().map_or(0, |slow| slow.0), Relaxed);
            return fastest != Some(Reverse(took_ms));
        }
        true
    }
}

impl VersionCounters {
    pub(crate) fn new(machine: Arc<MachineCounters>, program: Arc<Program>) -> VersionCounters {
        let takes_time = |kind: StateKind| {
            matches!(
                kind,
                StateKind::Task(_) | StateKind::Wait(_) | StateKind::Parallel(_) | StateKind::Map(_)
            )
        };
        let has_work =
            (program.states.iter()).any(|(_, state)| takes_time(state.kind) || state.recovery.is_some());
        let stripes = machine.stripes.iter().map(|_| OnceLock::new()).collect();
        VersionCounters { machine, program, has_work, stripes }
    }

    /// The counters, stripe by stripe.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = &Tallies> {
        self.stripes.iter().filter_map(OnceLock::get).map(|tallies| &**tallies)
    }

    fn on(&self, stripe: usize) -> Option<&Tallies> {
        let tallies = self.stripes.get(stripe)?.get_or_init(|| {
            let states = self.program.states.iter().map(|_| StateTally::default()).collect();
            let tasks = self.program.tasks.iter().map(|_| TaskTally::default()).collect();
            Box::new(Tallies { states, tasks })
        });
        Some(tallies)
    }

    fn state(&self, stripe: usize, state: StateId) -> Option<&StateTally> {
        self.on(stripe)?.states.get(state.index())
    }

    fn task(&self, stripe: usize, task: TaskId) -> Option<&TaskTally> {
        self.on(stripe)?.tasks.get(task.index())
    }

    pub(crate) fn count_metric_event(&self, stripe: usize, metric_event: MetricEvent) {
        match metric_event {
            MetricEvent::Took { state, ms } => {
                if let Some(tally) = self.state(stripe, state) {
                    tally.took.add(Took::Ms(ms), 1);
                }
            }
            MetricEvent::Retried { state, .. } => {
                if let Some(tally) = self.state(stripe, state) {
                    tally.retried.fetch_add(1, Relaxed);
                }
            }
            MetricEvent::Caught { state } => {
                if let Some(tally) = self.state(stripe, state) {
                    tally.caught.fetch_add(1, Relaxed);
                }
            }
            MetricEvent::HeartbeatMissed { task } => {
                if let Some(tally) = self.task(stripe, task) {
                    tally.silent.fetch_add(1, Relaxed);
                }
            }
        }
    }

    pub(crate) fn count_record(&self, stripe: usize, calls: &mut Calls, record: &Record<'_>) {
        let (task, row): (TaskId, fn(&TaskTally) -> &AtomicU64) = match record.event_kind {
            EventKind::TaskScheduled(Schedule { task, .. }) => (task, |tally| &tally.scheduled),
            EventKind::TaskStarted { task, .. } => (task, |tally| &tally.started),
            EventKind::TaskSucceeded { task, .. } => (task, |tally| &tally.succeeded),
            EventKind::TaskFailed { task, .. } => (task, |tally| &tally.failed),
            EventKind::TaskTimedOut { task, .. } => (task, |tally| &tally.timed_out),
            EventKind::TaskSubmitted { .. } => {
                if let Some(call) = calls.0.remove(&record.previous) {
                    calls.0.insert(record.id, call);
                }
                return;
            }
            _ => return,
        };
        let Some(tally) = self.task(stripe, task) else { return };
        row(tally).fetch_add(1, Relaxed);
        let now_ms = record.time_ms;
        let since = |ms: u64| now_ms.saturating_sub(ms);
        match record.event_kind {
            EventKind::TaskScheduled(_) => drop(calls.0.insert(record.id, (now_ms, None))),
            EventKind::TaskStarted { .. } => {
                if let Some((scheduled, _)) = calls.0.remove(&record.previous) {
                    tally.waited.add(Took::Ms(since(scheduled)), 1);
                    calls.0.insert(record.id, (scheduled, Some(now_ms)));
                }
            }
            _ => {
                if let Some((scheduled, started)) = calls.0.remove(&record.previous) {
                    tally.took.add(Took::Ms(since(scheduled)), 1);
                    if let Some(started) = started {
                        tally.ran.add(Took::Ms(since(started)), 1);
                    }
                }
            }
        }
    }
}
