//! AWS's quotas, and how much of them a definition and its last run use.

use serde_json::{Value as Json, json};

use super::estimate::Billed;
use super::places::Places;
use super::trace;
use crate::asl::MachineType;
use crate::fault;
use crate::json::source::{Node, Span};
use crate::limits;
use crate::observe::history::{Detail, Event};

/// What a run used.
#[derive(Debug, Default)]
pub struct Used {
    events: u64,
    /// From its first event to its last one.
    ms: u64,
    /// State transitions, as they are billed: the start, each visit of a state, and each retry.
    transitions: u64,
    /// The inputs of all branches and iterations together.
    steps_bytes: u64,
    payload: Size,
    variable: Size,
    /// Quotas that it met.
    crossed: Vec<Crossed>,
}

/// The largest of its kind, and the state that has it.
#[derive(Debug, Default)]
struct Size {
    bytes: u64,
    state: String,
}

/// The error with which a quota was met.
#[derive(Debug, Default, PartialEq)]
struct Crossed {
    code: String,
    message: String,
    /// Where; empty for the execution as a whole.
    state: String,
}

/// Of errors that repeat, so many are told.
const CROSSED_MAX: usize = 20;

impl Used {
    /// Of the events of a run, from its first one on.
    pub(super) fn of(events: &[Event]) -> Used {
        let mut used = Used { events: events.len() as u64, ..Used::default() };
        if let (Some(first), Some(last)) = (events.first(), events.last()) {
            used.ms = last.time_ms.saturating_sub(first.time_ms);
        }
        let (mut payload, mut variable) = ((0, 0), (0, 0));
        for (n, event) in events.iter().enumerate() {
            for (name, detail) in &event.details {
                match detail {
                    Detail::Json(text) => payload = payload.max((text.len(), n)),
                    Detail::Members(members) if *name == "assignedVariables" => {
                        let sizes = members.iter().filter_map(|(_, it)| Some(it.as_str()?.len()));
                        variable = variable.max((sizes.max().unwrap_or(0), n));
                    }
                    _ => {}
                }
            }
            if let Some(met) = used.met(events, n)
                && used.crossed.len() < CROSSED_MAX
                && !used.crossed.contains(&met)
            {
                used.crossed.push(met);
            }
        }
        (used.transitions, used.steps_bytes) = trace::transitions(events);
        let size = |(bytes, n)| Size { bytes: bytes as u64, state: state_of(events, n) };
        (used.payload, used.variable) = (size(payload), size(variable));
        used
    }

    /// As a run tells it, and [`read`](Used::read) reads it. By hand, for what serde derives is many times as large.
    pub(super) fn json(&self) -> Json {
        let size = |it: &Size| json!({"bytes": it.bytes, "state": it.state});
        let crossed = self.crossed.iter();
        let crossed: Vec<Json> =
            crossed.map(|it| json!({"code": it.code, "message": it.message, "state": it.state})).collect();
        json!({
            "events": self.events, "ms": self.ms, "transitions": self.transitions, "stepsBytes": self.steps_bytes, "payload": size(&self.payload), "variable": size(&self.variable),
            "crossed": crossed,
        })
    }

    /// What a run has told.
    pub fn read(told: &Json) -> Option<Used> {
        let text = |it: &Json, name: &str| it[name].as_str().map(str::to_owned);
        let size = |name: &str| {
            let it = &told[name];
            Some(Size { bytes: it["bytes"].as_u64()?, state: text(it, "state")? })
        };
        let crossed = told["crossed"].as_array()?.iter().map(|it| {
            Some(Crossed {
                code: text(it, "code")?,
                message: text(it, "message")?,
                state: text(it, "state")?,
            })
        });
        Some(Used {
            events: told["events"].as_u64()?,
            ms: told["ms"].as_u64()?,
            transitions: told["transitions"].as_u64()?,
            steps_bytes: told["stepsBytes"].as_u64()?,
            payload: size("payload")?,
            variable: size("variable")?,
            crossed: crossed.collect::<Option<Vec<Crossed>>>()?,
        })
    }

    /// What is billed of it. Its data is estimated as AWS does: that of all branches and iterations, or without such the largest
    /// payload.
    pub(super) fn billed(&self) -> Billed {
        let data = self.payload.bytes.max(self.steps_bytes);
        Billed { transitions: self.transitions, ms: self.ms, data }
    }

    /// The quota that an event tells of.
    fn met(&self, events: &[Event], n: usize) -> Option<Crossed> {
        let event = &events[n];
        let (code, cause) = (event.text("error"), event.text("cause"));
        let message = match event.event_type.name() {
            "ExecutionTimedOut" => {
                let message = format!("The execution timed out after {} s", self.ms / 1_000);
                return Some(Crossed { code: fault::TIMEOUT.to_owned(), message, state: String::new() });
            }
            _ if code == fault::DATA_LIMIT_EXCEEDED => cause,
            "ExecutionFailed" if self.events >= limits::HISTORY_EVENTS_MAX && code == fault::RUNTIME => cause,
            _ => return None,
        };
        Some(Crossed { code: code.to_owned(), message: message.to_owned(), state: state_of(events, n) })
    }
}

/// The state that an event belongs to, by the events before it.
fn state_of(events: &[Event], mut n: usize) -> String {
    let first = events.first().map_or(0, |first| first.id);
    while let Some(event) = events.get(n) {
        let event_type = event.event_type.name();
        if event_type.ends_with("StateEntered") || event_type.ends_with("StateExited") {
            return event.text("name").to_owned();
        }
        match event.previous.checked_sub(first).and_then(|before| usize::try_from(before).ok()) {
            Some(before) if before < n => n = before,
            _ => break,
        }
    }
    String::new()
}

