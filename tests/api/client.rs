//! A service without threads under virtual time, and a client of it that checks every reply against the service model.
//! It calls the API in process, or a server of it over a socket.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use expressway::api::{Call, Reply, answer};
use expressway::runtime::{ManualTime, Simulation};
use expressway::server::Server;
use expressway::service::{Builder, Service};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value as Json, json};

use super::model::Model;

pub(crate) const ACCOUNT: &str = "111111111111";
pub(crate) const ROLE: &str = "arn:aws:iam::111111111111:role/snf_role_arn";
const BEGIN_MS: u64 = 1_704_067_200_000;

pub(crate) struct Client {
    pub(crate) service: Service,
    simulation: Simulation,
    pub(crate) time: ManualTime,
    runtime: tokio::runtime::Runtime,
    model: Option<Model>,
    connection: Option<Connection>,
}

/// A server on a port of loopback, and a connection to it.
struct Connection {
    // Dropped before the server, which waits for its connections.
    sender: SendRequest<Sent>,
    server: Server,
    requests: usize,
}

/// A request's body: with its length, or in chunks.
struct Sent {
    left: Vec<Bytes>,
    length: Option<u64>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.left.pop().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A refusal: the exception's name and its message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refused {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Client {
    pub(crate) fn new() -> Client {
        Client::with(|builder| builder)
    }

    pub(crate) fn with(set: impl FnOnce(Builder) -> Builder) -> Client {
        Client::at(BEGIN_MS, set)
    }

    /// One of a service that begins at this time, in milliseconds since 1970.
    pub(crate) fn at(begin_ms: u64, set: impl FnOnce(Builder) -> Builder) -> Client {
        let time = ManualTime::at(begin_ms);
        let builder = Service::builder()
            .engine(|engine| engine.shards(2))
            .seed(7)
            .time(time.clone())
            .account(ACCOUNT)
            // Virtual time passes by years while nothing is awaited.
            .retention_days(100 * 365)
            .activity_poll(Duration::ZERO);
        let (service, simulation) = set(builder).simulate().expect("a service");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Client { service, simulation, time, runtime, model: Model::load(), connection: None }
    }

