//! The handlers' futures of one shard, polled in place.
//!
//! An entry keeps its waker for whoever sits in it next; a wake-up that comes late polls a future once in vain.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use super::inbox::{Remote, TaskWaker};
use super::slab::Key;
use crate::engine::Token;
use crate::fault::Fault;
use crate::task::{self};
use crate::task::{Attempt, TaskFuture};

pub(super) struct Tasks {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

struct Entry {
    signal: Arc<TaskWaker>,
    waker: Waker,
    running: Option<Running>,
}

struct Running {
    future: TaskFuture,
    key: Key,
    token: Token,
    /// Told when nobody waits for the task any more.
    attempt: Attempt,
    /// What it comes to is not the answer, unless it fails: someone else gives that, with the token.
    only_asks: bool,
}

/// What a task came to.
pub(super) type Answer = Result<Vec<u8>, Fault>;

impl Tasks {
    pub(super) fn new() -> Tasks {
        Tasks { entries: Vec::new(), free: Vec::new() }
    }

    /// Tasks that run.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// An entry for a future to be polled with.
    pub(super) fn reserve(&mut self, remote: &Arc<Remote>) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let task = self.entries.len() as u32;
            let signal =
                Arc::new(TaskWaker { remote: Arc::clone(remote), task, queued: AtomicBool::new(false) });
            let waker = Waker::from(Arc::clone(&signal));
            self.entries.push(Entry { signal, waker, running: None });
            task
        })
    }

    pub(super) fn release(&mut self, task: u32) {
        self.free.push(task);
    }

    /// Polls a future for the first time.
    pub(super) fn poll_first(&mut self, task: u32, future: &mut TaskFuture) -> Poll<Answer> {
        poll(&self.entries[task as usize], future)
    }

    /// Keeps a future that waits.
    pub(super) fn keep(
        &mut self,
        task: u32,
        future: TaskFuture,
        key: Key,
        token: Token,
        attempt: Attempt,
        only_asks: bool,
    ) {
        self.entries[task as usize].running = Some(Running { future, key, token, attempt, only_asks });
    }

    /// Polls a future that was woken. Whose it was if it is done, and the answer, if it has one.
    pub(super) fn poll(&mut self, task: u32) -> Option<(Key, Token, Option<Answer>)> {
        let entry = self.entries.get_mut(task as usize)?;
        let mut running = entry.running.take()?;
        let Poll::Ready(answer) = poll(entry, &mut running.future) else {
            entry.running = Some(running);
            return None;
        };
        self.free.push(task);
        let answer = drop_future(running.future).map_or(answer, Err);
        let answer = if running.only_asks && answer.is_ok() { None } else { Some(answer) };
        Some((running.key, running.token, answer))
    }

    /// Stops a task.
    pub(super) fn cancel(&mut self, task: u32) {
        let Some(running) = self.entries.get_mut(task as usize).and_then(|entry| entry.running.take()) else {
            return;
        };
        self.free.push(task);
        if let Some(shared) = &running.attempt.shared {
            shared.cancelled.store(true, Ordering::Release);
        }
        let _: Option<Fault> = drop_future(running.future);
    }
}

fn poll(entry: &Entry, future: &mut TaskFuture) -> Poll<Answer> {
    // Before polling: a wake-up during it counts.
    entry.signal.queued.store(false, Ordering::Release);
    let mut context = Context::from_waker(&entry.waker);
    match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context))) {
        Ok(polled) => polled.map(|result| result.map_err(Fault::from)),
        Err(panic) => Poll::Ready(Err(told(panic))),
    }
}

/// Dropping what a user wrote may panic as well.
pub(super) fn drop_future(future: TaskFuture) -> Option<Fault> {
    catch_unwind(AssertUnwindSafe(|| drop(future))).err().map(told)
}

/// What a handler's panic comes to.
pub(super) fn told(panic: Box<dyn Any + Send>) -> Fault {
    let fault = task::panicked(&*panic);
    // What was thrown may panic when it is dropped, too.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
    fault
}
