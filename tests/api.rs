//! The wire API through its seam: no socket, no HTTP.

use expressway::server::api::{Call, Reply, answer};
use expressway::service::Service;
use serde_json::{Value as Json, json};

fn call(service: &Service, action: &str, body: &Json) -> Reply {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let target = format!("AWSStepFunctions.{action}");
    let body = body.to_string();
    let call = Call { target: &target, content_type: None, trace_header: None, body: body.as_bytes() };
    runtime.block_on(answer(service, call))
}

fn ok(service: &Service, action: &str, body: &Json) -> Json {
    let reply = call(service, action, body);
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    assert_eq!(reply.status, 200, "{action}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn an_express_machine_is_created_and_run() {
    let service = Service::builder().build().expect("a service");
    let definition =
        r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": {"x": "y"}, "End": true}}}"#;
    let created = ok(
        &service,
        "CreateStateMachine",
        &json!({"name": "hello", "definition": definition, "type": "EXPRESS",
            "roleArn": "arn:aws:iam::123456789012:role/hello"}),
    );
    let ended = ok(
        &service,
        "StartSyncExecution",
        &json!({"stateMachineArn": created["stateMachineArn"], "input": "{\"a\": 1}"}),
    );
    assert_eq!((&ended["status"], &ended["output"]), (&json!("SUCCEEDED"), &json!(r#"{"x":"y"}"#)));
    assert_eq!(ended["input"], "{\"a\": 1}");
    let described =
        ok(&service, "DescribeStateMachine", &json!({"stateMachineArn": created["stateMachineArn"]}));
    assert_eq!(described["definition"], definition);
}
