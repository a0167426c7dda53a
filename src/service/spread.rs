//! A service that is one of several nodes, each of which owns some partitions of the executions: what is elsewhere, and
//! how it is asked.
//!
//! Every operation on a Standard execution is done by the owner of its partition, and holds a [`Pass`] of that
//! partition meanwhile. A partition is released when no pass is left, so an operation is done completely by one owner.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::{Error, Exception};
use crate::limits::{JOURNAL_PARTITIONS, STANDBY_OWNER_WAIT_MS};

/// A future of another node's answer.
pub(crate) type Asked<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The other nodes.
pub(crate) trait Peers: Send + Sync {
    /// Calls the node at an address.
    fn call(&self, address: &str, call: PeerCall) -> Asked<Result<PeerReply, NotCalled>>;
    /// Completes after some time.
    fn pause(&self, ms: u64) -> Asked<()>;
    /// Runs a future in the background.
    fn spawn(&self, future: Asked<()>);
}

/// A call for another node.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerCall {
    /// The header `X-Amz-Target`.
    pub(crate) target: String,
    pub(crate) trace_header: Option<String>,
    pub(crate) body: Vec<u8>,
    /// The name of the caller's key, if callers are known.
    pub(crate) caller: Option<String>,
    /// Region and account, if they are not the service's own.
    pub(crate) scope: Option<(String, String)>,
}

/// Another node's answer.
#[derive(Clone, Debug)]
pub(crate) struct PeerReply {
    pub(crate) status: u16,
    pub(crate) error: Option<String>,
    pub(crate) retry_after_ms: Option<u64>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotCalled {
    /// It was not done.
    Not,
    /// It was sent, and the outcome is unknown.
    Lost,
}

/// A node, as the others know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: Box<str>,
    pub(crate) address: Box<str>,
}

/// The nodes, and the owner of each partition, if it lives.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) owners: Vec<Option<Node>>,
    /// Those that live, but this one.
    pub(crate) others: Vec<Node>,
}

/// The partitions of this node, and where the others are.
pub(crate) struct Spread {
    gates: [AtomicU64; JOURNAL_PARTITIONS as usize],
    /// The epoch under which this node owns a partition whose gate is open.
    epochs: [AtomicU64; JOURNAL_PARTITIONS as usize],
    /// Nanoseconds since `began` until which no other node can have taken a partition whose gate is open.
    held_until_ns: AtomicU64,
    began: Instant,
    view: RwLock<Arc<View>>,
    node: Box<str>,
    peers: OnceLock<Arc<dyn Peers>>,
}

/// In a gate: operations may begin. The other bits count those under way.
const OPEN: u64 = 1 << 63;

/// An operation on a partition is under way on this node, which owns it meanwhile.
pub(crate) struct Pass {
    spread: Arc<Spread>,
    partition: u16,
}

impl Pass {
    pub(crate) fn partition(&self) -> u16 {
        self.partition
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.spread.gates[usize::from(self.partition)].fetch_sub(1, Ordering::SeqCst);
    }
}

/// Where an operation is done.
pub(crate) enum Way {
    Here(Pass),
    Answered(PeerReply),
}

impl Spread {
    pub(super) fn new(node: &str) -> Spread {
        Spread {
            gates: [const { AtomicU64::new(0) }; JOURNAL_PARTITIONS as usize],
            epochs: [const { AtomicU64::new(0) }; JOURNAL_PARTITIONS as usize],
            held_until_ns: AtomicU64::new(0),
            began: Instant::now(),
            view: RwLock::default(),
            node: node.into(),
            peers: OnceLock::new(),
        }
    }

    /// Begins an operation on a partition, if this node owns it, and no other node can have taken it meanwhile: what is in
    /// memory here would be told otherwise although it is over. Appends need no such care, since the database refuses
    /// those of a former owner.
    pub(crate) fn enter(self: &Arc<Spread>, partition: u16) -> Option<Pass> {
        if !self.is_held() {
            return None;
        }
        let begin = |gate: u64| (gate & OPEN != 0).then_some(gate + 1);
        let gate = &self.gates[usize::from(partition)];
        gate.fetch_update(Ordering::SeqCst, Ordering::SeqCst, begin).ok()?;
        Some(Pass { spread: Arc::clone(self), partition })
    }

    /// Whether no other node can have taken what this one has.
    pub(super) fn is_held(&self) -> bool {
        self.began.elapsed() < Duration::from_nanos(self.held_until_ns.load(Ordering::SeqCst))
    }

    /// Begins an operation on all partitions of this node.
    pub(crate) fn enter_all(self: &Arc<Spread>) -> Vec<Pass> {
        (0..JOURNAL_PARTITIONS).filter_map(|partition| self.enter(partition)).collect()
    }

    pub(super) fn open(&self, partition: u16, epoch: u64) {
        self.epochs[usize::from(partition)].store(epoch, Ordering::SeqCst);
        self.gates[usize::from(partition)].fetch_or(OPEN, Ordering::SeqCst);
    }

    /// The epochs of the partitions of this node; 0 for those of others.
    pub(super) fn held(&self) -> [u64; JOURNAL_PARTITIONS as usize] {
        let epoch = |partition: usize| self.epochs[partition].load(Ordering::SeqCst);
        std::array::from_fn(|partition| if self.owns(partition as u16) { epoch(partition) } else { 0 })
    }

