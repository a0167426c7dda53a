//! NATS JetStream: a durable pull consumer as a source, a subject as a sink, and definitions in a key-value bucket.
//!
//! Several processes that name the same durable consumer share its events. A message is acknowledged after its output
//! is published; one that is given back is redelivered after its delay; while an execution takes long, the server is
//! sent progress acknowledgements. Outputs carry an id made of the stream's name, the message's sequence number and its
//! time, so that within the stream's window for duplicates an output that is published twice is kept once. The time is in
//! it because a stream that is created again begins with the first number again.

mod said;

use std::sync::Arc;
use std::time::Duration;

use async_nats::ConnectErrorKind;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::pull::{self, MessagesErrorKind};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, FromConsumer};
use async_nats::jetstream::context::{
    GetStreamByNameErrorKind, GetStreamError, GetStreamErrorKind, KeyValueError, KeyValueErrorKind,
    PublishError, PublishErrorKind,
};
use async_nats::jetstream::message::Acker;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind};
use async_nats::jetstream::{self, AckKind, Context, kv};
use futures_util::{FutureExt, StreamExt};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use self::said::Said;
use super::address::{all_without_credentials, without_credentials};
use super::connection::Connection;
use super::event::{
    Backlog, Batch, Disposition, Later, Outputs, PipeError, Provenance, Receipts, Room, Sink, Source,
};
use crate::os;

/// A connection to a NATS server. It reconnects by itself.
#[derive(Clone, Debug)]
pub struct Nats {
    client: async_nats::Client,
    context: Context,
    /// The servers, without credentials.
    address: Arc<str>,
    said: Arc<Said>,
}

/// How to reach a server.
#[derive(Clone, Debug, Default)]
pub struct NatsOptions {
    /// A file with credentials, as `nsc` writes it.
    pub credentials: Option<std::path::PathBuf>,
    /// A token.
    pub token: Option<String>,
    /// A user's name and password.
    pub user: Option<(String, String)>,
    /// Certificates to trust besides those of the system.
    pub root_certificates: Option<std::path::PathBuf>,
}

/// How a durable consumer is created if it does not exist.
#[derive(Clone, Debug)]
pub struct NatsConsumer {
    /// The stream; it must exist.
    pub stream: String,
    /// The consumer's name. Processes that use the same one share its events.
    pub durable: String,
    /// Only messages of these subjects; empty for all.
    pub subjects: Vec<String>,
    /// How long a message may stay unacknowledged before it is given to another consumer.
    pub ack_wait: Duration,
    /// Messages that may be unacknowledged, of all processes.
    pub ack_pending_max: i64,
}

impl NatsConsumer {
    /// A consumer with 30 s to acknowledge, and 20,000 messages that may be unacknowledged.
    pub fn new(stream: impl Into<String>, durable: impl Into<String>) -> NatsConsumer {
        NatsConsumer {
            stream: stream.into(),
            durable: durable.into(),
            subjects: Vec::new(),
            ack_wait: Duration::from_secs(30),
            ack_pending_max: 20_000,
        }
    }
}

/// Publications whose acknowledgement is awaited at a time, by one connection.
const UNACKNOWLEDGED_MAX: usize = 16_384;
/// How long it may take until acknowledgements are sent.
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// The interval of pings; a server that answers two of them not is given up.
const PING_EVERY: Duration = Duration::from_secs(5);
/// The code of the server's error for a message that is larger than the stream allows.
const TOO_LARGE_FOR_STREAM: &str = "message size exceeds maximum allowed";
/// Messages that are requested at once.
const PULL_MESSAGES: usize = 1_000;

fn away(error: impl std::fmt::Display) -> PipeError {
    PipeError::Away(format!("NATS: {}", os::without_number(&error.to_string())))
}

fn absent(error: impl std::fmt::Display) -> PipeError {
    PipeError::Absent(format!("NATS: {error}"))
}

