//! Every kind of problem, as data: `diagnostics/<CODE>.txt`.
//!
//! A file holds cases. A case is a title (`# …`), options (`@standard`, `@ours` for resources of our own, `@state` for a state by itself), a text, and
//! after `=>` each problem that is found: line and column, AWS's one-line form, the suggestion in parentheses. To see
//! what is found today, run with `EXPRESSWAY_SHOW=1`.

use std::fmt::Write;
use std::path::Path;

use expressway::asl::{self, Code, MachineType, Options, Resources, Severity};

struct Case<'t> {
    title: &'t str,
    standard: bool,
    state: bool,
    ours: bool,
    text: String,
    expected: Vec<&'t str>,
}

fn cases(file: &str) -> Vec<Case<'_>> {
    let mut cases: Vec<Case<'_>> = Vec::new();
    for line in file.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            cases.push(Case {
                title,
                standard: false,
                state: false,
                ours: false,
                text: String::new(),
                expected: Vec::new(),
            });
            continue;
        }
        let case = cases.last_mut().expect("a case begins with a title");
        match line {
            "@standard" => case.standard = true,
            "@state" => case.state = true,
            "@ours" => case.ours = true,
            _ => match line.strip_prefix("=> ") {
                Some(expected) => case.expected.push(expected),
                None if case.expected.is_empty() && case.text.is_empty() => case.text.push_str(line),
                None if case.expected.is_empty() => {
                    case.text.push('\n');
                    case.text.push_str(line);
                }
                None => assert!(line.is_empty(), "{}: text after the expectation", case.title),
            },
        }
    }
    cases
}

fn found(case: &Case<'_>) -> Vec<String> {
    let machine_type = if case.standard { MachineType::Standard } else { MachineType::Express };
    let resources = if case.ours { Resources::AwsAndOurs } else { Resources::Aws };
    let options = Options { machine_type, resources, express_maps: false };
    let text = case.text.trim_end();
    let (refused, diagnostics) = if case.state {
        let (state, diagnostics) = asl::read_state(text.as_bytes(), "S", &options);
        (state.is_none(), diagnostics)
    } else {
        let (definition, diagnostics) = asl::read(text.as_bytes(), &options);
        (definition.is_none(), diagnostics)
    };
    let has_errors = diagnostics.iter().any(|it| it.severity == Severity::Error);
    assert_eq!(refused, has_errors, "{}: refused exactly for an error", case.title);
    let shown = diagnostics.iter().map(|it| {
        let (line, column) = it.line_column(text);
        let mut shown = format!("{line}:{column} {it}").replace('\n', "\\n");
        if let Some(suggestion) = &it.suggestion {
            write!(shown, " ({suggestion})").unwrap();
        }
        shown
    });
    shown.collect()
}

#[test]
fn every_kind_is_found_in_its_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/definitions/diagnostics");
    let show = std::env::var_os("EXPRESSWAY_SHOW").is_some();
    let (mut passed, mut failed) = (0, 0);
    for code in Code::ALL {
        let path = folder.join(format!("{}.txt", code.name()));
        let file = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{} has no cases", code.name()));
        let cases = cases(&file);
        assert!(
            show || cases.iter().flat_map(|case| &case.expected).any(|it| it.contains(code.name())),
            "{}: no case shows it",
            code.name()
        );
        for case in cases {
            let found = found(&case);
            if found == case.expected {
                passed += 1;
            } else {
                failed += 1;
            }
            if show || found != case.expected {
                println!("{} # {}", code.name(), case.title);
                for (option, set) in [("@standard", case.standard), ("@state", case.state)] {
                    if set {
                        println!("{option}");
                    }
                }
                println!("{}", case.text);
                found.iter().for_each(|it| println!("=> {it}"));
                println!();
            }
        }
    }
    println!("diagnostics: {passed} passed, {failed} failed, 0 skipped");
    assert_eq!(failed, 0);
}
