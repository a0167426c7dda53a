//! The command `expressway serve`, and clients of it, over TCP or TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long an answer is waited for: nothing keeps this from coming to its end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) fn request(target: &str, body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nx-amz-target: AWSStepFunctions.{target}\r\n\
         content-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Where a server listens, and whether it speaks TLS.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) is_tls: bool,
}

pub(crate) struct Server {
    child: Child,
    pub(crate) place: Place,
}

/// The certificate of tests.
fn tls_file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

/// Trusts the certificate of tests.
pub(crate) fn trusting() -> Arc<ClientConfig> {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(tls_file("localhost.pem")).expect("a certificate");
        roots.add(certificate).expect("a certificate");
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    });
    Arc::clone(&CONFIG)
}

pub(crate) fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::with(false, &[])
    }

    pub(crate) fn with(is_tls: bool, options: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
        command.args(["serve", "--port", "0", "--threads", "2"]).args(options);
        if is_tls {
            command.arg("--tls-cert").arg(tls_file("localhost.pem"));
            command.arg("--tls-key").arg(tls_file("localhost.key"));
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command");
        let mut said = BufReader::new(child.stderr.take().expect("its standard error"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(said.read_line(&mut line).expect("a line") > 0, "it ended");
            let address = line.split("://").nth(1).and_then(|rest| rest.split([' ', '/', '\n']).next());
            if let Some(address) = address.and_then(|address| address.parse().ok()) {
                break address;
            }
        };
        // Later output has a destination.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Server { child, place: Place { address, is_tls } }
    }

    pub(crate) fn create(&self, name: &str, definition: &Value, seconds: u64) -> String {
        self.create_of("EXPRESS", name, definition, seconds)
    }

    pub(crate) fn create_standard(&self, name: &str, definition: &Value) -> String {
        self.create_of("STANDARD", name, definition, 300)
    }

    fn create_of(&self, kind: &str, name: &str, definition: &Value, seconds: u64) -> String {
        let mut definition = definition.clone();
        definition["TimeoutSeconds"] = seconds.into();
        let body = json!({"name": name, "type": kind, "roleArn": "arn:aws:iam::123456789012:role/r",
            "definition": definition.to_string()});
        let mut client = Client::new(self.place);
        // Some definitions take long to compile in a build that is not optimised.
        client.wire.get_ref().tcp().set_read_timeout(Some(4 * PATIENCE)).expect("a connection");
        let (status, answer) = client.ask("CreateStateMachine", &body.to_string());
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        answer["stateMachineArn"].as_str().expect("an ARN").to_owned()
    }

    pub(crate) fn resident_mib(&self) -> f64 {
        self.memory_mib("VmRSS:")
    }

    /// The most that it ever took.
    pub(crate) fn most_mib(&self) -> f64 {
        self.memory_mib("VmHWM:")
    }

    fn memory_mib(&self, which: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(which));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kib.unwrap_or_default() / 1_024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// HTTP/1.1 on one connection, a request at a time.
pub(crate) struct Client {
    wire: BufReader<Wire>,
}

enum Wire {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    fn tcp(&self) -> &TcpStream {
        match self {
            Wire::Tcp(stream) => stream,
            Wire::Tls(stream) => stream.get_ref(),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Wire::Tcp(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Wire::Tcp(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

impl Client {
    pub(crate) fn connect(place: Place) -> std::io::Result<Client> {
        let stream = TcpStream::connect(place.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let wire = if place.is_tls {
            let tls = ClientConnection::new(trusting(), localhost()).map_err(std::io::Error::other)?;
            Wire::Tls(Box::new(StreamOwned::new(tls, stream)))
        } else {
            Wire::Tcp(stream)
        };
        Ok(Client { wire: BufReader::new(wire) })
    }

    pub(crate) fn new(place: Place) -> Client {
        Client::connect(place).expect("a connection")
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        let stream = self.wire.get_ref().tcp().try_clone().expect("a connection");
        stream.set_nonblocking(true).expect("a connection");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let _inside = runtime.enter();
        let stream = tokio::net::TcpStream::from_std(stream).expect("a connection");
        stream.set_zero_linger().expect("a connection");
    }

    /// Sends a request whose answer is not waited for.
    pub(crate) fn send(&mut self, target: &str, body: &str) {
        self.wire.get_mut().write_all(request(target, body).as_bytes()).expect("a connection");
    }

    pub(crate) fn ask(&mut self, target: &str, body: &str) -> (u16, String) {
        self.try_ask(target, body).expect("an answer")
    }

    pub(crate) fn try_ask(&mut self, target: &str, body: &str) -> std::io::Result<(u16, String)> {
        self.exchange(&request(target, body))
    }

    pub(crate) fn get(&mut self, path: &str) -> (u16, String) {
        self.try_get(path).expect("an answer")
    }

    pub(crate) fn try_get(&mut self, path: &str) -> std::io::Result<(u16, String)> {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
    }

    fn exchange(&mut self, request: &str) -> std::io::Result<(u16, String)> {
        let wire = self.wire.get_mut();
        wire.write_all(request.as_bytes())?;
        wire.flush()?;
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            if self.wire.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let lower = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = lower.strip_prefix("http/1.1 ") {
                status = rest.get(..3).and_then(|digits| digits.parse().ok()).unwrap_or_default();
            } else if let Some(rest) = lower.strip_prefix("content-length:") {
                length = rest.trim().parse().unwrap_or_default();
            } else if lower.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.wire.read_exact(&mut body)?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}
