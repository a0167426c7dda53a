//! Executions that are over: they stay for a time, in memory as long as there is room, and then elsewhere if they are durable.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::mapref::entry::Entry;

use super::{Closed, Execution, Executions};
use crate::limits;
use crate::runtime::Outcome;

impl Executions {
    /// Those that are over and kept as this one is.
    fn closed_with(&self, execution: &Execution) -> MutexGuard<'_, Closed> {
        let [staying, leaving] = &self.closed;
        let leaves = self.cold.is_some() && execution.recorded.is_some();
        lock(if leaves { leaving } else { staying })
    }

    /// They changed.
    fn closed_changed(&self, execution: &Execution, closed: &Closed) {
        self.expires_ms.fetch_min(closed.expires_ms(), Ordering::Relaxed);
        if self.cold.is_some() && execution.recorded.is_some() {
            self.leaving_bytes.store(closed.bytes(), Ordering::Relaxed);
        }
    }

    /// Keeps an execution that is over. Gives those that are to be [forgotten](Executions::forget) for want of room, for
    /// which no lock of an execution may be held.
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

    /// The same, of one that nobody can have forgotten.
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

    /// Takes out one that goes on. Whether it was kept still.
    pub(in crate::service) fn take_closed(&self, execution: &Execution, outcome: &Outcome) -> bool {
        let mut closed = self.closed_with(execution);
        let was_kept = closed.take((outcome.stopped_ms, execution.number));
        self.closed_changed(execution, &closed);
        was_kept
    }

    /// Those that ended first of those that may leave memory, while more are in it than `resident_max`, or take more than
    /// half of what they may take.
    pub(in crate::service) fn closed_to_leave(
        &self,
        resident_max: usize,
        now_ms: u64,
    ) -> Vec<Arc<Execution>> {
        let kept = (resident_max, self.bytes_max / 2);
        let batch = (limits::DURABLE_COLD_BATCH, limits::DURABLE_COLD_BATCH_BYTES);
        lock(&self.closed[1]).oldest_above(kept, batch, |execution| {
            // Whoever holds it looks at it, or ends it at this moment.
            execution.try_run().is_some_and(|run| run.outcome.is_some() && !run.redrives.has_tokens(now_ms))
        })
    }

    /// Lets an execution leave memory that is over, of which there is a row with this outcome, unless somebody has it
    /// in hand. `left` is called while nobody can look for it. Whether it left.
    pub(in crate::service) fn let_go(
        &self,
        execution: &Arc<Execution>,
        outcome: &Arc<Outcome>,
        left: impl FnOnce(),
    ) -> bool {
        let removed = self.by_arn.remove_if(&execution.arn, |_, kept| {
            // The two maps have it, those that are over, and whoever calls this.
            let is_free = Arc::ptr_eq(kept, execution) && Arc::strong_count(execution) <= 4;
            let is_same = execution.try_run().is_some_and(|run| {
                run.outcome.as_ref().is_some_and(|it| Arc::ptr_eq(it, outcome)) && run.is_unwatched()
            });
            let goes = is_free && is_same && self.take_closed(execution, outcome);
            if goes {
                left();
            }
            goes
        });
        if removed.is_some() {
            self.unlist(execution);
        }
        removed.is_some()
    }

    /// Forgets an execution that is over and not in memory. Whether it is not.
    pub(in crate::service) fn forget_cold(&self, arn: &str, recorded: u64) -> bool {
        // Nobody brings it back meanwhile, or starts one of its name.
        let place = self.by_arn.entry(arn.into());
        if matches!(&place, Entry::Occupied(found) if found.get().recorded == Some(recorded)) {
            return false;
        }
        if let Some(engine) = &self.engine {
            engine.forget_recorded(recorded);
        }
        // Those of another execution of this name are not of this one.
        if matches!(place, Entry::Vacant(_)) {
            self.map_runs.forget(arn, self.engine.as_ref());
        }
        true
    }

    /// Forgets those that ended so long ago that nobody may ask for them any more.
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
            // First, so that nobody finds a row of it.
            if let (Some(recorded), Some(engine)) = (oldest.recorded, &self.engine) {
                engine.forget_recorded(recorded);
            }
            self.by_arn.remove(&*oldest.arn);
            self.unlist(&oldest);
            self.map_runs.forget(&oldest.arn, self.engine.as_ref());
        }
    }
}

pub(super) fn lock(closed: &Mutex<Closed>) -> MutexGuard<'_, Closed> {
    // It is whole between any two statements.
    closed.lock().unwrap_or_else(PoisonError::into_inner)
}
