//! Pipelines beside the same work written by hand by an expert, in one run:
//!
//! * `lines`: W2 from standard input to standard output by the command, beside `jaq` with the same reshaping (`JAQ` is
//!   its path, else it is looked for in `PATH`).
//! * `nats`, `redis`: W2 from a stream to another, all acknowledged, beside a bare loop with the same client that
//!   passes bodies on as they are.
//!
//! Candidates take turns; medians are printed. A missing program is reported.

#[path = "../tests/servers/mod.rs"]
mod servers;
mod workloads;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, consumer::pull, stream};
use expressway::pipe::{Nats, NatsConsumer, NatsOptions, Pipe, Redis, RedisGroup, Sink, Source};
use expressway::runtime::Engine;
use futures_util::{FutureExt, StreamExt};
use redis::Value;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RESHAPE: &str = "{id: .order.id, qty: .order.qty, customer: {name: .customer.name, tier: .customer.tier}, \
    tags: .order.tags, source: \"express\", version: 3}";
/// Messages that a bare loop takes at once, and how many such batches are under way: a pipeline's defaults.
const BATCH: usize = 512;
const UNDER_WAY: usize = 19;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_test = arguments.iter().any(|argument| argument == "--test");
    let wanted = |part: &str| {
        let mut named = arguments.iter().filter(|argument| !argument.starts_with("--")).peekable();
        named.peek().is_none() || named.any(|argument| argument == part)
    };
    let (rounds, lines, messages) = if is_test { (1, 2_000, 500) } else { (5, 2_000_000, 200_000) };
    if wanted("lines") {
        of_lines(rounds, lines);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if wanted("nats") {
        runtime.block_on(of_nats(rounds, messages));
    }
    if wanted("redis") {
        runtime.block_on(of_redis(rounds, messages));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn show(what: &str, rate: f64, beside: Option<f64>) {
    match beside {
        Some(other) => println!("  {what:<44} {rate:>10.0} /s   {:.2} of it", rate / other),
        None => println!("  {what:<44} {rate:>10.0} /s"),
    }
}

// ---- lines ----

fn of_lines(rounds: usize, count: usize) {
    println!("lines of W2, from standard input to standard output; median of {rounds} rounds of {count}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pipe-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let workloads::Workload { definition, input } = workloads::workload("w2");
    std::fs::write(folder.join("w2.asl.json"), definition).unwrap();
    let config = folder.join("pipe.toml");
    let text = "definition = \"w2.asl.json\"\nsource = { type = \"stdin\" }\nsink = { type = \"stdout\" }\n\
        pipe = { order = \"outputs\" }\n";
    std::fs::write(&config, text).unwrap();
    let events = folder.join("events.ndjson");
    let mut file = BufWriter::new(File::create(&events).unwrap());
    for _ in 0..count {
        file.write_all(input.trim_ascii()).unwrap();
        file.write_all(b"\n").unwrap();
    }
    file.into_inner().unwrap();

    let expressway = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
        command.args(["pipe", "--quiet"]).arg(&config);
        command
    };
    let jaq = std::env::var_os("JAQ").map_or_else(|| PathBuf::from("jaq"), PathBuf::from);
    let jaq = || {
        let mut command = Command::new(&jaq);
        command.args(["-c", RESHAPE]);
        command
    };
    let has_jaq = jaq().stdin(Stdio::null()).stdout(Stdio::null()).status().is_ok();
    let run = |mut command: Command, to: Stdio| {
        let begun = Instant::now();
        let status = command.stdin(File::open(&events).unwrap()).stdout(to).status().unwrap();
        assert!(status.success(), "{command:?}: {status}");
        count as f64 / begun.elapsed().as_secs_f64()
    };
    let outputs = |command: Command, name: &str| {
        let file = folder.join(name);
        run(command, File::create(&file).unwrap().into());
        let text = std::fs::read(&file).unwrap();
        std::fs::remove_file(file).unwrap();
        text
    };
    let ours = outputs(expressway(), "ours");
    assert_eq!(ours.iter().filter(|&&byte| byte == b'\n').count(), count);
    if has_jaq {
        assert!(outputs(jaq(), "theirs") == ours, "jaq makes something else of the events");
    }
    let mut rates: [Vec<f64>; 2] = Default::default();
    for _ in 0..rounds {
        rates[0].push(run(expressway(), Stdio::null()));
        if has_jaq {
            rates[1].push(run(jaq(), Stdio::null()));
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
    let [ours, theirs] = rates;
    let theirs = has_jaq.then(|| median(theirs));
    match theirs {
        Some(rate) => show("jaq", rate, None),
        None => println!("  jaq is not installed (`cargo install jaq`), so nothing stands beside it"),
    }
    show("expressway pipe", median(ours), theirs);
}

// ---- brokers ----

/// Runs a pipeline of W2 until so many events are dealt with; events a second.
async fn pipeline(source: impl Source + 'static, sink: impl Sink + 'static, count: usize) -> f64 {
    let engine = Engine::builder().build().unwrap();
    let machine = engine.create_state_machine("w2", &workloads::workload("w2").definition).unwrap();
    let pipe = Pipe::new(engine, machine, source).sink(sink);
    let (stop, stats) = (pipe.stopper(), pipe.stats());
    let begun = Instant::now();
    let running = tokio::spawn(pipe.run());
    while stats.report().succeeded < count as u64 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.stop();
    running.await.unwrap().unwrap();
    count as f64 / begun.elapsed().as_secs_f64()
}

async fn of_nats(rounds: usize, count: usize) {
    println!("JetStream to JetStream, kept in files; median of {rounds} rounds of {count}");
    let Some(server) = servers::nats() else { return };
    let url = format!("nats://127.0.0.1:{}", server.port);
    let context = jetstream::new(async_nats::connect(&url).await.unwrap());
    for name in ["EVENTS", "OUT"] {
        let subjects = vec![name.to_lowercase()];
        let config = stream::Config { name: name.to_owned(), subjects, ..Default::default() };
        context.create_stream(config).await.unwrap();
    }
    let body = bytes::Bytes::from(workloads::workload("w2").input);
    for _ in 0..count.div_ceil(BATCH) {
        let mut sent = Vec::new();
        for _ in 0..BATCH {
            sent.push(context.publish("events", body.clone()).await.unwrap());
        }
        for sent in sent {
            sent.await.unwrap();
        }
    }
    let count = count.div_ceil(BATCH) * BATCH;
    let mut rates: [Vec<f64>; 2] = Default::default();
    for round in 0..rounds {
        context.get_stream("OUT").await.unwrap().purge().await.unwrap();
        rates[0].push(bare_nats(&url, &format!("bare{round}"), count).await);
        context.get_stream("OUT").await.unwrap().purge().await.unwrap();
        let nats = Nats::connect(&url, NatsOptions::default()).await.unwrap();
        let source = nats.source(NatsConsumer::new("EVENTS", format!("pipe{round}"))).await.unwrap();
        rates[1].push(pipeline(source, nats.sink("out"), count).await);
    }
    let [bare, ours] = rates.map(median);
    show("a bare async-nats loop", bare, None);
    show("a pipeline of W2", ours, Some(bare));
}

/// Takes messages, publishes them with ids, waits until they are kept, acknowledges; several batches side by side.
async fn bare_nats(url: &str, durable: &str, count: usize) -> f64 {
    let client = async_nats::connect(url).await.unwrap();
    let context = jetstream::context::ContextBuilder::new()
        .max_ack_inflight(16_384)
        .backpressure_on_inflight(true)
        .build(client.clone());
    let config = pull::Config {
        durable_name: Some(durable.to_owned()),
        max_ack_pending: 20_000,
        ..Default::default()
    };
    let stream = context.get_stream("EVENTS").await.unwrap();
    let consumer = stream.create_consumer(config).await.unwrap();
    let begun = Instant::now();
    let mut messages = consumer.stream().max_messages_per_batch(1_000).messages().await.unwrap();
    let (places, mut tasks) = (Arc::new(Semaphore::new(UNDER_WAY)), JoinSet::new());
    let mut taken = 0;
    while taken < count {
        let mut batch = vec![messages.next().await.unwrap().unwrap()];
        while batch.len() < BATCH
            && let Some(Some(message)) = messages.next().now_or_never()
        {
            batch.push(message.unwrap());
        }
        taken += batch.len();
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let (context, client, durable) = (context.clone(), client.clone(), durable.to_owned());
        tasks.spawn(async move {
            let mut kept = Vec::with_capacity(batch.len());
            for message in &batch {
                let sequence = message.info().unwrap().stream_sequence;
                let publish = PublishMessage::build().payload(message.payload.clone());
                let publish = publish.message_id(format!("EVENTS/{durable}/{sequence}"));
                kept.push(context.send_publish("out", publish).await.unwrap());
            }
            for kept in kept {
                kept.await.unwrap();
            }
            for message in &batch {
                message.ack().await.unwrap();
            }
            client.flush().await.unwrap();
            drop(place);
        });
    }
    tasks.join_all().await;
    count as f64 / begun.elapsed().as_secs_f64()
}

async fn of_redis(rounds: usize, count: usize) {
    println!("Redis Streams to Redis Streams, kept in a file; median of {rounds} rounds of {count}");
    let Some(server) = servers::redis() else { return };
    let url = format!("redis://127.0.0.1:{}", server.port);
    let client = redis::Client::open(&*url).unwrap();
    let mut connection = connect(&client).await;
    let body = workloads::workload("w2").input;
    for _ in 0..count.div_ceil(BATCH) {
        let mut commands = redis::pipe();
        (0..BATCH).for_each(|_| {
            commands.cmd("XADD").arg("events").arg("*").arg("body").arg(&body).ignore();
        });
        commands.exec_async(&mut connection).await.unwrap();
    }
    let count = count.div_ceil(BATCH) * BATCH;
    let mut rates: [Vec<f64>; 2] = Default::default();
    for round in 0..rounds {
        redis::cmd("DEL").arg("out").exec_async(&mut connection).await.unwrap();
        rates[0].push(bare_redis(&client, &format!("bare{round}"), count).await);
        redis::cmd("DEL").arg("out").exec_async(&mut connection).await.unwrap();
        let redis = Redis::connect(&url).await.unwrap();
        let source = redis.source(RedisGroup::new("events", format!("pipe{round}"))).await.unwrap();
        rates[1].push(pipeline(source, redis.sink("out"), count).await);
    }
    let [bare, ours] = rates.map(median);
    show("a bare loop", bare, None);
    show("a pipeline of W2", ours, Some(bare));
}

async fn connect(client: &redis::Client) -> MultiplexedConnection {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// Takes entries on one connection; on another adds them and acknowledges, several batches side by side.
async fn bare_redis(client: &redis::Client, group: &str, count: usize) -> f64 {
    let (mut reading, writing) = (connect(client).await, connect(client).await);
    redis::cmd("XGROUP").arg(&["CREATE", "events", group, "0"]).exec_async(&mut reading).await.unwrap();
    let begun = Instant::now();
    let (places, mut tasks) = (Arc::new(Semaphore::new(UNDER_WAY)), JoinSet::new());
    let mut taken = 0;
    while taken < count {
        let mut command = redis::cmd("XREADGROUP");
        command.arg(&["GROUP", group, "bare", "COUNT"]).arg(BATCH).arg(&["STREAMS", "events", ">"]);
        let answer = command.query_async(&mut reading).await.unwrap();
        let (mut add, mut done) = (redis::Pipeline::with_capacity(BATCH), redis::cmd("XACK"));
        done.arg("events").arg(group);
        let Value::Array(streams) = answer else { continue };
        let Some(Value::Array(stream)) = streams.into_iter().next() else { continue };
        let Some(Value::Array(entries)) = stream.into_iter().nth(1) else { continue };
        taken += entries.len();
        for entry in entries {
            let Value::Array(entry) = entry else { continue };
            if let [Value::BulkString(id), Value::Array(fields)] = entry.as_slice()
                && let Some(Value::BulkString(body)) = fields.get(1)
            {
                add.cmd("XADD").arg("out").arg("*").arg("body").arg(body);
                done.arg(id);
            }
        }
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let mut writing = writing.clone();
        tasks.spawn(async move {
            writing.req_packed_commands(&add, 0, add.len()).await.unwrap();
            done.exec_async(&mut writing).await.unwrap();
            drop(place);
        });
    }
    tasks.join_all().await;
    count as f64 / begun.elapsed().as_secs_f64()
}
