//! What can be started and how: types of machines, versions, aliases, options, and how executions are found. All on one
//! thread under virtual time.

use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use expressway::asl::MachineType;
use expressway::runtime::{
    Alias, Budgets, Builder, Engine, Limit, Machine, MachineSpec, ManualTime, Outcome, RouteError,
    Simulation, StartError, StartOptions, Status,
};
use expressway::task::mock::MockConfig;
use expressway::task::{Attempt, TaskError};
use serde_json::{Value, json};

const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";
const MACHINE: &str = "arn:aws:states:eu-west-1:999999999999:stateMachine:orders";

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

    fn create(&self, machine_type: MachineType, definition: &str) -> Machine {
        let role_arn = Some("arn:aws:iam::999999999999:role/r");
        let spec = MachineSpec {
            machine_type,
            arn: Some(MACHINE),
            role_arn,
            ..MachineSpec::new("orders", definition)
        };
        self.engine.create(&spec).unwrap()
    }

    /// Lets time pass, from one moment at which something is due to the next.
    fn pass_ms(&mut self, milliseconds: u64) {
        self.simulation.settle(self.now_ms);
        let until_ms = self.now_ms + milliseconds;
        while let Some(next_ms) = self.simulation.next_ms().filter(|&next_ms| next_ms < until_ms) {
            self.now_ms = next_ms.max(self.now_ms);
            self.simulation.settle(self.now_ms);
        }
        self.now_ms = until_ms;
        self.simulation.settle(self.now_ms);
    }

    /// Runs one execution, for which no time need pass.
    fn run(&mut self, machine: &Machine, options: StartOptions) -> Outcome {
        let engine = self.engine.clone();
        let mut run = pin!(engine.run_with(machine, "{}", options));
        if let Poll::Ready(outcome) = poll(run.as_mut()) {
            return outcome.unwrap();
        }
        self.pass_ms(0);
        match poll(run) {
            Poll::Ready(outcome) => outcome.unwrap(),
            Poll::Pending => panic!("it still runs"),
        }
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn output(outcome: &Outcome) -> Value {
    serde_json::from_slice(outcome.json()).unwrap_or_else(|_| panic!("{outcome:?}"))
}

fn pass(result: &str) -> String {
    format!(r#"{{"StartAt": "P", "States": {{"P": {{"Type": "Pass", {result}, "End": true}}}}}}"#)
}

fn wait(seconds: u64) -> String {
    format!(r#"{{"StartAt": "W", "States": {{"W": {{"Type": "Wait", "Seconds": {seconds}, "End": true}}}}}}"#)
}

fn named(name: &str) -> StartOptions {
    StartOptions { name: Some(name.into()), ..StartOptions::default() }
}

#[test]
fn a_standard_machine_may_take_a_year_beside_express_ones() {
    let mut world = World::new(Engine::builder());
    let (day, year) = (24 * 3_600, 365 * 24 * 3_600);
    let standard = world.create(MachineType::Standard, &wait(day));
    let express = world.create(MachineType::Express, &wait(day));
    let never = world.create(MachineType::Standard, &wait(2 * year));
    let [standard, express, never] =
        [&standard, &express, &never].map(|it| world.engine.start(it, "{}").unwrap());
    world.pass_ms(299_999);
    assert_eq!(express.status(), Status::Running);
    world.pass_ms(1);
    assert_eq!((express.status(), standard.status()), (Status::TimedOut, Status::Running));
    world.pass_ms(day * 1_000 - 300_001);
    assert_eq!(standard.status(), Status::Running);
    world.pass_ms(1);
    assert_eq!((standard.status(), never.status()), (Status::Succeeded, Status::Running));
    world.pass_ms((year - day) * 1_000);
    assert_eq!((never.status(), world.engine.usage()), (Status::TimedOut, (0, 0)));
}

#[test]
fn only_a_standard_machine_may_have_activities_and_callbacks_in_the_profile_of_aws() {
    let world = World::new(Engine::builder().accept_unhandled(true));
    for (resource, parameters) in [
        ("arn:aws:states:us-east-1:123456789012:activity:pick", "{}".to_owned()),
        (
            "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            r#"{"QueueUrl": "q", "MessageBody": "m"}"#.to_owned(),
        ),
        ("arn:aws:states:::states:startExecution.sync:2", format!(r#"{{"StateMachineArn": "{MACHINE}"}}"#)),
    ] {
        let definition = format!(
            r#"{{"StartAt": "T", "States": {{"T": {{"Type": "Task", "Resource": "{resource}", "Parameters": {parameters}, "End": true}}}}}}"#
        );
        let spec = MachineSpec::new("m", &definition);
        assert!(world.engine.create(&spec).is_err(), "{resource}");
        let spec = MachineSpec { machine_type: MachineType::Standard, ..spec };
        let machine = world.engine.create(&spec).unwrap_or_else(|error| panic!("{resource}: {error}"));
        // It keeps its type.
        world.engine.update_state_machine(&machine, &definition).unwrap();
    }
}

#[test]
fn the_context_object_shows_how_an_execution_is_called() {
    const SHOW: &str = r#""Parameters": {"e.$": "$$.Execution", "m.$": "$$.StateMachine"}"#;
    let mut world = World::new(Engine::builder());
    let express = world.create(MachineType::Express, &pass(SHOW));
    let standard = world.create(MachineType::Standard, &pass(SHOW));
    let started = |world: &mut World, machine: &Machine, options: StartOptions| {
        let handle = world.engine.start_with(machine, "{}", options).unwrap();
        let arn = handle.arn();
        world.pass_ms(0);
        let Poll::Ready(outcome) = poll(pin!(handle)) else { panic!("it still runs") };
        let shown = output(&outcome);
        assert_eq!(shown["e"]["Id"], arn);
        shown
    };
    let shown = started(&mut world, &express, named("run"));
    assert_eq!(shown["m"], json!({"Id": MACHINE, "Name": "orders"}));
    assert_eq!(
        (&shown["e"]["Name"], &shown["e"]["RoleArn"]),
        (&"run".into(), &"arn:aws:iam::999999999999:role/r".into())
    );
    assert_eq!(shown["e"]["RedriveCount"], 0);
    let arn = shown["e"]["Id"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:states:eu-west-1:999999999999:express:orders:run:"), "{arn}");
    let shown = started(&mut world, &standard, named("run"));
    assert_eq!(shown["e"]["Id"], "arn:aws:states:eu-west-1:999999999999:execution:orders:run");
    let own = StartOptions { execution_arn: Some("arn:own".into()), ..named("own") };
    let shown = started(&mut world, &express, own);
    assert_eq!((&shown["e"]["Id"], &shown["e"]["Name"]), (&"arn:own".into(), &"own".into()));
    // A synchronous one has no redrive count; nothing of the last one's identity is left.
    let shown = output(&world.run(&express, StartOptions::default()));
    assert_eq!(shown["e"].get("RedriveCount"), None);
    assert_ne!(shown["e"]["Name"], "own");
    let own = StartOptions { execution_arn: Some("arn:own".into()), ..named("own") };
    assert_eq!(output(&world.run(&express, own))["e"]["Id"], "arn:own");
}

#[test]
fn a_name_outlives_parking() {
    let mut world = World::new(Engine::builder());
    let definition = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "Next": "P"},
        "P": {"Type": "Pass", "Parameters": {"e.$": "$$.Execution.Name"}, "End": true}}}"#;
    let machine = world.create(MachineType::Express, definition);
    let handles: Vec<_> =
        (0..3).map(|n| world.engine.start_with(&machine, "{}", named(&format!("n{n}"))).unwrap()).collect();
    world.pass_ms(0);
    world.pass_ms(1_000);
    for (n, handle) in handles.into_iter().enumerate() {
        let Poll::Ready(outcome) = poll(pin!(handle)) else { panic!("it still runs") };
        assert_eq!(output(&outcome), json!({"e": format!("n{n}")}));
    }
}

#[test]
fn published_versions_stay_and_aliases_deal_by_weight() {
    let mut world = World::new(Engine::builder());
    let machine = world.create(MachineType::Express, &pass(r#""Result": 1"#));
    let first = machine.publish();
    world.engine.update_state_machine(&machine, &pass(r#""Result": 2"#)).unwrap();
    let second = machine.publish();
    let alias = Alias::new(&[(&first, 30), (&second, 70)]).unwrap();
    assert!(matches!(Alias::new(&[]), Err(RouteError::NoWeight)));
    assert!(matches!(Alias::new(&[(&first, 0)]), Err(RouteError::NoWeight)));
    let engine = world.engine.clone();
    let result = |world: &mut World, alias: &Alias| {
        let handle = world.engine.start(alias, "{}").unwrap();
        world.pass_ms(0);
        let Poll::Ready(outcome) = poll(pin!(handle)) else { panic!("it still runs") };
        output(&outcome).as_u64().unwrap()
    };
    let dealt = |world: &mut World| (0..400).map(|_| result(world, &alias)).collect::<Vec<u64>>();
    let one = dealt(&mut world);
    let ones = one.iter().filter(|&&result| result == 1).count();
    assert!((80..160).contains(&ones), "{ones} of 400 at a weight of 30");
    // In batches too; and all of it follows from the seed.
    let shown = Arc::new(Mutex::new(vec![0; 400]));
    let seen = Arc::clone(&shown);
    let batch = engine.start_batch_with(&alias, vec!["{}"; 400], move |n, ended| {
        seen.lock().unwrap()[n as usize] = ended.output::<u64>().unwrap();
    });
    world.pass_ms(0);
    assert_eq!(batch.counts().succeeded, 400);
    let ones = shown.lock().unwrap().iter().filter(|&&result| result == 1).count();
    assert!((80..160).contains(&ones), "{ones} of 400 at a weight of 30");
    assert!(shown.lock().unwrap().iter().all(|&result| result > 0));
    alias.set(&[(&first, 1), (&second, 0)]).unwrap();
    assert_eq!(dealt(&mut world), vec![1; 400]);
    // Executions keep the version they began with.
    let handle = engine.start(&second, "{}").unwrap();
    world.pass_ms(0);
    let Poll::Ready(outcome) = poll(pin!(handle)) else { panic!("it still runs") };
    assert_eq!(output(&outcome), 2);
    assert!(matches!(alias.set(&[]), Err(RouteError::NoWeight)));
    let stranger = World::new(Engine::builder()).create(MachineType::Express, &wait(1)).publish();
    assert!(matches!(alias.set(&[(&stranger, 1)]), Err(RouteError::Foreign)));
    assert!(matches!(engine.start(&stranger, "{}"), Err(StartError::Foreign)));
}

#[test]
fn an_execution_is_found_by_its_arn_as_long_as_it_runs() {
    let budgets = Budgets { executions_max: 2, ..Budgets::default() };
    let mut world = World::new(Engine::builder().budgets(budgets));
    let machine = world.create(MachineType::Express, &wait(10));
    let called = |arn: &str| StartOptions { execution_arn: Some(arn.into()), ..StartOptions::default() };
    let one = world.engine.start_with(&machine, "{}", called("arn:1")).unwrap();
    assert_eq!(one.arn(), "arn:1");
    let again = world.engine.start_with(&machine, "{}", called("arn:1"));
    assert!(matches!(again, Err(StartError::AlreadyRuns(arn)) if arn == "arn:1"));
    let _two = world.engine.start_with(&machine, "{}", called("arn:2")).unwrap();
    // One that is refused is not to be found.
    let Err(StartError::Throttled(throttled)) = world.engine.start_with(&machine, "{}", called("arn:3"))
    else {
        panic!("it is full")
    };
    assert_eq!(throttled.limit, Limit::Executions);
    assert!(world.engine.find_execution("arn:3").is_none());
    world.pass_ms(0);
    let found = world.engine.find_execution("arn:2").unwrap();
    assert_eq!((found.status(), found.arn()), (Status::Running, "arn:2".to_owned()));
    found.abort();
    world.pass_ms(0);
    assert_eq!(found.status(), Status::Aborted);
    assert!(world.engine.find_execution("arn:2").is_none());
    world.pass_ms(10_000);
    assert_eq!(one.status(), Status::Succeeded);
    assert!(world.engine.find_execution("arn:1").is_none());
    assert!(world.engine.start_with(&machine, "{}", called("arn:1")).is_ok());
}

#[test]
fn time_can_be_scaled() {
    let traced = Arc::new(Mutex::new(None::<u64>));
    let seen = Arc::clone(&traced);
    let builder =
        Engine::builder().time_scale(0.01).task_with(FUNCTION, move |_: Value, attempt: Attempt| {
            *seen.lock().unwrap() = Some(attempt.deadline_ms());
            std::future::pending::<Result<(), TaskError>>()
        });
    let mut world = World::new(builder);
    let task = format!(
        r#"{{"StartAt": "T", "TimeoutSeconds": 250, "States": {{"T": {{"Type": "Task", "Resource": "{FUNCTION}", "End": true,
        "TimeoutSeconds": 10, "Retry": [{{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 5, "MaxAttempts": 1}}]}}}}}}"#
    );
    let rows = [
        (wait(20), 200, Status::Succeeded),
        (wait(400), 3_000, Status::TimedOut),
        (task, 250, Status::Failed),
    ];
    for (definition, milliseconds, status) in rows {
        let machine = world.create(MachineType::Express, &definition);
        let handle = world.engine.start(&machine, "{}").unwrap();
        world.pass_ms(milliseconds - 1);
        assert_eq!(handle.status(), Status::Running, "{definition}");
        world.pass_ms(1);
        assert_eq!(handle.status(), status, "{definition}");
    }
    let started_ms = world.now_ms - 250;
    assert_eq!(*traced.lock().unwrap(), Some(started_ms + 250));
}

#[test]
fn an_execution_may_bring_its_own_tasks_and_a_trace_header() {
    let mocks = json!({
        "StateMachines": {"m": {"TestCases": {"case": {"A": "first"}}}},
        "MockedResponses": {"first": {"0": {"Throw": {"Error": "E", "Cause": "mocked"}}, "1": {"Return": {"n": 1}}}},
    });
    let mocks = MockConfig::parse(mocks.to_string().as_bytes()).unwrap();
    let builder = Engine::builder().accept_unhandled(true).task_with(
        FUNCTION,
        |input: Value, attempt: Attempt| async move {
            Ok::<Value, TaskError>(json!({"was": input, "trace": attempt.trace_header()}))
        },
    );
    let mut world = World::new(builder);
    let definition = format!(
        r#"{{"StartAt": "A", "States": {{"A": {{"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:none",
        "Retry": [{{"ErrorEquals": ["E"], "IntervalSeconds": 1}}], "Next": "B"}},
        "B": {{"Type": "Task", "Resource": "{FUNCTION}", "End": true}}}}}}"#
    );
    let machine = world.create(MachineType::Express, &definition);
    for _ in 0..2 {
        let options = StartOptions {
            tasks: Some(Box::new(mocks.test_case("m", "case").unwrap())),
            trace_header: Some("Root=1-2-3".into()),
            ..StartOptions::default()
        };
        let handle = world.engine.start_with(&machine, "{}", options).unwrap();
        world.pass_ms(0);
        assert_eq!(handle.status(), Status::Running);
        world.pass_ms(1_000);
        let Poll::Ready(outcome) = poll(pin!(handle)) else { panic!("it still runs") };
        assert_eq!(output(&outcome), json!({"was": {"n": 1}, "trace": "Root=1-2-3"}));
    }
    assert_eq!(world.run(&machine, StartOptions::default()).status, Status::Failed);
}

