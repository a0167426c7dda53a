//! The configuration file of a pipeline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use expressway::os;
use expressway::pipe::{all_without_credentials, without_credentials};
use serde::Deserialize;

use super::wrong;
use crate::cli::{Stop, files};

/// A pipeline, as in its TOML file. Relative file names are relative to the file's folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) definition: Definition,
    pub(super) source: Endpoint,
    #[serde(default)]
    pub(super) sink: Option<Endpoint>,
    #[serde(default)]
    pub(super) dead_letters: Option<Endpoint>,
    #[serde(default)]
    pub(super) pipe: Settings,
    #[serde(default)]
    pub(super) tasks: Tasks,
}

/// What the tasks of the state machine may call.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tasks {
    /// Service tasks, with region, credentials and endpoints of the environment.
    pub(super) services: bool,
    /// Hosts that HTTP tasks may call at any address.
    pub(super) http_allow: Vec<String>,
    /// The connections that HTTP tasks may name.
    pub(super) connections: Option<PathBuf>,
    /// The folder that distributed Maps may read and write.
    pub(super) files: Option<PathBuf>,
    /// Tasks that publish to NATS and send requests over it.
    pub(super) nats: Option<NatsServer>,
    /// Tasks that publish to Kafka.
    pub(super) kafka: Option<KafkaServers>,
}

/// A NATS server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NatsServer {
    pub(super) url: String,
    #[serde(default)]
    pub(super) credentials: Option<PathBuf>,
}

/// A Kafka cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(feature = "kafka"), allow(dead_code, reason = "it is refused"))]
pub(super) struct KafkaServers {
    pub(super) servers: String,
    #[serde(default)]
    pub(super) properties: std::collections::BTreeMap<String, String>,
}

/// Where the definition is.
#[derive(Debug)]
pub(super) enum Definition {
    /// A file.
    File(PathBuf),
    /// A key of a NATS bucket; each new value replaces the definition.
    Nats(InBucket),
}

/// A key of a NATS bucket.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InBucket {
    pub(super) url: String,
    pub(super) bucket: String,
    pub(super) key: String,
    #[serde(default)]
    pub(super) credentials: Option<PathBuf>,
}

/// By hand, because errors of untagged enumerations do not say what is wrong.
impl<'d> Deserialize<'d> for Definition {
    fn deserialize<D: serde::Deserializer<'d>>(from: D) -> Result<Definition, D::Error> {
        struct Visitor;
        impl<'d> serde::de::Visitor<'d> for Visitor {
            type Value = Definition;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a file, or { url, bucket, key } of a NATS bucket")
            }

            fn visit_str<E: serde::de::Error>(self, file: &str) -> Result<Definition, E> {
                Ok(Definition::File(file.into()))
            }

