//! The order event: authorised payments only, express orders by name, five fields in a new shape.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Result, Value, json};

use super::{missing, write};

pub(super) fn carrier(authorised: bool, express: bool) -> Result<(&'static str, u32)> {
    match (authorised, express) {
        (false, _) => Err(serde::de::Error::custom("NotAuthorised")),
        (true, true) => Ok(("courier", 1)),
        (true, false) => Ok(("post", 5)),
    }
}

pub(crate) fn tree(input: &[u8]) -> Result<Vec<u8>> {
    let mut event: Value = serde_json::from_slice(input)?;
    let detail = &mut event["detail"];
    let authorised = detail["payment"]["authorised"].as_bool().ok_or_else(missing)?;
    let express = detail["flags"]["express"].as_bool().ok_or_else(missing)?;
    let (carrier, days) = carrier(authorised, express)?;
    let output = json!({
        "order": detail["orderId"].take(),
        "amount": {"total": detail["total"].take(), "currency": detail["currency"].take()},
        "customer": detail["customer"]["id"].take(),
        "lines": detail["items"].take(),
        "carrier": carrier,
        "days": days,
    });
    write(&output, input.len())
}

#[derive(Deserialize)]
struct Flags {
    express: bool,
}

#[derive(Deserialize)]
struct Payment {
    authorised: bool,
}

#[derive(Deserialize)]
struct OwnedEvent {
    detail: OwnedDetail,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnedDetail {
    order_id: String,
    total: f64,
    currency: String,
    customer: OwnedCustomer,
    items: Vec<OwnedLine>,
    payment: Payment,
    flags: Flags,
}

#[derive(Deserialize)]
struct OwnedCustomer {
    id: String,
}

#[derive(Deserialize, Serialize)]
struct OwnedLine {
    sku: String,
    qty: u32,
    price: f64,
}

#[derive(Serialize)]
struct OwnedAmount {
    total: f64,
    currency: String,
}

#[derive(Serialize)]
struct OwnedOutput {
    order: String,
    amount: OwnedAmount,
    customer: String,
    lines: Vec<OwnedLine>,
    carrier: &'static str,
    days: u32,
}

pub(crate) fn owned(input: &[u8]) -> Result<Vec<u8>> {
    let OwnedEvent { detail } = serde_json::from_slice(input)?;
    let (carrier, days) = carrier(detail.payment.authorised, detail.flags.express)?;
    let output = OwnedOutput {
        order: detail.order_id,
        amount: OwnedAmount { total: detail.total, currency: detail.currency },
        customer: detail.customer.id,
        lines: detail.items,
        carrier,
        days,
    };
    write(&output, input.len())
}

#[derive(Deserialize)]
struct BorrowedEvent<'a> {
    #[serde(borrow)]
    detail: BorrowedDetail<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BorrowedDetail<'a> {
    #[serde(borrow)]
    order_id: Cow<'a, str>,
    #[serde(borrow)]
    total: &'a RawValue,
    #[serde(borrow)]
    currency: Cow<'a, str>,
    #[serde(borrow)]
    customer: BorrowedCustomer<'a>,
    #[serde(borrow)]
    items: &'a RawValue,
    payment: Payment,
    flags: Flags,
}

#[derive(Deserialize)]
struct BorrowedCustomer<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Serialize)]
struct BorrowedAmount<'a> {
    total: &'a RawValue,
    currency: Cow<'a, str>,
}

#[derive(Serialize)]
struct BorrowedOutput<'a> {
    order: Cow<'a, str>,
    amount: BorrowedAmount<'a>,
    customer: Cow<'a, str>,
    lines: &'a RawValue,
    carrier: &'static str,
    days: u32,
}

pub(crate) fn borrowed(input: &[u8]) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(input).map_err(serde::de::Error::custom)?;
    let BorrowedEvent { detail } = serde_json::from_str(text)?;
    let (carrier, days) = carrier(detail.payment.authorised, detail.flags.express)?;
    let output = BorrowedOutput {
        order: detail.order_id,
        amount: BorrowedAmount { total: detail.total, currency: detail.currency },
        customer: detail.customer.id,
        lines: detail.items,
        carrier,
        days,
    };
    write(&output, input.len())
}
