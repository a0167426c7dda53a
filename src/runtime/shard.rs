//! A shard: the executions of one thread, and their events.
//!
//! It uses no thread and no clock. Its owner calls [`turn`](Shard::turn) with the time; input from outside is in its
//! [`Remote`]. The runtime's thread and the simulation both do that, so they run the same code.
//!
//! An execution that runs to its end needs only a reused buffer. One that parks gets an entry: it is packed if it is
//! small, and keeps its buffer if it is large or continues at once. One that is suspended inside a long expression
//! keeps its stack.
//!
//! A turn ends after a millisecond of work. State machines [take turns](super::turns): work of a machine that has had
//! its share waits until the others had theirs.

mod begin;
mod deadlines;
mod durable;
mod end;
mod leave;
mod resident;
mod spill;
mod unwritten;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::completion::{Location, Reply};
use super::context::{ExecutionBuffer, WorkerScratch};
use super::durable::Recorder;
use super::errand;
use super::fiber::{Fiber, Stacks};
use super::inbox::{HeartbeatFrom, Remote, ShardMessage, Shared, StartBatch};
use super::machine::Version;
use super::outcome::Counts;
use super::pending::{PendingOps, TimerKey, TimerPurpose};
use super::slab::{Key, Slab};
use super::tasks::{Polled, Tasks};
use super::turns::{Next, Turns};
use super::wheel::{TimerId, Wheel};
use crate::engine::{TimerKind, Token};
use crate::journal::Lsn;
use crate::limits;
use crate::observe::{LogBuffer, Memory, Spilled, Watch};
use durable::Held;
use resident::ResidentEvent;
use unwritten::Unwritten;

pub(super) use durable::Resume;
pub(super) use end::{bug, bug_outcome};

/// Executions one thread owns.
pub struct Shard {
    pub(super) shared: Arc<Shared>,
    pub(super) remote: Arc<Remote>,
    pub(super) index: u16,
    /// Logs what is recorded of executions.
    pub(super) log_buffer: LogBuffer,
    residents: Slab<Resident>,
    pub(super) wheel: Wheel<TimerKey>,
    pub(super) tasks: Tasks,
    pub(super) worker_scratch: WorkerScratch,
    pub(super) stacks: Stacks,
    /// Residents that continue, and start batches that begin, by machine.
    pub(super) turns: Turns<Going, Box<Opened>>,
    /// Events of residents that wait for their turn.
    deferred: HashMap<Key, VecDeque<ResidentEvent>>,
    /// Executions that wait to begin, of start batches that were taken out of the inbox.
    waiting_starts: usize,
    /// Work this turn may still do.
    pub(super) left: i64,
    /// When the coarse clock was last read, after a handler was called.
    called_ms: u64,
    /// When the precise clock was last read, and the work that was charged since.
    looked_us: u64,
    unlooked: u64,
    /// Residents by deadline, if that is the usual one: first and last slot. The others have a timer.
    due_first: u32,
    due_last: u32,
    pub(super) now_ms: u64,
    /// How far the wall clock is ahead.
    pub(super) ahead_ms: i64,
    /// The slot from which on residents are still to be notified that it was set.
    clock_set_from: Option<u32>,
    /// When the executions that are under way began, if that is measured.
    began_us: u64,
    /// Whether an execution ended in this turn, or took less than before, or left a queue.
    made_room: bool,
    /// Where executions are packed, before they get a box of the right size.
    packed: Vec<u8>,
    /// What waits for records to be durable, in the order in which they were appended.
    held: VecDeque<(Lsn, Held)>,
    unwritten: Unwritten,
    hand: spill::Hand,
    /// Records that the journal's thread was not woken for.
    quiet_records: usize,
    /// History and state that are about to be recorded.
    notes: Vec<u8>,
    state: Vec<u8>,
    recorder: Recorder,
    finished: bool,
}

/// What continues at its machine's turn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Going {
    Resident(Key),
    /// A task that was woken.
    Task(u32),
}

/// A start batch of which some may have begun.
pub(super) struct Opened {
    start_batch: StartBatch,
    /// Its machine.
    flow: u32,
    next: usize,
    at: usize,
    /// Counts that are still to be reported.
    ended: Counts,
    ended_bytes: usize,
    memory: Memory,
}

impl Opened {
    fn new(start_batch: StartBatch, flow: u32) -> Opened {
        let (ended, memory) = Default::default();
        Opened { start_batch, flow, next: 0, at: 0, ended, ended_bytes: 0, memory }
    }

    /// Whether it is one execution, which is to be aborted.
    fn is_aborted(&self) -> bool {
        self.start_batch.reply.completion().is_some_and(|completion| completion.has_abort())
    }
}