            fn visit_map<A: serde::de::MapAccess<'d>>(self, fields: A) -> Result<Definition, A::Error> {
                let fields = serde::de::value::MapAccessDeserializer::new(fields);
                InBucket::deserialize(fields).map(Definition::Nats)
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// A source or a sink.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Endpoint {
    /// Standard input, as a source.
    Stdin {},
    /// Standard output, as a sink.
    Stdout {},
    /// A file of lines.
    File { path: PathBuf },
    /// NATS JetStream: a stream and a durable consumer of it, or a subject.
    Nats {
        url: String,
        #[serde(default)]
        stream: Option<String>,
        #[serde(default)]
        durable: Option<String>,
        /// Of a source: the messages' subjects. Of a sink: the subject of outputs.
        #[serde(default)]
        subject: Option<String>,
        #[serde(default)]
        credentials: Option<PathBuf>,
        #[serde(default, deserialize_with = "seconds")]
        ack_wait: Option<Duration>,
        /// Whether outputs carry ids, so that those published twice are kept once.
        #[serde(default = "yes")]
        ids: bool,
    },
    /// Redis Streams.
    Redis {
        url: String,
        stream: String,
        /// Of a source.
        #[serde(default)]
        group: Option<String>,
        #[serde(default)]
        consumer: Option<String>,
        /// The field that has the body.
        #[serde(default)]
        body: Option<String>,
        /// Of a source: the field with the ordering key.
        #[serde(default)]
        key: Option<String>,
        /// Of a source: how long an entry may stay unacknowledged before it is given to another consumer.
        #[serde(default, deserialize_with = "seconds")]
        idle: Option<Duration>,
        /// Of a sink: about how many entries the stream may have.
        #[serde(default)]
        entries_max: Option<u64>,
        /// Of a sink: whether outputs carry ids.
        #[serde(default)]
        ids: bool,
    },
    /// Kafka.
    #[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "read, to be refused by name"))]
    Kafka {
        servers: String,
        /// Of a source.
        #[serde(default)]
        group: Option<String>,
        #[serde(default)]
        topics: Vec<String>,
        /// Of a sink.
        #[serde(default)]
        topic: Option<String>,
        /// Further properties of librdkafka.
        #[serde(default)]
        properties: std::collections::BTreeMap<String, String>,
    },
    /// Events that are posted over HTTP, as a source.
    Webhook {
        #[serde(default = "loopback")]
        address: std::net::SocketAddr,
        #[serde(default)]
        path: Option<String>,
        /// Whether senders are answered with the outcome of their events.
        #[serde(default)]
        wait: bool,
        #[serde(default)]
        body_bytes_max: Option<usize>,
        /// Bytes of all bodies together.
        #[serde(default)]
        bytes_max: Option<usize>,
        #[serde(default)]
        waiting_max: Option<usize>,
        #[serde(default)]
        whole_arrays: bool,
        #[serde(default)]
        id_header: Option<String>,
        /// What senders have to prove.
        #[serde(default)]
        proof: Option<Proof>,
        /// Whether anyone who reaches the address may post.
        #[serde(default)]
        insecure: bool,
        /// Host names that senders may use, beside those of loopback and its address.
        #[serde(default)]
        hosts: Vec<String>,
    },
    /// SQS.
    Sqs {
        /// The queue's.
        url: String,
        /// Of a source: how long a message may stay unacknowledged before it is given to another consumer.
        #[serde(default, deserialize_with = "seconds")]
        visibility: Option<Duration>,
        /// Of a source: parallel requests that wait for messages.
        #[serde(default)]
        receivers: Option<usize>,
    },
}

/// How a sender proves that it may post; the secret is in a file, or in an environment variable.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proof {
    pub(super) header: String,
    /// Whether the header has the secret itself or the body's HMAC-SHA-256.
    pub(super) kind: ProofKind,
    #[serde(default)]
    pub(super) secret_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) secret_variable: Option<String>,
}

/// What a header proves.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ProofKind {
    Secret,
    Signature,
}

fn loopback() -> std::net::SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, 8084).into()
}

/// The settings of the pipeline.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    pub(super) order: Option<Order>,
    /// A path in the body, `source` or `id`; with `order = "key"`.
    pub(super) key: Option<String>,
    pub(super) attempts: Option<u32>,
    #[serde(deserialize_with = "seconds")]
    pub(super) retry_delay: Option<Duration>,
    #[serde(deserialize_with = "seconds")]
    pub(super) retry_delay_max: Option<Duration>,
    pub(super) in_flight: Option<usize>,
    pub(super) in_flight_bytes: Option<usize>,
    pub(super) batch: Option<usize>,
    #[serde(deserialize_with = "seconds")]
    pub(super) linger: Option<Duration>,
    /// One execution for each batch.
    pub(super) array: bool,
    pub(super) envelope: bool,
    /// The key of events that run once: a path in the body, `source` or `id`.
    pub(super) unique: Option<String>,
    #[serde(deserialize_with = "seconds")]
    pub(super) unique_for: Option<Duration>,
    /// Of a failed execution, in its dead letter; 0 for none.
    pub(super) history_bytes: Option<usize>,
    #[serde(deserialize_with = "seconds")]
    pub(super) grace: Option<Duration>,
    /// How long the source and the sinks may be away at the start; by default as long as it takes.
    #[serde(deserialize_with = "seconds")]
    pub(super) start_within: Option<Duration>,
    /// The address of `/metrics`, `/health` and `/ready`.
    pub(super) metrics: Option<std::net::SocketAddr>,
    /// Host names at which these pages are served, beside loopback names and the address; `*` is any.
    pub(super) metrics_hosts: Vec<String>,
    /// The description of a redrive, for dead letters that are sent again while the pipeline runs, by `POST /redrive`.
    pub(super) redrive: Option<PathBuf>,
    /// What those have to send who have dead letters sent again; without it, only at a loopback address.
    pub(super) redrive_secret_file: Option<PathBuf>,
    pub(super) redrive_secret_variable: Option<String>,
}

