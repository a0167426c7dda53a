//! Typed structs to values: a [`serde::Serializer`] that builds in the arena, without JSON text in between.
//!
//! The data model is serde_json's: the value equals the one read from the text serde_json writes.

use std::fmt::{Display, Write as _};

use serde::ser::{
    Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::arena::Mark;
use super::bridge::{Error, ErrorKind};
use super::{Arena, Value, read};
use crate::limits;

/// Makes a value of a `T`. On an error the arena holds nothing new that can be reached.
///
/// Integers beyond 64 signed bits become doubles; non-finite floats become `null`.
///
/// ```
/// use expressway::json::{self, Arena};
/// #[derive(serde::Serialize)]
/// struct Receipt<'a> {
///     order: &'a str,
///     total: f64,
/// }
/// let mut arena = Arena::new();
/// let value = json::to_value(&mut arena, &Receipt { order: "o-1", total: 19.5 })?;
/// assert_eq!(json::to_string(&arena, value), r#"{"order":"o-1","total":19.5}"#);
/// # Ok::<(), json::Error>(())
/// ```
///
/// # Errors
/// A map key that is not text, nesting deeper than [`limits::JSON_DEPTH_MAX`], a full arena, or an error of the type's
/// own code.
pub fn to_value<T: Serialize + ?Sized>(arena: &mut Arena, value: &T) -> Result<Value, Error> {
    let mark = arena.begin();
    let made = value.serialize(Writing { arena, depth: 0 });
    arena.cancel(mark);
    if arena.overflowed() { Err(Error::too_large()) } else { made }
}

struct Writing<'a> {
    arena: &'a mut Arena,
    /// How many containers are open around it.
    depth: u16,
}

/// serde_json passes text through its own serializer with these names: they carry its raw values and its numbers of
/// arbitrary precision.
const RAW_VALUE: &str = "$serde_json::private::RawValue";
const NUMBER: &str = "$serde_json::private::Number";

impl<'a> Writing<'a> {
    fn open(self) -> Result<Children<'a>, Error> {
        if self.depth >= limits::JSON_DEPTH_MAX {
            return Err(Error::too_deep());
        }
        let mark = self.arena.begin();
        Ok(Children { arena: self.arena, mark, depth: self.depth + 1, outer: None, raw: false })
    }

    /// Opens the object around a variant's content and the content itself.
    fn open_variant(self, variant: &str) -> Result<Children<'a>, Error> {
        let Children { arena, mark, depth, .. } = self.open()?;
        let key = arena.quoted_string(variant, true);
        arena.push(key);
        let content = Writing { arena, depth }.open()?;
        Ok(Children { outer: Some(mark), ..content })
    }
}

impl<'a> Serializer for Writing<'a> {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = Children<'a>;
    type SerializeTuple = Children<'a>;
    type SerializeTupleStruct = Children<'a>;
    type SerializeTupleVariant = Children<'a>;
    type SerializeMap = Children<'a>;
    type SerializeStruct = Children<'a>;
    type SerializeStructVariant = Children<'a>;

    fn serialize_bool(self, value: bool) -> Result<Value, Error> {
        Ok(Value::bool(value))
    }

    fn serialize_i8(self, value: i8) -> Result<Value, Error> {
        Ok(Value::int(value.into()))
    }

    fn serialize_i16(self, value: i16) -> Result<Value, Error> {
        Ok(Value::int(value.into()))
    }

    fn serialize_i32(self, value: i32) -> Result<Value, Error> {
        Ok(Value::int(value.into()))
    }

    fn serialize_i64(self, value: i64) -> Result<Value, Error> {
        Ok(Value::int(value))
    }

    fn serialize_i128(self, value: i128) -> Result<Value, Error> {
        Ok(i64::try_from(value).map_or(Value::float(value as f64), Value::int))
    }

    fn serialize_u8(self, value: u8) -> Result<Value, Error> {
        Ok(Value::int(value.into()))
    }

    fn serialize_u16(self, value: u16) -> Result<Value, Error> {
        Ok(Value::int(value.into()))
    }

    fn serialize_u32(self, value: u32) -> Result<Value, Error> {
        Ok(Value::int(value.into()))
    }

    fn serialize_u64(self, value: u64) -> Result<Value, Error> {
        Ok(i64::try_from(value).map_or(Value::float(value as f64), Value::int))
    }

