//! Files as editors of Windows write them: with a byte order mark, with `\r\n`, and in UTF-16.

use std::fs;
use std::process::{Command, Stdio};

use crate::serving::Folder;

const MARK: &str = "\u{feff}";
const PASS: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;
const TASK: &str = r#"{"StartAt": "T", "States": {"T": {"Type": "Task", "End": true,
    "Resource": "arn:aws:lambda:us-east-1:123456789012:function:f"}}}"#;

/// Exit code, standard output, standard error.
fn expressway(folder: &Folder, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    let output = command.args(arguments).current_dir(&folder.0).stdin(Stdio::null()).output();
    let output = output.expect("an answer");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn utf16(text: &str) -> Vec<u8> {
    format!("{MARK}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_byte_order_mark_is_left_out_wherever_a_file_is_read() {
    let folder = Folder::new("marks");
    let marked = |text: &str| format!("{MARK}{}", text.replace('\n', "\r\n"));
    folder.file("pass.asl.json", marked(PASS));
    folder.file("pass.asl.yaml", marked("StartAt: P\nStates:\n  P: {Type: Pass, End: true}\n"));
    folder.file("wrong.asl.json", marked("{\"StartAt\": \"P\",\n \"Stats\": {}}"));
    folder.file("task.asl.json", marked(TASK));
    folder.file("template.yaml", marked(
        "Resources:\n  Flow:\n    Type: AWS::Serverless::StateMachine\n    Properties: {DefinitionUri: pass.asl.json}\n",
    ));
    folder.file("mocks.json", marked(
        r#"{"StateMachines": {"task": {"TestCases": {"A": {"T": "X"}}}}, "MockedResponses": {"X": {"0": {"Return": 7}}}}"#,
    ));
    folder.file("events.ndjson", marked("{\"n\":1}\n{\"n\":2}\n"));
    folder.file("event.json", marked("{\n \"n\":\n 1}\n"));
    folder.file(
        "pipe.toml",
        marked(
            "definition = \"pass.asl.json\"\nsource = { type = \"file\", path = \"events.ndjson\" }\n\
             sink = { type = \"file\", path = \"out.ndjson\" }\n",
        ),
    );
    let events = "{\"n\":1}\n{\"n\":2}\n";
    for (arguments, printed) in [
        (&["run", "pass.asl.json", "--input", "events.ndjson"][..], events),
        (&["run", "pass.asl.yaml", "--input", "event.json"], "{\"n\":1}\n"),
        (&["run", "template.yaml", "--input", "{}"], "{}\n"),
        (&["run", "task.asl.json", "--mock", "mocks.json", "--input", "{}"], "7\n"),
        (&["validate", "pass.asl.yaml"], "pass.asl.yaml: valid, 1 state\n"),
    ] {
        let (code, out, err) = expressway(&folder, arguments);
        assert_eq!((code, &*out), (Some(0), printed), "{arguments:?} {err}");
        assert!(!err.contains("byte order mark"), "{err}");
    }
    for command in ["graph", "dump"] {
        let (code, out, err) = expressway(&folder, &[command, "pass.asl.json"]);
        assert!(code == Some(0) && out.contains('P'), "{command}: {err}");
    }
    let (code, _, err) = expressway(&folder, &["pipe", "pipe.toml"]);
    let written = fs::read_to_string(folder.0.join("out.ndjson")).expect("the outputs");
    assert_eq!((code, &*written), (Some(0), events), "{err}");
    // A deployment that sends the file as it is would be refused.
    let (code, out, err) = expressway(&folder, &["validate", "pass.asl.json"]);
    assert_eq!((code, &*out), (Some(0), "pass.asl.json: valid, 1 state\n"));
    assert_eq!(
        err,
        "note: pass.asl.json begins with a byte order mark, which is left out here: AWS refuses a definition with one\n"
    );
    // Places do not count the mark.
    let (_, out, _) = expressway(&folder, &["validate", "wrong.asl.json"]);
    assert!(out.contains("--> wrong.asl.json:2:2"), "{out}");
}

#[test]
fn utf_16_is_named() {
    let folder = Folder::new("utf16");
    folder.file("pass.asl.json", PASS);
    folder.file("wide.asl.json", utf16(PASS));
    folder.file("wide.asl.yaml", utf16("StartAt: P\n"));
    folder.file("wide.ndjson", utf16("{\"n\":1}\n{\"n\":2}\n"));
    folder.file("wide.toml", utf16("definition = \"pass.asl.json\"\n"));
    for (arguments, said) in [
        (&["validate", "wide.asl.json"][..], "expressway: cannot read wide.asl.json: "),
        (&["run", "wide.asl.yaml", "--input", "{}"], "expressway: cannot read wide.asl.yaml: "),
        (&["run", "pass.asl.json", "--input", "wide.ndjson"], "expressway: cannot read the input: "),
        (&["pipe", "wide.toml"], "expressway: cannot read wide.toml: "),
    ] {
        let (code, out, err) = expressway(&folder, arguments);
        assert_eq!((code, &*out), (Some(2), ""), "{arguments:?} {err}");
        assert!(err.contains(&format!("{said}it is UTF-16: save it as UTF-8")), "{err}");
    }
}
