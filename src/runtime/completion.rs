//! The state that an execution shares with its callers.

#[cfg(expressway_loom)]
use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
#[cfg(not(expressway_loom))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::task::{Context, Poll, Waker};

use super::admission::{ENTRY_BYTES, LABEL_BYTES};
use super::durable::Ledger;
use super::inline::Ended;
use super::outcome::{Counts, Outcome, Status};
use super::slab::Key;
use crate::fault::Fault;
use crate::task::{Tasks, panics};

/// The slot of a parked execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) shard: u16,
    pub(super) key: Key,
}

/// Shared by an execution and its handle. A mutex suffices, because each of them locks it at most a few times.
#[derive(Debug, Default)]
pub(super) struct Completion {
    pub(super) start_identity: StartIdentity,
    /// Whether it is aborted instead of entering one more state.
    is_last_state: AtomicBool,
    state: Mutex<State>,
}

/// An execution's identity, where it differs from the version's.
#[derive(Debug, Default)]
pub(super) struct StartIdentity {
    /// Whether the caller waits for its end, as of `StartSyncExecution`.
    pub(super) synchronous: bool,
    pub(super) label: Option<Box<IdentityOverrides>>,
}

impl StartIdentity {
    /// Its place in the journal, if it is durable.
    #[inline]
    pub(super) fn ledger(&self) -> Option<&Ledger> {
        self.label.as_ref()?.ledger.as_ref()
    }

    /// What it is billed beside its values, as long as it is under way.
    #[inline]
    pub(super) fn entry_bytes(&self) -> usize {
        ENTRY_BYTES + self.kept_bytes()
    }

    /// What sets it apart from other executions of the version, with what is kept for it elsewhere.
    #[inline]
    pub(super) fn kept_bytes(&self) -> usize {
        self.label.as_deref().map_or(0, IdentityOverrides::bytes)
    }

    pub(super) fn names(&self) -> IdentityRef<'_> {
        let label = self.label.as_deref();
        IdentityRef {
            synchronous: self.synchronous,
            name: label.and_then(|label| label.name.as_deref()),
            arn: label.and_then(|label| label.arn.as_deref()),
            trace_header: label.and_then(|label| label.trace_header.as_deref()),
            redrivable: label.is_some_and(|label| label.redrivable),
        }
    }
}

/// What the context object shows differently from other executions of the version.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IdentityRef<'n> {
    pub(super) synchronous: bool,
    pub(super) name: Option<&'n str>,
    pub(super) arn: Option<&'n str>,
    pub(super) trace_header: Option<&'n str>,
    pub(super) redrivable: bool,
}

/// Handlers of the tasks of an execution, and of the child executions of its Map Runs.
pub(super) type SharedTasks = Arc<std::sync::Mutex<Box<dyn Tasks + Send>>>;

/// What sets an execution apart from the others of its version.
#[derive(Default)]
pub(super) struct IdentityOverrides {
    pub(super) name: Option<Box<str>>,
    /// Its ARN, by which it can be found.
    pub(super) arn: Option<Box<str>>,
    pub(super) trace_header: Option<Box<str>>,
    /// Handlers of its tasks, consulted before the engine's. A mutex, because it may move from shard to shard.
    pub(super) tasks: Option<SharedTasks>,
    /// Its place in the journal, if it is durable.
    pub(super) ledger: Option<Ledger>,
    /// When it was asked for, on the wall clock: its displayed times are not earlier.
    pub(super) requested_ms: Option<u64>,
    /// Whether its state is kept when it ends without success.
    pub(super) redrivable: bool,
    /// What its watcher [keeps](crate::observe::Watcher::kept_bytes).
    pub(super) watcher_bytes: usize,
}

impl IdentityOverrides {
    fn bytes(&self) -> usize {
        let bytes = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
        // The ARN is in the label, and in the table.
        let names = bytes(&self.name) + 2 * bytes(&self.arn) + bytes(&self.trace_header);
        // Without names it is that of a batch, which all of its executions share.
        if names == 0 { 0 } else { LABEL_BYTES + names + self.watcher_bytes }
    }
}

