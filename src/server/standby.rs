//! A standby node: it answers for itself whether it is alive and what it waits for, and forwards everything else to the
//! owner, one hop, over HTTP/2. When it takes over, it stops accepting, and finishes the requests that are under way.
//!
//! In HTTP/2, a server that ends announces which requests it still answers, so a request that it has not accepted waits
//! for the next owner. In HTTP/1.1, the outcome of a request on a connection that closes at the same time would be
//! unknown.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Config;
use super::exchange::{HOP, host};
use super::peers;
use crate::hosts::Hosts;
use crate::limits::{STANDBY_LINGER_MS, STANDBY_OWNER_WAIT_MS, STANDBY_STREAMS_MAX};

type Body = BoxBody<Bytes, hyper::Error>;

/// The owner, to which requests go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Owner {
    /// As `host:port`; `None` while no owner of the cluster is known.
    address: Option<String>,
    /// The secret by which it recognizes nodes.
    secret: String,
    /// The description of it in answers.
    text: String,
}

/// Answers on a listener that a server will use later.
#[derive(Debug)]
pub struct Standby {
    owner: watch::Sender<Owner>,
    is_over: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    owner: watch::Receiver<Owner>,
    is_over: watch::Receiver<bool>,
    /// Host names are checked here, because the owner does not know those of this node.
    hosts: Hosts,
    body_bytes_max: usize,
    /// Connections to the owner, with its address.
    links: Mutex<(String, Vec<Link>)>,
}

/// A connection to the owner, and permits for more requests on it.
#[derive(Clone)]
struct Link {
    sender: SendRequest<Full<Bytes>>,
    streams: Arc<Semaphore>,
}

impl Standby {
    /// Starts answering. The listener stays the caller's; it is to be used again after [`end`](Standby::end).
    ///
    /// # Errors
    /// When the system cannot provide a thread.
    pub fn start(listener: &TcpListener, config: &Config) -> io::Result<Standby> {
        let listener = listener.try_clone()?;
        let (owner, owned) = watch::channel(Owner::default());
        let (is_over, over) = watch::channel(false);
        let shared = Arc::new(Shared {
            owner: owned,
            is_over: over,
            hosts: Hosts::new(config.listen.ip(), &config.hosts),
            body_bytes_max: config.limits.body_bytes_max,
            links: Mutex::default(),
        });
        let connections_max = config.limits.connections_max;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _within = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let body = move || runtime.block_on(accept(listener, shared, connections_max));
        let thread = thread::Builder::new().name("http-standby".to_owned()).spawn(body)?;
        Ok(Standby { owner, is_over, thread: Some(thread) })
    }

    /// Sets the owner's address, as `http://host:port`, the secret of the cluster, and the owner's description.
    pub fn owner(&self, address: Option<&str>, secret: &str, text: &str) {
        let address = address.and_then(|address| address.strip_prefix("http://")).map(str::to_owned);
        let owner = Owner { address, secret: secret.to_owned(), text: text.to_owned() };
        self.owner.send_if_modified(|now| {
            let is_new = *now != owner;
            *now = owner;
            is_new
        });
    }

    /// Accepts no more. Requests under way that were not forwarded yet go to this address: the server that now has the
    /// listener.
    pub fn end(mut self, address: &str, secret: &str) {
        self.is_over.send_replace(true);
        self.owner(Some(address), secret, "this node");
        // The thread finishes its connections, and then ends.
        drop(self.thread.take());
    }
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>, connections_max: usize) {
    let permits = Arc::new(Semaphore::new(connections_max));
    let mut is_over = shared.is_over.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = is_over.wait_for(|over| *over) => break,
            accepted = listener.accept() => accepted,
        };
        match (accepted, Arc::clone(&permits).try_acquire_owned()) {
            (Ok((stream, _)), Ok(permit)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    serve(shared, stream).await;
                    drop(permit);
                });
            }
            (Ok(_), Err(_)) => {}
            (Err(_), _) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    drop(listener);
    let permits_max = u32::try_from(connections_max).unwrap_or(u32::MAX);
    // Everything is done when every permit is free.
    let _ = tokio::time::timeout(Duration::from_secs(120), permits.acquire_many(permits_max)).await;
}

async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut is_over = shared.is_over.clone();
    let is_multiplexed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_multiplexed);
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        let is_http2 = request.version() == Version::HTTP_2;
        seen.store(is_http2, Ordering::Relaxed);
        async move {
            let mut response = answer(&shared, request).await;
            if *shared.is_over.borrow() && !is_http2 {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let http = auto::Builder::new(TokioExecutor::new());
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = is_over.wait_for(|over| *over) => {}
    }
    // An HTTP/1.1 client may send a request while the connection is being closed, so the next response announces the
    // end first.
    if !is_multiplexed.load(Ordering::Relaxed) {
        let linger = Duration::from_millis(STANDBY_LINGER_MS);
        if tokio::time::timeout(linger, connection.as_mut()).await.is_ok() {
            return;
        }
    }
    connection.as_mut().graceful_shutdown();
    // A connection's error only concerns its client.
    let _ = connection.await;
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    let owner = shared.owner.borrow().clone();
    match request.uri().path() {
        "/health" => text(StatusCode::OK, "ok\n".to_owned()),
        "/ready" if owner.address.is_some() => {
            text(StatusCode::OK, format!("ready: stands by: {}\n", owner.text))
        }
        "/ready" => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: stands by: {}\n", owner.text)),
        "/metrics" => text(
            StatusCode::OK,
            "# HELP expressway_cluster_owner Whether this node owns the cluster.\n\
             # TYPE expressway_cluster_owner gauge\nexpressway_cluster_owner 0\n"
                .to_owned(),
        ),
        // It came from another node already.
        _ if request.headers().contains_key(HOP) => unavailable(peers::NO_OWNER),
        _ => send_on(shared, request).await,
    }
}

