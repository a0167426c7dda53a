//! Instructions per call, counted by valgrind: the same on a busy machine as on a quiet one, so that CI can hold a
//! budget.
//!
//! This program runs itself under `valgrind --tool=callgrind` twice for each case, with N calls and with 2 N; the
//! difference is N calls and nothing else, whatever it takes to begin. `benches/instructions.budget` holds what is
//! allowed; more than [`SLACK`] above it fails.
//!
//! ```sh
//! cargo bench --bench instructions              # a table, exit code 1 when a budget is exceeded
//! cargo bench --bench instructions -- --write   # sets the budgets to what was counted
//! ```

mod machines;
mod workloads;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use expressway::json::{self, Arena};
use expressway::observe::log::Level;
use expressway::observe::{Setup, Tail};
use expressway::runtime::inline::Driver;
use expressway::runtime::{Engine, ManualTime, VirtualClock};
use expressway::task::Handlers;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is counted: a name, how many calls, and what makes the work.
type Case = (&'static str, u32, fn() -> Box<dyn FnMut()>);

const CASES: [Case; 14] = [
    ("read the event", 400, || {
        let (mut arena, text) = (Arena::new(), workloads::event().input);
        Box::new(move || {
            arena.clear();
            black_box(json::read(&mut arena, black_box(&text)).unwrap());
        })
    }),
    ("write the event", 400, || {
        let (mut arena, mut out) = (Arena::new(), Vec::new());
        let value = json::read(&mut arena, &workloads::event().input).unwrap();
        Box::new(move || {
            out.clear();
            json::write(&arena, black_box(value), &mut out);
            black_box(&out);
        })
    }),
    ("compile W2", 50, || {
        let text = own("w2");
        Box::new(move || {
            black_box(machines::compiled(black_box(&text.definition)));
        })
    }),
    ("start W1", 400, || start(&own("w1"))),
    ("start W2", 400, || start(&own("w2"))),
    ("start W3", 200, || start(&own("w3"))),
    ("start the event", 200, || start(&workloads::event())),
    ("start W2 in JSONata", 200, || {
        start(&workloads::Workload { definition: workloads::W2_IN_JSONATA.into(), ..own("w2") })
    }),
    ("10,000 transitions in a loop", 4, || {
        let program = machines::program(&machines::counting(5_000));
        let mut driver = Driver::with(program, VirtualClock::at(0), &Handlers::new());
        Box::new(move || {
            black_box(driver.run(black_box(br#"{"n":0,"kept":[1,2]}"#)).unwrap().succeeded());
        })
    }),
    ("start and end on the runtime, in place", 4_000, run_in_place),
    ("64 of W2 on a shard, nothing shown", 200, || on_a_shard(Setup::default())),
    ("64 of W2 on a shard, metrics", 200, || on_a_shard(Setup::default().metrics())),
    ("64 of W2 on a shard, history ring", 200, || {
        let mut tail = Tail::default();
        // What is kept is made into a history elsewhere.
        tail.one_in = 0;
        on_a_shard(Setup::default().history(tail))
    }),
    ("64 of W2 on a shard, logs at ERROR", 200, || {
        on_a_shard(Setup::default().log(|_: &[u8]| Ok(()), Level::Error, true))
    }),
];

/// The texts of this repository, whatever lies beside it: a budget counts one text.
fn own(name: &str) -> workloads::Workload {
    workloads::own(name)
}

fn start(workload: &workloads::Workload) -> Box<dyn FnMut()> {
    let (mut driver, mut out) = (Driver::new(machines::program(&workload.definition)), Vec::new());
    let input = workload.input.clone();
    Box::new(move || {
        out.clear();
        driver.run(black_box(&input)).unwrap().write_output(&mut out);
        black_box(&out);
    })
}

fn run_in_place() -> Box<dyn FnMut()> {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    let workload = own("w2");
    let engine = Engine::builder().shards(1).seed(1).build().unwrap();
    let machine = engine.create_state_machine("w2", &workload.definition).unwrap();
    Box::new(move || {
        let mut run = pin!(engine.run(&machine, black_box(&workload.input)));
        let _ = black_box(run.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    })
}

/// One parcel, on a shard that has no thread.
fn on_a_shard(setup: Setup) -> Box<dyn FnMut()> {
    let workload = own("w2");
    let time = ManualTime::at(0);
    let builder = Engine::builder().shards(1).seed(1).time(time).observe(setup);
    let (engine, mut simulation) = builder.simulate().unwrap();
    let machine = engine.create_state_machine("w2", &workload.definition).unwrap();
    Box::new(move || {
        let batch = engine.start_batch(&machine, std::iter::repeat_n(black_box(&workload.input), 64));
        simulation.settle(0);
        black_box(batch);
    })
}

/// A count may be so much above its budget: layout and hash seeds move it by less than a hundredth.
const SLACK: f64 = 0.02;
/// Below so much of its budget, one is told to lower it.
const LUCK: f64 = 0.05;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    if let [command, case, calls, ..] = &*arguments
        && command == "--case"
    {
        return run_case(case, calls);
    }
    if asked("--test") || asked("--list") || !asked("--bench") {
        for (_, _, make) in CASES {
            make()();
        }
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!(
            "valgrind is absent (apt-get install valgrind): no instructions are counted, no budget is checked"
        );
        return ExitCode::SUCCESS;
    }
    count_all(asked("--write"))
}

fn run_case(case: &str, calls: &str) -> ExitCode {
    let Some((_, _, make)) = CASES.iter().find(|it| it.0 == case) else { return ExitCode::FAILURE };
    let mut work = make();
    // What is grown once is grown now.
    (0..20).for_each(|_| work());
    (0..calls.parse::<u32>().unwrap_or(0)).for_each(|_| work());
    // Threads and destructors take what they take: no matter.
    std::process::exit(0)
}

fn count_all(write: bool) -> ExitCode {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.budget");
    let budgets = read(&file);
    let (mut counted, mut exceeded) = (Vec::new(), false);
    println!("| instructions per call | budget | counted | |\n|---|--:|--:|---|");
    for (name, calls, _) in CASES {
        let Some(count) = count(name, calls) else {
            eprintln!("valgrind could not run '{name}'");
            return ExitCode::FAILURE;
        };
        let budget = budgets.get(name).copied();
        let verdict = match budget {
            None => {
                exceeded = true;
                "HAS NO BUDGET"
            }
            Some(budget) if count > budget * (1.0 + SLACK) => {
                exceeded = true;
                "EXCEEDED"
            }
            Some(budget) if count < budget * (1.0 - LUCK) => "lower the budget",
            Some(_) => "",
        };
        let budget = budget.map_or("-".to_owned(), |budget| format!("{budget:.0}"));
        println!("| {name} | {budget} | {count:.0} | {verdict} |");
        counted.push((name, count));
    }
    if write {
        let mut text = "# Instructions per call, as `cargo bench --bench instructions` counts them. They belong to the compiler of\n# rust-version in Cargo.toml, x86-64 with AVX2, and the profile `bench`.\n".to_owned();
        for (name, count) in counted {
            text.push_str(&format!("{name} = {count:.0}\n"));
        }
        return match std::fs::write(&file, text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    ExitCode::from(u8::from(exceeded))
}

fn read(file: &Path) -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (name, count) = line.rsplit_once('=')?;
            Some((name.trim().to_owned(), count.trim().parse().ok()?))
        })
        .collect()
}

/// Instructions of one call.
fn count(name: &str, calls: u32) -> Option<f64> {
    let (once, twice) = (total(name, calls)?, total(name, 2 * calls)?);
    Some((twice - once) / f64::from(calls))
}

/// Instructions of a whole process.
fn total(name: &str, calls: u32) -> Option<f64> {
    let program: PathBuf = std::env::current_exe().ok()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--case", name, &calls.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}
