//! W3: every item with its index and the prefix.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Result, Value, json};

use super::{missing, write};

/// Index, prefix and punctuation of ten items.
const GROWTH: usize = 400;

pub(crate) fn tree(input: &[u8]) -> Result<Vec<u8>> {
    let mut input_value: Value = serde_json::from_slice(input)?;
    let Value::Array(items) = input_value["items"].take() else { return Err(missing()) };
    let prefix = &input_value["prefix"];
    let output: Vec<Value> = items
        .into_iter()
        .enumerate()
        .map(|(idx, item)| json!({"idx": idx, "item": item, "prefix": prefix}))
        .collect();
    write(&output, input.len() + GROWTH)
}

#[derive(Deserialize)]
struct OwnedInput {
    prefix: String,
    items: Vec<OwnedItem>,
}

#[derive(Deserialize, Serialize)]
struct OwnedItem {
    id: i64,
    name: String,
}

#[derive(Serialize)]
struct OwnedOutput {
    idx: usize,
    item: OwnedItem,
    prefix: String,
}

pub(crate) fn owned(input: &[u8]) -> Result<Vec<u8>> {
    let OwnedInput { prefix, items } = serde_json::from_slice(input)?;
    let output: Vec<OwnedOutput> = items
        .into_iter()
        .enumerate()
        .map(|(idx, item)| OwnedOutput { idx, item, prefix: prefix.clone() })
        .collect();
    write(&output, input.len() + GROWTH)
}

#[derive(Deserialize)]
struct BorrowedInput<'a> {
    #[serde(borrow)]
    prefix: Cow<'a, str>,
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct BorrowedOutput<'a> {
    idx: usize,
    item: &'a RawValue,
    prefix: &'a str,
}

pub(crate) fn borrowed(input: &[u8]) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(input).map_err(serde::de::Error::custom)?;
    let BorrowedInput { prefix, items } = serde_json::from_str(text)?;
    let output = items.into_iter().enumerate();
    let output = output.map(|(idx, item)| BorrowedOutput { idx, item, prefix: &prefix });
    let mut out = Vec::with_capacity(input.len() + GROWTH);
    serde_json::Serializer::new(&mut out).collect_seq(output)?;
    Ok(out)
}
