//! Bedrock: `arn:aws:states:::bedrock:invokeModel` (developer guide, "Invoke and customize Amazon Bedrock models with Step
//! Functions"; Bedrock Runtime's API reference, `InvokeModel`).

use std::sync::Arc;

use percent_encoding::utf8_percent_encode;

use super::answer::is_json;
use super::caller::{Caller, Draft};
use super::failure::{self, Optimised};
use super::http1::Reply;
use super::parameters::Parameters;
use super::sign::UNRESERVED;
use crate::fault;
use crate::json;
use crate::task::{AsyncHandler, Attempt, Call, TaskError, TaskFuture};

const NAMES: Optimised = Optimised {
    prefix: "Bedrock",
    service: "AmazonBedrockRuntime",
    unknown: "AmazonBedrockRuntimeException",
    resource_type: "bedrock",
};

/// The errors of `InvokeModel` that the SDK has classes for.
const KNOWN: [&str; 11] = [
    "AccessDeniedException",
    "ConflictException",
    "InternalServerException",
    "ModelErrorException",
    "ModelNotReadyException",
    "ModelTimeoutException",
    "ResourceNotFoundException",
    "ServiceQuotaExceededException",
    "ServiceUnavailableException",
    "ThrottlingException",
    "ValidationException",
];

const FIELDS: [&str; 9] = [
    "ModelId",
    "Body",
    "Accept",
    "ContentType",
    "Trace",
    "GuardrailIdentifier",
    "GuardrailVersion",
    "Input",
    "Output",
];

/// The fields that travel as headers.
const HEADERS: [(&str, &str); 4] = [
    ("accept", "Accept"),
    ("x-amzn-bedrock-trace", "Trace"),
    ("x-amzn-bedrock-guardrailidentifier", "GuardrailIdentifier"),
    ("x-amzn-bedrock-guardrailversion", "GuardrailVersion"),
];

/// `bedrock:invokeModel`.
#[derive(Debug)]
pub(super) struct Invoke(pub(super) Arc<Caller>);

impl AsyncHandler for Invoke {
    fn begin(&self, call: &Call<'_>, _: Attempt) -> Result<TaskFuture, TaskError> {
        let parameters = Parameters::read(call, &FIELDS)?;
        // Accepted by AWS, and not done here.
        if let Some(field) = ["Input", "Output"].into_iter().find(|field| parameters.get(field).is_some()) {
            return Err(parameters.refuse(&format!(
                "The field '{field}' is not supported by this server: give 'Body', and take it from the result"
            )));
        }
        let model = parameters.required("ModelId")?;
        let mut draft = Draft {
            path: format!("/model/{}/invoke", utf8_percent_encode(model, UNRESERVED)),
            ..Draft::default()
        };
        if let Some(body) = parameters.get("Body") {
            match parameters.arena().as_str(body) {
                Some(text) => draft.body.extend_from_slice(text.as_bytes()),
                None => json::write(parameters.arena(), body, &mut draft.body),
            }
        }
        let content_type = parameters.text("ContentType")?.unwrap_or("application/json");
        draft.headers.push(("content-type", content_type.to_owned().into()));
        for (header, field) in HEADERS {
            if let Some(value) = parameters.text(field)? {
                draft.headers.push((header, value.to_owned().into()));
            }
        }
        let caller = Arc::clone(&self.0);
        Ok(Box::pin(async move {
            let reply = caller.post(draft).await.map_err(|error| NAMES.unanswered(error))?;
            if !reply.status.is_success() {
                let error = failure::json_error(&reply);
                let class = KNOWN.iter().find(|class| **class == error.kind);
                return Err(NAMES.refused(&reply, &error, class.copied()));
            }
            result(&reply)
        }))
    }

    fn wants_attempt(&self) -> bool {
        false
    }

    fn calls_out(&self) -> bool {
        !self.0.own_endpoint
    }
}

/// `Body`, as JSON if it is, and `ContentType`.
fn result(reply: &Reply) -> Result<Vec<u8>, TaskError> {
    let mut out = b"{\"Body\":".to_vec();
    if is_json(&reply.body) {
        out.extend_from_slice(&reply.body);
    } else {
        let text = std::str::from_utf8(&reply.body).map_err(|_| {
            TaskError::new(fault::RUNTIME, "The model's answer is neither JSON nor text in UTF-8.")
        })?;
        json::write_string(text, &mut out);
    }
    if let Some(content_type) = reply.fields.get("content-type") {
        out.extend_from_slice(b",\"ContentType\":");
        json::write_string(content_type, &mut out);
    }
    out.push(b'}');
    Ok(out)
}
