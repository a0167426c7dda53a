//! The hand-written jobs that the engine is measured against, beside each other. `cargo bench --bench workloads_by_hand`.

mod by_hand;
#[path = "measure.rs"]
mod measure;
#[path = "workloads.rs"]
#[allow(dead_code)]
mod workloads;

use measure::{Effort, candidate, compare};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let effort = Effort::from_args();
    for name in ["w1", "w2", "w3", "event"] {
        let workload = if name == "event" { workloads::event() } else { workloads::workload(name) };
        let input = workload.input.trim_ascii();
        let jobs = by_hand::jobs(name);
        let outputs = jobs.map(|(_, job)| job(input).unwrap());
        let value = |output: &[u8]| serde_json::from_slice::<serde_json::Value>(output).unwrap();
        assert!(outputs.iter().all(|output| value(output) == value(&outputs[0])), "{name}");
        let candidates = jobs.map(|(name, job)| candidate(name, move || job(input).unwrap()));
        compare(
            &format!("{name}, {} bytes to {}", input.len(), outputs[0].len()),
            "serde_json::Value",
            effort,
            candidates.into(),
        );
    }
}
