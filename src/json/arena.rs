//! The arena: text, blocks of children, and the stack on which containers are built.

use super::number::int_len;
use super::value::{Kind, Value};
use super::{Number, number};
use crate::limits;

pub(super) const NO_SPAN: u32 = u32::MAX;

/// Where the building of a container began, on the arena's stack.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

/// Where the building of a string began, in the arena's text.
#[derive(Clone, Copy, Debug)]
pub struct TextMark(usize);

/// An object key prepared for lookups: its length and first bytes decide most comparisons.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    prefix: u32,
    text: Box<str>,
}

impl Key {
    /// Prepares `text`.
    pub fn new(text: &str) -> Key {
        Key { prefix: prefix(text.as_bytes()), text: text.into() }
    }

    /// The key itself.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

pub(super) fn prefix(bytes: &[u8]) -> u32 {
    let mut head = [0; 4];
    let n = bytes.len().min(4);
    head[..n].copy_from_slice(&bytes[..n]);
    u32::from_le_bytes(head)
}

/// Holds the values of one execution. Cleared and reused, it allocates nothing in the steady state.
#[derive(Clone, Debug)]
pub struct Arena {
    pub(super) text: String,
    pub(super) nodes: Vec<Value>,
    pub(super) stack: Vec<Value>,
    bytes_max: usize,
    overflowed: bool,
}

impl Default for Arena {
    fn default() -> Arena {
        Arena::new()
    }
}

impl Arena {
    /// An empty arena.
    pub const fn new() -> Arena {
        Arena {
            text: String::new(),
            nodes: Vec::new(),
            stack: Vec::new(),
            bytes_max: limits::ARENA_BYTES_MAX,
            overflowed: false,
        }
    }

    /// Forgets all values and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.nodes.clear();
        self.stack.clear();
        self.overflowed = false;
    }

    /// Bytes in use: the execution's memory bill.
    pub fn bytes(&self) -> usize {
        self.text.len() + (self.nodes.len() + self.stack.len()) * size_of::<Value>()
    }

    /// Bytes held, used or not.
    pub fn capacity_bytes(&self) -> usize {
        self.text.capacity() + (self.nodes.capacity() + self.stack.capacity()) * size_of::<Value>()
    }

    /// Gives memory back when more than `bytes` are held; for pools, so that one large execution does not stay large
    /// for ever.
    pub fn shrink_above(&mut self, bytes: usize) {
        if self.capacity_bytes() > bytes {
            self.text.shrink_to(bytes / 4);
            self.nodes.shrink_to(bytes / 2 / size_of::<Value>());
            self.stack.shrink_to(bytes / 4 / size_of::<Value>());
        }
    }

    /// Sets how many bytes may be in use before [`overflowed`](Arena::overflowed) becomes true.
    pub fn set_bytes_max(&mut self, bytes: usize) {
        self.bytes_max = bytes.min(limits::ARENA_BYTES_MAX);
    }

    /// Whether something was not stored because the arena is full. From then on new strings and containers are
    /// `null`, so whoever evaluates must ask before it hands a result on.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Says that what comes next needs `bytes`; false (and [`overflowed`](Arena::overflowed)) when they do not fit.
    pub fn reserve(&mut self, bytes: usize) -> bool {
        if self.bytes().saturating_add(bytes) > self.bytes_max {
            self.overflowed = true;
        }
        !self.overflowed
    }

    // ---- making ----

    /// A string.
    pub fn string(&mut self, text: &str) -> Value {
        if !self.reserve(text.len()) {
            return Value::NULL;
        }
        let at = self.text.len();
        self.text.push_str(text);
        self.string_at(at, self.text.len(), escape_growth(text.as_bytes()))
    }

    /// Begins a string that is written piece by piece through [`text`](Arena::text).
    pub fn begin_text(&self) -> TextMark {
        TextMark(self.text.len())
    }

    /// The text a string begun with [`begin_text`](Arena::begin_text) is appended to. Append only.
    pub fn text(&mut self) -> &mut String {
        &mut self.text
    }

