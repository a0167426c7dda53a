//! JSON text to values (strictly RFC 8259).
//!
//! The text is copied once into the arena; strings without escapes and numbers that would be written as they stand
//! remain spans of it. `benches/read.rs` holds the measurement that justifies a parser of our own: the same arena
//! filled through the fastest well-kept deserializer costs more than 1.3 times as much.

use super::arena::NO_SPAN;
use super::names::{Names, ORDER_START, ORDER_UNKNOWN, Order};
use super::pace::{AtOnce, InPieces, PIECE_BYTES, Pace};
use super::value::{COLON, Kind, QUOTED, Value};
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
    /// The first part of a message about the text: one that is only too large for this reader is JSON.
    pub fn verdict(&self) -> &'static str {
        use ReadErrorKind::{NumberRange, Stopped, TooDeep, TooLarge};
        match self.kind {
            NumberRange | TooDeep | TooLarge | Stopped => "cannot be read",
            _ => "is not JSON",
        }
    }

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
    /// The text ends inside a value, or is empty.
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
    /// A number with a leading zero, a lone sign or a missing digit.
    #[error("malformed number")]
    Number,
    /// A number that is JSON, but too large for a double: `1e400`.
    #[error("number out of range (of a double, at most 1.7976931348623157e308)")]
    NumberRange,
    /// An invalid escape, or half a surrogate pair.
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
    /// The caller cancelled the read.
    #[error("reading was stopped")]
    Stopped,
}

/// Reads one JSON text into the arena.
///
/// Key order is kept and the last of duplicate keys wins. Integers keep their digits; in arithmetic, one that does not
/// fit 64 bits becomes a double. A number too large for a double is refused.
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
    read_by(arena, text, AtOnce)
}

/// [`read`] in pieces: `goes_on` is called, with the bytes read since the last call, and decides whether to continue.
///
/// # Errors
/// As [`read`]'s, and where it was stopped.
pub(crate) fn read_in_pieces(
    arena: &mut Arena,
    text: &[u8],
    goes_on: impl FnMut(usize) -> bool,
) -> Result<Value, ReadError> {
    read_by(arena, text, InPieces(goes_on))
}

fn read_by<P: Pace>(arena: &mut Arena, text: &[u8], pace: P) -> Result<Value, ReadError> {
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
    // Taken out while reading, so that it is clear which of the two changes.
    let slots = std::mem::take(&mut arena.slots);
    let mut names = arena.names.take().unwrap_or_else(Names::new);
    names.rewind();
    let mut reader = Reader {
        text,
        valid,
        base: base as u32,
        dirty: 0,
        depth: 0,
        deepest: 0,
        frame: 0,
        order: ORDER_START,
        slots,
        names,
        arena,
        pace,
        told: 0,
    };
    let result = reader.document();
    let Reader { slots, names, arena, .. } = reader;
    // It was just written, as two words; with its marks changed it is also read as two words, and not as one value,
    // which would stall until both are in the cache.
    let value = slots.first().map_or(Value::NULL, |value| value.with_marks(0));
    arena.slots = slots;
    arena.names = Some(names);
    match result {
        Ok(()) if !arena.reserve(0) => fail(ReadErrorKind::TooLarge, 0),
        Ok(()) => Ok(value),
        Err((kind, offset)) => fail(kind, offset),
    }
}

type Fail = (ReadErrorKind, usize);

