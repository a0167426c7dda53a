//! A model of the database of a cluster, in memory, for simulations of its nodes.
//!
//! The operations do what the statements in PostgreSQL do, or what messages in JetStream do. Whether and when one is done,
//! whether its answer arrives, and what happens meanwhile, is up to a [`World`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::block::Header;
use super::engine::{
    Changes, Engine, FORMAT_SPREAD, Item, Known, Looked, Node, Owner, Sealed, Session, Trouble,
};

/// An operation on the database.
pub type Operation = Box<dyn FnMut(&mut Tables) + Send>;

/// What decides about a node's operations, and lets its time pass. It is called by the code of the node, which waits
/// meanwhile.
pub trait World: Send + Sync {
    /// Does an operation: now or later, once, twice or never. Returns whether its answer arrives; that of an operation which
    /// was not done yet never does.
    fn operate(&self, operation: Operation) -> bool;
    /// Whether it is a database of messages: one operation changes one of them, and does so if it is to follow the one that
    /// is there. Otherwise it is one of transactions.
    fn has_messages(&self) -> bool {
        false
    }
    /// Lets some time pass.
    fn pause(&self, time: Duration);
    /// The node's monotonic clock.
    fn now(&self) -> Instant;
}

/// The tables of the database.
#[derive(Debug, Default)]
pub struct Tables {
    /// The database's clock, in milliseconds.
    pub now_ms: i64,
    /// The owner of each partition: its epoch, and its name.
    owners: Vec<(u64, Option<String>)>,
    /// The address of each node, and until when its lease is valid.
    nodes: BTreeMap<String, (String, i64)>,
    leaving: BTreeSet<String>,
    /// Of the message that has the owners, how often it was replaced.
    replaced: u64,
    /// Nodes that cannot rely on their leases yet: a claim may be on its way that has seen them as over.
    unsure: BTreeSet<String>,
    blocks: Vec<BTreeMap<u64, Vec<u8>>>,
}

impl Tables {
    /// Those of a cluster with so many partitions.
    pub fn new(partitions: u16) -> Tables {
        let count = usize::from(partitions);
        Tables { owners: vec![(0, None); count], blocks: vec![BTreeMap::new(); count], ..Tables::default() }
    }

