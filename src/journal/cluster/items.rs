//! The service's records, stored next to the journal: by kind, ARN and number.

use super::super::JournalError;
use super::engine::{Asked, Engine, Item, Trouble};
use super::node::Cluster;

/// The records of a cluster, on a separate connection. Changes are made between [`begin`](Items::begin) and
/// [`commit`](Items::commit), by one thread at a time.
#[derive(Debug)]
pub struct Items {
    asked: Asked,
    cluster: Cluster,
}

impl Cluster {
    /// The records of this cluster.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn items(&self) -> Result<Items, JournalError> {
        self.known()?;
        let items = Items { asked: Asked::start(self.session()?, "cluster-items")?, cluster: self.clone() };
        if self.epoch() > 0 {
            // From now on a replaced owner cannot change the records; only then are they read.
            items.begin()?;
            items.roll_back();
        }
        Ok(items)
    }
}

impl Items {
    /// Whether this node may change the records.
    #[cfg_attr(not(feature = "service"), allow(dead_code))]
    pub(crate) fn is_owner(&self) -> bool {
        self.cluster.epoch() > 0
    }

    /// Begins a transaction of this node as the owner of the cluster.
    ///
    /// # Errors
    /// When it is not the owner, or the database does not answer; as with all following methods.
    pub fn begin(&self) -> Result<(), JournalError> {
        let epoch = self.cluster.epoch();
        match self.asked.ask(move |session| session.begin(epoch)) {
            Ok(true) => Ok(()),
            begun => {
                self.roll_back();
                begun?;
                Err(JournalError::Held(self.cluster.describe()))
            }
        }
    }

    /// Makes the changes durable.
    ///
    /// # Errors
    /// See [`begin`](Items::begin). Then it is unknown whether the changes were made.
    pub fn commit(&self) -> Result<(), JournalError> {
        self.ask(|session| session.commit())
    }

    /// Discards the changes.
    pub fn roll_back(&self) {
        let rolled_back = self.asked.ask(|session| {
            session.roll_back();
            Ok(())
        });
        // If this fails, the connection is dropped, and the transaction with it.
        drop(rolled_back);
    }

    /// Writes a record.
    ///
    /// # Errors
    /// See [`begin`](Items::begin).
    pub fn put(&self, kind: i32, arn: &str, number: u64, bytes: &[u8]) -> Result<(), JournalError> {
        let (arn, bytes) = (arn.to_owned(), bytes.to_vec());
        self.ask(move |session| session.put_item(Item { kind, arn: &arn, number }, &bytes))
    }

    /// Removes a record.
    ///
    /// # Errors
    /// See [`begin`](Items::begin).
    pub fn remove(&self, kind: i32, arn: &str, number: u64) -> Result<(), JournalError> {
        let arn = arn.to_owned();
        self.ask(move |session| session.remove_item(Item { kind, arn: &arn, number }))
    }

    /// The numbers under an ARN.
    ///
    /// # Errors
    /// See [`begin`](Items::begin).
    pub fn numbers(&self, kind: i32, arn: &str) -> Result<Vec<u64>, JournalError> {
        let arn = arn.to_owned();
        self.ask(move |session| session.numbers(kind, &arn))
    }

    /// All ARNs.
    ///
    /// # Errors
    /// See [`begin`](Items::begin).
    pub fn arns(&self, kind: i32) -> Result<Vec<String>, JournalError> {
        self.ask(move |session| session.arns(kind))
    }

    /// Some records of a kind with ARNs after the given one, in order.
    ///
    /// # Errors
    /// See [`begin`](Items::begin).
    pub fn page(&self, kind: i32, after: &str) -> Result<Vec<(String, Vec<u8>)>, JournalError> {
        let after = after.to_owned();
        self.ask(move |session| session.items(kind, &after))
    }

    /// A record, if it exists.
    ///
    /// # Errors
    /// See [`begin`](Items::begin).
    pub fn get(&self, kind: i32, arn: &str, number: u64) -> Result<Option<Vec<u8>>, JournalError> {
        let arn = arn.to_owned();
        self.ask(move |session| session.item(Item { kind, arn: &arn, number }))
    }

    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Engine) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, JournalError> {
        Ok(self.asked.ask(job)?)
    }
}
