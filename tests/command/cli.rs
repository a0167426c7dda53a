//! The `expressway` command through its binary: what it prints, and how it ends.

use crate::required::{is_all, not_run, some_of};
use crate::serving::Folder;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const ECHO: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;
const TASK: &str = r#"{"StartAt": "Charge", "States": {"Charge": {"Type": "Task",
    "Resource": "arn:aws:lambda:us-east-1:123456789012:function:charge",
    "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 7}],
    "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Sorry"}], "End": true},
    "Sorry": {"Type": "Fail", "Error": "Sorry"}}}"#;

struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str], input: &[u8]) -> Answer {
    let mut child = command(arguments).spawn().expect("the binary");
    let mut stdin = child.stdin.take().expect("stdin");
    let input = input.to_vec();
    // Written beside reading, so that neither pipe fills up. A command that does not read its input closes it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let Output { status, stdout, stderr } = child.wait_with_output().expect("an answer");
    writer.join().expect("the writer");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let answer = Answer { code: status.code(), out: text(stdout), err: text(stderr) };
    assert!(!answer.err.contains("panicked"), "{}", answer.err);
    answer
}

fn example(name: &str) -> String {
    format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_stream_keeps_its_order_on_many_threads() {
    let folder = Folder::new("order");
    let echo = folder.file("echo.asl.json", ECHO);
    let events: String =
        (0..30_000).map(|n| format!("{{\"n\":{n},\"pad\":\"{}\"}}\n", "x".repeat(n % 50))).collect();
    let answer = run(&["run", &echo, "--jobs", "4"], events.as_bytes());
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    assert!(answer.out == events, "the outputs are not the events in their order");
    assert!(
        answer.err.contains("30,000 events in ") && answer.err.contains("succeeded  30,000"),
        "{}",
        answer.err
    );
}

#[test]
fn bad_lines_are_named_and_counted_and_do_not_stop_the_stream() {
    let folder = Folder::new("bad-lines");
    let echo = folder.file("echo.asl.json", ECHO);
    let long = format!("\"{}\"", "x".repeat(3_000_000));
    let large = format!("\"{}\"", "x".repeat(300_000));
    let mut events = b"{\"a\":1}\r\n\n  [2]  \nnonsense\n{\"a\":\"\xff\"}\n".to_vec();
    events.extend(format!("{long}\n{large}\n3\n1e400\n[4").bytes());
    let failures = folder.0.join("failures.ndjson");
    let answer = run(&["run", &echo, "--failures", failures.to_str().unwrap()], &events);
    assert_eq!(answer.code, Some(1));
    assert_eq!(answer.out, "{\"a\":1}\n[2]\n3\n");
    for line in [
        "line 4: not run: the input is not JSON: expected a value at byte",
        "line 5: not run: the input is not JSON: invalid UTF-8 at byte 6",
        "line 6: not run: the input has 3000002 bytes, more than the 262144 allowed",
        "line 7: not run: the input has 300002 bytes, more than the 262144 allowed",
        "line 9: not run: the input cannot be read: number out of range",
        "line 10: not run: the input is not JSON: unexpected end of text at byte 2",
        "9 events in ",
        "not run    6",
    ] {
        assert!(answer.err.contains(line), "{line} is missing in: {}", answer.err);
    }
    let rows = fs::read_to_string(failures).expect("the failures");
    let lines: Vec<u64> = rows
        .lines()
        .map(|row| {
            serde_json::from_str::<serde_json::Value>(row).expect("JSON")["line"].as_u64().expect("a line")
        })
        .collect();
    assert_eq!(lines, [4, 5, 6, 7, 9, 10]);
}

#[test]
fn an_input_is_a_file_a_text_or_standard_input() {
    let folder = Folder::new("input");
    let echo = folder.file("echo.asl.json", ECHO);
    let pretty = folder.file("pretty.json", "{\n  \"a\": [\n    1\n  ]\n}\n");
    let cases: [(&[&str], &str, &str); 7] = [
        (&["--input", &pretty], "", "{\"a\":[1]}\n"),
        (&["--input", "{\"b\": 2}"], "", "{\"b\":2}\n"),
        (&["--input", "7"], "", "7\n"),
        (&["--input", "-"], "{\"c\":3}\n{\"c\":4}", "{\"c\":3}\n{\"c\":4}\n"),
        (&[], "{\n\"d\": 5}\n", "{\"d\":5}\n"),
        (&[], "", ""),
        (&[], "\n \n", ""),
    ];
    for (arguments, input, expected) in cases {
        let answer = run(&[&["run", &*echo], arguments].concat(), input.as_bytes());
        assert_eq!((answer.code, &*answer.out), (Some(0), expected), "{arguments:?}: {}", answer.err);
    }
    let quiet = run(&["run", &echo, "--quiet"], b"{}");
    assert_eq!((&*quiet.out, &*quiet.err), ("{}\n", ""));
}

#[test]
fn what_cannot_be_done_is_said_in_a_sentence() {
    let folder = Folder::new("cannot");
    let echo = folder.file("echo.asl.json", ECHO);
    let here = folder.0.to_str().expect("a path");
    let broken =
        folder.file("broken.asl.json", r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Nxet": "B"}}}"#);
    let binary = folder.file("binary.asl.json", b"\xff{}");
    let no_case =
        folder.file("mocks.json", r#"{"StateMachines": {"m": {"TestCases": {}}}, "MockedResponses": {}}"#);
    let cases: [(&[&str], &str); 12] = [
        (&["run", "nowhere.asl.json"], "expressway: cannot read nowhere.asl.json: there is no such file"),
        (&["run", here], "is a folder without template.yaml"),
        (&["run", &echo, "--input", here], "it is a folder, not a file"),
        (&["run", &echo, "--input", "{\"a\":"], "the input is not JSON: unexpected end of text at byte 5"),
        (&["run", &echo, "--input", "-1e400"], "the input cannot be read: number out of range"),
        (&["graph", &echo, "--run", "1e400"], "the input cannot be read: number out of range"),
        (
            &["run", &echo, "--input", "nowhere.json"],
            "cannot read nowhere.json: it is not JSON, and there is no such file",
        ),
        (&["run", &broken], "did you mean `Next`?"),
        (&["run", &binary], "INVALID_JSON_DESCRIPTION"),
        (&["run", "-"], "the definition and the input cannot both come from standard input"),
        (&["run", &echo, "--mock", &no_case], "has no test case"),
        (&["graph", "nowhere.asl.json"], "there is no such file"),
    ];
    for (arguments, sentence) in cases {
        let answer = run(arguments, ECHO.as_bytes());
        assert_eq!((answer.code, &*answer.out), (Some(2), ""), "{arguments:?}");
        assert!(answer.err.contains(sentence), "{arguments:?}: {}", answer.err);
    }
    assert_eq!(run(&["frobnicate"], b"").code, Some(2));
    assert_eq!(run(&["--help"], b"").code, Some(0));
}

#[test]
fn a_soak_ends_with_its_counts_and_loses_nothing() {
    let answer = run(&["soak", "--minutes", "0.01", "--rate", "2000"], b"");
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    let told: serde_json::Value = serde_json::from_str(&answer.out).expect("one JSON object");
    let count = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{name} in {told}"));
    let ended = ["succeeded", "failed", "timedOut", "aborted"].map(count).iter().sum::<u64>();
    assert!(count("accepted") > 100 && count("failed") > 0 && count("aborted") > 0, "{told}");
    assert_eq!((count("accepted"), count("lost"), count("bugs")), (ended, 0, 0));
    assert_eq!(run(&["soak", "--minutes", "0"], b"").code, Some(2));
    assert_eq!(run(&["soak", "--minutes", "1", "--input", "{"], b"").code, Some(2));
}

#[test]
fn standard_executions_may_take_longer_than_express_ones() {
    let folder = Folder::new("standard");
    let definition = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 86400, "End": true}}}"#;
    let file = folder.file("day.asl.json", definition);
    let run = |more: &[&str]| {
        let arguments = [&["run", &file, "--input", "{}", "--virtual-time"], more].concat();
        run(&arguments, b"").code
    };
    assert_eq!(run(&["--type", "STANDARD"]), Some(0));
    assert_eq!(run(&["--type", "EXPRESS"]), Some(1), "an Express execution times out");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let folder = Folder::new("pipe");
    let echo = folder.file("echo.asl.json", ECHO);
    let events =
        folder.file("events.ndjson", format!("{{\"pad\":\"{}\"}}\n", "x".repeat(200)).repeat(50_000));
    let mut child = command(&["run", &echo, "--input", &events]).spawn().expect("the binary");
    let mut first = [0; 100];
    child.stdout.take().expect("stdout").read_exact(&mut first).expect("some output");
    let output = child.wait_with_output().expect("an answer");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(!err.contains("panicked") && !err.contains("cannot write"), "{err}");
}

