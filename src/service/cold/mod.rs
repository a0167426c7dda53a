//! Standard executions that are parked and not in memory: each is a [row](rows), from which it comes back with the next
//! event, and from which it is described and listed meanwhile.
//!
//! 1. A shard offers an execution that waits ([`ColdStore::take`]). It is taken if it is not in use, while lookups of
//!    its ARN are blocked; from then on it is found here.
//! 2. A thread writes taken executions, in large transactions, each after the journal has made their records durable.
//!    Then the journal no longer needs them.
//! 3. The same thread brings back what is due soon.
//! 4. Executions that are over leave [in the order of their ends](closed). Their rows are deleted when their retention
//!    period is over.
//! 5. An execution that is in memory again still has a row, which is not shown: memory takes precedence.

mod closed;
#[cfg(test)]
mod crashes;
mod delivered;
pub(super) mod rows;
mod thread;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use dashmap::mapref::entry::Entry as Place;

use super::closed::Rank;
use super::executions::{Execution, Run};
use super::inner::Inner;
use super::label::Label;
use super::state_error::StateError;
use super::{Error, Exception};
use crate::limits;
use crate::observe::event_bytes;
use crate::runtime::{ColdStore, Leaving, RecoveredExecution, Status};
use rows::{Entry, Row, Rows, status_number};

/// It is copied along with the journal.
const FILE: &str = "cold.redb";
const ALL: [Status; 5] =
    [Status::Running, Status::Succeeded, Status::Failed, Status::TimedOut, Status::Aborted];

/// Executions that are not in memory.
pub(super) struct Cold {
    path: PathBuf,
    /// Whether it belongs to this process; else it is read-only.
    is_own: bool,
    service: Arc<OnceLock<Weak<Inner>>>,
    rows: OnceLock<Rows>,
    /// Whether the journal has noted the identity of these rows.
    is_noted: AtomicBool,
    queue: Mutex<Queue>,
    /// For the writing thread: there is something to write.
    work: Condvar,
    /// For callers that wait until it is written.
    written: Condvar,
}

/// Changes to write.
#[derive(Default)]
struct Queue {
    /// Rows of executions that were taken and have not come back, by their ARNs.
    by_arn: HashMap<Box<str>, Arc<Row>>,
    by_token: HashMap<u128, Arc<Row>>,
    order: VecDeque<Arc<Row>>,
    forgotten: VecDeque<u64>,
    /// The same numbers, until their removal is durable.
    gone: HashSet<u64>,
    /// Of rows: how many changes of status were delivered, and how many there are, if more are to be.
    undelivered: HashMap<u64, (u32, u32)>,
    /// Of the same: how many were delivered since, until that is written.
    delivered: Vec<(u64, u32)>,
    /// Counts of rows, and of numbers of other kinds, that were ever queued, and of those that are done.
    came: [u64; 2],
    done: [u64; 2],
    /// Whether a caller waits until something is done.
    is_asked: bool,
    /// Whether the disk is nearly full.
    is_short: bool,
    /// Whether the thread exists, and has not ended.
    is_tended: bool,
    /// How far timers were searched.
    swept: (u64, u64),
    /// Where the search for expired rows continues.
    expired: (u64, u64),
    /// How far the clock on the wall was behind at most.
    ahead_ms_min: i64,
}

