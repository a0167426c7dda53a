//! Durable executions that leave memory: their pending operations are taken back, and the keeper's store has their
//! state.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::resident::ResidentEvent;
use super::{Body, Resident, Shard};
use crate::engine::{Effect, TimerKind, Token};
use crate::fault::Fault;
use crate::runtime::completion::Reply;
use crate::runtime::durable::Leaving;
use crate::runtime::machine::Work;
use crate::runtime::slab::Key;

/// Whether an execution left memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    Left,
    /// Its store has no room at present.
    Later,
    Stays,
}

/// What an execution waits for.
struct Awaited {
    due_ms: u64,
    /// Their numbers, as in tokens.
    tokens: Vec<(u128, Token)>,
}

impl Shard {
    /// Lets a resident that was parked with this state leave memory, if what it waits for can be found in the store.
    pub(super) fn leave(&mut self, key: Key, recorded: &[u8]) -> Leave {
        let Some(durability) = self.shared.durability.clone() else { return Leave::Stays };
        let Some(cold) = durability.cold() else { return Leave::Stays };
        if self.is_leaving() {
            return Leave::Stays;
        }
        let Some(resident) = self.residents.at(key.slot) else { return Leave::Stays };
        let Some(completion) = resident.reply.completion().map(Arc::clone) else { return Leave::Stays };
        let watch = match &resident.body {
            Body::Seated(buffer) => buffer.watch.as_deref(),
            _ => resident.watch.as_deref(),
        };
        if watch.is_none_or(|watch| !watch.is_one_watcher()) {
            return Leave::Stays;
        }
        let version = Arc::clone(&resident.version);
        let Some(ledger) = completion.start_identity.ledger() else { return Leave::Stays };
        let mut buffer = self.worker_scratch.buffer();
        buffer.forget_staged();
        let is_restored = buffer.restore(recorded.into(), version.fingerprint);
        let awaited = is_restored.then(|| {
            let mut effects = Vec::new();
            buffer.execution.pending(&version.program, &mut effects);
            awaited(&effects, buffer.execution.deadline_ms(), |call| {
                let resource = &version.program.tasks[call.task].resource;
                let is_activity = matches!(version.work(call.task), Work::Activity);
                let waits = resource.waits_for_token && !is_activity;
                waits.then(|| buffer.execution.task_token(call.token))
            })
        });
        let seed = buffer.execution.seed();
        self.worker_scratch.put_back(buffer);
        let Some(awaited) = awaited.flatten() else { return Leave::Stays };
        if awaited.due_ms < self.now_ms.saturating_add(durability.horizon_ms()) {
            return Leave::Stays;
        }
        if !cold.has_room() {
            return Leave::Later;
        }
        let names = completion.start_identity.names();
        let (Some(name), Some(arn)) = (names.name, names.arn) else { return Leave::Stays };
        let mut execution = durability.leaving(ledger);
        (execution.name, execution.arn) = (name.into(), arn.into());
        execution.trace_header = names.trace_header.map(Into::into);
        (execution.seed, execution.state) = (seed, recorded.into());
        let numbers = awaited.tokens.iter().map(|(number, _)| *number).collect();
        let (due_ms, fingerprint, now_ms) = (awaited.due_ms, version.fingerprint, self.now_ms);
        let leaving = Leaving { execution, due_ms, tokens: numbers, fingerprint, now_ms };
        if cold.take(leaving, &mut || self.take_out(key, &awaited.tokens)) {
            Leave::Left
        } else {
            Leave::Stays
        }
    }

    /// It is no longer reachable: if no message is on its way to it, it is taken out.
    fn take_out(&mut self, key: Key, tokens: &[(u128, Token)]) -> bool {
        let mut taken = Vec::new();
        for &(number, _) in tokens {
            match self.shared.waiting.take_idle(number) {
                Some(place) => taken.push((number, place)),
                None => break,
            }
        }
        let completion =
            self.residents.at(key.slot).and_then(|resident| resident.reply.completion().cloned());
        // An abort is sent to where the execution is, or finds it gone.
        let is_free = taken.len() == tokens.len() && completion.is_some_and(|it| it.leave());
        if !is_free {
            taken.into_iter().for_each(|(number, place)| self.shared.waiting.insert(number, place));
            return false;
        }
        let Some(reply) = self.take_resident_out(key) else { return false };
        if let Some(completion) = reply.completion() {
            self.shared.forget(completion);
        }
        self.durability().absent.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// A partition is released: its executions leave memory as they are recorded. No end is reported.
    pub(super) fn let_partition_go(&mut self, partition: u16) {
        for key in self.residents.keys() {
            let Some(resident) = self.residents.at(key.slot) else { continue };
            let Some(ledger) = resident.reply.start_identity().ledger() else { continue };
            if self.shared.durability.as_ref().is_none_or(|it| it.partition(ledger.id) != partition) {
                continue;
            }
            ledger.left.store(true, Ordering::Release);
            if matches!(resident.body, Body::Suspended(_)) {
                self.wake(key, Some(ResidentEvent::Abort(Fault { error: None, cause: None })));
                continue;
            }
            if self.take_resident_out(key).is_some() {
                self.durability().absent.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Takes a resident out of memory, with its timers and its turns. Its task tokens stay valid. Nothing, where it is gone.
    pub(super) fn take_resident_out(&mut self, key: Key) -> Option<Reply> {
        let Resident { version, reply, body, mut pending, flow, charged, due_before, due_after, .. } =
            self.residents.take(key)?;
        if matches!(body, Body::Spilled(_)) {
            self.hand.spilled -= 1;
        }
        self.leave_queue(due_before, due_after);
        for pending in pending.take_all() {
            self.disarm(pending, None);
        }
        self.residents.release(key);
        self.turns.leave(flow);
        self.deferred.remove(&key);
        self.shared.admission.release(&version.usage, 1, charged as usize);
        self.made_room = true;
        Some(reply)
    }
}

/// What effects wait for; `None` when they need the execution in memory.
fn awaited(
    effects: &[Effect],
    deadline_ms: u64,
    token: impl Fn(&crate::engine::TaskCall) -> Option<u128>,
) -> Option<Awaited> {
    let mut awaited = Awaited { due_ms: deadline_ms, tokens: Vec::new() };
    for effect in effects {
        match effect {
            // A heartbeat is not recorded: the time of the last one would be lost anyway.
            Effect::Timer { kind: TimerKind::Heartbeat, .. } => return None,
            Effect::Timer { at_ms, .. } => awaited.due_ms = awaited.due_ms.min(*at_ms),
            Effect::Task(call) => awaited.tokens.push((token(call)?, call.token)),
            _ => return None,
        }
    }
    Some(awaited)
}
