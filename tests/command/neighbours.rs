//! `expressway serve` beside workflows that loop and compute without end: others are served, and signals are handled.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::required::some_of;
use crate::serving::Serving;

/// Generous, for tests on busy machines: what is asserted is that no caller waits for operations that take minutes.
const IN_TIME: Duration = Duration::from_secs(5);

fn create(serving: &Serving, name: &str, definition: &str) -> String {
    let request = json!({"name": name, "type": "EXPRESS", "roleArn": "arn:aws:iam::123456789012:role/r",
        "definition": definition});
    let (status, body) = serving.ask("CreateStateMachine", &request.to_string());
    assert_eq!(status, 200, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    body["stateMachineArn"].as_str().expect("an ARN").to_owned()
}

const LOOP: &str = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "C": {"Type": "Succeed"},
    "B": {"Type": "Choice", "Default": "A", "Choices": [{"Variable": "$.end", "IsPresent": true, "Next": "C"}]}}}"#;
const COMPUTE: &str = r#"{"QueryLanguage": "JSONata", "StartAt": "P", "States": {"E": {"Type": "Succeed"},
    "P": {"Type": "Pass", "Next": "C", "Output": "{% $sum([1..2000].($sum([1..200].($ * 2)))) %}"},
    "C": {"Type": "Choice", "Default": "P", "Choices": [{"Condition": "{% $states.input < 0 %}", "Next": "E"}]}}}"#;
const PASS: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;

#[test]
fn others_are_served_beside_what_never_ends() {
    let serving = Serving::start(&["--threads", "2"]);
    let pass = create(&serving, "pass", PASS);
    for (name, definition) in [("loops", LOOP), ("computes", COMPUTE)] {
        let machine = create(&serving, name, definition);
        for _ in 0..10 {
            let start = json!({"stateMachineArn": machine, "input": "{}"}).to_string();
            assert_eq!(serving.ask("StartExecution", &start).0, 200);
        }
    }
    std::thread::scope(|scope| {
        // Clients that wait for what never ends, and leave.
        for name in ["loops", "computes"] {
            let start = json!({"stateMachineArn": pass.replace("pass", name), "input": "{}"}).to_string();
            scope.spawn(|| {
                let start = start;
                serving.hang_up("StartSyncExecution", &start, Duration::from_secs(2));
            });
        }
        for _ in 0..50 {
            let began = Instant::now();
            let start = json!({"stateMachineArn": pass, "input": "{}"}).to_string();
            let (status, body) = serving.ask("StartSyncExecution", &start);
            assert!(status == 200 && body.contains("SUCCEEDED"), "{body}");
            assert_eq!(serving.get("/health"), "ok\n");
            assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
        }
    });
    // A second signal ends it at once.
    serving.terminate();
    let began = Instant::now();
    let mut serving = serving;
    assert!(serving.line().contains("a second signal ends at once"));
    serving.terminate();
    let (code, rest) = serving.end();
    assert_eq!(code, Some(2), "{rest}");
    assert!(began.elapsed() < IN_TIME, "{rest}");
}

#[test]
fn a_state_that_is_tested_keeps_nobody_waiting() {
    let serving = Serving::start(&["--threads", "1"]);
    let pass = create(&serving, "pass", PASS);
    let fields: serde_json::Map<_, _> =
        (0..2_000).map(|n| (format!("a{n}.$"), json!("$..*..*..z"))).collect();
    let state = json!({"Type": "Pass", "Parameters": fields, "End": true});
    let list: Vec<_> = (0..2_000).map(|n| json!([n, [n, [n]]])).collect();
    let long = json!({"definition": state.to_string(), "input": json!({"l": list}).to_string()}).to_string();
    let short = json!({"definition": r#"{"Type": "Pass", "End": true}"#, "input": "{}"}).to_string();
    // A client that half-closes may still want the answer, so these are computed until their time is over.
    let start = json!({"stateMachineArn": pass, "input": "{}"}).to_string();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| serving.hang_up("TestState", &long, Duration::from_secs(2)));
        }
        for _ in 0..20 {
            let began = Instant::now();
            let (status, body) = serving.ask("StartSyncExecution", &start);
            assert!(status == 200 && body.contains("SUCCEEDED"), "{body}");
            assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
        }
        let began = Instant::now();
        let (status, body) = serving.ask("TestState", &short);
        assert!(status == 200 && body.contains("SUCCEEDED"), "{body}");
        assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
    });
}

