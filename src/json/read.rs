//! JSON text to values (RFC 8259, nothing more lenient).
//!
//! The text is copied once into the arena; strings without escapes and numbers that would be written as they stand
//! remain spans of it. `benches/read.rs` holds the measurement that justifies a parser of our own: the same arena
//! filled through the fastest well-kept deserializer costs more than 1.3 times as much.

use super::value::{GROWTH_MAX, Kind, QUOTED, Value};
use super::{Arena, arena};
use crate::limits;
use wide::u8x16;

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
    let mut reader = Reader { text, valid, at: 0, base, dirty: 0, depth: 0, error: None, arena };
    let read = reader.document();
    let error = reader.error;
    let value = arena.pushed(mark).first().copied().unwrap_or_default();
    arena.cancel(mark);
    match (read, error) {
        (true, _) if arena.overflowed() => fail(ReadErrorKind::TooLarge, 0),
        (true, _) => Ok(value),
        (false, Some(error)) => Err(error),
        (false, None) => fail(ReadErrorKind::UnexpectedEnd, text.len()),
    }
}

/// What a reader's functions return instead of the depth of the value they pushed, after an error.
const FAILED: u32 = u32::MAX;

/// Values are pushed on the arena's stack; functions return their depth, or [`FAILED`] with `error` set. That keeps
/// everything in registers: it is what makes this twice as fast as returning `Result<Value, _>`.
struct Reader<'a> {
    text: &'a [u8],
    valid: &'a str,
    at: usize,
    /// Where the text begins in the arena's text.
    base: usize,
    /// Grows with everything that would be written otherwise than it was read.
    dirty: u32,
    depth: u16,
    error: Option<ReadError>,
    arena: &'a mut Arena,
}

