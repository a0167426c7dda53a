//! Tasks of durable executions send the same key each time that one attempt is made, in the member or header by which
//! services recognize repeated requests; others send none.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use expressway::asl::MachineType;
use expressway::journal::{FolderLock, JournalError, Ownership};
use expressway::runtime::{BuildError, Durable, DurableError, Engine, Machine, MachineSpec, StartOptions};
use expressway::task::aws::{Connections, HttpPolicy, Integrations};
use serde_json::{Value as Json, json};

use crate::server::{Asked, Says, Server};

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Its engine's threads may be about to end, and need another file until then.
        let (begun, mut lock) = (Instant::now(), FolderLock::of(self.0.join("journal")));
        while matches!(lock.claim(), Err(JournalError::Held(_))) && begun.elapsed() < Duration::from_secs(30)
        {
            std::thread::sleep(Duration::from_millis(5));
        }
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

/// What a request has for a key.
#[derive(Clone, Copy, PartialEq)]
enum Key {
    Nothing,
    /// The task's own.
    Given(&'static str),
    /// One of the attempt, in durable executions.
    Durable,
    /// The same; in other executions one that is made for the request, as AWS's SDK does.
    Always,
}

/// The key of a request: in a header, in the query, in a member of its JSON, in an element, or in a form.
fn key(asked: &Asked, member: &str) -> Option<String> {
    if let Some(header) = asked.headers.get(member) {
        return Some(header.clone());
    }
    if let Some((_, query)) = asked.target.split_once('?') {
        let name = format!("{member}=");
        return query.split('&').find_map(|pair| pair.strip_prefix(&*name)).map(str::to_owned);
    }
    let body = String::from_utf8(asked.body.clone()).expect("text");
    if body.starts_with('<') {
        let (_, rest) = body.split_once(&format!("<{member}>"))?;
        return rest.split_once('<').map(|(text, _)| text.to_owned());
    }
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
    let job = json!({"AccountId": "123456789012", "ClientRequestToken": null, "Operation": {}, "Priority": 1,
        "Report": {"Enabled": false}, "RoleArn": "arn:aws:iam::123456789012:role/r"});
    let renamed = json!({"Bucket": "b", "Key": "k", "RenameSource": "b/j"});
    let cluster = json!({"Name": "c", "ContainerProvider": {"Type": "EKS", "Id": "e"}});
    let item = json!({"TableName": "t", "Key": {"k": {"S": "1"}}});
    let template = json!({"LaunchTemplateId": "lt-1", "LaunchTemplateData": {}});
    let cases: [(&str, Json, &str, Key); 14] = [
        ("sqs:sendMessage", queue("q.fifo"), "MessageDeduplicationId", Key::Durable),
        ("sqs:sendMessage", queue("q"), "MessageDeduplicationId", Key::Nothing),
        ("sqs:sendMessage", given, "MessageDeduplicationId", Key::Given("mine")),
        ("sns:publish", topic, "MessageDeduplicationId", Key::Durable),
        ("aws-sdk:secretsmanager:putSecretValue", secret, "ClientRequestToken", Key::Always),
        ("states:startExecution", start, "name", Key::Durable),
        ("dynamodb:getItem", item, "ClientRequestToken", Key::Nothing),
        ("http:invoke", Json::Null, "idempotency-key", Key::Durable),
        ("emr-containers:createVirtualCluster", cluster, "clientToken", Key::Always),
        ("aws-sdk:cloudformation:deleteStack", json!({"StackName": "s"}), "ClientRequestToken", Key::Durable),
        ("aws-sdk:ec2:createLaunchTemplateVersion", template, "ClientToken", Key::Always),
        ("aws-sdk:scheduler:deleteSchedule", json!({"Name": "s"}), "clientToken", Key::Always),
        ("aws-sdk:s3:renameObject", renamed, "x-amz-client-token", Key::Always),
        ("aws-sdk:s3control:createJob", job, "ClientRequestToken", Key::Always),
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
            Key::Nothing => assert_eq!(key_of(&before), None, "{resource} {parameters}"),
            Key::Durable | Key::Always => {
                let key = key_of(&before).unwrap_or_else(|| panic!("{resource} {parameters} has no key"));
                assert_eq!(key.len(), 36, "{key}");
                // Each of them is the first visit of the execution `a`.
                keys.insert(key);
            }
            Key::Given(own) => assert_eq!(key_of(&before).as_deref(), Some(*own)),
        }
        // Executions in memory are run once.
        let memory = second.start_with(&m, "{}".to_owned(), options("b", false)).expect("it begins");
        let asked = silent.asked.recv().expect("a request");
        match wanted {
            Key::Nothing | Key::Durable => assert_eq!(key_of(&asked), None, "{resource}"),
            Key::Given(own) => assert_eq!(key_of(&asked).as_deref(), Some(*own)),
            Key::Always => {
                let key = key_of(&asked).unwrap_or_else(|| panic!("{resource} has no key in memory"));
                assert!(key.len() == 36 && !keys.contains(&key), "{resource}: {key}");
            }
        }
        memory.abort();
        handle.abort();
    }
    assert_eq!(keys.len(), 1, "a key follows from execution and visit: {keys:?}");
}
