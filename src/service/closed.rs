//! Executions that are over: kept for their retention period, as long as there is room.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A place in a list of executions: milliseconds since 1970, and the execution's number.
pub(crate) type Rank = (u64, u64);

/// Executions that are over, ordered by their end, and the bytes they take.
pub(super) struct Closed<E> {
    by_end: BTreeMap<Rank, (Arc<E>, usize)>,
    bytes: usize,
    bytes_max: usize,
    retention_ms: u64,
}

impl<E> Closed<E> {
    pub(super) fn new(bytes_max: usize, retention_ms: u64) -> Closed<E> {
        Closed { by_end: BTreeMap::new(), bytes: 0, bytes_max, retention_ms }
    }

    /// Adds an execution. Returns the oldest ones, for which there is no more room; the last one is always kept.
    pub(super) fn keep(&mut self, rank: Rank, execution: &Arc<E>, bytes: usize) -> Vec<Arc<E>> {
        self.by_end.insert(rank, (Arc::clone(execution), bytes));
        self.bytes += bytes;
        let mut forgotten = Vec::new();
        while self.bytes > self.bytes_max && self.by_end.len() > 1 {
            forgotten.extend(self.take_oldest());
        }
        forgotten
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_end.len()
    }

    /// The bytes that all of them take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The oldest executions that pass the filter, until no more than `kept` remain and they take no more than
    /// `kept_bytes`: at most `max` of them, and not many more bytes than `bytes_max`.
    pub(super) fn oldest_above(
        &self,
        (kept, kept_bytes): (usize, usize),
        (max, bytes_max): (usize, usize),
        filter: impl Fn(&Arc<E>) -> bool,
    ) -> Vec<Arc<E>> {
        let (mut left, mut left_bytes, mut taken_bytes) = (self.by_end.len(), self.bytes, 0);
        let mut oldest = Vec::new();
        for (execution, bytes) in self.by_end.values() {
            let is_enough = left <= kept && left_bytes <= kept_bytes;
            if is_enough || oldest.len() == max || taken_bytes > bytes_max {
                break;
            }
            if filter(execution) {
                (left, left_bytes, taken_bytes) = (left - 1, left_bytes - bytes, taken_bytes + bytes);
                oldest.push(Arc::clone(execution));
            }
        }
        oldest
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.by_end.clear();
        self.bytes = 0;
    }

    /// Removes an execution that continues. Returns whether it was there.
    pub(super) fn take(&mut self, rank: Rank) -> bool {
        let taken = self.by_end.remove(&rank);
        self.bytes -= taken.as_ref().map_or(0, |(_, bytes)| *bytes);
        taken.is_some()
    }

    /// Removes the executions whose retention period is over.
    pub(super) fn expired(&mut self, now_ms: u64) -> Vec<Arc<E>> {
        let mut expired = Vec::new();
        while self.expires_ms() <= now_ms {
            expired.extend(self.take_oldest());
        }
        expired
    }

    /// When the retention of the oldest is over.
    pub(super) fn expires_ms(&self) -> u64 {
        let oldest = self.by_end.first_key_value();
        oldest.map_or(u64::MAX, |((stopped_ms, _), _)| stopped_ms.saturating_add(self.retention_ms))
    }

    fn take_oldest(&mut self) -> Option<Arc<E>> {
        let (_, (oldest, bytes)) = self.by_end.pop_first()?;
        self.bytes -= bytes;
        Some(oldest)
    }
}
