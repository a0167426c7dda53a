//! SQS: queues as sources and sinks, standard and FIFO, of AWS or of compatible services.
//!
//! Processes that receive from one queue share its messages. A message is deleted after its output is published; one
//! that is given back becomes visible after its delay, in whole seconds; while an execution takes long, its message is
//! kept invisible. The number of deliveries can also be bounded by a redrive policy of the queue itself: it must allow
//! more receives than the pipeline makes attempts, or messages go to the queue's own dead letters first.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::address::without_credentials;
use super::event::{
    Backlog, Batch, Disposition, Later, Outputs, PipeError, Provenance, Receipts, Room, Sink, Source,
};
use crate::task::aws::{Client, ClientError, Integrations};

/// A queue.
#[derive(Clone, Debug)]
pub struct Sqs {
    client: Client,
    url: Arc<str>,
    /// The last part of the URL.
    name: Arc<str>,
}

/// Messages of one request, by AWS's limits.
const MESSAGES_MAX: usize = 10;
/// Bytes of one message, and of all of one request.
const BYTES_MAX: usize = 1 << 20;
/// The longest that a queue waits for messages.
const WAIT_SECONDS_MAX: u64 = 20;
/// The longest that a message can be invisible.
const VISIBILITY_SECONDS_MAX: u64 = 43_200;
/// How often the rest of a partly failed request is sent again before the queue counts as unreachable.
const TRIES: u32 = 5;
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Errors about a message itself. All others, about the queue, credentials or permissions, someone can put right.
const ABOUT_MESSAGES: [&str; 6] = [
    "BatchRequestTooLong",
    "InvalidMessageContents",
    "InvalidParameterValue",
    "MessageTooLong",
    "InvalidAttributeValue",
    "MissingParameter",
];

/// Whether outputs are refused for ever, by the code of an error, with or without a namespace.
fn is_about_messages(code: &str) -> bool {
    ABOUT_MESSAGES.contains(&code.rsplit(['.', '#']).next().unwrap_or(code))
}

/// Whether the code of an error says that there is no such queue.
fn is_absent(code: &str) -> bool {
    code.contains("NonExistentQueue") || code.contains("QueueDoesNotExist")
}

impl Sqs {
    /// A queue by its URL. Endpoint, region and credentials are those of service tasks; the URL of a queue of AWS names
    /// the region.
    ///
    /// # Errors
    /// When that is not the URL of a queue.
    pub fn queue(integrations: &Integrations, url: &str) -> Result<Sqs, PipeError> {
        let refused = |why: String| PipeError::Refused(format!("SQS: the queue '{url}': {why}"));
        let (scheme, place) = url.split_once("://").unwrap_or_default();
        let (host, path) = place.split_once('/').unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        if !matches!(scheme, "http" | "https") || host.is_empty() || name.is_empty() {
            return Err(refused("it is not the URL of a queue".to_owned()));
        }
        let region = host.strip_prefix("sqs.").filter(|rest| rest.contains(".amazonaws.com"));
        let region = region.and_then(|rest| rest.split('.').next());
        let client = Client::sqs(integrations, region).map_err(refused)?;
        Ok(Sqs { client, url: url.into(), name: name.into() })
    }

    /// Its messages as events. Those of a FIFO queue have their group as the ordering key.
    pub fn source(&self) -> SqsSource {
        let (visibility, wait) = (Duration::from_secs(30), Duration::from_secs(WAIT_SECONDS_MAX));
        let (polls, kept, failed) = (JoinSet::new(), Vec::new(), false);
        SqsSource { queue: self.clone(), visibility, wait, receivers: 4, polls, kept, failed }
    }

    /// A sink that sends messages. To a FIFO queue, they go in the group that is the event's key, else in one group, and
    /// with ids by which the queue drops those that are sent twice within five minutes.
    pub fn sink(&self) -> SqsSink {
        SqsSink { queue: self.clone() }
    }

