//! A log on one thread: recovers, writes one block after the other, reuses segments.

use crate::os;
use std::collections::VecDeque;
use std::sync::Arc;

use super::block::{
    ALIGNMENT, Batch, Block, BlockKind, HEADER_BYTES, Header, RECORD_HEADER_BYTES, SHARED, padded,
};
use super::disk::{Disk, write_all};
use super::segment::{self, Plan, Segment};
use super::{Failure, JournalError, Lsn, Report, scan};
use crate::limits::{
    JOURNAL_BLOCK_BYTES_MAX, JOURNAL_BLOCK_RECORDS_MAX, JOURNAL_PARTITIONS, JOURNAL_QUEUE_BYTES_MAX,
    JOURNAL_RECORD_BYTES_MAX, JOURNAL_SEGMENT_BYTES, JOURNAL_SEGMENT_BYTES_MAX, JOURNAL_SEGMENT_BYTES_MIN,
};

/// Room that is always kept for blocks of one page: epochs, marks, a seal.
const OWN_BYTES: u64 = 4 * ALIGNMENT as u64;

/// Settings of a journal.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of a new segment: a multiple of 4,096.
    pub segment_bytes: u64,
    /// Spare segments that are made in advance, at least one.
    pub spare_segments: usize,
    /// Records of one block.
    pub block_records_max: usize,
    /// Bytes of one block, unless a single record has more.
    pub block_bytes_max: usize,
    /// Bytes of blocks that wait for the disk.
    pub queue_bytes_max: u64,
    /// Bytes of the disk that stay free in any case: no segment uses them.
    pub disk_free_bytes_min: u64,
    /// The largest record in bytes; a quarter of a segment is another limit.
    pub record_bytes_max: usize,
    /// The partition of all records; `None` when each has its own.
    pub partition: Option<u16>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: JOURNAL_SEGMENT_BYTES,
            spare_segments: 2,
            block_records_max: JOURNAL_BLOCK_RECORDS_MAX,
            block_bytes_max: JOURNAL_BLOCK_BYTES_MAX,
            queue_bytes_max: JOURNAL_QUEUE_BYTES_MAX,
            disk_free_bytes_min: JOURNAL_SEGMENT_BYTES,
            record_bytes_max: JOURNAL_RECORD_BYTES_MAX,
            partition: None,
        }
    }
}

impl Options {
    /// Bytes that a record may have.
    pub fn record_bytes_max(&self) -> usize {
        let quarter = (self.segment_bytes / 4) as usize - HEADER_BYTES - RECORD_HEADER_BYTES;
        self.record_bytes_max.min(quarter)
    }

    /// Bytes of the largest block. So many may be unused at the end of a segment.
    pub(super) fn block_bytes_limit(&self) -> u64 {
        let of_one_record = HEADER_BYTES + RECORD_HEADER_BYTES + self.record_bytes_max();
        padded(of_one_record.max(HEADER_BYTES + self.block_bytes_max)) as u64
    }

    /// Bytes reserved for what has to finish.
    pub(super) fn reserve_bytes(&self) -> u64 {
        // With all spare segments, the largest block is accepted besides: a block is at most a quarter of a segment.
        (self.segment_bytes - self.block_bytes_limit()) / 2 - OWN_BYTES
    }

    fn check(&self) -> Result<(), JournalError> {
        let sizes = JOURNAL_SEGMENT_BYTES_MIN..=JOURNAL_SEGMENT_BYTES_MAX;
        let is_segment =
            sizes.contains(&self.segment_bytes) && self.segment_bytes.is_multiple_of(ALIGNMENT as u64);
        let wrong = match () {
            _ if !is_segment => "segments have 64 KiB to 1 GiB, in whole pages of 4,096 bytes",
            _ if self.spare_segments == 0 => "at least one spare segment is needed",
            _ if self.block_records_max == 0 => "a block has at least one record",
            _ if self.block_bytes_max as u64 > self.segment_bytes / 4 => {
                "a block has at most a quarter of a segment"
            }
            _ if self.partition.is_some_and(|it| it >= JOURNAL_PARTITIONS) => "partitions are 0 to 63",
            () => return Ok(()),
        };
        Err(JournalError::Options(wrong))
    }
}

/// A segment whose blocks may still be needed.
struct Full {
    segment: Segment,
    last: Lsn,
}

/// A log that is open for writing, on its owner's thread.
pub struct Log {
    disk: Arc<dyn Disk>,
    options: Options,
    journal: u64,
    epoch: u64,
    generation: u64,
    last: Lsn,
    last_crc: u32,
    /// The mark in the last durable block.
    trimmed: Lsn,
    current: Option<Segment>,
    offset: u64,
    full: VecDeque<Full>,
    spares: VecDeque<Segment>,
    surplus: Vec<String>,
    number: u64,
    failure: Option<Failure>,
}

