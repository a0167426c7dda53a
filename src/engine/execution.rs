//! An execution: plain data that can be moved, replayed from its seed, or serialized.

use std::collections::VecDeque;

use super::identity::{Identity, Token, task_token};
use crate::fault::Fault;
use crate::json::{Arena, Value};
use crate::limits;
use crate::program::{Program, StateId};
use crate::query::template::Prepared;

/// In place of a number of milliseconds: no timeout, or no heartbeat interval.
pub(super) const UNLIMITED: u64 = u64::MAX;

/// How often an execution was redriven, and when last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redrives {
    /// The number of redrives.
    pub count: u32,
    /// The last time, in milliseconds since 1970, as displayed; `None` before the first.
    pub last_ms: u64,
    /// Whether the event of the last redrive is still to be recorded.
    pub(super) is_untold: bool,
}

/// The state of an execution before it ended.
#[derive(Clone, Debug)]
pub(super) struct Stopped {
    pub(super) frames: Vec<Frame>,
    pub(super) frames_free: Vec<u32>,
    pub(super) joins: Vec<Join>,
    pub(super) joins_free: Vec<u32>,
}

/// Parameters of an execution's start.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The source of everything random in the execution: the same seed and events give the same execution.
    pub seed: u64,
    /// When it begins, in milliseconds since 1970 by the monotonic clock.
    pub now_ms: u64,
    /// How many milliseconds the wall clock is ahead of that one; 0 if it was never set.
    pub ahead_ms: i64,
    /// How long it may take at most; the machine's own `TimeoutSeconds` may make it shorter.
    pub seconds_max: u64,
    /// The limit of its arena, in bytes.
    pub bytes_max: usize,
    /// The secret of task tokens, beside the seed; without it they cannot be guessed.
    pub secret: u128,
    /// A factor for all waits, delays and timeouts; for tests. With 0, waits and delays take no time, and timeouts are
    /// not scaled.
    pub time_scale: f64,
}

impl Start {
    /// Scaled milliseconds.
    pub fn scaled(&self, milliseconds: u64) -> u64 {
        scaled(milliseconds, self.time_scale)
    }

    /// Scaled milliseconds of a timeout: with a scale of 0, it is not scaled, because work still takes some time.
    pub fn scaled_limit(&self, milliseconds: u64) -> u64 {
        scaled_limit(milliseconds, self.time_scale)
    }
}

fn scaled_limit(milliseconds: u64, scale: f64) -> u64 {
    if scale == 0.0 { milliseconds } else { scaled(milliseconds, scale) }
}

fn scaled(milliseconds: u64, scale: f64) -> u64 {
    // A number this large means never.
    if scale == 1.0 || milliseconds == u64::MAX {
        milliseconds
    } else {
        // Saturates.
        (milliseconds as f64 * scale).round() as u64
    }
}

impl Default for Start {
    fn default() -> Start {
        Start {
            seed: 0,
            now_ms: 0,
            ahead_ms: 0,
            seconds_max: limits::EXPRESS_SECONDS_MAX,
            bytes_max: limits::EXECUTION_BYTES_MAX,
            secret: 0,
            time_scale: 1.0,
        }
    }
}

/// How an execution ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// `SUCCEEDED`, with its output in the execution's arena.
    Succeeded(Value),
    /// `FAILED`
    Failed(Fault),
    /// `TIMED_OUT`
    TimedOut,
    /// `ABORTED`
    Aborted(Fault),
}

