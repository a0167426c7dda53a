//! JSONata expressions on the event, which is in the arena already, each beside the same by hand on a
//! `serde_json::Value` that was parsed before; and compiling them. `cargo bench --bench jsonata`.
//!
//! Beside other implementations: `cargo bench -p oracles`.

mod bed;
mod measure;
mod workloads;

use bed::{Bed, NoNames};
use criterion::Throughput;
use expressway::json;
use expressway::query::jsonata::{Allowed, Expr, Profile};
use measure::{Comparison, candidate};
use serde_json::{Value as Tree, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type ByHand = fn(&Tree) -> Tree;

const CASES: [(&str, &str, ByHand); 6] = [
    ("a chain", "$states.input.detail.customer.name", |event| event["detail"]["customer"]["name"].clone()),
    ("a sum", "$sum($states.input.detail.items.(price * qty))", |event| {
        let lines = items(event).iter().map(|item| number(&item["price"]) * number(&item["qty"]));
        json!(lines.sum::<f64>())
    }),
    (
        "a filter and objects",
        "$states.input.detail.items[price > 15].{'sku': sku, 'next': qty + 1}",
        |event| {
            let dear = items(event).iter().filter(|item| number(&item["price"]) > 15.0);
            let made =
                dear.map(|item| json!({"sku": item["sku"], "next": item["qty"].as_i64().unwrap() + 1}));
            Tree::Array(made.collect())
        },
    ),
    (
        "a function for each",
        "$map($states.input.detail.items, function($it) { $it.sku & ':' & $string($it.qty) })",
        |event| {
            let texts = items(event).iter().map(|item| format!("{}:{}", text(&item["sku"]), item["qty"]));
            Tree::from(texts.collect::<Vec<_>>())
        },
    ),
    ("a sort", "$sort($states.input.detail.items, function($a, $b) { $a.qty < $b.qty }).sku", |event| {
        let mut sorted: Vec<&Tree> = items(event).iter().collect();
        sorted.sort_by(|one, other| number(&other["qty"]).total_cmp(&number(&one["qty"])));
        sorted.into_iter().map(|item| item["sku"].clone()).collect()
    }),
    ("texts", "$join($split($states.input.detail.notes, ' '), '-')", |event| {
        let words: Vec<&str> = text(&event["detail"]["notes"]).split(' ').collect();
        json!(words.join("-"))
    }),
];

fn items(event: &Tree) -> &[Tree] {
    event["detail"]["items"].as_array().unwrap()
}

fn number(value: &Tree) -> f64 {
    value.as_f64().unwrap()
}

fn text(value: &Tree) -> &str {
    value.as_str().unwrap()
}

fn compiled(expression: &str) -> Expr {
    Expr::compile(expression, &mut NoNames, Profile::StepFunctions(Allowed::default())).unwrap()
}

fn main() {
    let event = workloads::event().input;
    let mut comparisons: Vec<Comparison<'_>> = CASES
        .iter()
        .map(|&(name, expression, by_hand)| evaluating(name, expression, by_hand, &event))
        .collect();
    comparisons.push(Comparison {
        title: "compile an expression".to_owned(),
        throughput: Throughput::Elements(1),
        baseline: CASES[0].0,
        candidates: CASES.map(|(name, expression, _)| candidate(name, move || compiled(expression))).into(),
    });
    measure::run(comparisons);
}

fn evaluating<'a>(name: &str, expression: &str, by_hand: ByHand, event: &'a [u8]) -> Comparison<'a> {
    const BY_HAND: &str = "serde_json::Value";
    let expression = compiled(expression);
    let tree: Tree = serde_json::from_slice(event).unwrap();
    let mut bed = Bed::new(event);
    let value = bed.evaluate(&expression);
    let given: Tree = serde_json::from_str(&json::to_string(&bed.arena, value)).unwrap();
    assert_eq!(given, by_hand(&tree), "{name}");
    Comparison {
        title: name.to_owned(),
        throughput: Throughput::Elements(1),
        baseline: BY_HAND,
        candidates: vec![
            candidate("Expr::eval", move || bed.evaluate(&expression)),
            candidate(BY_HAND, move || by_hand(&tree)),
        ],
    }
}
