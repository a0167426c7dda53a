//! How executions end, one by one and all together.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::resident::ResidentEvent;
use super::{Opened, Shard};
use crate::engine::{self, Execution};
use crate::fault::{self, Fault};
use crate::json::Arena;
use crate::observe::{Memory, Took};
use crate::runtime::completion::{BatchState, Reply};
use crate::runtime::context::ExecutionBuffer;
use crate::runtime::inline::Ended;
use crate::runtime::machine::Version;
use crate::runtime::outcome::{Counts, Outcome, Status};

impl Shard {
    /// An execution that ran to its end at once. Counters are updated once for the whole start batch.
    pub(super) fn end_started(
        &mut self,
        opened: &mut Opened,
        n: usize,
        mut buffer: Box<ExecutionBuffer>,
        bug: bool,
        charged: usize,
    ) {
        if opened.start_batch.reply.start_identity().ledger().is_some() {
            self.gather(&mut buffer);
        }
        let version = &opened.start_batch.version;
        buffer.tell_end(&self.shared, &mut self.log_buffer, version, bug_outcome, self.now_ms);
        let end = if bug { End::Bug } else { End::Over(&mut buffer) };
        match &opened.start_batch.reply {
            reply @ Reply::One(_) => {
                let (version, reply) = (Arc::clone(&opened.start_batch.version), reply.clone());
                let took = Took::Us(self.shared.elapsed_us().saturating_sub(self.began_us));
                self.end(&version, &reply, end, took, charged);
            }
            reply => {
                if let Reply::Batch(batch, first) = reply {
                    end.tell(batch, first + n as u32);
                }
                opened.ended.count(end.status());
                opened.ended.bugs += u64::from(bug);
                opened.ended_bytes += charged;
                if version.counters.as_ref().is_some_and(|counters| counters.machine.is_counted()) {
                    opened.memory.add(buffer.execution.arena.bytes());
                }
            }
        }
        let version = &opened.start_batch.version;
        buffer.hand_over(&self.shared, &mut self.log_buffer, version, bug_outcome, self.now_ms);
        self.worker_scratch.put_back(buffer);
    }

    /// Reports the outcomes of those `ran` executions of a start batch that are over.
    pub(super) fn report_start_batch(&mut self, opened: &mut Opened, ran: usize) {
        let (ended, bytes) = (std::mem::take(&mut opened.ended), std::mem::take(&mut opened.ended_bytes));
        if ended.ended() == 0 {
            return;
        }
        self.remote.tally.end(&ended);
        if let Some(counters) = &opened.start_batch.version.counters {
            // Reading the time for each would be a twentieth of W2.
            let all_us = self.shared.elapsed_us().saturating_sub(self.began_us);
            let (took, memory) = (Took::Us(all_us / ran.max(1) as u64), std::mem::take(&mut opened.memory));
            counters.machine.ended(usize::from(self.index), ended.endings(), took, memory);
        }
        self.shared.admission.release(&opened.start_batch.version.usage, ended.ended() as usize, bytes);
        if let Reply::Batch(batch, _) = &opened.start_batch.reply {
            batch.end(&ended);
        }
        self.made_room = true;
    }

    /// An execution is over. It is counted before its end is reported.
    pub(super) fn end(&mut self, version: &Version, reply: &Reply, end: End<'_>, took: Took, charged: usize) {
        let status = end.status();
        let mut counts = Counts::default();
        counts.count(status);
        counts.bugs = u64::from(matches!(end, End::Bug));
        self.remote.tally.end(&counts);
        if let Some(counters) = &version.counters {
            let mut memory = Memory::default();
            if let End::Over(buffer) = &end {
                memory.add(buffer.execution.arena.bytes());
            }
            counters.machine.ended(usize::from(self.index), counts.endings(), took, memory);
        }
        self.shared.admission.release(&version.usage, 1, charged);
        self.made_room = true;
        match reply {
            Reply::One(completion) => {
                let mut end = end;
                let stopped = end.stopped(completion.start_identity.names().redrivable, version);
                if let Some(ledger) = completion.start_identity.ledger() {
                    return self.record_end(completion, ledger, end, stopped);
                }
                let mut outcome = end.outcome(self.now_ms, self.ahead_ms);
                outcome.stopped = stopped;
                self.shared.forget(completion);
                completion.end(outcome);
            }
            Reply::Batch(batch, n) => {
                end.tell(batch, *n);
                batch.end(&counts);
            }
        }
    }

    // ---- the end of the shard ----

