//! `GetExecutionHistory`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::page::{Page, Part};
use super::{Error, Service};
use crate::engine::{Listener, Outcome, Record};
use crate::json::Arena;
use crate::observe::history::Event;
use crate::observe::{LiveHistory, Spill, Watcher};
use crate::program::Program;

/// Records the history of a running execution, and counts its bytes among those of all.
pub(super) struct Recorder {
    history: LiveHistory,
    writer: Box<dyn Watcher>,
    bytes: usize,
    of_all: Arc<AtomicUsize>,
    /// Of the execution, without its history.
    execution_bytes: usize,
}

impl Recorder {
    /// For an execution that takes so many bytes without its history.
    pub(super) fn new(
        history: &LiveHistory,
        of_all: &Arc<AtomicUsize>,
        execution_bytes: usize,
        is_durable: bool,
    ) -> Recorder {
        let (history, of_all) = (history.clone(), Arc::clone(of_all));
        let writer = if is_durable { history.durable_watcher() } else { history.watcher() };
        Recorder { writer, history, bytes: 0, of_all, execution_bytes }
    }

    fn count(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes >= before {
            self.of_all.fetch_add(bytes - before, Ordering::Relaxed)
        } else {
            self.of_all.fetch_sub(before - bytes, Ordering::Relaxed)
        };
    }
}

impl Listener for Recorder {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        self.writer.record(program, arena, record);
        self.count(self.history.bytes());
    }
}

impl Watcher for Recorder {
    fn kept_bytes(&self) -> usize {
        self.execution_bytes
    }

    fn unrecorded(&mut self, out: &mut Vec<u8>) {
        self.writer.unrecorded(out);
    }

    fn parked(&mut self, spill: &dyn Spill) {
        self.writer.parked(spill);
        self.count(self.history.bytes());
    }

    fn ended(&mut self, _: &Arena, _: &Outcome, _: u64) {
        // From here on it counts among those that are closed.
        self.count(0);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.count(0);
    }
}

/// What an execution's history shows beside its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryLabels {
    /// `roleArn` of the first event.
    pub role_arn: String,
    /// `region` of tasks.
    pub region: String,
    /// `stateMachineVersionArn` of the first event.
    pub version_arn: Option<String>,
    /// `stateMachineAliasArn` of the first event.
    pub alias_arn: Option<String>,
}

impl Service {
    /// The events of an execution. Events that no longer fitted into memory are missing, which shows in the numbers of
    /// the others.
    ///
    /// # Errors
    /// `InvalidArn`, `ExecutionDoesNotExist`, `InvalidToken`.
    pub fn get_execution_history(
        &self,
        arn: &str,
        newest_first: bool,
        page: &Page,
    ) -> Result<(Part<Event>, HistoryLabels), Error> {
        let list = if newest_first { "GetExecutionHistory reversed" } else { "GetExecutionHistory" };
        let inner = &*self.inner;
        let execution = inner.execution(arn)?;
        let now_ms = inner.now_ms();
        // A token is valid for its own execution.
        let list = format!("{list} {arn}");
        let (results_max, after) = inner.tokens.read(page, &list, now_ms)?;
        let after: Option<u64> = after.and_then(|id| id.parse().ok());
        let found: Vec<Event> = execution.history.read(|history| {
            if newest_first {
                let all = history.events().len();
                let newer = after.map_or(0, |after| all - history.count_to(after.saturating_sub(1)));
                let rest = history.events().rev().skip(newer);
                rest.take(results_max + 1).cloned().collect()
            } else {
                let rest = history.events().skip(after.map_or(0, |after| history.count_to(after)));
                rest.take(results_max + 1).cloned().collect()
            }
        });
        let part =
            inner.tokens.part(found, results_max, &list, now_ms, |event| event.id.to_string(), |event| event);
        let labels = HistoryLabels {
            role_arn: execution.target.revision.settings.role_arn.to_string(),
            region: self.region().to_owned(),
            version_arn: execution.target.version_arn(),
            alias_arn: execution.target.alias_arn(),
        };
        Ok((part, labels))
    }

    /// The events of an execution with these numbers, as far as they are kept.
    ///
    /// # Errors
    /// `InvalidArn`, `ExecutionDoesNotExist`.
    #[cfg(feature = "console")]
    pub(crate) fn events(&self, arn: &str, ids: &[u64]) -> Result<Vec<Event>, Error> {
        let execution = self.inner.execution(arn)?;
        Ok(execution
            .history
            .read(|history| ids.iter().filter_map(|&id| history.event(id).cloned()).collect()))
    }
}
