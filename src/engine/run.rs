//! One turn: takes an event, runs the ready frames, records what happens.

use super::context::{MapItem, StateContext};
use super::effect::{Effect, Event, TimerKind};
use super::execution::{Execution, Outcome, Phase};
use super::identity::Token;
use super::record::{EventKind, EventMask, MetricEvent, Record};
use super::turn::{Env, Turn};
use crate::fault::{self, Fault};
use crate::fuel::{Cut, Fuel};
use crate::json::Value;
use crate::limits;
use crate::program::{Program, State, StateId, StateKind, TemplateId};
use crate::query::path::PathFaultKind;
use crate::query::template;
use crate::query::{self, ContextField, Scope};

/// What a transition costs beside the work on its data: entering and leaving, without listeners.
const TRANSITION_WORK: u64 = 100;
/// Work of a compaction beside that of moving values.
const COMPACTION: u64 = 1_000;
/// Bytes that are kept for the next compaction.
const SPARE_BYTES_MAX: usize = 4 << 20;

/// The context of a turn's functions.
pub(super) struct Run<'a, 'e> {
    pub(super) program: &'a Program,
    pub(super) execution: &'a mut Execution,
    pub(super) env: &'a mut Env<'e>,
    /// The events that are recorded or noted.
    pub(super) event_mask: EventMask,
}

/// Why a state did not finish.
#[derive(Debug)]
pub(super) enum StateError {
    /// It failed; Retry and Catch apply.
    Failed(Fault),
    /// A JSONata expression failed at this field.
    Evaluation { fault: Fault, location: String },
    /// The work was cut short: the execution is over, see [`Fuel::cut`](crate::fuel::Fuel::cut).
    Cut,
}

impl From<Cut> for StateError {
    fn from(_: Cut) -> StateError {
        StateError::Cut
    }
}

impl From<Fault> for StateError {
    fn from(fault: Fault) -> StateError {
        StateError::Failed(fault)
    }
}

/// The data of a query beside the frame's own values.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QueryInputs<'i> {
    pub(super) input: Value,
    pub(super) result: Value,
    pub(super) error_output: Value,
    /// `Map.Item`. By reference, because the inputs are copied for each query.
    pub(super) item: Option<&'i MapItem>,
}

impl QueryInputs<'_> {
    pub(super) fn of(input: Value) -> QueryInputs<'static> {
        QueryInputs { input, ..QueryInputs::default() }
    }
}

impl<'a, 'e> Run<'a, 'e> {
    pub(super) fn new(
        program: &'a Program,
        execution: &'a mut Execution,
        env: &'a mut Env<'e>,
    ) -> Run<'a, 'e> {
        let event_mask = match &env.event_buffer {
            Some(event_buffer) => env.event_mask.union(event_buffer.event_mask),
            None => env.event_mask,
        };
        Run { program, execution, env, event_mask }
    }

    /// The frame's state.
    #[inline]
    pub(super) fn state(&self, frame: u32) -> &'a State {
        &self.program.states[self.state_id(frame)]
    }
}

impl Run<'_, '_> {
    pub(super) fn take(&mut self, event: Event) {
        if self.execution.outcome.is_some() {
            return;
        }
        match event {
            Event::Go if self.execution.events == 0 => self.tell_started(),
            Event::Go => self.tell_redriven(),
            Event::TaskSucceeded(token, output) => {
                if let Some(frame) = self.awaited(token, Phase::Task) {
                    self.task_over(frame, Ok(output));
                }
            }
            Event::TaskFailed(token, fault) => {
                if let Some(frame) = self.awaited(token, Phase::Task) {
                    self.task_over(frame, Err(fault));
                }
            }
            Event::TaskStarted(token, worker) => {
                if let Some(frame) = self.awaited(token, Phase::Task) {
                    self.task_started(frame, worker.as_deref());
                }
            }
            Event::TaskSubmitted(token, response) => {
                if let Some(frame) = self.awaited(token, Phase::Task) {
                    self.task_submitted(frame, response);
                }
            }
            Event::Heartbeat(token) => {
                if let Some(frame) = self.awaited(token, Phase::Task) {
                    let frame = &mut self.execution.frames[frame as usize];
                    frame.due_at_ms = self.env.now_ms.saturating_add(frame.heartbeat_ms);
                }
            }
            Event::ClockSet => self.clock_set(),
            Event::Timer(token, TimerKind::Wake) => {
                if let Some(frame) = self.awaited(token, Phase::Waiting) {
                    self.woken(frame);
                } else if let Some(frame) = self.awaited(token, Phase::Delayed) {
                    self.compact_if_grown();
                    self.execution.frames[frame as usize].phase = Phase::Again;
                    self.execution.enqueue(frame);
                }
            }
            Event::Timer(token, kind) => {
                if let Some(frame) = self.awaited(token, Phase::Task) {
                    self.task_timer(frame, kind);
                }
            }
            Event::Deadline => self.time_out(),
            Event::Fail(fault) => self.end_failed(self.execution.events, fault),
            Event::Abort(fault) => self.abort(fault),
        }
    }

