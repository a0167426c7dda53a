//! Durable executions of a library's engine: they are found in the journal, go on, and the journal stays short.

use std::path::{Path, PathBuf};

use expressway::asl::MachineType;
use expressway::runtime::{
    BuildError, Durable, DurableError, Engine, Handle, Machine, MachineSpec, StartError, StartOptions, Status,
};

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn folder(test: &str) -> Folder {
    Folder(std::env::temp_dir().join(format!("expressway-{test}-{}", std::process::id())))
}

/// The engine on a folder; an earlier one's threads may be about to end still.
fn engine(folder: &Folder) -> Engine {
    loop {
        let durable = Durable::folder(&folder.0).segment_bytes(256 << 10);
        match Engine::builder().shards(1).durable(durable).build() {
            Ok(engine) => return engine,
            Err(BuildError::Durable(DurableError::Journal(error)))
                if error.to_string().contains("in use") =>
            {
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn machine(engine: &Engine, definition: &str) -> Machine {
    let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("m", definition) };
    engine.create(&spec).expect("the definition is valid")
}

const WAITS: &str = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "SecondsPath": "$.seconds", "Next": "P"},
    "P": {"Type": "Pass", "End": true}}}"#;

fn start(engine: &Engine, machine: &Machine, name: &str, input: &str) -> Result<Handle, StartError> {
    let options = StartOptions {
        name: Some(name.into()),
        execution_arn: Some(format!("arn:aws:states:us-east-1:123456789012:execution:m:{name}").into()),
        durable: Some(name.as_bytes().into()),
        ..StartOptions::default()
    };
    engine.start_with(machine, input.to_owned(), options)
}

