//! Durable executions on a shard: their turns are recorded, and effects that must not happen before a record is durable
//! are held.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::end::End;
use super::resident::ResidentEvent;
use super::{Body, Job, Resident, Shard};
use crate::engine::{Effect, Event, TaskCall, Token, Turn};
use crate::fault::{self, Fault};
use crate::journal::Lsn;
use crate::limits;
use crate::program::ResourceKind;
use crate::runtime::completion::{Completion, Reply};
use crate::runtime::context::ExecutionBuffer;
use crate::runtime::durable::{Durability, Ledger, Told};
use crate::runtime::inbox::ShardMessage;
use crate::runtime::job::{Drove, Work};
use crate::runtime::machine::Version;
use crate::runtime::outcome::Outcome;
use crate::runtime::pending::PendingOps;
use crate::runtime::slab::Key;
use crate::runtime::tasks::Answer;

/// What waits until a record is durable.
pub(super) enum Held {
    /// Tasks that are to be started, and how many visits there were when they were recorded.
    Tasks(Key, Vec<TaskCall>, u32),
    /// An outcome that is to be reported.
    End(Arc<Completion>, Outcome),
}

/// An execution of an earlier process that is to continue.
#[derive(Debug)]
pub(in crate::runtime) struct Resume {
    pub(in crate::runtime) version: Arc<Version>,
    pub(in crate::runtime) reply: Reply,
    pub(in crate::runtime) buffer: Box<ExecutionBuffer>,
    /// Whether its state is in the journal, or only that it is to begin.
    pub(in crate::runtime) is_recorded: bool,
    /// Whether it comes back into memory, rather than from an earlier process.
    pub(in crate::runtime) from_row: bool,
    pub(in crate::runtime) answers: Vec<(Token, Answer)>,
    pub(in crate::runtime) charged: usize,
}

/// The failure of a task that is not repeated.
fn in_doubt() -> Fault {
    let cause = "The process ended before the task's result was recorded, and tasks with this resource are not done once more.";
    Fault::new(fault::TASK_FAILED, cause)
}

impl Shard {
    /// Releases what was held and is now durable. Whether more of it may be released at once.
    pub(super) fn release_held(&mut self) {
        for _ in 0..super::EVENTS_PER_TURN {
            if self.left <= 0 || !self.has_released() {
                return;
            }
            let Some((_, held)) = self.held.pop_front() else { return };
            match held {
                // They are recorded: the next process starts them.
                Held::Tasks(..) if self.is_leaving() => {}
                Held::Tasks(key, calls, visits) => self.deliver(key, ResidentEvent::Tasks(calls, visits)),
                Held::End(completion, outcome) => {
                    self.shared.forget(&completion);
                    completion.end(outcome);
                }
            }
        }
    }

    /// Wakes the journal for records of this turn.
    pub(super) fn announce_records(&mut self) {
        if std::mem::take(&mut self.quiet_records) > 0 {
            self.durability().announce();
        }
    }

    /// One more record was appended.
    pub(super) fn count_record(&mut self) {
        self.quiet_records += 1;
        if self.quiet_records >= limits::DURABLE_QUIET_RECORDS_MAX {
            self.announce_records();
        }
    }

    /// Tasks and ends that wait until they are durable.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether something that is held may be done.
    pub(super) fn has_released(&self) -> bool {
        let Some((lsn, _)) = self.held.front() else { return false };
        self.shared.durability.as_ref().is_some_and(|durability| durability.is_safe(*lsn))
    }

    /// Whether the process is about to end, so that a durable execution is not aborted but stays as recorded.
    pub(super) fn stays_as_recorded(&mut self, key: Key) -> bool {
        let is_leaving = self.is_leaving();
        let resident = self.residents.at(key.slot);
        is_leaving && resident.is_some_and(|resident| resident.reply.start_identity().ledger().is_some())
    }

    pub(super) fn is_leaving(&self) -> bool {
        let durability = self.shared.durability.as_ref();
        durability.is_some_and(|durability| durability.leaves.load(Ordering::Acquire))
    }

    /// The journal of durable executions. Only called if there are any.
    pub(super) fn durability(&self) -> &Arc<Durability> {
        self.shared.durability.as_ref().expect("a durable execution has a journal")
    }

    pub(super) fn hold(&mut self, lsn: Lsn, held: Held) {
        debug_assert!(self.held.back().is_none_or(|(last, _)| *last <= lsn), "records are appended in order");
        self.held.push_back((lsn, held));
    }

