//! The descriptions in `examples/pipelines`: each is run as it is, but for addresses, where its broker is installed.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::servers::{self, Starts as _, running, terminate};

pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// An example, with other addresses, in this folder.
pub(crate) fn example(folder: &Path, name: &str, replaced: &[(&str, &str)]) -> PathBuf {
    let mut text = fs::read_to_string(examples().join("pipelines").join(name)).expect("the example");
    let orders = examples().join("orders.asl.json");
    let metrics = ("127.0.0.1:9108", "127.0.0.1:0");
    let definition = ("../orders.asl.json", orders.to_str().expect("UTF-8"));
    for (from, to) in replaced {
        assert!(text.contains(from), "{from} is not in {name}");
        text = text.replace(from, to);
    }
    for (from, to) in [definition, metrics] {
        text = text.replace(from, to);
    }
    let file = folder.join(name);
    fs::write(&file, text).expect("a file");
    file
}

/// An order that the workflow takes, and one that it refuses.
pub(crate) fn orders() -> (String, String) {
    let text = fs::read_to_string(examples().join("orders.ndjson")).expect("the orders");
    let good = text.lines().next().expect("an order").to_owned();
    (good, r#"{"detail": "none"}"#.to_owned())
}

pub(crate) fn pipe(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    command.arg("pipe").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn redrive(config: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    command.arg("redrive").arg(config);
    redriven(command)
}

/// What a redrive says.
pub(crate) fn redriven(mut command: Command) -> String {
    let output = command.answered();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// Waits until `done` returns something.
pub(crate) async fn eventually<T>(what: &str, mut done: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = done().await {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} does not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The command's output until its end.
pub(crate) fn said(mut child: Child) -> String {
    let mut said = String::new();
    assert_eq!(terminate(&mut child), Some(1), "one order failed for good");
    child.stderr.take().expect("its words").read_to_string(&mut said).expect("UTF-8");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_go_through_redis() {
    let Some(server) = servers::redis() else { return };
    let at = format!("127.0.0.1:{}", server.port);
    let replaced = [("127.0.0.1:6379", &*at)];
    let client = redis::Client::open(format!("redis://{at}")).expect("a client");
    let mut redis = client.get_multiplexed_async_connection().await.expect("a connection");
    let mut make = redis::cmd("XGROUP");
    make.arg(&["CREATE", "orders", "shop", "0", "MKSTREAM"]);
    make.query_async::<()>(&mut redis).await.expect("a group");
    let child = running(pipe(&example(&server.folder, "redis.toml", &replaced)).started());
    let (good, bad) = orders();
    for order in [&good, &bad] {
        let mut add = redis::cmd("XADD");
        add.arg(&["orders", "*", "body", order]).query_async::<String>(&mut redis).await.expect("an entry");
    }
    let mut length = async |stream: &str, length: usize| {
        let there: usize = redis::cmd("XLEN").arg(stream).query_async(&mut redis).await.expect("a length");
        (there >= length).then_some(())
    };
    eventually("an output", async || length("orders-done", 1).await).await;
    eventually("a dead letter", async || length("orders-dead", 1).await).await;
    let said = said(child);
    assert!(said.contains("failed: orders/shop "), "{said}");
    assert!(said.contains("2 events: 1 succeeded, 1 failed for good"), "{said}");
    assert!(
        redrive(&example(&server.folder, "redis-redrive.toml", &replaced)).contains("1 event sent again")
    );
    eventually("the event is there again", async || length("orders", 3).await).await;
}

/// What the commands of `nats.toml` print that need no program but bash.
fn asked(at: &str) -> String {
    let text = fs::read_to_string(examples().join("pipelines/nats.toml")).expect("the example");
    let commands = text.lines().skip_while(|line| !line.contains("in bash"));
    let commands: Vec<&str> = commands.filter_map(|line| line.strip_prefix("#   ")).collect();
    let script = commands.join("\n").replace("127.0.0.1/4222", &at.replace(':', "/"));
    let root = env!("CARGO_MANIFEST_DIR");
    let mut bash = Command::new("bash");
    let output = bash.args(["-ec", &script]).current_dir(root).answered();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_go_through_nats() {
    let Some(server) = servers::nats() else { return };
    let at = format!("127.0.0.1:{}", server.port);
    let replaced = [("127.0.0.1:4222", &*at)];
    // The commands that the description names, with the first order.
    let made = asked(&at);
    assert!(made.contains(r#""name":"RESULTS""#) && made.contains(r#""stream":"ORDERS""#), "{made}");
    assert!(!made.contains("error"), "{made}");
    let client = async_nats::connect(&at).await.expect("a connection");
    let context = async_nats::jetstream::new(client);
    let child = running(pipe(&example(&server.folder, "nats.toml", &replaced)).started());
    let (_, bad) = orders();
    let published = context.publish("orders.new", bad.into()).await.expect("a message");
    published.await.expect("it is kept");
    let messages = async |stream: &str, messages: u64| {
        let mut stream = context.get_stream(stream).await.expect("the stream");
        (stream.info().await.expect("its state").state.messages >= messages).then_some(())
    };
    eventually("an output and a dead letter", async || messages("RESULTS", 2).await).await;
    let said = said(child);
    assert!(said.contains("2 events: 1 succeeded, 1 failed for good"), "{said}");
    assert!(redrive(&example(&server.folder, "nats-redrive.toml", &replaced)).contains("1 event sent again"));
    eventually("the event is there again", async || messages("ORDERS", 3).await).await;
}

/// The body of what is at this address.
fn fetch(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("UTF-8");
    answer
}

#[test]
fn orders_are_posted_and_metrics_told() {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("webhook-example-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let config = example(&folder, "webhook.toml", &[("127.0.0.1:8084", "127.0.0.1:0")]);
    let mut child = pipe(&config).env("ORDERS_SECRET", "abc").started();
    let mut lines = std::io::BufReader::new(child.stderr.take().expect("its words"));
    let mut address = |before: &str, after: &str| loop {
        let mut line = String::new();
        assert!(
            std::io::BufRead::read_line(&mut lines, &mut line).expect("UTF-8") > 0,
            "{before} is not said"
        );
        if let Some(rest) = line.trim_end().strip_prefix(before) {
            return rest.strip_suffix(after).expect("the path").to_owned();
        }
    };
    let metrics = address("Metrics are at http://", "/metrics");
    let webhook = address("Post events to http://", "/orders");
    let (good, bad) = orders();
    let post = |order: &str| {
        let request = format!(
            "POST /orders HTTP/1.1\r\nhost: {webhook}\r\nx-secret: abc\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{order}",
            order.len()
        );
        fetch(&webhook, &request)
    };
    let answer = post(&good);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    post(&bad);
    let get = |path: &str| fetch(&metrics, &format!("GET {path} HTTP/1.1\r\nhost: {metrics}\r\n\r\n"));
    assert!(get("/health").ends_with("ok\n"));
    assert!(get("/ready").ends_with("\r\n\r\nready\n"));
    let rows = [
        "# HELP expressway_pipe_received_total Events that the source delivered for the first time.\n",
        "expressway_pipe_received_total 2\n",
        "expressway_pipe_redelivered_total 0\n",
        "expressway_pipe_succeeded_total 1\n",
        "expressway_pipe_failed_total 1\n",
        "expressway_pipe_in_flight 0\n",
    ];
    // An event is under way until its poster was answered, and a little longer.
    let begun = Instant::now();
    loop {
        let told = get("/metrics");
        let Some(row) = rows.iter().find(|row| !told.contains(*row)) else { break };
        assert!(begun.elapsed() < Duration::from_secs(60), "{row} is missing in: {told}");
    }
    let stats = get("/stats");
    let stats: serde_json::Value =
        serde_json::from_str(stats.rsplit("\r\n\r\n").next().expect("a body")).expect("JSON");
    assert_eq!((&stats["counts"]["dead"], &stats["lag"]), (&1.into(), &serde_json::Value::Null), "{stats}");
    assert!(
        stats["deadLetters"].as_str().is_some_and(|file| file.ends_with("orders-dead.ndjson")),
        "{stats}"
    );
    // A page of a foreign host name that resolves to this machine gets nothing.
    let foreign = fetch(&metrics, "GET /metrics HTTP/1.1\r\nhost: evil.example\r\n\r\n");
    assert!(foreign.starts_with("HTTP/1.1 421") && !foreign.contains("expressway_pipe"), "{foreign}");
    let without = fetch(&metrics, "GET /metrics HTTP/1.1\r\n\r\n");
    assert!(without.starts_with("HTTP/1.1 400"), "{without}");
    child.stderr = Some(lines.into_inner());
    assert_eq!(terminate(&mut child), Some(1));
    // A letter is sent once, however often the file is redriven.
    let again = example(&folder, "webhook-redrive.toml", &[]);
    assert_eq!(redrive(&again), "1 event sent again\n");
    assert_eq!(redrive(&again), "0 events sent again, 1 sent before (--all sends them)\n");
    let sent = fs::read_to_string(folder.join("orders-again.ndjson")).expect("the events");
    assert_eq!(sent, format!("{bad}\n"));
    let _ = fs::remove_dir_all(&folder);
}

/// Those of SQS and Kafka are run beside the other tests of these.
#[test]
fn all_descriptions_are_run() {
    let mut names: Vec<String> = fs::read_dir(examples().join("pipelines"))
        .expect("the examples")
        .map(|file| file.expect("a file").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    let brokers = ["kafka", "nats", "redis", "sqs", "webhook"];
    let known: Vec<String> =
        brokers.iter().flat_map(|it| [format!("{it}-redrive.toml"), format!("{it}.toml")]).collect();
    assert_eq!(names, known);
}

#[cfg(not(feature = "kafka"))]
#[test]
fn a_build_without_kafka_says_so() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("examples-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    for (command, name) in [("pipe", "kafka.toml"), ("redrive", "kafka-redrive.toml")] {
        let config = example(&folder, name, &[("127.0.0.1:9092", "127.0.0.1:1")]);
        let mut started = Command::new(env!("CARGO_BIN_EXE_expressway"));
        let output = started.arg(command).arg(config).answered();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("this build was made without the feature `kafka`"), "{said}");
    }
    let _ = fs::remove_dir_all(&folder);
}
