//! A run of a draft: on the caller's thread, under virtual time, with mocks, and within limits.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};

use super::Draft;
use super::quotas::Used;
use super::recorder::{Limit, Recorder, ending};
use super::trace::with_steps;
use crate::asl::MachineType;
use crate::engine::{Execution, Identity, TaskCall};
use crate::fault::{self, Fault};
use crate::limits;
use crate::observe::history::Event;
use crate::program::Program;
use crate::runtime::Clock;
use crate::runtime::inline::{Answer, Driver, Tasks};
use crate::task::mock::{MockConfig, TestCase};

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// The input: JSON text.
    pub input: &'a str,
    /// By state, the answers of its task, as in `MockedResponses` of Step Functions Local's file: JSON text, or empty.
    pub mocks: &'a str,
    /// The clock's time when it begins, in milliseconds since 1970.
    pub now_ms: u64,
    /// The source of everything random.
    pub seed: u64,
    /// How much real time it may take.
    pub within: Duration,
    /// Events that it may have.
    pub events_max: usize,
    /// Bytes of all payloads that are returned.
    pub bytes_max: usize,
}

/// Runs a draft.
///
/// `status` is AWS's, or `STOPPED` with `why` when the run exceeded its limits, or `REFUSED` with `why` when it did not
/// begin. With `output`, `error`, `cause`, `used`, what [`on_aws`](super::on_aws) takes, and `trace`: the visits of states, the
/// events, and the payloads, each once.
pub fn run(draft: Draft<'_>, ask: &Ask<'_>) -> Json {
    let refused = |why: String| json!({"status": "REFUSED", "why": why});
    let program = match draft.program() {
        Ok(program) => program,
        Err(why) => return refused(why),
    };
    let mocks = match mocks(ask.mocks) {
        Ok(mocks) => mocks,
        Err(why) => return refused(format!("The mocks cannot be used: {why}")),
    };
    let limit = Arc::new(OnceLock::new());
    let until = Instant::now() + ask.within;
    let clock = DraftClock { now_ms: ask.now_ms, until, limit: Arc::clone(&limit) };
    let mut driver = Driver::with_tasks(program, clock, Box::new(Mocks(mocks)));
    driver.seed(ask.seed);
    let is_standard = draft.machine_type == MachineType::Standard;
    driver.identify(Identity {
        state_machine_arn: "arn:aws:states:us-east-1:123456789012:stateMachine:Draft".into(),
        state_machine_name: "Draft".into(),
        role_arn: "arn:aws:iam::123456789012:role/expressway".into(),
        is_standard,
        ..Identity::default()
    });
    if is_standard {
        driver.limit(limits::STANDARD_SECONDS_MAX, limits::EXECUTION_BYTES_MAX);
    }
    let mut recorder = Recorder::new(ask.events_max, ask.bytes_max, Arc::clone(&limit));
    let mut ended = match driver.run_listened(ask.input.as_bytes(), &mut recorder) {
        Err(error) => return refused(error.to_string()),
        Ok(ended) => ending(&ended.execution().arena, ended.outcome()),
    };
    let mut events: Vec<Event> = recorder.history.take();
    if let Some(why) = limit.get() {
        // The run was ended from outside: the engine's event of that is not the workflow's.
        events.retain(|event| event.event_type.name() != "ExecutionTimedOut");
        ended = json!({"status": "STOPPED", "why": why});
    }
    ended["used"] = Used::of(&events).json();
    ended["trace"] = with_steps(&events, &recorder.steps);
    ended
}

/// The name of the one machine, and of its one test case.
const DRAFT: &str = "Draft";

/// The mocks of a run, from the text of [`Ask::mocks`]: none if it is empty.
///
/// # Errors
/// Why the text cannot be used.
pub fn mocks(text: &str) -> Result<Option<TestCase>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let responses: Map<String, Json> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let named: Map<String, Json> = responses.keys().map(|state| (state.clone(), json!(state))).collect();
    let config = json!({
        "StateMachines": {DRAFT: {"TestCases": {DRAFT: named}}}, "MockedResponses": responses,
    });
    let config = MockConfig::parse(config.to_string().as_bytes()).map_err(|error| error.to_string())?;
    config.test_case(DRAFT, DRAFT).map(Some).map_err(|error| error.to_string())
}

/// Answers tasks from mocks, and calls nothing.
struct Mocks(Option<TestCase>);

impl Tasks for Mocks {
    fn start(&mut self, program: &Program, execution: &mut Execution, call: &TaskCall) -> Answer {
        let state = program.name(call.state);
        match &mut self.0 {
            Some(mocks) if mocks.has(state) => mocks.start(program, execution, call),
            _ => {
                // `States.Runtime`, because Retry and Catch should not handle this like an error of the workflow.
                let cause =
                    format!("The task of the state '{state}' has no mock, and runs of drafts call nothing.");
                Answer::Now(Err(Fault::new(fault::RUNTIME, cause)))
            }
        }
    }
}

/// Virtual time: it passes at once when something waits for it; when the run is to end, all of it has passed.
struct DraftClock {
    now_ms: u64,
    until: Instant,
    limit: Limit,
}

impl DraftClock {
    fn is_over(&self) -> bool {
        if self.limit.get().is_none() && Instant::now() >= self.until {
            // It is set here only: this run is on one thread.
            let _ = self
                .limit
                .set("The run took longer than runs of drafts may: is there a loop without an end?");
        }
        self.limit.get().is_some()
    }
}

/// Longer than any execution may take.
const LONG_AFTER_MS: u64 = 10 * 366 * 86_400_000;

impl Clock for DraftClock {
    fn now_ms(&mut self) -> u64 {
        self.now_ms.saturating_add(if self.is_over() { LONG_AFTER_MS } else { 0 })
    }

    fn wait_until(&mut self, at_ms: u64) {
        self.now_ms = self.now_ms.max(at_ms);
    }
}