fn refused(error: impl std::fmt::Display) -> PipeError {
    PipeError::Refused(format!("NATS: {}", os::without_number(&error.to_string())))
}

/// The user and the password, or the token, in a URL, which the client itself does not use.
fn credentials(url: &str) -> Option<(String, Option<String>)> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (own, _) = rest.split('/').next()?.rsplit_once('@')?;
    let text = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some(match own.split_once(':') {
        Some((user, password)) => (text(user), Some(text(password))),
        None => (text(own), None),
    })
}

impl Nats {
    /// Connects to a server, or to one of several (`nats://a:4222,nats://b:4222`). A URL may have a user and a password, or
    /// a token (`nats://user:password@a:4222`), unless the options have any; the first ones hold for all servers.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses the credentials.
    pub async fn connect(url: &str, options: NatsOptions) -> Result<Nats, PipeError> {
        let said = Arc::new(Said::default());
        let hearing = Arc::clone(&said);
        let mut connect = async_nats::ConnectOptions::new()
            .name("expressway")
            .ping_interval(PING_EVERY)
            .event_callback(move |event| {
                hearing.hear(&event);
                std::future::ready(())
            });
        if let Some(file) = &options.credentials {
            connect = connect.credentials_file(file).await.map_err(refused)?;
        }
        let own = options.credentials.is_none() && options.token.is_none() && options.user.is_none();
        match url.split(',').find_map(credentials).filter(|_| own) {
            Some((user, Some(password))) => connect = connect.user_and_password(user, password),
            Some((token, None)) => connect = connect.token(token),
            None => {}
        }
        if let Some(token) = options.token {
            connect = connect.token(token);
        }
        if let Some((user, password)) = options.user {
            connect = connect.user_and_password(user, password);
        }
        if let Some(file) = options.root_certificates {
            connect = connect.add_root_certificates(file);
        }
        let addresses: Vec<String> = url.split(',').map(|url| without_credentials(url.trim())).collect();
        let client = connect.connect(addresses).await.map_err(|error| match error.kind() {
            ConnectErrorKind::ServerParse
            | ConnectErrorKind::Authentication
            | ConnectErrorKind::AuthorizationViolation => refused(error),
            _ => away(error),
        })?;
        let context = jetstream::context::ContextBuilder::new()
            .max_ack_inflight(UNACKNOWLEDGED_MAX)
            .backpressure_on_inflight(true)
            .build(client.clone());
        Ok(Nats { client, context, address: all_without_credentials(url).into(), said })
    }

