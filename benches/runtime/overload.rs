//! More than there is room for: twice and ten times what the engine can do, refused at once where it does not fit.
//!
//! The senders run on the same two processors as the shards, so their cost is missing from the goodput. That is why W2
//! is offered in batches of 64, as a source of ten million events a second would, and a slower machine by one `start`
//! at a time: W3 with 200 items.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use expressway::runtime::{Budgets, Engine, Machine};
use hdrhistogram::Histogram;

use super::{Effort, Figure, engine, megabytes, nanoseconds, resident_bytes, tokio};

const BYTES_MAX: usize = 64 << 20;
const BATCH: usize = 64;
const ITEMS: usize = 200;
/// How often the senders wake, to offer what has become due.
const TICK: Duration = Duration::from_micros(500);

pub(super) fn overload(effort: Effort) -> Vec<Figure> {
    let time = if effort.is_test { Duration::from_millis(5) } else { Duration::from_secs(5) };
    let in_batches = |engine: &Engine, machine: &Machine, input: &[u8]| {
        let batch = engine.start_batch(machine, std::iter::repeat_n(input, BATCH));
        batch.refused.is_none()
    };
    let alone = |engine: &Engine, machine: &Machine, input: &[u8]| engine.start(machine, input).is_ok();
    let w2 = |text| text;
    let mut figures = measure("W2 in batches of 64", "w2", w2, BATCH, in_batches, time);
    figures.extend(measure("W3 of 200 items, one at a time", "w3", of_200_items, 1, alone, time));
    figures
}

/// W3's input with more items.
fn of_200_items(text: Vec<u8>) -> Vec<u8> {
    let mut input: serde_json::Value = serde_json::from_slice(&text).expect("the input is JSON");
    let items = input["items"].as_array_mut().expect("W3 has items");
    *items = items.iter().cycle().take(ITEMS).cloned().collect();
    input.to_string().into()
}

fn measure(
    what: &'static str,
    workload: &str,
    larger: impl FnOnce(Vec<u8>) -> Vec<u8>,
    executions: usize,
    offer: impl Fn(&Engine, &Machine, &[u8]) -> bool + Sync,
    time: Duration,
) -> Vec<Figure> {
    println!("\noverload: {what}, one thread that offers; {} MB of budget", BYTES_MAX >> 20);
    let budgets =
        Budgets { executions_max: 20_000, bytes_max: BYTES_MAX, queue_max: 8_192, ..Budgets::default() };
    let (engine, machine, input) = engine(workload, Engine::builder().budgets(budgets).run_in_place(false));
    let input = larger(input);
    let load = Load { engine: &engine, machine: &machine, input: &input, executions, offer };
    // As fast as accepted: a refused sender waits for the next tick.
    let peak = load.offer(None, time);
    let calm = load.latency(time);
    let before = resident_bytes();
    println!(
        "  peak {:.0} /s; a start and its end take {:.1} µs when there is nothing else",
        peak.goodput(),
        calm
    );
    let mut figures = Vec::new();
    for (factor, least, target) in [(2.0, 0.95, "≥ 95 % of peak"), (10.0, 0.90, "≥ 90 % of peak")] {
        let offered = load.offer(Some(factor * peak.goodput()), time);
        let times = offered.offered as f64 / offered.took.as_secs_f64() / peak.goodput();
        let share = offered.goodput() / peak.goodput();
        let refusal = offered.refusals.value_at_quantile(0.99) as f64 / 1e6;
        let grown = offered.resident.saturating_sub(before);
        let lost = engine.counts();
        println!(
            "  {factor:>4.0} ×: offered {times:.1} × the peak, goodput {:.0} /s ({:.1} %), p99 of {} refusals {:.1} µs, {:.0} MB \
             more, idle after {:.1} ms",
            offered.goodput(),
            100.0 * share,
            offered.refusals.len(),
            refusal * 1e3,
            megabytes(grown),
            offered.idle_after.as_secs_f64() * 1e3,
        );
        figures.push(Figure {
            what: format!("{what}, offered {factor} × the peak: goodput"),
            target,
            measured: format!("{:.1} % (offered {times:.1} ×)", 100.0 * share),
            // What was meant has to have been offered.
            met: share >= least && times >= 0.98 * factor,
        });
        figures.push(Figure {
            what: "… refusals p99; memory; back to normal; lost".into(),
            target: "≤ 1 ms; ≤ budget + 10 %; ≤ 5 s; 0",
            measured: format!(
                "{refusal:.4} ms; {:.0} of {} MB; {:.3} s; {}",
                megabytes(grown),
                BYTES_MAX / 1_000_000,
                offered.idle_after.as_secs_f64(),
                lost.accepted - lost.ended(),
            ),
            met: refusal <= 1.0
                && grown as f64 <= 1.1 * BYTES_MAX as f64
                && offered.idle_after <= Duration::from_secs(5)
                && lost.accepted == lost.ended(),
        });
    }
    println!("  afterwards a start and its end take {:.1} µs", load.latency(time));
    figures
}

