//! A byte counter that other code can read while an arena grows; updated at intervals.

#[cfg(feature = "runtime")]
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::Arena;

/// The bytes of an arena, and whether it may grow.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: AtomicUsize,
    is_enough: AtomicBool,
}

#[cfg(feature = "runtime")]
impl Held {
    /// Updated at intervals: it may be a quarter more by now, and what one step adds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Sets whether there is no room for more: further values then do not fit, as at the arena's limit.
    pub(crate) fn has_enough(&self, has_enough: bool) {
        self.is_enough.store(has_enough, Relaxed);
    }
}

/// Bytes that are taken, at least, between two updates.
const TELL_BYTES_MIN: usize = 16 << 10;

impl Arena {
    /// Publishes the [bytes held](Arena::capacity_bytes) from now on; the arena may grow again.
    #[cfg(feature = "runtime")]
    pub(crate) fn told_bytes(&mut self) -> Arc<Held> {
        let held = Arc::clone(self.held.get_or_insert_default());
        held.bytes.store(self.capacity_bytes(), Relaxed);
        held.is_enough.store(false, Relaxed);
        self.looks_at = 0;
        held
    }

    /// Publishes the bytes held; false when they have grown, and there is no room for more.
    pub(crate) fn may_grow(&self) -> bool {
        let Some(held) = &self.held else { return true };
        let bytes = self.capacity_bytes();
        bytes <= held.bytes.swap(bytes, Relaxed) || !held.is_enough.load(Relaxed)
    }

    /// Before so many bytes are in use: checks whether there is room for them, and publishes the count if it is due.
    #[cold]
    #[inline(never)]
    pub(super) fn look(&mut self, needed: usize) {
        if needed > self.bytes_max {
            self.overflowed = true;
        } else if let Some(held) = &self.held {
            self.overflowed |= held.is_enough.load(Relaxed);
            held.bytes.store(self.capacity_bytes().max(needed), Relaxed);
            self.looks_at = self.bytes_max.min(needed + (needed / 4).max(TELL_BYTES_MIN));
        }
    }
}
