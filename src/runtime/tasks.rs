//! The handlers' futures of one shard, polled in place.
//!
//! Slots reuse their waker; a stale wake-up costs one spurious poll.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use super::admission::Usage;
use super::inbox::{Remote, Shared, TaskWaker};
use super::slab::Key;
use super::wheel::TimerId;
use crate::engine::{TaskCall, Token};
use crate::fault::Fault;
use crate::program::TaskId;
use crate::task::{self, Attempt, TaskFuture, panics};

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
    work: Work,
    key: Key,
    token: Token,
    /// Notified when the task is no longer wanted.
    attempt: Attempt,
    /// The handler's result is not the task's answer, unless it fails: the token's holder gives that.
    only_asks: bool,
    /// Given back when it is dropped.
    _bill: Option<Bill>,
}

/// What a task that waits is billed beside its future: its entry here, its attempt, its waker.
const TASK_BYTES: usize = 384;

/// The memory of a task, which counts as its execution's.
pub(super) struct Bill {
    shared: Arc<Shared>,
    usage: Arc<Usage>,
    bytes: usize,
}

impl Bill {
    /// Of a future that waits.
    pub(super) fn of(shared: &Arc<Shared>, usage: &Arc<Usage>, future: &TaskFuture) -> Bill {
        let bytes = TASK_BYTES + size_of_val(&**future);
        shared.admission.adjust(usage, 0, bytes);
        Bill { shared: Arc::clone(shared), usage: Arc::clone(usage), bytes }
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        self.shared.admission.adjust(&self.usage, self.bytes, 0);
    }
}

enum Work {
    Future(TaskFuture, TaskId),
    /// The answer is known, and given when this timer fires.
    Later(Answer, TimerId),
}

/// What became known of a task when its future was polled.
pub(super) struct Polled {
    pub(super) key: Key,
    pub(super) token: Token,
    /// The response of the service that accepted it.
    pub(super) submitted: Option<Vec<u8>>,
    /// Whether the future is done.
    pub(super) is_over: bool,
    pub(super) answer: Option<Answer>,
}

/// The result of a task.
pub(super) type Answer = Result<Vec<u8>, Fault>;

impl Tasks {
    pub(super) fn new() -> Tasks {
        Tasks { entries: Vec::new(), free: Vec::new() }
    }

    /// Tasks that run.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Reserves an entry for polling a future.
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
        let Entry { signal, waker, .. } = &self.entries[task as usize];
        poll(signal, waker, future)
    }

    /// Keeps a future that waits.
    pub(super) fn keep(
        &mut self,
        task: u32,
        (future, bill): (TaskFuture, Bill),
        key: Key,
        call: &TaskCall,
        attempt: Attempt,
        only_asks: bool,
    ) {
        let work = Work::Future(future, call.task);
        self.entries[task as usize].running =
            Some(Running { work, key, token: call.token, attempt, only_asks, _bill: Some(bill) });
    }

    /// The future's execution, and the task in its program.
    pub(super) fn whose(&self, task: u32) -> Option<(Key, TaskId)> {
        match self.entries.get(task as usize)?.running.as_ref()? {
            Running { work: Work::Future(_, task), key, .. } => Some((*key, *task)),
            Running { work: Work::Later(..), .. } => None,
        }
    }

    /// Polls a future that was woken.
    pub(super) fn poll(&mut self, task: u32) -> Option<Polled> {
        let entry = self.entries.get_mut(task as usize)?;
        let running = entry.running.as_mut()?;
        let polled = match &mut running.work {
            Work::Future(future, _) => poll(&entry.signal, &entry.waker, future),
            // The wake-up was for an earlier task of this slot.
            Work::Later(..) => {
                entry.signal.queued.store(false, Ordering::Release);
                Poll::Pending
            }
        };
        let (key, token, submitted) = (running.key, running.token, running.attempt.take_submitted());
        let Poll::Ready(answer) = polled else {
            let polled = Polled { key, token, submitted, is_over: false, answer: None };
            return polled.submitted.is_some().then_some(polled);
        };
        let Running { work, only_asks, _bill, .. } = self.take(task)?;
        let answer = match work {
            Work::Future(future, _) => drop_future(future).map_or(answer, Err),
            Work::Later(..) => answer,
        };
        let (submitted, answer) = match answer {
            Ok(response) if only_asks => (Some(response), None),
            answer => (submitted, Some(answer)),
        };
        Some(Polled { key, token, submitted, is_over: true, answer })
    }

    /// Keeps an answer that is given when `timer` fires.
    pub(super) fn keep_answer(&mut self, task: u32, answer: Answer, key: Key, token: Token, timer: TimerId) {
        let (work, attempt) = (Work::Later(answer, timer), Attempt::default());
        self.entries[task as usize].running =
            Some(Running { work, key, token, attempt, only_asks: false, _bill: None });
    }

    /// The answer that was kept is due.
    pub(super) fn take_answer(&mut self, task: u32) -> Option<(Key, Token, Answer)> {
        match self.take(task)? {
            Running { work: Work::Later(answer, _), key, token, .. } => Some((key, token, answer)),
            Running { work: Work::Future(..), .. } => None,
        }
    }

    fn take(&mut self, task: u32) -> Option<Running> {
        let running = self.entries.get_mut(task as usize)?.running.take()?;
        self.free.push(task);
        Some(running)
    }

    /// Stops a task. Returns its timer, which is no longer needed, if it had one.
    pub(super) fn cancel(&mut self, task: u32) -> Option<TimerId> {
        let Running { work, attempt, _bill, .. } = self.take(task)?;
        attempt.cancel();
        match work {
            Work::Future(future, _) => {
                let _: Option<Fault> = drop_future(future);
                None
            }
            Work::Later(_, timer) => Some(timer),
        }
    }
}

fn poll(signal: &TaskWaker, waker: &Waker, future: &mut TaskFuture) -> Poll<Answer> {
    // Before polling: a wake-up during it counts.
    signal.queued.store(false, Ordering::Release);
    let mut context = Context::from_waker(waker);
    match panics::guard(|| future.as_mut().poll(&mut context)) {
        Ok(polled) => polled.map(|result| result.map_err(Fault::from)),
        Err(panic) => Poll::Ready(Err(told(panic))),
    }
}

/// Dropping a user's value may panic as well.
pub(super) fn drop_future(future: TaskFuture) -> Option<Fault> {
    panics::guard(|| drop(future)).err().map(told)
}

/// The fault of a handler's panic.
pub(super) fn told(panic: Box<dyn Any + Send>) -> Fault {
    let fault = task::panicked(&*panic);
    // The panic's payload may panic when it is dropped, too.
    let _ = panics::guard(|| drop(panic));
    fault
}
