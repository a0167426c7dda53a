//! Runs of drafts for real: what a page sees of them, what ends them, and who may start them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use expressway::server::{Auth, Console, Files, Server};
use expressway::service::Service;
use expressway::task::TaskError;
use serde_json::{Value as Json, json};

use crate::console::{FLOW, ask, visits};
use crate::wire::{Client, config};

/// A service whose Lambda functions fail once with `Busy` and then answer, and how often they were called. A
/// second takes a millisecond.
fn service() -> (Service, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let function = move |_: Json| match counted.fetch_add(1, Ordering::Relaxed) {
        0 => Err(TaskError::new("Busy", "")),
        _ => Ok(json!({"n": 1.5, "m": 2})),
    };
    let service = Service::builder()
        .engine(|engine| engine.task_sync("arn:aws:states:::lambda:invoke", function).time_scale(0.001));
    (service.build().expect("a service"), calls)
}

fn server(service: &Service) -> Server {
    let mut config = config();
    let mut console = Console::default();
    console.real_runs = true;
    config.console = Some(console);
    Server::start(&config, service).expect("a free port")
}

fn draft(text: &str) -> Json {
    json!({"text": text, "format": "json", "type": "EXPRESS", "input": "{\"items\": [1, 2]}", "mocks": ""})
}

