//! Executions recorded on AWS, played through the API with their histories: the machine is created, started with a test
//! case of a mock configuration, described, and its history read. Known differences are in `tests/known/played.txt`,
//! each with its reason.

use std::collections::BTreeMap;
use std::path::PathBuf;

use expressway::runtime::Builder;
use expressway::task::{Attempt, TaskError};
use serde_json::{Map, Value as Json, json};

use super::client::{Client, ROLE};
use crate::corpora::{self, Report};
use crate::recorded::{self, Flat, Run};
use crate::required::step;

/// A moment after all past timestamps in the corpus and before the future ones.
const BEGIN_MS: u64 = 1_730_720_466_123;
const YEAR_MS: u64 = 366 * 86_400_000;

#[test]
fn recorded_executions_through_the_api() {
    play("execution.jsonl");
}

#[test]
fn recorded_executions_of_2026_through_the_api() {
    play("execution-2026.jsonl");
}

fn play(file: &'static str) {
    let Some(cases) = corpora::recorded(file) else { return };
    let is_2026 = file.contains("2026");
    let known: String = (include_str!("../known/played.txt").lines())
        .filter(|line| line.starts_with("tiny-asl-machine/") == is_2026)
        .map(|line| format!("{line}\n"))
        .collect();
    let mut report = Report::new(file, &known);
    let mut left_outs: BTreeMap<&str, usize> = BTreeMap::new();
    let filter = std::env::var("EXPRESSWAY_CASE").ok();
    // Other drivers run them all.
    let every = if filter.is_some() { 1 } else { step(4) };
    for (n, case) in cases.iter().enumerate() {
        let id = case["id"].as_str().unwrap_or_default();
        if n % every != 0 && !report.is_known(id) {
            continue;
        }
        if filter.as_ref().is_some_and(|filter| !id.contains(&**filter)) {
            continue;
        }
        if let Some(why) = recorded::left_out(case).or_else(|| left_out(case)) {
            *left_outs.entry(why).or_default() += 1;
            continue;
        }
        let mocks = MockFile::new(file, n, case);
        let outcome = run(case, &mocks.0).and_then(|run| recorded::compare(case, &run));
        report.case(id, outcome.map_err(|why| why.chars().take(1_500).collect()));
    }
    println!("{file}: left out {left_outs:?}");
    if filter.is_none() {
        report.finish();
    } else {
        report.show();
    }
}

/// Why a case cannot be played through the API.
fn left_out(case: &Json) -> Option<&'static str> {
    let concurrent = case["flags"].as_array().is_some_and(|flags| flags.contains(&"concurrent".into()));
    let mut mocks = case["mocks"].as_object().into_iter().flatten().map(|(_, mocks)| mocks.as_array());
    if concurrent && mocks.any(|mocks| mocks.is_some_and(|mocks| mocks.len() > 1)) {
        return Some("which branch or iteration is mocked how depends on what it is given");
    }
    (case["machine_type"] == "EXPRESS" && case["expected"].get("sync_response").is_none())
        .then_some("nobody hears of an Express execution that is not waited for")
}

/// The mock configuration of a case, as a file.
struct MockFile(PathBuf);

