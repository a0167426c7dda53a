//! The in-line driver: executions run to their end on the caller's thread, one after the other.
//!
//! For pure workflows and synchronous handlers this is the fastest way to sit inside an event pipeline: no hop to
//! another thread, and after the first few executions no allocation either.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::clock::{Clock, RealClock};
use crate::engine::{
    self, Effect, Env, Event, EventMask, Execution, Identity, Listener, Start, TaskCall, TimerKind, Token,
    Turn,
};
use crate::fault::{self, Fault};
use crate::fuel::{Cut, Fuel, Refill, SLICE};
use crate::json::{self, Compactor, ReadError};
use crate::limits;
use crate::program::Program;
use crate::query::jsonata::Scratch;
use crate::random;
use crate::task::{self, Handler, Handlers};

pub use crate::engine::Outcome;
pub use crate::task::{Answer, Tasks};

/// The handlers for the tasks of one program, found once.
struct Registered {
    by_task: Vec<Option<Arc<dyn Handler>>>,
}

impl Tasks for Registered {
    fn start(&mut self, program: &Program, execution: &mut Execution, call: &TaskCall) -> Answer {
        let handler = self.by_task.get(crate::index::Id::index(call.task)).and_then(Option::as_ref);
        Answer::Now(match handler {
            Some(handler) => task::call(&**handler, program, execution, call),
            None => Err(task::missing(&program.tasks[call.task].resource.arn)),
        })
    }
}

/// Why an input does not become an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// It is not JSON.
    #[error("the input is not JSON: {0}")]
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
    effects: Vec<Effect>,
    compactor: Compactor,
    scratch: Scratch,
    timers: BinaryHeap<Reverse<Timer>>,
    /// Answers that are still to come, by the number in their timer.
    answers: Vec<Option<Result<Vec<u8>, Fault>>>,
    order: u64,
    /// How far the clock on the wall is ahead of the one that nobody sets, and when that was looked at.
    ahead_ms: i64,
    ahead_at_ms: Option<u64>,
    seed: u64,
    /// Where random numbers come from, if not from the seed.
    random: Option<fn() -> u64>,
    start: Start,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    at_ms: u64,
    /// What was armed first fires first.
    order: u64,
    token: Token,
    what: Due,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Answer(usize),
    Wake,
    Timeout,
    Heartbeat,
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
            effects: Vec::new(),
            compactor: Compactor::new(),
            scratch: Scratch::default(),
            timers: BinaryHeap::new(),
            answers: Vec::new(),
            order: 0,
            ahead_ms: 0,
            ahead_at_ms: None,
            seed: 0,
            random: Some(random::next),
            start: Start::default(),
        }
    }

    /// Makes all that follows depend on `seed` alone.
    pub fn seed(&mut self, seed: u64) {
        (self.seed, self.random) = (seed, None);
    }

    /// How long an execution may take, and how many bytes.
    pub fn limit(&mut self, seconds_max: u64, bytes_max: usize) {
        self.start.seconds_max = seconds_max;
        self.start.bytes_max = bytes_max;
    }

    /// What the executions to come are called.
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
    /// When the input is not JSON or too large. A workflow that fails is not an error here: ask [`Ended`].
    // In the caller, so that an `Ended` is two registers: handed back through memory it is written as two words and read
    // as one value, which waits, and that was a tenth of the smallest workflow.
    #[inline]
    pub fn run(&mut self, input: &[u8]) -> Result<Ended<'_>, InputError> {
        self.run_with(input, None)?;
        Ok(Ended::over(&self.execution))
    }

    /// Runs one execution and tells `listener` what happens.
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

    fn run_with(&mut self, input: &[u8], mut listener: Option<&mut dyn Listener>) -> Result<(), InputError> {
        self.execution.reset();
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
        let mut now_ms = start.now_ms;
        let mut event = Event::Go;
        loop {
            let turn = self.advance(event, now_ms, &mut listener);
            if turn == Turn::Done {
                return Ok(());
            }
            if let Turn::Cut(_) = turn {
                // Nothing of what it wanted is done: its time is over.
                self.effects.clear();
                (event, now_ms) = (Event::Deadline, self.now_ms());
                continue;
            }
            event = match self.carry_out(now_ms) {
                Some(event) => event,
                None if turn == Turn::Yielded => Event::Go,
                None => self.next_event(),
            };
            now_ms = self.now_ms();
        }
    }

    /// The time; whether the clock on the wall was set is looked at now and then, for two clocks are a third of the cost
    /// of the smallest workflow.
    fn now_ms(&mut self) -> u64 {
        let now_ms = self.clock.steady_ms();
        if self.ahead_at_ms.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) >= AHEAD_MS) {
            self.ahead_at_ms = Some(now_ms);
            self.ahead_ms = self.clock.now_ms() as i64 - now_ms as i64;
        }
        now_ms
    }

    fn advance(&mut self, event: Event, now_ms: u64, listener: &mut Option<&mut dyn Listener>) -> Turn {
        let listening = listener.is_some();
        let deadline = Deadline { at_ms: self.execution.deadline_ms(), clock: (&mut self.clock).into() };
        let mut env = Env {
            now_ms,
            ahead_ms: self.ahead_ms,
            transitions_max: TRANSITIONS_PER_TURN,
            fuel: &Fuel::new(SLICE, &deadline),
            effects: &mut self.effects,
            listener: match listener {
                Some(listener) => Some(&mut **listener),
                None => None,
            },
            event_mask: if listening { EventMask::ALL } else { EventMask::NONE },
            compactor: &mut self.compactor,
            scratch: &mut self.scratch,
            event_buffer: None,
            random: self.random,
            activities: None,
        };
        engine::advance(&self.program, &mut self.execution, event, &mut env)
    }

    /// Arms timers and starts tasks; stops at the first task that has its answer, which is the next event.
    fn carry_out(&mut self, now_ms: u64) -> Option<Event> {
        let mut effects = std::mem::take(&mut self.effects);
        let mut event = None;
        let mut done = 0;
        for effect in &effects {
            done += 1;
            match effect {
                Effect::Timer { token, kind, at_ms } => {
                    let what = match kind {
                        TimerKind::Wake => Due::Wake,
                        TimerKind::Timeout => Due::Timeout,
                        TimerKind::Heartbeat => Due::Heartbeat,
                    };
                    self.arm(*at_ms, *token, what);
                }
                // Timers and answers of the past are dropped when they come up.
                Effect::Cancel(_) => {}
                Effect::Task(call) if self.execution.is_current(call.token) => {
                    match self.tasks.start(&self.program, &mut self.execution, call) {
                        Answer::Now(Ok(output)) => event = Some(Event::TaskSucceeded(call.token, output)),
                        Answer::Now(Err(fault)) => event = Some(Event::TaskFailed(call.token, fault)),
                        Answer::After(ms, result) => {
                            self.answers.push(Some(result));
                            self.arm(
                                now_ms.saturating_add(ms),
                                call.token,
                                Due::Answer(self.answers.len() - 1),
                            );
                        }
                        Answer::Never => {}
                    }
                }
                Effect::Task(_) => {}
            }
            if event.is_some() {
                break;
            }
        }
        effects.drain(..done);
        // Nothing was added meanwhile: only `advance` adds effects.
        self.effects = effects;
        event
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
            match timer.what {
                Due::Wake => return Event::Timer(timer.token, TimerKind::Wake),
                Due::Timeout => return Event::Timer(timer.token, TimerKind::Timeout),
                Due::Heartbeat => return Event::Timer(timer.token, TimerKind::Heartbeat),
                Due::Answer(answer) => match self.answers[answer].take() {
                    Some(Ok(text)) => match json::read(&mut self.execution.arena, &text) {
                        Ok(output) => return Event::TaskSucceeded(timer.token, output),
                        Err(error) => {
                            let cause = format!("The task's result is not JSON: {error}");
                            return Event::TaskFailed(timer.token, Fault::new(fault::TASK_FAILED, cause));
                        }
                    },
                    Some(Err(fault)) => return Event::TaskFailed(timer.token, fault),
                    None => {}
                },
            }
        }
        self.clock.wait_until(deadline_ms);
        Event::Deadline
    }
}

