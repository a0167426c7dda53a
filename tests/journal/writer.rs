//! The journal with its threads: numbers, waiting, watchers, the end, and room that runs out and is released.

use std::sync::{Arc, Mutex, mpsc};

use expressway::journal::model::{Fault, Model};
use expressway::journal::{
    Folder, FolderLock, Journal, JournalError, LogJournal, Lsn, Options, Ownership, Record, Refused, Room,
    SyncMode, Watcher, open as open_folder, scan,
};

use super::{Kept, blocks, open, small};

fn start(disk: &Model, watchers: Vec<Watcher>) -> LogJournal {
    LogJournal::start(open(disk).0, Arc::new(disk.clone()), small(), watchers, None)
}

fn record(bytes: &[u8]) -> Record<'_> {
    Record { kind: 1, partition: 5, bytes }
}

#[test]
fn many_threads_append_and_each_record_is_in_the_block_that_was_told() {
    let disk = Model::new(1, 64 << 20);
    let journal = start(&disk, Vec::new());
    let told = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (journal, told) = (&journal, &told);
            scope.spawn(move || {
                for n in 0..300u64 {
                    let bytes = [thread, n].map(u64::to_le_bytes).concat().repeat(1 + n as usize % 50);
                    let lsn = loop {
                        match journal.append(record(&bytes), Room::Ordinary) {
                            Ok(lsn) => break lsn,
                            Err(Refused::Busy) => journal.make_room().expect("there is room"),
                            Err(error) => panic!("{error}"),
                        }
                    };
                    if n % 10 == 0 {
                        journal.wait(lsn).expect("the disk is whole");
                        assert!(journal.durable().expect("the disk is whole") >= lsn);
                    }
                    told.lock().unwrap().push((lsn, bytes));
                }
            });
        }
    });
    journal.close().expect("the disk is whole");
    disk.restart();
    let (report, found) = blocks(&disk).expect("nothing is damaged");
    assert!(report.is_sealed);
    let mut expected = told.into_inner().unwrap();
    let mut found: Vec<(Lsn, Vec<u8>)> = found
        .into_iter()
        .flat_map(|(lsn, records)| records.into_iter().map(move |it| (lsn, it.bytes)))
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn watchers_see_every_number_once_and_in_order_and_the_end() {
    let disk = Model::new(2, 1 << 20);
    let (sender, seen) = mpsc::channel();
    let watcher: Watcher = Box::new(move |told| {
        sender.send(told.map_err(|failure| failure.doing)).expect("someone listens");
    });
    let journal = start(&disk, vec![watcher]);
    for n in 2..5 {
        let lsn = journal.append(record(b"one"), Room::Ordinary).expect("room");
        assert_eq!(lsn, Lsn(n));
        journal.wait(lsn).expect("the disk is whole");
    }
    journal.make_room().expect("room");
    disk.fail_after(1, Fault::Sync);
    let lsn = journal.append(record(b"two"), Room::Ordinary).expect("room");
    let failure = journal.wait(lsn).expect_err("the sync failed");
    assert_eq!((failure.lsn, failure.doing), (lsn, "syncing"));
    assert_eq!(journal.durable(), Err(failure.clone()));
    let refused = journal.append(record(b"three"), Room::Reserve).expect_err("the journal has ended");
    assert_eq!(refused, Refused::Failed(failure.clone()));
    assert!(failure.to_string().contains("It is not tried again: the process has to end"), "{failure}");
    let operations = disk.operations();
    assert_eq!(journal.close(), Err(failure));
    assert_eq!(disk.operations(), operations, "nothing was written after the end");
    let seen: Vec<_> = seen.iter().collect();
    assert_eq!(seen, [Ok(Lsn(2)), Ok(Lsn(3)), Ok(Lsn(4)), Err("syncing")]);
}

#[test]
fn a_full_disk_refuses_before_it_is_full_keeps_the_reserve_and_goes_on() {
    let disk = Model::new(3, 2 * (64 << 10));
    let journal = start(&disk, Vec::new());
    journal.make_room().expect("room for one spare segment");
    let bytes = [7; 5_000];
    let mut last = Lsn(0);
    let fill = |room| {
        let mut accepted = Vec::new();
        loop {
            match journal.append(record(&bytes), room) {
                Ok(lsn) => {
                    // One at a time, so that all that is queued is in the room that is read.
                    journal.wait(lsn).expect("what is accepted has a place");
                    accepted.push(lsn);
                }
                Err(Refused::Full(reason)) => {
                    assert!(reason.contains("bytes are free"), "{reason}");
                    return accepted;
                }
                Err(Refused::Busy) => drop(journal.make_room()),
                Err(error) => panic!("{error}"),
            }
        }
    };
    let ordinary = fill(Room::Ordinary);
    let reserve = fill(Room::Reserve);
    assert!(ordinary.len() > 3 && !reserve.is_empty(), "{} and {}", ordinary.len(), reserve.len());
    last = last.max(*reserve.last().expect("some"));
    assert!(journal.make_room().is_err());

    // Room from behind: what is not needed is used again, without a byte more of the disk.
    journal.trim(last);
    let again = std::iter::repeat_with(|| {
        journal.make_room().ok();
        journal.append(record(&bytes), Room::Ordinary)
    });
    let lsn = again.take(1_000).find_map(Result::ok).expect("trimming made room");
    journal.wait(lsn).expect("the disk is whole");

    // Room from the disk.
    fill(Room::Reserve);
    disk.set_capacity(8 << 20);
    journal.make_room().expect("there is room now");
    journal.append(record(&bytes), Room::Ordinary).expect("it goes on by itself");
    journal.close().expect("the disk is whole");
    blocks(&disk).expect("nothing is damaged");
}

