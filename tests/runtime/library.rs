//! The library as a Rust program uses it: errors that `?` takes, programs that parse, executions that are waited for.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use expressway::engine::{Execution, TaskCall};
use expressway::fault::{self, Fault};
use expressway::program::Program;
use expressway::runtime::inline::{Answer, Driver, Tasks};
use expressway::runtime::{
    DefinitionError, Engine, Input, Json, Machine, ManualTime, RealClock, StartOptions, Status, Time,
};
use expressway::task::{self, Handlers, TaskError};

const TASK: &str = r#"{"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:work", "End": true}}}"#;
const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:work";
const FAIL: &str =
    r#"{"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "Order.Bad", "Cause": "no lines"}}}"#;

#[test]
fn question_mark_takes_a_run_to_its_output_and_what_went_wrong_to_the_caller() {
    fn run(definition: &str) -> Result<i64, Box<dyn Error>> {
        let program: Program = definition.parse()?;
        let mut handlers = Handlers::new();
        handlers
            .insert("arn:aws:lambda:us-east-1:123456789012:function:work", task::typed(|n: i64| Ok(2 * n)));
        let mut driver = Driver::with(program.into(), RealClock, &handlers);
        Ok(driver.run(b"21")?.output()?)
    }
    assert_eq!(run(TASK).expect("it succeeds"), 42);
    let error = run(FAIL).expect_err("it fails");
    assert_eq!(error.to_string(), "Order.Bad: no lines");
    let fault = error.downcast_ref::<Fault>().expect("the fault itself");
    assert_eq!(fault.error.as_deref(), Some("Order.Bad"));
    assert_eq!(Fault { error: Some(fault::TIMEOUT.into()), cause: None }.to_string(), "States.Timeout");
}

