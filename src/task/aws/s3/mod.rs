//! The data of distributed Maps in S3: objects, lists of objects, results (developer guide, "ItemReader", "ResultWriter").
//!
//! Requests are made on the shard that polls the data, over its connections. An object is read in ranges, each with the
//! tag of the first one, so that versions of an object are never mixed.

mod list;
mod object;
mod upload;

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::utf8_percent_encode;
use serde_json::{Value as Json, json};
use tokio::time::{sleep, timeout};

use super::answer;
use super::caller::Caller;
use super::http1::Reply;
use super::percent::{UNRESERVED, encode_path};
use super::query_protocol::Element;
use super::request::{CallError, Draft};
use super::settings::Settings;
use super::sign;
use crate::models::{Location, Member, Naming};
use crate::random;
use crate::task::data::{DataStore, Sink, Source};

/// How often a request is sent that gets no answer.
const TRIES_MAX: u32 = 6;
/// The longest pause before the second try; it doubles.
const PAUSE: Duration = Duration::from_millis(50);
/// The time limit of one try, up to the end of its answer; after that it counts as failed.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// Bytes of an answer other than an object.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// A pending request to S3.
type Asked<T> = Pin<Box<dyn Future<Output = Result<T, String>>>>;

/// The stores of S3, by the resources that name them.
pub(super) fn stores(settings: &Arc<Settings>) -> Vec<(String, Arc<dyn DataStore>)> {
    let objects: Arc<dyn DataStore> = Arc::new(Objects(Arc::clone(settings)));
    let lists: Arc<dyn DataStore> = Arc::new(Lists(Arc::clone(settings)));
    let of = |partition: &str| {
        [("getObject", &objects), ("listObjectsV2", &lists), ("putObject", &objects)]
            .map(|(action, store)| (format!("arn:{partition}:states:::s3:{action}"), Arc::clone(store)))
    };
    ["aws", "aws-cn", "aws-us-gov"].into_iter().flat_map(of).collect()
}

/// Objects that are read and written.
struct Objects(Arc<Settings>);

/// Lists of objects, one JSON object per line.
struct Lists(Arc<Settings>);

impl DataStore for Objects {
    fn read(&self, arguments: &Json) -> Result<Box<dyn Source>, String> {
        let bucket = Bucket::of(&self.0, arguments)?;
        let version = text(arguments, "VersionId")?;
        Ok(Box::new(object::Object::new(bucket, required(arguments, "Key")?, version)))
    }

    fn write(&self, arguments: &Json, name: &str) -> Result<Box<dyn Sink>, String> {
        let bucket = Bucket::of(&self.0, arguments)?;
        let key = key(text(arguments, "Prefix")?.unwrap_or(""), name);
        Ok(Box::new(upload::Upload::new(bucket, &key)))
    }

    fn place(&self, arguments: &Json, name: &str) -> Json {
        let prefix = arguments.get("Prefix").and_then(Json::as_str).unwrap_or("");
        json!({"Bucket": arguments.get("Bucket"), "Key": key(prefix, name)})
    }

    fn listed(&self, arguments: &Json, name: &str) -> Json {
        json!({"Key": self.place(arguments, name)["Key"]})
    }
}

impl DataStore for Lists {
    fn read(&self, arguments: &Json) -> Result<Box<dyn Source>, String> {
        let bucket = Bucket::of(&self.0, arguments)?;
        Ok(Box::new(list::List::new(bucket, text(arguments, "Prefix")?.unwrap_or(""))))
    }

    fn write(&self, _: &Json, _: &str) -> Result<Box<dyn Sink>, String> {
        Err("Results are written by arn:aws:states:::s3:putObject".to_owned())
    }

    fn place(&self, arguments: &Json, _: &str) -> Json {
        arguments.clone()
    }
}

fn key(prefix: &str, name: &str) -> String {
    if prefix.is_empty() || prefix.ends_with('/') {
        format!("{prefix}{name}")
    } else {
        format!("{prefix}/{name}")
    }
}

fn text<'a>(arguments: &'a Json, name: &str) -> Result<Option<&'a str>, String> {
    match arguments.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("The field '{name}' must be a string")),
    }
}

fn required<'a>(arguments: &'a Json, name: &str) -> Result<&'a str, String> {
    let text = text(arguments, name)?.filter(|text| !text.is_empty());
    text.ok_or_else(|| format!("The field '{name}' is required but was missing"))
}

/// Whether a bucket's name can be part of a host's: a certificate does not cover names with additional dots.
pub(super) fn is_host(bucket: &str) -> bool {
    let is_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (3..=63).contains(&bucket.len()) && bucket.bytes().all(is_label)
}

/// What the host of S3 Control begins with: the account, if this member is it.
///
/// # Errors
/// When the member leads to another service, which is not called.
pub(super) fn control_host(member: &Member, value: &str) -> Result<Option<String>, String> {
    let is_outpost = member.wire == "x-amz-outpost-id" || value.contains(":s3-outposts:");
    let is_directory = member.location == Location::Path && value.ends_with("--xa-s3");
    if is_outpost || is_directory {
        let name = member.name(Naming::Java);
        return Err(format!(
            "The field '{name}' names something of S3 on Outposts, or an access point of a directory bucket, which are \
             not called here"
        ));
    }
    let is_account = member.wire == "x-amz-account-id" && is_label(value);
    Ok(is_account.then(|| format!("{value}.s3-control")))
}

