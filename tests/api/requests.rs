//! Requests that AWS refuses before it checks their resources. The constraints of each member are taken from AWS's own
//! service model.

use serde_json::{Map, Value as Json, json};

use super::client::{Client, ROLE};
use super::model::Model;

#[test]
fn what_cannot_be_read_is_refused() {
    let mut client = Client::new();
    for (target, body, code) in [
        ("AWSStepFunctions.ListActivities", "{", "SerializationException"),
        ("AWSStepFunctions.ListActivities", "[]", "SerializationException"),
        ("AWSStepFunctions.ListActivities", "{\"maxResults\": \"ten\"}", "SerializationException"),
        ("AWSStepFunctions.TagResource", "{\"tags\": {}}", "SerializationException"),
        ("AWSStepFunctions.TagResource", "{\"tags\": [1]}", "SerializationException"),
        ("AWSStepFunctions.ListStateMachine", "{}", "UnknownOperationException"),
        ("DynamoDB_20120810.ListTables", "{}", "UnknownOperationException"),
        ("", "{}", "UnknownOperationException"),
    ] {
        let reply = client.raw(target, body.as_bytes());
        let answer: Json = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!((reply.status, reply.error.as_deref()), (400, Some(code)), "{target} {body}");
        assert!(answer["__type"].as_str().is_some_and(|name| name.ends_with(code)), "{answer}");
    }
    for (target, body, message) in [
        ("ListActivities", "[]", Some("Start of list found where not expected")),
        ("ListActivities", "7", None),
        (
            "ListActivities",
            r#"{"maxResults": "300"}"#,
            Some("STRING_VALUE can not be converted to an Integer"),
        ),
        ("ListActivities", r#"{"maxResults": true}"#, Some("TRUE_VALUE can not be converted to an Integer")),
        ("ListActivities", r#"{"maxResults": []}"#, Some("Start of list found where not expected")),
        (
            "ListActivities",
            r#"{"maxResults": {}}"#,
            Some("Start of structure or map found where not expected."),
        ),
        ("DescribeActivity", r#"{"activityArn": 1}"#, Some("NUMBER_VALUE can not be converted to a String")),
        ("CreateStateMachine", r#"{"publish": 1}"#, Some("NUMBER_VALUE can not be converted to a Boolean")),
        (
            "CreateStateMachine",
            r#"{"encryptionConfiguration": []}"#,
            Some("Start of list found where not expected"),
        ),
        ("CreateStateMachine", r#"{"encryptionConfiguration": 1}"#, Some("Expected null")),
        ("TagResource", r#"{"tags": "a"}"#, Some("Expected list or null")),
    ] {
        let reply = client.raw(&format!("AWSStepFunctions.{target}"), body.as_bytes());
        let answer: Json = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!((answer["Message"].as_str(), answer.get("message")), (message, None), "{target} {body}");
    }
    // Unknown members are ignored; no body is an empty one.
    assert_eq!(client.ok("ListActivities", &json!({"colour": {"red": [1]}}))["activities"], json!([]));
    assert_eq!(client.raw("AWSStepFunctions.ListActivities", b"").status, 200);
}

#[test]
fn problems_are_listed_by_the_names_of_members_and_fractions_are_cut() {
    let mut client = Client::new();
    let key = json!({"type": "Mine", "kmsKeyId": "", "kmsDataKeyReusePeriodSeconds": 59.9});
    let request = json!({"roleArn": "", "name": "m", "encryptionConfiguration": key});
    assert_eq!(
        client.refused("CreateStateMachine", &request).1,
        "5 validation errors detected: \
         Value null at 'definition' failed to satisfy constraint: Member must not be null; \
         Value '59' at 'encryptionConfiguration.kmsDataKeyReusePeriodSeconds' failed to satisfy constraint: \
         Member must have value greater than or equal to 60; \
         Value '' at 'encryptionConfiguration.kmsKeyId' failed to satisfy constraint: \
         Member must have length greater than or equal to 1; \
         Value 'Mine' at 'encryptionConfiguration.type' failed to satisfy constraint: \
         Member must satisfy enum value set: [AWS_OWNED_KEY, CUSTOMER_MANAGED_KMS_KEY]; \
         Value '' at 'roleArn' failed to satisfy constraint: \
         Member must have length greater than or equal to 1"
    );
    let key =
        json!({"type": "CUSTOMER_MANAGED_KMS_KEY", "kmsKeyId": "k", "kmsDataKeyReusePeriodSeconds": 900.5});
    let activity = client.ok("CreateActivity", &json!({"name": "a", "encryptionConfiguration": key}));
    let described = client.ok("DescribeActivity", &json!({"activityArn": activity["activityArn"]}));
    assert_eq!(described["encryptionConfiguration"]["kmsDataKeyReusePeriodSeconds"], 900);
}

#[test]
fn every_member_of_every_request_is_held_to_the_model() {
    let Some(model) = Model::load() else { return };
    let mut client = Client::new();
    let operations = model.0["operations"].as_object().expect("operations");
    assert_eq!(operations.len(), 37);
    let mut checked = 0;
    for (action, operation) in operations {
        let shape = &model.0["shapes"][operation["input"]["shape"].as_str().expect("a shape")];
        let valid: Map<String, Json> =
            required(shape).map(|name| (name.to_owned(), sample(&model, &shape["members"][name]))).collect();
        for name in required(shape) {
            let mut request = valid.clone();
            request.remove(name);
            let expected = format!(
                "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must \
                 not be null"
            );
            let (code, message) = client.refused(action, &Json::Object(request));
            assert_eq!((&*code, message), ("ValidationException", expected), "{action}");
            checked += 1;
        }
        for (name, member) in shape["members"].as_object().expect("members") {
            for (wrong, constraint) in wrongs(&model, member) {
                let mut request = valid.clone();
                request.insert(name.clone(), wrong);
                let (code, message) = client.refused(action, &Json::Object(request));
                assert_eq!(code, "ValidationException", "{action} {name}");
                let expected = format!("at '{name}' failed to satisfy constraint: Member must {constraint}");
                assert!(message.contains(&expected), "{action} {name}: {message}, not {expected}");
                checked += 1;
            }
        }
    }
    assert!(checked > 150, "only {checked} members were checked");
}

fn required(shape: &Json) -> impl Iterator<Item = &str> {
    shape["required"].as_array().into_iter().flatten().filter_map(Json::as_str)
}

/// A value that the model allows.
fn sample(model: &Model, member: &Json) -> Json {
    let shape = &model.0["shapes"][member["shape"].as_str().expect("a shape")];
    match shape["type"].as_str().expect("a type") {
        "string" => shape["enum"].get(0).cloned().unwrap_or_else(|| json!("a")),
        "integer" | "long" | "float" => shape["min"].as_i64().unwrap_or(1).into(),
        "boolean" => json!(true),
        "list" => json!([sample(model, &shape["member"])]),
        _ => {
            let members =
                required(shape).map(|name| (name.to_owned(), sample(model, &shape["members"][name])));
            Json::Object(members.collect())
        }
    }
}

/// Values that the model does not allow, and AWS's message for them.
fn wrongs(model: &Model, member: &Json) -> Vec<(Json, String)> {
    let shape = &model.0["shapes"][member["shape"].as_str().expect("a shape")];
    let (min, max) = (shape["min"].as_i64(), shape["max"].as_i64());
    let mut wrongs = Vec::new();
    match shape["type"].as_str().expect("a type") {
        "string" if shape.get("enum").is_some() => {
            wrongs.push((json!("Neither"), "satisfy enum value set: [".to_owned()));
        }
        "string" => {
            if let Some(max) = max.filter(|max| *max < 1_000_000) {
                let long = "a".repeat(max as usize + 1);
                wrongs.push((long.into(), format!("have length less than or equal to {max}")));
            }
            if min.is_some_and(|min| min > 0) {
                wrongs.push((json!(""), "have length greater than or equal to 1".to_owned()));
            }
        }
        "integer" | "long" | "float" => {
            if let Some(max) = max {
                wrongs.push((json!(max + 1), format!("have value less than or equal to {max}")));
            }
            if let Some(min) = min {
                wrongs.push((json!(min - 1), format!("have value greater than or equal to {min}")));
            }
        }
        "list" => {
            if let Some(max) = max {
                let items = vec![sample(model, &shape["member"]); max as usize + 1];
                wrongs.push((items.into(), format!("have length less than or equal to {max}")));
            }
            if min.is_some_and(|min| min > 0) {
                wrongs.push((json!([]), "have length greater than or equal to 1".to_owned()));
            }
        }
        _ => {}
    }
    wrongs
}

#[test]
fn numbers_that_no_double_has_are_called_so_where_a_state_is_tested() {
    let mut client = Client::new();
    let state = json!({"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": "f"}, "End": true});
    let number = r#"{"n": 1e400}"#;
    for (member, given) in [
        ("input", json!(number)),
        ("context", json!(number)),
        ("variables", json!(number)),
        ("mock", json!({"result": number})),
    ] {
        let mut request = json!({"definition": state.to_string(), "roleArn": ROLE, "mock": {"result": "{}"}});
        request[member] = given;
        let (_, message) = client.refused("TestState", &request);
        assert!(message.contains("number out of range"), "{member}: {message}");
    }
}
