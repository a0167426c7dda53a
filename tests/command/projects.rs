//! Typical projects: `tests/data/projects.txt` has small ones, and what is expected of each.
//!
//! A line of expectations is a word, arguments, and behind bars the input and the output: `runs` prints exactly that,
//! `fails` and `refused` print it as an error (exit code 1 and 2), `notes` prints it while validating, `silent` does not,
//! `valid` and
//! `invalid` print it, `unread` is told of by validating (exit code 2), and `row` is on a line of `--format json`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::serving::Folder;

/// Exit code, standard output, standard error.
fn expressway(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    let output = command.args(arguments).current_dir(folder).output().expect("an answer");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn check(folder: &Path, at: &str, line: &str) -> Result<(), String> {
    let mut parts = line.splitn(3, '|').map(str::trim);
    let head = parts.next().unwrap_or_default();
    let (word, more) = head.split_once(' ').unwrap_or((head, ""));
    let more: Vec<&str> = more.split_whitespace().collect();
    let rest: Vec<&str> = parts.collect();
    let asked =
        |command: &str, input: &[&str]| expressway(folder, &[&[command, at], input, &more[..]].concat());
    let (code, ok, said) = match (word, &rest[..]) {
        ("runs", [input, output]) => {
            let (code, out, err) = asked("run", &["--input", input]);
            (Some(0) == code, out.trim_end() == *output, format!("{out}{err}"))
        }
        ("fails" | "refused", [input, text]) => {
            let (code, _, err) = asked("run", &["--input", input]);
            (Some(if word == "fails" { 1 } else { 2 }) == code, err.contains(text), err)
        }
        ("notes", [text]) => {
            let (_, _, err) = asked("validate", &[]);
            (true, err.contains(text), err)
        }
        ("silent", [text]) => {
            let (code, out, err) = asked("validate", &[]);
            (Some(0) == code, !format!("{out}{err}").contains(text), format!("{out}{err}"))
        }
        ("unread", [text]) => {
            let (code, _, err) = asked("validate", &[]);
            (Some(2) == code, err.contains(text), err)
        }
        ("row", [text]) => {
            let (_, out, _) = asked("validate", &["--format", "json"]);
            let are_rows = out.lines().all(|row| serde_json::from_str::<serde_json::Value>(row).is_ok());
            (are_rows, out.contains(text), out)
        }
        ("valid" | "invalid", [text]) => {
            let (code, out, err) = asked("validate", &[]);
            (Some(i32::from(word == "invalid")) == code, out.contains(text), format!("{out}{err}"))
        }
        _ => panic!("{line} is not understood"),
    };
    if code && ok { Ok(()) } else { Err(format!("{line}\n{said}")) }
}

#[test]
fn projects_are_read_as_they_are() {
    let all = include_str!("../data/projects.txt");
    let (mut wrong, mut projects) = (Vec::new(), 0);
    for project in all.split("=== ").skip(1) {
        let (title, rest) = project.split_once('\n').expect("a title");
        let folder = Folder::new("projects");
        let (mut at, mut expected) = (".", Vec::new());
        for part in rest.split("--- ").skip(1) {
            let (name, text) = part.split_once('\n').expect("a name");
            if name != "expect" {
                let file = folder.0.join(name);
                fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
                fs::write(file, text).expect("a file");
                continue;
            }
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                match line.strip_prefix("at ") {
                    Some(file) => at = file,
                    None => expected.push(line),
                }
            }
        }
        assert!(!expected.is_empty(), "nothing is expected of {title}");
        for line in expected {
            wrong.extend(check(&folder.0, at, line).err().map(|why| format!("{title}: {why}")));
        }
        projects += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(projects >= 25, "{projects} projects");
}

#[test]
fn graphs_and_tests_of_states_take_projects_too() {
    let folder = Folder::new("projects-more");
    folder.write(
        "template.yaml",
        "Resources:\n  Flow:\n    Type: AWS::Serverless::StateMachine\n    Properties:\n      Definition:\n        \
         StartAt: Hello\n        States:\n          Hello: {Type: Pass, Result: !Ref AWS::Region, End: true}\n",
    );
    let (code, out, err) = expressway(&folder.0, &["graph", "template.yaml", "--format", "mermaid"]);
    assert!(code == Some(0) && out.contains("Hello"), "{out}{err}");
    let (code, out, err) = expressway(&folder.0, &["graph", "template.yaml", "-o", "flow.svg"]);
    assert!(code == Some(0) && out.is_empty(), "{out}{err}");
    assert!(fs::read_to_string(folder.0.join("flow.svg")).expect("the picture").starts_with("<svg"));
    let (code, out, err) = expressway(&folder.0, &["test-state", ".", "--state", "Hello"]);
    assert!(code == Some(0) && out.contains(r#""output": "\"us-east-1\"""#), "{out}{err}");
    let (code, _, err) = expressway(&folder.0, &["test-state", "."]);
    assert!(
        code == Some(2)
            && err.contains("is a whole machine: say which state to test, as with --state \"Hello\""),
        "{err}"
    );
    let (code, _, err) = expressway(&folder.0, &["test-state", ".", "--state", "Hallo"]);
    assert!(code == Some(2) && err.contains("did you mean `Hello`?"), "{err}");
}

#[test]
fn all_commands_tell_of_a_machine_that_cannot_be_read_and_take_the_others() {
    let folder = Folder::new("projects-unread");
    folder.write(
        "template.yaml",
        "Resources:\n  Flow:\n    Type: AWS::Serverless::StateMachine\n    Properties: {Definition: {StartAt: P, \
         States: {P: {Type: Pass, End: true}}}}\n  Away:\n    Type: AWS::Serverless::StateMachine\n    Properties:\n      \
         DefinitionUri: s3://artifacts/0a1b\n",
    );
    let told =
        "the state machine Away cannot be read: ./template.yaml:8: Resources/Away/Properties/DefinitionUri: ";
    let commands: [&[&str]; 5] = [
        &["run", ".", "--input", "{}"],
        &["validate", "."],
        &["graph", "."],
        &["dump", "."],
        &["test-state", ".", "--state", "P"],
    ];
    for command in commands {
        let (code, _, err) = expressway(&folder.0, &[command, &["--machine", "Flow"]].concat());
        let is_told = err.contains(&format!("note: {told}"));
        assert!(code == Some(0) && is_told, "{command:?}: {code:?} {err}");
        let (code, out, err) = expressway(&folder.0, &[command, &["--machine", "Away"]].concat());
        assert!(code == Some(2) && out.is_empty() && err.contains(told), "{command:?}: {code:?} {out}{err}");
    }
    let (code, _, err) =
        expressway(&folder.0, &["serve", "--port", "0", "--project", ".", "--machine", "Away"]);
    assert!(code == Some(2) && err.contains(told), "{code:?} {err}");
}

/// A few lines that stand for a thousand times as much, again and again, are refused instead of computed.
#[test]
fn projects_that_stand_for_too_much_are_refused() {
    let pass = r#"{StartAt: P, States: {P: {Type: Pass, End: true, Comment: "${self:custom.a11}"}}}"#;
    let laughs: String = (1..12)
        .map(|n| format!("  a{n}: \"{}\"\n", format!("${{self:custom.a{}}}", n - 1).repeat(10)))
        .collect();
    let serverless = format!(
        "service: s\nprovider: {{name: aws}}\ncustom:\n  a0: lollollol\n{laughs}stepFunctions:\n  stateMachines:\n    m:\n\
         \x20     definition: {pass}\n"
    );
    let terraform = |locals: &str| {
        format!(
            "locals {{\n{locals}\n}}\nresource \"aws_sfn_state_machine\" \"m\" {{\n  name = \"m\"\n  role_arn = \"r\"\n  \
             definition = jsonencode({{StartAt = \"P\", States = {{P = {{Type = \"Pass\", End = true, Result = local.b}}}}}})\n}}\n"
        )
    };
    let list: String =
        (1..12).map(|n| format!("a{n} = [{}]\n", vec![format!("local.a{}", n - 1); 10].join(", "))).collect();
    let modules: String = (0..10).map(|n| format!("module \"m{n}\" {{ source = \"./again\" }}\n")).collect();
    for (file, text, why) in [
        ("serverless.yml", serverless, "stand for more than 64 MiB"),
        (
            "main.tf",
            terraform(
                "a = range(1000)\nb = [for x in local.a : [for y in local.a : [for z in local.a : z]]]",
            ),
            "stand for more than 64 MiB",
        ),
        ("main.tf", terraform(&format!("a0 = [\"lol\"]\n{list}b = local.a11")), "stand for more than 64 MiB"),
        ("main.tf", modules, "more than 1000 modules"),
    ] {
        let folder = Folder::new("too-much");
        fs::write(folder.0.join(file), &text).expect("a file");
        if file == "main.tf" {
            // Each of these modules has those below it.
            let mut below = folder.0.join("again");
            for _ in 0..5 {
                fs::create_dir_all(&below).expect("a folder");
                fs::write(below.join("main.tf"), text.as_bytes()).expect("a file");
                below = below.join("again");
            }
        }
        let (code, out, err) = expressway(&folder.0, &["validate", "."]);
        assert!(code != Some(0) && format!("{out}{err}").contains(why), "{file}: {code:?} {out}{err}");
    }
}