    /// After a turn of an execution: records it, if it is durable. One that cannot be recorded fails.
    pub(super) fn recorded(&mut self, job: &mut Job<'_>, drove: Drove) -> Drove {
        let reply = job.reply;
        let Some(ledger) = reply.start_identity().ledger() else { return drove };
        (job.buffer.is_as_recorded, job.buffer.is_held) = (false, false);
        if !matches!(drove, Ok(Turn::Parked)) {
            return drove;
        }
        match self.record_turn(job, ledger) {
            Ok(()) => drove,
            Err(fault) => {
                job.buffer.staged.clear();
                self.drive(job, Work::Event(Event::Fail(fault)))
            }
        }
    }

    fn record_turn(&mut self, job: &mut Job<'_>, ledger: &Ledger) -> Result<(), Fault> {
        let events = job.buffer.execution.events();
        if events == ledger.events.load(Ordering::Relaxed) && job.buffer.staged.is_empty() {
            return Ok(());
        }
        self.gather(&mut job.buffer);
        self.state.clear();
        let written = job.buffer.execution.snapshot(job.version.fingerprint, &mut self.state);
        written.map_err(|why| {
            let cause = format!("The execution's state cannot be made durable: {why}.");
            Fault::new(fault::RUNTIME, cause)
        })?;
        let told = Told { history: &self.notes, base: &job.buffer.recorded, now_ms: self.now_ms };
        let mut recorder = std::mem::take(&mut self.recorder);
        let turn = self.durability().turn(&mut recorder, ledger, told, &self.state);
        self.recorder = recorder;
        let record = turn.ok_or_else(|| {
            let cause = "What a turn of the execution changed is larger than a record of the journal may be.";
            Fault::new(fault::RUNTIME, cause)
        })?;
        std::mem::swap(&mut job.buffer.recorded, &mut self.state);
        job.buffer.is_as_recorded = true;
        self.notes.clear();
        ledger.events.store(events, Ordering::Relaxed);
        let mut held = None;
        job.buffer.is_held = !job.buffer.staged.is_empty();
        if job.buffer.is_held {
            let calls = std::mem::take(&mut job.buffer.staged);
            let key = *job.key.get_or_insert_with(|| self.residents.reserve());
            held = Some(Held::Tasks(key, calls, job.buffer.execution.visits()));
        }
        self.write(record, held);
        Ok(())
    }

    /// Parks a durable execution as its last record, if that is its current state, and it is small.
    pub(super) fn park_as_recorded(
        &mut self,
        resident: &mut Resident,
        buffer: &mut ExecutionBuffer,
    ) -> Option<usize> {
        if buffer.recorded.len() > limits::DURABLE_PARKED_BYTES_MAX {
            return None;
        }
        let is_small = buffer.execution.arena.capacity_bytes() <= limits::DURABLE_SEATED_BYTES_MAX;
        if buffer.is_held && is_small && self.held.len() <= limits::DURABLE_SEATED_MAX {
            // It continues as soon as that is durable: restoring it would take longer than everything else.
            return None;
        }
        if !buffer.is_as_recorded {
            // A heartbeat is not recorded, and some turns change nothing.
            self.state.clear();
            let written = buffer.execution.snapshot(resident.version.fingerprint, &mut self.state);
            if written.is_err() || self.state != buffer.recorded {
                return None;
            }
        }
        resident.body = Body::Recorded(buffer.recorded.as_slice().into());
        Some(buffer.recorded.len())
    }

    /// Takes the history that is still to be recorded.
    pub(super) fn gather(&mut self, buffer: &mut ExecutionBuffer) {
        if let Some(watch) = &mut buffer.watch {
            watch.unrecorded(&mut self.notes);
        }
    }

    /// Records how a durable execution ended, and reports it when that is durable.
    pub(super) fn record_end(
        &mut self,
        completion: &Arc<Completion>,
        ledger: &Ledger,
        mut end: End<'_>,
        stopped: Option<Arc<[u8]>>,
    ) {
        if ledger.left.load(Ordering::Acquire) {
            return self.notes.clear();
        }
        let base = match &mut end {
            End::Over(buffer) => std::mem::take(&mut buffer.recorded),
            End::Never(..) | End::Bug => Vec::new(),
        };
        let mut outcome = end.outcome(self.now_ms, self.ahead_ms);
        outcome.stopped = stopped;
        let told = Told { history: &self.notes, base: &base, now_ms: self.now_ms };
        let mut recorder = std::mem::take(&mut self.recorder);
        let record = self.durability().end(&mut recorder, ledger, told, &outcome);
        self.recorder = recorder;
        self.notes.clear();
        self.write(record, Some(Held::End(Arc::clone(completion), outcome)));
    }