#[test]
fn tasks_are_answered_by_mocks_or_said_to_be_unanswered() {
    let folder = Folder::new("mock");
    let task = folder.file("Orders.asl.json", TASK);
    let mocks = folder.file(
        "mocks.json",
        r#"{"StateMachines": {"Orders": {"TestCases": {
              "Paid": {"Charge": "Pays"}, "Broke": {"Charge": "Fails"}, "Other": {}}}},
            "MockedResponses": {"Pays": {"0": {"Throw": {"Error": "Busy", "Cause": "later"}}, "1": {"Return": {"paid": true}}},
              "Fails": {"0": {"Throw": {"Error": "Card.Declined", "Cause": "no funds"}}}}}"#,
    );
    let bare = run(&["run", &task, "--input", "{}"], b"");
    assert_eq!(bare.code, Some(1));
    let sentence = "States.Runtime: Nothing answers the task arn:aws:lambda:us-east-1:123456789012:function:charge of \
                    the state Charge";
    assert!(bare.err.contains(sentence), "{}", bare.err);
    let with = |test: &str, events: &str| {
        run(&["run", &task, "--mock", &mocks, "--test", test, "--virtual-time", "--trace"], events.as_bytes())
    };
    let paid = with("Paid", "{}\n{}\n");
    assert_eq!((paid.code, &*paid.out), (Some(0), "{\"paid\":true}\n{\"paid\":true}\n"), "{}", paid.err);
    assert!(paid.err.contains("function:charge") && paid.err.contains("7.00 s"), "{}", paid.err);
    let broke = with("Orders#Broke", "{}");
    assert_eq!((broke.code, &*broke.out), (Some(1), ""));
    assert!(broke.err.contains("Card.Declined") && broke.err.contains("1 Sorry"), "{}", broke.err);
    assert!(with("Other", "{}").err.contains("has no mocked response for the state"));
    let unsaid = run(&["run", &task, "--mock", &mocks], b"");
    assert!(unsaid.code == Some(2) && unsaid.err.contains("Paid, Broke, Other"), "{}", unsaid.err);
}

