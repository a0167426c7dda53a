//! The display of terminals of 80 and 120 columns.

/// The screen after the whole output: its lines, up to the last one with content.
fn screen(written: &str, columns: u16) -> String {
    let size = |n: u16| std::num::NonZeroU16::new(n).expect("terminals have some");
    let mut parser = vt100::Parser::new(size(ROWS), size(columns), 0);
    parser.process(written.as_bytes());
    let lines = parser.screen().rows(0, columns).map(|line| format!("{}\n", line.trim_end()));
    format!("{}\n", lines.collect::<String>().trim_end())
}

/// Rows of the terminals whose screens are kept.
const ROWS: u16 = 400;

/// Compares with a file in `tests/golden/screens`; `EXPRESSWAY_WRITE=1` writes it.
fn is_as_kept(name: &str, columns: u16, shown: &str) -> Result<(), String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/screens");
    let file = folder.join(format!("{name}-{columns}.txt"));
    if std::env::var_os("EXPRESSWAY_WRITE").is_some() {
        std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, shown)).expect("the file");
        return Ok(());
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    if kept == shown { Ok(()) } else { Err(format!("{} is\n{kept}\nand should be\n{shown}", file.display())) }
}

/// A definition with three mistakes, one of them in a line that is too long to show.
const MISTAKES: &str = r#"{
  "StartAt": "Hello",
  "States": {
    "Hello": {"Type": "Pass", "Next": "Good bye"},
    "Goodbye": {"Type": "Succed", "Comment": "a long comment that goes on and on, so that this line is longer than terminals are wide, and longer than what is shown of one", "Nxet": "Hello"}
  }
}"#;

