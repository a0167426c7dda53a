//! Moving the state of a server between folders and clusters.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::cold::Cold;
use super::database::Database;
use super::disk::Disk;
use super::executions::number_in_partition;
use super::label::Label;
use super::place::Place;
use super::state_error::StateError;
use super::tables::Kind;
use crate::journal::cluster::Cluster;
use crate::journal::{FolderLock, JournalError, Ownership};
use crate::runtime::{Contents, Durable, RecoveredExecution, Sum, Transfer};

/// Where the state of a server is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StatePlace {
    /// In a [folder](super::Builder::state).
    Folder(PathBuf),
    /// In a [cluster](super::Builder::cluster).
    Cluster(Cluster),
}

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopiedState {
    /// Standard executions, of any status.
    pub executions: u64,
    /// State machines, and all of their revisions.
    pub machines: u64,
    /// Activities.
    pub activities: u64,
}

/// Copies the state of a server, which must not run, to another place, for a server there: state machines, activities,
/// and Standard executions, which continue from their last turns. The copy is read back. Map Runs of a folder that are over
/// are not described any more.
///
/// A folder to copy to must be new or empty, and a cluster without a journal. A copy that was not finished is no state: the
/// next attempt begins anew.
///
/// # Errors
/// When one of them is in use, cannot be read or written, has a state already, or a Map Run of a folder is not over.
pub fn copy_state(from: &StatePlace, to: &StatePlace) -> Result<CopiedState, JournalError> {
    match from {
        StatePlace::Folder(folder) => {
            let mut lock = FolderLock::of(folder.join("journal"));
            lock.claim()?;
            let disk = Place::Disk(Disk::open(folder)?);
            if crate::runtime::has_open_map_run(folder) {
                return Err(JournalError::Options(
                    "a Map Run of the folder is not over, and the outcomes of its children are in files, which are not \
                     copied: let it end, or stop its execution, before",
                ));
            }
            let rows = Arc::new(Cold::at(folder, false, Arc::new(OnceLock::new())));
            let journal = Durable::folder(folder).cold(Arc::<Cold>::clone(&rows));
            Source { records: disk, journal, rows: Some(rows) }.copy_to(to)
        }
        StatePlace::Cluster(cluster) => {
            let _held = cluster.hold()?;
            let records = Place::Database(Database::open(cluster)?);
            Source { records, journal: Durable::cluster(cluster.clone()), rows: None }.copy_to(to)
        }
    }
}

/// A state that is not in use.
struct Source {
    records: Place,
    journal: Durable,
    /// The executions that are not in memory, and whose records the journal need not have.
    rows: Option<Arc<Cold>>,
}

impl Source {
    fn copy_to(&self, to: &StatePlace) -> Result<CopiedState, JournalError> {
        match to {
            StatePlace::Folder(folder) => self.copy_to_folder(folder),
            StatePlace::Cluster(cluster) => {
                let cluster = cluster.for_copy();
                cluster.begin_copy()?;
                let _renewal = cluster.renewed()?;
                let journal = Durable::cluster(cluster.clone());
                let mut transfer = journal.transfer()?;
                // The owner of the journal, or of its first partition, may change what is registered.
                let records = Place::Database(Database::open(&cluster)?);
                let (machines, activities) = move_records(&self.records, &records)?;
                self.write(&mut transfer)?;
                let executions = end(transfer, &journal)?;
                cluster.end_copy()?;
                Ok(CopiedState { executions, machines, activities })
            }
        }
    }

    fn copy_to_folder(&self, folder: &Path) -> Result<CopiedState, JournalError> {
        let at = |path: &Path| JournalError::io(path.display().to_string());
        let is_new = std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
        let unfinished = folder.join(UNFINISHED);
        if !is_new && !unfinished.is_dir() {
            return Err(JournalError::Options("the folder to copy to is not empty"));
        }
        let disk = Place::Disk(Disk::open(folder)?);
        if unfinished.is_dir() {
            std::fs::remove_dir_all(&unfinished).map_err(at(&unfinished))?;
        }
        let journal = Durable::folder(&unfinished);
        let mut transfer = journal.transfer()?;
        self.write(&mut transfer)?;
        let executions = end(transfer, &journal)?;
        let (machines, activities) = move_records(&self.records, &disk)?;
        // From now on it is a state.
        let (from, to) = (unfinished.join("journal"), folder.join("journal"));
        std::fs::rename(&from, &to).map_err(at(&to))?;
        std::fs::remove_dir_all(&unfinished).map_err(at(&unfinished))?;
        let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(at(folder))?;
        Ok(CopiedState { executions, machines, activities })
    }

