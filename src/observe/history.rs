//! AWS's history of an execution (API reference, `HistoryEvent`), made from the engine's records.
//!
//! An [`Event`] has the API's content in a form that is neither wire nor arena: the details as named values, JSON
//! payloads as text. What the execution itself does not know (the region of a task, the role) is added when it is
//! written out.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{EventType, Redaction};
use crate::engine::{EventKind, Listener, Record, Schedule, TaskKind};
use crate::fault::{self, Fault};
use crate::json::{self, Arena, Value};
use crate::program::{Program, ResourceKind, StateId, TaskId};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `id`, from 1.
    pub id: u64,
    /// `previousEventId`; 0 if there is no previous event.
    pub previous: u64,
    /// `timestamp`, in milliseconds since 1970.
    pub time_ms: u64,
    /// `type`
    pub event_type: EventType,
    /// The members of the details, named as in the API, in AWS's order.
    pub details: Vec<(&'static str, Detail)>,
}

/// A member of an event's details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A plain string.
    Text(Box<str>),
    /// A payload: JSON text, which the API shows as a string, with a sibling `…Details` that has `truncated`.
    Json(Box<str>),
    /// A number.
    Number(u64),
    /// An object: `assignedVariables`, `taskCredentials`.
    Members(Vec<(Box<str>, Detail)>),
}

impl Event {
    /// The member of the details with this name.
    pub fn detail(&self, name: &str) -> Option<&Detail> {
        self.details.iter().find(|(key, _)| *key == name).map(|(_, detail)| detail)
    }

    /// The text of the member of the details with this name; empty if there is no such member.
    pub fn text(&self, name: &str) -> &str {
        self.detail(name).and_then(Detail::as_str).unwrap_or_default()
    }

    /// The event as a history without payloads would have kept it.
    #[must_use]
    pub fn without_payloads(mut self) -> Event {
        self.details
            .retain(|(name, detail)| *name != "assignedVariables" && !matches!(detail, Detail::Json(_)));
        self
    }

    /// Bytes the event takes in memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Event>() + self.details.iter().map(|(_, detail)| 16 + detail.bytes()).sum::<usize>()
    }
}

impl Detail {
    /// The text of a string or of a payload.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Detail::Text(text) | Detail::Json(text) => Some(text),
            Detail::Number(_) | Detail::Members(_) => None,
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Detail>()
            + match self {
                Detail::Text(text) | Detail::Json(text) => text.len(),
                Detail::Number(_) => 0,
                Detail::Members(members) => {
                    members.iter().map(|(name, detail)| 16 + name.len() + detail.bytes()).sum()
                }
            }
    }
}

/// Keeps the events of one execution in bounded memory: when they no longer fit, the oldest are dropped, because the
/// end of an execution is more useful than its beginning.
///
/// ```
/// use expressway::observe::History;
/// use expressway::runtime::inline::Driver;
/// use expressway::{asl, compile};
///
/// let text = br#"{"StartAt": "Hello", "States": {"Hello": {"Type": "Pass", "End": true}}}"#;
/// let (definition, _) = asl::read(text, &asl::Options::default());
/// let mut driver = Driver::new(compile::compile(&definition.unwrap()).unwrap().into());
/// let mut history = History::new(1 << 20);
/// driver.run_listened(b"{}", &mut history)?;
/// let types: Vec<&str> = history.events().map(|event| event.event_type.name()).collect();
/// assert_eq!(types, ["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]);
/// # Ok::<(), expressway::runtime::inline::InputError>(())
/// ```
#[derive(Clone, Debug)]
pub struct History {
    events: VecDeque<Event>,
    bytes: usize,
    bytes_max: usize,
    dropped: u64,
    payloads: bool,
    redaction: Arc<Redaction>,
}

impl History {
    /// A history that takes about `bytes_max` bytes at most. The newest event is always kept.
    pub fn new(bytes_max: usize) -> History {
        History {
            events: VecDeque::new(),
            bytes: 0,
            bytes_max,
            dropped: 0,
            payloads: true,
            redaction: Arc::default(),
        }
    }

    /// Leaves out inputs, outputs, parameters and variables: `includeExecutionData` is false.
    pub fn without_payloads(mut self) -> History {
        self.payloads = false;
        self
    }

    /// Hides redacted values.
    pub fn redacted(mut self, redaction: Arc<Redaction>) -> History {
        self.redaction = redaction;
        self
    }

