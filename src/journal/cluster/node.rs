//! A cluster, and this process as a node of it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::super::JournalError;
use super::engine::{self, Asked, Engine, FORMAT, FORMAT_SPREAD, Known, Node, Session, Trouble};
#[cfg(feature = "jetstream")]
use super::jetstream;
use super::model;
#[cfg(feature = "postgres")]
use super::postgres;
use crate::limits::CLUSTER_LEASE_MS;

/// The address of an engine, and how to connect.
#[derive(Clone, Debug)]
pub(super) enum Address {
    #[cfg(feature = "postgres")]
    Postgres(Arc<postgres::Address>),
    #[cfg(feature = "jetstream")]
    Jetstream(Arc<jetstream::Address>),
    Model(model::Way),
}

impl Address {
    fn of(url: &str, cluster: &str) -> Result<Address, JournalError> {
        #[cfg(feature = "postgres")]
        if postgres::Address::is_url(url) {
            return Ok(Address::Postgres(Arc::new(postgres::Address::of(url, cluster)?)));
        }
        #[cfg(feature = "jetstream")]
        if jetstream::Address::is_url(url) {
            return Ok(Address::Jetstream(Arc::new(jetstream::Address::of(url, cluster)?)));
        }
        Err(JournalError::Options(
            "the URL of a cluster begins with postgres:// (PostgreSQL) or nats:// (NATS JetStream)",
        ))
    }

    /// The name of the engine.
    fn engine(&self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Address::Postgres(_) => "PostgreSQL",
            #[cfg(feature = "jetstream")]
            Address::Jetstream(_) => "NATS JetStream",
            Address::Model(_) => "a model",
        }
    }

    fn session(&self, cluster: &str) -> Result<Session, Trouble> {
        Ok(match self {
            #[cfg(feature = "postgres")]
            Address::Postgres(address) => Box::new(address.session(cluster)?),
            #[cfg(feature = "jetstream")]
            Address::Jetstream(address) => Box::new(address.session(cluster)?),
            Address::Model(way) => way.session(),
        })
    }

    fn local_ip(&self) -> Option<IpAddr> {
        match self {
            #[cfg(feature = "postgres")]
            Address::Postgres(address) => address.local_ip(),
            #[cfg(feature = "jetstream")]
            Address::Jetstream(address) => address.local_ip(),
            Address::Model(_) => None,
        }
    }
}

/// A cluster in PostgreSQL or NATS JetStream, and this process as a node of it. Clones are the same node.
///
/// ```
/// use expressway::journal::cluster::Cluster;
/// let cluster = Cluster::new("postgres://expressway@db.example.com/expressway", "orders")?;
/// # Ok::<(), expressway::journal::JournalError>(())
/// ```
#[derive(Clone)]
pub struct Cluster {
    pub(super) address: Address,
    pub(super) name: String,
    pub(super) lease: Duration,
    pub(super) published: String,
    /// The partition that its sessions are about.
    pub(super) partition: u16,
    /// Whether it is spread over its nodes, if this node creates it, and that was chosen.
    pub(super) spreads: Option<bool>,
    /// Whether this process copies a state into it, and so uses it before it is whole.
    pub(super) copies: bool,
    pub(super) shared: Arc<Shared>,
}

impl std::fmt::Debug for Cluster {
    /// Without its secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

#[derive(Default)]
pub(super) struct Shared {
    /// This node's name, unique to it.
    pub(super) node: String,
    /// The epoch of this node, while it owns the cluster; else 0.
    pub(super) epoch: AtomicU64,
    pub(super) known: OnceLock<Known>,
    /// The connection for occasional queries.
    pub(super) asked: Mutex<Option<Asked>>,
}

/// The present state of a cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The nodes that renewed their lease within the last hour, in the order in which they started.
    pub nodes: Vec<Node>,
    /// The number of the owner.
    pub epoch: u64,
    /// The owner's name; `None` if it released the cluster.
    pub owner: Option<String>,
    /// Whether the owner's lease is valid.
    pub owner_lives: bool,
    /// The numbers of the first block that is needed, and of the last.
    pub blocks: (u64, u64),
    /// Bytes of the stored blocks; in PostgreSQL those of all clusters in the database, with the index.
    pub bytes: u64,
    /// The partitions in order, of a cluster whose work is spread over its nodes; owner, epoch and blocks are then those of
    /// the first.
    pub partitions: Vec<Partition>,
}

