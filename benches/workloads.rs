//! The texts the benches work on: from the directory that `EXPRESSWAY_PERF` names (default `../shared/perf`) when it is
//! there, else those written here.

#![allow(dead_code, reason = "each bench uses what it needs")]

use std::path::PathBuf;

#[derive(Clone)]
pub(crate) struct Workload {
    pub(crate) definition: String,
    pub(crate) input: Vec<u8>,
}

/// The workload `w1`, `w2` or `w3`.
pub(crate) fn workload(name: &str) -> Workload {
    let (definition, input) = texts(name);
    Workload {
        definition: text(&format!("{name}.asl.json"), definition),
        input: text(&format!("{name}.input.json"), input).into(),
    }
}

/// The same, with the texts in this file.
pub(crate) fn own(name: &str) -> Workload {
    let (definition, input) = texts(name);
    Workload { definition: definition.into(), input: input.into() }
}

fn texts(name: &str) -> (&'static str, &'static str) {
    match name {
        "w1" => (W1_DEFINITION, W1_INPUT),
        "w2" => (W2_DEFINITION, W2_INPUT),
        "w3" => (W3_DEFINITION, W3_INPUT),
        _ => panic!("there is no workload {name}"),
    }
}

/// The order event of 868 bytes, and a machine that reads five of its fields and reshapes them.
pub(crate) fn event() -> Workload {
    Workload { definition: EVENT_DEFINITION.into(), input: text("event.input.json", EVENT_INPUT).into() }
}

/// About 10 KB: events in a list.
pub(crate) fn document() -> Vec<u8> {
    let event = String::from_utf8(event().input).unwrap();
    format!("[{}]", [event.trim(); 12].join(",")).into()
}

fn text(file: &str, otherwise: &str) -> String {
    let root = std::env::var_os("EXPRESSWAY_PERF").map(PathBuf::from);
    let root = root.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/perf"));
    let path = root.join("workloads").join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{}: {error}; the bench uses its own text for {file}", path.display());
            otherwise.into()
        }
    }
}

/// One Pass state.
const W1_DEFINITION: &str = r#"{"StartAt":"Only","States":{"Only":{"Type":"Pass","End":true}}}"#;
const W1_INPUT: &str = r#"{"x":1}"#;

/// Five states: route an order by quantity, shape it, route it by tier.
const W2_DEFINITION: &str = r#"{
  "StartAt": "Receive",
  "States": {
    "Receive": {"Type": "Pass", "Next": "Quantity"},
    "Quantity": {"Type": "Choice", "Default": "Reshape", "Choices": [
      {"Variable": "$.order.qty", "NumericGreaterThan": 100, "Next": "Reshape"},
      {"Variable": "$.order.qty", "NumericGreaterThanEquals": 10, "Next": "Reshape"}]},
    "Reshape": {"Type": "Pass", "Next": "Tier", "Parameters": {
      "id.$": "$.order.id", "qty.$": "$.order.qty",
      "customer": {"name.$": "$.customer.name", "tier.$": "$.customer.tier"},
      "tags.$": "$.order.tags", "source": "express", "version": 3}},
    "Tier": {"Type": "Choice", "Default": "End", "Choices": [
      {"Variable": "$.customer.tier", "StringEquals": "silver", "Next": "End"},
      {"Variable": "$.customer.tier", "StringEquals": "gold", "Next": "End"}]},
    "End": {"Type": "Succeed"}
  }
}"#;
const W2_INPUT: &str = r#"{"order":{"id":"ord-000000054321","qty":24,"price":18.75,"tags":["used","standard"],"note":"ring the bell"},"customer":{"name":"Bartholomew Roy","tier":"gold","country":"FR"},"ts":"2026-10-21T15:30:00Z"}"#;

/// A Map over ten items.
const W3_DEFINITION: &str = r#"{
  "StartAt": "Each",
  "States": {
    "Each": {"Type": "Map", "End": true, "ItemsPath": "$.items",
      "ItemSelector": {"idx.$": "$$.Map.Item.Index", "item.$": "$$.Map.Item.Value", "prefix.$": "$.prefix"},
      "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "Keep",
        "States": {"Keep": {"Type": "Pass", "End": true}}}}
  }
}"#;
const W3_INPUT: &str = r#"{"prefix":"run","items":[{"id":0,"name":"thing-0"},{"id":1,"name":"thing-1"},{"id":2,"name":"thing-2"},{"id":3,"name":"thing-3"},{"id":4,"name":"thing-4"},{"id":5,"name":"thing-5"},{"id":6,"name":"thing-6"},{"id":7,"name":"thing-7"},{"id":8,"name":"thing-8"},{"id":9,"name":"thing-9"}]}"#;