    /// What was appended since `mark`.
    pub fn text_since(&self, mark: TextMark) -> &str {
        &self.text[mark.0..]
    }

    /// Takes back what was appended since `mark`.
    pub fn cancel_text(&mut self, mark: TextMark) {
        self.text.truncate(mark.0);
    }

    /// Ends a string begun with [`begin_text`](Arena::begin_text).
    pub fn end_text(&mut self, mark: TextMark) -> Value {
        if !self.reserve(0) {
            self.text.truncate(mark.0);
            return Value::NULL;
        }
        let growth = escape_growth(&self.text.as_bytes()[mark.0..]);
        self.string_at(mark.0, self.text.len(), growth)
    }

    /// Part of the string `of`, by byte offsets that must lie on character boundaries. Copies nothing.
    pub fn substring(&self, of: Value, from: usize, to: usize) -> Value {
        let text = &self.str(of)[from..to];
        let at = of.at as usize + from;
        let growth = if of.extra == 0 { 0 } else { escape_growth(text.as_bytes()) };
        self.string_at(at, at + text.len(), growth)
    }

    fn string_at(&self, from: usize, to: usize, growth: usize) -> Value {
        Value {
            kind: Kind::String,
            marks: 0,
            extra: growth.min(u16::MAX as usize) as u16,
            len: (to - from) as u32,
            at: from as u32,
            aux: prefix(&self.text.as_bytes()[from..to]),
        }
    }

    /// Begins an array or object: push its children, then close it.
    pub fn begin(&self) -> Mark {
        Mark(self.stack.len())
    }

    /// Adds a child (for an object: a key, then its value).
    pub fn push(&mut self, child: Value) {
        self.stack.push(child);
    }

    /// The children pushed since `mark`.
    pub fn pushed(&self, mark: Mark) -> &[Value] {
        &self.stack[mark.0..]
    }

    /// The children pushed since `mark`, to change in place.
    pub fn pushed_mut(&mut self, mark: Mark) -> &mut [Value] {
        &mut self.stack[mark.0..]
    }

    /// Takes back the children pushed since `mark`.
    pub fn cancel(&mut self, mark: Mark) {
        self.stack.truncate(mark.0);
    }

    /// Takes back all but the first `len` children pushed since `mark`.
    pub fn cancel_after(&mut self, mark: Mark, len: usize) {
        self.stack.truncate(mark.0 + len);
    }

    /// Closes the children pushed since `mark` into an array.
    pub fn end_array(&mut self, mark: Mark) -> Value {
        let mut size = 2 + (self.stack.len() - mark.0).saturating_sub(1);
        let mut depth = 0;
        for &child in &self.stack[mark.0..] {
            size += self.size(child) as usize;
            depth = depth.max(child.depth());
        }
        self.close(Kind::Array, mark, size, depth, NO_SPAN)
    }

    /// Closes the keys and values pushed since `mark` into an object. Of a key pushed twice the last value stays, in
    /// the place of the first.
    pub fn end_object(&mut self, mark: Mark) -> Value {
        debug_assert!((self.stack.len() - mark.0).is_multiple_of(2));
        self.drop_duplicate_keys(mark);
        let pushed = self.stack.len() - mark.0;
        let mut size = 2 + pushed / 2 + (pushed / 2).saturating_sub(1);
        let mut depth = 0;
        for &child in &self.stack[mark.0..] {
            size += self.size(child) as usize;
            depth = depth.max(child.depth());
        }
        self.close(Kind::Object, mark, size, depth, NO_SPAN)
    }

    pub(super) fn close(&mut self, kind: Kind, mark: Mark, size: usize, depth: u16, span: u32) -> Value {
        let children = self.stack.len() - mark.0;
        if !self.reserve(16) {
            self.stack.truncate(mark.0);
            return Value::NULL;
        }
        let size = size.min(u32::MAX as usize) as u32;
        self.nodes.push(Value { kind: Kind::Header, marks: 0, extra: 0, len: size, at: span, aux: 0 });
        let at = self.nodes.len();
        self.nodes.extend_from_slice(&self.stack[mark.0..]);
        self.stack.truncate(mark.0);
        let len = if matches!(kind, Kind::Object) { children / 2 } else { children };
        Value { kind, marks: 0, extra: depth.saturating_add(1), len: len as u32, at: at as u32, aux: 0 }
    }