    /// Prepares an event's side effects before the turn that it leads to.
    pub(super) fn prepare(&mut self, job: &mut Job<'_>, deliver: &mut ResidentEvent) {
        let effects = &mut self.worker_scratch.turn_scratch.effects;
        match deliver {
            ResidentEvent::Tasks(calls, visits) => {
                job.buffer.released = *visits;
                calls.drain(..).for_each(|call| effects.push(Effect::Task(call)));
            }
            ResidentEvent::Return => {
                let program = &job.version.program;
                effects.push_pending(&job.buffer.execution, program);
                // The tasks were started before it left: only their tokens become valid again.
                let awaited = effects.take_tasks(|_| true);
                let key = *job.key.get_or_insert_with(|| self.residents.reserve());
                let id = job.reply.start_identity().ledger().map(|ledger| ledger.id);
                for token in awaited {
                    let number = job.buffer.execution.task_token(token);
                    self.shared.waiting.insert(number, (self.place(key), token, id));
                    job.pending.frame(token.frame()).token = true;
                }
            }
            ResidentEvent::Resume => {
                let program = &job.version.program;
                effects.push_pending(&job.buffer.execution, program);
                let durability = self.shared.durability.as_ref();
                let failing = effects.take_tasks(|call| {
                    // A Map Run itself knows what was done.
                    let is_map_run = program.tasks[call.task].resource.kind == ResourceKind::MapRun;
                    durability.filter(|_| !is_map_run).is_some_and(|durability| {
                        durability.in_doubt.fetch_add(1, Ordering::Relaxed);
                        durability.fails_in_doubt(&program.tasks[call.task].resource.arn)
                    })
                });
                let key = *job.key.get_or_insert_with(|| self.residents.reserve());
                for token in failing {
                    // A recorded answer comes before it.
                    self.remote.send(ShardMessage::Answer(key, token, Err(in_doubt())));
                }
            }
            _ => {}
        }
    }

    /// Takes in an execution of an earlier process.
    pub(super) fn take_in(&mut self, resume: Resume) {
        let Resume { version, reply, mut buffer, is_recorded, from_row, answers, charged } = resume;
        if !from_row {
            buffer.execution.allow_heartbeats(self.now_ms);
        }
        if let Some(durability) = self.shared.durability.as_ref().filter(|_| is_recorded) {
            let count = if from_row { &durability.returned } else { &durability.recovered };
            count.fetch_add(1, Ordering::Relaxed);
            // What it waits for is in the journal: it may be done at once.
            buffer.released = buffer.execution.visits();
        }
        let deadline_ms = buffer.execution.deadline_ms();
        let flow = self.turns.flow(&version.usage);
        self.turns.join(flow);
        let key = self.residents.reserve();
        let (due_before, due_after) = self.join_queue(key.slot, deadline_ms);
        let charged = u32::try_from(charged + reply.start_identity().entry_bytes()).unwrap_or(u32::MAX);
        let resident = Resident {
            version,
            body: Body::Seated(buffer),
            reply,
            pending: PendingOps::default(),
            deadline_ms,
            due_before,
            due_after,
            charged,
            flow,
            is_queued: false,
            is_idle: false,
            watch: None,
        };
        let aborted = resident.reply.completion().and_then(|completion| completion.park(self.place(key)));
        self.residents.put(key, resident);
        self.wake(key, Some(if from_row { ResidentEvent::Return } else { ResidentEvent::Resume }));
        for (token, answer) in answers {
            self.deliver(key, ResidentEvent::Answer(token, answer));
        }
        if let Some(fault) = aborted {
            self.deliver(key, ResidentEvent::Abort(fault));
        }
        if let Some(durability) = &self.shared.durability {
            durability.has_resumed();
        }
    }

    /// The process is about to end: durable executions leave memory as they are recorded, those whose tasks run only
    /// when `at_once`. No end is reported: the executions have not ended.
    pub(super) fn let_durable_go(&mut self, at_once: bool) {
        if !self.is_leaving() {
            return;
        }
        for key in self.residents.keys() {
            let Some(resident) = self.residents.at(key.slot) else { continue };
            let Some(ledger) = resident.reply.start_identity().ledger() else { continue };
            if !at_once && resident.pending.has_tasks() {
                continue;
            }
            ledger.left.store(true, Ordering::Release);
            if matches!(resident.body, Body::Suspended(_)) {
                self.wake(key, Some(ResidentEvent::Abort(Fault { error: None, cause: None })));
                continue;
            }
            // Task tokens stay valid: an answer is recorded, and the next process delivers it.
            let _reply = self.take_resident_out(key);
        }
    }
}
