//! Turns of a thread's connections.
//!
//! A connection that has more to do than fits into a turn, or that has used more than its share, waits in a queue. The first
//! of the queue has a turn after each poll of the sockets; connections outside the queue are served at once. A client that
//! sends little therefore waits for about one turn of one other connection.
//!
//! Streams of HTTP/2 are polled in the turns of their connection: they would be tasks of the thread otherwise, hundreds
//! for each connection.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};

/// The time of a turn. A request of a small workflow takes a twentieth of it.
const TURN: Duration = Duration::from_micros(200);
const TURN_NS: u64 = TURN.as_nanos() as u64;
/// What a connection may owe at most, so that one that was interrupted by the system does not pay for that for long.
const DEBT_NS_MAX: u64 = 4 * TURN_NS;
/// The share of the time that a connection has without owing anything: one part of so many.
const SHARE: u64 = 16;
/// Bytes that a connection may send in its first turn; afterwards what one has time for.
const BYTES_FIRST: usize = 4 << 10;
/// The least bytes that are read in a turn, and the most.
const BYTES_MIN: usize = 512;
const BYTES_MAX: usize = 64 << 10;
/// Connections of the queue that are looked at for the next turn.
const LOOKED_AT_MAX: usize = 64;
/// Time that a connection may use without a request: frames that ask for nothing, or a head that is not complete.
const IDLE_NS_MAX: u64 = 1_000_000_000;

/// What a connection used.
#[derive(Debug)]
pub(super) struct Account {
    /// When the present turn began, or the last one ended.
    at: Cell<Instant>,
    /// Time beyond its share.
    debt_ns: Cell<u64>,
    /// Bytes that were read in this turn, and how many there may be.
    bytes: Cell<usize>,
    bytes_max: Cell<usize>,
    /// Whether its turn ended before it had done everything.
    has_more: Cell<bool>,
    /// Whether it is in the queue.
    waits: Cell<bool>,
    /// Time used since the last request.
    idle_ns: Cell<u64>,
    /// The connection's task.
    task: OnceCell<Waker>,
    /// Its streams of HTTP/2, if there ever was one.
    streams: OnceCell<Streams>,
}

impl Account {
    pub(super) fn new() -> Rc<Account> {
        Rc::new(Account {
            at: Cell::new(Instant::now()),
            debt_ns: Cell::default(),
            bytes: Cell::default(),
            bytes_max: Cell::new(BYTES_FIRST),
            has_more: Cell::default(),
            waits: Cell::default(),
            idle_ns: Cell::default(),
            task: OnceCell::new(),
            streams: OnceCell::new(),
        })
    }

    /// The connection's task has its turn.
    pub(super) fn polled_by(&self, waker: &Waker) {
        self.task.get_or_init(|| waker.clone());
    }

    pub(super) fn wake(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }

    /// The streams of its connection, if there ever was one.
    pub(super) fn streams(&self) -> Option<&Streams> {
        self.streams.get()
    }

    /// Whether its turn is over.
    fn is_over(&self) -> bool {
        self.at.get().elapsed() >= TURN
    }

    /// How many more bytes may be read in this turn; the connection gets another one for the rest.
    pub(super) fn room(&self) -> usize {
        let bytes = self.bytes.get();
        let room = self.bytes_max.get().saturating_sub(bytes);
        let room = if bytes > 0 && self.is_over() { 0 } else { room };
        if room == 0 {
            self.has_more.set(true);
        }
        room
    }

