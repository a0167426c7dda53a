//! The in-line driver: executions run to their end on the caller's thread, one after the other.
//!
//! For pure workflows and synchronous handlers this is the fastest way to run inside an event pipeline: no hop to
//! another thread, and after the first few executions no allocation either.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::convert::Infallible;
use std::sync::Arc;

use super::clock::{Clock, RealClock};
use super::drive::{self, Effects, Outside, TurnScratch};
use crate::engine::{
    self, Event, EventMask, Execution, Identity, Listener, Start, TaskCall, TimerKind, Token, Turn,
};
use crate::fault::{self, Fault};
use crate::fuel::{Cut, Fuel, Refill, SLICE};
use crate::json::{self, ReadError};
use crate::limits;
use crate::program::{Program, ResourceKind, StateId};
use crate::random;
use crate::task::{self, Handler, Handlers};

pub use crate::engine::Outcome;
pub use crate::task::{Answer, Tasks};

/// The handlers for the tasks of one program, looked up once.
struct Registered {
    by_task: Vec<Option<Arc<dyn Handler>>>,
}

impl Tasks for Registered {
    fn start(&mut self, program: &Program, execution: &mut Execution, call: &TaskCall) -> Answer {
        let handler = self.by_task.get(crate::index::Id::index(call.task)).and_then(Option::as_ref);
        Answer::Now(match handler {
            Some(handler) => task::call(&**handler, program, execution, call),
            None if program.tasks[call.task].resource.kind == ResourceKind::MapRun => {
                let cause =
                    "A distributed Map starts executions, which an in-line driver cannot: use an engine.";
                Err(Fault::new(fault::RUNTIME, cause))
            }
            None => {
                let resource = &program.tasks[call.task].resource;
                Err(task::missing(&resource.arn, program.name(call.state), call.attempt))
            }
        })
    }
}

/// Why an input is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// It is not JSON.
    #[error("the input {verdict}: {0}", verdict = .0.verdict())]
    NotJson(#[from] ReadError),
    /// It is larger than the service limit.
    #[error("the input has {0} bytes, more than the {max} allowed", max = limits::PAYLOAD_BYTES_MAX)]
    TooLarge(usize),
}

/// Runs executions of one program on the caller's thread.
///
/// ```
/// use expressway::runtime::inline::Driver;
/// use expressway::{asl, compile};
///
/// let text = br#"{"StartAt": "Hello", "States": {"Hello": {"Type": "Pass", "Parameters": {"to.$": "$.name"}, "End": true}}}"#;
/// let (definition, problems) = asl::read(text, &asl::Options::default());
/// assert!(problems.is_empty());
/// let program = compile::compile(&definition.unwrap()).unwrap();
/// let mut driver = Driver::new(program.into());
/// let mut output = Vec::new();
/// driver.run(br#"{"name": "Ada"}"#)?.write_output(&mut output);
/// assert_eq!(output, br#"{"to":"Ada"}"#);
/// # Ok::<(), expressway::runtime::inline::InputError>(())
/// ```
pub struct Driver<C = RealClock> {
    program: Arc<Program>,
    tasks: Box<dyn Tasks>,
    clock: C,
    execution: Execution,
    turn_scratch: TurnScratch,
    timers: BinaryHeap<Reverse<Timer>>,
    /// Answers that are still to come, by the number in their timer.
    answers: Vec<Option<Result<Vec<u8>, Fault>>>,
    order: u64,
    /// How far the wall clock is ahead of the monotonic one, and when that was checked.
    ahead_ms: i64,
    ahead_at_ms: Option<u64>,
    seed: u64,
    /// The source of random numbers, if not the seed.
    random: Option<fn() -> u64>,
    start: Start,
    watch: Option<Box<dyn Watch>>,
}

/// Watches executions that take long; see [`Driver::watch`].
pub trait Watch: Send {
    /// Whether the running execution is to end: its outcome is [`Aborted`](Outcome::Aborted).
    fn is_stopped(&self) -> bool;

