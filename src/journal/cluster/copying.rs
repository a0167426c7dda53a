//! Copying a journal between a folder and a cluster: the same blocks with the same numbers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::block::{Batch, HEADER_BYTES};
use super::super::{
    Block, Folder, FolderLock, JournalError, Log, Lsn, Options, Ownership, Report, SyncMode, scan,
};
use super::Cluster;
use super::lease::ClusterLease;

fn wrong(what: &'static str) -> JournalError {
    JournalError::Options(what)
}

/// Copies the journal of a folder, which must not be in use, into a cluster without a journal. Blocks that are no
/// longer needed are left out. The copy is read back.
///
/// # Errors
/// When one of them is in use, cannot be read or written, or the cluster has a journal already.
pub fn copy_from(folder: &Path, cluster: &Cluster) -> Result<Report, JournalError> {
    let mut lock = FolderLock::of(folder);
    lock.claim()?;
    let disk = Folder::at(folder, SyncMode::Data);
    let report = scan(&disk)?;
    if report.last == Lsn(0) {
        return Err(wrong("there is no journal to copy"));
    }
    let mut lease = ClusterLease::of(cluster);
    lease.claim()?;
    if cluster.ask(|session| session.last())?.is_some() {
        return Err(wrong("the cluster to copy to has a journal already"));
    }
    let journal = report.journal.ok_or_else(|| wrong("the journal has no identity"))?;
    let (mut failed, taken) = (cluster.ask(|session| session.begin_copy()), cluster.epoch());
    let mut records = 0;
    report.read(&disk, &mut |block| {
        records += u64::from(block.header.records);
        if failed.is_ok() {
            let (lsn, epoch) = (block.header.lsn.0, block.header.epoch);
            let bytes = bytes(block);
            failed = cluster.ask(move |session| session.put(lsn, epoch, &bytes));
        }
    })?;
    let epoch = report.epoch.max(taken);
    let done = failed.and_then(|()| cluster.ask(move |session| session.end_copy(journal, epoch)));
    if let Err(trouble) = done {
        cluster.ask(|session| {
            session.cancel_copy();
            Ok(())
        })?;
        return Err(trouble.into());
    }
    // The copy has set the owner's epoch.
    cluster.shared.epoch.store(epoch, Ordering::Release);
    lease.release();
    // Read as another process reads it.
    let mut there = 0;
    let copied = cluster.afresh().scan(&mut |block| there += u64::from(block.header.records))?;
    same((&report, records), (&copied, there), &cluster.describe())?;
    Ok(copied)
}

/// Copies the journal of a cluster, which must not be in use, into a folder that is new or empty.
///
/// # Errors
/// When one of them is in use, cannot be read or written, or the folder is not empty.
pub fn copy_to(cluster: &Cluster, folder: &Path) -> Result<Report, JournalError> {
    cluster.find()?;
    let mut lease = ClusterLease::of(cluster);
    lease.claim()?;
    let at = |path: &Path| JournalError::io(path.display().to_string());
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    if std::fs::read_dir(folder).map_err(at(folder))?.next().is_some() {
        return Err(wrong("the folder to copy to is not empty"));
    }
    let disk = Arc::new(Folder::at(folder, SyncMode::Data));
    let mut log: Option<Log> = None;
    let mut failed = Ok(());
    let report = cluster.read_all(&mut |block| {
        if failed.is_ok() {
            failed = put(&mut log, &disk, block);
        }
    })?;
    failed?;
    if report.last == Lsn(0) {
        return Err(wrong("there is no journal to copy"));
    }
    drop(log);
    lease.release();
    let (copy, mut there) = (Folder::at(folder, SyncMode::Data), 0);
    let copied = scan(&copy)?;
    copied.read(&copy, &mut |block| there += u64::from(block.header.records))?;
    same((&report, report.records), (&copied, there), &folder.display().to_string())?;
    Ok(copied)
}

/// Writes a block unchanged to the end of a log, which is created with the first block.
fn put(log: &mut Option<Log>, disk: &Arc<Folder>, block: &Block<'_>) -> Result<(), JournalError> {
    let log = match log {
        Some(log) => log,
        None => {
            let options =
                Options { segment_bytes: crate::limits::DURABLE_SEGMENT_BYTES, ..Options::default() };
            log.insert(Log::copying(disk.clone(), options, &block.header)?)
        }
    };
    let mut batch = Batch::with_capacity(block.header.body_bytes as usize);
    block.records().for_each(|record| batch.push(record));
    log.copy(&mut batch, &block.header)?;
    Ok(())
}

/// Checks that a copy equals the original, its number of records included.
fn same(read: (&Report, u64), copied: (&Report, u64), place: &str) -> Result<(), JournalError> {
    let identity = |(report, records): (&Report, u64)| (report.journal, report.last, report.epoch, records);
    if identity(read) == identity(copied) {
        return Ok(());
    }
    let what = "the copy is not what was read".to_owned();
    Err(JournalError::Damaged { file: place.to_owned(), offset: 0, what })
}

/// A block as it was read, without padding.
fn bytes(block: &Block<'_>) -> Vec<u8> {
    let mut batch = Batch::with_capacity(block.header.body_bytes as usize);
    block.records().for_each(|record| batch.push(record));
    let mut header = block.header;
    let bytes = batch.seal(&mut header);
    bytes[..HEADER_BYTES + header.body_bytes as usize].to_vec()
}
