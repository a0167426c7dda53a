//! The shapes of 58 machines that people have deployed and that were refused once (`tests/data/deployed.json`): what each
//! needs, and what it gives with its mocks. Five are templates whose placeholders must be named. `tests/integrations/shapes.rs`
//! runs those whose services moto has.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Map, Value as Json, json};

use crate::server::{Asked, Says, Server, answer};
use crate::serving::{Folder, Serving};

fn shapes() -> Vec<Json> {
    serde_json::from_str(include_str!("../data/deployed.json")).expect("JSON")
}

fn text(row: &Json, name: &str) -> String {
    row[name].as_str().expect(name).to_owned()
}

/// How many need what: as counted of the deployed machines.
#[test]
fn they_need_what_the_deployed_ones_need() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let shapes = shapes();
    for need in shapes.iter().flat_map(|row| row["needs"].as_array().expect("needs")) {
        *counts.entry(need.as_str().expect("a name").to_owned()).or_default() += 1;
    }
    let expected = [
        ("Distributed Map", 16),
        ("ItemBatcher", 9),
        ("ItemReader", 3),
        ("aws-sdk:bedrockagentcore", 1),
        ("aws-sdk:cloudwatchlogs", 1),
        ("aws-sdk:glue", 3),
        ("aws-sdk:s3", 6),
        ("batch:submitJob.sync", 2),
        ("bedrock:invokeModel", 17),
        ("codebuild:startBuild", 1),
        ("codebuild:startBuild.sync", 2),
        ("ecs:runTask.sync", 7),
        ("ecs:runTask.waitForTaskToken", 4),
        ("emr-serverless:startJobRun.sync", 1),
        ("glue:startJobRun.sync", 4),
        ("items", 13),
    ];
    assert_eq!(counts, expected.map(|(name, count)| (name.to_owned(), count)).into_iter().collect());
    assert_eq!(shapes.len(), 58);
}

fn listed(key: &str) -> String {
    let time = "2026-01-31T00:00:00.000Z";
    format!("<Contents><Key>{key}</Key><Size>1</Size><LastModified>{time}</LastModified></Contents>")
}

/// The bucket that those with a reader or a writer name.
fn bucket(asked: &Asked) -> Says {
    let objects = [("/shapes/rows.csv", "text\na\nb\n"), ("/shapes/lines.jsonl", "1\n2\n3\n")];
    let path = asked.target.split('?').next().expect("a path");
    match (asked.method.as_str(), objects.iter().find(|(name, _)| *name == path)) {
        ("GET", Some((_, object))) => {
            let range = format!("bytes 0-{}/{}", object.len() - 1, object.len());
            answer(206, &[("ETag", "\"e\""), ("Content-Range", &range)], *object)
        }
        ("GET", None) => answer(
            200,
            &[("Content-Type", "application/xml")],
            format!("<ListBucketResult>{}</ListBucketResult>", ["in/a", "in/b"].map(listed).concat()),
        ),
        ("PUT", _) => answer(200, &[("ETag", "\"e\"")], ""),
        (method, _) => answer(405, &[], method),
    }
}

