//! Each write and each sync of a working journal fails once, in each way: the recovered blocks are the durable ones,
//! and waiters are notified. [`Model`] panics when a file is used after a failed write or sync.

use std::sync::{Arc, mpsc};

use expressway::journal::model::{Fault, Model};
use expressway::journal::{Journal, LogJournal, Lsn, Record, Refused, Room};

use super::{Kept, blocks, open, small};

/// What a journal reported to its users.
#[derive(Default)]
struct Told {
    /// Records that were appended, and those of blocks that were reported as durable.
    appended: Vec<(Lsn, Kept)>,
    durable: Lsn,
    /// Why it ended.
    failed: bool,
}

/// Records of several sizes, through three segments, with marks. It ends early when the journal does.
fn work(journal: &LogJournal, told: &mut Told) {
    for n in 0..48u16 {
        let record = Kept { kind: n, partition: 1, bytes: vec![n as u8; 900 * usize::from(n % 9)] };
        let mut tries = 0;
        let appended = loop {
            match journal.append(record.record(), Room::Ordinary) {
                // There is room as soon as a segment is made; without power, none ever is.
                Err(Refused::Busy | Refused::Full(_)) if tries == 20 => return,
                Err(Refused::Busy | Refused::Full(_)) => drop(journal.make_room()),
                appended => break appended,
            }
            tries += 1;
        };
        let Ok(lsn) = appended else {
            assert!(matches!(appended, Err(Refused::Failed(_))), "{appended:?}");
            return told.failed = true;
        };
        told.appended.push((lsn, record));
        // Some blocks have several records.
        if n % 3 == 0 {
            match journal.wait(lsn) {
                Ok(()) => told.durable = lsn,
                Err(_) => return told.failed = true,
            }
        }
        if n == 15 {
            journal.trim(Lsn(3));
        }
    }
}

/// After more operations than there are.
const NEVER: u64 = 1 << 40;

/// Lets a journal work on a disk on which the n-th operation goes wrong. How many operations there were.
fn run(n: u64, fault: Fault, seed: u64) -> u64 {
    let (disk, mut told) = (Model::new(seed, 1 << 20), Told::default());
    disk.short_writes(seed.is_multiple_of(2));
    let (sender, seen) = mpsc::channel();
    let watcher = move |lsn: Result<Lsn, &_>| sender.send(lsn.ok()).expect("someone listens");
    let log = open(&disk).0;
    let begun = disk.operations();
    disk.fail_after(n, fault);
    let journal = LogJournal::start(log, Arc::new(disk.clone()), small(), vec![Box::new(watcher)], None);
    work(&journal, &mut told);
    let closed = journal.close();
    let operations = disk.operations() - begun;

    let seen: Vec<Option<Lsn>> = seen.into_iter().collect();
    let last = seen.iter().copied().flatten().next_back().unwrap_or(Lsn(1));
    assert!(last >= told.durable && (closed.is_ok() || seen.last() == Some(&None)), "{seen:?}, {closed:?}");
    assert!(!told.failed || closed.is_err(), "who is refused is told why");

    // The process ends, or the power goes.
    match seed % 3 {
        0 => disk.kill(),
        _ => disk.restart(),
    }
    let (report, found) = blocks(&disk).expect("a failure damages nothing");
    assert!(report.last >= last, "{last} was durable, {} is the last", report.last);
    let ends = found.last().map_or(Lsn(1), |(lsn, _)| *lsn);
    // At most one block was being written, and a seal.
    assert!(ends.0 <= last.0 + 2, "{last} was durable, {ends} is there");
    for (lsn, records) in found {
        let of_block: Vec<&Kept> =
            told.appended.iter().filter(|(of, _)| *of == lsn).map(|(_, it)| it).collect();
        assert!(records.iter().eq(of_block), "block {lsn}: its records, whole and in order");
    }
    drop(open(&disk));
    operations
}

#[test]
fn whatever_fails_what_was_durable_is_recovered_and_the_end_is_told() {
    for (n, fault) in [Fault::Write, Fault::Full, Fault::Sync, Fault::Power].into_iter().enumerate() {
        let seed = |at: u64| 7 * at + n as u64;
        let operations = run(NEVER, fault, seed(0));
        assert!(operations > 30, "{operations} operations");
        for at in 0..operations {
            run(at, fault, seed(at));
        }
    }
}

#[test]
fn nothing_is_acknowledged_before_a_disk_that_takes_long_is_done() {
    // The write of a block, and its sync.
    for operation in 0..2 {
        let disk = Model::new(operation, 1 << 20);
        let journal = LogJournal::start(open(&disk).0, Arc::new(disk.clone()), small(), Vec::new(), None);
        journal.make_room().expect("there is room");
        disk.fail_after(operation, Fault::Slow);
        let record = Record { kind: 1, partition: 0, bytes: &[1; 3_000] };
        let first = journal.append(record, Room::Ordinary).expect("there is room");
        disk.wait_slow();
        // What comes meanwhile waits, until that is too much.
        let mut last = first;
        let refused = loop {
            match journal.append(record, Room::Ordinary) {
                Ok(lsn) => last = lsn,
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, Refused::Busy);
        assert!(last > first);
        assert_eq!(journal.durable(), Ok(Lsn(first.0 - 1)));
        disk.let_go();
        journal.wait(last).expect("it was slow, and did it");
        journal.close().expect("the disk is whole");
        assert_eq!(blocks(&disk).expect("nothing is damaged").0.last, last.next(), "and a seal");
    }
}
