//! Deterministic simulation: the shards' own code on one thread, under virtual time and a seed. It has random machines,
//! handlers, callbacks and workers of activities, and redeployment. Every second world also has aborts, batches,
//! aliases that shift, jumps of time, full queues and budgets, answers that come twice, late or without a waiting task,
//! and drains and drops of the engine at any moment. Executions must have the result and the history of the naive
//! interpreter in `tests/reference`, at the same moment. In every world nothing may be lost, and nothing left behind.
//! Every tenth world is run again while everything is logged, kept and counted, with a sink that stalls, fails and
//! panics: it must be the same world.
//!
//! `EXPRESSWAY_SEEDS=100000 cargo test --release --test simulation` runs more worlds than the usual 250 (2,000 in CI);
//! `EXPRESSWAY_SEEDS=17..18` replays one.

mod chance;
mod crashes;
mod handlers;
mod hostile;
mod machines;
#[cfg(feature = "clustered")]
mod nodes;
#[path = "../reference/mod.rs"]
mod reference;
#[path = "../required/mod.rs"]
mod required;
mod wild;
mod world;

use std::collections::{BTreeMap, HashMap};

use chance::Chance;
use machines::workflow;
use world::{Played, World};

#[test]
fn worlds() {
    let seeds = std::env::var("EXPRESSWAY_SEEDS").unwrap_or_else(|_| required::some_of(500, 4).to_string());
    let range = seeds.split_once("..").map(|(from, to)| (from.parse(), to.parse()));
    let (from, to): (u64, u64) = match range {
        Some((from, to)) => (from.expect("a number"), to.expect("a number")),
        None => (0, seeds.parse().expect("a number of seeds")),
    };
    // Handlers panic here on purpose, by the thousand.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&"boom") {
            hook(info);
        }
    }));
    let mut tally = Tally::default();
    for seed in from..to {
        let world = std::panic::catch_unwind(|| World::new(seed).play());
        match world {
            Ok(played) => tally.add(&played),
            Err(panic) => {
                eprintln!("the world of seed {seed} fails; EXPRESSWAY_SEEDS={seed}..{} replays it", seed + 1);
                std::panic::resume_unwind(panic);
            }
        }
        if seed % 50 == 0 {
            let again = World::new(seed).play();
            assert_eq!(again.log, World::new(seed).play().log, "seed {seed} does not replay");
        }
        if seed % 4 == 0 {
            tally.add_histories(seed);
        }
        if seed % 10 == 0 {
            let shown = World::watched(seed).play();
            assert_eq!(shown.log, World::new(seed).play().log, "looking changes the world of seed {seed}");
        }
    }
    println!("{tally:?}");
    println!("simulation: {} passed, 0 failed, {} skipped", tally.compared, tally.ambiguous);
    assert!(to - from < 500 || tally.compared > 5 * tally.ambiguous);
    assert!(to - from < 500 || tally.histories > (to - from), "hardly any history is compared");
}

#[derive(Debug, Default)]
struct Tally {
    worlds: u64,
    compared: u64,
    ambiguous: u64,
    histories: u64,
    by_status: BTreeMap<String, u64>,
}

impl Tally {
    /// Compares histories as well.
    fn add_histories(&mut self, seed: u64) {
        match std::panic::catch_unwind(|| World::kept(seed).play()) {
            Ok(played) => self.histories += played.histories,
            Err(panic) => {
                eprintln!(
                    "a history of seed {seed} differs; EXPRESSWAY_SEEDS={seed}..{} replays it",
                    seed + 1
                );
                std::panic::resume_unwind(panic);
            }
        }
    }

    fn add(&mut self, played: &Played) {
        self.worlds += 1;
        self.compared += played.compared;
        self.ambiguous += played.ambiguous;
        for status in &played.statuses {
            *self.by_status.entry(format!("{status:?}")).or_default() += 1;
        }
    }
}

/// What the generator makes is made of all that it can make.
#[test]
fn the_generator_uses_every_kind_of_state() {
    let mut kinds: HashMap<String, u64> = HashMap::new();
    for seed in 0..200 {
        let text = workflow(&mut Chance::new(seed), 0, &mut 0).to_string();
        for kind in [
            "Pass",
            "Choice",
            "Wait",
            "Task",
            "Map",
            "Parallel",
            "Succeed",
            "Fail",
            "Retry",
            "Catch",
            "HeartbeatSeconds",
        ] {
            *kinds.entry(kind.to_owned()).or_default() += text.matches(&format!("\"{kind}\"")).count() as u64;
        }
    }
    assert!(kinds.values().all(|&count| count > 10), "{kinds:?}");
}
