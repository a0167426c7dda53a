//! A log and its threads: one writes blocks, one makes and removes segments; any thread appends.
//!
//! Synchronization:
//!
//! 1. All threads share the [queue](super::queue), behind one lock.
//! 2. The last batch of the queue is open: records are added there, and its number is known. The writer takes the
//!    first, which closes it when it is the only one. So batches grow while the disk works, without timers. A thread
//!    that appends several records wakes a sleeping writer once, after the last of them.
//! 3. A batch counts against the room from its first record until the log's room is updated, after it was written:
//!    accepted records always have room.

use crate::os;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::block::{Batch, Record};
use super::disk::Disk;
use super::log::{Log, Options};
use super::queue::{self, Fuse, wait};
use super::segment::{Plan, Segment};
use super::stats::{Stats, Watcher};
use super::{Block, Failure, Journal, JournalError, Lsn, Ownership, Refused, Room, scan};

/// A [`Journal`] on a [`Disk`]. Dropping it writes appended records, and a seal.
pub struct LogJournal {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    options: Options,
    threads: Vec<JoinHandle<()>>,
    /// Released when the threads have ended.
    ownership: Option<Box<dyn Ownership>>,
}

type Shared = queue::Shared<Files>;
type Queue = queue::Queue<Files>;

/// The fields of a journal on a disk.
struct Files {
    /// The log's room after its last block.
    room_bytes: u64,
    /// Segments with blocks, for readers.
    live: Vec<String>,
    /// The files were moved; the writer ends.
    lost: Option<Failure>,
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
        let files = Files {
            room_bytes: log.room_bytes(),
            live: log.live(),
            lost: None,
            plan: None,
            is_making: false,
            made: None,
            surplus: Vec::new(),
            no_room: None,
            is_retry: false,
            tries: 0,
            has_spares: false,
        };
        let shared = Arc::new(Shared::new(log.durable(), log.trimmed(), &options, watchers, files));
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

    /// Makes the missing segments now and waits for the result. An error has the reason why the disk has no room.
    pub fn make_room(&self) -> Result<(), Refused> {
        let mut queue = self.shared.lock();
        let tries = queue.own.tries + 1 + u64::from(queue.own.is_making);
        queue.own.is_retry = true;
        self.shared.work.notify_one();
        let is_under_way = |queue: &Queue| queue.own.tries < tries || queue.own.made.is_some();
        while is_under_way(&queue) && !queue.own.has_spares && queue.failure.is_none() {
            queue = wait(&self.shared.done, queue);
        }
        match (&queue.failure, &queue.own.no_room) {
            (Some(failure), _) => Err(Refused::Failed(failure.clone())),
            (None, Some(reason)) if !queue.own.has_spares => Err(Refused::Full(reason.clone())),
            (None, _) => Ok(()),
        }
    }

    fn check_files(&self, they_may: &AtomicBool) {
        let mut live = self.shared.lock().own.live.clone();
        while let Err(error) = self.disk.check(&live) {
            let mut queue = self.shared.lock();
            // A trimmed segment is removed after it left this list.
            if queue.own.live != live {
                live.clone_from(&queue.own.live);
                continue;
            }
            // Looked up after they were missed, so a removal behind the permission is never one without it.
            if they_may.load(Ordering::SeqCst) {
                return;
            }
            let file = live.last().map_or_else(String::new, |name| self.disk.describe(name));
            let (lsn, error) = (queue.durable.next(), os::words(&error));
            queue.own.lost = Some(Failure { lsn, file, doing: "looking for the files before", error });
            self.shared.work.notify_one();
            return;
        }
    }

    /// Adds a watcher of all numbers from now on.
    pub fn watch(&self, watcher: Watcher) {
        self.shared.watch(watcher);
    }

