//! What was recorded of one execution, as it was told: small notes with the values' handles in them, which nobody pays
//! to write out before someone wants to see them.

use crate::engine::{Happening, Listener, Record, TaskKind};
use crate::fault::Fault;
use crate::json::{Arena, Value};
use crate::program::{Program, StateId, TaskId};

/// The records of one execution since its values moved last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    notes: Vec<Note>,
    schedules: Vec<Schedule>,
    faults: Vec<(Fault, Box<str>)>,
    workers: Vec<Box<str>>,
}

/// The place of a worker that gave no name.
const UNNAMED: u32 = u32::MAX;

/// One record; half as large as the record itself, because most of those are small.
#[derive(Clone, Copy, Debug)]
struct Note {
    id: u64,
    previous: u64,
    time_ms: u64,
    what: What,
}

/// As [`Happening`]. What is rare and large stands in a list beside; the number is its place there.
#[derive(Clone, Copy, Debug)]
enum What {
    ExecutionStarted(Value),
    ExecutionSucceeded(Value),
    ExecutionFailed(u32),
    ExecutionTimedOut,
    ExecutionAborted(u32),
    StateEntered(StateId, Value),
    StateExited(StateId, Value, Value),
    StateAborted(StateId),
    TaskScheduled(u32),
    TaskStarted(TaskId, TaskKind, u32),
    TaskSubmitted(TaskId, TaskKind, Value),
    TaskSucceeded(TaskId, TaskKind, Value),
    TaskFailed(TaskId, TaskKind, u32),
    TaskTimedOut(TaskId, TaskKind, u32),
    ParallelStateStarted,
    ParallelStateSucceeded,
    ParallelStateFailed,
    MapStateStarted(u32),
    MapStateSucceeded,
    MapStateFailed,
    MapIterationStarted(StateId, u32),
    MapIterationSucceeded(StateId, u32),
    MapIterationFailed(StateId, u32),
    MapIterationAborted(StateId, u32),
    EvaluationFailed(StateId, u32),
}

#[derive(Clone, Copy, Debug)]
struct Schedule {
    task: TaskId,
    kind: TaskKind,
    parameters: Value,
    timeout_seconds: Option<u64>,
    heartbeat_seconds: Option<u64>,
    credentials: Value,
}

impl Notes {
    pub(crate) fn len(&self) -> usize {
        self.notes.len()
    }

