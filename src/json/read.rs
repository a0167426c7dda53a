//! JSON text to values (RFC 8259, nothing more lenient).
//!
//! The text is copied once into the arena; strings without escapes and numbers that would be written as they stand
//! remain spans of it. `benches/read.rs` holds the measurement that justifies a parser of our own: the same arena
//! filled through the fastest well-kept deserializer costs more than 1.3 times as much.

use super::arena::NO_SPAN;
use super::value::{Kind, Value};
use super::{Arena, arena};
use crate::limits;

/// Why a text is not JSON, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct ReadError {
    /// What is wrong.
    pub kind: ReadErrorKind,
    /// Byte offset of the first byte that cannot be part of a JSON text.
    pub offset: usize,
}

impl ReadError {
    /// Line and column of the error in `text`, both from 1, columns in bytes.
    pub fn line_column(&self, text: &[u8]) -> (usize, usize) {
        let before = &text[..self.offset.min(text.len())];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let column = before.len() - before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1) + 1;
        (line, column)
    }
}

/// What is wrong with a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadErrorKind {
    /// The text ends inside a value, or there is none.
    #[error("unexpected end of text")]
    UnexpectedEnd,
    /// Something else stands where a value must begin.
    #[error("expected a value")]
    ExpectedValue,
    /// An object member must begin with a string.
    #[error("expected a member name in double quotes")]
    ExpectedName,
    /// A member name must be followed by a colon.
    #[error("expected `:`")]
    ExpectedColon,
    /// An element or member must be followed by a comma or the closing bracket.
    #[error("expected `,` or the closing bracket")]
    ExpectedComma,
    /// Something other than white space follows the value.
    #[error("unexpected text after the value")]
    TrailingText,
    /// A number with a leading zero, a lone sign, a missing digit or an exponent out of range.
    #[error("malformed number")]
    Number,
    /// A backslash with something that is no escape, or half a surrogate pair.
    #[error("malformed escape in a string")]
    Escape,
    /// A control character in a string.
    #[error("control character in a string")]
    ControlCharacter,
    /// The bytes are not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// Nested deeper than [`limits::JSON_DEPTH_MAX`].
    #[error("nested too deeply")]
    TooDeep,
    /// The arena's budget of bytes is used up.
    #[error("too large")]
    TooLarge,
}

/// Reads one JSON text into the arena.
///
/// Key order is kept and the last of duplicate keys wins. Integers are exact within 64 bits; larger ones become
/// doubles. A number too large for a double is refused.
///
/// ```
/// use expressway::json::{self, Arena};
/// let mut arena = Arena::new();
/// let order = json::read(&mut arena, br#"{"id": "o-1", "qty": 3}"#)?;
/// let qty = arena.get_str(order, "qty").unwrap();
/// assert_eq!(qty.as_int(), Some(3));
/// # Ok::<(), json::ReadError>(())
/// ```
///
/// # Errors
/// Anything that is not one JSON text in UTF-8, and texts beyond the arena's budget.
pub fn read(arena: &mut Arena, text: &[u8]) -> Result<Value, ReadError> {
    let fail = |kind, offset| Err(ReadError { kind, offset });
    let valid = match std::str::from_utf8(text) {
        Ok(valid) => valid,
        Err(error) => return fail(ReadErrorKind::Utf8, error.valid_up_to()),
    };
    // A value takes at least two bytes of text ("1,"), so this bounds the nodes as well.
    if !arena.reserve(text.len()) {
        return fail(ReadErrorKind::TooLarge, 0);
    }
    let base = arena.text.len();
    arena.text.push_str(valid);
    let mark = arena.begin();
    let result = Reader { text, valid, at: 0, base, dirty: 0, depth: 0, arena }.document();
    arena.cancel(mark);
    match result {
        Ok(_) if arena.overflowed() => fail(ReadErrorKind::TooLarge, 0),
        Ok(value) => Ok(value),
        Err((kind, offset)) => fail(kind, offset),
    }
}

type Fail = (ReadErrorKind, usize);

