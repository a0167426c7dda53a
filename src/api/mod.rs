//! AWS JSON 1.0: parses calls, dispatches them to actions, and writes the replies.
//!
//! A [`Call`] is the content of an HTTP request, a [`Reply`] that of its response; neither refers to a connection, so
//! any HTTP library, or a test, can call [`answer`].

mod activities;
mod definitions;
mod executions;
mod history;
mod machines;
mod map_runs;
mod read;
mod request;
mod shape;
mod sync;
mod write;

#[cfg(feature = "console")]
pub(crate) use {executions::status_name, machines::type_name};

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

use crate::limits;
use crate::service::{Error, Exception, Grant, Service, made_by};
use read::Fields;
use request::Action;

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

const TARGET_PREFIX: &str = "AWSStepFunctions.";
pub(super) const START_SYNC_EXECUTION: &str = "AWSStepFunctions.StartSyncExecution";

/// Answers a request.
///
/// Dropping the future abandons what it waits for: an execution that `StartSyncExecution` began is aborted, a worker in
/// `GetActivityTask` gets no task.
pub async fn answer(service: &Service, call: Call<'_>) -> Reply {
    match answer_now(service, call) {
        Some(reply) => reply,
        None => answer_in_time(service, call).await,
    }
}

/// Answers frequent calls that need no waiting: executions that neither wait nor call. `None`, without any effect, for
/// all others.
pub(super) fn answer_now(service: &Service, call: Call<'_>) -> Option<Reply> {
    if call.target != START_SYNC_EXECUTION {
        return None;
    }
    let body = sync::answer(service, call.body, call.trace_header)?;
    Some(Reply { status: 200, body, error: None, retry_after_ms: None })
}

/// Answers calls that [`answer_now`] does not.
pub(super) async fn answer_in_time(service: &Service, call: Call<'_>) -> Reply {
    match handle(service, call).await {
        Ok(body) => Reply { status: 200, body, error: None, retry_after_ms: None },
        Err(error) => refusal(&error),
    }
}

/// Whether a grant allows a call. Its resources are read as [`answer`] reads them: both ignore members that the
/// operation does not have, and of a repeated member both take the last.
///
/// # Errors
/// AWS's message.
pub fn permit(service: &Service, call: Call<'_>, grant: &Grant) -> Result<(), String> {
    let operation = call.target.strip_prefix(TARGET_PREFIX).unwrap_or(call.target);
    let (Some(action), Ok(members)) = (Action::of(operation), members(call.body)) else {
        // A body that cannot be parsed names no resource: only callers that may call the operation on any resource get
        // the error of parsing.
        return grant.check(operation, []);
    };
    let mut resources = Vec::new();
    match (made_by(operation), members.get("name").and_then(Json::as_str)) {
        (Some(kind), Some(name)) => resources.push(Cow::Owned(service.arn(kind, name))),
        (Some(_), None) => {}
        (None, _) => shape::resources(&members, action.request(), &mut resources),
    }
    grant.check(operation, resources)
}

/// AWS's message of an error, if it quotes no data of executions: for logs. Messages about inputs, outputs and members
/// of requests may quote them.
#[cfg_attr(not(feature = "server"), allow(dead_code, reason = "the server logs"))]
pub(crate) fn message_without_data(error: &str, body: &[u8]) -> Option<String> {
    const QUOTES_NONE: [&str; 14] = [
        "AccessDeniedException",
        "ActivityDoesNotExist",
        "ConflictException",
        "ExecutionAlreadyExists",
        "ExecutionDoesNotExist",
        "InvalidArn",
        "InvalidDefinition",
        "InvalidName",
        "ResourceNotFound",
        "ServiceUnavailableException",
        "StateMachineAlreadyExists",
        "StateMachineDoesNotExist",
        "StateMachineTypeNotSupported",
        "UnknownOperationException",
    ];
    let said: Json = serde_json::from_slice(body).ok()?;
    let message = said["message"].as_str()?;
    let message = match error {
        // It names the test case, and what is wrong with the file of mocks.
        "ValidationException" if message.starts_with("Test case '") => Cow::Borrowed(message),
        "ValidationException" => Cow::Owned(without_values(message)?),
        error if QUOTES_NONE.contains(&error) => Cow::Borrowed(message),
        _ => return None,
    };
    let cut = |text: &str| text.chars().take(LOGGED_CHARS_MAX).collect::<String>();
    let message = cut(&message);
    Some(match said["suggestion"].as_str() {
        Some(suggestion) => format!("{message}; {}", cut(suggestion)),
        None => message,
    })
}

