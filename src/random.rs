//! Unpredictable random numbers, for what others get to see: names of executions, UUIDs, `$random`.

/// The next number of this thread's generator, which the system seeds, again at intervals.
#[cfg(feature = "runtime")]
pub(crate) fn next() -> u64 {
    use rand::RngCore;
    rand::rng().next_u64()
}

/// The next number of this thread: a keyed hash of a counter, with a key from the system.
#[cfg(not(feature = "runtime"))]
pub(crate) fn next() -> u64 {
    use std::cell::Cell;
    use std::hash::{BuildHasher, RandomState};
    thread_local! {
        static KEY: RandomState = RandomState::new();
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }
    let count = COUNT.with(|count| count.replace(count.get() + 1));
    KEY.with(|key| key.hash_one(count))
}
