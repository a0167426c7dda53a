//! The state of a server moves from a folder to a cluster and on, with executions that are not in memory: nothing is lost,
//! and all of it continues.

use std::fmt::Write;
use std::time::{Duration, Instant};

use expressway::journal::cluster::Cluster;
use expressway::journal::{FolderLock, Ownership};
use expressway::service::{
    CopiedState, CreateStateMachine, ListExecutions, Page, Service, StartExecution, StatePlace, copy_state,
};

use crate::cold::{Folder, metric, try_open};
use crate::engines::{Engine, Nats, Postgres, Sync, each};

const MACHINE: &str = "arn:aws:states:us-east-1:123456789012:stateMachine:work";
const ACTIVITY: &str = "arn:aws:states:us-east-1:123456789012:activity:do";
const DEFINITION: &str = r#"{"QueryLanguage": "JSONata", "StartAt": "Which", "States": {
    "Which": {"Type": "Choice", "Default": "End", "Choices": [
        {"Condition": "{% $states.input.do = 'wait' %}", "Next": "Wait"},
        {"Condition": "{% $states.input.do = 'work' %}", "Next": "Work"},
        {"Condition": "{% $states.input.do = 'fail' %}", "Next": "Fail"},
        {"Condition": "{% $states.input.do = 'turn' and $length($states.input.name) < 13 %}", "Next": "Turn"}]},
    "Turn": {"Type": "Wait", "Seconds": 0, "Next": "Next"},
    "Next": {"Type": "Pass", "Next": "Which", "Output": {"do": "turn", "name": "{% $states.input.name & '+' %}",
        "text": "{% $pad('', 150000, 'text') %}"}},
    "Wait": {"Type": "Wait", "Seconds": 100000, "Next": "End"},
    "Work": {"Type": "Task", "Resource": "arn:aws:states:us-east-1:123456789012:activity:do", "Next": "End"},
    "Fail": {"Type": "Fail", "Error": "No", "Cause": "It is to fail"},
    "End": {"Type": "Pass", "Output": {"was": "{% $states.input %}"}, "End": true}}}"#;

fn arn(name: &str) -> String {
    format!("arn:aws:states:us-east-1:123456789012:execution:work:{name}")
}

