//! Kafka: topics as a source, by a consumer group, and a topic as a sink. By librdkafka.
//!
//! The members of a group share the partitions of its topics. A partition's offset is committed up to the first message
//! that is not settled: messages behind it that are settled already are delivered again when another member takes the
//! partition over. Kafka cannot redeliver single messages, so events are retried here. Nor does it count deliveries: a
//! message counts as redelivered if this process received its offset, or a later one of the partition, before.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tokio::time::{Instant, timeout};

use super::connection::Connection;
use super::event::{
    Backlog, Batch, Disposition, Later, Outputs, PipeError, Provenance, Receipts, Room, Sink, Source,
};

/// A Kafka cluster.
#[derive(Clone, Debug)]
pub struct Kafka {
    config: ClientConfig,
}

/// How long the cluster may take to list its topics: the end of the pipeline waits for a question that is under way.
const CHECK_MAX: Duration = Duration::from_secs(3);
/// How often it is asked for that by one client, if that reports no error: a cluster may be far away.
const QUESTIONS_MAX: u32 = 3;

fn away(error: impl std::fmt::Display) -> PipeError {
    PipeError::Away(format!("Kafka: {error}"))
}

fn refused(error: impl std::fmt::Display) -> PipeError {
    PipeError::Refused(format!("Kafka: {error}"))
}

/// Errors that are permanent.
fn trouble(error: &KafkaError) -> PipeError {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::Fatal) => PipeError::Closed(format!("Kafka: {error}")),
        Some(
            Code::Authentication
            | Code::GroupAuthorizationFailed
            | Code::InvalidArgument
            | Code::InvalidTopic
            | Code::MessageSizeTooLarge
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed,
        ) => refused(error),
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => {
            PipeError::Absent(format!("Kafka: {error}"))
        }
        _ => match error {
            KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_) => {
                refused(error)
            }
            _ => away(error),
        },
    }
}

/// Errors about an output itself. All others, about topics and permissions, someone can put right, and outputs wait for
/// that; but a producer with a fatal error publishes nothing any more.
fn not_published(error: &KafkaError) -> PipeError {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(
            Code::MessageSizeTooLarge | Code::InvalidMessage | Code::InvalidMessageSize | Code::InvalidRecord,
        ) => refused(error),
        Some(Code::Fatal) => PipeError::Closed(format!("Kafka: {error}")),
        _ => away(error),
    }
}

/// The last error that librdkafka reported, which says more than that a question had no answer.
#[derive(Clone, Debug, Default)]
struct Words(Arc<Mutex<Option<Said>>>);

#[derive(Clone, Debug)]
struct Said {
    reason: String,
    /// Whether the servers refuse the credentials.
    refuses: bool,
}

impl Words {
    fn lock(&self) -> MutexGuard<'_, Option<Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, error: &KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let code = error.rdkafka_error_code();
        let refuses = matches!(code, Some(Code::Authentication | Code::SaslAuthenticationFailed));
        let mut said = self.lock();
        // That no server can be reached says less than why one cannot.
        if said.is_none() || code != Some(Code::AllBrokersDown) {
            *said = Some(Said { reason: reason.to_owned(), refuses });
        }
    }

    /// Why the cluster does not answer, if it does not.
    fn explain(&self, answer: Result<(), PipeError>) -> Result<(), PipeError> {
        let mut said = self.lock();
        if answer.is_ok() {
            *said = None;
        }
        answer.map_err(|error| match (error, &*said) {
            (PipeError::Away(_), Some(Said { reason, refuses: true })) => refused(reason),
            (PipeError::Away(why), Some(said)) => PipeError::Away(format!("{why}: {}", said.reason)),
            (error, _) => error,
        })
    }
}

/// What librdkafka reports when no server can be reached, and when credentials are refused.
fn hear(connection: &Connection, error: &KafkaError, reason: &str) {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::AllBrokersDown | Code::Authentication | Code::SaslAuthenticationFailed) => {
            connection.lost(format!("Kafka: {error}: {reason}"));
        }
        // Single servers may be away; the others are used.
        _ => tracing::debug!(error = %error, reason, "librdkafka"),
    }
}

fn is_of_one_server(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve)
}

