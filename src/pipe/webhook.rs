//! Events that are posted over HTTP: one JSON text, a JSON array of events, or lines.
//!
//! The sender is answered once the pipeline has accepted the events, or once their outputs are published. Between the
//! two, events are in memory only: a sender that must not lose any chooses the second.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use hmac::{Hmac, Mac};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde::de::IgnoredAny;
use serde_json::json;
use serde_json::value::RawValue;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::event::{Batch, Disposition, EventOutcome, Later, PipeError, Provenance, Receipts, Room, Source};
use crate::hosts::{Hosts, is_same_origin};
use crate::memory::{self, Charge, Share};
use crate::os;

/// Configures a webhook, which then [listens](Webhook::listen).
#[derive(Clone, Debug)]
#[must_use = "a webhook does nothing until it listens"]
pub struct Webhook {
    address: SocketAddr,
    path: Option<String>,
    answer: Answer,
    body_bytes_max: usize,
    bytes_max: Option<usize>,
    waiting_max: usize,
    whole_arrays: bool,
    id_header: Option<HeaderName>,
    proof: Option<Proof>,
    anyone: bool,
    hosts: Vec<String>,
}

/// When the sender is answered, and with what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// With `202` and the number of events, once the pipeline has accepted them. Unfinished events are lost when the
    /// process is killed.
    #[default]
    Accepted,
    /// With `200` and the output, once that is published; with `500`, error and cause, once the event is a dead letter.
    /// Of several events, with `200` and an array of `{"output": …}` and `{"error": …, "cause": …}`.
    Done,
}

/// How a sender proves that it may post.
#[derive(Clone)]
pub enum Proof {
    /// It knows a secret, which is sent in a header.
    Secret {
        /// The header.
        header: HeaderName,
        /// The secret.
        secret: String,
    },
    /// A header has the HMAC-SHA-256 of the body, in hexadecimal, with or without `sha256=` before it, as GitHub's
    /// `X-Hub-Signature-256`.
    Signature {
        /// The header.
        header: HeaderName,
        /// The key.
        key: String,
    },
}

/// The secret is not shown.
impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Proof::Secret { header, .. } | Proof::Signature { header, .. }) = self;
        f.debug_struct("Proof").field("header", header).finish_non_exhaustive()
    }
}

/// Connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a sender may take for a request's headers, and for its body.
const SEND_MAX: Duration = Duration::from_secs(30);
/// The `Retry-After` that senders get when there is no room.
const RETRY_SECONDS: u16 = 1;

impl Webhook {
    /// Listens at an address; port 0 is any free one. It needs a [proof](Webhook::proof) of senders, on loopback too,
    /// where every page in a browser of this machine can post; or [anyone](Webhook::anyone) may post.
    pub fn at(address: SocketAddr) -> Webhook {
        Webhook {
            address,
            path: None,
            answer: Answer::default(),
            body_bytes_max: 1 << 20,
            bytes_max: None,
            waiting_max: 1_024,
            whole_arrays: false,
            id_header: None,
            proof: None,
            anyone: false,
            hosts: Vec::new(),
        }
    }

    /// Accepts events at this path only; by default at any.
    pub fn path(mut self, path: impl Into<String>) -> Webhook {
        self.path = Some(path.into());
        self
    }

    /// When senders are answered.
    pub fn answer(mut self, answer: Answer) -> Webhook {
        self.answer = answer;
        self
    }

    /// Bytes that a request's body may have, 1 MiB by default; more are refused with `413`.
    pub fn body_bytes_max(mut self, bytes: usize) -> Webhook {
        self.body_bytes_max = bytes.max(1);
        self
    }

    /// Bytes that the bodies of all requests may take, from their arrival until their events are settled; by default an
    /// eighth of the [process's memory](crate::memory::default_bytes). More are refused with `503` and `Retry-After`.
    pub fn bytes_max(mut self, bytes: usize) -> Webhook {
        self.bytes_max = Some(bytes);
        self
    }

