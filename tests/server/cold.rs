//! Executions that are not in memory, in a service's own process: the journal drops their records, and the service does
//! not start without their rows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use expressway::journal::{FolderLock, Ownership};
use expressway::runtime::Status;
use expressway::service::{BuildError, CreateStateMachine, Service, StartExecution};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

pub(crate) const MACHINE: &str = "arn:aws:states:us-east-1:123456789012:stateMachine:waits";

pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(test: &str) -> Folder {
        Folder(std::env::temp_dir().join(format!("expressway-{test}-{}", std::process::id())))
    }

    fn file(&self) -> PathBuf {
        self.0.join("journal").join("cold.redb")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        crate::kept::remove(&self.0);
    }
}

/// A service of which everything leaves memory that waits for more than 200 milliseconds, or is over and to be kept for
/// some days.
pub(crate) fn try_open(folder: &Path, days: u32) -> Result<Service, BuildError> {
    loop {
        let builder = Service::builder().engine(|engine| engine.shards(2)).state(folder);
        let builder = builder.resident_executions_max(0).resident_ms(20, 200).retention_days(days);
        match builder.build() {
            // The threads of the one before are about to end.
            Err(error) if error.to_string().contains("in use") => std::thread::yield_now(),
            built => return built,
        }
    }
}

/// Where nothing is kept that is over.
fn open(folder: &Folder) -> Service {
    try_open(&folder.0, 0).expect("a service")
}

pub(crate) fn create(service: &Service) {
    let definition =
        r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "SecondsPath": "$.seconds", "End": true}}}"#;
    let request = CreateStateMachine {
        name: "waits".to_owned(),
        definition: definition.to_owned(),
        role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
        ..CreateStateMachine::default()
    };
    service.create_state_machine(request).expect("a machine");
}

