//! AWS JSON 1.0: parses calls, dispatches them to actions, and writes the replies.
//!
//! A [`Call`] is the content of an HTTP request, a [`Reply`] that of its response; neither refers to a connection, so
//! any HTTP library, or a test, can call [`answer`].

mod act;
mod activities;
mod call;
mod definitions;
mod executions;
mod history;
mod machines;
mod map_runs;
mod read;
mod request;
mod shape;
mod spread;
mod sync;
mod write;

#[cfg(feature = "console")]
pub(crate) use {executions::status_name, machines::type_name};

use std::borrow::Cow;

use serde_json::Value as Json;

use crate::service::{Error, Exception, Grant, Service, made_by};
use act::act;
pub(crate) use call::START_SYNC_EXECUTION;
pub use call::{Call, Reply, refusal};
use call::{TARGET_PREFIX, members, whole};
use read::Fields;
use request::Action;

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
    handle(service, call).await.unwrap_or_else(|error| refusal(&error))
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

async fn handle(service: &Service, call: Call<'_>) -> Result<Reply, Error> {
    let spread = service.spread();
    if let Some(spread) =
        spread.filter(|_| service.is_forwarded() && call.target.starts_with(spread::OWN_PREFIX))
    {
        return Box::pin(spread::own(service, spread, call)).await;
    }
    let action = call.target.strip_prefix(TARGET_PREFIX).and_then(Action::of);
    let action = action.ok_or_else(|| Error::new(Exception::UnknownOperationException, ""))?;
    let members = members(call.body)?;
    shape::check(&members, action.request())?;
    match spread {
        Some(spread) => Box::pin(spread::answer(service, spread, (action, call), members)).await,
        None => act(service, action, call, Fields(&members)).await.map(whole),
    }
}
