//! `RedriveExecution`, and how long executions are kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use expressway::api::{Call, answer};
use expressway::runtime::{RealClock, Time};
use expressway::service::{Service, StartExecution};
use serde_json::{Value as Json, json};

use super::client::Client;

const ACTIVITY: &str = "arn:aws:states:us-east-1:111111111111:activity:work";
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn client() -> Client {
    let mut client = Client::new();
    client.ok("CreateActivity", &json!({"name": "work"}));
    client
}

fn task(next: Json) -> Json {
    let mut task = json!({"Type": "Task", "Resource": ACTIVITY});
    task.as_object_mut().expect("an object").extend(next.as_object().expect("an object").clone());
    task
}

/// Takes the next task; its input, and the token.
fn take(client: &mut Client) -> (Json, String) {
    client.settle();
    let taken = client.ok("GetActivityTask", &json!({"activityArn": ACTIVITY}));
    client.settle();
    let input = taken["input"].as_str().unwrap_or_else(|| panic!("there is no task: {taken}"));
    let token = taken["taskToken"].as_str().expect("a token").to_owned();
    (serde_json::from_str(input).expect("JSON"), token)
}

fn succeed(client: &mut Client, token: &str, output: &str) {
    client.ok("SendTaskSuccess", &json!({"taskToken": token, "output": output}));
    client.settle();
}

fn fail(client: &mut Client, token: &str) {
    client.ok("SendTaskFailure", &json!({"taskToken": token, "error": "Broken"}));
    client.settle();
}

fn describe(client: &mut Client, arn: &str) -> Json {
    client.ok("DescribeExecution", &json!({"executionArn": arn}))
}

fn redrive(client: &mut Client, arn: &str) -> Json {
    client.ok("RedriveExecution", &json!({"executionArn": arn}))
}

/// Types of the events from the given one on, each with the number of the one that it hangs on.
fn events(client: &mut Client, arn: &str, from: usize) -> Vec<String> {
    let history = client.ok("GetExecutionHistory", &json!({"executionArn": arn, "maxResults": 1000}));
    let events = history["events"].as_array().expect("events");
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event["id"], json!(n + 1), "{events:?}");
    }
    let shown = |event: &Json| {
        format!("{} {} {}", event["id"], event["type"].as_str().expect("a type"), event["previousEventId"])
    };
    events.iter().skip(from - 1).map(shown).collect()
}

fn output(client: &mut Client, arn: &str) -> Json {
    let described = describe(client, arn);
    assert_eq!(described["status"], "SUCCEEDED", "{described}");
    serde_json::from_str(described["output"].as_str().expect("an output")).expect("JSON")
}

fn status(described: &Json) -> [&Json; 4] {
    ["status", "redriveCount", "redriveStatus", "redriveStatusReason"].map(|name| &described[name])
}

