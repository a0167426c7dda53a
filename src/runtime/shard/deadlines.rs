//! The queue of deadlines: most executions have the same timeout, so the one that began first is due first, and no
//! timer is needed.

use super::{NO_SLOT, Shard, TIMED};
use crate::runtime::pending::TimerKey;
use crate::runtime::wheel::TimerId;

impl Shard {
    /// Appends a resident to the queue when its deadline is the usual one; else gives it a timer.
    pub(super) fn join_queue(&mut self, slot: u32, deadline_ms: u64) -> (u32, u32) {
        let start = &self.shared.start;
        let usual_ms =
            self.now_ms.saturating_add(start.scaled_limit(start.seconds_max.saturating_mul(1_000)));
        if deadline_ms != usual_ms {
            let timer = self.wheel.arm(deadline_ms, TimerKey::deadline(slot));
            return (TIMED, timer.to_bits());
        }
        let before = std::mem::replace(&mut self.due_last, slot);
        match self.residents.at(before) {
            Some(last) => last.due_after = slot,
            None => self.due_first = slot,
        }
        (before, NO_SLOT)
    }

    pub(super) fn leave_queue(&mut self, before: u32, after: u32) {
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
}
