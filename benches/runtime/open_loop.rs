//! An open loop: 100,000 starts of W2 a second, whether the ones before are over or not, each timed from the moment at
//! which it was meant to start. Beside it, how late the machine lets a thread be that does nothing but look at the clock,
//! and one that is woken through a channel of the standard library and does nothing else.
//! The thread that starts and the shard have a processor each: on the same one, the shard's waking would make it late by
//! a time slice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use expressway::runtime::{Engine, Machine};
use hdrhistogram::Histogram;

use super::pin::pin;
use super::{Effort, Figure, engine_on, nanoseconds, tokio};

const RATE: u64 = 100_000;

/// When each call was over, in nanoseconds after it was meant to start; 0 where it is not.
type Times = Arc<Vec<AtomicU64>>;

pub(super) fn open_loop(effort: Effort) -> Vec<Figure> {
    // On a separate thread, because pinning is permanent.
    let measured = std::thread::spawn(move || measure(effort)).join();
    measured.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn measure(effort: Effort) -> Vec<Figure> {
    println!("\nopen loop, {RATE} starts of W2 a second");
    let seconds = if effort.is_test { 0.01 } else { 10.0 };
    let calls = (RATE as f64 * seconds) as usize;
    // One shard: the sender busy-waits, and takes one of two processors. The shard stays where its creating thread was.
    pin(0);
    let (engine, machine, input) = engine_on(1, "w2", Engine::builder());
    pin(1);
    let machine_alone = paced(calls, |n, begun, times| over(times, n, begun));
    let in_place = paced(calls, |n, begun, times| {
        let ran = engine.run_now(&machine, &input, &Default::default(), |ended| ended.succeeded());
        assert_eq!(ran, Ok(Some(true)));
        over(times, n, begun);
    });
    let woken = woken(calls);
    let on_shards = paced(calls, |n, begun, times| start(&engine, &machine, &input, n, begun, times));
    wait_until_idle(&engine);
    let counts = engine.counts();
    assert_eq!(counts.accepted, counts.succeeded);
    for (name, times) in [
        ("the machine's own hiccups", &machine_alone),
        ("run_now", &in_place),
        ("a bare thread that is woken", &woken),
        ("start on the shard", &on_shards),
    ] {
        let times = histogram(times);
        let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
        println!(
            "  {name:<32} p50 {:>8.1} µs  p99 {:>8.1} µs  p99.9 {:>8.1} µs  max {:>8.1} µs  ({} of {calls})",
            at(0.5),
            at(0.99),
            at(0.999),
            times.max() as f64 / 1e3,
            times.len(),
        );
    }
    let figure = |what: &str, times: &Times, machine: &str, alone: &Times| {
        let own = histogram(alone).value_at_quantile(0.999) as f64 / 1e3;
        let times = histogram(times);
        let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
        let (p50, p999) = (at(0.5), at(0.999));
        Figure {
            what: format!("open loop at 100,000 starts/s, W2, from the intended start, {what}"),
            target: "p50 ≤ 20 µs, p99.9 ≤ 1 ms, none refused",
            measured: format!(
                "p50 {p50:.1} µs, p99.9 {p999:.0} µs ({machine} {own:.0}), {} refused",
                counts.refused
            ),
            met: p50 <= 20.0 && p999 <= 1_000.0 && counts.refused == 0 && times.len() == calls as u64,
        }
    };
    vec![
        figure("on the thread that starts (`run_now`)", &in_place, "the machine alone", &machine_alone),
        figure("by `start` on one shard", &on_shards, "a bare thread that is woken", &woken),
    ]
}

/// What is started on a thread that is as bare as can be, and where shards have theirs.
fn woken(calls: usize) -> Times {
    let (sender, receiver) = mpsc::channel::<(usize, Instant, Times)>();
    pin(0);
    let thread =
        std::thread::spawn(move || receiver.iter().for_each(|(n, begun, times)| over(&times, n, begun)));
    pin(1);
    let times = paced(calls, |n, begun, times| {
        sender.send((n, begun, Arc::clone(times))).expect("the thread ends after this one");
    });
    drop(sender);
    thread.join().expect("it does not panic");
    times
}

/// A batch of one, because a batch calls back when an execution is over, without a waiter.
fn start(engine: &Engine, machine: &Machine, input: &[u8], n: usize, begun: Instant, times: &Times) {
    let times = Arc::clone(times);
    let batch = engine.start_batch_with(machine, [input], move |_, _| over(&times, n, begun));
    assert!(batch.refused.is_none());
}

fn over(times: &Times, n: usize, intended: Instant) {
    times[n]
        .store(u64::try_from(intended.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
}

/// Makes calls at even distances. The sender busy-waits; it never sleeps.
fn paced(calls: usize, mut call: impl FnMut(usize, Instant, &Times)) -> Times {
    let times: Times = Arc::new((0..calls).map(|_| AtomicU64::new(0)).collect());
    let begun = Instant::now();
    for n in 0..calls {
        let intended = begun + Duration::from_nanos(n as u64 * (1_000_000_000 / RATE));
        while Instant::now() < intended {
            std::hint::spin_loop();
        }
        call(n, intended, &times);
    }
    times
}

fn histogram(times: &Times) -> Histogram<u64> {
    let mut histogram = nanoseconds();
    for time in times.iter() {
        match time.load(Ordering::Relaxed) {
            0 => {}
            time => histogram.saturating_record(time),
        }
    }
    histogram
}

fn wait_until_idle(engine: &Engine) {
    tokio(1).block_on(engine.drain(Duration::from_secs(60)));
}
