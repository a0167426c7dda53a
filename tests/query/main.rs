//! JSON and the query languages: JSONPath, intrinsic functions, JSONata, and the texts they are read from.

mod attacks;
#[path = "../corpora/mod.rs"]
mod corpora;
mod fuel;
mod fuzz;
mod intrinsics;
mod json;
mod json_compact;
mod json_serde;
mod jsonata;
mod jsonata_aws;
mod jsonata_robust;
mod jsonpath;
#[path = "../meter/mod.rs"]
mod meter;
mod regexes;
#[path = "../required/mod.rs"]
mod required;
#[cfg(feature = "yaml")]
mod yaml;

/// That of the command, so that what memory costs is what it costs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
