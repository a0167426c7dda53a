//! Bedrock's wire shapes.

use expressway::task::aws::Integrations;
use serde_json::json;

use crate::server::{Server, answer};
use crate::{failure, output, run};

const INVOKE: &str = "arn:aws:states:::bedrock:invokeModel";
const MODEL: &str = "anthropic.claude-v2:1";

fn at(server: &Server) -> Integrations {
    Integrations::new().endpoint("Bedrock Runtime", &server.url()).expect("a URL")
}

#[test]
fn a_model_is_invoked() {
    let server =
        Server::saying(answer(200, &[("Content-Type", "application/json")], r#"{"completion": "Hello"}"#));
    let parameters = json!({"ModelId": MODEL, "Body": {"prompt": "Hi", "temperature": 0.5}, "Accept": "*/*",
        "GuardrailIdentifier": "g", "GuardrailVersion": "1"});
    assert_eq!(
        output(&run(at(&server), INVOKE, &parameters)),
        json!({"Body": {"completion": "Hello"}, "ContentType": "application/json"})
    );
    let asked = server.asked.recv().expect("a request");
    assert_eq!((&*asked.method, &*asked.target), ("POST", "/model/anthropic.claude-v2%3A1/invoke"));
    assert_eq!(asked.text(), r#"{"prompt":"Hi","temperature":0.5}"#);
    for (name, value) in [
        ("content-type", "application/json"),
        ("accept", "*/*"),
        ("x-amzn-bedrock-guardrailidentifier", "g"),
        ("x-amzn-bedrock-guardrailversion", "1"),
    ] {
        assert_eq!(asked.headers[name], value, "{name}");
    }
}

#[test]
fn a_model_may_answer_with_text_and_refuse() {
    let server = Server::saying(answer(200, &[("Content-Type", "text/plain")], "Hello"));
    let parameters = json!({"ModelId": MODEL, "Body": "Hi", "ContentType": "text/plain"});
    let said = output(&run(at(&server), INVOKE, &parameters));
    assert_eq!(said, json!({"Body": "Hello", "ContentType": "text/plain"}));
    assert_eq!(server.asked.recv().expect("a request").text(), "Hi");

    let headers = [("x-amzn-ErrorType", "ThrottlingException:http://internal"), ("x-amzn-RequestId", "r-1")];
    let server = Server::saying(answer(429, &headers, r#"{"message": "Too many requests"}"#));
    let (error, cause) = failure(&run(at(&server), INVOKE, &json!({"ModelId": MODEL, "Body": {}})));
    assert_eq!(error, "Bedrock.ThrottlingException");
    assert_eq!(
        cause,
        "Too many requests (Service: AmazonBedrockRuntime; Status Code: 429; Error Code: ThrottlingException; \
         Request ID: r-1; Proxy: null)"
    );
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let server = Server::saying(answer(200, &[], "1"));
    for (parameters, why) in [
        (json!({"Body": {}}), "The field 'ModelId' is required but was missing"),
        (json!({"ModelId": 1, "Body": {}}), "The value of the field 'ModelId' has an invalid format"),
        (
            json!({"ModelId": MODEL, "Output": {"S3Uri": "s3://b/k"}, "Body": {}}),
            "The field 'Output' is not supported by this server",
        ),
        (
            json!({"ModelId": MODEL, "Prompt": "Hi"}),
            "The field \"Prompt\" is not supported by Step Functions",
        ),
    ] {
        let (error, cause) = failure(&run(at(&server), INVOKE, &parameters));
        assert_eq!(error, "States.Runtime", "{cause}");
        assert!(cause.contains(why), "{cause}");
    }
    assert!(server.asked.try_recv().is_err(), "nothing was sent");
}
