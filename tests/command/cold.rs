//! Standard executions that wait and are not in memory: they are found, listed, stopped and answered like all others,
//! continue when they are due, and a restart leaves them where they are.

use serde_json::{Value as Json, json};

use super::durable::{
    ask, assert_dense, create, describe, end, execution, history, machine, metric, start, types,
};
use crate::serving::{Folder, Serving};

/// Executions that wait for a tenth of a second leave memory at once.
pub(crate) fn serve(folder: &Folder) -> Serving {
    let state = folder.0.join("state");
    let state = ["--state", state.to_str().expect("UTF-8"), "--insecure"];
    let all = [&state[..], &["--resident-executions-max", "0", "--resident-ms", "50"]].concat();
    Serving::start(&all)
}

/// Waits until so many are not in memory, and none of these is still to be written.
fn cold(serving: &Serving, executions: u64) {
    let value = |name: &str| metric(serving, name);
    while value("expressway_durable_cold") != executions || value("expressway_durable_cold_pending") != 0 {
        std::thread::yield_now();
    }
}

/// The names of a machine's executions, in pages of seven.
fn listed(serving: &Serving, of: &str, status: Option<&str>) -> Vec<String> {
    let (mut names, mut token) = (Vec::new(), Json::Null);
    loop {
        let mut request = json!({"stateMachineArn": machine(of), "maxResults": 7});
        if let Some(status) = status {
            request["statusFilter"] = json!(status);
        }
        if !token.is_null() {
            request["nextToken"] = token;
        }
        let page = ask(serving, "ListExecutions", request);
        let found = page["executions"].as_array().expect("a list").iter();
        names.extend(found.filter_map(|it| it["name"].as_str()).map(str::to_owned));
        token = page["nextToken"].clone();
        if token.is_null() {
            return names;
        }
    }
}

/// The token that a task has given to the execution which it has started.
fn token(serving: &Serving, name: &str) -> String {
    let child = ask(serving, "DescribeExecution", json!({"executionArn": execution("holds", name)}));
    let input: Json = child["input"].as_str().and_then(|it| serde_json::from_str(it).ok()).expect("JSON");
    input["token"].as_str().expect("a token").to_owned()
}

fn answer(serving: &Serving, token: &str, output: &str) -> (u16, String) {
    serving.ask("SendTaskSuccess", &json!({"taskToken": token, "output": output}).to_string())
}

