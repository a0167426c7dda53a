//! Crashes on the model disk: after any loss, the recovered blocks are the durable ones, and at most the one being
//! written.
//!
//! `JOURNAL_CRASHES` is their number, `JOURNAL_SEED` the first seed; a failure prints its seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use expressway::journal::block::Batch;
use expressway::journal::model::{Fault, Model};
use expressway::journal::{BlockKind, Header, JournalError, Log, Lsn};

use super::required::some_of;
use super::{IDENTITY, Kept, blocks, small};

/// What must be recovered after any failure of the disk.
#[derive(Default)]
struct Oracle {
    /// Durable blocks.
    durable: BTreeMap<Lsn, Vec<Kept>>,
    last: Lsn,
    /// The blocks that were being written at the last crash.
    in_doubt: Vec<(Lsn, Vec<Kept>)>,
    trim: Lsn,
    crashes: u64,
}

impl Oracle {
    /// Compares the disk with what has to be there. What was in doubt and is there is durable from now on, unless it may
    /// be in a cache only.
    fn check(&mut self, disk: &Model, is_durable: bool) {
        let (report, found) = blocks(disk).expect("a crash damages nothing");
        assert!(report.last >= self.last, "block {} was durable, {} is the last", self.last, report.last);
        assert!(report.trimmed <= self.trim && report.first <= report.trimmed.max(Lsn(1)));
        let mut expected = report.trimmed.max(Lsn(1));
        for (lsn, records) in found {
            assert_eq!(lsn, expected, "one block after the other");
            expected = expected.next();
            match self.durable.get(&lsn) {
                Some(durable) => assert_eq!(&records, durable, "block {lsn}"),
                None => {
                    let is_known = self.in_doubt.iter().any(|it| it == &(lsn, records.clone()));
                    assert!(is_known, "block {lsn} was never written");
                    if is_durable {
                        self.durable.insert(lsn, records);
                    }
                }
            }
        }
        assert_eq!(expected, report.last.next());
        if is_durable {
            self.last = report.last;
            self.in_doubt.clear();
        }
    }

