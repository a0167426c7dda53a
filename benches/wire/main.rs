//! What the wire costs: `StartSyncExecution` of W2 through the server, beside a bare hyper server that answers bodies of
//! the same sizes with bodies of the same sizes. Both servers run on one core and the client on another, both live at the
//! same time and take turns, and a ratio is the median over the turns. Then what the command takes that does nothing.
//!
//! `cargo bench --bench wire --features full` measures all; `cargo bench --bench wire --features full -- http1 process`
//! only those parts. The machine must have nothing else to do.
//!
//! Linux only: cores are pinned and the processor time of a server's thread is read from `/proc`.

#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod echo;
#[cfg(target_os = "linux")]
mod loads;
#[cfg(target_os = "linux")]
#[path = "../pin.rs"]
mod pin;
#[cfg(target_os = "linux")]
mod place;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod secure;
#[path = "../workloads.rs"]
mod workloads;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much is done: little with `--test`, by which `cargo test` asks benches to run just once.
#[derive(Clone, Copy)]
struct Effort {
    is_test: bool,
    rounds: usize,
    turn: std::time::Duration,
    idle: usize,
}

/// A figure that was asked for.
struct Figure {
    what: String,
    target: &'static str,
    measured: String,
    met: bool,
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("this bench runs on Linux only");
}

#[cfg(target_os = "linux")]
fn main() {
    use std::time::Duration;

    type Part = fn(Effort) -> Vec<Figure>;
    const PARTS: [(&str, Part); 5] = [
        ("http1", loads::http1),
        ("pipelined", loads::pipelined),
        ("http2", loads::http2),
        ("alpn", loads::alpn),
        ("process", process::process),
    ];
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let is_test = has("--test") || !has("--bench");
    let effort = if is_test {
        Effort { is_test, rounds: 1, turn: Duration::from_millis(20), idle: 100 }
    } else {
        Effort { is_test, rounds: 15, turn: Duration::from_millis(400), idle: 10_000 }
    };
    let asked = PARTS.iter().any(|(name, _)| has(name));
    let parts = PARTS.iter().filter(|(name, _)| !asked || has(name));
    let figures: Vec<Figure> = parts.flat_map(|(_, part)| part(effort)).collect();
    if is_test {
        return println!("\n{} figures, which only `cargo bench` measures", figures.len());
    }
    println!("\n| figure | target | measured | met |\n|---|--:|--:|---|");
    for Figure { what, target, measured, met } in figures {
        println!("| {what} | {target} | {measured} | {} |", if met { "yes" } else { "**no**" });
    }
}
