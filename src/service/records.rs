//! Stored records of state machines and activities.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::activity::Activity;
use super::configuration::Tag;
use super::inner::Inner;
use super::machine::{Alias, Revision, Settings, StateMachine, Version};
use super::place::Place;
use super::state_error::StateError;
use super::tables::{Kind, Tables};
use crate::asl::MachineType;
use crate::memory::OwnCharge;

#[derive(Serialize, Deserialize)]
pub(super) struct MachineRecord {
    name: Box<str>,
    express: bool,
    created_ms: u64,
    /// The number of the current revision.
    current: u64,
    last_version: u32,
    versions: Vec<VersionRecord>,
    aliases: Vec<Alias>,
    tags: Vec<Tag>,
    published_at_creation: Option<Option<String>>,
}

#[derive(Serialize, Deserialize)]
struct VersionRecord {
    number: u32,
    description: Option<String>,
    created_ms: u64,
    revision: u64,
}

#[derive(Serialize, Deserialize)]
struct RevisionRecord {
    id: Option<String>,
    updated_ms: u64,
    settings: Settings,
}

impl MachineRecord {
    pub(super) fn of(machine: &StateMachine) -> MachineRecord {
        let version = |version: &Arc<Version>| VersionRecord {
            number: version.number,
            description: version.description.clone(),
            created_ms: version.created_ms,
            revision: version.revision.number,
        };
        MachineRecord {
            name: machine.name.clone(),
            express: machine.is_express(),
            created_ms: machine.created_ms,
            current: machine.current.number,
            last_version: machine.last_version,
            versions: machine.versions.values().map(version).collect(),
            aliases: machine.aliases.values().map(|alias| (**alias).clone()).collect(),
            tags: machine.tags.clone(),
            published_at_creation: machine.published_at_creation.clone(),
        }
    }
}

/// A stored state machine. Revisions that are known are not compiled again.
pub(super) fn machine_of(
    place: &Place,
    inner: &Inner,
    (arn, record): (&str, &[u8]),
    known: Option<&StateMachine>,
) -> Result<StateMachine, StateError> {
    let record: MachineRecord = record_of(arn, record)?;
    let machine_type = if record.express { MachineType::Express } else { MachineType::Standard };
    let known = known.filter(|known| known.created_ms == record.created_ms && !known.is_deleting);
    let versions =
        known.into_iter().flat_map(|known| known.versions.values().map(|version| &version.revision));
    let known: BTreeMap<u64, &Arc<Revision>> = versions
        .chain(known.map(|known| &known.current))
        .map(|revision| (revision.number, revision))
        .collect();
    let revision = |number: u64| {
        if let Some(known) = known.get(&number) {
            return Ok(Arc::clone(known));
        }
        let stored = place.revision(arn, number)?;
        let stored = stored.ok_or_else(|| broken(arn, "a revision is missing"))?;
        let RevisionRecord { id, updated_ms, settings } = record_of(arn, &stored)?;
        let machine = inner.compile(arn, &record.name, machine_type, &settings);
        // For instance after a change of version, or with fewer integrations: it is kept, and cannot be run.
        let machine = machine.map_err(|error| {
            tracing::warn!(arn, reason = %error.message, "a stored state machine cannot be run");
            error.message.into_boxed_str()
        });
        let charge = inner.charge_anyway(&settings.definition, &machine);
        Ok(Arc::new(Revision { number, id, updated_ms, settings, machine, charge }))
    };
    let current = revision(record.current)?;
    let mut versions = BTreeMap::new();
    for version in record.versions {
        let VersionRecord { number, description, created_ms, revision: wanted } = version;
        let revision = if wanted == current.number { Arc::clone(&current) } else { revision(wanted)? };
        versions.insert(number, Arc::new(Version { number, description, created_ms, revision }));
    }
    let aliases = record.aliases.into_iter().map(|alias| (alias.name.clone(), Arc::new(alias)));
    Ok(StateMachine {
        is_deleting: false,
        arn: arn.into(),
        name: record.name,
        machine_type,
        created_ms: record.created_ms,
        current,
        last_version: record.last_version,
        versions,
        aliases: aliases.collect(),
        tags: record.tags,
        published_at_creation: record.published_at_creation,
        charge: OwnCharge::default(),
    })
}

pub(super) fn put_machine(tables: &mut dyn Tables, machine: &StateMachine) -> Result<(), StateError> {
    let arn = &*machine.arn;
    let revisions = machine.versions.values().map(|version| &version.revision).chain([&machine.current]);
    let needed: BTreeMap<u64, &Arc<Revision>> =
        revisions.map(|revision| (revision.number, revision)).collect();
    tables.put(Kind::Machine, arn, 0, &bytes(arn, &MachineRecord::of(machine))?)?;
    let kept = tables.numbers(Kind::Revision, arn)?;
    for number in kept.iter().filter(|number| !needed.contains_key(number)) {
        tables.remove(Kind::Revision, arn, *number)?;
    }
    for (number, revision) in needed.iter().filter(|(number, _)| !kept.contains(number)) {
        let Revision { id, updated_ms, settings, .. } = &***revision;
        let record = RevisionRecord { id: id.clone(), updated_ms: *updated_ms, settings: settings.clone() };
        tables.put(Kind::Revision, arn, *number, &bytes(arn, &record)?)?;
    }
    Ok(())
}

pub(super) fn remove_machine(tables: &mut dyn Tables, arn: &str) -> Result<(), StateError> {
    tables.remove(Kind::Machine, arn, 0)?;
    tables.remove_all(Kind::Revision, arn)
}

pub(super) fn put_activity(tables: &mut dyn Tables, activity: &Activity) -> Result<(), StateError> {
    tables.put(Kind::Activity, &activity.arn, 0, &bytes(&activity.arn, activity)?)
}

/// Makes the records equal to what is in memory.
pub(super) fn agree(tables: &mut dyn Tables, inner: &Inner) -> Result<(), StateError> {
    let machines: BTreeMap<String, Arc<StateMachine>> = inner
        .machines
        .after(None, usize::MAX)
        .into_iter()
        .filter(|machine| !machine.is_deleting)
        .map(|machine| (machine.arn.to_string(), machine))
        .collect();
    for arn in tables.arns(Kind::Machine)?.iter().filter(|arn| !machines.contains_key(*arn)) {
        remove_machine(tables, arn)?;
    }
    machines.values().try_for_each(|machine| put_machine(tables, machine))?;
    for arn in tables.arns(Kind::Activity)?.iter().filter(|arn| inner.activities.get(arn).is_none()) {
        tables.remove(Kind::Activity, arn, 0)?;
    }
    inner.activities.after(None, usize::MAX).iter().try_for_each(|activity| put_activity(tables, activity))
}

pub(super) fn bytes(arn: &str, record: &impl Serialize) -> Result<Vec<u8>, StateError> {
    serde_json::to_vec(record).map_err(|error| broken(arn, error))
}

pub(super) fn record_of<T: DeserializeOwned>(arn: &str, bytes: &[u8]) -> Result<T, StateError> {
    serde_json::from_slice(bytes).map_err(|error| broken(arn, error))
}

fn broken(arn: &str, why: impl std::fmt::Display) -> StateError {
    StateError::Broken { arn: arn.to_owned(), why: why.to_string() }
}
