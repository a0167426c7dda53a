//! Regular expressions of JSONata, compared with the reference: `data/regexes.jsonl` has what jsonata 2.0.6 gives on
//! Node 20, of expressions written by hand and of random ones.

use expressway::fuel::Fuel;
use expressway::json::{self, Arena, Value};
use expressway::query::Scope;
use expressway::query::jsonata::{Env, Expr, Limits, Profile, Scratch};
use serde_json::Value as Json;

use crate::fuel::Nothing;

/// The value, nothing, or the error's code or message.
fn evaluate(source: &str, limits: Limits) -> Result<Option<Json>, String> {
    let expr = Expr::compile(source, &mut Nothing, Profile::Language).map_err(|error| {
        let reason = error.message.rsplit(": ").next().map(str::to_owned);
        if error.code == "S0303" {
            format!("S0303: {}", reason.unwrap_or(error.message))
        } else {
            error.code.into()
        }
    })?;
    let (mut arena, mut scratch) = (Arena::new(), Scratch::default());
    let undefined = Value::UNDEFINED;
    let scope = Scope {
        input: Value::NULL,
        result: undefined,
        error_output: undefined,
        variables: undefined,
        context: &Nothing,
    };
    let fuel = Fuel::unlimited();
    let mut env = Env { now_ms: 0, random: &mut || 1, scratch: &mut scratch, limits, fuel: &fuel };
    match expr.eval(&mut arena, &scope, &mut env) {
        Ok(value) if value.is_undefined() => Ok(None),
        Ok(value) => Ok(Some(serde_json::from_str(&json::to_string(&arena, value)).expect("it is JSON"))),
        Err(error) => Err(error.code.map_or(error.message, str::to_owned)),
    }
}

#[test]
fn they_match_as_in_the_reference() {
    let (mut cases, mut failures) = (0, Vec::new());
    for line in include_str!("../data/regexes.jsonl").lines() {
        let case: Json = serde_json::from_str(line).expect("a case is JSON");
        let source = case["expression"].as_str().expect("an expression");
        let expected = match case.get("error").and_then(Json::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(case.get("value").cloned()),
        };
        let found = evaluate(source, Limits::LANGUAGE);
        if found != expected {
            failures.push(format!("{source}\n   expected {expected:?}\n   found    {found:?}"));
        }
        cases += 1;
    }
    assert!(failures.is_empty(), "{} of {cases}:\n{}", failures.len(), failures.join("\n"));
    assert!(cases > 400, "{cases}");
}

/// What a search may come back to counts as memory of the evaluation.
#[test]
fn what_a_search_may_come_back_to_is_bounded() {
    let source = |n: usize| format!("$contains($pad('', {n}, 'a'), /^(?=(a|b)*$)a/)");
    assert_eq!(evaluate(&source(100_000), Limits::STEP_FUNCTIONS), Ok(Some(Json::Bool(true))));
    let error = "Expression evaluation memory limit exceeded: Check for excessive memory usage";
    assert_eq!(evaluate(&source(3_000_000), Limits::STEP_FUNCTIONS), Err(error.to_owned()));
}

/// What is written for the linear automaton is always taken by it: where its nesting is as deep as it may be, and where a
/// class has nothing but halves of characters.
#[test]
fn what_a_linear_automaton_is_given_it_takes() {
    let around = [
        ("(", ")"),
        ("(?:", ")*"),
        ("(?:b|", ")"),
        ("(?:b|", ")?"),
        ("(b|", ")+"),
        ("(?:b|(?:", "c)?)*"),
        ("(?:(?:", ")+)*"),
        ("b?(?:c|", "d)"),
    ];
    for ((open, close), inner) in
        around.iter().flat_map(|around| ["a", "[a-bx]", r"\w?", r"\b"].map(|it| (*around, it)))
    {
        for depth in 8..60 {
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            let source = format!("($f := function($x) {{ $contains($x, /{open}{inner}{close}/) }}; 1)");
            assert_eq!(evaluate(&source, Limits::LANGUAGE), Ok(Some(Json::from(1))), "{source}");
        }
    }
    let halves = r"[^\u0000-\uD7FF\uE000-\uFFFF\u{10000}-􏿿]".replace(r"\u{10000}", "𐀀");
    for (source, expected) in
        [(format!("$contains('ab', /{halves}[b]/)"), false), (format!("$contains('b', /{halves}*b/)"), true)]
    {
        assert_eq!(evaluate(&source, Limits::LANGUAGE), Ok(Some(Json::Bool(expected))), "{source}");
    }
}

/// Neither a deep expression nor a long text takes the stack of the thread.
#[test]
fn nothing_recurs_as_deep_as_an_expression() {
    for (open, close) in [("(?=", ")"), ("(", ")"), ("(?:", ")*"), ("(?<=b|", ")"), ("(?:a|", ")?")] {
        let pattern = format!("{}a{}", open.repeat(3_000), close.repeat(3_000));
        let source = format!("$contains('xa', /(?!b){pattern}/)");
        assert_eq!(evaluate(&source, Limits::LANGUAGE), Ok(Some(Json::Bool(true))), "{open}");
    }
    // More than an automaton may have, which a counter does not mind.
    let source = "$match($pad('', 70000, 'a'), /^[ab]{60000,65535}/).$length(match)";
    assert_eq!(evaluate(source, Limits::LANGUAGE), Ok(Some(Json::from(65_535))));
    let source = format!("$contains('x', /(?!b){}/)", "(?:[a-z]x|y)?".repeat(20_000));
    assert_eq!(evaluate(&source, Limits::LANGUAGE), Err("S0303: Regular expression is too large".to_owned()));
}