/// Nanoseconds that the thread of a process was on a processor.
#[cfg(target_os = "linux")]
fn busy_ns(process: u32, thread: &str) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("its threads");
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let of_thread = threads.map(|entry| entry.expect("a thread").path()).find(|path| {
        let name = read(path.join("comm"));
        name.trim() == thread
    });
    let stat = read(of_thread.expect("it has this thread").join("schedstat"));
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number")
}

#[test]
#[cfg(target_os = "linux")]
fn the_thread_that_answers_health_makes_no_metrics() {
    let serving = Serving::start(&["--threads", "1"]);
    for n in 0..60 {
        let states = (0..20).map(|n| format!(r#""s{n}": {{"Type": "Pass", "Next": "s{}"}},"#, n + 1));
        let states: String = states.collect();
        let definition =
            format!(r#"{{"StartAt": "s0", "States": {{{states} "s20": {{"Type": "Succeed"}}}}}}"#);
        let machine = create(&serving, &format!("m{n}"), &definition);
        let start = json!({"stateMachineArn": machine, "input": "{}"}).to_string();
        assert_eq!(serving.ask("StartSyncExecution", &start).0, 200);
    }
    let measure = |path: &str| {
        let before = busy_ns(serving.process(), "http-acceptor");
        for _ in 0..20 {
            serving.get(path);
        }
        busy_ns(serving.process(), "http-acceptor") - before
    };
    let text = serving.get("/metrics");
    assert!(text.len() > 100_000, "{} bytes are nothing to be afraid of", text.len());
    // Connections, requests and responses cost it something; making the text costs a hundred times that.
    let (health, metrics) = (measure("/health"), measure("/metrics"));
    assert!(metrics < 10 * health, "{metrics} ns for the metrics, {health} ns to say that it is healthy");
}

/// Descriptors that this process may have, once that is as many as it can be.
#[cfg(target_os = "linux")]
fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("it may be what it may be");
    maximum.unwrap_or(u64::MAX)
}

#[test]
#[cfg(target_os = "linux")]
fn clients_that_said_all_they_had_to_say_do_not_slow_others() {
    use std::io::Write;
    let many = (raise_file_limit() / 2 - 100).min(some_of(10_000, 20));
    let many = usize::try_from(many).expect("ten thousand");
    let serving = Serving::start(&["--threads", "2"]);
    let (pass, endless) = (create(&serving, "pass", PASS), create(&serving, "loops", LOOP));
    let start = |machine: &str| json!({"stateMachineArn": machine, "input": "{}"}).to_string();
    let mut streams = Vec::new();
    let mut closed_half = |count: usize| {
        let body = start(&endless);
        while streams.len() < count {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", serving.port)).expect("a connection");
            let request = format!(
                "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AWSStepFunctions.StartSyncExecution\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(request.as_bytes()).expect("a request");
            stream.shutdown(std::net::Shutdown::Write).expect("half of a connection");
            streams.push(stream);
        }
        let live = || {
            let metrics = serving.get("/metrics");
            let lines = metrics.lines().filter(|line| line.starts_with("expressway_executions_live"));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
        };
        // They wait for an answer, and nothing of it was given up.
        while live() < count as f64 {
            std::thread::yield_now();
        }
    };
    let median = || {
        let mut connection = serving.connect();
        let mut took: Vec<Duration> = (0..51)
            .map(|_| {
                let began = Instant::now();
                let (status, body) = connection.ask("StartSyncExecution", &start(&pass));
                assert!(status == 200 && body.contains("SUCCEEDED"), "{body}");
                began.elapsed()
            })
            .collect();
        took.sort();
        took[took.len() / 2]
    };
    closed_half(20);
    let beside_few = median();
    closed_half(many);
    let beside_many = median();
    println!("{beside_few:?} beside 20, {beside_many:?} beside {many}");
    assert!(beside_many < 10 * beside_few + Duration::from_millis(50), "{beside_few:?}, {beside_many:?}");
}
