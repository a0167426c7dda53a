//! The sizes of types with many instances: a change must be intended.

use std::mem::size_of;

use expressway::{engine, fault, json, program, runtime};

/// A type's name, its bytes, and how many it may have.
macro_rules! sizes {
    ($($kind:ty: $most:expr),* $(,)?) => { [$((stringify!($kind), size_of::<$kind>(), $most)),*] };
}

#[test]
fn core_types_are_as_small_as_they_were() {
    let sizes = sizes! {
        // One for every value of an execution.
        json::Value: 16,
        // One for every state and task of a program.
        program::State: 64,
        program::Task: 120,
        // One for every turn of an execution.
        engine::Event: 64,
        engine::Effect: 64,
        engine::Outcome: 64,
        engine::TaskCall: 64,
        engine::Token: 8,
        fault::Fault: 48,
        // One for every execution under way.
        engine::Execution: 640,
        runtime::Outcome: 128,
        runtime::Handle: 64,
    };
    for (name, bytes, most) in sizes {
        println!("{name:<24} {bytes:>6} bytes, {most} at most");
    }
    let grown: Vec<_> = sizes.iter().filter(|(_, bytes, most)| bytes > most).collect();
    assert!(grown.is_empty(), "larger than they were: {grown:?}");
}
