//! Values to compact JSON text.

use super::inside;
use super::number::FloatText;
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
    // The size is known, so the room is made once; a little more allows copying short texts with a fixed size.
    out.resize(from + size + COPIED_AT_ONCE, 0);
    let left = Writer::<false> { arena, text: arena.text.as_bytes() }.value(value, &mut out[from..]).len();
    debug_assert_eq!(left, COPIED_AT_ONCE);
    out.truncate(out.len() - left);
}

/// As [`write`], for the inside of a JSON string: with a backslash before each quote and backslash.
#[cfg(feature = "api")]
pub(crate) fn write_inside(arena: &Arena, value: Value, out: &mut Vec<u8>) {
    let from = out.len();
    out.resize(from + 2 * arena.size(value) as usize + COPIED_AT_ONCE, 0);
    let left = Writer::<true> { arena, text: arena.text.as_bytes() }.value(value, &mut out[from..]).len();
    out.truncate(out.len() - left);
}

/// Texts up to this length are copied with this length.
pub(crate) const COPIED_AT_ONCE: usize = 32;

const _: () = assert!(inside::SPARE <= COPIED_AT_ONCE);

/// Each function takes the remaining room and returns the rest. That keeps the position in registers: kept in the
/// writer, every byte and every name waited for the position that the one before had just stored.
///
/// `INSIDE` of a JSON string, quotes and backslashes are escaped.
#[derive(Clone, Copy)]
struct Writer<'a, const INSIDE: bool> {
    arena: &'a Arena,
    /// The arena's.
    text: &'a [u8],
}

impl<const INSIDE: bool> Writer<'_, INSIDE> {
    fn value(self, value: Value, out: &mut [u8]) -> &mut [u8] {
        match value.kind() {
            Kind::String => self.string(value, false, out),
            Kind::Int => bytes(itoa::Buffer::new().format(value.bits() as i64).as_bytes(), out),
            Kind::Decimal => self.span(value.at() as usize, value.count() as usize, out),
            Kind::Array | Kind::Object => match self.arena.span(value) {
                Some((at, len)) => self.read(at, len, out),
                None => self.container(value, out),
            },
            Kind::Bool => bytes(if value.as_bool() == Some(true) { b"true" } else { b"false" }, out),
            Kind::Undefined | Kind::Null | Kind::Opaque | Kind::Header => bytes(b"null", out),
            Kind::Float => bytes(FloatText::of(f64::from_bits(value.bits())).as_bytes(), out),
        }
    }

    /// A child of a container. The most frequent kinds are written without a call.
    #[inline(always)]
    fn child(self, value: Value, out: &mut [u8]) -> &mut [u8] {
        match value.kind() {
            Kind::String => self.string(value, false, out),
            Kind::Int if value.bits() < 10 => byte(b'0' + value.bits() as u8, out),
            Kind::Array | Kind::Object => match self.arena.span(value) {
                Some((at, len)) if INSIDE => self.read(at, len, out),
                Some((at, len)) => self.span(at, len, out),
                None => self.container(value, out),
            },
            _ => self.value(value, out),
        }
    }

    fn container(self, value: Value, mut out: &mut [u8]) -> &mut [u8] {
        let object = value.is_object();
        let mut before = if object { b'{' } else { b'[' };
        if value.is_empty() {
            out = byte(before, out);
        }
        if object {
            for (key, member) in self.arena.entries(value) {
                out = self.string(key, true, byte(before, out));
                out = self.child(member, out);
                before = b',';
            }
        } else {
            for &item in self.arena.items(value) {
                out = self.child(item, byte(before, out));
                before = b',';
            }
        }
        byte(if object { b'}' } else { b']' }, out)
    }

    /// Copies `len` bytes of the arena's text.
    #[inline(always)]
    fn span(self, from: usize, len: usize, out: &mut [u8]) -> &mut [u8] {
        let short = self.text.get(from..).and_then(|rest| rest.first_chunk::<COPIED_AT_ONCE>());
        match (short, out.first_chunk_mut::<COPIED_AT_ONCE>()) {
            // The excess is overwritten by what comes next.
            (Some(short), Some(room)) if len <= COPIED_AT_ONCE => {
                *room = *short;
                &mut out[len..]
            }
            _ => self.long_span(from, len, out),
        }
    }

    /// Writes a container as it was read.
    #[inline(never)]
    fn read(self, from: usize, len: usize, out: &mut [u8]) -> &mut [u8] {
        if INSIDE {
            inside::escape(&self.text[from..from + len], out)
        } else {
            self.long_span(from, len, out)
        }
    }

    #[inline(never)]
    fn long_span(self, from: usize, len: usize, out: &mut [u8]) -> &mut [u8] {
        bytes(&self.text[from..from + len], out)
    }

    #[inline(always)]
    fn string(self, value: Value, key: bool, out: &mut [u8]) -> &mut [u8] {
        let (at, len) = (value.at() as usize, value.count() as usize);
        let is_quoted = value.extra() & (QUOTED | COLON) == (QUOTED | if key { COLON } else { 0 });
        match is_quoted && !INSIDE {
            true => self.span(at - 1, len + if key { 3 } else { 2 }, out),
            false if INSIDE && value.extra() & GROWTH_MAX == 0 => {
                let out = quote::<INSIDE>(self.span(at, len, quote::<INSIDE>(out)));
                if key { byte(b':', out) } else { out }
            }
            false => self.unquoted(value, key, out),
        }
    }

    #[inline(never)]
    fn unquoted(self, value: Value, key: bool, mut out: &mut [u8]) -> &mut [u8] {
        let (at, len) = (value.at() as usize, value.count() as usize);
        if value.extra() & GROWTH_MAX == 0 {
            out = quote::<INSIDE>(self.span(at, len, quote::<INSIDE>(out)));
        } else {
            let mut escaped = Vec::with_capacity(len + len / 4 + 2);
            write_string(self.arena.str(value), &mut escaped);
            out = if INSIDE { inside::escape(&escaped, out) } else { bytes(&escaped, out) };
        }
        if key { byte(b':', out) } else { out }
    }
}

