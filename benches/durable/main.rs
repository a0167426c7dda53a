//! Durable executions, everything but HTTP: how many transitions a second, how long a turn takes to be durable, what is
//! written, and what a parked execution takes; beside the same driver in memory, and a bare sync of 64 KiB in the same
//! folder (`DURABLE_FOLDER`, or one in cargo's target directory). Figures of a disk in memory mean nothing.
//!
//! `cargo bench --bench durable --features runtime` measures all; behind `--` some of: `flow`, `map`, `waits`, `starts`;
//! with `--features postgres,jetstream` also `cluster`, which starts PostgreSQL and three servers of NATS.

mod bed;
#[cfg(all(feature = "postgres", feature = "jetstream", target_os = "linux"))]
mod cluster;
#[cfg(all(feature = "postgres", feature = "jetstream", target_os = "linux"))]
#[path = "../../tests/engines/mod.rs"]
#[allow(unused_imports, reason = "no connection is cut here")]
mod engines;
#[cfg(all(feature = "postgres", feature = "jetstream", target_os = "linux"))]
#[path = "../../tests/required/mod.rs"]
mod required;

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bed::{Bed, ORDER, TRANSITIONS, closed_loop, tokio};
use expressway::journal::{FolderLock, Ownership};
use expressway::observe::LiveHistory;
use expressway::runtime::Durable;
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Each item is a task with a result of 1 KB; what the state passes on is small.
const MAP: &str = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 40,
    "ItemProcessor": {"StartAt": "T", "States": {"T": {"Type": "Task",
        "Resource": "arn:aws:lambda:us-east-1:123456789012:function:large", "End": true}}},
    "ResultSelector": {"first.$": "$[0].n"}, "End": true}}}"#;

const WAIT: &str = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 31000000, "End": true}}}"#;

const PASS: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;