    fn open(&mut self, disk: &Model) -> Option<Log> {
        // Epochs, of this owner and of those before it that did not get far.
        self.in_doubt.extend((1..8).map(|n| (Lsn(self.last.0 + n), Vec::new())));
        match Log::open(Arc::new(disk.clone()), small(), IDENTITY) {
            Ok((log, report)) => {
                assert_eq!(log.durable(), report.last.next(), "an epoch follows what was recovered");
                self.check(disk, true);
                Some(log)
            }
            Err(JournalError::Io { .. } | JournalError::Failed(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn settle(&mut self, lsn: Lsn, records: Vec<Kept>) {
        self.durable.insert(lsn, records);
        self.last = lsn;
        self.in_doubt.clear();
    }
}

fn records(disk: &Model, lsn: Lsn) -> Vec<Kept> {
    let count = [0, 1, 1, 2, 8][disk.random(5) as usize];
    let one = |n| {
        let size = match disk.random(8) {
            0 => 0,
            1 => 1 + disk.random(12_000) as usize,
            _ => 1 + disk.random(900) as usize,
        };
        let mut bytes = vec![disk.random(256) as u8; size];
        // A record may well hold a block of this very journal, at the place of a block.
        if size > 9_000 {
            let header = old_block(lsn);
            let at = 2 * 4_096 - 80 - 8;
            bytes[at..at + 80].copy_from_slice(&header[..80]);
        }
        bytes.iter_mut().step_by(61).for_each(|it| *it = disk.random(256) as u8);
        Kept { kind: n, partition: disk.random(64) as u16, bytes }
    };
    let mut records: Vec<Kept> = (0..count).map(one).collect();
    let mut left = 15_000;
    records.retain(|it| {
        let fits = it.bytes.len() + 8 <= left;
        left -= if fits { it.bytes.len() + 8 } else { 0 };
        fits
    });
    records
}

fn old_block(lsn: Lsn) -> Vec<u8> {
    let mut header = Header {
        kind: BlockKind::Mark,
        journal: IDENTITY,
        lsn,
        generation: 1,
        epoch: 1,
        trimmed: Lsn(0),
        body_bytes: 0,
        records: 0,
        previous: 0,
        partition: 0,
        body_crc: 0,
        crc: 0,
    };
    Batch::with_capacity(0).seal(&mut header).to_vec()
}

/// Blocks, marks and new segments, until something fails or it is enough; the failure stays.
fn work(disk: &Model, oracle: &mut Oracle, mut log: Log) {
    for _ in 0..disk.random(14) {
        if log.wants_spare()
            && disk.random(3) > 0
            && let Ok(segment) = log.plan().carry_out()
        {
            log.add_spare(segment);
        }
        if disk.random(4) == 0 {
            oracle.trim = oracle.trim.max(Lsn(disk.random(oracle.last.0 + 2)));
        }
        let (lsn, records) = (oracle.last.next(), records(disk, oracle.last));
        let mut batch = Batch::with_capacity(16 << 10);
        records.iter().for_each(|it| batch.push(it.record()));
        oracle.in_doubt.push((lsn, records.clone()));
        match log.commit(&mut batch, oracle.trim) {
            Ok(durable) => {
                assert_eq!(durable, lsn);
                oracle.settle(lsn, records);
            }
            Err(failure) => {
                assert_eq!(log.commit(&mut batch, oracle.trim), Err(failure), "it is not tried again");
                return;
            }
        }
        if disk.random(4) == 0 && log.clean().is_err() {
            return;
        }
    }
    if disk.random(3) == 0 {
        oracle.in_doubt.push((oracle.last.next(), Vec::new()));
        if log.seal() == Ok(true) {
            oracle.settle(oracle.last.next(), Vec::new());
        }
    }
}

struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("JOURNAL_SEED={} JOURNAL_CRASHES=1", self.0);
        }
    }
}

fn scenario(seed: u64) -> u64 {
    let _seed = Seed(seed);
    let disk = Model::new(seed, (4 + seed % 5) * (64 << 10));
    let mut oracle = Oracle::default();
    disk.short_writes(seed.is_multiple_of(3));
    for _ in 0..2 + disk.random(4) {
        let fault = match disk.random(6) {
            0..3 => Some(Fault::Power),
            3 => Some(Fault::Sync),
            4 => Some(Fault::Write),
            _ => None,
        };
        if let Some(fault) = fault {
            disk.fail_after(disk.random(50), fault);
        }
        if let Some(log) = oracle.open(&disk) {
            work(&disk, &mut oracle, log);
        }
        let is_kill = disk.random(4) == 0;
        if is_kill {
            disk.kill()
        } else {
            disk.restart()
        }
        oracle.crashes += 1;
        oracle.check(&disk, !is_kill);
    }
    oracle.crashes
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn what_was_durable_is_recovered() {
    let wanted = number("JOURNAL_CRASHES", if cfg!(debug_assertions) { some_of(2_000, 2) } else { 100_000 });
    let begin = number("JOURNAL_SEED", 0);
    let (crashes, seed) = (AtomicU64::new(0), AtomicU64::new(begin));
    let crash = || {
        while crashes.load(Ordering::Relaxed) < wanted {
            crashes.fetch_add(scenario(seed.fetch_add(1, Ordering::Relaxed)), Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        (0..threads.min(wanted.try_into().unwrap_or(usize::MAX))).for_each(|_| drop(scope.spawn(crash)));
    });
    let (crashes, seed) = (crashes.into_inner(), seed.into_inner());
    println!("{crashes} crashes, seeds {begin} to {}", seed - 1);
}

/// A block may be in the cache of a system whose disk never got it, because its sync failed. The next owner sees it, so it has to
/// see to it that it lasts.
#[test]
fn a_block_whose_sync_failed_is_durable_once_it_was_recovered() {
    for seed in 0..200 {
        let disk = Model::new(seed, 1 << 20);
        let mut oracle = Oracle::default();
        let mut log = oracle.open(&disk).expect("nothing fails yet");
        disk.fail_after(1, Fault::Sync);
        let records = vec![Kept { kind: 1, partition: 1, bytes: vec![3; 5_000] }];
        let mut batch = Batch::with_capacity(16 << 10);
        records.iter().for_each(|it| batch.push(it.record()));
        let failure = log.commit(&mut batch, Lsn(0)).expect_err("the sync fails");
        assert_eq!((failure.lsn, failure.doing), (Lsn(2), "syncing"));
        disk.kill();
        let (log, report) = super::open(&disk);
        assert_eq!((report.last, log.durable()), (Lsn(2), Lsn(3)));
        disk.restart();
        let (_, found) = blocks(&disk).expect("nothing is damaged");
        assert_eq!(found[1], (Lsn(2), records));
    }
}