    /// Whether a block that grows by so many bytes has room; if not, why.
    fn admit(&self, queue: &mut Queue, bytes: u64, room: Room) -> Result<(), Refused> {
        if queue.batches.waiting_bytes + bytes > self.options.queue_bytes_max {
            return Err(Refused::Busy);
        }
        let reserve = if room == Room::Ordinary { self.options.reserve_bytes() } else { 0 };
        if queue.batches.waiting_bytes + bytes + reserve <= queue.own.room_bytes {
            return Ok(());
        }
        // The request makes the other thread retry, unless it does so anyway.
        queue.own.is_retry = true;
        self.shared.work.notify_one();
        match &queue.own.no_room {
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
    fn push(&self, record: Record<'_>, room: Room, is_quiet: bool) -> Result<Lsn, Refused> {
        let admit = |queue: &mut Queue, growth| self.admit(queue, growth, room);
        self.shared.push(record, &self.options, is_quiet, admit, |_, _| ())
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
        self.shared.wake_writer(&mut self.shared.lock());
    }

    fn durable(&self) -> Result<Lsn, Failure> {
        self.shared.durable()
    }

    fn wait(&self, lsn: Lsn) -> Result<(), Failure> {
        self.shared.wait(lsn)
    }

    fn record_bytes_max(&self) -> usize {
        self.options.record_bytes_max()
    }

    fn stats(&self) -> Stats {
        let (waiting_bytes, segments) = {
            let queue = self.shared.lock();
            (queue.batches.waiting_bytes, queue.own.live.len())
        };
        let kept_bytes = segments as u64 * self.options.segment_bytes;
        Stats { waiting_bytes, segments, kept_bytes, ..self.shared.written.stats() }
    }

    fn check(&self, they_may: &AtomicBool) {
        self.check_files(they_may);
    }

    fn trim(&self, before: Lsn) {
        let _queue = self.shared.trim(before);
        self.shared.work.notify_one();
    }

    fn read(&self, from: Lsn, visit: &mut dyn FnMut(&Block<'_>)) -> Result<(), JournalError> {
        let mut next = from.max(Lsn(1));
        loop {
            let (live, last, given_up) = {
                let queue = self.shared.lock();
                (queue.own.live.clone(), queue.durable, queue.trimmed)
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
    let _fuse = Fuse(shared, "writing");
    while let Some((mut batch, trim)) = next_batch(shared, &mut log) {
        let bytes = if batch.records() > 0 { batch.block_bytes() as u64 } else { 0 };
        let began = Instant::now();
        if let Err(failure) = log.commit(&mut batch, trim) {
            return shared.fail(failure);
        }
        shared.written.add(batch.records(), bytes, began.elapsed());
        publish(shared, &mut log, batch, bytes);
    }
    let lost = shared.lock().own.lost.take();
    if let Some(lost) = lost {
        return shared.fail(lost);
    }
    if let Err(failure) = log.seal() {
        shared.fail(failure);
    }
    shared.end_chores();
}

/// The next block to write, and its mark; `None` at the end. An empty batch only carries the mark.
fn next_batch(shared: &Shared, log: &mut Log) -> Option<(Batch, Lsn)> {
    let mut queue = shared.lock();
    loop {
        if queue.own.lost.is_some() {
            return None;
        }
        if let Some(segment) = queue.own.made.take() {
            log.add_spare(segment);
            queue.own.room_bytes = log.room_bytes();
            shared.done.notify_all();
        }
        let may_try = queue.own.no_room.is_none() || queue.own.is_retry;
        if log.wants_spare() && may_try && !queue.own.is_making && !queue.is_closing {
            (queue.own.plan, queue.own.is_making, queue.own.is_retry) = (Some(log.plan()), true, false);
            shared.chores.notify_one();
        }
        if queue.own.has_spares == log.wants_spare() {
            queue.own.has_spares = !log.wants_spare();
            shared.done.notify_all();
        }
        if queue.own.has_spares {
            queue.own.no_room = None;
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
    shared.publish(log.durable(), batch, bytes, |queue| {
        queue.trimmed = log.trimmed();
        let files = &mut queue.own;
        (files.room_bytes, files.has_spares, files.live) = (log.room_bytes(), !log.wants_spare(), log.live());
        let surplus = log.take_surplus();
        if !surplus.is_empty() {
            files.surplus.extend(surplus);
            shared.chores.notify_one();
        }
    });
}

/// The thread that makes and removes segments.
fn make_room(shared: &Shared, disk: &dyn Disk) {
    let mut queue = shared.lock();
    loop {
        if let Some(plan) = queue.own.plan.take() {
            drop(queue);
            let made = plan.carry_out();
            queue = shared.lock();
            queue.own.is_making = false;
            queue.own.tries += 1;
            match made {
                Ok(segment) => (queue.own.made, queue.own.no_room) = (Some(segment), None),
                Err(error) => queue.own.no_room = Some(os::words(&error)),
            }
            shared.work.notify_one();
            shared.done.notify_all();
        } else if let Some(name) = queue.own.surplus.pop() {
            drop(queue);
            // A file that stays takes room until the next start removes it.
            let _ = disk.remove(&name);
            queue = shared.lock();
            queue.own.is_retry = true;
            shared.work.notify_one();
        } else if queue.are_chores_over {
            return;
        } else {
            queue = wait(&shared.chores, queue);
        }
    }
}
