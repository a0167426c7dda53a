//! A process: a node with its lines, and the executions in its partitions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use expressway::journal::cluster::model::World;
use expressway::journal::cluster::simulated::{Host, Owners, Share, SimulatedNode, Step, Taken};
use expressway::journal::{Block, JournalError, Lsn, Options, Record, Refused, Room, Watcher};

use super::records::{SNAPSHOT, START, STEP, State, apply, record_of};
use super::world::{Event, Line, MS, Shared, Way, lock};

/// How often a node looks for partitions to take, as in a server.
pub(super) const LOOK_MS: u64 = 100;
/// How long a node that leaves waits for others to take what it has.
const LEAVING: Duration = Duration::from_secs(5);

/// A partition of a node, with the executions in it.
#[derive(Default)]
pub(super) struct Part {
    pub(super) epoch: u64,
    pub(super) is_open: bool,
    /// Starts that are not answered yet.
    pub(super) passes: usize,
    /// As appended, and as durable.
    pub(super) executions: BTreeMap<u32, State>,
    pub(super) durable: BTreeMap<u32, State>,
}

#[derive(Default)]
pub(super) struct App {
    pub(super) parts: BTreeMap<u16, Part>,
    pub(super) held_until: Option<Instant>,
    /// Records that were appended, with the partition and the state of the execution that they make durable.
    pub(super) waiting: Vec<(Lsn, u16, u32, State)>,
    pub(super) durable: Lsn,
    /// What was written once more, from which group to which: what is before is not needed when all of it is durable.
    pub(super) trims: Option<(Lsn, Lsn)>,
    pub(super) has_ended: bool,
    pub(super) writer: usize,
}

/// A process.
pub(super) struct Process {
    pub(super) index: usize,
    pub(super) life: u32,
    pub(super) world: Shared,
    pub(super) node: OnceLock<SimulatedNode>,
    pub(super) app: Mutex<App>,
    pub(super) leaves: AtomicBool,
}

impl Process {
    pub(super) fn node(&self) -> &SimulatedNode {
        self.node.get().expect("it has begun")
    }

    pub(super) fn way(&self) -> Way {
        Way { world: Arc::clone(&self.world), node: self.index }
    }

    /// Wakes the writer, if it waits for work.
    pub(super) fn wake_writer(&self) {
        let writer = lock(&self.app).writer;
        let mut it = lock(&self.world);
        if it.lines[writer].is_idle {
            let ticket = it.lines[writer].ticket;
            it.after(1, Event::Wake { line: writer, ticket });
        }
    }

    /// A new line of this process.
    pub(super) fn line(self: &Arc<Self>, body: impl FnOnce(&Arc<Process>) + Send + 'static) -> usize {
        let process = Arc::clone(self);
        let mut it = lock(&self.world);
        let (node, life, line) = (self.index, self.life, it.lines.len());
        it.lines.push(Line { node, life, ticket: 0, is_idle: false, is_killed: false, arrives: false });
        it.born.push((line, Box::new(move || body(&process))));
        it.after(0, Event::Wake { line, ticket: 0 });
        line
    }

    /// Waits for work, or for some time.
    pub(super) fn idle(&self, time: Duration) {
        let mut it = lock(&self.world);
        let current = it.current;
        it.lines[current].is_idle = true;
        drop(it);
        self.way().pause(time);
    }

    pub(super) fn begin(self: &Arc<Self>, lease: Duration, options: Options) {
        self.line(move |process| {
            let (writer, room) = loop {
                let (seen, (node, life)) = (Arc::downgrade(process), (process.index, process.life));
                let watcher: Watcher = Box::new(move |durable| {
                    // The process has the journal, which has this.
                    let Some(seen) = seen.upgrade() else { return };
                    let mut app = lock(&seen.app);
                    match durable {
                        Ok(durable) => app.durable = durable,
                        Err(_) => app.has_ended = true,
                    }
                    lock(&seen.world).after(0, Event::Durable { node, life });
                });
                let name = format!("n{node}-{life}");
                match SimulatedNode::begin(&name, lease, Arc::new(process.way()), options, vec![watcher]) {
                    Ok((node, writer, room)) => {
                        assert!(process.node.set(node).is_ok(), "it begins once");
                        break (writer, room);
                    }
                    Err(_) => process.way().pause(Duration::from_millis(50)),
                }
            };
            let mut writer = writer;
            let line = process.line(move |process| {
                loop {
                    match writer.step() {
                        Step::Done => {}
                        Step::Idle => process.idle(Duration::from_secs(1)),
                        Step::Failed | Step::Over => break,
                    }
                }
                lock(&process.app).has_ended = true;
                let (node, life) = (process.index, process.life);
                lock(&process.world).after(0, Event::Durable { node, life });
            });
            lock(&process.app).writer = line;
            let mut room = room;
            process.line(move |process| {
                loop {
                    match room.step() {
                        Step::Done => lock(&process.world).tally.removed += 1,
                        Step::Idle | Step::Failed => process.idle(Duration::from_millis(300)),
                        Step::Over => break,
                    }
                }
            });
            process.line(move |process| {
                loop {
                    process.way().pause(lease / 3);
                    if process.node().renew().is_ok() {
                        process.hold();
                    }
                }
            });
            process.line(|process| process.keep());
        });
    }

