//! External servers that tests use, started for one test on a free port and ended with it. If a program is not
//! installed, the test prints a message and passes.

#![allow(dead_code, reason = "no test needs all of them")]

pub(crate) mod pipelines;
#[path = "../ports/mod.rs"]
mod ports;
#[path = "../required/mod.rs"]
mod required;

use ports::Port;
pub(crate) use required::not_run;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Held while a process is started: until it executes its program, it has what this process has open.
static FORKS: RwLock<()> = RwLock::new(());

/// Prevents the start of processes while it is held.
pub(crate) fn nothing_forks() -> impl Drop {
    FORKS.write().unwrap_or_else(PoisonError::into_inner)
}

/// Starts that wait while [`nothing_forks`]. No process of these tests starts in another way.
pub(crate) trait Starts {
    fn started(&mut self) -> Child;

    fn tried(&mut self) -> std::io::Result<Output>;

    /// What it says until it ends.
    fn answered(&mut self) -> Output {
        self.tried().expect("it starts")
    }
}

impl Starts for Command {
    fn started(&mut self) -> Child {
        let _forks = FORKS.read().unwrap_or_else(PoisonError::into_inner);
        self.spawn().unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    fn tried(&mut self) -> std::io::Result<Output> {
        self.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let forks = FORKS.read().unwrap_or_else(PoisonError::into_inner);
        let child = self.spawn()?;
        drop(forks);
        child.wait_with_output()
    }
}

/// A server that runs.
pub(crate) struct Server {
    child: Option<Child>,
    make: Box<dyn Fn() -> Command + Send>,
    /// What it is asked, and what it answers when it has read all that it kept; nothing where listening is enough.
    ready: Option<(&'static str, &'static str)>,
    pub(crate) port: u16,
    /// Nobody else gets it while the server is away.
    _kept: Port,
    pub(crate) folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    /// Kills it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it where it is, without closing connections; or lets it go on.
    pub(crate) fn pause(&self, pause: bool) {
        let signal = if pause { "-STOP" } else { "-CONT" };
        let process = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &process]).answered().status.success());
    }

    /// Starts it again, with what it kept.
    pub(crate) fn start(&mut self) {
        self.kill();
        self.child = Some((self.make)().started());
        let begun = Instant::now();
        while !self.is_ready() {
            assert!(begun.elapsed() < Duration::from_secs(120), "the server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else { return false };
        let Some((question, answer)) = self.ready else { return true };
        let mut answered = vec![0; answer.len()];
        let asked = stream.write_all(question.as_bytes()).and_then(|()| stream.read_exact(&mut answered));
        asked.is_ok() && answered == answer.as_bytes()
    }
}

/// The program in `PATH`; prints a message if it is missing.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian keeps some servers where only root looks.
    let folders =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        not_run(&format!("{name} is not installed, so nothing was tested against it"));
    }
    found
}

fn folder(of: &str, port: u16) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{of}-{}-{port}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// A NATS server with JetStream, kept in files.
pub(crate) fn nats() -> Option<Server> {
    nats_with(&[])
}

