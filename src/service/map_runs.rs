//! Map Runs.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::executions::{Draft, Execution, Run};
use super::inner::Inner;
use super::machine::{Revision, StateMachine, Target};
use super::names::arn_of;
use super::page::{Page, Part};
use super::redrives::RedrivenBy;
use super::{Error, Exception, Service};
use crate::asl::MachineType;
use crate::fault::{self, Fault};
use crate::journal::partition_of;
use crate::memory::{Charge, OwnCharge};
use crate::observe::{EventType, LiveHistory};
use crate::runtime::{
    ColdStore, MapRun, MapRunSettings, MapRunState, Published, RecoveredExecution, StartedChild, Status,
};
use crate::task::Tasks;
use crate::uuid;

/// Files of Map Runs that are looked at without a pause.
const SWEPT_AT_ONCE: usize = 64;
const SWEEP_PAUSE: Duration = Duration::from_millis(2);

fn unread(arn: &str, error: &io::Error) -> Error {
    Error::new(Exception::InternalFailure, format!("The file of the Map Run '{arn}' cannot be read: {error}"))
}

/// The error for a Map Run that does not exist.
pub(super) fn missing(arn: &str) -> Error {
    Error::new(Exception::ResourceNotFound, format!("Resource not found: '{arn}'")).about(arn)
}

/// Keeps the Map Runs of the service's executions. Set before the first of them begins.
#[derive(Clone, Default)]
pub(super) struct Keeper {
    pub(super) service: Arc<OnceLock<Weak<Inner>>>,
}

impl Keeper {
    fn inner(&self) -> Option<Arc<Inner>> {
        self.service.get().and_then(Weak::upgrade)
    }
}

impl crate::runtime::MapRuns for Keeper {
    fn begun(&self, run: &Arc<MapRun>) {
        // Only of executions that are kept.
        if let Some(inner) = self.inner()
            && inner.executions.get(run.execution_arn()).is_some()
        {
            inner.executions.map_runs.keep(run);
        }
    }

    fn keeps(&self, child: &Published) -> bool {
        child.is_standard()
    }

    fn redriven(&self, arn: &str) -> Option<Arc<MapRun>> {
        let inner = self.inner()?;
        inner.map_run_known(arn).unwrap_or_else(|error| {
            tracing::warn!(map_run = arn, %error, "what a Map Run came to before cannot be read");
            None
        })
    }

    fn start(
        &self,
        (run, number): (&Arc<MapRun>, u64),
        child: &Published,
        input: &str,
        tasks: Option<Box<dyn Tasks + Send>>,
    ) -> Result<Option<StartedChild>, Fault> {
        let gone = || Fault::new(fault::RUNTIME, "The service is gone.");
        let inner = self.inner().ok_or_else(gone)?;
        let target = inner.child_target(run, child).ok_or_else(gone)?;
        let name = inner.child_name(run, number, &target);
        let draft = Draft {
            arn: target.machine.arn_of("execution", &name),
            name,
            target,
            input: input.to_owned(),
            started_ms: inner.now_ms(),
            trace_header: None,
            history: LiveHistory::new(inner.settings.history_bytes_max),
            number: 0,
            parent: None,
            map_run: Some(run.arn().into()),
        };
        let elsewhere = |arn: &str| inner.cold_view(arn);
        let begun = match inner.executions.start(draft, elsewhere, |draft| inner.begin(draft, tasks)) {
            Ok(begun) => begun,
            Err(error) if error.exception.is_for_lack_of_room() => return Ok(None),
            Err(error) => return Err(Fault::new(fault::RUNTIME, error.message)),
        };
        let redriven_ms = run.redrives().last_ms;
        let mut waited_for_redrive = false;
        let execution = match begun {
            Ok(begun) => begun,
            // It was started in an earlier process, or before its Map Run was redriven.
            Err(known) if known.map_run.as_deref() == Some(run.arn()) => {
                waited_for_redrive = known.waits_for_redrive(&known.run(), redriven_ms);
                match inner.redriven_child(known, redriven_ms)? {
                    Some(known) => known,
                    None => return Ok(None),
                }
            }
            Err(known) => {
                let cause = format!("Execution Already Exists: '{}'", known.arn);
                return Err(Fault::new(fault::RUNTIME, cause));
            }
        };
        let (arn, keeper) = (execution.arn.to_string(), self.clone());
        let future = async move {
            let outcome = execution.await_or_stop(None).await;
            // It may still have been on its way to the end that it had when its Map Run was redriven: then this was that
            // end. Where there is no room to redrive it, it counts as it ended.
            let again = keeper.inner().map(|inner| inner.redriven_child(Arc::clone(&execution), redriven_ms));
            let outcome = match again {
                Some(Ok(Some(child))) => child.await_or_stop(None).await,
                _ => outcome,
            };
            match outcome {
                Some(outcome) => outcome,
                // It leaves for another node, and so does its Map Run.
                None => std::future::pending().await,
            }
        };
        Ok(Some(StartedChild { arn, end: Box::pin(future), waited_for_redrive }))
    }

