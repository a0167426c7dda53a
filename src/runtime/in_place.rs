//! Executions that neither wait nor call, on the thread that asks for them: no hand-over, no wake-up, nothing shared but
//! counters.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::Poll;

use super::admission::Limit;
use super::engine::{Engine, StartError};
use super::job::TRANSITIONS_PER_EXECUTION;
use super::machine::Version;
use super::outcome::{Counts, Outcome, Status};
use super::seat::{Bench, Seat};
use crate::engine::{Event, Start, Turn};
use crate::fault::{self, Fault};
use crate::json;

thread_local! {
    /// What this thread needs to run executions.
    static BENCH: RefCell<Bench> = RefCell::default();
}

/// Runs an execution in turns; between them, others have theirs.
pub(super) async fn run(engine: &Engine, version: &Version, text: &[u8]) -> Result<Outcome, StartError> {
    let shared = engine.shared();
    if shared.closed.load(Ordering::Acquire) {
        engine.lane(|lane| lane.refuse(1));
        return Err(shared.admission.throttled(Limit::Draining).into());
    }
    let mut visit = Visit { engine, version, seat: Some(BENCH.with_borrow_mut(Bench::seat)) };
    let seed = shared.seed(shared.seeds(1));
    let start = Start { seed, now_ms: shared.time.now_ms(), ..shared.start };
    let mut event = visit.begin(text, &start);
    loop {
        let now_ms = shared.time.now_ms();
        if let Some(outcome) = visit.turn(event, now_ms) {
            return Ok(outcome);
        }
        event = Event::Go;
        yield_once().await;
    }
}

/// An execution on its caller's thread. It is counted when it is over, as accepted and as what it came to; dropped
/// before, as aborted.
struct Visit<'e> {
    engine: &'e Engine,
    version: &'e Version,
    seat: Option<Box<Seat>>,
}

impl Visit<'_> {
    fn begin(&mut self, text: &[u8], start: &Start) -> Event {
        let version = self.version;
        let Some(seat) = &mut self.seat else { return Event::Go };
        seat.x.reset();
        seat.identify(version, None);
        let (event, input) = match json::read(&mut seat.x.arena, text) {
            Ok(input) => (Event::Go, input),
            Err(error) => {
                let cause = format!("The execution's input is not JSON: {error}");
                (Event::Fail(Fault::new(fault::RUNTIME, cause)), json::Value::NULL)
            }
        };
        seat.x.begin(&version.program, start, input);
        if let Some(observer) = &self.engine.shared().observer {
            seat.observe(&**observer, version, start.seed, start.now_ms);
        }
        event
    }

    fn turn(&mut self, event: Event, now_ms: u64) -> Option<Outcome> {
        let version = self.version;
        let seat = self.seat.as_mut()?;
        let turn = BENCH.with_borrow_mut(|bench| {
            let turn = bench.advance(version, seat, event, now_ms, TRANSITIONS_PER_EXECUTION);
            bench.effects.clear();
            turn
        });
        let outcome = match (turn, seat.x.outcome()) {
            (Ok(Turn::Yielded), None) => return None,
            (Ok(_), Some(outcome)) => Outcome::new(outcome, &seat.x.arena, seat.x.started_ms(), now_ms),
            // Nothing in it waits, so that it parks is a bug as well.
            _ => super::shard::bug(now_ms),
        };
        seat.tell_end(super::shard::bug_outcome, now_ms);
        self.leave(outcome.status);
        Some(outcome)
    }

    /// Those who watch an execution that nobody waits for any more learn that it was aborted.
    fn tell_aborted(&mut self) {
        let Some(seat) = self.seat.as_mut().filter(|seat| seat.watch.is_some()) else { return };
        let now_ms = self.engine.shared().time.now_ms();
        BENCH.with_borrow_mut(|bench| {
            let abort = Event::Abort(Fault { error: None, cause: None });
            // Whatever came of it, the end is told next.
            let _ = bench.advance(self.version, seat, abort, now_ms, TRANSITIONS_PER_EXECUTION);
            bench.effects.clear();
        });
        seat.tell_end(super::shard::bug_outcome, now_ms);
    }

    fn leave(&mut self, status: Status) {
        let Some(seat) = self.seat.take() else { return };
        BENCH.with_borrow_mut(|bench| bench.put_back(seat));
        let mut counts = Counts::default();
        counts.count(status);
        self.engine.lane(|lane| {
            lane.accept(1);
            lane.end(&counts);
        });
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.tell_aborted();
        self.leave(Status::Aborted);
    }
}

/// Lets others have their turn.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
