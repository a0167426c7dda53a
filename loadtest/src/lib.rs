//! The load test: starts executions at a rate, and reports how many came through and how long they took.
//!
//! ```text
//!  workload file ─► plan::Plan ─► session::run ─► session::Run ─► report::Report ─► table, JSON, HTML, …
//!  or arguments                    │
//!                                  ├─ worker::Worker: sends what is due; one a thread
//!                                  │    arrivals::Pace says when, lane::Lane carries it to the target and back
//!                                  └─ gathers a record::Interval from each, four times a second
//! ```
//!
//! It is an open model first: starts come at their times whether the target keeps up or not, and a latency is counted
//! from when its start was *due*. So a target that pauses pays for all that would have come meanwhile.

pub mod arrivals;
pub mod bill;
pub mod cli;
pub mod compare;
pub mod echo;
pub mod inputs;
pub mod lane;
pub mod placement;
pub mod plan;
pub mod record;
pub mod report;
pub mod screen;
pub mod search;
pub mod self_check;
pub mod session;
pub mod units;
pub mod usage;
pub mod worker;
pub mod workloads;
