//! An engine's use of its journal: starts are written, and executions of earlier processes continue.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::completion::{Completion, IdentityOverrides, Reply, StartIdentity};
use super::super::context::ExecutionBuffer;
use super::super::engine::Engine;
use super::super::handle::Handle;
use super::super::inbox::{Indexed, ShardMessage};
use super::super::machine::{Target, Version};
use super::super::map_run;
#[cfg(feature = "service")]
use super::super::map_run::MapRun;
use super::super::shard::Resume;
use super::super::start::StartError;
use super::super::tasks::Answer;
use super::{DurabilityMode, DurableError, Ledger, RecoveredExecution, start_base};
use crate::engine::{SnapshotError, Start, Token};
use crate::journal::{Lsn, Refused};
use crate::json;
use crate::observe::{Watch, Watcher};

/// The error of a record that was refused.
pub(in crate::runtime) fn not_durable(why: Refused) -> StartError {
    match why {
        Refused::Away(_) => StartError::Away(why.to_string()),
        why => StartError::NotDurable(why.to_string()),
    }
}

impl Engine {
    /// Records that an execution is to begin.
    pub(in crate::runtime) fn write_start(
        &self,
        seed: u64,
        start_identity: &mut StartIdentity,
        durable: &[u8],
        input: &[u8],
    ) -> Result<(), StartError> {
        let refused = |why: &str| StartError::NotDurable(why.to_owned());
        let shared = self.shared();
        let durability = shared.durability.as_ref().ok_or_else(|| refused("the engine has no journal"))?;
        let label = start_identity.label.as_mut().ok_or_else(|| refused("it has no name"))?;
        let (Some(name), Some(arn)) = (label.name.as_deref(), label.arn.as_deref()) else {
            return Err(refused("it has no name or no ARN"));
        };
        if label.tasks.is_some() {
            return Err(refused("its tasks are not done by the engine's handlers"));
        }
        if shared.by_arn.contains_key(arn) {
            return Err(StartError::AlreadyRuns(arn.to_owned()));
        }
        let ledger = durability.start((seed, name, arn), label.trace_header.as_deref(), durable, input);
        label.ledger = Some(ledger.map_err(not_durable)?);
        Ok(())
    }

    /// It does not begin after all.
    pub(in crate::runtime) fn unwrite_start(&self, completion: &Completion) {
        if let (Some(ledger), Some(durability)) =
            (completion.start_identity.ledger(), &self.shared().durability)
        {
            durability.forget(ledger.id);
        }
    }

    // ---- after a restart ----

    /// Whether executions can be durable.
    pub fn is_durable(&self) -> bool {
        self.shared().durability.is_some()
    }

    /// What a crash may lose of executions that are [to be durable](crate::runtime::StartOptions::durable).
    pub fn durability(&self) -> DurabilityMode {
        self.shared().durability.as_ref().map_or(DurabilityMode::Memory, |durability| durability.mode())
    }

    /// Ends the journal, when nothing durable happens any more in this process, so that another one may continue at
    /// once.
    pub fn finish_journal(&self) {
        if let Some(durability) = &self.shared().durability {
            durability.finish();
        }
    }

    /// Why no durable execution can start at present; `None` if it can.
    pub fn journal_problem(&self) -> Option<String> {
        let durability = self.shared().durability.as_ref()?;
        durability.stats().is_away.then(|| "the database that the journal is in is away".to_owned())
    }

    /// Bytes of the records that were appended to the journal since the engine was built.
    pub fn recorded_bytes(&self) -> u64 {
        let durability = self.shared().durability.as_ref();
        durability.map_or(0, |durability| durability.recorded_bytes.load(Ordering::Relaxed))
    }

    /// The executions of earlier processes that are in the journal, in the order in which they were started. They are
    /// returned once: the caller [resumes](Engine::resume) those that are not over, and
    /// [forgets](Engine::forget_recorded) those that are no longer needed.
    pub fn recovered(&self) -> Vec<RecoveredExecution> {
        let Some(durability) = &self.shared().durability else { return Vec::new() };
        let recovered: Vec<RecoveredExecution> =
            std::mem::take(&mut durability.found().executions).into_values().collect();
        // Files of Map Runs whose executions no longer exist are useless. A service looks for them when it is ready.
        let known: HashSet<&str> = recovered.iter().map(|execution| &*execution.arn).collect();
        if let (Some(folder), None) = (&durability.map_runs, &durability.cold) {
            map_run::sweep(folder, |execution| Some(known.contains(execution)));
        }
        recovered
    }

    /// The Map Run with this ARN as its file has it.
    ///
    /// # Errors
    /// When the file cannot be read.
    #[cfg(feature = "service")]
    pub(crate) fn map_run_on_disk(&self, arn: &str) -> std::io::Result<Option<Arc<MapRun>>> {
        let folder = self.shared().durability.as_ref().and_then(|durability| durability.map_runs.as_ref());
        folder.map_or(Ok(None), |folder| map_run::read(folder, arn))
    }

