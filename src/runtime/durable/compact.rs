//! Compaction of the journal: records that are still needed are copied to its end, the blocks before are trimmed.
//!
//! Reading a copy a second time changes nothing, see [`records`](super::records), so executions continue meanwhile, and
//! after a crash both may exist.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dashmap::DashMap;

use super::map_runs::{self, Kept};
use super::records::{
    ANSWER, DELIVERED, END, END_DELTA, FORGET, Found, IDENTITY, MAP_RUN, NOTE, REDRIVE, Reader, START, TURN,
    TURN_DELTA,
};
use super::{Durability, DurableError};
use crate::journal::{Lsn, Record, Refused, Room, delta};
use crate::limits;

/// Executions that are still needed, with their last recorded turns, and the length of the journal.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) turns: DashMap<u64, u64>,
    /// Their Map Runs that have records.
    pub(super) map_runs: DashMap<u64, Vec<Kept>>,
    /// Bytes appended since the last compaction began, and the size it left.
    appended: AtomicU64,
    left: AtomicU64,
    /// The number of executions then.
    left_of: AtomicU64,
}

impl Live {
    /// Of a journal of so many bytes.
    pub(super) fn of(found: &Found, bytes: u64) -> Live {
        let turns: DashMap<u64, u64> =
            found.executions.iter().map(|(id, execution)| (*id, execution.turn)).collect();
        let needed = found.executions.values().map(|execution| execution.found_bytes).sum();
        Live {
            appended: AtomicU64::new(bytes.saturating_sub(needed)),
            left: AtomicU64::new(needed),
            left_of: AtomicU64::new(turns.len() as u64),
            turns,
            map_runs: DashMap::new(),
        }
    }

    pub(super) fn insert(&self, id: u64) {
        self.turns.insert(id, 0);
    }

    /// It is in memory again, as of a turn.
    pub(super) fn is_back(&self, id: u64, turn: u64) {
        self.turns.entry(id).or_insert(turn);
    }

    /// Its records are no longer needed. Returns when none of them is being copied.
    pub(super) fn remove(&self, id: u64) {
        self.turns.remove(&id);
        self.map_runs.remove(&id);
    }

    /// The last recorded turn.
    pub(super) fn turn(&self, id: u64) -> u64 {
        self.known_turn(id).unwrap_or(0)
    }

    /// The same; `None`, when the journal need not keep the execution.
    pub(super) fn known_turn(&self, id: u64) -> Option<u64> {
        self.turns.get(&id).map(|turn| *turn)
    }

    pub(super) fn advance(&self, id: u64, turn: u64) {
        if let Some(mut last) = self.turns.get_mut(&id) {
            *last = turn;
        }
    }

    pub(super) fn count(&self, bytes: usize) {
        self.appended.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether the journal has grown so much that compacting it pays off: on average, at most as much is copied as is
    /// freed.
    fn is_long(&self, bytes_min: u64) -> bool {
        let needed = self.needed();
        let left = self.left.load(Ordering::Relaxed);
        self.appended.load(Ordering::Relaxed) + (left - needed) > bytes_min.max(needed)
    }

    /// An estimate of the bytes that are needed of what the last compaction left: executions that left memory meanwhile
    /// are not.
    fn needed(&self) -> u64 {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let (left, executions) = (load(&self.left), load(&self.left_of).max(1));
        let needed =
            u128::from(left) * u128::from(executions.min(self.turns.len() as u64)) / u128::from(executions);
        u64::try_from(needed).unwrap_or(left)
    }
}

impl Durability {
    /// Wakes the journal for records of turns, ends, and forgotten executions.
    pub(in crate::runtime) fn announce(&self) {
        self.journal.announce();
    }

    /// Starts a thread that compacts the journal whenever that pays off, until the engine is dropped.
    pub(in crate::runtime) fn keep_short(self: &Arc<Self>, bytes_min: u64) -> std::io::Result<()> {
        let durability = Arc::downgrade(self);
        let thread = std::thread::Builder::new().name("expressway-compact".to_owned());
        thread.spawn(move || keep_short(&durability, bytes_min)).map(drop)
    }

    /// Compacts a journal that was just read, before anything else happens, if that takes no time to speak of, and
    /// otherwise leaves it to the thread. A process that is killed again and again before its thread compacts the
    /// journal would read more and more.
    #[cfg(feature = "service")]
    pub(in crate::runtime) fn begin_short(&self) -> Result<(), DurableError> {
        let is_quick = self.live.needed() <= limits::DURABLE_COMPACT_BYTES_MIN;
        if is_quick && self.live.is_long(limits::DURABLE_COMPACT_START_BYTES_MIN) {
            self.compact()?;
        }
        Ok(())
    }

