//! Timeouts of a connection: detects slow and idle clients, and ends connections.
//!
//! A timer for each head, body and pause would cost more than the request itself. Instead the stream notes, in ticks of
//! a second that its thread counts, since when it waits for what; once a tick, the thread checks its connections and
//! cuts those that waited too long.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Waker;

use super::Limits;
use super::connection_turns::Account;

/// Ticks of a second since the thread began, from 1 on; 0 means none.
pub(super) type Tick = u32;

#[derive(Debug)]
pub(super) struct Watch {
    now: Rc<Cell<Tick>>,
    /// Bytes of responses of connections of all threads that are cut, and not freed yet.
    going: Arc<AtomicUsize>,
    /// What it used of its thread's time.
    pub(super) account: Rc<Account>,
    /// When something was last read or written.
    heard: Cell<Tick>,
    /// Since when a head or a body is being read.
    reading: Cell<Tick>,
    /// Since when the client has not taken all of what was collected; a part does not count.
    stalled: Cell<Tick>,
    /// Bodies that a client of HTTP/2 has to take, each within its own time limit.
    unsent: RefCell<Vec<Rc<Pace>>>,
    /// Bytes of responses that the client has not taken.
    held: Cell<usize>,
    /// When it last took all of a response, or began to have one to take.
    took: Cell<Tick>,
    /// Requests that are being answered.
    requests: Cell<u32>,
    /// HTTP/2 reads frames of many kinds, which are not beginnings of a head.
    framed: Cell<bool>,
    /// The request under way polls for a task; its client has to be connected.
    polling: Cell<bool>,
    /// The end of the stream was seen while a body was being read.
    ending: Cell<bool>,
    /// The end of the stream was hidden from HTTP.
    kept: Cell<bool>,
    cut: Cell<bool>,
}

impl Watch {
    pub(super) fn new(now: &Rc<Cell<Tick>>, going: &Arc<AtomicUsize>) -> Watch {
        Watch {
            now: Rc::clone(now),
            going: Arc::clone(going),
            account: Account::new(),
            heard: Cell::new(now.get()),
            reading: Cell::default(),
            stalled: Cell::default(),
            unsent: RefCell::default(),
            held: Cell::default(),
            took: Cell::default(),
            requests: Cell::default(),
            framed: Cell::default(),
            polling: Cell::default(),
            ending: Cell::default(),
            kept: Cell::default(),
            cut: Cell::default(),
        }
    }

    /// The connection's task has its turn.
    pub(super) fn polled_by(&self, waker: &Waker) {
        self.account.polled_by(waker);
    }

    pub(super) fn wake(&self) {
        self.account.wake();
    }

    /// A request's head was read.
    pub(super) fn begin(&self, framed: bool) {
        self.account.asked();
        self.reading.set(0);
        self.framed.set(framed);
        self.requests.set(self.requests.get() + 1);
    }

    /// A body begins to be read, or was read to its end.
    pub(super) fn body(&self, begins: bool) {
        self.reading.set(if begins { self.now.get() } else { 0 });
    }

    /// Its response is made; the unread rest of its body is not awaited.
    pub(super) fn end(&self) {
        self.heard.set(self.now.get());
        self.reading.set(0);
        self.requests.set(self.requests.get().saturating_sub(1));
        if self.kept.replace(false) {
            // HTTP assumes that there is nothing to read, and would wait for it.
            self.wake();
        }
    }

    /// The request under way begins, or ends, to poll for a task: its client has to be connected.
    pub(super) fn polling(&self, begins: bool) {
        self.polling.set(begins);
        if begins {
            // A hidden end must be seen now.
            self.wake();
        }
    }

    /// How to handle the end of the client's stream. HTTP would treat it as the end of the connection and abandon the
    /// request, although a client may half-close after sending everything.
    pub(super) fn end_of_stream(&self) -> End {
        if self.framed.get() || self.requests.get() == 0 || self.polling.get() {
            return End::Tell;
        }
        match self.reading.get() {
            0 => {
                self.kept.set(true);
                End::Keep
            }
            // Perhaps all of the body has arrived and only has to be read: another look shows that.
            _ if !self.ending.replace(true) => End::LookAgain,
            _ => End::Tell,
        }
    }

    /// Whether it had a request over HTTP/2.
    pub(super) fn is_framed(&self) -> bool {
        self.framed.get()
    }

