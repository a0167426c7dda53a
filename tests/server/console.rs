//! The console, over HTTP: its page, its actions, and their permissions.

use std::io::Read;

use expressway::server::{Auth, Console, Files, Server};
use expressway::service::{CreateStateMachine, Route, Service, StartExecution};
use serde_json::{Value as Json, json};

use crate::wire::{Client, Response, config};

fn server(service: &Service) -> Server {
    let mut config = config();
    config.console = Some(Console::default());
    Server::start(&config, service).expect("a free port")
}

fn service() -> Service {
    Service::builder().build().expect("a service")
}

fn get(client: &mut Client, path: &str, headers: &str) -> Response {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes());
    client.response().expect("a response")
}

pub(crate) fn ask(client: &mut Client, action: &str, body: &Json) -> Json {
    let body = body.to_string();
    client.send(
        format!(
            "POST /console/api HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\
             X-Amz-Target: Expressway.{action}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    let response = client.response().expect("a response");
    let mut answer: Json = serde_json::from_str(&response.body).expect("JSON");
    if response.status != 200 {
        answer["status"] = json!(response.status);
    }
    answer
}

#[test]
fn the_page_may_do_little_and_be_framed_by_nobody() {
    let server = server(&service());
    let mut client = Client::of(&server);
    for path in ["/console/", "/console/operate.js", "/console/studio.js", "/console/licences.txt"] {
        let response = get(&mut client, path, "");
        assert_eq!(response.status, 200, "{path}");
        for header in [
            "default-src 'none'; script-src 'self'; connect-src 'self'",
            "frame-ancestors 'none'",
            "x-frame-options: deny",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-cache",
        ] {
            assert!(response.head.contains(header), "{path}: {header} in {}", response.head);
        }
        let etag = response.head.split("etag: ").nth(1).and_then(|rest| rest.split('\r').next());
        let again = get(&mut client, path, &format!("If-None-Match: {}\r\n", etag.expect("a tag")));
        assert_eq!((again.status, &*again.body), (304, ""), "{path}");
    }
    // What is not there is not there, and is no page.
    for path in ["/console/missing.js", "/console/../Cargo.toml", "/console/api"] {
        let response = get(&mut client, path, "");
        assert_eq!((response.status, &*response.body), (404, ""), "{path}");
    }
    let opened = get(&mut client, "/", "Accept: text/html,application/xhtml+xml\r\n");
    assert!(opened.status == 302 && opened.head.contains("location: /console/"), "{}", opened.head);
    assert_eq!(get(&mut client, "/", "Accept: */*\r\n").status, 404);
}

/// A header of a response, whose head is in lower case.
fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Every file is sent as gzip to those who accept that, and unpacked to others; both are the same bytes, and each has a
/// tag of its own.
#[test]
fn the_page_is_sent_in_the_coding_that_is_accepted() {
    let server = server(&service());
    let mut client = Client::of(&server);
    let mut get = |path: &str, headers: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes());
        client.response_in_bytes().expect("a response")
    };
    let dist = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("console/dist");
    let built =
        std::fs::read_dir(&dist).expect("the built page").map(|entry| entry.expect("an entry").path());
    let packed: Vec<_> = built.filter(|path| path.extension().is_some_and(|it| it == "gz")).collect();
    assert!(packed.len() > 5, "{packed:?}");
    for file in packed {
        let path = format!("/console/{}", file.file_stem().and_then(|it| it.to_str()).expect("a name"));
        let bytes = std::fs::read(&file).expect("a file of the page");
        let (status, head, body) = get(&path, "Accept-Encoding: gzip, deflate, br, zstd\r\n");
        assert_eq!((status, header(&head, "content-encoding")), (200, Some("gzip")), "{path}: {head}");
        assert!(body == bytes, "{path} is sent as it was built");
        let (status, plain_head, plain) = get(&path, "");
        assert_eq!((status, header(&plain_head, "content-encoding")), (200, None), "{path}: {plain_head}");
        let mut unpacked = Vec::new();
        let read = flate2::read::GzDecoder::new(&*body).read_to_end(&mut unpacked);
        assert!(read.is_ok() && unpacked == plain, "{path}: both are the same bytes");
        // Each representation is known by its own tag only.
        let [tag, plain_tag] = [&head, &plain_head].map(|head| header(head, "etag").expect("a tag"));
        assert_ne!(tag, plain_tag, "{path}");
        for (known, accepted, expected) in [
            (tag, "gzip", 304),
            (plain_tag, "gzip", 200),
            (plain_tag, "identity", 304),
            (tag, "identity", 200),
            (&*format!("\"other\", W/{tag}"), "gzip", 304),
            ("*", "gzip", 304),
        ] {
            let headers = format!("If-None-Match: {known}\r\nAccept-Encoding: {accepted}\r\n");
            let (status, head, body) = get(&path, &headers);
            assert_eq!((status, body.is_empty()), (expected, expected == 304), "{path}: {headers}");
            assert_eq!(header(&head, "vary"), Some("accept-encoding"), "{path}: {headers}");
        }
    }
    for (accepted, coding) in [
        ("GZIP", Some("gzip")),
        ("br, x-gzip;q=0.1", Some("gzip")),
        ("br\r\nAccept-Encoding: gzip", Some("gzip")),
        ("*", Some("gzip")),
        ("gzip;q=0, *", None),
        ("gzip; Q=0.000", None),
        ("*;q=0", None),
        ("gzip;q=much", None),
        ("gzippy, br", None),
        ("", None),
    ] {
        let (_, head, _) = get("/console/app.css", &format!("Accept-Encoding: {accepted}\r\n"));
        assert_eq!(header(&head, "content-encoding"), coding, "{accepted}");
    }
}

