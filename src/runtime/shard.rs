//! A shard: the executions of one thread, and everything that happens to them.
//!
//! It knows no thread and no clock. Whoever owns it calls [`turn`](Shard::turn) with the time; what comes from outside
//! lies in its [`Remote`]. The thread of the runtime does that, and so does the simulation, which is why both run the
//! same code.
//!
//! An execution that runs to its end is never anything but a seat that is used again. One that parks gets an entry: it
//! is packed if it is small, and keeps its seat if it is large or wants to go on at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::admission::ENTRY_BYTES;
use super::arms::{Arms, Due, DueKind};
use super::inbox::{Beat, Mail, Parcel, Remote, Shared};
use super::inline::Ended;
use super::job::answered;
use super::machine::Version;
use super::outcome::{Counts, Outcome, Status};
use super::seat::{Bench, Bug, Seat};
use super::slab::{Key, Slab};
use super::tasks::{Answer, Tasks};
use super::ticket::{BatchState, Called, Place, Reply};
use super::wheel::{TimerId, Wheel};
use crate::engine::{self, Event, Execution, Start, TimerKind, Token, Turn};
use crate::fault::{self, Fault};
use crate::json::{self, Arena, Value};
use crate::observe::{Scribe, Watch};

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
        self.end(&version, &reply, end, resident.billed as usize);
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

    // ---- the queue of deadlines ----

    /// Puts a resident into the queue when its deadline is the usual one, which makes it the last; else gives it a timer.
    fn join_queue(&mut self, slot: u32, deadline_ms: u64) -> (u32, u32) {
        let start = &self.shared.start;
        let usual_ms = self.now_ms.saturating_add(start.scaled(start.seconds_max.saturating_mul(1_000)));
        if deadline_ms != usual_ms {
            let timer = self.wheel.arm(deadline_ms, Due::deadline(slot));
            return (TIMED, timer.to_bits());
        }
        let before = std::mem::replace(&mut self.due_last, slot);
        match self.residents.at(before) {
            Some(last) => last.due_after = slot,
            None => self.due_first = slot,
        }
        (before, NOBODY)
    }

    fn leave_queue(&mut self, before: u32, after: u32) {
        if before == TIMED {
            let timer = TimerId::from_bits(after);
            if timer != TimerId::NONE {
                self.wheel.cancel(timer);
            }
            return;
        }
        match self.residents.at(before) {
            Some(before) => before.due_after = after,
            None => self.due_first = after,
        }
        match self.residents.at(after) {
            Some(after) => after.due_before = before,
            None => self.due_last = before,
        }
    }

    // ---- beginning ----

    fn begin_some(&mut self) {
        let mut begun = 0;
        while begun < STARTS_PER_TURN && self.transitions < TRANSITIONS_PER_TURN {
            let Some(mut opened) = self.parcel.take().or_else(|| self.open_parcel()) else { break };
            while opened.next < opened.parcel.len()
                && begun < STARTS_PER_TURN
                && self.transitions < TRANSITIONS_PER_TURN
            {
                self.begin(&mut opened);
                begun += 1;
            }
            self.tell_parcel(&mut opened);
            if opened.next < opened.parcel.len() {
                self.parcel = Some(opened);
            }
        }
    }

    /// The next parcel: of its own, or one that nobody else has opened.
    fn open_parcel(&mut self) -> Option<Opened> {
        let own = self.remote.take_parcel();
        let parcel = own.or_else(|| {
            let (before, after) = self.shared.remotes.split_at(usize::from(self.index));
            let stolen = after.iter().skip(1).chain(before).find_map(|remote| remote.take_parcel())?;
            self.remote.gauges.steals.fetch_add(1, Ordering::Relaxed);
            Some(stolen)
        })?;
        Some(Opened { parcel, next: 0, at: 0, ended: Counts::default(), ended_bytes: 0 })
    }

    fn begin(&mut self, opened: &mut Opened) {
        let (n, from) = (opened.next, opened.at);
        let to = opened.parcel.ends.get(n).map_or(opened.parcel.text.len(), |&end| end as usize);
        (opened.next, opened.at) = (n + 1, to);
        let watch = opened.parcel.watch.take();
        let Parcel { version, text, reply, seed, .. } = &opened.parcel;
        let mut seat = self.bench.seat();
        seat.watch = watch;
        seat.x.reset();
        seat.identify(version, reply.called().names());
        let (event, input) = match json::read(&mut seat.x.arena, &text[from..to]) {
            _ if let Reply::One(ticket) = reply
                && let Some(fault) = ticket.begin() =>
            {
                (Event::Abort(fault), Value::NULL)
            }
            Ok(input) => (Event::Go, input),
            Err(error) => {
                let cause = format!("The execution's input is not JSON: {error}");
                (Event::Fail(Fault::new(fault::RUNTIME, cause)), Value::NULL)
            }
        };
        let seed = self.shared.seed(seed.wrapping_add(n as u64));
        let start =
            Start { seed, now_ms: self.now_ms, seconds_max: version.seconds_max, ..self.shared.start };
        seat.x.begin(&version.program, &start, input);
        if self.shared.is_watched {
            seat.observe(&self.shared, &mut self.scribe, version);
        }
        let mut job = Job { version, called: reply.called(), seat, key: None, arms: Arms::default() };
        let turn = self.drive(&mut job, event);
        let Job { seat, key, mut arms, .. } = job;
        if let Ok(turn @ (Turn::Parked | Turn::Yielded)) = turn {
            let key = key.unwrap_or_else(|| self.residents.reserve());
            return self.move_in(key, &opened.parcel, n, to - from, arms, seat, turn == Turn::Yielded);
        }
        if let Some(key) = key {
            self.disarm_all(&mut arms, key, turn.is_err());
            self.residents.release(key);
        }
        self.end_started(opened, n, seat, turn.is_err(), to - from + ENTRY_BYTES);
    }

    #[allow(clippy::too_many_arguments)]
    fn move_in(
        &mut self,
        key: Key,
        parcel: &Parcel,
        n: usize,
        bytes: usize,
        arms: Arms,
        seat: Box<Seat>,
        goes_on: bool,
    ) {
        let reply = match &parcel.reply {
            Reply::Batch(batch, first) => Reply::Batch(Arc::clone(batch), first + n as u32),
            reply => reply.clone(),
        };
        let deadline_ms = seat.x.deadline_ms();
        let (due_before, due_after) = self.join_queue(key.slot, deadline_ms);
        let billed = u32::try_from(bytes + ENTRY_BYTES).unwrap_or(u32::MAX);
        let (version, body) = (Arc::clone(&parcel.version), Body::Packed(Box::default()));
        let mut resident =
            Resident { version, body, reply, arms, deadline_ms, due_before, due_after, billed, watch: None };
        self.settle(key, &mut resident, seat, goes_on);
        if let Reply::One(ticket) = &resident.reply
            && let Some(fault) = ticket.park(self.place(key))
        {
            self.remote.send(Mail::Abort(key, fault));
        }
        self.residents.put(key, resident);
    }

    // ---- ending ----

    /// An execution that ran to its end at once. What there is to count is told for the whole parcel.
    fn end_started(&mut self, opened: &mut Opened, n: usize, mut seat: Box<Seat>, bug: bool, billed: usize) {
        let version = &opened.parcel.version;
        seat.tell_end(&self.shared, &mut self.scribe, version, bug_outcome, self.now_ms);
        let end = if bug { End::Bug } else { End::Over(&mut seat) };
        match &opened.parcel.reply {
            reply @ Reply::One(_) => {
                let (version, reply) = (Arc::clone(&opened.parcel.version), reply.clone());
                self.end(&version, &reply, end, billed);
            }
            reply => {
                if let Reply::Batch(batch, first) = reply {
                    end.tell(batch, first + n as u32);
                }
                opened.ended.count(end.status());
                opened.ended.bugs += u64::from(bug);
                opened.ended_bytes += billed;
            }
        }
        let version = &opened.parcel.version;
        seat.hand_over(&self.shared, &mut self.scribe, version, bug_outcome, self.now_ms);
        self.bench.put_back(seat);
    }

    fn tell_parcel(&mut self, opened: &mut Opened) {
        let (ended, bytes) = (std::mem::take(&mut opened.ended), std::mem::take(&mut opened.ended_bytes));
        if ended.ended() == 0 {
            return;
        }
        self.remote.tally.end(&ended);
        if let Some(view) = &opened.parcel.version.view {
            // They ended in the turn in which they began.
            view.machine.ended(usize::from(self.index), ended.endings(), 0);
        }
        self.shared.admission.release(&opened.parcel.version.usage, ended.ended() as usize, bytes);
        if let Reply::Batch(batch, _) = &opened.parcel.reply {
            batch.end(&ended);
        }
        self.ended_any = true;
    }

    /// An execution is over. It is counted before anybody learns of it.
    fn end(&mut self, version: &Version, reply: &Reply, end: End<'_>, billed: usize) {
        let status = end.status();
        let mut counts = Counts::default();
        counts.count(status);
        counts.bugs = u64::from(matches!(end, End::Bug));
        self.remote.tally.end(&counts);
        if let Some(view) = &version.view {
            let took_ms = match &end {
                End::Over(seat) => self.now_ms.saturating_sub(seat.x.started_ms()),
                _ => 0,
            };
            view.machine.ended(usize::from(self.index), counts.endings(), took_ms);
        }
        self.shared.admission.release(&version.usage, 1, billed);
        self.ended_any = true;
        match reply {
            Reply::One(ticket) => {
                self.shared.forget(ticket);
                ticket.end(end.outcome(self.now_ms));
            }
            Reply::Batch(batch, n) => {
                end.tell(batch, *n);
                batch.end(&counts);
            }
        }
    }

    // ---- the end of all ----

    /// When the time for draining is over, or the engine is gone, nothing is left running.
    fn drain(&mut self) {
        let dropped = self.shared.dropped.load(Ordering::Acquire);
        if !dropped && self.now_ms < self.shared.drain_at_ms.load(Ordering::Acquire) {
            return;
        }
        let shut_down = || Fault { error: None, cause: Some("The engine was shut down.".to_owned()) };
        for key in self.residents.keys() {
            self.wake(key, |_| match dropped {
                true => Event::Abort(shut_down()),
                false => Event::Deadline,
            });
        }
        while let Some(opened) = self.parcel.take().or_else(|| {
            let parcel = self.remote.take_parcel()?;
            Some(Opened { parcel, next: 0, at: 0, ended: Counts::default(), ended_bytes: 0 })
        }) {
            let Opened { mut parcel, next, mut at, .. } = opened;
            let mut watch = parcel.watch.take();
            for n in next..parcel.len() {
                let to = parcel.ends.get(n).map_or(parcel.text.len(), |&end| end as usize);
                let reply = match &parcel.reply {
                    Reply::Batch(batch, first) => Reply::Batch(Arc::clone(batch), first + n as u32),
                    reply => reply.clone(),
                };
                let end = match dropped {
                    true => End::Never(Status::Aborted, Some(shut_down())),
                    false => End::Never(Status::TimedOut, None),
                };
                if let Some(mut watch) = watch.take() {
                    watch.ended(&Arena::new(), &end.never(), self.now_ms);
                }
                self.end(&parcel.version, &reply, end, to - at + ENTRY_BYTES);
                at = to;
            }
        }
        self.finished = dropped && self.residents.len() == 0;
    }
}