impl Reader<'_> {
    fn document(&mut self) -> bool {
        let byte = self.token();
        if self.value(byte) == FAILED {
            return false;
        }
        self.token();
        if self.at == self.text.len() {
            return true;
        }
        self.fail(ReadErrorKind::TrailingText, self.at);
        false
    }

    #[cold]
    fn fail(&mut self, kind: ReadErrorKind, offset: usize) -> u32 {
        self.error = Some(ReadError { kind, offset });
        FAILED
    }

    /// Fails here: with the end of the text, if this is it.
    #[cold]
    fn fail_here(&mut self, kind: ReadErrorKind) -> u32 {
        let kind = if self.at >= self.text.len() { ReadErrorKind::UnexpectedEnd } else { kind };
        self.fail(kind, self.at)
    }

    /// The next byte that is not white space, 0 at the end.
    #[inline(always)]
    fn token(&mut self) -> u8 {
        let byte = self.peek();
        if byte > b' ' { byte } else { self.skip_space() }
    }

    #[inline(always)]
    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn skip_space(&mut self) -> u8 {
        self.dirty += u32::from(self.at < self.text.len());
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
        self.peek()
    }

    /// The value that begins here with `byte`.
    #[inline]
    fn value(&mut self, byte: u8) -> u32 {
        match byte {
            b'"' => self.string(),
            b'{' => self.object(),
            b'[' => self.array(),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true", Value::TRUE),
            b'f' => self.literal(b"false", Value::FALSE),
            b'n' => self.literal(b"null", Value::NULL),
            _ => self.fail_here(ReadErrorKind::ExpectedValue),
        }
    }

    fn literal(&mut self, word: &'static [u8], value: Value) -> u32 {
        let rest = &self.text[self.at..];
        if rest.starts_with(word) {
            self.at += word.len();
            self.arena.stack.push(value);
            return 0;
        }
        self.at += rest.iter().zip(word).take_while(|(a, b)| a == b).count();
        self.fail_here(ReadErrorKind::ExpectedValue)
    }

    fn array(&mut self) -> u32 {
        let (start, dirty, mark) = (self.at, self.dirty, self.arena.begin());
        self.depth += 1;
        if self.depth > limits::JSON_DEPTH_MAX {
            return self.fail(ReadErrorKind::TooDeep, self.at);
        }
        let mut depth = 0;
        self.at += 1;
        let mut byte = self.token();
        if byte == b']' {
            self.at += 1;
        } else {
            loop {
                let child = self.value(byte);
                if child == FAILED {
                    return FAILED;
                }
                depth = depth.max(child);
                byte = self.token();
                self.at += 1;
                match byte {
                    b',' => byte = self.token(),
                    b']' => break,
                    _ => return self.fail_comma(),
                }
            }
        }
        self.depth -= 1;
        let array = match self.dirty == dirty {
            true => {
                let span = (self.base + start) as u32;
                self.arena.close(Kind::Array, mark, self.at - start, depth as u16, span)
            }
            false => self.arena.end_array(mark),
        };
        self.arena.stack.push(array);
        depth + 1
    }

    #[cold]
    fn fail_comma(&mut self) -> u32 {
        self.at -= 1;
        self.fail_here(ReadErrorKind::ExpectedComma)
    }

    fn object(&mut self) -> u32 {
        let (start, dirty, mark) = (self.at, self.dirty, self.arena.begin());
        self.depth += 1;
        if self.depth > limits::JSON_DEPTH_MAX {
            return self.fail(ReadErrorKind::TooDeep, self.at);
        }
        let mut depth = 0;
        self.at += 1;
        let mut byte = self.token();
        if byte == b'}' {
            self.at += 1;
        } else {
            loop {
                if byte != b'"' {
                    return self.fail_here(ReadErrorKind::ExpectedName);
                }
                if self.string() == FAILED {
                    return FAILED;
                }
                byte = self.peek();
                if byte == b':' {
                    self.key_before_colon();
                } else {
                    byte = self.token();
                    if byte != b':' {
                        return self.fail_here(ReadErrorKind::ExpectedColon);
                    }
                }
                self.at += 1;
                byte = self.token();
                let child = self.value(byte);
                if child == FAILED {
                    return FAILED;
                }
                depth = depth.max(child);
                byte = self.token();
                self.at += 1;
                match byte {
                    b',' => byte = self.token(),
                    b'}' => break,
                    _ => return self.fail_comma(),
                }
            }
        }
        self.depth -= 1;
        let object = self.close_object(start, dirty, mark, depth as u16);
        self.arena.stack.push(object);
        depth + 1
    }

    /// Where the colon follows at once, the key can be written with it.
    #[inline(always)]
    fn key_before_colon(&mut self) {
        if let Some(key) = self.arena.stack.last_mut() {
            // `COLON` is `QUOTED` shifted: without quotes around the key, nothing asks.
            key.extra |= (key.extra & QUOTED) >> 1;
        }
    }

    #[inline]
    fn close_object(&mut self, start: usize, dirty: u32, mark: arena::Mark, depth: u16) -> Value {
        self.dirty += u32::from(self.arena.drop_duplicate_keys(mark));
        if self.dirty != dirty {
            // Duplicates are gone already; this sums up sizes.
            return self.arena.end_object(mark);
        }
        let span = (self.base + start) as u32;
        self.arena.close(Kind::Object, mark, self.at - start, depth, span)
    }

    /// The string whose opening quote is here.
    #[inline]
    fn string(&mut self) -> u32 {
        let start = self.at + 1;
        let end = special(self.text, start);
        if self.text.get(end) != Some(&b'"') {
            return self.unusual_string(start, end);
        }
        self.at = end + 1;
        let string = Value {
            kind: Kind::String,
            marks: 0,
            extra: QUOTED,
            len: (end - start) as u32,
            at: (self.base + start) as u32,
            aux: self.prefix(start, end - start),
        };
        self.arena.stack.push(string);
        0
    }

    #[inline(always)]
    fn prefix(&self, start: usize, len: usize) -> u32 {
        match self.text.get(start..start + 4) {
            Some(&[a, b, c, d]) => {
                let unused = 32 - 8 * len.min(4) as u32;
                let word = u64::from(u32::from_le_bytes([a, b, c, d]));
                (word & (0xFFFF_FFFF >> unused)) as u32
            }
            _ => arena::prefix(&self.text[start..start + len]),
        }
    }

    /// The string that begins at `start`, ends too early, or has its first backslash or control character at `at`.
    #[cold]
    fn unusual_string(&mut self, start: usize, mut at: usize) -> u32 {
        self.dirty += 1;
        let out_at = self.arena.text.len();
        let mut copied = start;
        loop {
            // Quotes, backslashes and control characters are ASCII, hence character boundaries.
            self.arena.text.push_str(self.valid.get(copied..at).unwrap_or_default());
            match self.text.get(at) {
                Some(b'"') => break,
                Some(b'\\') => match escape(self.text, at) {
                    Ok((character, next)) => {
                        self.arena.text.push(character);
                        (at, copied) = (next, next);
                        at = special(self.text, at);
                    }
                    Err((kind, offset)) => return self.fail(kind, offset),
                },
                Some(_) => return self.fail(ReadErrorKind::ControlCharacter, at),
                None => return self.fail(ReadErrorKind::UnexpectedEnd, self.text.len()),
            }
        }
        self.at = at + 1;
        let bytes = &self.arena.text.as_bytes()[out_at..];
        let string = Value {
            kind: Kind::String,
            marks: 0,
            extra: arena::escape_growth(bytes).min(GROWTH_MAX as usize) as u16,
            len: bytes.len() as u32,
            at: out_at as u32,
            aux: arena::prefix(bytes),
        };
        self.arena.stack.push(string);
        0
    }

    #[inline]
    fn number(&mut self) -> u32 {
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
            self.at = at;
            return self.fail_here(ReadErrorKind::Number);
        }
        if digits > 1 && self.text[first] == b'0' {
            return self.fail(ReadErrorKind::Number, first + 1);
        }
        if let Some(b'.' | b'e' | b'E') = self.text.get(at) {
            return self.decimal(start, first, at);
        }
        self.at = at;
        let negative = first > start;
        if digits > 18 {
            return self.long_integer(start);
        }
        // `-0` is the integer 0 to AWS, which is not how it was written.
        self.dirty += u32::from(negative && magnitude == 0);
        let integer = if negative { -(magnitude as i64) } else { magnitude as i64 };
        self.arena.stack.push(Value::int(integer));
        0
    }

    #[cold]
    fn long_integer(&mut self, start: usize) -> u32 {
        match self.valid.get(start..self.at).unwrap_or_default().parse::<i64>() {
            Ok(integer) => {
                self.arena.stack.push(Value::int(integer));
                0
            }
            Err(_) => self.float(start),
        }
    }

    fn float(&mut self, start: usize) -> u32 {
        self.dirty += 1;
        match self.valid.get(start..self.at).unwrap_or_default().parse::<f64>() {
            Ok(float) if float.is_finite() => {
                self.arena.stack.push(Value::float(float));
                0
            }
            _ => self.fail(ReadErrorKind::Number, start),
        }
    }

    /// Where the digits that must begin at `at` end.
    fn digits(&mut self, at: usize) -> Option<usize> {
        let mut end = at;
        while let Some(b'0'..=b'9') = self.text.get(end) {
            end += 1;
        }
        if end > at {
            return Some(end);
        }
        self.at = at;
        self.fail_here(ReadErrorKind::Number);
        None
    }

    /// The number that begins at `start` and goes on with a fraction or exponent at `at`.
    fn decimal(&mut self, start: usize, first: usize, mut at: usize) -> u32 {
        let integer_digits = at - first;
        let mut fraction = 0..0;
        if self.text[at] == b'.' {
            let Some(end) = self.digits(at + 1) else { return FAILED };
            fraction = at + 1..end;
            at = end;
        }
        let exponent = matches!(self.text.get(at), Some(b'e' | b'E'));
        if exponent {
            at += 1;
            at += usize::from(matches!(self.text.get(at), Some(b'+' | b'-')));
            let Some(end) = self.digits(at) else { return FAILED };
            at = end;
        }
        self.at = at;
        if exponent || !written_as_read(self.text[first] == b'0', integer_digits, &self.text[fraction]) {
            return self.float(start);
        }
        let (len, at) = ((at - start) as u32, (self.base + start) as u32);
        self.arena.stack.push(Value { kind: Kind::Decimal, marks: 0, extra: 0, len, at, aux: 0 });
        0
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

/// The first byte from `at` on that a string cannot hold as it stands: quote, backslash, control character.
#[inline(always)]
fn special(text: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = text.get(at..at + 16) {
        let found = special_in_16(chunk);
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += 16;
    }
    while let Some(chunk) = text.get(at..at + 8) {
        let found = special_in_8(chunk);
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

/// One bit for each special byte of 16.
#[inline(always)]
fn special_in_16(chunk: &[u8]) -> u32 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(chunk);
    let bytes = u8x16::from(bytes);
    let quote = bytes.simd_eq(u8x16::splat(b'"'));
    let backslash = bytes.simd_eq(u8x16::splat(b'\\'));
    let control = bytes.min(u8x16::splat(0x1F)).simd_eq(bytes);
    (quote | backslash | control).to_bitmask()
}

/// The high bit of the first special byte of 8; bits above it mean nothing.
#[inline(always)]
fn special_in_8(chunk: &[u8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut word = [0; 8];
    word.copy_from_slice(chunk);
    let word = u64::from_le_bytes(word);
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let found = (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (word.wrapping_sub(ONES * 0x20) & !word);
    found & HIGH
}

/// The character an escape stands for, and where the text goes on.
type Fail = (ReadErrorKind, usize);

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
