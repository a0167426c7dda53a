//! The operations that a cluster needs of its engine, and the thread that calls them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread;

use super::super::JournalError;

/// Why an operation of the engine failed.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    /// The engine's error code, when it answered.
    pub(super) code: Option<String>,
    pub(super) text: String,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Trouble> for JournalError {
    fn from(trouble: Trouble) -> JournalError {
        JournalError::io("the cluster's database")(std::io::Error::other(trouble.text))
    }
}

impl Trouble {
    pub(super) fn said(text: impl Into<String>) -> Trouble {
        Trouble { code: None, text: text.into() }
    }
}

/// A cluster that exists.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) format: i32,
    /// The identity in all blocks.
    pub(super) journal: u64,
    pub(super) secret: Vec<u8>,
}

/// The format of a cluster that one node owns.
pub(super) const FORMAT: i32 = 1;
/// The format of a cluster whose partitions are spread over its nodes.
pub(super) const FORMAT_SPREAD: i32 = 2;

impl Known {
    /// Whether this release can use it, once it is whole.
    pub(super) fn is_readable(&self) -> bool {
        [FORMAT, FORMAT_SPREAD].contains(&self.format.abs())
    }

    pub(super) fn is_spread(&self) -> bool {
        self.format.abs() == FORMAT_SPREAD
    }

    /// Whether a state is being copied into it, or was in part: its format is negative then.
    pub(super) fn is_copying(&self) -> bool {
        self.format < 0
    }
}

/// A block to append, of a partition.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) partition: u16,
    pub(super) lsn: u64,
    pub(super) epoch: u64,
    pub(super) bytes: Vec<u8>,
}

/// The nodes and partitions of a cluster at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Looked {
    /// By partition.
    pub(super) owners: Vec<Owner>,
    /// Names and addresses of nodes that live and take partitions.
    pub(super) members: Vec<(String, String)>,
    /// The number of the last change of the service's records.
    pub(super) version: u64,
}

/// The owner of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) epoch: u64,
    /// `None` when it was released.
    pub(super) node: Option<String>,
    pub(super) address: String,
    /// The remaining milliseconds of its lease; negative after it has expired.
    pub(super) left_ms: i64,
}

/// A node, as in `cluster status`.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, which is generated when it starts.
    pub node: String,
    /// Its address.
    pub address: String,
    /// Its release.
    pub release: String,
    /// How long ago it started, and last renewed its lease, in milliseconds.
    pub began_ms: i64,
    /// See `began_ms`.
    pub seen_ms: i64,
    /// Whether its lease is valid.
    pub lives: bool,
}

/// A session with an engine, for one cluster. It belongs to one thread, outside of any asynchronous runtime; every wait
/// in it is bounded. After an error, it is unknown whether the operation was done.
pub(super) trait Engine: Send {
    /// The cluster, if it exists.
    fn find(&mut self) -> Result<Option<Known>, Trouble>;
    /// The cluster, which is created like this one if missing.
    fn find_or_make(&mut self, new: Known) -> Result<Known, Trouble>;
    /// Why the engine cannot hold a journal, and what to set: its acknowledged writes are not durable, for example.
    fn unfit(&mut self) -> Result<Option<String>, Trouble>;
    /// The maximum size of a block, in bytes.
    fn block_bytes_max(&mut self) -> Result<usize, Trouble>;

    /// Renews the lease of a node.
    fn tell(&mut self, node: &str, address: &str, lease_ms: i64) -> Result<(), Trouble>;
    /// Removes this node, and nodes that did not renew their lease for an hour.
    fn forget_nodes(&mut self, node: &str) -> Result<(), Trouble>;
    /// The nodes, in the order in which they started.
    fn nodes(&mut self) -> Result<Vec<Node>, Trouble>;
    /// Claims the cluster, unless a living node owns it. Returns the epoch.
    fn claim(&mut self, node: &str) -> Result<Option<u64>, Trouble>;
    /// Releases the cluster, if this node still owns it.
    fn release(&mut self, node: &str, epoch: u64) -> Result<(), Trouble>;
    fn owner(&mut self) -> Result<Owner, Trouble>;

    /// Appends a block: once, after the one before, and as the owner with this epoch. Returns false, and appends
    /// nothing, if one of these conditions is not met.
    fn append(&mut self, lsn: u64, epoch: u64, bytes: &[u8]) -> Result<bool, Trouble>;
    /// The bytes of a block, if it exists.
    fn block(&mut self, lsn: u64) -> Result<Option<Vec<u8>>, Trouble>;
    /// The bytes of the last block.
    fn last(&mut self) -> Result<Option<Vec<u8>>, Trouble>;
    /// Some blocks from a number on, in order, with their numbers.
    fn page(&mut self, from: u64) -> Result<Vec<(u64, Vec<u8>)>, Trouble>;
    /// Removes some blocks before a number, the first ones. Returns whether there may be more.
    fn remove(&mut self, before: u64) -> Result<bool, Trouble>;
    /// Bytes of the blocks of the cluster.
    fn kept_bytes(&mut self) -> Result<u64, Trouble>;
    /// Bytes that the engine's storage of blocks takes.
    fn bytes(&mut self) -> Result<u64, Trouble>;

