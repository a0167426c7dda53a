//! The 16-byte value record.

/// The kind of a [`Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// No value at all: a missing member, an unset variable, JSONata's `undefined`. Never part of a JSON text.
    Undefined,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number that fits a signed 64-bit integer.
    Int,
    /// A number with a fraction, or an integer that does not fit 64 bits, kept as the text it was read from until it is
    /// used in arithmetic.
    Decimal,
    /// A number as a double.
    Float,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object; its block holds key, value, key, value, with no key twice.
    Object,
    /// A value that only its maker can interpret (a JSONata function). Never part of a JSON text.
    Opaque,
    /// The record in front of a container's children. Never handed out.
    Header,
}

/// A JSON value: a record of 16 bytes, `Copy`, meaningful together with the [`Arena`](super::Arena) that made it.
///
/// | kind | `count` | `at`, `aux` | `extra` |
/// |---|---|---|---|
/// | bool | 0 or 1 | | |
/// | int, float | | the 64 bits | |
/// | decimal | bytes | offset in the text | |
/// | string | bytes | offset in the text, first four bytes | bytes that escaping adds (saturating), and whether the text around it is its quotes |
/// | array, object | children (an object's pairs count once) | first child's index | depth (saturating) |
/// | header | serialized size | span's offset or `NO_SPAN` | |
///
/// Two words rather than six fields: the compiler then makes, copies and returns values in registers. With fields it
/// wrote them to memory in pieces and read them back whole, which stalls; with an enum among them it hid
/// `Option<Value>` in its spare values and copied options byte by byte. Both together were a third of the cost of W2.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Value {
    /// Kind (8 bits), marks (8), `extra` (16), `count` (32).
    head: u64,
    /// `at` (32 bits), `aux` (32).
    body: u64,
}

const _: () = assert!(std::mem::size_of::<Value>() == 16);

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind() {
            Kind::Bool => write!(f, "{}", self.count() == 1),
            Kind::Int => write!(f, "{}", self.bits() as i64),
            Kind::Float => write!(f, "{}", f64::from_bits(self.bits())),
            kind => write!(f, "{kind:?}({} at {})", self.count(), self.at()),
        }
    }
}

/// In `extra` of a string: it is between its quotes in the text.
pub(super) const QUOTED: u16 = 0x8000;
/// In `extra` of a string: a colon follows its closing quote.
pub(super) const COLON: u16 = 0x4000;
/// In `extra` of a string: the bytes that escaping adds, saturating.
pub(super) const GROWTH_MAX: u16 = 0x3FFF;

impl Value {
    /// No value.
    pub const UNDEFINED: Value = Value::plain(Kind::Undefined, 0);
    /// `null`.
    pub const NULL: Value = Value::plain(Kind::Null, 0);
    /// `true`.
    pub const TRUE: Value = Value::plain(Kind::Bool, 1);
    /// `false`.
    pub const FALSE: Value = Value::plain(Kind::Bool, 0);

    const fn plain(kind: Kind, count: u32) -> Value {
        Value::new(kind, 0, count, 0, 0)
    }

    #[inline]
    pub(super) const fn new(kind: Kind, extra: u16, count: u32, at: u32, aux: u32) -> Value {
        let head = kind as u64 | (extra as u64) << 16 | (count as u64) << 32;
        Value { head, body: at as u64 | (aux as u64) << 32 }
    }

    const fn number(kind: Kind, bits: u64) -> Value {
        Value { head: kind as u64, body: bits }
    }

    /// Free for the evaluator that holds the value (JSONata's sequence marks); not part of the value, not compared.
    #[inline]
    pub(crate) const fn marks(self) -> u8 {
        (self.head >> 8) as u8
    }

    #[inline]
    pub(super) const fn extra(self) -> u16 {
        (self.head >> 16) as u16
    }

    #[inline]
    pub(super) const fn count(self) -> u32 {
        (self.head >> 32) as u32
    }

    #[inline]
    pub(super) const fn at(self) -> u32 {
        self.body as u32
    }

    #[inline]
    pub(super) const fn aux(self) -> u32 {
        (self.body >> 32) as u32
    }

    /// The same value with other [`marks`](Value::marks).
    #[inline]
    pub(crate) const fn with_marks(self, marks: u8) -> Value {
        Value { head: self.head & !0xFF00 | (marks as u64) << 8, ..self }
    }

    #[inline]
    pub(super) const fn with_extra(self, extra: u16) -> Value {
        Value { head: self.head & !0xFFFF_0000 | (extra as u64) << 16, ..self }
    }

