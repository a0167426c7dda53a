//! What comes in and goes out: events from outside, and effects to carry out.

use super::identity::Token;
use crate::fault::Fault;
use crate::json::Value;
use crate::program::{StateId, TaskId};

/// An event from outside.
#[derive(Debug)]
pub enum Event {
    /// Begins the execution, or continues after a turn that [yielded](super::Turn::Yielded).
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

/// A task to start. Its input and credentials are in the execution: see [`Execution::task_input`](super::Execution::task_input).
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
