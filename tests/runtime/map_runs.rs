//! Map Runs whose entries are in the journal: they are compacted with it, and continue behind a loss of power.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use expressway::asl::MachineType;
use expressway::fault::Fault;
use expressway::journal::model::Model;
use expressway::journal::{self, Disk, SyncMode};
use expressway::runtime::{
    Durable, Engine, Handle, Machine, MachineSpec, MapRun, MapRuns, Outcome, Published, Redrive, ResumeError,
    StartError, StartOptions, StartedChild, Status,
};
use expressway::task::{TaskError, Tasks, asynchronous};
use serde_json::{Value, json};

use crate::durable::{Folder, folder};
use crate::kept::{records, write_records};

const TASK: &str = "arn:aws:lambda:us-east-1:123456789012:function:double";
/// Bytes of each child's output, about, where compaction matters.
const TEXT_BYTES: usize = 10_000;
/// Version of what is kept below `tests/golden`.
const VERSION: u32 = 2;
const MAP: &str = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "End": true, "ToleratedFailureCount": 9,
    "ItemBatcher": {"MaxItemsPerBatch": 2}, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}, "StartAt": "D", "States": {
            "D": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:123456789012:function:double", "End": true}}}}}}"#;

/// The Map Runs that began.
#[derive(Default)]
struct Begun(Mutex<Vec<Arc<MapRun>>>);

impl MapRuns for Begun {
    fn begun(&self, run: &Arc<MapRun>) {
        self.0.lock().expect("the Map Runs").push(Arc::clone(run));
    }

    fn keeps(&self, _: &Published) -> bool {
        false
    }

    fn redriven(&self, _: &str) -> Option<Arc<MapRun>> {
        None
    }

    fn start(
        &self,
        _: (&Arc<MapRun>, u64),
        _: &Published,
        _: &str,
        _: Option<Box<dyn Tasks + Send>>,
    ) -> Result<Option<StartedChild>, Fault> {
        unreachable!("it keeps none")
    }

    fn over(&self, _: &MapRun) {}
}

fn arn(name: &str) -> String {
    format!("arn:aws:states:us-east-1:123456789012:execution:m:{name}")
}

struct World {
    engine: Engine,
    map: Machine,
    begun: Arc<Begun>,
    /// The first items of the batches that were worked on.
    asked: Arc<Mutex<Vec<i64>>>,
}

/// An engine on this disk, whose function answers for items below 6, and for others when it may.
fn world(disk: impl Disk + 'static, may: &Arc<AtomicBool>, text_bytes: usize) -> World {
    let (begun, asked) = (Arc::<Begun>::default(), Arc::<Mutex<Vec<i64>>>::default());
    let (may, told) = (Arc::clone(may), Arc::clone(&asked));
    let double = move |input: Value| {
        let items: Vec<i64> = serde_json::from_value(input["Items"].clone()).expect("numbers");
        told.lock().expect("the items").push(items[0]);
        let answers = items[0] < 6 || may.load(Ordering::SeqCst);
        async move {
            if !answers {
                std::future::pending::<()>().await;
            }
            let doubled: Vec<i64> = items.into_iter().map(|item| 2 * item).collect();
            Ok::<Value, TaskError>(json!({"doubled": doubled, "text": "x".repeat(text_bytes)}))
        }
    };
    let durable = Durable::disk(Arc::new(disk)).segment_bytes(256 << 10);
    let builder = Engine::builder().shards(1).async_handler(TASK, asynchronous(double));
    let engine = builder.map_runs(Arc::clone(&begun) as Arc<dyn MapRuns>).durable(durable).build();
    let engine = engine.expect("an engine");
    let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("m", MAP) };
    let map = engine.create(&spec).expect("the definition is valid");
    World { engine, map, begun, asked }
}

impl World {
    fn start(&self, name: &str, items: i64) -> Handle {
        let options = StartOptions {
            name: Some(name.into()),
            execution_arn: Some(arn(name).into()),
            durable: Some(Box::default()),
            redrivable: true,
            ..StartOptions::default()
        };
        let items: Vec<i64> = (0..items).collect();
        self.engine.start_with(&self.map, json!(items).to_string(), options).expect("it begins")
    }

    fn resume(&self) -> Handle {
        let recovered = self.engine.recovered().pop().expect("there is one");
        let handle = self.engine.resume(&self.map, recovered, None).expect("it goes on");
        self.engine.wait_resumed();
        handle
    }

    /// The first items of the batches that were worked on, in order.
    fn asked(&self) -> Vec<i64> {
        let mut asked = self.asked.lock().expect("the items").clone();
        asked.sort_unstable();
        asked
    }

    /// Waits until three batches are done, and the others are worked on.
    fn is_halfway(&self) {
        let done = |begun: &Begun| {
            let runs = begun.0.lock().expect("the Map Runs");
            runs.last().is_some_and(|run| {
                let state = run.state();
                (state.executions.succeeded, state.executions.running) == (3, 2)
            })
        };
        let are_asked = || {
            let asked = self.asked.lock().expect("the items");
            asked.contains(&6) && asked.contains(&8)
        };
        while !done(&self.begun) || !are_asked() {
            std::thread::yield_now();
        }
    }
}

