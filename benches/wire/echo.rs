//! A bare hyper server: it reads a body and answers with one of a given size.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, LocalOptions};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    /// The name of its thread.
    pub(crate) thread: &'static str,
}

#[derive(Clone, Copy)]
struct Spawn;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Starts it on a separate thread, which lives as long as the process.
pub(crate) fn start(bytes_out: usize, tls: Option<Arc<ServerConfig>>) -> Echo {
    let thread = if tls.is_some() { "echo-tls" } else { "echo" };
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.set_nonblocking(true).expect("a listener that does not block");
    let address = listener.local_addr().expect("an address");
    let text = Bytes::from("{".repeat(bytes_out));
    let body = move || {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        runtime.expect("a runtime").block_on(serve(listener, text, tls));
    };
    std::thread::Builder::new().name(thread.to_owned()).spawn(body).expect("a thread");
    Echo { address, thread }
}

async fn serve(listener: std::net::TcpListener, text: Bytes, tls: Option<Arc<ServerConfig>>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let (text, tls) = (text.clone(), tls.clone());
        tokio::task::spawn_local(async move {
            match tls {
                None => speak(stream, text).await,
                Some(tls) => match TlsAcceptor::from(tls).accept(stream).await {
                    Ok(stream) => speak(stream, text).await,
                    Err(error) => panic!("{error}"),
                },
            }
        });
    }
}

/// The same door as the server's: both protocols on one port.
async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, text: Bytes) {
    let service = service_fn(move |request| answer(request, text.clone()));
    let mut http = hyper_util::server::conn::auto::Builder::new(Spawn);
    http.http1().pipeline_flush(true).header_read_timeout(None);
    http.http2().max_concurrent_streams(256);
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, text: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    assert!(!body.is_empty());
    Ok(Response::new(Full::new(text)))
}
