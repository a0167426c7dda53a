//! The journal of a node that owns some partitions of a cluster. Each partition is a chain of blocks of its own, with its
//! own owner and epoch.
//!
//! 1. **One group at a time.** Records of all partitions are collected in one batch, as in a journal with one owner. It
//!    is written as one block for each partition that has records in it, all at once: in one transaction, so that many
//!    partitions cost few commits, or each as a message of a stream. The journal's numbers ([`Lsn`]) are those of groups, and
//!    only known to this process. A group is durable when all of its blocks are. If this node ends before, some of them may
//!    be durable: none of their records was acknowledged, and none depends on a record of another partition in that group.
//! 2. **Each partition is fenced by itself**: by the owner's epoch, which the transaction checks, or by the block before,
//!    which another owner's epoch block has replaced.
//! 3. **Partitions come and go.** One that is taken is read by the thread that takes it, which then appends an epoch
//!    block. One that is released gets a seal as its last block.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::super::block::{Batch, BlockKind};
use super::super::queue::wait;
use super::super::{
    Block, Failure, Journal, JournalError, Lsn, Options, Partitions, Record, Refused, Report, Room, Stats,
    Watcher,
};
use super::node::Cluster;
use super::partition_table::{Part, Queue, Shared, Table};
use super::partition_writer::{Appender, Remover, seal};
use super::writer::{admit, limited};
use crate::limits::{CLUSTER_RETRY_MS_MAX, CLUSTER_RETRY_MS_MIN};

