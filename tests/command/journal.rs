//! `journal` and `executions`: the content of a state folder, without a server.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value as Json, json};

use crate::serving::{Folder, Serving};

const ROLE: &str = "arn:aws:iam::123456789012:role/r";

fn command(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_expressway")).args(arguments).output().expect("the command ends")
}

#[track_caller]
fn prints(arguments: &[&str]) -> String {
    let output = command(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[track_caller]
fn refuses(arguments: &[&str], code: i32) -> String {
    let output = command(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

fn lines(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect()
}

/// A state folder with an execution that is over and one that waits.
fn state(folder: &Folder) -> String {
    let state = folder.0.join("state").to_str().expect("UTF-8").to_owned();
    let serving = Serving::start(&["--state", &state, "--insecure"]);
    let states = json!({"A": {"Type": "Pass", "Result": {"x": 1}, "Next": "B"}, "B": {"Type": "Choice", "Default": "End",
        "Choices": [{"Variable": "$$.Execution.Name", "StringEquals": "open", "Next": "W"}]},
        "End": {"Type": "Pass", "End": true}, "W": {"Type": "Wait", "Seconds": 100_000, "End": true}});
    let definition = json!({"StartAt": "A", "States": states}).to_string();
    let machine = json!({"name": "m", "definition": definition, "roleArn": ROLE}).to_string();
    assert_eq!(serving.ask("CreateStateMachine", &machine).0, 200);
    for name in ["over", "open"] {
        let arn = "arn:aws:states:us-east-1:123456789012:stateMachine:m";
        let start = json!({"stateMachineArn": arn, "name": name, "input": r#"{"in": 0}"#}).to_string();
        assert_eq!(serving.ask("StartExecution", &start).0, 200);
    }
    for (name, wanted) in [("over", "ExecutionSucceeded"), ("open", "WaitStateEntered")] {
        let arn = format!("arn:aws:states:us-east-1:123456789012:execution:m:{name}");
        let history = json!({"executionArn": arn}).to_string();
        while !serving.ask("GetExecutionHistory", &history).1.contains(wanted) {
            std::thread::yield_now();
        }
    }
    assert_eq!(serving.stop().0, Some(0));
    state
}

#[test]
fn executions_are_listed_and_shown_as_they_were_after_any_event() {
    let folder = Folder::new("executions-command");
    let state = state(&folder);
    let listed = lines(&prints(&["executions", "list", &state]));
    let seen: Vec<(&str, &str, u64)> = (listed.iter())
        .map(|it| {
            (it["name"].as_str().unwrap(), it["status"].as_str().unwrap(), it["events"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(seen, [("open", "RUNNING", 6), ("over", "SUCCEEDED", 8)]);
    let failed = prints(&["executions", "list", &state, "--status", "FAILED"]);
    assert_eq!(failed, "");

    let show = |arguments: &[&str]| -> Json {
        let text = prints(&[&["executions", "show", &state], arguments].concat());
        serde_json::from_str(&text).expect("a JSON object")
    };
    let open = show(&["arn:aws:states:us-east-1:123456789012:execution:m:open"]);
    assert_eq!(open["input"], json!({"in": 0}));
    assert_eq!(open["states"][0]["name"], "W");
    assert_eq!(
        (&open["states"][0]["input"], &open["states"][0]["enteredEvent"]),
        (&json!({"x": 1}), &json!(6))
    );
    let over = show(&["over"]);
    assert_eq!((&over["states"], &over["output"]), (&json!([]), &json!({"x": 1})));
    let early = show(&["over", "--at", "2"]);
    assert_eq!((&early["states"][0]["name"], &early["states"][0]["input"]), (&json!("A"), &json!({"in": 0})));
    assert_eq!((early["history"].as_array().map(Vec::len), &early["output"]), (Some(2), &Json::Null));
    let late = refuses(&["executions", "show", &state, "over", "--at", "9"], 2);
    assert!(late.contains("the execution has 8 events so far, not 9"), "{late}");
    let unknown = refuses(&["executions", "show", &state, "other"], 2);
    assert!(unknown.contains("there is no execution 'other'"), "{unknown}");
}

#[test]
fn a_journal_is_verified_printed_counted_copied_and_restored() {
    let folder = Folder::new("journal-command");
    let state = state(&folder);
    let (journal, backup) = (format!("{state}/journal"), format!("{}/backup", folder.0.display()));
    let verified = prints(&["journal", "verify", &journal]);
    assert!(verified.contains(": whole: blocks 1 to "), "{verified}");
    let stat: Json = serde_json::from_str(&prints(&["journal", "stat", &journal])).expect("a JSON object");
    let dumped = lines(&prints(&["journal", "dump", &journal]));
    let records = dumped.iter().filter(|line| line["record"].is_u64()).count();
    assert_eq!(stat["records"], json!(records));
    assert_eq!(stat["blocks"], json!(dumped.len() - records));
    assert!(
        refuses(&["journal", "stat", &folder.0.display().to_string()], 2).contains("there is no journal")
    );

    let copied = prints(&["journal", "backup", &journal, &backup]);
    assert_eq!(copied.split_once(": whole").map(|it| it.1), verified.split_once(": whole").map(|it| it.1));
    let again = refuses(&["journal", "backup", &journal, &backup], 2);
    assert!(again.contains("the folder to copy to is not empty"), "{again}");
    // The machine is lost; the backup continues elsewhere.
    let other = folder.0.join("other").display().to_string();
    prints(&["journal", "restore", &backup, &format!("{other}/journal")]);
    let serving = Serving::start(&["--state", &other, "--insecure"]);
    let open = json!({"executionArn": "arn:aws:states:us-east-1:123456789012:execution:m:open"}).to_string();
    let (status, described) = serving.ask("DescribeExecution", &open);
    assert!(status == 200 && described.contains("RUNNING"), "{described}");
    let used = refuses(&["journal", "backup", &format!("{other}/journal"), &format!("{backup}2")], 2);
    assert!(used.contains("in use by another process"), "{used}");
    assert_eq!(serving.stop().0, Some(0));

    // A byte in the middle of it: every reader reports the damage.
    let first = fs::read_dir(&journal).expect("a folder").map(|file| file.expect("a file").path());
    let first = first.filter(|path| path.extension().is_some_and(|it| it == "wal")).min().expect("a segment");
    let mut bytes = fs::read(&first).expect("a segment");
    // Behind the header of the second block, in its record.
    bytes[4_096 + 80 + 12] ^= 1;
    fs::write(&first, bytes).expect("it is written");
    for what in ["verify", "dump", "stat"] {
        let damaged = refuses(&["journal", what, &journal], 1);
        assert!(damaged.contains("damaged") && damaged.contains("offset 4096"), "{damaged}");
    }
    let damaged = refuses(&["journal", "backup", &journal, &format!("{backup}3")], 1);
    assert!(damaged.contains("damaged"), "{damaged}");
}
