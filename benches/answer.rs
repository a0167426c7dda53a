//! `StartSyncExecution` from the body of its request to the body of its reply, beside the workflow alone: what the API
//! costs. `cargo bench --features server --bench answer`.

#[path = "measure.rs"]
mod measure;
#[path = "workloads.rs"]
#[allow(dead_code, reason = "shared with the other benches")]
mod workloads;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use criterion::Throughput;
use expressway::runtime::inline::Driver;
use expressway::server::api::{Call, answer};
use expressway::service::{CreateStateMachine, Service};
use expressway::{asl, compile};
use measure::{Comparison, Figure, candidate};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ALONE: &str = "the workflow alone";
const ANSWER: &str = "the answer";

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
    let answered = move || {
        let target = "AWSStepFunctions.StartSyncExecution";
        let call = Call { target, content_type: None, trace_header: None, body: body.as_bytes() };
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
        candidates: vec![candidate(ALONE, alone), candidate(ANSWER, answered)],
    }
}
