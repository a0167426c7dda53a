//! One turn: takes an event, runs the ready frames, writes down what happens.

use super::context::StateContext;
use super::execution::{Execution, Outcome, Phase, Token};
use super::record::{Aside, Happening, Hears, Record};
use super::{Effect, Env, Event, TimerKind, Turn};
use crate::fault::{self, Fault};
use crate::fuel::{Cut, Fuel};
use crate::json::Value;
use crate::limits;
use crate::program::{Program, State, StateId, StateKind, TemplateId};
use crate::query::template;
use crate::query::{self, Scope};

/// What a transition takes beside what its data takes: entering, leaving, and telling nobody.
const TRANSITION_WORK: u64 = 100;

/// What the functions of a turn work with.
pub(super) struct Run<'a, 'e> {
    pub(super) program: &'a Program,
    pub(super) x: &'a mut Execution,
    pub(super) env: &'a mut Env<'e>,
    /// What the listener hears, or is noted.
    pub(super) hears: Hears,
}

/// Why a state did not come to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// It failed; Retry and Catch may have a word.
    Failed(Fault),
    /// A JSONata expression failed at this field.
    Evaluation { fault: Fault, location: String },
    /// The work was cut short: the execution is over, see [`Fuel::cut`](crate::fuel::Fuel::cut).
    Cut,
}

impl From<Cut> for Stop {
    fn from(_: Cut) -> Stop {
        Stop::Cut
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Failed(fault)
    }
}

/// What a query sees beside the frame's own values.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sight {
    pub(super) input: Value,
    pub(super) result: Value,
    pub(super) error_output: Value,
    /// `Map.Item`: index, value and key.
    pub(super) item: Option<(u32, Value, Value)>,
}

impl Sight {
    pub(super) fn of(input: Value) -> Sight {
        Sight { input, ..Sight::default() }
    }
}

impl<'a, 'e> Run<'a, 'e> {
    pub(super) fn new(program: &'a Program, x: &'a mut Execution, env: &'a mut Env<'e>) -> Run<'a, 'e> {
        let hears = match &env.notes {
            Some(notes) => env.hears.and(notes.hears),
            None => env.hears,
        };
        Run { program, x, env, hears }
    }

    /// The frame's state.
    #[inline]
    pub(super) fn state(&self, frame: u32) -> &'a State {
        &self.program.states[self.state_id(frame)]
    }
}

impl Run<'_, '_> {
    pub(super) fn take(&mut self, event: Event) {
        if self.x.outcome.is_some() {
            return;
        }
        match event {
            Event::Go if self.x.events == 0 => {
                let input = self.x.input;
                self.emit(0, Happening::ExecutionStarted { input });
            }
            Event::Go => {}
            Event::TaskSucceeded(token, output) => {
                if let Some(frame) = self.awaited(token, Phase::Task) {
                    self.task_succeeded(frame, output);
                }
            }
            Event::TaskFailed(token, fault) => {
                if let Some(frame) = self.awaited(token, Phase::Task) {
                    self.task_failed(frame, fault);
                }
            }
            Event::TaskStarted(token, worker) => {
                if let Some(frame) = self.awaited(token, Phase::Task) {
                    self.task_started(frame, worker.as_deref());
                }
            }
            Event::Heartbeat(token) => {
                if let Some(frame) = self.awaited(token, Phase::Task) {
                    let frame = &mut self.x.frames[frame as usize];
                    frame.heartbeat_at_ms = self.env.now_ms.saturating_add(frame.heartbeat_ms);
                }
            }
            Event::ClockSet => self.clock_set(),
            Event::Timer(token, TimerKind::Wake) => {
                if let Some(frame) = self.awaited(token, Phase::Waiting) {
                    self.woken(frame);
                } else if let Some(frame) = self.awaited(token, Phase::Delayed) {
                    self.compact_if_grown();
                    self.x.frames[frame as usize].phase = Phase::Again;
                    self.x.enqueue(frame);
                }
            }
            Event::Timer(token, kind) => {
                if let Some(frame) = self.awaited(token, Phase::Task) {
                    self.task_timer(frame, kind);
                }
            }
            Event::Deadline => self.time_out(),
            Event::Fail(fault) => self.end_failed(self.x.events, fault),
            Event::Abort(fault) => {
                self.cancel_all();
                self.emit(0, Happening::ExecutionAborted { fault: &fault });
                self.x.outcome = Some(Outcome::Aborted(fault));
            }
        }
    }

