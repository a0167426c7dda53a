//! Pipelines on queues of `moto_server`, which emulates SQS.

use crate::servers;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::servers::pipelines::{self, Bench as _, JUDGE, Kills};
use crate::servers::{Server, Starts as _, running, terminate};
use crate::{examples, lag};
use expressway::pipe::{Batch, Disposition, Pipe, PipeError, Room, Source, Sqs, SqsSource};
use expressway::runtime::Engine;
use expressway::task::aws::{Credentials, Integrations};
use serde_json::{Value, json};

const KEEP: &str = r#"{"StartAt": "Keep", "States": {"Keep": {"Type": "Pass", "End": true}}}"#;
const ROOM: Room = Room { events: 100, bytes: 1 << 20, linger: Duration::from_millis(50) };

/// A server with queues, and an engine whose service tasks prepare and inspect them.
struct Bench {
    server: Server,
}

impl Bench {
    fn new() -> Option<Bench> {
        servers::moto().map(|server| Bench { server })
    }

    fn integrations(&self) -> Integrations {
        let url = format!("http://127.0.0.1:{}", self.server.port);
        let credentials = Credentials::new("testing", "testing", None);
        Integrations::new().endpoint_url(&url).expect("a URL").credentials(credentials)
    }

    /// Calls SQS as a service task does.
    async fn call(&self, action: &str, parameters: Value) -> Value {
        let engine = Engine::builder().shards(1).aws(self.integrations()).build().expect("an engine");
        let machine = json!({"StartAt": "Call", "States": {"Call": {"Type": "Task", "End": true,
            "Resource": format!("arn:aws:states:::aws-sdk:sqs:{action}"), "Parameters": parameters}}});
        let machine = engine.create_state_machine("call", &machine.to_string()).expect("a machine");
        let outcome = engine.run(&machine, "{}").await.expect("it begins");
        serde_json::from_slice(outcome.json()).unwrap_or_else(|_| panic!("{action}: {outcome:?}"))
    }

    async fn queue(&self, name: &str) -> String {
        let fifo = json!({"FifoQueue": "true"});
        let attributes = if name.ends_with(".fifo") { fifo } else { json!({}) };
        let made = self.call("createQueue", json!({"QueueName": name, "Attributes": attributes})).await;
        made["QueueUrl"].as_str().expect("a URL").to_owned()
    }

    /// A source with one request for messages at a time: `moto_server` gives one message to two concurrent requests,
    /// and keeps a request waiting that finds the first message of a group in flight, even if it is freed meanwhile.
    fn source(&self, url: &str) -> SqsSource {
        self.sqs(url).source().receivers(1).wait(Duration::from_secs(1))
    }

    fn sqs(&self, url: &str) -> Sqs {
        Sqs::queue(&self.integrations(), url).expect("a queue")
    }

    async fn send(&self, url: &str, bodies: impl Iterator<Item = String>) {
        let bodies: Vec<String> = bodies.collect();
        for some in bodies.chunks(10) {
            let entries: Vec<Value> = some
                .iter()
                .enumerate()
                .map(|(n, body)| json!({"Id": n.to_string(), "MessageBody": body}))
                .collect();
            let sent = self.call("sendMessageBatch", json!({"QueueUrl": url, "Entries": entries})).await;
            assert_eq!(sent["Successful"].as_array().map(Vec::len), Some(some.len()), "{sent}");
        }
    }

    /// Messages that are visible, and those that are not.
    async fn counts(&self, url: &str) -> (u64, u64) {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let asked = json!({"QueueUrl": url, "AttributeNames": names});
        let answer = self.call("getQueueAttributes", asked).await;
        let count =
            |name: &str| answer["Attributes"][name].as_str().expect("a count").parse().expect("a number");
        (count(names[0]), count(names[1]))
    }

    /// All that is in a queue; it is taken out.
    async fn drain(&self, url: &str) -> Vec<String> {
        let (mut source, mut bodies) = (self.source(url), Vec::new());
        loop {
            if self.counts(url).await == (0, 0) {
                return bodies;
            }
            let batch = receive(&mut source).await;
            bodies.extend((0..batch.len()).map(|n| String::from_utf8(batch.body(n).to_vec()).expect("text")));
            let done: Vec<_> = (0..batch.len() as u32).map(|n| (n, Disposition::Done)).collect();
            batch.receipts().settle(&done).await.expect("they are deleted");
        }
    }

