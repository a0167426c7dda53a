//! Which changes of executions' status were delivered to others: the rest is delivered after a restart.
//!
//! The records are not waited for. When one is lost, or the journal does not take it, a change is delivered twice.

use std::thread;
use std::time::Duration;

use super::super::engine::Engine;
use super::Durability;
use super::records::{DELIVERED, Writer};
use crate::journal::Refused;

/// How often a record is tried while the disk is behind, each after a millisecond.
const TRIES_MAX: usize = 1_000;

impl Durability {
    fn delivered(&self, id: u64, count: u32) -> Result<(), Refused> {
        // Held until it is recorded, so that it is not forgotten meanwhile. What the journal does not keep needs none.
        if self.live.turns.get(&id).is_some() && self.owns(id) {
            let mut writer = Writer::default();
            writer.number(id).number(u64::from(count));
            self.try_append((DELIVERED, id), &writer)?;
        }
        Ok(())
    }

    fn delivered_when_free(&self, id: u64, count: u32) {
        for _ in 0..TRIES_MAX {
            match self.delivered(id, count) {
                Err(Refused::Busy) => thread::sleep(Duration::from_millis(1)),
                Ok(()) => return,
                Err(why) => return tracing::debug!(%why, "a status change may be delivered twice"),
            }
        }
    }
}

impl Engine {
    /// Notes how many changes of executions' status were delivered so far, by their numbers in the journal.
    pub(crate) fn note_delivered(&self, delivered: impl IntoIterator<Item = (u64, u32)>) {
        if let Some(durability) = &self.shared().durability {
            delivered.into_iter().for_each(|(id, count)| durability.delivered_when_free(id, count));
            durability.announce();
        }
    }
}
