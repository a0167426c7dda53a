//! Buffered events of one execution: small notes with handles of values in them, formatted only when a listener wants
//! to see them.
//!
//! A turn writes them itself, without calling a listener: most executions are noted only because they might fail.

use super::record::{EventKind, EventMask, Record, Schedule, TaskKind};
use crate::fault::Fault;
use crate::json::Value;
use crate::program::{StateId, TaskId};

/// The records of one execution since its values moved last: a listener [reads](EventBuffer::replay) them before the
/// values move again.
#[derive(Clone, Debug, Default)]
pub struct EventBuffer {
    /// The events that are noted.
    pub event_mask: EventMask,
    event_buffer: Vec<Note>,
    /// The last of `marks`.
    mark: Mark,
    marks: Vec<Mark>,
    /// `previousEventId` of the notes that have no room for it, in their order.
    distant: Vec<u64>,
    /// Of the notes of states that assigned variables, in their order.
    assigned: Vec<Value>,
    schedules: Vec<Schedule>,
    faults: Vec<(Fault, Box<str>)>,
    workers: Vec<Box<str>>,
}

/// One record, in half a cache line.
#[derive(Clone, Copy, Debug)]
struct Note {
    what: CompactEvent,
    /// Relative to the mark's id.
    id: u32,
    /// How far back the previous event is; 0 if there is no previous event.
    back: u32,
}

const _: () = assert!(size_of::<Note>() == 32);

/// In `back`: too far.
const DISTANT: u32 = u32::MAX;
/// The index of a worker without a name.
const UNNAMED: u32 = u32::MAX;
/// Memory for so many notes is kept when they are cleared.
const KEPT: usize = 256;
/// With more notes than this, they are [due](super::Listener::events_due).
const NOTES_MAX: usize = 16_384;

/// The note from which on this time applies, and the base of ids.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    from: u32,
    id: u64,
    time_ms: u64,
}

/// As [`EventKind`]. Rare, large payloads are in side tables; the number is the index.
#[derive(Clone, Copy, Debug)]
enum CompactEvent {
    ExecutionStarted(Value),
    ExecutionRedriven(u32),
    ExecutionSucceeded(Value),
    ExecutionFailed(u32),
    ExecutionTimedOut,
    ExecutionAborted(u32),
    StateEntered(StateId, Value),
    /// Entered with the output of the note before.
    StateReached(StateId),
    /// Exited, and no variable was assigned.
    StateExited(StateId, Value),
    /// Exited, and variables were assigned.
    StateAssigned(StateId, Value),
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
    MapRunStarted(Value),
    MapRunRedriven(Value, u32),
    MapRunSucceeded,
    MapRunFailed(u32),
    MapRunAborted,
    MapIterationStarted(StateId, u32),
    MapIterationSucceeded(StateId, u32),
    MapIterationFailed(StateId, u32),
    MapIterationAborted(StateId, u32),
    EvaluationFailed(StateId, u32),
}

/// What replayed notes take from those before them.
struct Told<'n> {
    output: Value,
    assigned: std::slice::Iter<'n, Value>,
}

impl EventBuffer {
    /// The number of notes.
    #[inline]
    pub fn len(&self) -> usize {
        self.event_buffer.len()
    }

