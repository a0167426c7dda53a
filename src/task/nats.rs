//! Tasks that publish to NATS and send requests over it.
//!
//! ```no_run
//! use expressway::runtime::Engine;
//! use expressway::task::nats;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = async_nats::connect("nats://127.0.0.1:4222").await?;
//! let engine = Engine::builder()
//!     .async_handler(nats::PUBLISH, nats::publish(client.clone()))
//!     .async_handler(nats::REQUEST, nats::request(client))
//!     .build()?;
//! # Ok(()) }
//! ```
//!
//! Both take `{"Subject", "Payload", "Headers"}`: a text payload is sent unchanged, any other as JSON; headers are an
//! optional object of texts.

use std::collections::BTreeMap;

use async_nats::header::HeaderMap;
use async_nats::jetstream::{self, context::PublishErrorKind};
use async_nats::{Client, RequestErrorKind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AsyncHandler, TaskError, asynchronous};
use crate::fault;

/// The resource of [`publish`].
pub const PUBLISH: &str = "arn:aws:states:::nats:publish";
/// The resource of [`request`].
pub const REQUEST: &str = "arn:aws:states:::nats:request";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Message {
    subject: String,
    #[serde(default)]
    payload: Value,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Of what is published: the id by which a stream drops duplicates.
    #[serde(default)]
    message_id: Option<String>,
    /// Of what is published: whether no acknowledgement is awaited.
    #[serde(default)]
    fire_and_forget: bool,
}

impl Message {
    fn headers(&self) -> Result<HeaderMap, TaskError> {
        let mut headers = HeaderMap::new();
        let id = self.message_id.as_deref().map(|id| ("Nats-Msg-Id", id));
        for (name, value) in self.headers.iter().map(|(name, value)| (&**name, &**value)).chain(id) {
            let wrong = || TaskError::new(fault::RUNTIME, format!("Invalid header '{name}'"));
            let name: async_nats::HeaderName = name.parse().map_err(|_| wrong())?;
            headers.insert(name, value.parse::<async_nats::HeaderValue>().map_err(|_| wrong())?);
        }
        Ok(headers)
    }

    fn payload(&self) -> Vec<u8> {
        super::bytes_of(&self.payload)
    }
}

/// Publishes. The result is `{"Stream", "Sequence", "Duplicate"}` of the stream that keeps the message; by its
/// `"MessageId"`, the stream drops duplicates. With `"FireAndForget": true`, no stream has to keep it, and the result
/// is empty.
///
/// Errors: `Nats.NoStream` when no stream captures the subject, `Nats.TimedOut`, `Nats.Unavailable`, `Nats.Refused`.
pub fn publish(client: Client) -> impl AsyncHandler {
    let context = jetstream::new(client.clone());
    asynchronous(move |message: Message| {
        let (client, context) = (client.clone(), context.clone());
        async move {
            let (headers, payload) = (message.headers()?, message.payload().into());
            if message.fire_and_forget {
                let sent = client.publish_with_headers(message.subject, headers, payload).await;
                sent.map_err(|error| TaskError::new("Nats.Refused", error.to_string()))?;
                client
                    .flush()
                    .await
                    .map_err(|error| TaskError::new("Nats.Unavailable", error.to_string()))?;
                return Ok(json!({}));
            }
            let failed = |error: jetstream::context::PublishError| {
                let name = match error.kind() {
                    PublishErrorKind::StreamNotFound => "Nats.NoStream",
                    PublishErrorKind::TimedOut => "Nats.TimedOut",
                    PublishErrorKind::BrokenPipe => "Nats.Unavailable",
                    _ => "Nats.Refused",
                };
                TaskError::new(name, error.to_string())
            };
            let sent =
                context.publish_with_headers(message.subject, headers, payload).await.map_err(failed)?;
            let kept = sent.await.map_err(failed)?;
            Ok(json!({"Stream": kept.stream, "Sequence": kept.sequence, "Duplicate": kept.duplicate}))
        }
    })
}

/// Sends a request, and waits for the reply until the task times out, or the client's own timeout. The result is
/// `{"Payload", "Headers"}` of the reply; a payload that is not JSON is text.
///
/// Errors: `Nats.NoResponders` when there is no subscriber, `Nats.TimedOut`, `Nats.Refused`.
pub fn request(client: Client) -> impl AsyncHandler {
    asynchronous(move |message: Message| {
        let client = client.clone();
        async move {
            let (headers, payload) = (message.headers()?, message.payload().into());
            let reply = client.request_with_headers(message.subject, headers, payload).await;
            let reply = reply.map_err(|error| {
                let name = match error.kind() {
                    RequestErrorKind::NoResponders => "Nats.NoResponders",
                    RequestErrorKind::TimedOut => "Nats.TimedOut",
                    _ => "Nats.Refused",
                };
                TaskError::new(name, error.to_string())
            })?;
            let mut headers = serde_json::Map::new();
            for (name, values) in reply.headers.iter().flat_map(HeaderMap::iter) {
                let values: Vec<&str> = values.iter().map(async_nats::HeaderValue::as_str).collect();
                headers.insert(name.to_string(), values.join(", ").into());
            }
            let payload = serde_json::from_slice(&reply.payload)
                .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&reply.payload)));
            Ok(json!({"Payload": payload, "Headers": headers}))
        }
    })
}
