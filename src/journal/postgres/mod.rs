//! The journal in PostgreSQL: one row per block, for a cluster of processes of which one owns the journal at a time.
//!
//! 1. **An owner is a number.** A node that takes the cluster increments the number in the owner's row (the epoch).
//!    Every append is one transaction that locks that row, and appends only if the number is still the same: an owner
//!    that was replaced cannot write any more, even if it does not know. The lease only determines when another node
//!    may try, by the clock of the database.
//! 2. **One block at a time**, each behind the one before: the key of a block is its number, and the transaction checks
//!    that the block before exists. So a block exists once, and a database that has lost some is detected.
//! 3. **An append whose answer is lost is in doubt.** Before anything else is decided, the row is read: if the block
//!    exists, it is durable; if not, the same block is appended again, with the same number, so that the first attempt
//!    cannot be added later.
//! 4. **A database that does not answer, or refuses** (it restarts, its disk is full, a standby is being promoted), is
//!    retried without end. Meanwhile no new work is accepted, appended records wait, and no results are reported.
//! 5. **Room is freed**: blocks before the mark are deleted, some at a time, after a durable block has the mark.
//!
//! Every wait for the database has a limit, see `session`.

mod copying;
mod items;
mod lease;
mod rows;
mod scan;
mod session;
mod tls;
mod writer;

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio_postgres::config::Host;

use super::JournalError;
use crate::limits::POSTGRES_LEASE_MS;
pub use copying::{copy_from, copy_to};
pub use items::Items;
pub use lease::{ClusterLease, Standby};
use rows::Known;
pub use rows::Node;
use session::{Asked, Session, Trouble};
use tls::Tls;
pub use writer::{PostgresJournal, open};

/// The address of a database, and how to connect.
#[derive(Clone, Debug)]
struct Address {
    config: tokio_postgres::Config,
    tls: Tls,
}

/// A cluster in a database of PostgreSQL, and this process as a node of it. Clones are the same node.
///
/// ```
/// use expressway::journal::postgres::Cluster;
/// let cluster = Cluster::new("postgres://expressway@db.example.com/expressway", "orders")?;
/// # Ok::<(), expressway::journal::JournalError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cluster {
    address: Arc<Address>,
    name: String,
    lease: Duration,
    published: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// This node's name, unique to it.
    node: String,
    /// The epoch of this node, while it owns the cluster; else 0.
    epoch: AtomicU64,
    known: OnceLock<Known>,
    /// The connection for occasional queries.
    asked: Mutex<Option<Asked>>,
}

/// The present state of a cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Its nodes, those with a sign of life within the last hour, in the order in which they began.
    pub nodes: Vec<Node>,
    /// The number of the owner.
    pub epoch: u64,
    /// The owner's name; `None` when it ended in order.
    pub owner: Option<String>,
    /// Whether the owner's lease is valid.
    pub owner_lives: bool,
    /// The numbers of the first block that is needed, and the last.
    pub blocks: (u64, u64),
    /// Bytes of the blocks of all clusters in this database, including the index.
    pub bytes: u64,
}

impl Cluster {
    /// A cluster by its name, in the database of a URL: `postgres://user:password@host:port/database`, as in `libpq`.
    /// Without `sslmode`, connections to other machines are encrypted and the server's certificate is verified;
    /// `sslrootcert` names a file with the roots.
    ///
    /// # Errors
    /// When the URL or the name is invalid.
    pub fn new(url: &str, name: &str) -> Result<Cluster, JournalError> {
        let is_name = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !is_name {
            return Err(JournalError::Options(
                "the name of a cluster has 1 to 64 letters, digits, '-', '_' or '.'",
            ));
        }
        if !Cluster::is_url(url) {
            return Err(JournalError::Options(
                "a URL of PostgreSQL begins with postgres:// or postgresql://",
            ));
        }
        let (mut config, tls) = Tls::of(url).map_err(|why| JournalError::from(Trouble::said(why)))?;
        config.application_name(format!("expressway {name}"));
        let node: [u8; 8] = random()?;
        let shared = Shared { node: format!("{:016x}", u64::from_le_bytes(node)), ..Shared::default() };
        Ok(Cluster {
            address: Arc::new(Address { config, tls }),
            name: name.to_owned(),
            lease: Duration::from_millis(POSTGRES_LEASE_MS),
            published: String::new(),
            shared: Arc::new(shared),
        })
    }

    /// Whether a text is such a URL.
    pub fn is_url(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// How long an owner is assumed to live without a sign of life, 3 seconds by default: 500 milliseconds to 5
    /// minutes. It renews its lease three times as often.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Cluster {
        self.lease = lease.clamp(Duration::from_millis(500), Duration::from_secs(300));
        self
    }