    /// Takes and releases partitions, until it leaves.
    pub(super) fn keep(self: &Arc<Self>) {
        let mut share = Share::of(self.node().cluster());
        let mut host = Keeper(Arc::clone(self));
        let mut left = None;
        loop {
            let looked = share.look(&mut host);
            if self.leaves.load(Ordering::Relaxed) {
                let since = *left.get_or_insert(self.way().now());
                let told = self.node().leave();
                let has_none = looked.is_ok() && told.is_ok() && share.count() == 0;
                if has_none {
                    self.node().release_all();
                }
                // If there is no other node, it ends with what it has.
                if has_none || self.way().now() - since > LEAVING {
                    lock(&self.app).has_ended = true;
                    let (node, life) = (self.index, self.life);
                    lock(&self.world).after(0, Event::Durable { node, life });
                    return;
                }
            }
            self.way().pause(Duration::from_millis(LOOK_MS));
        }
    }

    pub(super) fn hold(&self) {
        let mut held = [0; 64];
        for (partition, part) in &lock(&self.app).parts {
            held[usize::from(*partition)] = if part.is_open { part.epoch } else { 0 };
        }
        let owns = |partition| lock(&self.app).parts.get(&partition).is_some_and(|part| part.is_open);
        if let Ok(Some(until)) = self.node().cluster().held_until(&held, owns) {
            lock(&self.app).held_until = Some(until);
        }
    }

    /// Whether it may answer for a partition.
    pub(super) fn may_answer(&self, app: &App, partition: u16) -> bool {
        let is_held = app.held_until.is_some_and(|until| self.way().now() < until);
        is_held && app.parts.get(&partition).is_some_and(|part| part.is_open)
    }

    /// Appends a record of an execution in a partition that it has.
    pub(super) fn append(
        &self,
        app: &mut App,
        (kind, partition): (u16, u16),
        (execution, state): (u32, State),
        room: Room,
    ) -> Result<Lsn, Refused> {
        let bytes = record_of(execution, state);
        let lsn = self.node().journal().append(Record { kind, partition, bytes: &bytes }, room)?;
        let part = app.parts.get_mut(&partition).expect("it has it");
        part.executions.insert(execution, state);
        app.waiting.push((lsn, partition, execution, state));
        Ok(lsn)
    }

    pub(super) fn start(&self, (execution, partition): (u32, u16), steps: u32) -> bool {
        let mut app = lock(&self.app);
        if self.node.get().is_none() || app.has_ended || !self.may_answer(&app, partition) {
            return false;
        }
        let state = State { step: 0, steps, result: 0 };
        let appended = self.append(&mut app, (START, partition), (execution, state), Room::Ordinary);
        if appended.is_ok() {
            app.parts.get_mut(&partition).expect("it has it").passes += 1;
        }
        drop(app);
        self.wake_writer();
        appended.is_ok()
    }

    /// The result of a step is there: it is recorded, unless it was, or the execution is another node's by now.
    pub(super) fn take_result(&self, partition: u16, (execution, step, result): (u32, u32, u32)) {
        let mut app = lock(&self.app);
        let Some(part) = app.parts.get(&partition) else { return };
        let Some(state) = part.executions.get(&execution).copied() else { return };
        if app.has_ended || state.step + 1 != step {
            return;
        }
        let next = State { step, result, ..state };
        match self.append(&mut app, (STEP, partition), (execution, next), Room::Reserve) {
            Ok(_) => {}
            Err(Refused::Failed(_)) => {}
            // There is no room at present.
            Err(_) => self.expect(execution, step, 50 * MS),
        }
        drop(app);
        self.wake_writer();
    }

    /// A step's result will be there after some time.
    pub(super) fn expect(&self, execution: u32, step: u32, us: u64) {
        let (node, life) = (self.index, self.life);
        lock(&self.world).after(us, Event::Result { node, life, execution, step });
    }

