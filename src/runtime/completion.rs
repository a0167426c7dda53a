//! What ties an execution to those who started it.

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

use super::durable::Ledger;
use super::inline::Ended;
use super::outcome::{Counts, Outcome, Status};
use super::slab::Key;
use crate::fault::Fault;
use crate::task::{Tasks, panics};

/// Where an execution sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) shard: u16,
    pub(super) key: Key,
}

/// The two ends of one execution meet here. A mutex, because each of them comes by at most a few times.
#[derive(Debug, Default)]
pub(super) struct Completion {
    pub(super) start_identity: StartIdentity,
    /// Whether it is aborted instead of entering one more state.
    is_last_state: AtomicBool,
    state: Mutex<State>,
}

/// How an execution is called, where that is not as its version says.
#[derive(Debug, Default)]
pub(super) struct StartIdentity {
    /// Whether someone waits for its end, as of `StartSyncExecution`.
    pub(super) synchronous: bool,
    pub(super) label: Option<Box<IdentityOverrides>>,
}

impl StartIdentity {
    /// As its version says.
    pub(super) const AS_OTHERS: StartIdentity = StartIdentity { synchronous: false, label: None };

    /// What ties it to the journal, if it is durable.
    #[inline]
    pub(super) fn ledger(&self) -> Option<&Ledger> {
        self.label.as_ref()?.ledger.as_ref()
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

/// What the context object shows otherwise than for other executions of the version.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IdentityRef<'n> {
    pub(super) synchronous: bool,
    pub(super) name: Option<&'n str>,
    pub(super) arn: Option<&'n str>,
    pub(super) trace_header: Option<&'n str>,
    pub(super) redrivable: bool,
}

/// Who does the tasks of an execution, and of the child executions of its Map Runs.
pub(super) type SharedTasks = Arc<std::sync::Mutex<Box<dyn Tasks + Send>>>;

/// What sets an execution apart from the others of its version.
#[derive(Default)]
pub(super) struct IdentityOverrides {
    pub(super) name: Option<Box<str>>,
    /// Its ARN; it can be found by it.
    pub(super) arn: Option<Box<str>>,
    pub(super) trace_header: Option<Box<str>>,
    /// Who does its tasks, before the engine's handlers. A mutex, because it may move from shard to shard.
    pub(super) tasks: Option<SharedTasks>,
    /// What ties it to the journal, if it is durable.
    pub(super) ledger: Option<Ledger>,
    /// Whether it is kept where it stood when it ends without success.
    pub(super) redrivable: bool,
}

impl std::fmt::Debug for IdentityOverrides {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Label").field("name", &self.name).field("arn", &self.arn).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    /// Where it sits, once it was parked.
    place: Option<Location>,
    /// What it is to be aborted with.
    abort: Option<Fault>,
    /// It was told where it sits that it is to be aborted.
    is_told: bool,
    outcome: Option<Outcome>,
    waker: Option<Waker>,
    status: Option<Status>,
}

impl Completion {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements.
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

    /// It was parked there. With what it is to be aborted, if someone wanted that before there was a place to say it.
    pub(super) fn park(&self, place: Location) -> Option<Fault> {
        let mut state = self.lock();
        state.place = Some(place);
        state.abort.take()
    }

    /// With what it is to be aborted before it begins, if at all.
    pub(super) fn begin(&self) -> Option<Fault> {
        self.lock().abort.take()
    }

    /// Wants it aborted. Where to say so, if it has a place; else it learns of it when it begins, or is parked.
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

    /// It leaves its place, where it is parked, for memory outside of the engine; unless somebody wants it to end. Whoever has
    /// it reaches it no more.
    pub(super) fn leave(&self) -> bool {
        let mut state = self.lock();
        let is_free = !state.is_told && state.abort.is_none() && state.status.is_none();
        if is_free {
            state.place = None;
        }
        is_free
    }

    /// Wants it aborted before it enters one more state. Its next turn sees that.
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

/// Who is told how an execution ends.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    One(Arc<Completion>),
    /// It is the n-th of a batch.
    Batch(Arc<BatchState>, u32),
}

impl Reply {
    /// Of an execution that is not one of a batch.
    pub(super) fn completion(&self) -> Option<&Arc<Completion>> {
        match self {
            Reply::One(completion) => Some(completion),
            Reply::Batch(..) => None,
        }
    }

    /// How the execution is called.
    pub(super) fn start_identity(&self) -> &StartIdentity {
        static AS_OTHERS: StartIdentity = StartIdentity::AS_OTHERS;
        match self {
            Reply::One(completion) => &completion.start_identity,
            Reply::Batch(..) => &AS_OTHERS,
        }
    }
}

/// Gets to see each execution of a batch when it is over, on the thread that ran it.
pub(super) type Sink = dyn Fn(u32, Ended<'_>) + Send + Sync;

/// Counts the ends of a batch's executions.
#[derive(Default)]
pub(super) struct BatchState {
    /// Executions under way, and one for whoever still adds some.
    left: AtomicU64,
    tally: super::outcome::Counters,
    waker: Mutex<Option<Waker>>,
    sink: Option<Box<Sink>>,
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

    /// Shows an execution that ended. A panic in the user's function concerns nobody else.
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

/// Executions that were started together. As a future, it comes to their [`Counts`] when all are over; dropping it
/// changes nothing for them.
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
        // `done` takes the waker after it counted, so that one of us two sees the other.
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

    /// An execution that would wait for ever is aborted: it learns of it when it begins, when it is parked, or by a message.
    /// Its caller learns of its end. Were either lost, loom would report the deadlock.
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

    /// One that comes to its end while someone aborts it ends once, as it came to.
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

    /// Two shards that end a batch's executions, and one who waits for it.
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
