//! Invariants of any machine, and a run that checks them. No answer of a task, no input and no machine may make the
//! engine panic, hang, or leave its history inconsistent.

use expressway::engine::{Execution, Outcome, TaskCall};
use expressway::fault::Fault;
use expressway::json;
use expressway::limits;
use expressway::observe::History;
use expressway::observe::history::Event;
use expressway::program::Program;
use expressway::runtime::Clock;
use expressway::runtime::inline::{Answer, Driver, Tasks};
use serde_json::Value as Json;
use std::sync::Arc;

/// A small seeded source of chance.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }
}

/// Virtual time that also passes with every look: a little at first, and fast when there were many looks without a wait,
/// so that a loop which never waits meets the five minutes soon.
struct Ticking {
    now_ms: u64,
    looks: u32,
}

impl Clock for Ticking {
    fn now_ms(&mut self) -> u64 {
        self.looks += 1;
        self.now_ms += if self.looks < 15 { 5 } else { 60_000 };
        self.now_ms
    }

    fn wait_until(&mut self, at_ms: u64) {
        self.looks = 0;
        self.now_ms = self.now_ms.max(at_ms);
    }
}

/// Answers tasks by chance: mostly with `result`, at times with one of `errors`, late, or never.
struct Chanced {
    chance: Chance,
    result: Json,
    errors: Vec<String>,
}

impl Tasks for Chanced {
    fn start(&mut self, _: &Program, execution: &mut Execution, _: &TaskCall) -> Answer {
        if self.chance.one_in(6) {
            let error = self.chance.pick(&self.errors).clone();
            return Answer::Now(Err(Fault {
                error: Some(error.into()),
                cause: Some("by chance".to_owned()),
            }));
        }
        let text = self.result.to_string().into_bytes();
        match self.chance.below(8) {
            0 => Answer::Never,
            1 | 2 => Answer::After(self.chance.below(3_000) as u64, Ok(text)),
            _ => match json::read(&mut execution.arena, &text) {
                Ok(value) => Answer::Now(Ok(value)),
                Err(_) => Answer::Never,
            },
        }
    }
}

const BEGIN_MS: u64 = 1_704_067_200_000;

/// How an execution went.
#[derive(Debug, PartialEq)]
pub(crate) struct Went {
    pub(crate) status: &'static str,
    output: Vec<u8>,
    events: Vec<Event>,
}

/// Runs the program once.
pub(crate) fn run(
    program: &Arc<Program>,
    input: &Json,
    result: &Json,
    errors: &[String],
    seed: u64,
) -> Result<Went, String> {
    let tasks = Chanced { chance: Chance(seed), result: result.clone(), errors: errors.to_vec() };
    let mut driver =
        Driver::with_tasks(program.clone(), Ticking { now_ms: BEGIN_MS, looks: 0 }, Box::new(tasks));
    driver.seed(seed);
    let mut history = History::new(4 << 20);
    let input = input.to_string();
    let ended = driver.run_listened(input.as_bytes(), &mut history).map_err(|error| error.to_string())?;
    let (status, error) = match ended.outcome() {
        Outcome::Succeeded(_) => ("SUCCEEDED", None),
        Outcome::Failed(fault) => ("FAILED", fault.error.as_deref().map(str::to_owned)),
        Outcome::TimedOut => ("TIMED_OUT", None),
        Outcome::Aborted(_) => ("ABORTED", None),
    };
    let mut output = Vec::new();
    ended.write_output(&mut output);
    if ended.succeeded() && serde_json::from_slice::<Json>(&output).is_err() {
        return Err(format!("the output is not JSON: {}", String::from_utf8_lossy(&output)));
    }
    if output.len() > limits::PAYLOAD_BYTES_MAX as usize {
        return Err(format!("the output has {} bytes", output.len()));
    }
    check(&history, status, error.as_deref())?;
    Ok(Went { status, output, events: history.events().cloned().collect() })
}

/// What holds for every history.
fn check(history: &History, status: &str, error: Option<&str>) -> Result<(), String> {
    let events: Vec<&Event> = history.events().collect();
    let first = history.dropped() + 1;
    let mut time_ms = BEGIN_MS;
    for (n, event) in events.iter().enumerate() {
        if event.id != first + n as u64 {
            return Err(format!("event {n} has the id {}", event.id));
        }
        if event.previous >= event.id {
            return Err(format!("event {} hangs on {}", event.id, event.previous));
        }
        if event.time_ms < time_ms {
            return Err(format!("event {} is earlier than the one before", event.id));
        }
        time_ms = event.time_ms;
        let name = event.event_type.name();
        let terminal = name.starts_with("Execution") && name != "ExecutionStarted";
        if terminal != (n + 1 == events.len()) {
            return Err(format!("{name} is event {n} of {}", events.len()));
        }
    }
    let last = events.last().ok_or("there is no event")?;
    let wanted = match status {
        "SUCCEEDED" => "ExecutionSucceeded",
        "FAILED" => "ExecutionFailed",
        "TIMED_OUT" => "ExecutionTimedOut",
        _ => "ExecutionAborted",
    };
    if last.event_type.name() != wanted {
        return Err(format!("{status}, but the last event is {}", last.event_type));
    }
    if status == "FAILED" && last.detail("error").and_then(|error| error.as_str()) != error {
        return Err(format!("the error is {error:?}, but the last event says {:?}", last.detail("error")));
    }
    if history.dropped() == 0 {
        balance(&events, status)?;
    }
    Ok(())
}

/// In an execution that succeeded, everything that was begun has ended: states, tasks, iterations.
fn balance(events: &[&Event], status: &str) -> Result<(), String> {
    let count =
        |names: &[&str]| events.iter().filter(|event| names.contains(&event.event_type.name())).count();
    if count(&["ExecutionStarted"]) != 1 {
        return Err("it does not begin once".to_owned());
    }
    if status != "SUCCEEDED" {
        return Ok(());
    }
    let ended = ["MapIterationSucceeded", "MapIterationFailed", "MapIterationAborted"];
    if count(&["MapIterationStarted"]) != count(&ended) {
        return Err(format!("{} iterations began, {} ended", count(&["MapIterationStarted"]), count(&ended)));
    }
    for kind in ["Pass", "Choice", "Succeed"] {
        let (entered, exited) = (format!("{kind}StateEntered"), format!("{kind}StateExited"));
        let (entered, exited) = (count(&[&*entered]), count(&[&*exited]));
        if exited > entered {
            return Err(format!("{entered} {kind} states were entered, {exited} exited"));
        }
    }
    Ok(())
}
