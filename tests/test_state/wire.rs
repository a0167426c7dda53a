//! The recorded cases once more, as a client sends them.

use std::collections::HashSet;

use expressway::api::{Call, answer};
use expressway::service::Service;
use expressway::task::TaskError;
use serde_json::{Value, json};

use super::recorded::matches;
use crate::corpora::{Report, recorded};

async fn call(service: &Service, operation: &str, request: &Value) -> Value {
    let body = request.to_string();
    let target = format!("AWSStepFunctions.{operation}");
    let call = Call { target: &target, trace_header: None, body: body.as_bytes() };
    let reply = answer(service, call).await;
    let mut body: Value = serde_json::from_slice(&reply.body).expect("a JSON reply");
    if let Some(exception) = reply.error {
        body = json!({"error_response": {"code": exception, "message": body["message"]}});
    }
    body
}

fn service() -> Service {
    let function = |_: Value| async { Ok::<_, TaskError>("HelloWorld!") };
    let arn = "arn:aws:lambda:us-east-1:111111111111:function:lambda_function_name";
    let builder = Service::builder().engine(|engine| engine.shards(1).task(arn, function));
    builder.account("111111111111").build().expect("a service")
}

#[tokio::test]
async fn recorded_cases_over_the_wire() {
    let Some(rows) = recorded("test_state.jsonl") else { return };
    let service = service();
    let mut report = Report::new("test_state.jsonl on the wire", include_str!("../known/test_state.txt"));
    for row in rows.iter().filter(|row| row["expected"]["error_response"]["client_side"] != true) {
        let mut request = row["request"].clone();
        if !request["definition"].is_string() {
            request["definition"] = request["definition"].to_string().into();
        }
        let found = call(&service, "TestState", &request).await;
        let wild = row["placeholders"]["output"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let wild: HashSet<&str> = wild.collect();
        let expected = match row["expected"].get("error_response") {
            Some(error) => json!({"error_response": {"code": error["code"], "message": error["message"]}}),
            None => row["expected"]["response"].clone(),
        };
        let same = matches(&expected, &found, &wild);
        let outcome = if same { Ok(()) } else { Err(format!("{found}\n    recorded {expected}")) };
        report.case(row["id"].as_str().expect("an id"), outcome);
    }
    report.finish();
}

#[tokio::test]
async fn a_wait_takes_the_engines_time() {
    let service = service();
    let state = json!({"Type": "Wait", "Seconds": 0, "Next": "After"}).to_string();
    let found = call(&service, "TestState", &json!({"definition": state, "input": "[1]"})).await;
    assert_eq!(found, json!({"output": "[1]", "nextState": "After", "status": "SUCCEEDED"}));
}

#[tokio::test]
async fn diagnostics_are_counted_and_cut() {
    let service = service();
    let states: serde_json::Map<String, Value> = (0..150)
        .map(|n| (format!("S{n}"), json!({"Type": "Pass", "Result": {"a.$": "$"}, "Next": "Nowhere"})))
        .collect();
    let definition = json!({"StartAt": "S0", "States": states}).to_string();
    let ask = |extra: Value| {
        let mut request = json!({"definition": definition});
        request.as_object_mut().expect("members").extend(extra.as_object().expect("members").clone());
        request
    };
    let count = |found: &Value, severity: &str| {
        let diagnostics = found["diagnostics"].as_array().expect("a list");
        diagnostics.iter().filter(|it| it["severity"] == severity).count()
    };
    let all = call(&service, "ValidateStateMachineDefinition", &ask(json!({"maxResults": 0}))).await;
    assert_eq!((&all["result"], &all["truncated"]), (&json!("FAIL"), &json!(true)));
    assert_eq!((count(&all, "ERROR"), count(&all, "WARNING")), (100, 0));
    let few = json!({"maxResults": 3, "severity": "WARNING"});
    let few = call(&service, "ValidateStateMachineDefinition", &ask(few)).await;
    assert_eq!(few["diagnostics"].as_array().expect("a list").len(), 3);
    let text =
        call(&service, "ValidateStateMachineDefinition", &json!({"definition": "not a definition"})).await;
    assert_eq!(
        text["diagnostics"][0]["location"],
        "[Source: (String)\"not a definition\"; line: 1, column: 4]"
    );
    let misspelt = json!({"StartAt": "Hallo", "States": {
        "Hello": {"Type": "Pas", "Next": "By"}, "Bye": {"Type": "Succeed", "Comment": 1}}});
    let misspelt = json!({"definition": misspelt.to_string()});
    let misspelt = call(&service, "ValidateStateMachineDefinition", &misspelt).await;
    let suggested: Vec<(&str, Option<&str>)> = (misspelt["diagnostics"].as_array().expect("a list").iter())
        .map(|it| (it["location"].as_str().expect("a place"), it["suggestion"].as_str()))
        .collect();
    for (place, suggestion) in [
        ("/States/Hello/Type", Some("did you mean `Pass`?")),
        ("/StartAt", Some("did you mean `Hello`?")),
        // AWS's text says all that there is to say.
        ("/States/Bye/Comment", None),
    ] {
        assert!(suggested.contains(&(place, suggestion)), "{place}: {suggested:?}");
    }
    let warned =
        json!({"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": {"a.$": "$"}, "End": true}}});
    let warned = json!({"definition": warned.to_string(), "severity": "WARNING"});
    let warned = call(&service, "ValidateStateMachineDefinition", &warned).await;
    assert_eq!((&warned["result"], count(&warned, "WARNING")), (&json!("OK"), 1));
}