    fn over(&self, run: &MapRun) {
        if let Some(inner) = self.inner() {
            inner.executions.stop_children(run.arn());
        }
    }
}

/// The name of a child is derived from its Map Run's UUID, so that the child is found after a restart. There are several
/// candidates.
fn child_name(run: &MapRun, number: u64, candidate: u64) -> String {
    let digest = Sha256::new()
        .chain_update(run.arn())
        .chain_update(run.mark().to_le_bytes())
        .chain_update(number.to_le_bytes())
        .finalize();
    let half = |bytes: &[u8]| bytes.iter().take(8).fold(0, |sum: u64, &byte| sum << 8 | u64::from(byte));
    let (high, low) = digest.split_at(8);
    String::from_utf8_lossy(&uuid::text(half(high), half(low).wrapping_add(candidate))).into_owned()
}

/// A change of a Map Run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UpdateMapRun {
    /// `maxConcurrency`
    pub concurrency_max: Option<u64>,
    /// `toleratedFailureCount`
    pub tolerated_count: Option<u64>,
    /// `toleratedFailurePercentage`
    pub tolerated_percentage: Option<f64>,
}

impl Inner {
    /// The name of a child. Where partitions come and go, the child is in that of its Map Run's execution, with which it
    /// moves.
    fn child_name(&self, run: &MapRun, number: u64, target: &Target) -> String {
        let mut names = (0..).map(|candidate| child_name(run, number, candidate));
        let partition = partition_of(run.execution_arn());
        let fits = |name: &String| {
            !self.engine.has_partitions()
                || partition_of(&target.machine.arn_of("execution", name)) == partition
        };
        match names.find(fits) {
            Some(name) => name,
            None => unreachable!("one in 64 names fits"),
        }
    }

