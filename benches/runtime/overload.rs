//! More than there is room for: twice and ten times what the engine can do, refused at once where it does not fit.

use std::time::{Duration, Instant};

use expressway::runtime::{Budgets, Engine, Machine};
use hdrhistogram::Histogram;

use super::{Effort, Figure, engine, megabytes, resident_bytes, tokio};

const BYTES_MAX: usize = 64 << 20;

pub(super) fn overload(effort: Effort) -> Vec<Figure> {
    println!("\nW2 offered by `start`, one thread that offers; {} MB of budget", BYTES_MAX >> 20);
    let budgets =
        Budgets { executions_max: 20_000, bytes_max: BYTES_MAX, queue_max: 8_192, ..Budgets::default() };
    let (engine, machine, input) = engine("w2", Engine::builder().budgets(budgets).run_in_place(false));
    let time = if effort.is_test { Duration::from_millis(5) } else { Duration::from_secs(5) };
    // As fast as it takes them: whoever is refused waits a little.
    let mut load = Load { engine: &engine, machine: &machine, input: &input };
    let peak = load.offer(None, time);
    let calm = load.latency(time);
    let before = resident_bytes();
    let mut figures = Vec::new();
    println!(
        "  peak {:.0} /s; a start and its end take {:.1} µs when there is nothing else",
        peak.goodput(),
        calm
    );
    let rows = [
        (2.0, 0.95, "offered 2 × the peak: goodput", "≥ 95 % of peak"),
        (10.0, 0.90, "offered 10 × the peak: goodput", "≥ 90 % of peak"),
    ];
    for (factor, least, what, target) in rows {
        let offered = load.offer(Some(factor * peak.goodput()), time);
        let grown = resident_bytes().saturating_sub(before);
        let share = offered.goodput() / peak.goodput();
        let refusal = offered.refusals.value_at_quantile(0.99) as f64 / 1e3;
        println!(
            "  {factor:>4.0} ×: offered {:.0} /s, goodput {:.0} /s ({:.0} %), refused {}, p99 of a refusal {refusal:.1} µs, \
             {:.0} MB more, idle after {:.0} ms",
            offered.offered as f64 / offered.took.as_secs_f64(),
            offered.goodput(),
            100.0 * share,
            offered.refusals.len(),
            megabytes(grown),
            offered.idle_after.as_secs_f64() * 1e3,
        );
        let lost = engine.counts();
        figures.push(Figure {
            what,
            target,
            measured: format!("{:.0} %", 100.0 * share),
            met: share >= least,
        });
        figures.push(Figure {
            what: "… refusals p99; memory; back to normal; lost",
            target: "≤ 1 ms; ≤ budget + 10 %; ≤ 5 s; 0",
            measured: format!(
                "{:.3} ms; {:.0} of {} MB; {:.2} s; {}",
                refusal / 1e3,
                megabytes(grown),
                BYTES_MAX / 1_000_000,
                offered.idle_after.as_secs_f64(),
                lost.accepted - lost.ended(),
            ),
            met: refusal <= 1e3
                && grown as f64 <= 1.1 * BYTES_MAX as f64
                && offered.idle_after <= Duration::from_secs(5)
                && lost.accepted == lost.ended(),
        });
    }
    let after = load.latency(time);
    println!("  afterwards a start and its end take {after:.1} µs");
    figures
}

struct Load<'l> {
    engine: &'l Engine,
    machine: &'l Machine,
    input: &'l [u8],
}

struct Offered {
    offered: u64,
    succeeded: u64,
    took: Duration,
    /// How long it took until nothing was left.
    idle_after: Duration,
    /// Nanoseconds each took that was refused.
    refusals: Histogram<u64>,
}

impl Offered {
    fn goodput(&self) -> f64 {
        self.succeeded as f64 / self.took.as_secs_f64()
    }
}

impl Load<'_> {
    /// Offers so many a second, or as many as are taken.
    fn offer(&mut self, rate: Option<f64>, time: Duration) -> Offered {
        let before = self.engine.counts();
        let mut refusals = Histogram::new(3).expect("three digits are allowed");
        let (begun, mut offered) = (Instant::now(), 0u64);
        loop {
            let now = Instant::now();
            let since = now - begun;
            if since >= time {
                break;
            }
            if rate.is_some_and(|rate| offered as f64 > rate * since.as_secs_f64()) {
                std::thread::sleep(Duration::from_micros(50));
                continue;
            }
            offered += 1;
            if self.engine.start(self.machine, self.input).is_err() {
                let took = now.elapsed();
                refusals.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
                if rate.is_none() {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        }
        let (took, succeeded) = (begun.elapsed(), self.engine.counts().succeeded - before.succeeded);
        let over = Instant::now();
        while self.engine.usage().0 > 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
        Offered { offered, succeeded, took, idle_after: over.elapsed(), refusals }
    }

    /// The median time of a start and its end, one after the other, in microseconds.
    fn latency(&self, time: Duration) -> f64 {
        let tokio = tokio(1);
        let mut times: Histogram<u64> = Histogram::new(3).expect("three digits are allowed");
        let begun = Instant::now();
        while begun.elapsed() < time / 10 {
            let now = Instant::now();
            tokio.block_on(self.engine.start(self.machine, self.input).expect("there is room"));
            times.saturating_record(u64::try_from(now.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        times.value_at_quantile(0.5) as f64 / 1e3
    }
}
