//! `serve --journal`: the work of a cluster in PostgreSQL or NATS JetStream is spread over its nodes, each of which answers
//! everything.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};

use crate::cluster::{ask_without_end, rounds, told};
use crate::durable::{ask, create, describe, end, execution, machine, metric, nothing_is_lost, start};
use crate::engines::{End, Engine, Nats, Sync, each};
use crate::serving::{Folder, Serving};

const ACTIVITY: &str = "arn:aws:states:us-east-1:123456789012:activity:work";

fn node(server: &dyn Engine) -> Serving {
    node_at(&server.url())
}

/// A machine that is busy for longer than a lease has its nodes replaced.
pub(crate) fn node_at(url: &str) -> Serving {
    Serving::start(&["--journal", url, "--cluster", "c", "--lease", "6", "--insecure"])
}

fn status(server: &dyn Engine) -> Json {
    serde_json::from_str(&told(&["cluster", "status", &server.url(), "--cluster", "c"])).expect("JSON")
}

/// How many partitions each node has, if so many nodes share all of them; and what was shown.
pub(crate) fn shares(server: &dyn Engine, nodes: usize) -> (Option<Vec<u64>>, Json) {
    let shown = status(server);
    let lives = |node: &&Json| node["lives"] == true && node["partitions"].as_u64() > Some(0);
    let all = shown["nodes"].as_array().expect("nodes");
    let shares: Vec<u64> = all.iter().filter(lives).filter_map(|node| node["partitions"].as_u64()).collect();
    let partitions = shown["partitions"].as_array().expect("partitions");
    let are_owned = partitions.len() == 64 && partitions.iter().all(|it| it["ownerLives"] == true);
    let are_shared = are_owned && shares.len() == nodes && shares.iter().sum::<u64>() == 64;
    (are_shared.then_some(shares), shown)
}