/// Whether the cluster answers, and has this topic.
fn has_topic<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<(), PipeError> {
    let metadata = client.fetch_metadata(Some(topic), CHECK_MAX).map_err(|error| trouble(&error))?;
    match metadata.topics().iter().find_map(rdkafka::metadata::MetadataTopic::error) {
        Some(error) => Err(match RDKafkaErrorCode::from(error) {
            RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition => {
                let why = format!("there is no topic {topic}: create it, or correct the name");
                PipeError::Absent(format!("Kafka: {why}"))
            }
            // While it is created, for instance.
            RDKafkaErrorCode::LeaderNotAvailable => away(format!("topic {topic}: {error:?}")),
            error => refused(format!("topic {topic}: {error}")),
        }),
        None => Ok(()),
    }
}

impl Kafka {
    /// A cluster by some of its servers: `a:9092,b:9092`.
    pub fn new(servers: impl Into<String>) -> Kafka {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers);
        Kafka { config }
    }

    /// Sets a property of librdkafka, such as `sasl.username`.
    #[must_use]
    pub fn set(mut self, property: impl Into<String>, value: impl Into<String>) -> Kafka {
        self.config.set(property, value);
        self
    }

    /// The messages of topics, as a member of a group. A new group begins with the oldest message. A message's key is
    /// the ordering key.
    ///
    /// # Errors
    /// When there is no such topic, the cluster is unreachable, or a property is invalid.
    pub async fn source(&self, group: &str, topics: &[&str]) -> Result<KafkaSource, PipeError> {
        let mut config = self.config.clone();
        let ours = [
            ("group.id", group),
            // Offsets are committed every second, as far as they are stored; they are stored when events are settled.
            ("enable.auto.commit", "true"),
            ("auto.commit.interval.ms", "1000"),
            ("enable.auto.offset.store", "false"),
        ];
        // It does not poll while there is no room for more events.
        let usual = [("auto.offset.reset", "earliest"), ("max.poll.interval.ms", "900000")];
        let unset = usual.into_iter().filter(|(name, _)| self.config.get(name).is_none());
        for (name, value) in unset.chain(ours) {
            config.set(name, value);
        }
        let progress = Progress::default();
        let consumer: StreamConsumer<Progress> =
            config.create_with_context(progress.clone()).map_err(|error| trouble(&error))?;
        let consumer = Arc::new(consumer);
        let topics: Arc<[String]> = topics.iter().map(|&topic| topic.to_owned()).collect();
        for questions in 1.. {
            let Err(error) = have_topics(&consumer, &topics).await else { break };
            // The client reports errors in place of messages, and receives no message before it subscribes.
            while let Some(Err(_)) = consumer.recv().now_or_never() {}
            let is_said = progress.words.lock().is_some();
            if is_said || questions == QUESTIONS_MAX || !matches!(error, PipeError::Away(_)) {
                progress.words.explain(Err(error))?;
            }
        }
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| trouble(&error))?;
        let address = self.address();
        let (received, kept) = (HashMap::new(), Vec::new());
        Ok(KafkaSource { consumer, progress, address, topics, received, kept, failed: false })
    }

    fn address(&self) -> String {
        format!("kafka {}", self.config.get("bootstrap.servers").unwrap_or("(no servers)"))
    }

    /// A sink that publishes to a topic. Outputs have the key of their event; each is acknowledged by all in-sync
    /// replicas.
    ///
    /// # Errors
    /// When a property is invalid.
    pub fn sink(&self, topic: impl Into<String>) -> Result<KafkaSink, PipeError> {
        let hearing = Hearing::default();
        let (connection, words) = (hearing.connection.clone(), hearing.words.clone());
        let producer = self.producing().create_with_context(hearing).map_err(|error| trouble(&error))?;
        Ok(KafkaSink { producer, connection, words, address: self.address(), topic: topic.into() })
    }

    /// A producer for other purposes: for [tasks](crate::task::kafka), for instance.
    ///
    /// # Errors
    /// When a property is invalid.
    pub fn producer(&self) -> Result<FutureProducer, PipeError> {
        self.producing().create().map_err(|error| trouble(&error))
    }

    fn producing(&self) -> ClientConfig {
        let mut config = self.config.clone();
        let usual = [("enable.idempotence", "true"), ("message.timeout.ms", "30000")];
        for (name, value) in usual.into_iter().filter(|(name, _)| self.config.get(name).is_none()) {
            config.set(name, value);
        }
        config
    }
}

/// Hears of a producer's connections.
#[derive(Clone, Default)]
struct Hearing {
    connection: Connection,
    words: Words,
}

impl ClientContext for Hearing {
    fn error(&self, error: KafkaError, reason: &str) {
        self.words.keep(&error, reason);
        hear(&self.connection, &error, reason);
    }
}

