//! What the threads of a [journal of partitions](super::partitions) share.

use std::collections::{BTreeMap, VecDeque};

use super::super::{Lsn, queue};

pub(super) type Shared = queue::Shared<Table>;
pub(super) type Queue = queue::Queue<Table>;

/// The queue's fields for a journal of partitions.
#[derive(Default)]
pub(super) struct Table {
    pub(super) parts: BTreeMap<u16, Part>,
    pub(super) kept_bytes: u64,
    /// Set when another node has taken a partition; the reason.
    pub(super) lost: Option<String>,
    /// Why the database does not accept blocks at present.
    pub(super) away: Option<String>,
}

/// A partition of this node.
pub(super) struct Part {
    pub(super) epoch: u64,
    /// Its last block.
    pub(super) last: Lsn,
    pub(super) last_crc: u32,
    /// The mark for its next block, the one in a durable block, and the blocks that are deleted.
    pub(super) trim: Lsn,
    pub(super) trimmed: Lsn,
    pub(super) removed: Lsn,
    /// Groups in which it has blocks, with the last of them.
    pub(super) marks: VecDeque<(Lsn, Lsn)>,
    /// The group of its last record.
    pub(super) pushed: Lsn,
    pub(super) is_closing: bool,
}

impl Part {
    /// The group of a block.
    pub(super) fn group_of(&self, block: Lsn) -> Lsn {
        let at = self.marks.partition_point(|(_, last)| *last < block);
        self.marks.get(at).map_or(Lsn(u64::MAX), |(group, _)| *group)
    }
}
