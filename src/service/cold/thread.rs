//! The thread that writes rows, and brings back executions that are due soon.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use super::rows::{Row, Rows};
use super::{Cold, Queue};
use crate::fatal;
use crate::journal::{Disk, Folder, SyncMode};
use crate::limits;
use crate::service::inner::Inner;
use crate::service::state_error::StateError;

impl Cold {
    /// Starts the thread; it ends with the service.
    pub(in crate::service) fn begin(self: &Arc<Cold>, inner: &Arc<Inner>) -> std::io::Result<()> {
        let (cold, inner) = (Arc::clone(self), Arc::downgrade(inner));
        self.queue().is_tended = true;
        let thread = std::thread::Builder::new().name("expressway-cold".to_owned());
        thread.spawn(move || cold.tend(&inner)).map(drop)
    }

    fn tend(&self, inner: &Weak<Inner>) {
        let _over = Over(self);
        let mut is_behind = false;
        loop {
            let Some(pause_ms) = inner.upgrade().map(|inner| inner.engine.resident_bounds().1 / 4) else {
                return;
            };
            let pause_ms = if is_behind { 0 } else { pause_ms.clamp(10, limits::DURABLE_COLD_LOOK_MS) };
            let has_work = self.wait_for_work(Duration::from_millis(pause_ms));
            let Some(inner) = inner.upgrade() else { return };
            self.look_for_room();
            match self.write_some(&inner) {
                _ if !has_work => {}
                Ok(late) => late.iter().for_each(|arn| back(&inner, arn)),
                Err(error) => fail(&error),
            }
            is_behind = self.sweep(&inner);
            match self.write_closed(&inner, inner.engine.resident_max()) {
                Ok(is_more) => is_behind |= is_more,
                Err(error) => fail(&error),
            }
            is_behind |= self.forget_expired(&inner);
        }
    }

    /// Waits until there are enough rows to write, or for this time. Returns whether there are any.
    fn wait_for_work(&self, pause: Duration) -> bool {
        let is_idle = |queue: &mut Queue| {
            queue.is_tended && !queue.is_asked && queue.order.len() < limits::DURABLE_COLD_BATCH / 2
        };
        let waited = self.work.wait_timeout_while(self.queue(), pause, is_idle);
        let queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        let is_more = !queue.forgotten.is_empty() || !queue.delivered.is_empty();
        queue.is_asked || !queue.order.is_empty() || is_more
    }

    /// No more executions are taken while the disk is nearly full.
    pub(super) fn look_for_room(&self) {
        if let Some(folder) = self.path.parent() {
            let free = Folder::at(folder, SyncMode::Data).free_bytes();
            self.queue().is_short = free.is_ok_and(|bytes| bytes < limits::DURABLE_COLD_FREE_BYTES_MIN);
        }
    }

    /// Writes taken and forgotten executions, in one transaction. Returns the ARNs of those that became due meanwhile.
    fn write_some(&self, inner: &Inner) -> Result<Vec<Box<str>>, StateError> {
        let (taken, forgotten, delivered) = {
            let mut queue = self.queue();
            queue.is_asked = false;
            let batch = queue.order.len().min(limits::DURABLE_COLD_BATCH);
            let taken: Vec<Arc<Row>> = queue.order.iter().take(batch).map(Arc::clone).collect();
            // The row of a forgotten execution comes before that in the order, or does not exist.
            let is_all = batch == queue.order.len();
            let (forgotten, delivered): (Vec<u64>, _) = if is_all {
                (queue.forgotten.drain(..).collect(), std::mem::take(&mut queue.delivered))
            } else {
                Default::default()
            };
            (taken, forgotten, delivered)
        };
        // A row is never newer than the journal.
        inner.engine.sync_recorded();
        let is_current =
            |row: &&Arc<Row>| self.queue().by_arn.get(&row.entry.arn).is_some_and(|it| Arc::ptr_eq(it, row));
        let current: Vec<Arc<Row>> = taken.iter().filter(is_current).map(Arc::clone).collect();
        if !self.is_noted.load(Ordering::Relaxed) && !current.is_empty() && !self.begin_rows(inner)? {
            let mut queue = self.queue();
            queue.forgotten.extend(forgotten);
            queue.delivered.extend(delivered);
            drop(queue);
            self.written.notify_all();
            return Ok(Vec::new());
        }
        if !current.is_empty() || !forgotten.is_empty() || !delivered.is_empty() {
            let now_ms = inner.engine.steady_ms().0;
            let rows = self.rows.get().ok_or_else(|| StateError::Database("it is not open".to_owned()))?;
            rows.write(&current, (&forgotten, &delivered), now_ms)?;
        }
        let mut queue = self.queue();
        queue.order.drain(..taken.len());
        let mut late = Vec::new();
        for row in current {
            if queue.by_arn.get(&row.entry.arn).is_some_and(|it| Arc::ptr_eq(it, &row)) {
                queue.by_arn.remove(&row.entry.arn);
                row.entry.tokens.iter().for_each(|token| drop(queue.by_token.remove(token)));
                inner.engine.has_left(row.id);
                if (row.entry.due_ms, row.id) < queue.swept {
                    late.push(row.entry.arn.clone());
                }
            }
        }
        for id in &forgotten {
            queue.gone.remove(id);
        }
        queue.done[0] += taken.len() as u64;
        queue.done[1] += (forgotten.len() + delivered.len()) as u64;
        drop(queue);
        self.written.notify_all();
        Ok(late)
    }

