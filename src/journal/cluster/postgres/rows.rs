//! The tables of a cluster in the database, and every statement on them.
//!
//! | table | a row is |
//! |---|---|
//! | `expressway_cluster` | a cluster: its name, the identity of its journal, its secret |
//! | `expressway_node` | a living process, until when its lease is valid, and its address |
//! | `expressway_owner` | the owner of a partition, by its number (epoch) |
//! | `expressway_block` | a block, with the same bytes as in a folder's segment, without padding |
//! | `expressway_item` | a state machine, a revision or an activity, for the service |
//! | `expressway_change` | a change of one of these, where several nodes follow them |
//! | `expressway_leaving` | a node that hands its partitions over |
//!
//! The owner's row is written when the owner changes, and locked by each append. Leases are in another row, so that a
//! long backup leaves no chain of old versions behind the row that every append reads.

use tokio_postgres::Row;

use super::super::engine::{Known, Node, Owner, Trouble};
use super::session::Session;
use crate::limits::{JOURNAL_PARTITIONS, POSTGRES_READ_BLOCKS};

/// The partition whose owner changes the service's records; the only one of a cluster that one node owns.
pub(super) const PARTITION: i32 = 0;

/// A partition: the number of its cluster in the database, and its own.
pub(super) type Part = (i32, i32);

