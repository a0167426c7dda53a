//! Lambda: `arn:aws:states:::lambda:invoke`, and tasks that name a function (developer guide, "Invoke an AWS Lambda
//! function with Step Functions"; Lambda API reference, `Invoke`).

use std::sync::Arc;

use percent_encoding::utf8_percent_encode;

use super::answer::{self, is_json};
use super::caller::Caller;
use super::failure::{self, Optimised};
use super::http1::Reply;
use super::parameters::Parameters;
use super::percent::UNRESERVED;
use super::request::{CallError, Draft};
use crate::fault;
use crate::json;
use crate::task::{AsyncHandler, Attempt, Call, TaskError, TaskFuture};

const NAMES: Optimised = Optimised {
    prefix: "Lambda",
    service: "AWSLambda",
    unknown: "AWSLambdaException",
    resource_type: "lambda",
};

/// The errors of `Invoke` with classes in the SDK.
const KNOWN: [&str; 31] = [
    "CallbackTimeoutException",
    "CodeArtifactUserPendingException",
    "DurableExecutionAlreadyStartedException",
    "EC2AccessDeniedException",
    "EC2ThrottledException",
    "EC2UnexpectedException",
    "EFSIOException",
    "EFSMountConnectivityException",
    "EFSMountFailureException",
    "EFSMountTimeoutException",
    "ENILimitReachedException",
    "InvalidParameterValueException",
    "InvalidRequestContentException",
    "InvalidRuntimeException",
    "InvalidSecurityGroupIDException",
    "InvalidSubnetIDException",
    "InvalidZipFileException",
    "KMSAccessDeniedException",
    "KMSDisabledException",
    "KMSInvalidStateException",
    "KMSNotFoundException",
    "RecursiveInvocationException",
    "RequestTooLargeException",
    "ResourceConflictException",
    "ResourceNotFoundException",
    "ResourceNotReadyException",
    "ServiceException",
    "SnapStartException",
    "SnapStartNotReadyException",
    "SnapStartTimeoutException",
    "TooManyRequestsException",
];

const FIELDS: [&str; 6] =
    ["FunctionName", "Payload", "Qualifier", "InvocationType", "ClientContext", "LogType"];

/// The fields that are sent as headers.
const HEADERS: [(&str, &str); 3] = [
    ("x-amz-invocation-type", "InvocationType"),
    ("x-amz-log-type", "LogType"),
    ("x-amz-client-context", "ClientContext"),
];

/// `lambda:invoke`.
#[derive(Debug)]
pub(super) struct Invoke(pub(super) Arc<Caller>);

