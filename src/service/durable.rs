//! Standard executions that outlive the process: the service's part of their records, and recovery.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};

use super::cold::Cold;
use super::executions::Draft;
use super::inner::Inner;
use super::label::Label;
use super::machine::{Revision, Settings, StateMachine, Target, Version};
use super::map_runs::child_machine;
use super::state_error::StateError;
use crate::asl::MachineType;
use crate::memory::OwnCharge;
use crate::observe::{Event, LiveHistory};
use crate::runtime::{Durable, Handle, Outcome, RecoveredExecution};

/// The revision that executions run, kept as long as the journal is, even if the state machine is changed or deleted.
#[derive(Serialize, Deserialize)]
struct RevisionNote {
    arn: Box<str>,
    name: Box<str>,
    created_ms: u64,
    number: u64,
    id: Option<String>,
    updated_ms: u64,
    express: bool,
    settings: Settings,
}

impl Inner {
    /// The label to record for an execution that is to be durable; the revision it runs is noted first.
    pub(super) fn label(&self, draft: &Draft) -> Result<Box<[u8]>, super::Error> {
        let map_run = draft.map_run.as_deref();
        let mut label =
            Label::new(&draft.target, (draft.started_ms, draft.number), (draft.parent.clone(), map_run));
        label.is_told = self.executions.status_events.is_some();
        let Target { machine, revision, .. } = &draft.target;
        let note = || {
            let note = RevisionNote {
                arn: machine.arn.clone(),
                name: machine.name.clone(),
                created_ms: machine.created_ms,
                number: revision.number,
                id: revision.id.clone(),
                updated_ms: revision.updated_ms,
                express: machine.is_express(),
                settings: revision.settings.clone(),
            };
            serde_json::to_vec(&note).expect("settings are written as JSON")
        };
        self.engine.note_for(&draft.arn, label.revision.as_bytes(), note)?;
        Ok(label.to_bytes())
    }

    /// Finds the executions of earlier processes; those that are not over continue. Those that are not in memory stay
    /// where they are.
    pub(super) fn recover(self: &Arc<Inner>) -> Result<(), StateError> {
        self.check_cold()?;
        let (mut in_memory, mut known) = (0, HashSet::new());
        for mut recovered in self.children_first(self.engine.recovered())? {
            let (draft, id, redrives) = self.draft_of(&recovered)?;
            if let Some(cold) = &self.cold {
                in_memory += usize::from(cold.has_open_row(id)?);
                if self.executions.status_events.is_some() {
                    recovered.delivered = recovered.delivered.max(cold.delivered_of_row(id)?);
                }
                known.insert(id);
            }
            let state = (id, redrives, recovered.delivered);
            self.executions.put_back(draft, state, |draft| self.resumed(draft, recovered))?;
        }
        if let Some(cold) = &self.cold {
            self.tell_missed_of_rows(cold, &known)?;
            let (last_number, open) = cold.meta()?;
            self.executions.go_on_behind(last_number, open.saturating_sub(in_memory));
        }
        self.stop_orphans();
        self.executions.expire(self.now_ms());
        Ok(())
    }

    /// Restores the Map Runs of executions, and sorts these: a Map Run that continues looks for its children, and those
    /// for theirs.
    fn children_first(
        &self,
        recovered: Vec<RecoveredExecution>,
    ) -> Result<Vec<RecoveredExecution>, StateError> {
        let mut all = Vec::with_capacity(recovered.len());
        for mut recovered in recovered {
            let label: Label = serde_json::from_slice(&recovered.label).map_err(|error| {
                StateError::Broken { arn: recovered.arn.to_string(), why: error.to_string() }
            })?;
            let depth = label.map_run.as_ref().map_or(0, |(run, _)| run.matches('/').count());
            if label.is_told {
                recovered.delivered.get_or_insert(0);
            }
            all.push((depth, recovered));
        }
        all.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
        let all: Vec<RecoveredExecution> = all.into_iter().map(|(_, recovered)| recovered).collect();
        self.recover_map_runs(all.iter());
        Ok(all)
    }

