//! What is known of a connection while it is served: who is slow, who is idle, who is to end.
//!
//! A timer for each head, body and pause would cost more than the request itself. Instead the stream notes, in ticks
//! of a second that its thread counts, since when it waits for what; once a tick, the thread looks through its
//! connections and cuts those that waited too long.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::task::Waker;

use super::Limits;

/// Ticks of a second since the thread began, from 1 on; 0 stands for none.
pub(super) type Tick = u32;

#[derive(Debug)]
pub(super) struct Watch {
    now: Rc<Cell<Tick>>,
    /// When something was read or written last.
    heard: Cell<Tick>,
    /// Since when a head or a body is being read.
    reading: Cell<Tick>,
    /// Since when the client does not take what is written.
    stalled: Cell<Tick>,
    /// Requests that are being answered.
    requests: Cell<u32>,
    /// HTTP/2 reads frames of many kinds: those are no beginnings of a head.
    framed: Cell<bool>,
    /// The request under way waits for something to come up, for which its client has to be there.
    polling: Cell<bool>,
    /// The end of the stream was seen while a body was being read.
    ending: Cell<bool>,
    cut: Cell<bool>,
    task: OnceCell<Waker>,
}

impl Watch {
    pub(super) fn new(now: &Rc<Cell<Tick>>) -> Watch {
        Watch {
            now: Rc::clone(now),
            heard: Cell::new(now.get()),
            reading: Cell::default(),
            stalled: Cell::default(),
            requests: Cell::default(),
            framed: Cell::default(),
            polling: Cell::default(),
            ending: Cell::default(),
            cut: Cell::default(),
            task: OnceCell::new(),
        }
    }

    /// The connection's task, as it is polled for the first time.
    pub(super) fn polled_by(&self, waker: &Waker) {
        self.task.get_or_init(|| waker.clone());
    }

    pub(super) fn wake(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }

    /// A request's head was read.
    pub(super) fn begin(&self, framed: bool) {
        self.reading.set(0);
        self.framed.set(framed);
        self.requests.set(self.requests.get() + 1);
    }

    /// A body begins to be read, or was read to its end.
    pub(super) fn body(&self, begins: bool) {
        self.reading.set(if begins { self.now.get() } else { 0 });
    }

    /// Its response is made; what was not read of its body is not waited for.
    pub(super) fn end(&self) {
        self.heard.set(self.now.get());
        self.reading.set(0);
        self.requests.set(self.requests.get().saturating_sub(1));
    }

    /// The request under way begins, or ends, to wait for something to come up: its client has to be there.
    pub(super) fn polling(&self, begins: bool) {
        self.polling.set(begins);
        if begins {
            // An end that was kept from HTTP is to be seen now.
            self.wake();
        }
    }

    /// What to make of the end of what the client sends. HTTP would take it for the end of the connection and abandon
    /// the request, although a client may close its half when it has said everything.
    pub(super) fn end_of_stream(&self) -> End {
        if self.framed.get() || self.requests.get() == 0 || self.polling.get() {
            return End::Tell;
        }
        match self.reading.get() {
            0 => End::Keep,
            // Perhaps all of the body is there and only has to be taken: looking once more tells.
            _ if !self.ending.replace(true) => End::LookAgain,
            _ => End::Tell,
        }
    }

    pub(super) fn cut(&self) {
        self.cut.set(true);
        self.wake();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// Whether the client was too slow, or silent for too long.
    pub(super) fn is_overdue(&self, limits: &Limits) -> bool {
        let now = self.now.get();
        let longer = |since: Tick, max: u32| since != 0 && now.saturating_sub(since) > max;
        longer(self.reading.get(), limits.slow_seconds_max)
            || longer(self.stalled.get(), limits.slow_seconds_max)
            || (self.requests.get() == 0
                && self.stalled.get() == 0
                && longer(self.heard.get(), limits.idle_seconds_max))
    }

    pub(super) fn read(&self) {
        self.heard.set(self.now.get());
        if self.reading.get() == 0 && self.requests.get() == 0 && !self.framed.get() {
            self.reading.set(self.now.get());
        }
    }

    pub(super) fn wrote(&self, done: bool) {
        match done {
            true => {
                self.heard.set(self.now.get());
                self.stalled.set(0);
            }
            false if self.stalled.get() == 0 => self.stalled.set(self.now.get()),
            false => {}
        }
    }
}

/// What to make of the end of what a client sends.
pub(super) enum End {
    Tell,
    Keep,
    LookAgain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_waiting_has_its_limit() {
        let now = Rc::new(Cell::new(1));
        let limits = Limits { slow_seconds_max: 10, idle_seconds_max: 20, ..Limits::default() };
        let watch = Watch::new(&now);
        let overdue_at = |at: Tick, watch: &Watch| {
            now.set(at);
            watch.is_overdue(&limits)
        };
        assert!(!overdue_at(21, &watch) && overdue_at(22, &watch), "silent from the beginning");
        now.set(100);
        watch.read();
        assert!(!overdue_at(110, &watch) && overdue_at(111, &watch), "a head that does not end");
        watch.begin(false);
        watch.body(true);
        assert!(!overdue_at(121, &watch) && overdue_at(122, &watch), "a body that does not end");
        watch.body(false);
        assert!(!overdue_at(1_000, &watch), "a request that takes long to answer");
        watch.end();
        assert!(!overdue_at(1_020, &watch) && overdue_at(1_021, &watch), "idle after a request");
        watch.wrote(false);
        now.set(1_025);
        watch.wrote(false);
        assert!(!overdue_at(1_031, &watch) && overdue_at(1_032, &watch), "a client that does not read");
        watch.wrote(true);
        assert!(!overdue_at(1_040, &watch));
    }
}