    fn tell_started(&mut self) {
        let input = self.execution.input;
        self.emit(0, EventKind::ExecutionStarted { input });
    }

    fn abort(&mut self, fault: Fault) {
        if self.execution.events == 0 {
            self.tell_started();
        }
        self.execution.keep_stopped();
        self.cancel_all();
        self.emit(0, EventKind::ExecutionAborted { fault: &fault });
        self.execution.outcome = Some(Outcome::Aborted(fault));
    }

    /// The frame that waits in this phase for the answer to `token`.
    fn awaited(&self, token: Token, phase: Phase) -> Option<u32> {
        let frame = self.execution.frames.get(token.frame as usize)?;
        (frame.visit == token.visit && frame.phase == phase).then_some(token.frame)
    }

    pub(super) fn turn(&mut self) -> Turn {
        let mut left = self.env.transitions_max;
        if self.execution.outcome.is_none() && self.env.now_ms >= self.execution.deadline_ms {
            self.time_out();
        }
        if let Some(cut) = self.env.fuel.cut() {
            // Cut while the event was handled.
            return Turn::Cut(cut);
        }
        while self.execution.outcome.is_none() {
            let Some(frame) = self.execution.next_ready() else { return self.unless_cut(Turn::Parked) };
            while matches!(self.execution.frames[frame as usize].phase, Phase::Enter | Phase::Again) {
                if left == 0 || !self.env.fuel.goes_on(TRANSITION_WORK) {
                    // A turn that was cut has no fuel to continue.
                    if let Some(cut) = self.env.fuel.cut() {
                        return Turn::Cut(cut);
                    }
                    self.execution.enqueue_first(frame);
                    return Turn::Yielded;
                }
                left -= 1;
                if self.env.is_last_state && self.execution.frames[frame as usize].phase == Phase::Enter {
                    self.abort(Fault { error: None, cause: None });
                    return Turn::Done;
                }
                if self.execution.identity.is_standard
                    && self.execution.events >= limits::HISTORY_EVENTS_MAX - 1
                {
                    self.history_is_full();
                    return Turn::Done;
                }
                self.step(frame);
                if self.execution.outcome.is_some() {
                    return self.unless_cut(Turn::Done);
                }
            }
        }
        self.unless_cut(Turn::Done)
    }

    /// How a turn ended, unless work was cut in it: then its result is ignored.
    fn unless_cut(&self, turn: Turn) -> Turn {
        self.env.fuel.cut().map_or(turn, Turn::Cut)
    }

    /// Fails a Standard execution that has the maximum number of events (developer guide, "Quotas related to state
    /// machine executions").
    #[cold]
    fn history_is_full(&mut self) {
        let max = limits::HISTORY_EVENTS_MAX;
        let cause = format!("The execution reached the maximum number of history events ({max}).");
        self.end_failed(self.execution.events, Fault::new(fault::RUNTIME, cause));
    }

    fn time_out(&mut self) {
        self.execution.keep_stopped();
        self.cancel_all();
        let last = self.execution.events + 1;
        self.execution.events = last;
        self.tell(last, 0, EventKind::ExecutionTimedOut);
        self.execution.outcome = Some(Outcome::TimedOut);
    }

    /// Ends the whole execution with a failure; `last` is the event before.
    pub(super) fn end_failed(&mut self, last: u64, fault: Fault) {
        self.execution.keep_stopped();
        self.cancel_all();
        self.emit(last, EventKind::ExecutionFailed { fault: &fault });
        self.execution.outcome = Some(Outcome::Failed(fault));
    }

