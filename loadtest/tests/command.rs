//! The command from the user's view: exit codes, messages, files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn loadtest() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    // The built-in workloads, wherever the test runs.
    command.env("EXPRESSWAY_PERF", "nowhere");
    command
}

fn said(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = loadtest().args(arguments).output().expect("the command");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// A folder for one test, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("loadtest-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const SHORT: [&str; 6] = ["--duration", "200ms", "--warmup", "10ms", "--workers", "1"];

#[test]
fn without_a_rate_it_ends_with_two_numbers_and_a_line_of_json() {
    let (code, out, error) = said(&SHORT);
    assert_eq!(code, 0, "{error}");
    let last: Vec<&str> = out.lines().rev().take(3).collect();
    assert!(last[2].ends_with(" starts/s") && last[1].contains("p99.9 latency"), "{out}");
    let line: serde_json::Value = serde_json::from_str(last[0]).expect("JSON");
    assert!(line["starts_per_second"].as_f64().is_some_and(|rate| rate > 100.0), "{line}");
    assert!(line["p99.9_ns"].as_u64().is_some_and(|time| time > 0), "{line}");
    assert_eq!(line["workload"], "w2");
}

#[test]
fn all_reports_are_written_and_two_of_them_compare() {
    let folder = Folder::new("reports");
    let run = |out: &str| {
        let mut arguments = vec!["--rate", "2k", "--out", out, "--threshold", "errors <= 0%", "--plain"];
        arguments.extend(SHORT);
        said(&arguments)
    };
    let (one, other) = (format!("{}/one", folder.path()), format!("{}/other", folder.path()));
    let (code, out, error) = run(&one);
    assert_eq!(code, 0, "{out}{error}");
    assert_eq!(run(&other).0, 0);
    let report: serde_json::Value = serde_json::from_str(&folder.read("one/report.json")).expect("JSON");
    // A machine that pauses at the end leaves some due starts unsent, and reports it.
    let count = |name: &str| report["total"][name].as_u64().expect("a count");
    assert_eq!(count("succeeded") + count("dropped"), 400);
    assert!(count("succeeded") > 0);
    for (part, name) in
        [("machine", "cpu"), ("machine", "kernel"), ("machine", "flags"), ("machine", "commit")]
    {
        assert!(report[part][name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    let page = folder.read("one/report.html");
    assert!(page.contains("<svg") && page.contains("Latency by percentile"));
    assert!(!page.contains("src=") && !page.contains("href="), "the page needs something else");
    assert!(folder.read("one/latency.hgrm").contains("#[Mean"));
    assert!(folder.read("one/junit.xml").contains("failures=\"0\""));
    assert!(folder.read("one/seconds.csv").lines().count() >= 2);
    for line in folder.read("one/seconds.ndjson").lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
    assert!(folder.read("one/summary.txt").contains("AWS would ask"));
    let (code, out, error) = said(&["compare", &one, &other]);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("rate") && out.contains("p99.9"), "{out}");
}

#[test]
fn a_breached_threshold_is_exit_code_1_and_a_failure_in_junit() {
    let folder = Folder::new("threshold");
    let mut arguments = vec!["--rate", "500", "--out", folder.path(), "--threshold", "p50 <= 1ns"];
    arguments.extend(SHORT);
    let (code, out, _) = said(&arguments);
    assert_eq!(code, 1);
    assert!(out.contains("BREACHED"), "{out}");
    assert!(folder.read("junit.xml").contains("<failure"));
}

#[test]
fn a_workload_file_says_everything() {
    let folder = Folder::new("file");
    folder.file("mine.asl.json", r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#);
    folder.file("inputs.ndjson", "{\"n\": 1}\n{\"n\": 2}\n");
    let toml = folder.file(
        "mixed.toml",
        r#"
        duration = "200ms"
        warmup = 0
        workers = 1
        thresholds = ["errors <= 100%"]
        [arrivals]
        model = "ramp"
        from = "1k"
        to = "3k"
        poisson = true
        [[target]]
        definition = "mine.asl.json"
        input = { file = "inputs.ndjson" }
        kind = "inline"
        [[target]]
        workload = "tasks"
        weight = 0.5
        task_time = "1ms"
        [faults.fail]
        share = 1
        "#,
    );
    let (code, out, error) = said(&[&toml]);
    assert_eq!(code, 0, "{out}{error}");
    assert!(
        out.contains("mine.asl.json") && out.contains("tasks") && out.contains("Loadtest.Broken"),
        "{out}"
    );
    let json = folder.file(
        "one.json",
        r#"{"duration": 0.1, "warmup": 0, "arrivals": {"model": "constant", "rate": 100}, "target": [{"workload": "w1"}]}"#,
    );
    assert_eq!(said(&[&json]).0, 0);
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let folder = Folder::new("wrong");
    let not_json = folder.file("not.json", "nonsense");
    let wrong = [
        (vec!["--rate", "1e30"], "impossible"),
        (vec!["--rate", "-5"], "negative"),
        (vec!["--rate", "0"], "more than 0"),
        (vec!["--rate", "5", "--closed", "3"], "cannot be used with"),
        (vec!["--duration", "0"], "duration"),
        (vec!["--workload", "w9", "--rate", "1"], "w9"),
        (vec!["no/such/file.toml"], "no/such/file.toml"),
        (vec![&*not_json], "not.json"),
        (vec!["--definition", &not_json, "--rate", "1"], "target not.json"),
        (vec!["--input", "no/such/input", "--rate", "1"], "no/such/input"),
        (vec!["--input-bytes", "1M", "--rate", "1"], "262,144"),
        (vec!["--input-bytes", "100", "--rate", "1"], "200 bytes at least"),
        (vec!["--endpoint", "nowhere", "--rate", "1"], "nowhere"),
        (vec!["--endpoint", "http://127.0.0.1:1", "--rate", "1"], "no connection"),
        (vec!["--endpoint", "http://x", "--operation", "Fly", "--rate", "1"], "Fly"),
        (vec!["--endpoint", "https://127.0.0.1:1", "--ca", "no/such.pem", "--rate", "1"], "no/such.pem"),
        (vec!["--endpoint", "https://127.0.0.1:1", "--ca", &not_json, "--rate", "1"], "no certificate"),
        (vec!["--threshold", "speed <= 1"], "speed"),
        (vec!["compare", "no/such", "other"], "no/such"),
        (vec!["compare", folder.path(), "other"], "report.json"),
        (vec!["compare", &not_json, &not_json], "not.json"),
    ];
    for (arguments, expected) in wrong {
        let (code, _, error) = said(&arguments);
        assert_eq!(code, 2, "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{arguments:?}: {error}");
    }
}

#[test]
fn find_max_finds_a_rate_that_is_borne() {
    let folder = Folder::new("search");
    let mut arguments =
        vec!["--find-max", "--slo", "p50=1s", "--slo", "errors=0", "--quiet", "--out", folder.path()];
    arguments.extend(SHORT);
    let (code, out, error) = said(&arguments);
    assert!(code <= 1, "{error}");
    for line in folder.read("trials.ndjson").lines() {
        let trial: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(trial["rate"].as_f64().is_some_and(|rate| rate > 0.0), "{trial}");
    }
    let words = ["is the highest rate with p50 <= 1.00 s", "no rate was found"];
    assert!(words.iter().any(|word| out.contains(word)), "{out}");
}

/// Begins a run of a minute, and waits until it has reported its first second.
#[cfg(unix)]
fn a_minute(folder: &Folder, arguments: &[&str]) -> std::process::Child {
    let mut child = loadtest()
        .args(["--duration", "60s", "--warmup", "0", "--plain", "--out", folder.path()])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command");
    let mut stderr = std::io::BufReader::new(child.stderr.take().expect("its stderr"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stderr, &mut line).expect("a line");
    // Later output is discarded, and must not stop it.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    child
}

/// Which processors each thread of a process may use, by the thread's name, as `taskset` has it.
#[cfg(target_os = "linux")]
fn processors_of(process: u32) -> Vec<(String, String)> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("threads");
    let of = |thread: std::path::PathBuf| {
        let read = |file: &str| std::fs::read_to_string(thread.join(file)).ok();
        let (name, status) = (read("comm")?, read("status")?);
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Some((name.trim().to_owned(), allowed.trim().to_owned()))
    };
    threads.flatten().filter_map(|thread| of(thread.path())).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn who_sends_has_processors_that_nobody_else_in_the_process_has() {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    for (arguments, is_apart) in [
        (&["--rate", "1k"][..], count > 1),
        (&["--rate", "1k", "--workload", "tasks"], count > 1),
        (&["--rate", "1k", "--placement", "free"], false),
        (&["--closed", "1"], false),
    ] {
        let folder = Folder::new(&format!("placed{}", arguments.join("")));
        let child = a_minute(&folder, &[arguments, &["--workers", "1"]].concat());
        let threads = processors_of(child.id());
        kill(&child, "-INT");
        child.wait_with_output().expect("its end");
        let (senders, others): (Vec<_>, Vec<_>) =
            threads.into_iter().partition(|(name, _)| name.starts_with("sender-"));
        let sender = &senders.first().expect("a sender").1;
        // One thread waits for signals, and does nothing else; it was there before.
        let last = |allowed: &str| allowed.rsplit(['-', ',']).next().map(str::to_owned);
        let may_meet = |(name, allowed): &(String, String)| name != "ctrl-c" && last(allowed) == last(sender);
        let met = others.iter().any(may_meet);
        assert_eq!(sender.parse::<usize>().is_ok() && !met, is_apart, "{arguments:?}: {sender}, {others:?}");
        let report: serde_json::Value = serde_json::from_str(&folder.read("report.json")).expect("JSON");
        let told = report["generator"]["processors"]["workers"][0].as_u64();
        assert_eq!(told.map(|number| number.to_string()), is_apart.then(|| sender.clone()), "{arguments:?}");
        let words = if is_apart {
            format!("1 worker on processor {sender}, all else on")
        } else {
            "1 worker, ".to_owned()
        };
        assert!(folder.read("summary.txt").contains(&words), "{}", folder.read("summary.txt"));
    }
}

#[cfg(unix)]
fn kill(child: &std::process::Child, signal: &str) {
    let kill = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill");
    assert!(kill.success());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_with_the_partial_report() {
    for signal in ["-INT", "-TERM"] {
        let folder = Folder::new(&format!("interrupted{signal}"));
        let child = a_minute(&folder, &["--rate", "1k"]);
        kill(&child, signal);
        let output = child.wait_with_output().expect("its end");
        assert_eq!(output.status.code(), Some(130));
        assert!(Path::new(folder.path()).join("report.html").exists());
        let report: serde_json::Value = serde_json::from_str(&folder.read("report.json")).expect("JSON");
        assert_eq!(report["interrupted"], true);
        assert!(report["total"]["succeeded"].as_u64().is_some_and(|count| count > 0));
        assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds < 59.0));
    }
}

#[cfg(unix)]
#[test]
fn a_signal_before_the_first_start_ends_it_at_once() {
    // An endpoint that takes a connection and never answers: the state machine is still to be made.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
    let mut child = loadtest()
        .args(["--endpoint", &endpoint, "--rate", "1"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command");
    // The first one only checks the connection.
    let open = [listener.accept().expect("a connection"), listener.accept().expect("a connection")];
    let begun = std::time::Instant::now();
    kill(&child, "-TERM");
    assert_eq!(child.wait().expect("its end").code(), Some(130));
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "it waited for an answer");
    drop(open);
}

#[cfg(unix)]
#[test]
fn a_search_that_is_interrupted_keeps_what_it_found() {
    let folder = Folder::new("interrupted-search");
    let child = a_minute(&folder, &["--find-max"]);
    kill(&child, "-INT");
    let output = child.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(130));
    let report: serde_json::Value = serde_json::from_str(&folder.read("report.json")).expect("JSON");
    assert!(report["total"]["sent"].as_u64().is_some_and(|count| count > 0));
}

#[cfg(unix)]
#[test]
fn a_process_that_is_killed_leaves_its_seconds() {
    let folder = Folder::new("killed");
    folder.file("report.json", "that of another run");
    let mut child = a_minute(&folder, &["--rate", "1k"]);
    kill(&child, "-KILL");
    child.wait().expect("its end");
    let seconds = folder.read("seconds.ndjson");
    let first: serde_json::Value =
        serde_json::from_str(seconds.lines().next().expect("a second")).expect("JSON");
    assert!(first["sent"].as_f64().is_some_and(|rate| rate > 0.0), "{first}");
    assert!(!Path::new(folder.path()).join("report.json").exists(), "the report of another run is left");
}

#[cfg(unix)]
#[test]
fn whoever_reads_may_go_away() {
    let folder = Folder::new("pipe");
    let mut arguments = vec!["--rate", "500", "--out", folder.path(), "--plain"];
    arguments.extend(SHORT);
    for arguments in [&arguments[..], &["workloads"], &["compare", folder.path(), folder.path()]] {
        let mut child = loadtest()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command");
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().expect("its end").code(), Some(0), "{arguments:?}");
    }
    folder.read("report.json");
}
