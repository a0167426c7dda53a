//! Tasks of durable executions send the same key each time that one attempt is made, in the member or header by which
//! services recognize repeated requests; others send none.

use std::collections::HashSet;
use std::path::PathBuf;

use expressway::asl::MachineType;
use expressway::runtime::{BuildError, Durable, DurableError, Engine, Machine, MachineSpec, StartOptions};
use expressway::task::aws::{Connections, HttpPolicy, Integrations};
use serde_json::{Value as Json, json};

use crate::server::{Asked, Says, Server};

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn engine(folder: &Folder, url: &str, host: &str) -> Engine {
    loop {
        let integrations = Integrations::new().endpoint_url(url).expect("a URL");
        let policy = HttpPolicy { allowed_hosts: vec![host.to_owned()], ..HttpPolicy::default() };
        let basic = json!({"BasicAuthParameters": {"Username": "me", "Password": "secret"}});
        let connections = json!({"a": {"AuthorizationType": "BASIC", "AuthParameters": basic}}).to_string();
        let connections = Connections::parse(connections.as_bytes()).expect("connections");
        let builder = Engine::builder().shards(1).aws(integrations.http(policy).connections(connections));
        match builder.durable(Durable::folder(&folder.0).segment_bytes(1 << 20)).build() {
            Ok(engine) => return engine,
            // The threads of the one before may be about to end still.
            Err(BuildError::Durable(DurableError::Journal(error)))
                if error.to_string().contains("in use") =>
            {
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn machine(engine: &Engine, resource: &str, parameters: &Json) -> Machine {
    let task = json!({"Type": "Task", "Resource": format!("arn:aws:states:::{resource}"), "Parameters": parameters,
        "End": true});
    let definition = json!({"StartAt": "T", "States": {"T": task}}).to_string();
    let spec = MachineSpec { machine_type: MachineType::Standard, ..MachineSpec::new("m", &definition) };
    engine.create(&spec).expect("the definition is valid")
}

fn options(name: &str, is_durable: bool) -> StartOptions {
    StartOptions {
        name: Some(name.into()),
        execution_arn: Some(format!("arn:aws:states:us-east-1:123456789012:execution:m:{name}").into()),
        durable: is_durable.then(Box::default),
        ..StartOptions::default()
    }
}

/// The key of a request: in a header, in a member of its JSON, or in a form.
fn key(asked: &Asked, member: &str) -> Option<String> {
    if member == "idempotency-key" {
        return asked.headers.get(member).cloned();
    }
    let body = String::from_utf8(asked.body.clone()).expect("text");
    if body.starts_with('{') {
        let body: Json = serde_json::from_str(&body).expect("JSON");
        return body.get(member).map(|key| key.as_str().expect("text").to_owned());
    }
    body.split('&').find_map(|pair| pair.strip_prefix(&format!("{member}="))).map(str::to_owned)
}

#[test]
fn a_repeated_task_says_the_same_key_where_the_service_knows_one() {
    let queue = |name: &str| json!({"QueueUrl": format!("http://sqs/1/{name}"), "MessageBody": "x", "MessageGroupId": "g"});
    let machine_arn = "arn:aws:states:us-east-1:123456789012:stateMachine:other";
    let http = |url: &str| json!({"ApiEndpoint": format!("{url}/x"), "Method": "POST", "Authentication": {"ConnectionArn": "a"}});
    let given =
        json!({"QueueUrl": "http://sqs/1/q.fifo", "MessageBody": "x", "MessageDeduplicationId": "mine"});
    let topic = json!({"TopicArn": "arn:aws:sns:us-east-1:123456789012:t.fifo", "Message": "x"});
    let secret = json!({"SecretId": "s", "SecretString": "x"});
    let start = json!({"StateMachineArn": machine_arn, "Input": {}});
    let cases: [(&str, Json, &str, Option<&str>); 8] = [
        ("sqs:sendMessage", queue("q.fifo"), "MessageDeduplicationId", Some("")),
        ("sqs:sendMessage", queue("q"), "MessageDeduplicationId", None),
        ("sqs:sendMessage", given, "MessageDeduplicationId", Some("mine")),
        ("sns:publish", topic, "MessageDeduplicationId", Some("")),
        ("aws-sdk:secretsmanager:putSecretValue", secret, "ClientRequestToken", Some("")),
        ("states:startExecution", start, "name", Some("")),
        ("dynamodb:getItem", json!({"TableName": "t", "Key": {"k": {"S": "1"}}}), "ClientRequestToken", None),
        ("http:invoke", Json::Null, "idempotency-key", Some("")),
    ];
    let mut keys = HashSet::new();
    for (n, (resource, parameters, member, wanted)) in cases.iter().enumerate() {
        let folder = std::env::temp_dir().join(format!("expressway-keys-{n}-{}", std::process::id()));
        let folder = Folder(folder);
        // The first process ends before there is an answer.
        let silent = Server::saying(Says::Nothing);
        // The state machine names the endpoint, so it is at the same address in either process.
        let parameters = if *resource == "http:invoke" { http(&silent.url()) } else { parameters.clone() };
        let first = engine(&folder, &silent.url(), &silent.address.to_string());
        let m = machine(&first, resource, &parameters);
        let handle = first.start_with(&m, "{}".to_owned(), options("a", true)).expect("it begins");
        let before = silent.asked.recv().expect("a request");
        drop((first, m, handle));
        let second = engine(&folder, &silent.url(), &silent.address.to_string());
        let m = machine(&second, resource, &parameters);
        let recovered = second.recovered().into_iter().next().expect("it was recorded");
        let handle = second.resume(&m, recovered, None).expect("it goes on");
        let after = silent.asked.recv().expect("the request once more");
        let key_of = |asked: &Asked| key(asked, member);
        assert_eq!(key_of(&before), key_of(&after), "{resource} {parameters}");
        match wanted {
            None => assert_eq!(key_of(&before), None, "{resource} {parameters}"),
            Some("") => {
                let key = key_of(&before).unwrap_or_else(|| panic!("{resource} {parameters} has no key"));
                assert_eq!(key.len(), 36, "{key}");
                // Each of them is the first visit of the execution `a`.
                keys.insert(key);
            }
            Some(own) => assert_eq!(key_of(&before).as_deref(), Some(*own)),
        }
        // Executions in memory are run once, and send no key.
        let memory = second.start_with(&m, "{}".to_owned(), options("b", false)).expect("it begins");
        let asked = silent.asked.recv().expect("a request");
        assert_eq!(key_of(&asked), wanted.filter(|own| !own.is_empty()).map(str::to_owned), "{resource}");
        memory.abort();
        handle.abort();
    }
    assert_eq!(keys.len(), 1, "a key follows from execution and visit: {keys:?}");
}
