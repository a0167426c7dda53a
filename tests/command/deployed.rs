//! `serve --definitions` with files and projects.

use std::fs;

use crate::serving::{Folder, Serving};

fn pass(result: &str) -> String {
    format!(r#"{{"StartAt": "P", "States": {{"P": {{"Type": "Pass", "Result": "{result}", "End": true}}}}}}"#)
}

#[test]
fn a_project_is_served_and_told_where_its_tasks_go() {
    let folder = Folder::new("project");
    folder.write(
        "template.yaml",
        "Resources:\n  Charge: {Type: AWS::Serverless::Function}\n  Orders:\n    Type: AWS::Serverless::StateMachine\n    \
         Properties:\n      Type: EXPRESS\n      Definition:\n        StartAt: Hello\n        States:\n          \
         Hello: {Type: Pass, Result: hello, Next: Charge}\n          \
         Charge: {Type: Task, Resource: !GetAtt Charge.Arn, Next: Send}\n          \
         Send: {Type: Task, Resource: 'arn:aws:states:::sqs:sendMessage', Parameters: {QueueUrl: q, MessageBody: m}, End: true}\n",
    );
    let serving = Serving::start(&[
        "--definitions",
        folder.0.to_str().expect("UTF-8"),
        "--endpoint",
        "Lambda=http://127.0.0.1:3001",
    ]);
    for line in [
        "Orders: created from ",
        "arn:aws:lambda:us-east-1:123456789012:function:Charge → http://127.0.0.1:3001 (Charge)",
        "arn:aws:states:::sqs:sendMessage → AWS in us-east-1 (AWS_ENDPOINT_URL_SQS sets another place) (Send)",
        "tasks of LAMBDA go to http://127.0.0.1:3001 (--endpoint)",
    ] {
        assert!(serving.start.contains(line), "{line} is missing in: {}", serving.start);
    }
    let (status, body) = serving.ask("ListStateMachines", "{}");
    assert!(status == 200 && body.contains("stateMachine:Orders"), "{body}");
}

#[test]
fn files_and_projects_are_served_together_and_what_is_refused_is_shown() {
    let folder = Folder::new("several");
    let one = folder.write("one.asl.json", &pass("${word} there"));
    let sam = folder.0.join("sam");
    fs::create_dir_all(&sam).expect("a folder");
    let template = "Resources:
  Good:
    Type: AWS::Serverless::StateMachine
    Properties: {Definition: {StartAt: P, States: {P: {Type: Pass, End: true}}}}
  Bad:
    Type: AWS::Serverless::StateMachine
    Properties:
      Definition: {StartAt: T, States: {T: {Type: Task, Parameters: {}, End: true, Resource: 'arn:aws:states:::aws-sdk:codecatalyst:listSpaces'}}}
  Away:
    Type: AWS::Serverless::StateMachine
    Properties: {DefinitionUri: 's3://artifacts/0a1b'}
";
    fs::write(sam.join("template.yaml"), template).expect("a file");
    // `validate` only warns of this one.
    let handler =
        r#"{"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "handler", "End": true}}}"#;
    let two = folder.write("two.asl.json", handler);
    let definitions = [&one, &two, &sam].map(|path| ["--definitions", path.to_str().expect("UTF-8")]);
    let mut serving = Serving::start(&[&definitions.concat()[..], &["--substitute", "word=hello"]].concat());
    let start = &serving.start;
    for line in [
        "one: created from ",
        "Good: created from ",
        "two.asl.json is refused, and nothing is changed:\nwarning[EXTENSION]: AWS refuses the resource handler",
        "InvalidDefinition: Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: Value is not a valid resource ARN at /States/T/Resource'",
        "Bad is refused:",
        "error[NOT_RUN_HERE]",
        "^^^^^^",
        "expressway: the state machine Away cannot be read: ",
        "template.yaml:11: Resources/Away/Properties/DefinitionUri: the definition is in S3 (s3://artifacts/0a1b)",
    ] {
        assert!(start.contains(line), "{line} is missing in: {start}");
    }
    let arn = r#"{"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:one"}"#;
    let (status, body) = serving.ask("StartSyncExecution", arn);
    assert!(status == 200 && body.contains("hello there"), "{body}");
    folder.write("one.asl.json", &pass("${word} again"));
    let line = serving.line();
    assert!(line.contains("one: updated from "), "{line}");
    let (_, body) = serving.ask("StartSyncExecution", arn);
    assert!(body.contains("hello again"), "{body}");
}

#[test]
fn files_of_one_name_do_not_replace_each_other() {
    let folder = Folder::new("twins");
    folder.write("orders.asl.json", &pass("json"));
    folder.write("orders.asl.yaml", &pass("yaml"));
    folder.write("bills.asl.json", &format!("\u{feff}{}", pass("bills")));
    let mut serving = Serving::start(&["--definitions", folder.0.to_str().expect("UTF-8")]);
    let twin = "orders.asl.yaml is refused, and nothing is changed: the state machine orders is that of ";
    let file = "orders.asl.json: give the file another name";
    assert!(serving.start.contains(twin) && serving.start.contains(file), "{}", serving.start);
    assert!(serving.start.contains("bills: created from "), "a byte order mark: {}", serving.start);
    let orders = r#"{"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:orders"}"#;
    let output = |serving: &Serving, expected: &str| {
        let (status, body) = serving.ask("StartSyncExecution", orders);
        assert!(status == 200 && body.contains(&format!(r#""output":"\"{expected}\"""#)), "{body}");
    };
    output(&serving, "json");
    // The other one takes its place once it is alone.
    fs::remove_file(folder.0.join("orders.asl.json")).expect("a file to remove");
    let said = [serving.line(), serving.line()].concat();
    assert!(said.contains("orders: updated from ") || said.contains("orders: created from "), "{said}");
    output(&serving, "yaml");
}
