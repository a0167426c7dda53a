//! Durable engines with the same steps in one run: an order of seven states, three of which are tasks with results of 600
//! bytes. DBOS and this engine record in the same PostgreSQL, which is started for it; Restate and this engine in folders of
//! the same disk (`DURABLE_FOLDER`, or the one for temporary files). DBOS and this engine take turns; Restate comes last.
//!
//! What differs: Restate is a server that is called over HTTP and calls its handlers, here of Node, over HTTP; DBOS and this
//! engine are libraries. This engine records groups of turns in one block, the others each step by itself.

#[path = "../../../benches/durable/bed.rs"]
#[allow(dead_code, reason = "only rates are measured here")]
mod bed;
mod dbos_order;
#[path = "../../../tests/engines/mod.rs"]
#[allow(dead_code, unused_imports, reason = "only PostgreSQL is needed")]
mod engines;
#[path = "../../../tests/required/mod.rs"]
#[allow(dead_code, reason = "nothing is required")]
mod required;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bed::{Bed, ORDER, closed_loop};
use dbos_order::Dbos;
use engines::{Engine as _, Postgres};
use expressway::journal::cluster::Cluster;
use expressway::runtime::Durable;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 3;
const BUDGET: Duration = Duration::from_secs(5);
/// Recorded of an execution: its start, and the results of three tasks.
const RECORDS: f64 = 4.0;

/// Executions a second, round by round.
#[derive(Default)]
struct Rates(Vec<f64>);

impl Rates {
    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

fn ours(bed: &Arc<Bed>, in_flight: u64) -> f64 {
    let done = closed_loop(bed, in_flight as usize, BUDGET);
    done.executions as f64 / done.whole.as_secs_f64()
}

fn row(name: &str, place: &str, in_flight: u64, rates: &Rates, ours: &Rates) {
    let all: Vec<String> = rates.0.iter().map(|rate| format!("{rate:.0}")).collect();
    println!(
        "| {name} | {place} | {in_flight} | {} | {:.0} | {:.1} × |",
        all.join("; "),
        RECORDS * rates.median(),
        ours.median() / rates.median()
    );
}

fn postgres() {
    let Some(server) = Postgres::start() else {
        println!("PostgreSQL is not installed: DBOS is not measured");
        return;
    };
    let place = "PostgreSQL";
    let dbos = Dbos::new(&server.url());
    for in_flight in [64, 1_024] {
        let name = format!("orders-{in_flight}");
        let cluster = || Cluster::new(&server.url(), &name).expect("a URL and a name");
        let bed = Bed::new(|| Some(Durable::cluster(cluster())), ORDER);
        let (mut own, mut theirs) = (Rates::default(), Rates::default());
        for _ in 0..ROUNDS {
            own.0.push(ours(&bed, in_flight));
            theirs.0.push(dbos.closed_loop(in_flight, BUDGET));
        }
        row("expressway", place, in_flight, &own, &own);
        row(&format!("DBOS {}", env!("DBOS_VERSION")), place, in_flight, &theirs, &own);
    }
}

/// Restate with the same steps, by a program of Node: executions a second of each round, or why there are none.
fn restate(folder: &Path) -> Result<(String, Rates), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/order.mjs");
    let mut node = Command::new("node");
    node.arg(script).arg(folder).args([ROUNDS.to_string(), BUDGET.as_secs().to_string()]);
    let output = node.stderr(Stdio::inherit()).output().map_err(|error| format!("node: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told: serde_json::Value = serde_json::from_str(text.trim())
        .map_err(|_| format!("node ended with {}: {text}", output.status))?;
    match (&told["absent"], &told["rates"]) {
        (serde_json::Value::String(why), _) => Err(why.clone()),
        (_, rates) => {
            let rates = rates.as_array().into_iter().flatten().filter_map(serde_json::Value::as_f64);
            Ok((told["version"].as_str().unwrap_or("?").to_owned(), Rates(rates.collect())))
        }
    }
}

fn folders(base: &Path) {
    let (place, in_flight) = ("a folder", 64);
    let bed = Bed::new(|| Some(Durable::folder(base.join("expressway"))), ORDER);
    let mut own = Rates::default();
    for _ in 0..ROUNDS {
        own.0.push(ours(&bed, in_flight));
    }
    drop(bed);
    row("expressway", place, in_flight, &own, &own);
    match restate(&base.join("restate")) {
        Ok((version, rates)) => row(&format!("Restate {version}, over HTTP"), place, in_flight, &rates, &own),
        Err(why) => println!("Restate is not measured: {why}"),
    }
}

fn main() {
    let place = std::env::var_os("DURABLE_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
    let base = place.join(format!("expressway-opponents-{}", std::process::id()));
    std::fs::create_dir_all(base.join("restate")).expect("a folder");
    println!(
        "| engine | recorded in | in flight | executions a second | records a second | this engine is |"
    );
    println!("|---|---|--:|--:|--:|--:|");
    postgres();
    folders(&base);
    std::fs::remove_dir_all(base).expect("the folder");
}