/// Cuts work short when the execution's time is over.
struct Deadline<'c, C> {
    at_ms: u64,
    clock: RefCell<&'c mut C>,
}

impl<C: Clock> Refill for Deadline<'_, C> {
    fn spent(&self, _: u64) -> Result<u64, Cut> {
        match self.clock.borrow_mut().steady_ms() >= self.at_ms {
            true => Err(Cut::Deadline),
            false => Ok(SLICE),
        }
    }
}

/// Milliseconds between two looks at the clock on the wall.
const AHEAD_MS: u64 = 100;
/// Transitions between two looks at the clock.
const TRANSITIONS_PER_TURN: u32 = 10_000;

impl<C> std::fmt::Debug for Driver<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("execution", &self.execution).finish_non_exhaustive()
    }
}

impl<'d> Ended<'d> {
    /// An execution that is over.
    pub(super) fn over(execution: &'d Execution) -> Ended<'d> {
        // A driver hands an execution out only when it is over.
        Ended { execution, outcome: execution.outcome().unwrap_or(&Outcome::TimedOut) }
    }

    /// An execution that ended without a word of its own.
    #[cfg(feature = "runtime")]
    pub(super) fn of(execution: &'d Execution, outcome: &'d Outcome) -> Ended<'d> {
        Ended { execution, outcome }
    }

    /// The outcome.
    pub fn outcome(&self) -> &'d Outcome {
        self.outcome
    }

    /// The execution itself, for those who want to look into its arena.
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

    /// As [`write_output`](Ended::write_output), as it stands inside of a JSON string.
    #[cfg(feature = "api")]
    pub(crate) fn write_output_inside(&self, out: &mut Vec<u8>) {
        if let Outcome::Succeeded(output) = self.outcome() {
            json::write_inside(&self.execution.arena, *output, out);
        }
    }

    /// The output as a type of the caller's own.
    ///
    /// # Errors
    /// The fault, if it failed; an error of `States.Runtime` if the output has another shape.
    pub fn output<T: serde::Deserialize<'d>>(&self) -> Result<T, Fault> {
        match self.outcome() {
            Outcome::Succeeded(output) => json::from_value(&self.execution.arena, *output)
                .map_err(|error| Fault::new(fault::RUNTIME, error.to_string())),
            Outcome::Failed(fault) | Outcome::Aborted(fault) => Err(fault.clone()),
            Outcome::TimedOut => Err(Fault { error: Some(fault::TIMEOUT.into()), cause: None }),
        }
    }
}
