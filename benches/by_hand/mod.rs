//! The workloads written by hand, three times each (the first way twice), as an expert would write them: the bytes of
//! the input to the bytes of the output.
//!
//! * `tree`: over `serde_json::Value`, moving parts out of the input instead of cloning them, which keeps the order of keys
//!   here; `sorted` is the same without that;
//! * `owned`: structs with `String`s, unused fields left out;
//! * `borrowed`: structs that borrow from the input, `RawValue` for what is only passed on.

pub(crate) mod event;
pub(crate) mod sorted;
pub(crate) mod w1;
pub(crate) mod w2;
pub(crate) mod w3;

use serde::Serialize;

/// One of the ways.
pub(crate) type Job = fn(&[u8]) -> serde_json::Result<Vec<u8>>;

/// All ways of a workload: tree, sorted, owned, borrowed.
pub(crate) fn jobs(workload: &str) -> [(&'static str, Job); 4] {
    let [tree, sorted, owned, borrowed]: [Job; 4] = match workload {
        "w1" => [w1::tree, sorted::w1, w1::owned, w1::borrowed],
        "w2" => [w2::tree, sorted::w2, w2::owned, w2::borrowed],
        "w3" => [w3::tree, sorted::w3, w3::owned, w3::borrowed],
        "event" => [event::tree, sorted::event, event::owned, event::borrowed],
        _ => panic!("there is no workload {workload}"),
    };
    [
        ("serde_json::Value, order kept", tree),
        ("serde_json::Value", sorted),
        ("typed owned", owned),
        ("typed borrowed", borrowed),
    ]
}

/// Into a vector that need not grow.
fn write(output: &(impl Serialize + ?Sized), capacity: usize) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(capacity);
    serde_json::to_writer(&mut out, output)?;
    Ok(out)
}

fn missing() -> serde_json::Error {
    serde::de::Error::custom("a field is missing or of the wrong type")
}