    #[inline]
    pub(super) const fn with_at(self, at: u32) -> Value {
        Value { body: self.body & !0xFFFF_FFFF | at as u64, ..self }
    }

    #[inline]
    pub(super) const fn with_aux(self, aux: u32) -> Value {
        Value { body: self.body & 0xFFFF_FFFF | (aux as u64) << 32, ..self }
    }

    /// `true` or `false`.
    pub const fn bool(value: bool) -> Value {
        if value { Value::TRUE } else { Value::FALSE }
    }

    /// An integer.
    pub const fn int(value: i64) -> Value {
        Value::number(Kind::Int, value as u64)
    }

    /// A double. Non-finite ones are values while computing; they are written as `null`.
    pub const fn float(value: f64) -> Value {
        Value::number(Kind::Float, value.to_bits())
    }

    /// A value that only its maker can interpret; [`opaque_id`](Value::opaque_id) returns `id`.
    pub const fn opaque(id: u32) -> Value {
        Value::new(Kind::Opaque, 0, 0, id, 0)
    }

    /// What it is.
    #[inline]
    pub const fn kind(self) -> Kind {
        match self.head as u8 {
            0 => Kind::Undefined,
            1 => Kind::Null,
            2 => Kind::Bool,
            3 => Kind::Int,
            4 => Kind::Decimal,
            5 => Kind::Float,
            6 => Kind::String,
            7 => Kind::Array,
            8 => Kind::Object,
            9 => Kind::Opaque,
            _ => Kind::Header,
        }
    }

    /// The same as comparing [`kind`](Value::kind), which converts a byte into a kind first.
    #[inline]
    pub(super) const fn is(self, kind: Kind) -> bool {
        self.head as u8 == kind as u8
    }

    /// Whether there is no value.
    #[inline]
    pub const fn is_undefined(self) -> bool {
        self.is(Kind::Undefined)
    }

    /// Whether it is `null`.
    #[inline]
    pub const fn is_null(self) -> bool {
        self.is(Kind::Null)
    }

    /// Whether it is a number of any representation.
    pub const fn is_number(self) -> bool {
        matches!(self.kind(), Kind::Int | Kind::Decimal | Kind::Float)
    }

    /// Whether it is a string.
    #[inline]
    pub const fn is_string(self) -> bool {
        self.is(Kind::String)
    }

    /// Whether it is an array.
    #[inline]
    pub const fn is_array(self) -> bool {
        self.is(Kind::Array)
    }

    /// Whether it is an object.
    #[inline]
    pub const fn is_object(self) -> bool {
        self.is(Kind::Object)
    }

    /// Whether it is an array or an object.
    #[inline]
    pub const fn is_container(self) -> bool {
        self.is(Kind::Array) || self.is(Kind::Object)
    }

    /// The boolean, if it is one.
    pub const fn as_bool(self) -> Option<bool> {
        if matches!(self.kind(), Kind::Bool) { Some(self.count() == 1) } else { None }
    }

    /// The integer, if it is kept as one. A number such as `1.0` is not.
    pub const fn as_int(self) -> Option<i64> {
        if matches!(self.kind(), Kind::Int) { Some(self.bits() as i64) } else { None }
    }

    /// The id of an opaque value.
    pub const fn opaque_id(self) -> Option<u32> {
        if matches!(self.kind(), Kind::Opaque) { Some(self.at()) } else { None }
    }

    /// Number of elements of an array or members of an object, bytes of a string, else 0.
    pub const fn len(self) -> usize {
        match self.kind() {
            Kind::Array | Kind::Object | Kind::String => self.count() as usize,
            _ => 0,
        }
    }

    /// Whether [`len`](Value::len) is 0.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Levels of nesting: 0 for scalars, 1 for `[]`, saturating at 65,535.
    pub const fn depth(self) -> u16 {
        if self.is_container() { self.extra() } else { 0 }
    }

    /// Whether both are the same container, not just equal ones.
    pub const fn is_same_place(self, other: Value) -> bool {
        self.is_container() && self.head as u8 == other.head as u8 && self.at() == other.at()
    }

    /// The block of a container's children: two handles with the same block are the same container.
    pub(crate) const fn block(self) -> Option<u32> {
        if self.is_container() { Some(self.at()) } else { None }
    }

    pub(super) const fn bits(self) -> u64 {
        self.body
    }
}

impl Default for Value {
    fn default() -> Value {
        Value::UNDEFINED
    }
}
