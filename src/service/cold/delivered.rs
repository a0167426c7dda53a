//! Which [changes of status](crate::service::status_events) of executions in rows are still to be delivered. As long as
//! there are any, the file has that beside the row.

use std::collections::HashSet;

use super::Cold;
use crate::service::executions::{Execution, Run};
use crate::service::inner::Inner;
use crate::service::state_error::StateError;

impl Cold {
    /// How many changes of an execution that leaves memory were delivered, and how many there are, if more are to be.
    pub(super) fn undelivered(&self, id: u64, execution: &Execution, run: &Run) -> Option<(u32, u32)> {
        let inner = self.inner()?;
        let told = inner.executions.status_events_of(execution);
        let undelivered = told.and_then(|_| run.undelivered())?;
        self.queue().undelivered.insert(id, undelivered);
        Some(undelivered)
    }

    /// An execution is brought back: memory has from now on what was delivered.
    pub(super) fn takes_delivered_along(&self, id: u64, run: &mut Run) {
        let known = self.queue().undelivered.get(&id).copied();
        run.delivered = known.map_or_else(|| run.changes(), |(delivered, _)| delivered);
    }

    /// Changes were delivered; of executions in rows, that is written.
    pub(in crate::service) fn delivered(&self, delivered: impl IntoIterator<Item = (u64, u32)>) {
        let mut queue = self.queue();
        for (id, count) in delivered {
            let Some((known, changes)) = queue.undelivered.get_mut(&id) else { continue };
            *known = count.max(*known);
            if *known >= *changes {
                queue.undelivered.remove(&id);
            }
            queue.delivered.push((id, count));
            queue.came[1] += 1;
        }
    }

    /// How many changes of status were delivered by what the row of an execution has; `None` if there is no row.
    pub(in crate::service) fn delivered_of_row(&self, id: u64) -> Result<Option<u32>, StateError> {
        self.rows().map_or(Ok(None), |rows| rows.delivered(id))
    }
}

impl Inner {
    /// Queues the changes of status of executions in rows that an earlier process has not delivered. `known` are those
    /// that are in memory.
    pub(in crate::service) fn tell_missed_of_rows(
        &self,
        cold: &Cold,
        known: &HashSet<u64>,
    ) -> Result<(), StateError> {
        let (Some(rows), Some(_)) = (cold.rows(), &self.executions.status_events) else { return Ok(()) };
        for (id, delivered, changes) in rows.undelivered()? {
            if known.contains(&id) {
                continue;
            }
            let Some(row) = rows.row(id)? else { continue };
            cold.queue().undelivered.insert(id, (delivered, changes));
            let execution = self.view(&row).map_err(|error| StateError::Broken {
                arn: row.entry.arn.to_string(),
                why: error.message.clone(),
            })?;
            self.executions.tell_missed(&execution, Some(delivered));
        }
        Ok(())
    }
}