#[test]
fn other_hosts_and_origins_get_nothing_of_it() {
    let server = server(&service());
    for (line, headers, expected) in [
        ("GET /console/", "Host: evil.example\r\n", 421),
        ("GET /console/operate.js", "Host: evil.example\r\n", 421),
        ("POST /console/api", "Host: evil.example\r\nOrigin: http://evil.example\r\n", 421),
        ("POST /console/api", "Host: localhost\r\nOrigin: http://evil.example\r\n", 403),
        ("POST /console/api", "Host: localhost\r\nOrigin: null\r\n", 403),
        ("POST /console/api", "Host: localhost\r\nOrigin: http://localhost\r\n", 200),
    ] {
        let mut client = Client::of(&server);
        let target = "X-Amz-Target: Expressway.About\r\nContent-Length: 2\r\n";
        client.send(format!("{line} HTTP/1.1\r\n{headers}{target}\r\n{{}}").as_bytes());
        assert_eq!(client.response().map(|response| response.status), Some(expected), "{line} {headers:?}");
    }
    // Without a console, its address does not exist.
    let server = Server::start(&config(), &service()).expect("a free port");
    let mut client = Client::of(&server);
    assert_eq!(get(&mut client, "/console/", "").status, 404);
    assert_eq!(ask(&mut client, "About", &json!({}))["status"], 404);
}

