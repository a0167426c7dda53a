//! What the console's heat-map costs: W2 in a service whose console nobody looks at, and in one that had a heat-map and
//! has one now, taking turns in one run. The ratios are medians over the turns; the frames are those that a page gets.

mod workloads;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use expressway::observe::Setup;
use expressway::server::{Config, Console, Server};
use expressway::service::{CreateStateMachine, Service, StartExecution};
use workloads::workload;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads that start executions, and wait for each.
const STARTERS: usize = 2;

struct Bench {
    service: Service,
    server: Server,
    machine: String,
}

impl Bench {
    fn new() -> Bench {
        let service = Service::builder().engine(|engine| engine.observe(Setup::default().metrics()));
        let service = service.build().expect("a service");
        let mut config = Config::default();
        config.listen.set_port(0);
        config.threads = 1;
        config.console = Some(Console::default());
        let server = Server::start(&config, &service).expect("a server");
        let request = CreateStateMachine {
            name: "w2".to_owned(),
            definition: workload("w2").definition,
            role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
            express: true,
            ..CreateStateMachine::default()
        };
        let machine = service.create_state_machine(request).expect("a machine").arn;
        Bench { service, server, machine }
    }

    /// Executions a second.
    fn turn(&self, lasts: Duration) -> f64 {
        let input = String::from_utf8(workload("w2").input).expect("UTF-8");
        let (count, began) = (AtomicU64::new(0), Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..STARTERS {
                scope.spawn(|| {
                    let mut own = 0;
                    while began.elapsed() < lasts {
                        for _ in 0..100 {
                            let start = StartExecution {
                                machine_arn: self.machine.clone(),
                                input: Some(input.clone()),
                                ..StartExecution::default()
                            };
                            pollster::block_on(self.service.start_sync_execution(start)).expect("an outcome");
                        }
                        own += 100;
                    }
                    count.fetch_add(own, Relaxed);
                });
            }
        });
        count.load(Relaxed) as f64 / began.elapsed().as_secs_f64()
    }

    /// Has the heat-map streamed until the flag is set; the frames that came.
    fn watch(&self, over: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
        let address = self.server.address();
        let ask = format!("%7B%22machineArn%22%3A%22{}%22%7D", self.machine);
        let request = format!(
            "GET /console/live?ask={ask} HTTP/1.1\r\nHost: {address}\r\nX-Amz-Target: Expressway.Heat\r\n\r\n"
        );
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(request.as_bytes()).expect("it reads");
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        std::thread::spawn(move || {
            let (mut frames, mut bytes) = (0, [0; 64 << 10]);
            while !over.load(Relaxed) {
                // A frame is sent at once, and is smaller than this.
                let Ok(read) = stream.read(&mut bytes) else { continue };
                frames += String::from_utf8_lossy(&bytes[..read]).matches("event: answer").count() as u64;
            }
            frames
        })
    }
}

fn main() {
    let is_test = std::env::args().any(|arg| arg == "--test");
    let (rounds, lasts) =
        if is_test { (1, Duration::from_millis(300)) } else { (21, Duration::from_millis(1_000)) };
    let (never, now) = (Bench::new(), Bench::new());
    let (mut rates, mut frames) = ([Vec::new(), Vec::new(), Vec::new()], Vec::new());
    for round in 0..=rounds {
        let mut turns = [0, 1, 2];
        if round % 2 == 1 {
            turns.reverse();
        }
        for turn in turns {
            let rate = match turn {
                0 => never.turn(lasts),
                1 => now.turn(lasts),
                _ => {
                    let over = Arc::new(AtomicBool::new(false));
                    let watching = now.watch(Arc::clone(&over));
                    let rate = now.turn(lasts);
                    over.store(true, Relaxed);
                    frames.push(watching.join().expect("no panic") as f64 / lasts.as_secs_f64());
                    rate
                }
            };
            // The first round warms up.
            if round > 0 {
                rates[turn].push(rate);
            }
        }
    }
    println!("W2 through start_sync_execution, {STARTERS} threads; {rounds} rounds of {lasts:?}\n");
    println!("  {:<44} {:>12}   {:>6}   wanted", "", "executions/s", "ratio");
    let off = rates[0].clone();
    for (name, wanted, rates) in [
        ("nobody has looked", 1.0, &rates[0]),
        ("a heat-map was looked at, and is no more", 0.98, &rates[1]),
        ("a heat-map is looked at", 0.95, &rates[2]),
    ] {
        let ratio = median(rates.iter().zip(&off).map(|(rate, off)| rate / off).collect());
        println!("  {name:<44} {:>12.0}   {ratio:>6.3}   {wanted}", median(rates.clone()));
    }
    println!("\n  frames a second: {:.1}, wanted 2", median(frames));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
