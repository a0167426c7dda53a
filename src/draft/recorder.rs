//! What is recorded of a run: its events, and the values at the steps inside of states.

use std::sync::{Arc, OnceLock};

use serde_json::{Value as Json, json};

use super::trace::Step;
use crate::engine::{self, EventKind, Listener, Outcome, Record};
use crate::fault;
use crate::json::{self, Arena, Value};
use crate::observe::History;
use crate::program::Program;

/// Why a run is ended before its end; unset while it may go on.
pub(super) type Limit = Arc<OnceLock<&'static str>>;

/// Records what happens, up to the limits.
pub(super) struct Recorder {
    pub(super) history: History,
    pub(super) steps: Vec<Step>,
    /// Steps that belong to the next record.
    late: Vec<(&'static str, String)>,
    /// The steps of the state that was just entered, as long as no other event has followed.
    fresh: Option<Vec<&'static str>>,
    bytes_left: usize,
    events_left: usize,
    last: u64,
    limit: Limit,
}

impl Recorder {
    pub(super) fn new(events_max: usize, bytes_max: usize, limit: Limit) -> Recorder {
        Recorder {
            history: History::new(usize::MAX),
            steps: Vec::new(),
            late: Vec::new(),
            fresh: None,
            bytes_left: bytes_max,
            events_left: events_max,
            last: 0,
            limit,
        }
    }
}

impl Listener for Recorder {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        if self.limit.get().is_some() {
            return;
        }
        let before = self.history.bytes();
        self.history.record(program, arena, record);
        self.spend(self.history.bytes() - before);
        match self.events_left.checked_sub(1) {
            Some(left) => self.events_left = left,
            None => self.exceed("The run had more events than runs of drafts may have."),
        }
        self.last = record.id;
        for (label, text) in self.late.drain(..) {
            self.steps.push(Step { event: record.id, label, text });
        }
        self.fresh = matches!(record.event_kind, EventKind::StateEntered { .. }).then(Vec::new);
    }

    fn step(&mut self, arena: &Arena, step: engine::Step<'_>) {
        use engine::Step::*;
        let (label, value) = match step {
            InputPath(value) => ("InputPath", value),
            Parameters(value) => ("Arguments or Parameters", value),
            Items(value) => ("Items", value),
            Item(value) => ("ItemSelector", value),
            Result(value) => ("Result", value),
            ResultSelector(value) => ("ResultSelector", value),
            ResultPath(value) => ("ResultPath", value),
            Retry(n, delay_ms) => return self.retry(n, delay_ms),
            _ => return,
        };
        self.keep(label, arena, value);
    }
}

impl Recorder {
    /// Steps on a state's input follow the state's entry, or precede its other events.
    fn keep(&mut self, label: &'static str, arena: &Arena, value: Value) {
        if self.limit.get().is_some() {
            return;
        }
        let text = json::to_string(arena, value);
        self.spend(text.len());
        match &mut self.fresh {
            Some(seen) if !seen.contains(&label) => {
                seen.push(label);
                self.steps.push(Step { event: self.last, label, text });
            }
            _ => self.late.push((label, text)),
        }
    }

    fn retry(&mut self, retrier: usize, delay_ms: Option<u64>) {
        let text = match delay_ms {
            Some(ms) => json!({"retrier": retrier, "afterMilliseconds": ms}),
            None => json!({"retrier": retrier, "attemptsLeft": 0}),
        };
        self.steps.push(Step { event: self.last, label: "Retry", text: text.to_string() });
    }

    fn spend(&mut self, bytes: usize) {
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => self.bytes_left = left,
            None => self.exceed("The run had more data than runs of drafts may have."),
        }
    }

    fn exceed(&self, why: &'static str) {
        // Only the first reason is kept.
        let _ = self.limit.set(why);
    }
}

/// The outcome as runs tell it: `status`, and `output`, or `error` and `cause`.
pub(super) fn ending(arena: &Arena, outcome: &Outcome) -> Json {
    match outcome {
        Outcome::Succeeded(output) => {
            json!({"status": "SUCCEEDED", "output": json::to_string(arena, *output)})
        }
        Outcome::Failed(fault) => json!({"status": "FAILED", "error": fault.error, "cause": fault.cause}),
        Outcome::Aborted(fault) => json!({"status": "ABORTED", "error": fault.error, "cause": fault.cause}),
        Outcome::TimedOut => json!({"status": "TIMED_OUT", "error": fault::TIMEOUT}),
    }
}
