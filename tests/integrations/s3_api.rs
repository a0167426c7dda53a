//! `aws-sdk:s3`: what was recorded on AWS, what is sent, and `moto_server`.

use expressway::runtime::Status;
use expressway::task::aws::{Credentials, Integrations};
use serde_json::{Value, json};

use crate::server::{Asked, Says, Server, answer};
use crate::{corpus, failure, moto, output, run, s3};

const GET: &[(&str, &str)] = &[
    ("Accept-Ranges", "bytes"),
    ("Content-Type", "binary/octet-stream"),
    ("Last-Modified", "Thu, 06 Nov 2025 12:22:04 GMT"),
    ("x-amz-server-side-encryption", "AES256"),
];

fn refusal(status: u16, code: &str, message: &str) -> Says {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let ids = [("x-amz-request-id", "<request_id>"), ("x-amz-id-2", "<extended_request_id>")];
    let mut headers = vec![("Content-Type", "application/xml")];
    headers.extend(ids);
    answer(status, &headers, body)
}

#[test]
fn recorded_calls_are_answered_as_on_aws() {
    let Some(cases) = corpus::cases() else { return };
    let mut tried = 0;
    for case in cases.iter().filter(|case| case["definition"].to_string().contains("aws-sdk:s3:")) {
        let (id, expected) = (case["id"].as_str().expect("an id"), &case["expected"]);
        let is_error = id.contains("no_such");
        if !is_error && case["s3"].is_null() {
            continue;
        }
        let tag = expected["output"]["ETag"].as_str().unwrap_or_default().to_owned();
        let body = case["s3"][0]["body"].as_str().unwrap_or_default().to_owned();
        // Of one object, the corpus has a word in place of the bytes.
        let body = expected["output"]["Body"].as_str().map_or(body, str::to_owned);
        let server = Server::start(move |asked| match asked.target.as_str() {
            target if target.contains("no_such_key") => {
                refusal(404, "NoSuchKey", "The specified key does not exist.")
            }
            "/bucket-name/file_key" => {
                let mut headers = GET.to_vec();
                headers.push(("ETag", &tag));
                answer(200, &headers, body.clone())
            }
            _ => refusal(404, "NoSuchBucket", "The specified bucket does not exist"),
        });
        let outcome = s3::run(&server.url(), &case["definition"], &case["input"]);
        if !is_error {
            let mut found = output(&outcome);
            assert_eq!(found["LastModified"], "2025-11-06T12:22:04Z", "{id}");
            let names: Vec<&String> = found.as_object().expect("an object").keys().collect();
            assert_eq!(names.last().map(|name| name.as_str()), Some("Body"), "{id}: {names:?}");
            found["LastModified"] = json!("<date>");
            assert_eq!(found, expected["output"], "{id}");
            tried += 1;
            continue;
        }
        let history = expected["history"].as_array().expect("events");
        let failed = history.iter().find(|event| event["type"] == "TaskFailed").expect("it failed");
        tried += 1;
        if outcome.status != Status::Succeeded {
            // It was caught by its name, and the state behind that fails without one.
            assert_eq!(outcome.fault.as_ref().and_then(|fault| fault.error.clone()), None, "{id}");
            continue;
        }
        let caught = &output(&outcome)["TaskFailedError"];
        assert_eq!((&caught["Error"], &caught["Cause"]), (&failed["error"], &failed["cause"]), "{id}");
    }
    assert!(tried >= 6, "hardly any recorded call was found: {tried}");
}

fn at(url: &str) -> Integrations {
    let credentials = Credentials::new("testing", "testing", None);
    Integrations::new().endpoint_url(url).expect("a URL").credentials(credentials)
}

fn task(action: &str) -> String {
    format!("arn:aws:states:::aws-sdk:s3:{action}")
}

const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
const NAMESPACE: &str = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