/// Whether the cluster has all these topics.
async fn have_topics(
    consumer: &Arc<StreamConsumer<Progress>>,
    topics: &Arc<[String]>,
) -> Result<(), PipeError> {
    let (consumer, topics) = (Arc::clone(consumer), Arc::clone(topics));
    let look = move || topics.iter().try_for_each(|topic| has_topic(consumer.client(), topic));
    tokio::task::spawn_blocking(look).await.map_err(away)?
}

// ---- receiving ----

/// Messages of topics.
pub struct KafkaSource {
    consumer: Arc<StreamConsumer<Progress>>,
    progress: Progress,
    address: String,
    topics: Arc<[String]>,
    /// The offset behind the last message that was received of each partition, also of those that another member took
    /// over since.
    received: HashMap<(Arc<str>, i32), i64>,
    /// Messages that were received and not handed over yet.
    kept: Vec<Kept>,
    /// Whether the last call failed.
    failed: bool,
}

struct Kept {
    place: Place,
    key: Option<String>,
    body: Vec<u8>,
}

/// A message's topic, partition and offset, and how often it was delivered, as far as this process knows.
#[derive(Clone)]
struct Place {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    /// The message's time: a topic that is created again has the same offsets again.
    time_ms: i64,
    deliveries: u32,
}

/// How far each partition is settled, and what the client reports.
#[derive(Clone, Default)]
struct Progress {
    partitions: Arc<Mutex<Partitions>>,
    words: Words,
}

type Partitions = HashMap<(Arc<str>, i32), Partition>;

/// Messages that were received and are not all settled: whether each is. The first one is not settled.
#[derive(Default)]
struct Partition {
    open: BTreeMap<i64, bool>,
    /// The offset behind the last one.
    end: i64,
}

impl Partition {
    fn receive(&mut self, offset: i64) {
        self.open.insert(offset, false);
        self.end = self.end.max(offset + 1);
    }

    /// The new offset up to which all messages are settled, if it has advanced.
    fn settle(&mut self, offset: i64) -> Option<i64> {
        *self.open.get_mut(&offset)? = true;
        let is_first = self.open.first_key_value().is_some_and(|(first, _)| *first == offset);
        if !is_first {
            return None;
        }
        while let Some(first) = self.open.first_entry().filter(|first| *first.get()) {
            first.remove();
        }
        Some(self.open.first_key_value().map_or(self.end, |(first, _)| *first))
    }
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Progress {
    /// Receiving returns it, too.
    fn error(&self, error: KafkaError, reason: &str) {
        self.words.keep(&error, reason);
        tracing::debug!(error = %error, reason, "librdkafka");
    }
}

impl ConsumerContext for Progress {
    /// What is settled of revoked partitions is committed before another consumer gets them.
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            // What cannot be committed is redelivered.
            let _ = consumer.commit_consumer_state(CommitMode::Sync);
            let mut progress = self.lock();
            for gone in partitions.elements() {
                progress.remove(&(Arc::from(gone.topic()), gone.partition()));
            }
        }
    }
}

impl std::fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSource").field("topics", &self.topics).finish_non_exhaustive()
    }
}

