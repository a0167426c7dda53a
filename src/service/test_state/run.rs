//! A test from its request to its answer, without I/O.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::mock::{self, Mocked};
use super::model::{
    Inspection, InspectionLevel, Surroundings, TestState, TestStatus, TestedState, unreadable,
};
use super::subject::{Compiled, Subject};
use super::trace::Trace;
use super::{batch, context, reader};
use crate::asl::model::StateKind;
use crate::engine::{
    self, Env, Event, EventMask, Execution, Outcome, Start, TaskCall, TimerKind, Token, Turn, Visit, Visited,
};
use crate::fault::{self, Fault};
use crate::fuel::{Cut, Fuel, Refill, SLICE};
use crate::json::explain::explain;
use crate::json::{self, Value};
use crate::limits;
use crate::program::{Program, StateId};
use crate::random;
use crate::runtime::drive::{self, Effects, Outside, TurnScratch};
use crate::service::Error;
use crate::task::{self, Answer};

/// A test under way.
pub struct Test {
    subject: Subject,
    program: Program,
    batch: Option<Batch>,
    /// The names of the variables, by slot.
    variables: Vec<String>,
    level: InspectionLevel,
    input: String,
    mocked: Option<Mocked>,
    failures: Option<u32>,
    execution: Execution,
    trace: Trace,
    /// The items that `ItemsPointer` points to, as JSON text.
    pointed: Option<String>,
    turn_scratch: TurnScratch,
    /// The token of the task or timer it waits for.
    waiting: Option<Token>,
    pub(super) patience: Patience,
}

/// How long a test may compute: unlike a workflow, it does not take turns with others.
pub(super) struct Patience {
    until: Instant,
    /// Set when the caller no longer waits.
    pub(super) departed: Option<Arc<AtomicBool>>,
}

impl Patience {
    fn new() -> Patience {
        Patience {
            until: Instant::now() + Duration::from_secs(limits::TEST_STATE_SECONDS_MAX),
            departed: None,
        }
    }
}

impl Refill for Patience {
    fn spent(&self, _: u64) -> Result<u64, Cut> {
        if self.departed.as_ref().is_some_and(|departed| departed.load(Ordering::Relaxed)) {
            Err(Cut::Aborted)
        } else if Instant::now() >= self.until {
            Err(Cut::Deadline)
        } else {
            Ok(SLICE)
        }
    }
}

/// What is needed to evaluate `ItemBatcher`.
struct Batch {
    state: StateId,
    variables: Option<String>,
    context: String,
    start: Start,
}

/// How far a test has come.
#[derive(Debug)]
pub enum Progress {
    /// It is over.
    Done(Box<TestedState>),
    /// This task must be done; answer with [`News::Answer`].
    Task(Box<TaskWanted>),
    /// It waits until this time, in milliseconds since 1970; then continue with [`News::Time`].
    Wait {
        /// Until when. A test may take five minutes at most; this is never later.
        until_ms: u64,
    },
}

/// The input of a step.
#[derive(Debug)]
pub enum News {
    /// The test begins.
    Begin,
    /// The task's result: JSON text.
    Answer(Result<Vec<u8>, Fault>),
    /// The awaited time has come.
    Time,
}

/// A task that must be done.
#[derive(Clone, Debug)]
pub struct TaskWanted {
    /// The ARN of the resource.
    pub resource: String,
    /// JSON text.
    pub input: String,
    /// `Credentials`: JSON text of an object with `RoleArn`.
    pub credentials: Option<String>,
    /// `TimeoutSeconds`
    pub timeout_seconds: Option<u64>,
    /// `HeartbeatSeconds`
    pub heartbeat_seconds: Option<u64>,
}