#[test]
fn a_trace_shows_iterations_under_their_map() {
    let answer = run(&["run", &example("orders.asl.json"), "--trace"], first_order().as_bytes());
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    let rows: Vec<Vec<&str>> = answer.err.lines().map(|line| line.split_whitespace().collect()).collect();
    let starts = |words: &[&str]| rows.iter().any(|row| row.starts_with(words));
    assert!(starts(&["Check", "order", "Choice"]) && starts(&["Sort", "lines", "Map"]), "{}", answer.err);
    assert!(
        starts(&["[0]", "In", "stock", "Choice"]) && starts(&["[3]", "In", "stock", "Choice"]),
        "{}",
        answer.err
    );
    let indent = |word: &str| {
        let line = answer.err.lines().find(|line| line.contains(word)).expect("a row");
        line.len() - line.trim_start().len()
    };
    assert!(indent("[0] In stock") > indent("Sort lines") && indent("Done") == indent("Sort lines"));
    assert!(answer.err.contains("→ SUCCEEDED, 493 B"), "{}", answer.err);
}

fn first_order() -> String {
    let events = fs::read_to_string(example("orders.ndjson")).expect("the example");
    events.lines().next().expect("an event").to_owned()
}

#[test]
fn the_example_runs_as_the_readme_says() {
    let answer = run(&["run", &example("orders.asl.json"), "--input", &example("orders.ndjson")], b"");
    assert_eq!((answer.code, answer.out.lines().count()), (Some(1), 951), "{}", answer.err);
    for line in
        ["1,000 events in ", "succeeded  951", "failed     49: 32 Order.PaymentRefused, 17 Order.Malformed"]
    {
        assert!(answer.err.contains(line), "{line} is missing in: {}", answer.err);
    }
}

