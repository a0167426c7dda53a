//! Tasks that wait for a job or for their token: their history, and the outcome of the job.

use serde_json::{Value as Json, json};

use super::client::Client;

const PREFIX: &str = "arn:aws:states:us-east-1:111111111111";

/// The events of an execution, from the one with this id on.
fn events(client: &mut Client, arn: &str, from: usize) -> Vec<Json> {
    let history = client.ok("GetExecutionHistory", &json!({"executionArn": arn, "maxResults": 1000}));
    history["events"].as_array().expect("events")[from - 1..].to_vec()
}

/// Of each event its type, and that of the event it hangs on by its id.
fn chain(events: &[Json]) -> Vec<String> {
    let show = |event: &Json| {
        let name = event["type"].as_str().expect("a type");
        format!("{name}#{}<{}", event["id"], event["previousEventId"])
    };
    events.iter().map(show).collect()
}

fn child(client: &mut Client) -> String {
    let states = json!({
        "Which": {"Type": "Choice", "Default": "Wait", "Choices": [
            {"Variable": "$.fail", "IsPresent": true, "Next": "Fail"},
            {"Variable": "$.slow", "IsPresent": true, "Next": "Long"}]},
        "Fail": {"Type": "Fail", "Error": "Mine", "Cause": "on purpose"},
        "Long": {"Type": "Wait", "Seconds": 100, "End": true},
        "Wait": {"Type": "Wait", "Seconds": 5, "End": true}});
    client.machine("child", "STANDARD", states)
}

fn parent(client: &mut Client, pattern: &str, more: &Json) -> String {
    let child = child(client);
    let mut state = json!({"Type": "Task", "Resource": format!("arn:aws:states:::states:startExecution{pattern}"),
        "Parameters": {"StateMachineArn": child, "Input.$": "$.input", "Name.$": "$.name"}, "End": true});
    state.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    client.machine(&format!("parent{}", pattern.replace(['.', ':'], "-")), "STANDARD", json!({"Call": state}))
}

