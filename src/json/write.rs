//! Values to compact JSON text.

use super::{Arena, Kind, Value, shortest};

/// Appends the value as compact JSON; [`Kind::Undefined`] and [`Kind::Opaque`] as `null`.
///
/// The number of bytes appended is [`Arena::size`]. Depth is bounded where values are made, so this may recurse.
pub fn write(arena: &Arena, value: Value, out: &mut Vec<u8>) {
    if value.is_container() {
        out.reserve(arena.size(value) as usize);
    }
    write_value(arena, value, out);
}

fn write_value(arena: &Arena, value: Value, out: &mut Vec<u8>) {
    match value.kind() {
        Kind::Undefined | Kind::Null | Kind::Opaque | Kind::Header => out.extend_from_slice(b"null"),
        Kind::Bool => out.extend_from_slice(if value.as_bool() == Some(true) { b"true" } else { b"false" }),
        Kind::Int => match value.bits() {
            // A digit at a time beats a detour over a buffer.
            digit @ 0..=9 => out.push(b'0' + digit as u8),
            two @ 10..=99 => out.extend_from_slice(&[b'0' + (two / 10) as u8, b'0' + (two % 10) as u8]),
            bits => out.extend_from_slice(itoa::Buffer::new().format(bits as i64).as_bytes()),
        },
        Kind::Decimal => {
            let (from, to) = (value.at as usize, (value.at + value.len) as usize);
            copy(arena.text.as_bytes(), from, to, out);
        }
        Kind::Float => shortest(f64::from_bits(value.bits()), out),
        Kind::String => write_known_string(arena, value, out),
        Kind::Array | Kind::Object => write_container(arena, value, out),
    }
}

fn write_container(arena: &Arena, value: Value, out: &mut Vec<u8>) {
    if let Some(span) = arena.span(value) {
        return out.extend_from_slice(span.as_bytes());
    }
    if value.is_array() {
        out.push(b'[');
        for (i, &item) in arena.items(value).iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            write_value(arena, item, out);
        }
        out.push(b']');
    } else {
        out.push(b'{');
        for (i, (key, member)) in arena.entries(value).enumerate() {
            if i > 0 {
                out.push(b',');
            }
            write_known_string(arena, key, out);
            out.push(b':');
            write_value(arena, member, out);
        }
        out.push(b'}');
    }
}

#[inline]
fn write_known_string(arena: &Arena, value: Value, out: &mut Vec<u8>) {
    if value.extra != 0 {
        return write_string(arena.str(value), out);
    }
    // A string that was read lies between its quotes, so they are copied along.
    let (from, to) = (value.at as usize, (value.at + value.len) as usize);
    let text = arena.text.as_bytes();
    if from > 0 && text[from - 1] == b'"' && text.get(to) == Some(&b'"') {
        return copy(text, from - 1, to + 1, out);
    }
    out.push(b'"');
    copy(text, from, to, out);
    out.push(b'"');
}

/// Appends part of `text`. Short parts are copied as 32 bytes, too many of which are then taken back: a copy of fixed
/// length is a few instructions, one of any length is a call.
#[inline]
fn copy(text: &[u8], from: usize, to: usize, out: &mut Vec<u8>) {
    match text[from..].first_chunk::<32>() {
        Some(chunk) if to - from <= 32 && out.capacity() - out.len() >= 32 => {
            let end = out.len() + (to - from);
            out.extend_from_slice(chunk);
            out.truncate(end);
        }
        _ => out.extend_from_slice(&text[from..to]),
    }
}

/// The value as compact JSON.
pub fn to_string(arena: &Arena, value: Value) -> String {
    let mut out = Vec::with_capacity(arena.size(value) as usize);
    write(arena, value, &mut out);
    // All that is written is ASCII or comes from `str`s.
    String::from_utf8(out).unwrap_or_default()
}

/// Appends `text` as a JSON string, quoted and escaped.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut copied = 0;
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            0x09 => b't',
            0x0a => b'n',
            0x0c => b'f',
            0x0d => b'r',
            0x00..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[copied..at]);
        copied = at + 1;
        if short != 0 {
            out.extend_from_slice(&[b'\\', short]);
        } else {
            let digits = [HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digits[0], digits[1]]);
        }
    }
    out.extend_from_slice(&text.as_bytes()[copied..]);
    out.push(b'"');
}
