//! What the console streams and summarises: executions as they start and end, failures in groups, activity of a
//! machine's states.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpStream;
use std::time::Instant;

use expressway::observe::Setup;
use expressway::server::{Auth, Console, Server};
use expressway::service::{CreateStateMachine, Service, StartExecution};
use serde_json::{Value as Json, json};

use crate::console::ask;
use crate::wire::{Client, config};

fn serve(service: &Service) -> Server {
    let mut config = config();
    config.console = Some(Console::default());
    Server::start(&config, service).expect("a free port")
}

fn service() -> Service {
    let observed = |engine: expressway::runtime::Builder| engine.observe(Setup::default().metrics());
    Service::builder().engine(observed).build().expect("a service")
}

fn create(service: &Service, name: &str, definition: &Json, express: bool) -> String {
    let request = CreateStateMachine {
        name: name.to_owned(),
        definition: definition.to_string(),
        role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
        express,
        ..CreateStateMachine::default()
    };
    service.create_state_machine(request).expect("a machine").arn
}

fn start(service: &Service, machine: &str, name: &str, input: &Json) {
    let start = StartExecution {
        machine_arn: machine.to_owned(),
        name: Some(name.to_owned()),
        input: Some(input.to_string()),
        ..StartExecution::default()
    };
    service.start_execution(start).expect("a start");
}

/// A stream as its client reads it.
struct Stream {
    stream: TcpStream,
    read: String,
}

/// A frame: `event`, `id` and `data`.
type Frame = BTreeMap<String, String>;

impl Stream {
    fn open(server: &Server, action: &str, ask: &str, headers: &str) -> Stream {
        let mut client = Client::of(server);
        client.send(
            format!(
                "GET /console/live?ask={ask} HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: Expressway.{action}\r\n{headers}\r\n"
            )
            .as_bytes(),
        );
        Stream { stream: client.stream(), read: String::new() }
    }

    /// The server's output up to this text.
    fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.read.find(end) {
                let rest = self.read.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.read, rest));
            }
            let mut bytes = [0; 4 << 10];
            match self.stream.read(&mut bytes).expect("what the server says") {
                0 => return None,
                read => self.read.push_str(std::str::from_utf8(&bytes[..read]).expect("ASCII")),
            }
        }
    }

    /// The next frame; none at the end of the stream.
    fn frame(&mut self) -> Option<Frame> {
        loop {
            let chunk = self.until("\n\n\r\n")?;
            let lines = chunk.lines().filter_map(|line| line.split_once(": "));
            let frame: Frame = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            if frame.contains_key("data") {
                return Some(frame);
            }
        }
    }
}

fn data(frame: &Frame) -> Json {
    serde_json::from_str(&frame["data"]).expect("JSON")
}

