//! The journal of a node that owns some partitions of a cluster. Each partition is a chain of blocks of its own, with its
//! own owner and epoch.
//!
//! 1. **One group at a time.** Records of all partitions are collected in one batch, as in a journal with one owner. It
//!    is written as one block for each partition that has records in it, all in one transaction: so many partitions cost
//!    few commits. The journal's numbers ([`Lsn`]) are those of groups, and only known to this process.
//! 2. **Each partition is fenced by itself**: the transaction checks the epochs of all partitions in it.
//! 3. **Partitions come and go.** One that is taken is read by the thread that takes it, which then appends an epoch
//!    block. One that is released gets a seal as its last block.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::block::{Batch, BlockKind, HEADER_BYTES, Header, RECORD_HEADER_BYTES};
use super::super::queue::{self, Fuse, wait};
use super::super::{
    Block, Failure, Journal, JournalError, Lsn, Options, Partitions, Record, Refused, Report, Room, Stats,
    Watcher,
};
use super::Cluster;
use super::engine::{Sealed, Session, Trouble};
use super::lease::replaced;
use super::writer::admit;
use crate::limits::{CLUSTER_CLOSE_MS, CLUSTER_RETRY_MS_MAX, CLUSTER_RETRY_MS_MIN};

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

type Shared = queue::Shared<Table>;
type Queue = queue::Queue<Table>;

/// The queue's fields for a journal of partitions.
#[derive(Default)]
struct Table {
    parts: BTreeMap<u16, Part>,
    kept_bytes: u64,
    /// Set when another node has taken a partition; the reason.
    lost: Option<String>,
    /// Why the database does not accept blocks at present.
    away: Option<String>,
}

/// A partition of this node.
struct Part {
    epoch: u64,
    /// Its last block.
    last: Lsn,
    last_crc: u32,
    /// The mark for its next block, the one in a durable block, and the blocks that are deleted.
    trim: Lsn,
    trimmed: Lsn,
    removed: Lsn,
    /// Groups in which it has blocks, with the last of them.
    marks: VecDeque<(Lsn, Lsn)>,
    /// The group of its last record.
    pushed: Lsn,
    is_closing: bool,
}

