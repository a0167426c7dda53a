//! `bedrockagentcore:invokeHarness`, against a server that answers with a stream of events.

use expressway::task::aws::Integrations;
use serde_json::{Value, json};

use crate::server::{Says, Server, answer};
use crate::{failure, output, run};

const INVOKE: &str = "arn:aws:states:::bedrockagentcore:invokeHarness";

/// CRC-32, a bit at a time.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
    })
}

fn message(headers: &[(&str, &str)], body: &Value) -> Vec<u8> {
    let mut written = Vec::new();
    for (name, value) in headers {
        written.push(u8::try_from(name.len()).expect("a short name"));
        written.extend_from_slice(name.as_bytes());
        written.push(7);
        written.extend_from_slice(&u16::try_from(value.len()).expect("a short text").to_be_bytes());
        written.extend_from_slice(value.as_bytes());
    }
    let body = body.to_string();
    let number = |length: usize| u32::try_from(length).expect("a short message").to_be_bytes();
    let mut out = [number(16 + written.len() + body.len()), number(written.len())].concat();
    out.extend(checksum(&out).to_be_bytes());
    out.extend([written.as_slice(), body.as_bytes()].concat());
    out.extend(checksum(&out).to_be_bytes());
    out
}

fn event(kind: &str, body: &Value) -> Vec<u8> {
    let kind = [(":message-type", "event"), (":event-type", kind), (":content-type", "application/json")];
    message(&kind, body)
}

fn stream(messages: &[Vec<u8>]) -> Says {
    answer(200, &[("Content-Type", "application/vnd.amazon.eventstream")], messages.concat())
}

fn turn(text: &[&str], stop: &str) -> Vec<Vec<u8>> {
    let mut messages = vec![event("messageStart", &json!({"role": "assistant"}))];
    // What it thinks and the tools that it uses are left out.
    messages.push(event(
        "contentBlockDelta",
        &json!({"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}),
    ));
    messages.extend(
        text.iter()
            .map(|it| event("contentBlockDelta", &json!({"contentBlockIndex": 1, "delta": {"text": it}}))),
    );
    messages.push(event("contentBlockStop", &json!({"contentBlockIndex": 1})));
    messages.push(event("messageStop", &json!({"stopReason": stop})));
    let usage = json!({"usage": {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7}});
    messages.push(event("metadata", &usage));
    messages
}

fn parameters() -> Value {
    json!({"HarnessArn": "arn:aws:bedrock-agentcore:us-east-1:123456789012:harness/h-1234567890",
        "RuntimeSessionId": "0123456789012345678901234567890123", "MaxIterations": 3,
        "Messages": [{"Role": "user", "Content": [{"Text": "who?"}]}]})
}

fn invoke(says: Says) -> (expressway::runtime::Outcome, Server) {
    let server = Server::saying(says);
    let integrations = Integrations::new().endpoint_url(&server.url()).expect("a URL");
    (run(integrations, INVOKE, &parameters()), server)
}

#[test]
fn the_last_message_is_the_result() {
    let turns = [turn(&["let me ", "look"], "tool_use"), turn(&["It is ", "you."], "end_turn")].concat();
    let (outcome, server) = invoke(stream(&turns));
    let expected = json!({"Output": {"Message": {"Content": [{"Text": "It is you."}], "Role": "assistant"}},
        "StopReason": "end_turn", "Usage": {"InputTokens": 10, "OutputTokens": 4, "TotalTokens": 14}});
    assert_eq!(output(&outcome), expected);
    let asked = server.asked.recv().expect("a request");
    let arn = "arn%3Aaws%3Abedrock-agentcore%3Aus-east-1%3A123456789012%3Aharness%2Fh-1234567890";
    assert_eq!(asked.target, format!("/harnesses/invoke?harnessArn={arn}"));
    let session = &asked.headers["x-amzn-bedrock-agentcore-runtime-session-id"];
    assert_eq!(session, "0123456789012345678901234567890123");
    let body = json!({"messages": [{"role": "user", "content": [{"text": "who?"}]}], "maxIterations": 3});
    assert_eq!(asked.json(), body);
}

#[test]
fn what_goes_wrong_is_an_error_of_the_service_or_of_the_stream() {
    let headers = [(":message-type", "exception"), (":exception-type", "throttlingException")];
    let refused = message(&headers, &json!({"message": "slow down"}));
    let begun = [turn(&["It"], "end_turn"), vec![refused]].concat();
    let mut broken = turn(&["It"], "end_turn").concat();
    broken[20] ^= 1;
    let cut = turn(&["It"], "end_turn").concat();
    let cut = cut[..cut.len() - 1].to_vec();
    let missing =
        (answer(404, &[("x-amzn-ErrorType", "ResourceNotFoundException")], r#"{"message": "none"}"#), "none");
    for (says, error, why) in [
        (stream(&begun), "BedrockAgentCore.ThrottlingException", "slow down"),
        (missing.0, "BedrockAgentCore.ResourceNotFoundException", missing.1),
        (answer(200, &[], broken), "States.Runtime", "it is no stream of events"),
        (answer(200, &[], cut), "States.Runtime", "it is no stream of events"),
        (answer(200, &[], "{}"), "States.Runtime", "it is no stream of events"),
    ] {
        let (was, cause) = failure(&invoke(says).0);
        assert_eq!(was, error, "{cause}");
        assert!(cause.contains(why), "{cause}");
    }
}
