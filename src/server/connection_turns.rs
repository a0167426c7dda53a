//! Turns of a thread's connections.
//!
//! As long as a thread has time, connections are served as they come. When it has worked for a turn without a pause, they
//! wait in a queue instead, of which those that used least of the thread's time lately have their turns first; connections
//! with more to do than fits into a turn wait there as well. Between two looks at the sockets, about one turn's work is
//! taken from the queue. A client that asks for little therefore waits for about two turns, however many others flood.

use std::cell::{Cell, OnceCell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::streams::Streams;
use super::turn_waker::TurnWaker;

/// The time of a turn. A request of a small workflow takes a twentieth of it.
const TURN: Duration = Duration::from_micros(200);
const TURN_NS: u64 = TURN.as_nanos() as u64;
/// Time after which used time counts half.
const HALF_LIFE_NS: u64 = 250_000_000;
/// What a connection has used that uses all of a thread's time: the half-life, by the natural logarithm of 2.
const USED_ALL_NS: u64 = HALF_LIFE_NS * 1_000 / 693;
/// What a connection can have used at most: others that use less come first for so many half-lives.
const USED_NS_MAX: u64 = 256 * TURN_NS;
/// How many times the time counts that is used by connections which have more to do than fits into a turn: they can wait.
const GREED: u64 = 16;
/// Connections that used less than this wait in the order in which they came.
const USED_LITTLE_NS: u64 = 5 * TURN_NS;
/// What a connection has used at least when it begins: those that ask for little, and were there before, come first.
const USED_FIRST_NS: u64 = 50 * TURN_NS;
/// Bytes that a connection may send in its first turn; afterwards what one has time for.
const BYTES_FIRST: usize = 4 << 10;
/// The least bytes that are read in a turn, and the most.
const BYTES_MIN: usize = 512;
const BYTES_MAX: usize = 64 << 10;
/// What a turn is thought to take at least.
const TURN_NS_MIN: u64 = TURN_NS / 16;
/// Time that a connection may use without a request: frames that ask for nothing, or a head that is not complete. A client
/// that sends a PING each second uses a hundredth of it until it is silent for too long.
const IDLE_NS_MAX: u64 = 200_000_000;

/// What a connection used.
#[derive(Debug)]
pub(super) struct Account {
    /// When the present turn began, or the last one ended.
    at: Cell<Instant>,
    /// Time that it used lately; time that is long ago counts less.
    used_ns: Cell<u64>,
    /// The time of one of its turns. The system may interrupt a turn for longer than many take, so each counts as twice
    /// this time at most.
    turn_ns: Cell<u64>,
    /// Whether it had no turn yet.
    is_new: Cell<bool>,
    /// Bytes that were read in this turn, and how many there may be.
    bytes: Cell<usize>,
    bytes_max: Cell<usize>,
    /// Whether its turn ended before it had done everything, and the one before it as well.
    has_more: Cell<bool>,
    had_more: Cell<bool>,
    /// Requests that began in this turn.
    requests: Cell<u32>,
    /// Whether the head of a request of HTTP/2 was read that has not begun.
    is_expecting: Cell<bool>,
    /// Whether it is in the queue.
    waits: Cell<bool>,
    /// Whether it has waited, so that the next turn is its own.
    has_waited: Cell<bool>,
    /// Time used since the last request.
    idle_ns: Cell<u64>,
    /// The connection's task.
    task: OnceCell<Waker>,
    /// What wakes its turns.
    waker: OnceCell<TurnWaker>,
    /// Its streams of HTTP/2, if there ever was one.
    streams: OnceCell<Streams>,
}

impl Account {
    pub(super) fn new() -> Rc<Account> {
        Rc::new(Account {
            at: Cell::new(now()),
            used_ns: Cell::default(),
            turn_ns: Cell::new(TURN_NS / 2),
            is_new: Cell::new(true),
            bytes: Cell::default(),
            bytes_max: Cell::new(BYTES_FIRST),
            has_more: Cell::default(),
            had_more: Cell::default(),
            requests: Cell::default(),
            is_expecting: Cell::default(),
            waits: Cell::default(),
            has_waited: Cell::default(),
            idle_ns: Cell::default(),
            task: OnceCell::new(),
            waker: OnceCell::new(),
            streams: OnceCell::new(),
        })
    }

    /// The connection's task is polled.
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

    pub(super) fn streams_or_new(&self) -> &Streams {
        self.streams.get_or_init(Streams::default)
    }

    /// What wakes its turns, when it has had one.
    pub(super) fn waker(&self) -> Option<&Waker> {
        self.waker.get().map(TurnWaker::waker)
    }

    /// Whether its turn is over.
    pub(super) fn is_over(&self) -> bool {
        now() - self.at.get() >= TURN
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
        self.requests.set(self.requests.get() + 1);
        self.is_expecting.set(false);
    }

    /// Whether there is time for more in this turn, after so many requests; the connection gets another turn if not.
    pub(super) fn has_time_after(&self, requests: u32) -> bool {
        let has_time = self.requests.get() < requests || !self.is_over();
        if !has_time {
            self.has_more.set(true);
        }
        has_time
    }

    /// The head of a request of HTTP/2 was read.
    pub(super) fn expects(&self) {
        self.is_expecting.set(true);
    }

    /// Whether a request of HTTP/2 has not begun whose head was read.
    pub(super) fn is_expecting(&self) -> bool {
        self.is_expecting.get()
    }

    /// It used so much more, of which so much counts as is returned.
    fn uses(&self, nanoseconds: u64) -> u64 {
        let counted = nanoseconds.min(2 * self.turn_ns.get());
        self.used_ns.set((self.used_ns.get() + counted).min(USED_NS_MAX));
        counted
    }

    /// What it used lately, for another thread that works for it.
    pub(super) fn used_ns(&self) -> u64 {
        self.used_ns.get()
    }

    /// As [`used_ns`](Account::used_ns), of another thread.
    pub(super) fn has_used(&self, used_ns: u64) {
        self.used_ns.set(used_ns);
    }

    /// Whether it has used too much time without asking for anything.
    pub(super) fn is_useless(&self) -> bool {
        self.idle_ns.get() > IDLE_NS_MAX
    }

    /// Looks at the clock.
    fn begin(&self) {
        let now = now();
        let mut since = nanoseconds(now - self.at.replace(now));
        let mut used = self.used_ns.get();
        while since >= HALF_LIFE_NS && used > 0 {
            since -= HALF_LIFE_NS;
            used /= 2;
        }
        self.used_ns.set(used - used * since.min(HALF_LIFE_NS) / (2 * HALF_LIFE_NS));
        self.bytes.set(0);
        self.requests.set(0);
        self.had_more.set(self.has_more.replace(false));
    }

    /// Polls something until it is ready, has nothing to do, or the turn is over. HTTP yields after each piece of a body, and
    /// after some requests: what it does then belongs to the same turn.
    fn poll<T>(&self, context: &Context<'_>, mut turn: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let waker = self.waker.get_or_init(|| TurnWaker::of(context.waker()));
        loop {
            waker.begins();
            let polled = turn(&mut Context::from_waker(waker.waker()));
            let was_woken = waker.ends();
            // HTTP refused it, or it was the end of a request: what comes behind it was not read.
            let was_refused = self.is_expecting.replace(false);
            if polled.is_ready() || !(was_woken || was_refused) {
                return polled;
            }
            if self.has_more.get() || self.is_over() || !tokio::task::coop::has_budget_remaining() {
                self.has_more.set(true);
                return polled;
            }
        }
    }

    /// How long the turn took.
    fn end(&self) -> u64 {
        let now = now();
        let used = nanoseconds(now - self.at.replace(now));
        let counted = self.uses(used);
        let bytes = self.bytes.get();
        // One turn may have been cut short because the system interrupted it.
        if self.has_more.get() && (self.had_more.get() || bytes >= self.bytes_max.get() / 2) {
            self.used_ns.set((self.used_ns.get() + (GREED - 1) * counted).min(USED_NS_MAX));
        }
        self.turn_ns.set(((3 * self.turn_ns.get() + counted) / 4).max(TURN_NS_MIN));
        self.idle_ns.set(self.idle_ns.get().saturating_add(counted));
        if bytes > 0 {
            let for_turn = (bytes as u64).saturating_mul(TURN_NS) / counted.max(1);
            let for_turn = usize::try_from(for_turn).unwrap_or(BYTES_MAX).clamp(BYTES_MIN, BYTES_MAX);
            // Few bytes say little about what many would cost.
            self.bytes_max.set(for_turn.min(2 * self.bytes_max.get()));
        }
        used
    }
}

#[cfg(not(test))]
fn now() -> Instant {
    Instant::now()
}

/// The clock of tests is moved by what they do, and nothing else.
#[cfg(test)]
fn now() -> Instant {
    tests::now()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How long a thread has worked for connections since it last had nothing to do.
#[derive(Clone, Debug, Default)]
pub(super) struct Busy(Arc<AtomicU64>);

impl Busy {
    /// The thread has nothing to do.
    pub(super) fn pauses(&self) {
        self.0.store(0, Relaxed);
    }

    // Only the thread itself writes: no other addition is lost.
    fn add(&self, nanoseconds: u64) {
        self.0.store(self.0.load(Relaxed).saturating_add(nanoseconds), Relaxed);
    }

    fn is_long(&self) -> bool {
        self.0.load(Relaxed) >= TURN_NS
    }
}

/// A connection that waits: what it used, as if that had been used at the thread's beginning, and its number in the order
/// of waiting.
#[derive(Debug)]
struct Waiting {
    used: u64,
    number: u64,
    account: Rc<Account>,
}

impl Waiting {
    fn rank(&self) -> Reverse<(u64, u64)> {
        Reverse((self.used, self.number))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Waiting) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// The connections of a thread that wait for a turn.
#[derive(Debug)]
pub(super) struct Turns {
    began: Instant,
    busy: Busy,
    waiting: RefCell<BinaryHeap<Waiting>>,
    number: Cell<u64>,
    task: RefCell<Option<Waker>>,
}

impl Turns {
    pub(super) fn new(busy: Busy) -> Turns {
        Turns {
            began: now(),
            busy,
            waiting: RefCell::default(),
            number: Cell::default(),
            task: RefCell::default(),
        }
    }

    /// Polls something in a turn of a connection, unless it has to wait for one.
    pub(super) fn take<T>(
        &self,
        account: &Rc<Account>,
        context: &Context<'_>,
        turn: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if account.waits.get() {
            return Poll::Pending;
        }
        if account.is_new.replace(false) {
            // As if it had used its share of the time until now: those that begin anew are not better off for it.
            let share = USED_ALL_NS / (self.waiting.borrow().len() as u64 + 1);
            account.used_ns.set(share.clamp(USED_FIRST_NS, USED_NS_MAX));
        }
        account.begin();
        if self.busy.is_long() && !account.has_waited.replace(false) {
            self.queue(account);
            return Poll::Pending;
        }
        let polled = account.poll(context, turn);
        self.busy.add(account.end());
        if account.has_more.get() {
            self.queue(account);
        }
        polled
    }

    /// Does something else for a connection, which counts as a part of a turn.
    pub(super) fn count<T>(&self, account: &Account, work: impl FnOnce() -> T) -> T {
        let began = now();
        let done = work();
        let used = nanoseconds(now() - began);
        account.uses(used);
        self.busy.add(used);
        done
    }

    fn queue(&self, account: &Rc<Account>) {
        account.waits.set(true);
        let number = self.number.get();
        self.number.set(number + 1);
        let used = self.rank_of(account.used_ns.get(), account.at.get());
        let mut waiting = self.waiting.borrow_mut();
        waiting.push(Waiting { used, number, account: Rc::clone(account) });
        if waiting.len() == 1
            && let Some(task) = &*self.task.borrow()
        {
            task.wake_by_ref();
        }
    }

    /// Ranks connections by what they used, at whatever time that was: used time counts half after each half-life, so what
    /// was used later counts twice as much for each. In thousandths of the logarithm to the base of 2.
    fn rank_of(&self, used_ns: u64, at: Instant) -> u64 {
        let half_lives = nanoseconds(at - self.began) as f64 / HALF_LIFE_NS as f64;
        ((half_lives + (used_ns.max(USED_LITTLE_NS) as f64).log2()) * 1e3) as u64
    }

    /// Gives turns to those connections of the queue that used least, each time it is polled: that is once for each look at
    /// the sockets.
    pub(super) fn poll(&self, context: &mut Context<'_>) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
            *task = Some(context.waker().clone());
        }
        drop(task);
        let mut waiting = self.waiting.borrow_mut();
        let mut turns_ns = 0;
        while let Some(first) = waiting.peek()
            && (turns_ns == 0 || turns_ns + first.account.turn_ns.get() <= TURN_NS)
            && let Some(Waiting { account, .. }) = waiting.pop()
        {
            turns_ns += account.turn_ns.get();
            account.waits.set(false);
            account.has_waited.set(true);
            account.wake();
        }
        if !waiting.is_empty() {
            // It is woken after the sockets were looked at.
            let _ = pin!(tokio::task::yield_now()).poll(context);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::runtime::{Builder, LocalOptions};
    use tokio::task::{spawn_local, yield_now};

    use super::super::thread::TURNS_UNOBSERVED;
    use super::*;

    thread_local! {
        static BEGAN: Instant = Instant::now();
        static PASSED_NS: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn now() -> Instant {
        BEGAN.with(|began| *began) + Duration::from_nanos(PASSED_NS.get())
    }

    fn work(micros: u64) {
        PASSED_NS.set(PASSED_NS.get() + micros * 1_000);
    }

    /// Connections that flood: how many, the time that each takes for a turn, and what they do then.
    #[derive(Clone, Copy)]
    struct Flood {
        connections: usize,
        micros: u64,
        then: Then,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Then {
        /// The turn was too short for everything that it has sent.
        HasMore,
        /// Its socket can be read again.
        Sends,
        /// It is silent for so many microseconds, and all of them begin again together.
        Pauses(u64),
        /// Another connection takes its place after so many turns.
        Leaves(u32),
        /// It goes on: it yields after each piece, as HTTP does after each chunk of a body.
        Yields,
    }

    /// A turn of a connection's task, when it has it.
    async fn turn<T>(turns: &Turns, account: &Rc<Account>, turn: impl Fn() -> T) -> T {
        poll_fn(|context| {
            account.polled_by(context.waker());
            turns.take(account, context, |_| Poll::Ready(turn()))
        })
        .await
    }

    async fn floods(flood: Flood, turns: Rc<Turns>, used: Rc<Cell<u64>>) {
        let mut account = Account::new();
        if flood.then == Then::Yields {
            let piece = |context: &mut Context<'_>| {
                work(flood.micros);
                used.set(used.get() + flood.micros);
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            };
            return poll_fn(|context| {
                account.polled_by(context.waker());
                turns.take(&account, context, piece)
            })
            .await;
        }
        let (mut begins_again, mut turns_had) = (now(), 0);
        loop {
            turns_had += 1;
            turn(&turns, &account, || {
                work(flood.micros);
                used.set(used.get() + flood.micros);
                if matches!(flood.then, Then::HasMore | Then::Leaves(2..)) {
                    account.read(account.room());
                    assert_eq!(account.room(), 0, "it has more");
                }
            })
            .await;
            match flood.then {
                Then::HasMore => continue,
                Then::Sends | Then::Yields => {}
                Then::Pauses(micros) => {
                    begins_again += Duration::from_micros(micros);
                    while now() < begins_again {
                        yield_now().await;
                    }
                    continue;
                }
                Then::Leaves(turns) if turns_had % turns == 0 => account = Account::new(),
                Then::Leaves(_) => continue,
            }
            yield_now().await;
        }
    }

    /// How many microseconds the requests of a client wait at most that makes one of 20 microseconds each 16 milliseconds;
    /// and the time that each of the others had, of all.
    fn beside(flood: Flood) -> (u128, Vec<u64>, u128) {
        let busy = Busy::default();
        let pausing = busy.clone();
        let mut builder = Builder::new_current_thread();
        builder.event_interval(TURNS_UNOBSERVED).on_thread_park(move || pausing.pauses());
        let runtime = builder.build_local(LocalOptions::default()).expect("a runtime");
        let began = now();
        runtime.block_on(async move {
            let turns = Rc::new(Turns::new(busy.clone()));
            let queue = Rc::clone(&turns);
            spawn_local(poll_fn(move |context| {
                queue.poll(context);
                Poll::<()>::Pending
            }));
            let used: Vec<Rc<Cell<u64>>> = (0..flood.connections).map(|_| Rc::default()).collect();
            for used in &used {
                spawn_local(floods(flood, Rc::clone(&turns), Rc::clone(used)));
            }
            let requests = spawn_local(async move {
                let (account, mut longest, mut due) = (Account::new(), 0, now());
                for number in 0..REQUESTS {
                    due += Duration::from_millis(16);
                    while now() < due {
                        // While all other connections pause, only this one moves the clock.
                        let before = now();
                        yield_now().await;
                        if now() == before {
                            work(20);
                            busy.pauses();
                        }
                    }
                    let waited = turn(&turns, &account, || {
                        let waited = now() - due;
                        // The system interrupts every tenth.
                        work(if number % 10 == 0 { 4_000 } else { 20 });
                        waited
                    });
                    let waited = waited.await.as_micros();
                    // At first, it is one of many that are new.
                    if number >= REQUESTS / 2 {
                        longest = longest.max(waited);
                    }
                }
                longest
            });
            let longest = requests.await.expect("no panic");
            (longest, used.iter().map(|used| used.get()).collect(), (now() - began).as_micros())
        })
    }

    const REQUESTS: u32 = 200;

    #[test]
    fn whoever_asks_for_little_waits_for_two_turns_beside_any_number_that_flood() {
        // Turns of those that are new are thought to be shorter.
        let few = 4 * TURN.as_micros();
        // Those that come together are polled before the client is, and others have turns for each look at the sockets.
        let together = few + 200 / u128::from(TURNS_UNOBSERVED) * TURN.as_micros();
        let floods = [
            (10, 200, Then::HasMore, few),
            (200, 200, Then::HasMore, few),
            (200, 50, Then::HasMore, few),
            (200, 5, Then::Sends, few),
            (200, 50, Then::Sends, few),
            (200, 200, Then::Sends, few),
            (2_000, 200, Then::HasMore, few),
            (200, 50, Then::Pauses(5_000), together),
            (200, 50, Then::Pauses(12_000), together),
            (200, 50, Then::Leaves(1), few),
            (200, 200, Then::Leaves(1), few),
            (200, 200, Then::Leaves(20), few),
            (200, 2, Then::Yields, few),
            (2_000, 2, Then::Yields, few),
            (2_000, 32, Then::Yields, few),
        ];
        for (connections, micros, then, at_most) in floods {
            let (longest, used, all) = beside(Flood { connections, micros, then });
            let case = format!("{connections} of {micros} us, {then:?}: {longest} us");
            println!("{case}");
            // Two turns, and those that each look at the sockets finds.
            assert!(longest <= at_most, "{case}");
            let (least, most) = (used.iter().min().expect("some"), used.iter().max().expect("some"));
            assert!(*most <= 2 * least + 4 * 200, "{case}: from {least} to {most} us each");
            let is_always_there = !matches!(then, Then::Pauses(_));
            let sum = u128::from(used.iter().sum::<u64>());
            assert!(
                !is_always_there || 100 * (sum + 418 * u128::from(REQUESTS)) > 99 * all,
                "{case}: {sum} of {all} us"
            );
        }
    }

    #[test]
    fn a_turn_ends_between_two_requests_that_were_sent_in_a_row() {
        let (turns, account) = (Turns::new(Busy::default()), Account::new());
        let (began, context) = (Cell::new(0), &mut Context::from_waker(Waker::noop()));
        account.polled_by(Waker::noop());
        let requests = |_: &mut Context<'_>| {
            for _ in 0..16 {
                account.asked();
                if !account.has_time_after(2) {
                    break;
                }
                began.set(began.get() + 1);
                work(90);
            }
            Poll::<()>::Pending
        };
        // The third began in time.
        assert!(turns.take(&account, context, requests).is_pending());
        assert!(began.get() == 3 && account.waits.get(), "{}", began.get());
        turns.poll(context);
        // One of a turn that takes longer than it may is served nevertheless.
        let long = |_: &mut Context<'_>| {
            work(1_000);
            account.asked();
            if account.has_time_after(2) { Poll::Ready(()) } else { Poll::Pending }
        };
        assert!(turns.take(&account, context, long).is_ready() && !account.waits.get());
    }
}
