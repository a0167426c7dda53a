//! `$match $contains $replace $split` with texts, regular expressions, and functions that match like these.

use crate::json::Value;
use crate::query::jsonata::eval::{Args, Eval, EvalError, Failure, Frame, Outcome, empty_match, mark};

/// A match.
#[derive(Clone, Copy)]
struct Found {
    /// The matched text.
    text: Value,
    /// Byte offsets in the searched text.
    start: usize,
    end: usize,
    groups: Value,
    /// The function that finds the next match; `Undefined` for regular expressions, which continue from `end`.
    next: Value,
    object: Value,
}

fn fail<T>(code: &'static str, message: &str) -> Outcome<T> {
    Err(Failure::new(EvalError::new(code, message.to_owned())))
}

/// The first match of a matcher.
fn first(eval: &mut Eval<'_>, matcher: Value, text: Value, frame: Frame) -> Outcome<Option<Found>> {
    if eval.regex_of(matcher).is_some() {
        return regex_match(eval, matcher, text, 0);
    }
    let object = eval.call_with(matcher, 1, &[text], frame)?;
    matched(eval, object, text)
}

/// The match after `found`.
fn next(
    eval: &mut Eval<'_>,
    matcher: Value,
    text: Value,
    found: &Found,
    frame: Frame,
) -> Outcome<Option<Found>> {
    if eval.regex_of(matcher).is_none() {
        let object = eval.call_with(found.next, 1, &[Value::UNDEFINED], frame)?;
        return matched(eval, object, text);
    }
    if found.end >= text.len() {
        return Ok(None);
    }
    let next = regex_match(eval, matcher, text, found.end)?;
    match next {
        Some(next) if next.start == next.end => Err(empty_match()),
        next => Ok(next),
    }
}

fn regex_match(eval: &mut Eval<'_>, matcher: Value, text: Value, at: usize) -> Outcome<Option<Found>> {
    let Some(regex) = eval.regex_of(matcher) else { return Ok(None) };
    let Some(spans) = eval.search(regex, eval.arena.str(text), at)? else { return Ok(None) };
    let (start, end) = spans.first().copied().flatten().expect("the whole match is its first group");
    let from = eval.arena.begin();
    for span in &spans[1..] {
        let group = span.map_or(Value::UNDEFINED, |(start, end)| eval.arena.substring(text, start, end));
        eval.odd |= group.is_undefined();
        eval.arena.push(group);
    }
    let groups = eval.end_array(from, 0)?;
    eval.charge((end - start) as u64)?;
    let matched = eval.arena.substring(text, start, end);
    Ok(Some(Found { text: matched, start, end, groups, next: Value::UNDEFINED, object: Value::UNDEFINED }))
}

/// A match made by a function.
fn matched(eval: &mut Eval<'_>, object: Value, text: Value) -> Outcome<Option<Found>> {
    if object.is_undefined() {
        return Ok(None);
    }
    let member = |name: &str| eval.arena.get_str(object, name).unwrap_or(Value::UNDEFINED);
    let (start, end, groups, next) = (member("start"), member("end"), member("groups"), member("next"));
    if !(start.is_number() || groups.is_array() || eval.is_function(next)) {
        return fail(
            "T1010",
            "The matcher function argument passed to function \"\u{0}\" does not return the correct object structure",
        );
    }
    let source = eval.arena.str(text);
    let place = |value| {
        let place = eval.byte_of_utf16(source, eval.arena.as_f64(value).unwrap_or(0.0))?;
        Ok(place.unwrap_or(source.len()))
    };
    let (start, end) = (place(start)?, place(end)?);
    Ok(Some(Found { text: member("match"), start, end: end.max(start), groups, next, object }))
}

/// A limit argument: `None` when absent.
fn limit(eval: &Eval<'_>, value: Value, code: &'static str, function: &str) -> Outcome<Option<f64>> {
    match eval.arena.as_f64(value) {
        Some(limit) if limit < 0.0 => fail(code, &format!("{function} must evaluate to a positive number")),
        limit => Ok(limit),
    }
}

fn within(limit: Option<f64>, count: u32) -> bool {
    limit.is_none_or(|limit| f64::from(count) < limit)
}

