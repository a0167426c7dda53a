//! Real wire shapes: SQS, SNS, DynamoDB, EventBridge and others of `moto_server` (PyPI: `moto[server]`), which emulates
//! AWS. `MOTO_SERVER` is the program's path; else it is looked for in `PATH`. If it is absent, a message is printed.

use crate::required::not_run;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use expressway::task::aws::{Credentials, Integrations};
use serde_json::{Value, json};

use crate::ports::Port;
use crate::{failure, output, run};

/// The server of this test run, which ends with it.
pub(crate) struct Moto {
    url: String,
    child: Mutex<Child>,
    _kept: Port,
}

impl Moto {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The tests share one server; the last of them stops it.
pub(crate) fn moto() -> Option<Arc<Moto>> {
    static MOTO: OnceLock<Mutex<std::sync::Weak<Moto>>> = OnceLock::new();
    let mut shared = MOTO.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(moto) = shared.upgrade() {
        return Some(moto);
    }
    let moto = start().map(Arc::new);
    match &moto {
        Some(moto) => *shared = Arc::downgrade(moto),
        None => not_run("moto_server is not installed, so service tasks were not tried against it"),
    }
    moto
}

fn start() -> Option<Moto> {
    let program = std::env::var("MOTO_SERVER").unwrap_or_else(|_| "moto_server".to_owned());
    let kept = Port::free();
    let port = kept.number;
    let child = Command::new(program)
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let moto = Moto { url: format!("http://127.0.0.1:{port}"), child: Mutex::new(child), _kept: kept };
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(120) {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(moto);
        }
        let over = moto.child.lock().ok()?.try_wait().ok()?.is_some();
        assert!(!over, "moto_server ended");
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("moto_server does not listen");
}

fn at(moto: &Moto) -> Integrations {
    let credentials = Credentials::new("testing", "testing", None);
    Integrations::new().endpoint_url(&moto.url).expect("a URL").credentials(credentials)
}

/// The task's result, without metadata.
pub(crate) fn call(moto: &Moto, resource: &str, parameters: Value) -> Value {
    let outcome = run(at(moto), &format!("arn:aws:states:::{resource}"), &parameters);
    let mut output = output(&outcome);
    let has_metadata = !resource.starts_with("aws-sdk") && resource != "events:putEvents";
    if let (Some(object), true) = (output.as_object_mut(), has_metadata) {
        let http = object.remove("SdkHttpMetadata").expect("SdkHttpMetadata");
        assert_eq!(http["HttpStatusCode"], 200);
        let kind = &http["HttpHeaders"]["Content-Type"];
        assert_eq!(http["AllHttpHeaders"]["Content-Type"][0], *kind);
        assert!(object.remove("SdkResponseMetadata").is_some());
    }
    output
}

pub(crate) fn refused(moto: &Moto, resource: &str, parameters: Value) -> (String, String) {
    failure(&run(at(moto), &format!("arn:aws:states:::{resource}"), &parameters))
}

#[test]
fn sqs() {
    let Some(moto) = moto() else { return };
    let queue = call(&moto, "aws-sdk:sqs:createQueue", json!({"QueueName": "orders"}));
    let url = queue["QueueUrl"].as_str().expect("a URL").to_owned();
    let sent = call(
        &moto,
        "sqs:sendMessage",
        json!({"QueueUrl": url, "MessageBody": {"id": 7},
            "MessageAttributes": {"kind": {"DataType": "String", "StringValue": "new"}}}),
    );
    assert_eq!(sent["MD5OfMessageBody"].as_str().map(str::len), Some(32), "{sent}");
    let received = call(
        &moto,
        "aws-sdk:sqs:receiveMessage",
        json!({"QueueUrl": url, "MessageAttributeNames": ["All"], "MaxNumberOfMessages": 1}),
    );
    assert_eq!(received["Messages"][0]["Body"], "{\"id\":7}", "an object goes out as text");
    assert_eq!(received["Messages"][0]["MessageAttributes"]["kind"]["StringValue"], "new");
    assert_eq!(received["Messages"][0]["Md5OfBody"], sent["MD5OfMessageBody"], "SDK names");

    let (error, cause) =
        refused(&moto, "sqs:sendMessage", json!({"QueueUrl": format!("{url}2"), "MessageBody": "x"}));
    assert_eq!(error, "SQS.QueueDoesNotExistException", "{cause}");
    assert!(cause.contains("(Service: AmazonSQS; Status Code: 400; Error Code: "), "{cause}");
    let (error, cause) =
        refused(&moto, "aws-sdk:sqs:sendMessage", json!({"QueueUrl": format!("{url}2"), "MessageBody": "x"}));
    assert_eq!(error, "Sqs.QueueDoesNotExistException", "{cause}");
    assert!(cause.contains("(Service: Sqs, Status Code: 400, Request ID: "), "{cause}");
}

#[test]
fn sns() {
    let Some(moto) = moto() else { return };
    let topic = call(&moto, "aws-sdk:sns:createTopic", json!({"Name": "news"}));
    let arn = topic["TopicArn"].as_str().expect("an ARN").to_owned();
    let queue = call(&moto, "aws-sdk:sqs:createQueue", json!({"QueueName": "readers"}));
    call(
        &moto,
        "aws-sdk:sns:subscribe",
        json!({"TopicArn": arn, "Protocol": "sqs", "Endpoint": "arn:aws:sqs:us-east-1:123456789012:readers",
            "Attributes": {"RawMessageDelivery": "true"}}),
    );
    let published = call(
        &moto,
        "sns:publish",
        json!({"TopicArn": arn, "Message": {"a": "b & <c>"}, "Subject": "ä",
            "MessageAttributes": {"n": {"DataType": "Number", "StringValue": "1"},
                "s": {"DataType": "String", "StringValue": "x=y&z"}}}),
    );
    assert_eq!(published.as_object().map(|it| it.len()), Some(1), "{published}");
    let id = published["MessageId"].as_str().expect("an identifier");
    assert_eq!(id.len(), 36);
    let received = call(
        &moto,
        "aws-sdk:sqs:receiveMessage",
        json!({"QueueUrl": queue["QueueUrl"], "MessageAttributeNames": ["All"]}),
    );
    assert_eq!(received["Messages"][0]["Body"], "{\"a\":\"b & <c>\"}");
    assert_eq!(received["Messages"][0]["MessageAttributes"]["s"]["StringValue"], "x=y&z");
    let topics = call(&moto, "aws-sdk:sns:listTopics", json!({}));
    assert_eq!(topics, json!({"Topics": [{"TopicArn": arn}]}));

    let (error, cause) =
        refused(&moto, "sns:publish", json!({"TopicArn": format!("{arn}2"), "Message": "x"}));
    assert_eq!(error, "SNS.NotFoundException", "{cause}");
    let names = "(Service: AmazonSNS; Status Code: 404; Error Code: NotFound; Request ID: ";
    assert!(cause.contains(names), "{cause}");
    let (error, _) =
        refused(&moto, "aws-sdk:sns:publish", json!({"TopicArn": format!("{arn}2"), "Message": "x"}));
    assert_eq!(error, "Sns.NotFoundException");
}

#[test]
fn dynamodb() {
    let Some(moto) = moto() else { return };
    let created = call(
        &moto,
        "aws-sdk:dynamodb:createTable",
        json!({"TableName": "t", "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}]}),
    );
    let time = created["TableDescription"]["CreationDateTime"].as_str().expect("a time as text").to_owned();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    let item = json!({"id": {"S": "1"}, "deep": {"M": {"lowerCase": {"L": [{"N": "1"}, {"BOOL": true}]}}}});
    assert_eq!(call(&moto, "dynamodb:putItem", json!({"TableName": "t", "Item": item})), json!({}));
    let key = json!({"TableName": "t", "Key": {"id": {"S": "1"}}});
    assert_eq!(call(&moto, "dynamodb:getItem", key.clone()), json!({"Item": item}));
    let updated = call(
        &moto,
        "dynamodb:updateItem",
        json!({"TableName": "t", "Key": {"id": {"S": "1"}}, "UpdateExpression": "set x = :x",
            "ExpressionAttributeValues": {":x": {"N": "5"}}, "ReturnValues": "UPDATED_NEW"}),
    );
    assert_eq!(updated["Attributes"], json!({"x": {"N": "5"}}));
    let found = call(
        &moto,
        "aws-sdk:dynamodb:query",
        json!({"TableName": "t", "KeyConditionExpression": "id = :id",
            "ExpressionAttributeValues": {":id": {"S": "1"}}}),
    );
    assert_eq!(found["Count"], 1);
    // The SDK renames the attribute's `NULL`, which the optimised integration keeps.
    let empty = json!({"id": {"S": "empty"}, "nothing": {"Nul": true}, "list": {"L": [{"Nul": true}]}});
    call(&moto, "aws-sdk:dynamodb:putItem", json!({"TableName": "t", "Item": empty}));
    let of_empty = json!({"TableName": "t", "Key": {"id": {"S": "empty"}}});
    assert_eq!(call(&moto, "aws-sdk:dynamodb:getItem", of_empty.clone())["Item"], empty);
    let kept = json!({"id": {"S": "empty"}, "nothing": {"NULL": true}, "list": {"L": [{"NULL": true}]}});
    assert_eq!(call(&moto, "dynamodb:getItem", of_empty)["Item"], kept);
    assert_eq!(call(&moto, "dynamodb:deleteItem", key.clone()), json!({}));
    assert_eq!(call(&moto, "dynamodb:getItem", key), json!({}));

    let nowhere = json!({"TableName": "nowhere", "Item": {"id": {"S": "1"}}});
    let (error, cause) = refused(&moto, "dynamodb:putItem", nowhere.clone());
    assert_eq!(error, "DynamoDB.ResourceNotFoundException", "{cause}");
    assert!(
        cause
            .contains("(Service: AmazonDynamoDBv2; Status Code: 400; Error Code: ResourceNotFoundException;")
    );
    let (error, cause) = refused(&moto, "aws-sdk:dynamodb:putItem", nowhere);
    assert_eq!(error, "DynamoDb.ResourceNotFoundException", "{cause}");
    // A code that the SDK has no class for.
    let bad = json!({"TableName": "t", "Key": {"wrong": {"S": "1"}}});
    assert_eq!(refused(&moto, "dynamodb:getItem", bad.clone()).0, "DynamoDB.AmazonDynamoDBException");
    assert_eq!(refused(&moto, "aws-sdk:dynamodb:getItem", bad).0, "DynamoDb.DynamoDbException");
}

#[test]
fn eventbridge() {
    let Some(moto) = moto() else { return };
    let entry = json!({"Detail": {"id": 1}, "DetailType": "order", "Source": "shop"});
    let put = call(&moto, "events:putEvents", json!({"Entries": [entry]}));
    assert_eq!(put["FailedEntryCount"], 0, "{put}");
    assert!(put["Entries"][0]["EventId"].is_string(), "{put}");
    let bad = json!({"Entries": [entry, {"Detail": "{}", "DetailType": "order"}]});
    let (error, cause) = refused(&moto, "events:putEvents", bad);
    assert_eq!(error, "EventBridge.FailedEntry");
    let cause: Value = serde_json::from_str(&cause).expect("JSON");
    assert_eq!(cause["FailedEntryCount"], 1, "{cause}");
    assert_eq!(cause["Entries"][1]["ErrorCode"], "InvalidArgument", "{cause}");
}

#[test]
fn other_services_of_the_sdk() {
    let Some(moto) = moto() else { return };
    let created =
        call(&moto, "aws-sdk:secretsmanager:createSecret", json!({"Name": "s", "SecretString": "top"}));
    // `ARN` in the service's model.
    assert!(created["Arn"].as_str().is_some_and(|arn| arn.contains(":secret:s-")), "{created}");
    let got = call(&moto, "aws-sdk:secretsmanager:getSecretValue", json!({"SecretId": "s"}));
    assert_eq!(got["SecretString"], "top");
    let (error, cause) = refused(&moto, "aws-sdk:secretsmanager:getSecretValue", json!({"SecretId": "none"}));
    assert_eq!(error, "SecretsManager.ResourceNotFoundException", "{cause}");

    let identity = call(&moto, "aws-sdk:sts:getCallerIdentity", json!({}));
    assert_eq!(identity["Account"], "123456789012");

    call(&moto, "aws-sdk:kinesis:createStream", json!({"StreamName": "k", "ShardCount": 1}));
    let record = json!({"StreamName": "k", "PartitionKey": "p", "Data": {"n": 1}});
    let put = call(&moto, "aws-sdk:kinesis:putRecord", record);
    let iterator = call(
        &moto,
        "aws-sdk:kinesis:getShardIterator",
        json!({"StreamName": "k", "ShardId": put["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}),
    );
    let records =
        call(&moto, "aws-sdk:kinesis:getRecords", json!({"ShardIterator": iterator["ShardIterator"]}));
    assert_eq!(records["Records"][0]["Data"], "{\"n\":1}", "bytes are text on this side");

    let created = call(
        &moto,
        "aws-sdk:rds:createDBInstance",
        json!({"DbInstanceIdentifier": "db", "DbInstanceClass": "db.m5.large", "Engine": "mysql",
            "AllocatedStorage": 20, "MasterUsername": "me", "MasterUserPassword": "secret99",
            "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}),
    );
    assert_eq!(created["DbInstance"]["AllocatedStorage"], 20, "{created}");
    let described = call(&moto, "aws-sdk:rds:describeDBInstances", json!({"DbInstanceIdentifier": "db"}));
    assert_eq!(described["DbInstances"][0]["TagList"][1], json!({"Key": "b", "Value": "2"}), "{described}");
    let (error, cause) =
        refused(&moto, "aws-sdk:rds:describeDBInstances", json!({"DbInstanceIdentifier": "no"}));
    assert_eq!(error, "Rds.DbInstanceNotFoundException", "{cause}");
    let (error, cause) =
        refused(&moto, "aws-sdk:rds:describeDBInstances", json!({"DBInstanceIdentifier": "db"}));
    assert_eq!(error, "States.Runtime");
    assert!(
        cause.ends_with("[The field \"DBInstanceIdentifier\" is not supported by Step Functions]"),
        "{cause}"
    );
}