    fn cancel_all(&mut self) {
        for (n, frame) in self.execution.frames.iter_mut().enumerate() {
            if matches!(frame.phase, Phase::Waiting | Phase::Delayed | Phase::Task) {
                self.env.effects.push(Effect::Cancel(Token { frame: n as u32, visit: frame.visit }));
            }
            frame.phase = Phase::Free;
        }
        self.execution.clear_ready();
    }

    // ---- events ----

    /// Counts an event and reports it to the listener; returns its id.
    #[inline]
    pub(super) fn emit(&mut self, previous: u64, event_kind: EventKind<'_>) -> u64 {
        self.execution.events += 1;
        let id = self.execution.events;
        if self.event_mask.event_mask(&event_kind) {
            self.tell(id, previous, event_kind);
        }
        id
    }

    /// Reports to the listener, if there is one.
    pub(super) fn metric_event(&mut self, metric_event: MetricEvent) {
        if let Some(listener) = &mut self.env.listener {
            listener.metric_event(self.program, metric_event);
        }
    }

    /// Whether the listener wants the entry and exit of a state of this kind.
    #[inline]
    pub(super) fn event_mask(&self, kind: StateKind) -> bool {
        self.event_mask != EventMask::NONE && self.event_mask.of(kind)
    }

    /// Notes the event, and reports it to the listener, if they want it.
    #[inline(never)]
    pub(super) fn tell(&mut self, id: u64, previous: u64, event_kind: EventKind<'_>) {
        if let Some(event_buffer) = &mut self.env.event_buffer
            && event_buffer.event_mask.event_mask(&event_kind)
        {
            event_buffer.keep(&Record {
                id,
                previous,
                time_ms: self.execution.shown_ms(self.env.now_ms),
                event_kind,
            });
            self.notes_kept();
        }
        if self.env.event_mask.event_mask(&event_kind) {
            self.tell_listener(id, previous, event_kind);
        }
    }

    #[inline(never)]
    pub(super) fn tell_listener(&mut self, id: u64, previous: u64, event_kind: EventKind<'_>) {
        if let Some(listener) = &mut self.env.listener {
            let record =
                Record { id, previous, time_ms: self.execution.shown_ms(self.env.now_ms), event_kind };
            listener.record(self.program, &self.execution.arena, &record);
        }
    }

    /// When many notes are buffered, they are reported and dropped.
    #[inline]
    pub(super) fn notes_kept(&mut self) {
        if self.env.event_buffer.as_ref().is_some_and(|event_buffer| event_buffer.is_full()) {
            self.report_events();
        }
    }

    #[cold]
    fn report_events(&mut self) {
        let Some(event_buffer) = &mut self.env.event_buffer else { return };
        if let Some(listener) = &mut self.env.listener
            && !event_buffer.is_empty()
        {
            listener.events_due(self.program, &self.execution.arena, event_buffer);
        }
        event_buffer.clear();
    }

    /// Counts an event at the end of the frame's chain.
    #[inline]
    pub(super) fn chain(&mut self, frame: u32, event_kind: EventKind<'_>) {
        let previous = self.execution.frames[frame as usize].last_event;
        let id = self.emit(previous, event_kind);
        self.execution.frames[frame as usize].last_event = id;
    }

    // ---- the frame's state ----

    #[inline]
    pub(super) fn state_id(&self, frame: u32) -> StateId {
        // A frame in use has a state from its beginning.
        self.execution.frames[frame as usize].state.unwrap_or_else(|| self.program.start())
    }

    pub(super) fn token(&self, frame: u32) -> Token {
        Token { frame, visit: self.execution.frames[frame as usize].visit }
    }

    // ---- work ----

    /// Charges work on the execution's data.
    #[inline]
    pub(super) fn charge(&self, work: u64) -> Result<(), StateError> {
        Ok(self.env.fuel.charge(work)?)
    }

    /// Stops the state if its work was cut.
    #[inline]
    pub(super) fn cut(&self) -> Result<(), StateError> {
        self.env.fuel.cut().map_or(Ok(()), |cut| Err(cut.into()))
    }

    // ---- queries ----