/// What is wrong with members of a request, without their values: `Value 'x' at 'name' failed …` is `Value at 'name' failed …`.
fn without_values(message: &str) -> Option<String> {
    let (before, problems) = message.split_once(" detected: ")?;
    let mut out = format!("{before} detected: ");
    for (n, part) in problems.split("Value '").enumerate() {
        // What is in a value may look like what is behind it.
        match part.rsplit_once("' at '") {
            Some((_, behind)) if n > 0 => out.push_str(&format!("Value at '{behind}")),
            None if n > 0 => return None,
            _ => out.push_str(part),
        }
    }
    Some(out)
}

/// Characters of a message in a log.
const LOGGED_CHARS_MAX: usize = 1_000;

async fn handle(service: &Service, call: Call<'_>) -> Result<Vec<u8>, Error> {
    let action = call.target.strip_prefix(TARGET_PREFIX).and_then(Action::of);
    let action = action.ok_or_else(|| Error::new(Exception::UnknownOperationException, ""))?;
    let members = members(call.body)?;
    shape::check(&members, action.request())?;
    let fields = Fields(&members);
    match action {
        Action::CreateActivity => activities::create(service, fields),
        Action::CreateStateMachine => machines::create(service, fields),
        Action::CreateStateMachineAlias => machines::create_alias(service, fields),
        Action::DeleteActivity => activities::delete(service, fields),
        Action::DeleteStateMachine => machines::delete(service, fields),
        Action::DeleteStateMachineAlias => machines::delete_alias(service, fields),
        Action::DeleteStateMachineVersion => machines::delete_version(service, fields),
        Action::DescribeActivity => activities::describe(service, fields),
        Action::DescribeExecution => executions::describe(service, fields),
        Action::DescribeMapRun => map_runs::describe(service, fields),
        Action::DescribeStateMachine => machines::describe(service, fields),
        Action::DescribeStateMachineAlias => machines::describe_alias(service, fields),
        Action::DescribeStateMachineForExecution => machines::describe_for_execution(service, fields),
        Action::GetActivityTask => activities::task(service, fields).await,
        Action::GetExecutionHistory => executions::history(service, fields),
        Action::ListActivities => activities::list(service, fields),
        Action::ListExecutions => executions::list(service, fields),
        Action::ListMapRuns => map_runs::list(service, fields),
        Action::ListStateMachineAliases => machines::list_aliases(service, fields),
        Action::ListStateMachineVersions => machines::list_versions(service, fields),
        Action::ListStateMachines => machines::list(service, fields),
        Action::ListTagsForResource => machines::list_tags(service, fields),
        Action::PublishStateMachineVersion => machines::publish(service, fields),
        Action::RedriveExecution => executions::redrive(service, fields).await,
        Action::SendTaskFailure => activities::failure(service, fields).await,
        Action::SendTaskHeartbeat => activities::heartbeat(service, fields),
        Action::SendTaskSuccess => activities::success(service, fields).await,
        Action::StartExecution => executions::start(service, fields, call.trace_header).await,
        Action::StartSyncExecution => executions::start_sync(service, fields, call.trace_header).await,
        Action::StopExecution => executions::stop(service, fields).await,
        Action::TagResource => machines::tag(service, fields),
        Action::UntagResource => machines::untag(service, fields),
        Action::UpdateMapRun => map_runs::update(service, fields),
        Action::UpdateStateMachine => machines::update(service, fields),
        Action::UpdateStateMachineAlias => machines::update_alias(service, fields),
        Action::TestState => definitions::test_state(service, fields).await,
        Action::ValidateStateMachineDefinition => definitions::validate(service, fields),
    }
}

/// The members of a body; a call without members may have an empty body.
fn members(body: &[u8]) -> Result<Map<String, Json>, Error> {
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
