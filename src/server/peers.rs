//! Other nodes of a cluster whose executions are spread: calls to them, over HTTP/2, and calls from them.
//!
//! A node that forwards a call has checked its caller already. Nodes recognize each other by the secret of the cluster,
//! and tell whose call it is. Calls to a node that publishes an address with `https` are encrypted.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::auth::Denied;
use super::exchange::HOP;
use super::thread::Local;
use super::{Tls, peer_tls};
use crate::limits::STANDBY_STREAMS_MAX;
use crate::service::spread::{Asked, NOT_OWNED, NotCalled, PeerCall, PeerReply, Peers};
use crate::service::{Scope, Service};

const CALLER: HeaderName = HeaderName::from_static("x-expressway-caller");
const SCOPE: HeaderName = HeaderName::from_static("x-expressway-scope");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");
/// The message of a node that does not own the cluster. One that has just begun may own partitions already, while its port
/// still answers as that of a standby.
pub(super) const NO_OWNER: &str = "This node does not own the cluster";
/// Messages of a node that has not done what it was asked for.
pub(super) const NOT_DONE: [&str; 3] = ["The server ends", NOT_OWNED, NO_OWNER];
/// How long another node may take for an answer. Those that wait for something answer sooner.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a node may take to accept a connection, and to encrypt it.
const CONNECT: Duration = Duration::from_secs(1);
const TOLD_EVERY: Duration = Duration::from_secs(30);
/// What the addresses of nodes begin with that are called with encryption.
const HTTPS: &str = "https://";

/// The other nodes, whose calls have a thread of their own.
pub(super) struct HttpPeers {
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedSender<Asked<()>>,
}

struct Shared {
    secret: HeaderValue,
    tls: TlsConnector,
    /// When it was last told that the certificate of the node at an address is not accepted.
    told: Mutex<HashMap<String, Instant>>,
    /// Connections by address.
    links: Mutex<HashMap<String, Vec<Link>>>,
}

/// A connection, and permits for more requests on it.
#[derive(Clone)]
struct Link {
    sender: SendRequest<Full<Bytes>>,
    streams: Arc<Semaphore>,
}

impl HttpPeers {
    /// Starts the thread, which ends when this is dropped.
    pub(super) fn start(secret: &str, own: Option<&Tls>) -> io::Result<HttpPeers> {
        let secret = HeaderValue::from_str(secret).map_err(io::Error::other)?;
        let tls = peer_tls::connector(own).map_err(io::Error::other)?;
        let shared = Arc::new(Shared { secret, tls, told: Mutex::default(), links: Mutex::default() });
        let (jobs, mut queue) = mpsc::unbounded_channel::<Asked<()>>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let body = move || {
            runtime.block_on(async {
                while let Some(job) = queue.recv().await {
                    tokio::spawn(job);
                }
            });
        };
        thread::Builder::new().name("http-peers".to_owned()).spawn(body)?;
        Ok(HttpPeers { shared, jobs })
    }

    /// The result of a future that needs the thread's runtime; `None`, if that has ended.
    fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Asked<Option<T>> {
        let (mut answer, answered) = oneshot::channel();
        let job = async move {
            let mut future = std::pin::pin!(future);
            let done = std::future::poll_fn(|context| {
                // The caller has gone away.
                if answer.poll_closed(context).is_ready() {
                    return std::task::Poll::Ready(None);
                }
                future.as_mut().poll(context).map(Some)
            });
            if let Some(done) = done.await {
                // It may go away just now.
                let _ = answer.send(done);
            }
        };
        let sent = self.jobs.send(Box::pin(job)).is_ok();
        Box::pin(async move { if sent { answered.await.ok() } else { None } })
    }
}

impl Peers for HttpPeers {
    fn call(&self, address: &str, call: PeerCall) -> Asked<Result<PeerReply, NotCalled>> {
        let (shared, address) = (Arc::clone(&self.shared), address.to_owned());
        let called = self.run(async move {
            let called = tokio::time::timeout(ANSWER, shared.call(&address, call)).await;
            called.unwrap_or(Err(NotCalled::Lost))
        });
        Box::pin(async move { called.await.unwrap_or(Err(NotCalled::Not)) })
    }

    fn pause(&self, ms: u64) -> Asked<()> {
        let paused = self.run(async move { tokio::time::sleep(Duration::from_millis(ms)).await });
        Box::pin(async move {
            paused.await;
        })
    }

    fn spawn(&self, future: Asked<()>) {
        // It fails only while the process ends.
        let _ = self.jobs.send(future);
    }
}

