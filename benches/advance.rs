//! Whole executions through the in-line driver, bytes to bytes, beside the same jobs written by hand; and what a
//! transition costs in machines of any size. Ends with the figures that the engine is held to.
//! `cargo bench --bench advance`.

mod by_hand;
mod machines;
mod measure;
mod workloads;

use std::process::Command;

use criterion::Throughput;
use expressway::engine::{self, Event, EventMask, Execution, Start, Turn};
use expressway::fuel::Fuel;
use expressway::json::{self, Compactor};
use expressway::query::jsonata::Scratch;
use expressway::runtime::VirtualClock;
use expressway::runtime::inline::Driver;
use expressway::task::Handlers;
use machines::TRANSITIONS;
use measure::{Candidate, Comparison, Figure, Measured, candidate};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ENGINE: &str = "the engine";
const TREE: &str = "serde_json::Value";
const OWNED: &str = "typed owned";
const BORROWED: &str = "typed borrowed";
const IN_JSONATA: &str = "the engine, in JSONata";

const TRANSITION: &str = "10,000 transitions";
const DECISION: &str = "10,000 decisions";

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != LOOP).skip(1);
    if let Some(laps) = arguments.next() {
        return memory_of_the_loop(laps.parse().expect("a number of laps"));
    }
    let mut comparisons: Vec<Comparison<'_>> = ["w1", "w2", "w3", "event"].map(workload).into();
    comparisons.push(transitions());
    comparisons.push(decisions());
    let measured = measure::run(comparisons);
    let mut figures = against_hand(&measured);
    figures.extend(of_size(&measured));
    figures.push(memory());
    measure::print_figures(&figures);
}

// ---- beside the hand-written ----

fn workload(name: &str) -> Comparison<'static> {
    let workload = if name == "event" { workloads::event() } else { workloads::workload(name) };
    let input: &'static [u8] = workload.input.leak().trim_ascii();
    let mut driver = Driver::new(machines::program(&workload.definition));
    let mut engine = move || {
        let mut out = Vec::new();
        driver.run(input).unwrap().write_output(&mut out);
        out
    };
    let jobs = by_hand::jobs(name);
    let value = |output: &[u8]| serde_json::from_slice::<serde_json::Value>(output).unwrap();
    let output = engine();
    for (way, job) in jobs {
        assert_eq!(value(&output), value(&job(input).unwrap()), "{name}: {way}");
    }
    let mut candidates = vec![candidate(ENGINE, engine)];
    candidates.extend(jobs.map(|(way, job)| candidate(way, move || job(input).unwrap())));
    if name == "w2" {
        candidates.push(candidate(IN_JSONATA, in_jsonata(input, &output)));
    }
    let title = format!("{name}, {} bytes to {}", input.len(), output.len());
    Comparison { title, throughput: Throughput::Bytes(input.len() as u64), baseline: ENGINE, candidates }
}

/// W2 once more, every path of it a JSONata expression.
fn in_jsonata(input: &'static [u8], expected: &[u8]) -> impl FnMut() -> Vec<u8> + use<> {
    let mut driver = Driver::new(machines::program(workloads::W2_IN_JSONATA));
    let mut engine = move || {
        let mut out = Vec::new();
        driver.run(input).unwrap().write_output(&mut out);
        out
    };
    // A template of JSONPath has an order of members of its own.
    let value = |output: &[u8]| serde_json::from_slice::<serde_json::Value>(output).unwrap();
    assert_eq!(value(&engine()), value(expected));
    engine
}

fn against_hand(measured: &[Measured]) -> Vec<Figure> {
    let figure = |at: usize, baseline: &str, at_most: f64| {
        let name = ["W1", "W2", "W3", "the event"][at];
        let what = format!("{name}, bytes to bytes, against {baseline}");
        Figure { what, at_most, measured: measured[at].ratio(ENGINE, baseline), unit: "×" }
    };
    let mut figures = vec![
        figure(1, OWNED, 1.0),
        figure(1, BORROWED, 1.1),
        figure(1, TREE, 0.45),
        figure(2, TREE, 0.35),
        figure(0, TREE, 1.0),
    ];
    figures.push(Figure {
        what: "W2 in JSONata, against W2 in JSONPath".to_owned(),
        at_most: 1.5,
        measured: measured[1].ratio(IN_JSONATA, ENGINE),
        unit: "×",
    });
    println!("\nthe engine against each way");
    for measured in &measured[..4] {
        let ratios = [TREE, OWNED, BORROWED].map(|way| format!("{:.2} × {way}", measured.ratio(ENGINE, way)));
        println!("  {:<40} {}", measured.title, ratios.join(", "));
    }
    figures.iter_mut().for_each(|it| it.what = it.what.replace(TREE, "a `serde_json::Value`"));
    figures
}

// ---- how the size of a machine matters ----

