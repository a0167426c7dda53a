//! The statements on a cluster whose partitions are spread over its nodes.

use tokio_postgres::Row;

use super::super::engine::{Changes, Looked, Owner, Sealed, Trouble};
use super::rows::{number, unexpected};
use super::session::Session;
use crate::limits::CLUSTER_CHANGES_KEPT;

/// The owners, the nodes that take partitions, and the last change.
pub(super) fn look(session: &mut Session, cluster: i32) -> Result<Looked, Trouble> {
    let found = session.query(
        "SELECT o.epoch, o.node, coalesce(n.address, ''), \
                coalesce(extract(epoch FROM n.seen_until - clock_timestamp()) * 1000, -1)::bigint \
         FROM expressway_owner o LEFT JOIN expressway_node n ON n.cluster = o.cluster AND n.node = o.node \
         WHERE o.cluster = $1 ORDER BY o.partition",
        &[&cluster],
    )?;
    let owner = |row: &Row| {
        Ok(Owner {
            epoch: row.try_get::<_, i64>(0)?.cast_unsigned(),
            node: row.try_get(1)?,
            address: row.try_get(2)?,
            left_ms: row.try_get(3)?,
        })
    };
    let owners = found.iter().map(owner).collect::<Result<_, _>>().map_err(unexpected)?;
    let found = session.query(
        "SELECT node, address FROM expressway_node n WHERE cluster = $1 AND seen_until > clock_timestamp() AND NOT EXISTS ( \
             SELECT 1 FROM expressway_leaving l WHERE l.cluster = n.cluster AND l.node = n.node) ORDER BY node",
        &[&cluster],
    )?;
    let member = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
    let members = found.iter().map(member).collect::<Result<_, _>>().map_err(unexpected)?;
    Ok(Looked { owners, members, version: version(session, cluster)? })
}

fn version(session: &mut Session, cluster: i32) -> Result<u64, Trouble> {
    let found = session
        .query("SELECT coalesce(max(version), 0) FROM expressway_change WHERE cluster = $1", &[&cluster])?;
    found.first().map_or(Ok(0), |row| number(row, 0))
}

/// Appends blocks of several partitions in one transaction, all or none. The rows of all owners are locked until they
/// are durable, so a new owner of any of them comes before or after.
pub(super) fn append_all(session: &mut Session, cluster: i32, blocks: &[Sealed]) -> Result<bool, Trouble> {
    let partitions: Vec<i32> = blocks.iter().map(|it| it.partition.into()).collect();
    let lsns: Vec<i64> = blocks.iter().map(|it| it.lsn.cast_signed()).collect();
    let epochs: Vec<i64> = blocks.iter().map(|it| it.epoch.cast_signed()).collect();
    let bytes: Vec<&[u8]> = blocks.iter().map(|it| &*it.bytes).collect();
    let appended = session.query(
        "WITH b AS MATERIALIZED ( \
             SELECT * FROM unnest($2::int[], $3::bigint[], $4::bigint[], $5::bytea[]) b (partition, lsn, epoch, bytes)), \
         o AS MATERIALIZED ( \
             SELECT o.partition FROM expressway_owner o JOIN unnest($2::int[], $4::bigint[]) w (partition, epoch) \
             ON o.partition = w.partition AND o.epoch = w.epoch WHERE o.cluster = $1 FOR SHARE OF o) \
         INSERT INTO expressway_block (cluster, partition, lsn, epoch, bytes) \
         SELECT $1::int, partition, lsn, epoch, bytes FROM b \
         WHERE (SELECT count(*) FROM o) = cardinality($2::int[]) AND NOT EXISTS ( \
             SELECT 1 FROM unnest($2::int[], $3::bigint[]) c (partition, lsn) WHERE c.lsn > 1 AND NOT EXISTS ( \
                 SELECT 1 FROM expressway_block p \
                 WHERE p.cluster = $1 AND p.partition = c.partition AND p.lsn = c.lsn - 1)) \
         RETURNING 1",
        &[&cluster, &partitions, &lsns, &epochs, &bytes],
    )?;
    assert!(appended.is_empty() || appended.len() == blocks.len(), "all blocks are appended, or none");
    Ok(!appended.is_empty())
}

/// A node takes no more partitions.
pub(super) fn leave(session: &mut Session, cluster: i32, node: &str) -> Result<(), Trouble> {
    let sql = "INSERT INTO expressway_leaving (cluster, node) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    session.query(sql, &[&cluster, &node])?;
    // Those of nodes that are gone.
    let sql = "DELETE FROM expressway_leaving l WHERE cluster = $1 AND node <> $2 AND NOT EXISTS ( \
               SELECT 1 FROM expressway_node n WHERE n.cluster = l.cluster AND n.node = l.node)";
    session.query(sql, &[&cluster, &node]).map(drop)
}

/// Releases all partitions of a node.
pub(super) fn release_all(session: &mut Session, cluster: i32, node: &str) -> Result<(), Trouble> {
    let sql = "UPDATE expressway_owner SET node = NULL WHERE cluster = $1 AND node = $2";
    session.query(sql, &[&cluster, &node])?;
    let sql = "DELETE FROM expressway_leaving WHERE cluster = $1 AND node = $2";
    session.query(sql, &[&cluster, &node]).map(drop)
}

/// Notes that a record was changed, in the transaction that changes it.
pub(super) fn note_change(
    session: &mut Session,
    cluster: i32,
    (kind, arn): (i32, &str),
) -> Result<(), Trouble> {
    session
        .query(
            "INSERT INTO expressway_change (cluster, version, kind, arn) \
             SELECT $1::int, coalesce(max(version), 0) + 1, $2::int, $3::text FROM expressway_change WHERE cluster = $1",
            &[&cluster, &kind, &arn],
        )
        .map(drop)
}

/// Forgets old changes: a node that has not followed for so long reads all records.
pub(super) fn forget_changes(session: &mut Session, cluster: i32) -> Result<(), Trouble> {
    session
        .query(
            "DELETE FROM expressway_change WHERE cluster = $1 AND version <= ( \
             SELECT max(version) - $2::bigint FROM expressway_change WHERE cluster = $1)",
            &[&cluster, &CLUSTER_CHANGES_KEPT],
        )
        .map(drop)
}

/// What changed after a version.
pub(super) fn changes(session: &mut Session, cluster: i32, after: u64) -> Result<Changes, Trouble> {
    let found = session.query(
        "SELECT version, kind, arn FROM expressway_change WHERE cluster = $1 AND version > $2 ORDER BY version",
        &[&cluster, &after.cast_signed()],
    )?;
    let Some(last) = found.last() else { return Ok((after, Some(Vec::new()))) };
    let (first, last) = (number(&found[0], 0)?, number(last, 0)?);
    if first != after + 1 {
        return Ok((last, None));
    }
    let change = |row: &Row| Ok((row.try_get(1)?, row.try_get(2)?));
    let changed = found.iter().map(change).collect::<Result<_, _>>().map_err(unexpected)?;
    Ok((last, Some(changed)))
}
