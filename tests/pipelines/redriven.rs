//! Dead letters that a running pipeline sends again, when it is asked to over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::lines::JUDGE;
use super::servers::{Said, Starts as _, get, terminate};

/// A request; its status and its body.
fn send(address: &str, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("{head}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("UTF-8");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
}

fn stats(address: &str) -> serde_json::Value {
    serde_json::from_str(&get(address, "/stats").1).expect("JSON")
}

/// A pipeline of posted events with these settings, and the addresses of its source and its pages.
fn started(folder: &Path, settings: &str) -> (Child, Said, [String; 2]) {
    let description = format!(
        "definition = \"judge.asl.json\"\n\
         source = {{ type = \"webhook\", address = \"127.0.0.1:0\", wait = true, insecure = true }}\n\
         dead_letters = {{ type = \"file\", path = \"dead.ndjson\" }}\n\
         [pipe]\nattempts = 1\n{settings}"
    );
    std::fs::write(folder.join("pipe.toml"), description).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    command.args(["pipe", "pipe.toml"]).current_dir(folder).env("REDRIVE", "open sesame");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.started();
    let mut said = Said::by(&mut child);
    let mut address = |line: &str| said.until(&[line]).split('/').nth(2).expect("an address").to_owned();
    let pages = address("Metrics are at http://");
    let source = address("Post events to http://");
    said.until(&["The pipeline runs."]);
    // It may listen on all addresses.
    let pages = pages.replace("0.0.0.0", "127.0.0.1");
    (child, said, [source, pages])
}

#[test]
fn a_running_pipeline_sends_its_dead_letters_again() {
    let name = format!("redriven-{}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("judge.asl.json"), JUDGE).expect("a file");
    let redrive = "source = { type = \"file\", path = \"dead.ndjson\" }\nsink = { type = \"file\", path = \"again.ndjson\" }\n";
    std::fs::write(folder.join("redrive.toml"), redrive).expect("a file");
    let settings = "metrics = \"127.0.0.1:0\"\nredrive = \"redrive.toml\"\n";
    let (mut child, mut said, [source, pages]) = started(&folder, settings);
    let fails = |body: &str| {
        let (status, _) = send(&source, &format!("POST / HTTP/1.1\r\nhost: {source}\r\n"), body);
        assert_eq!(status, 500, "it waits for the outcome");
    };
    fails(r#"{"bad":  1}"#);
    assert_eq!(stats(&pages)["redrive"], serde_json::json!({"running": false, "last": null}));
    // Neither for pages, whatever they are called, nor by following a link.
    for (head, expected) in [
        (format!("GET /redrive HTTP/1.1\r\nhost: {pages}\r\n"), 405),
        (format!("POST /redrive HTTP/1.1\r\nhost: {pages}\r\norigin: http://{pages}\r\n"), 403),
        (format!("POST /redrive HTTP/1.1\r\nhost: {pages}\r\norigin: null\r\n"), 403),
        ("POST /redrive HTTP/1.1\r\nhost: evil.example\r\n".to_owned(), 421),
    ] {
        assert_eq!(send(&pages, &head, "").0, expected, "{head}");
    }
    assert!(!folder.join("again.ndjson").exists());
    let ask =
        |secret: &str| send(&pages, &format!("POST /redrive HTTP/1.1\r\nhost: {pages}\r\n{secret}"), "");
    let last = || loop {
        let redrive = stats(&pages)["redrive"].clone();
        if redrive["running"] == false {
            return redrive["last"].clone();
        }
    };
    assert_eq!(ask("").0, 202);
    let told = last();
    assert_eq!((&told["sent"], &told["left"]), (&serde_json::json!(1), &serde_json::json!(0)), "{told}");
    said.until(&["1 event of dead letters sent again."]);
    let sent = || std::fs::read_to_string(folder.join("again.ndjson")).expect("what was sent");
    assert_eq!(sent(), "{\"bad\":  1}\n");
    // Each letter once.
    fails(r#"{"bad":2}"#);
    assert_eq!(ask("").0, 202);
    assert_eq!(last()["sent"], 1);
    assert_eq!(sent(), "{\"bad\":  1}\n{\"bad\":2}\n");
    assert_eq!(terminate(&mut child), Some(1));

    // Where other machines reach it, only for those who know a secret.
    for (settings, secret, expected, why) in [
        ("metrics = \"0.0.0.0:0\"\n", "", 403, "reached by other machines"),
        ("metrics = \"0.0.0.0:0\"\nredrive_secret_variable = \"REDRIVE\"\n", "", 403, "x-expressway-secret"),
        (
            "metrics = \"0.0.0.0:0\"\nredrive_secret_variable = \"REDRIVE\"\n",
            "x-expressway-secret: open\r\n",
            403,
            "",
        ),
        ("metrics = \"127.0.0.1:0\"\nredrive_secret_variable = \"REDRIVE\"\n", "", 403, ""),
        (
            "metrics = \"0.0.0.0:0\"\nredrive_secret_variable = \"REDRIVE\"\n",
            "x-expressway-secret: open sesame\r\n",
            202,
            "",
        ),
    ] {
        let (mut child, _said, [_, pages]) =
            started(&folder, &format!("{settings}redrive = \"redrive.toml\"\n"));
        let head = format!("POST /redrive HTTP/1.1\r\nhost: {pages}\r\n{secret}");
        let (status, text) = send(&pages, &head, "");
        assert!(status == expected && text.contains(why), "{settings}{secret}: {status} {text}");
        terminate(&mut child);
    }
    // And only where the file says from where and to where.
    let (mut child, _said, [_, pages]) = started(&folder, "metrics = \"127.0.0.1:0\"\n");
    let (status, text) = send(&pages, &format!("POST /redrive HTTP/1.1\r\nhost: {pages}\r\n"), "");
    assert!(status == 409 && text.contains("`redrive` of [pipe]"), "{status} {text}");
    assert_eq!(stats(&pages)["redrive"], serde_json::Value::Null);
    terminate(&mut child);
    let _ = std::fs::remove_dir_all(&folder);
}
