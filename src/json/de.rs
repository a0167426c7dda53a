//! Values to typed structs: a [`serde::Deserializer`] over a value, without a copy of the text.
//!
//! The data model is serde_json's: what can be deserialized from a text with serde_json can be deserialized from the
//! value read from that text, with one difference: integers beyond 64 signed bits are doubles.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::bridge::{Error, ErrorKind};
use super::{Arena, Entries, Kind, Number, Value};
use crate::limits;

/// Makes a `T` of a value; strings may be borrowed from the arena.
///
/// ```
/// use expressway::json::{self, Arena};
/// #[derive(serde::Deserialize)]
/// struct Line<'a> {
///     sku: &'a str,
///     qty: u32,
/// }
/// let mut arena = Arena::new();
/// let value = json::read(&mut arena, br#"{"sku": "SKU-1", "qty": 2}"#)?;
/// let line: Line = json::from_value(&arena, value)?;
/// assert_eq!((line.sku, line.qty), ("SKU-1", 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The value is not what `T` needs ([`ErrorKind::Mismatch`], with the path), or is nested deeper than
/// [`limits::JSON_DEPTH_MAX`].
pub fn from_value<'a, T: Deserialize<'a>>(arena: &'a Arena, value: Value) -> Result<T, Error> {
    if value.depth() > limits::JSON_DEPTH_MAX {
        return Err(Error::too_deep());
    }
    T::deserialize(Reading { arena, value })
}

#[derive(Clone, Copy)]
struct Reading<'de> {
    arena: &'de Arena,
    value: Value,
}

impl<'de> Reading<'de> {
    fn of(self, value: Value) -> Reading<'de> {
        Reading { arena: self.arena, value }
    }

    fn refuse<T>(self, expected: &dyn Expected) -> Result<T, Error> {
        let unexpected = match self.value.kind() {
            Kind::Bool => Unexpected::Bool(self.value.as_bool() == Some(true)),
            Kind::String => Unexpected::Str(self.arena.str(self.value)),
            Kind::Array => Unexpected::Seq,
            Kind::Object => Unexpected::Map,
            _ => match self.arena.number(self.value) {
                Some(Number::Int(int)) => Unexpected::Signed(int),
                Some(Number::Float(float)) => Unexpected::Float(float),
                None => Unexpected::Unit,
            },
        };
        Err(Error::invalid_type(unexpected, expected))
    }

    fn visit_items<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let items = self.arena.items(self.value);
        let mut rest = Items { arena: self.arena, items, next: 0 };
        let found = visitor.visit_seq(&mut rest)?;
        if rest.next == items.len() {
            Ok(found)
        } else {
            Err(Error::invalid_length(items.len(), &"fewer elements in array"))
        }
    }

    fn visit_members<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut rest = Members { reading: self, entries: self.arena.entries(self.value), current: None };
        let found = visitor.visit_map(&mut rest)?;
        match rest.entries.len() {
            0 => Ok(found),
            _ => Err(Error::invalid_length(self.value.len(), &"fewer elements in map")),
        }
    }
}