    /// The events of a durable consumer, which is created if it does not exist.
    ///
    /// # Errors
    /// When there is no such stream, the server does not answer, or the existing consumer has settings that contradict
    /// these.
    pub async fn source(&self, consumer: NatsConsumer) -> Result<NatsSource, PipeError> {
        let stream = self.context.get_stream(&consumer.stream).await;
        let stream = stream.map_err(|error| self.no_stream(&consumer, &error))?;
        let filter_subject = match consumer.subjects.as_slice() {
            [one] => one.clone(),
            _ => String::new(),
        };
        let filter_subjects =
            if consumer.subjects.len() > 1 { consumer.subjects.clone() } else { Vec::new() };
        let config = pull::Config {
            durable_name: Some(consumer.durable.clone()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: consumer.ack_wait,
            max_ack_pending: consumer.ack_pending_max,
            filter_subject,
            filter_subjects,
            ..pull::Config::default()
        };
        let found: Consumer<pull::Config> = stream
            .get_or_create_consumer(&consumer.durable, config)
            .await
            .map_err(|error| self.no_consumer(&consumer.durable, &error))?;
        // An existing consumer keeps its settings.
        let in_force = pull::Config::try_from_consumer_config(found.cached_info().config.clone());
        let visibility_timeout = in_force.map_or(consumer.ack_wait, |config| config.ack_wait);
        let name = Arc::from(format!("{}/{}", consumer.stream, consumer.durable));
        Ok(NatsSource {
            nats: self.clone(),
            wanted: consumer,
            name,
            consumer: found,
            messages: None,
            lost: false,
            kept: None,
            visibility_timeout,
        })
    }

    /// Why a stream cannot be read.
    fn no_stream(&self, consumer: &NatsConsumer, error: &GetStreamError) -> PipeError {
        let name = &consumer.stream;
        let code = match error.kind() {
            GetStreamErrorKind::JetStream(error) => Some(error.error_code()),
            // The server has no subscriber for requests to JetStream.
            GetStreamErrorKind::Request if error.to_string().contains("no responders") => {
                Some(ErrorCode::JETSTREAM_NOT_ENABLED)
            }
            _ => None,
        };
        match code {
            Some(ErrorCode::STREAM_NOT_FOUND) => {
                let subjects = match consumer.subjects.as_slice() {
                    // Those of the stream are not known here: as NATS's own examples have them.
                    [] => format!("{}.>", name.to_lowercase()),
                    subjects => subjects.join(","),
                };
                absent(format!(
                    "there is no stream {name}; create it: nats --server {} stream add {name} --subjects '{subjects}' \
                     --defaults",
                    self.address
                ))
            }
            Some(ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT) => {
                absent(format!("stream {name}: the server has no JetStream; start it with `nats-server -js`"))
            }
            _ if matches!(
                error.kind(),
                GetStreamErrorKind::EmptyName | GetStreamErrorKind::InvalidStreamName
            ) =>
            {
                refused(format!("stream {name}: {error}"))
            }
            _ => away(self.said.explained(&format!("stream {name}: {error}"))),
        }
    }

    /// Why a consumer cannot be made: what the server refuses is wrong for good.
    fn no_consumer(&self, durable: &str, error: &ConsumerError) -> PipeError {
        let text = self.said.explained(&format!("consumer {durable}: {error}"));
        match error.kind() {
            // Errors from 500 on are the server's own: a cluster without a leader, for instance.
            ConsumerErrorKind::JetStream(error) if error.code() < 500 => refused(text),
            ConsumerErrorKind::InvalidConsumerType | ConsumerErrorKind::InvalidName => refused(text),
            _ => away(text),
        }
    }

    /// Why a bucket cannot be read.
    fn no_bucket(&self, bucket: &str, error: &KeyValueError) -> PipeError {
        let of_stream =
            std::error::Error::source(error).and_then(|error| error.downcast_ref::<GetStreamError>());
        let code = of_stream.and_then(|error| match error.kind() {
            GetStreamErrorKind::JetStream(error) => Some(error.error_code()),
            _ => None,
        });
        match (error.kind(), code) {
            (_, Some(ErrorCode::STREAM_NOT_FOUND)) => absent(format!(
                "there is no bucket {bucket}; create it: nats --server {} kv add {bucket}",
                self.address
            )),
            (KeyValueErrorKind::GetBucket, _) => {
                away(self.said.explained(&format!("bucket {bucket}: {error}")))
            }
            _ => refused(format!("bucket {bucket}: {error}")),
        }
    }

    /// The connection, for other purposes: for [tasks](crate::task::nats), for instance.
    pub fn client(&self) -> &async_nats::Client {
        &self.client
    }

    /// A sink that publishes to a subject, which a stream must capture.
    pub fn sink(&self, subject: impl Into<String>) -> NatsSink {
        NatsSink { nats: self.clone(), subject: subject.into(), with_ids: true }
    }

    /// The state of the connection.
    pub fn connection(&self) -> Connection {
        self.said.connection.clone()
    }

    /// The value of a key of a bucket, and all later ones: for definitions that are shared by all processes.
    ///
    /// # Errors
    /// When there is no such bucket.
    pub async fn watch(&self, bucket: &str, key: &str) -> Result<NatsValue, PipeError> {
        let store = self.context.get_key_value(bucket).await;
        let store = store.map_err(|error| self.no_bucket(bucket, &error))?;
        Ok(NatsValue { store, key: key.to_owned(), watch: None, dedup: 0 })
    }
}

/// A value that may change, of a key in a bucket.
pub struct NatsValue {
    store: kv::Store,
    key: String,
    watch: Option<kv::Watch>,
    /// The revision that was returned last.
    dedup: u64,
}

impl std::fmt::Debug for NatsValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsValue").field("key", &self.key).finish_non_exhaustive()
    }
}

