//! Runs a world.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use expressway::journal::Options;
use expressway::journal::cluster::model::Tables;
use generator::{Generator, Gn};

use super::Tally;
use super::process::Process;
use super::records::{audit, partition_of};
use super::world::{DISTURBED_US, Event, HEALED_US, Killed, Line, MS, Shared, Sim, lock};
use crate::chance::Chance;

/// Runs a world.
pub(super) struct Runner {
    pub(super) world: Shared,
    pub(super) processes: Vec<Option<Arc<Process>>>,
    pub(super) lives: Vec<u32>,
    pub(super) stacks: BTreeMap<usize, Generator<'static, (), ()>>,
    /// Stacks that can be used again.
    pub(super) spare: Vec<Generator<'static, (), ()>>,
    pub(super) failure: Arc<Mutex<Option<Box<dyn std::any::Any + Send>>>>,
    pub(super) lease: Duration,
    pub(super) options: Options,
    pub(super) has_jumps: bool,
    pub(super) executions: u32,
}

impl Runner {
    pub(super) fn new(seed: u64, spare: Vec<Generator<'static, (), ()>>) -> Runner {
        let mut chance = Chance::new(seed ^ 0xC1);
        let nodes = if chance.one_in(25) { 3 + chance.below(18) } else { 3 + chance.below(3) } as usize;
        let partitions = 1 + chance.below(6) as u16;
        let lease = Duration::from_millis(500 + 500 * chance.below(6));
        let fails = chance.pick(&[0, 200, 50, 20, 8]);
        let stops = chance.pick(&[0, 2_000, 500, 100]);
        let (has_jumps, has_messages) = (chance.one_in(4), chance.one_in(2));
        let mut world = Sim {
            chance,
            began: Instant::now(),
            now_us: 0,
            count: 0,
            queue: BTreeMap::new(),
            tables: Tables::new(partitions),
            partitions,
            has_messages,
            operations: BTreeMap::new(),
            lines: Vec::new(),
            current: 0,
            born: Vec::new(),
            stopped_us: vec![0; nodes],
            cut_us: vec![0; nodes],
            away_us: 0,
            fails,
            stops,
            chains: vec![Vec::new(); usize::from(partitions)],
            told: BTreeMap::new(),
            unfinished: 0,
            results: 0,
            tally: Tally { worlds: 1, nodes: nodes as u64, ..Tally::default() },
        };
        world.tables.now_ms = 1_000_000;
        for node in 0..nodes {
            let us = world.some_us(2_000);
            world.after(us, Event::Begin { node });
        }
        for event in [Event::Start, Event::Read, Event::Compact, Event::Disturb] {
            world.after(100 * MS, event);
        }
        world.after(DISTURBED_US, Event::Back);
        let queue_bytes_max = world.chance.pick(&[1 << 20, 4_096]);
        let options =
            Options { block_bytes_max: 4_096, block_records_max: 64, queue_bytes_max, ..Options::default() };
        Runner {
            world: Arc::new(Mutex::new(world)),
            processes: vec![None; nodes],
            lives: vec![0; nodes],
            stacks: BTreeMap::new(),
            spare,
            failure: Arc::default(),
            lease,
            options,
            has_jumps,
            executions: 0,
        }
    }

    pub(super) fn run(mut self) -> (Tally, Vec<Generator<'static, (), ()>>) {
        while let Some(event) = self.next() {
            self.happen(event);
            if let Some(panic) = lock(&self.failure).take() {
                // Other stacks are left as they are.
                std::mem::forget(std::mem::take(&mut self.stacks));
                resume_unwind(panic);
            }
            if !lock(&self.world).is_disturbed() && self.is_done() {
                break;
            }
        }
        for node in 0..self.processes.len() {
            self.kill(node);
        }
        let mut it = lock(&self.world);
        audit(&it);
        it.tally.virtual_ms = it.now_us / MS;
        let tally = it.tally;
        drop(it);
        (tally, self.spare)
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        let mut it = lock(&self.world);
        let ((at_us, _), event) = it.queue.pop_first()?;
        if at_us >= DISTURBED_US + HEALED_US {
            drop(it);
            self.give_up();
        }
        let passed_ms = at_us / MS - it.now_us / MS;
        it.tables.now_ms += passed_ms as i64;
        it.now_us = at_us;
        Some(event)
    }

    /// Some executions have not ended.
    pub(super) fn give_up(&self) -> ! {
        for process in self.processes.iter().flatten() {
            let app = lock(&process.app);
            let parts: Vec<_> =
                app.parts.iter().map(|(partition, part)| (partition, part.epoch, part.is_open)).collect();
            let (index, life, leaves) = (process.index, process.life, process.leaves.load(Ordering::Relaxed));
            let stats = process.node.get().map(|node| node.journal().stats());
            eprintln!("node {index}-{life}: {parts:?}, ended {}, leaves {leaves}, {stats:?}", app.has_ended);
        }
        let it = lock(&self.world);
        (0..it.partitions)
            .for_each(|partition| eprintln!("partition {partition}: {:?}", it.tables.owner(partition)));
        let unfinished = it.told.iter().filter(|(_, state)| state.step < state.steps);
        let unfinished: Vec<_> = unfinished
            .map(|(execution, state)| (execution, partition_of(*execution, it.partitions), state))
            .collect();
        panic!("these have not ended: {unfinished:?}; {:?}", it.tally);
    }