    /// The events that are kept, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> + ExactSizeIterator {
        self.events.iter()
    }

    /// How many of the events that are kept have this number or a smaller one.
    #[cfg(feature = "service")]
    pub(crate) fn count_to(&self, id: u64) -> usize {
        self.events.partition_point(|event| event.id <= id)
    }

    /// The event with this number, if it is kept.
    #[cfg(feature = "console")]
    pub(crate) fn event(&self, id: u64) -> Option<&Event> {
        let at = self.count_to(id).checked_sub(1)?;
        self.events.get(at).filter(|event| event.id == id)
    }

    /// Bytes the events take in memory, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many of the oldest events did not fit.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes its events, oldest first.
    pub fn take(&mut self) -> Vec<Event> {
        let events = std::mem::take(&mut self.events);
        self.clear();
        events.into()
    }

    /// Drops everything, for the next execution.
    pub fn clear(&mut self) {
        self.events.clear();
        self.bytes = 0;
        self.dropped = 0;
    }

    /// Drops the events, which are kept elsewhere, and nothing else.
    pub(super) fn set_aside(&mut self) {
        self.events = VecDeque::new();
        self.bytes = 0;
    }

    pub(super) fn keep(&mut self, event: Event) {
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.bytes > self.bytes_max && self.events.len() > 1 {
            if let Some(oldest) = self.events.pop_front() {
                self.bytes -= oldest.bytes();
                self.dropped += 1;
            }
        }
    }
}

impl Listener for History {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        let mut details = Details::new(program, arena, self.payloads, &self.redaction);
        if let Some(event_type) = details.describe(record.event_kind) {
            let Record { id, previous, time_ms, .. } = *record;
            self.keep(Event { id, previous, time_ms, event_type, details: details.members });
        }
    }
}

/// Collects the details of one event.
pub(super) struct Details<'r> {
    program: &'r Program,
    arena: &'r Arena,
    payloads: bool,
    redaction: &'r Redaction,
    pub(super) members: Vec<(&'static str, Detail)>,
}

