//! Functions on texts, and on JSON as text.

use super::fault::{Detail, INVALID, Outcome, TOO_LARGE};
use super::program::{Node, template};
use crate::json::{self, Arena, Mark, Value};
use crate::limits;
use crate::query::java;
use base64::Engine;
use sha2::Digest;

const MISMATCH: Detail = Detail::Arguments("number of arguments do not match the occurrences of {}.");

/// `{}` is replaced by the argument: texts unchanged, arrays and objects in Java's format.
pub(super) fn format(arena: &mut Arena, mark: Mark, first: Option<&Node>) -> Outcome {
    let arguments = &arena.pushed(mark)[1..];
    let made;
    let pieces: &[Box<str>] = match first {
        Some(Node::Template(pieces)) => pieces.as_ref().map_err(|&brace| Detail::Brace(brace))?,
        _ => {
            let text = arena.as_str(arena.pushed(mark)[0]).ok_or(INVALID)?;
            let pieces = template(text, false).map_err(Detail::Brace)?;
            made = pieces.into_iter().map(Into::into).collect::<Vec<Box<str>>>();
            &made
        }
    };
    if pieces.len() != arguments.len() + 1 {
        return Err(MISMATCH);
    }
    let bytes: usize = pieces.iter().map(|piece| piece.len()).sum::<usize>()
        + arguments.iter().map(|&argument| arena.size(argument) as usize).sum::<usize>();
    room(arena, bytes)?;
    let mut text = String::with_capacity(bytes);
    for (i, piece) in pieces.iter().enumerate() {
        text.push_str(piece);
        if let Some(&argument) = arena.pushed(mark).get(i + 1) {
            write_argument(arena, argument, &mut text);
        }
    }
    Ok(arena.string(&text))
}

/// A number at the top level is written as in its source, one inside of an array or object in Java's format.
fn write_argument(arena: &Arena, argument: Value, out: &mut String) {
    if argument.is_number() {
        out.push_str(&json::to_string(arena, argument))
    } else {
        java::write(arena, argument, out)
    }
}

fn room(arena: &mut Arena, bytes: usize) -> Result<(), Detail> {
    let fits = bytes <= limits::INTRINSIC_RESULT_BYTES_MAX as usize && arena.reserve(bytes);
    if fits { Ok(()) } else { Err(TOO_LARGE) }
}

/// A blank text is `null`.
pub(super) fn string_to_json(arena: &mut Arena, given: Value) -> Outcome {
    let text = arena.as_str(given).ok_or(INVALID)?.trim().to_owned();
    match text.as_str() {
        "" => Ok(Value::NULL),
        // The reader would keep the sign.
        "-0" => Ok(Value::int(0)),
        _ => {
            room(arena, text.len())?;
            json::read(arena, text.as_bytes()).map_err(|_| Detail::NotJson(given))
        }
    }
}

pub(super) fn json_to_string(arena: &mut Arena, value: Value) -> Outcome {
    room(arena, arena.size(value) as usize)?;
    let text = json::to_string(arena, value);
    Ok(arena.string(&text))
}

/// Only shallow, as documented; AWS takes any third argument except `true` as `false`.
pub(super) fn json_merge(arena: &mut Arena, a: Value, b: Value, deep: Value) -> Outcome {
    if !a.is_object() || !b.is_object() || deep.as_bool() == Some(true) {
        return Err(INVALID);
    }
    let mark = arena.begin();
    for from in [a, b] {
        for i in 0..from.len() {
            if let Some((key, member)) = arena.entry(from, i) {
                arena.push(key);
                arena.push(member);
            }
        }
    }
    let merged = arena.end_object(mark);
    let first = if a.is_empty() { b } else { a };
    Ok(in_order(arena, merged, java::buckets_of_copy(first.len())))
}

/// The object with its members in the order of a Java `HashMap` with initially so many buckets.
fn in_order(arena: &mut Arena, object: Value, buckets: usize) -> Value {
    let buckets = java::grown(buckets, object.len());
    let mut members: Vec<(Value, Value)> = arena.entries(object).collect();
    members.sort_by_cached_key(|&(key, _)| java::bucket(java::hash_text(arena.str(key)), buckets));
    let mark = arena.begin();
    for (key, member) in members {
        arena.push(key);
        arena.push(member);
    }
    arena.end_object(mark)
}

/// Each character of `at` is a delimiter; empty pieces are dropped.
pub(super) fn string_split(arena: &mut Arena, of: Value, at: Value) -> Outcome {
    let (text, delimiters) = (arena.as_str(of).ok_or(INVALID)?, arena.as_str(at).ok_or(INVALID)?);
    // A set, so that the cost does not depend on the number of delimiters.
    let delimiters: std::collections::HashSet<char> = delimiters.chars().collect();
    let mut pieces = Vec::new();
    let mut from = 0;
    for (i, c) in text.char_indices().filter(|(_, c)| delimiters.contains(c)) {
        pieces.push((from, i));
        from = i + c.len_utf8();
    }
    pieces.push((from, text.len()));
    room(arena, pieces.len() * size_of::<Value>() / 4)?;
    let mark = arena.begin();
    for (from, to) in pieces.into_iter().filter(|(from, to)| from < to) {
        let piece = arena.substring(of, from, to);
        arena.push(piece);
    }
    Ok(arena.end_array(mark))
}

/// A text within the length that these functions accept.
fn short(text: &str) -> Result<&str, Detail> {
    let fits = text.len() <= limits::INTRINSIC_TEXT_CHARS_MAX
        || text.encode_utf16().count() <= limits::INTRINSIC_TEXT_CHARS_MAX;
    if fits { Ok(text) } else { Err(INVALID) }
}

pub(super) fn base64_encode(arena: &mut Arena, text: Value) -> Outcome {
    let text = short(arena.as_str(text).ok_or(INVALID)?)?;
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    Ok(arena.string(&encoded))
}

/// Lenient, like AWS: characters of neither Base64 alphabet are skipped, padding may be missing, text after it is
/// ignored, and bytes that are not UTF-8 become U+FFFD.
pub(super) fn base64_decode(arena: &mut Arena, text: Value) -> Outcome {
    let text = short(arena.as_str(text).ok_or(INVALID)?)?;
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut buffer, mut bits) = (0u32, 0);
    for byte in text.bytes().take_while(|&byte| byte != b'=') {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => continue,
        };
        buffer = buffer << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
        }
    }
    Ok(arena.string(&String::from_utf8_lossy(&bytes)))
}

/// A value that is not a text is hashed as its printed text.
pub(super) fn hash(arena: &mut Arena, data: Value, algorithm: Value) -> Outcome {
    let mut printed = String::new();
    let data = match arena.as_str(data) {
        Some(text) => text,
        None => {
            room(arena, arena.size(data) as usize)?;
            java::write(arena, data, &mut printed);
            &printed
        }
    };
    let data = short(data)?.as_bytes();
    let digest = match arena.str(algorithm) {
        "MD5" => md5::Md5::digest(data).to_vec(),
        "SHA-1" => sha1::Sha1::digest(data).to_vec(),
        "SHA-256" => sha2::Sha256::digest(data).to_vec(),
        "SHA-384" => sha2::Sha384::digest(data).to_vec(),
        "SHA-512" => sha2::Sha512::digest(data).to_vec(),
        _ => return Err(INVALID),
    };
    let mut text = String::with_capacity(digest.len() * 2);
    for byte in digest {
        text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
    }
    Ok(arena.string(&text))
}
