//! Text: cutting, padding, joining. Lengths and places count characters (code points).

use super::*;
use crate::json::Value;

/// The byte offset of character `index`; beyond the end it is the end.
fn byte_of(text: &str, index: usize) -> usize {
    if text.is_ascii() {
        return index.min(text.len());
    }
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

fn char_count(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

pub(super) fn substring(eval: &mut Eval<'_>, [text, start, length, _]: Args, _: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let source = eval.arena.str(text);
    let count = char_count(source) as f64;
    let Some(mut start) = eval.arena.as_f64(start) else {
        // Without a beginning there is no end to count to.
        return if length.is_undefined() { Ok(text) } else { eval.string("") };
    };
    if count + start < 0.0 {
        start = 0.0;
    }
    let length = eval.arena.as_f64(length);
    let end = match length {
        Some(length) if length <= 0.0 => return eval.string(""),
        Some(length) if start >= 0.0 => start + length,
        Some(length) => count + start + length,
        None => count,
    };
    // Places count whole characters from the beginning, or from the end when negative.
    let place = |at: f64| {
        let at = at.trunc();
        (if at < 0.0 { (count + at).max(0.0) } else { at.min(count) }) as usize
    };
    let (from, to) = (place(start), place(end));
    if from >= to {
        return eval.string("");
    }
    let (from, to) = (byte_of(source, from), byte_of(source, to));
    Ok(eval.arena.substring(text, from, to))
}

pub(super) fn substring_before(eval: &mut Eval<'_>, [text, separator, ..]: Args, _: Frame) -> Outcome {
    match eval.arena.str(text).find(eval.arena.str(separator)) {
        Some(at) if text.is_string() && separator.is_string() => Ok(eval.arena.substring(text, 0, at)),
        _ => Ok(text),
    }
}

pub(super) fn substring_after(eval: &mut Eval<'_>, [text, separator, ..]: Args, _: Frame) -> Outcome {
    match eval.arena.str(text).find(eval.arena.str(separator)) {
        Some(at) if text.is_string() && separator.is_string() => {
            Ok(eval.arena.substring(text, at + separator.len(), text.len()))
        }
        _ => Ok(text),
    }
}

/// A text made of a text.
fn mapped(eval: &mut Eval<'_>, text: Value, map: impl FnOnce(&str, &mut String)) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    eval.work(text.len() / 64)?;
    let mut out = std::mem::take(&mut eval.scratch.text);
    out.clear();
    map(eval.arena.str(text), &mut out);
    let value = eval.string(&out);
    eval.scratch.text = out;
    value
}

pub(super) fn lowercase(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    mapped(eval, text, |text, out| match text.is_ascii() {
        true => out.extend(text.chars().map(|c| c.to_ascii_lowercase())),
        false => out.push_str(&text.to_lowercase()),
    })
}

pub(super) fn uppercase(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    mapped(eval, text, |text, out| match text.is_ascii() {
        true => out.extend(text.chars().map(|c| c.to_ascii_uppercase())),
        false => out.push_str(&text.to_uppercase()),
    })
}

pub(super) fn length(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    match eval.arena.as_str(text) {
        Some(text) => Ok(Value::int(char_count(text) as i64)),
        None => Ok(Value::UNDEFINED),
    }
}

pub(super) fn trim(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    mapped(eval, text, |text, out| {
        for word in text.split([' ', '\t', '\n', '\r']).filter(|word| !word.is_empty()) {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(word);
        }
    })
}

pub(super) fn pad(eval: &mut Eval<'_>, [text, width, fill, _]: Args, _: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let width = eval.arena.as_f64(width).unwrap_or(0.0).trunc();
    let missing = width.abs() - char_count(eval.arena.str(text)) as f64;
    if missing <= 0.0 {
        return Ok(text);
    }
    if missing > eval.limits.string_chars as f64 {
        return Err(eval.out_of_memory());
    }
    eval.work(missing as usize / 64)?;
    let mut out = std::mem::take(&mut eval.scratch.text);
    out.clear();
    let fill = eval.arena.as_str(fill).filter(|fill| !fill.is_empty()).unwrap_or(" ");
    let padding = fill.chars().cycle().take(missing as usize);
    if width > 0.0 {
        out.push_str(eval.arena.str(text));
        out.extend(padding);
    } else {
        out.extend(padding);
        out.push_str(eval.arena.str(text));
    }
    let value = eval.string(&out);
    eval.scratch.text = out;
    value
}

pub(super) fn join(eval: &mut Eval<'_>, [array, separator, ..]: Args, _: Frame) -> Outcome {
    if array.is_undefined() {
        return Ok(array);
    }
    eval.work(array.len())?;
    let mut out = std::mem::take(&mut eval.scratch.text);
    out.clear();
    let mut long = Ok(());
    for index in 0..array.len() {
        if index > 0 {
            out.push_str(eval.arena.str(separator));
        }
        out.push_str(eval.arena.str(eval.item_of(array, index)));
        if out.len() > eval.limits.string_chars {
            long = eval.check_text(&out);
            if long.is_err() {
                break;
            }
        }
    }
    let value = long.and_then(|()| eval.string(&out));
    eval.scratch.text = out;
    value
}
