//! The statements on the service's records: by kind, ARN and number.

use tokio_postgres::Row;

use super::super::engine::{Item, Trouble};
use super::rows::{PARTITION, number, unexpected};
use super::session::Session;
use super::spread;

/// Begins a transaction as the owner with this epoch. Returns false if another node owns the cluster.
pub(super) fn begin(session: &mut Session, id: i32, epoch: u64) -> Result<bool, Trouble> {
    session.begin()?;
    spread::forget_changes(session, id)?;
    let found = session.query(
        "SELECT 1 FROM expressway_owner WHERE cluster = $1 AND partition = $2 AND epoch = $3 FOR SHARE",
        &[&id, &PARTITION, &epoch.cast_signed()],
    );
    Ok(!found?.is_empty())
}

pub(super) fn put(session: &mut Session, id: i32, item: Item<'_>, bytes: &[u8]) -> Result<(), Trouble> {
    session
        .query(
            "INSERT INTO expressway_item (cluster, kind, arn, number, bytes) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (cluster, kind, arn, number) DO UPDATE SET bytes = excluded.bytes",
            &[&id, &item.kind, &item.arn, &item.number.cast_signed(), &bytes],
        )
        .and_then(|_| spread::note_change(session, id, (item.kind, item.arn)))
}

pub(super) fn remove(session: &mut Session, id: i32, item: Item<'_>) -> Result<(), Trouble> {
    session
        .query(
            "DELETE FROM expressway_item WHERE cluster = $1 AND kind = $2 AND arn = $3 AND number = $4",
            &[&id, &item.kind, &item.arn, &item.number.cast_signed()],
        )
        .and_then(|_| spread::note_change(session, id, (item.kind, item.arn)))
}

pub(super) fn get(session: &mut Session, id: i32, item: Item<'_>) -> Result<Option<Vec<u8>>, Trouble> {
    let found = session.query(
        "SELECT bytes FROM expressway_item WHERE cluster = $1 AND kind = $2 AND arn = $3 AND number = $4",
        &[&id, &item.kind, &item.arn, &item.number.cast_signed()],
    )?;
    found.first().map(|row| row.try_get(0)).transpose().map_err(unexpected)
}

pub(super) fn numbers(session: &mut Session, id: i32, kind: i32, arn: &str) -> Result<Vec<u64>, Trouble> {
    let found = session.query(
        "SELECT number FROM expressway_item WHERE cluster = $1 AND kind = $2 AND arn = $3 ORDER BY number",
        &[&id, &kind, &arn],
    )?;
    found.iter().map(|row| number(row, 0)).collect()
}

pub(super) fn arns(session: &mut Session, id: i32, kind: i32) -> Result<Vec<String>, Trouble> {
    let found = session.query(
        "SELECT DISTINCT arn FROM expressway_item WHERE cluster = $1 AND kind = $2 ORDER BY arn",
        &[&id, &kind],
    )?;
    found.iter().map(|row| row.try_get(0).map_err(unexpected)).collect()
}

pub(super) fn page(
    session: &mut Session,
    id: i32,
    kind: i32,
    after: &str,
) -> Result<Vec<(String, Vec<u8>)>, Trouble> {
    let found = session.query(
        "SELECT arn, bytes FROM expressway_item WHERE cluster = $1 AND kind = $2 AND arn > $3 \
         ORDER BY arn LIMIT 256",
        &[&id, &kind, &after],
    )?;
    let record = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
    found.iter().map(record).collect::<Result<_, _>>().map_err(unexpected)
}
