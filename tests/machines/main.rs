//! Definitions, the programs they compile to, and executions of them in line and under virtual time.

mod bounds;
#[path = "../corpora/suite.rs"]
mod cases;
#[path = "../corpora/mod.rs"]
mod corpora;
mod corpus;
#[path = "../definitions/mod.rs"]
mod definitions;
mod dump;
mod fuel;
#[path = "../meter/mod.rs"]
mod meter;
mod mock;
mod random_machines;
mod real_definitions;
#[path = "../corpora/recorded.rs"]
mod recorded;
mod regexes;
#[path = "../required/mod.rs"]
mod required;
mod sizes;
mod snapshots;
mod suite;
#[path = "../trial/mod.rs"]
mod trial;

/// That of the command, so that what memory costs is what it costs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