pub(crate) fn start(service: &Service, name: &str, seconds: u64) {
    let request = StartExecution {
        machine_arn: MACHINE.to_owned(),
        name: Some(name.to_owned()),
        input: Some(format!(r#"{{"seconds": {seconds}}}"#)),
        trace_header: None,
    };
    while let Err(error) = service.start_execution(request.clone()) {
        // New segments of the journal take their time.
        assert!(error.to_string().contains("Rate exceeded"), "{error}");
        std::thread::yield_now();
    }
}

pub(crate) fn arn(name: &str) -> String {
    format!("arn:aws:states:us-east-1:123456789012:execution:waits:{name}")
}

pub(crate) fn metric(service: &Service, name: &str) -> u64 {
    let metrics = service.prometheus();
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("expressway_{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} is not in {metrics}"))
}

fn until_cold(service: &Service, executions: u64) {
    while metric(service, "durable_cold") != executions || metric(service, "durable_cold_pending") > 0 {
        std::thread::yield_now();
    }
}

/// Waits until the threads of the service that had it have ended.
pub(crate) fn until_free(folder: &Folder) {
    let mut lock = FolderLock::of(folder.0.join("journal"));
    while lock.claim().is_err() {
        std::thread::yield_now();
    }
}

/// `None` when it is unknown.
pub(crate) fn status(service: &Service, name: &str) -> Option<Status> {
    let described = service.describe_execution(&arn(name)).ok()?;
    Some(described.outcome.map_or(Status::Running, |outcome| outcome.status))
}

pub(crate) fn stop(service: &Service, name: &str) {
    pollster::block_on(service.stop_execution(&arn(name), None, None)).expect("it is stopped");
}

#[test]
fn the_journal_drops_what_left_memory_and_nothing_is_lost_or_comes_back_from_the_dead() {
    let folder = Folder::new("cold-journal");
    let service = open(&folder);
    create(&service);
    let names: Vec<String> = (0..300).map(|n| format!("w{n}")).collect();
    names.iter().for_each(|name| start(&service, name, 100_000));
    until_cold(&service, 300);
    let copied = service.compact_journal().expect("it is compacted");
    assert!(copied < 16 << 10, "{copied} bytes of executions that are not in memory");
    assert_eq!(service.counts().running, 0, "those that run here are in memory");
    // One that comes back is decoded from its row, even if the journal has dropped its records.
    for name in &names[..3] {
        stop(&service, name);
    }
    drop(service);

    let service = open(&folder);
    assert_eq!(metric(&service, "durable_recovered"), 0);
    // Their time is over at once: their names are free, and nothing of them is found in rows.
    for name in &names[..3] {
        assert_eq!(status(&service, name), None, "{name}");
    }
    assert!(names[3..].iter().all(|name| status(&service, name) == Some(Status::Running)));
    start(&service, &names[0], 200_000);
    until_cold(&service, 298);
    service.compact_journal().expect("it is compacted");
    drop(service);

    let service = open(&folder);
    let described = service.describe_execution(&arn(&names[0])).expect("it was started once more");
    assert_eq!(described.input, r#"{"seconds": 200000}"#);
    assert_eq!(status(&service, &names[1]), None);
    assert!(names[3..].iter().all(|name| status(&service, name) == Some(Status::Running)));
    stop(&service, &names[0]);
    assert_eq!(status(&service, &names[0]), None);
}

#[test]
fn many_that_are_due_at_the_same_time_come_back_in_time() {
    let folder = Folder::new("cold-due");
    let service = open(&folder);
    create(&service);
    let names: Vec<String> = (0..500).map(|n| format!("d{n}")).collect();
    names.iter().for_each(|name| start(&service, name, 8));
    // Some may be due before the last has left.
    while metric(&service, "durable_cold") + metric(&service, "durable_returned") < 500 {
        std::thread::yield_now();
    }
    while service.counts().succeeded < 500 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((service.counts().running, metric(&service, "durable_returned")), (0, 500));
}

/// Nothing starts without rows that it needs, or with a program that is another by now.
#[test]
fn what_does_not_belong_together_is_refused() {
    let folder = Folder::new("cold-refused");
    let service = open(&folder);
    create(&service);
    start(&service, "w", 100_000);
    until_cold(&service, 1);
    drop(service);
    drop(open(&folder));
    until_free(&folder);

    let file = std::fs::read(folder.file()).expect("the rows");
    std::fs::remove_file(folder.file()).expect("it is removed");
    let refused = try_open(&folder.0, 0).expect_err("rows are missing").to_string();
    assert!(refused.contains("cold.redb is missing"), "{refused}");
    std::fs::write(folder.file(), &file).expect("it is written");

    const PROGRAMS: TableDefinition<'_, (&str, u64), u64> = TableDefinition::new("programs");
    {
        let database = Database::open(folder.file()).expect("a database");
        let read = database.begin_read().expect("it is read").open_table(PROGRAMS).expect("a table");
        let first = read.iter().expect("programs").next().expect("one").expect("one").0;
        let (revision, fingerprint) = (first.value().0.to_owned(), first.value().1);
        let write = database.begin_write().expect("it is written");
        {
            let mut programs = write.open_table(PROGRAMS).expect("a table");
            programs.insert((&*revision, fingerprint + 1), 1).expect("a program");
        }
        write.commit().expect("it is written");
    }
    let refused = try_open(&folder.0, 0).expect_err("a program that is another").to_string();
    assert!(refused.contains("belongs to another program") && refused.contains("waits"), "{refused}");

    std::fs::write(folder.file(), &file).expect("it is written");
    std::fs::remove_dir_all(folder.0.join("journal")).expect("the journal is removed");
    std::fs::create_dir(folder.0.join("journal")).expect("a folder");
    std::fs::write(folder.file(), &file).expect("it is written");
    let refused = try_open(&folder.0, 0).expect_err("another journal").to_string();
    assert!(refused.contains("belongs to another journal"), "{refused}");
}

/// A process may end after it made the file, and before the journal notes that.
#[test]
fn rows_that_the_journal_has_not_noted_yet_are_noted_before_the_first() {
    let folder = Folder::new("cold-unnoted");
    drop(open(&folder));
    until_free(&folder);
    std::fs::write(folder.file(), b"").expect("a file with no rows");
    let service = open(&folder);
    create(&service);
    start(&service, "w", 100_000);
    until_cold(&service, 1);
    drop(service);
    let service = open(&folder);
    assert_eq!(status(&service, "w"), Some(Status::Running));
}