    /// Evaluates a query with the frame's data.
    #[inline(always)]
    pub(super) fn query<T>(
        &mut self,
        frame: u32,
        query_inputs: QueryInputs,
        query: impl FnOnce(&mut crate::json::Arena, &Scope<'_>, &mut query::Env<'_>) -> T,
    ) -> T {
        let started_ms = self.execution.started_ms();
        let Execution {
            arena,
            identity,
            frames,
            random,
            input,
            context,
            seed,
            secret,
            ahead_ms,
            redrives,
            ..
        } = &mut *self.execution;
        let frame = &frames[frame as usize];
        let context = StateContext {
            identity,
            program: self.program,
            input: *input,
            whole: *context,
            redrives: *redrives,
            seed: *seed,
            secret: *secret,
            started_ms,
            ahead_ms: *ahead_ms,
            frame,
            item: query_inputs.item,
        };
        let scope = Scope {
            input: query_inputs.input,
            result: query_inputs.result,
            error_output: query_inputs.error_output,
            variables: frame.variables,
            context: &context,
        };
        let source = self.env.random;
        let mut next = || source.map_or_else(|| next_random(random), |source| source());
        let (now_ms, fuel) = (self.env.wall_ms(), self.env.fuel);
        let mut env = query::Env { now_ms, random: &mut next, scratch: self.env.scratch, fuel };
        query(arena, &scope, &mut env)
    }

    /// A template's value.
    #[inline(always)]
    pub(super) fn template(
        &mut self,
        frame: u32,
        id: TemplateId,
        query_inputs: QueryInputs,
    ) -> Result<Value, StateError> {
        let program = self.program;
        let made = self.query(frame, query_inputs, |arena, scope, env| {
            program.templates[id]
                .eval(arena, scope, env)
                .map_err(|fault| explain(*fault, arena, scope, env.fuel))
        });
        self.cut()?;
        let value = made.map_err(|why| self.stop(frame, why))?;
        self.check_memory(frame)?;
        Ok(value)
    }

    /// Fails the state if the result did not fit into memory.
    pub(super) fn check_memory(&mut self, frame: u32) -> Result<(), StateError> {
        if !self.execution.arena.overflowed() {
            Ok(())
        } else {
            Err(self.runtime(frame, "The execution's data exceeds the memory it may use.").into())
        }
    }

    fn stop(&self, frame: u32, mut why: Why) -> StateError {
        if let Some(text) = why.tested.take().filter(|_| !self.execution.context.is_undefined()) {
            why.text = text;
        }
        match why.location {
            None => StateError::Failed(self.runtime(frame, &why.text)),
            Some(location) => {
                let cause = self.cause(frame, &why.text);
                StateError::Evaluation { fault: Fault::new(fault::QUERY_EVALUATION_ERROR, cause), location }
            }
        }
    }

    /// The cause of a failure that the interpreter itself raises, in AWS's words.
    pub(super) fn cause(&self, frame: u32, text: &str) -> String {
        // Recorded: `TestState`, which supplies a context object, shows only the reason.
        if !self.execution.context.is_undefined() {
            return text.to_owned();
        }
        let entered = self.execution.frames[frame as usize].entered_event;
        let name = self.program.name(self.state_id(frame));
        format!(
            "An error occurred while executing the state '{name}' (entered at the event id #{entered}). {text}"
        )
    }

    /// `States.Runtime`
    pub(super) fn runtime(&self, frame: u32, text: &str) -> Fault {
        Fault::new(fault::RUNTIME, self.cause(frame, text))
    }

    /// `States.QueryEvaluationError` at `location`.
    pub(super) fn evaluation(&self, frame: u32, location: &str, text: &str) -> StateError {
        let fault = Fault::new(fault::QUERY_EVALUATION_ERROR, self.cause(frame, text));
        StateError::Evaluation { fault, location: location.to_owned() }
    }

    // ---- memory ----

    /// [Compacts](Run::compact), when it pays off. Only where no value is held outside the execution.
    #[inline(always)]
    pub(super) fn compact_if_grown(&mut self) {
        if self.execution.arena.bytes() > self.execution.looks_at {
            self.look_after_memory();
        }
    }