#[test]
fn parameters_are_parts_of_the_path_the_query_headers_and_the_body() {
    let server = Server::start(|_| answer(200, &[], ""));
    let sent = |action: &str, parameters: Value| -> Asked {
        output(&run(at(&server.url()), &task(action), &parameters));
        server.asked.recv().expect("a request")
    };
    let body = |asked: &Asked| String::from_utf8(asked.body.clone()).expect("UTF-8");

    let put = sent(
        "putObject",
        json!({"Bucket": "b1", "Key": "a b/ü+.json", "Body": {"n": 1}, "ContentType": "application/json",
            "Metadata": {"Who": "me"}, "Expires": "2026-11-29T08:49:37Z", "BucketKeyEnabled": true,
            "ContentLength": 99}),
    );
    assert_eq!((put.method.as_str(), put.target.as_str()), ("PUT", "/b1/a%20b/%C3%BC%2B.json"));
    assert_eq!(body(&put), "{\"n\":1}");
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-amz-meta-who", "me"),
        ("expires", "Sun, 29 Nov 2026 08:49:37 GMT"),
        ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
        ("content-length", "7"),
    ] {
        assert_eq!(put.headers.get(name).map(String::as_str), Some(value), "{name}: {:?}", put.headers);
    }
    assert!(put.headers["authorization"].contains("x-amz-meta-who"), "it is signed: {:?}", put.headers);
    assert_eq!(put.headers["x-amz-content-sha256"].len(), 64);

    let list = sent("listObjectsV2", json!({"Bucket": "b1", "Prefix": "a/ü&", "MaxKeys": 2}));
    assert_eq!(
        (list.method.as_str(), list.target.as_str()),
        ("GET", "/b1?list-type=2&max-keys=2&prefix=a%2F%C3%BC%26")
    );

    let delete = sent(
        "deleteObjects",
        json!({"Bucket": "b1", "Delete": {"Quiet": true, "Objects": [{"Key": "<1>"}, {"Key": "2", "VersionId": "v"}]}}),
    );
    assert_eq!((delete.method.as_str(), delete.target.as_str()), ("POST", "/b1?delete="));
    assert_eq!(
        body(&delete),
        format!(
            "{XML}<Delete {NAMESPACE}><Object><Key>&lt;1&gt;</Key></Object><Object><Key>2</Key>\
             <VersionId>v</VersionId></Object><Quiet>true</Quiet></Delete>"
        )
    );
    assert_eq!(delete.headers["x-amz-sdk-checksum-algorithm"], "SHA256");
    assert_eq!(delete.headers["content-type"], "application/xml");

    let acl = sent(
        "putObjectAcl",
        json!({"Bucket": "b1", "Key": "k", "AccessControlPolicy": {"Grants": [
            {"Grantee": {"Type": "CanonicalUser", "Id": "u"}, "Permission": "READ"}]}}),
    );
    assert_eq!(
        body(&acl),
        format!(
            "{XML}<AccessControlPolicy {NAMESPACE}><AccessControlList><Grant><Grantee \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>u</ID></Grantee>\
             <Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>"
        )
    );

    let copy = json!({"SourceBucket": "b 1", "SourceKey": "a/k", "SourceVersionId": "7",
        "DestinationBucket": "b2", "DestinationKey": "k"});
    let copy = sent("copyObject", copy);
    assert_eq!(
        (copy.target.as_str(), copy.headers["x-amz-copy-source"].as_str()),
        ("/b2/k", "b%201/a/k?versionId=7")
    );
    let copy = sent("copyObject", json!({"CopySource": "b1/k", "Bucket": "b2", "Key": "k"}));
    assert_eq!((copy.target.as_str(), copy.headers["x-amz-copy-source"].as_str()), ("/b2/k", "b1/k"));

    for (action, parameters, why) in [
        ("getObject", json!({"Bucket": "", "Key": "k"}), "The field 'Bucket' is required but was missing"),
        (
            "putObject",
            json!({"Bucket": "b", "Key": "k", "Expires": "soon"}),
            "The value of the field 'Expires' has an invalid format",
        ),
        (
            "putObject",
            json!({"Bucket": "b", "Key": "k", "ChecksumAlgorithm": "CRC32"}),
            "The checksum algorithm 'CRC32' is not supported here",
        ),
    ] {
        let definition = json!({"StartAt": "S", "States": {"S": {"Type": "Task", "Resource": task(action),
            "Parameters.$": "$", "End": true}}});
        let definition = definition.to_string().replace("\"Parameters.$\":\"$\"", &{
            let dynamic = parameters.as_object().expect("an object").keys();
            let paths: Vec<String> = dynamic.map(|name| format!("\"{name}.$\":\"$.{name}\"")).collect();
            format!("\"Parameters\":{{{}}}", paths.join(","))
        });
        let definition = serde_json::from_str(&definition).expect("JSON");
        let (error, cause) = failure(&s3::run(&server.url(), &definition, &parameters));
        assert_eq!(error, "States.Runtime", "{cause}");
        assert!(cause.contains(why), "{cause}");
    }
}

#[test]
fn an_answer_with_success_may_be_an_error() {
    let server = Server::start(|_| refusal(200, "InternalError", "We encountered an internal error."));
    let copy = json!({"CopySource": "b1/k", "Bucket": "b2", "Key": "k"});
    let (error, cause) = failure(&run(at(&server.url()), &task("copyObject"), &copy));
    assert_eq!(error, "S3.S3Exception");
    assert!(cause.starts_with("We encountered an internal error. (Service: S3, Status Code: 200"), "{cause}");
    // An object may look like one.
    let got = output(&run(at(&server.url()), &task("getObject"), &json!({"Bucket": "b1", "Key": "k"})));
    assert!(got["Body"].as_str().is_some_and(|body| body.contains("<Code>InternalError</Code>")), "{got}");
}

