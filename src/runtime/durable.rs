//! Executions that outlive the process: their events are in a [journal](crate::journal), and nothing is reported that
//! is not there yet.
//!
//! 1. A start is a record, written by the caller's thread. It is acknowledged when the record is durable.
//! 2. Each turn that changes the execution is one record: its history, and the state after it, as a delta to the state
//!    before. Its tasks are started when the record is durable, timers at once, because they only lead to further
//!    turns.
//! 3. The end is a record too; the outcome is reported to waiters when that is durable.
//! 4. An answer to a task by its token is a record, written by the caller's thread, and acknowledged when it is
//!    durable.
//! 5. When an engine begins, it reads the journal. An execution that was not over continues from its last state: timers
//!    are armed again, tasks without known results are repeated, answers that were not handled are applied.
//!
//! While the disk is behind or full, unwritten records wait on their shard, and durable executions have no turns; new
//! ones are refused. All others continue.
//!
//! When it is [relaxed](relaxed), all this is done as well, but nothing waits for the disk unless it is far behind.
//!
//! A failed write ends the process: the content of the disk is unknown, and the next start finds it out.

mod chain;
#[cfg_attr(not(feature = "service"), allow(dead_code))]
mod cold;
mod compact;
#[cfg(feature = "service")]
mod delivered;
mod map_runs;
mod place;
mod records;
mod recovery;
mod relaxed;
mod spill;
#[cfg_attr(not(all(feature = "service", feature = "clustered")), allow(dead_code))]
mod spread;
#[cfg(all(feature = "service", feature = "clustered"))]
mod transfer;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::clock::Time;
use super::inbox::{Remote, ShardMessage};
use super::outcome::Outcome;
use crate::engine::Token;
use crate::fatal;
use crate::fault::Fault;
#[cfg(feature = "clustered")]
use crate::journal::cluster::Cluster;
use crate::journal::{self, Disk, Journal, Lsn, Record, Refused, Room};
use crate::limits;
pub(super) use chain::{Recorder, Told, start_base};
pub(crate) use cold::{ColdStore, Leaving};
use compact::Live;
use map_runs::Unwritten;
pub(super) use map_runs::{InJournal, Left, Operation, RunsPlace, RunsSearch};
use place::{Opened, Place};
use records::{ANSWER, END_DELTA, FORGET, Found, IDENTITY, NOTE, REDRIVE, START, TURN_DELTA};
pub use records::{DurableError, RecoveredExecution};
pub(super) use records::{Reader, Writer};
pub use recovery::ResumeError;
pub(super) use recovery::ResumeOrigin;
pub(super) use recovery::not_durable;
pub use relaxed::DurabilityMode;
use relaxed::Lag;
pub(super) use spread::Released;
#[cfg(all(feature = "service", feature = "clustered"))]
pub(crate) use spread::partition_of_id;
#[cfg(all(feature = "service", feature = "clustered"))]
pub(crate) use transfer::{Contents, Sum, Transfer};

/// The settings of durable executions.
///
/// ```no_run
/// use expressway::runtime::{Durable, Engine};
/// let engine = Engine::builder().durable(Durable::folder("/var/lib/expressway")).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Durable {
    place: Place,
    segment_bytes: u64,
    /// Resources whose tasks are not repeated.
    fail_in_doubt: Vec<Box<str>>,
    resident_max: usize,
    /// How long an execution is parked before it may leave memory, and how long its wait must still be.
    resident_ms: (u64, u64),
    loss_ms_max: u64,
    cold: Option<Arc<dyn ColdStore>>,
}

impl Durable {
    /// In a journal in this folder, which is created if missing, and belongs to one process at a time.
    pub fn folder(folder: impl Into<PathBuf>) -> Durable {
        Durable::at(Place::Folder(folder.into()))
    }

    /// In a journal on a disk of any kind, such as [the one that loses unsynced data](crate::journal::model::Model). It
    /// must belong to this engine alone: nothing enforces that.
    pub fn disk(disk: Arc<dyn Disk>) -> Durable {
        Durable::at(Place::Disk(disk))
    }

