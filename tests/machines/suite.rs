//! The cases of `tests/suite` in line.

use crate::cases::{self, BEGIN_MS, NotRan, Ran, Script, Told};

use expressway::engine::Identity;
use expressway::limits;
use expressway::observe::History;
use expressway::runtime::VirtualClock;
use expressway::runtime::inline::Driver;
use serde_json::Value as Json;

#[test]
fn suite() {
    cases::run_all("in line", 600, run);
}

fn run(case: &Json, seed: u64) -> Result<Ran, NotRan> {
    let program = cases::program(case)?;
    let mut driver =
        Driver::with_tasks(program.into(), VirtualClock::at(BEGIN_MS), Box::new(Script::new(case)));
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
    let input = cases::input(case);
    let listens = case.get("arena_bytes_max").is_none();
    let ended = if listens {
        driver.run_listened(input.as_bytes(), &mut history)
    } else {
        driver.run(input.as_bytes())
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return Err(NotRan::Failed(error.to_string())),
    };
    let mut output = Vec::new();
    ended.write_output(&mut output);
    let capacity = ended.execution().arena.capacity_bytes() as u64;
    let ran = Ran::of(ended.outcome());
    Ok(Ran {
        output: serde_json::from_slice(&output).unwrap_or_default(),
        capacity: Some(capacity),
        events: listens.then(|| history.events().map(Told::of).collect()),
        ..ran
    })
}
