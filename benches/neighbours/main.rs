//! Interference between clients: one that starts a thousand short synchronous executions a second at `expressway
//! serve`, alone and beside each of sixty bad neighbours.
//!
//! `cargo bench --bench neighbours --features cli-serve`; a part of a neighbour's name as an argument measures that one.
//! `floods`, as the first argument, measures clients that send without end instead, over TCP and TLS, and many pages of the
//! console (a part of a flood's name as the second measures that one); `ends` measures how late executions end.

mod bombs;
mod ends;
mod floods;
mod server;
#[path = "../workloads.rs"]
mod workloads;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bombs::Bomb;
use serde_json::{Value, json};
use server::{Client, Server, request};

/// Executions a second that the well-behaved client starts.
const RATE: u32 = 1_000;
const CONNECTIONS: u32 = 16;
/// Connections of the neighbour, each of which asks again as soon as it has its answer.
const BAD_CONNECTIONS: usize = 8;
/// Executions of the neighbour whose end is not awaited.
const BAD_EXECUTIONS: usize = 10;
/// Its `TimeoutSeconds`.
const BAD_SECONDS: u64 = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_test = arguments.iter().any(|argument| argument == "--test");
    let mut words = arguments.iter().filter(|argument| !argument.starts_with("--")).map(String::as_str);
    let turn = Duration::from_millis(if is_test { 200 } else { 2_000 });
    let wanted = match words.next() {
        Some("floods") => return floods::measure(words.next(), turn, is_test),
        Some("flood") => return floods::send(&words.collect::<Vec<_>>()),
        Some("ends") => return ends::measure(if is_test { 3 } else { 3_000 }),
        wanted => wanted,
    };
    let mut bombs = bombs::all();
    if let Some(wanted) = wanted {
        bombs.retain(|(name, _)| name.contains(wanted));
    } else if is_test {
        bombs = bombs.into_iter().step_by(15).collect();
    }
    let alone = Figures::of(&Server::start(), turn);
    println!(
        "| neighbour | p50 | p99 | unanswered | throughput | `/health` p99.9 | … over new connections | late end | memory |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    println!("| none: {:.0} /s at most | {alone} | 1.00 x | {} | | |", alone.at_most, alone.health());
    let mut worst = Worst::default();
    for (name, bomb) in &bombs {
        let server = Server::start();
        let idle_mib = server.resident_mib();
        let bad = Bad::begin(&server, bomb);
        let figures = Figures::of(&server, turn);
        let late = bad.end(&server);
        let ratio = figures.at_most / alone.at_most;
        let memory = server.resident_mib() - idle_mib;
        let health = figures.health();
        println!("| {name} | {figures} | {ratio:.2} x | {health} | {late:.1} ms | + {memory:.0} MiB |");
        worst.add(&figures, ratio, late);
    }
    println!("\n| beside the worst of {} neighbours | measured | wanted |\n|---|--:|--:|", bombs.len());
    println!("| p99 of a synchronous start, {RATE} a second | {:.1} ms | ≤ 10 ms |", worst.p99);
    println!(
        "| … beside how many it is more | {} | 0 |",
        worst.all.iter().filter(|p99| **p99 > 10.0).count()
    );
    println!("| starts that had no good answer | {} | 0 |", worst.unanswered);
    println!("| … of the median neighbour | {:.1} ms | |", worst.median_p99());
    println!("| throughput, of that alone | {:.2} x | ≥ 0.4 x |", worst.ratio);
    println!("| `/health`, p99.9 | {:.1} ms | ≤ 20 ms |", worst.health);
    println!("| … over new connections | {:.1} ms | ≤ 20 ms |", worst.fresh_health);
    println!("| an execution's end after its deadline | {:.1} ms | ≤ 50 ms |", worst.late);
}

#[derive(Default)]
struct Worst {
    p99: f64,
    all: Vec<f64>,
    unanswered: usize,
    ratio: f64,
    health: f64,
    fresh_health: f64,
    late: f64,
}

