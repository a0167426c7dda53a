//! JSON text to values (RFC 8259, nothing more lenient).
//!
//! The text is copied once into the arena; strings without escapes and numbers that would be written as they stand
//! remain spans of it. `benches/read.rs` holds the measurement that justifies a parser of our own: the same arena
//! filled through the fastest well-kept deserializer costs more than 1.3 times as much.

use super::arena::{Mark, NO_SPAN};
use super::value::{Kind, QUOTED, Value};
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
    // A value takes at least two bytes of text ("1,"), so this bounds what the nodes can grow to, too.
    if !arena.reserve(text.len()) {
        return fail(ReadErrorKind::TooLarge, 0);
    }
    let base = arena.text.len();
    arena.text.push_str(valid);
    let mark = arena.begin();
    let result =
        Reader { text, valid, base: base as u32, dirty: 0, depth: 0, frame: 0, object: false, arena }
            .document();
    let value = arena.pushed(mark).first().copied().unwrap_or(Value::NULL);
    arena.cancel(mark);
    match result {
        Ok(()) if !arena.reserve(0) => fail(ReadErrorKind::TooLarge, 0),
        Ok(()) => Ok(value),
        Err((kind, offset)) => fail(kind, offset),
    }
}

type Fail = (ReadErrorKind, usize);

