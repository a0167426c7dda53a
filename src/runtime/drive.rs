//! The interpreter of effects: an execution takes its turns, and their effects are carried out.
//!
//! It is the only one. In-line drivers, shards and tests of a state differ in how time passes and how tasks are done;
//! that is their [`Outside`].
//!
//! After a turn, before its first effect, nothing has happened outside yet: all of it is in [`Effects`], which may be
//! kept and [carried out](carry_out) later.

use crate::engine::{Effect, Env, Event, EventMask, Execution, TaskCall, TimerKind, Token, Turn};
use crate::fault::Fault;
use crate::fuel::Fuel;
use crate::json::{Compactor, Value};
#[cfg(feature = "runtime")]
use crate::program::Program;
use crate::query::jsonata::Scratch;
use crate::task::Answer;

/// The effects of an execution's turns that are still to be carried out, in order.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    list: Vec<Effect>,
    /// How many were carried out.
    done: usize,
}

impl Effects {
    /// Drops what is still to be done.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.done = 0;
    }

    /// Adds an effect.
    #[cfg(feature = "runtime")]
    pub(crate) fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    /// Adds the effects that an execution [waits for](Execution::pending).
    #[cfg(feature = "runtime")]
    pub(crate) fn push_pending(&mut self, execution: &Execution, program: &Program) {
        execution.pending(program, &mut self.list);
    }

    /// Takes out the tasks that are not to be started after all.
    #[cfg(feature = "runtime")]
    pub(crate) fn take_tasks(&mut self, mut is_taken: impl FnMut(&TaskCall) -> bool) -> Vec<Token> {
        let mut taken = Vec::new();
        self.list.retain(|effect| match effect {
            Effect::Task(call) if is_taken(call) => {
                taken.push(call.token);
                false
            }
            _ => true,
        });
        taken
    }

    /// Keeps only the cancellations.
    fn keep_cancellations(&mut self) {
        self.list.drain(..std::mem::take(&mut self.done));
        self.list.retain(|effect| matches!(effect, Effect::Cancel(_)));
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn next(&mut self) -> Option<Effect> {
        let effect = self.list.get(self.done).copied();
        match effect {
            Some(_) => self.done += 1,
            None => self.clear(),
        }
        effect
    }
}

/// What turns need beside their execution; reused.
#[derive(Default)]
pub(crate) struct TurnScratch {
    pub(crate) effects: Effects,
    compactor: Compactor,
    scratch: Scratch,
}

impl TurnScratch {
    /// The environment of a turn: without a listener, with randomness from the execution's seed.
    #[inline]
    pub(crate) fn env<'e>(&'e mut self, now_ms: u64, transitions_max: u32, fuel: &'e Fuel<'e>) -> Env<'e> {
        Env {
            now_ms,
            ahead_ms: 0,
            transitions_max,
            is_last_state: false,
            fuel,
            effects: &mut self.effects.list,
            listener: None,
            event_mask: EventMask::NONE,
            event_buffer: None,
            compactor: &mut self.compactor,
            scratch: &mut self.scratch,
            random: None,
            activities: None,
        }
    }
}

/// An execution and its environment.
pub(crate) trait Outside {
    /// What the execution is to do: handle an event, or another kind of work.
    type Work: From<Event>;
    /// Why a turn did not finish.
    type Stopped;

    /// One turn.
    fn advance(&mut self, work: Self::Work) -> Result<Turn, Self::Stopped>;

    /// The effects of its turns.
    fn effects(&mut self) -> &mut Effects;

    /// The execution.
    fn execution(&self) -> &Execution;

    /// Starts a task.
    fn start_task(&mut self, call: &TaskCall) -> Answer;

    /// The task of this token is done after so many milliseconds, with this result.
    fn answer_later(&mut self, token: Token, milliseconds: u64, result: Result<Vec<u8>, Fault>);

    /// Arms a timer.
    fn arm(&mut self, token: Token, kind: TimerKind, at_ms: u64);

    /// Stops the task and the timers of this token.
    fn cancel(&mut self, token: Token);
}

/// Runs an execution until it waits, is over, or has to yield.
#[inline]
pub(crate) fn drive<O: Outside>(outside: &mut O, work: O::Work) -> Result<Turn, O::Stopped> {
    let mut work = work;
    loop {
        let turn = outside.advance(work)?;
        if let Turn::Cut(_) = turn {
            // It only ends.
            outside.effects().keep_cancellations();
        }
        if outside.effects().is_empty() {
            return Ok(turn);
        }
        match carry_out(outside) {
            Some(event) => work = event.into(),
            None => return Ok(turn),
        }
    }
}

/// Arms timers and starts tasks; stops at the first task that is done at once, whose result is the next event.
// Out of line, for turns without effects.
#[inline(never)]
pub(crate) fn carry_out<O: Outside>(outside: &mut O) -> Option<Event> {
    while let Some(effect) = outside.effects().next() {
        match effect {
            Effect::Cancel(token) => outside.cancel(token),
            Effect::Timer { token, kind, at_ms } if wants(outside.execution(), token) => {
                outside.arm(token, kind, at_ms);
            }
            Effect::Task(call) if wants(outside.execution(), call.token) => match outside.start_task(&call) {
                Answer::Now(result) => return Some(task_over(call.token, result)),
                Answer::After(milliseconds, result) => outside.answer_later(call.token, milliseconds, result),
                Answer::Submitted(response, then) => {
                    if let Some((milliseconds, result)) = then {
                        outside.answer_later(call.token, milliseconds, result);
                    }
                    return Some(Event::TaskSubmitted(call.token, response));
                }
                Answer::Never => {}
            },
            // Outdated.
            Effect::Timer { .. } | Effect::Task(_) => {}
        }
    }
    None
}

/// Whether the execution still waits for an effect of this token.
fn wants(execution: &Execution, token: Token) -> bool {
    execution.outcome().is_none() && execution.is_current(token)
}

/// The event of a task's result.
pub(crate) fn task_over(token: Token, result: Result<Value, Fault>) -> Event {
    match result {
        Ok(output) => Event::TaskSucceeded(token, output),
        Err(fault) => Event::TaskFailed(token, fault),
    }
}
