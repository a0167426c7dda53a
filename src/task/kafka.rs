//! Tasks that publish to Kafka.
//!
//! ```no_run
//! use expressway::runtime::Engine;
//! use expressway::task::kafka;
//!
//! let producer = rdkafka::ClientConfig::new().set("bootstrap.servers", "127.0.0.1:9092").create()?;
//! let engine = Engine::builder().async_handler(kafka::PRODUCE, kafka::produce(producer)).build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AsyncHandler, TaskError, asynchronous};

/// The resource of [`produce`].
pub const PRODUCE: &str = "arn:aws:states:::kafka:produce";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Message {
    topic: String,
    #[serde(default)]
    key: Option<String>,
    value: Value,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    partition: Option<i32>,
}

/// Publishes `{"Topic", "Key", "Value", "Headers", "Partition"}`, of which topic and value are required: a text value
/// is sent unchanged, null as a message without a value, any other as JSON. The result is `{"Topic", "Partition",
/// "Offset"}`, once the message is acknowledged as the producer is configured.
///
/// Errors: `Kafka.` and librdkafka's name of the error, such as `Kafka.MessageTimedOut`.
pub fn produce(producer: FutureProducer) -> impl AsyncHandler {
    asynchronous(move |message: Message| {
        let producer = producer.clone();
        async move {
            let payload = (!message.value.is_null()).then(|| super::bytes_of(&message.value));
            let mut record = FutureRecord::<str, [u8]>::to(&message.topic);
            record.payload = payload.as_deref();
            record.key = message.key.as_deref();
            record.partition = message.partition;
            if !message.headers.is_empty() {
                let headers = OwnedHeaders::new_with_capacity(message.headers.len());
                let headers = message.headers.iter().fold(headers, |headers, (key, value)| {
                    headers.insert(Header { key, value: Some(value) })
                });
                record = record.headers(headers);
            }
            // Without room, it waits at most as long as the task may take.
            let sent = producer.send(record, Duration::from_secs(300)).await;
            let delivery = sent.map_err(|(error, _)| {
                let code = error.rdkafka_error_code();
                let name = code.map_or_else(|| "Failed".to_owned(), |code| format!("{code:?}"));
                TaskError::new(format!("Kafka.{name}"), error.to_string())
            })?;
            let (partition, offset) = (delivery.partition, delivery.offset);
            Ok(json!({"Topic": message.topic, "Partition": partition, "Offset": offset}))
        }
    })
}