    pub(super) fn expect_next(&self, execution: u32, state: State) {
        if state.step < state.steps {
            let us = lock(&self.world).some_us(1_000);
            self.expect(execution, state.step + 1, us);
        }
    }

    /// Tells what has become durable.
    pub(super) fn tell(&self) {
        let mut app = lock(&self.app);
        let durable = app.durable;
        if let Some((first, _)) = app.trims.take_if(|(_, last)| *last <= durable) {
            self.node().journal().trim(first);
        }
        let (ready, waiting) =
            std::mem::take(&mut app.waiting).into_iter().partition(|(lsn, ..)| *lsn <= durable);
        app.waiting = waiting;
        let ready: Vec<(Lsn, u16, u32, State)> = ready;
        for (_, partition, execution, state) in ready {
            if let Some(part) = app.parts.get_mut(&partition) {
                part.durable.insert(execution, state);
                if state.step == 0 {
                    part.passes -= 1;
                }
            }
            let mut it = lock(&self.world);
            it.tell(execution, state);
            it.tally.started += u64::from(state.step == 0);
            drop(it);
            self.expect_next(execution, state);
        }
    }

    /// Writes everything once more, so that what was written before is not needed.
    pub(super) fn compact(&self) {
        let mut app = lock(&self.app);
        if self.node.get().is_none() || app.has_ended {
            return;
        }
        let (mut bounds, mut is_whole) = (None, true);
        for (partition, part) in &app.parts {
            for (execution, state) in &part.executions {
                let bytes = record_of(*execution, *state);
                let record = Record { kind: SNAPSHOT, partition: *partition, bytes: &bytes };
                match self.node().journal().append(record, Room::Reserve) {
                    Ok(lsn) => bounds = Some((bounds.map_or(lsn, |(first, _)| first), lsn)),
                    Err(_) => is_whole = false,
                }
            }
        }
        app.trims = bounds.filter(|_| is_whole);
        drop(app);
        self.wake_writer();
    }
}

pub(super) struct Keeper(pub(super) Arc<Process>);

impl Host for Keeper {
    fn show(&mut self, _: &Owners) {}

    fn lose(&mut self, why: String) {
        lock(&self.0.world).tally.replaced += 1;
        self.0.node().journal().partitions().expect("it has them").lose(why);
        self.0.wake_writer();
    }

    fn follow(&mut self, _: u64) -> Result<(), String> {
        Ok(())
    }

    fn take(&mut self, partition: u16) -> Result<Taken, String> {
        let process = &self.0;
        let mut executions = BTreeMap::new();
        let partitions = process.node().journal().partitions().expect("it has them");
        let opened = partitions.open(partition, &mut |block: &Block<'_>| {
            block.records().for_each(|record| apply(&mut executions, record, false));
        });
        let epoch = match opened {
            Ok(Some(epoch)) => epoch,
            Ok(None) => return Ok(Taken::Not),
            Err(JournalError::Damaged { what, .. }) => panic!("partition {partition} is damaged: {what}"),
            Err(_) => return Ok(Taken::Later),
        };
        let part = Part { epoch, is_open: true, passes: 0, durable: executions.clone(), executions };
        let known: Vec<(u32, State)> =
            part.executions.iter().map(|(execution, state)| (*execution, *state)).collect();
        assert!(lock(&process.app).parts.insert(partition, part).is_none(), "it is taken once");
        lock(&process.world).tally.taken += 1;
        for (execution, state) in known {
            lock(&process.world).tell(execution, state);
            process.expect_next(execution, state);
        }
        let is_held = lock(&process.app).held_until.is_some_and(|until| process.way().now() < until);
        if !is_held {
            process.hold();
        }
        Ok(Taken::Owned(epoch))
    }

    fn release(&mut self, partition: u16) -> Result<(), String> {
        let process = &self.0;
        let part = |process: &Process, of: &dyn Fn(&mut Part) -> usize| {
            of(lock(&process.app).parts.get_mut(&partition).expect("it has it"))
        };
        part(process, &|part| {
            part.is_open = false;
            0
        });
        while part(process, &|part| part.passes) > 0 {
            if lock(&process.app).has_ended {
                return Err("the journal has ended".to_owned());
            }
            process.way().pause(Duration::from_millis(1));
        }
        process.wake_writer();
        let closed = process.node().journal().partitions().expect("it has them").close(partition);
        closed.map_err(|failure| failure.to_string())?;
        lock(&process.app).parts.remove(&partition);
        Ok(())
    }

    fn leaves(&self) -> bool {
        self.0.leaves.load(Ordering::Relaxed)
    }
}
