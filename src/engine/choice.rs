//! Choice states (specification, "Choice State").

use std::cmp::Ordering;

use super::run::{QueryInputs, Run, StateError};
use crate::clock;
use crate::json::{self, Arena, Number, Value};
use crate::program::{
    Choice, ChoiceId, ChoiceStep, Comparison, Next, Operand, Operator, Order, PathId, Rule, StateId, Test,
    TestId,
};

impl Run<'_, '_> {
    pub(super) fn choice(&mut self, frame: u32, id: StateId, choice: ChoiceId) -> Result<(), StateError> {
        let (state, choice) = (&self.program.states[id], &self.program.choices[choice]);
        // A listener to steps gets the result of every field, also of absent ones.
        if state.plain && !self.event_mask.steps() {
            let effective = self.execution.frames[frame as usize].input;
            let rule = self.decide(frame, choice, QueryInputs::of(effective))?;
            match rule.map(|rule| &choice.rules[rule as usize]) {
                Some(Rule { next, assign: None, output: None, .. }) => {
                    self.pass_through(frame, id, state.kind, Next::State(*next));
                }
                None if state.next != Next::Nowhere => self.pass_through(frame, id, state.kind, state.next),
                rule => return self.leave_choice(frame, effective, rule),
            }
            return Ok(());
        }
        let effective = self.filtered_input(frame)?;
        let rule = self.decide(frame, choice, QueryInputs::of(effective))?;
        self.leave_choice(frame, effective, rule.map(|rule| &choice.rules[rule as usize]))
    }

    /// The first rule that matches.
    #[inline]
    fn decide(
        &mut self,
        frame: u32,
        choice: &Choice,
        query_inputs: QueryInputs,
    ) -> Result<Option<u32>, StateError> {
        let mut tried = 0;
        let decided = self.try_rules(frame, choice, query_inputs, &mut tried);
        // Charged together: a definition is too small to have so many rules that this would be too late.
        self.charge(tried * COMPARE)?;
        decided
    }

    #[inline]
    fn try_rules(
        &mut self,
        frame: u32,
        choice: &Choice,
        query_inputs: QueryInputs,
        tried: &mut u64,
    ) -> Result<Option<u32>, StateError> {
        // Consecutive rules often test the same variable.
        let mut last: Option<(PathId, Value)> = None;
        for step in &choice.steps {
            *tried += 1;
            match step {
                ChoiceStep::Rule(rule) => {
                    if self.holds(frame, choice, choice.rules[*rule as usize].test, query_inputs)? {
                        return Ok(Some(*rule));
                    }
                }
                ChoiceStep::Compare { comparison, rule } => {
                    let value = match last {
                        Some((path, value)) if path == comparison.variable => value,
                        _ => self.variable(frame, comparison.variable, query_inputs)?,
                    };
                    last = Some((comparison.variable, value));
                    self.charge_long(value)?;
                    if compare_constant(
                        &self.execution.arena,
                        comparison.operator,
                        value,
                        &comparison.operand,
                    ) {
                        return Ok(Some(*rule));
                    }
                }
                ChoiceStep::Equals { variable, rules } => {
                    let value = self.variable(frame, *variable, query_inputs)?;
                    self.charge_long(value)?;
                    if let Some(text) = self.execution.arena.as_str(value)
                        && let Some(rule) = rules.get(text)
                    {
                        return Ok(Some(*rule));
                    }
                }
            }
        }
        Ok(None)
    }

    fn leave_choice(&mut self, frame: u32, effective: Value, rule: Option<&Rule>) -> Result<(), StateError> {
        let Some(rule) = rule else {
            // Output and Assign of the state itself belong to `Default`.
            return self.leave_with(frame, effective);
        };
        let (output, query_inputs) = if self.state(frame).jsonata {
            let query_inputs = QueryInputs::of(self.execution.frames[frame as usize].input);
            match rule.output {
                Some(output) => (self.template(frame, output, query_inputs)?, query_inputs),
                None => (effective, query_inputs),
            }
        } else {
            let filter = self.state(frame).output;
            (self.filter(frame, filter, effective)?, QueryInputs::of(effective))
        };
        self.leave(frame, output, rule.assign, query_inputs, Next::State(rule.next))
    }