impl Test {
    /// Reads the request.
    ///
    /// # Errors
    /// AWS's exceptions and words: `ValidationException`, `InvalidDefinition`, `InvalidExecutionInput`.
    pub fn new(request: &TestState, surroundings: &Surroundings) -> Result<Test, Error> {
        mock::check_request(request)?;
        let subject = Subject::read(request, surroundings)?;
        mock::check_state(request, &subject)?;
        if let Some(context) = &request.context {
            context::check(context, &subject)?;
        }
        let mocked = mock::mocked(request, &subject)?;
        let input = request.input.clone().unwrap_or_else(|| "{}".to_owned());
        let mut names = Vec::new();
        let given = request.variables.as_deref().map(variables).transpose()?;
        names.extend(given.iter().flatten().cloned());
        let reading = read_items(request, &subject)?;
        let Compiled { program, state, batch } =
            subject.program(&mut names, reading.as_ref().map(|read| &*read.items))?;
        let mut execution = Execution::new();
        execution.reset();
        let parsed = read_input(&mut execution, &input)?;
        let variables = match &request.variables {
            Some(text) => read(&mut execution, text)?,
            None => Value::UNDEFINED,
        };
        let retries = request.configuration.retrier_retry_count;
        let retries = retries.or_else(|| context::retry_count(request.context.as_deref()?)).unwrap_or(0);
        let made = || {
            let input: Json = serde_json::from_str(&input).unwrap_or_default();
            context::made(request, surroundings, &subject, &input, retries)
        };
        let context_text = request.context.clone().unwrap_or_else(made);
        let context = read(&mut execution, &context_text)?;
        let start = Start {
            seed: surroundings.seed,
            now_ms: surroundings.now_ms,
            bytes_max: limits::TEST_STATE_BYTES_MAX,
            ..Start::default()
        };
        let visit = Visit { state, variables, context, retries };
        execution.begin_visit(&program, &start, parsed, &visit);
        let batch = batch.map(|state| Batch {
            state,
            variables: request.variables.clone(),
            context: context_text,
            start,
        });
        Ok(Test {
            subject,
            program,
            batch,
            variables: names,
            level: request.inspection_level,
            input,
            mocked,
            failures: request.configuration.map_iteration_failure_count,
            execution,
            trace: Trace::new(request.inspection_level),
            pointed: reading.filter(|read| read.pointed).map(|read| read.items),
            turn_scratch: TurnScratch::default(),
            waiting: None,
            patience: Patience::new(),
        })
    }

    /// Limits the bytes of its values, below what any test may have.
    pub(super) fn limit(&mut self, bytes_max: usize) {
        self.execution.arena.set_bytes_max(bytes_max.min(limits::TEST_STATE_BYTES_MAX));
        if let Some(batch) = &mut self.batch {
            batch.start.bytes_max = bytes_max.min(limits::TEST_STATE_BYTES_MAX);
        }
    }

    /// Continues with this input.
    ///
    /// # Errors
    /// What can only be refused when the state's items are known: `ValidationException`.
    pub fn advance(&mut self, news: News, now_ms: u64) -> Result<Progress, Error> {
        let event = match (news, self.waiting.take()) {
            _ if now_ms >= self.execution.deadline_ms() => Event::Deadline,
            (News::Answer(answer), Some(token)) => {
                let (program, execution) = (&self.program, &mut self.execution);
                drive::task_over(
                    token,
                    answer.and_then(|text| task::read_answer(program, execution, token, &text)),
                )
            }
            (News::Time, Some(token)) => Event::Timer(token, TimerKind::Wake),
            _ => Event::Go,
        };
        let mut wanted = self.drive(event, now_ms)?;
        loop {
            match self.execution.visited() {
                Visited::Inside if self.trace.details.retry_backoff_interval_seconds.is_some() => {
                    return Ok(self.done(None));
                }
                Visited::Inside => {}
                Visited::Left(state, output) => {
                    let next = self.program.name(state).to_owned();
                    return Ok(self.done(Some((output, Some(next)))));
                }
                Visited::Over => return Ok(self.over()),
            }
            match wanted {
                Some(Wanted::Task(call)) => return Ok(self.task(call)),
                Some(Wanted::Wake(token, at_ms)) => {
                    self.waiting = Some(token);
                    return Ok(Progress::Wait { until_ms: at_ms.min(self.execution.deadline_ms()) });
                }
                // It can no longer succeed.
                None => wanted = self.drive(Event::Deadline, now_ms)?,
            }
        }
    }

