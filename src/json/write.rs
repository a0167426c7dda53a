//! Values to compact JSON text.

use super::value::{COLON, GROWTH_MAX, QUOTED};
use super::{Arena, Kind, Value};

/// Appends the value as compact JSON; [`Kind::Undefined`] and [`Kind::Opaque`] as `null`.
///
/// The number of bytes appended is [`Arena::size`]. Depth is bounded where values are made, so this may recurse.
pub fn write(arena: &Arena, value: Value, out: &mut Vec<u8>) {
    if value.is_container()
        && let Some((at, len)) = arena.span(value)
    {
        return out.extend_from_slice(&arena.text.as_bytes()[at..at + len]);
    }
    let from = out.len();
    let size = arena.size(value) as usize;
    // The size is known, so the room is made once; a little more lets short texts be copied as if they were longer.
    out.resize(from + size + COPIED_AT_ONCE, 0);
    let mut writer = Writer { arena, text: arena.text.as_bytes(), out: &mut out[from..], at: 0 };
    writer.value(value);
    let written = writer.at;
    debug_assert_eq!(written, size);
    out.truncate(from + written);
}

/// Texts up to this long are copied as if they were that long.
pub(crate) const COPIED_AT_ONCE: usize = 32;

struct Writer<'a> {
    arena: &'a Arena,
    /// The arena's.
    text: &'a [u8],
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn value(&mut self, value: Value) {
        match value.kind() {
            Kind::String => self.string(value, false),
            Kind::Int if value.bits() < 10 => self.byte(b'0' + value.bits() as u8),
            Kind::Int => self.bytes(itoa::Buffer::new().format(value.bits() as i64).as_bytes()),
            Kind::Decimal => self.span(value.at() as usize, value.count() as usize),
            Kind::Array | Kind::Object => self.container(value),
            Kind::Bool => self.bytes(if value.as_bool() == Some(true) { b"true" } else { b"false" }),
            Kind::Undefined | Kind::Null | Kind::Opaque | Kind::Header => self.bytes(b"null"),
            Kind::Float => {
                let float = f64::from_bits(value.bits());
                match float.is_finite() {
                    true => self.bytes(zmij::Buffer::new().format_finite(float).as_bytes()),
                    false => self.bytes(b"null"),
                }
            }
        }
    }

    fn container(&mut self, value: Value) {
        if let Some((at, len)) = self.arena.span(value) {
            return self.span(at, len);
        }
        if value.is_array() {
            self.byte(b'[');
            for &item in self.arena.items(value) {
                self.value(item);
                self.byte(b',');
            }
            self.end(value, b']');
        } else {
            self.byte(b'{');
            for (key, member) in self.arena.entries(value) {
                self.string(key, true);
                self.value(member);
                self.byte(b',');
            }
            self.end(value, b'}');
        }
    }

    /// The closing bracket takes the place of the last comma.
    #[inline(always)]
    fn end(&mut self, value: Value, bracket: u8) {
        self.at -= usize::from(!value.is_empty());
        self.byte(bracket);
    }

    #[inline(always)]
    fn byte(&mut self, byte: u8) {
        self.out[self.at] = byte;
        self.at += 1;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Copies `len` bytes of the arena's text.
    #[inline(always)]
    fn span(&mut self, from: usize, len: usize) {
        let short = self.text.get(from..).and_then(|rest| rest.first_chunk::<COPIED_AT_ONCE>());
        let out = self.out.get_mut(self.at..).and_then(|rest| rest.first_chunk_mut::<COPIED_AT_ONCE>());
        match (short, out) {
            // What is too much is overwritten by what comes next.
            (Some(short), Some(out)) if len <= COPIED_AT_ONCE => *out = *short,
            _ => self.long_span(from, len),
        }
        self.at += len;
    }

    #[inline(never)]
    fn long_span(&mut self, from: usize, len: usize) {
        self.out[self.at..self.at + len].copy_from_slice(&self.text[from..from + len]);
    }

    #[inline(always)]
    fn string(&mut self, value: Value, key: bool) {
        let (at, len) = (value.at() as usize, value.count() as usize);
        match value.extra() & (QUOTED | COLON) == (QUOTED | if key { COLON } else { 0 }) {
            true => self.span(at - 1, len + if key { 3 } else { 2 }),
            false => self.unquoted(value, key),
        }
    }

    fn unquoted(&mut self, value: Value, key: bool) {
        let (at, len) = (value.at() as usize, value.count() as usize);
        if value.extra() & GROWTH_MAX == 0 {
            self.byte(b'"');
            self.span(at, len);
            self.byte(b'"');
        } else {
            let mut escaped = Vec::with_capacity(len + len / 4 + 2);
            write_string(self.arena.str(value), &mut escaped);
            self.bytes(&escaped);
        }
        if key {
            self.byte(b':');
        }
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
