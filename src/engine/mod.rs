//! The engine: `advance(program, execution, event, env)`, a pure function.
//!
//! An [`Execution`] is plain data; time, randomness and effects come and go through [`Env`]. Nothing here uses a
//! thread, a clock, a lock or the wire. The driver carries out the [effects](Effect) and feeds back [events](Event);
//! the same function serves a thread of the runtime, a caller in line, and virtual time in tests.
//!
//! One lifecycle for every state: *enter*, perhaps *wait* (for a task, a timer, or branches), then *leave* or *fail*.
//! Branches of a Parallel and iterations of a Map are frames of the same execution, so a join is a counter. Frames run
//! until they park, in FIFO order; a turn ends when all are parked, the budget of transitions or the slice of fuel is
//! used up, or the execution is over.

mod choice;
mod context;
mod event_buffer;
mod execution;
mod fail;
mod flow;
mod join;
mod map;
mod map_run;
mod pack;
mod parallel;
mod record;
mod redrive;
mod run;
mod single_state;
mod snapshot;
mod state;
mod task;
mod verify;
mod wait;

#[cfg(feature = "service")]
pub(crate) use context::uuid;
pub use event_buffer::EventBuffer;
pub use execution::{Execution, Identity, Outcome, Start, Token};
pub use map_run::{Item, MapRunRequest, for_items, item_input, threshold_exceeded, too_large_result};
pub use record::{EventKind, EventMask, Listener, MetricEvent, Record, Schedule, TaskKind};
pub use redrive::Redrives;
pub use single_state::{Step, Visit, Visited, complete_children};
pub use snapshot::{SnapshotError, TooDeep};

use crate::fault::Fault;
use crate::fuel::{Cut, Fuel};
use crate::json::{Compactor, Value};
use crate::program::{Program, StateId, TaskId};
use crate::query::jsonata::Scratch;
use run::Run;

/// An event from outside.
#[derive(Debug)]
pub enum Event {
    /// Begins the execution, or continues after a turn that [yielded](Turn::Yielded).
    Go,
    /// A task succeeded; the result is in the execution's arena.
    TaskSucceeded(Token, Value),
    /// A task failed.
    TaskFailed(Token, Fault),
    /// A worker of this name, if it has one, took the task of an activity.
    TaskStarted(Token, Option<Box<str>>),
    /// A service has accepted the job of a task, or passed its token on, and answered with this value.
    TaskSubmitted(Token, Value),
    /// A heartbeat of a task.
    Heartbeat(Token),
    /// A timer fired.
    Timer(Token, TimerKind),
    /// The wall clock was set: Wait states until a time of day check it.
    ClockSet,
    /// The time allowed for the whole execution is over.
    Deadline,
    /// A request to end the execution.
    Abort(Fault),
    /// The execution cannot be run: its input is invalid.
    Fail(Fault),
}

/// The purpose of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKind {
    /// A Wait state, or the delay before a retry, is over.
    Wake,
    /// A task's `TimeoutSeconds` are over.
    Timeout,
    /// A task's `HeartbeatSeconds` are over without a heartbeat.
    Heartbeat,
}

/// An effect to carry out. Answers to effects with a [`Token`] of an earlier visit are ignored.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// Start a task.
    Task(TaskCall),
    /// Fire a timer at this time, in milliseconds since 1970.
    Timer {
        /// Its token.
        token: Token,
        /// Its purpose.
        kind: TimerKind,
        /// When it is due.
        at_ms: u64,
    },
    /// The task and the timers of this token are no longer needed.
    Cancel(Token),
}

/// A task to start. Its input and credentials are in the execution: see [`Execution::task_input`].
#[derive(Clone, Copy, Debug)]
pub struct TaskCall {
    /// Identifies the task in the events that answer it.
    pub token: Token,
    /// The task, in the program's table.
    pub task: TaskId,
    /// The state that calls.
    pub state: StateId,
    /// Retries so far.
    pub attempt: u32,
    /// `TimeoutSeconds`, if given.
    pub timeout_seconds: Option<u64>,
    /// `HeartbeatSeconds`, if given.
    pub heartbeat_seconds: Option<u64>,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The execution is over; see [`Execution::outcome`].
    Done,
    /// Nothing to do until the next event.
    Parked,
    /// The budget of transitions, or the slice of fuel, is used up; send [`Event::Go`] after letting others run.
    Yielded,
    /// The fuel's driver cut the work short, perhaps inside a state. The only event that may follow is one that ends
    /// the execution: [`Event::Deadline`] or [`Event::Abort`].
    Cut(Cut),
}

/// The environment of a turn.
pub struct Env<'e> {
    /// The time by the monotonic clock, in milliseconds since 1970, the same for the whole turn.
    pub now_ms: u64,
    /// How many milliseconds the wall clock is ahead of that one.
    pub ahead_ms: i64,
    /// State transitions this turn may take at most.
    pub transitions_max: u32,
    /// Whether the execution is aborted instead of entering one more state, as for a deleted state machine.
    pub is_last_state: bool,
    /// All work of the turn is charged to it.
    pub fuel: &'e Fuel<'e>,
    /// The turn's effects; the driver empties it.
    pub effects: &'e mut Vec<Effect>,
    /// The listener, if there is one.
    pub listener: Option<&'e mut dyn Listener>,
    /// The events that the listener wants; none without a listener.
    pub event_mask: EventMask,
    /// Where events are buffered, if they are. They are reported to the listener before they are dropped.
    pub event_buffer: Option<&'e mut EventBuffer>,
    /// Compacts arenas, kept between turns.
    pub compactor: &'e mut Compactor,
    /// JSONata's memory, kept between turns.
    pub scratch: &'e mut Scratch,
    /// The source of `States.UUID`, `$uuid` and `$random`; by default, the execution's seed.
    pub random: Option<fn() -> u64>,
    /// How the tasks of activities are done; by default, by a handler.
    pub activities: Option<&'e dyn Fn(StateId, TaskId) -> ActivityWork>,
}

impl Env<'_> {
    /// The time by the wall clock.
    fn wall_ms(&self) -> u64 {
        self.now_ms.saturating_add_signed(self.ahead_ms)
    }
}

/// How a task of an activity is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityWork {
    /// By a handler: it starts as soon as it is scheduled.
    Handler,
    /// By a worker: it starts when one has taken it, see [`Event::TaskStarted`].
    Worker,
    /// There is no such activity.
    Missing,
}

/// Lets an execution handle an event and continue until it parks, ends, or has used up its budget.
///
/// Events for a stale token are ignored, and so are all events after the end.
pub fn advance(program: &Program, execution: &mut Execution, event: Event, env: &mut Env<'_>) -> Turn {
    let mut run = Run::new(program, execution, env);
    run.take(event);
    let turn = run.turn();
    if cfg!(debug_assertions) {
        execution.verify(program, turn);
    }
    turn
}