/// Reads without recursion. Values are put into consecutive `slots`; an open container has a frame there, below its
/// children: the record that becomes the header of its block, so that closing it copies header and children at once.
///
/// | frame | while open |
/// |---|---|
/// | `marks` | what is known of the parent's names |
/// | `extra` | the deepest level before, and whether the parent is an object |
/// | `at` | where its text begins |
/// | `len` | the parent's frame |
/// | `aux` | `dirty` when it was opened |
///
/// The position in the text (`at`), the first free slot (`top`) and the byte that closes the innermost container are
/// passed as arguments rather than kept here: that holds them in registers, which is a quarter of the speed.
struct Reader<'a, P> {
    text: &'a [u8],
    valid: &'a str,
    /// Where the text begins in the arena's text.
    base: u32,
    /// Grows with everything whose canonical text differs from the input.
    dirty: u32,
    /// How many containers are open.
    depth: u16,
    /// The greatest number of open containers since the innermost open one.
    deepest: u16,
    /// The slot of the innermost open container.
    frame: usize,
    /// What is known of its names.
    order: Order,
    slots: Vec<Value>,
    names: Box<Names>,
    arena: &'a mut Arena,
    pace: P,
    /// The position at the last call of `pace`.
    told: usize,
}

/// A sentinel behind the end of the text, which "closes" the document. A NUL in the text reads the same, and is
/// distinguished by its position.
const END: u8 = 0;

/// In a frame: the parent is an object.
const IN_OBJECT: u16 = 0x8000;

