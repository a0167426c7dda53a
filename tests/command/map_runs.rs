//! Map Runs of `serve --state` and of clusters, over kill -9 and SIGTERM: they continue where they were. A child's outcome
//! counts once, and is not repeated once it is recorded; data that changed meanwhile is refused.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use crate::engines::{ENGINES, Engine};
use crate::server::{Server, answer};
use crate::serving::{Folder, Serving, expressway};

const MACHINE: &str = "arn:aws:states:us-east-1:123456789012:stateMachine:m";
const EXECUTION: &str = "arn:aws:states:us-east-1:123456789012:execution:m:e";
const ITEMS: usize = 60;
/// So many are answered before the process ends.
const BEFORE: usize = 40;

/// A function that doubles numbers: those from [`BEFORE`] on when it may.
struct Function {
    server: Server,
    goes_on: Arc<AtomicBool>,
    /// Before it may, it fails, instead of giving no answer.
    fails: Arc<AtomicBool>,
    /// How often it was asked, by the first number.
    asked: Arc<Mutex<HashMap<u64, usize>>>,
}

impl Function {
    fn start() -> Function {
        let (goes_on, asked) = (Arc::<AtomicBool>::default(), Arc::<Mutex<HashMap<u64, usize>>>::default());
        let fails = Arc::<AtomicBool>::default();
        let (may, count, fault) = (Arc::clone(&goes_on), Arc::clone(&asked), Arc::clone(&fails));
        let server = Server::start(move |asked| {
            let input = asked.json();
            let numbers: Vec<u64> = match &input["Items"] {
                Json::Array(items) => items.iter().filter_map(|item| item["n"].as_u64()).collect(),
                _ => input["n"].as_u64().into_iter().collect(),
            };
            *count.lock().expect("the counts").entry(numbers[0]).or_default() += 1;
            if numbers[0] >= BEFORE as u64 && !may.load(Ordering::SeqCst) {
                return if fault.load(Ordering::SeqCst) {
                    answer(200, &[("X-Amz-Function-Error", "Unhandled")], r#"{"errorType":"Broken"}"#)
                } else {
                    crate::server::Says::Nothing
                };
            }
            let doubled: Vec<u64> = numbers.iter().map(|n| 2 * n).collect();
            answer(200, &[], json!(doubled).to_string())
        });
        Function { server, goes_on, fails, asked }
    }
}

/// Where executions are durable.
enum Place {
    Folder,
    /// In a cluster, whose work may be spread.
    Cluster(Box<dyn Engine>, bool),
}

struct World {
    folder: Folder,
    function: Function,
    place: Place,
}

impl World {
    fn new(name: &str) -> World {
        World::at(name, Place::Folder)
    }

    fn at(name: &str, place: Place) -> World {
        let folder = Folder::new(&format!("map-runs-{name}"));
        fs::create_dir_all(folder.0.join("data")).expect("a folder");
        let world = World { folder, function: Function::start(), place };
        world.write_items(ITEMS);
        world
    }

    fn write_items(&self, count: usize) {
        let lines: String = (0..count).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        fs::write(self.folder.0.join("data/in.jsonl"), lines).expect("a file");
    }

    fn serve(&self) -> Serving {
        self.serve_with(true)
    }

    fn serve_with(&self, is_durable: bool) -> Serving {
        let mut command = expressway();
        command.envs([("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")]);
        let path = |name: &str| self.folder.0.join(name).to_str().expect("UTF-8").to_owned();
        let endpoint = format!("Lambda={}", self.function.server.url());
        let (state, data) = (path("state"), path("data"));
        let arguments = ["--files", &data, "--endpoint", &endpoint, "--drain-timeout", "0", "--insecure"];
        let url = match &self.place {
            Place::Cluster(server, _) => server.url(),
            Place::Folder => String::new(),
        };
        let durable: &[&str] = match self.place {
            _ if !is_durable => &[],
            Place::Folder => &["--state", &state],
            Place::Cluster(_, false) => {
                &["--journal", &url, "--cluster", "c", "--lease", "6", "--single-owner"]
            }
            Place::Cluster(_, true) => &["--journal", &url, "--cluster", "c", "--lease", "6"],
        };
        let serving = Serving::start_with(command, &[durable, &arguments].concat());
        if let (Place::Cluster(server, true), true) = (&self.place, is_durable) {
            // On a busy machine it takes longer than a call waits for an owner.
            crate::spread::shared(&**server, 1);
        }
        serving
    }

