//! Durable executions that wait for a year, or are over, and are not in memory: how fast they leave it, how soon a service
//! answers after it was killed, and what each takes. Each step is a separate process.
//!
//! `cargo bench --bench cold --features service` with a million of each, in `DURABLE_FOLDER` or in cargo's target directory;
//! behind `--` which of them (`waits`, `closed`, and only then a hundred thousand that had a Map Run each, `maps`), or another
//! number, or both.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use expressway::runtime::DurabilityMode;
use expressway::service::{CreateStateMachine, ListExecutions, Page, Service, StartExecution};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What there is a million of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Waits,
    Closed,
    Maps,
}

const WAIT: &str = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 31000000, "End": true}}}"#;
const END: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;
const MAP: &str = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "QueryLanguage": "JSONata", "Items": [1], "Label": "m", "End": true,
    "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
        "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}}}}"#;
const MACHINE: &str = "arn:aws:states:us-east-1:123456789012:stateMachine:waits";

fn service(folder: &Path, kind: Kind, executions: u64) -> Service {
    // Each Map Run that is not over has a file open.
    let open_max = if kind == Kind::Maps { 500 } else { 10_000_000 };
    let builder = Service::builder().memory(2 << 30).state(folder).open_executions_max(open_max);
    // Starts do not wait for the disk: that is not measured here, and all are durable when they have left.
    let durability = match executions {
        ..100_000 => DurabilityMode::Strict,
        _ => DurabilityMode::Relaxed(Duration::from_secs(10)),
    };
    builder.durability(durability).build().expect("a service")
}

fn name(n: u64) -> String {
    format!("{n:08x}-0000-4000-8000-0123456789ab")
}

fn execution(n: u64) -> String {
    format!("arn:aws:states:us-east-1:123456789012:execution:waits:{}", name(n))
}

fn start(service: &Service, n: u64) {
    let request = StartExecution {
        machine_arn: MACHINE.to_owned(),
        name: Some(name(n)),
        input: Some(format!(r#"{{"order": "{n:016x}", "customer": "somebody"}}"#)),
        trace_header: None,
    };
    while let Err(error) = service.start_execution(request.clone()) {
        let is_full = ["Rate exceeded", "The maximum number of running executions"]
            .map(|it| error.to_string().contains(it));
        assert!(is_full.contains(&true), "{error}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn metric(service: &Service, name: &str) -> u64 {
    let metrics = service.prometheus();
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("expressway_{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} is in the metrics"))
}

/// Of this process, in MiB: now, and at most.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib >> 10)
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// What a step took, in milliseconds.
fn timed<T>(step: impl FnOnce() -> T) -> (T, f64) {
    let began = Instant::now();
    let done = step();
    (done, began.elapsed().as_secs_f64() * 1e3)
}

fn fill(folder: &Path, kind: Kind, executions: u64) {
    let service = service(folder, kind, executions);
    let created = service.create_state_machine(CreateStateMachine {
        name: "waits".to_owned(),
        definition: match kind {
            Kind::Waits => WAIT,
            Kind::Closed => END,
            Kind::Maps => MAP,
        }
        .to_owned(),
        role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
        ..CreateStateMachine::default()
    });
    created.expect("a machine");
    let next = AtomicU64::new(0);
    let ((), began_ms) = timed(|| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= executions {
                            return;
                        }
                        start(&service, n);
                    }
                });
            }
        });
    });
    let ((), left_ms) = timed(|| {
        // As many as may stay do.
        let cold = if kind == Kind::Waits { "durable_cold" } else { "durable_cold_closed" };
        while metric(&service, cold) + 10_000 < executions || metric(&service, "durable_cold_pending") > 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let (now, most) = memory();
    println!(
        "{executions} started in {:.1} s; all but 10,000 have left {:.1} s later; {now} MiB, {most} at most; journal {} MiB, \
         rows {} MiB",
        began_ms / 1e3,
        left_ms / 1e3,
        metric(&service, "journal_bytes") >> 20,
        metric(&service, "durable_cold_bytes") >> 20,
    );
    // As a kill: nothing is closed.
    std::process::abort();
}

fn open(folder: &Path, kind: Kind, executions: u64) {
    let before = memory().0;
    let (service, open_ms) = timed(|| service(folder, kind, executions));
    let first = timed(|| service.describe_execution(&execution(1)).expect("it is there")).1;
    let (now, most) = memory();
    println!(
        "opened in {open_ms:.0} ms, the first is described in {first:.2} ms; {before} MiB before, {now} now, {most} at most"
    );
    let rest: Vec<f64> = (0..1_000)
        .map(|n| timed(|| service.describe_execution(&execution(n * 7_919 % executions)).expect("one")).1)
        .collect();
    let page = Page { results_max: Some(1_000), token: None };
    let list = ListExecutions { machine_arn: Some(MACHINE.to_owned()), page, ..ListExecutions::default() };
    let (listed, list_ms) = timed(|| service.list_executions(&list).expect("a list"));
    let ((), start_ms) = timed(|| start(&service, executions + 1));
    if kind == Kind::Maps {
        let page = Page { results_max: Some(10), token: None };
        let (runs, runs_ms) = timed(|| service.list_map_runs(&execution(7), &page).expect("a list").items);
        let (run, run_ms) = timed(|| service.describe_map_run(runs[0].arn()).expect("it is there"));
        assert_eq!((runs.len(), run.state().items.succeeded), (1, 1));
        println!("its Map Runs are listed in {runs_ms:.2} ms, and one is described in {run_ms:.2} ms");
    }
    let second = execution(2);
    let stop = service.stop_execution(&second, None, None);
    let (stopped, stop_ms) = timed(|| pollster::block_on(stop));
    stopped.expect("it is stopped");
    println!(
        "described in {:.3} ms on average; {} listed in {list_ms:.1} ms; started in {start_ms:.2} ms; stopped in {stop_ms:.2} ms; \
         {} went on, {} rows; {} MiB",
        rest.iter().sum::<f64>() / rest.len() as f64,
        listed.items.len(),
        metric(&service, "durable_recovered"),
        metric(&service, if kind == Kind::Waits { "durable_cold" } else { "durable_cold_closed" }),
        memory().0,
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let is_given = |what: &str| arguments.iter().any(|it| it == what);
    let folder = std::env::var_os("DURABLE_FOLDER").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("cold"));
    let given = arguments.iter().find_map(|it| it.parse().ok());
    let all = [("waits", Kind::Waits), ("closed", Kind::Closed), ("maps", Kind::Maps)];
    let is_any = all.iter().any(|(name, _)| is_given(name));
    let wanted = |name: &str| if is_any { is_given(name) } else { name != "maps" };
    for (name, kind) in all.into_iter().filter(|(name, _)| wanted(name)) {
        let most = if kind == Kind::Maps { 100_000 } else { 1_000_000 };
        let executions = given.unwrap_or(if is_given("--test") { 2_000 } else { most });
        match [is_given("fill"), is_given("open")] {
            [true, _] => return fill(&folder, kind, executions),
            [_, true] => return open(&folder, kind, executions),
            _ => {}
        }
        println!("{name}:");
        let step = |step: &str| {
            let this = std::env::current_exe().expect("this program");
            Command::new(this).args([step, name, &executions.to_string()]).status().expect("a process")
        };
        let _ = std::fs::remove_dir_all(&folder);
        // Filling ends as if it was killed.
        step("fill");
        assert!(step("open").success(), "what was started is there");
        let _ = std::fs::remove_dir_all(&folder);
    }
}
