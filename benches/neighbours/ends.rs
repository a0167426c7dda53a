//! How late executions end that compute without end, beside ten others: after their deadline, after `StopExecution`, and
//! after their client has reset its connection.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bombs::computes;
use crate::server::{Client, Server};
use crate::{load, quantile};

/// Executions that compute beside.
const BESIDE: usize = 10;
/// How many ends are measured at once.
const TOGETHER: usize = 32;

pub(crate) fn measure(samples: usize) {
    let server = Server::start();
    let spin = computes("$sum([1..2000].($sum([1..200].($ * 2))))");
    let beside = json!({"stateMachineArn": server.create("beside", &spin, 300), "input": "{}"}).to_string();
    let mut client = Client::new(server.place);
    let begin = |client: &mut Client| {
        let (status, answer) = client.ask("StartExecution", &beside);
        assert_eq!(status, 200, "{answer}");
    };
    (0..BESIDE).for_each(|_| begin(&mut client));
    println!(
        "load {}\n\n| {samples} ends after | p50 | p99 | p99.9 | latest |\n|---|--:|--:|--:|--:|",
        load()
    );
    let late = server.create("late", &spin, 1);
    let ends = (0..samples.div_ceil(TOGETHER)).flat_map(|_| deadlines(&server, &late));
    let (seen, shown) = ends.unzip();
    show("their deadline, as clients see it", seen);
    show("their deadline, by `stopDate`", shown);
    let mut client = Client::new(server.place);
    (0..BESIDE).for_each(|_| begin(&mut client));
    let stopped = server.create_standard("stopped", &spin);
    show("`StopExecution`", (0..samples).map(|_| stop(&mut client, &stopped)).collect());
    let left = server.create("left", &spin, 300);
    let departures = (0..samples).map(|_| leave(&server, &mut client, &left));
    show("their client reset its connection", departures.collect());
    println!("\nload {}; wanted: 50 ms at p99.9", load());
}

fn show(what: &str, mut late_ms: Vec<f64>) {
    let [p50, p99, p999, latest] = [0.5, 0.99, 0.999, 1.0].map(|part| quantile(&mut late_ms, part));
    println!("| {what} | {p50:.1} ms | {p99:.1} ms | {p999:.1} ms | {latest:.1} ms |");
}

/// Some that end at their deadline, a second after they began: how late, as their clients see it and by their dates.
fn deadlines(server: &Server, arn: &str) -> Vec<(f64, f64)> {
    let body = json!({"stateMachineArn": arn, "input": "{}"}).to_string();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..TOGETHER)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::new(server.place);
                    let began = Instant::now();
                    let (status, answer) = client.ask("StartSyncExecution", &body);
                    let seen_ms = (began.elapsed().as_secs_f64() - 1.0) * 1e3;
                    assert!(status == 200 && answer.contains("TIMED_OUT"), "{answer}");
                    let answer: Value = serde_json::from_str(&answer).expect("JSON");
                    let at = |member: &str| answer[member].as_f64().expect("a time");
                    (seen_ms, (at("stopDate") - at("startDate") - 1.0) * 1e3)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("no panic")).collect()
    })
}

fn stop(client: &mut Client, arn: &str) -> f64 {
    let (_, answer) =
        client.ask("StartExecution", &json!({"stateMachineArn": arn, "input": "{}"}).to_string());
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let body = json!({"executionArn": answer["executionArn"]}).to_string();
    std::thread::sleep(Duration::from_millis(3));
    let began = Instant::now();
    assert_eq!(client.ask("StopExecution", &body).0, 200);
    while client.ask("DescribeExecution", &body).1.contains("RUNNING") {}
    began.elapsed().as_secs_f64() * 1e3
}

/// As seen by `/metrics`.
fn leave(server: &Server, client: &mut Client, arn: &str) -> f64 {
    let running = |client: &mut Client| {
        let (_, metrics) = client.get("/metrics");
        let line = metrics.lines().find(|line| line.starts_with(RUNNING));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).expect("a metric")
    };
    let before = running(client);
    let mut leaving = Client::new(server.place);
    leaving.send("StartSyncExecution", &json!({"stateMachineArn": arn, "input": "{}"}).to_string());
    while running(client) <= before {}
    let began = Instant::now();
    leaving.reset();
    while running(client) > before {}
    began.elapsed().as_secs_f64() * 1e3
}

/// The number of executions under way.
const RUNNING: &str = "expressway_executions_live";
