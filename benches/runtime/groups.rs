//! What each way to start costs, as criterion groups, so that it can be followed from commit to commit.

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use criterion::Throughput;
use expressway::runtime::inline::Driver;
use expressway::runtime::{Engine, Machine};

use super::measure::{self, Candidate, Comparison, candidate};
use super::workloads::workload;
use super::{batch, engine, machines, tokio};

const IN_LINE: &str = "in-line driver";
/// Starts in a batch.
const BATCH: usize = 1_000;

pub(super) fn groups() {
    measure::run(["w1", "w2", "w3"].into_iter().flat_map(|name| [alone(name), together(name)]).collect());
}

fn in_line(name: &str, starts: usize) -> Candidate<'static> {
    let workload = workload(name);
    let mut driver = Driver::new(machines::program(&workload.definition));
    let mut output = Vec::new();
    candidate(IN_LINE, move || {
        for _ in 0..starts {
            output.clear();
            driver.run(black_box(&workload.input)).unwrap().write_output(&mut output);
            black_box(&output);
        }
    })
}

/// One start, and its end.
fn alone(name: &str) -> Comparison<'static> {
    let (engine, machine, input) = engine(name, Engine::builder());
    let tokio = tokio(2);
    let (in_place, of_place) = (engine.clone(), machine.clone());
    let input: Arc<[u8]> = input.into();
    let text = Arc::clone(&input);
    Comparison {
        title: format!("{name}, one start"),
        throughput: Throughput::Elements(1),
        baseline: IN_LINE,
        candidates: vec![
            in_line(name, 1),
            candidate("run, in place", move || run(&in_place, &of_place, &text)),
            candidate("start on a shard, and await", move || {
                tokio.block_on(async { engine.start(&machine, &*input).unwrap().await })
            }),
        ],
    }
}

fn run(engine: &Engine, machine: &Machine, input: &[u8]) -> usize {
    let mut run = pin!(engine.run(machine, black_box(input)));
    match run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome.unwrap().json().len(),
        Poll::Pending => unreachable!("the workloads neither wait nor call"),
    }
}

/// Many at once, on two shards.
fn together(name: &str) -> Comparison<'static> {
    let (engine, machine, input) = engine(name, Engine::builder());
    let tokio = tokio(2);
    Comparison {
        title: format!("{name}, {BATCH} starts"),
        throughput: Throughput::Elements(BATCH as u64),
        baseline: IN_LINE,
        candidates: vec![
            in_line(name, BATCH),
            candidate("start_batch_with", move || batch(&engine, &machine, &input, BATCH, &tokio)),
        ],
    }
}