    /// Runs the execution; returns what it waits for then.
    fn drive(&mut self, event: Event, now_ms: u64) -> Result<Option<Wanted>, Error> {
        let mut run = Run { test: self, now_ms, wanted: None };
        drive::drive(&mut run, event)?;
        Ok(run.wanted)
    }

    fn is_joining(&self) -> bool {
        let joins = matches!(self.subject.state.kind, StateKind::Map(_) | StateKind::Parallel(_));
        joins && matches!(self.execution.visited(), Visited::Inside) && self.trace.fault.is_none()
    }

    /// The mock replaces the results of a Map's iterations or a Parallel's branches.
    fn complete_children(&mut self, mocked: Mocked, now_ms: u64) -> Result<(), Error> {
        let result = match mocked {
            Mocked::Error(fault) => Err(fault),
            Mocked::Result(text) => {
                if self.exceeds_tolerance(&text)? {
                    Err(Fault::new(fault::EXCEED_TOLERATED_FAILURE_THRESHOLD, EXCEEDED))
                } else {
                    Ok(read(&mut self.execution, &text)?)
                }
            }
        };
        let Test { program, execution, turn_scratch, trace, patience, .. } = self;
        let fuel = Fuel::new(SLICE, patience);
        let mut env = listened(turn_scratch, trace, now_ms, 0, &fuel);
        engine::complete_children(program, execution, result, &mut env);
        Ok(())
    }

    /// Whether more iterations failed than the Map tolerates. Recorded: one without a tolerance is not checked.
    fn exceeds_tolerance(&self, result: &str) -> Result<bool, Error> {
        let Some(failures) = self.failures else { return Ok(false) };
        let iterations = match serde_json::from_str::<Json>(result) {
            Ok(Json::Array(items)) => items.len(),
            _ => self.trace.items_count,
        };
        if failures as usize > iterations {
            return Err(Error::validation(mock::TOO_MANY_FAILURES));
        }
        let by_count = self.trace.tolerated_count.map(|most| most as f64);
        let by_percentage = self.trace.tolerated_percentage.map(|most| iterations as f64 * most / 100.0);
        let tolerated = [by_count, by_percentage].into_iter().flatten().reduce(f64::min);
        Ok(tolerated.is_some_and(|most| f64::from(failures) > most))
    }

    fn task(&mut self, call: TaskCall) -> Progress {
        self.waiting = Some(call.token);
        let arena = &self.execution.arena;
        let text = |value: Option<Value>| {
            value.filter(|value| !value.is_undefined()).map(|value| json::to_string(arena, value))
        };
        Progress::Task(Box::new(TaskWanted {
            resource: self.program.tasks[call.task].resource.arn.to_string(),
            input: text(self.execution.task_input(call.token)).unwrap_or_default(),
            credentials: text(self.execution.task_credentials(call.token)),
            timeout_seconds: call.timeout_seconds,
            heartbeat_seconds: call.heartbeat_seconds,
        }))
    }

    fn over(&mut self) -> Progress {
        match self.execution.outcome().cloned() {
            Some(Outcome::Succeeded(output)) => self.done(Some((output, None))),
            Some(Outcome::Failed(fault) | Outcome::Aborted(fault)) => {
                self.trace.fault = Some(fault);
                self.done(None)
            }
            None => unreachable!("it was found to be over"),
            Some(Outcome::TimedOut) => {
                self.trace.fault = Some(Fault { error: Some(fault::TIMEOUT.into()), cause: None });
                self.done(None)
            }
        }
    }

