//! What the engine tells a listener: one record for each event of AWS's history, formed only when someone listens.

use super::inspect::Step;
use crate::fault::Fault;
use crate::json::{Arena, Value};
use crate::program::{Program, StateId, TaskId};

/// Takes records as they happen. Values lie in the arena only until the call returns, so copy what is to be kept.
pub trait Listener {
    /// One event.
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>);

    /// A value on its way through a state; most listeners are not interested.
    fn step(&mut self, arena: &Arena, step: Step<'_>) {
        let _ = (arena, step);
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
    pub happening: Happening<'r>,
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

/// The types of history events (API reference, `HistoryEvent`).
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // Names and members are those of AWS's event types.
pub enum Happening<'r> {
    ExecutionStarted {
        input: Value,
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
    TaskScheduled {
        task: TaskId,
        kind: TaskKind,
        parameters: Value,
        timeout_seconds: Option<u64>,
        heartbeat_seconds: Option<u64>,
        credentials: Value,
    },
    TaskStarted {
        task: TaskId,
        kind: TaskKind,
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
