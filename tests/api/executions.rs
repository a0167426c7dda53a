//! Executions, activities, tasks and their tokens.

use serde_json::{Value as Json, json};

use super::client::{Client, ROLE};

const ACTIVITY: &str = "arn:aws:states:us-east-1:111111111111:activity:work";
const PREFIX: &str = "arn:aws:states:us-east-1:111111111111";

fn wait(client: &mut Client, name: &str, machine_type: &str) -> String {
    client.machine(name, machine_type, json!({"Wait": {"Type": "Wait", "Seconds": 60, "End": true}}))
}

fn history(client: &mut Client, arn: &str) -> Vec<String> {
    let events = client.ok("GetExecutionHistory", &json!({"executionArn": arn, "maxResults": 1000}));
    let types = events["events"].as_array().expect("events").iter().map(|event| event["type"].as_str());
    types.map(|name| name.expect("a type").to_owned()).collect()
}

#[test]
fn a_name_stands_for_one_execution() {
    let mut client = Client::new();
    let machine = wait(&mut client, "m", "STANDARD");
    let request = json!({"stateMachineArn": machine, "name": "n", "input": "{}"});
    let started = client.ok("StartExecution", &request);
    assert_eq!(started["executionArn"], format!("{PREFIX}:execution:m:n"));
    client.settle();
    client.time.advance(5_000);
    assert_eq!(client.ok("StartExecution", &request), started);
    // Inputs are compared as texts, so a blank makes another one, as it does in definitions (recorded).
    let blank = json!({"stateMachineArn": machine, "name": "n", "input": "{ }"});
    assert_eq!(client.refused("StartExecution", &blank).0, "ExecutionAlreadyExists");
    let other = json!({"stateMachineArn": machine, "name": "n", "input": "{\"a\": 1}"});
    let exists =
        ("ExecutionAlreadyExists".to_owned(), format!("Execution Already Exists: '{PREFIX}:execution:m:n'"));
    assert_eq!(client.refused("StartExecution", &other), exists);
    client.pass(60_000);
    let described = client.ok("DescribeExecution", &json!({"executionArn": started["executionArn"]}));
    assert_eq!((&described["status"], &described["output"]), (&json!("SUCCEEDED"), &json!("{}")));
    assert_eq!(described["redriveStatusReason"], "Execution is SUCCEEDED and cannot be redriven");
    // It is over, so even the same input is another execution.
    assert_eq!(client.refused("StartExecution", &request), exists);
    let bad = json!({"stateMachineArn": machine, "name": "a b"});
    assert_eq!(client.refused("StartExecution", &bad).1, "Invalid Name: 'a b'");
    let empty = json!({"stateMachineArn": machine, "input": ""});
    assert_eq!(
        client.refused("StartExecution", &empty).1,
        "Invalid State Machine Execution Input: 'Invalid execution input.'"
    );
}

#[test]
fn executions_are_listed_by_their_end_or_start_newest_first() {
    let mut client = Client::new();
    let machine = wait(&mut client, "m", "STANDARD");
    for n in 0..5 {
        client.ok("StartExecution", &json!({"stateMachineArn": machine, "name": format!("n{n}")}));
        client.time.advance(1_000);
    }
    client.settle();
    client
        .ok("StopExecution", &json!({"executionArn": format!("{PREFIX}:execution:m:n1"), "error": "Enough"}));
    let names = |list: &Json| -> Vec<String> {
        let items = list["executions"].as_array().expect("a list").iter();
        items.map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
    };
    let first = client.ok("ListExecutions", &json!({"stateMachineArn": machine, "maxResults": 2}));
    // The one that is over stopped after the last of the others had started.
    assert_eq!(names(&first), ["n1", "n4"]);
    let rest = json!({"stateMachineArn": machine, "nextToken": first["nextToken"]});
    assert_eq!(names(&client.ok("ListExecutions", &rest)), ["n3", "n2", "n0"]);
    for (status, expected) in [("ABORTED", &["n1"][..]), ("PENDING_REDRIVE", &[]), ("SUCCEEDED", &[])] {
        let filtered = json!({"stateMachineArn": machine, "statusFilter": status});
        assert_eq!(names(&client.ok("ListExecutions", &filtered)), expected);
    }
    let redriven = json!({"stateMachineArn": machine, "redriveFilter": "REDRIVEN"});
    assert_eq!(names(&client.ok("ListExecutions", &redriven)), [""; 0]);
    let aborted =
        client.ok("DescribeExecution", &json!({"executionArn": format!("{PREFIX}:execution:m:n1")}));
    assert_eq!((&aborted["status"], &aborted["error"]), (&json!("ABORTED"), &json!("Enough")));
    assert_eq!(client.refused("ListExecutions", &json!({})).0, "ValidationException");
    let run = json!({"mapRunArn": format!("{PREFIX}:mapRun:m/l:u")});
    assert_eq!(client.refused("ListExecutions", &run).0, "ResourceNotFound");
}