    /// One that calls the service over a socket.
    pub(crate) fn over_http(set: impl FnOnce(Builder) -> Builder) -> Client {
        let mut client = Client::with(set);
        let mut config = crate::wire::config();
        config.threads = 1;
        let server = Server::start(&config, &client.service).expect("a free port");
        server.ready(true);
        let sender = client.runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(server.address()).await.expect("a connection");
            let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
            tokio::spawn(connection);
            sender
        });
        client.connection = Some(Connection { sender, server, requests: 0 });
        client
    }

    /// Lets everything happen that needs no time to pass.
    pub(crate) fn settle(&mut self) {
        let now_ms = expressway::runtime::Time::now_ms(&self.time);
        self.simulation.settle(now_ms);
    }

    /// Lets time pass, from timer to timer.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        let until_ms = expressway::runtime::Time::now_ms(&self.time) + milliseconds;
        loop {
            self.settle();
            let now_ms = expressway::runtime::Time::now_ms(&self.time);
            let next_ms = self.simulation.next_ms().unwrap_or(u64::MAX).max(now_ms + 1).min(until_ms);
            if now_ms >= until_ms {
                return;
            }
            self.time.advance(next_ms - now_ms);
        }
    }

    /// The reply to a body as it is.
    pub(crate) fn raw(&mut self, target: &str, body: &[u8]) -> Reply {
        if self.connection.is_some() {
            return self.raw_over_http(target, body);
        }
        let call = Call { target, trace_header: None, body };
        let Client { service, simulation, time, runtime, .. } = self;
        let now_ms = || expressway::runtime::Time::now_ms(time);
        runtime.block_on(async {
            let mut answer = pin!(answer(service, call));
            let mut polls = 0;
            poll_fn(|context| {
                let polled = answer.as_mut().poll(context);
                simulation.settle(now_ms());
                if polled.is_pending() {
                    polls += 1;
                    assert!(polls < 1_000_000, "{target} does not end");
                    // A caller that waits for an execution waits until its timers are due.
                    if polls % 100 == 0
                        && let Some(next_ms) = simulation.next_ms()
                    {
                        time.advance(next_ms.saturating_sub(now_ms()));
                    }
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                polled
            })
            .await
        })
    }

    /// The same over the socket. Every other body is sent in chunks.
    fn raw_over_http(&mut self, target: &str, body: &[u8]) -> Reply {
        let Client { simulation, time, runtime, connection, .. } = self;
        let connection = connection.as_mut().expect("a connection");
        connection.requests += 1;
        let chunk = if connection.requests % 2 == 0 { body.len().max(1) } else { 7 };
        let sent = Sent {
            left: body.rchunks(chunk).map(Bytes::copy_from_slice).collect(),
            length: (connection.requests % 2 == 0).then_some(body.len() as u64),
        };
        let request = Request::post("/")
            .header("host", connection.server.address().to_string())
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", target)
            .body(sent)
            .expect("a request");
        let sender = &mut connection.sender;
        runtime.block_on(async {
            let mut answered = pin!(async {
                sender.ready().await.expect("the connection is kept");
                let response = sender.send_request(request).await.expect("a response");
                let (head, body) = response.into_parts();
                (head, body.collect().await.expect("a whole body").to_bytes())
            });
            let (head, body) = poll_fn(|context| {
                let polled = answered.as_mut().poll(context);
                simulation.settle(expressway::runtime::Time::now_ms(time));
                if polled.is_pending() {
                    context.waker().wake_by_ref();
                    // The server's thread answers meanwhile.
                    std::thread::yield_now();
                }
                polled
            })
            .await;
            let header = |name: &str| head.headers.get(name).map(|it| it.to_str().expect("ASCII").to_owned());
            assert_eq!(header("content-type").as_deref(), Some("application/x-amz-json-1.0"), "{head:?}");
            assert!(header("x-amzn-requestid").is_some_and(|id| id.len() == 36), "{head:?}");
            match header("content-length") {
                Some(length) => assert_eq!(length, body.len().to_string(), "{head:?}"),
                None => assert_eq!(header("transfer-encoding").as_deref(), Some("chunked"), "{head:?}"),
            }
            Reply {
                status: head.status.as_u16(),
                body: body.to_vec(),
                error: header("x-amzn-errortype").map(Into::into),
                retry_after_ms: None,
            }
        })
    }

    /// Calls an action; the reply was checked against the service model.
    pub(crate) fn call(&mut self, action: &str, body: &Json) -> Result<Json, Refused> {
        let reply = self.raw(&format!("AWSStepFunctions.{action}"), body.to_string().as_bytes());
        let answer: Json = serde_json::from_slice(&reply.body).expect("a JSON body");
        if reply.status == 200 {
            if let Some(model) = &self.model {
                model
                    .check_response(action, &answer)
                    .unwrap_or_else(|why| panic!("{action}: {why}: {answer}"));
            }
            assert_eq!(reply.error, None);
            return Ok(answer);
        }
        let code = answer["__type"].as_str().expect("a type").rsplit('#').next().expect("a name").to_owned();
        assert_eq!(reply.error.as_deref(), Some(&*code));
        if let Some(model) = &self.model {
            assert!(model.may_refuse(action, &code), "{action} does not know {code}");
        }
        Err(Refused { code, message: answer["message"].as_str().unwrap_or_default().to_owned() })
    }

    /// The answer of an action that succeeds.
    #[track_caller]
    pub(crate) fn ok(&mut self, action: &str, body: &Json) -> Json {
        self.call(action, body).unwrap_or_else(|refused| panic!("{action} {body}: {refused:?}"))
    }

    /// All events of an execution.
    pub(crate) fn history(&mut self, arn: &Json) -> Vec<Json> {
        let (mut events, mut token) = (Vec::new(), Json::Null);
        loop {
            let request = json!({"executionArn": arn, "maxResults": 1000, "nextToken": token});
            let page = self.ok("GetExecutionHistory", &request);
            events.extend(page["events"].as_array().expect("events").iter().cloned());
            token = page["nextToken"].clone();
            if token.is_null() {
                return events;
            }
        }
    }

    /// The refusal of an action that fails.
    #[track_caller]
    pub(crate) fn refused(&mut self, action: &str, body: &Json) -> (String, String) {
        let refused = self.call(action, body).expect_err("a refusal");
        (refused.code, refused.message)
    }

    /// Creates a state machine; its ARN.
    pub(crate) fn machine(&mut self, name: &str, machine_type: &str, states: Json) -> String {
        let start = states.as_object().and_then(|states| states.keys().next()).expect("a state").clone();
        let definition = json!({"StartAt": start, "States": states}).to_string();
        let request = json!({"name": name, "definition": definition, "roleArn": ROLE, "type": machine_type});
        let created = self.ok("CreateStateMachine", &request);
        created["stateMachineArn"].as_str().expect("an ARN").to_owned()
    }

    /// Starts a Standard execution; its ARN.
    pub(crate) fn start(&mut self, machine: &str, input: &str) -> String {
        let started = self.ok("StartExecution", &json!({"stateMachineArn": machine, "input": input}));
        self.settle();
        started["executionArn"].as_str().expect("an ARN").to_owned()
    }
}
