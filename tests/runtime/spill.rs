//! Durable executions whose states and histories leave memory while they wait: nothing that can be seen of them differs
//! from that of executions which stay.

use std::sync::mpsc::{Receiver, channel};

use expressway::asl::MachineType;
use expressway::observe::{Event, LiveHistory};
use expressway::runtime::{
    Durable, Engine, Handle, Machine, MachineSpec, ManualTime, Simulation, StartOptions, Status,
};
use expressway::task::TaskError;

use crate::durable::{Folder, folder};

const NOW_MS: u64 = 1_700_000_000_000;
const TELL: &str = "arn:aws:states:::lambda:invoke.waitForTaskToken";

/// A wait; a task that is answered from outside; both in parallel, twice; a state larger than a page.
const DEFINITION: &str = r#"{"StartAt": "First", "States": {
    "First": {"Type": "Wait", "Seconds": 100, "Next": "Ask"},
    "Ask": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken", "TimeoutSeconds": 500,
        "Parameters": {"FunctionName": "tell", "Payload": {"token.$": "$$.Task.Token"}},
        "ResultPath": "$.answer", "Next": "Both",
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.caught", "Next": "Both"}]},
    "Both": {"Type": "Map", "ItemsPath": "$.items", "ResultPath": "$.results", "Next": "Large",
        "ItemProcessor": {"StartAt": "Each", "States": {
            "Each": {"Type": "Wait", "SecondsPath": "$", "Next": "Out"},
            "Out": {"Type": "Pass", "Parameters": {"waited.$": "$"}, "End": true}}}},
    "Large": {"Type": "Pass", "Parameters": {"text.$": "States.Format('{}{}{}{}', $.text, $.text, $.text, $.text)",
        "all.$": "$"}, "Next": "Last"},
    "Last": {"Type": "Wait", "Seconds": 1000, "End": true}}}"#;

struct World {
    time: ManualTime,
    engine: Engine,
    simulation: Simulation,
    machine: Machine,
    told: Receiver<String>,
    now_ms: u64,
}

