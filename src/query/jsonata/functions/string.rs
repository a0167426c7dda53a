//! Text functions: cutting, padding, joining. Lengths and positions count characters (code points).

use std::borrow::Cow;

use crate::json::Value;
use crate::query::jsonata::eval::{Args, Eval, Frame, Outcome, pieces};

pub(super) fn substring(eval: &mut Eval<'_>, [text, start, length, _]: Args, _: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let source = eval.arena.str(text);
    let count = eval.char_count(source)? as f64;
    let Some(mut start) = eval.arena.as_f64(start) else {
        // Without a start, the length is meaningless.
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
    // Positions count whole characters from the beginning, or from the end when negative.
    let place = |at: f64| {
        let at = at.trunc();
        (if at < 0.0 { (count + at).max(0.0) } else { at.min(count) }) as usize
    };
    let (from, to) = (place(start), place(end));
    if from >= to {
        return eval.string("");
    }
    if count as usize == source.len() {
        // Every character is one byte.
        return eval.part(text, from, to);
    }
    let start = eval.byte_of_char(source, from)?;
    let end = start + eval.byte_of_char(&source[start..], to - from)?;
    eval.part(text, start, end)
}

/// The position of the separator in a text.
fn place_of(eval: &Eval<'_>, text: Value, separator: Value) -> Outcome<Option<usize>> {
    if text.is_string() && separator.is_string() {
        eval.find(eval.arena.str(text), eval.arena.str(separator))
    } else {
        Ok(None)
    }
}

pub(super) fn substring_before(eval: &mut Eval<'_>, [text, separator, ..]: Args, _: Frame) -> Outcome {
    match place_of(eval, text, separator)? {
        Some(at) => eval.part(text, 0, at),
        None => Ok(text),
    }
}

pub(super) fn substring_after(eval: &mut Eval<'_>, [text, separator, ..]: Args, _: Frame) -> Outcome {
    match place_of(eval, text, separator)? {
        Some(at) => eval.part(text, at + separator.len(), text.len()),
        None => Ok(text),
    }
}

/// A text transformed piece by piece, with so much work for a byte.
fn mapped(
    eval: &mut Eval<'_>,
    text: Value,
    work: u64,
    mut map: impl FnMut(&Eval<'_>, &str, &mut String) -> Outcome<()>,
) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let mut out = std::mem::take(&mut eval.scratch.text);
    out.clear();
    out.reserve(text.len());
    let mut pieces = pieces(eval.arena.str(text));
    let done = pieces.try_for_each(|piece| {
        eval.charge(work * piece.len() as u64)?;
        map(eval, piece, &mut out)
    });
    drop(pieces);
    let value = done.and_then(|()| eval.string(&out));
    eval.scratch.text = out;
    value
}

pub(super) fn lowercase(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    let whole = text;
    let mut at = 0;
    mapped(eval, text, 4, |eval, piece, out| {
        at += piece.len();
        if piece.is_ascii() {
            out.extend(piece.chars().map(|c| c.to_ascii_lowercase()));
            return Ok(());
        }
        eval.charge(6 * piece.len() as u64)?;
        let mut rest = piece;
        // Of all letters only the sigma depends on its context, perhaps beyond the piece.
        while let Some(sigma) = rest.find('Σ') {
            out.push_str(&rest[..sigma].to_lowercase());
            rest = &rest[sigma + 'Σ'.len_utf8()..];
            out.push(small_sigma(eval, eval.arena.str(whole), at - rest.len())?);
        }
        out.push_str(&rest.to_lowercase());
        Ok(())
    })
}

/// The lower-case letter for the sigma before byte `at`: a different one at the end of a word.
fn small_sigma(eval: &Eval<'_>, text: &str, at: usize) -> Outcome<char> {
    #[derive(PartialEq)]
    enum Class {
        Letter,
        PassedOver,
        Other,
    }
    // The standard library has the character classes, and reveals them by the lower case of an adjacent sigma.
    let class = |c: char| -> Outcome<Class> {
        let is_final = |behind: &[char]| {
            let text: String = ['a', 'Σ'].iter().chain(behind).collect();
            text.to_lowercase().chars().nth(1) == Some('ς')
        };
        eval.charge(200)?;
        Ok(match (is_final(&[c]), is_final(&[c, 'a'])) {
            (true, true) => Class::Other,
            (true, false) => Class::PassedOver,
            _ => Class::Letter,
        })
    };
    let beside = |chars: &mut dyn Iterator<Item = char>| -> Outcome<bool> {
        for c in chars {
            match class(c)? {
                Class::PassedOver => {}
                class => return Ok(class == Class::Letter),
            }
        }
        Ok(false)
    };
    let before = beside(&mut text[..at - 'Σ'.len_utf8()].chars().rev())?;
    Ok(if before && !beside(&mut text[at..].chars())? { 'ς' } else { 'σ' })
}

pub(super) fn uppercase(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    mapped(eval, text, 4, |eval, piece, out| {
        if piece.is_ascii() {
            out.extend(piece.chars().map(|c| c.to_ascii_uppercase()));
            return Ok(());
        }
        eval.charge(6 * piece.len() as u64)?;
        out.push_str(&piece.to_uppercase());
        Ok(())
    })
}

pub(super) fn length(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    match eval.arena.as_str(text) {
        Some(text) => Ok(Value::int(eval.char_count(text)? as i64)),
        None => Ok(Value::UNDEFINED),
    }
}

pub(super) fn trim(eval: &mut Eval<'_>, [text, ..]: Args, _: Frame) -> Outcome {
    // Whether white space was skipped since the last word.
    let mut gap = false;
    mapped(eval, text, 5, |_, piece, out| {
        for (index, word) in piece.split([' ', '\t', '\n', '\r']).enumerate() {
            gap |= index > 0;
            if word.is_empty() {
                continue;
            }
            if gap && !out.is_empty() {
                out.push(' ');
            }
            gap = false;
            out.push_str(word);
        }
        Ok(())
    })
}

pub(super) fn pad(eval: &mut Eval<'_>, [text, width, fill, _]: Args, _: Frame) -> Outcome {
    if text.is_undefined() {
        return Ok(text);
    }
    let width = eval.arena.as_f64(width).unwrap_or(0.0).trunc();
    let missing = width.abs() - eval.char_count(eval.arena.str(text))? as f64;
    if missing <= 0.0 {
        return Ok(text);
    }
    if missing > eval.limits.string_chars as f64 {
        return Err(eval.out_of_memory());
    }
    let mut out = std::mem::take(&mut eval.scratch.text);
    out.clear();
    let padded = push_padded(eval, (text, fill), missing as usize, width > 0.0, &mut out);
    let value = padded.and_then(|()| eval.string(&out));
    eval.scratch.text = out;
    value
}

fn push_padded(
    eval: &Eval<'_>,
    (text, fill): (Value, Value),
    missing: usize,
    behind: bool,
    out: &mut String,
) -> Outcome<()> {
    const AT_ONCE: usize = 16 * 1_024;
    let text = eval.arena.str(text);
    eval.charge(text.len() as u64)?;
    let fill = eval.arena.as_str(fill).filter(|fill| !fill.is_empty()).unwrap_or(" ");
    let fill_chars = eval.char_count(fill)?;
    out.reserve(text.len() + missing.div_ceil(fill_chars) * fill.len());
    if behind {
        out.push_str(text);
    }
    let at_once = (AT_ONCE / fill_chars).max(1);
    let mut left = missing / fill_chars;
    // Copied as a block: one character at a time takes ten times as long.
    let block = if left > 16 { Cow::Owned(fill.repeat(left.min(at_once))) } else { Cow::Borrowed(fill) };
    while left > 0 {
        let now = left.min(block.len() / fill.len());
        eval.charge(4 * (now * fill_chars) as u64)?;
        out.push_str(&block[..now * fill.len()]);
        left -= now;
    }
    let rest = missing % fill_chars;
    eval.charge(4 * rest as u64)?;
    out.extend(fill.chars().take(rest));
    if !behind {
        out.push_str(text);
    }
    Ok(())
}

pub(super) fn join(eval: &mut Eval<'_>, [array, separator, ..]: Args, _: Frame) -> Outcome {
    if array.is_undefined() {
        return Ok(array);
    }
    let mut out = std::mem::take(&mut eval.scratch.text);
    out.clear();
    let joined = push_joined(eval, array, separator, &mut out);
    let value = joined.and_then(|()| eval.string(&out));
    eval.scratch.text = out;
    value
}

fn push_joined(eval: &Eval<'_>, array: Value, separator: Value, out: &mut String) -> Outcome<()> {
    let separator = eval.arena.str(separator);
    for index in 0..array.len() {
        let item = eval.arena.str(eval.item_of(array, index));
        eval.charge(10 + (separator.len() + item.len()) as u64 / 2)?;
        if index > 0 {
            out.push_str(separator);
        }
        out.push_str(item);
        eval.check_text(out)?;
    }
    Ok(())
}
