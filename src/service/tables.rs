//! Stored records, by kind, ARN and number: in a file, or in a cluster's engine.

use super::disk::Disk;
use super::store::StateError;

/// Kinds of records; the numbers are in databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// By the ARN.
    Machine = 1,
    /// By the ARN and the revision's number.
    Revision = 2,
    /// By the ARN.
    Activity = 3,
}

/// Records that a change reads and writes. Records without a number have 0.
pub(super) trait Tables {
    /// The numbers under an ARN.
    fn numbers(&mut self, kind: Kind, arn: &str) -> Result<Vec<u64>, StateError>;
    /// All ARNs.
    fn arns(&mut self, kind: Kind) -> Result<Vec<String>, StateError>;
    fn put(&mut self, kind: Kind, arn: &str, number: u64, bytes: &[u8]) -> Result<(), StateError>;
    fn remove(&mut self, kind: Kind, arn: &str, number: u64) -> Result<(), StateError>;

    /// Removes all that is under an ARN.
    fn remove_all(&mut self, kind: Kind, arn: &str) -> Result<(), StateError> {
        self.numbers(kind, arn)?.into_iter().try_for_each(|number| self.remove(kind, arn, number))
    }
}

/// A change of records.
pub(super) type Change<'a> = &'a mut dyn FnMut(&mut dyn Tables) -> Result<(), StateError>;

/// Called with records: the ARN, and the bytes.
pub(super) type Visit<'a> = &'a mut dyn FnMut(&str, &[u8]) -> Result<(), StateError>;

/// Where records are stored.
#[derive(Debug)]
pub(super) enum Place {
    Disk(Disk),
    #[cfg(feature = "clustered")]
    Database(super::database::Database),
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
