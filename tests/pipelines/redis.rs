//! Pipelines on a real Redis server: nothing is lost when processes are killed or the server goes away.
//!
//! `EXPRESSWAY_KILLS=200 cargo test --features full --test pipelines redis` kills 200 processes instead of a few.

use crate::servers;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::lag;
use crate::servers::pipelines::{self, Bench as _, JUDGE, Kills, TWICE};
use crate::servers::{Server, Stall, expressway, pipeline, terminate};
use expressway::pipe::{
    Batch, Disposition, End, Pipe, PipeError, Redis, RedisGroup, RedisSource, Room, Source,
};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Value};

const ROOM: Room = Room { events: 100, bytes: 1 << 20, linger: Duration::ZERO };

/// The fields of an entry.
type Fields = Vec<(String, Vec<u8>)>;

/// What is between a test and its server.
struct Bench {
    server: Server,
    client: redis::Client,
}

impl Bench {
    fn new() -> Option<Bench> {
        let server = servers::redis()?;
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port)).expect("a client");
        Some(Bench { server, client })
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.server.port)
    }

    async fn connection(&self) -> MultiplexedConnection {
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(30)));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await;
        connection.expect("a connection")
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.server.folder.join(name);
        std::fs::write(&file, text).expect("a file");
        file
    }

    /// The description of a pipeline from `events` to `out`, over this port.
    fn config(&self, definition: &str, port: u16, more: &str) -> PathBuf {
        let url = format!("redis://127.0.0.1:{port}");
        let text = format!(
            r#"
definition = "{definition}"
source = {{ type = "redis", url = "{url}", stream = "events", group = "worker", idle = 1.0 }}
sink = {{ type = "redis", url = "{url}", stream = "out" }}
dead_letters = {{ type = "redis", url = "{url}", stream = "dead" }}
[pipe]
{more}
"#
        );
        self.file("pipe.toml", &text)
    }

    async fn texts(&self, stream: &str) -> Vec<Vec<u8>> {
        let mut connection = self.connection().await;
        let entries: Vec<(String, Fields)> = redis::cmd("XRANGE")
            .arg(stream)
            .arg("-")
            .arg("+")
            .query_async(&mut connection)
            .await
            .expect("entries");
        entries.into_iter().map(|(_, mut fields)| fields.remove(0).1).collect()
    }

    /// All entries that were delivered and not settled look as if nobody had touched them for so many milliseconds.
    async fn let_idle(&self, stream: &str, milliseconds: u64) {
        let mut connection = self.connection().await;
        let pending: Vec<(String, String, u64, u64)> = redis::cmd("XPENDING")
            .arg(&[stream, "worker", "-", "+", "100"])
            .query_async(&mut connection)
            .await
            .expect("pending entries");
        for (id, consumer, ..) in pending {
            let mut claim = redis::cmd("XCLAIM");
            claim.arg(&[stream, "worker", &consumer, "0", &id, "IDLE", &milliseconds.to_string(), "JUSTID"]);
            claim.exec_async(&mut connection).await.expect("it is claimed");
        }
    }

    async fn source(&self, idle: Duration) -> RedisSource {
        let redis = Redis::connect(&self.url()).await.expect("a connection");
        let group = RedisGroup { idle, ..RedisGroup::new("events", "worker") };
        redis.source(group).await.expect("a source")
    }
}

impl pipelines::Bench for Bench {
    async fn publish(&self, events: std::ops::Range<u64>) {
        let mut connection = self.connection().await;
        let mut commands = redis::pipe();
        for n in events {
            commands.cmd("XADD").arg("events").arg("*").arg("body").arg(format!("{{\"n\":{n}}}")).ignore();
        }
        commands.exec_async(&mut connection).await.expect("they are kept");
    }

