//! JSONata against its own suite, a derived cross suite, and expressions harvested from real workflows.
//!
//! The corpora are read in place (see `EXPRESSWAY_SUITES`); differences are in `known/jsonata.txt`, one per line: the
//! case's id, then the reason. A listed case that passes fails the run.

use expressway::fuel::Fuel;
use expressway::json::{self, Arena, Value};
use expressway::query::jsonata::{Allowed, Env, Expr, Limits, Profile, Scratch};
use expressway::query::{Context, ContextField, Names, Scope, Slot};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::required::not_run;

struct NoContext;

impl Context for NoContext {
    fn field(&self, _: &mut Arena, _: ContextField) -> Value {
        Value::UNDEFINED
    }
}

/// Variables by name; the slot is the place in the list.
struct Bindings(Vec<String>);

impl Names for Bindings {
    fn slot(&mut self, name: &str) -> Option<Slot> {
        self.0.iter().position(|known| known == name).map(|at| Slot(at as u32))
    }
}

fn suites(file: &str) -> Option<String> {
    let root = std::env::var_os("EXPRESSWAY_SUITES")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/suites"));
    let text = std::fs::read_to_string(root.join(file)).ok();
    if text.is_none() {
        not_run(&format!("{} is not there (see EXPRESSWAY_SUITES)", root.join(file).display()));
    }
    text
}

fn lines(text: &str) -> impl Iterator<Item = Json> + '_ {
    text.lines().map(|line| serde_json::from_str(line).expect("a case is JSON"))
}

/// What an expression gives.
#[derive(Debug, PartialEq)]
enum Outcome {
    Undefined,
    Value(Json),
    Error(String),
}

/// Evaluates in the language profile.
fn evaluate(
    source: &str,
    input: Option<&Json>,
    bindings: &BTreeMap<String, Json>,
    limits: Limits,
) -> Outcome {
    let mut names = Bindings(bindings.keys().cloned().collect());
    let expr = match Expr::compile(source, &mut names, Profile::Language) {
        Ok(expr) => expr,
        Err(error) => return Outcome::Error(error.code.to_owned()),
    };
    let mut arena = Arena::new();
    let mut read =
        |value: &Json| json::read(&mut arena, value.to_string().as_bytes()).expect("input is JSON");
    let values: Vec<Value> = bindings.values().map(&mut read).collect();
    let input = input.map_or(Value::UNDEFINED, &mut read);
    let variables = arena.array(&values);
    let scope = Scope {
        input,
        variables,
        context: &NoContext,
        result: Value::UNDEFINED,
        error_output: Value::UNDEFINED,
    };
    let mut seed = 7u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        seed ^ seed >> 29
    };
    let mut scratch = Scratch::default();
    let mut env = Env {
        now_ms: 1_700_000_000_000,
        random: &mut random,
        scratch: &mut scratch,
        limits,
        fuel: &Fuel::unlimited(),
    };
    match expr.eval(&mut arena, &scope, &mut env) {
        Ok(value) if value.is_undefined() => Outcome::Undefined,
        Ok(value) => {
            Outcome::Value(serde_json::from_str(&json::to_string(&arena, value)).expect("output is JSON"))
        }
        Err(error) => Outcome::Error(error.code.unwrap_or("U1001").to_owned()),
    }
}

/// Equality with numbers as doubles, up to the last places when `close`.
fn same(a: &Json, b: &Json, unordered: bool) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) if unordered => {
            a.len() == b.len() && a.iter().all(|x| b.iter().any(|y| same(x, y, false)))
        }
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| same(x, y, false))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, x)| b.get(key).is_some_and(|y| same(x, y, false)))
        }
        _ => a == b,
    }
}

fn agrees(case: &Json, outcome: &Outcome) -> bool {
    let expect = &case["expect"];
    match outcome {
        Outcome::Undefined => expect.get("undefined").is_some(),
        Outcome::Value(value) => expect
            .get("result")
            .is_some_and(|result| same(value, result, expect["unordered"] == Json::Bool(true))),
        Outcome::Error(code) => expect["error"]["code"].as_str() == Some(code),
    }
}