    /// Requests that may wait for the pipeline to accept them, 1,024 by default; more are refused with `503` and
    /// `Retry-After`.
    pub fn waiting_max(mut self, requests: usize) -> Webhook {
        self.waiting_max = requests.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// Takes a JSON array as one event; by default each of its items is one.
    pub fn whole_arrays(mut self) -> Webhook {
        self.whole_arrays = true;
        self
    }

    /// The header with the sender's id of a request, so that one that is sent twice can be [run
    /// once](super::Pipe::deduplicate); by default it gets an id here.
    pub fn id_header(mut self, header: HeaderName) -> Webhook {
        self.id_header = Some(header);
        self
    }

    /// Refuses requests without proof with `401`.
    pub fn proof(mut self, proof: Proof) -> Webhook {
        self.proof = Some(proof);
        self
    }

    /// A host name that senders may use, beside those of loopback and its address; `*` is any. Others are refused with
    /// `421`, against DNS rebinding by web pages.
    pub fn host(mut self, name: impl Into<String>) -> Webhook {
        self.hosts.push(name.into());
        self
    }

    /// Lets anyone who reaches the address post.
    pub fn anyone(mut self) -> Webhook {
        self.anyone = true;
        self
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// When the address cannot be bound, or no proof is configured and anonymous senders were not allowed explicitly.
    pub async fn listen(self) -> Result<WebhookSource, PipeError> {
        let refused = |why: String| PipeError::Refused(format!("webhook at {}: {why}", self.address));
        if self.proof.is_none() && !self.anyone {
            let why = if self.address.ip().is_loopback() {
                "web pages in a browser on this machine can post to this address, and no proof is required"
            } else {
                "other machines can reach this address, and no proof is required"
            };
            return Err(refused(why.to_owned()));
        }
        let listener = TcpListener::bind(self.address).await.map_err(|error| refused(os::words(&error)))?;
        let address = listener.local_addr().map_err(|error| refused(error.to_string()))?;
        let boot = getrandom::u64()
            .map_err(|error| refused(format!("no randomness from the operating system: {error}")))?;
        let (posts, posted) = mpsc::channel(self.waiting_max);
        let end = watch::Sender::new(false);
        let hosts = Hosts::new(self.address.ip(), &self.hosts);
        let bytes = Share::new(self.bytes_max.unwrap_or_else(|| memory::default_bytes() / 8));
        let requests = AtomicU64::new(0);
        let state = Arc::new(WebhookState { webhook: self, hosts, posts, boot, requests, bytes });
        let accepting = tokio::spawn(accept(listener, state, end.subscribe()));
        Ok(WebhookSource { address, posted, end, accepting })
    }
}

/// What all requests share.
struct WebhookState {
    webhook: Webhook,
    hosts: Hosts,
    posts: mpsc::Sender<Post>,
    /// A random number of this process.
    boot: u64,
    requests: AtomicU64,
    /// The memory of bodies.
    bytes: Arc<Share>,
}

/// Events of one request.
struct Post {
    id: String,
    bodies: Vec<Bytes>,
    waits: Waits,
    charge: Charge,
}

/// A sender that waits for its answer.
enum Waits {
    Accepted(oneshot::Sender<()>),
    Done(Arc<Pending>),
}

/// A request whose events are under way.
struct Pending(Mutex<Answers>);

struct Answers {
    events: Vec<Told>,
    unsettled: usize,
    /// `None` once an event was given back.
    done: Option<oneshot::Sender<Vec<Told>>>,
}

/// An event's output, or error and cause; `None` if it has no output of its own.
type Told = Option<Result<Vec<u8>, (Option<String>, Option<String>)>>;

// ---- serving ----

async fn accept(listener: TcpListener, state: Arc<WebhookState>, mut end: watch::Receiver<bool>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut is_said = false;
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&connections).acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = end.wait_for(|end| *end) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many files are open, for instance: that is temporary.
                if !std::mem::replace(&mut is_said, true) {
                    tracing::warn!(reason = %error, "a webhook cannot accept connections at present");
                }
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        is_said = false;
        let _ = stream.set_nodelay(true);
        let state = Arc::clone(&state);
        let service = service_fn(move |request| {
            let state = Arc::clone(&state);
            async move { Ok::<_, std::convert::Infallible>(state.answer(request).await) }
        });
        let mut server = hyper::server::conn::http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(SEND_MAX);
        let connection = graceful.watch(server.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // An error here means that the client's connection broke.
            let _ = connection.await;
            drop(place);
        });
    }
    drop((listener, state));
    graceful.shutdown().await;
}

type Reply = Response<Full<Bytes>>;

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            drop(reply.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS.into()))
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            drop(reply.headers_mut().insert(ALLOW, HeaderValue::from_static("POST")));
        }
        _ => {}
    }
    reply
}