#[test]
fn validate_shows_every_problem_of_every_file_at_its_place() {
    let folder = Folder::new("validate");
    let good = folder.file("good.asl.json", ECHO);
    let bad = folder.file(
        "bad.asl.json",
        "{\n  \"StartAt\": \"A\",\n  \"States\": {\n    \"A\": {\"Type\": \"Pass\", \"Nxet\": \"B\"},\n    \
         \"B\": {\"Type\": \"Wait\", \"Seconds\": \"soon\", \"End\": true}\n  }\n}\n",
    );
    let answer = run(&["validate", &good, &bad], b"");
    assert_eq!(answer.code, Some(1));
    for part in [
        "good.asl.json: valid, 1 state",
        "error[SCHEMA_VALIDATION_FAILED]: Field 'Nxet' is not supported",
        "bad.asl.json:4:27",
        "^^^^^^",
        "at /States/A",
        "did you mean `Next`?",
        "\"B\": {\"Type\": \"Wait\", \"Seconds\": \"soon\"",
    ] {
        assert!(answer.out.contains(part), "{part} is missing in: {}", answer.out);
    }
    let json = run(&["validate", "--format", "json", &good, &bad], b"");
    let rows: Vec<serde_json::Value> =
        json.out.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    assert_eq!((json.code, rows.len()), (Some(1), 2));
    assert_eq!((&rows[0]["result"], &rows[1]["result"]), (&"OK".into(), &"FAIL".into()));
    let first = &rows[1]["diagnostics"][0];
    assert_eq!(
        (&first["line"], &first["column"], &first["location"]),
        (&4.into(), &27.into(), &"/States/A".into())
    );
    assert_eq!(run(&["validate", "-"], ECHO.as_bytes()).code, Some(0));
    assert_eq!(run(&["validate", &good, "nowhere.json"], b"").code, Some(2));
    let callback = folder.file(
        "callback.asl.json",
        r#"{"StartAt": "T", "States": {"T": {"Type": "Task", "End": true,
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "Parameters": {"QueueUrl": "q", "MessageBody": "m"}}}}"#,
    );
    // Only STANDARD machines wait for tokens, so that is the type, unless another is given.
    assert_eq!(run(&["validate", &callback], b"").code, Some(0));
    let express = run(&["validate", "--type", "EXPRESS", &callback], b"");
    assert_eq!(express.code, Some(1));
    let advice = "as STANDARD it is accepted: it was read as EXPRESS; say --type STANDARD";
    assert!(express.out.contains(advice), "{}", express.out);
    assert_eq!(run(&["validate", "--type", "STANDARD", &callback], b"").code, Some(0));
}

