//! `serve --journal`: acknowledged changes are in PostgreSQL or NATS JetStream, through failures of nodes, of the
//! engine and of the network between them.

use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};

use crate::durable::{ask, create, describe, end, execution, history, machine, nothing_is_lost, start};
use crate::engines::{End, Engine, Proxy, Way, each};
use crate::required;
use crate::serving::{Folder, Serving, expressway};

/// The arguments of a node.
fn arguments(url: &str) -> [&str; 8] {
    ["--journal", url, "--cluster", "c", "--lease", "6", "--insecure", "--single-owner"]
}

fn serve_at(url: &str) -> Serving {
    let serving = Serving::start(&arguments(url));
    assert!(serving.start.contains("STANDARD executions are durable"), "{}", serving.start);
    serving
}

fn serve(server: &dyn Engine) -> Serving {
    serve_at(&server.url())
}

/// A second node, in standby.
fn stand_by_at(url: &str) -> Serving {
    Serving::start_until(expressway(), &arguments(url), "stands by on ")
}

fn stand_by(server: &dyn Engine) -> Serving {
    stand_by_at(&server.url())
}

#[test]
fn a_server_that_is_away_is_told_by_its_address_and_without_the_password() {
    for (url, shown) in [
        ("postgres://me:secret@127.0.0.1:1/db?connect_timeout=1", "127.0.0.1:1/db: "),
        ("nats://me:secret@127.0.0.1:1?replicas=1&accept_loss=true", "127.0.0.1:1: "),
    ] {
        let node = stand_by_at(url);
        let told = node.start.clone();
        let advice = "onnection refused; is that server up, and is its URL right?";
        assert!(told.contains(&format!("does not answer: {shown}")) && told.contains(advice), "{told}");
        let read = command(&["journal", "stat", url]);
        let read = String::from_utf8_lossy(&read.stderr).into_owned();
        assert!(read.starts_with(&format!("expressway: {shown}")) && read.contains(advice), "{read}");
        assert!(!told.contains("secret") && !read.contains("secret"), "{told} {read}");
    }
}

/// The command's status of a cluster.
fn command(arguments: &[&str]) -> Output {
    expressway().args(arguments).output().expect("the command")
}

