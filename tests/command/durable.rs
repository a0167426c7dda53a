//! Standard executions of `serve --state`, over kill -9: what was acknowledged is kept, unfinished executions continue,
//! each result counts once, and tokens stay valid. `EXPRESSWAY_KILLS=200` kills more often than the usual few times; CI
//! kills two hundred times.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::serving::{Folder, Serving};

const ROLE: &str = "arn:aws:iam::123456789012:role/r";
const ACTIVITY: &str = "arn:aws:states:us-east-1:123456789012:activity:work";

pub(crate) fn machine(name: &str) -> String {
    format!("arn:aws:states:us-east-1:123456789012:stateMachine:{name}")
}

pub(crate) fn execution(of: &str, name: &str) -> String {
    format!("arn:aws:states:us-east-1:123456789012:execution:{of}:{name}")
}

fn serve(folder: &Folder) -> Serving {
    serve_with(folder, &[])
}

pub(crate) fn serve_with(folder: &Folder, more: &[&str]) -> Serving {
    let state = folder.0.join("state");
    let state = ["--state", state.to_str().expect("UTF-8"), "--insecure"];
    let serving = Serving::start(&[&state[..], more].concat());
    assert!(serving.start.contains("STANDARD executions are durable"), "{}", serving.start);
    serving
}

pub(crate) fn ask(serving: &Serving, operation: &str, request: Json) -> Json {
    let (status, body) = serving.ask(operation, &request.to_string());
    assert_eq!(status, 200, "{operation} {request}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

pub(crate) fn create(serving: &Serving, name: &str, states: Json) {
    let start = states.as_object().and_then(|states| states.keys().next()).expect("a state").clone();
    let definition = json!({"StartAt": start, "States": states}).to_string();
    ask(serving, "CreateStateMachine", json!({"name": name, "definition": definition, "roleArn": ROLE}));
}

pub(crate) fn start(serving: &Serving, of: &str, name: &str, input: Json) -> Json {
    let request = json!({"stateMachineArn": machine(of), "name": name, "input": input.to_string()});
    ask(serving, "StartExecution", request)
}

pub(crate) fn describe(serving: &Serving, arn: &str) -> Json {
    ask(serving, "DescribeExecution", json!({"executionArn": arn}))
}

pub(crate) fn history(serving: &Serving, arn: &str) -> Vec<Json> {
    let history = ask(serving, "GetExecutionHistory", json!({"executionArn": arn, "maxResults": 1000}));
    history["events"].as_array().expect("events").clone()
}

/// Its description when it is over.
pub(crate) fn end(serving: &Serving, arn: &str) -> Json {
    loop {
        let described = describe(serving, arn);
        if described["status"] != "RUNNING" {
            return described;
        }
        std::thread::yield_now();
    }
}

pub(crate) fn types(events: &[Json]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}

/// Event ids are 1, 2, 3 and so on.
pub(crate) fn assert_dense(events: &[Json], of: &str) {
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event["id"], json!(n + 1), "{of}: {events:?}");
    }
}

