//! Requests to the services with AWS JSON and the query protocol, and the handling of odd answers.

use std::collections::BTreeMap;

use expressway::task::aws::Integrations;
use serde_json::{Value, json};

use crate::server::{Asked, Server, answer};
use crate::{failure, output, run};

fn call(resource: &str, parameters: &Value, says: &str) -> (Asked, Value) {
    let server = Server::saying(answer(200, &[], says));
    let integrations = Integrations::new().endpoint_url(&format!("{}/base/", server.url())).expect("a URL");
    let output = output(&run(integrations, &format!("arn:aws:states:::{resource}"), parameters));
    (server.asked.recv().expect("a request"), output)
}

/// Measured: the classes are those of AWS's SDK for Java, and so is the text of an error without a message.
#[test]
fn errors_of_the_sdk_have_its_names_and_texts() {
    let details = |service: &str| format!("(Service: {service}, Status Code: 400, Request ID: r-1)");
    for (call, parameters, class, says, error, service) in [
        (
            "sqs:listQueues",
            json!({}),
            "com.amazonaws.sqs#QueueDoesNotExist",
            "gone",
            "Sqs.QueueDoesNotExistException",
            "Sqs",
        ),
        ("sfn:listActivities", json!({}), "InvalidArn", "no", "Sfn.InvalidArnException", "Sfn"),
        (
            "dynamodb:listTables",
            json!({}),
            "ValidationException",
            "no",
            "DynamoDb.DynamoDbException",
            "DynamoDb",
        ),
        (
            "dynamodb:listTables",
            json!({}),
            "ResourceNotFoundException",
            "",
            "DynamoDb.ResourceNotFoundException",
            "DynamoDb",
        ),
        (
            "dynamodbstreams:listStreams",
            json!({}),
            "Odd",
            "",
            "DynamoDbStreams.DynamoDbException",
            "DynamoDbStreams",
        ),
        (
            "secretsmanager:listSecrets",
            json!({}),
            "Odd",
            "",
            "SecretsManager.SecretsManagerException",
            "SecretsManager",
        ),
    ] {
        let body = match says {
            "" => json!({"__type": class}),
            says => json!({"__type": class, "message": says}),
        };
        let server = Server::saying(answer(400, &[("x-amzn-RequestId", "r-1")], body.to_string()));
        let integrations = Integrations::new().endpoint_url(&server.url()).expect("a URL");
        let outcome = run(integrations, &format!("arn:aws:states:::aws-sdk:{call}"), &parameters);
        let details = details(service);
        let cause = match says {
            "" => format!("{details} (SDK Attempt Count: 1) {details}"),
            says => format!("{says} {details} (SDK Attempt Count: 1)"),
        };
        assert_eq!(failure(&outcome), (error.to_owned(), cause), "{call} {class}");
    }
}

