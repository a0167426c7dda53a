//! A node of a cluster whose partitions are spread: a thread looks which nodes there are, takes the partitions that this
//! node should own, releases those that others should, and follows changes of what is registered.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Service;
use super::inner::Inner;
use super::spread::{Node as Peer, Spread, View};
use super::state_error::StateError;
use crate::journal::cluster::{Cluster, Host, Owned, Owners, Share, Taken};
use crate::limits::CLUSTER_LOOK_MS;

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
        let host = NodeHost {
            cluster: self.cluster.clone(),
            state: Arc::clone(&self.state),
            inner: Arc::downgrade(inner),
            spread,
        };
        let mut keeper = Keeper { share: Share::of(&self.cluster), host };
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
    // If the database does not answer, it is for as long as it was.
    if let Ok(Some(until)) = cluster.held_until(&spread.held(), |partition| spread.owns(partition)) {
        spread.hold_until(until);
    }
}

/// The thread that takes and releases partitions.
struct Keeper {
    share: Share,
    host: NodeHost,
}

impl Keeper {
    fn run(mut self) {
        while !self.host.state.sleep(Duration::from_millis(CLUSTER_LOOK_MS)) {
            if let Err(why) = self.look() {
                tracing::debug!(reason = %why, "the nodes of the cluster cannot be seen at present");
            }
        }
    }

    fn look(&mut self) -> Result<(), String> {
        if self.host.inner.strong_count() == 0 {
            return Ok(());
        }
        let looked = self.share.look(&mut self.host);
        self.host.state.owned.store(self.share.count() as u64, Ordering::Release);
        looked
    }
}

/// The service, as it uses the partitions of its node.
struct NodeHost {
    cluster: Cluster,
    state: Arc<State>,
    inner: Weak<Inner>,
    spread: Arc<Spread>,
}

impl NodeHost {
    fn inner(&self) -> Result<Arc<Inner>, String> {
        self.inner.upgrade().ok_or_else(|| "the service has ended".to_owned())
    }

    fn take_in(&self, inner: &Arc<Inner>, partition: u16) -> Result<Taken, String> {
        let recovered = match inner.engine.take_partition(partition) {
            Ok(Some(recovered)) => recovered,
            Ok(None) => return Ok(Taken::Not),
            Err(error) => {
                tracing::error!(%error, partition, "a partition cannot be taken");
                return Ok(Taken::Later);
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
            return Ok(Taken::Later);
        }
        // The tokens of their tasks are valid then.
        inner.engine.wait_resumed();
        self.spread.open(partition, epoch);
        if !self.spread.is_held() {
            hold(&self.cluster, &self.spread);
        }
        tracing::info!(partition, epoch, executions, "this node has taken a partition");
        Ok(Taken::Owned(epoch))
    }
}

impl Host for NodeHost {
    fn show(&mut self, owners: &Owners) {
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

    fn lose(&mut self, why: String) {
        if let Some(inner) = self.inner.upgrade() {
            inner.engine.lose_partitions(why);
        }
    }

    fn follow(&mut self, version: u64) -> Result<(), String> {
        self.inner()?.follow(version).map_err(|error| error.to_string())
    }

    fn take(&mut self, partition: u16) -> Result<Taken, String> {
        self.take_in(&self.inner()?, partition)
    }

    fn release(&mut self, partition: u16) -> Result<(), String> {
        self.spread.close(partition);
        self.inner()?.let_go(partition).map_err(|error| error.to_string())?;
        tracing::info!(partition, "this node has released a partition");
        Ok(())
    }

    fn leaves(&self) -> bool {
        self.state.leaves.load(Ordering::Acquire)
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
