//! The 37 operations on the wire: requests of AWS JSON 1.0 to calls of the service, and what it says back.

use std::borrow::Cow;

use crate::service::Service;

/// A request, without what belongs to HTTP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// `X-Amz-Target`.
    pub(crate) target: &'a str,
    /// `Content-Type`.
    #[allow(dead_code)]
    pub(crate) content_type: Option<&'a str>,
    /// `X-Amzn-Trace-Id`.
    #[allow(dead_code)]
    pub(crate) trace_header: Option<&'a str>,
    /// The body, as it came.
    #[allow(dead_code)]
    pub(crate) body: &'a [u8],
}

/// What goes back.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// HTTP status.
    pub(crate) status: u16,
    /// JSON text.
    pub(crate) body: Vec<u8>,
    /// `x-amzn-ErrorType`.
    pub(crate) error: Option<Cow<'static, str>>,
    /// When to try again, for requests that were throttled.
    pub(crate) retry_after_ms: Option<u64>,
}

/// Answers one request.
pub(crate) async fn answer(_service: &Service, call: Call<'_>) -> Reply {
    let operation = call.target.rsplit('.').next().unwrap_or_default();
    let error = "UnknownOperationException";
    let body = serde_json::json!({"__type": error, "message": format!("Unknown operation {operation}")});
    Reply {
        status: 400,
        body: body.to_string().into_bytes(),
        error: Some(Cow::Borrowed(error)),
        retry_after_ms: None,
    }
}