impl NatsValue {
    /// Waits for the value: first the present one, then each change.
    ///
    /// # Errors
    /// When the server is unreachable: retry.
    pub async fn next(&mut self) -> Result<Vec<u8>, PipeError> {
        loop {
            if self.watch.is_none() {
                self.watch = Some(self.store.watch_with_history(&self.key).await.map_err(away)?);
            }
            let Some(watch) = &mut self.watch else { continue };
            match watch.next().await {
                Some(Ok(entry)) if entry.operation == kv::Operation::Put && entry.revision > self.dedup => {
                    self.dedup = entry.revision;
                    return Ok(entry.value.to_vec());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    self.watch = None;
                    return Err(away(error));
                }
                None => {
                    self.watch = None;
                    return Err(away("the watch ended"));
                }
            }
        }
    }
}

/// Events of a durable consumer.
pub struct NatsSource {
    nats: Nats,
    wanted: NatsConsumer,
    name: Arc<str>,
    consumer: Consumer<pull::Config>,
    messages: Option<pull::Stream>,
    /// Whether something went wrong: the consumer may have been removed, alone or with its stream.
    lost: bool,
    /// Messages taken by a call that was dropped.
    kept: Option<Vec<jetstream::Message>>,
    visibility_timeout: Duration,
}

impl std::fmt::Debug for NatsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsSource").field("name", &self.name).finish_non_exhaustive()
    }
}

impl NatsSource {
    async fn messages(&mut self) -> Result<&mut pull::Stream, PipeError> {
        if self.lost {
            // The consumer is created again if it is missing; a removed stream may also come back.
            let again = self.nats.source(self.wanted.clone()).await.map_err(|why| match why {
                PipeError::Refused(why) => PipeError::Away(why),
                other => other,
            })?;
            (self.consumer, self.visibility_timeout, self.lost) =
                (again.consumer, again.visibility_timeout, false);
        }
        if self.messages.is_none() {
            let messages = self.consumer.stream().max_messages_per_batch(PULL_MESSAGES).messages().await;
            self.messages = Some(messages.map_err(away)?);
        }
        self.messages.as_mut().ok_or_else(|| away("no messages"))
    }

    /// The next message, if it has arrived; with `wait`, waits for it.
    async fn next(&mut self, wait: Option<Duration>) -> Result<Option<jetstream::Message>, PipeError> {
        let messages = self.messages().await?;
        let next = match wait {
            Some(Duration::ZERO) => match messages.next().now_or_never() {
                Some(next) => next,
                None => return Ok(None),
            },
            Some(wait) => match timeout(wait, messages.next()).await {
                Ok(next) => next,
                Err(_) => return Ok(None),
            },
            None => messages.next().await,
        };
        match next {
            Some(Ok(message)) => Ok(Some(message)),
            Some(Err(error)) => {
                (self.messages, self.lost) = (None, true);
                Err(match error.kind() {
                    MessagesErrorKind::PushBasedConsumer => refused(error),
                    _ => away(error),
                })
            }
            None => {
                (self.messages, self.lost) = (None, true);
                Err(away("the messages ended"))
            }
        }
    }

    async fn fill(&mut self, room: Room) -> Result<Batch, PipeError> {
        if self.lost {
            self.messages().await?;
            return Ok(self.hand_over());
        }
        if self.kept.as_ref().is_none_or(Vec::is_empty)
            && let Some(message) = self.next(None).await?
        {
            self.kept.get_or_insert_default().push(message);
        }
        let until = tokio::time::Instant::now() + room.linger;
        let mut bytes = self.kept.iter().flatten().map(|message| message.payload.len()).sum::<usize>();
        while self.kept.as_ref().map_or(0, Vec::len) < room.events && bytes < room.bytes {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            match self.next(Some(left)).await {
                Ok(Some(message)) => {
                    bytes += message.payload.len();
                    self.kept.get_or_insert_default().push(message);
                }
                // Messages received so far are handed over; a persistent error comes again.
                Ok(None) | Err(_) => break,
            }
        }
        Ok(self.hand_over())
    }

