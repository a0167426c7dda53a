//! Bedrock: `arn:aws:states:::bedrock:invokeModel` (developer guide, "Invoke and customize Amazon Bedrock models with Step
//! Functions"; Bedrock Runtime's API reference, `InvokeModel`).

use std::sync::Arc;

use percent_encoding::utf8_percent_encode;

use super::answer::is_json;
use super::caller::Caller;
use super::failure::{self, Optimised};
use super::http1::Reply;
use super::parameters::Parameters;
use super::percent::UNRESERVED;
use super::request::Draft;
use super::s3::{Ask, Bucket};
use super::settings::Settings;
use crate::fault;
use crate::json;
use crate::task::{AsyncHandler, Attempt, Call, TaskError, TaskFuture};

const NAMES: Optimised = Optimised {
    prefix: "Bedrock",
    service: "AmazonBedrockRuntime",
    unknown: "AmazonBedrockRuntimeException",
    resource_type: "bedrock",
};

/// The errors of `InvokeModel` with classes in the SDK.
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

const FIELDS: [&str; 11] = [
    "ModelId",
    "Body",
    "Accept",
    "ContentType",
    "Trace",
    "GuardrailIdentifier",
    "GuardrailVersion",
    "PerformanceConfigLatency",
    "ServiceTier",
    "Input",
    "Output",
];

/// The fields that are sent as headers.
const HEADERS: [(&str, &str); 6] = [
    ("accept", "Accept"),
    ("x-amzn-bedrock-trace", "Trace"),
    ("x-amzn-bedrock-guardrailidentifier", "GuardrailIdentifier"),
    ("x-amzn-bedrock-guardrailversion", "GuardrailVersion"),
    ("x-amzn-bedrock-performanceconfig-latency", "PerformanceConfigLatency"),
    ("x-amzn-bedrock-service-tier", "ServiceTier"),
];

/// Bytes of a body, or an answer, in S3: Bedrock's limit.
const OBJECT_BYTES_MAX: usize = 25 << 20;

/// `bedrock:invokeModel`.
#[derive(Debug)]
pub(super) struct Invoke {
    pub(super) caller: Arc<Caller>,
    /// The settings for calls of S3.
    pub(super) settings: Arc<Settings>,
}

/// An object of S3, and the URI that names it.
struct Place {
    bucket: Arc<Bucket>,
    key: String,
    uri: String,
}

impl Invoke {
    /// The object of `S3Uri` in one of the fields.
    fn place(&self, parameters: &Parameters<'_>, field: &str) -> Result<Option<Place>, TaskError> {
        let Some(given) = parameters.get(field) else { return Ok(None) };
        let arena = parameters.arena();
        let uri = arena.get_str(given, "S3Uri").and_then(|uri| arena.as_str(uri));
        let uri =
            uri.ok_or_else(|| parameters.refuse(&format!("The field '{field}' must have an 'S3Uri'")))?;
        let named = uri.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
        let named = named.filter(|(_, key)| !key.is_empty());
        let (bucket, key) = named
            .ok_or_else(|| parameters.refuse(&format!("'{uri}' is no object of S3: s3://bucket/key")))?;
        let bucket = Bucket::of(&self.settings, &serde_json::json!({"Bucket": bucket}));
        let bucket = bucket.map_err(|why| parameters.refuse(&why))?;
        Ok(Some(Place { bucket, key: key.to_owned(), uri: uri.to_owned() }))
    }
}

impl Place {
    async fn read(&self) -> Result<Vec<u8>, TaskError> {
        let ask = Ask { method: "GET", key: self.key.clone(), bytes_max: OBJECT_BYTES_MAX, ..Ask::default() };
        let reply = Box::pin(self.bucket.get(ask)).await;
        reply.map(|reply| reply.body).map_err(|why| self.failed(&why))
    }

    async fn write(&self, body: Vec<u8>, content_type: Option<&str>) -> Result<(), TaskError> {
        let headers = content_type.map(|it| ("content-type", it.to_owned())).into_iter().collect();
        let ask = Ask { method: "PUT", key: self.key.clone(), headers, body, ..Ask::default() };
        let reply = Box::pin(self.bucket.get(ask)).await;
        reply.map(drop).map_err(|why| self.failed(&why))
    }

    fn failed(&self, why: &str) -> TaskError {
        TaskError::new("Bedrock.S3Exception", format!("{}: {why}", self.uri))
    }
}

impl AsyncHandler for Invoke {
    fn begin(&self, call: &Call<'_>, _: Attempt) -> Result<TaskFuture, TaskError> {
        let parameters = Parameters::read(call, &FIELDS)?;
        let (from, to) = (self.place(&parameters, "Input")?, self.place(&parameters, "Output")?);
        if from.is_some() && parameters.get("Body").is_some() {
            return Err(parameters.refuse("The fields 'Body' and 'Input' cannot both be given"));
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
        let caller = Arc::clone(&self.caller);
        Ok(Box::pin(async move {
            if let Some(from) = from {
                draft.body = from.read().await?;
            }
            let reply = caller.post(draft).await.map_err(|error| NAMES.unanswered(error))?;
            if !reply.status.is_success() {
                let error = failure::json_error(&reply);
                let class = KNOWN.iter().find(|class| **class == error.kind);
                return Err(NAMES.refused(&reply, &error, class.copied()));
            }
            let Some(to) = to else { return result(&reply) };
            let content_type = reply.fields.get("content-type").map(str::to_owned);
            to.write(reply.body, content_type.as_deref()).await?;
            let mut out = b"{\"Body\":".to_vec();
            json::write_string(&to.uri, &mut out);
            finish(out, content_type.as_deref())
        }))
    }

    fn wants_attempt(&self) -> bool {
        false
    }

    fn calls_out(&self) -> bool {
        !self.caller.own_endpoint
    }
}

/// `Body`, as JSON if possible, and `ContentType`.
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
    finish(out, reply.fields.get("content-type"))
}

fn finish(mut out: Vec<u8>, content_type: Option<&str>) -> Result<Vec<u8>, TaskError> {
    if let Some(content_type) = content_type {
        out.extend_from_slice(b",\"ContentType\":");
        json::write_string(content_type, &mut out);
    }
    out.push(b'}');
    Ok(out)
}