#[test]
fn screens_of_80_and_120_columns_are_as_kept() {
    let folder = crate::serving::Folder::new("screens");
    folder.write("mistakes.asl.json", MISTAKES);
    folder.write("hello.asl.json", r#"{"StartAt": "Hello", "States": {"Hello": {"Type": "Pass", "Result": {"greeting": "hi", "to": ["Ada", "Bob"]}, "End": true}}}"#);
    let mut wrong = Vec::new();
    for (name, arguments) in [
        ("help", &["--help"][..]),
        ("run-help", &["run", "--help"]),
        ("validate-help", &["validate", "--help"]),
        ("graph-help", &["graph", "--help"]),
        ("test-state-help", &["test-state", "--help"]),
        ("serve-help", &["serve", "--help"]),
        ("pipe-help", &["pipe", "--help"]),
        ("redrive-help", &["redrive", "--help"]),
        ("top-help", &["top", "--help"]),
        ("soak-help", &["soak", "--help"]),
        ("executions-help", &["executions", "--help"]),
        ("journal-help", &["journal", "--help"]),
        ("cluster-help", &["cluster", "--help"]),
        ("studio-help", &["studio", "--help"]),
        ("env-help", &["env", "--help"]),
        ("hosts-help", &["hosts", "--help"]),
        ("validate", &["validate", "mistakes.asl.json"]),
        ("run", &["run", "hello.asl.json", "--quiet", "--input", "{}"]),
        ("test-state", &["test-state", "hello.asl.json", "--state", "Hello"]),
    ] {
        for columns in [80, 120] {
            let mut command = crate::serving::expressway();
            command.args(arguments).current_dir(&folder.0).env("TERM", "xterm-256color");
            let (written, _) = crate::terminal::begin(command, columns).finish();
            let shown = screen(&written, columns);
            wrong.extend(is_as_kept(name, columns, &shown).err());
            let cut = shown.lines().any(|line| line.chars().count() > usize::from(columns));
            assert!(!cut, "{name} at {columns} columns");
            // Examples can be copied: none is broken into two lines.
            let examples = shown.lines().skip_while(|line| *line != "Examples:").skip(1);
            for example in examples.take_while(|line| !line.is_empty()) {
                let first = example.split_whitespace().next().unwrap_or_default();
                let is_whole = ["expressway", "eval", "sudo", "--inspection"].contains(&first);
                assert!(is_whole, "{name} at {columns} columns: {example}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The text of `--help`, on a terminal of 80 columns.
fn help(path: &[String]) -> String {
    let mut command = crate::serving::expressway();
    command.args(path).arg("--help").env("TERM", "xterm-256color");
    let (written, code) = crate::terminal::begin(command, 80).finish();
    assert_eq!(code, Some(0), "{path:?}: {written}");
    screen(&written, 80)
}

#[test]
fn every_subcommand_at_any_depth_has_examples_that_name_it() {
    let (mut left, mut seen) = (vec![Vec::<String>::new()], 0);
    while let Some(path) = left.pop() {
        let shown = help(&path);
        let (_, examples) = shown.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{path:?}: {shown}"));
        let called = ["expressway"].into_iter().chain(path.iter().map(String::as_str));
        let called = called.collect::<Vec<&str>>().join(" ");
        assert!(examples.contains(&called), "no example has `{called}`:\n{shown}");
        seen += 1;
        let commands = shown.split("\nCommands:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
        // Lines that go on are indented further.
        let names = commands.into_iter().flat_map(str::lines).filter_map(|line| {
            let name = line.strip_prefix("  ")?.split_whitespace().next()?;
            (!line.starts_with("   ") && name != "help").then(|| name.to_owned())
        });
        left.extend(names.map(|name| [&path[..], &[name]].concat()));
    }
    assert!(seen >= 28, "{seen} commands");
}

/// Metrics of a server with two machines, and those of a pipeline.
const METRICS: &str = include_str!("../data/metrics-server.txt");
const METRICS_PIPELINE: &str = include_str!("../data/metrics-pipeline.txt");

/// Answers each request with `metrics`, until the listener's thread ends with the process.
fn metrics_at(metrics: &'static str) -> std::net::SocketAddr {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
            for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
                drop(line);
            }
            let length = metrics.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all(&[head.as_bytes(), metrics.as_bytes()].concat()).expect("top reads it");
        }
    });
    address
}

/// The rows of the terminal that `top` draws on.
const TOP_ROWS: u16 = 40;

/// How many frames were drawn: each ends by hiding the cursor.
fn drawn(written: &[u8]) -> usize {
    written.windows(HIDES_CURSOR.len()).filter(|it| *it == HIDES_CURSOR).count()
}

const HIDES_CURSOR: &[u8] = b"\x1b[?25l";

#[test]
fn top_is_drawn_sorted_and_ended_by_keys_as_kept() {
    let mut wrong = Vec::new();
    // Sorted by names, then in the other order, then the other table chosen and sorted by its last column.
    for (name, metrics, keys) in
        [("top", METRICS, &["1", "r", "\t8"][..]), ("top-pipeline", METRICS_PIPELINE, &[])]
    {
        // Where there is no room for a column, it is left out.
        for columns in [60, 80, 120] {
            let address = metrics_at(metrics);
            let mut command = crate::serving::expressway();
            command.args(["top", &address.to_string(), "--every", "3600"]).env("TERM", "xterm-256color");
            let terminal = crate::terminal::begin_with_keys(command, columns);
            let shown = |written: &[u8]| {
                let mut parser = vt100::Parser::new(
                    TOP_ROWS.try_into().expect("rows"),
                    columns.try_into().expect("columns"),
                    0,
                );
                parser.process(written);
                let lines = parser.screen().rows(0, columns).map(|line| format!("{}\n", line.trim_end()));
                // The port is another each time.
                lines.collect::<String>().replace(&address.to_string(), "127.0.0.1:8083")
            };
            let (mut written, mut screens, mut frames) = (Vec::new(), String::new(), 1);
            for keys in keys.iter().copied().chain(["q"]) {
                terminal.press(&mut written, |it| drawn(it) == frames, keys);
                screens.push_str(&shown(&written));
                frames += keys.len();
            }
            let (_, code) = terminal.finish();
            assert_eq!(code, Some(0));
            wrong.extend(is_as_kept(name, columns, &screens).err());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
