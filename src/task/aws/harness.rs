//! `bedrockagentcore:invokeHarness` (developer guide, "Invoke Amazon Bedrock AgentCore harness with Step Functions"): the
//! stream of events becomes the last message of the assistant, in the form of Bedrock's `Converse`.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::answer;
use super::event_stream;
use super::failure::ServiceError;
use super::http1::Reply;
use super::idempotency;
use super::parameters::refuse;
use super::service::{Modelled, Trouble};
use crate::fault;
use crate::task::{AsyncHandler, Attempt, Call, TaskError, TaskFuture};

/// Bytes of a stream: it has all turns, and the result only the last.
const STREAM_BYTES_MAX: usize = 16 << 20;
/// What is counted over all messages.
const TOKENS: [(&str, &str); 3] =
    [("inputTokens", "InputTokens"), ("outputTokens", "OutputTokens"), ("totalTokens", "TotalTokens")];

/// Does it.
#[derive(Debug)]
pub(super) struct Invoke(pub(super) Modelled);

impl AsyncHandler for Invoke {
    fn begin(&self, call: &Call<'_>, attempt: Attempt) -> Result<TaskFuture, TaskError> {
        let (arena, input) = (&*call.arena, call.input);
        let key = attempt.idempotency_key().unwrap_or_else(idempotency::fresh);
        let asked = self.0.asked(arena, input, Some(&key)).map_err(|why| refuse(arena, input, &why))?;
        let harness = self.0.clone();
        Ok(Box::pin(async move {
            let reply = harness.reply(asked, STREAM_BYTES_MAX).await.map_err(Trouble::into_error)?;
            let result = last_message(&harness, &reply)?;
            Ok(result.to_string().into_bytes())
        }))
    }

    fn wants_attempt(&self) -> bool {
        false
    }

    fn calls_out(&self) -> bool {
        self.0.calls_out()
    }
}

fn last_message(harness: &Modelled, reply: &Reply) -> Result<Json, TaskError> {
    let messages = event_stream::read(&reply.body).ok_or_else(|| {
        TaskError::new(fault::RUNTIME, "The service's answer cannot be read: it is no stream of events")
    })?;
    let (mut role, mut stop_reason) = (Json::from("assistant"), Json::Null);
    let (mut blocks, mut tokens) = (BTreeMap::<u64, String>::new(), [0_u64; TOKENS.len()]);
    for message in messages {
        let body = &message.body;
        if !message.is_event {
            let text = body.get("message").and_then(Json::as_str);
            let error = ServiceError {
                code: capitalized(&message.kind),
                kind: capitalized(&message.kind),
                message: text.unwrap_or("").to_owned(),
                request_id: answer::request_id(&reply.fields).to_owned(),
            };
            return Err(harness.refused(reply, &error));
        }
        match message.kind.as_str() {
            // Earlier turns are left out.
            "messageStart" => {
                role = body["role"].clone();
                blocks.clear();
            }
            // So are the use of tools and reasoning.
            "contentBlockDelta" => {
                if let Some(text) = body.pointer("/delta/text").and_then(Json::as_str) {
                    let index = body["contentBlockIndex"].as_u64().unwrap_or(0);
                    blocks.entry(index).or_default().push_str(text);
                }
            }
            "messageStop" => stop_reason = body["stopReason"].clone(),
            "metadata" => {
                for ((name, _), sum) in TOKENS.iter().zip(&mut tokens) {
                    let count = body.pointer(&format!("/usage/{name}")).and_then(Json::as_u64);
                    *sum = sum.saturating_add(count.unwrap_or(0));
                }
            }
            _ => {}
        }
    }
    let content: Vec<Json> = blocks.into_values().map(|text| json!({ "Text": text })).collect();
    let counted = TOKENS.iter().zip(tokens).map(|((_, name), sum)| ((*name).to_owned(), Json::from(sum)));
    Ok(json!({
        "Output": {"Message": {"Content": content, "Role": role}},
        "StopReason": stop_reason,
        "Usage": Json::Object(counted.collect::<Map<_, _>>()),
    }))
}

/// Streams name exceptions as members: `throttlingException`.
fn capitalized(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}