    /// The frame that waits in this way for the answer that `token` names.
    fn awaited(&self, token: Token, phase: Phase) -> Option<u32> {
        let frame = self.x.frames.get(token.frame as usize)?;
        (frame.visit == token.visit && frame.phase == phase).then_some(token.frame)
    }

    pub(super) fn turn(&mut self) -> Turn {
        let mut left = self.env.transitions_max;
        if self.x.outcome.is_none() && self.env.now_ms >= self.x.deadline_ms {
            self.time_out();
        }
        if let Some(cut) = self.env.fuel.cut() {
            // Already by what the event led to.
            return Turn::Cut(cut);
        }
        while self.x.outcome.is_none() {
            let Some(frame) = self.x.next_ready() else { return Turn::Parked };
            while matches!(self.x.frames[frame as usize].phase, Phase::Enter | Phase::Again) {
                if left == 0 || !self.env.fuel.goes_on(TRANSITION_WORK) {
                    self.x.enqueue_first(frame);
                    return Turn::Yielded;
                }
                left -= 1;
                if self.x.identity.is_standard && self.x.events >= limits::HISTORY_EVENTS_MAX - 1 {
                    self.history_is_full();
                    return Turn::Done;
                }
                self.step(frame);
                if let Some(cut) = self.env.fuel.cut() {
                    return Turn::Cut(cut);
                }
                if self.x.outcome.is_some() {
                    return Turn::Done;
                }
            }
        }
        Turn::Done
    }

    /// A Standard execution has as many events as it may have (developer guide, "Quotas related to state machine
    /// executions").
    #[cold]
    fn history_is_full(&mut self) {
        let max = limits::HISTORY_EVENTS_MAX;
        let cause = format!("The execution reached the maximum number of history events ({max}).");
        self.end_failed(self.x.events, Fault::new(fault::RUNTIME, cause));
    }

    fn time_out(&mut self) {
        self.cancel_all();
        let last = self.x.events + 1;
        self.x.events = last;
        self.tell(last, 0, Happening::ExecutionTimedOut);
        self.x.outcome = Some(Outcome::TimedOut);
    }

    /// Ends the whole execution with a failure; `last` is the event before.
    pub(super) fn end_failed(&mut self, last: u64, fault: Fault) {
        self.cancel_all();
        self.emit(last, Happening::ExecutionFailed { fault: &fault });
        self.x.outcome = Some(Outcome::Failed(fault));
    }

    fn cancel_all(&mut self) {
        for (n, frame) in self.x.frames.iter_mut().enumerate() {
            if matches!(frame.phase, Phase::Waiting | Phase::Delayed | Phase::Task) {
                self.env.effects.push(Effect::Cancel(Token { frame: n as u32, visit: frame.visit }));
            }
            frame.phase = Phase::Free;
        }
        self.x.clear_ready();
    }

    // ---- events ----

    /// Counts an event and tells the listener; gives its id.
    #[inline]
    pub(super) fn emit(&mut self, previous: u64, happening: Happening<'_>) -> u64 {
        self.x.events += 1;
        let id = self.x.events;
        if self.hears.hears(&happening) {
            self.tell(id, previous, happening);
        }
        id
    }

    /// Tells the listener, if there is one.
    pub(super) fn aside(&mut self, aside: Aside) {
        if let Some(listener) = &mut self.env.listener {
            listener.aside(self.program, aside);
        }
    }