/// The same, with more arguments.
pub(crate) fn nats_with(more: &'static [&'static str]) -> Option<Server> {
    let program = program("nats-server")?;
    let kept = Port::free();
    let port = kept.number;
    let folder = folder("nats", port);
    let store = folder.clone();
    let make = move || {
        let mut command = Command::new(&program);
        command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(&store).args(more);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let mut server = Server { child: None, make: Box::new(make), ready: None, port, _kept: kept, folder };
    server.start();
    Some(server)
}

/// A Redis server whose streams are written to a file before it answers.
pub(crate) fn redis() -> Option<Server> {
    let program = program("redis-server")?;
    let kept = Port::free();
    let port = kept.number;
    let folder = folder("redis", port);
    let store = folder.clone();
    let make = move || {
        let mut command = Command::new(&program);
        command.args([
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--appendonly",
            "yes",
        ]);
        command.arg("--dir").arg(&store).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    // It accepts connections before it has read its file.
    let ready = Some(("PING\r\n", "+PONG"));
    let mut server = Server { child: None, make: Box::new(make), ready, port, _kept: kept, folder };
    server.start();
    Some(server)
}

/// A server that speaks like AWS: `moto_server` (PyPI: `moto[server]`), by `MOTO_SERVER` or in the path.
pub(crate) fn moto() -> Option<Server> {
    let program = match std::env::var_os("MOTO_SERVER") {
        Some(program) => PathBuf::from(program),
        None => program("moto_server")?,
    };
    let kept = Port::free();
    let port = kept.number;
    let folder = folder("moto", port);
    let make = move || {
        let mut command = Command::new(&program);
        command
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    let mut server = Server { child: None, make: Box::new(make), ready: None, port, _kept: kept, folder };
    server.start();
    Some(server)
}

/// A proxy in front of a server that can block both directions: connections stay open without traffic, as in a network
/// partition.
pub(crate) struct Stall {
    pub(crate) port: u16,
    stalled: Arc<(Mutex<bool>, Condvar)>,
}

impl Stall {
    pub(crate) fn before(server: u16) -> Stall {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let stalled = Arc::new((Mutex::new(false), Condvar::new()));
        let state = Arc::clone(&stalled);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { continue };
                let back = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
                for (from, to) in [(client, server), back] {
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || carry(from, to, &state));
                }
            }
        });
        Stall { port, stalled }
    }

    pub(crate) fn set(&self, stalled: bool) {
        *self.stalled.0.lock().expect("no panic") = stalled;
        self.stalled.1.notify_all();
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, (stalled, changed): &(Mutex<bool>, Condvar)) {
    let mut buffer = [0; 64 * 1_024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let stalled = stalled.lock().expect("no panic");
        drop(changed.wait_while(stalled, |stalled| *stalled).expect("no panic"));
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

// ---- the command ----

/// The command, with a configuration as its last argument.
pub(crate) fn expressway(arguments: &[&str], config: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    command.args(arguments).arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.started()
}

/// The command with a pipeline, as soon as that runs.
pub(crate) fn pipeline(config: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_expressway"));
    command.arg("pipe").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    running(command.started())
}

/// A pipeline, as soon as it runs.
pub(crate) fn running(mut child: Child) -> Child {
    let mut said = BufReader::new(child.stderr.take().expect("its words"));
    let mut line = String::new();
    while line != "The pipeline runs.\n" {
        line.clear();
        assert!(said.read_line(&mut line).expect("its words") > 0, "the pipeline does not run");
    }
    // Its last output fits into the pipe.
    child.stderr = Some(said.into_inner());
    child
}

/// What a command says on standard error, line by line.
pub(crate) struct Said {
    lines: std::sync::mpsc::Receiver<String>,
    pub(crate) all: String,
}

impl Said {
    pub(crate) fn by(child: &mut Child) -> Said {
        let stderr = BufReader::new(child.stderr.take().expect("its words"));
        let (tell, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Said { lines, all: String::new() }
    }

    /// Waits until there was a line with each of these texts; the last of these lines.
    pub(crate) fn until(&mut self, texts: &[impl AsRef<str>]) -> String {
        let mut missing: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|_| panic!("{missing:?} is not said: {}", self.all));
            self.all += &line;
            self.all.push('\n');
            missing.retain(|text| !line.contains(text));
            if missing.is_empty() {
                return line;
            }
        }
    }

    /// All of it, at its end.
    pub(crate) fn rest(mut self) -> String {
        while let Ok(line) = self.lines.recv() {
            self.all += &line;
            self.all.push('\n');
        }
        self.all
    }
}

/// The answer to a GET request: its status and its body.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("UTF-8");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
}

/// Asks it to end; its exit code.
pub(crate) fn terminate(child: &mut Child) -> Option<i32> {
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).answered();
    assert!(killed.status.success());
    child.wait().expect("its end").code()
}

/// Small numbers that look random, the same in every run.
pub(crate) fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}
