//! Lists of executions.

use std::sync::Arc;

use super::{Execution, ExecutionItem, Executions, ListExecutions, Rank};
use crate::runtime::Status;
use crate::service::page::Part;
use crate::service::{Error, Service};

/// Executions of a list that are looked at while nobody adds any.
const LISTED_AT_ONCE: usize = 4 * 1_024;

impl Executions {
    /// Up to `max` executions of a machine that stand behind `after` in its list and pass the filter, newest first.
    fn listed(
        &self,
        machine: &str,
        after: Option<Rank>,
        max: usize,
        filter: impl Fn(&Execution) -> bool,
    ) -> Vec<(Rank, Arc<Execution>)> {
        let mut listed: Vec<(Rank, Arc<Execution>)> = Vec::new();
        let (mut before, newest_first) = (u64::MAX, |&(rank, _): &(Rank, _)| std::cmp::Reverse(rank));
        loop {
            // Some at a time: who starts one meanwhile is not to wait until all were looked at.
            let Some(of_machine) = self.by_machine.get(machine) else { break };
            let mut some = of_machine.range(..before).rev().take(LISTED_AT_ONCE).peekable();
            if some.peek().is_none() {
                break;
            }
            for (number, execution) in some {
                before = *number;
                let rank = execution.rank();
                if after.is_none_or(|after| rank < after) && filter(execution) {
                    listed.push((rank, Arc::clone(execution)));
                }
            }
            drop(of_machine);
            if listed.len() > max {
                listed.select_nth_unstable_by_key(max - 1, newest_first);
                listed.truncate(max);
            }
        }
        listed.sort_unstable_by_key(newest_first);
        listed
    }
}

impl Service {
    /// Lists executions of a state machine, newest first: those that are over by their end, the others by their start.
    ///
    /// # Errors
    /// `InvalidArn`, `InvalidToken`, `StateMachineDoesNotExist`, `StateMachineTypeNotSupported`, `ResourceNotFound`,
    /// `ValidationException` unless there is exactly one of the two ARNs.
    pub fn list_executions(&self, request: &ListExecutions) -> Result<Part<ExecutionItem>, Error> {
        let inner = &*self.inner;
        let (arn, version, alias) = match (&request.machine_arn, &request.map_run_arn) {
            (Some(arn), None) => inner.listed_machine(arn)?,
            (None, Some(arn)) => (inner.map_run(arn)?.arn().to_owned(), None, None),
            _ => {
                return Err(Error::validation(
                    "Exactly one of stateMachineArn or mapRunArn must be specified",
                )
                .because("MISSING_REQUIRED_PARAMETER"));
            }
        };
        let now_ms = inner.now_ms();
        inner.executions.expire(now_ms);
        // A token is good for the same question only.
        let asked = request.machine_arn.as_deref().unwrap_or(&arn);
        let list = format!("ListExecutions {asked} {:?} {:?}", request.status, request.redriven);
        let (results_max, after) = inner.tokens.read(&request.page, &list, now_ms)?;
        let after = after.map(|rank| {
            let (time, number) = rank.split_once(' ').expect("a token of this list holds a rank");
            let number_of = |text: &str| text.parse().expect("a rank is two numbers");
            (number_of(time), number_of(number))
        });
        let filter = |execution: &Execution| {
            let of = |number| execution.target.version.as_ref().is_some_and(|it| it.number == number);
            let status = execution.outcome().map_or(Status::Running, |outcome| outcome.status);
            version.is_none_or(of)
                && alias.as_deref().is_none_or(|alias| execution.target.alias.as_deref() == Some(alias))
                && request.status.is_none_or(|wanted| wanted == Some(status))
                && request.redriven.is_none_or(|wanted| wanted == (execution.run().redrives.count > 0))
        };
        let found = inner.executions.listed(&arn, after, results_max + 1, filter);
        let key = |((time, number), _): &(Rank, Arc<Execution>)| format!("{time} {number}");
        Ok(inner.tokens.part(found, results_max, &list, now_ms, key, |(_, execution)| execution.item()))
    }
}
