//! The state that a journal's threads share with the threads that append: waiting batches, the durable number, and its
//! watchers. Each kind of journal adds its own fields under the same lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::batches::{self, Batches};
use super::block::{Batch, Record};
use super::error::{Failure, Refused};
use super::log::Options;
use super::lsn::Lsn;
use super::stats::{Stats, Watcher};

/// A journal's queue, and the condition variables of its threads. The lock is held at most for copying a record, never
/// for I/O.
pub(super) struct Shared<T> {
    queue: Mutex<Queue<T>>,
    /// For the writer: records to write, or the end.
    pub(super) work: Condvar,
    /// For callers that wait for a number.
    pub(super) done: Condvar,
    /// For the thread that makes room: segments, or deleted rows.
    pub(super) chores: Condvar,
    /// The durable number, for lock-free reads; `u64::MAX` after a failure.
    durable: AtomicU64,
    pub(super) written: Written,
}

pub(super) struct Queue<T> {
    pub(super) batches: Batches,
    pub(super) durable: Lsn,
    /// The mark for the next block, and the one in a durable block.
    pub(super) trim: Lsn,
    pub(super) trimmed: Lsn,
    pub(super) failure: Option<Failure>,
    pub(super) is_closing: bool,
    /// Whether the writer sleeps, and must be woken for records.
    pub(super) is_idle: bool,
    pub(super) are_chores_over: bool,
    watchers: Vec<Watcher>,
    /// The fields of this kind of journal.
    pub(super) own: T,
}

/// Counts since the start.
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

pub(super) fn wait<'a, T>(on: &Condvar, queue: MutexGuard<'a, Queue<T>>) -> MutexGuard<'a, Queue<T>> {
    on.wait(queue).unwrap_or_else(PoisonError::into_inner)
}

impl<T> Shared<T> {
    /// The queue of a journal whose last durable block has this number.
    pub(super) fn new(
        durable: Lsn,
        trimmed: Lsn,
        options: &Options,
        watchers: Vec<Watcher>,
        own: T,
    ) -> Shared<T> {
        let queue = Queue {
            batches: Batches::new(durable.next(), options),
            durable,
            trim: trimmed,
            trimmed,
            failure: None,
            is_closing: false,
            is_idle: false,
            are_chores_over: false,
            watchers,
            own,
        };
        Shared {
            queue: Mutex::new(queue),
            work: Condvar::new(),
            done: Condvar::new(),
            chores: Condvar::new(),
            durable: AtomicU64::new(durable.0),
            written: Written::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a watcher, which is called with all later numbers.
    pub(super) fn watch(&self, watcher: Watcher) {
        self.lock().watchers.push(watcher);
    }

    /// Appends a record, if `admit` has room for so many more bytes. Wakes the writer unless the caller does. `note` is
    /// called with the record's number, under the same lock.
    pub(super) fn push(
        &self,
        record: Record<'_>,
        options: &Options,
        is_quiet: bool,
        admit: impl FnOnce(&mut Queue<T>, u64) -> Result<(), Refused>,
        note: impl FnOnce(&mut Queue<T>, Lsn),
    ) -> Result<Lsn, Refused> {
        batches::check(&record, options)?;
        let mut queue = self.lock();
        let queue = &mut *queue;
        if let Some(failure) = &queue.failure {
            return Err(Refused::Failed(failure.clone()));
        }
        let growth = queue.batches.growth(record.bytes.len(), options);
        admit(queue, growth)?;
        let lsn = queue.batches.push(record, options);
        note(queue, lsn);
        if !is_quiet {
            self.wake_writer(queue);
        }
        Ok(lsn)
    }

    /// Wakes the writer, if it sleeps and there is something to write.
    pub(super) fn wake_writer(&self, queue: &mut Queue<T>) {
        if !queue.batches.is_empty() && std::mem::take(&mut queue.is_idle) {
            self.work.notify_one();
        }
    }

    /// The number that is durable.
    pub(super) fn durable(&self) -> Result<Lsn, Failure> {
        // `u64::MAX` means that the journal has ended; the reason is behind the lock.
        match self.durable.load(Ordering::Acquire) {
            u64::MAX => Err(self.lock().failure.clone().expect("the end has a reason")),
            lsn => Ok(Lsn(lsn)),
        }
    }

    /// Blocks until a number is durable.
    pub(super) fn wait(&self, lsn: Lsn) -> Result<(), Failure> {
        let mut queue = self.lock();
        assert!(lsn < queue.batches.next(), "a number that was given out");
        self.wake_writer(&mut queue);
        while queue.durable < lsn {
            if let Some(failure) = &queue.failure {
                return Err(failure.clone());
            }
            queue = wait(&self.done, queue);
        }
        Ok(())
    }

    /// Trims everything before a number. The caller decides whether to wake the writer for it.
    pub(super) fn trim(&self, before: Lsn) -> MutexGuard<'_, Queue<T>> {
        let mut queue = self.lock();
        queue.trim = queue.trim.max(before.min(queue.durable.next()));
        queue
    }

    /// Publishes a durable block to waiting threads and watchers. `note` updates the queue under the same lock.
    pub(super) fn publish(&self, durable: Lsn, batch: Batch, bytes: u64, note: impl FnOnce(&mut Queue<T>)) {
        let mut watchers = {
            let mut queue = self.lock();
            queue.durable = durable;
            self.durable.store(durable.0, Ordering::Release);
            note(&mut queue);
            queue.batches.written(batch, bytes);
            std::mem::take(&mut queue.watchers)
        };
        self.done.notify_all();
        for watcher in &mut watchers {
            watcher(Ok(durable));
        }
        let mut queue = self.lock();
        watchers.append(&mut queue.watchers);
        queue.watchers = watchers;
    }

    /// Ends the journal: nothing more becomes durable.
    pub(super) fn fail(&self, failure: Failure) {
        let mut watchers = {
            let mut queue = self.lock();
            queue.failure = Some(failure.clone());
            self.durable.store(u64::MAX, Ordering::Release);
            std::mem::take(&mut queue.watchers)
        };
        self.done.notify_all();
        for watcher in &mut watchers {
            watcher(Err(&failure));
        }
        self.end_chores();
    }

    pub(super) fn end_chores(&self) {
        self.lock().are_chores_over = true;
        self.chores.notify_all();
    }
}

/// Fails the journal if the writer's thread panics, so that no caller waits for ever. The text names the operation.
pub(super) struct Fuse<'a, T>(pub(super) &'a Shared<T>, pub(super) &'static str);

impl<T> Drop for Fuse<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            let error = "the writer's thread panicked".to_owned();
            let lsn = self.0.lock().durable.next();
            self.0.fail(Failure { lsn, file: "the journal".to_owned(), doing: self.1, error });
        }
    }
}
