//! Which operations wait for the disk, in strict and relaxed mode, and what survives a loss of power: the state at some
//! moment.

use std::io;
use std::pin::pin;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use expressway::asl::MachineType;
use expressway::journal::model::Model;
use expressway::journal::{Disk, DiskFile};
use expressway::runtime::{
    DurabilityMode, Durable, Engine, Handle, Machine, MachineSpec, ManualTime, Simulation, StartError,
    StartOptions, Status,
};
use expressway::task::TaskError;

const NOW_MS: u64 = 1_700_000_000_000;
const CALL: &str = "arn:aws:lambda:us-east-1:123456789012:function:call";

/// A disk whose writes wait while its gate is closed.
#[derive(Clone)]
struct Gated {
    disk: Model,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Gated {
    fn new(seed: u64) -> Gated {
        Gated { disk: Model::new(seed, 1 << 40), gate: Arc::default() }
    }

    fn close(&self, is_closed: bool) {
        *self.gate.0.lock().expect("nobody panics") = is_closed;
        self.gate.1.notify_all();
    }

    fn pass(&self) {
        let closed = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.gate.1.wait_while(closed, |is_closed| *is_closed));
    }

    fn file(&self, file: io::Result<Box<dyn DiskFile>>) -> io::Result<Box<dyn DiskFile>> {
        file.map(|file| Box::new(GatedFile { file, disk: self.clone() }) as Box<dyn DiskFile>)
    }
}

impl Disk for Gated {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.file(self.disk.create(name))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.file(self.disk.open(name))
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.read(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.disk.sync_folder()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn describe(&self, name: &str) -> String {
        self.disk.describe(name)
    }
}

struct GatedFile {
    file: Box<dyn DiskFile>,
    disk: Gated,
}

impl DiskFile for GatedFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.disk.pass();
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

struct World {
    time: ManualTime,
    engine: Engine,
    simulation: Simulation,
    machine: Machine,
    called: Receiver<()>,
    now_ms: u64,
}

/// An engine on a disk whose executions call a function, and end.
fn open(durable: Durable) -> World {
    let (call, called) = channel();
    let function = move |_: serde_json::Value| {
        // There is no listener when only the journal is compared.
        let _ = call.send(());
        async { Ok::<_, TaskError>(7) }
    };
    let time = ManualTime::at(NOW_MS);
    let durable = durable.segment_bytes(256 << 10);
    let builder =
        Engine::builder().seed(1).shards(1).time(time.clone()).task(CALL, function).durable(durable);
    let (engine, simulation) = builder.simulate().expect("an engine");
    let definition = format!(
        r#"{{"StartAt": "T", "States": {{"T": {{"Type": "Task", "Resource": "{CALL}", "End": true}}}}}}"#
    );
    let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("m", &definition) };
    let machine = engine.create(&spec).expect("the definition is valid");
    World { time, engine, simulation, machine, called, now_ms: NOW_MS }
}

impl World {
    fn start(&self, name: &str) -> Result<Handle, StartError> {
        let options = StartOptions {
            name: Some(name.into()),
            execution_arn: Some(format!("arn:aws:states:us-east-1:123456789012:execution:m:{name}").into()),
            durable: Some(Box::default()),
            ..StartOptions::default()
        };
        self.engine.start_with(&self.machine, "{}".to_owned(), options)
    }

    fn turns(&mut self) {
        self.simulation.settle(self.now_ms);
    }
}

fn is_acknowledged(handle: &Handle) -> bool {
    pin!(handle.recorded()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// While the disk does nothing, strict executions are not acknowledged, and call nothing; relaxed ones are and do, until
/// the disk is behind by more than they may lose.
#[test]
fn nothing_waits_for_a_disk_that_is_not_too_far_behind() {
    let bound = Duration::from_millis(50);
    for (mode, waited_ms, goes_on) in [
        (DurabilityMode::Strict, 0, false),
        (DurabilityMode::Relaxed(bound), 0, true),
        (DurabilityMode::Relaxed(bound), 50, true),
        (DurabilityMode::Relaxed(bound), 51, false),
    ] {
        let disk = Gated::new(1);
        let durable = Durable::disk(Arc::new(disk.clone()));
        let mut world = open(match mode {
            DurabilityMode::Relaxed(bound) => durable.relaxed(bound),
            _ => durable,
        });
        assert_eq!(world.engine.durability(), mode);
        let metrics = world.engine.observed().prometheus();
        let shown = if mode == DurabilityMode::Strict { 0 } else { 50 };
        assert!(metrics.contains(&format!("expressway_durable_loss_ms_max {shown}")), "{metrics}");
        disk.close(true);
        let first = world.start("first").expect("it begins");
        world.time.advance(waited_ms);
        world.now_ms += waited_ms;
        let second = world.start("second").expect("it begins");
        world.turns();
        let happened = (is_acknowledged(&first), is_acknowledged(&second), world.called.try_iter().count());
        assert_eq!(happened, (goes_on, goes_on, if goes_on { 2 } else { 0 }), "{mode} after {waited_ms} ms");
        disk.close(false);
        pollster::block_on(second.recorded());
        // Each turn of theirs becomes durable, which wakes the shard.
        while [&first, &second].iter().any(|handle| handle.status() == Status::Running) {
            world.turns();
        }
    }
}

/// Whenever the power is lost: the executions that are found are those that were started first, and all but the last
/// are as they were; those that were acknowledged while the disk did nothing are lost.
#[test]
fn a_loss_of_power_leaves_what_had_happened_up_to_some_moment() {
    for seed in 0..200 {
        let disk = Gated::new(seed);
        let mut world = open(Durable::disk(Arc::new(disk.clone())).relaxed(Duration::from_secs(60)));
        let cut = (seed % 20) as usize;
        'starts: for n in 0..cut + 3 {
            disk.close(n >= cut);
            let handle = loop {
                match world.start(&format!("e{n}")) {
                    Ok(handle) => break handle,
                    // New segments take their time.
                    Err(StartError::NotDurable(_)) if n < cut => std::thread::yield_now(),
                    Err(StartError::NotDurable(_)) => break 'starts,
                    Err(error) => panic!("{error}"),
                }
            };
            world.turns();
            assert_eq!((is_acknowledged(&handle), handle.status()), (true, Status::Succeeded), "e{n}");
        }
        let after = disk.disk.after_power_loss();
        disk.close(false);
        let recovered = open(Durable::disk(Arc::new(after))).engine.recovered();
        let names: Vec<String> = recovered.iter().map(|it| it.name.to_string()).collect();
        let wanted: Vec<String> = (0..names.len()).map(|n| format!("e{n}")).collect();
        assert_eq!(names, wanted, "seed {seed}");
        assert!(names.len() <= cut, "seed {seed}: {names:?} of {cut}");
        for execution in recovered.iter().rev().skip(1) {
            assert!(execution.outcome.is_some(), "seed {seed}: {} has no end", execution.name);
        }
    }
}
