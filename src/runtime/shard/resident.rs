//! Events of residents: handled at once, or at their machine's turn.

use super::end::End;
use super::{Body, Going, Job, Resident, Shard, bug_outcome};
use crate::engine::{Event, TaskCall, TimerKind, Token, Turn};
use crate::fault::Fault;
use crate::fuel::Cut;
use crate::observe::Took;
use crate::program::Program;
use crate::runtime::context::ExecutionBuffer;
use crate::runtime::fiber::Fiber;
use crate::runtime::job::{Drove, Stopped, Work, answered, submitted};
use crate::runtime::slab::Key;
use crate::runtime::tasks::Answer;

/// An event of a resident.
#[derive(Debug)]
pub(super) enum ResidentEvent {
    Answer(Token, Answer),
    Started(Token, Option<Box<str>>),
    /// A service has accepted the task, with this response.
    Submitted(Token, Vec<u8>),
    Heartbeat(Token),
    Timer(Token, TimerKind),
    ClockSet,
    /// Tasks of a durable execution may be started, as of so many visits.
    Tasks(Vec<TaskCall>, u32),
    /// It continues in this process.
    Resume,
    /// It is back in memory.
    Return,
    Deadline,
    Abort(Fault),
}

impl ResidentEvent {
    /// How this event cuts a suspended turn short: only events that end the execution do.
    fn cut(&self) -> Option<Cut> {
        match self {
            ResidentEvent::Deadline => Some(Cut::Deadline),
            ResidentEvent::Abort(_) => Some(Cut::Aborted),
            _ => None,
        }
    }

    /// Whether another of the same would change nothing.
    pub(super) fn includes(&self, other: &ResidentEvent) -> bool {
        match (self, other) {
            (ResidentEvent::Deadline, ResidentEvent::Deadline)
            | (ResidentEvent::ClockSet, ResidentEvent::ClockSet)
            | (ResidentEvent::Abort(_), ResidentEvent::Abort(_)) => true,
            (ResidentEvent::Heartbeat(token), ResidentEvent::Heartbeat(other)) => token == other,
            _ => false,
        }
    }

    fn event(self, program: &Program, buffer: &mut ExecutionBuffer) -> Event {
        match self {
            ResidentEvent::Answer(token, answer) => answered(program, buffer, token, answer),
            ResidentEvent::Started(token, worker) => Event::TaskStarted(token, worker),
            ResidentEvent::Submitted(token, response) => submitted(program, buffer, token, &response),
            ResidentEvent::Heartbeat(token) => Event::Heartbeat(token),
            ResidentEvent::Timer(token, kind) => Event::Timer(token, kind),
            ResidentEvent::ClockSet => Event::ClockSet,
            // Their side effects are prepared before.
            ResidentEvent::Tasks(..) | ResidentEvent::Resume | ResidentEvent::Return => Event::Go,
            ResidentEvent::Deadline => Event::Deadline,
            ResidentEvent::Abort(fault) => Event::Abort(fault),
        }
    }
}

impl Resident {
    /// Whether it is suspended inside an operation that must not be cut.
    fn is_whole(&self) -> bool {
        matches!(&self.body, Body::Suspended(fiber) if fiber.is_whole)
    }
}

impl Shard {
    /// Delivers an event to a resident, which may be gone. One that ends it is handled at once, even inside a turn;
    /// others are handled at once if its machine has work left in this round, and nothing else waits.
    pub(super) fn deliver(&mut self, key: Key, deliver: ResidentEvent) {
        if self.residents.key(key.slot) != Some(key) {
            return;
        }
        let Some(resident) = self.residents.at(key.slot) else { return };
        let (flow, is_queued) = (resident.flow, resident.is_queued);
        let is_light = resident.version.is_light;
        let is_whole = resident.is_whole();
        if matches!(deliver, ResidentEvent::Abort(_)) && self.stays_as_recorded(key) {
            return;
        }
        if self.is_paused(key) {
            return self.put_down(key, deliver);
        }
        if deliver.cut().is_some() {
            if !is_whole {
                return self.wake(key, Some(deliver));
            }
            // It is handled first when the operation it is in has finished.
            let deferred = self.deferred.entry(key).or_default();
            if !deferred.iter().any(|other| other.includes(&deliver)) {
                deferred.push_front(deliver);
            }
            if !is_queued {
                self.queue(key, flow);
            }
            return;
        }
        if !is_queued && self.turns.is_free(flow) && (is_light || self.turns.may_suspend(flow)) {
            return self.wake(key, Some(deliver));
        }
        self.deferred.entry(key).or_default().push_back(deliver);
        if !is_queued {
            self.queue(key, flow);
        }
    }

