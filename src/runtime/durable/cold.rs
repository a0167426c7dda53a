//! Durable executions that are parked and completely out of memory: each is a row in a store of the keeper, and the
//! engine has nothing of it.
//!
//! 1. An execution leaves when it has been parked for a while, nothing is under way for it, and its wake-up can be
//!    found in the store: a timer that is due late enough, or tokens.
//! 2. When its row is durable, the journal no longer needs its records ([`Engine::has_left`]), and compaction drops
//!    them. A row is never newer than what the journal has made durable ([`Engine::sync_recorded`]).
//! 3. Any event brings it back: the keeper [resumes](Engine::resume) it from its row. The row stays, as the base of the
//!    records behind it, until the execution leaves once more, or is forgotten.
//! 4. After a restart, executions of which the journal has more than their rows are recovered; the others stay in the
//!    store. A forgotten row is removed before the journal drops the record of it.

use std::sync::atomic::Ordering;

use super::super::engine::Engine;
use super::super::machine::Target;
use super::records::{Reader, RecoveredExecution, Writer};
use super::{Durability, DurableError, Lsn};
use crate::runtime::start::StartError;

/// Keeps executions that are not in memory. A call may come from any thread, also from one that runs executions: it must not
/// wait for executions.
pub(crate) trait ColdStore: Send + Sync {
    /// Opens it; the journal has no other user from now on.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn open(&self) -> Result<(), String>;

    /// Checks its identity against the one which the journal has [noted](Engine::note_cold). Returns the number of the
    /// last execution in it, and the latest time.
    ///
    /// # Errors
    /// Why it cannot be used.
    fn belongs_to(&self, identity: Option<u64>) -> Result<(u64, u64), String>;

    /// The last turn in the row of an execution, by its number in the journal.
    ///
    /// # Errors
    /// When it cannot be read.
    fn turn(&self, id: u64) -> Result<Option<u64>, String>;

    /// The row of an execution, by its number in the journal.
    ///
    /// # Errors
    /// When it cannot be read.
    fn row(&self, id: u64) -> Result<Option<RecoveredExecution>, String>;

    /// Whether there is an execution of this ARN in it.
    fn has(&self, arn: &str) -> bool;

    /// Whether it takes one more at present.
    fn has_room(&self) -> bool;

    /// Takes an execution, if it is not in use. `go` is called while lookups are blocked, and returns whether the
    /// execution really leaves. Whether it left.
    fn take(&self, leaving: Leaving, go: &mut dyn FnMut() -> bool) -> bool;

    /// Brings the execution back that waits for this token, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    fn wake(&self, token: u128) -> Result<bool, String>;

    /// Whether an execution in it waits for this token.
    fn knows_token(&self, token: u128) -> bool;

    /// Forgets an execution.
    fn forget(&self, id: u64);

    /// Returns when everything that was taken and forgotten before is durable.
    ///
    /// # Errors
    /// When that fails.
    fn flush(&self) -> Result<(), String>;
}

/// An execution that is about to leave memory. What only its keeper knows (label, input, history, redrives) is empty.
#[derive(Debug)]
pub(crate) struct Leaving {
    /// The state from which it continues.
    pub(crate) execution: RecoveredExecution,
    /// When its first timer is due, in milliseconds since 1970 by the monotonic clock.
    pub(crate) due_ms: u64,
    /// The tokens of the tasks that it waits for.
    pub(crate) tokens: Vec<u128>,
    /// Of its program.
    pub(crate) fingerprint: u64,
    /// The time, in milliseconds since 1970.
    pub(crate) now_ms: u64,
}

/// The key of the note with the store's identity. Other notes are under ARNs.
const NOTE_KEY: &[u8] = b"cold store";

/// The version of the form in which rows are written.
const VERSION: u64 = 1;

impl RecoveredExecution {
    /// The number of its last turn.
    pub(crate) fn turn(&self) -> u64 {
        self.turn
    }

    /// As bytes, for a row.
    pub(crate) fn to_row(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.number(VERSION).number(self.id).number(self.epoch).number(self.seed).number(self.turn);
        writer
            .bytes(self.name.as_bytes())
            .bytes(self.arn.as_bytes())
            .maybe_text(self.trace_header.as_deref());
        writer.bytes(&self.label).bytes(self.input.as_bytes()).bytes(&self.state);
        writer.number(u64::from(self.redrives.0)).number(self.redrives.1);
        let history = self.history.values().fold(Vec::new(), |mut all, chunk| {
            all.extend_from_slice(chunk);
            all
        });
        writer.bytes(&history);
        let mut ended = Writer::default();
        if let Some(outcome) = &self.outcome {
            ended.outcome(outcome).stopped(outcome);
        }
        writer.bytes(&ended.0);
        writer.0
    }

