//! `graph`: incomplete definitions, the path of an execution, PNG files.

use std::path::Path;

use crate::serving::{Folder, expressway};

/// Exit code, standard output, standard error.
fn graph(folder: &Path, arguments: &[&str]) -> (Option<i32>, Vec<u8>, String) {
    let output = expressway().arg("graph").args(arguments).current_dir(folder).output().expect("an answer");
    (output.status.code(), output.stdout, String::from_utf8(output.stderr).expect("UTF-8"))
}

fn text(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let (code, out, err) = graph(folder, arguments);
    (code, String::from_utf8(out).expect("UTF-8"), err)
}

#[test]
fn half_a_definition_is_drawn_as_far_as_it_goes() {
    let folder = Folder::new("sketches");
    for (name, definition, code, drawn, said) in [
        (
            "broken-off.asl.json",
            r#"{"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage",
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Oops"}], "Next": "B"}, "B": {"Type": "Wa"#,
            1,
            &["A<br/><small>Task · sqs:sendMessage", "B<br/><small>?", "Oops", "States.ALL"][..],
            "error",
        ),
        (
            "nowhere.asl.json",
            r#"{"StartAt": "A", "States": {"A": {"Type": "Choice", "Choices": [{"Variable": "$.x", "Next": "C"}],
                "Default": "D"}, "M": {"Type": "Map", "Iterator": {"States": {"I": {"Type": "Passs"}}}, "End": true}}}"#,
            1,
            &["A<br/><small>Choice", "C<br/><small>missing", "otherwise", "I<br/><small>?"],
            "error",
        ),
        (
            "half.asl.yaml",
            "StartAt: A\nStates:\n  A: {Type: Pass, Next: B}\n  B: {Type: Succ",
            1,
            &["A<br/><small>Pass", "B<br/><small>?"],
            "error",
        ),
        (
            // A comma and a value are missing in B, a quote in C.
            "inside.asl.json",
            "{\"StartAt\": \"A\", \"States\": {\"A\": {\"Type\": \"Choice\", \"Choices\": [
                {\"And\": [{\"Variable\": \"$.n\", \"NumericGreaterThan\": 5}, {\"Not\": {\"Variable\": \"$.s\", \"StringEquals\": \"x\"}}], \"Next\": \"B\"},
                {\"Variable\": \"$.late\", \"Next\": \"C\"}]},
            \"B\": {\"Type\": \"Wait\" \"Seconds\": , \"Next\": \"C\"},
            \"C\": {\"Type: \"Pass\",
                  \"Next\": \"D\"},
            \"D\": {\"Type\": \"Succeed\"}}}",
            1,
            &["$.n #62; 5 and $.s ≠ #34;x#34;", "$.late", "B<br/><small>Wait", "C<br/><small>?", "D<br/><small>Succeed", "s2 --> s3"],
            "error",
        ),
        (
            "distributed.asl.json",
            r#"{"StartAt": "Each", "States": {"Each": {"Type": "Map", "End": true, "ItemProcessor": {"StartAt": "P",
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "States": {"P": {"Type": "Pass", "End": true}}}}}}"#,
            0,
            &["Each", "P<br/><small>Pass"],
            "",
        ),
    ] {
        folder.write(name, definition);
        let (exit, out, err) = text(&folder.0, &[name, "--format", "mermaid"]);
        assert_eq!(exit, Some(code), "{name}: {err}");
        assert!(err.contains(said), "{name}: {err}");
        for part in drawn {
            assert!(out.contains(part), "{name} lacks {part}:\n{out}");
        }
        let (exit, out, _) = text(&folder.0, &[name]);
        assert!(exit == Some(code) && out.starts_with("<svg"), "{name}");
    }
    folder.write("nothing.asl.json", "[1, 2]");
    assert_eq!(text(&folder.0, &["nothing.asl.json"]).0, Some(2));
}

const FLOW: &str = r#"{"StartAt": "C", "States": {
    "C": {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericGreaterThan": 5, "Next": "Big"}], "Default": "Small"},
    "Big": {"Type": "Map", "ItemsPath": "$.l", "Next": "T",
        "ItemProcessor": {"StartAt": "I", "States": {"I": {"Type": "Pass", "End": true}}}},
    "T": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:f", "Next": "Small",
        "Retry": [{"ErrorEquals": ["Busy"], "MaxAttempts": 1}],
        "Catch": [{"ErrorEquals": ["Busy"], "Next": "Caught"}]},
    "Small": {"Type": "Pass", "End": true},
    "Caught": {"Type": "Fail", "Error": "Nope"}}}"#;

