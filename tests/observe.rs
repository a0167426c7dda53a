//! What the sharded engine shows of its executions: whoever watches one sees the same as the in-line driver's listener,
//! wherever the execution goes, and concerns nobody else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use expressway::engine::{Hears, Listener, Outcome, Record};
use expressway::json::Arena;
use expressway::observe::{Beginning, History, LiveHistory, Observer, Watcher};
use expressway::program::Program;
use expressway::runtime::{Engine, ManualTime, Status};

const NAP: &str = r#"{"StartAt": "A", "States": {
    "A": {"Type": "Pass", "Result": {"n": 1}, "ResultPath": "$.a", "Next": "Nap"},
    "Nap": {"Type": "Wait", "Seconds": 60, "Next": "B"},
    "B": {"Type": "Pass", "Result": [1, 2, 3], "ResultPath": "$.b", "End": true}}}"#;
const PURE: &str = r#"{"StartAt": "A", "States": {
    "A": {"Type": "Pass", "Result": {"n": 1}, "ResultPath": "$.a", "Next": "B"},
    "B": {"Type": "Succeed"}}}"#;

fn types(history: &LiveHistory) -> Vec<&'static str> {
    history.read(|history| history.events().map(|event| event.event_type.name()).collect())
}

#[test]
fn a_history_grows_while_the_execution_runs_and_outlives_packing() {
    let time = ManualTime::at(0);
    let (engine, mut simulation) = Engine::builder().seed(1).time(time).simulate().unwrap();
    let machine = engine.create_state_machine("nap", NAP).unwrap();
    let history = LiveHistory::new(1 << 20);
    let execution = engine.start_watched(&machine, "mine", r#"{"who": "Ada"}"#, history.watcher()).unwrap();
    assert_eq!(types(&history).len(), 0);
    simulation.settle(0);
    let so_far = ["ExecutionStarted", "PassStateEntered", "PassStateExited", "WaitStateEntered"];
    assert_eq!(types(&history), so_far);
    simulation.settle(60_000);
    assert_eq!(execution.status(), Status::Succeeded);
    assert_eq!(
        types(&history)[4..],
        ["WaitStateExited", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]
    );
    history.read(|history| {
        let (first, last) = (history.events().next().unwrap(), history.events().next_back().unwrap());
        assert_eq!(first.detail("input").unwrap().as_str(), Some(r#"{"who":"Ada"}"#));
        assert_eq!(last.detail("output").unwrap().as_str(), Some(r#"{"who":"Ada","a":{"n":1},"b":[1,2,3]}"#));
        assert_eq!((last.id, last.previous, last.time_ms), (8, 7, 60_000));
    });
}

/// Counts what it is told, and panics at one of the calls.
struct Nervous {
    told: Arc<Told>,
    calls_left: u64,
}

#[derive(Default)]
struct Told {
    records: AtomicU64,
    ends: Mutex<Vec<&'static str>>,
}

impl Listener for Nervous {
    fn record(&mut self, _: &Program, _: &Arena, _: &Record<'_>) {
        self.told.records.fetch_add(1, Ordering::Relaxed);
        self.calls_left = self.calls_left.checked_sub(1).expect("on purpose");
    }
}

impl Watcher for Nervous {
    fn ended(&mut self, _: &Arena, outcome: &Outcome, _: u64) {
        self.told.ends.lock().unwrap().push(match outcome {
            Outcome::Succeeded(_) => "succeeded",
            Outcome::Failed(_) => "failed",
            Outcome::TimedOut => "timed out",
            Outcome::Aborted(_) => "aborted",
        });
    }
}

struct Nerves {
    told: Arc<Told>,
    calls: u64,
}

impl Observer for Nerves {
    fn watch(&self, beginning: &Beginning<'_>) -> Option<Box<dyn Watcher>> {
        assert!(beginning.execution_arn().contains(":express:"));
        Some(Box::new(Nervous { told: self.told.clone(), calls_left: self.calls }))
    }
}

fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let value = work();
    std::panic::set_hook(hook);
    value
}

#[test]
fn a_panic_in_a_watcher_concerns_nobody_else() {
    for calls in 0..9 {
        let told = Arc::<Told>::default();
        let observer = Arc::new(Nerves { told: told.clone(), calls });
        let builder = Engine::builder().seed(1).time(ManualTime::at(0)).observer(observer);
        let (engine, mut simulation) = builder.simulate().unwrap();
        let machine = engine.create_state_machine("nap", NAP).unwrap();
        let history = LiveHistory::new(1 << 20);
        let execution = engine.start_watched(&machine, "mine", "{}", history.watcher()).unwrap();
        quietly(|| simulation.settle(0));
        quietly(|| simulation.settle(60_000));
        assert_eq!(execution.status(), Status::Succeeded);
        assert_eq!(types(&history).len(), 8);
        assert_eq!(told.records.load(Ordering::Relaxed), (calls + 1).min(8));
        assert_eq!(told.ends.lock().unwrap().len(), usize::from(calls == 8));
    }
}

#[test]
fn every_end_is_told_once() {
    let told = Arc::<Told>::default();
    let observer = Arc::new(Nerves { told: told.clone(), calls: u64::MAX });
    let builder = Engine::builder().seed(1).time(ManualTime::at(0)).observer(observer);
    let (engine, mut simulation) = builder.simulate().unwrap();
    let nap = engine.create_state_machine("nap", NAP).unwrap();
    let pure = engine.create_state_machine("pure", PURE).unwrap();
    let ends = || std::mem::take(&mut *told.ends.lock().unwrap());

    let aborted = engine.start(&nap, "{}").unwrap();
    let failed = engine.start_batch(&nap, ["not JSON"]);
    simulation.settle(0);
    aborted.abort();
    simulation.settle(0);
    assert_eq!((failed.counts().failed, aborted.status()), (1, Status::Aborted));
    assert_eq!(ends(), ["failed", "aborted"]);

    let batch = engine.start_batch(&pure, ["{}", "{}", "nonsense"]);
    simulation.settle(0);
    assert_eq!(batch.counts().ended(), 3);
    assert_eq!(ends(), ["succeeded", "succeeded", "failed"]);

    // In place, to its end and dropped before it.
    let looping = r#"{"StartAt": "A", "States": {"E": {"Type": "Succeed"}, "A": {"Type": "Choice", "Default": "A",
        "Choices": [{"Variable": "$.end", "IsPresent": true, "Next": "E"}]}}}"#;
    let looping = engine.create_state_machine("loop", looping).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        engine.run(&pure, "{}").await.unwrap();
        let mut run = Box::pin(engine.run(&looping, "{}"));
        let once = std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::future::Future::poll(run.as_mut(), context).is_pending())
        });
        assert!(once.await);
        drop(run);
    });
    assert_eq!(ends(), ["succeeded", "aborted"]);

    // One that never begins.
    let history = LiveHistory::new(1 << 20);
    let never = engine.start_watched(&nap, "never", "{}", history.watcher()).unwrap();
    never.abort();
    simulation.settle(0);
    assert_eq!(types(&history), ["ExecutionAborted"]);
    assert_eq!(ends(), ["aborted"]);
    let left = engine.start(&nap, "{}").unwrap();
    simulation.settle(0);
    drop(engine);
    simulation.settle(0);
    assert_eq!(left.status(), Status::Aborted);
    assert_eq!(ends(), ["aborted"]);
}

