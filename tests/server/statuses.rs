//! Which changes of status were delivered is read from kept journals, and the rest is delivered after a restart, with
//! the same ids. `EXPRESSWAY_BLESS=1` rewrites the journal, for a new version only.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use expressway::service::{CreateStateMachine, Service, StartExecution, StatusEvent, StatusSink};

use super::cold::{Folder, until_free};
use super::kept::{records, write_records};

const VERSION: u32 = 2;
const MACHINE: &str = "arn:aws:states:us-east-1:123456789012:stateMachine:waits";
const LONG: Duration = Duration::from_secs(60);

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/durable/{name}-{VERSION}.txt"))
}

/// Takes changes of these executions, and refuses those of others.
#[derive(Clone)]
struct Taking {
    names: &'static [&'static str],
    taken: Arc<Mutex<Vec<String>>>,
}

impl StatusSink for Taking {
    fn put(&mut self, events: &[Arc<StatusEvent>]) -> Result<Vec<bool>, String> {
        let mut taken = self.taken.lock().expect("no panic");
        let take = |event: &Arc<StatusEvent>| {
            let name = event.execution_arn.rsplit(':').next().expect("a name");
            let takes = self.names.contains(&name);
            if takes {
                let status = event.detail["status"].as_str().expect("a status");
                taken.push(format!("{name} {status} {}\n", event.id));
            }
            takes
        };
        Ok(events.iter().map(take).collect())
    }
}

/// A service in this folder that delivers the changes of these executions.
fn open(folder: &Folder, names: &'static [&'static str]) -> (Service, Taking) {
    let taking = Taking { names, taken: Arc::default() };
    loop {
        let builder = Service::builder().engine(|engine| engine.shards(1)).state(&folder.0);
        match builder.status_events(taking.clone()).build() {
            // The threads of the one before are about to end.
            Err(error) if error.to_string().contains("in use") => std::thread::yield_now(),
            built => return (built.expect("a service"), taking),
        }
    }
}

fn create(service: &Service) {
    let request = CreateStateMachine {
        name: "waits".to_owned(),
        definition: r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 9000000, "End": true}}}"#
            .to_owned(),
        role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
        ..CreateStateMachine::default()
    };
    service.create_state_machine(request).expect("a machine");
}

fn start(service: &Service, name: &str) {
    let name = Some(name.to_owned());
    let request = StartExecution { machine_arn: MACHINE.to_owned(), name, ..StartExecution::default() };
    service.start_execution(request).expect("it begins");
}

fn stop(service: &Service, name: &str) {
    let arn = format!("arn:aws:states:us-east-1:123456789012:execution:waits:{name}");
    pollster::block_on(service.stop_execution(&arn, None, None)).expect("it is running");
}

fn bless() {
    let folder = Folder::new("statuses-blessed");
    let (service, _) = open(&folder, &["told", "half"]);
    create(&service);
    for name in ["told", "half"] {
        start(&service, name);
    }
    assert_eq!(service.wait_for_status_events(LONG), 0);
    drop(service);
    let (service, _) = open(&folder, &["told"]);
    start(&service, "untold");
    for name in ["told", "half"] {
        stop(&service, name);
    }
    // That of `told` is behind others in the order of changes, but not of its execution.
    while service.wait_for_status_events(Duration::ZERO) > 2 {
        std::thread::yield_now();
    }
    drop(service);
    std::fs::write(golden("statuses"), records(&folder.0)).expect("a file");
}

#[test]
fn what_was_delivered_is_read() {
    if std::env::var_os("EXPRESSWAY_BLESS").is_some() {
        bless();
    }
    let kept = std::fs::read_to_string(golden("statuses")).expect("it is kept");
    assert!(kept.lines().any(|record| record.starts_with("12 ")), "nothing was delivered");
    let folder = Folder::new("statuses");
    let (service, _) = open(&folder, &[]);
    create(&service);
    drop(service);
    // Until its threads have ended they look for their files.
    until_free(&folder);
    std::fs::rename(folder.0.join("journal"), folder.0.join("former")).expect("a folder");
    write_records(&folder.0, &kept);

    let (service, taking) = open(&folder, &["told", "half", "untold"]);
    assert_eq!(service.wait_for_status_events(LONG), 0);
    let mut taken = taking.taken.lock().expect("no panic").clone();
    taken.sort();
    let (taken, path) = (taken.concat(), golden("statuses-events"));
    if std::env::var_os("EXPRESSWAY_WRITE").is_some() {
        std::fs::write(&path, &taken).expect("a file");
    }
    assert_eq!(taken, std::fs::read_to_string(path).expect("it is kept"));
    assert_eq!(taken.lines().count(), 2, "the end of one, the start of another: {taken}");
}
