//! The sharded runtime and its observability.

#[path = "../corpora/suite.rs"]
mod cases;
mod clock;
#[path = "../corpora/mod.rs"]
mod corpora;
mod durable;
mod engine;
mod golden;
#[path = "../kept/mod.rs"]
mod kept;
mod library;
mod map_runs;
#[cfg(feature = "map-data")]
mod map_turns;
#[cfg(feature = "map-data")]
#[path = "../meter/mod.rs"]
mod meter;
mod names;
mod observe;
mod observe_corpus;
#[allow(dead_code, reason = "histories are compared here, and not outcomes")]
#[path = "../corpora/recorded.rs"]
mod recorded;
mod relaxed;
#[path = "../required/mod.rs"]
mod required;
mod spill;
mod start;
mod suite;
#[cfg(feature = "otel")]
mod traces;
mod turns;
