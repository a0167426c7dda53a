//! Behaviour as data: shared by the drivers that run the cases of `tests/suite` (its README describes a case).
#![allow(dead_code, reason = "each driver uses a part")]

use std::collections::HashMap;
use std::path::Path;

use expressway::asl::{self, MachineType};
use expressway::compile;
use expressway::engine::{Execution, Outcome, TaskCall};
use expressway::fault::Fault;
use expressway::json;
use expressway::observe::history::{Detail, Event};
use expressway::program::Program;
use expressway::runtime::inline::{Answer, Tasks};
use serde_json::{Value as Json, json};

/// 2024-01-01T00:00:00Z, when all executions begin.
pub(crate) const BEGIN_MS: u64 = 1_704_067_200_000;

/// What came out of a case.
pub(crate) struct Ran {
    pub(crate) status: &'static str,
    pub(crate) output: Json,
    pub(crate) error: Option<String>,
    pub(crate) cause: Option<String>,
    /// `None` without a listener.
    pub(crate) events: Option<Vec<Told>>,
    /// Bytes that the arena takes, where that is known.
    pub(crate) capacity: Option<u64>,
}

/// As much of an event as cases look at.
pub(crate) struct Told {
    pub(crate) id: u64,
    pub(crate) previous: u64,
    pub(crate) time_ms: u64,
    pub(crate) event_type: String,
    pub(crate) name: Option<String>,
    pub(crate) location: Option<String>,
    /// The names of the variables that are reported as assigned.
    pub(crate) assigned: Vec<String>,
}

impl Told {
    pub(crate) fn of(event: &Event) -> Told {
        Told {
            id: event.id,
            previous: event.previous,
            time_ms: event.time_ms,
            event_type: event.event_type.name().to_owned(),
            name: event.detail("name").and_then(|name| name.as_str()).map(str::to_owned),
            location: event.detail("location").and_then(|place| place.as_str()).map(str::to_owned),
            assigned: match event.detail("assignedVariables") {
                Some(Detail::Members(members)) => members.iter().map(|(name, _)| name.to_string()).collect(),
                _ => Vec::new(),
            },
        }
    }
}

impl Ran {
    /// The text of an outcome, without its output.
    pub(crate) fn of(outcome: &Outcome) -> Ran {
        let (status, fault) = match outcome {
            Outcome::Succeeded(_) => ("SUCCEEDED", None),
            Outcome::Failed(fault) => ("FAILED", Some(fault)),
            Outcome::TimedOut => ("TIMED_OUT", None),
            Outcome::Aborted(fault) => ("ABORTED", Some(fault)),
        };
        Ran {
            status,
            output: Json::Null,
            error: fault.and_then(|fault| fault.error.as_deref().map(str::to_owned)),
            cause: fault.and_then(|fault| fault.cause.clone()),
            events: None,
            capacity: None,
        }
    }
}

/// Why a case was not run by a driver.
pub(crate) enum NotRan {
    /// The driver does not support the case; a short reason.
    Cannot(&'static str),
    /// It should have.
    Failed(String),
}

impl From<String> for NotRan {
    fn from(why: String) -> NotRan {
        NotRan::Failed(why)
    }
}

/// Runs all cases by a driver, with a seed, and compares. `runs_min`: how many the driver can run at least, so that it
/// does not stop running them unnoticed.
pub(crate) fn run_all(driver: &str, runs_min: usize, run: impl Fn(&Json, u64) -> Result<Ran, NotRan>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let (mut passed, mut failed) = (0, 0);
    let mut left_out: HashMap<&str, usize> = HashMap::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "json")) {
        let text = std::fs::read(file).expect("a readable file");
        let cases: Vec<Json> =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for case in cases {
            let case = expand(case);
            let name = format!("{}: {}", file.file_stem().unwrap_or_default().display(), case["name"]);
            if std::env::var("EXPRESSWAY_CASE").is_ok_and(|filter| !name.contains(&filter)) {
                continue;
            }
            let seeds = case["seeds"].as_u64().unwrap_or(1);
            let once = |seed| compare(&case, &run(&case, seed)?).map_err(NotRan::Failed);
            match (1..=seeds).try_for_each(once) {
                Ok(()) => passed += 1,
                Err(NotRan::Cannot(why)) => *left_out.entry(why).or_default() += 1,
                Err(NotRan::Failed(why)) => {
                    failed += 1;
                    eprintln!("{driver}: {name}: {}", why.chars().take(1_000).collect::<String>());
                }
            }
        }
    }
    println!("suite {driver}: {passed} passed, {failed} failed, left out: {left_out:?}");
    assert_eq!(failed, 0, "cases fail");
    let filtered = std::env::var_os("EXPRESSWAY_CASE").is_some();
    assert!(filtered || passed >= runs_min, "only {passed} cases were run {driver}, not {runs_min}");
}

