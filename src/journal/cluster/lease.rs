//! Ownership of a cluster: claiming, renewing and releasing it, and standing by.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::super::{JournalError, Ownership};
use super::engine::{Owner, Session, Trouble};
use super::node::Cluster;

/// Called once when another node has taken the cluster.
type OnLost = Box<dyn FnOnce(String) + Send>;

/// The ownership of a cluster. While it is claimed, a thread renews this node's lease.
pub struct ClusterLease {
    cluster: Cluster,
    keeper: Option<Keeper>,
}

impl ClusterLease {
    /// The ownership of a cluster, not claimed yet.
    pub fn of(cluster: &Cluster) -> ClusterLease {
        ClusterLease { cluster: cluster.clone(), keeper: None }
    }

    /// Sets the function that is called when another node has taken the cluster.
    pub(super) fn when_lost(&self, then: OnLost) {
        if let Some(keeper) = &self.keeper {
            keeper.when_lost(then);
        }
    }
}

impl Ownership for ClusterLease {
    fn claim(&mut self) -> Result<(), JournalError> {
        if self.cluster.is_spread()? {
            return Err(JournalError::Options(
                "the work of this cluster is spread over its nodes: no single owner can take it, or copy it",
            ));
        }
        if self.cluster.epoch() == 0 {
            let (node, address) = (self.cluster.node().to_owned(), self.cluster.published.clone());
            let lease_ms = lease_ms(&self.cluster);
            let claimed = self.cluster.ask(move |session| {
                session.tell(&node, &address, lease_ms)?;
                session.claim(&node)
            })?;
            let Some(epoch) = claimed else { return Err(JournalError::Held(self.cluster.describe())) };
            self.cluster.shared.epoch.store(epoch, Ordering::Release);
        }
        if self.keeper.is_none() {
            self.keeper = Some(Keeper::start(&self.cluster)?);
        }
        Ok(())
    }

    fn renew(&mut self) -> Result<(), JournalError> {
        self.cluster.known()?;
        let node = self.cluster.node().to_owned();
        let (address, lease_ms) = (self.cluster.published.clone(), lease_ms(&self.cluster));
        let owner = self.cluster.ask(move |session| {
            session.tell(&node, &address, lease_ms)?;
            session.owner()
        })?;
        match self.cluster.epoch() {
            0 => Err(JournalError::Held(self.cluster.describe())),
            epoch if owner.epoch == epoch => Ok(()),
            _ => Err(JournalError::Held(self.cluster.describe())),
        }
    }

    fn release(&mut self) {
        // First, so that the lease is not renewed afterwards.
        self.keeper = None;
        let epoch = self.cluster.shared.epoch.swap(0, Ordering::AcqRel);
        if epoch > 0 {
            self.cluster.give_back(epoch);
        }
    }
}

impl Cluster {
    fn give_back(&self, epoch: u64) {
        let node = self.node().to_owned();
        let released = self.ask(move |session| {
            session.release(&node, epoch)?;
            session.forget_nodes(&node)
        });
        if let Err(trouble) = released {
            tracing::warn!(reason = %trouble, "the cluster was not given back: others take it when the lease is over");
        }
    }
}

impl Drop for ClusterLease {
    fn drop(&mut self) {
        self.release();
    }
}

pub(super) fn lease_ms(cluster: &Cluster) -> i64 {
    i64::try_from(cluster.lease.as_millis()).unwrap_or(i64::MAX)
}

/// The thread that renews this node's lease.
struct Keeper {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    lost: Arc<Mutex<Lost>>,
}

#[derive(Default)]
struct Lost {
    why: Option<String>,
    then: Option<OnLost>,
}

impl Keeper {
    fn start(cluster: &Cluster) -> Result<Keeper, JournalError> {
        let (stop, stopped) = mpsc::channel();
        let lost: Arc<Mutex<Lost>> = Arc::default();
        let session = cluster.session()?;
        let (cluster, told) = (cluster.clone(), Arc::clone(&lost));
        let thread = thread::Builder::new().name("cluster-lease".to_owned());
        let thread = thread
            .spawn(move || keep(&cluster, session, &stopped, &told))
            .map_err(JournalError::io("a thread for the lease"))?;
        Ok(Keeper { stop: Some(stop), thread: Some(thread), lost })
    }

    fn when_lost(&self, then: OnLost) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        match lost.why.take() {
            Some(why) => then(why),
            None => lost.then = Some(then),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // A panic of the thread holds no locks; the lease then expires, as intended.
            let _ = thread.join();
        }
    }
}