impl Part {
    /// The group of a block.
    fn group_of(&self, block: Lsn) -> Lsn {
        let at = self.marks.partition_point(|(_, last)| *last < block);
        self.marks.get(at).map_or(Lsn(u64::MAX), |(group, _)| *group)
    }
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
        let known = cluster.known()?;
        let short = JournalError::Options("the secret of the cluster is too short: its row was changed");
        let secret = u128::from_le_bytes(*known.secret.first_chunk().ok_or(short)?);
        let shared = Arc::new(Shared::new(Lsn(0), Lsn(0), &options, watchers, Table::default()));
        let appender = Appender {
            shared: Arc::clone(&shared),
            cluster: cluster.clone(),
            session: cluster.session()?,
            journal: known.journal,
            group: Lsn(0),
        };
        let (chores, session) = (Arc::clone(&shared), cluster.session()?);
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.to_owned());
            thread.spawn(body).map_err(JournalError::io("a thread of the journal"))
        };
        let threads = vec![
            spawn("journal", Box::new(move || write(appender)))?,
            spawn("journal-room", Box::new(move || make_room(&chores, session)))?,
        ];
        Ok(PartitionJournal {
            shared,
            cluster: cluster.clone(),
            secret,
            options,
            threads: Mutex::new(threads),
        })
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
        let cluster = self.cluster.at(partition);
        let mut report = Report::default();
        // The former owner cannot append any more: the claim has changed the owner's row.
        cluster.read_on(&mut report, visit)?;
        let mut batch = Batch::with_capacity(0);
        let journal = cluster.known()?.journal;
        let end = (report.last, report.last_crc, report.trimmed);
        let (sealed, crc) = seal(&mut batch, BlockKind::Epoch, (journal, partition, epoch), end);
        let (lsn, bytes) = (Lsn(sealed.lsn), sealed.bytes.clone());
        let appended = cluster.ask(move |session| {
            let appended = session.append_all(&[sealed]);
            if matches!(appended, Ok(true)) {
                return Ok(true);
            }
            // The answer may have been lost.
            let there = session.block(lsn.0)?.is_some_and(|block| block == bytes);
            if there { Ok(true) } else { appended }
        })?;
        if !appended {
            return Err(JournalError::Held(format!("partition {partition} of {}", self.cluster.describe())));
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
            queue = wait(&self.shared.done, queue);
        }
        drop(queue);
        let (mut delay_ms, cluster) = (CLUSTER_RETRY_MS_MIN, &self.cluster);
        // The seal is durable: another node may take it at any time.
        while let Err(error) = cluster.release_partition(partition, epoch) {
            tracing::warn!(%error, partition, "the partition cannot be released yet");
            thread::sleep(Duration::from_millis(delay_ms));
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

/// The block that follows the end of a partition, and its checksum.
fn seal(
    batch: &mut Batch,
    kind: BlockKind,
    (journal, partition, epoch): (u64, u16, u64),
    (last, previous, trimmed): (Lsn, u32, Lsn),
) -> (Sealed, u32) {
    let lsn = last.next();
    let (generation, body_bytes, records, body_crc, crc) = Default::default();
    let mut header = Header {
        kind,
        journal,
        lsn,
        generation,
        epoch,
        trimmed,
        body_bytes,
        records,
        previous,
        partition,
        body_crc,
        crc,
    };
    let block = batch.seal(&mut header);
    let bytes = block[..HEADER_BYTES + header.body_bytes as usize].to_vec();
    (Sealed { partition, lsn: lsn.0, epoch, bytes }, header.crc)
}

/// The state of the writer's thread.
struct Appender {
    shared: Arc<Shared>,
    cluster: Cluster,
    session: Session,
    /// The identity in all blocks.
    journal: u64,
    /// The last group.
    group: Lsn,
}

/// What is to be known of a block when its group is durable.
struct Member {
    partition: u16,
    lsn: Lsn,
    kind: BlockKind,
    /// Its mark.
    trim: Lsn,
    crc: u32,
}

impl Appender {
    /// Writes a group. Returns `None` if the journal is closing and the database does not answer: the group is then in
    /// doubt, and was not reported as durable.
    fn commit(&mut self, batch: &Batch, at_end: bool) -> Option<Result<Vec<Member>, Failure>> {
        let group = self.group.next();
        let (blocks, members) = self.blocks(batch, group, at_end);
        if blocks.is_empty() {
            return Some(Ok(Vec::new()));
        }
        let (mut delay_ms, mut closing_since) = (CLUSTER_RETRY_MS_MIN, None);
        let mut appended = self.append(&blocks, false);
        let appended = loop {
            match appended {
                Ok(appended) => break appended,
                Err(trouble) if self.cannot_append(&trouble, &mut closing_since) => return None,
                Err(_) => {}
            }
            thread::sleep(Duration::from_millis(delay_ms));
            delay_ms = (delay_ms * 2).min(CLUSTER_RETRY_MS_MAX);
            appended = self.append(&blocks, true);
        };
        self.is_back();
        match appended {
            None => Some(Ok(members)),
            Some(error) => Some(Err(self.failure(group, error))),
        }
    }

    fn failure(&self, lsn: Lsn, error: String) -> Failure {
        Failure { lsn, file: self.cluster.describe(), doing: "appending", error }
    }

    /// The blocks of a group: for each partition its records, or a seal, or a mark.
    fn blocks(&self, batch: &Batch, group: Lsn, at_end: bool) -> (Vec<Sealed>, Vec<Member>) {
        let mut bytes: BTreeMap<u16, usize> = BTreeMap::new();
        for record in batch.iter() {
            *bytes.entry(record.partition).or_default() += RECORD_HEADER_BYTES + record.bytes.len();
        }
        let with_room = |(partition, bytes)| (partition, Batch::with_capacity(bytes));
        let mut split: BTreeMap<u16, Batch> = bytes.into_iter().map(with_room).collect();
        for record in batch.iter() {
            if let Some(batch) = split.get_mut(&record.partition) {
                batch.push(record);
            }
        }
        let queue = self.shared.lock();
        let mut empty = Batch::with_capacity(0);
        let (mut blocks, mut members) = (Vec::new(), Vec::new());
        for (partition, part) in &queue.own.parts {
            let kind = match split.get(partition) {
                Some(_) => BlockKind::Records,
                None if (part.is_closing && part.pushed < group) || at_end => BlockKind::Seal,
                None if part.trim > part.trimmed => BlockKind::Mark,
                None => continue,
            };
            let batch = split.get_mut(partition).unwrap_or(&mut empty);
            let end = (part.last, part.last_crc, part.trim);
            let (sealed, crc) = seal(batch, kind, (self.journal, *partition, part.epoch), end);
            members.push(Member { partition: *partition, lsn: Lsn(sealed.lsn), kind, trim: part.trim, crc });
            blocks.push(sealed);
        }
        let written = members.iter().filter(|member| member.kind == BlockKind::Records).count();
        assert_eq!(written, split.len(), "records are only accepted of partitions that this node owns");
        (blocks, members)
    }

    /// Appends the blocks once. If an earlier attempt is in doubt, they are read first. Returns why they can never be
    /// appended.
    fn append(&mut self, blocks: &[Sealed], is_in_doubt: bool) -> Result<Option<String>, Trouble> {
        if is_in_doubt && self.is_there(&blocks[0])? {
            return Ok(None);
        }
        if self.session.append_all(blocks)? || self.is_there(&blocks[0])? {
            return Ok(None);
        }
        let owners = self.session.look()?.owners;
        for block in blocks {
            let owner = owners.get(usize::from(block.partition));
            let owner = owner.ok_or_else(|| Trouble::said("the row of a partition's owner is missing"))?;
            if owner.epoch != block.epoch {
                let why = format!("partition {}: {}", block.partition, replaced(block.epoch, owner));
                return Ok(Some(why));
            }
            self.session.at(block.partition);
            if block.lsn > 1 && self.session.block(block.lsn - 1)?.is_none() {
                return Ok(Some(format!(
                    "block {} of partition {} is not there any more, although it was durable: the database was \
                     restored, or a standby without it was promoted",
                    block.lsn - 1,
                    block.partition
                )));
            }
        }
        Err(Trouble::said("the blocks were not appended"))
    }

    /// Whether a block exists; then the others of its group do.
    fn is_there(&mut self, block: &Sealed) -> Result<bool, Trouble> {
        self.session.at(block.partition);
        Ok(self.session.block(block.lsn)?.is_some_and(|found| found == block.bytes))
    }

    /// Records that the database does not accept a group. Returns whether to give up.
    fn cannot_append(&self, trouble: &Trouble, closing_since: &mut Option<Instant>) -> bool {
        let mut queue = self.shared.lock();
        if queue.own.away.is_none() {
            tracing::error!(
                reason = %trouble, cluster = self.cluster.name(),
                "the journal's database is away: durable executions wait, new ones are refused"
            );
        }
        queue.own.away = Some(trouble.text.clone());
        if !queue.is_closing {
            return false;
        }
        let since = closing_since.get_or_insert_with(Instant::now);
        since.elapsed() >= Duration::from_millis(CLUSTER_CLOSE_MS)
    }

    fn is_back(&self) {
        if self.shared.lock().own.away.take().is_some() {
            tracing::info!(
                cluster = self.cluster.name(),
                "the journal's database is back: durable executions go on"
            );
        }
    }

    /// Publishes a group that is durable.
    fn publish(&mut self, batch: Batch, appended: Vec<Member>) {
        let bytes = if batch.records() == 0 { 0 } else { batch.block_bytes() as u64 };
        self.group = self.group.next();
        let (group, shared) = (self.group, &self.shared);
        shared.publish(group, batch, bytes, |queue| {
            queue.own.kept_bytes += bytes;
            for Member { partition, lsn, kind, trim, crc } in appended {
                if kind == BlockKind::Seal {
                    queue.own.parts.remove(&partition);
                    continue;
                }
                let Some(part) = queue.own.parts.get_mut(&partition) else {
                    unreachable!("a partition leaves with its seal");
                };
                (part.last, part.last_crc) = (lsn, crc);
                part.marks.push_back((group, lsn));
                if trim > part.trimmed {
                    part.trimmed = trim;
                    shared.chores.notify_one();
                }
            }
        });
    }
}

/// The writer's thread.
fn write(mut appender: Appender) {
    let shared = Arc::clone(&appender.shared);
    let _fuse = Fuse(&shared, "appending");
    while let Some(batch) = next_batch(&shared, appender.group.next()) {
        let began = Instant::now();
        let (records, bytes) = (batch.records(), batch.block_bytes() as u64);
        match appender.commit(&batch, false) {
            Some(Ok(appended)) => {
                shared.written.add(records, if records == 0 { 0 } else { bytes }, began.elapsed());
                appender.publish(batch, appended);
            }
            Some(Err(failure)) => return shared.fail(failure),
            None => return shared.end_chores(),
        }
    }
    let lost = shared.lock().own.lost.take();
    if let Some(error) = lost {
        let failure = appender.failure(appender.group.next(), error);
        return shared.fail(Failure { doing: "looking who owns it before", ..failure });
    }
    if let Some(Err(failure)) = appender.commit(&Batch::with_capacity(0), true) {
        shared.fail(failure);
    }
    shared.end_chores();
}

/// The next group to write; `None` at the end. An empty batch is for seals and marks.
fn next_batch(shared: &Shared, group: Lsn) -> Option<Batch> {
    let mut queue = shared.lock();
    loop {
        if queue.own.lost.is_some() {
            return None;
        }
        if let Some(batch) = queue.batches.take() {
            return Some(batch);
        }
        if queue.is_closing {
            return None;
        }
        let is_due = |part: &Part| part.trim > part.trimmed || (part.is_closing && part.pushed < group);
        if queue.own.parts.values().any(is_due) {
            return Some(queue.batches.begin_empty());
        }
        queue.is_idle = true;
        queue = wait(&shared.work, queue);
        queue.is_idle = false;
    }
}

/// The thread that deletes trimmed blocks, a few at a time.
fn make_room(shared: &Shared, mut session: Session) {
    let mut queue = shared.lock();
    while !queue.are_chores_over {
        let due = queue.own.parts.iter().find(|(_, part)| part.trimmed > part.removed);
        let Some((partition, trimmed)) = due.map(|(partition, part)| (*partition, part.trimmed)) else {
            queue = wait(&shared.chores, queue);
            continue;
        };
        drop(queue);
        session.at(partition);
        let removed = session.remove(trimmed.0);
        let is_over = removed.as_ref().is_ok_and(|more| !more);
        queue = shared.lock();
        if is_over && let Some(part) = queue.own.parts.get_mut(&partition) {
            part.removed = part.removed.max(trimmed);
        }
        let are_all_gone = !queue.own.parts.values().any(|part| part.trimmed > part.removed);
        if is_over && are_all_gone {
            let owned: Vec<u16> = queue.own.parts.keys().copied().collect();
            drop(queue);
            let kept_bytes = owned.into_iter().try_fold(0, |sum, partition| {
                session.at(partition);
                session.kept_bytes().map(|bytes| sum + bytes)
            });
            queue = shared.lock();
            queue.own.kept_bytes = kept_bytes.unwrap_or(queue.own.kept_bytes);
        } else if removed.is_err() && !queue.are_chores_over {
            // Tries again later.
            let pause = Duration::from_millis(CLUSTER_RETRY_MS_MAX);
            let waited = shared.chores.wait_timeout(queue, pause);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
