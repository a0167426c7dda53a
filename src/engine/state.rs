//! Entering and leaving: what all states share.

use super::execution::{Outcome, Phase};
use super::record::{EventKind, EventMask, MetricEvent};
use super::run::{QueryInputs, Run, StateError};
use super::step::Step;
use crate::fault::{self, Fault};
use crate::json::Value;
use crate::limits;
use crate::program::{AssignId, Next, StateId, StateKind, TemplateId};

impl Run<'_, '_> {
    /// One transition: enters the frame's state (or runs it again) and runs it as far as possible.
    pub(super) fn step(&mut self, frame: u32) {
        self.execution.transitions += 1;
        let id = self.state_id(frame);
        let state = &self.program.states[id];
        if self.execution.frames[frame as usize].phase == Phase::Enter {
            let before = self.execution.frames[frame as usize].last_event;
            let entered = self.execution.events + 1;
            self.execution.events = entered;
            if self.event_mask(state.kind) {
                self.tell_entered(frame, entered, before, (id, state.kind));
            }
            let now_ms = self.env.now_ms;
            let here = &mut self.execution.frames[frame as usize];
            here.entered_event = entered;
            here.last_event = entered;
            here.entered_ms = now_ms;
            here.retries = 0;
            here.attempts.clear();
            here.heartbeat_missed = false;
        }
        if state.plain && matches!(state.kind, StateKind::Pass(None) | StateKind::Succeed) {
            return self.pass_through(frame, id, state.kind, state.next);
        }
        if let Err(stop) = self.work(frame, id) {
            self.stopped(frame, stop);
        }
    }

    /// Out of line: the input was just written by the state before, as two words, and reading it back as one value,
    /// needed or not, stalls until both are in the cache, which was a twenty-fifth of W2.
    #[inline(never)]
    fn tell_entered(&mut self, frame: u32, id: u64, previous: u64, (state, kind): (StateId, StateKind)) {
        let input = &self.execution.frames[frame as usize].input;
        self.env.fuel.note(u64::from(self.execution.arena.size(*input)) / 2);
        if let Some(event_buffer) = &mut self.env.event_buffer
            && event_buffer.event_mask.of(kind)
        {
            event_buffer.entered(id, previous, self.execution.shown_ms(self.env.now_ms), state, input);
            self.notes_kept();
        }
        if self.env.event_mask.of(kind) {
            let event_kind =
                EventKind::StateEntered { state, input: self.execution.frames[frame as usize].input };
            self.tell_listener(id, previous, event_kind);
        }
    }

    fn work(&mut self, frame: u32, id: StateId) -> Result<(), StateError> {
        match self.program.states[id].kind {
            StateKind::Pass(result) => self.pass(frame, result),
            StateKind::Choice(choice) => self.choice(frame, id, choice),
            StateKind::Task(task) => self.task(frame, task),
            StateKind::Wait(wait) => self.wait(frame, wait),
            StateKind::Succeed => {
                let effective = self.filtered_input(frame)?;
                self.leave_with(frame, effective)
            }
            StateKind::Fail(fail) => {
                let fault = self.fail_state(frame, fail)?;
                Err(StateError::Failed(fault))
            }
            StateKind::Parallel(parallel) => self.parallel(frame, parallel),
            StateKind::Map(map) => self.map(frame, map),
        }
    }

    /// Leaves a state that does not change its data, which was checked when the state before it made it.
    #[inline]
    pub(super) fn pass_through(&mut self, frame: u32, id: StateId, kind: StateKind, next: Next) {
        let output = self.execution.frames[frame as usize].input;
        self.exited(frame, (id, kind), output, Value::UNDEFINED);
        self.go(frame, output, next);
    }

    /// Counts the event of a state's exit. The record is formed only for a listener: building it costs more than the
    /// rest of leaving.
    #[inline]
    fn exited(&mut self, frame: u32, (state, kind): (StateId, StateKind), output: Value, assigned: Value) {
        if self.event_mask(kind) {
            self.tell_exited(frame, (state, kind), output, assigned);
        }
        self.execution.events += 1;
        self.execution.frames[frame as usize].last_event = self.execution.events;
    }

    #[inline(never)]
    fn tell_exited(
        &mut self,
        frame: u32,
        (state, kind): (StateId, StateKind),
        output: Value,
        assigned: Value,
    ) {
        let (id, previous) = (self.execution.events + 1, self.execution.frames[frame as usize].last_event);
        self.env.fuel.note(u64::from(self.execution.arena.size(output)) / 2);
        if let Some(event_buffer) = &mut self.env.event_buffer
            && event_buffer.event_mask.of(kind)
        {
            event_buffer.exited(
                id,
                previous,
                self.execution.shown_ms(self.env.now_ms),
                state,
                output,
                assigned,
            );
            self.notes_kept();
        }
        if self.env.event_mask.of(kind) {
            let event_kind = EventKind::StateExited { state, output, assigned };
            self.tell_listener(id, previous, event_kind);
            if EventMask::WORK.of(kind) {
                let ms = self.env.now_ms.saturating_sub(self.execution.frames[frame as usize].entered_ms);
                self.metric_event(MetricEvent::Took { state, ms });
            }
        }
    }