/// The output is that of ten items.
fn all_are_doubled(outcome: &Outcome) {
    let output = outcome.output::<Vec<Value>>().expect("an output");
    let doubled: Vec<&Value> = output.iter().map(|child| &child["doubled"]).collect();
    assert_eq!(json!(doubled), json!((0..5).map(|n| [4 * n, 4 * n + 2]).collect::<Vec<_>>()));
}

#[test]
fn entries_in_the_journal_are_compacted_and_taken_up_after_a_loss_of_power() {
    let may = Arc::new(AtomicBool::new(false));
    let mut disk = Model::new(7, 256 << 20);
    let first = world(disk.clone(), &may, TEXT_BYTES);
    let mut handle = first.start("e", 10);
    let mut open = first;
    for round in 0..3 {
        open.is_halfway();
        assert_eq!(open.asked.lock().expect("the items").len(), if round == 0 { 5 } else { 2 }, "{round}");
        // Copies are behind later records then, and durable.
        for _ in 0..2 {
            open.engine.compact_journal().expect("it is compacted");
        }
        if round == 2 {
            break;
        }
        disk = disk.after_power_loss();
        let next = world(disk.clone(), &may, TEXT_BYTES);
        drop(handle);
        handle = next.resume();
        open = next;
    }
    may.store(true, Ordering::SeqCst);
    disk = disk.after_power_loss();
    drop((open, handle));
    let last = world(disk.clone(), &may, TEXT_BYTES);
    let outcome = last.resume().wait();
    assert_eq!(outcome.status, Status::Succeeded);
    all_are_doubled(&outcome);
    assert_eq!(last.asked(), [6, 8], "what was done is not done again");

    // It is over: its entries are no longer needed.
    let copied = last.engine.compact_journal().expect("it is compacted");
    // The threads of an engine that was dropped may use its disk still, which has no lock.
    disk = disk.after_power_loss();
    drop(last);
    let next = world(disk.clone(), &may, TEXT_BYTES);
    let recovered = next.engine.recovered().pop().expect("there is one");
    assert_eq!(recovered.outcome.map(|outcome| outcome.status), Some(Status::Succeeded));
    assert!(copied < 70_000, "{copied} bytes are kept");
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/durable/map-runs-{VERSION}.txt"))
}

fn disk(folder: &Folder) -> journal::Folder {
    journal::Folder::at(folder.0.join("journal"), SyncMode::Data)
}

/// Writes the records of a Map Run that succeeded, of one that was stopped, and of one that still runs.
fn bless() {
    let (folder, may) = (folder("golden-map-runs-blessed"), Arc::default());
    std::fs::create_dir_all(folder.0.join("journal")).expect("a folder");
    let world = world(disk(&folder), &may, 1);
    assert_eq!(world.start("over", 6).wait().status, Status::Succeeded);
    let stopped = world.start("stopped", 10);
    world.is_halfway();
    stopped.abort();
    stopped.wait();
    world.asked.lock().expect("the items").clear();
    let runs = world.start("runs", 10);
    world.is_halfway();
    drop((world, runs));
    std::fs::write(golden(), records(&folder.0)).expect("a file");
}

#[test]
fn records_of_all_versions_are_read() {
    if std::env::var_os("EXPRESSWAY_BLESS").is_some() {
        bless();
    }
    let kept = std::fs::read_to_string(golden()).expect("it is kept");
    assert!(kept.lines().filter(|line| line.starts_with("11 ")).count() > 6);
    let (folder, may) = (folder("golden-map-runs"), Arc::new(AtomicBool::new(true)));
    write_records(&folder.0, &kept);
    let world = world(disk(&folder), &may, 1);
    for execution in world.engine.recovered() {
        let (name, id) = (execution.name.clone(), execution.id);
        let outcome = execution.outcome.clone();
        match &*name {
            "over" => assert_eq!(outcome.map(|it| it.status), Some(Status::Succeeded)),
            "stopped" => {
                let outcome = outcome.expect("it was stopped");
                assert_eq!(outcome.status, Status::Aborted);
                let stopped = outcome.stopped().expect("it is kept");
                let arn = arn(&name);
                let redrive =
                    Redrive { name: &name, arn: &arn, trace_header: None, stopped, recorded: Some(id) };
                // The disk may be behind.
                let redriven = loop {
                    match world.engine.redrive(&world.map, redrive, None) {
                        Ok(redriven) => break redriven,
                        Err(ResumeError::Start(StartError::NotDurable(_))) => std::thread::yield_now(),
                        Err(error) => panic!("{error}"),
                    }
                };
                all_are_doubled(&redriven.handle.wait());
            }
            name => {
                assert_eq!(name, "runs");
                all_are_doubled(
                    &world.engine.resume(&world.map, execution, None).expect("it goes on").wait(),
                );
            }
        }
    }
    assert_eq!(world.asked(), [6, 6, 8, 8], "what was done is not done again");
}
