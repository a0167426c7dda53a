//! The 16-byte value record.

/// What a [`Value`] is.
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
    /// A number with a fraction, kept as the text it was read from until someone computes with it.
    Decimal,
    /// A number as a double.
    Float,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object; its block holds key, value, key, value, with no key twice.
    Object,
    /// Something only its maker can read (a JSONata function). Never part of a JSON text.
    Opaque,
    /// The record in front of a container's children. Never handed out.
    Header,
}

/// A JSON value: a record of 16 bytes, `Copy`, meaningful together with the [`Arena`](super::Arena) that made it.
///
/// | kind | `len` | `at`, `aux` | `extra` |
/// |---|---|---|---|
/// | bool | 0 or 1 | | |
/// | int, float | float: written length, 0 when unknown | the 64 bits | |
/// | decimal | bytes | offset in the text | |
/// | string | bytes | offset in the text, first four bytes | bytes that escaping adds (saturating) |
/// | array, object | children (an object's pairs count once) | first child's index | depth (saturating) |
/// | header | serialized size | span's offset or `NO_SPAN` | |
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Value {
    pub(super) kind: Kind,
    /// Free for the evaluator that holds the value (JSONata's sequence marks); not part of the value, not compared.
    pub(crate) marks: u8,
    pub(super) extra: u16,
    pub(super) len: u32,
    pub(super) at: u32,
    pub(super) aux: u32,
}

const _: () = assert!(std::mem::size_of::<Value>() == 16);

impl Value {
    /// No value.
    pub const UNDEFINED: Value = Value::plain(Kind::Undefined, 0);
    /// `null`.
    pub const NULL: Value = Value::plain(Kind::Null, 0);
    /// `true`.
    pub const TRUE: Value = Value::plain(Kind::Bool, 1);
    /// `false`.
    pub const FALSE: Value = Value::plain(Kind::Bool, 0);

    const fn plain(kind: Kind, len: u32) -> Value {
        Value { kind, marks: 0, extra: 0, len, at: 0, aux: 0 }
    }

    /// `true` or `false`.
    pub const fn bool(value: bool) -> Value {
        if value { Value::TRUE } else { Value::FALSE }
    }

    /// An integer.
    pub const fn int(value: i64) -> Value {
        Value { at: value as u32, aux: (value >> 32) as u32, ..Value::plain(Kind::Int, 0) }
    }

    /// A double. Non-finite ones are values while computing; they are written as `null`.
    pub const fn float(value: f64) -> Value {
        let bits = value.to_bits();
        Value { at: bits as u32, aux: (bits >> 32) as u32, ..Value::plain(Kind::Float, 0) }
    }

    /// A value that only its maker can read; `id` comes back from [`opaque_id`](Value::opaque_id).
    pub const fn opaque(id: u32) -> Value {
        Value { at: id, ..Value::plain(Kind::Opaque, 0) }
    }

    /// What it is.
    pub const fn kind(self) -> Kind {
        self.kind
    }

    /// Whether there is no value.
    pub const fn is_undefined(self) -> bool {
        matches!(self.kind, Kind::Undefined)
    }

    /// Whether it is `null`.
    pub const fn is_null(self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// Whether it is a number of any representation.
    pub const fn is_number(self) -> bool {
        matches!(self.kind, Kind::Int | Kind::Decimal | Kind::Float)
    }

    /// Whether it is a string.
    pub const fn is_string(self) -> bool {
        matches!(self.kind, Kind::String)
    }

    /// Whether it is an array.
    pub const fn is_array(self) -> bool {
        matches!(self.kind, Kind::Array)
    }

    /// Whether it is an object.
    pub const fn is_object(self) -> bool {
        matches!(self.kind, Kind::Object)
    }

    /// Whether it is an array or an object.
    pub const fn is_container(self) -> bool {
        matches!(self.kind, Kind::Array | Kind::Object)
    }

    /// The boolean, if it is one.
    pub const fn as_bool(self) -> Option<bool> {
        if matches!(self.kind, Kind::Bool) { Some(self.len == 1) } else { None }
    }

    /// The integer, if it is kept as one. A number such as `1.0` is not.
    pub const fn as_int(self) -> Option<i64> {
        if matches!(self.kind, Kind::Int) { Some(self.bits() as i64) } else { None }
    }

    /// The id an opaque value was made with.
    pub const fn opaque_id(self) -> Option<u32> {
        if matches!(self.kind, Kind::Opaque) { Some(self.at) } else { None }
    }

    /// Number of elements of an array or members of an object, bytes of a string, else 0.
    pub const fn len(self) -> usize {
        match self.kind {
            Kind::Array | Kind::Object | Kind::String => self.len as usize,
            _ => 0,
        }
    }

    /// Whether [`len`](Value::len) is 0.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Levels of nesting: 0 for scalars, 1 for `[]`, saturating at 65,535.
    pub const fn depth(self) -> u16 {
        if self.is_container() { self.extra } else { 0 }
    }

    /// Which block a container's children stand in: two handles with the same block are one and the same container.
    pub(crate) const fn block(self) -> Option<u32> {
        if self.is_container() { Some(self.at) } else { None }
    }

    pub(super) const fn bits(self) -> u64 {
        self.at as u64 | (self.aux as u64) << 32
    }
}
