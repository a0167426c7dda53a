//! Streams of answers: an action's answer now, and again whenever it changes, as server-sent events.
//!
//! A frame has the whole answer, so a client that reconnects misses nothing and gets nothing twice. The next answer is
//! made only when the client has taken the one before: a slow reader gets the newest, never a queue.

use std::hash::{DefaultHasher, Hasher};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use super::super::exchange::Busy;
use super::super::reply::Rest;
use super::super::thread::Local;
use super::{ConsoleThreads, PREFIX, Pace, refusal};
use crate::api::Reply;
use crate::memory::Charge;
use crate::service::Service;

/// Actions that change nothing, and whose answers change.
const STREAMED: [&str; 8] =
    ["Overview", "FindExecutions", "GetExecution", "GetRun", "Failures", "Heat", "Rates", "Pipelines"];
/// Streams of all clients.
const STREAMS_MAX: usize = 64;
/// Bytes of the query, in the address.
const ASK_BYTES_MAX: usize = 4 << 10;
/// The interval between two evaluations.
const EVERY: Duration = Duration::from_millis(250);
/// A slow evaluation is followed by a longer pause, so that a stream takes at most a fifth of a thread.
const PAUSE_FACTOR: u32 = 4;
/// After so long a silence a comment is sent, so that proxies do not close the connection as idle.
const SILENCE_MAX: Duration = Duration::from_secs(15);

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// An open stream.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(streams: &Arc<AtomicUsize>) -> Option<Open> {
        let open = Open(Arc::clone(streams));
        // Counted first: of two at once, both see it.
        (streams.fetch_add(1, Ordering::AcqRel) < STREAMS_MAX).then_some(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The subscription of one client.
struct Subject {
    service: Service,
    target: String,
    /// The action's members: JSON text.
    ask: Bytes,
    /// The last frame that the client has, by its hash.
    known: String,
}

/// Begins a stream: `GET /console/live?ask=…` with the action in `X-Amz-Target` and its members, percent-encoded, as
/// `ask`. `Last-Event-ID` is the last frame that the client has.
///
/// # Errors
/// Why there is no answer.
pub(in crate::server) fn stream(
    local: &Rc<Local>,
    busy: Busy,
    service: &Service,
    head: &Parts,
    target: &str,
) -> Result<Response<Rest>, Reply> {
    let console =
        local.shared.console.as_ref().ok_or_else(|| refusal("InternalFailure", "There is no console"))?;
    let action = target.strip_prefix(PREFIX).unwrap_or("");
    if !STREAMED.contains(&action) {
        let why = format!("The header X-Amz-Target has to name one of {}", STREAMED.join(", "));
        return Err(refusal("UnknownOperationException", &why));
    }
    let ask = head.uri.query().and_then(|query| query.strip_prefix("ask=")).unwrap_or("%7B%7D");
    let Some(ask) = decoded(ask).filter(|ask| ask.len() <= ASK_BYTES_MAX) else {
        return Err(refusal("ValidationException", "`ask` is not percent-encoded UTF-8, or is too long"));
    };
    let Some(open) = Open::new(&console.streams) else {
        let mut reply =
            refusal("ThrottlingException", "There are as many streams as there may be: close other pages");
        reply.retry_after_ms = Some(5_000);
        return Err(reply);
    };
    let known = head.headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or("");
    let subject = Subject {
        service: service.clone(),
        target: target.to_owned(),
        ask: ask.into(),
        known: known.to_owned(),
    };
    let (frames, taken) = mpsc::channel(1);
    spawn_local(feed(Rc::clone(local), busy, open, subject, frames));
    let mut response = Response::new(Rest::stream(taken));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    Ok(response)
}

type Frames = mpsc::Sender<(Bytes, Charge)>;

/// Sends frames until the client is gone, the server drains, or the subject no longer exists.
async fn feed(local: Rc<Local>, busy: Busy, _open: Open, mut subject: Subject, frames: Frames) {
    // The stream ends with its client.
    busy.watch().polling(true);
    let mut drain = pin!(local.drain.notified());
    let mut gone = pin!(frames.closed());
    let mut frames_sent = pin!(subject.send(&local, &frames));
    std::future::poll_fn(|context| {
        let is_over = local.is_draining()
            || drain.as_mut().poll(context).is_ready()
            || gone.as_mut().poll(context).is_ready()
            || frames_sent.as_mut().poll(context).is_ready();
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    busy.watch().polling(false);
}

impl Subject {
    async fn send(&mut self, local: &Local, frames: &Frames) {
        let console = local.shared.console.as_ref().expect("streams are opened by a console");
        let mut spoke = Instant::now();
        // A person waits for the first frame only.
        let mut is_first = true;
        while let Ok(room) = frames.reserve().await {
            let began = Instant::now();
            let reply = self.look(console, is_first).await;
            is_first &= reply.is_none();
            let took = began.elapsed();
            let is_refused = reply.as_ref().is_some_and(|reply| reply.error.is_some());
            let frame = reply.and_then(|reply| self.frame(&reply));
            let is_silent = spoke.elapsed() >= SILENCE_MAX;
            let text = frame.unwrap_or_else(|| if is_silent { ":\n\n".to_owned() } else { String::new() });
            if !text.is_empty() {
                // Without room for it, the next evaluation tries again.
                match local.shared.requests.take(text.len()) {
                    Some(charge) => {
                        local.counters().body_bytes_out.add(text.len() as u64);
                        room.send((text.into(), charge));
                        spoke = Instant::now();
                    }
                    None => self.known.clear(),
                }
            }
            if is_refused {
                return;
            }
            tokio::time::sleep(EVERY.max(took * PAUSE_FACTOR)).await;
        }
    }

    /// The present answer; `None` while the console is too busy.
    async fn look(&self, console: &ConsoleThreads, is_first: bool) -> Option<Reply> {
        let pace = if is_first { Pace::Prompt } else { Pace::Patient };
        let reply = console.answer_at(pace, &self.service, String::new(), &self.target, &self.ask).await;
        (reply.error.as_deref() != Some("ThrottlingException")).then_some(reply)
    }

    /// The frame, unless the client has it.
    fn frame(&mut self, reply: &Reply) -> Option<String> {
        let mut hasher = DefaultHasher::new();
        hasher.write(&reply.body);
        let id = format!("{:016x}", hasher.finish());
        if self.known == id {
            return None;
        }
        self.known.clone_from(&id);
        let event = if reply.error.is_some() { "refused" } else { "answer" };
        // This JSON has no line breaks.
        Some(format!("event: {event}\nid: {id}\ndata: {}\n\n", String::from_utf8_lossy(&reply.body)))
    }
}

/// Percent-encoded text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high << 4 | low).ok()?);
    }
    String::from_utf8(bytes).ok()
}
