//! Joins: the children of a Parallel or Map state, and their results.

use super::effect::Effect;
use super::execution::{Execution, Join, NO_FRAME, Phase};
use super::identity::Token;
use super::record::EventKind;
use super::run::{Run, StateError};
use super::state::too_large;
use crate::fault::{self, Fault};
use crate::json::Value;
use crate::limits;
use crate::program::{StateId, StateKind, WorkflowId};

/// What new children of a join share.
pub(super) struct ChildTemplate {
    join: u32,
    parent: u32,
    start: StateId,
    variables: Value,
}

impl Run<'_, '_> {
    /// Lets the frame wait for children.
    pub(super) fn open_join(&mut self, frame: u32, join: Join) -> Result<u32, StateError> {
        let total = join.total as usize;
        if !self.execution.arena.reserve(total.saturating_mul(size_of::<Value>())) {
            self.check_memory(frame)?;
        }
        let id = self.execution.add_join(Join { frame, youngest: NO_FRAME, ..join });
        self.execution.joins[id as usize].results.resize(total, Value::UNDEFINED);
        self.execution.frames[frame as usize].phase = Phase::Joining(id);
        Ok(id)
    }

    /// What the children of a join that run `workflow` share.
    pub(super) fn child_template(&mut self, join: u32, workflow: WorkflowId) -> ChildTemplate {
        let parent = self.execution.joins[join as usize].frame;
        let workflow = &self.program.workflows[workflow];
        let variables = self.inner_variables(parent, workflow.slots);
        ChildTemplate { join, parent, start: workflow.start, variables }
    }

    /// Adds a child to a join: it begins with `input` after the event `last_event`.
    // Inlined in the caller's loop: the call was a quarter of it.
    #[inline(always)]
    pub(super) fn open_child(
        &mut self,
        child_template: &ChildTemplate,
        index: u32,
        input: Value,
        last_event: u64,
    ) -> Result<(), StateError> {
        if self.execution.frames.len() - self.execution.frames_free.len() >= limits::FRAMES_MAX {
            return Err(self.too_many_children(child_template.parent));
        }
        if self.execution.arena.size(input) > limits::PAYLOAD_BYTES_MAX {
            return Err(too_large(self.program.name(self.state_id(child_template.parent))).into());
        }
        let (child, frame) = self.execution.add_frame();
        frame.state = Some(child_template.start);
        frame.phase = Phase::Enter;
        frame.index = index;
        frame.input = input;
        frame.variables = child_template.variables;
        frame.last_event = last_event;
        let join = &mut self.execution.joins[child_template.join as usize];
        join.started += 1;
        join.running += 1;
        self.execution.link_child(child_template.join, child);
        self.execution.enqueue(child);
        Ok(())
    }

    #[cold]
    fn too_many_children(&self, parent: u32) -> StateError {
        self.runtime(parent, "Too many branches and iterations run at the same time.").into()
    }

    /// The variables of an inner workflow: the outer variables as they are now, and its own, unassigned. Values are
    /// immutable, so sharing is safe.
    fn inner_variables(&mut self, parent: u32, slots: u32) -> Value {
        let outer = self.execution.frames[parent as usize].variables;
        if outer.len() == slots as usize {
            return outer;
        }
        let arena = &mut self.execution.arena;
        let mark = arena.begin();
        for slot in 0..slots as usize {
            let value = arena.item(outer, slot).unwrap_or(Value::UNDEFINED);
            arena.push(value);
        }
        arena.end_array(mark)
    }

    #[inline]
    pub(super) fn child_succeeded(&mut self, child: u32, join: u32, output: Value) {
        let (index, last) = self.close_child(child, join);
        self.execution.joins[join as usize].results[index as usize] = output;
        let parent = self.execution.joins[join as usize].frame;
        let mut chain = last;
        if let StateKind::Map(_) = self.state(parent).kind {
            let state = self.state_id(parent);
            let id = self.emit(last, EventKind::MapIterationSucceeded { state, index });
            // Recorded: the next iteration follows the same event, the end of the Map follows this one.
            let more =
                self.execution.joins[join as usize].started < self.execution.joins[join as usize].total;
            chain = if more { last } else { id };
        }
        self.execution.frames[parent as usize].last_event = chain;
        self.after_child(parent, join);
    }

    /// A child ended: begin the next, or finish the state.
    #[inline]
    fn after_child(&mut self, parent: u32, join: u32) {
        self.compact_if_grown();
        let Join { started, total, running, .. } = self.execution.joins[join as usize];
        if started < total {
            self.begin_another(parent, join);
        } else if running == 0 {
            self.all_done(parent, join);
        }
    }

    #[inline(never)]
    fn begin_another(&mut self, parent: u32, join: u32) {
        if let Err(stop) = self.next_iterations(parent, join, 1) {
            self.children_not_begun(parent, join, stop);
            self.resume(parent);
        }
    }

    /// Another iteration could not be begun: those that run are stopped, with their records, and the state fails.
    pub(super) fn children_not_begun(&mut self, parent: u32, join: u32, stop: StateError) {
        if self.env.fuel.cut().is_some() {
            return;
        }
        let fault = self.tell_evaluation(parent, stop);
        let last = self.execution.frames[parent as usize].last_event;
        let ends_all = fault.error.as_deref() == Some(fault::RUNTIME);
        self.stop_children(join, (!ends_all).then_some(last));
        self.failed(parent, fault);
    }

    #[inline(never)]
    fn all_done(&mut self, parent: u32, join: u32) {
        if let Err(stop) = self.finish_join(parent, join) {
            self.stopped(parent, stop);
        }
        self.resume(parent);
    }

