//! Durable executions of a library's engine: they are found in the journal, continue, and the journal stays short.

use std::path::{Path, PathBuf};

use expressway::asl::MachineType;
use expressway::observe::history::Detail;
use expressway::observe::{Event, History, LiveHistory};
use expressway::runtime::{
    BuildError, Durable, DurableError, Engine, Handle, Machine, MachineSpec, StartError, StartOptions, Status,
};
use expressway::task::{Attempt, TaskError, asynchronous_with};

use crate::kept::{records, write_records};

pub(crate) struct Folder(pub(crate) PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        crate::kept::remove(&self.0);
    }
}

pub(crate) fn folder(test: &str) -> Folder {
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

/// On a busy machine making new segments of the journal takes time, and a refused start is retried.
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
    // A round takes a page of the disk for each of its thousand records at most, and fewer where several come together;
    // what is given up is used again.
    let most = 1_000 * 4_096 + 4 * (256 << 10);
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
    // The open one continues, and its end is found by the next engine.
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

const TASK: &str = "arn:aws:lambda:us-east-1:123456789012:function:pay";

#[test]
fn a_task_in_doubt_is_done_once_more_or_fails_as_its_resource_wants() {
    for (pattern, is_done_again) in [("arn:aws:lambda:*", false), (TASK, false), ("arn:aws:lambda:x", true)] {
        let folder = folder(&format!("doubt-{}", pattern.len()));
        let (tell, done) = std::sync::mpsc::channel();
        let open = |answers: bool| loop {
            let durable = Durable::folder(&folder.0).segment_bytes(256 << 10).fail_in_doubt(pattern);
            let tell = tell.clone();
            let pay = move |_: serde_json::Value, attempt: Attempt| {
                tell.send(attempt.idempotency_key()).expect("someone hears it");
                async move {
                    if !answers {
                        std::future::pending::<()>().await;
                    }
                    Ok::<i64, TaskError>(7)
                }
            };
            let builder = Engine::builder().shards(1).async_handler(TASK, asynchronous_with(pay));
            match builder.durable(durable).build() {
                Ok(engine) => return engine,
                Err(error) if error.to_string().contains("in use") => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        let definition = format!(
            r#"{{"StartAt": "T", "States": {{"T": {{"Type": "Task", "Resource": "{TASK}", "End": true}}}}}}"#
        );
        let first = open(false);
        let pays = machine(&first, &definition);
        let handle = start(&first, &pays, "a", "{}").expect("it begins");
        let key = done.recv().expect("it is done").expect("it has a key");
        drop((first, pays, handle));

        let second = open(true);
        let pays = machine(&second, &definition);
        let recovered = second.recovered().into_iter().next().expect("it was recorded");
        let outcome = second.resume(&pays, recovered, None).expect("it goes on").wait();
        if is_done_again {
            assert_eq!((outcome.status, outcome.json()), (Status::Succeeded, &b"7"[..]));
            assert_eq!(done.try_recv(), Ok(Some(key)));
        } else {
            let fault = outcome.fault.expect("it failed");
            assert_eq!(fault.error.as_deref(), Some("States.TaskFailed"));
            let cause = fault.cause.unwrap_or_default();
            assert!(cause.contains("are not done once more"), "{cause}");
            assert!(done.try_recv().is_err(), "it was done twice");
        }
    }
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
    // A state that exceeds any record fails its execution, with a message: it does not continue undurably.
    let large = format!(r#"{{"seconds": 0, "x": "{}"}}"#, "x".repeat(100_000));
    let refused = start(&engine, &waits, "large", &large).expect_err("a record has 64 KiB at most here");
    assert!(refused.to_string().contains("larger than"), "{refused}");
    // Random data has no deltas.
    let grows = r#"{"StartAt": "P", "QueryLanguage": "JSONata", "States": {
        "P": {"Type": "Pass", "Output": "{% [1..6000].$random() %}", "Next": "W"},
        "W": {"Type": "Wait", "Seconds": 100000, "End": true}}}"#;
    let grows = machine(&engine, grows);
    let outcome = start(&engine, &grows, "grows", "{}").expect("it begins").wait();
    assert_eq!(outcome.status, Status::Failed);
    let cause = outcome.fault.and_then(|fault| fault.cause).unwrap_or_default();
    let larger = "What a turn of the execution changed is larger than a record of the journal may be.";
    assert_eq!(cause, larger);
}

/// A Map whose iterations wait, and whose results are kept; then a Wait without end.
const GROWS: &str = r#"{"StartAt": "M", "States": {
    "M": {"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 3, "ResultPath": "$.results", "Next": "W",
        "ItemProcessor": {"StartAt": "I", "States": {
            "I": {"Type": "Wait", "Seconds": 0, "Next": "P"},
            "P": {"Type": "Pass", "Parameters": {"n.$": "$", "text.$": "States.Format('item {} of many, {}', $, States.Hash($, 'SHA-512'))"},
                "End": true}}}},
    "W": {"Type": "Wait", "Seconds": 100000, "End": true}}}"#;