/// Waits until so many nodes share all partitions, and returns how many each has.
pub(crate) fn shared(server: &dyn Engine, nodes: usize) -> Vec<u64> {
    let begun = Instant::now();
    loop {
        let (shares, shown) = shares(server, nodes);
        if let Some(shares) = shares {
            return shares;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{shown}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn three(server: &dyn Engine) -> [Serving; 3] {
    let nodes = [node(server), node(server), node(server)];
    let shares = shared(server, 3);
    assert!(shares.iter().all(|share| (8..=36).contains(share)), "each has about a third: {shares:?}");
    nodes
}

fn passes(result: &str) -> Json {
    json!({"A": {"Type": "Pass", "Result": result, "End": true}})
}

pub(crate) fn waits(seconds: u32) -> Json {
    json!({"A": {"Type": "Wait", "Seconds": seconds, "Next": "B"}, "B": {"Type": "Pass", "End": true}})
}

#[test]
fn three_nodes_share_the_work_and_each_answers_everything() {
    each(|server| share_the_work(server));
}

fn share_the_work(server: &dyn Engine) {
    let nodes = three(server);
    create(&nodes[0], "waits", waits(600));
    let names: Vec<String> = (0..60).map(|n| format!("e{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        start(&nodes[n % 3], "waits", name, json!({"n": n}));
    }
    for (n, name) in names.iter().enumerate() {
        for node in [&nodes[(n + 1) % 3], &nodes[(n + 2) % 3]] {
            let described = describe(node, &execution("waits", name));
            assert_eq!(described["input"], json!({"n": n}).to_string(), "{described}");
        }
    }
    // Names are unique, wherever they are given.
    let again = json!({"stateMachineArn": machine("waits"), "name": "e0", "input": "{}"}).to_string();
    for node in &nodes {
        let (code, body) = node.ask("StartExecution", &again);
        assert!(code == 400 && body.contains("ExecutionAlreadyExists"), "{code} {body}");
    }
    // A list merges what all nodes have, and its pages may come from different ones.
    let (mut listed, mut token, mut page) = (Vec::new(), Json::Null, 0);
    loop {
        let mut request = json!({"stateMachineArn": machine("waits"), "maxResults": 7});
        if !token.is_null() {
            request["nextToken"] = token;
        }
        let part = ask(&nodes[page % 3], "ListExecutions", request);
        let items = part["executions"].as_array().expect("a list").clone();
        listed.extend(items.iter().map(|item| item["name"].as_str().expect("a name").to_owned()));
        page += 1;
        token = part["nextToken"].clone();
        if page == 2 {
            // One that begins meanwhile belongs before all pages that follow.
            start(&nodes[1], "waits", "late", json!({}));
        }
        if token.is_null() {
            break;
        }
    }
    assert_eq!(listed.len(), 60, "{listed:?}");
    assert_eq!(listed.iter().collect::<BTreeSet<_>>(), names.iter().collect(), "each is listed once");
    // Stopping, through another node.
    for (n, name) in names.iter().enumerate().take(6) {
        ask(&nodes[(n + 1) % 3], "StopExecution", json!({"executionArn": execution("waits", name)}));
        assert_eq!(describe(&nodes[(n + 2) % 3], &execution("waits", name))["status"], "ABORTED");
    }
    let aborted = json!({"stateMachineArn": machine("waits"), "statusFilter": "ABORTED"});
    for node in &nodes {
        let listed = ask(node, "ListExecutions", aborted.clone());
        assert_eq!(listed["executions"].as_array().map(Vec::len), Some(6), "{listed}");
    }
    // An execution without a name.
    let unnamed = ask(&nodes[2], "StartExecution", json!({"stateMachineArn": machine("waits")}));
    let arn = unnamed["executionArn"].as_str().expect("an ARN").to_owned();
    assert_eq!(describe(&nodes[0], &arn)["status"], "RUNNING");
    for node in nodes {
        assert_eq!(node.stop().0, Some(0));
    }
}

/// A Map Run, with its children, belongs to one partition, and moves with it.
#[test]
fn map_runs_move_with_their_executions() {
    each(|server| move_map_runs(server));
}

fn move_map_runs(server: &dyn Engine) {
    let [first, second, third] = three(server);
    let items: Vec<u32> = (0..8).collect();
    let map = json!({"A": {"Type": "Map", "Items": items, "Label": "each", "End": true, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "B", "States": {
            "B": {"Type": "Task", "Resource": ACTIVITY, "End": true}}}}});
    ask(&first, "CreateActivity", json!({"name": "work"}));
    let definition = json!({"QueryLanguage": "JSONata", "StartAt": "A", "States": map}).to_string();
    let role = "arn:aws:iam::123456789012:role/r";
    ask(&second, "CreateStateMachine", json!({"name": "maps", "definition": definition, "roleArn": role}));
    let names: Vec<String> = (0..9).map(|n| format!("e{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        start([&first, &second, &third][n % 3], "maps", name, json!({}));
    }
    let run_of = |node: &Serving, name: &str| loop {
        let runs = ask(node, "ListMapRuns", json!({"executionArn": execution("maps", name)}));
        if let Some(run) = runs["mapRuns"][0]["mapRunArn"].as_str() {
            return run.to_owned();
        }
        std::thread::yield_now();
    };
    let runs: Vec<String> = names.iter().map(|name| run_of(&second, name)).collect();
    for run in &runs {
        ask(&third, "UpdateMapRun", json!({"mapRunArn": run, "toleratedFailureCount": 3}));
        let described = ask(&first, "DescribeMapRun", json!({"mapRunArn": run}));
        assert_eq!(described["toleratedFailureCount"], 3, "{described}");
    }
    // Half of each is done, one node hands over, and another one is lost.
    let work = |node: &Serving, count: usize| {
        for _ in 0..count {
            let task = ask(node, "GetActivityTask", json!({"activityArn": ACTIVITY}));
            let (token, input) = (&task["taskToken"], &task["input"]);
            ask(node, "SendTaskSuccess", json!({"taskToken": token, "output": input}));
        }
    };
    work(&first, 36);
    assert_eq!(second.stop().0, Some(0));
    third.kill();
    work(&first, 36);
    for (name, run) in names.iter().zip(&runs) {
        let ended = end(&first, &execution("maps", name));
        assert_eq!(ended["output"], json!(items).to_string(), "{ended}");
        let described = ask(&first, "DescribeMapRun", json!({"mapRunArn": run}));
        let shown = (&described["status"], &described["itemCounts"]["succeeded"]);
        assert_eq!(shown, (&json!("SUCCEEDED"), &json!(8)), "{described}");
        assert_eq!(described["toleratedFailureCount"], 3, "{described}");
        let children = ask(&first, "ListExecutions", json!({"mapRunArn": run}));
        let children = children["executions"].as_array().expect("a list");
        assert_eq!(children.len(), 8, "each child was started once: {children:?}");
    }
    let unknown = format!("{}0", runs[0]);
    let (code, body) = first.ask("DescribeMapRun", &json!({"mapRunArn": unknown}).to_string());
    assert!(code == 400 && body.contains("ResourceNotFound"), "{code} {body}");
    assert_eq!(first.stop().0, Some(0));
}

#[test]
fn a_change_through_one_node_is_known_to_all_at_once() {
    each(|server| follow_changes(server));
}

fn follow_changes(server: &dyn Engine) {
    let nodes = three(server);
    create(&nodes[0], "changes", passes("0"));
    for n in 1..=12 {
        let definition = json!({"StartAt": "A", "States": passes(&n.to_string())}).to_string();
        ask(
            &nodes[n % 3],
            "UpdateStateMachine",
            json!({"stateMachineArn": machine("changes"), "definition": definition}),
        );
        for (at, node) in nodes.iter().enumerate() {
            let name = format!("n{n}-{at}");
            start(node, "changes", &name, json!({}));
            let ended = end(&nodes[(at + 1) % 3], &execution("changes", &name));
            assert_eq!(ended["output"], json!(n.to_string()).to_string(), "{ended}");
        }
    }
    let published =
        ask(&nodes[1], "PublishStateMachineVersion", json!({"stateMachineArn": machine("changes")}));
    let routes = json!([{"stateMachineVersionArn": published["stateMachineVersionArn"], "weight": 100}]);
    ask(&nodes[2], "CreateStateMachineAlias", json!({"name": "live", "routingConfiguration": routes}));
    let alias = format!("{}:live", machine("changes"));
    let started = ask(&nodes[0], "StartExecution", json!({"stateMachineArn": alias, "name": "by-alias"}));
    // A machine whose executions run is being deleted for so long, which is another answer.
    end(&nodes[1], started["executionArn"].as_str().expect("an ARN"));
    ask(&nodes[0], "DeleteStateMachine", json!({"stateMachineArn": machine("changes")}));
    for node in &nodes {
        let (code, body) =
            node.ask("StartExecution", &json!({"stateMachineArn": machine("changes")}).to_string());
        assert!(code == 400 && body.contains("StateMachineDoesNotExist"), "{code} {body}");
    }
    // An Express execution runs on the node that is asked.
    let express = json!({
        "name": "quick", "type": "EXPRESS", "roleArn": "arn:aws:iam::123456789012:role/r",
        "definition": json!({"StartAt": "A", "States": passes("x")}).to_string(),
    });
    ask(&nodes[0], "CreateStateMachine", express);
    for node in &nodes {
        let ended = ask(node, "StartSyncExecution", json!({"stateMachineArn": machine("quick")}));
        assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    }
}

#[test]
fn tasks_and_children_find_each_other_across_nodes() {
    each(|server| find_each_other(server));
}

fn find_each_other(server: &dyn Engine) {
    let nodes = three(server);
    ask(&nodes[0], "CreateActivity", json!({"name": "work"}));
    create(&nodes[1], "works", json!({"A": {"Type": "Task", "Resource": ACTIVITY, "End": true}}));
    for n in 0..12 {
        let (name, worker, answerer) = (format!("w{n}"), &nodes[n % 3], &nodes[(n + 1) % 3]);
        start(&nodes[(n + 2) % 3], "works", &name, json!({"n": n}));
        let task = ask(worker, "GetActivityTask", json!({"activityArn": ACTIVITY}));
        let token = task["taskToken"].as_str().unwrap_or_else(|| panic!("a task: {task}"));
        ask(answerer, "SendTaskHeartbeat", json!({"taskToken": token}));
        let output = json!({"done": n}).to_string();
        ask(answerer, "SendTaskSuccess", json!({"taskToken": token, "output": output}));
        assert_eq!(end(worker, &execution("works", &name))["output"], output);
        let (code, body) =
            worker.ask("SendTaskSuccess", &json!({"taskToken": token, "output": "1"}).to_string());
        assert!(code == 400 && body.contains("TaskTimedOut"), "it has its answer: {code} {body}");
    }
    // A worker that waits already gets a task that begins on another node.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&nodes[0], "GetActivityTask", json!({"activityArn": ACTIVITY})));
        std::thread::sleep(Duration::from_millis(300));
        for n in 0..8 {
            start(&nodes[1], "works", &format!("late{n}"), json!({"n": n}));
        }
        let task = waiting.join().expect("an answer");
        assert!(task["taskToken"].is_string(), "{task}");
    });
    // Children, which are in partitions of any node.
    create(&nodes[2], "child", waits(1));
    let nested = |pattern: &str| {
        json!({"A": {"Type": "Task", "Resource": format!("arn:aws:states:::states:startExecution{pattern}"), "End": true,
            "Parameters": {"StateMachineArn": machine("child"), "Input": {"is": "child"}}}})
    };
    create(&nodes[0], "parent", nested(".sync:2"));
    for n in 0..9 {
        start(&nodes[n % 3], "parent", &format!("p{n}"), json!({}));
    }
    for n in 0..9 {
        let ended = end(&nodes[(n + 1) % 3], &execution("parent", &format!("p{n}")));
        let output: Json =
            serde_json::from_str(ended["output"].as_str().unwrap_or_else(|| panic!("{ended}")))
                .expect("JSON");
        assert_eq!((&output["Status"], &output["Output"]), (&json!("SUCCEEDED"), &json!({"is": "child"})));
        assert!(output["StopDate"].as_u64() > output["StartDate"].as_u64(), "{output}");
    }
    // A parent that is stopped stops its child.
    create(&nodes[0], "slow", waits(600));
    let slow = json!({"A": {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync", "End": true,
        "Parameters": {"StateMachineArn": machine("slow"), "Name.$": "$$.Execution.Name"}}});
    create(&nodes[0], "stopped", slow);
    for n in 0..6 {
        let name = format!("s{n}");
        start(&nodes[n % 3], "stopped", &name, json!({}));
        wait_for(|| {
            nodes[0]
                .ask("DescribeExecution", &json!({"executionArn": execution("slow", &name)}).to_string())
                .0
                == 200
        });
        ask(&nodes[n % 3], "StopExecution", json!({"executionArn": execution("stopped", &name)}));
        wait_for(|| describe(&nodes[0], &execution("slow", &name))["status"] == "ABORTED");
    }
}

fn wait_for(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it comes");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Nodes are killed, stopped and started again under load, which goes through another node.
#[test]
fn nothing_is_lost_or_doubled_when_nodes_die() {
    each(|server| lose_nothing(server));
}

fn lose_nothing(server: &dyn Engine) {
    let rounds = rounds(4);
    let [first, second, third] = three(server);
    let mut others = vec![second, third];
    let disturb = |serving: Serving, round: usize| {
        let other = others.remove(0);
        if round.is_multiple_of(2) {
            other.kill();
            let killed = Instant::now();
            shared(server, 2);
            assert!(
                killed.elapsed() < Duration::from_secs(60),
                "its partitions are taken when its lease is over"
            );
        } else {
            let process = Pid::from_raw(other.process().cast_signed()).expect("a process");
            kill_process(process, Signal::STOP).expect("it can be stopped");
            shared(server, 2);
            kill_process(process, Signal::CONT).expect("it can go on");
            // It cannot append any more, and ends.
            let (code, said) = other.end_within(Duration::from_secs(60));
            assert_ne!(code, Some(0), "{said}");
            assert!(said.contains("this node is not the owner"), "{said}");
        }
        others.push(node(server));
        shared(server, 3);
        serving
    };
    nothing_is_lost(rounds, first, disturb, |_| {});
    let verified = told(&["journal", "verify", &server.url(), "--cluster", "c"]);
    assert!(verified.starts_with("c: whole: blocks "), "{verified}");
}

/// Two nodes share the work on three servers of NATS that sync each write, each of which is killed under load.
#[test]
fn servers_of_nats_end_one_at_a_time_and_nothing_is_lost() {
    let Some(mut server) = Nats::start_several(3, Sync::Always) else { return };
    let url = server.url_with("");
    let [first, second] = [node_at(&url), node_at(&url)];
    shared(&server, 2);
    let disturb = |serving: Serving, round: usize| {
        server.end_one(round % 3, End::Killed);
        // The others elect leaders meanwhile, and go on.
        std::thread::sleep(Duration::from_secs(2));
        server.run_one(round % 3);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) && !server.have_caught_up() {
            std::thread::sleep(Duration::from_millis(20));
        }
        serving
    };
    nothing_is_lost(3, first, disturb, |_| {});
    let verified = told(&["journal", "verify", &url, "--cluster", "c"]);
    assert!(verified.starts_with("c: whole: blocks "), "{verified}");
    drop(second);
}

/// Changes of status are told by the node that owns the execution, and what a lost node had not told by its successor.
#[test]
fn what_a_lost_node_had_not_told_of_changes_is_told_by_another() {
    each(|server| tell_of_changes(server));
}

fn tell_of_changes(server: &dyn Engine) {
    let folder = Folder::new("spread-status-events");
    let (file, full) = (folder.0.join("events.ndjson"), folder.0.join("full.ndjson"));
    std::os::unix::fs::symlink("/dev/full", &full).expect("a link");
    let telling = |file: &Path| {
        let (url, file) = (server.url(), file.to_str().expect("UTF-8"));
        let to = ["--journal", &url, "--cluster", "c", "--lease", "6", "--insecure"];
        Serving::start(&[&to[..], &["--status-events", file]].concat())
    };
    let first = telling(&file);
    // It can tell nobody.
    let second = telling(&full);
    shared(server, 2);
    create(&first, "waits", waits(6));
    let names: Vec<String> = (0..40).map(|n| format!("e{n}")).collect();
    for name in &names {
        start(&first, "waits", name, json!({}));
    }
    let told_by = |node: &Serving| metric(node, "expressway_status_events_sent_total");
    let waiting = |node: &Serving| metric(node, "expressway_status_events_waiting");
    wait_for(|| told_by(&first) + waiting(&second) >= 40);
    assert!(waiting(&second) > 0 && told_by(&second) == 0, "both own some");
    second.kill();
    shared(server, 1);
    for name in &names {
        assert_eq!(end(&first, &execution("waits", name))["status"], "SUCCEEDED");
    }
    wait_for(|| waiting(&first) == 0);
    let events = std::fs::read_to_string(&file).expect("a file");
    let events: Vec<Json> = events.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |name: &str| -> Vec<&str> {
        let all = events.iter().filter(|event| event["detail"]["name"] == name);
        all.map(|event| event["detail"]["status"].as_str().expect("a status")).collect()
    };
    for name in &names {
        assert_eq!(of(name), ["RUNNING", "SUCCEEDED"], "{name}");
    }
    let ids: BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), 80);
}

