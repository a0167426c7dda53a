//! What the sharded runtime costs and how it behaves under load: starts beside the same work written by hand on two
//! threads, an open loop, async handlers, a million parked executions, overload, panics. What is compared takes turns in
//! one run; rates are medians. Ends with the table of figures.
//!
//! `cargo bench --bench runtime` measures all; `cargo bench --bench runtime -- open overload` only those parts. The
//! machine must have nothing else to do. Before them come criterion's groups, which take criterion's arguments, and are
//! left out where parts are named.

#[path = "../by_hand/mod.rs"]
#[allow(dead_code)]
mod by_hand;
#[path = "../machines.rs"]
mod machines;
#[path = "../measure.rs"]
mod measure;
#[path = "../pin.rs"]
mod pin;
#[path = "../workloads.rs"]
mod workloads;

mod groups;
mod handlers;
mod open_loop;
mod overload;
mod parked;
mod starts;

use std::hint::black_box;
use std::time::Instant;

use expressway::runtime::{Budgets, Builder, Engine, Machine};
use hdrhistogram::Histogram;
use workloads::workload;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much is done: little with `--test`, by which `cargo test` asks benches to run just once.
#[derive(Clone, Copy)]
struct Effort {
    is_test: bool,
    rounds: usize,
    executions: usize,
    parked: usize,
}

/// A figure that was asked for.
struct Figure {
    what: String,
    target: &'static str,
    measured: String,
    met: bool,
}

type Part = fn(Effort) -> Vec<Figure>;

const PARTS: [(&str, Part); 7] = [
    ("timers", parked::timers),
    ("starts", starts::starts),
    ("open", open_loop::open_loop),
    ("handlers", handlers::sequence),
    ("panics", handlers::panics),
    ("parked", parked::parked),
    ("overload", overload::overload),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test` passes nothing, `cargo bench` passes `--bench`.
    let is_test = arguments.iter().any(|it| it == "--test") || !arguments.iter().any(|it| it == "--bench");
    let effort = if is_test {
        Effort { is_test, rounds: 1, executions: 1_000, parked: 1_000 }
    } else {
        Effort { is_test, rounds: 21, executions: 60_000, parked: 1_000_000 }
    };
    let is_part = |name: &String| PARTS.iter().any(|(part, _)| part == name);
    let wanted: Vec<&String> = arguments.iter().filter(|it| is_part(it)).collect();
    if wanted.is_empty() {
        groups::groups();
    }
    println!(
        "one call is one execution; all threads' work counted together; median of {} rounds",
        effort.rounds
    );
    let mut figures = Vec::new();
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|it| *it == name) {
            figures.extend(part(effort));
        }
    }
    if is_test {
        return println!("\n{} figures, which only `cargo bench` measures", figures.len());
    }
    println!("\n| figure | target | measured | met |\n|---|--:|--:|---|");
    for Figure { what, target, measured, met } in figures {
        println!("| {what} | {target} | {measured} | {} |", if met { "yes" } else { "**no**" });
    }
}

fn print(name: &str, rate: f64, note: &str) {
    println!("  {name:<52} {:>12.0} /s   {note}", rate);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median of what one took in units of what the other took in the same round.
fn ratio(ones: &[f64], others: &[f64]) -> f64 {
    median(ones.iter().zip(others).map(|(one, other)| one / other).collect())
}

/// Calls a second of `work`, which makes so many.
fn rate(calls: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    calls as f64 / start.elapsed().as_secs_f64()
}

/// Resident memory of this process, in bytes; 0 where there is no such file.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

/// For times in nanoseconds; longer ones count as an hour.
fn nanoseconds() -> Histogram<u64> {
    Histogram::new_with_max(3_600_000_000_000, 3).expect("three digits are allowed")
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn engine(name: &str, builder: Builder) -> (Engine, Machine, Vec<u8>) {
    engine_on(2, name, builder)
}

fn engine_on(shards: usize, name: &str, builder: Builder) -> (Engine, Machine, Vec<u8>) {
    let workload = workload(name);
    let engine = builder.shards(shards).build().unwrap();
    let machine = engine.create_state_machine(name, &workload.definition).unwrap();
    (engine, machine, workload.input)
}

fn tokio(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

/// Budgets under which a million starts may wait for their shard.
fn whole_batches() -> Budgets {
    Budgets { queue_max: usize::MAX, ..Budgets::default() }
}

/// Starts a batch and waits for its end; the outputs are written. How many succeeded.
fn batch(
    engine: &Engine,
    machine: &Machine,
    input: &[u8],
    executions: usize,
    tokio: &tokio::runtime::Runtime,
) -> u64 {
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
    assert_eq!(counts.ended(), executions as u64);
    counts.succeeded
}
