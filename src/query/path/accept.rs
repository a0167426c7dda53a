//! The part of the evaluator that tests filters.

use super::PathFaultKind;
use super::compare::{self, Datum};
use super::filter::{Condition, Filter, Operand, Test};
use super::program::Step;
use super::walk::{Done, Walk, write_index};
use super::{direct, members};
use crate::json::Value;

impl<const TRAIL: bool> Walk<'_, TRAIL> {
    pub(super) fn filter(&mut self, at: usize, filter: &Filter, value: Value) -> Done {
        if value.is_object() {
            return if self.accepts(filter, value)? { self.follow(at + 1, value) } else { Ok(()) };
        }
        if !value.is_array() {
            return self.does_not_apply(at, value, "can not be applied to primitives");
        }
        let length = self.trail.len();
        for i in 0..value.len() {
            self.spend(1)?;
            let element = self.arena.item(value, i).unwrap_or(Value::NULL);
            if self.accepts(filter, element)? {
                self.trace(|_, trail| write_index(i as i64, trail));
                self.follow(at + 1, element)?;
                self.trail.truncate(length);
            }
        }
        Ok(())
    }

    pub(super) fn accepts(&mut self, filter: &Filter, element: Value) -> Result<bool, PathFaultKind> {
        if filter.any_of.is_empty() {
            return self.fail(PathFaultKind::Invalid, |_, out| out.push_str("The filter is missing"));
        }
        for all_of in &filter.any_of {
            let mut holds = true;
            for condition in all_of {
                self.spend(1)?;
                holds = match condition.test {
                    Test::Exists => self.exists(&condition.left, element)?,
                    Test::Absent => !self.exists(&condition.left, element)?,
                    _ => self.holds(condition, element)?,
                };
                if !holds {
                    break;
                }
            }
            if holds {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the value exists and is not `null`. A path that begins with `$` is relative to the element here, too.
    fn exists(&mut self, operand: &Operand, element: Value) -> Result<bool, PathFaultKind> {
        let Operand::Path { steps, .. } = operand else {
            return Ok(false);
        };
        match self.operand(steps, element, true) {
            Ok(value) => Ok(!value.is_null()),
            Err(PathFaultKind::NotFound) => Ok(false),
            Err(kind) => Err(kind),
        }
    }

    fn holds(&mut self, condition: &Condition, element: Value) -> Result<bool, PathFaultKind> {
        let mut both = || Ok((self.datum(&condition.left, element)?, self.datum(&condition.right, element)?));
        let (left, right) = match both() {
            Ok(both) => both,
            Err(PathFaultKind::NotFound) => return Ok(false),
            Err(kind) => return Err(kind),
        };
        self.spend(left.work(self.arena) + right.work(self.arena))?;
        compare::holds(self.arena, condition, (left, right), self.fuel).or_else(|kind| {
            self.fail(kind, |_, out| out.push_str("The operands of a filter can not be compared"))
        })
    }

    fn datum<'p>(&mut self, operand: &'p Operand, element: Value) -> Result<Datum<'p>, PathFaultKind> {
        Ok(match operand {
            Operand::Literal(literal) => Datum::Literal(literal),
            Operand::Pattern(pattern) => Datum::Pattern(pattern),
            Operand::Path { steps, from_document } => {
                let start = if *from_document { self.document } else { element };
                Datum::Value(self.operand(steps, start, false)?)
            }
        })
    }

    /// Follows a definite path within a filter.
    fn operand(&mut self, steps: &[Step], start: Value, strict: bool) -> Result<Value, PathFaultKind> {
        self.spend(1 + steps.len() as u32)?;
        let mut looked_at = 0u32;
        let visit = |value: Value| looked_at = looked_at.saturating_add(members(value) as u32);
        let found = direct(self.arena, steps, start, visit);
        self.spend(looked_at / 16)?;
        if !found.is_undefined() {
            return Ok(found);
        }
        let mark = self.arena.begin();
        let mut walk = Walk::<TRAIL>::new(self.arena, steps, start, self.fuel);
        (walk.work, walk.strict, walk.in_filter) = (self.work, strict, true);
        let done = walk.run();
        (self.work, self.message) = (walk.work, walk.message);
        let first = self.arena.pushed(mark).first().copied();
        self.arena.cancel(mark);
        done?;
        match first {
            Some(found) if found.is_undefined() => Ok(Value::NULL),
            Some(found) => Ok(found),
            None => Err(PathFaultKind::NotFound),
        }
    }
}
