//! How many bytes an arena holds, for whoever cannot ask it while values are made: it tells now and then.

#[cfg(feature = "runtime")]
use std::sync::Arc;
#[cfg(feature = "runtime")]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::Arena;

/// How many more bytes are taken, at least, before it is told again how many are held.
const TELL_BYTES_MIN: usize = 16 << 10;

impl Arena {
    /// The [bytes held](Arena::capacity_bytes), as of some time ago: it may hold a quarter more by now, and what is made in
    /// one step.
    #[cfg(feature = "runtime")]
    pub(crate) fn told_bytes(&mut self) -> Arc<AtomicUsize> {
        let held = Arc::clone(self.held.get_or_insert_default());
        held.store(self.capacity_bytes(), Relaxed);
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
            held.store(self.capacity_bytes().max(needed), Relaxed);
            self.looks_at = self.bytes_max.min(needed + (needed / 4).max(TELL_BYTES_MIN));
        }
    }
}