    /// Starts an execution over the file, and waits until what is answered is recorded.
    fn begin(&self, kind: &str, more: &Json) -> Serving {
        self.begin_at(self.serve(), kind, more)
    }

    fn begin_at(&self, serving: Serving, kind: &str, more: &Json) -> Serving {
        let mut map = json!({"Type": "Map", "End": true, "Label": "each", "ItemReader":
            {"Resource": "arn:aws:states:::file:read", "Parameters": {"Path": "in.jsonl"},
                "ReaderConfig": {"InputType": "JSONL"}},
            "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": kind}, "StartAt": "F",
                "States": {"F": {"Type": "Task", "End": true,
                    "Resource": "arn:aws:lambda:us-east-1:123456789012:function:double"}}}});
        map.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
        let definition = json!({"StartAt": "M", "States": {"M": map}}).to_string();
        let role = "arn:aws:iam::123456789012:role/r";
        ask(&serving, "CreateStateMachine", json!({"name": "m", "definition": definition, "roleArn": role}));
        ask(&serving, "StartExecution", json!({"stateMachineArn": MACHINE, "name": "e", "input": "{}"}));
        while map_run(&serving)["itemCounts"]["succeeded"] != BEFORE {
            std::thread::yield_now();
        }
        if matches!(self.place, Place::Cluster(..)) {
            // A start is acknowledged when it is recorded, and then so is what was there before.
            let definition =
                json!({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}).to_string();
            ask(
                &serving,
                "CreateStateMachine",
                json!({"name": "p", "definition": definition, "roleArn": role}),
            );
            ask(
                &serving,
                "StartExecution",
                json!({"stateMachineArn": MACHINE.replace(":stateMachine:m", ":stateMachine:p")}),
            );
        }
        serving
    }
}