#[test]
fn each_is_accepted_and_runs_to_its_end_with_mocks() {
    let shapes = shapes();
    let (mut machines, mut responses) = (Map::new(), Map::new());
    for row in &shapes {
        let name = text(row, "name");
        let mut states = Map::new();
        for (state, answers) in row["mocks"].as_object().expect("mocks") {
            let response = format!("{name} {state}");
            let answers = answers.as_array().expect("answers").iter().enumerate();
            responses.insert(
                response.clone(),
                answers.map(|(n, it)| (n.to_string(), it.clone())).collect::<Map<_, _>>().into(),
            );
            states.insert(state.clone(), response.into());
        }
        machines.insert(name, json!({"TestCases": {"All": states}}));
    }
    let folder = Folder::new("deployed");
    let mocks = json!({"StateMachines": machines, "MockedResponses": responses}).to_string();
    let mocks = folder.file("mocks.json", mocks);
    let s3 = Server::start(bucket);
    let endpoint = format!("S3={}", s3.url());
    let serving =
        Serving::start(&["--mock-config", &mocks, "--endpoint", &endpoint, "--testing", "--time-scale", "0"]);
    let ask = |operation: &str, request: &Json| -> Result<Json, String> {
        let (status, body) = serving.ask(operation, &request.to_string());
        if status == 200 { Ok(serde_json::from_str(&body).expect("JSON")) } else { Err(body) }
    };
    let create = |name: &str, row: &Json, kind: &str| {
        let request = json!({"name": name, "type": kind, "definition": row["definition"].to_string(),
            "roleArn": "arn:aws:iam::123456789012:role/r"});
        ask("CreateStateMachine", &request).map(|created| text(&created, "stateMachineArn"))
    };
    let mut running = Vec::new();
    for row in shapes.iter().filter(|row| row.get("placeholders").is_none()) {
        let name = text(row, "name");
        let arn = create(&name, row, "STANDARD").unwrap_or_else(|why| panic!("{name}: {why}"));
        let input = row["input"].to_string();
        let request = json!({"stateMachineArn": format!("{arn}#All"), "input": input});
        let started = ask("StartExecution", &request).unwrap_or_else(|why| panic!("{name}: {why}"));
        running.push((name.clone(), text(&started, "executionArn"), &row["output"]));
        // As Express where AWS would take it: others wait for something, or have a Distributed Map.
        let express = create(&format!("{name}-express"), row, "EXPRESS");
        assert_eq!(express.is_ok(), row["express"] == true, "{name} as Express: {express:?}");
    }
    for (name, arn, output) in running {
        let ended = loop {
            let described = ask("DescribeExecution", &json!({"executionArn": arn})).expect("an execution");
            if described["status"] != "RUNNING" {
                break described;
            }
        };
        assert_eq!(ended["status"], "SUCCEEDED", "{name}: {ended}");
        let shown: Json = serde_json::from_str(&text(&ended, "output")).expect("JSON");
        assert_eq!(shown, *output, "{name}");
    }
}

#[test]
fn the_placeholders_of_templates_are_named() {
    let folder = Folder::new("templates");
    let templates = shapes().into_iter().filter(|row| row.get("placeholders").is_some());
    let templates: Vec<Json> = templates.collect();
    assert_eq!(templates.len(), 5);
    for row in templates {
        let file = folder.file("template.asl.json", row["definition"].to_string());
        let validate = |more: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
            let output = command.args(["validate", "--type", "standard", &file]).args(more).output();
            let output = output.expect("an answer");
            (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
        };
        let (code, shown) = validate(&[]);
        assert_eq!(code, Some(1), "{}: {shown}", row["name"]);
        for hole in row["placeholders"].as_array().expect("names") {
            let hole = hole.as_str().expect("a name");
            let named = format!("the placeholder `${{{hole}}}` was not replaced");
            assert!(shown.contains(&named), "{}: {shown}", row["name"]);
        }
    }
}

/// AWS refuses it, and so it is here without the flag, which the refusal names.
#[test]
fn an_express_machine_may_have_distributed_maps_if_asked() {
    let maps = json!({"StartAt": "M", "States": {"M": {"Type": "Map", "End": true, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
        "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}}}});
    let request = json!({"name": "maps", "type": "EXPRESS", "definition": maps.to_string(),
        "roleArn": "arn:aws:iam::123456789012:role/r"});
    let (status, body) = Serving::start(&[]).ask("CreateStateMachine", &request.to_string());
    assert!(status == 400 && body.contains("is not supported inside 'EXPRESS' state machines"), "{body}");
    let serving = Serving::start(&["--express-maps"]);
    let (status, body) = serving.ask("CreateStateMachine", &request.to_string());
    assert_eq!(status, 200, "{body}");
    let created: Json = serde_json::from_str(&body).expect("JSON");
    let request = json!({"stateMachineArn": created["stateMachineArn"], "input": "[1,2]"});
    let (_, body) = serving.ask("StartSyncExecution", &request.to_string());
    assert!(body.contains(r#""output":"[1,2]""#), "{body}");

    let folder = Folder::new("express-maps");
    let file = folder.file("maps.asl.json", maps.to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    let output = command.args(["validate", "--type", "express", &file]).output().expect("an answer");
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(shown.contains("here `serve --express-maps`"), "{shown}");
}
