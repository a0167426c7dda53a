//! Functions on arrays. AWS cuts the fraction off numbers here, where the documents speak of rounding.

use super::Detail;
use super::eval::{INVALID, Outcome, TOO_LARGE};
use crate::fuel::Fuel;
use crate::json::{Arena, Kind, Number, Value, equal};
use crate::limits;
use crate::query::java;
use std::collections::HashMap;

/// The whole part of a number.
pub(super) fn whole(arena: &Arena, value: Value) -> Result<i64, Detail> {
    match arena.number(value) {
        Some(Number::Int(int)) => Ok(int),
        Some(Number::Float(float)) if float.abs() < 9.2e18 => Ok(float as i64),
        _ => Err(INVALID),
    }
}

/// What an argument prints as is larger than anything a state may hold.
const TOO_LARGE_ARGUMENT: Detail = Detail::Arguments("an argument is too large.");

/// Refuses arguments that are compared by what they print as, where that is more than any state may hold: where parts of a
/// value are the same, it can be thousands of times what the value takes.
fn print_little(arena: &Arena, arguments: &[Value]) -> Result<(), Detail> {
    let is_large = |&argument: &Value| arena.size(argument) > limits::INTRINSIC_ARGUMENT_BYTES_MAX;
    if arguments.iter().any(is_large) { Err(TOO_LARGE_ARGUMENT) } else { Ok(()) }
}

fn array(value: Value) -> Result<Value, Detail> {
    if value.is_array() { Ok(value) } else { Err(INVALID) }
}

/// AWS compares what the values print as: `true` is found among texts that say `true`, and an object is not found where
/// its members stand in another order.
pub(super) fn contains(arena: &Arena, among: Value, wanted: Value, fuel: &Fuel) -> Outcome {
    print_little(arena, &[among, wanted])?;
    let among = array(among)?;
    let mut text = String::new();
    java::write(arena, wanted, &mut text);
    let mut other = String::new();
    for &item in arena.items(among) {
        // What it says is not looked at where the work was cut short.
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

/// Of an empty array AWS gives `null`, whatever the index.
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

/// The end is included where a step hits it. Bounds in the wrong order give an empty array.
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

/// In the order in which a Java `HashSet` made from the array goes over its elements.
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
        // Texts can be made to collide; comparing all of them with each other must not take for ever.
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

/// `equals` of Java: an integer is not equal to a double.
fn same(arena: &Arena, a: Value, b: Value) -> bool {
    (a.kind() == Kind::Int) == (b.kind() == Kind::Int) && equal(arena, a, b)
}