    pub(super) fn cut(&self) {
        if !self.cut.replace(true) {
            self.going.fetch_add(self.held.get(), Relaxed);
        }
        self.wake();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// Whether the client was too slow, silent for too long, or much work without asking for anything.
    pub(super) fn is_overdue(&self, limits: &Limits) -> bool {
        let now = self.now.get();
        let longer = |since: Tick, max: u32| since != 0 && now.saturating_sub(since) > max;
        longer(self.reading.get(), limits.slow_seconds_max)
            || longer(self.stalled.get(), limits.slow_seconds_max)
            || (self.requests.get() == 0 && self.account.is_useless())
            || self.unsent.borrow().iter().any(|pace| longer(pace.since.get(), limits.slow_seconds_max))
            || (self.requests.get() == 0
                && self.stalled.get() == 0
                && self.unsent.borrow().is_empty()
                && longer(self.heard.get(), limits.idle_seconds_max))
    }

    pub(super) fn read(&self, bytes: usize) {
        self.account.read(bytes);
        self.hear();
        if self.reading.get() == 0 && self.requests.get() == 0 && !self.framed.get() {
            self.reading.set(self.now.get());
        }
    }

    /// Some of the collected output was taken.
    pub(super) fn wrote(&self) {
        self.hear();
    }

    /// Input was received. With HTTP/2 only requests count: a PING asks for nothing.
    fn hear(&self) {
        if !self.framed.get() {
            self.heard.set(self.now.get());
        }
    }

    /// The client takes no more at present.
    pub(super) fn stalls(&self) {
        if self.stalled.get() == 0 {
            self.stalled.set(self.now.get());
        }
    }

    /// All of the collected output was taken.
    pub(super) fn emptied(&self) {
        self.stalled.set(0);
    }

    /// Bytes of responses that the client has not taken, and whether it took none for a second at least.
    pub(super) fn held(&self) -> (usize, bool) {
        (self.held.get(), self.now.get() > self.took.get() + 1)
    }

    /// A response of so many bytes begins to be sent. With HTTP/2 a client can keep it waiting although it takes other
    /// output, so each response has its own time limit.
    pub(super) fn unsent(this: &Rc<Watch>, bytes: usize, is_framed: bool) -> Unsent {
        let now = this.now.get();
        if this.held.replace(this.held.get() + bytes) == 0 {
            this.took.set(now);
        }
        if this.is_cut() {
            this.going.fetch_add(bytes, Relaxed);
        }
        let pace = is_framed.then(|| {
            let pace = Rc::new(Pace { since: Cell::new(now), bytes: Cell::default() });
            this.unsent.borrow_mut().push(Rc::clone(&pace));
            pace
        });
        Unsent { watch: Rc::clone(this), bytes, pace }
    }
}

/// Bytes of a body that a client has to take within the time limit of a head.
const SLOW_BYTES_MIN: usize = 64 << 10;

/// The pace at which a body is taken.
#[derive(Debug)]
struct Pace {
    /// Since when so many bytes were taken.
    since: Cell<Tick>,
    bytes: Cell<usize>,
}

/// A response that is not sent yet, as long as this lives.
#[derive(Debug)]
pub(super) struct Unsent {
    watch: Rc<Watch>,
    bytes: usize,
    pace: Option<Rc<Pace>>,
}

impl Unsent {
    /// Bytes were taken. Enough of them restart the time limit.
    pub(super) fn took(&self, bytes: usize) {
        for Pace { since, bytes: taken } in self.pace.iter().map(Rc::as_ref) {
            taken.set(taken.get() + bytes);
            if taken.get() >= SLOW_BYTES_MIN {
                taken.set(0);
                since.set(self.watch.now.get());
                self.watch.took.set(self.watch.now.get());
            }
        }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let Unsent { watch, bytes, pace } = self;
        watch.held.set(watch.held.get() - *bytes);
        if watch.is_cut() {
            watch.going.fetch_sub(*bytes, Relaxed);
        }
        watch.took.set(watch.now.get());
        if let Some(pace) = pace {
            let mut unsent = watch.unsent.borrow_mut();
            if let Some(at) = unsent.iter().position(|it| Rc::ptr_eq(it, pace)) {
                unsent.swap_remove(at);
            }
            watch.heard.set(watch.now.get());
        }
    }
}

/// How to handle the end of a client's stream.
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
        let watch = Watch::new(&now, &Arc::default());
        let overdue_at = |at: Tick, watch: &Watch| {
            now.set(at);
            watch.is_overdue(&limits)
        };
        assert!(!overdue_at(21, &watch) && overdue_at(22, &watch), "silent from the beginning");
        now.set(100);
        watch.read(1);
        assert!(!overdue_at(110, &watch) && overdue_at(111, &watch), "a head that does not end");
        watch.begin(false);
        watch.body(true);
        assert!(!overdue_at(121, &watch) && overdue_at(122, &watch), "a body that does not end");
        watch.body(false);
        assert!(!overdue_at(1_000, &watch), "a request that takes long to answer");
        watch.end();
        assert!(!overdue_at(1_020, &watch) && overdue_at(1_021, &watch), "idle after a request");
        watch.stalls();
        now.set(1_025);
        watch.stalls();
        watch.wrote();
        assert!(!overdue_at(1_031, &watch) && overdue_at(1_032, &watch), "a client that hardly reads");
        watch.emptied();
        assert!(!overdue_at(1_040, &watch));
    }

    #[test]
    fn each_body_has_to_be_taken_whatever_else_is() {
        let now = Rc::new(Cell::new(1));
        let limits = Limits { slow_seconds_max: 10, idle_seconds_max: 1_000, ..Limits::default() };
        let going = Arc::default();
        let watch = Rc::new(Watch::new(&now, &going));
        watch.begin(true);
        let (fast, slow) = (Watch::unsent(&watch, 10, true), Watch::unsent(&watch, 20, true));
        assert_eq!(watch.held(), (30, false));
        now.set(11);
        assert!(!watch.is_overdue(&limits));
        fast.took(SLOW_BYTES_MIN);
        slow.took(SLOW_BYTES_MIN - 1);
        // Other reads and writes, such as PING.
        watch.read(1);
        watch.wrote();
        watch.emptied();
        now.set(13);
        assert_eq!(watch.held(), (30, true));
        assert!(watch.is_overdue(&limits));
        drop(slow);
        assert_eq!(watch.held(), (10, false));
        assert!(!watch.is_overdue(&limits));
        now.set(22);
        assert!(watch.is_overdue(&limits));
        watch.cut();
        assert_eq!(going.load(Relaxed), 10);
        drop(fast);
        assert!(!watch.is_overdue(&limits));
        assert_eq!((going.load(Relaxed), watch.held()), (0, (0, false)));
    }
}