    /// Queues a resident for its machine's turn.
    fn queue(&mut self, key: Key, flow: u32) {
        if let Some(resident) = self.residents.at(key.slot) {
            resident.is_queued = true;
            self.turns.push_going(flow, Going::Resident(key));
        }
    }

    /// It is the turn of a resident that waited, unless it is gone.
    pub(super) fn go_on(&mut self, key: Key) {
        if self.residents.key(key.slot) != Some(key) {
            return;
        }
        if self.is_paused(key) {
            return self.pause(key);
        }
        let Some(resident) = self.residents.at(key.slot) else { return };
        let is_suspended = matches!(resident.body, Body::Suspended(_));
        let (flow, is_light) = (resident.flow, resident.version.is_light);
        if !is_suspended && !is_light && !self.turns.may_suspend(flow) {
            return self.turns.hold_going(flow, Going::Resident(key));
        }
        resident.is_queued = false;
        let deliver = if is_suspended { self.next_cut(key) } else { self.next_deferred(key) };
        self.wake(key, deliver);
        if self.deferred.contains_key(&key)
            && let Some(resident) = self.residents.at(key.slot)
            && !resident.is_queued
        {
            self.queue(key, flow);
        }
    }

    /// The event that ends a suspended resident that may be cut now.
    fn next_cut(&mut self, key: Key) -> Option<ResidentEvent> {
        self.deferred.get(&key)?.front()?.cut()?;
        if self.residents.at(key.slot)?.is_whole() { None } else { self.next_deferred(key) }
    }

    fn next_deferred(&mut self, key: Key) -> Option<ResidentEvent> {
        let deferred = self.deferred.get_mut(&key)?;
        let deliver = deferred.pop_front();
        if deferred.is_empty() {
            self.deferred.remove(&key);
        }
        deliver
    }

    /// Lets a resident handle an event, or continue; no effect when it is gone.
    pub(super) fn wake(&mut self, key: Key, deliver: Option<ResidentEvent>) {
        let Some(resident) = self.residents.take(key) else { return };
        let Resident { version, body, pending, reply, watch, flow, .. } = resident;
        let body = match body {
            Body::Spilled(spilled) => Body::Recorded(self.unspill(&*spilled)),
            body => body,
        };
        let (buffer, unpacked, fiber) = match body {
            Body::Seated(buffer) => (buffer, true, None),
            Body::Suspended(fiber) => (self.worker_scratch.buffer(), true, Some(fiber)),
            Body::Recorded(recorded) => {
                let mut buffer = self.worker_scratch.buffer();
                buffer.forget_staged();
                let restored = buffer.restore(recorded, version.fingerprint);
                let redrivable = reply.start_identity().names().redrivable;
                buffer.execution.identity.is_redrivable = redrivable;
                buffer.watch = watch;
                (buffer, restored, None)
            }
            Body::Packed(packed) => {
                let mut buffer = self.worker_scratch.buffer();
                buffer.forget_staged();
                buffer.identify(&version, reply.start_identity().names());
                let unpacked = buffer.execution.unpack(&packed, &self.shared.start);
                buffer.watch = watch;
                (buffer, unpacked, None)
            }
            Body::Spilled(_) => unreachable!("it was read back above"),
        };
        let mut job = Job { version: &version, reply: &reply, flow, pending, key: Some(key), buffer };
        let drove = match (unpacked, fiber) {
            (true, Some(fiber)) => self.drive_suspended(&mut job, fiber, deliver),
            (true, None) => {
                let event = self.event(&mut job, deliver);
                self.drive(&mut job, Work::Event(event))
            }
            (false, _) => Err(Stopped::Bug),
        };
        let drove = self.recorded(&mut job, drove);
        let Job { mut pending, mut buffer, .. } = job;
        if !is_over(&drove) {
            let body = Body::Packed(Box::default());
            let mut resident = Resident { version, body, pending, reply, watch: None, ..resident };
            self.settle(key, &mut resident, buffer, drove);
            return self.residents.put(key, resident);
        }
        let is_bug = matches!(drove, Err(Stopped::Bug));
        self.disarm_all(&mut pending, key, is_bug);
        self.leave_queue(resident.due_before, resident.due_after);
        self.residents.release(key);
        self.turns.leave(flow);
        if !self.deferred.is_empty() {
            self.deferred.remove(&key);
        }
        if reply.start_identity().ledger().is_some() {
            self.gather(&mut buffer);
        }
        buffer.tell_end(&self.shared, &mut self.log_buffer, &version, bug_outcome, self.now_ms);
        let end = if is_bug { End::Bug } else { End::Over(&mut buffer) };
        let took = Took::Ms(self.now_ms.saturating_sub(end.started_ms(self.now_ms)));
        self.end(&version, &reply, end, took, resident.charged as usize);
        buffer.hand_over(&self.shared, &mut self.log_buffer, &version, bug_outcome, self.now_ms);
        self.worker_scratch.put_back(buffer);
    }