impl Worst {
    fn add(&mut self, figures: &Figures, ratio: f64, late: f64) {
        self.ratio = if self.all.is_empty() { ratio } else { self.ratio.min(ratio) };
        self.p99 = self.p99.max(figures.p99);
        self.all.push(figures.p99);
        self.unanswered += figures.unanswered;
        self.health = self.health.max(figures.health);
        self.fresh_health = self.fresh_health.max(figures.fresh_health);
        self.late = self.late.max(late);
    }

    fn median_p99(&self) -> f64 {
        quantile(&mut self.all.clone(), 0.5)
    }
}

/// What the well-behaved client sees; milliseconds.
struct Figures {
    p50: f64,
    p99: f64,
    /// How many starts were refused, or not answered within [`PATIENCE`](server::PATIENCE).
    unanswered: usize,
    health: f64,
    /// The same over a new connection each time.
    fresh_health: f64,
    /// Executions a second when each connection asks again at once.
    at_most: f64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ms | {:.2} ms | {}", self.p50, self.p99, self.unanswered)
    }
}

impl Figures {
    /// As two cells of a table.
    pub(crate) fn health(&self) -> String {
        format!("{:.1} ms | {:.1} ms", self.health, self.fresh_health)
    }

    fn of(server: &Server, turn: Duration) -> Figures {
        let w2 = workloads::own("w2");
        let arn = server.create("good", &serde_json::from_str(&w2.definition).expect("JSON"), 300);
        let body = json!({"stateMachineArn": arn, "input": String::from_utf8_lossy(&w2.input)}).to_string();
        // Nothing is cold when it is measured.
        rate(server, &body, turn / 10);
        let done = AtomicBool::new(false);
        let ((mut took, unanswered), mut health, mut fresh_health) = std::thread::scope(|scope| {
            let health = scope.spawn(|| probes(server, &done));
            let fresh_health = scope.spawn(|| fresh_probes(server, &done));
            let took = at_rate(server, &body, turn);
            let unanswered = took.iter().filter(|took| took.is_infinite()).count();
            let took = (took, unanswered);
            done.store(true, Ordering::Relaxed);
            (took, health.join().expect("no panic"), fresh_health.join().expect("no panic"))
        });
        let at_most = rate(server, &body, turn / 2);
        Figures {
            p50: quantile(&mut took, 0.5),
            p99: quantile(&mut took, 0.99),
            unanswered,
            health: quantile(&mut health, 0.999),
            fresh_health: quantile(&mut fresh_health, 0.999),
            at_most,
        }
    }
}

/// How busy the machine was in the last minute, beside what is measured here.
pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

pub(crate) fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part) as usize]
}

/// Milliseconds from when each was due to its answer; without end for those that had no good one.
fn at_rate(server: &Server, body: &str, turn: Duration) -> Vec<f64> {
    let began = Instant::now();
    let each = Duration::from_secs(1) * CONNECTIONS / RATE;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|n| {
                scope.spawn(move || {
                    let (mut client, mut took) = (Client::new(server.place), Vec::new());
                    let mut due = began + each * n / CONNECTIONS;
                    while due < began + turn {
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        let asked = client.try_ask("StartSyncExecution", body);
                        if asked.is_err() {
                            client = Client::new(server.place);
                        }
                        let is_good = asked.is_ok_and(|(_, answer)| answer.contains("SUCCEEDED"));
                        took.push(if is_good { due.elapsed().as_secs_f64() * 1e3 } else { f64::INFINITY });
                        due += each;
                    }
                    took
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect()
    })
}

/// Executions a second, as many as there can be.
fn rate(server: &Server, body: &str, turn: Duration) -> f64 {
    let began = Instant::now();
    let answers: u64 = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let (mut client, mut answers) = (Client::new(server.place), 0);
                    while began.elapsed() < turn {
                        match client.try_ask("StartSyncExecution", body) {
                            Ok((200, _)) => answers += 1,
                            Ok(_) => {}
                            Err(_) => client = Client::new(server.place),
                        }
                    }
                    answers
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("no panic")).sum()
    });
    answers as f64 / began.elapsed().as_secs_f64()
}

