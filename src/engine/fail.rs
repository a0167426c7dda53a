//! Failure: Retry, Catch, and propagation through joins (developer guide, "Handling errors").

use super::effect::{Effect, TimerKind};
use super::execution::Phase;
use super::record::{EventKind, MetricEvent};
use super::run::{QueryInputs, Run, StateError};
use super::step::Step;
use crate::fault::{self, Fault};
use crate::json::Value;
use crate::program::{Catcher, ErrorClass, FailId, Next, Recovery, Retrier, StateKind, Text};

impl Run<'_, '_> {
    /// The error a Fail state ends with.
    pub(super) fn fail_state(&mut self, frame: u32, fail: FailId) -> Result<Fault, StateError> {
        let input = self.filtered_input(frame)?;
        let row = &self.program.fails[fail];
        let error = self.text(frame, &row.error, "ErrorPath", input)?;
        let cause = self.text(frame, &row.cause, "CausePath", input)?;
        Ok(Fault { error: error.map(Into::into), cause })
    }

    fn text(
        &mut self,
        frame: u32,
        text: &Text,
        field: &str,
        input: Value,
    ) -> Result<Option<String>, StateError> {
        let query_inputs = QueryInputs::of(input);
        let value = match text {
            Text::Absent => return Ok(None),
            Text::Literal(text) => return Ok(Some(text.to_string())),
            Text::Path(path) => match self.try_path(frame, *path, query_inputs) {
                Some(value) => value,
                None => {
                    let source = self.program.paths[*path].source();
                    let text = super::run::not_found(&self.execution.arena, input, source, field);
                    return Err(self.runtime(frame, &text).into());
                }
            },
            Text::Call(call) => {
                let called = self.query(frame, query_inputs, |arena, scope, env| {
                    let called = call.eval(arena, scope, env.random, env.fuel);
                    called.map_err(|fault| fault.message(call, arena, scope, env.fuel))
                });
                called.map_err(|text| self.runtime(frame, &text))?
            }
            Text::Expression(template) => {
                let value = self.template(frame, *template, query_inputs)?;
                self.expect_type(frame, *template, value, "string", Value::is_string)?;
                value
            }
        };
        match self.execution.arena.as_str(value) {
            Some(text) => Ok(Some(text.to_owned())),
            None => {
                let text = format!("The {field} field must refer to a string.");
                Err(self.runtime(frame, &text).into())
            }
        }
    }

    /// A state did not finish.
    pub(super) fn stopped(&mut self, frame: u32, stop: StateError) {
        let here = &mut self.execution.frames[frame as usize];
        if here.phase == Phase::Enter {
            // It was entered: a redrive runs it again, without entering it again.
            here.phase = Phase::Again;
        }
        if self.env.fuel.cut().is_some() {
            // The execution is over; this is not a failure of the state.
            return;
        }
        match stop {
            StateError::Cut => unreachable!("the fuel is checked before"),
            StateError::Failed(fault) => self.failed(frame, fault),
            StateError::Evaluation { .. } => {
                let fault = self.tell_evaluation(frame, stop);
                self.failed(frame, fault);
            }
        }
    }

    /// The fault of a stopped state; a failed evaluation is recorded, at the end of the frame's chain.
    pub(super) fn tell_evaluation(&mut self, frame: u32, stop: StateError) -> Fault {
        match stop {
            StateError::Cut => unreachable!("the caller has checked the fuel"),
            StateError::Failed(fault) => fault,
            StateError::Evaluation { fault, location } => {
                let state = self.state_id(frame);
                self.chain(frame, EventKind::EvaluationFailed { state, fault: &fault, location: &location });
                fault
            }
        }
    }

    /// A state failed: retries, catches, or fails its parent.
    pub(super) fn failed(&mut self, frame: u32, fault: Fault) {
        self.step_told(Step::Failed(&fault));
        if fault.error.as_deref() == Some(fault::RUNTIME) {
            let last = self.execution.frames[frame as usize].last_event;
            return self.end_failed(last, fault);
        }
        if let Some(recovery) = self.state(frame).recovery {
            let program = self.program;
            let recovery = &program.recovery[recovery];
            if self.retry(frame, recovery, &fault) {
                self.goes_on();
                return;
            }
            let before = self.execution.frames[frame as usize].last_event;
            self.tell_join_failed(frame);
            // If it is caught, the frame continues at once, and may fail at another place.
            let stopped = self.execution.stopped.take();
            let caught = self.caught(frame, recovery, &fault);
            if !matches!(caught, Ok(true)) {
                self.execution.stopped = stopped;
            }
            match caught {
                Ok(true) => return,
                Ok(false) => {}
                Err(StateError::Cut) => return,
                Err(_) if self.env.fuel.cut().is_some() => return,
                // The catcher's own Output or Assign failed. The previous event, and that the state fails a second
                // time, are measured.
                Err(stop @ StateError::Evaluation { .. }) => {
                    self.execution.frames[frame as usize].last_event = before;
                    let fault = self.tell_evaluation(frame, stop);
                    self.tell_join_failed(frame);
                    return self.fail_up(frame, fault);
                }
                Err(StateError::Failed(fault)) => return self.fail_up(frame, fault),
            }
        } else {
            self.tell_join_failed(frame);
        }
        self.fail_up(frame, fault);
    }

    /// Records that a Map or Parallel failed; other states have no event for it.
    fn tell_join_failed(&mut self, frame: u32) {
        match self.state(frame).kind {
            StateKind::Map(_) => self.chain(frame, EventKind::MapStateFailed),
            StateKind::Parallel(_) => self.chain(frame, EventKind::ParallelStateFailed),
            _ => {}
        }
    }

