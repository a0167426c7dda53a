//! The flow on PostgreSQL and on three servers of NATS JetStream, beside what the same server takes of bare blocks from
//! one client: each as large as a block of so many records, one after the other, each acknowledged when it is durable.
//! Servers, client and engine share this machine and its disk.

use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use expressway::journal::cluster::Cluster;
use expressway::runtime::Durable;

use super::bed::{Bed, Loop, ORDER, closed_loop, filler};
use super::engines::{Engine, Nats, Postgres, Sync};

/// Records of an execution: its start, and the answers of three tasks.
const TURNS: u64 = 4;

pub(super) fn cluster(_: &Path, is_test: bool) {
    println!(
        "| server | in flight | transitions/s | turn to durable p50, p99 ms | records/s | bare blocks: bytes, records/s | of bare |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|");
    if let Some(server) = Postgres::start() {
        for partitions in [1, 64] {
            let name = if partitions == 1 { "PostgreSQL" } else { "PostgreSQL, 64 partitions" };
            measure((name, partitions), &server.url(), is_test, |block, budget| {
                postgres(&server.url(), block, budget)
            });
        }
    }
    if let Some(server) = Nats::start_several(3, Sync::Always) {
        for partitions in [1, 64] {
            let name =
                if partitions == 1 { "JetStream, 3 servers" } else { "JetStream, 3 servers, 64 partitions" };
            measure((name, partitions), &server.url_with(""), is_test, |block, budget| {
                jetstream(&server.url_with(""), block, budget)
            });
        }
    }
}

/// `bare` appends blocks for so long, and returns how many a second.
fn measure(
    (server, partitions): (&str, u16),
    url: &str,
    is_test: bool,
    bare: impl Fn(&[u8], Duration) -> f64,
) {
    let budget = Duration::from_millis(if is_test { 20 } else { 4_000 });
    for in_flight in [64, 1_024] {
        let name = format!("flow-{partitions}-{in_flight}");
        let cluster = || Cluster::new(url, &name).expect("a URL and a name").spread(partitions > 1);
        let bed = Bed::new(|| Some(Durable::cluster(cluster())), ORDER);
        for partition in (0..partitions).filter(|_| partitions > 1) {
            let taken = bed.engine.take_partition(partition).expect("a partition");
            assert_eq!(taken.map(|executions| executions.len()), Some(0), "it is new");
        }
        for _ in 0..if is_test { 1 } else { 3 } {
            let before = bed.engine.recorded_bytes();
            let kept: Loop = closed_loop(&bed, in_flight, budget);
            let written = (kept.executions * TURNS) as f64;
            let records = written / kept.whole.as_secs_f64();
            let each = (bed.engine.recorded_bytes() - before) as f64 / written;
            let block = filler(7, (each * in_flight as f64) as usize);
            let bare_records = bare(block.as_bytes(), budget) * in_flight as f64;
            println!(
                "| {server} | {in_flight} | {:.0} | {:.2}, {:.2} | {records:.0} | {}, {bare_records:.0} | {:.2} |",
                kept.transitions(),
                kept.ms(0.5),
                kept.ms(0.99),
                block.len(),
                records / bare_records
            );
        }
    }
}

fn blocks_a_second(appended: u64, begin: Instant) -> f64 {
    appended as f64 / begin.elapsed().as_secs_f64()
}

fn tokio<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// A row for each block, each in a transaction of its own.
fn postgres(url: &str, block: &[u8], budget: Duration) -> f64 {
    tokio(async {
        let (client, connection) =
            tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("the server");
        tokio::spawn(connection);
        let table = "CREATE TABLE IF NOT EXISTS bare (lsn bigserial PRIMARY KEY, bytes bytea NOT NULL)";
        client.batch_execute(table).await.expect("a table");
        let insert = client.prepare("INSERT INTO bare (bytes) VALUES ($1)").await.expect("a statement");
        let (begin, mut appended) = (Instant::now(), 0);
        while begin.elapsed() < budget {
            client.execute(&insert, &[&block]).await.expect("a row");
            appended += 1;
        }
        let rate = blocks_a_second(appended, begin);
        client.batch_execute("DROP TABLE bare").await.expect("it is gone");
        rate
    })
}

/// A message for each block, on three servers that sync each write.
fn jetstream(url: &str, block: &[u8], budget: Duration) -> f64 {
    let servers = url.split('?').next().unwrap_or(url).trim_start_matches("nats://");
    let servers: Vec<String> = servers.split(',').map(|server| format!("nats://{server}")).collect();
    tokio(async {
        let client = async_nats::connect(servers).await.expect("the servers");
        let context = jetstream::new(client);
        let stream = jetstream::stream::Config {
            name: "bare".into(),
            subjects: vec!["bare".into()],
            num_replicas: 3,
            ..Default::default()
        };
        context.create_stream(stream).await.expect("a stream");
        let block = bytes::Bytes::copy_from_slice(block);
        let (begin, mut appended) = (Instant::now(), 0);
        while begin.elapsed() < budget {
            let acknowledged = context.publish("bare", block.clone()).await.expect("it is sent");
            acknowledged.await.expect("it is kept");
            appended += 1;
        }
        let rate = blocks_a_second(appended, begin);
        context.delete_stream("bare").await.expect("it is gone");
        rate
    })
}
