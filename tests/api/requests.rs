//! Requests that AWS refuses before it looks at what they are about. What each member may be is taken from AWS's own
//! service model.

use serde_json::{Map, Value as Json, json};

use super::client::Client;
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
    // Members that nobody knows are left alone; no body is an empty one.
    assert_eq!(client.ok("ListActivities", &json!({"colour": {"red": [1]}}))["activities"], json!([]));
    assert_eq!(client.raw("AWSStepFunctions.ListActivities", b"").status, 200);
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

/// Values that the model does not allow, and what AWS says must be.
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
