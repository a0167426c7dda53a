//! Parked durable executions leave memory: their entry, timers and tokens stay. The state comes back with the next
//! event.
//!
//! While more executions are parked than may stay, a hand goes round over all of them, as in the clock algorithm of
//! virtual memory: it marks those that are parked; one that it finds marked has been parked for a whole round, of a
//! second at least, and is spilled.

use super::leave::Leave;
use super::{Body, Shard};
use crate::observe::Spilled;

/// The hand.
#[derive(Default)]
pub(super) struct Hand {
    /// The slot that it visits next; 0 before a round.
    slot: u32,
    /// When the next round begins.
    begins_ms: u64,
    /// From one round to the next: longer when none could be spilled.
    pause_ms: u64,
    /// How many were spilled in this round.
    went: u64,
    /// Executions that are out of memory.
    pub(super) spilled: usize,
}

const SLOTS_PER_TURN: u32 = 1_024;
/// Slots in a turn that has no time left: memory is short under high load.
const SLOTS_ANYWAY: u32 = 32;
/// The cost of writing a state and a history, in nanoseconds.
const WRITE_WORK: i64 = 10_000;
const PAUSE_MS_MAX: u64 = 60_000;

impl Shard {
    /// When the hand moves next, if at all.
    pub(super) fn next_spill_ms(&self) -> Option<u64> {
        let durability = self.shared.durability.as_ref()?;
        let resident_max = durability.resident_max() / self.shared.remotes.len();
        let has_more = self.residents.len() > resident_max + self.hand.spilled;
        has_more.then_some(if self.hand.slot > 0 { self.now_ms } else { self.hand.begins_ms })
    }

    /// Moves the hand on, a bounded number of slots.
    pub(super) fn spill_parked(&mut self) {
        if self.next_spill_ms().is_none_or(|at_ms| self.now_ms < at_ms) {
            return;
        }
        if self.hand.slot == 0 {
            self.hand.went = 0;
        }
        for n in 0..SLOTS_PER_TURN {
            if self.left <= 0 && n >= SLOTS_ANYWAY {
                return;
            }
            if self.hand.slot >= self.residents.slots() {
                let pause_ms = match self.hand.went {
                    0 => (2 * self.hand.pause_ms).min(PAUSE_MS_MAX),
                    _ => 0,
                };
                self.hand.pause_ms = pause_ms.max(self.durability().after_ms());
                (self.hand.slot, self.hand.begins_ms) = (0, self.now_ms + self.hand.pause_ms);
                return;
            }
            let slot = self.hand.slot;
            self.hand.slot += 1;
            if self.spill(slot).is_some() {
                self.hand.went += 1;
                self.left -= WRITE_WORK;
            }
        }
    }

    /// Takes the state and the history of the resident in a slot out of memory, if it has been parked for a round.
    fn spill(&mut self, slot: u32) -> Option<()> {
        self.shared.durability.as_deref()?;
        let resident = self.residents.at(slot)?;
        let is_parked = !resident.is_queued && !resident.pending.has_tasks();
        if !is_parked || resident.reply.start_identity().ledger().is_none() {
            return None;
        }
        if !std::mem::replace(&mut resident.is_idle, true) {
            return None;
        }
        let recorded = match &mut resident.body {
            Body::Recorded(recorded) => &**recorded,
            Body::Seated(buffer) => {
                if !buffer.is_as_recorded {
                    // One of an earlier process, or after a turn that changed nothing.
                    self.state.clear();
                    let written = buffer.execution.snapshot(resident.version.fingerprint, &mut self.state);
                    self.left -= self.state.len() as i64;
                    buffer.is_as_recorded = written.is_ok() && self.state == buffer.recorded;
                }
                if buffer.is_as_recorded { buffer.recorded.as_slice() } else { return None }
            }
            Body::Packed(_) | Body::Spilled(_) | Body::Suspended(_) => return None,
        };
        let recorded: Box<[u8]> = recorded.into();
        let key = self.residents.key(slot)?;
        let leave = if self.is_behind() { Leave::Stays } else { self.leave(key, &recorded) };
        match leave {
            Leave::Left => return Some(()),
            Leave::Later => return None,
            Leave::Stays => {}
        }
        let durability = self.shared.durability.as_deref()?;
        let resident = self.residents.at(slot)?;
        let spilled = crate::observe::Spill::spill(durability, &recorded)?;
        self.hand.spilled += 1;
        if let Body::Seated(mut buffer) = std::mem::replace(&mut resident.body, Body::Spilled(spilled)) {
            resident.watch = buffer.watch.take();
            if let Some(watch) = &mut resident.watch {
                let observability = self.shared.observability.as_deref();
                watch.moving(observability, &resident.version.program, &buffer.execution.arena);
            }
            self.worker_scratch.put_back(buffer);
        }
        if let Some(watch) = &mut resident.watch {
            watch.parked(durability);
        }
        let entry_bytes = resident.reply.start_identity().entry_bytes();
        let charged = std::mem::replace(&mut resident.charged, entry_bytes as u32);
        self.shared.admission.adjust(&resident.version.usage, charged as usize, entry_bytes);
        Some(())
    }

    /// The state of a resident that has to continue.
    pub(super) fn unspill(&mut self, spilled: &dyn Spilled) -> Box<[u8]> {
        self.hand.spilled -= 1;
        spilled.read().into()
    }
}
