//! `$append $reverse $shuffle $distinct $sort $zip`.

use crate::json::{Mark, Value};
use crate::query::jsonata::eval::{
    Args, Eval, EvalError, Failure, Firsts, Frame, ITEMS_AT_ONCE, Outcome, mark,
};

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
    let count = eval.arena.pushed(from).len();
    for piece in (0..count / 2).step_by(ITEMS_AT_ONCE) {
        let pushed = eval.arena.pushed_mut(from);
        for at in piece..(piece + ITEMS_AT_ONCE).min(count / 2) {
            pushed.swap(at, count - 1 - at);
        }
        eval.work(ITEMS_AT_ONCE.min(count))?;
    }
    eval.end_array(from, 0)
}

/// Items that are swapped between two charges, and the work of one: a random number, and a cache miss.
const SHUFFLED_AT_ONCE: usize = 4 * 1_024;
const SHUFFLED: u64 = 50;

pub(super) fn shuffle(eval: &mut Eval<'_>, [array, ..]: Args, _: Frame) -> Outcome {
    if array.is_undefined() || array.len() <= 1 {
        return Ok(array);
    }
    let from = eval.arena.begin();
    eval.push_flat(array)?;
    let mut left = array.len() - 1;
    while left > 0 {
        let now = left.min(SHUFFLED_AT_ONCE);
        eval.charge(SHUFFLED * now as u64)?;
        for last in (left - now + 1..=left).rev() {
            let other = ((eval.random)() % (last as u64 + 1)) as usize;
            eval.arena.pushed_mut(from).swap(last, other);
        }
        left -= now;
    }
    eval.end_array(from, 0)
}

pub(super) fn distinct(eval: &mut Eval<'_>, [array, ..]: Args, _: Frame) -> Outcome {
    if !array.is_array() || array.len() <= 1 {
        return Ok(array);
    }
    let (mut firsts, mut others) = (Firsts::of(array.len()), Vec::<Value>::new());
    let from = eval.arena.begin();
    for index in 0..array.len() {
        let item = eval.item_of(array, index);
        let known = if item.is_string() || item.is_number() {
            firsts.first(eval, item, index as u32)? as usize != index
        } else {
            is_among(eval, item, &others)?
        };
        if known {
            continue;
        }
        if !(item.is_string() || item.is_number()) {
            others.push(item);
        }
        eval.arena.push(item);
    }
    eval.end_array(from, array.marks() & mark::SEQUENCE)
}

fn is_among(eval: &mut Eval<'_>, item: Value, others: &[Value]) -> Outcome<bool> {
    for &other in others {
        eval.work(1)?;
        if eval.equal(other, item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn sort(eval: &mut Eval<'_>, [array, comparator, ..]: Args, frame: Frame) -> Outcome {
    if array.is_undefined() || array.len() <= 1 {
        return Ok(array);
    }
    if comparator.is_undefined() {
        let (mut numbers, mut strings) = (true, true);
        for piece in eval.arena.items(array).chunks(ITEMS_AT_ONCE) {
            eval.work(piece.len())?;
            numbers &= piece.iter().all(|item| item.is_number());
            strings &= piece.iter().all(|item| item.is_string());
        }
        if !numbers && !strings {
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
            _ => eval.compare_text(a, b)?.is_gt(),
        })
    })?;
    let from = eval.arena.begin();
    eval.make_room(order.len());
    for piece in order.chunks(ITEMS_AT_ONCE) {
        eval.work(2 * piece.len())?;
        for &index in piece {
            let item = eval.item_of(array, index as usize);
            eval.arena.push(item);
        }
    }
    eval.give_back(order);
    eval.end_array(from, 0)
}

pub(super) fn zip(eval: &mut Eval<'_>, _: Args, _: Frame) -> Outcome {
    // Called through `Builtin::zip`, which has all arguments.
    let from = eval.arena.begin();
    eval.end_array(from, 0)
}

/// `$zip` over all arguments on the stack.
pub(super) fn zip_all(eval: &mut Eval<'_>, arguments: Mark) -> Outcome {
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
    let from = eval.arena.begin();
    for row in 0..shortest {
        eval.work(count)?;
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
