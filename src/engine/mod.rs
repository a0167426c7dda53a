//! The engine: `advance(program, execution, event, env)`, a pure function.
//!
//! An [`Execution`] is plain data; time, randomness and effects come and go through [`Env`]. Nothing here uses a
//! thread, a clock, a lock or the wire. The driver carries out the [effects](Effect) and feeds back [events](Event);
//! the same function serves a thread of the runtime, a caller in line, and virtual time in tests.
//!
//! One lifecycle for every state: *enter*, perhaps *wait* (for a task, a timer, or branches), then *leave* or *fail*.
//! Branches of a Parallel and iterations of a Map are frames of the same execution, so a join is a counter. Frames run
//! until they park, first come first served; a turn ends when all are parked, the budget of transitions or the slice of
//! fuel is used up, or the execution is over.

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

/// What happened outside.
#[derive(Debug)]
pub enum Event {
    /// Begins the execution, or goes on after a turn that [yielded](Turn::Yielded).
    Go,
    /// A task succeeded; the result lies in the execution's arena.
    TaskSucceeded(Token, Value),
    /// A task failed.
    TaskFailed(Token, Fault),
    /// A worker of this name, if it has one, took the task of an activity.
    TaskStarted(Token, Option<Box<str>>),
    /// A service has taken on the job of a task, or handed its token on, and answered with this value.
    TaskSubmitted(Token, Value),
    /// A task said that it is alive.
    Heartbeat(Token),
    /// A timer fired.
    Timer(Token, TimerKind),
    /// The wall clock was set: Wait states until a time of day check it.
    ClockSet,
    /// The time allowed for the whole execution is over.
    Deadline,
    /// A request to end the execution.
    Abort(Fault),
    /// The execution cannot be run: its input is of no use.
    Fail(Fault),
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKind {
    /// A Wait state, or the delay before a retry, is over.
    Wake,
    /// A task's `TimeoutSeconds` are over.
    Timeout,
    /// A task's `HeartbeatSeconds` are over without a heartbeat.
    Heartbeat,
}

/// What the engine wants done. Effects with a [`Token`] of an earlier visit are answered in vain: late events are
/// ignored.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// Start a task.
    Task(TaskCall),
    /// Fire a timer at this time, in milliseconds since 1970.
    Timer {
        /// For whom.
        token: Token,
        /// What for.
        kind: TimerKind,
        /// When.
        at_ms: u64,
    },
    /// The task and the timers of this token are of no interest any more.
    Cancel(Token),
}

/// A task to start. Its input and credentials lie in the execution: see [`Execution::task_input`].
#[derive(Clone, Copy, Debug)]
pub struct TaskCall {
    /// Names the task in the events that answer it.
    pub token: Token,
    /// What to call, in the program's table.
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
    /// The budget of transitions, or the slice of fuel, is used up; send [`Event::Go`] when others had their turn.
    Yielded,
    /// The fuel's driver cut the work short, perhaps in the midst of a state. All that may follow is the event that ends
    /// the execution: [`Event::Deadline`] or [`Event::Abort`].
    Cut(Cut),
}

/// What a turn may use of the outside world.
pub struct Env<'e> {
    /// The time, in milliseconds since 1970, the same for the whole turn, by the monotonic clock: durations are measured
    /// with it.
    pub now_ms: u64,
    /// How many milliseconds the clock on the wall is ahead of that one.
    pub ahead_ms: i64,
    /// State transitions this turn may take at most.
    pub transitions_max: u32,
    /// Whether the execution is aborted instead of entering one more state, as that of a deleted state machine is.
    pub is_last_state: bool,
    /// What all work of the turn is charged to.
    pub fuel: &'e Fuel<'e>,
    /// What the turn wants done; the driver empties it.
    pub effects: &'e mut Vec<Effect>,
    /// Who listens, if anyone does.
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
    /// The time by the clock on the wall.
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

/// Lets an execution react to an event and go on until it parks, ends, or used up its budget.
///
/// Events for a token of the past are ignored, and so is everything after the end.
pub fn advance(program: &Program, execution: &mut Execution, event: Event, env: &mut Env<'_>) -> Turn {
    let mut run = Run::new(program, execution, env);
    run.take(event);
    let turn = run.turn();
    if cfg!(debug_assertions) {
        execution.verify(program, turn);
    }
    turn
}
