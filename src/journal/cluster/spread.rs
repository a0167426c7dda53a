//! A cluster whose partitions are spread over its nodes: which nodes there are, who owns which partition, and who should.

use std::time::Duration;

use super::super::{JournalError, hash};
use super::engine::{Changes, Looked};
use super::lease::lease_ms;
use super::node::Cluster;

/// Who owns the partitions, in order.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    /// The nodes that live and take partitions, with their addresses.
    pub members: Vec<(String, String)>,
    /// The owner of each partition, and its epoch.
    pub owners: Vec<Owned>,
    /// The number of the last change of the service's records.
    pub version: u64,
}

/// The owner of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// Its number.
    pub epoch: u64,
    /// Its name; empty when the partition was released.
    pub node: String,
    /// Its address.
    pub address: String,
    /// Whether its lease is valid.
    pub lives: bool,
    /// For how long it is, by the database's clock.
    pub left: Duration,
}

impl Owners {
    /// The node that should own a partition: the one with the highest hash of both (rendezvous hashing), so when a node
    /// comes or goes, only its own partitions move.
    pub fn wanted(&self, partition: u16) -> Option<&str> {
        let weight = |node: &str| hash(node.bytes().chain(partition.to_le_bytes()));
        self.members.iter().map(|(node, _)| &**node).max_by_key(|node| weight(node))
    }
}

impl Cluster {
    /// Renews this node's lease.
    ///
    /// # Errors
    /// When the database does not answer; as with all following methods.
    pub(crate) fn renew(&self) -> Result<(), JournalError> {
        let (node, address, lease_ms) = (self.node().to_owned(), self.published.clone(), lease_ms(self));
        Ok(self.ask(move |session| session.tell(&node, &address, lease_ms))?)
    }

    /// The nodes and the owners of partitions.
    ///
    /// # Errors
    /// See [`renew`](Cluster::renew).
    pub(crate) fn owners(&self) -> Result<Owners, JournalError> {
        let Looked { owners, members, version } = self.ask(|session| session.look())?;
        let owned = |owner: super::engine::Owner| Owned {
            epoch: owner.epoch,
            lives: owner.left_ms > 0,
            left: Duration::from_millis(u64::try_from(owner.left_ms).unwrap_or(0)),
            node: owner.node.unwrap_or_default(),
            address: owner.address,
        };
        Ok(Owners { members, owners: owners.into_iter().map(owned).collect(), version })
    }

    /// Claims a partition, unless a living node owns it. Returns the epoch.
    ///
    /// # Errors
    /// See [`renew`](Cluster::renew).
    pub(crate) fn claim_partition(&self, partition: u16) -> Result<Option<u64>, JournalError> {
        let node = self.node().to_owned();
        Ok(self.at(partition).ask(move |session| session.claim(&node))?)
    }

    /// Releases a partition.
    ///
    /// # Errors
    /// See [`renew`](Cluster::renew).
    pub(crate) fn release_partition(&self, partition: u16, epoch: u64) -> Result<(), JournalError> {
        let node = self.node().to_owned();
        Ok(self.at(partition).ask(move |session| session.release(&node, epoch))?)
    }

    /// This node takes no more partitions.
    ///
    /// # Errors
    /// See [`renew`](Cluster::renew).
    pub(crate) fn leave(&self) -> Result<(), JournalError> {
        let node = self.node().to_owned();
        Ok(self.ask(move |session| session.leave(&node))?)
    }

    /// What changed of the service's records after a version.
    ///
    /// # Errors
    /// See [`renew`](Cluster::renew).
    pub(crate) fn changes(&self, after: u64) -> Result<Changes, JournalError> {
        Ok(self.ask(move |session| session.changes(after))?)
    }

    /// A third of the lease.
    pub(crate) fn renews_every(&self) -> Duration {
        self.lease / 3
    }

    /// Sets the epoch under which this node changes the service's records; 0 when it may not.
    pub(super) fn owns_records(&self, epoch: u64) {
        self.shared.epoch.store(epoch, std::sync::atomic::Ordering::Release);
    }
}
