//! What AWS would do with a draft, as the console tells it.

use expressway::server::{Console, Server};
use expressway::service::{CreateStateMachine, Service, Tag};
use serde_json::{Value as Json, json};

use crate::console::ask;
use crate::wire::{Client, config};

fn client() -> (Server, Client) {
    let service = Service::builder().build().expect("a service");
    let mut config = config();
    config.console = Some(Console::default());
    let server = Server::start(&config, &service).expect("a free port");
    let client = Client::of(&server);
    (server, client)
}

/// A finding as `when severity code "its place": its message`, and its fix.
fn shown(text: &str, finding: &Json) -> String {
    let units: Vec<u16> = text.encode_utf16().collect();
    let place = |it: &Json, name: &str| it[name].as_u64().map(|at| at as usize);
    let place = match (place(finding, "from"), place(finding, "to")) {
        (Some(from), Some(to)) => String::from_utf16(&units[from..to]).expect("UTF-16"),
        _ => format!("state {}", finding["state"]),
    };
    let word = |name: &str| finding[name].as_str().unwrap_or("-");
    let fix = finding["fix"]["insert"].as_str().map_or(String::new(), |insert| format!(" => {insert}"));
    format!("{} {} {} {place}: {}{fix}", word("when"), word("severity"), word("code"), word("message"))
}

/// Each draft, and what AWS does with it.
const CASES: &[(&str, &str, &str, &[&str])] = &[
    (
        "STANDARD",
        "json",
        r#"{"StartAt": "ä", "States": {"ä": {"Type": "Task", "Resource": "arn:aws:states:::nats:publish", "Next": "W"},
            "W": {"Type": "Wait", "Seconds": 400, "End": true}}}"#,
        &[
            "creation ERROR SCHEMA_VALIDATION_FAILED \"arn:aws:states:::nats:publish\": The resource provided \
           arn:aws:states:::nats:publish is not recognized. The value is not a valid resource ARN, or the resource is not \
           available in this region.",
        ],
    ),
    (
        "EXPRESS",
        "json",
        r#"{"TimeoutSeconds": 900, "StartAt": "W", "States": {
            "W": {"Type": "Wait", "Seconds": 300, "Next": "T"},
            "T": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "f"},
                "TimeoutSeconds": 301, "Retry": [{"ErrorEquals": ["E"], "MaxAttempts": 9}, {"ErrorEquals": ["States.ALL"],
                "MaxAttempts": 9, "MaxDelaySeconds": 30}], "End": true}}}"#,
        &[
            "run WARNING States.Timeout 900: These 900 s never pass: an Express execution times out after 5 minutes, 300 s \
             => 300",
            "run ERROR States.Timeout 300: In this Wait of 300 s an Express execution times out: it may take 5 minutes: a \
             Standard one may take a year",
            "run WARNING States.Timeout 301: These 301 s never pass: an Express execution times out after 5 minutes, 300 s \
             => 300",
            "run WARNING States.Timeout {\"ErrorEquals\": [\"E\"], \"MaxAttempts\": 9}: Its retries wait for 511 s in all: an \
             Express execution times out after 5 minutes, before the last one",
        ],
    ),
    // The same is fine in a Standard one, but for a year; children of a Map Run are what they are.
    (
        "STANDARD",
        "yaml",
        "StartAt: M\nStates:\n  M:\n    Type: Map\n    MaxConcurrency: 50\n    ItemProcessor:\n      StartAt: W\n      States:\n        \
         W: {Type: Wait, Seconds: 300, End: true}\n    Next: D\n  D:\n    Type: Map\n    MaxConcurrency: 20000\n    ItemProcessor:\n      \
         ProcessorConfig: {Mode: DISTRIBUTED, ExecutionType: EXPRESS}\n      StartAt: X\n      States:\n        \
         X: {Type: Wait, Seconds: 301, End: true}\n    Next: Y\n  Y: {Type: Wait, Seconds: 31536000, End: true}\n",
        &[
            "run WARNING - 50: AWS runs at most 40 iterations of an inline Map at a time, not 50 => 40",
            "run WARNING - 20000: AWS runs at most 10000 child executions of a Map Run at a time, not 20000 => 10000",
            "run ERROR States.Timeout 301: In this Wait of 301 s an Express execution times out: it may take 5 minutes: a \
             Standard one may take a year",
            "run ERROR States.Timeout 31536000: In this Wait of 31536000 s an execution times out: it may take a year",
        ],
    ),
    (
        "STANDARD",
        "json",
        r#"{"Comment": "${Any}", "StartAt": "T", "States": {"T": {"Type": "Task",
            "Resource": "arn:aws:states:::sqs:sendMessage", "Parameters": {"QueueUrl": {"Fn::GetAtt": ["Q", "Url"]},
            "MessageBody": {"a": "${Table}", "b": "${Table}", "c": {"Ref": "Q"}, "Ref": "a member"}}, "End": true}}}"#,
        &[
            "deployment WARNING - {\"Fn::GetAtt\": [\"Q\", \"Url\"]}: `Fn::GetAtt` of CloudFormation is not replaced: without \
             a tool that does, AWS takes it as it stands",
            "deployment WARNING - \"${Table}\": The placeholder `${Table}` is not replaced in 2 places: without a tool that \
             does, AWS takes it as it stands",
            "deployment WARNING - {\"Ref\": \"Q\"}: `Ref` of CloudFormation is not replaced: without a tool that does, AWS \
             takes it as it stands",
        ],
    ),
    (
        "EXPRESS",
        "json",
        r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "Parameters": {"id": "$.id"}, "Nxet": "P", "End": true}}}"#,
        &[
            "warning WARNING NO_DOLLAR \"$.id\": The value of the field 'id' looks like a JSONPath or an intrinsic function call",
            "creation ERROR SCHEMA_VALIDATION_FAILED \"Nxet\": Field 'Nxet' is not supported => \"Next\"",
        ],
    ),
    ("EXPRESS", "json", "{", &["creation ERROR INVALID_JSON_DESCRIPTION : -"]),
];

