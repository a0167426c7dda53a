//! Pipelines on a real NATS server: nothing is lost when processes are killed or the server goes away.
//!
//! `EXPRESSWAY_KILLS=200 cargo test --features full --test pipelines nats` kills 200 processes instead of a few.

use crate::servers;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::lag;
use crate::servers::pipelines::{self, Bench as _, JUDGE, Kills, TWICE};
use crate::servers::{Server, Stall, Starts as _, expressway, pipeline, running, terminate};
use async_nats::jetstream::{self, consumer, stream};
use expressway::pipe::{End, Lines, Nats, NatsConsumer, NatsOptions, Pipe, PipeError};
use futures_util::StreamExt;

/// What is between a test and its server.
struct Bench {
    server: Server,
    context: jetstream::Context,
}

impl Bench {
    async fn new() -> Option<Bench> {
        let server = servers::nats()?;
        let client = async_nats::connect(format!("127.0.0.1:{}", server.port)).await.expect("a connection");
        let context = jetstream::new(client);
        for (name, subject) in [("EVENTS", "events"), ("OUT", "out"), ("DEAD", "dead")] {
            let config = stream::Config {
                name: name.to_owned(),
                subjects: vec![subject.to_owned()],
                ..Default::default()
            };
            context.create_stream(config).await.expect("a stream");
        }
        Some(Bench { server, context })
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.server.folder.join(name);
        std::fs::write(&file, text).expect("a file");
        file
    }

    /// The description of a pipeline from EVENTS to OUT.
    fn config(&self, definition: &str, more: &str) -> PathBuf {
        self.config_at(self.server.port, definition, more)
    }

    /// The same over another port.
    fn config_at(&self, port: u16, definition: &str, more: &str) -> PathBuf {
        self.file(
            "pipe.toml",
            &format!(
                r#"
definition = {definition}
[source]
type = "nats"
url = "nats://127.0.0.1:{port}"
stream = "EVENTS"
durable = "worker"
ack_wait = 2.0
[sink]
type = "nats"
url = "nats://127.0.0.1:{port}"
subject = "out"
[dead_letters]
type = "nats"
url = "nats://127.0.0.1:{port}"
subject = "dead"
[pipe]
{more}
"#
            ),
        )
    }

    async fn texts(&self, stream: &str) -> Vec<Vec<u8>> {
        let mut stream = self.context.get_stream(stream).await.expect("the stream");
        let count = stream.info().await.expect("its state").state.messages;
        let config = consumer::pull::Config { ack_policy: consumer::AckPolicy::None, ..Default::default() };
        let consumer = stream.create_consumer(config).await.expect("a consumer");
        let messages =
            consumer.messages().await.expect("messages").take(usize::try_from(count).expect("few"));
        messages.map(|message| message.expect("a message").payload.to_vec()).collect().await
    }
}

impl pipelines::Bench for Bench {
    async fn publish(&self, events: std::ops::Range<u64>) {
        let mut acknowledgements = Vec::new();
        for n in events {
            let sent = self.context.publish("events", format!("{{\"n\":{n}}}").into()).await;
            acknowledgements.push(sent.expect("it is sent"));
            if acknowledgements.len() == 256 {
                for acknowledgement in acknowledgements.drain(..) {
                    acknowledgement.await.expect("it is kept");
                }
            }
        }
        for acknowledgement in acknowledgements {
            acknowledgement.await.expect("it is kept");
        }
    }

    async fn left(&self) -> Option<String> {
        // The server may be away, and the consumer not there yet.
        let Ok(stream) = self.context.get_stream("EVENTS").await else { return Some("all of it".to_owned()) };
        let Ok(info) = stream.consumer_info("worker").await else { return Some("all of it".to_owned()) };
        let (to_come, open) = (info.num_pending, info.num_ack_pending);
        let is_done = to_come == 0 && open == 0 && info.delivered.consumer_sequence > 0;
        (!is_done).then(|| format!("{to_come} to come, {open} not settled"))
    }

