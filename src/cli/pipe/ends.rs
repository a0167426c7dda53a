//! Sources and sinks from their configuration.

use std::path::Path;
use std::sync::Arc;

use expressway::os;
use expressway::pipe::{Answer, LineSource, Lines, PipeError, Proof, Sink, Source, Webhook, WebhookSource};

use super::config::{self, Endpoint, ProofKind};
use crate::cli::advice::{self, Server};
use crate::cli::{files, say};

/// What is wrong with the description of an end.
fn wrong(why: impl ToString) -> PipeError {
    PipeError::Refused(why.to_string())
}

/// Why a broker is not used, and what to try.
pub(super) fn unused(server: Server, error: PipeError) -> PipeError {
    match error {
        // Credentials are missing: that is about this side, and does not mend itself.
        PipeError::Away(why) if why.contains("AWS_ACCESS_KEY_ID") => PipeError::Refused(why),
        PipeError::Away(why) if why.contains("Unable to load credentials") => {
            PipeError::Refused(advice::refused(server, why))
        }
        PipeError::Away(why) => PipeError::Away(advice::away(server, why)),
        PipeError::Refused(why) => PipeError::Refused(advice::refused(server, why)),
        error => error,
    }
}

/// Why a file of events cannot be read.
fn unreadable(path: &Path, error: &std::io::Error) -> PipeError {
    let why = files::unreadable(path, error).to_string();
    wrong(if error.kind() == std::io::ErrorKind::NotFound {
        advice::with_next_step(why, "a relative name is one in the folder of the description")
    } else {
        why
    })
}

/// Events of a file, those that were not sent before.
pub(super) fn unsent(path: &Path) -> Result<LineSource, PipeError> {
    Lines::from_file_once(path).map_err(|error| unreadable(path, &error))
}

pub(super) async fn nats(
    url: &str,
    credentials: Option<std::path::PathBuf>,
) -> Result<expressway::pipe::Nats, PipeError> {
    let options = expressway::pipe::NatsOptions { credentials, ..Default::default() };
    expressway::pipe::Nats::connect(url, options).await.map_err(|error| unused(Server::Nats, error))
}

async fn redis(url: &str) -> Result<expressway::pipe::Redis, PipeError> {
    expressway::pipe::Redis::connect(url).await.map_err(|error| unused(Server::Redis, error))
}

/// A queue, with region, credentials and endpoint as in AWS's SDKs.
fn queue(url: &str) -> Result<expressway::pipe::Sqs, PipeError> {
    let integrations = expressway::task::aws::Integrations::from_env();
    let integrations = integrations.map_err(wrong)?;
    expressway::pipe::Sqs::queue(&integrations, url)
}

async fn webhook(end: &Endpoint) -> Result<WebhookSource, PipeError> {
    let Endpoint::Webhook {
        address,
        path,
        wait,
        body_bytes_max,
        bytes_max,
        waiting_max,
        whole_arrays,
        id_header,
        proof: described,
        insecure,
        hosts,
    } = end
    else {
        return Err(wrong("not a webhook"));
    };
    let mut webhook = Webhook::at(*address).answer(if *wait { Answer::Done } else { Answer::Accepted });
    if let Some(path) = path {
        webhook = webhook.path(path);
    }
    if let Some(bytes) = body_bytes_max {
        webhook = webhook.body_bytes_max(*bytes);
    }
    if let Some(bytes) = bytes_max {
        webhook = webhook.bytes_max(*bytes);
    }
    if let Some(requests) = waiting_max {
        webhook = webhook.waiting_max(*requests);
    }
    if *whole_arrays {
        webhook = webhook.whole_arrays();
    }
    if let Some(name) = id_header {
        webhook = webhook.id_header(header(name)?);
    }
    if let Some(described) = described {
        webhook = webhook.proof(proof(described)?);
    }
    if *insecure {
        webhook = webhook.anyone();
    }
    for host in hosts {
        webhook = webhook.host(host);
    }
    let source = webhook.listen().await.map_err(|error| {
        let next = if described.is_none() && !insecure { PROOF } else { "set `address` to another one" };
        wrong(advice::with_next_step(error, next))
    })?;
    say(&format!("Post events to http://{}{}", source.address(), path.as_deref().unwrap_or("/")));
    Ok(source)
}

/// What to do about a webhook that would let anyone post.
const PROOF: &str = "give it a `proof`, such as { header = \"x-secret\", kind = \"secret\", secret_variable = \"SECRET\" }, \
                     or say that anyone may post: `insecure = true`";

fn header<N: std::str::FromStr>(name: &str) -> Result<N, PipeError> {
    name.parse().map_err(|_| wrong(format!("'{name}' is not a valid header name")))
}

fn proof(described: &config::Proof) -> Result<Proof, PipeError> {
    let secret = match (&described.secret_file, &described.secret_variable) {
        (Some(path), None) => os::read_text(path).map_err(|error| unreadable(path, &error))?,
        (None, Some(name)) => {
            let next = "set it, or name a file with the secret: `secret_file`";
            let told =
                |error| advice::with_next_step(format!("the variable {name} of the proof: {error}"), next);
            std::env::var(name).map_err(|error| wrong(told(error)))?
        }
        _ => return Err(wrong("a proof needs either `secret_file` or `secret_variable`")),
    };
    let (header, secret) = (header(&described.header)?, secret.trim_end_matches(['\r', '\n']).to_owned());
    if secret.is_empty() {
        return Err(wrong("the secret of a proof is empty"));
    }
    Ok(match described.kind {
        ProofKind::Secret => Proof::Secret { header, secret },
        ProofKind::Signature => Proof::Signature { header, key: secret },
    })
}

