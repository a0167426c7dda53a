//! Storage of what survives a restart: state machines with their revisions, versions, aliases and tags, and activities,
//! in an embedded database, or in the database of a cluster. Executions are in the journal.
//!
//! Every change is one transaction, on the disk before the action is answered. When that fails, the action is refused,
//! and so are others until writing works again; executions in memory continue.

#[cfg(feature = "clustered")]
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use super::activity::Activity;
use super::disk::Disk;
use super::inner::Inner;
use super::machine::StateMachine;
use super::place::Place;
#[cfg(feature = "clustered")]
use super::records::{MachineRecord, bytes};
use super::records::{agree, machine_of, put_activity, put_machine, record_of, remove_machine};
use super::state_error::StateError;
use super::tables::{Change, Kind};
use crate::limits;

const RETRY_MIN: Duration = Duration::from_millis(limits::STORE_RETRY_MS_MIN);
const RETRY_MAX: Duration = Duration::from_millis(limits::STORE_RETRY_MS_MAX);

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