#[test]
fn what_is_too_large_is_refused_and_what_is_just_not_has_a_block_of_its_own() {
    let disk = Model::new(4, 1 << 20);
    let journal = start(&disk, Vec::new());
    let bytes_max = small().record_bytes_max();
    let refused = journal.append(record(&vec![0; bytes_max + 1]), Room::Ordinary).expect_err("too large");
    assert_eq!(refused, Refused::TooLarge { bytes: bytes_max + 1, bytes_max });
    journal.make_room().expect("room");
    let lsn = journal.append(record(&vec![9; bytes_max]), Room::Ordinary).expect("room");
    journal.wait(lsn).expect("the disk is whole");
    let mut found = Vec::new();
    journal
        .read(lsn, &mut |block| found.extend(block.records().map(|it| it.bytes.len())))
        .expect("it is read");
    assert_eq!(found, [bytes_max]);
}

fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("expressway-journal-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

#[test]
fn a_folder_is_kept_by_one_and_read_by_the_next() {
    let path = folder("folder");
    #[cfg(all(feature = "jetstream", feature = "postgres", target_os = "linux"))]
    let _nothing_forks = crate::engines::nothing_forks();
    let mut modes = vec![SyncMode::Data];
    // If the file system does not support writes without the page cache, a message is printed.
    match open_folder(&path.join("direct"), SyncMode::Direct, small(), Vec::new(), &mut |_| ()) {
        Ok(_) => modes.push(SyncMode::Direct),
        Err(error) => println!("not tried: {error}"),
    }
    for mode in modes {
        let mut expected: Vec<Vec<u8>> = Vec::new();
        let path = path.join(format!("{mode:?}"));
        for n in 0..3u8 {
            let mut found = Vec::new();
            let mut visit =
                |block: &expressway::journal::Block<'_>| found.extend(block.records().map(Kept::of));
            let (journal, _) = open_folder(&path, mode, small(), Vec::new(), &mut visit).expect("a journal");
            assert_eq!(found.into_iter().map(|it| it.bytes).collect::<Vec<_>>(), expected);
            let held =
                open_folder(&path, mode, small(), Vec::new(), &mut |_| ()).err().expect("it is in use");
            assert!(matches!(held, JournalError::Held(_)), "{held}");
            assert!(
                held.to_string()
                    .ends_with("is in use by another process: one journal belongs to one process")
            );
            for size in [10, 3_000, 16_000] {
                expected.push(vec![n; size]);
                let append = || journal.append(record(expected.last().expect("one")), Room::Reserve);
                let lsn = append().or_else(|_| journal.make_room().and_then(|()| append())).expect("room");
                journal.wait(lsn).expect("the disk is whole");
            }
            journal.close().expect("the disk is whole");
        }
        let report = scan(&Folder::at(&path, mode)).expect("nothing is damaged");
        assert_eq!((report.records, report.epoch, report.is_sealed), (9, 3, true));
    }
    std::fs::remove_dir_all(path).expect("the folder");
}

#[test]
fn ownership_is_claimed_renewed_and_given_back() {
    let path = folder("lock");
    std::fs::create_dir_all(&path).expect("a folder");
    let (mut one, mut other) = (FolderLock::of(&path), FolderLock::of(&path));
    one.renew().expect_err("not claimed yet");
    one.claim().expect("free");
    one.renew().expect("held");
    other.claim().expect_err("held");
    one.release();
    other.claim().expect("free again");
    std::fs::remove_dir_all(path).expect("the folder");
}

#[test]
fn options_out_of_range_are_refused_in_words() {
    let disk: Arc<Model> = Arc::new(Model::new(0, 1 << 20));
    let cases = [
        (Options { segment_bytes: 4_096, ..small() }, "segments have"),
        (Options { segment_bytes: (64 << 10) + 1, ..small() }, "segments have"),
        (Options { spare_segments: 0, ..small() }, "at least one spare segment"),
        (Options { block_records_max: 0, ..small() }, "a block has at least one record"),
        (Options { block_bytes_max: 17 << 10, ..small() }, "a block has at most a quarter"),
        (Options { partition: Some(64), ..small() }, "partitions are 0 to 63"),
    ];
    for (options, text) in cases {
        let error = expressway::journal::Log::open(disk.clone(), options, 1).err().expect("is refused");
        assert!(error.to_string().starts_with(text), "{error}");
    }
}
