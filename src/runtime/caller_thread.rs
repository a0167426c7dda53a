//! Executions that neither wait nor call, on the thread of the caller: no hand-over, no wake-up, nothing shared but
//! counters.

use std::cell::RefCell;

use super::admission::Limit;
use super::completion::IdentityRef;
use super::context::{Bug, ExecutionBuffer, Setting, WorkerScratch};
use super::engine::Engine;
use super::inbox::Shared;
use super::inline::Ended;
use super::job::TRANSITIONS_PER_EXECUTION;
use super::machine::Version;
use super::observation::{ending, may_be_watched};
use super::outcome::Status;
use super::start::StartError;
use crate::engine::{Event, Start, Turn};
use crate::fault::Fault;
use crate::fuel::{Cut, Fuel, Refill, SLICE};
use crate::json;
use crate::observe::{LogBuffer, Memory, Took};

thread_local! {
    /// This thread's buffers for running executions.
    static WORKER_SCRATCH: RefCell<WorkerScratch> = RefCell::default();
}

/// Runs an execution of a machine that neither waits nor calls on this thread. `None`, without an execution, when it is
/// not over within a slice of fuel: it has had no visible effect, so it may begin anew on a shard, where it takes turns
/// with others.
///
/// It takes nothing from the budgets: at most one of these runs per thread, and counting them in shared counters would
/// cost more than the smallest of them takes.
pub(super) fn run_now<R>(
    engine: &Engine,
    version: &Version,
    start_identity: IdentityRef<'_>,
    number: u64,
    text: &[u8],
    show: impl FnOnce(Option<Ended<'_>>, u64) -> R,
) -> Result<Option<R>, StartError> {
    // Watchers would see it begin twice.
    if !version.is_short && may_be_watched(engine.shared(), version, start_identity.trace_header) {
        return Ok(None);
    }
    let mut run = CallerThreadRun::begin(engine, version)?;
    run.read(start_identity, number, text)?;
    Ok(run.turn(show))
}

/// Cuts an execution that is not over when its slice is spent.
struct OneSlice;

impl Refill for OneSlice {
    fn spent(&self, _: u64) -> Result<u64, Cut> {
        Err(Cut::Aborted)
    }
}

/// An execution on its caller's thread. It is counted as accepted when it begins, and by its status when it ends; as
/// aborted, if it is dropped before.
struct CallerThreadRun<'e> {
    engine: &'e Engine,
    version: &'e Version,
    buffer: Option<Box<ExecutionBuffer>>,
    /// The time at its beginning, which is that of its turn.
    began_ms: u64,
    ahead_ms: i64,
    /// When it began, if durations of executions are measured.
    began_us: u64,
    took_bytes: usize,
}