    /// Whether someone wants to know that a state of this kind was entered or exited.
    #[inline]
    pub(super) fn hears(&self, kind: StateKind) -> bool {
        self.hears != Hears::NONE && self.hears.of(kind)
    }

    /// Notes it, and tells the listener, as far as they want to know it.
    #[inline(never)]
    pub(super) fn tell(&mut self, id: u64, previous: u64, happening: Happening<'_>) {
        if let Some(notes) = &mut self.env.notes
            && notes.hears.hears(&happening)
        {
            notes.keep(&Record { id, previous, time_ms: self.x.shown_ms(self.env.now_ms), happening });
            self.notes_kept();
        }
        if self.env.hears.hears(&happening) {
            self.tell_listener(id, previous, happening);
        }
    }

    #[inline(never)]
    pub(super) fn tell_listener(&mut self, id: u64, previous: u64, happening: Happening<'_>) {
        if let Some(listener) = &mut self.env.listener {
            let record = Record { id, previous, time_ms: self.x.shown_ms(self.env.now_ms), happening };
            listener.record(self.program, &self.x.arena, &record);
        }
    }

    /// When notes have become many, they are told and forgotten.
    #[inline]
    pub(super) fn notes_kept(&mut self) {
        if self.env.notes.as_ref().is_some_and(|notes| notes.is_full()) {
            self.tell_notes();
        }
    }

    #[cold]
    fn tell_notes(&mut self) {
        let Some(notes) = &mut self.env.notes else { return };
        if let Some(listener) = &mut self.env.listener
            && !notes.is_empty()
        {
            listener.notes_due(self.program, &self.x.arena, notes);
        }
        notes.clear();
    }

    /// Counts an event at the end of the frame's chain.
    #[inline]
    pub(super) fn chain(&mut self, frame: u32, happening: Happening<'_>) {
        let previous = self.x.frames[frame as usize].last_event;
        let id = self.emit(previous, happening);
        self.x.frames[frame as usize].last_event = id;
    }

    // ---- the frame's state ----

    #[inline]
    pub(super) fn state_id(&self, frame: u32) -> StateId {
        // A frame in use has a state from its first moment on.
        self.x.frames[frame as usize].state.unwrap_or_else(|| self.program.start())
    }

    pub(super) fn token(&self, frame: u32) -> Token {
        Token { frame, visit: self.x.frames[frame as usize].visit }
    }

    // ---- work ----

    /// Charges work on the execution's data.
    #[inline]
    pub(super) fn charge(&self, work: u64) -> Result<(), Stop> {
        Ok(self.env.fuel.charge(work)?)
    }

    /// Ends the state where its work was cut short.
    #[inline]
    pub(super) fn cut(&self) -> Result<(), Stop> {
        self.env.fuel.cut().map_or(Ok(()), |cut| Err(cut.into()))
    }

    // ---- queries ----

