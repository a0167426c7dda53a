//! Bedrock's wire shapes.

use expressway::task::aws::{Credentials, Integrations};
use serde_json::json;

use crate::server::{Asked, Server, answer};
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
            json!({"ModelId": MODEL, "Output": {"S3Uri": "the-bucket/k"}, "Body": {}}),
            "'the-bucket/k' is no object of S3: s3://bucket/key",
        ),
        (
            json!({"ModelId": MODEL, "Input": {"S3Uri": "s3://the-bucket/k"}, "Body": {}}),
            "The fields 'Body' and 'Input' cannot both be given",
        ),
        (json!({"ModelId": MODEL, "Input": {"S3": "k"}}), "The field 'Input' must have an 'S3Uri'"),
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

#[test]
fn bodies_and_answers_lie_in_s3() {
    let server = Server::start(|asked| match (asked.method.as_str(), asked.target.as_str()) {
        ("GET", "/the-bucket/in/a%20prompt.json") => answer(200, &[], r#"{"prompt": "an avatar"}"#),
        ("PUT", "/the-bucket/out/avatar.png") => answer(200, &[], ""),
        ("POST", _) => answer(200, &[("Content-Type", "image/png")], vec![0x89, b'P', b'N', b'G', 0xFF]),
        _ => answer(
            404,
            &[("Content-Type", "application/xml")],
            "<Error><Code>NoSuchKey</Code><Message>none</Message></Error>",
        ),
    });
    let credentials = Credentials::new("testing", "testing", None);
    let aws =
        || Integrations::new().endpoint_url(&server.url()).expect("a URL").credentials(credentials.clone());
    let parameters = |from: &str| {
        json!({"ModelId": MODEL, "Accept": "image/png", "Input": {"S3Uri": from},
        "Output": {"S3Uri": "s3://the-bucket/out/avatar.png"}})
    };
    let outcome = run(aws(), INVOKE, &parameters("s3://the-bucket/in/a prompt.json"));
    let expected = json!({"Body": "s3://the-bucket/out/avatar.png", "ContentType": "image/png"});
    assert_eq!(output(&outcome), expected);
    let asked: Vec<Asked> = server.asked.try_iter().collect();
    let methods: Vec<&str> = asked.iter().map(|asked| asked.method.as_str()).collect();
    assert_eq!(methods, ["GET", "POST", "PUT"]);
    assert_eq!(asked[1].text(), r#"{"prompt": "an avatar"}"#);
    assert_eq!((&asked[2].body[..], &*asked[2].headers["content-type"]), (&b"\x89PNG\xFF"[..], "image/png"));
    let (error, cause) = failure(&run(aws(), INVOKE, &parameters("s3://the-bucket/none")));
    assert_eq!(error, "Bedrock.S3Exception");
    assert!(cause.contains("s3://the-bucket/none: none (Service: S3, Status Code: 404"), "{cause}");
}