    /// The state that the running execution goes on with, and its state transitions so far.
    fn goes_on(&mut self, program: &Program, state: StateId, transitions: u64);
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    at_ms: u64,
    /// Timers fire in the order in which they were armed.
    order: u64,
    token: Token,
    what: Due,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Answer(usize),
    Timer(TimerKind),
}

/// How an execution ended.
#[derive(Clone, Copy)]
pub struct Ended<'d> {
    execution: &'d Execution,
    outcome: &'d Outcome,
}

impl Driver<RealClock> {
    /// A driver with the real clock and no handlers.
    pub fn new(program: Arc<Program>) -> Driver<RealClock> {
        Driver::with(program, RealClock, &Handlers::new())
    }
}

impl<C: Clock> Driver<C> {
    /// A driver with a clock and handlers.
    pub fn with(program: Arc<Program>, clock: C, handlers: &Handlers) -> Driver<C> {
        let by_task =
            program.tasks.iter().map(|(_, task)| handlers.find(&task.resource.arn).cloned()).collect();
        Driver::with_tasks(program, clock, Box::new(Registered { by_task }))
    }

    /// A driver whose tasks are answered by `tasks`.
    pub fn with_tasks(program: Arc<Program>, clock: C, tasks: Box<dyn Tasks>) -> Driver<C> {
        Driver {
            program,
            tasks,
            clock,
            execution: Execution::new(),
            turn_scratch: TurnScratch::default(),
            timers: BinaryHeap::new(),
            answers: Vec::new(),
            order: 0,
            ahead_ms: 0,
            ahead_at_ms: None,
            seed: 0,
            random: Some(random::next),
            start: Start::default(),
            watch: None,
        }
    }

    /// Has executions watched that take more than a thousand transitions or so, or much time in one state: every few
    /// milliseconds of their work.
    pub fn watch(&mut self, watch: Box<dyn Watch>) {
        self.watch = Some(watch);
    }

    /// Makes all further results depend on `seed` alone.
    pub fn seed(&mut self, seed: u64) {
        (self.seed, self.random) = (seed, None);
    }

    /// How long an execution may take, and how many bytes.
    pub fn limit(&mut self, seconds_max: u64, bytes_max: usize) {
        self.start.seconds_max = seconds_max;
        self.start.bytes_max = bytes_max;
    }

    /// Sets the identity of the executions that follow.
    pub fn identify(&mut self, identity: Identity) {
        self.execution.identity = identity;
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Runs one execution.
    ///
    /// # Errors
    /// When the input is not JSON or too large. A workflow that fails is not an error here: see [`Ended`].
    // In the caller, so that an `Ended` is two registers: returned through memory it is written as two words and read
    // as one value, which stalls, and that was a tenth of the smallest workflow.
    #[inline]
    pub fn run(&mut self, input: &[u8]) -> Result<Ended<'_>, InputError> {
        self.run_with(input, None)?;
        Ok(Ended::over(&self.execution))
    }

