//! The server, raw: bytes over TCP that no correct client would send.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use expressway::runtime::Budgets;
use expressway::server::{Config, Limits, Server};
use expressway::service::{CreateStateMachine, Service};

/// Long enough for any machine: a longer wait is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

fn serve(set: impl FnOnce(&mut Limits)) -> Server {
    start(set, Budgets::default()).0
}

pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.threads = 2;
    config
}

pub(crate) fn start(set: impl FnOnce(&mut Limits), budgets: Budgets) -> (Server, Service) {
    let mut config = config();
    set(&mut config.limits);
    let service = Service::builder().engine(|engine| engine.shards(1).budgets(budgets));
    let service = service.build().expect("a service");
    let server = Server::start(&config, &service).expect("a free port");
    server.ready(true);
    (server, service)
}

fn server() -> Server {
    serve(|_| {})
}

pub(crate) struct Client(TcpStream);

/// A response: its status, its head in lower case, its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn of(server: &Server) -> Client {
        let stream = TcpStream::connect(server.address()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream.set_nodelay(true).expect("no delay");
        Client(stream)
    }

    pub(crate) fn stream(self) -> TcpStream {
        self.0
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // A server that refuses a request may have closed the connection: its output is still read.
        let _ = self.0.write_all(bytes);
    }

    /// The next response, or none if the server closed the connection instead.
    pub(crate) fn response(&mut self) -> Option<Response> {
        let (status, head, body) = self.response_in_bytes()?;
        Some(Response { status, head, body: String::from_utf8(body).expect("UTF-8") })
    }

    /// The same of one whose body may not be text: its status, its head in lower case, its body.
    pub(crate) fn response_in_bytes(&mut self) -> Option<(u16, String, Vec<u8>)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                Ok(_) => {
                    assert!(head.is_empty(), "half a head: {:?}", String::from_utf8_lossy(&head));
                    return None;
                }
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
        let head = String::from_utf8(head).expect("a head in ASCII").to_lowercase();
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a status");
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
        self.0.read_exact(&mut body).expect("all of the body");
        Some((status, head, body))
    }

    fn status(&mut self) -> Option<u16> {
        self.response().map(|response| response.status)
    }

    /// Nothing more comes.
    fn is_closed(&mut self) -> bool {
        self.response().is_none()
    }
}

/// A request for an operation that does not exist, which the answer names in one way or another.
fn post(body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: sync-localhost\r\nX-Amz-Target: AWSStepFunctions.ListStateMachines\r\n\
         Content-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn is_fine(response: &Response) -> bool {
    response.head.contains("x-amzn-requestid: ")
        && response.head.contains("content-type: application/x-amz-json-1.0\r\n")
        && response.body.starts_with('{')
}

#[test]
fn requests_that_come_together_are_answered_in_order() {
    let server = server();
    let mut client = Client::of(&server);
    client.send([post("{}"), HEALTH.to_owned()].concat().repeat(16).as_bytes());
    for n in 0..16 {
        let response = client.response().expect("a response");
        assert!(is_fine(&response), "{n}: {response:?}");
        assert_eq!(client.response().map(|health| health.body).as_deref(), Some("ok\n"), "{n}");
    }
}

#[test]
fn a_response_has_nothing_of_its_request() {
    let server = server();
    let mut client = Client::of(&server);
    // With few headers, with more, and with more than room is kept for.
    for extra in [0, 10, 40, 1] {
        let mut request = post("{}");
        let headers: String =
            (0..extra).map(|n| format!("X-Extra-{n}: secret\r\nX-Extra-{n}: twice\r\n")).collect();
        request.insert_str(request.find("Host").expect("a header"), &headers);
        client.send(request.as_bytes());
        let response = client.response().expect("a response");
        assert!(is_fine(&response) && !response.head.contains("x-extra"), "{response:?}");
        assert_eq!(response.head.matches("content-type").count(), 1, "{response:?}");
    }
}

#[test]
fn requests_may_come_byte_by_byte() {
    let server = server();
    let mut client = Client::of(&server);
    for byte in post(r#"{"maxResults": 10}"#).bytes() {
        client.send(&[byte]);
    }
    assert!(client.response().is_some_and(|response| is_fine(&response)));
    client.send(HEALTH.as_bytes());
    assert_eq!(client.status(), Some(200), "the connection is usable");
}

#[test]
fn bodies_may_come_in_chunks() {
    let server = server();
    let mut client = Client::of(&server);
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AWSStepFunctions.ListStateMachines\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    client.send(head.as_bytes());
    for piece in ["1\r\n{\r\n", "1;extension=yes\r\n}\r\n", "0\r\nTrailer: ignored\r\n\r\n"] {
        client.send(piece.as_bytes());
    }
    assert!(client.response().is_some_and(|response| is_fine(&response)));
    client.send(head.as_bytes());
    client.send(b"not a length\r\n");
    assert_eq!(client.status(), Some(400), "a chunk without a length");
    assert!(client.is_closed());
}

#[test]
fn what_is_not_http_is_refused_and_closed() {
    let server = server();
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(70_000));
    let many = format!("GET /health HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200));
    let wide = format!("GET /health HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(1 << 20));
    for (bytes, expected) in [
        ("\0\u{1}\u{2}nonsense\r\n\r\n", [400, 400]),
        ("GET\r\n\r\n", [400, 400]),
        ("GET /health HTTP/9.9\r\n\r\n", [400, 400]),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: two\r\n\r\n{}", [400, 400]),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -2\r\n\r\n{}", [400, 400]),
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            [400, 400],
        ),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n{}", [400, 413]),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n{}", [400, 400]),
        ("GET /health HTTP/1.1\r\nNo colon\r\n\r\n", [400, 400]),
        (&long, [414, 431]),
        (&many, [431, 431]),
        (&wide, [431, 431]),
    ] {
        let mut client = Client::of(&server);
        client.send(bytes.as_bytes());
        let shown = &bytes[..bytes.len().min(70)];
        // A large request may still be on its way when the connection is closed, which resets it.
        let status = client.status();
        let is_expected = status.is_some_and(|status| expected.contains(&status));
        assert!(is_expected || (status.is_none() && bytes.len() > 60_000), "{shown:?}: {status:?}");
        assert!(client.is_closed(), "{shown:?}");
    }
}

