//! `expressway serve`, `env` and `hosts` through the binary.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::serving::{Folder, Serving, expressway};

fn pass(result: &str) -> String {
    format!(r#"{{"StartAt": "P", "States": {{"P": {{"Type": "Pass", "Result": "{result}", "End": true}}}}}}"#)
}

const ORDERS: &str = r#"{"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:orders"}"#;

#[test]
fn definitions_are_loaded_and_followed() {
    let folder = Folder::new("definitions");
    folder.write("orders.asl.json", &pass("first"));
    folder.write("broken.asl.json", "{");
    folder
        .write("bills.asl.yaml", "# comments are fine\nStartAt: P\nStates:\n  P: {Type: Pass, End: true}\n");
    folder.write("notes.txt", "not a definition");
    // Only STANDARD machines may use activities.
    let activity = "arn:aws:states:us-east-1:123456789012:activity:a";
    let work = format!(
        r#"{{"StartAt": "W", "States": {{"W": {{"Type": "Task", "Resource": "{activity}", "End": true}}}}}}"#
    );
    folder.write("work.asl.json", &work);
    let mut serving = Serving::start(&["--definitions", folder.0.to_str().expect("UTF-8")]);
    let of_type = |machine: &str, machine_type: &str| {
        let arn = format!("arn:aws:states:us-east-1:123456789012:stateMachine:{machine}");
        let asked = format!(r#"{{"stateMachineArn": "{arn}"}}"#);
        let (_, body) = serving.ask("DescribeStateMachine", &asked);
        assert!(body.contains(&format!(r#""type":"{machine_type}""#)), "{body}");
    };
    of_type("orders", "EXPRESS");
    of_type("work", "STANDARD");
    assert!(serving.start.contains("orders: created from "), "{}", serving.start);
    assert!(serving.start.contains("bills: created from "), "{}", serving.start);
    assert!(serving.start.contains("broken.asl.json is refused"), "{}", serving.start);
    assert!(serving.start.contains("not durable"), "{}", serving.start);
    let output = |serving: &Serving, expected: &str| {
        let (status, body) = serving.ask("StartSyncExecution", ORDERS);
        assert_eq!(status, 200, "{body}");
        assert!(body.contains(&format!(r#""output":"\"{expected}\"""#)), "{body}");
    };
    output(&serving, "first");
    folder.write("orders.asl.json", &pass("the second"));
    assert!(serving.line().contains("orders: updated from "));
    output(&serving, "the second");
    // A broken file changes nothing.
    folder.write("orders.asl.json", r#"{"StartAt": "Nowhere", "States": {}}"#);
    let line = serving.line();
    assert!(line.contains("orders.asl.json is refused, and nothing is changed"), "{line}");
    // As `validate` shows it, place and suggestion included.
    let mut shown = String::new();
    while !shown.contains("orders.asl.json: ") {
        shown += &serving.line();
    }
    assert!(shown.contains("\"StartAt\": \"Nowhere\"") && shown.contains("^^^^"), "{shown}");
    output(&serving, "the second");
    fs::remove_file(folder.0.join("orders.asl.json")).expect("a file to remove");
    assert!(serving.line().contains("was removed; the machine stays"));
    output(&serving, "the second");
    let (code, rest) = serving.stop();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("6 requests answered"), "{rest}");
}

#[test]
fn empty_variables_of_the_environment_are_none() {
    let names = ["AWS_ACCOUNT_ID", "AWS_REGION", "AWS_DEFAULT_REGION", "WAIT_TIME_SCALE", "SFN_MOCK_CONFIG"];
    let before: Vec<String> = names.iter().map(|name| format!("{name}=")).collect();
    let env: Vec<&str> = std::iter::once("env").chain(before.iter().map(String::as_str)).collect();
    let mut serving = Serving::start_by(&env, &[]);
    assert!(serving.start.contains("ready on"), "{}", serving.start);
    let (status, body) = serving.ask("CreateActivity", r#"{"name": "a"}"#);
    assert!(status == 200 && body.contains("arn:aws:states:us-east-1:123456789012:activity:a"), "{body}");
    serving.terminate();
    let _ = serving.line();
}

#[test]
fn calls_that_fail_are_logged_and_others_on_request() {
    let wrong = r#"{"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:nobody"}"#;
    let input = r#"{"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:nobody", "input": "SECRET"}"#;
    let serving = Serving::start(&[]);
    assert_eq!(serving.ask("DescribeStateMachine", wrong).0, 400);
    assert_eq!(serving.ask("ListStateMachines", "{}").0, 200);
    assert_eq!(serving.ask("StartExecution", input).0, 400);
    // AWS's message, and what was meant beside it.
    let misspelt = r#"{"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invok", "End": true}}}"#;
    let create = json!({"name": "m", "definition": misspelt, "roleArn": "arn:aws:iam::123456789012:role/r"});
    let (status, body) = serving.ask("CreateStateMachine", &create.to_string());
    let answer: Json = serde_json::from_str(&body).expect("JSON");
    let meant = "/States/A/Resource: did you mean `arn:aws:states:::lambda:invoke`?";
    assert_eq!((status, &answer["suggestion"]), (400, &json!(meant)));
    let said = answer["message"].as_str().expect("a message");
    assert!(
        said.starts_with("Invalid State Machine Definition: '") && said.ends_with("at /States/A/Resource'")
    );
    let (_, rest) = serving.stop();
    assert!(rest.contains(meant), "{rest}");
    let failed = "failed operation=\"DescribeStateMachine\" status=400 error=\"StateMachineDoesNotExist\" why=\"State Machine";
    assert!(rest.contains(" WARN ") && rest.contains(failed), "{rest}");
    assert!(!rest.contains("ListStateMachines") && !rest.contains("SECRET"), "{rest}");

    let folder = Folder::new("log");
    folder.write("bad.asl.json", "{\"StartAt\": \"Nowhere\"}");
    folder.write("good.asl.json", &pass("good"));
    let definitions = folder.0.to_str().expect("UTF-8");
    let serving =
        Serving::start(&["--log", "json", "--log-level", "info", "--definitions", definitions, "--insecure"]);
    let start = serving.start.clone();
    assert_eq!(serving.ask("DescribeStateMachine", wrong).0, 400);
    assert_eq!(serving.ask("ListStateMachines", "{}").0, 200);
    let (_, rest) = serving.stop();
    // Every line is an object, from the first to the last.
    let object = |line: &str| serde_json::from_str::<Json>(line).expect(line);
    let rows: Vec<Json> = start.lines().chain(rest.lines()).map(object).collect();
    for (level, text) in [
        ("WARN", "bad.asl.json is refused, and nothing is changed:\n"),
        ("INFO", "good: created from "),
        ("INFO", "ready on http://127.0.0.1:"),
        ("WARN", "anyone who can reach this address has full access (--insecure)"),
        ("INFO", " requests answered; "),
    ] {
        let says = |row: &&Json| row["message"].as_str().is_some_and(|message| message.contains(text));
        let row = rows.iter().find(says).unwrap_or_else(|| panic!("{text} is missing in: {start}{rest}"));
        assert_eq!((&row["level"], &row["target"]), (&json!(level), &json!("expressway::command")));
    }
    let row = |operation: &str| rows.iter().find(|row| row["operation"] == operation).expect(operation);
    assert_eq!(row("DescribeStateMachine")["error"], "StateMachineDoesNotExist");
    assert_eq!(
        (&row("ListStateMachines")["level"], &row("ListStateMachines")["status"]),
        (&json!("INFO"), &json!(200))
    );
    assert!(row("ListStateMachines")["took_us"].is_u64());
}

/// The content of other files is never shown.
#[cfg(unix)]
#[test]
fn links_that_lead_out_of_the_folder_are_not_followed() {
    let folder = Folder::new("links");
    let secret = folder.write("secret", "root:$6$hash:19000:0:99999:7:::");
    let definition = folder.write("elsewhere.json", &pass("elsewhere"));
    let inside = folder.0.join("definitions");
    fs::create_dir_all(inside.join("..data")).expect("a folder");
    let link = |to: &std::path::Path, name: &str| {
        std::os::unix::fs::symlink(to, inside.join(name)).expect("a link");
    };
    link(&secret, "secret.asl.json");
    link(&secret, "hidden.asl.yaml");
    link(&definition, "outside.asl.json");
    fs::write(inside.join("..data/orders.asl.json"), pass("inside")).expect("a file");
    link(std::path::Path::new("..data/orders.asl.json"), "orders.asl.json");
    fs::copy(&secret, inside.join("copied.asl.json")).expect("a file");
    fs::copy(&secret, inside.join("other.asl.yaml")).expect("a file");
    let serving = Serving::start(&["--definitions", inside.to_str().expect("UTF-8")]);
    assert!(!serving.start.contains("root") && !serving.start.contains("hash"), "{}", serving.start);
    assert_eq!(serving.start.matches("leads out of the folder").count(), 3, "{}", serving.start);
    assert!(serving.start.contains("orders: created from "), "links inside: {}", serving.start);
    assert_eq!(serving.ask("StartSyncExecution", ORDERS).0, 200);
}

#[test]
fn state_machines_take_no_more_memory_than_their_share() {
    let serving = Serving::start(&["--memory", "64MiB"]);
    let state = json!({"Type": "Pass", "Result": "x".repeat(900_000), "End": true});
    let definition = json!({"StartAt": "S", "States": {"S": state}}).to_string();
    let create = |n: u32| {
        let request = json!({"name": format!("m{n}"), "type": "EXPRESS", "definition": definition,
            "roleArn": "arn:aws:iam::123456789012:role/r"});
        serving.ask("CreateStateMachine", &request.to_string())
    };
    let full = (0..100).find(|&n| create(n).0 != 200).expect("no room at some time");
    let (status, body) = create(full);
    assert!(status == 400 && body.contains("ThrottlingException") && body.contains("memory"), "{body}");
    assert!(serving.get("/metrics").contains("\nexpressway_definitions_refused_total 2\n"));
    let delete = json!({"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:m0"});
    assert_eq!(serving.ask("DeleteStateMachine", &delete.to_string()).0, 200);
    assert_eq!(create(full).0, 200);
}

#[test]
fn executions_take_no_more_memory_than_their_share() {
    let serving = Serving::start(&["--memory", "64MiB"]);
    let nap = create(&serving, "nap", "EXPRESS", &json!({"Type": "Wait", "Seconds": 250, "End": true}));
    let request =
        json!({"stateMachineArn": nap, "input": json!("x".repeat(250_000)).to_string()}).to_string();
    let refused =
        (0..1_000).map(|_| serving.ask("StartExecution", &request)).find(|(status, _)| *status != 200);
    let (status, body) = refused.expect("no room at some time");
    assert!(status == 400 && body.contains("ThrottlingException"), "{status} {body}");
    assert_eq!(serving.get("/health"), "ok\n");
}

/// Connections beyond the limit of open files get an error, and existing ones continue.
#[cfg(target_os = "linux")]
#[test]
fn file_descriptors_are_raised_and_when_none_is_left_that_is_told() {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    let under = |limits: &str| {
        Serving::start_by(&["sh", "-c", &format!("{limits}; exec \"$0\" \"$@\"")], &["--threads", "1"])
    };
    let connect = |serving: &Serving| TcpStream::connect(("127.0.0.1", serving.port)).expect("a connection");
    let mut serving = under("ulimit -S -n 64");
    assert!(serving.start.contains("files may be open instead of 64"), "{}", serving.start);
    let many: Vec<TcpStream> = (0..100).map(|_| connect(&serving)).collect();
    assert_eq!(serving.get("/health"), "ok\n");
    drop(many);

    serving = under("ulimit -n 64");
    let mut clients: Vec<TcpStream> = (0..100).map(|_| connect(&serving)).collect();
    assert!(serving.line().contains("out of file descriptors"));
    let mut last = clients.pop().expect("a client");
    let mut said = String::new();
    last.read_to_string(&mut said).expect("a word");
    assert!(said.starts_with("HTTP/1.1 503") && said.contains("Too many open files"), "{said}");
    drop(clients);
    let metrics = loop {
        // Closed connections are noticed one after the other; until then others are refused.
        let mut stream = connect(&serving);
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut said = String::new();
        if stream.read_to_string(&mut said).is_ok() && said.contains("# TYPE") {
            break said;
        }
    };
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("expressway_http_connections_without_descriptor_total "));
    assert!(line.is_some_and(|count| count.parse::<u64>().is_ok_and(|count| count > 0)), "{metrics}");
}

#[test]
fn others_are_let_in_with_keys_or_on_purpose_only() {
    let refused = |arguments: &[&str]| {
        let output =
            expressway().args(["serve", "--port", "0"]).args(arguments).output().expect("the command");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    assert!(refused(&["--host", "0.0.0.0"]).contains("--auth"));
    assert!(refused(&["--host", "::"]).contains("--insecure"));
    let folder = Folder::new("keys");
    let broken = folder.write("broken.json", r#"{"keys": []}"#);
    assert!(refused(&["--auth", broken.to_str().expect("UTF-8")]).contains("it has no keys"));
    assert!(refused(&["--tls-cert", "none.pem", "--tls-key", "none.pem"]).contains("none.pem"));
    let serving = Serving::start(&["--host", "0.0.0.0", "--insecure"]);
    assert_eq!(serving.ask("ListActivities", "{").0, 400);
    let keys = folder.write(
        "keys.json",
        r#"{"keys": [{"accessKeyId": "K", "secretAccessKey": "s",
            "allow": [{"actions": ["*"], "resources": ["*"]}]}]}"#,
    );
    let serving = Serving::start(&["--auth", keys.to_str().expect("UTF-8")]);
    let (status, body) = serving.ask("ListActivities", "{}");
    assert_eq!(status, 400);
    assert!(body.contains("MissingAuthenticationTokenException"), "{body}");
}

#[test]
fn the_account_the_region_and_the_types_are_chosen() {
    let serving = Serving::start(&["--account", "111111111111", "--region", "eu-west-1", "--express-only"]);
    let definition = pass("x").replace('"', "\\\"");
    let create = |kind: &str| {
        let request = format!(
            r#"{{"name": "orders", "roleArn": "arn:aws:iam::111111111111:role/r", "type": "{kind}",
                "definition": "{definition}"}}"#
        );
        serving.ask("CreateStateMachine", &request)
    };
    let (status, body) = create("EXPRESS");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("arn:aws:states:eu-west-1:111111111111:stateMachine:orders"), "{body}");
    assert_eq!(create("STANDARD").0, 400);
}

/// Creates a state machine of one state; its ARN.
fn create(serving: &Serving, name: &str, machine_type: &str, state: &Json) -> String {
    let definition = json!({"StartAt": "S", "States": {"S": state}}).to_string();
    let request = json!({"name": name, "type": machine_type, "definition": definition,
        "roleArn": "arn:aws:iam::123456789012:role/r"});
    let (status, body) = serving.ask("CreateStateMachine", &request.to_string());
    assert_eq!(status, 200, "{body}");
    let created: Json = serde_json::from_str(&body).expect("JSON");
    created["stateMachineArn"].as_str().expect("an ARN").to_owned()
}

#[test]
fn the_metrics_say_what_runs_and_top_shows_it() {
    let serving = Serving::start(&[]);
    let good = create(&serving, "good", "EXPRESS", &json!({"Type": "Pass", "End": true}));
    let bad = create(&serving, "bad", "EXPRESS", &json!({"Type": "Fail", "Error": "Mine"}));
    let nap = create(&serving, "nap", "EXPRESS", &json!({"Type": "Wait", "Seconds": 1, "End": true}));
    for (machine, action) in
        [(&nap, "StartSyncExecution"), (&good, "StartSyncExecution"), (&bad, "StartExecution")]
    {
        let (status, body) = serving.ask(action, &json!({"stateMachineArn": machine}).to_string());
        assert_eq!(status, 200, "{body}");
    }
    assert!(serving.get("/metrics").contains("\nexpressway_http_requests_total 6\n"));
    let of = |machine: &str| format!("state_machine_arn=\"{machine}\"");
    let rows = [
        "expressway_executions_accepted_total 3".to_owned(),
        format!("aws_states_executions_succeeded_total{{{}}} 1", of(&good)),
        format!("aws_states_execution_time_seconds_count{{{}}} 1", of(&nap)),
        format!("expressway_state_duration_seconds_count{{{},state=\"S\"}} 1", of(&nap)),
    ];
    // Executions are counted by their shards, after their callers have the outcome.
    let begun = Instant::now();
    loop {
        let metrics = serving.get("/metrics");
        let Some(absent) = rows.iter().find(|row| !metrics.contains(&format!("\n{row}\n"))) else { break };
        assert!(begun.elapsed() < Duration::from_secs(60), "{absent} is not in {metrics}");
    }

    let url = format!("http://127.0.0.1:{}/metrics", serving.port);
    let mut top = expressway();
    top.args(["top", &url, "--once", "--every", "0.5"]).stdout(Stdio::piped());
    let mut top = top.spawn().expect("the command");
    // Something happens between its two looks, however long they take.
    while top.try_wait().expect("its state").is_none() {
        serving.ask("StartSyncExecution", &json!({"stateMachineArn": good}).to_string());
        serving.ask("StartSyncExecution", &json!({"stateMachineArn": bad}).to_string());
    }
    let output = top.wait_with_output().expect("its output");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let row = |first: &str| -> Vec<String> {
        let line = text
            .lines()
            .find(|line| line.split_whitespace().next().is_some_and(|it| it == format!("│{first}")));
        let line = line.unwrap_or_else(|| panic!("no row of {first}: {text}"));
        line.trim_matches('│').split_whitespace().map(str::to_owned).collect()
    };
    let rate = |row: &[String], column: usize| !row[column].starts_with('0');
    let (good, bad, nap, state) = (row("good"), row("bad"), row("nap"), row("S"));
    assert!(rate(&good, 1) && rate(&good, 2) && !rate(&good, 3), "{text}");
    assert!(rate(&bad, 1) && rate(&bad, 3), "{text}");
    assert_eq!((&*nap[1], &*state[1]), ("0", "nap"), "{text}");
    // What never waits is measured in microseconds.
    assert!(good[6].ends_with("µs"), "{text}");
    // It took a second, or a little more, which is in the next class.
    for percentile in [&nap[6], &nap[7], &state[6], &state[7]] {
        assert!(matches!(&**percentile, "1.0s" | "2.0s"), "{text}");
    }
}

#[test]
fn what_is_mocked_may_be_what_is_not_supported() {
    let folder = Folder::new("mocks");
    let state = json!({"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:codecatalyst:verifySession", "Parameters": {}, "End": true});
    let mocks = json!({"StateMachines": {"jobs": {"TestCases": {"Happy": {"S": "Started"}}}},
        "MockedResponses": {"Started": {"0": {"Return": {"JobRunId": "j"}}}}});
    let file = folder.write("mocks.json", &mocks.to_string());
    let serving = Serving::start(&["--mock-config", file.to_str().expect("UTF-8")]);
    let machine = create(&serving, "jobs", "EXPRESS", &state);
    let start = json!({"stateMachineArn": format!("{machine}#Happy")}).to_string();
    let (_, body) = serving.ask("StartSyncExecution", &start);
    assert!(body.contains(r#""output":"{\"JobRunId\":\"j\"}""#), "{body}");
    let request = json!({"name": "jobs", "type": "EXPRESS", "roleArn": "arn:aws:iam::123456789012:role/r",
        "definition": json!({"StartAt": "S", "States": {"S": state}}).to_string()});
    let (status, body) = Serving::start(&[]).ask("CreateStateMachine", &request.to_string());
    assert!(status == 400 && body.contains("codecatalyst:verifySession"), "{body}");
}

const WORK: &str = r#"{"activityArn": "arn:aws:states:us-east-1:123456789012:activity:work"}"#;

#[test]
fn executions_come_to_their_end_before_the_server_does() {
    let mut serving = Serving::start(&[]);
    assert_eq!(serving.ask("CreateActivity", r#"{"name": "work"}"#).0, 200);
    let activity = "arn:aws:states:us-east-1:123456789012:activity:work";
    let asking =
        create(&serving, "asking", "STANDARD", &json!({"Type": "Task", "Resource": activity, "End": true}));
    let pass = create(&serving, "pass", "EXPRESS", &json!({"Type": "Pass", "End": true}));
    assert_eq!(serving.ask("StartExecution", &json!({"stateMachineArn": asking}).to_string()).0, 200);
    let mut open = serving.connect();
    let start = json!({"stateMachineArn": pass}).to_string();
    assert_eq!(open.ask("StartSyncExecution", &start).0, 200);
    serving.terminate();
    assert!(serving.line().contains("finishing what is under way"));
    // The port is free for the next server at once.
    drop(std::net::TcpListener::bind(("127.0.0.1", serving.port)).expect("the port is free"));
    // It reports that first, and begins no more executions then.
    let refused =
        std::iter::repeat_with(|| open.ask("StartSyncExecution", &start)).find(|(status, _)| *status != 200);
    let (status, body) = refused.expect("a refusal");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("ServiceUnavailable"), "{body}");
    let (_, task) = open.ask("GetActivityTask", WORK);
    let task: Json = serde_json::from_str(&task).expect("JSON");
    let answer = json!({"taskToken": task["taskToken"], "output": "1"}).to_string();
    assert_eq!(open.ask("SendTaskSuccess", &answer).0, 200);
    drop(open);
    let (code, rest) = serving.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(rest.contains("0 executions timed out"), "{rest}");
}

#[test]
fn executions_that_take_too_long_time_out_at_the_end() {
    let serving = Serving::start(&["--drain-timeout", "0"]);
    let nap = create(&serving, "nap", "STANDARD", &json!({"Type": "Wait", "Seconds": 3600, "End": true}));
    assert_eq!(serving.ask("StartExecution", &json!({"stateMachineArn": nap}).to_string()).0, 200);
    let (code, rest) = serving.stop();
    assert_eq!(code, Some(1), "{rest}");
    assert!(rest.contains("1 execution timed out"), "{rest}");
}

/// Executions of two machines that wait for longer than the server is asked to.
fn begin_waiting(serving: &Serving) {
    for (name, executions) in [("orders", 2), ("bills", 1)] {
        let machine =
            create(serving, name, "STANDARD", &json!({"Type": "Wait", "Seconds": 3600, "End": true}));
        for _ in 0..executions {
            let (status, body) =
                serving.ask("StartExecution", &json!({"stateMachineArn": machine}).to_string());
            assert_eq!(status, 200, "{body}");
        }
    }
}

const LOST: &str =
    "3 STANDARD executions are lost (orders 2, bills 1); with --state FOLDER they go on after a start\n";

#[test]
fn executions_that_are_lost_are_told_by_their_state_machines() {
    // When the time to end is over.
    let serving = Serving::start(&["--drain-timeout", "1"]);
    begin_waiting(&serving);
    let (code, said) = serving.stop();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("expressway: not over in time: {LOST}")), "{said}");
    // When it is not waited for.
    let mut serving = Serving::start(&[]);
    begin_waiting(&serving);
    serving.terminate();
    assert!(serving.line().contains("a second signal ends at once"));
    serving.terminate();
    let (code, said) = serving.end();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&format!("expressway: ended at once; {LOST}")), "{said}");
    // With a folder, nothing is lost.
    let folder = Folder::new("nothing-is-lost");
    let state = folder.0.join("state");
    let mut serving = Serving::start(&["--state", state.to_str().expect("UTF-8")]);
    begin_waiting(&serving);
    serving.terminate();
    assert!(serving.line().contains("a second signal ends at once"));
    let (code, said) = serving.end();
    assert!(code == Some(0) && !said.contains("lost"), "{code:?} {said}");
}

#[test]
fn what_was_created_survives_a_restart() {
    let folder = Folder::new("state");
    let arguments = ["--state", folder.0.to_str().expect("UTF-8")];
    let pass = {
        let serving = Serving::start(&arguments);
        let pass = create(&serving, "pass", "EXPRESS", &json!({"Type": "Pass", "Result": 7, "End": true}));
        assert_eq!(serving.stop().0, Some(0));
        pass
    };
    let serving = Serving::start(&arguments);
    let (_, body) = serving.ask("StartSyncExecution", &json!({"stateMachineArn": pass}).to_string());
    assert!(body.contains(r#""output":"7""#), "{body}");
}

#[test]
fn extensions_are_switched_on_one_by_one() {
    let nap = json!({"Type": "Wait", "Seconds": 3600, "End": true});
    let asking = json!({"Type": "Task", "End": true,
        "Resource": "arn:aws:states:us-east-1:123456789012:activity:work"});
    for (flag, describes, calls_back) in [
        ("--express-only", false, false),
        ("--express-history", true, false),
        ("--express-callbacks", false, true),
    ] {
        let serving = Serving::start(&[flag]);
        let nap = create(&serving, "nap", "EXPRESS", &nap);
        let (status, body) =
            serving.ask("StartExecution", &json!({"stateMachineArn": nap, "name": "n"}).to_string());
        assert_eq!(status, 200, "{body}");
        let started: Json = serde_json::from_str(&body).expect("JSON");
        let described = json!({"executionArn": started["executionArn"]}).to_string();
        assert_eq!(serving.ask("DescribeExecution", &described).0 == 200, describes, "{flag}");
        let request = json!({"name": "asking", "type": "EXPRESS", "roleArn": "arn:aws:iam::123456789012:role/r",
            "definition": json!({"StartAt": "S", "States": {"S": asking}}).to_string()});
        assert_eq!(serving.ask("CreateStateMachine", &request.to_string()).0 == 200, calls_back, "{flag}");
    }
}

#[test]
fn the_options_of_step_functions_local_are_understood() {
    let serving = Serving::start(&[
        "--aws-account",
        "111111111111",
        "--aws-region",
        "cn-north-1",
        "--wait-time-scale",
        "0.001",
    ]);
    let nap = create(&serving, "nap", "EXPRESS", &json!({"Type": "Wait", "Seconds": 200, "End": true}));
    assert_eq!(nap, "arn:aws-cn:states:cn-north-1:111111111111:stateMachine:nap");
    let (_, body) = serving.ask("StartSyncExecution", &json!({"stateMachineArn": nap}).to_string());
    assert!(body.contains("SUCCEEDED"), "{body}");
}

#[test]
fn the_environment_is_printed_for_shells() {
    let print = |shell: &str| {
        let output =
            expressway().args(["env", "--port", "9000", "--shell", shell]).output().expect("the command");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let text = print("sh");
    assert!(text.contains("export AWS_ENDPOINT_URL_SFN=http://localhost:9000\n"), "{text}");
    assert!(text.contains("export AWS_DISABLE_HOST_PREFIX_INJECTION=true\n"), "{text}");
    assert!(print("fish").contains("set -gx AWS_ENDPOINT_URL_SFN "));
    assert!(print("powershell").contains("$env:AWS_ENDPOINT_URL_SFN = "));
    assert!(print("dotenv").lines().all(|line| line.starts_with("AWS_")));
}

#[test]
fn the_line_of_hosts_is_written_once() {
    let folder = Folder::new("hosts");
    let file = folder.write("hosts", "127.0.0.1 localhost\n# sync-localhost is not here yet");
    let install = |file: &std::path::Path| {
        let output = expressway().args(["hosts", "--install", "--file"]).arg(file).output();
        let output = output.expect("the command");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let expected = "127.0.0.1 localhost\n# sync-localhost is not here yet\n127.0.0.1 sync-localhost\n";
    for _ in 0..2 {
        assert_eq!(install(&file).0, Some(0));
        assert_eq!(fs::read_to_string(&file).expect("the file"), expected);
    }
    let (code, text) = install(&folder.0.join("none/hosts"));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("none; make it, or name another"), "{text}");
    let printed = expressway().arg("hosts").output().expect("the command");
    assert_eq!(printed.stdout, b"127.0.0.1 sync-localhost\n");
}

/// The header of a request that is signed for this access key and region; the signature is not checked.
fn signed(key: &str, region: &str, operation: &str) -> String {
    format!(
        "X-Amz-Target: AWSStepFunctions.{operation}\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential={key}/20261128/{region}/states/aws4_request, SignedHeaders=host, Signature=0\r\n"
    )
}

#[test]
fn clients_of_several_regions_and_accounts_share_a_server() {
    let serving = Serving::start(&["--scope", "from-credentials", "--region", "us-west-2"]);
    let places =
        [("AKIDEXAMPLE", "eu-central-1"), ("000000000001", "eu-central-1"), ("000000000001", "cn-north-1")];
    let expected = [
        "arn:aws:states:eu-central-1:123456789012:",
        "arn:aws:states:eu-central-1:000000000001:",
        "arn:aws-cn:states:cn-north-1:000000000001:",
    ];
    let state = json!({"Type": "Pass", "End": true});
    let request = json!({"name": "orders", "type": "STANDARD", "roleArn": "arn:aws:iam::123456789012:role/r",
        "definition": json!({"StartAt": "S", "States": {"S": state}}).to_string()})
    .to_string();
    for ((key, region), prefix) in places.into_iter().zip(expected) {
        let ask = |operation: &str, body: &str| {
            let (status, body) = serving.send("POST", "/", &signed(key, region, operation), body);
            assert_eq!(status, 200, "{body}");
            serde_json::from_str::<Json>(&body).expect("JSON")
        };
        let created = ask("CreateStateMachine", &request);
        assert_eq!(created["stateMachineArn"], format!("{prefix}stateMachine:orders"));
        let started = ask(
            "StartExecution",
            &json!({"stateMachineArn": created["stateMachineArn"], "name": "e"}).to_string(),
        );
        assert_eq!(started["executionArn"], format!("{prefix}execution:orders:e"));
        let activity = ask("CreateActivity", r#"{"name": "packing"}"#);
        assert_eq!(activity["activityArn"], format!("{prefix}activity:packing"));
        // Lists show what is there, and nothing of the others.
        let machines = ask("ListStateMachines", "{}");
        let machines = machines["stateMachines"].as_array().expect("a list");
        assert_eq!(machines.len(), 1, "{machines:?}");
        assert_eq!(machines[0]["stateMachineArn"], created["stateMachineArn"]);
        assert_eq!(ask("ListActivities", "{}")["activities"].as_array().map(Vec::len), Some(1));
    }
    // Without credentials, it is the server's own region and account.
    let own = create(&serving, "own", "EXPRESS", &json!({"Type": "Pass", "End": true}));
    assert_eq!(own, "arn:aws:states:us-west-2:123456789012:stateMachine:own");
}

#[test]
fn a_test_suite_forgets_everything_and_sets_the_mocks() {
    let function = "arn:aws:lambda:us-east-1:123456789012:function:charge";
    let charge = json!({"Type": "Task", "Resource": function, "End": true});
    let mocks = |answer: i64| {
        json!({"StateMachines": {"orders": {"TestCases": {"Good": {"S": "Charged"}}}},
            "MockedResponses": {"Charged": {"0": {"Return": answer}}}})
        .to_string()
    };
    let described = r#"{"executionArn": "arn:aws:states:us-east-1:123456789012:execution:nap:n"}"#;
    let serving = Serving::start(&["--testing"]);
    for answer in [1, 2] {
        let arn = create(&serving, "orders", "EXPRESS", &charge);
        let nap = create(&serving, "nap", "STANDARD", &json!({"Type": "Wait", "Seconds": 3600, "End": true}));
        let nap = json!({"stateMachineArn": nap, "name": "n"}).to_string();
        let (status, body) = serving.ask("StartExecution", &nap);
        assert_eq!(status, 200, "{answer}: {body} {:?}", serving.ask("DescribeExecution", described));
        let (status, body) = serving.send("PUT", "/_expressway/mocks", "", &mocks(answer));
        assert_eq!((status, body.as_str()), (200, r#"{"stateMachines":["orders"]}"#));
        let start = json!({"stateMachineArn": format!("{arn}#Good")}).to_string();
        let (_, body) = serving.ask("StartSyncExecution", &start);
        assert!(body.contains(&format!(r#""output":"{answer}""#)), "{body}");
        let (status, body) = serving.send("POST", "/_expressway/reset", "", "");
        assert_eq!((status, body.as_str()), (200, r#"{"forgotten":3}"#));
        create(&serving, "orders", "EXPRESS", &charge);
        let (_, body) = serving.ask("StartSyncExecution", &start);
        assert!(body.contains("there is no mock configuration"), "{body}");
        assert_eq!(serving.send("POST", "/_expressway/reset", "", "").0, 200);
        assert_eq!(serving.ask("ListStateMachines", "{}").1, r#"{"stateMachines":[]}"#);
        assert!(serving.ask("DescribeExecution", described).1.contains("ExecutionDoesNotExist"));
    }
    let (status, body) = serving.send("PUT", "/_expressway/mocks", "", "[]");
    assert_eq!(status, 400, "{body}");
    assert!(body.contains("the mock configuration's top level must be an object"), "{body}");
    assert!(["GET", "PUT"].iter().all(|it| serving.send(it, "/_expressway/reset", "", "").0 == 405));
    // Without the option there is nothing there.
    let (status, body) = Serving::start(&[]).send("POST", "/_expressway/reset", "", "");
    assert!(status == 404 && body.contains("started without --testing"), "{status} {body}");
}

#[test]
fn with_a_time_scale_of_0_waits_take_no_time_and_work_its_own() {
    let serving = Serving::start(&["--time-scale", "0"]);
    let nap = create(&serving, "nap", "EXPRESS", &json!({"Type": "Wait", "Seconds": 200, "End": true}));
    let (_, body) = serving.ask("StartSyncExecution", &json!({"stateMachineArn": nap}).to_string());
    assert!(body.contains("SUCCEEDED"), "{body}");
    // The worker has its time.
    assert_eq!(serving.ask("CreateActivity", r#"{"name": "work"}"#).0, 200);
    let activity = "arn:aws:states:us-east-1:123456789012:activity:work";
    let asking = json!({"Type": "Task", "Resource": activity, "TimeoutSeconds": 600, "End": true});
    let asking = create(&serving, "asking", "STANDARD", &asking);
    let (_, started) = serving.ask("StartExecution", &json!({"stateMachineArn": asking}).to_string());
    let started: Json = serde_json::from_str(&started).expect("JSON");
    let (_, task) = serving.ask("GetActivityTask", WORK);
    let task: Json = serde_json::from_str(&task).expect("JSON");
    let answer = json!({"taskToken": task["taskToken"], "output": "1"}).to_string();
    assert_eq!(serving.ask("SendTaskSuccess", &answer).0, 200);
    let described = json!({"executionArn": started["executionArn"]}).to_string();
    // An accepted answer may not have reached the execution yet.
    let (_, body) = serving.ask("DescribeExecution", &described);
    assert!(!body.contains("FAILED") && !body.contains("TIMED_OUT"), "{body}");
}

#[test]
fn an_endpoint_for_all_services_does_not_take_step_functions_away() {
    let mut command = expressway();
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").env("AWS_EC2_METADATA_DISABLED", "true");
    let serving = Serving::start_with(command, &[]);
    assert!(serving.start.contains("tasks of SFN go to http://127.0.0.1:"), "{}", serving.start);
    assert!(serving.start.contains("(this server)"), "{}", serving.start);
    let list = json!({"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:sfn:listStateMachines", "Parameters": {},
        "End": true});
    let list = create(&serving, "list", "EXPRESS", &list);
    let (_, body) = serving.ask("StartSyncExecution", &json!({"stateMachineArn": list}).to_string());
    assert!(body.contains("SUCCEEDED") && body.contains("stateMachine:list"), "{body}");
}

#[test]
fn what_aws_has_is_accepted_where_it_is_not_supported_and_nothing_else() {
    let serving = Serving::start(&["--accept-unsupported"]);
    for (resource, parameters, is_accepted) in [
        ("aws-sdk:s3:getObject", json!({"Bucket": "b", "Key": "k"}), true),
        ("ecs:runTask", json!({"TaskDefinition": "t"}), true),
        ("aws-sdk:dynamodb:listTables", json!({}), true),
        ("aws-sdk:amplify:listApps", json!({}), true),
        ("aws-sdk:s33:getObject", json!({}), false),
        ("aws-sdk:dynamodb:getItems", json!({}), false),
        ("aws-sdk:events:putEvents", json!({}), false),
        ("nats:publish", json!({}), false),
    ] {
        let state = json!({"Type": "Task", "Resource": format!("arn:aws:states:::{resource}"), "Parameters": parameters,
            "End": true});
        let request = json!({"name": resource.replace(':', "-"), "type": "EXPRESS",
            "roleArn": "arn:aws:iam::123456789012:role/r",
            "definition": json!({"StartAt": "S", "States": {"S": state}}).to_string()});
        let (status, body) = serving.ask("CreateStateMachine", &request.to_string());
        assert_eq!(status == 200, is_accepted, "{resource}: {body}");
    }
}
