//! Responses that clients do not take: what they hold is counted, and bounded.

use std::io::{Read, Write};
use std::time::Instant;

use expressway::server::Server;
use expressway::service::{CreateStateMachine, Service};

use crate::wire::{Client, PATIENCE, frame, start};

/// The preface of HTTP/2, and settings that give streams no window.
pub(crate) const CLOSED: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
const BUDGET: usize = 4 << 20;
const OUTPUT: usize = 200_000;

/// A literal header field without indexing.
pub(crate) fn header(name: &str, value: &str) -> Vec<u8> {
    assert!(name.len() < 127 && value.len() < 127);
    [&[0, name.len() as u8][..], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

pub(crate) fn head(method: &str, path: &str) -> Vec<u8> {
    [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)]
        .iter()
        .flat_map(|(name, value)| header(name, value))
        .collect()
}

/// The request for an execution whose output is large, on a stream.
fn execution(stream: u32, arn: &str) -> Vec<u8> {
    let target = header("x-amz-target", "AWSStepFunctions.StartSyncExecution");
    let body = format!(r#"{{"stateMachineArn":"{arn}"}}"#);
    let head = [head("POST", "/"), target].concat();
    [frame(1, 4, stream, &head), frame(0, 1, stream, body.as_bytes())].concat()
}

/// A machine with an output of [`OUTPUT`] bytes.
fn create(service: &Service) -> String {
    let definition = format!(
        r#"{{"QueryLanguage": "JSONata", "StartAt": "P", "States": {{"P": {{"Type": "Pass", "End": true,
            "Output": "{{% $pad('', {OUTPUT}, 'x') %}}"}}}}}}"#
    );
    let role = "arn:aws:iam::123456789012:role/r";
    let machine = CreateStateMachine {
        name: "large".to_owned(),
        definition,
        role_arn: role.to_owned(),
        express: true,
        ..CreateStateMachine::default()
    };
    service.create_state_machine(machine).expect("a machine").arn
}

fn until(server: &Server, what: &str, holds: impl Fn(&Server) -> bool) {
    let began = Instant::now();
    while !holds(server) {
        assert!(began.elapsed() < PATIENCE, "{what}: {:?}", server.counts());
        std::thread::yield_now();
    }
}

/// The result of an execution is sent, even when there is no room: others are disconnected for it, who do not take
/// theirs.
#[test]
fn results_that_nobody_takes_are_bounded_and_others_get_theirs() {
    let (server, service) = start(|limits| limits.requests_bytes_max = BUDGET, Default::default());
    let arn = create(&service);
    let mut clients: Vec<Client> = (0..4).map(|_| Client::of(&server)).collect();
    for client in &mut clients {
        client.send(CLOSED);
        for stream in 0..32 {
            client.send(&execution(2 * stream + 1, &arn));
            assert!(server.counts().memory_bytes <= (BUDGET * 2) as u64, "{:?}", server.counts());
        }
    }
    until(&server, "some are cut", |server| server.counts().connections_cut >= 2);
    until(&server, "it is given back", |server| server.counts().memory_bytes <= BUDGET as u64);
    let body = format!(r#"{{"stateMachineArn":"{arn}"}}"#);
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AWSStepFunctions.StartSyncExecution\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    for _ in 0..8 {
        let mut good = Client::of(&server);
        good.send(request.as_bytes());
        let response = good.response().expect("a result");
        assert!(response.status == 200 && response.body.len() > OUTPUT, "{}", response.status);
    }
}

/// Each stream takes memory, however short its response is.
#[test]
fn streams_count_even_when_their_responses_are_short() {
    let (server, _service) = start(|limits| limits.requests_bytes_max = BUDGET, Default::default());
    let health = head("GET", "/health");
    let mut clients: Vec<Client> = (0..16).map(|_| Client::of(&server)).collect();
    for client in &mut clients {
        client.send(CLOSED);
        for stream in 0..256 {
            client.send(&frame(1, 5, 2 * stream + 1, &health));
        }
    }
    until(&server, "some are cut", |server| server.counts().connections_cut >= 1);
    until(&server, "the others fit", |server| server.counts().memory_bytes <= BUDGET as u64);
    assert!(server.counts().connections_cut < 16, "{:?}", server.counts());
    // One byte of a window: HTTP has taken the rest of the response, the client has not.
    drop(clients);
    until(&server, "all is given back", |server| server.counts().memory_bytes == 0);
    let mut slow = Client::of(&server);
    slow.send(&[CLOSED, &frame(1, 5, 1, &health), &frame(8, 0, 1, &[0, 0, 0, 1])].concat());
    let mut slow = slow.stream();
    let (mut last, first) = ([0; 10], frame(0, 0, 1, b"o"));
    while last[..] != first {
        last.rotate_left(1);
        slow.read_exact(&mut last[9..]).expect("the first byte of the body");
    }
    assert!(server.counts().memory_bytes > 0, "it is counted until it is taken");
    slow.write_all(&frame(8, 0, 1, &[0, 0, 0, 9])).expect("a connection");
    until(&server, "it is taken", |server| server.counts().memory_bytes == 0);
}