impl Drop for MockFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl MockFile {
    fn new(file: &str, n: usize, case: &Json) -> MockFile {
        let (mut states, mut responses) = (Map::new(), Map::new());
        for (state, mocks) in case["mocks"].as_object().into_iter().flatten() {
            if is_activity(mocks) || is_silent(mocks) {
                continue;
            }
            let answers = mocks.as_array().into_iter().flatten().enumerate().map(answer);
            responses.insert(state.clone(), answers.collect::<Map<_, _>>().into());
            states.insert(state.clone(), state.clone().into());
        }
        let name = format!("expressway-played-{file}-{n}-{}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        let machine = machine_name(case);
        let text = json!({
            "StateMachines": {machine: {"TestCases": {"Recorded": states}}},
            "MockedResponses": responses,
        })
        .to_string();
        std::fs::write(&path, text).expect("a file for mocks");
        MockFile(path)
    }
}

fn answer((n, mock): (usize, &Json)) -> (String, Json) {
    let key = if mock["repeat"] == true { format!("{n}-9999") } else { n.to_string() };
    let mut answer = match mock.get("throw") {
        Some(thrown) => {
            let named = [("Error", "error"), ("Cause", "cause")];
            let members = named
                .into_iter()
                .filter_map(|(name, from)| Some((name.to_owned(), thrown.get(from)?.clone())));
            json!({"Throw": members.collect::<Map<_, _>>()})
        }
        None => json!({"Return": mock["return"]}),
    };
    if let Some(response) = mock.get("submitted") {
        answer["Submitted"] = response.clone();
    }
    (key, answer)
}

fn machine_name(case: &Json) -> String {
    let name = case["context"]["state_machine_name"].as_str().filter(|name| !name.is_empty());
    name.unwrap_or("machine").to_owned()
}

fn is_activity(mocks: &Json) -> bool {
    mocks[0]["resource"].as_str().is_some_and(|resource| resource.contains(":activity:"))
}

/// Whether nothing is ever heard of the state's tasks.
fn is_silent(mocks: &Json) -> bool {
    let is_silent = |mock: &Json| mock["timed_out"] == true || mock["hang"] == true;
    mocks.as_array().is_some_and(|mocks| mocks.iter().all(is_silent))
}

/// Does the tasks of states that nothing is ever heard of: the service has taken them on at most.
fn silent(builder: Builder, case: &Json) -> Builder {
    let mut resources = Vec::new();
    let submitted: BTreeMap<String, Json> = (case["mocks"].as_object().into_iter().flatten())
        .filter(|(_, mocks)| is_silent(mocks) && !is_activity(mocks))
        .map(|(state, mocks)| (state.clone(), mocks[0]["submitted"].clone()))
        .collect();
    collect_resources(&case["definition"], &submitted, &mut resources);
    resources.into_iter().fold(builder, |builder, resource| {
        let submitted = submitted.clone();
        builder.task_with(resource, move |_: Json, attempt: Attempt| {
            let response = submitted.get(attempt.state()).cloned().unwrap_or_default();
            async move {
                match response {
                    Json::Null => std::future::pending().await,
                    response => Ok::<Json, TaskError>(response),
                }
            }
        })
    })
}

fn collect_resources(definition: &Json, states: &BTreeMap<String, Json>, found: &mut Vec<String>) {
    match definition {
        Json::Object(members) => members.iter().for_each(|(name, value)| {
            if states.contains_key(name)
                && let Some(resource) = value["Resource"].as_str()
            {
                found.push(resource.to_owned());
            }
            collect_resources(value, states, found);
        }),
        Json::Array(items) => items.iter().for_each(|item| collect_resources(item, states, found)),
        _ => {}
    }
}

fn run(case: &Json, mocks: &std::path::Path) -> Result<Run, String> {
    let mut client =
        Client::at(BEGIN_MS, |builder| builder.mock_config(mocks).engine(|engine| silent(engine, case)));
    let activities: Vec<&Json> = (case["mocks"].as_object().into_iter().flatten())
        .filter(|(_, mocks)| is_activity(mocks))
        .flat_map(|(_, mocks)| mocks.as_array().into_iter().flatten())
        .collect();
    for activity in &activities {
        let arn = activity["resource"].as_str().unwrap_or_default();
        client.ok("CreateActivity", &json!({"name": arn.rsplit(':').next()}));
    }
    let definition = match &case["definition"] {
        Json::String(text) => text.clone(),
        definition => definition.to_string(),
    };
    let is_express = case["machine_type"] == "EXPRESS";
    let request = json!({"name": machine_name(case), "definition": definition,
        "roleArn": case["context"]["role_arn"].as_str().filter(|role| !role.is_empty()).unwrap_or(ROLE),
        "type": if is_express { "EXPRESS" } else { "STANDARD" }});
    let refused = |why| format!("refused: {why:?}");
    let created = client.call("CreateStateMachine", &request).map_err(refused)?;
    let machine = created["stateMachineArn"].as_str().unwrap_or_default();
    let mut request =
        json!({"stateMachineArn": format!("{machine}#Recorded"), "input": case["input"].to_string()});
    if let Some(name) = case["context"]["execution_name"].as_str().filter(|name| !name.is_empty()) {
        request["name"] = name.into();
    }
    if is_express {
        return Ok(ended(&client.call("StartSyncExecution", &request).map_err(refused)?, Vec::new()));
    }
    let started = client.call("StartExecution", &request).map_err(refused)?;
    let this = json!({"executionArn": started["executionArn"]});
    client.settle();
    activities.iter().for_each(|activity| work(&mut client, case, activity));
    if case["expected"]["status"] == "ABORTED" {
        let mut request = this.clone();
        for member in ["error", "cause"].iter().filter(|member| !case["expected"][**member].is_null()) {
            request[*member] = case["expected"][*member].clone();
        }
        client.ok("StopExecution", &request);
    }
    client.pass(YEAR_MS);
    let history = client.history(&started["executionArn"]).iter().map(flat).collect();
    Ok(ended(&client.ok("DescribeExecution", &this), history))
}

/// Does a task of an activity.
fn work(client: &mut Client, case: &Json, activity: &Json) {
    let history = case["expected"]["history"].as_array().into_iter().flatten();
    let worker = history.filter_map(|event| event.get("workerName")).next();
    let mut request = json!({"activityArn": activity["resource"]});
    if let Some(worker) = worker {
        request["workerName"] = worker.clone();
    }
    let task = client.ok("GetActivityTask", &request);
    let token = &task["taskToken"];
    match (activity.get("return"), &activity["throw"]) {
        _ if activity["timed_out"] == true => {}
        (Some(output), _) => {
            client.ok("SendTaskSuccess", &json!({"taskToken": token, "output": output.to_string()}));
        }
        (None, thrown) => {
            let request = json!({"taskToken": token, "error": thrown["error"], "cause": thrown["cause"]});
            client.ok("SendTaskFailure", &request);
        }
    }
    client.settle();
}

fn ended(described: &Json, history: Vec<Flat>) -> Run {
    let text = |member: &str| described[member].as_str().map(str::to_owned);
    let statuses = ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "RUNNING"];
    Run {
        status: statuses.into_iter().find(|status| described["status"] == *status).expect("a status"),
        output: text("output").map(|output| serde_json::from_str(&output).expect("JSON")),
        error: text("error"),
        cause: text("cause"),
        history,
        logged: None,
    }
}

/// An event of the API as the corpus writes it.
fn flat(event: &Json) -> Flat {
    let mut flat = Flat::new();
    for (name, value) in event.as_object().expect("an event") {
        match (&**name, value) {
            ("timestamp", _) => {}
            ("previousEventId", value) => drop(flat.insert("prev".to_owned(), value.clone())),
            (_, Json::Object(details)) => flat.extend(details.iter().filter_map(detail)),
            (name, value) => drop(flat.insert(name.to_owned(), value.clone())),
        }
    }
    flat
}

fn detail((name, value): (&String, &Json)) -> Option<(String, Json)> {
    let parse = |value: &Json| -> Json { serde_json::from_str(value.as_str().expect("text")).expect("JSON") };
    let value = match &**name {
        "roleArn" | "region" => return None,
        name if name.ends_with("Details") => return None,
        "input" | "output" | "parameters" => parse(value),
        "assignedVariables" => {
            let members = value.as_object().expect("variables").iter();
            members.map(|(name, value)| (name.clone(), parse(value))).collect::<Map<_, _>>().into()
        }
        _ => value.clone(),
    };
    Some((name.clone(), value))
}