pub(super) fn matches(eval: &mut Eval<'_>, [text, matcher, max, _]: Args, frame: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let limit = limit(eval, max, "D3040", "Third argument of match function")?;
    let from = eval.arena.begin();
    // Code units before byte `counted`.
    let (mut count, mut index, mut counted) = (0, 0, 0);
    let mut found = if within(limit, 0) { first(eval, matcher, text, frame)? } else { None };
    while let Some(this) = found.filter(|_| within(limit, count)) {
        let object = eval.arena.begin();
        eval.push_member("match", this.text)?;
        index += eval.utf16_len(&eval.arena.str(text)[counted..this.start.max(counted)])?;
        counted = counted.max(this.start);
        eval.push_member("index", Value::int(index as i64))?;
        eval.push_member("groups", this.groups)?;
        let object = eval.end_object(object)?;
        eval.arena.push(object);
        count += 1;
        found = next(eval, matcher, text, &this, frame)?;
    }
    eval.end_array(from, mark::SEQUENCE)
}

pub(super) fn contains(eval: &mut Eval<'_>, [text, token, ..]: Args, frame: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    if let Some(token) = eval.arena.as_str(token) {
        return Ok(Value::bool(eval.find(eval.arena.str(text), token)?.is_some()));
    }
    if token.is_undefined() {
        return Ok(Value::FALSE);
    }
    Ok(Value::bool(first(eval, token, text, frame)?.is_some()))
}

pub(super) fn split(eval: &mut Eval<'_>, [text, separator, max, _]: Args, frame: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let limit = limit(eval, max, "D3020", "Third argument of split function")?;
    let from = eval.arena.begin();
    if limit == Some(0.0) {
        return eval.end_array(from, 0);
    }
    if separator.is_string() || separator.is_undefined() {
        split_by_text(eval, text, separator, limit)?;
        return eval.end_array(from, 0);
    }
    let (mut start, mut count) = (0, 0);
    let mut found = first(eval, separator, text, frame)?;
    while let Some(this) = found.filter(|_| within(limit, count)) {
        let piece = eval.part(text, start, this.start.max(start))?;
        eval.arena.push(piece);
        eval.check_bytes()?;
        start = this.end;
        count += 1;
        found = next(eval, separator, text, &this, frame)?;
    }
    if within(limit, count) {
        let piece = eval.part(text, start, text.len())?;
        eval.arena.push(piece);
    }
    eval.end_array(from, 0)
}

fn split_by_text(eval: &mut Eval<'_>, text: Value, separator: Value, limit: Option<f64>) -> Outcome<()> {
    // A limit is an integer.
    let limit = limit.map_or(usize::MAX, |limit| limit as usize);
    let (mut start, mut pieces) = (0, 0);
    let whole = separator.is_undefined();
    let by_units = !whole && separator.is_empty();
    while pieces < limit {
        eval.check_items(pieces)?;
        let rest = &eval.arena.str(text)[start..];
        // Such a character has two units in Java and JavaScript; half of one is not text here.
        if by_units && let Some(wide) = rest.chars().next().filter(|char| char.len_utf16() == 2) {
            start += wide.len_utf8();
            eval.work(2)?;
            for _ in 0..(limit - pieces).min(2) {
                let half = eval.string("\u{FFFD}")?;
                eval.arena.push(half);
                pieces += 1;
            }
            continue;
        }
        let separator = eval.arena.str(separator);
        let end = match separator.is_empty() {
            _ if whole => None,
            true if rest.is_empty() => break,
            true => rest.chars().next().map(|c| (c.len_utf8(), 0)),
            false => eval.find(rest, separator)?.map(|at| (at, separator.len())),
        };
        let (length, skip) = end.unwrap_or((rest.len(), 0));
        let piece = eval.part(text, start, start + length)?;
        eval.work(2)?;
        eval.arena.push(piece);
        pieces += 1;
        start += length + skip;
        if end.is_none() {
            break;
        }
    }
    Ok(())
}

pub(super) fn replace(eval: &mut Eval<'_>, [text, pattern, replacement, max]: Args, frame: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    if pattern.is_string() && pattern.is_empty() {
        return fail("D3010", "Second argument of replace function cannot be an empty string");
    }
    let limit = limit(eval, max, "D3011", "Fourth argument of replace function")?;
    if pattern.is_undefined() || !within(limit, 0) {
        return Ok(text);
    }
    let mut out = std::mem::take(&mut eval.scratch.text2);
    out.clear();
    out.reserve(text.len());
    let done = if pattern.is_string() {
        replace_text(eval, (text, pattern, replacement), limit, &mut out)
    } else {
        replace_matches(eval, (text, pattern, replacement), limit, frame, &mut out)
    };
    let value = done.and_then(|()| eval.string(&out));
    eval.scratch.text2 = out;
    value
}

