//! Standard executions that outlive the process: what is written of each beside what the engine writes, and how the
//! service finds them again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::executions::Draft;
use super::history::Recorder;
use super::machines::{Revision, Settings, StateMachine};
use super::map_runs::child_machine;
use super::store::StateError;
use super::versions::Version;
use super::{Inner, Target};
use crate::asl::MachineType;
use crate::observe::{Event, LiveHistory};
use crate::runtime::{Durable, Outcome, RecoveredExecution};

/// What an execution's record says that only the service understands.
#[derive(Serialize, Deserialize)]
pub(super) struct Label {
    /// Under which its revision is noted.
    revision: String,
    version: Option<(u32, Option<String>, u64)>,
    alias: Option<String>,
    started_ms: u64,
    number: u64,
    parent: Option<String>,
    /// Of a child of a Map Run, its ARN and that of its machine; the revision is that of the machine with the Map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    map_run: Option<(String, String)>,
}

/// What executions are run by, kept as long as the journal is: whatever becomes of the state machine.
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
    /// What is to be written of an execution that is to be durable; the revision it runs is noted first.
    pub(super) fn label(&self, draft: &Draft) -> Result<Box<[u8]>, super::Error> {
        let Target { machine, revision, version, alias } = &draft.target;
        // The label of a Map stands behind the name of the machine that has it, whose revision was noted.
        let of = machine.arn.split_once('/').map_or(&*machine.arn, |(machine, _)| machine);
        let key = format!("{of} {} {} {}", machine.created_ms, revision.number, revision.updated_ms);
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
        self.engine.note(key.as_bytes(), note)?;
        let version = version.as_ref().map(|it| (it.number, it.description.clone(), it.created_ms));
        let label = Label {
            revision: key,
            version,
            alias: alias.clone(),
            started_ms: draft.started_ms,
            number: draft.number,
            parent: draft.parent.clone(),
            map_run: draft.map_run.as_deref().map(|run| (run.to_owned(), machine.arn.to_string())),
        };
        Ok(serde_json::to_vec(&label).expect("a label is written as JSON").into())
    }

    /// Finds the executions of earlier processes; those that are not over go on.
    pub(super) fn recover(self: &Arc<Inner>) -> Result<(), StateError> {
        let mut revisions = HashMap::new();
        let mut all = Vec::new();
        for recovered in self.engine.recovered() {
            let label: Label = serde_json::from_slice(&recovered.label).map_err(|error| {
                StateError::Broken { arn: recovered.arn.to_string(), why: error.to_string() }
            })?;
            all.push((recovered, label));
        }
        // A Map Run that goes on looks for its children, and those for theirs.
        let depth = |label: &Label| label.map_run.as_ref().map_or(0, |(run, _)| run.matches('/').count());
        all.sort_by_key(|(_, label)| std::cmp::Reverse(depth(label)));
        self.recover_map_runs();
        for (recovered, label) in all {
            let broken = |why: String| StateError::Broken { arn: recovered.arn.to_string(), why };
            let target = self.recovered_target(&label, &mut revisions).map_err(&broken)?;
            let history = LiveHistory::new(self.settings.history_bytes_max);
            for chunk in recovered.history.values() {
                history.recover(chunk).ok_or_else(|| broken("its history is malformed".to_owned()))?;
            }
            let draft = Draft {
                arn: recovered.arn.to_string(),
                name: recovered.name.to_string(),
                target,
                input: recovered.input.to_string(),
                started_ms: label.started_ms,
                trace_header: recovered.trace_header.as_deref().map(str::to_owned),
                history,
                number: label.number,
                parent: label.parent,
                map_run: label.map_run.map(|(run, _)| run.into()),
            };
            self.go_on(draft, recovered)?;
        }
        self.stop_orphans();
        self.executions.expire(self.now_ms());
        Ok(())
    }

    fn go_on(&self, draft: Draft, mut recovered: RecoveredExecution) -> Result<(), StateError> {
        let (id, redrives) = (recovered.id, recovered.redrives);
        if let Some(outcome) = recovered.outcome.take() {
            return self.executions.put_back(draft, (id, redrives), || Ok(Err(outcome)));
        }
        let broken = |why: String| StateError::Broken { arn: draft.arn.clone(), why };
        let machine = draft.target.revision.runnable().map_err(|error| broken(error.message))?;
        let recorder = Recorder::new(&draft.history, &self.executions.open_bytes, true);
        // Where state machines are stored, one that is missing is deleted. An Express execution goes on to its end.
        let StateMachine { is_deleting, machine_type, .. } = *draft.target.machine;
        recovered.is_last_state =
            is_deleting && self.store.is_some() && machine_type == MachineType::Standard;
        let (arn, machine) = (draft.arn.clone(), machine.clone());
        self.executions.put_back(draft, (id, redrives), || {
            let handle = self.engine.resume(&machine, recovered, Some(Box::new(recorder)));
            handle.map(Ok).map_err(|error| StateError::Broken { arn, why: error.to_string() })
        })
    }

    /// What an execution was started by: the state machine as it is now, if it is the same still, else as it was.
    fn recovered_target(
        &self,
        label: &Label,
        revisions: &mut HashMap<String, (Arc<StateMachine>, Arc<Revision>)>,
    ) -> Result<Target, String> {
        let (machine, revision) = match revisions.get(&label.revision) {
            Some(known) => known.clone(),
            None => {
                let note =
                    self.engine.noted(label.revision.as_bytes()).ok_or("its definition is not recorded")?;
                let note: RevisionNote = serde_json::from_slice(&note).map_err(|error| error.to_string())?;
                let known = self.recovered_revision(note);
                revisions.insert(label.revision.clone(), known.clone());
                known
            }
        };
        if let Some((_, arn)) = &label.map_run {
            let published = revision.runnable().map_err(|error| error.message)?;
            let child = published.child(arn).ok_or("its Map is not in the definition")?;
            let (machine, revision) = child_machine(&machine, &revision, &child, arn);
            return Ok(Target { machine, revision, version: None, alias: None });
        }
        let version = label.version.clone().map(|(number, description, created_ms)| {
            Arc::new(Version { number, description, created_ms, revision: Arc::clone(&revision) })
        });
        Ok(Target { machine, revision, version, alias: label.alias.clone() })
    }

    fn recovered_revision(&self, note: RevisionNote) -> (Arc<StateMachine>, Arc<Revision>) {
        let now = self.machines.get(&note.arn).filter(|machine| machine.created_ms == note.created_ms);
        if let Some(machine) = &now {
            let versions = machine.versions.values().map(|version| &version.revision);
            let mut known = versions.chain([&machine.current]);
            let same = |it: &&Arc<Revision>| it.number == note.number && it.updated_ms == note.updated_ms;
            if let Some(revision) = known.find(same) {
                return (Arc::clone(machine), Arc::clone(revision));
            }
        }
        let RevisionNote { arn, name, created_ms, number, id, updated_ms, express, settings } = note;
        let machine_type = if express { MachineType::Express } else { MachineType::Standard };
        let machine = self.compile(&arn, &name, machine_type, &settings);
        let machine = machine.map_err(|error| error.message.into_boxed_str());
        let charge = self.charge_anyway(&settings.definition);
        let revision = Arc::new(Revision { number, id, updated_ms, settings, machine, charge });
        let machine = now.unwrap_or_else(|| {
            // Deleted meanwhile, or, where nothing is stored, still to be created.
            Arc::new(StateMachine {
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
            })
        });
        (machine, revision)
    }
}

// ---- what is recorded, for those who only look ----

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
    /// What it came to; `None` while it is open.
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
    let recovered = Durable::folder(folder)
        .read()
        .map_err(|error| StateError::Broken { arn: folder.display().to_string(), why: error.to_string() })?;
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
        // The revision's note is under the machine's ARN and three numbers.
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
