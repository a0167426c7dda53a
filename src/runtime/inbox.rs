//! State shared by all shards, and the inbox in front of each.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Wake;

use crossbeam_queue::SegQueue;
use crossbeam_utils::CachePadded;
use dashmap::DashMap;

use super::admission::{Admission, Usage};
use super::blocked::Blocked;
use super::clock::{self, Time};
use super::completion::{Completion, Location, Reply};
use super::durable::{Durability, Released};
use super::machine::Version;
use super::map_run::MapRuns;
use super::outcome::{Counters, Counts};
use super::room::Room;
use super::shard::Resume;
use super::shutdown::DrainGate;
use super::slab::Key;
use super::wakeup::Wakeup;
use crate::engine::{Start, Token};
use crate::fault::Fault;
use crate::limits;
use crate::observe::{Observability, Observer, Watch};
use crate::task::Handlers;
use crate::task::data::DataStore;
use crate::task::token::Waiting;

/// Executions of one version that wait to begin.
#[derive(Debug)]
pub(super) struct StartBatch {
    pub(super) version: Arc<Version>,
    /// Their inputs, concatenated.
    pub(super) text: Vec<u8>,
    /// Where each input ends; empty when there is one.
    pub(super) ends: Vec<u32>,
    /// Of a batch: the recipient of the outcomes, and the number of its first execution.
    pub(super) reply: Reply,
    /// The number of the first, from which its seed follows; the others count up.
    pub(super) number: u64,
    /// The seed of a single execution, if it is known already.
    pub(super) seed: Option<u64>,
    /// The watchers of a single execution.
    pub(super) watch: Option<Box<Watch>>,
}

impl StartBatch {
    pub(super) fn len(&self) -> usize {
        self.ends.len().max(1)
    }
}

/// A message to a parked execution.
#[derive(Debug)]
pub(super) enum ShardMessage {
    Abort(Key, Fault),
    /// An execution of this machine that has not begun yet is to be aborted.
    AbortStart(Arc<Usage>),
    /// A block of the journal is durable.
    Durable,
    /// An execution of an earlier process continues here.
    Resume(Box<Resume>),
    /// Time does not go back behind this: it was so late for executions that come here.
    #[cfg_attr(not(feature = "clustered"), allow(dead_code))]
    NotBefore(u64),
    /// Executions of a partition leave this process.
    #[cfg_attr(not(all(feature = "service", feature = "clustered")), allow(dead_code))]
    Release(u16, Arc<Released>),
    Answer(Key, Token, Result<Vec<u8>, Fault>),
    Heartbeat(Key, Token, HeartbeatFrom),
    /// A worker of this name, if it gave one, took the task of an activity.
    Started(Key, Token, Option<Box<str>>),
}

/// Where a task waits for its token's holder: the execution, the task, and the execution's number in the journal, if it
/// is durable.
pub(super) type Asks = (Location, Token, Option<u64>);

/// Who is notified that a heartbeat was handled, so that the next one is sent again. In between, further heartbeats are
/// dropped.
#[derive(Debug)]
pub(super) enum HeartbeatFrom {
    /// A handler's.
    Handler(Arc<AtomicBool>),
    /// One for a token.
    Token(u128),
}

/// A shard's interface for other threads. Nothing here grows without bound: executions in start batches are counted; of
/// messages there is at most one abort for each execution, one answer for each task (tokens are single-use), one
/// heartbeat for each, and one that it was started; and a woken task is in its queue once.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) start_batches: SegQueue<StartBatch>,
    /// Executions in the start batches.
    pub(super) queued: CachePadded<AtomicUsize>,
    pub(super) messages: SegQueue<ShardMessage>,
    pub(super) woken: SegQueue<u32>,
    pub(super) wakeup: CachePadded<Wakeup>,
    /// When its present turn began, in milliseconds since 1970; 0 between turns.
    pub(super) turn_since_ms: AtomicU64,
    /// How its executions ended.
    pub(super) tally: CachePadded<Counters>,
    /// The shard's gauges, as of its last turn.
    pub(super) gauges: CachePadded<Gauges>,
}

