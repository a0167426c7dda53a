//! Standard executions that outlive the process: what is written of each beside what the engine writes, and how the
//! service finds them again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::executions::Draft;
use super::history::Recorder;
use super::machines::{Revision, Settings, StateMachine};
use super::store::StateError;
use super::versions::Version;
use super::{Inner, Target};
use crate::asl::MachineType;
use crate::observe::history::Detail;
use crate::observe::{Event, EventType, LiveHistory};
use crate::runtime::RecoveredExecution;

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
        let key =
            format!("{} {} {} {}", machine.arn, machine.created_ms, revision.number, revision.updated_ms);
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
        };
        Ok(serde_json::to_vec(&label).expect("a label is written as JSON").into())
    }

    /// Finds the executions of earlier processes; those that are not over go on.
    pub(super) fn recover(self: &Arc<Inner>) -> Result<(), StateError> {
        let mut revisions = HashMap::new();
        for recovered in self.engine.recovered() {
            let broken = |why: String| StateError::Broken { arn: recovered.arn.to_string(), why };
            let label: Label =
                serde_json::from_slice(&recovered.label).map_err(|error| broken(error.to_string()))?;
            let target = self.recovered_target(&label, &mut revisions).map_err(&broken)?;
            let history = LiveHistory::new(self.settings.history_bytes_max);
            let mut events = Vec::new();
            for chunk in recovered.history.values() {
                read_events(chunk, &mut events)
                    .ok_or_else(|| broken("its history is malformed".to_owned()))?;
            }
            history.recover(events);
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
            };
            self.go_on(draft, recovered)?;
        }
        Ok(())
    }

    fn go_on(&self, draft: Draft, mut recovered: RecoveredExecution) -> Result<(), StateError> {
        let id = recovered.id;
        if let Some(outcome) = recovered.outcome.take() {
            self.executions.put_back(draft, id, Err(outcome));
            return Ok(());
        }
        let broken = |why: String| StateError::Broken { arn: draft.arn.clone(), why };
        let machine = draft.target.revision.runnable().map_err(|error| broken(error.message))?;
        let recorder = Recorder::new(&draft.history, &self.executions.open_bytes, true);
        let handle = self.engine.resume(machine, recovered, Some(Box::new(recorder)));
        let handle = handle.map_err(|error| broken(error.to_string()))?;
        self.executions.put_back(draft, id, Ok(handle));
        Ok(())
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
            // Deleted meanwhile, or its folder of definitions is still to be read.
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

// ---- events as bytes ----

const TEXT: u8 = 0;
const JSON: u8 = 1;
const NUMBER: u8 = 2;
const MEMBERS: u8 = 3;

/// Appends an event.
pub(super) fn write_event(event: &Event, out: &mut Vec<u8>) {
    for number in [event.id, event.previous, event.time_ms] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    write_text(event.event_type.name(), out);
    out.extend_from_slice(&(event.details.len() as u32).to_le_bytes());
    for (name, detail) in &event.details {
        write_text(name, out);
        write_detail(detail, out);
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn write_detail(detail: &Detail, out: &mut Vec<u8>) {
    match detail {
        Detail::Text(text) => {
            out.push(TEXT);
            write_text(text, out);
        }
        Detail::Json(text) => {
            out.push(JSON);
            write_text(text, out);
        }
        Detail::Number(number) => {
            out.push(NUMBER);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Detail::Members(members) => {
            out.push(MEMBERS);
            out.extend_from_slice(&(members.len() as u32).to_le_bytes());
            for (name, detail) in members {
                write_text(name, out);
                write_detail(detail, out);
            }
        }
    }
}

/// Reads events that were written behind each other; `None` when they are none.
pub(super) fn read_events(mut bytes: &[u8], events: &mut Vec<Event>) -> Option<()> {
    let from = &mut bytes;
    while !from.is_empty() {
        let (id, previous, time_ms) = (number(from)?, number(from)?, number(from)?);
        let name = text(from)?;
        let event_type = *EventType::ALL.iter().find(|it| it.name() == name)?;
        let mut details = Vec::new();
        for _ in 0..length(from)? {
            let name = lasting(text(from)?);
            details.push((name, read_detail(from, 0)?));
        }
        events.push(Event { id, previous, time_ms, event_type, details });
    }
    Some(())
}

fn read_detail(from: &mut &[u8], depth: usize) -> Option<Detail> {
    let (&kind, rest) = from.split_first()?;
    *from = rest;
    Some(match kind {
        TEXT => Detail::Text(text(from)?.into()),
        JSON => Detail::Json(text(from)?.into()),
        NUMBER => Detail::Number(number(from)?),
        // What is written is nested twice at most.
        MEMBERS if depth < 8 => {
            let mut members = Vec::new();
            for _ in 0..length(from)? {
                members.push((text(from)?.into(), read_detail(from, depth + 1)?));
            }
            Detail::Members(members)
        }
        _ => return None,
    })
}

fn number(from: &mut &[u8]) -> Option<u64> {
    let (number, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u64::from_le_bytes(*number))
}

fn length(from: &mut &[u8]) -> Option<usize> {
    let (length, rest) = from.split_first_chunk()?;
    *from = rest;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}

fn text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    let length = length(from)?;
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    std::str::from_utf8(text).ok()
}

/// The name of a member, for ever: there are some tens of them.
fn lasting(name: &str) -> &'static str {
    static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    if let Some(known) = names.get(name) {
        return known;
    }
    let lasting: &'static str = Box::leak(name.into());
    names.insert(lasting);
    lasting
}
