//! Endpoints on the loopback that behave in one way each.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How an endpoint answers a start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    /// With a success.
    Succeeds,
    /// With a failed execution.
    Fails,
    /// That there is no room.
    Throttles,
    /// Closes the connection instead of an answer.
    Hangs,
    /// Half an answer, then closes.
    Breaks,
    /// Something that is no HTTP.
    Babbles,
    /// A success with a header that closes the connection, and the close.
    ClosesAfter,
    /// In chunks, and byte by byte.
    Dribbles,
    /// Never.
    Sleeps,
}

/// An endpoint, which accepts no new connections after drop.
pub(crate) struct Server {
    address: SocketAddr,
    scheme: &'static str,
    /// State machines that were made and not deleted.
    pub(crate) machines: Arc<AtomicUsize>,
    /// Starts that were asked for.
    pub(crate) starts: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }
}

/// The certificate of endpoints with TLS.
pub(crate) fn certificate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tls/localhost.pem")
}

fn tls() -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from_pem_file(certificate().with_extension("key")).expect("a key");
    let chain = CertificateDer::pem_file_iter(certificate()).expect("a certificate");
    let chain = chain.collect::<Result<_, _>>().expect("a certificate");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    Arc::new(config.expect("a configuration"))
}

/// Starts an endpoint on a free port. Its threads end with the test's process.
pub(crate) fn serve(manner: Manner) -> Server {
    begin(manner, None)
}

/// The same, with TLS.
pub(crate) fn serve_tls(manner: Manner) -> Server {
    begin(manner, Some(tls()))
}

fn begin(manner: Manner, tls: Option<Arc<ServerConfig>>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let (machines, starts) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let server = Server { address, scheme, machines: Arc::clone(&machines), starts: Arc::clone(&starts) };
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (machines, starts, tls) = (Arc::clone(&machines), Arc::clone(&starts), tls.clone());
            std::thread::spawn(move || {
                stream.set_nodelay(true).ok()?;
                match tls {
                    None => converse(stream, manner, &machines, &starts),
                    Some(tls) => {
                        let tls = ServerConnection::new(tls).expect("a connection");
                        converse(StreamOwned::new(tls, stream), manner, &machines, &starts)
                    }
                }
            });
        }
    });
    server
}

/// An address without a listener.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("its address"))
}

fn converse(
    mut stream: impl Read + Write,
    manner: Manner,
    machines: &AtomicUsize,
    starts: &AtomicUsize,
) -> Option<()> {
    let mut read = Vec::new();
    loop {
        let (head, length) = request(&mut stream, &mut read)?;
        let is =
            |operation: &str| head.to_ascii_lowercase().contains(&format!("awsstepfunctions.{operation}"));
        let body = if is("createstatemachine") {
            machines.fetch_add(1, Ordering::SeqCst);
            r#"{"stateMachineArn":"arn:aws:states:us-east-1:123456789012:stateMachine:it","creationDate":1}"#
        } else if is("deletestatemachine") {
            machines.fetch_sub(1, Ordering::SeqCst);
            "{}"
        } else {
            starts.fetch_add(1, Ordering::SeqCst);
            start(&mut stream, manner)?
        };
        read.drain(..length);
        if !body.is_empty() {
            answer(&mut stream, "200 OK", "", body)?;
        }
    }
}

/// Answers a start; gives the body of a plain answer that is still to be written.
fn start(stream: &mut (impl Read + Write), manner: Manner) -> Option<&'static str> {
    const SUCCESS: &str = r#"{"executionArn":"arn","output":"{\"status\":\"FAILED\"}","status":"SUCCEEDED"}"#;
    match manner {
        Manner::Succeeds => Some(SUCCESS),
        Manner::Fails => Some(r#"{"executionArn":"arn","error":"Mine","status":"FAILED"}"#),
        Manner::Throttles => {
            let body = r#"{"__type":"com.amazonaws.states#ThrottlingException"}"#;
            answer(stream, "400 Bad Request", "", body)?;
            Some("")
        }
        Manner::Hangs => None,
        Manner::Breaks => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"out").ok()?;
            None
        }
        Manner::Babbles => {
            stream.write_all(b"220 mail.example.org ESMTP\r\n").ok()?;
            Some("")
        }
        Manner::ClosesAfter => {
            answer(stream, "200 OK", "Connection: close\r\n", SUCCESS)?;
            None
        }
        Manner::Dribbles => {
            let (first, rest) = SUCCESS.split_at(10);
            let text = format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n",
                first.len(),
                rest.len()
            );
            for byte in text.bytes() {
                stream.write_all(&[byte]).ok()?;
            }
            Some("")
        }
        Manner::Sleeps => {
            std::thread::sleep(Duration::from_secs(60));
            None
        }
    }
}

fn answer(stream: &mut (impl Read + Write), status: &str, headers: &str, body: &str) -> Option<()> {
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).ok()
}

/// Reads until a request is whole; gives its head and how long it is.
fn request(stream: &mut (impl Read + Write), read: &mut Vec<u8>) -> Option<(String, usize)> {
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let whole = end + 4 + length.unwrap_or(0);
            if read.len() >= whole {
                return Some((head, whole));
            }
        }
        let mut chunk = [0; 4_096];
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(bytes) => read.extend_from_slice(&chunk[..bytes]),
        }
    }
}
