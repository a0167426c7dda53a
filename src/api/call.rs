//! A request and its response.

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use super::{shape, write};
use crate::limits;
use crate::service::{Error, Exception};

/// A request. Its `Content-Type` is ignored: AWS's own clients disagree about it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The header `X-Amz-Target`: `AWSStepFunctions.StartExecution`.
    pub target: &'a str,
    /// The header `X-Amzn-Trace-Id`, for executions that are started without a `traceHeader`.
    pub trace_header: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// A response. Its content type is `application/x-amz-json-1.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body: JSON.
    pub body: Vec<u8>,
    /// The header `x-amzn-ErrorType`, when it is an error.
    pub error: Option<Cow<'static, str>>,
    /// The header `x-amz-retry-after`, in milliseconds, when trying again makes sense.
    pub retry_after_ms: Option<u64>,
}

pub(super) const TARGET_PREFIX: &str = "AWSStepFunctions.";
pub(crate) const START_SYNC_EXECUTION: &str = "AWSStepFunctions.StartSyncExecution";

/// A reply without an error.
pub(super) fn whole(body: Vec<u8>) -> Reply {
    Reply { status: 200, body, error: None, retry_after_ms: None }
}

/// The members of a body; a call without members may have an empty body.
pub(super) fn members(body: &[u8]) -> Result<Map<String, Json>, Error> {
    if body.len() > limits::REQUEST_BYTES_MAX + limits::DEFINITION_BYTES_MAX {
        return Err(shape::unreadable("The request is too large".to_owned()));
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Json::Object(members)) => Ok(members),
        Ok(Json::Array(_)) => Err(shape::unreadable(shape::LIST.to_owned())),
        Ok(_) => Err(shape::unreadable(String::new())),
        Err(_) => Err(shape::unreadable(String::new())),
    }
}

/// The response to a refused request.
pub fn refusal(error: &Error) -> Reply {
    let name = error.exception.name();
    let namespace = match error.exception {
        Exception::SerializationException
        | Exception::UnknownOperationException
        | Exception::InternalFailure => "com.amazon.coral.service",
        Exception::ThrottlingException | Exception::ServiceUnavailable => "com.amazon.coral.availability",
        _ => "com.amazonaws.swf.service.v2.model",
    };
    let body = write::object(|reply| {
        reply.text("__type", &format!("{namespace}#{name}"));
        if !error.message.is_empty() {
            // A request that cannot be read is refused before the action's own model, which has a small letter, is
            // known.
            let unread = error.exception == Exception::SerializationException;
            reply.text(if unread { "Message" } else { "message" }, &error.message);
        }
        reply.maybe_text("reason", error.reason);
        reply.maybe_text("resourceName", error.resource.as_deref());
        // Clients ignore members that they do not know; people who look at the answer find it.
        reply.maybe_text("suggestion", error.suggestion.as_deref());
    });
    let status = match error.exception {
        Exception::InternalFailure => 500,
        Exception::ServiceUnavailable => 503,
        _ => 400,
    };
    let retry_after_ms = error.retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    Reply { status, body, error: Some(Cow::Borrowed(name)), retry_after_ms }
}