fn start(service: &Service, name: &str, what: &str) {
    let request = StartExecution {
        machine_arn: MACHINE.to_owned(),
        name: Some(name.to_owned()),
        input: Some(format!(r#"{{"do": "{what}", "name": "{name}"}}"#)),
        trace_header: None,
    };
    while let Err(error) = service.start_execution(request.clone()) {
        assert!(error.to_string().contains("Rate exceeded"), "{error}");
        std::thread::yield_now();
    }
}

fn machine() -> CreateStateMachine {
    CreateStateMachine {
        name: "work".to_owned(),
        definition: DEFINITION.to_owned(),
        role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
        ..CreateStateMachine::default()
    }
}

/// Everything that can be asked of the executions, in the order in which they are listed.
fn all(service: &Service) -> Vec<String> {
    let (mut shown, mut token) = (Vec::new(), None);
    loop {
        let page = Page { results_max: Some(7), token };
        let request =
            ListExecutions { machine_arn: Some(MACHINE.to_owned()), page, ..ListExecutions::default() };
        let part = service.list_executions(&request).expect("a list");
        for item in &part.items {
            let described = service.describe_execution(&item.arn).expect("it is there");
            let history =
                service.get_execution_history(&item.arn, false, &Page::default()).expect("a history");
            let mut text = format!("{described:?}");
            history.0.items.iter().for_each(|event| write!(text, "\n{event:?}").expect("a string"));
            shown.push(text);
        }
        token = part.next_token;
        if token.is_none() {
            return shown;
        }
    }
}

/// What a service has in a place, until it is dropped.
fn open(place: &StatePlace) -> Service {
    match place {
        StatePlace::Folder(folder) => try_open(folder, 90).expect("a service"),
        StatePlace::Cluster(cluster) => {
            let builder = Service::builder().engine(|engine| engine.shards(2));
            builder.cluster(cluster.clone()).build().expect("a service")
        }
        place => unreachable!("{place:?}"),
    }
}

/// Copies a state when the threads of the service that had it have ended.
fn copy(from: &StatePlace, to: &StatePlace) -> CopiedState {
    loop {
        match copy_state(from, to) {
            Err(error) if error.to_string().contains("in use") => std::thread::yield_now(),
            copied => return copied.unwrap_or_else(|error| panic!("{from:?} to {to:?}: {error}")),
        }
    }
}

/// Waits for an execution's end, and returns its output.
fn until_over(service: &Service, arn: &str) -> String {
    loop {
        match service.describe_execution(arn).expect("it is there").outcome {
            Some(outcome) => return String::from_utf8_lossy(outcome.json()).into_owned(),
            None => std::thread::yield_now(),
        }
    }
}

fn task(service: &Service) -> (String, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let task = runtime.block_on(service.get_activity_task(ACTIVITY, None)).expect("it can be polled");
    let task = task.expect("there is one");
    (task.token, task.input)
}

#[test]
fn a_state_moves_between_folders_and_clusters_with_all_of_its_executions() {
    let (Some(postgres), Some(nats)) = (Postgres::start(), Nats::start(Sync::AtIntervals)) else { return };
    let [first, last] = ["moved-from", "moved-to"].map(Folder::new);
    let cluster = |url: String, name: &str| Cluster::new(&url, name).expect("a URL");
    let places = || {
        [
            StatePlace::Folder(first.0.clone()),
            StatePlace::Cluster(cluster(postgres.url(), "spread").spread(true)),
            StatePlace::Cluster(cluster(postgres.url(), "spread-again").spread(true)),
            StatePlace::Cluster(cluster(nats.url(), "spread-in-nats").spread(true)),
            StatePlace::Cluster(cluster(nats.url(), "one-owner").spread(false)),
            StatePlace::Cluster(cluster(postgres.url(), "one-owner").spread(false)),
            StatePlace::Folder(last.0.clone()),
        ]
    };
    let service = open(&places()[0]);
    service.create_state_machine(machine()).expect("a machine");
    service.create_activity("do", None, Vec::new()).expect("an activity");
    for n in 0..40 {
        start(&service, &format!("wait-{n}"), "wait");
        start(&service, &format!("end-{n}"), "nothing");
    }
    for name in ["fails", "fails-again"] {
        start(&service, name, "fail");
        until_over(&service, &arn(name));
    }
    for n in 0..3 {
        start(&service, &format!("work-{n}"), "work");
    }
    // Its history is larger than a record may be.
    start(&service, "large", "turn");
    until_over(&service, &arn("large"));
    // One task is under way when the state moves, and one fails, is redriven, and waits once more.
    let (token, input) = task(&service);
    let (failed, failed_input) = task(&service);
    service.send_task_failure(&failed, Some("Broken"), None).expect("it waits");
    let failed_arn =
        (0..3).map(|n| arn(&format!("work-{n}"))).find(|arn| failed_input.contains(&arn[arn.len() - 6..]));
    let failed_arn = failed_arn.expect("it is one of them");
    until_over(&service, &failed_arn);
    for arn in [&failed_arn, &arn("fails-again")] {
        pollster::block_on(service.redrive_execution(arn, None)).expect("it is redriven");
    }
    while ["durable_cold", "durable_cold_closed"].iter().any(|it| metric(&service, it) < 40)
        || metric(&service, "durable_cold_pending") > 0
    {
        std::thread::yield_now();
    }
    service.compact_journal().expect("it is compacted");
    let before = all(&service);
    assert_eq!(before.len(), 86);
    assert!(copy_state(&places()[0], &places()[1]).is_err(), "it is in use");
    drop(service);

    for (from, to) in places().iter().zip(&places()[1..]) {
        let mut copied = copy(from, to);
        if matches!(to, StatePlace::Cluster(cluster) if cluster.name() == "spread") {
            // As if the process had ended just before.
            postgres.sql("UPDATE expressway_cluster SET format = -format WHERE name = 'spread'");
            let StatePlace::Cluster(cluster) = &places()[1] else { unreachable!("it is one") };
            let refused = Service::builder().cluster(cluster.clone()).build().expect_err("it is not whole");
            assert!(refused.to_string().contains("is not whole: copy it again"), "{refused}");
            copied = copy(from, to);
        }
        assert_eq!((copied.executions, copied.machines, copied.activities), (86, 1, 1), "{to:?}");
        assert!(copy_state(from, to).is_err(), "{to:?} has a state");
        let service = open(to);
        assert_eq!(all(&service), before, "{to:?}");
    }

    // All of it continues in the last place.
    let service = open(&places()[6]);
    service.send_task_success(&token, r#""done""#).expect("its token is as before");
    let name = (0..3).map(|n| format!("work-{n}")).find(|name| input.contains(name.as_str()));
    let arn_of = arn(&name.expect("it is one of them"));
    assert_eq!(until_over(&service, &arn_of), r#"{"was":"done"}"#);
    let waiting = [task(&service).1, task(&service).1];
    assert!(waiting.contains(&failed_input), "{waiting:?}");
    pollster::block_on(service.redrive_execution(&arn("fails"), None)).expect("it is redriven");
    pollster::block_on(service.stop_execution(&arn("wait-7"), None, None)).expect("it is stopped");
    start(&service, "another", "nothing");
    // What ends while pages are read may be on none: it moves to the front.
    for name in ["fails", "another"] {
        until_over(&service, &arn(name));
    }
    assert_eq!(all(&service).len(), 87);
    drop(service);
    // Its threads use the folder until they have ended.
    let mut lock = FolderLock::of(last.0.join("journal"));
    while lock.claim().is_err() {
        std::thread::yield_now();
    }
}

/// Many blocks of each partition are read by the next node, and those that are not needed any more are removed.
#[test]
fn partitions_of_a_cluster_are_trimmed_and_read_by_the_next_node() {
    each(|server| {
        let cluster = || Cluster::new(&server.url(), "trimmed").expect("a URL").spread(true);
        let open = || open(&StatePlace::Cluster(cluster()));
        let status = || cluster().status().expect("it is there");
        let service = open();
        service.create_state_machine(machine()).expect("a machine");
        service.create_activity("do", None, Vec::new()).expect("an activity");
        for n in 0..12 {
            start(&service, &format!("wait-{n}"), "wait");
            start(&service, &format!("turn-{n}"), "turn");
        }
        // Each takes some blocks of its partition.
        for n in 0..12 {
            until_over(&service, &arn(&format!("turn-{n}")));
        }
        let shown = all(&service);
        let before = status();
        close(service, &cluster());

        let service = open();
        assert_eq!(all(&service), shown, "{}", server.name());
        start(&service, "more", "turn");
        until_over(&service, &arn("more"));
        let shown = all(&service);
        service.compact_journal().expect("it is compacted");
        let begun = Instant::now();
        // What is needed was written once more. Only NATS tells at once that the room of the rest is free.
        while status().blocks.0 <= before.blocks.1
            || server.name() == "NATS" && status().bytes > before.bytes * 3 / 2
        {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}: they are removed", server.name());
            std::thread::yield_now();
        }
        assert_eq!(all(&service), shown, "{}", server.name());
        close(service, &cluster());
        let service = open();
        assert_eq!(all(&service), shown, "{}", server.name());
        start(&service, "after", "nothing");
        until_over(&service, &arn("after"));
        close(service, &cluster());
    });
}

/// Ends a service, whose node is gone then.
fn close(service: Service, cluster: &Cluster) {
    drop(service);
    while cluster.status().expect("it is there").nodes.iter().any(|node| node.lives) {
        std::thread::yield_now();
    }
}
