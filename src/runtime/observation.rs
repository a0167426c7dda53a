//! Observation hooks, called when an execution starts, parks and ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::context::ExecutionBuffer;
use super::inbox::Shared;
use super::machine::Version;
use super::outcome::Status;
use super::shard::Shard;
use crate::engine::Outcome;
use crate::observe::{Beginning, Ending, ExecutionIdentity, LogBuffer, Observability, Over};

impl ExecutionBuffer {
    /// Asks the observer and the hub whether the execution that just began is watched, beside the watchers passed with
    /// the start.
    pub(super) fn observe(
        &mut self,
        shared: &Shared,
        log_buffer: &mut LogBuffer,
        version: &Version,
        trace_header: Option<&str>,
    ) {
        let beginning = Beginning {
            program: &version.program,
            identity: &self.execution.identity,
            seed: self.execution.seed(),
            now_ms: self.execution.started_ms(),
            trace_header,
        };
        if let Some((observability, counters)) = looked_at(shared, version) {
            log_buffer.begin(observability, counters, &beginning, &mut self.watch);
        }
        if let Some(observer) = &shared.observer
            && let Ok(Some(watcher)) = catch_unwind(AssertUnwindSafe(|| observer.watch(&beginning)))
        {
            self.watch.get_or_insert_default().join(watcher);
        }
    }

    /// The execution has to wait: what happened so far is logged.
    pub(super) fn tell_log(&mut self, shared: &Shared, log_buffer: &mut LogBuffer, version: &Version) {
        if let (Some(observability), Some(watch)) = (&shared.observability, &mut self.watch)
            && !watch.has_no_lines()
        {
            let start_identity =
                ExecutionIdentity { identity: &self.execution.identity, seed: self.execution.seed() };
            log_buffer.log(observability, watch, &version.program, &self.execution.arena, start_identity);
        }
    }

    /// The execution is over; `bug` when it has no outcome of its own. Watchers are notified before the waiters.
    pub(super) fn tell_end(
        &mut self,
        shared: &Shared,
        log_buffer: &mut LogBuffer,
        version: &Version,
        bug: impl FnOnce() -> Outcome,
        now_ms: u64,
    ) {
        let now_ms = self.execution.shown_ms(now_ms);
        self.tell_log(shared, log_buffer, version);
        if let Some(watch) = self.watch.as_mut().filter(|watch| !watch.is_ours()) {
            let bug = if self.execution.outcome().is_none() { Some(bug()) } else { None };
            if let Some(outcome) = self.execution.outcome().or(bug.as_ref()) {
                watch.ended(&self.execution.arena, outcome, now_ms);
            }
        }
    }

    /// The waiters were notified. The execution's history may be wanted, and takes the values along.
    pub(super) fn hand_over(
        &mut self,
        shared: &Shared,
        log_buffer: &mut LogBuffer,
        version: &Version,
        bug: impl FnOnce() -> Outcome,
        now_ms: u64,
    ) {
        let now_ms = self.execution.shown_ms(now_ms);
        let Some(watch) = self.watch.take() else { return };
        let Some((observability, counters)) = looked_at(shared, version) else { return };
        let ending = self.execution.outcome().map_or_else(|| Ending::of(&bug()), Ending::of);
        let (seed, started_ms) = (self.execution.seed(), self.execution.started_ms());
        let start_identity = ExecutionIdentity { identity: &self.execution.identity, seed };
        let over = Over { ending, started_ms, now_ms };
        log_buffer.end(observability, watch, counters, start_identity, &mut self.execution.arena, over);
    }
}

impl Shard {
    /// Hands over what was written in this turn, and publishes the shard's gauges.
    pub(super) fn show(&mut self) {
        let Some(observability) = &self.shared.observability else { return };
        self.log_buffer.flush(observability);
        if observability.counts {
            let gauges = &self.remote.gauges;
            gauges.residents.store(self.executions() as u64, Relaxed);
            gauges.tasks.store(self.tasks() as u64, Relaxed);
            gauges.timers.store(self.timers() as u64, Relaxed);
            gauges.buffers.store(self.worker_scratch.buffers() as u64, Relaxed);
            gauges.held.store(self.held() as u64, Relaxed);
        }
    }
}

/// Whether an execution of this version may have watchers beside those passed with the start.
pub(super) fn may_be_watched(shared: &Shared, version: &Version, trace_header: Option<&str>) -> bool {
    shared.observer.is_some()
        || looked_at(shared, version)
            .is_some_and(|(observability, counters)| observability.may_watch(counters, trace_header))
}

/// What records executions of this version, if anything does.
pub(super) fn looked_at<'s>(
    shared: &'s Shared,
    version: &'s Version,
) -> Option<(&'s Observability, &'s Arc<crate::observe::VersionCounters>)> {
    shared.observability.as_deref().zip(version.counters.as_ref())
}

/// The counted ending of a status.
pub(super) fn ending(status: Status) -> Option<Ending> {
    match status {
        Status::Running => None,
        Status::Succeeded => Some(Ending::Succeeded),
        Status::Failed => Some(Ending::Failed),
        Status::TimedOut => Some(Ending::TimedOut),
        Status::Aborted => Some(Ending::Aborted),
    }
}