impl<'de> Deserializer<'de> for Reading<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value.kind() {
            Kind::Undefined | Kind::Null | Kind::Opaque | Kind::Header => visitor.visit_unit(),
            Kind::Bool => visitor.visit_bool(self.value.as_bool() == Some(true)),
            Kind::String => visitor.visit_borrowed_str(self.arena.str(self.value)),
            Kind::Array => self.visit_items(visitor),
            Kind::Object => self.visit_members(visitor),
            Kind::Int | Kind::Decimal | Kind::Float => match self.arena.number(self.value) {
                Some(Number::Int(int)) if int < 0 => visitor.visit_i64(int),
                Some(Number::Int(int)) => visitor.visit_u64(int as u64),
                Some(Number::Float(float)) if float.is_finite() => visitor.visit_f64(float),
                _ => visitor.visit_unit(),
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value.kind() {
            Kind::Undefined | Kind::Null | Kind::Opaque => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value.kind() {
            Kind::String => visitor.visit_enum(Variant { name: self.arena.str(self.value), content: None }),
            Kind::Object => match self.arena.entry(self.value, 0) {
                Some((name, content)) if self.value.len() == 1 => {
                    let name = self.arena.str(name);
                    visitor.visit_enum(Variant { name, content: Some(self.of(content)) })
                }
                _ => Err(Error::invalid_value(Unexpected::Map, &"map with a single key")),
            },
            _ => self.refuse(&"string or map"),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    /// Only names: serde's own visitors would take a number as a field's index.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_string() {
            visitor.visit_borrowed_str(self.arena.str(self.value))
        } else {
            self.refuse(&visitor)
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct
    }
}

struct Items<'de> {
    arena: &'de Arena,
    items: &'de [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for &mut Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(&value) = self.items.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        seed.deserialize(Reading { arena: self.arena, value }).map(Some).map_err(|error| error.in_item(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Members<'de> {
    reading: Reading<'de>,
    entries: Entries<'de>,
    current: Option<(&'de str, Value)>,
}

impl<'de> MapAccess<'de> for &mut Members<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        let name = self.reading.arena.str(key);
        self.current = Some((name, value));
        seed.deserialize(Name(name)).map(Some).map_err(|error| error.in_member(name))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let Some((name, value)) = self.current.take() else {
            return Err(Error::custom("a map's value was asked for before its key"));
        };
        seed.deserialize(self.reading.of(value)).map_err(|error| error.in_member(name))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A variant by its name alone, or with its content.
struct Variant<'de> {
    name: &'de str,
    content: Option<Reading<'de>>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Error;
    type Variant = Variant<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Variant<'de>), Error> {
        let found = seed.deserialize(BorrowedStrDeserializer::<Error>::new(self.name))?;
        Ok((found, self))
    }
}

impl<'de> Variant<'de> {
    fn refuse<T>(self, expected: &str) -> Result<T, Error> {
        match self.content {
            Some(content) => content.refuse(&expected).map_err(|error: Error| error.in_member(self.name)),
            None => Err(Error::invalid_type(Unexpected::UnitVariant, &expected)),
        }
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            Some(content) => <()>::deserialize(content).map_err(|error| error.in_member(self.name)),
            None => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        match self.content {
            Some(content) => seed.deserialize(content).map_err(|error| error.in_member(self.name)),
            None => self.refuse("newtype variant"),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        match self.content {
            Some(content) if content.value.is_array() => {
                content.visit_items(visitor).map_err(|error| error.in_member(self.name))
            }
            _ => self.refuse("tuple variant"),
        }
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.content {
            Some(content) if content.value.is_container() => {
                content.deserialize_any(visitor).map_err(|error| error.in_member(self.name))
            }
            _ => self.refuse("struct variant"),
        }
    }
}

/// A member's name as a map key: a string that may represent a number or boolean.
struct Name<'de>(&'de str);

/// Numbers in names have the same grammar as numbers in JSON text.
macro_rules! number_names {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let bytes = self.0.as_bytes();
            let begins = matches!(bytes.first(), Some(b'-' | b'0'..=b'9'));
            if !begins || !matches!(bytes.last(), Some(b'0'..=b'9')) {
                return Err(Error::invalid_value(Unexpected::Str(self.0), &"a quoted number as key"));
            }
            let mut number = serde_json::Deserializer::from_str(self.0);
            let refuse = |error: serde_json::Error| Error::new(ErrorKind::Mismatch, error.to_string());
            let found = number.$method(visitor).map_err(refuse)?;
            number.end().map_err(refuse)?;
            Ok(found)
        }
    )*};
}

impl<'de> Deserializer<'de> for Name<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            name => Err(Error::invalid_type(Unexpected::Str(name), &visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(Variant { name: self.0, content: None })
    }

    number_names! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
