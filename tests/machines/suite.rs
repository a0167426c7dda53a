//! Behaviour as data: `tests/suite/README.md` says what a case is.

use std::collections::HashMap;
use std::path::Path;

use expressway::engine::{Execution, Identity, Outcome, TaskCall};
use expressway::fault::Fault;
use expressway::json;
use expressway::limits;
use expressway::observe::History;
use expressway::observe::history::Event;
use expressway::program::Program;
use expressway::runtime::VirtualClock;
use expressway::runtime::inline::{Answer, Driver, Tasks};
use expressway::{asl, compile};
use serde_json::{Value as Json, json};

/// 2024-01-01T00:00:00Z, when all executions begin.
const BEGIN_MS: u64 = 1_704_067_200_000;

#[test]
fn suite() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let (mut passed, mut failed) = (0, 0);
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
            match (1..=seeds).try_for_each(|seed| check(&case, seed)) {
                Ok(()) => passed += 1,
                Err(why) => {
                    failed += 1;
                    eprintln!("{name}: {}", why.chars().take(1_000).collect::<String>());
                }
            }
        }
    }
    println!("suite: {passed} passed, {failed} failed, 0 skipped");
    assert_eq!(failed, 0, "cases fail");
}

/// Runs one case and compares all it says.
fn check(case: &Json, seed: u64) -> Result<(), String> {
    let definition = definition(case).to_string();
    let options = asl::Options { machine_type: asl::MachineType::Express, ..asl::Options::default() };
    let (definition, problems) = asl::read(definition.as_bytes(), &options);
    let definition = definition
        .filter(|_| problems.iter().all(|problem| problem.severity != asl::Severity::Error))
        .ok_or_else(|| asl::invalid_definition(&problems))?;
    let program = compile::compile(&definition).map_err(|errors| format!("{errors:?}"))?;
    let script = Script { answers: case["tasks"].clone(), counts: HashMap::new() };
    let mut driver = Driver::with_tasks(program.into(), VirtualClock::at(BEGIN_MS), Box::new(script));
    driver.seed(seed);
    driver.identify(Identity {
        execution_arn: "arn:aws:states:us-east-1:111111111111:express:machine:run:1".into(),
        execution_name: "run".into(),
        state_machine_arn: "arn:aws:states:us-east-1:111111111111:stateMachine:machine".into(),
        state_machine_name: "machine".into(),
        role_arn: "arn:aws:iam::111111111111:role/role".into(),
        ..Identity::default()
    });
    driver.limit(
        case["seconds_max"].as_u64().unwrap_or(limits::EXPRESS_SECONDS_MAX),
        limits::EXECUTION_BYTES_MAX,
    );
    let mut history = History::new(8 << 20);
    let input = case.get("input").cloned().unwrap_or_else(|| json!({})).to_string();
    let listens = case.get("arena_bytes_max").is_none();
    let ended = if listens {
        driver.run_listened(input.as_bytes(), &mut history)
    } else {
        driver.run(input.as_bytes())
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return same("error", case.get("error"), &error.to_string().into()),
    };
    outcome(case, ended.outcome(), &|| {
        let mut output = Vec::new();
        ended.write_output(&mut output);
        serde_json::from_slice(&output).unwrap_or_default()
    })?;
    let most = case["arena_bytes_max"].as_u64().unwrap_or(u64::MAX);
    let capacity = ended.execution().arena.capacity_bytes() as u64;
    if capacity > most {
        return Err(format!("the arena took {capacity} bytes"));
    }
    let events: Vec<&Event> = history.events().collect();
    times(case, &events)?;
    chains(&events)?;
    if let Some(wanted) = case["events"].as_array() {
        let found: Vec<String> =
            events.iter().zip(wanted).map(|(event, wanted)| notation(event, wanted)).collect();
        same("events", Some(&json!(wanted)), &json!(found))?;
        same("number of events", Some(&json!(wanted.len())), &json!(events.len()))?;
    }
    Ok(())
}

fn outcome(case: &Json, outcome: &Outcome, output: &dyn Fn() -> Json) -> Result<(), String> {
    let (status, fault) = match outcome {
        Outcome::Succeeded(_) => ("SUCCEEDED", None),
        Outcome::Failed(fault) => ("FAILED", Some(fault)),
        Outcome::TimedOut => ("TIMED_OUT", None),
        Outcome::Aborted(fault) => ("ABORTED", Some(fault)),
    };
    let wanted = case.get("status").cloned().unwrap_or_else(|| json!("SUCCEEDED"));
    if wanted != status {
        return Err(format!("{status} {fault:?}, not {wanted}"));
    }
    if let Some(wanted) = case.get("output") {
        same("output", Some(wanted), &output())?;
    }
    if let Some(fault) = fault {
        same("error", Some(&case["error"]), &json!(fault.error))?;
        same("cause", case.get("cause"), &json!(fault.cause))?;
    }
    Ok(())
}

fn times(case: &Json, events: &[&Event]) -> Result<(), String> {
    let scheduled: Vec<u64> = (events.iter())
        .filter(|event| event.event_type.name().ends_with("Scheduled"))
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
fn chains(events: &[&Event]) -> Result<(), String> {
    for (n, event) in events.iter().enumerate() {
        if event.id != n as u64 + 1 || event.previous >= event.id {
            return Err(format!("event {n} has id {} and hangs on {}", event.id, event.previous));
        }
    }
    Ok(())
}

/// The event in as much detail as `wanted` goes into.
fn notation(event: &Event, wanted: &Json) -> String {
    let wanted = wanted.as_str().unwrap_or_default();
    let mut text = event.event_type.name().to_owned();
    if wanted.contains(':')
        && let Some(name) = event.detail("name").and_then(|name| name.as_str())
    {
        text += &format!(":{name}");
    }
    if wanted.contains('#') {
        text += &format!("#{}", event.id);
    }
    if wanted.contains('<') {
        text += &format!("<{}", event.previous);
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

fn definition(case: &Json) -> Json {
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

/// Answers tasks as the case says.
struct Script {
    answers: Json,
    counts: HashMap<String, usize>,
}

impl Tasks for Script {
    fn start(&mut self, program: &Program, execution: &mut Execution, call: &TaskCall) -> Answer {
        let state = program.name(call.state);
        let Some(answers) = self.answers[state].as_array().filter(|answers| !answers.is_empty()) else {
            return Answer::Now(Err(Fault { error: Some("NoAnswer".into()), cause: Some(state.to_owned()) }));
        };
        let count = self.counts.entry(state.to_owned()).or_default();
        let answer = &answers[(*count).min(answers.len() - 1)];
        *count += 1;
        let input = execution.task_input(call.token).unwrap_or_default();
        let given: Json = serde_json::from_str(&json::to_string(&execution.arena, input)).unwrap_or_default();
        if let Err(why) = same("the task's input", answer.get("given"), &given) {
            return Answer::Now(Err(Fault { error: Some("WrongInput".into()), cause: Some(why) }));
        }
        if answer["never"] == true {
            return Answer::Never;
        }
        let result = match answer.get("throw") {
            Some(thrown) => {
                let text = |name: &str| thrown[name].as_str().map(str::to_owned);
                Err(Fault { error: text("error").map(Into::into), cause: text("cause") })
            }
            // Without an answer of its own the task gives back what it got.
            None => Ok(answer.get("return").unwrap_or(&given).to_string().into_bytes()),
        };
        match answer["after_ms"].as_u64() {
            Some(after_ms) => Answer::After(after_ms, result),
            None => {
                Answer::Now(result.map(|text| json::read(&mut execution.arena, &text).unwrap_or_default()))
            }
        }
    }
}