#[test]
fn garbage_behind_a_body_does_not_spoil_its_answer() {
    let server = server();
    let mut client = Client::of(&server);
    client.send(format!("{}garbage garbage\r\n\r\n", post("{}")).as_bytes());
    assert!(client.response().is_some_and(|response| is_fine(&response)));
    assert_eq!(client.status(), Some(400));
    assert!(client.is_closed());
}

#[test]
fn a_body_that_ends_early_is_no_request() {
    let server = server();
    let mut client = Client::of(&server);
    client
        .send(b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AWSStepFunctions.ListStateMachines\r\n");
    client.send(b"Content-Length: 100\r\n\r\n{}");
    client.0.shutdown(Shutdown::Write).expect("half a shutdown");
    assert_ne!(client.status(), Some(200));
    assert!(client.is_closed());
}

#[test]
fn who_closes_its_half_gets_its_answer() {
    let server = server();
    // The end may come with the request, or after it; both are tried by trying often.
    for _ in 0..200 {
        let mut client = Client::of(&server);
        client.send(post("{}").as_bytes());
        client.0.shutdown(Shutdown::Write).expect("half a shutdown");
        assert!(client.response().is_some_and(|response| is_fine(&response)));
        assert!(client.is_closed());
    }
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let server = server();
    let mut client = Client::of(&server);
    client.send(b"GET /health HTTP/1.0\r\n\r\n");
    assert_eq!(client.status(), Some(200));
    assert!(client.is_closed());
}

#[test]
fn too_much_is_refused_and_the_connection_stays() {
    let server = serve(|limits| limits.body_bytes_max = 10_000);
    let mut client = Client::of(&server);
    for (bytes, expected) in [(20_000, Some(413)), (9_000, Some(400)), (1_000_000, Some(413))] {
        client.send(post(&"x".repeat(bytes)).as_bytes());
        assert_eq!(client.status(), expected, "{bytes} bytes");
    }
    client.send(HEALTH.as_bytes());
    assert_eq!(client.status(), Some(200));
    assert_eq!(server.counts().errors_client, 3);
}

#[test]
fn one_connection_too_many_is_told_so() {
    let server = serve(|limits| limits.connections_max = 2);
    let mut clients = [Client::of(&server), Client::of(&server)];
    for client in &mut clients {
        client.send(HEALTH.as_bytes());
        assert_eq!(client.status(), Some(200));
    }
    let mut third = Client::of(&server);
    let response = third.response().expect("a word");
    assert_eq!(response.status, 503);
    assert!(response.body.contains("Too many connections"), "{response:?}");
    assert!(third.is_closed());
    assert_eq!(server.counts().connections_refused, 1);
}

#[test]
fn who_is_slow_or_silent_is_cut() {
    let server = serve(|limits| (limits.slow_seconds_max, limits.idle_seconds_max) = (1, 1));
    let beginnings =
        ["", "POST / HT", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{", HEALTH];
    let mut clients = beginnings.map(|beginning| {
        let mut client = Client::of(&server);
        client.send(beginning.as_bytes());
        client
    });
    assert_eq!(clients[3].status(), Some(200));
    for client in &mut clients {
        assert!(client.is_closed());
    }
    assert_eq!(server.counts().connections_cut, 4);
}

#[test]
fn overload_says_when_to_come_back() {
    let (server, service) = start(|_| {}, Budgets { executions_max: 1, ..Budgets::default() });
    let created = service.create_state_machine(CreateStateMachine {
        name: "nap".to_owned(),
        definition: r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 100, "End": true}}}"#
            .to_owned(),
        role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
        express: true,
        ..CreateStateMachine::default()
    });
    let body = format!(r#"{{"stateMachineArn": "{}"}}"#, created.expect("a machine").arn);
    let request = post(&body).replace("ListStateMachines", "StartExecution");
    let mut client = Client::of(&server);
    client.send(request.as_bytes());
    assert_eq!(client.status(), Some(200));
    client.send(request.as_bytes());
    let refused = client.response().expect("a response");
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.body.contains("ThrottlingException"), "{refused:?}");
    for header in ["x-amz-retry-after: ", "retry-after: ", "x-amzn-errortype: throttlingexception"] {
        assert!(refused.head.contains(&format!("\r\n{header}")), "{header} is not in {refused:?}");
    }
    assert_eq!(server.counts().throttled, 1);
    // The connection stays usable.
    client.send(HEALTH.as_bytes());
    assert_eq!(client.status(), Some(200));
}