/// An execution that is parked.
#[derive(Debug)]
struct Resident {
    version: Arc<Version>,
    body: Body,
    reply: Reply,
    pending: PendingOps,
    deadline_ms: u64,
    /// Its neighbours in the queue of deadlines.
    due_before: u32,
    due_after: u32,
    charged: u32,
    /// Its machine.
    flow: u32,
    /// Whether it waits for its turn.
    is_queued: bool,
    /// Whether it was parked when the [hand](spill::Hand) last passed.
    is_idle: bool,
    /// Its watchers, while it has no buffer.
    watch: Option<Box<Watch>>,
}

#[derive(Debug)]
enum Body {
    Packed(Box<[u8]>),
    /// A durable one, as its last record has it.
    Recorded(Box<[u8]>),
    /// The same, out of memory.
    Spilled(Box<dyn Spilled>),
    Seated(Box<ExecutionBuffer>),
    Suspended(Box<Fiber>),
}

/// An execution that runs.
pub(super) struct Job<'v> {
    pub(super) version: &'v Arc<Version>,
    pub(super) reply: &'v Reply,
    /// Its machine.
    pub(super) flow: u32,
    pub(super) buffer: Box<ExecutionBuffer>,
    /// Its entry, if it has one already.
    pub(super) key: Option<Key>,
    pub(super) pending: PendingOps,
}

const NO_SLOT: u32 = u32::MAX;
/// In `due_before` of a resident whose deadline has a timer of its own.
const TIMED: u32 = u32::MAX - 1;

/// How many events from outside one turn handles.
const EVENTS_PER_TURN: usize = 1_024;
/// Start batches a turn takes out of the inbox at most. Most of them are only queued for their machine's turn, so that
/// one machine's flood does not block the others.
const START_BATCHES_PER_TURN: usize = 8_192;

impl Shard {
    pub(super) fn new(shared: Arc<Shared>, index: usize) -> Shard {
        let remote = Arc::clone(&shared.remotes[index]);
        let floor_ms = shared.durability.as_ref().map_or(0, |durability| durability.floor_ms());
        let now_ms = shared.time.steady_ms().max(floor_ms);
        let ahead_ms = shared.look_at_wall();
        Shard {
            shared,
            remote,
            index: index as u16,
            log_buffer: LogBuffer::default(),
            residents: Slab::new(),
            wheel: Wheel::new(now_ms),
            tasks: Tasks::new(),
            worker_scratch: WorkerScratch::default(),
            stacks: Stacks::default(),
            turns: Turns::new(),
            deferred: HashMap::new(),
            waiting_starts: 0,
            left: 0,
            called_ms: 0,
            looked_us: 0,
            unlooked: 0,
            due_first: NO_SLOT,
            due_last: NO_SLOT,
            now_ms,
            ahead_ms,
            clock_set_from: None,
            began_us: 0,
            made_room: false,
            packed: Vec::new(),
            held: VecDeque::new(),
            unwritten: Unwritten::default(),
            hand: spill::Hand::default(),
            quiet_records: 0,
            notes: Vec::new(),
            state: Vec::new(),
            recorder: Recorder::default(),
            finished: false,
        }
    }

    /// Does the work that is due at `now_ms`, in milliseconds since 1970 by the monotonic clock, up to a bound. Whether
    /// there is more to do at once.
    pub fn turn(&mut self, now_ms: u64) -> bool {
        self.now_ms = self.now_ms.max(now_ms);
        let ahead_ms = self.shared.look_at_wall();
        if std::mem::replace(&mut self.ahead_ms, ahead_ms) != ahead_ms {
            self.clock_set_from = Some(0);
        }
        self.left = limits::TURN_WORK_MAX as i64;
        self.called_ms = now_ms;
        self.looked_us = self.shared.time.elapsed_us();
        self.unlooked = 0;
        self.turns.begin();
        self.time_out_due();
        self.tell_clock_set();
        self.write_unwritten();
        self.release_held();
        self.take_messages();
        self.poll_tasks();
        self.fire_timers();
        self.open_start_batches();
        self.begin_aborted();
        self.take_turns();
        self.share_start_batches();
        self.spill_parked();
        if self.shared.gate.is_closed() {
            self.drain();
        }
        self.announce_records();
        if std::mem::take(&mut self.made_room) {
            self.shared.made_room();
        }
        self.show();
        self.has_more()
    }