    async fn wait_until_done(&self, url: &str) {
        Queues { bench: self, from: url, to: url }.wait_until_done().await;
    }

    fn expressway(&self, config: &Path) -> Child {
        let mut command = self.command("pipe", config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.started()
    }

    fn command(&self, subcommand: &str, config: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
        command.arg(subcommand).arg(config);
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.server.port));
        command.env("AWS_ACCESS_KEY_ID", "testing").env("AWS_SECRET_ACCESS_KEY", "testing");
        command.env("AWS_REGION", "us-east-1");
        command
    }

    /// A file that says this, beside the definition `keep.asl.json`.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.server.folder.join("keep.asl.json"), KEEP).expect("a file");
        let file = self.server.folder.join(name);
        std::fs::write(&file, text).expect("a file");
        file
    }
}

async fn receive(source: &mut impl Source) -> Batch {
    source.receive(ROOM).await.expect("the server answers").expect("it never ends")
}

fn events(range: std::ops::Range<u64>) -> impl Iterator<Item = String> {
    range.map(|n| format!("{{\"n\":{n}}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_deleted_after_what_came_of_them_is_sent() {
    let Some(bench) = Bench::new() else { return };
    let (from, to, dead) = (bench.queue("from").await, bench.queue("to").await, bench.queue("dead").await);
    bench.send(&from, events(0..30)).await;
    let engine = Engine::builder().shards(1).build().expect("an engine");
    let machine = engine.create_state_machine("judge", JUDGE).expect("a machine");
    let attempts = expressway::pipe::Attempts { max: 2, delay: Duration::ZERO, ..Default::default() };
    let pipe = Pipe::new(engine, machine, bench.source(&from))
        .sink(bench.sqs(&to).sink())
        .dead_letters(bench.sqs(&dead).sink())
        .attempts(attempts);
    let stop = pipe.stopper();
    let running = tokio::spawn(pipe.run());
    bench.wait_until_done(&from).await;
    stop.stop();
    let report = running.await.expect("no panic").expect("it ends well");
    assert_eq!((report.received, report.redelivered, report.again), (30, 3, 3));
    assert_eq!((report.succeeded, report.dead), (27, 3));
    let (mut sent, mut expected) = (bench.drain(&to).await, events(3..30).collect::<Vec<_>>());
    sent.sort();
    expected.sort();
    assert_eq!(sent, expected);
    let letters = bench.drain(&dead).await;
    pipelines::check_dead_letters(&letters, "from", 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_processes_are_killed() {
    let Some(bench) = Bench::new() else { return };
    let (from, to) = (bench.queue("from").await, bench.queue("to").await);
    let text = format!(
        r#"
definition = "keep.asl.json"
source = {{ type = "sqs", url = "{from}", visibility = 2.0 }}
sink = {{ type = "sqs", url = "{to}" }}
"#
    );
    let config = bench.file("pipe.toml", &text);
    let start = || bench.expressway(&config);
    let run = || running(bench.expressway(&config));
    let kills = Kills { start: &start, run: &run, usually: 3, events: 50, milliseconds_max: 150 };
    pipelines::killed(&Queues { bench: &bench, from: &from, to: &to }, kills).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_answer_while_nothing_flows_is_told() {
    let Some(mut bench) = Bench::new() else { return };
    let (from, to) = (bench.queue("from").await, bench.queue("to").await);
    let text = format!(
        r#"
definition = "keep.asl.json"
source = {{ type = "sqs", url = "{from}", receivers = 1 }}
sink = {{ type = "sqs", url = "{to}" }}
pipe = {{ metrics = "127.0.0.1:0" }}
"#
    );
    let config = bench.file("pipe.toml", &text);
    let mut pipe = pipelines::speaks(bench.command("pipe", &config));
    let ends = [format!("source {from}"), format!("sink {to}")];
    let (stop, go_on) = (|server: &mut Server| server.pause(true), |server: &mut Server| server.pause(false));
    pipelines::lost_while_idle(&mut bench.server, &mut pipe, &ends, [&stop, &go_on]);
    assert_eq!(terminate(&mut pipe.0), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_connected_when_it_has_answered() {
    let Some(bench) = Bench::new() else { return };
    let (from, to) = (bench.queue("from").await, bench.queue("to").await);
    let text = |from: &str, to: &str| {
        format!(
            "definition = \"keep.asl.json\"\nsource = {{ type = \"sqs\", url = \"{from}\", receivers = 1 }}\n\
             sink = {{ type = \"sqs\", url = \"{to}\" }}\n"
        )
    };
    let connected = |end: &str, at: &str| format!("connected end=\"{end}\" address=\"{at}\"");
    let config = bench.file("pipe.toml", &text(&from, &to));
    let (mut child, mut said) = pipelines::speaks(bench.command("pipe", &config));
    said.until(&[connected("source", &from), connected("sink", &to)]);
    assert_eq!(terminate(&mut child), Some(0));
    // Neither a source nor a sink that is not there is connected.
    let create = |name: &str| {
        let at = format!("http://127.0.0.1:{}", bench.server.port);
        format!("; create it: aws --endpoint-url {at} sqs create-queue --queue-name {name}")
    };
    let absent = from.replace("/from", "/absent");
    let config = bench.file("pipe.toml", &text(&absent, &to));
    let (mut child, mut said) = pipelines::speaks(bench.command("pipe", &config));
    said.until(&[format!("The source {absent} failed and is retried: SQS: "), create("absent")]);
    assert_eq!(terminate(&mut child), Some(0));
    let said = said.rest();
    assert!(!said.contains("connected end=\"source\""), "{said}");
    let config = bench.file("pipe.toml", &text(&from, &absent));
    let (mut child, mut said) = pipelines::speaks(bench.command("pipe", &config));
    // Either may be first.
    let failed = format!("The sink {absent} failed and is retried: SQS: ");
    said.until(&[connected("source", &from), failed.clone()]);
    let failed = said.all.lines().find(|line| line.contains(&failed)).expect("it was said");
    // With the time and the level, as all lines of a log.
    let (time, rest) = failed.split_once(' ').expect("several words");
    assert!(time.len() == "2026-11-29T20:34:45.686805Z".len() && time.ends_with('Z'), "{failed}");
    assert!(rest.starts_with(" WARN The sink "), "{failed}");
    assert_eq!(terminate(&mut child), Some(0));
    let said = said.rest();
    assert!(!said.contains(&connected("sink", &absent)), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_comes_after_the_pipeline_and_its_queues_are_waited_for() {
    let Some(mut bench) = Bench::new() else { return };
    let at = |name: &str| format!("http://127.0.0.1:{}/123456789012/{name}", bench.server.port);
    let (from, to) = (at("from"), at("to"));
    let text = format!(
        "definition = \"keep.asl.json\"\nsource = {{ type = \"sqs\", url = \"{from}\", receivers = 1 }}\n\
         sink = {{ type = \"sqs\", url = \"{to}\" }}\n"
    );
    let config = bench.file("pipe.toml", &text);
    bench.server.kill();
    let (mut child, mut said) = pipelines::speaks(bench.command("pipe", &config));
    let told = |what: &str| [format!("The source {from} {what}"), format!("The sink {to} {what}")];
    said.until(&told("failed and is retried: SQS: "));
    bench.server.start();
    let absent = "still fails after ";
    said.until(&[&told(absent)[..], &["create-queue --queue-name from".to_owned()]].concat());
    assert!(!said.all.contains("The pipeline runs."), "{}", said.all);
    assert_eq!((bench.queue("from").await, bench.queue("to").await), (from.clone(), to.clone()));
    said.until(&[&told("recovered after ")[..], &["The pipeline runs.".to_owned()]].concat());
    bench.send(&from, events(0..3)).await;
    bench.wait_until_done(&from).await;
    assert_eq!(terminate(&mut child), Some(0));
    assert_eq!(bench.drain(&to).await.len(), 3);
}

/// Runs the commands that `sqs.toml` names, but that of the pipeline, with the AWS command line of PyPI.
fn commands_of_the_example(at: &str) {
    // It is installed where `moto_server` is.
    let beside =
        std::env::var_os("MOTO_SERVER").and_then(|moto| Some(Path::new(&moto).parent()?.join("aws")));
    let aws = beside.filter(|aws| aws.is_file()).unwrap_or_else(|| "aws".into());
    if !Command::new(&aws).arg("--version").tried().is_ok_and(|output| output.status.success()) {
        return servers::not_run("the AWS command line is not installed, so it created no queues");
    }
    let text = std::fs::read_to_string(examples::examples().join("pipelines/sqs.toml")).expect("the example");
    let commands = text.lines().filter_map(|line| line.strip_prefix("#   "));
    let commands: Vec<&str> = commands.filter(|command| !command.starts_with("expressway ")).collect();
    let script = commands.join("\n").replace("127.0.0.1:9324", at);
    let script = script.replace("\naws ", "\n\"$AWS\" ");
    let mut bash = Command::new("bash");
    let nowhere = "/nowhere";
    bash.env("AWS_CONFIG_FILE", nowhere)
        .env("AWS_SHARED_CREDENTIALS_FILE", nowhere)
        .env_remove("AWS_PROFILE");
    let output = bash.args(["-ec", &script]).env("AWS", &aws).answered();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let created = said.matches(&format!("\"QueueUrl\": \"http://{at}/123456789012/orders")).count();
    assert!(output.status.success() && created == 3, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_go_through_the_example() {
    let Some(bench) = Bench::new() else { return };
    let at = format!("127.0.0.1:{}", bench.server.port);
    commands_of_the_example(&at);
    // The commands have created them, where they could be run.
    let from = bench.queue("orders").await;
    let (to, dead) = (bench.queue("orders-done").await, bench.queue("orders-dead").await);
    // `moto_server` gives one message to two concurrent requests.
    let one = ("visibility = 30.0", "visibility = 30.0\nreceivers = 1");
    let replaced = [("127.0.0.1:9324", &*at)];
    let config = examples::example(&bench.server.folder, "sqs.toml", &[replaced[0], one]);
    let child = running(bench.expressway(&config));
    let (good, bad) = examples::orders();
    bench.send(&from, [good, bad].into_iter()).await;
    let both = async || {
        let (done, dead) = (bench.counts(&to).await, bench.counts(&dead).await);
        (done.0 >= 1 && dead.0 >= 1).then_some(())
    };
    examples::eventually("an output and a dead letter", both).await;
    let said = examples::said(child);
    assert!(said.contains("2 events: 1 succeeded, 1 failed for good"), "{said}");
    let config = examples::example(&bench.server.folder, "sqs-redrive.toml", &replaced);
    let said = examples::redriven(bench.command("redrive", &config));
    assert!(said.contains("1 event sent again"), "{said}");
    // A request of the pipeline that ended may still have got it.
    let (visible, invisible) = bench.counts(&from).await;
    assert_eq!(visible + invisible, 1, "the event is there again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_does_not_exist_yet_is_waited_for() {
    let Some(bench) = Bench::new() else { return };
    let from = bench.queue("from").await;
    let to = from.replace("/from", "/to");
    bench.send(&from, events(0..3)).await;
    let text = format!(
        r#"
definition = "keep.asl.json"
source = {{ type = "sqs", url = "{from}", receivers = 1 }}
sink = {{ type = "sqs", url = "{to}" }}
"#
    );
    let config = bench.file("pipe.toml", &text);
    let (mut child, mut said) = pipelines::speaks(bench.command("pipe", &config));
    said.until(&[format!("The sink {to} failed and is retried: SQS: ")]);
    assert!(said.all.contains("NonExistentQueue"), "{}", said.all);
    said.until(&["attempts in"]);
    assert_eq!(bench.queue("to").await, to);
    said.until(&[format!("The sink {to} recovered after ")]);
    bench.wait_until_done(&from).await;
    assert_eq!(terminate(&mut child), Some(0));
    assert_eq!(bench.drain(&to).await.len(), 3);
}

/// What is sent to one queue and comes out of another.
struct Queues<'b> {
    bench: &'b Bench,
    from: &'b str,
    to: &'b str,
}

impl pipelines::Bench for Queues<'_> {
    async fn publish(&self, range: std::ops::Range<u64>) {
        self.bench.send(self.from, events(range)).await;
    }

    async fn left(&self) -> Option<String> {
        let (visible, invisible) = self.bench.counts(self.from).await;
        ((visible, invisible) != (0, 0)).then(|| format!("{visible} to come, {invisible} not settled"))
    }

    async fn outputs(&self) -> Vec<Vec<u8>> {
        self.bench.drain(self.to).await.into_iter().map(String::into_bytes).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_worked_at_stays_invisible() {
    let Some(bench) = Bench::new() else { return };
    let from = bench.queue("from").await;
    bench.send(&from, events(0..2)).await;
    // Several seconds, so that a busy machine does not miss the time.
    let mut source = bench.source(&from).visibility(Duration::from_secs(10));
    assert_eq!(lag(&source).await, Some(2));
    let mut bodies = BTreeMap::new();
    let mut batches = Vec::new();
    while bodies.len() < 2 {
        let batch = receive(&mut source).await;
        bodies.extend((0..batch.len()).map(|n| (batch.body(n).to_vec(), batches.len())));
        batches.push(batch);
    }
    for _ in 0..12 {
        for batch in &batches {
            let all: Vec<u32> = (0..batch.len() as u32).collect();
            batch.receipts().extend(&all).await.expect("it is told");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(bench.counts(&from).await, (0, 2));
    }
    // Given back, one is there again at once; the other after a second.
    for batch in &batches {
        let again: Vec<_> =
            (0..batch.len() as u32).map(|n| (n, Disposition::Retry(Duration::ZERO))).collect();
        batch.receipts().settle(&again).await.expect("it is told");
    }
    let again = receive(&mut source).await;
    assert_eq!(again.provenance(0).deliveries, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_queue_keeps_groups_in_order_and_drops_what_is_sent_twice() {
    let Some(bench) = Bench::new() else { return };
    let (from, to) = (bench.queue("from.fifo").await, bench.queue("to.fifo").await);
    for n in 0..12 {
        let (group, id) = (["a", "b"][n % 2], n.to_string());
        let body = json!({"QueueUrl": from, "MessageBody": format!("{{\"n\":{n}}}"), "MessageGroupId": group,
            "MessageDeduplicationId": id});
        bench.call("sendMessage", body).await;
    }
    let engine = Engine::builder().shards(1).build().expect("an engine");
    let machine = engine.create_state_machine("keep", KEEP).expect("a machine");
    let pipe = Pipe::new(engine, machine, bench.source(&from))
        .sink(bench.sqs(&to).sink())
        .order(expressway::pipe::Order::Key(expressway::pipe::KeyOf::source()));
    let stop = pipe.stopper();
    let running = tokio::spawn(pipe.run());
    bench.wait_until_done(&from).await;
    stop.stop();
    running.await.expect("no panic").expect("it ends well");
    let sent = bench.drain(&to).await;
    let of = |parity: u64| -> Vec<u64> {
        let numbers =
            sent.iter().map(|text| serde_json::from_str::<Value>(text).expect("JSON")["n"].as_u64());
        numbers.map(|n| n.expect("a number")).filter(|n| n % 2 == parity).collect()
    };
    assert_eq!((of(0), of(1)), (vec![0, 2, 4, 6, 8, 10], vec![1, 3, 5, 7, 9, 11]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_by_name() {
    let Some(bench) = Bench::new() else { return };
    let url = format!("http://127.0.0.1:{}/123456789012/absent", bench.server.port);
    let wrong = bench.sqs(&url).source().receive(ROOM).await.expect_err("there is no such queue");
    assert!(matches!(&wrong, PipeError::Absent(why) if why.contains("NonExistentQueue")), "{wrong}");
    let wrong = Sqs::queue(&bench.integrations(), "orders").expect_err("no URL");
    assert!(matches!(wrong, PipeError::Refused(_)), "{wrong}");
    let nowhere = Integrations::new().endpoint_url("http://127.0.0.1:1").expect("a URL");
    let away = Sqs::queue(&nowhere, &url).expect("a queue").source().receive(ROOM).await;
    assert!(matches!(away, Err(PipeError::Away(_))), "{away:?}");
}