impl std::fmt::Debug for IdentityOverrides {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Label").field("name", &self.name).field("arn", &self.arn).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    /// Its slot, once it was parked.
    place: Option<Location>,
    /// The fault it is to be aborted with.
    abort: Option<Fault>,
    /// The abort was sent to the place where the execution is.
    is_told: bool,
    outcome: Option<Outcome>,
    waker: Option<Waker>,
    status: Option<Status>,
}

impl Completion {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn new(start_identity: StartIdentity) -> Completion {
        Completion { start_identity, is_last_state: AtomicBool::new(false), state: Mutex::default() }
    }

    /// It is over.
    pub(super) fn end(&self, outcome: Outcome) {
        let mut state = self.lock();
        debug_assert!(state.status.is_none(), "an execution ended twice");
        state.status = Some(outcome.status);
        state.outcome = Some(outcome);
        state.place = None;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// It was parked there. Returns the fault of an abort that was requested before the place was known.
    pub(super) fn park(&self, place: Location) -> Option<Fault> {
        let mut state = self.lock();
        state.place = Some(place);
        state.abort.take()
    }

    /// The fault it is to be aborted with before it begins, if any.
    pub(super) fn begin(&self) -> Option<Fault> {
        self.lock().abort.take()
    }

    /// Requests an abort. Returns where to send it, if it is parked; else it is seen when the execution begins, or
    /// parks.
    pub(super) fn abort(&self, fault: Fault) -> Option<(Location, Fault)> {
        let mut state = self.lock();
        match state.place {
            _ if state.status.is_some() => None,
            Some(place) => {
                state.is_told = true;
                Some((place, fault))
            }
            None => {
                state.abort.get_or_insert(fault);
                None
            }
        }
    }

    /// Whether it is to be aborted when it begins.
    pub(super) fn has_abort(&self) -> bool {
        self.lock().abort.is_some()
    }

    /// It leaves its place, where it is parked, for memory outside of the engine; unless an abort was requested. Other
    /// handles no longer reach it.
    pub(super) fn leave(&self) -> bool {
        let mut state = self.lock();
        let is_free = !state.is_told && state.abort.is_none() && state.status.is_none();
        if is_free {
            state.place = None;
        }
        is_free
    }

    /// Requests an abort before the next state is entered. Its next turn sees that.
    pub(super) fn abort_at_next_state(&self) {
        self.is_last_state.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_last_state(&self) -> bool {
        self.is_last_state.load(Ordering::Relaxed)
    }

    pub(super) fn status(&self) -> Status {
        self.lock().status.unwrap_or(Status::Running)
    }

    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut state = self.lock();
        match state.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The recipient of an execution's outcome.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    One(Arc<Completion>),
    /// The n-th execution of a batch.
    Batch(Arc<BatchState>, u32),
}

impl Reply {
    /// Of an execution that is not part of a batch.
    pub(super) fn completion(&self) -> Option<&Arc<Completion>> {
        match self {
            Reply::One(completion) => Some(completion),
            Reply::Batch(..) => None,
        }
    }

    /// The execution's identity.
    pub(super) fn start_identity(&self) -> &StartIdentity {
        match self {
            Reply::One(completion) => &completion.start_identity,
            Reply::Batch(batch, _) => &batch.start_identity,
        }
    }

    /// The fault it is to be aborted with before it begins, if any.
    pub(super) fn begin(&self) -> Option<Fault> {
        match self {
            Reply::One(completion) => completion.begin(),
            Reply::Batch(batch, _) => batch.is_aborted().then_some(NO_REASON),
        }
    }

    /// It was parked there, for the first time. Returns the fault of an abort that was requested before the place was
    /// known.
    pub(super) fn park(&self, place: Location) -> Option<Fault> {
        match self {
            Reply::One(completion) => completion.park(place),
            Reply::Batch(batch, _) => batch.park(place).then_some(NO_REASON),
        }
    }
}

/// Of an abort for which no reason is given.
pub(super) const NO_REASON: Fault = Fault { error: None, cause: None };

/// Called for each execution of a batch when it is over, on the thread that ran it.
pub(super) type Sink = dyn Fn(u32, Ended<'_>) + Send + Sync;

/// Counts the ends of a batch's executions.
#[derive(Default)]
pub(super) struct BatchState {
    /// Executions under way, and one more while executions are still being added.
    left: AtomicU64,
    tally: super::outcome::Counters,
    waker: Mutex<Option<Waker>>,
    sink: Option<Box<Sink>>,
    start_identity: StartIdentity,
    abortable: Option<Abortable>,
}

/// What aborting the executions of a batch takes.
#[derive(Debug, Default)]
struct Abortable {
    /// Set while `parked` is locked.
    is_aborted: AtomicBool,
    /// Where executions were parked first: some may be over.
    parked: Mutex<Vec<Location>>,
}

impl std::fmt::Debug for BatchState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchState").field("left", &self.left).finish_non_exhaustive()
    }
}

impl BatchState {
    pub(super) fn new(sink: Option<Box<Sink>>) -> BatchState {
        BatchState { left: AtomicU64::new(1), sink, ..BatchState::default() }
    }