fn ask(serving: &Serving, operation: &str, request: Json) -> Json {
    let (status, body) = serving.ask(operation, &request.to_string());
    assert_eq!(status, 200, "{operation} {request}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

/// The description of the only Map Run; null before it begins.
fn map_run(serving: &Serving) -> Json {
    let runs = ask(serving, "ListMapRuns", json!({"executionArn": EXECUTION}));
    let runs = runs["mapRuns"].as_array().expect("Map Runs");
    assert!(runs.len() < 2, "{runs:?}");
    let describe = |run: &Json| ask(serving, "DescribeMapRun", json!({"mapRunArn": run["mapRunArn"]}));
    runs.first().map_or(Json::Null, describe)
}

fn children(serving: &Serving, run: &Json) -> Vec<Json> {
    let list = ask(serving, "ListExecutions", json!({"mapRunArn": run["mapRunArn"]}));
    list["executions"].as_array().expect("executions").clone()
}

fn end(serving: &Serving) -> Json {
    loop {
        let described = ask(serving, "DescribeExecution", json!({"executionArn": EXECUTION}));
        if described["status"] != "RUNNING" {
            return described;
        }
        std::thread::yield_now();
    }
}

/// It is the same Map Run.
fn assert_same(after: &Json, before: &Json, case: &str) {
    for same in ["mapRunArn", "startDate", "executionArn", "maxConcurrency"] {
        assert_eq!(after[same], before[same], "{case}");
    }
}

#[test]
fn a_map_run_goes_on_after_the_process_ended() {
    let batched = json!({"ItemBatcher": {"MaxItemsPerBatch": 4}});
    let written = json!({"ResultWriter": {"Resource": "arn:aws:states:::file:write", "Parameters": {"Path": "out"},
        "WriterConfig": {"OutputType": "JSONL", "Transformation": "FLATTEN"}}});
    let cases = [
        ("EXPRESS", json!({}), true),
        ("STANDARD", json!({}), true),
        ("EXPRESS", batched.clone(), true),
        ("STANDARD", batched, false),
        ("EXPRESS", written, false),
    ];
    for (n, case) in cases.into_iter().enumerate() {
        goes_on(&World::new(&format!("goes-on-{n}")), case);
    }
}

#[test]
fn a_map_run_goes_on_in_another_node() {
    let batched = json!({"ItemBatcher": {"MaxItemsPerBatch": 4}});
    let cases = [
        (false, ("EXPRESS", batched.clone(), true)),
        (false, ("STANDARD", json!({}), true)),
        (true, ("EXPRESS", json!({}), true)),
        (true, ("STANDARD", batched, false)),
    ];
    for (n, (is_spread, case)) in cases.into_iter().enumerate() {
        for server in ENGINES.iter().filter_map(|start| start()) {
            let name = format!("other-node-{n}-{}", server.name());
            goes_on(&World::at(&name, Place::Cluster(server, is_spread)), case.clone());
        }
    }
}

/// The kind of the children, more members of the Map, and whether the process is killed.
type GoesOn = (&'static str, Json, bool);

fn goes_on(world: &World, (kind, more, is_killed): GoesOn) {
    let case = format!("{kind} {more} killed: {is_killed}");
    {
        let serving = world.begin(kind, &more);
        let before = map_run(&serving);
        if is_killed {
            serving.kill();
        } else {
            let (code, said) = serving.stop();
            // Express executions end with the process, with a message.
            assert!(code.is_some(), "{case}: {said}");
        }
        world.function.goes_on.store(true, Ordering::SeqCst);
        let serving = world.serve();
        let ended = end(&serving);
        assert_eq!(ended["status"], "SUCCEEDED", "{case}: {ended}");
        let output: Json =
            ended["output"].as_str().and_then(|it| serde_json::from_str(it).ok()).expect("JSON");
        let size = if more.get("ItemBatcher").is_some() { 4 } else { 1 };
        let doubled: Vec<usize> = (0..ITEMS).map(|n| 2 * n).collect();
        if more.get("ResultWriter").is_some() {
            let run = before["mapRunArn"].as_str().and_then(|arn| arn.rsplit(':').next()).expect("a UUID");
            let file = world.folder.0.join(format!("data/out/{run}/SUCCEEDED_0.jsonl"));
            let text = fs::read_to_string(file).expect("results");
            let mut found: Vec<usize> = text.lines().map(|line| line.parse().expect("a number")).collect();
            found.sort_unstable();
            assert_eq!(found, doubled, "{case}");
        } else {
            assert_eq!(output, json!(doubled.chunks(size).collect::<Vec<_>>()), "{case}");
        }
        for (n, times) in &*world.function.asked.lock().expect("the counts") {
            let allowed = if *n < BEFORE as u64 { 1..=1 } else { 1..=2 };
            assert!(allowed.contains(times), "{case}: {n} was asked for {times} times");
        }
        let after = map_run(&serving);
        assert_same(&after, &before, &case);
        assert_eq!(
            (&after["status"], &after["itemCounts"]["succeeded"]),
            (&json!("SUCCEEDED"), &json!(ITEMS))
        );
        assert_eq!(after["itemCounts"]["total"], ITEMS, "{case}: {after}");
        assert_eq!(after["executionCounts"]["total"], ITEMS / size, "{case}: {after}");
        if kind == "STANDARD" {
            let children = children(&serving, &after);
            assert_eq!(children.len(), ITEMS / size, "{case}");
            assert!(children.iter().all(|child| child["status"] == "SUCCEEDED"), "{case}: {children:?}");
        }
        serving.kill();
        let serving = world.serve();
        assert_eq!(map_run(&serving), after, "{case}: what is over stays as it is");
    }
}

#[test]
fn data_that_changed_meanwhile_fails_the_map_run_and_stops_its_children() {
    let world = World::new("changed");
    let serving = world.begin("STANDARD", &json!({}));
    serving.kill();
    world.write_items(ITEMS + 1);
    let serving = world.serve();
    let ended = end(&serving);
    assert_eq!((&ended["status"], &ended["error"]), (&json!("FAILED"), &json!("States.ItemReaderFailed")));
    let cause = ended["cause"].as_str().expect("a cause");
    assert!(cause.contains("The data changed since the Map Run began to read it"), "{cause}");
    let run = map_run(&serving);
    assert_eq!(run["status"], "FAILED");
    let open = || children(&serving, &run).into_iter().filter(|child| child["status"] == "RUNNING").count();
    while open() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn what_is_changed_about_a_map_run_stays_so_and_it_can_be_stopped_after_a_restart() {
    let world = World::new("stopped");
    let serving = world.begin("STANDARD", &json!({"ToleratedFailureCount": 3}));
    let run = map_run(&serving);
    let change = json!({"mapRunArn": run["mapRunArn"], "toleratedFailureCount": 7, "maxConcurrency": 9});
    ask(&serving, "UpdateMapRun", change);
    serving.kill();
    let serving = world.serve();
    while map_run(&serving)["itemCounts"]["succeeded"] != BEFORE {
        std::thread::yield_now();
    }
    let run = map_run(&serving);
    assert_eq!((&run["toleratedFailureCount"], &run["maxConcurrency"]), (&json!(7), &json!(9)));
    ask(&serving, "StopExecution", json!({"executionArn": EXECUTION}));
    assert_eq!(end(&serving)["status"], "ABORTED");
    while map_run(&serving)["status"] != "ABORTED" {
        std::thread::yield_now();
    }
    let run = map_run(&serving);
    assert_eq!(run["itemCounts"]["succeeded"], BEFORE);
    serving.kill();
    let serving = world.serve();
    assert_eq!(map_run(&serving), run);
    let children = children(&serving, &run);
    assert!(children.iter().all(|child| child["status"] != "RUNNING"), "{children:?}");
}

/// When the process is killed, if it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kill {
    Never,
    BeforeRedrive,
    WhileRedriven,
}

#[test]
fn what_did_not_succeed_of_a_map_run_is_done_again_when_its_execution_is_redriven() {
    let batched = json!({"ItemBatcher": {"MaxItemsPerBatch": 4}});
    let cases = [
        ("STANDARD", json!({}), true, Kill::Never),
        ("STANDARD", batched.clone(), true, Kill::BeforeRedrive),
        ("EXPRESS", json!({}), true, Kill::WhileRedriven),
        ("EXPRESS", batched, true, Kill::Never),
        ("STANDARD", json!({}), true, Kill::WhileRedriven),
        ("STANDARD", json!({}), false, Kill::Never),
        ("EXPRESS", json!({}), false, Kill::Never),
        // One after the other: that after the last one that succeeds fails, and the Map Run with it.
        ("STANDARD", json!({"MaxConcurrency": 1}), true, Kill::BeforeRedrive),
        ("EXPRESS", json!({"MaxConcurrency": 1}), true, Kill::Never),
    ];
    for (n, case) in cases.into_iter().enumerate() {
        redriven(&World::new(&format!("redriven-{n}")), case);
    }
}

#[test]
fn a_map_run_of_a_cluster_is_redriven() {
    let cases = [
        (false, ("EXPRESS", json!({}), true, Kill::WhileRedriven)),
        (true, ("STANDARD", json!({}), true, Kill::BeforeRedrive)),
        (true, ("EXPRESS", json!({"MaxConcurrency": 1}), true, Kill::BeforeRedrive)),
    ];
    for (n, (is_spread, case)) in cases.into_iter().enumerate() {
        for server in ENGINES.iter().filter_map(|start| start()) {
            let name = format!("cluster-redriven-{n}-{}", server.name());
            redriven(&World::at(&name, Place::Cluster(server, is_spread)), case.clone());
        }
    }
}

/// The kind of the children, more members of the Map, whether executions are durable, and when the process is killed.
type Redriven = (&'static str, Json, bool, Kill);

fn redriven(world: &World, (kind, more, is_durable, kill): Redriven) {
    let case = format!("{kind} {more} durable: {is_durable}, {kill:?}");
    {
        let way = if more.get("MaxConcurrency").is_some() { "FAILED" } else { "ABORTED" };
        world.function.fails.store(way == "FAILED", Ordering::SeqCst);
        let mut serving = world.begin_at(world.serve_with(is_durable), kind, &more);
        if way == "ABORTED" {
            let change = json!({"mapRunArn": map_run(&serving)["mapRunArn"], "maxConcurrency": 50});
            ask(&serving, "UpdateMapRun", change);
            ask(&serving, "StopExecution", json!({"executionArn": EXECUTION}));
        }
        assert_eq!(end(&serving)["status"], way, "{case}");
        let before = map_run(&serving);
        assert_eq!((&before["status"], &before["redriveCount"]), (&json!(way), &json!(0)), "{case}");
        let is_standard = kind == "STANDARD";
        if is_standard {
            // They end behind their Map Run, when that is recorded.
            let child = loop {
                let children = children(&serving, &before);
                if let Some(child) = children.into_iter().find(|child| child["status"] == way) {
                    break child;
                }
                std::thread::yield_now();
            };
            let arn = json!({"executionArn": child["executionArn"]});
            let described = ask(&serving, "DescribeExecution", arn.clone());
            assert_eq!(described["redriveStatus"], "REDRIVABLE_BY_MAP_RUN", "{case}: {described}");
            let (status, said) = serving.ask("RedriveExecution", &arn.to_string());
            assert!(
                status == 400 && said.contains("redrive the execution that has the Map"),
                "{case}: {said}"
            );
        }
        if kill == Kill::BeforeRedrive {
            serving.kill();
            serving = world.serve();
        }
        let asked = || world.function.asked.lock().expect("the counts").values().sum::<usize>();
        let asked_before = asked();
        if kill == Kill::WhileRedriven {
            ask(&serving, "RedriveExecution", json!({"executionArn": EXECUTION}));
            while asked() == asked_before {
                std::thread::yield_now();
            }
            serving.kill();
            world.function.goes_on.store(true, Ordering::SeqCst);
            serving = world.serve();
        } else {
            world.function.goes_on.store(true, Ordering::SeqCst);
            ask(&serving, "RedriveExecution", json!({"executionArn": EXECUTION}));
        }
        let ended = end(&serving);
        assert_eq!(ended["status"], "SUCCEEDED", "{case}: {ended}");
        let output: Json =
            ended["output"].as_str().and_then(|it| serde_json::from_str(it).ok()).expect("JSON");
        let size = if more.get("ItemBatcher").is_some() { 4 } else { 1 };
        let doubled: Vec<usize> = (0..ITEMS).map(|n| 2 * n).collect();
        assert_eq!(output, json!(doubled.chunks(size).collect::<Vec<_>>()), "{case}");
        // In memory, outcomes of Express children are not kept.
        if is_durable || is_standard {
            for (n, times) in &*world.function.asked.lock().expect("the counts") {
                let allowed = if *n < BEFORE as u64 { 1..=1 } else { 1..=3 };
                assert!(allowed.contains(times), "{case}: {n} was asked for {times} times");
            }
        }
        let after = map_run(&serving);
        assert_same(&after, &before, &case);
        assert_eq!((&after["status"], &after["redriveCount"]), (&json!("SUCCEEDED"), &json!(1)), "{case}");
        assert!(after["redriveDate"].as_f64() >= before["stopDate"].as_f64(), "{case}: {after}");
        assert_eq!(after["itemCounts"]["succeeded"], ITEMS, "{case}: {after}");
        assert_eq!(after["executionCounts"]["total"], ITEMS / size, "{case}: {after}");
        let request = json!({"executionArn": EXECUTION});
        let history = ask(&serving, "GetExecutionHistory", request);
        let events = history["events"].as_array().expect("events").iter();
        let redriven: Vec<&Json> = events.filter(|event| event["type"] == "MapRunRedriven").collect();
        assert_eq!(redriven.len(), 1, "{case}: {history}");
        assert_eq!(
            redriven[0]["mapRunRedrivenEventDetails"],
            json!({"mapRunArn": after["mapRunArn"], "redriveCount": 1})
        );
        if is_standard {
            let children = children(&serving, &after);
            assert_eq!(children.len(), ITEMS / size, "{case}");
            assert!(children.iter().all(|child| child["status"] == "SUCCEEDED"), "{case}: {children:?}");
            let again = children.iter().filter(|child| child["redriveCount"] == 1).count();
            assert!((1..=(ITEMS - BEFORE) / size).contains(&again), "{case}: {again} were redriven");
        }
        serving.kill();
    }
}

/// A running Map Run needs no open file: more of them than the system allows of those are no harm.
#[test]
fn there_may_be_more_map_runs_than_open_files() {
    let folder = Folder::new("map-runs-files");
    let state = folder.0.join("state");
    let limited = ["sh", "-c", "ulimit -n 128; exec \"$0\" \"$@\""];
    let serving = Serving::start_by(&limited, &["--state", state.to_str().expect("UTF-8"), "--insecure"]);
    let wait = json!({"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 90_000, "End": true}},
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}});
    let map = json!({"Type": "Map", "Label": "each", "ItemProcessor": wait, "End": true});
    let definition = json!({"StartAt": "M", "States": {"M": map}}).to_string();
    let request =
        json!({"name": "m", "definition": definition, "roleArn": "arn:aws:iam::123456789012:role/r"});
    ask(&serving, "CreateStateMachine", request);
    for n in 0..150 {
        ask(
            &serving,
            "StartExecution",
            json!({"stateMachineArn": MACHINE, "name": format!("e{n}"), "input": "[1]"}),
        );
    }
    for n in 0..150 {
        let execution = EXECUTION.replace("m:e", &format!("m:e{n}"));
        let status = loop {
            let runs = ask(&serving, "ListMapRuns", json!({"executionArn": execution}));
            if let Some(run) = runs["mapRuns"].as_array().and_then(|runs| runs.first()) {
                let run = ask(&serving, "DescribeMapRun", json!({"mapRunArn": run["mapRunArn"]}));
                if run["executionCounts"]["pending"] == 0 {
                    break run["status"].clone();
                }
            }
            std::thread::yield_now();
        };
        assert_eq!(status, "RUNNING", "{execution}");
    }
    serving.kill();
}