#[test]
fn a_definition_error_says_what_could_be_meant() {
    let error =
        TASK.replace(r#""StartAt": "T""#, r#""StartAt": "TT""#).parse::<Program>().expect_err("no state");
    assert!(error.to_string().contains("did you mean `T`?"), "{error}");
    let engine = Engine::builder().shards(1).build().expect("an engine");
    let error = engine.create_state_machine("m", &TASK.replace(r#""StartAt": "T""#, r#""StartAt": "TT""#));
    assert!(error.expect_err("no state").to_string().contains("did you mean `T`?"));
}

#[test]
fn any_error_of_a_handler_becomes_a_failed_task() {
    /// An error that comes from another one.
    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the quantity")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
    type Parse = fn(String) -> Result<i64, TaskError>;
    fn boxed(text: &str) -> Result<i64, Box<dyn Error + Send + Sync>> {
        Ok(text.parse().map_err(Outer)?)
    }
    fn anyhow(text: &str) -> anyhow::Result<i64> {
        use anyhow::Context;
        anyhow::ensure!(!text.is_empty(), "nothing is ordered");
        text.parse().with_context(|| format!("the order {text:?}"))
    }
    let failing: [(Parse, &str, &str); 8] = [
        (|text| Ok(boxed(&text)?), fault::TASK_FAILED, "the quantity: invalid digit found in string"),
        (|text| Ok(anyhow(&text)?), fault::TASK_FAILED, "the order \"x\": invalid digit found in string"),
        (|_| Ok(anyhow("")?), fault::TASK_FAILED, "nothing is ordered"),
        (
            |text| anyhow(&text).map_err(TaskError::named("Order.Malformed")),
            "Order.Malformed",
            "the order \"x\": invalid digit found in string",
        ),
        (|text| Err(format!("{text} is no order"))?, fault::TASK_FAILED, "x is no order"),
        (|text| Ok(text.parse()?), fault::TASK_FAILED, "invalid digit found in string"),
        (
            |text| text.parse().map_err(Outer).map_err(TaskError::named("Order.Malformed")),
            "Order.Malformed",
            "the quantity: invalid digit found in string",
        ),
        // What a workflow inside of a handler failed with keeps its name.
        (|_| Err(Fault::new(fault::RUNTIME, "inside"))?, fault::RUNTIME, "inside"),
    ];
    for (handler, name, cause) in failing {
        let mut handlers = Handlers::new();
        handlers.insert("arn:aws:lambda:us-east-1:123456789012:function:work", task::typed(handler));
        let program: Program = TASK.parse().expect("a program");
        let mut driver = Driver::with(program.into(), RealClock, &handlers);
        let fault = driver.run(br#""x""#).expect("JSON").output::<i64>().expect_err("it fails");
        assert_eq!((fault.error.as_deref(), fault.cause.as_deref()), (Some(name), Some(cause)));
    }
}

#[test]
fn a_result_that_cannot_be_read_is_shown_as_far_as_it_helps() {
    struct Says(Vec<u8>);
    impl Tasks for Says {
        fn start(&mut self, _: &Program, _: &mut Execution, _: &TaskCall) -> Answer {
            Answer::After(0, Ok(self.0.clone()))
        }
    }
    let long = [b"<html>".to_vec(), vec![b'x'; 100]].concat();
    let shown = format!(
        "The result of {FUNCTION} is not JSON: expected a value at byte 0. It begins with: <html>{}…",
        "x".repeat(58)
    );
    for (result, cause) in [
        (long, shown.as_str()),
        (b"".to_vec(), &*format!("The result of {FUNCTION} is not JSON: it is empty")),
        (
            b"{\"a\xff\": 1".to_vec(),
            &*format!(
                "The result of {FUNCTION} is not JSON: invalid UTF-8 at byte 3. It begins with: \
                 {{\\\"a\\xff\\\": 1"
            ),
        ),
        (
            b"[1e400]".to_vec(),
            &*format!(
                "The result of {FUNCTION} cannot be read: number out of range (of a double, at most \
                 1.7976931348623157e308) at byte 1. It begins with: [1e400]"
            ),
        ),
    ] {
        let program: Program = TASK.parse().expect("a program");
        let mut driver = Driver::with_tasks(program.into(), RealClock, Box::new(Says(result)));
        let fault = driver.run(b"1").expect("JSON").output::<i64>().expect_err("it fails");
        assert_eq!((fault.error.as_deref(), fault.cause.as_deref()), (Some(fault::TASK_FAILED), Some(cause)));
    }
}

#[test]
fn a_driver_starts_no_task_of_the_execution_before() {
    const DEFINITION: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Parallel", "End": true, "Branches": [
        {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:check", "End": true}}},
        {"StartAt": "B", "States": {"B": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:count", "End": true}}}]}}}"#;
    let counted = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&counted);
    let mut handlers = Handlers::new();
    handlers.insert(
        "arn:aws:lambda:us-east-1:123456789012:function:check",
        task::typed(|n: i64| if n < 0 { Err(TaskError::new("Negative", "no")) } else { Ok(n) }),
    );
    handlers.insert(
        "arn:aws:lambda:us-east-1:123456789012:function:count",
        task::typed(move |n: i64| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<i64, TaskError>(n)
        }),
    );
    let program: Program = DEFINITION.parse().expect("a program");
    let mut driver = Driver::with(program.into(), RealClock, &handlers);
    // The first branch ends the execution before the task of the second is started.
    assert!(!driver.run(b"-1").expect("JSON").succeeded());
    assert_eq!(counted.load(Ordering::Relaxed), 0);
    assert!(driver.run(b"1").expect("JSON").succeeded());
    assert_eq!(counted.load(Ordering::Relaxed), 1);
}

#[test]
fn a_thread_without_a_runtime_waits_for_an_execution() {
    let engine = Engine::builder()
        .shards(1)
        .task("arn:aws:lambda:us-east-1:123456789012:function:work", |n: i64| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok::<i64, TaskError>(2 * n)
        })
        .build()
        .expect("an engine");
    let machine = engine.create_state_machine("double", TASK).expect("a machine");
    let outcome = engine.start(&machine, Json(&21)).expect("it is taken").wait();
    assert_eq!(outcome.output::<i64>().expect("it succeeds"), 42);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let handle = engine.start(&machine, Json(&21)).expect("it is taken");
    let waited =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(async { handle.wait() })));
    assert!(waited.is_err(), "an async context must not be blocked");
}

#[test]
fn a_panic_in_a_turn_fails_its_execution_and_no_other() {
    const TASKS: &str = r#"{"StartAt": "W", "States": {
        "W": {"Type": "Wait", "SecondsPath": "$.seconds", "Next": "T"},
        "T": {"Type": "Task", "Resource": "arn:aws:states:us-east-1:123456789012:activity:work", "End": true}}}"#;
    // The engine calls it inside a turn.
    let builder = Engine::builder().shards(1).time(ManualTime::at(0)).express_callbacks(true);
    let builder = builder.activities(|_| panic!("an assertion that does not hold"));
    let (engine, mut simulation) = builder.simulate().expect("an engine");
    let asks = engine.create_state_machine("asks", TASKS).expect("a machine");
    let waits = TASKS.replace(
        r#""Type": "Task", "Resource": "arn:aws:states:us-east-1:123456789012:activity:work""#,
        r#""Type": "Pass""#,
    );
    let waits = engine.create_state_machine("waits", &waits).expect("a machine");
    let other = engine.start(&waits, Json(&serde_json::json!({"seconds": 2}))).expect("it is taken");
    let failing: Vec<_> = [0, 1]
        .map(|seconds| {
            engine.start(&asks, Json(&serde_json::json!({"seconds": seconds}))).expect("it is taken")
        })
        .into();
    for now_ms in [0, 1_000, 2_000] {
        simulation.settle(now_ms);
    }
    for handle in failing {
        let fault = handle.wait().output::<serde_json::Value>().expect_err("it fails");
        assert_eq!(fault.to_string(), "States.Runtime: Internal error: an assertion of the engine failed.");
    }
    assert_eq!(other.wait().status, Status::Succeeded);
    let after = engine.start(&waits, Json(&serde_json::json!({"seconds": 0}))).expect("it is taken");
    simulation.settle(2_000);
    assert_eq!(after.wait().status, Status::Succeeded);
    assert_eq!(simulation.shards().iter().map(|shard| shard.executions()).sum::<usize>(), 0);
}