    #[inline]
    fn close_child(&mut self, child: u32, join: u32) -> (u32, u64) {
        let frame = &self.execution.frames[child as usize];
        let closed = (frame.index, frame.last_event);
        self.execution.unlink_child(join, child);
        self.execution.free_frame(child);
        self.execution.joins[join as usize].running -= 1;
        closed
    }

    /// All children are done. The join is freed, also when the state fails.
    fn finish_join(&mut self, parent: u32, join: u32) -> Result<(), StateError> {
        let Execution { arena, joins, .. } = &mut *self.execution;
        let Join { results, failed, .. } = &joins[join as usize];
        let bytes: u64 = results.iter().map(|&result| u64::from(arena.size(result))).sum();
        if bytes > u64::from(limits::PAYLOAD_BYTES_MAX) {
            self.execution.free_join(join);
            return Err(too_large(self.program.name(self.state_id(parent))).into());
        }
        let results = match failed {
            0 => arena.array(results),
            _ => {
                let mark = arena.begin();
                results.iter().filter(|it| !it.is_undefined()).for_each(|&result| arena.push(result));
                arena.end_array(mark)
            }
        };
        self.execution.free_join(join);
        let last = self.execution.frames[parent as usize].last_event;
        let succeeded = match self.state(parent).kind {
            StateKind::Map(_) => self.emit(last, EventKind::MapStateSucceeded),
            _ => self.emit(last, EventKind::ParallelStateSucceeded),
        };
        let left = self.leave_with(parent, results);
        // Measured: only failures of the state itself afterwards follow its success event.
        if let Err(StateError::Failed(_)) = left {
            self.execution.frames[parent as usize].last_event = succeeded;
        }
        left
    }

    pub(super) fn child_failed(&mut self, child: u32, join: u32, fault: Fault) {
        let parent = self.execution.joins[join as usize].frame;
        let state = self.state_id(parent);
        let is_map = matches!(self.state(parent).kind, StateKind::Map(_));
        let failed_task = matches!(self.state(child).kind, StateKind::Task(_)).then(|| self.state_id(child));
        self.execution.keep_stopped();
        let (index, last) = self.close_child(child, join);
        let row = &mut self.execution.joins[join as usize];
        row.failed += 1;
        let tolerated = is_map && row.has_tolerance && row.failed <= row.tolerated;
        if !tolerated {
            self.tell_overdue(join);
        }
        if tolerated {
            self.goes_on();
            self.emit(last, EventKind::MapIterationFailed { state, index });
            self.execution.frames[parent as usize].last_event = last;
            return self.after_child(parent, join);
        }
        let row = &self.execution.joins[join as usize];
        let fault = if row.has_tolerance && row.tolerated > 0 {
            Fault::new(
                fault::EXCEED_TOLERATED_FAILURE_THRESHOLD,
                "The specified tolerated failure threshold was exceeded",
            )
        } else {
            fault
        };
        // Recorded: running children are reported as aborted before the iteration is reported as failed.
        if is_map {
            self.stop_children(join, Some(last));
            self.emit(last, EventKind::MapIterationFailed { state, index });
        }
        if let Some(state) = failed_task {
            self.emit(last, EventKind::StateAborted { state });
        }
        if !is_map {
            self.stop_children(join, Some(last));
        }
        self.execution.frames[parent as usize].last_event = last;
        self.failed(parent, fault);
        self.resume(parent);
    }

    /// Recorded: sibling tasks whose timeout is due at the same moment are reported as timed out before they are
    /// stopped.
    fn tell_overdue(&mut self, join: u32) {
        let now_ms = self.env.now_ms;
        let mut overdue: Vec<u32> = (self.execution.children(join))
            .filter(|(_, frame)| frame.phase == Phase::Task && frame.timeout_at_ms <= now_ms)
            .map(|(child, _)| child)
            .collect();
        overdue.sort_unstable();
        for child in overdue {
            if let StateKind::Task(task) = self.state(child).kind {
                let fault = Fault { error: Some(fault::TIMEOUT.into()), cause: None };
                let kind = super::task::kind(&self.program.tasks[task].resource.kind);
                self.chain(child, EventKind::TaskTimedOut { task, kind, fault: &fault });
            }
        }
    }

    /// Ends all children of a join, and their children; with `last`, their events follow it.
    pub(super) fn stop_children(&mut self, join: u32, last: Option<u64>) {
        let parent = self.execution.joins[join as usize].frame;
        let map = matches!(self.state(parent).kind, StateKind::Map(_)).then(|| self.state_id(parent));
        let mut children: Vec<(u32, u32)> =
            self.execution.children(join).map(|(child, frame)| (frame.index, child)).collect();
        children.sort_unstable();
        for (index, child) in children {
            let phase = self.execution.frames[child as usize].phase;
            if let Phase::Joining(inner) = phase {
                self.stop_children(inner, last);
            }
            if matches!(phase, Phase::Task | Phase::Waiting | Phase::Delayed) {
                let visit = self.execution.frames[child as usize].visit;
                self.env.effects.push(Effect::Cancel(Token { frame: child, visit }));
            }
            if let Some(last) = last {
                if let Some(state) = map {
                    self.emit(last, EventKind::MapIterationAborted { state, index });
                }
                if !matches!(phase, Phase::Enter | Phase::Again) {
                    let state = self.state_id(child);
                    if phase == Phase::Task && matches!(self.state(child).kind, StateKind::Map(_)) {
                        self.emit(last, EventKind::MapRunAborted);
                    }
                    self.emit(last, EventKind::StateAborted { state });
                }
            }
            self.execution.free_frame(child);
        }
        self.execution.free_join(join);
        self.execution.tidy_ready();
    }
}
