//! Files as sinks: what happens when they are removed, and when there is no room for them.

use std::time::Duration;

use expressway::pipe::{Lines, Pipe};

use super::lines::{KEEP, engine, paused};

#[test]
fn a_file_that_is_removed_is_created_again() {
    let name = format!("removed-{}.ndjson", std::process::id());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (engine, machine) = engine(KEEP);
    let sink = Lines::to_file(&path).expect("a file");
    let (events, mut feed) = std::io::pipe().expect("a pipe");
    let source = Lines::from_reader("events", events);
    let pipe = Pipe::new(engine, machine, source).sink(sink).batch(1, Duration::ZERO).in_flight(1, 1_000);
    let moved = path.with_extension("1");
    let all: Vec<String> = (0..4).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let stats = pipe.stats();
    paused(async {
        let running = tokio::spawn(pipe.run());
        std::io::Write::write_all(&mut feed, all[0].as_bytes()).expect("it reads");
        while stats.report().published == 0 {
            tokio::task::yield_now().await;
        }
        // As programs do it that turn logs over.
        std::fs::rename(&path, &moved).expect("it is moved");
        std::io::Write::write_all(&mut feed, all[1..].concat().as_bytes()).expect("it reads");
        drop(feed);
        running.await.expect("no panic").expect("it ends well")
    });
    let read = |path| std::fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
    let (before, after) = (read(&moved), read(&path));
    assert_eq!((before, after), (all[0].clone(), all[1..].concat()));
    let _ = (std::fs::remove_file(&moved), std::fs::remove_file(&path));
}

#[cfg(feature = "cli-pipe")]
#[test]
fn a_file_without_room_is_waited_for_and_has_each_line_once() {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::servers::{Said, Starts as _, get};

    if !Command::new("prlimit").arg("--version").tried().is_ok_and(|output| output.status.success()) {
        return super::servers::not_run("prlimit is not installed");
    }
    let name = format!("no-room-{}", std::process::id());
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("keep.asl.json"), KEEP).expect("a file");
    let description = "definition = \"keep.asl.json\"\nsource = { type = \"stdin\" }\n\
                       sink = { type = \"file\", path = \"out.ndjson\" }\n\
                       pipe = { metrics = \"127.0.0.1:0\" }\n";
    std::fs::write(folder.join("pipe.toml"), description).expect("a file");
    // The signal for such a file would end the pipeline.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" pipe pipe.toml", env!("CARGO_BIN_EXE_expressway")]);
    command.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.started();
    let mut said = Said::by(&mut child);
    let metrics = said.until(&["Metrics are at http://"]);
    let metrics = metrics.split('/').nth(2).expect("an address").to_owned();
    said.until(&["The pipeline runs."]);
    let process = child.id().to_string();
    let room = |bytes: &str| {
        let limit = format!("--fsize={bytes}:");
        let set = Command::new("prlimit").args(["--pid", &process, &limit]).answered();
        assert!(set.status.success());
    };
    // In the middle of a line.
    room("1003");
    let events: String = (0..500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(events.as_bytes()).expect("it reads");
    drop(stdin);
    said.until(&["out.ndjson failed and is retried: cannot write: "]);
    let (status, why) = get(&metrics, "/ready");
    assert!(status == 503 && why.contains("The sink "), "{status} {why}");
    room("unlimited");
    said.until(&["out.ndjson recovered after "]);
    assert_eq!(child.wait().expect("its end").code(), Some(0));
    assert!(said.rest().contains("500 events: 500 succeeded"));
    assert_eq!(std::fs::read_to_string(folder.join("out.ndjson")).expect("the outputs"), events);
    let _ = std::fs::remove_dir_all(&folder);
}

#[cfg(feature = "cli-pipe")]
#[test]
fn a_pipeline_that_breaks_off_says_how_far_it_came() {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::servers::{Said, Starts as _};

    let name = format!("breaks-off-{}", std::process::id());
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("keep.asl.json"), KEEP).expect("a file");
    let description = "definition = \"keep.asl.json\"\nsource = { type = \"stdin\" }\n\
                       sink = { type = \"file\", path = \"/dev/full\" }\n";
    std::fs::write(folder.join("pipe.toml"), description).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    command.args(["pipe", "pipe.toml"]).current_dir(&folder);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.started();
    let mut said = Said::by(&mut child);
    said.until(&["The pipeline runs."]);
    let stdin = child.stdin.as_mut().expect("its input");
    stdin.write_all(b"{\"n\":1}\n{\"n\":2}\n").expect("it reads");
    said.until(&["The sink /dev/full failed and is retried: "]);
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("its end").code(), Some(2));
    let rest = said.rest();
    assert!(rest.contains("0 events: 0 succeeded, 2 not finished"), "{rest}");
    assert!(rest.contains("not published, and the source redelivers nothing: "), "{rest}");
    let _ = std::fs::remove_dir_all(&folder);
}

/// An event names a file, whose lines a distributed Map of the pipeline's Express machine reads.
#[cfg(all(feature = "cli-pipe", feature = "map-data"))]
#[test]
fn a_map_reads_the_file_that_an_event_names() {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::servers::Starts as _;

    let name = format!("maps-{}", std::process::id());
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(folder.join("data")).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a file");
    write("data/a.jsonl", "{\"n\":1}\n{\"n\":2}\n");
    write("data/b.csv", "n\n3\n");
    let map = |config: &str, child: &str| {
        format!(
            r#"{{"Type": "Map", "End": true, "MaxConcurrency": 1, "ItemReader": {{"Resource": "arn:aws:states:::file:read",
            "ReaderConfig": {config}, "Parameters": {{"Path.$": "$.file"}}}},
            "ItemProcessor": {{"ProcessorConfig": {{"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}},
              "StartAt": "{child}", "States": {{"{child}": {{"Type": "Pass", "OutputPath": "$.n", "End": true}}}}}}}}"#
        )
    };
    let lines = map(r#"{"InputType": "JSONL"}"#, "Line");
    let cells = map(r#"{"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}"#, "Cell");
    let machine = format!(
        r#"{{"StartAt": "Kind", "States": {{"Kind": {{"Type": "Choice", "Default": "Lines", "Choices": [
            {{"Variable": "$.file", "StringMatches": "*.csv", "Next": "Cells"}}]}}, "Lines": {lines}, "Cells": {cells}}}}}"#
    );
    write("each.asl.json", &machine);
    let end = "source = { type = \"stdin\" }\nsink = { type = \"stdout\" }\n";
    let run = |tasks: &str| {
        write("pipe.toml", &format!("definition = \"each.asl.json\"\n{end}{tasks}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
        command.args(["pipe", "pipe.toml"]).current_dir(&folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.started();
        let events = b"{\"file\":\"a.jsonl\"}\n{\"file\":\"b.csv\"}\n";
        // It may have ended, refusing the definition.
        let _ = child.stdin.take().expect("its input").write_all(events);
        let output = child.wait_with_output().expect("its end");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (text(output.stdout), text(output.stderr))
    };
    let (mut shown, said) = run("tasks = { files = \"data\" }\n");
    // Events are handled at once, and may end in another order.
    let mut lines: Vec<&str> = shown.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["[\"3\"]", "[1,2]"], "{said}");
    // Without the folder it is as on AWS.
    (shown, _) = run("");
    assert_eq!(shown, "");
    let _ = std::fs::remove_dir_all(&folder);
}
