//! The recorded service tasks: our server replays what AWS's services answered, and the result or the error must be as
//! recorded.
//!
//! Left out are tasks whose answer is not that of a service (callbacks, timeouts, results that are too large), and
//! services that are not supported; both are counted.

use crate::required::not_run;
use std::collections::BTreeMap;
use std::path::PathBuf;

use expressway::runtime::{Engine, Profile};
use expressway::task::aws::Integrations;
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::failure;
use crate::server::{Says, Server, answer};

/// Recorded differently, each with a reason.
const KNOWN: &str = include_str!("../known/integrations.txt");

pub(crate) fn cases() -> Option<Vec<Value>> {
    let folder = std::env::var_os("EXPRESSWAY_CORPUS").map(PathBuf::from);
    let folder =
        folder.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance"));
    let Ok(text) = std::fs::read_to_string(folder.join("execution.jsonl")) else {
        not_run(&format!("the recorded cases are not at {} (see EXPRESSWAY_CORPUS)", folder.display()));
        return None;
    };
    Some(text.lines().map(|line| serde_json::from_str(line).expect("a case")).collect())
}

/// The resource of a state, however deep it lies.
fn resource(definition: &Value, state: &str) -> Option<String> {
    match definition {
        Value::Object(members) => {
            let own = members.get("States").and_then(|states| states.get(state)?.get("Resource")?.as_str());
            own.map(str::to_owned).or_else(|| members.values().find_map(|inner| resource(inner, state)))
        }
        Value::Array(items) => items.iter().find_map(|item| resource(item, state)),
        _ => None,
    }
}

#[test]
fn recorded_answers_become_what_was_recorded() {
    let Some(cases) = cases() else { return };
    let known: BTreeMap<&str, &str> = KNOWN
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .collect();
    let (mut tried, mut left_out, mut wrong) = (0, 0, Vec::new());
    let mut failed = Vec::new();
    for case in &cases {
        let states = case["mocks"].as_object().into_iter().flatten();
        for (state, mocks) in states {
            let Some(resource) = resource(&case["definition"], state) else { continue };
            for (n, mock) in mocks.as_array().expect("mocks").iter().enumerate() {
                let Some(says) = recorded(&resource, mock) else {
                    left_out += 1;
                    continue;
                };
                tried += 1;
                let id = format!("{} {state} {n}", case["id"].as_str().unwrap_or_default());
                if let Err(what) = check(&resource, mock, says) {
                    failed.push(id.clone());
                    if !known.contains_key(&*id) {
                        wrong.push(format!("{id}: {resource}: {what}"));
                    }
                }
            }
        }
    }
    for id in known.keys().filter(|id| !failed.iter().any(|it| it == *id)) {
        wrong.push(format!("{id}: passes, but stands in tests/known/integrations.txt"));
    }
    println!("{tried} recorded answers tried, {left_out} left out");
    assert!(tried > 80, "hardly any recorded answer was found");
    assert!(wrong.is_empty(), "{}\n", wrong.join("\n"));
}

fn is_supported(resource: &str) -> bool {
    let unsupported = [":activity:", ".sync", ".waitForTaskToken", "aws-sdk:s3:"];
    !unsupported.iter().any(|it| resource.contains(it))
}

/// The service's presumed answer; `None` when it is unknown.
fn recorded(resource: &str, mock: &Value) -> Option<Says> {
    if !is_supported(resource) {
        return None;
    }
    if let Some(thrown) = mock.get("throw") {
        let error = thrown["error"].as_str()?;
        let cause = thrown["cause"].as_str()?;
        return thrown_by(resource, error, cause);
    }
    let result = mock.get("return")?;
    if resource.starts_with("arn:aws:lambda") {
        return Some(answer(200, &[], result.to_string()));
    }
    let mut headers: Vec<(String, String)> = Vec::new();
    let listed = result["SdkHttpMetadata"]["HttpHeaders"].as_object();
    for (name, value) in listed.into_iter().flatten().filter(|(name, _)| !is_of_transport(name)) {
        headers.push((name.clone(), value.as_str()?.to_owned()));
    }
    let body = if resource.ends_with("lambda:invoke") {
        result["Payload"].to_string()
    } else if resource.ends_with("apigateway:invoke") {
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        result["ResponseBody"].to_string()
    } else {
        let mut members = result.as_object()?.clone();
        members.retain(|name, _| !name.starts_with("Sdk"));
        match resource.contains(":sns:") {
            true => xml(&members),
            false if resource.contains(":sfn:") => on_the_wire(&members).to_string(),
            false => Value::Object(members).to_string(),
        }
    };
    Some(Says::Answer(200, headers, body.into_bytes()))
}

/// Written by the sender of the answer, so it is not as recorded.
fn is_of_transport(name: &str) -> bool {
    ["content-length", "connection"].contains(&&*name.to_ascii_lowercase())
}

/// Step Functions' own API begins its names with small letters, and counts time in seconds.
fn on_the_wire(members: &Map<String, Value>) -> Value {
    let rename = |(name, value): (&String, &Value)| {
        let name = format!("{}{}", name[..1].to_lowercase(), &name[1..]);
        let value = if value == "<date>" { json!(1_700_000_000.5) } else { value.clone() };
        (name, value)
    };
    Value::Object(members.iter().map(rename).collect())
}