    /// Whether the queue answers: it is asked for an attribute. That asking is not permitted is an answer, too.
    ///
    /// # Errors
    /// When there is no such queue, or no answer.
    pub async fn check(&self) -> Result<(), PipeError> {
        match self.call("GetQueueAttributes", json!({ "AttributeNames": ["QueueArn"] })).await {
            Err(error @ ClientError::Unanswered(_)) => Err(self.trouble(error)),
            Err(ClientError::Refused { code, message }) if is_absent(&code) => {
                Err(PipeError::Absent(self.refusal(&code, &message)))
            }
            Ok(_) | Err(ClientError::Refused { .. }) => Ok(()),
        }
    }

    fn trouble(&self, error: ClientError) -> PipeError {
        match error {
            ClientError::Unanswered(text) => PipeError::Away(format!("SQS: {text}")),
            ClientError::Refused { code, message } if is_absent(&code) => {
                PipeError::Absent(self.refusal(&code, &message))
            }
            ClientError::Refused { code, message } => PipeError::Refused(self.refusal(&code, &message)),
        }
    }

    /// A refusal in the service's words, and what to do about a queue that does not exist.
    fn refusal(&self, code: &str, message: &str) -> String {
        let said = format!("SQS: {code}: {message}");
        if is_absent(code) {
            let fifo = if self.is_fifo() { " --attributes FifoQueue=true" } else { "" };
            let said = said.trim_end_matches('.');
            // Not all versions of that command take the endpoint of an emulator from the environment.
            let server = self.url.strip_suffix(&*self.name).filter(|it| !it.contains(".amazonaws.com/"));
            let server = server.and_then(|server| Some(server.match_indices('/').nth(2)?.0));
            let server = server.map_or_else(String::new, |end| {
                format!(" --endpoint-url {}", without_credentials(&self.url[..end]))
            });
            format!("{said}; create it: aws{server} sqs create-queue --queue-name {}{fifo}", self.name)
        } else {
            said
        }
    }

    fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }

    async fn call(&self, operation: &'static str, mut body: Json) -> Result<Json, ClientError> {
        body["QueueUrl"] = Json::from(&*self.url);
        self.client.call(operation, &body).await
    }

    /// Calls an operation on entries, and repeats it for those that failed because of the service.
    async fn call_on_entries(
        &self,
        operation: &'static str,
        mut entries: Vec<Json>,
    ) -> Result<(), PipeError> {
        let mut wait = TRY_AGAIN;
        for _ in 0..TRIES {
            let answer = match self.call(operation, json!({ "Entries": entries })).await {
                Err(ClientError::Refused { code, message }) if !is_about_messages(&code) => {
                    return Err(PipeError::Away(self.refusal(&code, &message)));
                }
                answer => answer.map_err(|error| self.trouble(error))?,
            };
            let failed: Vec<Failed> = match answer.get("Failed") {
                Some(failed) => Vec::deserialize(failed)
                    .map_err(|error| PipeError::Away(format!("SQS: the answer to {operation}: {error}")))?,
                None => return Ok(()),
            };
            if let Some(wrong) = failed.iter().find(|failed| failed.sender_fault) {
                let Failed { code, message, .. } = wrong;
                let why = format!("SQS: {code}: {message}");
                return Err(if is_about_messages(code) {
                    PipeError::Refused(why)
                } else {
                    PipeError::Away(why)
                });
            }
            entries.retain(|entry| failed.iter().any(|failed| entry["Id"] == *failed.id));
            if entries.is_empty() {
                return Ok(());
            }
            sleep(wait).await;
            wait *= 2;
        }
        Err(PipeError::Away(format!("SQS: {operation} left {} entries", entries.len())))
    }
}

/// An entry of a request that the service did not accept.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    id: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    sender_fault: bool,
}

// ---- receiving ----

/// Messages of a queue.
pub struct SqsSource {
    queue: Sqs,
    visibility: Duration,
    wait: Duration,
    receivers: usize,
    /// Requests that wait for messages; they continue to wait between two calls of `receive`.
    polls: JoinSet<Result<Received, ClientError>>,
    /// Received messages that are not handed over yet.
    kept: Vec<Received>,
    /// Whether the last call failed.
    failed: bool,
}

