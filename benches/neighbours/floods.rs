//! Clients that send without end, from a process of the lowest priority, and many pages of the console: what the one that
//! behaves sees beside them, and the memory of a server with a small budget.

use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::server::{Place, Server, localhost, trusting};
use crate::{Figures, load};

/// The budget of the server, and what it may take.
const BUDGET: &str = "256MB";
const MEMORY_MIB_MAX: f64 = 282.0;
/// How long a connection that has sent everything is kept.
const HELD: Duration = Duration::from_millis(500);

/// How long it floods if nobody ends it.
const FLOODS_FOR: Duration = Duration::from_secs(120);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The same, with streams that have no window.
const CLOSED: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";

/// What a connection sends: at first, and then these parts, before it is opened anew.
struct Flood {
    first: Vec<u8>,
    more: Box<dyn Fn(u32) -> Vec<u8> + Send + Sync>,
    parts: u32,
    does: Does,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Reads all answers.
    Reads,
    /// Reads none.
    Ignores,
    /// Nothing but connecting, again and again.
    Connects,
    /// The same, and each closes in the midst of the handshake.
    Hesitates,
    /// Begins and is silent.
    Waits,
}

const FLOODS: [(&str, usize); 20] = [
    ("none", 0),
    ("handshakes", 64),
    ("handshakes, broken off", 64),
    ("beginnings of a handshake", 1_000),
    ("chunks", 200),
    ("chunks, many", 1_000),
    ("requests in a row", 200),
    ("requests in a row, not read", 200),
    ("requests in a row, many", 1_000),
    ("health in a row", 200),
    ("health in a row, many", 1_000),
    ("pings", 200),
    ("streams", 200),
    ("streams, reset", 200),
    ("closed windows", 1_000),
    ("closed windows, long heads", 1_000),
    ("bodies without end", 1_000),
    ("live", 300),
    ("live, not read", 300),
    ("live, again and again", 300),
];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame");
    [&length.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn head(method: &str, path: &str) -> Vec<u8> {
    let field = |(name, value): (&str, &str)| {
        [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
    };
    let fields = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)];
    fields.into_iter().flat_map(field).collect()
}

/// A hundred requests, the n-th of a connection.
fn streams(n: u32, flags: u8, head: &[u8], behind: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let each = |k| {
        let stream = 2 * (100 * n + k) + 3;
        [frame(1, flags, stream, head), behind(stream)].concat()
    };
    (0..100).flat_map(each).collect()
}

fn flood(name: &str) -> Flood {
    let of = |first: &[u8], more: Box<dyn Fn(u32) -> Vec<u8> + Send + Sync>, does| Flood {
        first: first.to_vec(),
        more,
        parts: u32::MAX,
        does,
    };
    let again = |part: Vec<u8>, first: &[u8], does| of(first, Box::new(move |_| part.clone()), does);
    let (base, _) = name.split_once(", ").unwrap_or((name, ""));
    let does = if name.ends_with("not read") { Does::Ignores } else { Does::Reads };
    let get = head("GET", "/health");
    match base {
        "none" => again(Vec::new(), b"", Does::Waits),
        "handshakes" if name.ends_with("off") => again(Vec::new(), b"", Does::Hesitates),
        "handshakes" => again(Vec::new(), b"", Does::Connects),
        "beginnings of a handshake" => again(Vec::new(), b"\x16\x03\x01\x02\x00\x01", Does::Waits),
        "chunks" => {
            let first = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
            again(b"1\r\n \r\n".repeat(1_000), first, does)
        }
        "requests in a row" => {
            again(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".repeat(1_000), b"", does)
        }
        "health in a row" => again(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100), b"", does),
        "pings" => again(frame(6, 0, 0, b"are you?").repeat(1_000), PREFACE, does),
        "streams" if name.ends_with("reset") => {
            let reset = |stream| frame(3, 0, stream, &[0, 0, 0, 8]);
            of(PREFACE, Box::new(move |n| streams(n, 5, &get, reset)), does)
        }
        "streams" => of(PREFACE, Box::new(move |n| streams(n, 5, &get, |_| Vec::new())), does),
        "closed windows" if name.ends_with("heads") => {
            let long = [&get[..], &[0x40, 1, b'a', 126], &[b'b'; 126]].concat();
            let first = [CLOSED, &frame(1, 5, 1, &long)].concat();
            let refers = [&get[..], &[0xBE; 180]].concat();
            Flood { parts: 2, ..of(&first, Box::new(move |n| streams(n, 5, &refers, |_| Vec::new())), does) }
        }
        "closed windows" => {
            Flood { parts: 2, ..of(CLOSED, Box::new(move |n| streams(n, 5, &get, |_| Vec::new())), does) }
        }
        "bodies without end" => {
            let post = head("POST", "/");
            let more = move |n: u32| match n {
                0 => streams(0, 4, &post, |_| Vec::new()),
                _ => (0..100).flat_map(|k| frame(0, 0, 2 * k + 3, &[b' '; 160])).collect(),
            };
            Flood { parts: 64, ..of(PREFACE, Box::new(more), does) }
        }
        "live" => {
            let ask =
                b"GET /console/live HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: Expressway.Overview\r\n\r\n";
            let does = match does {
                Does::Reads if !name.ends_with("again") => Does::Waits,
                does => does,
            };
            again(Vec::new(), ask, does)
        }
        _ => panic!("there is no flood {name}"),
    }
}