    /// Evaluates something with what the frame sees.
    #[inline(always)]
    pub(super) fn query<T>(
        &mut self,
        frame: u32,
        sight: Sight,
        query: impl FnOnce(&mut crate::json::Arena, &Scope<'_>, &mut query::Env<'_>) -> T,
    ) -> T {
        let started_ms = self.x.started_ms();
        let Execution { arena, identity, frames, random, input, context, seed, secret, ahead_ms, .. } =
            &mut *self.x;
        let frame = &frames[frame as usize];
        let context = StateContext {
            identity,
            program: self.program,
            input: *input,
            whole: *context,
            seed: *seed,
            secret: *secret,
            started_ms,
            ahead_ms: *ahead_ms,
            frame,
            item: sight.item,
        };
        let scope = Scope {
            input: sight.input,
            result: sight.result,
            error_output: sight.error_output,
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
    pub(super) fn template(&mut self, frame: u32, id: TemplateId, sight: Sight) -> Result<Value, Stop> {
        let program = self.program;
        let made = self.query(frame, sight, |arena, scope, env| {
            program.templates[id]
                .eval(arena, scope, env)
                .map_err(|fault| explain(*fault, arena, scope, env.fuel))
        });
        self.cut()?;
        let value = made.map_err(|why| self.stop(frame, why))?;
        self.check_memory(frame)?;
        Ok(value)
    }

    /// Whether what was just made fitted.
    pub(super) fn check_memory(&mut self, frame: u32) -> Result<(), Stop> {
        match self.x.arena.overflowed() {
            false => Ok(()),
            true => Err(self.runtime(frame, "The execution's data exceeds the memory it may use.").into()),
        }
    }

    fn stop(&self, frame: u32, why: Why) -> Stop {
        match why.location {
            None => Stop::Failed(self.runtime(frame, &why.text)),
            Some(location) => {
                let cause = self.cause(frame, &why.text);
                Stop::Evaluation { fault: Fault::new(fault::QUERY_EVALUATION_ERROR, cause), location }
            }
        }
    }

    /// The text of a failure that the interpreter itself raises, in AWS's words.
    pub(super) fn cause(&self, frame: u32, text: &str) -> String {
        // Recorded: `TestState`, which brings a context object, tells the reason alone.
        if !self.x.context.is_undefined() {
            return text.to_owned();
        }
        let entered = self.x.frames[frame as usize].entered_event;
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
    pub(super) fn evaluation(&self, frame: u32, location: &str, text: &str) -> Stop {
        let fault = Fault::new(fault::QUERY_EVALUATION_ERROR, self.cause(frame, text));
        Stop::Evaluation { fault, location: location.to_owned() }
    }

    // ---- memory ----

    /// [Compacts](Run::compact), when it pays. Only where no value is held outside the execution.
    pub(super) fn compact_if_grown(&mut self) {
        if self.x.arena.bytes() > self.x.compact_at {
            self.compact();
        }
    }

    /// Copies what lives into a fresh arena, when the old one has grown enough for that to pay: at four times what was
    /// live last time, so that the cost per byte allocated stays constant.
    pub(super) fn compact(&mut self) {
        if let Some(listener) = &mut self.env.listener {
            listener.moving(self.program, &self.x.arena);
        }
        self.tell_notes();
        self.env.fuel.note(self.x.arena.bytes() as u64 / 4);
        let Execution { arena, frames, joins, input, context, compact_at, .. } = &mut *self.x;
        let mut visited = 4 * frames.len();
        self.env.compactor.compact(arena, |visit| {
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
        });
        // Many frames that share few values are much to visit and little to copy.
        *compact_at = limits::COMPACT_BYTES_MIN.max(4 * arena.bytes()).max(visited * size_of::<Value>());
    }
}

/// A failed query, told in AWS's words; `location` for JSONata.
struct Why {
    text: String,
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
        template::Fault::Cut => Why { text: String::new(), location: None },
        template::Fault::Path { path, field, .. } => {
            Why { text: not_found(arena, scope.input, path.source(), &field), location: None }
        }
        template::Fault::Call { call, fault, .. } => {
            Why { text: fault.message(call, arena, scope, fuel), location: None }
        }
        template::Fault::Expr { expression, field, fault } => {
            let says = match fault {
                None => "returned nothing (undefined).".to_owned(),
                Some(fault) => fault.says(),
            };
            let text =
                format!("The JSONata expression '{expression}' specified for the field '{field}' {says}");
            Why { text, location: Some(field) }
        }
    }
}

/// What AWS says when a path of a payload template selects nothing.
pub(super) fn not_found(arena: &crate::json::Arena, input: Value, path: &str, field: &str) -> String {
    let input = crate::json::to_string(arena, input);
    format!(
        "The JSONPath '{path}' specified for the field '{field}' could not be found in the input '{input}'"
    )
}

/// SplitMix64: small, seedable, good enough for jitter, and for tests.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Execution {
    /// The next random number; everything random comes from the seed.
    pub(super) fn random(&mut self) -> u64 {
        next_random(&mut self.random)
    }
}