/// Ten states, and ten thousand in the order of the text and jumping about.
fn transitions() -> Comparison<'static> {
    let rings =
        [("10 states", 10, 1), ("10,000 states", 10_000, 1), ("10,000 states, jumping", 10_000, 3_779)];
    let candidates =
        rings.map(|(name, count, stride)| endless(name, &machines::ring(count, stride), br#"{"x":1}"#));
    let candidates = candidates.into();
    Comparison {
        title: TRANSITION.to_owned(),
        throughput: Throughput::Elements(TRANSITIONS),
        baseline: "10 states",
        candidates,
    }
}

/// Ten rules, and a thousand, of which one in the middle holds or none does.
fn decisions() -> Comparison<'static> {
    let candidates = [
        ("10 rules, the 5th holds", 10, &br#"{"key":"key-4"}"#[..]),
        ("10 rules, none holds", 10, br#"{"key":"none-4"}"#),
        ("1,000 rules, the 500th holds", 1_000, br#"{"key":"key-499"}"#),
        ("1,000 rules, none holds", 1_000, br#"{"key":"none-499"}"#),
    ];
    let candidates = candidates.map(|(name, count, input)| endless(name, &machines::decision(count), input));
    Comparison {
        title: DECISION.to_owned(),
        throughput: Throughput::Elements(TRANSITIONS),
        baseline: "10 rules, the 5th holds",
        candidates: candidates.into(),
    }
}

/// The first [`TRANSITIONS`] of an execution without end: one turn of the engine, whose fuel does not run out.
fn endless(name: &str, definition: &str, input: &'static [u8]) -> Candidate<'static> {
    let program = machines::program(definition);
    let (mut execution, mut effects) = (Execution::new(), Vec::new());
    let (mut compactor, mut scratch) = (Compactor::new(), Scratch::default());
    let fuel = Fuel::unlimited();
    candidate(name, move || {
        execution.reset();
        let input = json::read(&mut execution.arena, input).unwrap();
        execution.begin(&program, &Start::default(), input);
        let mut env = engine::Env {
            ahead_ms: 0,
            now_ms: 0,
            transitions_max: u32::try_from(TRANSITIONS).unwrap(),
            is_last_state: false,
            fuel: &fuel,
            effects: &mut effects,
            listener: None,
            event_mask: EventMask::NONE,
            event_buffer: None,
            compactor: &mut compactor,
            scratch: &mut scratch,
            random: None,
            activities: None,
        };
        let turn = engine::advance(&program, &mut execution, Event::Go, &mut env);
        assert_eq!((turn, execution.transitions()), (Turn::Yielded, TRANSITIONS));
    })
}

fn of_size(measured: &[Measured]) -> Vec<Figure> {
    let of = |title: &str| measured.iter().find(|it| it.title == title).unwrap();
    let (transition, decision) = (of(TRANSITION), of(DECISION));
    let figure =
        |what: &str, at_most, measured| Figure { what: what.to_owned(), at_most, measured, unit: "×" };
    vec![
        figure(
            "a transition, 10,000 states against 10, in the order of the text",
            1.1,
            transition.ratio("10,000 states", "10 states"),
        ),
        figure(
            "a transition, 10,000 states against 10, jumping",
            1.1,
            transition.ratio("10,000 states, jumping", "10 states"),
        ),
        figure(
            "a decision, 1,000 rules against 10, one in the middle holds",
            1.5,
            decision.ratio("1,000 rules, the 500th holds", "10 rules, the 5th holds"),
        ),
        figure(
            "a decision, 1,000 rules against 10, none holds",
            1.5,
            decision.ratio("1,000 rules, none holds", "10 rules, none holds"),
        ),
    ]
}

// ---- memory ----

/// The argument of the process that [`memory`] starts.
const LOOP: &str = "--memory-of-the-loop";

/// A loop of a million transitions that leaves garbage at each: the process's peak above where it stood. The exact
/// count, by allocation, is in `tests/allocations.rs`.
///
/// In a separate process, so that memory left over from other measurements is not reused, and without transparent huge
/// pages: mimalloc asks for them, and then touching the first byte of a region makes 2 MiB resident.
fn memory() -> Figure {
    let laps = if measure::is_test() { 500 } else { 500_000 };
    let above = std::env::current_exe().ok().and_then(|this| {
        let mut child = Command::new(this);
        let output = child.args([LOOP, &laps.to_string()]).env("MIMALLOC_ALLOW_THP", "0").output().ok()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    });
    let what = format!("a loop of {} transitions, peak memory above start", 2 * laps + 1);
    Figure { what, at_most: 1.0, measured: above.unwrap_or(f64::NAN) / 1_024.0, unit: "MiB" }
}

/// Runs the loop after a short one, which makes the code resident and keeps its own memory, and returns the KiB that it
/// added at its peak; `NaN` if the system does not report it.
fn memory_of_the_loop(laps: usize) {
    let run = |laps| {
        let program = machines::program(&machines::counting(laps));
        let mut driver = Driver::with(program, VirtualClock::at(0), &Handlers::new());
        let before = resident_kib("VmRSS:");
        // Sets the peak back to what is held now.
        let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
        let ended = driver.run(br#"{"n":0,"kept":["from","lap","to","lap"]}"#).unwrap();
        assert!(ended.succeeded() && ended.execution().transitions() == 2 * laps as u64 + 1);
        let peak = resident_kib("VmHWM:");
        let above = peak.zip(before).filter(|_| reset).map(|(peak, before)| peak - before);
        (above.unwrap_or(f64::NAN), driver)
    };
    let (_, _kept) = run(500);
    println!("{}", run(laps).0);
}

/// A line of Linux's status of this process.
fn resident_kib(line: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|it| it.strip_prefix(line))?;
    value.trim().trim_end_matches(" kB").parse().ok()
}
