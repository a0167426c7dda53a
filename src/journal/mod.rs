//! The journal: a log of blocks that are durable before their records take effect. It only handles bytes and sequence
//! numbers; the meaning of records is defined by the code that appends them. Files are only known here.
//!
//! The runtime keeps durable executions in it, see its `durable` module.
//!
//! # How it works
//!
//! 1. **A block is one group commit** ([`block`]): records that were appended while the block before was being written,
//!    at most 1,024 or 1 MiB. No timer collects them. [`Journal::append`] returns at once the number ([`Lsn`]) of the
//!    record's block; effects of the record are held until that number is durable.
//! 2. **One block at a time.** Block n + 1 is written when n is durable, so that a crash can tear the last one only.
//! 3. **Blocks are stored in segments**: files that were filled with zeros and synced before their first use, because a
//!    file that grows costs twice the time for each sync (measured: 64 KiB in 0.41 ms growing, 0.21 ms zeroed). A block
//!    begins at a multiple of 4,096 bytes, and is never split between segments.
//! 4. **Segments are reused** once all their blocks are behind the mark that [`Journal::trim`] moves, and once a
//!    durable block has the mark. Each use has a higher generation, which is in each of its blocks, so that remains of
//!    an earlier use are recognized.
//! 5. **The chain**: a block has its own number, and the checksum of the block before. Names and order of files have no
//!    meaning.
//! 6. **Recovery** ([`scan()`]) takes the longest chain that ends with the highest number. An incomplete block, with
//!    nothing behind it, was torn: none of its effects were released, so it is dropped, and the report notes it.
//!    Anything else is refused with file and offset: a hole in the chain, or a block two numbers or more behind its
//!    end, which proves that one before it was durable.
//! 7. **An owner begins with an epoch block**, one epoch above the last. From then on all recovered blocks have a block
//!    behind them, and damage to them is detected. An owner that ends in order leaves a seal, for the same reason.
//!    (After a crash the very last block cannot be told from a torn one if it was damaged before the next start.)
//!    Before the epoch block, the last block is written once more: it may have been read from a cache whose sync
//!    failed.
//! 8. **A failed write or sync ends the journal for good** ([`Failure`]); it is never retried, because the system may
//!    have dropped what it could not write. The process ends, and recovers when it starts.
//! 9. **Room is made before it is needed**: spare segments are made in advance, and records that would not fit into
//!    them are refused. [`Room::Ordinary`] stops before a reserve, which [`Room::Reserve`] may use, for what has to
//!    finish. When the disk has room again, or segments are trimmed, it continues.
//!
//! All I/O goes through [`Disk`], so that [`model`] can lose what was not synced. A folder belongs to one process
//! ([`Ownership`]). The same blocks in PostgreSQL or NATS JetStream are a second implementation of [`Journal`]:
//! `cluster`.

mod batches;
pub mod block;
#[cfg(feature = "clustered")]
pub mod cluster;
pub mod delta;
pub mod disk;
mod folder;
pub mod log;
pub mod model;
mod queue;
pub mod scan;
mod segment;
pub mod spill;
mod writer;

use std::fmt;
use std::io;

pub use block::{Block, BlockKind, Header, Record};
pub use disk::{Disk, DiskFile, Folder, SyncMode};
pub use folder::{FolderLock, copy, open, open_disk};
pub use log::{Log, Options};
pub use scan::{Report, scan};
pub use spill::{SpillFile, Spilled};
pub use writer::{LogJournal, Stats, Watcher};

/// The sequence number of a block: 1, 2, 3 and so on. 0 is before all blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The next number.
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A log of blocks.
pub trait Journal: Send + Sync {
    /// Appends a record; returns the number of its block. It is not durable yet.
    fn append(&self, record: Record<'_>, room: Room) -> Result<Lsn, Refused>;
    /// The same, for a caller that [announces](Journal::announce) it: it need not be written before that.
    fn append_quietly(&self, record: Record<'_>, room: Room) -> Result<Lsn, Refused>;
    /// Wakes the writer for what was appended quietly.
    fn announce(&self);
    /// The number up to which all blocks are durable.
    fn durable(&self) -> Result<Lsn, Failure>;
    /// Blocks the thread until a number is durable.
    fn wait(&self, lsn: Lsn) -> Result<(), Failure>;
    /// Blocks before this one are no longer needed.
    fn trim(&self, before: Lsn);
    /// Bytes that a record may have.
    fn record_bytes_max(&self) -> usize;
    /// Its statistics.
    fn stats(&self) -> Stats;
    /// Ends the journal if its files were moved: later starts would not see what is written to them.
    fn check(&self);
    /// Writes what was appended, ends, and releases the ownership, if that should not wait for the end of the process.
    /// No more is appended.
    fn finish(&self) {}
    /// Reads durable blocks, in order, from a number on; trimmed ones may be missing.
    fn read(&self, from: Lsn, visit: &mut dyn FnMut(&Block<'_>)) -> Result<(), JournalError>;
}

/// Write ownership. It is enforced when appending (by the lock of a folder, the owner's row, the expected sequence),
/// not by the time of a lease.
pub trait Ownership: Send + Sync {
    /// Claims a log, or reports its owner.
    fn claim(&mut self) -> Result<(), JournalError>;
    /// Renews the ownership; an error when another owner has the log by now.
    fn renew(&mut self) -> Result<(), JournalError>;
    /// Releases it.
    fn release(&mut self);
}

/// Which room a record may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// All but the reserve: for what begins something.
    Ordinary,
    /// Also the reserve: for what ends something.
    Reserve,
}

/// Why a record was not appended. It will not be in the journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No new segment can be made.
    #[error("the journal is full: {0}")]
    Full(String),
    /// The journal's database does not answer, or refuses. Earlier records wait, and are written when it works again.
    #[error("the journal's database is away: {0}")]
    Away(String),
    /// The disk is behind: retry soon.
    #[error("the journal's disk is behind with what was appended before")]
    Busy,
    /// A record is too large.
    #[error("a record of {bytes} bytes is larger than the {bytes_max} that one may have")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The journal has ended.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// The end of a journal: what was not durable by then may be lost, and nothing more is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal has ended, because {doing} block {lsn} in {file} failed: {error}. \
     It is not tried again: the process has to end, and to recover when it starts"
)]
pub struct Failure {
    /// The block that is in doubt.
    pub lsn: Lsn,
    /// The file it was to be in.
    pub file: String,
    /// Writing or syncing.
    pub doing: &'static str,
    /// The system's error.
    pub error: String,
}

/// Why a journal cannot be opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// An error of the system.
    #[error("{what}: {}", crate::os::words(source))]
    Io {
        /// What was attempted.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// The content is not what was written. It is not repaired, because that would lose durable records.
    #[error("the journal is damaged: {file}, offset {offset}: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A newer release has written it.
    #[error(
        "{file}, offset {offset}, is in version {version} of the journal's format; this release reads up to {}",
        block::VERSION
    )]
    Newer {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// The version found.
        version: u16,
    },
    /// Another process owns it.
    #[error("{0} is in use by another process: one journal belongs to one process")]
    Held(String),
    /// The engine cannot hold a journal, because its acknowledged writes are not durable, for example.
    #[error("{0}")]
    Unfit(String),
    /// An option is out of its range.
    #[error("{0}")]
    Options(&'static str),
    /// The disk failed while it was opened.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl JournalError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> JournalError {
        |source| JournalError::Io { what: what.into(), source }
    }
}
