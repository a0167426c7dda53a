//! What a journal tells: its statistics, and each number that becomes durable.

use super::error::Failure;
use super::lsn::Lsn;

/// Called with each number that becomes durable, and at the end, on the writer's thread: it must not block.
pub type Watcher = Box<dyn FnMut(Result<Lsn, &Failure>) + Send>;

/// Statistics of a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blocks that were written and synced since it was opened.
    pub blocks: u64,
    /// Records in them.
    pub records: u64,
    /// Their bytes, including padding.
    pub bytes: u64,
    /// How long writing and syncing them took, in microseconds.
    pub sync_us: u64,
    /// The longest of these times.
    pub sync_us_max: u64,
    /// Bytes of blocks that wait for the disk.
    pub waiting_bytes: u64,
    /// Segments with blocks that are in use, in a folder.
    pub segments: usize,
    /// Bytes that the journal takes in storage.
    pub kept_bytes: u64,
    /// Whether its database does not answer, or refuses.
    pub is_away: bool,
}
