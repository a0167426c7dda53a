//! A shard: the executions of one thread, and everything that happens to them.
//!
//! It knows no thread and no clock. Whoever owns it calls [`turn`](Shard::turn) with the time; what comes from outside
//! lies in its [`Remote`]. The thread of the runtime does that, and so does the simulation, which is why both run the
//! same code.
//!
//! An execution that runs to its end is never anything but a seat that is used again. One that parks gets an entry: it
//! is packed if it is small, and keeps its seat if it is large or wants to go on at once.

mod begin;
mod deadlines;
mod end;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::admission::ENTRY_BYTES;
use super::arms::{Arms, Due, DueKind};
use super::inbox::{Beat, Mail, Parcel, Remote, Shared};
use super::job::answered;
use super::machine::Version;
use super::outcome::Counts;
use super::seat::{Bench, Bug, Seat};
use super::slab::{Key, Slab};
use super::tasks::{Answer, Tasks};
use super::ticket::{Called, Place, Reply};
use super::wheel::{TimerId, Wheel};
use crate::engine::{Event, TimerKind, Token, Turn};
use crate::observe::{Memory, Scribe, Took, Watch};
use end::End;

pub(super) use end::{bug, bug_outcome};

/// Executions one thread owns.
pub struct Shard {
    pub(super) shared: Arc<Shared>,
    pub(super) remote: Arc<Remote>,
    pub(super) index: u16,
    /// Writes down what is shown of executions.
    pub(super) scribe: Scribe,
    residents: Slab<Resident>,
    pub(super) wheel: Wheel<Due>,
    pub(super) tasks: Tasks,
    pub(super) bench: Bench,
    /// How many of the bench's effects were carried out.
    pub(super) carried_out: usize,
    /// Residents that used up their budget of transitions.
    runnable: VecDeque<Key>,
    parcel: Option<Opened>,
    /// Residents by deadline, as long as that is the usual one: first and last slot. The others have a timer.
    due_first: u32,
    due_last: u32,
    pub(super) now_ms: u64,
    /// When the executions that are under way began, where that is measured.
    began_us: u64,
    /// Transitions taken in this turn.
    pub(super) transitions: u64,
    /// Whether an execution ended in this turn.
    ended_any: bool,
    /// Where executions are packed, before they get a box of the right size.
    packed: Vec<u8>,
    finished: bool,
}

/// A parcel of which some have begun.
struct Opened {
    parcel: Parcel,
    next: usize,
    at: usize,
    /// What is to be told about it.
    ended: Counts,
    ended_bytes: usize,
    memory: Memory,
}

impl Opened {
    fn new(parcel: Parcel) -> Opened {
        let (ended, memory) = Default::default();
        Opened { parcel, next: 0, at: 0, ended, ended_bytes: 0, memory }
    }
}

/// An execution that is parked.
#[derive(Debug)]
struct Resident {
    version: Arc<Version>,
    body: Body,
    reply: Reply,
    arms: Arms,
    deadline_ms: u64,
    /// Its neighbours in the queue of deadlines.
    due_before: u32,
    due_after: u32,
    billed: u32,
    /// Who watches it, while it has no seat.
    watch: Option<Box<Watch>>,
}

#[derive(Debug)]
enum Body {
    Packed(Box<[u8]>),
    Seated(Box<Seat>),
}

/// An execution that runs.
pub(super) struct Job<'v> {
    pub(super) version: &'v Arc<Version>,
    pub(super) called: &'v Called,
    pub(super) seat: Box<Seat>,
    /// Its entry, if it has one already.
    pub(super) key: Option<Key>,
    pub(super) arms: Arms,
}

const NOBODY: u32 = u32::MAX;
/// In `due_before` of a resident whose deadline has a timer of its own.
const TIMED: u32 = u32::MAX - 1;

/// Transitions after which a turn begins no more executions: some 300 µs.
const TRANSITIONS_PER_TURN: u64 = 4_096;
/// Of everything else, how much one turn takes on.
const EVENTS_PER_TURN: usize = 1_024;
/// Executions a turn begins at most.
const STARTS_PER_TURN: usize = 512;

impl Shard {
    pub(super) fn new(shared: Arc<Shared>, index: usize) -> Shard {
        let remote = Arc::clone(&shared.remotes[index]);
        let now_ms = shared.time.now_ms();
        Shard {
            shared,
            remote,
            index: index as u16,
            scribe: Scribe::default(),
            residents: Slab::new(),
            wheel: Wheel::new(now_ms),
            tasks: Tasks::new(),
            bench: Bench::default(),
            carried_out: 0,
            runnable: VecDeque::new(),
            parcel: None,
            due_first: NOBODY,
            due_last: NOBODY,
            now_ms,
            began_us: 0,
            transitions: 0,
            ended_any: false,
            packed: Vec::new(),
            finished: false,
        }
    }