#[test]
fn a_history_is_shown_in_pages_from_either_end() {
    let mut client = Client::new();
    let machine = client.machine("m", "STANDARD", json!({"A": {"Type": "Pass", "End": true}}));
    let arn = client.start(&machine, r#"{"a":1}"#);
    let types = ["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"];
    assert_eq!(history(&mut client, &arn), types);
    let mut seen = Vec::new();
    let mut token = Json::Null;
    for _ in 0..2 {
        let request = json!({"executionArn": arn, "reverseOrder": true, "maxResults": 2, "nextToken": token});
        let page = client.ok("GetExecutionHistory", &request);
        seen.extend(page["events"].as_array().expect("events").iter().map(|event| event["id"].clone()));
        token = page["nextToken"].clone();
    }
    assert_eq!((Json::from(seen), token), (json!([4, 3, 2, 1]), Json::Null));
    let bare = json!({"executionArn": arn, "includeExecutionData": false});
    let events = client.ok("GetExecutionHistory", &bare)["events"].clone();
    assert_eq!(events[1]["stateEnteredEventDetails"], json!({"name": "A"}));
    assert_eq!(events[0]["executionStartedEventDetails"], json!({"roleArn": super::client::ROLE}));
    let nobody = json!({"executionArn": format!("{PREFIX}:execution:m:nobody")});
    for action in
        ["GetExecutionHistory", "DescribeExecution", "StopExecution", "DescribeStateMachineForExecution"]
    {
        assert_eq!(client.refused(action, &nobody).0, "ExecutionDoesNotExist");
        assert_eq!(
            client.refused(action, &json!({"executionArn": "x"})).1,
            "Invalid Arn: 'Invalid ARN prefix: x'"
        );
    }
}

#[test]
fn an_execution_keeps_the_machine_it_began_with() {
    let mut client = Client::new();
    let machine = wait(&mut client, "m", "STANDARD");
    let arn = client.start(&machine, "{}");
    let before = client.ok("DescribeStateMachineForExecution", &json!({"executionArn": arn}));
    let definition = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#;
    client.ok("UpdateStateMachine", &json!({"stateMachineArn": machine, "definition": definition}));
    assert_eq!(client.ok("DescribeStateMachineForExecution", &json!({"executionArn": arn})), before);
    client.ok("DeleteStateMachine", &json!({"stateMachineArn": machine}));
    client.pass(60_000);
    assert_eq!(client.ok("DescribeExecution", &json!({"executionArn": arn}))["status"], "SUCCEEDED");
}

#[test]
fn a_history_that_is_full_fails_the_execution() {
    let mut client = Client::new();
    let machine = client.machine("m", "STANDARD", json!({"A": {"Type": "Pass", "Next": "B"},
        "B": {"Type": "Choice", "Choices": [{"Variable": "$.go", "BooleanEquals": true, "Next": "A"}], "Default": "C"},
        "C": {"Type": "Succeed"}}));
    let arn = client.start(&machine, r#"{"go":true}"#);
    client.settle();
    let described = client.ok("DescribeExecution", &json!({"executionArn": arn}));
    assert_eq!(described["error"], "States.Runtime");
    assert_eq!(described["cause"], "The execution reached the maximum number of history events (25000).");
    let newest = json!({"executionArn": arn, "reverseOrder": true, "maxResults": 1});
    let newest = client.ok("GetExecutionHistory", &newest)["events"][0].clone();
    assert!(newest["id"].as_u64().is_some_and(|id| (25_000..25_005).contains(&id)), "{newest}");
}

#[test]
fn the_oldest_closed_executions_are_forgotten_when_they_take_too_much() {
    let mut client = Client::with(|builder| builder.executions_bytes_max(20_000));
    let machine = client.machine("m", "STANDARD", json!({"A": {"Type": "Pass", "End": true}}));
    let first = client.start(&machine, "{}");
    let input = json!({"text": "a".repeat(1_000)}).to_string();
    let last = (0..50).map(|_| client.start(&machine, &input)).last().expect("an ARN");
    assert_eq!(
        client.refused("DescribeExecution", &json!({"executionArn": first})).0,
        "ExecutionDoesNotExist"
    );
    client.ok("DescribeExecution", &json!({"executionArn": last}));
    let listed = client.ok("ListExecutions", &json!({"stateMachineArn": machine}));
    assert!((1..20).contains(&listed["executions"].as_array().expect("a list").len()), "{listed}");
}

#[test]
fn a_synchronous_execution_is_answered_with_its_outcome() {
    let mut client = Client::new();
    let states = json!({"A": {"Type": "Choice", "Default": "F", "Choices": [
        {"Variable": "$.ok", "BooleanEquals": true, "Next": "S"}]},
        "S": {"Type": "Pass", "Parameters": {"text.$": "$.text"}, "End": true},
        "F": {"Type": "Fail", "Error": "Mine", "Cause": "a \"cause\""}});
    let definition = json!({"StartAt": "A", "States": states}).to_string();
    let request =
        json!({"name": "m", "definition": definition, "roleArn": super::client::ROLE, "type": "EXPRESS"});
    let machine = client.ok("CreateStateMachine", &request)["stateMachineArn"].clone();
    let input = json!({"ok": true, "text": "tab\t quote\" back\\ é 漢"}).to_string();
    // With a name, and without one, which takes another path: both must give the same result.
    for name in [None, Some("mine")] {
        let request = |members: Json| {
            let mut request = json!({"stateMachineArn": machine});
            let all = request.as_object_mut().expect("an object");
            all.extend(name.map(|name| ("name".to_owned(), name.into())));
            all.extend(members.as_object().expect("members").clone());
            request
        };
        let whole = request(json!({"input": input, "traceHeader": "Root=1"}));
        let ended = client.ok("StartSyncExecution", &whole);
        assert_eq!(ended["status"], "SUCCEEDED");
        let output: Json = serde_json::from_str(ended["output"].as_str().expect("text")).expect("JSON");
        assert_eq!(output, json!({"text": "tab\t quote\" back\\ é 漢"}));
        assert_eq!((&ended["input"], &ended["traceHeader"]), (&json!(input), &json!("Root=1")));
        assert_eq!(ended["inputDetails"], json!({"included": true}));
        assert_eq!(
            ended["billingDetails"],
            json!({"billedMemoryUsedInMB": 64, "billedDurationInMilliseconds": 100})
        );
        let arn = ended["executionArn"].as_str().expect("an ARN");
        let own = ended["name"].as_str().expect("a name");
        assert!(arn.starts_with(&format!("{PREFIX}:express:m:{own}:")), "{arn}");
        assert_eq!(arn.len(), format!("{PREFIX}:express:m:{own}:").len() + 36);
        let bare = request(json!({"input": input, "includedData": "METADATA_ONLY"}));
        let ended = client.ok("StartSyncExecution", &bare);
        assert_eq!((ended.get("input"), ended.get("output")), (None, None));
        assert_eq!(ended["outputDetails"], json!({"included": false}));
        let failing = request(json!({"input": "{\"ok\": false}"}));
        let ended = client.ok("StartSyncExecution", &failing);
        assert_eq!((&ended["status"], &ended["error"]), (&json!("FAILED"), &json!("Mine")));
        assert_eq!((&ended["cause"], ended.get("output")), (&json!("a \"cause\""), None));
        let bad = request(json!({"input": "{'a'}"}));
        let (code, message) = client.refused("StartSyncExecution", &bad);
        assert_eq!(code, "InvalidExecutionInput");
        assert!(
            message.starts_with("Invalid State Machine Execution Input: 'Unexpected character ('''"),
            "{message}"
        );
    }
}

/// Requests that are alike are answered by what was found out about the ones before, as long as that is true.
#[test]
fn a_request_like_the_last_one_sees_what_changed_meanwhile() {
    let pass = |result: &str| json!({"P": {"Type": "Pass", "Result": result, "End": true}});
    let start = |client: &mut Client, machine: &str, behind: &str| -> Json {
        let body = format!(r#"{{"stateMachineArn":"{machine}","input":"{{\"a\":1}}"{behind}"#);
        let reply = client.raw("AWSStepFunctions.StartSyncExecution", body.as_bytes());
        serde_json::from_slice(&reply.body).expect("JSON")
    };
    let mut client = Client::new();
    let machine = client.machine("m", "EXPRESS", pass("one"));
    for _ in 0..3 {
        let answer = start(&mut client, &machine, "}");
        assert_eq!((&answer["output"], &answer["input"]), (&json!("\"one\""), &json!("{\"a\":1}")));
    }
    let traced =
        start(&mut client, &machine, r#","traceHeader":"Root=1-5759e988-bd862e3fe1be46a994272793"}"#);
    assert_eq!(traced["traceHeader"], "Root=1-5759e988-bd862e3fe1be46a994272793");
    for broken in ["", ",}", "} x"] {
        let answer = start(&mut client, &machine, broken);
        assert_eq!(answer["__type"], "com.amazon.coral.service#SerializationException", "{broken}: {answer}");
    }
    assert_eq!(start(&mut client, &machine, r#","input":"2"}"#)["input"], "2");
    // Another service on the same thread, with a machine of the same name.
    let mut other = Client::new();
    assert_eq!(other.machine("m", "EXPRESS", pass("other")), machine);
    assert_eq!(start(&mut other, &machine, "}")["output"], "\"other\"");
    assert_eq!(start(&mut client, &machine, "}")["output"], "\"one\"");
    let definition = json!({"StartAt": "P", "States": pass("two")}).to_string();
    client.ok("UpdateStateMachine", &json!({"stateMachineArn": machine, "definition": definition}));
    assert_eq!(start(&mut client, &machine, " \n}\n")["output"], "\"two\"");
    client.ok("DeleteStateMachine", &json!({"stateMachineArn": machine}));
    let gone = start(&mut client, &machine, "}");
    assert!(gone["__type"].as_str().is_some_and(|it| it.ends_with("#StateMachineDoesNotExist")), "{gone}");
    assert_eq!(start(&mut other, &machine, "}")["output"], "\"other\"");
}

#[test]
fn what_only_standard_has_is_refused_of_express() {
    let mut client = Client::new();
    let machine = wait(&mut client, "m", "EXPRESS");
    let started = client.ok("StartExecution", &json!({"stateMachineArn": machine, "name": "n"}));
    // Names of Express executions need not differ.
    let again = client.ok("StartExecution", &json!({"stateMachineArn": machine, "name": "n"}));
    assert_ne!(started["executionArn"], again["executionArn"]);
    let refused = client.refused("ListExecutions", &json!({"stateMachineArn": machine}));
    assert_eq!(refused.1, "This operation is not supported by this type of state machine");
    for action in
        ["DescribeExecution", "StopExecution", "GetExecutionHistory", "DescribeStateMachineForExecution"]
    {
        let refused = client.refused(action, &json!({"executionArn": started["executionArn"]}));
        assert_eq!(refused.1, "Invalid Arn: 'Resource type not valid in this context: express'");
    }
    // A Wait takes its time, in a synchronous execution as well.
    let ended = client.ok("StartSyncExecution", &json!({"stateMachineArn": machine}));
    let took = ended["stopDate"].as_f64().expect("a date") - ended["startDate"].as_f64().expect("a date");
    assert_eq!((took, &ended["billingDetails"]["billedDurationInMilliseconds"]), (60.0, &json!(60_000)));
}

#[test]
fn extensions_keep_express_executions_and_let_them_call_back() {
    let mut client = Client::with(|builder| builder.express_history(true).express_callbacks(true));
    let machine = wait(&mut client, "m", "EXPRESS");
    let arn = client.start(&machine, "{}");
    assert!(arn.contains(":express:m:"), "{arn}");
    assert_eq!(client.ok("DescribeExecution", &json!({"executionArn": arn}))["status"], "RUNNING");
    client.ok("StopExecution", &json!({"executionArn": arn}));
    assert_eq!(history(&mut client, &arn), ["ExecutionStarted", "WaitStateEntered", "ExecutionAborted"]);
    let ended = client.ok("StartSyncExecution", &json!({"stateMachineArn": machine}));
    let listed = client.ok("ListExecutions", &json!({"stateMachineArn": machine}));
    assert_eq!(listed["executions"][0]["executionArn"], ended["executionArn"]);
    client.ok("CreateActivity", &json!({"name": "work"}));
    let states = json!({"Ask": {"Type": "Task", "Resource": ACTIVITY, "End": true}});
    let asking = client.machine("asking", "EXPRESS", states);
    let arn = client.start(&asking, "{}");
    let task = client.ok("GetActivityTask", &json!({"activityArn": ACTIVITY}));
    client.ok("SendTaskSuccess", &json!({"taskToken": task["taskToken"], "output": "1"}));
    client.settle();
    assert_eq!(client.ok("DescribeExecution", &json!({"executionArn": arn}))["output"], "1");
}

#[test]
fn a_worker_asks_for_tasks_and_answers_them() {
    let mut client = Client::new();
    client.ok("CreateActivity", &json!({"name": "work"}));
    let poll = json!({"activityArn": ACTIVITY, "workerName": "me"});
    assert_eq!(client.ok("GetActivityTask", &poll), json!({}));
    let states = json!({"Ask": {"Type": "Task", "Resource": ACTIVITY, "HeartbeatSeconds": 10, "End": true}});
    let machine = client.machine("m", "STANDARD", states);
    let arn = client.start(&machine, r#"{"order":1}"#);
    let task = client.ok("GetActivityTask", &poll);
    assert_eq!(task["input"], r#"{"order":1}"#);
    let token = json!({"taskToken": task["taskToken"]});
    client.pass(9_000);
    client.ok("SendTaskHeartbeat", &token);
    client.pass(9_000);
    let answer = |output: &str| json!({"taskToken": task["taskToken"], "output": output});
    let (code, message) = client.refused("SendTaskSuccess", &answer("not JSON"));
    assert_eq!(code, "InvalidOutput", "{message}");
    client.ok("SendTaskSuccess", &answer("[1]"));
    client.settle();
    assert_eq!(client.ok("DescribeExecution", &json!({"executionArn": arn}))["output"], "[1]");
    for (action, request) in [
        ("SendTaskSuccess", answer("1")),
        ("SendTaskFailure", token.clone()),
        ("SendTaskHeartbeat", token.clone()),
    ] {
        let refused = client.refused(action, &request);
        assert_eq!(refused.0, "TaskTimedOut");
    }
    assert_eq!(client.refused("SendTaskHeartbeat", &json!({"taskToken": "x"})).0, "InvalidToken");
    let both_wrong = json!({"taskToken": "x", "output": "not JSON"});
    assert_eq!(client.refused("SendTaskSuccess", &both_wrong).0, "InvalidToken");
    let arn = client.start(&machine, "{}");
    let task = client.ok("GetActivityTask", &poll);
    let failure = json!({"taskToken": task["taskToken"], "error": "Mine", "cause": "why"});
    client.ok("SendTaskFailure", &failure);
    client.settle();
    let described = client.ok("DescribeExecution", &json!({"executionArn": arn}));
    assert_eq!((&described["error"], &described["cause"]), (&json!("Mine"), &json!("why")));
    assert!(history(&mut client, &arn).contains(&"ActivityFailed".to_owned()));
}

#[test]
fn an_activity_task_starts_when_a_worker_takes_it() {
    let mut client = Client::new();
    client.ok("CreateActivity", &json!({"name": "work"}));
    let states = json!({"Ask": {"Type": "Task", "Resource": ACTIVITY, "HeartbeatSeconds": 10,
        "TimeoutSeconds": 100, "End": true}});
    let machine = client.machine("m", "STANDARD", states);
    let worker = |client: &mut Client, arn: &str| {
        let history = client.ok("GetExecutionHistory", &json!({"executionArn": arn}));
        let events = history["events"].as_array().expect("events").clone();
        let started = events.iter().find(|event| event["type"] == "ActivityStarted").cloned();
        started.map(|event| event["activityStartedEventDetails"]["workerName"].clone())
    };
    // Heartbeats are only due after a worker has taken the task.
    let arn = client.start(&machine, "{}");
    client.pass(50_000);
    assert_eq!(worker(&mut client, &arn), None);
    client.ok("GetActivityTask", &json!({"activityArn": ACTIVITY, "workerName": "me"}));
    client.pass(9_000);
    assert_eq!(worker(&mut client, &arn), Some(json!("me")));
    assert_eq!(client.ok("DescribeExecution", &json!({"executionArn": arn}))["status"], "RUNNING");
    client.pass(2_000);
    assert_eq!(
        history(&mut client, &arn)[2..],
        ["ActivityScheduled", "ActivityStarted", "ActivityTimedOut", "ExecutionFailed"]
    );
    // A worker needs no name, and a task that no worker takes does not start.
    let arn = client.start(&machine, "{}");
    client.ok("GetActivityTask", &json!({"activityArn": ACTIVITY}));
    client.settle();
    assert_eq!(worker(&mut client, &arn), Some(json!(null)));
    client.pass(100_000);
    let arn = client.start(&machine, "{}");
    client.pass(100_000);
    // Nor does its time begin before.
    assert_eq!(history(&mut client, &arn)[2..], ["ActivityScheduled"]);
    client.ok("GetActivityTask", &json!({"activityArn": ACTIVITY}));
    client.pass(100_000);
    assert_eq!(
        history(&mut client, &arn)[2..],
        ["ActivityScheduled", "ActivityStarted", "ActivityTimedOut", "ExecutionFailed"]
    );
}

#[test]
fn a_task_of_no_activity_fails_its_execution() {
    let mut client = Client::new();
    let states = json!({"Ask": {"Type": "Task", "Resource": ACTIVITY, "End": true,
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]}, "Caught": {"Type": "Succeed"}});
    let machine = client.machine("m", "STANDARD", states);
    let fails = |client: &mut Client| {
        let arn = client.start(&machine, "{}");
        let described = client.ok("DescribeExecution", &json!({"executionArn": arn}));
        let cause = format!(
            "An error occurred while executing the state 'Ask' (entered at the event id #2). The activity \
             {ACTIVITY} does not exist."
        );
        assert_eq!((&described["error"], &described["cause"]), (&json!("States.Runtime"), &json!(cause)));
        let expected = ["ExecutionStarted", "TaskStateEntered", "ExecutionFailed"];
        assert_eq!(history(client, &arn), expected);
    };
    fails(&mut client);
    client.ok("CreateActivity", &json!({"name": "work"}));
    let arn = client.start(&machine, "{}");
    assert_eq!(client.ok("DescribeExecution", &json!({"executionArn": arn}))["status"], "RUNNING");
    client.ok("DeleteActivity", &json!({"activityArn": ACTIVITY}));
    fails(&mut client);
}

#[test]
fn a_job_that_is_waited_for_may_be_answered_for_with_its_token() {
    let mut client = Client::new();
    let inner = wait(&mut client, "inner", "STANDARD");
    let states = json!({"Run": {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync",
        "Parameters": {"StateMachineArn": inner, "Name": "job", "Input": {"token.$": "$$.Task.Token"}},
        "End": true}});
    let outer = client.machine("outer", "STANDARD", states);
    let arn = client.start(&outer, "{}");
    let job = json!({"executionArn": format!("{PREFIX}:execution:inner:job")});
    let input = client.ok("DescribeExecution", &job)["input"].clone();
    let input: serde_json::Value = serde_json::from_str(input.as_str().expect("text")).expect("JSON");
    client.ok("SendTaskSuccess", &json!({"taskToken": input["token"], "output": "[7]"}));
    client.settle();
    assert_eq!(client.ok("DescribeExecution", &json!({"executionArn": arn}))["output"], "[7]");
}

#[test]
fn a_machine_with_executions_is_deleted_when_they_are_over() {
    let mut client = Client::new();
    let machine = wait(&mut client, "m", "STANDARD");
    let arn = client.start(&machine, "{}");
    let other = client.start(&machine, "{}");
    let this = json!({"stateMachineArn": machine});
    for _ in 0..2 {
        client.ok("DeleteStateMachine", &this);
        assert_eq!(client.ok("DescribeStateMachine", &this)["status"], "DELETING");
    }
    let definition = r#"{"StartAt": "P", "States": {"P": {"Type": "Succeed"}}}"#;
    for (action, request) in [
        ("StartExecution", this.clone()),
        ("UpdateStateMachine", json!({"stateMachineArn": machine, "definition": definition})),
        ("PublishStateMachineVersion", this.clone()),
        ("CreateStateMachine", json!({"name": "m", "definition": definition, "roleArn": ROLE})),
    ] {
        let (code, message) = client.refused(action, &request);
        assert_eq!((&*code, &*message.replace(&machine, "ARN")), ("StateMachineDeleting", DELETING));
    }
    client.ok("StopExecution", &json!({"executionArn": other}));
    assert_eq!(client.ok("DescribeStateMachine", &this)["status"], "DELETING");
    client.pass(60_000);
    assert_eq!(client.refused("DescribeStateMachine", &this).0, "StateMachineDoesNotExist");
    assert_eq!(client.ok("ListStateMachines", &json!({}))["stateMachines"], json!([]));
    assert_eq!(client.ok("DescribeExecution", &json!({"executionArn": arn}))["status"], "SUCCEEDED");
    // Nothing runs: it is deleted at once, and may be created again.
    let machine = wait(&mut client, "m", "STANDARD");
    client.ok("DeleteStateMachine", &json!({"stateMachineArn": machine}));
    assert_eq!(client.refused("DescribeStateMachine", &this).0, "StateMachineDoesNotExist");
}

/// API reference, `DeleteStateMachine`: "on the next state transition, the state machine's executions are terminated".
#[test]
fn executions_of_a_deleted_machine_end_at_their_next_transition() {
    let waits = |next: &str| json!({"Type": "Wait", "Seconds": 60, "Next": next});
    let done = json!({"Type": "Succeed"});
    let branch =
        json!({"StartAt": "B", "States": {"B": {"Type": "Wait", "Seconds": 60, "Next": "C"}, "C": done}});
    let chain = json!({"W": waits("P"), "P": {"Type": "Pass", "Next": "D"}, "D": done});
    let parallel = json!({"W": {"Type": "Parallel", "Branches": [branch], "Next": "D",
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "D"}]}, "D": done});
    let map = json!({"W": {"Type": "Map", "ItemProcessor": branch, "End": true}});
    let retried = json!({"W": {"Type": "Parallel", "End": true, "Retry": [{"ErrorEquals": ["E"], "MaxAttempts": 1}],
        "Branches": [{"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "E"}}}]}});
    let alone = json!({"W": {"Type": "Wait", "Seconds": 60, "End": true}});
    let cases = [
        (
            "STANDARD",
            &chain,
            "{}",
            "ABORTED",
            "ExecutionStarted WaitStateEntered WaitStateExited ExecutionAborted",
        ),
        (
            "STANDARD",
            &parallel,
            "{}",
            "ABORTED",
            "ExecutionStarted ParallelStateEntered ParallelStateStarted WaitStateEntered WaitStateExited \
             ExecutionAborted",
        ),
        (
            "STANDARD",
            &map,
            "[1]",
            "ABORTED",
            "ExecutionStarted MapStateEntered MapStateStarted MapIterationStarted WaitStateEntered \
             WaitStateExited ExecutionAborted",
        ),
        // What its state does it does to its end.
        (
            "STANDARD",
            &alone,
            "{}",
            "SUCCEEDED",
            "ExecutionStarted WaitStateEntered WaitStateExited ExecutionSucceeded",
        ),
        (
            "STANDARD",
            &retried,
            "{}",
            "ABORTED",
            "ExecutionStarted ParallelStateEntered ParallelStateStarted FailStateEntered ParallelStateStarted \
             ExecutionAborted",
        ),
        (
            "EXPRESS",
            &chain,
            "{}",
            "SUCCEEDED",
            "ExecutionStarted WaitStateEntered WaitStateExited PassStateEntered PassStateExited \
             SucceedStateEntered SucceedStateExited ExecutionSucceeded",
        ),
    ];
    for (machine_type, states, input, status, events) in cases {
        let mut client = Client::with(|builder| builder.express_history(true));
        let machine = client.machine("m", machine_type, states.clone());
        let arn = client.start(&machine, input);
        client.ok("DeleteStateMachine", &json!({"stateMachineArn": machine}));
        client.settle();
        let this = json!({"executionArn": arn});
        assert_eq!(client.ok("DescribeExecution", &this)["status"], "RUNNING", "{events}");
        client.pass(61_000);
        let described = client.ok("DescribeExecution", &this);
        assert_eq!(described["status"], status, "{events}");
        assert!(described.get("error").is_none() && described.get("cause").is_none(), "{described}");
        let history = client.history(&arn.into());
        let types: Vec<&str> = history.iter().filter_map(|event| event["type"].as_str()).collect();
        assert_eq!(types.join(" "), events);
        let gone = client.refused("DescribeStateMachine", &json!({"stateMachineArn": machine})).0;
        assert_eq!(gone, "StateMachineDoesNotExist");
    }
}

const DELETING: &str = "State Machine is being deleted: 'ARN'";

#[test]
fn activities_are_created_once() {
    let mut client = Client::new();
    let created = client.ok("CreateActivity", &json!({"name": "work"}));
    client.time.advance(1_000);
    assert_eq!(client.ok("CreateActivity", &json!({"name": "work"})), created);
    let described = client.ok("DescribeActivity", &json!({"activityArn": ACTIVITY}));
    assert_eq!(described["creationDate"], created["creationDate"]);
    let encrypted = json!({"name": "work", "encryptionConfiguration":
        {"type": "CUSTOMER_MANAGED_KMS_KEY", "kmsKeyId": "k"}});
    assert_eq!(client.refused("CreateActivity", &encrypted).0, "ActivityAlreadyExists");
    assert_eq!(client.refused("CreateActivity", &json!({"name": "a b"})).1, "Invalid Name: 'a b'");
    for _ in 0..2 {
        client.ok("DeleteActivity", &json!({"activityArn": ACTIVITY}));
    }
    let gone = format!("Activity Does Not Exist: '{ACTIVITY}'");
    assert_eq!(client.refused("DescribeActivity", &json!({"activityArn": ACTIVITY})).1, gone);
    assert_eq!(client.refused("GetActivityTask", &json!({"activityArn": ACTIVITY})).1, gone);
    assert_eq!(client.refused("DeleteActivity", &json!({"activityArn": "x"})).0, "InvalidArn");
}

#[test]
fn map_runs_are_answered_though_there_are_none() {
    let mut client = Client::new();
    let machine = client.machine("m", "STANDARD", json!({"F": {"Type": "Fail"}}));
    let arn = client.start(&machine, "{}");
    let run = format!("{PREFIX}:mapRun:m/label:u");
    for action in ["DescribeMapRun", "UpdateMapRun"] {
        assert_eq!(client.refused(action, &json!({"mapRunArn": run})).0, "ResourceNotFound");
        assert_eq!(client.refused(action, &json!({"mapRunArn": arn})).0, "InvalidArn");
    }
    assert_eq!(client.ok("ListMapRuns", &json!({"executionArn": arn})), json!({"mapRuns": []}));
}

#[test]
fn a_task_starts_an_execution_and_waits_for_it() {
    let mut client = Client::new();
    let child = client.machine(
        "child",
        "STANDARD",
        json!({"C": {"Type": "Choice", "Default": "F", "Choices": [
        {"Variable": "$.ok", "BooleanEquals": true, "Next": "W"}]},
        "F": {"Type": "Fail", "Error": "Mine"},
        "W": {"Type": "Wait", "Seconds": 5, "End": true}}),
    );
    let parent = |client: &mut Client, name: &str, pattern: &str| {
        let states = json!({"Call": {"Type": "Task", "Resource": format!("arn:aws:states:::states:startExecution{pattern}"),
            "Parameters": {"StateMachineArn": child, "Input.$": "$", "Name.$": "$.name"}, "End": true}});
        client.machine(name, "STANDARD", states)
    };
    let run = |client: &mut Client, machine: &str, input: &Json| {
        let arn = client.start(machine, &input.to_string());
        client.pass(10_000);
        client.ok("DescribeExecution", &json!({"executionArn": arn}))
    };
    let output = |described: &Json| -> Json {
        serde_json::from_str(described["output"].as_str().expect("an output")).expect("JSON")
    };
    let machine = parent(&mut client, "sync2", ".sync:2");
    let ended = output(&run(&mut client, &machine, &json!({"ok": true, "name": "one"})));
    assert_eq!(ended["ExecutionArn"], format!("{PREFIX}:execution:child:one"));
    assert_eq!((&ended["Status"], &ended["Output"]["name"]), (&json!("SUCCEEDED"), &json!("one")));
    let machine = parent(&mut client, "sync", ".sync");
    let ended = output(&run(&mut client, &machine, &json!({"ok": true, "name": "two"})));
    assert_eq!(ended["Input"], json!({"ok": true, "name": "two"}).to_string());
    let failed = run(&mut client, &machine, &json!({"ok": false, "name": "three"}));
    assert_eq!(failed["error"], "States.TaskFailed");
    let cause: Json = serde_json::from_str(failed["cause"].as_str().expect("a cause")).expect("JSON");
    assert_eq!((&cause["Status"], &cause["Error"]), (&json!("FAILED"), &json!("Mine")));
    let again = run(&mut client, &machine, &json!({"ok": true, "name": "three"}));
    assert_eq!(again["error"], "StepFunctions.ExecutionAlreadyExistsException");
    let machine = parent(&mut client, "start", "");
    let started = output(&run(&mut client, &machine, &json!({"ok": true, "name": "four"})));
    assert_eq!(started["SdkHttpMetadata"]["HttpStatusCode"], 200);
    // Stopping the parent stops what it waits for.
    let machine = parent(&mut client, "stopped", ".sync");
    let arn = client.start(&machine, &json!({"ok": true, "name": "five"}).to_string());
    client.ok("StopExecution", &json!({"executionArn": arn}));
    client.settle();
    let child =
        client.ok("DescribeExecution", &json!({"executionArn": format!("{PREFIX}:execution:child:five")}));
    assert_eq!(child["status"], "ABORTED");
}

#[test]
fn a_test_case_mocks_tasks_and_is_read_again_when_it_changes() {
    let path = std::env::temp_dir().join(format!("expressway-mocks-{}.json", std::process::id()));
    let write = |value: u32| {
        let file = json!({"StateMachines": {"m": {"TestCases": {"Good": {"Call": "R"}}}},
            "MockedResponses": {"R": {"0": {"Return": {"value": value}}}}});
        std::fs::write(&path, " ".repeat(value as usize) + &file.to_string()).expect("a file");
    };
    let mut client = Client::with(|builder| builder.mock_config(&path));
    for machine_type in ["EXPRESS", "STANDARD"] {
        let states = json!({"Call": {"Type": "Task", "End": true,
            "Resource": "arn:aws:lambda:us-east-1:111111111111:function:f"}});
        let machine = client.machine("m", machine_type, states);
        for value in [1, 2] {
            write(value);
            let request = json!({"stateMachineArn": format!("{machine}#Good")});
            let described = match machine_type {
                "EXPRESS" => client.ok("StartSyncExecution", &request),
                _ => {
                    let started = client.ok("StartExecution", &request);
                    client.settle();
                    client.ok("DescribeExecution", &json!({"executionArn": started["executionArn"]}))
                }
            };
            assert_eq!(described["output"], json!({"value": value}).to_string());
        }
        let bad = json!({"stateMachineArn": format!("{machine}#Bad")});
        let (code, message) = client.refused("StartExecution", &bad);
        assert_eq!(code, "ValidationException");
        assert!(message.contains("no test case 'Bad'"), "{message}");
        client.ok("DeleteStateMachine", &json!({"stateMachineArn": machine}));
    }
    std::fs::remove_file(&path).expect("the file");
}

#[test]
fn definitions_are_validated_and_states_tested() {
    let mut client = Client::new();
    let definition = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Nxet": "B"}}}"#;
    let found = client.ok("ValidateStateMachineDefinition", &json!({"definition": definition}));
    assert_eq!((&found["result"], &found["truncated"]), (&json!("FAIL"), &json!(false)));
    assert_eq!(found["diagnostics"][0]["code"], "SCHEMA_VALIDATION_FAILED");
    let state = r#"{"Type": "Pass", "Parameters": {"b.$": "$.a"}, "End": true}"#;
    let request = json!({"definition": state, "input": r#"{"a": 1}"#, "inspectionLevel": "DEBUG"});
    let tested = client.ok("TestState", &request);
    assert_eq!((&tested["status"], &tested["output"]), (&json!("SUCCEEDED"), &json!(r#"{"b":1}"#)));
    assert_eq!(tested["inspectionData"]["afterParameters"], r#"{"b":1}"#);
    let mocked = json!({"definition": state, "mock": {"result": "{}"}});
    assert_eq!(client.refused("TestState", &mocked).0, "ValidationException");
}

#[test]
fn starts_are_throttled_while_open_histories_take_too_much() {
    let mut client = Client::with(|builder| builder.executions_bytes_max(10_000));
    let machine = wait(&mut client, "m", "STANDARD");
    let input = json!({"text": "a".repeat(3_000)}).to_string();
    let started = (0..100).find_map(|n| {
        let request = json!({"stateMachineArn": machine, "input": input, "name": n.to_string()});
        let refused = client.call("StartExecution", &request).err();
        client.settle();
        refused.map(|refused| (n, refused.code))
    });
    let (n, code) = started.expect("a refusal");
    assert_eq!(code, "ThrottlingException");
    assert!((1..10).contains(&n), "{n} began");
    // When they are over there is room again.
    client.pass(60_000);
    client.ok("StartExecution", &json!({"stateMachineArn": machine, "name": "later"}));
}
