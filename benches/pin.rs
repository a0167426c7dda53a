//! Pins threads, so that measuring and measured threads do not disturb each other.

/// Keeps this thread, and those it makes, on the n-th processor, if there is one (Linux; elsewhere nothing).
#[cfg(target_os = "linux")]
pub(crate) fn pin(processor: usize) {
    use rustix::thread::{CpuSet, sched_setaffinity};

    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let mut set = CpuSet::new();
    set.set(processor.min(count.max(2) - 1));
    if let Err(error) = sched_setaffinity(None, &set) {
        println!("not pinned to processor {processor}: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_: usize) {}