#[test]
fn what_aws_refuses_or_ends_is_told_with_its_place_and_a_fix() {
    let (_server, mut client) = client();
    for (machine_type, format, text, expected) in CASES {
        let body = json!({"text": text, "format": format, "type": machine_type});
        let told = ask(&mut client, "OnAws", &body);
        let found: Vec<String> = (told["findings"].as_array().expect("findings").iter())
            .map(|finding| shown(text, finding))
            .collect();
        // The words of the reader of JSON are tested where they are made.
        let fits = |(found, expected): (&String, &&str)| {
            found == expected || (found.contains("INVALID_JSON") && expected.contains("INVALID_JSON"))
        };
        let fit = found.len() == expected.len() && found.iter().zip(*expected).all(fits);
        assert!(fit, "{text}\n{found:#?}\nexpected: {expected:#?}");
    }
}

/// The row of a quota: how much is used, how much is allowed, how near that is, and where.
fn row(told: &Json, quota: &str) -> Option<(u64, u64, String, Json)> {
    let row = told["quotas"].as_array()?.iter().find(|row| row["quota"] == quota)?;
    Some((
        row["used"].as_u64()?,
        row["allowed"].as_u64()?,
        row["level"].as_str()?.into(),
        row["state"].clone(),
    ))
}

#[test]
fn quotas_are_told_of_the_definition_and_of_its_last_run() {
    let (_server, mut client) = client();
    // Line feeds take two bytes in a request.
    let name = "n".repeat(70);
    let text = format!(
        "{{\"StartAt\": \"{name}\", \"States\": {{\"{name}\": {{\"Type\": \"Succeed\"}}}}}}{}",
        "\n".repeat(600_000)
    );
    let body = json!({"text": text, "format": "json", "type": "STANDARD", "name": "m".repeat(81)});
    let told = ask(&mut client, "OnAws", &body);
    let bytes = text.len() as u64;
    let at = |quota| row(&told, quota).map(|(used, allowed, level, _)| (used, allowed, level));
    assert_eq!(at("Definition"), Some((bytes, 1_048_576, "within".into())), "{told}");
    let in_request = bytes + 600_000 + 12 + 2;
    assert_eq!(
        at("Definition in the request that creates it"),
        Some((in_request, 1_048_576, "over".into())),
        "{told}"
    );
    assert_eq!(at("Longest name of a state"), Some((70, 80, "near".into())), "{told}");
    assert_eq!(at("Name of the state machine"), Some((81, 80, "over".into())), "{told}");
    assert_eq!((at("Largest payload"), at("Tags of the state machine")), (None, None));
    // A run over the quota of payloads, which a Catch handles, and that of time.
    let half = "x".repeat(140_000);
    let text = json!({"QueryLanguage": "JSONata", "StartAt": "Twice", "States": {
        "Twice": {"Type": "Pass", "Output": "{% {'a': $states.input, 'b': $states.input} %}", "End": true},
    }});
    let text = text.to_string();
    let mut body =
        json!({"text": text, "format": "json", "type": "EXPRESS", "input": json!(half).to_string()});
    let ran = ask(&mut client, "Run", &body);
    assert_eq!(ran["error"], "States.DataLimitExceeded", "{}", ran["cause"]);
    body["used"] = ran["used"].clone();
    let told = ask(&mut client, "OnAws", &body);
    assert_eq!(row(&told, "Largest payload"), Some((140_002, 262_144, "within".into(), json!("Twice"))));
    assert_eq!(row(&told, "Events"), None, "an Express execution may have any number");
    let met = &told["findings"][0];
    assert_eq!(
        (&met["when"], &met["code"], &met["state"]),
        (&json!("last"), &json!("States.DataLimitExceeded"), &json!("Twice")),
        "{told}"
    );
    let text = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "SecondsPath": "$", "Next": "P"},
        "P": {"Type": "Pass", "Assign": {"v": "four"}, "End": true}}}"#;
    for (machine_type, seconds, used, level) in [
        ("EXPRESS", "299", (299, 300), "near"),
        ("EXPRESS", "900", (300, 300), "near"),
        ("STANDARD", "900", (900, 31_536_000), "within"),
    ] {
        let mut body = json!({"text": text, "format": "json", "type": machine_type, "input": seconds});
        let ran = ask(&mut client, "Run", &body);
        body["used"] = ran["used"].clone();
        let told = ask(&mut client, "OnAws", &body);
        let time = row(&told, "Time of the execution");
        assert_eq!(time, Some((used.0, used.1, level.into(), Json::Null)), "{ran}");
        let met: Vec<&Json> = told["findings"].as_array().expect("findings").iter().collect();
        if seconds == "900" && machine_type == "EXPRESS" {
            assert_eq!((met.len(), &met[0]["code"]), (1, &json!("States.Timeout")), "{told}");
            assert_eq!(met[0]["message"], "The execution timed out after 300 s");
        } else {
            assert!(met.is_empty(), "{told}");
            assert_eq!(row(&told, "Largest variable"), Some((6, 262_144, "within".into(), json!("P"))));
        }
        let events = ran["trace"]["events"].as_array().map(|events| events.len() as u64);
        let expected = events.filter(|_| machine_type == "STANDARD");
        assert_eq!(row(&told, "Events").map(|(used, ..)| used), expected, "{told}");
    }
}