/// The answer once it is over.
fn ended(client: &mut Client, id: &Json) -> Json {
    loop {
        let told = ask(client, "GetRun", &json!({"id": id}));
        if told["status"] != "RUNNING" {
            return told;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_run_for_real_is_seen_as_one_with_mocks() {
    let (service, calls) = service();
    let server = server(&service);
    let mut client = Client::of(&server);
    let mocks =
        r#"{"Ask": {"0": {"Throw": {"Error": "Busy", "Cause": ""}}, "1": {"Return": {"n": 1.5, "m": 2}}}}"#;
    let mut mocked = draft(FLOW);
    mocked["mocks"] = json!(mocks);
    let expected = ask(&mut client, "Run", &mocked);
    assert_eq!(calls.load(Ordering::Relaxed), 0, "runs with mocks call nothing");
    // With YAML too.
    for (text, format) in [(FLOW, "json"), (&*format!("# a comment\n{FLOW}"), "yaml")] {
        calls.store(0, Ordering::Relaxed);
        let mut real = draft(text);
        real["format"] = json!(format);
        let started = ask(&mut client, "StartRun", &real);
        let told = ended(&mut client, &started["id"]);
        assert_eq!((&told["status"], &told["output"]), (&json!("SUCCEEDED"), &json!("[1,2]")), "{told}");
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        let sorted = |ran: &Json| {
            // Branches end in the order of their times, which is not that of their states.
            let mut visits = visits(&ran["trace"]);
            // The engine's time is scaled, that of runs with mocks is not.
            for step in visits.iter_mut().flat_map(|visit| &mut visit.2) {
                *step = step.replace("\"afterMilliseconds\":7}", "\"afterMilliseconds\":7000}");
            }
            visits.sort();
            visits
        };
        assert_eq!(sorted(&told), sorted(&expected));
        let types = |ran: &Json| {
            let events = ran["trace"]["events"].as_array().expect("events").iter();
            let mut types: Vec<String> = events.map(|event| event["type"].to_string()).collect();
            types.sort();
            types
        };
        assert_eq!(types(&told), types(&expected));
        // It does not become one of the service's executions.
        let found = ask(&mut client, "FindExecutions", &json!({}));
        assert_eq!(found["executions"], json!([]), "{found}");
    }
    // Tasks with mocks are not called.
    calls.store(0, Ordering::Relaxed);
    let started = ask(&mut client, "StartRun", &mocked);
    assert_eq!(ended(&mut client, &started["id"])["output"], "[1,2]");
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[test]
fn what_cannot_begin_is_refused() {
    let (service, _) = service();
    let server = server(&service);
    let mut client = Client::of(&server);
    let with = |member: &str, value: &str| {
        let mut draft = draft(FLOW);
        draft[member] = json!(value);
        draft
    };
    for (draft, why) in [
        (draft("{"), "INVALID_JSON_DESCRIPTION"),
        (with("input", "{"), "input"),
        (with("mocks", "["), "The mocks cannot be used"),
        (with("mocks", "{\"Ask\": 1}"), "The mocks cannot be used"),
    ] {
        let refused = ask(&mut client, "StartRun", &draft);
        assert_eq!(refused["status"], 400, "{refused}");
        assert!(refused["message"].as_str().is_some_and(|it| it.contains(why)), "{why}: {refused}");
    }
    for action in ["GetRun", "StopRun"] {
        let refused = ask(&mut client, action, &json!({"id": "none"}));
        assert!(refused["message"].as_str().is_some_and(|it| it.contains("no such run")), "{refused}");
    }
}

/// Starts a run as soon as there is room for it.
fn begun(client: &mut Client, text: &str) -> Json {
    loop {
        let answer = ask(client, "StartRun", &draft(text));
        if !answer["id"].is_null() {
            return answer["id"].clone();
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_run_ends_when_it_is_stopped_or_has_too_much() {
    // At their own speed, so that a wait does not end by itself.
    let service = Service::builder().build().expect("a service");
    let server = server(&service);
    let mut client = Client::of(&server);
    let wait = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 86000, "End": true}}}"#;
    let started: Vec<Json> =
        (0..8).map(|_| ask(&mut client, "StartRun", &draft(wait))["id"].clone()).collect();
    let refused = ask(&mut client, "StartRun", &draft(wait));
    assert!(refused["message"].as_str().is_some_and(|it| it.contains("8 drafts run")), "{refused}");
    for id in &started {
        // It has begun once its state is there.
        let told = loop {
            let told = ask(&mut client, "GetRun", &json!({"id": id}));
            assert_eq!(told["status"], "RUNNING", "{told}");
            if told["trace"]["visits"][0] != Json::Null {
                break told;
            }
        };
        assert_eq!(told["trace"]["visits"][0]["status"], "open", "{told}");
        ask(&mut client, "StopRun", &json!({"id": id}));
        let told = ended(&mut client, id);
        assert_eq!((&told["status"], &told["why"]), (&json!("STOPPED"), &json!("The run was stopped.")));
        assert_eq!(told["trace"]["visits"][0]["state"], "W");
    }
    // Ended runs give way to new ones, as soon as their end was seen.
    let again = begun(&mut client, wait);
    ask(&mut client, "StopRun", &json!({"id": again}));
    let endless = r#"{"StartAt": "L", "States": {"L": {"Type": "Choice", "Default": "L", "Choices": [
        {"Variable": "$.x", "IsPresent": true, "Next": "E"}]}, "E": {"Type": "Succeed"}}}"#;
    let started = begun(&mut client, endless);
    let told = ended(&mut client, &started);
    assert_eq!(told["why"], "The run had more events than runs of drafts may have.");
    // Its execution ends as well.
    while service.counts().running > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn drafts_run_for_real_only_where_that_is_allowed() {
    let (service, _) = service();
    let mut plain = config();
    plain.console = Some(Console::default());
    let server = Server::start(&plain, &service).expect("a free port");
    let mut client = Client::of(&server);
    assert_eq!(ask(&mut client, "About", &json!({}))["realRuns"], false);
    let refused = ask(&mut client, "StartRun", &draft(FLOW));
    assert!(refused["message"].as_str().is_some_and(|it| it.contains("calls no services")), "{refused}");
    // With keys, their rules name the action.
    let mut guarded = config();
    let mut console = Console::default();
    console.real_runs = true;
    guarded.console = Some(console.clone());
    let keys = br#"{"keys": [{"accessKeyId": "K", "secretAccessKey": "s", "allow": []}]}"#;
    guarded.auth = Some(Auth::parse(keys).expect("keys"));
    let server = Server::start(&guarded, &service).expect("a free port");
    let refused = ask(&mut Client::of(&server), "StartRun", &draft(FLOW));
    assert_eq!(refused["__type"], "MissingAuthenticationTokenException", "{refused}");
    // A studio: only its own page, which knows the key, may use it at all.
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    console.files = Some(Files::at(folder, "key".to_owned()).expect("the folder"));
    let mut studio = config();
    studio.console = Some(console);
    let server = Server::start(&studio, &service).expect("a free port");
    let draft = draft(FLOW).to_string();
    for (path, target, key, status) in [
        ("/console/api", "Expressway.StartRun", "", 400),
        ("/console/api", "Expressway.StartRun", "X-Expressway-Key: other\r\n", 400),
        ("/console/api", "Expressway.StartRun", "X-Expressway-Key: key\r\n", 200),
        ("/", "AWSStepFunctions.ListStateMachines", "", 400),
        ("/", "AWSStepFunctions.ListStateMachines", "X-Expressway-Key: key\r\n", 200),
    ] {
        let mut client = Client::of(&server);
        let body = if path == "/" { "{}" } else { &*draft };
        let (headers, length) = (format!("X-Amz-Target: {target}\r\n{key}"), body.len());
        client.send(
            format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        );
        let response = client.response().expect("a response");
        assert_eq!(response.status, status, "{path} {target} {key}: {}", response.body);
        assert_eq!(response.body.contains("only its own page"), status == 400, "{}", response.body);
    }
}