    /// A child of a Map Run that was redriven at this time, if it was: if the child began before that and did not
    /// succeed, it is redriven too. `None` when there is no room for it at present.
    fn redriven_child(
        &self,
        child: Arc<Execution>,
        redriven_ms: u64,
    ) -> Result<Option<Arc<Execution>>, Fault> {
        if !child.waits_for_redrive(&child.run(), redriven_ms) {
            return Ok(Some(child));
        }
        let failed = |error: Error| Fault::new(fault::RUNTIME, error.message);
        let child = match self.executions.get(&child.arn) {
            Some(child) => child,
            // It is not in memory.
            None => self.bring_back_over(&child.arn).map_err(failed)?.unwrap_or(child),
        };
        match self.redrive(&child, None, RedrivenBy::MapRun) {
            Ok(_) => Ok(Some(child)),
            // It counts as it ended.
            Err(error) if error.exception == Exception::ExecutionNotRedrivable => Ok(Some(child)),
            Err(error) if error.exception.is_for_lack_of_room() => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether the status of a Map Run's child is `PENDING_REDRIVE`: the Map Run is redriven, and has not come to it yet.
    pub(super) fn is_pending_redrive(&self, child: &Execution, of: &MapRun) -> bool {
        let redriven_ms = of.redrives().last_ms;
        let is_redriven = of.redrives().count > 0 && of.state().status == Status::Running;
        let run = child.run();
        is_redriven
            && child.waits_for_redrive(&run, redriven_ms)
            && self.redrivable(child, &run, RedrivenBy::MapRun).is_ok()
    }

    /// How many children of a Map Run did not succeed and cannot be redriven, and how many items they have.
    fn failures_not_redrivable(&self, of: &MapRun) -> Result<MapRunFailures, Error> {
        let MapRunState { items, executions, .. } = of.state();
        let mut found = MapRunFailures::default();
        if executions.failed + executions.timed_out + executions.aborted == 0 {
            return Ok(found);
        }
        // Where each child has one item, its input is not a batch.
        let are_batches = items.total() != executions.total();
        let mut add = |child: &Execution| {
            let run = child.run();
            if child.is_unsuccessful_child(&run) && self.redrivable(child, &run, RedrivenBy::MapRun).is_err()
            {
                found.executions += 1;
                found.items += if are_batches { batched(&child.input) } else { 1 };
            }
        };
        let in_memory = self.executions.by_machine.get(of.arn());
        let in_memory: Vec<_> = in_memory.map_or_else(Vec::new, |all| all.values().cloned().collect());
        in_memory.iter().for_each(|child| add(child));
        let known = in_memory.iter().map(|child| child.number).collect();
        self.failures_in_rows(of.arn(), &known, |child| add(child))?;
        Ok(found)
    }

    /// How often the Map Runs of an execution were redriven, at most.
    pub(super) fn map_run_redrives(&self, execution: &Execution) -> u32 {
        // What cannot be read does not forbid a redrive, which reads it once more.
        let runs = self.map_runs_of(execution).unwrap_or_else(|_| Vec::new());
        runs.iter().map(|run| run.redrives().count).max().unwrap_or(0)
    }

    /// The Map Run of this ARN, in memory or not.
    fn map_run_known(&self, arn: &str) -> io::Result<Option<Arc<MapRun>>> {
        match self.executions.map_runs.by_arn.get(arn) {
            Some(kept) => Ok(Some(Arc::clone(&kept.run))),
            None => self.engine.map_run_on_disk(arn),
        }
    }

    /// The Map Runs of an execution, in the order in which they began.
    fn map_runs_of(&self, execution: &Execution) -> Result<Vec<Arc<MapRun>>, Error> {
        let kept = self.executions.map_runs.by_execution.get(&execution.arn);
        let mut runs = kept.map_or_else(Vec::new, |runs| runs.clone());
        let mut all = Vec::new();
        for arn in execution.map_runs_begun() {
            match runs.iter().position(|run| *run.arn() == *arn) {
                Some(at) => all.push(runs.remove(at)),
                None => all.extend(self.map_run_known(&arn).map_err(|error| unread(&arn, &error))?),
            }
        }
        // Those whose beginning is not in the history yet.
        all.append(&mut runs);
        Ok(all)
    }

    /// Removes the files of Map Runs whose executions were forgotten by a process that ended before it removed them. A
    /// thread of its own does it: it takes a while where there are many.
    pub(super) fn sweep_map_runs(self: &Arc<Inner>) -> std::io::Result<()> {
        let (engine, inner) = (self.engine.clone(), Arc::downgrade(self));
        let mut seen = 0_usize;
        let sweep = move || {
            engine.sweep_map_runs(|execution| {
                seen += 1;
                if seen.is_multiple_of(SWEPT_AT_ONCE) {
                    std::thread::sleep(SWEEP_PAUSE);
                }
                let inner = inner.upgrade()?;
                let in_memory = || inner.executions.get(execution).is_some();
                // One that cannot be read exists. It may be on its way between the two.
                let is_cold = || inner.cold.as_ref().is_some_and(|cold| ColdStore::has(&**cold, execution));
                Some(in_memory() || is_cold() || in_memory())
            });
        };
        std::thread::Builder::new().name("expressway-map-runs".to_owned()).spawn(sweep).map(drop)
    }

    /// The machine of a Map Run's children: it is part of that of the Map.
    fn child_target(&self, run: &MapRun, child: &Published) -> Option<Target> {
        let mut kept = self.executions.map_runs.by_arn.get_mut(run.arn())?;
        if let Some((machine, revision)) = &kept.target {
            let (machine, revision) = (Arc::clone(machine), Arc::clone(revision));
            return Some(Target { machine, revision, version: None, alias: None });
        }
        let parent = self.executions.get(run.execution_arn())?;
        let Target { machine, revision, .. } = &parent.target;
        let (machine, revision) = child_machine(machine, revision, child, run.machine_arn());
        kept.target = Some((Arc::clone(&machine), Arc::clone(&revision)));
        Some(Target { machine, revision, version: None, alias: None })
    }

    /// Restores the Map Runs of these executions that the journal has. Files are read when they are asked for.
    pub(super) fn recover_map_runs<'r>(&self, recovered: impl Iterator<Item = &'r RecoveredExecution>) {
        for run in recovered.flat_map(|recovered| self.engine.map_runs_of(recovered)) {
            self.executions.map_runs.keep(&run);
        }
    }

    /// Called when all executions of earlier processes are known: children whose Map Run continues continue, the others
    /// are stopped.
    pub(super) fn stop_orphans(&self) {
        let runs_children = |children: &BTreeMap<u64, Arc<Execution>>| {
            children.values().any(|child| child.map_run.is_some() && child.outcome().is_none())
        };
        let lists = self.executions.by_machine.iter().filter(|list| runs_children(list.value()));
        let runs: Vec<Box<str>> = lists.map(|list| list.key().clone()).collect();
        for arn in runs {
            let run = self.map_run_known(&arn).unwrap_or_else(|error| {
                tracing::warn!(map_run = &*arn, %error, "a Map Run cannot be read: its children are stopped");
                None
            });
            let parent = run.as_ref().and_then(|run| self.executions.get(run.execution_arn()));
            let is_over = parent.is_none_or(|parent| parent.outcome().is_some());
            if is_over || run.is_none_or(|run| run.state().status != Status::Running) {
                self.executions.stop_children(&arn);
            }
        }
    }

    /// The Map Run of this ARN.
    pub(super) fn map_run(&self, arn: &str) -> Result<Arc<MapRun>, Error> {
        arn_of(arn, "mapRun")?;
        let found = self.map_run_known(arn).map_err(|error| unread(arn, &error))?;
        // A file may be left of an execution that is forgotten.
        let found = found.filter(|run| self.execution(run.execution_arn()).is_ok());
        found.ok_or_else(|| missing(arn))
    }
}

/// The number of items in the input of a child, which is a batch.
fn batched(input: &str) -> u64 {
    let input: Option<serde_json::Value> = serde_json::from_str(input).ok();
    let items = input.as_ref().and_then(|input| input["Items"].as_array());
    // The input of a child may be made from its batch by an `ItemSelector`.
    items.map_or(1, |items| items.len() as u64)
}

/// `failuresNotRedrivable` of `DescribeMapRun`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapRunFailures {
    /// `executionCounts.failuresNotRedrivable`
    pub executions: u64,
    /// `itemCounts.failuresNotRedrivable`
    pub items: u64,
}