    /// The address at which other nodes reach this one, such as `http://10.0.0.7:8083`.
    #[must_use]
    pub fn published(mut self, address: impl Into<String>) -> Cluster {
        self.published = address.into();
        self
    }

    /// The local address of this machine's connection to the database: others may reach it there.
    pub fn local_ip(&self) -> IpAddr {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let reach = |host: &Host, port: u16| match host {
            Host::Tcp(host) => {
                // Nothing is sent: the system only selects the route.
                let to = (host.as_str(), port).to_socket_addrs().ok()?.next()?;
                let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(from).ok()?;
                socket.connect(to).ok()?;
                Some(socket.local_addr().ok()?.ip())
            }
            #[cfg(unix)]
            Host::Unix(_) => None,
        };
        let config = &self.address.config;
        let port = config.get_ports().first().copied().unwrap_or(5_432);
        config.get_hosts().first().and_then(|host| reach(host, port)).unwrap_or(here)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of this node, made for this process.
    pub fn node(&self) -> &str {
        &self.shared.node
    }

    /// The secret by which the cluster's nodes recognize each other. It is in the database.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn secret(&self) -> Result<Vec<u8>, JournalError> {
        Ok(self.known()?.secret)
    }

    /// Its present state.
    ///
    /// # Errors
    /// When there is none of this name, or the database does not answer.
    pub fn status(&self) -> Result<Status, JournalError> {
        let known = self.find()?;
        let (owner, nodes, bytes, last) = self.ask(move |session| {
            let owner = rows::owner(session, known.id)?;
            let nodes = rows::nodes(session, known.id)?;
            Ok((owner, nodes, rows::bytes(session)?, rows::last(session, known.id)?))
        })?;
        let last = last.map(|bytes| self.header(&bytes)).transpose()?;
        Ok(Status {
            nodes,
            epoch: owner.epoch,
            owner_lives: owner.node.is_some() && owner.left_ms > 0,
            owner: owner.node,
            blocks: last.map_or((0, 0), |header| (header.trimmed.0.max(1), header.lsn.0)),
            bytes,
        })
    }

    /// The same cluster, as for another process.
    fn afresh(&self) -> Cluster {
        Cluster { shared: Arc::default(), ..self.clone() }
    }

    /// Its description for people.
    fn describe(&self) -> String {
        format!("the cluster {} in PostgreSQL", self.name)
    }

    /// Runs a query on this node's thread for that.
    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Session) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let asked = {
            let mut asked = self.asked();
            match &*asked {
                Some(asked) => asked.clone(),
                None => asked.insert(Asked::start(&self.address, "postgres")?).clone(),
            }
        };
        asked.ask(job)
    }

    fn asked(&self) -> MutexGuard<'_, Option<Asked>> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cluster's row, which is created with all tables if missing.
    fn known(&self) -> Result<Known, JournalError> {
        if let Some(known) = self.shared.known.get() {
            return Ok(known.clone());
        }
        let name = self.name.clone();
        let (journal, secret): ([u8; 8], [u8; 32]) = (random()?, random()?);
        let (known, is_durable) = self.ask(move |session| {
            rows::make(session)?;
            let known = rows::find_or_make(session, &name, u64::from_le_bytes(journal), &secret)?;
            Ok((known, rows::is_durable(session)?))
        })?;
        if !is_durable {
            return Err(JournalError::Options(
                "PostgreSQL runs with fsync = off: what it acknowledges is not durable; set fsync = on",
            ));
        }
        self.remember(known)
    }

    /// The cluster's row, if it exists.
    fn find(&self) -> Result<Known, JournalError> {
        let name = self.name.clone();
        let found =
            self.ask(
                move |session| {
                    if rows::are_there(session)? { rows::find(session, &name) } else { Ok(None) }
                },
            )?;
        self.remember(found.ok_or(JournalError::Options("there is no cluster of this name in the database"))?)
    }

    fn remember(&self, known: Known) -> Result<Known, JournalError> {
        if !known.is_readable() {
            return Err(JournalError::Options(
                "the cluster is in another format than this release reads: use the release that made it, or a newer one",
            ));
        }
        Ok(self.shared.known.get_or_init(|| known).clone())
    }

    fn epoch(&self) -> u64 {
        self.shared.epoch.load(Ordering::Acquire)
    }
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], JournalError> {
    let mut bytes = [0; BYTES];
    let filled = getrandom::fill(&mut bytes);
    filled.map_err(|error| JournalError::from(Trouble::said(format!("random numbers: {error}"))))?;
    Ok(bytes)
}
