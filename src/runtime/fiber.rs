//! Turns of the engine that may be suspended inside an expression: each runs on a stack of its own, which it leaves
//! when its slice of fuel is spent, and to which it returns at its state machine's next turn.

use std::cell::Cell;
use std::sync::Arc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::completion::Reply;
use super::context::{self, Bug, ExecutionBuffer};
use super::drive::TurnScratch;
use super::inbox::Shared;
use super::job::activity_work;
use super::machine::Version;
use crate::engine::{Event, Turn};
use crate::fuel::{Cut, Fuel, Refill};
use crate::json::Held;
use crate::limits;

/// What a turn takes along to its own stack.
pub(super) struct FiberTurn {
    pub(super) shared: Arc<Shared>,
    pub(super) version: Arc<Version>,
    pub(super) reply: Reply,
    pub(super) buffer: Box<ExecutionBuffer>,
    pub(super) turn_scratch: Box<TurnScratch>,
    pub(super) event: Event,
    pub(super) now_ms: u64,
    pub(super) ahead_ms: i64,
    pub(super) transitions_max: u32,
    pub(super) stripe: usize,
}

/// The result of a finished turn.
pub(super) struct Finished {
    pub(super) buffer: Box<ExecutionBuffer>,
    pub(super) turn_scratch: Box<TurnScratch>,
    pub(super) turn: Result<Turn, Bug>,
    work: u64,
}

/// What a turn is resumed with: its next slice, and for how long it ran until now, if there is a clock.
#[derive(Clone, Copy)]
struct Word {
    slice: Result<u64, Cut>,
    busy_ns: Option<u64>,
}

type Turning = Coroutine<Word, Rest, Finished, DefaultStack>;

/// What a turn reports when it is suspended: the work it did since the last time, and whether it is inside an operation
/// that must not be cut.
type Rest = (u64, bool);

/// A suspended turn.
pub(super) struct Fiber {
    turning: Option<Turning>,
    /// Work that was reported.
    told: u64,
    busy_ns: u64,
    /// Whether it is inside an operation that must not be cut.
    pub(super) is_whole: bool,
    /// The bytes its arena holds.
    held: Arc<Held>,
    /// Whether it is counted as suspended.
    pub(super) is_counted: bool,
}

impl std::fmt::Debug for Fiber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fiber").field("told", &self.told).finish_non_exhaustive()
    }
}

/// How far a turn came, and the work it did since the last time.
pub(super) enum Step {
    Suspended(Fiber, u64),
    Finished(Finished, u64),
}

/// Stacks for reuse.
#[derive(Default)]
pub(super) struct Stacks(Vec<DefaultStack>);

impl Stacks {
    /// A turn that has not begun; the `FiberTurn` again, when the system has no stack for it.
    pub(super) fn prepare(&mut self, mut errand: FiberTurn) -> Result<Fiber, Box<FiberTurn>> {
        let stack = match self.0.pop() {
            Some(stack) => stack,
            None => match DefaultStack::new(limits::FIBER_STACK_BYTES) {
                Ok(stack) => stack,
                Err(_) => return Err(Box::new(errand)),
            },
        };
        let held = errand.buffer.execution.arena.told_bytes();
        let turning = Turning::with_stack(stack, move |yielder, word| errand.run(yielder, word));
        Ok(Fiber { turning: Some(turning), told: 0, busy_ns: 0, is_whole: false, held, is_counted: false })
    }

    /// Runs a turn for another slice, or cuts it. `busy_ns` is how long it ran since it was suspended before.
    pub(super) fn resume(&mut self, mut fiber: Fiber, slice: Result<u64, Cut>, has_clock: bool) -> Step {
        let word = Word { slice, busy_ns: has_clock.then_some(fiber.busy_ns) };
        let turning = fiber.turning.as_mut().expect("a fiber has its turn until that is over");
        match turning.resume(word) {
            CoroutineResult::Yield((work, is_whole)) => {
                fiber.is_whole = is_whole;
                fiber.told = fiber.told.saturating_add(work);
                Step::Suspended(fiber, work)
            }
            CoroutineResult::Return(finished) => {
                let work = finished.work.saturating_sub(fiber.told);
                if let Some(turning) = fiber.turning.take()
                    && self.0.len() < limits::FIBERS_KEPT_MAX
                {
                    self.0.push(turning.into_stack());
                }
                Step::Finished(finished, work)
            }
        }
    }
}

impl Fiber {
    /// Bytes that it takes: its values, and the usual size of the touched part of its stack.
    pub(super) fn bytes(&self) -> usize {
        self.held.bytes() + limits::FIBER_BILL_BYTES
    }

    /// Sets whether it gets no more memory for now.
    pub(super) fn has_enough(&self, has_enough: bool) {
        self.held.has_enough(has_enough);
    }

    /// It ran for so long.
    pub(super) fn ran(&mut self, nanoseconds: u64) {
        self.busy_ns = self.busy_ns.saturating_add(nanoseconds);
    }
}

impl Drop for Fiber {
    /// A turn that is in progress is cut rather than dropped, so that it ends in order.
    fn drop(&mut self) {
        let Some(turning) = &mut self.turning else { return };
        while turning.started() && !turning.done() {
            let word = Word { slice: Err(Cut::Aborted), busy_ns: None };
            if let CoroutineResult::Return(_) = turning.resume(word) {
                break;
            }
        }
    }
}

impl FiberTurn {
    fn run(self, yielder: &Yielder<Word, Rest>, word: Word) -> Finished {
        let suspending = Suspending { yielder, busy_ns: Cell::new(word.busy_ns), holds: Cell::new(false) };
        // The first word is always a slice.
        let fuel = Fuel::new(word.slice.unwrap_or_default(), &suspending);
        self.run_with(&fuel)
    }

    pub(super) fn run_with(self, fuel: &Fuel<'_>) -> Finished {
        let FiberTurn {
            shared, version, reply, mut buffer, mut turn_scratch, event, now_ms, ahead_ms, ..
        } = self;
        let (transitions_max, stripe) = (self.transitions_max, self.stripe);
        let is_last_state = reply.completion().is_some_and(|completion| completion.is_last_state());
        let start_identity = reply.start_identity();
        let activities = |state, task| activity_work(&shared, &version, start_identity, state, task);
        let setting = context::Setting {
            version: &version,
            now_ms,
            ahead_ms,
            transitions_max,
            is_last_state,
            fuel,
            shown: (shared.observability.as_deref(), stripe),
            random: shared.random,
            activities: Some(&activities),
        };
        let turn = setting.advance(&mut turn_scratch, &mut buffer, event);
        Finished { buffer, turn_scratch, turn, work: fuel.used() }
    }
}

/// Suspends a turn when its slice is spent.
struct Suspending<'y> {
    yielder: &'y Yielder<Word, Rest>,
    busy_ns: Cell<Option<u64>>,
    holds: Cell<bool>,
}

impl Refill for Suspending<'_> {
    fn spent(&self, work: u64) -> Result<u64, Cut> {
        let Word { slice, busy_ns } = self.yielder.suspend((work, self.holds.get()));
        self.busy_ns.set(busy_ns);
        slice
    }

    fn hold(&self, holds: bool) {
        self.holds.set(holds);
    }

    fn busy_ns(&self) -> Option<u64> {
        self.busy_ns.get()
    }
}
