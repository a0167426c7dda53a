//! `$append $reverse $shuffle $distinct $sort $zip`.

use super::*;
use crate::json::{Kind, Mark, Value, compare_utf16};
use crate::query::jsonata::eval::{EvalError, Failure, mark};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

pub(super) fn append(eval: &mut Eval<'_>, [first, second, ..]: Args, _: Frame) -> Outcome {
    if first.is_undefined() {
        return Ok(second);
    }
    if second.is_undefined() {
        return Ok(first);
    }
    let from = eval.arena.begin();
    eval.push_flat(first)?;
    eval.push_flat(second)?;
    eval.end_array(from, 0)
}

pub(super) fn reverse(eval: &mut Eval<'_>, [array, ..]: Args, _: Frame) -> Outcome {
    if array.is_undefined() || array.len() <= 1 {
        return Ok(array);
    }
    let from = eval.arena.begin();
    eval.push_flat(array)?;
    eval.arena.pushed_mut(from).reverse();
    eval.end_array(from, 0)
}

pub(super) fn shuffle(eval: &mut Eval<'_>, [array, ..]: Args, _: Frame) -> Outcome {
    if array.is_undefined() || array.len() <= 1 {
        return Ok(array);
    }
    let from = eval.arena.begin();
    eval.push_flat(array)?;
    for last in (1..array.len()).rev() {
        let other = ((eval.random)() % (last as u64 + 1)) as usize;
        eval.arena.pushed_mut(from).swap(last, other);
    }
    eval.end_array(from, 0)
}

/// Up to this many items are compared one by one.
const DISTINCT_SEARCHED_MAX: usize = 32;

pub(super) fn distinct(eval: &mut Eval<'_>, [array, ..]: Args, _: Frame) -> Outcome {
    if !array.is_array() || array.len() <= 1 {
        return Ok(array);
    }
    let mut seen = HashSet::new();
    let hashed = array.len() > DISTINCT_SEARCHED_MAX;
    let from = eval.arena.begin();
    for index in 0..array.len() {
        let item = eval.item_of(array, index);
        // An item whose hash is new is new; only others are compared.
        let fresh = hashed && scalar_hash(eval, item).is_some_and(|hash| seen.insert(hash));
        let mut known = false;
        for at in 0..if fresh { 0 } else { eval.arena.pushed(from).len() } {
            eval.work(1)?;
            let kept = eval.arena.pushed(from)[at];
            if eval.equal(kept, item)? {
                known = true;
                break;
            }
        }
        if known {
            continue;
        }
        eval.arena.push(item);
    }
    eval.end_array(from, array.marks() & mark::SEQUENCE)
}

fn scalar_hash(eval: &Eval<'_>, value: Value) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    match value.kind() {
        Kind::String => eval.arena.str(value).hash(&mut hasher),
        _ => {
            let float = eval.arena.as_f64(value)?;
            (if float == 0.0 { 0 } else { float.to_bits() }).hash(&mut hasher);
        }
    }
    Some(hasher.finish())
}

pub(super) fn sort(eval: &mut Eval<'_>, [array, comparator, ..]: Args, frame: Frame) -> Outcome {
    if array.is_undefined() || array.len() <= 1 {
        return Ok(array);
    }
    if comparator.is_undefined() {
        let items = eval.arena.items(array);
        let numbers = items.iter().all(|item| item.is_number());
        if !numbers && !items.iter().all(|item| item.is_string()) {
            let message = "The single argument form of the sort function can only be applied to an array of strings \
                           or an array of numbers.  Use the second argument to specify a comparison function";
            return Err(Failure::new(EvalError::new("D3070", message.to_owned())));
        }
    }
    let mut order = eval.order(array.len());
    eval.merge_sort(&mut order, &mut |eval, a, b| {
        let (a, b) = (eval.item_of(array, a as usize), eval.item_of(array, b as usize));
        if !comparator.is_undefined() {
            let verdict = eval.call_with(comparator, 2, &[a, b], frame)?;
            return eval.truth(verdict);
        }
        Ok(match (eval.arena.as_f64(a), eval.arena.as_f64(b)) {
            (Some(a), Some(b)) => a > b,
            _ => compare_utf16(eval.arena.str(a), eval.arena.str(b)).is_gt(),
        })
    })?;
    let from = eval.arena.begin();
    for &index in &order {
        let item = eval.item_of(array, index as usize);
        eval.arena.push(item);
    }
    eval.give_back(order);
    eval.end_array(from, 0)
}

pub(super) fn zip(eval: &mut Eval<'_>, _: Args, _: Frame) -> Outcome {
    // Reached through `zip_all`, which sees all arguments.
    let from = eval.arena.begin();
    eval.end_array(from, 0)
}

/// `$zip` over all arguments on the stack.
pub(in crate::query::jsonata) fn zip_all(eval: &mut Eval<'_>, arguments: Mark) -> Outcome {
    let count = eval.arena.pushed(arguments).len();
    let length = |value: &Value| {
        if value.is_undefined() {
            0
        } else if value.is_array() {
            value.len()
        } else {
            1
        }
    };
    let shortest = eval.arena.pushed(arguments).iter().map(length).min().unwrap_or(0);
    eval.work(shortest.saturating_mul(count))?;
    let from = eval.arena.begin();
    for row in 0..shortest {
        let items = eval.arena.begin();
        for column in 0..count {
            let array = eval.arena.pushed(arguments)[column];
            let item = eval.item_of(array, row);
            eval.arena.push(item);
        }
        let tuple = eval.end_array(items, 0)?;
        eval.arena.push(tuple);
    }
    eval.end_array(from, 0)
}
