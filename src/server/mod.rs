//! The AWS API over HTTP: connections, threads, limits, security, and shutdown. Operations are implemented in the
//! service below, and their wire format in `api`.
//!
//! Each server thread runs its own connections on a single-threaded runtime and shares nothing with the others but
//! counters. An execution that neither waits nor calls runs on that thread, between the reading of its request and the
//! writing of its response. A thread of its own accepts connections and distributes them: that spreads them evenly,
//! keeps their limit in one place, and makes a second server on the same port an error, none of which `SO_REUSEPORT`
//! does. It runs no workflow, so `/health`, `/ready` and `/metrics`, which it answers itself, are answered even when
//! the others are busy.

mod auth;
mod background;
mod connection;
mod connection_timeouts;
mod connection_turns;
#[cfg(feature = "console")]
mod console;
mod cors;
mod counters;
mod definitions;
mod descriptors;
mod exchange;
mod http2;
mod output_buffer;
#[cfg(feature = "cluster")]
mod peer_tls;
#[cfg(feature = "cluster")]
mod peers;
mod reply;
mod request_id;
mod scope;
#[cfg(feature = "cluster")]
mod standby;
mod streams;
mod testing;
mod thread;
mod tls;
mod turn_waker;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::memory;
use crate::service::Service;

pub use auth::{Auth, AuthError};
#[cfg(feature = "console")]
pub use console::{Console, Files};
pub use counters::Counts;
pub use definitions::{Definitions, Done, Report, put};
pub use descriptors::{FileLimit, raise_file_limit};
#[cfg(feature = "cluster")]
pub use standby::Standby;
pub use tls::{Tls, TlsError};

/// The configuration of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The address to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Threads that serve connections.
    pub threads: usize,
    /// Limits of clients.
    pub limits: Limits,
    /// The certificate to serve; without one, connections are not encrypted.
    pub tls: Option<Tls>,
    /// Keys and permissions; without it, every client may do everything.
    pub auth: Option<Auth>,
    /// Whether an address that others can reach is allowed without [`auth`](Config::auth).
    pub insecure: bool,
    /// The origins, as `https://example.com`, whose pages may use the API from a browser; `*` is any. Requests from
    /// other pages are refused: any page could otherwise reach a server on its user's machine.
    pub origins: Vec<String>,
    /// Host names that clients may use, beside loopback ones and the address it listens on; `*` is any. Otherwise a
    /// page could have a name of its own resolve to this server (DNS rebinding), and would pass for one of ours.
    pub hosts: Vec<String>,
    /// The server's region and account.
    pub place: Place,
    /// Whether region and account are those that a request's credentials name (its signature is not checked), so that
    /// clients of several regions and accounts share the server. An access key of 12 digits is an account; any other
    /// means the account of [`place`](Config::place), as does a request without credentials.
    pub scope_from_credentials: bool,
    /// Whether `POST /_expressway/reset` forgets everything, and `PUT /_expressway/mocks` sets the mocks: for test suites.
    pub testing: bool,
    /// The secret by which nodes of a cluster recognize each other's requests.
    pub hop_secret: Option<String>,
    /// The console for browsers, below `/console/`; without it, that address does not exist.
    #[cfg(feature = "console")]
    pub console: Option<Console>,
}

/// Region and account, as in ARNs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The region.
    pub region: String,
    /// The account: 12 digits.
    pub account: String,
}

impl Default for Place {
    /// The values of Step Functions Local.
    fn default() -> Place {
        Place { region: "us-east-1".to_owned(), account: "123456789012".to_owned() }
    }
}

impl Default for Config {
    /// The address of Step Functions Local, and one thread for each processor.
    fn default() -> Config {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], PORT)),
            threads,
            limits: Limits::default(),
            tls: None,
            auth: None,
            insecure: false,
            origins: Vec::new(),
            hosts: Vec::new(),
            place: Place::default(),
            scope_from_credentials: false,
            testing: false,
            hop_secret: None,
            #[cfg(feature = "console")]
            console: None,
        }
    }
}

/// The port of Step Functions Local.
pub const PORT: u16 = 8083;