const MOCKS: &str = r#"{"StateMachines": {"flow": {"TestCases": {
    "Busy": {"T": "Busy"}, "Once": {"T": "Once"}}}},
    "MockedResponses": {"Busy": {"0-1": {"Throw": {"Error": "Busy", "Cause": "x"}}},
        "Once": {"0": {"Throw": {"Error": "Busy", "Cause": "x"}}, "1": {"Return": 1}}}}"#;

#[test]
fn the_path_that_an_execution_takes_is_shown() {
    let folder = Folder::new("paths");
    folder.write("flow.asl.json", FLOW);
    folder.write("mocks.json", MOCKS);
    let many = r#"{"n": 9, "l": [1, 2, 3]}"#;
    // States are numbered as they are drawn: C 0, Big 1, I 2, T 3, Small 4, Caught 5.
    for (more, code, on, broke) in [
        (&["--run", r#"{"n": 1}"#][..], 0, "class s0,s4 on", None),
        (
            &["--run", many, "--mock", "mocks.json", "--test", "Busy"],
            1,
            "class s0,s1,s3,s5,s2 on",
            Some("class s5 broke"),
        ),
        (&["--run", many, "--mock", "mocks.json", "--test", "Once"], 0, "class s0,s1,s3,s4,s2 on", None),
        (&["--run", many], 1, "class s0,s1,s3,s2 on", Some("class s3 broke")),
    ] {
        let (exit, out, err) = text(&folder.0, &[&["flow.asl.json", "--format", "mermaid"], more].concat());
        assert_eq!(exit, Some(code), "{err}");
        assert!(out.contains(on), "{on}:\n{out}");
        assert_eq!(out.contains("broke"), broke.is_some(), "{out}");
        assert!(broke.is_none_or(|broke| out.contains(broke)), "{out}");
        let said = if code == 0 { "The execution succeeded: " } else { "The execution failed: " };
        assert!(err.contains(said), "{err}");
    }
    let svg = |case: &str| {
        text(&folder.0, &["flow.asl.json", "--run", many, "--mock", "mocks.json", "--test", case]).1
    };
    let busy = svg("Busy");
    assert!(busy.contains("class=\"fail on broke\"") && busy.contains("class=\"pass off\""), "{busy}");
    assert!(busy.contains(">3×</text>"), "how often a state was entered: {busy}");
    // Along the catcher, or along what follows success, and never both.
    assert!(
        busy.contains("class=\"catch edge went\"") && !busy.contains("class=\"catch edge off\""),
        "{busy}"
    );
    let once = svg("Once");
    assert!(
        once.contains("class=\"catch edge off\"") && !once.contains("class=\"catch edge went\""),
        "{once}"
    );
    let plain = text(&folder.0, &["flow.asl.json"]).1;
    assert!(!plain.contains(" off\"") && !plain.contains(" went\"") && !plain.contains(" on\""), "{plain}");
    let (exit, _, err) = text(&folder.0, &["flow.asl.json", "--run", "{"]);
    assert!(exit == Some(2) && err.contains("not JSON"), "{err}");
}

/// A browser takes an arrowhead's direction from the last piece of its path, and one without a length has none.
#[test]
fn no_piece_of_an_edge_is_without_length() {
    let folder = Folder::new("pieces");
    folder.write("flow.asl.json", FLOW);
    let (_, svg, _) = text(&folder.0, &["flow.asl.json"]);
    let paths =
        svg.split("<path class=\"").filter(|path| path.split('"').next().unwrap_or("").contains("edge"));
    let mut curves = 0;
    for path in paths {
        let d = path.split("d=\"").nth(1).and_then(|d| d.split('"').next()).expect("a path");
        curves += usize::from(d.contains('C'));
        let mut place = "";
        for piece in d.split_inclusive(|c: char| c != '.' && c != '-' && c != ' ' && !c.is_ascii_digit()) {
            // Each piece ends with the letter of the next one; a vertical line has one number, its end.
            let numbers = piece.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let to = numbers.rsplit(' ').next().unwrap_or("");
            assert!(numbers.is_empty() || to != place, "{d}");
            place = to;
        }
    }
    assert!(curves > 2, "{svg}");
}

#[test]
#[cfg(feature = "cli-png")]
fn a_picture_can_be_one_of_pixels() {
    let folder = Folder::new("pixels");
    folder.write("flow.asl.json", FLOW);
    let (exit, _, err) = graph(&folder.0, &["flow.asl.json", "-o", "flow.png"]);
    if exit == Some(2) {
        assert!(err.contains("no fonts"), "{err}");
        return;
    }
    assert_eq!(exit, Some(0), "{err}");
    let picture = std::fs::read(folder.0.join("flow.png")).expect("the picture");
    assert!(picture.starts_with(b"\x89PNG\r\n") && picture.len() > 2_000, "{} bytes", picture.len());
}