impl KafkaSource {
    async fn fill(&mut self, room: Room) -> Result<Batch, PipeError> {
        let consumer = Arc::clone(&self.consumer);
        if self.failed && self.kept.is_empty() {
            // The client reports what fails, and not that it works again.
            have_topics(&consumer, &self.topics).await?;
            return Ok(self.hand_over());
        }
        if self.kept.is_empty() {
            let message = loop {
                match consumer.recv().await {
                    // Of one server: the client connects it again, or uses the others.
                    Err(error) if error.rdkafka_error_code().is_some_and(is_of_one_server) => {
                        tracing::debug!(error = %error, "librdkafka");
                    }
                    // It may be over already: what the client reports waits in a queue.
                    Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) => {
                        if have_topics(&consumer, &self.topics).await.is_err() {
                            return Err(away(error));
                        }
                    }
                    received => break received.map_err(|error| trouble(&error))?,
                }
            };
            self.keep(&message);
        }
        let until = Instant::now() + room.linger;
        let mut bytes: usize = self.kept.iter().map(|kept| kept.body.len()).sum();
        while self.kept.len() < room.events && bytes < room.bytes {
            let left = until.saturating_duration_since(Instant::now());
            let next = if left.is_zero() {
                consumer.recv().now_or_never()
            } else {
                timeout(left, consumer.recv()).await.ok()
            };
            // Messages received so far are handed over; a persistent error comes again.
            let Some(Ok(message)) = next else { break };
            bytes += message.payload_len();
            self.keep(&message);
        }
        Ok(self.hand_over())
    }

    fn keep(&mut self, message: &BorrowedMessage<'_>) {
        let (partition, offset) = (message.partition(), message.offset());
        let known =
            self.kept.last().map(|kept| &kept.place.topic).filter(|topic| ***topic == *message.topic());
        let topic = known.cloned().unwrap_or_else(|| Arc::from(message.topic()));
        self.progress.lock().entry((Arc::clone(&topic), partition)).or_default().receive(offset);
        let end = self.received.entry((Arc::clone(&topic), partition)).or_insert(offset);
        let deliveries = 1 + u32::from(offset < *end);
        *end = offset.saturating_add(1).max(*end);
        let time_ms = message.timestamp().to_millis().unwrap_or(0);
        let key = message.key().map(|key| String::from_utf8_lossy(key).into_owned());
        // A message without a body is a deletion: `null`.
        let body = message.payload().unwrap_or(b"null").to_vec();
        self.kept.push(Kept { place: Place { topic, partition, offset, time_ms, deliveries }, key, body });
    }

    fn hand_over(&mut self) -> Batch {
        let kept = std::mem::take(&mut self.kept);
        let (consumer, progress) = (Arc::clone(&self.consumer), self.progress.clone());
        let places = kept.iter().map(|kept| kept.place.clone()).collect();
        let mut batch = Batch::new(Box::new(KafkaReceipts { consumer, progress, places }));
        for Kept { key, body, .. } in &kept {
            // A batch is far below 4 GiB: `room.bytes` is, and so is a message.
            let _: bool = batch.push(body, key.as_deref());
        }
        batch
    }
}

impl Source for KafkaSource {
    fn receive(&mut self, room: Room) -> Later<'_, Result<Option<Batch>, PipeError>> {
        Box::pin(async move {
            let filled = self.fill(room).await;
            self.failed = filled.is_err();
            filled.map(Some).map_err(|error| match error {
                // There were these topics, and they could be read: someone can put that right.
                PipeError::Refused(why) => PipeError::Away(why),
                other => other,
            })
        })
    }

    /// Commits what is settled, and leaves the group.
    fn close(&mut self) -> Later<'_, ()> {
        let consumer = Arc::clone(&self.consumer);
        Box::pin(async move {
            let leave = tokio::task::spawn_blocking(move || {
                // What cannot be committed is redelivered.
                let _ = consumer.commit_consumer_state(CommitMode::Sync);
                consumer.unsubscribe();
            });
            let _ = leave.await;
        })
    }

    fn redelivers(&self) -> bool {
        false
    }

    fn address(&self) -> String {
        format!("{} {}", self.address, self.topics.join(","))
    }

    fn backlog(&self) -> Option<Arc<dyn Backlog>> {
        Some(Arc::new(KafkaBacklog(Arc::clone(&self.consumer))))
    }
}

/// Messages behind the committed offsets of the partitions that this consumer has.
struct KafkaBacklog(Arc<StreamConsumer<Progress>>);

impl Backlog for KafkaBacklog {
    fn events(&self) -> Later<'_, Result<Option<u64>, PipeError>> {
        let consumer = Arc::clone(&self.0);
        Box::pin(async move {
            let counted = tokio::task::spawn_blocking(move || {
                let mut lag = 0;
                let committed = consumer.committed(CHECK_MAX)?;
                if committed.count() == 0 {
                    // It has no partitions yet, or others have them.
                    return Ok(None);
                }
                for partition in committed.elements() {
                    let (topic, number) = (partition.topic(), partition.partition());
                    let (first, end) = consumer.fetch_watermarks(topic, number, CHECK_MAX)?;
                    let committed = partition.offset().to_raw().filter(|offset| *offset >= 0);
                    lag += end.saturating_sub(committed.unwrap_or(first));
                }
                Ok(u64::try_from(lag).ok())
            });
            counted
                .await
                .map_err(|error| PipeError::Away(error.to_string()))?
                .map_err(|error| trouble(&error))
        })
    }
}

struct KafkaReceipts {
    consumer: Arc<StreamConsumer<Progress>>,
    progress: Progress,
    places: Vec<Place>,
}

impl Receipts for KafkaReceipts {
    fn provenance(&self, n: usize) -> Provenance {
        let (source, id) = self.places.get(n).map_or_else(Default::default, |place| {
            (place.topic.to_string(), format!("{}/{}", place.partition, place.offset))
        });
        Provenance { source, id, key: None, deliveries: self.deliveries(n) }
    }