impl<P: Pace> Reader<'_, P> {
    fn document(&mut self) -> Result<(), Fail> {
        let (mut at, mut top, mut closing) = (0, 0, END);
        loop {
            match self.byte(at) {
                b'"' => at = self.string(at, top, false)?,
                b'{' => {
                    self.open(at, top, closing)?;
                    (top, closing) = (top + 1, b'}');
                    at = self.skip_space(at + 1);
                    if self.byte(at) != b'}' {
                        at = self.name(at, top)?;
                        top += 1;
                        continue;
                    }
                    top -= 1;
                }
                b'[' => {
                    self.open(at, top, closing)?;
                    (top, closing) = (top + 1, b']');
                    at = self.skip_space(at + 1);
                    if self.byte(at) != b']' {
                        continue;
                    }
                    top -= 1;
                }
                b'-' | b'0'..=b'9' => at = self.number(at, top)?,
                b't' => at = self.literal(at, top, b"true", Value::TRUE)?,
                b'f' => at = self.literal(at, top, b"false", Value::FALSE)?,
                b'n' => at = self.literal(at, top, b"null", Value::NULL)?,
                b' ' | b'\n' | b'\r' | b'\t' => {
                    at = self.skip_more_space(at);
                    continue;
                }
                _ => return Err(self.unexpected(at, ReadErrorKind::ExpectedValue)),
            }
            top += 1;
            if P::STOPS && at - self.told > PIECE_BYTES {
                let bytes = at - std::mem::replace(&mut self.told, at);
                if !self.pace.goes_on(bytes) {
                    return Err((ReadErrorKind::Stopped, at));
                }
            }
            // A value is complete: close what ends here, and continue with the next.
            loop {
                let byte = self.byte(at);
                if byte == b',' && closing != END {
                    at += 1;
                    if closing == b'}' {
                        at = self.name(at, top)?;
                        top += 1;
                    }
                    break;
                }
                if byte == closing && closing != END {
                    (top, closing) = self.close(at, top, closing);
                    at += 1;
                } else if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                    at = self.skip_more_space(at);
                } else if closing != END {
                    return Err(self.unexpected(at, ReadErrorKind::ExpectedComma));
                } else if at < self.text.len() {
                    return Err((ReadErrorKind::TrailingText, at));
                } else {
                    return Ok(());
                }
            }
        }
    }

    /// The byte at a place, [`END`] behind the last one.
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(END)
    }

    #[cold]
    fn unexpected(&self, at: usize, otherwise: ReadErrorKind) -> Fail {
        if at < self.text.len() { (otherwise, at) } else { (ReadErrorKind::UnexpectedEnd, at) }
    }

    /// Puts a value into the first free slot.
    #[inline(always)]
    fn put(&mut self, top: usize, value: Value) {
        match self.slots.get_mut(top) {
            Some(slot) => *slot = value,
            None => self.put_more(top, value),
        }
    }

    #[cold]
    #[inline(never)]
    fn put_more(&mut self, top: usize, value: Value) {
        self.slots.resize((2 * top).max(64), Value::NULL);
        self.slots[top] = value;
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
    fn literal(&mut self, at: usize, top: usize, word: &'static [u8], value: Value) -> Result<usize, Fail> {
        let rest = &self.text[at..];
        if rest.starts_with(word) {
            self.put(top, value);
            return Ok(at + word.len());
        }
        let same = rest.iter().zip(word).take_while(|(a, b)| a == b).count();
        if rest.len() == same {
            Err((ReadErrorKind::UnexpectedEnd, self.text.len()))
        } else {
            Err((ReadErrorKind::ExpectedValue, at + same))
        }
    }

    /// Opens the container whose bracket is here.
    #[inline(always)]
    fn open(&mut self, at: usize, top: usize, closing: u8) -> Result<(), Fail> {
        if self.depth >= limits::JSON_DEPTH_MAX {
            return Err((ReadErrorKind::TooDeep, at));
        }
        let saved = self.deepest | if closing == b'}' { IN_OBJECT } else { 0 };
        let open = Value::new(Kind::Header, saved, self.frame as u32, at as u32, self.dirty);
        self.put(top, open.with_marks(self.order));
        self.depth += 1;
        (self.frame, self.deepest, self.order) = (top, self.depth, ORDER_START);
        Ok(())
    }

    /// Closes the innermost container, whose closing bracket is here; its value replaces its frame. Returns the first
    /// free slot, and the byte that closes the parent.
    #[inline(always)]
    fn close(&mut self, at: usize, mut top: usize, closing: u8) -> (usize, u8) {
        let (frame, object) = (self.frame, closing == b'}');
        if object && top - frame > 3 && !self.names.differ(self.order) {
            top = self.drop_twins(top);
        }
        let children = &mut self.slots[frame..top];
        let Some((&mut open, &mut ref rest)) = children.split_first_mut() else { return (top, closing) };
        let (size, span) = if self.dirty == open.aux() {
            (at + 1 - open.at() as usize, self.base + open.at())
        } else {
            (self.arena.size_and_depth(rest).0, NO_SPAN)
        };
        let (kind, len) = if object { (Kind::Object, rest.len() / 2) } else { (Kind::Array, rest.len()) };
        children[0] = Value::new(Kind::Header, 0, size.min(u32::MAX as usize) as u32, span, 0);
        let first = self.arena.nodes.len() as u32 + 1;
        self.arena.nodes.extend_from_slice(children);
        let depth = self.deepest - self.depth + 1;
        children[0] = Value::new(kind, depth, len as u32, first, 0);
        self.depth -= 1;
        self.deepest = self.deepest.max(open.extra() & !IN_OBJECT);
        (self.frame, self.order) = (open.count() as usize, open.marks());
        let closing = match open.extra() & IN_OBJECT {
            0 if self.depth == 0 => END,
            0 => b']',
            _ => b'}',
        };
        (frame + 1, closing)
    }

    /// Makes the names of the innermost object unique; returns the first free slot afterwards.
    #[inline(never)]
    fn drop_twins(&mut self, top: usize) -> usize {
        let members = &mut self.slots[self.frame + 1..top];
        if !arena::may_hold_twins(members) {
            return top;
        }
        let kept = self.arena.drop_equal_keys(members);
        self.dirty += u32::from(kept < members.len());
        self.frame + 1 + kept
    }

    /// A member's name and its colon; returns where its value may begin.
    #[inline(always)]
    fn name(&mut self, at: usize, top: usize) -> Result<usize, Fail> {
        match self.names.expected(self.words(at), &mut self.order) {
            Some((name, len)) => {
                self.put(top, name.with_at(self.base + at as u32 + 1));
                Ok(at + len)
            }
            None => self.new_name(at, top),
        }
    }

    #[inline(never)]
    fn new_name(&mut self, at: usize, top: usize) -> Result<usize, Fail> {
        self.order = ORDER_UNKNOWN;
        let start = self.skip_space(at);
        if self.byte(start) != b'"' {
            return Err(self.unexpected(start, ReadErrorKind::ExpectedName));
        }
        let mut at = self.string(start, top, true)?;
        if self.byte(at) != b':' {
            at = self.skip_space(at);
            if self.byte(at) != b':' {
                return Err(self.unexpected(at, ReadErrorKind::ExpectedColon));
            }
        }
        let name = self.slots[top];
        if name.extra() == QUOTED | COLON {
            self.names.learn(self.words(start), name, at + 1 - start);
        }
        Ok(at + 1)
    }

    /// The string whose opening quote is here.
    #[inline(always)]
    fn string(&mut self, at: usize, top: usize, key: bool) -> Result<usize, Fail> {
        let start = at + 1;
        let [a, b] = self.words(start);
        let (end, head) = match specials(a) {
            0 => match specials(b) {
                0 => (self.special(start + 16), a as u32),
                found => (start + 8 + (found.trailing_zeros() / 8) as usize, a as u32),
            },
            found => {
                // All bits below the one found, which is the highest of its byte.
                let before = ((found & found.wrapping_neg()) >> 7).wrapping_sub(1);
                (start + (found.trailing_zeros() / 8) as usize, (a & before) as u32)
            }
        };
        if self.byte(end) != b'"' {
            return self.odd_string(start, end, top);
        }
        // If the colon follows at once, the name can be written with it.
        let marks = if key && self.byte(end + 1) == b':' { QUOTED | COLON } else { QUOTED };
        self.put(top, Value::new(Kind::String, marks, (end - start) as u32, self.base + start as u32, head));
        Ok(end + 1)
    }

    /// The first position from `at` on that a string cannot have unescaped, at most the end of the text.
    #[inline(always)]
    fn special(&self, mut at: usize) -> usize {
        loop {
            let [a, b] = self.words(at);
            match (specials(a), specials(b)) {
                (0, 0) => at += 16,
                (0, found) => return at + 8 + (found.trailing_zeros() / 8) as usize,
                (found, _) => return at + (found.trailing_zeros() / 8) as usize,
            }
        }
    }

    /// Sixteen bytes of the text, padded with NULs.
    #[inline(always)]
    fn words(&self, at: usize) -> [u64; 2] {
        match self.text.get(at..).and_then(|rest| rest.first_chunk()) {
            Some(text) => words(text),
            None => last_words(self.text.get(at..).unwrap_or_default()),
        }
    }

    /// The string that begins at `start` and has a special byte at `at`.
    #[cold]
    #[inline(never)]
    fn odd_string(&mut self, start: usize, mut at: usize, top: usize) -> Result<usize, Fail> {
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
                    at = self.special(at);
                }
                Some(_) => return Err((ReadErrorKind::ControlCharacter, at)),
                None => return Err((ReadErrorKind::UnexpectedEnd, self.text.len())),
            }
        }
        let value = self.arena.string_since(out_at);
        self.put(top, value);
        Ok(at + 1)
    }

    #[inline(always)]
    fn number(&mut self, start: usize, top: usize) -> Result<usize, Fail> {
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
        if let b'.' | b'e' | b'E' = self.byte(at) {
            return self.decimal(start, first, at, top);
        }
        if digits > 18 {
            return self.long_integer(start, at, top);
        }
        let negative = first > start;
        // For AWS `-0` is the integer 0, which differs from the input.
        self.dirty += u32::from(negative && magnitude == 0);
        let int = if negative { -(magnitude as i64) } else { magnitude as i64 };
        self.put(top, Value::int(int));
        Ok(at)
    }

    #[cold]
    fn bad_number(&self, at: usize) -> Fail {
        if at == self.text.len() { (ReadErrorKind::UnexpectedEnd, at) } else { (ReadErrorKind::Number, at) }
    }

    #[cold]
    fn long_integer(&mut self, start: usize, end: usize, top: usize) -> Result<usize, Fail> {
        let text = std::str::from_utf8(&self.text[start..end]).unwrap_or_default();
        let value = match text.parse::<i64>() {
            Ok(int) => Value::int(int),
            Err(_) => self.double(start, end).map(|_| self.as_written(start, end))?,
        };
        self.put(top, value);
        Ok(end)
    }

    /// A number that is kept as its text.
    fn as_written(&self, start: usize, end: usize) -> Value {
        Value::new(Kind::Decimal, 0, (end - start) as u32, self.base + start as u32, 0)
    }

    fn float(&mut self, start: usize, end: usize, top: usize) -> Result<usize, Fail> {
        self.dirty += 1;
        let float = self.double(start, end)?;
        self.put(top, Value::float(float));
        Ok(end)
    }

    fn double(&self, start: usize, end: usize) -> Result<f64, Fail> {
        match std::str::from_utf8(&self.text[start..end]).unwrap_or_default().parse::<f64>() {
            Ok(float) if float.is_finite() => Ok(float),
            Ok(_) => Err((ReadErrorKind::NumberRange, start)),
            Err(_) => Err((ReadErrorKind::Number, start)),
        }
    }

    /// The number that begins at `start` and continues with a fraction or exponent at `at`.
    fn decimal(&mut self, start: usize, first: usize, mut at: usize, top: usize) -> Result<usize, Fail> {
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
            return self.float(start, at, top);
        }
        self.put(top, self.as_written(start, at));
        Ok(at)
    }
}

