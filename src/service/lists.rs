//! `ListExecutions`.

use std::sync::Arc;

use super::closed::Rank;
use super::executions::Execution;
use super::inner::Inner;
use super::names::{machine_arn, no_label};
use super::page::{Page, Part};
use super::{Error, Service};
use crate::runtime::Status;

/// An entry of a list of executions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionItem {
    /// `executionArn`
    pub arn: String,
    /// `stateMachineArn`
    pub machine_arn: String,
    /// `stateMachineVersionArn`
    pub version_arn: Option<String>,
    /// `stateMachineAliasArn`
    pub alias_arn: Option<String>,
    /// `name`
    pub name: String,
    /// `status`, unless it waits for a redrive.
    pub status: Status,
    /// Whether its `status` is `PENDING_REDRIVE`: it did not succeed, and its Map Run, which is redriven, has not come to
    /// it yet.
    pub is_pending_redrive: bool,
    /// `startDate`, in milliseconds since 1970.
    pub started_ms: u64,
    /// `stopDate`, in milliseconds since 1970.
    pub stopped_ms: Option<u64>,
    /// `mapRunArn`
    pub map_run_arn: Option<String>,
    /// `redriveCount`
    pub redrive_count: u32,
    /// `redriveDate`, in milliseconds since 1970.
    pub redrive_ms: Option<u64>,
}

/// Which executions are to be listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListExecutions {
    /// `stateMachineArn`: of a machine, a version or an alias.
    pub machine_arn: Option<String>,
    /// `mapRunArn`
    pub map_run_arn: Option<String>,
    /// `statusFilter`: `Some(None)` is `PENDING_REDRIVE`.
    pub status: Option<Option<Status>>,
    /// `redriveFilter`: whether those that were redriven, or those that were not.
    pub redriven: Option<bool>,
    /// Which part of the list.
    pub page: Page,
}

impl Execution {
    fn item(&self, is_pending_redrive: bool) -> ExecutionItem {
        let run = self.run();
        let (outcome, redrives) = (run.outcome.clone(), run.redrives.clone());
        drop(run);
        ExecutionItem {
            arn: self.arn.to_string(),
            machine_arn: self.target.machine.arn.to_string(),
            version_arn: self.target.version_arn(),
            alias_arn: self.target.alias_arn(),
            name: self.name.to_string(),
            is_pending_redrive,
            status: outcome.as_ref().map_or(Status::Running, |outcome| outcome.status),
            started_ms: self.started_ms,
            stopped_ms: outcome.map(|outcome| outcome.stopped_ms),
            map_run_arn: self.map_run.as_deref().map(str::to_owned),
            redrive_count: redrives.count,
            redrive_ms: redrives.date_ms(),
        }
    }
}

impl Service {
    /// Lists executions of a state machine, newest first: closed ones by their end, the others by their start.
    ///
    /// # Errors
    /// `InvalidArn`, `InvalidToken`, `StateMachineDoesNotExist`, `StateMachineTypeNotSupported`, `ResourceNotFound`,
    /// `ValidationException` unless there is exactly one of the two ARNs.
    pub fn list_executions(&self, request: &ListExecutions) -> Result<Part<ExecutionItem>, Error> {
        let Listed { found, results_max, list } = self.listed(request)?;
        let (tokens, now_ms) = (&self.inner.tokens, self.inner.now_ms());
        Ok(tokens.part(found, results_max, &list, now_ms, |(rank, _)| key_of(rank), |(_, item)| item))
    }

    /// The page of a list that is made of the items of several nodes, ordered, with their places.
    pub(crate) fn merged<T>(&self, listed: &Listed, mut found: Vec<(Rank, T)>) -> Part<T> {
        let (tokens, now_ms) = (&self.inner.tokens, self.inner.now_ms());
        found.sort_unstable_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        // While a partition moves, two nodes may know an execution that is over.
        found.dedup_by_key(|(rank, _)| *rank);
        let Listed { results_max, list, .. } = listed;
        tokens.part(found, *results_max, list, now_ms, |(rank, _)| key_of(rank), |(_, item)| item)
    }

