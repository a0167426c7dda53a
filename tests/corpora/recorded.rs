//! Recorded executions: how a case is run, and how its outcome is compared (defined in the corpus's README).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use expressway::engine::{Execution, Identity, Outcome, TaskCall};
use expressway::fault::Fault;
use expressway::json::{self, Value};
use expressway::observe::history::{Detail, Event};
use expressway::observe::{History, log};
use expressway::program::Program;
use expressway::runtime::VirtualClock;
use expressway::runtime::inline::{Answer, Driver, Tasks};
use expressway::{asl, compile};
use serde_json::{Map, Value as Json, json};

/// What came out of a run.
pub(crate) struct Run {
    pub(crate) status: &'static str,
    pub(crate) output: Option<Json>,
    pub(crate) error: Option<String>,
    pub(crate) cause: Option<String>,
    /// Its events as the corpus writes them.
    pub(crate) history: Vec<Flat>,
    /// Its events, if their log can be compared.
    pub(crate) logged: Option<Vec<Event>>,
}

/// An event as the corpus writes it: its details flattened, payloads parsed.
pub(crate) type Flat = Map<String, Json>;

/// Why a case cannot be played, on any driver.
pub(crate) fn left_out(case: &Json) -> Option<&'static str> {
    let flagged = |flag: &str| case["flags"].as_array().is_some_and(|flags| flags.contains(&flag.into()));
    let whys = case["standard_only"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(case["features"].as_array().into_iter().flatten());
    if whys.clone().any(|why| why.as_str().is_some_and(|why| why.to_lowercase().contains("distributed")))
        || is_distributed(&case["definition"])
    {
        return Some("Distributed Map");
    }
    if flagged("not_terminated") {
        return Some("the recording ends while the execution runs");
    }
    let has_mocks = case["mocks"].as_object().is_some_and(|mocks| !mocks.is_empty());
    (flagged("mocks_ambiguous") && !has_mocks).then_some("the recording does not say which task came to what")
}

fn is_distributed(definition: &Json) -> bool {
    match definition {
        Json::Object(members) => {
            members.get("Mode").is_some_and(|mode| mode == "DISTRIBUTED")
                || members.values().any(is_distributed)
        }
        Json::Array(items) => items.iter().any(is_distributed),
        _ => false,
    }
}

/// Runs a case in line, under virtual time.
pub(crate) fn run(case: &Json) -> Result<Run, String> {
    let definition = match &case["definition"] {
        Json::String(text) => text.clone(),
        definition => definition.to_string(),
    };
    let machine_type = if case["express_applicable"] == true {
        asl::MachineType::Express
    } else {
        asl::MachineType::Standard
    };
    let options = asl::Options { machine_type, ..asl::Options::default() };
    let (definition, problems) = asl::read(definition.as_bytes(), &options);
    let definition = definition
        .filter(|_| problems.iter().all(|problem| problem.severity != asl::Severity::Error))
        .ok_or_else(|| format!("refused: {}", asl::invalid_definition(&problems)))?;
    let program = compile::compile(&definition).map_err(|errors| format!("not compiled: {errors:?}"))?;
    let complaints = Arc::new(Mutex::new(Vec::new()));
    let script = Script::new(case, complaints.clone());
    // 2024-11-04T11:41:06.123Z, a moment after all past timestamps in the corpus and before the future ones.
    let clock = VirtualClock::at(1_730_720_466_123);
    let mut driver = Driver::with_tasks(program.into(), clock, Box::new(script));
    driver.seed(1);
    driver.identify(identity(case));
    if case["machine_type"] != "EXPRESS" {
        driver.limit(365 * 86_400, expressway::limits::EXECUTION_BYTES_MAX);
    }
    let mut history = History::new(64 << 20);
    let input = case["input"].to_string();
    let ended = driver.run_listened(input.as_bytes(), &mut history).map_err(|error| error.to_string())?;
    let (status, fault) = match ended.outcome() {
        Outcome::Succeeded(_) => ("SUCCEEDED", None),
        Outcome::Failed(fault) => ("FAILED", Some(fault)),
        Outcome::TimedOut => ("TIMED_OUT", None),
        Outcome::Aborted(fault) => ("ABORTED", Some(fault)),
    };
    let mut output = Vec::new();
    ended.write_output(&mut output);
    let run = Run {
        status,
        output: (status == "SUCCEEDED")
            .then(|| serde_json::from_slice(&output))
            .transpose()
            .map_err(|e| e.to_string())?,
        error: fault.and_then(|fault| fault.error.as_deref().map(str::to_owned)),
        cause: fault.and_then(|fault| fault.cause.clone()),
        history: history.events().map(flat).collect(),
        logged: Some(history.events().cloned().collect()),
    };
    let complaints = complaints.lock().unwrap();
    if complaints.is_empty() { Ok(run) } else { Err(complaints.join("; ")) }
}

