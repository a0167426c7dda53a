//! `$sum $count $max $min $average`.

use crate::json::Value;
use crate::query::jsonata::eval::{Args, Eval, Frame, Outcome};

/// Folds the numbers of an array.
fn fold(eval: &mut Eval<'_>, array: Value, start: f64, step: impl Fn(f64, f64) -> f64) -> Outcome<f64> {
    eval.work(array.len())?;
    let mut total = start;
    for index in 0..array.len() {
        let item = eval.item_of(array, index);
        total = step(total, eval.arena.as_f64(item).unwrap_or(f64::NAN));
    }
    Ok(total)
}

pub(super) fn sum(eval: &mut Eval<'_>, [array, ..]: Args, _: Frame) -> Outcome {
    if array.is_undefined() {
        return Ok(array);
    }
    let total = fold(eval, array, 0.0, |a, b| a + b)?;
    Ok(eval.number(total))
}

pub(super) fn count(_: &mut Eval<'_>, [array, ..]: Args, _: Frame) -> Outcome {
    Ok(Value::int(array.len() as i64))
}

/// Whether there is nothing to aggregate.
fn is_nothing(array: Value) -> bool {
    array.is_undefined() || array.is_empty()
}

pub(super) fn max(eval: &mut Eval<'_>, [array, ..]: Args, _: Frame) -> Outcome {
    if is_nothing(array) {
        return Ok(Value::UNDEFINED);
    }
    let found = fold(eval, array, f64::NEG_INFINITY, f64::max)?;
    Ok(eval.number(found))
}

pub(super) fn min(eval: &mut Eval<'_>, [array, ..]: Args, _: Frame) -> Outcome {
    if is_nothing(array) {
        return Ok(Value::UNDEFINED);
    }
    let found = fold(eval, array, f64::INFINITY, f64::min)?;
    Ok(eval.number(found))
}

pub(super) fn average(eval: &mut Eval<'_>, [array, ..]: Args, _: Frame) -> Outcome {
    if is_nothing(array) {
        return Ok(Value::UNDEFINED);
    }
    let total = fold(eval, array, 0.0, |a, b| a + b)?;
    Ok(eval.number(total / array.len() as f64))
}
