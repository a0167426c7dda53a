//! The threads of a journal in a cluster: one appends blocks, one deletes trimmed blocks. Any thread appends records.
//!
//! As in a folder, the last batch stays open while the one before is written, so batches grow while the database works.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::block::{Batch, BlockKind, HEADER_BYTES, Header, RECORD_HEADER_BYTES, SHARED};
use super::super::queue::{self, Fuse, wait};
use super::super::{
    Block, Failure, Journal, JournalError, Lsn, Options, Ownership, Record, Refused, Report, Room, Stats,
    Watcher,
};
use super::engine::{Session, Trouble};
use super::lease::{ClusterLease, replaced};
use super::node::Cluster;
use crate::limits::{CLUSTER_CLOSE_MS, CLUSTER_RETRY_MS_MAX, CLUSTER_RETRY_MS_MIN};

/// A [`Journal`] in a cluster's engine. Dropping it appends waiting records and a seal, and releases the cluster.
pub struct ClusterJournal {
    shared: Arc<Shared>,
    cluster: Cluster,
    options: Options,
    /// Until the end.
    running: Mutex<Option<Running>>,
}

/// The parts that end with the journal.
struct Running {
    threads: Vec<JoinHandle<()>>,
    lease: ClusterLease,
}

type Shared = queue::Shared<Table>;
type Queue = queue::Queue<Table>;

/// The queue's fields for a journal in an engine.
struct Table {
    /// Blocks before this one are deleted.
    removed: Lsn,
    kept_bytes: u64,
    /// Set when another node has taken the cluster; the reason.
    lost: Option<String>,
    /// Why the database does not accept blocks at present.
    away: Option<String>,
}

/// Opens the journal of a cluster, which is created if missing: claims it, unless a living node owns it, visits every
/// block that is in use, in order, and begins a new epoch.
///
/// # Errors
/// When the database does not answer, another node has the cluster, or the journal is damaged.
pub fn open(
    cluster: &Cluster,
    options: Options,
    watchers: Vec<Watcher>,
    visit: &mut dyn FnMut(&Block<'_>),
) -> Result<(ClusterJournal, Report), JournalError> {
    let mut lease = ClusterLease::of(cluster);
    cluster.claim_within_lease(&mut lease)?;
    let mut report = Report::default();
    let mut chain = Chain::of(cluster, options.partition)?;
    let options = chain.limit(options)?;
    let begun = chain.begin(&mut report, visit)?;
    let table = Table { removed: Lsn(0), kept_bytes: report.bytes, lost: None, away: None };
    let shared = Arc::new(Shared::new(begun, report.trimmed, &options, watchers, table));
    let told = Arc::clone(&shared);
    lease.when_lost(Box::new(move |why| {
        told.lock().own.lost = Some(why);
        told.work.notify_all();
    }));
    let appender = Appender { shared: Arc::clone(&shared), chain };
    let (chores, session) = (Arc::clone(&shared), cluster.session()?);
    let threads = vec![
        spawn("journal", move || write(appender))?,
        spawn("journal-room", move || make_room(&chores, session))?,
    ];
    let running = Mutex::new(Some(Running { threads, lease }));
    Ok((ClusterJournal { shared, cluster: cluster.clone(), options, running }, report))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, JournalError> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(body).map_err(JournalError::io("a thread of the journal"))
}

impl ClusterJournal {
    /// Appends waiting records and a seal, and ends; returns the failure, if there was one. If the database does not
    /// answer, it gives up after a few seconds.
    ///
    /// # Errors
    /// When an appended record may not be durable.
    pub fn close(self) -> Result<(), Failure> {
        self.end();
        match &self.shared.lock().failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }

    fn end(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { threads, mut lease }) = running {
            self.shared.lock().is_closing = true;
            self.shared.work.notify_all();
            for thread in threads {
                // A panic was reported already.
                let _ = thread.join();
            }
            lease.release();
        }
    }

    fn push(&self, record: Record<'_>, room: Room, is_quiet: bool) -> Result<Lsn, Refused> {
        let admit = |queue: &mut Queue, growth| {
            let waiting = queue.batches.waiting_bytes + growth;
            admit(queue.own.away.as_ref(), room, waiting, &self.options)
        };
        self.shared.push(record, &self.options, is_quiet, admit, |_, _| ())
    }
}

