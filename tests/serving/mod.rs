//! A server of the command, in a separate process.

#![allow(dead_code, reason = "each test uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// A separate folder for a test, removed at its end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(test: &str) -> Folder {
        // Tests of one process may give one name.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("expressway-{test}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Folder(folder)
    }

    /// A file with this text, and its path.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let file = self.0.join(name);
        std::fs::write(&file, text).expect("a file");
        file.to_str().expect("a path in UTF-8").to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        // At once, so that it is never seen incomplete.
        let (path, draft) = (self.0.join(name), self.0.join("draft"));
        std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, &path)).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `expressway serve`, and its output.
pub(crate) struct Serving {
    child: Child,
    said: BufReader<ChildStderr>,
    pub(crate) port: u16,
    /// Everything up to the line that reports it ready.
    pub(crate) start: String,
    /// All lines that were read, for messages.
    heard: String,
}

pub(crate) fn expressway() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("AWS_") || name.ends_with("_ENDPOINT")) {
            command.env_remove(name);
        }
    }
    command
}

impl Serving {
    pub(crate) fn start(arguments: &[&str]) -> Serving {
        Serving::start_with(expressway(), arguments)
    }

    /// As [`start`](Serving::start), by another command, which gets the program and its arguments behind its own.
    pub(crate) fn start_by(before: &[&str], arguments: &[&str]) -> Serving {
        let mut command = Command::new(before[0]);
        command.args(&before[1..]).arg(env!("CARGO_BIN_EXE_expressway"));
        Serving::start_with(command, arguments)
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn start_with(command: Command, arguments: &[&str]) -> Serving {
        Serving::start_until(command, arguments, "ready on ")
    }

    /// As [`start_with`](Serving::start_with), up to another line, which has its address as well.
    pub(crate) fn start_until(mut command: Command, arguments: &[&str], said: &str) -> Serving {
        let until = said;
        command.args(["serve", "--port", "0"]).args(arguments).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().expect("the command");
        let said = BufReader::new(child.stderr.take().expect("its standard error"));
        let mut serving = Serving { child, said, port: 0, start: String::new(), heard: String::new() };
        let mut line = String::new();
        while !line.contains(until) {
            line = serving.line();
            serving.start += &line;
        }
        let address = line.split("://").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address");
        let address = address.trim_end_matches(':');
        serving.port = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        serving
    }

    /// The next line of its output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("a line");
        self.heard += &line;
        assert!(!line.is_empty(), "it ended ({:?}): {}", self.child.wait(), self.heard);
        line
    }

    /// What it answers to an operation signed with a key: status and body.
    #[cfg(feature = "server")]
    pub(crate) fn ask_as(&self, key: &Key, operation: &str, body: &str) -> (u16, String) {
        let target = format!("AWSStepFunctions.{operation}");
        self.exchange(&format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Amz-Target: {target}\r\n{}\
             Content-Length: {}\r\n\r\n{body}",
            key.sign("localhost", &target, body),
            body.len()
        ))
    }

    /// What it answers to an operation: status and body.
    pub(crate) fn ask(&self, operation: &str, body: &str) -> (u16, String) {
        self.exchange(&format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Amz-Target: AWSStepFunctions.{operation}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Asks for an operation, and leaves without an answer.
    pub(crate) fn hang_up(&self, operation: &str, body: &str, after: Duration) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_read_timeout(Some(after)).expect("a time limit");
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AWSStepFunctions.{operation}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("a request");
        assert!(stream.read(&mut [0]).is_err(), "there is no answer");
    }

    /// A connection that stays open.
    pub(crate) fn connect(&self) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        Connection { stream: BufReader::new(stream), is_over: false }
    }

    /// What it answers to a request with these lines of headers: status and body.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        self.exchange(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// What is at a path.
    pub(crate) fn get(&self, path: &str) -> String {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).1
    }

    /// What it answers to these bytes: status and body.
    pub(crate) fn raw(&self, request: &str) -> (u16, String) {
        self.exchange(request)
    }

    fn exchange(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("a response");
        let (head, body) = response.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    /// Reads what it says, from now on, and keeps nothing of it: who says more than a pipe holds waits for a reader.
    #[cfg(unix)]
    pub(crate) fn drain(&self) {
        use std::os::fd::AsFd;
        let said = self.said.get_ref().as_fd().try_clone_to_owned().expect("its standard error");
        std::thread::spawn(move || std::io::copy(&mut std::fs::File::from(said), &mut std::io::sink()));
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_some()
    }

    /// Ends it at once, without notice, like a power failure.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("its end");
    }

    /// Asks it to end. Its exit code, and the rest of its output.
    pub(crate) fn stop(self) -> (Option<i32>, String) {
        self.terminate();
        self.end()
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()), "it could not be told");
    }

    /// The same, of one that ends by itself within this time.
    pub(crate) fn end_within(self, limit: Duration) -> (Option<i32>, String) {
        let (is_over, told) = mpsc::channel::<()>();
        let id = self.child.id().to_string();
        std::thread::scope(|scope| {
            let watching = scope.spawn(move || {
                let is_late = told.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
                if is_late {
                    let _ = Command::new("kill").args(["-KILL", &id]).status();
                }
                is_late
            });
            let (code, said) = self.end();
            drop(is_over);
            assert!(!watching.join().expect("it watches"), "it does not end: {said}");
            (code, said)
        })
    }

    /// Waits for its end. Its exit code, and the rest of its output.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).expect("what it said");
        (self.child.wait().expect("its end").code(), rest)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection to a server that several requests go over.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    /// The server has announced the end of the connection.
    pub(crate) is_over: bool,
}

impl Connection {
    /// What is answered to an operation: status and body.
    pub(crate) fn ask(&mut self, operation: &str, body: &str) -> (u16, String) {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AWSStepFunctions.{operation}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).expect("a request");
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("a head");
            let line = line.trim_end();
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest.get(..3).and_then(|status| status.parse().ok()).expect("a status");
            } else if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = bytes.parse().expect("a length");
            } else if line.eq_ignore_ascii_case("connection: close") {
                self.is_over = true;
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("a body");
        (status, String::from_utf8(body).expect("UTF-8"))
    }
}

/// An access key, and the region that it signs for.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) id: &'static str,
    pub(crate) secret: &'static str,
    pub(crate) region: &'static str,
}

#[cfg(feature = "server")]
impl Key {
    /// The headers of a signed request (AWS General Reference, "Create a signed AWS API request").
    fn sign(&self, host: &str, target: &str, body: &str) -> String {
        use hmac::{Hmac, Mac};
        use sha2::{Digest, Sha256};
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let keyed = |key: &[u8], text: &str| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys of any length");
            mac.update(text.as_bytes());
            mac.finalize().into_bytes().to_vec()
        };
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = &time[..8];
        let names = "host;x-amz-date;x-amz-target";
        let request = format!(
            "POST\n/\n\nhost:{host}\nx-amz-date:{time}\nx-amz-target:{target}\n\n{names}\n{}",
            hex(&Sha256::digest(body))
        );
        let scope = format!("{day}/{}/states/aws4_request", self.region);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
        let key = [day, self.region, "states", "aws4_request"]
            .iter()
            .fold(format!("AWS4{}", self.secret).into_bytes(), |key, part| keyed(&key, part));
        let signature = hex(&keyed(&key, &text));
        format!(
            "X-Amz-Date: {time}\r\nAuthorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, \
             Signature={signature}\r\n",
            self.id
        )
    }
}

/// A folder of the repository.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
