//! The cost of the load test itself, which limits what it can measure: `loadtest self-check`.

use std::hint::black_box;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::plan::{Arrivals, Kind, Plan, Target};
use crate::record::{End, Interval, Stamp};
use crate::report::Report;
use crate::session;
use crate::units::{show_count, show_nanoseconds};

/// A figure that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What is measured.
    pub what: &'static str,
    /// What was asked for.
    pub target: String,
    /// What was measured.
    pub measured: String,
    /// Whether it is as good.
    pub met: bool,
}

/// Measures the generator, with runs of this length.
///
/// # Errors
/// When a run cannot begin.
pub fn measure(duration: Duration) -> Result<Vec<Figure>, String> {
    let recording = recording(duration);
    // A second of the processor, not of the clock: other programs may have taken some of it.
    let sends = |arrivals| -> Result<f64, String> {
        let report = run(Kind::Empty, arrivals, duration)?;
        Ok(report.total.sent as f64 / report.generator.usage.cpu_seconds.max(1e-9))
    };
    let closed = sends(Arrivals::Closed { in_flight: 1 })?;
    // Due faster than they can be sent: what is sent is what can be.
    let open = sends(Arrivals::Constant { rate: 100e6, poisson: false })?;
    let calm = calm(duration)?;
    let rate = |rate: f64| format!("{}/s", show_count(rate));
    Ok(vec![
        Figure {
            what: "recording one latency",
            target: "<= 15 ns".to_owned(),
            measured: format!("{recording:.1} ns"),
            met: recording <= 15.0,
        },
        Figure {
            what: "sends to an empty target in a second of one processor, closed model",
            target: ">= 5,000,000/s".to_owned(),
            measured: rate(closed),
            met: closed >= 5e6,
        },
        Figure {
            what: "the same, open model",
            target: ">= 5,000,000/s".to_owned(),
            measured: rate(open),
            met: open >= 5e6,
        },
        Figure {
            what: "send lateness p99.9 at 100,000/s in process",
            target: "<= 200 µs".to_owned(),
            measured: format!(
                "{}, the median of {TURNS} turns; the worst {}; the generator alone {} and {} ({} dropped)",
                show_nanoseconds(calm.sent.0),
                show_nanoseconds(calm.sent.1),
                show_nanoseconds(calm.alone.0),
                show_nanoseconds(calm.alone.1),
                calm.dropped
            ),
            met: calm.sent.0 <= 200e3,
        },
    ])
}

fn run(kind: Kind, arrivals: Arrivals, duration: Duration) -> Result<Report, String> {
    let targets = vec![Target { kind, ..Target::default() }];
    // What is due in a warm-up and sent behind it would not be counted.
    let plan = Plan { duration, warmup: Duration::ZERO, workers: 1, arrivals, targets, ..Plan::default() };
    Ok(Report::new(&session::run(&plan, &AtomicBool::new(false), &mut |_| {})?))
}

/// How late sends are, as p99.9 in nanoseconds: the median over the turns, and the worst of them.
struct Calm {
    sent: (f64, f64),
    /// With nothing behind the generator, so that it is the machine's own.
    alone: (f64, f64),
    dropped: u64,
}

/// Turns in which lateness is measured. A machine that others use as well stops everything for some milliseconds now and
/// then, and one such stop is more than a thousandth of any turn.
const TURNS: u32 = 9;

fn calm(duration: Duration) -> Result<Calm, String> {
    let (mut sent, mut alone, mut dropped) = (Vec::new(), Vec::new(), 0);
    for _ in 0..TURNS {
        for (kind, lateness) in [(Kind::Empty, &mut alone), (Kind::Runtime, &mut sent)] {
            let report = run(kind, Arrivals::Constant { rate: 1e5, poisson: false }, duration / TURNS)?;
            lateness.push(report.total.lateness.p999 as f64);
            dropped += report.total.dropped;
        }
    }
    let of = |mut turns: Vec<f64>| {
        turns.sort_by(f64::total_cmp);
        (turns[turns.len() / 2], turns[turns.len() - 1])
    };
    Ok(Calm { sent: of(sent), alone: of(alone), dropped })
}

/// Nanoseconds that it takes to write down one latency: half of what an end takes, which writes down two.
fn recording(duration: Duration) -> f64 {
    let mut interval = Interval::new(u64::MAX, 0);
    let mut random = fastrand::Rng::with_seed(1);
    // Such as a run has: mostly near each other, some far away.
    let times: Vec<u64> = (0..4_096)
        .map(|_| match random.u32(..100) {
            0 => random.u64(..50_000_000),
            _ => 500 + random.u64(..2_000),
        })
        .collect();
    let mut best = f64::INFINITY;
    let begun = Instant::now();
    while begun.elapsed() < duration / 4 {
        let from = Instant::now();
        for &time in &times {
            interval.ended(black_box(Stamp { due: 0, sent: 100 }), black_box(time), End::Succeeded, 0);
        }
        best = best.min(from.elapsed().as_nanos() as f64 / times.len() as f64 / 2.0);
    }
    black_box(&interval);
    best
}