impl Log {
    /// Recovers a disk, and begins a new epoch. A new journal gets the given identity; it should be random. The caller
    /// must own the disk.
    pub fn open(disk: Arc<dyn Disk>, options: Options, identity: u64) -> Result<(Log, Report), JournalError> {
        options.check()?;
        let report = scan(&*disk)?;
        let mut log = Log {
            epoch: report.epoch + 1,
            generation: report.generation,
            last: report.last,
            last_crc: report.last_crc,
            trimmed: report.trimmed,
            ..Log::empty(disk, options, report.journal.unwrap_or(identity))
        };
        log.take_over(&report)?;
        log.clean()?;
        let room = log.current.as_ref().map_or(0, |it| it.bytes - log.offset);
        if room < ALIGNMENT as u64 && log.spares.is_empty() {
            let spare = log
                .plan()
                .carry_out()
                .map_err(JournalError::io("making the first segment of the journal"))?;
            log.spares.push_back(spare);
        }
        log.write(&mut Batch::with_capacity(0), BlockKind::Epoch, report.trimmed)?;
        Ok((log, report))
    }

    /// Nothing is written, and no segment is open.
    fn empty(disk: Arc<dyn Disk>, options: Options, journal: u64) -> Log {
        Log {
            disk,
            options,
            journal,
            epoch: 0,
            generation: 0,
            last: Lsn(0),
            last_crc: 0,
            trimmed: Lsn(0),
            current: None,
            offset: 0,
            full: VecDeque::new(),
            spares: VecDeque::new(),
            surplus: Vec::new(),
            number: 0,
            failure: None,
        }
    }

    /// Opens the segments that were found, and writes the last block once more: it may only be in a cache whose sync
    /// has failed.
    fn take_over(&mut self, report: &Report) -> Result<(), JournalError> {
        for found in &report.segments {
            let number = segment::number(&found.name).expect("only segments are found");
            self.number = self.number.max(number + 1);
            let open =
                || self.disk.open(&found.name).map_err(JournalError::io(self.disk.describe(&found.name)));
            let Some(run) = found.run else {
                self.surplus.push(found.name.clone());
                continue;
            };
            let is_tail = found.is_live && run.last.lsn == self.last;
            if !is_tail && (!found.is_live || run.last.lsn < self.trimmed) {
                if found.bytes == self.options.segment_bytes
                    && self.spares.len() < self.options.spare_segments
                {
                    let segment = Segment { name: found.name.clone(), file: open()?, bytes: found.bytes };
                    self.spares.push_back(segment);
                } else {
                    self.surplus.push(found.name.clone())
                }
                continue;
            }
            let segment = Segment { name: found.name.clone(), file: open()?, bytes: found.bytes };
            if !is_tail {
                self.full.push_back(Full { segment, last: run.last.lsn });
                continue;
            }
            let block = scan::last_block(&*self.disk, found)?;
            let mut copy = Batch::with_capacity(block.len());
            let written = write_all(&*segment.file, copy.copy(&block), run.last_offset);
            written
                .and_then(|()| segment.file.sync())
                .map_err(JournalError::io(self.disk.describe(&found.name)))?;
            (self.current, self.offset) = (Some(segment), run.end);
        }
        Ok(())
    }

    /// The number of the last durable block.
    pub fn durable(&self) -> Lsn {
        self.last
    }

    /// The mark in durable blocks.
    pub fn trimmed(&self) -> Lsn {
        self.trimmed
    }

    /// Bytes of blocks for which there is certainly room, of any sizes.
    pub fn room_bytes(&self) -> u64 {
        let limit = self.options.block_bytes_limit();
        let rest = self.current.as_ref().map_or(0, |it| (it.bytes - self.offset).saturating_sub(limit));
        let spares: u64 = self.spares.iter().map(|it| it.bytes.saturating_sub(limit)).sum();
        (rest + spares).saturating_sub(OWN_BYTES)
    }

    /// Writes the records of a batch as the next block; when it returns, the block is durable. After an error, nothing
    /// more is written.
    pub fn commit(&mut self, batch: &mut Batch, trim: Lsn) -> Result<Lsn, Failure> {
        let kind = if batch.records() == 0 { BlockKind::Mark } else { BlockKind::Records };
        self.write(batch, kind, trim)
    }

    /// Ends the log in order; whether there was room for the seal. Without one, the next start finds an end as after a
    /// crash.
    pub fn seal(mut self) -> Result<bool, Failure> {
        let trimmed = self.trimmed;
        let has_room = self.has_room(ALIGNMENT as u64);
        if has_room {
            self.write(&mut Batch::with_capacity(0), BlockKind::Seal, trimmed)?;
        }
        Ok(has_room)
    }

