//! Spans, as a collector receives them: one that speaks OTLP by the protocol's own types, on the loopback.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use expressway::observe::trace::{Context, Traces};
use expressway::observe::{Otlp, Setup};
use expressway::runtime::{Engine, ManualTime, StartOptions, Time};
use expressway::task::TaskError;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;

const FLAKY: &str = "arn:aws:lambda:us-east-1:123456789012:function:flaky";

/// A collector on a free port, and what it received.
fn collector() -> (String, Receiver<ExportTraceServiceRequest>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, received) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                let answer = service_fn(move |request: Request<Incoming>| {
                    let sender = sender.clone();
                    async move {
                        assert_eq!(request.uri().path(), "/v1/traces");
                        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        sender.send(ExportTraceServiceRequest::decode(body).unwrap()).unwrap();
                        let reply = ExportTraceServiceResponse::default().encode_to_vec();
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(reply))))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
                );
            }
        });
    });
    (url, received)
}

const MACHINE: &str = r#"{"StartAt": "Both", "States": {
    "Both": {"Type": "Parallel", "Next": "Each", "Branches": [
        {"StartAt": "Call", "States": {"Call": {"Type": "Task", "End": true,
            "Resource": "arn:aws:lambda:us-east-1:123456789012:function:flaky",
            "Retry": [{"ErrorEquals": ["Flaky"], "IntervalSeconds": 2, "MaxAttempts": 3}]}}},
        {"StartAt": "Nap", "States": {"Nap": {"Type": "Wait", "Seconds": 5, "Next": "After"},
                                      "After": {"Type": "Pass", "End": true}}}]},
    "Each": {"Type": "Map", "Next": "Bad", "ItemsPath": "$", "MaxConcurrency": 1, "ItemProcessor": {
        "StartAt": "One", "States": {"One": {"Type": "Pass", "End": true}}}},
    "Bad": {"Type": "Fail", "Error": "Mine", "Cause": "on purpose"}}}"#;

#[test]
fn a_collector_receives_the_tree() {
    let (url, received) = collector();
    let time = ManualTime::at(1_700_000_000_000);
    let traces = Traces::new(Otlp::new(&url, "orders").unwrap(), 0);
    let (engine, mut simulation) = Engine::builder()
        .seed(1)
        .time(time.clone())
        .observe(Setup::default().traces(traces))
        .task_with(FLAKY, |_: serde_json::Value, attempt: expressway::task::Attempt| async move {
            match attempt.retries() {
                0 => Err(TaskError::new("Flaky", "not yet")),
                _ => Ok(serde_json::json!([1, attempt.trace_header()])),
            }
        })
        .simulate()
        .unwrap();
    let machine = engine.create_state_machine("tree", MACHINE).unwrap();
    let header = "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1";
    let mut run = |header: Option<&str>| {
        let options = StartOptions { trace_header: header.map(Into::into), ..StartOptions::default() };
        engine.start_with(&machine, "{}", options).unwrap();
        simulation.settle(time.now_ms());
        while let Some(next_ms) = simulation.next_ms() {
            time.advance(next_ms - time.now_ms());
            simulation.settle(time.now_ms());
        }
        simulation.carry();
    };
    // Neither of these is traced.
    run(None);
    run(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"));
    run(Some(header));

    let request = received.recv_timeout(Duration::from_secs(60)).expect("spans");
    let resource = &request.resource_spans[0];
    let service = &resource.resource.as_ref().unwrap().attributes[0];
    assert_eq!(service.key, "service.name");
    let spans: &[Span] = &resource.scope_spans[0].spans;
    let by_id: HashMap<&[u8], &Span> = spans.iter().map(|span| (&*span.span_id, span)).collect();
    assert_eq!(by_id.len(), spans.len());
    let context = Context::parse(header).unwrap();
    assert!(spans.iter().all(|span| span.trace_id == context.trace_id.to_be_bytes()));
    let path = |span: &Span| {
        let mut names = vec![span.name.clone()];
        let mut at = span;
        while let Some(parent) = by_id.get(&*at.parent_span_id) {
            names.insert(0, parent.name.clone());
            at = parent;
        }
        names.join(" > ")
    };
    let began = spans[0].start_time_unix_nano;
    let second = 1_000_000_000;
    let found: Vec<(String, i32, u64, u64, bool)> = (spans.iter())
        .map(|span| {
            let (from, to) = (span.start_time_unix_nano - began, span.end_time_unix_nano - began);
            (path(span), span.kind, from / second, to / second, span.status.is_some())
        })
        .collect();
    let (server, inside, client) =
        (SpanKind::Server as i32, SpanKind::Internal as i32, SpanKind::Client as i32);
    let attempt = format!("tree > Both > Call > {FLAKY}");
    let wanted = [
        ("tree", server, 0, 5, true),
        ("tree > Both", inside, 0, 5, false),
        ("tree > Both > Call", inside, 0, 2, false),
        ("tree > Both > Nap", inside, 0, 5, false),
        (&attempt, client, 0, 0, true),
        (&attempt, client, 2, 2, false),
        ("tree > Both > After", inside, 5, 5, false),
        ("tree > Each", inside, 5, 5, false),
        ("tree > Each > 0", inside, 5, 5, false),
        ("tree > Each > 0 > One", inside, 5, 5, false),
        ("tree > Each > 1", inside, 5, 5, false),
        ("tree > Each > 1 > One", inside, 5, 5, false),
        ("tree > Bad", inside, 5, 5, true),
    ];
    let mut wanted: Vec<_> =
        wanted.map(|(path, kind, from, to, failed)| (path.to_owned(), kind, from, to, failed)).into();
    let mut sorted = found.clone();
    wanted.sort();
    sorted.sort();
    assert_eq!(sorted, wanted);
    assert_eq!(spans[0].parent_span_id, context.parent_id.to_be_bytes());
    assert_eq!(spans[0].status.as_ref().unwrap().message, "on purpose");
    assert!(received.try_recv().is_err());
    assert_eq!(engine.observed().dropped().spans, 0);
}

#[test]
fn endpoints_that_are_none_are_refused() {
    for endpoint in ["", "localhost", "https://localhost:4318", "ftp://localhost"] {
        assert!(Otlp::new(endpoint, "x").is_err(), "{endpoint}");
    }
}

#[test]
fn contexts_are_read_and_written() {
    for (header, sampled) in [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", false),
        ("Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1", true),
        (
            "Self=1-67891234-12456789abcdef012345678;Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331",
            false,
        ),
    ] {
        let context = Context::parse(header).unwrap();
        assert_eq!(context.trace_id, 0x0af7651916cd43dd8448eb211c80319c);
        assert_eq!((context.parent_id, context.sampled), (0xb7ad6b7169203331, sampled));
        assert_eq!(Context::parse(&context.traceparent()), Some(context));
        assert_eq!(Context::parse(&context.xray()), Some(context));
    }
    for wrong in [
        "",
        "00",
        "00-0-0-0",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
        "00-0af7651916cd43dd8448eb211c8031+c-b7ad6b7169203331-01",
        "Root=1-0af76519",
        "Root=2-0af76519-16cd43dd8448eb211c80319c",
    ] {
        assert_eq!(Context::parse(wrong), None, "{wrong}");
    }
}