#[test]
fn executions_go_on_after_a_kill() {
    let folder = Folder::new("durable");
    let serving = serve(&folder);
    ask(&serving, "CreateActivity", json!({"name": "work"}));
    let activity = json!({"Type": "Task", "Resource": ACTIVITY, "ResultPath": "$.done", "End": true});
    create(
        &serving,
        "waits",
        json!({"A": {"Type": "Wait", "Seconds": 2, "Next": "B"}, "B": {"Type": "Pass", "End": true}}),
    );
    create(&serving, "asks", json!({"A": activity}));
    create(&serving, "ends", json!({"A": {"Type": "Pass", "Result": {"x": 1.50}, "End": true}}));
    create(
        &serving,
        "changes",
        json!({"A": {"Type": "Wait", "Seconds": 2, "Next": "B"}, "B": {"Type": "Pass", "Result": "old", "End": true}}),
    );
    let failing = json!({"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:no", "End": true,
        "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 2, "MaxAttempts": 1}]});
    create(&serving, "retries", json!({"A": failing}));
    create(
        &serving,
        "map",
        json!({"M": {"Type": "Map", "ItemsPath": "$.items", "End": true, "ItemProcessor":
        {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "Next": "P"}, "P": {"Type": "Pass", "End": true}}}}}),
    );

    let waits = start(&serving, "waits", "w", json!({"n": 1}));
    start(&serving, "asks", "taken", json!({"n": 2}));
    let taken = ask(&serving, "GetActivityTask", json!({"activityArn": ACTIVITY, "workerName": "me"}));
    // What a worker's start is known by is written while it works.
    while !types(&history(&serving, &execution("asks", "taken"))).contains(&"ActivityStarted") {}
    start(&serving, "asks", "open", json!({"n": 3}));
    start(&serving, "ends", "e", json!({"n": 4}));
    let ended = end(&serving, &execution("ends", "e"));
    let ended_history = history(&serving, &execution("ends", "e"));
    start(&serving, "waits", "stopped", json!({}));
    ask(
        &serving,
        "StopExecution",
        json!({"executionArn": execution("waits", "stopped"), "error": "E", "cause": "C"}),
    );
    start(&serving, "changes", "c", json!({}));
    start(&serving, "map", "m", json!({"items": [1, 2, 3]}));
    start(&serving, "retries", "r", json!({}));
    let new =
        json!({"StartAt": "Z", "States": {"Z": {"Type": "Pass", "Result": "new", "End": true}}}).to_string();
    ask(&serving, "UpdateStateMachine", json!({"stateMachineArn": machine("changes"), "definition": new}));
    serving.kill();

    let serving = serve(&folder);
    // Names are unique, and starts idempotent.
    let again = start(&serving, "waits", "w", json!({"n": 1}));
    assert_eq!(again, waits);
    let other = json!({"stateMachineArn": machine("waits"), "name": "w", "input": "{}"}).to_string();
    let (status, body) = serving.ask("StartExecution", &other);
    assert!(status == 400 && body.contains("ExecutionAlreadyExists"), "{body}");
    // The token of the task that a worker took before is valid, once.
    let answer = json!({"taskToken": taken["taskToken"], "output": r#"{"by": "me"}"#});
    ask(&serving, "SendTaskSuccess", answer.clone());
    let (status, body) = serving.ask("SendTaskSuccess", &answer.to_string());
    assert!(status == 400 && body.contains("TaskTimedOut"), "{body}");
    let taken = end(&serving, &execution("asks", "taken"));
    assert_eq!(taken["output"], json!(r#"{"n":2,"done":{"by":"me"}}"#), "{taken}");
    // The task that no worker took is offered again.
    let open = ask(&serving, "GetActivityTask", json!({"activityArn": ACTIVITY}));
    assert_eq!(open["input"], json!(r#"{"n":3}"#));
    // An answer that is acknowledged outlives the next kill, whether it was worked on or not.
    ask(&serving, "SendTaskSuccess", json!({"taskToken": open["taskToken"], "output": "7"}));
    serving.kill();

    let serving = serve(&folder);
    assert_eq!(end(&serving, &execution("asks", "open"))["output"], json!(r#"{"n":3,"done":7}"#));
    assert_eq!(end(&serving, &execution("waits", "w"))["output"], json!(r#"{"n":1}"#));
    assert_eq!(end(&serving, &execution("changes", "c"))["output"], json!(r#""old""#));
    assert_eq!(end(&serving, &execution("map", "m"))["output"], json!("[1,2,3]"));
    let retried = end(&serving, &execution("retries", "r"));
    assert_eq!(retried["status"], "FAILED", "{retried}");
    assert_eq!(describe(&serving, &execution("ends", "e")), ended);
    assert_eq!(history(&serving, &execution("ends", "e")), ended_history);
    let stopped = describe(&serving, &execution("waits", "stopped"));
    assert_eq!((&stopped["status"], &stopped["error"]), (&json!("ABORTED"), &json!("E")), "{stopped}");
    for (of, name, wanted) in [
        (
            "waits",
            "w",
            "WaitStateEntered WaitStateExited PassStateEntered PassStateExited ExecutionSucceeded",
        ),
        (
            "asks",
            "taken",
            "TaskStateEntered ActivityScheduled ActivityStarted ActivitySucceeded TaskStateExited ExecutionSucceeded",
        ),
        (
            "retries",
            "r",
            "TaskStateEntered LambdaFunctionScheduled LambdaFunctionStarted LambdaFunctionFailed \
             LambdaFunctionScheduled LambdaFunctionStarted LambdaFunctionFailed ExecutionFailed",
        ),
    ] {
        let events = history(&serving, &execution(of, name));
        assert_dense(&events, name);
        let wanted: Vec<&str> = ["ExecutionStarted"].into_iter().chain(wanted.split_whitespace()).collect();
        assert_eq!(types(&events), wanted, "{name}");
    }
    let listed = ask(
        &serving,
        "ListExecutions",
        json!({"stateMachineArn": machine("waits"), "statusFilter": "ABORTED"}),
    );
    assert_eq!(listed["executions"].as_array().map(Vec::len), Some(1), "{listed}");
    let redriven = ask(&serving, "RedriveExecution", json!({"executionArn": execution("waits", "stopped")}));
    assert!(redriven["redriveDate"].is_number(), "{redriven}");
    assert_eq!(end(&serving, &execution("waits", "stopped"))["status"], "SUCCEEDED");
    assert_eq!(serving.stop().0, Some(0));
}

/// A server that ends does not time durable executions out: they continue afterwards.
#[test]
fn executions_go_on_after_a_server_ended_as_it_should() {
    let folder = Folder::new("durable-stop");
    let serving = serve(&folder);
    create(&serving, "waits", json!({"A": {"Type": "Wait", "SecondsPath": "$.n", "End": true}}));
    start(&serving, "waits", "w", json!({"n": 1}));
    start(&serving, "waits", "longer", json!({"n": 100_000}));
    let (code, said) = serving.stop();
    assert_eq!(code, Some(0), "{said}");
    let serving = serve(&folder);
    assert_eq!(describe(&serving, &execution("waits", "longer"))["status"], "RUNNING");
    let ended = end(&serving, &execution("waits", "w"));
    assert_eq!((&ended["status"], &ended["output"]), (&json!("SUCCEEDED"), &json!(r#"{"n":1}"#)));
    assert_dense(&history(&serving, &execution("waits", "w")), "w");
    assert_eq!(serving.stop().0, Some(0));
}

/// One request; `None` when the server is gone before it answered. A number in `/metrics`. API reference,
/// `DeleteStateMachine`: its executions end at their next transition, in the next process as well.
#[test]
fn executions_of_a_deleted_machine_end_at_their_next_transition_after_a_restart() {
    let folder = Folder::new("durable-deleted");
    let serving = serve(&folder);
    ask(&serving, "CreateActivity", json!({"name": "work"}));
    let works = |next: Json| {
        let mut task = json!({"Type": "Task", "Resource": ACTIVITY});
        task.as_object_mut().expect("members").extend(next.as_object().expect("members").clone());
        task
    };
    let more = json!({"A": works(json!({"Next": "B"})), "B": {"Type": "Pass", "End": true}});
    for (name, states) in
        [("more", more.clone()), ("stays", more), ("last", json!({"A": works(json!({"End": true}))}))]
    {
        create(&serving, name, states);
        start(&serving, name, "e", json!(name));
    }
    for name in ["more", "last"] {
        ask(&serving, "DeleteStateMachine", json!({"stateMachineArn": machine(name)}));
    }
    serving.kill();

    let serving = serve(&folder);
    for _ in 0..3 {
        let task = ask(&serving, "GetActivityTask", json!({"activityArn": ACTIVITY}));
        ask(&serving, "SendTaskSuccess", json!({"taskToken": task["taskToken"], "output": "1"}));
    }
    for (name, status) in [("more", "ABORTED"), ("stays", "SUCCEEDED"), ("last", "SUCCEEDED")] {
        let ended = end(&serving, &execution(name, "e"));
        assert_eq!(ended["status"], status, "{ended}");
        assert!(ended.get("error").is_none() && ended.get("cause").is_none(), "{ended}");
    }
    assert_eq!(
        types(&history(&serving, &execution("more", "e"))),
        [
            "ExecutionStarted",
            "TaskStateEntered",
            "ActivityScheduled",
            "ActivityStarted",
            "ActivitySucceeded",
            "TaskStateExited",
            "ExecutionAborted"
        ]
    );
    assert_eq!(serving.stop().0, Some(0));
}

/// What a crash may lose is shown everywhere; a folder whose executions are in memory keeps its machines.
#[test]
fn what_a_crash_may_lose_is_told() {
    let folder = Folder::new("durable-modes");
    let state = folder.0.join("state");
    let wait = json!({"A": {"Type": "Wait", "Seconds": 100_000, "End": true}});
    for (mode, line, shown, loss_ms) in [
        ("strict", "STANDARD executions are durable\n", "strict", Some(0)),
        (
            "relaxed",
            "but for the last 100 ms before a crash (--durability relaxed)",
            "relaxed=100",
            Some(100),
        ),
        ("relaxed=7", "but for the last 7 ms before a crash", "relaxed=7", Some(7)),
        ("memory", "are in memory, not durable (--durability memory)", "memory", None),
    ] {
        let arguments = ["--state", state.to_str().expect("UTF-8"), "--insecure", "--durability", mode];
        let serving = Serving::start(&arguments);
        assert!(format!("{}\n", serving.start).contains(line), "{}", serving.start);
        if mode == "strict" {
            create(&serving, "waits", wait.clone());
        }
        start(&serving, "waits", mode, json!({}));
        let asked = json!({"executionArn": execution("waits", mode)}).to_string();
        let headers = "Origin: http://localhost\r\nX-Amz-Target: Expressway.GetExecution\r\n";
        let (status, told) = serving.send("POST", "/console/api", headers, &asked);
        let told: Json = serde_json::from_str(&told).expect("JSON");
        assert_eq!((status, &told["durability"]), (200, &json!(shown)), "{told}");
        match loss_ms {
            Some(ms) => assert_eq!(metric(&serving, "expressway_durable_loss_ms_max"), ms),
            None => assert!(!serving.get("/metrics").contains("expressway_durable_loss_ms_max")),
        }
        // A server that ends in order writes all that is recorded; it would wait for executions in memory.
        match mode {
            "memory" => serving.kill(),
            _ => assert_eq!(serving.stop().0, Some(0)),
        }
    }
    let serving = serve(&folder);
    let line = "expressway: 3 executions from before this start are not over, and go on\n";
    assert!(serving.start.contains(line), "{}", serving.start);
    let listed = ask(&serving, "ListExecutions", json!({"stateMachineArn": machine("waits")}));
    let listed = listed["executions"].as_array().expect("a list").iter();
    let names: Vec<&str> = listed.filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["relaxed=7", "relaxed", "strict"]);
    serving.kill();
}

pub(crate) fn metric(serving: &Serving, name: &str) -> u64 {
    let metrics = serving.get("/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{name} is not in {metrics}"))
}

#[test]
fn a_server_shows_how_its_journal_does_and_ends_when_its_folder_is_deleted() {
    let folder = Folder::new("deleted");
    let serving = serve(&folder);
    let wait = json!({"A": {"Type": "Wait", "Seconds": 100_000, "End": true}});
    create(&serving, "waits", wait);
    start(&serving, "waits", "w", json!({}));
    let blocks = metric(&serving, "expressway_journal_blocks_total");
    assert!(blocks > 0 && metric(&serving, "expressway_journal_records_total") >= blocks);
    assert!(metric(&serving, "expressway_journal_written_bytes_total") >= 4_096 * blocks);
    assert!(metric(&serving, "expressway_journal_sync_us_total") > 0);
    assert!(metric(&serving, "expressway_journal_bytes") > 0);
    assert_eq!(metric(&serving, "expressway_durable_recovered"), 0);
    serving.kill();
    let serving = serve(&folder);
    // Its shard counts it when it has it.
    while metric(&serving, "expressway_durable_recovered") != 1 {
        std::thread::yield_now();
    }
    assert_eq!(metric(&serving, "expressway_durable_in_doubt"), 0);
    // It may make files meanwhile.
    while let Err(error) = std::fs::remove_dir_all(folder.0.join("state")) {
        assert_eq!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty, "{error}");
    }
    let (code, said) = serving.end();
    assert_eq!(code, None, "it ends by itself, and not as it should: {said}");
    assert!(said.contains("the journal has ended, because looking for the files before block"), "{said}");
}

/// The response, unless there is none.
pub(crate) fn try_ask(port: u16, operation: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Amz-Target: AWSStepFunctions.{operation}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// What the clients of the kill loop share.
#[derive(Default)]
pub(crate) struct Load {
    port: Mutex<u16>,
    /// The port is another one, or something was acknowledged.
    changed: Condvar,
    /// No more is started; then, nothing more is worked on.
    pub(crate) has_enough: AtomicBool,
    pub(crate) is_over: AtomicBool,
    acknowledged: AtomicUsize,
    /// Names of executions whose starts were acknowledged, and answers of tasks that were.
    pub(crate) started: Mutex<Vec<String>>,
    pub(crate) answered: Mutex<BTreeMap<String, String>>,
}

impl Load {
    /// The response, unless there is none. Then the server may be about to begin again: this waits for its port, but not
    /// for long, because one that another node answers for keeps it.
    pub(crate) fn ask(&self, operation: &str, body: &Json) -> Option<(u16, String)> {
        let port = *self.port.lock().expect("the port");
        let response = try_ask(port, operation, &body.to_string());
        if response.is_none() {
            let now = self.port.lock().expect("the port");
            let again = Duration::from_millis(20);
            drop(self.changed.wait_timeout_while(now, again, |now| *now == port).expect("the port"));
        }
        response
    }

    /// Waits for another acknowledgement, but not for long.
    pub(crate) fn wait_for_change(&self) {
        let port = self.port.lock().expect("the port");
        drop(self.changed.wait_timeout(port, Duration::from_millis(20)).expect("the port"));
    }

    pub(crate) fn is_at(&self, port: u16) {
        *self.port.lock().expect("the port") = port;
        self.changed.notify_all();
    }

    pub(crate) fn acknowledge(&self) {
        // Under the lock, so that who waits looks before or after it, and not in between.
        let _port = self.port.lock().expect("the port");
        self.acknowledged.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_all();
    }

    /// Waits until so much more is acknowledged.
    pub(crate) fn go_on(&self, more: usize, has_failed: impl Fn() -> bool) {
        let until = self.acknowledged.load(Ordering::Acquire) + more;
        let mut port = self.port.lock().expect("the port");
        while self.acknowledged.load(Ordering::Acquire) < until {
            assert!(!has_failed(), "a client failed");
            port = self.changed.wait_timeout(port, Duration::from_secs(1)).expect("the port").0;
        }
    }

    /// Starts an execution; whether it is there.
    pub(crate) fn start(&self, of: &str, name: &str, input: &str) -> bool {
        let request = json!({"stateMachineArn": machine(of), "name": name, "input": input});
        match self.ask("StartExecution", &request) {
            Some((200, _)) => {
                self.started.lock().expect("the list").push(name.to_owned());
                self.acknowledge();
                return true;
            }
            // It may have begun or not: the same start comes again, and finds it.
            None => {}
            Some((_, body)) if body.contains("ExecutionAlreadyExists") => return true,
            // Until one that is open has ended.
            Some((_, body)) if body.contains("ExecutionLimitExceeded") => self.wait_for_change(),
            Some((_, body))
                if body.contains("ThrottlingException") || body.contains("ServiceUnavailable") =>
            {
                std::thread::yield_now()
            }
            Some(other) => panic!("{name}: {other:?}"),
        }
        false
    }

    fn begin(&self, client: usize) {
        let mut n = 0;
        while !self.has_enough.load(Ordering::Acquire) {
            let name = format!("c{client}-{n}");
            n += usize::from(self.start("steps", &name, &json!({"name": name}).to_string()));
        }
    }

    fn work(&self, worker: usize) {
        let mut n = 0;
        while !self.is_over.load(Ordering::Acquire) {
            let request = json!({"activityArn": ACTIVITY});
            let Some((200, body)) = self.ask("GetActivityTask", &request) else { continue };
            let task: Json = serde_json::from_str(&body).expect("JSON");
            let Some(token) = task["taskToken"].as_str() else { continue };
            let input: Json =
                task["input"].as_str().and_then(|text| serde_json::from_str(text).ok()).expect("an input");
            let output = json!(format!("w{worker}-{n}"));
            n += 1;
            let answer = json!({"taskToken": token, "output": output.to_string()});
            if let Some((200, _)) = self.ask("SendTaskSuccess", &answer) {
                let name = input["name"].as_str().expect("a name").to_owned();
                let before = self.answered.lock().expect("the map").insert(name.clone(), output.to_string());
                assert_eq!(before, None, "{name}: two answers to one task were taken");
                self.acknowledge();
            }
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_however_often_it_is_killed() {
    // Executions are started faster than workers do their tasks, and each start takes in what is open.
    kill_and_count("durable-kills", false, |folder| serve_with(folder, &["--open-executions-max", "300"]));
}

/// The same, while executions leave memory as soon as they wait, and come back all the time.
#[test]
fn nothing_is_lost_or_doubled_of_what_is_not_in_memory() {
    kill_and_count("cold-kills", true, super::cold::serve);
}

/// How often a server is killed.
pub(crate) fn kills() -> usize {
    std::env::var("EXPRESSWAY_KILLS").map_or(4, |kills| kills.parse().expect("a number"))
}

fn kill_and_count(test: &str, is_cold: bool, serve: impl Fn(&Folder) -> Serving) {
    let folder = Folder::new(test);
    let mut returned = 0;
    let again = |serving: Serving, _| {
        serving.kill();
        serve(&folder)
    };
    nothing_is_lost(kills(), serve(&folder), again, |serving| {
        returned += metric(serving, "expressway_durable_returned");
    });
    assert_eq!(returned > 0, is_cold, "{returned} came back into memory");
}

/// Clients start executions and workers do their tasks, while something happens to the server in each round. `look` is
/// called before that, and at the end.
pub(crate) fn nothing_is_lost(
    kills: usize,
    mut serving: Serving,
    mut again: impl FnMut(Serving, usize) -> Serving,
    mut look: impl FnMut(&Serving),
) {
    ask(&serving, "CreateActivity", json!({"name": "work"}));
    create(
        &serving,
        "steps",
        json!({
            "A": {"Type": "Pass", "Next": "B"},
            "B": {"Type": "Task", "Resource": ACTIVITY, "ResultPath": "$.done", "Next": "C"},
            "C": {"Type": "Wait", "Seconds": 1, "Next": "D"},
            "D": {"Type": "Pass", "End": true},
        }),
    );
    let load = Arc::new(Load::default());
    load.is_at(serving.port);
    let mut clients: Vec<_> = (0..8)
        .map(|client| {
            let load = Arc::clone(&load);
            std::thread::spawn(move || if client < 4 { load.begin(client) } else { load.work(client) })
        })
        .collect();
    for kill in 0..kills {
        // At another moment each time.
        load.go_on(20 + kill * 37 % 101, || clients.iter().any(|client| client.is_finished()));
        look(&serving);
        serving = again(serving, kill);
        load.is_at(serving.port);
    }
    // What is open is worked on to its end.
    load.has_enough.store(true, Ordering::Release);
    let workers = clients.split_off(4);
    clients.into_iter().for_each(|client| client.join().expect("a client that did not fail"));
    let started = load.started.lock().expect("the list").clone();
    assert!(started.len() >= 5 * kills, "{} starts were acknowledged", started.len());
    let outputs: BTreeMap<&str, Json> =
        started.iter().map(|name| (&**name, end(&serving, &execution("steps", name)))).collect();
    load.is_over.store(true, Ordering::Release);
    look(&serving);
    let names: HashSet<&String> = started.iter().collect();
    assert_eq!(names.len(), started.len(), "a start was acknowledged twice");
    let answered = load.answered.lock().expect("the map").clone();
    for (name, described) in outputs {
        assert_eq!(described["status"], "SUCCEEDED", "{described}");
        let output: Json =
            described["output"].as_str().and_then(|it| serde_json::from_str(it).ok()).expect("JSON");
        if let Some(answer) = answered.get(name) {
            assert_eq!(
                output["done"].to_string(),
                *answer,
                "{name}: the answer that was acknowledged counts"
            );
        }
        let events = history(&serving, &execution("steps", name));
        assert_dense(&events, name);
        let count = |wanted: &str| types(&events).iter().filter(|it| **it == wanted).count();
        for once in ["ActivitySucceeded", "WaitStateExited", "ExecutionSucceeded"] {
            assert_eq!(count(once), 1, "{name}: {once}");
        }
    }
    assert_eq!(*load.port.lock().expect("the port"), serving.port);
    // Workers wait for tasks for a minute: the end of the server is theirs.
    serving.kill();
    workers.into_iter().for_each(|worker| worker.join().expect("a worker that did not fail"));
}
