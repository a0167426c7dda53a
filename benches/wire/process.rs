//! The cost of an idle `serve` command: time to start, memory, memory of idle connections, its size.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::client::once;
use super::loads::median;
use super::place::resident_bytes;
use super::{Effort, Figure};

const EXPRESSWAY: &str = env!("CARGO_BIN_EXE_expressway");

pub(super) fn process(effort: Effort) -> Vec<Figure> {
    let (mut ready, mut resident) = (vec![], vec![]);
    for _ in 0..effort.rounds {
        let serving = Serving::start();
        ready.push(serving.took.as_secs_f64() * 1e3);
        resident.push(serving.resident_mib());
    }
    let (ready, resident) = (median(ready), median(resident));
    let each = idle(effort.idle);
    let mut figures = vec![
        Figure {
            what: format!("{} idle connections, resident memory of each", effort.idle),
            target: "≤ 20 KiB",
            measured: format!("{each:.1} KiB"),
            met: each <= 20.0,
        },
        Figure {
            what: "`expressway serve` from its start to ready".to_owned(),
            target: "≤ 20 ms",
            measured: format!("{ready:.1} ms"),
            met: ready <= 20.0,
        },
        Figure {
            what: "… resident memory, idle".to_owned(),
            target: "≤ 15 MiB",
            measured: format!("{resident:.1} MiB"),
            met: resident <= 15.0,
        },
    ];
    match stripped_mb() {
        Some(size) => figures.push(Figure {
            what: "… the binary, stripped".to_owned(),
            target: "≤ 20 MB",
            measured: format!("{size:.1} MB"),
            met: size <= 20.0,
        }),
        None => println!("strip is not installed: the binary's size without symbols is not known"),
    }
    figures
}

/// KiB for each connection that was used once and waits.
fn idle(connections: usize) -> f64 {
    let serving = Serving::start();
    let before = serving.resident_mib();
    let open: Vec<TcpStream> = (0..connections)
        .map(|_| {
            let mut stream = TcpStream::connect(serving.address).expect("a connection");
            once(&mut stream);
            stream
        })
        .collect();
    (serving.resident_mib() - before) * 1_024.0 / open.len() as f64
}

struct Serving {
    child: Child,
    address: SocketAddr,
    /// From its start to its saying that it is ready.
    took: Duration,
}

impl Serving {
    fn start() -> Serving {
        let began = Instant::now();
        let mut command = Command::new(EXPRESSWAY);
        command.args(["serve", "--port", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command");
        let mut said = String::new();
        let mut errors = BufReader::new(child.stderr.take().expect("its standard error"));
        while !said.contains("ready on ") {
            said.clear();
            assert!(errors.read_line(&mut said).expect("a line") > 0, "it ended before it was ready");
        }
        let took = began.elapsed();
        let address = said.split("http://").nth(1).and_then(|rest| rest.split(' ').next());
        let address = address.and_then(|address| address.parse().ok());
        Serving { child, address: address.unwrap_or_else(|| panic!("no address: {said}")), took }
    }

    fn resident_mib(&self) -> f64 {
        resident_bytes(self.child.id()) as f64 / f64::from(1 << 20)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stripped_mb() -> Option<f64> {
    let stripped = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("expressway-stripped");
    let done = Command::new("strip").arg("-o").arg(&stripped).arg(EXPRESSWAY).status().ok()?.success();
    let size = done.then(|| fs::metadata(&stripped).ok().map(|it| it.len() as f64 / 1e6));
    let _ = fs::remove_file(&stripped);
    size.flatten()
}
