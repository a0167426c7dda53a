//! A node of a cluster whose partitions are spread: a thread looks which nodes there are, takes the partitions that this
//! node should own, releases those that others should, and follows changes of what is registered.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::spread::{Node as Peer, Spread, View};
use super::store::StateError;
use super::{Inner, Service};
use crate::journal::cluster::{Cluster, Owned, Owners};
use crate::limits::{CLUSTER_LOOK_MS, JOURNAL_PARTITIONS};

/// The node's threads. When it is dropped, they end.
pub(super) struct Node {
    cluster: Cluster,
    state: Arc<State>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held while changes of what is registered are followed; the last one.
    followed: Mutex<u64>,
}

#[derive(Default)]
struct State {
    is_over: AtomicBool,
    /// Set when the node hands its partitions over.
    leaves: AtomicBool,
    /// How many partitions it owns, and whether others could take them.
    owned: AtomicU64,
    has_others: AtomicBool,
}

impl Node {
    pub(super) fn new(cluster: &Cluster) -> Node {
        let (state, threads, followed) = Default::default();
        Node { cluster: cluster.clone(), state, threads, followed }
    }

    /// Starts the threads. Returns when this node has looked once, and has taken what it may take at once.
    pub(super) fn begin(&self, inner: &Arc<Inner>) -> Result<(), StateError> {
        let failed = |error: &dyn std::fmt::Display| StateError::Database(error.to_string());
        self.cluster.renew().map_err(|error| failed(&error))?;
        let (cluster, state) = (self.cluster.clone(), Arc::clone(&self.state));
        let Some(spread) = inner.spread.clone() else { return Ok(()) };
        let held = Arc::clone(&spread);
        let renew = move || {
            while !state.sleep(cluster.renews_every()) {
                // A failure is shown by appends; a lease that is over by another node.
                if cluster.renew().is_ok() {
                    hold(&cluster, &held);
                }
            }
        };
        let mut keeper = Keeper {
            cluster: self.cluster.clone(),
            state: Arc::clone(&self.state),
            inner: Arc::downgrade(inner),
            spread,
            mine: [0; JOURNAL_PARTITIONS as usize],
            again: [None; JOURNAL_PARTITIONS as usize],
            looking_since: None,
        };
        keeper.look().map_err(|error| failed(&error))?;
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|error| failed(&error))
        };
        let threads = vec![
            spawn("cluster-lease", Box::new(renew))?,
            spawn("cluster-partitions", Box::new(move || keeper.run()))?,
        ];
        self.threads().extend(threads);
        Ok(())
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets other nodes take the partitions of this one.
    fn hand_over(&self, within: Duration) {
        let State { leaves, owned, has_others, .. } = &*self.state;
        if !has_others.load(Ordering::Acquire) {
            return;
        }
        leaves.store(true, Ordering::Release);
        let (until, mut has_left) = (Instant::now() + within, false);
        while owned.load(Ordering::Acquire) > 0
            && has_others.load(Ordering::Acquire)
            && Instant::now() < until
        {
            has_left = has_left || self.cluster.leave().is_ok();
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the threads, so that nothing more is taken.
    pub(super) fn end(&self) {
        self.state.is_over.store(true, Ordering::Release);
        for thread in std::mem::take(&mut *self.threads()) {
            if thread.thread().id() != thread::current().id() {
                // A panic was reported already.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

impl State {
    /// Sleeps for some time. Whether the node is over.
    fn sleep(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.is_over.load(Ordering::Acquire) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::sleep(left.min(Duration::from_millis(CLUSTER_LOOK_MS)));
        }
        true
    }
}

/// Finds out for how long this node holds what it has.
fn hold(cluster: &Cluster, spread: &Spread) {
    if let Some(until) = held_until(cluster, spread) {
        spread.hold_until(until);
    }
}

/// The end of this node's lease, counted from before the database was asked; `None`, if it does not answer, this node has
/// no partition, or another one has taken one of them.
fn held_until(cluster: &Cluster, spread: &Spread) -> Option<Instant> {
    let (asked, held) = (Instant::now(), spread.held());
    let owners = cluster.owners().ok()?.owners;
    let mut left = None;
    for ((partition, epoch), owned) in (0u16..).zip(held).zip(&owners).filter(|((_, epoch), _)| *epoch > 0) {
        if owned.epoch == epoch && owned.node == cluster.node() {
            left = Some(left.map_or(owned.left, |left: Duration| left.min(owned.left)));
        } else if spread.owns(partition) {
            return None;
        }
    }
    left.map(|left| asked + left)
}

/// The state of the thread that takes and releases partitions.
struct Keeper {
    cluster: Cluster,
    state: Arc<State>,
    inner: Weak<Inner>,
    spread: Arc<Spread>,
    /// The epochs of partitions that this node owns.
    mine: [u64; JOURNAL_PARTITIONS as usize],
    /// When one that could not be taken is tried again.
    again: [Option<Instant>; JOURNAL_PARTITIONS as usize],
    /// Since when the database has answered without a pause.
    looking_since: Option<Instant>,
}

/// How long a node waits before it tries again to take a partition that it could not read.
const AGAIN: Duration = Duration::from_secs(5);

impl Keeper {
    fn run(mut self) {
        while !self.state.sleep(Duration::from_millis(CLUSTER_LOOK_MS)) {
            if let Err(why) = self.look() {
                self.looking_since = None;
                tracing::debug!(reason = %why, "the nodes of the cluster cannot be seen at present");
            }
        }
    }

    /// Looks once, and takes and releases what has to be.
    fn look(&mut self) -> Result<(), String> {
        let Some(inner) = self.inner.upgrade() else { return Ok(()) };
        let owners = self.cluster.owners().map_err(|error| error.to_string())?;
        let since = *self.looking_since.get_or_insert_with(Instant::now);
        self.show(&owners);
        for (partition, owned) in (0u16..).zip(&owners.owners) {
            let mine = self.mine[usize::from(partition)];
            if mine > 0 && owned.epoch != mine {
                let by = if owned.node.is_empty() { "a node that has ended since" } else { &*owned.node };
                inner.engine.lose_partitions(format!(
                    "this node is not the owner of partition {partition} any more (epoch {mine}): {by} has taken it over \
                     as epoch {}",
                    owned.epoch
                ));
                return Ok(());
            }
        }
        inner.follow(owners.version).map_err(|error| error.to_string())?;
        let me = self.cluster.node().to_owned();
        let may_replace = self.cluster.has_looked_for_a_lease(since);
        for (partition, owned) in (0u16..).zip(&owners.owners) {
            let is_mine = self.mine[usize::from(partition)] > 0;
            let wanted = owners.wanted(partition);
            // Without any other node, it keeps what it has until it ends.
            if is_mine && wanted.is_some_and(|wanted| wanted != me) {
                self.release(&inner, partition)?;
            }
            let is_free = owned.node.is_empty() || owned.node == me || (!owned.lives && may_replace);
            let is_due = self.again[usize::from(partition)].is_none_or(|again| again <= Instant::now());
            let leaves = self.state.leaves.load(Ordering::Acquire);
            if !is_mine && wanted == Some(&me) && is_free && is_due && !leaves {
                self.again[usize::from(partition)] =
                    self.take(&inner, partition)?.then_some(Instant::now() + AGAIN);
            }
        }
        Ok(())
    }

    fn show(&self, owners: &Owners) {
        let me = self.cluster.node();
        let peer = |name: &str, address: &str| Peer {
            name: name.into(),
            // With the scheme where it is encrypted.
            address: address.strip_prefix("http://").unwrap_or(address).into(),
        };
        let owner = |owned: &Owned| {
            (owned.lives && !owned.node.is_empty()).then(|| peer(&owned.node, &owned.address))
        };
        let shown: Vec<Option<Peer>> = owners.owners.iter().map(owner).collect();
        let mut others: Vec<Peer> =
            owners.members.iter().map(|(node, address)| peer(node, address)).collect();
        // Nodes that are leaving still own partitions.
        for owner in shown.iter().flatten() {
            if !others.contains(owner) {
                others.push(owner.clone());
            }
        }
        others.retain(|other| *other.name != *me);
        let takes = |(node, _): &(String, String)| *node != *me;
        self.state.has_others.store(owners.members.iter().any(takes), Ordering::Release);
        self.spread.show(View { owners: shown, others });
    }

    /// Takes a partition. Returns whether to wait before it is tried again.
    fn take(&mut self, inner: &Arc<Inner>, partition: u16) -> Result<bool, String> {
        let recovered = match inner.engine.take_partition(partition) {
            Ok(Some(recovered)) => recovered,
            Ok(None) => return Ok(false),
            Err(error) => {
                tracing::error!(%error, partition, "a partition cannot be taken");
                return Ok(true);
            }
        };
        let (executions, epoch) = (recovered.len(), inner.engine.partition_epoch(partition));
        // Also what the former owner of the first partition has changed: it cannot change more.
        let version = self.cluster.owners().map(|owners| owners.version).map_err(|error| error.to_string());
        let taken = version.and_then(|version| {
            let taken = inner.follow(version).and_then(|()| inner.take_in(recovered));
            taken.map_err(|error| error.to_string())
        });
        if let Err(error) = taken {
            tracing::error!(
                error,
                partition,
                "a partition cannot be taken: its executions cannot go on here"
            );
            inner.let_go(partition).map_err(|error| error.to_string())?;
            return Ok(true);
        }
        // The tokens of their tasks are valid then.
        inner.engine.wait_resumed();
        self.mine[usize::from(partition)] = epoch;
        self.state.owned.fetch_add(1, Ordering::AcqRel);
        self.spread.open(partition, epoch);
        if !self.spread.is_held() {
            hold(&self.cluster, &self.spread);
        }
        tracing::info!(partition, epoch, executions, "this node has taken a partition");
        Ok(false)
    }

    fn release(&mut self, inner: &Arc<Inner>, partition: u16) -> Result<(), String> {
        self.spread.close(partition);
        inner.let_go(partition).map_err(|error| error.to_string())?;
        self.mine[usize::from(partition)] = 0;
        self.state.owned.fetch_sub(1, Ordering::AcqRel);
        tracing::info!(partition, "this node has released a partition");
        Ok(())
    }
}

impl Inner {
    /// Follows changes of what is registered, up to this version at least.
    pub(super) fn follow(&self, version: u64) -> Result<(), StateError> {
        let (Some(node), Some(store)) = (&self.node, &self.store) else { return Ok(()) };
        let mut followed = node.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if version <= *followed {
            return Ok(());
        }
        let changes = node.cluster.changes(*followed);
        let (last, changed) = changes.map_err(|error| StateError::Database(error.to_string()))?;
        store.follow(self, changed)?;
        *followed = last;
        Ok(())
    }

    /// Notes that what is registered was read when this was the last change.
    pub(super) fn has_followed(&self, version: u64) {
        if let Some(node) = &self.node {
            *node.followed.lock().unwrap_or_else(PoisonError::into_inner) = version;
        }
    }

    /// Lets the executions of a partition leave, which another node may take then.
    fn let_go(&self, partition: u16) -> Result<(), crate::journal::Failure> {
        let released = self.engine.release_partition(partition);
        self.executions.release(partition);
        released
    }
}

impl Service {
    /// Hands the partitions of this node over to others, if there are any, while operations on them go on. Blocks until
    /// it has none, or the time is over.
    pub fn hand_over(&self, within: Duration) {
        if let Some(node) = &self.inner.node {
            node.hand_over(within);
        }
    }

    /// Follows all changes of what is registered that are durable.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) fn follow_changes(&self) -> Result<(), super::Error> {
        Ok(self.inner.follow(u64::MAX)?)
    }
}