/// Which order is kept.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Order {
    Any,
    Outputs,
    Key,
}

fn yes() -> bool {
    true
}

/// A time in seconds, with fractions.
fn seconds<'d, D: serde::Deserializer<'d>>(from: D) -> Result<Option<Duration>, D::Error> {
    let seconds = f64::deserialize(from)?;
    Duration::try_from_secs_f64(seconds).map(Some).map_err(serde::de::Error::custom)
}

/// A source of dead letters, and the sink of their events.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Redrive {
    pub(super) source: Endpoint,
    pub(super) sink: Endpoint,
}

/// The description of a pipeline.
pub(super) fn read(path: &Path) -> Result<Config, Stop> {
    let mut config: Config = parse(path)?;
    match &mut config.definition {
        Definition::File(file) => rebase(path, file),
        Definition::Nats(InBucket { credentials, .. }) => {
            credentials.iter_mut().for_each(|file| rebase(path, file))
        }
    }
    let files = config.tasks.connections.iter_mut().chain(&mut config.tasks.files);
    let files = files.chain(config.tasks.nats.iter_mut().flat_map(|nats| &mut nats.credentials));
    files.for_each(|file| rebase(path, file));
    let ends = [Some(&mut config.source), config.sink.as_mut(), config.dead_letters.as_mut()];
    ends.into_iter().flatten().for_each(|end| end.rebase(path));
    let files = config.pipe.redrive.iter_mut().chain(&mut config.pipe.redrive_secret_file);
    files.for_each(|file| rebase(path, file));
    Ok(config)
}

/// The configuration of a redrive.
pub(super) fn redrive(path: &Path) -> Result<Redrive, Stop> {
    let mut config: Redrive = parse(path)?;
    config.source.rebase(path);
    config.sink.rebase(path);
    Ok(config)
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Stop> {
    let text = os::read_text(path).map_err(|error| files::unreadable(path, &error))?;
    toml::from_str(&text).map_err(|error| Stop::failed(wrong::explained(path, &text, &error)))
}

/// Makes a file name relative to the folder of the configuration.
fn rebase(description: &Path, file: &mut PathBuf) {
    *file = description.parent().unwrap_or(Path::new(".")).join(&*file);
}

impl Endpoint {
    /// Its kind and place, without user names and passwords in URLs.
    pub(super) fn place(&self) -> String {
        match self {
            Endpoint::Stdin {} => "standard input".to_owned(),
            Endpoint::Stdout {} => "standard output".to_owned(),
            Endpoint::File { path } => path.display().to_string(),
            Endpoint::Nats { url: at, stream, subject, .. } => {
                let of = stream.as_ref().or(subject.as_ref());
                format!("{} {}", all_without_credentials(at), of.map_or("", |of| of))
            }
            Endpoint::Redis { url: at, stream, .. } => format!("{} {stream}", without_credentials(at)),
            Endpoint::Kafka { servers, topics, topic, .. } => {
                format!("kafka {servers} {}", topic.as_ref().unwrap_or(&topics.join(",")))
            }
            Endpoint::Webhook { address, .. } => format!("http://{address}"),
            Endpoint::Sqs { url: at, .. } => without_credentials(at),
        }
    }

    fn rebase(&mut self, description: &Path) {
        match self {
            Endpoint::File { path } => rebase(description, path),
            Endpoint::Nats { credentials, .. } => {
                credentials.iter_mut().for_each(|file| rebase(description, file));
            }
            Endpoint::Webhook { proof, .. } => {
                let files = proof.iter_mut().flat_map(|proof| &mut proof.secret_file);
                files.for_each(|file| rebase(description, file));
            }
            Endpoint::Stdin {}
            | Endpoint::Stdout {}
            | Endpoint::Redis { .. }
            | Endpoint::Kafka { .. }
            | Endpoint::Sqs { .. } => {}
        }
    }
}