struct Load<'l, O> {
    engine: &'l Engine,
    machine: &'l Machine,
    input: &'l [u8],
    /// Executions a call of `offer` would start, if all were taken.
    executions: usize,
    offer: O,
}

struct Offered {
    offered: u64,
    succeeded: u64,
    took: Duration,
    /// How long it took until nothing was left.
    idle_after: Duration,
    /// Nanoseconds each call took that was refused, wholly or in part.
    refusals: Histogram<u64>,
    /// The greatest number of resident bytes, sampled at intervals.
    resident: u64,
}

impl Offered {
    fn goodput(&self) -> f64 {
        self.succeeded as f64 / self.took.as_secs_f64()
    }
}

impl<O: Fn(&Engine, &Machine, &[u8]) -> bool + Sync> Load<'_, O> {
    /// Offers so many a second, or as many as are taken.
    fn offer(&self, rate: Option<f64>, time: Duration) -> Offered {
        let over = AtomicBool::new(false);
        let before = self.engine.counts();
        std::thread::scope(|scope| {
            let resident = scope.spawn(|| {
                let mut most = 0;
                while !over.load(Ordering::Relaxed) {
                    most = most.max(resident_bytes());
                    std::thread::sleep(Duration::from_millis(50));
                }
                most
            });
            let (mut refusals, begun, mut offered) = (nanoseconds(), Instant::now(), 0u64);
            let mut tick = begun;
            while tick - begun < time {
                let due = rate.map_or(f64::MAX, |rate| rate * (tick - begun).as_secs_f64());
                while (offered as f64) < due {
                    offered += self.executions as u64;
                    let now = Instant::now();
                    if !(self.offer)(self.engine, self.machine, self.input) {
                        refusals
                            .saturating_record(u64::try_from(now.elapsed().as_nanos()).unwrap_or(u64::MAX));
                        if rate.is_none() {
                            break;
                        }
                    }
                }
                std::thread::sleep(TICK);
                tick = Instant::now();
            }
            let (took, succeeded) = (begun.elapsed(), self.engine.counts().succeeded - before.succeeded);
            let idle = Instant::now();
            while self.engine.usage().0 > 0 {
                std::thread::sleep(Duration::from_micros(200));
            }
            let idle_after = idle.elapsed();
            over.store(true, Ordering::Relaxed);
            let resident = resident.join().expect("it only looks");
            Offered { offered, succeeded, took, idle_after, refusals, resident }
        })
    }

    /// The median time of a start and its end, one after the other, in microseconds.
    fn latency(&self, time: Duration) -> f64 {
        let tokio = tokio(1);
        let (mut times, begun) = (nanoseconds(), Instant::now());
        while begun.elapsed() < time / 10 {
            let now = Instant::now();
            tokio.block_on(self.engine.start(self.machine, self.input).expect("there is room"));
            times.saturating_record(u64::try_from(now.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        times.value_at_quantile(0.5) as f64 / 1e3
    }
}