/// Hears of failures only, and of the time before anything moves.
struct Selective {
    history: Arc<Mutex<History>>,
    hears: Hears,
}

impl Listener for Selective {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        self.history.lock().unwrap().record(program, arena, record);
    }
}

impl Watcher for Selective {
    fn hears(&self) -> Hears {
        self.hears
    }
}

#[test]
fn a_watcher_hears_of_the_states_it_wants_to_hear_of() {
    let definition = r#"{"StartAt": "A", "States": {
        "A": {"Type": "Pass", "Next": "P"},
        "P": {"Type": "Parallel", "Branches": [{"StartAt": "B", "States": {"B": {"Type": "Succeed"}}}],
              "Next": "F"},
        "F": {"Type": "Fail", "Error": "Mine"}}}"#;
    let (engine, mut simulation) = Engine::builder().seed(1).time(ManualTime::at(0)).simulate().unwrap();
    let machine = engine.create_state_machine("fails", definition).unwrap();
    let mut all = Vec::new();
    for (hears, wanted) in [
        (Hears::ALL, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].as_slice()),
        (Hears::WORK, &[1, 4, 5, 8, 9, 10, 11]),
        (Hears::FAILURES, &[1, 5, 8, 10, 11]),
        (Hears::NONE, &[1, 5, 8, 11]),
    ] {
        let history = Arc::new(Mutex::new(History::new(1 << 20)));
        let watcher = Selective { history: history.clone(), hears };
        let execution = engine.start_watched(&machine, "x", "{}", Box::new(watcher)).unwrap();
        simulation.settle(0);
        assert_eq!(execution.status(), Status::Failed);
        let history = history.lock().unwrap();
        let ids: Vec<u64> = history.events().map(|event| event.id).collect();
        assert_eq!(ids, wanted, "{hears:?}");
        // Whatever is heard is the same.
        if all.is_empty() {
            all = history.events().cloned().collect();
        }
        assert!(history.events().all(|event| all.contains(event)));
    }
}
