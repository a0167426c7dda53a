//! Clients that cost less than the servers they measure.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The result of a period of load.
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    elapsed: Duration,
}

impl Load {
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

/// HTTP/1.1 over bare sockets in one thread: each connection has always so many requests on their way.
pub(crate) struct Raw<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) depth: usize,
    pub(crate) head: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

struct Connection {
    stream: TcpStream,
    /// What was read and not yet understood.
    left: Vec<u8>,
    /// Responses of the current batch that are missing.
    missing: usize,
    /// How much of the batch of requests was written.
    written: usize,
}

impl Raw<'_> {
    pub(crate) fn run(&self, turn: Duration) -> Load {
        let mut request = b"POST / HTTP/1.1\r\n".to_vec();
        for (name, value) in self.head {
            request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        request.extend_from_slice(format!("content-length: {}\r\n\r\n", self.body.len()).as_bytes());
        request.extend_from_slice(self.body);
        let batch = request.repeat(self.depth);
        let mut poll = Poll::new().expect("a poll");
        let mut open: Vec<Connection> = (0..self.connections)
            .map(|n| {
                let mut stream = TcpStream::connect(self.address).expect("a connection");
                stream.set_nodelay(true).expect("no delay");
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(n), interest).expect("a registration");
                Connection { stream, left: Vec::new(), missing: self.depth, written: 0 }
            })
            .collect();
        let mut events = Events::with_capacity(256);
        let mut buffer = vec![0; 64 << 10];
        let mut load = Load { requests: 0, failures: 0, elapsed: Duration::ZERO };
        let started = Instant::now();
        while started.elapsed() < turn {
            poll.poll(&mut events, Some(Duration::from_millis(100))).expect("events");
            for event in &events {
                open[event.token().0].step(&batch, self.depth, &mut buffer, &mut load);
            }
        }
        load.elapsed = started.elapsed();
        load
    }
}

impl Connection {
    /// Reads all there is, and writes what has to be.
    fn step(&mut self, batch: &[u8], depth: usize, buffer: &mut [u8], load: &mut Load) {
        loop {
            self.write(batch);
            match self.stream.read(buffer) {
                Ok(0) => panic!("the server closed a connection"),
                Ok(bytes) => self.take(&buffer[..bytes], load),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return;
                }
                Err(error) => panic!("{error}"),
            }
            if self.missing == 0 {
                self.missing = depth;
                self.written = 0;
            }
        }
    }

    fn write(&mut self, batch: &[u8]) {
        while self.written < batch.len() {
            match self.stream.write(&batch[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn take(&mut self, bytes: &[u8], load: &mut Load) {
        // Mostly nothing is left from before, and whole responses come.
        if !self.left.is_empty() {
            self.left.extend_from_slice(bytes);
            let left = std::mem::take(&mut self.left);
            let used = self.count(&left, load);
            self.left.extend_from_slice(&left[used..]);
            return;
        }
        let used = self.count(bytes, load);
        self.left.extend_from_slice(&bytes[used..]);
    }

    /// Counts whole responses; how many bytes they took.
    fn count(&mut self, bytes: &[u8], load: &mut Load) -> usize {
        let mut at = 0;
        while let Some(length) = response_bytes(&bytes[at..]) {
            if bytes.len() < at + length {
                break;
            }
            load.requests += 1;
            load.failures += u64::from(&bytes[at + 9..at + 12] != b"200");
            at += length;
            self.missing -= 1;
        }
        at
    }
}

/// Bytes of the response that begins here, if its head is there.
fn response_bytes(bytes: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")?;
    let at = memchr::memmem::find(&bytes[..head], b"content-length: ")? + 16;
    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    Some(head + 4 + length)
}

/// One request on a separate connection.
pub(crate) fn once(stream: &mut std::net::TcpStream) {
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("a request");
    let mut bytes = [0; 1024];
    let read = stream.read(&mut bytes).expect("a response");
    assert!(bytes[..read].starts_with(b"HTTP/1.1 200"));
}

/// HTTP/2 with so many streams on each connection, all of them busy; over TLS, if there is any.
pub(crate) fn h2(
    address: SocketAddr,
    tls: Option<&Arc<ClientConfig>>,
    connections: usize,
    streams: usize,
    head: &[(&'static str, &'static str)],
    body: &str,
    turn: Duration,
) -> Load {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let body = Bytes::from(body.to_owned());
    runtime.block_on(async {
        let started = Instant::now();
        let mut busy = tokio::task::JoinSet::new();
        for _ in 0..connections {
            let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
            stream.set_nodelay(true).expect("no delay");
            let stream: Box<dyn Stream> = match tls {
                None => Box::new(stream),
                Some(tls) => {
                    let name = ServerName::try_from("localhost").expect("a name");
                    let connector = TlsConnector::from(Arc::clone(tls));
                    Box::new(connector.connect(name, stream).await.expect("TLS"))
                }
            };
            let http = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
            let (sender, connection) = http.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
            tokio::spawn(connection);
            for _ in 0..streams {
                let (mut sender, body, head) = (sender.clone(), body.clone(), head.to_vec());
                busy.spawn(async move {
                    let (mut requests, mut failures) = (0, 0);
                    while started.elapsed() < turn {
                        let mut request = Request::post("http://sync-localhost:8083/");
                        for (name, value) in head.iter().filter(|(name, _)| *name != "host") {
                            request = request.header(*name, *value);
                        }
                        let request = request.body(Full::new(body.clone())).expect("a request");
                        let response = sender.send_request(request).await.expect("a response");
                        failures += u64::from(response.status() != 200);
                        let body = response.into_body().collect().await.expect("a body");
                        assert!(!body.to_bytes().is_empty());
                        requests += 1;
                    }
                    (requests, failures)
                });
            }
        }
        let mut load = Load { requests: 0, failures: 0, elapsed: Duration::ZERO };
        while let Some(done) = busy.join_next().await {
            let (requests, failures) = done.expect("a stream's count");
            load.requests += requests;
            load.failures += failures;
        }
        load.elapsed = started.elapsed();
        load
    })
}
