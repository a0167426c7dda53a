//! Redrive: an execution that failed, was aborted or timed out continues where it stopped (developer guide, "Restarting
//! state machine executions with redrive").
//!
//! Its state is kept when it ends, or, when branches are stopped on the way to that end, just before the first of them
//! is. States that were entered and not exited are run again, with the same input and without another event of their
//! entry; branches and iterations that succeeded keep their results.

use super::execution::{Execution, Phase, Redrives, Stopped};
use super::pack::{Reader, Writer};
use super::record::EventKind;
use super::run::Run;
use super::snapshot::TooDeep;
use crate::json::Value;
use crate::program::Program;

impl Execution {
    /// Keeps the point where it stopped, unless that is kept already or it cannot be redriven.
    pub(super) fn keep_stopped(&mut self) {
        if !self.identity.is_redrivable || self.stopped.is_some() {
            return;
        }
        self.stopped = Some(Box::new(Stopped {
            frames: self.frames.clone(),
            frames_free: self.frames_free.clone(),
            joins: self.joins.clone(),
            joins_free: self.joins_free.clone(),
        }));
    }

    /// How often it was redriven.
    pub fn redrives(&self) -> Redrives {
        self.redrives
    }

    /// Appends what [`redrive`](Execution::redrive) needs of an execution that is over and may be redriven: a
    /// [snapshot](Execution::snapshot) of its state when it stopped. Whether there is one. Afterwards, only its outcome
    /// is valid.
    ///
    /// # Errors
    /// When a value is nested deeper than JSON is read; then `out` is unchanged.
    pub fn stopped_snapshot(&mut self, fingerprint: u64, out: &mut Vec<u8>) -> Result<bool, TooDeep> {
        let Some(stopped) = self.stopped.take() else { return Ok(false) };
        let outcome = self.outcome.take();
        let Stopped { frames, frames_free, joins, joins_free } = *stopped;
        (self.frames, self.frames_free) = (frames, frames_free);
        (self.joins, self.joins_free) = (joins, joins_free);
        self.clear_ready();
        self.do_again();
        let written = self.snapshot(fingerprint, out);
        self.outcome = outcome;
        written.map(|()| true)
    }

    /// Marks states that were not exited to be run again, as if for the first time.
    fn do_again(&mut self) {
        for n in 0..self.frames.len() {
            let frame = &mut self.frames[n];
            frame.queued = 0;
            let phase = frame.phase;
            if phase == Phase::Free {
                continue;
            }
            frame.retries = 0;
            frame.attempts.clear();
            match phase {
                // It was not entered yet.
                Phase::Enter => continue,
                Phase::Joining(join) if self.has_children(join, n as u32) => continue,
                Phase::Joining(join) if !self.joins_free.contains(&join) => self.free_join(join),
                _ => {}
            }
            let frame = &mut self.frames[n];
            frame.phase = Phase::Again;
            // Recorded: the next event follows the event of the state's entry.
            frame.last_event = frame.entered_event;
            frame.effective = Value::UNDEFINED;
            // The request of a Map Run stays: what did not succeed of it is done again.
            if !frame.credentials.is_array() {
                frame.credentials = Value::UNDEFINED;
            }
            (frame.timeout_at_ms, frame.due_at_ms, frame.heartbeat_ms, frame.timeout_ms) = (0, 0, 0, 0);
            (frame.heartbeat_missed, frame.is_begun) = (false, false);
        }
    }

    /// Whether the frame waits for children that are to be run again. A join without any failed as a whole.
    fn has_children(&self, join: u32, frame: u32) -> bool {
        let row = &self.joins[join as usize];
        !self.joins_free.contains(&join) && row.frame == frame && row.running > 0
    }

    /// Lets an execution that was [restored](Execution::restore) from a
    /// [`stopped_snapshot`](Execution::stopped_snapshot) continue with the next [`Event::Go`](super::Event::Go). Its
    /// timeout begins anew, but it ends `open_ms_max` after its start at the latest.
    pub fn redrive(&mut self, program: &Program, now_ms: u64, open_ms_max: u64) {
        let seconds = program.timeout_seconds.unwrap_or(u64::MAX);
        let allowed_ms = self.scaled(seconds.saturating_mul(1_000));
        let last_ms = self.started_ms.saturating_add(self.scaled(open_ms_max));
        self.deadline_ms = now_ms.saturating_add(allowed_ms).min(last_ms);
        let count = self.redrives.count.saturating_add(1);
        self.redrives = Redrives { count, last_ms: self.shown_ms(now_ms), is_untold: true };
        for n in 0..self.frames.len() as u32 {
            if matches!(self.frames[n as usize].phase, Phase::Enter | Phase::Again) {
                self.enqueue(n);
            }
        }
    }

    /// Writes the redrives, if there were any.
    pub(super) fn write_redrives(&self, writer: &mut Writer<'_>) {
        let Redrives { count, last_ms, is_untold } = self.redrives;
        if count > 0 {
            writer.number(u64::from(count));
            writer.number(last_ms);
            writer.number(u64::from(is_untold));
        }
    }

    /// Reads what [`write_redrives`](Execution::write_redrives) wrote behind everything else.
    pub(super) fn read_redrives(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        if reader.rest.is_empty() {
            return Some(());
        }
        let (count, last_ms) = (reader.small()?, reader.number()?);
        self.redrives = Redrives { count, last_ms, is_untold: reader.number()? == 1 };
        Some(())
    }
}

impl Run<'_, '_> {
    /// Records the last redrive, if that was not done yet.
    pub(super) fn tell_redriven(&mut self) {
        if !std::mem::take(&mut self.execution.redrives.is_untold) {
            return;
        }
        // A redrive counts as a transition.
        self.execution.transitions += 1;
        let (last, count) = (self.execution.events, self.execution.redrives.count);
        self.emit(last, EventKind::ExecutionRedriven { count });
    }

    /// A failure was caught, is retried or tolerated: the execution continues, and the kept state is dropped.
    pub(super) fn goes_on(&mut self) {
        self.execution.stopped = None;
    }
}