/// A [`Journal`] of the partitions that a node owns. Dropping it appends waiting records and seals, and releases all
/// partitions.
pub(crate) struct PartitionJournal {
    shared: Arc<Shared>,
    cluster: Cluster,
    /// The beginning of the cluster's secret.
    secret: u128,
    options: Options,
    /// Until the end.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl PartitionJournal {
    /// The journal of this node, which owns no partition yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) fn begin(
        cluster: &Cluster,
        options: Options,
        watchers: Vec<Watcher>,
    ) -> Result<PartitionJournal, JournalError> {
        let (journal, appender, remover) = PartitionJournal::stepped(cluster, options, watchers)?;
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(body)
                .map_err(JournalError::io("a thread of the journal"))
        };
        let threads = [
            spawn("journal", Box::new(move || appender.run()))?,
            spawn("journal-room", Box::new(move || remover.run()))?,
        ];
        journal.threads.lock().unwrap_or_else(PoisonError::into_inner).extend(threads);
        Ok(journal)
    }

    /// The same, without threads: what they do is for the caller to do.
    pub(super) fn stepped(
        cluster: &Cluster,
        options: Options,
        watchers: Vec<Watcher>,
    ) -> Result<(PartitionJournal, Appender, Remover), JournalError> {
        let known = cluster.known()?;
        let short = JournalError::Options("the secret of the cluster is too short: its row was changed");
        let secret = u128::from_le_bytes(*known.secret.first_chunk().ok_or(short)?);
        let mut session = cluster.session()?;
        let options = limited(options, session.block_bytes_max()?);
        let shared = Arc::new(Shared::new(Lsn(0), Lsn(0), &options, watchers, Table::default()));
        let appender = Appender {
            shared: Arc::clone(&shared),
            cluster: cluster.clone(),
            session,
            journal: known.journal,
            group: Lsn(0),
        };
        let remover = Remover { shared: Arc::clone(&shared), session: cluster.session()? };
        let (cluster, threads) = (cluster.clone(), Mutex::default());
        Ok((PartitionJournal { shared, cluster, secret, options, threads }, appender, remover))
    }

    fn end(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        if threads.is_empty() {
            return;
        }
        self.shared.lock().is_closing = true;
        self.shared.work.notify_all();
        for thread in threads {
            // A panic was reported already.
            let _ = thread.join();
        }
        self.release_all();
    }

    /// Releases all partitions, of which nothing more is appended.
    pub(super) fn release_all(&self) {
        let node = self.cluster.node().to_owned();
        let released = self.cluster.ask(move |session| {
            session.release_all(&node)?;
            session.forget_nodes(&node)
        });
        if let Err(trouble) = released {
            tracing::warn!(reason = %trouble, "the partitions are not released: they are taken when the lease is over");
        }
    }

    fn begin_epoch(
        &self,
        partition: u16,
        epoch: u64,
        visit: &mut dyn FnMut(&Block<'_>),
    ) -> Result<(), JournalError> {
        let (mut report, mut refused_at) = (Report::default(), None);
        let (lsn, crc) = loop {
            self.cluster.at(partition).read_on(&mut report, visit)?;
            if report.epoch > epoch || refused_at == Some(report.last) {
                return Err(JournalError::Held(format!(
                    "partition {partition} of {}",
                    self.cluster.describe()
                )));
            }
            if let Some(appended) = self.append_epoch(partition, epoch, &report)? {
                break appended;
            }
            // The former owner has appended meanwhile. From the block of this epoch on, it cannot.
            refused_at = Some(report.last);
        };
        if partition == 0 {
            self.take_records(epoch)?;
        }
        let mut queue = self.shared.lock();
        let trimmed = report.trimmed.max(Lsn(1));
        // A compaction that is under way has not read them: they belong to the next group.
        let marks = VecDeque::from([(queue.batches.next(), lsn)]);
        let (pushed, is_closing) = (Lsn(0), false);
        let part = Part {
            epoch,
            last: lsn,
            last_crc: crc,
            trim: trimmed,
            trimmed,
            removed: trimmed,
            marks,
            pushed,
            is_closing,
        };
        let before = queue.own.parts.insert(partition, part);
        assert!(before.is_none(), "a partition is taken once");
        queue.own.kept_bytes += report.bytes;
        if partition == 0 {
            self.cluster.owns_records(epoch);
        }
        Ok(())
    }

    /// Appends the block that begins an epoch, and returns its number and checksum; `None` if it does not follow.
    fn append_epoch(
        &self,
        partition: u16,
        epoch: u64,
        report: &Report,
    ) -> Result<Option<(Lsn, u32)>, JournalError> {
        let mut batch = Batch::with_capacity(0);
        let journal = self.cluster.known()?.journal;
        let end = (report.last, report.last_crc, report.trimmed);
        let (sealed, crc) = seal(&mut batch, BlockKind::Epoch, (journal, partition, epoch), end);
        let (lsn, bytes) = (Lsn(sealed.lsn), sealed.bytes.clone());
        let appended = self.cluster.at(partition).ask(move |session| {
            let appended = session.append_all(&[sealed]);
            if matches!(appended, Ok(true)) {
                return Ok(true);
            }
            // The answer may have been lost.
            let there = session.block(lsn.0)?.is_some_and(|block| block == bytes);
            if there { Ok(true) } else { appended }
        })?;
        Ok(appended.then_some((lsn, crc)))
    }

    /// The former owner of the first partition changes none of the service's records any more.
    fn take_records(&self, epoch: u64) -> Result<(), JournalError> {
        let begun = self.cluster.ask(move |session| {
            let begun = session.begin(epoch);
            session.roll_back();
            begun
        })?;
        if begun { Ok(()) } else { Err(JournalError::Held(self.cluster.describe())) }
    }

    /// Waits until something was written, or for a while.
    fn wait_done<'a>(&'a self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        if !self.cluster.is_model() {
            return wait(&self.shared.done, queue);
        }
        drop(queue);
        self.cluster.pause(Duration::from_millis(CLUSTER_RETRY_MS_MIN));
        self.shared.lock()
    }

    fn push(&self, record: Record<'_>, room: Room, is_quiet: bool) -> Result<Lsn, Refused> {
        let partition = record.partition;
        let admit = |queue: &mut Queue, growth| {
            if queue.own.parts.get(&partition).is_none_or(|part| part.is_closing) {
                let why = format!("this node does not own partition {partition} any more");
                return Err(Refused::Away(why));
            }
            let waiting = queue.batches.waiting_bytes + growth;
            admit(queue.own.away.as_ref(), room, waiting, &self.options)
        };
        let note = |queue: &mut Queue, lsn| {
            let Some(part) = queue.own.parts.get_mut(&partition) else {
                unreachable!("records are admitted of partitions that are there");
            };
            part.pushed = lsn;
        };
        self.shared.push(record, &self.options, is_quiet, admit, note)
    }
}

impl Drop for PartitionJournal {
    fn drop(&mut self) {
        self.end();
    }
}

impl Journal for PartitionJournal {
    fn append(&self, record: Record<'_>, room: Room) -> Result<Lsn, Refused> {
        self.push(record, room, false)
    }

    fn append_quietly(&self, record: Record<'_>, room: Room) -> Result<Lsn, Refused> {
        self.push(record, room, true)
    }

    fn announce(&self) {
        self.shared.wake_writer(&mut self.shared.lock());
    }

    fn durable(&self) -> Result<Lsn, Failure> {
        self.shared.durable()
    }

