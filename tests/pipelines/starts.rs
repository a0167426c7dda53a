//! A pipeline whose source or sinks are away, absent or wrong when it starts. Time is virtual in the first part; the
//! command is run in the second.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lines::{Broker, KEEP, Told, engine, paused};
use expressway::pipe::{Later, Pipe, PipeError, Sink, Source};
use tokio::time::Instant;

type Opened<T> = Later<'static, Result<T, PipeError>>;

/// Fails with these errors, then succeeds; when it was called.
fn opens<T: Clone + Send + 'static>(
    errors: Vec<PipeError>,
    opened: T,
) -> (impl FnMut() -> Opened<T> + Send + 'static, Arc<Mutex<Vec<u64>>>) {
    let (calls, mut errors) = (Arc::new(Mutex::new(Vec::new())), errors.into_iter());
    let (called, mut begun) = (Arc::clone(&calls), None);
    let open = move || -> Opened<T> {
        let since = begun.get_or_insert_with(Instant::now).elapsed();
        called.lock().unwrap().push(u64::try_from(since.as_millis()).unwrap());
        Box::pin(std::future::ready(errors.next().map_or(Ok(opened.clone()), Err)))
    };
    (open, calls)
}

fn boxed(
    mut open: impl FnMut() -> Opened<Broker> + Send + 'static,
) -> impl FnMut() -> Opened<Box<dyn Source>> + Send + 'static {
    move || {
        let opened = open();
        Box::pin(async { opened.await.map(|broker| Box::new(broker) as Box<dyn Source>) })
    }
}

fn away() -> PipeError {
    PipeError::Away("connection refused".to_owned())
}