/// Limits of a server's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at the same time; further ones get an error and are closed.
    pub connections_max: usize,
    /// Bytes of a request's body. A definition of AWS's 1 MB takes more on the wire, as its quotes are escaped.
    pub body_bytes_max: usize,
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// Time limit for a head, for a body, and for a client that does not read its responses.
    pub slow_seconds_max: u32,
    /// Time a connection may stay open without a request.
    pub idle_seconds_max: u32,
    /// Requests one HTTP/2 connection may have under way.
    pub streams_max: u32,
    /// Bytes that requests and responses of all connections take; what does not fit is refused.
    pub requests_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 20_000,
            body_bytes_max: 4 << 20,
            head_bytes_max: 32 << 10,
            slow_seconds_max: 30,
            idle_seconds_max: 120,
            streams_max: 256,
            requests_bytes_max: memory::default_bytes() / 8,
        }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Others could reach it and do everything.
    #[error(
        "{0} can be reached from other machines: give a file of keys (--auth), or say that everyone may do \
         everything (--insecure)"
    )]
    Open(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {}: {}", .0, crate::os::words(.1))]
    Listen(SocketAddr, #[source] io::Error),
    /// The system has no thread or reactor for it.
    #[error("cannot start a server thread: {}", crate::os::words(.0))]
    Thread(#[source] io::Error),
}

/// A running server. When it is dropped, connections are cut.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<thread::Shared>,
    threads: Vec<thread::Joined>,
}

/// The result of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Requests that were answered since the server started.
    pub requests: u64,
    /// Connections that ended in order.
    pub closed: usize,
    /// Connections that were cut because their requests took too long.
    pub cut: usize,
}

impl Server {
    /// Listens, and answers on threads of its own. Requests are answered at once; [`ready`](Server::ready) sets the
    /// answer of `/ready`.
    ///
    /// # Errors
    /// When the address is taken, when others could reach it without a key, or when the system has no more threads.
    pub fn start(config: &Config, service: &Service) -> Result<Server, StartError> {
        Server::start_on(Server::listen(config)?, config, service)
    }

    /// Binds the address, so that others cannot; clients that connect wait until the server [starts](Server::start_on).
    ///
    /// # Errors
    /// When the address is taken, or when others could reach it without a key.
    pub fn listen(config: &Config) -> Result<TcpListener, StartError> {
        let is_open = !config.listen.ip().to_canonical().is_loopback();
        if is_open && config.auth.is_none() && !config.insecure {
            return Err(StartError::Open(config.listen));
        }
        let listening = |error| StartError::Listen(config.listen, error);
        let listener = TcpListener::bind(config.listen).map_err(listening)?;
        listener.set_nonblocking(true).map_err(listening)?;
        Ok(listener)
    }

    /// As [`start`](Server::start), on a [listener](Server::listen).
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn start_on(listener: TcpListener, config: &Config, service: &Service) -> Result<Server, StartError> {
        let listening = |error| StartError::Listen(config.listen, error);
        let address = listener.local_addr().map_err(listening)?;
        let shared = Arc::new(thread::Shared::new(config).map_err(StartError::Thread)?);
        #[cfg(feature = "cluster")]
        if let (Some(spread), Some(secret)) = (service.spread(), &config.hop_secret) {
            spread.reach(Arc::new(
                peers::HttpPeers::start(secret, config.tls.as_ref()).map_err(StartError::Thread)?,
            ));
        }
        let threads = thread::start(&shared, listener, service).map_err(StartError::Thread)?;
        Ok(Server { address, shared, threads })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets whether `/ready` reports ready.
    pub fn ready(&self, ready: bool) {
        self.shared.ready.store(ready, Ordering::Release);
    }

    /// Its counts so far.
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// Accepts no more connections: when this returns, another server can bind the address. Open ones are still served.
    pub fn stop_listening(&self) {
        self.ready(false);
        self.threads.iter().for_each(thread::Joined::stop_listening);
    }

    /// Accepts no more connections, finishes the requests that are under way, and ends its threads. Connections that
    /// are not done after `within` are cut. Blocks until then.
    pub fn drain(mut self, within: Duration) -> Drained {
        self.end(within)
    }

    fn end(&mut self, within: Duration) -> Drained {
        self.ready(false);
        let mut drained = Drained { requests: 0, closed: 0, cut: 0 };
        for joined in &self.threads {
            joined.drain(within);
        }
        for joined in self.threads.drain(..) {
            let (closed, cut) = joined.join();
            drained.closed += closed;
            drained.cut += cut;
        }
        drained.requests = self.counts().requests;
        drained
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}
