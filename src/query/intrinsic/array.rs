//! Functions on arrays. AWS truncates numbers here, although its documentation says that they are rounded.

use super::fault::{Detail, INVALID, Outcome, TOO_LARGE};
use crate::fuel::Fuel;
use crate::json::{Arena, Kind, Number, Value, equal};
use crate::limits;
use crate::query::java;
use std::collections::HashMap;

/// The integer part of a number.
pub(super) fn whole(arena: &Arena, value: Value) -> Result<i64, Detail> {
    match arena.number(value) {
        Some(Number::Int(int)) => Ok(int),
        Some(Number::Float(float)) if float.abs() < 9.2e18 => Ok(float as i64),
        _ => Err(INVALID),
    }
}

/// An argument's text would be larger than any state's data may be.
const TOO_LARGE_ARGUMENT: Detail = Detail::Arguments("an argument is too large.");

/// Refuses arguments that are compared as text, if that is larger than any state's data may be: with shared parts, the
/// text can be thousands of times larger than the value.
fn print_little(arena: &Arena, arguments: &[Value]) -> Result<(), Detail> {
    let is_large = |&argument: &Value| arena.size(argument) > limits::INTRINSIC_ARGUMENT_BYTES_MAX;
    if arguments.iter().any(is_large) { Err(TOO_LARGE_ARGUMENT) } else { Ok(()) }
}

fn array(value: Value) -> Result<Value, Detail> {
    if value.is_array() { Ok(value) } else { Err(INVALID) }
}

/// AWS compares texts: `true` is equal to the text `true`, and objects with different orders of members differ.
pub(super) fn contains(arena: &Arena, among: Value, wanted: Value, fuel: &Fuel) -> Outcome {
    print_little(arena, &[among, wanted])?;
    let among = array(among)?;
    let mut text = String::new();
    java::write(arena, wanted, &mut text);
    let mut other = String::new();
    for &item in arena.items(among) {
        // The result is ignored when the work was cut.
        fuel.charge(10 + 4 * u64::from(arena.size(item))).map_err(|_| INVALID)?;
        let found = match arena.as_str(item) {
            Some(item) => item == text,
            None => {
                other.clear();
                java::write(arena, item, &mut other);
                other == text
            }
        };
        if found {
            return Ok(Value::TRUE);
        }
    }
    Ok(Value::FALSE)
}

/// Of an empty array AWS returns `null`, for any index.
pub(super) fn get_item(arena: &Arena, of: Value, index: Value) -> Outcome {
    let (of, index) = (array(of)?, whole(arena, index)?);
    if of.is_empty() && index >= 0 {
        return Ok(Value::NULL);
    }
    let item = usize::try_from(index).ok().and_then(|index| arena.item(of, index));
    item.ok_or(INVALID)
}

pub(super) fn length(of: Value) -> Outcome {
    array(of).map(|of| Value::int(of.len() as i64))
}

pub(super) fn partition(arena: &mut Arena, of: Value, size: Value, fuel: &Fuel) -> Outcome {
    let (of, size) = (array(of)?, whole(arena, size)?);
    if size <= 0 {
        return Err(INVALID);
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let outer = arena.begin();
    let mut from = 0;
    while from < of.len() {
        let to = from.saturating_add(size).min(of.len());
        fuel.charge(20 + 8 * (to - from) as u64).map_err(|_| INVALID)?;
        let inner = arena.begin();
        for i in from..to {
            let item = arena.item(of, i).unwrap_or(Value::NULL);
            arena.push(item);
        }
        let chunk = arena.end_array(inner);
        arena.push(chunk);
        from = to;
    }
    Ok(arena.end_array(outer))
}

/// The end is included if a step reaches it. Bounds in the wrong order give an empty array.
pub(super) fn range(arena: &mut Arena, from: Value, to: Value, step: Value) -> Outcome {
    let (from, to, step) = (whole(arena, from)?, whole(arena, to)?, whole(arena, step)?);
    if step == 0 {
        return Err(INVALID);
    }
    let steps = (i128::from(to) - i128::from(from)) / i128::from(step);
    let wrong_way = (to > from) != (step > 0) && to != from;
    let count = if wrong_way { 0 } else { steps + 1 };
    if count > limits::ARRAY_RANGE_ITEMS_MAX as i128 {
        return Err(INVALID);
    }
    let mark = arena.begin();
    for i in 0..count {
        // Between the bounds, so within 64 bits; the product alone may not be.
        arena.push(Value::int((i128::from(from) + i * i128::from(step)) as i64));
    }
    Ok(arena.end_array(mark))
}

/// In the iteration order of a Java `HashSet` made from the array.
pub(super) fn unique(arena: &mut Arena, of: Value, fuel: &Fuel) -> Outcome {
    print_little(arena, &[of])?;
    let of = array(of)?;
    let mut table = 16usize;
    while table * 3 < (of.len() + 1) * 4 {
        table *= 2;
    }
    let mut seen: HashMap<i32, Vec<usize>> = HashMap::new();
    let mut kept: Vec<(usize, usize)> = Vec::new();
    let mut comparisons = 0usize;
    for (i, &item) in arena.items(of).iter().enumerate() {
        let bytes = u64::from(arena.size(item));
        fuel.charge(100 + 4 * bytes).map_err(|_| INVALID)?;
        let hash = java::hash(arena, item);
        let twins = seen.entry(hash).or_default();
        comparisons += twins.len();
        // Texts can be made to collide; the number of comparisons must be bounded.
        if comparisons > limits::ARRAY_UNIQUE_COMPARISONS_MAX {
            return Err(TOO_LARGE);
        }
        fuel.charge((20 + bytes) * twins.len() as u64).map_err(|_| INVALID)?;
        if twins.iter().any(|&twin| same(arena, arena.items(of)[twin], item)) {
            continue;
        }
        twins.push(i);
        let spread = hash as u32 ^ (hash as u32 >> 16);
        kept.push((spread as usize & (table - 1), i));
    }
    kept.sort_by_key(|&(bucket, _)| bucket);
    let mark = arena.begin();
    for (_, i) in kept {
        let item = arena.item(of, i).unwrap_or(Value::NULL);
        arena.push(item);
    }
    Ok(arena.end_array(mark))
}

/// Java's `equals`: an integer is not equal to a double.
fn same(arena: &Arena, a: Value, b: Value) -> bool {
    (a.kind() == Kind::Int) == (b.kind() == Kind::Int) && equal(arena, a, b)
}