impl<'r> Details<'r> {
    pub(super) fn new(
        program: &'r Program,
        arena: &'r Arena,
        payloads: bool,
        redaction: &'r Redaction,
    ) -> Details<'r> {
        Details { program, arena, payloads, redaction, members: Vec::new() }
    }

    pub(super) fn describe(&mut self, event_kind: EventKind<'_>) -> Option<EventType> {
        use EventKind::*;
        Some(match event_kind {
            ExecutionStarted { input } => self.json("input", input).of(EventType::ExecutionStarted),
            ExecutionRedriven { count } => {
                self.number("redriveCount", Some(u64::from(count)));
                self.of(EventType::ExecutionRedriven)
            }
            ExecutionSucceeded { output } => self.json("output", output).of(EventType::ExecutionSucceeded),
            ExecutionFailed { fault } => self.fault(fault).of(EventType::ExecutionFailed),
            ExecutionTimedOut => self.text("error", fault::TIMEOUT).of(EventType::ExecutionTimedOut),
            ExecutionAborted { fault } => self.fault(fault).of(EventType::ExecutionAborted),
            StateEntered { state, input } => {
                let event_type = EventType::entered(self.program.states[state].kind);
                self.name("name", state).json("input", input).of(event_type)
            }
            StateExited { state, output, assigned } => {
                let event_type = EventType::exited(self.program.states[state].kind);
                self.name("name", state).json("output", output).variables(assigned).of(event_type)
            }
            StateAborted { state } => return EventType::aborted(self.program.states[state].kind),
            TaskScheduled(schedule) => {
                let Schedule { task, kind, parameters, .. } = schedule;
                let payload = if kind == TaskKind::Service { "parameters" } else { "input" };
                self.resource(task, kind, true).json(payload, parameters);
                self.number("timeoutInSeconds", schedule.timeout_seconds);
                if kind != TaskKind::Function {
                    self.number("heartbeatInSeconds", schedule.heartbeat_seconds);
                }
                self.credentials(schedule.credentials).of(EventType::task_scheduled(kind))
            }
            TaskStarted { task, kind, worker } => {
                self.resource(task, kind, false);
                if let Some(worker) = worker {
                    self.text("workerName", worker);
                }
                self.of(EventType::task_started(kind))
            }
            TaskSubmitted { task, kind, output } => {
                self.resource(task, kind, false).json("output", output).of(EventType::TaskSubmitted)
            }
            TaskSucceeded { task, kind, output } => {
                self.resource(task, kind, false).json("output", output).of(EventType::task_succeeded(kind))
            }
            TaskFailed { task, kind, fault } => {
                self.resource(task, kind, false).fault(fault).of(EventType::task_failed(kind))
            }
            TaskTimedOut { task, kind, fault } => {
                self.resource(task, kind, false).fault(fault).of(EventType::task_timed_out(kind))
            }
            ParallelStateStarted => EventType::ParallelStateStarted,
            ParallelStateSucceeded => EventType::ParallelStateSucceeded,
            ParallelStateFailed => EventType::ParallelStateFailed,
            MapStateStarted { length } => {
                self.number("length", Some(u64::from(length))).of(EventType::MapStateStarted)
            }
            MapStateSucceeded => EventType::MapStateSucceeded,
            MapStateFailed => EventType::MapStateFailed,
            MapRunStarted { map_run } => {
                let arn = self.arena.str(map_run);
                self.text("mapRunArn", arn).of(EventType::MapRunStarted)
            }
            MapRunRedriven { map_run, count } => {
                let arn = self.arena.str(map_run);
                let details = self.text("mapRunArn", arn).number("redriveCount", Some(u64::from(count)));
                details.of(EventType::MapRunRedriven)
            }
            MapRunSucceeded => EventType::MapRunSucceeded,
            MapRunFailed { fault } => self.fault(fault).of(EventType::MapRunFailed),
            MapRunAborted => EventType::MapRunAborted,
            MapIterationStarted { state, index } => {
                self.iteration(state, index).of(EventType::MapIterationStarted)
            }
            MapIterationSucceeded { state, index } => {
                self.iteration(state, index).of(EventType::MapIterationSucceeded)
            }
            MapIterationFailed { state, index } => {
                self.iteration(state, index).of(EventType::MapIterationFailed)
            }
            MapIterationAborted { state, index } => {
                self.iteration(state, index).of(EventType::MapIterationAborted)
            }
            EvaluationFailed { state, fault, location } => {
                self.fault(fault).place(location).name("state", state).of(EventType::EvaluationFailed)
            }
        })
    }

    fn of(&mut self, event_type: EventType) -> EventType {
        event_type
    }

    fn text(&mut self, name: &'static str, text: &str) -> &mut Self {
        self.members.push((name, Detail::Text(text.into())));
        self
    }

    /// The field whose expression failed, if it is a field.
    fn place(&mut self, location: &str) -> &mut Self {
        if location.is_empty() { self } else { self.text("location", location) }
    }

    fn name(&mut self, name: &'static str, state: StateId) -> &mut Self {
        let program = self.program;
        self.text(name, program.name(state))
    }

    fn number(&mut self, name: &'static str, number: Option<u64>) -> &mut Self {
        self.members.extend(number.map(|number| (name, Detail::Number(number))));
        self
    }

    fn json(&mut self, name: &'static str, value: Value) -> &mut Self {
        if self.payloads {
            let text = if self.redaction.is_empty() {
                json::to_string(self.arena, value)
            } else {
                let mut text = Vec::new();
                self.redaction.write(self.arena, value, &mut text);
                // Everything written is ASCII or comes from `str`s.
                String::from_utf8(text).unwrap_or_default()
            };
            self.members.push((name, Detail::Json(text.into())));
        }
        self
    }

    fn fault(&mut self, fault: &Fault) -> &mut Self {
        let error = fault.error.as_deref();
        let cause = fault.cause.as_deref().map(|cause| self.redaction.cause(error, cause));
        for (name, text) in [("error", error), ("cause", cause)] {
            self.members.extend(text.map(|text| (name, Detail::Text(text.into()))));
        }
        self
    }

    fn iteration(&mut self, state: StateId, index: u32) -> &mut Self {
        self.name("name", state).number("index", Some(u64::from(index)))
    }

    fn variables(&mut self, assigned: Value) -> &mut Self {
        if self.payloads && assigned.is_object() && !assigned.is_empty() {
            let arena = self.arena;
            let members = arena.entries(assigned).map(|(name, value)| {
                let name = arena.str(name);
                let text = if self.redaction.is_empty() {
                    json::to_string(arena, value)
                } else {
                    String::from_utf8(self.redaction.member(arena, name, value)).unwrap_or_default()
                };
                (name.into(), Detail::Json(text.into()))
            });
            self.members.push(("assignedVariables", Detail::Members(members.collect())));
        }
        self
    }

    fn credentials(&mut self, credentials: Value) -> &mut Self {
        let role = self.arena.get_str(credentials, "RoleArn").and_then(|role| self.arena.as_str(role));
        if let Some(role) = role {
            let members = vec![("roleArn".into(), Detail::Text(role.into()))];
            self.members.push(("taskCredentials", Detail::Members(members)));
        }
        self
    }

    /// `resourceType` and `resource`: of a service in all events, of others in the first one only.
    fn resource(&mut self, task: TaskId, kind: TaskKind, first: bool) -> &mut Self {
        let resource = &self.program.tasks[task].resource;
        match &resource.kind {
            ResourceKind::Service { service, action } => {
                self.text("resourceType", service).text("resource", action);
            }
            _ if first || kind == TaskKind::Service => {
                self.text("resource", &resource.arn);
            }
            _ => {}
        }
        self
    }
}