    // ---- partitions ----

    /// Sets the partition that blocks and owners are of from now on.
    fn at(&mut self, partition: u16);
    /// The nodes and the partitions.
    fn look(&mut self) -> Result<Looked, Trouble>;
    /// Appends blocks of several partitions: each once, after the one before, and as an owner whom no other one has
    /// replaced. Returns whether all were appended; otherwise, and after an error, some of them may have been.
    fn append_all(&mut self, blocks: &[Sealed]) -> Result<bool, Trouble>;
    /// This node takes no more partitions.
    fn leave(&mut self, node: &str) -> Result<(), Trouble>;
    /// Releases all partitions of a node.
    fn release_all(&mut self, node: &str) -> Result<(), Trouble>;
    /// The changes of the service's records after a version: the last version, and the kinds and ARNs of what changed;
    /// `None`, if some are not known any more.
    fn changes(&mut self, after: u64) -> Result<Changes, Trouble>;

    /// Marks a cluster without blocks as one into which a state is being copied, so that no node uses it, and removes what
    /// an earlier attempt has left. Returns false, and changes nothing, if it has a journal.
    #[cfg(feature = "service")]
    fn begin_copy(&mut self) -> Result<bool, Trouble>;
    /// The copy is whole.
    #[cfg(feature = "service")]
    fn end_copy(&mut self) -> Result<(), Trouble>;

    /// Begins a transaction on records as the owner with this epoch. Returns false if another node owns the cluster.
    fn begin(&mut self, epoch: u64) -> Result<bool, Trouble>;
    /// Makes the changes durable.
    fn commit(&mut self) -> Result<(), Trouble>;
    /// Discards the changes.
    fn roll_back(&mut self);
    fn put_item(&mut self, item: Item<'_>, bytes: &[u8]) -> Result<(), Trouble>;
    fn remove_item(&mut self, item: Item<'_>) -> Result<(), Trouble>;
    fn item(&mut self, item: Item<'_>) -> Result<Option<Vec<u8>>, Trouble>;
    /// The numbers under an ARN.
    fn numbers(&mut self, kind: i32, arn: &str) -> Result<Vec<u64>, Trouble>;
    /// All ARNs.
    fn arns(&mut self, kind: i32) -> Result<Vec<String>, Trouble>;
    /// Some records of a kind whose ARNs come after one, in order.
    fn items(&mut self, kind: i32, after: &str) -> Result<Vec<(String, Vec<u8>)>, Trouble>;
}

/// A record: its kind, ARN and number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    pub(super) kind: i32,
    pub(super) arn: &'a str,
    pub(super) number: u64,
}

/// The number of the last change, and what changed since a version: kinds and ARNs; `None` for all.
pub(crate) type Changes = (u64, Option<Vec<(i32, String)>>);

pub(super) type Session = Box<dyn Engine>;
type Job = Box<dyn FnOnce(&mut dyn Engine) + Send>;

/// A session on a separate thread, for callers on any thread, also inside a runtime.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    jobs: mpsc::Sender<Job>,
}

impl Asked {
    pub(super) fn start(mut session: Session, name: &str) -> Result<Asked, Trouble> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let body = move || {
            while let Ok(job) = queue.recv() {
                job(&mut *session);
            }
        };
        let thread = thread::Builder::new().name(name.to_owned());
        thread.spawn(body).map_err(|error| Trouble::said(format!("a thread for the connection: {error}")))?;
        Ok(Asked { jobs })
    }

    /// Runs the job, and blocks this thread until it is done.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Engine) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let (answer, answered) = mpsc::sync_channel(1);
        let gone = || Trouble::said("the thread of the connection has ended");
        let job: Job = Box::new(move |session| {
            // This fails only if the caller's thread is ending.
            let _ = answer.send(job(session));
        });
        self.jobs.send(job).map_err(|_| gone())?;
        // Every operation of a session is bounded; after a panic, the sender is dropped.
        answered.recv().map_err(|_| gone())?
    }
}

/// The address of this machine on the route to another. No packet is sent: the system only selects the route.
pub(super) fn way_to(there: SocketAddr) -> Option<IpAddr> {
    let from = if there.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(there).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
