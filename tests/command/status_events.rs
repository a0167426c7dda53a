//! What AWS sends to EventBridge when the status of an execution changes: `serve --status-events`.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use crate::durable;
use crate::server::{Asked, Server, answer};
use crate::serving::{Folder, Serving, expressway};

const ROLE: &str = "arn:aws:iam::123456789012:role/r";

fn ask(serving: &Serving, operation: &str, request: &Json) -> Json {
    let (status, body) = serving.ask(operation, &request.to_string());
    assert_eq!(status, 200, "{operation}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

fn arn(kind: &str, name: &str) -> String {
    format!("arn:aws:states:us-east-1:123456789012:{kind}:{name}")
}

fn create(serving: &Serving, name: &str, kind: &str, states: &Json) {
    let definition = json!({"StartAt": "A", "States": states}).to_string();
    let request = json!({"name": name, "definition": definition, "roleArn": ROLE, "type": kind});
    ask(serving, "CreateStateMachine", &request);
}

fn start(serving: &Serving, machine: &str, name: &str, input: &str) {
    let request = json!({"stateMachineArn": arn("stateMachine", machine), "name": name, "input": input});
    ask(serving, "StartExecution", &request);
}

/// A bus that accepts or refuses entries as configured, and records accepted ones, by execution.
type Taken = Arc<Mutex<BTreeMap<String, Vec<Json>>>>;

fn bus(refuses: impl Fn(usize, &Json) -> bool + Send + Sync + 'static) -> (Server, Taken) {
    let taken = Taken::default();
    let (keeps, requests) = (Arc::clone(&taken), Mutex::new(0));
    let server = Server::start(move |asked: &Asked| {
        let mut request = requests.lock().expect("a number");
        *request += 1;
        if *request == 1 {
            return answer(503, &[], r#"{"__type": "ServiceUnavailable"}"#);
        }
        assert_eq!(asked.headers["x-amz-target"], "AWSEvents.PutEvents");
        let entries = asked.json()["Entries"].as_array().expect("entries").clone();
        let mut answers = Vec::new();
        for entry in entries {
            let detail: Json =
                entry["Detail"].as_str().and_then(|it| serde_json::from_str(it).ok()).expect("JSON");
            if refuses(*request, &detail) {
                answers.push(json!({"ErrorCode": "InternalFailure", "ErrorMessage": "later"}));
                continue;
            }
            assert_eq!(entry["Resources"], json!([detail["executionArn"]]));
            assert_eq!((&entry["Source"], &entry["EventBusName"]), (&json!("aws.states"), &json!("default")));
            assert_eq!(entry["DetailType"], "Step Functions Execution Status Change");
            let name = detail["name"].as_str().expect("a name").to_owned();
            keeps.lock().expect("the map").entry(name).or_default().push(detail);
            answers.push(json!({"EventId": "e"}));
        }
        answer(200, &[], json!({"FailedEntryCount": 0, "Entries": answers}).to_string())
    });
    (server, taken)
}

#[test]
fn changes_of_status_arrive_at_the_bus_in_order_however_it_stumbles() {
    // Each second request refuses those whose names end with an odd digit.
    let (server, taken) = bus(|request, detail| {
        let name = detail["name"].as_str().expect("a name");
        request % 2 == 1 && name.ends_with(['1', '3', '5', '7', '9'])
    });
    let mut command = expressway();
    command.envs([("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")]);
    let endpoint = format!("EventBridge={}", server.url());
    let serving = Serving::start_with(command, &["--status-events", "default", "--endpoint", &endpoint]);
    create(&serving, "passes", "STANDARD", &json!({"A": {"Type": "Pass", "End": true}}));
    create(&serving, "fails", "STANDARD", &json!({"A": {"Type": "Fail", "Error": "E", "Cause": "c"}}));
    create(&serving, "fast", "EXPRESS", &json!({"A": {"Type": "Pass", "End": true}}));
    create(&serving, "waits", "STANDARD", &json!({"A": {"Type": "Wait", "Seconds": 3600, "End": true}}));
    for n in 0..30 {
        start(&serving, "passes", &format!("p{n}"), r#"{"n": 1}"#);
    }
    start(&serving, "fails", "f0", "{}");
    start(&serving, "fast", "x0", "{}");
    start(&serving, "waits", "w0", "{}");
    let (large, half) = (format!("\"{}\"", "x".repeat(250 << 10)), format!("\"{}\"", "x".repeat(150 << 10)));
    start(&serving, "passes", "large", &large);
    start(&serving, "passes", "half", &half);
    let is_over = |name: &str| {
        let described = ask(&serving, "DescribeExecution", &json!({"executionArn": arn("execution", name)}));
        described["status"] != "RUNNING"
    };
    while !is_over("fails:f0") {
        std::thread::yield_now();
    }
    ask(&serving, "RedriveExecution", &json!({"executionArn": arn("execution", "fails:f0")}));
    ask(&serving, "StopExecution", &json!({"executionArn": arn("execution", "waits:w0"), "error": "S"}));
    let metric = |name: &str| {
        let text = serving.get("/metrics");
        let line = text.lines().find(|line| line.starts_with(&format!("expressway_status_events_{name} ")));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).expect("a metric")
    };
    // Two of each, and two more of the one that was redriven.
    let all = 2 * (30 + 4) + 2;
    while metric("sent_total") < all || metric("waiting") > 0 {
        std::thread::yield_now();
    }
    assert_eq!((metric("sent_total"), metric("waiting"), metric("dropped_total")), (all, 0, 0));
    let (code, said) = serving.stop();
    assert_eq!(code, Some(0), "{said}");

    let taken = taken.lock().expect("the map");
    let statuses = |name: &str| -> Vec<&str> {
        taken[name].iter().filter_map(|detail| detail["status"].as_str()).collect()
    };
    for n in 0..30 {
        assert_eq!(statuses(&format!("p{n}")), ["RUNNING", "SUCCEEDED"], "p{n}");
    }
    assert_eq!(statuses("f0"), ["RUNNING", "FAILED", "RUNNING", "FAILED"]);
    assert_eq!(statuses("w0"), ["RUNNING", "ABORTED"]);
    assert!(!taken.contains_key("x0"), "Express executions are not told of");
    let detail = &taken["p0"][1];
    assert!(detail["startDate"].is_u64() && detail["stopDate"].is_u64(), "{detail}");
    let mut told = detail.clone();
    let members = told.as_object_mut().expect("an object");
    members.retain(|name, _| !["startDate", "stopDate"].contains(&name.as_str()));
    let expected = json!({"executionArn": arn("execution", "passes:p0"), "name": "p0", "status": "SUCCEEDED",
        "stateMachineArn": arn("stateMachine", "passes"), "stateMachineVersionArn": null,
        "stateMachineAliasArn": null, "input": "{\"n\": 1}", "inputDetails": {"included": true},
        "output": "{\"n\":1}", "outputDetails": {"included": true}, "error": null, "cause": null,
        "redriveCount": 0, "redriveDate": null, "redriveStatus": "NOT_REDRIVABLE",
        "redriveStatusReason": "Execution is SUCCEEDED and cannot be redriven"});
    assert_eq!(told, expected);
    let failed = &taken["f0"][1];
    assert_eq!((&failed["error"], &failed["cause"]), (&json!("E"), &json!("c")));
    assert_eq!((&failed["redriveStatus"], &failed["output"]), (&json!("REDRIVABLE"), &json!(null)));
    assert_eq!((&taken["f0"][2]["redriveCount"], &taken["w0"][1]["error"]), (&json!(1), &json!("S")));
    // What is too large for an event is left out: the input first.
    let included = |detail: &Json| {
        (detail["inputDetails"]["included"] == true, detail["outputDetails"]["included"] == true)
    };
    assert_eq!(included(&taken["large"][0]), (false, false));
    assert_eq!(included(&taken["large"][1]), (false, false));
    assert_eq!(included(&taken["half"][0]), (true, false));
    assert_eq!(included(&taken["half"][1]), (false, true));
    assert_eq!(taken["half"][1]["input"], json!(null));
}

#[test]
fn changes_of_status_are_lines_of_a_file() {
    let folder = Folder::new("status-events");
    let file = folder.0.join("changes.ndjson");
    let path = file.to_str().expect("UTF-8");
    let serving = Serving::start(&["--status-events", path, "--status-events-source", "my.states"]);
    create(&serving, "passes", "STANDARD", &json!({"A": {"Type": "Pass", "End": true}}));
    start(&serving, "passes", "e", "{}");
    let (code, said) = serving.stop();
    assert_eq!(code, Some(0), "{said}");
    let text = fs::read_to_string(file).expect("a file");
    let events: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let statuses: Vec<&Json> = events.iter().map(|event| &event["detail"]["status"]).collect();
    assert_eq!(statuses, ["RUNNING", "SUCCEEDED"]);
    let event = &events[1];
    assert_eq!(event["detail-type"], "Step Functions Execution Status Change");
    assert_eq!((&event["source"], &event["region"]), (&json!("my.states"), &json!("us-east-1")));
    assert_eq!((&event["account"], &event["version"]), (&json!("123456789012"), &json!("0")));
    assert_eq!(event["resources"], json!([arn("execution", "passes:e")]));
    let time = event["time"].as_str().expect("a time");
    assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
    assert_eq!(event["id"].as_str().map(str::len), Some(36));
}

/// The statuses that were told of executions, with the details.
type Told = BTreeMap<String, Vec<(String, Json)>>;

/// A bus that takes the changes for which this is true.
fn bus_until(takes: impl Fn(&Json) -> bool + Send + Sync + 'static) -> (Server, Arc<Mutex<Told>>) {
    let told = Arc::<Mutex<Told>>::default();
    let keeps = Arc::clone(&told);
    let server = Server::start(move |asked: &Asked| {
        let mut told = keeps.lock().expect("the map");
        let mut answers = Vec::new();
        for entry in asked.json()["Entries"].as_array().expect("entries") {
            let detail: Json =
                entry["Detail"].as_str().and_then(|it| serde_json::from_str(it).ok()).expect("JSON");
            if !takes(&detail) {
                answers.push(json!({"ErrorCode": "InternalFailure", "ErrorMessage": "not now"}));
                continue;
            }
            let name = detail["name"].as_str().expect("a name").to_owned();
            let status = detail["status"].as_str().expect("a status").to_owned();
            told.entry(name).or_default().push((status, detail));
            answers.push(json!({"EventId": "e"}));
        }
        answer(200, &[], json!({"FailedEntryCount": 0, "Entries": answers}).to_string())
    });
    (server, told)
}

/// What a crash kept from being told is told by the next process: of executions in memory and out of it, that run and that
/// are over, whatever happened to them before.
#[test]
fn changes_of_status_outlive_the_process() {
    let folder = Folder::new("status-events-kill");
    let state = folder.0.join("state");
    let serve = |bus: &Server| {
        let mut command = expressway();
        command.envs([("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")]);
        let endpoint = format!("EventBridge={}", bus.url());
        let state = state.to_str().expect("UTF-8");
        let all = [
            "--state",
            state,
            "--insecure",
            "--status-events",
            "default",
            "--endpoint",
            &endpoint,
            "--resident-executions-max",
            "4",
            "--resident-ms",
            "50",
        ];
        Serving::start_with(command, &all)
    };
    let metric = |serving: &Serving, name: &str| durable::metric(serving, &format!("expressway_{name}"));
    // This bus takes twenty changes, and nothing behind them.
    let taken = AtomicUsize::new(0);
    let (first, told_first) = bus_until(move |_| taken.fetch_add(1, Ordering::Relaxed) < 20);
    let serving = serve(&first);
    create(&serving, "passes", "STANDARD", &json!({"A": {"Type": "Pass", "End": true}}));
    create(&serving, "fails", "STANDARD", &json!({"A": {"Type": "Fail", "Error": "E", "Cause": "c"}}));
    create(&serving, "waits", "STANDARD", &json!({"A": {"Type": "Wait", "Seconds": 90_000, "End": true}}));
    let names = |of: &str| -> Vec<String> {
        ["t", "u"].iter().flat_map(|it| (0..5).map(move |n| format!("{it}-{of}-{n}"))).collect()
    };
    for of in ["passes", "fails", "waits"] {
        for name in names(of) {
            start(&serving, of, &name, &json!({"of": name}).to_string());
        }
    }
    let over = |of: &str, name: &str| durable::end(&serving, &arn("execution", &format!("{of}:{name}")));
    for name in names("fails") {
        over("fails", &name);
        // Some are redriven, once or twice, and fail once more.
        for _ in 0..name.as_bytes()[name.len() - 1] % 3 {
            let execution = json!({"executionArn": arn("execution", &format!("fails:{name}"))});
            ask(&serving, "RedriveExecution", &execution);
            over("fails", &name);
        }
    }
    names("passes").iter().for_each(|name| drop(over("passes", name)));
    // Most of them have left memory.
    while metric(&serving, "durable_cold") < 6 || metric(&serving, "durable_cold_closed") < 16 {
        std::thread::yield_now();
    }
    while metric(&serving, "status_events_sent_total") < 20 || metric(&serving, "durable_cold_pending") > 0 {
        std::thread::yield_now();
    }
    ask(
        &serving,
        "StopExecution",
        &json!({"executionArn": arn("execution", "waits:u-waits-4"), "error": "S"}),
    );
    serving.kill();

    // The second bus takes everything: it is told what the first was not, in order.
    let (second, told) = bus_until(|_| true);
    let serving = serve(&second);
    let expected = |name: &str| {
        let mut statuses = Vec::new();
        let n = name.as_bytes()[name.len() - 1] % 3;
        let ends = if name.contains("passes") { "SUCCEEDED" } else { "FAILED" };
        for _ in 0..=if name.contains("fails") { n } else { 0 } {
            statuses.extend(["RUNNING", ends]);
        }
        if name.contains("waits") {
            statuses = vec!["RUNNING"];
        }
        if name == "u-waits-4" {
            statuses.push("ABORTED");
        }
        statuses
    };
    let all: Vec<String> = ["passes", "fails", "waits"].iter().flat_map(|of| names(of)).collect();
    let wanted: u64 = all.iter().map(|name| expected(name).len() as u64).sum::<u64>() - 20;
    // All of them were queued before it was ready.
    while metric(&serving, "status_events_waiting") > 0
        || metric(&serving, "status_events_sent_total") < wanted
    {
        std::thread::yield_now();
    }
    assert_eq!(metric(&serving, "status_events_sent_total"), wanted);
    let told_first = told_first.lock().expect("the map");
    assert_eq!(told_first.values().map(Vec::len).sum::<usize>(), 20);
    for name in &all {
        let of = |told: &Told| told.get(name).cloned().unwrap_or_default();
        let (before, after) = (of(&told_first), of(&told.lock().expect("the map")));
        let told = [&before[..], &after[..]].concat();
        let statuses: Vec<&str> = told.iter().map(|(status, _)| &**status).collect();
        assert_eq!(statuses, expected(name), "{name}");
        for (n, (status, detail)) in told.iter().enumerate() {
            assert_eq!(detail["input"], json!({"of": name}).to_string(), "{name}");
            assert_eq!(detail["redriveCount"], n / 2, "{name}: {n}");
            assert_eq!(detail["redriveDate"].is_u64(), n > 1, "{name}: {n}");
            let (error, cause) = match status.as_str() {
                "FAILED" => (json!("E"), json!("c")),
                "ABORTED" => (json!("S"), Json::Null),
                _ => (Json::Null, Json::Null),
            };
            assert_eq!((&detail["error"], &detail["cause"]), (&error, &cause), "{name}: {n}");
            let stops = detail["stopDate"].as_u64();
            assert_eq!(stops.is_some(), status != "RUNNING", "{name}: {n}");
            assert!(stops.is_none_or(|stop| Some(stop) >= detail["startDate"].as_u64()), "{name}: {n}");
        }
    }
    assert_eq!(
        (metric(&serving, "status_events_waiting"), metric(&serving, "status_events_dropped_total")),
        (0, 0)
    );
    let (code, said) = serving.stop();
    assert_eq!(code, Some(0), "{said}");

    // Nothing is told twice.
    let (third, told) = bus_until(|_| true);
    let serving = serve(&third);
    start(&serving, "passes", "t-end", "{}");
    while metric(&serving, "status_events_sent_total") < 2 {
        std::thread::yield_now();
    }
    let told = told.lock().expect("the map");
    assert_eq!(told.keys().collect::<Vec<_>>(), ["t-end"]);
}