/// Milliseconds that `/health` takes.
fn probes(server: &Server, done: &AtomicBool) -> Vec<f64> {
    let (mut client, mut took) = (Client::new(server.place), Vec::new());
    while !done.load(Ordering::Relaxed) {
        let began = Instant::now();
        assert_eq!(client.get("/health").0, 200);
        took.push(began.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(2));
    }
    took
}

/// Milliseconds that connecting, a handshake, and `/health` take; without end for those that had no answer.
fn fresh_probes(server: &Server, done: &AtomicBool) -> Vec<f64> {
    let mut took = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = Client::connect(server.place).and_then(|mut client| client.try_get("/health"));
        let is_good = answer.is_ok_and(|(status, _)| status == 200);
        took.push(if is_good { began.elapsed().as_secs_f64() * 1e3 } else { f64::INFINITY });
        std::thread::sleep(Duration::from_millis(2));
    }
    took
}

/// A bad neighbour at work, on threads that end with the server.
struct Bad {
    machine: Option<(String, String)>,
    /// Idle clients that keep waiting.
    streams: Vec<TcpStream>,
}

impl Bad {
    fn begin(server: &Server, bomb: &Bomb) -> Bad {
        let (target, body, machine) = match bomb {
            Bomb::Runs(definition, input) => {
                let arn = server.create("bad", definition, BAD_SECONDS);
                let body = json!({"stateMachineArn": arn, "input": input}).to_string();
                let mut client = Client::new(server.place);
                for _ in 0..BAD_EXECUTIONS {
                    let (status, answer) = client.ask("StartExecution", &body);
                    assert_eq!(status, 200, "{answer}");
                }
                ("StartSyncExecution", body, Some((definition.to_string(), input.clone())))
            }
            Bomb::Asks(target, body) => (*target, body.clone(), None),
            Bomb::HalfClosed(definition, clients) => {
                let arn = server.create("bad", definition, 300);
                let body = json!({"stateMachineArn": arn, "input": "{}"}).to_string();
                let address = server.place.address;
                let streams = (0..*clients).map_while(|_| half_closed(address, &body).ok()).collect();
                let machine = Some((definition.to_string(), "{}".to_owned()));
                return Bad { machine, streams };
            }
        };
        let place = server.place;
        for _ in 0..BAD_CONNECTIONS {
            let body = body.clone();
            std::thread::spawn(move || {
                let Ok(mut client) = Client::connect(place) else { return };
                while client.try_ask(target, &body).is_ok() {}
            });
        }
        std::thread::sleep(Duration::from_millis(100));
        Bad { machine, streams: Vec::new() }
    }

    /// How many milliseconds after its deadline one more of its executions ends; 0 where it ends by itself.
    fn end(self, server: &Server) -> f64 {
        let Bad { machine: Some((definition, input)), streams: _streams } = self else { return 0.0 };
        let definition: Value = serde_json::from_str(&definition).expect("JSON");
        let arn = server.create("late", &definition, 1);
        let body = json!({"stateMachineArn": arn, "input": input}).to_string();
        let began = Instant::now();
        // One that is refused, or not answered in time, is later than any that is wanted.
        let asked = Client::new(server.place).try_ask("StartSyncExecution", &body);
        if !asked.is_ok_and(|(status, _)| status == 200) {
            return f64::INFINITY;
        }
        (began.elapsed().as_secs_f64() - 1.0).max(0.0) * 1e3
    }
}

/// A client that has sent everything, and waits for an answer.
fn half_closed(address: SocketAddr, body: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request("StartSyncExecution", body).as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    Ok(stream)
}
