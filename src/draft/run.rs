//! A run of a draft: on the caller's thread, under virtual time, with mocks, and within limits.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value as Json, json};

use super::Draft;
use super::trace::{Step, with_steps};
use crate::asl::MachineType;
use crate::engine::{self, EventKind, Execution, Identity, Listener, Record, TaskCall};
use crate::fault::{self, Fault};
use crate::json::{self, Arena, Value};
use crate::limits;
use crate::observe::History;
use crate::observe::history::Event;
use crate::program::Program;
use crate::runtime::Clock;
use crate::runtime::inline::{Answer, Driver, Outcome, Tasks};
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
/// begin. With `output`, `error`, `cause`, and `trace`: the visits of states, the events, and the payloads, each once.
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
    let limit = Rc::new(Limit { until: Instant::now() + ask.within, why: Cell::new(None) });
    let clock = DraftClock { now_ms: ask.now_ms, limit: Rc::clone(&limit) };
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
    let mut recorder = Recorder {
        history: History::new(usize::MAX),
        steps: Vec::new(),
        late: Vec::new(),
        fresh: None,
        bytes_left: ask.bytes_max,
        events_left: ask.events_max,
        last: 0,
        limit: Rc::clone(&limit),
    };
    let mut ended = match driver.run_listened(ask.input.as_bytes(), &mut recorder) {
        Err(error) => return refused(error.to_string()),
        Ok(ended) => match ended.outcome() {
            Outcome::Succeeded(output) => {
                json!({"status": "SUCCEEDED", "output": json::to_string(&ended.execution().arena, *output)})
            }
            Outcome::Failed(fault) => json!({"status": "FAILED", "error": fault.error, "cause": fault.cause}),
            Outcome::Aborted(fault) => {
                json!({"status": "ABORTED", "error": fault.error, "cause": fault.cause})
            }
            Outcome::TimedOut => json!({"status": "TIMED_OUT", "error": fault::TIMEOUT}),
        },
    };
    let mut events: Vec<Event> = recorder.history.take();
    if let Some(why) = limit.why.get() {
        // The run was ended from outside: the engine's event of that is not the workflow's.
        events.retain(|event| event.event_type.name() != "ExecutionTimedOut");
        ended = json!({"status": "STOPPED", "why": why});
    }
    ended["trace"] = with_steps(&events, &recorder.steps);
    ended
}

/// The name of the one machine, and of its one test case.
const DRAFT: &str = "Draft";

fn mocks(text: &str) -> Result<Option<TestCase>, String> {
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

/// When a run must end, and why it was ended.
struct Limit {
    until: Instant,
    why: Cell<Option<&'static str>>,
}

impl Limit {
    fn is_reached(&self) -> bool {
        if self.why.get().is_none() && Instant::now() >= self.until {
            self.why
                .set(Some("The run took longer than runs of drafts may: is there a loop without an end?"));
        }
        self.why.get().is_some()
    }
}

/// Virtual time: it passes at once when something waits for it; when the run is to end, all of it has passed.
struct DraftClock {
    now_ms: u64,
    limit: Rc<Limit>,
}

/// Longer than any execution may take.
const LONG_AFTER_MS: u64 = 10 * 366 * 86_400_000;

impl Clock for DraftClock {
    fn now_ms(&mut self) -> u64 {
        self.now_ms.saturating_add(if self.limit.is_reached() { LONG_AFTER_MS } else { 0 })
    }

    fn wait_until(&mut self, at_ms: u64) {
        self.now_ms = self.now_ms.max(at_ms);
    }
}

/// Records what happens, up to the limits.
struct Recorder {
    history: History,
    steps: Vec<Step>,
    /// Steps that belong to the next record.
    late: Vec<(&'static str, String)>,
    /// The steps of the state that was just entered, as long as no other event has followed.
    fresh: Option<Vec<&'static str>>,
    bytes_left: usize,
    events_left: usize,
    last: u64,
    limit: Rc<Limit>,
}

impl Listener for Recorder {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        if self.limit.why.get().is_some() {
            return;
        }
        let before = self.history.bytes();
        self.history.record(program, arena, record);
        self.spend(self.history.bytes() - before);
        match self.events_left.checked_sub(1) {
            Some(left) => self.events_left = left,
            None => self.limit.why.set(Some("The run had more events than runs of drafts may have.")),
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
        if self.limit.why.get().is_some() {
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
            None => self.limit.why.set(Some("The run had more data than runs of drafts may have.")),
        }
    }
}