#[test]
fn pages_say_how_it_goes() {
    let server = server();
    let mut client = Client::of(&server);
    let mut get = |path: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        client.response().expect("a response")
    };
    assert_eq!(get("/ready").status, 200);
    server.ready(false);
    assert_eq!(get("/ready").status, 503);
    assert_eq!(get("/health").status, 200);
    let metrics = get("/metrics").body;
    assert!(metrics.contains("\nexpressway_http_requests_total 3\n"), "{metrics}");
    assert!(metrics.contains("\nexpressway_executions_live 0\n"), "{metrics}");
    let nowhere = get("/nowhere");
    assert_eq!(nowhere.status, 404);
    assert!(nowhere.body.contains("UnknownOperationException"), "{nowhere:?}");
    client.send(b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.status(), Some(404));
}

#[test]
fn bodies_that_do_not_end_take_no_more_than_their_share() {
    let server = serve(|limits| limits.requests_bytes_max = 1 << 20);
    let request = post(&"x".repeat(400_000));
    let (most, rest) = request.split_at(300_000);
    let mut clients: Vec<Client> = (0..8).map(|_| Client::of(&server)).collect();
    for client in &mut clients {
        client.send(most.as_bytes());
    }
    let began = std::time::Instant::now();
    // Everything within the limit is answered, and the rest is refused, for any client.
    while server.counts().memory_refused < 5 {
        assert!(began.elapsed() < PATIENCE, "{:?}", server.counts());
        std::thread::yield_now();
    }
    assert!(server.counts().memory_bytes <= 1 << 20);
    let mut refused = 0;
    for client in &mut clients {
        client.send(rest.as_bytes());
        // One that is refused while it sends may be cut off.
        match client.response() {
            Some(response) if response.status == 503 => {
                assert!(response.head.contains("\r\nretry-after: 1\r\n"), "{response:?}");
                assert!(response.body.contains("memory"), "{response:?}");
                refused += 1;
            }
            Some(response) => assert_eq!(response.status, 400),
            None => refused += 1,
        }
    }
    assert!(refused >= 5, "{refused}");
    let mut client = Client::of(&server);
    client.send(request.as_bytes());
    assert_eq!(client.status(), Some(400), "what was taken is given back");
    client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let metrics = client.response().expect("the metrics").body;
    assert!(metrics.contains("\nexpressway_http_memory_refused_total "), "{metrics}");
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A client of HTTP/2 that takes no body, and asks whether the server is there.
#[test]
fn a_window_that_stays_closed_is_cut_whatever_else_is_said() {
    let server = serve(|limits| limits.slow_seconds_max = 1);
    let mut client = Client::of(&server);
    // The initial window of its streams is 0.
    client.send(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])].concat());
    let head = [&[0x82, 0x86, 0x04, 8][..], b"/metrics", &[0x01, 9], b"localhost"].concat();
    for stream in [1, 3, 5] {
        client.send(&frame(1, 5, stream, &head));
    }
    let began = std::time::Instant::now();
    let mut answers = [0; 1_024];
    loop {
        assert!(began.elapsed() < PATIENCE, "it is held");
        // Each PING is answered: the client is there, and reads.
        if client.0.write_all(&frame(6, 0, 0, b"are you?")).is_err() {
            break;
        }
        match client.0.read(&mut answers) {
            Ok(1..) => {}
            _ => break,
        }
    }
    assert_eq!(server.counts().connections_cut, 1);
    // And what it held is given back.
    while server.counts().memory_bytes > 0 {
        assert!(began.elapsed() < PATIENCE, "{:?}", server.counts());
        std::thread::yield_now();
    }
}

