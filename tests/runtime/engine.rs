//! The sharded runtime through its public API: most of it on one thread under virtual time, the rest on threads.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use expressway::runtime::{
    Budgets, Builder, Engine, Handle, Json, Limit, Machine, ManualTime, Outcome, Profile, Simulation,
    StartError, Status,
};
use expressway::task::{Attempt, TaskError};

const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:";
const PASS: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;
const NAP: &str = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 10, "End": true}}}"#;
const SPIN: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "Next": "C"}, "E": {"Type": "Succeed"},
    "C": {"Type": "Choice", "Choices": [{"Variable": "$", "IsNull": true, "Next": "E"}], "Default": "P"}}}"#;

fn task(name: &str, more: &str) -> String {
    format!(
        r#"{{"StartAt": "T", "States": {{"T": {{"Type": "Task", "Resource": "{FUNCTION}{name}", "End": true{more}}}}}}}"#
    )
}

/// An engine without threads, at the beginning of time.
struct World {
    engine: Engine,
    simulation: Simulation,
    now_ms: u64,
}

impl World {
    fn new(builder: Builder) -> World {
        let (engine, simulation) = builder.shards(2).seed(7).time(ManualTime::at(0)).simulate().unwrap();
        World { engine, simulation, now_ms: 0 }
    }

    fn machine(&self, definition: &str) -> Machine {
        self.engine.create_state_machine(&format!("m{}", definition.len()), definition).unwrap()
    }

    fn pass_ms(&mut self, milliseconds: u64) {
        self.now_ms += milliseconds;
        self.simulation.settle(self.now_ms);
    }

    fn start(&mut self, machine: &Machine, input: &str) -> Handle {
        let handle = self.engine.start(machine, input).unwrap();
        self.pass_ms(0);
        handle
    }

    /// Runs a task state that calls `name` to its end.
    fn call(mut self, name: &str, more: &str, input: &str, milliseconds: u64) -> Outcome {
        let machine = self.machine(&task(name, more));
        let handle = self.start(&machine, input);
        self.pass_ms(milliseconds);
        self.check();
        outcome(handle)
    }

