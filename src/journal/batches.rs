//! Blocks that are being filled: the last one is open, and the writer takes the first.

use std::collections::VecDeque;

use super::block::{Batch, HEADER_BYTES, RECORD_HEADER_BYTES, Record, padded};
use super::{Lsn, Options, Refused};

/// Batches whose memory is kept for reuse.
const KEPT_BATCHES: usize = 4;

/// Batches in the order of their numbers.
pub(super) struct Batches {
    batches: VecDeque<Batch>,
    kept: Vec<Batch>,
    /// Bytes of batches that are reused.
    standard: usize,
    /// The number of the next batch.
    next: Lsn,
    /// Bytes of blocks that are not written yet, including the one being written.
    pub(super) waiting_bytes: u64,
}

impl Batches {
    pub(super) fn new(next: Lsn, options: &Options) -> Batches {
        let standard = options.block_bytes_max.saturating_sub(HEADER_BYTES);
        Batches { batches: VecDeque::new(), kept: Vec::new(), standard, next, waiting_bytes: 0 }
    }

    /// The number of the next batch.
    pub(super) fn next(&self) -> Lsn {
        self.next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    fn open(&self, bytes: usize, options: &Options) -> Option<&Batch> {
        self.batches.back().filter(|it| it.records() < options.block_records_max && it.fits(bytes))
    }

    /// The growth of blocks by one more record of so many bytes.
    pub(super) fn growth(&self, bytes: usize, options: &Options) -> u64 {
        let open = self.open(bytes, options);
        let before = open.map_or(0, |it| it.block_bytes());
        let after = open.map_or(HEADER_BYTES + RECORD_HEADER_BYTES + bytes, |it| it.bytes_with(bytes));
        (padded(after) - before) as u64
    }

    /// Puts a record into the open batch, or begins one; the number of its block.
    pub(super) fn push(&mut self, record: Record<'_>, options: &Options) -> Lsn {
        let bytes = record.bytes.len();
        self.waiting_bytes += self.growth(bytes, options);
        if self.open(bytes, options).is_none() {
            let batch = if bytes + RECORD_HEADER_BYTES <= self.standard {
                self.kept.pop().unwrap_or_else(|| Batch::with_capacity(self.standard))
            } else {
                Batch::with_capacity(bytes + RECORD_HEADER_BYTES)
            };
            self.batches.push_back(batch);
            self.next = self.next.next();
        }
        self.batches.back_mut().expect("one is open").push(record);
        Lsn(self.next.0 - 1)
    }

    /// The first batch; no more records are added to it.
    pub(super) fn take(&mut self) -> Option<Batch> {
        self.batches.pop_front()
    }

    /// An empty batch, for a block that has a header only.
    pub(super) fn begin_empty(&mut self) -> Batch {
        self.next = self.next.next();
        Batch::with_capacity(0)
    }

    /// A batch was written. Its memory may be reused.
    pub(super) fn written(&mut self, mut batch: Batch, bytes: u64) {
        self.waiting_bytes -= bytes;
        if self.kept.len() < KEPT_BATCHES && batch.has_capacity(self.standard) {
            batch.clear();
            self.kept.push(batch);
        }
    }
}

/// Refuses a record that is too large, or not of this journal, which is an error of the caller.
pub(super) fn check(record: &Record<'_>, options: &Options) -> Result<(), Refused> {
    let (bytes, bytes_max) = (record.bytes.len(), options.record_bytes_max());
    if bytes > bytes_max {
        return Err(Refused::TooLarge { bytes, bytes_max });
    }
    let is_ours = options.partition.is_none_or(|it| it == record.partition);
    assert!(is_ours && record.partition < crate::limits::JOURNAL_PARTITIONS, "a record of this journal");
    Ok(())
}
