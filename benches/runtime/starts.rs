//! Starts of W2: in batches, one at a time and awaited, beside the same work by hand.

use std::hint::black_box;
use std::sync::Arc;

use expressway::runtime::inline::Driver;
use expressway::runtime::{Engine, Machine};
use expressway::{asl, compile};

use super::workloads::workload;
use super::{Effort, Figure, batch, by_hand, engine, median, print, rate, ratio, tokio};

/// Calls a second when they are dealt out to so many threads.
fn rate_on_threads(threads: usize, calls: usize, work: impl Fn(usize) + Sync) -> f64 {
    rate(calls, || {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| work(calls / threads));
            }
        });
    })
}

pub(super) fn starts(effort: Effort) -> Vec<Figure> {
    println!("\nW2, two processors");
    let (engine, machine, input) = engine("w2", Engine::builder());
    let (_, owned) = *by_hand::jobs("w2").iter().find(|(name, _)| *name == "typed owned").unwrap();
    let tokio = tokio(2);
    let Effort { rounds, executions, .. } = effort;
    let by_hand = |calls| {
        (0..calls).for_each(|_| {
            black_box(owned(black_box(&input)).unwrap());
        })
    };
    let (definition, _) = asl::read(workload("w2").definition.as_bytes(), &asl::Options::default());
    let program = Arc::new(compile::compile(&definition.unwrap()).unwrap());
    let in_line = |calls| {
        let (mut driver, mut output) = (Driver::new(Arc::clone(&program)), Vec::new());
        (0..calls).for_each(|_| {
            output.clear();
            driver.run(black_box(&input)).unwrap().write_output(&mut output);
            black_box(&output);
        });
    };
    let mut rates: [Vec<f64>; 8] = Default::default();
    for _ in 0..rounds {
        rates[0].push(rate_on_threads(2, executions, by_hand));
        rates[1].push(rate_on_threads(1, executions, by_hand));
        rates[2].push(rate_on_threads(2, executions, in_line));
        rates[3].push(rate_on_threads(1, executions, in_line));
        rates[4].push(rate(executions, || {
            batch(&engine, &machine, &input, executions, &tokio);
        }));
        rates[5].push(rate(executions, || awaited(&engine, &machine, &input, executions, &tokio)));
        rates[6].push(rate(executions, || one_at_a_time(&engine, &machine, &input, executions, &tokio)));
        rates[7].push(rate(executions, || {
            (0..executions).for_each(|_| {
                let ran = engine
                    .run_now(&machine, &input, &Default::default(), |ended| black_box(ended.succeeded()));
                assert_eq!(ran, Ok(Some(true)));
            });
        }));
    }
    let of = |n: usize| median(rates[n].clone());
    let (in_line_2, batches) = (ratio(&rates[2], &rates[3]), ratio(&rates[4], &rates[0]));
    print("typed owned by hand, one thread", of(1), "");
    print("typed owned by hand, two threads", of(0), "");
    print("in-line driver, one thread", of(3), "");
    print("in-line driver, two threads", of(2), &format!("{in_line_2:.2} × one thread"));
    let note = format!("{batches:.2} × by hand on two, {:.2} × in line on two", ratio(&rates[4], &rates[2]));
    print("start_batch, two shards and the producer", of(4), &note);
    print("run(..).await, 1,000 in flight, tokio on two threads", of(5), "");
    print("start, one at a time, and await", of(6), "");
    print("run_now, one thread", of(7), "");
    vec![
        figure("W2 through `start_batch`, outcome counted", "≥ 2,000,000 /s", of(4), 2e6),
        Figure {
            what: "the same against typed owned on two threads".into(),
            target: "≥ 0.7 ×",
            measured: format!("{batches:.2} ×"),
            met: batches >= 0.7,
        },
        Figure {
            what: "in-line driver, two threads against one".into(),
            target: "≥ 1.9 ×",
            measured: format!("{in_line_2:.2} ×"),
            met: in_line_2 >= 1.9,
        },
        figure("W2 through `run(..).await`, 1,000 in flight", "≥ 700,000 /s", of(5), 7e5),
    ]
}

pub(super) fn figure(what: &'static str, target: &'static str, rate: f64, least: f64) -> Figure {
    Figure { what: what.into(), target, measured: format!("{rate:.0} /s"), met: rate >= least }
}

fn one_at_a_time(
    engine: &Engine,
    machine: &Machine,
    input: &[u8],
    executions: usize,
    tokio: &tokio::runtime::Runtime,
) {
    for _ in 0..executions / 1_000 {
        let handles: Vec<_> = (0..1_000).map(|_| engine.start(machine, input).unwrap()).collect();
        tokio.block_on(async {
            for handle in handles {
                black_box(handle.await);
            }
        });
    }
}

/// A thousand tasks that each run one execution after the other.
fn awaited(
    engine: &Engine,
    machine: &Machine,
    input: &[u8],
    executions: usize,
    tokio: &tokio::runtime::Runtime,
) {
    let input: Arc<[u8]> = input.into();
    tokio.block_on(async {
        let tasks: Vec<_> = (0..1_000)
            .map(|_| {
                let (engine, machine, input) = (engine.clone(), machine.clone(), Arc::clone(&input));
                tokio::spawn(async move {
                    for _ in 0..executions / 1_000 {
                        black_box(engine.run(&machine, &*input).await.unwrap());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}
