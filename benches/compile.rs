//! Definition text to program: what creating a state machine costs, once. `cargo bench --bench compile`.

mod machines;
mod measure;
mod workloads;

use criterion::Throughput;
use expressway::{asl, compile};
use measure::{Comparison, Figure, candidate};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BOTH: &str = "read and compile";
const TYPICAL: &str = "compile a typical definition";

fn main() {
    let texts = [
        ("compile W1".to_owned(), workloads::workload("w1").definition),
        ("compile W2".to_owned(), workloads::workload("w2").definition),
        ("compile W3".to_owned(), workloads::workload("w3").definition),
        (TYPICAL.to_owned(), include_str!("order.asl.json").to_owned()),
        ("compile the example".to_owned(), include_str!("../examples/orders.asl.json").to_owned()),
        ("compile 6,000 states".to_owned(), machines::long(6_000)),
    ];
    let comparisons = texts.iter().map(|(title, text)| compiling(title, text)).collect();
    let measured = measure::run(comparisons);
    println!("\nmicroseconds per KB of definition");
    for (measured, (_, text)) in measured.iter().zip(&texts) {
        let (microseconds, kilobytes) = (measured.nanoseconds(BOTH) / 1e3, text.len() as f64 / 1e3);
        println!("  {:<40} {:>8.1}  ({} bytes)", measured.title, microseconds / kilobytes, text.len());
    }
    let typical = measured.iter().find(|it| it.title == TYPICAL).map_or(f64::NAN, |it| it.nanoseconds(BOTH));
    let what = format!("compile a typical definition of {} bytes", texts[3].1.len());
    measure::print_figures(&[Figure { what, at_most: 200.0, measured: typical / 1e3, unit: "µs" }]);
}

fn compiling<'a>(title: &str, text: &'a str) -> Comparison<'a> {
    let (definition, problems) = asl::read(text.as_bytes(), &asl::Options::default());
    let definition = definition.unwrap_or_else(|| panic!("{title}: {problems:?}"));
    let candidates = vec![
        candidate(BOTH, move || machines::compiled(text)),
        candidate("read", move || asl::read(text.as_bytes(), &asl::Options::default())),
        candidate("compile", move || compile::compile(&definition).unwrap()),
        candidate("serde_json::Value", move || serde_json::from_str::<serde_json::Value>(text).unwrap()),
    ];
    let throughput = Throughput::Bytes(text.len() as u64);
    Comparison { title: title.to_owned(), throughput, baseline: BOTH, candidates }
}
