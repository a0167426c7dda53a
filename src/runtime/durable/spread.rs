//! Partitions of the journal that come and go while the engine runs: this process takes one with its executions, and
//! releases one, whose executions go on in another process from their last records.
//!
//! While a partition is owned it has a tenure, its epoch. An execution belongs to one tenure: whatever is left of it
//! after that (a start that has not begun, a record that was not written, a suspended expression) is dropped, even if
//! the partition has come back meanwhile.

use std::collections::HashSet;
#[cfg(feature = "service")]
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::records::Found;
use super::{Durability, DurableError, RecoveredExecution, TurnRecord};
#[cfg(feature = "service")]
use crate::journal::Failure;
use crate::journal::{Partitions, Refused};
use crate::limits::JOURNAL_PARTITIONS;
use crate::runtime::engine::Engine;
#[cfg(any(feature = "clustered", feature = "service"))]
use crate::runtime::inbox::ShardMessage;

/// A note's partition and key.
type Noted = HashSet<(u16, Box<[u8]>)>;

/// The partitions of this process.
pub(super) struct Owned {
    /// By partition; 0 for those of other processes.
    tenures: [AtomicU64; JOURNAL_PARTITIONS as usize],
    /// The notes in their logs.
    noted: Mutex<Noted>,
    /// What tokens are made with, in all processes.
    pub(super) secret: u128,
}