    fn pass(&mut self, frame: u32, result: Option<TemplateId>) -> Result<(), StateError> {
        let effective = self.effective_input(frame)?;
        let result = match result {
            Some(literal) => self.template(frame, literal, QueryInputs::of(effective))?,
            None => effective,
        };
        self.leave_with(frame, result)
    }

    /// Leaves with `result`, processed by the state's own fields: ResultSelector, ResultPath, OutputPath, Output,
    /// Assign.
    pub(super) fn leave_with(&mut self, frame: u32, result: Value) -> Result<(), StateError> {
        let state = self.state(frame);
        let (jsonata, next, assign) = (state.jsonata, state.next, state.assign);
        self.step_told(Step::Result(result));
        let (output, query_inputs) =
            if jsonata { self.jsonata_output(frame, result)? } else { self.jsonpath_output(frame, result)? };
        self.leave(frame, output, assign, query_inputs, next)
    }

    /// Leaves with `output`; `assign` is evaluated with `query_inputs`.
    pub(super) fn leave(
        &mut self,
        frame: u32,
        output: Value,
        assign: Option<AssignId>,
        query_inputs: QueryInputs,
        next: Next,
    ) -> Result<(), StateError> {
        if self.execution.arena.size(output) > limits::PAYLOAD_BYTES_MAX {
            let name = self.program.name(self.state_id(frame)).to_owned();
            return Err(too_large(&name).into());
        }
        self.check_memory(frame)?;
        let assigned = match assign {
            Some(assign) => self.assign(frame, assign, query_inputs)?,
            None => Value::UNDEFINED,
        };
        if output.depth() > limits::JSON_DEPTH_MAX {
            return Err(self.runtime(frame, "The state's output is nested too deeply.").into());
        }
        if next == Next::Nowhere {
            let text = "Failed to transition out of the state. The state does not point to a next state.";
            return Err(self.runtime(frame, text).into());
        }
        let state = self.state_id(frame);
        self.exited(frame, (state, self.program.states[state].kind), output, assigned);
        self.go(frame, output, next);
        Ok(())
    }

    /// Moves the frame to its next state.
    #[inline]
    pub(super) fn go(&mut self, frame: u32, output: Value, next: Next) {
        let here = &mut self.execution.frames[frame as usize];
        here.effective = Value::UNDEFINED;
        match next {
            Next::State(state) => {
                here.state = Some(state);
                here.input = output;
                here.phase = Phase::Enter;
                self.compact_if_grown();
            }
            Next::End | Next::Nowhere => self.end(frame, output),
        }
    }

    #[inline(never)]
    fn end(&mut self, frame: u32, output: Value) {
        match self.execution.frames[frame as usize].parent {
            Some(join) => self.child_succeeded(frame, join, output),
            None => self.succeed(frame, output),
        }
    }

    fn succeed(&mut self, frame: u32, output: Value) {
        let last = self.execution.frames[frame as usize].last_event;
        self.emit(last, EventKind::ExecutionSucceeded { output });
        self.execution.frames[frame as usize].phase = Phase::Free;
        self.execution.outcome = Some(Outcome::Succeeded(output));
    }

    fn assign(
        &mut self,
        frame: u32,
        assign: AssignId,
        query_inputs: QueryInputs,
    ) -> Result<Value, StateError> {
        let row = &self.program.assigns[assign];
        let made = self.template(frame, row.template, query_inputs)?;
        if self.execution.arena.size(made) > limits::ASSIGN_BYTES_MAX {
            let name = self.program.name(self.state_id(frame)).to_owned();
            return Err(too_large(&name).into());
        }
        self.charge(8 * u64::from(row.slots_seen))?;
        let old = self.execution.frames[frame as usize].variables;
        let arena = &mut self.execution.arena;
        let mark = arena.begin();
        for slot in 0..row.slots_seen as usize {
            let value = arena.item(old, slot).unwrap_or(Value::UNDEFINED);
            arena.push(value);
        }
        for (i, slot) in row.slots.iter().enumerate() {
            if let Some((_, value)) = arena.entry(made, i) {
                arena.pushed_mut(mark)[slot.0 as usize] = value;
            }
        }
        let bytes: u64 = arena.pushed(mark).iter().map(|&value| u64::from(arena.size(value))).sum();
        self.execution.frames[frame as usize].variables = self.execution.arena.end_array(mark);
        if bytes > limits::VARIABLES_BYTES_MAX {
            return Err(self.runtime(frame, "The variables exceed the maximum total size.").into());
        }
        self.check_memory(frame)?;
        Ok(made)
    }
}

/// `States.DataLimitExceeded`, in AWS's words.
pub(super) fn too_large(what: &str) -> Fault {
    let limit = "returned a result with a size exceeding the maximum number of bytes service limit.";
    Fault::new(fault::DATA_LIMIT_EXCEEDED, format!("The state/task '{what}' {limit}"))
}
