//! Exclusive use of a cluster while a state is copied from it or into it.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use super::super::{JournalError, Ownership};
use super::lease::{ClusterLease, lease_ms};
use super::node::{Cluster, Shared};
use crate::limits::JOURNAL_PARTITIONS;

/// The whole cluster is this process's: no other one takes it, or a partition of it.
pub(crate) struct Held {
    cluster: Cluster,
    /// Of a cluster that one node owns.
    lease: Option<ClusterLease>,
    /// Of a cluster whose work is spread.
    renewal: Option<Renewal>,
}

impl Cluster {
    /// Takes the whole cluster, which must exist, and which no node may use.
    ///
    /// # Errors
    /// When a node uses it, or the database does not answer.
    pub(crate) fn hold(&self) -> Result<Held, JournalError> {
        self.find()?;
        let mut held = Held { cluster: self.clone(), lease: None, renewal: None };
        if !self.is_spread()? {
            let lease = held.lease.insert(ClusterLease::of(self));
            lease.claim()?;
            return Ok(held);
        }
        self.is_unused()?;
        held.renewal = Some(self.renewed()?);
        for partition in 0..JOURNAL_PARTITIONS {
            let claimed = self.claim_partition(partition)?;
            let epoch = claimed.ok_or_else(|| JournalError::Held(self.describe()))?;
            if partition == 0 {
                self.owns_records(epoch);
            }
        }
        Ok(held)
    }

    fn is_unused(&self) -> Result<(), JournalError> {
        let nodes = self.ask(|session| session.nodes())?;
        let is_used = nodes.iter().any(|node| node.lives && node.node != self.node());
        if is_used { Err(JournalError::Held(self.describe())) } else { Ok(()) }
    }

    /// The same cluster for a process that copies a state into it: another node.
    pub(crate) fn for_copy(&self) -> Cluster {
        let shared = Shared { node: format!("{}-copy", self.node()), ..Shared::default() };
        Cluster { copies: true, shared: Arc::new(shared), ..self.clone() }
    }

    /// Begins copying into this cluster, which is created if missing, and must not have a journal, unless that is one that
    /// was not copied to its end. No node uses it before [`end_copy`](Cluster::end_copy).
    ///
    /// # Errors
    /// When it has a journal, a node uses it, or the database does not answer.
    pub(crate) fn begin_copy(&self) -> Result<(), JournalError> {
        self.known()?;
        self.is_unused()?;
        if self.ask(|session| session.begin_copy())? {
            return Ok(());
        }
        Err(JournalError::Options("the cluster to copy to has a journal already"))
    }

    /// The copy is whole.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) fn end_copy(&self) -> Result<(), JournalError> {
        Ok(self.ask(|session| session.end_copy())?)
    }

    /// Renews this node's lease until that is dropped.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) fn renewed(&self) -> Result<Renewal, JournalError> {
        self.renew()?;
        let (stop, stopped) = mpsc::channel();
        let (cluster, mut session) = (self.clone(), self.session()?);
        let renew = move || {
            while stopped.recv_timeout(cluster.renews_every()) == Err(mpsc::RecvTimeoutError::Timeout) {
                // If this fails for longer than a lease, the next append or claim does as well.
                let _ = session.tell(cluster.node(), &cluster.published, lease_ms(&cluster));
            }
        };
        let thread = thread::Builder::new().name("cluster-lease".to_owned()).spawn(renew);
        let thread = thread.map_err(JournalError::io("a thread for the lease"))?;
        Ok(Renewal { cluster: self.clone(), stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(renewal) = self.renewal.take() {
            self.cluster.owns_records(0);
            let node = self.cluster.node().to_owned();
            let released = self.cluster.ask(move |session| session.release_all(&node));
            drop(renewal);
            if let Err(trouble) = released {
                tracing::warn!(reason = %trouble, "the partitions are not released: they are taken when the lease is over");
            }
        }
    }
}

/// A thread that renews this node's lease, until this is dropped; then the node is forgotten.
pub(crate) struct Renewal {
    cluster: Cluster,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic was reported already.
            let _ = thread.join();
        }
        let node = self.cluster.node().to_owned();
        // If this fails, the node is forgotten when its lease is over.
        let _ = self.cluster.ask(move |session| session.forget_nodes(&node));
    }
}