pub(crate) fn told(arguments: &[&str]) -> String {
    let output = command(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn status(server: &dyn Engine) -> Json {
    serde_json::from_str(&told(&["cluster", "status", &server.url(), "--cluster", "c"])).expect("JSON")
}

/// Stops the owner until another node has replaced it, and continues it: it appends nothing, reports the new owner, and
/// ends.
fn replace(stale: Serving, url: &str) -> Serving {
    let process = Pid::from_raw(stale.process().cast_signed()).expect("a process");
    kill_process(process, Signal::STOP).expect("it can be stopped");
    let mut next = stand_by_at(url);
    while !next.line().contains("ready on ") {}
    kill_process(process, Signal::CONT).expect("it can go on");
    let (code, said) = stale.end();
    assert_ne!(code, Some(0), "{said}");
    assert!(said.contains("this node is not the owner any more"), "{said}");
    next
}

/// How often a test disturbs what it tests: as often as `EXPRESSWAY_KILLS` says, or so often, half as often in a newcomer's run.
pub(crate) fn rounds(all: u64) -> usize {
    let usual = || required::some_of(all, 2) as usize;
    std::env::var("EXPRESSWAY_KILLS").map_or_else(|_| usual(), |kills| kills.parse().expect("a number"))
}

/// Nodes are killed or stopped, the engine is ended, connections are cut or blocked, in turns, under load.
#[test]
fn nothing_acknowledged_is_lost_or_doubled_whatever_ends() {
    let rounds = rounds(9);
    each(|server| {
        let proxy = Proxy::before(server.port());
        let url = server.url_by(proxy.port);
        let disturb = |serving: Serving, round| {
            match round % 6 {
                0 => {
                    serving.kill();
                    return serve_at(&url);
                }
                1 => return replace(serving, &url),
                2 => {
                    server.end(if round % 4 == 2 { End::Asked } else { End::Killed });
                    server.run();
                }
                3 => proxy.cut(),
                4 => {
                    proxy.set(Way::Silent);
                    std::thread::sleep(Duration::from_millis(6_500));
                    proxy.set(Way::Open);
                }
                _ => {
                    proxy.set(Way::Closed);
                    std::thread::sleep(Duration::from_millis(6_500));
                    proxy.set(Way::Open);
                }
            }
            serving
        };
        nothing_is_lost(rounds, serve_at(&url), disturb, |_| {});
        let verified = told(&["journal", "verify", &server.url(), "--cluster", "c"]);
        assert!(verified.starts_with("c: whole: blocks "), "{}: {verified}", server.name());
    });
}

#[test]
fn what_is_registered_is_in_the_cluster() {
    each(|server| {
        let serving = serve(server);
        let wait =
            json!({"A": {"Type": "Wait", "Seconds": 1, "Next": "B"}, "B": {"Type": "Pass", "End": true}});
        create(&serving, "waits", wait.clone());
        create(&serving, "gone", wait);
        ask(&serving, "CreateActivity", json!({"name": "work"}));
        ask(&serving, "CreateActivity", json!({"name": "idle"}));
        let published =
            ask(&serving, "PublishStateMachineVersion", json!({"stateMachineArn": machine("waits")}));
        let version = &published["stateMachineVersionArn"];
        let routes = json!([{"stateMachineVersionArn": version, "weight": 100}]);
        let alias =
            ask(&serving, "CreateStateMachineAlias", json!({"name": "live", "routingConfiguration": routes}));
        let tags = json!([{"key": "a", "value": "b"}]);
        ask(&serving, "TagResource", json!({"resourceArn": machine("waits"), "tags": tags}));
        ask(&serving, "DeleteStateMachine", json!({"stateMachineArn": machine("gone")}));
        ask(
            &serving,
            "DeleteActivity",
            json!({"activityArn": "arn:aws:states:us-east-1:123456789012:activity:idle"}),
        );
        start(&serving, "waits", "w", json!({"n": 1}));
        let before = describe(&serving, &execution("waits", "w"));
        let shown = status(server);
        assert_eq!((&shown["epoch"], &shown["ownerLives"]), (&json!(1), &json!(true)), "{shown}");
        assert!(shown["lastBlock"].as_u64() > Some(1) && shown["nodes"][0]["isOwner"] == true, "{shown}");
        assert!(serving.get("/metrics").contains("\nexpressway_journal_away 0\n"));
        serving.kill();

        let serving = serve(server);
        let after = describe(&serving, &execution("waits", "w"));
        assert_eq!(after["startDate"], before["startDate"]);
        assert_eq!(end(&serving, &execution("waits", "w"))["output"], json!(r#"{"n":1}"#));
        let listed = ask(&serving, "ListStateMachines", json!({}));
        assert_eq!(listed["stateMachines"].as_array().map(Vec::len), Some(1), "{listed}");
        let activities = ask(&serving, "ListActivities", json!({}));
        assert_eq!(activities["activities"].as_array().map(Vec::len), Some(1), "{activities}");
        let described = ask(
            &serving,
            "DescribeStateMachineAlias",
            json!({"stateMachineAliasArn": alias["stateMachineAliasArn"]}),
        );
        assert_eq!(&described["routingConfiguration"][0]["stateMachineVersionArn"], version);
        let listed = ask(&serving, "ListTagsForResource", json!({"resourceArn": machine("waits")}));
        assert_eq!(listed["tags"], tags);
        assert_eq!(serving.stop().0, Some(0));
        let shown = status(server);
        let lives = |node: &Json| node["lives"] == true;
        let none_lives = !shown["nodes"].as_array().expect("nodes").iter().any(lives);
        assert!(shown["owner"].is_null() && none_lives, "it was given back: {shown}");
    });
}

/// While the engine is unreachable, running executions wait, and new ones are refused, with the time to retry; then
/// everything continues.
#[test]
fn an_engine_that_is_away_is_waited_for() {
    each(|server| {
        let serving = serve(server);
        create(
            &serving,
            "waits",
            json!({"A": {"Type": "Wait", "Seconds": 3, "Next": "B"}, "B": {"Type": "Pass", "End": true}}),
        );
        start(&serving, "waits", "before", json!({}));
        server.end(End::Killed);
        let request = json!({"stateMachineArn": machine("waits"), "name": "new", "input": "{}"}).to_string();
        let begun = Instant::now();
        // The execution's own turn detects it, or the first start, which then waits.
        while !serving.get("/ready").contains("the database that the journal is in is away") {
            assert!(begun.elapsed() < Duration::from_secs(60), "it is noticed");
            std::thread::sleep(Duration::from_millis(20));
        }
        let (code, body) = serving.ask("StartExecution", &request);
        assert!(code == 503 && body.contains("ServiceUnavailable"), "{code} {body}");
        assert_eq!(describe(&serving, &execution("waits", "before"))["status"], "RUNNING");
        assert!(serving.get("/metrics").contains("\nexpressway_journal_away 1\n"));
        server.run();
        assert_eq!(end(&serving, &execution("waits", "before"))["status"], "SUCCEEDED");
        while serving.ask("StartExecution", &request).0 != 200 {
            assert!(begun.elapsed() < Duration::from_secs(120), "it goes on by itself");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(end(&serving, &execution("waits", "new"))["status"], "SUCCEEDED");
        assert_eq!(serving.stop().0, Some(0));
    });
}

#[test]
fn a_folder_moves_into_a_cluster_and_back() {
    each(|server| {
        let folder = Folder::new("moves");
        let (one, two) = (folder.0.join("one"), folder.0.join("two"));
        let (one, two) = (one.to_str().expect("UTF-8"), two.to_str().expect("UTF-8"));
        let serving = Serving::start(&["--state", one, "--insecure"]);
        let wait =
            json!({"A": {"Type": "Wait", "Seconds": 3, "Next": "B"}, "B": {"Type": "Pass", "End": true}});
        create(&serving, "waits", wait);
        start(&serving, "waits", "w", json!({"n": 1}));
        let url = server.url();
        let copy = |from: &str, to: &str| command(&["journal", "copy", from, to, "--cluster", "c"]);
        assert!(!copy(one, &url).status.success(), "it is in use");
        assert_eq!(serving.stop().0, Some(0));
        let copied = copy(one, &url);
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let counts = "c: whole: executions 1, state machines 1, activities 0\n";
        assert_eq!(String::from_utf8_lossy(&copied.stdout), counts);
        assert!(!copy(one, &url).status.success(), "there is one already");

        // The work of the cluster is spread over its nodes.
        let serving = Serving::start(&["--journal", &url, "--cluster", "c", "--lease", "6", "--insecure"]);
        assert_eq!(end(&serving, &execution("waits", "w"))["status"], "SUCCEEDED");
        assert!(!copy(&url, two).status.success(), "it is in use");
        assert_eq!(serving.stop().0, Some(0));
        let copied = copy(&url, two);
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));

        let serving = Serving::start(&["--state", two, "--insecure"]);
        assert_eq!(end(&serving, &execution("waits", "w"))["output"], json!(r#"{"n":1}"#));
        assert_eq!(history(&serving, &execution("waits", "w")).len(), 6);
        start(&serving, "waits", "again", json!({}));
        assert_eq!(serving.stop().0, Some(0));
    });
}

/// A standby node forwards to the owner, and becomes the owner when that is gone.
#[test]
fn a_second_node_answers_for_the_first_and_takes_over() {
    each(|server| {
        let first = serve(server);
        let second = stand_by(server);
        let begun = Instant::now();
        while !second.get("/ready").starts_with("ready: stands by: node ") {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", second.get("/ready"));
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(second.get("/health"), "ok\n");
        assert!(second.get("/metrics").contains("\nexpressway_cluster_owner 0\n"));
        let nodes = status(server)["nodes"].clone();
        assert_eq!(
            (&nodes[0]["isOwner"], &nodes[1]["isOwner"], &nodes[1]["lives"]),
            (&json!(true), &json!(false), &json!(true))
        );
        // The standby serves the whole API, under its own host name.
        let wait =
            json!({"A": {"Type": "Wait", "Seconds": 2, "Next": "B"}, "B": {"Type": "Pass", "End": true}});
        create(&second, "waits", wait);
        start(&second, "waits", "one", json!({"n": 1}));
        // It may end between two of these.
        let (before, through_the_other) = loop {
            let [before, through_the_other, after] =
                [&first, &second, &first].map(|node| describe(node, &execution("waits", "one")));
            if before == after {
                break (before, through_the_other);
            }
        };
        assert_eq!(before, through_the_other);
        let (status_code, body) = second.ask("DescribeExecution", r#"{"executionArn": "no"}"#);
        assert!(status_code == 400 && body.contains("InvalidArn"), "{status_code} {body}");
        // A request without the cluster's secret is not accepted as a node's.
        let forged = "X-Expressway-Hop: 00\r\nX-Amz-Target: AWSStepFunctions.ListStateMachines\r\n";
        assert_eq!(second.send("POST", "/", forged, "{}").0, 503, "a request makes one hop");
        // A foreign host name that resolves to this machine is refused by the standby and, with a forged secret, by the
        // owner.
        for (node, hop) in [(&second, ""), (&first, "X-Expressway-Hop: 00\r\n")] {
            let answered = node.raw(&format!(
                "POST / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n{hop}\
             X-Amz-Target: AWSStepFunctions.ListStateMachines\r\nContent-Length: 2\r\n\r\n{{}}"
            ));
            assert_eq!(answered.0, 421, "{answered:?}");
        }

        first.kill();
        let killed = Instant::now();
        while second
            .ask("DescribeExecution", &json!({"executionArn": execution("waits", "one")}).to_string())
            .0
            != 200
        {
            assert!(killed.elapsed() < Duration::from_secs(60), "it takes over when the lease is over");
        }
        assert_eq!(end(&second, &execution("waits", "one"))["output"], json!(r#"{"n":1}"#));

        // A node that ends in order releases the cluster at once, and requests to the other node are not refused.
        let third = stand_by(server);
        for n in 0..5 {
            start(&third, "waits", &format!("before-{n}"), json!({}));
        }
        second.terminate();
        for n in 0..20 {
            start(&third, "waits", &format!("after-{n}"), json!({}));
        }
        assert_eq!(second.end().0, Some(0));
        for name in ["before-0", "after-0", "after-19"] {
            assert_eq!(end(&third, &execution("waits", name))["status"], "SUCCEEDED", "{name}");
        }
        assert_eq!(status(server)["epoch"], 3);
        assert_eq!(third.stop().0, Some(0));
    });
}

/// While owners end in order, one after the other, clients of the other nodes get slower answers, and no errors.
#[test]
fn a_rolling_restart_refuses_nothing() {
    each(|server| {
        let mut owner = serve(server);
        create(&owner, "passes", json!({"A": {"Type": "Pass", "End": true}}));
        let mut others = [stand_by(server), stand_by(server)];
        for round in 0..2 {
            let (is_over, slowest) = (AtomicBool::new(false), Mutex::new(Duration::ZERO));
            std::thread::scope(|scope| {
                for client in 0..4 {
                    let (node, is_over, slowest) = (&others[client % 2], &is_over, &slowest);
                    scope.spawn(move || {
                        let took = ask_without_end(node, &format!("r{round}-c{client}"), is_over);
                        let mut slowest = slowest.lock().expect("no client failed");
                        *slowest = took.max(*slowest);
                    });
                }
                std::thread::sleep(Duration::from_millis(500));
                owner.terminate();
                let epoch = round + 2;
                let begun = Instant::now();
                while status(server)["epoch"] != epoch {
                    assert!(begun.elapsed() < Duration::from_secs(60), "{}", status(server));
                }
                // The new owner's server answers, too.
                std::thread::sleep(Duration::from_millis(1_500));
                is_over.store(true, Ordering::Relaxed);
            });
            let slowest = *slowest.lock().expect("no client failed");
            assert!(slowest < Duration::from_secs(60), "{}: {slowest:?}", server.name());
            let next = status(server)["nodes"].as_array().expect("nodes").iter().find_map(|node| {
                let port = node["address"].as_str()?.rsplit(':').next()?.parse::<u16>().ok()?;
                (node["isOwner"] == true).then_some(port)
            });
            let at =
                others.iter().position(|node| Some(node.port) == next).expect("one of them is the owner");
            let ended = std::mem::replace(&mut owner, std::mem::replace(&mut others[at], stand_by(server)));
            assert_eq!(ended.end().0, Some(0));
        }
    });
}

/// Starts and describes executions over connections that stay open. Returns the longest time of an answer.
pub(crate) fn ask_without_end(node: &Serving, client: &str, is_over: &AtomicBool) -> Duration {
    let (mut connection, mut slowest) = (node.connect(), Duration::ZERO);
    for n in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{client}-{n}");
        let request = json!({"stateMachineArn": machine("passes"), "name": name, "input": "{}"}).to_string();
        let described = json!({"executionArn": execution("passes", &name)}).to_string();
        for (operation, body) in [("StartExecution", request), ("DescribeExecution", described)] {
            if connection.is_over {
                connection = node.connect();
            }
            let begun = Instant::now();
            let (code, answer) = connection.ask(operation, &body);
            assert_eq!(code, 200, "{name}: {operation}: {answer}");
            slowest = slowest.max(begun.elapsed());
        }
    }
    slowest
}
