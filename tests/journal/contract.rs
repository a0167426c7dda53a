//! The guarantees of every journal: the same tests over a folder, PostgreSQL and NATS JetStream.

use std::path::PathBuf;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use expressway::journal::{
    Block, FolderLock, Journal, JournalError, Lsn, Options, Ownership, Record, Refused, Report, Room,
    SyncMode, Watcher,
};

use super::{Kept, small};

/// A place for a journal, with its name for messages.
pub(super) trait Place {
    fn open(
        &self,
        watchers: Vec<Watcher>,
        visit: &mut dyn FnMut(&Block<'_>),
    ) -> Result<(Box<dyn Journal>, Report), JournalError>;
    fn ownership(&self) -> Box<dyn Ownership>;
}

struct InFolder(PathBuf);

impl Place for InFolder {
    fn open(
        &self,
        watchers: Vec<Watcher>,
        visit: &mut dyn FnMut(&Block<'_>),
    ) -> Result<(Box<dyn Journal>, Report), JournalError> {
        let (journal, report) =
            expressway::journal::open(&self.0, SyncMode::Data, options(), watchers, visit)?;
        Ok((Box::new(journal), report))
    }

    fn ownership(&self) -> Box<dyn Ownership> {
        Box::new(FolderLock::of(&self.0))
    }
}

pub(super) fn options() -> Options {
    Options { spare_segments: 4, ..small() }
}

pub(super) fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("expressway-contract-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Does it for every place there is.
fn everywhere(name: &str, test: impl Fn(&dyn Place)) {
    let folder = folder(name);
    {
        #[cfg(all(feature = "jetstream", feature = "postgres", target_os = "linux"))]
        let _nothing_forks = crate::engines::nothing_forks();
        test(&InFolder(folder.clone()));
    }
    let _ = std::fs::remove_dir_all(&folder);
    #[cfg(all(feature = "jetstream", feature = "postgres", target_os = "linux"))]
    crate::engines::each(|server| test(&super::cluster::InCluster::new(server.url(), "contract")));
}

pub(super) fn record(bytes: &[u8]) -> Record<'_> {
    Record { kind: 3, partition: 5, bytes }
}

/// Appends, and waits while there is no room.
pub(super) fn append(journal: &dyn Journal, bytes: &[u8]) -> Lsn {
    let begun = Instant::now();
    loop {
        match journal.append(record(bytes), Room::Ordinary) {
            Ok(lsn) => return lsn,
            Err(Refused::Busy | Refused::Full(_) | Refused::Away(_)) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "there is no room within a minute");
    }
}

/// All that the next owner finds: blocks with their records.
pub(super) fn found(place: &dyn Place) -> (Report, Vec<(Lsn, Vec<Kept>)>) {
    let mut blocks = Vec::new();
    let mut visit =
        |block: &Block<'_>| blocks.push((block.header.lsn, block.records().map(Kept::of).collect()));
    let (_, report) = place.open(Vec::new(), &mut visit).expect("a journal");
    (report, blocks)
}

#[test]
fn each_record_is_in_the_block_that_was_told_and_numbers_become_durable_in_order() {
    everywhere("records", |place| {
        let (sender, seen) = mpsc::channel();
        let watcher: Watcher = Box::new(move |told| drop(sender.send(told.map_err(|it| it.to_string()))));
        let (journal, report) = place.open(vec![watcher], &mut |_| panic!("it is new")).expect("a journal");
        assert_eq!(report.last, Lsn(0));
        let told = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for thread in 0..3u64 {
                let (journal, told) = (&*journal, &told);
                scope.spawn(move || {
                    for n in 0..60u64 {
                        let bytes = [thread, n].map(u64::to_le_bytes).concat().repeat(1 + n as usize % 40);
                        let lsn = append(journal, &bytes);
                        if n % 9 == 0 {
                            journal.wait(lsn).expect("it is appended");
                            assert!(journal.durable().expect("it goes on") >= lsn);
                        }
                        told.lock().unwrap().push((lsn, bytes));
                    }
                });
            }
        });
        let stats = journal.stats();
        assert!(stats.records > 0 && stats.records <= 180, "{stats:?}");
        let mut read = Vec::new();
        journal
            .wait(told.lock().unwrap().iter().map(|it| it.0).max().expect("some"))
            .expect("it is appended");
        let mut visit = |block: &Block<'_>| read.extend(block.records().map(|it| it.bytes.to_vec()));
        journal.read(Lsn(1), &mut visit).expect("it is read while it is written");
        assert_eq!(read.len(), 180);
        drop(journal);
        let seen: Vec<Lsn> = seen.iter().collect::<Result<_, _>>().expect("nothing failed");
        assert!(seen.windows(2).all(|two| two[0].next() == two[1]), "{seen:?}");
        let (report, blocks) = found(place);
        assert!(report.is_sealed && report.epoch == 1, "{report:?}");
        let mut expected = told.into_inner().unwrap();
        let mut got: Vec<(Lsn, Vec<u8>)> = (blocks.into_iter())
            .flat_map(|(lsn, records)| records.into_iter().map(move |it| (lsn, it.bytes)))
            .collect();
        expected.sort();
        got.sort();
        assert_eq!(got, expected);
    });
}