#[test]
fn what_answers_later_answers_when_its_time_has_come_and_not_after_an_abort() {
    use expressway::engine::{Execution, TaskCall};
    use expressway::program::Program;
    use expressway::task::{Answer, Tasks};

    struct Later(HashMap<u32, Answer>);
    impl Tasks for Later {
        fn start(&mut self, _: &Program, _: &mut Execution, call: &TaskCall) -> Answer {
            self.0.remove(&call.attempt).unwrap_or(Answer::Never)
        }
    }
    let mut world = World::new(Engine::builder().accept_unhandled(true));
    let definition = format!(
        r#"{{"StartAt": "A", "States": {{"A": {{"Type": "Task", "Resource": "{FUNCTION}", "TimeoutSeconds": 5, "End": true,
        "Retry": [{{"ErrorEquals": ["States.Timeout"], "IntervalSeconds": 1}}]}}}}}}"#
    );
    let machine = world.create(MachineType::Express, &definition);
    let start = |world: &mut World, answers: Vec<Answer>| {
        let tasks = Later(answers.into_iter().enumerate().map(|(n, answer)| (n as u32, answer)).collect());
        let options = StartOptions { tasks: Some(Box::new(tasks)), ..StartOptions::default() };
        let handle = world.engine.start_with(&machine, "{}", options).unwrap();
        world.pass_ms(0);
        handle
    };
    let after = |ms| Answer::After(ms, Ok(b"7".to_vec()));
    let (quick, slow, gone) = (
        start(&mut world, vec![after(2_000)]),
        start(&mut world, vec![after(9_000), after(100)]),
        start(&mut world, vec![after(2_000)]),
    );
    gone.abort();
    world.pass_ms(1_999);
    assert_eq!((quick.status(), gone.status()), (Status::Running, Status::Aborted));
    world.pass_ms(1);
    assert_eq!(quick.status(), Status::Succeeded);
    world.pass_ms(4_099);
    assert_eq!(slow.status(), Status::Running);
    world.pass_ms(1);
    assert_eq!(slow.status(), Status::Succeeded);
    for shard in world.simulation.shards() {
        assert_eq!((shard.executions(), shard.timers(), shard.tasks()), (0, 0, 0));
    }
}