    pub(super) fn is_done(&self) -> bool {
        let it = lock(&self.world);
        it.now_us > DISTURBED_US + 1_000 * MS && it.unfinished == 0
    }

    pub(super) fn process(&self, node: usize, life: u32) -> Option<Arc<Process>> {
        self.processes[node].as_ref().filter(|process| process.life == life).map(Arc::clone)
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { line, ticket } => self.wake(line, ticket),
            Event::Operate { id, is_last } => {
                let mut it = lock(&self.world);
                if it.now_us < it.away_us {
                    return;
                }
                let Some(mut operation) = it.operations.remove(&id) else { return };
                operation(&mut it.tables);
                it.note_blocks();
                if !is_last {
                    it.operations.insert(id, operation);
                }
            }
            Event::Durable { node, life } => self.durable(node, life),
            Event::Result { node, life, execution, step } => {
                let Some(process) = self.process(node, life) else { return };
                let (partition, result) = {
                    let mut it = lock(&self.world);
                    if it.stopped_us[node] > it.now_us {
                        let us = it.stopped_us[node] - it.now_us;
                        it.after(us, Event::Result { node, life, execution, step });
                        return;
                    }
                    it.results += 1;
                    (partition_of(execution, it.partitions), it.results)
                };
                process.take_result(partition, (execution, step, result));
            }
            Event::Begin { node } => self.begin(node),
            Event::Start => self.start(),
            Event::Read => self.read(),
            Event::Compact => {
                let processes: Vec<_> = self.processes.iter().flatten().cloned().collect();
                let which = lock(&self.world).chance.below(processes.len().max(1) as u64) as usize;
                if let Some(process) = processes.get(which) {
                    process.compact();
                }
                self.again(Event::Compact, 1_500);
            }
            Event::Disturb => {
                self.disturb();
                if lock(&self.world).is_disturbed() {
                    self.again(Event::Disturb, 1_200);
                }
            }
            Event::Back => self.heal(),
        }
    }

    pub(super) fn again(&self, event: Event, most_ms: u64) {
        let mut it = lock(&self.world);
        let us = MS + it.chance.below(most_ms * MS);
        it.after(us, event);
    }

    /// Goes on with a line.
    pub(super) fn wake(&mut self, line: usize, ticket: u64) {
        let mut it = lock(&self.world);
        let Line { node, ticket: now, is_killed, .. } = it.lines[line];
        if now != ticket || is_killed {
            return;
        }
        if it.stopped_us[node] > it.now_us {
            let us = it.stopped_us[node] - it.now_us;
            it.after(us, Event::Wake { line, ticket });
            return;
        }
        drop(it);
        self.go_on(line);
    }

    pub(super) fn go_on(&mut self, line: usize) {
        lock(&self.world).current = line;
        let stack = self.stacks.get_mut(&line).expect("it has not ended");
        stack.resume();
        if stack.is_done() {
            let stack = self.stacks.remove(&line).expect("it is there");
            self.spare.push(stack);
            lock(&self.world).lines[line].is_killed = true;
        }
        self.bear();
    }

    /// Begins new lines.
    pub(super) fn bear(&mut self) {
        let born = std::mem::take(&mut lock(&self.world).born);
        for (line, body) in born {
            let (failure, world) = (Arc::clone(&self.failure), Arc::clone(&self.world));
            let body = move || {
                if lock(&world).lines[line].is_killed {
                    return;
                }
                if let Err(panic) = catch_unwind(AssertUnwindSafe(body))
                    && !panic.is::<Killed>()
                {
                    lock(&failure).get_or_insert(panic);
                }
            };
            let stack = match self.spare.pop() {
                Some(mut stack) => {
                    stack.init_code(body);
                    stack
                }
                None => Gn::new_opt(STACK_WORDS, body),
            };
            self.stacks.insert(line, stack);
        }
    }

    pub(super) fn begin(&mut self, node: usize) {
        if self.processes[node].is_some() {
            return;
        }
        self.lives[node] += 1;
        lock(&self.world).tally.lives += 1;
        let process = Arc::new(Process {
            index: node,
            life: self.lives[node],
            world: Arc::clone(&self.world),
            node: OnceLock::new(),
            app: Mutex::default(),
            leaves: AtomicBool::new(false),
        });
        process.begin(self.lease, self.options);
        self.processes[node] = Some(process);
        self.bear();
    }

    /// A process ends without any order. What it has sent arrives.
    pub(super) fn kill(&mut self, node: usize) {
        let Some(process) = self.processes[node].take() else { return };
        let lines: Vec<usize> = {
            let mut it = lock(&self.world);
            it.stopped_us[node] = 0;
            let of = |line: &(usize, &mut Line)| {
                line.1.node == node && line.1.life == process.life && !line.1.is_killed
            };
            let killed = it.lines.iter_mut().enumerate().filter(of);
            killed
                .map(|(n, line)| {
                    line.is_killed = true;
                    n
                })
                .collect()
        };
        for line in lines {
            lock(&self.world).current = line;
            let mut stack = self.stacks.remove(&line).expect("it has not ended");
            // One that has not begun ends without running.
            stack.resume();
            assert!(stack.is_done(), "a killed line ends");
            self.spare.push(stack);
        }
        lock(&self.world).born.clear();
    }

    pub(super) fn durable(&mut self, node: usize, life: u32) {
        let Some(process) = self.process(node, life) else { return };
        process.tell();
        let has_ended = lock(&process.app).has_ended;
        if has_ended {
            // The process ends, and somebody starts it again.
            self.kill(node);
            let us = lock(&self.world).some_us(3_000);
            lock(&self.world).after(us, Event::Begin { node });
        }
    }

    pub(super) fn start(&mut self) {
        let (partitions, steps, first) = {
            let mut it = lock(&self.world);
            let nodes = self.processes.len() as u64;
            (it.partitions, 1 + it.chance.below(4) as u32, it.chance.below(nodes) as usize)
        };
        self.executions += 1;
        let execution = self.executions;
        let partition = partition_of(execution, partitions);
        let count = self.processes.len();
        let is_started = (0..count).any(|n| {
            let node = (first + n) % count;
            let is_stopped = {
                let it = lock(&self.world);
                it.stopped_us[node] > it.now_us
            };
            let process = self.processes[node].as_ref().filter(|_| !is_stopped);
            process.is_some_and(|process| process.start((execution, partition), steps))
        });
        lock(&self.world).tally.refused += u64::from(!is_started);
        if lock(&self.world).now_us < DISTURBED_US {
            self.again(Event::Start, 150);
        }
    }

    /// Asks all nodes that answer about an execution.
    pub(super) fn read(&mut self) {
        let (execution, told, partition) = {
            let mut it = lock(&self.world);
            let execution = 1 + it.chance.below(u64::from(self.executions.max(1))) as u32;
            let Some(told) = it.told.get(&execution).copied() else {
                drop(it);
                return self.again(Event::Read, 200);
            };
            (execution, told, partition_of(execution, it.partitions))
        };
        for process in self.processes.iter().flatten() {
            let app = lock(&process.app);
            let it = lock(&self.world);
            let is_stopped = it.stopped_us[process.index] > it.now_us;
            drop(it);
            if is_stopped || app.has_ended || !process.may_answer(&app, partition) {
                continue;
            }
            let answer = app.parts[&partition].durable.get(&execution).copied();
            // A lease is judged by the database's clock: where that jumps, an owner may be replaced before its lease is over.
            if !self.has_jumps {
                let answer = answer.unwrap_or_else(|| panic!("execution {execution} is not known any more"));
                assert!(
                    answer.step >= told.step,
                    "execution {execution}: {answer:?} is answered after {told:?} was"
                );
            }
            lock(&self.world).tally.read += 1;
        }
        self.again(Event::Read, 200);
    }

    pub(super) fn disturb(&mut self) {
        let (node, what, us) = {
            let mut it = lock(&self.world);
            let nodes = self.processes.len() as u64;
            (it.chance.below(nodes) as usize, it.chance.below(8), it.some_us(10_000))
        };
        let is_there = self.processes[node].is_some();
        let mut it = lock(&self.world);
        match what {
            0 | 1 if is_there => {
                it.tally.kills += 1;
                it.after(us, Event::Begin { node });
                drop(it);
                self.kill(node);
            }
            2 | 3 if is_there => {
                it.tally.stops += 1;
                it.stopped_us[node] = it.now_us + us;
            }
            4 => {
                it.tally.cuts += 1;
                it.cut_us[node] = it.now_us + us;
            }
            5 => {
                it.tally.aways += 1;
                it.away_us = it.now_us + us / 2;
            }
            6 if is_there => {
                it.tally.leaves += 1;
                drop(it);
                let process = self.processes[node].as_ref().expect("it is there");
                process.leaves.store(true, Ordering::Relaxed);
            }
            7 if self.has_jumps => {
                it.tally.jumps += 1;
                let ms = it.chance.below(20_000) as i64 - 10_000;
                it.tables.now_ms += ms;
            }
            _ => {}
        }
    }

    /// From now on, everything works.
    pub(super) fn heal(&mut self) {
        let mut it = lock(&self.world);
        (it.away_us, it.fails, it.stops) = (0, 0, 0);
        it.stopped_us.iter_mut().for_each(|until| *until = 0);
        it.cut_us.iter_mut().for_each(|until| *until = 0);
        drop(it);
        for node in 0..self.processes.len() {
            lock(&self.world).after(MS, Event::Begin { node });
        }
    }
}

pub(super) const STACK_WORDS: usize = 0x4000;