    /// Reads what [`to_row`](RecoveredExecution::to_row) wrote.
    pub(crate) fn from_row(row: &[u8]) -> Option<RecoveredExecution> {
        let mut reader = Reader(row);
        if reader.number()? != VERSION {
            return None;
        }
        let (id, epoch, seed, turn) =
            (reader.number()?, reader.number()?, reader.number()?, reader.number()?);
        let mut execution = RecoveredExecution { id, epoch, seed, turn, ..RecoveredExecution::default() };
        execution.name = reader.text()?.into();
        execution.arn = reader.text()?.into();
        execution.trace_header = reader.maybe_text()?.map(Into::into);
        execution.label = reader.bytes()?.into();
        execution.input = reader.text()?.into();
        execution.state = reader.bytes()?.into();
        execution.redrives = (u32::try_from(reader.number()?).ok()?, reader.number()?);
        let history = reader.bytes()?;
        if !history.is_empty() {
            execution.history.insert(turn, history.into());
        }
        let mut ended = Reader(reader.bytes()?);
        if !ended.0.is_empty() {
            execution.outcome = Some(ended.outcome()?);
        }
        execution.row_turn = Some(turn);
        reader.0.is_empty().then_some(execution)
    }
}

impl Durability {
    /// Brings the execution that waits for a token back into memory. Returns `None` if there is no such execution,
    /// otherwise whether its tokens are valid now (`true`) or will be soon.
    pub(in crate::runtime) fn wake_cold(&self, token: u128) -> Result<Option<bool>, String> {
        let Some(cold) = &self.cold else { return Ok(None) };
        if !cold.wake(token)? {
            return Ok(None);
        }
        let may_wait = self.has_threads.load(Ordering::Relaxed) && !super::super::thread::is_shard();
        if may_wait {
            self.wait_resumed();
        }
        Ok(Some(may_wait))
    }

    /// Merges the store's rows with executions in the journal: those of which the journal has no more than their rows
    /// stay in the store.
    pub(super) fn merge_rows(cold: &dyn ColdStore, found: &mut super::Found) -> Result<(), DurableError> {
        let identity = found.notes.get(NOTE_KEY).and_then(|note| note.as_ref().try_into().ok());
        let opened = cold.belongs_to(identity.map(u64::from_le_bytes));
        let (last_id, floor_ms) = opened.map_err(DurableError::Cold)?;
        (found.last_id, found.floor_ms) = (found.last_id.max(last_id), found.floor_ms.max(floor_ms));
        if last_id == 0 {
            return Ok(());
        }
        let mut over = Vec::new();
        for (id, execution) in &mut found.executions {
            if let Some(mut row) = cold.row(*id).map_err(DurableError::Cold)? {
                row.found = std::mem::take(&mut execution.found);
                row.found_bytes = execution.found_bytes;
                row.answers = std::mem::take(&mut execution.answers);
                *execution = row;
                if execution.outcome.is_some() && execution.found.is_empty() {
                    // An answer from before its end.
                    over.push(*id);
                }
            }
        }
        for id in over {
            found.executions.remove(&id);
        }
        found.forgotten.iter().for_each(|id| cold.forget(*id));
        Ok(())
    }
}

impl Engine {
    /// Notes in the journal which store has what it drops.
    ///
    /// # Errors
    /// When the journal does not take it at present.
    pub(crate) fn note_cold(&self, identity: u64) -> Result<(), StartError> {
        self.note(NOTE_KEY, || identity.to_le_bytes().to_vec())
    }

    /// The row of an execution is durable, and it has not come back: the journal need not keep its records.
    pub(crate) fn has_left(&self, id: u64) {
        if let Some(durability) = &self.shared().durability {
            durability.live.remove(id);
        }
    }

    /// An execution of which there is a row is to be kept in the journal again from this turn on.
    pub(crate) fn is_back(&self, id: u64, turn: u64) {
        if let Some(durability) = &self.shared().durability {
            durability.live.is_back(id, turn);
        }
    }

    /// What is known of an execution that is over and leaves memory, of what ties it to the journal.
    pub(crate) fn closed_execution(&self, id: u64) -> Option<RecoveredExecution> {
        let durability = self.shared().durability.as_ref()?;
        let turn = durability.live.known_turn(id)?;
        Some(RecoveredExecution { id, turn, epoch: durability.epoch, ..RecoveredExecution::default() })
    }

    /// How many executions may stay in memory that wait; and as many that are over.
    pub(crate) fn resident_max(&self) -> usize {
        self.shared().durability.as_ref().map_or(usize::MAX, |durability| durability.resident_max())
    }

    /// Blocks this thread until all that was recorded by now is durable.
    #[doc(hidden)]
    pub fn sync_recorded(&self) {
        if let Some(durability) = &self.shared().durability {
            let last = Lsn(durability.last_appended.load(Ordering::Acquire));
            if !durability.journal.durable().is_ok_and(|durable| last <= durable) {
                durability.wait(last);
            }
        }
    }

    /// Milliseconds since 1970 by the monotonic clock, by which timers are due, and how far the wall clock is ahead.
    pub(crate) fn steady_ms(&self) -> (u64, i64) {
        let shared = self.shared();
        let floor_ms = shared.durability.as_ref().map_or(0, |durability| durability.floor_ms());
        (shared.time.steady_ms().max(floor_ms), shared.look_at_wall())
    }

    /// The fingerprint of a program, for rows.
    pub(crate) fn fingerprint<'t>(&self, machine: impl Into<Target<'t>>) -> Result<u64, StartError> {
        self.own_version(machine.into()).map(|version| version.fingerprint)
    }

    /// How many milliseconds an execution is parked before it leaves, and how long its wait must still be.
    pub(crate) fn resident_bounds(&self) -> (u64, u64) {
        let durability = self.shared().durability.as_ref();
        durability.map_or((0, 0), |durability| (durability.away.after_ms, durability.away.horizon_ms))
    }
}