/// Messages that came together.
struct Received {
    at: Instant,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    message_id: String,
    receipt_handle: String,
    body: String,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Attributes {
    approximate_receive_count: Option<String>,
    message_group_id: Option<String>,
}

impl std::fmt::Debug for SqsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqsSource").field("queue", &self.queue.name).finish_non_exhaustive()
    }
}

impl SqsSource {
    /// How long a message may stay unacknowledged before it is given to another consumer; 30 s by default, whole
    /// seconds, at least 1 s and at most 12 h.
    #[must_use]
    pub fn visibility(mut self, visibility: Duration) -> SqsSource {
        self.visibility = Duration::from_secs(visibility.as_secs().clamp(1, VISIBILITY_SECONDS_MAX));
        self
    }

    /// How long a request for messages waits on an empty queue (`WaitTimeSeconds`); 20 s by default, whole seconds, at
    /// most 20 s.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> SqsSource {
        self.wait = Duration::from_secs(wait.as_secs().min(WAIT_SECONDS_MAX));
        self
    }

    /// How many requests wait for messages in parallel, each for ten at most; 4 by default.
    #[must_use]
    pub fn receivers(mut self, receivers: usize) -> SqsSource {
        self.receivers = receivers.clamp(1, 256);
        self
    }

    async fn fill(&mut self, room: Room) -> Result<Batch, PipeError> {
        self.forget_old();
        while self.kept.is_empty() {
            self.poll_one(room).await?;
            self.forget_old();
            if self.kept.is_empty() && self.failed {
                // It works again, although nothing comes.
                return Ok(self.hand_over());
            }
        }
        let until = Instant::now() + room.linger;
        while self.kept.iter().map(|received| received.messages.len()).sum::<usize>() < room.events {
            let left = until.saturating_duration_since(Instant::now());
            // Messages that have arrived are included; a persistent error comes again.
            let polled = if left.is_zero() {
                self.poll_one(room).now_or_never()
            } else {
                timeout(left, self.poll_one(room)).await.ok()
            };
            if !matches!(polled, Some(Ok(()))) {
                break;
            }
        }
        Ok(self.hand_over())
    }

    /// Waits for the next answer. Dropping the future is safe.
    async fn poll_one(&mut self, room: Room) -> Result<(), PipeError> {
        let wanted = room.events.div_ceil(MESSAGES_MAX).clamp(1, self.receivers);
        while self.polls.len() < wanted {
            let messages = room.events.min(MESSAGES_MAX);
            // After a failure, it shows soon whether the queue answers again.
            let wait = if self.failed { Duration::ZERO } else { self.wait };
            self.polls.spawn(receive(self.queue.clone(), self.visibility, wait, messages));
        }
        match self.polls.join_next().await {
            Some(Ok(Ok(received))) => {
                if !received.messages.is_empty() {
                    self.kept.push(received);
                }
                Ok(())
            }
            Some(Ok(Err(error))) => Err(self.queue.trouble(error)),
            Some(Err(error)) => Err(PipeError::Away(format!("SQS: {error}"))),
            None => Ok(()),
        }
    }

    /// Drops messages that were held for half of their visibility timeout, because there was no room for them: they are
    /// redelivered.
    fn forget_old(&mut self) {
        let half = self.visibility / 2;
        self.kept.retain(|received| received.at.elapsed() < half);
    }

    fn hand_over(&mut self) -> Batch {
        let messages: Vec<Message> =
            std::mem::take(&mut self.kept).into_iter().flat_map(|received| received.messages).collect();
        let mut receipts = Vec::with_capacity(messages.len());
        let mut bodies = Vec::with_capacity(messages.len());
        for Message { message_id, receipt_handle, body, attributes } in messages {
            let deliveries = attributes.approximate_receive_count.and_then(|count| count.parse().ok());
            receipts.push(Receipt {
                id: message_id,
                handle: receipt_handle,
                deliveries: deliveries.unwrap_or(1),
            });
            bodies.push((body, attributes.message_group_id));
        }
        let (queue, visibility) = (self.queue.clone(), self.visibility);
        let mut batch = Batch::new(Box::new(SqsReceipts { queue, visibility, receipts }));
        for (body, group) in &bodies {
            // A batch is far below 4 GiB: so many messages of 1 MiB are not received at once.
            let _: bool = batch.push(body.as_bytes(), group.as_deref());
        }
        batch
    }
}

