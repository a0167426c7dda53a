//! Servers of others that tests talk to, started for one test on a port of their own and ended with it. Where a program
//! is not installed, the test says so and passes.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that runs.
pub(crate) struct Server {
    child: Option<Child>,
    make: Box<dyn Fn() -> Command + Send>,
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, with what it kept.
    pub(crate) fn start(&mut self) {
        self.kill();
        self.child = Some((self.make)().spawn().expect("the server starts as it did before"));
        let address = (Ipv4Addr::LOCALHOST, self.port);
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The program on the path; says so when there is none.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian keeps some servers where only root looks.
    let folders =
        std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        eprintln!("NOT RUN: {name} is not installed, so nothing was tested against it");
    }
    found
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr()).expect("a free port").port()
}

fn folder(of: &str, port: u16) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{of}-{}-{port}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// A NATS server with JetStream, kept in files.
pub(crate) fn nats() -> Option<Server> {
    let program = program("nats-server")?;
    let port = free_port();
    let folder = folder("nats", port);
    let store = folder.clone();
    let make = move || {
        let mut command = Command::new(&program);
        command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(&store);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let mut server = Server { child: None, make: Box::new(make), port, folder };
    server.start();
    Some(server)
}
