//! `serde_json::Value` as it is without the feature `preserve_order`, which this crate's own build turns on for all: the
//! same tree with sorted keys, parsed and written through the same code. It loses the order of keys and is faster, and
//! most users have it, so it is the fairer of the two to be measured against.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::{Number, Result};

use super::{missing, w2, write};

enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Tree>),
    Object(BTreeMap<String, Tree>),
}

impl<'de> Deserialize<'de> for Tree {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Tree, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    #[inline]
    fn visit_unit<E>(self) -> std::result::Result<Tree, E> {
        Ok(Tree::Null)
    }

    #[inline]
    fn visit_bool<E>(self, value: bool) -> std::result::Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    #[inline]
    fn visit_i64<E>(self, value: i64) -> std::result::Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    #[inline]
    fn visit_u64<E>(self, value: u64) -> std::result::Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    #[inline]
    fn visit_f64<E>(self, value: f64) -> std::result::Result<Tree, E> {
        Ok(Number::from_f64(value).map_or(Tree::Null, Tree::Number))
    }

    #[inline]
    fn visit_str<E>(self, value: &str) -> std::result::Result<Tree, E> {
        Ok(Tree::String(value.into()))
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Tree, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Tree::Array(array))
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<Tree, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((key, value)) = members.next_entry()? {
            object.insert(key, value);
        }
        Ok(Tree::Object(object))
    }
}

impl Serialize for Tree {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Tree::Null => serializer.serialize_unit(),
            Tree::Bool(value) => serializer.serialize_bool(*value),
            Tree::Number(number) => number.serialize(serializer),
            Tree::String(text) => serializer.serialize_str(text),
            Tree::Array(items) => items.serialize(serializer),
            Tree::Object(members) => serializer.collect_map(members),
        }
    }
}

impl Tree {
    fn get(&self, path: &[&str]) -> Result<&Tree> {
        path.iter().try_fold(self, |tree, key| match tree {
            Tree::Object(members) => members.get(*key).ok_or_else(missing),
            _ => Err(missing()),
        })
    }

    fn take(&mut self, path: &[&str]) -> Result<Tree> {
        let found = path.iter().try_fold(self, |tree, key| match tree {
            Tree::Object(members) => members.get_mut(*key).ok_or_else(missing),
            _ => Err(missing()),
        })?;
        Ok(std::mem::replace(found, Tree::Null))
    }

    fn as_str(&self) -> Result<&str> {
        if let Tree::String(text) = self { Ok(text) } else { Err(missing()) }
    }

    fn as_bool(&self) -> Result<bool> {
        if let Tree::Bool(value) = self { Ok(*value) } else { Err(missing()) }
    }

    fn as_i64(&self) -> Result<i64> {
        match self {
            Tree::Number(number) => number.as_i64().ok_or_else(missing),
            _ => Err(missing()),
        }
    }
}

fn object<const N: usize>(members: [(&str, Tree); N]) -> Tree {
    let mut object = BTreeMap::new();
    for (key, value) in members {
        object.insert(key.to_owned(), value);
    }
    Tree::Object(object)
}

pub(crate) fn w1(input: &[u8]) -> Result<Vec<u8>> {
    write(&serde_json::from_slice::<Tree>(input)?, input.len())
}

pub(crate) fn w2(input: &[u8]) -> Result<Vec<u8>> {
    let mut tree: Tree = serde_json::from_slice(input)?;
    let (mut order, mut customer) = (tree.take(&["order"])?, tree.take(&["customer"])?);
    w2::route_by_quantity(order.get(&["qty"])?.as_i64()?);
    w2::route_by_tier(customer.get(&["tier"])?.as_str()?);
    let output = object([
        ("id", order.take(&["id"])?),
        ("qty", order.take(&["qty"])?),
        ("customer", object([("name", customer.take(&["name"])?), ("tier", customer.take(&["tier"])?)])),
        ("tags", order.take(&["tags"])?),
        ("source", Tree::String("express".into())),
        ("version", Tree::Number(3.into())),
    ]);
    write(&output, input.len())
}

pub(crate) fn w3(input: &[u8]) -> Result<Vec<u8>> {
    let mut tree: Tree = serde_json::from_slice(input)?;
    let Tree::Array(items) = tree.take(&["items"])? else { return Err(missing()) };
    let prefix = tree.get(&["prefix"])?.as_str()?;
    let selected = items.into_iter().enumerate().map(|(idx, item)| {
        let prefix = Tree::String(prefix.to_owned());
        object([("idx", Tree::Number(idx.into())), ("item", item), ("prefix", prefix)])
    });
    write(&selected.collect::<Vec<Tree>>(), 2 * input.len())
}

pub(crate) fn event(input: &[u8]) -> Result<Vec<u8>> {
    let mut tree: Tree = serde_json::from_slice(input)?;
    let mut detail = tree.take(&["detail"])?;
    let authorised = detail.get(&["payment", "authorised"])?.as_bool()?;
    let express = detail.get(&["flags", "express"])?.as_bool()?;
    let (carrier, days) = super::event::carrier(authorised, express)?;
    let output = object([
        ("order", detail.take(&["orderId"])?),
        ("amount", object([("total", detail.take(&["total"])?), ("currency", detail.take(&["currency"])?)])),
        ("customer", detail.take(&["customer", "id"])?),
        ("lines", detail.take(&["items"])?),
        ("carrier", Tree::String(carrier.into())),
        ("days", Tree::Number(days.into())),
    ]);
    write(&output, input.len())
}
