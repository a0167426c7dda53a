//! Pipelines on librdkafka's mock cluster, over TCP.
//!
//! `EXPRESSWAY_KILLS=200 cargo test --features full,kafka --test pipelines kafka` kills 200 processes instead of a few.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::servers::pipelines::{self, Bench as _, JUDGE, Kills, TWICE};
use crate::servers::{Starts as _, expressway, nothing_forks, pipeline, terminate};
use crate::{examples, lag};
use expressway::pipe::{Batch, Disposition, Kafka, KafkaSource, KeyOf, Order, Pipe, PipeError, Room, Source};
use expressway::runtime::Engine;
use expressway::task;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const ROOM: Room = Room { events: 100, bytes: 1 << 20, linger: Duration::from_millis(20) };
const PARTITIONS: i32 = 2;

/// A cluster with the topics `events`, `out` and `dead`.
struct Bench {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: FutureProducer,
    folder: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Bench {
        let cluster = MockCluster::new(1).expect("a cluster");
        for topic in ["events", "out", "dead"] {
            cluster.create_topic(topic, PARTITIONS, 1).expect("a topic");
        }
        let mut config = ClientConfig::new();
        let producer =
            config.set("bootstrap.servers", cluster.bootstrap_servers()).create().expect("a producer");
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Bench { cluster, producer, folder }
    }

    /// Its broker is away. That binds its port anew, which a child that has yet to execute its program would prevent.
    fn goes(&self) {
        let _forks = nothing_forks();
        self.cluster.broker_down(1).expect("it goes");
    }

    fn kafka(&self) -> Kafka {
        // A member that was killed is missed soon.
        Kafka::new(self.cluster.bootstrap_servers()).set("session.timeout.ms", "6000")
    }

    async fn source(&self) -> KafkaSource {
        self.kafka().source("worker", &["events"]).await.expect("a source")
    }

    fn config(&self, definition: &str, more: &str) -> PathBuf {
        std::fs::write(self.folder.join("it.asl.json"), definition).expect("a file");
        let servers = self.cluster.bootstrap_servers();
        let text = format!(
            r#"
definition = "it.asl.json"
[source]
type = "kafka"
servers = "{servers}"
group = "worker"
topics = ["events"]
properties = {{ "session.timeout.ms" = "6000", "reconnect.backoff.max.ms" = "500" }}
[sink]
type = "kafka"
servers = "{servers}"
topic = "out"
[dead_letters]
type = "kafka"
servers = "{servers}"
topic = "dead"
{more}
"#
        );
        let file = self.folder.join("pipe.toml");
        std::fs::write(&file, text).expect("a file");
        file
    }

    /// All messages of a topic, by partition.
    fn texts(&self, topic: &str) -> Vec<Vec<Vec<u8>>> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", "reader")
            .create()
            .expect("a consumer");
        let mut all = Vec::new();
        for partition in 0..PARTITIONS {
            let (_, end) =
                consumer.fetch_watermarks(topic, partition, Duration::from_secs(10)).expect("the end");
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
            consumer.assign(&list).expect("it is assigned");
            let mut texts = Vec::new();
            while (texts.len() as i64) < end {
                if let Some(message) = consumer.poll(Duration::from_secs(10)) {
                    texts.push(message.expect("a message").payload().expect("a body").to_vec());
                }
            }
            all.push(texts);
        }
        all
    }

    /// Messages of `events` that the group has not committed.
    fn lag(&self) -> i64 {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", "worker")
            .create()
            .expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_range("events", 0, PARTITIONS - 1);
        let committed = consumer.committed_offsets(list, Duration::from_secs(10)).expect("offsets");
        let partitions = committed.elements();
        let lags = partitions.iter().map(|it| {
            let watermarks = consumer.fetch_watermarks("events", it.partition(), Duration::from_secs(10));
            watermarks.expect("the end").1 - it.offset().to_raw().unwrap_or(0).max(0)
        });
        lags.sum()
    }
}

impl pipelines::Bench for Bench {
    const PATIENCE: Duration = Duration::from_secs(150);

    async fn publish(&self, events: std::ops::Range<u64>) {
        let mut reports = Vec::new();
        for n in events {
            let (key, body) = (format!("k{}", n % 7), format!("{{\"n\":{n}}}"));
            let sent = self.producer.send_result(FutureRecord::to("events").key(&key).payload(&body));
            reports.push(sent.map_err(|(error, _)| error).expect("it is sent"));
        }
        for report in reports {
            report.await.expect("a report").map_err(|(error, _)| error).expect("it is kept");
        }
    }

    async fn left(&self) -> Option<String> {
        let lag = self.lag();
        (lag != 0).then(|| format!("{lag} not committed"))
    }

