//! One run, honest ratios: on a machine that others use too, what is to be compared must take turns.

use std::hint::black_box;
use std::time::Instant;

/// Something to measure: a name and a piece of work.
pub(crate) struct Candidate<'a> {
    name: String,
    work: Box<dyn FnMut() + 'a>,
    nanoseconds: Vec<f64>,
}

/// A candidate that makes `work`'s result again and again.
pub(crate) fn candidate<'a, T>(name: &str, mut work: impl FnMut() -> T + 'a) -> Candidate<'a> {
    let work = move || {
        black_box(work());
    };
    Candidate { name: name.into(), work: Box::new(work), nanoseconds: Vec::new() }
}

/// How long a run takes: the number of rounds and the time each candidate gets in one.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) microseconds: u64,
}

impl Effort {
    /// Enough for two steady digits; a moment with `--test`, by which `cargo test` asks benches to run just once.
    pub(crate) fn from_args() -> Effort {
        match std::env::args().any(|arg| arg == "--test") {
            true => Effort { rounds: 1, microseconds: 1 },
            false => Effort { rounds: 101, microseconds: 1_000 },
        }
    }
}

/// Runs all candidates in turns (A B C A B C …), prints each one's median time per call and its ratio to the one named
/// `baseline`, and returns the medians in nanoseconds.
pub(crate) fn compare(
    title: &str,
    baseline: &str,
    effort: Effort,
    mut candidates: Vec<Candidate<'_>>,
) -> Vec<f64> {
    let calls: Vec<u32> = candidates.iter_mut().map(|it| calls_in(it, effort.microseconds)).collect();
    for _ in 0..effort.rounds {
        for (candidate, &calls) in candidates.iter_mut().zip(&calls) {
            let start = Instant::now();
            (0..calls).for_each(|_| (candidate.work)());
            candidate.nanoseconds.push(start.elapsed().as_nanos() as f64 / f64::from(calls));
        }
    }
    let medians: Vec<f64> = candidates.iter_mut().map(|it| median(&mut it.nanoseconds)).collect();
    let base = candidates.iter().position(|it| it.name == baseline).map_or(f64::NAN, |at| medians[at]);
    println!("\n{title}");
    for (candidate, &time) in candidates.iter().zip(&medians) {
        let fastest = candidate.nanoseconds[0];
        println!(
            "  {:<40} {time:>10.1} ns  (best {fastest:>10.1})  {:>6.2} × {baseline}",
            candidate.name,
            time / base
        );
    }
    medians
}

/// How many calls fill the time.
fn calls_in(candidate: &mut Candidate<'_>, microseconds: u64) -> u32 {
    let mut calls = 1u32;
    loop {
        let start = Instant::now();
        (0..calls).for_each(|_| (candidate.work)());
        if start.elapsed().as_micros() as u64 >= microseconds || calls >= 1 << 24 {
            return calls;
        }
        calls *= 2;
    }
}

/// Sorts as well: the fastest comes first.
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