#[test]
fn graphs_have_the_shape_of_the_definition() {
    let orders = example("orders.asl.json");
    for (format, kept) in [("mermaid", "orders.mermaid.txt"), ("dot", "orders.dot.txt")] {
        let answer = run(&["graph", &orders, "--format", format], b"");
        assert_eq!(answer.code, Some(0), "{}", answer.err);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(kept);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &answer.out).expect("the golden file can be written");
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(answer.out, kept, "{} (UPDATE_GOLDEN=1 writes it anew)", file.display());
    }
    let svg = run(&["graph", &orders, "--format", "svg"], b"").out;
    is_well_formed(&svg);
    let definition: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&orders).expect("the example")).expect("JSON");
    for name in definition["States"].as_object().expect("States").keys() {
        assert!(svg.contains(&format!("<title>{name}</title>")), "{name}");
    }
    assert_eq!(svg.matches("marker-end=\"url(#catch)\"").count(), 1);
    for label in ["$.detail.flags.fraudScore &gt; 0.8", ">otherwise<", ">States.ALL<", "<title>start</title>"]
    {
        assert!(svg.contains(label), "{label}");
    }
}

/// Every tag that opens closes, in order.
fn is_well_formed(svg: &str) {
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').expect("a tag ends");
        assert!(!text.contains('>') || tag == "style", "a bare `>` in {text}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in order");
        } else if !tag.ends_with('/') {
            open.push(tag.split([' ', '\n']).next().expect("a name"));
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

#[test]
fn published_definitions_are_dumped_and_drawn() {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/suites");
    let suites = std::env::var_os("EXPRESSWAY_SUITES").map_or(default, PathBuf::from);
    let Ok(text) = fs::read_to_string(suites.join("asl/definitions.jsonl")) else {
        not_run(&format!("asl/definitions.jsonl is not in {} (see EXPRESSWAY_SUITES)", suites.display()));
        return;
    };
    let (mut passed, mut skipped) = (0, 0);
    // Every process takes a while to start: all definitions where everything is required, one of ten elsewhere.
    for line in text.lines().step_by(if is_all() { 1 } else { 10 }) {
        let row: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
        let definition = row["definition"].to_string();
        let mut answer = run(&["graph", "-", "--type", "STANDARD"], definition.as_bytes());
        if answer.code == Some(1) {
            // What is wrong is drawn as far as it goes.
            is_well_formed(&answer.out);
        }
        if answer.code != Some(0) || answer.err.contains("NOT_RUN_HERE") {
            skipped += 1;
            continue;
        }
        is_well_formed(&answer.out);
        passed += 1;
        for arguments in
            [&["graph", "-", "--format=dot"][..], &["graph", "-", "--format=mermaid"], &["dump", "-"]]
        {
            answer = run(&[arguments, &["--type=STANDARD"]].concat(), definition.as_bytes());
            assert_eq!(answer.code, Some(0), "{}: {}", row["id"], answer.err);
        }
    }
    println!("drawn: {passed} passed, 0 failed, {skipped} skipped (refused)");
    assert!(passed as u64 > some_of(100, 10), "hardly any definition was drawn");
}

#[test]
fn one_state_is_tested_as_aws_does() {
    let folder = Folder::new("test-state");
    let state = r#"{"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "f"},
        "OutputPath": "$.Payload", "Retry": [{"ErrorEquals": ["Busy"], "MaxAttempts": 2}], "Next": "After"}"#;
    let state = folder.file("state.json", state);
    let tested = run(&["test-state", &state, "--mock", r#"{"Payload": [1]}"#, "--inspection", "debug"], b"");
    assert_eq!(tested.code, Some(0), "{}", tested.err);
    let answer: serde_json::Value = serde_json::from_str(&tested.out).expect("JSON");
    assert_eq!((answer["output"].as_str(), answer["nextState"].as_str()), (Some("[1]"), Some("After")));
    assert_eq!(answer["inspectionData"]["afterParameters"], r#"{"FunctionName":"f"}"#);
    let retried = run(&["test-state", &state, "--mock-error", "Busy", "--retries", "1"], b"");
    let answer: serde_json::Value = serde_json::from_str(&retried.out).expect("JSON");
    assert_eq!((retried.code, answer["status"].as_str()), (Some(1), Some("RETRIABLE")));
    let machine = folder.file("machine.json", ECHO);
    let refused = run(&["test-state", &machine, "--state", "Q"], b"");
    assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""));
    let sentence = "expressway: ValidationException: State not found in definition: did you mean `P`?\n";
    assert_eq!(refused.err, sentence);
}

#[test]
fn yaml_is_validated_at_its_own_lines() {
    let folder = Folder::new("yaml");
    let file = folder
        .file("wrong.asl.yaml", "StartAt: P\nStates:\n  P:\n    Type: Pass\n    Ned: true\n    End: true\n");
    let found = run(&["validate", &file], b"");
    assert_eq!(found.code, Some(1));
    assert!(found.out.contains("wrong.asl.yaml:5:5"), "{}", found.out);
}

// ---- pipe ----

const JUDGE: &str = r#"{"StartAt": "Judge", "States": {
    "Judge": {"Type": "Choice", "Choices": [{"Variable": "$.bad", "IsPresent": true, "Next": "Bad"}], "Default": "Good"},
    "Bad": {"Type": "Fail", "Error": "Order.Bad"}, "Good": {"Type": "Pass", "End": true}}}"#;

