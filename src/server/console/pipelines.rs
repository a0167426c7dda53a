//! Pipelines, which are other processes: their counts, from the pages that they serve (`[pipe] metrics`).
//!
//! While a page of the console shows pipelines, a thread polls all of them at once, every second. The page's action
//! returns the last answers without waiting.

use crate::os;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue};
use hyper::http::request;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The time between two requests to a pipeline, and the time that it has to answer.
const EVERY: Duration = Duration::from_secs(1);
/// How long pipelines are polled after a page has shown them.
const WATCHED: Duration = Duration::from_secs(5);
/// The maximum size of an answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The pipelines of a server's console.
#[derive(Debug)]
pub(super) struct Pipelines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    addresses: Vec<String>,
    /// What they want to have from those who have dead letters sent again.
    secret: Option<HeaderValue>,
    state: Mutex<State>,
    /// Wakes the thread: a page shows the pipelines, or the console ends.
    wanted: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Until when they are polled.
    until: Option<Instant>,
    /// The last answer of each; empty before the first.
    answers: Vec<Answer>,
    /// Those that are to send dead letters again.
    asked: Vec<String>,
    /// Why the last such request was refused, by address.
    refused: BTreeMap<String, String>,
    is_over: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    address: String,
    /// The time of the answer, or of the failure, in milliseconds since 1970.
    at: u64,
    /// Why there is no answer.
    error: Option<String>,
    #[serde(flatten)]
    stats: Option<Stats>,
}

/// A pipeline's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    source: Option<String>,
    sink: Option<String>,
    dead_letters: Option<String>,
    ready: bool,
    in_flight: u64,
    lag: Option<u64>,
    counts: BTreeMap<String, u64>,
    /// Null if it cannot send dead letters again.
    #[serde(default)]
    redrive: Json,
}

impl Pipelines {
    /// Pipelines whose pages are at these addresses, as `host:port`.
    pub(super) fn new(addresses: Vec<String>, secret: Option<&str>) -> io::Result<Pipelines> {
        let secret = secret.map(HeaderValue::from_str).transpose();
        let mut secret = secret
            .map_err(|_| io::Error::other("the pipelines' secret has bytes that no header may have"))?;
        secret.iter_mut().for_each(|secret| secret.set_sensitive(true));
        let shared = Arc::new(Shared { addresses, secret, state: Mutex::default(), wanted: Condvar::new() });
        if !shared.addresses.is_empty() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let asked = Arc::clone(&shared);
            std::thread::Builder::new().name("pipelines".into()).spawn(move || ask(&asked, &runtime))?;
        }
        Ok(Pipelines(shared))
    }

    /// The last answers, which are kept up to date for some seconds from now on.
    pub(super) fn answer(&self) -> Json {
        let mut state = self.0.lock();
        state.until = Some(Instant::now() + WATCHED);
        self.0.wanted.notify_all();
        json!({
            "configured": self.0.addresses.len(), "pipelines": state.answers, "redriveRefused": state.refused,
        })
    }

    /// Asks the pipeline at this address to send its dead letters again; answers say how that went.
    ///
    /// # Errors
    /// When this server was not told of a pipeline at this address.
    pub(super) fn redrive(&self, address: &str) -> Result<(), String> {
        if !self.0.addresses.iter().any(|known| known == address) {
            return Err(format!(
                "This server was not told of a pipeline at {address:?}: see `serve --pipeline`"
            ));
        }
        let mut state = self.0.lock();
        state.until = Some(Instant::now() + WATCHED);
        state.refused.remove(address);
        if !state.asked.iter().any(|asked| asked == address) {
            state.asked.push(address.to_owned());
        }
        self.0.wanted.notify_all();
        Ok(())
    }
}

impl Drop for Pipelines {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.wanted.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a page shows the pipelines. Returns false at the end.
    fn wait(&self) -> bool {
        let mut state = self.lock();
        while !state.is_over && state.until.is_none_or(|until| until < Instant::now()) {
            state = self.wanted.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.is_over
    }
}

/// The thread that polls the pipelines.
fn ask(shared: &Shared, runtime: &tokio::runtime::Runtime) {
    while shared.wait() {
        let round = Instant::now();
        let asked = std::mem::take(&mut shared.lock().asked);
        for address in asked {
            if let Err(why) = runtime.block_on(within(redrive(&address, shared.secret.as_ref()))) {
                shared.lock().refused.insert(address, why);
            }
        }
        let answers = runtime.block_on(ask_all(&shared.addresses));
        let mut state = shared.lock();
        state.answers = answers;
        let left = EVERY.saturating_sub(round.elapsed());
        // That a page looks does not shorten the pause; what it wants to have done, and the end, do.
        let is_going_on = |state: &mut State| !state.is_over && state.asked.is_empty();
        let _ended = shared.wanted.wait_timeout_while(state, left, is_going_on);
    }
}

async fn ask_all(addresses: &[String]) -> Vec<Answer> {
    let mut asked = JoinSet::new();
    for (n, address) in addresses.iter().cloned().enumerate() {
        asked.spawn(async move {
            let stats = within(fetch(&address)).await;
            let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |at| at.as_millis());
            let at = u64::try_from(at).unwrap_or(u64::MAX);
            let (error, stats) = match stats {
                Ok(stats) => (None, Some(stats)),
                Err(error) => (Some(error), None),
            };
            (n, Answer { address, at, error, stats })
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_unstable_by_key(|(n, _)| *n);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn within<T>(answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let answer = tokio::time::timeout(EVERY, answer).await;
    answer.unwrap_or_else(|_| Err(format!("no answer within {} s", EVERY.as_secs())))
}

async fn fetch(address: &str) -> Result<Stats, String> {
    let (status, body) = send(address, Request::get("/stats")).await?;
    if status != StatusCode::OK {
        return Err(refusal(status, &body));
    }
    serde_json::from_slice(&body).map_err(|error| format!("not the answer of a pipeline: {error}"))
}

async fn redrive(address: &str, secret: Option<&HeaderValue>) -> Result<(), String> {
    let request = Request::post("/redrive").header(CONTENT_LENGTH, 0);
    let request = match secret {
        Some(secret) => request.header("x-expressway-secret", secret),
        None => request,
    };
    match send(address, request).await? {
        (StatusCode::ACCEPTED, _) => Ok(()),
        (StatusCode::NOT_FOUND, _) => {
            Err("this pipeline is of an older version, which cannot do that".to_owned())
        }
        (status, body) => Err(refusal(status, &body)),
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    format!("{status}: {}", text.trim().chars().take(400).collect::<String>())
}

async fn send(address: &str, request: request::Builder) -> Result<(StatusCode, Bytes), String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("cannot connect: {}", os::words(&error)))?;
    let broken =
        |error: hyper::Error| format!("the connection broke: {}", os::without_number(&error.to_string()));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends when the answer is read and the sender is dropped.
    tokio::spawn(connection);
    let request = request.header(HOST, address).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| format!("not an address of HTTP: {error}"))?;
    let reply = sender.send_request(request).await.map_err(broken)?;
    let status = reply.status();
    let body = Limited::new(reply.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body
        .map_err(|error| format!("the answer cannot be read: {}", os::without_number(&error.to_string())))?
        .to_bytes();
    Ok((status, body))
}
