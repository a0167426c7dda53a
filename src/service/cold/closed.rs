//! Moves executions that are over out of memory, oldest first, while there are more than may stay. A row is written
//! before the execution is removed, so lookups always find one of the two. Rows are deleted when their retention period
//! is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::rows::Row;
use super::{Cold, row};
use crate::limits;
use crate::runtime::{Outcome, RecoveredExecution};
use crate::service::executions::Execution;
use crate::service::inner::Inner;
use crate::service::state_error::StateError;

impl Cold {
    /// Writes rows of executions that are over and removes these from memory. Returns whether any was removed.
    pub(super) fn write_closed(&self, inner: &Inner, resident_max: usize) -> Result<bool, StateError> {
        let now_ms = inner.now_ms();
        inner.executions.expire(now_ms);
        if self.queue().is_short {
            return Ok(false);
        }
        let oldest = inner.executions.closed_to_leave(resident_max, now_ms);
        if oldest.is_empty() || !self.is_noted.load(Ordering::Relaxed) && !self.begin_rows(inner)? {
            return Ok(false);
        }
        let (mut leaving, mut written) = (Vec::with_capacity(oldest.len()), Vec::with_capacity(oldest.len()));
        for execution in oldest {
            if let Some((outcome, row)) = self.closed_row(inner, &execution) {
                written.push(Arc::new(row));
                leaving.push((execution, outcome));
            }
        }
        // A row is never newer than the journal.
        inner.engine.sync_recorded();
        let rows = self.rows().ok_or_else(|| StateError::Database("it is not open".to_owned()))?;
        rows.write(&written, (&[], &[]), inner.engine.steady_ms().0)?;
        let mut is_any = false;
        for ((execution, outcome), row) in leaving.iter().zip(&written) {
            is_any |= inner.executions.let_go(execution, outcome, || inner.engine.has_left(row.id));
        }
        Ok(is_any)
    }

    /// When the journal had many executions that are over, their rows are written before anything else happens: the
    /// next start does not read them, even if this process ends at once.
    pub(in crate::service) fn begin_with_few_closed(&self, inner: &Inner) -> Result<(), StateError> {
        self.look_for_room();
        if inner.executions.closed_in_memory() > limits::DURABLE_RECOVERED_OVER_MAX {
            while self.write_closed(inner, 0)? {}
        }
        Ok(())
    }

    /// Forgets a batch of executions whose retention period is over. Returns whether there may be more.
    pub(super) fn forget_expired(&self, inner: &Inner) -> bool {
        let (Some(rows), from) = (self.rows(), self.queue().expired) else { return false };
        let Some(to_ms) = inner.now_ms().checked_sub(inner.settings.retention_ms) else { return false };
        let ended = rows.ended(from, to_ms, limits::DURABLE_COLD_BATCH);
        let looked = ended.and_then(|ended| {
            for (_, id) in &ended {
                let row = rows.row(*id)?.filter(|row| !self.queue().gone.contains(&row.id));
                if let Some(row) = row {
                    let execution = inner.view(&row).map_err(|error| StateError::Broken {
                        arn: row.entry.arn.to_string(),
                        why: error.message,
                    })?;
                    inner.executions.forget_cold(&execution, row.id);
                }
            }
            Ok(ended)
        });
        let ended = looked.unwrap_or_else(|error| {
            tracing::error!(%error, "executions whose time is over cannot be read");
            Vec::new()
        });
        let is_more = ended.len() == limits::DURABLE_COLD_BATCH;
        let last = ended.last().filter(|_| is_more);
        // Start from the first again: a redriven execution is not over now, and may end once more.
        self.queue().expired = last.map_or((0, 0), |&(ended_ms, id)| (ended_ms, id + 1));
        is_more
    }

    /// The outcome and the row of an execution that is over; `None` if it is in use.
    fn closed_row(&self, inner: &Inner, execution: &Execution) -> Option<(Arc<Outcome>, Row)> {
        // Holding the lock prevents a redrive meanwhile.
        let run = execution.try_run()?;
        let outcome = Arc::clone(run.outcome.as_ref()?);
        let mut recovered: RecoveredExecution = inner.engine.closed_execution(execution.recorded?)?;
        (recovered.name, recovered.arn) = (execution.name.clone(), execution.arn.clone());
        recovered.trace_header = execution.trace_header.clone();
        let mut row = row(execution, &run, recovered);
        row.undelivered = self.undelivered(row.id, execution, &run);
        Some((outcome, row))
    }
}