    async fn outputs(&self) -> Vec<Vec<u8>> {
        self.texts("out").into_iter().flatten().collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn receive(source: &mut KafkaSource) -> Batch {
    source.receive(ROOM).await.expect("the cluster answers").expect("it never ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_processes_are_killed() {
    let bench = Bench::new("killed");
    let config = bench.config(TWICE, "");
    let (start, run) = (|| expressway(&["pipe", "--quiet"], &config), || pipeline(&config));
    let kills = Kills { start: &start, run: &run, usually: 3, events: 200, milliseconds_max: 1_500 };
    pipelines::killed(&bench, kills).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_stay_in_order_and_what_fails_is_a_dead_letter() {
    let bench = Bench::new("order");
    bench.publish(0..100).await;
    let engine = Engine::builder().shards(1).build().expect("an engine");
    let machine = engine.create_state_machine("judge", JUDGE).expect("a machine");
    let pipe = Pipe::new(engine, machine, bench.source().await)
        .sink(bench.kafka().sink("out").expect("a sink"))
        .dead_letters(bench.kafka().sink("dead").expect("a sink"))
        .attempts(expressway::pipe::Attempts { max: 2, delay: Duration::ZERO, ..Default::default() })
        .order(Order::Key(KeyOf::source()));
    let stop = pipe.stopper();
    let running = tokio::spawn(pipe.run());
    bench.wait_until_done().await;
    stop.stop();
    let report = running.await.expect("no panic").expect("it ends well");
    assert_eq!((report.received, report.succeeded, report.dead, report.again), (100, 97, 3, 3));
    assert_eq!(bench.numbers().await.into_keys().collect::<Vec<_>>(), (3..100).collect::<Vec<_>>());
    for texts in bench.texts("out") {
        let mut last = BTreeMap::<u64, u64>::new();
        for text in texts {
            let value: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
            let n = value["n"].as_u64().expect("a number");
            assert!(last.insert(n % 7, n).is_none_or(|before| before < n), "{n} of its key came too late");
        }
    }
    let letters: Vec<Vec<u8>> = bench.texts("dead").into_iter().flatten().collect();
    pipelines::check_dead_letters(&letters, "events", 1);
    for letter in letters {
        let letter: serde_json::Value = serde_json::from_slice(&letter).expect("JSON");
        assert!(letter["key"].as_str().is_some_and(|key| key.starts_with('k')), "{letter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_behind_an_open_message_comes_again() {
    let bench = Bench::new("watermark");
    bench.publish(0..20).await;
    let mut source = bench.source().await;
    let mut batches = Vec::new();
    while batches.iter().map(Batch::len).sum::<usize>() < 20 {
        batches.push(receive(&mut source).await);
    }
    // The very first of each partition stays open; all others are settled.
    let mut opened = std::collections::BTreeSet::new();
    for batch in &batches {
        let events = 0..batch.len() as u32;
        let done: Vec<_> = events
            .filter(|&n| {
                let id = batch.provenance(n as usize).id;
                !opened.insert(id.split('/').next().expect("a partition").to_owned())
            })
            .map(|n| (n, Disposition::Done))
            .collect();
        batch.receipts().settle(&done).await.expect("it is told");
    }
    source.close().await;
    drop((source, batches));
    assert_eq!(bench.lag(), 20, "nothing is settled in a row");
    let mut source = bench.source().await;
    let mut bodies = std::collections::BTreeSet::new();
    while bodies.len() < 20 {
        let batch = receive(&mut source).await;
        // Another process may have received them: this one cannot know.
        assert!((0..batch.len()).all(|n| batch.provenance(n).deliveries == 1));
        if bodies.is_empty() {
            assert_eq!(lag(&source).await, Some(20), "what is not settled waits");
        }
        bodies.extend((0..batch.len()).map(|n| batch.body(n).to_vec()));
        let done: Vec<_> = (0..batch.len() as u32).map(|n| (n, Disposition::Done)).collect();
        batch.receipts().settle(&done).await.expect("it is told");
    }
    source.close().await;
    assert_eq!(bench.lag(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_goes_away_is_waited_for() {
    let mut bench = Bench::new("away");
    let child = pipeline(&bench.config(TWICE, ""));
    let away = async |bench: &mut Bench| {
        bench.goes();
        tokio::time::sleep(Duration::from_secs(2)).await;
        bench.cluster.broker_up(1).expect("it is back");
    };
    pipelines::gone(&mut bench, child, away).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_lost_while_nothing_flows_is_told() {
    let mut bench = Bench::new("idle");
    let mut pipe = pipelines::speaking(&bench.config(TWICE, "[pipe]\nmetrics = \"127.0.0.1:0\""));
    let at = format!("kafka {}", bench.cluster.bootstrap_servers());
    let ends = ["source ", "sink ", "dead-letter sink "].iter().zip(["events", "out", "dead"]);
    let ends: Vec<String> = ends.map(|(end, of)| format!("{end}{at} {of}")).collect();
    let gone = |bench: &mut Bench| bench.goes();
    let back = |bench: &mut Bench| bench.cluster.broker_up(1).expect("it is back");
    pipelines::lost_while_idle(&mut bench, &mut pipe, &ends, [&gone, &back]);
    pipelines::goes_on(&bench, pipe).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_comes_after_the_pipeline_is_waited_for() {
    let mut bench = Bench::new("later");
    let config = bench.config(TWICE, "[pipe]\nmetrics = \"127.0.0.1:0\"");
    let at = format!("kafka {}", bench.cluster.bootstrap_servers());
    let ends = [("source", "events"), ("sink", "out"), ("dead-letter sink", "dead")];
    let ends = ends.map(|(end, of)| format!("{end} {at} {of}"));
    bench.goes();
    let back = |bench: &mut Bench| bench.cluster.broker_up(1).expect("it comes");
    let pipe = pipelines::away_at_start(&mut bench, &config, &ends, &back);
    pipelines::goes_on(&bench, pipe).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_does_not_exist_at_the_start_is_told_and_waited_for() {
    let bench = Bench::new("topic");
    let config = bench.config(TWICE, "");
    let text = std::fs::read_to_string(&config).expect("the description");
    std::fs::write(&config, text.replace("[\"events\"]", "[\"later\"]")).expect("a file");
    let (mut child, mut said) = pipelines::speaking(&config);
    let source = format!("The source kafka {} later ", bench.cluster.bootstrap_servers());
    said.until(&[format!(
        "{source}failed and is retried: Kafka: there is no topic later: create it, or correct"
    )]);
    bench.cluster.create_topic("later", PARTITIONS, 1).expect("a topic");
    said.until(&[format!("{source}recovered after "), "The pipeline runs.".to_owned()]);
    assert_eq!(terminate(&mut child), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_go_through_the_example() {
    let bench = Bench::new("example");
    for topic in ["orders", "orders-done", "orders-dead"] {
        bench.cluster.create_topic(topic, PARTITIONS, 1).expect("a topic");
    }
    let servers = bench.cluster.bootstrap_servers();
    let replaced = [("127.0.0.1:9092", &*servers)];
    let config = examples::example(&bench.folder, "kafka.toml", &replaced);
    let child = crate::servers::running(examples::pipe(&config).started());
    let (good, bad) = examples::orders();
    for order in [&good, &bad] {
        let record = FutureRecord::<str, str>::to("orders").payload(order);
        bench.producer.send(record, Duration::from_secs(10)).await.expect("it is kept");
    }
    let count = |topic: &str| bench.texts(topic).iter().map(Vec::len).sum::<usize>();
    let both = async || (count("orders-done") >= 1 && count("orders-dead") >= 1).then_some(());
    examples::eventually("an output and a dead letter", both).await;
    let said = examples::said(child);
    assert!(said.contains("2 events: 1 succeeded, 1 failed for good"), "{said}");
    let config = examples::example(&bench.folder, "kafka-redrive.toml", &replaced);
    let mut redrive = std::process::Command::new(env!("CARGO_BIN_EXE_expressway"));
    redrive.arg("redrive").arg(config);
    let said = examples::redriven(redrive);
    assert!(said.contains("1 event sent again"), "{said}");
    assert_eq!(count("orders"), 3, "the event is there again");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_publish() {
    let bench = Bench::new("tasks");
    let producer = bench.kafka().set("message.max.bytes", "1000").producer().expect("a producer");
    let engine = Engine::builder().async_handler(task::kafka::PRODUCE, task::kafka::produce(producer));
    let engine = engine.build().expect("an engine");
    let definition = r#"{"StartAt": "Tell", "States": {"Tell": {"Type": "Task", "End": true,
        "Resource": "arn:aws:states:::kafka:produce", "Parameters": {"Topic.$": "$.topic", "Key": "k", "Value.$": "$",
        "Headers": {"kind": "new"}, "Partition": 1}}}}"#;
    let machine = engine.create_state_machine("tell", definition).expect("a machine");
    let outcome = engine.run(&machine, r#"{"topic":"out","n":1}"#).await.expect("it begins");
    let output: serde_json::Value = outcome.output().unwrap_or_else(|fault| panic!("{fault:?}"));
    assert_eq!(output, serde_json::json!({"Topic": "out", "Partition": 1, "Offset": 0}));
    assert_eq!(bench.texts("out")[1], [br#"{"topic":"out","n":1}"#.to_vec()]);
    let large = format!("{{\"topic\":\"out\",\"text\":\"{}\"}}", "x".repeat(2_000));
    let outcome = engine.run(&machine, large).await.expect("it begins");
    let error = outcome.fault.and_then(|fault| fault.error).unwrap_or_default();
    assert_eq!(error, "Kafka.MessageSizeTooLarge");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_by_name() {
    let bench = Bench::new("refused");
    let wrong = bench.kafka().set("no.such.property", "1").source("worker", &["events"]).await;
    assert!(matches!(&wrong, Err(PipeError::Refused(why)) if why.contains("no.such.property")), "{wrong:?}");
    let none = bench.kafka().source("worker", &["nosuch"]).await;
    let why = "Kafka: there is no topic nosuch: create it, or correct the name";
    assert!(matches!(&none, Err(PipeError::Absent(it)) if it == why), "{none:?}");
    let absent = Kafka::new("127.0.0.1:1").source("worker", &["events"]).await;
    assert!(matches!(absent, Err(PipeError::Away(_))), "{absent:?}");
}