/// One execution of a state machine: its values, its frames, and their state. Reused from one execution to the next, it
/// allocates nothing in the steady state.
#[derive(Clone, Debug, Default)]
pub struct Execution {
    /// Its values.
    pub arena: Arena,
    /// Its identity.
    pub identity: Identity,
    pub(super) input: Value,
    /// The context object, if the caller supplies one; `Undefined` if the engine makes it.
    pub(super) context: Value,
    pub(super) frames: Vec<Frame>,
    pub(super) frames_free: Vec<u32>,
    pub(super) joins: Vec<Join>,
    pub(super) joins_free: Vec<u32>,
    /// The queue of frames that are ready to run; [`Frame::queued`] says which entries are valid.
    pub(super) ready: VecDeque<Queued>,
    /// The number of the last queue entry.
    pub(super) queued: u32,
    /// Stale queue entries, whose frames were freed.
    pub(super) void: usize,
    pub(super) random: u64,
    pub(super) seed: u64,
    pub(super) secret: u128,
    pub(super) time_scale: f64,
    /// When it began, by the monotonic clock, and how far the wall clock was ahead then: displayed times of the
    /// execution use that offset, so that times and durations agree even if the wall clock is set.
    pub(super) started_ms: u64,
    pub(super) ahead_ms: i64,
    pub(super) deadline_ms: u64,
    /// Id of the last event.
    pub(super) events: u64,
    pub(super) transitions: u64,
    pub(super) visits: u32,
    /// The arena is compacted when it grows past the first, and checked when it grows past the second.
    pub(super) compact_at: usize,
    pub(super) looks_at: usize,
    pub(super) outcome: Option<Outcome>,
    pub(super) redrives: Redrives,
    /// Its state before it ended, if it may be redriven.
    pub(super) stopped: Option<Box<Stopped>>,
}

/// An entry in the queue of ready frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    pub(super) frame: u32,
    number: u32,
}

/// In place of a frame's number: no frame.
pub(super) const NO_FRAME: u32 = u32::MAX;

/// One thread of control: the machine itself, a branch, or an iteration.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    pub(super) state: Option<StateId>,
    pub(super) phase: Phase,
    /// The number of the present visit in tokens.
    pub(super) visit: u32,
    /// The join it belongs to.
    pub(super) parent: Option<u32>,
    /// Its neighbours among the join's children, or [`NO_FRAME`].
    pub(super) older: u32,
    pub(super) younger: u32,
    /// The number of its queue entry; 0 without one.
    pub(super) queued: u32,
    /// Which branch or iteration it is.
    pub(super) index: u32,
    /// The state's input, before `InputPath`.
    pub(super) input: Value,
    /// The effective input: after `InputPath` and `Parameters`.
    pub(super) effective: Value,
    /// An array of the variables in its scope, by slot.
    pub(super) variables: Value,
    /// The value of `Credentials` of the running task; of a distributed Map, the request of its Map Run.
    pub(super) credentials: Value,
    /// The last event in its chain.
    pub(super) last_event: u64,
    /// The event of the state's entry.
    pub(super) entered_event: u64,
    pub(super) entered_ms: u64,
    /// Retries in this visit, of all retriers together, and of each.
    pub(super) retries: u32,
    pub(super) attempts: Vec<u32>,
    /// When the running task times out; of a Wait until a time of day, that time, by the wall clock.
    pub(super) timeout_at_ms: u64,
    /// When the next heartbeat of the running task is due; of a Wait, or a delay before a retry, when that is over.
    pub(super) due_at_ms: u64,
    /// The heartbeat interval.
    pub(super) heartbeat_ms: u64,
    /// The timeout of the running task.
    pub(super) timeout_ms: u64,
    /// Whether the last task failed because of a missing heartbeat.
    pub(super) heartbeat_missed: bool,
    /// Whether the running task was begun: an activity's task begins when a worker takes it.
    pub(super) is_begun: bool,
    /// Whether the running task's submission is in the history.
    pub(super) is_submitted: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not in use.
    #[default]
    Free,
    /// To enter its state.
    Enter,
    /// To run its state again, after a retry's delay.
    Again,
    /// Waits for a timer before it leaves a Wait state.
    Waiting,
    /// Waits for a timer before it tries again.
    Delayed,
    /// Waits for a task.
    Task,
    /// Waits for a join.
    Joining(u32),
}