/// Sends one request for messages, and waits for some.
async fn receive(
    queue: Sqs,
    visibility: Duration,
    wait: Duration,
    messages: usize,
) -> Result<Received, ClientError> {
    let attributes = ["ApproximateReceiveCount", "MessageGroupId"];
    let body = json!({
        "MaxNumberOfMessages": messages,
        "WaitTimeSeconds": wait.as_secs(),
        "VisibilityTimeout": visibility.as_secs(),
        "MessageSystemAttributeNames": attributes,
        // The old name, the only one that some servers know.
        "AttributeNames": attributes,
    });
    let answer = queue.call("ReceiveMessage", body).await?;
    let at = Instant::now();
    let messages = match answer.get("Messages") {
        None | Some(Json::Null) => Vec::new(),
        Some(messages) => Vec::deserialize(messages)
            .map_err(|error| ClientError::Unanswered(format!("the answer to ReceiveMessage: {error}")))?,
    };
    Ok(Received { at, messages })
}

impl Source for SqsSource {
    fn receive(&mut self, room: Room) -> Later<'_, Result<Option<Batch>, PipeError>> {
        Box::pin(async move {
            let filled = self.fill(room).await;
            self.failed = filled.is_err();
            filled.map(Some)
        })
    }

    fn address(&self) -> String {
        without_credentials(&self.queue.url)
    }

    fn backlog(&self) -> Option<Arc<dyn Backlog>> {
        Some(Arc::new(SqsBacklog(self.queue.clone())))
    }
}

/// Visible messages, which SQS counts approximately.
struct SqsBacklog(Sqs);

impl Backlog for SqsBacklog {
    fn events(&self) -> Later<'_, Result<Option<u64>, PipeError>> {
        const NAME: &str = "ApproximateNumberOfMessages";
        Box::pin(async move {
            let answer = self.0.call("GetQueueAttributes", json!({ "AttributeNames": [NAME] })).await;
            let answer = answer.map_err(|error| self.0.trouble(error))?;
            Ok(answer["Attributes"][NAME].as_str().and_then(|number| number.parse().ok()))
        })
    }
}

struct SqsReceipts {
    queue: Sqs,
    visibility: Duration,
    receipts: Vec<Receipt>,
}

struct Receipt {
    id: String,
    handle: String,
    deliveries: u32,
}

impl SqsReceipts {
    /// Calls an operation on messages, as many at a time as the queue accepts.
    async fn on_messages(
        &self,
        operation: &'static str,
        messages: impl Iterator<Item = (u32, Option<u64>)>,
    ) -> Result<(), PipeError> {
        let entries: Vec<Json> = messages
            .filter_map(|(event, visibility)| {
                let receipt = self.receipts.get(event as usize)?;
                let mut entry = json!({ "Id": event.to_string(), "ReceiptHandle": receipt.handle });
                if let Some(seconds) = visibility {
                    entry["VisibilityTimeout"] = seconds.into();
                }
                Some(entry)
            })
            .collect();
        let calls =
            entries.chunks(MESSAGES_MAX).map(|some| self.queue.call_on_entries(operation, some.to_vec()));
        join_all(calls).await.into_iter().collect()
    }
}

impl Receipts for SqsReceipts {
    fn provenance(&self, n: usize) -> Provenance {
        let (id, deliveries) =
            self.receipts.get(n).map_or_else(Default::default, |it| (it.id.clone(), it.deliveries));
        Provenance { source: self.queue.name.to_string(), id, key: None, deliveries }
    }

    fn deliveries(&self, n: usize) -> u32 {
        self.receipts.get(n).map_or(1, |receipt| receipt.deliveries)
    }