/// Why a request is refused.
struct Refused(StatusCode, String);

fn refuse(status: StatusCode, why: &str) -> Refused {
    Refused(status, why.to_owned())
}

impl WebhookState {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        match self.take(request).await {
            Ok(reply) => reply,
            Err(Refused(status, why)) => reply(status, json!({ "error": why }).to_string()),
        }
    }

    async fn take(&self, request: Request<Incoming>) -> Result<Reply, Refused> {
        let (head, body) = request.into_parts();
        self.check_host(&head)?;
        if self.webhook.path.as_ref().is_some_and(|path| path != head.uri.path()) {
            return Err(refuse(StatusCode::NOT_FOUND, "events are not posted here"));
        }
        if head.method != Method::POST {
            return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "events are posted"));
        }
        let (body, charge) = self.body(body).await?;
        if self.webhook.proof.as_ref().is_some_and(|proof| !proof.is_given(&head.headers, &body)) {
            return Err(refuse(
                StatusCode::UNAUTHORIZED,
                "the proof (signature or secret) is missing or wrong",
            ));
        }
        let bodies = self.events(&head.headers, body)?;
        if bodies.is_empty() {
            return Ok(reply(StatusCode::ACCEPTED, r#"{"accepted":0}"#));
        }
        let count = bodies.len();
        let place = self.posts.try_reserve();
        let place = place
            .map_err(|_| refuse(StatusCode::SERVICE_UNAVAILABLE, "no room at present; try again later"))?;
        let id = self.id(&head.headers);
        let gone = |_| {
            refuse(StatusCode::SERVICE_UNAVAILABLE, "the pipeline is shutting down; nothing was accepted")
        };
        match self.webhook.answer {
            Answer::Accepted => {
                let (taken, wait) = oneshot::channel();
                place.send(Post { id, bodies, waits: Waits::Accepted(taken), charge });
                wait.await.map_err(gone)?;
                Ok(reply(StatusCode::ACCEPTED, format!(r#"{{"accepted":{count}}}"#)))
            }
            Answer::Done => {
                let (done, wait) = oneshot::channel();
                let events = (0..count).map(|_| None).collect();
                let answers = Answers { events, unsettled: count, done: Some(done) };
                let pending = Arc::new(Pending(Mutex::new(answers)));
                place.send(Post { id, bodies, waits: Waits::Done(pending), charge });
                Ok(answered(wait.await.map_err(gone)?))
            }
        }
    }

    /// Refuses requests for another host name, or from a page of another site.
    fn check_host(&self, head: &Parts) -> Result<(), Refused> {
        let mut hosts = head.headers.get_all(HOST).iter();
        let (host, more) = (hosts.next(), hosts.next());
        let host = host.and_then(|host| host.to_str().ok());
        let (None, Some(host)) = (more, host.or_else(|| (head.version == Version::HTTP_10).then_some("")))
        else {
            return Err(refuse(StatusCode::BAD_REQUEST, "the header 'Host' is missing or repeated"));
        };
        if !host.is_empty() && !self.hosts.allows(host) {
            return Err(refuse(
                StatusCode::MISDIRECTED_REQUEST,
                "the header 'Host' names another host than this webhook's",
            ));
        }
        let origin = head.headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
        if origin.is_none_or(|origin| is_same_origin(origin, host)) {
            Ok(())
        } else {
            Err(refuse(StatusCode::FORBIDDEN, "pages of this origin may not post here"))
        }
    }

    async fn body(&self, body: Incoming) -> Result<(Bytes, Charge), Refused> {
        let bytes_max = self.webhook.body_bytes_max;
        let too_large = || {
            let why = format!("the body has more than {bytes_max} bytes");
            refuse(StatusCode::PAYLOAD_TOO_LARGE, &why)
        };
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > bytes_max {
            return Err(too_large());
        }
        let no_room = || refuse(StatusCode::SERVICE_UNAVAILABLE, "bodies take as much memory as they may");
        let mut charge = self.bytes.take(announced).ok_or_else(no_room)?;
        let mut body = Limited::new(body, bytes_max);
        let read = async {
            let mut bytes = BytesMut::with_capacity(announced);
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| {
                    if error.is::<LengthLimitError>() {
                        too_large()
                    } else {
                        refuse(StatusCode::BAD_REQUEST, "the request body ended early")
                    }
                })?;
                let Some(data) = frame.data_ref() else { continue };
                let more = (bytes.len() + data.len()).saturating_sub(announced.max(bytes.len()));
                if more > 0 && !self.bytes.extend(&mut charge, more) {
                    return Err(no_room());
                }
                bytes.extend_from_slice(data);
            }
            Ok(bytes.freeze())
        };
        let read = timeout(SEND_MAX, read).await;
        let bytes = read.map_err(|_| refuse(StatusCode::REQUEST_TIMEOUT, "the body took too long"))??;
        Ok((bytes, charge))
    }

    /// The events of a body. The whole body is refused when a part of it is not JSON.
    fn events(&self, headers: &HeaderMap, body: Bytes) -> Result<Vec<Bytes>, Refused> {
        let wrong = |what: String, error: serde_json::Error| {
            refuse(StatusCode::BAD_REQUEST, &format!("{what} is not JSON: {error}"))
        };
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if matches!(
            &*kind,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/json-lines"
        ) {
            let lines = body.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
            return lines
                .filter(|(_, line)| !line.is_empty())
                .map(|(n, line)| match serde_json::from_slice::<IgnoredAny>(line) {
                    Ok(_) => Ok(body.slice_ref(line)),
                    Err(error) => Err(wrong(format!("line {}", n + 1), error)),
                })
                .collect();
        }
        if !self.webhook.whole_arrays && body.trim_ascii_start().first() == Some(&b'[') {
            let items: Vec<&RawValue> =
                serde_json::from_slice(&body).map_err(|error| wrong("the body".to_owned(), error))?;
            return Ok(items.iter().map(|item| body.slice_ref(item.get().as_bytes())).collect());
        }
        serde_json::from_slice::<IgnoredAny>(&body).map_err(|error| wrong("the body".to_owned(), error))?;
        Ok(vec![body])
    }

    fn id(&self, headers: &HeaderMap) -> String {
        let named = self.webhook.id_header.as_ref().and_then(|name| headers.get(name)?.to_str().ok());
        named.map(str::to_owned).unwrap_or_else(|| {
            format!("{:016x}-{}", self.boot, self.requests.fetch_add(1, Ordering::Relaxed))
        })
    }
}

/// The reply to a request whose events are all settled.
fn answered(events: Vec<Told>) -> Reply {
    let failure = |(error, cause): &(Option<String>, Option<String>)| {
        json!({ "error": error, "cause": cause }).to_string()
    };
    match events.as_slice() {
        [Some(Ok(output))] => reply(StatusCode::OK, output.clone()),
        [Some(Err(failed))] => reply(StatusCode::INTERNAL_SERVER_ERROR, failure(failed)),
        // It is a duplicate, or one of a batch that has one output.
        [None] => reply(StatusCode::OK, "null"),
        events => {
            let mut text = Vec::from(b"[");
            for (n, event) in events.iter().enumerate() {
                if n > 0 {
                    text.push(b',');
                }
                match event {
                    Some(Ok(output)) => {
                        text.extend_from_slice(b"{\"output\":");
                        text.extend_from_slice(output);
                        text.push(b'}');
                    }
                    Some(Err(failed)) => text.extend_from_slice(failure(failed).as_bytes()),
                    None => text.extend_from_slice(b"{\"output\":null}"),
                }
            }
            text.push(b']');
            reply(StatusCode::OK, text)
        }
    }
}

impl Proof {
    /// Compares in constant time.
    fn is_given(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        match self {
            Proof::Secret { header, secret } => {
                let Some(given) = headers.get(header) else { return false };
                let expected = mac(secret, secret.as_bytes()).finalize().into_bytes();
                mac(secret, given.as_bytes()).verify_slice(&expected).is_ok()
            }
            Proof::Signature { header, key } => {
                let given = headers.get(header).and_then(|given| given.to_str().ok());
                let given = given.and_then(|text| hex(text.strip_prefix("sha256=").unwrap_or(text)));
                given.is_some_and(|given| mac(key, body).verify_slice(&given).is_ok())
            }
        }
    }
}

fn mac(key: &str, text: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(text);
    mac
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

// ---- receiving ----

/// Events that are posted.
pub struct WebhookSource {
    address: SocketAddr,
    posted: mpsc::Receiver<Post>,
    end: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl std::fmt::Debug for WebhookSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookSource").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for WebhookSource {
    fn drop(&mut self) {
        self.end.send_replace(true);
    }
}

impl WebhookSource {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a batch of requests, and answers senders that only wait for their events to be accepted.
    fn hand_over(posts: Vec<Post>) -> Batch {
        let mut receipts = WebhookReceipts { places: Vec::new(), _charges: Vec::new() };
        let mut bodies = Vec::new();
        for Post { id, bodies: of_one, waits, charge } in posts {
            let pending = match waits {
                Waits::Done(pending) => Some(pending),
                Waits::Accepted(taken) => match taken.send(()) {
                    Ok(()) => None,
                    // A sender that is gone posts again.
                    Err(()) => continue,
                },
            };
            receipts._charges.push(charge);
            let several = of_one.len() > 1;
            for (n, body) in of_one.into_iter().enumerate() {
                let id = if several { format!("{id}.{n}") } else { id.clone() };
                receipts.places.push(Place { id, pending: pending.clone(), n });
                bodies.push(body);
            }
        }
        let mut batch = Batch::new(Box::new(receipts));
        for body in &bodies {
            // A batch is far below 4 GiB: bodies are bounded, and so are waiting requests.
            let _: bool = batch.push(body, None);
        }
        batch
    }
}

impl Source for WebhookSource {
    fn receive(&mut self, room: Room) -> Later<'_, Result<Option<Batch>, PipeError>> {
        Box::pin(async move {
            let Some(first) = self.posted.recv().await else { return Ok(None) };
            let mut posts = vec![first];
            let (mut events, mut bytes) = (0, 0);
            loop {
                let post = posts.last();
                events += post.map_or(0, |post| post.bodies.len());
                bytes += post.map_or(0, |post| post.bodies.iter().map(Bytes::len).sum::<usize>());
                if events >= room.events || bytes >= room.bytes {
                    break;
                }
                match self.posted.try_recv() {
                    Ok(post) => posts.push(post),
                    Err(_) => break,
                }
            }
            Ok(Some(WebhookSource::hand_over(posts)))
        })
    }

    /// Answers senders whose events were not accepted, and waits until all answers are sent.
    fn close(&mut self) -> Later<'_, ()> {
        Box::pin(async move {
            self.end.send_replace(true);
            self.posted.close();
            while self.posted.recv().await.is_some() {}
            let _ = (&mut self.accepting).await;
        })
    }

    fn redelivers(&self) -> bool {
        false
    }
}

