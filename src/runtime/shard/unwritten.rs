//! What durable executions wait for while the journal's disk is behind or full: records that it does not take stay
//! here, in order, and no durable execution of the shard has a turn until they are written. All others continue.
//!
//! So there is one record at most, beside those of executions that came in from an earlier process meanwhile. Events of
//! durable executions are stored here, each once; executions that were accepted and have not begun wait where they
//! count as waiting.

use std::collections::VecDeque;

use super::durable::Held;
use super::resident::ResidentEvent;
use super::{Going, Opened, Shard, TIMED};
use crate::journal::Refused;
use crate::runtime::durable::TurnRecord;
use crate::runtime::slab::Key;
use crate::runtime::wheel::TimerId;

/// When a record that was refused is tried again.
const BUSY_RETRY_MS: u64 = 1;
const FULL_RETRY_MS: u64 = 50;

/// What waits for the journal.
#[derive(Default)]
pub(super) struct Unwritten {
    records: VecDeque<(TurnRecord, Option<Held>)>,
    retry_ms: u64,
    /// The same for records of Map Runs, which all shards have in common.
    map_runs_retry_ms: u64,
    /// Whether room is missing, rather than time.
    is_full: bool,
    /// Executions that have work to do, and those that wait to begin.
    paused: Vec<Key>,
    paused_starts: Vec<Opened>,
}

impl Shard {
    /// Whether durable executions have to wait.
    pub(super) fn is_behind(&self) -> bool {
        !self.unwritten.records.is_empty()
    }

    /// Whether the end of the shard waits for what is to be written: not for room that may never come.
    pub(super) fn ends_behind(&self) -> bool {
        self.is_behind() && !self.unwritten.is_full
    }

    /// When the next attempt is due.
    pub(super) fn next_write_ms(&self) -> Option<u64> {
        let durability = self.shared.durability.as_ref();
        let map_runs =
            durability.is_some_and(|it| it.map_runs_wait()).then_some(self.unwritten.map_runs_retry_ms);
        let own = self.is_behind().then_some(self.unwritten.retry_ms);
        own.into_iter().chain(map_runs).min()
    }

    /// Retries writing records of Map Runs, when it is due.
    fn write_map_runs(&mut self) {
        if let Some(durability) = self.shared.durability.as_ref().filter(|it| it.map_runs_wait())
            && self.now_ms >= self.unwritten.map_runs_retry_ms
        {
            durability.write_map_runs();
            self.unwritten.map_runs_retry_ms = self.now_ms + FULL_RETRY_MS;
        }
    }

    /// Appends a record, and holds what waits for it to be durable.
    pub(super) fn write(&mut self, record: TurnRecord, held: Option<Held>) {
        if !self.durability().is_wanted(&record) {
            return;
        }
        if !self.is_behind() {
            match self.durability().write(&record) {
                Ok(lsn) => {
                    self.count_record();
                    if let Some(held) = held {
                        self.hold(lsn, held);
                    }
                    return;
                }
                Err(refused) => {
                    self.retry_later(&refused);
                    self.durability().shard_is_behind(refused);
                }
            }
        }
        self.unwritten.records.push_back((record, held));
    }

    fn retry_later(&mut self, refused: &Refused) {
        self.unwritten.is_full = matches!(refused, Refused::Full(_));
        let after_ms = if self.unwritten.is_full { FULL_RETRY_MS } else { BUSY_RETRY_MS };
        self.unwritten.retry_ms = self.now_ms + after_ms;
    }

    /// Retries writing, when it is due. Durable executions continue when all is written.
    pub(super) fn write_unwritten(&mut self) {
        self.write_map_runs();
        if !self.is_behind() || self.now_ms < self.unwritten.retry_ms {
            return;
        }
        while let Some((record, _)) = self.unwritten.records.front() {
            if !self.durability().is_wanted(record) {
                self.unwritten.records.pop_front();
                continue;
            }
            match self.durability().write(record) {
                Ok(lsn) => {
                    self.count_record();
                    if let Some((_, Some(held))) = self.unwritten.records.pop_front() {
                        self.hold(lsn, held);
                    }
                }
                Err(refused) => return self.retry_later(&refused),
            }
        }
        self.durability().shard_caught_up();
        for key in std::mem::take(&mut self.unwritten.paused) {
            if self.residents.key(key.slot) == Some(key)
                && let Some(resident) = self.residents.at(key.slot)
            {
                self.turns.push_going(resident.flow, Going::Resident(key));
            }
        }
        for opened in self.take_paused_starts() {
            self.uncount_waiting(&opened);
            self.put_in_line(opened);
        }
    }

    /// Starts that wait for the journal.
    pub(super) fn take_paused_starts(&mut self) -> Vec<Opened> {
        std::mem::take(&mut self.unwritten.paused_starts)
    }

    /// Whether starts have to wait for the journal.
    pub(super) fn start_is_paused(&self, opened: &Opened) -> bool {
        self.is_behind() && opened.start_batch.reply.start_identity().ledger().is_some()
    }

    /// Lets starts wait for the journal.
    pub(super) fn pause_start(&mut self, opened: Opened) {
        self.count_waiting(&opened);
        self.unwritten.paused_starts.push(opened);
    }

    /// Whether a resident has to wait for the journal.
    pub(super) fn is_paused(&mut self, key: Key) -> bool {
        self.is_behind()
            && self
                .residents
                .at(key.slot)
                .is_some_and(|resident| resident.reply.start_identity().ledger().is_some())
    }

    /// It is the turn of a resident that has to wait for the journal.
    pub(super) fn pause(&mut self, key: Key) {
        self.unwritten.paused.push(key);
    }

    /// Stores an event of a resident that has to wait for the journal.
    pub(super) fn put_down(&mut self, key: Key, event: ResidentEvent) {
        if let Some(resident) = self.residents.at(key.slot) {
            let (before, after) = (resident.due_before, resident.due_after);
            if !std::mem::replace(&mut resident.is_queued, true) {
                self.unwritten.paused.push(key);
            }
            if matches!(event, ResidentEvent::Deadline) && before != TIMED {
                // The deadline is delivered only once.
                (resident.due_before, resident.due_after) = (TIMED, TimerId::NONE.to_bits());
                self.leave_queue(before, after);
            }
        }
        let deferred = self.deferred.entry(key).or_default();
        if !deferred.iter().any(|other| other.includes(&event)) {
            deferred.push_back(event);
        }
    }
}
