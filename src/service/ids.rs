//! Unpredictable names and choices.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{random, uuid};

/// A source of random numbers for any number of threads: the thread's generator, or, for reproducible results, a hashed
/// counter.
#[derive(Debug)]
pub(super) struct IdSource {
    key: Option<u64>,
    count: AtomicU64,
}

impl IdSource {
    pub(super) fn new(seed: Option<u64>) -> IdSource {
        IdSource { key: seed.map(mix), count: AtomicU64::new(0) }
    }

    pub(super) fn next(&self) -> u64 {
        let Some(key) = self.key else { return random::next() };
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        mix(key ^ mix(count.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// A UUID, version 4 in form.
    pub(super) fn uuid(&self) -> String {
        // It is ASCII.
        String::from_utf8(uuid::text(self.next(), self.next()).to_vec()).unwrap_or_default()
    }

    /// A number below `n`.
    pub(super) fn below(&self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
