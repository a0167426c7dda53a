//! JSON text as its author wrote it: a tree in which every node has its place. For definitions and messages about them;
//! execution data goes into the [`Arena`](super::Arena) instead.

use std::collections::HashMap;

use crate::limits;

/// A range of bytes of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A value and its place in the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

impl<T> Sourced<T> {
    /// Puts a value and its place together.
    pub const fn new(value: T, span: Span) -> Sourced<T> {
        Sourced { value, span }
    }
}

/// A JSON value with its place in the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: NodeValue,
    /// Its place; of a string with its quotes, of a container with its brackets.
    pub span: Span,
}

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeValue {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written.
    Number(Box<str>),
    /// A string, decoded.
    String(Box<str>),
    /// An array.
    Array(Vec<Node>),
    /// An object: its members in the order of the text, with no name twice (the last value stays, in the place of the
    /// first).
    Object(Vec<Member>),
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The name, decoded; its span includes the quotes.
    pub key: Sourced<Box<str>>,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            NodeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The members of an object, in order.
    pub fn members(&self) -> Option<&[Member]> {
        match &self.value {
            NodeValue::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.value {
            NodeValue::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.value {
            NodeValue::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The text of a number, if it is one.
    pub fn as_number(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Number(text) => Some(text),
            _ => None,
        }
    }

    /// The member `key` of an object.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.members()?.iter().find(|member| *member.key.value == *key).map(|member| &member.value)
    }
}

/// A text that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The value the text holds.
    pub root: Node,
    /// Repeated names in an object, at their later place. Their earlier values are not in the tree.
    pub duplicates: Vec<Sourced<Box<str>>>,
}

/// Why a text could not be read. [`explain`](super::explain::explain) gives the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// What is wrong.
    pub kind: SourceErrorKind,
    /// The byte at which it was seen.
    pub offset: usize,
}

/// What keeps a text from being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceErrorKind {
    /// It is not JSON (RFC 8259).
    Syntax,
    /// It is not UTF-8.
    NotUtf8,
    /// More than [`limits::JSON_DEPTH_MAX`] levels.
    TooDeep,
    /// More bytes than allowed.
    TooLarge,
}

/// Reads a text of at most `bytes_max` bytes (and less than 4 GiB) that holds one JSON value.
///
/// Strict RFC 8259. Depth is limited, so that nothing that walks the tree can run out of stack.
pub fn read(text: &[u8], bytes_max: usize) -> Result<Source, SourceError> {
    if text.len() > bytes_max.min(u32::MAX as usize) {
        return Err(SourceError { kind: SourceErrorKind::TooLarge, offset: bytes_max });
    }
    let text = std::str::from_utf8(text)
        .map_err(|error| SourceError { kind: SourceErrorKind::NotUtf8, offset: error.valid_up_to() })?;
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, duplicates: Vec::new() };
    reader.skip_space();
    let root = reader.value(0)?;
    reader.skip_space();
    if reader.at < reader.bytes.len() {
        return Err(reader.syntax());
    }
    Ok(Source { root, duplicates: reader.duplicates })
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    duplicates: Vec<Sourced<Box<str>>>,
}

/// The number of members from which on an object checks for duplicates with a hash set.
const MEMBERS_SCANNED_MAX: usize = 32;