/// The options with blocks and records of at most this size.
pub(super) fn limited(options: Options, bytes_max: usize) -> Options {
    let block_bytes_max = options.block_bytes_max.min(bytes_max);
    let record_bytes_max = options.record_bytes_max.min(bytes_max - HEADER_BYTES - RECORD_HEADER_BYTES);
    Options { block_bytes_max, record_bytes_max, ..options }
}

/// Whether a record is accepted, with which so many bytes wait for the database, which may be away.
pub(super) fn admit(
    away: Option<&String>,
    room: Room,
    waiting: u64,
    options: &Options,
) -> Result<(), Refused> {
    match away {
        Some(why) if room == Room::Ordinary || waiting > options.queue_bytes_max => {
            Err(Refused::Away(why.clone()))
        }
        None if waiting > options.queue_bytes_max => Err(Refused::Busy),
        _ => Ok(()),
    }
}

impl Drop for ClusterJournal {
    fn drop(&mut self) {
        self.end();
    }
}

impl Journal for ClusterJournal {
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

    fn trim(&self, before: Lsn) {
        self.shared.trim(before).is_idle = false;
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

    fn read(&self, from: Lsn, visit: &mut dyn FnMut(&Block<'_>)) -> Result<(), JournalError> {
        let (last, trimmed) = {
            let queue = self.shared.lock();
            (queue.durable, queue.trimmed)
        };
        let mut next = from.max(trimmed).max(Lsn(1));
        let mut seen = |block: &Block<'_>, _| {
            next = block.header.lsn.next();
            visit(block);
            Ok(())
        };
        match self.cluster.read_range(from.max(trimmed).max(Lsn(1)), last, &mut seen) {
            // Blocks may have been trimmed meanwhile.
            Err(JournalError::Damaged { .. }) if self.shared.lock().trimmed > next => self.read(next, visit),
            read => read,
        }
    }
}

/// The end of the journal, to which blocks are appended.
struct Chain {
    cluster: Cluster,
    session: Session,
    journal: u64,
    epoch: u64,
    last: Lsn,
    last_crc: u32,
    partition: u16,
}

/// The result of an attempt to append a block.
enum Appended {
    Done,
    /// The replaced owner has appended another block with this number.
    Overtaken,
    /// It can never be appended.
    Never(String),
}

impl Chain {
    fn of(cluster: &Cluster, partition: Option<u16>) -> Result<Chain, JournalError> {
        Ok(Chain {
            cluster: cluster.clone(),
            session: cluster.session()?,
            journal: cluster.known()?.journal,
            epoch: cluster.epoch(),
            last: Lsn(0),
            last_crc: 0,
            partition: partition.unwrap_or(SHARED),
        })
    }

    /// Limits blocks and records to the size that the engine accepts.
    fn limit(&mut self, options: Options) -> Result<Options, JournalError> {
        Ok(limited(options, self.session.block_bytes_max()?))
    }

