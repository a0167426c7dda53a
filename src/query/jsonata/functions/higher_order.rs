//! Functions that take functions: `$map $filter $single $reduce $sift $each`.

use crate::json::Value;
use crate::query::jsonata::eval::{Args, Eval, EvalError, Failure, Frame, Outcome, mark};

pub(super) fn map(eval: &mut Eval<'_>, [array, function, ..]: Args, frame: Frame) -> Outcome {
    if array.is_undefined() {
        return Ok(array);
    }
    let (arity, from, since) = (eval.arity(function), eval.arena.begin(), eval.since());
    for index in 0..array.len() {
        let item = eval.item_of(array, index);
        let value = eval.call_with(function, arity, &[item, Value::int(index as i64), array], frame)?;
        if !value.is_undefined() {
            eval.arena.push(value);
        }
        eval.reclaim(since, &mut [])?;
    }
    eval.end_array(from, mark::SEQUENCE)
}

pub(super) fn filter(eval: &mut Eval<'_>, [array, function, ..]: Args, frame: Frame) -> Outcome {
    if array.is_undefined() {
        return Ok(array);
    }
    let (arity, from, since) = (eval.arity(function), eval.arena.begin(), eval.since());
    for index in 0..array.len() {
        let item = eval.item_of(array, index);
        let verdict = eval.call_with(function, arity, &[item, Value::int(index as i64), array], frame)?;
        if eval.truth(verdict)? {
            eval.arena.push(item);
        }
        eval.reclaim(since, &mut [])?;
    }
    eval.end_array(from, mark::SEQUENCE)
}

pub(super) fn single(eval: &mut Eval<'_>, [array, function, ..]: Args, frame: Frame) -> Outcome {
    if array.is_undefined() {
        return Ok(array);
    }
    let (arity, since) = (eval.arity(function), eval.since());
    let mut found = None;
    for index in 0..array.len() {
        let item = eval.item_of(array, index);
        let passes = if function.is_undefined() {
            true
        } else {
            let arguments = [item, Value::int(index as i64), array];
            let verdict = eval.call_with(function, arity, &arguments, frame)?;
            eval.truth(verdict)?
        };
        if passes && found.replace(item).is_some() {
            let message =
                "The $single() function expected exactly 1 matching result.  Instead it matched more.";
            return Err(Failure::new(EvalError::new("D3138", message.to_owned())));
        }
        eval.reclaim(since, &mut [])?;
    }
    found.ok_or_else(|| {
        let message = "The $single() function expected exactly 1 matching result.  Instead it matched 0.";
        Failure::new(EvalError::new("D3139", message.to_owned()))
    })
}

pub(super) fn reduce(eval: &mut Eval<'_>, [array, function, start, _]: Args, frame: Frame) -> Outcome {
    if array.is_undefined() {
        return Ok(array);
    }
    let arity = eval.arity(function);
    if arity < 2 {
        let message = "The second argument of reduce function must be a function with at least two arguments";
        return Err(Failure::new(EvalError::new("D3050", message.to_owned())));
    }
    let (mut value, first) =
        if start.is_undefined() && !array.is_empty() { (eval.item_of(array, 0), 1) } else { (start, 0) };
    let since = eval.since();
    for index in first..array.len() {
        let item = eval.item_of(array, index);
        value = eval.call_with(function, arity, &[value, item, Value::int(index as i64), array], frame)?;
        eval.reclaim(since, &mut [&mut value])?;
    }
    Ok(value)
}

pub(super) fn sift(eval: &mut Eval<'_>, [object, function, ..]: Args, frame: Frame) -> Outcome {
    let (arity, from, since) = (eval.arity(function), eval.arena.begin(), eval.since());
    for index in 0..object.len() {
        let Some((key, value)) = eval.arena.entry(object, index) else { break };
        let verdict = eval.call_with(function, arity, &[value, key, object], frame)?;
        if eval.truth(verdict)? {
            eval.arena.push(key);
            eval.arena.push(value);
        }
        eval.reclaim(since, &mut [])?;
    }
    match eval.arena.pushed(from) {
        [] => Ok(Value::UNDEFINED),
        _ => eval.end_object(from),
    }
}

pub(super) fn each(eval: &mut Eval<'_>, [object, function, ..]: Args, frame: Frame) -> Outcome {
    let (arity, from, since) = (eval.arity(function), eval.arena.begin(), eval.since());
    for index in 0..object.len() {
        let Some((key, value)) = eval.arena.entry(object, index) else { break };
        let value = eval.call_with(function, arity, &[value, key, object], frame)?;
        if !value.is_undefined() {
            eval.arena.push(value);
        }
        eval.reclaim(since, &mut [])?;
    }
    eval.end_array(from, mark::SEQUENCE)
}