#[test]
fn what_is_not_in_memory_is_found_and_goes_on() {
    let folder = Folder::new("cold");
    let serving = serve(&folder);
    create(&serving, "waits", json!({"A": {"Type": "Wait", "Seconds": 100_000, "End": true}}));
    create(
        &serving,
        "soon",
        json!({"A": {"Type": "Wait", "Seconds": 3, "Next": "B"}, "B": {"Type": "Pass", "Result": 1, "End": true}}),
    );
    create(&serving, "holds", json!({"A": {"Type": "Wait", "Seconds": 100_000, "End": true}}));
    create(
        &serving,
        "asks",
        json!({"A": {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.waitForTaskToken",
            "Parameters": {"StateMachineArn": machine("holds"), "Name.$": "$.name", "Input": {"token.$": "$$.Task.Token"}},
            "TimeoutSeconds": 90_000, "ResultPath": "$.answer", "End": true}}),
    );
    let waits: Vec<String> = (0..20).map(|n| format!("w{n}")).collect();
    let begun: Vec<Json> =
        waits.iter().map(|name| start(&serving, "waits", name, json!({"of": name}))).collect();
    let asks = ["a0", "a1", "a2", "a3"];
    asks.iter().for_each(|name| drop(start(&serving, "asks", name, json!({"name": name}))));
    cold(&serving, 28);
    let tokens: Vec<String> = asks.iter().map(|name| token(&serving, name)).collect();
    let newest: Vec<String> = waits.iter().rev().cloned().collect();
    let look = |serving: &Serving| {
        assert_eq!(listed(serving, "waits", Some("RUNNING")), newest);
        assert_eq!(listed(serving, "asks", None), ["a3", "a2", "a1", "a0"]);
        let described = describe(serving, &execution("waits", "w3"));
        assert_eq!(
            (&described["status"], &described["input"]),
            (&json!("RUNNING"), &json!(r#"{"of":"w3"}"#))
        );
        let events = history(serving, &execution("asks", "a0"));
        assert_dense(&events, "a0");
        let wanted =
            ["ExecutionStarted", "TaskStateEntered", "TaskScheduled", "TaskStarted", "TaskSubmitted"];
        assert_eq!(types(&events), wanted);
        let of = json!({"executionArn": execution("asks", "a0")});
        assert_eq!(ask(serving, "DescribeStateMachineForExecution", of)["name"], "asks");
        // Names are unique, and starts idempotent.
        assert_eq!(start(serving, "waits", "w3", json!({"of": "w3"})), begun[3]);
        let other = json!({"stateMachineArn": machine("waits"), "name": "w3", "input": "{}"}).to_string();
        let (status, body) = serving.ask("StartExecution", &other);
        assert!(status == 400 && body.contains("ExecutionAlreadyExists"), "{body}");
    };
    look(&serving);
    assert_eq!(metric(&serving, "expressway_durable_returned"), 0, "whoever looks brings nothing back");
    serving.kill();

    // A restart leaves them where they are; nothing that they wait for is asked for again.
    let serving = serve(&folder);
    look(&serving);
    let metrics =
        ["expressway_durable_recovered", "expressway_durable_in_doubt", "expressway_durable_returned"];
    assert_eq!(metrics.map(|name| metric(&serving, name)), [0, 0, 0]);
    assert_eq!(metric(&serving, "expressway_durable_cold"), 28);
    // What happens to them brings them back, and is as good as for those that stayed.
    ask(&serving, "SendTaskHeartbeat", json!({"taskToken": tokens[1]}));
    let stop = json!({"executionArn": execution("waits", "w3"), "error": "E", "cause": "C"});
    ask(&serving, "StopExecution", stop);
    assert_eq!(answer(&serving, &tokens[0], "7").0, 200);
    let (status, body) = answer(&serving, &tokens[0], "8");
    assert!(status == 400 && body.contains("TaskTimedOut"), "{body}");
    let failed = json!({"taskToken": tokens[2], "error": "Bad", "cause": "so"});
    ask(&serving, "SendTaskFailure", failed);
    start(&serving, "soon", "s", json!({}));
    serving.kill();

    let serving = serve(&folder);
    let answered = end(&serving, &execution("asks", "a0"));
    assert_eq!(answered["output"], json!(r#"{"name":"a0","answer":7}"#), "{answered}");
    let failed = end(&serving, &execution("asks", "a2"));
    assert_eq!((&failed["status"], &failed["error"]), (&json!("FAILED"), &json!("Bad")), "{failed}");
    let stopped = describe(&serving, &execution("waits", "w3"));
    assert_eq!((&stopped["status"], &stopped["error"]), (&json!("ABORTED"), &json!("E")), "{stopped}");
    let soon = end(&serving, &execution("soon", "s"));
    assert_eq!((&soon["status"], &soon["output"]), (&json!("SUCCEEDED"), &json!("1")), "{soon}");
    assert_dense(&history(&serving, &execution("soon", "s")), "s");
    let others: Vec<String> = newest.iter().filter(|name| **name != "w3").cloned().collect();
    assert_eq!(listed(&serving, "waits", Some("RUNNING")), others);
    assert_eq!(listed(&serving, "waits", Some("ABORTED")), ["w3"]);
    assert_eq!(listed(&serving, "waits", None).len(), 20);
    // The one whose token had a heartbeat, and the one that nothing happened to, are answered still.
    for n in [1, 3] {
        assert_eq!(answer(&serving, &tokens[n], "0").0, 200, "{}", asks[n]);
        assert_eq!(end(&serving, &execution("asks", asks[n]))["status"], "SUCCEEDED");
    }
    assert_eq!(serving.stop().0, Some(0));
}