    /// Visits all blocks, and appends the block that begins this node's epoch. A replaced owner may append until then,
    /// because the engine refuses it only from then on; its blocks are visited, too.
    fn begin(&mut self, report: &mut Report, visit: &mut dyn FnMut(&Block<'_>)) -> Result<Lsn, JournalError> {
        let cluster = self.cluster.clone();
        let mut delay_ms = CLUSTER_RETRY_MS_MIN;
        loop {
            cluster.read_on(report, visit)?;
            (self.last, self.last_crc) = (report.last, report.last_crc);
            let mut batch = Batch::with_capacity(0);
            let (lsn, crc, bytes) = self.seal(&mut batch, BlockKind::Epoch, report.trimmed);
            let mut appended = self.append(lsn, bytes, false);
            while let Err(trouble) = &appended {
                tracing::warn!(reason = %trouble, "the cluster cannot be taken yet");
                thread::sleep(Duration::from_millis(delay_ms));
                delay_ms = (delay_ms * 2).min(CLUSTER_RETRY_MS_MAX);
                appended = self.append(lsn, bytes, true);
            }
            match appended? {
                Appended::Done => {
                    (self.last, self.last_crc) = (lsn, crc);
                    return Ok(lsn);
                }
                Appended::Overtaken => {}
                Appended::Never(error) => return Err(self.failure(lsn, error).into()),
            }
        }
    }

    fn failure(&self, lsn: Lsn, error: String) -> Failure {
        Failure { lsn, file: self.cluster.describe(), doing: "appending", error }
    }

    /// The next block: its number, its checksum and its bytes.
    fn seal<'a>(&self, batch: &'a mut Batch, kind: BlockKind, trim: Lsn) -> (Lsn, u32, &'a [u8]) {
        let lsn = self.last.next();
        let mut header = Header {
            kind,
            journal: self.journal,
            lsn,
            generation: 0,
            epoch: self.epoch,
            trimmed: trim,
            body_bytes: 0,
            records: 0,
            previous: self.last_crc,
            partition: self.partition,
            body_crc: 0,
            crc: 0,
        };
        let block = batch.seal(&mut header);
        (lsn, header.crc, &block[..HEADER_BYTES + header.body_bytes as usize])
    }

    /// Appends a block once. If an earlier attempt is in doubt, the block is read first.
    fn append(&mut self, lsn: Lsn, bytes: &[u8], is_in_doubt: bool) -> Result<Appended, Trouble> {
        let is_there = |found: Option<Vec<u8>>| found.map(|found| found == bytes);
        if is_in_doubt && is_there(self.session.block(lsn.0)?) == Some(true) {
            return Ok(Appended::Done);
        }
        if self.session.append(lsn.0, self.epoch, bytes)? {
            return Ok(Appended::Done);
        }
        let found = is_there(self.session.block(lsn.0)?);
        if found == Some(true) {
            return Ok(Appended::Done);
        }
        let owner = self.session.owner()?;
        if owner.epoch != self.epoch {
            return Ok(Appended::Never(replaced(self.epoch, &owner)));
        }
        if found.is_some() {
            return Ok(Appended::Overtaken);
        }
        if lsn.0 == 1 || self.session.block(lsn.0 - 1)?.is_some() {
            return Err(Trouble::said("the block was not appended"));
        }
        Ok(Appended::Never(format!(
            "block {} is not there any more, although it was durable: the database was restored, or a standby without it \
             was promoted",
            lsn.0 - 1
        )))
    }
}

/// The state of the writer's thread.
struct Appender {
    shared: Arc<Shared>,
    chain: Chain,
}

impl Appender {
    /// Appends a block, and returns its number when it is durable. Returns `None` if the journal is closing and the
    /// database does not answer: the block is then in doubt, and was not reported as durable.
    fn commit(&mut self, batch: &mut Batch, kind: BlockKind, trim: Lsn) -> Option<Result<Lsn, Failure>> {
        let (lsn, crc, bytes) = self.chain.seal(batch, kind, trim);
        let (mut delay_ms, mut closing_since) = (CLUSTER_RETRY_MS_MIN, None);
        let mut appended = self.chain.append(lsn, bytes, false);
        let appended = loop {
            match appended {
                Ok(appended) => break appended,
                Err(trouble) if self.cannot_append(&trouble, &mut closing_since) => return None,
                Err(_) => {}
            }
            thread::sleep(Duration::from_millis(delay_ms));
            delay_ms = (delay_ms * 2).min(CLUSTER_RETRY_MS_MAX);
            appended = self.chain.append(lsn, bytes, true);
        };
        self.is_back();
        let error = match appended {
            Appended::Done => {
                (self.chain.last, self.chain.last_crc) = (lsn, crc);
                return Some(Ok(lsn));
            }
            Appended::Overtaken => "another owner has appended one of this number".to_owned(),
            Appended::Never(error) => error,
        };
        Some(Err(self.chain.failure(lsn, error)))
    }