/// A write and a sync of 64 KiB, over and over in a file that has its bytes: milliseconds at the median and at p99.
fn bare_sync(folder: &Path, budget: Duration) -> (f64, f64) {
    let mut file = File::create(folder.join("file")).expect("a file");
    let block = vec![1; 64 << 10];
    (0..256).for_each(|_| file.write_all(&block).expect("room"));
    file.sync_all().expect("a disk");
    let mut times = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < budget || times.len() < 8 {
        let start = Instant::now();
        let place = times.len() as u64 % 256 * block.len() as u64;
        file.seek(SeekFrom::Start(place)).and_then(|_| file.write_all(&block)).expect("room");
        file.sync_data().expect("a disk");
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[(times.len() - 1) * 99 / 100])
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

fn flow(base: &Path, is_test: bool) {
    let budget = Duration::from_millis(if is_test { 20 } else { 4_000 });
    let (s50, s99) = bare_sync(&base.join("bare"), budget);
    println!("| a bare 64 KiB, written and synced: p50 {s50:.3} ms, p99 {s99:.3} ms |");
    println!(
        "| in flight | durable | transitions/s | answer to the next task p50, p99 ms | of that, record to task p50, p99 ms | record to durable p50, p99 ms | bytes a transition | CPU us a transition | of memory: rate, CPU |"
    );
    println!("|--:|---|--:|--:|--:|--:|--:|--:|--:|");
    let rounds = if is_test { 1 } else { 3 };
    for in_flight in [1, 64, 1_024] {
        let folder = base.join(format!("flow-{in_flight}"));
        let durable = Bed::new(|| Some(Durable::folder(&folder)), ORDER);
        let memory = Bed::new(|| None, ORDER);
        for _ in 0..rounds {
            let before = durable.engine.recorded_bytes();
            let (kept, lost) =
                (closed_loop(&durable, in_flight, budget), closed_loop(&memory, in_flight, budget));
            let bytes = (durable.engine.recorded_bytes() - before) / (kept.executions * TRANSITIONS);
            let ratio = kept.transitions() / lost.transitions();
            let (p50, p99) = (kept.ms(0.5), kept.ms(0.99));
            let (held50, held99) = (kept.held_ms(0.5), kept.held_ms(0.99));
            let (synced50, synced99) = (kept.synced_ms(0.5), kept.synced_ms(0.99));
            let (cpu, cpu_ratio) = (kept.cpu_us(), kept.cpu_us() / lost.cpu_us());
            println!(
                "| {in_flight} | yes | {:.0} | {p50:.2}, {p99:.2} | {held50:.2}, {held99:.2} | {synced50:.2}, {synced99:.2} | {bytes} | {cpu:.2} | {ratio:.2}, {cpu_ratio:.2} |",
                kept.transitions()
            );
            let (p50, p99) = (lost.ms(0.5), lost.ms(0.99));
            println!(
                "| {in_flight} | no | {:.0} | {p50:.2}, {p99:.2} | | | | {:.2} | |",
                lost.transitions(),
                lost.cpu_us()
            );
        }
        drop((durable, memory));
        wait_closed(&folder);
    }
}

/// Waits until the threads of an engine that was dropped have left its folder.
fn wait_closed(folder: &Path) {
    while FolderLock::of(folder.join("journal")).claim().is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn map(base: &Path, is_test: bool) {
    let items: Vec<u64> = (0..if is_test { 10 } else { 1_000 }).collect();
    let bed = Bed::new(|| Some(Durable::folder(base.join("map"))), MAP);
    let (before, begin) = (bed.engine.recorded_bytes(), Instant::now());
    let outcome = bed.start(&json!({"items": items})).wait();
    // A Map's result has 256 KiB at most: the last turn fails, all others are what they are.
    assert!(is_test || format!("{outcome:?}").contains("States.DataLimitExceeded"), "{outcome:?}");
    let bytes = bed.engine.recorded_bytes() - before;
    println!(
        "a Map of {} x 1 KB: {:.2} MB recorded, {:.0} ms",
        items.len(),
        bytes as f64 / 1e6,
        begin.elapsed().as_secs_f64() * 1e3
    );
}

fn waits(base: &Path, is_test: bool) {
    let count = if is_test { 1_000 } else { 1_000_000 };
    let folder = base.join("waits");
    {
        let bed = Bed::new(|| Some(Durable::folder(&folder)), WAIT);
        let (before, begin) = (resident_bytes(), Instant::now());
        let mut last = None;
        for n in 0..count {
            let text = "a hundred bytes or so are what an order needs to be known by";
            last = Some(bed.start(&json!({"order": n, "text": text})));
        }
        tokio(last.expect("there are some").recorded());
        while bed.engine.shard_loads().iter().map(|load| load.queued).sum::<usize>() > 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        let took = begin.elapsed().as_secs_f64();
        let each = resident_bytes().saturating_sub(before) / count;
        let (bytes, rate) = (bed.engine.recorded_bytes() / count, count as f64 / took);
        println!(
            "{count} waits of a year: {each} bytes of RSS and {bytes} of records each, {rate:.0} starts/s"
        );
    }
    // In a separate process, to measure its memory.
    let bench = std::env::current_exe().expect("this program has a file");
    let reopened = std::process::Command::new(bench).arg("--bench").env("DURABLE_REOPEN", &folder).status();
    assert!(reopened.expect("it is run").success());
}

/// Opens a folder, and resumes all its executions.
fn reopen(folder: &Path) {
    let before = resident_bytes();
    let begin = Instant::now();
    let bed = Bed::new(|| Some(Durable::folder(folder)), WAIT);
    let opened = begin.elapsed().as_secs_f64();
    let recovered = bed.engine.recovered();
    let count = recovered.len() as u64;
    for execution in recovered {
        let history = LiveHistory::new(1 << 20);
        for recorded in execution.history.values() {
            history.recover(recorded).expect("events");
        }
        bed.engine.resume(&bed.machine, execution, Some(history.durable_watcher())).expect("it goes on");
    }
    bed.engine.wait_resumed();
    let (whole, each) = (begin.elapsed().as_secs_f64(), resident_bytes().saturating_sub(before) / count);
    println!("opened again: {opened:.2} s, all {count} go on: {whole:.2} s, {each} bytes of RSS each");
}

/// Starts that are acknowledged when they are durable.
fn starts(base: &Path, is_test: bool) {
    let budget = Duration::from_millis(if is_test { 20 } else { 4_000 });
    for in_flight in [64, 1_024] {
        let folder = base.join(format!("starts-{in_flight}"));
        let bed = Bed::new(|| Some(Durable::folder(&folder)), PASS);
        let (begin, acknowledged) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        tokio(async {
            let mut loops = tokio::task::JoinSet::new();
            for n in 0..in_flight {
                let (bed, acknowledged) = (Arc::clone(&bed), Arc::clone(&acknowledged));
                loops.spawn(async move {
                    while begin.elapsed() < budget {
                        let handle = bed.start(&bed.order(n));
                        handle.recorded().await;
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                        bed.engine.forget_recorded(handle.recorded_id().expect("it is durable"));
                    }
                });
            }
            loops.join_all().await;
        });
        let rate = acknowledged.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64();
        println!("starts acknowledged when durable, {in_flight} in flight: {rate:.0}/s");
        drop(bed);
        wait_closed(&folder);
    }
}

/// Measures in a folder; once and small where it is only to be seen to run.
type Part = fn(&Path, bool);

fn main() {
    if let Some(folder) = std::env::var_os("DURABLE_REOPEN") {
        return reopen(Path::new(&folder));
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_test = !arguments.iter().any(|it| it == "--bench") || arguments.iter().any(|it| it == "--test");
    let place = std::env::var_os("DURABLE_FOLDER")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let base = place.join(format!("expressway-bench-durable-{}", std::process::id()));
    std::fs::create_dir_all(base.join("bare")).expect("a folder");
    let parts: &[(&str, Part)] = &[
        ("flow", flow),
        ("starts", starts),
        ("map", map),
        ("waits", waits),
        #[cfg(all(feature = "postgres", feature = "jetstream", target_os = "linux"))]
        ("cluster", cluster::cluster),
    ];
    let named = |name: &str| arguments.iter().any(|it| it == name);
    let is_all = !parts.iter().any(|(name, _)| named(name));
    for &(name, part) in parts {
        if is_all || named(name) {
            part(&base, is_test);
        }
    }
    std::fs::remove_dir_all(base).expect("the folder");
}
