//! The owners of a cluster's partitions, where its work is spread over its nodes.
//!
//! 1. **One message has the owners of all partitions.** It is replaced only if it is still the one that was read, so each
//!    claim and release is made once, and after what was read.
//! 2. **A claim is made after the lease of the former owner was seen to be over.** The owner may have renewed it meanwhile.
//!    So a node whose lease was over when it renewed it replaces the message of the owners by one with the same content,
//!    before it relies on the lease: an earlier claim is in it then, and one that is on its way is refused.
//! 3. **Leases are judged by the servers' clocks**: a session knows the time at which its own last message was stored, and
//!    between which of its own moments that was. The lease of another node is over when it is by the earlier of these, its
//!    own by the later.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::super::engine::{Looked, Node, Owner, Trouble};
use super::client::{Behind, Stored, Which};
use super::{Jetstream, foreign};
use crate::limits::{JOURNAL_PARTITIONS, NATS_ATTEMPTS_MAX};

/// The owners, as read from their message, and its number; 0 if there is no message.
pub(super) struct Owners {
    seq: u64,
    /// By partition, their epochs and names.
    of: Vec<(u64, Option<String>)>,
}

impl Owners {
    fn of(stored: Option<&Stored>) -> Result<Owners, Trouble> {
        let count = usize::from(JOURNAL_PARTITIONS);
        let Some(stored) = stored else { return Ok(Owners { seq: 0, of: vec![(0, None); count] }) };
        let of: Vec<_> = serde_json::from_slice(&stored.bytes).map_err(|_| foreign())?;
        if of.len() == count { Ok(Owners { seq: stored.seq, of }) } else { Err(foreign()) }
    }
}

impl Jetstream {
    fn owners(&mut self) -> Result<Owners, Trouble> {
        let stored = self.read("owners")?;
        Owners::of(stored.as_ref())
    }

    /// Replaces the owners by what `change` makes of them, again when another node has replaced them meanwhile; `None` if
    /// it changes nothing.
    fn change_owners<T>(
        &mut self,
        mut change: impl FnMut(&mut Jetstream, &mut Owners) -> Result<Option<T>, Trouble>,
    ) -> Result<Option<T>, Trouble> {
        let subject = self.names.at("owners");
        for _ in 0..NATS_ATTEMPTS_MAX {
            let mut owners = self.owners()?;
            let Some(changed) = change(self, &mut owners)? else { return Ok(None) };
            let (behind, bytes) = (Behind::LastOfSubject(owners.seq), json!(owners.of).to_string());
            if self.client.publish(&subject, behind, bytes.as_bytes())?.is_some() {
                return Ok(Some(changed));
            }
        }
        Err(Trouble::said("other nodes change the owners of partitions at the same time, again and again"))
    }

    pub(super) fn claim_partition(&mut self, node: &str) -> Result<Option<u64>, Trouble> {
        let at = usize::from(self.partition);
        self.change_owners(|session, owners| {
            let (epoch, owner) = &owners.of[at];
            if let Some(other) = owner.as_deref().filter(|it| *it != node)
                && session.lives(other)?
            {
                return Ok(None);
            }
            let epoch = epoch + 1;
            owners.of[at] = (epoch, Some(node.to_owned()));
            Ok(Some(epoch))
        })
    }

    pub(super) fn release_partition(&mut self, node: &str, epoch: u64) -> Result<(), Trouble> {
        let at = usize::from(self.partition);
        let released = self.change_owners(|_, owners| {
            let (its_epoch, owner) = &mut owners.of[at];
            let is_owner = *its_epoch == epoch && owner.as_deref() == Some(node);
            Ok(is_owner.then(|| *owner = None))
        });
        released.map(drop)
    }

    pub(super) fn release_partitions(&mut self, node: &str) -> Result<(), Trouble> {
        self.change_owners(|_, owners| {
            let mut its = owners.of.iter_mut().filter(|(_, owner)| owner.as_deref() == Some(node));
            let first = its.next().map(|(_, owner)| *owner = None);
            its.for_each(|(_, owner)| *owner = None);
            Ok(first)
        })?;
        let (state, subject) = (self.names.state.clone(), self.names.at(&format!("leaving.{node}")));
        self.client.purge(&state, Some(&subject), u64::MAX >> 1)
    }

    /// Refuses claims by nodes that have seen an earlier state of the owners, or of the leases.
    pub(super) fn refuse_claims(&mut self) -> Result<(), Trouble> {
        self.change_owners(|_, owners| Ok((owners.seq > 0).then_some(()))).map(drop)
    }

    /// The epoch and the name of a partition's owner.
    pub(super) fn owner_of(&mut self, partition: u16) -> Result<(u64, Option<String>), Trouble> {
        Ok(self.owners()?.of.swap_remove(usize::from(partition)))
    }

    /// The owners and the nodes at about one moment.
    pub(super) fn look_at_all(&mut self) -> Result<Looked, Trouble> {
        let state = self.names.state.clone();
        let subjects = self.client.subjects(&state, &self.names.at(">"))?;
        let (is_node, is_leaving) = (self.names.at("node."), self.names.at("leaving."));
        let leaving: BTreeSet<&str> =
            subjects.iter().filter_map(|subject| subject.strip_prefix(&*is_leaving)).collect();
        let of_nodes = subjects.iter().filter(|subject| subject.starts_with(&*is_node));
        let of_owners = self.names.at("owners");
        let which: Vec<Which<'_>> =
            [&of_owners].into_iter().chain(of_nodes).map(|subject| Which::LastOf(subject)).collect();
        let mut stored = self.client.get_all(&state, &which)?.into_iter();
        let owners = Owners::of(stored.next().flatten().as_ref())?;
        let nodes: BTreeMap<String, (Node, i64)> = stored
            .flatten()
            .map(|stored| {
                let (node, left_ms) = self.node(&stored);
                (node.node.clone(), (node, left_ms))
            })
            .collect();
        let owner = |(epoch, owner): (u64, Option<String>)| {
            let found = owner.as_ref().and_then(|owner| nodes.get(owner));
            let (address, left_ms) =
                found.map_or((String::new(), -1), |(node, left_ms)| (node.address.clone(), *left_ms));
            Owner { epoch, node: owner, address, left_ms }
        };
        let owners = owners.of.into_iter().map(owner).collect();
        let takes = nodes.values().filter(|(node, _)| node.lives && !leaving.contains(&*node.node));
        let members = takes.map(|(node, _)| (node.node.clone(), node.address.clone())).collect();
        Ok(Looked { owners, members, version: self.items.version(&mut self.client)? })
    }
}