fn identity(case: &Json) -> Identity {
    let text = |name: &str| case["context"][name].as_str().unwrap_or_default().into();
    Identity {
        execution_arn: text("execution_arn"),
        execution_name: text("execution_name"),
        state_machine_arn: text("state_machine_arn"),
        state_machine_name: text("state_machine_name"),
        role_arn: text("role_arn"),
        // A synchronous Express execution does not show it, and nothing did before redrive came (15 November 2023).
        shows_redrive_count: case["expected"].get("sync_response").is_none()
            && case["source"]["validated"].as_str().is_none_or(|date| date >= "2023-11-15"),
        ..Identity::default()
    }
}

/// Answers tasks from the case's mocks, and checks what they are given.
pub(crate) struct Script {
    mocks: Vec<(String, Vec<Json>)>,
    /// By state, which mocks were used.
    used: HashMap<String, Vec<bool>>,
    /// Match invocations by what they are given.
    by_parameters: bool,
    wild: Vec<String>,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Script {
    pub(crate) fn new(case: &Json, complaints: Arc<Mutex<Vec<String>>>) -> Script {
        let mocks: Vec<(String, Vec<Json>)> = (case["mocks"].as_object().into_iter().flatten())
            .map(|(state, mocks)| (state.clone(), mocks.as_array().cloned().unwrap_or_default()))
            .collect();
        let used = mocks.iter().map(|(state, mocks)| (state.clone(), vec![false; mocks.len()])).collect();
        let flagged = |flag: &str| case["flags"].as_array().is_some_and(|flags| flags.contains(&flag.into()));
        let by_parameters =
            ["concurrent", "mocks_ambiguous", "mocks_by_resource"].iter().any(|flag| flagged(flag));
        Script { mocks, used, by_parameters, wild: wildcards(case, "history"), complaints }
    }

    fn complain(&self, text: String) {
        self.complaints.lock().unwrap().push(text);
    }

    /// The mock for this invocation.
    fn pick(&mut self, state: &str, parameters: &Json, resource: &str) -> Option<Json> {
        let mocks = &self.mocks.iter().find(|(name, _)| name == state)?.1;
        let used = self.used.get_mut(state)?;
        let fits = |mock: &Json| {
            mock.get("parameters").is_none_or(|wanted| matches(wanted, parameters, &self.wild))
                && mock["resource"].as_str().is_none_or(|wanted| resource.ends_with(wanted))
        };
        let free = |n: usize| !used[n] || mocks[n]["repeat"] == true;
        let n =
            if self.by_parameters { (0..mocks.len()).find(|&n| free(n) && fits(&mocks[n])) } else { None };
        let n = n.or_else(|| (0..mocks.len()).find(|&n| free(n)))?;
        used[n] = true;
        Some(mocks[n].clone())
    }

    fn check(&self, state: &str, mock: &Json, given: &Json, credentials: Option<&Json>, call: &TaskCall) {
        if let Some(wanted) = mock.get("parameters")
            && !matches(wanted, given, &self.wild)
        {
            self.complain(format!("{state} was given {given}, recorded {wanted}"));
        }
        if let Some(wanted) = mock.get("taskCredentials") {
            let role = credentials.map(|credentials| &credentials["RoleArn"]);
            if role != Some(&wanted["roleArn"]) {
                self.complain(format!("{state} has credentials {credentials:?}, recorded {wanted}"));
            }
        }
        for (name, found) in
            [("timeoutInSeconds", call.timeout_seconds), ("heartbeatInSeconds", call.heartbeat_seconds)]
        {
            let wanted = mock.get(name).and_then(Json::as_u64);
            if wanted.is_some() && wanted != found {
                self.complain(format!("{state} has {name} {found:?}, recorded {wanted:?}"));
            }
        }
    }
}

impl Tasks for Script {
    fn start(&mut self, program: &Program, execution: &mut Execution, call: &TaskCall) -> Answer {
        let state = program.name(call.state).to_owned();
        let resource = program.tasks[call.task].resource.arn.to_string();
        let parse = |execution: &Execution, value: Value| -> Json {
            serde_json::from_str(&json::to_string(&execution.arena, value)).unwrap_or(Json::Null)
        };
        let given = parse(execution, execution.task_input(call.token).unwrap_or_default());
        let credentials = execution.task_credentials(call.token).filter(|found| !found.is_undefined());
        let credentials = credentials.map(|credentials| parse(execution, credentials));
        let Some(mock) = self.pick(&state, &given, &resource) else {
            self.complain(format!("{state} ran more often than recorded"));
            return Answer::Never;
        };
        self.check(&state, &mock, &given, credentials.as_ref(), call);
        let never = mock["timed_out"] == true || mock["hang"] == true;
        let result = match mock.get("throw") {
            Some(thrown) => {
                let text = |name: &str| thrown.get(name).and_then(Json::as_str).map(str::to_owned);
                Err(Fault { error: text("error").map(Into::into), cause: text("cause") })
            }
            None => Ok(mock.get("return").cloned().unwrap_or(Json::Null).to_string().into_bytes()),
        };
        let mut read =
            |text: &[u8]| json::read(&mut execution.arena, text).expect("what was recorded is JSON");
        match (mock.get("submitted"), never) {
            (Some(response), _) => {
                let response = read(response.to_string().as_bytes());
                Answer::Submitted(response, (!never).then_some((0, result)))
            }
            (None, true) => Answer::Never,
            (None, false) => Answer::Now(result.map(|text| read(&text))),
        }
    }
}

/// The case's wildcards for outputs or for the history.
pub(crate) fn wildcards(case: &Json, of: &str) -> Vec<String> {
    let listed = case["placeholders"][of].as_array().into_iter().flatten();
    let mut listed: Vec<String> = listed.filter_map(|wild| wild.as_str().map(str::to_owned)).collect();
    // A task's token is another one in every run, though it is recorded as what the mock was given.
    let mocks = case["mocks"].as_object().into_iter().flatten();
    for mock in mocks.flat_map(|(_, mocks)| mocks.as_array().into_iter().flatten()) {
        tokens(&mock["parameters"], &mut listed);
    }
    listed
}

fn tokens(given: &Json, found: &mut Vec<String>) {
    match given {
        Json::String(text)
            if text.starts_with('<') && (text.contains("task_token") || text.contains("task-token")) =>
        {
            found.push(text.clone());
        }
        Json::Object(members) => members.values().for_each(|value| tokens(value, found)),
        Json::Array(items) => items.iter().for_each(|item| tokens(item, found)),
        _ => {}
    }
}

/// Whether a value is as recorded. A wildcard that is the whole string matches any value; inside a longer string, any
/// text; equal numbered ones are not required to match the same text.
pub(crate) fn matches(wanted: &Json, found: &Json, wild: &[String]) -> bool {
    match (wanted, found) {
        (Json::String(wanted), _) if wild.contains(wanted) => true,
        (Json::String(wanted), Json::String(found)) => {
            wanted == found
                || (wild.iter().any(|token| wanted.contains(&**token))
                    && pattern(wanted, wild).is_match(found))
        }
        (Json::Number(wanted), Json::Number(found)) => wanted == found || wanted.as_f64() == found.as_f64(),
        // The recorder parsed strings that begin like an object.
        (Json::Object(_) | Json::Array(_), Json::String(text)) => serde_json::from_str(text)
            .is_ok_and(|found: Json| !found.is_string() && matches(wanted, &found, wild)),
        (Json::Object(wanted), Json::Object(found)) => {
            wanted.len() == found.len()
                && wanted
                    .iter()
                    .all(|(key, wanted)| found.get(key).is_some_and(|found| matches(wanted, found, wild)))
        }
        (Json::Array(wanted), Json::Array(found)) => {
            wanted.len() == found.len()
                && wanted.iter().zip(found).all(|(wanted, found)| matches(wanted, found, wild))
        }
        _ => wanted == found,
    }
}

/// The text with its wildcards as `.*`.
fn pattern(text: &str, wild: &[String]) -> regex::Regex {
    let mut pattern = String::from("(?s)^");
    let mut rest = text;
    while let Some((at, token)) =
        wild.iter().filter_map(|token| rest.find(&**token).map(|at| (at, token))).min_by_key(|(at, _)| *at)
    {
        pattern += &regex::escape(&rest[..at]);
        pattern += ".*";
        rest = &rest[at + token.len()..];
    }
    pattern += &regex::escape(rest);
    pattern.push('$');
    regex::Regex::new(&pattern).expect("an escaped pattern")
}

/// Compares a run with what was recorded.
pub(crate) fn compare(case: &Json, run: &Run) -> Result<(), String> {
    let expected = &case["expected"];
    let wild = wildcards(case, "output");
    if expected["status"] != run.status {
        return Err(format!(
            "{} ({:?}: {:?}), recorded {} ({} {})",
            run.status, run.error, run.cause, expected["status"], expected["error"], expected["cause"]
        ));
    }
    if let Some(wanted) = expected.get("output")
        && expected.get("output_unparsed").is_none()
        && !run.output.as_ref().is_some_and(|output| matches(wanted, output, &wild))
    {
        return Err(format!("output {}, recorded {wanted}", run.output.clone().unwrap_or_default()));
    }
    if run.status != "SUCCEEDED" {
        let error = run.error.clone().map_or(Json::Null, Json::String);
        if !matches(&expected["error"], &error, &wild) {
            return Err(format!("error {error}, recorded {}", expected["error"]));
        }
        let cause = run.cause.clone().map_or(Json::Null, Json::String);
        // If only AWS's known parts were written down, a cause may be missing.
        let told = case["source"].get("basis").is_none() || expected.get("cause").is_some();
        if told && !same_cause(&expected["cause"], &cause, expected["cause_is_json"] == true, &wild) {
            return Err(format!("cause {cause}, recorded {}", expected["cause"]));
        }
    }
    if let Some(Json::Array(recorded)) = expected.get("history") {
        compare_histories(case, recorded, &run.history)?;
    }
    run.logged.as_ref().map_or(Ok(()), |events| compare_logs(case, events))
}

fn same_cause(wanted: &Json, found: &Json, is_json: bool, wild: &[String]) -> bool {
    let parse = |text: &Json| text.as_str().and_then(|text| serde_json::from_str::<Json>(text).ok());
    match (is_json, parse(wanted), parse(found)) {
        (true, Some(wanted), Some(found)) => matches(&wanted, &found, wild),
        _ => matches(wanted, found, wild),
    }
}

pub(crate) fn flat(event: &Event) -> Flat {
    let mut flat = Map::new();
    flat.insert("id".into(), event.id.into());
    flat.insert("prev".into(), event.previous.into());
    flat.insert("type".into(), event.event_type.name().into());
    for (name, detail) in &event.details {
        flat.insert((*name).into(), plain(detail));
    }
    flat
}

fn plain(detail: &Detail) -> Json {
    match detail {
        Detail::Text(text) => text.to_string().into(),
        Detail::Json(text) => serde_json::from_str(text).expect("a payload is JSON"),
        Detail::Number(number) => (*number).into(),
        Detail::Members(members) => members
            .iter()
            .map(|(name, detail)| (name.to_string(), plain(detail)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// What AWS did otherwise when a case was recorded: newer recordings win.
struct Outdated {
    /// The first day of what it does now.
    since: &'static str,
    why: &'static str,
    /// Makes the recorded events those that AWS gives now.
    amend: fn(&mut [Json]) -> bool,
}

/// Those kinds of difference that were met in this process. A list that is longer than what differs fails.
static MET: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// The kinds of difference that were listed and never met.
pub(crate) fn unmet() -> Vec<&'static str> {
    let met = MET.lock().unwrap();
    OUTDATED.iter().map(|kind| kind.why).filter(|why| !met.contains(why)).collect()
}

const OUTDATED: [Outdated; 1] = [Outdated {
    since: "2024-12-01",
    why: "EvaluationFailed hung on the event before the one it hangs on now, the last of its own chain",
    amend: |recorded| {
        let mut met = false;
        for n in 1..recorded.len() {
            if recorded[n]["type"] == "EvaluationFailed"
                && let Some(last) = last_of_chain(recorded, n)
            {
                recorded[n]["prev"] = last;
                met = true;
            }
        }
        met
    },
}];

/// The id of the event before a failed evaluation in its state's own chain, with the same previous event: other
/// branches and iterations have events between.
fn last_of_chain(recorded: &[Json], n: usize) -> Option<Json> {
    let state_of = |event: &Json| {
        let mut event = event.clone();
        while !event["type"].as_str().is_some_and(|name| name.ends_with("StateEntered")) {
            event = recorded.iter().find(|other| other["id"] == event["prev"])?.clone();
        }
        Some(event["name"].clone())
    };
    let is_last = |event: &&Json| recorded[..n].iter().all(|other| other["prev"] != event["id"]);
    let before = recorded[..n].iter().rev().filter(|event| event["prev"] == recorded[n]["prev"]);
    let found = before.filter(is_last).find(|event| state_of(event).as_ref() == Some(&recorded[n]["state"]));
    found.map(|event| event["id"].clone())
}

fn compare_histories(case: &Json, recorded: &[Json], events: &[Flat]) -> Result<(), String> {
    let mut recorded = recorded.to_vec();
    let day = case["source"]["validated"].as_str().unwrap_or("9999");
    for kind in OUTDATED.iter().filter(|kind| day < kind.since) {
        if (kind.amend)(&mut recorded) {
            MET.lock().unwrap().push(kind.why);
        }
    }
    let recorded = &*recorded;
    let wild = wildcards(case, "history");
    let mut events = events.to_vec();
    match case["history_order"].as_str() {
        Some("total") => {
            for (wanted, found) in recorded.iter().zip(&events) {
                if !same_event(wanted, found, &wild, &[]) {
                    return Err(format!("event {}, recorded {wanted}", Json::from(found.clone())));
                }
            }
            if recorded.len() == events.len() {
                Ok(())
            } else {
                Err(format!("{} events, recorded {}", events.len(), recorded.len()))
            }
        }
        // Branches ran at the same time, in an order that need not be ours: the events must be the same, and each must
        // hang on the same kind of event.
        Some("concurrent") => {
            let before = |event: &Map<String, Json>, all: &[Map<String, Json>]| {
                let joins = event["type"].as_str().is_some_and(|name| name.starts_with("Map"));
                let previous = all.iter().find(|other| !joins && other["id"] == event["prev"]);
                previous.map(|previous| {
                    [previous["type"].clone(), previous.get("name").cloned().unwrap_or_default()]
                })
            };
            let recorded: Vec<Map<String, Json>> =
                recorded.iter().filter_map(|event| event.as_object().cloned()).collect();
            let mut left = events.clone();
            for wanted in &recorded {
                let alike = |found: &Map<String, Json>| {
                    same_event(&wanted.clone().into(), found, &wild, &["id", "prev"])
                        && before(wanted, &recorded) == before(found, &events)
                };
                let at = left.iter().position(alike);
                let at = at.ok_or_else(|| format!("no event is like the recorded {}", json!(wanted)))?;
                left.swap_remove(at);
            }
            none_left(&left)
        }
        // The recorder sorted the events inside a Parallel, took their ids, and lost those that close it.
        _ => {
            for wanted in recorded {
                let except: &[&str] = if wanted["id"] == 0 { &["id", "prev"] } else { &[] };
                let at = events.iter().position(|found| same_event(wanted, found, &wild, except));
                let at = at.ok_or_else(|| format!("no event is like the recorded {wanted}"))?;
                events.swap_remove(at);
            }
            events.retain(|event| {
                !["ParallelStateSucceeded", "ParallelStateFailed", "ParallelStateExited"]
                    .iter()
                    .any(|lost| event["type"] == *lost)
            });
            none_left(&events)
        }
    }
}

fn none_left(events: &[Map<String, Json>]) -> Result<(), String> {
    if events.is_empty() { Ok(()) } else { Err(format!("events that were not recorded: {}", json!(events))) }
}

fn same_event(wanted: &Json, found: &Map<String, Json>, wild: &[String], except: &[&str]) -> bool {
    let Some(wanted) = wanted.as_object() else { return false };
    let is_json = wanted.get("cause_is_json").is_some_and(|is| *is == true);
    let same = |key: &str, wanted: &Json| {
        let found = found.get(key).unwrap_or(&Json::Null);
        if key == "cause" { same_cause(wanted, found, is_json, wild) } else { matches(wanted, found, wild) }
    };
    wanted.iter().all(|(key, value)| key == "cause_is_json" || except.contains(&&**key) || same(key, value))
        && found.keys().all(|key| wanted.contains_key(key))
}

/// The lines that CloudWatch Logs showed, made of the history's events.
fn compare_logs(case: &Json, events: &[Event]) -> Result<(), String> {
    let expected = &case["expected"];
    if let Some(end) = expected.get("end_event") {
        let last = events.last().ok_or("no event")?;
        if end["id"] != *last.id.to_string() || end["type"] != last.event_type.name() {
            return Err(format!("the last event is {} {}, recorded {end}", last.id, last.event_type));
        }
    }
    let Some(recorded) = expected.get("logged_events").and_then(Json::as_array) else { return Ok(()) };
    let level = match case["logging"]["level"].as_str() {
        Some("ALL") => log::Level::All,
        Some("ERROR") => log::Level::Error,
        Some("FATAL") => log::Level::Fatal,
        _ => log::Level::Off,
    };
    let text = |name: &str| case["context"][name].as_str().unwrap_or_default();
    let labels = log::Labels { execution_arn: text("execution_arn"), role_arn: text("role_arn") };
    let lines: Vec<Json> = (events.iter())
        .filter(|event| level.shows(event.event_type))
        .map(|event| {
            if case["logging"]["includeExecutionData"] == true {
                event.clone()
            } else {
                without_payloads(event)
            }
        })
        .map(|event| serde_json::from_str(&log::line(&event, labels)).expect("a line is JSON"))
        .collect();
    // The recorder took the time of every event away.
    let wild = ["<timestamp>".to_owned()];
    if matches(&Json::Array(recorded.clone()), &Json::Array(lines.clone()), &wild) {
        Ok(())
    } else {
        Err(format!("log {}, recorded {}", Json::Array(lines), Json::Array(recorded.clone())))
    }
}

/// What a history that keeps no payloads would have kept.
fn without_payloads(event: &Event) -> Event {
    let mut event = event.clone();
    event.details.retain(|(name, detail)| *name != "assignedVariables" && !matches!(detail, Detail::Json(_)));
    event
}