    fn fail_up(&mut self, frame: u32, fault: Fault) {
        match self.execution.frames[frame as usize].parent {
            Some(join) if fault.error.as_deref() != Some(fault::RUNTIME) => {
                self.child_failed(frame, join, fault)
            }
            _ => {
                let last = self.execution.frames[frame as usize].last_event;
                self.end_failed(last, fault);
            }
        }
    }

    /// Schedules the next attempt, if a retrier allows one. The first that matches decides.
    fn retry(&mut self, frame: u32, recovery: &Recovery, fault: &Fault) -> bool {
        let missed = self.execution.frames[frame as usize].heartbeat_missed;
        let matching = |retrier: &Retrier| matches(&retrier.errors, fault, missed);
        let Some(n) = recovery.retry.iter().position(matching) else { return false };
        let retrier = &recovery.retry[n];
        let here = &mut self.execution.frames[frame as usize];
        here.attempts.resize(recovery.retry.len(), 0);
        if u64::from(here.attempts[n]) >= retrier.attempts_max {
            self.step_told(Step::Retry(n, None));
            return false;
        }
        let delay_ms = self.delay_ms(retrier, frame, n);
        self.step_told(Step::Retry(n, Some(delay_ms)));
        self.execution.visits = self.execution.visits.wrapping_add(1);
        let visit = self.execution.visits;
        let here = &mut self.execution.frames[frame as usize];
        here.attempts[n] += 1;
        here.retries += 1;
        here.visit = visit;
        here.phase = Phase::Delayed;
        let at_ms = self.env.now_ms.saturating_add(delay_ms);
        here.due_at_ms = at_ms;
        let token = self.token(frame);
        self.env.effects.push(Effect::Timer { token, kind: TimerKind::Wake, at_ms });
        self.metric_event(MetricEvent::Retried { state: self.state_id(frame), delay_ms });
        true
    }

    /// `min(IntervalSeconds · BackoffRate^n, MaxDelaySeconds)`; with full jitter, a random delay up to that.
    fn delay_ms(&mut self, retrier: &Retrier, frame: u32, n: usize) -> u64 {
        let attempts = self.execution.frames[frame as usize].attempts[n];
        let backoff = power(retrier.backoff_rate, attempts);
        let mut seconds = retrier.interval_seconds as f64 * backoff;
        if let Some(most) = retrier.delay_seconds_max {
            seconds = seconds.min(most as f64);
        }
        if retrier.full_jitter {
            seconds *= (self.execution.random() >> 11) as f64 / (1u64 << 53) as f64;
        }
        // Saturates; a delay beyond the deadline never ends.
        self.execution.scaled((seconds * 1_000.0).round() as u64)
    }

    /// Goes to the catcher that matches, if there is one.
    fn caught(&mut self, frame: u32, recovery: &Recovery, fault: &Fault) -> Result<bool, StateError> {
        let missed = self.execution.frames[frame as usize].heartbeat_missed;
        let matching = |catcher: &Catcher| matches(&catcher.errors, fault, missed);
        let Some(n) = recovery.catch.iter().position(matching) else { return Ok(false) };
        self.metric_event(MetricEvent::Caught { state: self.state_id(frame) });
        self.step_told(Step::Catch(n));
        let catcher = &recovery.catch[n];
        let error_output = self.error_output(fault);
        let input = self.execution.frames[frame as usize].input;
        let (output, query_inputs) = if self.state(frame).jsonata {
            let query_inputs = QueryInputs { input, error_output, ..QueryInputs::default() };
            match catcher.output {
                Some(output) => (self.template(frame, output, query_inputs)?, query_inputs),
                None => (error_output, query_inputs),
            }
        } else {
            (self.combine(catcher.result_path, input, error_output)?, QueryInputs::of(error_output))
        };
        self.leave(frame, output, catcher.assign, query_inputs, Next::State(catcher.next))?;
        Ok(true)
    }

    /// The Error Output: `{"Error": …, "Cause": …}`. Recorded: without a name and a cause, both are null; of a timeout,
    /// which has no cause, `Cause` is empty.
    fn error_output(&mut self, fault: &Fault) -> Value {
        let says_nothing = fault.error.is_none() && fault.cause.is_none();
        let arena = &mut self.execution.arena;
        let mark = arena.begin();
        for (key, text) in [("Error", fault.error.as_deref()), ("Cause", fault.cause.as_deref())] {
            let key = arena.string(key);
            let text = match text {
                Some(text) => arena.string(text),
                None if says_nothing => Value::NULL,
                None => arena.string(""),
            };
            arena.push(key);
            arena.push(text);
        }
        arena.end_object(mark)
    }
}

/// `base` to an integer power, by squaring: the same bits on every machine, which `powi` does not guarantee.
fn power(mut base: f64, mut exponent: u32) -> f64 {
    let mut power = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            power *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    power
}

/// With `heartbeat_missed`, the timeout was a missing heartbeat.
fn matches(classes: &[ErrorClass], fault: &Fault, heartbeat_missed: bool) -> bool {
    let error = fault.error.as_deref().unwrap_or_default();
    classes.iter().any(|class| match class {
        ErrorClass::All => true,
        ErrorClass::TaskFailed => error != fault::TIMEOUT && error != fault::QUERY_EVALUATION_ERROR,
        ErrorClass::Timeout => error == fault::TIMEOUT || error == fault::HEARTBEAT_TIMEOUT,
        ErrorClass::Named(name) => {
            **name == *error || heartbeat_missed && **name == *fault::HEARTBEAT_TIMEOUT
        }
    })
}
