//! `$keys $lookup $spread $merge $clone`.

use crate::json::{Key, Value};
use crate::query::jsonata::eval::{Args, Eval, EvalError, Failure, Firsts, Frame, Outcome, mark};

pub(super) fn keys(eval: &mut Eval<'_>, [value, ..]: Args, _: Frame) -> Outcome {
    let from = eval.arena.begin();
    push_keys(eval, value)?;
    if value.is_array() {
        let count = eval.arena.pushed(from).len();
        let (mut firsts, mut kept) = (Firsts::of(count), 0);
        for at in 0..count {
            let key = eval.arena.pushed(from)[at];
            if firsts.first(eval, key, at as u32)? as usize == at {
                eval.arena.pushed_mut(from)[kept] = key;
                kept += 1;
            }
        }
        eval.arena.cancel_after(from, kept);
    }
    eval.end_array(from, mark::SEQUENCE)
}

fn push_keys(eval: &mut Eval<'_>, value: Value) -> Outcome<()> {
    for index in 0..if value.is_container() { value.len() } else { 0 } {
        eval.work(1)?;
        match eval.arena.entry(value, index) {
            Some((key, _)) => eval.arena.push(key),
            None => {
                let item = eval.item_of(value, index);
                eval.nested(|eval| push_keys(eval, item))?;
            }
        }
    }
    Ok(())
}

pub(super) fn lookup(eval: &mut Eval<'_>, [value, key, ..]: Args, _: Frame) -> Outcome {
    if value.is_object() {
        eval.charge(value.len() as u64 + key.len() as u64 / 4)?;
        return Ok(eval.arena.get_value(value, key).filter(|_| key.is_string()).unwrap_or(Value::UNDEFINED));
    }
    if !value.is_array() {
        return Ok(Value::UNDEFINED);
    }
    // A sequence, which is passed on unchanged by a function called back by another one.
    let from = eval.arena.begin();
    if key.is_string() {
        eval.charge(key.len() as u64)?;
        let key = Key::new(eval.arena.str(key));
        eval.push_members(value, &key)?;
    }
    eval.end_array(from, mark::SEQUENCE)
}

pub(super) fn spread(eval: &mut Eval<'_>, [value, ..]: Args, _: Frame) -> Outcome {
    if !value.is_container() {
        return Ok(value);
    }
    let from = eval.arena.begin();
    push_spread(eval, value)?;
    let plain = value.is_array() && !value.is_empty();
    eval.end_array(from, if plain { 0 } else { mark::SEQUENCE })
}

fn push_spread(eval: &mut Eval<'_>, value: Value) -> Outcome<()> {
    if !value.is_container() {
        eval.arena.push(value);
        return Ok(());
    }
    for index in 0..value.len() {
        eval.work(1)?;
        match eval.arena.entry(value, index) {
            Some((key, member)) => {
                let inner = eval.arena.begin();
                eval.arena.push(key);
                eval.arena.push(member);
                let object = eval.end_object(inner)?;
                eval.arena.push(object);
            }
            None => {
                let item = eval.item_of(value, index);
                eval.nested(|eval| push_spread(eval, item))?;
            }
        }
    }
    Ok(())
}

pub(super) fn merge(eval: &mut Eval<'_>, [array, ..]: Args, _: Frame) -> Outcome {
    if array.is_undefined() {
        return Ok(array);
    }
    let from = eval.arena.begin();
    push_merged(eval, array)?;
    eval.end_object(from)
}

fn push_merged(eval: &mut Eval<'_>, array: Value) -> Outcome<()> {
    for index in 0..array.len() {
        let item = eval.item_of(array, index);
        if item.is_array() && eval.aws {
            eval.work(1)?;
            eval.nested(|eval| push_merged(eval, item))?;
            continue;
        }
        if !item.is_object() {
            let message = "Argument 1 of function \"\u{0}\" must be an array of \"objects\"".to_owned();
            return Err(Failure::new(EvalError::new("T0412", message)));
        }
        eval.check_bytes()?;
        for index in 0..item.len() {
            eval.work(2)?;
            if let Some((key, value)) = eval.arena.entry(item, index) {
                eval.arena.push(key);
                eval.arena.push(value);
            }
        }
    }
    Ok(())
}

pub(super) fn clone(eval: &mut Eval<'_>, [value, ..]: Args, _: Frame) -> Outcome {
    eval.deep_copy(value)
}
