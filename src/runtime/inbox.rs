//! What shards have in common, and what others may put in front of one.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Wake;

use crossbeam_queue::SegQueue;
use crossbeam_utils::CachePadded;
use dashmap::DashMap;

use super::admission::Admission;
use super::blocked::Blocked;
use super::clock::Time;
use super::completion::{Completion, Location, Reply};
use super::durable::Durability;
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
    /// Their inputs, one behind the other.
    pub(super) text: Vec<u8>,
    /// Where each input ends; empty when there is one.
    pub(super) ends: Vec<u32>,
    /// Of a batch: who is told, and which of them the first is.
    pub(super) reply: Reply,
    /// The number of the first, which its seed follows from; the others count on.
    pub(super) number: u64,
    /// The seed of the only one, where it is known already.
    pub(super) seed: Option<u64>,
    /// Who watches the only one.
    pub(super) watch: Option<Box<Watch>>,
}

impl StartBatch {
    pub(super) fn len(&self) -> usize {
        self.ends.len().max(1)
    }
}

/// What happened to an execution that is parked.
#[derive(Debug)]
pub(super) enum ShardMessage {
    Abort(Key, Fault),
    /// A block of the journal is durable.
    Durable,
    /// An execution of an earlier process goes on here.
    Resume(Box<Resume>),
    Answer(Key, Token, Result<Vec<u8>, Fault>),
    Heartbeat(Key, Token, HeartbeatFrom),
    /// A worker of this name, if it gave one, took the task of an activity.
    Started(Key, Token, Option<Box<str>>),
}

/// Where a task waits for whoever has its token: the execution, the task, and the execution's number in the journal, if
/// it is durable.
pub(super) type Asks = (Location, Token, Option<u64>);

/// What is to be told that a heartbeat was taken note of, so that the next one is sent again. In between, others are
/// the same as none.
#[derive(Debug)]
pub(super) enum HeartbeatFrom {
    /// A handler's.
    Handler(Arc<AtomicBool>),
    /// One for a token.
    Token(u128),
}

/// What others may do to a shard. Nothing here grows without bound: executions in start batches are counted; of messages there is at most one
/// abort for each execution, one answer for each task (tokens are single-use), one heartbeat for each, and that it was
/// started once; and a woken task is in its queue once.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) start_batches: SegQueue<StartBatch>,
    /// Executions in the start batches.
    pub(super) queued: CachePadded<AtomicUsize>,
    pub(super) messages: SegQueue<ShardMessage>,
    pub(super) woken: SegQueue<u32>,
    pub(super) wakeup: CachePadded<Wakeup>,
    /// When the turn began that it takes, in milliseconds since 1970; 0 while it takes none.
    pub(super) turn_since_ms: AtomicU64,
    /// How its executions ended.
    pub(super) tally: CachePadded<Counters>,
    /// How the shard is, as of its last turn.
    pub(super) gauges: CachePadded<Gauges>,
}

/// What a shard says of itself after a turn, when someone wants to know.
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

    /// Whether no more executions may wait here, of which it takes `queue_max`.
    pub(super) fn is_full(&self, queue_max: usize) -> bool {
        self.queued.load(Ordering::Relaxed) >= queue_max
    }

    /// Takes executions that nobody has begun.
    pub(super) fn take_start_batch(&self) -> Option<StartBatch> {
        let start_batch = self.start_batches.pop()?;
        let executions = start_batch.len();
        self.queued.fetch_sub(executions, Ordering::Relaxed);
        start_batch.version.usage.queued.fetch_sub(executions, Ordering::Relaxed);
        Some(start_batch)
    }
}

/// What a handle needs, of an execution that can be found.
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

