//! Records in the database of a cluster. Only the node that owns the cluster changes them: each transaction checks
//! that.

use super::state_error::StateError;
use super::tables::{Change, Kind, Tables, Visit};
use crate::journal::JournalError;
use crate::journal::cluster::{Cluster, Items};

/// The records of a cluster.
#[derive(Debug)]
pub(super) struct Database {
    items: Items,
}

fn failed(error: JournalError) -> StateError {
    StateError::Database(error.to_string())
}

impl Database {
    pub(super) fn open(cluster: &Cluster) -> Result<Database, StateError> {
        Ok(Database { items: cluster.items().map_err(failed)? })
    }

    pub(super) fn change(&self, change: Change<'_>) -> Result<(), StateError> {
        self.items.begin().map_err(failed)?;
        match change(&mut &self.items) {
            Ok(()) => self.items.commit().map_err(failed),
            Err(error) => {
                self.items.roll_back();
                Err(error)
            }
        }
    }

    pub(super) fn all(&self, kind: Kind, visit: Visit<'_>) -> Result<(), StateError> {
        let mut after = String::new();
        loop {
            let page = self.items.page(kind as i32, &after).map_err(failed)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after.clone_from(last);
            page.iter().try_for_each(|(arn, bytes)| visit(arn, bytes))?;
        }
    }

    /// Whether this node may change the records.
    pub(super) fn is_owner(&self) -> bool {
        self.items.is_owner()
    }

    pub(super) fn get(&self, kind: Kind, arn: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.items.get(kind as i32, arn, 0).map_err(failed)
    }

    pub(super) fn arns(&self, kind: Kind) -> Result<Vec<String>, StateError> {
        self.items.arns(kind as i32).map_err(failed)
    }

    pub(super) fn revision(&self, arn: &str, number: u64) -> Result<Option<Vec<u8>>, StateError> {
        self.items.get(Kind::Revision as i32, arn, number).map_err(failed)
    }
}

impl Tables for &Items {
    fn numbers(&mut self, kind: Kind, arn: &str) -> Result<Vec<u64>, StateError> {
        Items::numbers(self, kind as i32, arn).map_err(failed)
    }

    fn arns(&mut self, kind: Kind) -> Result<Vec<String>, StateError> {
        Items::arns(self, kind as i32).map_err(failed)
    }

    fn put(&mut self, kind: Kind, arn: &str, number: u64, bytes: &[u8]) -> Result<(), StateError> {
        Items::put(self, kind as i32, arn, number, bytes).map_err(failed)
    }

    fn remove(&mut self, kind: Kind, arn: &str, number: u64) -> Result<(), StateError> {
        Items::remove(self, kind as i32, arn, number).map_err(failed)
    }
}
