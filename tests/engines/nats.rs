//! A NATS server with JetStream. `NATS_SERVER` names a program other than the one in the path.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::ports::Port;
use super::{End, Engine, spawn};
use crate::required;

/// When the server syncs acknowledged messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// The default.
    AtIntervals,
    /// At each write; servers before 2.10 cannot.
    Always,
}

/// A running server, or several in one NATS cluster.
pub(crate) struct Nats {
    program: PathBuf,
    folder: PathBuf,
    sync: Sync,
    /// The ports of each server: for clients, for other servers, and for monitoring.
    ports: Vec<[Port; 3]>,
    children: Vec<Option<Child>>,
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.end(End::Killed);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn program() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os("NATS_SERVER") {
        return Some(program.into());
    }
    let path = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join("nats-server")).find(|file| file.is_file())
}

impl Nats {
    /// A new, empty server.
    pub(crate) fn start(sync: Sync) -> Option<Nats> {
        Nats::start_several(1, sync)
    }

    /// New servers in one NATS cluster.
    pub(crate) fn start_several(servers: usize, sync: Sync) -> Option<Nats> {
        let Some(program) = program() else {
            required::not_run("nats-server is not installed, so nothing was tested against it");
            return None;
        };
        let version = Command::new(&program).arg("--version").output().expect("its version").stdout;
        let version = String::from_utf8_lossy(&version).into_owned();
        let minor = version.split("v2.").nth(1).and_then(|it| it.split('.').next()?.trim().parse().ok());
        if sync == Sync::Always && minor.is_none_or(|minor: u32| minor < 10) {
            required::not_run(&format!("{} cannot sync each write: 2.10 can", version.trim()));
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("expressway-nats-{}-{n}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        let ports: Vec<[Port; 3]> = (0..servers).map(|_| [(); 3].map(|()| Port::free())).collect();
        let children = ports.iter().map(|_| None).collect();
        let mut nats = Nats { program, folder, sync, ports, children };
        nats.run();
        Some(nats)
    }

    /// Starts one of the servers again, unless it runs.
    pub(crate) fn run_one(&mut self, n: usize) {
        if self.children[n].is_some() {
            return;
        }
        let [client, route, monitor] = self.ports[n].each_ref().map(|port| port.number);
        let sync = if self.sync == Sync::Always { "sync_interval: always" } else { "" };
        let store = self.folder.join(format!("{n}"));
        let routes: Vec<String> =
            self.ports.iter().map(|[_, route, _]| format!("nats://127.0.0.1:{}", route.number)).collect();
        let cluster = format!(
            "cluster {{ name: test, listen: \"127.0.0.1:{route}\", routes: [{}] }}",
            routes.join(", ")
        );
        let config = format!(
            "server_name: s{n}\nlisten: \"127.0.0.1:{client}\"\nhttp: \"127.0.0.1:{monitor}\"\nmax_payload: 8MB\n\
             jetstream {{ store_dir: \"{}\"\n {sync}\n }}\n{}\n",
            store.display(),
            if self.ports.len() > 1 { cluster.as_str() } else { "" }
        );
        let file = self.folder.join(format!("{n}.conf"));
        std::fs::write(&file, config).expect("a file");
        let log = self.folder.join(format!("{n}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log).expect("a log");
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(file).stdout(Stdio::null()).stderr(log);
        self.children[n] = Some(spawn(&mut command));
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, client)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(120), "{}", self.log(n));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether each has all that is acknowledged, and knows who leads.
    pub(crate) fn have_caught_up(&self) -> bool {
        let asked = |port: u16| -> std::io::Result<String> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let is_well = |answer: String| answer.contains(" 200 ") && answer.contains("\"ok\"");
        self.ports.iter().all(|[.., monitor]| asked(monitor.number).is_ok_and(is_well))
    }

    fn log(&self, n: usize) -> String {
        std::fs::read_to_string(self.folder.join(format!("{n}.log"))).unwrap_or_default()
    }

    pub(crate) fn end_one(&mut self, n: usize, how: End) {
        let Some(mut child) = self.children[n].take() else { return };
        let signal = match how {
            End::Asked => Signal::INT,
            End::Killed => Signal::KILL,
        };
        let _ = kill_process(Pid::from_child(&child), signal);
        let _ = child.wait();
    }

    /// The URL of all servers, with these options.
    pub(crate) fn url_with(&self, options: &str) -> String {
        let servers: Vec<String> =
            self.ports.iter().map(|[client, ..]| format!("127.0.0.1:{}", client.number)).collect();
        let monitors: Vec<String> =
            self.ports.iter().map(|[.., monitor]| format!("127.0.0.1:{}", monitor.number)).collect();
        format!("nats://{}?monitor={}{options}", servers.join(","), monitors.join(","))
    }
}

impl Engine for Nats {
    fn name(&self) -> &'static str {
        "NATS"
    }

    fn url_by(&self, port: u16) -> String {
        format!("nats://127.0.0.1:{port}?replicas=1&accept_loss=true")
    }

    fn port(&self) -> u16 {
        self.ports[0][0].number
    }

    fn run(&mut self) {
        for n in 0..self.ports.len() {
            self.run_one(n);
        }
    }

    fn end(&mut self, how: End) {
        for n in 0..self.ports.len() {
            self.end_one(n, how);
        }
    }
}