fn is_label(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(is_part) && !text.starts_with('-')
}

/// A bucket and how to reach it.
#[derive(Debug)]
pub(super) struct Bucket {
    caller: Caller,
    /// The prefix of keys: the bucket's name, if it is not in the host.
    root: String,
    owner: Option<String>,
}

/// A request to a bucket.
#[derive(Debug, Default)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    /// A key; empty for the bucket itself.
    pub(super) key: String,
    /// By name, in the order of names; not encoded.
    pub(super) query: Vec<(&'static str, String)>,
    /// In lower case.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// Bytes of the answer's body; 0 for the limit of answers other than objects.
    pub(super) bytes_max: usize,
}

impl Bucket {
    pub(super) fn of(settings: &Settings, arguments: &Json) -> Result<Arc<Bucket>, String> {
        let name = required(arguments, "Bucket")?;
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if !(3..=255).contains(&name.len()) || !name.bytes().all(is_letter) || name.contains("..") {
            return Err(format!("The bucket '{name}' has no valid name"));
        }
        let (host, root) = if settings.endpoint("S3").is_none() && is_host(name) {
            (format!("{name}.s3"), String::new())
        } else {
            ("s3".to_owned(), format!("/{name}"))
        };
        let caller = Caller::new(settings, "S3", &host, "s3", None)?;
        let owner = text(arguments, "ExpectedBucketOwner")?.map(str::to_owned);
        Ok(Arc::new(Bucket { caller, root, owner }))
    }

    /// Retries until there is a final answer: its status shows whether it is a refusal.
    async fn ask(&self, ask: Ask) -> Result<Reply, String> {
        let Ask { method, key, query, headers, body, bytes_max } = ask;
        let mut draft = Draft { body, ..Draft::default() };
        draft.path.push_str(&self.root);
        draft.path.push('/');
        draft.path.extend(encode_path(&key));
        for (n, (name, value)) in query.iter().enumerate() {
            draft.query.push_str(if n > 0 { "&" } else { "" });
            draft.query.push_str(name);
            draft.query.push('=');
            draft.query.extend(utf8_percent_encode(value, UNRESERVED));
        }
        draft.headers.extend(headers.into_iter().map(|(name, value)| (name, Cow::Owned(value))));
        draft.headers.extend(self.owner.clone().map(|it| ("x-amz-expected-bucket-owner", it.into())));
        draft.headers.push(("x-amz-content-sha256", sign::body_hash(&draft.body).into()));
        let bytes_max = if bytes_max == 0 { ANSWER_BYTES_MAX } else { bytes_max };
        let mut tries = 1;
        loop {
            let why = match timeout(ANSWER_TIME_MAX, self.caller.send(method, &draft, bytes_max)).await {
                Ok(Ok(reply)) if !passes(&reply) => return Ok(reply),
                Ok(Ok(reply)) => refusal(&reply),
                Ok(Err(CallError::TooLarge)) => {
                    return Err(format!("S3 answers more than the {bytes_max} bytes that may be read"));
                }
                Ok(Err(CallError::Client(why))) => why,
                Err(_) => format!("S3 did not answer within {} s", ANSWER_TIME_MAX.as_secs()),
            };
            if tries == TRIES_MAX {
                return Err(why);
            }
            // Between half and all of it, so that clients that were refused together do not retry together.
            let pause = PAUSE * 2u32.pow(tries - 1);
            sleep(pause / 2 + pause.mul_f64((random::next() % 512) as f64 / 1_024.0)).await;
            tries += 1;
        }
    }

    /// A request whose refusal fails the Map Run.
    pub(super) async fn get(&self, ask: Ask) -> Result<Reply, String> {
        let reply = self.ask(ask).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(refusal(&reply)) }
    }
}

/// Whether a retry may succeed.
fn passes(reply: &Reply) -> bool {
    let status = reply.status.as_u16();
    let has_failed = matches!(status, 429 | 500 | 502 | 503 | 504);
    let is_slow =
        |code: &str| ["SlowDown", "InternalError", "RequestTimeout", "ServiceUnavailable"].contains(&code);
    // A long operation may fail after a head with success.
    has_failed || (matches!(status, 200 | 400) && error(reply).is_some_and(|it| is_slow(it.text_of("Code"))))
}

/// The error in an answer of S3.
pub(super) fn error(reply: &Reply) -> Option<Element> {
    // Objects may have any content, and are not parsed here.
    let is_xml = reply.fields.get("content-type").is_some_and(|it| it.contains("xml"));
    let is_answer = is_xml && reply.fields.get("content-range").is_none();
    let root = if is_answer { Element::parse(&reply.body)? } else { return None };
    (root.name == "Error").then_some(root)
}

/// The cause of a refusal by S3, in the words of AWS's SDK (recorded for `aws-sdk:s3`).
pub(super) fn refusal(reply: &Reply) -> String {
    let root = Element::parse(&reply.body).filter(|root| root.name == "Error");
    let id = answer::request_id(&reply.fields);
    let extended = reply.fields.get("x-amz-id-2").unwrap_or("null");
    let status = reply.status.as_u16();
    let details =
        format!("(Service: S3, Status Code: {status}, Request ID: {id}, Extended Request ID: {extended})");
    // Measured: without a message of S3, the details are in its place.
    match root.as_ref().map_or("", |root| root.text_of("Message")) {
        "" => format!("{details} (SDK Attempt Count: 1) {details}"),
        message => format!("{message} {details}"),
    }
}