#[test]
fn a_machine_has_tags_and_what_is_no_run_is_refused() {
    let service = Service::builder().build().expect("a service");
    let text = r#"{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}"#;
    let request = CreateStateMachine {
        name: "m".into(),
        definition: text.into(),
        role_arn: "arn:aws:iam::123456789012:role/r".into(),
        tags: (0..45).map(|n| Tag { key: format!("k{n}"), value: String::new() }).collect(),
        ..CreateStateMachine::default()
    };
    let created = service.create_state_machine(request).expect("a machine");
    let mut config = config();
    config.console = Some(Console::default());
    let server = Server::start(&config, &service).expect("a free port");
    let mut client = Client::of(&server);
    let body = json!({"text": text, "format": "json", "type": "STANDARD", "machineArn": &*created.arn});
    let told = ask(&mut client, "OnAws", &body);
    assert_eq!(row(&told, "Tags of the state machine"), Some((45, 50, "near".into(), Json::Null)), "{told}");
    for (member, value, error) in [
        ("machineArn", json!(format!("{}x", created.arn)), "ResourceNotFound"),
        ("used", json!({"events": "many"}), "ValidationException"),
        ("used", json!("none"), "ValidationException"),
    ] {
        let mut body = body.clone();
        body[member] = value;
        let told = ask(&mut client, "OnAws", &body);
        assert!(told["__type"].as_str().is_some_and(|it| it.ends_with(error)), "{member}: {told}");
    }
}

/// A Map of three items, one of which is tried again: its data is that of its iterations, and each retry is a transition.
#[test]
fn a_run_is_billed_by_its_transitions_its_time_and_its_data() {
    let (_server, mut client) = client();
    let text = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "MaxConcurrency": 1,
        "ItemSelector": {"all.$": "$$.Execution.Input"}, "ItemProcessor": {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:f",
            "Retry": [{"ErrorEquals": ["Again"], "IntervalSeconds": 1}], "Next": "W"},
            "W": {"Type": "Wait", "Seconds": 1, "End": true}}}, "End": true}}}"#;
    let mocks = json!({"T": {"0": {"Throw": {"Error": "Again", "Cause": "c"}}, "1-3": {"Return": 7}}});
    let item = "x".repeat(999_998);
    let items = json!([1, 2, 3]).to_string();
    let mut body = json!({"text": text, "format": "json", "type": "STANDARD", "input": items, "mocks": mocks.to_string()});
    let ran = ask(&mut client, "Run", &body);
    assert_eq!(ran["status"], "SUCCEEDED", "{ran}");
    body["used"] = ran["used"].clone();
    let told = ask(&mut client, "Estimate", &body);
    // The start, the Map, three tasks and waits, and a retry; three seconds in waits and one before the retry.
    assert_eq!((&told["transitions"], &told["ms"]), (&json!(9), &json!(4_000)), "{told}");
    // The input of each iteration, which is larger than any other payload.
    let data = 3 * r#"{"all":[1,2,3]}"#.len();
    assert_eq!(told["bytes"], json!(50_000_000 + text.len() + data), "{told}");
    assert_eq!(
        (&told["mb"], &told["region"], &told["executions"]),
        (&json!(64), &json!("us-east-1"), &json!(1_000))
    );
    let dollars = |name: &str| told[name].as_f64().expect("dollars");
    assert!((dollars("standard") - 0.225).abs() < 1e-9 && dollars("express") > 0.001, "{told}");
    // The data of all iterations counts together.
    body["used"]["stepsBytes"] = json!(16 * item.len());
    assert_eq!(ask(&mut client, "Estimate", &body)["mb"], 128);
    for used in [Json::Null, json!({}), json!("none")] {
        body["used"] = used;
        let told = ask(&mut client, "Estimate", &body);
        assert!(told["__type"].as_str().is_some_and(|it| it.ends_with("ValidationException")), "{told}");
    }
}