    /// When the time for draining is over, or the engine is dropped, everything that runs is ended.
    pub(super) fn drain(&mut self) {
        let dropped = self.shared.dropped.load(Ordering::Acquire);
        let is_over = dropped || self.now_ms >= self.shared.drain_at_ms.load(Ordering::Acquire);
        self.let_durable_go(is_over);
        if !dropped && self.now_ms < self.shared.drain_at_ms.load(Ordering::Acquire) {
            return;
        }
        let shut_down = || Fault { error: None, cause: Some("The engine was shut down.".to_owned()) };
        for key in self.residents.keys() {
            let deliver = if dropped { ResidentEvent::Abort(shut_down()) } else { ResidentEvent::Deadline };
            self.deliver(key, deliver);
        }
        let mut waiting = self.turns.take_all_starts();
        waiting.extend(self.take_paused_starts().into_iter().map(Box::new));
        waiting.iter().for_each(|opened| self.uncount_waiting(opened));
        while let Some(opened) = waiting.pop().or_else(|| {
            let start_batch = self.remote.take_start_batch()?;
            Some(Box::new(Opened::new(start_batch, 0)))
        }) {
            let Opened { mut start_batch, next, mut at, .. } = *opened;
            let mut watch = start_batch.watch.take();
            for n in next..start_batch.len() {
                let to = start_batch.ends.get(n).map_or(start_batch.text.len(), |&end| end as usize);
                let reply = match &start_batch.reply {
                    Reply::Batch(batch, first) => Reply::Batch(Arc::clone(batch), first + n as u32),
                    reply => reply.clone(),
                };
                let end = if dropped {
                    End::Never(Status::Aborted, Some(shut_down()))
                } else {
                    End::Never(Status::TimedOut, None)
                };
                if let Some(ledger) = reply.start_identity().ledger()
                    && self.is_leaving()
                {
                    // It is accepted, and begins in the next process.
                    ledger.left.store(true, Ordering::Release);
                    watch = None;
                }
                if let Some(mut watch) = watch.take() {
                    watch.ended(
                        &Arena::new(),
                        &end.never(),
                        self.now_ms.saturating_add_signed(self.ahead_ms),
                    );
                }
                let charged = to - at + reply.start_identity().entry_bytes();
                self.end(&start_batch.version, &reply, end, Took::Ms(0), charged);
                at = to;
            }
        }
        self.finished = dropped && self.residents.len() == 0 && !self.ends_behind();
    }
}

/// How an execution ended.
pub(super) enum End<'s> {
    /// With the outcome in its buffer.
    Over(&'s mut ExecutionBuffer),
    /// It never began.
    Never(Status, Option<Fault>),
    /// By a bug of the engine.
    Bug,
}

/// The outcome of an execution that met a bug of the engine.
pub(in crate::runtime) fn bug(now_ms: u64) -> Outcome {
    Outcome::new(&bug_outcome(), &Arena::new(), now_ms, now_ms)
}

pub(in crate::runtime) fn bug_outcome() -> engine::Outcome {
    engine::Outcome::Failed(Fault::new(fault::RUNTIME, "Internal error: an assertion of the engine failed."))
}

impl End<'_> {
    pub(super) fn status(&self) -> Status {
        match self {
            End::Over(buffer) => buffer.execution.outcome().map_or(Status::Failed, Status::of),
            End::Never(status, _) => *status,
            End::Bug => Status::Failed,
        }
    }

    /// When it began.
    pub(super) fn started_ms(&self, now_ms: u64) -> u64 {
        match self {
            End::Over(buffer) => buffer.execution.began_ms(),
            End::Never(..) | End::Bug => now_ms,
        }
    }

    /// Its state when it stopped, if it may be redriven.
    fn stopped(&mut self, redrivable: bool, version: &Version) -> Option<Arc<[u8]>> {
        let buffer = match self {
            End::Over(buffer) if redrivable => buffer,
            _ => return None,
        };
        let mut stopped = Vec::new();
        // One whose values are nested too deeply to be read again is not redriven.
        let written = buffer.execution.stopped_snapshot(version.fingerprint, &mut stopped);
        written.is_ok_and(|written| written).then(|| stopped.into())
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
            End::Over(buffer) if let Some(outcome) = buffer.execution.outcome() => {
                batch.tell(n, Ended::of(&buffer.execution, outcome))
            }
            End::Over(_) | End::Bug => batch.tell(n, Ended::of(&Execution::new(), &bug_outcome())),
            End::Never(..) => batch.tell(n, Ended::of(&Execution::new(), &self.never())),
        }
    }

    pub(super) fn outcome(self, now_ms: u64, ahead_ms: i64) -> Outcome {
        let wall_ms = now_ms.saturating_add_signed(ahead_ms);
        match self {
            End::Over(buffer) => match buffer.execution.outcome() {
                Some(outcome) => Outcome::new(
                    outcome,
                    &buffer.execution.arena,
                    buffer.execution.started_ms(),
                    buffer.execution.shown_ms(now_ms),
                ),
                None => Outcome::new(&bug_outcome(), &buffer.execution.arena, wall_ms, wall_ms),
            },
            End::Never(status, fault) => Outcome::without_output(status, fault, wall_ms),
            End::Bug => bug(wall_ms),
        }
    }
}