    /// The executions of this node that a page may show, with their places in the list: one more than it shows, if there
    /// are more.
    ///
    /// # Errors
    /// See [`list_executions`](Service::list_executions).
    pub(crate) fn listed(&self, request: &ListExecutions) -> Result<Listed, Error> {
        let inner = &*self.inner;
        let map_run = request.map_run_arn.as_ref().map(|arn| inner.map_run(arn));
        let ((arn, version, alias), map_run) = match (&request.machine_arn, map_run) {
            (Some(arn), None) => (inner.listed_machine(arn)?, None),
            (None, Some(map_run)) => {
                let map_run = map_run?;
                ((map_run.arn().to_owned(), None, None), Some(map_run))
            }
            _ => {
                return Err(Error::validation(
                    "Exactly one of stateMachineArn or mapRunArn must be specified",
                )
                .because("MISSING_REQUIRED_PARAMETER"));
            }
        };
        let now_ms = inner.now_ms();
        inner.executions.expire(now_ms);
        // A token is valid for the same query only.
        let asked = request.machine_arn.as_deref().unwrap_or(&arn);
        let list = format!("ListExecutions {asked} {:?} {:?}", request.status, request.redriven);
        let (results_max, after) = inner.tokens.read(&request.page, &list, now_ms)?;
        let after = after.map(|rank| {
            let (time, number) = rank.split_once(' ').expect("a token of this list holds a rank");
            let number_of = |text: &str| text.parse().expect("a rank is two numbers");
            (number_of(time), number_of(number))
        });
        let is_pending_redrive = |execution: &Execution| {
            map_run.as_ref().is_some_and(|map_run| inner.is_pending_redrive(execution, map_run))
        };
        let filter = |execution: &Execution| {
            let of = |number| execution.target.version.as_ref().is_some_and(|it| it.number == number);
            let status = || execution.outcome().map_or(Status::Running, |outcome| outcome.status);
            let status = || (!is_pending_redrive(execution)).then(status);
            version.is_none_or(of)
                && alias.as_deref().is_none_or(|alias| execution.target.alias.as_deref() == Some(alias))
                && request.status.is_none_or(|wanted| wanted == status())
                && request.redriven.is_none_or(|wanted| wanted == (execution.run().redrives.count > 0))
        };
        let mut found = inner.executions.listed(&arn, after, results_max + 1, filter);
        inner.list_cold(&arn, (request.status, after, results_max + 1), filter, &mut found)?;
        let item = |execution: Arc<Execution>| execution.item(is_pending_redrive(&execution));
        let found = found.into_iter().map(|(rank, execution)| (rank, item(execution))).collect();
        Ok(Listed { found, results_max, list })
    }
}

/// What a node knows of a page of a list of executions.
pub(crate) struct Listed {
    pub(crate) found: Vec<(Rank, ExecutionItem)>,
    results_max: usize,
    /// What its tokens are for.
    list: String,
}

fn key_of((time, number): &Rank) -> String {
    format!("{time} {number}")
}

impl Inner {
    /// The machine whose executions are listed, and the version or alias of it they were started through.
    pub(super) fn listed_machine(&self, arn: &str) -> Result<(String, Option<u32>, Option<String>), Error> {
        let parsed = machine_arn(arn)?;
        no_label(&parsed)?;
        let missing = || Error::no_machine(arn);
        let machine = self.machines.get(&parsed.unqualified()).ok_or_else(missing)?;
        if machine.is_express() && !self.settings.express_history {
            return Err(Error::not_this_type());
        }
        let version = parsed.qualifier().and_then(|qualifier| qualifier.parse::<u32>().ok());
        let alias = parsed.qualifier().filter(|_| version.is_none());
        let known = version.is_none_or(|version| machine.versions.contains_key(&version))
            && alias.is_none_or(|alias| machine.aliases.contains_key(alias));
        if known { Ok((machine.arn.to_string(), version, alias.map(str::to_owned))) } else { Err(missing()) }
    }
}