fn replace_text(
    eval: &mut Eval<'_>,
    (text, pattern, replacement): (Value, Value, Value),
    limit: Option<f64>,
    out: &mut String,
) -> Outcome<()> {
    let (mut start, mut count) = (0, 0);
    while within(limit, count) {
        let source = eval.arena.str(text);
        let Some(at) = eval.find(&source[start..], eval.arena.str(pattern))? else { break };
        if !replacement.is_string() {
            return not_text();
        }
        eval.charge((at + replacement.len()) as u64 / 2)?;
        out.push_str(&source[start..start + at]);
        out.push_str(eval.arena.str(replacement));
        start += at + pattern.len();
        count += 1;
        eval.work(1)?;
        eval.check_text(out)?;
    }
    out.push_str(&eval.arena.str(text)[start..]);
    Ok(())
}

fn not_text<T>() -> Outcome<T> {
    fail("D3012", "Attempted to replace a matched string with a non-string value")
}

fn replace_matches(
    eval: &mut Eval<'_>,
    (text, pattern, replacement): (Value, Value, Value),
    limit: Option<f64>,
    frame: Frame,
    out: &mut String,
) -> Outcome<()> {
    let (mut start, mut count) = (0, 0);
    let mut found = first(eval, pattern, text, frame)?;
    while let Some(this) = found.filter(|_| within(limit, count)) {
        eval.charge((this.start.max(start) - start) as u64 / 2)?;
        out.push_str(&eval.arena.str(text)[start..this.start.max(start)]);
        if replacement.is_string() {
            substitute(eval, replacement, &this, out)?;
        } else {
            let object = match_object(eval, text, &this)?;
            let value = eval.call_with(replacement, 1, &[object], frame)?;
            match eval.arena.as_str(value) {
                Some(value) => {
                    eval.charge(value.len() as u64 / 2)?;
                    out.push_str(value);
                }
                None => return not_text(),
            }
        }
        start = this.start + this.text.len();
        start = start.min(text.len());
        while !eval.arena.str(text).is_char_boundary(start) {
            start += 1;
        }
        count += 1;
        eval.check_text(out)?;
        found = next(eval, pattern, text, &this, frame)?;
    }
    out.push_str(&eval.arena.str(text)[start..]);
    Ok(())
}

/// A match, as passed to replacing functions.
fn match_object(eval: &mut Eval<'_>, text: Value, found: &Found) -> Outcome {
    if !found.object.is_undefined() {
        return Ok(found.object);
    }
    let source = eval.arena.str(text);
    let start = eval.utf16_len(&source[..found.start])?;
    let end = start + eval.utf16_len(&source[found.start..found.end])?;
    let from = eval.arena.begin();
    eval.push_member("match", found.text)?;
    eval.push_member("start", Value::int(start as i64))?;
    eval.push_member("end", Value::int(end as i64))?;
    eval.push_member("groups", found.groups)?;
    eval.end_object(from)
}

/// Appends the replacement with `$0`, `$1` … and `$$` filled in.
fn substitute(eval: &Eval<'_>, replacement: Value, found: &Found, out: &mut String) -> Outcome<()> {
    let mut rest = eval.arena.str(replacement);
    let groups = eval.arena.items(found.groups);
    eval.charge(2 * rest.len() as u64)?;
    let digits_max = if groups.is_empty() { 1 } else { groups.len().ilog10() as usize + 1 };
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            out.push('$');
            rest = behind;
            continue;
        }
        if let Some(behind) = rest.strip_prefix('0') {
            eval.charge(found.text.len() as u64 / 2)?;
            out.push_str(eval.arena.str(found.text));
            eval.check_text(out)?;
            rest = behind;
            continue;
        }
        let digits = rest.bytes().take(digits_max).take_while(u8::is_ascii_digit).count();
        let mut number: usize = rest[..digits].parse().unwrap_or(0);
        if digits == 0 {
            out.push('$');
            continue;
        }
        if digits_max > 1 && number > groups.len() {
            number = rest[..digits.min(digits_max - 1)].parse().unwrap_or(0);
        }
        if let Some(group) = number.checked_sub(1).and_then(|index| groups.get(index)) {
            eval.charge(group.len() as u64 / 2)?;
            out.push_str(eval.arena.str(*group));
            eval.check_text(out)?;
        }
        rest = &rest[number.to_string().len().min(digits)..];
    }
    out.push_str(rest);
    Ok(())
}