    pub(super) fn drop_duplicate_keys(&mut self, mark: Mark) -> bool {
        let count = (self.stack.len() - mark.0) / 2;
        if count <= 1 {
            return false;
        }
        if count > 16 {
            return self.drop_duplicate_keys_hashed(mark);
        }
        let mut kept = 1;
        for i in 1..count {
            let (key, value) = (self.stack[mark.0 + 2 * i], self.stack[mark.0 + 2 * i + 1]);
            let twin = (0..kept).find(|&j| self.same_text(self.stack[mark.0 + 2 * j], key));
            let slot = twin.unwrap_or(kept);
            if twin.is_some() || kept != i {
                if twin.is_none() {
                    self.stack[mark.0 + 2 * slot] = key;
                }
                self.stack[mark.0 + 2 * slot + 1] = value;
            }
            kept += usize::from(twin.is_none());
        }
        self.stack.truncate(mark.0 + 2 * kept);
        kept < count
    }

    /// The same for large objects, in linear time.
    fn drop_duplicate_keys_hashed(&mut self, mark: Mark) -> bool {
        let mut seen = std::collections::HashMap::new();
        let pushed = &self.stack[mark.0..];
        let mut kept: Vec<Value> = Vec::new();
        for pair in pushed.chunks_exact(2) {
            let slot = *seen.entry(self.str(pair[0])).or_insert(kept.len());
            if slot == kept.len() {
                kept.extend_from_slice(pair);
            } else {
                kept[slot + 1] = pair[1];
            }
        }
        let dropped = kept.len() < pushed.len();
        if dropped {
            self.stack.truncate(mark.0);
            self.stack.extend_from_slice(&kept);
        }
        dropped
    }

    /// An array of `items`.
    pub fn array(&mut self, items: &[Value]) -> Value {
        let mark = self.begin();
        self.stack.extend_from_slice(items);
        self.end_array(mark)
    }

    // ---- reading ----

    /// The text of a string, `""` of anything else.
    #[inline]
    pub fn str(&self, value: Value) -> &str {
        if value.kind != Kind::String {
            return "";
        }
        &self.text[value.at as usize..(value.at + value.len) as usize]
    }

    /// The text of a string, if it is one.
    pub fn as_str(&self, value: Value) -> Option<&str> {
        value.is_string().then(|| self.str(value))
    }

    /// The elements of an array, nothing of anything else.
    #[inline]
    pub fn items(&self, value: Value) -> &[Value] {
        if value.kind != Kind::Array {
            return &[];
        }
        &self.nodes[value.at as usize..(value.at + value.len) as usize]
    }

    /// Element `index` of an array.
    pub fn item(&self, value: Value, index: usize) -> Option<Value> {
        self.items(value).get(index).copied()
    }

    /// Key, value, key, value … of an object, nothing of anything else.
    #[inline]
    fn members(&self, value: Value) -> &[Value] {
        if value.kind != Kind::Object {
            return &[];
        }
        &self.nodes[value.at as usize..(value.at + 2 * value.len) as usize]
    }

