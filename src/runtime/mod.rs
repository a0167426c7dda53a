//! Drivers: they carry out what the engine wants done and feed back what happened.
//!
//! [`inline`] runs executions one after another on the caller's own thread, with the real clock or virtual time. An
//! [`Engine`] runs them on threads of its own: *shards*, each of which owns its executions, polls its handlers' futures
//! in place and fires its own timers. Nothing is shared between shards but an inbox in front of each, programs, and
//! counters.
//!
//! What this is not: it knows nothing of ASL but how to have it compiled, and nothing of AWS's API.

#[cfg(feature = "runtime")]
mod admission;
#[cfg(feature = "runtime")]
mod answer;
#[cfg(feature = "runtime")]
mod arms;
#[cfg(feature = "runtime")]
mod bell;
#[cfg(feature = "runtime")]
mod builder;
mod clock;
#[cfg(feature = "runtime")]
mod engine;
#[cfg(feature = "runtime")]
mod fiber;
#[cfg(feature = "runtime")]
mod gate;
#[cfg(feature = "runtime")]
mod handle;
#[cfg(feature = "runtime")]
mod in_place;
#[cfg(feature = "runtime")]
mod inbox;
pub mod inline;
#[cfg(feature = "runtime")]
mod input;
#[cfg(feature = "runtime")]
mod job;
#[cfg(feature = "runtime")]
mod machine;
#[cfg(feature = "runtime")]
mod observed;
#[cfg(feature = "runtime")]
mod outcome;
#[cfg(all(test, expressway_loom))]
mod permit;
#[cfg(feature = "runtime")]
mod seat;
#[cfg(feature = "runtime")]
mod shard;
#[cfg(feature = "runtime")]
mod showing;
#[cfg(feature = "runtime")]
mod simulation;
#[cfg(feature = "runtime")]
mod slab;
#[cfg(feature = "runtime")]
mod start;
#[cfg(feature = "runtime")]
mod tasks;
#[cfg(feature = "runtime")]
mod thread;
#[cfg(feature = "runtime")]
mod ticket;
#[cfg(feature = "runtime")]
mod turns;
#[cfg(feature = "runtime")]
mod weight;
#[cfg(feature = "runtime")]
pub mod wheel;

pub use clock::{Clock, ManualTime, RealClock, Time, VirtualClock};
#[cfg(feature = "runtime")]
pub use {
    admission::{Budgets, Limit, Throttled},
    answer::AnswerError,
    builder::{BuildError, Builder, Profile},
    engine::{DefinitionError, Engine, ShardLoad},
    handle::Handle,
    input::{Input, Json},
    machine::{Alias, Machine, MachineSpec, Published, RouteError, Target},
    observed::Observed,
    outcome::{Counts, Outcome, Status},
    shard::Shard,
    simulation::Simulation,
    start::{StartError, StartOptions},
    ticket::Batch,
};
