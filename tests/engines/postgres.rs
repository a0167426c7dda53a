//! A PostgreSQL server. It refuses to run as root, so root starts it as another user.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::ports::Port;
use super::{End, Engine, spawn};
use crate::required;

/// A running server.
pub(crate) struct Postgres {
    programs: PathBuf,
    /// The user that runs it, if it differs from the tests' user.
    user: Option<(String, u32, u32)>,
    folder: PathBuf,
    port: Port,
    child: Option<Child>,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end(End::Killed);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The folder of the programs: in the path, or Debian's.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    let needed = ["initdb", "postgres", "psql", "pg_dump", "pg_restore"];
    folders.into_iter().find(|folder| needed.iter().all(|program| folder.join(program).is_file()))
}

fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawn(command).wait_with_output().expect("it ends");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn number(user: &str, what: &str) -> Option<u32> {
    let mut command = Command::new("id");
    command.args([what, user]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let found = spawn(&mut command).wait_with_output().ok()?;
    String::from_utf8(found.stdout).ok()?.trim().parse().ok()
}

impl Postgres {
    /// A new, empty server.
    pub(crate) fn start() -> Option<Postgres> {
        let Some(programs) = programs() else {
            required::not_run("PostgreSQL is not installed, so nothing was tested against it");
            return None;
        };
        let user = rustix::process::geteuid().is_root().then(|| {
            let known = ["postgres", "nobody"]
                .into_iter()
                .find_map(|user| Some((user.to_owned(), number(user, "-u")?, number(user, "-g")?)));
            known.expect("root has a user to run it as")
        });
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("expressway-postgres-{}-{n}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        if let Some((_, user, group)) = &user {
            std::os::unix::fs::chown(&folder, Some(*user), Some(*group)).expect("it is given away");
        }
        let port = Port::free();
        let mut postgres = Postgres { programs, user, folder, port, child: None };
        let data = postgres.data();
        let mut initdb = postgres.program("initdb");
        initdb.args(["-N", "-A", "trust", "-U", "expressway", "--locale=C", "-E", "UTF8", "-D"]).arg(data);
        output(&mut initdb);
        postgres.run();
        Some(postgres)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = match &self.user {
            None => Command::new(program),
            Some((user, ..)) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", user, "--regid", user, "--clear-groups"]).arg(program);
                command
            }
        };
        command.current_dir(&self.folder);
        command
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn try_sql(&self, sql: &str) -> Option<String> {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]).arg(self.url());
        command
            .env("PGCONNECT_TIMEOUT", "5")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = spawn(&mut command).wait_with_output().expect("it ends");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The result of a statement.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).unwrap_or_else(|| panic!("{sql}: {}", self.log()))
    }

    /// One of its programs that connect to it, such as `pg_dump`.
    pub(crate) fn client(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Engine for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn url_by(&self, port: u16) -> String {
        format!("postgres://expressway@127.0.0.1:{port}/postgres")
    }

    fn port(&self) -> u16 {
        self.port.number
    }

    fn run(&mut self) {
        let mut command = self.program("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.number.to_string(), "-k"])
            .arg(&self.folder);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=50"]);
        let log =
            std::fs::File::options().create(true).append(true).open(self.folder.join("log")).expect("a log");
        command.stdout(Stdio::null()).stderr(log);
        self.child = Some(spawn(&mut command));
        let begun = Instant::now();
        while self.try_sql("SELECT 1").is_none() {
            assert!(begun.elapsed() < Duration::from_secs(120), "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn end(&mut self, how: End) {
        let Some(mut child) = self.child.take() else { return };
        let signal = match how {
            End::Asked => Signal::INT,
            End::Killed => Signal::QUIT,
        };
        let _ = kill_process(Pid::from_child(&child), signal);
        let begun = Instant::now();
        while child.try_wait().is_ok_and(|status| status.is_none()) {
            if begun.elapsed() > Duration::from_secs(30) {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