/// Ids of known differences with their reasons.
fn differences() -> BTreeMap<&'static str, &'static str> {
    include_str!("../known/jsonata.txt")
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(' ').expect("a difference has an id and a reason"))
        .collect()
}

fn run_cases(file: &str) {
    let (Some(cases), Some(datasets)) = (suites(file), suites("jsonata/datasets.json")) else { return };
    let datasets: Json = serde_json::from_str(&datasets).expect("datasets are JSON");
    let known = differences();
    let (mut passed, mut skipped, mut failed, mut stale) = (0, 0, Vec::new(), Vec::new());
    // Two cases hold half a surrogate pair, which is no text in Rust.
    let cases = cases.replace("\\ud800", "");
    for case in lines(&cases) {
        let id = case["id"].as_str().expect("an id");
        let aws = case.get("jsonata_2_0_6").is_none_or(|verdict| verdict == "same")
            && case.get("uses_eval").is_none()
            && case.get("lone_surrogate").is_none();
        if !aws {
            skipped += 1;
            continue;
        }
        let bindings: BTreeMap<String, Json> = case
            .get("bindings")
            .map_or_else(BTreeMap::new, |b| serde_json::from_value(b.clone()).expect("bindings"));
        let input = match case.get("dataset").and_then(Json::as_str) {
            Some(name) => Some(&datasets[name]),
            None => case.get("data"),
        };
        let mut limits = Limits::LANGUAGE;
        if let Some(depth) = case["depth"].as_u64() {
            limits.depth = depth as u32;
        }
        let outcome = evaluate(case["expr"].as_str().expect("an expression"), input, &bindings, limits);
        match (agrees(&case, &outcome), known.get(id)) {
            (true, None) => passed += 1,
            (true, Some(_)) => stale.push(id.to_owned()),
            (false, Some(_)) => skipped += 1,
            (false, None) => {
                let mut got = format!("{outcome:?}");
                got.truncate(got.floor_char_boundary(400));
                let mut expect = case["expect"].to_string();
                expect.truncate(expect.floor_char_boundary(400));
                failed.push(format!("{id}: {}\n   expected {expect}\n   got      {got}", case["expr"]));
            }
        }
    }
    println!("{file}: {passed} passed, {} failed, {skipped} skipped", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(stale.is_empty(), "listed as different, but pass: {stale:?}");
}

#[test]
fn the_languages_own_suite() {
    run_cases("jsonata/cases.jsonl");
}

#[test]
fn the_cross_suite() {
    run_cases("jsonata-cross/cases.jsonl");
}

#[test]
fn listed_differences_are_those_of_cases() {
    let mut known = differences();
    for file in ["jsonata/cases.jsonl", "jsonata-cross/cases.jsonl"] {
        let Some(cases) = suites(file) else { return };
        let cases = cases.replace("\\ud800", "");
        for case in lines(&cases) {
            known.remove(case["id"].as_str().expect("an id"));
        }
    }
    assert!(known.is_empty(), "listed as different, but there are no such cases: {known:?}");
}

#[test]
fn harvested_expressions_compile() {
    let Some(cases) = suites("expressions/jsonata.jsonl") else { return };
    let (mut passed, mut failed) = (0, Vec::new());
    for case in lines(&cases) {
        let source = case["expr"].as_str().expect("an expression");
        let verdict = &case["jsonata_2_0_6"];
        let compiled = Expr::compile(source, &mut Bindings(Vec::new()), Profile::Language);
        let agrees = match &compiled {
            Ok(_) => verdict["compiles"] == true,
            Err(error) => verdict["code"] == error.code && verdict["message"] == error.message.as_str(),
        };
        if agrees {
            passed += 1
        } else {
            failed.push(format!("{source}: {:?}, recorded {verdict}", compiled.map(|_| ())))
        }
        // The other profile may refuse it, but must not fail otherwise.
        let allowed = Allowed { result: true, error_output: true, ..Allowed::default() };
        let _ = Expr::compile(source, &mut Bindings(Vec::new()), Profile::StepFunctions(allowed));
    }
    println!("expressions: {passed} passed, {} failed, 0 skipped", failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