/// The branches or iterations of one visit of a Parallel or Map state.
#[derive(Clone, Debug, Default)]
pub(super) struct Join {
    /// The frame that waits.
    pub(super) frame: u32,
    /// The child that began last, or [`NO_FRAME`]; the others are linked to it.
    pub(super) youngest: u32,
    /// An array or object of a Map's items.
    pub(super) items: Value,
    pub(super) total: u32,
    pub(super) started: u32,
    pub(super) running: u32,
    pub(super) failed: u32,
    /// The number of failures beyond which the Map fails.
    pub(super) tolerated: u32,
    /// Whether the definition sets the number of tolerated failures.
    pub(super) has_tolerance: bool,
    /// The constant part of the inputs of a Map's iterations.
    pub(super) prepared: Prepared,
    /// By index; `Undefined` where failed.
    pub(super) results: Vec<Value>,
}

impl Execution {
    /// An execution that has not begun.
    pub fn new() -> Execution {
        Execution::default()
    }

    /// Clears the last execution and keeps its memory. Then put the input into the [`arena`](Execution::arena) and
    /// [`begin`](Execution::begin).
    pub fn reset(&mut self) {
        self.arena.clear();
        self.frames_free.clear();
        self.joins_free.clear();
        self.clear_ready();
        self.outcome = None;
        self.context = Value::UNDEFINED;
        self.redrives = Redrives::default();
        self.stopped = None;
        self.frames.iter_mut().for_each(|frame| frame.phase = Phase::Free);
        // Results of an unfinished join are invalid in the next execution's arena.
        self.joins.iter_mut().for_each(|join| join.results.clear());
        // The lowest number is used first, as in an execution with new memory.
        self.frames_free.extend((0..self.frames.len() as u32).rev());
        self.joins_free.extend((0..self.joins.len() as u32).rev());
    }