/// Gauges that a shard publishes after a turn, if they are wanted.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) residents: AtomicU64,
    pub(super) tasks: AtomicU64,
    pub(super) timers: AtomicU64,
    pub(super) buffers: AtomicU64,
    /// What waits for records to be durable.
    pub(super) held: AtomicU64,
    /// How late the last timer fired, and the latest of all.
    pub(super) lag_ms: AtomicU64,
    pub(super) lag_ms_max: AtomicU64,
    /// Start batches taken from other shards.
    pub(super) steals: AtomicU64,
}

impl Remote {
    pub(super) fn new() -> Remote {
        Remote {
            start_batches: SegQueue::new(),
            queued: CachePadded::default(),
            messages: SegQueue::new(),
            woken: SegQueue::new(),
            wakeup: CachePadded::new(Wakeup::new()),
            turn_since_ms: AtomicU64::new(0),
            tally: CachePadded::default(),
            gauges: CachePadded::default(),
        }
    }

    pub(super) fn send(&self, messages: ShardMessage) {
        self.messages.push(messages);
        self.wakeup.wake();
    }

    pub(super) fn has_any(&self) -> bool {
        !self.messages.is_empty() || !self.woken.is_empty() || !self.start_batches.is_empty()
    }

    /// Whether no more executions may wait here, with at most `queue_max` of them.
    pub(super) fn is_full(&self, queue_max: usize) -> bool {
        self.queued.load(Ordering::Relaxed) >= queue_max
    }

    /// Takes executions that have not begun.
    pub(super) fn take_start_batch(&self) -> Option<StartBatch> {
        let start_batch = self.start_batches.pop()?;
        let executions = start_batch.len();
        self.queued.fetch_sub(executions, Ordering::Relaxed);
        start_batch.version.usage.queued.fetch_sub(executions, Ordering::Relaxed);
        Some(start_batch)
    }
}

/// What a handle needs for an execution that can be found by its ARN.
pub(super) struct Indexed {
    pub(super) completion: Arc<Completion>,
    pub(super) version: Arc<Version>,
    pub(super) seed: u64,
}

/// Wakes a handler's future: puts it into its shard's queue, unless it is there.
pub(super) struct TaskWaker {
    pub(super) remote: Arc<Remote>,
    pub(super) task: u32,
    pub(super) queued: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.remote.woken.push(self.task);
            self.remote.wakeup.wake();
        }
    }
}

/// State shared by all shards and all handles.
pub(super) struct Shared {
    pub(super) remotes: Box<[Arc<Remote>]>,
    pub(super) admission: Admission,
    /// Counters of accepted executions, and of ended ones that ran on their caller's thread; striped so that threads do
    /// not contend for cache lines.
    pub(super) stripes: Box<[CachePadded<Counters>]>,
    pub(super) time: Arc<dyn Time>,
    /// How far the wall clock is ahead of the monotonic one, and when that was last checked.
    pub(super) ahead_ms: AtomicI64,
    pub(super) ahead_at_ms: AtomicU64,
    pub(super) start: Start,
    /// Executions that can be found by their ARNs: running ones that were given one.
    pub(super) by_arn: DashMap<Box<str>, Indexed>,
    /// Decides which executions are watched.
    pub(super) observer: Option<Arc<dyn Observer>>,
    /// Records executions.
    pub(super) observability: Option<Arc<Observability>>,
    pub(super) waiting: Arc<Waiting<Asks>>,
    /// Whether there is an activity of this ARN.
    pub(super) has_activity: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Handlers that blocked a shard.
    pub(super) blocked: Blocked,
    /// The source of seeds and random numbers; without it, they follow from the seed.
    pub(super) random: Option<fn() -> u64>,
    /// The base of seeds, and how many were given out.
    pub(super) seed: u64,
    pub(super) seeds: CachePadded<AtomicU64>,
    /// Whether executions are admitted, and the waiters for the last one to end.
    pub(super) gate: DrainGate,
    /// Waiters for room to start executions.
    pub(super) room: Room,
    /// When everything that still runs times out.
    pub(super) drain_at_ms: AtomicU64,
    /// The engine is dropped: shards abort their executions and end.
    pub(super) dropped: AtomicBool,
    /// The journal of durable executions.
    pub(super) durability: Option<Arc<Durability>>,
    /// The engine itself, as long as it is referenced: Map Runs start executions.
    pub(super) engine: OnceLock<Weak<super::engine::Inner>>,
    /// Keeps Map Runs and their children, if set.
    pub(super) map_runs: Option<Arc<dyn MapRuns>>,
    /// Stores of their data.
    pub(super) stores: Arc<Handlers<dyn DataStore>>,
    /// Threads for work that cannot be suspended.
    #[cfg(feature = "parquet")]
    pub(super) background: Arc<super::background::BackgroundThreads>,
}