    #[cold]
    #[inline(never)]
    fn look_after_memory(&mut self) {
        let bytes = self.execution.arena.bytes();
        if bytes > self.execution.compact_at {
            return self.compact();
        }
        // If the arena grew during an operation, much would be copied at once.
        let fuel = self.env.fuel;
        self.execution
            .arena
            .make_room(bytes / 4 / size_of::<Value>(), bytes / 4, &mut |work| fuel.note(work));
        self.execution.looks_at = self.execution.compact_at.min(bytes + bytes / 8);
    }

    /// Copies live values into a fresh arena, when the old one has grown to four times what was live last time, so that
    /// the cost per byte allocated stays constant.
    fn compact(&mut self) {
        if let Some(listener) = &mut self.env.listener {
            listener.moving(self.program, &self.execution.arena);
        }
        self.report_events();
        let fuel = self.env.fuel;
        let Execution { arena, frames, joins, input, context, .. } = &mut *self.execution;
        let mut visited = 4 * frames.len();
        let each_root = |visit: &mut dyn FnMut(&mut Value)| {
            visit(input);
            visit(context);
            for frame in frames.iter_mut().filter(|frame| frame.phase != Phase::Free) {
                visit(&mut frame.input);
                visit(&mut frame.effective);
                visit(&mut frame.variables);
                visit(&mut frame.credentials);
            }
            for join in joins.iter_mut().filter(|join| !join.results.is_empty()) {
                visit(&mut join.items);
                visit(&mut join.prepared.row);
                join.results.iter_mut().for_each(&mut *visit);
                visited += join.results.len();
            }
        };
        fuel.note(COMPACTION);
        let compactor = &mut *self.env.compactor;
        fuel.whole(|| compactor.compact_in_pieces(arena, each_root, &mut |work| fuel.note(work)));
        self.env.compactor.shrink_above(SPARE_BYTES_MAX);
        // Many frames that share few values are expensive to visit and cheap to copy.
        let grown = limits::COMPACT_BYTES_MIN.max(4 * arena.bytes()).max(visited * size_of::<Value>());
        self.execution.compact_beyond(grown);
    }
}

/// A failed query, in AWS's words; `location` for JSONata.
struct Why {
    text: String,
    /// The text in `TestState`.
    tested: Option<String>,
    location: Option<String>,
}

fn explain(
    fault: template::Fault<'_>,
    arena: &mut crate::json::Arena,
    scope: &Scope<'_>,
    fuel: &Fuel<'_>,
) -> Why {
    fuel.note(u64::from(arena.size(scope.input)));
    match fault {
        template::Fault::Cut => Why { text: String::new(), tested: None, location: None },
        // Measured: a step that cannot be applied is reported as it is.
        template::Fault::Path { path, fault, .. } if fault.kind() == PathFaultKind::Invalid => {
            Why { text: fault.message(path, arena, scope, fuel), tested: None, location: None }
        }
        template::Fault::Path { path, field, .. } => {
            // Measured: `TestState` shows a path into the context object relative to its root.
            let context = path.source().strip_prefix('$').filter(|source| source.starts_with('$'));
            let tested = context.map(|source| {
                let document = scope.context.field(arena, ContextField::Whole);
                not_found(arena, document, source, &field)
            });
            Why { text: not_found(arena, scope.input, path.source(), &field), tested, location: None }
        }
        template::Fault::Call { call, fault, .. } => {
            let tested = fault.message_of_context(call, arena, scope);
            Why { text: fault.message(call, arena, scope, fuel), tested, location: None }
        }
        template::Fault::Expr { expression, field, fault } => {
            let says = match fault {
                None => "returned nothing (undefined).".to_owned(),
                Some(fault) => fault.says(),
            };
            let text =
                format!("The JSONata expression '{expression}' specified for the field '{field}' {says}");
            Why { text, tested: None, location: Some(field) }
        }
    }
}

/// AWS's message when a path of a payload template selects nothing.
pub(super) fn not_found(arena: &crate::json::Arena, input: Value, path: &str, field: &str) -> String {
    let input = crate::json::to_string(arena, input);
    format!(
        "The JSONPath '{path}' specified for the field '{field}' could not be found in the input '{input}'"
    )
}

/// SplitMix64: small, seedable, good enough for jitter and tests.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Execution {
    /// The next random number; by default from the seed.
    pub(super) fn random(&mut self) -> u64 {
        next_random(&mut self.random)
    }
}