    /// One whose executions have this identity and may be [aborted](BatchState::abort).
    pub(super) fn abortable(sink: Box<Sink>, start_identity: StartIdentity) -> BatchState {
        let abortable = Some(Abortable::default());
        BatchState { start_identity, abortable, ..BatchState::new(Some(sink)) }
    }

    /// Requests that its executions are aborted. Returns the places to which to send that; executions that were not
    /// parked yet see it when they begin, or park.
    pub(super) fn abort(&self) -> Vec<Location> {
        let Some(Abortable { is_aborted, parked }) = &self.abortable else {
            unreachable!("the batch was not made to be aborted");
        };
        let mut parked = parked.lock().unwrap_or_else(PoisonError::into_inner);
        is_aborted.store(true, Ordering::Release);
        std::mem::take(&mut *parked)
    }

    #[inline]
    fn is_aborted(&self) -> bool {
        self.abortable.as_ref().is_some_and(|it| it.is_aborted.load(Ordering::Acquire))
    }

    /// One of its executions was parked there. Whether it is to be aborted.
    fn park(&self, place: Location) -> bool {
        let Some(Abortable { is_aborted, parked }) = &self.abortable else { return false };
        let mut parked = parked.lock().unwrap_or_else(PoisonError::into_inner);
        parked.push(place);
        is_aborted.load(Ordering::Relaxed)
    }