impl Reader<'_> {
    fn syntax(&self) -> SourceError {
        SourceError { kind: SourceErrorKind::Syntax, offset: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Skips space, then takes `byte`.
    fn expect(&mut self, byte: u8) -> Result<(), SourceError> {
        self.skip_space();
        if self.peek() != Some(byte) {
            return Err(self.syntax());
        }
        self.at += 1;
        Ok(())
    }

    fn span(&self, start: usize) -> Span {
        Span { start: start as u32, end: self.at as u32 }
    }

    fn value(&mut self, depth: u16) -> Result<Node, SourceError> {
        let start = self.at;
        let value = match self.peek() {
            Some(b'{' | b'[') if depth >= limits::JSON_DEPTH_MAX => {
                return Err(SourceError { kind: SourceErrorKind::TooDeep, offset: self.at });
            }
            Some(b'{') => NodeValue::Object(self.object(depth + 1)?),
            Some(b'[') => NodeValue::Array(self.array(depth + 1)?),
            Some(b'"') => NodeValue::String(self.string()?),
            Some(b't') => self.word("true", NodeValue::Bool(true))?,
            Some(b'f') => self.word("false", NodeValue::Bool(false))?,
            Some(b'n') => self.word("null", NodeValue::Null)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => return Err(self.syntax()),
        };
        Ok(Node { value, span: self.span(start) })
    }

    fn word(&mut self, word: &str, value: NodeValue) -> Result<NodeValue, SourceError> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.syntax());
        }
        self.at += word.len();
        Ok(value)
    }

    fn digits(&mut self) -> Result<(), SourceError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.syntax());
        }
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<NodeValue, SourceError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.syntax());
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(NodeValue::Number(self.text[start..self.at].into()))
    }

    fn array(&mut self, depth: u16) -> Result<Vec<Node>, SourceError> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(items);
        }
        loop {
            self.skip_space();
            items.push(self.value(depth)?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => break,
            }
        }
        self.expect(b']')?;
        Ok(items)
    }

    fn object(&mut self, depth: u16) -> Result<Vec<Member>, SourceError> {
        self.at += 1;
        let mut members: Vec<Member> = Vec::new();
        let mut seen = HashMap::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(members);
        }
        loop {
            self.skip_space();
            let start = self.at;
            let name = self.string()?;
            let key = Sourced::new(name, self.span(start));
            self.expect(b':')?;
            self.skip_space();
            let value = self.value(depth)?;
            match position(&members, &mut seen, &key.value) {
                Some(earlier) => {
                    self.duplicates.push(key);
                    members[earlier].value = value;
                }
                None => members.push(Member { key, value }),
            }
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => break,
            }
        }
        self.expect(b'}')?;
        Ok(members)
    }

    fn string(&mut self) -> Result<Box<str>, SourceError> {
        if self.peek() != Some(b'"') {
            return Err(self.syntax());
        }
        self.at += 1;
        let start = self.at;
        self.skip_plain();
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(self.text[start..self.at - 1].into());
        }
        let mut text = String::from(&self.text[start..self.at]);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text.into_boxed_str());
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(0x20..) => {
                    let start = self.at;
                    self.skip_plain();
                    text.push_str(&self.text[start..self.at]);
                }
                _ => return Err(self.syntax()),
            }
        }
    }

    /// Skips unescaped text in a string.
    fn skip_plain(&mut self) {
        while let Some(byte) = self.peek() {
            if byte < 0x20 || byte == b'"' || byte == b'\\' {
                break;
            }
            self.at += 1;
        }
    }

    /// Reads an escape. Half of a surrogate pair becomes U+FFFD, because a Rust string cannot have it.
    fn escape(&mut self) -> Result<char, SourceError> {
        self.at += 1;
        let plain = match self.peek() {
            Some(b'u') => {
                self.at += 1;
                let unit = self.hex4()?;
                if let 0xD800..0xDC00 = unit
                    && self.bytes[self.at..].starts_with(b"\\u")
                {
                    let back = self.at;
                    self.at += 2;
                    let low = self.hex4()?;
                    if let 0xDC00..0xE000 = low {
                        let code = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                        return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    self.at = back;
                }
                return Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err(self.syntax()),
        };
        self.at += 1;
        Ok(plain)
    }

    fn hex4(&mut self) -> Result<u32, SourceError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit * 16 + digit.ok_or_else(|| self.syntax())?;
            self.at += 1;
        }
        Ok(unit)
    }
}

/// The index of `name` in `members`. Large objects are looked up in `seen`, which follows `members`.
fn position(members: &[Member], seen: &mut HashMap<Box<str>, usize>, name: &str) -> Option<usize> {
    if members.len() < MEMBERS_SCANNED_MAX {
        return members.iter().position(|member| *member.key.value == *name);
    }
    for (index, member) in members.iter().enumerate().skip(seen.len()) {
        seen.insert(member.key.value.clone(), index);
    }
    seen.get(name).copied()
}
