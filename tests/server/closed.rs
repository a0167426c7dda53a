//! Executions that are over and not in memory: found, listed, redriven and forgotten as those in memory are.

use std::time::{Duration, Instant};

use expressway::runtime::Status;
use expressway::service::{CreateStateMachine, ListExecutions, Page, Service, StartExecution};

use super::cold::{Folder, metric, try_open};
use super::required::{is_all, not_run};

const DAYS: u32 = 90;

fn open(folder: &Folder) -> Service {
    try_open(&folder.0, DAYS).expect("a service")
}

fn machine(name: &str) -> String {
    format!("arn:aws:states:us-east-1:123456789012:stateMachine:{name}")
}

fn arn(machine: &str, name: &str) -> String {
    format!("arn:aws:states:us-east-1:123456789012:execution:{machine}:{name}")
}

/// `ends` succeeds at once, and `fails` fails in its second state, however often it is redriven.
fn create(service: &Service) {
    let fails = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"},
        "B": {"Type": "Fail", "Error": "E", "Cause": "why"}}}"#;
    let ends = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#;
    for (name, definition) in [("ends", ends), ("fails", fails)] {
        let request = CreateStateMachine {
            name: name.to_owned(),
            definition: definition.to_owned(),
            role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
            ..CreateStateMachine::default()
        };
        service.create_state_machine(request).expect("a machine");
    }
}

