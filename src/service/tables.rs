//! Stored records, by kind, ARN and number.

use super::state_error::StateError;

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
