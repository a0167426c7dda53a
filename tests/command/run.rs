//! `run` with executions that take time: many at once, Ctrl-C, traces, and the display of a terminal.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Waits for the time in the event, and fails if the event requests it.
const WAITS: &str = r#"{"StartAt": "Rest", "States": {
    "Rest": {"Type": "Wait", "SecondsPath": "$.s", "Next": "Judge"},
    "Judge": {"Type": "Choice", "Choices": [{"Variable": "$.bad", "IsPresent": true, "Next": "Bad"}], "Default": "Good"},
    "Bad": {"Type": "Fail", "Error": "Order.Bad"},
    "Good": {"Type": "Pass", "End": true}}}"#;

fn file(name: &str, text: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join(name);
    fs::write(&file, text).expect("a file");
    file
}

fn command(definition: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    command.arg("run").arg(definition).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code, standard output, standard error.
fn run(definition: &Path, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = command(definition, arguments).spawn().expect("the binary");
    child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("the input is read");
    let output = child.wait_with_output().expect("an answer");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn executions_that_wait_wait_at_the_same_time_and_keep_their_order() {
    let waits = file("together.asl.json", WAITS);
    // The first ones wait longest, so that none ends in its turn.
    let events: String = (0..60).map(|n| format!("{{\"s\":{},\"n\":{n}}}\n", u32::from(n < 30))).collect();
    let began = Instant::now();
    let (code, out, err) = run(&waits, &[], &events);
    assert_eq!((code, &*out), (Some(0), &*events), "{err}");
    assert!(err.contains("60 events in ") && err.contains("succeeded  60"), "{err}");
    // One after the other they would take 30 seconds.
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
}

#[test]
fn no_more_run_at_the_same_time_than_are_asked_for() {
    let waits = file("jobs.asl.json", WAITS);
    let began = Instant::now();
    let (code, out, err) = run(&waits, &["--jobs", "2"], &"{\"s\":1}\n".repeat(4));
    assert_eq!((code, out.lines().count()), (Some(0), 4), "{err}");
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
}

#[test]
fn what_fails_or_is_no_event_is_told_by_line_among_those_that_wait() {
    let waits = file("failing.asl.json", WAITS);
    let events = "{\"s\":0,\"n\":1}\nnonsense\n\n{\"s\":0,\"bad\":1}\n{\"s\":0,\"n\":5}\n";
    let (code, out, err) = run(&waits, &[], events);
    assert_eq!((code, &*out), (Some(1), "{\"s\":0,\"n\":1}\n{\"s\":0,\"n\":5}\n"));
    for line in
        ["line 2: not run: the input is not JSON", "line 4: Order.Bad", "4 events in ", "not run    1"]
    {
        assert!(err.contains(line), "{line} is missing in: {err}");
    }
}

#[test]
fn ctrl_c_ends_with_the_outputs_and_the_summary_so_far() {
    let waits = file("interrupted.asl.json", WAITS);
    let mut child = command(&waits, &[]).spawn().expect("the binary");
    let mut stdin = child.stdin.take().expect("stdin");
    // The last one has begun when the one before is over.
    stdin.write_all(b"{\"s\":0,\"bad\":1}\n{\"s\":1}\n{\"s\":200}\n").expect("the input is read");
    let mut out = BufReader::new(child.stdout.take().expect("stdout"));
    let mut first = String::new();
    out.read_line(&mut first).expect("an output");
    assert_eq!(first, "{\"s\":1}\n");
    let pid = rustix_pid(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a signal");
    // Standard input stays open: its end is not awaited.
    let output = child.wait_with_output().expect("an answer");
    let err = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(130), "{err}");
    for line in ["line 1: Order.Bad", "Interrupted.\n2 events in ", "succeeded  1", "unfinished 1 "] {
        assert!(err.contains(line), "{line} is missing in: {err}");
    }
    drop(stdin);
}

#[test]
fn ctrl_c_ends_a_stream_of_pure_executions_with_its_summary() {
    let echo = file("pure.asl.json", r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#);
    let mut child = command(&echo, &["--jobs", "2"]).spawn().expect("the binary");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(b"{\"a\":1}\n{\"a\":2}\n").expect("the input is read");
    let mut out = BufReader::new(child.stdout.take().expect("stdout"));
    let mut outputs = String::new();
    for _ in 0..2 {
        // Both are over before the signal comes.
        out.read_line(&mut outputs).expect("an output");
    }
    rustix::process::kill_process(rustix_pid(&child), rustix::process::Signal::INT).expect("a signal");
    let output = child.wait_with_output().expect("an answer");
    let err = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(err.contains("Interrupted.\n2 events in "), "{err}");
    drop(stdin);
}

#[test]
fn a_second_ctrl_c_ends_at_once_what_the_first_one_would_end_in_order() {
    let echo =
        file("at-once.asl.json", r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#);
    // More than a pipe holds: its output is not written before somebody reads it, so an end in order has to wait.
    let large = format!("{{\"text\": \"{}\"}}\n", "x".repeat(200_000));
    let events = file("at-once.ndjson", &large.repeat(3));
    let mut child =
        command(&echo, &["--input", events.to_str().expect("UTF-8")]).spawn().expect("the binary");
    let mut out = child.stdout.take().expect("stdout");
    out.read_exact(&mut [0]).expect("the first byte of an output");
    let interrupt = rustix::process::Signal::INT;
    rustix::process::kill_process(rustix_pid(&child), interrupt).expect("a signal");
    let mut err = BufReader::new(child.stderr.take().expect("stderr"));
    let mut said = String::new();
    err.read_line(&mut said).expect("a line");
    assert_eq!(said, "expressway: ending with what is done; a second Ctrl-C ends at once\n");
    rustix::process::kill_process(rustix_pid(&child), interrupt).expect("a signal");
    let status = child.wait().expect("the end");
    err.read_to_string(&mut said).expect("UTF-8");
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(!said.contains("Interrupted."), "{said}");
    // Nobody read the rest.
    drop(out);
}

/// Goes round until `stop` is in its data.
const CIRCLES: &str = r#"{"StartAt": "Turn", "States": {
    "Turn": {"Type": "Pass", "Next": "Judge"},
    "Judge": {"Type": "Choice", "Choices": [{"Variable": "$.stop", "IsPresent": true, "Next": "Good"}], "Default": "Turn"},
    "Good": {"Type": "Succeed"}}}"#;

#[test]
fn an_endless_execution_shows_its_state_and_the_first_ctrl_c_ends_it_with_the_summary() {
    let circles = file("circles.asl.json", CIRCLES);
    let events = file("circles.ndjson", "{\"stop\":1}\n{\"n\":2}\n{\"stop\":3}\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    command.arg("run").arg(&circles).arg("--input").arg(&events).args(["--jobs", "1"]).env("TERM", "xterm");
    let terminal = crate::terminal::begin(command, 120);
    let mut written = Vec::new();
    let is_shown = |written: &[u8]| {
        let shown = String::from_utf8_lossy(written);
        shown.contains("line 2 is in `Turn` after ") || shown.contains("line 2 is in `Judge` after ")
    };
    terminal.press(&mut written, is_shown, "");
    rustix::process::kill_process(rustix_pid(&terminal.child), rustix::process::Signal::INT)
        .expect("a signal");
    let (shown, code) = terminal.finish();
    assert_eq!(code, Some(130), "{shown}");
    for line in ["\"stop\"", "Interrupted.\r\n1 event in ", "succeeded  1", "unfinished 1 "] {
        assert!(shown.contains(line), "{line} is missing in: {shown}");
    }
}

fn rustix_pid(child: &std::process::Child) -> rustix::process::Pid {
    rustix::process::Pid::from_child(child)
}

#[test]
fn the_clock_of_virtual_time_begins_when_it_is_told() {
    let text = r#"{"QueryLanguage":"JSONata","StartAt":"W","States":{"W":{"Type":"Wait","Seconds":90,"Next":"P"},
        "P":{"Type":"Pass","Output":"{% $states.context.State.EnteredTime %}","End":true}}}"#;
    let clock = file("clock.asl.json", text);
    let at = |time: &str| run(&clock, &["--virtual-time", "--now", time, "--input", "{}"], "");
    for (time, later) in [
        ("2026-11-30T08:00:00Z", "2026-11-30T08:01:30"),
        ("1999-12-31T23:59:00.250+01:00", "1999-12-31T23:00:30.250"),
    ] {
        let (code, out, err) = at(time);
        assert_eq!(code, Some(0), "{err}");
        assert!(out.starts_with(&format!("\"{later}")), "{out}");
    }
    for wrong in ["yesterday", "1969-01-01T00:00:00Z", "2026-11-30"] {
        let (code, _, err) = at(wrong);
        assert_eq!(code, Some(2));
        assert!(err.contains(wrong) && err.contains("in the form 2026-11-30T08:00:00Z"), "{err}");
    }
    let (code, _, err) = run(&clock, &["--now", "2026-11-30T08:00:00Z", "--input", "{}"], "");
    assert!(code == Some(2) && err.contains("--virtual-time"), "{err}");
}

#[test]
fn traces_show_what_is_asked_for() {
    let waits = file("traced.asl.json", WAITS);
    let events = "{\"s\":0,\"n\":1}\n{\"s\":0,\"bad\":1}\n{\"s\":0,\"n\":3}\n";
    // On the engine, with a separate clock.
    for clock in [&[][..], &["--virtual-time"]] {
        let shown = |arguments: &[&str]| {
            let (code, _, err) = run(&waits, &[clock, arguments].concat(), events);
            assert_eq!(code, Some(1), "{arguments:?}: {err}");
            let mut lines = Vec::new();
            for line in err.lines().filter(|line| line.starts_with("line ") && !line.contains(':')) {
                lines.push(line.to_owned());
            }
            (lines, err)
        };
        assert_eq!(shown(&["--trace"]).0, ["line 1", "line 2", "line 3"]);
        assert_eq!(shown(&["--trace=failed"]).0, ["line 2"]);
        assert_eq!(shown(&["--trace=3"]).0, ["line 3"]);
        assert_eq!(shown(&["--trace=Good"]).0, ["line 1", "line 3"]);
        let (lines, err) = shown(&["--trace=failed", "--trace-data"]);
        assert_eq!(lines, ["line 2"]);
        assert!(err.contains("      in  {\"s\":0,\"bad\":1}\n      out {\"s\":0,\"bad\":1}\n"), "{err}");
        assert!(err.contains("→ FAILED, Order.Bad"), "{err}");
    }
    let (code, _, err) = run(&waits, &["--trace=Godo"], events);
    assert_eq!(code, Some(2));
    assert!(err.contains("no state `Godo`: did you mean `Good`?"), "{err}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_shows_where_an_execution_is_and_its_output_in_colours() {
    let waits = file("shown.asl.json", WAITS);
    let mut command = command(&waits, &["--input", "{\"s\":2,\"list\":[]}"]);
    command.env("TERM", "xterm");
    let (shown, code) = crate::terminal::begin(command, 80).finish();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("line 1 is in `Rest` for "), "{shown:?}");
    let output = "\x1b[1m{\x1b[0m\r\n  \x1b[1;34m\"s\"\x1b[0m: 2,\r\n  \x1b[1;34m\"list\"\x1b[0m: \x1b[1m[\x1b[0m\x1b[1m]\x1b[0m\r\n\x1b[1m}\x1b[0m\r\n";
    assert!(shown.contains(output), "{shown:?}");
}

#[test]
fn what_is_valid_on_aws_and_not_run_here_is_a_notice_unless_asked_otherwise() {
    for (name, definition, place) in NOT_RUN_HERE {
        let definition = file(name, definition);
        let validate = |more: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
            let output = command.arg("validate").arg(&definition).args(more).output().expect("an answer");
            (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
        };
        let (code, out) = validate(&[]);
        assert_eq!(code, Some(0), "{out}");
        // With its line of the source.
        let shown = [
            "note[NOT_RUN_HERE]".to_owned(),
            "valid on AWS, not run here in 1 place".to_owned(),
            format!("{name}:{place}"),
        ];
        assert!(shown.iter().all(|it| out.contains(it)) && out.contains("^^^^"), "{out}");
        let (code, out) = validate(&["--here"]);
        assert_eq!(code, Some(1), "{out}");
        assert!(out.contains("error[NOT_RUN_HERE]"), "{out}");
        let (code, out) = validate(&["--format", "json"]);
        let row: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        let (line, column) = (&row["diagnostics"][0]["line"], &row["diagnostics"][0]["column"]);
        assert_eq!((code, format!("{line}:{column}")), (Some(0), place.to_owned()));
    }
}

#[test]
fn executions_of_other_machines_are_run_here() {
    for pattern in ["", ".sync", ".sync:2", ".waitForTaskToken"] {
        let state = serde_json::json!({"Type": "Task", "End": true,
            "Resource": format!("arn:aws:states:::states:startExecution{pattern}"),
            "Parameters": {"StateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:x",
                "Input": {"token.$": "$$.Task.Token"}}});
        let definition = serde_json::json!({"StartAt": "A", "States": {"A": state}}).to_string();
        let definition = file("nested.asl.json", &definition);
        let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
        let output = command.args(["validate", "--here"]).arg(&definition).output().expect("an answer");
        assert!(output.status.success(), "{pattern}: {output:?}");
    }
}

/// Definitions that AWS takes and that do not run here: in a file of this name, and where.
const NOT_RUN_HERE: [(&str, &str, &str); 3] = [
    (
        "not-read.asl.json",
        r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "End": true,
  "ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "MANIFEST", "ManifestType": "ATHENA_DATA"},
    "Parameters": {"Bucket": "b", "Key": "k"}},
  "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
    "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}}}}"#,
        "2:93",
    ),
    // A service that is not called, in a branch.
    (
        "not-called.asl.json",
        r#"{"StartAt": "B", "States": {"B": {"Type": "Parallel", "End": true, "Branches": [
  {"StartAt": "A/B", "States": {"A/B": {"Type": "Pass", "End": true}}},
  {"StartAt": "C[0]", "States": {"C[0]": {"Type": "Task", "End": true, "Parameters": {},
    "Resource": "arn:aws:states:::aws-sdk:codecatalyst:listSpaces"}}}]}}}"#,
        "4:17",
    ),
    (
        "not-called.asl.yaml",
        "StartAt: A\nStates:\n  A:\n    Type: Task\n    Resource: arn:aws:states:::aws-sdk:codecatalyst:listSpaces\n    Parameters: {}\n    End: true\n",
        "5:15",
    ),
];