    /// Takes in the executions of a partition, which were another node's; those that are not over continue.
    #[cfg(feature = "clustered")]
    pub(super) fn take_in(self: &Arc<Inner>, recovered: Vec<RecoveredExecution>) -> Result<(), StateError> {
        for recovered in self.children_first(recovered)? {
            let (draft, id, redrives) = self.draft_of(&recovered)?;
            let state = (id, redrives, recovered.delivered);
            self.executions.put_back(draft, state, |draft| self.resumed(draft, recovered))?;
        }
        self.stop_orphans();
        self.executions.expire(self.now_ms());
        Ok(())
    }

    /// The draft of an execution of the journal, or of a row; its number there, and its redrives.
    pub(super) fn draft_of(
        &self,
        recovered: &RecoveredExecution,
    ) -> Result<(Draft, u64, (u32, u64)), StateError> {
        let broken = |why: String| StateError::Broken { arn: recovered.arn.to_string(), why };
        let label: Label =
            serde_json::from_slice(&recovered.label).map_err(|error| broken(error.to_string()))?;
        let (mut machine, mut revision) = self.revision_of(&label.revision).map_err(broken)?;
        if let Some((_, arn)) = &label.map_run {
            let published = revision.runnable().map_err(|error| broken(error.message))?;
            let child = published.child(arn).ok_or("its Map is not in the definition");
            let child = child.map_err(|why| broken(why.to_owned()))?;
            (machine, revision) = child_machine(&machine, &revision, &child, arn);
        }
        let version = label.version.map(|(number, description, created_ms)| {
            Arc::new(Version { number, description, created_ms, revision: Arc::clone(&revision) })
        });
        let history = LiveHistory::new(self.settings.history_bytes_max);
        for chunk in recovered.history.values() {
            history.recover(chunk).ok_or_else(|| broken("its history is malformed".to_owned()))?;
        }
        let draft = Draft {
            arn: recovered.arn.to_string(),
            name: recovered.name.to_string(),
            target: Target { machine, revision, version, alias: label.alias },
            input: recovered.input.to_string(),
            started_ms: label.started_ms,
            trace_header: recovered.trace_header.as_deref().map(str::to_owned),
            history,
            number: label.number,
            parent: label.parent,
            map_run: label.map_run.map(|(run, _)| run.into()),
        };
        Ok((draft, recovered.id, recovered.redrives))
    }

    /// Continues an execution, unless it is over.
    pub(super) fn resumed(
        &self,
        draft: &Draft,
        mut recovered: RecoveredExecution,
    ) -> Result<(Option<Handle>, Option<Outcome>), StateError> {
        if let Some(outcome) = recovered.outcome.take() {
            return Ok((None, Some(outcome)));
        }
        let broken = |why: String| StateError::Broken { arn: draft.arn.clone(), why };
        let machine = draft.target.revision.runnable().map_err(|error| broken(error.message))?;
        let recorder = draft.recorder(&self.executions, true);
        // Where state machines are stored, a missing one was deleted. An Express execution runs to its end.
        let StateMachine { is_deleting, machine_type, .. } = *draft.target.machine;
        recovered.is_last_state =
            is_deleting && self.store.is_some() && machine_type == MachineType::Standard;
        let handle = self.engine.resume(machine, recovered, Some(Box::new(recorder)));
        Ok((Some(handle.map_err(|error| broken(error.to_string()))?), None))
    }

    /// The noted revision of an execution: of the current state machine, if it is still the same, else as it was.
    pub(super) fn revision_of(&self, key: &str) -> Result<(Arc<StateMachine>, Arc<Revision>), String> {
        let mut parts = key.rsplitn(4, ' ');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
        let (updated_ms, number, created_ms) = (number(), number(), number());
        let now = parts.next().and_then(|arn| self.machines.get(arn));
        let now = now.filter(|machine| Some(machine.created_ms) == created_ms);
        if let Some(machine) = &now {
            let versions = machine.versions.values().map(|version| &version.revision);
            let mut known = versions.chain([&machine.current]);
            let same = |it: &&Arc<Revision>| Some(it.number) == number && Some(it.updated_ms) == updated_ms;
            if let Some(revision) = known.find(same) {
                return Ok((Arc::clone(machine), Arc::clone(revision)));
            }
        }
        let mut kept = self.revisions.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.contains_key(key) {
            let note = self.engine.noted(key.as_bytes()).ok_or("its definition is not recorded")?;
            let note = serde_json::from_slice(&note).map_err(|error| error.to_string())?;
            kept.insert(key.to_owned(), self.recovered_revision(note));
        }
        let (machine, revision) = &kept[key];
        Ok((now.unwrap_or_else(|| Arc::clone(machine)), Arc::clone(revision)))
    }

