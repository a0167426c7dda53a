//! Situations that only a journal in a cluster has, in each engine: another owner, a server that restarts, lost
//! answers, and networks that lose everything for a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use expressway::journal::cluster::{Cluster, ClusterJournal, ClusterLease, Standby, open};
use expressway::journal::{Block, Journal, JournalError, Lsn, Ownership, Refused, Report, Room, Watcher};

use super::contract::{Place, append, found, options, record};
use crate::engines::{End, Nats, Proxy, Sync, Way, each};

pub(super) struct InCluster(String, &'static str);

impl Place for InCluster {
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

impl InCluster {
    pub(super) fn new(url: String, name: &'static str) -> InCluster {
        InCluster(url, name)
    }

    pub(super) fn node(&self) -> Cluster {
        Cluster::new(&self.0, self.1).expect("a URL").spread(false)
    }
}

pub(super) fn begin(node: &Cluster, watchers: Vec<Watcher>) -> ClusterJournal {
    open(node, options(), watchers, &mut |_| ()).expect("a journal").0
}

/// Waits until a condition holds.
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(180), "{what}: not within three minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All records' bytes, in order.
pub(super) fn records(place: &InCluster) -> Vec<Vec<u8>> {
    let (_, blocks) = found(place);
    blocks.into_iter().flat_map(|(_, records)| records).map(|it| it.bytes).collect()
}

/// An owner that is cut off for longer than its lease is replaced. Its delayed blocks arrive afterwards: each is either
/// before the new owner's first block, or refused.
#[test]
fn an_owner_that_was_cut_off_appends_nothing_after_it_was_replaced() {
    each(|server| {
        let lease = Duration::from_secs(2);
        let proxy = Proxy::before(server.port());
        let stale =
            Cluster::new(&server.url_by(proxy.port), "cut-off").expect("a URL").spread(false).lease(lease);
        let (sender, told) = mpsc::channel();
        let watcher: Watcher =
            Box::new(move |it| drop(sender.send(it.map_err(|failure| failure.to_string()))));
        let journal = begin(&stale, vec![watcher]);
        journal.wait(append(&journal, b"acknowledged")).expect("it is the owner");
        let durable = journal.durable().expect("it goes on");
        proxy.set(Way::Silent);
        let lsn = journal.append(record(b"on its way"), Room::Reserve).expect("it waits");
        let other = Cluster::new(&server.url(), "cut-off").expect("a URL").spread(false).lease(lease);
        let mut seen = None;
        until("it takes over", || other.look(&mut seen).expect("it is readable") == Standby::Owner);
        let mut recovered = Vec::new();
        let mut visit = |block: &Block<'_>| recovered.extend(block.records().map(|it| it.bytes.to_vec()));
        let (next, _) = open(&other, options(), Vec::new(), &mut visit).expect("it owns the cluster");
        assert_eq!(recovered, [b"acknowledged"], "{}", server.name());
        next.wait(append(&next, b"next")).expect("it is the owner");
        proxy.set(Way::Open);
        let why = journal.wait(lsn).expect_err("it is not the owner").to_string();
        assert!(why.contains("this node is not the owner any more"), "{}: {why}", server.name());
        assert!(told.iter().all(|told| told.is_err() || told == Ok(durable)), "nobody was told of more");
        let refused = journal.append(record(b"late"), Room::Reserve).expect_err("it has ended");
        assert!(matches!(refused, Refused::Failed(_)), "{refused}");
        next.wait(append(&next, b"again")).expect("it is the owner");
        next.close().expect("it ends");
        let place = InCluster::new(server.url(), "cut-off");
        assert_eq!(records(&place), [b"acknowledged".as_slice(), b"next", b"again"], "{}", server.name());
    });
}

#[test]
fn what_was_appended_waits_for_the_database_and_is_there_once_it_is_back() {
    each(|server| {
        let place = InCluster::new(server.url(), "away");
        let journal = begin(&place.node(), Vec::new());
        let mut expected = Vec::new();
        for (n, how) in [End::Asked, End::Killed].into_iter().enumerate() {
            let before = format!("before {n}").into_bytes();
            journal.wait(append(&journal, &before)).expect("it is appended");
            server.end(how);
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
    });
}

/// Connections are cut again and again at any moment: each record exists once, and in its place.
#[test]
fn connections_that_are_cut_lose_and_double_nothing() {
    each(|server| {
        let proxy = Proxy::before(server.port());
        let place = InCluster::new(server.url(), "cut");
        let journal =
            begin(&Cluster::new(&server.url_by(proxy.port), "cut").expect("a URL").spread(false), Vec::new());
        let is_over = AtomicBool::new(false);
        let mut expected = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0u64.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    // At a different moment each time, and not so often that hardly a connection is of use.
                    std::thread::sleep(Duration::from_micros(n * 7_919 % 80_000));
                    proxy.cut();
                }
            });
            for n in 0..200u64 {
                let bytes = n.to_le_bytes().repeat(1 + n as usize % 100);
                let lsn = append(&journal, &bytes);
                expected.push(bytes);
                if n % 10 == 0 {
                    journal.wait(lsn).expect("it goes on by itself");
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        journal.close().expect("it is appended");
        assert_eq!(records(&place), expected, "{}", server.name());
    });
}

#[test]
fn an_owner_that_dies_is_replaced_when_its_lease_is_over_and_one_that_lives_is_not() {
    each(|server| {
        let lease = Duration::from_secs(2);
        let proxy = Proxy::before(server.port());
        let owner =
            Cluster::new(&server.url_by(proxy.port), "lease").expect("a URL").spread(false).lease(lease);
        let journal = begin(&owner, Vec::new());
        let other = Cluster::new(&server.url(), "lease").expect("a URL").spread(false).lease(lease);
        let begun = Instant::now();
        let mut seen = None;
        while begun.elapsed() < lease * 2 {
            let looked = other.look(&mut seen).expect("it is readable");
            assert_eq!(looked, Standby::Owned { node: owner.node().to_owned(), address: String::new() });
            std::thread::sleep(lease / 6);
        }
        // As after kill -9: the lease is neither renewed nor released.
        proxy.set(Way::Closed);
        let begun = Instant::now();
        until("it takes over", || other.look(&mut seen).expect("it is readable") == Standby::Owner);
        assert!(begun.elapsed() < Duration::from_secs(30), "{}: {:?}", server.name(), begun.elapsed());
        let next = begin(&other, Vec::new());
        next.wait(append(&next, b"after")).expect("it is the owner");
        let status = other.status().expect("it is there");
        assert_eq!(status.owner.as_deref(), Some(other.node()));
        assert!(status.owner_lives && status.blocks.1 > 1 && status.bytes > 0, "{status:?}");
        drop(journal);
        next.wait(append(&next, b"still")).expect("it is the owner");
    });
}

/// The service's records: a change is made as a whole, and a replaced owner makes none.
#[test]
fn records_are_changed_by_one_owner() {
    each(|server| {
        let lease = Duration::from_secs(2);
        let proxy = Proxy::before(server.port());
        let stale =
            Cluster::new(&server.url_by(proxy.port), "items").expect("a URL").spread(false).lease(lease);
        let mut held = ClusterLease::of(&stale);
        held.claim().expect("nobody has it");
        let items = stale.items().expect("they are readable");
        items.begin().expect("it is the owner");
        for n in 0..70u64 {
            items.put(1, &format!("machine.{n:02}"), 0, format!("m{n}").as_bytes()).expect("it is put");
            items.put(2, &format!("machine.{n:02}"), n, b"revision").expect("it is put");
        }
        items.remove(2, "machine.03", 3).expect("it is removed");
        items.commit().expect("it is the owner");
        items.begin().expect("it is the owner");
        items.put(3, "rolled back", 0, b"x").expect("it is put");
        items.roll_back();
        items.begin().expect("it is the owner");
        items.remove(1, "machine.04", 0).expect("it is removed");
        assert_eq!(items.numbers(2, "machine.05").expect("they are readable"), [5]);
        items.commit().expect("it is the owner");
        // Another node takes over while this one changes something.
        items.begin().expect("it is the owner");
        items.put(1, "machine.00", 0, b"late").expect("it is put");
        proxy.set(Way::Silent);
        let other = Cluster::new(&server.url(), "items").expect("a URL").spread(false).lease(lease);
        let mut seen = None;
        until("it takes over", || {
            if server.name() == "PostgreSQL" {
                // The transaction locks the owner's row until the server drops the connection.
                proxy.cut();
                proxy.set(Way::Silent);
            }
            other.look(&mut seen).expect("it is readable") == Standby::Owner
        });
        let theirs = other.items().expect("they are readable");
        proxy.set(Way::Open);
        assert!(items.commit().is_err() || server.name() == "PostgreSQL");
        assert!(items.begin().is_err(), "{}", server.name());
        let first = theirs.get(1, "machine.00", 0).expect("it is readable");
        assert_eq!(first.as_deref(), Some(b"m0".as_slice()), "{}", server.name());
        assert_eq!(theirs.numbers(2, "machine.03").expect("they are readable"), [0u64; 0]);
        assert_eq!(theirs.get(2, "machine.03", 3).expect("it is readable"), None);
        let (mut all, mut after) = (Vec::new(), String::new());
        while let Some((last, _)) = {
            let page = theirs.page(1, &after).expect("they are readable");
            all.extend(page.iter().map(|(arn, _)| arn.clone()));
            page.last().cloned()
        } {
            after = last;
        }
        let expected: Vec<String> = (0..70).filter(|n| *n != 4).map(|n| format!("machine.{n:02}")).collect();
        assert_eq!(all, expected, "{}", server.name());
        assert_eq!(theirs.arns(1).expect("they are readable"), expected);
        assert_eq!(theirs.arns(3).expect("they are readable"), [""; 0]);
        theirs.begin().expect("it is the owner");
        theirs.put(1, "machine.00", 0, b"next").expect("it is put");
        theirs.commit().expect("it is the owner");
        let first = theirs.get(1, "machine.00", 0).expect("it is readable");
        assert_eq!(first.as_deref(), Some(b"next".as_slice()));
    });
}

/// Acknowledged messages of NATS are durable only with three servers that sync each write; anything less must be
/// accepted in the URL.
#[test]
fn what_nats_does_not_make_durable_is_refused_with_what_to_set() {
    let refused = |url: &str| {
        let opened =
            open(&Cluster::new(url, "d").expect("a URL").spread(false), options(), Vec::new(), &mut |_| ());
        opened.map(drop).expect_err("it is refused").to_string()
    };
    if let Some(server) = Nats::start(Sync::AtIntervals) {
        let why = refused(&server.url_with("&replicas=1"));
        assert!(why.contains("has 1 replica") || why.contains("use 2.10 or newer"), "{why}");
        for (options, expected) in [("&replicas=2", "\"replicas\""), ("&accept_los=true", "\"accept_los\"")] {
            let wrong =
                Cluster::new(&server.url_with(options), "d").expect_err("it is not known").to_string();
            assert!(wrong.contains(expected) && wrong.contains("accept_loss=true"), "{wrong}");
        }
    }
    if let Some(server) = Nats::start(Sync::Always) {
        let why = refused(&server.url_with("&replicas=1"));
        assert!(why.contains("has 1 replica"), "{why}");
    }
}

/// How long a server may take to get what it missed.
const CATCHES_UP: Duration = Duration::from_secs(5);
/// How long two servers may take to elect a leader.
const ELECTED: Duration = Duration::from_secs(30);

/// Waits for a block that two servers acknowledge while the third is away. Where one of the two had not caught up, none of
/// them leads, and the third has to come back.
fn wait_by_two(journal: &ClusterJournal, lsn: Lsn, come_back: impl FnOnce()) {
    std::thread::scope(|scope| {
        let wait = scope.spawn(|| journal.wait(lsn).expect("it is appended"));
        let begun = Instant::now();
        while !wait.is_finished() && begun.elapsed() < ELECTED {
            std::thread::sleep(Duration::from_millis(1));
        }
        if !wait.is_finished() {
            come_back();
        }
    });
}

/// Three servers are killed, one after the other, under load.
#[test]
fn servers_of_nats_that_end_one_at_a_time_lose_nothing() {
    let Some(mut server) = Nats::start_several(3, Sync::Always) else { return };
    let place = InCluster::new(server.url_with(""), "three");
    let mut opened = None;
    until("the servers have found each other", || {
        opened = open(&place.node(), options(), Vec::new(), &mut |_| ()).ok();
        opened.is_some()
    });
    let (journal, _) = opened.expect("a journal");
    let mut expected = Vec::new();
    for n in 0..3 {
        for m in 0..40u64 {
            let bytes = [n as u64, m].map(u64::to_le_bytes).concat();
            let lsn = append(&journal, &bytes);
            expected.push(bytes);
            if m == 20 {
                server.end_one(n, End::Killed);
            }
            if m % 10 == 0 || m == 39 {
                wait_by_two(&journal, lsn, || server.run_one(n));
            }
        }
        server.run_one(n);
        // The next one ends when this one has what it missed, or when it takes long: servers say that they are current
        // when they have something to do.
        let begun = Instant::now();
        while begun.elapsed() < CATCHES_UP && !server.have_caught_up() {
            wait_by_two(&journal, append(&journal, b"between"), || server.run_one(n));
            expected.push(b"between".to_vec());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    journal.close().expect("it is appended");
    // The last server that ended may still be electing a leader with the others.
    let mut found = Vec::new();
    until("the servers answer", || {
        found.clear();
        let mut visit = |block: &expressway::journal::Block<'_>| {
            found.extend(block.records().map(|record| record.bytes.to_vec()));
        };
        place.open(Vec::new(), &mut visit).is_ok()
    });
    assert_eq!(found, expected);
}