impl Owned {
    pub(super) fn new(secret: u128) -> Owned {
        Owned {
            tenures: [const { AtomicU64::new(0) }; JOURNAL_PARTITIONS as usize],
            noted: Mutex::default(),
            secret,
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the shards that are still to release a partition.
#[derive(Debug)]
pub(in crate::runtime) struct Released {
    left: Mutex<usize>,
    done: Condvar,
}

impl Released {
    /// One more shard has none of its executions.
    pub(in crate::runtime) fn by_one(&self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.done.notify_all();
    }

    fn wait(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        while *left > 0 {
            left = self.done.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// An execution's number has its partition in the lowest bits.
pub(super) const BITS: u32 = JOURNAL_PARTITIONS.trailing_zeros();

/// The partition of an execution, by its number, in a journal whose partitions come and go.
#[cfg(all(feature = "service", feature = "clustered"))]
pub(crate) const fn partition_of_id(id: u64) -> u16 {
    (id % JOURNAL_PARTITIONS as u64) as u16
}

impl Durability {
    /// The partition of an execution, by its number.
    pub(in crate::runtime) fn partition(&self, id: u64) -> u16 {
        if self.spread.is_some() { (id % u64::from(JOURNAL_PARTITIONS)) as u16 } else { 0 }
    }

    /// The partition of an execution, by its ARN.
    pub(super) fn partition_of(&self, arn: &str) -> u16 {
        if self.spread.is_some() { crate::journal::partition_of(arn) } else { 0 }
    }

    /// The epoch under which this process owns a partition; 0 while it does not, or where partitions do not come and go.
    pub(in crate::runtime) fn tenure(&self, partition: u16) -> u64 {
        let spread = self.spread.as_ref();
        spread.map_or(0, |spread| spread.tenures[usize::from(partition)].load(Ordering::SeqCst))
    }

    /// Whether this process owns an execution's partition.
    pub(in crate::runtime) fn owns(&self, id: u64) -> bool {
        self.spread.is_none() || self.tenure(self.partition(id)) > 0
    }

    /// Whether an execution, or its record, belongs to a tenure that lasts.
    pub(in crate::runtime) fn lasts(&self, id: u64, tenure: u64) -> bool {
        self.tenure(self.partition(id)) == tenure
    }

    /// The same, for a record.
    pub(in crate::runtime) fn is_wanted(&self, record: &TurnRecord) -> bool {
        self.lasts(record.id, record.tenure)
    }

    /// A number for an execution, and its tenure.
    pub(super) fn new_id(&self, arn: &str) -> (u64, u64) {
        let next = self.next_id.fetch_add(1, Ordering::Relaxed);
        if self.spread.is_none() {
            return (next, 0);
        }
        let partition = self.partition_of(arn);
        (next << BITS | u64::from(partition), self.tenure(partition))
    }

    /// Whether partitions come and go.
    pub(in crate::runtime) fn is_spread(&self) -> bool {
        self.spread.is_some()
    }

    pub(in crate::runtime) fn floor_ms(&self) -> u64 {
        self.floor_ms.load(Ordering::Acquire)
    }

    /// Whether the log of a partition has a note.
    pub(super) fn has_note(&self, partition: u16, key: &[u8]) -> bool {
        self.spread.as_ref().is_none_or(|spread| spread.noted().contains(&(partition, key.into())))
    }

    pub(super) fn noted(&self, partition: u16, key: &[u8]) {
        if let Some(spread) = &self.spread {
            spread.noted().insert((partition, key.into()));
        }
    }

    fn partitions(&self) -> (&Owned, &dyn Partitions) {
        match (&self.spread, self.journal.partitions()) {
            (Some(spread), Some(partitions)) => (spread, partitions),
            _ => panic!("the partitions of this journal do not come and go"),
        }
    }

    /// Takes a partition, unless another living process owns it.
    fn take(&self, partition: u16) -> Result<Option<Vec<RecoveredExecution>>, DurableError> {
        let (spread, partitions) = self.partitions();
        let mut found = Found::beside(None);
        let opened = partitions.open(partition, &mut |block| found.add(block))?;
        let Some(epoch) = opened else { return Ok(None) };
        if let Err(error) = found.check().and_then(|()| found.end()) {
            // Another process may be able to read it.
            partitions.close(partition).map_err(Refused::Failed)?;
            return Err(error);
        }
        self.next_id.fetch_max((found.last_id >> BITS) + 1, Ordering::Relaxed);
        self.floor_ms.fetch_max(found.floor_ms, Ordering::AcqRel);
        for (id, execution) in &found.executions {
            self.live.turns.insert(*id, execution.turn);
        }
        self.keep_map_runs(std::mem::take(&mut found.map_runs));
        spread.noted().extend(found.notes.keys().map(|key| (partition, key.clone())));
        self.found().notes.extend(found.notes);
        spread.tenures[usize::from(partition)].store(epoch, Ordering::SeqCst);
        Ok(Some(found.executions.into_values().collect()))
    }
}

impl Engine {
    /// Takes a partition of a cluster whose work is [spread](crate::journal::cluster::Cluster::spread), for executions
    /// that start in it, and returns those that are in it, in the order in which they were started: the caller resumes
    /// them. `None`, if another living process owns it. A service does this by itself.
    ///
    /// # Errors
    /// When the partition cannot be read.
    ///
    /// # Panics
    /// When the engine is not in such a cluster.
    #[cfg(feature = "clustered")]
    pub fn take_partition(&self, partition: u16) -> Result<Option<Vec<RecoveredExecution>>, DurableError> {
        let Some(durability) = &self.shared().durability else { panic!("the engine has no journal") };
        let taken = durability.take(partition)?;
        let floor_ms = durability.floor_ms();
        self.shared().remotes.iter().for_each(|remote| remote.send(ShardMessage::NotBefore(floor_ms)));
        Ok(taken)
    }
}

#[cfg(feature = "service")]
impl Engine {
    /// The epoch under which this process owns a partition; 0 while it does not.
    pub(crate) fn partition_epoch(&self, partition: u16) -> u64 {
        self.shared().durability.as_ref().map_or(0, |durability| durability.tenure(partition))
    }

    /// Whether partitions of its journal come and go.
    pub(crate) fn has_partitions(&self) -> bool {
        self.shared().durability.as_ref().is_some_and(|durability| durability.spread.is_some())
    }

    /// Releases a partition: its executions leave memory as they are recorded, and another process may take it. The
    /// caller lets nothing begin in it meanwhile. Blocks until all is durable.
    ///
    /// # Errors
    /// When the journal has ended.
    pub(crate) fn release_partition(&self, partition: u16) -> Result<(), Failure> {
        let shared = self.shared();
        let Some(durability) = &shared.durability else { panic!("the engine has no journal") };
        let (spread, partitions) = durability.partitions();
        spread.tenures[usize::from(partition)].store(0, Ordering::SeqCst);
        let released = Arc::new(Released { left: Mutex::new(shared.remotes.len()), done: Condvar::new() });
        for remote in &shared.remotes {
            remote.send(ShardMessage::Release(partition, Arc::clone(&released)));
        }
        released.wait();
        let is_of = |id: u64| durability.partition(id) == partition;
        shared.waiting.forget(|(_, _, recorded)| recorded.is_some_and(is_of));
        shared.by_arn.retain(|_, indexed| {
            let ledger = indexed.completion.start_identity.ledger();
            !ledger.is_some_and(|ledger| is_of(ledger.id))
        });
        durability.live.turns.retain(|id, _| !is_of(*id));
        durability.live.map_runs.retain(|id, _| !is_of(*id));
        spread.noted().retain(|(of, _)| *of != partition);
        partitions.close(partition)
    }

    /// Ends the journal, and with it the process, because another process has taken a partition.
    pub(crate) fn lose_partitions(&self, why: String) {
        if let Some(durability) = &self.shared().durability {
            durability.partitions().1.lose(why);
        }
    }
}