/// On a busy machine new segments of the journal take their time, and whoever is refused for that asks again.
fn start_when_there_is_room(engine: &Engine, machine: &Machine, name: &str, input: &str) -> Handle {
    loop {
        match start(engine, machine, name, input) {
            Ok(handle) => return handle,
            Err(StartError::NotDurable(why)) if why.contains("behind") => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder.join("journal")).expect("the journal");
    files.map(|file| file.and_then(|file| file.metadata()).map_or(0, |it| it.len())).sum()
}

#[test]
fn a_journal_is_compacted_and_loses_nothing_that_is_needed() {
    let folder = folder("compacted");
    let first = engine(&folder);
    let waits = machine(&first, WAITS);
    let open = start(&first, &waits, "open", r#"{"seconds": 100000}"#).expect("it begins");
    let mut sizes = Vec::new();
    for round in 0..6 {
        for n in 0..200 {
            let name = format!("e{round}-{n}");
            let handle = start_when_there_is_room(&first, &waits, &name, r#"{"seconds": 0}"#);
            let id = handle.recorded_id().expect("it is durable");
            assert_eq!(handle.wait().status, Status::Succeeded);
            if n > 0 {
                first.forget_recorded(id);
            }
        }
        let copied = first.compact_journal().expect("it is compacted");
        assert!(copied < 16 << 10, "{copied} bytes of an open execution and {round} others");
        sizes.push(bytes(&folder.0));
    }
    // Each round takes a page of the disk for each record, a thousand or so; what is given up is used again.
    let most = sizes[0] + 4 * (256 << 10);
    assert!(sizes.iter().all(|bytes| *bytes <= most), "the journal grows: {sizes:?}");
    drop((first, waits, open));

    let second = engine(&folder);
    let recovered = second.recovered();
    let names: Vec<&str> = recovered.iter().map(|execution| &*execution.name).collect();
    assert_eq!(names, ["open", "e0-0", "e1-0", "e2-0", "e3-0", "e4-0", "e5-0"]);
    for execution in &recovered {
        assert_eq!(&*execution.label, execution.name.as_bytes());
        let outcome = execution.outcome.as_ref().map(|outcome| (outcome.status, outcome.json().to_vec()));
        let wanted = (&*execution.name != "open").then(|| (Status::Succeeded, br#"{"seconds":0}"#.to_vec()));
        assert_eq!(outcome, wanted, "{}", execution.name);
    }
    // The one that is open goes on, and its end is found by the next engine.
    let waits = machine(&second, WAITS);
    let open = recovered.into_iter().next().expect("there are some");
    let handle = second.resume(&waits, open, None).expect("it goes on");
    second.wait_resumed();
    assert_eq!(handle.status(), Status::Running);
    assert!(matches!(start(&second, &waits, "open", "{}"), Err(StartError::AlreadyRuns(_))));
    handle.abort();
    assert_eq!(handle.wait().status, Status::Aborted);
    second.compact_journal().expect("it is compacted");
    drop((second, waits));

    let third = engine(&folder);
    let outcomes: Vec<Option<Status>> =
        third.recovered().iter().map(|execution| execution.outcome.as_ref().map(|it| it.status)).collect();
    assert_eq!(outcomes[0], Some(Status::Aborted));
    assert_eq!(outcomes.len(), 7);
}

#[test]
fn what_cannot_be_durable_is_refused() {
    let memory = Engine::builder().shards(1).build().expect("an engine");
    let waits = machine(&memory, WAITS);
    let refused = start(&memory, &waits, "a", "{}").expect_err("there is no journal");
    assert_eq!(refused.to_string(), "the execution cannot be made durable: the engine has no journal");

    let folder = folder("refused");
    let engine = engine(&folder);
    let waits = machine(&engine, WAITS);
    let options = StartOptions { durable: Some(Box::default()), ..StartOptions::default() };
    let refused = engine.start_with(&waits, "{}", options).expect_err("it has no name");
    assert!(refused.to_string().ends_with("it has no name"), "{refused}");
    // A state that no record holds fails its execution, and says why: it does not go on undurably.
    let large = format!(r#"{{"seconds": 0, "x": "{}"}}"#, "x".repeat(100_000));
    let refused = start(&engine, &waits, "large", &large).expect_err("a record has 64 KiB at most here");
    assert!(refused.to_string().contains("larger than"), "{refused}");
    let half = format!(r#"{{"seconds": 0, "x": "{}"}}"#, "x".repeat(45_000));
    let grows = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "Parameters": {"a.$": "$.x", "b.$": "States.Format('{}{}', $.x, $.x)"},
        "Next": "W"}, "W": {"Type": "Wait", "Seconds": 100000, "End": true}}}"#;
    let grows = machine(&engine, grows);
    let outcome = start(&engine, &grows, "half", &half).expect("it begins").wait();
    assert_eq!(outcome.status, Status::Failed);
    let cause = outcome.fault.and_then(|fault| fault.cause).unwrap_or_default();
    assert_eq!(cause, "The execution's state is larger than a record of the journal may be.");
}

/// Makes it impossible to make further segments of the journal, as when the disk is full, until it is dropped.
struct NoRoom(Vec<PathBuf>);

impl NoRoom {
    fn of(folder: &Folder) -> NoRoom {
        let paths = (0..300).map(|n| folder.0.join(format!("journal/segment-{n:010}.wal")));
        // Where there is a folder, no file can be made.
        NoRoom(paths.filter(|path| std::fs::create_dir(path).is_ok()).collect())
    }
}

impl Drop for NoRoom {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_dir(path);
        }
    }
}

#[test]
fn while_the_disk_is_full_durable_executions_wait_and_all_others_go_on() {
    let folder = folder("full");
    let engine = engine(&folder);
    // Each turn writes its state, 15 kB or twice that, into segments of 256 KiB.
    let loops = machine(
        &engine,
        r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 0, "Next": "M"},
            "M": {"Type": "Pass", "Parameters": {"n.$": "States.MathAdd($.n, -1)", "x.$": "$.x"}, "Next": "C"},
            "C": {"Type": "Choice", "Default": "W", "Choices": [{"Variable": "$.n", "NumericEquals": 0, "Next": "P"}]},
            "P": {"Type": "Pass", "OutputPath": "$.n", "End": true}}}"#,
    );
    let express = engine.create_state_machine("e", WAITS).expect("the definition is valid");
    let input = format!(r#"{{"n": 100, "x": "{}"}}"#, "x".repeat(15_000));
    let running: Vec<Handle> =
        (0..4).map(|n| start_when_there_is_room(&engine, &loops, &format!("n{n}"), &input)).collect();
    let no_room = NoRoom::of(&folder);
    // They use up the room, the reserve too; from then on none begins, small as it may be.
    let refusal =
        (0..).find_map(|n| start(&engine, &loops, &format!("late{n}"), r#"{"n": 1, "x": ""}"#).err());
    let refusal = refusal.map(|refusal| refusal.to_string()).unwrap_or_default();
    assert!(refusal.starts_with("the execution cannot be made durable: the journal"), "{refusal}");
    // The shard serves others meanwhile, timers too.
    for _ in 0..200 {
        let handle = engine.start(&express, r#"{"seconds": 0}"#).expect("it begins");
        assert_eq!(handle.wait().status, Status::Succeeded);
    }
    running[0].abort();
    assert!(
        running[1..].iter().all(|handle| handle.status() == Status::Running),
        "what is not written is not over"
    );

    drop(no_room);
    let ends: Vec<Status> = running.into_iter().map(|handle| handle.wait().status).collect();
    assert_eq!(ends[0], Status::Aborted);
    assert!(ends[1..].iter().all(|end| *end == Status::Succeeded), "{ends:?}");
    let again = start_when_there_is_room(&engine, &loops, "again", r#"{"n": 1, "x": ""}"#);
    assert_eq!(again.wait().status, Status::Succeeded);
}