#[test]
fn a_pipeline_takes_lines_and_keeps_what_fails() {
    let folder = Folder::new("pipe");
    folder.file("judge.asl.json", JUDGE);
    let config = folder.file(
        "pipe.toml",
        r#"
definition = "judge.asl.json"
source = { type = "stdin" }
sink = { type = "stdout" }
dead_letters = { type = "file", path = "dead.ndjson" }
pipe = { order = "outputs", attempts = 1 }
"#,
    );
    let answer = run(&["pipe", &config], b"{\"n\":1}\n{\"bad\":1}\nnonsense\n{\"n\":4}\n");
    assert_eq!((answer.code, &*answer.out), (Some(1), "{\"n\":1}\n{\"n\":4}\n"));
    for line in [
        "The pipeline runs.\n",
        "failed: stdin 2: Order.Bad\n",
        "failed: stdin 3: States.Runtime: ",
        "4 events: 2 succeeded, 2 failed for good\n",
        "connected end=\"source\" address=\"standard input\"",
    ] {
        assert!(answer.err.contains(line), "{line} is missing in: {}", answer.err);
    }
    let dead = fs::read_to_string(folder.0.join("dead.ndjson")).expect("the dead letters");
    let ids: Vec<String> = dead
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["id"].to_string())
        .collect();
    assert_eq!(ids, ["\"2\"", "\"3\""]);

    let again = folder.file(
        "redrive.toml",
        r#"
source = { type = "file", path = "dead.ndjson" }
sink = { type = "stdout" }
"#,
    );
    let answer = run(&["redrive", "--at-most", "1", &again], b"");
    assert_eq!((answer.code, &*answer.out, &*answer.err), (Some(0), "{\"bad\":1}\n", "1 event sent again\n"));
    let answer = run(&["redrive", &again], b"");
    assert_eq!((answer.code, &*answer.out), (Some(0), "nonsense\n"));
    assert_eq!(answer.err, "1 event sent again, 1 sent before (--all sends them)\n");
    // Once by default, and more often on request.
    let answer = run(&["redrive", &again], b"");
    assert_eq!((&*answer.out, &*answer.err), ("", "0 events sent again, 2 sent before (--all sends them)\n"));
    assert_eq!(run(&["redrive", "--all", &again], b"").out, "{\"bad\":1}\nnonsense\n");
}