    fn hand_over(&mut self) -> Batch {
        let messages = self.kept.take().unwrap_or_default();
        let mut receipts = Vec::with_capacity(messages.len());
        let mut bodies = Vec::with_capacity(messages.len());
        for message in messages {
            let (sequence, deliveries, published) = match message.info() {
                Ok(info) => {
                    let deliveries = u32::try_from(info.delivered).unwrap_or(1);
                    (info.stream_sequence, deliveries, info.published.unix_timestamp_nanos())
                }
                Err(_) => (0, 1, 0),
            };
            let (message, acker) = message.split();
            bodies.push((message.payload, message.subject));
            receipts.push(Receipt { sequence, deliveries, published, acker });
        }
        let receipts = NatsReceipts {
            client: self.nats.client.clone(),
            name: Arc::clone(&self.name),
            receipts,
            visibility_timeout: self.visibility_timeout,
        };
        let mut batch = Batch::new(Box::new(receipts));
        for (body, subject) in bodies {
            // A batch is far below 4 GiB: `room.bytes` is, and a message has 64 MiB at most.
            let _: bool = batch.push(&body, Some(&subject));
        }
        batch
    }
}

impl Source for NatsSource {
    fn receive(&mut self, room: Room) -> Later<'_, Result<Option<Batch>, PipeError>> {
        Box::pin(async move { self.fill(room).await.map(Some) })
    }

    fn address(&self) -> String {
        format!("{} {}", self.nats.address, self.name)
    }

    fn connection(&self) -> Option<Connection> {
        Some(self.nats.connection())
    }

    fn backlog(&self) -> Option<Arc<dyn Backlog>> {
        Some(Arc::new(NatsBacklog { nats: self.nats.clone(), of: self.wanted.clone() }))
    }
}

/// Messages of a consumer that were not delivered yet.
struct NatsBacklog {
    nats: Nats,
    of: NatsConsumer,
}

impl Backlog for NatsBacklog {
    fn events(&self) -> Later<'_, Result<Option<u64>, PipeError>> {
        Box::pin(async move {
            let stream = self.nats.context.get_stream_no_info(&self.of.stream).await.map_err(away)?;
            let info = stream.consumer_info(&self.of.durable).await.map_err(away)?;
            Ok(Some(info.num_pending))
        })
    }
}

struct NatsReceipts {
    client: async_nats::Client,
    name: Arc<str>,
    receipts: Vec<Receipt>,
    visibility_timeout: Duration,
}

struct Receipt {
    sequence: u64,
    deliveries: u32,
    /// When it was published, in nanoseconds since 1970.
    published: i128,
    acker: Acker,
}

impl Receipts for NatsReceipts {
    fn provenance(&self, n: usize) -> Provenance {
        let (sequence, deliveries) =
            self.receipts.get(n).map_or((0, 1), |receipt| (receipt.sequence, receipt.deliveries));
        Provenance { source: self.name.to_string(), id: sequence.to_string(), key: None, deliveries }
    }

    fn event_id(&self, n: usize) -> String {
        let (sequence, published) = self.receipts.get(n).map_or((0, 0), |it| (it.sequence, it.published));
        format!("{}/{sequence}/{published}", self.name)
    }

    fn deliveries(&self, n: usize) -> u32 {
        self.receipts.get(n).map_or(1, |receipt| receipt.deliveries)
    }