    /// The event of a message, with its side effects.
    fn event(&mut self, job: &mut Job<'_>, deliver: Option<ResidentEvent>) -> Event {
        let Some(mut deliver) = deliver else { return Event::Go };
        self.prepare(job, &mut deliver);
        deliver.event(&job.version.program, &mut job.buffer)
    }

    /// A resident that is suspended inside a state continues there, or is cut short and ends.
    fn drive_suspended(
        &mut self,
        job: &mut Job<'_>,
        fiber: Box<Fiber>,
        deliver: Option<ResidentEvent>,
    ) -> Drove {
        let Some(deliver) = deliver else { return self.drive(job, Work::Resume(fiber, None)) };
        match self.drive(job, Work::Resume(fiber, deliver.cut())) {
            Ok(turn) if turn != Turn::Done => {
                let event = self.event(job, Some(deliver));
                self.drive(job, Work::Event(event))
            }
            drove => drove,
        }
    }

    /// Stores a resident after its turn: packed, with its buffer, or suspended with its stack.
    pub(super) fn settle(
        &mut self,
        key: Key,
        resident: &mut Resident,
        mut buffer: Box<ExecutionBuffer>,
        drove: Drove,
    ) {
        let goes_on = !matches!(drove, Ok(Turn::Parked));
        resident.is_idle = false;
        self.packed.clear();
        let bytes = match drove {
            Err(Stopped::Suspended(mut fiber)) => {
                if !std::mem::replace(&mut fiber.is_counted, true) {
                    self.turns.suspended(resident.flow);
                }
                // This buffer is a spare one: the execution's is with the fiber.
                self.worker_scratch.put_back(buffer);
                let bytes = fiber.bytes();
                resident.body = Body::Suspended(fiber);
                bytes
            }
            _ => {
                buffer.tell_log(&self.shared, &mut self.log_buffer, &resident.version);
                match self.park(resident, &mut buffer, goes_on) {
                    Some(bytes) => {
                        resident.watch = buffer.watch.take();
                        if let Some(watch) = &mut resident.watch {
                            let observability = self.shared.observability.as_deref();
                            watch.moving(observability, &resident.version.program, &buffer.execution.arena);
                        }
                        self.worker_scratch.put_back(buffer);
                        bytes
                    }
                    None => {
                        let bytes = buffer.execution.arena.capacity_bytes();
                        resident.body = Body::Seated(buffer);
                        bytes
                    }
                }
            }
        };
        if goes_on {
            resident.is_queued = true;
            self.turns.push_going(resident.flow, Going::Resident(key));
        }
        let bytes = bytes + resident.reply.start_identity().entry_bytes();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.shared.admission.adjust(&resident.version.usage, resident.charged as usize, bytes as usize);
        self.made_room |= bytes < resident.charged;
        resident.charged = bytes;
        if let Body::Suspended(fiber) = &resident.body {
            // It fails where it needs more, so that others can begin.
            fiber.has_enough(self.shared.admission.has_enough(&resident.version.usage, bytes as usize));
        }
    }

    /// Packs an execution that is parked, and small. Returns its bytes; `None` when it keeps its buffer.
    fn park(
        &mut self,
        resident: &mut Resident,
        buffer: &mut ExecutionBuffer,
        goes_on: bool,
    ) -> Option<usize> {
        if goes_on {
            return None;
        }
        if resident.reply.start_identity().ledger().is_some() {
            return self.park_as_recorded(resident, buffer);
        }
        buffer.execution.pack(&mut self.packed).then(|| {
            resident.body = Body::Packed(self.packed.as_slice().into());
            self.packed.len()
        })
    }
}

/// Whether the execution is over.
pub(super) fn is_over(drove: &Drove) -> bool {
    match drove {
        Ok(Turn::Parked | Turn::Yielded) | Err(Stopped::Suspended(_)) => false,
        Ok(Turn::Done) | Err(Stopped::Bug) => true,
        Ok(Turn::Cut(_)) => unreachable!("what is cut is ended by an event at once"),
    }
}
