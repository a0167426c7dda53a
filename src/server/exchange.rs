//! One request, and its response.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};

use super::auth::Denied;
use super::background;
use super::connection_timeouts::Watch;
#[cfg(feature = "console")]
use super::console;
use super::cors;
#[cfg(feature = "cluster")]
use super::peers;
use super::reply::{Hold, Rest};
use super::scope;
use super::testing;
use super::thread::{Local, Shared};
use crate::api::{self, Call, Reply};
use crate::hosts::is_same_origin;
use crate::memory::{Charge, Share};
use crate::service::Service;

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("x-amz-retry-after");
const AMZ_JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Bytes of a too large body that are read so that the connection stays usable.
const OVERFLOW_BYTES_MAX: usize = 16 << 20;
/// Bytes, roughly, of a request over HTTP/2 beside its body and of each header beside its value: measured were 4.6 KiB for
/// each of 256 streams, whether its body was missing or its response was not taken.
const HEAD_BYTES: usize = STREAM_BYTES;
/// Bytes, roughly, of a stream of HTTP/2 whose response was not taken, beside the body.
const STREAM_BYTES: usize = 5 << 10;
const HEADER_BYTES: usize = 100;
/// Headers for which a connection keeps room.
const HEADERS_KEPT: usize = 32;

/// Answers a request.
///
/// The future is kept small, because each connection, and each stream of HTTP/2, has one and it is moved: rare parts
/// are boxed.
///
/// The request is under way from the call on: before its future is polled, HTTP may already see the end of what the
/// client sends, and would abandon a request that is not counted yet.
pub(super) fn exchange(
    local: Rc<Local>,
    watch: Rc<Watch>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Rest>, Infallible>> {
    let (head, body) = request.into_parts();
    let is_framed = head.version == Version::HTTP_2;
    let busy = Busy::new(watch, is_framed);
    if !is_framed && !body.is_end_stream() {
        busy.0.body(true);
    }
    respond_to(local, busy, head, body)
}

async fn respond_to(
    local: Rc<Local>,
    busy: Busy,
    mut head: Parts,
    body: Incoming,
) -> Result<Response<Rest>, Infallible> {
    if head.version != Version::HTTP_2 {
        // Those that were sent in a row; a stream of HTTP/2 is only polled when there is time.
        let has_time = || busy.0.account.has_time_after(2);
        poll_fn(|_| if has_time() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
    let origin = head.headers.get(ORIGIN).cloned();
    let answered = match at_once(&local, &head, origin.as_ref()) {
        None if head.uri.path() == "/metrics" => Some(Box::pin(metrics(&local)).await),
        answered => answered,
    };
    let (mut response, only_reads) = match answered {
        Some(response) => (response, true),
        None => operation(&local, &busy.0, &mut head, body).await,
    };
    hold(&local, &busy.0, head.version, only_reads, &mut response);
    if let Some(origin) = origin
        && let Some(origin) = cors::allowed(&local.shared.origins, &origin)
    {
        cors::grant(response.headers_mut(), origin);
    }
    let counters = local.counters();
    counters.requests.add(1);
    let status = response.status().as_u16();
    counters.errors_client.add(u64::from((400..500).contains(&status)));
    counters.errors_server.add(u64::from(status >= 500));
    counters.body_bytes_out.add(response.body().len() as u64);
    if let Ok(id) = HeaderValue::from_maybe_shared(local.identifiers.next()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response)
}

/// Bytes of a small body, which is never refused. With HTTP/1.1 a connection has one request and one response at a
/// time, and small ones are within its fixed share, so they are not charged; with HTTP/2 it has many.
const SMALL_BYTES: usize = 4 << 10;

/// Charges a response until the client has taken it, and enforces the time limit for that. A response for which there
/// is no room is refused if the request can simply be repeated; the result of a change is sent, and other clients that
/// do not take their responses are disconnected for it.
fn hold(local: &Local, watch: &Rc<Watch>, version: Version, only_reads: bool, response: &mut Response<Rest>) {
    let is_framed = version == Version::HTTP_2;
    let body = response.body().len();
    if body == 0 || (!is_framed && body <= SMALL_BYTES) {
        return;
    }
    let bytes = |body| if is_framed { STREAM_BYTES + body } else { body };
    let charge = match local.shared.requests.take(bytes(body)) {
        Some(charge) => charge,
        None => {
            if only_reads && body > SMALL_BYTES {
                *response = Refusal::NoRoom.response();
            }
            local.make_room_for(bytes(response.body().len()))
        }
    };
    let unsent = Watch::unsent(watch, charge.bytes(), is_framed);
    response.body_mut().held(Hold { unsent, _charge: charge });
}

/// Has the cluster's secret, by which nodes recognize requests of each other.
pub(super) const HOP: HeaderName = HeaderName::from_static("x-expressway-hop");

/// Whether a request was forwarded by another node, which the client called by that node's own name.
fn is_hop(local: &Local, head: &Parts) -> bool {
    let (Some(secret), Some(told)) = (&local.shared.hop_secret, head.headers.get(HOP)) else { return false };
    let (secret, told) = (secret.as_bytes(), told.as_bytes());
    let differing = secret.iter().zip(told).fold(0, |differing, (one, other)| differing | (one ^ other));
    !secret.is_empty() && secret.len() == told.len() && differing == 0
}

/// Whether an operation changes nothing.
fn only_reads(target: &str) -> bool {
    let operation = target.rsplit('.').next().unwrap_or_default();
    ["Describe", "List", "GetExecutionHistory", "Validate"].iter().any(|reads| operation.starts_with(reads))
}

/// The response, if this is neither an operation nor a request for metrics.
fn at_once(local: &Local, head: &Parts, origin: Option<&HeaderValue>) -> Option<Response<Rest>> {
    let host = match host(head) {
        Ok(host) => host,
        Err(why) => return Some(refuse(StatusCode::BAD_REQUEST, "InvalidHostException", why)),
    };
    if host.is_some_and(|host| !local.goes_by(host)) && !is_hop(local, head) {
        let why = "The Host header names a host that this server does not serve: see --allow-host";
        return Some(refuse(StatusCode::MISDIRECTED_REQUEST, "MisdirectedRequestException", why));
    }
    let is_foreign = |origin: &HeaderValue| {
        let is_same = |host| origin.to_str().is_ok_and(|origin| is_same_origin(origin, host));
        !host.is_some_and(is_same) && cors::allowed(&local.shared.origins, origin).is_none()
    };
    if origin.is_some_and(is_foreign) {
        let why = "Pages of this origin may not use this server: see --allow-origin";
        return Some(refuse(StatusCode::FORBIDDEN, "AccessDeniedException", why));
    }
    match (&head.method, head.uri.path()) {
        (&Method::POST, "/") => None,
        (method, path) if testing::is_call(path) && *method != Method::OPTIONS => {
            (!local.shared.testing).then(|| respond(testing::not_for_tests(), HeaderMap::new()))
        }
        #[cfg(feature = "console")]
        _ if local.shared.console.is_some() && console::is_action(head) => None,
        #[cfg(feature = "console")]
        (&Method::GET | &Method::HEAD, _) if local.shared.console.is_some() && console::is_page(head) => {
            Some(console::page(head).map(Rest::new))
        }
        (&Method::OPTIONS, _) if origin.is_some() => Some(cors::preflight()),
        (&Method::GET | &Method::HEAD, "/metrics") => None,
        (&Method::GET | &Method::HEAD, path) => Some(page(local, path)),
        _ => Some(unknown(StatusCode::NOT_FOUND)),
    }
}

/// The host that a request is for: HTTP/1.1 and HTTP/2 have it, exactly once (RFC 9110, section 7.2).
pub(super) fn host(head: &Parts) -> Result<Option<&str>, &'static str> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    let host =
        host.map(|host| host.to_str().map_err(|_| "The header 'Host' is not a host name")).transpose()?;
    let authority = head.uri.authority().map(|authority| authority.as_str());
    match (host, authority) {
        _ if more.is_some() => Err("There is more than one header 'Host'"),
        (Some(host), Some(authority)) if host != authority => Err("The request names two different hosts"),
        (None, None) if head.version > Version::HTTP_10 => Err("The header 'Host' is missing"),
        (host, authority) => Ok(host.or(authority)),
    }
}

/// Counts a request as under way for as long as this lives.
pub(super) struct Busy(Rc<Watch>);

impl Busy {
    #[cfg(feature = "console")]
    pub(super) fn watch(&self) -> &Watch {
        &self.0
    }

    fn new(watch: Rc<Watch>, framed: bool) -> Busy {
        watch.begin(framed);
        Busy(watch)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The response, and whether the request changed nothing, so that it can simply be repeated.
async fn operation(
    local: &Rc<Local>,
    watch: &Rc<Watch>,
    head: &mut Parts,
    body: Incoming,
) -> (Response<Rest>, bool) {
    let began = tracing::enabled!(target: CALLS, tracing::Level::INFO).then(Instant::now);
    // The charge is held until the request is answered.
    let (body, _charge) = match body_of(local, watch, head, body).await {
        Ok(body) => body,
        Err(refusal) => {
            local.counters().throttled.add(u64::from(refusal == Refusal::NoRoom));
            return (refusal.response(), true);
        }
    };
    local.counters().body_bytes_in.add(body.len() as u64);
    let call = Call { target: target(&head.headers), trace_header: text(&head.headers, &TRACE), body: &body };
    #[cfg(feature = "console")]
    if local.shared.console.as_ref().is_some_and(|console| !console.admits(head)) {
        let why = "This server is a studio that may call services: only its own page may use it. Open the address that \
                   `expressway studio` shows";
        return (refuse(StatusCode::BAD_REQUEST, "AccessDeniedException", why), true);
    }
    let known = match let_in(local, head, call) {
        Ok(known) => known,
        Err(denied) => {
            let operation = operation_name(call.target);
            tracing::warn!(target: CALLS, operation, error = denied.error, why = denied.message, "refused");
            return (refuse(StatusCode::BAD_REQUEST, denied.error, &denied.message), true);
        }
    };
    let service = known.as_ref().unwrap_or(&local.service);
    if local.shared.testing && testing::is_call(head.uri.path()) {
        let reply = testing::answer(service, head, &body);
        log(head.uri.path(), &reply, began);
        return (respond(reply, HeaderMap::new()), false);
    }
    let polls = call.target.ends_with(".GetActivityTask");
    #[cfg(all(feature = "console", feature = "cluster"))]
    if service.is_forwarded()
        && let Some(action) = call.target.strip_prefix(console::BETWEEN_NODES)
    {
        let Some(console) = &local.shared.console else {
            let why = "This node has no console: see --no-console";
            return (refuse(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", why), true);
        };
        let reply = Box::pin(console.answer_node(service, action, &body)).await;
        return (respond(reply, HeaderMap::new()), true);
    }
    #[cfg(feature = "console")]
    if let Some(console) = local.shared.console.as_ref().filter(|_| console::is_action(head)) {
        let reply = if head.method == Method::GET {
            let busy = Busy::new(Rc::clone(watch), head.version == Version::HTTP_2);
            match console::stream(local, busy, service, head, call.target) {
                Ok(response) => return (response, true),
                Err(reply) => reply,
            }
        } else {
            Box::pin(console.answer(service, head, call.target, &body)).await
        };
        return (respond(reply, HeaderMap::new()), true);
    }
    let reply = match local.is_acceptor() {
        true if polls => Box::pin(poll(local, watch, forward(local, watch, service, call))).await,
        true => Box::pin(forward(local, watch, service, call)).await,
        false if !polls && background::is_long(call) => Box::pin(local.answer(service, call, &body)).await,
        false => match api::answer_now(service, call) {
            Some(reply) => reply,
            None if polls => Box::pin(poll(local, watch, api::answer_in_time(service, call))).await,
            None => Box::pin(api::answer_in_time(service, call)).await,
        },
    };
    if reply.retry_after_ms.is_some() {
        local.counters().throttled.add(1);
    }
    log(call.target, &reply, began);
    let only_reads = only_reads(call.target);
    (respond(reply, emptied(head)), only_reads)
}

/// The log target of calls.
const CALLS: &str = "expressway::calls";

/// One line for each call: failed ones as warnings. It never has inputs and outputs of executions.
fn log(target: &str, reply: &Reply, began: Option<Instant>) {
    let operation = operation_name(target);
    let Some(error) = &reply.error else {
        if let Some(began) = began {
            let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            tracing::info!(target: CALLS, operation, status = reply.status, took_us, "answered");
        }
        return;
    };
    if !tracing::enabled!(target: CALLS, tracing::Level::WARN) {
        return;
    }
    let error: &str = error;
    match api::message_without_data(error, &reply.body) {
        Some(why) => tracing::warn!(target: CALLS, operation, status = reply.status, error, why, "failed"),
        None => tracing::warn!(target: CALLS, operation, status = reply.status, error, "failed"),
    }
}

/// `DescribeExecution` of `AWSStepFunctions.DescribeExecution`; truncated, because it is untrusted.
fn operation_name(target: &str) -> &str {
    let name = target.rsplit('.').next().unwrap_or_default();
    name.get(..64).unwrap_or(name)
}

/// The service as the caller may use it, if callers are authenticated, and the call is allowed.
fn let_in(local: &Local, head: &Parts, call: Call<'_>) -> Result<Option<Service>, Denied> {
    #[cfg(feature = "cluster")]
    if local.service.spread().is_some() && is_hop(local, head) {
        return peers::service_for(local, head).map(Some);
    }
    let Some(auth) = &local.shared.auth else {
        let named =
            local.shared.scope_from_credentials.then(|| scope::of(&head.headers, &local.shared.place));
        return Ok(named.flatten().map(|scope| local.service.in_scope(scope)));
    };
    let grant = auth.check(head, call.body, &local.shared.place, SystemTime::now())?;
    #[cfg(feature = "console")]
    let permitted = if console::is_action(head) {
        console::permit(call, grant)
    } else {
        api::permit(&local.service, call, grant)
    };
    #[cfg(not(feature = "console"))]
    let permitted = api::permit(&local.service, call, grant);
    match permitted {
        Ok(()) => Ok(Some(local.service.on_behalf_of(Arc::clone(grant)))),
        Err(message) => Err(Denied { error: "AccessDeniedException", message }),
    }
}

/// The map of the request's headers, reused for the response. With HTTP/1.1 the connection reuses it for the next
/// request.
fn emptied(head: &mut Parts) -> HeaderMap {
    let mut headers = std::mem::take(&mut head.headers);
    if headers.capacity() > HEADERS_KEPT {
        return HeaderMap::new();
    }
    headers.clear();
    headers
}

/// The whole body, which usually came with the head, and its charge.
async fn body_of(
    local: &Local,
    watch: &Watch,
    head: &Parts,
    body: Incoming,
) -> Result<(Bytes, Charge), Refusal> {
    let Shared { limits, requests, .. } = &*local.shared;
    let mut charge = Charge::default();
    if head.version == Version::HTTP_2 {
        let headers = head.headers.values().map(|value| HEADER_BYTES + value.len());
        if !requests.extend(&mut charge, HEAD_BYTES + headers.sum::<usize>()) {
            return Err(Refusal::NoRoom);
        }
        let mut reading = pin!(read(body, limits.body_bytes_max, requests, charge, 0));
        if let Poll::Ready(body) = poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
            return body;
        }
        // The time limit applies to each stream separately.
        let within = Duration::from_secs(u64::from(limits.slow_seconds_max));
        return Box::pin(tokio::time::timeout(within, reading)).await.unwrap_or(Err(Refusal::TooSlow));
    }
    let body = read(body, limits.body_bytes_max, requests, charge, SMALL_BYTES).await;
    watch.body(false);
    body
}

/// The answer of another thread, because this one is the acceptor.
async fn forward(local: &Local, watch: &Watch, service: &Service, call: Call<'_>) -> Reply {
    local.forward(watch, service, call).await.unwrap_or_else(background::the_end)
}

/// A worker that polls for a task. When the server ends it gets an empty answer, and when it disconnects it gets no
/// task.
async fn poll(local: &Local, watch: &Watch, answer: impl Future<Output = Reply>) -> Reply {
    let mut answer = pin!(answer);
    let mut drain = pin!(local.drain.notified());
    let mut is_waiting = false;
    poll_fn(|context| {
        if let Poll::Ready(reply) = answer.as_mut().poll(context) {
            watch.polling(false);
            return Poll::Ready(reply);
        }
        if drain.as_mut().poll(context).is_ready() || local.is_draining() {
            return Poll::Ready(Reply {
                status: 200,
                body: b"{}".to_vec(),
                error: None,
                retry_after_ms: None,
            });
        }
        if !std::mem::replace(&mut is_waiting, true) {
            watch.polling(true);
        }
        Poll::Pending
    })
    .await
}

/// The target of the request. The most frequent targets need no check for invalid text.
fn target(headers: &HeaderMap) -> &str {
    match headers.get(&TARGET) {
        Some(target) if target == api::START_SYNC_EXECUTION => api::START_SYNC_EXECUTION,
        Some(target) => target.to_str().unwrap_or_default(),
        None => "",
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn respond(reply: Reply, headers: HeaderMap) -> Response<Rest> {
    let mut response = Response::new(Rest::new(reply.body));
    *response.headers_mut() = headers;
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, AMZ_JSON);
    if let Some(error) = reply.error
        && let Ok(error) = HeaderValue::from_str(&error)
    {
        headers.insert(ERROR_TYPE, error);
    }
    if let Some(retry_after_ms) = reply.retry_after_ms {
        // SDKs use this header, in milliseconds; others the standard one, in seconds.
        headers.insert(RETRY_AFTER_MS, HeaderValue::from(retry_after_ms));
        headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_ms.div_ceil(1_000)));
    }
    response
}

/// A refusal before the service sees the request.
fn refuse(status: StatusCode, error: &'static str, message: &str) -> Response<Rest> {
    let body = serde_json::json!({"__type": error, "message": message});
    let reply = Reply {
        status: status.as_u16(),
        body: body.to_string().into_bytes(),
        error: Some(error.into()),
        retry_after_ms: None,
    };
    respond(reply, HeaderMap::new())
}

fn unknown(status: StatusCode) -> Response<Rest> {
    refuse(status, "UnknownOperationException", "Not found: API operations are POST /")
}

fn page(local: &Local, path: &str) -> Response<Rest> {
    let (status, content_type, text) = match path {
        "/health" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/ready" if local.is_draining() => (StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n".to_owned()),
        "/ready" if local.shared.ready.load(Ordering::Acquire) => match local.service.state_problem() {
            None => (StatusCode::OK, TEXT, "ready\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {why}\n")),
        },
        "/ready" => (StatusCode::SERVICE_UNAVAILABLE, TEXT, "not ready\n".to_owned()),
        _ => return unknown(StatusCode::NOT_FOUND),
    };
    text_response(status, content_type, text)
}

fn text_response(status: StatusCode, content_type: HeaderValue, text: String) -> Response<Rest> {
    let mut response = Response::new(Rest::new(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Metrics take milliseconds where there are many state machines: they are made on a thread of their own, for one
/// request at a time, while this one serves others.
async fn metrics(local: &Local) -> Response<Rest> {
    let _turn = local.shared.scrapes.lock().await;
    let (shared, service) = (Arc::clone(&local.shared), local.service.clone());
    let text = tokio::task::spawn_blocking(move || shared.counts().prometheus() + &service.prometheus());
    match text.await {
        Ok(text) => text_response(StatusCode::OK, PROMETHEUS, text),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "The metrics are broken"),
    }
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NoRoom,
    TooLarge,
    TooSlow,
    Broken,
}

impl Refusal {
    fn response(self) -> Response<Rest> {
        match self {
            Refusal::NoRoom => {
                let mut response = refuse(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "ServiceUnavailableException",
                    "The memory for requests and responses is used up: see --memory",
                );
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(1));
                response.headers_mut().insert(RETRY_AFTER_MS, HeaderValue::from(1_000));
                response
            }
            Refusal::TooLarge => refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLargeException",
                "The request is larger than this server accepts",
            ),
            Refusal::TooSlow => refuse(
                StatusCode::REQUEST_TIMEOUT,
                "RequestTimeoutException",
                "The request arrived too slowly",
            ),
            Refusal::Broken => {
                refuse(StatusCode::BAD_REQUEST, "SerializationException", "The request body is malformed")
            }
        }
    }
}

/// The whole body. A small one came with its head and is not copied, and up to `free` bytes are not charged.
async fn read(
    mut body: Incoming,
    bytes_max: usize,
    requests: &Arc<Share>,
    mut charge: Charge,
    free: usize,
) -> Result<(Bytes, Charge), Refusal> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    match next(&mut body).await {
        Some(Ok(first)) if body.is_end_stream() && first.len() <= bytes_max => {
            if first.len() <= free || requests.extend(&mut charge, first.len()) {
                Ok((first, charge))
            } else {
                Err(Refusal::NoRoom)
            }
        }
        Some(first) => Box::pin(collect(first?, body, announced, bytes_max, requests, charge)).await,
        None => Ok((Bytes::new(), charge)),
    }
}

async fn next(body: &mut Incoming) -> Option<Result<Bytes, Refusal>> {
    loop {
        match body.frame().await? {
            Ok(frame) => {
                if let Ok(data) = frame.into_data() {
                    return Some(Ok(data));
                }
            }
            Err(_) => return Some(Err(Refusal::Broken)),
        }
    }
}

async fn collect(
    first: Bytes,
    mut body: Incoming,
    announced: usize,
    bytes_max: usize,
    requests: &Arc<Share>,
    mut charge: Charge,
) -> Result<(Bytes, Charge), Refusal> {
    // Content-Length is untrusted: memory is allocated as data arrives.
    let mut whole = Vec::new();
    let mut room = |whole: &mut Vec<u8>, bytes: usize| {
        let wanted = bytes.max(2 * whole.capacity()).min(bytes_max.max(bytes));
        let has_room = bytes <= whole.capacity() || requests.extend(&mut charge, wanted - whole.capacity());
        if has_room && bytes > whole.capacity() {
            whole.reserve_exact(wanted - whole.len());
        }
        has_room
    };
    if !room(&mut whole, announced.min(256 << 10).max(first.len())) {
        return Err(Refusal::NoRoom);
    }
    whole.extend_from_slice(&first);
    let mut overflow = 0;
    while let Some(more) = next(&mut body).await {
        let more = more?;
        if whole.len() + more.len() <= bytes_max && overflow == 0 {
            let bytes = whole.len() + more.len();
            if !room(&mut whole, bytes) {
                return Err(Refusal::NoRoom);
            }
            whole.extend_from_slice(&more);
            continue;
        }
        // The rest is read, so that the response arrives and the connection stays usable.
        overflow += more.len();
        if overflow > OVERFLOW_BYTES_MAX {
            break;
        }
    }
    if overflow > 0 || whole.len() > bytes_max {
        Err(Refusal::TooLarge)
    } else {
        Ok((Bytes::from(whole), charge))
    }
}
