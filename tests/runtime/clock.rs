//! Executions when the wall clock is set: nothing changes, except that times of day come sooner or later.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use expressway::runtime::{Engine, Handle, ManualTime, Outcome, Simulation, StartOptions, Status, Time};
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

/// The clock of a shard may be behind that of whoever starts it: what is shown begins when it was asked for, and goes on
/// from there.
#[test]
fn nothing_is_shown_to_happen_before_it_was_asked_for() {
    let states = r#"{"StartAt": "A", "States": {
        "A": {"Type": "Wait", "Seconds": 2, "Next": "B"},
        "B": {"Type": "Pass", "End": true, "Parameters": {"started.$": "$$.Execution.StartTime", "entered.$": "$$.State.EnteredTime"}}}}"#;
    for (behind_ms, begins_ms) in [(7, NOW_MS + 7), (0, NOW_MS), (-300, NOW_MS)] {
        let mut world = World::new();
        let machine = world.engine.create_state_machine("m", states).unwrap();
        let requested_ms = Some(NOW_MS.saturating_add_signed(behind_ms));
        let options = StartOptions { requested_ms, ..StartOptions::default() };
        let handle = world.engine.start_with(&machine, "null", options).unwrap();
        world.simulation.settle(world.now_ms);
        world.pass_ms(2_000);
        let outcome = outcome(handle);
        assert_eq!((outcome.started_ms, outcome.stopped_ms), (begins_ms, begins_ms + 2_000), "{behind_ms}");
        let shown = String::from_utf8(outcome.json().to_vec()).unwrap();
        let time =
            |ms: u64| if ms.is_multiple_of(1_000) { String::new() } else { format!(".{:03}", ms % 1_000) };
        let part = time(begins_ms);
        let expected =
            format!(r#"{{"started":"2023-11-14T22:13:20{part}Z","entered":"2023-11-14T22:13:22{part}Z"}}"#);
        assert_eq!(shown, expected, "{behind_ms}");
    }
}

/// A clock whose reader is paused right after it has read the wall clock, some times.
#[derive(Clone)]
struct Paused(ManualTime, Arc<AtomicUsize>);

impl Time for Paused {
    fn now_ms(&self) -> u64 {
        let now_ms = self.0.now_ms();
        if self.1.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            self.0.advance(50);
        }
        now_ms
    }

    fn steady_ms(&self) -> u64 {
        self.0.steady_ms()
    }

    fn passes(&self) -> bool {
        false
    }
}

#[test]
fn a_pause_between_two_clocks_is_not_taken_for_a_clock_that_was_set() {
    let (time, pauses) = (ManualTime::at(NOW_MS), Arc::new(AtomicUsize::new(5)));
    let builder = Engine::builder().seed(1).shards(1).time(Paused(time, Arc::clone(&pauses)));
    let (engine, mut simulation) = builder.simulate().unwrap();
    let machine =
        engine.create_state_machine("m", r#"{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}"#);
    let handle = engine.start(&machine.unwrap(), "null").unwrap();
    simulation.settle(NOW_MS);
    assert_eq!(pauses.load(Relaxed), 0);
    let outcome = outcome(handle);
    assert_eq!((outcome.started_ms, outcome.stopped_ms), (NOW_MS, NOW_MS));
}