    /// Nothing is lost, and what is over has left nothing behind.
    fn check(&mut self) {
        let counts = self.engine.counts();
        assert_eq!(counts.accepted, counts.ended() + counts.running, "{counts:?}");
        assert_eq!((counts.running as usize, counts.bugs), (self.engine.usage().0, 0));
        if counts.running == 0 {
            assert_eq!(self.engine.usage(), (0, 0));
            for shard in self.simulation.shards() {
                assert_eq!((shard.executions(), shard.timers(), shard.tasks()), (0, 0, 0));
            }
        }
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn outcome(handle: Handle) -> Outcome {
    match poll(pin!(handle)) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it still runs"),
    }
}

fn error(outcome: &Outcome) -> (&str, &str) {
    let fault = outcome.fault.as_ref().expect("a fault");
    (fault.error.as_deref().unwrap_or_default(), fault.cause.as_deref().unwrap_or_default())
}

#[test]
fn a_wait_ends_when_its_time_has_come_and_not_before() {
    let mut world = World::new(Engine::builder());
    let machine = world.machine(NAP);
    let handle = world.start(&machine, r#"{"kept": [1, 2.50, "a\"b"]}"#);
    assert!(world.simulation.next_ms().is_some_and(|at_ms| at_ms <= 10_000));
    world.pass_ms(9_999);
    assert_eq!(handle.status(), Status::Running);
    world.pass_ms(1);
    let outcome = outcome(handle);
    assert_eq!((outcome.status, outcome.started_ms, outcome.stopped_ms), (Status::Succeeded, 0, 10_000));
    assert_eq!(outcome.json(), br#"{"kept":[1,2.5,"a\"b"]}"#);
    world.check();
}

#[test]
fn an_execution_times_out_after_five_minutes_or_its_own_time() {
    let mut world = World::new(Engine::builder());
    let hour = NAP.replace("10", "3600");
    let long = world.machine(&hour);
    let short = world.machine(&hour.replacen('{', r#"{"TimeoutSeconds": 20, "#, 1));
    let (long, short) = (world.start(&long, "1"), world.start(&short, "1"));
    world.pass_ms(19_999);
    assert_eq!(short.status(), Status::Running);
    world.pass_ms(1);
    assert_eq!(short.status(), Status::TimedOut);
    world.pass_ms(279_999);
    assert_eq!(long.status(), Status::Running);
    world.pass_ms(1);
    assert_eq!(long.status(), Status::TimedOut);
    world.check();
}

#[test]
fn input_that_is_not_json_is_refused() {
    let world = World::new(Engine::builder());
    for definition in [PASS, NAP] {
        let machine = world.machine(definition);
        assert!(matches!(world.engine.start(&machine, "{oops"), Err(StartError::NotJson(_))));
        let Poll::Ready(Err(error)) = poll(pin!(world.engine.run(&machine, "{oops"))) else {
            panic!("it runs")
        };
        assert!(matches!(error, StartError::NotJson(_)));
    }
    assert_eq!((world.engine.counts().accepted, world.engine.usage()), (0, (0, 0)));
}

#[test]
fn handlers_answer_at_once_or_in_their_own_time() {
    let double = |n: i64| async move { Ok::<i64, TaskError>(2 * n) };
    let outcome = World::new(Engine::builder().task(format!("{FUNCTION}f"), double)).call("f", "", "21", 0);
    assert_eq!(outcome.output::<i64>(), Ok(42));
    let in_line = |n: i64| Ok::<i64, TaskError>(n + 1);
    let outcome =
        World::new(Engine::builder().task_sync(format!("{FUNCTION}f"), in_line)).call("f", "", "1", 0);
    assert_eq!(outcome.output::<i64>(), Ok(2));
    let prefix = World::new(Engine::builder().task_prefix("arn:aws:lambda:", double));
    assert_eq!(prefix.call("any", "", "4", 0).output::<i64>(), Ok(8));
}

/// A future that is ready at its n-th poll, and wakes itself until then.
struct Slow(usize);

impl Future for Slow {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[test]
fn a_future_is_polled_until_it_is_done() {
    let slow = |n: usize| async move {
        Slow(n).await;
        Ok::<usize, TaskError>(n)
    };
    let outcome = World::new(Engine::builder().task(format!("{FUNCTION}f"), slow)).call("f", "", "10", 0);
    assert_eq!(outcome.output::<usize>(), Ok(10));
}

#[test]
fn whatever_a_handler_does_is_an_error_that_can_be_caught() {
    type Made = Pin<Box<dyn Future<Output = Result<serde_json::Value, TaskError>>>>;
    let handler = |how: String| -> Made {
        Box::pin(async move {
            match how.as_str() {
                "error" => Err(TaskError::new("Card.Declined", "no funds")),
                "panic" => panic!("at once"),
                "late panic" => {
                    Slow(3).await;
                    panic!("later")
                }
                "much" => Ok("x".repeat(262_145).into()),
                "hang" => std::future::pending().await,
                other => panic!("{other}"),
            }
        })
    };
    let rows = [
        (r#""error""#, "Card.Declined", "no funds"),
        (r#""panic""#, "States.TaskFailed", "The handler panicked: at once"),
        (r#""late panic""#, "States.TaskFailed", "The handler panicked: later"),
        (r#""much""#, "States.DataLimitExceeded", "The state/task"),
        (r#""hang""#, "States.Timeout", ""),
        ("{}", "States.TaskFailed", "The task's input: "),
    ];
    for (input, name, cause) in rows {
        let builder = || Engine::builder().task(format!("{FUNCTION}f"), handler);
        let outcome = World::new(builder()).call("f", r#", "TimeoutSeconds": 3"#, input, 3_000);
        assert_eq!(outcome.status, Status::Failed, "{input}");
        let (found, told) = error(&outcome);
        assert!(found == name && told.starts_with(cause), "{input}: {found}: {told}");
        let catch = r#", "TimeoutSeconds": 3, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "C"}]}, "C": {"Type": "Pass", "End": true"#;
        let outcome = World::new(builder()).call("f", catch, input, 3_000);
        assert_eq!(outcome.status, Status::Succeeded, "{input}");
        assert_eq!(outcome.output::<serde_json::Value>().unwrap()["Error"], name);
    }
}

#[test]
fn a_retry_waits_and_tries_again() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let flaky = move |_: serde_json::Value| {
        let n = counted.fetch_add(1, Ordering::Relaxed);
        async move { if n < 2 { Err(TaskError::new("Busy", "")) } else { Ok(n) } }
    };
    let mut world = World::new(Engine::builder().task(format!("{FUNCTION}f"), flaky));
    let retry = r#", "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 1, "BackoffRate": 2}]"#;
    let machine = world.machine(&task("f", retry));
    let handle = world.start(&machine, "{}");
    world.pass_ms(999);
    assert_eq!(tries.load(Ordering::Relaxed), 1);
    world.pass_ms(1);
    assert_eq!(tries.load(Ordering::Relaxed), 2);
    world.pass_ms(1_999);
    assert_eq!(handle.status(), Status::Running);
    world.pass_ms(1);
    assert_eq!(outcome(handle).output::<usize>(), Ok(2));
    world.check();
}

#[test]
fn aborting_reaches_queue_wait_and_handler() {
    let seen = Arc::new(Mutex::new(None::<Attempt>));
    let keep = seen.clone();
    let hang = move |_: serde_json::Value, attempt: Attempt| {
        *keep.lock().unwrap() = Some(attempt);
        std::future::pending::<Result<(), TaskError>>()
    };
    let mut world = World::new(Engine::builder().task_with(format!("{FUNCTION}f"), hang));
    let nap = world.machine(NAP);
    let queued = world.engine.start(&nap, "1").unwrap();
    queued.abort();
    let waits = world.start(&nap, "1");
    waits.abort();
    let machine = world.machine(&task("f", ""));
    let runs = world.start(&machine, "1");
    let attempt = seen.lock().unwrap().clone().unwrap();
    assert_eq!((attempt.state(), attempt.retries(), attempt.deadline_ms()), ("T", 0, 300_000));
    assert_eq!(attempt.execution_arn(), runs.arn());
    assert!(!attempt.is_cancelled());
    runs.abort();
    world.pass_ms(0);
    assert!(attempt.is_cancelled());
    for handle in [queued, waits, runs] {
        assert_eq!(handle.status(), Status::Aborted);
        handle.abort();
    }
    world.pass_ms(0);
    assert_eq!(world.engine.counts().aborted, 3);
    world.check();
}

#[test]
fn a_batch_is_counted_and_shown() {
    let mut world = World::new(Engine::builder());
    let machine = world.machine(PASS);
    let shown = Arc::new(Mutex::new(vec![None; 1_000]));
    let seen = shown.clone();
    let inputs: Vec<String> =
        (0..1_000).map(|n| if n == 500 { "{".to_owned() } else { n.to_string() }).collect();
    let mut batch = pin!(world.engine.start_batch_with(&machine, &inputs, move |n, ended| {
        seen.lock().unwrap()[n as usize] = ended.output::<i64>().ok();
    }));
    assert!(batch.refused.is_none() && poll(batch.as_mut()).is_pending());
    world.pass_ms(0);
    let Poll::Ready(counts) = poll(batch) else { panic!("all are over") };
    assert_eq!((counts.accepted, counts.succeeded, counts.failed), (1_000, 999, 1));
    for (n, shown) in shown.lock().unwrap().iter().enumerate() {
        assert_eq!(*shown, (n != 500).then_some(n as i64));
    }
    world.check();
}

#[test]
fn what_does_not_fit_is_refused_and_says_why() {
    let budgets = Budgets { executions_max: 100, machine_executions_max: 60, ..Budgets::default() };
    let mut world = World::new(Engine::builder().budgets(budgets));
    let machine = world.machine(NAP);
    let inputs = vec!["1"; 100];
    let batch = world.engine.start_batch(&machine, &inputs);
    assert_eq!(batch.refused.map(|throttled| throttled.limit), Some(Limit::MachineExecutions));
    assert_eq!(batch.counts().accepted, 0);
    let batch = world.engine.start_batch(&machine, &inputs[..60]);
    assert!(batch.refused.is_none());
    let Err(StartError::Throttled(throttled)) = world.engine.start(&machine, "1") else {
        panic!("it is full")
    };
    assert_eq!(throttled.limit, Limit::MachineExecutions);
    world.pass_ms(0);
    world.pass_ms(10_000);
    assert!(world.engine.start(&machine, "1").is_ok());
    world.pass_ms(10_000);
    assert_eq!(world.engine.counts().refused, 64 + 1);
    world.check();
}

#[test]
fn running_executions_keep_their_program() {
    let mut world = World::new(Engine::builder());
    let version = |n: u32| {
        format!(
            r#"{{"StartAt": "W", "States": {{"W": {{"Type": "Wait", "Seconds": 1, "Next": "P"}}, "P": {{"Type": "Pass", "Result": {n}, "End": true}}}}}}"#
        )
    };
    let machine = world.machine(&version(1));
    let before = world.start(&machine, "0");
    world.engine.update_state_machine(&machine, &version(2)).unwrap();
    assert!(world.engine.update_state_machine(&machine, "{}").is_err());
    let after = world.start(&machine, "0");
    world.pass_ms(1_000);
    assert_eq!((outcome(before).json(), outcome(after).json()), (&b"1"[..], &b"2"[..]));
}

#[test]
fn draining_lets_run_and_then_times_out() {
    let mut world = World::new(Engine::builder());
    let (short, long) = (world.machine(NAP), world.machine(&NAP.replace("10", "100")));
    let (_short, _long) = (world.start(&short, "1"), world.start(&long, "1"));
    let engine = world.engine.clone();
    let mut drain = pin!(engine.drain(Duration::from_secs(50)));
    assert!(poll(drain.as_mut()).is_pending());
    let Err(StartError::Throttled(throttled)) = engine.start(&short, "1") else { panic!("it drains") };
    assert_eq!(throttled.limit, Limit::Draining);
    world.pass_ms(10_000);
    assert!(poll(drain.as_mut()).is_pending());
    world.pass_ms(40_000);
    let Poll::Ready(counts) = poll(drain) else { panic!("all are over") };
    assert_eq!((counts.succeeded, counts.timed_out, counts.running), (1, 1, 0));
    world.check();
}

#[test]
fn a_busy_loop_does_not_keep_others_waiting() {
    let mut world = World::new(Engine::builder().run_in_place(false));
    let spin = world.machine(SPIN);
    let handle = world.engine.start(&spin, "1").unwrap();
    let nap = world.machine(NAP);
    let others: Vec<Handle> = (0..50).map(|_| world.engine.start(&nap, "1").unwrap()).collect();
    for step in 0..200 {
        for shard in world.simulation.shards() {
            shard.turn(step * 100);
        }
    }
    assert!(others.iter().all(|other| other.status() == Status::Succeeded));
    assert_eq!(handle.status(), Status::Running);
    handle.abort();
    world.pass_ms(0);
    assert_eq!(handle.status(), Status::Aborted);
}

const CALLBACK: &str = r#"{"StartAt": "T", "States": {"T": {"Type": "Task", "End": true, "HeartbeatSeconds": 10, "TimeoutSeconds": 60,
    "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken", "Parameters": {"token.$": "$$.Task.Token"}}}}"#;

#[test]
fn a_token_is_good_for_one_answer() {
    let tokens = Arc::new(Mutex::new(Vec::<String>::new()));
    let sent = tokens.clone();
    let send = move |message: std::collections::HashMap<String, String>| {
        sent.lock().unwrap().push(message["token"].clone());
        async { Ok::<(), TaskError>(()) }
    };
    let resource = "arn:aws:states:::sqs:sendMessage.waitForTaskToken";
    let mut world = World::new(Engine::builder().profile(Profile::Open).task(resource, send));
    let machine = world.machine(CALLBACK);
    let handles: Vec<Handle> = (0..4).map(|_| world.start(&machine, "{}")).collect();
    let tokens = tokens.lock().unwrap().clone();
    world.pass_ms(9_000);
    for token in &tokens[..3] {
        world.engine.send_task_heartbeat(token).unwrap();
    }
    world.pass_ms(9_000);
    assert_eq!(error(&outcome(handles[3].clone())).0, "States.Timeout");
    assert!(world.engine.send_task_success(&tokens[3], b"1").is_err());
    assert!(world.engine.send_task_success(&tokens[0], b"{").is_err());
    world.engine.send_task_success(&tokens[0], br#"{"done": true}"#).unwrap();
    assert!(world.engine.send_task_success(&tokens[0], b"2").is_err());
    world.engine.send_task_failure(&tokens[1], "Mail.Lost", "in the rain").unwrap();
    handles[2].abort();
    world.pass_ms(0);
    assert_eq!(outcome(handles[0].clone()).json(), br#"{"done":true}"#);
    assert_eq!(error(&outcome(handles[1].clone())), ("Mail.Lost", "in the rain"));
    assert!(world.engine.send_task_failure(&tokens[2], "", "").is_err());
    assert!(world.engine.send_task_success("not a token", b"1").is_err());
    world.check();
}

#[test]
fn activities_are_done_by_workers() {
    let mut world = World::new(Engine::builder().profile(Profile::Open));
    let activity = "arn:aws:states:us-east-1:123456789012:activity:pick";
    let definition = task("f", "").replace(&format!("{FUNCTION}f"), activity);
    let machine = world.machine(&definition);
    let engine = world.engine.clone();
    let mut idle = Box::pin(engine.get_activity_task(activity, None));
    let mut worker = Box::pin(engine.get_activity_task(activity, None));
    assert!(poll(idle.as_mut()).is_pending() && poll(worker.as_mut()).is_pending());
    let (first, second, gone) =
        (world.start(&machine, "1"), world.start(&machine, "2"), world.start(&machine, "3"));
    gone.abort();
    world.pass_ms(0);
    drop(idle);
    let Poll::Ready(task) = poll(worker.as_mut()) else { panic!("there is a task") };
    assert_eq!(task.input, b"1");
    engine.send_task_success(&task.token(), b"10").unwrap();
    let Poll::Ready(task) = poll(pin!(engine.get_activity_task(activity, None))) else {
        panic!("there is one more")
    };
    engine.send_task_success(&task.token(), b"20").unwrap();
    assert!(poll(pin!(engine.get_activity_task(activity, None))).is_pending());
    world.pass_ms(0);
    assert_eq!((outcome(first).json(), outcome(second).json()), (&b"10"[..], &b"20"[..]));
    world.check();
    // The limits of AWS refuse both.
    let strict = World::new(Engine::builder());
    assert!(strict.engine.create_state_machine("a", &definition).is_err());
    assert!(strict.engine.create_state_machine("b", CALLBACK).is_err());
}

#[test]
fn branches_and_iterations_wait_side_by_side() {
    let mut world = World::new(Engine::builder().task(format!("{FUNCTION}f"), |n: usize| async move {
        Slow(n % 7).await;
        Ok::<usize, TaskError>(n + 1)
    }));
    let machine = world.machine(&format!(
        r#"{{"StartAt": "M", "States": {{"M": {{"Type": "Map", "MaxConcurrency": 3, "End": true, "ItemProcessor": {{
            "StartAt": "W", "States": {{"W": {{"Type": "Wait", "Seconds": 1, "Next": "T"}},
            "T": {{"Type": "Task", "Resource": "{FUNCTION}f", "TimeoutSeconds": 5, "End": true}}}}}}}}}}}}"#
    ));
    let input: Vec<usize> = (0..100).collect();
    let handle = world.engine.start(&machine, Json(&input)).unwrap();
    world.pass_ms(0);
    for _ in 0..34 {
        assert_eq!(handle.status(), Status::Running);
        world.pass_ms(1_000);
    }
    let expected: Vec<usize> = (1..=100).collect();
    assert_eq!(outcome(handle).output::<Vec<usize>>(), Ok(expected));
    world.check();
}

/// Packing forgets what was made once for all iterations; it is made again for each.
#[test]
fn a_map_goes_on_when_it_was_packed_between_iterations() {
    let mut world = World::new(Engine::builder());
    let machine = world.machine(
        r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "MaxConcurrency": 1, "End": true, "ItemsPath": "$.items",
            "ItemSelector": {"i.$": "$$.Map.Item.Index", "v.$": "$$.Map.Item.Value", "all.$": "$.all", "text": "kept"},
            "ItemProcessor": {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "End": true}}}}}}"#,
    );
    let handle = world.start(&machine, r#"{"items": ["a", {"b": 1}, null], "all": {"names": ["Ada"]}}"#);
    for _ in 0..3 {
        assert_eq!(handle.status(), Status::Running);
        let (executions, bytes) = world.engine.usage();
        assert!(executions == 1 && bytes < 1_000, "{bytes} bytes are not what a packed execution takes");
        world.pass_ms(1_000);
    }
    let item = |i: usize, v: &str| format!(r#"{{"text":"kept","all":{{"names":["Ada"]}},"v":{v},"i":{i}}}"#);
    let expected = format!("[{},{},{}]", item(0, r#""a""#), item(1, r#"{"b":1}"#), item(2, "null"));
    assert_eq!(str::from_utf8(outcome(handle).json()), Ok(expected.as_str()));
    world.check();
}

// ---- on threads ----

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn threads_run_what_is_started_from_anywhere() {
    block_on(async {
        let builder = Engine::builder().shards(2).task(format!("{FUNCTION}f"), |n: u64| async move {
            tokio::task::yield_now().await;
            Ok::<u64, TaskError>(n + 1)
        });
        let engine = builder
            .task_blocking(format!("{FUNCTION}b"), |n: u64, _| Ok::<u64, TaskError>(n * 2))
            .build()
            .unwrap();
        let machines = [PASS, &task("f", ""), &task("b", "")]
            .map(|definition| engine.create_state_machine(&definition.len().to_string(), definition).ok());
        let machines: Vec<Machine> = machines.into_iter().flatten().collect();
        let mut runs = tokio::task::JoinSet::new();
        for n in 0..600u64 {
            let (engine, machine) = (engine.clone(), machines[n as usize % machines.len()].clone());
            runs.spawn(async move { engine.run(&machine, Json(n)).await.unwrap().status });
        }
        assert!(runs.join_all().await.into_iter().all(|status| status == Status::Succeeded));
        let counts = engine.drain(Duration::from_secs(60)).await;
        assert_eq!(counts.running, 0);
        let counts = engine.counts();
        assert_eq!((counts.accepted, counts.succeeded), (600, 600));
    });
}

#[test]
fn a_million_of_small_ones_in_batches_are_all_counted() {
    let engine = Engine::builder().shards(2).build().unwrap();
    let machine = engine.create_state_machine("m", PASS).unwrap();
    let inputs = vec!["{\"x\":1}"; 10_000];
    block_on(async {
        let mut accepted = 0;
        for _ in 0..20 {
            let batch = engine.start_batch(&machine, &inputs);
            accepted += batch.await.succeeded;
        }
        assert_eq!(accepted, 200_000);
    });
}

#[test]
fn dropping_a_run_aborts_it_and_dropping_the_engine_aborts_all() {
    block_on(async {
        let engine = Engine::builder().shards(1).build().unwrap();
        let machine = engine.create_state_machine("m", NAP).unwrap();
        let other = engine.start(&machine, "1").unwrap();
        let run = engine.run(&machine, "1");
        assert!(tokio::time::timeout(Duration::from_millis(1), run).await.is_err());
        // Its abort and what follows go through the same queue.
        let last = engine.start(&machine, "1").unwrap();
        last.abort();
        assert_eq!(last.await.status, Status::Aborted);
        assert_eq!(engine.counts().aborted, 2);
        drop(engine);
        assert_eq!(other.await.status, Status::Aborted);
    });
}