#[cfg(feature = "kafka")]
pub(super) fn kafka(
    servers: &str,
    properties: &std::collections::BTreeMap<String, String>,
) -> expressway::pipe::Kafka {
    let kafka = expressway::pipe::Kafka::new(servers);
    properties.iter().fold(kafka, |kafka, (name, value)| kafka.set(name, value))
}

#[cfg(not(feature = "kafka"))]
pub(super) fn absent(feature: &str) -> PipeError {
    wrong(format!("this build was made without the feature `{feature}`"))
}

/// The configured source.
pub(super) async fn source(end: &Endpoint) -> Result<Box<dyn Source>, PipeError> {
    Ok(match end {
        Endpoint::Stdin {} => Box::new(Lines::from_stdin()),
        Endpoint::File { path } => {
            Box::new(Lines::from_file(path).map_err(|error| unreadable(path, &error))?)
        }
        Endpoint::Stdout {} => return Err(wrong("stdout is a sink, not a source")),
        Endpoint::Nats { url, stream, durable, subject, credentials, ack_wait, .. } => {
            let (Some(stream), Some(durable)) = (stream, durable) else {
                return Err(wrong("a NATS source needs `stream` and `durable`"));
            };
            let mut consumer = expressway::pipe::NatsConsumer::new(stream, durable);
            consumer.subjects.extend(subject.clone());
            consumer.ack_wait = ack_wait.unwrap_or(consumer.ack_wait);
            let nats = nats(url, credentials.clone()).await?;
            Box::new(nats.source(consumer).await.map_err(|error| unused(Server::Nats, error))?)
        }
        Endpoint::Redis { url, stream, group, consumer, body, key, idle, .. } => {
            let Some(group) = group else { return Err(wrong("a Redis source needs `group`")) };
            let mut described = expressway::pipe::RedisGroup::new(stream, group);
            described.body = body.clone().unwrap_or(described.body);
            described.idle = idle.unwrap_or(described.idle);
            (described.consumer, described.key) = (consumer.clone(), key.clone());
            let source = redis(url).await?.source(described).await;
            Box::new(source.map_err(|error| unused(Server::Redis, error))?)
        }
        Endpoint::Webhook { .. } => Box::new(webhook(end).await?),
        #[cfg(not(feature = "kafka"))]
        Endpoint::Kafka { .. } => return Err(absent("kafka")),
        #[cfg(feature = "kafka")]
        Endpoint::Kafka { servers, group, topics, properties, .. } => {
            let (Some(group), false) = (group, topics.is_empty()) else {
                return Err(wrong("a Kafka source needs `group` and `topics`"));
            };
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            let source = kafka(servers, properties).source(group, &topics).await;
            Box::new(source.map_err(|error| unused(Server::Kafka, error))?)
        }
        Endpoint::Sqs { url, visibility, receivers } => {
            let queue = queue(url)?;
            queue.check().await.map_err(|error| unused(Server::Sqs, error))?;
            let mut source = queue.source();
            if let Some(visibility) = visibility {
                source = source.visibility(*visibility);
            }
            if let Some(receivers) = receivers {
                source = source.receivers(*receivers);
            }
            Box::new(source)
        }
    })
}

/// The configured sink.
pub(super) async fn sink(end: &Endpoint) -> Result<Arc<dyn Sink>, PipeError> {
    Ok(match end {
        Endpoint::Stdout {} => Arc::new(Lines::to_stdout()),
        Endpoint::File { path } => {
            Arc::new(Lines::to_file(path).map_err(|error| wrong(files::unwritable(path, &error)))?)
        }
        Endpoint::Stdin {} => return Err(wrong("stdin is a source, not a sink")),
        Endpoint::Nats { url, subject, credentials, ids, .. } => {
            let Some(subject) = subject else { return Err(wrong("a NATS sink needs `subject`")) };
            let sink = nats(url, credentials.clone()).await?.sink(subject);
            if *ids { Arc::new(sink) } else { Arc::new(sink.without_ids()) }
        }
        Endpoint::Redis { url, stream, body, entries_max, ids, .. } => {
            let mut sink = redis(url).await?.sink(stream);
            if let Some(body) = body {
                sink = sink.body(body);
            }
            if let Some(entries) = entries_max {
                sink = sink.entries_max(*entries);
            }
            if *ids { Arc::new(sink.with_ids()) } else { Arc::new(sink) }
        }
        #[cfg(not(feature = "kafka"))]
        Endpoint::Kafka { .. } => return Err(absent("kafka")),
        #[cfg(feature = "kafka")]
        Endpoint::Kafka { servers, topic, properties, .. } => {
            let Some(topic) = topic else { return Err(wrong("a Kafka sink needs `topic`")) };
            Arc::new(kafka(servers, properties).sink(topic)?)
        }
        Endpoint::Webhook { .. } => return Err(wrong("a webhook is a source, not a sink")),
        Endpoint::Sqs { url, .. } => Arc::new(queue(url)?.sink()),
    })
}