    /// The id of the last record.
    pub(crate) fn last_id(&self) -> Option<u64> {
        self.notes.last().map(|note| note.id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.notes.clear();
        self.schedules.clear();
        self.faults.clear();
        self.workers.clear();
    }

    /// Gives memory back when there is much of it.
    pub(crate) fn shrink(&mut self) {
        self.clear();
        self.notes.shrink_to(NOTES_KEPT);
        self.schedules.shrink_to(NOTES_KEPT);
        self.faults.shrink_to(NOTES_KEPT);
        self.workers.shrink_to(NOTES_KEPT);
    }

    /// Tells it all again. The values must not have moved.
    pub(crate) fn replay(&self, program: &Program, arena: &Arena, listener: &mut (impl Listener + ?Sized)) {
        for &Note { id, previous, time_ms, what } in &self.notes {
            listener.record(
                program,
                arena,
                &Record { id, previous, time_ms, happening: self.happening(what) },
            );
        }
    }

    pub(crate) fn keep(&mut self, record: &Record<'_>) {
        use Happening::*;
        let what = match record.happening {
            StateEntered { state, input } => What::StateEntered(state, input),
            StateExited { state, output, assigned } => What::StateExited(state, output, assigned),
            ExecutionStarted { input } => What::ExecutionStarted(input),
            ExecutionSucceeded { output } => What::ExecutionSucceeded(output),
            ExecutionFailed { fault } => What::ExecutionFailed(self.fault(fault, "")),
            ExecutionTimedOut => What::ExecutionTimedOut,
            ExecutionAborted { fault } => What::ExecutionAborted(self.fault(fault, "")),
            StateAborted { state } => What::StateAborted(state),
            TaskScheduled { task, kind, parameters, timeout_seconds, heartbeat_seconds, credentials } => {
                let place = self.schedules.len() as u32;
                let schedule =
                    Schedule { task, kind, parameters, timeout_seconds, heartbeat_seconds, credentials };
                self.schedules.push(schedule);
                What::TaskScheduled(place)
            }
            TaskStarted { task, kind, worker: None } => What::TaskStarted(task, kind, UNNAMED),
            TaskStarted { task, kind, worker: Some(worker) } => {
                self.workers.push(worker.into());
                What::TaskStarted(task, kind, self.workers.len() as u32 - 1)
            }
            TaskSubmitted { task, kind, output } => What::TaskSubmitted(task, kind, output),
            TaskSucceeded { task, kind, output } => What::TaskSucceeded(task, kind, output),
            TaskFailed { task, kind, fault } => What::TaskFailed(task, kind, self.fault(fault, "")),
            TaskTimedOut { task, kind, fault } => What::TaskTimedOut(task, kind, self.fault(fault, "")),
            ParallelStateStarted => What::ParallelStateStarted,
            ParallelStateSucceeded => What::ParallelStateSucceeded,
            ParallelStateFailed => What::ParallelStateFailed,
            MapStateStarted { length } => What::MapStateStarted(length),
            MapStateSucceeded => What::MapStateSucceeded,
            MapStateFailed => What::MapStateFailed,
            MapIterationStarted { state, index } => What::MapIterationStarted(state, index),
            MapIterationSucceeded { state, index } => What::MapIterationSucceeded(state, index),
            MapIterationFailed { state, index } => What::MapIterationFailed(state, index),
            MapIterationAborted { state, index } => What::MapIterationAborted(state, index),
            EvaluationFailed { state, fault, location } => {
                What::EvaluationFailed(state, self.fault(fault, location))
            }
        };
        let Record { id, previous, time_ms, .. } = *record;
        self.notes.push(Note { id, previous, time_ms, what });
    }

    fn fault(&mut self, fault: &Fault, location: &str) -> u32 {
        self.faults.push((fault.clone(), location.into()));
        self.faults.len() as u32 - 1
    }

    fn happening(&self, what: What) -> Happening<'_> {
        use Happening::*;
        let fault = |place: u32| &self.faults[place as usize].0;
        match what {
            What::StateEntered(state, input) => StateEntered { state, input },
            What::StateExited(state, output, assigned) => StateExited { state, output, assigned },
            What::ExecutionStarted(input) => ExecutionStarted { input },
            What::ExecutionSucceeded(output) => ExecutionSucceeded { output },
            What::ExecutionFailed(place) => ExecutionFailed { fault: fault(place) },
            What::ExecutionTimedOut => ExecutionTimedOut,
            What::ExecutionAborted(place) => ExecutionAborted { fault: fault(place) },
            What::StateAborted(state) => StateAborted { state },
            What::TaskScheduled(place) => {
                let Schedule { task, kind, parameters, timeout_seconds, heartbeat_seconds, credentials } =
                    self.schedules[place as usize];
                TaskScheduled { task, kind, parameters, timeout_seconds, heartbeat_seconds, credentials }
            }
            What::TaskStarted(task, kind, worker) => {
                let worker = self.workers.get(worker as usize).map(|worker| &**worker);
                TaskStarted { task, kind, worker }
            }
            What::TaskSubmitted(task, kind, output) => TaskSubmitted { task, kind, output },
            What::TaskSucceeded(task, kind, output) => TaskSucceeded { task, kind, output },
            What::TaskFailed(task, kind, place) => TaskFailed { task, kind, fault: fault(place) },
            What::TaskTimedOut(task, kind, place) => TaskTimedOut { task, kind, fault: fault(place) },
            What::ParallelStateStarted => ParallelStateStarted,
            What::ParallelStateSucceeded => ParallelStateSucceeded,
            What::ParallelStateFailed => ParallelStateFailed,
            What::MapStateStarted(length) => MapStateStarted { length },
            What::MapStateSucceeded => MapStateSucceeded,
            What::MapStateFailed => MapStateFailed,
            What::MapIterationStarted(state, index) => MapIterationStarted { state, index },
            What::MapIterationSucceeded(state, index) => MapIterationSucceeded { state, index },
            What::MapIterationFailed(state, index) => MapIterationFailed { state, index },
            What::MapIterationAborted(state, index) => MapIterationAborted { state, index },
            What::EvaluationFailed(state, place) => {
                let (fault, location) = &self.faults[place as usize];
                EvaluationFailed { state, fault, location }
            }
        }
    }
}

/// Notes for which memory is kept between executions.
const NOTES_KEPT: usize = 256;

const _: () = assert!(size_of::<Note>() <= 64);