    /// The members of an object in order, nothing of anything else.
    pub fn entries(&self, value: Value) -> Entries<'_> {
        Entries { members: self.members(value).chunks_exact(2) }
    }

    /// Member `index` of an object: key and value.
    pub fn entry(&self, value: Value, index: usize) -> Option<(Value, Value)> {
        self.members(value).get(2 * index..2 * index + 2).map(|pair| (pair[0], pair[1]))
    }

    /// The member `key` of an object.
    #[inline]
    pub fn get(&self, value: Value, key: &Key) -> Option<Value> {
        self.find(value, key.prefix, &key.text)
    }

    /// The member `key` of an object, `Undefined` where there is none. An `Option` would split the value into its kind
    /// and the rest, and reading it back whole stalls: evaluators that follow many names ask here.
    #[inline]
    pub(crate) fn member(&self, object: Value, key: &Key) -> Value {
        let wanted = key.text.as_bytes();
        for pair in self.members(object).chunks_exact(2) {
            if pair[0].aux == key.prefix
                && pair[0].len as usize == wanted.len()
                && (wanted.len() <= 4
                    || self.text.as_bytes()[pair[0].at as usize..][..wanted.len()] == *wanted)
            {
                return pair[1];
            }
        }
        Value::UNDEFINED
    }

    /// The member named `key` of an object; prepare a [`Key`] where it is looked up more than once.
    pub fn get_str(&self, value: Value, key: &str) -> Option<Value> {
        self.find(value, prefix(key.as_bytes()), key)
    }

    /// The member of an object whose key is the string `key`.
    pub fn get_value(&self, value: Value, key: Value) -> Option<Value> {
        self.find(value, key.aux, self.str(key))
    }

    #[inline]
    fn find(&self, value: Value, prefix: u32, key: &str) -> Option<Value> {
        for pair in self.members(value).chunks_exact(2) {
            if pair[0].aux == prefix
                && pair[0].len as usize == key.len()
                && (key.len() <= 4
                    || self.text.as_bytes()[pair[0].at as usize..][..key.len()] == *key.as_bytes())
            {
                return Some(pair[1]);
            }
        }
        None
    }

    /// Whether two strings are the same text.
    #[inline]
    pub(super) fn same_text(&self, a: Value, b: Value) -> bool {
        a.len == b.len && a.aux == b.aux && (a.at == b.at || a.len <= 4 || self.str(a) == self.str(b))
    }

    /// The number, if it is one.
    pub fn number(&self, value: Value) -> Option<Number> {
        match value.kind {
            Kind::Int => Some(Number::Int(value.bits() as i64)),
            Kind::Float => Some(Number::Float(f64::from_bits(value.bits()))),
            Kind::Decimal => Some(Number::Float(self.decimal_text(value).parse().unwrap_or(f64::NAN))),
            _ => None,
        }
    }

    /// The number as a double, if it is one.
    pub fn as_f64(&self, value: Value) -> Option<f64> {
        self.number(value).map(Number::to_f64)
    }

    pub(super) fn decimal_text(&self, value: Value) -> &str {
        &self.text[value.at as usize..(value.at + value.len) as usize]
    }

    /// Bytes of the value as compact JSON text, in constant time for all but computed doubles.
    pub fn size(&self, value: Value) -> u32 {
        match value.kind {
            Kind::Null | Kind::Undefined | Kind::Opaque | Kind::Header => 4,
            Kind::Bool => 5 - value.len,
            Kind::Int => int_len(value.bits() as i64),
            Kind::Decimal => value.len,
            Kind::Float => number::float_len(f64::from_bits(value.bits())),
            Kind::String if value.extra == u16::MAX => {
                (value.len as usize + 2 + escape_growth(self.str(value).as_bytes())) as u32
            }
            Kind::String => value.len + 2 + value.extra as u32,
            Kind::Array | Kind::Object => self.header(value).len,
        }
    }

    /// The span of text that is the value, for a container read in canonical form.
    pub(super) fn span(&self, value: Value) -> Option<&str> {
        let header = self.header(value);
        (header.at != NO_SPAN).then(|| &self.text[header.at as usize..(header.at + header.len) as usize])
    }

    fn header(&self, value: Value) -> Value {
        self.nodes[value.at as usize - 1]
    }
}

/// The members of an object: key and value.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    members: std::slice::ChunksExact<'a, Value>,
}

impl Iterator for Entries<'_> {
    type Item = (Value, Value);

    fn next(&mut self) -> Option<(Value, Value)> {
        self.members.next().map(|pair| (pair[0], pair[1]))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.members.size_hint()
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// Bytes that escaping adds to a text when it is written as JSON.
pub(super) fn escape_growth(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .map(|&byte| match byte {
            b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 1,
            0x00..0x20 => 5,
            _ => 0,
        })
        .sum()
}