fn try_start(service: &Service, of: &str, name: &str) -> Result<(), String> {
    let request = StartExecution {
        machine_arn: machine(of),
        name: Some(name.to_owned()),
        input: Some(format!(r#"{{"name": "{name}"}}"#)),
        trace_header: None,
    };
    loop {
        match service.start_execution(request.clone()) {
            // Creating segments of the journal takes time.
            Err(error) if error.to_string().contains("Rate exceeded") => std::thread::yield_now(),
            started => return started.map(drop).map_err(|error| error.to_string()),
        }
    }
}

fn start(service: &Service, of: &str, name: &str) {
    try_start(service, of, name).expect("it is started");
}

fn until_closed(service: &Service, executions: u64) {
    while metric(service, "durable_cold_closed") != executions {
        std::thread::yield_now();
    }
}

/// The names in a machine's list, in pages of seven.
fn listed(service: &Service, of: &str, status: Option<Status>, redriven: Option<bool>) -> Vec<String> {
    let (mut names, mut token) = (Vec::new(), None);
    loop {
        let page = Page { results_max: Some(7), token };
        let machine_arn = Some(machine(of));
        let status = status.map(Some);
        let request = ListExecutions { machine_arn, status, redriven, page, ..ListExecutions::default() };
        let part = service.list_executions(&request).expect("a list");
        names.extend(part.items.into_iter().map(|item| item.name));
        token = part.next_token;
        if token.is_none() {
            return names;
        }
    }
}

/// The types of an execution's events.
fn history(service: &Service, arn: &str) -> Vec<String> {
    let page = Page { results_max: Some(1_000), token: None };
    let (part, _) = service.get_execution_history(arn, false, &page).expect("a history");
    assert!(part.items.iter().zip(1..).all(|(event, id)| event.id == id), "{arn}");
    part.items.iter().map(|event| event.event_type.name().to_owned()).collect()
}

/// A process that ends at once, again and again, has no time to write rows, or to compact its journal: the next start
/// does both, so that later ones do not read what ever ended.
#[test]
fn a_start_reads_what_ended_since_the_one_before() {
    /// More than may stay in the journal, and more bytes than one of its segments has.
    const EXECUTIONS: u64 = 1_050;
    if !is_all() {
        return not_run("writing more than one segment of the journal takes long without optimisation");
    }
    let folder = Folder::new("closed-restarts");
    let open = || loop {
        // With room for all of them in memory.
        let builder = Service::builder().engine(|engine| engine.shards(2)).state(&folder.0);
        match builder.executions_bytes_max(1 << 30).build() {
            Err(error) if error.to_string().contains("in use") => std::thread::yield_now(),
            built => return built.expect("a service"),
        }
    };
    let service = open();
    create(&service);
    let input = serde_json::json!({"text": "x".repeat(34_000)}).to_string();
    for n in 0..EXECUTIONS {
        let request = StartExecution {
            machine_arn: machine("ends"),
            name: Some(format!("e{n}")),
            input: Some(input.clone()),
            trace_header: None,
        };
        while let Err(error) = service.start_execution(request.clone()) {
            assert!(error.to_string().contains("Rate exceeded"), "{error}");
            std::thread::yield_now();
        }
    }
    let running = ListExecutions {
        machine_arn: Some(machine("ends")),
        status: Some(Some(Status::Running)),
        ..ListExecutions::default()
    };
    while !service.list_executions(&running).expect("a list").items.is_empty() {
        std::thread::yield_now();
    }
    super::cold::create(&service);
    super::cold::start(&service, "w", 100_000);
    assert_eq!(metric(&service, "durable_cold_closed"), 0);
    let read = metric(&service, "journal_bytes");
    drop(service);

    for _ in 0..2 {
        let service = open();
        assert_eq!(metric(&service, "durable_cold_closed"), EXECUTIONS);
        // Segments are left when a block with the mark is durable.
        let begun = Instant::now();
        while metric(&service, "journal_bytes") > read / 2 {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "the next start would read more than half of {read} bytes"
            );
            std::thread::yield_now();
        }
        assert_eq!(metric(&service, "durable_recovered"), 1);
        let described = service.describe_execution(&arn("ends", "e7")).expect("it is there");
        assert_eq!(
            (described.outcome.expect("it is over").status, described.input),
            (Status::Succeeded, input.clone())
        );
        assert!(service.describe_execution(&arn("waits", "w")).expect("it is there").outcome.is_none());
    }
}

#[test]
fn what_is_over_leaves_memory_and_is_found_over_restarts() {
    let folder = Folder::new("closed-found");
    let service = open(&folder);
    create(&service);
    let names: Vec<String> = (0..100).map(|n| format!("e{n}")).collect();
    names.iter().for_each(|name| start(&service, "ends", name));
    start(&service, "fails", "f");
    until_closed(&service, 101);
    let copied = service.compact_journal().expect("it is compacted");
    assert!(copied < 16 << 10, "{copied} bytes of executions that are not in memory");
    let newest_first = listed(&service, "ends", None, None);
    let history_before = history(&service, &arn("ends", "e7"));
    drop(service);

    let service = open(&folder);
    assert_eq!(metric(&service, "durable_cold_closed"), 101, "nothing of them comes back by itself");
    for name in &names {
        let described = service.describe_execution(&arn("ends", name)).expect("it is there");
        let outcome = described.outcome.expect("it is over");
        let input = format!(r#"{{"name": "{name}"}}"#);
        assert_eq!((outcome.status, described.input), (Status::Succeeded, input.clone()));
        assert_eq!(String::from_utf8_lossy(outcome.json()), input.replace(": ", ":"));
        let taken = try_start(&service, "ends", name).expect_err("its name is taken");
        assert!(taken.contains("Execution Already Exists"), "{taken}");
    }
    let mut sorted = newest_first.clone();
    sorted.sort_unstable_by_key(|name| name[1..].parse::<u32>().ok());
    assert_eq!(sorted, names);
    assert_eq!(listed(&service, "ends", None, None), newest_first);
    assert_eq!(listed(&service, "ends", Some(Status::Succeeded), Some(false)), newest_first);
    assert_eq!(listed(&service, "ends", Some(Status::Running), None), [""; 0]);
    assert_eq!(listed(&service, "fails", Some(Status::Failed), None), ["f"]);
    assert_eq!(history(&service, &arn("ends", "e7")), history_before);
    assert_eq!(metric(&service, "durable_cold_closed"), 101, "looking brings none of them back");
    pollster::block_on(service.stop_execution(&arn("ends", "e1"), None, None))
        .expect("one that is over stays as it is");
    // A newer one comes before them, in memory or not.
    start(&service, "ends", "newer");
    assert_eq!(listed(&service, "ends", None, None)[..2], ["newer".to_owned(), newest_first[0].clone()]);
    service.delete_state_machine(&machine("ends")).expect("it is deleted");
    assert!(service.describe_execution(&arn("ends", "e1")).is_ok(), "it is known longer than its machine");
}

#[test]
fn what_is_over_and_not_in_memory_is_redriven() {
    let folder = Folder::new("closed-redriven");
    let service = open(&folder);
    create(&service);
    for name in ["f", "g", "h"] {
        start(&service, "fails", name);
    }
    start(&service, "ends", "e");
    until_closed(&service, 4);
    let redrive = |service: &Service, of: &str, name: &str, token: Option<&str>| {
        pollster::block_on(service.redrive_execution(&arn(of, name), token))
            .map_err(|error| error.to_string())
    };
    let refused = redrive(&service, "ends", "e", None).expect_err("it succeeded");
    assert!(refused.contains("Execution is SUCCEEDED and cannot be redriven"), "{refused}");
    let first = redrive(&service, "fails", "f", None).expect("it is redriven");
    let date_ms = redrive(&service, "fails", "g", Some("once")).expect("it is redriven");
    // Redrive tokens are known in memory.
    assert_eq!(redrive(&service, "fails", "g", Some("once")), Ok(date_ms));
    let of = |service: &Service, name: &str| {
        let described = service.describe_execution(&arn("fails", name)).expect("it is there");
        (described.redrive.count, described.redrive.date_ms, described.redrive.refused)
    };
    let over = |service: &Service, name: &str| {
        while service.describe_execution(&arn("fails", name)).expect("it is there").outcome.is_none() {
            std::thread::yield_now();
        }
    };
    ["f", "g"].iter().for_each(|name| over(&service, name));
    assert_eq!(of(&service, "f"), (1, Some(first), None));
    drop(service);

    // What the journal has beyond a row is described by the row, whatever part of it the journal has.
    let service = open(&folder);
    ["f", "g"].iter().for_each(|name| over(&service, name));
    until_closed(&service, 4);
    service.compact_journal().expect("it is compacted");
    assert_eq!(of(&service, "f"), (1, Some(first), None));
    assert_eq!((of(&service, "g").0, of(&service, "h").0), (1, 0));
    let types = history(&service, &arn("fails", "f"));
    assert_eq!(types.iter().filter(|name| *name == "ExecutionRedriven").count(), 1, "{types:?}");
    let redriven = listed(&service, "fails", None, Some(true));
    assert!(redriven == ["f", "g"] || redriven == ["g", "f"], "{redriven:?}");
    let second = redrive(&service, "fails", "f", None).expect("it is redriven once more");
    over(&service, "f");
    drop(service);

    let service = open(&folder);
    over(&service, "f");
    assert_eq!(of(&service, "f"), (2, Some(second), None));
    let types = history(&service, &arn("fails", "f"));
    assert_eq!(types.iter().filter(|name| *name == "ExecutionRedriven").count(), 2, "{types:?}");
}

#[test]
fn what_is_over_and_not_in_memory_is_forgotten_when_its_time_is_over() {
    let folder = Folder::new("closed-forgotten");
    let service = open(&folder);
    create(&service);
    let names: Vec<String> = (0..50).map(|n| format!("e{n}")).collect();
    names.iter().for_each(|name| start(&service, "ends", name));
    until_closed(&service, 50);
    drop(service);

    // As if the retention period had passed.
    let service = try_open(&folder.0, 0).expect("a service");
    for name in &names {
        assert!(service.describe_execution(&arn("ends", name)).is_err(), "{name}");
    }
    assert_eq!(listed(&service, "ends", None, None), [""; 0]);
    start(&service, "ends", "e0");
    until_closed(&service, 0);
    drop(service);
    let service = open(&folder);
    assert_eq!(listed(&service, "ends", None, None), [""; 0]);
    names.iter().for_each(|name| start(&service, "ends", name));
    until_closed(&service, 50);
}

/// A service on a folder, whose execution of this name has had a Map Run, and left memory with its children.
fn with_map_run(folder: &Folder, name: &str) -> Service {
    let service = open(folder);
    let definition = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "Label": "each", "End": true, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}}}}"#;
    let request = CreateStateMachine {
        name: "maps".to_owned(),
        definition: definition.to_owned(),
        role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
        ..CreateStateMachine::default()
    };
    service.create_state_machine(request).expect("a machine");
    let request = StartExecution {
        machine_arn: machine("maps"),
        name: Some(name.to_owned()),
        input: Some("[1, 2, 3, 4, 5, 6, 7, 8, 9]".to_owned()),
        trace_header: None,
    };
    service.start_execution(request).expect("it is started");
    until_closed(&service, 10);
    service
}

