//! What a `lambda:invoke` task costs: executions of a machine of one such task on one shard, beside a bare hyper client
//! on one thread that sends the same requests over as many connections, to the same trivial endpoint. They take turns
//! in one run; medians are printed.

use std::net::SocketAddr;
use std::time::Instant;

use expressway::runtime::{Engine, Machine};
use expressway::task::aws::{Credentials, Integrations};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 64;
const PAYLOAD: &str = r#"{"order":{"id":"o-1","lines":[{"sku":"a","n":2},{"sku":"b","n":1}]},"total":12.5}"#;
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Amz-Executed-Version: $LATEST\r\n\
    x-amzn-RequestId: 3f1f2a4e-0000-4000-8000-000000000000\r\nContent-Length: 26\r\n\r\n{\"approved\":true,\"n\":12.5}";

fn main() {
    let (rounds, calls) = match std::env::args().any(|arg| arg == "--test") {
        true => (1, 512),
        false => (9, 20_480),
    };
    println!("calls a second over {CONNECTIONS} connections; median of {rounds} rounds of {calls} calls");
    let address = serve();
    let plain = Integrations::new();
    let signed = plain.clone().credentials(Credentials::new("AKIDEXAMPLE", "secret", None));
    let (plain, signed) = (engine(address, plain), engine(address, signed));
    let mut rates: [Vec<f64>; 3] = Default::default();
    for _ in 0..rounds {
        rates[0].push(rate(calls, || bare(address, calls)));
        rates[1].push(rate(calls, || tasks(&plain, calls)));
        rates[2].push(rate(calls, || tasks(&signed, calls)));
    }
    let [bare, plain, signed] = rates.map(median);
    println!("  {:<44} {bare:>10.0} /s", "a bare hyper client");
    println!("  {:<44} {plain:>10.0} /s   {:.2} of it", "lambda:invoke on one shard", plain / bare);
    println!("  {:<44} {signed:>10.0} /s   {:.2} of it", "the same, signed", signed / bare);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn rate(calls: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    calls as f64 / start.elapsed().as_secs_f64()
}

/// The trivial endpoint, on a thread of its own.
fn serve() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
    });
    address
}

async fn answer(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::with_capacity(4_096);
    while let Ok(1..) = stream.read_buf(&mut buffer).await {
        let Some(head) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        if buffer.len() < head + 4 + PAYLOAD.len() {
            continue;
        }
        buffer.clear();
        if stream.write_all(ANSWER.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn bare(address: SocketAddr, calls: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let loops = (0..CONNECTIONS).map(|_| {
            tokio::spawn(async move {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                for _ in 0..calls / CONNECTIONS {
                    let request = Request::builder()
                        .method(Method::POST)
                        .uri("/2015-03-31/functions/charge/invocations")
                        .header("host", address.to_string())
                        .header("content-type", "application/json")
                        .body(Full::new(Bytes::from_static(PAYLOAD.as_bytes())))
                        .unwrap();
                    let response = sender.send_request(request).await.unwrap();
                    let body = response.into_body().collect().await.unwrap().to_bytes();
                    assert_eq!(body.len(), 26);
                }
            })
        });
        for task in loops.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

fn engine(address: SocketAddr, integrations: Integrations) -> (Engine, Machine) {
    let integrations =
        integrations.endpoint("Lambda", &format!("http://{address}")).unwrap().connections_max(CONNECTIONS);
    let engine = Engine::builder().shards(1).aws(integrations).build().unwrap();
    let definition = r#"{"StartAt": "Charge", "States": {"Charge": {"Type": "Task", "End": true,
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": "charge", "Payload.$": "$"}, "OutputPath": "$.Payload"}}}"#;
    let machine = engine.create_state_machine("charge", definition).unwrap();
    (engine, machine)
}

fn tasks((engine, machine): &(Engine, Machine), calls: usize) {
    let batch = engine.start_batch(machine, (0..calls).map(|_| PAYLOAD));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let summary = runtime.block_on(batch);
    assert_eq!(summary.succeeded, calls as u64, "{summary:?}");
}