#[test]
fn a_job_is_submitted_before_it_is_over() {
    for pattern in [".sync", ".sync:2"] {
        let mut client = Client::new();
        let machine = parent(&mut client, pattern, &json!({}));
        let arn = client.start(&machine, r#"{"name": "one", "input": {"a": 1}}"#);
        client.pass(10_000);
        let found = events(&mut client, &arn, 3);
        let expected = [
            "TaskScheduled#3<2",
            "TaskStarted#4<3",
            "TaskSubmitted#5<4",
            "TaskSucceeded#6<5",
            "TaskStateExited#7<6",
            "ExecutionSucceeded#8<7",
        ];
        assert_eq!(chain(&found), expected);
        let submitted = &found[2]["taskSubmittedEventDetails"];
        assert_eq!(submitted["resourceType"], "states");
        assert_eq!(submitted["resource"], format!("startExecution{pattern}"));
        let output: Json = serde_json::from_str(submitted["output"].as_str().expect("text")).expect("JSON");
        let names =
            |json: &Json| -> Vec<String> { json.as_object().expect("an object").keys().cloned().collect() };
        assert_eq!(names(&output), ["ExecutionArn", "SdkHttpMetadata", "SdkResponseMetadata", "StartDate"]);
        let metadata = &output["SdkHttpMetadata"];
        assert_eq!(names(metadata), ["AllHttpHeaders", "HttpHeaders", "HttpStatusCode"]);
        let all = ["x-amzn-RequestId", "connection", "Content-Length", "Date", "Content-Type"];
        assert_eq!(names(&metadata["AllHttpHeaders"]), all);
        assert_eq!(metadata["AllHttpHeaders"]["Date"], json!(["Mon, 01 Jan 2024 00:00:00 GMT"]));
        let sorted = ["connection", "Content-Length", "Content-Type", "Date", "x-amzn-RequestId"];
        assert_eq!(names(&metadata["HttpHeaders"]), sorted);
        let input = match pattern {
            ".sync" => json!(r#"{"a":1}"#),
            _ => json!({"a": 1}),
        };
        let output: Json =
            serde_json::from_str(found[3]["taskSucceededEventDetails"]["output"].as_str().expect("text"))
                .expect("JSON");
        assert_eq!((&output["Input"], &output["Output"]), (&input, &input));
    }
}

#[test]
fn a_failed_job_is_shown_with_its_input_as_text() {
    for pattern in [".sync", ".sync:2"] {
        let mut client = Client::new();
        let machine = parent(&mut client, pattern, &json!({}));
        let arn = client.start(&machine, r#"{"name": "one", "input": {"fail": 1}}"#);
        let found = events(&mut client, &arn, 5);
        assert_eq!(chain(&found), ["TaskSubmitted#5<4", "TaskFailed#6<5", "ExecutionFailed#7<6"]);
        let failed = &found[1]["taskFailedEventDetails"];
        assert_eq!(failed["error"], "States.TaskFailed");
        let cause: Json = serde_json::from_str(failed["cause"].as_str().expect("text")).expect("JSON");
        let shown = (&cause["Error"], &cause["Cause"], &cause["Input"], &cause["Status"]);
        assert_eq!(shown, (&json!("Mine"), &json!("on purpose"), &json!(r#"{"fail":1}"#), &json!("FAILED")));
    }
}

#[test]
fn a_job_whose_own_time_is_over_has_no_error() {
    let mut client = Client::new();
    let definition = json!({"StartAt": "W", "TimeoutSeconds": 2, "States": {"W": {"Type": "Wait", "Seconds": 9, "End": true}}});
    let request =
        json!({"name": "child", "roleArn": super::client::ROLE, "definition": definition.to_string()});
    client.ok("CreateStateMachine", &request);
    let states = json!({"Call": {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Parameters": {"StateMachineArn": format!("{PREFIX}:stateMachine:child")}, "End": true}});
    let machine = client.machine("parent", "STANDARD", states);
    let arn = client.start(&machine, "{}");
    client.pass(5_000);
    let found = events(&mut client, &arn, 6);
    let cause = found[0]["taskFailedEventDetails"]["cause"].as_str().expect("text");
    let cause: Json = serde_json::from_str(cause).expect("JSON");
    assert_eq!((&cause["Status"], cause.get("Error"), cause.get("Cause")), (&json!("TIMED_OUT"), None, None));
}

#[test]
fn a_job_that_nobody_waits_for_any_more_is_aborted_with_a_cause() {
    let more = json!({"TimeoutSeconds": 7});
    for (name, stops) in [("task", false), ("stopped", true)] {
        let mut client = Client::new();
        let machine = parent(&mut client, ".sync", &more);
        let arn = client.start(&machine, &json!({"name": name, "input": {"slow": 1}}).to_string());
        if stops {
            drop(client.ok("StopExecution", &json!({"executionArn": arn})))
        } else {
            client.pass(8_000)
        }
        client.settle();
        let job = format!("{PREFIX}:execution:child:{name}");
        let job = client.ok("DescribeExecution", &json!({"executionArn": job}));
        let cause = format!(
            "The Task state in AWS Step Functions execution [{arn}] which was managing this resource was aborted"
        );
        assert_eq!(
            (&job["status"], job.get("error"), &job["cause"]),
            (&json!("ABORTED"), None, &json!(cause))
        );
    }
}

#[test]
fn a_mocked_job_is_submitted_too() {
    let path = std::env::temp_dir().join(format!("expressway-mocked-jobs-{}.json", std::process::id()));
    let file = json!({
        "StateMachines": {"m": {"TestCases": {
            "Good": {"Call": "Good"}, "Bad": {"Call": "Bad"}, "Told": {"Call": "Told"}}}},
        "MockedResponses": {
            "Good": {"0": {"Return": {"value": 1}}},
            "Bad": {"0": {"Throw": {"Error": "Mine"}}},
            "Told": {"0": {"Return": 7, "Submitted": {"MessageId": "m"}}}}});
    std::fs::write(&path, file.to_string()).expect("a file");
    let mut client = Client::with(|builder| builder.mock_config(&path));
    let states = json!({"Call": {"Type": "Task", "End": true, "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": "https://sqs.us-east-1.amazonaws.com/111111111111/q", "MessageBody.$": "$$.Task.Token"}}});
    let machine = client.machine("m", "STANDARD", states);
    let good = ["TaskSubmitted#5<4", "TaskSucceeded#6<5", "TaskStateExited#7<6", "ExecutionSucceeded#8<7"];
    let bad = ["TaskSubmitted#5<4", "TaskFailed#6<5", "ExecutionFailed#7<6"];
    for (case, submitted, expected) in
        [("Good", r#"{"value":1}"#, &good[..]), ("Bad", "{}", &bad), ("Told", r#"{"MessageId":"m"}"#, &good)]
    {
        let arn = client.start(&format!("{machine}#{case}"), "{}");
        client.pass(1);
        let found = events(&mut client, &arn, 5);
        assert_eq!(chain(&found), expected);
        let details = &found[0]["taskSubmittedEventDetails"];
        assert_eq!(
            (&details["output"], &details["resource"]),
            (&json!(submitted), &json!("sendMessage.waitForTaskToken"))
        );
    }
    std::fs::remove_file(&path).expect("the file");
}

#[test]
fn a_missing_mock_is_not_caught_and_named() {
    let path = std::env::temp_dir().join(format!("expressway-missing-mocks-{}.json", std::process::id()));
    let file = json!({
        "StateMachines": {"m": {"TestCases": {"None": {}, "Once": {"Call": "Once"}}}},
        "MockedResponses": {"Once": {"0": {"Throw": {"Error": "E"}}}}});
    std::fs::write(&path, file.to_string()).expect("a file");
    let mut client = Client::with(|builder| builder.mock_config(&path));
    let all = json!(["States.ALL"]);
    let states = json!({
        "Call": {"Type": "Task", "End": true, "Resource": "arn:aws:lambda:us-east-1:111111111111:function:f",
            "Retry": [{"ErrorEquals": all}], "Catch": [{"ErrorEquals": all, "Next": "Caught"}]},
        "Caught": {"Type": "Pass", "End": true}});
    let machine = client.machine("m", "STANDARD", states);
    for (case, cause) in [
        ("#None", "The test case 'None' has no mocked response for the state 'Call', invocation 0."),
        (
            "#Once",
            "The mocked response 'Once' of the state 'Call' in the test case 'Once' has no answer for invocation 1.",
        ),
        (
            "",
            "No handler is registered for the resource arn:aws:lambda:us-east-1:111111111111:function:f of the state \
             'Call' (invocation 0).",
        ),
    ] {
        let arn = client.start(&format!("{machine}{case}"), "{}");
        client.pass(10_000);
        let described = client.ok("DescribeExecution", &json!({"executionArn": arn}));
        assert_eq!((&described["error"], &described["cause"]), (&json!("States.Runtime"), &json!(cause)));
    }
    std::fs::remove_file(&path).expect("the file");
}
