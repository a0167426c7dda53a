//! The share of a cluster's partitions that is a node's: which to take, which to release, and until when what it has is
//! certainly its own.

use std::time::{Duration, Instant};

use super::super::JournalError;
use super::node::Cluster;
use super::spread::Owners;
use crate::limits::JOURNAL_PARTITIONS;

const PARTITIONS: usize = JOURNAL_PARTITIONS as usize;

/// What uses the partitions of a node.
pub trait Host {
    /// Shows the nodes, and who owns what.
    fn show(&mut self, owners: &Owners);
    /// Another node has taken a partition of this one: its journal ends.
    fn lose(&mut self, why: String);
    /// Follows changes of the service's records, up to a version.
    ///
    /// # Errors
    /// When the database does not answer.
    fn follow(&mut self, version: u64) -> Result<(), String>;
    /// Takes a partition, unless a living node has it.
    ///
    /// # Errors
    /// When the database does not answer.
    fn take(&mut self, partition: u16) -> Result<Taken, String>;
    /// Releases a partition.
    ///
    /// # Errors
    /// When its records are perhaps not durable.
    fn release(&mut self, partition: u16) -> Result<(), String>;
    /// Whether this node takes no more partitions.
    fn leaves(&self) -> bool;
}

/// The result of an attempt to take a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is this node's, under this epoch.
    Owned(u64),
    /// Another node has it.
    Not,
    /// It cannot be read here: another node may try, and this one again after a while.
    Later,
}

/// How long a node waits before it tries again to take a partition that it could not read.
const AGAIN: Duration = Duration::from_secs(5);

/// The partitions of a node.
pub struct Share {
    cluster: Cluster,
    /// Their epochs; 0 for those of others.
    mine: [u64; PARTITIONS],
    /// When one that could not be taken is tried again.
    again: [Option<Instant>; PARTITIONS],
    /// Since when the database has answered without a pause.
    looking_since: Option<Instant>,
}

impl Share {
    /// That of a node which has none yet.
    pub fn of(cluster: &Cluster) -> Share {
        Share {
            cluster: cluster.clone(),
            mine: [0; PARTITIONS],
            again: [None; PARTITIONS],
            looking_since: None,
        }
    }

    /// How many partitions it has.
    pub fn count(&self) -> usize {
        self.mine.iter().filter(|epoch| **epoch > 0).count()
    }

    /// Looks once, and takes and releases what has to be.
    ///
    /// # Errors
    /// When the database does not answer: the next look begins anew.
    pub fn look(&mut self, host: &mut dyn Host) -> Result<(), String> {
        let looked = self.try_look(host);
        if looked.is_err() {
            self.looking_since = None;
        }
        looked
    }

    fn try_look(&mut self, host: &mut dyn Host) -> Result<(), String> {
        let owners = self.cluster.owners().map_err(|error| error.to_string())?;
        let since = *self.looking_since.get_or_insert(self.cluster.now());
        host.show(&owners);
        for (partition, owned) in (0u16..).zip(&owners.owners) {
            let mine = self.mine[usize::from(partition)];
            if mine > 0 && owned.epoch != mine {
                let by = if owned.node.is_empty() { "a node that has ended since" } else { &*owned.node };
                host.lose(format!(
                    "this node is not the owner of partition {partition} any more (epoch {mine}): {by} has taken it over \
                     as epoch {}",
                    owned.epoch
                ));
                return Ok(());
            }
        }
        host.follow(owners.version)?;
        let me = self.cluster.node().to_owned();
        // After the database was away, owners have a whole lease in which to renew theirs.
        let may_replace = self.cluster.now() - since >= self.cluster.lease;
        for (partition, owned) in (0u16..).zip(&owners.owners) {
            let at = usize::from(partition);
            let is_mine = self.mine[at] > 0;
            let wanted = owners.wanted(partition);
            // Without any other node, it keeps what it has until it ends.
            if is_mine && wanted.is_some_and(|wanted| wanted != me) {
                host.release(partition)?;
                self.mine[at] = 0;
            }
            // A claim whose answer was lost, or which came late, was done; meanwhile another node is to have it.
            if !is_mine && owned.node == me && wanted.is_some_and(|wanted| wanted != me) {
                let released = self.cluster.release_partition(partition, owned.epoch);
                released.map_err(|error| error.to_string())?;
            }
            let is_free = owned.node.is_empty() || owned.node == me || (!owned.lives && may_replace);
            let is_due = self.again[at].is_none_or(|again| again <= self.cluster.now());
            if !is_mine && wanted == Some(&me) && is_free && is_due && !host.leaves() {
                self.again[at] = None;
                match host.take(partition)? {
                    Taken::Owned(epoch) => self.mine[at] = epoch,
                    Taken::Not => {}
                    Taken::Later => self.again[at] = Some(self.cluster.now() + AGAIN),
                }
            }
        }
        Ok(())
    }
}

impl Cluster {
    /// The end of this node's lease, counted from before the database is asked: no other node can take its partitions
    /// earlier. `held` has the epoch of each partition that this node owns, and 0 for the others. `None` if it owns none, or
    /// if another node has already taken one that `owns` still reports.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn held_until(
        &self,
        held: &[u64; PARTITIONS],
        owns: impl Fn(u16) -> bool,
    ) -> Result<Option<Instant>, JournalError> {
        let asked = self.now();
        let owners = self.owners()?.owners;
        let mut left = None;
        for ((partition, &epoch), owned) in
            (0u16..).zip(held).zip(&owners).filter(|((_, epoch), _)| **epoch > 0)
        {
            if owned.epoch == epoch && owned.node == self.node() {
                left = Some(left.map_or(owned.left, |left: Duration| left.min(owned.left)));
            } else if owns(partition) {
                return Ok(None);
            }
        }
        Ok(left.map(|left| asked + left))
    }
}