    /// Begins an execution of `program` with an input that was put into the arena after [`reset`](Execution::reset).
    /// The first [`Event::Go`](super::Event::Go) starts it.
    pub fn begin(&mut self, program: &Program, start: &Start, input: Value) {
        self.arena.set_bytes_max(start.bytes_max);
        self.input = input;
        self.seed = start.seed;
        self.secret = start.secret;
        self.time_scale = start.time_scale;
        self.random = start.seed ^ 0x9E37_79B9_7F4A_7C15;
        self.started_ms = start.now_ms;
        self.ahead_ms = start.ahead_ms;
        let seconds = program.timeout_seconds.unwrap_or(u64::MAX).min(start.seconds_max);
        self.deadline_ms = start.now_ms.saturating_add(start.scaled_limit(seconds.saturating_mul(1_000)));
        self.events = 0;
        self.transitions = 0;
        // Tokens follow from it: the same seed gives the same ones, even in reused memory.
        self.visits = 0;
        self.compact_beyond(limits::COMPACT_BYTES_MIN.max(4 * self.arena.bytes()));
        let slots = program.workflows[crate::index::Id::from_index(0)].slots;
        let variables = self.empty_variables(slots);
        let (frame, top) = self.add_frame();
        top.state = Some(program.start());
        top.phase = Phase::Enter;
        top.input = input;
        top.variables = variables;
        self.enqueue(frame);
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Its input.
    pub fn input(&self) -> Value {
        self.input
    }

    /// The source of everything random in it.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// When it times out, in milliseconds since 1970 by the monotonic clock.
    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// When it began, in milliseconds since 1970, as displayed.
    pub fn started_ms(&self) -> u64 {
        self.shown_ms(self.started_ms)
    }

    /// When it began, by the monotonic clock.
    pub fn began_ms(&self) -> u64 {
        self.started_ms
    }

    /// The displayed time of a monotonic one.
    pub fn shown_ms(&self, time_ms: u64) -> u64 {
        time_ms.saturating_add_signed(self.ahead_ms)
    }

    /// State transitions so far.
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// The state that goes on in the next turn, after one that [yielded](super::Turn::Yielded).
    pub fn next_state(&self) -> Option<StateId> {
        let next = self.ready.iter().find(|place| self.is_queued(place))?;
        self.frames[next.frame as usize].state
    }

    /// History events so far, recorded or not.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Whether `token` identifies a frame's present visit.
    pub fn is_current(&self, token: Token) -> bool {
        (self.frames.get(token.frame as usize))
            .is_some_and(|frame| frame.phase != Phase::Free && frame.visit == token.visit)
    }

    /// The input of a running task, in the arena.
    pub fn task_input(&self, token: Token) -> Option<Value> {
        self.is_current(token).then(|| self.frames[token.frame as usize].effective)
    }

    /// The state whose task runs.
    pub(crate) fn task_state(&self, token: Token) -> Option<StateId> {
        self.frames.get(token.frame as usize).filter(|_| self.is_current(token))?.state
    }

    /// The value of `Credentials` of a running task, an object with `RoleArn`; `Undefined` without credentials.
    pub fn task_credentials(&self, token: Token) -> Option<Value> {
        self.is_current(token).then(|| self.frames[token.frame as usize].credentials)
    }

    /// The task token of a running task, as in the context object.
    pub fn task_token(&self, token: Token) -> u128 {
        task_token(self.secret, self.seed, token)
    }

    /// The ARN of this execution.
    pub fn execution_arn(&self) -> String {
        self.identity.execution_arn_with(self.seed)
    }

    /// Frames in use, or kept for reuse.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// The arena is compacted when it holds more than so many bytes.
    pub(super) fn compact_beyond(&mut self, bytes: usize) {
        (self.compact_at, self.looks_at) = (bytes, bytes.min(limits::GROWTH_BYTES_MIN));
    }

    /// Frees memory when it holds more than `bytes`; for pools.
    pub fn shrink_above(&mut self, bytes: usize) {
        self.arena.shrink_above(bytes);
        let frames = bytes / size_of::<Frame>();
        if self.frames.capacity() > frames.max(8) {
            self.frames = Vec::new();
            self.frames_free = Vec::new();
            self.joins = Vec::new();
            self.joins_free = Vec::new();
            self.ready = VecDeque::new();
            self.void = 0;
        }
    }

    /// Scaled milliseconds.
    pub(super) fn scaled(&self, milliseconds: u64) -> u64 {
        scaled(milliseconds, self.time_scale)
    }

    /// Scaled milliseconds of a timeout.
    pub(super) fn scaled_limit(&self, milliseconds: u64) -> u64 {
        scaled_limit(milliseconds, self.time_scale)
    }

    /// An array with no variable assigned; `Undefined` if the workflow has none.
    pub(super) fn empty_variables(&mut self, slots: u32) -> Value {
        if slots == 0 {
            return Value::UNDEFINED;
        }
        let mark = self.arena.begin();
        for _ in 0..slots {
            self.arena.push(Value::UNDEFINED);
        }
        self.arena.end_array(mark)
    }

    /// A frame that was not in use, as new except for the memory it holds.
    #[inline]
    pub(super) fn add_frame(&mut self) -> (u32, &mut Frame) {
        self.visits = self.visits.wrapping_add(1);
        let id = match self.frames_free.pop() {
            Some(id) => id,
            None => self.grow_frames(),
        };
        let frame = &mut self.frames[id as usize];
        let mut attempts = std::mem::take(&mut frame.attempts);
        attempts.clear();
        *frame = Frame { visit: self.visits, attempts, ..Frame::default() };
        (id, frame)
    }

    #[cold]
    fn grow_frames(&mut self) -> u32 {
        self.frames.push(Frame::default());
        self.frames.len() as u32 - 1
    }

    pub(super) fn free_frame(&mut self, id: u32) {
        let frame = &mut self.frames[id as usize];
        frame.phase = Phase::Free;
        self.void += usize::from(std::mem::take(&mut frame.queued) != 0);
        self.frames_free.push(id);
    }

    // ---- the queue of ready frames ----

    /// Appends the frame to the queue, unless it is in it.
    #[inline]
    pub(super) fn enqueue(&mut self, frame: u32) {
        if self.frames[frame as usize].queued == 0 {
            let place = self.place(frame);
            self.ready.push_back(place);
        }
    }

    /// Puts the frame at the head of the queue: it was there, and is not done.
    pub(super) fn enqueue_first(&mut self, frame: u32) {
        self.void += usize::from(self.frames[frame as usize].queued != 0);
        let place = self.place(frame);
        self.ready.push_front(place);
    }

    #[inline]
    fn place(&mut self, frame: u32) -> Queued {
        // 0 means not queued.
        self.queued = self.queued.checked_add(1).unwrap_or(1);
        self.frames[frame as usize].queued = self.queued;
        Queued { frame, number: self.queued }
    }

    /// Takes the first frame out of the queue.
    #[inline]
    pub(super) fn next_ready(&mut self) -> Option<u32> {
        loop {
            let Queued { frame, number } = self.ready.pop_front()?;
            let queued = &mut self.frames[frame as usize].queued;
            if *queued == number {
                *queued = 0;
                return Some(frame);
            }
            self.void -= 1;
        }
    }

    /// Whether this queue entry is valid.
    pub(super) fn is_queued(&self, place: &Queued) -> bool {
        self.frames[place.frame as usize].queued == place.number
    }

    pub(super) fn clear_ready(&mut self) {
        self.ready.clear();
        self.void = 0;
    }

    /// Drops stale queue entries, when they have become most of the queue: a frame that begins and stops children again
    /// and again in one turn would otherwise let it grow without end.
    pub(super) fn tidy_ready(&mut self) {
        if self.void > limits::QUEUE_VOID_MIN && 2 * self.void > self.ready.len() {
            let frames = &self.frames;
            self.ready.retain(|place| frames[place.frame as usize].queued == place.number);
            self.void = 0;
        }
    }

    // ---- the children of a join ----

    /// Makes the frame a child of the join, its youngest.
    #[inline]
    pub(super) fn link_child(&mut self, join: u32, child: u32) {
        let older = std::mem::replace(&mut self.joins[join as usize].youngest, child);
        let frame = &mut self.frames[child as usize];
        frame.parent = Some(join);
        frame.older = older;
        frame.younger = NO_FRAME;
        if older != NO_FRAME {
            self.frames[older as usize].younger = child;
        }
    }

    /// Takes a child out of its join.
    #[inline]
    pub(super) fn unlink_child(&mut self, join: u32, child: u32) {
        let Frame { older, younger, .. } = self.frames[child as usize];
        match younger {
            NO_FRAME => self.joins[join as usize].youngest = older,
            _ => self.frames[younger as usize].older = older,
        }
        if older != NO_FRAME {
            self.frames[older as usize].younger = younger;
        }
    }

    /// The children of a join, the youngest first.
    pub(super) fn children(&self, join: u32) -> impl Iterator<Item = (u32, &Frame)> {
        let mut next = self.joins[join as usize].youngest;
        std::iter::from_fn(move || {
            let (child, frame) = (next, self.frames.get(next as usize)?);
            next = frame.older;
            Some((child, frame))
        })
    }

    pub(super) fn add_join(&mut self, join: Join) -> u32 {
        match self.joins_free.pop() {
            Some(id) => {
                let mut results = std::mem::take(&mut self.joins[id as usize].results);
                results.clear();
                self.joins[id as usize] = Join { results, ..join };
                id
            }
            None => {
                self.joins.push(join);
                self.joins.len() as u32 - 1
            }
        }
    }

    pub(super) fn free_join(&mut self, id: u32) {
        // Values that compaction does not visit must not be read afterwards.
        let mut results = std::mem::take(&mut self.joins[id as usize].results);
        results.clear();
        self.joins[id as usize] = Join { results, ..Join::default() };
        self.joins_free.push(id);
    }
}
