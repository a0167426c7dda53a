//! Observability of the sharded engine: a watcher sees the same as the in-line driver's listener, wherever the
//! execution goes, and affects no other execution.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use expressway::engine::{EventMask, Listener, Outcome, Record};
use expressway::json::Arena;
use expressway::observe::log::{self, Labels, Level};
use expressway::observe::{
    Beginning, Ending, History, LiveHistory, Observer, Query, Reason, Redaction, Retention, Setup, Watcher,
};
use expressway::program::Program;
use expressway::runtime::{Engine, ManualTime, Profile, Simulation, Status, Time};
use expressway::task::TaskError;

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

/// Counts its calls, and panics at one of them.
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

    // In place, and on a shard because it takes long, dropped before its end.
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
    simulation.settle(0);
    assert_eq!(ends(), ["succeeded", "aborted"]);

    // One that never begins.
    let history = LiveHistory::new(1 << 20);
    let never = engine.start_watched(&nap, "never", "{}", history.watcher()).unwrap();
    never.abort();
    simulation.settle(0);
    assert_eq!(types(&history), ["ExecutionStarted", "ExecutionAborted"]);
    assert_eq!(ends(), ["aborted"]);
    let left = engine.start(&nap, "{}").unwrap();
    simulation.settle(0);
    drop(engine);
    simulation.settle(0);
    assert_eq!(left.status(), Status::Aborted);
    assert_eq!(ends(), ["aborted"]);
}

/// Only wants failures, and the time before anything moves.
struct Selective {
    history: Arc<Mutex<History>>,
    event_mask: EventMask,
}

impl Listener for Selective {
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>) {
        self.history.lock().unwrap().record(program, arena, record);
    }
}

impl Watcher for Selective {
    fn event_mask(&self) -> EventMask {
        self.event_mask
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
    for (event_mask, wanted) in [
        (EventMask::ALL, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].as_slice()),
        (EventMask::WORK, &[1, 4, 5, 8, 9, 10, 11]),
        (EventMask::EVENTS, &[1, 5, 8, 11]),
        (EventMask::FAILURES, &[10, 11]),
        (EventMask::NONE, &[]),
    ] {
        let history = Arc::new(Mutex::new(History::new(1 << 20)));
        let watcher = Selective { history: history.clone(), event_mask };
        let execution = engine.start_watched(&machine, "x", "{}", Box::new(watcher)).unwrap();
        simulation.settle(0);
        assert_eq!(execution.status(), Status::Failed);
        let history = history.lock().unwrap();
        let ids: Vec<u64> = history.events().map(|event| event.id).collect();
        assert_eq!(ids, wanted, "{event_mask:?}");
        // With any mask, it gets the same.
        if all.is_empty() {
            all = history.events().cloned().collect();
        }
        assert!(history.events().all(|event| all.contains(event)));
    }
}

// ---- what is shown of many executions ----

/// Fails at "bad", is retried and caught at "flaky".
const ORDERS: &str = r#"{"StartAt": "Route", "States": {
    "Route": {"Type": "Choice", "Default": "Call", "Choices": [
        {"Variable": "$.kind", "StringEquals": "plain", "Next": "Done"},
        {"Variable": "$.kind", "StringEquals": "slow", "Next": "Nap"},
        {"Variable": "$.kind", "StringEquals": "bad", "Next": "Bad"}]},
    "Call": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:f", "Next": "Done",
        "Retry": [{"ErrorEquals": ["Flaky"], "MaxAttempts": 2, "IntervalSeconds": 1}],
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Done"}]},
    "Nap": {"Type": "Wait", "Seconds": 7, "Next": "Done"},
    "Bad": {"Type": "Fail", "Error": "Mine", "Cause": "on purpose"},
    "Done": {"Type": "Succeed"}}}"#;

fn builder(setup: Setup, time: &ManualTime) -> expressway::runtime::Builder {
    Engine::builder()
        .seed(7)
        .shards(2)
        .time(time.clone())
        .observe(setup)
        .task_sync("arn:aws:lambda:us-east-1:123456789012:function:f", |_: serde_json::Value| {
            Err::<serde_json::Value, _>(TaskError::new("Flaky", "now and then"))
        })
}

