//! The arena: text, blocks of children, and the stack on which containers are built.

use std::sync::Arc;

use super::growth::escape_growth;
use super::held::Held;
use super::names::Names;
use super::number::int_len;
use super::value::{COLON, GROWTH_MAX, Kind, QUOTED, Value};
use super::{Number, number};
use crate::limits;

pub(super) const NO_SPAN: u32 = u32::MAX;

/// Where a container begins, on the arena's stack.
#[derive(Clone, Copy, Debug)]
pub struct Mark(pub(super) usize);

/// Where a string begins, in the arena's text.
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
    /// The reader's values until a container is complete. Only the memory is kept between two texts: all of it is
    /// initialized, with any content.
    pub(super) slots: Vec<Value>,
    /// The reader's memory of names in earlier texts.
    pub(super) names: Option<Box<Names>>,
    pub(super) bytes_max: usize,
    /// Bytes in use from which on growth is checked closely: `bytes_max`, or less when the byte count is published.
    pub(super) looks_at: usize,
    pub(super) held: Option<Arc<Held>>,
    pub(super) overflowed: bool,
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
            slots: Vec::new(),
            names: None,
            bytes_max: limits::ARENA_BYTES_MAX,
            looks_at: limits::ARENA_BYTES_MAX,
            held: None,
            overflowed: false,
        }
    }

    /// Drops all values and keeps the memory.
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

    /// Bytes allocated, used or not.
    pub fn capacity_bytes(&self) -> usize {
        let values = self.nodes.capacity() + self.stack.capacity() + self.slots.capacity();
        let names = if self.names.is_some() { size_of::<Names>() } else { 0 };
        self.text.capacity() + values * size_of::<Value>() + names
    }

    /// Frees memory when more than `bytes` are allocated; for pools, so that one large execution does not stay large
    /// for ever.
    pub fn shrink_above(&mut self, bytes: usize) {
        if self.capacity_bytes() > bytes {
            self.text.shrink_to(bytes / 4);
            self.nodes.shrink_to(bytes / 2 / size_of::<Value>());
            self.stack.shrink_to(bytes / 8 / size_of::<Value>());
            self.slots.truncate(bytes / 8 / size_of::<Value>());
            self.slots.shrink_to_fit();
        }
    }

    /// How many bytes may be in use.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Sets how many bytes may be in use before [`overflowed`](Arena::overflowed) becomes true.
    pub fn set_bytes_max(&mut self, bytes: usize) {
        self.bytes_max = bytes.min(limits::ARENA_BYTES_MAX);
        self.looks_at = if self.held.is_some() { 0 } else { self.bytes_max };
    }

    /// The containers being built, while values are moved.
    pub(super) fn take_stack(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.stack)
    }

    /// Restores the stack.
    pub(super) fn put_stack(&mut self, stack: Vec<Value>) {
        self.stack = stack;
    }

    /// Takes over the budget of `other`, whether it is used up, and the names its reader has learnt.
    pub(super) fn take_over(&mut self, other: &mut Arena) {
        self.bytes_max = other.bytes_max;
        self.held = other.held.take();
        self.looks_at = if self.held.is_some() { 0 } else { self.bytes_max };
        self.overflowed = other.overflowed;
        std::mem::swap(&mut self.slots, &mut other.slots);
        std::mem::swap(&mut self.names, &mut other.names);
    }

    /// Whether something was not stored because the arena is full. From then on new strings and containers are `null`,
    /// so evaluators must check this before they return a result.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Announces that `bytes` are needed; false (and [`overflowed`](Arena::overflowed)) when they do not fit.
    pub fn reserve(&mut self, bytes: usize) -> bool {
        let needed = self.bytes().saturating_add(bytes);
        if needed > self.looks_at {
            self.look(needed);
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

    /// A string that is between its quotes in the text, with a colon behind them if `key`: it is written with one copy.
    pub fn quoted_string(&mut self, text: &str, key: bool) -> Value {
        let growth = escape_growth(text.as_bytes());
        if growth > 0 || !self.reserve(text.len() + 3) {
            return self.string(text);
        }
        self.text.push('"');
        let at = self.text.len();
        self.text.push_str(text);
        let made = self.string_at(at, self.text.len(), 0);
        self.text.push_str(if key { "\":" } else { "\"" });
        made.with_extra(if key { QUOTED | COLON } else { QUOTED })
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

    /// Removes what was appended since `mark`.
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

    /// Appends the text of another arena's strings to this one's; see [`rebased`](Arena::rebased).
    pub fn append_text(&mut self, text: &str) -> TextMark {
        let mark = self.begin_text();
        self.text.push_str(text);
        mark
    }

    /// A scalar made in an arena that was empty before, whose whole text was [appended](Arena::append_text) here at
    /// `mark`.
    #[inline]
    pub fn rebased(value: Value, mark: TextMark) -> Value {
        match value.kind() {
            Kind::String | Kind::Decimal => value.with_at(value.at() + mark.0 as u32),
            _ => value,
        }
    }

    /// Part of the string `of`, by byte offsets that must lie on character boundaries. Copies nothing.
    pub fn substring(&self, of: Value, from: usize, to: usize) -> Value {
        let text = &self.str(of)[from..to];
        let at = of.at() as usize + from;
        let growth = if of.extra() & GROWTH_MAX == 0 { 0 } else { escape_growth(text.as_bytes()) };
        self.string_at(at, at + text.len(), growth)
    }

    /// The string that is the end of the text, from `from` on.
    pub(super) fn string_since(&self, from: usize) -> Value {
        self.string_at(from, self.text.len(), escape_growth(&self.text.as_bytes()[from..]))
    }

    fn string_at(&self, from: usize, to: usize, growth: usize) -> Value {
        Value::new(
            Kind::String,
            growth.min(GROWTH_MAX as usize) as u16,
            (to - from) as u32,
            from as u32,
            prefix(&self.text.as_bytes()[from..to]),
        )
    }

    /// Begins an array or object: push its children, then close it.
    pub fn begin(&self) -> Mark {
        Mark(self.stack.len())
    }

    /// Adds a child (for an object: a key, then its value).
    pub fn push(&mut self, child: Value) {
        self.stack.push(child);
    }

    /// Adds a member of an object.
    #[inline]
    pub fn push_member(&mut self, key: Value, value: Value) {
        self.stack.extend_from_slice(&[key, value]);
    }

    /// Adds the elements `from..to` of an array.
    pub(crate) fn push_items(&mut self, array: Value, from: usize, to: usize) {
        debug_assert!(array.is_array() && to <= array.len());
        let at = array.at() as usize;
        self.stack.extend_from_slice(&self.nodes[at + from..at + to]);
    }

    /// The children pushed since `mark`.
    pub fn pushed(&self, mark: Mark) -> &[Value] {
        &self.stack[mark.0..]
    }

    /// The children pushed since `mark`, to change in place.
    pub fn pushed_mut(&mut self, mark: Mark) -> &mut [Value] {
        &mut self.stack[mark.0..]
    }

    /// Removes the children pushed since `mark`.
    pub fn cancel(&mut self, mark: Mark) {
        self.stack.truncate(mark.0);
    }

    /// Removes all but the first `len` children pushed since `mark`.
    pub fn cancel_after(&mut self, mark: Mark, len: usize) {
        self.stack.truncate(mark.0 + len);
    }

    /// Closes the children pushed since `mark` into an array.
    pub fn end_array(&mut self, mark: Mark) -> Value {
        self.close(false, mark)
    }

    /// Closes the keys and values pushed since `mark` into an object. Of a repeated key, the last value stays, in the
    /// place of the first.
    pub fn end_object(&mut self, mark: Mark) -> Value {
        debug_assert!((self.stack.len() - mark.0).is_multiple_of(2));
        self.drop_duplicate_keys(mark);
        self.close(true, mark)
    }

    /// Closes keys that are known to differ, and their values, into an object.
    pub(crate) fn end_distinct_object(&mut self, mark: Mark) -> Value {
        self.close(true, mark)
    }

    /// Closes keys that are known to differ, and their values, into an object; `size` is its length as compact JSON
    /// text, `depth` that of its deepest value.
    pub(crate) fn end_measured_object(&mut self, mark: Mark, size: usize, depth: u16) -> Value {
        self.close_as(true, mark, size, depth)
    }

    /// An object with the keys and values of `row`, an array of them, and the values of the members that are missing
    /// there: each with the member's number. `size` and `depth` are those without these values. `Undefined` when one of
    /// the values is, or there is no row.
    #[inline]
    pub(crate) fn fill_object(
        &mut self,
        row: Value,
        (size, depth): (usize, u16),
        blanks: impl Iterator<Item = (usize, Value)>,
    ) -> Value {
        if !row.is_array() || !self.reserve(16) {
            return Value::UNDEFINED;
        }
        let (mut size, mut depth) = (size, depth);
        let (header, from) = (self.nodes.len(), row.at() as usize - 1);
        // Directly to its final place, with the header: reading values that were just pushed would stall.
        self.nodes.extend_from_within(from..=from + row.count() as usize);
        for (member, value) in blanks {
            if value.is_undefined() {
                self.nodes.truncate(header);
                return value;
            }
            size += self.size(value) as usize;
            depth = depth.max(value.depth());
            self.nodes[header + 2 + 2 * member] = value;
        }
        self.overflowed |= size > limits::VALUE_BYTES_MAX;
        self.nodes[header] = Value::new(Kind::Header, 0, size.min(u32::MAX as usize) as u32, NO_SPAN, 0);
        Value::new(Kind::Object, depth.saturating_add(1), row.count() / 2, header as u32 + 1, 0)
    }

    pub(super) fn close(&mut self, object: bool, mark: Mark) -> Value {
        let children = &self.stack[mark.0..];
        let (size, depth) = self.size_and_depth(children);
        self.close_as(object, mark, size, depth)
    }

    /// Bytes of a container with these children as compact JSON text, and the depth of the deepest of them.
    pub(super) fn size_and_depth(&self, children: &[Value]) -> (usize, u16) {
        // Two brackets, and a comma or colon between any two children.
        let (mut size, mut depth) = (2 + children.len().saturating_sub(1), 0);
        for &child in children {
            size += self.size(child) as usize;
            depth = depth.max(child.depth());
        }
        (size, depth)
    }

    #[inline]
    fn close_as(&mut self, object: bool, mark: Mark, size: usize, depth: u16) -> Value {
        // Sharing makes values whose text is exponentially larger than they are: writing or comparing them would never
        // end.
        self.overflowed |= size > limits::VALUE_BYTES_MAX;
        if !self.reserve(16) {
            self.stack.truncate(mark.0);
            return Value::NULL;
        }
        let children = &self.stack[mark.0..];
        let size = size.min(u32::MAX as usize) as u32;
        let (kind, len) =
            if object { (Kind::Object, children.len() / 2) } else { (Kind::Array, children.len()) };
        self.nodes.push(Value::new(Kind::Header, 0, size, NO_SPAN, 0));
        let at = self.nodes.len();
        self.nodes.extend_from_slice(children);
        self.stack.truncate(mark.0);
        Value::new(kind, depth.saturating_add(1), len as u32, at as u32, 0)
    }

    /// Makes keys pushed since `mark` unique.
    #[inline]
    fn drop_duplicate_keys(&mut self, mark: Mark) {
        if may_hold_twins(&self.stack[mark.0..]) {
            // Taken out meanwhile, because the compared texts are in the arena too.
            let mut stack = std::mem::take(&mut self.stack);
            let kept = self.drop_equal_keys(&mut stack[mark.0..]);
            stack.truncate(mark.0 + kept);
            self.stack = stack;
        }
    }

    /// Moves members whose keys differ to the front, each with its last value in its first place; returns how many
    /// values these are.
    #[inline(never)]
    pub(super) fn drop_equal_keys(&self, members: &mut [Value]) -> usize {
        let count = members.len() / 2;
        // A set is used for large objects, so that the time stays linear.
        let mut seen = std::collections::HashMap::new();
        let mut kept = 0;
        for i in 0..count {
            let (key, value) = (members[2 * i], members[2 * i + 1]);
            let twin = if count > 16 {
                Some(*seen.entry(self.str(key)).or_insert(kept)).filter(|&twin| twin < kept)
            } else {
                (0..kept).find(|&j| self.same_text(members[2 * j], key))
            };
            match twin {
                Some(twin) => members[2 * twin + 1] = value,
                None => {
                    members[2 * kept] = key;
                    members[2 * kept + 1] = value;
                    kept += 1;
                }
            }
        }
        2 * kept
    }

    /// An array of `items`.
    pub fn array(&mut self, items: &[Value]) -> Value {
        let (size, depth) = self.size_and_depth(items);
        self.overflowed |= size > limits::VALUE_BYTES_MAX;
        if !self.reserve(16 + size_of_val(items)) {
            return Value::NULL;
        }
        self.nodes.push(Value::new(Kind::Header, 0, size.min(u32::MAX as usize) as u32, NO_SPAN, 0));
        let at = self.nodes.len() as u32;
        self.nodes.extend_from_slice(items);
        Value::new(Kind::Array, depth.saturating_add(1), items.len() as u32, at, 0)
    }

    // ---- reading ----

    /// The text of a string, `""` of anything else.
    #[inline]
    pub fn str(&self, value: Value) -> &str {
        if !value.is_string() {
            return "";
        }
        &self.text[value.at() as usize..(value.at() + value.count()) as usize]
    }

    /// The text of a string, if it is one.
    pub fn as_str(&self, value: Value) -> Option<&str> {
        value.is_string().then(|| self.str(value))
    }

    /// The elements of an array, nothing of anything else.
    #[inline]
    pub fn items(&self, value: Value) -> &[Value] {
        if !value.is_array() {
            return &[];
        }
        &self.nodes[value.at() as usize..(value.at() + value.count()) as usize]
    }

    /// Element `index` of an array.
    pub fn item(&self, value: Value, index: usize) -> Option<Value> {
        self.items(value).get(index).copied()
    }

    /// Key, value, key, value … of an object, nothing of anything else.
    #[inline]
    fn members(&self, value: Value) -> &[Value] {
        if !value.is_object() {
            return &[];
        }
        &self.nodes[value.at() as usize..(value.at() + 2 * value.count()) as usize]
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

    /// The member `key` of an object, `Undefined` if it is missing. It is returned in registers, unlike an option.
    #[inline]
    pub fn member(&self, value: Value, key: &Key) -> Value {
        self.find(value, key.prefix, &key.text).unwrap_or(Value::UNDEFINED)
    }

    /// The member named `key` of an object; prepare a [`Key`] where it is looked up more than once.
    pub fn get_str(&self, value: Value, key: &str) -> Option<Value> {
        self.find(value, prefix(key.as_bytes()), key)
    }

    /// The member of an object whose key is the string `key`.
    pub fn get_value(&self, value: Value, key: Value) -> Option<Value> {
        self.find(value, key.aux(), self.str(key))
    }

    #[inline(always)]
    fn find(&self, value: Value, prefix: u32, key: &str) -> Option<Value> {
        let len = key.len() as u32;
        for pair in self.members(value).chunks_exact(2) {
            if pair[0].aux() == prefix && pair[0].count() == len && (len <= 4 || self.same_rest(pair[0], key))
            {
                return Some(pair[1]);
            }
        }
        None
    }

    /// Whether a string of the same length as `key`, with the same first bytes, is the same.
    #[inline]
    fn same_rest(&self, value: Value, key: &str) -> bool {
        let at = value.at() as usize;
        match self.text.as_bytes().get(at..at + key.len()) {
            Some(bytes) => same_bytes(bytes, key.as_bytes()),
            None => false,
        }
    }

    /// Whether two strings are the same text.
    #[inline]
    pub(super) fn same_text(&self, a: Value, b: Value) -> bool {
        a.count() == b.count()
            && a.aux() == b.aux()
            && (a.at() == b.at() || a.count() <= 4 || self.str(a) == self.str(b))
    }

    /// The number, if it is one.
    pub fn number(&self, value: Value) -> Option<Number> {
        match value.kind() {
            Kind::Int => Some(Number::Int(value.bits() as i64)),
            Kind::Float => Some(Number::Float(f64::from_bits(value.bits()))),
            Kind::Decimal => Some(Number::Float(number::as_written(self.decimal_text(value)))),
            _ => None,
        }
    }

    /// The number as a double, if it is one.
    pub fn as_f64(&self, value: Value) -> Option<f64> {
        self.number(value).map(Number::to_f64)
    }

    /// The digits of an integer that does not fit 64 bits.
    pub fn long_integer(&self, value: Value) -> Option<&str> {
        let text = (value.kind() == Kind::Decimal).then(|| self.decimal_text(value))?;
        number::is_long_integer(text).then_some(text)
    }

    pub(super) fn decimal_text(&self, value: Value) -> &str {
        &self.text[value.at() as usize..(value.at() + value.count()) as usize]
    }

    /// Bytes of the value as compact JSON text, in constant time for all but computed doubles.
    #[inline(always)]
    pub fn size(&self, value: Value) -> u32 {
        if value.is_string() && value.extra() & GROWTH_MAX != GROWTH_MAX {
            value.count() + 2 + (value.extra() & GROWTH_MAX) as u32
        } else if value.is_container() {
            self.header(value).count()
        } else if value.is(Kind::Int) && value.bits() < 10 {
            1
        } else {
            self.size_of_scalar(value)
        }
    }

    /// Roughly the bytes of a value, for charging work: all numbers that are not kept as text count the same.
    #[inline]
    pub(crate) fn bulk(&self, value: Value) -> u64 {
        u64::from(match value.kind() {
            Kind::String | Kind::Decimal => value.count(),
            _ if value.is_container() => self.header(value).count(),
            _ => 8,
        })
    }

    fn size_of_scalar(&self, value: Value) -> u32 {
        match value.kind() {
            Kind::Bool => 5 - value.count(),
            Kind::Int => int_len(value.bits() as i64),
            Kind::Decimal => value.count(),
            Kind::Float => number::float_len(f64::from_bits(value.bits())),
            Kind::String => (value.count() as usize + 2 + escape_growth(self.str(value).as_bytes())) as u32,
            _ => 4,
        }
    }

    /// The value's span in the text, for a container read in canonical form.
    #[inline]
    pub(super) fn span(&self, value: Value) -> Option<(usize, usize)> {
        let header = self.header(value);
        (header.at() != NO_SPAN).then_some((header.at() as usize, header.count() as usize))
    }

    fn header(&self, value: Value) -> Value {
        self.nodes[value.at() as usize - 1]
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

/// Whether two of these keys, each followed by its value, may be equal. A set of 256 hashes: the few keys of most
/// objects do not collide in it, so their text need not be compared.
#[inline]
pub(super) fn may_hold_twins(members: &[Value]) -> bool {
    let (mut seen, mut twice) = ([0u64; 4], 0u64);
    for pair in members.chunks_exact(2) {
        let hash = (pair[0].aux() ^ pair[0].count()).wrapping_mul(0x9E37_79B1) >> 24;
        let (word, bit) = (&mut seen[(hash >> 6) as usize], 1 << (hash & 63));
        twice |= *word & bit;
        *word |= bit;
    }
    twice != 0
}

/// Whether two texts of the same length, longer than four bytes, are equal. Names are short: two overlapping words
/// cover them without a call.
#[inline]
fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    match (a.first_chunk::<8>(), b.first_chunk::<8>(), a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a0), Some(b0), Some(a1), Some(b1)) if a.len() <= 16 => {
            (u64::from_le_bytes(*a0) ^ u64::from_le_bytes(*b0))
                | (u64::from_le_bytes(*a1) ^ u64::from_le_bytes(*b1))
                == 0
        }
        (None, ..) => a.last_chunk::<4>() == b.last_chunk::<4>(),
        _ => a == b,
    }
}
