//! Situations that only a journal in PostgreSQL has: another owner, a database that goes away and comes back, answers
//! that are lost.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use expressway::journal::postgres::{
    Cluster, ClusterLease, PostgresJournal, Standby, copy_from, copy_to, open,
};
use expressway::journal::{
    Block, Folder, Journal, JournalError, Lsn, Ownership, Refused, Report, Room, SyncMode, Watcher,
};
use rustix::process::Signal;

use super::contract::{Place, append, folder, found, options, record};
use crate::server::{Postgres, nothing_forks};

pub(super) struct InPostgres(String, &'static str);

impl Place for InPostgres {
    fn open(
        &self,
        watchers: Vec<Watcher>,
        visit: &mut dyn FnMut(&Block<'_>),
    ) -> Result<(Box<dyn Journal>, Report), JournalError> {
        let (journal, report) = open(&self.node(), options(), watchers, visit)?;
        Ok((Box::new(journal), report))
    }

    fn ownership(&self) -> Box<dyn Ownership> {
        Box::new(ClusterLease::of(&self.node()))
    }
}

impl InPostgres {
    fn node(&self) -> Cluster {
        Cluster::new(&self.0, self.1).expect("a URL")
    }
}

/// Does a test of the contract in PostgreSQL, unless it is not installed.
pub(super) fn in_postgres(test: &dyn Fn(&dyn Place)) {
    if let Some(server) = Postgres::start() {
        test(&InPostgres(server.url(), "contract"));
    }
}

fn begin(node: &Cluster, watchers: Vec<Watcher>) -> PostgresJournal {
    open(node, options(), watchers, &mut |_| ()).expect("a journal").0
}

/// Waits for something that comes by itself.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All records' bytes, in order.
fn records(place: &InPostgres) -> Vec<Vec<u8>> {
    let (_, blocks) = found(place);
    blocks.into_iter().flat_map(|(_, records)| records).map(|it| it.bytes).collect()
}

#[test]
fn a_stale_owner_appends_nothing_and_learns_that_it_is_one() {
    let Some(server) = Postgres::start() else { return };
    let place = InPostgres(server.url(), "stale");
    for is_idle in [false, true] {
        let (sender, told) = mpsc::channel();
        let watcher: Watcher =
            Box::new(move |it| drop(sender.send(it.map_err(|failure| failure.to_string()))));
        let journal = begin(&place.node(), vec![watcher]);
        let lsn = append(&journal, b"mine");
        journal.wait(lsn).expect("it is the owner");
        server.sql("UPDATE expressway_owner SET epoch = epoch + 1, node = 'other'");
        let why = if is_idle {
            // Its lease shows it.
            let end = told.iter().find_map(Result::err);
            end.expect("it is told")
        } else {
            let lsn = journal.append(record(b"not mine"), Room::Reserve).expect("it does not know yet");
            journal.wait(lsn).expect_err("it is not the owner").to_string()
        };
        assert!(why.contains("this node is not the owner any more"), "{why}");
        assert!(why.contains("node other has taken over"), "{why}");
        let refused = journal.append(record(b"late"), Room::Reserve).expect_err("it has ended");
        assert!(matches!(refused, Refused::Failed(_)), "{refused}");
        journal.close().expect_err("it has failed");
        server.sql("UPDATE expressway_owner SET node = NULL");
    }
    assert_eq!(records(&place), [b"mine", b"mine"]);
}

#[test]
fn what_was_appended_waits_for_the_database_and_is_there_once_it_is_back() {
    let Some(mut server) = Postgres::start() else { return };
    let place = InPostgres(server.url(), "away");
    let journal = begin(&place.node(), Vec::new());
    let mut expected = Vec::new();
    for (n, signal) in [Signal::INT, Signal::QUIT].into_iter().enumerate() {
        let before = format!("before {n}").into_bytes();
        journal.wait(append(&journal, &before)).expect("it is appended");
        server.end(signal);
        let held = format!("held {n}").into_bytes();
        let lsn = journal.append(record(&held), Room::Reserve).expect("it waits");
        until("it is noticed", || {
            let refused = journal.append(record(b"new"), Room::Ordinary);
            if refused.is_ok() {
                expected.push(b"new".to_vec());
            }
            matches!(refused, Err(Refused::Away(_)))
        });
        assert!(journal.stats().is_away && journal.durable().expect("it has not ended") < lsn);
        server.run();
        journal.wait(lsn).expect("it goes on by itself");
        until("it is back", || !journal.stats().is_away);
        expected.extend([before, held]);
    }
    journal.close().expect("it is appended");
    let mut found = records(&place);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

/// The connection is cut repeatedly, during any operation: each record is there once, and in its place.
#[test]
fn answers_that_are_lost_lose_and_double_nothing() {
    let Some(server) = Postgres::start() else { return };
    let place = InPostgres(server.url(), "doubt");
    let journal = begin(&place.node(), Vec::new());
    let is_over = AtomicBool::new(false);
    let mut expected = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'expressway%'");
            }
        });
        for n in 0..300u64 {
            let bytes = n.to_le_bytes().repeat(1 + n as usize % 100);
            append(&journal, &bytes);
            if n % 10 == 0 {
                let lsn = append(&journal, b"wait");
                journal.wait(lsn).expect("it goes on by itself");
                expected.extend([bytes, b"wait".to_vec()]);
            } else {
                expected.push(bytes);
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    journal.close().expect("it is appended");
    assert_eq!(records(&place), expected);
}

#[test]
fn an_owner_that_dies_is_replaced_when_its_lease_is_over_and_one_that_lives_is_not() {
    let Some(server) = Postgres::start() else { return };
    let lease = Duration::from_millis(900);
    let node = || Cluster::new(&server.url(), "lease").expect("a URL").lease(lease);
    let owner = node();
    let journal = begin(&owner, Vec::new());
    let other = node();
    let begun = Instant::now();
    let mut seen = None;
    while begun.elapsed() < lease * 3 {
        let looked = other.look(&mut seen).expect("it is readable");
        assert_eq!(looked, Standby::Owned { node: owner.node().to_owned(), address: String::new() });
        std::thread::sleep(lease / 6);
    }
    // As after kill -9: the lease is neither renewed nor released.
    drop(journal);
    server.sql(&format!("UPDATE expressway_owner SET node = '{}'", owner.node()));
    server.sql(&format!(
        "INSERT INTO expressway_node SELECT cluster, '{}', '', '', now(), now(), now() + interval '900 ms' \
         FROM expressway_node LIMIT 1",
        owner.node()
    ));
    let begun = Instant::now();
    until("it takes over", || other.look(&mut seen).expect("it is readable") == Standby::Owner);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let journal = begin(&other, Vec::new());
    journal.wait(append(&journal, b"after")).expect("it is the owner");
    let status = other.status().expect("it is there");
    assert_eq!(status.owner.as_deref(), Some(other.node()));
    assert!(status.owner_lives && status.blocks.1 > 1 && status.bytes > 0, "{status:?}");
}

#[test]
fn a_journal_moves_from_a_folder_to_the_database_and_back() {
    let Some(server) = Postgres::start() else { return };
    let (one, two) = (folder("copy-from"), folder("copy-to"));
    let _nothing_forks = nothing_forks();
    let options = options();
    let mode = SyncMode::Data;
    for round in 0..2u8 {
        let opened =
            expressway::journal::open(&one, mode, options, Vec::new(), &mut |_| ()).expect("a journal");
        for n in 0..40u8 {
            let lsn = append(&opened.0, &[round, n].repeat(1_000));
            opened.0.wait(lsn).expect("it is appended");
            if n == 20 {
                opened.0.trim(lsn);
            }
        }
    }
    let node = || Cluster::new(&server.url(), "copied").expect("a URL");
    let read = scanned(&one);
    let copied = copy_from(&one, &node()).expect("it is copied");
    assert_eq!((copied.last, copied.trimmed, copied.epoch), (read.last, read.trimmed, read.epoch));
    let again = copy_from(&one, &node()).expect_err("it has one");
    assert!(again.to_string().contains("has a journal already"), "{again}");
    // It continues there, and comes back.
    let journal = begin(&node(), Vec::new());
    journal.wait(append(&journal, b"there")).expect("it is appended");
    journal.close().expect("it ends");
    let back = copy_to(&node(), &two.join("journal")).expect("it is copied");
    assert_eq!(back.records, scanned(&two.join("journal")).records);
    let mut last = Vec::new();
    let mut visit = |block: &Block<'_>| last.extend(block.records().map(|it| it.bytes.to_vec()));
    let opened = expressway::journal::open(&two.join("journal"), mode, options, Vec::new(), &mut visit);
    assert!(opened.expect("it is a journal").1.epoch > read.epoch);
    assert_eq!(last.last().map(Vec::as_slice), Some(b"there".as_slice()));
    for folder in [one, two] {
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// Blocks that are given up are deleted, and their room is used again.
#[test]
fn the_table_does_not_grow_with_what_happened() {
    let Some(server) = Postgres::start() else { return };
    let journal = begin(&Cluster::new(&server.url(), "room").expect("a URL"), Vec::new());
    let mut last = Lsn(0);
    for n in 0..1_000u64 {
        last = append(&journal, &n.to_le_bytes().repeat(1_000));
        if n % 100 == 99 {
            journal.wait(last).expect("it is appended");
            journal.trim(last);
        }
    }
    let kept = || server.sql("SELECT count(*) FROM expressway_block").parse::<u64>().expect("a number");
    until("they are deleted", || kept() < 30);
    assert!(server.sql("SELECT min(lsn) FROM expressway_block").parse::<u64>().expect("a number") >= last.0);
}

/// A database that was restored from an older backup, or an incomplete standby, has lost reported records: that is
/// detected.
#[test]
fn a_database_that_has_lost_blocks_is_noticed() {
    let Some(server) = Postgres::start() else { return };
    let journal = begin(&Cluster::new(&server.url(), "lost").expect("a URL"), Vec::new());
    let lsn = append(&journal, b"told");
    journal.wait(lsn).expect("it is appended");
    server.sql(&format!("DELETE FROM expressway_block WHERE lsn = {lsn}"));
    let next = append(&journal, b"next");
    let failure = journal.wait(next).expect_err("what it is to follow is gone").to_string();
    assert!(failure.contains("is not there any more, although it was durable"), "{failure}");
}

/// The journal in a folder, as `verify` sees it.
fn scanned(folder: &Path) -> Report {
    expressway::journal::scan(&Folder::at(folder, SyncMode::Data)).expect("it is whole")
}