    /// Runs one execution with a listener.
    ///
    /// # Errors
    /// As [`run`](Driver::run).
    pub fn run_listened(
        &mut self,
        input: &[u8],
        listener: &mut dyn Listener,
    ) -> Result<Ended<'_>, InputError> {
        self.run_with(input, Some(listener))?;
        Ok(Ended::over(&self.execution))
    }

    fn run_with(&mut self, input: &[u8], listener: Option<&mut dyn Listener>) -> Result<(), InputError> {
        self.execution.reset();
        self.turn_scratch.effects.clear();
        self.timers.clear();
        self.answers.clear();
        if input.len() > limits::PAYLOAD_BYTES_MAX as usize {
            return Err(InputError::TooLarge(input.len()));
        }
        let input = json::read(&mut self.execution.arena, input)?;
        let seed = match self.random {
            Some(random) => random(),
            None => {
                self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
                self.seed
            }
        };
        let now_ms = self.now_ms();
        let start = Start { seed, now_ms, ahead_ms: self.ahead_ms, ..self.start };
        self.execution.begin(&self.program, &start, input);
        let mut run = Run { driver: self, listener, now_ms };
        let mut event = Event::Go;
        loop {
            let Ok(turn) = drive::drive(&mut run, event);
            event = match turn {
                Turn::Done => return Ok(()),
                Turn::Cut(Cut::Aborted) => Event::Abort(Fault { error: None, cause: None }),
                Turn::Cut(Cut::Deadline) => Event::Deadline,
                Turn::Yielded => run.driver.goes_on(),
                Turn::Parked => run.driver.next_event(),
            };
            run.now_ms = run.driver.now_ms();
        }
    }

    /// The event after a turn that ended before its work did.
    fn goes_on(&mut self) -> Event {
        let Some(watch) = &mut self.watch else { return Event::Go };
        if let Some(state) = self.execution.next_state() {
            watch.goes_on(&self.program, state, self.execution.transitions());
        }
        if watch.is_stopped() { Event::Abort(Fault { error: None, cause: None }) } else { Event::Go }
    }

    /// The time; whether the wall clock was set is checked at intervals, for reading two clocks is a third of the cost
    /// of the smallest workflow.
    fn now_ms(&mut self) -> u64 {
        let now_ms = self.clock.steady_ms();
        if self.ahead_at_ms.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) >= AHEAD_MS) {
            self.ahead_at_ms = Some(now_ms);
            self.ahead_ms = self.clock.now_ms() as i64 - now_ms as i64;
        }
        now_ms
    }

    fn arm(&mut self, at_ms: u64, token: Token, what: Due) {
        self.order += 1;
        self.timers.push(Reverse(Timer { at_ms, order: self.order, token, what }));
    }

    /// Lets time pass until something is due: a timer, an answer, or the end of the execution's time.
    fn next_event(&mut self) -> Event {
        let deadline_ms = self.execution.deadline_ms();
        while let Some(Reverse(timer)) = self.timers.pop() {
            if timer.at_ms >= deadline_ms {
                break;
            }
            if !self.execution.is_current(timer.token) {
                continue;
            }
            self.clock.wait_until(timer.at_ms);
            let answer = match timer.what {
                Due::Timer(kind) => return Event::Timer(timer.token, kind),
                Due::Answer(answer) => self.answers[answer].take(),
            };
            let answer = answer.expect("an answer has one timer, which fires once");
            let result = answer
                .and_then(|text| task::read_answer(&self.program, &mut self.execution, timer.token, &text));
            return drive::task_over(timer.token, result);
        }
        self.clock.wait_until(deadline_ms);
        Event::Deadline
    }
}

/// A running execution, and its listener.
struct Run<'r, 'l, C> {
    driver: &'r mut Driver<C>,
    listener: Option<&'l mut dyn Listener>,
    now_ms: u64,
}

impl<C: Clock> Outside for Run<'_, '_, C> {
    type Work = Event;
    type Stopped = Infallible;

    fn advance(&mut self, event: Event) -> Result<Turn, Infallible> {
        let Driver { program, execution, turn_scratch, clock, ahead_ms, random, watch, .. } =
            &mut *self.driver;
        let watch = watch.as_deref();
        let deadline = Limits { at_ms: execution.deadline_ms(), clock: clock.into(), watch };
        let fuel = Fuel::new(SLICE, &deadline);
        let mut env = turn_scratch.env(self.now_ms, TRANSITIONS_PER_TURN, &fuel);
        (env.ahead_ms, env.random) = (*ahead_ms, *random);
        if let Some(listener) = &mut self.listener {
            env.listener = Some(&mut **listener);
            env.event_mask = EventMask::ALL;
        }
        Ok(engine::advance(program, execution, event, &mut env))
    }

    fn effects(&mut self) -> &mut Effects {
        &mut self.driver.turn_scratch.effects
    }

