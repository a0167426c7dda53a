//! W2: route an order by its quantity, reshape it, route it by its customer's tier.

use std::borrow::Cow;
use std::hint::black_box;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Result, Value, json};

use super::{missing, write};

/// The targets of the two Choice states. The definition sends every route to the same state; `black_box` keeps the
/// compiler from removing the choice.
pub(super) fn route_by_quantity(qty: i64) {
    black_box(match qty {
        101.. => 0,
        10.. => 1,
        _ => 2,
    });
}

pub(super) fn route_by_tier(tier: &str) {
    black_box(match tier {
        "silver" => 0,
        "gold" => 1,
        _ => 2,
    });
}

pub(crate) fn tree(input: &[u8]) -> Result<Vec<u8>> {
    let mut input_value: Value = serde_json::from_slice(input)?;
    route_by_quantity(input_value["order"]["qty"].as_i64().ok_or_else(missing)?);
    route_by_tier(input_value["customer"]["tier"].as_str().ok_or_else(missing)?);
    let order = &mut input_value["order"];
    let (id, qty, tags) = (order["id"].take(), order["qty"].take(), order["tags"].take());
    let customer = &mut input_value["customer"];
    let (name, tier) = (customer["name"].take(), customer["tier"].take());
    let output = json!({
        "id": id,
        "qty": qty,
        "customer": {"name": name, "tier": tier},
        "tags": tags,
        "source": "express",
        "version": 3,
    });
    write(&output, input.len())
}

#[derive(Deserialize)]
struct OwnedInput {
    order: OwnedOrder,
    customer: OwnedCustomer,
}

#[derive(Deserialize)]
struct OwnedOrder {
    id: String,
    qty: i64,
    tags: Vec<String>,
}

#[derive(Deserialize, Serialize)]
struct OwnedCustomer {
    name: String,
    tier: String,
}

#[derive(Serialize)]
struct OwnedOutput {
    id: String,
    qty: i64,
    customer: OwnedCustomer,
    tags: Vec<String>,
    source: &'static str,
    version: u32,
}

pub(crate) fn owned(input: &[u8]) -> Result<Vec<u8>> {
    let OwnedInput { order, customer } = serde_json::from_slice(input)?;
    route_by_quantity(order.qty);
    route_by_tier(&customer.tier);
    let OwnedOrder { id, qty, tags } = order;
    write(&OwnedOutput { id, qty, customer, tags, source: "express", version: 3 }, input.len())
}

#[derive(Deserialize)]
struct BorrowedInput<'a> {
    #[serde(borrow)]
    order: BorrowedOrder<'a>,
    customer: BorrowedCustomer<'a>,
}

#[derive(Deserialize)]
struct BorrowedOrder<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    qty: i64,
    tags: &'a RawValue,
}

#[derive(Deserialize, Serialize)]
struct BorrowedCustomer<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    tier: Cow<'a, str>,
}

#[derive(Serialize)]
struct BorrowedOutput<'a> {
    id: Cow<'a, str>,
    qty: i64,
    customer: BorrowedCustomer<'a>,
    tags: &'a RawValue,
    source: &'static str,
    version: u32,
}

pub(crate) fn borrowed(input: &[u8]) -> Result<Vec<u8>> {
    // One pass over the whole text for UTF-8 is cheaper than one for every string.
    let text = std::str::from_utf8(input).map_err(serde::de::Error::custom)?;
    let BorrowedInput { order, customer } = serde_json::from_str(text)?;
    route_by_quantity(order.qty);
    route_by_tier(&customer.tier);
    let BorrowedOrder { id, qty, tags } = order;
    write(&BorrowedOutput { id, qty, customer, tags, source: "express", version: 3 }, input.len())
}
