//! The cases of `tests/suite` on shards, and in place: on the caller's thread.

use crate::cases::{self, BEGIN_MS, NotRan, Ran, Script, Told};

use expressway::asl::MachineType;
use expressway::observe::{Ending, Retention, Setup};
use expressway::runtime::{Engine, Machine, MachineSpec, ManualTime, Simulation, StartOptions, Time};
use serde_json::Value as Json;

const EXECUTION: &str = "arn:aws:states:us-east-1:111111111111:express:machine:run:1";

#[test]
fn suite_on_shards() {
    cases::run_all("on shards", 590, on_shards);
}

#[test]
fn suite_in_place() {
    cases::run_all("in place", 400, in_place);
}

/// An engine without threads that keeps all histories, and the case's machine.
fn engine(case: &Json, seed: u64, time: &ManualTime) -> Result<(Engine, Simulation, Machine), NotRan> {
    if case.get("arena_bytes_max").is_some() {
        return Err(NotRan::Cannot("the arena is looked at in line"));
    }
    if case.get("seconds_max").is_some() {
        return Err(NotRan::Cannot("how long it may take is the engine's matter"));
    }
    let mut tail = Retention::default();
    (tail.one_in, tail.execution_bytes_max, tail.bytes_max) = (1, 64 << 20, 1 << 30);
    let builder = Engine::builder()
        .accept_unhandled(true)
        .seed(seed)
        .shards(2)
        .time(time.clone())
        .observe(Setup::default().history(tail));
    let (engine, simulation) = builder.simulate().expect("an engine");
    let definition = cases::definition(case).to_string();
    let spec = MachineSpec {
        arn: Some("arn:aws:states:us-east-1:111111111111:stateMachine:machine"),
        role_arn: Some("arn:aws:iam::111111111111:role/role"),
        machine_type: MachineType::Express,
        ..MachineSpec::new("machine", &definition)
    };
    let machine = engine.create(&spec).map_err(|error| error.to_string())?;
    Ok((engine, simulation, machine))
}

fn options(case: &Json) -> StartOptions {
    StartOptions {
        name: Some("run".into()),
        execution_arn: Some(EXECUTION.into()),
        tasks: case.get("tasks").map(|_| Box::new(Script::new(case)) as Box<_>),
        ..StartOptions::default()
    }
}

fn on_shards(case: &Json, seed: u64) -> Result<Ran, NotRan> {
    let time = ManualTime::at(BEGIN_MS);
    let (engine, mut simulation, machine) = engine(case, seed, &time)?;
    engine.start_with(&machine, cases::input(case), options(case)).map_err(|error| error.to_string())?;
    simulation.settle(time.now_ms());
    while let Some(next_ms) = simulation.next_ms() {
        time.advance(next_ms - time.now_ms());
        simulation.settle(time.now_ms());
    }
    simulation.carry();
    kept(&engine)
}

fn in_place(case: &Json, seed: u64) -> Result<Ran, NotRan> {
    if case.get("tasks").is_some() {
        return Err(NotRan::Cannot("tasks are not done in place"));
    }
    let time = ManualTime::at(BEGIN_MS);
    let (engine, mut simulation, machine) = engine(case, seed, &time)?;
    let ran = engine.run_now(&machine, cases::input(case).as_bytes(), &options(case), |_| ());
    if ran.map_err(|error| error.to_string())?.is_none() {
        return Err(NotRan::Cannot("it waits, or takes long"));
    }
    simulation.carry();
    kept(&engine)
}

/// What the engine kept of the one execution.
fn kept(engine: &Engine) -> Result<Ran, NotRan> {
    let kept = engine.observed().history(EXECUTION).ok_or_else(|| "no history was kept".to_owned())?;
    let last = kept.events.last().ok_or_else(|| "there is no event".to_owned())?;
    let detail = |name: &str| last.detail(name).and_then(|detail| detail.as_str()).map(str::to_owned);
    let output = match kept.ending {
        Ending::Succeeded => serde_json::from_str(&detail("output").unwrap_or_default()).unwrap_or_default(),
        _ => Json::Null,
    };
    Ok(Ran {
        status: kept.ending.name(),
        output,
        error: detail("error"),
        cause: detail("cause"),
        events: Some(kept.events.iter().map(Told::of).collect()),
        capacity: None,
    })
}
