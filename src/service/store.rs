//! Storage of what survives a restart: state machines with their revisions, versions, aliases and tags, and activities,
//! in an embedded database, or in the database of a cluster. Executions are in the journal.
//!
//! Every change is one transaction, on the disk before the action is answered. When that fails, the action is refused,
//! and so are others until writing works again; executions in memory continue.

use std::collections::BTreeMap;
#[cfg(feature = "clustered")]
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::activities::Activity;
use super::configuration::Tag;
use super::disk::Disk;
use super::machines::{Revision, Settings, StateMachine};
use super::tables::{Change, Kind, Place, Tables};
use super::versions::{Alias, Version};
use super::{Error, Exception, Inner};
use crate::asl::MachineType;
use crate::limits;
use crate::memory::OwnCharge;

const RETRY_MIN: Duration = Duration::from_millis(limits::STORE_RETRY_MS_MIN);
const RETRY_MAX: Duration = Duration::from_millis(limits::STORE_RETRY_MS_MAX);

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Its folder cannot be made.
    #[error("the folder {} cannot be made: {}", path.display(), crate::os::words(error))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The database failed.
    #[error("the stored state cannot be used: {0}")]
    Database(String),
    /// Nothing can be written at present.
    #[error("{why}")]
    Unavailable {
        /// Why.
        why: String,
        /// When it is tried again.
        retry_after: Duration,
    },
    /// The opened file is no longer in its place.
    #[error("the stored state was removed: {0}")]
    Gone(String),
    /// A record is not what this version writes.
    #[error("the stored record of {arn} cannot be read: {why}")]
    Broken {
        /// The resource.
        arn: String,
        /// Why.
        why: String,
    },
}

pub(super) fn database(error: impl Into<redb::Error>) -> StateError {
    StateError::Database(match error.into() {
        redb::Error::DatabaseAlreadyOpen => "it is in use by another process".to_owned(),
        error => error.to_string(),
    })
}

impl From<StateError> for Error {
    fn from(error: StateError) -> Error {
        let retry_after = match &error {
            StateError::Unavailable { retry_after, .. } => *retry_after,
            _ => RETRY_MIN,
        };
        let message = format!("Nothing was changed: {error}");
        Error { retry_after: Some(retry_after), ..Error::new(Exception::InternalFailure, message) }
    }
}

/// The database. Writing to it may fail, and work again later: meanwhile changes are refused, and memory holds the
/// current state.
#[derive(Debug)]
pub(super) struct Store {
    state: Mutex<State>,
    /// The problem, for callers that do not wait.
    said: Mutex<Option<String>>,
    /// The registry with which the database is to agree.
    inner: OnceLock<Weak<Inner>>,
}

#[derive(Debug)]
struct State {
    place: Place,
    trouble: Option<Trouble>,
    /// Whether a thread retries.
    is_mended: bool,
}

/// Why nothing can be written.
#[derive(Debug)]
struct Trouble {
    why: String,
    delay: Duration,
    retry_at: Instant,
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
    /// Opens the database of a folder, which is created if missing.
    pub(super) fn open(folder: &Path) -> Result<Store, StateError> {
        Ok(Store::at(Place::Disk(Disk::open(folder)?)))
    }

    /// Opens the database of a cluster, which this node owns.
    #[cfg(feature = "clustered")]
    pub(super) fn in_cluster(cluster: &crate::journal::cluster::Cluster) -> Result<Store, StateError> {
        Ok(Store::at(Place::Database(super::database::Database::open(cluster)?)))
    }

    fn at(place: Place) -> Store {
        let state = State { place, trouble: None, is_mended: false };
        Store { state: Mutex::new(state), said: Mutex::default(), inner: OnceLock::new() }
    }

    /// Sets the registry with which it is to agree after a failure.
    pub(super) fn belongs_to(&self, inner: &Arc<Inner>) {
        // This is its only setter.
        let _ = self.inner.set(Arc::downgrade(inner));
    }

    /// Writes a state machine; revisions that are no longer needed are removed.
    pub(super) fn keep_machine(&self, machine: &StateMachine) -> Result<(), StateError> {
        self.change(&mut |tables| put_machine(tables, machine))
    }

