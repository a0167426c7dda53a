//! A run of a draft for real: an execution of an engine, recorded as runs with mocks are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value as Json, json};

use super::quotas::Used;
use super::recorder::{Limit, Recorder, ending};
use super::trace::with_steps;
use crate::engine::{EventMask, Listener, Outcome, Record, Step};
use crate::json::Arena;
use crate::observe::Watcher;
use crate::observe::history::Event;
use crate::program::Program;

/// What is known of a run for real, while it goes on and afterwards. Clones are the same run.
#[derive(Clone)]
pub struct RealRun {
    recorded: Arc<Mutex<Recorded>>,
    limit: Limit,
    bytes_max: usize,
}

struct Recorded {
    recorder: Recorder,
    /// The outcome, once it is over.
    ended: Option<Json>,
}

impl std::fmt::Debug for RealRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RealRun").field("why", &self.why()).finish_non_exhaustive()
    }
}

impl RealRun {
    /// A run that may have so many events and bytes of payloads.
    pub fn new(events_max: usize, bytes_max: usize) -> RealRun {
        let limit = Limit::default();
        let recorder = Recorder::new(events_max, bytes_max, Arc::clone(&limit));
        let recorded = Arc::new(Mutex::new(Recorded { recorder, ended: None }));
        RealRun { recorded, limit, bytes_max }
    }

    /// What the execution has to be started with.
    pub fn watcher(&self) -> Box<dyn Watcher> {
        Box::new(self.clone())
    }

    /// Records nothing from now on, and tells why; the execution is for the caller to abort. The first reason counts.
    pub fn stop(&self, why: &'static str) {
        // Set already: it was stopped before, or reached a limit.
        let _ = self.limit.set(why);
    }

    /// Why it has to be aborted, or was: it was stopped, or reached a limit.
    pub fn why(&self) -> Option<&'static str> {
        self.limit.get().copied()
    }

    /// Whether its execution is over.
    pub fn is_over(&self) -> bool {
        self.recorded().ended.is_some()
    }

    /// As runs with mocks answer: `status`, which is `RUNNING` before the end, and the `trace` so far.
    pub fn json(&self) -> Json {
        let (trace, used, ended) = {
            let recorded = self.recorded();
            let events: Vec<Event> = recorded.recorder.history.events().cloned().collect();
            let trace = with_steps(&events, &recorded.recorder.steps);
            (trace, Used::of(&events), recorded.ended.clone())
        };
        // What was stopped is not waited for: its end is not recorded.
        let mut told = match (self.why(), ended) {
            (Some(why), _) => json!({"status": "STOPPED", "why": why}),
            (None, Some(ended)) => ended,
            (None, None) => json!({"status": "RUNNING"}),
        };
        (told["trace"], told["used"]) = (trace, used.json());
        told
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        // A recording is consistent between any two of its events.
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for RealRun {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        self.recorded().recorder.record(program, arena, record);
    }

    fn step(&mut self, arena: &Arena, step: Step<'_>) {
        self.recorded().recorder.step(arena, step);
    }
}

impl Watcher for RealRun {
    fn event_mask(&self) -> EventMask {
        EventMask::ALL
    }

    fn kept_bytes(&self) -> usize {
        self.bytes_max
    }

    fn ended(&mut self, arena: &Arena, outcome: &Outcome, _now_ms: u64) {
        self.recorded().ended = Some(ending(arena, outcome));
    }
}