/// Whether the shortest text of this number is the input: at most 15 digits always survive a double, no trailing zero
/// would be dropped, and it is not so small that it gets an exponent.
fn written_as_read(zero_integer: bool, integer_digits: usize, fraction: &[u8]) -> bool {
    let leading_zeros = fraction.iter().take_while(|&&digit| digit == b'0').count();
    let trailing_zero = fraction.len() > 1 && fraction.last() == Some(&b'0');
    integer_digits + fraction.len() <= 15
        && !trailing_zero
        && !(zero_integer && fraction.len() > 1 && leading_zeros > 3)
}

#[inline(always)]
fn words(text: &[u8; 16]) -> [u64; 2] {
    let (a, b) = text.split_at(8);
    let word = |half: &[u8]| half.first_chunk().map_or(0, |&half| u64::from_le_bytes(half));
    [word(a), word(b)]
}

/// The same of less than sixteen bytes, assembled without memory accesses, which would stall.
#[inline(never)]
fn last_words(rest: &[u8]) -> [u64; 2] {
    match rest.split_first_chunk() {
        Some((&a, rest)) => [u64::from_le_bytes(a), last_word(rest)],
        None => [last_word(rest), 0],
    }
}

/// Less than eight bytes as a word.
fn last_word(rest: &[u8]) -> u64 {
    match (rest, rest.first_chunk(), rest.last_chunk()) {
        (_, Some(&first), Some(&last)) => {
            let (first, last) = (u32::from_le_bytes(first), u32::from_le_bytes(last));
            u64::from(first) | u64::from(last) << (8 * (rest.len() - 4))
        }
        (&[a, b, c], ..) => u64::from_le_bytes([a, b, c, 0, 0, 0, 0, 0]),
        (&[a, b], ..) => u64::from_le_bytes([a, b, 0, 0, 0, 0, 0, 0]),
        (&[a], ..) => u64::from(a),
        _ => 0,
    }
}

/// Which of eight bytes a string cannot have unescaped: quote, backslash, control characters. The lowest bit set
/// belongs to the first of them; bits above it may be wrong.
#[inline(always)]
fn specials(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // With this bit flipped, the quote follows right after the control characters.
    let quote_or_control = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    // Borrows only go upwards; bytes of 0x80 and above are excluded.
    (quote_or_control | backslash) & !word & HIGH
}

/// The character an escape stands for, and where the text continues.
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