    /// The answer: with the output and the next state, unless it failed.
    fn done(&mut self, left: Option<(Value, Option<String>)>) -> Progress {
        let fault = self.trace.fault.take();
        let status = match (&fault, &left) {
            (None, _) => TestStatus::Succeeded,
            (Some(_), Some(_)) => TestStatus::CaughtError,
            (Some(_), None) if self.trace.details.retry_backoff_interval_seconds.is_some() => {
                TestStatus::Retriable
            }
            (Some(_), None) => TestStatus::Failed,
        };
        let (error, cause) = fault.map_or((None, None), |fault| (fault.error, fault.cause));
        let (output, next_state) = left.map_or((None, None), |(output, next)| (Some(output), next));
        Progress::Done(Box::new(TestedState {
            output: output.map(|output| json::to_string(&self.execution.arena, output)),
            error: error.map(std::borrow::Cow::into_owned),
            cause,
            next_state,
            status,
            inspection: (self.level > InspectionLevel::Info).then(|| Box::new(self.inspection())),
        }))
    }

    fn inspection(&mut self) -> Inspection {
        let jsonata = self.subject.is_jsonata();
        let mut shown = self.trace.inspection(&self.subject.state, jsonata);
        shown.after_items_pointer = self.pointed.take();
        shown.after_item_batcher = self.batches();
        shown.input = Some(std::mem::take(&mut self.input));
        let arena = &self.execution.arena;
        let mut variables = Vec::new();
        for (slot, name) in self.variables.iter().enumerate() {
            let value = self.execution.variable(slot);
            if !value.is_undefined() {
                variables.push(if variables.is_empty() { b'{' } else { b',' });
                json::write_string(name, &mut variables);
                variables.push(b':');
                json::write(arena, value, &mut variables);
            }
        }
        if !variables.is_empty() {
            variables.push(b'}');
            shown.variables = String::from_utf8(variables).ok();
        }
        shown
    }

    /// The batches of the items; `None` where that fails.
    fn batches(&mut self) -> Option<String> {
        let Batch { state, variables, context, start } = self.batch.take()?;
        let mut execution = Execution::new();
        execution.reset();
        let input = read(&mut execution, &self.input).ok()?;
        let variables = variables.map_or(Ok(Value::UNDEFINED), |text| read(&mut execution, &text)).ok()?;
        let context = read(&mut execution, &context).ok()?;
        let visit = Visit { state, variables, context, retries: 0 };
        execution.begin_visit(&self.program, &start, input, &visit);
        let Test { program, turn_scratch, trace, patience, .. } = self;
        let fuel = Fuel::new(SLICE, patience);
        let mut env = turn_scratch.env(start.now_ms, 1, &fuel);
        env.random = Some(random::next);
        engine::advance(program, &mut execution, Event::Go, &mut env);
        let Some(Outcome::Succeeded(fields)) = execution.outcome() else { return None };
        let fields = serde_json::from_str(&json::to_string(&execution.arena, *fields)).ok()?;
        trace.has_all_selected().then(|| batch::batches(&fields, &trace.selected))
    }
}

/// A test whose execution runs: a mock does its task, if it has one.
struct Run<'t> {
    test: &'t mut Test,
    now_ms: u64,
    wanted: Option<Wanted>,
}

