//! The runtime API for one process, at its own address (Lambda developer guide, "Using the Lambda runtime API for
//! custom runtimes").

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::invocation::QueuedInvocation;
use crate::limits::{LAMBDA_CONNECTIONS_MAX, LAMBDA_PAYLOAD_BYTES_MAX};
use crate::random;

/// A process's message to the runtime API.
#[derive(Debug)]
pub(super) enum Said {
    /// It is ready for an invocation.
    Next(oneshot::Sender<Given>),
    /// The result of the invocation with this identifier; `known` receives whether that is the present one.
    Done { id: String, result: Done, known: oneshot::Sender<bool> },
    /// It failed to initialize: an error as JSON text.
    Unable(Vec<u8>),
}

/// The result of an invocation.
#[derive(Debug)]
pub(super) enum Done {
    Returned(Bytes),
    /// An error as JSON text.
    Failed(Vec<u8>),
    /// The result exceeds the size limit.
    TooLarge,
}

/// The answer to a process that asked for an invocation.
#[derive(Debug)]
pub(super) enum Given {
    Invocation {
        headers: Vec<(&'static str, String)>,
        payload: Vec<u8>,
    },
    /// It has one that it has not answered.
    NotYet,
}

/// The headers of an invocation.
pub(super) fn headers(
    invocation: &QueuedInvocation,
    id: &str,
    deadline_ms: u64,
) -> Vec<(&'static str, String)> {
    let seconds = deadline_ms / 1_000;
    let trace = format!("Root=1-{:08x}-{:016x}{:08x}", seconds as u32, random::next(), random::next() as u32);
    let mut headers = vec![
        ("lambda-runtime-aws-request-id", id.to_owned()),
        ("lambda-runtime-deadline-ms", deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", invocation.arn.clone()),
        ("lambda-runtime-trace-id", trace),
    ];
    headers.extend(invocation.client_context.iter().map(|it| ("lambda-runtime-client-context", it.clone())));
    headers
}

/// Listens on an address that is unlikely to be used: on Linux, all of 127.0.0.0/8 is loopback.
pub(super) async fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let [a, b, c, ..] = random::next().to_le_bytes();
    let somewhere = Ipv4Addr::new(127, a, b, c.clamp(1, 254));
    let listener = match TcpListener::bind((somewhere, 0)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
    };
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Answers requests until it is dropped.
pub(super) async fn serve(listener: TcpListener, process: mpsc::Sender<Said>) -> Infallible {
    let turns = Rc::new(Semaphore::new(LAMBDA_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let turn = Rc::clone(&turns);
        let Ok((stream, _)) = listener.accept().await else {
            // Too many files are open.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let process = process.clone();
        connections.spawn_local(async move {
            // Requests are short, and a runtime waits for the answer to each.
            let (Ok(_turn), Ok(())) = (turn.try_acquire(), stream.set_nodelay(true)) else { return };
            let service = service_fn(|request| {
                let process = process.clone();
                async move { Ok::<_, Infallible>(answer(request, &process).await) }
            });
            // A connection that breaks is closed; its client makes another.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Reply = Response<Full<Bytes>>;

async fn answer(request: Request<Incoming>, process: &mpsc::Sender<Said>) -> Reply {
    // A page in a browser is not a runtime.
    if request.headers().contains_key(ORIGIN) {
        return refused(StatusCode::FORBIDDEN, "Forbidden", "This is for runtimes of functions.");
    }
    let path = request.uri().path().to_owned();
    let rest = path.strip_prefix("/2018-06-01/runtime/").map(|rest| rest.split('/').collect::<Vec<_>>());
    match (request.method(), rest.as_deref()) {
        (&Method::GET, Some(["invocation", "next"])) => next(process).await,
        (&Method::POST, Some(["invocation", id, "response"])) => {
            let result = read(request.into_body()).await;
            done(process, id, result).await
        }
        (&Method::POST, Some(["invocation", id, "error"])) => {
            let kind = error_type(request.headers());
            let result = match read(request.into_body()).await {
                Ok(Done::Returned(body)) => Ok(Done::Failed(error(&body, kind))),
                other => other,
            };
            done(process, id, result).await
        }
        (&Method::POST, Some(["init", "error"])) => {
            let kind = error_type(request.headers());
            match read(request.into_body()).await {
                Ok(Done::Returned(body)) => {
                    let _ = process.send(Said::Unable(error(&body, kind))).await;
                    accepted()
                }
                _ => refused(StatusCode::BAD_REQUEST, "InvalidRequest", "The error cannot be read."),
            }
        }
        _ => refused(StatusCode::NOT_FOUND, "ResourceNotFound", "There is nothing here."),
    }
}

async fn next(process: &mpsc::Sender<Said>) -> Reply {
    let (give, given) = oneshot::channel();
    let _ = process.send(Said::Next(give)).await;
    match given.await {
        Ok(Given::Invocation { headers, payload }) => {
            let reply = Response::builder().header(CONTENT_TYPE, "application/json");
            let reply = headers.into_iter().fold(reply, |reply, (name, value)| reply.header(name, value));
            reply.body(Full::new(payload.into())).unwrap_or_else(|error| {
                refused(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", &error.to_string())
            })
        }
        Ok(Given::NotYet) => {
            refused(StatusCode::FORBIDDEN, "InvalidStateTransition", "The invocation before has no response.")
        }
        Err(_) => refused(StatusCode::GONE, "Gone", "Another request for the next invocation came."),
    }
}

async fn done(process: &mpsc::Sender<Said>, id: &str, result: Result<Done, ()>) -> Reply {
    let Ok(result) = result else {
        return refused(StatusCode::BAD_REQUEST, "InvalidRequest", "The body was cut off.");
    };
    let is_too_large = matches!(result, Done::TooLarge);
    let (known, is_known) = oneshot::channel();
    let _ = process.send(Said::Done { id: id.to_owned(), result, known }).await;
    match is_known.await {
        Ok(true) if is_too_large => refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            &format!("Exceeded maximum allowed payload size ({LAMBDA_PAYLOAD_BYTES_MAX} bytes)."),
        ),
        Ok(true) => accepted(),
        _ => refused(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID"),
    }
}

/// A body, unless it is truncated. Trailers may report that a function failed after it had begun to respond.
async fn read(body: impl Body<Data = Bytes, Error = hyper::Error>) -> Result<Done, ()> {
    match Limited::new(body, LAMBDA_PAYLOAD_BYTES_MAX).collect().await {
        Ok(body) => {
            let failed = body.trailers().and_then(error_type);
            let bytes = body.to_bytes();
            Ok(match failed {
                Some(kind) => Done::Failed(error(&[], Some(kind))),
                None => Done::Returned(bytes),
            })
        }
        Err(error) if error.is::<LengthLimitError>() => Ok(Done::TooLarge),
        Err(_) => Err(()),
    }
}

fn error_type(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get("lambda-runtime-function-error-type")?;
    Some(String::from_utf8_lossy(kind.as_bytes()).into_owned())
}

/// An error reported by a runtime; one that is not a JSON object is wrapped in one.
fn error(body: &[u8], kind: Option<String>) -> Vec<u8> {
    if serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body).is_ok() {
        return body.to_vec();
    }
    let kind = kind.unwrap_or_else(|| "Runtime.Unknown".to_owned());
    json!({"errorType": kind, "errorMessage": String::from_utf8_lossy(body)}).to_string().into_bytes()
}

fn accepted() -> Reply {
    json(StatusCode::ACCEPTED, &json!({"status": "OK"}))
}

fn refused(status: StatusCode, kind: &str, message: &str) -> Reply {
    json(status, &json!({"errorType": kind, "errorMessage": message}))
}

fn json(status: StatusCode, body: &serde_json::Value) -> Reply {
    let mut reply = Response::new(Full::new(body.to_string().into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    reply
}
