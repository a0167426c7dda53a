//! Distributed Maps over the API: Map Runs and their child executions.

use serde_json::{Value as Json, json};

use super::client::Client;

const PREFIX: &str = "arn:aws:states:us-east-1:111111111111";

/// A distributed Map of `kind` over the input, with more fields.
fn map(kind: &str, states: &Json, more: &Json) -> Json {
    let start = states.as_object().and_then(|states| states.keys().next()).expect("a state");
    let mut map = json!({"Type": "Map", "Label": "each", "End": true, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": kind},
        "StartAt": start, "States": states}});
    let fields = map.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("fields").clone());
    json!({"M": map})
}

fn pass() -> Json {
    json!({"P": {"Type": "Pass", "End": true}})
}

/// Fails for the number 2.
fn fails_for_two() -> Json {
    json!({"C": {"Type": "Choice", "Default": "P",
            "Choices": [{"Variable": "$", "NumericEquals": 2, "Next": "F"}]},
        "F": {"Type": "Fail", "Error": "Two", "Cause": "it is two"}, "P": {"Type": "Pass", "End": true}})
}

fn described(client: &mut Client, arn: &str) -> Json {
    client.ok("DescribeExecution", &json!({"executionArn": arn}))
}

fn output(client: &mut Client, arn: &str) -> Json {
    let described = described(client, arn);
    assert_eq!(described["status"], "SUCCEEDED", "{described}");
    serde_json::from_str(described["output"].as_str().expect("an output")).expect("JSON")
}

fn events(client: &mut Client, arn: &str) -> Vec<Json> {
    let history = client.ok("GetExecutionHistory", &json!({"executionArn": arn}));
    history["events"].as_array().expect("events").clone()
}

fn map_run(client: &mut Client, execution: &str) -> Json {
    let runs = client.ok("ListMapRuns", &json!({"executionArn": execution}));
    let arn = runs["mapRuns"][0]["mapRunArn"].clone();
    client.ok("DescribeMapRun", &json!({"mapRunArn": arn}))
}

fn children(client: &mut Client, run: &Json) -> Vec<Json> {
    let list = client.ok("ListExecutions", &json!({"mapRunArn": run["mapRunArn"]}));
    list["executions"].as_array().expect("executions").clone()
}

