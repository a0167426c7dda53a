//! Nodes of a cluster over a model of its database. The nodes' code is the product's: it takes, renews and releases
//! partitions, appends groups of blocks, resolves appends whose answers were lost, reads what a lost node had, and removes
//! blocks. Operations on the database are late, lost, done after their caller has given up, and done twice; nodes are
//! killed, stopped and continued at any operation, cut off, and end in order; the database goes away, and its clock jumps.
//!
//! On top of the journal run executions that do one step after the other. However the world behaves: each partition is one
//! chain of blocks with epochs that do not fall; no start or result is recorded twice; what was told is in the chain; a node
//! that answers knows everything that was told before; and in the end every acknowledged start has ended.
//!
//! `CLUSTER_WORLDS=100000 cargo test --profile worlds --features clustered --test simulation worlds_of_nodes` runs more worlds
//! than the usual 200 (800 in CI), optimised; `CLUSTER_WORLDS=17..18` replays one.

mod process;
mod records;
mod runner;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use runner::Runner;

use super::required::some_of;

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    worlds: u64,
    nodes: u64,
    lives: u64,
    kills: u64,
    stops: u64,
    leaves: u64,
    cuts: u64,
    aways: u64,
    jumps: u64,
    operations: u64,
    lost: u64,
    late: u64,
    doubled: u64,
    taken: u64,
    replaced: u64,
    started: u64,
    refused: u64,
    read: u64,
    blocks: u64,
    removed: u64,
    virtual_ms: u64,
}

#[test]
fn worlds_of_nodes() {
    let worlds = std::env::var("CLUSTER_WORLDS")
        .unwrap_or_else(|_| if cfg!(debug_assertions) { some_of(800, 4) } else { 100_000 }.to_string());
    let range = worlds.split_once("..").map(|(from, to)| (from.parse(), to.parse()));
    let (from, to): (u64, u64) = match range {
        Some((from, to)) => (from.expect("a number"), to.expect("a number")),
        None => (0, worlds.parse().expect("a number of worlds")),
    };
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let all = std::thread::scope(|scope| {
        let play = |thread| move || play((from + thread..to).step_by(threads as usize));
        let players: Vec<_> = (0..threads).map(|thread| scope.spawn(play(thread))).collect();
        let mut all = Tally::default();
        for player in players {
            match player.join() {
                Ok(tally) => all.add(tally),
                Err(panic) => resume_unwind(panic),
            }
        }
        all
    });
    println!("{all:?}");
    assert!(to - from < 100 || all.is_wild(), "hardly anything happened: {all:?}");
}

/// Plays worlds, and adds up what happened.
fn play(seeds: impl Iterator<Item = u64>) -> Tally {
    let (mut all, mut spare) = (Tally::default(), Vec::new());
    for seed in seeds {
        let stacks = std::mem::take(&mut spare);
        match catch_unwind(AssertUnwindSafe(|| Runner::new(seed, stacks).run())) {
            Ok((tally, stacks)) => {
                if seed % 500 == 0 {
                    let (again, _) = Runner::new(seed, Vec::new()).run();
                    assert_eq!(again, tally, "world {seed} does not replay");
                }
                all.add(tally);
                spare = stacks;
            }
            Err(panic) => {
                eprintln!("the world {seed} fails; CLUSTER_WORLDS={seed}..{} replays it", seed + 1);
                resume_unwind(panic);
            }
        }
    }
    all
}

impl Tally {
    fn add(&mut self, mut it: Tally) {
        for (mine, its) in self.all().into_iter().zip(it.all()) {
            *mine += *its;
        }
    }

    fn all(&mut self) -> [&mut u64; 21] {
        let Tally {
            worlds,
            nodes,
            lives,
            kills,
            stops,
            leaves,
            cuts,
            aways,
            jumps,
            operations,
            lost,
            late,
            doubled,
            taken,
            replaced,
            started,
            refused,
            read,
            blocks,
            removed,
            virtual_ms,
        } = self;
        [
            worlds, nodes, lives, kills, stops, leaves, cuts, aways, jumps, operations, lost, late, doubled,
            taken, replaced, started, refused, read, blocks, removed, virtual_ms,
        ]
    }

    /// Whether all of it has happened, in proportion.
    fn is_wild(mut self) -> bool {
        let worlds = self.worlds;
        let rare = 10;
        self.started > 10 * worlds && self.all().into_iter().all(|count| *count > worlds / rare)
    }
}