/// Measures beside each flood, over TCP and over TLS.
pub(crate) fn measure(wanted: Option<&str>, turn: Duration, is_test: bool) {
    println!("load {}\n", load());
    println!(
        "| flood | p50 | p99 | unanswered | at most, a second | `/health` p99.9 | … over new connections | memory |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    let floods = FLOODS.iter().filter(|(name, _)| wanted.is_none_or(|wanted| name.contains(wanted)));
    let mut greatest_mib = 0.0_f64;
    for (n, &(name, connections)) in floods.enumerate() {
        for is_tls in [false, true] {
            if (!is_tls && name.contains("handshake")) || (is_test && n % 5 > 0) {
                continue;
            }
            let server = Server::with(is_tls, &["--memory", BUDGET]);
            let _flooding = Flooding::begin(name, connections, server.place);
            let figures = Figures::of(&server, turn);
            let over = if is_tls { "TLS" } else { "TCP" };
            let (mib, at_most, health) = (server.most_mib(), figures.at_most, figures.health());
            println!(
                "| {name}, {connections} over {over} | {figures} | {at_most:.0} | {health} | {mib:.0} MiB |"
            );
            greatest_mib = greatest_mib.max(mib);
        }
    }
    println!("\nload {}; memory {greatest_mib:.0} MiB at most", load());
    println!("wanted: a p99 of 10 ms, `/health` within 20 ms, {MEMORY_MIB_MAX} MiB");
}

/// The process that floods.
struct Flooding(Child);

impl Flooding {
    fn begin(name: &str, connections: usize, place: Place) -> Flooding {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let tls = if place.is_tls { "tls" } else { "tcp" };
        command.args(["flood", name, &connections.to_string(), &place.address.to_string(), tls]);
        let child = command.spawn().expect("this program");
        std::thread::sleep(Duration::from_millis(1_000));
        Flooding(child)
    }
}

impl Drop for Flooding {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Floods this machine, until it is killed.
pub(crate) fn send(arguments: &[&str]) {
    let [name, connections, address, tls] = arguments else {
        panic!("a flood, connections, a place, tcp or tls")
    };
    #[cfg(target_os = "linux")]
    rustix::process::setpriority_process(None, 19).expect("it may be less important");
    let place = Place { address: address.parse().expect("an address"), is_tls: *tls == "tls" };
    assert!(place.address.ip().is_loopback(), "nobody else is flooded");
    let connections: usize = connections.parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let flood = Arc::new(flood(name));
    runtime.block_on(async {
        for _ in 0..connections {
            let flood = Arc::clone(&flood);
            tokio::spawn(async move {
                loop {
                    // Cut, refused, or done: once more.
                    if one(&flood, place).await.is_err() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            });
        }
        tokio::time::sleep(FLOODS_FOR).await;
    });
}

async fn one(flood: &Flood, place: Place) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(place.address).await?;
    match flood.does {
        Does::Waits if place.is_tls && flood.first.starts_with(b"\x16") => {
            stream.write_all(&flood.first).await?;
            drop(stream.read(&mut [0; 64]).await);
            return Ok(());
        }
        Does::Hesitates => {
            // The server has answered with its certificate and signature.
            let mut tls = TlsConnector::from(trusting()).connect(localhost(), stream);
            let _ = tokio::time::timeout(Duration::ZERO, &mut tls).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            return Ok(());
        }
        _ => {}
    }
    if place.is_tls {
        let stream = TlsConnector::from(trusting()).connect(localhost(), stream).await?;
        speak(flood, stream).await
    } else {
        speak(flood, stream).await
    }
}

async fn speak(flood: &Flood, stream: impl AsyncRead + AsyncWrite) -> std::io::Result<()> {
    if flood.does == Does::Connects {
        return Ok(());
    }
    let (mut answers, mut requests) = tokio::io::split(stream);
    let write = async {
        requests.write_all(&flood.first).await?;
        for n in 0..flood.parts {
            let part = (flood.more)(n);
            if part.is_empty() {
                break;
            }
            requests.write_all(&part).await?;
            requests.flush().await?;
        }
        requests.flush().await?;
        if flood.does != Does::Reads {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(HELD).await;
        Ok(())
    };
    let read = async {
        if flood.does == Does::Ignores {
            std::future::pending::<()>().await;
        }
        let mut buffer = vec![0; 64 << 10];
        while answers.read(&mut buffer).await? > 0 {}
        Ok(())
    };
    tokio::select! { done = write => done, done = read => done }
}
