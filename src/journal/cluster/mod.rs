//! The journal in an engine that several machines can reach, for a cluster of processes, one of which owns the journal
//! at a time. The engine is PostgreSQL (`postgres`) or NATS JetStream (`jetstream`); the following holds for both.
//!
//! 1. **An owner is a number** (the epoch). A node that takes the cluster gets a higher one. The engine refuses the
//!    appends of a replaced owner, even if that owner has not noticed. The lease only determines when another node may
//!    try, by the clock of the engine.
//! 2. **One block at a time**, each after the one before. So a block exists once, and an engine that has lost blocks is
//!    detected.
//! 3. **An append whose answer is lost is in doubt.** The block is read before anything else is decided: if it exists,
//!    it is durable; if not, the same block is appended again with the same number, so that the first attempt cannot be
//!    added later.
//! 4. **An engine that does not answer, or refuses** (it restarts, its disk is full, a standby is being promoted), is
//!    retried without end. Meanwhile no new work is accepted, appended records wait, and no results are reported.
//! 5. **Room is freed**: blocks before the mark are removed, a few at a time, after a durable block has the mark.
//!
//! Every wait for the engine is bounded.

#[cfg(feature = "service")]
mod copying;
#[cfg_attr(not(any(feature = "postgres", feature = "jetstream")), allow(dead_code))]
mod engine;
mod items;
#[cfg(feature = "jetstream")]
mod jetstream;
mod lease;
pub mod model;
#[cfg_attr(
    not(any(feature = "postgres", feature = "jetstream")),
    allow(
        unused_variables,
        irrefutable_let_patterns,
        unreachable_patterns,
        reason = "without an engine, there are models only"
    )
)]
mod node;
mod partition_table;
mod partition_writer;
mod partitions;
#[cfg(feature = "postgres")]
mod postgres;
mod scan;
#[cfg_attr(not(feature = "service"), allow(dead_code))]
mod share;
pub mod simulated;
#[cfg_attr(not(feature = "service"), allow(dead_code))]
mod spread;
mod writer;

pub use engine::Node;
pub use items::Items;
pub use lease::{ClusterLease, Standby};
pub use node::{Cluster, Partition, Status};
pub(crate) use partitions::PartitionJournal;
#[cfg(feature = "service")]
pub(crate) use share::{Host, Share, Taken};
#[cfg(feature = "service")]
pub(crate) use spread::{Owned, Owners};
pub use writer::{ClusterJournal, open};
