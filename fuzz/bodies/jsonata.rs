//! The bodies of the JSONata fuzz targets; the tests run them over the kept corpus.

use expressway::fuel::Fuel;
use expressway::json::{self, Arena, Value};
use expressway::query::jsonata::{Allowed, Env, Expr, Limits, Profile, Scratch};
use expressway::query::{Context, ContextField, Names, Scope, Slot};

struct Nothing;

impl Context for Nothing {
    fn field(&self, _: &mut Arena, _: ContextField) -> Value {
        Value::UNDEFINED
    }
}

impl Names for Nothing {
    fn slot(&mut self, name: &str) -> Option<Slot> {
        (name == "x").then_some(Slot(0))
    }
}

/// Compiles the text in both profiles. A refusal points into the text.
pub(crate) fn parse(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let allowed = Allowed { result: true, ..Allowed::default() };
    for profile in [Profile::Language, Profile::StepFunctions(allowed)] {
        if let Err(error) = Expr::compile(source, &mut Nothing, profile) {
            assert!(error.offset <= source.len() + 1, "{error} at {}", error.offset);
            assert!(!error.message.is_empty());
        }
    }
}

/// Evaluates the text over a document, within narrow bounds.
pub(crate) fn eval(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let Ok(expr) = Expr::compile(source, &mut Nothing, Profile::Language) else { return };
    let document =
        br#"{"a":[{"b":1,"c":"x"},{"b":2.5,"c":null},[]],"b":{"a":"abc","b":[[1],2]},"c":-3,"d":"12"}"#;
    let mut arena = Arena::new();
    let Ok(input) = json::read(&mut arena, document) else { return };
    let variables = arena.array(&[Value::int(7)]);
    let scope = Scope {
        input,
        variables,
        context: &Nothing,
        result: Value::UNDEFINED,
        error_output: Value::UNDEFINED,
    };
    let mut scratch = Scratch::default();
    let limits = Limits { work: 10_000_000, bytes: 8 << 20, ..Limits::STEP_FUNCTIONS };
    let mut env =
        Env { now_ms: 0, random: &mut || 4, scratch: &mut scratch, limits, fuel: &Fuel::unlimited() };
    if let Ok(value) = expr.eval(&mut arena, &scope, &mut env) {
        // What leaves the evaluator is JSON.
        let mut out = Vec::new();
        if arena.size(value) < 1 << 20 {
            json::write(&arena, value, &mut out);
        }
    }
}
