//! The journal: a log of blocks that are durable before anyone is told so. It knows bytes and sequence numbers; what the
//! records mean belongs to whoever appends them. Nothing above it knows files.
//!
//! The runtime keeps durable executions in it, see its `durable` module.
//!
//! # How it works
//!
//! 1. **A block is one group commit** ([`block`]): records that came while the block before was on its way to the disk,
//!    at most 1,024 or 1 MiB. No timer gathers them. [`Journal::append`] tells at once which block a record is in, by its
//!    sequence number ([`Lsn`]); effects of the record are held until that number is durable.
//! 2. **One block at a time.** Block n + 1 is written when n is durable, so that a crash can tear the last one only.
//! 3. **Blocks stand in segments**: files that were filled with zeros and synced before their first use, because a file
//!    that grows costs twice the time for each sync (measured: 64 KiB in 0.41 ms growing, 0.21 ms zeroed). A block begins
//!    at a multiple of 4,096 bytes, and never stands in two segments.
//! 4. **Segments are used again** once all their blocks are behind the mark that [`Journal::trim`] moves, and once a durable
//!    block tells the mark. Each use has a higher generation, which each of its blocks tells, so that what is left of an
//!    earlier use is known for what it is.
//! 5. **The chain**: a block tells its own number, and the checksum of the block before. Names and order of files mean
//!    nothing.
//! 6. **Recovery** ([`scan()`]) takes the longest chain that ends with the highest number. A block that is not whole, with
//!    nothing behind it, was torn: nothing of it was released, so it is dropped, and the report says so. Anything else is
//!    refused with file and offset: a hole in the chain, or a block two numbers or more behind its end, which proves that
//!    one before it was durable.
//! 7. **An owner begins with an epoch block**, one epoch above the last. From then on all that was recovered has a
//!    block behind it, and damage to it is seen. An owner that ends as it should leaves a seal, for the same reason. (After a crash
//!    the very last block cannot be told from a torn one if it was damaged before the next start.) Before the epoch block, the
//!    last block is written once more: it may have been read from a cache whose sync failed.
//! 8. **A failed write or sync ends the journal for good** ([`Failure`]); it is never tried again, because the system may
//!    have forgotten what it could not write. The process ends, and recovers when it starts.
//! 9. **Room is made before it is needed**: spare segments are there beforehand, and no record is accepted that those
//!    would not hold. [`Room::Ordinary`] stops before a reserve, which [`Room::Reserve`] may use, for what has to finish.
//!    When the disk has room again, or segments are trimmed, it goes on.
//!
//! All I/O goes through [`Disk`], so that [`model`] can lose what was not synced. A folder belongs to one process
//! ([`Ownership`]). The same blocks in a table of PostgreSQL are a second implementation of [`Journal`]: `postgres`.

mod batches;
pub mod block;
pub mod delta;
pub mod disk;
mod folder;
pub mod log;
pub mod model;
#[cfg(feature = "postgres")]
pub mod postgres;
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

/// The sequence number of a block: 1, 2, 3 and so on. 0 stands before all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The number that follows.
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
    /// Appends a record; the number of the block it is in. It is not durable yet.
    fn append(&self, record: Record<'_>, room: Room) -> Result<Lsn, Refused>;
    /// The same, by someone who [announces](Journal::announce) it: it need not be written before that.
    fn append_quietly(&self, record: Record<'_>, room: Room) -> Result<Lsn, Refused>;
    /// Has written what was appended quietly.
    fn announce(&self);
    /// The number up to which all is durable.
    fn durable(&self) -> Result<Lsn, Failure>;
    /// Blocks the thread until a number is durable.
    fn wait(&self, lsn: Lsn) -> Result<(), Failure>;
    /// Blocks before this one are not needed any more.
    fn trim(&self, before: Lsn);
    /// Bytes that a record may have.
    fn record_bytes_max(&self) -> usize;
    /// How it does.
    fn stats(&self) -> Stats;
    /// Ends the journal if it is not where it was: what is written then is seen by nobody who starts later.
    fn check(&self);
    /// Writes what was appended, ends, and lets others have it, where that should not wait for the end of the process. Nothing
    /// is appended any more.
    fn finish(&self) {}
    /// Reads durable blocks, in order, from a number on; those that are trimmed may be missing.
    fn read(&self, from: Lsn, visit: &mut dyn FnMut(&Block<'_>)) -> Result<(), JournalError>;
}

/// Who may write. What makes it safe is in the append (the lock of a folder, the owner's row, the expected sequence), not
/// in the time of a lease.
pub trait Ownership: Send + Sync {
    /// Takes a log, or says who has it.
    fn claim(&mut self) -> Result<(), JournalError>;
    /// Tells that the owner lives; an error when the log is another's by now.
    fn renew(&mut self) -> Result<(), JournalError>;
    /// Gives it back.
    fn release(&mut self);
}

/// What a record may use when room is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// All but the reserve: what begins something.
    Ordinary,
    /// The reserve too: what ends something.
    Reserve,
}

/// Why a record was not appended. Nothing of it will be in the journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No new segment can be made.
    #[error("the journal is full: {0}")]
    Full(String),
    /// The database that the journal is in does not answer, or refuses. What was appended before waits, and is written when
    /// it does.
    #[error("the journal's database is away: {0}")]
    Away(String),
    /// The disk is behind; soon it will do.
    #[error("the journal's disk is behind with what was appended before")]
    Busy,
    /// A record is larger than it may be.
    #[error("a record of {bytes} bytes is larger than the {bytes_max} that one may have")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
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
    /// What the system said.
    pub error: String,
}

/// Why a journal cannot be opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// What is there is not what was written. It is not mended, because that would lose what was durable.
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
    /// Another process has it.
    #[error("{0} is in use by another process: one journal belongs to one process")]
    Held(String),
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
