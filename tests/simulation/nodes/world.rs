//! The world between nodes and the database: what happens when, and what goes wrong.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use expressway::journal::cluster::model::{Operation, Tables, World};

use super::Tally;
use super::records::State;
use crate::chance::Chance;

pub(super) const MS: u64 = 1_000;
/// How long a world is disturbed, and how long it may take afterwards, in microseconds.
pub(super) const DISTURBED_US: u64 = 6_000 * MS;
pub(super) const HEALED_US: u64 = 60_000 * MS;

/// What happens at some time.
pub(super) enum Event {
    /// A line goes on, if it still waits for this.
    Wake {
        line: usize,
        ticket: u64,
    },
    /// An operation arrives at the database.
    Operate {
        id: u64,
        is_last: bool,
    },
    /// Something became durable on a node, or its journal ended.
    Durable {
        node: usize,
        life: u32,
    },
    /// A result of a step is there.
    Result {
        node: usize,
        life: u32,
        execution: u32,
        step: u32,
    },
    Begin {
        node: usize,
    },
    Start,
    Read,
    Compact,
    Disturb,
    /// The database answers again.
    Back,
}

/// What a node runs: a stack of its own that is left while it waits.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) node: usize,
    pub(super) life: u32,
    /// Counts how often it waited.
    pub(super) ticket: u64,
    /// It waits for work.
    pub(super) is_idle: bool,
    pub(super) is_killed: bool,
    /// Whether the answer of its last operation arrives.
    pub(super) arrives: bool,
}

pub(super) struct Sim {
    pub(super) chance: Chance,
    pub(super) began: Instant,
    pub(super) now_us: u64,
    pub(super) count: u64,
    pub(super) queue: BTreeMap<(u64, u64), Event>,
    pub(super) tables: Tables,
    pub(super) partitions: u16,
    /// Whether the database is one of messages, and not of transactions.
    pub(super) has_messages: bool,
    pub(super) operations: BTreeMap<u64, Operation>,
    pub(super) lines: Vec<Line>,
    pub(super) current: usize,
    /// Lines to begin, by the runner.
    pub(super) born: Vec<(usize, Box<dyn FnOnce() + Send>)>,
    /// Until when a node is stopped, and cut off; the database is away.
    pub(super) stopped_us: Vec<u64>,
    pub(super) cut_us: Vec<u64>,
    pub(super) away_us: u64,
    /// One operation in so many fails; 0 for none.
    pub(super) fails: u64,
    pub(super) stops: u64,
    /// Every block that was ever appended, by partition.
    pub(super) chains: Vec<Vec<Vec<u8>>>,
    /// Starts and results that were told: the state of the execution at least.
    pub(super) told: BTreeMap<u32, State>,
    /// Executions that were told of and have not ended.
    pub(super) unfinished: usize,
    pub(super) results: u32,
    pub(super) tally: Tally,
}

pub(super) type Shared = Arc<Mutex<Sim>>;

pub(super) fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A node was killed: its lines end.
pub(super) struct Killed;

impl Sim {
    pub(super) fn after(&mut self, us: u64, event: Event) {
        self.count += 1;
        self.queue.insert((self.now_us + us, self.count), event);
    }

    /// This line goes on after some time.
    pub(super) fn wake_after(&mut self, us: u64) {
        let (line, ticket) = (self.current, self.lines[self.current].ticket);
        self.after(us, Event::Wake { line, ticket });
    }

    pub(super) fn is_disturbed(&self) -> bool {
        self.now_us < DISTURBED_US
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.is_disturbed() && self.chance.one_in(n)
    }

    /// Up to so many milliseconds, mostly few.
    pub(super) fn some_us(&mut self, max_ms: u64) -> u64 {
        let max_us = max_ms * MS;
        let most = self.chance.pick(&[max_us, max_us / 10, max_us / 100]).max(2);
        1 + self.chance.below(most)
    }

