//! `expressway serve`, `env` and `hosts` through the binary.

#![cfg(feature = "cli")]

use std::fs;

// Each test takes what it needs of it.
#[allow(dead_code)]
mod serving;

use serving::{Folder, Serving, expressway};

fn pass(result: &str) -> String {
    format!(r#"{{"StartAt": "P", "States": {{"P": {{"Type": "Pass", "Result": "{result}", "End": true}}}}}}"#)
}

const ORDERS: &str = r#"{"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:orders"}"#;

#[test]
fn definitions_are_loaded_and_followed() {
    let folder = Folder::new("definitions");
    folder.write("orders.asl.json", &pass("first"));
    folder.write("broken.asl.json", "{");
    folder
        .write("bills.asl.yaml", "# comments are fine\nStartAt: P\nStates:\n  P: {Type: Pass, End: true}\n");
    folder.write("notes.txt", "not a definition");
    let mut serving = Serving::start(&["--definitions", folder.0.to_str().expect("UTF-8")]);
    assert!(serving.start.contains("orders: created from "), "{}", serving.start);
    assert!(serving.start.contains("bills: created from "), "{}", serving.start);
    assert!(serving.start.contains("broken.asl.json is refused"), "{}", serving.start);
    assert!(serving.start.contains("not durable"), "{}", serving.start);
    let output = |serving: &Serving, expected: &str| {
        let (status, body) = serving.ask("StartSyncExecution", ORDERS);
        assert_eq!(status, 200, "{body}");
        assert!(body.contains(&format!(r#""output":"\"{expected}\"""#)), "{body}");
    };
    output(&serving, "first");
    folder.write("orders.asl.json", &pass("the second"));
    assert!(serving.line().contains("orders: updated from "));
    output(&serving, "the second");
    // A broken file changes nothing.
    folder.write("orders.asl.json", r#"{"StartAt": "Nowhere", "States": {}}"#);
    let line = serving.line();
    assert!(line.contains("orders.asl.json is refused, nothing changes"), "{line}");
    output(&serving, "the second");
    fs::remove_file(folder.0.join("orders.asl.json")).expect("a file to remove");
    assert!(serving.line().contains("is gone; the machine stays"));
    output(&serving, "the second");
    let (code, rest) = serving.stop();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("4 requests answered"), "{rest}");
}

#[test]
fn others_are_let_in_with_keys_or_on_purpose_only() {
    let refused = |arguments: &[&str]| {
        let output =
            expressway().args(["serve", "--port", "0"]).args(arguments).output().expect("the command");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    assert!(refused(&["--host", "0.0.0.0"]).contains("--auth"));
    assert!(refused(&["--host", "::"]).contains("--insecure"));
    let folder = Folder::new("keys");
    let broken = folder.write("broken.json", r#"{"keys": []}"#);
    assert!(refused(&["--auth", broken.to_str().expect("UTF-8")]).contains("there is no key in it"));
    assert!(refused(&["--tls-cert", "none.pem", "--tls-key", "none.pem"]).contains("none.pem"));
    let serving = Serving::start(&["--host", "0.0.0.0", "--insecure"]);
    assert_eq!(serving.ask("ListActivities", "{").0, 400);
    let keys = folder.write(
        "keys.json",
        r#"{"keys": [{"accessKeyId": "K", "secretAccessKey": "s",
            "allow": [{"actions": ["*"], "resources": ["*"]}]}]}"#,
    );
    let serving = Serving::start(&["--auth", keys.to_str().expect("UTF-8")]);
    let (status, body) = serving.ask("ListActivities", "{}");
    assert_eq!(status, 400);
    assert!(body.contains("MissingAuthenticationTokenException"), "{body}");
}

#[test]
fn the_account_the_region_and_the_types_are_chosen() {
    let serving = Serving::start(&["--account", "111111111111", "--region", "eu-west-1", "--express-only"]);
    let definition = pass("x").replace('"', "\\\"");
    let create = |kind: &str| {
        let request = format!(
            r#"{{"name": "orders", "roleArn": "arn:aws:iam::111111111111:role/r", "type": "{kind}",
                "definition": "{definition}"}}"#
        );
        serving.ask("CreateStateMachine", &request)
    };
    let (status, body) = create("EXPRESS");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("arn:aws:states:eu-west-1:111111111111:stateMachine:orders"), "{body}");
    assert_eq!(create("STANDARD").0, 400);
}

#[test]
fn the_environment_is_printed_for_shells() {
    let print = |shell: &str| {
        let output =
            expressway().args(["env", "--port", "9000", "--shell", shell]).output().expect("the command");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let text = print("sh");
    assert!(text.contains("export AWS_ENDPOINT_URL_SFN=http://localhost:9000\n"), "{text}");
    assert!(text.contains("export AWS_DISABLE_HOST_PREFIX_INJECTION=true\n"), "{text}");
    assert!(print("fish").contains("set -gx AWS_ENDPOINT_URL_SFN "));
    assert!(print("powershell").contains("$env:AWS_ENDPOINT_URL_SFN = "));
    assert!(print("dotenv").lines().all(|line| line.starts_with("AWS_")));
}

#[test]
fn the_line_of_hosts_is_written_once() {
    let folder = Folder::new("hosts");
    let file = folder.write("hosts", "127.0.0.1 localhost\n# sync-localhost is not here yet");
    let install = |file: &std::path::Path| {
        let output = expressway().args(["hosts", "--install", "--file"]).arg(file).output();
        let output = output.expect("the command");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let expected = "127.0.0.1 localhost\n# sync-localhost is not here yet\n127.0.0.1 sync-localhost\n";
    for _ in 0..2 {
        assert_eq!(install(&file).0, Some(0));
        assert_eq!(fs::read_to_string(&file).expect("the file"), expected);
    }
    let (code, text) = install(&folder.0.join("none/hosts"));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("cannot be written"), "{text}");
    let printed = expressway().arg("hosts").output().expect("the command");
    assert_eq!(printed.stdout, b"127.0.0.1 sync-localhost\n");
}