#[test]
fn a_log_for_machines_is_json() {
    let folder = Folder::new("pipe-log");
    folder.file("judge.asl.json", JUDGE);
    let config = folder.file(
        "pipe.toml",
        "definition = \"judge.asl.json\"\nsource = { type = \"stdin\" }\n\
         # A device cannot be synced.\nsink = { type = \"file\", path = \"/dev/null\" }\npipe = { attempts = 1 }\n",
    );
    // Every line, from the start to the summary, and also where it cannot begin.
    let rows = |err: &str| -> Vec<serde_json::Value> {
        let object = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect(line);
        let rows: Vec<_> = err.lines().map(object).collect();
        assert!(rows.iter().all(|row| row["level"].is_string() && row["timestamp"].is_string()), "{err}");
        rows
    };
    let absent = rows(&run(&["pipe", "absent.toml", "--log", "json"], b"").err);
    let why = absent[0]["message"].as_str().expect("a text");
    assert!(absent.len() == 1 && absent[0]["level"] == "ERROR" && why.contains("absent.toml"), "{absent:?}");
    let answer = run(&["pipe", &config, "--log", "json"], b"{\"n\":1}\n{\"bad\":1}\n");
    let rows = rows(&answer.err);
    let row = |message: &str| rows.iter().find(|row| row["message"] == message).expect(message);
    assert_eq!(row("connected")["end"], "source");
    assert_eq!(row("The pipeline runs.")["level"], "INFO");
    assert_eq!(row("2 events: 1 succeeded, 1 failed for good")["target"], "expressway::command");
    let failed = row("an event failed after all retries");
    assert_eq!(
        (&failed["level"], &failed["id"], &failed["error"]),
        (&"WARN".into(), &"2".into(), &"Order.Bad".into())
    );
    let quiet = run(&["pipe", &config, "--log", "json", "--log-level", "error"], b"{\"bad\":1}\n");
    assert!(!quiet.err.contains("failed for good\""), "{}", quiet.err);
    let wrong = run(&["pipe", &config, "--log-level", "expressway=loud"], b"");
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.err.contains("is no level of the log") && wrong.err.contains("--log-level info"),
        "{}",
        wrong.err
    );
}

#[test]
fn a_pipeline_that_makes_no_sense_is_refused_by_name() {
    let folder = Folder::new("pipe-refused");
    folder.file("judge.asl.json", JUDGE);
    let ends = "source = { type = \"stdin\" }\n";
    let cases = [
        ("definition = \"judge.asl.json\"\n", "source"),
        (&*format!("definition = \"judge.asl.json\"\n{ends}pipe = {{ oder = \"any\" }}\n"), "oder"),
        (&*format!("definition = \"judge.asl.json\"\n{ends}pipe = {{ order = \"key\" }}\n"), "pipe.key"),
        (&*format!("definition = \"judge.asl.json\"\n{ends}pipe = {{ key = \"$.n\" }}\n"), "pipe.order"),
        (
            &*format!("definition = \"judge.asl.json\"\n{ends}pipe = {{ order = \"key\", key = \"n\" }}\n"),
            "'n'",
        ),
        (&*format!("definition = \"missing.asl.json\"\n{ends}"), "missing.asl.json"),
        ("definition = \"judge.asl.json\"\nsource = { type = \"stdout\" }\n", "stdout"),
        ("definition = \"judge.asl.json\"\nsource = { type = \"fax\" }\n", "fax"),
        (
            "definition = \"judge.asl.json\"\nsource = { type = \"file\", path = \"no.ndjson\" }\n",
            "no.ndjson",
        ),
    ];
    for (config, named) in cases {
        let answer = run(&["pipe", &folder.file("pipe.toml", config)], b"");
        assert_eq!((answer.code, &*answer.out), (Some(2), ""), "{config}");
        assert!(answer.err.contains(named), "{config}: {}", answer.err);
    }
}

#[test]
#[cfg(feature = "cli-serve")]
fn the_region_is_that_of_the_variables_that_sdks_read() {
    for (before, region) in [
        (["AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-2"], "eu-west-1"),
        (["AWS_REGION=", "AWS_DEFAULT_REGION=eu-west-2"], "eu-west-2"),
    ] {
        let serving = crate::serving::Serving::start_by(&["env", before[0], before[1]], &[]);
        let (status, body) = serving.ask("CreateActivity", r#"{"name": "a"}"#);
        assert!(status == 200 && body.contains(&format!("arn:aws:states:{region}:")), "{before:?}: {body}");
    }
}
