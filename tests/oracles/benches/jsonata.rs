//! JSONata: a plain chain, a filter with an object constructor over 20 items of 2 KB, and a sum, each on the values the
//! implementation itself prefers. Compiling and reading are not measured.
//!
//! The reference implementation on Node runs in a separate process, when `JSONATA_NODE` is a directory in which `npm
//! install jsonata@2.0.6` was run; its figure is printed in nanoseconds per evaluation.

use criterion::{Criterion, criterion_group, criterion_main};
use expressway::fuel::Fuel;
use expressway::json::{self, Arena, Value};
use expressway::query::jsonata::{Allowed, Env, Expr, Limits, Profile, Scratch};
use expressway::query::{Context, ContextField, Names, Scope, Slot};
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Nothing;

impl Context for Nothing {
    fn field(&self, _: &mut Arena, _: ContextField) -> Value {
        Value::UNDEFINED
    }
}

impl Names for Nothing {
    fn slot(&mut self, _: &str) -> Option<Slot> {
        None
    }
}

/// An order with 20 items, about 2 KB.
fn order() -> String {
    let items: Vec<String> = (0..20)
        .map(|index| {
            format!(
                r#"{{"sku":"item-{index:04}","name":"Thing number {index}","price":{}.25,"qty":{},"tags":["a","b"]}}"#,
                index * 3 % 17,
                index % 5 + 1
            )
        })
        .collect();
    format!(r#"{{"order":{{"customer":{{"name":"Ada"}}}},"items":[{}]}}"#, items.join(","))
}

/// What is measured: a name and the expression; `$states.input` is the document.
const CASES: [(&str, &str); 3] = [
    ("chain", "order.customer.name"),
    ("filter", "items[price > 5].{'sku': sku, 'total': price * qty}"),
    ("sum", "$sum(items.(price * qty))"),
];

fn ours(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("expressway");
    for (name, source) in CASES {
        let source = source
            .replace("order.customer", "$states.input.order.customer")
            .replace("items", "$states.input.items");
        let profile = Profile::StepFunctions(Allowed::default());
        let expr = Expr::compile(&source, &mut Nothing, profile).expect("it compiles");
        let (mut arena, mut scratch) = (Arena::new(), Scratch::default());
        let text = order();
        group.bench_function(name, |bencher| {
            let mut input = json::read(&mut arena, text.as_bytes()).expect("JSON");
            let mut rounds = 0;
            bencher.iter(|| {
                rounds += 1;
                if rounds % 1024 == 0 {
                    // As an execution does: the arena goes back to the pool and is filled again.
                    arena.clear();
                    input = json::read(&mut arena, text.as_bytes()).expect("JSON");
                }
                let scope = Scope {
                    input,
                    variables: Value::UNDEFINED,
                    context: &Nothing,
                    result: Value::UNDEFINED,
                    error_output: Value::UNDEFINED,
                };
                let mut env = Env {
                    now_ms: 0,
                    random: &mut || 4,
                    scratch: &mut scratch,
                    limits: Limits::STEP_FUNCTIONS,
                    fuel: &Fuel::unlimited(),
                };
                black_box(expr.eval(&mut arena, &scope, &mut env).expect("a value"))
            });
        });
    }
}

fn jlens(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("jlens-core");
    let document = jlens_core::Document::parse(&order()).expect("JSON");
    let (bindings, options) = (jlens_core::Bindings::new(), jlens_core::Options::default());
    for (name, source) in CASES {
        let expr = jlens_core::Expression::compile(source).expect("it compiles");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                // Its own values: nothing is converted to `serde_json`.
                expr.evaluate_document_to(&document, &bindings, &options, |output| {
                    black_box(output);
                    Ok(())
                })
                .expect("a value")
            });
        });
    }
}

fn jsonata_core(criterion: &mut Criterion) {
    use jsonata_core::{evaluator::Evaluator, parser, value::JValue};
    let mut group = criterion.benchmark_group("jsonata-core");
    let document = JValue::from_json_str(&order()).expect("JSON");
    for (name, source) in CASES {
        let tree = parser::parse(source).expect("it compiles");
        let mut evaluator = Evaluator::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(evaluator.evaluate(&tree, &document).expect("a value")));
        });
    }
}

fn reference(_: &mut Criterion) {
    let Ok(directory) = std::env::var("JSONATA_NODE") else {
        eprintln!("JSONATA_NODE is not set: the reference implementation is absent");
        return;
    };
    const SCRIPT: &str = r#"
        const [directory, document, ...sources] = process.argv.slice(1);
        const jsonata = require(directory + '/node_modules/jsonata');
        const data = JSON.parse(document);
        (async () => {
            for (const source of sources) {
                const expression = jsonata(source);
                for (let i = 0; i < 2000; i++) await expression.evaluate(data);
                const rounds = 5000, start = process.hrtime.bigint();
                for (let i = 0; i < rounds; i++) await expression.evaluate(data);
                const ns = Number(process.hrtime.bigint() - start) / rounds;
                console.log(`node jsonata@2.0.6: ${source}: ${Math.round(ns)} ns`);
            }
        })();
    "#;
    let mut command = std::process::Command::new("node");
    command.args(["-e", SCRIPT, &directory, &order()]).args(CASES.map(|(_, source)| source));
    match command.output() {
        Ok(output) => print!("{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => eprintln!("node is absent: {error}"),
    }
}

criterion_group!(benches, ours, jlens, jsonata_core, reference);
criterion_main!(benches);