/// How an execution came to its end.
enum End<'s> {
    /// As its seat says.
    Over(&'s mut Seat),
    /// It never began.
    Never(Status, Option<Fault>),
    /// A bug of the engine's ended it.
    Bug,
}

/// What becomes of an execution that met a bug of the engine's.
pub(super) fn bug(now_ms: u64) -> Outcome {
    Outcome::new(&bug_outcome(), &Arena::new(), now_ms, now_ms)
}

pub(super) fn bug_outcome() -> engine::Outcome {
    engine::Outcome::Failed(Fault::new(fault::RUNTIME, "The engine failed an assertion of its own."))
}

impl End<'_> {
    fn status(&self) -> Status {
        match self {
            End::Over(seat) => seat.x.outcome().map_or(Status::Failed, Status::of),
            End::Never(status, _) => *status,
            End::Bug => Status::Failed,
        }
    }

    /// The outcome of an execution that never began.
    fn never(&self) -> engine::Outcome {
        match self {
            End::Never(Status::TimedOut, _) => engine::Outcome::TimedOut,
            End::Never(_, Some(fault)) => engine::Outcome::Aborted(fault.clone()),
            _ => engine::Outcome::Aborted(Fault { error: None, cause: None }),
        }
    }

    fn tell(&self, batch: &BatchState, n: u32) {
        if !batch.has_sink() {
            return;
        }
        match self {
            End::Over(seat) if let Some(outcome) = seat.x.outcome() => {
                batch.tell(n, Ended::of(&seat.x, outcome))
            }
            End::Over(_) | End::Bug => batch.tell(n, Ended::of(&Execution::new(), &bug_outcome())),
            End::Never(..) => batch.tell(n, Ended::of(&Execution::new(), &self.never())),
        }
    }

    fn outcome(self, now_ms: u64) -> Outcome {
        match self {
            End::Over(seat) => match seat.x.outcome() {
                Some(outcome) => Outcome::new(outcome, &seat.x.arena, seat.x.started_ms(), now_ms),
                None => Outcome::new(&bug_outcome(), &seat.x.arena, now_ms, now_ms),
            },
            End::Never(status, fault) => Outcome::without_output(status, fault, now_ms),
            End::Bug => bug(now_ms),
        }
    }
}