    /// In the cluster of this name in PostgreSQL or NATS JetStream, which is created if missing, and belongs to one
    /// process at a time; see [`Cluster`].
    ///
    /// # Errors
    /// When the URL or the name is invalid.
    #[cfg(feature = "clustered")]
    pub fn postgres(url: &str, cluster: &str) -> Result<Durable, DurableError> {
        Ok(Durable::cluster(Cluster::new(url, cluster)?))
    }

    /// In this cluster. One that this process creates belongs to one process at a time, unless it is to be
    /// [spread](Cluster::spread).
    #[cfg(feature = "clustered")]
    pub fn cluster(cluster: Cluster) -> Durable {
        Durable::at(Place::Cluster(cluster.with_one_owner()))
    }

    fn at(place: Place) -> Durable {
        Durable {
            place,
            segment_bytes: limits::DURABLE_SEGMENT_BYTES,
            fail_in_doubt: Vec::new(),
            resident_max: limits::DURABLE_RESIDENT_MAX,
            resident_ms: (limits::DURABLE_SPILL_AFTER_MS, limits::DURABLE_COLD_MS_MIN),
            loss_ms_max: 0,
            cold: None,
        }
    }

    /// Nothing waits for the disk, neither acknowledgements nor tasks, unless it is behind by more than this: a crash
    /// may lose the records of so long a time, to the millisecond. What remains is the state at some moment: if a
    /// record is lost, all later ones are.
    #[must_use]
    pub fn relaxed(mut self, loss_max: Duration) -> Durable {
        self.loss_ms_max = u64::try_from(loss_max.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// How many waiting executions stay in memory; 10,000 by default. When there are more, the states and histories of
    /// those that have waited for a second or two are moved to a file in the folder, from which they come back with the
    /// next event. The file is unlinked if the system allows that, is never synced, and ends with the process:
    /// durability does not depend on it.
    #[must_use]
    pub fn resident_max(mut self, executions: usize) -> Durable {
        self.resident_max = executions;
        self
    }

    /// How many milliseconds an execution is parked at least before it leaves memory, a second by default; and how long
    /// its wait must still be when it leaves completely.
    #[cfg(feature = "service")]
    #[must_use]
    pub(crate) fn resident_ms(mut self, parked_ms: u64, left_ms: u64) -> Durable {
        self.resident_ms = (parked_ms, left_ms);
        self
    }

    /// The store of executions that are parked and completely out of memory.
    #[cfg(feature = "service")]
    #[must_use]
    pub(crate) fn cold(mut self, store: Arc<dyn ColdStore>) -> Durable {
        self.cold = Some(store);
        self
    }

    /// Tasks with this resource are not repeated when the process ended before their result was known, but fail with
    /// `States.TaskFailed`, which their `Retry` and `Catch` may name: for what must not be done twice. A `*` at the end
    /// stands for anything.
    ///
    /// The definition has no member for it that AWS would accept, and a task's call is identified by its resource.
    #[must_use]
    pub fn fail_in_doubt(mut self, resource: impl Into<Box<str>>) -> Durable {
        self.fail_in_doubt.push(resource.into());
        self
    }

    /// The executions in the journal, in the order in which they were started. Only reads: no lock is taken, and
    /// nothing is written. Of a journal that is in use, the last events may be missing.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn read(&self) -> Result<Vec<RecoveredExecution>, DurableError> {
        let mut found = Found::beside(self.cold.as_ref());
        self.place.read(&mut found)?;
        found.check()?;
        if let Some(cold) = &self.cold {
            Durability::merge_rows(&**cold, &mut found)?;
        }
        found.end()?;
        Ok(found.executions.into_values().collect())
    }

    /// Bytes of one file of the journal, a multiple of 4,096; at least three of them are made. The state of one
    /// execution may take a quarter of it.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Durable {
        self.segment_bytes = bytes;
        self
    }
}

/// An execution's place in the journal.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) id: u64,
    /// The epoch of its partition, which it belongs to while this process owns that.
    pub(super) tenure: u64,
    /// The block of its start.
    pub(super) started: Lsn,
    /// The number of the last recorded turn, and of the last history event then.
    pub(super) turn: AtomicU64,
    pub(super) events: AtomicU64,
    /// The process is about to end, and the execution has left it: nothing more is recorded.
    pub(super) left: AtomicBool,
}

