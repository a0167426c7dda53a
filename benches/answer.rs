//! `StartSyncExecution` from the body of its request to the body of its reply, beside the workflow alone: what the API
//! costs; and there and back through one connection on the loopback, which is mostly the kernel's and the threads' waking
//! up. `cargo bench --features server --bench answer`.

mod measure;
mod workloads;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use criterion::Throughput;
use expressway::api::{Call, answer};
use expressway::runtime::inline::Driver;
use expressway::server::{Config, Server};
use expressway::service::{CreateStateMachine, Service};
use expressway::{asl, compile};
use measure::{Comparison, Figure, candidate};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ALONE: &str = "the workflow alone";
const ANSWER: &str = "the answer";
const CONNECTION: &str = "through a connection";
const TARGET: &str = "AWSStepFunctions.StartSyncExecution";

fn main() {
    let names = ["w1", "w2", "w3"];
    let measured = measure::run(names.map(comparison).into());
    let figures: Vec<Figure> = (names.iter().zip(&measured))
        .filter(|(name, _)| **name == "w2")
        .map(|(_, measured)| Figure {
            what: "W2: what the API adds".to_owned(),
            at_most: 1_500.0,
            measured: measured.nanoseconds(ANSWER) - measured.nanoseconds(ALONE),
            unit: "ns",
        })
        .collect();
    measure::print_figures(&figures);
}

fn comparison(name: &'static str) -> Comparison<'static> {
    let workload = workloads::workload(name);
    let input: &'static [u8] = workload.input.clone().leak().trim_ascii();
    let (definition, _) = asl::read(workload.definition.as_bytes(), &asl::Options::default());
    let program = compile::compile(&definition.unwrap()).unwrap();
    let mut driver = Driver::new(program.into());
    let alone = move || {
        let mut out = Vec::new();
        driver.run(input).unwrap().write_output(&mut out);
        out
    };
    let service = Service::builder().engine(|engine| engine.shards(1)).build().unwrap();
    let request = CreateStateMachine {
        name: name.to_owned(),
        definition: workload.definition,
        role_arn: "arn:aws:iam::123456789012:role/bench".to_owned(),
        express: true,
        ..CreateStateMachine::default()
    };
    let machine = service.create_state_machine(request).unwrap().arn;
    let body = serde_json::json!({
        "stateMachineArn": machine,
        "input": std::str::from_utf8(input).unwrap(),
    })
    .to_string();
    let connected = connected(&service, &body);
    let answered = move || {
        let call = Call { target: TARGET, trace_header: None, body: body.as_bytes() };
        let mut answer = pin!(answer(&service, call));
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(reply) => reply.body,
            Poll::Pending => panic!("{name} is not pure"),
        }
    };
    assert!(String::from_utf8(answered()).unwrap().contains("SUCCEEDED"), "{name} does not succeed");
    Comparison {
        title: name.to_owned(),
        throughput: Throughput::Elements(1),
        baseline: ALONE,
        candidates: vec![
            candidate(ALONE, alone),
            candidate(ANSWER, answered),
            candidate(CONNECTION, connected),
        ],
    }
}

/// A server, and a client with one connection to it.
fn connected(service: &Service, body: &str) -> impl FnMut() -> usize + use<> {
    let mut config = Config::default();
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.threads = 1;
    let server = Server::start(&config, service).unwrap();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-amz-json-1.0\r\nx-amz-target: {TARGET}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut reply = vec![0; 64 * 1_024];
    move || {
        let _serving = &server;
        stream.write_all(request.as_bytes()).unwrap();
        let mut read = 0;
        loop {
            read += stream.read(&mut reply[read..]).unwrap();
            if let Some(length) = whole(&reply[..read]) {
                assert!(reply.starts_with(b"HTTP/1.1 200") && read == length);
                return length;
            }
        }
    }
}

/// How long a reply is, if all of its head is there and all of its body.
fn whole(reply: &[u8]) -> Option<usize> {
    let head = reply.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let mut lines = std::str::from_utf8(&reply[..head]).unwrap().lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let length = head + length.parse::<usize>().unwrap();
    (reply.len() >= length).then_some(length)
}
