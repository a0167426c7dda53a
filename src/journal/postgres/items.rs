//! The service's records beside the journal: by kind, ARN and number.

use super::super::JournalError;
use super::Cluster;
use super::rows::{self, PARTITION};
use super::session::{Asked, Session, Trouble};

/// The records of a cluster, on a separate connection. Changes are made between [`begin`](Items::begin) and
/// [`commit`](Items::commit), by one thread at a time.
#[derive(Debug)]
pub struct Items {
    asked: Asked,
    cluster: Cluster,
    id: i32,
}

impl Cluster {
    /// The records of this cluster.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn items(&self) -> Result<Items, JournalError> {
        let known = self.known()?;
        Ok(Items {
            asked: Asked::start(&self.address, "postgres-items")?,
            cluster: self.clone(),
            id: known.id,
        })
    }
}

impl Items {
    /// Begins a transaction of this node as the owner of the cluster.
    ///
    /// # Errors
    /// When it is not the owner, or the database does not answer; as with all following methods.
    pub fn begin(&self) -> Result<(), JournalError> {
        let (id, epoch) = (self.id, self.cluster.epoch());
        let begun = self.asked.ask(move |session| {
            session.begin()?;
            session.query(
                "SELECT 1 FROM expressway_owner WHERE cluster = $1 AND partition = $2 AND epoch = $3 FOR SHARE",
                &[&id, &PARTITION, &epoch.cast_signed()],
            )
        });
        match begun {
            Ok(found) if !found.is_empty() => Ok(()),
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
    /// See [`begin`](Items::begin). Whether the changes were made is unknown then.
    pub fn commit(&self) -> Result<(), JournalError> {
        Ok(self.asked.ask(Session::commit)?)
    }

    /// Discards the changes.
    pub fn roll_back(&self) {
        let rolled_back = self.asked.ask(|session| {
            session.roll_back();
            Ok(())
        });
        // The connection is gone, and the transaction with it.
        drop(rolled_back);
    }

    /// Writes a record.
    ///
    /// # Errors
    /// See [`begin`](Items::begin).
    pub fn put(&self, kind: i32, arn: &str, number: u64, bytes: &[u8]) -> Result<(), JournalError> {
        let (id, arn, bytes) = (self.id, arn.to_owned(), bytes.to_vec());
        self.done(move |session| {
            session.query(
                "INSERT INTO expressway_item (cluster, kind, arn, number, bytes) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (cluster, kind, arn, number) DO UPDATE SET bytes = excluded.bytes",
                &[&id, &kind, &arn, &number.cast_signed(), &bytes],
            )
        })
    }

    /// Removes a record.
    ///
    /// # Errors
    /// See [`begin`](Items::begin).
    pub fn remove(&self, kind: i32, arn: &str, number: u64) -> Result<(), JournalError> {
        let (id, arn) = (self.id, arn.to_owned());
        self.done(move |session| {
            session.query(
                "DELETE FROM expressway_item WHERE cluster = $1 AND kind = $2 AND arn = $3 AND number = $4",
                &[&id, &kind, &arn, &number.cast_signed()],
            )
        })
    }

    /// The numbers under an ARN.
    ///
    /// # Errors
    /// See [`begin`](Items::begin).
    pub fn numbers(&self, kind: i32, arn: &str) -> Result<Vec<u64>, JournalError> {
        let (id, arn) = (self.id, arn.to_owned());
        Ok(self.asked.ask(move |session| {
            let found = session.query(
                "SELECT number FROM expressway_item WHERE cluster = $1 AND kind = $2 AND arn = $3 ORDER BY number",
                &[&id, &kind, &arn],
            )?;
            found.iter().map(|row| rows::number(row, 0)).collect()
        })?)
    }

    /// All ARNs.
    ///
    /// # Errors
    /// See [`begin`](Items::begin).
    pub fn arns(&self, kind: i32) -> Result<Vec<String>, JournalError> {
        let id = self.id;
        Ok(self.asked.ask(move |session| {
            let found = session.query(
                "SELECT DISTINCT arn FROM expressway_item WHERE cluster = $1 AND kind = $2 ORDER BY arn",
                &[&id, &kind],
            )?;
            found.iter().map(|row| row.try_get(0).map_err(rows::unexpected)).collect()
        })?)
    }

    /// Some records of a kind with ARNs after the given one, in order.
    ///
    /// # Errors
    /// See [`begin`](Items::begin).
    pub fn page(&self, kind: i32, after: &str) -> Result<Vec<(String, Vec<u8>)>, JournalError> {
        let (id, after) = (self.id, after.to_owned());
        Ok(self.asked.ask(move |session| {
            let found = session.query(
                "SELECT arn, bytes FROM expressway_item WHERE cluster = $1 AND kind = $2 AND arn > $3 \
                 ORDER BY arn LIMIT 256",
                &[&id, &kind, &after],
            )?;
            let record = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
            found.iter().map(record).collect::<Result<_, _>>().map_err(rows::unexpected)
        })?)
    }

    /// A record, if it is there.
    ///
    /// # Errors
    /// See [`begin`](Items::begin).
    pub fn get(&self, kind: i32, arn: &str, number: u64) -> Result<Option<Vec<u8>>, JournalError> {
        let (id, arn) = (self.id, arn.to_owned());
        Ok(self.asked.ask(move |session| {
            let found = session.query(
                "SELECT bytes FROM expressway_item WHERE cluster = $1 AND kind = $2 AND arn = $3 AND number = $4",
                &[&id, &kind, &arn, &number.cast_signed()],
            )?;
            found.first().map(|row| row.try_get(0)).transpose().map_err(rows::unexpected)
        })?)
    }

    fn done(
        &self,
        job: impl FnOnce(&mut Session) -> Result<Vec<tokio_postgres::Row>, Trouble> + Send + 'static,
    ) -> Result<(), JournalError> {
        self.asked.ask(job)?;
        Ok(())
    }
}
