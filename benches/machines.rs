//! Definitions generated for measurements: as large, or as long-lived, as needed.

#![allow(dead_code, reason = "each bench uses what it needs")]

use std::sync::Arc;

use expressway::program::Program;
use expressway::{asl, compile};

/// What a start does first: text to program.
pub(crate) fn compiled(text: &str) -> Program {
    let (definition, problems) = asl::read(text.as_bytes(), &asl::Options::default());
    let definition = definition.unwrap_or_else(|| panic!("the definition is refused: {problems:?}"));
    compile::compile(&definition)
        .unwrap_or_else(|errors| panic!("the definition does not compile: {errors:?}"))
}

/// The same, to be shared.
pub(crate) fn program(text: &str) -> Arc<Program> {
    compiled(text).into()
}

/// A machine of `count` states, Pass and Choice in turn, that goes through all of them again and again and never ends.
/// From the state at index `n` in the text it leads to the one at `n + stride`, so `stride` 1 walks in the order of the
/// text; another odd number jumps, and still visits all states.
pub(crate) fn ring(count: usize, stride: usize) -> String {
    let state = |n: usize| {
        let next = (n + stride) % count;
        match n % 2 {
            0 => format!(r#""{n}":{{"Type":"Pass","Next":"{next}"}}"#),
            _ => format!(
                r#""{n}":{{"Type":"Choice","Choices":[{{"Variable":"$.x","IsNull":true,"Next":"End"}}],"Default":"{next}"}}"#
            ),
        }
    };
    machine("0", (0..count).map(state).chain([r#""End":{"Type":"Succeed"}"#.to_owned()]))
}

/// A Choice with `count` rules, `$.key` equal to `key-0` and so on, that leads to itself for ever.
pub(crate) fn decision(count: usize) -> String {
    let rule = |n: usize| format!(r#"{{"Variable":"$.key","StringEquals":"key-{n}","Next":"Decide"}}"#);
    let rules: Vec<String> = (0..count).map(rule).collect();
    let never = r#"{"Variable":"$.key","IsNull":true,"Next":"End"}"#;
    let decide =
        format!(r#""Decide":{{"Type":"Choice","Choices":[{},{never}],"Default":"Decide"}}"#, rules.join(","));
    machine("Decide", [decide, r#""End":{"Type":"Succeed"}"#.to_owned()])
}

/// A loop of a Pass and a Choice that counts to `count` and leaves garbage at every step: two transitions each.
pub(crate) fn counting(count: usize) -> String {
    let states = [
        r#""Add":{"Type":"Pass","Parameters":{"n.$":"States.MathAdd($.n, 1)","kept.$":"$.kept"},"Next":"More"}"#
            .to_owned(),
        format!(
            r#""More":{{"Type":"Choice","Choices":[{{"Variable":"$.n","NumericLessThan":{count},"Next":"Add"}}],"Default":"End"}}"#
        ),
        r#""End":{"Type":"Succeed"}"#.to_owned(),
    ];
    machine("Add", states)
}

/// `count` states of the common kinds, one behind the other.
pub(crate) fn long(count: usize) -> String {
    let state = |n: usize| {
        let next = n + 1;
        match n % 3 {
            0 => format!(
                r#""Keep {n}":{{"Type":"Pass","Parameters":{{"id.$":"$.order.id","tags.$":"$.order.tags","n":{n}}},"ResultPath":"$.step","Next":"Test {next}"}}"#
            ),
            1 => format!(
                r#""Test {n}":{{"Type":"Choice","Choices":[{{"Variable":"$.step.n","NumericGreaterThan":{n},"Next":"Call {next}"}}],"Default":"Call {next}"}}"#
            ),
            _ => format!(
                r#""Call {n}":{{"Type":"Task","Resource":"arn:aws:lambda:us-east-1:123456789012:function:step","Next":"Keep {next}"}}"#
            ),
        }
    };
    let last = format!(r#""Keep {count}":{{"Type":"Succeed"}}"#);
    machine("Keep 0", (0..count / 3 * 3).map(state).chain([last]))
}

fn machine(start_at: &str, states: impl IntoIterator<Item = String>) -> String {
    let states: Vec<String> = states.into_iter().collect();
    format!(r#"{{"StartAt":"{start_at}","States":{{{}}}}}"#, states.join(","))
}

/// Transitions that are measured together.
pub(crate) const TRANSITIONS: u64 = 10_000;
