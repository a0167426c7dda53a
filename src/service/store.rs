//! What survives a restart: state machines with their revisions, versions, aliases and tags, and activities, in an
//! embedded database. Executions do not.
//!
//! Every change is one transaction, on the disk before the action is answered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::activities::Activity;
use super::configuration::Tag;
use super::machines::{Revision, Settings, StateMachine};
use super::versions::{Alias, Version};
use super::{Error, Exception, Inner};
use crate::asl::MachineType;

/// By the ARN: a [`MachineRecord`].
const MACHINES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state machines");
/// By the ARN and the revision's number: a [`RevisionRecord`].
const REVISIONS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("revisions");
/// By the ARN: an [`Activity`].
const ACTIVITIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("activities");

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Its folder cannot be made.
    #[error("the folder {} cannot be made: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The database failed.
    #[error("the stored state cannot be used: {0}")]
    Database(String),
    /// What is stored is not what this version writes.
    #[error("what is stored of {arn} cannot be read: {why}")]
    Broken {
        /// Of what.
        arn: String,
        /// Why.
        why: String,
    },
}

fn database(error: impl Into<redb::Error>) -> StateError {
    StateError::Database(error.into().to_string())
}

impl From<StateError> for Error {
    fn from(error: StateError) -> Error {
        Error::new(Exception::InternalFailure, error.to_string())
    }
}

/// The database.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
}

#[derive(Serialize, Deserialize)]
struct MachineRecord {
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
    fn of(machine: &StateMachine) -> MachineRecord {
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

impl Store {
    /// Opens the database of a folder, which is made if need be.
    pub(super) fn open(folder: &Path) -> Result<Store, StateError> {
        std::fs::create_dir_all(folder)
            .map_err(|error| StateError::Folder { path: folder.to_owned(), error })?;
        let database_ = Database::create(folder.join("expressway.redb")).map_err(database)?;
        let write = database_.begin_write().map_err(database)?;
        // So that they can be read even when nothing was ever written.
        write.open_table(MACHINES).map_err(database)?;
        write.open_table(REVISIONS).map_err(database)?;
        write.open_table(ACTIVITIES).map_err(database)?;
        write.commit().map_err(database)?;
        Ok(Store { database: database_ })
    }

    /// Writes a state machine as it is now: revisions that nothing needs any more go with it.
    pub(super) fn keep_machine(&self, machine: &StateMachine) -> Result<(), StateError> {
        let arn = &*machine.arn;
        let revisions = machine.versions.values().map(|version| &version.revision).chain([&machine.current]);
        let needed: BTreeMap<u64, &Arc<Revision>> =
            revisions.map(|revision| (revision.number, revision)).collect();
        let write = self.database.begin_write().map_err(database)?;
        {
            let mut table = write.open_table(MACHINES).map_err(database)?;
            table.insert(arn, &*bytes(arn, &MachineRecord::of(machine))?).map_err(database)?;
            let mut table = write.open_table(REVISIONS).map_err(database)?;
            let mut kept = Vec::new();
            for entry in table.range((arn, 0)..=(arn, u64::MAX)).map_err(database)? {
                kept.push(entry.map_err(database)?.0.value().1);
            }
            for number in kept.iter().filter(|number| !needed.contains_key(number)) {
                table.remove((arn, *number)).map_err(database)?;
            }
            for (number, revision) in needed.iter().filter(|(number, _)| !kept.contains(number)) {
                let Revision { id, updated_ms, settings, .. } = &***revision;
                let record =
                    RevisionRecord { id: id.clone(), updated_ms: *updated_ms, settings: settings.clone() };
                table.insert((arn, *number), &*bytes(arn, &record)?).map_err(database)?;
            }
        }
        write.commit().map_err(database)
    }

    pub(super) fn forget_machine(&self, arn: &str) -> Result<(), StateError> {
        let write = self.database.begin_write().map_err(database)?;
        {
            let mut table = write.open_table(MACHINES).map_err(database)?;
            table.remove(arn).map_err(database)?;
            let mut table = write.open_table(REVISIONS).map_err(database)?;
            table.retain_in((arn, 0)..=(arn, u64::MAX), |_, _| false).map_err(database)?;
        }
        write.commit().map_err(database)
    }

    pub(super) fn keep_activity(&self, activity: &Activity) -> Result<(), StateError> {
        let write = self.database.begin_write().map_err(database)?;
        {
            let mut table = write.open_table(ACTIVITIES).map_err(database)?;
            table.insert(&*activity.arn, &*bytes(&activity.arn, activity)?).map_err(database)?;
        }
        write.commit().map_err(database)
    }

    pub(super) fn forget_activity(&self, arn: &str) -> Result<(), StateError> {
        let write = self.database.begin_write().map_err(database)?;
        {
            let mut table = write.open_table(ACTIVITIES).map_err(database)?;
            table.remove(arn).map_err(database)?;
        }
        write.commit().map_err(database)
    }

    /// Registers all that is stored.
    pub(super) fn load(&self, inner: &Inner) -> Result<(), StateError> {
        let read = self.database.begin_read().map_err(database)?;
        let revisions = read.open_table(REVISIONS).map_err(database)?;
        for entry in read.open_table(MACHINES).map_err(database)?.iter().map_err(database)? {
            let (arn, record) = entry.map_err(database)?;
            let arn = arn.value();
            let record: MachineRecord = record_of(arn, record.value())?;
            let machine_type = if record.express { MachineType::Express } else { MachineType::Standard };
            let revision = |number: u64| {
                let stored = revisions.get((arn, number)).map_err(database)?;
                let stored = stored.ok_or_else(|| broken(arn, "a revision is missing"))?;
                let RevisionRecord { id, updated_ms, settings } = record_of(arn, stored.value())?;
                let machine = inner
                    .compile(arn, &record.name, machine_type, &settings)
                    .map_err(|error| broken(arn, error))?;
                Ok(Arc::new(Revision { number, id, updated_ms, settings, machine }))
            };
            let current = revision(record.current)?;
            let mut versions = BTreeMap::new();
            for version in record.versions {
                let VersionRecord { number, description, created_ms, revision: wanted } = version;
                let revision =
                    if wanted == current.number { Arc::clone(&current) } else { revision(wanted)? };
                versions.insert(number, Arc::new(Version { number, description, created_ms, revision }));
            }
            let aliases = record.aliases.into_iter().map(|alias| (alias.name.clone(), Arc::new(alias)));
            let machine = StateMachine {
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
            };
            inner.machines.put(arn, Arc::new(machine));
        }
        for entry in read.open_table(ACTIVITIES).map_err(database)?.iter().map_err(database)? {
            let (arn, record) = entry.map_err(database)?;
            let activity: Activity = record_of(arn.value(), record.value())?;
            inner.activities.put(arn.value(), Arc::new(activity));
        }
        Ok(())
    }
}

fn bytes(arn: &str, record: &impl Serialize) -> Result<Vec<u8>, StateError> {
    serde_json::to_vec(record).map_err(|error| broken(arn, error))
}

fn record_of<T: DeserializeOwned>(arn: &str, bytes: &[u8]) -> Result<T, StateError> {
    serde_json::from_slice(bytes).map_err(|error| broken(arn, error))
}

fn broken(arn: &str, why: impl std::fmt::Display) -> StateError {
    StateError::Broken { arn: arn.to_owned(), why: why.to_string() }
}
