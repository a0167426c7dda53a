//! The Map Runs that are in memory.

use std::sync::Arc;

use dashmap::DashMap;

use super::machine::{Revision, StateMachine};
use crate::runtime::MapRun;

/// Map Runs of executions in memory, since they began in this process, or were in the journal. The others are read from
/// their files when they are asked for.
#[derive(Default)]
pub(super) struct KeptMapRuns {
    pub(super) by_arn: DashMap<Box<str>, Kept>,
    pub(super) by_execution: DashMap<Box<str>, Vec<Arc<MapRun>>>,
}

#[derive(Clone)]
pub(super) struct Kept {
    pub(super) run: Arc<MapRun>,
    /// The version of its child executions, if they are kept.
    pub(super) target: Option<(Arc<StateMachine>, Arc<Revision>)>,
}

impl KeptMapRuns {
    /// An execution is no longer in memory, and its Map Runs are read from their files. Those whose end could not be written
    /// stay.
    pub(super) fn let_go(&self, execution_arn: &str) {
        let runs = self.remove(execution_arn);
        runs.iter().filter(|run| !run.is_filed()).for_each(|run| self.keep(run));
    }

    /// Removes those of an execution from memory, and returns them.
    pub(super) fn remove(&self, execution_arn: &str) -> Vec<Arc<MapRun>> {
        let runs = self.by_execution.remove(execution_arn).map_or_else(Vec::new, |(_, runs)| runs);
        for run in &runs {
            self.by_arn.remove(run.arn());
        }
        runs
    }

    /// Keeps a Map Run, in place of the one that an earlier process left.
    pub(super) fn keep(&self, run: &Arc<MapRun>) {
        self.by_arn.insert(run.arn().into(), Kept { run: Arc::clone(run), target: None });
        let mut runs = self.by_execution.entry(run.execution_arn().into()).or_default();
        match runs.iter_mut().find(|known| known.arn() == run.arn()) {
            Some(known) => *known = Arc::clone(run),
            None => runs.push(Arc::clone(run)),
        }
    }
}