/// The present state of a partition.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Partition {
    /// The number of its owner.
    pub epoch: u64,
    /// The owner's name; `None` if it was released.
    pub owner: Option<String>,
    /// Whether the owner's lease is valid.
    pub owner_lives: bool,
}

impl Cluster {
    /// A cluster by its name, in the engine of a URL.
    ///
    /// `postgres://user:password@host:port/database`, as in `libpq`. Without `sslmode`, connections to other machines
    /// are encrypted and the server's certificate is verified; `sslrootcert` names a file with the roots.
    ///
    /// `nats://user:password@host:port,host:port`, or `tls://…`, with `?replicas=3` and the other options of
    /// `docs/cluster.md`.
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
        let address = Address::of(url, name)?;
        let node: [u8; 8] = random()?;
        Ok(Cluster::with(address, name, format!("{:016x}", u64::from_le_bytes(node))))
    }

    pub(super) fn with(address: Address, name: &str, node: String) -> Cluster {
        Cluster {
            address,
            name: name.to_owned(),
            lease: Duration::from_millis(CLUSTER_LEASE_MS),
            published: String::new(),
            partition: 0,
            spreads: None,
            copies: false,
            shared: Arc::new(Shared { node, ..Shared::default() }),
        }
    }

    /// Whether a text is the URL of an engine.
    pub fn is_url(text: &str) -> bool {
        let schemes = ["postgres", "postgresql", "nats", "tls"];
        text.split_once("://").is_some_and(|(scheme, _)| schemes.contains(&scheme))
    }

    /// The name of its engine.
    pub fn engine(&self) -> &'static str {
        self.address.engine()
    }

    /// How long an owner may go without renewing its lease, 3 seconds by default: 500 milliseconds to 5 minutes. It
    /// renews its lease three times as often.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Cluster {
        self.lease = lease.clamp(Duration::from_millis(500), Duration::from_secs(300));
        self
    }

    /// Whether the work of the cluster is spread over all of its nodes, in 64 partitions, if this node creates it; otherwise
    /// one node does it, and the others stand by. By default, that of a server is, and that of an
    /// [engine](crate::runtime::Durable::cluster) is not. A cluster that exists stays as it is.
    #[must_use]
    pub fn spread(mut self, spread: bool) -> Cluster {
        self.spreads = Some(spread);
        self
    }

    /// The same cluster, which is not spread unless that was chosen.
    pub(crate) fn with_one_owner(mut self) -> Cluster {
        self.spreads.get_or_insert(false);
        self
    }

    /// The same, which is spread unless something else was chosen.
    #[cfg(feature = "service")]
    pub(crate) fn of_server(mut self) -> Cluster {
        self.spreads.get_or_insert(true);
        self
    }

    pub(super) fn is_model(&self) -> bool {
        matches!(self.address, Address::Model(_))
    }

    /// Lets some time pass on this thread.
    pub(super) fn pause(&self, time: Duration) {
        match &self.address {
            Address::Model(way) => way.pause(time),
            _ => thread::sleep(time),
        }
    }

    /// The monotonic clock.
    pub(super) fn now(&self) -> Instant {
        match &self.address {
            Address::Model(way) => way.now(),
            _ => Instant::now(),
        }
    }

    /// Whether its work is spread over its nodes. It is created if missing.
    ///
    /// # Errors
    /// When the database does not answer, or holds it in another format.
    pub fn is_spread(&self) -> Result<bool, JournalError> {
        Ok(self.known()?.is_spread())
    }

    /// The address at which other nodes reach this one, such as `http://10.0.0.7:8083`.
    #[must_use]
    pub fn published(mut self, address: impl Into<String>) -> Cluster {
        self.published = address.into();
        self
    }

    /// The address of this machine on the route to the engine, at which other nodes may reach it.
    pub fn local_ip(&self) -> IpAddr {
        self.address.local_ip().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
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
    /// When no cluster has this name, or the database does not answer.
    pub fn status(&self) -> Result<Status, JournalError> {
        let partitions =
            if self.find()?.is_spread() { self.ask(|session| session.look())?.owners } else { Vec::new() };
        let partition = |owner: engine::Owner| Partition {
            epoch: owner.epoch,
            owner_lives: owner.node.is_some() && owner.left_ms > 0,
            owner: owner.node,
        };
        let (owner, nodes, bytes, last) =
            self.ask(|session| Ok((session.owner()?, session.nodes()?, session.bytes()?, session.last()?)))?;
        let last = last.map(|bytes| self.header(&bytes)).transpose()?;
        Ok(Status {
            nodes,
            epoch: owner.epoch,
            owner_lives: owner.node.is_some() && owner.left_ms > 0,
            owner: owner.node,
            blocks: last.map_or((0, 0), |header| (header.trimmed.0.max(1), header.lsn.0)),
            bytes,
            partitions: partitions.into_iter().map(partition).collect(),
        })
    }

    /// Its description in messages.
    pub(super) fn describe(&self) -> String {
        format!("the cluster {} in {}", self.name, self.address.engine())
    }

    pub(super) fn session(&self) -> Result<Session, Trouble> {
        let mut session = self.address.session(&self.name)?;
        session.at(self.partition);
        Ok(session)
    }

    /// The same node, as it uses one partition.
    pub(super) fn at(&self, partition: u16) -> Cluster {
        Cluster { partition, ..self.clone() }
    }

    /// Runs a query on this node's query thread.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Engine) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let partition = self.partition;
        let job = move |session: &mut dyn Engine| {
            session.at(partition);
            job(session)
        };
        if let Address::Model(way) = &self.address {
            return job(&mut *way.session());
        }
        let asked = {
            let mut asked = self.asked();
            match &*asked {
                Some(asked) => asked.clone(),
                None => asked.insert(Asked::start(self.session()?, "cluster")?).clone(),
            }
        };
        asked.ask(job)
    }

    pub(super) fn asked(&self) -> MutexGuard<'_, Option<Asked>> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cluster's row, which is created with all tables if missing.
    pub(super) fn known(&self) -> Result<Known, JournalError> {
        if let Some(known) = self.shared.known.get() {
            return Ok(known.clone());
        }
        let (journal, secret): ([u8; 8], [u8; 32]) = (random()?, random()?);
        let format = if self.spreads.unwrap_or(true) { FORMAT_SPREAD } else { FORMAT };
        let new = Known { format, journal: u64::from_le_bytes(journal), secret: secret.to_vec() };
        let (known, unfit) = self.ask(move |session| {
            let known = session.find_or_make(new)?;
            Ok((known, session.unfit()?))
        })?;
        match unfit {
            Some(why) => Err(JournalError::Unfit(why)),
            None => self.remember(known),
        }
    }

    /// The cluster's row, if it exists.
    pub(super) fn find(&self) -> Result<Known, JournalError> {
        let found = self.ask(|session| session.find())?;
        self.remember(found.ok_or(JournalError::Options("there is no cluster of this name in the database"))?)
    }

    pub(super) fn remember(&self, known: Known) -> Result<Known, JournalError> {
        if !known.is_readable() {
            return Err(JournalError::Options(
                "the cluster is in another format than this release reads: use the release that made it, or a newer one",
            ));
        }
        if known.is_copying() && !self.copies {
            return Err(JournalError::Options(
                "a state was being copied into this cluster, and is not whole: copy it again",
            ));
        }
        Ok(self.shared.known.get_or_init(|| known).clone())
    }

    pub(super) fn epoch(&self) -> u64 {
        self.shared.epoch.load(Ordering::Acquire)
    }
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], JournalError> {
    let mut bytes = [0; BYTES];
    let filled = getrandom::fill(&mut bytes);
    filled.map_err(|error| JournalError::from(Trouble::said(format!("random numbers: {error}"))))?;
    Ok(bytes)
}
