//! Functions that Step Functions adds (developer guide, "JSONata functions provided by Step Functions").

use crate::json::{Kind, Value};
use crate::query::jsonata::eval::{
    Args, Eval, EvalError, Failure, Frame, ITEMS_AT_ONCE, Outcome, TEXT_PIECE,
};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

fn fail(message: &str) -> Outcome {
    Err(Failure::new(EvalError::new("D3137", message.to_owned())))
}

/// `$partition(array, size)`: pieces of `size` items, the last one shorter; without a size one piece.
pub(super) fn partition(eval: &mut Eval<'_>, [array, size, ..]: Args, _: Frame) -> Outcome {
    if array.is_undefined() {
        return Ok(array);
    }
    if !array.is_array() {
        let message = "Argument 1 of function \"\u{0}\" must be an array of undefined".to_owned();
        return Err(Failure::new(EvalError::new("T0412", message)));
    }
    let Some(size) = eval.arena.as_f64(size).map(f64::trunc) else {
        let from = eval.arena.begin();
        eval.arena.push(array);
        return eval.end_array(from, 0);
    };
    if size.is_nan() || size < 0.0 {
        return fail("Second argument must be zero or greater");
    }
    if array.is_empty() || size == 0.0 {
        return Ok(Value::UNDEFINED);
    }
    let size = size.min(array.len() as f64) as usize;
    let from = eval.arena.begin();
    for start in (0..array.len()).step_by(size) {
        eval.work(1)?;
        let inner = eval.arena.begin();
        eval.push_some(array, start, array.len().min(start + size))?;
        let piece = eval.end_array(inner, 0)?;
        eval.arena.push(piece);
    }
    eval.end_array(from, 0)
}

/// `$range(start, end, step)`: with both ends, in integers. A single number is returned unchanged.
pub(super) fn range(eval: &mut Eval<'_>, [start, end, step, _]: Args, _: Frame) -> Outcome {
    let number = |value| eval.arena.as_f64(value).map(f64::trunc).filter(|float| float.is_finite());
    let (Some(start), Some(end), Some(step)) = (number(start), number(end), number(step)) else {
        return Ok(Value::UNDEFINED);
    };
    if step == 0.0 || (end - start) * step < 0.0 {
        return Ok(Value::UNDEFINED);
    }
    let count = ((end - start) / step).floor() + 1.0;
    if count > crate::limits::JSONATA_RANGE_FUNCTION_ITEMS_MAX as f64 {
        return Err(eval.out_of_memory());
    }
    let from = eval.arena.begin();
    eval.make_room(count as usize);
    for index in 0..count as usize {
        if index % ITEMS_AT_ONCE == 0 {
            eval.work(ITEMS_AT_ONCE.min(count as usize - index))?;
        }
        let value = eval.number(start + index as f64 * step);
        eval.arena.push(value);
    }
    eval.check_bytes()?;
    eval.sequence(from)
}

/// `$hash(text, algorithm)` in hexadecimal digits.
pub(super) fn hash(eval: &mut Eval<'_>, [text, algorithm, ..]: Args, _: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let text = eval.arena.str(text);
    let digest = match eval.arena.as_str(algorithm).unwrap_or("undefined") {
        "MD5" => digest::<Md5>(eval, text)?,
        "SHA-1" => digest::<Sha1>(eval, text)?,
        "SHA-256" => digest::<Sha256>(eval, text)?,
        "SHA-384" => digest::<Sha384>(eval, text)?,
        "SHA-512" => digest::<Sha512>(eval, text)?,
        other => {
            let known = "SHA-1, SHA-384, SHA-256, SHA-512, MD5";
            return fail(&format!("Hash algorithm '{other}' must be one of {known}"));
        }
    };
    let mut hex = String::with_capacity(digest.len() * 2);
    for byte in digest {
        for half in [byte >> 4, byte & 15] {
            hex.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
        }
    }
    eval.string(&hex)
}

fn digest<D: Digest>(eval: &Eval<'_>, text: &str) -> Outcome<Vec<u8>> {
    let mut digest = D::new();
    for piece in text.as_bytes().chunks(TEXT_PIECE) {
        eval.charge(6 * piece.len() as u64)?;
        digest.update(piece);
    }
    Ok(digest.finalize().to_vec())
}