#[test]
fn children_are_executions_and_their_outputs_the_maps_result() {
    for kind in ["STANDARD", "EXPRESS"] {
        let mut client = Client::new();
        let selector = json!({"ItemSelector": {"n.$": "$$.Map.Item.Index", "of.$": "$$.Map.Item.Value",
            "from.$": "$$.Map.Item.Source", "all.$": "States.ArrayLength($.items)"}, "ItemsPath": "$.items"});
        let machine = client.machine("m", "STANDARD", map(kind, &pass(), &selector));
        let arn = client.start(&machine, r#"{"items": ["a", "b", "c"]}"#);
        client.settle();
        let item = |n: usize, of: &str| json!({"n": n, "of": of, "from": "STATE_DATA", "all": 3});
        assert_eq!(output(&mut client, &arn), json!([item(0, "a"), item(1, "b"), item(2, "c")]), "{kind}");
        let events = events(&mut client, &arn);
        let told: Vec<_> = (events.iter())
            .map(|event| (event["type"].as_str().expect("a type"), event["previousEventId"].clone()))
            .collect();
        // Measured on AWS in 2026.
        let expected = [
            ("ExecutionStarted", 0),
            ("MapStateEntered", 0),
            ("MapStateStarted", 2),
            ("MapRunStarted", 3),
            ("MapRunSucceeded", 4),
            ("MapStateSucceeded", 5),
            ("MapStateExited", 4),
            ("ExecutionSucceeded", 7),
        ];
        assert_eq!(told, expected.map(|(name, previous)| (name, json!(previous))));
        let run = map_run(&mut client, &arn);
        let run_arn = run["mapRunArn"].as_str().expect("an ARN");
        assert!(run_arn.starts_with(&format!("{PREFIX}:mapRun:m/each:")), "{run_arn}");
        assert_eq!(events[3]["mapRunStartedEventDetails"]["mapRunArn"], run_arn);
        let counts = json!({"pending": 0, "running": 0, "succeeded": 3, "failed": 0, "timedOut": 0,
            "aborted": 0, "total": 3, "resultsWritten": 3});
        assert_eq!(
            (&run["status"], &run["itemCounts"], &run["executionCounts"]),
            (&json!("SUCCEEDED"), &counts, &counts)
        );
        let children = children(&mut client, &run);
        // Express children leave nothing behind.
        assert_eq!(children.len(), if kind == "STANDARD" { 3 } else { 0 });
        for child in &children {
            let arn = child["executionArn"].as_str().expect("an ARN");
            assert!(arn.starts_with(&format!("{PREFIX}:execution:m/each:")), "{arn}");
            assert_eq!(child["stateMachineArn"], format!("{PREFIX}:stateMachine:m/each"));
            assert_eq!(child["mapRunArn"], run_arn);
            assert_eq!(described(&mut client, arn)["mapRunArn"], run_arn);
            assert_eq!(self::events(&mut client, arn).len(), 4);
        }
        let of_machine = client.ok("ListExecutions", &json!({"stateMachineArn": machine}));
        assert_eq!(of_machine["executions"].as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn failed_children_are_tolerated_up_to_a_threshold() {
    // What is tolerated, items of which each 2 fails, and whether that is tolerated.
    for (tolerance, items, succeeds) in [
        (json!({}), [1, 2, 3, 4], false),
        (json!({"ToleratedFailureCount": 1}), [1, 2, 3, 4], true),
        (json!({"ToleratedFailureCount": 1}), [2, 2, 3, 4], false),
        (json!({"ToleratedFailureCount": 0, "ToleratedFailurePercentage": 25}), [1, 2, 3, 4], true),
        (json!({"ToleratedFailurePercentage": 25}), [1, 2, 3, 2], false),
        (json!({"ToleratedFailurePercentage": 24}), [1, 2, 3, 4], false),
        (json!({"ToleratedFailureCountPath": "$.most"}), [1, 2, 3, 4], false),
    ] {
        for kind in ["STANDARD", "EXPRESS"] {
            let mut client = Client::new();
            let mut fields = tolerance.clone();
            fields["ItemsPath"] = "$.items".into();
            let machine = client.machine("m", "STANDARD", map(kind, &fails_for_two(), &fields));
            let input = json!({"items": items, "most": 0}).to_string();
            let arn = client.start(&machine, &input);
            client.settle();
            if succeeds {
                let failed = json!({"Status": "FAILED", "Error": "Two", "Cause": "it is two"});
                assert_eq!(output(&mut client, &arn), json!([1, failed, 3, 4]), "{tolerance}");
                continue;
            }
            let described = described(&mut client, &arn);
            assert_eq!(described["error"], "States.ExceedToleratedFailureThreshold", "{tolerance} {kind}");
            let cause = "The specified tolerated failure threshold was exceeded";
            assert_eq!(described["cause"], cause);
            let events = events(&mut client, &arn);
            assert_eq!(events[4]["mapRunFailedEventDetails"]["cause"], cause);
            assert_eq!(events[5]["type"], "MapStateFailed");
            let run = map_run(&mut client, &arn);
            assert_eq!(run["status"], "FAILED");
            let failed = items.iter().filter(|&&item| item == 2).count();
            assert_eq!(run["executionCounts"]["failed"], failed, "{run}");
        }
    }
}

#[test]
fn a_failed_map_run_is_retried_and_caught() {
    let mut client = Client::new();
    let fields = json!({"Retry": [{"ErrorEquals": ["States.ExceedToleratedFailureThreshold"], "MaxAttempts": 1}],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]});
    let mut states = map("EXPRESS", &fails_for_two(), &fields);
    states["Caught"] = json!({"Type": "Pass", "End": true});
    let machine = client.machine("m", "STANDARD", states);
    let arn = client.start(&machine, "[2]");
    client.pass(10_000);
    assert_eq!(output(&mut client, &arn)["Error"], "States.ExceedToleratedFailureThreshold");
    let runs = client.ok("ListMapRuns", &json!({"executionArn": arn}));
    assert_eq!(runs["mapRuns"].as_array().map(Vec::len), Some(2));
}

#[test]
fn items_are_put_together_in_batches() {
    let batch = |items: Json| json!({"BatchInput": {"k": "v"}, "Items": items});
    // Bounds, and what the batches are.
    for (batcher, expected) in [
        (json!({"MaxItemsPerBatch": 2}), vec![json!([1, 2]), json!([3, 4]), json!([5])]),
        // {"BatchInput":{"k":"v"},"Items":[1,2,3]} has 40 bytes.
        (json!({"MaxInputBytesPerBatch": 40}), vec![json!([1, 2, 3]), json!([4, 5])]),
        (json!({"MaxItemsPerBatchPath": "$.most"}), vec![json!([1, 2, 3, 4]), json!([5])]),
    ] {
        let mut client = Client::new();
        let mut fields = json!({"ItemsPath": "$.items", "ItemBatcher": batcher});
        fields["ItemBatcher"]["BatchInput"] = json!({"k.$": "$.k"});
        let machine = client.machine("m", "STANDARD", map("EXPRESS", &pass(), &fields));
        let arn = client.start(&machine, r#"{"items": [1, 2, 3, 4, 5], "k": "v", "most": 4}"#);
        client.settle();
        let expected: Vec<Json> = expected.into_iter().map(batch).collect();
        assert_eq!(output(&mut client, &arn), json!(expected), "{batcher}");
        let run = map_run(&mut client, &arn);
        assert_eq!(run["itemCounts"]["succeeded"], 5);
        assert_eq!(run["executionCounts"]["succeeded"], expected.len());
    }
}

#[test]
fn so_many_children_run_at_once_and_that_can_be_changed() {
    let mut client = Client::new();
    let wait = json!({"W": {"Type": "Wait", "Seconds": 10, "End": true}});
    let machine = client.machine("m", "STANDARD", map("STANDARD", &wait, &json!({"MaxConcurrency": 2})));
    let arn = client.start(&machine, "[1, 2, 3, 4, 5, 6]");
    client.pass(1_000);
    let run = map_run(&mut client, &arn);
    assert_eq!((&run["status"], &run["maxConcurrency"]), (&json!("RUNNING"), &json!(2)));
    let counts = &run["executionCounts"];
    assert_eq!((&counts["running"], &counts["pending"], &counts["total"]), (&json!(2), &json!(4), &json!(6)));
    client.ok("UpdateMapRun", &json!({"mapRunArn": run["mapRunArn"], "maxConcurrency": 3}));
    client.pass(1_000);
    assert_eq!(map_run(&mut client, &arn)["executionCounts"]["running"], 3);
    client.pass(60_000);
    assert_eq!(output(&mut client, &arn), json!([1, 2, 3, 4, 5, 6]));
    let over = client.refused("UpdateMapRun", &json!({"mapRunArn": run["mapRunArn"], "maxConcurrency": 1}));
    assert_eq!(over.0, "ValidationException");
}

#[test]
fn whoever_stops_the_execution_stops_the_children() {
    for kind in ["STANDARD", "EXPRESS"] {
        let mut client = Client::new();
        let wait = json!({"W": {"Type": "Wait", "Seconds": 100, "End": true}});
        let machine = client.machine("m", "STANDARD", map(kind, &wait, &json!({})));
        let arn = client.start(&machine, "[1, 2]");
        client.pass(1_000);
        let run = map_run(&mut client, &arn);
        let running = children(&mut client, &run);
        client.ok("StopExecution", &json!({"executionArn": arn}));
        client.settle();
        let run = map_run(&mut client, &arn);
        assert_eq!((&run["status"], &run["executionCounts"]["aborted"]), (&json!("ABORTED"), &json!(2)));
        for child in running {
            let arn = child["executionArn"].as_str().expect("an ARN");
            assert_eq!(described(&mut client, arn)["status"], "ABORTED");
        }
        assert_eq!(client.service.counts().running, 0, "{kind}");
    }
}

#[test]
fn map_runs_are_nested_and_there_may_be_no_items() {
    let mut client = Client::new();
    let inner = map("EXPRESS", &pass(), &json!({"Label": "inner"}));
    let inner = json!({"Inner": inner["M"]});
    let machine = client.machine("m", "STANDARD", map("STANDARD", &inner, &json!({})));
    let arn = client.start(&machine, "[[1, 2], [], [3]]");
    client.settle();
    assert_eq!(output(&mut client, &arn), json!([[1, 2], [], [3]]));
    let run = map_run(&mut client, &arn);
    for child in children(&mut client, &run) {
        let of = child["executionArn"].as_str().expect("an ARN");
        let inner = map_run(&mut client, of);
        let inner = inner["mapRunArn"].as_str().expect("an ARN").to_owned();
        assert!(inner.starts_with(&format!("{PREFIX}:mapRun:m/each/inner:")), "{inner}");
    }
    let none = client.start(&machine, "[]");
    client.settle();
    assert_eq!(output(&mut client, &none), json!([]));
}

#[test]
fn a_result_that_is_too_large_fails_the_map() {
    let mut client = Client::new();
    let machine = client.machine(
        "m",
        "STANDARD",
        map(
            "EXPRESS",
            &pass(),
            &json!({
        "ItemsPath": "$.items", "ItemSelector": {"x.$": "$.x"}}),
        ),
    );
    let input = json!({"items": [1, 2, 3], "x": "x".repeat(100_000)});
    let arn = client.start(&machine, &input.to_string());
    client.settle();
    let described = described(&mut client, &arn);
    assert_eq!(described["error"], "States.DataLimitExceeded");
}

#[test]
fn a_selector_that_fails_fails_the_map_run() {
    let mut client = Client::new();
    let fields = json!({"ItemSelector": {"x.$": "$.nothing"}});
    let machine = client.machine("m", "STANDARD", map("EXPRESS", &pass(), &fields));
    let arn = client.start(&machine, "[1]");
    client.settle();
    let described = described(&mut client, &arn);
    assert_eq!((&described["status"], &described["error"]), (&json!("FAILED"), &json!("States.Runtime")));
}

#[test]
fn data_that_no_store_has_is_refused_by_name_and_place() {
    let mut client = Client::new();
    let reader = json!({"ItemReader": {"Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON"}, "Parameters": {"Bucket": "b", "Key": "k"}}});
    let writer = json!({"ResultWriter": {"Resource": "arn:aws:states:::s3:putObject",
        "Parameters": {"Bucket": "b", "Prefix": "p"}}});
    for (more, field, resource) in
        [(reader, "ItemReader", "s3:getObject"), (writer, "ResultWriter", "s3:putObject")]
    {
        let definition = json!({"StartAt": "M", "States": map("EXPRESS", &pass(), &more)});
        let request = json!({"name": "data", "roleArn": "arn:aws:iam::123456789012:role/r",
            "definition": definition.to_string()});
        let (code, message) = client.refused("CreateStateMachine", &request);
        assert_eq!(code, "InvalidDefinition", "{message}");
        for part in [resource, "is not supported", &format!("/States/M/{field}/Resource")] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}

/// Starts an execution whose Map Run gives its items to an activity; the activity, and the execution.
fn start_work(client: &mut Client, fields: &Json, items: &str) -> (Json, String) {
    let activity = client.ok("CreateActivity", &json!({"name": "work"}))["activityArn"].clone();
    let work = json!({"W": {"Type": "Task", "Resource": activity, "End": true}});
    let machine = client.machine("m", "STANDARD", map("STANDARD", &work, fields));
    (activity, client.start(&machine, items))
}

/// The next task of the activity fails.
fn fail(client: &mut Client, activity: &Json) {
    let token = take(client, activity);
    client.ok("SendTaskFailure", &json!({"taskToken": token, "error": "No"}));
}

/// Takes the next task of the activity; its token.
fn take(client: &mut Client, activity: &Json) -> Json {
    client.pass(1);
    let taken = client.ok("GetActivityTask", &json!({"activityArn": activity}));
    assert!(taken["taskToken"].is_string(), "there is no task");
    taken["taskToken"].clone()
}

#[test]
fn children_that_are_to_be_redriven_are_pending_until_the_map_run_comes_to_them() {
    let mut client = Client::new();
    let fields = json!({"MaxConcurrency": 1, "ToleratedFailureCount": 1});
    let (activity, arn) = start_work(&mut client, &fields, "[1, 2, 3, 4]");
    let succeeds = |client: &mut Client| {
        let token = take(client, &activity);
        client.ok("SendTaskSuccess", &json!({"taskToken": token, "output": "0"}));
    };
    let fails = |client: &mut Client| fail(client, &activity);
    let counts = |client: &mut Client| {
        client.pass(1);
        let run = map_run(client, &arn);
        assert_eq!(run["itemCounts"], run["executionCounts"]);
        let counts = &run["itemCounts"];
        ["pending", "pendingRedrive", "running", "succeeded", "failed", "aborted", "total"]
            .map(|name| counts[name].as_i64().unwrap_or(0))
    };
    // The statuses of those that began, newest first, as the list, its filter and the description say.
    let statuses = |client: &mut Client| {
        let run = map_run(client, &arn);
        let mut found = Vec::new();
        for child in children(client, &run) {
            let status = child["status"].as_str().expect("a status").to_owned();
            let of = child["executionArn"].as_str().expect("an ARN");
            assert_eq!(described(client, of)["status"], status.as_str());
            let of_status = json!({"mapRunArn": run["mapRunArn"], "statusFilter": status});
            let filtered = client.ok("ListExecutions", &of_status);
            let filtered = filtered["executions"].as_array().expect("executions").clone();
            assert!(filtered.iter().any(|it| it["executionArn"] == of), "{status}: {filtered:?}");
            assert!(filtered.iter().all(|it| it["status"] == status.as_str()), "{status}: {filtered:?}");
            found.push(status);
        }
        found.sort();
        found
    };
    succeeds(&mut client);
    fails(&mut client);
    fails(&mut client);
    assert_eq!(counts(&mut client), [1, 0, 0, 1, 2, 0, 4]);
    // As recorded on AWS of one that was not redriven.
    assert_eq!(map_run(&mut client, &arn)["itemCounts"].get("pendingRedrive"), None);
    assert_eq!(described(&mut client, &arn)["status"], "FAILED");
    assert_eq!(statuses(&mut client), ["FAILED", "FAILED", "SUCCEEDED"]);
    let redrive = json!({"executionArn": arn});
    client.ok("RedriveExecution", &redrive);
    // In memory, the first is found to have succeeded when the Map Run comes to it.
    assert_eq!(counts(&mut client), [1, 1, 1, 1, 0, 0, 4]);
    assert_eq!(statuses(&mut client), ["PENDING_REDRIVE", "RUNNING", "SUCCEEDED"]);
    // Stopped in between, none is pending any more.
    client.ok("StopExecution", &redrive);
    assert_eq!(counts(&mut client), [1, 0, 0, 1, 0, 2, 4]);
    assert_eq!(statuses(&mut client), ["ABORTED", "FAILED", "SUCCEEDED"]);
    client.pass(1);
    client.ok("RedriveExecution", &redrive);
    assert_eq!(counts(&mut client), [1, 1, 1, 1, 0, 0, 4]);
    assert_eq!(statuses(&mut client), ["PENDING_REDRIVE", "RUNNING", "SUCCEEDED"]);
    succeeds(&mut client);
    assert_eq!(counts(&mut client), [1, 0, 1, 2, 0, 0, 4]);
    succeeds(&mut client);
    succeeds(&mut client);
    assert_eq!(counts(&mut client), [0, 0, 0, 4, 0, 0, 4]);
    assert_eq!(described(&mut client, &arn)["status"], "SUCCEEDED");
    assert_eq!(statuses(&mut client), ["SUCCEEDED"; 4]);
}

/// The API's documentation: `failuresNotRedrivable` counts children that did not succeed and have the `redriveStatus`
/// `NOT_REDRIVABLE`, as they have when their time for it is over.
#[test]
fn failures_that_cannot_be_redriven_are_counted() {
    let mut client = Client::new();
    let fields = json!({"MaxConcurrency": 1, "ToleratedFailurePercentage": 100, "ItemBatcher": {"MaxItemsPerBatch": 2}});
    let (activity, arn) = start_work(&mut client, &fields, "[1, 2, 3, 4, 5, 6, 7]");
    let fails = |client: &mut Client| fail(client, &activity);
    let counts = |client: &mut Client| {
        client.pass(1);
        let run = map_run(client, &arn);
        ["executionCounts", "itemCounts"].map(|of| {
            ["failed", "aborted", "failuresNotRedrivable"].map(|name| run[of][name].as_i64().unwrap_or(-1))
        })
    };
    const DAY_MS: u64 = 86_400_000;
    fails(&mut client);
    fails(&mut client);
    // While all can be redriven, it is not there, as recorded on AWS.
    assert_eq!(counts(&mut client), [[2, 0, -1], [4, 0, -1]]);
    client.pass(13 * DAY_MS);
    fails(&mut client);
    assert_eq!(counts(&mut client), [[3, 0, -1], [6, 0, -1]]);
    client.pass(DAY_MS);
    assert_eq!(counts(&mut client), [[3, 0, 2], [6, 0, 4]]);
    let run = map_run(&mut client, &arn);
    let statuses: Vec<String> = children(&mut client, &run)
        .iter()
        .map(|child| {
            let described = described(&mut client, child["executionArn"].as_str().expect("an ARN"));
            format!("{} {}", described["status"], described["redriveStatus"]).replace('"', "")
        })
        .collect();
    let expected = [
        "RUNNING NOT_REDRIVABLE",
        "FAILED REDRIVABLE_BY_MAP_RUN",
        "FAILED NOT_REDRIVABLE",
        "FAILED NOT_REDRIVABLE",
    ];
    assert_eq!(statuses, expected);
    // The last batch has one item.
    client.ok("StopExecution", &json!({"executionArn": arn}));
    assert_eq!(counts(&mut client), [[3, 1, 2], [6, 1, 4]]);
    client.pass(13 * DAY_MS);
    assert_eq!(counts(&mut client), [[3, 1, 3], [6, 1, 6]]);
    client.pass(DAY_MS);
    assert_eq!(counts(&mut client), [[3, 1, 4], [6, 1, 7]]);
}

#[test]
fn a_map_run_is_redriven_a_thousand_times() {
    let mut client = Client::new();
    let fail = json!({"F": {"Type": "Fail", "Error": "No"}});
    let machine = client.machine("m", "STANDARD", map("EXPRESS", &fail, &json!({})));
    let arn = client.start(&machine, "[1]");
    let redrive = json!({"executionArn": arn});
    for _ in 0..1_000 {
        client.pass(1);
        client.ok("RedriveExecution", &redrive);
    }
    client.pass(1);
    assert_eq!(map_run(&mut client, &arn)["redriveCount"], 1_000);
    let (code, message) = client.refused("RedriveExecution", &redrive);
    assert_eq!(code, "ExecutionNotRedrivable");
    assert!(message.contains("A Map Run of the execution was redriven 1,000 times"), "{message}");
}