    pub(super) fn forget_machine(&self, arn: &str) -> Result<(), StateError> {
        self.change(&mut |tables| remove_machine(tables, arn))
    }

    pub(super) fn keep_activity(&self, activity: &Activity) -> Result<(), StateError> {
        self.change(&mut |tables| put_activity(tables, activity))
    }

    pub(super) fn forget_activity(&self, arn: &str) -> Result<(), StateError> {
        self.change(&mut |tables| tables.remove(Kind::Activity, arn, 0))
    }

    /// Why nothing can be written; `None` if it can.
    pub(super) fn trouble(&self) -> Option<String> {
        // Writing and reopening may hold the lock for long; a status query does not wait for it.
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => return self.said().clone(),
        };
        if state.trouble.is_none()
            && let Err(error) = state.place.is_in_place()
        {
            self.fails(&mut state, &error);
        }
        state.trouble.as_ref().map(|trouble| trouble.why.clone())
    }

    /// The last known reason why nothing can be written.
    fn said(&self) -> MutexGuard<'_, Option<String>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is consistent between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a change as one transaction. It is on the disk, in the current file, when this succeeds. Changes come one
    /// at a time: their callers hold the registry's lock.
    fn change(&self, change: Change<'_>) -> Result<(), StateError> {
        let mut state = self.state();
        #[cfg(feature = "clustered")]
        if let Place::Database(database) = &state.place
            && !database.is_owner()
        {
            let why = "another node of the cluster changes what is registered".to_owned();
            return Err(StateError::Unavailable { why, retry_after: RETRY_MIN });
        }
        if let Some(Trouble { why, retry_at, .. }) = &state.trouble {
            let left = retry_at.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return Err(StateError::Unavailable { why: why.clone(), retry_after: left });
            }
            self.mend(&mut state)?;
        }
        let done = state.place.change(change);
        if let Err(error) = &done {
            self.fails(&mut state, error);
        }
        done
    }

    /// Writing failed: logs it, and retries after growing delays.
    fn fails(&self, state: &mut State, error: &StateError) {
        let (why, delay) = (
            error.to_string(),
            match &state.trouble {
                None => RETRY_MIN,
                Some(trouble) => trouble.delay.saturating_mul(2).min(RETRY_MAX),
            },
        );
        if state.trouble.as_ref().is_none_or(|trouble| trouble.why != why) {
            tracing::error!(reason = %why, "the state cannot be stored: changes are refused until it can");
        }
        let retry_at = Instant::now() + delay;
        *self.said() = Some(why.clone());
        state.trouble = Some(Trouble { why, delay, retry_at });
        if !state.is_mended
            && let Some(inner) = self.inner.get()
        {
            let inner = Weak::clone(inner);
            let thread = std::thread::Builder::new().name("store".to_owned());
            // Without the thread, the next change retries.
            state.is_mended = thread.spawn(move || keep_mending(&inner)).is_ok();
        }
    }

    /// Reopens the database, and makes it agree with what is in memory: whether a failed change reached the disk is
    /// unknown.
    fn mend(&self, state: &mut State) -> Result<(), StateError> {
        let inner = self.inner.get().and_then(Weak::upgrade);
        let mended = state.place.reopen().and_then(|()| match inner {
            Some(inner) => state.place.change(&mut |tables| agree(tables, &inner)),
            None => Ok(()),
        });
        match &mended {
            Ok(()) => {
                state.trouble = None;
                *self.said() = None;
                tracing::info!("the state can be stored again");
            }
            Err(error) => self.fails(state, error),
        }
        mended
    }

    /// Registers everything stored.
    pub(super) fn load(&self, inner: &Inner) -> Result<(), StateError> {
        let state = self.state();
        state.place.all(Kind::Machine, &mut |arn, record| {
            inner.put_machine(machine_of(&state.place, inner, (arn, record), None)?);
            Ok(())
        })?;
        state.place.all(Kind::Activity, &mut |arn, record| {
            let activity: Activity = record_of(arn, record)?;
            inner.put_activity(activity);
            Ok(())
        })
    }

    /// Registers what another node has changed: the kinds and ARNs of these, or all.
    #[cfg(feature = "clustered")]
    pub(super) fn follow(
        &self,
        inner: &Inner,
        changed: Option<Vec<(i32, String)>>,
    ) -> Result<(), StateError> {
        let _writing = inner.writing();
        let state = self.state();
        let Place::Database(database) = &state.place else { return Ok(()) };
        let changed = match changed {
            Some(changed) => changed,
            None => {
                let mut all = Vec::new();
                let machines = inner.machines.after(None, usize::MAX);
                all.extend(machines.iter().map(|machine| (Kind::Machine as i32, machine.arn.to_string())));
                let activities = inner.activities.after(None, usize::MAX);
                all.extend(activities.iter().map(|it| (Kind::Activity as i32, it.arn.to_string())));
                for kind in [Kind::Machine, Kind::Activity] {
                    all.extend(database.arns(kind)?.into_iter().map(|arn| (kind as i32, arn)));
                }
                all
            }
        };
        let activity = Kind::Activity as i32;
        let changed: BTreeSet<(bool, String)> =
            changed.into_iter().map(|(kind, arn)| (kind == activity, arn)).collect();
        for (is_activity, arn) in &changed {
            if *is_activity {
                match database.get(Kind::Activity, arn)? {
                    Some(record) => follow_activity(inner, arn, record_of(arn, &record)?),
                    None => drop(inner.activities.remove(arn)),
                }
                continue;
            }
            let known = inner.machines.get(arn);
            match (database.get(Kind::Machine, arn)?, known) {
                (Some(record), Some(known)) if bytes(arn, &MachineRecord::of(&known))? == record => {}
                (Some(record), known) => {
                    let machine = machine_of(&state.place, inner, (arn, &record), known.as_deref())?;
                    inner.put_machine(machine);
                }
                (None, Some(known)) if !known.is_deleting => inner.begin_deleting(&known),
                (None, _) => {}
            }
        }
        Ok(())
    }
}

