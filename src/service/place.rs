//! Where records are stored: in a file, or in a cluster's engine.

#[cfg(feature = "clustered")]
use super::database::Database;
use super::disk::Disk;
use super::state_error::StateError;
use super::tables::{Change, Kind, Visit};

/// Where records are stored.
#[derive(Debug)]
pub(super) enum Place {
    Disk(Disk),
    #[cfg(feature = "clustered")]
    Database(Database),
}

impl Place {
    /// Does a change as one transaction.
    pub(super) fn change(&self, change: Change<'_>) -> Result<(), StateError> {
        match self {
            Place::Disk(disk) => disk.change(change),
            #[cfg(feature = "clustered")]
            Place::Database(database) => database.change(change),
        }
    }

    /// Prepares another attempt after an error.
    pub(super) fn reopen(&mut self) -> Result<(), StateError> {
        match self {
            Place::Disk(disk) => disk.reopen(),
            // Each attempt connects if needed.
            #[cfg(feature = "clustered")]
            Place::Database(_) => Ok(()),
        }
    }

    /// Whether it is still in its place.
    pub(super) fn is_in_place(&self) -> Result<(), StateError> {
        match self {
            Place::Disk(disk) => disk.is_in_place(),
            #[cfg(feature = "clustered")]
            Place::Database(_) => Ok(()),
        }
    }

    /// Visits all records of a kind.
    pub(super) fn all(&self, kind: Kind, visit: Visit<'_>) -> Result<(), StateError> {
        match self {
            Place::Disk(disk) => disk.all(kind, visit),
            #[cfg(feature = "clustered")]
            Place::Database(database) => database.all(kind, visit),
        }
    }

    /// A revision, if it is there.
    pub(super) fn revision(&self, arn: &str, number: u64) -> Result<Option<Vec<u8>>, StateError> {
        match self {
            Place::Disk(disk) => disk.revision(arn, number),
            #[cfg(feature = "clustered")]
            Place::Database(database) => database.revision(arn, number),
        }
    }
}