    /// Bytes were read.
    pub(super) fn read(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    /// A request came.
    pub(super) fn asked(&self) {
        self.idle_ns.set(0);
    }

    /// It used so much more.
    pub(super) fn owes(&self, nanoseconds: u64) {
        self.debt_ns.set(self.debt_ns.get().saturating_add(nanoseconds).min(DEBT_NS_MAX));
    }

    /// What it owes, for another thread that works for it.
    pub(super) fn debt_ns(&self) -> u64 {
        self.debt_ns.get()
    }

    /// Whether it has used too much time without asking for anything.
    pub(super) fn is_useless(&self) -> bool {
        self.idle_ns.get() > IDLE_NS_MAX
    }

    fn begin(&self) {
        let now = Instant::now();
        let earned = nanoseconds(now - self.at.replace(now)) / SHARE;
        self.debt_ns.set(self.debt_ns.get().saturating_sub(earned));
        self.bytes.set(0);
        self.has_more.set(false);
    }

    fn end(&self) {
        let now = Instant::now();
        let used = nanoseconds(now - self.at.replace(now));
        self.owes(used);
        self.idle_ns.set(self.idle_ns.get().saturating_add(used));
        let bytes = self.bytes.get();
        if bytes > 0 {
            let for_turn = (bytes as u64).saturating_mul(TURN_NS) / used.max(1);
            let for_turn = usize::try_from(for_turn).unwrap_or(BYTES_MAX).clamp(BYTES_MIN, BYTES_MAX);
            // Few bytes say little about what many would cost.
            self.bytes_max.set(for_turn.min(2 * self.bytes_max.get()));
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The connections of a thread that wait for a turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    waiting: RefCell<VecDeque<Rc<Account>>>,
    task: RefCell<Option<Waker>>,
}

impl Turns {
    /// Has a turn of a connection, unless it has to wait for one.
    pub(super) fn take<T>(&self, account: &Rc<Account>, turn: impl FnOnce() -> T) -> Option<T> {
        if account.waits.get() {
            return None;
        }
        account.begin();
        if account.debt_ns.get() > TURN_NS {
            self.queue(account);
            return None;
        }
        let done = turn();
        account.end();
        if account.has_more.get() {
            self.queue(account);
        }
        Some(done)
    }

    fn queue(&self, account: &Rc<Account>) {
        account.waits.set(true);
        let mut waiting = self.waiting.borrow_mut();
        waiting.push_back(Rc::clone(account));
        if waiting.len() == 1
            && let Some(task) = &*self.task.borrow()
        {
            task.wake_by_ref();
        }
    }

    /// Gives a turn to the first connection that has paid what it owes, each time it is polled: that is once for each look
    /// at the sockets.
    pub(super) fn poll(&self, context: &mut Context<'_>) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
            *task = Some(context.waker().clone());
        }
        drop(task);
        let mut waiting = self.waiting.borrow_mut();
        for _ in 0..LOOKED_AT_MAX {
            let Some(account) = waiting.pop_front() else { break };
            let debt_ns = account.debt_ns.get().saturating_sub(TURN_NS);
            account.debt_ns.set(debt_ns);
            if debt_ns == 0 {
                account.waits.set(false);
                account.wake();
                break;
            }
            waiting.push_back(account);
        }
        if !waiting.is_empty() {
            // It is woken after the sockets were looked at.
            let _ = pin!(tokio::task::yield_now()).poll(context);
        }
    }
}

/// Futures of a connection's streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    all: RefCell<FuturesUnordered<Stream>>,
    /// Those that began while others were polled.
    new: RefCell<Vec<Stream>>,
}

impl Streams {
    /// Polls those that were woken, until the turn is over.
    pub(super) fn poll(&self, context: &mut Context<'_>) {
        let mut all = self.all.borrow_mut();
        all.extend(self.new.borrow_mut().drain(..));
        while !all.is_empty() && matches!(all.poll_next_unpin(context), Poll::Ready(Some(()))) {}
    }

    /// Drops all.
    pub(super) fn clear(&self) {
        self.new.borrow_mut().clear();
        self.all.borrow_mut().clear();
    }
}

struct Stream {
    account: Weak<Account>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Future for Stream {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(account) = self.account.upgrade()
            && account.is_over()
        {
            account.has_more.set(true);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.future.as_mut().poll(context)
    }
}

/// Gives streams to their connection.
#[derive(Clone, Debug)]
pub(super) struct ConnectionExecutor(Weak<Account>);

impl ConnectionExecutor {
    pub(super) fn of(account: &Rc<Account>) -> ConnectionExecutor {
        ConnectionExecutor(Rc::downgrade(account))
    }
}

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for ConnectionExecutor {
    fn execute(&self, future: F) {
        // A stream whose connection has ended is dropped.
        if let Some(account) = self.0.upgrade() {
            let future = Box::pin(async move {
                future.await;
            });
            let streams = account.streams.get_or_init(Streams::default);
            streams.new.borrow_mut().push(Stream { account: self.0.clone(), future });
        }
    }
}