/// Workers that wait for an activity's tasks still count.
#[cfg(feature = "clustered")]
fn follow_activity(inner: &Inner, arn: &str, stored: Activity) {
    let pollers = inner.activities.get(arn).map(|known| Arc::clone(&known.pollers));
    let activity = Activity { pollers: pollers.unwrap_or_default(), ..stored };
    inner.put_activity(activity);
}

/// A stored state machine. Revisions that are known are not compiled again.
fn machine_of(
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

/// Retries until writing works, or the service is dropped.
fn keep_mending(inner: &Weak<Inner>) {
    loop {
        let Some(delay) = inner.upgrade().and_then(|inner| {
            let store = inner.store.as_ref()?;
            let _writing = inner.writing();
            let mut state = store.state();
            if let Some(Trouble { retry_at, .. }) = &state.trouble
                && *retry_at <= Instant::now()
            {
                // A failure is logged where it happens.
                let _ = store.mend(&mut state);
            }
            state.is_mended = state.trouble.is_some();
            state.trouble.as_ref().map(|trouble| trouble.retry_at.saturating_duration_since(Instant::now()))
        }) else {
            return;
        };
        std::thread::sleep(delay);
    }
}

// ---- records ----

fn put_machine(tables: &mut dyn Tables, machine: &StateMachine) -> Result<(), StateError> {
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

fn remove_machine(tables: &mut dyn Tables, arn: &str) -> Result<(), StateError> {
    tables.remove(Kind::Machine, arn, 0)?;
    tables.remove_all(Kind::Revision, arn)
}

fn put_activity(tables: &mut dyn Tables, activity: &Activity) -> Result<(), StateError> {
    tables.put(Kind::Activity, &activity.arn, 0, &bytes(&activity.arn, activity)?)
}

/// Makes the records equal to what is in memory.
fn agree(tables: &mut dyn Tables, inner: &Inner) -> Result<(), StateError> {
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

fn bytes(arn: &str, record: &impl Serialize) -> Result<Vec<u8>, StateError> {
    serde_json::to_vec(record).map_err(|error| broken(arn, error))
}

fn record_of<T: DeserializeOwned>(arn: &str, bytes: &[u8]) -> Result<T, StateError> {
    serde_json::from_slice(bytes).map_err(|error| broken(arn, error))
}

fn broken(arn: &str, why: impl std::fmt::Display) -> StateError {
    StateError::Broken { arn: arn.to_owned(), why: why.to_string() }
}