    async fn left(&self) -> Option<String> {
        let mut connection = self.connection().await;
        let groups: Vec<BTreeMap<String, Value>> = redis::cmd("XINFO")
            .arg("GROUPS")
            .arg("events")
            .query_async(&mut connection)
            .await
            .expect("groups");
        let count = |name: &str| match groups.first().and_then(|group| group.get(name)) {
            Some(Value::Int(count)) => *count,
            _ => -1,
        };
        let (lag, pending) = (count("lag"), count("pending"));
        ((lag, pending) != (0, 0)).then(|| format!("{lag} to come, {pending} not settled"))
    }

    async fn outputs(&self) -> Vec<Vec<u8>> {
        self.texts("out").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_processes_are_killed() {
    let Some(bench) = Bench::new() else { return };
    bench.file("twice.asl.json", TWICE);
    let config = bench.config("twice.asl.json", bench.server.port, "batch = 64");
    let (start, run) = (|| expressway(&["pipe", "--quiet"], &config), || pipeline(&config));
    pipelines::killed(
        &bench,
        Kills { start: &start, run: &run, usually: 5, events: 500, milliseconds_max: 150 },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_waited_for() {
    let Some(mut bench) = Bench::new() else { return };
    bench.file("twice.asl.json", TWICE);
    bench.publish(0..1).await;
    let child = pipeline(&bench.config("twice.asl.json", bench.server.port, "batch = 16"));
    let away = async |bench: &mut Bench| {
        bench.server.kill();
        // Longer than one try to connect takes.
        tokio::time::sleep(Duration::from_millis(700)).await;
        bench.server.start();
    };
    pipelines::gone(&mut bench, child, away).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_lost_while_nothing_flows_is_told() {
    let Some(mut bench) = Bench::new() else { return };
    bench.file("twice.asl.json", TWICE);
    let config = bench.config("twice.asl.json", bench.server.port, "metrics = \"127.0.0.1:0\"");
    let mut pipe = pipelines::speaking(&config);
    let at = bench.url();
    let ends = ["source ", "sink ", "dead-letter sink "].iter().zip(["events/worker", "out", "dead"]);
    let ends: Vec<String> = ends.map(|(end, of)| format!("{end}{at} {of}")).collect();
    let (kill, start) = (|server: &mut Server| server.kill(), |server: &mut Server| server.start());
    pipelines::lost_while_idle(&mut bench.server, &mut pipe, &ends, [&kill, &start]);
    // The name may be a mistake.
    let made = "the stream events did not exist: it was created, with the group worker".to_owned();
    assert!(pipe.1.all.contains(&made), "{}", pipe.1.all);
    // A stream that is removed, too.
    let () = bench.connection().await.del("events").await.expect("it is removed");
    let [failed, recovered] =
        ["failed and is retried: Redis: ", "recovered after "].map(|what| format!("The {} {what}", ends[0]));
    pipe.1.until(&[failed, made, recovered]);
    pipelines::goes_on(&bench, pipe).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_after_the_pipeline_is_waited_for() {
    let Some(mut bench) = Bench::new() else { return };
    bench.file("twice.asl.json", TWICE);
    let config = bench.config("twice.asl.json", bench.server.port, "metrics = \"127.0.0.1:0\"");
    let ends = [("source", "events"), ("sink", "out"), ("dead-letter sink", "dead")];
    let ends = ends.map(|(end, of)| format!("{end} {} {of}", bench.url()));
    bench.server.kill();
    let start = |server: &mut Server| server.start();
    let pipe = pipelines::away_at_start(&mut bench.server, &config, &ends, &start);
    pipelines::goes_on(&bench, pipe).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_someone_can_put_right_is_waited_for() {
    let Some(bench) = Bench::new() else { return };
    bench.file("twice.asl.json", TWICE);
    let mut connection = bench.connection().await;
    let () = connection.set("out", "no stream").await.expect("it is kept");
    let (mut child, mut said) = pipelines::speaking(&bench.config("twice.asl.json", bench.server.port, ""));
    let failed = format!("The sink {} out failed and is retried: Redis: ", bench.url());
    // At the start by a check, while it runs by the first output.
    said.until(&[format!("{failed}the key out is a string, not a stream")]);
    let () = connection.del("out").await.expect("it is removed");
    said.until(&["The pipeline runs."]);
    let () = connection.set("out", "no stream").await.expect("it is kept");
    bench.publish(0..3).await;
    said.until(&[failed]);
    said.until(&["attempts in", "WRONGTYPE"]);
    let () = connection.del("out").await.expect("it is removed");
    bench.wait_until_done().await;
    assert_eq!(terminate(&mut child), Some(0));
    assert_eq!((bench.texts("out").await.len(), bench.texts("dead").await.len()), (3, 0), "{}", said.rest());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_cut_off_for_a_while_is_waited_for() {
    let Some(bench) = Bench::new() else { return };
    let stall = Stall::before(bench.server.port);
    bench.file("twice.asl.json", TWICE);
    bench.publish(0..1).await;
    let child = pipeline(&bench.config("twice.asl.json", stall.port, "batch = 16"));
    // Longer than an answer may take, so that connections are given up.
    pipelines::cut_off(&bench, child, &stall, Duration::from_secs(7)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_a_dead_letter_and_can_be_sent_again() {
    let Some(bench) = Bench::new() else { return };
    bench.file("judge.asl.json", JUDGE);
    let config = bench.config(
        "judge.asl.json",
        bench.server.port,
        "attempts = 2\nretry_delay = 0.05\nmetrics = \"127.0.0.1:0\"",
    );
    bench.publish(0..20).await;
    let (mut child, mut said) = pipelines::speaking(&config);
    let counted_once = pipelines::counted_once(&mut said);
    bench.wait_until_done().await;
    counted_once();
    assert_eq!(terminate(&mut child), Some(1), "some events failed for good");
    assert_eq!(bench.numbers().await.into_keys().collect::<Vec<_>>(), (3..20).collect::<Vec<_>>());
    pipelines::check_dead_letters(&bench.texts("dead").await, "events/worker", 2);

    let url = bench.url();
    let redrive = bench.file(
        "redrive.toml",
        &format!(
            r#"
source = {{ type = "redis", url = "{url}", stream = "dead", group = "redrive" }}
sink = {{ type = "redis", url = "{url}", stream = "events" }}
"#
        ),
    );
    pipelines::redrive(&redrive, async || bench.texts("events").await).await;
}

/// Receives until there is something; errors do not matter in this test.
async fn receive(source: &mut RedisSource) -> Batch {
    source.receive(ROOM).await.expect("the server answers").expect("it never ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoned_entries_are_claimed_and_those_still_worked_at_are_not() {
    let Some(bench) = Bench::new() else { return };
    bench.publish(0..2).await;
    let idle = Duration::from_secs(60);
    let (mut one, mut other) = (bench.source(idle).await, bench.source(idle).await);
    let first = receive(&mut one).await;
    assert_eq!((first.len(), first.provenance(0).deliveries), (2, 1));
    // Both look as if they were idle for too long; the second is worked at, the first is abandoned.
    bench.let_idle("events", 100_000).await;
    first.receipts().extend(&[1]).await.expect("the server answers");
    let claimed = receive(&mut other).await;
    assert_eq!((claimed.len(), claimed.body(0), claimed.provenance(0).deliveries), (1, &b"{\"n\":0}"[..], 2));
    first.receipts().settle(&[(1, Disposition::Done)]).await.expect("the server answers");

    // Given back, it comes again after the delay, before it would count as abandoned.
    let delay = Duration::from_millis(100);
    let begun = Instant::now();
    claimed.receipts().settle(&[(0, Disposition::Retry(delay))]).await.expect("the server answers");
    let again = receive(&mut other).await;
    assert_eq!((again.body(0), again.provenance(0).deliveries), (&b"{\"n\":0}"[..], 3));
    assert!(begun.elapsed() >= delay, "{:?}", begun.elapsed());
    again.receipts().settle(&[(0, Disposition::Done)]).await.expect("the server answers");
    bench.wait_until_done().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_by_name() {
    let Some(bench) = Bench::new() else { return };
    let mut connection = bench.connection().await;
    let () = connection.set("text", "no stream").await.expect("it is kept");
    let redis = Redis::connect(&bench.url()).await.expect("a connection");
    let wrong = redis.source(RedisGroup::new("text", "worker")).await.expect_err("no stream");
    assert!(matches!(&wrong, PipeError::Refused(why) if why.contains("WRONGTYPE")), "{wrong}");
    let wrong = Redis::connect("http://127.0.0.1").await.expect_err("no URL of Redis");
    assert!(matches!(wrong, PipeError::Refused(_)), "{wrong}");
    let absent = Redis::connect("redis://127.0.0.1:1").await.expect_err("nobody listens");
    assert!(matches!(absent, PipeError::Away(_)), "{absent}");
    let mut password = redis::cmd("CONFIG");
    password.arg("SET").arg("requirepass").arg("secret");
    password.exec_async(&mut connection).await.expect("a password");
    let stranger = Redis::connect(&bench.url()).await.expect_err("no password is given");
    assert!(matches!(&stranger, PipeError::Refused(why) if why.contains("NOAUTH")), "{stranger}");
    // A user that may add to streams, and do nothing else.
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER").arg("writer").arg("on").arg(">pw").arg("~*").arg("+xadd").arg("-ping");
    user.exec_async(&mut connection).await.expect("a user");
    let writer = bench.url().replace("://", "://writer:pw@");
    Redis::connect(&writer).await.expect("it needs no other command");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_without_a_body_are_objects_of_their_fields() {
    let Some(bench) = Bench::new() else { return };
    let mut connection = bench.connection().await;
    let mut add = redis::cmd("XADD");
    add.arg("events").arg("*").arg("kind").arg("new").arg("total").arg("12.5");
    add.exec_async(&mut connection).await.expect("it is kept");
    let mut source = bench.source(Duration::from_secs(30)).await;
    // The server counts waiting entries since version 7.
    assert_eq!(lag(&source).await, Some(1));
    let batch = receive(&mut source).await;
    assert_eq!(batch.body(0), br#"{"kind":"new","total":"12.5"}"#);
    assert_eq!(lag(&source).await, Some(0));
    // A group that is lost is made again.
    let _: bool = connection.del("events").await.expect("it is removed");
    let mut source = bench.source(Duration::from_secs(30)).await;
    let _: bool = connection.del("events").await.expect("it is removed");
    let away = source.receive(ROOM).await.expect_err("there is no group");
    assert!(matches!(away, PipeError::Away(_)), "{away}");
    bench.publish(0..1).await;
    assert_eq!(receive(&mut source).await.body(0), b"{\"n\":0}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_removed_is_told_and_the_pipeline_goes_on() {
    let Some(bench) = Bench::new() else { return };
    bench.publish(0..3).await;
    let engine = expressway::runtime::Engine::builder().shards(1).build().expect("an engine");
    let keep = r#"{"StartAt": "Keep", "States": {"Keep": {"Type": "Pass", "End": true}}}"#;
    let machine = engine.create_state_machine("keep", keep).expect("a machine");
    let sink = Redis::connect(&bench.url()).await.expect("a connection").sink("out");
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let pipe = Pipe::new(engine, machine, bench.source(Duration::from_secs(1)).await).sink(sink);
    let pipe = pipe.on_trouble(move |trouble| tell.send(trouble.clone()).expect("the test hears"));
    let stop = pipe.stopper();
    let running = tokio::spawn(pipe.run());
    bench.wait_until_done().await;
    let () = bench.connection().await.del("events").await.expect("it is removed");
    let trouble = told.recv().await.expect("it is told");
    let address = format!("{} events/worker", bench.url());
    assert_eq!((trouble.end, trouble.address.as_str()), (End::Source, &*address));
    assert!(trouble.why.as_deref().is_some_and(|why| why.contains("Redis: ")), "{trouble}");
    bench.publish(3..6).await;
    // The group begins with the oldest entry when it is made again.
    while told.recv().await.expect("it is told").why.is_some() {}
    bench.wait_until_done().await;
    stop.stop();
    let report = running.await.expect("no panic").expect("it ends well");
    assert_eq!((report.succeeded, report.published), (6, 6));
}