#[test]
fn a_task_that_nobody_does_is_refused_when_its_machine_is_created() {
    const WORK: &str = "arn:aws:lambda:us-east-1:123456789012:function:work";
    let misspelt = TASK.replace("function:work", "function:wrok");
    let builder = || Engine::builder().shards(1).task_sync(WORK, |n: i64| Ok::<i64, TaskError>(n));
    let engine = builder().build().expect("an engine");
    let error = engine.create_state_machine("m", &misspelt).expect_err("nobody does it");
    assert_eq!(
        error.to_string(),
        "some tasks have no handler: no handler is registered for the resource \
         arn:aws:lambda:us-east-1:123456789012:function:wrok (did you mean \
         `arn:aws:lambda:us-east-1:123456789012:function:work`?) at /States/T/Resource. Register a handler for each, or \
         accept that they fail when they begin (`accept_unhandled`)"
    );
    assert!(matches!(&error, DefinitionError::Unhandled(tasks) if tasks[0].location == "/States/T/Resource"));
    let machine = engine.create_state_machine("m", TASK).expect("somebody does it");
    assert!(engine.update_state_machine(&machine, &misspelt).is_err(), "an update is refused as well");
    // A worker of an activity may come at any time.
    let activity = TASK.replace(WORK, "arn:aws:states:us-east-1:123456789012:activity:work");
    let open = Engine::builder().shards(1).express_callbacks(true).build().expect("an engine");
    assert!(open.create_state_machine("asks", &activity).is_ok());
    let lenient = builder().accept_unhandled(true).build().expect("an engine");
    let machine = lenient.create_state_machine("m", &misspelt).expect("it is accepted");
    let fault =
        lenient.start(&machine, "1").expect("it is taken").wait().output::<i64>().expect_err("it fails");
    assert_eq!(fault.error.as_deref(), Some(fault::RUNTIME));
}