    fn write(&self, transfer: &mut Transfer) -> Result<(), JournalError> {
        self.journal.visit(&mut |contents| {
            contents.executions().try_for_each(|execution| add(transfer, contents, execution))?;
            // A journal with rows beside it has no partitions.
            self.rows.as_ref().map_or(Ok(()), |rows| {
                rows.visit(&mut |mut execution: RecoveredExecution| {
                    if contents.has(execution.id) {
                        return Ok(());
                    }
                    let delivered = rows.delivered_of_row(execution.id)?;
                    execution.set_delivered(delivered);
                    add(transfer, contents, &execution)
                })
            })
        })
    }
}

/// In a folder, the name of the folder in which a copy is not finished.
const UNFINISHED: &str = "unfinished-copy";

fn add(
    transfer: &mut Transfer,
    contents: &Contents,
    execution: &RecoveredExecution,
) -> Result<(), JournalError> {
    let broken = |why: String| StateError::Broken { arn: execution.arn.to_string(), why };
    let mut label: Label =
        serde_json::from_slice(&execution.label).map_err(|error| broken(error.to_string()))?;
    let note =
        contents.note(&label.revision).ok_or_else(|| broken("its definition is not recorded".to_owned()))?;
    let key = label.revision.clone();
    if !transfer.is_spread() || contents.is_spread() {
        return Ok(transfer.add(contents, execution, (&key, note))?);
    }
    // The place in lists, as the partitions of a cluster number them.
    label.number = number_in_partition(label.number, &execution.arn);
    let mut renumbered = execution.clone();
    renumbered.label = label.to_bytes();
    Ok(transfer.add(contents, &renumbered, (&key, note))?)
}

/// What was written is read once more. How many executions there are.
fn end(transfer: Transfer, journal: &Durable) -> Result<u64, JournalError> {
    let written = transfer.end()?;
    let mut read = Sum::default();
    journal.visit(&mut |contents| {
        read.and(contents.sum());
        Ok::<(), JournalError>(())
    })?;
    if read == written {
        return Ok(read.executions);
    }
    let what = "the copy is not what was read".to_owned();
    Err(JournalError::Damaged { file: "the journal".to_owned(), offset: 0, what })
}

impl From<StateError> for JournalError {
    fn from(error: StateError) -> JournalError {
        JournalError::io("the state")(std::io::Error::other(error.to_string()))
    }
}

/// Replaces what is registered in a place. How many state machines and activities there are.
fn move_records(from: &Place, to: &Place) -> Result<(u64, u64), StateError> {
    let mut records = Vec::new();
    for kind in [Kind::Machine, Kind::Activity] {
        from.all(kind, &mut |arn, bytes| {
            records.push((kind, arn.to_owned(), 0, bytes.to_vec()));
            Ok(())
        })?;
    }
    let of = |kind: Kind| records.iter().filter(|(it, ..)| *it == kind).count() as u64;
    let counts = (of(Kind::Machine), of(Kind::Activity));
    let mut revisions = Vec::new();
    from.change(&mut |tables| {
        for (_, arn, ..) in records.iter().filter(|(kind, ..)| *kind == Kind::Machine) {
            let numbers = tables.numbers(Kind::Revision, arn)?;
            revisions.extend(numbers.into_iter().map(|number| (arn.clone(), number)));
        }
        Ok(())
    })?;
    for (arn, number) in revisions {
        if let Some(bytes) = from.revision(&arn, number)? {
            records.push((Kind::Revision, arn, number, bytes));
        }
    }
    to.change(&mut |tables| {
        // Of an attempt that was not finished.
        for kind in [Kind::Machine, Kind::Activity] {
            for arn in tables.arns(kind)? {
                if kind == Kind::Machine {
                    tables.remove_all(Kind::Revision, &arn)?;
                }
                tables.remove(kind, &arn, 0)?;
            }
        }
        records.iter().try_for_each(|(kind, arn, number, bytes)| tables.put(*kind, arn, *number, bytes))
    })?;
    Ok(counts)
}
