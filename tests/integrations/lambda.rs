//! Lambda's wire shapes.

use expressway::task::aws::{Credentials, Integrations};
use serde_json::json;

use crate::server::{Server, answer};
use crate::{failure, output, run};

const INVOKE: &str = "arn:aws:states:::lambda:invoke";

fn at(server: &Server) -> Integrations {
    Integrations::new().endpoint("Lambda", &server.url()).expect("a URL")
}

#[test]
fn a_function_is_invoked() {
    let headers =
        [("Content-Type", "application/json"), ("x-amzn-RequestId", "r-1"), ("X-Amz-Executed-Version", "7")];
    let server = Server::saying(answer(200, &headers, r#"{"sum": 3}"#));
    let outcome = run(
        at(&server),
        INVOKE,
        &json!({"FunctionName": "add", "Qualifier": "live", "Payload": {"a": [1, 2]}}),
    );
    assert_eq!(
        output(&outcome),
        json!({
            "ExecutedVersion": "7",
            "Payload": {"sum": 3},
            "SdkHttpMetadata": {
                "AllHttpHeaders": {
                    "Content-Length": ["10"], "Content-Type": ["application/json"],
                    "X-Amz-Executed-Version": ["7"], "x-amzn-RequestId": ["r-1"],
                },
                "HttpHeaders": {
                    "Content-Length": "10", "Content-Type": "application/json",
                    "X-Amz-Executed-Version": "7", "x-amzn-RequestId": "r-1",
                },
                "HttpStatusCode": 200,
            },
            "SdkResponseMetadata": {"RequestId": "r-1"},
            "StatusCode": 200,
        })
    );
    let asked = server.asked.recv().expect("a request");
    assert_eq!(asked.method, "POST");
    assert_eq!(asked.target, "/2015-03-31/functions/add/invocations?Qualifier=live");
    assert_eq!(asked.headers["host"], server.address.to_string());
    assert!(!asked.headers.contains_key("authorization"), "there are no credentials");
    assert_eq!(asked.text(), r#"{"a":[1,2]}"#);
}

#[test]
fn requests_are_signed_with_credentials() {
    let server = Server::saying(answer(200, &[], "1"));
    let integrations = at(&server).region("eu-west-1").credentials(Credentials::new(
        "AKID",
        "secret",
        Some("token".to_owned()),
    ));
    output(&run(integrations, INVOKE, &json!({"FunctionName": "f"})));
    let asked = server.asked.recv().expect("a request");
    let day = &asked.headers["x-amz-date"][..8];
    let expected = format!(
        "AWS4-HMAC-SHA256 Credential=AKID/{day}/eu-west-1/lambda/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature="
    );
    assert!(asked.headers["authorization"].starts_with(&expected), "{}", asked.headers["authorization"]);
    assert_eq!(asked.headers["x-amz-security-token"], "token");
}

#[test]
fn errors_have_awss_names_and_causes() {
    let server = Server::start(|asked| match asked.text() {
        "\"raise\"" => answer(
            200,
            &[("X-Amz-Function-Error", "Unhandled")],
            r#"{"errorMessage":"no","errorType":"CustomError","stackTrace":[]}"#,
        ),
        "\"missing\"" => answer(
            404,
            &[("x-amzn-ErrorType", "ResourceNotFoundException"), ("x-amzn-RequestId", "r-2")],
            r#"{"Type":"User","Message":"Function not found: f"}"#,
        ),
        _ => answer(500, &[("x-amzn-ErrorType", "SomethingElse"), ("x-amzn-RequestId", "r-3")], "<html>"),
    });
    for (payload, error, cause) in [
        ("raise", "CustomError", r#"{"errorMessage":"no","errorType":"CustomError","stackTrace":[]}"#),
        (
            "missing",
            "Lambda.ResourceNotFoundException",
            "Function not found: f (Service: AWSLambda; Status Code: 404; Error Code: ResourceNotFoundException; \
             Request ID: r-2; Proxy: null)",
        ),
        (
            "other",
            "Lambda.AWSLambdaException",
            " (Service: AWSLambda; Status Code: 500; Error Code: SomethingElse; Request ID: r-3; Proxy: null)",
        ),
    ] {
        let parameters = json!({"FunctionName": "f", "Payload": format!("\"{payload}\"")});
        let expected = (error.to_owned(), cause.to_owned());
        assert_eq!(failure(&run(at(&server), INVOKE, &parameters)), expected);
    }
}