fn waits() -> Json {
    json!({"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 3600, "End": true}}})
}

#[test]
fn a_stream_tells_the_newest_only_and_nothing_twice() {
    let service = service();
    let server = serve(&service);
    let machine = create(&service, "waits", &waits(), false);
    let mut stream = Stream::open(&server, "FindExecutions", "%7B%22count%22%3A3%7D", "");
    let head = stream.until("\r\n\r\n").expect("a head").to_lowercase();
    for header in [
        "200 ok",
        "content-type: text/event-stream",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    let first = stream.frame().expect("a frame");
    assert_eq!((&*first["event"], &data(&first)["matching"]), ("answer", &json!(0)));
    let began = Instant::now();
    for n in 0..200 {
        start(&service, &machine, &format!("n{n}"), &json!({}));
    }
    let (mut frames, mut last) = (0, first);
    while data(&last)["matching"] != json!(200) {
        let next = stream.frame().expect("a frame");
        assert_ne!(next["id"], last["id"], "a frame comes once");
        (frames, last) = (frames + 1, next);
    }
    let most = began.elapsed().as_millis() / 250 + 2;
    assert!(frames <= most, "{frames} frames in {:?}", began.elapsed());
    assert_eq!(data(&last)["executions"].as_array().map(Vec::len), Some(3), "a window");
    // A client that has the last frame only gets the next one.
    let mut again = Stream::open(
        &server,
        "FindExecutions",
        "%7B%22count%22%3A3%7D",
        &format!("Last-Event-ID: {}\r\n", last["id"]),
    );
    again.until("\r\n\r\n").expect("a head");
    // It was evaluated before the next start, like its sibling, or is afterwards: both report 201.
    start(&service, &machine, "one-more", &json!({}));
    for stream in [&mut again, &mut stream] {
        assert_eq!(data(&stream.frame().expect("a frame"))["matching"], json!(201));
    }
}

#[test]
fn streams_end_in_order_when_the_server_drains() {
    let service = service();
    let server = serve(&service);
    let mut streams: Vec<Stream> = (0..3).map(|_| Stream::open(&server, "Overview", "%7B%7D", "")).collect();
    for stream in &mut streams {
        stream.until("\r\n\r\n").expect("a head");
        stream.frame().expect("a frame");
    }
    let ended = server.drain(std::time::Duration::from_secs(20));
    for stream in &mut streams {
        assert!(stream.until("0\r\n\r\n").is_some(), "the last chunk says that nothing follows");
    }
    assert_eq!(ended.cut, 0, "no connection is cut");
}

#[test]
fn what_is_no_stream_is_refused_and_streams_are_counted() {
    let service = service();
    let server = serve(&service);
    let refused = |action: &str, ask: &str| {
        let mut stream = Stream::open(&server, action, ask, "");
        stream.until("}").expect("a refusal")
    };
    assert!(refused("WriteFile", "%7B%7D").contains("400 Bad Request"), "nothing that changes anything");
    assert!(refused("Overview", "%zz").contains("ValidationException"));
    let mut missing = Stream::open(&server, "GetExecution", "%7B%22executionArn%22%3A%22x%22%7D", "");
    missing.until("\r\n\r\n").expect("a head");
    assert_eq!(missing.frame().expect("a frame")["event"], "refused");
    assert!(missing.until("0\r\n\r\n").is_some(), "and it ends");
    let mut open: Vec<Stream> = (0..64).map(|_| Stream::open(&server, "Overview", "%7B%7D", "")).collect();
    open.iter_mut().for_each(|stream| assert!(stream.until("\r\n\r\n").is_some()));
    assert!(refused("Overview", "%7B%7D").contains("ThrottlingException"));
    // One that is gone makes room.
    drop(open.pop());
    let began = Instant::now();
    while Stream::open(&server, "Overview", "%7B%7D", "")
        .until("\r\n\r\n")
        .is_some_and(|head| !head.contains("200 OK"))
    {
        assert!(began.elapsed().as_secs() < 30, "no room after a stream was closed");
        std::thread::yield_now();
    }
}

#[test]
fn streams_are_for_those_who_may_ask() {
    let service = service();
    let mut config = config();
    config.console = Some(Console::default());
    let keys = br#"{"keys": [{"accessKeyId": "K", "secretAccessKey": "s", "allow": []}]}"#;
    config.auth = Some(Auth::parse(keys).expect("keys"));
    let server = Server::start(&config, &service).expect("a free port");
    let mut stream = Stream::open(&server, "Overview", "%7B%7D", "");
    let said = stream.until("}").expect("a refusal");
    assert!(said.contains("MissingAuthenticationTokenException"), "{said}");
    let mut foreign = Client::of(&server);
    foreign.send(b"GET /console/live?ask=%7B%7D HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(foreign.response().map(|response| response.status), Some(421));
}

#[test]
fn failures_are_grouped_by_state_error_and_cause() {
    let service = service();
    let server = serve(&service);
    let definition = json!({"StartAt": "Which", "States": {
        "Which": {"Type": "Choice", "Choices": [{"Variable": "$.way", "StringEquals": "a", "Next": "A"}], "Default": "B"},
        "A": {"Type": "Fail", "Error": "Bad", "CausePath": "$.cause"},
        "B": {"Type": "Pass", "InputPath": "$.nothing", "End": true}}});
    let machine = create(&service, "fails", &definition, false);
    for (n, way) in ["a", "a", "a", "b", "b", "a"].iter().enumerate() {
        let cause = if n == 5 { "another".to_owned() } else { format!("order 4{n}-x was lost") };
        start(&service, &machine, &format!("n{n}"), &json!({"way": way, "cause": cause}));
    }
    let mut client = Client::of(&server);
    let told = loop {
        let told = ask(&mut client, "Failures", &json!({"machineArn": machine}));
        if told["failed"] == json!(6) {
            break told;
        }
        std::thread::yield_now();
    };
    let groups = told["groups"].as_array().expect("groups").iter();
    let groups: Vec<String> = groups
        .map(|it| {
            format!(
                "{} {} {} {}",
                it["count"],
                it["state"],
                it["error"],
                it["samples"].as_array().map_or(0, Vec::len)
            )
        })
        .collect();
    assert_eq!(groups, [r#"3 "A" "Bad" 3"#, r#"2 "B" "States.Runtime" 2"#, r#"1 "A" "Bad" 1"#], "{told}");
    // The window of a list stays where it is while others are started.
    let find = |client: &mut Client, ask_for: Json| ask(client, "FindExecutions", &ask_for);
    let names = |found: &Json| -> Vec<String> {
        let rows = found["executions"].as_array().expect("rows").iter();
        rows.map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
    };
    let before = find(&mut client, json!({"from": 1, "count": 2}));
    assert_eq!((names(&before), &before["matching"]), (vec!["n4".to_owned(), "n3".to_owned()], &json!(6)));
    start(&service, &machine, "later", &json!({"way": "b", "cause": ""}));
    let after = find(&mut client, json!({"from": 1, "count": 2, "upTo": before["upTo"]}));
    assert_eq!((names(&after), &after["newer"]), (names(&before), &json!(1)));
    let bad = find(&mut client, json!({"error": "Bad", "status": "FAILED"}));
    assert_eq!(names(&bad), ["n5", "n2", "n1", "n0"]);
}

#[test]
fn what_states_do_is_counted_while_somebody_asks() {
    let service = service();
    let server = serve(&service);
    let definition = json!({"StartAt": "Each", "States": {
        "Each": {"Type": "Map", "ItemsPath": "$", "Next": "Which", "ItemProcessor": {
            "StartAt": "In", "States": {"In": {"Type": "Pass", "End": true}}}},
        "Which": {"Type": "Choice", "Choices": [{"Variable": "$[0]", "NumericEquals": 1, "Next": "Good"}], "Default": "Bad"},
        "Good": {"Type": "Succeed"}, "Bad": {"Type": "Fail", "Error": "E"}}});
    let machine = create(&service, "busy", &definition, true);
    let run = |input: &Json| {
        let start = StartExecution {
            machine_arn: machine.clone(),
            input: Some(input.to_string()),
            ..StartExecution::default()
        };
        pollster::block_on(service.start_sync_execution(start)).expect("an outcome");
    };
    run(&json!([1]));
    let mut client = Client::of(&server);
    let heat = |client: &mut Client| ask(client, "Heat", &json!({"machineArn": machine}));
    // Nothing is counted before the first request, nor until the rate of starts is known.
    let began = Instant::now();
    let mut told = heat(&mut client);
    while told["oneIn"] == json!(0) {
        assert!(began.elapsed().as_secs() < 30, "{told}");
        told = heat(&mut client);
    }
    assert_eq!((&told["oneIn"], &told["sampled"]), (&json!(1), &json!(0)), "{told}");
    for input in [json!([1, 2]), json!([1]), json!([3, 4, 5])] {
        run(&input);
    }
    // An execution is counted after its caller has the outcome.
    let mut told = heat(&mut client);
    while told["sampled"] != json!(3) {
        assert!(began.elapsed().as_secs() < 60, "{told}");
        told = heat(&mut client);
    }
    assert_eq!((&told["sampled"], &told["executions"]), (&json!(3), &json!(3)), "{told}");
    let states = told["states"].as_array().expect("states").iter();
    let states: Vec<String> = states
        .map(|it| format!("{} {} {}", it["name"].as_str().expect("a name"), it["visits"], it["failed"]))
        .collect();
    assert_eq!(states, ["Bad 1 1", "Each 3 0", "Good 2 0", "In 6 0", "Which 3 0"]);
    let expected = json!([
        ["", "Each", 3],
        ["", "In", 6],
        ["Each", "Which", 3],
        ["Good", "", 2],
        ["In", "", 6],
        ["Which", "Bad", 1],
        ["Which", "Good", 2]
    ]);
    assert_eq!(told["edges"], expected, "{told}");
    let mut rates = ask(&mut client, "Rates", &json!({}));
    while rates["machines"][0]["ended"] != json!([3, 1, 0, 0]) {
        assert!(began.elapsed().as_secs() < 60, "{rates}");
        rates = ask(&mut client, "Rates", &json!({}));
    }
    let counted = &rates["machines"][0];
    assert_eq!(counted["started"], 4, "{rates}");
    let took = counted["took"].as_array().expect("classes").iter().filter_map(Json::as_u64);
    assert_eq!(took.sum::<u64>(), 4);
    let missing = ask(&mut client, "Heat", &json!({"machineArn": format!("{machine}x")}));
    assert_eq!(missing["status"], 400, "{missing}");
}