    /// The blocks of a partition, with their numbers.
    pub fn blocks(&self, partition: u16) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
        self.blocks[usize::from(partition)].iter().map(|(lsn, bytes)| (*lsn, &**bytes))
    }

    /// The owner's epoch and name.
    pub fn owner(&self, partition: u16) -> (u64, Option<&str>) {
        let (epoch, node) = &self.owners[usize::from(partition)];
        (*epoch, node.as_deref())
    }

    fn lives(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|(_, until_ms)| *until_ms > self.now_ms)
    }

    fn owner_row(&self, partition: u16) -> Owner {
        let (epoch, node) = self.owners[usize::from(partition)].clone();
        let row = node.as_ref().and_then(|node| self.nodes.get(node));
        let (address, mut left_ms) =
            row.map_or((String::new(), -1), |(address, until_ms)| (address.clone(), until_ms - self.now_ms));
        if node.as_ref().is_some_and(|node| self.unsure.contains(node)) {
            left_ms = left_ms.min(1);
        }
        Owner { epoch, node, address, left_ms }
    }

    fn claim(&mut self, partition: u16, node: &str) -> Option<u64> {
        let owner = self.owners[usize::from(partition)].1.as_deref();
        if owner.is_some_and(|owner| owner != node && self.lives(owner)) {
            return None;
        }
        let row = &mut self.owners[usize::from(partition)];
        *row = (row.0 + 1, Some(node.to_owned()));
        self.replaced += 1;
        Some(row.0)
    }

    /// How often the owners were replaced, if this node may claim a partition.
    fn claimable(&self, partition: u16, node: &str) -> Option<u64> {
        let owner = self.owners[usize::from(partition)].1.as_deref();
        let is_free = owner.is_none_or(|owner| owner == node || !self.lives(owner));
        is_free.then_some(self.replaced)
    }

    /// Claims a partition, if the owners are still those that were read.
    fn claim_after(&mut self, replaced: u64, partition: u16, node: &str) -> Option<u64> {
        if self.replaced != replaced {
            return None;
        }
        self.replaced += 1;
        let row = &mut self.owners[usize::from(partition)];
        *row = (row.0 + 1, Some(node.to_owned()));
        Some(row.0)
    }

    /// Renews a node's lease. Returns whether it may rely on it.
    fn renew(&mut self, node: &str, address: &str, lease_ms: i64) -> bool {
        if !self.lives(node) {
            self.unsure.insert(node.to_owned());
        }
        self.nodes.insert(node.to_owned(), (address.to_owned(), self.now_ms + lease_ms));
        !self.unsure.contains(node)
    }

    /// Appends a block after the previous one, without a check of the owner.
    fn append_after(&mut self, block: &Sealed) -> bool {
        let blocks = &mut self.blocks[usize::from(block.partition)];
        let follows = match blocks.last_key_value() {
            None => block.lsn == 1,
            Some((lsn, last)) => match (Header::decode(last), Header::decode(&block.bytes)) {
                (Ok(last), Ok(its)) => lsn + 1 == block.lsn && last.crc == its.previous,
                _ => false,
            },
        };
        if follows {
            blocks.insert(block.lsn, block.bytes.clone());
        }
        follows
    }

    fn append_all(&mut self, blocks: &[Sealed]) -> Result<bool, Trouble> {
        let is_owner = |block: &Sealed| self.owners[usize::from(block.partition)].0 == block.epoch;
        let follows = |block: &Sealed| {
            block.lsn == 1 || self.blocks[usize::from(block.partition)].contains_key(&(block.lsn - 1))
        };
        if !blocks.iter().all(|block| is_owner(block) && follows(block)) {
            return Ok(false);
        }
        if blocks.iter().any(|block| self.blocks[usize::from(block.partition)].contains_key(&block.lsn)) {
            return Err(Trouble::said("duplicate key value"));
        }
        for block in blocks {
            self.blocks[usize::from(block.partition)].insert(block.lsn, block.bytes.clone());
        }
        Ok(true)
    }

    fn look(&self) -> Looked {
        let owners = (0..self.owners.len() as u16).map(|partition| self.owner_row(partition)).collect();
        let takes = |node: &&String| self.lives(node) && !self.leaving.contains(*node);
        let members =
            self.nodes.keys().filter(takes).map(|node| (node.clone(), self.nodes[node].0.clone())).collect();
        Looked { owners, members, version: 0 }
    }
}

/// The cluster's row, which is always there.
fn known() -> Known {
    Known { format: FORMAT_SPREAD, journal: 7, secret: vec![7; 32] }
}

/// Blocks of one page, and blocks that are removed at once; small, so that simulations come across the next.
const PAGE_BLOCKS: usize = 3;

/// A session of a node with the database.
struct Modelled {
    world: Arc<dyn World>,
    partition: u16,
}

impl Modelled {
    fn ask<T: Send + 'static>(
        &self,
        mut operation: impl FnMut(&mut Tables) -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        let answer = Arc::new(Mutex::new(None));
        let given = Arc::clone(&answer);
        let arrives = self.world.operate(Box::new(move |tables| {
            *given.lock().unwrap_or_else(PoisonError::into_inner) = Some(operation(tables));
        }));
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.filter(|_| arrives).ok_or_else(|| Trouble::said("the database does not answer"))
    }
}

impl Engine for Modelled {
    fn find(&mut self) -> Result<Option<Known>, Trouble> {
        self.ask(|_| Some(known()))
    }

    fn find_or_make(&mut self, _: Known) -> Result<Known, Trouble> {
        self.ask(|_| known())
    }