#[test]
fn events_tell_where_they_come_from() {
    let parameters = json!({"Entries": [
        {"Detail": {"a": 1}, "DetailType": "t", "Source": "s", "Resources": ["arn:mine"]},
        {"Detail": "{}", "DetailType": "t", "Source": "s"},
    ]});
    let (asked, _) = call("events:putEvents", &parameters, r#"{"FailedEntryCount":0,"Entries":[]}"#);
    assert_eq!(asked.headers["x-amz-target"], "AWSEvents.PutEvents");
    assert_eq!(asked.target, "/base/");
    let body = asked.json();
    assert_eq!(body["Entries"][0]["Detail"], "{\"a\":1}");
    let own = body["Entries"][0]["Resources"].as_array().expect("resources");
    assert_eq!(own[0], "arn:mine");
    let execution = own[1].as_str().expect("an ARN");
    assert!(execution.starts_with("arn:aws:states:us-east-1:123456789012:express:machine:"), "{execution}");
    assert_eq!(own[2], "arn:aws:states:us-east-1:123456789012:stateMachine:machine");
    assert_eq!(body["Entries"][1]["Resources"].as_array().map(Vec::len), Some(2));
}

#[test]
fn executions_of_other_machines_are_started() {
    let machine = "arn:aws:states:us-east-1:123456789012:stateMachine:other";
    let parameters = json!({"StateMachineArn": machine, "Input": {"a": [1]}, "Name": "n"});
    let says = r#"{"executionArn":"arn:x","startDate":1700000000.25,"unheardOf":1}"#;
    let (asked, output) = call("states:startExecution", &parameters, says);
    assert_eq!(asked.headers["x-amz-target"], "AWSStepFunctions.StartExecution");
    assert_eq!(asked.headers["content-type"], "application/x-amz-json-1.0");
    assert_eq!(asked.json(), json!({"stateMachineArn": machine, "input": "{\"a\":[1]}", "name": "n"}));
    assert_eq!(output["ExecutionArn"], "arn:x");
    assert_eq!(output["StartDate"], "2023-11-14T22:13:20.25Z");
    assert_eq!(output["SdkHttpMetadata"]["HttpStatusCode"], 200);
    assert_eq!(output.get("UnheardOf"), None);

    let says = r#"{"executionArn":"arn:x","status":"FAILED","error":"E","startDate":1700000000}"#;
    let parameters = json!({"StateMachineArn": machine, "Input": "{}"});
    let (asked, output) = call("aws-sdk:sfn:startSyncExecution", &parameters, says);
    assert_eq!(asked.json(), json!({"stateMachineArn": machine, "input": "{}"}));
    let expected = json!({"ExecutionArn": "arn:x", "Status": "FAILED", "Error": "E", "StartDate": "2023-11-14T22:13:20Z"});
    assert_eq!(output, expected, "a child that fails is no failure of the task");
}

#[test]
fn the_query_protocol_is_spoken() {
    let parameters = json!({"AutoScalingGroupName": "a&b", "Tags": [
        {"Key": "k", "Value": "v", "PropagateAtLaunch": true}], "MinSize": 1, "MaxSize": 2, "TerminationPolicies": []});
    let says = "<?xml version=\"1.0\"?><CreateAutoScalingGroupResponse/>";
    let (asked, output) = call("aws-sdk:autoscaling:createAutoScalingGroup", &parameters, says);
    let body = asked.text().to_owned();
    let fields: BTreeMap<&str, &str> = body.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let expected = [
        ("Action", "CreateAutoScalingGroup"),
        ("AutoScalingGroupName", "a%26b"),
        ("MaxSize", "2"),
        ("MinSize", "1"),
        ("Tags.member.1.Key", "k"),
        ("Tags.member.1.PropagateAtLaunch", "true"),
        ("Tags.member.1.Value", "v"),
        ("TerminationPolicies", ""),
        ("Version", "2011-01-01"),
    ];
    assert_eq!(fields, expected.into_iter().collect());
    assert_eq!(output, json!({}));

    let says = "<R><GetTopicAttributesResult><Attributes><entry><key>A &lt;&#x42;&gt;</key><value><![CDATA[<1>]]></value>\
        </entry></Attributes></GetTopicAttributesResult></R>";
    let (_, output) = call("aws-sdk:sns:getTopicAttributes", &json!({"TopicArn": "t"}), says);
    assert_eq!(output, json!({"Attributes": {"A <B>": "<1>"}}));
}

#[test]
fn answers_that_make_no_sense_are_failures() {
    let deep = "<a>".repeat(10_000);
    let entities = "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><R><GetTopicAttributesResult/></R>";
    for (resource, parameters, says) in [
        ("aws-sdk:sns:getTopicAttributes", json!({"TopicArn": "t"}), "not XML"),
        ("aws-sdk:sns:getTopicAttributes", json!({"TopicArn": "t"}), "<R></S>"),
        ("aws-sdk:sns:getTopicAttributes", json!({"TopicArn": "t"}), &*deep),
        ("aws-sdk:sns:getTopicAttributes", json!({"TopicArn": "t"}), entities),
        ("dynamodb:getItem", json!({"TableName": "t"}), "{"),
        ("aws-sdk:dynamodb:getItem", json!({"TableName": "t"}), "<html>"),
    ] {
        let server = Server::saying(answer(200, &[], says));
        let integrations = Integrations::new().endpoint_url(&server.url()).expect("a URL");
        let (error, cause) =
            failure(&run(integrations, &format!("arn:aws:states:::{resource}"), &parameters));
        assert_eq!(error, "States.Runtime", "{cause}");
        assert!(cause.starts_with("The service's answer cannot be read: "), "{cause}");
    }
}

#[test]
fn parameters_of_another_shape_are_refused() {
    let server = Server::saying(answer(200, &[], "{}"));
    for (resource, parameters, why) in [
        (
            "dynamodb:getItem",
            json!({"TableName": "t", "Key": []}),
            "The value of the field 'Key' has an invalid format",
        ),
        (
            "dynamodb:getItem",
            json!({"tableName": "t"}),
            "The field \"tableName\" is not supported by Step Functions",
        ),
        (
            "aws-sdk:dynamodb:query",
            json!({"TableName": "t", "Limit": "five"}),
            "The value of the field 'Limit' has an invalid format",
        ),
        (
            "sqs:sendMessage",
            json!({"QueueUrl": "q", "Extra": 1}),
            "The field \"Extra\" is not supported by Step Functions",
        ),
        ("lambda:invoke", json!({"Payload": 1}), "The field 'FunctionName' is required but was missing"),
    ] {
        let integrations = Integrations::new().endpoint_url(&server.url()).expect("a URL");
        let (error, cause) =
            failure(&run(integrations, &format!("arn:aws:states:::{resource}"), &parameters));
        assert_eq!(error, "States.Runtime", "{cause}");
        assert!(cause.ends_with(&format!("could not be used to start the Task: [{why}]")), "{cause}");
    }
    assert!(server.asked.try_recv().is_err(), "nobody was asked");
}