/// Reads without recursion. A container that is open is a frame on the arena's stack, below its children: the record
/// that becomes the header of its block, so that closing it copies header and children at once.
///
/// | frame | while open |
/// |---|---|
/// | `marks` | 1 when the parent is an object |
/// | `extra` | depth of the deepest child so far |
/// | `at` | where its text begins |
/// | `len` | the parent's frame |
/// | `aux` | `dirty` when it was opened |
///
/// The position is passed from hand to hand rather than kept here: that holds it in a register, which is a quarter of
/// the speed.
struct Reader<'a> {
    text: &'a [u8],
    valid: &'a str,
    /// Where the text begins in the arena's text.
    base: u32,
    /// Grows with everything that would be written otherwise than it was read.
    dirty: u32,
    /// How many containers are open.
    depth: u16,
    /// The innermost open container on the arena's stack, and whether it is an object.
    frame: usize,
    object: bool,
    arena: &'a mut Arena,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<(), Fail> {
        let mut at = self.skip_space(0);
        loop {
            at = match self.text.get(at) {
                Some(b'"') => self.string(at)?,
                Some(b'{') => match self.open(at, true)? {
                    next if self.text.get(next) == Some(&b'}') => self.close(next),
                    next => {
                        at = self.name(next)?;
                        continue;
                    }
                },
                Some(b'[') => match self.open(at, false)? {
                    next if self.text.get(next) == Some(&b']') => self.close(next),
                    next => {
                        at = next;
                        continue;
                    }
                },
                Some(b'-' | b'0'..=b'9') => self.number(at)?,
                Some(b't') => self.literal(at, b"true", Value::TRUE)?,
                Some(b'f') => self.literal(at, b"false", Value::FALSE)?,
                Some(b'n') => self.literal(at, b"null", Value::NULL)?,
                Some(_) => return Err((ReadErrorKind::ExpectedValue, at)),
                None => return Err((ReadErrorKind::UnexpectedEnd, at)),
            };
            match self.next_value(at)? {
                Some(next) => at = next,
                None => return Ok(()),
            }
        }
    }

    /// Goes on behind a value that is complete: closes what ends there; returns where the next value begins, `None` at
    /// the end of the document.
    #[inline(always)]
    fn next_value(&mut self, mut at: usize) -> Result<Option<usize>, Fail> {
        while self.depth > 0 {
            at = self.skip_space(at);
            match self.text.get(at) {
                Some(b',') => {
                    at = self.skip_space(at + 1);
                    return if self.object { self.name(at) } else { Ok(at) }.map(Some);
                }
                Some(b'}') if self.object => at = self.close(at),
                Some(b']') if !self.object => at = self.close(at),
                Some(_) => return Err((ReadErrorKind::ExpectedComma, at)),
                None => return Err((ReadErrorKind::UnexpectedEnd, at)),
            }
        }
        at = self.skip_space(at);
        match at == self.text.len() {
            true => Ok(None),
            false => Err((ReadErrorKind::TrailingText, at)),
        }
    }

    #[inline(always)]
    fn skip_space(&mut self, at: usize) -> usize {
        match self.text.get(at) {
            Some(0..=b' ') => self.skip_more_space(at),
            _ => at,
        }
    }

    #[inline(never)]
    fn skip_more_space(&mut self, start: usize) -> usize {
        let mut at = start;
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(at) {
            at += 1;
        }
        self.dirty += u32::from(at > start);
        at
    }

    #[inline(always)]
    fn literal(&mut self, at: usize, word: &'static [u8], value: Value) -> Result<usize, Fail> {
        let rest = &self.text[at..];
        if rest.starts_with(word) {
            self.arena.stack.push(value);
            return Ok(at + word.len());
        }
        let same = rest.iter().zip(word).take_while(|(a, b)| a == b).count();
        match rest.len() == same {
            true => Err((ReadErrorKind::UnexpectedEnd, self.text.len())),
            false => Err((ReadErrorKind::ExpectedValue, at + same)),
        }
    }

    /// Opens the container whose bracket is here; returns where its first child or closing bracket must be.
    #[inline(always)]
    fn open(&mut self, at: usize, object: bool) -> Result<usize, Fail> {
        if self.depth >= limits::JSON_DEPTH_MAX {
            return Err((ReadErrorKind::TooDeep, at));
        }
        self.depth += 1;
        let frame = self.arena.stack.len();
        let open = Value::new(Kind::Header, 0, self.frame as u32, at as u32, self.dirty);
        self.arena.stack.push(open.with_marks(u8::from(self.object)));
        (self.frame, self.object) = (frame, object);
        Ok(self.skip_space(at + 1))
    }

    /// Closes the innermost container, whose closing bracket is here; its value takes the place of its frame.
    #[inline(always)]
    fn close(&mut self, at: usize) -> usize {
        let frame = self.frame;
        let open = self.arena.stack[frame];
        let object = self.object;
        if object {
            self.dirty += u32::from(self.arena.drop_duplicate_keys(Mark(frame + 1)));
        }
        let children = &self.arena.stack[frame + 1..];
        let len = if object { children.len() / 2 } else { children.len() };
        let (size, span) = match self.dirty == open.aux() {
            true => (at + 1 - open.at() as usize, self.base + open.at()),
            false => (self.arena.container_size(children), NO_SPAN),
        };
        let size = size.min(u32::MAX as usize) as u32;
        self.arena.stack[frame] = Value::new(Kind::Header, 0, size, span, 0);
        let first = self.arena.nodes.len() as u32 + 1;
        self.arena.nodes.extend_from_slice(&self.arena.stack[frame..]);
        self.arena.stack.truncate(frame + 1);
        let kind = if object { Kind::Object } else { Kind::Array };
        let depth = open.extra() + 1;
        self.arena.stack[frame] = Value::new(kind, depth, len as u32, first, 0);
        self.depth -= 1;
        (self.frame, self.object) = (open.count() as usize, open.marks() == 1);
        if self.depth > 0 {
            let parent = self.arena.stack[self.frame];
            self.arena.stack[self.frame] = parent.with_extra(depth.max(parent.extra()));
        }
        at + 1
    }

    /// A member's name and its colon; returns where its value must begin.
    #[inline(always)]
    fn name(&mut self, at: usize) -> Result<usize, Fail> {
        match self.text.get(at) {
            Some(b'"') => {}
            Some(_) => return Err((ReadErrorKind::ExpectedName, at)),
            None => return Err((ReadErrorKind::UnexpectedEnd, at)),
        }
        let at = self.string(at)?;
        if self.text.get(at) == Some(&b':') {
            if let Some(name) = self.arena.stack.last_mut() {
                // `COLON` is `QUOTED` shifted: where the colon follows at once, the name can be written with it.
                *name = name.with_extra(name.extra() | (name.extra() & QUOTED) >> 1);
            }
            return Ok(self.skip_space(at + 1));
        }
        let at = self.skip_space(at);
        match self.text.get(at) {
            Some(b':') => Ok(self.skip_space(at + 1)),
            Some(_) => Err((ReadErrorKind::ExpectedColon, at)),
            None => Err((ReadErrorKind::UnexpectedEnd, at)),
        }
    }

    /// The string whose opening quote is here.
    #[inline(always)]
    fn string(&mut self, at: usize) -> Result<usize, Fail> {
        let start = at + 1;
        let (end, head) = match word(self.text, start) {
            Some(head) => match specials(head) {
                0 => (special(self.text, start + 8), head as u32),
                found => {
                    let len = found.trailing_zeros() / 8;
                    (start + len as usize, (head & ((1 << (8 * len.min(4))) - 1)) as u32)
                }
            },
            None => {
                let end = special(self.text, start);
                (end, arena::prefix(&self.text[start.min(end)..end]))
            }
        };
        match self.text.get(end) {
            Some(b'"') => {
                let (len, at) = ((end - start) as u32, self.base + start as u32);
                self.arena.stack.push(Value::new(Kind::String, QUOTED, len, at, head));
                Ok(end + 1)
            }
            Some(b'\\') => self.escaped_string(start, end),
            Some(_) => Err((ReadErrorKind::ControlCharacter, end)),
            None => Err((ReadErrorKind::UnexpectedEnd, self.text.len())),
        }
    }

    /// The string that begins at `start` and has its first backslash at `at`.
    #[cold]
    fn escaped_string(&mut self, start: usize, mut at: usize) -> Result<usize, Fail> {
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
        let value = self.arena.string_since(out_at);
        self.arena.stack.push(value);
        Ok(at + 1)
    }

    #[inline(always)]
    fn number(&mut self, start: usize) -> Result<usize, Fail> {
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
        if digits > 18 {
            return self.long_integer(start, at);
        }
        let negative = first > start;
        // `-0` is the integer 0 to AWS, which is not how it was written.
        self.dirty += u32::from(negative && magnitude == 0);
        let int = if negative { -(magnitude as i64) } else { magnitude as i64 };
        self.arena.stack.push(Value::int(int));
        Ok(at)
    }

    #[cold]
    fn bad_number(&self, at: usize) -> Fail {
        match at == self.text.len() {
            true => (ReadErrorKind::UnexpectedEnd, at),
            false => (ReadErrorKind::Number, at),
        }
    }

    #[cold]
    fn long_integer(&mut self, start: usize, end: usize) -> Result<usize, Fail> {
        let text = std::str::from_utf8(&self.text[start..end]).unwrap_or_default();
        if let Ok(int) = text.parse::<i64>() {
            self.arena.stack.push(Value::int(int));
            return Ok(end);
        }
        self.float(start, end)
    }

    fn float(&mut self, start: usize, end: usize) -> Result<usize, Fail> {
        self.dirty += 1;
        let text = std::str::from_utf8(&self.text[start..end]).unwrap_or_default();
        match text.parse::<f64>() {
            Ok(float) if float.is_finite() => {
                self.arena.stack.push(Value::float(float));
                Ok(end)
            }
            _ => Err((ReadErrorKind::Number, start)),
        }
    }

    /// The number that begins at `start` and goes on with a fraction or exponent at `at`.
    fn decimal(&mut self, start: usize, first: usize, mut at: usize) -> Result<usize, Fail> {
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
        if exponent || !written_as_read(self.text[first] == b'0', integer_digits, fraction) {
            return self.float(start, at);
        }
        let len = (at - start) as u32;
        let at_text = self.base + start as u32;
        self.arena.stack.push(Value::new(Kind::Decimal, 0, len, at_text, 0));
        Ok(at)
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

/// Eight bytes of the text, if there are so many.
#[inline(always)]
fn word(text: &[u8], at: usize) -> Option<u64> {
    text.get(at..).and_then(|rest| rest.first_chunk()).map(|&bytes| u64::from_le_bytes(bytes))
}

/// Which of eight bytes a string cannot hold as they stand: quote, backslash, control characters. The lowest bit set
/// belongs to the first of them; bits above it may be wrong.
#[inline(always)]
fn specials(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // With this bit turned over, the quote follows right after the control characters.
    let quote_or_control = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    // Borrows go upwards only; bytes of 0x80 and above are no candidates.
    (quote_or_control | backslash) & !word & HIGH
}

/// The first byte from `at` on that a string cannot hold as it stands.
#[inline(always)]
fn special(text: &[u8], mut at: usize) -> usize {
    while let Some(word) = word(text, at) {
        match specials(word) {
            0 => at += 8,
            found => return at + (found.trailing_zeros() / 8) as usize,
        }
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