    fn unfit(&mut self) -> Result<Option<String>, Trouble> {
        Ok(None)
    }

    fn block_bytes_max(&mut self) -> Result<usize, Trouble> {
        Ok(usize::MAX)
    }

    fn tell(&mut self, node: &str, address: &str, lease_ms: i64) -> Result<(), Trouble> {
        let (node, address) = (node.to_owned(), address.to_owned());
        if !self.world.has_messages() {
            return self.ask(move |tables| {
                let until_ms = tables.now_ms + lease_ms;
                tables.nodes.insert(node.clone(), (address.clone(), until_ms));
            });
        }
        let name = node.clone();
        if self.ask(move |tables| tables.renew(&node, &address, lease_ms))? {
            return Ok(());
        }
        self.ask(move |tables| {
            tables.replaced += 1;
            tables.unsure.remove(&name);
        })
    }

    fn forget_nodes(&mut self, node: &str) -> Result<(), Trouble> {
        let node = node.to_owned();
        self.ask(move |tables| {
            let hour_ago_ms = tables.now_ms - 3_600_000;
            tables.nodes.retain(|name, (_, until_ms)| *name != node && *until_ms > hour_ago_ms);
        })
    }

    fn nodes(&mut self) -> Result<Vec<Node>, Trouble> {
        unreachable!("only `cluster status` and copies ask for nodes")
    }

    fn claim(&mut self, node: &str) -> Result<Option<u64>, Trouble> {
        let (node, partition) = (node.to_owned(), self.partition);
        if !self.world.has_messages() {
            return self.ask(move |tables| tables.claim(partition, &node));
        }
        let name = node.clone();
        let Some(replaced) = self.ask(move |tables| tables.claimable(partition, &node))? else {
            return Ok(None);
        };
        self.ask(move |tables| tables.claim_after(replaced, partition, &name))
    }

    fn release(&mut self, node: &str, epoch: u64) -> Result<(), Trouble> {
        let (owner, at) = ((epoch, Some(node.to_owned())), usize::from(self.partition));
        self.ask(move |tables| {
            if tables.owners[at] == owner {
                tables.owners[at].1 = None;
                tables.replaced += 1;
            }
        })
    }

    fn owner(&mut self) -> Result<Owner, Trouble> {
        let partition = self.partition;
        self.ask(move |tables| tables.owner_row(partition))
    }

    fn append(&mut self, _: u64, _: u64, _: &[u8]) -> Result<bool, Trouble> {
        unreachable!("the cluster is spread")
    }

    fn block(&mut self, lsn: u64) -> Result<Option<Vec<u8>>, Trouble> {
        let at = usize::from(self.partition);
        self.ask(move |tables| tables.blocks[at].get(&lsn).cloned())
    }

    fn last(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        let at = usize::from(self.partition);
        self.ask(move |tables| tables.blocks[at].values().next_back().cloned())
    }

    fn page(&mut self, from: u64) -> Result<Vec<(u64, Vec<u8>)>, Trouble> {
        let at = usize::from(self.partition);
        self.ask(move |tables| {
            let page = tables.blocks[at].range(from..).take(PAGE_BLOCKS);
            page.map(|(lsn, bytes)| (*lsn, bytes.clone())).collect()
        })
    }

    fn remove(&mut self, before: u64) -> Result<bool, Trouble> {
        let at = usize::from(self.partition);
        self.ask(move |tables| {
            let gone: Vec<u64> =
                tables.blocks[at].range(..before).take(PAGE_BLOCKS).map(|it| *it.0).collect();
            gone.iter().for_each(|lsn| drop(tables.blocks[at].remove(lsn)));
            gone.len() == PAGE_BLOCKS
        })
    }

    fn kept_bytes(&mut self) -> Result<u64, Trouble> {
        let at = usize::from(self.partition);
        self.ask(move |tables| tables.blocks[at].values().map(|bytes| bytes.len() as u64).sum())
    }

