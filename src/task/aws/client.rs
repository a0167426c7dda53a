//! A client of a service for callers other than tasks: from any thread, on any runtime. Connections belong to threads,
//! so calls are made on the client's own thread.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::Integrations;
use super::caller::Caller;
use super::failure::{self, ServiceError};
use super::request::{CallError, Draft};

/// Calls one service that speaks AWS JSON. Clones share the thread.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    jobs: mpsc::Sender<Job>,
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// The service refused: its error's code, and its message.
    Refused { code: String, message: String },
    /// There is no valid answer, or the service itself failed.
    Unanswered(String),
}

#[derive(Debug)]
struct Job {
    operation: &'static str,
    body: Vec<u8>,
    done: oneshot::Sender<Result<Json, ClientError>>,
}

/// The protocol of a service.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    thread: &'static str,
    target: &'static str,
    content_type: &'static str,
}

#[cfg(feature = "sqs")]
const SQS: Protocol =
    Protocol { thread: "sqs", target: "AmazonSQS", content_type: "application/x-amz-json-1.0" };
#[cfg(feature = "service")]
const EVENTS: Protocol =
    Protocol { thread: "events", target: "AWSEvents", content_type: "application/x-amz-json-1.1" };

/// Calls that may wait.
const WAITING_MAX: usize = 64;
/// Longer than a service holds a request that waits for something.
const ANSWER_MAX: Duration = Duration::from_secs(60);

impl Client {
    /// Of SQS, in another region than that of the settings, if one is given.
    #[cfg(feature = "sqs")]
    pub(crate) fn sqs(integrations: &Integrations, region: Option<&str>) -> Result<Client, String> {
        let caller = Caller::new(&integrations.settings, "SQS", "sqs", "sqs", region)?;
        Client::of(SQS, caller)
    }

    /// Of EventBridge.
    #[cfg(feature = "service")]
    pub(crate) fn events(integrations: &Integrations) -> Result<Client, String> {
        let caller = Caller::new(&integrations.settings, "EventBridge", "events", "events", None)?;
        Client::of(EVENTS, caller)
    }

    fn of(protocol: Protocol, caller: Caller) -> Result<Client, String> {
        let caller = Arc::new(caller);
        let (jobs, todo) = mpsc::channel(WAITING_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start the client's runtime: {error}"))?;
        let serve = move || LocalSet::new().block_on(&runtime, serve(protocol, caller, todo));
        let spawned = thread::Builder::new().name(protocol.thread.into()).spawn(serve);
        spawned.map_err(|error| format!("cannot start the client's thread: {error}"))?;
        Ok(Client { jobs })
    }

    /// Calls an operation. Dropping the future closes the request.
    pub(crate) async fn call(&self, operation: &'static str, body: &Json) -> Result<Json, ClientError> {
        let gone = || ClientError::Unanswered("the client's thread has ended".to_owned());
        let (done, answer) = oneshot::channel();
        let job = Job { operation, body: body.to_string().into_bytes(), done };
        self.jobs.send(job).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Ends when all clients are dropped, with all calls.
async fn serve(protocol: Protocol, caller: Arc<Caller>, mut todo: mpsc::Receiver<Job>) {
    while let Some(Job { operation, body, mut done }) = todo.recv().await {
        let caller = Arc::clone(&caller);
        tokio::task::spawn_local(async move {
            tokio::select! {
                answer = call(caller, protocol, operation, body) => drop(done.send(answer)),
                () = done.closed() => {}
            }
        });
    }
}

async fn call(
    caller: Arc<Caller>,
    protocol: Protocol,
    operation: &str,
    body: Vec<u8>,
) -> Result<Json, ClientError> {
    let headers = vec![
        ("content-type", protocol.content_type.into()),
        ("x-amz-target", format!("{}.{operation}", protocol.target).into()),
    ];
    let draft = Draft { path: "/".to_owned(), headers, body, ..Draft::default() };
    let reply = match timeout(ANSWER_MAX, caller.post(draft)).await {
        Ok(reply) => reply.map_err(|error| match error {
            CallError::TooLarge => ClientError::Unanswered("the answer is too large".to_owned()),
            CallError::Client(text) => ClientError::Unanswered(text),
        })?,
        Err(_) => return Err(ClientError::Unanswered(format!("no response to {operation}"))),
    };
    if !reply.status.is_success() {
        let ServiceError { code, message, .. } = failure::json_error(&reply);
        let is_trouble =
            reply.status.is_server_error() || reply.status.as_u16() == 429 || is_throttling(&code);
        return Err(if is_trouble {
            ClientError::Unanswered(format!("{operation}: {} {code}: {message}", reply.status))
        } else {
            ClientError::Refused { code, message }
        });
    }
    if reply.body.is_empty() {
        Ok(Json::Null)
    } else {
        serde_json::from_slice(&reply.body).map_err(|error| {
            ClientError::Unanswered(format!("the response to {operation} is not JSON: {error}"))
        })
    }
}

/// Errors that AWS's SDKs retry ("Retry behavior").
fn is_throttling(code: &str) -> bool {
    ["Throttl", "RequestLimitExceeded", "TooManyRequests", "SlowDown", "KmsThrottled", "OverLimit"]
        .iter()
        .any(|part| code.contains(part))
}
