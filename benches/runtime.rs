//! What the sharded runtime costs: starts in batches beside the same work written by hand on two threads, `run` from a
//! user's tokio, async handlers, and a million parked executions. Everything that is compared takes turns in one run;
//! medians are printed.

#[allow(dead_code)]
mod by_hand;
#[allow(dead_code)]
mod workloads;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use expressway::runtime::inline::Driver;
use expressway::runtime::wheel::Wheel;
use expressway::runtime::{Engine, Machine, Profile};
use expressway::task::TaskError;
use expressway::{asl, compile};
use workloads::workload;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much is done: little with `--test`, by which `cargo test` asks benches to run just once.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    executions: usize,
    parked: usize,
}

fn main() {
    let effort = match std::env::args().any(|arg| arg == "--test") {
        true => Effort { rounds: 1, executions: 1_000, parked: 1_000 },
        false => Effort { rounds: 21, executions: 60_000, parked: 1_000_000 },
    };
    println!(
        "one call is one execution; both threads' work counted together; median of {} rounds",
        effort.rounds
    );
    timers(effort);
    starts(effort);
    handlers(effort);
    parked(effort);
}

fn print(name: &str, rate: f64, note: &str) {
    println!("  {name:<52} {:>12.0} /s   {note}", rate);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Calls a second of `work`, which makes so many.
fn rate(calls: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    calls as f64 / start.elapsed().as_secs_f64()
}

/// The same with the calls dealt out to so many threads.
fn rate_on_threads(threads: usize, calls: usize, work: impl Fn(usize) + Sync) -> f64 {
    rate(calls, || {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| work(calls / threads));
            }
        });
    })
}

fn engine(name: &str) -> (Engine, Machine, Vec<u8>) {
    let workload = workload(name);
    let engine = Engine::builder().shards(2).build().unwrap();
    let machine = engine.create_state_machine(name, &workload.definition).unwrap();
    (engine, machine, workload.input)
}

/// Starts a batch and waits for its end; the outputs are written.
fn batch(
    engine: &Engine,
    machine: &Machine,
    input: &[u8],
    executions: usize,
    tokio: &tokio::runtime::Runtime,
) {
    thread_local! {
        static OUTPUT: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let inputs = std::iter::repeat_n(input, executions);
    let batch = engine.start_batch_with(machine, inputs, |_, ended| {
        OUTPUT.with_borrow_mut(|output| {
            output.clear();
            ended.write_output(output);
            black_box(&output);
        });
    });
    assert!(batch.refused.is_none(), "{:?}", batch.refused);
    let counts = tokio.block_on(batch);
    assert_eq!(counts.succeeded, executions as u64);
}

fn starts(effort: Effort) {
    println!("\nW2, two processors");
    let (engine, machine, input) = engine("w2");
    let jobs = by_hand::jobs("w2");
    let (_, owned) = *jobs.iter().find(|(name, _)| *name == "typed owned").unwrap();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
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
    let mut rates: [Vec<f64>; 7] = Default::default();
    for _ in 0..rounds {
        rates[0].push(rate_on_threads(2, executions, by_hand));
        rates[1].push(rate_on_threads(1, executions, by_hand));
        rates[2].push(rate_on_threads(2, executions, in_line));
        rates[3].push(rate_on_threads(1, executions, in_line));
        rates[4].push(rate(executions, || batch(&engine, &machine, &input, executions, &tokio)));
        rates[5].push(rate(executions, || runs(&engine, &machine, &input, executions, &tokio)));
        let started = rate(executions, || {
            for _ in 0..executions / 1_000 {
                let handles: Vec<_> = (0..1_000).map(|_| engine.start(&machine, &*input).unwrap()).collect();
                tokio.block_on(async {
                    for handle in handles {
                        black_box(handle.await);
                    }
                });
            }
        });
        rates[6].push(started);
    }
    let [hand_2, hand_1, in_line_2, in_line_1, batches, runs, single] = rates.map(median);
    print("typed owned by hand, one thread", hand_1, "");
    print("typed owned by hand, two threads", hand_2, "");
    print("in-line driver, one thread", in_line_1, "");
    print("in-line driver, two threads", in_line_2, &format!("{:.2} × one thread", in_line_2 / in_line_1));
    print(
        "start_batch, two shards and the producer",
        batches,
        &format!("{:.2} × by hand on two", batches / hand_2),
    );
    print("run(..).await, 1,000 in flight", runs, "");
    print("start, one at a time, and await", single, "");
}

/// A thousand tasks that each run one execution after the other.
fn runs(
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

fn handlers(effort: Effort) {
    println!("\nthree async tasks in sequence, each ready at once");
    const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:next";
    let engine = Engine::builder()
        .shards(2)
        .task(FUNCTION, |n: u64| async move { Ok::<u64, TaskError>(n + 1) })
        .build()
        .unwrap();
    let state = |next: &str| format!(r#"{{"Type": "Task", "Resource": "{FUNCTION}", {next}}}"#);
    let definition = format!(
        r#"{{"StartAt": "A", "States": {{"A": {}, "B": {}, "C": {}}}}}"#,
        state(r#""Next": "B""#),
        state(r#""Next": "C""#),
        state(r#""End": true"#)
    );
    let machine = engine.create_state_machine("tasks", &definition).unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rates = (0..effort.rounds)
        .map(|_| rate(effort.executions, || batch(&engine, &machine, b"1", effort.executions, &tokio)));
    print("start_batch", median(rates.collect()), "");
}

fn timers(effort: Effort) {
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
    println!("  {:<52} {:>12.1} ns", "arm and cancel", 1e9 / median(rates.collect()));
}

/// Resident memory of this process, in bytes; 0 where there is no such file.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

fn parked(effort: Effort) {
    println!("\n{} executions parked in a Wait, 202 bytes of input each", effort.parked);
    let workload = workload("w2");
    let input = workload.input;
    let engine = Engine::builder().shards(2).profile(Profile::Open).build().unwrap();
    let machine = engine.create_state_machine("w2", &workload.definition).unwrap();
    let nap = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 3600, "End": true}}}"#;
    let nap = engine.create_state_machine("nap", nap).unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let measure = || {
        let rates = (0..effort.rounds)
            .map(|_| rate(effort.executions, || batch(&engine, &machine, &input, effort.executions, &tokio)));
        median(rates.collect())
    };
    let before = measure();
    let empty = resident_bytes();
    let begun = Instant::now();
    let mut left = effort.parked;
    while left > 0 {
        let batch = engine.start_batch(&nap, std::iter::repeat_n(&input, left.min(10_000)));
        left -= batch.counts().accepted as usize;
        if batch.refused.is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let took = begun.elapsed();
    // An execution that starts now is behind all of them.
    batch(&engine, &machine, &input, 1_000, &tokio);
    let full = resident_bytes();
    let bytes = full.saturating_sub(empty) as f64 / effort.parked as f64;
    println!("  {:<52} {bytes:>12.0} bytes of RSS each ({} s to park)", "parked", took.as_secs());
    println!("  {:<52} {:>12} billed each", "", engine.usage().1 / engine.usage().0.max(1));
    let after = measure();
    print("start_batch of W2 with none parked", before, "");
    print("start_batch of W2 with all parked", after, &format!("{:.2} × with none", after / before));
}
