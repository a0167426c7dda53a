//! `GetExecutionHistory`.

use super::page::{Page, Part};
use super::{Error, Service};
use crate::observe::history::Event;

/// What an execution's history shows that its events do not know themselves.
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
    /// The events of an execution. Those that no longer fitted into memory are missing; the numbers of the others tell.
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
        // A token is good for its own execution.
        let list = format!("{list} {arn}");
        let (results_max, after) = inner.tokens.read(page, &list, now_ms)?;
        let after: Option<u64> = after.and_then(|id| id.parse().ok());
        let found: Vec<Event> = execution.history.read(|history| match newest_first {
            true => {
                let events = history.events().rev();
                let rest = events.skip_while(|event| after.is_some_and(|after| event.id >= after));
                rest.take(results_max + 1).cloned().collect()
            }
            false => {
                let rest = history.events().skip_while(|event| after.is_some_and(|after| event.id <= after));
                rest.take(results_max + 1).cloned().collect()
            }
        });
        let part =
            inner.tokens.part(found, results_max, &list, now_ms, |event| event.id.to_string(), |event| event);
        let labels = HistoryLabels {
            role_arn: execution.target.revision.settings.role_arn.to_string(),
            region: inner.settings.region.clone(),
            version_arn: execution.target.version_arn(),
            alias_arn: execution.target.alias_arn(),
        };
        Ok((part, labels))
    }
}