#[test]
fn buckets_and_objects_of_moto() {
    let Some(moto) = moto::moto() else { return };
    let call = |action: &str, parameters: Value| output(&run(at(moto.url()), &task(action), &parameters));
    let bucket = "the-api-bucket";
    call("createBucket", json!({"Bucket": bucket}));
    assert!(call("listBuckets", json!({}))["Buckets"].to_string().contains(bucket));
    call("getBucketLocation", json!({"Bucket": bucket}));
    let put = call(
        "putObject",
        json!({"Bucket": bucket, "Key": "a/ü 1.json", "Body": {"n": 1}, "Metadata": {"who": "me"}}),
    );
    assert!(put["ETag"].as_str().is_some_and(|tag| tag.starts_with('"')), "{put}");
    let got = call("getObject", json!({"Bucket": bucket, "Key": "a/ü 1.json"}));
    assert_eq!(
        (&got["Body"], &got["ContentLength"], &got["Metadata"]),
        (&json!("{\"n\":1}"), &json!(7), &json!({"who": "me"}))
    );
    let head = call("headObject", json!({"Bucket": bucket, "Key": "a/ü 1.json"}));
    assert_eq!(head["ETag"], put["ETag"]);
    let copied = call(
        "copyObject",
        json!({"CopySource": format!("{bucket}/a/%C3%BC%201.json"), "DestinationBucket": bucket, "DestinationKey": "b"}),
    );
    assert_eq!(copied["CopyObjectResult"]["ETag"], put["ETag"], "{copied}");
    let tags = json!({"TagSet": [{"Key": "k", "Value": "v w"}, {"Key": "l", "Value": ""}]});
    call("putObjectTagging", json!({"Bucket": bucket, "Key": "b", "Tagging": tags}));
    assert_eq!(call("getObjectTagging", json!({"Bucket": bucket, "Key": "b"}))["TagSet"], tags["TagSet"]);
    let acl = call("getObjectAcl", json!({"Bucket": bucket, "Key": "b"}));
    assert_eq!(acl["Grants"][0]["Grantee"]["Type"], "CanonicalUser", "{acl}");
    let rules = json!({"Rules": [{"Id": "r", "Status": "Enabled", "Filter": {"Prefix": "x"}, "Expiration": {"Days": 3}}]});
    call("putBucketLifecycleConfiguration", json!({"Bucket": bucket, "LifecycleConfiguration": rules}));
    let rule = &call("getBucketLifecycleConfiguration", json!({"Bucket": bucket}))["Rules"][0];
    assert_eq!((&rule["Id"], &rule["Expiration"]["Days"]), (&json!("r"), &json!(3)), "{rule}");
    let listed = call("listObjectsV2", json!({"Bucket": bucket, "Prefix": "a/"}));
    assert_eq!(
        (&listed["KeyCount"], &listed["Contents"][0]["Key"]),
        (&json!(1), &json!("a/ü 1.json")),
        "{listed}"
    );
    assert!(
        listed["Contents"][0]["LastModified"].as_str().is_some_and(|time| time.ends_with('Z')),
        "{listed}"
    );
    let deleted = call(
        "deleteObjects",
        json!({"Bucket": bucket, "Delete": {"Objects": [{"Key": "a/ü 1.json"}, {"Key": "b"}]}}),
    );
    assert_eq!(deleted["Deleted"].as_array().map(Vec::len), Some(2), "{deleted}");
    for (action, parameters, name) in [
        ("getObject", json!({"Bucket": bucket, "Key": "b"}), "S3.NoSuchKeyException"),
        ("headObject", json!({"Bucket": bucket, "Key": "b"}), "S3.NoSuchKeyException"),
        ("listObjectsV2", json!({"Bucket": "the-other-bucket"}), "S3.NoSuchBucketException"),
        ("headBucket", json!({"Bucket": "the-other-bucket"}), "S3.NoSuchBucketException"),
        ("getObjectTagging", json!({"Bucket": bucket, "Key": "b"}), "S3.NoSuchKeyException"),
    ] {
        let (error, cause) = failure(&run(at(moto.url()), &task(action), &parameters));
        assert_eq!(error, name, "{action}: {cause}");
        assert!(cause.contains("(Service: S3, Status Code: 404, Request ID: "), "{action}: {cause}");
    }
    call("deleteBucket", json!({"Bucket": bucket}));
}