/// Its program.
pub(crate) fn program(case: &Json) -> Result<Program, String> {
    let definition = definition(case).to_string();
    let options = asl::Options { machine_type: MachineType::Express, ..asl::Options::default() };
    let (definition, problems) = asl::read(definition.as_bytes(), &options);
    let definition = definition
        .filter(|_| problems.iter().all(|problem| problem.severity != asl::Severity::Error))
        .ok_or_else(|| asl::invalid_definition(&problems))?;
    compile::compile(&definition).map_err(|errors| format!("{errors:?}"))
}

/// Its input, as JSON text.
pub(crate) fn input(case: &Json) -> String {
    case.get("input").cloned().unwrap_or_else(|| json!({})).to_string()
}

/// Compares everything the case specifies.
fn compare(case: &Json, ran: &Ran) -> Result<(), String> {
    outcome(case, ran)?;
    let most = case["arena_bytes_max"].as_u64().unwrap_or(u64::MAX);
    if let Some(capacity) = ran.capacity.filter(|capacity| *capacity > most) {
        return Err(format!("the arena took {capacity} bytes"));
    }
    let Some(events) = &ran.events else { return Ok(()) };
    times(case, events)?;
    chains(events)?;
    if let Some(wanted) = case["events"].as_array() {
        let found: Vec<String> =
            events.iter().zip(wanted).map(|(event, wanted)| notation(event, wanted)).collect();
        same("events", Some(&json!(wanted)), &json!(found))?;
        same("number of events", Some(&json!(wanted.len())), &json!(events.len()))?;
    }
    Ok(())
}

fn outcome(case: &Json, ran: &Ran) -> Result<(), String> {
    let wanted = case.get("status").cloned().unwrap_or_else(|| json!("SUCCEEDED"));
    if wanted != ran.status {
        return Err(format!("{} ({:?}: {:?}), not {wanted}", ran.status, ran.error, ran.cause));
    }
    if let Some(wanted) = case.get("output") {
        same("output", Some(wanted), &ran.output)?;
    }
    if matches!(ran.status, "FAILED" | "ABORTED") {
        same("error", Some(&case["error"]), &json!(ran.error))?;
        same("cause", case.get("cause"), &json!(ran.cause))?;
    }
    Ok(())
}

fn times(case: &Json, events: &[Told]) -> Result<(), String> {
    let scheduled: Vec<u64> = (events.iter())
        .filter(|event| event.event_type.ends_with("Scheduled"))
        .map(|event| event.time_ms - BEGIN_MS)
        .collect();
    same("scheduled_ms", case.get("scheduled_ms"), &json!(scheduled))?;
    let last = events.last().map_or(0, |event| event.time_ms - BEGIN_MS);
    same("elapsed_ms", case.get("elapsed_ms"), &json!(last))?;
    let gaps: Vec<u64> = scheduled.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (n, bounds) in case["gaps_ms"].as_array().into_iter().flatten().enumerate() {
        let (least, most) = (bounds[0].as_u64().unwrap_or(0), bounds[1].as_u64().unwrap_or(0));
        if !gaps.get(n).is_some_and(|gap| (least..=most).contains(gap)) {
            return Err(format!("gap {n} of {gaps:?} is not in {bounds}"));
        }
    }
    Ok(())
}

/// What holds for every history: ids count from 1, and an event hangs on an earlier one.
fn chains(events: &[Told]) -> Result<(), String> {
    for (n, event) in events.iter().enumerate() {
        if event.id != n as u64 + 1 || event.previous >= event.id {
            return Err(format!("event {n} has id {} and hangs on {}", event.id, event.previous));
        }
    }
    Ok(())
}

/// The event in as much detail as `wanted` goes into.
fn notation(event: &Told, wanted: &Json) -> String {
    let wanted = wanted.as_str().unwrap_or_default();
    let mut text = event.event_type.clone();
    if let Some(name) = event.name.as_ref().filter(|_| wanted.contains(':')) {
        text += &format!(":{name}");
    }
    if wanted.contains('#') {
        text += &format!("#{}", event.id);
    }
    if wanted.contains('<') {
        text += &format!("<{}", event.previous);
    }
    if wanted.contains('@') {
        text += &format!("@{}", event.location.as_deref().unwrap_or_default());
    }
    if wanted.contains('=') {
        text += &format!("={}", event.assigned.join(","));
    }
    text
}

