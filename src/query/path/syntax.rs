//! Parsing of paths, like Jayway 2.0.0.
//!
//! That parser has no grammar. It cuts the text into fragments and guesses the kind of each from its first significant
//! character, so it accepts texts that are not paths, and users depend on some of them. This parser makes the same cuts
//! and the same guesses; where the original fails with an exception, this one refuses.

use super::filter::{Filter, Patterns};
use super::program::Step;
use crate::json::Key;
use crate::limits;

/// Why a text is not a path or an intrinsic function call, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong, for people.
    pub message: String,
    /// Byte offset in the text.
    pub offset: usize,
}

impl SyntaxError {
    pub(in crate::query) fn new(message: impl Into<String>, offset: usize) -> SyntaxError {
        SyntaxError { message: message.into(), offset }
    }
}

impl std::fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}", self.message, self.offset)
    }
}

impl std::error::Error for SyntaxError {}

/// Removes what Java's `String.trim` removes; returns the rest and how many bytes were removed at the front.
pub(super) fn trim(text: &str) -> (&str, usize) {
    let kept = text.trim_start_matches(|c| c <= ' ');
    (kept.trim_end_matches(|c| c <= ' '), text.len() - kept.len())
}

/// Parses the part behind the root of a path. `at` is the position of `text` in the whole text. A path within a filter
/// may not itself contain a filter: it would not be definite.
pub(super) fn steps(
    text: &str,
    at: usize,
    in_filter: bool,
    patterns: Patterns<'_>,
) -> Result<Vec<Step>, SyntaxError> {
    let bytes = text.as_bytes();
    if text.ends_with("..") {
        return Err(SyntaxError::new("a path can not end with `..`", at + text.len() - 2));
    }
    let mut steps = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        if steps.len() == limits::PATH_STEPS_MAX {
            return Err(SyntaxError::new("the path has too many steps", at + i));
        }
        match bytes[i] {
            b' ' => return Err(SyntaxError::new("a space is not allowed here; use `['a b']`", at + i)),
            b'$' => {
                steps.push(Step::Root);
                i += 1;
            }
            b'*' => {
                steps.push(Step::Wildcard);
                i += 1;
            }
            b'[' => {
                let end = bracket_end(bytes, i);
                steps.push(Fragment { text: &text[i..end], at: at + i }.step(in_filter, patterns)?);
                i = end;
            }
            b'.' if bytes.get(i + 1) == Some(&b'.') => {
                steps.push(Step::Scan);
                i += 2;
            }
            b'.' if i + 1 == bytes.len() => {
                return Err(SyntaxError::new("a name or `[` must follow the dot", at + i));
            }
            first => {
                let from = i + usize::from(first == b'.');
                let end = name_end(bytes, from);
                match &text[from..end] {
                    "" => {}
                    "*" => steps.push(Step::Wildcard),
                    name if !name.bytes().any(|byte| matches!(byte, b'\'' | b']')) => {
                        steps.push(Step::Name(Key::new(name)));
                    }
                    name => steps.push(names(name, true)),
                }
                i = end;
            }
        }
    }
    Ok(steps)
}

/// The end of a name without brackets.
fn name_end(bytes: &[u8], from: usize) -> usize {
    let length = bytes[from..].iter().position(|byte| matches!(byte, b'.' | b'[' | b' '));
    length.map_or(bytes.len(), |length| from + length)
}

/// The position behind the bracket that closes the one at `from`, ignoring quotes; the end of the text if it is
/// missing.
fn bracket_end(bytes: &[u8], from: usize) -> usize {
    let mut open = 0;
    for (i, byte) in bytes.iter().enumerate().skip(from + 1) {
        match byte {
            b']' if open == 0 => return i + 1,
            b'[' => open += 1,
            b']' => open -= 1,
            _ => {}
        }
    }
    bytes.len()
}

/// The quoted names in `text` up to the first `]`; an unclosed one is dropped.
fn names(text: &str, mut open: bool) -> Step {
    let mut keys = Vec::new();
    let mut from = 0;
    let end = text.find(']');
    for (i, _) in text[..end.unwrap_or(text.len())].match_indices('\'') {
        if open {
            keys.push(Key::new(&text[from..i]));
        }
        from = i + 1;
        open = !open;
    }
    // A name without brackets ends with its text.
    if open && end.is_none() {
        keys.push(Key::new(&text[from..]));
    }
    match <[Key; 1]>::try_from(keys) {
        Ok([key]) => Step::Name(key),
        Err(keys) => Step::Names(keys.into()),
    }
}

/// A text that begins with `[` and, unless the path ends too early, ends with `]`.
struct Fragment<'t> {
    text: &'t str,
    at: usize,
}