impl World {
    fn open(folder: &Folder, resident_max: usize, now_ms: u64) -> World {
        let (tell, told) = channel();
        loop {
            let (time, tell) = (ManualTime::at(now_ms), tell.clone());
            let durable = Durable::folder(&folder.0).segment_bytes(1 << 20).resident_max(resident_max);
            let handler = move |input: serde_json::Value| {
                let token = input["Payload"]["token"].as_str().unwrap_or_default().to_owned();
                tell.send(token).expect("somebody hears it");
                async { Ok::<_, TaskError>(serde_json::json!({})) }
            };
            let builder = Engine::builder().seed(1).shards(1).time(time.clone()).task(TELL, handler);
            let (engine, simulation) = match builder.durable(durable).simulate() {
                Ok(built) => built,
                // The threads of the journal before are about to end.
                Err(error) if error.to_string().contains("in use") => {
                    std::thread::yield_now();
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let spec =
                MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("m", DEFINITION) };
            let machine = engine.create(&spec).expect("the definition is valid");
            return World { time, engine, simulation, machine, told, now_ms };
        }
    }

    fn start(&mut self, name: &str) -> (Handle, LiveHistory) {
        let history = LiveHistory::new(1 << 20);
        let options = StartOptions {
            name: Some(name.into()),
            execution_arn: Some(format!("arn:aws:states:us-east-1:123456789012:execution:m:{name}").into()),
            durable: Some(Box::default()),
            watcher: Some(history.durable_watcher()),
            ..StartOptions::default()
        };
        let input = format!(r#"{{"items": [10, 20, 30], "text": "{}"}}"#, "some text ".repeat(250));
        let handle = self.engine.start_with(&self.machine, input, options).expect("it begins");
        (handle, history)
    }

    /// Lets time pass, a second at a time, and waits for the disk in each.
    fn pass_seconds(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.time.advance(1_000);
            self.now_ms += 1_000;
            self.settle();
        }
    }

    /// Until nothing waits for the disk.
    fn settle(&mut self) {
        let holds = |it: &mut Simulation| it.shards().iter().any(|shard| shard.held() > 0);
        // What became durable during the last turns has its effects in the next ones.
        loop {
            let held_before = holds(&mut self.simulation);
            self.simulation.settle(self.now_ms);
            if !held_before && !holds(&mut self.simulation) {
                return;
            }
            std::thread::yield_now();
        }
    }

    fn token(&self) -> String {
        self.told.try_recv().expect("the task was told of")
    }
}

fn events(history: &LiveHistory) -> Vec<Event> {
    history.read(|history| history.events().cloned().collect())
}

/// Runs one to its end, and one that is aborted while it waits; when `restarts`, in three processes. What was seen of them,
/// in the order of time.
fn run(test: &str, resident_max: usize, restarts: bool) -> Vec<String> {
    let folder = folder(test);
    let is_out = |history: &LiveHistory| history.bytes() == 0;
    let mut seen = Vec::new();
    let mut world = World::open(&folder, resident_max, NOW_MS);
    let ((mut handle, mut history), (aborted, end)) = (world.start("a"), world.start("b"));
    world.settle();
    world.pass_seconds(10);
    assert_eq!(is_out(&history), resident_max == 0);
    // It is read without a change to where it is.
    seen.push(format!("{:?}", events(&history)));
    assert_eq!(is_out(&history), resident_max == 0);
    aborted.abort();
    world.settle();
    assert_eq!(aborted.status(), Status::Aborted);
    seen.push(format!("{:?}", events(&end)));
    drop(aborted);
    world.pass_seconds(91);
    let token = world.token();
    let next = |world: World, handle: Handle, seen: &mut Vec<String>| {
        let World { engine, simulation, machine, now_ms, .. } = world;
        // Each of them keeps the folder.
        drop((machine, engine, handle));
        drop(simulation);
        let mut world = World::open(&folder, resident_max, now_ms);
        let found =
            world.engine.recovered().into_iter().find(|it| &*it.name == "a").expect("it was recorded");
        let history = LiveHistory::new(1 << 20);
        found.history.values().for_each(|it| history.recover(it).expect("events"));
        let handle = world.engine.resume(&world.machine, found, Some(history.durable_watcher()));
        world.settle();
        seen.push(format!("{:?}", events(&history)));
        (world, handle.expect("it goes on"), history)
    };
    world.pass_seconds(10);
    if restarts {
        (world, handle, history) = next(world, handle, &mut seen)
    } else {
        seen.push(format!("{:?}", events(&history)))
    }
    world.pass_seconds(10);
    assert_eq!(is_out(&history), resident_max == 0);
    world.engine.succeed_task(&token, br#"{"yes": true}"#).map(drop).expect("the token is good");
    world.settle();
    world.pass_seconds(40);
    if restarts {
        (world, handle, history) = next(world, handle, &mut seen);
    } else {
        seen.push(format!("{:?}", events(&history)));
    }
    // The state has more than what is parked as bytes.
    world.pass_seconds(5);
    assert_eq!(is_out(&history), resident_max == 0);
    world.pass_seconds(1_000);
    assert_eq!(handle.status(), Status::Succeeded);
    seen.push(format!("{:?}", events(&history)));
    let outcome = handle.wait();
    seen.push(format!("{} {} {:?}", outcome.started_ms, outcome.stopped_ms, outcome.json()));
    seen
}

#[test]
fn what_leaves_memory_comes_back_as_it_was() {
    for restarts in [false, true] {
        let stays = run(&format!("stays-{restarts}"), usize::MAX, restarts);
        let leaves = run(&format!("leaves-{restarts}"), 0, restarts);
        assert_eq!(leaves, stays, "with restarts: {restarts}");
    }
}