    /// No other node can take a partition of this one before this moment.
    pub(super) fn hold_until(&self, moment: Instant) {
        let until_ns = moment.saturating_duration_since(self.began).as_nanos();
        self.held_until_ns.store(u64::try_from(until_ns).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Lets no more operations begin, and waits for those under way.
    pub(super) fn close(&self, partition: u16) {
        let gate = &self.gates[usize::from(partition)];
        gate.fetch_and(!OPEN, Ordering::SeqCst);
        while gate.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether this node owns a partition.
    pub(crate) fn owns(&self, partition: u16) -> bool {
        self.gates[usize::from(partition)].load(Ordering::SeqCst) & OPEN != 0
    }

    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn show(&self, view: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    /// Sets how other nodes are reached.
    pub(crate) fn reach(&self, peers: Arc<dyn Peers>) {
        // A second server of this service reaches them as well.
        let _ = self.peers.set(peers);
    }

    pub(crate) fn peers(&self) -> Result<&Arc<dyn Peers>, Error> {
        self.peers
            .get()
            .ok_or_else(|| unavailable("Another node has it, and this one has no server to reach it"))
    }

    /// Calls a partition's owner. Once another one is known, the former may be unreachable: its answer is waited for so long
    /// still.
    async fn ask(
        &self,
        peers: &Arc<dyn Peers>,
        (partition, owner): (u16, &Node),
        (call, late_ms): (&PeerCall, u64),
    ) -> Result<PeerReply, NotCalled> {
        let mut asked = peers.call(&owner.address, call.clone());
        let (mut look, mut looks_in_vain) = (peers.pause(LOOK_MS), 0);
        poll_fn(|context| {
            if let Poll::Ready(answered) = asked.as_mut().poll(context) {
                return Poll::Ready(answered);
            }
            while look.as_mut().poll(context).is_ready() {
                let view = self.view();
                let now = view.owners.get(usize::from(partition)).and_then(Option::as_ref);
                // An owner that hands over has answered before, and the answer may still be on its way.
                looks_in_vain += u64::from(now.is_some_and(|now| now != owner));
                if looks_in_vain * LOOK_MS > late_ms {
                    return Poll::Ready(Err(NotCalled::Lost));
                }
                look = peers.pause(LOOK_MS);
            }
            Poll::Pending
        })
        .await
    }

    /// Asks all other nodes at once. One that may have died has no answer after a second.
    pub(crate) async fn ask_others(&self, call: &PeerCall) -> Result<Vec<(Node, Option<PeerReply>)>, Error> {
        let others = self.view().others.clone();
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let peers = self.peers()?;
        let mut late = peers.pause(ANSWER_MS);
        let mut asked: Vec<_> = others.iter().map(|other| peers.call(&other.address, call.clone())).collect();
        let mut answers: Vec<_> = others.into_iter().map(|other| (other, None)).collect();
        poll_fn(|context| {
            let mut is_any_missing = false;
            for (asked, (_, answer)) in asked.iter_mut().zip(&mut answers) {
                if answer.is_none() {
                    match asked.as_mut().poll(context) {
                        Poll::Ready(answered) => *answer = Some(answered.ok()),
                        Poll::Pending => is_any_missing = true,
                    }
                }
            }
            let is_late = late.as_mut().poll(context).is_ready();
            if is_late || !is_any_missing { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Ok(answers.into_iter().map(|(node, answer)| (node, answer.flatten())).collect())
    }

    /// Does an operation on a partition: here, or by its owner. While it has none, this waits for one. `repeats` tells
    /// whether it may be done again when it is unknown whether it was done.
    pub(crate) async fn go(
        self: &Arc<Spread>,
        partition: u16,
        call: &PeerCall,
        repeats: bool,
    ) -> Result<Way, Error> {
        let until = Instant::now() + Duration::from_millis(STANDBY_OWNER_WAIT_MS);
        let late_ms = if repeats { ANSWER_MS } else { LATE_MS };
        loop {
            if let Some(pass) = self.enter(partition) {
                return Ok(Way::Here(pass));
            }
            let peers = self.peers()?;
            let view = self.view();
            let owner = view.owners.get(usize::from(partition)).and_then(Option::as_ref);
            if let Some(owner) = owner.filter(|owner| owner.name != self.node) {
                match self.ask(peers, (partition, owner), (call, late_ms)).await {
                    Ok(reply) => return Ok(Way::Answered(reply)),
                    Err(NotCalled::Lost) if !repeats => {
                        return Err(unavailable(
                            "The node that did it ended meanwhile, and it is unknown whether it was done; ask again",
                        ));
                    }
                    Err(_) => {}
                }
            }
            if Instant::now() >= until {
                return Err(unavailable("No node has this execution's partition at present; ask again"));
            }
            peers.pause(PAUSE_MS).await;
        }
    }
}

/// How long a call waits before it looks for an owner again.
pub(crate) const PAUSE_MS: u64 = 20;
/// How long all other nodes together may take for an answer.
const ANSWER_MS: u64 = 1_000;
/// How long a former owner's answer is waited for to what cannot be done again.
const LATE_MS: u64 = 5_000;
/// How often a call that is not answered looks whether the owner has changed.
const LOOK_MS: u64 = 200;

pub(crate) fn unavailable(why: &'static str) -> Error {
    let mut error = Error::new(Exception::ServiceUnavailable, why);
    error.retry_after = Some(Duration::from_secs(1));
    error
}

/// What a node answers to another one that has not heard yet that it does not own a partition any more.
pub(crate) const NOT_OWNED: &str = "This node does not own the partition";