    /// Copies what is needed of the durable blocks, and trims them. How many bytes were copied.
    pub(in crate::runtime) fn compact(&self) -> Result<u64, DurableError> {
        let cut = match self.journal.durable() {
            Ok(durable) => durable.next(),
            Err(failure) => return Err(Refused::Failed(failure).into()),
        };
        self.live.appended.store(0, Ordering::Relaxed);
        // First, so that the store is durable before the records behind it are trimmed.
        self.cold.as_ref().map_or(Ok(()), |cold| cold.flush()).map_err(DurableError::Cold)?;
        let (mut copied, mut ahead, mut last, mut refused) = (0, 0, Lsn(0), None);
        // A start finds what was trimmed as long as its segment is not used again: without this, each start that is
        // followed by a compaction would double the copies. Of what is not needed any more, which may be many times as
        // much, nothing is kept in memory.
        let mut copies = HashSet::new();
        self.journal.read(Lsn(1), &mut |block| {
            if block.header.lsn >= cut {
                return;
            }
            for record in block.records() {
                if refused.is_some() {
                    return;
                }
                let identity = identity(&record);
                if copies.contains(&identity) {
                    continue;
                }
                match self.copy_when_free(&record) {
                    Ok(Some(lsn)) => {
                        copies.insert(identity);
                        (ahead, last) = (ahead + record.bytes.len(), lsn);
                        copied += record.bytes.len() as u64;
                    }
                    Ok(None) => {}
                    Err(why) => refused = Some(why),
                }
                // New records wait at most for one block of copies.
                if ahead >= limits::JOURNAL_BLOCK_BYTES_MAX {
                    self.wait(last);
                    ahead = 0;
                }
            }
        })?;
        if let Some(refused) = refused {
            return Err(refused.into());
        }
        self.wait(last);
        self.journal.trim(cut);
        self.live.left.store(copied, Ordering::Relaxed);
        self.live.left_of.store(self.live.turns.len() as u64, Ordering::Relaxed);
        Ok(copied)
    }

    /// Copies a record, if it is needed; waits while the disk is behind.
    fn copy_when_free(&self, record: &Record<'_>) -> Result<Option<Lsn>, Refused> {
        loop {
            match self.copy(record) {
                // Without holding the execution's entry, which shards write to.
                Err(Refused::Busy) => std::thread::sleep(Duration::from_millis(1)),
                copied => return copied,
            }
        }
    }

    /// Copies a record, if it is needed.
    fn copy(&self, record: &Record<'_>) -> Result<Option<Lsn>, Refused> {
        if self.tenure(record.partition) == 0 && self.spread.is_some() {
            // It was released meanwhile.
            return Ok(None);
        }
        let id = match record.kind {
            IDENTITY | NOTE => None,
            FORGET => return Ok(None),
            MAP_RUN => return self.copy_map_run(record),
            kind => number(kind, &mut &*record.bytes),
        };
        // Held until it is copied, so that it is not forgotten meanwhile.
        let needed = id.map(|id| self.live.turns.get(&id));
        if needed.as_ref().is_some_and(Option::is_none) {
            return Ok(None);
        }
        let appended = self.journal.append(*record, Room::Ordinary);
        drop(needed);
        match appended {
            // It is being released.
            Err(Refused::Away(_)) if self.spread.is_some() && self.tenure(record.partition) == 0 => Ok(None),
            appended => appended.map(Some),
        }
    }
}

/// The first or next number of a record.
fn number(kind: u16, bytes: &mut &[u8]) -> Option<u64> {
    match kind {
        TURN_DELTA | END_DELTA => delta::read_number(bytes),
        START | ANSWER | TURN | END | REDRIVE | MAP_RUN | DELIVERED => {
            let mut reader = Reader(bytes);
            let number = reader.number();
            *bytes = reader.0;
            number
        }
        kind => unreachable!("a record of kind {kind} was refused when the journal was opened"),
    }
}

/// What tells a record from all others that are not copies of it: its kind and partition, the execution, and the number
/// of its turn, token or entry, with a Map Run's ARN; of notes, all.
fn identity(record: &Record<'_>) -> (u16, u16, [Option<u64>; 2], Box<[u8]>) {
    let mut bytes = record.bytes;
    let (numbers, rest): ([Option<u64>; 2], &[u8]) = match record.kind {
        // Earlier releases copied turns in part.
        IDENTITY | NOTE | FORGET | TURN | END => ([None; 2], record.bytes),
        START => ([number(START, &mut bytes), None], &[]),
        kind => ([number(kind, &mut bytes), number(kind, &mut bytes)], &[]),
    };
    let rest = match record.kind {
        MAP_RUN => map_runs::read(&mut Reader(record.bytes)).map_or(rest, |(.., arn, _)| arn.as_bytes()),
        _ => rest,
    };
    (record.kind, record.partition, numbers, rest.into())
}

fn keep_short(durability: &Weak<Durability>, bytes_min: u64) {
    loop {
        std::thread::sleep(Duration::from_millis(limits::DURABLE_COMPACT_LOOK_MS));
        let Some(durability) = durability.upgrade() else { return };
        durability.write_forgotten();
        durability.write_map_runs();
        durability.journal.check(&durability.dropped);
        if durability.live.is_long(bytes_min)
            && let Err(error) = durability.compact()
        {
            tracing::error!(%error, "the journal of durable executions cannot be compacted, and grows");
        }
    }
}
