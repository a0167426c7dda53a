//! Instructions of a call, counted by valgrind: the same on a busy machine as on a quiet one, so that CI can hold a
//! budget.
//!
//! Gungraun runs each case once, in a process of its own, and counts what the thread does between entering and leaving
//! [`calls`], whatever it takes to get there; other threads, such as an engine's, do not count. More than [`SLACK`] above
//! its budget fails.
//!
//! ```sh
//! cargo install --locked gungraun-runner --version 0.20.0    # the version of the crate, see Cargo.lock
//! cargo bench --bench instructions                           # exit code 3 when a budget is exceeded
//! cargo bench --bench instructions -- '*w3*'                 # some of the cases
//! ```
//!
//! Without valgrind or the runner it prints a message and counts nothing.

// What gungraun's macros make is public and has no documentation.
#![allow(missing_docs)]

mod machines;
mod workloads;

use std::hint::black_box;
use std::process::{Command, Stdio};

use expressway::json::{self, Arena};
use expressway::observe::log::Level;
use expressway::observe::{Retention, Setup};
use expressway::runtime::inline::Driver;
use expressway::runtime::{Engine, ManualTime, VirtualClock};
use expressway::task::Handlers;
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A call that is counted.
type Call = Box<dyn FnMut()>;

/// So many calls are counted together: what happens in one of several, as memory that grows, is shared by all.
const CALLS: u64 = 100;
/// A count may be so much above its budget, in hundredths: layout and hash seeds move it by less than one.
const SLACK: u64 = 2;

