//! Drivers: they carry out the engine's effects and feed back events.
//!
//! [`inline`] runs executions one after another on the caller's own thread, with the real clock or virtual time. An
//! [`Engine`] runs them on threads of its own: *shards*, each of which owns its executions, polls its handlers' futures
//! in place and fires its own timers. Nothing is shared between shards but an inbox in front of each, programs, and
//! counters.
//!
//! What this is not: it knows nothing of ASL except how to have it compiled, and nothing of AWS's API.

#[cfg(feature = "runtime")]
mod admission;
#[cfg(feature = "parquet")]
mod background;
#[cfg(feature = "runtime")]
mod blocked;
#[cfg(feature = "runtime")]
mod builder;
#[cfg(feature = "runtime")]
mod callbacks;
#[cfg(feature = "runtime")]
mod caller_thread;
mod clock;
#[cfg(feature = "runtime")]
mod completion;
#[cfg(feature = "runtime")]
mod context;
pub(crate) mod drive;
#[cfg(feature = "runtime")]
mod durable;
#[cfg(feature = "runtime")]
mod engine;
#[cfg(feature = "runtime")]
mod errand;
#[cfg(feature = "runtime")]
mod fiber;
#[cfg(feature = "runtime")]
mod handle;
#[cfg(feature = "runtime")]
mod inbox;
pub mod inline;
#[cfg(feature = "runtime")]
mod input;
#[cfg(feature = "runtime")]
mod job;
#[cfg(all(test, expressway_loom))]
mod loom_park;
#[cfg(feature = "runtime")]
mod machine;
#[cfg(feature = "runtime")]
mod map_run;
#[cfg(feature = "runtime")]
mod metrics;
#[cfg(feature = "runtime")]
mod observation;
#[cfg(feature = "runtime")]
mod outcome;
#[cfg(feature = "runtime")]
mod pending;
#[cfg(feature = "runtime")]
mod rates;
#[cfg(feature = "runtime")]
mod redrive;
#[cfg(feature = "runtime")]
mod room;
#[cfg(feature = "runtime")]
mod shard;
#[cfg(feature = "runtime")]
mod shutdown;
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
mod turns;
#[cfg(feature = "runtime")]
mod wakeup;
#[cfg(feature = "runtime")]
mod weight;
#[cfg(feature = "runtime")]
pub mod wheel;

#[cfg(feature = "runtime")]
pub use crate::compile::DefinitionError;
pub use clock::{Clock, ManualTime, RealClock, Time, VirtualClock};
#[cfg(feature = "service")]
pub(crate) use durable::{ColdStore, Leaving};
#[cfg(all(feature = "service", feature = "clustered"))]
pub(crate) use durable::{Contents, Sum, Transfer, partition_of_id};
#[cfg(feature = "service")]
pub(crate) use map_run::Batcher;
#[cfg(all(feature = "service", feature = "clustered"))]
pub(crate) use map_run::has_open_map_run;
#[cfg(feature = "runtime")]
pub use {
    admission::{Budgets, Limit, Throttled},
    builder::{BuildError, Builder, Profile},
    callbacks::{AnswerError, Answered},
    completion::Batch,
    durable::{DurabilityMode, Durable, DurableError, RecoveredExecution, ResumeError},
    engine::{Engine, ShardLoad},
    handle::Handle,
    input::{Input, Json},
    machine::{Alias, Machine, MachineSpec, Published, RouteError, Target},
    map_run::{
        ChildFuture, MapRun, MapRunCounts, MapRunRedrives, MapRunSettings, MapRunState, MapRuns, StartedChild,
    },
    metrics::Observed,
    outcome::{Counts, Outcome, Status},
    rates::MachineCounts,
    redrive::{Redrive, Redriven},
    shard::Shard,
    simulation::Simulation,
    start::{StartError, StartOptions},
};