    /// Creates the file, if it does not exist, and has the journal note it before anything is written to it, because
    /// the process may end between the two. Returns whether the journal noted it.
    pub(super) fn begin_rows(&self, inner: &Inner) -> Result<bool, StateError> {
        let rows = match self.rows.get() {
            Some(rows) => rows,
            // Only this thread creates it.
            None => {
                let rows = Rows::open(&self.path, true)?;
                self.rows.get_or_init(|| rows)
            }
        };
        let identity = rows.meta()?[4];
        if let Err(error) = inner.engine.note_cold(identity) {
            tracing::debug!(%error, "executions that wait stay in memory");
            return Ok(false);
        }
        inner.engine.sync_recorded();
        self.is_noted.store(true, Ordering::Relaxed);
        Ok(true)
    }

    /// Brings back executions that are due soon. Returns whether there are more.
    fn sweep(&self, inner: &Arc<Inner>) -> bool {
        let (steady_ms, ahead_ms) = inner.engine.steady_ms();
        let (from, set_ms) = {
            let mut queue = self.queue();
            // Those that wait for a time of day are due earlier, if the wall clock was set ahead since they left.
            queue.ahead_ms_min = queue.ahead_ms_min.min(ahead_ms);
            (queue.swept, ahead_ms.abs_diff(queue.ahead_ms_min))
        };
        let to_ms = steady_ms.saturating_add(inner.engine.resident_bounds().1 / 2).saturating_add(set_ms);
        let Some(rows) = self.rows.get() else { return false };
        let due = match rows.due(from, to_ms, limits::DURABLE_COLD_BATCH) {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, "executions that are due cannot be read");
                return false;
            }
        };
        let mut seen = HashSet::new();
        for &(due_ms, id) in &due {
            let found = rows.row(id).map(|row| row.filter(|_| seen.insert(id)));
            match found {
                Ok(Some(row)) if row.entry.due_ms == due_ms => back(inner, &row.entry.arn),
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "an execution that is due cannot be read"),
            }
        }
        let mut queue = self.queue();
        let is_more = due.len() == limits::DURABLE_COLD_BATCH;
        queue.swept = match due.last() {
            Some(&(due_ms, id)) if is_more => (due_ms, id + 1),
            _ => (to_ms.saturating_add(1), 0),
        };
        is_more
    }
}

/// Ends the process, because the contents of the file are unknown. The journal has everything that the file lacks.
fn fail(error: &StateError) -> ! {
    fatal::end_process(&format_args!("executions that are not in memory cannot be written: {error}"))
}

fn back(inner: &Arc<Inner>, arn: &str) {
    if let Err(error) = inner.bring_back(arn) {
        tracing::error!(arn, error = %error.message, "an execution that is due does not come back");
    }
}

/// Callers that wait for the thread are released when it ends.
struct Over<'c>(&'c Cold);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
