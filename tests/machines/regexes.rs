//! Regular expressions: equal ones share an automaton, and all of a state machine are bounded.

use std::fmt::Write;

use expressway::{asl, compile, limits};

/// A machine with expressions in one state.
fn machine(expressions: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> =
        expressions.map(|text| serde_json::to_string(&format!("{{% {text} %}}")).expect("a text")).collect();
    format!(
        r#"{{"QueryLanguage": "JSONata", "StartAt": "A", "States": {{"A": {{"Type": "Pass", "End": true,
            "Output": [{}]}}}}}}"#,
        texts.join(",")
    )
}

#[test]
fn one_automaton_serves_all_expressions_with_its_pattern() {
    let bytes = |count: usize| {
        let text = machine((0..count).map(|n| format!("$match('{n}', /.{{200}}k/i)")));
        let (definition, problems) = asl::read(text.as_bytes(), &asl::Options::default());
        let program = compile::compile(&definition.unwrap_or_else(|| panic!("{problems:?}")));
        program.expect("it compiles").bytes()
    };
    let (one, many) = (bytes(1), bytes(800));
    assert!(one > 64 << 10, "the automaton is not counted: {one}");
    assert!(many < one + (2 << 20), "{one} {many}");
}

#[test]
fn all_regular_expressions_of_a_machine_are_bounded() {
    let automata: Vec<String> =
        (0..800).map(|n| format!("$match('{n}', /(?:abcdefghij){{100}}k{n}/)")).collect();
    // These are for a search that backtracks.
    let runs = "a*".repeat(5_000);
    let programs: Vec<String> = (0..80).map(|n| format!("$match('{n}', /(?=b){runs}k{n}/)")).collect();
    for expressions in [automata, programs] {
        are_bounded(expressions);
    }
}

fn are_bounded(expressions: Vec<String>) {
    let count = expressions.len();
    let text = machine(expressions.into_iter());
    let (definition, problems) = asl::read(text.as_bytes(), &asl::Options::default());
    assert!(definition.is_none());
    let first = &problems[0];
    let most = limits::PROGRAM_REGEX_BYTES_MAX >> 20;
    let mut wanted = String::from("The regular expressions of the state machine take more than ");
    write!(wanted, "{most} MiB together").expect("it is text");
    assert!(first.message.contains(&wanted), "{first}");
    assert!(first.location.as_deref().is_some_and(|at| at.starts_with("/States/A/Output[")), "{first}");
    // Those before it are accepted.
    assert!(problems.len() < count - 1, "{}", problems.len());
}