fn settle(simulation: &mut Simulation, time: &ManualTime) {
    simulation.settle(time.now_ms());
    while let Some(next_ms) = simulation.next_ms() {
        time.advance(next_ms - time.now_ms());
        simulation.settle(time.now_ms());
    }
    simulation.carry();
}

#[test]
fn the_ring_keeps_failures_slow_ones_and_samples() {
    let time = ManualTime::at(1_000);
    let mut tail = Retention::default();
    (tail.slowest, tail.one_in) = (2, 50);
    let (engine, mut simulation) = builder(Setup::default().history(tail), &time).simulate().unwrap();
    let machine = engine.create_state_machine("orders", ORDERS).unwrap();
    let inputs = |kind: &str, n: usize| vec![format!(r#"{{"kind": "{kind}"}}"#); n];
    let plain = engine.start_batch(&machine, inputs("plain", 1_000));
    settle(&mut simulation, &time);
    assert_eq!(plain.counts().succeeded, 1_000);
    let observed = engine.observed();
    let samples = observed.histories(&Query::default()).executions;
    assert!((5..60).contains(&samples.len()), "{}", samples.len());
    assert!(samples.iter().all(|recorded| recorded.reason == Reason::Sample && recorded.events.len() == 6));

    let _batch = engine.start_batch(&machine, inputs("slow", 5));
    let bad = engine.start(&machine, r#"{"kind": "bad"}"#).unwrap();
    settle(&mut simulation, &time);
    let recorded = observed.history(&bad.arn()).expect("failures are kept");
    assert_eq!((recorded.reason, recorded.ending), (Reason::Failure, Ending::Failed));
    let types: Vec<_> = recorded.events.iter().map(|event| event.event_type.name()).collect();
    assert_eq!(
        types,
        [
            "ExecutionStarted",
            "ChoiceStateEntered",
            "ChoiceStateExited",
            "FailStateEntered",
            "ExecutionFailed"
        ]
    );
    let all = observed.histories(&Query { most: 1_000, ..Query::default() }).executions;
    let slow: Vec<_> = all.iter().filter(|recorded| recorded.reason == Reason::Slow).collect();
    assert_eq!(slow.len(), 2, "equally slow ones are no slower");
    assert!(slow.iter().all(|recorded| recorded.stopped_ms - recorded.started_ms == 7_000));
    // Values were packed while it napped.
    assert_eq!(slow[0].events[0].detail("input").unwrap().as_str(), Some(r#"{"kind":"slow"}"#));
    assert_eq!(slow[0].events.len(), 8);

    // Pages, newest first, each once.
    let (mut from, mut seen) = (None, Vec::new());
    loop {
        let page = observed.histories(&Query { from, most: 7, ..Query::default() });
        seen.extend(page.executions);
        match page.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, all);
    let failed =
        Query { ending: Some(Ending::Failed), state_machine_arn: Some(machine.arn()), ..Query::default() };
    assert_eq!(observed.histories(&failed).executions.len(), 1);
    let other = Query { state_machine_arn: Some("arn:other"), ..Query::default() };
    assert_eq!(observed.histories(&other).executions.len(), 0);
}

#[test]
fn the_ring_is_bounded() {
    let time = ManualTime::at(0);
    let mut tail = Retention::default();
    tail.bytes_max = 100_000;
    let (engine, mut simulation) = builder(Setup::default().history(tail), &time).simulate().unwrap();
    let machine = engine.create_state_machine("orders", ORDERS).unwrap();
    for _ in 0..10 {
        let _batch = engine.start_batch(&machine, vec![r#"{"kind": "bad"}"#; 100]);
        settle(&mut simulation, &time);
    }
    let text = engine.observed().prometheus();
    let bytes = text.lines().find_map(|line| line.strip_prefix("expressway_history_bytes ")).unwrap();
    assert!((20_000..=50_000).contains(&bytes.parse::<usize>().unwrap()), "{bytes}");
    // Too many at once: the rest is dropped, and counted.
    let _batch = engine.start_batch(&machine, vec![r#"{"kind": "bad"}"#; 5_000]);
    settle(&mut simulation, &time);
    assert_eq!(engine.counts().failed, 6_000);
    assert!(engine.observed().dropped().histories > 1_000);
}

/// Keeps what it is given.
#[allow(clippy::type_complexity)]
fn collector() -> (Arc<Mutex<Vec<u8>>>, impl FnMut(&[u8]) -> std::io::Result<()> + Send + 'static) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    (lines, move |more: &[u8]| {
        sink.lock().unwrap().extend_from_slice(more);
        Ok(())
    })
}

#[test]
fn log_lines_are_those_of_the_history() {
    let time = ManualTime::at(1_000);
    for (level, data) in
        [(Level::All, true), (Level::All, false), (Level::Error, true), (Level::Fatal, false)]
    {
        let (lines, sink) = collector();
        let (engine, mut simulation) =
            builder(Setup::default().log(sink, level, data), &time).simulate().unwrap();
        let machine = engine.create_state_machine("orders", ORDERS).unwrap();
        for kind in ["plain", "slow", "bad", "flaky"] {
            let history = LiveHistory::new(1 << 20);
            let input = format!(r#"{{"kind": "{kind}", "quotes": ["\"\\", "a\nb"], "more": {{}}}}"#);
            let execution = engine.start_watched(&machine, kind, input, history.watcher()).unwrap();
            settle(&mut simulation, &time);
            let arn = execution.arn();
            let labels =
                Labels { execution_arn: &arn, role_arn: "arn:aws:iam::123456789012:role/expressway" };
            let wanted: String = history.read(|history| {
                (history.events().filter(|event| level.shows(event.event_type)))
                    .map(|event| if data { event.clone() } else { event.clone().without_payloads() })
                    .map(|event| log::line(&event, labels) + "\n")
                    .collect()
            });
            let found = String::from_utf8(std::mem::take(&mut *lines.lock().unwrap())).unwrap();
            assert_eq!(found, wanted, "{kind} {level:?}");
        }
        // A machine's own level goes before the engine's.
        machine.set_logging(Level::Off, false);
        engine.start(&machine, r#"{"kind": "bad"}"#).unwrap();
        settle(&mut simulation, &time);
        assert!(lines.lock().unwrap().is_empty());
    }
}

#[test]
fn what_is_not_to_be_seen_is_not() {
    let time = ManualTime::at(1_000);
    let (lines, sink) = collector();
    let redaction = Redaction::new(["$.card", "$..secret"]).unwrap();
    let mut tail = Retention::default();
    tail.one_in = 1;
    let setup = Setup::default().log(sink, Level::All, true).history(tail).redact(redaction);
    let (engine, mut simulation) = builder(setup, &time).simulate().unwrap();
    let machine = engine.create_state_machine("orders", ORDERS).unwrap();
    let input = r#"{"kind": "slow", "card": {"number": "4711"}, "list": [{"secret": 4711, "open": 1}]}"#;
    let execution = engine.start(&machine, input).unwrap();
    settle(&mut simulation, &time);
    let lines = String::from_utf8(std::mem::take(&mut *lines.lock().unwrap())).unwrap();
    let history = format!("{:?}", engine.observed().history(&execution.arn()).unwrap());
    for shown in [lines, history] {
        assert!(!shown.contains("4711") && shown.contains("***") && shown.contains("open"), "{shown}");
    }
}

#[test]
fn a_stalled_or_broken_sink_changes_nothing_but_the_drop_counter() {
    let mut counts = Vec::new();
    for (stalled, broken, panics) in
        [(false, false, false), (true, false, false), (false, true, false), (false, false, true)]
    {
        let time = ManualTime::at(1_000);
        let sink = move |_: &[u8]| match (broken, panics) {
            (true, _) => Err(std::io::Error::other("no room on the device")),
            (_, true) => panic!("on purpose"),
            _ => Ok(()),
        };
        let setup =
            Setup::default().log(sink, Level::All, true).log_bytes_max(10_000).history(Retention::default());
        let (engine, mut simulation) = builder(setup, &time).simulate().unwrap();
        let machine = engine.create_state_machine("orders", ORDERS).unwrap();
        for n in 0..100 {
            let kind = ["plain", "bad", "slow", "flaky"][n % 4];
            let _batch = engine.start_batch(&machine, [format!(r#"{{"kind": "{kind}"}}"#)]);
            simulation.settle(time.now_ms());
            if !stalled {
                quietly(|| simulation.carry());
            }
        }
        while let Some(next_ms) = simulation.next_ms() {
            time.advance(next_ms - time.now_ms());
            simulation.settle(time.now_ms());
            if !stalled {
                quietly(|| simulation.carry());
            }
        }
        let (observed, dropped) = (engine.observed(), engine.observed().dropped().log_lines);
        assert_eq!(dropped > 0, stalled || broken || panics, "{dropped}");
        assert_eq!(observed.lines_written() > 0, !(stalled || broken || panics));
        counts.push(engine.counts());
    }
    assert!(counts.windows(2).all(|two| two[0] == two[1]), "{counts:?}");
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let time = ManualTime::at(1_000);
    let (engine, mut simulation) = builder(Setup::default().metrics(), &time).simulate().unwrap();
    let machine = engine.create_state_machine("orders", ORDERS).unwrap();
    for (kind, n) in [("plain", 10), ("bad", 3), ("slow", 2), ("flaky", 4)] {
        let _batch = engine.start_batch(&machine, vec![format!(r#"{{"kind": "{kind}"}}"#); n]);
    }
    engine.start(&machine, "{}").unwrap().abort();
    settle(&mut simulation, &time);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let pure = engine.create_state_machine("pure", PURE).unwrap();
    runtime.block_on(engine.run(&pure, "{}")).unwrap();

    let text = engine.observed().prometheus();
    let scrape = prometheus_parse::Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let value = |name: &str, labels: &[(&str, &str)]| -> f64 {
        let found: Vec<_> = (scrape.samples.iter())
            .filter(|sample| sample.metric == name)
            .filter(|sample| labels.iter().all(|(name, value)| sample.labels.get(name) == Some(value)))
            .collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}\n{text}");
        match &found[0].value {
            prometheus_parse::Value::Counter(value) | prometheus_parse::Value::Gauge(value) => *value,
            prometheus_parse::Value::Histogram(classes) => classes.last().unwrap().count,
            prometheus_parse::Value::Untyped(value) => *value,
            other => panic!("{other:?}"),
        }
    };
    let orders = ("state_machine_arn", machine.arn());
    for (name, labels, wanted) in [
        ("expressway_executions_total", [("status", "SUCCEEDED")].as_slice(), 17.0),
        ("expressway_executions_total", &[("status", "FAILED")], 3.0),
        ("expressway_executions_accepted_total", &[], 21.0),
        ("expressway_executions_live", &[], 0.0),
        ("aws_states_executions_started_total", &[orders], 20.0),
        ("aws_states_executions_succeeded_total", &[orders], 16.0),
        ("aws_states_executions_failed_total", &[orders], 3.0),
        ("aws_states_executions_aborted_total", &[orders], 1.0),
        ("aws_states_execution_time_seconds", &[orders], 20.0),
        ("aws_states_execution_time_seconds_sum", &[orders], 2.0 * 7.0 + 4.0 * 3.0),
        ("aws_states_executions_succeeded_total", &[("state_machine_arn", pure.arn())], 1.0),
        ("expressway_state_duration_seconds", &[orders, ("state", "Nap")], 2.0),
        ("expressway_state_duration_seconds_sum", &[orders, ("state", "Nap")], 14.0),
        ("expressway_state_retries_total", &[orders, ("state", "Call")], 8.0),
        ("expressway_state_catches_total", &[orders, ("state", "Call")], 4.0),
        ("aws_states_lambda_functions_scheduled_total", &[], 12.0),
        ("aws_states_lambda_functions_failed_total", &[], 12.0),
        ("aws_states_lambda_function_time_seconds", &[], 12.0),
        ("aws_states_express_execution_billed_memory_mb_total", &[orders], 20.0 * 64.0),
        ("expressway_dropped_total", &[("what", "log_lines")], 0.0),
    ] {
        assert_eq!(value(name, labels), wanted, "{name} {labels:?}\n{text}");
    }
}

#[test]
fn executions_that_never_wait_are_measured_in_microseconds() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let engine = Engine::builder().shards(1).observe(Setup::default().metrics()).build().unwrap();
    let pure = engine.create_state_machine("pure", PURE).unwrap();
    runtime.block_on(engine.start_batch(&pure, vec!["{}"; 100]));
    for _ in 0..100 {
        runtime.block_on(engine.start(&pure, "{}").unwrap());
        runtime.block_on(engine.run(&pure, "{}")).unwrap();
    }
    let counted = |row: &str, text: &str| -> f64 {
        let line = text.lines().find(|line| {
            line.starts_with("aws_states_execution_time_seconds")
                && line.contains(row)
                && line.contains("pure")
        });
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect(row)
    };
    // An execution is counted after its caller has the outcome.
    let text = loop {
        let text = engine.observed().prometheus();
        if counted("_count{", &text) >= 300.0 {
            break text;
        }
        std::thread::yield_now();
    };
    assert_eq!(counted("_count{", &text), 300.0);
    assert_eq!(text.matches("aws_states_execution_time_seconds_bucket{").count(), 27);
    // However busy the machine is: not all of them were interrupted.
    assert!(counted("le=\"0.0005\"", &text) > 0.0, "{text}");
    assert!(counted("le=\"0.000001\"", &text) < 300.0, "{text}");
}

const ACTIVITY: &str = "arn:aws:states:us-east-1:123456789012:activity:pick";

#[test]
fn the_times_of_a_task_are_counted_from_its_scheduling_and_from_its_start() {
    let time = ManualTime::at(1_000);
    let setup = builder(Setup::default().metrics(), &time).profile(Profile::Open);
    let (engine, mut simulation) = setup.simulate().unwrap();
    let definition = format!(
        r#"{{"StartAt": "Pick", "States": {{
            "Pick": {{"Type": "Task", "Resource": "{ACTIVITY}", "HeartbeatSeconds": 60, "End": true}}}}}}"#
    );
    let machine = engine.create_state_machine("pick", &definition).unwrap();
    let _batch = engine.start_batch(&machine, ["1", "2"]);
    simulation.settle(time.now_ms());
    let mut pass = |ms| {
        time.advance(ms);
        simulation.settle(time.now_ms());
    };
    // One waits 3 s for its worker, who takes 5 s; the other waits no longer, and its worker sends no heartbeats.
    pass(3_000);
    let take = || ready(engine.get_activity_task(ACTIVITY, None));
    let (task, _silent) = (take(), take());
    pass(0);
    pass(5_000);
    engine.send_task_success(&task.token(), b"10").unwrap();
    pass(0);
    pass(55_000);
    let text = engine.observed().prometheus();
    let labels = format!("{{activity_arn=\"{ACTIVITY}\"}}");
    for (name, wanted) in [
        ("aws_states_activities_scheduled_total", "2"),
        ("aws_states_activities_started_total", "2"),
        ("aws_states_activities_succeeded_total", "1"),
        ("aws_states_activities_timed_out_total", "1"),
        ("aws_states_activities_heartbeat_timed_out_total", "1"),
        ("aws_states_activity_schedule_time_seconds_sum", "6"),
        ("aws_states_activity_schedule_time_seconds_count", "2"),
        ("aws_states_activity_run_time_seconds_sum", "65"),
        ("aws_states_activity_time_seconds_sum", "71"),
    ] {
        let line = format!("{name}{labels} {wanted}\n");
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

/// The result of a ready future.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("there is nothing yet"),
    }
}
