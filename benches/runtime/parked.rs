//! Timers, and a million parked executions: their cost, and their effect on other executions.

use std::time::{Duration, Instant};

use expressway::runtime::wheel::Wheel;
use expressway::runtime::{Engine, Machine, Profile};

use super::{Effort, Figure, batch, engine, median, print, rate, ratio, resident_bytes, tokio};

pub(super) fn timers(effort: Effort) -> Vec<Figure> {
    println!("\ntimer wheel, {} live", effort.parked);
    let mut wheel = Wheel::new(0);
    let mut random = 1u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    for n in 0..effort.parked {
        wheel.arm(1 + next() % 300_000, n as u64);
    }
    let calls = 100_000;
    let rates = (0..effort.rounds).map(|_| {
        rate(calls, || {
            for n in 0..calls as u64 {
                let timer = wheel.arm(1 + next() % 300_000, n);
                wheel.cancel(timer);
            }
        })
    });
    let nanoseconds = 1e9 / median(rates.collect());
    println!("  {:<52} {nanoseconds:>12.1} ns", "arm and cancel");
    vec![Figure {
        what: "arm + cancel a timer with 1,000,000 live".into(),
        target: "≤ 30 ns",
        measured: format!("{nanoseconds:.1} ns"),
        met: nanoseconds <= 30.0,
    }]
}

/// A thousand transitions around a circle.
const RING: &str = r#"{"StartAt": "Add", "States": {
    "Add": {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.n, 1)"}, "Next": "More"},
    "More": {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericLessThan": 500, "Next": "Add"}], "Default": "Done"},
    "Done": {"Type": "Succeed"}}}"#;

pub(super) fn parked(effort: Effort) -> Vec<Figure> {
    println!("\n{} executions parked in a Wait, 202 bytes of input each", effort.parked);
    // Two engines, so that what is compared can take turns: one with next to nothing parked.
    let (full, full_w2, input) =
        engine("w2", Engine::builder().profile(Profile::Open).budgets(super::whole_batches()));
    let (empty, empty_w2, _) =
        engine("w2", Engine::builder().profile(Profile::Open).budgets(super::whole_batches()));
    let nap = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 3600, "End": true}}}"#;
    let (full_nap, empty_nap) =
        (full.create_state_machine("nap", nap).unwrap(), empty.create_state_machine("nap", nap).unwrap());
    let (full_ring, empty_ring) =
        (full.create_state_machine("ring", RING).unwrap(), empty.create_state_machine("ring", RING).unwrap());
    let tokio = tokio(1);
    park(&empty, &empty_nap, &input, 1);
    for engine in [(&full, &full_w2), (&empty, &empty_w2)] {
        batch(engine.0, engine.1, &input, effort.executions, &tokio);
    }
    let before = resident_bytes();
    let begun = Instant::now();
    park(&full, &full_nap, &input, effort.parked);
    let took = begun.elapsed();
    // An execution that starts now is behind all of them.
    batch(&full, &full_w2, &input, 1_000, &tokio);
    let bytes = resident_bytes().saturating_sub(before) as f64 / effort.parked as f64;
    println!("  {:<52} {bytes:>12.0} bytes of RSS each ({:.1} s to park)", "parked", took.as_secs_f64());
    println!("  {:<52} {:>12} billed each", "", full.usage().1 / full.usage().0.max(1));
    let rings = effort.executions / 100;
    let mut rates: [Vec<f64>; 4] = Default::default();
    for _ in 0..effort.rounds {
        let jobs: [(&Engine, &Machine, &[u8], usize); 4] = [
            (&full, &full_w2, &input, effort.executions),
            (&empty, &empty_w2, &input, effort.executions),
            (&full, &full_ring, br#"{"n": 0}"#, rings),
            (&empty, &empty_ring, br#"{"n": 0}"#, rings),
        ];
        for (rates, (engine, machine, input, executions)) in rates.iter_mut().zip(jobs) {
            rates.push(rate(executions, || assert!(batch(engine, machine, input, executions, &tokio) > 0)));
        }
    }
    let (starts, transitions) = (ratio(&rates[0], &rates[1]), ratio(&rates[3], &rates[2]));
    print("start_batch of W2 with one parked", median(rates[1].clone()), "");
    print("start_batch of W2 with all parked", median(rates[0].clone()), &format!("{starts:.2} × with one"));
    print("transitions in a ring with one parked", 1e3 * median(rates[3].clone()), "");
    print("transitions in a ring with all parked", 1e3 * median(rates[2].clone()), "");
    vec![
        Figure {
            what: "1,000,000 executions parked in a Wait, 200-byte input".into(),
            target: "≤ 450 bytes of RSS each",
            measured: format!("{bytes:.0} bytes"),
            met: bytes <= 450.0,
        },
        Figure {
            what: "new W2 starts while 1,000,000 are parked, against none".into(),
            target: "≥ 0.9 ×",
            measured: format!("{starts:.2} ×"),
            met: starts >= 0.9,
        },
        Figure {
            what: "cost of a transition, 1,000,000 parked against 1".into(),
            target: "≤ 1.5 ×",
            measured: format!("{transitions:.2} ×"),
            met: transitions <= 1.5,
        },
    ]
}

fn park(engine: &Engine, machine: &Machine, input: &[u8], executions: usize) {
    let mut left = executions;
    while left > 0 {
        let batch = engine.start_batch(machine, std::iter::repeat_n(input, left.min(10_000)));
        left -= batch.counts().accepted as usize;
        if batch.refused.is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
