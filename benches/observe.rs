//! The cost of observability: W2 on two shards with nothing recorded, and with each of the outputs, taking turns in one
//! run. The ratios are medians over the turns. `tests/runtime/observe.rs` tests what is recorded; this only measures
//! speed.

mod workloads;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use expressway::observe::log::Level;
use expressway::observe::trace::{Context, Exporter, Traces};
use expressway::observe::{Recorded, Retention, RotatingFiles, Setup};
use expressway::runtime::{Engine, Machine};
use workloads::workload;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is compared with an engine that shows nothing, and the ratio that is to be reached.
struct Candidate {
    name: &'static str,
    wanted: f64,
    engine: Engine,
    machine: Machine,
    rates: Vec<f64>,
}

struct Nowhere;

impl Exporter for Nowhere {
    fn export(&self, _: &Recorded, _: &Context) -> bool {
        true
    }
}

fn candidate(name: &'static str, wanted: f64, setup: Setup) -> Candidate {
    let engine = Engine::builder().shards(2).observe(setup).build().expect("an engine");
    let machine = engine.create_state_machine("w2", &workload("w2").definition).expect("a machine");
    Candidate { name, wanted, engine, machine, rates: Vec::new() }
}

fn main() {
    let (rounds, executions) =
        if std::env::args().any(|arg| arg == "--test") { (1, 1_000) } else { (31, 40_000) };
    let folder = std::env::temp_dir().join(format!("expressway-observe-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = |name: &str| -> RotatingFiles {
        let path: PathBuf = folder.join(name);
        RotatingFiles::new(path, 256 << 20, 2).expect("a file")
    };
    let mut candidates = [
        candidate("everything off", 1.0, Setup::default()),
        candidate(
            "compiled in, nothing listening",
            0.98,
            Setup::default().log(file("off"), Level::Off, true).traces(Traces::new(Nowhere, 0)),
        ),
        candidate("metrics", 0.93, Setup::default().metrics()),
        candidate("history ring, tail sampling", 0.7, Setup::default().history(Retention::default())),
        candidate(
            "logs at ERROR, no failures",
            0.95,
            Setup::default().log(file("error"), Level::Error, true),
        ),
        candidate(
            "logs at ALL with data, to a file",
            0.0,
            Setup::default().log(file("all"), Level::All, true).log_bytes_max(1 << 30),
        ),
    ];
    let input = workload("w2").input;
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    // Logging everything leaves much memory behind for the next one, and has a figure of its own: it comes last.
    let (compared, alone) = candidates.split_at_mut(5);
    for turns in [compared, alone] {
        for round in 0..=rounds {
            // Forwards and backwards, so that none always follows the same one.
            for candidate in turns.iter_mut() {
                let rate = turn(candidate, executions, &input, &tokio);
                // The first round warms up.
                if round > 0 || rounds == 1 {
                    candidate.rates.push(rate);
                }
            }
            turns.reverse();
        }
    }
    println!("W2, two shards and one who starts; {rounds} rounds of {executions} executions\n");
    println!("  {:<36} {:>12}   {:>6}   wanted", "", "executions/s", "ratio");
    let off = candidates[0].rates.clone();
    for Candidate { name, wanted, rates, engine, .. } in &candidates {
        let ratio = median(rates.iter().zip(&off).map(|(rate, off)| rate / off).collect());
        let rate = median(rates.clone());
        let wanted = match *wanted {
            wanted if wanted > 0.0 => format!("{wanted}"),
            _ => "100000/s".to_owned(),
        };
        println!("  {name:<36} {rate:>12.0}   {ratio:>6.3}   {wanted}");
        assert_eq!(engine.observed().dropped().log_lines, 0);
    }
    // A shard hands its lines over at the end of a turn, after it has notified the waiters.
    let (observed, expected) = (candidates[5].engine.observed(), 12 * (executions * (rounds + 1)) as u64);
    let waits = Instant::now();
    while observed.lines_written() < expected && waits.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(observed.lines_written(), expected);
    drop(candidates);
    // It is in the system's folder for temporary files.
    let _ = std::fs::remove_dir_all(folder);
}

/// The rate of one turn, in executions a second.
fn turn(candidate: &Candidate, executions: usize, input: &[u8], tokio: &tokio::runtime::Runtime) -> f64 {
    let Candidate { engine, machine, .. } = candidate;
    let began = Instant::now();
    let batch = engine.start_batch(machine, std::iter::repeat_n(input, executions));
    let counts = tokio.block_on(batch);
    assert_eq!(counts.succeeded, executions as u64);
    assert!(engine.observed().flush(Duration::from_secs(60)), "{}", candidate.name);
    executions as f64 / began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