struct WebhookReceipts {
    places: Vec<Place>,
    /// The memory of the bodies until all events are settled.
    _charges: Vec<Charge>,
}

/// An event's index in its request.
struct Place {
    id: String,
    pending: Option<Arc<Pending>>,
    n: usize,
}

impl Receipts for WebhookReceipts {
    fn provenance(&self, n: usize) -> Provenance {
        let id = self.places.get(n).map(|place| place.id.clone()).unwrap_or_default();
        Provenance { source: "webhook".to_owned(), id, key: None, deliveries: 1 }
    }

    fn deliveries(&self, _: usize) -> u32 {
        1
    }

    fn hear(&self, n: usize, came: EventOutcome<'_>) {
        let Some(Place { pending: Some(pending), n, .. }) = self.places.get(n) else { return };
        let mut answers = pending.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = answers.events.get_mut(*n) {
            *event = Some(match came {
                EventOutcome::Output(output) => Ok(output.to_vec()),
                EventOutcome::Failed { error, cause } => {
                    Err((error.map(str::to_owned), cause.map(str::to_owned)))
                }
            });
        }
    }

    fn answers(&self) -> bool {
        self.places.first().is_some_and(|place| place.pending.is_some())
    }

    fn settle<'a>(&'a self, dispositions: &'a [(u32, Disposition)]) -> Later<'a, Result<(), PipeError>> {
        for (event, disposition) in dispositions {
            let Some(Place { pending: Some(pending), .. }) = self.places.get(*event as usize) else {
                continue;
            };
            let mut answers = pending.0.lock().unwrap_or_else(PoisonError::into_inner);
            match disposition {
                Disposition::Done => answers.unsettled = answers.unsettled.saturating_sub(1),
                // The answer asks the sender to retry.
                Disposition::Retry(_) => answers.done = None,
            }
            if answers.unsettled == 0
                && let Some(done) = answers.done.take()
            {
                // The waiter may be gone.
                let _ = done.send(std::mem::take(&mut answers.events));
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