/// Wakers of those that wait for blocks.
#[derive(Default)]
struct Waiters {
    wakers: Mutex<Vec<(Lsn, Waker)>>,
    /// Whether each durable block may release all of them.
    are_relaxed: bool,
    remotes: OnceLock<Box<[Arc<Remote>]>>,
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, Vec<(Lsn, Waker)>> {
        // It is consistent between any two statements.
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, durable: Lsn) {
        let woken: Vec<Waker> = {
            let mut wakers = self.lock();
            let (woken, left) = std::mem::take(&mut *wakers)
                .into_iter()
                .partition(|(lsn, _)| self.are_relaxed || *lsn <= durable);
            *wakers = left;
            let woken: Vec<(Lsn, Waker)> = woken;
            woken.into_iter().map(|(_, waker)| waker).collect()
        };
        woken.into_iter().for_each(Waker::wake);
        for remote in self.remotes.get().into_iter().flatten() {
            remote.send(ShardMessage::Durable);
        }
    }
}

/// The journal of an engine.
pub(super) struct Durability {
    journal: Box<dyn Journal>,
    /// Executions that are still needed.
    live: Live,
    waiters: Arc<Waiters>,
    lag: Lag,
    /// Bytes of the appended records, without copies.
    pub(super) recorded_bytes: AtomicU64,
    pub(super) secret: u128,
    /// The latest time in the journal: the clock does not go back behind it.
    floor_ms: AtomicU64,
    /// Its partitions, if they come and go.
    spread: Option<spread::Owned>,
    /// The number of the journal's owners so far.
    pub(super) epoch: u64,
    next_id: AtomicU64,
    found: Mutex<Found>,
    /// How many executions are on their way to their shards.
    resuming: Mutex<usize>,
    resumed: Condvar,
    /// The process is about to end: durable executions stay as they are.
    pub(super) leaves: AtomicBool,
    /// The engine is gone, and its files may go while its threads end.
    pub(super) dropped: AtomicBool,
    /// Executions of earlier processes that continued, and their tasks that were repeated.
    pub(super) recovered: AtomicU64,
    pub(super) in_doubt: AtomicU64,
    /// Those that left memory and came back.
    pub(super) returned: AtomicU64,
    /// Those that were counted when they began, and are not in memory.
    pub(super) absent: AtomicU64,
    fail_in_doubt: Vec<Box<str>>,
    /// The folder of the files of Map Runs; without one, their entries are in the journal.
    pub(super) map_runs: Option<PathBuf>,
    /// Records of Map Runs that the journal has not taken yet.
    unwritten: Mutex<Unwritten>,
    unwritten_count: AtomicUsize,
    away: spill::Away,
    pub(super) cold: Option<Arc<dyn ColdStore>>,
    /// Shards have their own threads, which continue while a caller waits for them.
    pub(super) has_threads: AtomicBool,
    /// The block of the last record.
    last_appended: AtomicU64,
    behind: Mutex<Behind>,
    /// Executions that were forgotten, which is not recorded yet.
    forgotten: Mutex<VecDeque<u64>>,
}

/// Shards whose records the journal does not take at present, and why.
#[derive(Debug, Default)]
struct Behind {
    shards: usize,
    why: Option<Refused>,
}

/// The result of an execution's turn, or of its end: a record to be appended.
#[derive(Debug)]
pub(super) struct TurnRecord {
    kind: u16,
    id: u64,
    tenure: u64,
    turn: u64,
    writer: Writer,
}

