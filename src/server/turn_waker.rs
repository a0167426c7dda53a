//! Wakes a connection's task; in the midst of a turn, which then goes on, it only notes that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::task::{Wake, Waker};

#[derive(Debug)]
pub(super) struct TurnWaker {
    shared: Arc<Shared>,
    waker: Waker,
}

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    task: Waker,
}

const WAITING: u8 = 0;
const IN_TURN: u8 = 1;
const WOKEN: u8 = 2;

impl TurnWaker {
    pub(super) fn of(task: &Waker) -> TurnWaker {
        let shared = Arc::new(Shared { state: AtomicU8::new(WAITING), task: task.clone() });
        TurnWaker { waker: Arc::clone(&shared).into(), shared }
    }

    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    pub(super) fn begins(&self) {
        self.shared.state.store(IN_TURN, Release);
    }

    /// Whether it was woken since the turn began.
    pub(super) fn ends(&self) -> bool {
        self.shared.state.swap(WAITING, AcqRel) == WOKEN
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The turn's end sees that it was woken, or this sees that the turn has ended.
        if self.state.compare_exchange(IN_TURN, WOKEN, AcqRel, Acquire) == Err(WAITING) {
            self.task.wake_by_ref();
        }
    }
}