    /// Does what there is to do at `now_ms`, in milliseconds since 1970, but not without end. Whether there is more to
    /// do at once.
    pub fn turn(&mut self, now_ms: u64) -> bool {
        self.now_ms = self.now_ms.max(now_ms);
        self.transitions = 0;
        self.take_mail();
        self.poll_tasks();
        self.fire_timers();
        self.time_out_due();
        self.go_on();
        self.begin_some();
        if self.shared.gate.is_closed() {
            self.drain();
        }
        if std::mem::take(&mut self.ended_any) {
            self.shared.wake_drainers();
        }
        self.show();
        self.has_more()
    }

    /// When it wants its next turn, if nothing happens before.
    pub fn next_ms(&mut self) -> Option<u64> {
        let first = self.due_first;
        let due = self.residents.at(first).map(|resident| resident.deadline_ms);
        let drain = match self.shared.drain_at_ms.load(Ordering::Acquire) {
            at_ms if at_ms != u64::MAX && self.residents.len() > 0 => Some(at_ms),
            _ => None,
        };
        [self.wheel.next_ms(), due, drain].into_iter().flatten().min()
    }

    /// Executions it holds: those that are parked, or wait for their turn.
    pub fn executions(&self) -> usize {
        self.residents.len() + self.parcel.as_ref().map_or(0, |opened| opened.parcel.len() - opened.next)
    }

    /// Timers that are armed.
    pub fn timers(&self) -> usize {
        self.wheel.len()
    }

    /// Handlers' futures that wait.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Whether the engine is gone and nothing is left to do.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether it must look whether it is to end.
    pub(super) fn is_to_end(&self) -> bool {
        self.shared.dropped.load(Ordering::Acquire)
    }

    pub(super) fn reserve(&mut self) -> Key {
        self.residents.reserve()
    }

    pub(super) fn place(&self, key: Key) -> Place {
        Place { shard: self.index, key }
    }

    fn has_more(&mut self) -> bool {
        let due = self.next_ms().is_some_and(|at_ms| at_ms <= self.now_ms);
        due || self.remote.has_any() || !self.runnable.is_empty() || self.parcel.is_some()
    }

    // ---- events ----

    fn take_mail(&mut self) {
        for _ in 0..EVENTS_PER_TURN {
            match self.remote.mail.pop() {
                None => break,
                Some(Mail::Abort(key, fault)) => self.wake(key, |_| Event::Abort(fault)),
                Some(Mail::Answer(key, token, answer)) => self.answer(key, token, answer),
                Some(Mail::Started(key, token, worker)) => {
                    self.wake(key, |_| Event::TaskStarted(token, worker));
                }
                Some(Mail::Heartbeat(key, token, beat)) => {
                    // First, so that one that comes meanwhile is not lost.
                    match beat {
                        Beat::Handler(beats) => beats.store(false, Ordering::Release),
                        Beat::Token(number) => self.shared.waiting.heard(number),
                    }
                    self.wake(key, |_| Event::Heartbeat(token));
                }
            }
        }
    }

    fn poll_tasks(&mut self) {
        for _ in 0..EVENTS_PER_TURN {
            let Some(task) = self.remote.woken.pop() else { break };
            if let Some((key, token, answer)) = self.tasks.poll(task) {
                self.task_over(key, token, answer);
            }
        }
    }

    fn task_over(&mut self, key: Key, token: Token, answer: Option<Answer>) {
        // The task was the resident's: those of the past are cancelled with it.
        if let Some(resident) = self.residents.at(key.slot) {
            resident.arms.task_ended(token.frame());
        }
        if let Some(answer) = answer {
            self.answer(key, token, answer);
        }
    }

    fn answer(&mut self, key: Key, token: Token, answer: Answer) {
        self.wake(key, |seat| answered(seat, token, answer));
    }

