//! Events that are posted over HTTP, as raw bytes over TCP.

use crate::servers::{self, Starts as _};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use expressway::pipe::{Answer, Attempts, KeyOf, Lines, Pipe, PipeError, Proof, Report, Webhook};
use expressway::runtime::Engine;
use expressway::task::TaskError;
use hmac::{Hmac, Mac};
use sha2::Sha256;

const JUDGE: &str = r#"{"StartAt": "Judge", "States": {
    "Judge": {"Type": "Choice", "Choices": [{"Variable": "$.bad", "IsPresent": true, "Next": "Bad"}], "Default": "Good"},
    "Bad": {"Type": "Fail", "Error": "Order.Bad", "Cause": "it is bad"}, "Good": {"Type": "Pass", "End": true}}}"#;
const WORK: &str = r#"{"StartAt": "Work", "States": {"Work": {"Type": "Task", "End": true,
    "Resource": "arn:aws:lambda:us-east-1:123456789012:function:work"}}}"#;
const WORK_ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:work";

fn local() -> Webhook {
    Webhook::at((Ipv4Addr::LOCALHOST, 0).into()).anyone()
}

/// A pipeline that runs until it is stopped.
struct Bench {
    address: SocketAddr,
    written: Arc<Mutex<Vec<u8>>>,
    stop: expressway::pipe::Stop,
    running: std::thread::JoinHandle<Report>,
}

impl Bench {
    fn new(webhook: Webhook, set: impl FnOnce(Pipe) -> Pipe) -> Bench {
        let engine = Engine::builder().shards(1).build().expect("an engine");
        let machine = engine.create_state_machine("judge", JUDGE).expect("a machine");
        Bench::of(webhook, engine, machine, set)
    }

    fn of(
        webhook: Webhook,
        engine: Engine,
        machine: expressway::runtime::Machine,
        set: impl FnOnce(Pipe) -> Pipe,
    ) -> Bench {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let source = runtime.block_on(webhook.listen()).expect("it listens");
        let address = source.address();
        let (sink, written) = Lines::to_memory();
        let attempts = Attempts { max: 1, ..Attempts::default() };
        let pipe = set(Pipe::new(engine, machine, source).sink(sink).attempts(attempts));
        let stop = pipe.stopper();
        let running = std::thread::spawn(move || runtime.block_on(pipe.run()).expect("it ends well"));
        Bench { address, written, stop, running }
    }

    fn post(&self, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let (status, _, body) = exchange(self.address, "POST", "/", headers, body);
        (status, body)
    }

    fn json(&self, body: &str) -> (u16, String) {
        self.post(&[("content-type", "application/json")], body)
    }

    /// Ends it: what it did, and what it wrote.
    fn end(self) -> (Report, String) {
        self.stop.stop();
        let report = self.running.join().expect("no panic");
        let written = String::from_utf8(self.written.lock().unwrap().clone()).expect("text");
        (report, written)
    }
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if headers.iter().all(|(name, _)| *name != "host") {
        text.push_str("host: localhost\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text
}

/// Status, headers in lower case, body.
fn read_reply(stream: TcpStream) -> (u16, String, String) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line");
    let status = line.split(' ').nth(1).expect("a status").parse().expect("a number");
    let mut headers = String::new();
    while headers.is_empty() || !headers.ends_with("\r\n\r\n") {
        if reader.read_line(&mut headers).expect("a header") == 0 || headers == "\r\n" {
            break;
        }
    }
    let mut body = String::new();
    reader.read_to_string(&mut body).expect("a body");
    (status, headers.to_ascii_lowercase(), body)
}

fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    // A server that refuses a body early may not read all of it.
    let _ = stream.write_all(request(method, path, headers, body).as_bytes());
    read_reply(stream)
}

