//! What the load test itself costs, so that one knows what it can tell apart: `loadtest self-check`.

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
    let run = |kind, arrivals| -> Result<Report, String> {
        let targets = vec![Target { kind, ..Target::default() }];
        // What is due in a warm-up and sent behind it would not be counted.
        let warmup = Duration::ZERO;
        let plan = Plan { duration, warmup, workers: 1, arrivals, targets, ..Plan::default() };
        Ok(Report::new(&session::run(&plan, &AtomicBool::new(false), &mut |_| {})?))
    };
    // A second of the processor, not of the clock: other programs may have taken some of it.
    let sends = |arrivals| -> Result<f64, String> {
        let report = run(Kind::Empty, arrivals)?;
        Ok(report.total.sent as f64 / report.generator.usage.cpu_seconds.max(1e-9))
    };
    let closed = sends(Arrivals::Closed { in_flight: 1 })?;
    // Due faster than they can be sent: what is sent is what can be.
    let open = sends(Arrivals::Constant { rate: 100e6, poisson: false })?;
    let calm = run(Kind::Runtime, Arrivals::Constant { rate: 1e5, poisson: false })?;
    let lateness = calm.total.lateness.p999 as f64;
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
            measured: format!("{} ({} dropped)", show_nanoseconds(lateness), calm.total.dropped),
            met: lateness <= 200e3 && calm.total.dropped == 0,
        },
    ])
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