impl Fragment<'_> {
    fn step(&self, in_filter: bool, patterns: Patterns<'_>) -> Result<Step, SyntaxError> {
        if self.text == "[*]" {
            return Ok(Step::Wildcard);
        }
        if let Some(count) = self.placeholders() {
            return Ok(Step::Filter(Box::new(Filter::absent(count))));
        }
        let telling = |byte: &u8| matches!(byte, b'?' | b'\'' | b'0'..=b'9' | b':' | b'-' | b'@');
        let Some(i) = self.text.bytes().position(|byte| telling(&byte)) else {
            return self.error(0, "expected a quoted name, an index, a slice, `*` or a filter in brackets");
        };
        match self.text.as_bytes()[i] {
            b'?' if in_filter => self.error(i, "a path in a filter must be definite"),
            b'?' => self.filter(i, patterns),
            b'\'' if !self.text[i..].contains(']') => self.error(0, "the bracket is not closed"),
            b'\'' => Ok(names(&self.text[i..], false)),
            b'@' => self.counted_from_end(i),
            _ => Numbers { bytes: self.text.as_bytes(), i, list: Vec::new() }
                .step()
                .ok_or_else(|| SyntaxError::new("malformed index or slice", self.at + i)),
        }
    }

    fn error<T>(&self, i: usize, message: &str) -> Result<T, SyntaxError> {
        Err(SyntaxError::new(message, self.at + i))
    }

    /// `[?]`, `[?,?]`: placeholders for filters that a Java caller would pass. Returns how many.
    fn placeholders(&self) -> Option<usize> {
        let inside = self.text.strip_prefix('[')?.strip_suffix(']')?;
        let space = |c: char| matches!(c, ' ' | '\t'..='\r');
        let rest = inside.trim_start_matches(space).strip_prefix('?')?;
        let only_marks = rest.chars().all(|c| space(c) || matches!(c, ',' | '*' | '?'));
        only_marks.then(|| 1 + rest.matches('?').count())
    }

    /// `[?(…)]`: from the bracket before the question mark to the closing one outside of quotes and parentheses.
    fn filter(&self, question: usize, patterns: Patterns<'_>) -> Result<Step, SyntaxError> {
        let from = self.text[..question].rfind('[').unwrap_or(0);
        let (mut round, mut square) = (0i32, 0i32);
        let (mut quoted, mut before) = (false, b' ');
        for (i, byte) in self.text.bytes().enumerate().skip(from) {
            match byte {
                b'(' if !quoted => round += 1,
                b')' if !quoted => round -= 1,
                b'[' if !quoted => square += 1,
                b']' if !quoted => {
                    square -= 1;
                    if round == 0 {
                        if square != 0 {
                            return self.error(from, "the brackets of the filter are not balanced");
                        }
                        let filter = Filter::parse(&self.text[from..=i], self.at + from, patterns)?;
                        return Ok(Step::Filter(Box::new(filter)));
                    }
                }
                b'\'' if before != b'\\' => quoted = !quoted,
                _ => {}
            }
            before = byte;
        }
        self.error(from, "the filter is not closed")
    }

    /// `[(@.length-1)]`.
    fn counted_from_end(&self, at_sign: usize) -> Result<Step, SyntaxError> {
        let read = || {
            let rest = self.text.get(at_sign + 1..)?;
            let mut chars = rest.chars();
            chars.next()?;
            let (function, number) = chars.as_str().split_once('-')?;
            let (number, _) = number.split_once(')')?;
            let function: String = function.chars().filter(|c| !matches!(c, ' ' | '(' | ')')).collect();
            let number: String = number.chars().filter(|&c| c != ' ').collect();
            let known = function == "size" || function == "length";
            known.then(|| format!("-{number}").parse().ok()).flatten()
        };
        match read() {
            Some(number) => Ok(Step::FromEnd(number)),
            None => self.error(at_sign, "only `[(@.length-1)]` and the like are allowed here"),
        }
    }
}

/// Parses indexes and slices.
struct Numbers<'t> {
    bytes: &'t [u8],
    i: usize,
    list: Vec<i32>,
}

impl Numbers<'_> {
    fn step(mut self) -> Option<Step> {
        let mut digits = String::new();
        let (mut to, mut from, mut several) = (false, false, false);
        while let byte @ (b'0'..=b'9' | b',' | b' ' | b':' | b'-') = *self.bytes.get(self.i)? {
            match byte {
                b' ' => {}
                b':' if digits.is_empty() => {
                    to = true;
                    let number = self.digits_after_colon()?;
                    self.list.push(number.parse().ok()?);
                }
                b':' => {
                    self.list.push(digits.parse().ok()?);
                    digits.clear();
                    let number = self.digits_after_colon()?;
                    match number.as_str() {
                        "" => from = true,
                        number => self.list.push(number.parse().ok()?),
                    }
                }
                b',' => {
                    self.list.push(digits.parse().ok()?);
                    digits.clear();
                    several = true;
                }
                digit => digits.push(char::from(digit)),
            }
            if self.bytes.get(self.i)? == &b']' {
                break;
            }
            // Behind the second number of a slice one character is skipped, whatever it is.
            self.i += 1;
            while self.bytes.get(self.i).is_some_and(|byte| byte & 0xc0 == 0x80) {
                self.i += 1;
            }
        }
        if !digits.is_empty() {
            self.list.push(digits.parse().ok()?);
        }
        Some(match *self.list.as_slice() {
            [index] if !to && !from => Step::Index(index),
            _ if several => Step::Indexes(self.list.into()),
            [first, ..] if from => Step::SliceFrom(first),
            [first, ..] if to => Step::SliceTo(first),
            [first, second, ..] => Step::Slice(first, second),
            _ => return None,
        })
    }

    fn digits_after_colon(&mut self) -> Option<String> {
        let mut digits = String::new();
        self.i += 1;
        while let byte @ (b'0'..=b'9' | b' ' | b'-') = *self.bytes.get(self.i)? {
            if byte != b' ' {
                digits.push(char::from(byte));
            }
            self.i += 1;
        }
        Some(digits)
    }
}