#[test]
fn events_come_one_by_one_in_lines_and_in_arrays() {
    let bench = Bench::new(local(), |pipe| pipe);
    assert_eq!(bench.json(r#"{"n":0}"#), (202, r#"{"accepted":1}"#.to_owned()));
    let lines = [("content-type", "application/x-ndjson; charset=utf-8")];
    assert_eq!(bench.post(&lines, "{\"n\":1}\r\n\n {\"n\":2}"), (202, r#"{"accepted":2}"#.to_owned()));
    assert_eq!(bench.json(r#" [{"n":3}, {"n": 4}]"#), (202, r#"{"accepted":2}"#.to_owned()));
    assert_eq!(bench.json("[]"), (202, r#"{"accepted":0}"#.to_owned()));
    let (report, written) = bench.end();
    assert_eq!((report.received, report.succeeded), (5, 5));
    let mut lines: Vec<&str> = written.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, [0, 1, 2, 3, 4].map(|n| format!("{{\"n\":{n}}}")));

    let bench = Bench::new(local().whole_arrays(), |pipe| pipe);
    assert_eq!(bench.json("[1,2]"), (202, r#"{"accepted":1}"#.to_owned()));
    assert_eq!(bench.end().0.received, 1);
}

#[test]
fn whoever_waits_hears_what_came_of_it() {
    let bench = Bench::new(local().answer(Answer::Done), |pipe| pipe);
    assert_eq!(bench.json(r#"{"n": 1}"#), (200, r#"{"n":1}"#.to_owned()));
    assert_eq!(bench.json(r#"{"bad": 1}"#), (500, r#"{"error":"Order.Bad","cause":"it is bad"}"#.to_owned()));
    let expected = r#"[{"output":{"n":1}},{"error":"Order.Bad","cause":"it is bad"},{"output":{"n":2}}]"#;
    assert_eq!(bench.json(r#"[{"n":1},{"bad":1},{"n":2}]"#), (200, expected.to_owned()));
    let (report, written) = bench.end();
    assert_eq!((report.received, report.succeeded, report.dead), (5, 3, 2));
    assert_eq!(written.lines().count(), 3, "what is answered is published as well");
}

#[test]
fn what_is_not_right_is_refused_and_nothing_of_it_taken() {
    let bench = Bench::new(local().path("/events").body_bytes_max(64), |pipe| pipe);
    let at = |method: &str, path: &str, kind: &str, body: &str| {
        let (status, headers, _) = exchange(bench.address, method, path, &[("content-type", kind)], body);
        (status, headers)
    };
    let json = "application/json";
    assert_eq!(at("POST", "/", json, "1").0, 404);
    let (status, headers) = at("GET", "/events", json, "");
    assert!(status == 405 && headers.contains("allow: post"), "{headers}");
    for (kind, body) in
        [(json, "{"), (json, ""), (json, "[1,"), (json, "1 2"), ("application/x-ndjson", "1\n{\n2")]
    {
        assert_eq!(at("POST", "/events", kind, body).0, 400, "{body}");
    }
    assert_eq!(at("POST", "/events", json, &format!("\"{}\"", "x".repeat(63))).0, 413);
    assert_eq!(at("POST", "/events", json, &format!("\"{}\"", "x".repeat(62))).0, 202);
    // Without a length, it is cut off where it is too long.
    let mut stream = TcpStream::connect(bench.address).expect("it listens");
    let head =
        "POST /events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("it is read");
    for _ in 0..3 {
        let _ = stream.write_all(format!("28\r\n{}\r\n", " ".repeat(40)).as_bytes());
    }
    assert_eq!(read_reply(stream).0, 413);
    assert_eq!(bench.end().0.received, 1);
}

#[test]
fn senders_prove_that_they_may_post() {
    let header = |name: &str| name.parse().expect("a header's name");
    let secret =
        Proof::Secret { header: "x-secret".parse().expect("a name"), secret: "open sesame".to_owned() };
    assert!(!format!("{secret:?}").contains("sesame"));
    let bench = Bench::new(local().proof(secret), |pipe| pipe);
    assert_eq!(bench.json("1").0, 401);
    assert_eq!(bench.post(&[("x-secret", "open sesam")], "1").0, 401);
    assert_eq!(bench.post(&[("x-secret", "open sesame")], "1").0, 202);
    assert_eq!(bench.end().0.received, 1);

    let key = "It's a Secret to Everybody";
    let signature = Proof::Signature { header: header("x-hub-signature-256"), key: key.to_owned() };
    let bench = Bench::new(local().proof(signature), |pipe| pipe);
    let body = r#"{"hello":"world"}"#;
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key");
    mac.update(body.as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    for (given, expected) in [
        (format!("sha256={hex}"), 202),
        (hex.to_uppercase(), 202),
        (format!("sha256={}", &hex[1..]), 401),
        (hex.replace(&hex[..2], "zz"), 401),
        (String::new(), 401),
    ] {
        assert_eq!(bench.post(&[("x-hub-signature-256", &given)], body).0, expected, "{given}");
    }
    assert_eq!(bench.end().0.received, 2);
}

#[test]
fn a_request_that_is_sent_twice_runs_once() {
    let webhook = local().answer(Answer::Done).id_header("webhook-id".parse().expect("a name"));
    let bench = Bench::new(webhook, |pipe| pipe.deduplicate(KeyOf::id(), Duration::from_secs(60)));
    assert_eq!(bench.post(&[("webhook-id", "a")], "1"), (200, "1".to_owned()));
    assert_eq!(bench.post(&[("webhook-id", "a")], "1"), (200, "null".to_owned()));
    assert_eq!(bench.post(&[("webhook-id", "b")], "1"), (200, "1".to_owned()));
    assert_eq!(bench.end().0.duplicates, 1);
}

#[test]
fn what_there_is_no_room_for_is_told_to_come_again() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (begun, event_mask) = std::sync::mpsc::channel();
    let held = Arc::clone(&gate);
    let work = move |n: i64| {
        let (held, begun) = (Arc::clone(&held), begun.clone());
        async move {
            begun.send(n).expect("the test listens");
            held.acquire().await.expect("it is open").forget();
            Ok::<_, TaskError>(n)
        }
    };
    let engine = Engine::builder().shards(1).task(WORK_ARN, work).build().expect("an engine");
    let machine = engine.create_state_machine("work", WORK).expect("a machine");
    let webhook = local().answer(Answer::Done).waiting_max(1);
    let bench = Bench::of(webhook, engine, machine, |pipe| pipe.in_flight(1, 1 << 20));
    let send = |n: i64| {
        let mut stream = TcpStream::connect(bench.address).expect("it listens");
        stream.write_all(request("POST", "/", &[], &n.to_string()).as_bytes()).expect("it is read");
        stream
    };
    let first = send(1);
    assert_eq!(event_mask.recv(), Ok(1));
    // One is accepted by the pipeline, which has no room for it, one waits, and the next has no place: the one that
    // came too late is refused.
    let others: Vec<TcpStream> = (2..6).map(send).collect();
    let (sender, replies) = std::sync::mpsc::channel();
    for stream in others {
        let sender = sender.clone();
        std::thread::spawn(move || sender.send(read_reply(stream)));
    }
    let (status, headers, _) = replies.recv().expect("a reply");
    assert!(status == 503 && headers.contains("retry-after: 1"), "{status} {headers}");
    gate.add_permits(10);
    assert_eq!(read_reply(first).0, 200);
    let mut statuses: Vec<u16> = (0..3).map(|_| replies.recv().expect("a reply").0).collect();
    statuses.sort_unstable();
    assert!(statuses[0] == 200 && statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    bench.end();
}

#[test]
fn nobody_is_let_in_without_proof_unless_anyone_may() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let everywhere = || Webhook::at((Ipv4Addr::UNSPECIFIED, 0).into());
    let refused = runtime.block_on(everywhere().listen());
    assert!(matches!(&refused, Err(PipeError::Refused(why)) if why.contains("proof")), "{refused:?}");
    assert!(runtime.block_on(everywhere().anyone().listen()).is_ok());
    let here = || Webhook::at((Ipv4Addr::LOCALHOST, 0).into());
    let refused = runtime.block_on(here().listen());
    assert!(matches!(&refused, Err(PipeError::Refused(why)) if why.contains("browser")), "{refused:?}");
    let secret = Proof::Secret { header: "x-secret".parse().expect("a name"), secret: "s".to_owned() };
    assert!(runtime.block_on(here().proof(secret).listen()).is_ok());
}

#[test]
fn other_names_and_other_pages_are_refused() {
    let bench = Bench::new(local().host("hooks.example"), |pipe| pipe);
    for (headers, expected) in [
        (&[("host", "hooks.example")][..], 202),
        (&[("host", "localhost:1")], 202),
        (&[("host", "evil.example")], 421),
        (&[("host", "localhost"), ("host", "evil.example")], 400),
        (&[("host", "localhost"), ("origin", "http://localhost")], 202),
        (&[("host", "localhost"), ("origin", "https://evil.example")], 403),
        (&[("host", "localhost"), ("origin", "null")], 403),
    ] {
        assert_eq!(exchange(bench.address, "POST", "/", headers, "1").0, expected, "{headers:?}");
    }
    bench.end();
}

#[test]
fn the_command_answers_and_ends_well() {
    let folder =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("webhook-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("judge.asl.json"), JUDGE).expect("a file");
    std::fs::write(folder.join("secret"), "open sesame\n").expect("a file");
    let config = folder.join("pipe.toml");
    let text = r#"
definition = "judge.asl.json"
source = { type = "webhook", address = "127.0.0.1:0", path = "/events", wait = true, proof = { header = "x-secret", kind = "secret", secret_file = "secret" } }
sink = { type = "file", path = "out.ndjson" }
"#;
    std::fs::write(&config, text).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    command.arg("pipe").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.started();
    let mut said = BufReader::new(child.stderr.take().expect("its words"));
    let mut line = String::new();
    said.read_line(&mut line).expect("where it listens");
    let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect(&line);
    let address: SocketAddr = address.parse().expect("an address");
    let posted = exchange(address, "POST", "/events", &[("x-secret", "open sesame")], r#"{"n":1}"#);
    assert_eq!((posted.0, &*posted.2), (200, r#"{"n":1}"#));
    assert_eq!(exchange(address, "POST", "/events", &[], "1").0, 401);
    assert_eq!(servers::terminate(&mut child), Some(0));
    assert_eq!(std::fs::read_to_string(folder.join("out.ndjson")).expect("the outputs"), "{\"n\":1}\n");
    std::fs::remove_dir_all(&folder).expect("it is removed");
}

#[test]
fn bodies_count_from_when_they_begin_to_come() {
    let bench = Bench::new(local().bytes_max(1_000), |pipe| pipe);
    let body = format!("\"{}\"", "x".repeat(798));
    let mut slow = TcpStream::connect(bench.address).expect("it listens");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).expect("it reads");
    let mut expected = [0; 25];
    slow.read_exact(&mut expected).expect("it asks for the body");
    assert!(expected.starts_with(b"HTTP/1.1 100"));
    // Another has no place beside it, small ones do.
    let (status, headers, refusal) = exchange(bench.address, "POST", "/", &[], &body);
    assert!(status == 503 && headers.contains("retry-after: 1"), "{status} {headers}");
    assert_eq!(refusal, r#"{"error":"bodies take as much memory as they may"}"#);
    assert_eq!(bench.json("1").0, 202);
    // Without a length, too.
    let chunked =
        "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut stream = TcpStream::connect(bench.address).expect("it listens");
    let _ = stream.write_all(format!("{chunked}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes());
    assert_eq!(read_reply(stream).0, 503);
    slow.write_all(body.as_bytes()).expect("it reads");
    assert_eq!(read_reply(slow).0, 202);
    let (report, _) = bench.end();
    assert_eq!(report.received, 2);
}