struct Reader<'a> {
    text: &'a [u8],
    valid: &'a str,
    at: usize,
    /// Where the text begins in the arena's text.
    base: usize,
    /// Grows with everything that would be written otherwise than it was read.
    dirty: u32,
    depth: u16,
    arena: &'a mut Arena,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<Value, Fail> {
        self.skip_space();
        let value = self.value()?;
        self.skip_space();
        match self.at == self.text.len() {
            true => Ok(value),
            false => Err((ReadErrorKind::TrailingText, self.at)),
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        if let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.dirty += 1;
            while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
                self.at += 1;
            }
        }
    }

    /// The value that begins here; white space is skipped by the caller.
    #[inline]
    fn value(&mut self) -> Result<Value, Fail> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true", Value::TRUE),
            Some(b'f') => self.literal(b"false", Value::FALSE),
            Some(b'n') => self.literal(b"null", Value::NULL),
            Some(_) => Err((ReadErrorKind::ExpectedValue, self.at)),
            None => Err((ReadErrorKind::UnexpectedEnd, self.at)),
        }
    }

    fn literal(&mut self, word: &'static [u8], value: Value) -> Result<Value, Fail> {
        let rest = &self.text[self.at..];
        if rest.starts_with(word) {
            self.at += word.len();
            return Ok(value);
        }
        let same = rest.iter().zip(word).take_while(|(a, b)| a == b).count();
        match rest.len() == same {
            true => Err((ReadErrorKind::UnexpectedEnd, self.text.len())),
            false => Err((ReadErrorKind::ExpectedValue, self.at + same)),
        }
    }

    fn enter(&mut self) -> Result<(), Fail> {
        self.depth += 1;
        match self.depth > limits::JSON_DEPTH_MAX {
            true => Err((ReadErrorKind::TooDeep, self.at)),
            false => Ok(()),
        }
    }

    fn array(&mut self) -> Result<Value, Fail> {
        let (start, dirty, mark) = (self.at, self.dirty, self.arena.begin());
        self.enter()?;
        let mut depth = 0;
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                let child = self.value()?;
                depth = depth.max(child.depth());
                self.arena.stack.push(child);
                self.skip_space();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(b']') => {
                        self.at += 1;
                        break;
                    }
                    Some(_) => return Err((ReadErrorKind::ExpectedComma, self.at)),
                    None => return Err((ReadErrorKind::UnexpectedEnd, self.at)),
                }
                self.skip_space();
            }
        }
        self.depth -= 1;
        if self.dirty != dirty {
            return Ok(self.arena.end_array(mark));
        }
        let span = (self.base + start) as u32;
        Ok(self.arena.close(Kind::Array, mark, self.at - start, depth, span))
    }

    fn object(&mut self) -> Result<Value, Fail> {
        let (start, dirty, mark) = (self.at, self.dirty, self.arena.begin());
        self.enter()?;
        let mut depth = 0;
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
        } else {
            loop {
                let child = self.member()?;
                depth = depth.max(child.depth());
                self.skip_space();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(b'}') => {
                        self.at += 1;
                        break;
                    }
                    Some(_) => return Err((ReadErrorKind::ExpectedComma, self.at)),
                    None => return Err((ReadErrorKind::UnexpectedEnd, self.at)),
                }
                self.skip_space();
            }
        }
        self.depth -= 1;
        self.close_object(start, dirty, mark, depth)
    }

    /// One key and value, pushed on the stack.
    #[inline]
    fn member(&mut self) -> Result<Value, Fail> {
        match self.peek() {
            Some(b'"') => {}
            Some(_) => return Err((ReadErrorKind::ExpectedName, self.at)),
            None => return Err((ReadErrorKind::UnexpectedEnd, self.at)),
        }
        let key = self.string()?;
        self.arena.stack.push(key);
        self.skip_space();
        match self.peek() {
            Some(b':') => self.at += 1,
            Some(_) => return Err((ReadErrorKind::ExpectedColon, self.at)),
            None => return Err((ReadErrorKind::UnexpectedEnd, self.at)),
        }
        self.skip_space();
        let child = self.value()?;
        self.arena.stack.push(child);
        Ok(child)
    }

    fn close_object(
        &mut self,
        start: usize,
        dirty: u32,
        mark: arena::Mark,
        depth: u16,
    ) -> Result<Value, Fail> {
        let dropped = self.arena.drop_duplicate_keys(mark);
        self.dirty += u32::from(dropped);
        if self.dirty != dirty {
            let pairs = self.arena.pushed(mark).len() / 2;
            let children = self.arena.pushed(mark).iter().map(|&child| self.arena.size(child) as usize);
            let size = 2 + pairs + pairs.saturating_sub(1) + children.sum::<usize>();
            let depth = self.arena.pushed(mark).iter().map(|child| child.depth()).max().unwrap_or(0);
            return Ok(self.arena.close(Kind::Object, mark, size, depth, NO_SPAN));
        }
        let span = (self.base + start) as u32;
        Ok(self.arena.close(Kind::Object, mark, self.at - start, depth, span))
    }

    /// The string whose opening quote is here.
    #[inline]
    fn string(&mut self) -> Result<Value, Fail> {
        let start = self.at + 1;
        let end = special(self.text, start);
        match self.text.get(end) {
            Some(b'"') => {
                self.at = end + 1;
                Ok(Value {
                    kind: Kind::String,
                    marks: 0,
                    extra: 0,
                    len: (end - start) as u32,
                    at: (self.base + start) as u32,
                    aux: self.prefix(start, end - start),
                })
            }
            Some(b'\\') => self.escaped_string(start, end),
            Some(_) => Err((ReadErrorKind::ControlCharacter, end)),
            None => Err((ReadErrorKind::UnexpectedEnd, self.text.len())),
        }
    }

    #[inline]
    fn prefix(&self, start: usize, len: usize) -> u32 {
        match self.text.get(start..start + 4) {
            Some(&[a, b, c, d]) => {
                let word = u32::from_le_bytes([a, b, c, d]);
                if len >= 4 { word } else { word & ((1u32 << (8 * len)) - 1) }
            }
            _ => arena::prefix(&self.text[start..start + len]),
        }
    }

    /// The string that begins at `start` and has its first backslash at `at`.
    #[cold]
    fn escaped_string(&mut self, start: usize, mut at: usize) -> Result<Value, Fail> {
        self.dirty += 1;
        let out_at = self.arena.text.len();
        let mut copied = start;
        loop {
            // Quotes, backslashes and control characters are ASCII, hence character boundaries.
            self.arena.text.push_str(self.valid.get(copied..at).unwrap_or_default());
            match self.text.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    let (character, next) = escape(self.text, at)?;
                    self.arena.text.push(character);
                    (at, copied) = (next, next);
                    at = special(self.text, at);
                }
                Some(_) => return Err((ReadErrorKind::ControlCharacter, at)),
                None => return Err((ReadErrorKind::UnexpectedEnd, self.text.len())),
            }
        }
        self.at = at + 1;
        let bytes = &self.arena.text.as_bytes()[out_at..];
        Ok(Value {
            kind: Kind::String,
            marks: 0,
            extra: arena::escape_growth(bytes).min(u16::MAX as usize) as u16,
            len: bytes.len() as u32,
            at: out_at as u32,
            aux: arena::prefix(bytes),
        })
    }

    #[inline]
    fn number(&mut self) -> Result<Value, Fail> {
        let start = self.at;
        let mut at = start + usize::from(self.text[start] == b'-');
        let first = at;
        let mut magnitude: u64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.text.get(at) {
            magnitude = magnitude.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            at += 1;
        }
        let digits = at - first;
        if digits == 0 {
            return Err(self.bad_number(at));
        }
        if digits > 1 && self.text[first] == b'0' {
            return Err((ReadErrorKind::Number, first + 1));
        }
        if let Some(b'.' | b'e' | b'E') = self.text.get(at) {
            return self.decimal(start, first, at);
        }
        self.at = at;
        let negative = first > start;
        if digits <= 18 {
            // `-0` is the integer 0 to AWS, which is not how it was written.
            self.dirty += u32::from(negative && magnitude == 0);
            return Ok(Value::int(if negative { -(magnitude as i64) } else { magnitude as i64 }));
        }
        self.long_integer(start)
    }

    #[cold]
    fn bad_number(&self, at: usize) -> Fail {
        match at == self.text.len() {
            true => (ReadErrorKind::UnexpectedEnd, at),
            false => (ReadErrorKind::Number, at),
        }
    }

    #[cold]
    fn long_integer(&mut self, start: usize) -> Result<Value, Fail> {
        let text = std::str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
        if let Ok(int) = text.parse::<i64>() {
            return Ok(Value::int(int));
        }
        self.float(start)
    }

    fn float(&mut self, start: usize) -> Result<Value, Fail> {
        self.dirty += 1;
        let text = std::str::from_utf8(&self.text[start..self.at]).unwrap_or_default();
        match text.parse::<f64>() {
            Ok(float) if float.is_finite() => Ok(Value::float(float)),
            _ => Err((ReadErrorKind::Number, start)),
        }
    }

    /// The number that begins at `start` and goes on with a fraction or exponent at `at`.
    fn decimal(&mut self, start: usize, first: usize, mut at: usize) -> Result<Value, Fail> {
        let digits = |mut at: usize| {
            let from = at;
            while let Some(b'0'..=b'9') = self.text.get(at) {
                at += 1;
            }
            if at == from { Err(self.bad_number(at)) } else { Ok(at) }
        };
        let integer_digits = at - first;
        let mut fraction: &[u8] = &[];
        let mut exponent = false;
        if self.text[at] == b'.' {
            let end = digits(at + 1)?;
            fraction = &self.text[at + 1..end];
            at = end;
        }
        if let Some(b'e' | b'E') = self.text.get(at) {
            exponent = true;
            at += 1;
            at += usize::from(matches!(self.text.get(at), Some(b'+' | b'-')));
            at = digits(at)?;
        }
        self.at = at;
        if !exponent && written_as_read(self.text[first] == b'0', integer_digits, fraction) {
            let len = (at - start) as u32;
            return Ok(Value {
                kind: Kind::Decimal,
                marks: 0,
                extra: 0,
                len,
                at: (self.base + start) as u32,
                aux: 0,
            });
        }
        self.float(start)
    }
}