    fn bytes(&mut self) -> Result<u64, Trouble> {
        unreachable!("only `cluster status` asks for the size")
    }

    fn at(&mut self, partition: u16) {
        self.partition = partition;
    }

    fn look(&mut self) -> Result<Looked, Trouble> {
        self.ask(|tables| tables.look())
    }

    fn append_all(&mut self, blocks: &[Sealed]) -> Result<bool, Trouble> {
        if !self.world.has_messages() {
            let blocks = blocks.to_vec();
            return self.ask(move |tables| tables.append_all(&blocks))?;
        }
        let (mut are_appended, mut failed) = (true, None);
        for block in blocks {
            let block = block.clone();
            match self.ask(move |tables| tables.append_after(&block)) {
                Ok(is_appended) => are_appended &= is_appended,
                Err(trouble) => failed = Some(trouble),
            }
        }
        failed.map_or(Ok(are_appended), Err)
    }

    fn leave(&mut self, node: &str) -> Result<(), Trouble> {
        let node = node.to_owned();
        self.ask(move |tables| {
            let nodes = &tables.nodes;
            tables.leaving.retain(|other| nodes.contains_key(other));
            tables.leaving.insert(node.clone());
        })
    }

    fn release_all(&mut self, node: &str) -> Result<(), Trouble> {
        let node = node.to_owned();
        self.ask(move |tables| {
            for (_, owner) in &mut tables.owners {
                if owner.as_ref() == Some(&node) {
                    *owner = None;
                }
            }
            tables.replaced += 1;
            tables.leaving.remove(&node);
        })
    }

    fn changes(&mut self, after: u64) -> Result<Changes, Trouble> {
        Ok((after, Some(Vec::new())))
    }

    #[cfg(feature = "service")]
    fn begin_copy(&mut self) -> Result<bool, Trouble> {
        unreachable!("{NO_RECORDS}")
    }

    #[cfg(feature = "service")]
    fn end_copy(&mut self) -> Result<(), Trouble> {
        unreachable!("{NO_RECORDS}")
    }

    fn begin(&mut self, _: u64) -> Result<bool, Trouble> {
        Ok(true)
    }

    fn commit(&mut self) -> Result<(), Trouble> {
        unreachable!("{NO_RECORDS}")
    }

    fn roll_back(&mut self) {}

    fn put_item(&mut self, _: Item<'_>, _: &[u8]) -> Result<(), Trouble> {
        unreachable!("{NO_RECORDS}")
    }

    fn remove_item(&mut self, _: Item<'_>) -> Result<(), Trouble> {
        unreachable!("{NO_RECORDS}")
    }

    fn item(&mut self, _: Item<'_>) -> Result<Option<Vec<u8>>, Trouble> {
        unreachable!("{NO_RECORDS}")
    }

    fn numbers(&mut self, _: i32, _: &str) -> Result<Vec<u64>, Trouble> {
        unreachable!("{NO_RECORDS}")
    }

    fn arns(&mut self, _: i32) -> Result<Vec<String>, Trouble> {
        unreachable!("{NO_RECORDS}")
    }

    fn items(&mut self, _: i32, _: &str) -> Result<Vec<(String, Vec<u8>)>, Trouble> {
        unreachable!("{NO_RECORDS}")
    }
}

const NO_RECORDS: &str = "a simulated node has no service, and no records of one";

/// How a node reaches the model.
#[derive(Clone)]
pub(super) struct Way(pub(super) Arc<dyn World>);

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Way")
    }
}

impl Way {
    pub(super) fn session(&self) -> Session {
        Box::new(Modelled { world: Arc::clone(&self.0), partition: 0 })
    }

    pub(super) fn pause(&self, time: Duration) {
        self.0.pause(time);
    }

    pub(super) fn now(&self) -> Instant {
        self.0.now()
    }
}
