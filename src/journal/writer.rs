//! A log and its threads: one writes blocks, one makes and removes segments; any thread appends.
//!
//! Synchronization:
//!
//! 1. All threads share [`Queue`], behind one lock that is held at most for copying a record, never for I/O.
//! 2. The last batch of the queue is open: records are added there, and its number is known. The writer takes the
//!    first, which closes it when it is the only one. So batches grow while the disk works, without timers. A thread
//!    that appends several records wakes a sleeping writer once, after the last of them.
//! 3. A batch counts against the room from its first record until the log's room is updated, after it was written:
//!    accepted records always have room.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::batches::{self, Batches};
use super::block::{Batch, Record};
use super::disk::Disk;
use super::log::{Log, Options};
use super::segment::{Plan, Segment};
use super::{Block, Failure, Journal, JournalError, Lsn, Ownership, Refused, Room, scan};

/// Called with each number that becomes durable, and at the end, on the writer's thread: it must not block.
pub type Watcher = Box<dyn FnMut(Result<Lsn, &Failure>) + Send>;

/// A [`Journal`] on a [`Disk`]. Dropping it writes appended records, and a seal.
pub struct LogJournal {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    options: Options,
    threads: Vec<JoinHandle<()>>,
    /// Released when the threads have ended.
    ownership: Option<Box<dyn Ownership>>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// For the writer: records to write, a segment, or the end.
    work: Condvar,
    /// For callers that wait for a number.
    done: Condvar,
    /// For the thread that makes segments.
    chores: Condvar,
    /// The durable number, for lock-free reads.
    durable: AtomicU64,
    written: Written,
}

/// What was written since the start.
#[derive(Debug, Default)]
pub(super) struct Written {
    blocks: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    us: AtomicU64,
    us_max: AtomicU64,
}