    /// Removes the files of Map Runs whose executions no longer exist, until there is no answer whether one does.
    #[cfg(feature = "service")]
    pub(crate) fn sweep_map_runs(&self, is_known: impl FnMut(&str) -> Option<bool>) {
        let folder = self.shared().durability.as_ref().and_then(|durability| durability.map_runs.as_ref());
        if let Some(folder) = folder {
            map_run::sweep(folder, is_known);
        }
    }

    /// Those of an execution that the journal has.
    #[cfg(feature = "service")]
    pub(crate) fn map_runs_of(&self, recovered: &RecoveredExecution) -> Vec<Arc<MapRun>> {
        let durability = self.shared().durability.as_ref();
        let left = durability.map_or_else(Vec::new, |durability| durability.left_map_runs(recovered.id));
        map_run::described(&left)
    }

    /// Deletes the records of a Map Run.
    #[cfg(feature = "service")]
    pub(crate) fn forget_map_run(&self, arn: &str) {
        let folder = self.shared().durability.as_ref().and_then(|durability| durability.map_runs.as_ref());
        if let Some(folder) = folder {
            map_run::forget(folder, arn);
        }
    }

    /// The [note](Engine::note) under a key, of this process or an earlier one.
    pub fn noted(&self, key: &[u8]) -> Option<Box<[u8]>> {
        self.shared().durability.as_ref()?.found().notes.get(key).cloned()
    }

    /// Keeps a note in the journal, unless the key is known: later records may refer to it.
    ///
    /// # Errors
    /// When the journal does not take it.
    pub fn note(&self, key: &[u8], bytes: impl FnOnce() -> Vec<u8>) -> Result<(), StartError> {
        self.note_for("", key, bytes)
    }

    /// The same, where records of this execution may refer to it.
    pub(crate) fn note_for(
        &self,
        arn: &str,
        key: &[u8],
        bytes: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), StartError> {
        let refused = |why: String| StartError::NotDurable(why);
        let durability = self.shared().durability.as_ref();
        let durability = durability.ok_or_else(|| refused("the engine has no journal".to_owned()))?;
        let partition = durability.partition_of(arn);
        let mut found = durability.found();
        if !found.notes.contains_key(key) || !durability.has_note(partition, key) {
            let bytes = bytes();
            durability.note(partition, key, &bytes).map_err(not_durable)?;
            found.notes.insert(key.into(), bytes.into());
            durability.noted(partition, key);
        }
        Ok(())
    }

    /// Forgets an execution that is over: the journal need not keep it.
    pub fn forget_recorded(&self, id: u64) {
        if let Some(durability) = &self.shared().durability {
            durability.forget(id);
        }
    }

    /// Copies what is still needed to the journal's end, and drops the rest. An engine with threads does that
    /// automatically, whenever the journal has grown enough. How many bytes were copied.
    ///
    /// # Errors
    /// When the journal cannot be read, or does not take the copies; it stays as it was.
    pub fn compact_journal(&self) -> Result<u64, DurableError> {
        self.shared().durability.as_ref().map_or(Ok(0), |durability| durability.compact())
    }

    /// Compacts a journal that is longer than a start should read, if that is quickly done.
    #[cfg(feature = "service")]
    pub(crate) fn begin_with_short_journal(&self) -> Result<(), DurableError> {
        self.shared().durability.as_ref().map_or(Ok(()), |durability| durability.begin_short())
    }

    /// Blocks this thread until all [resumed](Engine::resume) executions are on their shards: their tokens are valid
    /// then. Without threads, as under [`simulate`](crate::runtime::Builder::simulate), that takes the shards' next
    /// turns.
    pub fn wait_resumed(&self) {
        if let Some(durability) = &self.shared().durability {
            durability.wait_resumed();
        }
    }