#[test]
fn a_failed_task_is_done_again_and_what_came_before_is_not() {
    let mut client = client();
    let retry = json!([{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 1}]);
    let machine = client.machine(
        "m",
        "STANDARD",
        json!({"First": {"Type": "Pass", "Result": {"first": 1}, "Next": "Work"},
            "Work": task(json!({"Retry": retry, "Next": "Show"})),
            "Show": {"Type": "Pass", "Parameters": {"done.$": "$", "count.$": "$$.Execution.RedriveCount",
                "time.$": "$$.Execution.RedriveTime"}, "End": true}}),
    );
    let arn = client.start(&machine, "{}");
    let running = describe(&mut client, &arn);
    let cannot = "Execution is RUNNING and cannot be redriven";
    assert_eq!(status(&running), [&json!("RUNNING"), &json!(0), &json!("NOT_REDRIVABLE"), &json!(cannot)]);
    let refused = client.refused("RedriveExecution", &json!({"executionArn": arn}));
    assert_eq!(
        refused,
        ("ExecutionNotRedrivable".to_owned(), format!("Execution Not Redrivable: '{cannot}'"))
    );
    for _ in 0..2 {
        let (input, token) = take(&mut client);
        assert_eq!(input, json!({"first": 1}));
        fail(&mut client, &token);
        client.pass(1_000);
    }
    let failed = describe(&mut client, &arn);
    assert_eq!(status(&failed), [&json!("FAILED"), &json!(0), &json!("REDRIVABLE"), &Json::Null]);
    assert_eq!((&failed["error"], &failed["redriveDate"]), (&json!("Broken"), &Json::Null));

    client.time.advance(60_000);
    let date = redrive(&mut client, &arn)["redriveDate"].clone();
    let again = describe(&mut client, &arn);
    assert_eq!(status(&again), [&json!("RUNNING"), &json!(1), &json!("NOT_REDRIVABLE"), &json!(cannot)]);
    assert_eq!((&again["redriveDate"], &again["startDate"]), (&date, &failed["startDate"]));
    assert_eq!((&again["stopDate"], &again["error"]), (&Json::Null, &Json::Null));
    // It may be retried as often as the first time.
    let (input, token) = take(&mut client);
    assert_eq!(input, json!({"first": 1}));
    fail(&mut client, &token);
    client.pass(1_000);
    let (_, token) = take(&mut client);
    succeed(&mut client, &token, r#""well""#);
    let time = "2024-01-01T00:01:02Z";
    assert_eq!(output(&mut client, &arn), json!({"done": "well", "count": 1, "time": time}));
    assert_eq!(
        events(&mut client, &arn, 4)[0..9],
        [
            "4 TaskStateEntered 3",
            "5 ActivityScheduled 4",
            "6 ActivityStarted 5",
            "7 ActivityFailed 6",
            "8 ActivityScheduled 7",
            "9 ActivityStarted 8",
            "10 ActivityFailed 9",
            "11 ExecutionFailed 10",
            "12 ExecutionRedriven 11",
        ]
    );
    // The state is not entered a second time.
    assert_eq!(
        events(&mut client, &arn, 13),
        [
            "13 ActivityScheduled 4",
            "14 ActivityStarted 13",
            "15 ActivityFailed 14",
            "16 ActivityScheduled 15",
            "17 ActivityStarted 16",
            "18 ActivitySucceeded 17",
            "19 TaskStateExited 18",
            "20 PassStateEntered 19",
            "21 PassStateExited 20",
            "22 ExecutionSucceeded 21",
        ]
    );
    let redriven = client.ok("GetExecutionHistory", &json!({"executionArn": arn, "maxResults": 1000}));
    assert_eq!(redriven["events"][11]["executionRedrivenEventDetails"], json!({"redriveCount": 1}));
    let cannot = "Execution is SUCCEEDED and cannot be redriven";
    assert_eq!(
        client.refused("RedriveExecution", &json!({"executionArn": arn})).1,
        format!("Execution Not Redrivable: '{cannot}'")
    );
    for (filter, count) in [("REDRIVEN", 1), ("NOT_REDRIVEN", 0)] {
        let list = json!({"stateMachineArn": machine, "redriveFilter": filter});
        let listed = client.ok("ListExecutions", &list)["executions"].clone();
        assert_eq!(listed.as_array().map(Vec::len), Some(count), "{filter}");
        if count == 1 {
            assert_eq!((&listed[0]["redriveCount"], &listed[0]["redriveDate"]), (&json!(1), &date));
        }
    }
}

#[test]
fn branches_and_iterations_that_succeeded_keep_their_results() {
    let mut client = client();
    let inner = |name: &str| {
        json!({"StartAt": name, "States": {name: task(json!({"Parameters": {"in": name}, "Next": format!("{name}2")})),
            format!("{name}2"): {"Type": "Pass", "End": true}}})
    };
    let map = json!({"StartAt": "M", "States": {"M": {"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 2,
        "ItemProcessor": {"StartAt": "I", "States": {"I": task(json!({"End": true}))}}, "End": true}}});
    let machine = client.machine(
        "m",
        "STANDARD",
        json!({"P": {"Type": "Parallel", "Branches": [inner("A"), inner("B"), map], "Next": "End"},
            "End": {"Type": "Pass", "End": true}}),
    );
    let arn = client.start(&machine, r#"{"items": [10, 20, 30]}"#);
    let mut taken: Vec<(Json, String)> = (0..4).map(|_| take(&mut client)).collect();
    taken.sort_by_key(|(input, _)| input.to_string());
    let inputs: Vec<String> = taken.iter().map(|(input, _)| input.to_string()).collect();
    assert_eq!(inputs, ["10", "20", r#"{"in":"A"}"#, r#"{"in":"B"}"#]);
    succeed(&mut client, &taken[0].1, "1");
    succeed(&mut client, &taken[2].1, r#""a""#);
    let (third, _) = take(&mut client);
    assert_eq!(third, json!(30));
    // The second iteration fails: the Map, the other branches and the execution with it.
    fail(&mut client, &taken[1].1);
    let failed = describe(&mut client, &arn);
    assert_eq!(status(&failed), [&json!("FAILED"), &json!(0), &json!("REDRIVABLE"), &Json::Null]);
    let last = events(&mut client, &arn, 1).len();
    redrive(&mut client, &arn);
    let mut again: Vec<(Json, String)> = (0..3).map(|_| take(&mut client)).collect();
    again.sort_by_key(|(input, _)| input.to_string());
    let inputs: Vec<String> = again.iter().map(|(input, _)| input.to_string()).collect();
    assert_eq!(inputs, ["20", "30", r#"{"in":"B"}"#]);
    for (n, result) in ["2", "3", r#""b""#].iter().enumerate() {
        succeed(&mut client, &again[n].1, result);
    }
    assert_eq!(output(&mut client, &arn), json!(["a", "b", [1, 2, 3]]));
    let more = events(&mut client, &arn, last + 1);
    assert!(more[0].contains("ExecutionRedriven"), "{more:?}");
    for kind in ["ParallelStateEntered", "MapStateEntered", "MapIterationStarted", "TaskStateEntered"] {
        assert!(!more.iter().any(|event| event.contains(kind)), "{kind} of {more:?}");
    }
}

#[test]
fn one_that_was_caught_before_it_failed_goes_on_where_it_failed() {
    let mut client = client();
    let branches = json!([{"StartAt": "A", "States": {"A": task(json!({"End": true}))}}]);
    let machine = client.machine(
        "m",
        "STANDARD",
        json!({"P": {"Type": "Parallel", "Branches": branches, "End": true,
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Mend"}]},
            "Mend": task(json!({"Parameters": {"mend": true}, "End": true}))}),
    );
    let arn = client.start(&machine, "{}");
    let (_, token) = take(&mut client);
    fail(&mut client, &token);
    let (input, token) = take(&mut client);
    assert_eq!(input, json!({"mend": true}));
    fail(&mut client, &token);
    assert_eq!(describe(&mut client, &arn)["status"], "FAILED");
    redrive(&mut client, &arn);
    let (input, token) = take(&mut client);
    assert_eq!(input, json!({"mend": true}));
    succeed(&mut client, &token, "3");
    assert_eq!(output(&mut client, &arn), json!(3));
}

#[test]
fn what_was_aborted_or_timed_out_is_redriven_with_a_time_of_its_own() {
    let mut client = client();
    let definition = json!({"StartAt": "W", "TimeoutSeconds": 10, "States": {
        "W": {"Type": "Wait", "Seconds": 6, "Next": "T"}, "T": task(json!({"End": true}))}});
    let request = json!({"name": "m", "definition": definition.to_string(), "type": "STANDARD",
        "roleArn": super::client::ROLE});
    let created = client.ok("CreateStateMachine", &request);
    let arn = client.start(created["stateMachineArn"].as_str().expect("an ARN"), "{}");
    client.pass(3_000);
    client.ok("StopExecution", &json!({"executionArn": arn}));
    assert_eq!(describe(&mut client, &arn)["redriveStatus"], "REDRIVABLE");
    client.pass(3_600_000);
    redrive(&mut client, &arn);
    // The wait begins anew, and so do the ten seconds.
    client.pass(6_000);
    take(&mut client);
    client.pass(3_999);
    assert_eq!(describe(&mut client, &arn)["status"], "RUNNING");
    client.pass(1);
    let timed_out = describe(&mut client, &arn);
    assert_eq!(status(&timed_out), [&json!("TIMED_OUT"), &json!(1), &json!("REDRIVABLE"), &Json::Null]);
    redrive(&mut client, &arn);
    let (_, token) = take(&mut client);
    succeed(&mut client, &token, "4");
    assert_eq!(output(&mut client, &arn), json!(4));
    assert_eq!(describe(&mut client, &arn)["redriveCount"], 2);
}

/// Stopped before its first turn, it has a start in its history, and its input when it is redriven.
#[test]
fn one_that_had_not_begun_is_redriven_with_its_input() {
    let mut client = client();
    let machine = client.machine("m", "STANDARD", json!({"T": task(json!({"End": true}))}));
    let input = Some(r#"{"n":7}"#.to_owned());
    let request = StartExecution { machine_arn: machine, name: None, input, trace_header: None };
    // No shard has a turn before the request to stop it.
    let arn = client.service.start_execution(request).expect("it is started").arn;
    client.ok("StopExecution", &json!({"executionArn": arn}));
    assert_eq!(describe(&mut client, &arn)["status"], "ABORTED");
    assert_eq!(events(&mut client, &arn, 1), ["1 ExecutionStarted 0", "2 ExecutionAborted 0"]);
    redrive(&mut client, &arn);
    let (input, token) = take(&mut client);
    assert_eq!(input, json!({"n": 7}));
    succeed(&mut client, &token, "8");
    assert_eq!(output(&mut client, &arn), json!(8));
}

#[test]
fn who_may_not_be_redriven_is_told_why() {
    let mut client = client();
    let machine = client.machine("m", "STANDARD", json!({"F": {"Type": "Fail"}}));
    let arn = client.start(&machine, "{}");
    // A client token identifies one redrive, for some minutes.
    let token = json!({"executionArn": arn, "clientToken": "once"});
    let first = client.ok("RedriveExecution", &token);
    client.settle();
    client.time.advance(60_000);
    assert_eq!(client.ok("RedriveExecution", &token), first);
    client.settle();
    assert_eq!(describe(&mut client, &arn)["redriveCount"], 1);
    client.time.advance(15 * 60_000);
    assert_ne!(client.ok("RedriveExecution", &token), first);
    client.settle();
    let refusal = |client: &mut Client| {
        let described = describe(client, &arn);
        assert_eq!(described["redriveStatus"], "NOT_REDRIVABLE");
        let reason = described["redriveStatusReason"].as_str().expect("a reason").to_owned();
        let (code, message) = client.refused("RedriveExecution", &json!({"executionArn": arn}));
        assert_eq!(
            (&*code, message),
            ("ExecutionNotRedrivable", format!("Execution Not Redrivable: '{reason}'"))
        );
        reason
    };
    let seen = events(&mut client, &arn, 1);
    let failed =
        ["3 ExecutionFailed 2", "4 ExecutionRedriven 3", "5 ExecutionFailed 2", "6 ExecutionRedriven 5"];
    assert_eq!(seen[..2], ["1 ExecutionStarted 0", "2 FailStateEntered 0"]);
    assert_eq!(seen[2..], [&failed[..], &["7 ExecutionFailed 2"]].concat());
    client.time.advance(14 * DAY_MS);
    assert_eq!(refusal(&mut client), "Execution redrivable period exceeded");
    client.ok("DeleteStateMachine", &json!({"stateMachineArn": machine}));
    assert_eq!(refusal(&mut client), "State machine is in DELETING status");
}

#[test]
fn a_name_is_free_when_the_time_of_its_execution_is_over() {
    let mut client = Client::with(|builder| builder.retention_days(90).open_executions_max(2));
    let pass = client.machine("m", "STANDARD", json!({"P": {"Type": "Pass", "End": true}}));
    let named = json!({"stateMachineArn": pass, "name": "n"});
    let started = client.ok("StartExecution", &named);
    client.settle();
    client.time.advance(90 * DAY_MS - 1);
    assert_eq!(client.refused("StartExecution", &named).0, "ExecutionAlreadyExists");
    assert_eq!(
        describe(&mut client, started["executionArn"].as_str().expect("an ARN"))["status"],
        "SUCCEEDED"
    );
    client.time.advance(1);
    let list = client.ok("ListExecutions", &json!({"stateMachineArn": pass}));
    assert_eq!(list["executions"], json!([]));
    let gone = client.refused("DescribeExecution", &json!({"executionArn": started["executionArn"]}));
    assert_eq!(gone.0, "ExecutionDoesNotExist");
    assert_ne!(client.ok("StartExecution", &named), started);
    client.settle();

    // Those that are over do not count among those that are open.
    let waits = client.machine("w", "STANDARD", json!({"W": {"Type": "Wait", "Seconds": 60, "End": true}}));
    client.start(&waits, "{}");
    let second = client.start(&waits, "{}");
    let (code, message) = client.refused("StartExecution", &json!({"stateMachineArn": waits}));
    assert_eq!(code, "ExecutionLimitExceeded");
    assert!(message.contains("2 (--open-executions-max)"), "{message}");
    client.ok("StopExecution", &json!({"executionArn": second}));
    client.start(&waits, "{}");
    let full = client.refused("RedriveExecution", &json!({"executionArn": second}));
    assert_eq!(full.0, "ExecutionLimitExceeded");
    client.pass(60_000);
    redrive(&mut client, &second);
}

// ---- over restarts ----

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        crate::kept::remove(&self.0);
    }
}

/// Real time, except that each reading of the wall clock is later than the one before: a date that is answered must
/// be the one that is kept.
#[derive(Clone, Default)]
struct Ticking(Arc<AtomicU64>);

impl Time for Ticking {
    fn now_ms(&self) -> u64 {
        Time::now_ms(&RealClock) + self.0.fetch_add(5, Ordering::Relaxed)
    }

    fn steady_ms(&self) -> u64 {
        Time::steady_ms(&RealClock)
    }
}

/// A service with threads and a journal.
struct Lasting {
    service: Service,
    runtime: tokio::runtime::Runtime,
}

impl Lasting {
    /// An earlier one's threads may be about to end still.
    fn open(folder: &Folder, time: &Ticking) -> Lasting {
        loop {
            let builder = Service::builder().account("111111111111").state(&folder.0);
            match builder.time(time.clone()).engine(|engine| engine.shards(1)).build() {
                Ok(service) => {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
                    return Lasting { service, runtime: runtime.expect("a runtime") };
                }
                Err(error) if error.to_string().contains("in use") => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn ok(&self, action: &str, body: &Json) -> Json {
        let (target, body) = (format!("AWSStepFunctions.{action}"), body.to_string());
        let call = Call { target: &target, trace_header: None, body: body.as_bytes() };
        let reply = self.runtime.block_on(answer(&self.service, call));
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(reply.status, 200, "{action} {body}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Its description when it is over.
    fn end(&self, arn: &str) -> Json {
        loop {
            let described = self.ok("DescribeExecution", &json!({"executionArn": arn}));
            if described["status"] != "RUNNING" {
                return described;
            }
            std::thread::yield_now();
        }
    }

    fn take(&self) -> (Json, Json) {
        let taken = self.ok("GetActivityTask", &json!({"activityArn": ACTIVITY}));
        let input = taken["input"].as_str().unwrap_or_else(|| panic!("there is no task: {taken}"));
        (serde_json::from_str(input).expect("JSON"), taken["taskToken"].clone())
    }

    fn events(&self, arn: &str) -> Json {
        let history = json!({"executionArn": arn, "maxResults": 1000});
        self.ok("GetExecutionHistory", &history)["events"].clone()
    }
}

#[test]
fn a_redrive_outlives_the_process_at_any_point() {
    let folder = Folder(std::env::temp_dir().join(format!("expressway-redrive-{}", std::process::id())));
    let time = Ticking::default();
    let first = Lasting::open(&folder, &time);
    first.ok("CreateActivity", &json!({"name": "work"}));
    let branch = |name: &str| {
        let states = json!({name: task(json!({"Parameters": {"in": name}, "End": true}))});
        json!({"StartAt": name, "States": states})
    };
    let states = json!({"P": {"Type": "Parallel", "Branches": [branch("A"), branch("B")], "End": true}});
    let definition = json!({"StartAt": "P", "States": states}).to_string();
    let machine = json!({"name": "m", "definition": definition, "roleArn": super::client::ROLE});
    let machine = first.ok("CreateStateMachine", &machine)["stateMachineArn"].clone();
    let arn = first.ok("StartExecution", &json!({"stateMachineArn": machine}))["executionArn"].clone();
    let arn = arn.as_str().expect("an ARN");
    let mut taken: Vec<(Json, Json)> = (0..2).map(|_| first.take()).collect();
    taken.sort_by_key(|(input, _)| input.to_string());
    first.ok("SendTaskSuccess", &json!({"taskToken": taken[0].1, "output": "1"}));
    first.ok("SendTaskFailure", &json!({"taskToken": taken[1].1, "error": "Broken"}));
    let failed = first.end(arn);
    assert_eq!((&failed["status"], &failed["redriveStatus"]), (&json!("FAILED"), &json!("REDRIVABLE")));
    let before = first.events(arn);
    drop(first);

    // It was over when the first process ended.
    let second = Lasting::open(&folder, &time);
    assert_eq!(second.ok("DescribeExecution", &json!({"executionArn": arn})), failed);
    let date = second.ok("RedriveExecution", &json!({"executionArn": arn}))["redriveDate"].clone();
    drop(second);

    // The process ended when the redrive was acknowledged, perhaps before its first turn.
    let third = Lasting::open(&folder, &time);
    let redriven = third.ok("DescribeExecution", &json!({"executionArn": arn}));
    assert_eq!(status(&redriven)[..2], [&json!("RUNNING"), &json!(1)]);
    assert_eq!(redriven["redriveDate"], date);
    assert_eq!(third.take().0, json!({"in": "B"}));
    third.service.compact_journal().expect("it is compacted");
    drop(third);

    // The process ended while the task was under way, and its journal was compacted between redrive and end.
    let fourth = Lasting::open(&folder, &time);
    let (_, token) = fourth.take();
    fourth.ok("SendTaskFailure", &json!({"taskToken": token, "error": "Broken"}));
    assert_eq!(fourth.end(arn)["redriveCount"], 1);
    fourth.ok("RedriveExecution", &json!({"executionArn": arn}));
    let (_, token) = fourth.take();
    fourth.ok("SendTaskSuccess", &json!({"taskToken": token, "output": "2"}));
    fourth.end(arn);
    fourth.service.compact_journal().expect("it is compacted");
    let history = fourth.events(arn);
    drop(fourth);

    let fifth = Lasting::open(&folder, &time);
    let ended = fifth.end(arn);
    assert_eq!((&ended["output"], &ended["redriveCount"]), (&json!("[1,2]"), &json!(2)));
    assert_eq!(fifth.events(arn), history);
    let (history, before) = (history.as_array().expect("events"), before.as_array().expect("events"));
    assert_eq!(history[..before.len()], before[..]);
    assert!(history.iter().enumerate().all(|(n, event)| event["id"] == json!(n + 1)), "{history:?}");
    assert_eq!(history.iter().filter(|event| event["type"] == "ExecutionRedriven").count(), 2);
}