impl Shared {
    /// How many executions there were, by how they ended.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.remotes.iter().for_each(|remote| remote.tally.add_ended(&mut counts));
        self.stripes.iter().for_each(|stripe| stripe.add_ended(&mut counts));
        // Afterwards, so that no execution has ended that is not accepted.
        self.stripes.iter().for_each(|stripe| stripe.add_accepted(&mut counts));
        let absent = self.durability.as_ref().map_or(0, |it| it.absent.load(Ordering::Relaxed));
        counts.running = counts.accepted.saturating_sub(counts.ended() + absent);
        counts
    }

    /// Executions that are accounted for as under way.
    pub(super) fn running(&self) -> usize {
        self.admission.total.executions() + self.visits()
    }

    /// Executions that run on their callers' threads.
    pub(super) fn visits(&self) -> usize {
        self.stripes.iter().fold(0, |sum: u64, stripe| sum.wrapping_add(stripe.visiting())) as usize
    }

    /// How far the wall clock is ahead of the monotonic one. Whether it was set is checked at intervals.
    pub(super) fn ahead_ms(&self, now_ms: u64) -> i64 {
        let known_ms = self.ahead_ms.load(Ordering::Relaxed);
        let looked_ms = self.ahead_at_ms.load(Ordering::Relaxed);
        if looked_ms <= now_ms && now_ms - looked_ms < limits::CLOCK_LOOK_MS {
            return known_ms;
        }
        self.ahead_at_ms.store(now_ms, Ordering::Relaxed);
        self.look_at_wall()
    }

    /// The same, read now.
    pub(super) fn look_at_wall(&self) -> i64 {
        let known_ms = self.ahead_ms.load(Ordering::Relaxed);
        let Some(ahead_ms) = clock::ahead_ms(&*self.time) else { return known_ms };
        // Two coarse clocks do not agree to the millisecond.
        if ahead_ms.abs_diff(known_ms) < limits::CLOCK_SLACK_MS {
            return known_ms;
        }
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        ahead_ms
    }

    /// The time, if durations of executions are measured.
    pub(super) fn elapsed_us(&self) -> u64 {
        match &self.observability {
            Some(observability) if observability.counts => self.time.elapsed_us(),
            _ => 0,
        }
    }

    /// Gives out `executions` seeds; returns the first.
    pub(super) fn seeds(&self, executions: u64) -> u64 {
        self.seeds.fetch_add(executions, Ordering::Relaxed)
    }

    /// The n-th seed, or a random one: seeds of neighbours are unrelated.
    pub(super) fn seed(&self, number: u64) -> u64 {
        if let Some(random) = self.random {
            return random();
        }
        let mut z = self.seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// After executions ended, or others made room: wakes the waiters for the last one to end, and for room.
    pub(super) fn made_room(&self) {
        self.gate.left(|| self.running());
        self.room.made();
    }

    /// The random number by which an alias picks a version for the execution of this number. It differs from all seeds.
    pub(super) fn chance(&self, number: u64) -> u64 {
        self.seed(!number)
    }

    /// An execution is over: it can no longer be found.
    pub(super) fn forget(&self, completion: &Completion) {
        if let Some(arn) = completion.start_identity.label.as_ref().and_then(|label| label.arn.as_deref()) {
            self.by_arn.remove(arn);
        }
    }

    pub(super) fn wake_all(&self) {
        self.remotes.iter().for_each(|remote| {
            remote.wakeup.wake();
        });
    }
}
