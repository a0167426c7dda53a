//! A connection to NATS, and the requests of JetStream that are used, as JSON. Every wait is bounded: connecting and
//! requests have time limits, and a connection that exceeds one is dropped with its pending requests.

use crate::os;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::header::HeaderMap;
use async_nats::{ConnectOptions, Request, RequestErrorKind, ServerInfo};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::super::engine::Trouble;
use super::settings::Settings;
use crate::limits::{NATS_ANSWER_MS, NATS_CONNECT_MS, NATS_READ_BLOCKS, NATS_READ_BYTES};

/// The addresses of servers, and how to connect.
pub(in super::super) struct Address {
    pub(super) settings: Settings,
    cluster: String,
    /// Runs connections, also between requests.
    runtime: OnceLock<Runtime>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NATS")
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It does not block, so it is allowed on any thread.
            runtime.shutdown_background();
        }
    }
}

impl Address {
    /// Whether a text is a URL of NATS.
    pub(in super::super) fn is_url(text: &str) -> bool {
        text.starts_with("nats://") || text.starts_with("tls://")
    }

    pub(in super::super) fn of(url: &str, cluster: &str) -> Result<Address, Trouble> {
        let settings = Settings::of(url).map_err(Trouble::said)?;
        Ok(Address { settings, cluster: cluster.to_owned(), runtime: OnceLock::new() })
    }

    pub(in super::super) fn local_ip(&self) -> Option<IpAddr> {
        let server = self.settings.servers.first()?;
        super::super::engine::way_to((server.host(), server.port()).to_socket_addrs().ok()?.next()?)
    }

    fn runtime(&self) -> Result<&Runtime, Trouble> {
        if self.runtime.get().is_none() {
            let runtime =
                Builder::new_multi_thread().worker_threads(1).thread_name("nats").enable_all().build();
            let runtime =
                runtime.map_err(|error| Trouble::said(format!("a runtime for the connection: {error}")))?;
            if let Err(runtime) = self.runtime.set(runtime) {
                // Another thread has set it first.
                runtime.shutdown_background();
            }
        }
        self.runtime.get().ok_or_else(|| Trouble::said("there is no runtime"))
    }
}

/// Error codes of JetStream.
const STREAM_NOT_FOUND: &str = "10059";
const NO_MESSAGE: &str = "10037";
const WRONG_LAST: [&str; 2] = ["10071", "10164"];

/// The message that a new message must follow; otherwise the server refuses it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Behind {
    Anything,
    /// The last message of the stream.
    Last(u64),
    /// The last message of its subject; 0 for none.
    LastOfSubject(u64),
}

/// A message of a stream.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) seq: u64,
    pub(super) bytes: Vec<u8>,
    /// When it was stored, by the clock of the stream's leader, in milliseconds.
    pub(super) ms: i64,
}