impl Durability {
    pub(super) fn open(
        durable: &Durable,
        secret: u128,
        time: Arc<dyn Time>,
    ) -> Result<Durability, DurableError> {
        let waiters = Arc::new(Waiters { are_relaxed: durable.loss_ms_max > 0, ..Waiters::default() });
        let told = Arc::clone(&waiters);
        let watcher: journal::Watcher = Box::new(move |durable| match durable {
            Ok(durable) => told.tell(durable),
            Err(failure) => fatal::end_process(&failure),
        });
        let options = durable.options();
        let mut found = Found::beside(durable.cold.as_ref());
        let Opened { journal, report, temporary } = durable.place.open(options, watcher, &mut found)?;
        found.check()?;
        if let Some(cold) = &durable.cold {
            Durability::merge_rows(&**cold, &mut found)?;
        }
        found.end()?;
        let away = spill::Away::open(temporary, durable, options.disk_free_bytes_min)?;
        let spread = journal.partitions().map(|partitions| spread::Owned::new(partitions.secret()));
        let known = found.secret.or(spread.as_ref().map(|spread| spread.secret));
        let durability = Durability {
            journal,
            spread,
            away,
            cold: durable.cold.clone(),
            has_threads: AtomicBool::new(false),
            last_appended: AtomicU64::new(0),
            live: Live::of(&found, report.bytes),
            waiters,
            lag: Lag::new(durable.loss_ms_max, time),
            recorded_bytes: AtomicU64::new(0),
            secret: known.unwrap_or(secret),
            floor_ms: AtomicU64::new(found.floor_ms),
            epoch: report.epoch + 1,
            next_id: AtomicU64::new(found.last_id + 1),
            resuming: Mutex::default(),
            resumed: Condvar::new(),
            leaves: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
            recovered: AtomicU64::new(0),
            in_doubt: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            absent: AtomicU64::new(0),
            fail_in_doubt: durable.fail_in_doubt.clone(),
            map_runs: durable.place.folder().map(|folder| folder.join("map-runs")),
            unwritten: Mutex::default(),
            unwritten_count: AtomicUsize::new(0),
            found: Mutex::new(Found::default()),
            behind: Mutex::default(),
            forgotten: Mutex::default(),
        };
        if known.is_none() {
            let mut writer = Writer::default();
            writer.number(secret as u64).number((secret >> 64) as u64);
            let lsn = durability.append((IDENTITY, 0), &writer, Room::Reserve)?;
            durability.journal.wait(lsn).map_err(Refused::Failed)?;
        }
        durability.keep_map_runs(std::mem::take(&mut found.map_runs));
        *durability.found() = found;
        Ok(durability)
    }

    pub(super) fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resuming(&self) -> MutexGuard<'_, usize> {
        self.resuming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more execution has arrived on its shard.
    pub(super) fn has_resumed(&self) {
        *self.resuming() -= 1;
        self.resumed.notify_all();
    }

    /// Sets the shards that are notified of durable blocks.
    pub(super) fn belongs_to(&self, remotes: &[Arc<Remote>]) {
        assert!(self.waiters.remotes.set(remotes.into()).is_ok(), "a journal belongs to one engine");
    }

    fn append(&self, (kind, partition): (u16, u16), writer: &Writer, room: Room) -> Result<Lsn, Refused> {
        let appended = self.journal.append(Record { kind, partition, bytes: &writer.0 }, room)?;
        self.count(writer, appended);
        Ok(appended)
    }

    fn count(&self, writer: &Writer, appended: Lsn) {
        self.lag.appended(appended);
        self.last_appended.fetch_max(appended.0, Ordering::Release);
        self.live.count(writer.0.len());
        self.recorded_bytes.fetch_add(writer.0.len() as u64, Ordering::Relaxed);
    }

    /// Appends a record that has to be appended sooner or later, and is announced; returns why not now, when the disk
    /// is behind or full.
    fn try_append(&self, (kind, id): (u16, u64), writer: &Writer) -> Result<Lsn, Refused> {
        let record = Record { kind, partition: self.partition(id), bytes: &writer.0 };
        match self.journal.append_quietly(record, Room::Reserve).inspect(|lsn| self.count(writer, *lsn)) {
            Err(Refused::TooLarge { .. }) => unreachable!("the writer checks the size"),
            Err(Refused::Failed(_)) => loop {
                // The watcher ends the process.
                std::thread::park();
            },
            appended => appended,
        }
    }

    /// Appends the record of a turn or an end. The caller wakes the journal with [`announce`](Self::announce) after the
    /// last one.
    pub(super) fn write(&self, record: &TurnRecord) -> Result<Lsn, Refused> {
        let lsn = self.try_append((record.kind, record.id), &record.writer)?;
        self.live.advance(record.id, record.turn);
        Ok(lsn)
    }

