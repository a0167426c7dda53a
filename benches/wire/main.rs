//! What the wire costs: `StartSyncExecution` of W2 through the server, beside a bare hyper server that answers bodies of
//! the same sizes with bodies of the same sizes. Servers run on one core, the client on another; both servers live at
//! the same time and take turns, and a ratio is the median over the turns.
//!
//! Linux only: cores are pinned and the processor time of a server's thread is read from `/proc`.

#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod echo;
#[cfg(target_os = "linux")]
mod place;
#[path = "../workloads.rs"]
mod workloads;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("this bench runs on Linux only");
}

#[cfg(target_os = "linux")]
fn main() {
    measure::main();
}

#[cfg(target_os = "linux")]
mod measure {
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    use expressway::server::api::{Call, answer};
    use expressway::server::{Config, Server};
    use expressway::service::Service;

    use super::client::{Load, Raw, h2};
    use super::place::{Cpu, pin, resident_bytes};
    use super::{echo, workloads};

    /// How much is done: little with `--test`.
    #[derive(Clone, Copy)]
    struct Effort {
        rounds: usize,
        turn: Duration,
        idle: usize,
    }

    pub(super) fn main() {
        let effort =
            match std::env::args().any(|it| it == "--test") || !std::env::args().any(|it| it == "--bench") {
                true => Effort { rounds: 1, turn: Duration::from_millis(20), idle: 100 },
                false => Effort { rounds: 15, turn: Duration::from_millis(400), idle: 9_000 },
            };
        // Threads inherit where their maker runs.
        pin(0);
        let service = Service::builder().engine(|engine| engine.shards(1)).build().expect("a service");
        let body = prepare(&service);
        let mut config = Config::default();
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.threads = 1;
        let server = Server::start(&config, &service).expect("a server");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let call = Call { target: TARGET, content_type: None, trace_header: None, body: body.as_bytes() };
        let answered = runtime.block_on(answer(&service, call)).body;
        assert!(String::from_utf8_lossy(&answered).contains("SUCCEEDED"), "W2 does not succeed");
        let echo = echo::start(answered.len());
        pin(1);
        println!("bodies: {} bytes in, {} bytes out", body.len(), answered.len());
        for (connections, depth, target) in [(64, 1, 0.85), (64, 16, 0.6)] {
            let mut load = |address| {
                let raw = Raw { address, connections, depth, head: HEAD, body: body.as_bytes() };
                raw.run(effort.turn)
            };
            let title = format!("HTTP/1.1, {connections} connections, {depth} deep");
            compare(&title, effort.rounds, target, &mut load, &echo, server.address());
        }
        let mut load = |address| h2(address, 8, 100, HEAD, &body, effort.turn);
        compare(
            "HTTP/2, 8 connections of 100 streams",
            effort.rounds,
            0.75,
            &mut load,
            &echo,
            server.address(),
        );
        idle(effort.idle, server.address());
    }

    const TARGET: &str = "AWSStepFunctions.StartSyncExecution";
    /// What SDKs send, more or less.
    const HEAD: &[(&str, &str)] = &[
        ("host", "sync-localhost:8083"),
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", TARGET),
        ("user-agent", "aws-sdk-rust/1.3 os/linux lang/rust/1.95"),
        ("x-amz-date", "20260101T000000Z"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/states/aws4_request, SignedHeaders=host, Signature=0",
        ),
    ];

    /// Makes the machine, and the body of a start.
    fn prepare(service: &Service) -> String {
        let workload = workloads::workload("w2");
        let created = service.create_state_machine(expressway::service::CreateStateMachine {
            name: "w2".to_owned(),
            definition: workload.definition,
            role_arn: "arn:aws:iam::123456789012:role/bench".to_owned(),
            express: true,
            ..Default::default()
        });
        let arn = created.expect("a machine").arn;
        let input = String::from_utf8(workload.input).expect("UTF-8");
        serde_json::json!({"stateMachineArn": arn, "input": input.trim()}).to_string()
    }

    fn compare(
        title: &str,
        rounds: usize,
        target: f64,
        load: &mut dyn FnMut(SocketAddr) -> Load,
        echo: &echo::Echo,
        server: SocketAddr,
    ) {
        let (mut ratios, mut ours, mut theirs) = (vec![], vec![], vec![]);
        let (mut our_cpu, mut their_cpu) = (vec![], vec![]);
        for _ in 0..rounds {
            let (before, load_echo) = (Cpu::of("echo"), load(echo.address));
            their_cpu.push(Cpu::of("echo").since(&before) / load_echo.requests as f64);
            let (before, load_server) = (Cpu::of("http-0"), load(server));
            our_cpu.push(Cpu::of("http-0").since(&before) / load_server.requests as f64);
            assert_eq!(load_echo.failures + load_server.failures, 0, "{title}: not all were answered well");
            ratios.push(load_server.rate() / load_echo.rate());
            ours.push(load_server.rate());
            theirs.push(load_echo.rate());
        }
        let (ratio, our_cpu, their_cpu) = (median(ratios), median(our_cpu), median(their_cpu));
        println!("{title}");
        println!("  the server {:>9.0} /s, {our_cpu:>6.0} ns of its thread for a request", median(ours));
        println!("  bare hyper {:>9.0} /s, {their_cpu:>6.0} ns of its thread for a request", median(theirs));
        println!("  ratio {ratio:.2} (target {target}), {:+.0} ns", our_cpu - their_cpu);
    }

    fn median(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    /// Connections that were used once and wait. The client's side of each is a file descriptor and nothing else.
    fn idle(connections: usize, server: SocketAddr) {
        let before = resident_bytes();
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            let Ok(mut stream) = TcpStream::connect(server) else { break };
            super::client::once(&mut stream);
            open.push(stream);
        }
        let each = resident_bytes().saturating_sub(before) / open.len().max(1);
        println!("{} idle connections: {:.1} KiB each (target 20)", open.len(), each as f64 / 1024.0);
    }
}