/// Selects a message of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'a> {
    Seq(u64),
    LastOf(&'a str),
    /// The first one of a subject from a number on.
    Next(u64, &'a str),
}

/// A connection, opened when it is needed.
pub(super) struct Client {
    address: Arc<Address>,
    open: Option<async_nats::Client>,
}

impl Client {
    pub(super) fn new(address: &Arc<Address>) -> Client {
        Client { address: Arc::clone(address), open: None }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.address.settings
    }

    fn connect(&mut self) -> Result<async_nats::Client, Trouble> {
        if let Some(open) = &self.open {
            return Ok(open.clone());
        }
        let Settings { servers, user, token, credentials, roots, .. } = &self.address.settings;
        let connecting = async {
            let mut options = ConnectOptions::new()
                .name(format!("expressway {}", self.address.cluster))
                .connection_timeout(Duration::from_millis(NATS_CONNECT_MS))
                .max_reconnects(1)
                .request_timeout(None);
            if let Some((user, password)) = user {
                options = options.user_and_password(user.clone(), password.clone());
            }
            if let Some(token) = token {
                options = options.token(token.clone());
            }
            if let Some(file) = credentials {
                options = options.credentials_file(file).await.map_err(|error| os::words(&error))?;
            }
            if let Some(file) = roots {
                options = options.add_root_certificates(file.clone());
            }
            options.connect(servers.clone()).await.map_err(|error| os::without_number(&error.to_string()))
        };
        let client = match within(self.address.runtime()?, NATS_CONNECT_MS, connecting) {
            Ok(client) => client.map_err(Trouble::said)?,
            Err(_) => {
                return Err(Trouble::said(format!("no server was reached within {NATS_CONNECT_MS} ms")));
            }
        };
        Ok(self.open.insert(client).clone())
    }

    /// The description of the connected server.
    pub(super) fn server(&mut self) -> Result<ServerInfo, Trouble> {
        Ok(self.connect()?.server_info())
    }

    /// Sends several requests at once. A request without an answer may have been carried out.
    fn ask(&mut self, requests: Vec<(String, Request)>) -> Result<Vec<Vec<u8>>, Trouble> {
        let client = self.connect()?;
        let asking = async {
            let asked = requests.into_iter().map(|(subject, request)| client.send_request(subject, request));
            futures_util::future::try_join_all(asked).await
        };
        match within(self.address.runtime()?, NATS_ANSWER_MS, asking) {
            Ok(Ok(answers)) => Ok(answers.into_iter().map(|answer| answer.payload.to_vec()).collect()),
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
                let text = "JetStream does not answer: it is off, or has no leader at present";
                Err(Trouble { code: Some("503".to_owned()), text: text.to_owned() })
            }
            Ok(Err(error)) => {
                self.open = None;
                Err(Trouble::said(os::without_number(&error.to_string())))
            }
            Err(_) => {
                self.open = None;
                Err(Trouble::said(format!("NATS did not answer within {NATS_ANSWER_MS} ms")))
            }
        }
    }

    /// Sends a request of JetStream's API.
    pub(super) fn api(&mut self, what: &str, body: &Value) -> Result<Value, Trouble> {
        let request = Request::new().payload(body.to_string().into());
        let answers = self.ask(vec![(format!("$JS.API.{what}"), request)])?;
        answer(answers.first().map_or(&[], Vec::as_slice))
    }

    /// A stream's state, if it exists.
    pub(super) fn info(&mut self, stream: &str) -> Result<Option<Value>, Trouble> {
        match self.api(&format!("STREAM.INFO.{stream}"), &json!({})) {
            Ok(info) => Ok(Some(info)),
            Err(trouble) if trouble.code.as_deref() == Some(STREAM_NOT_FOUND) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// A stream's state, with the number of messages of a subject.
    pub(super) fn state(&mut self, stream: &str, subject: &str) -> Result<Value, Trouble> {
        let body = json!({"subjects_filter": subject});
        Ok(self.api(&format!("STREAM.INFO.{stream}"), &body)?["state"].take())
    }

    /// The subjects of a stream that match and have messages.
    pub(super) fn subjects(&mut self, stream: &str, filter: &str) -> Result<Vec<String>, Trouble> {
        let mut found = Vec::new();
        loop {
            let body = json!({"subjects_filter": filter, "offset": found.len()});
            let info = self.api(&format!("STREAM.INFO.{stream}"), &body)?;
            let before = found.len();
            let page = info["state"]["subjects"].as_object();
            found.extend(page.into_iter().flatten().map(|(subject, _)| subject.clone()));
            let total = info["total"].as_u64().unwrap_or(0);
            if found.len() == before || found.len() as u64 >= total {
                return Ok(found);
            }
        }
    }

    /// A message, if it exists.
    pub(super) fn get(&mut self, stream: &str, which: Which<'_>) -> Result<Option<Stored>, Trouble> {
        Ok(self.get_all(stream, &[which])?.pop().flatten())
    }

    /// Requests messages at once from the stream's leader; `None` for those that do not exist.
    pub(super) fn get_all(
        &mut self,
        stream: &str,
        which: &[Which<'_>],
    ) -> Result<Vec<Option<Stored>>, Trouble> {
        let request = |which: &Which<'_>| {
            let body = match which {
                Which::Seq(seq) => json!({"seq": seq}),
                Which::LastOf(subject) => json!({"last_by_subj": subject}),
                Which::Next(seq, subject) => json!({"seq": seq, "next_by_subj": subject}),
            };
            let request = Request::new().payload(body.to_string().into());
            (format!("$JS.API.STREAM.MSG.GET.{stream}"), request)
        };
        let answers = self.ask(which.iter().map(request).collect())?;
        answers.iter().map(|bytes| stored(bytes)).collect()
    }

    /// Publishes a message, and returns its number once the stream has stored it. Returns `None`, and stores nothing,
    /// if it does not follow the expected message.
    pub(super) fn publish(
        &mut self,
        subject: &str,
        behind: Behind,
        bytes: &[u8],
    ) -> Result<Option<u64>, Trouble> {
        Ok(self.publish_all(&[(subject.to_owned(), behind, bytes)])?.pop().flatten())
    }

    /// Publishes messages at once, each as by [`publish`](Client::publish). After an error, any of them may have been
    /// stored.
    pub(super) fn publish_all(
        &mut self,
        messages: &[(String, Behind, &[u8])],
    ) -> Result<Vec<Option<u64>>, Trouble> {
        let request = |(subject, behind, bytes): &(String, Behind, &[u8])| {
            let mut headers = HeaderMap::new();
            match behind {
                Behind::Anything => {}
                Behind::Last(seq) => headers.insert("Nats-Expected-Last-Sequence", seq.to_string()),
                Behind::LastOfSubject(seq) => {
                    headers.insert("Nats-Expected-Last-Subject-Sequence", seq.to_string())
                }
            }
            (subject.clone(), Request::new().headers(headers).payload(bytes.to_vec().into()))
        };
        let answers = self.ask(messages.iter().map(request).collect())?;
        let published = |bytes: &Vec<u8>| match answer(bytes) {
            Ok(answer) => match answer["seq"].as_u64() {
                Some(seq) => Ok(Some(seq)),
                None => Err(unexpected(&answer)),
            },
            Err(Trouble { code: Some(code), .. }) if WRONG_LAST.contains(&code.as_str()) => Ok(None),
            Err(trouble) => Err(trouble),
        };
        answers.iter().map(published).collect()
    }

    /// Some messages of a subject from a number on, in order, from any server that has the stream: the last ones may be
    /// missing, or all. Servers before 2.11 answer with none.
    pub(super) fn read(&mut self, stream: &str, subject: &str, from: u64) -> Result<Vec<Stored>, Trouble> {
        let client = self.connect()?;
        let version = client.server_info().version;
        let version: Vec<u64> = version.split('.').take(2).map_while(|it| it.parse().ok()).collect();
        if version.as_slice() < [2, 11].as_slice() {
            return Ok(Vec::new());
        }
        let body = json!({"seq": from, "next_by_subj": subject, "batch": NATS_READ_BLOCKS, "max_bytes": NATS_READ_BYTES});
        let reading = async {
            let failed =
                |error: &dyn std::fmt::Display| Trouble::said(os::without_number(&error.to_string()));
            let inbox = client.new_inbox();
            let mut answers = client.subscribe(inbox.clone()).await.map_err(|error| failed(&error))?;
            let asked = format!("$JS.API.DIRECT.GET.{stream}");
            let asked = client.publish_with_reply(asked, inbox, body.to_string().into()).await;
            asked.map_err(|error| failed(&error))?;
            let mut found = Vec::new();
            while let Some(message) = answers.next().await {
                // A status is the end.
                let Some(headers) = message.headers.filter(|_| message.status.is_none()) else { break };
                let text = |name: &str| headers.get(name).map_or("", |value| value.as_str());
                let seq = text("Nats-Sequence").parse().ok();
                let time: Option<jiff::Timestamp> = text("Nats-Time-Stamp").parse().ok();
                let (Some(seq), Some(time)) = (seq, time) else {
                    return Err(Trouble::said("JetStream answered with a message without its number"));
                };
                found.push(Stored { seq, bytes: message.payload.to_vec(), ms: time.as_millisecond() });
            }
            Ok(found)
        };
        match within(self.address.runtime()?, NATS_ANSWER_MS, reading) {
            Ok(read) => read,
            Err(_) => {
                self.open = None;
                Err(Trouble::said(format!("NATS did not answer within {NATS_ANSWER_MS} ms")))
            }
        }
    }

    /// Removes messages before a number: those of a subject, or all.
    pub(super) fn purge(&mut self, stream: &str, subject: Option<&str>, before: u64) -> Result<(), Trouble> {
        if before <= 1 {
            // No message is before it, and servers take this number as a purge of all messages.
            return Ok(());
        }
        let mut body = json!({"seq": before});
        if let Some(subject) = subject {
            body["filter"] = json!(subject);
        }
        self.api(&format!("STREAM.PURGE.{stream}"), &body).map(drop)
    }
}

/// Waits for a future, with a time limit.
fn within<T>(runtime: &Runtime, ms: u64, what: impl Future<Output = T>) -> Result<T, Elapsed> {
    runtime.block_on(async { timeout(Duration::from_millis(ms), what).await })
}

fn unexpected(answer: &Value) -> Trouble {
    Trouble::said(format!("JetStream answered what is not understood: {answer}"))
}

/// Parses an answer of JetStream, which may be an error.
fn answer(bytes: &[u8]) -> Result<Value, Trouble> {
    let answer: Value = serde_json::from_slice(bytes)
        .map_err(|error| Trouble::said(format!("JetStream's answer is not JSON: {error}")))?;
    let Some(error) = answer.get("error") else { return Ok(answer) };
    let code = error["err_code"].as_u64().or(error["code"].as_u64()).unwrap_or(0);
    let text = error["description"].as_str().unwrap_or("refused");
    Err(Trouble { code: Some(code.to_string()), text: format!("{text} ({code})") })
}

fn stored(bytes: &[u8]) -> Result<Option<Stored>, Trouble> {
    let answer = match answer(bytes) {
        Err(Trouble { code: Some(code), .. }) if code == NO_MESSAGE => return Ok(None),
        answer => answer?,
    };
    let message = &answer["message"];
    let data = message["data"].as_str().unwrap_or("");
    let (Some(seq), Ok(bytes), Some(time)) =
        (message["seq"].as_u64(), STANDARD.decode(data), message["time"].as_str())
    else {
        return Err(unexpected(&answer));
    };
    let time: jiff::Timestamp = time.parse().map_err(|_| unexpected(&answer))?;
    Ok(Some(Stored { seq, bytes, ms: time.as_millisecond() }))
}