#[test]
fn a_pure_execution_runs_at_once_or_not_at_all() {
    let world = World::new(Engine::builder());
    let machine = world.create(MachineType::Express, &pass(r#""Parameters": {"n.$": "$$.Execution.Name"}"#));
    let mut out = Vec::new();
    let ran = world.engine.run_now(&machine, b"{}", &named("now"), |ended| ended.write_output(&mut out));
    assert_eq!((ran, &*out), (Ok(Some(())), &br#"{"n":"now"}"#[..]));
    let waits = world.create(MachineType::Express, &wait(1));
    assert_eq!(world.engine.run_now(&waits, b"{}", &named("now"), |_| ()), Ok(None));
    let forever = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "Next": "C"}, "E": {"Type": "Succeed"},
        "C": {"Type": "Choice", "Choices": [{"Variable": "$", "IsNull": true, "Next": "E"}], "Default": "P"}}}"#;
    let forever = world.create(MachineType::Express, forever);
    assert_eq!(world.engine.run_now(&forever, b"{}", &named("now"), |_| ()), Ok(None));
    assert!(world.engine.run_now(&machine, b"{", &named("now"), |_| ()).is_err());
    let counts = world.engine.counts();
    assert_eq!((counts.accepted, counts.succeeded, counts.running), (1, 1, 0));
    assert_eq!(world.engine.usage(), (0, 0));
}

#[test]
fn what_takes_long_is_counted_admitted_and_waited_for() {
    let budgets = Budgets { executions_max: 1, ..Budgets::default() };
    let mut world = World::new(Engine::builder().budgets(budgets));
    let forever = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "Next": "C"}, "E": {"Type": "Succeed"},
        "C": {"Type": "Choice", "Choices": [{"Variable": "$", "IsNull": true, "Next": "E"}], "Default": "P"}}}"#;
    let machine = world.create(MachineType::Express, forever);
    let engine = world.engine.clone();
    let mut run = Box::pin(engine.run(&machine, "{}"));
    assert!(poll(run.as_mut()).is_pending());
    assert_eq!((world.engine.usage().0, world.engine.counts().running), (1, 1));
    assert!(world.engine.usage().1 > 0);
    let Poll::Ready(Err(StartError::Throttled(throttled))) = poll(pin!(engine.run(&machine, "{}"))) else {
        panic!("there is room for one")
    };
    assert_eq!(throttled.limit, Limit::Executions);
    let mut drain = pin!(engine.drain(std::time::Duration::ZERO));
    assert!(poll(drain.as_mut()).is_pending());
    drop(run);
    world.simulation.settle(world.now_ms);
    let Poll::Ready(counts) = poll(drain) else { panic!("nothing runs") };
    assert_eq!((counts.aborted, counts.running, world.engine.usage()), (1, 0, (0, 0)));
}