    fn execution(&self) -> &Execution {
        &self.driver.execution
    }

    fn start_task(&mut self, call: &TaskCall) -> Answer {
        let Driver { program, tasks, execution, .. } = &mut *self.driver;
        let answer = tasks.start(program, execution, call);
        self.now_ms = self.driver.now_ms();
        answer
    }

    fn answer_later(&mut self, token: Token, milliseconds: u64, result: Result<Vec<u8>, Fault>) {
        let answers = &mut self.driver.answers;
        answers.push(Some(result));
        let answer = Due::Answer(answers.len() - 1);
        self.driver.arm(self.now_ms.saturating_add(milliseconds), token, answer);
    }

    fn arm(&mut self, token: Token, kind: TimerKind, at_ms: u64) {
        self.driver.arm(at_ms, token, Due::Timer(kind));
    }

    fn cancel(&mut self, _: Token) {
        // Outdated timers and answers are dropped when they come up.
    }
}

/// Cuts work short when the execution timed out, or is to end.
struct Limits<'c, C> {
    at_ms: u64,
    clock: RefCell<&'c mut C>,
    watch: Option<&'c dyn Watch>,
}

impl<C: Clock> Refill for Limits<'_, C> {
    fn spent(&self, _: u64) -> Result<u64, Cut> {
        if self.watch.is_some_and(Watch::is_stopped) {
            Err(Cut::Aborted)
        } else if self.clock.borrow_mut().steady_ms() >= self.at_ms {
            Err(Cut::Deadline)
        } else {
            Ok(SLICE)
        }
    }
}

/// Milliseconds between two checks of the wall clock.
const AHEAD_MS: u64 = 100;
/// Transitions between two checks of the clock.
const TRANSITIONS_PER_TURN: u32 = 10_000;

impl<C> std::fmt::Debug for Driver<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("execution", &self.execution).finish_non_exhaustive()
    }
}

impl<'d> Ended<'d> {
    /// An execution that is over.
    pub(super) fn over(execution: &'d Execution) -> Ended<'d> {
        let outcome = execution.outcome().expect("a driver hands an execution out only when it is over");
        Ended { execution, outcome }
    }

    /// The end of an execution without an outcome of its own.
    #[cfg(feature = "runtime")]
    pub(super) fn of(execution: &'d Execution, outcome: &'d Outcome) -> Ended<'d> {
        Ended { execution, outcome }
    }

    /// The outcome.
    pub fn outcome(&self) -> &'d Outcome {
        self.outcome
    }

    /// The execution itself, for access to its arena.
    pub fn execution(&self) -> &'d Execution {
        self.execution
    }

    /// Whether it succeeded.
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome(), Outcome::Succeeded(_))
    }

    /// Appends the output as compact JSON, if it succeeded.
    pub fn write_output(&self, out: &mut Vec<u8>) {
        if let Outcome::Succeeded(output) = self.outcome() {
            json::write(&self.execution.arena, *output, out);
        }
    }

    /// As [`write_output`](Ended::write_output), escaped for the inside of a JSON string.
    #[cfg(feature = "api")]
    pub(crate) fn write_output_inside(&self, out: &mut Vec<u8>) {
        if let Outcome::Succeeded(output) = self.outcome() {
            json::write_inside(&self.execution.arena, *output, out);
        }
    }

    /// The output, deserialized.
    ///
    /// # Errors
    /// The fault, if it failed; an error of `States.Runtime` if the output has another shape.
    pub fn output<T: serde::Deserialize<'d>>(&self) -> Result<T, Fault> {
        match self.outcome() {
            Outcome::Succeeded(output) => json::from_value(&self.execution.arena, *output)
                .map_err(|error| Fault::new(fault::RUNTIME, format!("The output: {error}"))),
            Outcome::Failed(fault) | Outcome::Aborted(fault) => Err(fault.clone()),
            Outcome::TimedOut => Err(Fault { error: Some(fault::TIMEOUT.into()), cause: None }),
        }
    }
}
