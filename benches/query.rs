//! Paths, templates and intrinsic functions on the event, which is in the arena already. `cargo bench --bench query`.

mod bed;
mod measure;
mod workloads;

use bed::{Bed, NoNames};
use criterion::Throughput;
use expressway::fuel::Fuel;
use expressway::json::{self, source};
use expressway::query::intrinsic::Call;
use expressway::query::jsonata::{Allowed, Expr, Profile};
use expressway::query::path::Path;
use expressway::query::template::{Language, Template};
use measure::{Candidate, Comparison, candidate};
use serde_json::Value as Tree;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Each beside the same by hand on a `serde_json::Value` that was parsed before, if a JSON pointer can express it.
const PATHS: [(&str, Option<&str>); 7] = [
    ("$", Some("")),
    ("$.detail", Some("/detail")),
    ("$.detail.customer.tier", Some("/detail/customer/tier")),
    ("$.detail.items[2].sku", Some("/detail/items/2/sku")),
    ("$.detail.items[*].sku", None),
    ("$.detail.items[?(@.qty > 1)].sku", None),
    ("$..sku", None),
];

type ByHand = fn(&Tree) -> Tree;

/// Each beside the same made by hand of a `serde_json::Value` that was parsed before, cloning what it takes over.
const TEMPLATES: [(&str, &str, ByHand); 3] = [
    (
        "a constant",
        r#"{"carrier": "courier", "days": 1, "tags": ["a", "b"]}"#,
        |_| serde_json::json!({"carrier": "courier", "days": 1, "tags": ["a", "b"]}),
    ),
    (
        "five fields",
        r#"{"order.$": "$.detail.orderId", "customer.$": "$.detail.customer.id", "carrier": "courier", "days": 1,
            "amount": {"total.$": "$.detail.total", "currency.$": "$.detail.currency"}}"#,
        |event| {
            let detail = &event["detail"];
            serde_json::json!({"order": detail["orderId"], "customer": detail["customer"]["id"], "carrier": "courier",
                "days": 1, "amount": {"total": detail["total"], "currency": detail["currency"]}})
        },
    ),
    (
        "a subtree",
        r#"{"lines.$": "$.detail.items"}"#,
        |event| serde_json::json!({"lines": event["detail"]["items"]}),
    ),
];

/// All eighteen.
const CALLS: [&str; 18] = [
    "States.Format('Order {} of {}', $.detail.orderId, $.detail.customer.name)",
    "States.StringToJson('{\"a\": [1, 2, 3]}')",
    "States.JsonToString($.detail.customer)",
    "States.Array($.detail.orderId, $.detail.total, 'x')",
    "States.ArrayPartition($.detail.items, 2)",
    "States.ArrayContains($.resources, 'none')",
    "States.ArrayRange(1, 9, 2)",
    "States.ArrayGetItem($.detail.items, 2)",
    "States.ArrayLength($.detail.items)",
    "States.ArrayUnique($.detail.items[*].qty)",
    "States.Base64Encode($.detail.notes)",
    "States.Base64Decode('Y2FsbCBiZWZvcmUgZGVsaXZlcnk=')",
    "States.Hash($.detail.notes, 'SHA-256')",
    "States.JsonMerge($.detail.customer, $.detail.shipping, false)",
    "States.MathRandom(1, 100)",
    "States.MathAdd($.detail.items[0].qty, 1)",
    "States.StringSplit($.time, '-:T')",
    "States.UUID()",
];

fn main() {
    let event = workloads::event().input;
    let text = event.trim_ascii();
    let mut comparisons: Vec<Comparison<'_>> =
        PATHS.iter().map(|&(path, by)| following(path, by, text)).collect();
    comparisons.extend(TEMPLATES.iter().map(|&(name, source, by)| making(name, source, by, text)));
    let calls = CALLS.iter().map(|call| calling(call, text)).collect();
    comparisons.push(one("intrinsic functions", "States.UUID", calls));
    measure::run(comparisons);
}

fn one<'a>(title: &str, baseline: &'static str, candidates: Vec<Candidate<'a>>) -> Comparison<'a> {
    Comparison { title: title.to_owned(), throughput: Throughput::Elements(1), baseline, candidates }
}

fn following<'a>(path: &str, pointer: Option<&'static str>, text: &'a [u8]) -> Comparison<'a> {
    let mut bed = Bed::new(text);
    let read = Path::parse(path, &mut NoNames).unwrap();
    let found = bed.on(|arena, scope| read.eval(arena, scope, &Fuel::unlimited()).unwrap());
    let title = format!("path {path}");
    let mut candidates = Vec::new();
    if let Some(pointer) = pointer {
        let tree: Tree = serde_json::from_slice(text).unwrap();
        let same = tree.pointer(pointer).unwrap();
        assert_eq!(
            &serde_json::from_str::<Tree>(&json::to_string(&bed.arena, found)).unwrap(),
            same,
            "{path}"
        );
        candidates.push(candidate("serde_json::Value::pointer", move || {
            std::hint::black_box(tree.pointer(pointer)).is_some()
        }));
    }
    if path == "$.detail.customer.tier" {
        candidates.push(same_in_jsonata("$states.input.detail.customer.tier", text));
    }
    candidates.insert(
        0,
        candidate("Path::eval", move || {
            bed.on(|arena, scope| read.eval(arena, scope, &Fuel::unlimited()).unwrap())
        }),
    );
    one(&title, "Path::eval", candidates)
}

/// The same path as a JSONata expression: at most 1.3 times as dear.
fn same_in_jsonata<'a>(expression: &str, text: &'a [u8]) -> Candidate<'a> {
    let profile = Profile::StepFunctions(Allowed::default());
    let expression = Expr::compile(expression, &mut NoNames, profile).unwrap();
    let mut bed = Bed::new(text);
    candidate("in JSONata", move || bed.evaluate(&expression))
}

fn making<'a>(name: &str, template: &str, by_hand: ByHand, text: &'a [u8]) -> Comparison<'a> {
    let mut bed = Bed::new(text);
    let source = source::read(template.as_bytes(), template.len()).unwrap();
    let template = Template::compile(&source.root, "Parameters", Language::JsonPath, &mut NoNames).unwrap();
    let tree: Tree = serde_json::from_slice(text).unwrap();
    let made = bed.make(&template);
    let same: Tree = serde_json::from_str(&json::to_string(&bed.arena, made)).unwrap();
    assert_eq!(same, by_hand(&tree), "{name}");
    let candidates = vec![
        candidate("Template::eval", move || bed.make(&template)),
        candidate("serde_json::Value", move || by_hand(&tree)),
    ];
    one(&format!("template of {name}"), "Template::eval", candidates)
}

fn calling<'a>(call: &str, text: &'a [u8]) -> Candidate<'a> {
    let name = &call[..call.find('(').unwrap_or(call.len())];
    let call = Call::parse(call, &mut NoNames).unwrap();
    let mut bed = Bed::new(text);
    let mut random = 0u64;
    let work = move || {
        bed.on(|arena, scope| {
            let mut bits = || {
                random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
                random
            };
            call.eval(arena, scope, &mut bits, &Fuel::unlimited()).unwrap()
        })
    };
    candidate(name, work)
}