/// Whether the shortest text of this number is the one it was read from: at most 15 digits always survive the way
/// through a double, no trailing zero would be dropped, and it is not so small that it gets an exponent.
fn written_as_read(zero_integer: bool, integer_digits: usize, fraction: &[u8]) -> bool {
    let leading_zeros = fraction.iter().take_while(|&&digit| digit == b'0').count();
    let trailing_zero = fraction.len() > 1 && fraction.last() == Some(&b'0');
    integer_digits + fraction.len() <= 15
        && !trailing_zero
        && !(zero_integer && fraction.len() > 1 && leading_zeros > 3)
}

/// The first byte from `at` on that a string cannot hold as it stands: quote, backslash, control character. Eight
/// bytes at a time.
#[inline]
fn special(text: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    while let Some(chunk) = text.get(at..at + 8) {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        let word = u64::from_le_bytes(word);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let found = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let found = found & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&byte) = text.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            return at;
        }
        at += 1;
    }
    at
}

/// The character an escape stands for, and where the text goes on.
fn escape(text: &[u8], at: usize) -> Result<(char, usize), Fail> {
    let bad = (ReadErrorKind::Escape, at);
    let simple = match text.get(at + 1) {
        None => return Err((ReadErrorKind::UnexpectedEnd, text.len())),
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let first = hex(text, at + 2)?;
            if !(0xD800..0xE000).contains(&first) {
                return char::from_u32(first).map(|c| (c, at + 6)).ok_or(bad);
            }
            if first >= 0xDC00 || text.get(at + 6..at + 8) != Some(b"\\u") {
                return Err(bad);
            }
            let second = hex(text, at + 8)?;
            if !(0xDC00..0xE000).contains(&second) {
                return Err(bad);
            }
            let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            return char::from_u32(code).map(|c| (c, at + 12)).ok_or(bad);
        }
        Some(_) => return Err(bad),
    };
    Ok((simple, at + 2))
}

fn hex(text: &[u8], at: usize) -> Result<u32, Fail> {
    let mut code = 0;
    for i in at..at + 4 {
        let Some(&byte) = text.get(i) else { return Err((ReadErrorKind::UnexpectedEnd, text.len())) };
        let Some(digit) = (byte as char).to_digit(16) else { return Err((ReadErrorKind::Escape, i)) };
        code = code * 16 + digit;
    }
    Ok(code)
}