    /// Whether all its executions are over.
    pub(super) fn is_over(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    pub(super) fn add(&self, executions: u64) {
        self.left.fetch_add(executions, Ordering::Relaxed);
        self.tally.accept(executions);
    }

    /// Some were not admitted after all.
    pub(super) fn take_back(&self, executions: u64) {
        self.left.fetch_sub(executions, Ordering::Relaxed);
        self.tally.accept(executions.wrapping_neg());
    }

    /// No more are added.
    pub(super) fn close(&self) {
        self.done(1);
    }

    pub(super) fn has_sink(&self) -> bool {
        self.sink.is_some()
    }

    /// Reports an execution that ended. A panic in the user's function affects only this execution.
    pub(super) fn tell(&self, n: u32, ended: Ended<'_>) {
        if let Some(sink) = &self.sink
            && let Err(panic) = panics::guard(|| sink(n, ended))
        {
            let _: Fault = super::tasks::told(panic);
        }
    }

    pub(super) fn end(&self, counts: &Counts) {
        self.tally.end(counts);
        self.done(counts.ended());
    }

    fn done(&self, executions: u64) {
        if self.left.fetch_sub(executions, Ordering::AcqRel) == executions {
            let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.tally.add_ended(&mut counts);
        self.tally.add_accepted(&mut counts);
        counts.running = counts.accepted.saturating_sub(counts.ended());
        counts
    }
}

/// Executions that were started together. As a future, it resolves to their [`Counts`] when all are over; dropping it
/// does not affect them.
#[derive(Debug)]
pub struct Batch {
    pub(super) state: Arc<BatchState>,
    /// Why the rest was refused, if it was. The first [`Counts::accepted`] inputs became executions.
    pub refused: Option<super::admission::Throttled>,
}

impl Batch {
    /// How many there are, by where they stand now.
    pub fn counts(&self) -> Counts {
        self.state.counts()
    }
}

impl Future for Batch {
    type Output = Counts;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Counts> {
        let mut waker = self.state.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.left.load(Ordering::Acquire) == 0 {
            return Poll::Ready(self.state.counts());
        }
        *waker = Some(context.waker().clone());
        // `done` takes the waker after it counted, so that one of the two sees the other.
        match self.state.left.load(Ordering::Acquire) {
            0 => Poll::Ready(self.state.counts()),
            _ => Poll::Pending,
        }
    }
}

#[cfg(all(test, expressway_loom))]
mod tests {
    use super::super::loom_park::Permit;
    use super::*;

    const PLACE: Location = Location { shard: 0, key: Key { slot: 1, generation: 2 } };

    fn fault() -> Fault {
        Fault { error: None, cause: None }
    }

    /// An abort must reach an execution that would wait for ever: when it begins, when it is parked, or by a message.
    /// Its caller must be notified of its end. If either were lost, loom would report the deadlock.
    #[test]
    fn an_abort_reaches_an_execution_wherever_it_stands() {
        loom::model(|| {
            let (completion, messages) = (Arc::new(Completion::default()), Permit::new());
            let (seen, box_) = (Arc::clone(&completion), Arc::clone(&messages));
            let shard = loom::thread::spawn(move || {
                if seen.begin().is_none() && seen.park(PLACE).is_none() {
                    box_.wait();
                }
                seen.end(Outcome::without_output(Status::Aborted, None, 0));
            });
            if let Some((place, _)) = completion.abort(fault()) {
                assert_eq!(place, PLACE);
                messages.notify();
            }
            let woken = Permit::new();
            let waker: Waker = woken.clone().into();
            while completion.poll(&mut Context::from_waker(&waker)).is_pending() {
                woken.wait();
            }
            assert_eq!(completion.status(), Status::Aborted);
            assert!(completion.abort(fault()).is_none(), "it is over");
            shard.join().unwrap();
        });
    }

    /// The same for the executions of a batch.
    #[test]
    fn an_abort_reaches_the_executions_of_a_batch() {
        loom::model(|| {
            let batch = Arc::new(BatchState::abortable(Box::new(|_, _| {}), StartIdentity::default()));
            let (reply, messages) = (Reply::Batch(Arc::clone(&batch), 0), Permit::new());
            let box_ = Arc::clone(&messages);
            let shard = loom::thread::spawn(move || {
                if reply.begin().is_none() && reply.park(PLACE).is_none() {
                    box_.wait();
                }
            });
            for place in batch.abort() {
                assert_eq!(place, PLACE);
                messages.notify();
            }
            shard.join().unwrap();
        });
    }

    /// An execution that ends while it is aborted ends once, with its own outcome.
    #[test]
    fn an_end_is_the_end_whatever_an_abort_does_meanwhile() {
        loom::model(|| {
            let completion = Arc::new(Completion::default());
            let seen = Arc::clone(&completion);
            let shard = loom::thread::spawn(move || {
                let aborted = seen.begin().is_some();
                let status = if aborted { Status::Aborted } else { Status::Succeeded };
                seen.end(Outcome::without_output(status, None, 0));
                status
            });
            assert!(completion.abort(fault()).is_none(), "it was never parked");
            let status = shard.join().unwrap();
            assert_eq!(completion.status(), status);
            let polled = completion.poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Ready(outcome) if outcome.status == status));
        });
    }

    /// Two shards that end a batch's executions, and a caller that waits for it.
    #[test]
    fn the_end_of_a_batch_is_not_slept_over() {
        loom::model(|| {
            let state = Arc::new(BatchState::new(None));
            state.add(2);
            state.close();
            let shards: Vec<_> = (0..2)
                .map(|_| {
                    let state = Arc::clone(&state);
                    loom::thread::spawn(move || {
                        let mut counts = Counts::default();
                        counts.count(Status::Succeeded);
                        state.end(&counts);
                    })
                })
                .collect();
            let woken = Permit::new();
            let waker: Waker = woken.clone().into();
            let mut batch = std::pin::pin!(Batch { state, refused: None });
            while batch.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                woken.wait();
            }
            assert_eq!(batch.counts().succeeded, 2);
            shards.into_iter().for_each(|shard| shard.join().unwrap());
        });
    }
}