    /// Records that the database does not accept a block. Returns whether to give up.
    fn cannot_append(&self, trouble: &Trouble, closing_since: &mut Option<Instant>) -> bool {
        let mut queue = self.shared.lock();
        if queue.own.away.is_none() {
            tracing::error!(
                reason = %trouble, cluster = self.chain.cluster.name(),
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
                cluster = self.chain.cluster.name(),
                "the journal's database is back: durable executions go on"
            );
        }
    }
}

/// The writer's thread.
fn write(mut appender: Appender) {
    let shared = Arc::clone(&appender.shared);
    let _fuse = Fuse(&shared, "appending");
    while let Some((mut batch, trim)) = next_batch(&shared) {
        let is_empty = batch.records() == 0;
        let bytes = if is_empty { 0 } else { batch.block_bytes() as u64 };
        let kind = if is_empty { BlockKind::Mark } else { BlockKind::Records };
        let began = Instant::now();
        match appender.commit(&mut batch, kind, trim) {
            Some(Ok(lsn)) => {
                shared.written.add(batch.records(), bytes, began.elapsed());
                publish(&shared, lsn, trim, batch, bytes);
            }
            Some(Err(failure)) => return shared.fail(failure),
            None => return shared.end_chores(),
        }
    }
    let lost = shared.lock().own.lost.take();
    if let Some(error) = lost {
        let (lsn, file) = (appender.chain.last.next(), appender.chain.cluster.describe());
        return shared.fail(Failure { lsn, file, doing: "looking who owns it before", error });
    }
    let trimmed = shared.lock().trimmed;
    if let Some(Err(failure)) = appender.commit(&mut Batch::with_capacity(0), BlockKind::Seal, trimmed) {
        shared.fail(failure);
    }
    shared.end_chores();
}

/// The next block to append, and its mark; `None` at the end. An empty batch only carries the mark.
fn next_batch(shared: &Shared) -> Option<(Batch, Lsn)> {
    let mut queue = shared.lock();
    loop {
        if queue.own.lost.is_some() {
            return None;
        }
        let trim = queue.trim;
        if let Some(batch) = queue.batches.take() {
            return Some((batch, trim));
        }
        if trim > queue.trimmed && !queue.is_closing {
            return Some((queue.batches.begin_empty(), trim));
        }
        if queue.is_closing {
            return None;
        }
        queue.is_idle = true;
        queue = wait(&shared.work, queue);
        queue.is_idle = false;
    }
}

fn publish(shared: &Shared, durable: Lsn, trimmed: Lsn, batch: Batch, bytes: u64) {
    shared.publish(durable, batch, bytes, |queue| {
        if trimmed > queue.trimmed {
            queue.trimmed = trimmed;
            shared.chores.notify_one();
        }
        queue.own.kept_bytes += bytes;
    });
}

/// The thread that deletes trimmed blocks, a few at a time.
fn make_room(shared: &Shared, mut session: Session) {
    let mut queue = shared.lock();
    while !queue.are_chores_over {
        let trimmed = queue.trimmed;
        if trimmed <= queue.own.removed {
            queue = wait(&shared.chores, queue);
            continue;
        }
        drop(queue);
        let removed = session.remove(trimmed.0);
        let is_over = removed.as_ref().is_ok_and(|more| !more);
        let kept_bytes = if is_over { session.kept_bytes().ok() } else { None };
        queue = shared.lock();
        queue.own.kept_bytes = kept_bytes.unwrap_or(queue.own.kept_bytes);
        if is_over {
            queue.own.removed = trimmed;
        } else if removed.is_err() && !queue.are_chores_over {
            // Tries again later.
            let pause = Duration::from_millis(CLUSTER_RETRY_MS_MAX);
            let waited = shared.chores.wait_timeout(queue, pause);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