#[inline(always)]
fn byte(byte: u8, out: &mut [u8]) -> &mut [u8] {
    out[0] = byte;
    &mut out[1..]
}

#[inline(always)]
fn quote<const INSIDE: bool>(out: &mut [u8]) -> &mut [u8] {
    if INSIDE { byte(b'"', byte(b'\\', out)) } else { byte(b'"', out) }
}

fn bytes<'o>(bytes: &[u8], out: &'o mut [u8]) -> &'o mut [u8] {
    let (room, rest) = out.split_at_mut(bytes.len());
    room.copy_from_slice(bytes);
    rest
}

/// The value as compact JSON.
pub fn to_string(arena: &Arena, value: Value) -> String {
    let mut out = Vec::with_capacity(arena.size(value) as usize);
    write(arena, value, &mut out);
    // Everything written is ASCII or comes from `str`s.
    String::from_utf8(out).unwrap_or_default()
}

/// Appends `text` as a JSON string, quoted and escaped.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.push(b'"');
    // Most texts need no escapes. Checked without a branch for each byte, which the compiler vectorizes.
    let is_special = |byte: &u8| (*byte < b' ') | (*byte == b'"') | (*byte == b'\\');
    if !text.as_bytes().iter().fold(false, |any, byte| any | is_special(byte)) {
        out.extend_from_slice(text.as_bytes());
        return out.push(b'"');
    }
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

#[cfg(all(test, feature = "api"))]
mod tests {
    use super::*;

    #[test]
    fn inside_of_a_string_everything_is_escaped_once_more() {
        let long = "x".repeat(40);
        let texts = [
            r#"{"a":"b","c":[1,2.50,-3e300,true,false,null,{},[]],"d":{"e":"f"}}"#.to_owned(),
            r#" { "a" : "b" , "c" : [ "d" , { "e" : "f\"g\\h\n\u0001" } ] } "#.to_owned(),
            r#"{"é\t":"漢字 and \"more\" of it","a":{"b":"c"},"a":{"b":"d"}}"#.to_owned(),
            format!(r#"{{"{long}":"{long}","n":[{{"{long}":"{long}\\"}} , "{long}"]}}"#),
            r#""\"""#.to_owned(),
            "12".to_owned(),
        ];
        let mut arena = Arena::new();
        for text in &texts {
            arena.clear();
            // Twice, so that names are known the second time.
            for _ in 0..2 {
                let value = super::super::read(&mut arena, text.as_bytes()).expect("JSON");
                let plain = to_string(&arena, value);
                let mut inside = b"before".to_vec();
                write_inside(&arena, value, &mut inside);
                let quoted = [b"\"", &inside[6..], b"\""].concat();
                assert_eq!(serde_json::from_slice::<String>(&quoted).expect(text), plain);
                assert_eq!(quoted, serde_json::json!(plain).to_string().as_bytes(), "{text}");
            }
        }
    }
}
