//! The loop of kills with everything that a Standard execution waits for: Map Runs with children of both types, which
//! fail and are redriven, activities whose workers send heartbeats, and tokens that come back by a callback.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use crate::durable::{
    Load, ask, assert_dense, create, describe, execution, history, kills, machine, serve_with, types,
};
use crate::serving::Folder;

const WORK: &str = "arn:aws:states:us-east-1:123456789012:activity:work";
const TELL: &str = "arn:aws:states:us-east-1:123456789012:activity:tell";
const ITEMS: u64 = 5;
/// The item that fails at first.
const BAD: u64 = 3;

/// What clients and workers know beside what the [`Load`] knows.
#[derive(Default)]
struct World {
    load: Arc<Load>,
    /// Answers to the task of a child, in the order in which they were sent, and whether they were acknowledged: more
    /// than one, if the child is stopped, because another one fails, and redriven.
    sent: Mutex<BTreeMap<String, Vec<(String, bool)>>>,
    /// Children whose failure was acknowledged: they are to succeed from now on.
    failed: Mutex<HashSet<String>>,
    /// Answers to tokens, by their execution.
    told: Mutex<BTreeMap<String, String>>,
}

fn text(json: &Json) -> Json {
    json.as_str().and_then(|text| serde_json::from_str(text).ok()).expect("JSON text")
}

impl World {
    /// A task of an activity: its token and its input.
    fn take(&self, activity: &str) -> Option<(String, Json)> {
        let (status, body) = self.load.ask("GetActivityTask", &json!({"activityArn": activity}))?;
        let task: Json = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        Some((task["taskToken"].as_str()?.to_owned(), text(&task["input"])))
    }

    /// Whether this was acknowledged.
    fn send(&self, operation: &str, body: &Json) -> bool {
        let is_taken = matches!(self.load.ask(operation, body), Some((200, _)));
        if is_taken {
            self.load.acknowledge();
        }
        is_taken
    }

    fn begin(&self, client: usize) {
        let mut n = 0;
        while !self.load.has_enough.load(Ordering::Acquire) {
            let name = format!("c{client}-{n}");
            let items: Vec<Json> =
                (0..ITEMS).map(|n| json!({"key": format!("{name}/{n}"), "n": n})).collect();
            let input = json!({"name": name, "items": items}).to_string();
            n += usize::from(self.load.start("whole", &name, &input));
        }
    }

    /// Does the tasks of children, each with a heartbeat; one fails at first.
    fn work(&self, worker: usize) {
        let mut n = 0;
        while !self.load.is_over.load(Ordering::Acquire) {
            let Some((token, input)) = self.take(WORK) else { continue };
            let key = input["key"].as_str().unwrap_or_else(|| panic!("no key: {input}")).to_owned();
            self.load.ask("SendTaskHeartbeat", &json!({"taskToken": token}));
            if input["n"] == BAD && !self.failed.lock().expect("the set").contains(&key) {
                if self.send("SendTaskFailure", &json!({"taskToken": token, "error": "Bad", "cause": key})) {
                    self.failed.lock().expect("the set").insert(key);
                }
                continue;
            }
            let output = json!(format!("w{worker}-{n}")).to_string();
            n += 1;
            let at = {
                let mut sent = self.sent.lock().expect("the map");
                let sent = sent.entry(key.clone()).or_default();
                sent.push((output.clone(), false));
                sent.len() - 1
            };
            if self.send("SendTaskSuccess", &json!({"taskToken": token, "output": output})) {
                self.sent.lock().expect("the map").get_mut(&key).expect("it was put there")[at].1 = true;
            }
        }
    }

    /// Answers to the tokens that executions have given to others.
    fn tell(&self) {
        let mut n = 0;
        while !self.load.is_over.load(Ordering::Acquire) {
            let Some((token, input)) = self.take(TELL) else { continue };
            let name = input["name"].as_str().expect("a name").to_owned();
            let output = json!(format!("told {n}")).to_string();
            n += 1;
            if self.send("SendTaskSuccess", &json!({"taskToken": input["token"], "output": output})) {
                let before = self.told.lock().expect("the map").insert(name.clone(), output);
                assert_eq!(before, None, "{name}: two answers to one token were taken");
            }
            self.send("SendTaskSuccess", &json!({"taskToken": token, "output": "{}"}));
        }
    }

