//! A node of a cluster whose database is a [model](super::model), for simulations: everything happens on one thread, in an
//! order that a [`World`] decides. The code is the same as with a real database, but its threads are functions that do one
//! step.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Journal, JournalError, Options, Watcher};
use super::model::{Way, World};
use super::node::{Address, Cluster};
use super::partition_writer::{Appender, Remover};
use super::partitions::PartitionJournal;

pub use super::partition_writer::Step;
pub use super::share::{Host, Share, Taken};
pub use super::spread::{Owned, Owners};

/// The journal of a node of a modelled cluster, without threads.
pub struct SimulatedNode {
    cluster: Cluster,
    journal: PartitionJournal,
}

/// What the journal's thread does, one step at a time.
pub struct Writer(Appender);

/// What the thread does that removes blocks which are not needed any more.
pub struct Room(Remover);

impl SimulatedNode {
    /// A node of this name, which lives as long as it renews its lease.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn begin(
        name: &str,
        lease: Duration,
        world: Arc<dyn World>,
        options: Options,
        watchers: Vec<Watcher>,
    ) -> Result<(SimulatedNode, Writer, Room), JournalError> {
        let cluster =
            Cluster::with(Address::Model(Way(world)), "model", name.to_owned()).lease(lease).published(name);
        cluster.renew()?;
        let (journal, appender, remover) = PartitionJournal::stepped(&cluster, options, watchers)?;
        Ok((SimulatedNode { cluster, journal }, Writer(appender), Room(remover)))
    }

    /// The node in its cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Its journal.
    pub fn journal(&self) -> &dyn Journal {
        &self.journal
    }

    /// Renews its lease.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn renew(&self) -> Result<(), JournalError> {
        self.cluster.renew()
    }

    /// Lets other nodes take its partitions.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn leave(&self) -> Result<(), JournalError> {
        self.cluster.leave()
    }

    /// Releases what it has, in order. No more is appended.
    pub fn release_all(&self) {
        self.journal.release_all();
    }
}

impl Writer {
    /// Writes what waits, if anything does.
    pub fn step(&mut self) -> Step {
        self.0.step()
    }
}

impl Room {
    /// Removes some blocks that are not needed any more, if there are any.
    pub fn step(&mut self) -> Step {
        self.0.step()
    }
}