/// `$random([seed])`: with a seed, the first `nextDouble()` of Java's `Random(seed)`.
pub(super) fn random(eval: &mut Eval<'_>, args: Args, frame: Frame) -> Outcome {
    let Some(seed) = eval.arena.as_f64(args[0]) else { return super::convert::random(eval, args, frame) };
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = (seed as i64 as u64 ^ MULTIPLIER) & MASK;
    let mut next = |bits: u32| {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        state >> (48 - bits)
    };
    let value = ((next(26) << 27) + next(27)) as f64 / (1u64 << 53) as f64;
    Ok(eval.number(value))
}

/// `$uuid()`: version 4.
pub(super) fn uuid(eval: &mut Eval<'_>, _: Args, _: Frame) -> Outcome {
    let high = (eval.random)() & !0xF000 | 0x4000;
    let low = (eval.random)() & !(0b11 << 62) | 1 << 63;
    let text = format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xFFFF,
        high & 0xFFFF,
        low >> 48,
        low & 0xFFFF_FFFF_FFFF
    );
    eval.string(&text)
}

/// `$parse(text)`: JSON text to a value.
pub(super) fn parse(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let Some((source, members)) = json_text(eval, text)? else { return fail(INVALID_JSON) };
    let Some(value) = eval.read_json(&source)? else { return fail(INVALID_JSON) };
    eval.check_bytes()?;
    let mut kept = 0;
    let value = plain_numbers(eval, value, &mut kept)?;
    // Of members with the same name the reader keeps one.
    if kept == members { Ok(value) } else { fail(INVALID_JSON) }
}

const INVALID_JSON: &str = "Invalid JSON";

/// The text with strings in double quotes instead of single ones, which AWS accepts as well, and the number of members
/// in its objects. `None` if a string does not end.
fn json_text(eval: &Eval<'_>, text: Value) -> Outcome<Option<(String, usize)>> {
    let text = eval.arena.str(text);
    let (mut out, mut members) = (String::with_capacity(text.len()), 0);
    let (mut quote, mut is_escaped) = (None, false);
    for (n, char) in text.chars().enumerate() {
        if n % REQUOTED_CHARS == 0 {
            eval.charge(4 * REQUOTED_CHARS.min(text.len()) as u64)?;
        }
        match (quote, char) {
            (None, '"' | '\'') => {
                quote = Some(char);
                out.push('"');
            }
            (None, char) => {
                members += usize::from(char == ':');
                out.push(char);
            }
            (Some('\''), '\'') if is_escaped => out.push('\''),
            (Some(_), char) if is_escaped => out.extend(['\\', char]),
            (Some(_), '\\') => {
                is_escaped = true;
                continue;
            }
            (Some(open), char) if char == open => {
                quote = None;
                out.push('"');
            }
            (Some(_), '"') => out.push_str("\\\""),
            (Some(_), char) => out.push(char),
        }
        is_escaped = false;
    }
    Ok(quote.is_none().then_some((out, members)))
}

/// Characters of a text that are processed at once.
const REQUOTED_CHARS: usize = 16 << 10;

/// The value with its numbers as after a computation (`1.0` is 1), and the number of its members.
fn plain_numbers(eval: &mut Eval<'_>, value: Value, members: &mut usize) -> Outcome {
    if matches!(value.kind(), Kind::Decimal | Kind::Float) {
        let float = eval.arena.as_f64(value).expect("it is a number");
        return if float.is_finite() { Ok(eval.number(float)) } else { fail(INVALID_JSON) };
    }
    if !value.is_container() {
        return Ok(value);
    }
    let from = eval.arena.begin();
    let mut changed = false;
    for index in 0..value.len() {
        eval.work(1)?;
        let child = match eval.arena.entry(value, index) {
            Some((key, child)) => {
                *members += 1;
                eval.arena.push(key);
                child
            }
            None => eval.item_of(value, index),
        };
        let plain = eval.nested(|eval| plain_numbers(eval, child, members))?;
        changed |= plain.kind() != child.kind() || plain.block() != child.block();
        eval.arena.push(plain);
    }
    if !changed {
        eval.arena.cancel(from);
        return Ok(value);
    }
    if value.is_array() { eval.end_array(from, 0) } else { eval.end_object(from) }
}