/// Makes of each case what gungraun counts, and all of them into what a test runs.
macro_rules! cases {
    ($($name:ident: $budget:literal, $call:expr;)+) => {
        #[library_benchmark]
        $(#[bench::$name(args = (warm($call)), config = budget($budget))])+
        fn calls(mut call: Call) -> Call {
            for _ in 0..CALLS {
                call();
            }
            // Dropped by the caller, not here.
            call
        }

        fn each_once() {
            $($call();)+
        }
    };
}

// What is allowed of one call, as counted with the compiler of `rust-version` in `Cargo.toml`, on x86-64 with AVX2, with the
// profile `bench`. To set it anew, take a hundredth of what is counted; that belongs into the commit that changes it, with
// the reason.
cases! {
    read_event: 10_962, read_event();
    write_event: 188, write_event();
    compile_w2: 140_607, compile(&own("w2"));
    start_w1: 1_457, start(&own("w1"));
    start_w2: 8_459, start(&own("w2"));
    start_w3: 19_658, start(&own("w3"));
    start_event: 16_888, start(&workloads::event());
    start_w2_in_jsonata: 12_061, start(&w2_in_jsonata());
    a_hundred_transitions: 119_242, count_to(50);
    run_w2_in_place: 9_664, run_in_place(&own("w2"));
    w2_on_a_shard_64_times: 535_479, on_a_shard(&own("w2"), Setup::default());
    the_same_with_metrics: 538_433, on_a_shard(&own("w2"), Setup::default().metrics());
    the_same_with_a_ring: 662_133, on_a_shard(&own("w2"), Setup::default().history(nothing_kept()));
    the_same_with_logs_at_error: 552_844, on_a_shard(&own("w2"), Setup::default().log(|_: &[u8]| Ok(()), Level::Error, true));
}

library_benchmark_group!(name = group, benchmarks = calls);

fn budget(instructions: u64) -> LibraryBenchmarkConfig {
    let most = instructions * CALLS * (100 + SLACK) / 100;
    let callgrind = Callgrind::with_args(["--cache-sim=no"]).hard_limits([(EventKind::Ir, most)]).clone();
    LibraryBenchmarkConfig::default().tool(callgrind).clone()
}

/// What is grown once is grown before it is counted.
fn warm(mut call: Call) -> Call {
    (0..20).for_each(|_| call());
    call
}

/// The texts of this repository, not of an adjacent one: a budget counts one text.
fn own(name: &str) -> workloads::Workload {
    workloads::own(name)
}

fn w2_in_jsonata() -> workloads::Workload {
    workloads::Workload { definition: workloads::W2_IN_JSONATA.into(), ..own("w2") }
}

fn read_event() -> Call {
    let (mut arena, text) = (Arena::new(), workloads::event().input);
    Box::new(move || {
        arena.clear();
        black_box(json::read(&mut arena, black_box(&text)).unwrap());
    })
}

fn write_event() -> Call {
    let (mut arena, mut out) = (Arena::new(), Vec::new());
    let value = json::read(&mut arena, &workloads::event().input).unwrap();
    Box::new(move || {
        out.clear();
        json::write(&arena, black_box(value), &mut out);
        black_box(&out);
    })
}

fn compile(workload: &workloads::Workload) -> Call {
    let definition = workload.definition.clone();
    Box::new(move || {
        black_box(machines::compiled(black_box(&definition)));
    })
}

fn start(workload: &workloads::Workload) -> Call {
    let (mut driver, mut out) = (Driver::new(machines::program(&workload.definition)), Vec::new());
    let input = workload.input.clone();
    Box::new(move || {
        out.clear();
        driver.run(black_box(&input)).unwrap().write_output(&mut out);
        black_box(&out);
    })
}

/// A loop of two states that goes around so many times.
fn count_to(count: usize) -> Call {
    let program = machines::program(&machines::counting(count));
    let mut driver = Driver::with(program, VirtualClock::at(0), &Handlers::new());
    Box::new(move || {
        black_box(driver.run(black_box(br#"{"n":0,"kept":[1,2]}"#)).unwrap().succeeded());
    })
}

fn run_in_place(workload: &workloads::Workload) -> Call {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    let input = workload.input.clone();
    let engine = Engine::builder().shards(1).seed(1).build().unwrap();
    let machine = engine.create_state_machine("counted", &workload.definition).unwrap();
    Box::new(move || {
        let mut run = pin!(engine.run(&machine, black_box(&input)));
        let _ = black_box(run.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    })
}

/// One parcel of 64, on a shard without a thread.
fn on_a_shard(workload: &workloads::Workload, setup: Setup) -> Call {
    let input = workload.input.clone();
    let builder = Engine::builder().shards(1).seed(1).time(ManualTime::at(0)).observe(setup);
    let (engine, mut simulation) = builder.simulate().unwrap();
    let machine = engine.create_state_machine("counted", &workload.definition).unwrap();
    Box::new(move || {
        let batch = engine.start_batch(&machine, std::iter::repeat_n(black_box(&input), 64));
        simulation.settle(0);
        black_box(batch);
    })
}

/// What is kept is made into a history elsewhere.
fn nothing_kept() -> Retention {
    let mut tail = Retention::default();
    tail.one_in = 0;
    tail
}

/// What gungraun makes of the groups, in a module so that its `main` is not ours.
mod counted {
    use super::group;

    gungraun::main!(library_benchmark_groups = group);

    pub(super) fn run() {
        main();
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    // The runner runs this program, too, once for each case.
    if arguments.first().is_some_and(|argument| argument == "--gungraun-run") {
        return counted::run();
    }
    // `cargo test` passes nothing, `cargo bench` passes `--bench`.
    if asked("--test") || !asked("--bench") {
        return each_once();
    }
    // Where it is, gungraun takes from the time of compiling as well.
    let runner = option_env!("GUNGRAUN_RUNNER").unwrap_or("gungraun-runner");
    for (program, remedy) in [("valgrind", "apt-get install valgrind"), (runner, INSTALL_RUNNER)] {
        let tried =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if let Err(error) = tried {
            return eprintln!(
                "{program}: {error} ({remedy}): no instructions are counted, no budget is checked"
            );
        }
    }
    counted::run();
}

/// Its version has to be that of the crate.
const INSTALL_RUNNER: &str = "cargo install --locked gungraun-runner --version 0.20.0";