    fn settle<'a>(&'a self, dispositions: &'a [(u32, Disposition)]) -> Later<'a, Result<(), PipeError>> {
        Box::pin(async move {
            for (event, disposition) in dispositions {
                let Some(receipt) = self.receipts.get(*event as usize) else { continue };
                let kind = match disposition {
                    Disposition::Done => AckKind::Ack,
                    Disposition::Retry(delay) if delay.is_zero() => AckKind::Nak(None),
                    Disposition::Retry(delay) => AckKind::Nak(Some(*delay)),
                };
                receipt.acker.ack_with(kind).await.map_err(away)?;
            }
            // After a reconnection the flush may never be answered.
            match timeout(FLUSH_MAX, self.client.flush()).await {
                Ok(flushed) => flushed.map_err(away),
                Err(_) => Err(away("acknowledgements did not reach the server")),
            }
        })
    }

    fn extend<'a>(&'a self, events: &'a [u32]) -> Later<'a, Result<(), PipeError>> {
        Box::pin(async move {
            for event in events {
                if let Some(receipt) = self.receipts.get(*event as usize) {
                    receipt.acker.ack_with(AckKind::Progress).await.map_err(away)?;
                }
            }
            Ok(())
        })
    }

    fn visibility_timeout(&self) -> Option<Duration> {
        Some(self.visibility_timeout)
    }
}

/// A subject that outputs are published to.
#[derive(Clone, Debug)]
pub struct NatsSink {
    nats: Nats,
    subject: String,
    with_ids: bool,
}

impl NatsSink {
    /// Publishes without ids, which is faster, but outputs published twice are kept twice.
    #[must_use]
    pub fn without_ids(mut self) -> NatsSink {
        self.with_ids = false;
        self
    }
}

impl Sink for NatsSink {
    fn publish<'a>(&'a self, outputs: &'a Outputs<'_>) -> Later<'a, Result<(), PipeError>> {
        Box::pin(async move {
            let mut acknowledgements = Vec::with_capacity(outputs.len());
            for output in outputs.iter() {
                let mut publish = PublishMessage::build().payload(output.body.to_vec().into());
                if self.with_ids {
                    publish = publish.message_id(output.event_id());
                }
                let sent = self.nats.context.send_publish(self.subject.clone(), publish).await;
                acknowledgements.push(sent.map_err(|error| self.trouble(&error))?);
            }
            for acknowledgement in acknowledgements {
                acknowledgement.await.map_err(|error| self.trouble(&error))?;
            }
            Ok(())
        })
    }

    fn address(&self) -> String {
        format!("{} {}", self.nats.address, self.subject)
    }

    fn connection(&self) -> Option<Connection> {
        Some(self.nats.connection())
    }

    /// Looks for the stream that captures the subject.
    fn check(&self) -> Later<'_, Result<(), PipeError>> {
        Box::pin(async move {
            match self.nats.context.stream_by_subject(self.subject.clone()).await {
                Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => {
                    Err(absent(self.no_stream()))
                }
                Ok(_) => Ok(()),
                // Who may publish need not be allowed to ask: then this is not answered.
                Err(_) if self.nats.client.connection_state() == async_nats::connection::State::Connected => {
                    Ok(())
                }
                Err(error) => Err(away(self.nats.said.explained(&error.to_string()))),
            }
        })
    }
}

impl NatsSink {
    fn no_stream(&self) -> String {
        let (server, subject) = (&self.nats.address, &self.subject);
        // A stream's name has no points.
        let name = subject.to_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        format!(
            "no stream captures the subject {subject}; create one: nats --server {server} stream add {name} \
             --subjects '{subject}' --defaults"
        )
    }

    fn trouble(&self, error: &PublishError) -> PipeError {
        let text = error.to_string();
        match error.kind() {
            PublishErrorKind::StreamNotFound => away(self.no_stream()),
            PublishErrorKind::MaxPayloadExceeded => refused(text),
            PublishErrorKind::Other if text.contains(TOO_LARGE_FOR_STREAM) => refused(text),
            _ => away(self.nats.said.explained(&text)),
        }
    }
}
