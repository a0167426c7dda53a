//! Moving the state between a folder and a cluster.

use std::path::Path;

use super::database::Database;
use super::disk::Disk;
use super::store::StateError;
use super::tables::{Kind, Place};
use crate::journal::cluster::{Cluster, ClusterLease, copy_from, copy_to};
use crate::journal::{JournalError, Ownership, Report};

/// Copies a [folder of state](super::Builder::state), which must not be in use, into a cluster that has no journal:
/// state machines, activities, executions. Map Runs that are over are not described any more.
///
/// # Errors
/// When one of them is in use, cannot be read or written, a Map Run is not over, or the cluster has a journal. What was copied by then is written
/// again by the next attempt.
pub fn copy_state_to(folder: &Path, cluster: &Cluster) -> Result<Report, JournalError> {
    let disk = Place::Disk(Disk::open(folder).map_err(failed)?);
    if crate::runtime::has_open_map_run(folder) {
        return Err(JournalError::Options(
            "a Map Run of the folder is not over, and the outcomes of its children are in files, which are not copied: let \
             it end, or stop its execution, before",
        ));
    }
    owning(cluster, || move_records(&disk, &Place::Database(Database::open(cluster)?)))?;
    copy_from(&folder.join("journal"), cluster)
}

/// Copies the state of a cluster, which must not be in use, into a folder that is new or empty.
///
/// # Errors
/// When one of them is in use, cannot be read or written, or the folder is not empty.
pub fn copy_state_from(cluster: &Cluster, folder: &Path) -> Result<Report, JournalError> {
    let is_new = std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    if !is_new {
        return Err(JournalError::Options("the folder to copy to is not empty"));
    }
    let report = copy_to(cluster, &folder.join("journal"))?;
    let disk = Place::Disk(Disk::open(folder).map_err(failed)?);
    owning(cluster, || move_records(&Place::Database(Database::open(cluster)?), &disk))?;
    Ok(report)
}

fn failed(error: StateError) -> JournalError {
    JournalError::io("what is registered")(std::io::Error::other(error.to_string()))
}

fn owning(cluster: &Cluster, body: impl FnOnce() -> Result<(), StateError>) -> Result<(), JournalError> {
    let mut lease = ClusterLease::of(cluster);
    lease.claim()?;
    let done = body().map_err(failed);
    lease.release();
    done
}

fn move_records(from: &Place, to: &Place) -> Result<(), StateError> {
    let mut records = Vec::new();
    for kind in [Kind::Machine, Kind::Activity] {
        from.all(kind, &mut |arn, bytes| {
            records.push((kind, arn.to_owned(), 0, bytes.to_vec()));
            Ok(())
        })?;
    }
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
        records.iter().try_for_each(|(kind, arn, number, bytes)| tables.put(*kind, arn, *number, bytes))
    })
}