    /// A shard has a record that the journal does not take: nothing durable begins until it does.
    pub(super) fn shard_is_behind(&self, why: Refused) {
        let mut behind = self.behind();
        if behind.shards == 0 {
            tracing::error!(reason = %why, "durable executions wait for the journal");
        }
        behind.shards += 1;
        behind.why = Some(why);
    }

    /// All records of a shard are in the journal.
    pub(super) fn shard_caught_up(&self) {
        let mut behind = self.behind();
        behind.shards -= 1;
        if behind.shards == 0 {
            tracing::info!("durable executions go on");
            behind.why = None;
        }
    }

    fn behind(&self) -> MutexGuard<'_, Behind> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that a record may have.
    fn record_bytes_max(&self) -> usize {
        self.journal.record_bytes_max()
    }

    /// Whether tasks with this resource fail when it is unknown whether they were done.
    pub(super) fn fails_in_doubt(&self, resource: &str) -> bool {
        self.fail_in_doubt.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => resource.starts_with(prefix),
            None => **pattern == *resource,
        })
    }

    /// The journal's statistics.
    pub(super) fn stats(&self) -> journal::Stats {
        self.journal.stats()
    }

    pub(super) fn finish(&self) {
        self.journal.finish();
    }

    /// Whether effects of a block may take place: the block is durable, or the disk may be behind so far.
    pub(super) fn is_safe(&self, lsn: Lsn) -> bool {
        self.journal.durable().is_ok_and(|durable| lsn <= durable || self.lag.is_allowed(durable))
    }

    /// Completes when a block is safe.
    pub(super) async fn safe(&self, lsn: Lsn) {
        poll_fn(|context| {
            if self.is_safe(lsn) {
                return Poll::Ready(());
            }
            self.waiters.lock().push((lsn, context.waker().clone()));
            // It may have become so before the waker was there.
            if self.is_safe(lsn) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    pub(super) fn loss_ms_max(&self) -> u64 {
        self.lag.loss_ms_max
    }

    /// What a crash may lose.
    pub(super) fn mode(&self) -> DurabilityMode {
        match self.lag.loss_ms_max {
            0 => DurabilityMode::Strict,
            ms => DurabilityMode::Relaxed(Duration::from_millis(ms)),
        }
    }

    /// Blocks this thread until a block is safe.
    pub(super) fn wait_safe(&self, lsn: Lsn) {
        if !self.is_safe(lsn) {
            self.wait(lsn);
        }
    }

    /// Blocks this thread until a block is durable.
    fn wait(&self, lsn: Lsn) {
        // The watcher ends the process when it fails.
        while self.journal.wait(lsn).is_err() {
            std::thread::park();
        }
    }

    // ---- writing records ----

    pub(super) fn note(&self, partition: u16, key: &[u8], bytes: &[u8]) -> Result<Lsn, Refused> {
        let mut writer = Writer::default();
        writer.bytes(key).bytes(bytes);
        self.append((NOTE, partition), &writer, Room::Ordinary)
    }

    pub(super) fn start(
        &self,
        (seed, name, arn): (u64, &str, &str),
        trace_header: Option<&str>,
        label: &[u8],
        input: &[u8],
    ) -> Result<Ledger, Refused> {
        if let Some(why) = self.behind().why.clone() {
            return Err(why);
        }
        self.write_map_runs();
        if self.map_runs_wait() {
            return Err(Refused::Busy);
        }
        let (id, tenure) = self.new_id(arn);
        let mut writer = Writer::default();
        writer.start((id, seed, name, arn), trace_header, label, input);
        self.live.insert(id);
        let started = self.append((START, self.partition(id)), &writer, Room::Ordinary);
        let started = started.inspect_err(|_| self.live.remove(id))?;
        Ok(Ledger {
            id,
            tenure,
            started,
            turn: AtomicU64::new(0),
            events: AtomicU64::new(0),
            left: AtomicBool::new(false),
        })
    }

    pub(super) fn answer(
        &self,
        id: u64,
        token: Token,
        answer: &Result<Vec<u8>, Fault>,
    ) -> Result<Lsn, Refused> {
        let mut writer = Writer::default();
        writer.answer(id, token, answer);
        self.append((ANSWER, self.partition(id)), &writer, Room::Reserve)
    }

    /// The record of a turn. `None` when its changes exceed the limit of a record.
    pub(super) fn turn(
        &self,
        recorder: &mut Recorder,
        ledger: &Ledger,
        told: Told<'_>,
        state: &[u8],
    ) -> Option<TurnRecord> {
        let (id, turn) = (ledger.id, ledger.turn.load(Ordering::Relaxed) + 1);
        let writer = recorder.write((id, turn), told, state)?;
        if writer.0.len() > self.record_bytes_max() {
            return None;
        }
        ledger.turn.store(turn, Ordering::Relaxed);
        Some(TurnRecord { kind: TURN_DELTA, id, tenure: ledger.tenure, turn, writer })
    }

    /// The record of an execution's end.
    pub(super) fn end(
        &self,
        recorder: &mut Recorder,
        ledger: &Ledger,
        told: Told<'_>,
        outcome: &Outcome,
    ) -> TurnRecord {
        let (id, turn) = (ledger.id, ledger.turn.fetch_add(1, Ordering::Relaxed) + 1);
        let (mut ended, mut stopped) = (Writer::default(), Writer::default());
        ended.outcome(outcome);
        stopped.outcome(outcome).stopped(outcome);
        let fits = |writer: &Writer| writer.0.len() <= self.record_bytes_max();
        // A history that does not fit is left out, which shows in its numbers, and so is the state for a redrive,
        // without which it cannot be redriven: the outcome must be recorded.
        let attempts = [(told.history, &stopped), (told.history, &ended), (&[], &ended)];
        let mut written = attempts.into_iter().map(|(history, tail)| {
            recorder.write((id, turn), Told { history, ..told }, &tail.0).filter(fits)
        });
        let writer = written.find_map(|writer| writer).expect("an output has 256 KiB at most");
        TurnRecord { kind: END_DELTA, id, tenure: ledger.tenure, turn, writer }
    }

    /// An ended execution continues from this state, which becomes its last turn.
    pub(super) fn redrive(
        &self,
        id: u64,
        now_ms: u64,
        (count, redriven_ms): (u32, u64),
        state: &[u8],
    ) -> Result<Ledger, Refused> {
        let turn = self.live.turn(id) + 1;
        let mut writer = Writer::default();
        writer.number(id).number(turn).number(now_ms);
        writer.number(u64::from(count)).number(redriven_ms).bytes(state);
        let started = self.append((REDRIVE, self.partition(id)), &writer, Room::Ordinary)?;
        self.live.advance(id, turn);
        let (turn, events, left) = (AtomicU64::new(turn), AtomicU64::new(0), AtomicBool::new(false));
        Ok(Ledger { id, tenure: self.tenure(self.partition(id)), started, turn, events, left })
    }

    /// The journal's data of an execution that leaves memory.
    pub(super) fn leaving(&self, ledger: &Ledger) -> RecoveredExecution {
        let turn = ledger.turn.load(Ordering::Relaxed);
        RecoveredExecution { id: ledger.id, turn, epoch: self.epoch, ..RecoveredExecution::default() }
    }

    pub(super) fn cold(&self) -> Option<&dyn ColdStore> {
        self.cold.as_deref()
    }

    /// Blocks this thread until all resumed executions are on their shards.
    pub(super) fn wait_resumed(&self) {
        let mut resuming = self.resuming();
        while *resuming > 0 {
            resuming = self.resumed.wait(resuming).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Forgets an execution.
    pub(super) fn forget(&self, id: u64) {
        // Before the journal records it: the record is dropped when the store has done it.
        if let Some(cold) = &self.cold {
            cold.forget(id);
        }
        // First, so that no copy of it is written after this.
        self.live.remove(id);
        self.forgotten().push_back(id);
        self.write_forgotten();
    }

    /// Records forgotten executions, as far as the journal takes it; the rest is retried with the next, and at
    /// intervals.
    fn write_forgotten(&self) {
        let mut forgotten = self.forgotten();
        while let Some(id) = forgotten.front() {
            let mut writer = Writer::default();
            writer.number(*id);
            if self.owns(*id) && self.try_append((FORGET, *id), &writer).is_err() {
                break;
            }
            forgotten.pop_front();
        }
        self.announce();
    }

    fn forgotten(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Durability").field("next_id", &self.next_id).finish_non_exhaustive()
    }
}