/// What is measured of a definition.
pub(super) struct Measured<'m> {
    pub(super) root: &'m Node,
    /// The definition as JSON: what the API takes.
    pub(super) definition: &'m str,
    pub(super) machine_type: MachineType,
    /// The name of the state machine; empty if it is not known.
    pub(super) name: &'m str,
    pub(super) tags: Option<usize>,
}

/// A quota, and how much of it is used.
struct Quota {
    name: &'static str,
    unit: &'static str,
    used: u64,
    allowed: u64,
    of_run: bool,
    state: String,
    span: Option<Span>,
}

const fn quota(name: &'static str, unit: &'static str, used: u64, allowed: u64) -> Quota {
    Quota { name, unit, used, allowed, of_run: false, state: String::new(), span: None }
}

impl Quota {
    /// Something that the last run used, perhaps in one state.
    fn of_run(self, state: &str) -> Quota {
        Quota { of_run: true, state: state.to_owned(), ..self }
    }

    fn json(&self, places: &Places) -> Json {
        let level = match self.used {
            used if used > self.allowed => "over",
            used if used.saturating_mul(5) >= self.allowed.saturating_mul(4) => "near",
            _ => "within",
        };
        let mut told = json!({
            "quota": self.name, "unit": self.unit, "used": self.used, "allowed": self.allowed, "run": self.of_run,
            "level": level,
        });
        if !self.state.is_empty() {
            told["state"] = json!(self.state);
        }
        if let Some(span) = self.span {
            told["from"] = json!(places.of_byte(span.start as usize));
            told["to"] = json!(places.of_byte(span.end as usize));
        }
        told
    }
}

/// The quotas that a definition uses, and those that its last run used.
pub(super) fn quotas(measured: &Measured<'_>, used: Option<&Used>, places: &Places) -> Vec<Json> {
    let chars = |text: &str| text.chars().count() as u64;
    let mut rows = vec![
        quota("Definition", "bytes", measured.definition.len() as u64, limits::DEFINITION_BYTES_MAX as u64),
        // It is a JSON string there: quotes and line feeds take two bytes.
        quota(
            "Definition in the request that creates it",
            "bytes",
            json!(measured.definition).to_string().len() as u64,
            limits::REQUEST_BYTES_MAX as u64,
        ),
    ];
    let mut longest = None;
    names(measured.root, &mut |name, span| {
        if longest.is_none_or(|(most, _)| chars(name) > most) {
            longest = Some((chars(name), span));
        }
    });
    if let Some((most, span)) = longest {
        let row = quota("Longest name of a state", "characters", most, limits::STATE_NAME_CHARS_MAX as u64);
        rows.push(Quota { span: Some(span), ..row });
    }
    if !measured.name.is_empty() {
        let max = limits::NAME_CHARS_MAX as u64;
        rows.push(quota("Name of the state machine", "characters", chars(measured.name), max));
    }
    if let Some(tags) = measured.tags {
        rows.push(quota("Tags of the state machine", "tags", tags as u64, limits::TAGS_MAX as u64));
    }
    if let Some(used) = used {
        of_run(used, measured.machine_type, &mut rows);
    }
    rows.iter().map(|row| row.json(places)).collect()
}

fn of_run(used: &Used, machine_type: MachineType, rows: &mut Vec<Quota>) {
    let payload_max = u64::from(limits::PAYLOAD_BYTES_MAX);
    rows.push(quota("Largest payload", "bytes", used.payload.bytes, payload_max).of_run(&used.payload.state));
    if used.variable.bytes > 0 {
        let max = u64::from(limits::ASSIGN_BYTES_MAX);
        rows.push(quota("Largest variable", "bytes", used.variable.bytes, max).of_run(&used.variable.state));
    }
    let seconds = used.ms.div_ceil(1_000);
    match machine_type {
        MachineType::Express => {
            rows.push(quota("Time of the execution", "s", seconds, limits::EXPRESS_SECONDS_MAX).of_run(""));
        }
        MachineType::Standard => {
            rows.push(quota("Time of the execution", "s", seconds, limits::STANDARD_SECONDS_MAX).of_run(""));
            // An Express execution may have any number.
            rows.push(quota("Events", "events", used.events, limits::HISTORY_EVENTS_MAX).of_run(""));
        }
    }
}

/// What the last run met.
pub(super) fn crossed(used: &Used) -> impl Iterator<Item = Json> {
    used.crossed.iter().map(|it| {
        let mut told = json!({"when": "last", "severity": "ERROR", "code": it.code, "message": it.message});
        if !it.state.is_empty() {
            told["state"] = json!(it.state);
        }
        told
    })
}

/// The names of all states, with their places. The depth is bounded by the reader of the text.
fn names<'n>(workflow: &'n Node, tell: &mut dyn FnMut(&'n str, Span)) {
    for state in workflow.get("States").and_then(Node::members).unwrap_or(&[]) {
        tell(&state.key.value, state.key.span);
        for field in ["ItemProcessor", "Iterator"] {
            if let Some(inner) = state.value.get(field) {
                names(inner, tell);
            }
        }
        for branch in state.value.get("Branches").and_then(Node::items).unwrap_or(&[]) {
            names(branch, tell);
        }
    }
}