impl Outside for Run<'_> {
    type Work = Event;
    type Stopped = Error;

    fn advance(&mut self, event: Event) -> Result<Turn, Error> {
        let Test { program, execution, turn_scratch, trace, patience, .. } = &mut *self.test;
        // The visit itself is the one transition.
        let transitions = u32::from(matches!(event, Event::Go));
        let fuel = Fuel::new(SLICE, &*patience);
        let mut env = listened(turn_scratch, trace, self.now_ms, transitions, &fuel);
        let turn = engine::advance(program, execution, event, &mut env);
        if self.test.is_joining()
            && let Some(mocked) = self.test.mocked.take()
        {
            self.test.complete_children(mocked, self.now_ms)?;
        }
        Ok(turn)
    }

    fn effects(&mut self) -> &mut Effects {
        &mut self.test.turn_scratch.effects
    }

    fn execution(&self) -> &Execution {
        &self.test.execution
    }

    fn start_task(&mut self, call: &TaskCall) -> Answer {
        let arena = &mut self.test.execution.arena;
        match self.test.mocked.take() {
            Some(Mocked::Error(fault)) => Answer::Now(Err(fault)),
            Some(Mocked::Result(text)) => Answer::Now(
                json::read(arena, text.as_bytes())
                    .map_err(|error| Fault::new(fault::TASK_FAILED, format!("The mocked result: {error}"))),
            ),
            None => {
                self.wanted.get_or_insert(Wanted::Task(*call));
                Answer::Never
            }
        }
    }

    fn answer_later(&mut self, _: Token, _: u64, _: Result<Vec<u8>, Fault>) {
        unreachable!("a mock answers at once");
    }

    fn arm(&mut self, token: Token, kind: TimerKind, at_ms: u64) {
        if kind == TimerKind::Wake {
            self.wanted.get_or_insert(Wanted::Wake(token, at_ms));
        }
    }

    fn cancel(&mut self, _: Token) {}
}

/// The environment of a turn with the trace as listener.
fn listened<'e>(
    turn_scratch: &'e mut TurnScratch,
    trace: &'e mut Trace,
    now_ms: u64,
    transitions_max: u32,
    fuel: &'e Fuel<'e>,
) -> Env<'e> {
    let mut env = turn_scratch.env(now_ms, transitions_max, fuel);
    env.listener = Some(trace);
    env.event_mask = EventMask::STEPS;
    env.random = Some(random::next);
    env
}

enum Wanted {
    Task(TaskCall),
    Wake(Token, u64),
}

const EXCEEDED: &str = "The specified tolerated failure threshold was exceeded";

/// The items of a Map that reads them, as JSON text.
struct Read {
    items: String,
    pointed: bool,
}

/// The items from the Map's reader; without data, a Map that has no other source has no items.
fn read_items(request: &TestState, subject: &Subject) -> Result<Option<Read>, Error> {
    let Some(map) = subject.distributed() else { return Ok(None) };
    let Some(item_reader) = &map.item_reader else { return Ok(None) };
    match &request.configuration.map_item_reader_data {
        Some(data) => {
            let (items, pointed) = reader::items(item_reader, data)?;
            Ok(Some(Read { items: Json::from(items).to_string(), pointed }))
        }
        None if map.items_path.is_some() => Ok(None),
        None => Ok(Some(Read { items: "[]".to_owned(), pointed: false })),
    }
}

fn read_input(execution: &mut Execution, text: &str) -> Result<Value, Error> {
    match json::read(&mut execution.arena, text.as_bytes()) {
        Ok(input) if execution.arena.size(input) <= limits::PAYLOAD_BYTES_MAX => Ok(input),
        Ok(_) => Err(Error::invalid_input("Invalid execution input.")),
        Err(error) => {
            // What is JSON may have numbers that no double has.
            let why = explain(text.as_bytes()).map_or_else(|| error.kind.to_string(), |why| why.message);
            Err(Error::invalid_input(&why))
        }
    }
}

/// Text that was already checked to be JSON.
fn read(execution: &mut Execution, text: &str) -> Result<Value, Error> {
    json::read(&mut execution.arena, text.as_bytes())
        .map_err(|error| Error::validation(format!("Invalid JSON: {error}")))
}

/// The names of the given variables.
fn variables(text: &str) -> Result<Vec<String>, Error> {
    match serde_json::from_str(text) {
        Ok(Json::Object(members)) => Ok(members.into_iter().map(|(name, _)| name).collect()),
        _ => Err(Error::validation(unreadable(text, "Variables must be a valid JSON object"))),
    }
}

impl std::fmt::Debug for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Test").field("state", &self.subject.state.location).finish_non_exhaustive()
    }
}
