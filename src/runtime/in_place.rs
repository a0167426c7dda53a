//! Executions that neither wait nor call, on the thread that asks for them: no hand-over, no wake-up, nothing shared but
//! counters.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::Poll;

use super::admission::{ENTRY_BYTES, Limit};
use super::engine::Engine;
use super::inbox::Shared;
use super::inline::Ended;
use super::job::TRANSITIONS_PER_EXECUTION;
use super::machine::Version;
use super::outcome::{Outcome, Status};
use super::seat::{Bench, Seat};
use super::showing::{ending, may_be_watched};
use super::start::StartError;
use super::ticket::Names;
use crate::engine::{Event, Execution, Start, Turn};
use crate::fault::Fault;
use crate::json;
use crate::observe::{Desk, Memory, Scribe, Took, Watch};

thread_local! {
    /// What this thread needs to run executions.
    static BENCH: RefCell<Bench> = RefCell::default();
}

/// Runs an execution in turns; between them, others have theirs.
///
/// It takes nothing from the budgets unless it is long: as many of these run as there are threads, and counting them
/// where all threads count would cost more than the smallest of them takes. One that lets others have their turn is
/// admitted then, or refused: it has done nothing that anyone could see.
pub(super) async fn run(
    engine: &Engine,
    version: &Version,
    called: Names<'_>,
    watch: Option<Box<Watch>>,
    number: u64,
    text: &[u8],
) -> Result<Outcome, StartError> {
    let mut visit = Visit::begin(engine, version, watch)?;
    visit.read(called, number, text)?;
    loop {
        if let Some(outcome) = visit.turn(|ended, now_ms| match ended {
            Some(ended) => {
                let x = ended.execution();
                Outcome::new(ended.outcome(), &x.arena, x.started_ms(), now_ms)
            }
            None => super::shard::bug(now_ms),
        }) {
            return Ok(outcome);
        }
        visit.stay(text.len())?;
        yield_once().await;
    }
}

/// Runs an execution of a machine whose executions are over in one turn.
pub(super) fn run_now<R>(
    engine: &Engine,
    version: &Version,
    called: Names<'_>,
    number: u64,
    text: &[u8],
    show: impl FnOnce(Ended<'_>) -> R,
) -> Result<Option<R>, StartError> {
    let mut visit = Visit::begin(engine, version, None)?;
    visit.read(called, number, text)?;
    // Were it not over, which cannot be, it would be aborted when it is dropped.
    Ok(visit.turn(|ended, _| match ended {
        Some(ended) => show(ended),
        None => show(Ended::of(&Execution::new(), &super::shard::bug_outcome())),
    }))
}

/// An execution on its caller's thread. It is counted as accepted when it begins, and when it is over as what it came
/// to; dropped before, as aborted.
struct Visit<'e> {
    engine: &'e Engine,
    version: &'e Version,
    seat: Option<Box<Seat>>,
    /// What it was admitted with.
    admitted: Option<usize>,
    /// The time at its beginning, which is that of its first turn.
    began_ms: Option<u64>,
    /// When it began, where it is measured how long executions take.
    began_us: u64,
    took_bytes: usize,
}