#[test]
fn every_way_to_start_takes_the_same_inputs() {
    const PASS: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;
    let engine = Engine::builder().shards(1).build().expect("an engine");
    let machine = engine.create_state_machine("echo", PASS).expect("a machine");
    let options = StartOptions::default();
    fn check<I: Input>(engine: &Engine, machine: &Machine, options: &StartOptions, input: impl Fn() -> I) {
        let ran = engine.run_now(machine, input(), options, |ended| ended.succeeded()).expect("JSON");
        assert_eq!(ran, Some(true));
        assert_eq!(engine.start(machine, input()).expect("JSON").wait().status, Status::Succeeded);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let outcome = runtime.block_on(engine.run(machine, input())).expect("JSON");
        assert_eq!(outcome.status, Status::Succeeded);
    }
    let text = "[1, 2]".to_owned();
    check(&engine, &machine, &options, || "[1, 2]");
    check(&engine, &machine, &options, || b"[1, 2]");
    check(&engine, &machine, &options, || text.as_bytes());
    check(&engine, &machine, &options, || &text);
    check(&engine, &machine, &options, || text.clone());
    check(&engine, &machine, &options, || text.clone().into_bytes());
    check(&engine, &machine, &options, || Json([1, 2]));
    assert!(engine.run_now(&machine, "[1, ", &options, |_| ()).is_err());
}

/// Counts the warnings that name a resource.
#[derive(Clone, Default)]
struct Warnings(Arc<std::sync::Mutex<Vec<String>>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Resource(Option<String>);
        impl tracing::field::Visit for Resource {
            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                if field.name() == "resource" {
                    self.0 = Some(value.to_owned());
                }
            }
            fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
        }
        let mut resource = Resource(None);
        event.record(&mut resource);
        self.0.lock().expect("nobody panics").extend(resource.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_handler_that_blocks_its_shard_is_counted_and_warned_of_once() {
    let function = |name: &str| format!("arn:aws:lambda:us-east-1:123456789012:function:{name}");
    let machine = |name: &str| TASK.replace("function:work", &format!("function:{name}"));
    let time = ManualTime::at(1_000);
    // What blocks is time that passes while a handler is called.
    let takes = |milliseconds: u64| {
        let time = time.clone();
        move || time.advance(milliseconds)
    };
    let (quick, hangs, wakes) = (takes(99), takes(100), takes(250));
    let builder = Engine::builder().shards(1).seed(1).time(time.clone());
    let builder = builder.task_sync(function("quick"), move |n: i64| {
        quick();
        Ok::<i64, TaskError>(n)
    });
    let builder = builder.task_sync(function("hangs"), move |n: i64| {
        hangs();
        Ok::<i64, TaskError>(n)
    });
    // This one blocks when its future is polled again.
    let wakes = Arc::new(wakes);
    let builder = builder.task(function("wakes"), move |n: i64| {
        let wakes = Arc::clone(&wakes);
        async move {
            let mut polled = false;
            std::future::poll_fn(|context| {
                if std::mem::replace(&mut polled, true) {
                    wakes();
                    return std::task::Poll::Ready(());
                }
                context.waker().wake_by_ref();
                std::task::Poll::Pending
            })
            .await;
            Ok::<i64, TaskError>(n)
        }
    });
    let (engine, mut simulation) = builder.simulate().expect("an engine");
    let warnings = Warnings::default();
    tracing::subscriber::with_default(warnings.clone(), || {
        for name in ["quick", "hangs", "wakes", "hangs", "quick"] {
            let machine = engine.create_state_machine(name, &machine(name));
            let machine = machine.or_else(|_| engine.state_machine(name).ok_or(())).expect("a machine");
            let handle = engine.start(&machine, "1").expect("it is taken");
            simulation.settle(Time::steady_ms(&time));
            assert_eq!(handle.wait().status, Status::Succeeded, "{name}");
        }
    });
    assert_eq!(*warnings.0.lock().expect("nobody panics"), [function("hangs"), function("wakes")]);
    let metrics = engine.observed().prometheus();
    for (name, count) in [("hangs", 2), ("wakes", 1)] {
        let line = format!("expressway_handler_blocked_total{{resource=\"{}\"}} {count}", function(name));
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    assert!(!metrics.contains("function:quick"), "{metrics}");
}