fn xml(members: &Map<String, Value>) -> String {
    let text: String = (members.iter())
        .map(|(name, value)| {
            let value = value.as_str().unwrap_or_default().replace('<', "&lt;").replace('>', "&gt;");
            format!("<{name}>{value}</{name}>")
        })
        .collect();
    format!("<PublishResponse><PublishResult>{text}</PublishResult></PublishResponse>")
}

fn thrown_by(resource: &str, error: &str, cause: &str) -> Option<Says> {
    if error == "EventBridge.FailedEntry" {
        return Some(answer(200, &[], cause));
    }
    if let Some(status) = error.strip_prefix("ApiGateway.") {
        return Some(answer(status.parse().ok()?, &[], cause));
    }
    let first = Regex::new(
        r"(?s)^(.*) \(Service: \w+; Status Code: (\d+); Error Code: (\w+); Request ID: (.*); Proxy: null\)$",
    );
    let second = Regex::new(r"(?s)^(.*) \(Service: \w+, Status Code: (\d+), Request ID: ([^)]*)\)");
    let (first, second) = (first.expect("a pattern"), second.expect("a pattern"));
    if let Some(found) = first.captures(cause) {
        let (message, status, code, id) = (&found[1], found[2].parse().ok()?, &found[3], &found[4]);
        let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let body = if resource.contains(":sns:") {
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{}</Message></Error>\
             <RequestId>{}</RequestId></ErrorResponse>",
                escape(message),
                escape(id)
            )
        } else {
            json!({"__type": format!("com.amazonaws.any#{code}"), "message": message}).to_string()
        };
        return Some(answer(status, &[("x-amzn-RequestId", id)], body));
    }
    if let Some(found) = second.captures(cause) {
        // The wire's code is the class's name, or some other where that is the service's general one.
        let (service, class) = error.split_once('.')?;
        let class = if class == format!("{service}Exception") { "ValidationException" } else { class };
        // Step Functions' own errors lack the ending.
        let class = if service == "Sfn" { class.trim_end_matches("Exception") } else { class };
        let body = json!({"__type": class, "message": &found[1]}).to_string();
        return Some(answer(found[2].parse().ok()?, &[("x-amzn-RequestId", &found[3])], body));
    }
    // A function's own error.
    let of_lambda = resource.starts_with("arn:aws:lambda") || resource.ends_with("lambda:invoke");
    let told: Value = serde_json::from_str(cause).ok()?;
    let is_own = told["errorType"] == error;
    (of_lambda && is_own).then(|| answer(200, &[("X-Amz-Function-Error", "Unhandled")], cause))
}

/// Replays it, and compares.
fn check(resource: &str, mock: &Value, says: Says) -> Result<(), String> {
    let server = Server::saying(says);
    let integrations = Integrations::new()
        .endpoint_url(&server.url())
        .and_then(|it| it.endpoint("API Gateway", &server.url()))
        .expect("a URL");
    let engine =
        Engine::builder().shards(1).profile(Profile::Open).aws(integrations).build().expect("an engine");
    let state = json!({"Type": "Task", "Resource": resource, "End": true});
    let definition = json!({"StartAt": "Call", "States": {"Call": state}});
    let machine =
        engine.create_state_machine("m", &definition.to_string()).map_err(|error| error.to_string())?;
    let mut parameters = mock["parameters"].clone();
    if parameters["ApiEndpoint"].as_str().is_some_and(|it| it.starts_with('<')) {
        parameters["ApiEndpoint"] = json!("api.execute-api.us-east-1.amazonaws.com");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let outcome = runtime.block_on(engine.run(&machine, parameters.to_string())).expect("an execution");
    if let Some(thrown) = mock.get("throw") {
        let (error, cause) = failure(&outcome);
        let cause = cause.trim_end_matches(" (SDK Attempt Count: 1)");
        let expected =
            thrown["cause"].as_str().unwrap_or_default().trim_end_matches(" (SDK Attempt Count: 1)");
        let same = error == thrown["error"] && cause == expected;
        return same.then_some(()).ok_or_else(|| format!("{error}: {cause}\n  instead of {thrown}"));
    }
    let output: Value = outcome.output().map_err(|fault| format!("{fault:?}"))?;
    let (found, expected) = (comparable(&output), comparable(&mock["return"]));
    (found == expected).then_some(()).ok_or_else(|| format!("{found}\n  instead of {expected}"))
}

/// Without what our server answers differently from AWS, with header names in lower case, and without times.
fn comparable(result: &Value) -> Value {
    let mut result = result.clone();
    let Some(object) = result.as_object_mut() else { return result };
    object.retain(|name, _| name != "SdkResponseMetadata" && name != "StartDate" && name != "Headers");
    let http = object.get_mut("SdkHttpMetadata").and_then(Value::as_object_mut);
    for lists in http.into_iter().flatten().filter(|(name, _)| *name != "HttpStatusCode") {
        let headers = lists.1.as_object().into_iter().flatten().filter(|(name, _)| !is_of_transport(name));
        // Where a value was replaced by a token, the list around it was as well.
        let one = |value: &Value| value.get(0).unwrap_or(value).clone();
        *lists.1 = headers.map(|(name, value)| (name.to_ascii_lowercase(), one(value))).collect();
    }
    result
}
