//! Typical mistakes, and what is printed: `docs/mistakes.md` has each command with its answer, and the files that are used.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::serving::Folder;

/// A fenced block: the text behind the fence, and the lines inside.
struct Block<'t> {
    head: &'t str,
    /// Where the text is in the page.
    from: usize,
    to: usize,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let (mut blocks, mut at, mut open) = (Vec::new(), 0, None);
    for line in page.split_inclusive('\n') {
        let begun = at;
        at += line.len();
        match (line.strip_prefix("```"), open) {
            (Some(head), None) => open = Some((head.trim_end(), at)),
            (Some(_), Some((head, from))) => {
                blocks.push(Block { head, from, to: begun });
                open = None;
            }
            (None, _) => {}
        }
    }
    blocks
}

/// The words of a command, with what shells leave of quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("there is one").push(c),
        }
    }
    words
}

/// How long a command may take until it says what is wrong.
const WITHIN: Duration = Duration::from_secs(60);

/// What a command prints, and how it ends.
fn printed(folder: &Path, line: &str, taken: u16) -> String {
    let (variables, line) = line.split_once("expressway").expect("a command");
    let line = line.trim();
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    for (name, _) in std::env::vars_os() {
        let is_ours = |name: &str| {
            ["AWS_", "SFN_", "EXPRESSWAY_", "RUST_LOG"].iter().any(|it| name.starts_with(it))
                || name.ends_with("_ENDPOINT")
        };
        if name.to_str().is_some_and(is_ours) {
            command.env_remove(name);
        }
    }
    command.envs(variables.split_whitespace().filter_map(|variable| variable.split_once('=')));
    if !line.is_empty() {
        command.args(words(&line.replace("{TAKEN}", &taken.to_string())));
    }
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the command");
    let process = rustix::process::Pid::from_child(&child);
    let (answered, answer) = mpsc::channel();
    thread::spawn(move || answered.send(child.wait_with_output()));
    // A server that finds nothing wrong would go on for ever.
    let Ok(output) = answer.recv_timeout(WITHIN) else {
        rustix::process::kill_process(process, rustix::process::Signal::KILL).expect("it runs");
        panic!("{line} goes on, so it is no mistake");
    };
    let output = output.expect("an answer");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let mut shown = format!("{}{}", text(output.stdout), text(output.stderr));
    shown = shown.replace(&taken.to_string(), "{TAKEN}");
    shown = shown.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let code = output.status.code().expect("it ends by itself");
    format!("{}\n(exit code {code})\n", shown.trim_end())
}

#[test]
fn mistakes_are_told_as_they_are_written_down() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/mistakes.md");
    let page = fs::read_to_string(&path).expect("the page");
    let folder = Folder::new("mistakes");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = listener.local_addr().expect("an address").port();
    let blocks = blocks(&page);
    for block in &blocks {
        if let Some(name) = block.head.strip_prefix("text ") {
            let file = folder.0.join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            let text = page[block.from..block.to].replace("{TAKEN}", &taken.to_string());
            fs::write(file, text).expect("a file");
        }
    }
    let (mut anew, mut at, mut wrong, mut mistakes) = (String::new(), 0, Vec::new(), 0);
    for block in blocks.iter().filter(|block| block.head == "console") {
        let inside = &page[block.from..block.to];
        let command = inside.lines().next().and_then(|line| line.strip_prefix("$ ")).expect("a command");
        let now = format!("$ {command}\n{}", printed(&folder.0, command, taken));
        if now != inside {
            wrong.push(format!("was:\n{inside}\nis:\n{now}"));
        }
        anew.push_str(&page[at..block.from]);
        anew.push_str(&now);
        (at, mistakes) = (block.to, mistakes + 1);
    }
    anew.push_str(&page[at..]);
    assert!(mistakes >= 60, "{mistakes} mistakes");
    if std::env::var_os("EXPRESSWAY_WRITE").is_some() {
        fs::write(path, anew).expect("the page");
        return;
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}
