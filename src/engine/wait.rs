//! Wait states (specification, "Wait State").

use super::effect::{Effect, TimerKind};
use super::execution::Phase;
use super::run::{QueryInputs, Run, StateError};
use crate::clock;
use crate::json::{self, Value};
use crate::limits;
use crate::program::{PathId, Seconds, TemplateId, Wait, WaitId};

impl Run<'_, '_> {
    pub(super) fn wait(&mut self, frame: u32, wait: WaitId) -> Result<(), StateError> {
        let effective = self.filtered_input(frame)?;
        let now_ms = self.env.now_ms;
        let seconds = |seconds: u64| now_ms.saturating_add(seconds.saturating_mul(1_000));
        let (mut at_ms, mut wall_at_ms) = (0, None);
        match self.program.waits[wait] {
            Wait::Seconds(Seconds::Literal(literal)) => at_ms = seconds(literal),
            Wait::Seconds(Seconds::Path(path)) => at_ms = seconds(self.seconds_path(frame, path, effective)?),
            Wait::Seconds(Seconds::Expression(template)) => {
                at_ms = seconds(self.expression_seconds(frame, template, "Seconds")?);
            }
            Wait::Timestamp(timestamp_ms) => wall_at_ms = Some(u64::try_from(timestamp_ms).unwrap_or(0)),
            Wait::TimestampPath(path) => wall_at_ms = Some(self.timestamp_path(frame, path, effective)?),
            Wait::TimestampExpression(template) => {
                wall_at_ms = Some(self.timestamp_expression(frame, template)?);
            }
        }
        if let Some(wall_at_ms) = wall_at_ms {
            at_ms = now_ms.saturating_add(wall_at_ms.saturating_sub(self.env.wall_ms()));
        }
        if at_ms.saturating_sub(now_ms) / 1_000 > limits::WAIT_SECONDS_MAX {
            return Err(self.runtime(frame, "Wait state delay is too long.").into());
        }
        let at_ms = now_ms.saturating_add(self.execution.scaled(at_ms.saturating_sub(now_ms)));
        self.execution.visits = self.execution.visits.wrapping_add(1);
        // With scaled time, no wall clock agrees with it.
        let is_scaled = self.execution.time_scale != 1.0;
        let here = &mut self.execution.frames[frame as usize];
        here.visit = self.execution.visits;
        here.phase = Phase::Waiting;
        here.timeout_at_ms = wall_at_ms.filter(|_| !is_scaled).unwrap_or(0);
        here.due_at_ms = at_ms;
        let token = self.token(frame);
        self.env.effects.push(Effect::Timer { token, kind: TimerKind::Wake, at_ms });
        Ok(())
    }

    /// The timer of a Wait fired. The wall clock may have been set back meanwhile.
    pub(super) fn woken(&mut self, frame: u32) {
        let left_ms = self.execution.frames[frame as usize].timeout_at_ms.saturating_sub(self.env.wall_ms());
        if left_ms > limits::CLOCK_SLACK_MS { self.wait_until_wall(frame) } else { self.wait_over(frame) }
    }

    /// The wall clock was set: Waits until a time of day end sooner or later than expected.
    pub(super) fn clock_set(&mut self) {
        for frame in 0..self.execution.frames.len() as u32 {
            let here = &self.execution.frames[frame as usize];
            if here.phase == Phase::Waiting && here.timeout_at_ms > 0 {
                self.wait_until_wall(frame);
            }
        }
    }

    fn wait_until_wall(&mut self, frame: u32) {
        let left_ms = self.execution.frames[frame as usize].timeout_at_ms.saturating_sub(self.env.wall_ms());
        let (token, at_ms) = (self.token(frame), self.env.now_ms.saturating_add(left_ms));
        self.execution.frames[frame as usize].due_at_ms = at_ms;
        self.env.effects.push(Effect::Timer { token, kind: TimerKind::Wake, at_ms });
    }

    pub(super) fn wait_over(&mut self, frame: u32) {
        let effective = self.execution.frames[frame as usize].effective;
        if let Err(stop) = self.leave_with(frame, effective) {
            self.stopped(frame, stop);
        }
        self.resume(frame);
    }

    /// Makes a frame ready after an event.
    pub(super) fn resume(&mut self, frame: u32) {
        if self.execution.frames[frame as usize].phase == Phase::Enter {
            self.execution.enqueue(frame);
        }
    }

