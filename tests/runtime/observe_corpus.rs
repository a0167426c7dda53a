//! Executions recorded on AWS, through the sharded engine: retained histories and the log must be as recorded, and
//! agree.

use crate::corpora;
use crate::recorded;
use std::sync::{Arc, Mutex};

use expressway::asl::MachineType;
use expressway::observe::log::{self, Labels, Level};
use expressway::observe::{Ending, Retention, Setup};
use expressway::runtime::{Engine, MachineSpec, ManualTime, StartOptions, Time};
use recorded::{Run, Script};
use serde_json::Value as Json;

#[test]
fn recorded_executions_on_shards() {
    let Some(cases) = corpora::recorded("execution.jsonl") else { return };
    let mut report = corpora::Report::new("execution.jsonl on shards", include_str!("../known/shards.txt"));
    for case in cases.iter().filter(|case| case["express_applicable"] == true) {
        let id = case["id"].as_str().unwrap_or_default();
        let outcome = run(case).and_then(|run| recorded::compare(case, &run));
        report.case(id, outcome.map_err(|why| why.chars().take(1_500).collect()));
    }
    report.finish();
}

fn run(case: &Json) -> Result<Run, String> {
    let definition = match &case["definition"] {
        Json::String(text) => text.clone(),
        definition => definition.to_string(),
    };
    let text = |name: &str| case["context"][name].as_str().unwrap_or_default();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let sink = move |more: &[u8]| {
        sink.lock().unwrap().extend_from_slice(more);
        Ok(())
    };
    let mut tail = Retention::default();
    (tail.one_in, tail.execution_bytes_max, tail.bytes_max) = (1, 64 << 20, 1 << 30);
    let level = match case["logging"]["level"].as_str() {
        Some("ERROR") => Level::Error,
        Some("FATAL") => Level::Fatal,
        _ => Level::All,
    };
    let data = case["logging"]["includeExecutionData"] != false;
    // The moment at which `corpora/recorded.rs` runs them too.
    let time = ManualTime::at(1_730_720_466_123);
    let setup = Setup::default().history(tail).log(sink, level, data);
    let (engine, mut simulation) = Engine::builder()
        .accept_unhandled(true)
        .seed(1)
        .shards(2)
        .time(time.clone())
        .observe(setup)
        .simulate()
        .unwrap();
    let machine_type =
        if case["machine_type"] == "EXPRESS" { MachineType::Express } else { MachineType::Standard };
    let spec = MachineSpec {
        arn: Some(text("state_machine_arn")),
        role_arn: Some(text("role_arn")),
        machine_type,
        ..MachineSpec::new(text("state_machine_name"), &definition)
    };
    let machine = engine.create(&spec).map_err(|error| error.to_string())?;
    let complaints = Arc::<Mutex<Vec<String>>>::default();
    let execution_arn = Some(text("execution_arn")).filter(|arn| !arn.is_empty());
    let options = StartOptions {
        name: Some(text("execution_name").into()),
        execution_arn: execution_arn.map(Into::into),
        tasks: Some(Box::new(Script::new(case, complaints.clone()))),
        ..StartOptions::default()
    };
    let execution =
        engine.start_with(&machine, case["input"].to_string(), options).map_err(|error| error.to_string())?;
    let arn = execution.arn();
    simulation.settle(time.now_ms());
    while let Some(next_ms) = simulation.next_ms() {
        time.advance(next_ms - time.now_ms());
        simulation.settle(time.now_ms());
    }
    simulation.carry();
    let complaints = complaints.lock().unwrap();
    if !complaints.is_empty() {
        return Err(complaints.join("; "));
    }
    let kept = engine.observed().history(&arn).ok_or("the ring does not have it")?;
    let labels = Labels { execution_arn: &arn, role_arn: text("role_arn") };
    let wanted: String = (kept.events.iter())
        .filter(|event| level.shows(event.event_type))
        .map(|event| if data { event.clone() } else { event.clone().without_payloads() })
        .map(|event| log::line(&event, labels) + "\n")
        .collect();
    let lines = String::from_utf8(std::mem::take(&mut *lines.lock().unwrap())).unwrap();
    if lines != wanted {
        return Err(format!("the log says {lines} and the ring {wanted}"));
    }
    let last = kept.events.last().ok_or("no events")?;
    let detail = |name: &str| last.detail(name).and_then(|detail| detail.as_str()).map(str::to_owned);
    let succeeded = kept.ending == Ending::Succeeded;
    let output = succeeded.then(|| serde_json::from_str(&detail("output").unwrap_or_default()));
    let timed_out = kept.ending == Ending::TimedOut;
    Ok(Run {
        status: kept.ending.name(),
        output: output.transpose().map_err(|error| error.to_string())?,
        error: detail("error").filter(|_| !timed_out),
        cause: detail("cause"),
        history: kept.events.iter().map(recorded::flat).collect(),
        logged: Some(kept.events.clone()),
    })
}
