//! What the engine reports to a listener: one record for each event of AWS's history, formed only when a listener wants
//! it.

use crate::fault::Fault;
use crate::json::Value;
use crate::program::{StateId, StateKind, TaskId};

/// Events beside those of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricEvent {
    /// A state that takes time (any but Pass, Choice, Succeed and Fail) was left, so many milliseconds after it was
    /// entered.
    Took {
        /// The state.
        state: StateId,
        /// How long it took.
        ms: u64,
    },
    /// A state failed and is tried again, after so many milliseconds.
    Retried {
        /// The state.
        state: StateId,
        /// The delay before the retry.
        delay_ms: u64,
    },
    /// A state failed, and one of its catchers handles the error.
    Caught {
        /// The state.
        state: StateId,
    },
    /// A task timed out because of a missing heartbeat. The record that follows only shows a timeout, as on AWS.
    HeartbeatMissed {
        /// The task.
        task: TaskId,
    },
}

/// The records that a listener wants, or that are to be noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventMask(u16);

impl EventMask {
    /// None.
    pub const NONE: EventMask = EventMask(0);
    /// All, and the [steps](super::Listener::step) inside of states.
    pub const ALL: EventMask = EventMask(u16::MAX);
    /// None except the steps inside of states.
    pub const STEPS: EventMask = EventMask(1 << 8);
    /// That something failed, timed out or was aborted: the execution, a state, a task, an iteration, an expression; and
    /// that a Fail state was entered and exited.
    pub const FAILURES: EventMask = EventMask(1 << 9 | 1 << 5);
    /// All except states' entries and exits.
    pub const EVENTS: EventMask = EventMask(1 << 9 | 1 << 10);
    /// All except steps.
    pub const STATES: EventMask = EventMask(0xFF | EventMask::EVENTS.0);
    /// All, but entries and exits only of states that take time, and of Fail states: not of Pass, Choice and Succeed.
    pub const WORK: EventMask = EventMask(1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7 | EventMask::EVENTS.0);

    /// The records in either mask.
    #[must_use]
    pub const fn union(self, other: EventMask) -> EventMask {
        EventMask(self.0 | other.0)
    }

    /// Whether it has steps.
    #[inline]
    pub(super) const fn steps(self) -> bool {
        self.0 & EventMask::STEPS.0 != 0
    }

    /// Whether it has entries and exits of states of this kind.
    #[inline]
    pub(super) const fn of(self, kind: StateKind) -> bool {
        self.0 & EventMask::kind(kind) != 0
    }

    #[inline]
    const fn kind(kind: StateKind) -> u16 {
        match kind {
            StateKind::Pass(_) => 1,
            StateKind::Choice(_) => 1 << 1,
            StateKind::Task(_) => 1 << 2,
            StateKind::Wait(_) => 1 << 3,
            StateKind::Succeed => 1 << 4,
            StateKind::Fail(_) => 1 << 5,
            StateKind::Parallel(_) => 1 << 6,
            StateKind::Map(_) => 1 << 7,
        }
    }

    /// Whether it has this kind of event; for states, check [their kind](EventMask::of).
    #[inline(always)]
    pub(super) const fn event_mask(self, event_kind: &EventKind<'_>) -> bool {
        use EventKind::*;
        let bit = match event_kind {
            ExecutionFailed { .. }
            | ExecutionTimedOut
            | ExecutionAborted { .. }
            | StateAborted { .. }
            | TaskFailed { .. }
            | TaskTimedOut { .. }
            | ParallelStateFailed
            | MapStateFailed
            | MapRunFailed { .. }
            | MapRunAborted
            | MapIterationFailed { .. }
            | MapIterationAborted { .. }
            | EvaluationFailed { .. } => 1 << 9,
            ExecutionStarted { .. }
            | ExecutionRedriven { .. }
            | ExecutionSucceeded { .. }
            | TaskScheduled(_)
            | TaskStarted { .. }
            | TaskSubmitted { .. }
            | TaskSucceeded { .. }
            | ParallelStateStarted
            | ParallelStateSucceeded
            | MapStateStarted { .. }
            | MapStateSucceeded
            | MapRunStarted { .. }
            | MapRunRedriven { .. }
            | MapRunSucceeded
            | MapIterationStarted { .. }
            | MapIterationSucceeded { .. } => 1 << 10,
            StateEntered { .. } | StateExited { .. } => 0xFF,
        };
        self.0 & bit != 0
    }
}

/// One history event.
#[derive(Clone, Copy, Debug)]
pub struct Record<'r> {
    /// `id`
    pub id: u64,
    /// `previousEventId`
    pub previous: u64,
    /// `timestamp`, in milliseconds since 1970.
    pub time_ms: u64,
    /// The type, with its details.
    pub event_kind: EventKind<'r>,
}

/// How a task's events are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// `Task…`
    Service,
    /// `LambdaFunction…`
    Function,
    /// `Activity…`
    Activity,
}

/// A task that is about to be called.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The task.
    pub task: TaskId,
    /// How it is done.
    pub kind: TaskKind,
    /// Its input.
    pub parameters: Value,
    /// Its timeout, if it has one.
    pub timeout_seconds: Option<u64>,
    /// Its heartbeat interval, if it has one.
    pub heartbeat_seconds: Option<u64>,
    /// Its `Credentials`; `Undefined` without them.
    pub credentials: Value,
}

/// The types of history events (API reference, `HistoryEvent`).
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // Names and members are those of AWS's event types.
pub enum EventKind<'r> {
    ExecutionStarted {
        input: Value,
    },
    ExecutionRedriven {
        count: u32,
    },
    ExecutionSucceeded {
        output: Value,
    },
    ExecutionFailed {
        fault: &'r Fault,
    },
    ExecutionTimedOut,
    ExecutionAborted {
        fault: &'r Fault,
    },
    StateEntered {
        state: StateId,
        input: Value,
    },
    /// `assigned` is an object of the variables assigned, `Undefined` if none are.
    StateExited {
        state: StateId,
        output: Value,
        assigned: Value,
    },
    StateAborted {
        state: StateId,
    },
    TaskScheduled(Schedule),
    /// `worker` is the name that an activity's worker gave.
    TaskStarted {
        task: TaskId,
        kind: TaskKind,
        worker: Option<&'r str>,
    },
    TaskSubmitted {
        task: TaskId,
        kind: TaskKind,
        output: Value,
    },
    TaskSucceeded {
        task: TaskId,
        kind: TaskKind,
        output: Value,
    },
    TaskFailed {
        task: TaskId,
        kind: TaskKind,
        fault: &'r Fault,
    },
    TaskTimedOut {
        task: TaskId,
        kind: TaskKind,
        fault: &'r Fault,
    },
    ParallelStateStarted,
    ParallelStateSucceeded,
    ParallelStateFailed,
    MapStateStarted {
        length: u32,
    },
    MapStateSucceeded,
    MapStateFailed,
    /// `map_run` is its ARN.
    MapRunStarted {
        map_run: Value,
    },
    /// The Map Run of an execution that was redriven; how often.
    MapRunRedriven {
        map_run: Value,
        count: u32,
    },
    MapRunSucceeded,
    MapRunFailed {
        fault: &'r Fault,
    },
    MapRunAborted,
    MapIterationStarted {
        state: StateId,
        index: u32,
    },
    MapIterationSucceeded {
        state: StateId,
        index: u32,
    },
    MapIterationFailed {
        state: StateId,
        index: u32,
    },
    MapIterationAborted {
        state: StateId,
        index: u32,
    },
    EvaluationFailed {
        state: StateId,
        fault: &'r Fault,
        location: &'r str,
    },
}