    /// Somebody is told of the state of an execution. The answer of the database may come late, when another owner has told of
    /// more.
    pub(super) fn tell(&mut self, execution: u32, state: State) {
        let told = self.told.entry(execution).or_insert_with(|| {
            self.unfinished += 1;
            State { step: 0, result: 0, ..state }
        });
        assert!(
            told.step != state.step || *told == state,
            "execution {execution}: {state:?} and {told:?} are told"
        );
        if told.step < state.step {
            self.unfinished -= usize::from(state.step == state.steps);
            *told = state;
        }
    }

    /// Notes which blocks were appended.
    pub(super) fn note_blocks(&mut self) {
        for (partition, chain) in (0..).zip(&mut self.chains) {
            let new: Vec<_> = self
                .tables
                .blocks(partition)
                .rev()
                .take_while(|(lsn, _)| *lsn > chain.len() as u64)
                .collect();
            for (lsn, bytes) in new.into_iter().rev() {
                assert_eq!(lsn, chain.len() as u64 + 1, "a block of partition {partition} is missing");
                chain.push(bytes.to_vec());
                self.tally.blocks += 1;
            }
        }
    }
}

/// The way of a node to its world.
pub(super) struct Way {
    pub(super) world: Shared,
    pub(super) node: usize,
}

/// Leaves the stack until the world goes on with it.
pub(super) fn wait(world: &Shared) {
    #[expect(deprecated, reason = "the way in between is the product's code, which knows of no scope")]
    generator::yield_with(());
    let mut it = lock(world);
    let current = it.current;
    it.lines[current].is_idle = false;
    it.lines[current].ticket += 1;
    let is_killed = it.lines[current].is_killed;
    drop(it);
    if is_killed {
        resume_unwind(Box::new(Killed));
    }
}

impl World for Way {
    fn has_messages(&self) -> bool {
        lock(&self.world).has_messages
    }

    fn operate(&self, operation: Operation) -> bool {
        let mut it = lock(&self.world);
        it.tally.operations += 1;
        let id = it.tally.operations;
        let current = it.current;
        if it.now_us < it.away_us || it.now_us < it.cut_us[self.node] {
            // It is not sent, or nobody hears it.
            it.lines[current].arrives = false;
            let us = it.some_us(1_000);
            it.wake_after(us);
        } else {
            let (there_us, back_us) = (it.some_us(20), it.some_us(20));
            it.operations.insert(id, operation);
            let fails = it.fails;
            it.lines[current].arrives = true;
            match if it.one_in(fails) { it.chance.below(4) } else { 4 } {
                // The request is lost.
                0 => {
                    it.operations.remove(&id);
                    it.lines[current].arrives = false;
                    it.tally.lost += 1;
                }
                // Its answer is.
                1 => {
                    it.after(there_us, Event::Operate { id, is_last: true });
                    it.lines[current].arrives = false;
                    it.tally.lost += 1;
                }
                // It is done after its caller has given up.
                2 => {
                    let late_us = there_us + back_us + it.some_us(5_000);
                    it.after(late_us, Event::Operate { id, is_last: true });
                    it.lines[current].arrives = false;
                    it.tally.late += 1;
                }
                // It is done twice.
                3 => {
                    let again_us = it.some_us(5_000);
                    it.after(there_us, Event::Operate { id, is_last: false });
                    it.after(there_us + again_us, Event::Operate { id, is_last: true });
                    it.tally.doubled += 1;
                }
                _ => it.after(there_us, Event::Operate { id, is_last: true }),
            }
            it.wake_after(there_us + back_us);
            let stops = it.stops;
            if it.one_in(stops) {
                let us = it.some_us(10_000);
                it.stopped_us[self.node] = it.now_us + us;
                it.tally.stops += 1;
            }
        }
        drop(it);
        wait(&self.world);
        let it = lock(&self.world);
        it.lines[it.current].arrives
    }

    fn pause(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).expect("a short time");
        lock(&self.world).wake_after(us);
        wait(&self.world);
    }

    fn now(&self) -> Instant {
        let it = lock(&self.world);
        it.began + Duration::from_micros(it.now_us)
    }
}