/// What all shards and all handles see.
pub(super) struct Shared {
    pub(super) remotes: Box<[Arc<Remote>]>,
    pub(super) admission: Admission,
    /// How executions were accepted, and how those ended that ran on the thread of their caller; spread over several so
    /// that threads do not wait for each other's cache lines.
    pub(super) stripes: Box<[CachePadded<Counters>]>,
    pub(super) time: Arc<dyn Time>,
    /// How far the wall clock is ahead of the monotonic one, and when that was looked at last.
    pub(super) ahead_ms: AtomicI64,
    pub(super) ahead_at_ms: AtomicU64,
    pub(super) start: Start,
    /// Executions that can be found by their ARNs: those that run and were given one.
    pub(super) by_arn: DashMap<Box<str>, Indexed>,
    /// Decides which executions are watched.
    pub(super) observer: Option<Arc<dyn Observer>>,
    /// What is shown of executions.
    pub(super) observability: Option<Arc<Observability>>,
    pub(super) waiting: Arc<Waiting<Asks>>,
    /// Whether there is an activity of this ARN.
    pub(super) has_activity: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Handlers that blocked a shard.
    pub(super) blocked: Blocked,
    /// Where seeds and random numbers come from; without it, they follow from the seed.
    pub(super) random: Option<fn() -> u64>,
    /// What seeds follow from, and how many were given out.
    pub(super) seed: u64,
    pub(super) seeds: CachePadded<AtomicU64>,
    /// Whether executions are admitted, and who waits for the last one to end.
    pub(super) gate: DrainGate,
    /// Who waits for room to start executions.
    pub(super) room: Room,
    /// When everything that still runs times out.
    pub(super) drain_at_ms: AtomicU64,
    /// The engine is gone: shards abort what they have and end.
    pub(super) dropped: AtomicBool,
    /// The journal of durable executions.
    pub(super) durability: Option<Arc<Durability>>,
    /// The engine itself, as long as someone has it: Map Runs start executions.
    pub(super) engine: OnceLock<Weak<super::engine::Inner>>,
    /// Keeps Map Runs and their children, if anyone does.
    pub(super) map_runs: Option<Arc<dyn MapRuns>>,
    /// Where their data is.
    pub(super) stores: Arc<Handlers<dyn DataStore>>,
}

impl Shared {
    /// How many executions there were, by how they ended.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.remotes.iter().for_each(|remote| remote.tally.add_ended(&mut counts));
        self.stripes.iter().for_each(|stripe| stripe.add_ended(&mut counts));
        // Later, so that nothing ends that was not accepted.
        self.stripes.iter().for_each(|stripe| stripe.add_accepted(&mut counts));
        let absent = self.durability.as_ref().map_or(0, |it| it.absent.load(Ordering::Relaxed));
        counts.running = counts.accepted.saturating_sub(counts.ended() + absent);
        counts
    }

    /// Executions that are accounted for as under way.
    pub(super) fn running(&self) -> usize {
        self.admission.total.executions() + self.visits()
    }

    /// Executions that run on the threads of their callers.
    pub(super) fn visits(&self) -> usize {
        self.stripes.iter().fold(0, |sum: u64, stripe| sum.wrapping_add(stripe.visiting())) as usize
    }

    /// How far the wall clock is ahead of the monotonic one. Whether somebody set it is looked at now and
    /// then.
    pub(super) fn ahead_ms(&self, now_ms: u64) -> i64 {
        let known_ms = self.ahead_ms.load(Ordering::Relaxed);
        let looked_ms = self.ahead_at_ms.load(Ordering::Relaxed);
        if looked_ms <= now_ms && now_ms - looked_ms < limits::CLOCK_LOOK_MS {
            return known_ms;
        }
        self.ahead_at_ms.store(now_ms, Ordering::Relaxed);
        self.look_at_wall()
    }

    /// The same, as of now.
    pub(super) fn look_at_wall(&self) -> i64 {
        let known_ms = self.ahead_ms.load(Ordering::Relaxed);
        let ahead_ms = self.time.now_ms() as i64 - self.time.steady_ms() as i64;
        // Two coarse clocks do not agree to the millisecond.
        if ahead_ms.abs_diff(known_ms) < limits::CLOCK_SLACK_MS {
            return known_ms;
        }
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        ahead_ms
    }

    /// The time, where it is measured how long executions take.
    pub(super) fn elapsed_us(&self) -> u64 {
        match &self.observability {
            Some(observability) if observability.counts => self.time.elapsed_us(),
            _ => 0,
        }
    }

    /// Gives out `executions` seeds; the first.
    pub(super) fn seeds(&self, executions: u64) -> u64 {
        self.seeds.fetch_add(executions, Ordering::Relaxed)
    }

    /// The n-th seed, or any: neighbours have nothing in common.
    pub(super) fn seed(&self, number: u64) -> u64 {
        if let Some(random) = self.random {
            return random();
        }
        let mut z = self.seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// After executions ended, or others made room: whether someone waits for the last one to end, or for room.
    pub(super) fn made_room(&self) {
        self.gate.left(|| self.running());
        self.room.made();
    }

    /// What an alias decides by for the execution of this number. No seed of an execution is the same.
    pub(super) fn chance(&self, number: u64) -> u64 {
        self.seed(!number)
    }

    /// An execution is over: it cannot be found any more.
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
