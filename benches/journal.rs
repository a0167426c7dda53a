//! What it costs to make records durable, beside a bare sync of 64 KiB in a file that was filled before, in the same run
//! and folder: `JOURNAL_FOLDER`, or one for temporary files. Figures of a disk in memory mean nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use expressway::journal::block::Batch;
use expressway::journal::{
    Disk, Folder, Journal, Log, LogJournal, Lsn, Options, Record, Refused, Room, SyncMode, open,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RECORD_BYTES: usize = 300;

/// Times of blocks or waits, and their quantiles.
struct Times {
    each: Vec<Duration>,
    records: u64,
    whole: Duration,
}

impl Times {
    fn row(&mut self, mode: SyncMode, what: &str) {
        self.each.sort_unstable();
        let at = |share: f64| {
            let n = ((self.each.len() - 1) as f64 * share) as usize;
            self.each[n].as_secs_f64() * 1e3
        };
        let rate = self.records as f64 / self.whole.as_secs_f64();
        println!("| {what} | {mode:?} | {rate:.0} | {:.3} | {:.3} |", at(0.5), at(0.99));
    }
}

/// Repeats something until the time is over; how many records each did.
fn repeat(budget: Duration, mut once: impl FnMut() -> u64) -> Times {
    let (begin, mut times) = (Instant::now(), Times { each: Vec::new(), records: 0, whole: Duration::ZERO });
    while begin.elapsed() < budget || times.each.is_empty() {
        let start = Instant::now();
        times.records += once();
        times.each.push(start.elapsed());
    }
    times.whole = begin.elapsed();
    times
}

fn folder(base: &Path, name: &str) -> PathBuf {
    let path = base.join(name);
    std::fs::create_dir_all(&path).expect("a folder");
    path
}

/// A write and a sync of 64 KiB, over and over in a file that has its bytes.
fn bare(base: &Path, mode: SyncMode, budget: Duration) -> Option<Times> {
    let disk = Folder::at(folder(base, &format!("bare-{mode:?}")), mode);
    let file = disk.create("file").ok()?;
    let mut batch = Batch::with_capacity(60 << 10);
    batch.push(Record { kind: 0, partition: 0, bytes: &[1; 60 << 10] });
    let block = seal(&mut batch);
    let size = 64 << 10;
    for n in 0..256 {
        assert_eq!(file.write_at(block, n * size).expect("room"), size as usize);
    }
    file.sync().expect("a disk");
    let mut n = 0;
    Some(repeat(budget, || {
        n = (n + 1) % 256;
        assert_eq!(file.write_at(block, n * size).expect("room"), size as usize);
        file.sync().expect("a disk");
        1
    }))
}

fn seal(batch: &mut Batch) -> &[u8] {
    use expressway::journal::{BlockKind, Header};
    batch.seal(&mut Header {
        kind: BlockKind::Records,
        journal: 0,
        lsn: Lsn(1),
        generation: 0,
        epoch: 0,
        trimmed: Lsn(0),
        body_bytes: 0,
        records: 0,
        previous: 0,
        partition: 0,
        body_crc: 0,
        crc: 0,
    })
}

/// Blocks of so many records, one after the other, on one thread: the log alone.
fn blocks(base: &Path, mode: SyncMode, records: u64, budget: Duration) -> Times {
    let disk = std::sync::Arc::new(Folder::at(folder(base, &format!("log-{mode:?}-{records}")), mode));
    let options = Options { segment_bytes: 64 << 20, disk_free_bytes_min: 0, ..Options::default() };
    let (mut log, _) = Log::open(disk, options, 1).expect("a journal");
    for _ in 0..options.spare_segments {
        let spare = log.plan().carry_out().expect("room");
        log.add_spare(spare);
    }
    let mut batch = Batch::with_capacity(1 << 20);
    let bytes = [7; RECORD_BYTES];
    repeat(budget, || {
        batch.clear();
        for n in 0..records {
            batch.push(Record { kind: 1, partition: (n % 64) as u16, bytes: &bytes });
        }
        // A hundred blocks are kept.
        let trim = Lsn(log.durable().0.saturating_sub(100));
        log.commit(&mut batch, trim).expect("a disk");
        records
    })
}

/// So many records in flight through the threads: appended, then waited for, then the next.
fn threads(base: &Path, mode: SyncMode, in_flight: u64, budget: Duration) -> Times {
    let path = folder(base, &format!("threads-{mode:?}-{in_flight}"));
    let options = Options { segment_bytes: 64 << 20, disk_free_bytes_min: 0, ..Options::default() };
    let (journal, _): (LogJournal, _) =
        open(&path, mode, options, Vec::new(), &mut |_| ()).expect("a journal");
    journal.make_room().expect("room");
    let bytes = [7; RECORD_BYTES];
    repeat(budget, || {
        let mut last = Lsn(0);
        for n in 0..in_flight {
            last = loop {
                match journal
                    .append(Record { kind: 1, partition: (n % 64) as u16, bytes: &bytes }, Room::Ordinary)
                {
                    Ok(lsn) => break lsn,
                    Err(Refused::Busy) => journal.make_room().expect("room"),
                    Err(error) => panic!("{error}"),
                }
            };
        }
        journal.wait(last).expect("a disk");
        journal.trim(Lsn(last.0.saturating_sub(100)));
        in_flight
    })
}

fn main() {
    let is_test = std::env::args().any(|arg| arg == "--test");
    let budget = Duration::from_millis(if is_test { 20 } else { 3_000 });
    let place = std::env::var_os("JOURNAL_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
    let base = place.join(format!("expressway-bench-journal-{}", std::process::id()));
    println!("| {RECORD_BYTES}-byte records | sync | records/s | p50 ms | p99 ms |\n|---|---|--:|--:|--:|");
    for mode in [SyncMode::Data, SyncMode::Direct] {
        match bare(&base, mode, budget) {
            Some(mut times) => times.row(mode, "a bare 64 KiB, written and synced"),
            None => {
                println!("| not on this file system | {mode:?} | | | |");
                continue;
            }
        }
        for records in [1, 64, 256, 1_024] {
            blocks(&base, mode, records, budget).row(mode, &format!("log, {records} a block"));
        }
        for in_flight in [1, 64, 1_024] {
            threads(&base, mode, in_flight, budget)
                .row(mode, &format!("journal with its threads, {in_flight} in flight"));
        }
    }
    std::fs::remove_dir_all(base).expect("the folder");
}
