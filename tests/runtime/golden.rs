//! Records of the kinds that the kept journals of [`durable`](crate::durable) lack: notes, answers whose turns were not
//! recorded, redrives, and forgotten executions. `EXPRESSWAY_BLESS=1` rewrites them, for a new version only.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use expressway::asl::MachineType;
use expressway::observe::LiveHistory;
use expressway::runtime::{
    Durable, Engine, Handle, Machine, MachineSpec, ManualTime, Redrive, Simulation, StartOptions, Status,
};
use expressway::task::TaskError;
use serde_json::{Value as Json, json};

use crate::durable::{Folder, folder, lines};
use crate::kept::{records, write_records};

const VERSION: u32 = 2;
const NOW_MS: u64 = 1_800_000_000_000;
const TELL: &str = "arn:aws:states:::lambda:invoke.waitForTaskToken";
const DEFINITION: &str = r#"{"StartAt": "Ask", "States": {
    "Ask": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken", "TimeoutSeconds": 1000000,
        "Parameters": {"FunctionName": "tell", "Payload": {"token.$": "$$.Task.Token"}}, "End": true}}}"#;
const NOTE: (&[u8], &[u8]) = (b"a key", b"what was noted");

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/durable/{name}-{VERSION}.txt"))
}

fn arn(name: &str) -> String {
    format!("arn:aws:states:us-east-1:123456789012:execution:m:{name}")
}

struct World {
    engine: Engine,
    simulation: Simulation,
    machine: Machine,
    told: Receiver<String>,
}

impl World {
    fn open(folder: &Folder) -> World {
        let (tell, told) = channel();
        loop {
            let tell = tell.clone();
            let handler = move |input: Json| {
                let token = input["Payload"]["token"].as_str().unwrap_or_default().to_owned();
                tell.send(token).expect("somebody hears it");
                async { Ok::<_, TaskError>(json!({})) }
            };
            let durable = Durable::folder(&folder.0).segment_bytes(256 << 10);
            let builder = Engine::builder().seed(1).shards(1).time(ManualTime::at(NOW_MS));
            let (engine, simulation) = match builder.task(TELL, handler).durable(durable).simulate() {
                Ok(built) => built,
                // The threads of the former journal are about to end.
                Err(error) if error.to_string().contains("in use") => {
                    std::thread::yield_now();
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let spec =
                MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("m", DEFINITION) };
            let machine = engine.create(&spec).expect("the definition is valid");
            return World { engine, simulation, machine, told };
        }
    }

    fn settle(&mut self) {
        let holds = |it: &mut Simulation| it.shards().iter().any(|shard| shard.held() > 0);
        // What became durable during the last turns has its effects in the next ones.
        loop {
            let held_before = holds(&mut self.simulation);
            self.simulation.settle(NOW_MS);
            if !held_before && !holds(&mut self.simulation) {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Starts an execution. Returns its task's token as well.
    fn start(&mut self, name: &str) -> (Handle, String) {
        let options = StartOptions {
            name: Some(name.into()),
            execution_arn: Some(arn(name).into()),
            durable: Some(name.as_bytes().into()),
            redrivable: true,
            watcher: Some(LiveHistory::new(1 << 20).durable_watcher()),
            ..StartOptions::default()
        };
        let handle = self.engine.start_with(&self.machine, "{}".to_owned(), options).expect("it begins");
        self.settle();
        (handle, self.told.recv().expect("a token"))
    }
}

fn bless() {
    let folder = folder("golden-kinds-blessed");
    let mut world = World::open(&folder);
    world.engine.note(NOTE.0, || NOTE.1.to_vec()).expect("it is noted");
    let tokens = ["answered", "refused", "redriven", "forgotten"].map(|name| world.start(name));
    let [answered, refused, redriven, forgotten] = &tokens;
    for (_, token) in [redriven, forgotten] {
        world.engine.send_task_failure(token, "E", "why").expect("the token is good");
    }
    world.settle();
    let outcome = redriven.0.clone().wait();
    let redrive = Redrive {
        name: "redriven",
        arn: &arn("redriven"),
        trace_header: None,
        stopped: outcome.stopped().expect("it is kept"),
        recorded: redriven.0.recorded_id(),
    };
    let watcher = LiveHistory::new(1 << 20).durable_watcher();
    world.engine.redrive(&world.machine, redrive, Some(watcher)).expect("it goes on");
    world.settle();
    world.engine.forget_recorded(forgotten.0.recorded_id().expect("it is durable"));
    // The shard runs no turn after these.
    world.engine.send_task_success(&answered.1, br#"{"answer":42}"#).expect("the token is good");
    world.engine.send_task_failure(&refused.1, "Refused", "by somebody").expect("the token is good");
    drop(world);
    std::fs::write(golden("kinds"), records(&folder.0)).expect("a file");
}

#[test]
fn records_of_other_kinds_are_read() {
    if std::env::var_os("EXPRESSWAY_BLESS").is_some() {
        bless();
    }
    let kept = std::fs::read_to_string(golden("kinds")).expect("it is kept");
    let kinds: Vec<&str> = kept.lines().filter_map(|line| line.split(' ').next()).collect();
    // Notes, answers, forgotten executions, redrives.
    assert!(["2", "4", "7", "8"].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    let folder = folder("golden-kinds");
    write_records(&folder.0, &kept);

    let mut world = World::open(&folder);
    assert_eq!(world.engine.noted(NOTE.0).as_deref(), Some(NOTE.1));
    let (mut histories, mut handles) = (String::new(), Vec::new());
    for execution in world.engine.recovered() {
        let history = LiveHistory::new(1 << 20);
        for recorded in execution.history.values() {
            history.recover(recorded).expect("events");
        }
        histories += &history.read(|history| lines(&execution.name, history));
        let (name, redrives) = (execution.name.clone(), execution.redrives);
        let handle = world.engine.resume(&world.machine, execution, None).expect("it goes on");
        handles.push((name, redrives, handle));
    }
    world.settle();
    let told: Vec<(&str, (u32, u64), Status)> =
        (handles.iter()).map(|(name, redrives, handle)| (&**name, *redrives, handle.status())).collect();
    let wanted = [
        ("answered", (0, 0), Status::Succeeded),
        ("refused", (0, 0), Status::Failed),
        ("redriven", (1, NOW_MS), Status::Running),
    ];
    assert_eq!(told, wanted);
    let ends = handles.into_iter().take(2).map(|(_, _, handle)| handle.wait());
    let ends: Vec<(String, Option<String>)> = ends
        .map(|end| (String::from_utf8_lossy(end.json()).into_owned(), end.fault.and_then(|it| it.cause)))
        .collect();
    assert_eq!(
        ends,
        [(r#"{"answer":42}"#.to_owned(), None), (String::new(), Some("by somebody".to_owned()))]
    );
    let path = golden("kinds-histories");
    if std::env::var_os("EXPRESSWAY_WRITE").is_some() {
        std::fs::write(&path, &histories).expect("a file");
    }
    assert_eq!(histories, std::fs::read_to_string(path).expect("it is kept"));
}