/// The machine of a Map's children, and its revision.
pub(super) fn child_machine(
    machine: &StateMachine,
    revision: &Revision,
    child: &Published,
    arn: &str,
) -> (Arc<StateMachine>, Arc<Revision>) {
    let revision = Arc::new(Revision {
        number: revision.number,
        id: revision.id.clone(),
        updated_ms: revision.updated_ms,
        settings: revision.settings.clone(),
        machine: Ok(child.clone()),
        // The definition is the parent's.
        charge: Charge::default(),
    });
    let machine = Arc::new(StateMachine {
        arn: arn.into(),
        name: arn.rsplit_once(':').map_or(arn, |(_, name)| name).into(),
        machine_type: MachineType::Standard,
        created_ms: machine.created_ms,
        current: Arc::clone(&revision),
        last_version: 0,
        versions: BTreeMap::new(),
        aliases: BTreeMap::new(),
        tags: Vec::new(),
        published_at_creation: None,
        is_deleting: false,
        charge: OwnCharge::default(),
    });
    (machine, revision)
}

impl Execution {
    /// The ARNs of the Map Runs that have begun, by its history.
    pub(super) fn map_runs_begun(&self) -> Vec<Box<str>> {
        self.history.read(|history| {
            let begun = history.events().filter(|event| event.event_type == EventType::MapRunStarted);
            begun.map(|event| event.text("mapRunArn").into()).collect()
        })
    }