    /// Recursion is as deep as the rules were written, which the reader of definitions bounds.
    fn holds(
        &mut self,
        frame: u32,
        choice: &Choice,
        test: TestId,
        query_inputs: QueryInputs,
    ) -> Result<bool, StateError> {
        match &choice.tests[test] {
            Test::And(tests) => {
                for &test in tests {
                    if !self.holds(frame, choice, test, query_inputs)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::Or(tests) => {
                for &test in tests {
                    if self.holds(frame, choice, test, query_inputs)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Test::Not(test) => Ok(!self.holds(frame, choice, *test, query_inputs)?),
            Test::Comparison(comparison) => self.compare(frame, comparison, query_inputs),
            Test::Constant(value) => Ok(*value),
            Test::Condition(template) => {
                let value = self.template(frame, *template, query_inputs)?;
                self.expect_type(frame, *template, value, "boolean", |value| value.as_bool().is_some())?;
                Ok(value.as_bool() == Some(true))
            }
        }
    }

    /// Charges the comparison of a long text.
    #[inline]
    fn charge_long(&self, value: Value) -> Result<(), StateError> {
        if value.is_string() && value.len() > LONG_BYTES {
            self.charge(value.len() as u64 / 2)
        } else {
            Ok(())
        }
    }

    fn variable(&mut self, frame: u32, path: PathId, query_inputs: QueryInputs) -> Result<Value, StateError> {
        match self.try_path(frame, path, query_inputs) {
            Some(value) => Ok(value),
            None => {
                self.cut()?;
                let source = self.program.paths[path].source();
                let text = format!(
                    "Invalid path '{source}': The choice state's condition path references an invalid value."
                );
                Err(self.runtime(frame, &text).into())
            }
        }
    }

    fn compare(
        &mut self,
        frame: u32,
        comparison: &Comparison,
        query_inputs: QueryInputs,
    ) -> Result<bool, StateError> {
        if comparison.operator == Operator::IsPresent {
            let found = self.try_path(frame, comparison.variable, query_inputs);
            let present = found.is_some();
            self.cut()?;
            return Ok(matches!(comparison.operand, Operand::Bool(wanted) if wanted == present));
        }
        let left = self.variable(frame, comparison.variable, query_inputs)?;
        self.charge(compare_work(left))?;
        if let Operand::Path(path) = comparison.operand {
            let right = self.variable(frame, path, query_inputs)?;
            return Ok(compare_values(&self.execution.arena, comparison.operator, left, right));
        }
        Ok(compare_constant(&self.execution.arena, comparison.operator, left, &comparison.operand))
    }
}

/// Work of a comparison beside that of the compared text.
const COMPARE: u64 = 5;
/// Bytes of a text up to which scanning it is negligible work.
const LONG_BYTES: usize = 64;

/// Work of comparing a value.
#[inline]
fn compare_work(value: Value) -> u64 {
    COMPARE + if value.is_string() { value.len() as u64 / 2 } else { 0 }
}

/// Compares with the definition's constant. Values of another type are not an error; they do not match.
fn compare_constant(arena: &Arena, operator: Operator, left: Value, operand: &Operand) -> bool {
    let is = |found: bool| matches!(operand, Operand::Bool(wanted) if *wanted == found);
    match (operator, operand) {
        (Operator::String(order), Operand::String(right)) => {
            arena.as_str(left).is_some_and(|left| compare_text(order, left, right))
        }
        (Operator::Numeric(order), Operand::Number(right)) => {
            arena.number(left).is_some_and(|left| compare_numbers(order, left, *right))
        }
        (Operator::Timestamp(order), Operand::Timestamp(right)) => {
            timestamp(arena, left).is_some_and(|left| order.holds(left.cmp(right)))
        }
        (Operator::BooleanEquals, Operand::Bool(right)) => left.as_bool() == Some(*right),
        (Operator::StringMatches, Operand::Pattern(pattern)) => {
            arena.as_str(left).is_some_and(|left| pattern.matches(left))
        }
        (Operator::IsNull, _) => is(left.is_null()),
        (Operator::IsNumeric, _) => is(left.is_number()),
        (Operator::IsString, _) => is(left.is_string()),
        (Operator::IsBoolean, _) => is(left.as_bool().is_some()),
        (Operator::IsTimestamp, _) => is(timestamp(arena, left).is_some()),
        _ => false,
    }
}

fn compare_values(arena: &Arena, operator: Operator, left: Value, right: Value) -> bool {
    match operator {
        Operator::String(order) => {
            (arena.as_str(left).zip(arena.as_str(right))).is_some_and(|(l, r)| compare_text(order, l, r))
        }
        // Measured: a right path's value that is not a number counts as 0.
        Operator::Numeric(order) => arena
            .number(left)
            .is_some_and(|left| compare_numbers(order, left, arena.number(right).unwrap_or(Number::Int(0)))),
        Operator::Timestamp(order) => {
            (timestamp(arena, left).zip(timestamp(arena, right))).is_some_and(|(l, r)| order.holds(l.cmp(&r)))
        }
        Operator::BooleanEquals => left.as_bool().is_some() && left.as_bool() == right.as_bool(),
        _ => false,
    }
}

fn compare_text(order: Order, left: &str, right: &str) -> bool {
    match order {
        Order::Equal => left == right,
        _ => order.holds(json::compare_utf16(left, right)),
    }
}

fn compare_numbers(order: Order, left: Number, right: Number) -> bool {
    left.compare(right).is_some_and(|found: Ordering| order.holds(found))
}

fn timestamp(arena: &Arena, value: Value) -> Option<i128> {
    arena.as_str(value).and_then(clock::parse_timestamp)
}