    /// Continues an execution of an earlier process, from the last recorded turn. Tasks without known results are
    /// started once more.
    ///
    /// # Errors
    /// When it is an execution of another program, or its input is invalid.
    pub fn resume<'t>(
        &self,
        machine: impl Into<Target<'t>>,
        recovered: RecoveredExecution,
        watcher: Option<Box<dyn Watcher>>,
    ) -> Result<Handle, ResumeError> {
        let version = self.own_version(machine.into()).map_err(ResumeError::Start)?;
        let RecoveredExecution { id, name, arn, trace_header, input, seed, turn, state, answers, .. } =
            recovered;
        let is_last_state = recovered.is_last_state;
        let shared = self.shared();
        // Only its row is known, and it left memory while the process continued.
        let from_row = recovered.row_turn == Some(turn) && answers.is_empty();
        if let Some(durability) = &shared.durability {
            durability.live.is_back(id, turn);
        }
        let is_counted = from_row && shared.durability.as_ref().is_some_and(|it| it.epoch == recovered.epoch);
        let watcher_bytes = watcher.as_ref().map_or(0, |watcher| watcher.kept_bytes());
        let watch = watcher.map(|watcher| Box::new(Watch::by(watcher)));
        let watch = watch.map(|mut watch| {
            // Its effects were counted when it left.
            if is_counted && shared.observability.as_ref().is_some_and(|it| it.counts) {
                watch.count();
            }
            watch
        });
        let started = Lsn(0);
        let (turn, events, left) = (AtomicU64::new(turn), AtomicU64::new(0), AtomicBool::new(false));
        let tenure = shared.durability.as_ref().map_or(0, |it| it.tenure(it.partition(id)));
        let ledger = Ledger { id, tenure, started, turn, events, left };
        let label = IdentityOverrides {
            name: Some(name),
            arn: Some(arn.clone()),
            trace_header,
            tasks: None,
            ledger: Some(ledger),
            requested_ms: None,
            redrivable: true,
            watcher_bytes,
        };
        let start_identity = StartIdentity { synchronous: false, label: Some(Box::new(label)) };
        let mut buffer = Box::<ExecutionBuffer>::default();
        buffer.watch = watch;
        let is_recorded = !state.is_empty();
        if !is_recorded {
            // Its first turn was not recorded: it begins.
            let start = Start { seed, now_ms: shared.time.steady_ms(), ..shared.start };
            let start = Start { seconds_max: version.seconds_max, ahead_ms: shared.look_at_wall(), ..start };
            buffer.execution.reset();
            buffer.identify(&version, start_identity.names());
            start_base(&mut buffer.recorded, &arn, input.as_bytes());
            let input = json::read(&mut buffer.execution.arena, input.as_bytes())
                .map_err(|error| ResumeError::Start(error.into()))?;
            buffer.execution.begin(&version.program, &start, input);
        } else {
            buffer.execution.restore(&state, version.fingerprint)?;
            buffer.recorded = state.into_vec();
            let ledger = start_identity.ledger().expect("it was set above");
            ledger.events.store(buffer.execution.events(), Ordering::Relaxed);
            buffer.execution.identity.is_redrivable = true;
        }
        let charged = buffer.execution.arena.capacity_bytes();
        // What was accepted once is not refused now.
        shared.admission.admit_anyway(&version.usage, 1, charged + start_identity.kept_bytes());
        let completion = Completion::new(start_identity);
        if is_last_state {
            completion.abort_at_next_state();
        }
        let from = ResumeOrigin { is_recorded, from_row, is_counted };
        Ok(self.place_on_shard(version, completion, buffer, (arn, from, charged), answers))
    }

    /// Gives an admitted execution a place on a shard, where it continues. It has its own ARN.
    pub(in crate::runtime) fn place_on_shard(
        &self,
        version: Arc<Version>,
        completion: Completion,
        buffer: Box<ExecutionBuffer>,
        (arn, origin, charged): (Box<str>, ResumeOrigin, usize),
        answers: Vec<(Token, Answer)>,
    ) -> Handle {
        let (shared, seed) = (self.shared(), buffer.execution.seed());
        let completion = Arc::new(completion);
        let handle = Handle {
            completion: Arc::clone(&completion),
            shared: Arc::clone(shared),
            version: Arc::clone(&version),
            seed,
        };
        let indexed = Indexed { completion: Arc::clone(&completion), version: Arc::clone(&version), seed };
        shared.by_arn.insert(arn, indexed);
        match &shared.durability {
            Some(durability) if origin.is_counted => {
                durability.absent.fetch_sub(1, Ordering::Relaxed);
            }
            _ => self.stripe(|stripe| stripe.accept(1)),
        }
        if let Some(counters) = version.counters.as_ref().filter(|_| !origin.is_counted) {
            counters.machine.began(shared.remotes.len() + self.stripe_number(), 1);
        }
        if let Some(durability) = &shared.durability {
            *durability.resuming() += 1;
        }
        let recorded = completion.start_identity.ledger().map_or(seed, |ledger| ledger.id);
        let shard = recorded as usize % shared.remotes.len();
        let reply = Reply::One(completion);
        let ResumeOrigin { is_recorded, from_row, .. } = origin;
        let resume = Resume { version, reply, buffer, is_recorded, from_row, answers, charged };
        shared.remotes[shard].send(ShardMessage::Resume(Box::new(resume)));
        handle
    }
}

impl Handle {
    /// Completes when the execution's start is durable; at once, if it is not durable.
    pub fn recorded(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        let started = self.completion.start_identity.ledger().map(|ledger| ledger.started);
        async move {
            if let (Some(durability), Some(started)) = (&shared.durability, started) {
                durability.safe(started).await;
            }
        }
    }

    /// Its number in the journal, if it is durable.
    pub fn recorded_id(&self) -> Option<u64> {
        self.completion.start_identity.ledger().map(|ledger| ledger.id)
    }
}

/// From where an execution continues on a shard.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::runtime) struct ResumeOrigin {
    /// Its state is in the journal, or in its row.
    pub(in crate::runtime) is_recorded: bool,
    /// Whether it comes back into memory: nothing that it waits for was lost meanwhile.
    pub(in crate::runtime) from_row: bool,
    /// It was counted when it began, in this process.
    pub(in crate::runtime) is_counted: bool,
}

/// Why an execution of an earlier process cannot continue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// Its state is not one of the machine's program.
    #[error(transparent)]
    State(#[from] SnapshotError),
    /// For the reasons of a refused start.
    #[error(transparent)]
    Start(StartError),
}