impl AsyncHandler for Invoke {
    fn begin(&self, call: &Call<'_>, _: Attempt) -> Result<TaskFuture, TaskError> {
        let draft = asked(call)?;
        let caller = Arc::clone(&self.0);
        Ok(Box::pin(async move {
            let reply = caller.post(draft).await.map_err(|error| NAMES.unanswered(error))?;
            check(&reply)?;
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

/// The request for a task's parameters.
fn asked(call: &Call<'_>) -> Result<Draft, TaskError> {
    let parameters = Parameters::read(call, &FIELDS)?;
    let mut draft = draft(parameters.required("FunctionName")?, parameters.text("Qualifier")?);
    if let Some(payload) = parameters.get("Payload") {
        // Recorded: text is sent unchanged, anything else as JSON.
        match parameters.arena().as_str(payload) {
            Some(text) => draft.body.extend_from_slice(text.as_bytes()),
            None => json::write(parameters.arena(), payload, &mut draft.body),
        }
    }
    for (header, field) in HEADERS {
        if let Some(value) = parameters.text(field)? {
            draft.headers.push((header, value.to_owned().into()));
        }
    }
    Ok(draft)
}

/// `aws-sdk:lambda:invoke`: the returned payload is text, and a function's failure is a result.
#[derive(Debug)]
pub(super) struct SdkInvoke(pub(super) Arc<Caller>);

impl AsyncHandler for SdkInvoke {
    fn begin(&self, call: &Call<'_>, _: Attempt) -> Result<TaskFuture, TaskError> {
        let draft = asked(call)?;
        let caller = Arc::clone(&self.0);
        Ok(Box::pin(async move {
            let reply = caller.post(draft).await.map_err(|error| match error {
                CallError::TooLarge => failure::too_large("aws-sdk:lambda"),
                CallError::Client(text) => TaskError::new("Lambda.SdkClientException", text),
            })?;
            if reply.status.is_success() { sdk_result(&reply) } else { Err(sdk_refused(&reply)) }
        }))
    }

    fn wants_attempt(&self) -> bool {
        false
    }

    fn calls_out(&self) -> bool {
        !self.0.own_endpoint
    }
}

fn sdk_refused(reply: &Reply) -> TaskError {
    let error = failure::json_error(reply);
    let class = KNOWN.iter().find(|class| **class == error.kind).copied().unwrap_or("LambdaException");
    let class = class.strip_suffix("Exception").unwrap_or(class);
    let status = reply.status.as_u16();
    let failure::ServiceError { message, request_id, .. } = error;
    TaskError::new(
        format!("Lambda.{class}Exception"),
        format!(
            "{message} (Service: Lambda, Status Code: {status}, Request ID: {request_id}) (SDK Attempt Count: 1)"
        ),
    )
}

fn sdk_result(reply: &Reply) -> Result<Vec<u8>, TaskError> {
    let mut out = vec![b'{'];
    let mut member = |name: &str, value: &str| {
        json::write_string(name, &mut out);
        out.push(b':');
        json::write_string(value, &mut out);
        out.push(b',');
    };
    let fields = [
        ("ExecutedVersion", "x-amz-executed-version"),
        ("FunctionError", "x-amz-function-error"),
        ("LogResult", "x-amz-log-result"),
    ];
    for (name, header) in fields {
        reply.fields.get(header).into_iter().for_each(|value| member(name, value));
    }
    if !reply.body.is_empty() {
        member("Payload", text(&reply.body)?);
    }
    out.extend_from_slice(b"\"StatusCode\":");
    out.extend_from_slice(reply.status.as_str().as_bytes());
    out.push(b'}');
    Ok(out)
}

/// A runtime may return anything.
fn text(payload: &[u8]) -> Result<&str, TaskError> {
    std::str::from_utf8(payload).map_err(|_| {
        TaskError::new(fault::RUNTIME, "The function's payload is neither JSON nor text in UTF-8.")
    })
}

/// A task whose resource is a function: its input is the payload, and the payload it returns is its result.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) caller: Arc<Caller>,
    pub(super) arn: String,
}

impl AsyncHandler for Function {
    fn begin(&self, call: &Call<'_>, _: Attempt) -> Result<TaskFuture, TaskError> {
        let mut draft = draft(&self.arn, None);
        json::write(call.arena, call.input, &mut draft.body);
        let caller = Arc::clone(&self.caller);
        let arn = self.arn.clone();
        Ok(Box::pin(async move {
            let reply = caller.post(draft).await.map_err(|error| match error {
                CallError::TooLarge => failure::too_large(&arn),
                error => NAMES.unanswered(error),
            })?;
            check(&reply)?;
            Ok(if reply.body.is_empty() { b"null".to_vec() } else { reply.body })
        }))
    }

    fn wants_attempt(&self) -> bool {
        false
    }

    fn calls_out(&self) -> bool {
        !self.caller.own_endpoint
    }
}

fn draft(function: &str, qualifier: Option<&str>) -> Draft {
    let mut path = String::with_capacity(48 + function.len());
    path.push_str("/2015-03-31/functions/");
    path.extend(utf8_percent_encode(function, UNRESERVED));
    path.push_str("/invocations");
    let query = match qualifier {
        Some(qualifier) => format!("Qualifier={}", utf8_percent_encode(qualifier, UNRESERVED)),
        None => String::new(),
    };
    Draft { path, query, headers: vec![("content-type", "application/json".into())], ..Draft::default() }
}

/// Checks whether the function succeeded.
fn check(reply: &Reply) -> Result<(), TaskError> {
    if !reply.status.is_success() {
        let error = failure::json_error(reply);
        let class = KNOWN.iter().find(|class| **class == error.kind);
        return Err(NAMES.refused(reply, &error, class.copied()));
    }
    if reply.fields.get("x-amz-function-error").is_none() {
        return Ok(());
    }
    let payload: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    // AWS's name for errors of a runtime that gives no type.
    let error = payload.get("errorType").and_then(|it| it.as_str()).unwrap_or("Lambda.Unknown");
    Err(TaskError::new(error, String::from_utf8_lossy(&reply.body)))
}

fn result(reply: &Reply) -> Result<Vec<u8>, TaskError> {
    let mut out = Vec::with_capacity(reply.body.len() + 1_024);
    out.push(b'{');
    if let Some(version) = reply.fields.get("x-amz-executed-version") {
        out.extend_from_slice(b"\"ExecutedVersion\":");
        json::write_string(version, &mut out);
        out.push(b',');
    }
    if let Some(log) = reply.fields.get("x-amz-log-result") {
        out.extend_from_slice(b"\"LogResult\":");
        json::write_string(log, &mut out);
        out.push(b',');
    }
    if !reply.body.is_empty() {
        out.extend_from_slice(b"\"Payload\":");
        if is_json(&reply.body) {
            out.extend_from_slice(&reply.body)
        } else {
            json::write_string(text(&reply.body)?, &mut out)
        }
        out.push(b',');
    }
    answer::write_metadata(reply, answer::request_id(&reply.fields), &mut out);
    out.extend_from_slice(b",\"StatusCode\":");
    out.extend_from_slice(reply.status.as_str().as_bytes());
    out.push(b'}');
    Ok(out)
}
