//! Intrinsic functions: our own table, what AWS recorded, and calls from real definitions.

use crate::corpora::{NoNames, Report, Roots, lines, recorded};
use expressway::fuel::Fuel;
use expressway::json::{Arena, equal, read, to_string};
use expressway::query::intrinsic::Call;
use serde_json::Value as Json;

const KNOWN: &str = include_str!("../known/intrinsics.txt");

/// Evaluates a call with counted "random" bits; the error is the cause AWS would show.
fn evaluate(call: &Call, input: &Json, context: &Json) -> (Arena, Result<expressway::json::Value, String>) {
    let mut arena = Arena::new();
    let input = read(&mut arena, input.to_string().as_bytes()).expect("input");
    let context = read(&mut arena, context.to_string().as_bytes()).expect("context");
    let roots = Roots { context, ..Roots::default() };
    let scope = roots.scope(input);
    let mut bits = 0u64;
    let mut random = || {
        bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
        bits
    };
    let outcome = call.eval(&mut arena, &scope, &mut random, &Fuel::unlimited());
    let outcome = outcome.map_err(|fault| fault.message(call, &mut arena, &scope, &Fuel::unlimited()));
    (arena, outcome)
}

fn same_value(arena: &mut Arena, value: expressway::json::Value, expected: &Json) -> Result<(), String> {
    let wanted = read(arena, expected.to_string().as_bytes()).expect("expected");
    let same = equal(arena, value, wanted);
    if same { Ok(()) } else { Err(format!("{}, not {expected}", to_string(arena, value))) }
}

#[test]
fn table() {
    let mut report = Report::new("data/intrinsics.jsonl", "");
    for (i, line) in include_str!("../data/intrinsics.jsonl").lines().enumerate() {
        let case: Json = serde_json::from_str(line).expect("a JSON line");
        let text = case["call"].as_str().expect("call");
        let outcome = match Call::parse(text, &mut NoNames) {
            Err(error) => {
                if case["refused"] == error.offset {
                    Ok(())
                } else {
                    Err(format!("refused: {error}"))
                }
            }
            Ok(call) => {
                let (mut arena, outcome) = evaluate(&call, &case["input"], &case["context"]);
                match (outcome, case.get("value"), case["cause"].as_str()) {
                    (Ok(value), Some(expected), _) => same_value(&mut arena, value, expected),
                    (Ok(value), None, _) => Err(format!("{} instead of a failure", to_string(&arena, value))),
                    (Err(cause), _, Some(expected)) if cause == expected => Ok(()),
                    (Err(cause), ..) => Err(cause),
                }
            }
        };
        report.case(&format!("line {}: {text}", i + 1), outcome);
    }
    report.finish();
}

/// Recorded executions of one Pass state whose parameters are intrinsic calls.
#[test]
fn recorded_on_aws() {
    let Some(cases) = recorded("execution.jsonl") else { return };
    let mut report = Report::new("execution.jsonl, intrinsic_functions", "");
    for case in cases.iter().filter(|case| case["group"] == "intrinsic_functions") {
        let states = case["definition"]["States"].as_object().expect("States");
        let Some(state) = states.values().next().filter(|_| states.len() == 1) else { continue };
        let Some(text) = state["Parameters"]["FunctionResult.$"].as_str() else { continue };
        let Some(expected) = case["expected"]["output"].get("FunctionResult") else { continue };
        let context = serde_json::json!({
            "Execution": {"Input": case["input"]},
            "StateMachine": {"Name": case["context"]["state_machine_name"]},
        });
        let outcome = Call::parse(text, &mut NoNames).map_err(|error| error.to_string()).and_then(|call| {
            let (mut arena, outcome) = evaluate(&call, &case["input"], &context);
            let value = outcome?;
            if *expected == "<generated-uuid>" {
                return if arena.str(value).len() == 36 { Ok(()) } else { Err("no UUID".to_owned()) };
            }
            same_value(&mut arena, value, expected)
        });
        report.case(case["id"].as_str().expect("id"), outcome);
    }
    report.finish();
}

#[test]
fn calls_from_real_definitions() {
    let file = "expressions/intrinsic.jsonl";
    let Some(cases) = lines(file) else { return };
    let mut report = Report::new(file, KNOWN);
    for case in &cases {
        let text = case["expr"].as_str().expect("expr");
        let outcome = match Call::parse(text, &mut NoNames) {
            Ok(call) => match call.wrong_arity() {
                None => Ok(()),
                Some(function) => Err(format!("{text}: {} with wrong arguments", function.name())),
            },
            Err(error) => Err(format!("{text}: {error}")),
        };
        report.case(case["id"].as_str().expect("id"), outcome);
    }
    report.finish();
}

#[test]
fn random_numbers_are_the_callers() {
    let uuid = Call::parse("States.UUID()", &mut NoNames).expect("call");
    let (arena, value) = evaluate(&uuid, &Json::Null, &Json::Null);
    assert_eq!(arena.str(value.expect("a value")), "9e3779b9-7f4a-4c15-bc6e-f372fe94f82a");
    let random = Call::parse("States.MathRandom(-5, 1000000)", &mut NoNames).expect("call");
    let (_, first) = evaluate(&random, &Json::Null, &Json::Null);
    let (_, second) = evaluate(&random, &Json::Null, &Json::Null);
    assert_eq!(first.expect("a value").as_int(), second.expect("a value").as_int());
}

#[test]
fn nesting_and_size_are_bounded() {
    let nested = |depth: usize, inner: &str| {
        let text = (0..depth).fold(inner.to_owned(), |text, _| format!("States.Array({text}, {text})"));
        Call::parse(&text, &mut NoNames)
    };
    assert!(nested(10, "1").is_ok());
    assert!(nested(11, "1").is_err());
    let deep = format!("{}1{}", "States.Array(".repeat(100_000), ")".repeat(100_000));
    assert!(Call::parse(&deep, &mut NoNames).is_err());

    // Each level doubles the text; the levels end before memory does.
    let text = (0..10).fold("$".to_owned(), |text, _| format!("States.Format('{{}}{{}}', {text}, {text})"));
    let call = Call::parse(&text, &mut NoNames).expect("ten levels");
    let (arena, outcome) = evaluate(&call, &Json::from("x".repeat(10_000)), &Json::Null);
    let cause = outcome.expect_err("too large");
    assert!(cause.ends_with(". Invalid arguments in States.Format: the result is too large."), "{cause}");
    assert!(arena.bytes() < 64 << 20, "{} bytes", arena.bytes());

    // Texts of one Java hash.
    let twins: Vec<String> = (0..4096u32)
        .map(|bits| (0..12).map(|bit| if bits >> bit & 1 == 0 { "Aa" } else { "BB" }).collect())
        .collect();
    let call = Call::parse("States.ArrayUnique($)", &mut NoNames).expect("call");
    let (_, outcome) = evaluate(&call, &Json::from(twins), &Json::Null);
    assert!(outcome.is_err());
}
