//! Converts a service's error to a workflow's: its name, and a cause in the words of AWS's SDK (developer guide, "Error
//! handling"; recorded).

use super::answer;
use super::http1::Reply;
use super::query_protocol::Element;
use super::request::CallError;
use crate::fault;
use crate::task::TaskError;

/// The error names of an optimised integration: those of version 1 of AWS's SDK for Java.
#[derive(Clone, Copy, Debug)]
pub(super) struct Optimised {
    /// Before the dot: `Lambda`.
    pub(super) prefix: &'static str,
    /// In the cause: `AWSLambda`.
    pub(super) service: &'static str,
    /// The name of unknown errors: `AWSLambdaException`.
    pub(super) unknown: &'static str,
    /// `resourceType` in the message for results that are too large.
    pub(super) resource_type: &'static str,
}

/// An error of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServiceError {
    /// Its kind, by which the SDK finds its class.
    pub(super) kind: String,
    /// Its code.
    pub(super) code: String,
    pub(super) message: String,
    pub(super) request_id: String,
}

impl Optimised {
    /// The service refused. `class` is the SDK's class for the error, if it has one.
    pub(super) fn refused(&self, reply: &Reply, error: &ServiceError, class: Option<&str>) -> TaskError {
        let Optimised { prefix, service, unknown, .. } = self;
        let ServiceError { code, message, request_id, .. } = error;
        let name = match class {
            Some(class) => format!("{prefix}.{}Exception", class.strip_suffix("Exception").unwrap_or(class)),
            None => format!("{prefix}.{unknown}"),
        };
        let status = reply.status.as_u16();
        TaskError::new(
            name,
            format!(
                "{message} (Service: {service}; Status Code: {status}; Error Code: {code}; Request ID: {request_id}; \
                 Proxy: null)"
            ),
        )
    }

    /// There is no answer.
    pub(super) fn unanswered(&self, error: CallError) -> TaskError {
        match error {
            CallError::TooLarge => too_large(self.resource_type),
            CallError::Client(text) => TaskError::new(format!("{}.SdkClientException", self.prefix), text),
        }
    }
}

/// The message for a result that is too large.
pub(super) fn too_large(resource_type: &str) -> TaskError {
    let cause = format!(
        "The state/task '{resource_type}' returned a result with a size exceeding the maximum number of bytes service \
         limit."
    );
    TaskError::new(fault::DATA_LIMIT_EXCEEDED, cause)
}

/// The error of a service with a JSON protocol.
pub(super) fn json_error(reply: &Reply) -> ServiceError {
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = |names: &[&str]| {
        names.iter().find_map(|name| body.get(name)?.as_str()).unwrap_or_default().to_owned()
    };
    // Services that once had the query protocol still send their old codes, which the SDK uses.
    let query_code = reply.fields.get("x-amzn-query-error").and_then(|value| value.split(';').next());
    let typed = match reply.fields.get("x-amzn-errortype") {
        Some(code) => code.to_owned(),
        None => text(&["__type", "code", "Code"]),
    };
    // `com.amazonaws.sqs#QueueDoesNotExist`, `ValidationException:http://…`
    let typed = typed.split(':').next().unwrap_or_default();
    let typed = typed.rsplit('#').next().unwrap_or_default();
    ServiceError {
        kind: typed.to_owned(),
        code: query_code.unwrap_or(typed).to_owned(),
        message: text(&["message", "Message", "errorMessage"]),
        request_id: answer::request_id(&reply.fields).to_owned(),
    }
}

/// The error of a service with XML answers.
pub(super) fn xml_error(reply: &Reply) -> ServiceError {
    let root = Element::parse(&reply.body).unwrap_or_default();
    let error =
        root.child("Error").or_else(|| root.child("Errors")?.child("Error")).cloned().unwrap_or_default();
    let code = error.text_of("Code").to_owned();
    let told = [root.text_of("RequestId"), root.text_of("RequestID"), answer::request_id(&reply.fields)];
    let request_id = told.into_iter().find(|id| !id.is_empty()).unwrap_or_default().to_owned();
    ServiceError { kind: code.clone(), code, message: error.text_of("Message").to_owned(), request_id }
}