    fn fire_timers(&mut self) {
        if let Some(lag_ms) = self.wheel.next_ms().and_then(|at_ms| self.now_ms.checked_sub(at_ms)) {
            let gauges = &self.remote.gauges;
            gauges.lag_ms.store(lag_ms, Ordering::Relaxed);
            gauges.lag_ms_max.fetch_max(lag_ms, Ordering::Relaxed);
        }
        for _ in 0..EVENTS_PER_TURN {
            let Some((_, due)) = self.wheel.pop(self.now_ms) else { break };
            if due.kind() == DueKind::Answer {
                if let Some((key, token, answer)) = self.tasks.take_answer(due.slot) {
                    self.task_over(key, token, Some(answer));
                }
                continue;
            }
            let Some(key) = self.residents.key(due.slot) else { continue };
            if let Some(resident) = self.residents.at(due.slot) {
                match due.kind() {
                    DueKind::Deadline => resident.due_after = TimerId::NONE.to_bits(),
                    _ => resident.arms.fired(&due),
                }
            }
            let token = due.token();
            self.wake(key, |_| match due.kind() {
                DueKind::Wake => Event::Timer(token, TimerKind::Wake),
                DueKind::Timeout => Event::Timer(token, TimerKind::Timeout),
                DueKind::Heartbeat => Event::Timer(token, TimerKind::Heartbeat),
                DueKind::Deadline | DueKind::Answer => Event::Deadline,
            });
        }
    }

    fn time_out_due(&mut self) {
        for _ in 0..EVENTS_PER_TURN {
            let slot = self.due_first;
            let Some(resident) = self.residents.at(slot) else { break };
            if resident.deadline_ms > self.now_ms {
                break;
            }
            if let Some(key) = self.residents.key(slot) {
                self.wake(key, |_| Event::Deadline);
            }
        }
    }

    fn go_on(&mut self) {
        for _ in 0..self.runnable.len().min(EVENTS_PER_TURN) {
            if self.transitions >= TRANSITIONS_PER_TURN {
                break;
            }
            let Some(key) = self.runnable.pop_front() else { break };
            self.wake(key, |_| Event::Go);
        }
    }

    /// Lets a resident react to something; nothing happens when it is gone.
    fn wake(&mut self, key: Key, event: impl FnOnce(&mut Seat) -> Event) {
        let Some(resident) = self.residents.take(key) else { return };
        let Resident { version, body, arms, reply, watch, .. } = resident;
        let (seat, unpacked) = match body {
            Body::Seated(seat) => (seat, true),
            Body::Packed(packed) => {
                let mut seat = self.bench.seat();
                seat.identify(&version, reply.called().names());
                let unpacked = seat.x.unpack(&packed, &self.shared.start);
                seat.watch = watch;
                (seat, unpacked)
            }
        };
        let mut job = Job { version: &version, called: reply.called(), arms, key: Some(key), seat };
        let turn = match unpacked {
            true => {
                let event = event(&mut job.seat);
                self.drive(&mut job, event)
            }
            false => Err(Bug),
        };
        let Job { mut arms, mut seat, .. } = job;
        if let Ok(turn @ (Turn::Parked | Turn::Yielded)) = turn {
            let mut resident = Resident {
                version,
                body: Body::Packed(Box::default()),
                arms,
                reply,
                watch: None,
                ..resident
            };
            self.settle(key, &mut resident, seat, turn == Turn::Yielded);
            return self.residents.put(key, resident);
        }
        self.disarm_all(&mut arms, key, turn.is_err());
        self.leave_queue(resident.due_before, resident.due_after);
        self.residents.release(key);
        seat.tell_end(&self.shared, &mut self.scribe, &version, bug_outcome, self.now_ms);
        let end = match turn {
            Ok(_) => End::Over(&mut seat),
            Err(Bug) => End::Bug,
        };
        let took = Took::Ms(self.now_ms.saturating_sub(end.started_ms(self.now_ms)));
        self.end(&version, &reply, end, took, resident.billed as usize);
        seat.hand_over(&self.shared, &mut self.scribe, &version, bug_outcome, self.now_ms);
        self.bench.put_back(seat);
    }

    /// Gives a resident its seat, or what is left of it when it is packed.
    fn settle(&mut self, key: Key, resident: &mut Resident, mut seat: Box<Seat>, goes_on: bool) {
        self.packed.clear();
        seat.tell_log(&self.shared, &mut self.scribe, &resident.version);
        let bytes = if !goes_on && seat.x.pack(&mut self.packed) {
            resident.body = Body::Packed(self.packed.as_slice().into());
            resident.watch = seat.watch.take();
            if let Some(watch) = &mut resident.watch {
                watch.moving(self.shared.desk.as_deref(), &resident.version.program, &seat.x.arena);
            }
            self.bench.put_back(seat);
            self.packed.len()
        } else {
            let bytes = seat.x.arena.capacity_bytes();
            resident.body = Body::Seated(seat);
            bytes
        };
        if goes_on {
            self.runnable.push_back(key);
        }
        let bytes = u32::try_from(bytes + ENTRY_BYTES).unwrap_or(u32::MAX);
        self.shared.admission.adjust(&resident.version.usage, resident.billed as usize, bytes as usize);
        resident.billed = bytes;
    }
}