impl Cold {
    /// In a state folder; nothing is opened yet.
    pub(super) fn at(folder: &Path, is_own: bool, service: Arc<OnceLock<Weak<Inner>>>) -> Cold {
        Cold {
            path: folder.join("journal").join(FILE),
            is_own,
            service,
            rows: OnceLock::new(),
            is_noted: AtomicBool::new(false),
            queue: Mutex::default(),
            work: Condvar::new(),
            written: Condvar::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic leaves it consistent.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inner(&self) -> Option<Arc<Inner>> {
        self.service.get().and_then(Weak::upgrade)
    }

    /// The rows that are durable, once there are any.
    fn rows(&self) -> Option<&Rows> {
        self.rows.get()
    }

    /// Whether it was never used.
    fn is_unused(&self) -> bool {
        self.rows().is_none() && self.queue().order.is_empty()
    }

    /// The row of an ARN.
    fn of_arn(&self, arn: &str) -> Result<Option<Arc<Row>>, StateError> {
        if let Some(row) = self.queue().by_arn.get(arn) {
            return Ok(Some(Arc::clone(row)));
        }
        let found = self.rows().map_or(Ok(None), |rows| rows.of_arn(arn))?;
        Ok(found.filter(|row| !self.queue().gone.contains(&row.id)).map(Arc::new))
    }

    fn of_token(&self, token: u128) -> Result<Option<Arc<Row>>, StateError> {
        if let Some(row) = self.queue().by_token.get(&token) {
            return Ok(Some(Arc::clone(row)));
        }
        let found = self.rows().map_or(Ok(None), |rows| rows.of_token(token))?;
        Ok(found.filter(|row| !self.queue().gone.contains(&row.id)).map(Arc::new))
    }

    /// Notes that an execution comes back into memory: its row is no longer to be written. Returns whether it was still
    /// to be written.
    fn comes_back(&self, row: &Arc<Row>) -> bool {
        let mut queue = self.queue();
        let is_waiting = queue.by_arn.get(&row.entry.arn).is_some_and(|it| Arc::ptr_eq(it, row));
        if is_waiting {
            queue.by_arn.remove(&row.entry.arn);
        }
        is_waiting
    }

    /// Queues the row again, because the execution did not come back.
    fn stays(&self, row: &Arc<Row>) {
        let mut queue = self.queue();
        queue.by_arn.insert(row.entry.arn.clone(), Arc::clone(row));
        queue.order.push_back(Arc::clone(row));
        queue.came[0] += 1;
    }

    /// Forgets the tokens of an execution that is in memory again. Its row is still found in lists, for a concurrent
    /// listing that searched memory before.
    fn is_back(&self, row: &Row) {
        let mut queue = self.queue();
        for token in &row.entry.tokens {
            if queue.by_token.get(token).is_some_and(|it| it.id == row.id) {
                queue.by_token.remove(token);
            }
        }
    }

    /// Rows of a machine with a status that come after `after`, newest first, as long as more are wanted. `known` are
    /// the numbers of executions in memory.
    fn listed(
        &self,
        machine: &str,
        status: Status,
        after: Option<(u64, u64)>,
        known: &HashSet<u64>,
        mut wanted: impl FnMut(Row) -> bool,
    ) -> Result<(), StateError> {
        let status = status_number(status);
        // Older rows of the same executions may be written with another status.
        let mut rewritten = HashSet::new();
        let mut waiting: Vec<Arc<Row>> = {
            let queue = self.queue();
            let is_listed = |row: &&Arc<Row>| {
                let Entry { arn, machine: of, status: its, rank, .. } = &row.entry;
                if **of == *machine && queue.by_arn.get(arn).is_some_and(|it| Arc::ptr_eq(it, row)) {
                    rewritten.insert(rank.1);
                }
                **of == *machine && *its == status && after.is_none_or(|after| *rank < after)
            };
            queue.order.iter().filter(is_listed).map(Arc::clone).collect()
        };
        waiting.sort_unstable_by_key(|row| row.entry.rank);
        let mut seen = known.clone();
        let mut show = |row: Row, wanted: &mut dyn FnMut(Row) -> bool| {
            !seen.insert(row.entry.rank.1) || self.queue().gone.contains(&row.id) || wanted(row)
        };
        let copy = |row: &Row| Row {
            id: row.id,
            turn: row.turn,
            entry: row.entry.clone(),
            bytes: row.bytes.clone(),
            undelivered: row.undelivered,
        };
        let mut goes_on = true;
        if let Some(rows) = self.rows() {
            rows.listed(machine, status, after, |row| {
                while goes_on && waiting.last().is_some_and(|first| first.entry.rank >= row.entry.rank) {
                    goes_on = waiting.pop().is_none_or(|first| show(copy(&first), &mut wanted));
                }
                goes_on = goes_on && (rewritten.contains(&row.entry.rank.1) || show(row, &mut wanted));
                goes_on
            })?;
        }
        while let Some(row) = waiting.pop().filter(|_| goes_on) {
            goes_on = show(copy(&row), &mut wanted);
        }
        Ok(())
    }

    /// Whether an execution of a machine is open, beside those in memory.
    pub(super) fn has_open(&self, machine: &str, known: &HashSet<u64>) -> Result<bool, StateError> {
        let running = status_number(Status::Running);
        let is_other = |entry: &Entry| *entry.machine == *machine && !known.contains(&entry.rank.1);
        let mut is_open = self.queue().by_arn.values().any(|row| is_other(&row.entry));
        if let Some(rows) = self.rows() {
            rows.numbers(machine, running, |number| {
                is_open |= !known.contains(&number);
                !is_open
            })?;
        }
        Ok(is_open)
    }

    /// Ends the thread; called when the service is dropped.
    pub(super) fn close(&self) {
        self.queue().is_tended = false;
        self.work.notify_all();
        self.written.notify_all();
    }

    /// The latest rows of a machine, of any status, for surveys.
    #[cfg(feature = "console")]
    fn newest(&self, machine: &str, known: &HashSet<u64>, max: usize) -> Result<Vec<Row>, StateError> {
        let mut found = Vec::new();
        for status in ALL {
            let wanted = found.len() + max;
            self.listed(machine, status, None, known, |row| {
                found.push(row);
                found.len() < wanted
            })?;
        }
        Ok(found)
    }

    /// Visits all rows of a folder that is not in use, until a visit fails.
    pub(super) fn visit<E: From<StateError>>(
        &self,
        visit: &mut dyn FnMut(RecoveredExecution) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(rows) = self.rows() else { return Ok(()) };
        let mut visited = Ok(());
        rows.all(|row| {
            if visited.is_ok() {
                visited = row.execution().map_err(E::from).and_then(&mut *visit);
            }
        })?;
        visited
    }

    /// The last number in lists, and how many of these rows are of open executions.
    pub(super) fn meta(&self) -> Result<(u64, usize), StateError> {
        let [_, last_number, open, ..] = self.rows().map_or(Ok([0; 5]), Rows::meta)?;
        Ok((last_number, usize::try_from(open).unwrap_or(usize::MAX)))
    }

    /// Whether an execution that was recovered has a row of one that was open.
    pub(super) fn has_open_row(&self, id: u64) -> Result<bool, StateError> {
        let found = self.rows().map_or(Ok(None), |rows| rows.row(id))?;
        Ok(found.is_some_and(|row| row.entry.status == status_number(Status::Running)))
    }

    /// The programs that rows run.
    pub(super) fn programs(&self) -> Result<Vec<(String, u64)>, StateError> {
        self.rows().map_or(Ok(Vec::new()), Rows::programs)
    }

    /// An execution that runs this program, for error messages.
    pub(super) fn example(&self, revision: &str, fingerprint: u64) -> Option<String> {
        let mut found = None;
        let looked = self.rows()?.all(|row| {
            if *row.entry.revision == *revision && row.entry.fingerprint == fingerprint {
                found.get_or_insert(row.entry.arn.to_string());
            }
        });
        looked.ok().and(found)
    }

    /// The figures for metrics: rows of open executions and of others, changes of rows that are still to be written, and
    /// bytes of the file.
    pub(super) fn stats(&self) -> [u64; 4] {
        let rows = self.rows().and_then(|rows| rows.count().ok()).unwrap_or(0);
        let [_, _, open, ..] = self.rows().and_then(|rows| rows.meta().ok()).unwrap_or([0; 5]);
        let bytes = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        let queue = self.queue();
        let pending = queue.order.len() as u64 + queue.came[1].saturating_sub(queue.done[1]);
        [open, rows.saturating_sub(open), pending, bytes]
    }
}

impl ColdStore for Cold {
    fn open(&self) -> Result<(), String> {
        if self.path.exists() {
            let rows = Rows::open(&self.path, self.is_own);
            let rows = rows.map_err(|error| format!("{}: {error}", self.path.display()))?;
            self.rows.set(rows).map_err(|_| format!("{} is open already", self.path.display()))?;
        }
        Ok(())
    }

    fn belongs_to(&self, identity: Option<u64>) -> Result<(u64, u64), String> {
        let path = self.path.display();
        let Some(rows) = self.rows() else {
            return match identity {
                None => Ok((0, 0)),
                Some(_) => {
                    Err(format!("{path} is missing: it has executions that the journal does not have"))
                }
            };
        };
        let meta = rows.meta().map_err(|error| format!("{path}: {error}"))?;
        let [last_id, _, _, now_ms, own] = meta;
        // The journal knows the file only if it has dropped records for it.
        if identity.is_some_and(|identity| identity != own) || identity.is_none() && last_id > 0 {
            return Err(format!("{path} belongs to another journal"));
        }
        Ok((last_id, now_ms))
    }

    fn turn(&self, id: u64) -> Result<Option<u64>, String> {
        self.rows().map_or(Ok(None), |rows| rows.turn(id)).map_err(|error| error.to_string())
    }

    fn row(&self, id: u64) -> Result<Option<RecoveredExecution>, String> {
        let found = self.rows().map_or(Ok(None), |rows| rows.row(id));
        let Some(row) = found.map_err(|error| error.to_string())? else { return Ok(None) };
        row.execution().map(Some).map_err(|error| error.to_string())
    }

    fn has(&self, arn: &str) -> bool {
        // A row that cannot be read exists.
        self.of_arn(arn).map_or(true, |row| row.is_some())
    }

    fn has_room(&self) -> bool {
        let queue = self.queue();
        queue.order.len() < limits::DURABLE_COLD_PENDING_MAX && !queue.is_short && queue.is_tended
    }

    fn take(&self, leaving: Leaving, go: &mut dyn FnMut() -> bool) -> bool {
        let Some(inner) = self.inner() else { return false };
        let arn = leaving.execution.arn.clone();
        let removed = inner.executions.by_arn.remove_if(&arn, |_, execution| {
            // The two maps refer to it, and its handle, as its waker.
            let is_free = Arc::strong_count(execution) <= 3;
            let is_taken = is_free && self.take_in(execution, &leaving, go);
            if is_taken {
                inner.executions.map_runs.let_go(&arn);
            }
            is_taken
        });
        let Some((_, execution)) = removed else { return false };
        inner.executions.unlist(&execution);
        true
    }

    fn wake(&self, token: u128) -> Result<bool, String> {
        let (Some(inner), false) = (self.inner(), self.is_unused()) else { return Ok(false) };
        let Some(row) = self.of_token(token).map_err(|error| error.to_string())? else { return Ok(false) };
        let back = inner.bring_back(&row.entry.arn).map_err(|error| error.to_string())?;
        Ok(back.is_some())
    }

    fn knows_token(&self, token: u128) -> bool {
        let Some(inner) = self.inner() else { return false };
        let row = self.of_token(token).ok().flatten();
        row.is_some_and(|row| inner.executions.get(&row.entry.arn).is_none())
    }

    fn forget(&self, id: u64) {
        if self.is_unused() || !self.is_own {
            return;
        }
        let mut queue = self.queue();
        queue.undelivered.remove(&id);
        if queue.gone.insert(id) {
            queue.forgotten.push_back(id);
            queue.came[1] += 1;
        }
    }

    fn flush(&self) -> Result<(), String> {
        if self.is_unused() {
            return Ok(());
        }
        let mut queue = self.queue();
        let wanted = queue.came;
        let is_done = |queue: &Queue| queue.done[0] >= wanted[0] && queue.done[1] >= wanted[1];
        while !is_done(&queue) && queue.is_tended {
            queue.is_asked = true;
            self.work.notify_all();
            queue = self.written.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if is_done(&queue) { Ok(()) } else { Err("it is being closed".to_owned()) }
    }
}

impl Cold {
    /// Takes an execution in, while lookups of it are blocked.
    fn take_in(&self, execution: &Arc<Execution>, leaving: &Leaving, go: &mut dyn FnMut() -> bool) -> bool {
        // It is in use now.
        let Some(mut run) = execution.try_run() else { return false };
        let is_open = run.outcome.is_none() && run.is_unwatched();
        if !is_open || execution.map_run.is_some() || run.redrives.has_tokens(leaving.now_ms) {
            return false;
        }
        let Leaving { execution: known, due_ms, tokens, fingerprint, .. } = leaving;
        let mut row = row(execution, &run, known.clone());
        row.entry.fingerprint = *fingerprint;
        (row.entry.due_ms, row.entry.tokens) = (*due_ms, tokens.clone());
        row.undelivered = self.undelivered(row.id, execution, &run);
        let row = Arc::new(row);
        if !go() {
            return false;
        }
        run.handle = None;
        let mut queue = self.queue();
        row.entry.tokens.iter().for_each(|token| drop(queue.by_token.insert(*token, Arc::clone(&row))));
        queue.by_arn.insert(row.entry.arn.clone(), Arc::clone(&row));
        queue.order.push_back(row);
        queue.came[0] += 1;
        if queue.order.len() >= limits::DURABLE_COLD_BATCH / 2 {
            self.work.notify_all();
        }
        true
    }
}

/// The row of an execution in the state that the engine reports, or of one that is over, without what it waits for.
fn row(execution: &Execution, run: &Run, mut recovered: RecoveredExecution) -> Row {
    let Execution { target, started_ms, number, parent, map_run, .. } = execution;
    let label = Label::new(target, (*started_ms, *number), (parent.clone(), map_run.as_deref()));
    let mut history = Vec::new();
    execution.history.read(|kept| kept.events().for_each(|event| event_bytes::write(event, &mut history)));
    (recovered.label, recovered.input) = (label.to_bytes(), execution.input.clone());
    recovered.history = [(0, history.into())].into();
    recovered.redrives = (run.redrives.count, run.redrives.last_ms);
    recovered.outcome = run.outcome.as_deref().cloned();
    let entry = Entry {
        arn: execution.arn.clone(),
        machine: execution.list().into(),
        revision: label.revision.into(),
        fingerprint: 0,
        due_ms: u64::MAX,
        tokens: Vec::new(),
        status: status_number(run.outcome.as_ref().map_or(Status::Running, |outcome| outcome.status)),
        rank: run.outcome.as_ref().map_or((execution.started_ms, execution.number), |outcome| {
            (outcome.stopped_ms, execution.number)
        }),
        unsuccessful: execution
            .is_unsuccessful_child(run)
            .then(|| (execution.started_ms, execution.keeps_its_end(run))),
    };
    Row { id: recovered.id, turn: recovered.turn(), entry, bytes: recovered.to_row(), undelivered: None }
}

fn unreadable(error: StateError) -> Error {
    Error::new(Exception::InternalFailure, format!("The execution cannot be read: {error}"))
}

impl Inner {
    /// An execution that is not in memory, for reading. It is not brought back into memory.
    pub(super) fn cold_view(&self, arn: &str) -> Result<Option<Arc<Execution>>, Error> {
        let Some(cold) = self.cold.as_ref().filter(|cold| !cold.is_unused()) else { return Ok(None) };
        let row = cold.of_arn(arn).map_err(unreadable)?.filter(|row| !self.is_expired(row));
        row.map(|row| self.view(&row)).transpose()
    }

    /// Whether the retention period is over.
    fn is_expired(&self, row: &Row) -> bool {
        let retention_ms = self.settings.retention_ms;
        row.entry.stopped_ms().is_some_and(|it| it.saturating_add(retention_ms) <= self.now_ms())
    }

    /// A read-only view of a row.
    fn view(&self, row: &Row) -> Result<Arc<Execution>, Error> {
        let recovered = self.row_of(row)?;
        let (draft, id, redrives) = self.draft_of(&recovered).map_err(unreadable)?;
        let outcome = recovered.outcome.clone();
        Ok(self.executions.kept(draft, (id, redrives), None, outcome))
    }

    /// The ARNs of machines, and of Map Runs, that have executions, in memory or not.
    #[cfg(feature = "console")]
    pub(super) fn listed_machines(&self) -> Vec<Box<str>> {
        let in_memory = self.executions.by_machine.iter().map(|listed| listed.key().clone());
        let mut found: Vec<Box<str>> = in_memory.collect();
        if self.cold.as_ref().is_some_and(|cold| !cold.is_unused()) {
            let all = self.machines.after(None, usize::MAX);
            found.extend(
                all.iter().filter(|machine| !machine.is_express()).map(|machine| machine.arn.clone()),
            );
            found.sort_unstable();
            found.dedup();
        }
        found
    }

    /// A machine's executions that are not in memory, up to `most` of each status, and whether there may be more. Those
    /// of `known` numbers are left out.
    #[cfg(feature = "console")]
    pub(super) fn survey_cold(
        &self,
        machine: &str,
        known: impl Iterator<Item = u64>,
        most: usize,
    ) -> Result<(Vec<Arc<Execution>>, bool), Error> {
        let Some(cold) = self.cold.as_ref().filter(|cold| !cold.is_unused()) else {
            return Ok((Vec::new(), false));
        };
        let mut numbers = self.executions.numbers(machine);
        numbers.extend(known);
        let most = limits::COLD_SURVEYED_MAX.min(most);
        let rows = cold.newest(machine, &numbers, most).map_err(unreadable)?;
        let is_cut = rows.len() >= most;
        let views = rows.iter().map(|row| self.view(row)).collect::<Result<_, _>>()?;
        Ok((views, is_cut))
    }

    fn row_of(&self, row: &Row) -> Result<RecoveredExecution, Error> {
        row.execution().map_err(unreadable)
    }

    /// Returns the execution with this ARN, brought into memory first, unless it is over; then a read-only view.
    pub(super) fn bring_back(&self, arn: &str) -> Result<Option<Arc<Execution>>, Error> {
        self.bring(arn, false)
    }

    /// Like `bring_back`, but also brings back an execution that is over and is to continue.
    pub(super) fn bring_back_over(&self, arn: &str) -> Result<Option<Arc<Execution>>, Error> {
        self.bring(arn, true)
    }

    fn bring(&self, arn: &str, also_over: bool) -> Result<Option<Arc<Execution>>, Error> {
        if let Some(execution) = self.executions.get(arn) {
            return Ok(Some(execution));
        }
        let Some(cold) = self.cold.as_ref().filter(|cold| !cold.is_unused()) else { return Ok(None) };
        // The entry is locked: no other caller brings it back meanwhile, or starts one of its name.
        let free = match self.executions.by_arn.entry(arn.into()) {
            Place::Occupied(found) => return Ok(Some(Arc::clone(found.get()))),
            Place::Vacant(free) => free,
        };
        let row = cold.of_arn(arn).map_err(unreadable)?.filter(|row| !self.is_expired(row));
        let Some(row) = row else { return Ok(None) };
        if row.entry.stopped_ms().is_some() && !also_over {
            return self.view(&row).map(Some);
        }
        let recovered = self.row_of(&row)?;
        let (draft, id, redrives) = self.draft_of(&recovered).map_err(unreadable)?;
        let turn = recovered.turn();
        // Before the journal needs the execution again: otherwise the thread that writes the row could report that it
        // does not.
        let is_waiting = cold.comes_back(&row);
        let resumed = self.resumed(&draft, recovered).inspect_err(|_| {
            if is_waiting {
                cold.stays(&row);
            }
        });
        let (handle, outcome) = resumed.map_err(unreadable)?;
        let execution = self.executions.kept(draft, (id, redrives), handle, outcome);
        cold.takes_delivered_along(id, &mut execution.run());
        if let Some(outcome) = execution.outcome() {
            self.engine.is_back(id, turn);
            let forgotten = self.executions.keep_over(&execution, &outcome);
            debug_assert!(forgotten.is_empty(), "one that is durable is not forgotten for want of room");
        }
        free.insert(Arc::clone(&execution));
        self.executions.list_again(&execution);
        cold.is_back(&row);
        execution.look();
        Ok(Some(execution))
    }

    /// Adds executions that are not in memory to a list, as far as they belong on the page.
    pub(super) fn list_cold(
        &self,
        machine: &str,
        (status, after, max): (Option<Option<Status>>, Option<Rank>, usize),
        filter: impl Fn(&Execution) -> bool,
        found: &mut Vec<(Rank, Arc<Execution>)>,
    ) -> Result<(), Error> {
        let Some(cold) = self.cold.as_ref().filter(|cold| !cold.is_unused()) else { return Ok(()) };
        let (mut known, mut failed) = (HashSet::new(), None);
        // What waits for a redrive did not succeed.
        let may_be = |listed: &Status| match status {
            None => true,
            Some(None) => !matches!(listed, Status::Running | Status::Succeeded),
            Some(Some(wanted)) => wanted == *listed,
        };
        // One that is in memory is not what its row says, and may have come back since memory was searched.
        let present = |row: &Row| match self.executions.get(&row.entry.arn) {
            Some(execution) => Ok((execution.number == row.entry.rank.1).then_some(execution)),
            None if self.is_expired(row) => Ok(None),
            None => self.view(row).map(Some),
        };
        for listed in ALL.into_iter().filter(may_be) {
            let mut more = max;
            // Some may have left since they were found, and others ended.
            known.extend(found.iter().map(|((_, number), _)| *number));
            let looked = cold.listed(machine, listed, after, &known, |row| {
                match present(&row) {
                    Ok(Some(execution)) => {
                        let rank = execution.rank();
                        if after.is_none_or(|after| rank < after) && filter(&execution) {
                            found.push((rank, execution));
                            more -= 1;
                        }
                    }
                    Ok(None) => {}
                    Err(error) => failed = Some(error),
                }
                more > 0 && failed.is_none()
            });
            looked.map_err(unreadable)?;
        }
        found.sort_unstable_by_key(|&(rank, _)| std::cmp::Reverse(rank));
        found.truncate(max);
        failed.map_or(Ok(()), Err)
    }

    /// The children of a Map Run that are not in memory, did not succeed, and perhaps cannot be redriven.
    pub(super) fn failures_in_rows(
        &self,
        map_run: &str,
        known: &HashSet<u64>,
        mut visit: impl FnMut(&Execution),
    ) -> Result<(), Error> {
        let Some(rows) = self.cold.as_ref().and_then(|cold| cold.rows()) else { return Ok(()) };
        let (now_ms, open_ms_max) = (self.now_ms(), limits::STANDARD_SECONDS_MAX * 1_000);
        let mut found = Vec::new();
        for status in [Status::Failed, Status::TimedOut, Status::Aborted] {
            let looked = rows.entries(map_run, status_number(status), |id, entry| {
                // Most can be redriven, and need not be read as a whole to know that.
                let is_early = |(started_ms, _): (u64, bool)| {
                    now_ms < started_ms.saturating_add(open_ms_max)
                        && now_ms < entry.rank.0.saturating_add(self.settings.redrivable_ms)
                };
                let can = entry.unsuccessful.is_some_and(|it| it.1 && is_early(it));
                if !can && !known.contains(&entry.rank.1) {
                    found.push(id);
                }
            });
            looked.map_err(unreadable)?;
        }
        for id in found {
            if let Some(row) = rows.row(id).map_err(unreadable)? {
                visit(&*self.view(&row)?);
            }
        }
        Ok(())
    }

    /// Whether the programs of rows compile to the same in this release.
    pub(super) fn check_cold(&self) -> Result<(), StateError> {
        let Some(cold) = &self.cold else { return Ok(()) };
        for (revision, fingerprint) in cold.programs()? {
            let example = || cold.example(&revision, fingerprint).unwrap_or_else(|| revision.clone());
            let broken = |why: String| StateError::Broken { arn: example(), why };
            let target = self.revision_of(&revision).map_err(broken)?.1;
            let machine = target.runnable().map_err(|error| broken(error.message))?;
            let now = self.engine.fingerprint(machine).map_err(|error| broken(error.to_string()))?;
            if now != fingerprint {
                return Err(broken("the snapshot belongs to another program".to_owned()));
            }
        }
        Ok(())
    }
}
