//! One visit of one state by itself, with the data at each step: for `TestState`. The state is run by the same
//! functions as in any execution; nothing here evaluates anything.

use super::execution::{Execution, Phase, Start};
use super::run::{Run, StateError};
use super::step::Step;
use super::turn::{Env, Turn};
use crate::fault::Fault;
use crate::index::Id;
use crate::json::Value;
use crate::program::{Program, StateId, StateKind};

/// The parameters of a visit.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// The state, one of the program's outermost workflow.
    pub state: StateId,
    /// An object of variables in the execution's arena; the members are in the order of the workflow's slots.
    /// `Undefined` for none.
    pub variables: Value,
    /// The whole context object, in the execution's arena. `Map` is added to it where items are selected.
    pub context: Value,
    /// How often each retrier has been used before.
    pub retries: u32,
}

/// The status of a visit.
#[derive(Clone, Debug)]
pub enum Visited {
    /// Still in the state: waiting for a task, a timer, or children.
    Inside,
    /// It left for another state, with this output.
    Left(StateId, Value),
    /// The execution is over.
    Over,
}

impl Execution {
    /// Begins an execution with one visit of one state. Otherwise as [`begin`](Execution::begin).
    pub fn begin_visit(&mut self, program: &Program, start: &Start, input: Value, visit: &Visit) {
        self.begin(program, start, input);
        self.context = visit.context;
        let slots = program.workflows[Id::from_index(0)].slots as usize;
        let mark = self.arena.begin();
        for slot in 0..slots {
            let value = self.arena.entry(visit.variables, slot).map_or(Value::UNDEFINED, |(_, value)| value);
            self.arena.push(value);
        }
        let variables = self.arena.end_array(mark);
        let retriers = program.states[visit.state].recovery.map_or(0, |it| program.recovery[it].retry.len());
        // As in a history: the execution's start is the first event, the state's entry the second.
        self.events = ENTERED;
        for frame in self.frames.iter_mut().filter(|frame| frame.phase == Phase::Enter) {
            frame.state = Some(visit.state);
            frame.phase = Phase::Again;
            frame.variables = variables;
            frame.entered_event = ENTERED;
            frame.last_event = ENTERED;
            frame.entered_ms = start.now_ms;
            frame.retries = visit.retries;
            frame.attempts.clear();
            frame.attempts.resize(retriers, visit.retries);
        }
    }

    /// The status of the visit.
    pub fn visited(&self) -> Visited {
        let top = self.frames.iter().find(|frame| frame.phase != Phase::Free && frame.parent.is_none());
        match top {
            _ if self.outcome.is_some() => Visited::Over,
            Some(frame) if frame.phase == Phase::Enter => {
                frame.state.map_or(Visited::Over, |state| Visited::Left(state, frame.input))
            }
            _ => Visited::Inside,
        }
    }

    /// The value of the variable in `slot`, in the scope of the machine's own workflow.
    pub fn variable(&self, slot: usize) -> Value {
        let top = self.frames.iter().find(|frame| frame.parent.is_none());
        top.and_then(|frame| self.arena.item(frame.variables, slot)).unwrap_or(Value::UNDEFINED)
    }
}

/// The event of the state's entry.
const ENTERED: u64 = 2;

/// Ends a Parallel or Map state whose children have been begun, but not run, with a given result. The input of each
/// item that was not begun yet is made first, for the listener's sake.
pub fn complete_children(
    program: &Program,
    execution: &mut Execution,
    result: Result<Value, Fault>,
    env: &mut Env<'_>,
) -> Turn {
    let mut run = Run::new(program, execution, env);
    let joining = run.execution.frames.iter().enumerate().find_map(|(n, frame)| match frame.phase {
        Phase::Joining(join) if frame.parent.is_none() => Some((n as u32, join)),
        _ => None,
    });
    if let Some((frame, join)) = joining
        && let Err(stop) = run.complete_children(frame, join, result)
    {
        run.stopped(frame, stop);
    }
    run.turn()
}

impl Run<'_, '_> {
    /// Reports a step to the listener.
    #[inline]
    pub(super) fn step_told(&mut self, step: Step<'_>) {
        if self.event_mask.steps() {
            self.tell_step(step);
        }
    }

    #[cold]
    fn tell_step(&mut self, step: Step<'_>) {
        if let Some(listener) = &mut self.env.listener {
            listener.step(&self.execution.arena, step);
        }
    }

    fn complete_children(
        &mut self,
        frame: u32,
        join: u32,
        result: Result<Value, Fault>,
    ) -> Result<(), StateError> {
        let is_map = matches!(self.state(frame).kind, StateKind::Map(_));
        while is_map
            && self.execution.joins[join as usize].started < self.execution.joins[join as usize].total
        {
            if let Err(stop) = self.next_iterations(frame, join, 1) {
                self.stop_children(join, None);
                return Err(stop);
            }
        }
        self.stop_children(join, None);
        match result {
            Ok(result) => self.leave_with(frame, result),
            Err(fault) => Err(StateError::Failed(fault)),
        }
    }
}
