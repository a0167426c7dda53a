//! Comparisons in filters, with the semantics of Jayway 2.0.0: texts are converted to the type they are compared with,
//! and incomparable values fail the condition, even for `!=`.

use super::PathFaultKind;
use super::decimal::{self, Decimal};
use super::filter::{Condition, Literal, Test};
use crate::fuel::Fuel;
use crate::json::{Arena, Number, Value, compare_utf16};
use crate::query::pattern::Pattern;
use std::cmp::Ordering;

/// An operand with its path evaluated.
#[derive(Clone, Copy)]
pub(super) enum Datum<'p> {
    Value(Value),
    Literal(&'p Literal),
    Pattern(&'p Pattern),
}

impl Datum<'_> {
    fn is_null(&self) -> bool {
        matches!(self, Datum::Value(value) if value.is_null())
    }

    fn is_nullish(&self, arena: &Arena) -> bool {
        self.is_null() || self.text(arena) == Some("null")
    }

    fn text<'a>(&'a self, arena: &'a Arena) -> Option<&'a str> {
        match self {
            Datum::Value(value) => arena.as_str(*value),
            Datum::Literal(literal) => Some(&literal.text),
            Datum::Pattern(_) => None,
        }
    }

    /// The number, unless it is an integer beyond 64 bits: such a one stays Jackson's node in Jayway, which compares as
    /// a container does.
    fn number(&self, arena: &Arena) -> Option<Number> {
        match self {
            Datum::Value(value) if arena.long_integer(*value).is_some() => None,
            Datum::Value(value) => arena.number(*value),
            _ => None,
        }
    }

    fn bool(&self) -> Option<bool> {
        match self {
            Datum::Value(value) => value.as_bool(),
            _ => None,
        }
    }

    /// Work of comparing it, beside the step itself.
    pub(super) fn work(&self, arena: &Arena) -> u32 {
        match self {
            Datum::Value(value) => arena.size(*value) / 8,
            Datum::Literal(literal) => literal.text.len() as u32 / 8,
            Datum::Pattern(_) => 0,
        }
    }
}

/// Whether the condition is true for its left and right operands.
pub(super) fn holds(
    arena: &Arena,
    condition: &Condition,
    (left, right): (Datum, Datum),
    fuel: &Fuel,
) -> Result<bool, PathFaultKind> {
    let test = condition.test;
    if test == Test::Matches {
        return matches(arena, left, right, fuel);
    }
    let equal = condition.is_same_path.then_some(Ordering::Equal);
    let Some(order) = order(arena, right, left)?.or(equal) else {
        return Ok(false);
    };
    Ok(match test {
        Test::Equal => order == Ordering::Equal,
        Test::NotEqual => order != Ordering::Equal,
        // `null` is only comparable with itself.
        _ if left.is_null() != right.is_null() => false,
        Test::Greater => order == Ordering::Less,
        Test::GreaterOrEqual => order != Ordering::Greater,
        Test::Less => order == Ordering::Greater,
        _ => order != Ordering::Less,
    })
}

/// The order of the expected value (the right operand) and the value found; `None` if they are not comparable.
fn order(arena: &Arena, expected: Datum, found: Datum) -> Result<Option<Ordering>, PathFaultKind> {
    match (expected.is_nullish(arena), found.is_nullish(arena)) {
        (true, true) => return Ok(Some(Ordering::Equal)),
        (true, false) => return Ok(Some(Ordering::Less)),
        (false, true) => return Ok(Some(Ordering::Greater)),
        (false, false) => {}
    }
    if let Some(text) = expected.text(arena) {
        if let Some(found) = found.text(arena) {
            return Ok(Some(match expected {
                Datum::Literal(literal) => {
                    compare_utf16(literal.unescaped.as_ref().unwrap_or(&literal.text), found)
                }
                _ if text.contains(r"\'") => compare_utf16(&text.replace(r"\'", "'"), found),
                _ => compare_utf16(text, found),
            }));
        }
        if let Some(found) = found.number(arena) {
            let order = match expected {
                Datum::Literal(literal) => literal.number.as_ref().map(|number| number.order(found)),
                _ => Decimal::parse(text).map(|number| number.order(found)),
            };
            // A text that is not a number is not unequal to a number: it is an error.
            return order.map_or(Err(PathFaultKind::Invalid), |order| Ok(Some(order)));
        }
        return Ok(found.bool().map(|found| text.eq_ignore_ascii_case("true").cmp(&found)));
    }
    if let (Some(expected), Some(found)) = (expected.number(arena), found.number(arena)) {
        return Ok(Some(decimal::order(expected, found)));
    }
    if let (Some(expected), Some(found)) = (expected.bool(), found.bool()) {
        return Ok(Some(expected.cmp(&found)));
    }
    Ok(None)
}

fn matches(arena: &Arena, left: Datum, right: Datum, fuel: &Fuel) -> Result<bool, PathFaultKind> {
    let (pattern, target) = match (left, right) {
        (Datum::Pattern(pattern), target) => (pattern, target),
        (target, Datum::Pattern(pattern)) => (pattern, target),
        (target, _) if target.is_null() && right.is_null() => return Ok(false),
        _ => return Err(PathFaultKind::Invalid),
    };
    let is_match =
        |text: &str| pattern.is_match(text, |work| fuel.charge(work)).map_err(|_| PathFaultKind::Cut);
    match target {
        Datum::Value(value) if value.is_null() => Ok(false),
        Datum::Value(value) if value.is_string() => is_match(arena.str(value)),
        Datum::Value(value) => {
            let mut text = String::new();
            crate::query::java::write(arena, value, &mut text);
            is_match(&text)
        }
        Datum::Literal(literal) => is_match(&literal.text),
        Datum::Pattern(other) => is_match(other.as_str()),
    }
}
