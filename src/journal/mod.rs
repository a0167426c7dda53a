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
mod contract;
pub mod delta;
pub mod disk;
mod error;
mod folder;
pub mod log;
mod lsn;
pub mod model;
mod partition;
mod queue;
pub mod scan;
mod segment;
pub mod spill;
mod stats;
mod writer;

pub use block::{Block, BlockKind, Header, Record};
pub use contract::{Journal, Ownership, Partitions, Room};
pub use disk::{Disk, DiskFile, Folder, SyncMode};
pub use error::{Failure, JournalError, Refused};
pub use folder::{FolderLock, copy, open, open_disk};
pub use log::{Log, Options};
pub use lsn::Lsn;
#[cfg_attr(not(feature = "clustered"), allow(unused_imports))]
pub(crate) use partition::{hash, partition_of};
pub use scan::{Report, scan};
pub use spill::{SpillFile, Spilled};
pub use stats::{Stats, Watcher};
pub use writer::LogJournal;