    fn settle<'a>(&'a self, dispositions: &'a [(u32, Disposition)]) -> Later<'a, Result<(), PipeError>> {
        Box::pin(async move {
            let done = dispositions.iter().filter(|(_, disposition)| *disposition == Disposition::Done);
            let deleted = self.on_messages("DeleteMessageBatch", done.map(|(event, _)| (*event, None)));
            let again = dispositions.iter().filter_map(|(event, disposition)| match disposition {
                Disposition::Done => None,
                Disposition::Retry(delay) => Some((*event, Some(seconds(*delay)))),
            });
            let given_back = self.on_messages("ChangeMessageVisibilityBatch", again);
            let (deleted, given_back) = futures_util::future::join(deleted, given_back).await;
            deleted.and(given_back)
        })
    }

    fn extend<'a>(&'a self, events: &'a [u32]) -> Later<'a, Result<(), PipeError>> {
        let visibility = Some(self.visibility.as_secs());
        let messages = events.iter().map(move |event| (*event, visibility));
        Box::pin(self.on_messages("ChangeMessageVisibilityBatch", messages))
    }

    fn visibility_timeout(&self) -> Option<Duration> {
        Some(self.visibility)
    }
}

/// Seconds, rounded up.
fn seconds(delay: Duration) -> u64 {
    (delay.as_secs() + u64::from(delay.subsec_nanos() > 0)).min(VISIBILITY_SECONDS_MAX)
}

// ---- sending ----

/// A queue that outputs are sent to.
#[derive(Clone, Debug)]
pub struct SqsSink {
    queue: Sqs,
}

/// The group of messages whose event has no key.
const GROUP: &str = "expressway";
const GROUP_BYTES_MAX: usize = 128;

impl Sink for SqsSink {
    fn publish<'a>(&'a self, outputs: &'a Outputs<'_>) -> Later<'a, Result<(), PipeError>> {
        Box::pin(async move {
            if let Some(large) = outputs.iter().find(|output| output.body.len() > BYTES_MAX) {
                let bytes = large.body.len();
                return Err(PipeError::Refused(format!(
                    "SQS: a message of {bytes} bytes is larger than the {BYTES_MAX} allowed"
                )));
            }
            let requests = self.requests(outputs);
            if self.queue.is_fifo() {
                // One after the other: their order matters.
                for entries in requests {
                    self.queue.call_on_entries("SendMessageBatch", entries).await?;
                }
                return Ok(());
            }
            let calls =
                requests.into_iter().map(|entries| self.queue.call_on_entries("SendMessageBatch", entries));
            join_all(calls).await.into_iter().collect()
        })
    }

    fn address(&self) -> String {
        without_credentials(&self.queue.url)
    }

    fn check(&self) -> Later<'_, Result<(), PipeError>> {
        Box::pin(self.queue.check())
    }
}

impl SqsSink {
    /// Entries, as many at a time as one request may have.
    fn requests(&self, outputs: &Outputs<'_>) -> Vec<Vec<Json>> {
        let mut requests: Vec<Vec<Json>> = Vec::new();
        let mut bytes = usize::MAX;
        for output in outputs.iter() {
            let mut entry = json!({ "MessageBody": String::from_utf8_lossy(output.body) });
            if self.queue.is_fifo() {
                entry["MessageGroupId"] = group(output.key()).into();
                entry["MessageDeduplicationId"] = digest(&output.event_id()).into();
            }
            let full = requests.last().is_none_or(|entries| entries.len() >= MESSAGES_MAX);
            if full || bytes.saturating_add(output.body.len()) > BYTES_MAX {
                requests.push(Vec::with_capacity(MESSAGES_MAX));
                bytes = 0;
            }
            bytes += output.body.len();
            if let Some(entries) = requests.last_mut() {
                entry["Id"] = entries.len().to_string().into();
                entries.push(entry);
            }
        }
        requests
    }
}

/// A group's name: the key if it is valid as one, else its digest.
fn group(key: Option<&str>) -> String {
    match key {
        None => GROUP.to_owned(),
        Some(key) if key.len() <= GROUP_BYTES_MAX && key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            key.to_owned()
        }
        Some(key) => digest(key),
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