impl<'e> CallerThreadRun<'e> {
    fn begin(engine: &'e Engine, version: &'e Version) -> Result<CallerThreadRun<'e>, StartError> {
        let shared = engine.shared();
        engine.stripe(|stripe| stripe.enter());
        let limit = if shared.gate.is_closed_by_now() {
            Some(Limit::Draining)
        } else {
            shared.admission.is_full(&version.usage, 0)
        };
        let buffer = match limit {
            None => Some(WORKER_SCRATCH.with_borrow_mut(WorkerScratch::buffer)),
            Some(_) => None,
        };
        let mut run =
            CallerThreadRun { engine, version, buffer, began_ms: 0, ahead_ms: 0, began_us: 0, took_bytes: 0 };
        match limit {
            None => Ok(run),
            Some(limit) => Err(run.refuse(limit)),
        }
    }

    fn read(&mut self, start_identity: IdentityRef<'_>, number: u64, text: &[u8]) -> Result<(), StartError> {
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        let shared = self.engine.shared();
        self.began_us = shared.elapsed_us();
        let now_ms = shared.time.steady_ms();
        (self.began_ms, self.ahead_ms) = (now_ms, shared.ahead_ms(now_ms));
        let (seed, seconds_max) = (shared.seed(number), self.version.seconds_max);
        let start = Start { seed, now_ms, ahead_ms: self.ahead_ms, seconds_max, ..shared.start };
        buffer.execution.reset();
        buffer.identify(self.version, start_identity);
        match json::read(&mut buffer.execution.arena, text) {
            Ok(input) => {
                buffer.execution.begin(&self.version.program, &start, input);
                if may_be_watched(shared, self.version, start_identity.trace_header) {
                    self.with_log_buffer(|buffer, shared, log_buffer, version| {
                        buffer.observe(shared, log_buffer, version, start_identity.trace_header);
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

    /// Runs its turn. If the execution is over then, calls `show` with its end, or with `None` after a bug of the
    /// engine, and the time.
    fn turn<R>(&mut self, show: impl FnOnce(Option<Ended<'_>>, u64) -> R) -> Option<R> {
        let now_ms = self.began_ms;
        let turn = self.advance(Event::Go, &Fuel::new(SLICE, &OneSlice));
        let buffer = self.buffer.as_mut()?;
        let (shown, status) = match (turn, buffer.execution.outcome()) {
            (Ok(Turn::Yielded | Turn::Cut(_)), None) => {
                self.version.took_too_long_here();
                self.leave(None);
                return None;
            }
            (Ok(_), Some(outcome)) => {
                (show(Some(Ended::of(&buffer.execution, outcome)), now_ms), Status::of(outcome))
            }
            // Nothing in it waits, so parking is a bug as well.
            _ => (show(None, now_ms), Status::Failed),
        };
        self.took_bytes = buffer.execution.arena.bytes();
        self.tell_end(now_ms);
        self.leave(Some(status));
        Some(shown)
    }

    fn advance(&mut self, event: Event, fuel: &Fuel<'_>) -> Result<Turn, Bug> {
        let shared = self.engine.shared();
        let setting = Setting {
            version: self.version,
            now_ms: self.began_ms,
            ahead_ms: self.ahead_ms,
            transitions_max: TRANSITIONS_PER_EXECUTION,
            is_last_state: false,
            fuel,
            shown: (shared.observability.as_deref(), shared.remotes.len() + self.engine.stripe_number()),
            random: shared.random,
            activities: None,
        };
        let Some(buffer) = &mut self.buffer else { return Err(Bug) };
        WORKER_SCRATCH.with_borrow_mut(|worker_scratch| {
            let turn = setting.advance(&mut worker_scratch.turn_scratch, buffer, event);
            worker_scratch.turn_scratch.effects.clear();
            turn
        })
    }

    /// Reports an abandoned execution to its watchers as aborted.
    fn tell_aborted(&mut self) {
        if self.buffer.as_ref().is_none_or(|buffer| buffer.watch.is_none()) {
            return;
        }
        // The result is ignored; the end is reported below either way.
        let _ = self.advance(Event::Abort(Fault { error: None, cause: None }), &Fuel::unlimited());
        self.tell_end(self.began_ms);
    }

    /// It is over: notifies its watchers.
    fn tell_end(&mut self, now_ms: u64) {
        if self.buffer.as_ref().is_none_or(|buffer| buffer.watch.is_none()) {
            return;
        }
        self.with_log_buffer(|buffer, shared, log_buffer, version| {
            buffer.tell_end(shared, log_buffer, version, super::shard::bug_outcome, now_ms);
            buffer.hand_over(shared, log_buffer, version, super::shard::bug_outcome, now_ms);
        });
    }

    /// Calls `work` with this thread's log buffer.
    fn with_log_buffer(
        &mut self,
        work: impl FnOnce(&mut ExecutionBuffer, &Shared, &mut LogBuffer, &Version),
    ) {
        let Some(buffer) = &mut self.buffer else { return };
        let shared = self.engine.shared();
        let mut log_buffer = shared
            .observability
            .as_ref()
            .and_then(|observability| observability.log_buffer(self.engine.stripe_number()));
        match &mut log_buffer {
            Some(log_buffer) => work(buffer, shared, log_buffer, self.version),
            None => work(buffer, shared, &mut LogBuffer::default(), self.version),
        }
    }

    fn refuse(&mut self, limit: Limit) -> StartError {
        self.leave(None);
        self.engine.refuse(Some(self.version), limit, 1).into()
    }

    /// Releases the execution; without a status, it counts as never started.
    fn leave(&mut self, status: Option<Status>) {
        if let (Some(status), Some(counters)) = (status.and_then(ending), &self.version.counters) {
            let stripe = self.engine.shared().remotes.len() + self.engine.stripe_number();
            let mut endings = [0; 4];
            endings[status as usize] = 1;
            counters.machine.began(stripe, 1);
            let mut memory = Memory::default();
            memory.add(self.took_bytes);
            let took = Took::Us(self.engine.shared().elapsed_us().saturating_sub(self.began_us));
            counters.machine.ended(stripe, endings, took, memory);
        }
        if let Some(buffer) = self.buffer.take() {
            WORKER_SCRATCH.with_borrow_mut(|worker_scratch| worker_scratch.put_back(buffer));
        }
        let shared = self.engine.shared();
        self.engine.stripe(|stripe| stripe.leave(status));
        if shared.gate.is_closed_by_now() {
            shared.made_room();
        }
    }
}

impl Drop for CallerThreadRun<'_> {
    fn drop(&mut self) {
        if self.buffer.is_some() {
            self.tell_aborted();
            self.leave(Some(Status::Aborted));
        }
    }
}
