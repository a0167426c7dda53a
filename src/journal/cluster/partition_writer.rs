//! The writer of a [journal of partitions](super::partitions): groups of blocks, each written at once, and the deletion of
//! blocks that are not needed any more.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::block::{Batch, BlockKind, HEADER_BYTES, Header, RECORD_HEADER_BYTES};
use super::super::queue::{Fuse, wait};
use super::super::{Failure, Lsn};
use super::engine::{Sealed, Session, Trouble};
use super::lease::replaced;
use super::node::Cluster;
use super::partition_table::{Part, Queue, Shared};
use crate::limits::{CLUSTER_CLOSE_MS, CLUSTER_RETRY_MS_MAX, CLUSTER_RETRY_MS_MIN};

/// The block that follows the end of a partition, and its checksum.
pub(super) fn seal(
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
pub(super) struct Appender {
    pub(super) shared: Arc<Shared>,
    pub(super) cluster: Cluster,
    pub(super) session: Session,
    /// The identity in all blocks.
    pub(super) journal: u64,
    /// The last group.
    pub(super) group: Lsn,
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
            self.cluster.pause(Duration::from_millis(delay_ms));
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

    /// Appends the blocks once. If an earlier attempt is in doubt, they are read first, and those that are there are not
    /// appended again. Returns why they can never be appended.
    fn append(&mut self, blocks: &[Sealed], is_in_doubt: bool) -> Result<Option<String>, Trouble> {
        let missing = if is_in_doubt { Cow::Owned(self.missing(blocks)?) } else { Cow::Borrowed(blocks) };
        if missing.is_empty() || self.session.append_all(&missing)? {
            return Ok(None);
        }
        let missing = self.missing(&missing)?;
        if missing.is_empty() {
            return Ok(None);
        }
        let owners = self.session.look()?.owners;
        for block in &missing {
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

    /// Those of the blocks that do not exist.
    fn missing(&mut self, blocks: &[Sealed]) -> Result<Vec<Sealed>, Trouble> {
        let mut missing = Vec::new();
        for block in blocks {
            self.session.at(block.partition);
            if self.session.block(block.lsn)?.is_none_or(|found| found != block.bytes) {
                missing.push(block.clone());
            }
        }
        Ok(missing)
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
        let since = *closing_since.get_or_insert(self.cluster.now());
        self.cluster.now() - since >= Duration::from_millis(CLUSTER_CLOSE_MS)
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

/// The result of a step of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was done.
    Done,
    /// There was nothing to do.
    Idle,
    /// The database did not do it. A writer ends then; what else is to be done is tried again after a while.
    Failed,
    /// The thread ends.
    Over,
}

impl Appender {
    /// The writer's thread.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _fuse = Fuse(&shared, "appending");
        loop {
            match self.step() {
                Step::Done => {}
                Step::Idle => self.wait_for_work(),
                Step::Over | Step::Failed => return,
            }
        }
    }

    /// Writes the next group, if there is something to write; at the end, seals.
    pub(super) fn step(&mut self) -> Step {
        let due = due(&mut self.shared.lock(), self.group.next());
        match due {
            Due::Group(batch) => self.write(batch),
            Due::Nothing => Step::Idle,
            Due::End => {
                self.end();
                Step::Over
            }
        }
    }

    fn wait_for_work(&self) {
        let mut queue = self.shared.lock();
        if is_due(&queue, self.group.next()) {
            return;
        }
        queue.is_idle = true;
        queue = wait(&self.shared.work, queue);
        queue.is_idle = false;
    }

    fn write(&mut self, batch: Batch) -> Step {
        let began = Instant::now();
        let (records, bytes) = (batch.records(), batch.block_bytes() as u64);
        match self.commit(&batch, false) {
            Some(Ok(appended)) => {
                self.shared.written.add(records, if records == 0 { 0 } else { bytes }, began.elapsed());
                self.publish(batch, appended);
                return Step::Done;
            }
            Some(Err(failure)) => self.shared.fail(failure),
            None => self.shared.end_chores(),
        }
        Step::Failed
    }

    fn end(&mut self) {
        let lost = self.shared.lock().own.lost.take();
        if let Some(error) = lost {
            let failure = self.failure(self.group.next(), error);
            return self.shared.fail(Failure { doing: "looking who owns it before", ..failure });
        }
        if let Some(Err(failure)) = self.commit(&Batch::with_capacity(0), true) {
            self.shared.fail(failure);
        }
        self.shared.end_chores();
    }
}

/// What the writer has to do next.
enum Due {
    /// A group; an empty batch is for seals and marks.
    Group(Batch),
    Nothing,
    End,
}

fn due(queue: &mut Queue, group: Lsn) -> Due {
    if queue.own.lost.is_some() {
        return Due::End;
    }
    if let Some(batch) = queue.batches.take() {
        return Due::Group(batch);
    }
    match () {
        () if queue.is_closing => Due::End,
        () if is_mark_due(queue, group) => Due::Group(queue.batches.begin_empty()),
        () => Due::Nothing,
    }
}

fn is_due(queue: &Queue, group: Lsn) -> bool {
    queue.own.lost.is_some() || !queue.batches.is_empty() || queue.is_closing || is_mark_due(queue, group)
}

/// Whether a partition needs a mark or a seal.
fn is_mark_due(queue: &Queue, group: Lsn) -> bool {
    let is_due = |part: &Part| part.trim > part.trimmed || (part.is_closing && part.pushed < group);
    queue.own.parts.values().any(is_due)
}

/// The thread that deletes trimmed blocks, a few at a time.
pub(super) struct Remover {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Session,
}

impl Remover {
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            match self.step() {
                Step::Done => {}
                Step::Idle => {
                    let queue = shared.lock();
                    if !queue.are_chores_over && due_removal(&queue).is_none() {
                        drop(wait(&shared.chores, queue));
                    }
                }
                Step::Failed => {
                    let queue = shared.lock();
                    if !queue.are_chores_over {
                        drop(shared.chores.wait_timeout(queue, Duration::from_millis(CLUSTER_RETRY_MS_MAX)));
                    }
                }
                Step::Over => return,
            }
        }
    }

    /// Deletes some blocks, if there are any to delete.
    pub(super) fn step(&mut self) -> Step {
        let queue = self.shared.lock();
        if queue.are_chores_over {
            return Step::Over;
        }
        let Some((partition, trimmed)) = due_removal(&queue) else { return Step::Idle };
        drop(queue);
        self.session.at(partition);
        let removed = self.session.remove(trimmed.0);
        let is_over = removed.as_ref().is_ok_and(|more| !more);
        let mut queue = self.shared.lock();
        if is_over && let Some(part) = queue.own.parts.get_mut(&partition) {
            part.removed = part.removed.max(trimmed);
        }
        if is_over && due_removal(&queue).is_none() {
            let owned: Vec<u16> = queue.own.parts.keys().copied().collect();
            drop(queue);
            let kept_bytes = owned.into_iter().try_fold(0, |sum, partition| {
                self.session.at(partition);
                self.session.kept_bytes().map(|bytes| sum + bytes)
            });
            let mut queue = self.shared.lock();
            queue.own.kept_bytes = kept_bytes.unwrap_or(queue.own.kept_bytes);
        }
        if removed.is_ok() { Step::Done } else { Step::Failed }
    }
}

/// A partition with blocks that are not needed any more, and the number before which they are.
fn due_removal(queue: &Queue) -> Option<(u16, Lsn)> {
    let due = queue.own.parts.iter().find(|(_, part)| part.trimmed > part.removed);
    due.map(|(partition, part)| (*partition, part.trimmed))
}
