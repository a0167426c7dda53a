//! What a `lambda:invoke` task costs: executions of a machine of one such task on one shard, beside a bare hyper client
//! on one thread that sends the same requests over as many connections, to the same trivial endpoint. Both keep their
//! connections from round to round; both have a thread of their own, and the endpoint has one. They take turns in one
//! run; the medians of the rates, and of the ratios within a round, are printed.

use std::net::SocketAddr;
use std::time::Instant;

use expressway::runtime::{Engine, Machine};
use expressway::task::aws::{Credentials, Integrations};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests on their way, too.
const CONNECTIONS: usize = 64;
/// Executions the engine is given at once: so many in each of two batches, whichever has room next.
const BATCH: usize = 512;
const PAYLOAD: &str = r#"{"order":{"id":"o-1","lines":[{"sku":"a","n":2},{"sku":"b","n":1}]},"total":12.5}"#;
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Amz-Executed-Version: $LATEST\r\n\
    x-amzn-RequestId: 3f1f2a4e-0000-4000-8000-000000000000\r\nContent-Length: 26\r\n\r\n{\"approved\":true,\"n\":12.5}";

fn main() {
    let (rounds, calls) = if std::env::args().any(|arg| arg == "--test") { (1, 1_024) } else { (15, 20_480) };
    println!("calls a second over {CONNECTIONS} connections; median of {rounds} rounds of {calls} calls");
    let address = serve();
    let mut bare = Bare::new(address);
    let plain = Integrations::new();
    let signed = plain.clone().credentials(Credentials::new("AKIDEXAMPLE", "secret", None));
    let (plain, signed) = (Tasks::new(address, plain), Tasks::new(address, signed));
    let round = |_| {
        [rate(calls, || bare.run(calls)), rate(calls, || plain.run(calls)), rate(calls, || signed.run(calls))]
    };
    let rates: Vec<[f64; 3]> = (0..rounds).map(round).collect();
    for (n, name) in
        ["a bare hyper client", "lambda:invoke on one shard", "the same, signed"].into_iter().enumerate()
    {
        let rate = median(rates.iter().map(|round| round[n]).collect());
        let ratio = median(rates.iter().map(|round| round[n] / round[0]).collect());
        println!("  {name:<44} {rate:>10.0} /s   {ratio:.2} of the first");
    }
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

/// The trivial endpoint, on a separate thread.
fn serve() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        thread().block_on(async {
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

fn thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap()
}

/// A minimal hand-written implementation.
struct Bare {
    runtime: Runtime,
    address: SocketAddr,
    idle: Vec<SendRequest<Full<Bytes>>>,
}

impl Bare {
    fn new(address: SocketAddr) -> Bare {
        Bare { runtime: thread(), address, idle: Vec::new() }
    }

    fn run(&mut self, calls: usize) {
        let Bare { runtime, address, idle } = self;
        let address = *address;
        let uri = Uri::from_static("/2015-03-31/functions/charge/invocations");
        let host = HeaderValue::try_from(address.to_string()).unwrap();
        runtime.block_on(async {
            let loops = (0..CONNECTIONS).map(|_| {
                let (uri, host, kept) = (uri.clone(), host.clone(), idle.pop());
                tokio::spawn(async move {
                    let mut sender = match kept {
                        Some(sender) => sender,
                        None => connect(address).await,
                    };
                    for _ in 0..calls / CONNECTIONS {
                        let mut request = Request::new(Full::new(Bytes::from_static(PAYLOAD.as_bytes())));
                        *request.method_mut() = Method::POST;
                        *request.uri_mut() = uri.clone();
                        request.headers_mut().insert(HOST, host.clone());
                        let json = HeaderValue::from_static("application/json");
                        request.headers_mut().insert(CONTENT_TYPE, json);
                        let response = sender.send_request(request).await.unwrap();
                        let body = response.into_body().collect().await.unwrap().to_bytes();
                        assert_eq!(body.len(), 26);
                    }
                    sender
                })
            });
            for task in loops.collect::<Vec<_>>() {
                idle.push(task.await.unwrap());
            }
        });
    }
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

struct Tasks {
    engine: Engine,
    machine: Machine,
}

impl Tasks {
    fn new(address: SocketAddr, integrations: Integrations) -> Tasks {
        let integrations = integrations
            .endpoint("Lambda", &format!("http://{address}"))
            .unwrap()
            .connections_max(CONNECTIONS);
        let engine = Engine::builder().shards(1).aws(integrations).build().unwrap();
        let definition = r#"{"StartAt": "Charge", "States": {"Charge": {"Type": "Task", "End": true,
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": "charge", "Payload.$": "$"}, "OutputPath": "$.Payload"}}}"#;
        let machine = engine.create_state_machine("charge", definition).unwrap();
        Tasks { engine, machine }
    }

    /// From a thread that only waits.
    fn run(&self, calls: usize) {
        let batches = || async {
            for _ in 0..calls / BATCH / 2 {
                let summary = self.engine.start_batch(&self.machine, (0..BATCH).map(|_| PAYLOAD)).await;
                assert_eq!(summary.succeeded, BATCH as u64, "{summary:?}");
            }
        };
        thread().block_on(async { tokio::join!(batches(), batches()) });
    }
}