/// Children of a Map Run have no room, and none runs that could make some: nothing is done until another execution ends.
#[test]
fn a_map_run_without_room_sleeps_until_there_is_some() {
    for child in [r#"{"Type": "Pass", "End": true}"#, r#"{"Type": "Wait", "Seconds": 1, "End": true}"#] {
        let budgets = Budgets { executions_max: 4, ..Budgets::default() };
        let mut world = World::new(Engine::builder().budgets(budgets));
        let waits = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 100, "End": true}}}"#;
        let others = world.engine.create_state_machine("others", waits).unwrap();
        let others: Vec<_> = (0..3).map(|_| world.engine.start(&others, "{}").expect("room")).collect();
        let map = format!(
            r#"{{"StartAt": "M", "States": {{"M": {{"Type": "Map", "End": true, "ItemProcessor": {{
            "ProcessorConfig": {{"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}},
            "StartAt": "C", "States": {{"C": {child}}}}}}}}}}}"#
        );
        let map = world.create(MachineType::Standard, &map);
        let engine = world.engine.clone();
        let mut run = Box::pin(engine.run(&map, "[1,2,3]"));
        assert!(poll(run.as_mut()).is_pending());
        // It must end undisturbed: polling it would delay that.
        world.pass_ms(99_000);
        assert!(poll(run.as_mut()).is_pending());
        world.pass_ms(10_000);
        let Poll::Ready(Ok(outcome)) = poll(run.as_mut()) else { panic!("there is room") };
        assert_eq!(outcome.output::<Value>().expect("an output"), json!([1, 2, 3]));
        drop(others);
    }
}