impl Written {
    pub(super) fn add(&self, records: usize, bytes: u64, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(records as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.us.fetch_add(us, Ordering::Relaxed);
        self.us_max.fetch_max(us, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Stats {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Stats {
            blocks: load(&self.blocks),
            records: load(&self.records),
            bytes: load(&self.bytes),
            sync_us: load(&self.us),
            sync_us_max: load(&self.us_max),
            ..Stats::default()
        }
    }
}

/// Statistics of a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blocks that were written and synced since it was opened.
    pub blocks: u64,
    /// Records in them.
    pub records: u64,
    /// Their bytes, including padding.
    pub bytes: u64,
    /// How long writing and syncing them took, in microseconds.
    pub sync_us: u64,
    /// The longest of these times.
    pub sync_us_max: u64,
    /// Bytes of blocks that wait for the disk.
    pub waiting_bytes: u64,
    /// Segments with blocks that are in use, in a folder.
    pub segments: usize,
    /// Bytes that the journal takes in storage.
    pub kept_bytes: u64,
    /// Whether its database does not answer, or refuses.
    pub is_away: bool,
}

struct Queue {
    batches: Batches,
    durable: Lsn,
    /// The log's room after its last block.
    room_bytes: u64,
    /// The mark for the next block.
    trim: Lsn,
    trimmed: Lsn,
    /// Segments with blocks, for readers.
    live: Vec<String>,
    watchers: Vec<Watcher>,
    failure: Option<Failure>,
    /// The files were moved; the writer ends.
    lost: Option<Failure>,
    is_closing: bool,
    /// Whether the writer sleeps, and must be woken for records.
    is_idle: bool,
    // The requests and results of the thread for chores.
    plan: Option<Plan>,
    is_making: bool,
    made: Option<Segment>,
    surplus: Vec<String>,
    /// Why the last segment could not be made.
    no_room: Option<String>,
    /// Whether a caller asked for room, so that it is retried.
    is_retry: bool,
    /// Whether no spare segment is missing.
    has_spares: bool,
    /// How often it was tried.
    tries: u64,
    are_chores_over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a>(on: &Condvar, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
    on.wait(queue).unwrap_or_else(PoisonError::into_inner)
}

impl LogJournal {
    /// Starts the threads of a log that was opened with these options. The ownership is released when they have ended.
    pub fn start(
        log: Log,
        disk: Arc<dyn Disk>,
        options: Options,
        watchers: Vec<Watcher>,
        ownership: Option<Box<dyn Ownership>>,
    ) -> LogJournal {
        let queue = Queue {
            batches: Batches::new(log.durable().next(), &options),
            durable: log.durable(),
            room_bytes: log.room_bytes(),
            trim: log.trimmed(),
            trimmed: log.trimmed(),
            live: log.live(),
            watchers,
            failure: None,
            lost: None,
            is_closing: false,
            is_idle: false,
            plan: None,
            is_making: false,
            made: None,
            surplus: Vec::new(),
            no_room: None,
            is_retry: false,
            tries: 0,
            has_spares: false,
            are_chores_over: false,
        };
        let shared = Arc::new(Shared {
            durable: AtomicU64::new(log.durable().0),
            queue: Mutex::new(queue),
            work: Condvar::new(),
            done: Condvar::new(),
            chores: Condvar::new(),
            written: Written::default(),
        });
        let (writer, chores, files) = (shared.clone(), shared.clone(), disk.clone());
        let threads = vec![
            spawn("journal", move || write(&writer, log)),
            spawn("journal-room", move || make_room(&chores, &*files)),
        ];
        LogJournal { shared, disk, options, threads, ownership }
    }

    /// Writes the remaining records and a seal, then stops the threads. Returns the failure, if there was one.
    pub fn close(mut self) -> Result<(), Failure> {
        self.end();
        match &self.shared.lock().failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }

    fn end(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            thread.join().expect("the journal's threads do not panic");
        }
        if let Some(mut ownership) = self.ownership.take() {
            ownership.release();
        }
    }

    /// Tries at once to make the missing segments, and waits for the result: why there is no room, if there is none.
    pub fn make_room(&self) -> Result<(), Refused> {
        let mut queue = self.shared.lock();
        let tries = queue.tries + 1 + u64::from(queue.is_making);
        queue.is_retry = true;
        self.shared.work.notify_one();
        let is_under_way = |queue: &Queue| queue.tries < tries || queue.made.is_some();
        while is_under_way(&queue) && !queue.has_spares && queue.failure.is_none() {
            queue = wait(&self.shared.done, queue);
        }
        match (&queue.failure, &queue.no_room) {
            (Some(failure), _) => Err(Refused::Failed(failure.clone())),
            (None, Some(reason)) if !queue.has_spares => Err(Refused::Full(reason.clone())),
            (None, _) => Ok(()),
        }
    }

    fn check_files(&self) {
        let mut live = self.shared.lock().live.clone();
        while let Err(error) = self.disk.check(&live) {
            let mut queue = self.shared.lock();
            // A trimmed segment is removed after it left this list.
            if queue.live != live {
                live.clone_from(&queue.live);
                continue;
            }
            let file = live.last().map_or_else(String::new, |name| self.disk.describe(name));
            let (lsn, error) = (queue.durable.next(), error.to_string());
            queue.lost = Some(Failure { lsn, file, doing: "looking for the files before", error });
            self.shared.work.notify_one();
            return;
        }
    }

    /// Adds a watcher of all numbers from now on.
    pub fn watch(&self, watcher: Watcher) {
        self.shared.lock().watchers.push(watcher);
    }

    /// Whether a block that grows by so many bytes has room; if not, why.
    fn admit(&self, queue: &mut Queue, bytes: u64, room: Room) -> Result<(), Refused> {
        if queue.batches.waiting_bytes + bytes > self.options.queue_bytes_max {
            return Err(Refused::Busy);
        }
        let reserve = if room == Room::Ordinary { self.options.reserve_bytes() } else { 0 };
        if queue.batches.waiting_bytes + bytes + reserve <= queue.room_bytes {
            return Ok(());
        }
        // The request makes the other thread retry, unless it does so anyway.
        queue.is_retry = true;
        self.shared.work.notify_one();
        match &queue.no_room {
            Some(reason) => Err(Refused::Full(reason.clone())),
            None => Err(Refused::Busy),
        }
    }
}

impl Drop for LogJournal {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().name(name.to_owned()).spawn(body).expect("a thread can be started")
}

impl LogJournal {
    /// Wakes the writer, if it sleeps and there is something to write.
    fn wake_writer(&self, queue: &mut Queue) {
        if !queue.batches.is_empty() && std::mem::take(&mut queue.is_idle) {
            self.shared.work.notify_one();
        }
    }

    fn push(&self, record: Record<'_>, room: Room, is_quiet: bool) -> Result<Lsn, Refused> {
        batches::check(&record, &self.options)?;
        let mut queue = self.shared.lock();
        let queue = &mut *queue;
        if let Some(failure) = &queue.failure {
            return Err(Refused::Failed(failure.clone()));
        }
        let growth = queue.batches.growth(record.bytes.len(), &self.options);
        self.admit(queue, growth, room)?;
        let lsn = queue.batches.push(record, &self.options);
        if !is_quiet {
            self.wake_writer(queue);
        }
        Ok(lsn)
    }
}

impl Journal for LogJournal {
    fn append(&self, record: Record<'_>, room: Room) -> Result<Lsn, Refused> {
        self.push(record, room, false)
    }

    fn append_quietly(&self, record: Record<'_>, room: Room) -> Result<Lsn, Refused> {
        self.push(record, room, true)
    }

    fn announce(&self) {
        self.wake_writer(&mut self.shared.lock());
    }

    fn durable(&self) -> Result<Lsn, Failure> {
        // The highest number means a failure: its reason is behind the lock.
        match self.shared.durable.load(Ordering::Acquire) {
            u64::MAX => Err(self.shared.lock().failure.clone().expect("the end has a reason")),
            lsn => Ok(Lsn(lsn)),
        }
    }

    fn wait(&self, lsn: Lsn) -> Result<(), Failure> {
        let mut queue = self.shared.lock();
        assert!(lsn < queue.batches.next(), "a number that was given out");
        self.wake_writer(&mut queue);
        while queue.durable < lsn {
            if let Some(failure) = &queue.failure {
                return Err(failure.clone());
            }
            queue = wait(&self.shared.done, queue);
        }
        Ok(())
    }

    fn record_bytes_max(&self) -> usize {
        self.options.record_bytes_max()
    }

    fn stats(&self) -> Stats {
        let (waiting_bytes, segments) = {
            let queue = self.shared.lock();
            (queue.batches.waiting_bytes, queue.live.len())
        };
        let kept_bytes = segments as u64 * self.options.segment_bytes;
        Stats { waiting_bytes, segments, kept_bytes, ..self.shared.written.stats() }
    }

    fn check(&self) {
        self.check_files();
    }

    fn trim(&self, before: Lsn) {
        let mut queue = self.shared.lock();
        queue.trim = queue.trim.max(before.min(queue.durable.next()));
        self.shared.work.notify_one();
    }

    fn read(&self, from: Lsn, visit: &mut dyn FnMut(&Block<'_>)) -> Result<(), JournalError> {
        let mut next = from.max(Lsn(1));
        loop {
            let (live, last, given_up) = {
                let queue = self.shared.lock();
                (queue.live.clone(), queue.durable, queue.trimmed)
            };
            next = next.max(given_up);
            let from = next;
            let mut seen = |block: &Block<'_>| {
                next = block.header.lsn.next();
                visit(block);
            };
            let read = scan::read(&*self.disk, &live, (from, last), &mut seen);
            // A segment may have been trimmed and reused during the read.
            match read {
                Err(_) if self.shared.lock().trimmed > given_up => {}
                read => return read,
            }
        }
    }
}

/// The writer's thread.
fn write(shared: &Shared, mut log: Log) {
    let _fuse = Fuse(shared);
    while let Some((mut batch, trim)) = next_batch(shared, &mut log) {
        let bytes = if batch.records() > 0 { batch.block_bytes() as u64 } else { 0 };
        let began = Instant::now();
        if let Err(failure) = log.commit(&mut batch, trim) {
            return fail(shared, failure);
        }
        shared.written.add(batch.records(), bytes, began.elapsed());
        publish(shared, &mut log, batch, bytes);
    }
    let lost = shared.lock().lost.take();
    if let Some(lost) = lost {
        return fail(shared, lost);
    }
    if let Err(failure) = log.seal() {
        fail(shared, failure);
    }
    end_chores(shared);
}

/// The next block to write, and its mark; `None` at the end. An empty batch only carries the mark.
fn next_batch(shared: &Shared, log: &mut Log) -> Option<(Batch, Lsn)> {
    let mut queue = shared.lock();
    loop {
        if queue.lost.is_some() {
            return None;
        }
        if let Some(segment) = queue.made.take() {
            log.add_spare(segment);
            queue.room_bytes = log.room_bytes();
            shared.done.notify_all();
        }
        let may_try = queue.no_room.is_none() || queue.is_retry;
        if log.wants_spare() && may_try && !queue.is_making && !queue.is_closing {
            (queue.plan, queue.is_making, queue.is_retry) = (Some(log.plan()), true, false);
            shared.chores.notify_one();
        }
        if queue.has_spares == log.wants_spare() {
            queue.has_spares = !log.wants_spare();
            shared.done.notify_all();
        }
        if queue.has_spares {
            queue.no_room = None;
        }
        let trim = queue.trim;
        if let Some(batch) = queue.batches.take() {
            return Some((batch, trim));
        }
        if log.would_free(trim) && trim > log.trimmed() && log.has_room(super::block::ALIGNMENT as u64) {
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

fn publish(shared: &Shared, log: &mut Log, batch: Batch, bytes: u64) {
    let mut watchers = {
        let mut queue = shared.lock();
        queue.durable = log.durable();
        shared.durable.store(queue.durable.0, Ordering::Release);
        (queue.room_bytes, queue.trimmed) = (log.room_bytes(), log.trimmed());
        queue.has_spares = !log.wants_spare();
        let surplus = log.take_surplus();
        if !surplus.is_empty() {
            queue.surplus.extend(surplus);
            shared.chores.notify_one();
        }
        queue.live = log.live();
        queue.batches.written(batch, bytes);
        std::mem::take(&mut queue.watchers)
    };
    shared.done.notify_all();
    for watcher in &mut watchers {
        watcher(Ok(log.durable()));
    }
    let mut queue = shared.lock();
    watchers.append(&mut queue.watchers);
    queue.watchers = watchers;
}

fn fail(shared: &Shared, failure: Failure) {
    let mut watchers = {
        let mut queue = shared.lock();
        queue.failure = Some(failure.clone());
        shared.durable.store(u64::MAX, Ordering::Release);
        std::mem::take(&mut queue.watchers)
    };
    shared.done.notify_all();
    for watcher in &mut watchers {
        watcher(Err(&failure));
    }
    end_chores(shared);
}

/// A panic on the writer's thread must not leave callers waiting.
struct Fuse<'a>(&'a Shared);

impl Drop for Fuse<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let (doing, error) = ("writing", "the writer's thread panicked".to_owned());
            let lsn = self.0.lock().durable.next();
            fail(self.0, Failure { lsn, file: "the journal".to_owned(), doing, error });
        }
    }
}

fn end_chores(shared: &Shared) {
    shared.lock().are_chores_over = true;
    shared.chores.notify_all();
}

/// The thread that makes and removes segments.
fn make_room(shared: &Shared, disk: &dyn Disk) {
    let mut queue = shared.lock();
    loop {
        if let Some(plan) = queue.plan.take() {
            drop(queue);
            let made = plan.carry_out();
            queue = shared.lock();
            queue.is_making = false;
            queue.tries += 1;
            match made {
                Ok(segment) => (queue.made, queue.no_room) = (Some(segment), None),
                Err(error) => queue.no_room = Some(error.to_string()),
            }
            shared.work.notify_one();
            shared.done.notify_all();
        } else if let Some(name) = queue.surplus.pop() {
            drop(queue);
            // A file that stays takes room until the next start removes it.
            let _ = disk.remove(&name);
            queue = shared.lock();
            queue.is_retry = true;
            shared.work.notify_one();
        } else if queue.are_chores_over {
            return;
        } else {
            queue = wait(&shared.chores, queue);
        }
    }
}
