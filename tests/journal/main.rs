//! The journal: its format, the effects of crashes and damage, its threads.

#[cfg(all(feature = "jetstream", feature = "postgres", target_os = "linux"))]
mod cluster;
mod contract;
mod crashes;
mod damage;
mod delta;
#[cfg(all(feature = "jetstream", feature = "postgres", target_os = "linux"))]
#[path = "../engines/mod.rs"]
mod engines;
mod faults;
mod format;
mod golden;
#[cfg(all(feature = "jetstream", feature = "postgres", target_os = "linux"))]
mod nats;
#[cfg(all(feature = "jetstream", feature = "postgres", target_os = "linux"))]
mod postgres;
#[path = "../required/mod.rs"]
mod required;
mod spill;
mod writer;

use std::sync::Arc;

use expressway::journal::block::Batch;
use expressway::journal::model::Model;
use expressway::journal::{Log, Lsn, Options, Record, Report, scan};

/// What a record is, so that it can be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    kind: u16,
    partition: u16,
    bytes: Vec<u8>,
}

impl Kept {
    fn of(record: Record<'_>) -> Kept {
        Kept { kind: record.kind, partition: record.partition, bytes: record.bytes.to_vec() }
    }

    fn record(&self) -> Record<'_> {
        Record { kind: self.kind, partition: self.partition, bytes: &self.bytes }
    }
}

/// Segments so small that a few blocks fill them.
fn small() -> Options {
    Options {
        segment_bytes: 64 << 10,
        spare_segments: 1,
        block_records_max: 8,
        block_bytes_max: 16 << 10,
        queue_bytes_max: 256 << 10,
        disk_free_bytes_min: 0,
        partition: None,
        ..Options::default()
    }
}

const IDENTITY: u64 = 0x1234_5678_9abc_def0;

fn open(disk: &Model) -> (Log, Report) {
    Log::open(Arc::new(disk.clone()), small(), IDENTITY).expect("a journal")
}

fn commit(log: &mut Log, records: &[Kept], trim: Lsn) -> Lsn {
    let mut batch = Batch::with_capacity(16 << 10);
    for record in records {
        batch.push(record.record());
    }
    log.commit(&mut batch, trim).expect("the disk is whole")
}

/// All blocks that are not given up: numbers and records.
/// Blocks by their number, and the records of each.
type Blocks = Vec<(Lsn, Vec<Kept>)>;

fn blocks(disk: &Model) -> Result<(Report, Blocks), expressway::journal::JournalError> {
    let report = scan(disk)?;
    let mut found = Vec::new();
    report
        .read(disk, &mut |block| found.push((block.header.lsn, block.records().map(Kept::of).collect())))?;
    Ok((report, found))
}
