//! What every journal does, in files or in a database.

use std::sync::atomic::AtomicBool;

use super::block::{Block, Record};
use super::error::{Failure, JournalError, Refused};
use super::lsn::Lsn;
use super::stats::Stats;

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
    /// Ends the journal if its files were moved, unless they may be by then: later starts would not see what is written
    /// to them.
    fn check(&self, they_may: &AtomicBool);
    /// Writes what was appended, ends, and releases the ownership, if that should not wait for the end of the process.
    /// No more is appended.
    fn finish(&self) {}
    /// Reads durable blocks, in order, from a number on; trimmed ones may be missing.
    fn read(&self, from: Lsn, visit: &mut dyn FnMut(&Block<'_>)) -> Result<(), JournalError>;
    /// Its partitions, if they come and go.
    fn partitions(&self) -> Option<&dyn Partitions> {
        None
    }
}

/// The partitions of a journal, which may each be taken from another process, and released to one.
pub trait Partitions: Send + Sync {
    /// Claims a partition, unless another living process owns it, visits its blocks, and begins a new epoch, which is
    /// returned. A partition that cannot be read is released.
    fn open(&self, partition: u16, visit: &mut dyn FnMut(&Block<'_>)) -> Result<Option<u64>, JournalError>;
    /// Makes a partition's records durable and seals it. No more records of it may be appended meanwhile.
    fn close(&self, partition: u16) -> Result<(), Failure>;
    /// Ends the journal, because another process has taken a partition.
    fn lose(&self, why: String);
    /// A secret that all processes know.
    fn secret(&self) -> u128;
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
