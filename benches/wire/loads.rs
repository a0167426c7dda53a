//! The server and the bare one under the same loads.

use std::net::SocketAddr;
use std::path::Path;

use expressway::api::{Call, answer};
use expressway::observe::Setup;
use expressway::server::{Config, Server, Tls};
use expressway::service::{CreateStateMachine, Service};

use super::client::{Load, Raw, h2};
use super::echo::{self, Echo};
use super::pin::pin;
use super::place::Cpu;
use super::{Effort, Figure, secure, workloads};

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

pub(super) fn http1(effort: Effort) -> Vec<Figure> {
    let pair = Pair::start(false);
    let measured = pair.compare("HTTP/1.1, 64 connections", effort, &mut |address| {
        Raw { address, connections: 64, depth: 1, head: HEAD, body: pair.body.as_bytes() }.run(effort.turn)
    });
    let per_second = Figure {
        what: "`StartSyncExecution` of W2, HTTP/1.1 keep-alive, 64 connections, one server core".to_owned(),
        target: "≥ 100,000 /s",
        measured: format!("{:.0} /s", measured.rate),
        met: measured.rate >= 100_000.0,
    };
    let added = Figure {
        what: "… processor time of the server beyond the bare one's, a request".to_owned(),
        target: "≤ 1.5 µs",
        measured: format!("{:.2} µs ({:.2} µs)", measured.added_ns() / 1e3, measured.ns / 1e3),
        met: measured.added_ns() <= 1_500.0,
    };
    vec![per_second, measured.ratio_of("… against bare hyper", "≥ 0.85 ×", 0.85), added]
}

pub(super) fn pipelined(effort: Effort) -> Vec<Figure> {
    let pair = Pair::start(false);
    let measured = pair.compare("HTTP/1.1, 64 connections, 16 deep", effort, &mut |address| {
        Raw { address, connections: 64, depth: 16, head: HEAD, body: pair.body.as_bytes() }.run(effort.turn)
    });
    vec![measured.ratio_of("the same pipelined 16 deep, against bare hyper", "≥ 0.6 ×", 0.6)]
}

pub(super) fn http2(effort: Effort) -> Vec<Figure> {
    let pair = Pair::start(false);
    let measured = pair.compare("HTTP/2 (h2c), 8 connections of 100 streams", effort, &mut |address| {
        h2(address, None, 8, 100, HEAD, &pair.body, effort.turn)
    });
    vec![measured.ratio_of("HTTP/2 (h2c), 8 connections × 100 streams, against bare hyper", "≥ 0.75 ×", 0.75)]
}

pub(super) fn alpn(effort: Effort) -> Vec<Figure> {
    let (pair, tls) = (Pair::start(true), secure::client());
    let measured = pair.compare("HTTP/2 (ALPN), 8 connections of 100 streams", effort, &mut |address| {
        h2(address, Some(&tls), 8, 100, HEAD, &pair.body, effort.turn)
    });
    vec![measured.ratio_of("the same over TLS (ALPN), against bare hyper over TLS", "≥ 0.75 ×", 0.75)]
}

/// The two servers, on the first processor, and a request.
struct Pair {
    server: Server,
    echo: Echo,
    body: String,
}

/// The result of a comparison, by medians.
struct Measured {
    /// The server's requests a second, and in units of the bare one's.
    rate: f64,
    ratio: f64,
    /// Processor time of the server's thread for a request, and of the bare one's.
    ns: f64,
    bare_ns: f64,
}

impl Pair {
    fn start(is_tls: bool) -> Pair {
        // Threads inherit where their maker runs.
        pin(0);
        // As `expressway serve` sets it up.
        let service =
            Service::builder().engine(|engine| engine.shards(1).observe(Setup::default().metrics()));
        let service = service.build().expect("a service");
        let body = prepare(&service);
        let mut config = Config::default();
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.threads = 1;
        if is_tls {
            let file = |name: &str| Path::new(secure::FOLDER).join(name);
            let tls = Tls::read(&file("localhost.pem"), &file("localhost.key"));
            config.tls = Some(tls.expect("a certificate"));
        }
        let server = Server::start(&config, &service).expect("a server");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let call = Call { target: TARGET, trace_header: None, body: body.as_bytes() };
        let answered = runtime.block_on(answer(&service, call)).body;
        assert!(String::from_utf8_lossy(&answered).contains("SUCCEEDED"), "W2 does not succeed");
        let echo = echo::start(answered.len(), is_tls.then(secure::server));
        pin(1);
        println!("\nbodies: {} bytes in, {} bytes out", body.len(), answered.len());
        Pair { server, echo, body }
    }

    fn compare(&self, title: &str, effort: Effort, load: &mut dyn FnMut(SocketAddr) -> Load) -> Measured {
        let (mut ratios, mut ours, mut theirs) = (vec![], vec![], vec![]);
        let (mut our_ns, mut their_ns) = (vec![], vec![]);
        for _ in 0..effort.rounds {
            let (before, bare) = (Cpu::of(self.echo.thread), load(self.echo.address));
            their_ns.push(Cpu::of(self.echo.thread).since(&before) / bare.requests as f64);
            let (before, server) = (Cpu::of("http-0"), load(self.server.address()));
            our_ns.push(Cpu::of("http-0").since(&before) / server.requests as f64);
            assert_eq!(bare.failures + server.failures, 0, "{title}: not all were answered well");
            ratios.push(server.rate() / bare.rate());
            ours.push(server.rate());
            theirs.push(bare.rate());
        }
        let measured = Measured {
            rate: median(ours),
            ratio: median(ratios),
            ns: median(our_ns),
            bare_ns: median(their_ns),
        };
        if !effort.is_test {
            println!("{title}");
            println!(
                "  the server {:>9.0} /s, {:>6.0} ns of its thread for a request",
                measured.rate, measured.ns
            );
            println!(
                "  bare hyper {:>9.0} /s, {:>6.0} ns of its thread for a request",
                median(theirs),
                measured.bare_ns
            );
            println!("  ratio {:.2}, {:+.0} ns", measured.ratio, measured.added_ns());
        }
        measured
    }
}

impl Measured {
    fn added_ns(&self) -> f64 {
        self.ns - self.bare_ns
    }

    fn ratio_of(&self, what: &str, target: &'static str, at_least: f64) -> Figure {
        let (what, measured) = (what.to_owned(), format!("{:.2} × ({:.0} /s)", self.ratio, self.rate));
        Figure { what, target, measured, met: self.ratio >= at_least }
    }
}

/// Makes the machine, and the body of a start.
fn prepare(service: &Service) -> String {
    let workload = workloads::workload("w2");
    let created = service.create_state_machine(CreateStateMachine {
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

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