    async fn outputs(&self) -> Vec<Vec<u8>> {
        self.texts("OUT").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_may_have_a_user_and_a_password_or_a_token() {
    let connect = async |url: String| Nats::connect(&url, NatsOptions::default()).await.map(drop);
    let Some(server) = servers::nats_with(&["--user", "me", "--pass", "p@ss:word"]) else { return };
    let at = format!("127.0.0.1:{}", server.port);
    assert_eq!(connect(format!("nats://me:p%40ss:word@{at}")).await, Ok(()));
    let wrong = connect(format!("nats://me:pass@{at}")).await.expect_err("it is not the password");
    assert!(wrong.to_string().contains("authorization violation"), "{wrong}");
    let options = NatsOptions { user: Some(("me".into(), "p@ss:word".into())), ..NatsOptions::default() };
    Nats::connect(&format!("nats://other:pass@{at}"), options).await.expect("the options count");
    let Some(server) = servers::nats_with(&["--auth", "a-token"]) else { return };
    assert_eq!(connect(format!("nats://a-token@127.0.0.1:{}", server.port)).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_wait_are_counted() {
    let Some(bench) = Bench::new().await else { return };
    let url = format!("nats://127.0.0.1:{}", bench.server.port);
    let nats = Nats::connect(&url, NatsOptions::default()).await.expect("a connection");
    let source = nats.source(NatsConsumer::new("EVENTS", "worker")).await.expect("a source");
    bench.publish(0..3).await;
    assert_eq!(lag(&source).await, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_processes_are_killed() {
    let Some(bench) = Bench::new().await else { return };
    bench.file("twice.asl.json", TWICE);
    let config = bench.config("\"twice.asl.json\"", "batch = 64");
    let (start, run) = (|| expressway(&["pipe", "--quiet"], &config), || pipeline(&config));
    let kills = Kills { start: &start, run: &run, usually: 5, events: 500, milliseconds_max: 150 };
    let twice = pipelines::killed(&bench, kills).await;
    assert_eq!(twice, 0, "the ids of outputs keep those published twice out of the stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_waited_for() {
    let Some(mut bench) = Bench::new().await else { return };
    bench.file("twice.asl.json", TWICE);
    let child = pipeline(&bench.config("\"twice.asl.json\"", "batch = 16"));
    let away = async |bench: &mut Bench| {
        bench.server.kill();
        tokio::time::sleep(Duration::from_millis(700)).await;
        bench.server.start();
        let begun = Instant::now();
        while bench.context.get_stream("EVENTS").await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server is not back");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    pipelines::gone(&mut bench, child, away).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_while_nothing_flows_is_told() {
    let Some(mut bench) = Bench::new().await else { return };
    bench.file("twice.asl.json", TWICE);
    let config = bench.config("\"twice.asl.json\"", "metrics = \"127.0.0.1:0\"");
    let mut pipe = pipelines::speaking(&config);
    let at = format!("nats://127.0.0.1:{}", bench.server.port);
    let ends = ["source ", "sink ", "dead-letter sink "].iter().zip(["EVENTS/worker", "out", "dead"]);
    let ends: Vec<String> = ends.map(|(end, of)| format!("{end}{at} {of}")).collect();
    let (kill, start) = (|server: &mut Server| server.kill(), |server: &mut Server| server.start());
    pipelines::lost_while_idle(&mut bench.server, &mut pipe, &ends, [&kill, &start]);
    // By the client's own event, not only by the next check.
    let lost = pipe.1.all.matches("failed and is retried: NATS: the connection is lost").count();
    assert_eq!(lost, 3, "{}", pipe.1.all);
    pipelines::goes_on(&bench, pipe).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_after_the_pipeline_is_waited_for() {
    let Some(mut bench) = Bench::new().await else { return };
    bench.file("twice.asl.json", TWICE);
    let config = bench.config("\"twice.asl.json\"", "metrics = \"127.0.0.1:0\"");
    let at = format!("nats://127.0.0.1:{}", bench.server.port);
    let ends = [("source ", "EVENTS"), ("sink ", "out"), ("dead-letter sink ", "dead")];
    let ends = ends.map(|(end, of)| format!("{end}{at} {of}"));
    bench.server.kill();
    let start = |server: &mut Server| server.start();
    let pipe = pipelines::away_at_start(&mut bench.server, &config, &ends, &start);
    bench.context = jetstream::new(async_nats::connect(&at).await.expect("a connection"));
    pipelines::goes_on(&bench, pipe).await;
}

/// All that a pipeline needs of a server is made one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_at_the_start_is_told_and_waited_for() {
    let Some(mut bench) = Bench::new().await else { return };
    for stream in ["EVENTS", "OUT"] {
        bench.context.delete_stream(stream).await.expect("it is removed");
    }
    let at = format!("nats://127.0.0.1:{}", bench.server.port);
    let definition = format!(r#"{{ url = "{at}", bucket = "definitions", key = "orders" }}"#);
    let more = format!("metrics = \"127.0.0.1:0\"\n[tasks]\nnats = {{ url = \"{at}\" }}");
    let config = bench.config(&definition, &more);
    bench.server.kill();
    let (mut child, mut said) = pipelines::speaking(&config);
    let metrics = said.until(&["Metrics are at http://"]);
    let metrics = metrics.split('/').nth(2).expect("an address").to_owned();
    let mut tells = |told: &[String]| {
        let line = said.until(told);
        let (status, why) = crate::servers::get(&metrics, "/ready");
        assert_eq!(status, 503, "{why}");
        line
    };
    let tasks = format!("The tasks' NATS connection {at} ");
    tells(&[format!("{tasks}failed and is retried: NATS: IO error: Connection refused; is a NATS server")]);
    tells(&[format!("{tasks}still fails after ")]);
    bench.server.start();
    let bucket =
        format!("The definition's bucket {at} definitions failed and is retried: NATS: there is no ");
    tells(&[format!("{tasks}recovered.")]);
    tells(&[format!("{bucket}bucket definitions; create it: nats --server {at} kv add definitions")]);
    let context = jetstream::new(async_nats::connect(&at).await.expect("a connection"));
    let make = async |name: &str, subject: &str, kept: i64| {
        let (name, subjects) = (name.to_owned(), vec![subject.to_owned()]);
        let max_messages_per_subject = kept;
        let config = stream::Config { name, subjects, max_messages_per_subject, ..Default::default() };
        context.create_stream(config).await.expect("a stream");
    };
    make("KV_definitions", "$KV.definitions.>", 1).await;
    tells(&[format!(
        "{bucket}value at the key orders; put one: nats --server {at} kv put definitions orders "
    )]);
    let values = context.get_key_value("definitions").await.expect("the bucket");
    values.put("orders", TWICE.into()).await.expect("it is kept");
    tells(&[
        format!("The source {at} EVENTS failed and is retried: NATS: there is no stream EVENTS; create it: "),
        format!("The sink {at} out failed and is retried: NATS: no stream captures the subject out; create"),
    ]);
    make("EVENTS", "events", -1).await;
    tells(&[format!("The source {at} EVENTS recovered after ")]);
    make("OUT", "out", -1).await;
    said.until(&["The pipeline runs."]);
    bench.context = context;
    bench.publish(0..3).await;
    bench.wait_until_done().await;
    assert_eq!((terminate(&mut child), bench.texts("OUT").await.len()), (Some(0), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_stream_can_have_is_refused() {
    let Some(server) = servers::nats() else { return };
    let at = format!("127.0.0.1:{}", server.port);
    let nats = Nats::connect(&at, NatsOptions::default()).await.expect("a connection");
    let error = nats.source(NatsConsumer::new("S.x y", "d")).await.expect_err("no such name");
    assert_eq!(error, PipeError::Refused("NATS: stream S.x y: invalid stream name".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_refused_end_it() {
    let Some(server) = servers::nats_with(&["--user", "me", "--pass", "secret"]) else { return };
    let port = server.port;
    for user in ["", "me:wrong@"] {
        let text = format!(
            "definition = \"it.asl.json\"\nsource = {{ type = \"nats\", url = \"nats://{user}127.0.0.1:{port}\", \
             stream = \"S\", durable = \"d\" }}\n"
        );
        let config = server.folder.join("pipe.toml");
        std::fs::write(&config, text).expect("a file");
        std::fs::write(server.folder.join("it.asl.json"), TWICE).expect("a file");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_expressway"));
        let output = command.arg("pipe").arg(&config).answered();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let next = "; are the user and the password in `url`, or the file `credentials`, right?\n";
        assert!(
            said.starts_with(&format!("expressway: the source nats://127.0.0.1:{port} S: NATS: ")),
            "{said}"
        );
        assert!(said.ends_with(next) && output.status.code() == Some(2), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_cut_off_for_a_while_is_waited_for() {
    let Some(bench) = Bench::new().await else { return };
    let stall = Stall::before(bench.server.port);
    bench.file("twice.asl.json", TWICE);
    let child = pipeline(&bench.config_at(stall.port, "\"twice.asl.json\"", "batch = 16"));
    // Longer than the time until messages go to another consumer, and until publications count as lost.
    pipelines::cut_off(&bench, child, &stall, Duration::from_secs(7)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_a_dead_letter_and_can_be_sent_again() {
    let Some(bench) = Bench::new().await else { return };
    bench.file("judge.asl.json", JUDGE);
    let config =
        bench.config("\"judge.asl.json\"", "attempts = 2\nretry_delay = 0.05\nmetrics = \"127.0.0.1:0\"");
    let (mut child, mut said) = pipelines::speaking(&config);
    let counted_once = pipelines::counted_once(&mut said);
    bench.publish(0..20).await;
    bench.wait_until_done().await;
    counted_once();
    assert_eq!(terminate(&mut child), Some(1), "some events failed for good");
    assert_eq!(bench.numbers().await.into_keys().collect::<Vec<_>>(), (3..20).collect::<Vec<_>>());
    pipelines::check_dead_letters(&bench.texts("DEAD").await, "EVENTS/worker", 2);

    let port = bench.server.port;
    let redrive = bench.file(
        "redrive.toml",
        &format!(
            r#"
source = {{ type = "nats", url = "nats://127.0.0.1:{port}", stream = "DEAD", durable = "redrive" }}
sink = {{ type = "nats", url = "nats://127.0.0.1:{port}", subject = "events", ids = false }}
"#
        ),
    );
    pipelines::redrive(&redrive, async || bench.texts("EVENTS").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_publish_ask_and_call_services() {
    let Some(bench) = Bench::new().await else { return };
    let client = async_nats::connect(format!("127.0.0.1:{}", bench.server.port)).await.expect("a connection");
    let mut asked = client.subscribe("price").await.expect("a subscription");
    client.flush().await.expect("it is known");
    tokio::spawn(async move {
        while let Some(question) = asked.next().await {
            let n: u64 = serde_json::from_slice(&question.payload).expect("a number");
            let reply = question.reply.expect("whom to answer");
            client.publish(reply, format!("{{\"price\":{}}}", 2 * n).into()).await.expect("it is sent");
        }
    });
    // A Lambda function of ours.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let lambda = format!("http://{}", listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        let axum =
            axum::Router::new().fallback(|| async { axum::Json(serde_json::json!({"approved": true})) });
        axum::serve(listener, axum).await.expect("it serves");
    });
    bench.file(
        "tasks.asl.json",
        r#"{"StartAt": "Tell", "States": {
            "Tell": {"Type": "Task", "Resource": "arn:aws:states:::nats:publish", "Next": "Ask", "ResultPath": "$.told",
                "Parameters": {"Subject": "dead", "Payload.$": "$", "Headers": {"kind": "new"}}},
            "Ask": {"Type": "Task", "Resource": "arn:aws:states:::nats:request", "Next": "Nobody", "ResultPath": "$.asked",
                "ResultSelector": {"price.$": "$.Payload.price"},
                "Parameters": {"Subject": "price", "Payload.$": "$.n"}},
            "Nobody": {"Type": "Task", "Resource": "arn:aws:states:::nats:request",
                "Parameters": {"Subject": "nobody", "Payload": "x"}, "Next": "Call",
                "Catch": [{"ErrorEquals": ["Nats.NoResponders"], "ResultPath": null, "Next": "Call"}]},
            "Call": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": true, "ResultPath": "$.called",
                "ResultSelector": {"approved.$": "$.Payload.approved"},
                "Parameters": {"FunctionName": "check", "Payload.$": "$"}}}}"#,
    );
    let port = bench.server.port;
    let more = format!("[tasks]\nservices = true\nnats = {{ url = \"nats://127.0.0.1:{port}\" }}");
    let config = bench.config("\"tasks.asl.json\"", &more);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_expressway"));
    command.arg("pipe").arg(&config).env("LAMBDA_ENDPOINT", lambda);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = running(command.started());
    bench.publish(21..22).await;
    bench.wait_until_done().await;
    assert_eq!(terminate(&mut child), Some(0));
    assert_eq!(bench.texts("DEAD").await, [b"{\"n\":21}".to_vec()]);
    let output: serde_json::Value = serde_json::from_slice(&bench.texts("OUT").await[0]).expect("JSON");
    let expected = serde_json::json!({"n": 21, "told": {"Stream": "DEAD", "Sequence": 1, "Duplicate": false},
        "asked": {"price": 42}, "called": {"approved": true}});
    assert_eq!(output, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_in_a_bucket_is_replaced_while_events_flow() {
    let Some(bench) = Bench::new().await else { return };
    // A bucket is a stream of its values; the servers that Debian has are older than the client's way to make one.
    let values = stream::Config {
        name: "KV_definitions".to_owned(),
        subjects: vec!["$KV.definitions.>".to_owned()],
        max_messages_per_subject: 1,
        allow_rollup: true,
        deny_delete: true,
        ..Default::default()
    };
    bench.context.create_stream(values).await.expect("a bucket");
    let bucket = bench.context.get_key_value("definitions").await.expect("the bucket");
    let answering = |answer: u32| {
        format!(
            r#"{{"StartAt": "A", "States": {{"A": {{"Type": "Pass", "Parameters": {{"n.$": "$.n", "by": {answer}}}, "End": true}}}}}}"#
        )
    };
    bucket.put("orders", answering(1).into()).await.expect("it is kept");
    let port = bench.server.port;
    let definition =
        format!(r#"{{ url = "nats://127.0.0.1:{port}", bucket = "definitions", key = "orders" }}"#);
    let config = bench.config(&definition, "");
    let mut child = pipeline(&config);
    let mut published = 0;
    for answer in [1, 2] {
        // A wrong definition changes nothing.
        bucket.put("orders", "{}".into()).await.expect("it is kept");
        bucket.put("orders", answering(answer).into()).await.expect("it is kept");
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < Duration::from_secs(60), "definition {answer} is not used");
            bench.publish(published..published + 1).await;
            published += 1;
            bench.wait_until_done().await;
            let last = bench.texts("OUT").await.pop().expect("an output");
            let last: serde_json::Value = serde_json::from_slice(&last).expect("JSON");
            if last["by"] == answer {
                break;
            }
        }
    }
    assert_eq!(terminate(&mut child), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_without_a_stream_is_told_and_the_pipeline_goes_on_when_there_is_one() {
    let Some(bench) = Bench::new().await else { return };
    let engine = expressway::runtime::Engine::builder().shards(1).build().expect("an engine");
    let keep = r#"{"StartAt": "Keep", "States": {"Keep": {"Type": "Pass", "End": true}}}"#;
    let machine = engine.create_state_machine("keep", keep).expect("a machine");
    let nats = Nats::connect(&format!("127.0.0.1:{}", bench.server.port), NatsOptions::default())
        .await
        .expect("a connection");
    // It is told before there is an event.
    let (events, mut feed) = std::io::pipe().expect("a pipe");
    let events = Lines::from_reader("events", events);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let pipe = Pipe::new(engine, machine, events).sink(nats.sink("nowhere"));
    let pipe = pipe.on_trouble(move |trouble| tell.send(trouble.clone()).expect("the test hears"));
    let running = tokio::spawn(pipe.run());
    let trouble = told.recv().await.expect("it is told");
    let address = format!("127.0.0.1:{} nowhere", bench.server.port);
    assert_eq!((trouble.end, trouble.address.as_str()), (End::Sink, &*address));
    let none = format!(
        "NATS: no stream captures the subject nowhere; create one: nats --server 127.0.0.1:{} stream add NOWHERE \
         --subjects 'nowhere' --defaults",
        bench.server.port
    );
    assert_eq!(trouble.why, Some(none), "{trouble}");
    std::io::Write::write_all(&mut feed, b"{\"n\":1}\n{\"n\":2}\n").expect("it reads");
    drop(feed);
    let trouble = told.recv().await.expect("it is told again");
    assert!(trouble.failures > 1 && trouble.why.is_some(), "{trouble}");
    let config = stream::Config {
        name: "NOWHERE".to_owned(),
        subjects: vec!["nowhere".to_owned()],
        ..Default::default()
    };
    bench.context.create_stream(config).await.expect("a stream");
    while told.recv().await.expect("it is told").why.is_some() {}
    let report = running.await.expect("no panic").expect("it ends well");
    assert_eq!((report.succeeded, report.published), (2, 2));
    assert_eq!(bench.texts("NOWHERE").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_removed_is_told_and_the_pipeline_goes_on_when_it_is_there_again() {
    let Some(bench) = Bench::new().await else { return };
    bench.file("twice.asl.json", TWICE);
    let (mut child, mut said) = pipelines::speaking(&bench.config("\"twice.asl.json\"", ""));
    bench.publish(0..3).await;
    bench.wait_until_done().await;
    bench.context.delete_stream("EVENTS").await.expect("it is removed");
    let source = format!("The source nats://127.0.0.1:{} EVENTS/worker ", bench.server.port);
    said.until(&[format!("{source}failed and is retried: NATS: ")]);
    said.until(&["there is no stream EVENTS; create it: nats --server "]);
    let subjects = vec!["events".to_owned()];
    let config = stream::Config { name: "EVENTS".to_owned(), subjects, ..Default::default() };
    bench.context.create_stream(config).await.expect("a stream");
    said.until(&[format!("{source}recovered after ")]);
    bench.publish(3..6).await;
    bench.wait_until_done().await;
    assert_eq!(bench.texts("OUT").await.len(), 6);
    assert_eq!(terminate(&mut child), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_read_by_two_pipelines_are_events_of_each() {
    let Some(bench) = Bench::new().await else { return };
    let at = format!("127.0.0.1:{}", bench.server.port);
    let nats = Nats::connect(&at, NatsOptions::default()).await.expect("a connection");
    let keep = r#"{"StartAt": "Keep", "States": {"Keep": {"Type": "Pass", "End": true}}}"#;
    let texts = [&b"{\"n\":1}\n"[..], b"{\"n\":2}\n"];
    for text in texts {
        let engine = expressway::runtime::Engine::builder().shards(1).build().expect("an engine");
        let machine = engine.create_state_machine("keep", keep).expect("a machine");
        let pipe = Pipe::new(engine, machine, Lines::from_reader("stdin", text)).sink(nats.sink("out"));
        assert_eq!(pipe.run().await.expect("it ends well").published, 1);
    }
    assert_eq!(bench.texts("OUT").await, texts.map(|text| text.trim_ascii().to_vec()));
}
