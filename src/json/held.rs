//! A byte counter that other code can read while an arena grows; updated at intervals.

#[cfg(feature = "runtime")]
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::Arena;

/// What an arena holds, and whether it may hold more.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: AtomicUsize,
    is_enough: AtomicBool,
}

#[cfg(feature = "runtime")]
impl Held {
    /// As of some time ago: it may be a quarter more by now, and what is made in one step.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// Whether there is no room for more: what comes next does not fit then, as if the arena had all that it may have.
    pub(crate) fn has_enough(&self, has_enough: bool) {
        self.is_enough.store(has_enough, Relaxed);
    }
}

/// Bytes that are taken, at least, between two updates.
const TELL_BYTES_MIN: usize = 16 << 10;

impl Arena {
    /// The [bytes held](Arena::capacity_bytes), from now on; it may hold more again.
    #[cfg(feature = "runtime")]
    pub(crate) fn told_bytes(&mut self) -> Arc<Held> {
        let held = Arc::clone(self.held.get_or_insert_default());
        held.bytes.store(self.capacity_bytes(), Relaxed);
        held.is_enough.store(false, Relaxed);
        self.looks_at = 0;
        held
    }

    /// So many bytes will be in use: whether there is room for them, and whether it is time to tell how many are held.
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