    fn wait(&self, lsn: Lsn) -> Result<(), Failure> {
        self.shared.wait(lsn)
    }

    /// Of each partition, the blocks in groups before this one are no longer needed.
    fn trim(&self, before: Lsn) {
        let mut queue = self.shared.lock();
        for part in queue.own.parts.values_mut() {
            while let Some((group, last)) = part.marks.front().copied()
                && group < before
            {
                part.trim = last.next();
                part.marks.pop_front();
            }
        }
        queue.is_idle = false;
        self.shared.work.notify_one();
    }

    fn record_bytes_max(&self) -> usize {
        self.options.record_bytes_max()
    }

    fn stats(&self) -> Stats {
        let queue = self.shared.lock();
        let (waiting_bytes, kept_bytes) = (queue.batches.waiting_bytes, queue.own.kept_bytes);
        Stats { waiting_bytes, kept_bytes, is_away: queue.own.away.is_some(), ..self.shared.written.stats() }
    }

    fn finish(&self) {
        self.end();
    }

    fn check(&self, _they_may: &AtomicBool) {
        // Each append checks this.
    }

    /// The blocks are visited with the numbers of their groups.
    fn read(&self, from: Lsn, visit: &mut dyn FnMut(&Block<'_>)) -> Result<(), JournalError> {
        let range = |part: &Part| (part.trimmed.max(Lsn(1)), part.last);
        let parts: Vec<(u16, (Lsn, Lsn))> =
            self.shared.lock().own.parts.iter().map(|(partition, part)| (*partition, range(part))).collect();
        for (partition, (first, last)) in parts {
            let read = self.cluster.at(partition).read_range(first, last, &mut |block, _| {
                let queue = self.shared.lock();
                let group = queue.own.parts.get(&partition).map(|part| part.group_of(block.header.lsn));
                drop(queue);
                if let Some(group) = group.filter(|group| *group >= from) {
                    let mut block = *block;
                    block.header.lsn = group;
                    visit(&block);
                }
                Ok(())
            });
            let is_gone =
                || self.shared.lock().own.parts.get(&partition).is_none_or(|part| part.trimmed > first);
            match read {
                // It was released meanwhile.
                Err(JournalError::Damaged { .. }) if is_gone() => {}
                read => read?,
            }
        }
        Ok(())
    }

    fn partitions(&self) -> Option<&dyn Partitions> {
        Some(self)
    }
}

impl Partitions for PartitionJournal {
    fn open(&self, partition: u16, visit: &mut dyn FnMut(&Block<'_>)) -> Result<Option<u64>, JournalError> {
        let Some(epoch) = self.cluster.claim_partition(partition)? else { return Ok(None) };
        match self.begin_epoch(partition, epoch, visit) {
            Ok(()) => Ok(Some(epoch)),
            Err(error) => {
                let owner = self.cluster.at(partition).ask(|session| session.owner())?;
                if owner.epoch != epoch {
                    // A node that was paused meanwhile, and replaced: blocks may be gone that it was to read.
                    return Ok(None);
                }
                // Another node may be able to read it.
                self.cluster.release_partition(partition, epoch)?;
                Err(error)
            }
        }
    }

    fn close(&self, partition: u16) -> Result<(), Failure> {
        if partition == 0 {
            self.cluster.owns_records(0);
        }
        let mut queue = self.shared.lock();
        let Some(part) = queue.own.parts.get_mut(&partition) else { return Ok(()) };
        part.is_closing = true;
        let epoch = part.epoch;
        queue.is_idle = false;
        self.shared.work.notify_all();
        while queue.own.parts.contains_key(&partition) {
            if let Some(failure) = &queue.failure {
                return Err(failure.clone());
            }
            queue = self.wait_done(queue);
        }
        drop(queue);
        let (mut delay_ms, cluster) = (CLUSTER_RETRY_MS_MIN, &self.cluster);
        // The seal is durable: another node may take it at any time.
        while let Err(error) = cluster.release_partition(partition, epoch) {
            tracing::warn!(%error, partition, "the partition cannot be released yet");
            cluster.pause(Duration::from_millis(delay_ms));
            delay_ms = (delay_ms * 2).min(CLUSTER_RETRY_MS_MAX);
        }
        Ok(())
    }

    fn lose(&self, why: String) {
        self.shared.lock().own.lost = Some(why);
        self.shared.work.notify_all();
    }

    fn secret(&self) -> u128 {
        self.secret
    }
}