    fn serialize_u128(self, value: u128) -> Result<Value, Error> {
        Ok(i64::try_from(value).map_or(Value::float(value as f64), Value::int))
    }

    /// The double with the same shortest text: 0.1 stays 0.1.
    fn serialize_f32(self, value: f32) -> Result<Value, Error> {
        if !value.is_finite() {
            return Ok(Value::NULL);
        }
        let text = zmij::Buffer::new().format_finite(value).parse();
        Ok(Value::float(text.unwrap_or(f64::from(value))))
    }

    fn serialize_f64(self, value: f64) -> Result<Value, Error> {
        Ok(if value.is_finite() { Value::float(value) } else { Value::NULL })
    }

    fn serialize_char(self, value: char) -> Result<Value, Error> {
        Ok(self.arena.string(value.encode_utf8(&mut [0; 4])))
    }

    fn serialize_str(self, value: &str) -> Result<Value, Error> {
        Ok(self.arena.quoted_string(value, false))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Value, Error> {
        let mut items = self.serialize_seq(Some(value.len()))?;
        value.iter().try_for_each(|byte| SerializeSeq::serialize_element(&mut items, byte))?;
        SerializeSeq::end(items)
    }

    fn serialize_none(self) -> Result<Value, Error> {
        Ok(Value::NULL)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Error> {
        Ok(Value::NULL)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Error> {
        Ok(Value::NULL)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, Error> {
        Ok(self.arena.string(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        let mut members = self.open()?;
        members.member(variant, value)?;
        Ok(members.arena.end_object(members.mark))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Children<'a>, Error> {
        self.open()
    }

    fn serialize_tuple(self, _: usize) -> Result<Children<'a>, Error> {
        self.open()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Children<'a>, Error> {
        self.open()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Children<'a>, Error> {
        self.open_variant(variant)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Children<'a>, Error> {
        self.open()
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Children<'a>, Error> {
        if matches!(name, RAW_VALUE | NUMBER) {
            let (mark, depth) = (self.arena.begin(), self.depth);
            return Ok(Children { arena: self.arena, mark, depth, outer: None, raw: true });
        }
        self.open()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Children<'a>, Error> {
        self.open_variant(variant)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<Value, Error> {
        let mark = self.arena.begin_text();
        match write!(self.arena.text(), "{value}") {
            Ok(()) => Ok(self.arena.end_text(mark)),
            Err(_) => {
                self.arena.cancel_text(mark);
                Err(Error::new(ErrorKind::Mismatch, "a Display implementation returned an error"))
            }
        }
    }
}

/// An array or object whose children are on the arena's stack.
struct Children<'a> {
    arena: &'a mut Arena,
    mark: Mark,
    depth: u16,
    /// The object around a variant's content.
    outer: Option<Mark>,
    /// Its one member is JSON text that represents the whole.
    raw: bool,
}

impl Children<'_> {
    fn writing(&mut self) -> Writing<'_> {
        Writing { arena: self.arena, depth: self.depth }
    }

    fn item<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
        let index = self.arena.pushed(self.mark).len();
        let made = item.serialize(self.writing()).map_err(|error| error.in_item(index))?;
        self.push(made)
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: &'static str, member: &T) -> Result<(), Error> {
        if self.raw {
            let text = member.serialize(self.writing())?;
            return self.raw_text(text);
        }
        let key = self.arena.quoted_string(name, true);
        self.push(key)?;
        let made = member.serialize(self.writing()).map_err(|error| error.in_member(name))?;
        self.push(made)
    }

    /// Children are on the stack until their container is closed; a hostile iterator must not fill the memory.
    fn push(&mut self, child: Value) -> Result<(), Error> {
        self.arena.push(child);
        if self.arena.reserve(0) { Ok(()) } else { Err(Error::too_large()) }
    }

    fn raw_text(&mut self, text: Value) -> Result<(), Error> {
        let text = self.arena.str(text).to_owned();
        let made = read(self.arena, text.as_bytes())
            .map_err(|error| Error::new(ErrorKind::Mismatch, format!("raw JSON text: {error}")))?;
        if made.depth() > limits::JSON_DEPTH_MAX - self.depth {
            return Err(Error::too_deep());
        }
        self.push(made)
    }

    fn close(self, make: fn(&mut Arena, Mark) -> Value) -> Result<Value, Error> {
        if self.raw {
            let made = self.arena.pushed(self.mark).last().copied();
            self.arena.cancel(self.mark);
            return Ok(made.unwrap_or(Value::NULL));
        }
        let made = make(self.arena, self.mark);
        match self.outer {
            Some(outer) => {
                self.arena.push(made);
                Ok(self.arena.end_object(outer))
            }
            None => Ok(made),
        }
    }
}

macro_rules! items {
    ($($access:ident $method:ident,)*) => {$(
        impl $access for Children<'_> {
            type Ok = Value;
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
                self.item(item)
            }

            fn end(self) -> Result<Value, Error> {
                self.close(Arena::end_array)
            }
        }
    )*};
}

items! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

macro_rules! members {
    ($($access:ident)*) => {$(
        impl $access for Children<'_> {
            type Ok = Value;
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, field: &T) -> Result<(), Error> {
                self.member(name, field)
            }

            fn end(self) -> Result<Value, Error> {
                self.close(Arena::end_object)
            }
        }
    )*};
}

members! { SerializeStruct SerializeStructVariant }

impl SerializeMap for Children<'_> {
    type Ok = Value;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let key = key.serialize(KeyWriting { arena: self.arena })?;
        self.push(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let made = value.serialize(self.writing()).map_err(|error| {
            let key = self.arena.pushed(self.mark).last().copied().unwrap_or(Value::NULL);
            error.in_member(self.arena.str(key))
        })?;
        self.push(made)
    }

    fn end(self) -> Result<Value, Error> {
        if !self.arena.pushed(self.mark).len().is_multiple_of(2) {
            return Err(Error::new(ErrorKind::Key, "a map ended after a key"));
        }
        self.close(Arena::end_object)
    }
}

/// Serializes map keys: strings, and values with an unambiguous text.
struct KeyWriting<'a> {
    arena: &'a mut Arena,
}

impl KeyWriting<'_> {
    fn refuse<T>(self) -> Result<T, Error> {
        Err(Error::new(ErrorKind::Key, "key must be a string"))
    }
}

macro_rules! shown_keys {
    ($($method:ident $type:ty,)*) => {$(
        fn $method(self, key: $type) -> Result<Value, Error> {
            self.collect_str(&key)
        }
    )*};
}

macro_rules! float_keys {
    ($($method:ident $type:ty,)*) => {$(
        fn $method(self, key: $type) -> Result<Value, Error> {
            if key.is_finite() {
Ok(self.arena.string(zmij::Buffer::new().format_finite(key)))
} else {
Err(Error::new(ErrorKind::Key, "float key must be finite"))
}
        }
    )*};
}

macro_rules! refused_keys {
    ($($method:ident($($type:ty),*) $(-> $ok:ident)?;)*) => {$(
        fn $method(self, $(_: $type),*) -> Result<refused_keys!(@ $($ok)?), Error> {
            self.refuse()
        }
    )*};
    (@) => { Value };
    (@ $ok:ident) => { Self::$ok };
}

impl Serializer for KeyWriting<'_> {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = Impossible<Value, Error>;
    type SerializeTuple = Impossible<Value, Error>;
    type SerializeTupleStruct = Impossible<Value, Error>;
    type SerializeTupleVariant = Impossible<Value, Error>;
    type SerializeMap = Impossible<Value, Error>;
    type SerializeStruct = Impossible<Value, Error>;
    type SerializeStructVariant = Impossible<Value, Error>;

    shown_keys! {
        serialize_bool bool, serialize_char char,
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_u128 u128,
    }

    float_keys! { serialize_f32 f32, serialize_f64 f64, }

    refused_keys! {
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_seq(Option<usize>) -> SerializeSeq;
        serialize_tuple(usize) -> SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> SerializeTupleVariant;
        serialize_map(Option<usize>) -> SerializeMap;
        serialize_struct(&'static str, usize) -> SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> SerializeStructVariant;
    }

    fn serialize_str(self, key: &str) -> Result<Value, Error> {
        Ok(self.arena.quoted_string(key, true))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, key: &T) -> Result<Value, Error> {
        key.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, Error> {
        Ok(self.arena.string(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        key: &T,
    ) -> Result<Value, Error> {
        key.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Value, Error> {
        self.refuse()
    }

    fn collect_str<T: Display + ?Sized>(self, key: &T) -> Result<Value, Error> {
        Writing { arena: self.arena, depth: 0 }.collect_str(key)
    }
}