#[test]
fn what_is_away_at_the_start_is_told_and_opened_after_growing_delays() {
    let errors = |count: usize| {
        let absent = PipeError::Absent("there is no stream".to_owned());
        (0..count).map(move |n| if n == 1 { absent.clone() } else { away() }).collect::<Vec<_>>()
    };
    let events = Broker::with((0..3).map(|n| format!(r#"{{"n":{n}}}"#)));
    let (outputs, letters) = (Broker::default(), Broker::default());
    let (source, opened) = opens(errors(9), events);
    let (sink, sink_opened) = opens(errors(12), Arc::new(outputs.clone()) as Arc<dyn Sink>);
    let (dead, _) = opens(errors(0), Arc::new(letters) as Arc<dyn Sink>);
    let ((engine, machine), told) = (engine(KEEP), Told::default());
    let pipe = told.by(Pipe::opening(engine, machine, "orders", boxed(source)));
    let pipe = pipe.opening_sink("done", sink).opening_dead_letters("dead", dead);
    let (stats, runs) = (pipe.stats(), Arc::new(Mutex::new(None)));
    let (seen, at) = (Arc::clone(&runs), Arc::clone(&stats));
    let pipe = pipe.on_running(move || *seen.lock().unwrap() = Some((at.is_running(), at.failing().len())));
    let report = paused(async {
        let begun = Instant::now();
        let watched = async {
            // Both are away, and nothing is received.
            tokio::time::sleep(Duration::from_secs(10)).await;
            let ends: Vec<_> = stats.failing().into_iter().map(|it| it.address).collect();
            assert_eq!((ends, stats.is_running()), (vec!["orders".to_owned(), "done".to_owned()], false));
            // Only the sink is.
            tokio::time::sleep(Duration::from_secs(15)).await;
            assert_eq!((stats.failing().len(), stats.report().received), (1, 0));
        };
        let (report, ()) = tokio::join!(pipe.run(), watched);
        assert!(begun.elapsed() > Duration::from_secs(25));
        report.expect("it ends well")
    });
    assert_eq!((report.received, report.published, report.away), (3, 3, 21));
    assert_eq!(*runs.lock().unwrap(), Some((true, 0)), "it runs as soon as nothing fails");
    let doubled = [0, 50, 150, 350, 750, 1_550, 3_150, 6_350, 11_350, 16_350];
    assert_eq!(*opened.lock().unwrap(), doubled);
    assert_eq!(sink_opened.lock().unwrap().len(), 13);
    let told: Vec<String> = told.all().iter().map(ToString::to_string).collect();
    let of = |end: &str| told.iter().filter(|told| told.contains(end)).cloned().collect::<Vec<_>>();
    let source = [
        "The source orders failed and is retried: connection refused",
        "The source orders still fails after 6 attempts in 1 s: connection refused",
        "The source orders still fails after 8 attempts in 6 s: connection refused",
        "The source orders still fails after 9 attempts in 11 s: connection refused",
        "The source orders recovered after 9 failed attempts in 16 s.",
    ];
    assert_eq!(of("source orders"), source);
    assert_eq!(of("sink done").first().unwrap(), "The sink done failed and is retried: connection refused");
    assert_eq!(of("dead"), Vec::<String>::new());
}

#[test]
fn what_is_wrong_or_too_late_ends_the_pipeline_with_its_end_and_address() {
    let refused = || PipeError::Refused("the password is wrong".to_owned());
    let cases = [
        (vec![refused()], vec![], None, "the source orders: the password is wrong"),
        (vec![away(); 50], vec![away(), refused()], None, "the sink done: the password is wrong"),
        (vec![away(); 50], vec![], Some(0), "the source orders: connection refused"),
        (vec![], vec![away(); 50], Some(30), "the sink done: connection refused"),
    ];
    for (of_source, of_sink, within, said) in cases {
        let (source, _) = opens(of_source, Broker::default());
        let (sink, calls) = opens(of_sink, Arc::new(Broker::default()) as Arc<dyn Sink>);
        let (engine, machine) = engine(KEEP);
        let mut pipe = Pipe::opening(engine, machine, "orders", boxed(source)).opening_sink("done", sink);
        if let Some(within) = within {
            pipe = pipe.open_within(Duration::from_secs(within));
        }
        let stats = pipe.stats();
        let ended = paused(pipe.run()).expect_err("it does not run");
        assert_eq!(ended.to_string(), said);
        assert!(!stats.is_running());
        let last = calls.lock().unwrap().last().copied().unwrap_or(0);
        assert!(within.is_none_or(|within| last <= within * 1_000), "{last}");
    }
}

#[test]
fn one_that_is_stopped_before_it_begins_ends_well() {
    let (source, _) = opens(vec![away(); 1_000], Broker::default());
    let (engine, machine) = engine(KEEP);
    let pipe = Pipe::opening(engine, machine, "orders", boxed(source));
    let stop = pipe.stopper();
    let report = paused(async {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            stop.stop();
        });
        pipe.run().await.expect("it ends well")
    });
    assert_eq!((report.received, report.away), (0, 18));
}

/// Ends that are described in a file, and what the command says of them.
#[cfg(feature = "cli-pipe")]
mod command {
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use super::KEEP;
    use crate::servers::pipelines::speaks;
    use crate::servers::{Starts as _, get, terminate};

    const STDIN: &str = r#"{ type = "stdin" }"#;
    const STDOUT: &str = r#"{ type = "stdout" }"#;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder =
                Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("starts-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join("it.asl.json"), KEEP).expect("a file");
            Folder(folder)
        }

        /// A description of this name, and the command that runs it.
        fn pipe(&self, name: &str, source: &str, sink: &str, settings: &str) -> Command {
            let text = format!(
                "definition = \"it.asl.json\"\nsource = {source}\nsink = {sink}\n[pipe]\n\
                 metrics = \"127.0.0.1:0\"\n{settings}\n"
            );
            let file = self.0.join(name);
            std::fs::write(&file, text).expect("a file");
            let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
            command.arg("pipe").arg(file).env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
            command.env("AWS_ACCESS_KEY_ID", "testing").env("AWS_SECRET_ACCESS_KEY", "testing");
            command.env("AWS_REGION", "us-east-1").stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            command
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Nothing is at port 1, and no name ends with `.invalid`.
    fn ends_that_are_away() -> Vec<(&'static str, String, &'static str)> {
        let nats = |at: &str| {
            format!(r#"{{ type = "nats", url = "nats://{at}", stream = "S", durable = "d", subject = "s" }}"#)
        };
        let redis =
            |at: &str| format!(r#"{{ type = "redis", url = "redis://{at}", stream = "S", group = "g" }}"#);
        let mut ends = vec![
            (
                "nats://127.0.0.1:1 S",
                nats("me:secret@127.0.0.1:1"),
                "Connection refused; is a NATS server up",
            ),
            ("nats://x.invalid:4222 S", nats("x.invalid:4222"), "; is a NATS server up there"),
            ("redis://127.0.0.1:1 S", redis("127.0.0.1:1"), "Connection refused; is a Redis server up"),
            ("redis://x.invalid:6379 S", redis("x.invalid:6379"), "; is a Redis server up there"),
            (
                "http://127.0.0.1:1/1/q",
                r#"{ type = "sqs", url = "http://127.0.0.1:1/1/q" }"#.to_owned(),
                "AWS_ENDPOINT_URL says where it is",
            ),
        ];
        if cfg!(feature = "kafka") {
            let kafka =
                r#"{ type = "kafka", servers = "127.0.0.1:1", group = "g", topics = ["S"], topic = "S" }"#;
            ends.push((
                "kafka 127.0.0.1:1 S",
                kafka.to_owned(),
                "is a server of the Kafka cluster up there?",
            ));
        }
        ends
    }

    #[test]
    fn ends_that_are_away_are_told_until_the_pipeline_is_asked_to_end() {
        let folder = Folder::new("away");
        let mut running = Vec::new();
        for (n, (place, end, why)) in ends_that_are_away().into_iter().enumerate() {
            for (side, source, sink) in [("source", &*end, STDOUT), ("sink", STDIN, &*end)] {
                let pipe = speaks(folder.pipe(&format!("{side}-{n}.toml"), source, sink, ""));
                running.push((pipe, side, place, why));
            }
        }
        for ((mut child, mut said), side, place, why) in running {
            let metrics = said.until(&["Metrics are at http://"]);
            let metrics = metrics.split('/').nth(2).expect("an address");
            let line = said.until(&[format!("The {side} {place} failed and is retried: ")]);
            // Not all clients of sinks connect when they are made.
            assert!(side == "sink" || line.contains(why), "{line}");
            assert!(!said.all.contains("secret"), "{}", said.all);
            let (status, ready) = get(metrics, "/ready");
            assert!(status == 503 && ready.contains(&format!("The {side} {place} ")), "{ready}");
            assert_eq!(get(metrics, "/health").0, 200);
            let down = get(metrics, "/metrics").1;
            assert!(down.contains(&format!("expressway_pipe_end_up{{end=\"{side}\"}} 0\n")), "{down}");
            assert_eq!(terminate(&mut child), Some(0), "{place}");
            let rest = said.rest();
            assert!(!rest.contains("The pipeline runs."), "{rest}");
            assert!(rest.contains("0 events: 0 succeeded, "), "{rest}");
        }
    }

    #[test]
    fn ends_that_are_away_for_longer_than_they_may_end_it() {
        let folder = Folder::new("within");
        let ends = ends_that_are_away().into_iter().enumerate();
        let running: Vec<_> = ends
            .map(|(n, (place, end, why))| {
                let mut command = folder.pipe(&format!("{n}.toml"), &end, STDOUT, "start_within = 0");
                (command.started(), place, why)
            })
            .collect();
        for (child, place, why) in running {
            let output = child.wait_with_output().expect("an answer");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{said}");
            let last = said.lines().rfind(|line| line.starts_with("expressway: ")).expect("why");
            let begins = format!("expressway: the source {place}: ");
            assert!(last.starts_with(&begins) && last.contains(why), "{said}");
            assert!(!said.contains("is retried"), "{said}");
        }
    }

    #[test]
    fn what_is_wrong_in_a_description_ends_it_at_once() {
        let folder = Folder::new("wrong");
        let cases = [
            (r#"{ type = "file", path = "nowhere.ndjson" }"#, STDOUT, "nowhere.ndjson"),
            (STDIN, r#"{ type = "file", path = "nowhere/out.ndjson" }"#, "nowhere/out.ndjson"),
            (STDOUT, STDOUT, "the source standard output: stdout is a sink, not a source"),
            (STDIN, r#"{ type = "sqs", url = "orders" }"#, "it is not the URL of a queue"),
            (
                r#"{ type = "nats", url = "nats://127.0.0.1:99999", stream = "S", durable = "d" }"#,
                STDOUT,
                "99999",
            ),
            (
                r#"{ type = "nats", url = "nats://127.0.0.1:1", stream = "S" }"#,
                STDOUT,
                "`stream` and `durable`",
            ),
            (
                r#"{ type = "nats", url = "nats://127.0.0.1:1", stream = "S", durable = "d", credentials = "nowhere.creds" }"#,
                STDOUT,
                "nowhere.creds",
            ),
            (
                r#"{ type = "redis", url = "http://127.0.0.1:1", stream = "S", group = "g" }"#,
                STDOUT,
                "redis://[USER:PASSWORD@]HOST",
            ),
            (
                r#"{ type = "redis", url = "redis://127.0.0.1:99999", stream = "S", group = "g" }"#,
                STDOUT,
                "redis://[USER:PASSWORD@]HOST",
            ),
            (r#"{ type = "webhook", address = "127.0.0.1:1" }"#, STDOUT, "give it a `proof`"),
            (
                r#"{ type = "sqs", url = "https://sqs.us-east-1.amazonaws.com/1/q" }"#,
                STDOUT,
                "are the credentials right",
            ),
        ];
        for (source, sink, why) in cases {
            let mut command = folder.pipe("pipe.toml", source, sink, "");
            if why.contains("credentials") {
                // Nowhere is there a user; a server of this machine would be asked without one.
                for name in ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL"] {
                    command.env_remove(name);
                }
                command.env("AWS_EC2_METADATA_DISABLED", "true");
                command.env("AWS_SHARED_CREDENTIALS_FILE", "nowhere").env("AWS_CONFIG_FILE", "nowhere");
            }
            let output = command.answered();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{source} {sink}: {said}");
            assert!(said.contains(why) && !said.contains("is retried"), "{source} {sink}: {said}");
        }
    }
}