    /// Whether a child of a Map Run that was redriven at this time began before that, and did not succeed.
    fn waits_for_redrive(&self, run: &Run, redriven_ms: u64) -> bool {
        self.is_unsuccessful_child(run) && run.redrives.date_ms().unwrap_or(self.started_ms) < redriven_ms
    }
}

impl Service {
    /// Describes a Map Run.
    ///
    /// # Errors
    /// `InvalidArn`, `ResourceNotFound`.
    pub fn describe_map_run(&self, arn: &str) -> Result<Arc<MapRun>, Error> {
        self.inner.map_run(arn)
    }

    /// How many children of a Map Run did not succeed, and cannot be redriven any more.
    ///
    /// # Errors
    /// `InvalidArn`, `ResourceNotFound`; `InternalFailure` when executions on disk cannot be read.
    pub fn map_run_failures_not_redrivable(&self, arn: &str) -> Result<MapRunFailures, Error> {
        self.inner.failures_not_redrivable(&*self.inner.map_run(arn)?)
    }

    /// Changes a Map Run that still runs.
    ///
    /// # Errors
    /// `InvalidArn`, `ResourceNotFound`, `ValidationException` when it is over.
    pub fn update_map_run(&self, arn: &str, change: &UpdateMapRun) -> Result<(), Error> {
        let run = self.inner.map_run(arn)?;
        let UpdateMapRun { concurrency_max, tolerated_count, tolerated_percentage } = *change;
        let is_running = run.update(|settings: &mut MapRunSettings| {
            settings.concurrency_max = concurrency_max.unwrap_or(settings.concurrency_max);
            settings.tolerated_count = tolerated_count.unwrap_or(settings.tolerated_count);
            settings.tolerated_percentage = tolerated_percentage.unwrap_or(settings.tolerated_percentage);
        });
        if is_running {
            Ok(())
        } else {
            Err(Error::validation("The Map Run is over and cannot be updated")
                .because("CANNOT_UPDATE_COMPLETED_MAP_RUN"))
        }
    }

    /// Lists the Map Runs of an execution, newest first.
    ///
    /// # Errors
    /// `InvalidArn`, `InvalidToken`, `ExecutionDoesNotExist`.
    pub fn list_map_runs(&self, execution_arn: &str, page: &Page) -> Result<Part<Arc<MapRun>>, Error> {
        let inner = &*self.inner;
        let execution = inner.execution(execution_arn)?;
        let now_ms = inner.now_ms();
        // A token is valid for its own execution.
        let list = format!("ListMapRuns {execution_arn}");
        let (results_max, after) = inner.tokens.read(page, &list, now_ms)?;
        let after = after.and_then(|at| at.parse::<usize>().ok());
        let runs = inner.map_runs_of(&execution)?;
        let found: Vec<(usize, Arc<MapRun>)> = (runs.into_iter().enumerate().rev())
            .filter(|(at, _)| after.is_none_or(|after| *at < after))
            .take(results_max + 1)
            .collect();
        Ok(inner.tokens.part(found, results_max, &list, now_ms, |(at, _)| at.to_string(), |(_, run)| run))
    }
}