/// The advisory lock for creating the tables.
const MAKING: i64 = 0x5850_4a42;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS expressway_cluster (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, format int NOT NULL,
    journal bigint NOT NULL, secret bytea NOT NULL, made_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS expressway_node (
    cluster int NOT NULL REFERENCES expressway_cluster ON DELETE CASCADE, node text NOT NULL, address text NOT NULL,
    release text NOT NULL, began_at timestamptz NOT NULL, seen_at timestamptz NOT NULL, seen_until timestamptz NOT NULL,
    PRIMARY KEY (cluster, node)) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS expressway_owner (
    cluster int NOT NULL REFERENCES expressway_cluster ON DELETE CASCADE, partition int NOT NULL, epoch bigint NOT NULL,
    node text, since timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (cluster, partition));
CREATE TABLE IF NOT EXISTS expressway_block (
    cluster int NOT NULL, partition int NOT NULL, lsn bigint NOT NULL, epoch bigint NOT NULL, bytes bytea NOT NULL,
    PRIMARY KEY (cluster, partition, lsn)) WITH (
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_threshold = 1000,
    toast.autovacuum_vacuum_cost_delay = 0);
ALTER TABLE expressway_block ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS expressway_item (
    cluster int NOT NULL REFERENCES expressway_cluster ON DELETE CASCADE, kind int NOT NULL, arn text NOT NULL,
    number bigint NOT NULL, bytes bytea NOT NULL, PRIMARY KEY (cluster, kind, arn, number));
CREATE TABLE IF NOT EXISTS expressway_change (
    cluster int NOT NULL REFERENCES expressway_cluster ON DELETE CASCADE, version bigint NOT NULL, kind int NOT NULL,
    arn text NOT NULL, PRIMARY KEY (cluster, version));
CREATE TABLE IF NOT EXISTS expressway_leaving (
    cluster int NOT NULL REFERENCES expressway_cluster ON DELETE CASCADE, node text NOT NULL,
    PRIMARY KEY (cluster, node));
";

/// Whether the tables exist.
pub(super) fn are_there(session: &mut Session) -> Result<bool, Trouble> {
    let found = session.query("SELECT to_regclass('expressway_item') IS NOT NULL", &[])?;
    first(&found)?.try_get(0).map_err(unexpected)
}

/// Creates the tables, unless they exist.
pub(super) fn make(session: &mut Session) -> Result<(), Trouble> {
    let found = session.query("SELECT to_regclass('expressway_leaving') IS NOT NULL", &[])?;
    if first(&found)?.try_get(0).map_err(unexpected)? {
        return Ok(());
    }
    session.batch(&format!("BEGIN; SELECT pg_advisory_xact_lock({MAKING}); {TABLES} COMMIT"))
}

/// Whether the database's commits are durable.
pub(super) fn is_durable(session: &mut Session) -> Result<bool, Trouble> {
    let found = session.query("SELECT current_setting('fsync') = 'on'", &[])?;
    first(&found)?.try_get(0).map_err(unexpected)
}

/// A cluster, if it exists, and its row's number.
pub(super) fn find(session: &mut Session, name: &str) -> Result<Option<(i32, Known)>, Trouble> {
    let found = session
        .query("SELECT id, format, journal, secret FROM expressway_cluster WHERE name = $1", &[&name])?;
    let known = |row: &Row| {
        let journal: i64 = row.try_get(2)?;
        let known =
            Known { format: row.try_get(1)?, journal: journal.cast_unsigned(), secret: row.try_get(3)? };
        Ok((row.try_get(0)?, known))
    };
    found.first().map(known).transpose().map_err(unexpected)
}

/// A cluster's row, created like this one if missing.
pub(super) fn find_or_make(session: &mut Session, name: &str, new: &Known) -> Result<(i32, Known), Trouble> {
    if let Some(known) = find(session, name)? {
        return Ok(known);
    }
    session.query(
        "INSERT INTO expressway_cluster (name, format, journal, secret) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        &[&name, &new.format, &new.journal.cast_signed(), &new.secret],
    )?;
    let (id, known) = find(session, name)?.ok_or_else(|| Trouble::said("the cluster's row was removed"))?;
    let partitions = if known.is_spread() { i32::from(JOURNAL_PARTITIONS) } else { 1 };
    session.query(
        "INSERT INTO expressway_owner (cluster, partition, epoch) SELECT $1, n, 0 FROM generate_series(0, $2 - 1) n \
         ON CONFLICT DO NOTHING",
        &[&id, &partitions],
    )?;
    Ok((id, known))
}

/// Renews a node's lease for this duration.
pub(super) fn tell(
    session: &mut Session,
    cluster: i32,
    (node, address): (&str, &str),
    lease_ms: i64,
) -> Result<(), Trouble> {
    session
        .query(
            "INSERT INTO expressway_node (cluster, node, address, release, began_at, seen_at, seen_until) \
             VALUES ($1, $2, $3, $4, clock_timestamp(), clock_timestamp(), \
                     clock_timestamp() + $5::bigint * interval '1 millisecond') \
             ON CONFLICT (cluster, node) DO UPDATE \
             SET address = excluded.address, seen_at = excluded.seen_at, seen_until = excluded.seen_until",
            &[&cluster, &node, &address, &env!("CARGO_PKG_VERSION"), &lease_ms],
        )
        .map(drop)
}

/// Removes this node, and nodes that did not renew their lease for an hour.
pub(super) fn forget_nodes(session: &mut Session, cluster: i32, node: &str) -> Result<(), Trouble> {
    session
        .query(
            "DELETE FROM expressway_node WHERE cluster = $1 \
             AND (node = $2 OR seen_until < clock_timestamp() - interval '1 hour')",
            &[&cluster, &node],
        )
        .map(drop)
}

/// Takes the partition, if it has no living owner. Returns the epoch.
pub(super) fn claim(
    session: &mut Session,
    (cluster, partition): Part,
    node: &str,
) -> Result<Option<u64>, Trouble> {
    let found = session.query(
        "UPDATE expressway_owner o SET epoch = o.epoch + 1, node = $3, since = clock_timestamp() \
         WHERE o.cluster = $1 AND o.partition = $2 AND (o.node IS NULL OR o.node = $3 OR NOT EXISTS ( \
             SELECT 1 FROM expressway_node n \
             WHERE n.cluster = $1 AND n.node = o.node AND n.seen_until > clock_timestamp())) \
         RETURNING o.epoch",
        &[&cluster, &partition, &node],
    )?;
    found.first().map(|row| number(row, 0)).transpose()
}

/// Releases the partition, if it still has this epoch.
pub(super) fn release(
    session: &mut Session,
    (cluster, partition): Part,
    node: &str,
    epoch: u64,
) -> Result<(), Trouble> {
    session
        .query(
            "UPDATE expressway_owner SET node = NULL WHERE cluster = $1 AND partition = $2 AND node = $3 AND epoch = $4",
            &[&cluster, &partition, &node, &epoch.cast_signed()],
        )
        .map(drop)
}

/// The owner of the partition.
pub(super) fn owner(session: &mut Session, (cluster, partition): Part) -> Result<Owner, Trouble> {
    let found = session.query(
        "SELECT o.epoch, o.node, coalesce(n.address, ''), \
                coalesce(extract(epoch FROM n.seen_until - clock_timestamp()) * 1000, -1)::bigint \
         FROM expressway_owner o LEFT JOIN expressway_node n ON n.cluster = o.cluster AND n.node = o.node \
         WHERE o.cluster = $1 AND o.partition = $2",
        &[&cluster, &partition],
    )?;
    let row = first(&found)?;
    Ok(Owner {
        epoch: number(row, 0)?,
        node: row.try_get(1).map_err(unexpected)?,
        address: row.try_get(2).map_err(unexpected)?,
        left_ms: row.try_get(3).map_err(unexpected)?,
    })
}

pub(super) fn nodes(session: &mut Session, cluster: i32) -> Result<Vec<Node>, Trouble> {
    let found = session.query(
        "SELECT node, address, release, (extract(epoch FROM clock_timestamp() - began_at) * 1000)::bigint, \
                (extract(epoch FROM clock_timestamp() - seen_at) * 1000)::bigint, seen_until > clock_timestamp() \
         FROM expressway_node WHERE cluster = $1 ORDER BY began_at, node",
        &[&cluster],
    )?;
    let node = |row: &Row| {
        Ok(Node {
            node: row.try_get(0)?,
            address: row.try_get(1)?,
            release: row.try_get(2)?,
            began_ms: row.try_get(3)?,
            seen_ms: row.try_get(4)?,
            lives: row.try_get(5)?,
        })
    };
    found.iter().map(node).collect::<Result<_, _>>().map_err(unexpected)
}

/// Appends a block: once, after the one before, and as the owner with this epoch. Returns whether it was appended.
///
/// The owner's row is locked until the block is durable, so a new owner, which changes it, comes before or after. The
/// existence of the block before proves that the database has not lost it, as a standby that was promoted too early
/// would have.
pub(super) fn append(
    session: &mut Session,
    (cluster, partition): Part,
    (lsn, epoch): (u64, u64),
    bytes: &[u8],
) -> Result<bool, Trouble> {
    let appended = session.query(
        "INSERT INTO expressway_block (cluster, partition, lsn, epoch, bytes) \
         SELECT $1::int, $2::int, $3::bigint, $4::bigint, $5::bytea FROM expressway_owner o \
         WHERE o.cluster = $1 AND o.partition = $2 AND o.epoch = $4 AND ($3 = 1 OR EXISTS ( \
             SELECT 1 FROM expressway_block b WHERE b.cluster = $1 AND b.partition = $2 AND b.lsn = $3 - 1)) \
         FOR SHARE OF o RETURNING 1",
        &[&cluster, &partition, &lsn.cast_signed(), &epoch.cast_signed(), &bytes],
    )?;
    Ok(!appended.is_empty())
}

/// Marks a cluster without blocks as one into which a state is being copied. Returns whether it is one.
#[cfg(feature = "service")]
pub(super) fn begin_copy(session: &mut Session, cluster: i32) -> Result<bool, Trouble> {
    let marked = session.query(
        "UPDATE expressway_cluster SET format = -abs(format) WHERE id = $1 AND (format < 0 OR NOT EXISTS ( \
         SELECT 1 FROM expressway_block WHERE cluster = $1)) RETURNING 1",
        &[&cluster],
    )?;
    if marked.is_empty() {
        return Ok(false);
    }
    for sql in [
        "DELETE FROM expressway_block WHERE cluster = $1",
        "DELETE FROM expressway_change WHERE cluster = $1",
    ] {
        session.query(sql, &[&cluster])?;
    }
    Ok(true)
}

/// The copy is whole.
#[cfg(feature = "service")]
pub(super) fn end_copy(session: &mut Session, cluster: i32) -> Result<(), Trouble> {
    session.query("UPDATE expressway_cluster SET format = abs(format) WHERE id = $1", &[&cluster]).map(drop)
}

/// The bytes of a block, if it exists.
pub(super) fn block(
    session: &mut Session,
    (cluster, partition): Part,
    lsn: u64,
) -> Result<Option<Vec<u8>>, Trouble> {
    let found = session.query(
        "SELECT bytes FROM expressway_block WHERE cluster = $1 AND partition = $2 AND lsn = $3",
        &[&cluster, &partition, &lsn.cast_signed()],
    )?;
    found.first().map(|row| row.try_get(0)).transpose().map_err(unexpected)
}

/// The bytes of the last block.
pub(super) fn last(session: &mut Session, (cluster, partition): Part) -> Result<Option<Vec<u8>>, Trouble> {
    let found = session.query(
        "SELECT bytes FROM expressway_block WHERE cluster = $1 AND partition = $2 ORDER BY lsn DESC LIMIT 1",
        &[&cluster, &partition],
    )?;
    found.first().map(|row| row.try_get(0)).transpose().map_err(unexpected)
}

/// Some blocks from a number on, in order.
pub(super) fn page(
    session: &mut Session,
    (cluster, partition): Part,
    from: u64,
) -> Result<Vec<(u64, Vec<u8>)>, Trouble> {
    let found = session.query(
        "SELECT lsn, bytes FROM expressway_block WHERE cluster = $1 AND partition = $2 AND lsn >= $3 \
         ORDER BY lsn LIMIT $4",
        &[&cluster, &partition, &from.cast_signed(), &POSTGRES_READ_BLOCKS],
    )?;
    found.iter().map(|row| Ok((number(row, 0)?, row.try_get(1).map_err(unexpected)?))).collect()
}

/// Removes some blocks before a number, the first ones. Returns whether there may be more.
pub(super) fn remove(
    session: &mut Session,
    (cluster, partition): Part,
    before: u64,
    max: i64,
) -> Result<bool, Trouble> {
    let removed = session.query(
        "WITH gone AS (DELETE FROM expressway_block WHERE cluster = $1 AND partition = $2 AND lsn IN ( \
             SELECT lsn FROM expressway_block WHERE cluster = $1 AND partition = $2 AND lsn < $3 ORDER BY lsn LIMIT $4) \
         RETURNING 1) SELECT count(*) FROM gone",
        &[&cluster, &partition, &before.cast_signed(), &max],
    )?;
    Ok(number(first(&removed)?, 0)? >= max.unsigned_abs())
}

/// Bytes of the blocks of a cluster.
pub(super) fn kept_bytes(session: &mut Session, (cluster, partition): Part) -> Result<u64, Trouble> {
    let found = session.query(
        "SELECT coalesce(sum(octet_length(bytes)), 0)::bigint FROM expressway_block WHERE cluster = $1 AND partition = $2",
        &[&cluster, &partition],
    )?;
    number(first(&found)?, 0)
}

/// Bytes of the table of blocks, with its index.
pub(super) fn bytes(session: &mut Session) -> Result<u64, Trouble> {
    let found = session.query("SELECT pg_total_relation_size('expressway_block')", &[])?;
    number(first(&found)?, 0)
}

fn first(rows: &[Row]) -> Result<&Row, Trouble> {
    rows.first().ok_or_else(|| Trouble::said("a row of the cluster is missing in the database"))
}

pub(super) fn number(row: &Row, at: usize) -> Result<u64, Trouble> {
    row.try_get::<_, i64>(at).map(i64::cast_unsigned).map_err(unexpected)
}

pub(super) fn unexpected(error: tokio_postgres::Error) -> Trouble {
    Trouble::said(format!("the database has tables that are not Expressway's: {error}"))
}