    fn seconds_path(&mut self, frame: u32, path: PathId, effective: Value) -> Result<u64, StateError> {
        let source = self.program.paths[path].source();
        let Some(value) = self.try_path(frame, path, QueryInputs::of(effective)) else {
            let text = format!("The SecondsPath parameter does not reference an input value: {source}");
            return Err(self.runtime(frame, &text).into());
        };
        let text = match value.as_int() {
            Some(seconds) => match u64::try_from(seconds) {
                Ok(seconds) => return Ok(seconds),
                Err(_) => {
                    format!("The SecondsPath parameter references a negative value: {source} == {seconds}")
                }
            },
            None => {
                let found = plain(&self.execution.arena, value);
                format!("The SecondsPath parameter cannot be parsed as a long value: {source} == {found}")
            }
        };
        Err(self.runtime(frame, &text).into())
    }

    fn timestamp_path(&mut self, frame: u32, path: PathId, effective: Value) -> Result<u64, StateError> {
        let source = self.program.paths[path].source();
        let Some(value) = self.try_path(frame, path, QueryInputs::of(effective)) else {
            let text = format!("The TimestampPath parameter does not reference an input value: {source}");
            return Err(self.runtime(frame, &text).into());
        };
        match self.execution.arena.as_str(value).and_then(clock::parse_timestamp) {
            Some(nanos) => Ok(u64::try_from(nanos / 1_000_000).unwrap_or(0)),
            None => {
                let found = plain(&self.execution.arena, value);
                let text = format!(
                    "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time \
                     format string: {source} == {found}"
                );
                Err(self.runtime(frame, &text).into())
            }
        }
    }

    fn timestamp_expression(&mut self, frame: u32, template: TemplateId) -> Result<u64, StateError> {
        let input = self.execution.frames[frame as usize].input;
        let value = self.template(frame, template, QueryInputs::of(input))?;
        self.expect_type(frame, template, value, "string", Value::is_string)?;
        match clock::parse_timestamp(self.execution.arena.str(value)) {
            Some(nanos) => Ok(u64::try_from(nanos / 1_000_000).unwrap_or(0)),
            None => {
                let text = format!(
                    "The Timestamp field cannot be parsed as an ISO-8601 extended offset date-time format string: {}",
                    self.execution.arena.str(value)
                );
                Err(self.evaluation(frame, "Timestamp", &text))
            }
        }
    }

    /// A whole number of seconds from an expression.
    pub(super) fn expression_seconds(
        &mut self,
        frame: u32,
        template: TemplateId,
        field: &str,
    ) -> Result<u64, StateError> {
        let input = self.execution.frames[frame as usize].input;
        let value = self.template(frame, template, QueryInputs::of(input))?;
        self.expect_type(frame, template, value, "number", Value::is_number)?;
        let whole = match self.execution.arena.number(value) {
            Some(json::Number::Int(seconds)) => Some(seconds),
            // The cast saturates far outside of the allowed range.
            Some(json::Number::Float(seconds)) if seconds.fract() == 0.0 => Some(seconds as i64),
            _ => None,
        };
        let found = || json::to_string(&self.execution.arena, value);
        let text = match whole {
            Some(seconds @ 0..=limits::EXPRESSION_SECONDS_MAX) => return Ok(seconds as u64),
            Some(_) => {
                let most = limits::EXPRESSION_SECONDS_MAX;
                format!("{field} must be between 0 and {most} but was: {}", found())
            }
            None => format!("The {field} field cannot be parsed as an integer: {}", found()),
        };
        Err(self.evaluation(frame, field, &text))
    }

    /// Checks that an expression's result has the type that the field demands.
    pub(super) fn expect_type(
        &mut self,
        frame: u32,
        template: TemplateId,
        value: Value,
        expected: &str,
        is_expected: impl Fn(Value) -> bool,
    ) -> Result<(), StateError> {
        if is_expected(value) {
            return Ok(());
        }
        let (expression, field) = self.program.templates[template].as_expression().unwrap_or_default();
        let found = json::to_string(&self.execution.arena, value);
        let text = format!(
            "The JSONata expression '{expression}' specified for the field '{field}' returned an unexpected result \
             type. Expected '{expected}', but was '{}' for value: {found}",
            type_name(value)
        );
        Err(self.evaluation(frame, &field, &text))
    }
}

/// Strings without quotes, everything else as JSON.
pub(super) fn plain(arena: &json::Arena, value: Value) -> String {
    match arena.as_str(value) {
        Some(text) => text.to_owned(),
        None => json::to_string(arena, value),
    }
}

/// The name of the value's type in AWS's messages.
pub(super) fn type_name(value: Value) -> &'static str {
    match value.kind() {
        json::Kind::Bool => "boolean",
        json::Kind::Int | json::Kind::Decimal | json::Kind::Float => "number",
        json::Kind::String => "string",
        json::Kind::Array => "array",
        json::Kind::Object => "object",
        _ => "null",
    }
}