    /// Whether it has no notes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.event_buffer.is_empty()
    }

    /// Whether there are so many that they should be read.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.event_buffer.len() > NOTES_MAX
    }

    /// The id of the last record.
    pub fn last_id(&self) -> Option<u64> {
        self.event_buffer.last().map(|note| self.mark.id + u64::from(note.id))
    }

    /// Drops all notes, and keeps some memory for the next ones.
    pub fn clear(&mut self) {
        self.mark = Mark::default();
        cleared(&mut self.event_buffer);
        cleared(&mut self.marks);
        cleared(&mut self.distant);
        cleared(&mut self.assigned);
        cleared(&mut self.schedules);
        cleared(&mut self.faults);
        cleared(&mut self.workers);
    }

    /// Reports all notes, in their order. The values must not have moved.
    pub fn replay(&self, mut report: impl FnMut(&Record<'_>)) {
        let (mut marks, mut distant) = (self.marks.iter().peekable(), self.distant.iter());
        let mut mark = Mark::default();
        let mut told = Told { output: Value::UNDEFINED, assigned: self.assigned.iter() };
        for (n, &Note { what, id, back }) in self.event_buffer.iter().enumerate() {
            while let Some(next) = marks.next_if(|next| next.from as usize <= n) {
                mark = *next;
            }
            let id = mark.id + u64::from(id);
            let previous = match back {
                0 => 0,
                DISTANT => *distant.next().expect("each distant note has its event beside"),
                back => id - u64::from(back),
            };
            let event_kind = self.event_kind(what, &mut told);
            report(&Record { id, previous, time_ms: mark.time_ms, event_kind });
        }
    }

    /// A state was entered. An output that is passed on is not read again, which would stall until it is in the cache.
    #[inline(always)]
    pub(super) fn entered(&mut self, id: u64, previous: u64, time_ms: u64, state: StateId, input: &Value) {
        let what = match self.event_buffer.last() {
            // When it comes straight from a state, its value is that state's output.
            Some(Note {
                what: CompactEvent::StateExited(_, output) | CompactEvent::StateAssigned(_, output),
                ..
            }) if previous + 1 == id && self.last_id() == Some(previous) => {
                debug_assert!(!input.is_container() || output.is_same_place(*input));
                CompactEvent::StateReached(state)
            }
            _ => CompactEvent::StateEntered(state, *input),
        };
        self.note(id, previous, time_ms, what);
    }

    /// A state was left.
    #[inline(always)]
    pub(super) fn exited(
        &mut self,
        id: u64,
        previous: u64,
        time_ms: u64,
        state: StateId,
        output: Value,
        assigned: Value,
    ) {
        let what = if assigned.is_undefined() {
            CompactEvent::StateExited(state, output)
        } else {
            self.assigned.push(assigned);
            CompactEvent::StateAssigned(state, output)
        };
        self.note(id, previous, time_ms, what);
    }

    #[inline(always)]
    fn note(&mut self, id: u64, previous: u64, time_ms: u64, what: CompactEvent) {
        if time_ms != self.mark.time_ms || id.wrapping_sub(self.mark.id) > u64::from(u32::MAX) {
            self.mark(id, time_ms);
        }
        let back = match id.wrapping_sub(previous) {
            _ if previous == 0 => 0,
            back if back < u64::from(DISTANT) => back as u32,
            _ => self.distant(previous),
        };
        self.event_buffer.push(Note { what, id: (id - self.mark.id) as u32, back });
    }

    fn mark(&mut self, id: u64, time_ms: u64) {
        self.mark = Mark { from: self.event_buffer.len() as u32, id, time_ms };
        self.marks.push(self.mark);
    }

    #[cold]
    fn distant(&mut self, previous: u64) -> u32 {
        self.distant.push(previous);
        DISTANT
    }

    pub(super) fn keep(&mut self, record: &Record<'_>) {
        use EventKind::*;
        let Record { id, previous, time_ms, event_kind } = *record;
        let what = match event_kind {
            // The engine notes these directly, without records.
            StateEntered { state, input } => return self.entered(id, previous, time_ms, state, &input),
            StateExited { state, output, assigned } => {
                return self.exited(id, previous, time_ms, state, output, assigned);
            }
            ExecutionStarted { input } => CompactEvent::ExecutionStarted(input),
            ExecutionRedriven { count } => CompactEvent::ExecutionRedriven(count),
            ExecutionSucceeded { output } => CompactEvent::ExecutionSucceeded(output),
            ExecutionFailed { fault } => CompactEvent::ExecutionFailed(self.fault(fault, "")),
            ExecutionTimedOut => CompactEvent::ExecutionTimedOut,
            ExecutionAborted { fault } => CompactEvent::ExecutionAborted(self.fault(fault, "")),
            StateAborted { state } => CompactEvent::StateAborted(state),
            TaskScheduled(schedule) => {
                self.schedules.push(schedule);
                CompactEvent::TaskScheduled(self.schedules.len() as u32 - 1)
            }
            TaskStarted { task, kind, worker: None } => CompactEvent::TaskStarted(task, kind, UNNAMED),
            TaskStarted { task, kind, worker: Some(worker) } => {
                self.workers.push(worker.into());
                CompactEvent::TaskStarted(task, kind, self.workers.len() as u32 - 1)
            }
            TaskSubmitted { task, kind, output } => CompactEvent::TaskSubmitted(task, kind, output),
            TaskSucceeded { task, kind, output } => CompactEvent::TaskSucceeded(task, kind, output),
            TaskFailed { task, kind, fault } => CompactEvent::TaskFailed(task, kind, self.fault(fault, "")),
            TaskTimedOut { task, kind, fault } => {
                CompactEvent::TaskTimedOut(task, kind, self.fault(fault, ""))
            }
            ParallelStateStarted => CompactEvent::ParallelStateStarted,
            ParallelStateSucceeded => CompactEvent::ParallelStateSucceeded,
            ParallelStateFailed => CompactEvent::ParallelStateFailed,
            MapStateStarted { length } => CompactEvent::MapStateStarted(length),
            MapStateSucceeded => CompactEvent::MapStateSucceeded,
            MapStateFailed => CompactEvent::MapStateFailed,
            MapRunStarted { map_run } => CompactEvent::MapRunStarted(map_run),
            MapRunRedriven { map_run, count } => CompactEvent::MapRunRedriven(map_run, count),
            MapRunSucceeded => CompactEvent::MapRunSucceeded,
            MapRunFailed { fault } => CompactEvent::MapRunFailed(self.fault(fault, "")),
            MapRunAborted => CompactEvent::MapRunAborted,
            MapIterationStarted { state, index } => CompactEvent::MapIterationStarted(state, index),
            MapIterationSucceeded { state, index } => CompactEvent::MapIterationSucceeded(state, index),
            MapIterationFailed { state, index } => CompactEvent::MapIterationFailed(state, index),
            MapIterationAborted { state, index } => CompactEvent::MapIterationAborted(state, index),
            EvaluationFailed { state, fault, location } => {
                CompactEvent::EvaluationFailed(state, self.fault(fault, location))
            }
        };
        self.note(id, previous, time_ms, what);
    }

    fn fault(&mut self, fault: &Fault, location: &str) -> u32 {
        self.faults.push((fault.clone(), location.into()));
        self.faults.len() as u32 - 1
    }

    fn event_kind(&self, what: CompactEvent, told: &mut Told<'_>) -> EventKind<'_> {
        use EventKind::*;
        let fault = |place: u32| &self.faults[place as usize].0;
        match what {
            CompactEvent::StateEntered(state, input) => StateEntered { state, input },
            CompactEvent::StateReached(state) => StateEntered { state, input: told.output },
            CompactEvent::StateExited(state, output) => {
                told.output = output;
                StateExited { state, output, assigned: Value::UNDEFINED }
            }
            CompactEvent::StateAssigned(state, output) => {
                told.output = output;
                let assigned = *told.assigned.next().expect("each note that assigned has its values beside");
                StateExited { state, output, assigned }
            }
            CompactEvent::ExecutionStarted(input) => ExecutionStarted { input },
            CompactEvent::ExecutionRedriven(count) => ExecutionRedriven { count },
            CompactEvent::ExecutionSucceeded(output) => ExecutionSucceeded { output },
            CompactEvent::ExecutionFailed(place) => ExecutionFailed { fault: fault(place) },
            CompactEvent::ExecutionTimedOut => ExecutionTimedOut,
            CompactEvent::ExecutionAborted(place) => ExecutionAborted { fault: fault(place) },
            CompactEvent::StateAborted(state) => StateAborted { state },
            CompactEvent::TaskScheduled(place) => TaskScheduled(self.schedules[place as usize]),
            CompactEvent::TaskStarted(task, kind, worker) => {
                let worker = self.workers.get(worker as usize).map(|worker| &**worker);
                TaskStarted { task, kind, worker }
            }
            CompactEvent::TaskSubmitted(task, kind, output) => TaskSubmitted { task, kind, output },
            CompactEvent::TaskSucceeded(task, kind, output) => TaskSucceeded { task, kind, output },
            CompactEvent::TaskFailed(task, kind, place) => TaskFailed { task, kind, fault: fault(place) },
            CompactEvent::TaskTimedOut(task, kind, place) => TaskTimedOut { task, kind, fault: fault(place) },
            CompactEvent::ParallelStateStarted => ParallelStateStarted,
            CompactEvent::ParallelStateSucceeded => ParallelStateSucceeded,
            CompactEvent::ParallelStateFailed => ParallelStateFailed,
            CompactEvent::MapStateStarted(length) => MapStateStarted { length },
            CompactEvent::MapStateSucceeded => MapStateSucceeded,
            CompactEvent::MapStateFailed => MapStateFailed,
            CompactEvent::MapRunStarted(map_run) => MapRunStarted { map_run },
            CompactEvent::MapRunRedriven(map_run, count) => MapRunRedriven { map_run, count },
            CompactEvent::MapRunSucceeded => MapRunSucceeded,
            CompactEvent::MapRunFailed(place) => MapRunFailed { fault: fault(place) },
            CompactEvent::MapRunAborted => MapRunAborted,
            CompactEvent::MapIterationStarted(state, index) => MapIterationStarted { state, index },
            CompactEvent::MapIterationSucceeded(state, index) => MapIterationSucceeded { state, index },
            CompactEvent::MapIterationFailed(state, index) => MapIterationFailed { state, index },
            CompactEvent::MapIterationAborted(state, index) => MapIterationAborted { state, index },
            CompactEvent::EvaluationFailed(state, place) => {
                let (fault, location) = &self.faults[place as usize];
                EvaluationFailed { state, fault, location }
            }
        }
    }
}

#[inline]
fn cleared<T>(list: &mut Vec<T>) {
    list.clear();
    list.shrink_to(KEPT);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Id;

    /// Ids far apart, time that passes, outputs that are passed on and others that are not: cases that take the engine
    /// hours.
    #[test]
    fn notes_are_told_as_they_were_taken() {
        let (a, b) = (Id::from_index(0), Id::from_index(1));
        let (one, two) = (Value::int(1), Value::int(2));
        let far = 1u64 << 40;
        let fault = Fault::new("Mine", "on purpose");
        let exited = |output, assigned| EventKind::StateExited { state: a, output, assigned };
        let entered = |input| EventKind::StateEntered { state: b, input };
        let records = [
            (1, 0, 0, EventKind::ExecutionStarted { input: one }),
            (2, 1, 0, entered(one)),
            (3, 2, 0, exited(two, Value::UNDEFINED)),
            (4, 3, 0, entered(two)),
            (5, 4, 7, exited(one, two)),
            (6, 5, 8, entered(one)),
            // Of another chain.
            (7, 3, 8, exited(one, one)),
            (8, 4, 8, entered(two)),
            (far, 8, 8, exited(two, one)),
            (far + 1, far, 9, entered(two)),
            (far + 2, 8, 9, EventKind::MapStateStarted { length: 3 }),
            (far + 3, 0, 9, EventKind::ExecutionFailed { fault: &fault }),
        ];
        let mut event_buffer = EventBuffer::default();
        for _ in 0..2 {
            let mut told = (Vec::new(), Vec::new());
            for (id, previous, time_ms, event_kind) in records {
                let record = Record { id, previous, time_ms, event_kind };
                event_buffer.keep(&record);
                told.0.push(format!("{record:?}"));
            }
            event_buffer.replay(|record| told.1.push(format!("{record:?}")));
            assert_eq!(told.0, told.1);
            assert_eq!(event_buffer.last_id(), Some(far + 3));
            event_buffer.clear();
            assert!(event_buffer.is_empty());
        }
    }
}