/// Four states over the event: only authorised payments, express ones by name, five fields in a new shape.
const EVENT_DEFINITION: &str = r#"{
  "StartAt": "Paid",
  "States": {
    "Paid": {"Type": "Choice", "Default": "Refused", "Choices": [
      {"Variable": "$.detail.payment.authorised", "BooleanEquals": true, "Next": "Speed"}]},
    "Speed": {"Type": "Choice", "Default": "Standard", "Choices": [
      {"Variable": "$.detail.flags.express", "BooleanEquals": true, "Next": "Express"}]},
    "Express": {"Type": "Pass", "End": true, "Parameters": {
      "order.$": "$.detail.orderId", "amount": {"total.$": "$.detail.total", "currency.$": "$.detail.currency"},
      "customer.$": "$.detail.customer.id", "lines.$": "$.detail.items", "carrier": "courier", "days": 1}},
    "Standard": {"Type": "Pass", "End": true, "Parameters": {
      "order.$": "$.detail.orderId", "amount": {"total.$": "$.detail.total", "currency.$": "$.detail.currency"},
      "customer.$": "$.detail.customer.id", "lines.$": "$.detail.items", "carrier": "post", "days": 5}},
    "Refused": {"Type": "Fail", "Error": "NotAuthorised"}
  }
}"#;
const EVENT_INPUT: &str = r#"{"version":"0","id":"0b1f7c52-6a0e-4d2b-9d0c-2f4f2f8f1a11","detail-type":"Order Placed","source":"org.example.orders","account":"444455556666","time":"2026-10-21T15:30:00Z","region":"eu-central-1","resources":["arn:aws:shop:eu-central-1:444455556666:order/ord-0002"],"detail":{"type":"order","orderId":"ord-0002","total":120.5,"currency":"EUR","customer":{"id":"cus-12","name":"Grace Hopper","tier":"gold"},"shipping":{"street":"1 Harbour Road","city":"Hamburg","postcode":"20457","country":"DE"},"items":[{"sku":"SKU-7001","qty":1,"price":40.5},{"sku":"SKU-7002","qty":2,"price":20.0},{"sku":"SKU-7003","qty":4,"price":5.5},{"sku":"SKU-7004","qty":1,"price":18.0}],"payment":{"method":"card","brand":"visa","last4":"1881","authorised":true,"authCode":"Z9Y8X7"},"notes":"call before delivery, the gate is locked","flags":{"gift":false,"express":true,"fraudScore":0.01}}}"#;

/// W2 with JSONata expressions for its paths.
pub(crate) const W2_IN_JSONATA: &str = r#"{
  "QueryLanguage": "JSONata",
  "StartAt": "Receive",
  "States": {
    "Receive": {"Type": "Pass", "Next": "Quantity"},
    "Quantity": {"Type": "Choice", "Default": "Reshape", "Choices": [
      {"Condition": "{% $states.input.order.qty > 100 %}", "Next": "Reshape"},
      {"Condition": "{% $states.input.order.qty >= 10 %}", "Next": "Reshape"}]},
    "Reshape": {"Type": "Pass", "Next": "Tier", "Output": {
      "id": "{% $states.input.order.id %}",
      "qty": "{% $states.input.order.qty %}",
      "customer": {"name": "{% $states.input.customer.name %}", "tier": "{% $states.input.customer.tier %}"},
      "tags": "{% $states.input.order.tags %}",
      "source": "express",
      "version": 3}},
    "Tier": {"Type": "Choice", "Default": "Done", "Choices": [
      {"Condition": "{% $states.input.customer.tier = 'silver' %}", "Next": "Done"},
      {"Condition": "{% $states.input.customer.tier = 'gold' %}", "Next": "Done"}]},
    "Done": {"Type": "Succeed"}}}"#;