#[test]
fn what_is_trimmed_is_given_up_and_the_rest_is_there() {
    everywhere("trim", |place| {
        let (journal, _) = place.open(Vec::new(), &mut |_| ()).expect("a journal");
        let mut lsns = Vec::new();
        for n in 0..120u8 {
            let lsn = append(&*journal, &[n; 4_000]);
            journal.wait(lsn).expect("it is appended");
            lsns.push(lsn);
            if n % 40 == 39 {
                journal.trim(lsns[usize::from(n) - 10]);
            }
        }
        let kept = lsns[109];
        // Each mark is in a block; then blocks before it are not read any more.
        let last = append(&*journal, b"last");
        journal.wait(last).expect("it is appended");
        let mut first = None;
        journal
            .read(Lsn(1), &mut |block| {
                first.get_or_insert(block.header.lsn);
            })
            .expect("it is read");
        assert_eq!(first, Some(kept));
        drop(journal);
        let (report, blocks) = found(place);
        assert_eq!((report.trimmed, blocks[0].0), (kept, kept));
        let records: usize = blocks.iter().map(|(_, records)| records.len()).sum();
        assert_eq!(records, 12, "those from the mark on, and the last one");
        // A block that only carries the mark may be the first of all, and leaves nothing behind to which a record could
        // be added.
        let (journal, _) = place.open(Vec::new(), &mut |_| ()).expect("a journal");
        let before = journal.durable().expect("it goes on");
        journal.trim(before);
        while journal.durable().expect("it goes on") == before {
            std::thread::yield_now();
        }
        let lsn = append(&*journal, &[1; 4_000]);
        journal.wait(lsn).expect("it is appended");
    });
}

#[test]
fn one_has_it_at_a_time() {
    everywhere("ownership", |place| {
        let (mut one, mut other) = (place.ownership(), place.ownership());
        one.claim().expect("nobody has it");
        one.renew().expect("it is its own");
        assert!(matches!(other.claim(), Err(JournalError::Held(_))));
        assert!(other.renew().is_err());
        one.release();
        other.claim().expect("it was given back");
        let held = place.open(Vec::new(), &mut |_| ()).map(drop).expect_err("it is in use");
        assert!(matches!(held, JournalError::Held(_)), "{held}");
        other.release();
        for epoch in 0..3 {
            let (report, _) = found(place);
            assert!(report.epoch >= epoch, "{report:?}");
        }
    });
}

#[test]
fn what_is_too_large_is_refused_and_what_is_just_not_has_a_block_of_its_own() {
    everywhere("large", |place| {
        let (journal, _) = place.open(Vec::new(), &mut |_| ()).expect("a journal");
        let bytes_max = journal.record_bytes_max();
        let refused = journal.append(record(&vec![0; bytes_max + 1]), Room::Ordinary).expect_err("too large");
        assert_eq!(refused, Refused::TooLarge { bytes: bytes_max + 1, bytes_max });
        let lsn = append(&*journal, &vec![9; bytes_max]);
        journal.wait(lsn).expect("it is appended");
        let mut found = Vec::new();
        journal
            .read(lsn, &mut |block| found.extend(block.records().map(|it| it.bytes.len())))
            .expect("it is read");
        assert_eq!(found, [bytes_max]);
    });
}