/// The owner's answer.
async fn send_on(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    let (mut head, body) = request.into_parts();
    if !host(&head).is_ok_and(|host| host.is_some_and(|host| shared.hosts.allows(host))) {
        let why = "The Host header names a host that this server does not serve: see --allow-host\n";
        return text(StatusCode::MISDIRECTED_REQUEST, why.to_owned());
    }
    let Ok(body) = Limited::new(body, shared.body_bytes_max).collect().await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "The request is too large\n".to_owned());
    };
    if !readdress(&mut head) {
        return text(StatusCode::BAD_REQUEST, "The Host header is not a host\n".to_owned());
    }
    let is_read = is_read(&head);
    let body = body.to_bytes();
    let mut owner = shared.owner.clone();
    let until = tokio::time::Instant::now() + Duration::from_millis(STANDBY_OWNER_WAIT_MS);
    loop {
        let Owner { address, secret, .. } = owner.borrow_and_update().clone();
        if let (Some(address), Ok(secret)) = (address, HeaderValue::from_str(&secret)) {
            head.headers.insert(HOP, secret);
            let request = Request::from_parts(head.clone(), Full::new(body.clone()));
            match shared.ask(address, request).await {
                Asked::Answered(response) => return response,
                Asked::Lost if !is_read => {
                    return unavailable("The node that owned the cluster ended meanwhile; ask again");
                }
                Asked::Lost | Asked::Not => {}
            }
        }
        if tokio::time::Instant::now() >= until {
            return unavailable("No node owns the cluster at present; ask again");
        }
        // Sooner, when the owner changes.
        tokio::select! {
            Ok(()) = owner.changed() => {}
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
}

/// Converts a request to HTTP/2, with the same host and path. Returns false if the host is invalid.
fn readdress(head: &mut Parts) -> bool {
    if let Some(host) = head.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        // In HTTP/2, the host is part of the URI.
        head.headers.entry(HOST).or_insert(host);
    }
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let Ok(uri) = Uri::builder().scheme("http").authority(host).path_and_query(path).build() else {
        return false;
    };
    (head.uri, head.version) = (uri, Version::HTTP_2);
    for of_one_connection in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        head.headers.remove(of_one_connection);
    }
    for of_one_connection in ["keep-alive", "proxy-connection", "te"] {
        head.headers.remove(of_one_connection);
    }
    true
}

/// Whether a request changes nothing, so that it may be repeated.
fn is_read(head: &Parts) -> bool {
    if head.method == Method::GET {
        return true;
    }
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.strip_prefix("AWSStepFunctions.")).unwrap_or("");
    ["Describe", "List", "Validate"].iter().any(|it| operation.starts_with(it))
        || operation == "GetExecutionHistory"
}

/// The result of forwarding a request.
enum Asked {
    Answered(Response<Body>),
    /// It was sent, and its outcome is unknown.
    Lost,
    /// It was not done: it was not sent, or the owner is about to end.
    Not,
}

impl Shared {
    async fn ask(&self, address: String, request: Request<Full<Bytes>>) -> Asked {
        let Some((mut sender, permit)) = self.link(&address).await else { return Asked::Not };
        let mut owner = self.owner.clone();
        let is_replaced = |owner: &Owner| owner.address.as_ref().is_some_and(|it| *it != address);
        let answered = tokio::select! {
            answered = sender.try_send_request(request) => answered,
            // The former owner may be unreachable.
            Ok(_) = owner.wait_for(is_replaced) => return Asked::Lost,
        };
        match answered {
            Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                let (head, body) = response.into_parts();
                let Ok(body) = body.collect().await else { return Asked::Lost };
                let body = body.to_bytes();
                let text = String::from_utf8_lossy(&body);
                if peers::NOT_DONE.iter().any(|refusal| text.contains(refusal)) {
                    // The next connection may lead to another process, or to this node's own server.
                    self.links.lock().unwrap_or_else(PoisonError::into_inner).1.clear();
                    return Asked::Not;
                }
                let body = Full::new(body).map_err(|never| match never {}).boxed();
                Asked::Answered(Response::from_parts(head, body))
            }
            Ok(response) => Asked::Answered(response.map(|body| {
                let part = move |part| {
                    // The request counts until its response is complete.
                    let _ = &permit;
                    part
                };
                body.map_frame(part).boxed()
            })),
            Err(mut error) => match error.take_message() {
                // The connection was closed before the request was sent.
                Some(_unsent) => Asked::Not,
                None => Asked::Lost,
            },
        }
    }

    /// A connection to the owner that has room for a request.
    async fn link(&self, address: &str) -> Option<(SendRequest<Full<Bytes>>, OwnedSemaphorePermit)> {
        {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            if links.0 != address {
                *links = (address.to_owned(), Vec::new());
            }
            links.1.retain(|link| !link.sender.is_closed());
            let free = |link: &Link| Arc::clone(&link.streams).try_acquire_owned().ok();
            if let Some(found) = links.1.iter().find_map(|link| Some((link.sender.clone(), free(link)?))) {
                return Some(found);
            }
        }
        let sender = peers::connect(address).await?;
        let link = Link { sender: sender.clone(), streams: Arc::new(Semaphore::new(STANDBY_STREAMS_MAX)) };
        let permit = Arc::clone(&link.streams).try_acquire_owned().ok()?;
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.0 == address {
            links.1.push(link);
        }
        Some((sender, permit))
    }
}

fn unavailable(message: &str) -> Response<Body> {
    let body = serde_json::json!({"__type": "ServiceUnavailableException", "message": message});
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, body.to_string());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    headers.insert("x-amzn-errortype", HeaderValue::from_static("ServiceUnavailableException"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
