//! Ratios in one run: on a shared machine, the candidates of a comparison must take turns.
//!
//! A bench is a list of [`Comparison`]s. [`run`] measures each with criterion, candidate by candidate, which keeps its
//! own history of every one of them; then it lets the candidates of a comparison take turns and prints the ratios.

#![allow(dead_code, reason = "each bench uses what it needs")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};

/// Several ways to do the same.
pub(crate) struct Comparison<'a> {
    /// What is done.
    pub(crate) title: String,
    /// How much of it one call does.
    pub(crate) throughput: Throughput,
    /// The candidate that the others are measured in.
    pub(crate) baseline: &'static str,
    pub(crate) candidates: Vec<Candidate<'a>>,
}

/// Something to measure: a name and a piece of work.
pub(crate) struct Candidate<'a> {
    name: String,
    work: Box<dyn FnMut() + 'a>,
}

/// A candidate that makes `work`'s result again and again.
pub(crate) fn candidate<'a, T>(name: &str, mut work: impl FnMut() -> T + 'a) -> Candidate<'a> {
    let work = move || {
        black_box(work());
    };
    Candidate { name: name.into(), work: Box::new(work) }
}

/// What came out of one comparison.
pub(crate) struct Measured {
    pub(crate) title: String,
    names: Vec<String>,
    /// By candidate, by round: nanoseconds a call took.
    times: Vec<Vec<f64>>,
}

impl Measured {
    /// The median time of a call, in nanoseconds.
    pub(crate) fn nanoseconds(&self, name: &str) -> f64 {
        median(self.of(name).to_vec())
    }

    /// The median of what `name` took in units of what `baseline` took in the same round: what slows the machine down
    /// for a while slows both.
    pub(crate) fn ratio(&self, name: &str, baseline: &str) -> f64 {
        let pairs = self.of(name).iter().zip(self.of(baseline));
        median(pairs.map(|(time, base)| time / base).collect())
    }

    fn of(&self, name: &str) -> &[f64] {
        let at = self.names.iter().position(|it| it == name);
        &self.times[at.unwrap_or_else(|| panic!("{} has no candidate {name}", self.title))]
    }

    fn print(&self, baseline: &str) {
        if is_test() {
            return;
        }
        println!("\n{}", self.title);
        for (name, times) in self.names.iter().zip(&self.times) {
            let best = times.iter().copied().fold(f64::INFINITY, f64::min);
            let (time, ratio) = (self.nanoseconds(name), self.ratio(name, baseline));
            println!("  {name:<40} {time:>12.1} ns  (best {best:>12.1})  {ratio:>6.2} × {baseline}");
        }
    }
}

/// Measures everything with criterion, then in turns, and returns the results of the turns.
///
/// `cargo bench --bench NAME -- FILTER` takes criterion's arguments; a filter that nothing matches leaves the turns.
pub(crate) fn run(mut comparisons: Vec<Comparison<'_>>) -> Vec<Measured> {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_000))
        .sample_size(30)
        .without_plots()
        .configure_from_args();
    for comparison in &mut comparisons {
        let mut group = criterion.benchmark_group(&comparison.title);
        group.throughput(comparison.throughput.clone());
        for candidate in &mut comparison.candidates {
            group.bench_function(BenchmarkId::from_parameter(&candidate.name), |b| {
                b.iter(&mut candidate.work)
            });
        }
        group.finish();
    }
    criterion.final_summary();
    let take_turns = |it: &mut Comparison<'_>| {
        let measured = turns(it);
        measured.print(it.baseline);
        measured
    };
    comparisons.iter_mut().map(take_turns).collect()
}

/// Whether everything is to run just once: `cargo test` asks for that by not saying `--bench`, others by `--test`.
pub(crate) fn is_test() -> bool {
    let asked = |wanted: &str| std::env::args().any(|arg| arg == wanted);
    asked("--test") || asked("--list") || !asked("--bench")
}

/// A turn takes about as long as this, and there are so many of them. Enough for two steady digits.
const TURN_MICROSECONDS: u128 = 1_000;
const TURNS: usize = 101;

/// Runs all candidates in turns: A B C A B C …
fn turns(comparison: &mut Comparison<'_>) -> Measured {
    let candidates = &mut comparison.candidates;
    let (rounds, microseconds) = if is_test() { (1, 0) } else { (TURNS, TURN_MICROSECONDS) };
    let calls: Vec<u32> = candidates.iter_mut().map(|it| calls_in(it, microseconds)).collect();
    let mut times: Vec<Vec<f64>> = candidates.iter().map(|_| Vec::with_capacity(rounds)).collect();
    for _ in 0..rounds {
        for ((candidate, &calls), times) in candidates.iter_mut().zip(&calls).zip(&mut times) {
            let start = Instant::now();
            (0..calls).for_each(|_| (candidate.work)());
            times.push(start.elapsed().as_nanos() as f64 / f64::from(calls));
        }
    }
    let names = candidates.iter().map(|it| it.name.clone()).collect();
    Measured { title: comparison.title.clone(), names, times }
}

/// How many calls fill the time.
fn calls_in(candidate: &mut Candidate<'_>, microseconds: u128) -> u32 {
    let mut calls = 1u32;
    loop {
        let start = Instant::now();
        (0..calls).for_each(|_| (candidate.work)());
        if start.elapsed().as_micros() >= microseconds || calls >= 1 << 24 {
            return calls;
        }
        calls *= 2;
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A figure that was asked for: what it is, at most how much of it, in which unit, and how much there is.
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) at_most: f64,
    pub(crate) measured: f64,
    pub(crate) unit: &'static str,
}

/// Prints the figures as one table, as the benches' README has it.
pub(crate) fn print_figures(figures: &[Figure]) {
    if is_test() {
        return println!("\n{} figures, which only `cargo bench` measures", figures.len());
    }
    println!("\n| figure | target | measured | met |\n|---|--:|--:|---|");
    for Figure { what, at_most, measured, unit } in figures {
        let met = if measured <= at_most { "yes" } else { "no" };
        println!("| {what} | ≤ {at_most} {unit} | {measured:.2} {unit} | {met} |");
    }
}