fn same(what: &str, wanted: Option<&Json>, found: &Json) -> Result<(), String> {
    match wanted {
        Some(wanted) if !alike(wanted, found) => Err(format!("{what} is {found}, not {wanted}")),
        _ => Ok(()),
    }
}

/// Equal, numbers by value.
fn alike(wanted: &Json, found: &Json) -> bool {
    match (wanted, found) {
        (Json::Number(wanted), Json::Number(found)) => wanted == found || wanted.as_f64() == found.as_f64(),
        (Json::Array(wanted), Json::Array(found)) => {
            wanted.len() == found.len()
                && wanted.iter().zip(found).all(|(wanted, found)| alike(wanted, found))
        }
        (Json::Object(wanted), Json::Object(found)) => {
            wanted.len() == found.len()
                && wanted.iter().all(|(key, wanted)| found.get(key).is_some_and(|found| alike(wanted, found)))
        }
        _ => wanted == found,
    }
}

pub(crate) fn definition(case: &Json) -> Json {
    if let Some(rule) = case.get("rule") {
        let mut rule = rule.clone();
        rule["Next"] = "Yes".into();
        return json!({"StartAt": "S", "States": {
            "S": {"Type": "Choice", "Choices": [rule], "Default": "No"},
            "Yes": {"Type": "Pass", "Result": "yes", "End": true},
            "No": {"Type": "Pass", "Result": "no", "End": true}
        }});
    }
    match case.get("state") {
        Some(state) => json!({"StartAt": "S", "States": {"S": state}}),
        None => case["definition"].clone(),
    }
}

/// Makes large values of small notations.
fn expand(json: Json) -> Json {
    match json {
        Json::Object(members) => match (members.get("$repeat"), members.get("$list")) {
            (Some(repeat), _) => {
                repeat[0].as_str().unwrap_or_default().repeat(repeat[1].as_u64().unwrap_or(0) as usize).into()
            }
            (_, Some(list)) => vec![expand(list[0].clone()); list[1].as_u64().unwrap_or(0) as usize].into(),
            _ => members
                .into_iter()
                .map(|(key, value)| (key, expand(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        },
        Json::Array(items) => items.into_iter().map(expand).collect::<Vec<_>>().into(),
        json => json,
    }
}

/// Answers tasks as the case specifies.
pub(crate) struct Script {
    answers: Json,
    counts: HashMap<String, usize>,
}

/// The result of a task.
pub(crate) enum Scripted {
    Never,
    Over { after_ms: Option<u64>, result: Result<Vec<u8>, Fault> },
}

impl Script {
    pub(crate) fn new(case: &Json) -> Script {
        Script { answers: case["tasks"].clone(), counts: HashMap::new() }
    }

    /// The result of the next invocation of a state's task, with this input.
    pub(crate) fn next(&mut self, state: &str, given: &Json) -> Scripted {
        let fails = |error: &str, cause: String| Scripted::Over {
            after_ms: None,
            result: Err(Fault { error: Some(error.to_owned().into()), cause: Some(cause) }),
        };
        let Some(answers) = self.answers[state].as_array().filter(|answers| !answers.is_empty()) else {
            return fails("NoAnswer", state.to_owned());
        };
        let count = self.counts.entry(state.to_owned()).or_default();
        let answer = &answers[(*count).min(answers.len() - 1)];
        *count += 1;
        if let Err(why) = same("the task's input", answer.get("given"), given) {
            return fails("WrongInput", why);
        }
        if answer["never"] == true {
            return Scripted::Never;
        }
        let result = match answer.get("throw") {
            Some(thrown) => {
                let text = |name: &str| thrown[name].as_str().map(str::to_owned);
                Err(Fault { error: text("error").map(Into::into), cause: text("cause") })
            }
            // Without an answer in the case, the task returns its input.
            None => Ok(answer.get("return").unwrap_or(given).to_string().into_bytes()),
        };
        Scripted::Over { after_ms: answer["after_ms"].as_u64(), result }
    }
}

impl Tasks for Script {
    fn start(&mut self, program: &Program, execution: &mut Execution, call: &TaskCall) -> Answer {
        let input = execution.task_input(call.token).unwrap_or_default();
        let given: Json = serde_json::from_str(&json::to_string(&execution.arena, input)).unwrap_or_default();
        match self.next(program.name(call.state), &given) {
            Scripted::Never => Answer::Never,
            Scripted::Over { after_ms: Some(after_ms), result } => Answer::After(after_ms, result),
            Scripted::Over { after_ms: None, result } => {
                Answer::Now(result.map(|text| json::read(&mut execution.arena, &text).unwrap_or_default()))
            }
        }
    }
}