/// While nodes end in order, one after the other, clients of the other nodes get slower answers, and no errors.
#[test]
fn nodes_that_end_in_order_hand_over_without_errors() {
    each(|server| hand_over(server));
}

fn hand_over(server: &dyn Engine) {
    let [first, second, third] = three(server);
    create(&first, "passes", passes("x"));
    let stays = [&first, &second];
    let (is_over, slowest) = (AtomicBool::new(false), Mutex::new(Duration::ZERO));
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (node, is_over, slowest) = (stays[client % 2], &is_over, &slowest);
            scope.spawn(move || {
                let took = ask_without_end(node, &format!("c{client}"), is_over);
                let mut slowest = slowest.lock().expect("no client failed");
                *slowest = took.max(*slowest);
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        third.terminate();
        shared(server, 2);
        let (code, said) = third.end();
        assert_eq!(code, Some(0), "{said}");
        let again = node(server);
        shared(server, 3);
        assert_eq!(again.stop().0, Some(0));
        shared(server, 2);
        std::thread::sleep(Duration::from_millis(500));
        is_over.store(true, Ordering::Relaxed);
    });
    let slowest = *slowest.lock().expect("no client failed");
    assert!(slowest < Duration::from_secs(60), "{slowest:?}");
    // All of it, in a process that was none of them.
    assert_eq!(first.stop().0, Some(0));
    assert_eq!(second.stop().0, Some(0));
    let next = node(server);
    shared(server, 1);
    for client in 0..4 {
        assert_eq!(
            end(&next, &execution("passes", &format!("c{client}-0")))["output"],
            json!("x").to_string()
        );
    }
}
