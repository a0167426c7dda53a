//! Executions that are over: kept in memory for their retention period while there is room; durable ones then move to
//! disk.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::mapref::entry::Entry;

use super::{Execution, Executions};
use crate::limits;
use crate::runtime::Outcome;
use crate::service::closed::Closed;

impl Executions {
    /// The list of closed executions that this execution belongs to.
    fn closed_with(&self, execution: &Execution) -> MutexGuard<'_, Closed<Execution>> {
        let [staying, leaving] = &self.closed;
        let leaves = self.cold.is_some() && execution.recorded.is_some();
        lock(if leaves { leaving } else { staying })
    }

    /// Updates the cached totals after a change to the list.
    fn closed_changed(&self, execution: &Execution, closed: &Closed<Execution>) {
        self.expires_ms.fetch_min(closed.expires_ms(), Ordering::Relaxed);
        if self.cold.is_some() && execution.recorded.is_some() {
            self.leaving_bytes.store(closed.bytes(), Ordering::Relaxed);
        }
    }

    /// Keeps an execution that is over. Returns the executions to [forget](Executions::forget) for lack of room; the
    /// caller must hold no lock of an execution when it does so.
    #[must_use]
    pub(in crate::service) fn keep_closed(
        &self,
        execution: &Arc<Execution>,
        outcome: &Outcome,
    ) -> Vec<Arc<Execution>> {
        if !self.by_arn.get(&execution.arn).is_some_and(|kept| Arc::ptr_eq(&kept, execution)) {
            // It was forgotten while it ran.
            return Vec::new();
        }
        self.keep_over(execution, outcome)
    }

    /// Like `keep_closed`, for an execution that cannot have been forgotten.
    #[must_use]
    pub(in crate::service) fn keep_over(
        &self,
        execution: &Arc<Execution>,
        outcome: &Outcome,
    ) -> Vec<Arc<Execution>> {
        let (rank, bytes) = ((outcome.stopped_ms, execution.number), execution.bytes(outcome));
        let mut closed = self.closed_with(execution);
        let forgotten = closed.keep(rank, execution, bytes);
        self.closed_changed(execution, &closed);
        forgotten
    }

    /// Removes an execution that continues (a redrive). Returns whether it was still kept.
    pub(in crate::service) fn take_closed(&self, execution: &Execution, outcome: &Outcome) -> bool {
        let mut closed = self.closed_with(execution);
        let was_kept = closed.take((outcome.stopped_ms, execution.number));
        self.closed_changed(execution, &closed);
        was_kept
    }

    /// How many that are over and may leave memory are in it.
    pub(in crate::service) fn closed_in_memory(&self) -> usize {
        lock(&self.closed[1]).len()
    }

    /// The executions that ended first and may leave memory, while there are more than `resident_max` or they take more
    /// than half of their budget.
    pub(in crate::service) fn closed_to_leave(
        &self,
        resident_max: usize,
        now_ms: u64,
    ) -> Vec<Arc<Execution>> {
        let kept = (resident_max, self.bytes_max / 2);
        let batch = (limits::DURABLE_COLD_BATCH, limits::DURABLE_COLD_BATCH_BYTES);
        lock(&self.closed[1]).oldest_above(kept, batch, |execution| {
            // A locked execution is being read, or is ending at this moment.
            execution.try_run().is_some_and(|run| run.outcome.is_some() && !run.redrives.has_tokens(now_ms))
        })
    }

    /// Removes an execution that is over from memory, if its row has this outcome and it is not in use. `left` is
    /// called while lookups of it are blocked. Returns whether it was removed.
    pub(in crate::service) fn let_go(
        &self,
        execution: &Arc<Execution>,
        outcome: &Arc<Outcome>,
        left: impl FnOnce(),
    ) -> bool {
        let removed = self.by_arn.remove_if(&execution.arn, |_, kept| {
            // The references: the two maps, the list of closed executions and the caller.
            let is_free = Arc::ptr_eq(kept, execution) && Arc::strong_count(execution) <= 4;
            let is_same = execution.try_run().is_some_and(|run| {
                run.outcome.as_ref().is_some_and(|it| Arc::ptr_eq(it, outcome)) && run.is_unwatched()
            });
            let goes = is_free && is_same && self.take_closed(execution, outcome);
            if goes {
                self.map_runs.let_go(&execution.arn);
                left();
            }
            goes
        });
        if removed.is_some() {
            self.unlist(execution);
        }
        removed.is_some()
    }

    /// Forgets an execution that is over and not in memory, of which this is a view. Returns `false` if it is in memory.
    pub(in crate::service) fn forget_cold(&self, execution: &Execution, recorded: u64) -> bool {
        // While this entry is locked, the execution cannot be brought back, and no other can start under its name.
        let place = self.by_arn.entry(execution.arn.clone());
        if matches!(&place, Entry::Occupied(found) if found.get().recorded == Some(recorded)) {
            return false;
        }
        if let Some(engine) = &self.engine {
            engine.forget_recorded(recorded);
        }
        // If another execution has this name now, the Map Runs in memory are that execution's; its own are on disk.
        let begun = execution.map_runs_begun();
        begun.iter().for_each(|arn| self.engine.iter().for_each(|engine| engine.forget_map_run(arn)));
        drop(place);
        true
    }

    /// Forgets the executions whose retention period is over.
    pub(in crate::service) fn expire(&self, now_ms: u64) {
        if now_ms < self.expires_ms.load(Ordering::Relaxed) {
            return;
        }
        let mut closed = self.closed.each_ref().map(lock);
        let expired = closed.each_mut().map(|closed| closed.expired(now_ms));
        let expires_ms = closed.each_ref().map(|closed| closed.expires_ms());
        self.expires_ms.store(expires_ms.into_iter().min().unwrap_or(u64::MAX), Ordering::Relaxed);
        self.leaving_bytes.store(closed[1].bytes(), Ordering::Relaxed);
        drop(closed);
        expired.into_iter().for_each(|expired| self.forget(expired));
    }

    pub(in crate::service) fn forget(&self, forgotten: Vec<Arc<Execution>>) {
        for oldest in forgotten {
            // First, so that its row can no longer be found.
            if let (Some(recorded), Some(engine)) = (oldest.recorded, &self.engine) {
                engine.forget_recorded(recorded);
            }
            self.by_arn.remove(&*oldest.arn);
            self.unlist(&oldest);
            self.forget_map_runs(&oldest);
        }
    }

    /// Forgets all that are over.
    pub(super) fn forget_closed(&self) {
        self.closed.iter().for_each(|closed| lock(closed).clear());
    }

    /// Forgets the Map Runs of an execution that is forgotten.
    pub(super) fn forget_map_runs(&self, execution: &Execution) {
        let runs = self.map_runs.remove(&execution.arn);
        if let Some(engine) = &self.engine {
            let begun = execution.map_runs_begun();
            let all = runs.iter().map(|run| run.arn()).chain(begun.iter().map(|arn| &**arn));
            all.for_each(|arn| engine.forget_map_run(arn));
        }
    }
}

fn lock(closed: &Mutex<Closed<Execution>>) -> MutexGuard<'_, Closed<Execution>> {
    // It is consistent between any two statements.
    closed.lock().unwrap_or_else(PoisonError::into_inner)
}