    /// A past revision, with a state machine that is deleted, or, where nothing is stored, still to be created.
    fn recovered_revision(&self, note: RevisionNote) -> (Arc<StateMachine>, Arc<Revision>) {
        let RevisionNote { arn, name, created_ms, number, id, updated_ms, express, settings } = note;
        let machine_type = if express { MachineType::Express } else { MachineType::Standard };
        let machine = self.compile(&arn, &name, machine_type, &settings);
        let machine = machine.map_err(|error| error.message.into_boxed_str());
        let charge = self.charge_anyway(&settings.definition, &machine);
        let revision = Arc::new(Revision { number, id, updated_ms, settings, machine, charge });
        let machine = Arc::new(StateMachine {
            arn,
            name,
            machine_type,
            created_ms,
            current: Arc::clone(&revision),
            last_version: 0,
            versions: Default::default(),
            aliases: Default::default(),
            tags: Vec::new(),
            published_at_creation: None,
            is_deleting: true,
            charge: OwnCharge::default(),
        });
        (machine, revision)
    }
}

// ---- reading what is recorded ----

/// A Standard execution as a state folder has it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordedExecution {
    /// `executionArn`
    pub arn: String,
    /// `stateMachineArn`
    pub machine_arn: String,
    /// `name`
    pub name: String,
    /// `input`
    pub input: String,
    /// `startDate`, in milliseconds since 1970.
    pub started_ms: u64,
    /// Its outcome; `None` while it is open.
    pub outcome: Option<Outcome>,
    /// `redriveCount`
    pub redrive_count: u32,
    /// Its history.
    pub events: Vec<Event>,
}

/// The Standard executions of a [state folder](super::Builder::state), in the order in which they were started. Nothing
/// is written, and no lock is taken: of a folder that is in use, the last of what happened may be missing.
///
/// # Errors
/// When the folder has no journal, or one that cannot be read.
pub fn recorded_executions(folder: &Path) -> Result<Vec<RecordedExecution>, StateError> {
    let cold = Arc::new(Cold::at(folder, false, Arc::new(OnceLock::new())));
    let read = Durable::folder(folder).cold(Arc::<Cold>::clone(&cold)).read();
    let mut recovered = read
        .map_err(|error| StateError::Broken { arn: folder.display().to_string(), why: error.to_string() })?;
    let known: HashSet<u64> = recovered.iter().map(|execution| execution.id).collect();
    cold.visit::<StateError>(&mut |execution| {
        if !known.contains(&execution.id) {
            recovered.push(execution);
        }
        Ok(())
    })?;
    recovered.sort_by_key(|execution| execution.id);
    recovered.into_iter().map(recorded).collect()
}

fn recorded(recovered: RecoveredExecution) -> Result<RecordedExecution, StateError> {
    let broken = |why: String| StateError::Broken { arn: recovered.arn.to_string(), why };
    let label: Label = serde_json::from_slice(&recovered.label).map_err(|error| broken(error.to_string()))?;
    let history = LiveHistory::new(usize::MAX);
    for chunk in recovered.history.values() {
        history.recover(chunk).ok_or_else(|| broken("its history is malformed".to_owned()))?;
    }
    let events = history.read(|history| history.events().cloned().collect());
    Ok(RecordedExecution {
        arn: recovered.arn.to_string(),
        // The revision's note has the machine's ARN and three numbers as its key.
        machine_arn: match label.map_run {
            Some((_, machine)) => machine,
            None => label.revision.split(' ').next().unwrap_or_default().to_owned(),
        },
        name: recovered.name.to_string(),
        input: recovered.input.to_string(),
        started_ms: label.started_ms,
        outcome: recovered.outcome,
        redrive_count: recovered.redrives.0,
        events,
    })
}