#[test]
fn keys_say_what_the_page_may_ask_for() {
    let mut config = config();
    config.console = Some(Console::default());
    config.auth = Some(
        Auth::parse(br#"{"keys": [{"accessKeyId": "K", "secretAccessKey": "s", "allow": []}]}"#)
            .expect("keys"),
    );
    let server = Server::start(&config, &service()).expect("a free port");
    let mut client = Client::of(&server);
    let refused = ask(&mut client, "Overview", &json!({}));
    assert_eq!(refused["__type"], "MissingAuthenticationTokenException", "{refused}");
    assert_eq!(get(&mut client, "/console/", "").status, 200, "the page itself holds no secret");
}

#[test]
fn mistakes_are_told_with_their_place_in_utf_16_and_a_fix() {
    let server = server(&service());
    let mut client = Client::of(&server);
    for (format, text, wrong) in [
        (
            "json",
            r#"{"Comment": "😀 ä", "StartAt": "A", "States": {"A": {"Type": "Pass", "Nxet": "B"}}}"#,
            "\"Nxet\"",
        ),
        ("yaml", "Comment: 😀 ä\nStartAt: A\nStates:\n  A:\n    Type: Pass\n    Nxet: B\n", "Nxet"),
    ] {
        let told = ask(&mut client, "Inspect", &json!({"text": text, "format": format, "type": "EXPRESS"}));
        assert!(told["picture"].is_null());
        let problem = &told["problems"][0];
        assert_eq!(problem["code"], "SCHEMA_VALIDATION_FAILED", "{told}");
        let units: Vec<u16> = text.encode_utf16().collect();
        let place = |it: &Json, name: &str| it[name].as_u64().expect("a place") as usize;
        let at = &units[place(problem, "from")..place(problem, "to")];
        assert_eq!(String::from_utf16(at).expect("UTF-16"), wrong);
        assert_eq!(problem["fix"]["insert"], wrong.replace("Nxet", "Next"));
    }
    let good =
        r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Succeed"}}}"#;
    let told = ask(&mut client, "Inspect", &json!({"text": good, "format": "json", "type": "EXPRESS"}));
    let nodes = told["picture"]["nodes"].as_array().expect("nodes");
    let names: Vec<&str> = nodes.iter().filter_map(|node| node["name"].as_str()).collect();
    assert_eq!(names, ["A", "B"], "{told}");
    assert_eq!(told["problems"], json!([]));
}

/// Long edges to one state are drawn together: each is sent as far as it is its own.
#[test]
fn an_invalid_text_has_a_sketch_if_it_is_asked_for() {
    let server = server(&service());
    let mut client = Client::of(&server);
    let json_text = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Wai"#;
    let yaml = "StartAt: A\nStates:\n  A: {Type: Pass, Next: B}\n  B: {Type: Wai";
    for (text, format) in [(json_text, "json"), (yaml, "yaml")] {
        let mut draft = json!({"text": text, "format": format, "type": "EXPRESS", "sketch": true});
        let told = ask(&mut client, "Inspect", &draft);
        let nodes = told["sketch"]["nodes"].as_array().expect("states").iter();
        let names: Vec<&str> = nodes.map(|node| node["name"].as_str().expect("a name")).collect();
        assert_eq!((names, &told["picture"]), (vec!["A", "B"], &Json::Null), "{told}");
        draft["sketch"] = json!(false);
        assert_eq!(ask(&mut client, "Inspect", &draft)["sketch"], Json::Null);
    }
    let nothing = json!({"text": "[1", "format": "json", "type": "EXPRESS", "sketch": true});
    assert_eq!(ask(&mut client, "Inspect", &nothing)["sketch"], Json::Null);
}

#[test]
fn a_value_in_an_edit_keeps_its_numbers() {
    let server = server(&service());
    let text = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#;
    let value = r#"{"id": 12345678901234567890, "n": 1.5}"#;
    let edit = json!({"op": "set", "state": "A", "path": ["Result"], "text": value});
    let told = ask(&mut Client::of(&server), "Edit", &json!({"text": text, "format": "json", "edit": edit}));
    assert_eq!(
        told["patches"][0]["insert"],
        format!(r#", "Result": {}"#, value.replace('{', "{ ").replace('}', " }"))
    );
    let edit = json!({"op": "set", "state": "A", "path": ["Result"], "text": "{"});
    let told = ask(&mut Client::of(&server), "Edit", &json!({"text": text, "format": "json", "edit": edit}));
    assert!(told["message"].as_str().is_some_and(|it| it.contains("not JSON")), "{told}");
}

#[test]
fn edges_of_a_large_picture_lead_from_state_to_state_and_are_sent_once() {
    const COUNT: usize = 400;
    let states: Vec<String> = (0..COUNT)
        .map(|n| {
            let next = if n + 1 < COUNT { format!(r#""Next": "S{}""#, n + 1) } else { r#""End": true"#.to_owned() };
            let catch = format!(r#""Catch": [{{"ErrorEquals": ["E"], "Next": "S{}"}}]"#, COUNT - 1);
            let resource = "arn:aws:states:::lambda:invoke";
            match n % 3 {
                0 if n + 2 < COUNT => format!(
                    r#""S{n}": {{"Type": "Task", "Resource": "{resource}", "Parameters": {{"FunctionName": "f"}}, {catch}, {next}}}"#
                ),
                _ => format!(r#""S{n}": {{"Type": "Pass", {next}}}"#),
            }
        })
        .collect();
    let text = format!(r#"{{"StartAt": "S0", "States": {{{}}}}}"#, states.join(", "));
    let server = server(&service());
    let mut client = Client::of(&server);
    let told = ask(&mut client, "Inspect", &json!({"text": text, "format": "json", "type": "EXPRESS"}));
    let (edges, paths) = (&told["picture"]["edges"], &told["picture"]["paths"]);
    let indices = |list: &Json| -> Vec<usize> {
        let list = list.as_array().expect("a list").iter();
        list.map(|at| at.as_u64().expect("an index") as usize).collect()
    };
    let mut sent = 0;
    for edge in edges.as_array().expect("edges") {
        let mut route = indices(&edge["paths"]);
        sent += route.len();
        let mut joins = edge.get("joins");
        while let Some(place) = joins {
            let [of, at] = indices(place)[..] else { panic!("{place}") };
            route.extend(&indices(&edges[of]["paths"])[at..]);
            joins = edges[of].get("joins");
        }
        assert!(!route.is_empty(), "{edge}");
        // Each path begins where the one before ends.
        for pair in route.windows(2) {
            let ends = |at: usize| [(&paths[at][0], &paths[at][1]), (&paths[at][2], &paths[at][3])];
            let (one, other) = (ends(pair[0]), ends(pair[1]));
            assert!(one.iter().any(|end| other.contains(end)), "{edge}: {one:?} {other:?}");
        }
    }
    let count = paths.as_array().expect("paths").len();
    assert!(sent <= count, "{sent} indices of {count} paths");
}

/// Every kind of problem, from the cases of the definitions' tests.
#[test]
fn a_fix_takes_its_problem_away() {
    let server = server(&service());
    let mut client = Client::of(&server);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/definitions/diagnostics");
    let mut fixes = 0;
    for file in std::fs::read_dir(folder).expect("the cases") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("UTF-8");
        for case in text.split("# ").filter(|case| !case.contains("@state")) {
            let kind = if case.contains("@standard") { "STANDARD" } else { "EXPRESS" };
            let lines = case.lines().skip(1).filter(|line| !line.starts_with('@'));
            let definition: Vec<&str> = lines.take_while(|line| !line.starts_with("=> ")).collect();
            let definition = definition.join("\n");
            let mut problems = |text: &str| {
                let told =
                    ask(&mut client, "Inspect", &json!({"text": text, "format": "json", "type": kind}));
                told["problems"].as_array().cloned().unwrap_or_default()
            };
            let what = |it: &Json| (it["message"].to_string(), it["location"].to_string());
            let found = problems(&definition);
            for problem in found.iter().filter(|it| !it["fix"].is_null()) {
                let mut units: Vec<u16> = definition.encode_utf16().collect();
                let place = |name: &str| problem["fix"][name].as_u64().expect("a place") as usize;
                let insert = problem["fix"]["insert"].as_str().expect("a text");
                units.splice(place("from")..place("to"), insert.encode_utf16());
                let mended = String::from_utf16(&units).expect("UTF-16");
                let left = problems(&mended);
                let same = |all: &[Json]| all.iter().filter(|it| what(it) == what(problem)).count();
                assert!(same(&left) < same(&found), "{problem} stays in {mended}");
                fixes += 1;
            }
        }
    }
    assert!(fixes > 30, "{fixes} fixes");
}

pub(crate) const FLOW: &str = r#"{"StartAt": "Ask", "States": {
    "Ask": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "f"},
        "ResultSelector": {"n.$": "$.n"}, "ResultPath": "$.got",
        "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 7}], "Next": "Both"},
    "Both": {"Type": "Parallel", "Next": "Each", "ResultPath": null, "Branches": [
        {"StartAt": "Late", "States": {"Late": {"Type": "Wait", "Seconds": 20, "End": true}}},
        {"StartAt": "Soon", "States": {"Soon": {"Type": "Wait", "Seconds": 10, "End": true}}}]},
    "Each": {"Type": "Map", "ItemsPath": "$.items", "End": true, "ItemProcessor": {"StartAt": "One", "States": {
        "One": {"Type": "Pass", "End": true}}}}}}"#;

/// The visits of a trace: the state, how it went, and the texts of its steps.
pub(crate) fn visits(trace: &Json) -> Vec<(String, String, Vec<String>)> {
    let value = |at: &Json| trace["values"][at.as_u64().expect("a number") as usize].as_str().expect("text");
    let visits = trace["visits"].as_array().expect("visits");
    let told = visits.iter().map(|visit| {
        let steps = visit["steps"].as_array().expect("steps").iter();
        let steps = steps.map(|step| format!("{} {}", step[0].as_str().expect("a label"), value(&step[1])));
        let text = |name: &str| visit[name].as_str().unwrap_or_default().to_owned();
        (text("state"), text("status"), steps.collect())
    });
    told.collect()
}

#[test]
fn a_run_tells_the_data_of_each_state_and_takes_no_time() {
    let server = server(&service());
    let mut client = Client::of(&server);
    let mocks =
        r#"{"Ask": {"0": {"Throw": {"Error": "Busy", "Cause": ""}}, "1": {"Return": {"n": 1.5, "m": 2}}}}"#;
    let draft = json!({"text": FLOW, "format": "json", "type": "EXPRESS", "input": "{\"items\": [1, 2]}",
        "mocks": mocks, "now": 1_000});
    let ran = ask(&mut client, "Run", &draft);
    assert_eq!((&ran["status"], &ran["output"]), (&json!("SUCCEEDED"), &json!("[1,2]")), "{ran}");
    let visits = visits(&ran["trace"]);
    let states: Vec<(&str, &str)> = visits.iter().map(|it| (&*it.0, &*it.1)).collect();
    let good = |name| (name, "succeeded");
    assert_eq!(states, ["Ask", "Both", "Late", "Soon", "Each", "One", "One"].map(good));
    let asked = &visits[0].2;
    for step in [
        r#"Arguments or Parameters {"FunctionName":"f"}"#,
        r#"Retry {"retrier":0,"afterMilliseconds":7000}"#,
        r#"Result {"n":1.5,"m":2}"#,
        r#"ResultSelector {"n":1.5}"#,
        r#"ResultPath {"items":[1,2],"got":{"n":1.5}}"#,
    ] {
        assert!(asked.iter().any(|it| it == step), "{step} in {asked:?}");
    }
    // Data that pass through two branches at once stay with their own.
    assert!(
        visits[2..4]
            .iter()
            .all(|it| it.2.iter().all(|step| step.ends_with(r#"{"items":[1,2],"got":{"n":1.5}}"#)))
    );
    let events = ran["trace"]["events"].as_array().expect("events");
    let time = |event: &Json| event["time"].as_u64().expect("a time");
    assert_eq!(events.last().map(time), Some(1_000 + 7_000 + 20_000));
    // The Map's own events are the Map's, not those of the last state in it.
    let of = |event: &Json| event["visit"].as_u64().map(|at| visits[at as usize].0.clone());
    let map = events.iter().find(|event| event["type"] == "MapStateSucceeded").expect("an event");
    assert_eq!(of(map).as_deref(), Some("Each"));
    // The same again is the same.
    assert_eq!(ask(&mut client, "Run", &draft), ran);
}

#[test]
fn an_expression_has_the_value_of_the_run_or_a_reason() {
    let server = server(&service());
    let mut client = Client::of(&server);
    let value = |text: &str| json!({"value": text});
    let problem = |text: &str| json!({"problem": text});
    let cases = [
        ("JSONata", "$states.input.n * 2", value("24.5")),
        ("JSONata", "$states.input.id", value("12345678901234567890")),
        ("JSONata", "$states.result & $states.errorOutput.Error", value("\"doneBusy\"")),
        ("JSONata", "$x + $count($y)", value("5")),
        ("JSONata", "$now()", value("\"1970-01-01T00:00:01.000Z\"")),
        ("JSONata", "$states.context.State.Name", value("\"A\"")),
        ("JSONata", "$states.input.none", problem("There is no value")),
        ("JSONata", "$none", problem("There is no value")),
        ("JSONPath", "$.n", value("12.25")),
        ("JSONPath", "$y[1]", value("2")),
        ("JSONPath", "States.Array($.n, $x)", value("[12.25,3]")),
        ("JSONPath", "$$.State.Name", value("\"A\"")),
    ];
    let over = |language: &str, source: &str| {
        json!({"source": source, "language": language, "input": r#"{"n": 12.25, "id": 12345678901234567890}"#,
            "result": "\"done\"", "errorOutput": r#"{"Error": "Busy"}"#, "context": r#"{"State": {"Name": "A"}}"#,
            "variables": [["x", "9"], ["y", "[1, 2]"], ["x", "3"]], "now": 1_000})
    };
    for (language, source, expected) in cases {
        assert_eq!(ask(&mut client, "Evaluate", &over(language, source)), expected, "{source}");
    }
    for (language, source, part) in [
        ("JSONata", "$states.context.Task.Token", "`Task.Token` of the context object"),
        ("JSONata", "$states.input.n +", "end of"),
        ("JSONata", "$states.input + 1", "T2001"),
        ("JSONata", "$pad('', 70000)", "too many to be shown"),
        ("JSONata", "($f := function($n) { $f($n + 1) }; $f(1))", "too long"),
        ("JSONPath", "$.none", "No results for path"),
        ("JSONPath", "States.None()", "States.None"),
    ] {
        let told = ask(&mut client, "Evaluate", &over(language, source));
        let why = told["problem"].as_str().unwrap_or_else(|| panic!("{source}: {told}"));
        assert!(why.contains(part), "{source}: {why}");
    }
}

#[test]
fn a_run_without_an_end_or_a_mock_is_told() {
    let server = server(&service());
    let mut client = Client::of(&server);
    let run = |client: &mut Client, text: &str, mocks: &str| {
        ask(
            client,
            "Run",
            &json!({"text": text, "format": "json", "type": "EXPRESS", "input": "{}", "mocks": mocks}),
        )
    };
    let text = r#"{"StartAt": "L", "States": {"L": {"Type": "Choice", "Default": "L", "Choices": [
        {"Variable": "$.x", "IsPresent": true, "Next": "E"}]}, "E": {"Type": "Succeed"}}}"#;
    let ran = run(&mut client, text, "");
    assert_eq!(ran["status"], "STOPPED", "{}", ran["why"]);
    let ran = run(&mut client, FLOW, "");
    assert_eq!((&ran["status"], &ran["error"]), (&json!("FAILED"), &json!("States.Runtime")));
    assert_eq!(ran["cause"], "The task of the state 'Ask' has no mock, and runs of drafts call nothing.");
    for (text, mocks) in [("{", ""), (FLOW, "["), (FLOW, "{\"Ask\": 1}")] {
        let ran = run(&mut client, text, mocks);
        assert_eq!(ran["status"], "REFUSED", "{ran}");
    }
}

#[test]
fn executions_are_found_and_told_as_their_history_has_them() {
    let service = service();
    let server = server(&service);
    let create = |name: &str, express: bool| {
        let definition =
            r#"{"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "Bad", "Cause": "so"}}}"#;
        let request = CreateStateMachine {
            name: name.to_owned(),
            definition: definition.to_owned(),
            role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
            express,
            ..CreateStateMachine::default()
        };
        service.create_state_machine(request).expect("a machine").arn
    };
    let standard = create("standard", false);
    create("express", true);
    let start =
        StartExecution { machine_arn: standard, name: Some("One".to_owned()), ..StartExecution::default() };
    let arn = service.start_execution(start).expect("a start").arn;
    let mut client = Client::of(&server);
    let found = loop {
        let found = ask(&mut client, "FindExecutions", &json!({"name": "ONE", "status": "FAILED"}));
        if found["executions"] != json!([]) {
            break found;
        }
        std::thread::yield_now();
    };
    assert_eq!(found["executions"][0]["error"], "Bad", "{found}");
    assert_eq!((&found["unlisted"], &found["more"]), (&json!(1), &json!(false)));
    let told = ask(&mut client, "GetExecution", &json!({"executionArn": arn, "picture": true}));
    assert_eq!(
        (&told["status"], &told["error"], &told["cause"]),
        (&json!("FAILED"), &json!("Bad"), &json!("so"))
    );
    let outline = &told["outline"];
    let name = |at: &Json| outline["names"][at.as_u64().expect("a place") as usize].as_str().expect("a name");
    let column = |of: &str, name: &str| outline[of][name].as_array().expect("a column").clone();
    let types: Vec<&str> = outline["events"]["type"].as_array().expect("types").iter().map(name).collect();
    assert_eq!(types, ["ExecutionStarted", "FailStateEntered", "ExecutionFailed"]);
    assert_eq!(column("events", "visit"), [json!(-1), json!(0), json!(0)], "{outline}");
    assert_eq!(name(&column("visits", "state")[0]), "F");
    assert_eq!(name(&column("visits", "status")[0]), "failed");
    assert_eq!(column("visits", "fault"), [json!(2)]);
    // The details of the events are requested.
    let details = ask(&mut client, "GetEvents", &json!({"executionArn": arn, "ids": [3, 2, 99]}));
    assert_eq!(
        details["events"][0],
        json!({"id": 3, "details": [["error", "text", "Bad"], ["cause", "text", "so"]]})
    );
    assert_eq!(details["events"][1]["details"][1], json!(["input", "value", 0]), "{details}");
    assert_eq!((&details["values"], &details["events"][2]), (&json!(["{}"]), &Json::Null));
    for ids in [json!(["x"]), json!((0..40).collect::<Vec<u64>>())] {
        let refused = ask(&mut client, "GetEvents", &json!({"executionArn": arn, "ids": ids}));
        assert_eq!(refused["status"], 400, "{refused}");
    }
    assert_eq!(told["redrivable"], true, "{told}");
    assert_eq!(told["picture"]["nodes"][0]["name"], "F");
    let missing = ask(&mut client, "GetExecution", &json!({"executionArn": format!("{arn}x")}));
    assert!(missing["__type"].as_str().is_some_and(|it| it.ends_with("ExecutionDoesNotExist")), "{missing}");
}

#[test]
fn a_list_is_filtered_and_stays_where_it_was_scrolled_to() {
    let service = service();
    let server = server(&service);
    let definition = r#"{"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "Bad"}}}"#;
    let arns = ["one", "two"].map(|name| {
        let request = CreateStateMachine {
            name: name.to_owned(),
            definition: definition.to_owned(),
            role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
            ..CreateStateMachine::default()
        };
        service.create_state_machine(request).expect("a machine").arn
    });
    let start = |machine: &str, name: String| {
        let start =
            StartExecution { machine_arn: machine.to_owned(), name: Some(name), ..StartExecution::default() };
        service.start_execution(start).expect("a start");
    };
    // More than are read at once, in turns.
    for n in 0..1_500 {
        start(&arns[n % 2], format!("Run-{n:04}"));
    }
    start(&arns[0], "Ämter".to_owned());
    let mut client = Client::of(&server);
    let mut find = |members: Json| {
        let found = ask(&mut client, "FindExecutions", &members);
        let names: Vec<String> = (found["executions"].as_array().expect("executions").iter())
            .map(|it| it["name"].as_str().expect("a name").to_owned())
            .collect();
        (found, names)
    };
    let (all, names) = find(json!({"count": 3}));
    assert_eq!(names, ["Ämter", "Run-1499", "Run-1498"], "{all}");
    assert_eq!((&all["matching"], &all["newer"], &all["more"]), (&json!(1_501), &json!(0), &json!(false)));
    // The newest are those of both machines, by their start.
    let (found, names) = find(json!({"from": 1_500, "count": 3, "machineArn": ""}));
    assert_eq!((names, &found["from"]), (vec!["Run-0000".to_owned()], &json!(1_500)));
    let (found, names) = find(json!({"machineArn": arns[1], "from": 700, "count": 2}));
    assert_eq!((names, &found["matching"]), (vec!["Run-0099".into(), "Run-0097".into()], &json!(750)));
    let (found, names) = find(json!({"from": 9_999}));
    assert_eq!((names, &found["from"]), (Vec::new(), &json!(1_501)));
    for (members, expected) in [
        (json!({"name": "RUN-012"}), 10),
        (json!({"name": "ämt"}), 1),
        (json!({"name": "ÄMT", "machineArn": arns[0]}), 1),
        (json!({"name": "ämt", "machineArn": arns[1]}), 0),
        (json!({"name": "none"}), 0),
        (json!({"status": "SUCCEEDED"}), 0),
        (json!({"error": "Ba"}), 0),
    ] {
        assert_eq!(find(members.clone()).0["matching"], expected, "{members}");
    }
    // Later ones are counted, and nothing moves.
    let known = all["upTo"].clone();
    start(&arns[1], "run-later".to_owned());
    let (found, names) = find(json!({"upTo": known, "count": 1}));
    assert_eq!((names, &found["newer"], &found["upTo"]), (vec!["Ämter".to_owned()], &json!(1), &known));
    assert_eq!(find(json!({"upTo": known, "name": "run-l"})).0["newer"], json!(1));
    let missing =
        ask(&mut Client::of(&server), "FindExecutions", &json!({"machineArn": format!("{}x", arns[0])}));
    assert!(
        missing["__type"].as_str().is_some_and(|it| it.ends_with("StateMachineDoesNotExist")),
        "{missing}"
    );
    let overview = ask(&mut Client::of(&server), "Overview", &json!({}));
    let last = |n: usize| overview["machines"][n]["last"].as_u64();
    assert!(last(0).is_some() && last(1) >= last(0), "{overview}");
}

#[test]
fn a_machine_is_told_with_its_versions_and_aliases() {
    let service = service();
    let request = CreateStateMachine {
        name: "versions".to_owned(),
        definition: r#"{"StartAt": "P", "States": {"P": {"Type": "Succeed"}}}"#.to_owned(),
        role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
        ..CreateStateMachine::default()
    };
    let arn = service.create_state_machine(request).expect("a machine").arn;
    let server = server(&service);
    let mut client = Client::of(&server);
    let told = ask(&mut client, "GetMachine", &json!({"machineArn": arn}));
    assert_eq!((&told["versions"], &told["aliases"]), (&json!([]), &json!([])));
    let version = service.publish_state_machine_version(&arn, None, None).expect("a version").arn;
    let routes = [Route { version_arn: version, weight: 100 }];
    service.create_state_machine_alias("LIVE", None, &routes).expect("an alias");
    let told = ask(&mut client, "GetMachine", &json!({"machineArn": arn}));
    assert_eq!(told["versions"], json!(["1"]));
    assert_eq!(told["aliases"], json!([{"name": "LIVE", "routes": [["1", 100]]}]));
}

#[test]
fn a_byte_order_mark_stays_in_its_file_and_out_of_the_page() {
    let folder =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("marks-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;
    let file = folder.join("p.asl.json");
    std::fs::write(&file, format!("\u{feff}{text}")).expect("a file");
    std::fs::write(folder.join("wide.asl.json"), b"\xff\xfe{\0}\0").expect("a file");
    let mut console = Console::default();
    console.files = Some(Files::at(&folder, "key".to_owned()).expect("the folder"));
    let mut config = config();
    config.console = Some(console);
    let server = Server::start(&config, &service()).expect("a free port");
    let mut client = Client::of(&server);
    let mut ask = |action: &str, body: Json| {
        let body = body.to_string();
        client.send(
            format!(
                "POST /console/api HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nX-Expressway-Key: key\r\n\
                 X-Amz-Target: Expressway.{action}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
        client.response().expect("a response").body
    };
    let read = |body: &str| serde_json::from_str::<Json>(body).expect("JSON");
    let opened = read(&ask("ReadFile", json!({"name": "p.asl.json"})));
    assert_eq!(opened["text"], text);
    // Places that the page shows are those of the text it has.
    let inspected = read(&ask("Inspect", json!({"text": opened["text"], "type": "EXPRESS"})));
    assert_eq!(inspected["problems"], json!([]), "{inspected}");
    let longer = text.replace("Pass", "Succeed").replace(", \"End\": true", "");
    let written = json!({"name": "p.asl.json", "text": longer, "hash": opened["hash"]});
    let saved = read(&ask("WriteFile", written));
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), format!("\u{feff}{longer}"));
    // With its new hash it can be saved again.
    let again = json!({"name": "p.asl.json", "text": text, "hash": saved["hash"]});
    assert_eq!(read(&ask("WriteFile", again))["name"], "p.asl.json");
    let wide = ask("ReadFile", json!({"name": "wide.asl.json"}));
    assert!(wide.contains("it is UTF-16: save it as UTF-8"), "{wide}");
    let _ = std::fs::remove_dir_all(&folder);
}