    /// Redrives what has failed.
    fn redrive(&self) {
        while !self.load.is_over.load(Ordering::Acquire) {
            let failed = json!({"stateMachineArn": machine("whole"), "statusFilter": "FAILED"});
            let Some((200, body)) = self.load.ask("ListExecutions", &failed) else { continue };
            let listed: Json = serde_json::from_str(&body).expect("JSON");
            let listed = listed["executions"].as_array().expect("executions");
            for failed in listed {
                self.send("RedriveExecution", &json!({"executionArn": failed["executionArn"]}));
            }
            if listed.is_empty() {
                self.load.wait_for_change();
            }
        }
    }
}

#[test]
fn map_runs_heartbeats_callbacks_and_redrives_outlive_kills() {
    let folder = Folder::new("whole-kills");
    let open = || serve_with(&folder, &["--open-executions-max", "120"]);
    let mut serving = open();
    for name in ["work", "tell"] {
        ask(&serving, "CreateActivity", json!({"name": name}));
    }
    create(&serving, "tells", json!({"A": {"Type": "Task", "Resource": TELL, "End": true}}));
    let map = |kind: &str, next: &str, states: Json| {
        let start = states.as_object().and_then(|states| states.keys().next()).expect("a state").clone();
        json!({"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 3, "Label": kind.to_lowercase(), "ResultPath": format!("$.{kind}"),
            "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": kind},
                "StartAt": start, "States": states}, "Next": next})
    };
    let works = json!({"W": {"Type": "Task", "Resource": WORK, "HeartbeatSeconds": 300, "ResultPath": "$.done", "End": true}});
    let passes = json!({"P": {"Type": "Pass", "End": true}});
    let tells = json!({"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.waitForTaskToken",
        "Parameters": {"StateMachineArn": machine("tells"), "Input": {"name.$": "$.name", "token.$": "$$.Task.Token"}},
        "HeartbeatSeconds": 300, "ResultPath": "$.told", "End": true,
        // While as many executions are open as may be, the start of one more is refused.
        "Retry": [{"ErrorEquals": ["StepFunctions.ExecutionLimitExceeded", "StepFunctions.ExecutionLimitExceededException"],
            "IntervalSeconds": 1, "MaxAttempts": 1_000, "BackoffRate": 1}]});
    create(
        &serving,
        "whole",
        json!({"A": map("STANDARD", "B", works), "B": map("EXPRESS", "C", passes), "C": tells}),
    );
    let world = Arc::new(World::default());
    world.load.is_at(serving.port);
    let mut clients: Vec<_> = (0..9)
        .map(|client| {
            let world = Arc::clone(&world);
            std::thread::spawn(move || match client {
                0 | 1 => world.begin(client),
                2..6 => world.work(client),
                6 | 7 => world.tell(),
                _ => world.redrive(),
            })
        })
        .collect();
    for kill in 0..kills() {
        world.load.go_on(20 + kill * 37 % 101, || clients.iter().any(|client| client.is_finished()));
        serving.kill();
        serving = open();
        world.load.is_at(serving.port);
    }
    world.load.has_enough.store(true, Ordering::Release);
    let workers = clients.split_off(2);
    clients.into_iter().for_each(|client| client.join().expect("a client that did not fail"));
    let started = world.load.started.lock().expect("the list").clone();
    assert!(!started.is_empty());
    for name in &started {
        let described = loop {
            let described = describe(&serving, &execution("whole", name));
            // One that has failed is redriven.
            if described["status"] != "RUNNING" && described["status"] != "FAILED" {
                break described;
            }
            assert!(workers.iter().all(|worker| !worker.is_finished()), "a worker failed");
            std::thread::yield_now();
        };
        assert_eq!(described["status"], "SUCCEEDED", "{described}");
        world.check(&serving, name, &described);
    }
    world.load.is_over.store(true, Ordering::Release);
    // Workers wait for tasks for a minute: the end of the server is theirs.
    serving.kill();
    workers.into_iter().for_each(|worker| worker.join().expect("a worker that did not fail"));
}

