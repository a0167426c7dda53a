//! Executions when the wall clock is set: nothing changes, except that times of day come sooner or later.

use expressway::runtime::{Engine, Handle, ManualTime, Outcome, Simulation, Status};
use expressway::task::TaskError;

const NOW_MS: u64 = 1_700_000_000_000;
const DAY_MS: i64 = 86_400_000;
const NEVER: &str = "arn:aws:lambda:us-east-1:123456789012:function:never";

struct World {
    time: ManualTime,
    engine: Engine,
    simulation: Simulation,
    now_ms: u64,
}

impl World {
    fn new() -> World {
        let time = ManualTime::at(NOW_MS);
        let builder = Engine::builder().seed(1).shards(1).time(time.clone());
        let builder = builder.task(NEVER, |(): ()| std::future::pending::<Result<(), TaskError>>());
        let (engine, simulation) = builder.simulate().unwrap();
        World { time, engine, simulation, now_ms: NOW_MS }
    }

    fn start(&mut self, states: &str) -> Handle {
        let definition = format!(r#"{{"StartAt": "A", "States": {{{states}}}}}"#);
        let machine = self.engine.create_state_machine(states, &definition).unwrap();
        let handle = self.engine.start(&machine, "null").unwrap();
        self.simulation.settle(self.now_ms);
        handle
    }

    fn pass_ms(&mut self, milliseconds: u64) {
        let until_ms = self.now_ms + milliseconds;
        while self.now_ms < until_ms {
            let next_ms = self.simulation.next_ms().unwrap_or(until_ms).clamp(self.now_ms + 1, until_ms);
            self.time.advance(next_ms - self.now_ms);
            self.now_ms = next_ms;
            self.simulation.settle(self.now_ms);
        }
    }

    fn set_clock(&mut self, milliseconds: i64) {
        self.time.set_clock(milliseconds);
        self.simulation.settle(self.now_ms);
    }
}

fn outcome(handle: Handle) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(handle)
}

#[test]
fn durations_do_not_see_the_clock_set() {
    let task = format!(
        r#""A": {{"Type": "Task", "Resource": "{NEVER}", "TimeoutSeconds": 100, "End": true,
            "Catch": [{{"ErrorEquals": ["States.Timeout"], "Next": "B"}}]}}, "B": {{"Type": "Succeed"}}"#
    );
    let retry = format!(
        r#""A": {{"Type": "Task", "Resource": "{NEVER}", "TimeoutSeconds": 40, "End": true,
            "Retry": [{{"ErrorEquals": ["States.Timeout"], "IntervalSeconds": 20, "MaxAttempts": 1}}],
            "Catch": [{{"ErrorEquals": ["States.ALL"], "Next": "B"}}]}}, "B": {{"Type": "Succeed"}}"#
    );
    for step_ms in [-DAY_MS, DAY_MS] {
        for states in [r#""A": {"Type": "Wait", "Seconds": 100, "End": true}"#, &task, &retry] {
            let mut world = World::new();
            let handle = world.start(states);
            world.pass_ms(30_000);
            world.set_clock(step_ms);
            world.pass_ms(69_999);
            assert_eq!(handle.status(), Status::Running, "{step_ms} {states}");
            world.pass_ms(1);
            assert_eq!(handle.status(), Status::Succeeded, "{step_ms} {states}");
            let outcome = outcome(handle);
            assert_eq!((outcome.started_ms, outcome.stopped_ms), (NOW_MS, NOW_MS + 100_000));
        }
    }
}

#[test]
fn five_minutes_are_five_minutes() {
    for step_ms in [-DAY_MS, DAY_MS] {
        let mut world = World::new();
        let handle = world.start(r#""A": {"Type": "Wait", "Seconds": 86400, "End": true}"#);
        world.set_clock(step_ms);
        world.pass_ms(299_999);
        assert_eq!(handle.status(), Status::Running);
        world.pass_ms(1);
        assert_eq!(handle.status(), Status::TimedOut);
        let outcome = outcome(handle);
        assert_eq!(outcome.stopped_ms - outcome.started_ms, 300_000);
    }
}

/// A time of day comes by the wall clock; the timestamp is a minute ahead.
#[test]
fn times_of_day_go_by_the_clock_on_the_wall() {
    let states = r#""A": {"Type": "Wait", "Timestamp": "2023-11-14T22:14:20Z", "End": true}"#;
    for (step_ms, rest_ms) in [(30_000, 30_000), (90_000, 0), (-120_000, 180_000)] {
        let mut world = World::new();
        let handle = world.start(states);
        world.set_clock(step_ms);
        if rest_ms > 0 {
            world.pass_ms(rest_ms - 1);
            assert_eq!(handle.status(), Status::Running, "{step_ms}");
            world.pass_ms(1);
        }
        assert_eq!(handle.status(), Status::Succeeded, "{step_ms}");
    }
}

/// What begins afterwards is shown by the clock as it is then.
#[test]
fn what_is_shown_is_shown_by_the_clock_on_the_wall() {
    let mut world = World::new();
    world.set_clock(DAY_MS);
    let states =
        r#""A": {"Type": "Pass", "End": true, "Parameters": {"started.$": "$$.Execution.StartTime"}}"#;
    let outcome = outcome(world.start(states));
    assert_eq!((outcome.started_ms, outcome.stopped_ms), (NOW_MS + 86_400_000, NOW_MS + 86_400_000));
    assert_eq!(outcome.json(), br#"{"started":"2023-11-15T22:13:20Z"}"#);
}
