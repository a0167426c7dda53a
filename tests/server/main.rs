//! The AWS API: its actions in process, TestState, and the server as bytes over TCP.

#[path = "../api/mod.rs"]
mod api;
#[path = "../corpora/suite.rs"]
mod cases;
mod closed;
mod cold;
#[cfg(feature = "console")]
mod console;
#[path = "../corpora/mod.rs"]
mod corpora;
#[cfg(feature = "console")]
mod edits;
#[cfg(all(feature = "postgres", feature = "jetstream"))]
#[path = "../engines/mod.rs"]
mod engines;
mod floods;
#[path = "../kept/mod.rs"]
mod kept;
#[cfg(feature = "console")]
mod live;
#[cfg(all(feature = "postgres", feature = "jetstream"))]
mod moving;
#[cfg(feature = "console")]
mod on_aws;
#[cfg(feature = "console")]
mod real_runs;
#[allow(dead_code, reason = "cases are played through the API here, not by a driver")]
#[path = "../corpora/recorded.rs"]
mod recorded;
#[path = "../required/mod.rs"]
mod required;
mod small;
mod statuses;
#[path = "../test_state/mod.rs"]
mod test_state;
mod untaken;
mod wire;