#[test]
fn a_history_is_read_back_from_what_turns_changed() {
    let folder = folder("histories");
    let first = engine(&folder);
    let grows = machine(&first, GROWS);
    let history = LiveHistory::new(16 << 20);
    let items: Vec<usize> = (0..60).collect();
    let options = StartOptions {
        name: Some("grows".into()),
        execution_arn: Some("arn:aws:states:us-east-1:123456789012:execution:m:grows".into()),
        durable: Some(Box::default()),
        watcher: Some(history.durable_watcher()),
        ..StartOptions::default()
    };
    let input = format!(r#"{{"items": {items:?}}}"#);
    let handle = first.start_with(&grows, input, options).expect("it begins");
    let is_parked = |history: &History| {
        let last = history.events().next_back();
        last.is_some_and(|event| event.detail("name").and_then(Detail::as_str) == Some("W"))
    };
    while !history.read(is_parked) {
        std::thread::yield_now();
    }
    let whole = history.read(|history| history.events().map(|it| format!("{it:?}").len()).sum::<usize>());
    let bytes = first.recorded_bytes() as usize;
    assert!(bytes < whole, "{bytes} bytes for a history of {whole}: a turn is told by the one before");
    // Copies are behind later turns then.
    first.compact_journal().expect("it is compacted");
    let events: Vec<Event> = history.read(|history| history.events().cloned().collect());
    drop((first, grows, handle));

    for _ in 0..2 {
        let next = engine(&folder);
        let mut recovered = next.recovered();
        let execution = recovered.pop().expect("there is one");
        let read = LiveHistory::new(16 << 20);
        for recorded in execution.history.values() {
            read.recover(recorded).expect("events");
        }
        assert_eq!(read.read(|history| history.events().cloned().collect::<Vec<Event>>()), events);
        let grows = machine(&next, GROWS);
        let handle = next.resume(&grows, execution, Some(read.durable_watcher())).expect("it goes on");
        next.wait_resumed();
        assert_eq!(handle.status(), Status::Running);
        next.compact_journal().expect("it is compacted");
    }
}

/// Records of the same four executions, as releases with each version of them wrote them. `EXPRESSWAY_BLESS=1` writes those
/// of the current version anew; that is for a new version only.
const GOLDEN: &str = r#"{"StartAt": "First", "States": {"First": {"Type": "Wait", "SecondsPath": "$.first", "Next": "Twice"}, "Twice": {"Type": "Pass", "Parameters": {"first.$": "$.first", "second.$": "$.second", "text.$": "States.Format('{} and {}', $.text, $.text)"}, "Next": "Second"}, "Second": {"Type": "Wait", "SecondsPath": "$.second", "End": true}}}"#;

/// By name, input, how many events there are, and the output of one that is over.
const KEPT: [(&str, &str, usize, Option<&str>); 4] = [
    ("begun", r#"{"first":1000000,"second":0,"text":"wait"}"#, 2, None),
    ("midway", r#"{"first":1,"second":1000000,"text":"wait"}"#, 6, None),
    (
        "over",
        r#"{"first":0,"second":1,"text":"done"}"#,
        8,
        Some(r#"{"text":"done and done","first":0,"second":1}"#),
    ),
    ("failed", r#"{"first":0,"second":1}"#, 5, Some("")),
];
const VERSION: u32 = 2;

fn golden(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/durable/records-{version}.txt"))
}

/// The events of an execution, a line each.
pub(crate) fn lines(name: &str, history: &History) -> String {
    let line = |it: &Event| {
        let Event { id, previous, time_ms, event_type, details } = it;
        format!("{name} {id} {previous} {time_ms} {event_type:?} {details:?}\n")
    };
    history.events().map(line).collect()
}

/// Compares the results of a version's records with the stored ones; `EXPRESSWAY_WRITE=1` writes these.
fn compare_histories(version: u32, histories: &str) {
    let path = golden(version).with_file_name(format!("histories-{version}.txt"));
    if std::env::var_os("EXPRESSWAY_WRITE").is_some() {
        std::fs::write(&path, histories).expect("a file");
    }
    let kept = std::fs::read_to_string(path).expect("it is kept");
    assert_eq!(histories, kept, "version {version}");
}

/// Runs the four, and writes down what is in the journal then.
fn bless(folder: &Folder) {
    let engine = engine(folder);
    let machine = machine(&engine, GOLDEN);
    let begun = KEPT.map(|(name, input, events, _)| {
        let history = LiveHistory::new(1 << 20);
        let options = StartOptions {
            name: Some(name.into()),
            execution_arn: Some(format!("arn:aws:states:us-east-1:123456789012:execution:m:{name}").into()),
            durable: Some(name.as_bytes().into()),
            watcher: Some(history.durable_watcher()),
            ..StartOptions::default()
        };
        let handle = engine.start_with(&machine, input.to_owned(), options).expect("it begins");
        (handle, history, events)
    });
    for (handle, history, events) in begun {
        while history.read(|history| history.events().len()) < events {
            std::thread::yield_now();
        }
        if handle.status() != Status::Running {
            handle.wait();
        }
    }
    drop((engine, machine));
    drop(self::engine(folder));
    std::fs::write(golden(VERSION), records(&folder.0)).expect("a file");
}

#[test]
fn records_of_all_versions_are_read() {
    if std::env::var_os("EXPRESSWAY_BLESS").is_some() {
        bless(&folder("golden-blessed"));
    }
    for version in 1..=VERSION {
        let folder = folder(&format!("golden-{version}"));
        write_records(&folder.0, &std::fs::read_to_string(golden(version)).expect("it is kept"));
        let engine = engine(&folder);
        let (mut told, mut histories) = (Vec::new(), String::new());
        let golden = machine(&engine, GOLDEN);
        for execution in engine.recovered() {
            let history = LiveHistory::new(1 << 20);
            for recorded in execution.history.values() {
                history.recover(recorded).expect("events");
            }
            let events = history.read(|history| history.events().len());
            histories += &history.read(|history| lines(&execution.name, history));
            let output = execution.outcome.as_ref().map(|it| String::from_utf8_lossy(it.json()).into_owned());
            told.push((execution.name.to_string(), events, output));
            if execution.outcome.is_none() {
                let handle = engine.resume(&golden, execution, None).expect("it goes on");
                engine.wait_resumed();
                assert_eq!(handle.status(), Status::Running);
            }
        }
        let wanted =
            KEPT.map(|(name, _, events, output)| (name.to_owned(), events, output.map(str::to_owned)));
        assert_eq!(told, wanted, "version {version}");
        compare_histories(version, &histories);
    }
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
    // Each turn makes and records 15 kB, into segments of 256 KiB; the first comes when there is no room any more.
    let loops = machine(
        &engine,
        r#"{"StartAt": "V", "States": {"V": {"Type": "Wait", "Seconds": 1, "Next": "W"},
            "W": {"Type": "Wait", "Seconds": 0, "Next": "M"},
            "M": {"Type": "Pass", "QueryLanguage": "JSONata", "Next": "C",
                "Output": "{% {\"n\": $states.input.n - 1, \"x\": [1..800].$random()} %}"},
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
