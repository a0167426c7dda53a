//! The same work done by others, beside the engine, in one run: every candidate's output is compared with the engine's
//! before anything is timed, and then they take turns of a millisecond, so that what slows the machine down slows all.
//!
//! `opponents --texts` prints the workloads with the engine's outputs, for candidates that are not Rust; their results,
//! one line of JSON each, are read from the given file, and added to the same table. `run` does all of it.

mod ways;

#[path = "../../benches/by_hand/mod.rs"]
#[allow(dead_code, reason = "shared with the benches, which use all of it")]
mod by_hand;
#[path = "../../benches/workloads.rs"]
mod workloads;

use std::time::Instant;

use ways::Way;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A turn takes about so long, and there are so many.
const TURN_US: u128 = 1_000;
const TURNS: usize = 101;

const WORKLOADS: [&str; 4] = ["w1", "w2", "w3", "event"];

fn main() {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("--texts") {
        return print_texts();
    }
    let others = argument.map(|file| std::fs::read_to_string(file).expect("the results of the others"));
    let others: Vec<Line> = others
        .iter()
        .flat_map(|text| text.lines())
        .map(|line| serde_json::from_str(line).expect("a result of the others"))
        .collect();
    println!(
        "Bytes to bytes, one core, median of {TURNS} turns; times of others' own processes are their own."
    );
    for workload in WORKLOADS {
        let mut lines = compare(workload, &find(workload));
        let ours = lines.iter().find_map(|line| line.ns);
        for mut line in others.iter().filter(|line| [workload, "all"].contains(&&*line.workload)).cloned() {
            line.ratio = line.ns.zip(ours).map(|(ns, ours)| ns / ours);
            lines.push(line);
        }
        print_table(workload, &lines);
    }
}

fn find(workload: &str) -> workloads::Workload {
    match workload {
        "event" => workloads::event(),
        name => workloads::workload(name),
    }
}

fn print_texts() {
    let mut texts = serde_json::Map::new();
    for workload in WORKLOADS {
        let found = find(workload);
        let mut expected = None;
        let ours = &mut ways::all(workload, &found)[0];
        check(ours, &found.input, &mut expected).expect("our own output");
        let input = String::from_utf8(found.input).expect("UTF-8");
        let text = serde_json::json!({"definition": found.definition, "input": input, "output": expected});
        texts.insert(workload.to_owned(), text);
    }
    println!("{}", serde_json::Value::Object(texts));
}

/// The result of one candidate.
#[derive(Clone, serde::Deserialize)]
struct Line {
    name: String,
    version: String,
    kind: String,
    workload: String,
    ns: Option<f64>,
    ratio: Option<f64>,
    absent: Option<String>,
}

fn print_table(workload: &str, lines: &[Line]) {
    println!(
        "\n### {workload}\n\n| who | version | what | a start | starts/s | in units of ours |\n|---|---|---|--:|--:|--:|"
    );
    for line in lines {
        let head = format!("| {} | {} | {} |", line.name, line.version, line.kind);
        match (line.ns, line.ratio, &line.absent) {
            (Some(ns), Some(ratio), _) => println!("{head} {ns:.0} ns | {:.0} | {ratio:.2} |", 1e9 / ns),
            (_, _, reason) => {
                println!(
                    "{head} absent: {} | | |",
                    reason.as_deref().unwrap_or("no figure").replace('|', "/")
                );
            }
        }
    }
}

fn compare(workload: &str, found: &workloads::Workload) -> Vec<Line> {
    let (mut expected, mut running, mut lines) = (None, Vec::new(), Vec::new());
    let line = |way: &Way| Line {
        name: way.name.to_owned(),
        version: way.version.to_owned(),
        kind: way.kind.to_owned(),
        workload: workload.to_owned(),
        ns: None,
        ratio: None,
        absent: None,
    };
    for mut way in ways::all(workload, found) {
        match check(&mut way, &found.input, &mut expected) {
            Ok(()) => running.push(way),
            Err(reason) => lines.push(Line { absent: Some(reason), ..line(&way) }),
        }
    }
    let calls: Vec<u32> = running.iter_mut().map(|way| calls(way, &found.input)).collect();
    let mut times: Vec<Vec<f64>> = running.iter().map(|_| Vec::new()).collect();
    for _ in 0..TURNS {
        for ((way, &calls), times) in running.iter_mut().zip(&calls).zip(&mut times) {
            let start = Instant::now();
            for _ in 0..calls {
                let _ = std::hint::black_box(way.call(std::hint::black_box(&found.input)));
            }
            times.push(start.elapsed().as_nanos() as f64 / f64::from(calls));
        }
    }
    let mut timed: Vec<Line> = Vec::new();
    for (way, of_way) in running.iter().zip(&times) {
        let ratios = of_way.iter().zip(&times[0]).map(|(time, ours)| time / ours).collect();
        timed.push(Line { ns: Some(median(of_way.clone())), ratio: Some(median(ratios)), ..line(way) });
    }
    timed.append(&mut lines);
    timed
}

/// Whether a way gives what the first one, ours, gave.
fn check(way: &mut Way, input: &[u8], expected: &mut Option<serde_json::Value>) -> Result<(), String> {
    let output = way.call(input)?;
    let value: serde_json::Value =
        serde_json::from_slice(&output).map_err(|error| format!("its output is no JSON: {error}"))?;
    match expected {
        None => *expected = Some(value),
        Some(expected) if is_same(expected, &value) => {}
        Some(_) => {
            let text = String::from_utf8_lossy(&output);
            return Err(format!("its output is another: {}", text.chars().take(120).collect::<String>()));
        }
    }
    Ok(())
}

/// Whether two values are the same, 20 and 20.0 included: some have one kind of numbers only.
fn is_same(one: &serde_json::Value, other: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, one)| other.get(name).is_some_and(|other| is_same(one, other));
            one.len() == other.len() && one.iter().all(same)
        }
        _ => one == other,
    }
}

fn calls(way: &mut Way, input: &[u8]) -> u32 {
    let mut calls = 1;
    loop {
        let start = Instant::now();
        for _ in 0..calls {
            let _ = std::hint::black_box(way.call(input));
        }
        if start.elapsed().as_micros() >= TURN_US || calls >= 1 << 20 {
            return calls;
        }
        calls *= 2;
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
