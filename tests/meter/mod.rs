//! Measures how long code works between two reads of the clock: in charged work, and in time.

#![allow(dead_code, reason = "each test uses a part")]

use std::cell::Cell;
use std::ops::Range;

use expressway::fuel::{self, Cut, Refill};

/// Counts the work between two looks at the clock and its processor time, and cuts at the limit.
pub(crate) struct Meter {
    work_max: u64,
    work: Cell<u64>,
    pub(crate) longest_work: Cell<u64>,
    pub(crate) longest_ns: Cell<u64>,
    looked_ns: Cell<u64>,
}

/// The time this thread was on a processor.
#[cfg(target_os = "linux")]
pub(crate) fn busy_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn busy_ns() -> u64 {
    0
}

/// Runs of what took long: the least of them counts, because what others do on the machine only adds.
const RUNS_MAX: usize = 5;

/// The longest stretch between two looks at the clock, in work and in nanoseconds. If that is close to the bound it is
/// measured again.
pub(crate) fn longest(work_max: u64, ns_max: u64, mut run: impl FnMut(&Meter)) -> (u64, u64) {
    let mut least = (u64::MAX, u64::MAX);
    for _ in 0..RUNS_MAX {
        let meter = Meter::new(work_max);
        run(&meter);
        meter.look();
        let (work, ns) = (meter.longest_work.get(), meter.longest_ns.get());
        least = (work.min(least.0), ns.min(least.1));
        if ns <= ns_max / 4 {
            break;
        }
    }
    least
}

impl Meter {
    pub(crate) fn new(work_max: u64) -> Meter {
        Meter {
            work_max,
            work: 0.into(),
            longest_work: 0.into(),
            longest_ns: 0.into(),
            looked_ns: busy_ns().into(),
        }
    }

    /// What was done since the last look does not count.
    pub(crate) fn look_away(&self) {
        self.looked_ns.set(busy_ns());
    }

    pub(crate) fn look(&self) {
        let now = busy_ns();
        self.longest_ns.set(self.longest_ns.get().max(now - self.looked_ns.replace(now)));
    }
}

impl Refill for Meter {
    fn spent(&self, work: u64) -> Result<u64, Cut> {
        self.look();
        self.longest_work.set(self.longest_work.get().max(work));
        self.work.set(self.work.get() + work);
        if self.work.get() > self.work_max { Err(Cut::Deadline) } else { Ok(fuel::SLICE) }
    }
}

/// Chance, from a seed.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    pub(crate) fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }
}

/// The seeds that are played: `EXPRESSWAY_SEEDS=200000`, or `from..to`; else so many.
pub(crate) fn count(usual: u64) -> Range<u64> {
    let told = std::env::var("EXPRESSWAY_SEEDS").unwrap_or_default();
    match told.split_once("..") {
        Some((from, to)) => from.parse().expect("a number")..to.parse().expect("a number"),
        None => 0..told.parse().unwrap_or(usual),
    }
}
