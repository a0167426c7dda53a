//! The console of a cluster whose executions are spread: every node shows those of all nodes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::durable::{create, end, execution, machine, start};
use crate::engines::{Engine, each};
use crate::serving::Serving;
use crate::spread::{shared, three, waits};

/// An action of the page, of one node.
fn look(node: &Serving, action: &str, ask: Json) -> Json {
    let headers = format!("x-amz-target: Expressway.{action}\r\n");
    let (status, body) = node.send("POST", "/console/api", &headers, &ask.to_string());
    assert_eq!(status, 200, "{action}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

fn names(found: &Json) -> Vec<String> {
    let rows = found["executions"].as_array().expect("a list");
    rows.iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn every_node_shows_the_executions_of_all() {
    each(|server| show_the_executions_of_all(server));
}

fn show_the_executions_of_all(server: &dyn Engine) {
    let nodes = three(server);
    create(&nodes[0], "waits", waits(600));
    create(&nodes[1], "fails", json!({"A": {"Type": "Fail", "Error": "Broken", "Cause": "for good"}}));
    let wanted: BTreeSet<String> = (0..30).map(|n| format!("e{n}")).collect();
    for (n, name) in wanted.iter().enumerate() {
        start(&nodes[n % 3], "waits", name, json!({}));
    }
    for n in 0..9 {
        start(&nodes[n % 3], "fails", &format!("f{n}"), json!({}));
        end(&nodes[(n + 1) % 3], &execution("fails", &format!("f{n}")));
    }
    let all = look(&nodes[0], "FindExecutions", json!({}));
    assert_eq!((&all["matching"], &all["listed"]), (&json!(39), &json!(39)), "{all}");
    assert_eq!(all["nodes"], json!({"count": 3, "silent": []}));
    let order: Vec<u64> = all["executions"].as_array().expect("rows").iter().map(started).collect();
    assert!(order.is_sorted_by(|newer, older| newer >= older), "{order:?}");
    let of =
        |found: &Json, first: &str| names(found).into_iter().filter(|it| it.starts_with(first)).collect();
    let waiting: BTreeSet<String> = of(&all, "e");
    assert_eq!(waiting, wanted);
    let up_to = all["upTo"].as_u64().expect("a time");
    for node in &nodes {
        let found = look(node, "FindExecutions", json!({}));
        assert_eq!(names(&found), names(&all), "each node lists the same, in the same order");
        let window = look(node, "FindExecutions", json!({"from": 5, "count": 7}));
        assert_eq!((names(&window), &window["from"]), (names(&all)[5..12].to_vec(), &json!(5)));
        let ends = look(node, "FindExecutions", json!({"status": "FAILED", "from": 4}));
        assert_eq!((ends["matching"].as_u64(), names(&ends).len()), (Some(9), 5), "{ends}");
        let one = look(node, "FindExecutions", json!({"machineArn": machine("waits"), "name": "E29"}));
        assert_eq!(names(&one), ["e29"]);

        let failures = look(node, "Failures", json!({}));
        let groups = failures["groups"].as_array().expect("groups");
        assert_eq!((groups.len(), &failures["failed"], &failures["looked"]), (1, &json!(9), &json!(39)));
        let samples = groups[0]["samples"].as_array().map(Vec::len);
        assert_eq!(
            (&groups[0]["count"], &groups[0]["error"], samples),
            (&json!(9), &json!("Broken"), Some(5))
        );

        let rates = look(node, "Rates", json!({"machineArn": machine("waits")}));
        assert_eq!(
            (rates["machines"].as_array().map(Vec::len), &rates["machines"][0]["started"]),
            (Some(1), &json!(30))
        );
        let last = look(node, "Overview", json!({}));
        let last = last["machines"].as_array().expect("machines").iter().find(|it| it["name"] == "fails");
        let newest = all["executions"][0]["started"].as_u64();
        assert_eq!(last.and_then(|it| it["last"].as_u64()), newest);
        for name in ["e0", "e1", "e2", "e3"] {
            let ask = json!({"executionArn": execution("waits", name), "picture": true, "ids": [1]});
            let shown = look(node, "GetExecution", ask.clone());
            assert_eq!((&shown["status"], &shown["name"]), (&json!("RUNNING"), &json!(name)));
            assert!(shown["picture"].is_object(), "{shown}");
            let events = look(node, "GetEvents", ask);
            assert_eq!((&events["events"][0]["id"], &events["values"]), (&json!(1), &json!(["{}"])));
        }
    }
    // Where a list is scrolled, later executions are counted and do not move its rows.
    start(&nodes[2], "waits", "late", json!({}));
    let scrolled = look(&nodes[1], "FindExecutions", json!({"upTo": up_to}));
    assert_eq!((names(&scrolled), &scrolled["newer"]), (names(&all), &json!(1)));

    // A node that has no console is named; what a lost node had is shown by those that take it over.
    let without = Serving::start(&[
        "--journal",
        &server.url(),
        "--cluster",
        "c",
        "--lease",
        "1",
        "--insecure",
        "--no-console",
    ]);
    shared(server, 4);
    let found = look(&nodes[0], "FindExecutions", json!({}));
    assert_eq!(
        (&found["nodes"]["count"], found["nodes"]["silent"].as_array().map(Vec::len)),
        (&json!(4), Some(1))
    );
    without.kill();
    let [first, second, third] = nodes;
    third.kill();
    let begun = Instant::now();
    loop {
        let found = look(&first, "FindExecutions", json!({}));
        if found["matching"] == 40 && found["nodes"] == json!({"count": 2, "silent": []}) {
            assert_eq!(names(&found)[1..], names(&all));
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{found}");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(second);
}

fn started(row: &Json) -> u64 {
    row["started"].as_u64().expect("a time")
}