    /// When it needs its next turn, if no message comes before.
    pub fn next_ms(&mut self) -> Option<u64> {
        let first = self.due_first;
        let due = self.residents.at(first).map(|resident| resident.deadline_ms);
        let drain = match self.shared.drain_at_ms.load(Ordering::Acquire) {
            at_ms if at_ms != u64::MAX && self.residents.len() > 0 => Some(at_ms),
            _ => None,
        };
        [self.wheel.next_ms(), due, drain, self.next_write_ms(), self.next_spill_ms()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Executions it holds: parked ones, and ones that wait for their turn.
    pub fn executions(&self) -> usize {
        self.residents.len() + self.waiting_starts
    }

    /// Pending timers.
    pub fn timers(&self) -> usize {
        self.wheel.len()
    }

    /// Pending futures of task handlers.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Whether the engine is dropped and nothing is left to do.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether it must check if it is to end.
    pub(super) fn is_to_end(&self) -> bool {
        self.shared.dropped.load(Ordering::Acquire)
    }

    pub(super) fn reserve(&mut self) -> Key {
        self.residents.reserve()
    }

    pub(super) fn place(&self, key: Key) -> Location {
        Location { shard: self.index, key }
    }

    fn has_more(&mut self) -> bool {
        let due = self.next_ms().is_some_and(|at_ms| at_ms <= self.now_ms);
        due || self.has_released()
            || self.remote.has_any()
            || !self.turns.is_empty()
            || self.clock_set_from.is_some()
    }

    // ---- events ----

    fn take_messages(&mut self) {
        for _ in 0..EVENTS_PER_TURN {
            if self.left <= 0 {
                break;
            }
            match self.remote.messages.pop() {
                None => break,
                Some(ShardMessage::Abort(key, fault)) => self.deliver(key, ResidentEvent::Abort(fault)),
                Some(ShardMessage::AbortStart(machine)) => self.turns.abort_start(&machine),
                // It only wakes the shard: the turn itself releases what was held.
                Some(ShardMessage::Durable) => {}
                Some(ShardMessage::Resume(resume)) => self.take_in(*resume),
                Some(ShardMessage::NotBefore(floor_ms)) => self.now_ms = self.now_ms.max(floor_ms),
                Some(ShardMessage::Release(partition, released)) => {
                    self.let_partition_go(partition);
                    released.by_one();
                }
                Some(ShardMessage::Answer(key, token, answer)) => {
                    self.deliver(key, ResidentEvent::Answer(token, answer))
                }
                Some(ShardMessage::Started(key, token, worker)) => {
                    self.deliver(key, ResidentEvent::Started(token, worker))
                }
                Some(ShardMessage::Heartbeat(key, token, beat)) => {
                    // First, so that one that comes meanwhile is not lost.
                    match beat {
                        HeartbeatFrom::Handler(beats) => beats.store(false, Ordering::Release),
                        HeartbeatFrom::Token(number) => self.shared.waiting.heard(number),
                    }
                    self.deliver(key, ResidentEvent::Heartbeat(token));
                }
            }
        }
    }

    fn poll_tasks(&mut self) {
        for _ in 0..EVENTS_PER_TURN {
            if self.left <= 0 {
                break;
            }
            let Some(task) = self.remote.woken.pop() else { break };
            match self.flow_of(task) {
                Some(flow) if !self.turns.is_free(flow) => self.turns.push_going(flow, Going::Task(task)),
                _ => self.poll_task(task),
            }
        }
    }

    /// The machine of a task's execution.
    fn flow_of(&mut self, task: u32) -> Option<u32> {
        let (key, _) = self.tasks.whose(task)?;
        Some(self.residents.at(key.slot)?.flow)
    }

    /// Polls a task that was woken, unless it is gone. What it does is its machine's work.
    fn poll_task(&mut self, task: u32) {
        let (whose, flow) = (self.tasks.whose(task), self.flow_of(task));
        let polled = self.tasks.poll(task);
        if let Some((key, task)) = whose {
            self.look_whether_blocked(|shard| {
                let resident = shard.residents.at(key.slot).expect("an execution outlives its tasks");
                resident.version.program.tasks[task].resource.arn.to_string()
            });
        }
        let work = errand::take_work();
        if let (Some(flow), true) = (flow, work > 0) {
            self.spend(flow, work);
            self.look_at_clock(flow);
        }
        if let Some(polled) = polled {
            self.task_told(polled);
        }
    }

    fn task_told(&mut self, polled: Polled) {
        let Polled { key, token, submitted, is_over, answer } = polled;
        if is_over {
            self.task_ended(key, token);
        }
        if let Some(response) = submitted {
            self.deliver(key, ResidentEvent::Submitted(token, response));
        }
        if let Some(answer) = answer {
            self.deliver(key, ResidentEvent::Answer(token, answer));
        }
    }

    /// A handler was called: checks whether it blocked the shard. `resource` names its resource.
    #[inline]
    pub(super) fn look_whether_blocked(&mut self, resource: impl FnOnce(&mut Shard) -> String) {
        let now_ms = self.shared.time.steady_ms();
        let took_ms = now_ms.saturating_sub(std::mem::replace(&mut self.called_ms, now_ms));
        if took_ms >= limits::HANDLER_BLOCKS_MS {
            let resource = resource(self);
            self.shared.blocked.note(&resource, took_ms);
        }
    }

    fn task_ended(&mut self, key: Key, token: Token) {
        // The task was the resident's: outdated ones are cancelled with it.
        if let Some(resident) = self.residents.at(key.slot) {
            resident.pending.task_ended(token.frame());
        }
    }

    fn fire_timers(&mut self) {
        if let Some(lag_ms) = self.wheel.next_ms().and_then(|at_ms| self.now_ms.checked_sub(at_ms)) {
            let gauges = &self.remote.gauges;
            gauges.lag_ms.store(lag_ms, Ordering::Relaxed);
            gauges.lag_ms_max.fetch_max(lag_ms, Ordering::Relaxed);
        }
        for _ in 0..EVENTS_PER_TURN {
            if self.left <= 0 {
                break;
            }
            let Some((_, due)) = self.wheel.pop(self.now_ms) else { break };
            if due.kind() == TimerPurpose::Answer {
                if let Some((key, token, answer)) = self.tasks.take_answer(due.slot) {
                    self.task_ended(key, token);
                    self.deliver(key, ResidentEvent::Answer(token, answer));
                }
                continue;
            }
            let Some(key) = self.residents.key(due.slot) else { continue };
            if let Some(resident) = self.residents.at(due.slot) {
                match due.kind() {
                    TimerPurpose::Deadline => resident.due_after = TimerId::NONE.to_bits(),
                    _ => resident.pending.fired(&due),
                }
            }
            let token = due.token();
            let deliver = match due.kind() {
                TimerPurpose::Wake => ResidentEvent::Timer(token, TimerKind::Wake),
                TimerPurpose::Timeout => ResidentEvent::Timer(token, TimerKind::Timeout),
                TimerPurpose::Heartbeat => ResidentEvent::Timer(token, TimerKind::Heartbeat),
                TimerPurpose::Deadline | TimerPurpose::Answer => ResidentEvent::Deadline,
            };
            self.deliver(key, deliver);
        }
    }

    fn time_out_due(&mut self) {
        for _ in 0..EVENTS_PER_TURN {
            let slot = self.due_first;
            let Some(resident) = self.residents.at(slot) else { break };
            if resident.deadline_ms > self.now_ms {
                break;
            }
            if let Some(key) = self.residents.key(slot) {
                self.deliver(key, ResidentEvent::Deadline);
            }
        }
    }

    /// The wall clock was set: notifies executions that may wait for a time of day.
    fn tell_clock_set(&mut self) {
        let Some(from) = self.clock_set_from else { return };
        let slots = self.residents.slots();
        let to = slots.min(from + EVENTS_PER_TURN as u32);
        for slot in from..to {
            if let Some(key) = self.residents.key(slot)
                && self.residents.at(slot).is_some_and(|resident| resident.version.waits_for_times)
            {
                self.deliver(key, ResidentEvent::ClockSet);
            }
        }
        self.clock_set_from = (to < slots).then_some(to);
    }

    // ---- turns ----

    /// Runs those that wait for their turn, until this turn's work is done.
    fn take_turns(&mut self) {
        while self.left > 0 {
            let Some((flow, next)) = self.turns.next() else { break };
            match next {
                Next::Going(Going::Resident(key)) => self.go_on(key),
                Next::Going(Going::Task(task)) => self.poll_task(task),
                Next::Starts(opened) => self.begin_opened(*opened),
            }
            self.look_at_clock(flow);
        }
    }

    /// A machine did so much work.
    pub(super) fn spend(&mut self, flow: u32, work: u64) {
        self.left = self.left.saturating_sub_unsigned(work);
        self.unlooked = self.unlooked.saturating_add(work);
        self.turns.charge(flow, work);
    }

    /// Charges a machine for time that was not charged as work. Returns the nanoseconds since the last look at the
    /// clock.
    pub(super) fn look_at_clock(&mut self, flow: u32) -> u64 {
        let now_us = self.shared.time.elapsed_us();
        let took_ns =
            now_us.saturating_sub(std::mem::replace(&mut self.looked_us, now_us)).saturating_mul(1_000);
        let more = took_ns.saturating_sub(std::mem::take(&mut self.unlooked));
        if more > 0 {
            self.left = self.left.saturating_sub_unsigned(more);
            self.turns.charge(flow, more);
        }
        took_ns
    }
}