    /// Whether there is room for one more block of so many bytes.
    pub fn has_room(&self, bytes: u64) -> bool {
        !self.spares.is_empty() || self.current.as_ref().is_some_and(|it| it.bytes - self.offset >= bytes)
    }

    /// Whether trimming blocks before a number would free a segment.
    pub fn would_free(&self, before: Lsn) -> bool {
        self.full.front().is_some_and(|it| it.last < before)
    }

    fn write(&mut self, batch: &mut Batch, kind: BlockKind, trim: Lsn) -> Result<Lsn, Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let written = self.try_write(batch, kind, trim);
        if let Err(failure) = &written {
            self.failure = Some(failure.clone());
        }
        written
    }

    fn try_write(&mut self, batch: &mut Batch, kind: BlockKind, trim: Lsn) -> Result<Lsn, Failure> {
        let (lsn, bytes) = (self.last.next(), batch.block_bytes() as u64);
        if self.current.as_ref().is_none_or(|it| it.bytes - self.offset < bytes) {
            self.begin_segment(lsn)?;
        }
        let segment = self.current.as_ref().expect("a segment was begun");
        let mut header = Header {
            kind,
            journal: self.journal,
            lsn,
            generation: self.generation,
            epoch: self.epoch,
            trimmed: self.trimmed.max(trim.min(lsn)),
            body_bytes: 0,
            records: 0,
            previous: self.last_crc,
            partition: self.options.partition.unwrap_or(SHARED),
            body_crc: 0,
            crc: 0,
        };
        let block = batch.seal(&mut header);
        let fail = |doing, error: std::io::Error| Failure {
            lsn,
            file: self.disk.describe(&segment.name),
            doing,
            error: os::words(&error),
        };
        write_all(&*segment.file, block, self.offset).map_err(|error| fail("writing", error))?;
        segment.file.sync().map_err(|error| fail("syncing", error))?;
        self.offset += bytes;
        (self.last, self.last_crc) = (lsn, header.crc);
        self.give_up(header.trimmed);
        Ok(lsn)
    }

    /// Puts the next block at the beginning of a spare segment.
    fn begin_segment(&mut self, lsn: Lsn) -> Result<(), Failure> {
        let spare = match self.spares.pop_front() {
            Some(spare) => spare,
            None => {
                let plan = self.plan();
                let file = self.disk.describe(&plan.name);
                plan.carry_out().map_err(|error| {
                    let doing = "making a segment for";
                    Failure { lsn, file, doing, error: os::words(&error) }
                })?
            }
        };
        if let Some(segment) = self.current.replace(spare) {
            self.full.push_back(Full { segment, last: self.last });
        }
        (self.offset, self.generation) = (0, self.generation + 1);
        Ok(())
    }

    /// Frees segments that a durable block has trimmed.
    fn give_up(&mut self, trimmed: Lsn) {
        self.trimmed = trimmed;
        while self.would_free(trimmed) {
            let segment = self.full.pop_front().expect("there is one").segment;
            let is_wanted = self.spares.len() < self.options.spare_segments;
            if is_wanted && segment.bytes == self.options.segment_bytes {
                self.spares.push_back(segment)
            } else {
                self.surplus.push(segment.name)
            }
        }
    }

    /// Whether a segment should be made.
    pub fn wants_spare(&self) -> bool {
        self.spares.len() < self.options.spare_segments
    }

    /// A segment that can be made now, by any thread.
    pub fn plan(&mut self) -> Plan {
        self.number += 1;
        Plan {
            disk: self.disk.clone(),
            name: segment::name(self.number - 1),
            bytes: self.options.segment_bytes,
            free_bytes_min: self.options.disk_free_bytes_min,
        }
    }

    /// Adds a segment that was made.
    pub fn add_spare(&mut self, segment: Segment) {
        self.spares.push_back(segment);
    }

    /// Removes files that are not needed, without waiting for it.
    pub fn clean(&mut self) -> Result<(), JournalError> {
        for name in std::mem::take(&mut self.surplus) {
            self.disk.remove(&name).map_err(JournalError::io(self.disk.describe(&name)))?;
        }
        Ok(())
    }

    /// Files that are no longer needed, to be removed by any thread.
    pub(super) fn take_surplus(&mut self) -> Vec<String> {
        std::mem::take(&mut self.surplus)
    }

    /// The segments with blocks, in order.
    pub(super) fn live(&self) -> Vec<String> {
        let full = self.full.iter().map(|it| it.segment.name.clone());
        full.chain(self.current.as_ref().map(|it| it.name.clone())).collect()
    }

    /// Reads durable blocks from a number on.
    pub fn read(&self, from: Lsn, visit: &mut dyn FnMut(&Block<'_>)) -> Result<(), JournalError> {
        scan::read(&*self.disk, &self.live(), (from.max(self.trimmed).max(Lsn(1)), self.last), visit)
    }
}