impl Shared {
    fn request(&self, address: &str, call: PeerCall) -> Option<Request<Full<Bytes>>> {
        let PeerCall { target, trace_header, body, caller, scope } = call;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        let scheme = if address.starts_with(HTTPS) { "" } else { "http://" };
        *request.uri_mut() = format!("{scheme}{address}/").parse().ok()?;
        let headers = request.headers_mut();
        headers.insert(HOP, self.secret.clone());
        headers.insert(TARGET, HeaderValue::from_str(&target).ok()?);
        let scope = scope.map(|(region, account)| format!("{region}/{account}"));
        for (name, value) in [(TRACE, trace_header), (CALLER, caller), (SCOPE, scope)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(&value).ok()?);
            }
        }
        Some(request)
    }

    async fn call(&self, address: &str, call: PeerCall) -> Result<PeerReply, NotCalled> {
        let request = self.request(address, call).ok_or(NotCalled::Not)?;
        let link = self.link(address).await.ok_or(NotCalled::Not)?;
        let Link { mut sender, streams } = link;
        let _permit = streams.acquire_owned().await.map_err(|_| NotCalled::Not)?;
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => {
                return match error.take_message() {
                    // The connection was closed before the request was sent.
                    Some(_unsent) => Err(NotCalled::Not),
                    None => Err(NotCalled::Lost),
                };
            }
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|_| NotCalled::Lost)?.to_bytes();
        if head.status == 503 {
            let said = String::from_utf8_lossy(&body);
            if NOT_DONE.iter().any(|refusal| said.contains(refusal)) {
                // The next connection may lead to another process, or to the node's own server.
                self.links().remove(address);
                return Err(NotCalled::Not);
            }
        }
        let text =
            |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(PeerReply {
            status: head.status.as_u16(),
            error: text("x-amzn-errortype"),
            retry_after_ms: text("x-amz-retry-after").and_then(|ms| ms.parse().ok()),
            body: body.to_vec(),
        })
    }

    fn links(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to a node that has room for a request.
    async fn link(&self, address: &str) -> Option<Link> {
        if let Some(links) = self.links().get_mut(address) {
            links.retain(|link| !link.sender.is_closed());
            if let Some(free) = links.iter().find(|link| link.streams.available_permits() > 0) {
                return Some(free.clone());
            }
        }
        let sender = self.connect(address).await?;
        let link = Link { sender, streams: Arc::new(Semaphore::new(STANDBY_STREAMS_MAX)) };
        let mut links = self.links();
        // Nodes that are gone are not called again.
        links.retain(|_, links| links.iter().any(|link| !link.sender.is_closed()));
        links.entry(address.to_owned()).or_default().push(link.clone());
        Some(link)
    }
}

impl Shared {
    fn tell(&self, address: &str, error: &io::Error) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Nodes that are gone are forgotten.
        told.retain(|_, at| at.elapsed() < TOLD_EVERY);
        if !told.contains_key(address) {
            tracing::warn!(address, %error, "another node cannot be called: its certificate is not accepted");
            told.insert(address.to_owned(), Instant::now());
        }
    }

    async fn connect(&self, address: &str) -> Option<SendRequest<Full<Bytes>>> {
        let Some(place) = address.strip_prefix(HTTPS) else { return connect(address).await };
        let name = place.rsplit_once(':').map_or(place, |(host, _)| host);
        let name = ServerName::try_from(name.trim_matches(['[', ']'])).ok()?.to_owned();
        let stream = connected(place).await?;
        let encrypted = tokio::time::timeout(CONNECT, self.tls.connect(name, stream)).await.ok()?;
        match encrypted {
            Ok(stream) => handshake(stream).await,
            Err(error) => {
                self.tell(address, &error);
                None
            }
        }
    }
}

/// A new connection to a node, over HTTP/2 and not encrypted.
pub(super) async fn connect(address: &str) -> Option<SendRequest<Full<Bytes>>> {
    handshake(connected(address).await?).await
}

async fn connected(address: &str) -> Option<TcpStream> {
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await.ok()?.ok()?;
    // Without it, answers are late at most.
    let _ = stream.set_nodelay(true);
    Some(stream)
}

async fn handshake<S>(stream: S) -> Option<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
    let (sender, connection) = http.handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

/// The service, as the caller may use it for whom another node calls.
pub(super) fn service_for(local: &Local, head: &Parts) -> Result<Service, Denied> {
    let text = |headers: &HeaderMap, name| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let mut service = local.service.as_forwarded();
    if let Some(caller) = text(&head.headers, CALLER) {
        let grant = local.shared.auth.as_ref().and_then(|auth| auth.grant(&caller));
        let grant = grant.ok_or_else(|| Denied {
            error: "UnrecognizedClientException",
            message: format!("The nodes of the cluster have different keys: this one does not have {caller}"),
        })?;
        service = service.on_behalf_of(Arc::clone(grant));
    }
    if let Some((region, account)) = text(&head.headers, SCOPE).as_deref().and_then(|it| it.split_once('/')) {
        service = service.in_scope(Scope { region: region.to_owned(), account: account.to_owned() });
    }
    Ok(service)
}