#[test]
fn a_request_names_this_server_and_comes_from_no_other_page() {
    let mut config = config();
    config.hosts = vec!["steps.example".to_owned()];
    config.origins = vec!["https://console.example".to_owned()];
    let server =
        Server::start(&config, &Service::builder().build().expect("a service")).expect("a free port");
    let port = server.address().port();
    let own = format!("Host: 127.0.0.1:{port}\r\n");
    for (headers, expected) in [
        (&*own, 200),
        ("Host: localhost\r\n", 200),
        ("Host: [::1]:1\r\n", 200),
        ("Host: steps.example\r\n", 200),
        // A page's own name that leads here, and numbers that are not of this server.
        ("Host: evil.example\r\n", 421),
        ("Host: 127.0.0.1.evil.example\r\n", 421),
        ("Host: 10.1.2.3\r\n", 421),
        ("Host: \r\n", 421),
        ("", 400),
        ("Host: localhost\r\nHost: localhost\r\n", 400),
        ("Host: localhost\r\nHost: evil.example\r\n", 400),
        ("Host: localhost\r\nOrigin: http://localhost\r\n", 200),
        ("Host: localhost\r\nOrigin: https://console.example\r\n", 200),
        ("Host: localhost\r\nOrigin: http://localhost:3000\r\n", 403),
        ("Host: localhost\r\nOrigin: https://evil.example\r\n", 403),
        ("Host: localhost\r\nOrigin: null\r\n", 403),
        ("Host: evil.example\r\nOrigin: http://evil.example\r\n", 421),
    ] {
        for line in ["GET /health", "GET /ready", "GET /metrics", "POST /"] {
            let mut client = Client::of(&server);
            let target = "X-Amz-Target: AWSStepFunctions.ListStateMachines\r\nContent-Length: 0\r\n";
            client.send(format!("{line} HTTP/1.1\r\n{headers}{target}\r\n").as_bytes());
            let status = client.status().expect("a response");
            // It was not reported as ready.
            let is_expected = status == expected || (expected, status, line) == (200, 503, "GET /ready");
            assert!(is_expected, "{line} with {headers:?}: {status}");
        }
    }
    let mut client = Client::of(&server);
    client.send(b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.status(), Some(400), "an address of another host");
}

/// A client that asks for a page stays with the accepting thread; its operations are done all the same, and waiting
/// ones are ended by the drain.
#[test]
fn operations_may_follow_pages_on_one_connection() {
    let server = server();
    let mut client = Client::of(&server);
    for _ in 0..3 {
        client.send(HEALTH.as_bytes());
        assert_eq!(client.status(), Some(200));
        client.send(post("{}").as_bytes());
        assert!(is_fine(&client.response().expect("a response")));
    }
    assert_eq!(server.counts().connections, 1);
    let drained = server.drain(Duration::from_secs(5));
    assert_eq!((drained.requests, drained.cut), (6, 0));
}

/// The preface of HTTP/2, and an empty frame of settings.
#[test]
fn http_2_is_spoken_to_those_who_know() {
    let server = server();
    let mut client = Client::of(&server);
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    client.send(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat());
    let mut head = [0; 9];
    client.0.read_exact(&mut head).expect("a frame");
    assert_eq!(head[3..9], [4, 0, 0, 0, 0, 0], "settings, of the connection");
}

#[test]
fn a_drain_finishes_what_is_under_way() {
    let server = server();
    let address = server.address();
    let (mut idle, mut busy) = (Client::of(&server), Client::of(&server));
    idle.send(HEALTH.as_bytes());
    assert_eq!(idle.status(), Some(200));
    // A request whose head was read: the server answers that it waits for the body.
    let request = post("{}").replace("Content-Length", "Expect: 100-continue\r\nContent-Length");
    let (head, body) = request.split_at(request.len() - 2);
    busy.send(head.as_bytes());
    assert_eq!(busy.status(), Some(100));
    let draining = std::thread::spawn(move || server.drain(PATIENCE));
    assert!(idle.is_closed(), "an idle connection is closed at once");
    busy.send(body.as_bytes());
    assert!(busy.response().is_some_and(|response| is_fine(&response)));
    assert!(busy.is_closed());
    let drained = draining.join().expect("a drain");
    assert_eq!((drained.closed, drained.cut), (2, 0));
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn a_drain_cuts_what_takes_too_long() {
    let server = server();
    let mut slow = Client::of(&server);
    let request = post("{}").replace("Content-Length", "Expect: 100-continue\r\nContent-Length");
    slow.send(&request.as_bytes()[..request.len() - 2]);
    assert_eq!(slow.status(), Some(100));
    let drained = server.drain(Duration::from_millis(1));
    assert_eq!((drained.closed, drained.cut), (0, 1));
    assert!(slow.is_closed());
}
