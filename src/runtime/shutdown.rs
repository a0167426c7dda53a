//! How an engine closes: from some moment on no execution begins, and waiters are notified when the last one is over.
//!
//! A starter counts its execution first and checks the gate afterwards; the closer closes first and reads the count
//! afterwards. All four steps are in one order (sequentially consistent): either the starter finds the gate closed, and
//! undoes its count, or the closer finds the execution counted, and waits. The same holds between the last execution to
//! end and a waiter that begins to wait.

#[cfg(expressway_loom)]
use loom::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering, fence},
};
use std::sync::PoisonError;
#[cfg(not(expressway_loom))]
use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering, fence},
};
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
pub(super) struct DrainGate {
    closed: AtomicBool,
    /// Waiters for the last one to end.
    waiting: Mutex<Vec<Waker>>,
}

impl DrainGate {
    pub(super) fn new() -> DrainGate {
        DrainGate { closed: AtomicBool::new(false), waiting: Mutex::new(Vec::new()) }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Whether it is closed, read without ordering.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether it is closed, for callers whose count is sequentially consistent already: they need no fence.
    pub(super) fn is_closed_by_now(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Whether what was just counted may begin. If not, undo the count and call [`left`](DrainGate::left).
    pub(super) fn lets_in(&self) -> bool {
        fence(Ordering::SeqCst);
        !self.closed.load(Ordering::SeqCst)
    }

    /// After something was counted as over: wakes the waiters, if it was the last.
    pub(super) fn left(&self, count: impl FnOnce() -> usize) {
        fence(Ordering::SeqCst);
        if self.closed.load(Ordering::SeqCst) && count() == 0 {
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Waits until nothing is left; the gate is closed.
    pub(super) fn poll_empty(&self, context: &mut Context<'_>, count: impl FnOnce() -> usize) -> Poll<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        fence(Ordering::SeqCst);
        match count() {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

#[cfg(all(test, expressway_loom))]
mod tests {
    use super::super::loom_park::Permit;
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;

    /// Two that begin and end, one that closes and waits: nothing begins after the wait is over, and no wake-up is lost
    /// (loom would report the deadlock).
    #[test]
    fn nothing_runs_once_the_wait_is_over() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let gate = Arc::new(DrainGate::new());
            let (count, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
            let beginners: Vec<_> = (0..2)
                .map(|_| {
                    let (gate, count, over) = (Arc::clone(&gate), Arc::clone(&count), Arc::clone(&over));
                    loom::thread::spawn(move || {
                        count.fetch_add(1, Ordering::Relaxed);
                        if gate.lets_in() {
                            assert!(!over.load(Ordering::SeqCst), "it runs after the end");
                        }
                        count.fetch_sub(1, Ordering::Relaxed);
                        gate.left(|| count.load(Ordering::Relaxed));
                    })
                })
                .collect();
            let permit = Permit::new();
            let waker: Waker = permit.clone().into();
            gate.close();
            while gate
                .poll_empty(&mut Context::from_waker(&waker), || count.load(Ordering::Relaxed))
                .is_pending()
            {
                permit.wait();
            }
            over.store(true, Ordering::SeqCst);
            beginners.into_iter().for_each(|beginner| beginner.join().unwrap());
        });
    }
}