impl World {
    /// Nothing that was acknowledged of an execution is lost or doubled.
    fn check(&self, serving: &crate::serving::Serving, name: &str, described: &Json) {
        let output = text(&described["output"]);
        let done = output["STANDARD"].as_array().expect("results");
        assert_eq!(done.len() as u64, ITEMS, "{name}: {output}");
        for (n, result) in done.iter().enumerate() {
            let key = format!("{name}/{n}");
            assert_eq!(result["key"], json!(key));
            let sent = self.sent.lock().expect("the map")[&key].clone();
            let done = result["done"].to_string();
            let counts = sent.iter().position(|(output, _)| *output == done);
            let last = sent.iter().rposition(|(_, is_acknowledged)| *is_acknowledged);
            assert!(counts >= last, "{key}: an answer that was acknowledged counts: {result} of {sent:?}");
        }
        assert_eq!(output["EXPRESS"], output["items"], "{name}");
        if let Some(told) = self.told.lock().expect("the map").get(name) {
            assert_eq!(output["told"].to_string(), *told, "{name}: the answer that was acknowledged counts");
        }
        let events = history(serving, &execution("whole", name));
        assert_dense(&events, name);
        let count = |wanted: &str| types(&events).iter().filter(|it| **it == wanted).count();
        let redrives = described["redriveCount"].as_u64().expect("a count") as usize;
        assert!(redrives > 0, "{name}: one of its items fails at first");
        let counts = [
            ("MapRunStarted", 2),
            ("MapRunSucceeded", 2),
            ("MapRunRedriven", redrives),
            ("ExecutionRedriven", redrives),
            ("ExecutionFailed", redrives),
            ("TaskSucceeded", 1),
            ("ExecutionSucceeded", 1),
        ];
        for (event, wanted) in counts {
            assert_eq!(count(event), wanted, "{name}: {event} of {:?}", types(&events));
        }
        let runs = ask(serving, "ListMapRuns", json!({"executionArn": execution("whole", name)}));
        let runs = runs["mapRuns"].as_array().expect("Map Runs");
        assert_eq!(runs.len(), 2, "{name}");
        for run in runs {
            let run = ask(serving, "DescribeMapRun", json!({"mapRunArn": run["mapRunArn"]}));
            for counts in ["itemCounts", "executionCounts"] {
                let of = |count: &str| run[counts][count].as_u64();
                assert_eq!([of("succeeded"), of("total")], [Some(ITEMS); 2], "{name}: {run}");
            }
        }
        let children = ask(serving, "ListExecutions", json!({"mapRunArn": runs[1]["mapRunArn"]}));
        let children = children["executions"].as_array().expect("executions");
        assert_eq!(children.len() as u64, ITEMS, "{name}: {children:?}");
        for child in children {
            assert_eq!(child["status"], "SUCCEEDED", "{child}");
            let arn = child["executionArn"].as_str().expect("an ARN");
            let events = history(serving, arn);
            assert_dense(&events, arn);
            let count = |wanted: &str| types(&events).iter().filter(|it| **it == wanted).count();
            for once in ["TaskStateEntered", "ActivitySucceeded", "ExecutionSucceeded"] {
                assert_eq!(count(once), 1, "{name}: {once} of {:?}", types(&events));
            }
            let input = text(&describe(serving, arn)["input"]);
            let sent = self.sent.lock().expect("the map")[input["key"].as_str().expect("a key")].clone();
            let taken = sent.iter().filter(|(_, is_acknowledged)| *is_acknowledged).count() as u64;
            let redrives = child["redriveCount"].as_u64().expect("a count");
            assert!(taken <= 1 + redrives, "{arn}: two answers to one task were taken: {sent:?}");
        }
    }
}