impl<'e> Visit<'e> {
    fn begin(
        engine: &'e Engine,
        version: &'e Version,
        watch: Option<Box<Watch>>,
    ) -> Result<Visit<'e>, StartError> {
        let shared = engine.shared();
        engine.lane(|lane| lane.enter());
        let limit = match shared.gate.is_closed_by_now() {
            true => Some(Limit::Draining),
            false => shared.admission.is_full(&version.usage, 0),
        };
        let seat = match limit {
            None => Some(BENCH.with_borrow_mut(Bench::seat)),
            Some(_) => None,
        };
        let mut visit =
            Visit { engine, version, seat, admitted: None, began_ms: None, began_us: 0, took_bytes: 0 };
        if let Some(seat) = &mut visit.seat {
            seat.watch = watch;
        }
        match limit {
            None => Ok(visit),
            Some(limit) => Err(visit.refuse(limit)),
        }
    }

    fn read(&mut self, called: Names<'_>, number: u64, text: &[u8]) -> Result<(), StartError> {
        let Some(seat) = &mut self.seat else { return Ok(()) };
        let shared = self.engine.shared();
        self.began_us = shared.elapsed_us();
        let now_ms = *self.began_ms.insert(shared.time.now_ms());
        let (seed, seconds_max) = (shared.seed(number), self.version.seconds_max);
        let start = Start { seed, now_ms, seconds_max, ..shared.start };
        seat.x.reset();
        seat.identify(self.version, called);
        match json::read(&mut seat.x.arena, text) {
            Ok(input) => {
                seat.x.begin(&self.version.program, &start, input);
                if may_be_watched(shared, self.version, called.trace_header) {
                    self.with_scribe(|seat, shared, scribe, version| {
                        seat.observe(shared, scribe, version, called.trace_header);
                    });
                }
                Ok(())
            }
            Err(error) => {
                self.leave(None);
                Err(error.into())
            }
        }
    }

    /// A turn. If it is the last one, the execution is shown, or nothing after a bug of ours, with the time; then it is
    /// over.
    fn turn<R>(&mut self, show: impl FnOnce(Option<Ended<'_>>, u64) -> R) -> Option<R> {
        let seat = self.seat.as_mut()?;
        let now_ms = self.began_ms.take().unwrap_or_else(|| self.engine.shared().time.now_ms());
        let shown = shown(self.engine);
        let turn = BENCH.with_borrow_mut(|bench| {
            let turn =
                bench.advance(self.version, seat, Event::Go, now_ms, TRANSITIONS_PER_EXECUTION, shown, None);
            bench.effects.clear();
            turn
        });
        let (shown, status) = match (turn, seat.x.outcome()) {
            (Ok(Turn::Yielded), None) => return None,
            (Ok(_), Some(outcome)) => (show(Some(Ended::of(&seat.x, outcome)), now_ms), Status::of(outcome)),
            // Nothing in it waits, so that it parks is a bug as well.
            _ => (show(None, now_ms), Status::Failed),
        };
        self.took_bytes = seat.x.arena.bytes();
        self.tell_end(now_ms);
        self.leave(Some(status));
        Some(shown)
    }

    /// Those who watch an execution that nobody waits for any more learn that it was aborted.
    fn tell_aborted(&mut self) {
        let Some(seat) = self.seat.as_mut().filter(|seat| seat.watch.is_some()) else { return };
        let now_ms = self.engine.shared().time.now_ms();
        let shown = shown(self.engine);
        BENCH.with_borrow_mut(|bench| {
            let abort = Event::Abort(Fault { error: None, cause: None });
            // Whatever came of it, the end is told next.
            let _ = bench.advance(self.version, seat, abort, now_ms, TRANSITIONS_PER_EXECUTION, shown, None);
            bench.effects.clear();
        });
        self.tell_end(now_ms);
    }

    /// It is over: those who watch it learn of it.
    fn tell_end(&mut self, now_ms: u64) {
        if self.seat.as_ref().is_none_or(|seat| seat.watch.is_none()) {
            return;
        }
        self.with_scribe(|seat, shared, scribe, version| {
            seat.tell_end(shared, scribe, version, super::shard::bug_outcome, now_ms);
            seat.hand_over(shared, scribe, version, super::shard::bug_outcome, now_ms);
        });
    }

    /// Calls `work` with what writes down what is shown of executions on this thread.
    fn with_scribe(&mut self, work: impl FnOnce(&mut Seat, &Shared, &mut Scribe, &Version)) {
        let Some(seat) = &mut self.seat else { return };
        let shared = self.engine.shared();
        let mut scribe = shared.desk.as_ref().and_then(|desk| desk.scribe(self.engine.lane_number()));
        match &mut scribe {
            Some(scribe) => work(seat, shared, scribe, self.version),
            None => work(seat, shared, &mut Scribe::default(), self.version),
        }
    }

    /// It goes on when others had their turn: from now on it counts like one that is parked.
    fn stay(&mut self, bytes: usize) -> Result<(), StartError> {
        let admission = &self.engine.shared().admission;
        if self.admitted.is_some() {
            return Ok(());
        }
        match admission.admit(&self.version.usage, 1, bytes) {
            Ok(()) => {
                self.admitted = Some(bytes + ENTRY_BYTES);
                self.engine.lane(|lane| lane.admitted(true));
                Ok(())
            }
            Err(limit) => {
                self.tell_aborted();
                Err(self.refuse(limit))
            }
        }
    }

    fn refuse(&mut self, limit: Limit) -> StartError {
        self.leave(None);
        self.engine.refuse(Some(self.version), limit, 1).into()
    }

    /// It is over, or was never there.
    fn leave(&mut self, status: Option<Status>) {
        if let (Some(status), Some(view)) = (status.and_then(ending), &self.version.view) {
            let lane = self.engine.shared().remotes.len() + self.engine.lane_number();
            let mut endings = [0; 4];
            endings[status as usize] = 1;
            view.machine.began(lane, 1);
            let mut memory = Memory::default();
            memory.add(self.took_bytes);
            let took = Took::Us(self.engine.shared().elapsed_us().saturating_sub(self.began_us));
            view.machine.ended(lane, endings, took, memory);
        }
        if let Some(seat) = self.seat.take() {
            BENCH.with_borrow_mut(|bench| bench.put_back(seat));
        }
        let shared = self.engine.shared();
        let admitted = self.admitted.is_some();
        if let Some(bytes) = self.admitted.take() {
            shared.admission.release(&self.version.usage, 1, bytes);
        }
        self.engine.lane(|lane| {
            lane.leave(status);
            if admitted {
                lane.admitted(false);
            }
        });
        if shared.gate.is_closed_by_now() {
            shared.wake_drainers();
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if self.seat.is_some() {
            self.tell_aborted();
            self.leave(Some(Status::Aborted));
        }
    }
}

/// What shows executions on this thread, and the lane on which they are counted.
fn shown(engine: &Engine) -> (Option<&Desk>, usize) {
    let shared = engine.shared();
    (shared.desk.as_deref(), shared.remotes.len() + engine.lane_number())
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