fn keep(cluster: &Cluster, mut session: Session, stopped: &mpsc::Receiver<()>, lost: &Mutex<Lost>) {
    let mut is_away = false;
    while stopped.recv_timeout(cluster.lease / 3) == Err(mpsc::RecvTimeoutError::Timeout) {
        let told = session
            .tell(cluster.node(), &cluster.published, lease_ms(cluster))
            .and_then(|()| session.owner());
        match told {
            Ok(owner) if owner.epoch != cluster.epoch() => {
                let why = replaced(cluster.epoch(), &owner);
                let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
                match lost.then.take() {
                    Some(then) => then(why),
                    None => lost.why = Some(why),
                }
                return;
            }
            Ok(_) if std::mem::take(&mut is_away) => {
                tracing::info!("the lease of the cluster is renewed again")
            }
            Ok(_) => {}
            Err(trouble) => {
                if !std::mem::replace(&mut is_away, true) {
                    tracing::error!(reason = %trouble, "the lease of the cluster cannot be renewed at present");
                }
            }
        }
    }
}

/// Why a node with this epoch is no longer the owner.
pub(super) fn replaced(epoch: u64, owner: &Owner) -> String {
    let by = match &owner.node {
        Some(node) => format!("node {node} {}", owner.address),
        None => "a node that has ended since".to_owned(),
    };
    format!(
        "this node is not the owner any more (epoch {epoch}): {} has taken over as epoch {}",
        by.trim_end(),
        owner.epoch
    )
}

/// The state of the cluster, as a standby node finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standby {
    /// Another node owns the cluster, and answers at this address.
    Owned {
        /// Its name.
        node: String,
        /// Its address, empty if it has none.
        address: String,
    },
    /// The owner's lease has expired, and this node waits until it may take over.
    Waiting,
    /// The database does not answer.
    Away(String),
    /// This node owns the cluster from now on.
    Owner,
    /// The work is spread over all nodes: there is nothing to wait for.
    Spread,
}

impl Cluster {
    /// Renews this node's lease, and takes the cluster if it has no living owner. To be called several times per lease
    /// by a standby node, which must not own the cluster.
    ///
    /// After the database was unreachable, an owner has a whole lease in which to renew it.
    ///
    /// # Errors
    /// When this release cannot read the cluster's format.
    pub fn look(&self, seen: &mut Option<std::time::Instant>) -> Result<Standby, JournalError> {
        let away = |trouble: Trouble| Standby::Away(trouble.text);
        match self.known() {
            Ok(known) if known.is_spread() => return Ok(Standby::Spread),
            Ok(_) => {}
            Err(JournalError::Io { source, .. }) => {
                *seen = None;
                return Ok(away(Trouble::said(source.to_string())));
            }
            Err(error) => return Err(error),
        }
        let since = *seen.get_or_insert_with(std::time::Instant::now);
        let may_claim = since.elapsed() >= self.lease;
        let (node, address, lease_ms) = (self.node().to_owned(), self.published.clone(), lease_ms(self));
        let looked = self.ask(move |session| {
            session.tell(&node, &address, lease_ms)?;
            let owner = session.owner()?;
            let is_free = owner.node.is_none() || may_claim;
            let claimed = if is_free { session.claim(&node)? } else { None };
            Ok((owner, claimed))
        });
        match looked {
            Err(trouble) => {
                *seen = None;
                Ok(away(trouble))
            }
            Ok((_, Some(epoch))) => {
                self.shared.epoch.store(epoch, Ordering::Release);
                Ok(Standby::Owner)
            }
            Ok((Owner { node: Some(node), address, left_ms, .. }, None)) if left_ms > 0 => {
                Ok(Standby::Owned { node, address })
            }
            Ok(_) => Ok(Standby::Waiting),
        }
    }

    /// Takes the cluster. Waits for the lease of a dead owner to expire, and no longer.
    pub(super) fn claim_within_lease(&self, lease: &mut ClusterLease) -> Result<(), JournalError> {
        let mut first = None;
        loop {
            let held = match lease.claim() {
                Err(error @ JournalError::Held(_)) => error,
                claimed => return claimed,
            };
            let owner = self.ask(|session| session.owner())?;
            let begun = std::time::Instant::now();
            let (until, left_ms) = *first.get_or_insert((begun + millis(owner.left_ms), owner.left_ms));
            // A living owner has renewed its lease.
            if begun > until + Duration::from_millis(500) || owner.left_ms > left_ms {
                return Err(held);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
