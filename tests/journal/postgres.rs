//! Situations that only a journal in PostgreSQL has: changes of its rows, and connections that it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use expressway::journal::cluster::Cluster;
use expressway::journal::{Journal, Lsn, Refused, Room, Watcher};

use super::cluster::{InCluster, begin, records, until};
use super::contract::{append, record};
use crate::engines::{Engine as _, Postgres};

#[test]
fn a_stale_owner_appends_nothing_and_learns_that_it_is_one() {
    let Some(server) = Postgres::start() else { return };
    let place = InCluster::new(server.url(), "stale");
    for is_idle in [false, true] {
        let (sender, told) = mpsc::channel();
        let watcher: Watcher =
            Box::new(move |it| drop(sender.send(it.map_err(|failure| failure.to_string()))));
        let journal = begin(&place.node(), vec![watcher]);
        let lsn = append(&journal, b"mine");
        journal.wait(lsn).expect("it is the owner");
        server.sql("UPDATE expressway_owner SET epoch = epoch + 1, node = 'other'");
        let why = if is_idle {
            // The lease detects it.
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

/// The connection is cut again and again at any moment: each record exists once, and in its place.
#[test]
fn answers_that_are_lost_lose_and_double_nothing() {
    let Some(server) = Postgres::start() else { return };
    let place = InCluster::new(server.url(), "doubt");
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

/// Trimmed blocks are deleted, and their space is used again.
#[test]
fn the_table_does_not_grow_with_what_happened() {
    let Some(server) = Postgres::start() else { return };
    let journal = begin(&Cluster::new(&server.url(), "room").expect("a URL").spread(false), Vec::new());
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

/// A database that was restored from an older backup, or an incomplete standby, lacks records that were reported as
/// durable: this is detected.
#[test]
fn a_database_that_has_lost_blocks_is_noticed() {
    let Some(server) = Postgres::start() else { return };
    let journal = begin(&Cluster::new(&server.url(), "lost").expect("a URL").spread(false), Vec::new());
    let lsn = append(&journal, b"told");
    journal.wait(lsn).expect("it is appended");
    server.sql(&format!("DELETE FROM expressway_block WHERE lsn = {lsn}"));
    let next = append(&journal, b"next");
    let failure = journal.wait(next).expect_err("what it is to follow is gone").to_string();
    assert!(failure.contains("is not there any more, although it was durable"), "{failure}");
}
