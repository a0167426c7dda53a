//! The `expressway` command through its binary, and third-party clients of its server.

#[cfg(feature = "cli-serve")]
mod auth;
mod cli;
#[cfg(feature = "cli-serve")]
mod clients;
#[cfg(all(feature = "cli-cluster", target_os = "linux"))]
mod cluster;
#[cfg(feature = "cli-serve")]
mod cold;
#[cfg(feature = "cli-serve")]
mod conformance;
#[cfg(feature = "cli-serve")]
mod deployed;
#[cfg(feature = "cli-serve")]
mod durable;
#[cfg(feature = "cli-pipe")]
mod encodings;
#[cfg(all(feature = "cli-cluster", target_os = "linux"))]
#[path = "../engines/mod.rs"]
mod engines;
#[cfg(all(feature = "cli-serve", feature = "map-data", unix))]
mod examples;
#[cfg(all(feature = "cli-serve", unix))]
mod functions;
mod jobs;
#[cfg(all(feature = "cli-journal", feature = "cli-serve"))]
mod journal;
#[cfg(feature = "cli-serve")]
mod kills;
#[cfg(all(feature = "cli-cluster", target_os = "linux"))]
mod linearizable;
#[cfg(all(feature = "map-data", unix))]
mod map;
#[cfg(all(feature = "cli-serve", feature = "map-data", unix))]
mod map_runs;
#[cfg(all(
    feature = "cli-pipe",
    feature = "cli-png",
    feature = "cli-studio",
    feature = "cli-terraform",
    feature = "cli-top"
))]
mod mistakes;
#[cfg(feature = "cli-serve")]
mod neighbours;
mod pictures;
mod projects;
#[path = "../required/mod.rs"]
mod required;
mod run;
#[cfg(all(
    target_os = "linux",
    feature = "cli-pipe",
    feature = "cli-png",
    feature = "cli-soak",
    feature = "cli-studio",
    feature = "cli-top"
))]
mod screens;
#[cfg(feature = "cli-serve")]
mod serve;
#[cfg(feature = "cli-serve")]
#[path = "../integrations/server.rs"]
mod server;
#[path = "../serving/mod.rs"]
mod serving;
#[cfg(all(feature = "cli-serve", feature = "map-data"))]
mod shapes;
#[cfg(all(feature = "cli-cluster", target_os = "linux"))]
mod spread;
#[cfg(all(feature = "cli-cluster", feature = "console", target_os = "linux"))]
mod spread_console;
#[cfg(feature = "cli-serve")]
mod state;
#[cfg(feature = "cli-serve")]
mod status_events;
#[cfg(target_os = "linux")]
mod terminal;
