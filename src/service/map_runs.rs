//! Map Runs.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use dashmap::DashMap;
use sha2::{Digest, Sha256};

use super::executions::{Draft, Execution, Run};
use super::machines::{Revision, StateMachine, arn_of};
use super::page::{Page, Part};
use super::redrive::RedrivenBy;
use super::{Error, Exception, Inner, Service, Target};
use crate::asl::MachineType;
use crate::fault::{self, Fault};
use crate::journal::partition_of;
use crate::memory::{Charge, OwnCharge};
use crate::observe::LiveHistory;
use crate::runtime::{Engine, MapRun, MapRunSettings, Published, RecoveredExecution, StartedChild, Status};
use crate::task::Tasks;
use crate::uuid;

/// Map Runs, kept as long as their execution is.
#[derive(Default)]
pub(super) struct KeptMapRuns {
    by_arn: DashMap<Box<str>, Kept>,
    by_execution: DashMap<Box<str>, Vec<Arc<MapRun>>>,
}

#[derive(Clone)]
struct Kept {
    run: Arc<MapRun>,
    /// The version of its child executions, if they are kept.
    target: Option<(Arc<StateMachine>, Arc<Revision>)>,
}

impl KeptMapRuns {
    /// An execution was forgotten.
    pub(super) fn forget(&self, execution_arn: &str, engine: Option<&Engine>) {
        for run in self.by_execution.remove(execution_arn).into_iter().flat_map(|(_, runs)| runs) {
            self.by_arn.remove(run.arn());
            if let Some(engine) = engine {
                engine.forget_map_run(run.arn());
            }
        }
    }

    /// Keeps a Map Run, in place of the one that an earlier process left.
    fn keep(&self, run: &Arc<MapRun>) {
        self.by_arn.insert(run.arn().into(), Kept { run: Arc::clone(run), target: None });
        let mut runs = self.by_execution.entry(run.execution_arn().into()).or_default();
        match runs.iter_mut().find(|known| known.arn() == run.arn()) {
            Some(known) => *known = Arc::clone(run),
            None => runs.push(Arc::clone(run)),
        }
    }
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
        inner.executions.map_runs.by_arn.get(arn).map(|kept| Arc::clone(&kept.run))
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

    /// How often the Map Runs of an execution were redriven, at most.
    pub(super) fn map_run_redrives(&self, execution_arn: &str) -> u32 {
        let runs = self.executions.map_runs.by_execution.get(execution_arn);
        runs.and_then(|runs| runs.iter().map(|run| run.redrives().count).max()).unwrap_or(0)
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

    /// Restores the Map Runs of earlier processes: those that have files, and those of these executions.
    pub(super) fn recover_map_runs<'r>(&self, recovered: impl Iterator<Item = &'r RecoveredExecution>) {
        let in_journal = recovered.flat_map(|recovered| self.engine.map_runs_of(recovered));
        for run in self.engine.recovered_map_runs().into_iter().chain(in_journal) {
            self.executions.map_runs.keep(&run);
        }
    }

    /// Called when all executions of earlier processes are known: children whose Map Run continues continue, the others
    /// are stopped.
    pub(super) fn stop_orphans(&self) {
        for run in &self.executions.map_runs.by_arn {
            let parent = self.executions.get(run.run.execution_arn());
            let is_over = parent.is_none_or(|parent| parent.outcome().is_some());
            if is_over || run.run.state().status != Status::Running {
                self.executions.stop_children(run.run.arn());
            }
        }
    }

    /// The Map Run of this ARN.
    pub(super) fn map_run(&self, arn: &str) -> Result<Arc<MapRun>, Error> {
        arn_of(arn, "mapRun")?;
        let found = self.executions.map_runs.by_arn.get(arn);
        found.map(|kept| Arc::clone(&kept.run)).ok_or_else(|| missing(arn))
    }
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
    /// Whether a child of a Map Run that was redriven at this time began before that, and did not succeed.
    fn waits_for_redrive(&self, run: &Run, redriven_ms: u64) -> bool {
        let is_unsuccessful = run.outcome.as_ref().is_some_and(|outcome| outcome.status != Status::Succeeded);
        is_unsuccessful && run.redrives.date_ms().unwrap_or(self.started_ms) < redriven_ms
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
        inner.execution(execution_arn)?;
        let now_ms = inner.now_ms();
        // A token is valid for its own execution.
        let list = format!("ListMapRuns {execution_arn}");
        let (results_max, after) = inner.tokens.read(page, &list, now_ms)?;
        let after = after.and_then(|at| at.parse::<usize>().ok());
        let runs = inner.executions.map_runs.by_execution.get(execution_arn);
        let runs = runs.map_or_else(Vec::new, |runs| runs.clone());
        let found: Vec<(usize, Arc<MapRun>)> = (runs.into_iter().enumerate().rev())
            .filter(|(at, _)| after.is_none_or(|after| *at < after))
            .take(results_max + 1)
            .collect();
        Ok(inner.tokens.part(found, results_max, &list, now_ms, |(at, _)| at.to_string(), |(_, run)| run))
    }
}
