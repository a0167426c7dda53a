//! Connections: TCP, and TLS over it.

use crate::os;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// The time limit for connecting, TLS included: that of AWS's SDKs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The destination of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) tls: bool,
    /// A name, or an address without brackets.
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    /// The address that passed the policy: the name is not resolved again.
    pub(super) pinned: Option<SocketAddr>,
    /// The certificate authorities that may have signed the server's certificate, in PEM; `None` for the system's.
    pub(super) authority_pem: Option<Arc<str>>,
}

impl Origin {
    /// The value of the `Host` header: with the port only if it is not the scheme's default.
    pub(super) fn authority(&self) -> String {
        let brackets = self.host.contains(':');
        let host = if brackets { format!("[{}]", self.host) } else { self.host.to_string() };
        let usual_port = if self.tls { 443 } else { 80 };
        if self.port == usual_port { host } else { format!("{host}:{}", self.port) }
    }
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum NetError {
    /// There is no such host, the connection was refused, the certificate is invalid, or the connection broke.
    Failed(String),
    /// The answer exceeds the limit.
    TooLarge,
}

impl NetError {
    pub(super) fn failed(origin: &Origin, error: impl std::fmt::Display) -> NetError {
        let why = os::without_number(&error.to_string());
        NetError::Failed(format!("{}: {why}", origin.authority()))
    }
}

/// Opens a connection.
pub(super) async fn connect(origin: &Origin) -> Result<Stream, NetError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, connect_now(origin)).await {
        Ok(stream) => stream,
        Err(_) => Err(NetError::failed(origin, "Connect timed out")),
    }
}

async fn connect_now(origin: &Origin) -> Result<Stream, NetError> {
    let connected = match origin.pinned {
        Some(address) => TcpStream::connect(address).await,
        None => TcpStream::connect((&*origin.host, origin.port)).await,
    };
    let stream = connected.map_err(|error| NetError::Failed(explain(origin, &error)))?;
    // Requests are written completely: waiting for more data gains nothing.
    stream.set_nodelay(true).map_err(|error| NetError::failed(origin, error))?;
    if !origin.tls {
        return Ok(Stream::Plain(stream));
    }
    let name = ServerName::try_from(origin.host.to_string());
    let name = name.map_err(|_| NetError::failed(origin, "invalid host name"))?;
    let config = match &origin.authority_pem {
        Some(pem) => of_authority(pem),
        None => tls_config(),
    };
    let config = config.map_err(|error| NetError::failed(origin, error))?;
    let stream = TlsConnector::from(config).connect(name, stream).await;
    let stream = stream.map_err(|error| NetError::failed(origin, error))?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// Java's messages, which workflows know from AWS, for errors of name resolution.
fn explain(origin: &Origin, error: &io::Error) -> String {
    let text = os::without_number(&error.to_string());
    match text.strip_prefix("failed to lookup address information: ") {
        Some(why) => format!("{}: {why}", origin.host),
        None => format!("Connect to {} failed: {text}", origin.authority()),
    }
}

/// The settings of TLS, with the system's own certificates; read once.
fn tls_config() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let make = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err("no root certificates found on this system".to_owned());
        }
        config_of(roots)
    };
    CONFIG.get_or_init(make).clone()
}

/// The settings of TLS with these certificate authorities.
fn of_authority(pem: &str) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots
            .add(certificate.map_err(|error| error.to_string())?)
            .map_err(|error| format!("the certificate authority cannot be used: {error}"))?;
    }
    config_of(roots)
}

fn config_of(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// An open connection.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self, Stream::Plain(_))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