    fn event_id(&self, n: usize) -> String {
        let id =
            |place: &Place| format!("{}/{}/{}/{}", place.topic, place.partition, place.offset, place.time_ms);
        self.places.get(n).map_or_else(String::new, id)
    }

    fn deliveries(&self, n: usize) -> u32 {
        self.places.get(n).map_or(1, |place| place.deliveries)
    }

    fn settle<'a>(&'a self, dispositions: &'a [(u32, Disposition)]) -> Later<'a, Result<(), PipeError>> {
        let mut offsets = HashMap::new();
        let mut progress = self.progress.lock();
        // What is given back stays open: the group continues from there when another consumer takes the partition.
        for (event, _) in dispositions.iter().filter(|(_, disposition)| *disposition == Disposition::Done) {
            let Some(Place { topic, partition, offset, .. }) = self.places.get(*event as usize) else {
                continue;
            };
            // The partition was reassigned.
            let partition = progress.get_mut(&(Arc::clone(topic), *partition)).map(|it| (it, *partition));
            if let Some((open, partition)) = partition
                && let Some(up_to) = open.settle(*offset)
            {
                offsets.insert((Arc::clone(topic), partition), up_to);
            }
        }
        // While the lock is held, so that a later offset is never followed by an earlier one.
        let stored = self.store(&offsets);
        drop(progress);
        Box::pin(std::future::ready(stored))
    }
}

impl KafkaReceipts {
    fn store(&self, offsets: &HashMap<(Arc<str>, i32), i64>) -> Result<(), PipeError> {
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for ((topic, partition), offset) in offsets {
            let added = list.add_partition_offset(topic, *partition, Offset::Offset(*offset));
            added.map_err(|error| away(&error))?;
        }
        // It fails for partitions that were just reassigned: there, the events are redelivered.
        if offsets.is_empty() {
            Ok(())
        } else {
            self.consumer.store_offsets(&list).map_err(|error| away(&error))
        }
    }
}

// ---- publishing ----

/// A topic that outputs are published to.
#[derive(Clone)]
pub struct KafkaSink {
    producer: FutureProducer<Hearing>,
    connection: Connection,
    words: Words,
    address: String,
    topic: String,
}

impl std::fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSink").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Sink for KafkaSink {
    fn publish<'a>(&'a self, outputs: &'a Outputs<'_>) -> Later<'a, Result<(), PipeError>> {
        Box::pin(async move {
            let mut reports = FuturesOrdered::new();
            for output in outputs.iter() {
                let mut record = FutureRecord::<str, [u8]>::to(&self.topic).payload(output.body);
                if let Some(key) = output.key() {
                    record = record.key(key);
                }
                loop {
                    match self.producer.send_result(record) {
                        Ok(report) => {
                            reports.push_back(report);
                            break;
                        }
                        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                            record = again;
                            // There is room as soon as one is delivered; that may be another caller's.
                            match reports.next().await {
                                Some(report) => delivered(report)?,
                                None => tokio::time::sleep(Duration::from_millis(5)).await,
                            }
                        }
                        Err((error, _)) => return Err(not_published(&error)),
                    }
                }
            }
            while let Some(report) = reports.next().await {
                delivered(report)?;
            }
            Ok(())
        })
    }

    fn address(&self) -> String {
        format!("{} {}", self.address, self.topic)
    }

    fn connection(&self) -> Option<Connection> {
        Some(self.connection.clone())
    }

    fn check(&self) -> Later<'_, Result<(), PipeError>> {
        let (producer, topic) = (self.producer.clone(), self.topic.clone());
        Box::pin(async move {
            let look = move || has_topic(producer.client(), &topic);
            let looked = tokio::task::spawn_blocking(look).await.map_err(away)?;
            match self.words.explain(looked) {
                Err(PipeError::Refused(why)) => Err(PipeError::Away(why)),
                looked => looked,
            }
        })
    }
}

fn delivered(report: <DeliveryFuture as Future>::Output) -> Result<(), PipeError> {
    match report {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, _))) => Err(not_published(&error)),
        Err(_) => Err(away("the producer is gone")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_settled_up_to_the_first_open_message() {
        let mut partition = Partition::default();
        // Offsets have gaps where topics are compacted.
        [3, 4, 7, 8].into_iter().for_each(|offset| partition.receive(offset));
        let steps = [(4, None), (3, Some(7)), (8, None), (8, None), (5, None), (7, Some(9)), (7, None)];
        for (offset, expected) in steps {
            assert_eq!(partition.settle(offset), expected, "{offset}");
        }
        partition.receive(9);
        assert_eq!(partition.settle(9), Some(10));
    }
}