#[test]
fn children_of_a_map_run_that_are_over_are_found_by_it() {
    let folder = Folder::new("closed-children");
    let service = with_map_run(&folder, "m");
    let found = |service: &Service| {
        let runs = service.list_map_runs(&arn("maps", "m"), &Page::default()).expect("Map Runs").items;
        let run = runs.first().expect("there is one");
        let request = ListExecutions { map_run_arn: Some(run.arn().to_owned()), ..ListExecutions::default() };
        let mut items = service.list_executions(&request).expect("its children").items;
        items.sort_by(|a, b| a.arn.cmp(&b.arn));
        let child = service.describe_execution(&items[0].arn).expect("a child");
        assert_eq!(child.map_run_arn.as_deref(), Some(run.arn()));
        (runs.len(), run.arn().to_owned(), items)
    };
    let before = found(&service);
    assert_eq!((before.0, before.2.len()), (1, 9));
    assert!(before.2.iter().all(|item| item.status == Status::Succeeded));
    drop(service);
    let service = open(&folder);
    assert_eq!(metric(&service, "durable_cold_closed"), 10);
    assert_eq!(found(&service), before);
    let described = service.describe_map_run(&before.1).expect("its file");
    assert_eq!((described.state().status, described.state().items.succeeded), (Status::Succeeded, 9));
    assert_eq!(described.execution_arn(), arn("maps", "m"));
    // No other file is read by what looks like its ARN.
    let near = before.1.rsplit_once(':').expect("a UUID").0;
    for wrong in ["../definitions.redb", "", ".", "00000000-0000-4000-8000-000000000000"] {
        assert!(service.describe_map_run(&format!("{near}:{wrong}")).is_err(), "{wrong}");
    }
}

#[test]
fn files_of_map_runs_go_with_their_executions() {
    let [folder, other] = ["closed-files", "closed-others"].map(Folder::new);
    let files = |folder: &Folder| -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir(folder.0.join("map-runs")).expect("a folder");
        files.map(|file| file.expect("a file").path()).collect()
    };
    drop(with_map_run(&folder, "m"));
    drop(with_map_run(&other, "others"));
    let (own, others) = (files(&folder), files(&other));
    assert_eq!((own.len(), others.len()), (1, 1));
    // As if a process had ended between forgetting an execution and removing its file.
    let left = folder.0.join("map-runs").join(others[0].file_name().expect("a name"));
    std::fs::copy(&others[0], &left).expect("a copy");
    let service = open(&folder);
    while left.exists() {
        std::thread::yield_now();
    }
    assert_eq!(files(&folder), own);
    drop(service);
    // Its retention is over.
    let service = try_open(&folder.0, 0).expect("a service");
    while metric(&service, "durable_cold_closed") > 0 || !files(&folder).is_empty() {
        std::thread::yield_now();
    }
}
