//! The console for browsers: a page of a few files, and the actions it uses beside AWS's.
//!
//! The page has the same origin as the API and uses it as any client does. Actions that only the page needs are at
//! `POST /console/api`, with the same signatures, as `expressway:Inspect` and the like in files of keys. Their work is
//! done on [two threads of its own](ConsoleThreads): connections are served meanwhile, however large a draft is.

mod actions;
mod answer;
mod files;
mod lists;
mod live;
#[cfg(feature = "cluster")]
mod nodes;
mod page;
mod pipelines;
mod real_runs;
mod waits;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{SyncSender, sync_channel};

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderName;
use hyper::http::request::Parts;
use tokio::sync::oneshot;

use self::pipelines::Pipelines;
use self::real_runs::RealRuns;
use super::background;
use crate::api::{self, Call, Reply};
#[cfg(feature = "cluster")]
use crate::service::spread::{NOT_OWNED, Spread, Way, unavailable};
use crate::service::{Grant, Service};

pub use files::Files;
pub(super) use live::stream;
#[cfg(feature = "cluster")]
pub(super) use nodes::BETWEEN as BETWEEN_NODES;
pub(super) use page::{is_page, page};

/// The path of the page's actions.
pub(super) const API: &str = "/console/api";
/// The path of the streams.
pub(super) const LIVE: &str = "/console/live";
const PREFIX: &str = "Expressway.";
/// Gives access to a studio's files: its user has the key, other users of the machine do not.
const KEY: HeaderName = HeaderName::from_static("x-expressway-key");

/// The settings of the console.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Console {
    /// Files that the page may read and write.
    pub files: Option<Files>,
    /// Addresses of pipelines' own pages (`[pipe] metrics`), as `host:port`; their counts are shown.
    pub pipelines: Vec<String>,
    /// What pipelines want to have from those who have dead letters sent again (`[pipe] redrive_secret_file`).
    pub pipelines_secret: Option<String>,
    /// Whether drafts may be run for real, when the page asks for it: their tasks then do what those of the service's
    /// machines do, and call services.
    pub real_runs: bool,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Console { files, pipelines, pipelines_secret: _, real_runs } = self;
        f.debug_struct("Console")
            .field("files", files)
            .field("pipelines", pipelines)
            .field("real_runs", real_runs)
            .finish_non_exhaustive()
    }
}

/// Whether this is an action of the page, single or streamed.
pub(super) fn is_action(head: &Parts) -> bool {
    match head.uri.path() {
        API => head.method == Method::POST,
        LIVE => head.method == Method::GET,
        _ => false,
    }
}

/// Whether a grant allows an action of the page. Each caller may query its own permissions.
///
/// # Errors
/// What is not allowed.
pub(super) fn permit(call: Call<'_>, grant: &Grant) -> Result<(), String> {
    let action = call.target.strip_prefix(PREFIX).unwrap_or(call.target);
    match action {
        "Permissions" => Ok(()),
        _ => grant.check_own(&format!("expressway:{action}"), "*"),
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// The threads that do the page's actions.
///
/// What a person waits for and takes milliseconds, such as a list that is filtered, has a thread of normal priority.
/// On one of a lower priority, on a server whose processors are busy, it would take seconds. What computes for longer
/// or is repeated by itself, such as runs of drafts and the frames of a stream after the first, has that lower priority.
#[derive(Debug)]
pub(super) struct ConsoleThreads {
    prompt: SyncSender<Job>,
    patient: SyncSender<Job>,
    own: Arc<Own>,
    /// Open streams.
    streams: Arc<AtomicUsize>,
}

/// What the page's actions use beside the service.
#[derive(Debug)]
struct Own {
    files: Option<Files>,
    pipelines: Pipelines,
    /// None where drafts may not be run for real.
    real_runs: Option<RealRuns>,
}

/// Actions that may wait for a thread.
const WAITING_MAX: usize = 32;

/// Actions that read something of the server, and take milliseconds.
const PROMPT: [&str; 8] = [
    "About",
    "FindExecutions",
    "GetEvents",
    "GetExecution",
    "GetMachine",
    "Overview",
    "Permissions",
    "Resources",
];

/// Which thread an action is done on.
#[derive(Clone, Copy)]
enum Pace {
    Prompt,
    Patient,
}

/// Starts a thread, and returns what sends jobs to it.
fn thread(name: &str, begin: fn()) -> io::Result<SyncSender<Job>> {
    let (jobs, waiting) = sync_channel::<Job>(WAITING_MAX);
    let work = move || {
        begin();
        while let Ok(job) = waiting.recv() {
            job();
        }
    };
    std::thread::Builder::new().name(name.into()).stack_size(crate::limits::STACK_BYTES).spawn(work)?;
    Ok(jobs)
}

impl ConsoleThreads {
    pub(super) fn start(console: Console) -> io::Result<ConsoleThreads> {
        let own = Own {
            files: console.files,
            pipelines: Pipelines::new(console.pipelines, console.pipelines_secret.as_deref())?,
            real_runs: console.real_runs.then(RealRuns::new).transpose()?,
        };
        Ok(ConsoleThreads {
            prompt: thread("console", || {})?,
            patient: thread("console-background", crate::os::lower_priority)?,
            own: Arc::new(own),
            streams: Arc::default(),
        })
    }

    /// Whether a request may use this server at all. Where files are opened and drafts may call services, only pages
    /// that know the key of the files: others could have definitions of their own call them, by the API too.
    pub(super) fn admits(&self, head: &Parts) -> bool {
        let Own { files: Some(files), real_runs: Some(_), .. } = &*self.own else { return true };
        files.opens(key_of(head))
    }

    /// Answers an action of the page.
    pub(super) async fn answer(&self, service: &Service, head: &Parts, target: &str, body: &Bytes) -> Reply {
        let action = target.strip_prefix(PREFIX).unwrap_or("");
        let pace = if PROMPT.contains(&action) { Pace::Prompt } else { Pace::Patient };
        self.answer_at(pace, service, key_of(head).to_owned(), target, body).await
    }

    async fn answer_at(
        &self,
        pace: Pace,
        service: &Service,
        key: String,
        target: &str,
        body: &Bytes,
    ) -> Reply {
        let Some(action) = target.strip_prefix(PREFIX) else {
            return refusal(
                "UnknownOperationException",
                "The header X-Amz-Target must be Expressway.<Action>",
            );
        };
        #[cfg(feature = "cluster")]
        if let Some(reply) = self.answer_by_nodes(pace, service, action, body).await {
            return reply;
        }
        self.answer_here(pace, service, key, action, body).await
    }

    /// Answers an action of the page with what this node has.
    async fn answer_here(
        &self,
        pace: Pace,
        service: &Service,
        key: String,
        action: &str,
        body: &Bytes,
    ) -> Reply {
        let (action, own) = (action.to_owned(), Arc::clone(&self.own));
        let (_sender, revocable) = background::Revocable::new((body.clone(), service.clone()));
        let answer = move || {
            let (body, service) = revocable.open()?;
            Some(actions::answer(&service, &own, &key, &action, &body))
        };
        self.background(pace, answer).await
    }

    /// Does something on a thread of the console. Nothing is answered where the client is gone.
    async fn background(&self, pace: Pace, work: impl FnOnce() -> Option<Reply> + Send + 'static) -> Reply {
        let (answer, answered) = oneshot::channel();
        let job = move || {
            if let Some(reply) = work() {
                // The client may be gone.
                let _ = answer.send(reply);
            }
        };
        let jobs = match pace {
            Pace::Prompt => &self.prompt,
            Pace::Patient => &self.patient,
        };
        if jobs.try_send(Box::new(job)).is_err() {
            let mut reply = refusal("ThrottlingException", "The console is busy: try again");
            reply.retry_after_ms = Some(500);
            return reply;
        }
        // Without an answer, its thread panicked, or is gone.
        answered.await.unwrap_or_else(|_| refusal("InternalFailure", "The action did not finish"))
    }
}

#[cfg(feature = "cluster")]
impl ConsoleThreads {
    /// Answers an action of the page; `None`, if this node does it alone.
    async fn answer_by_nodes(
        &self,
        pace: Pace,
        service: &Service,
        action: &str,
        body: &Bytes,
    ) -> Option<Reply> {
        let spread = service.spread().filter(|_| !service.is_forwarded())?;
        let members: serde_json::Value = serde_json::from_slice(body).ok()?;
        let call = |body: &[u8]| service.peer_call(&format!("{BETWEEN_NODES}{action}"), None, body);
        match nodes::place(action, &members) {
            nodes::Place::Here => None,
            nodes::Place::Partition(partition) => Some(match spread.go(partition, &call(body), true).await {
                Ok(Way::Here(_pass)) => self.answer_here(pace, service, String::new(), action, body).await,
                Ok(Way::Answered(reply)) => reply.into(),
                Err(error) => api::refusal(&error),
            }),
            nodes::Place::Any => {
                let own = self.answer_here(pace, service, String::new(), action, body).await;
                if own.status == 200 {
                    return Some(own);
                }
                let Ok(others) = spread.ask_others(&call(body)).await else { return Some(own) };
                let known = others.into_iter().find_map(|(_, reply)| reply.filter(|it| it.status == 200));
                Some(known.map_or(own, Reply::from))
            }
            nodes::Place::All => {
                let body = match nodes::asked(action, &members) {
                    Some(changed) => Bytes::from(changed.to_string()),
                    None => body.clone(),
                };
                let own = self.answer_here(pace, service, String::new(), action, &body).await;
                let others = match spread.ask_others(&call(&body)).await {
                    Ok(others) => others,
                    Err(error) => return Some(api::refusal(&error)),
                };
                let action = action.to_owned();
                Some(self.background(pace, move || Some(nodes::merged(&action, &members, own, others))).await)
            }
        }
    }

    /// Answers an action for another node.
    pub(super) async fn answer_node(&self, service: &Service, action: &str, body: &Bytes) -> Reply {
        // Whether somebody waits for it, this node does not know.
        let pace = if PROMPT.contains(&action) { Pace::Prompt } else { Pace::Patient };
        let members = serde_json::from_slice(body).unwrap_or(serde_json::Value::Null);
        let _pass = match (nodes::place(action, &members), service.spread()) {
            (nodes::Place::Partition(partition), Some(spread)) => match Spread::enter(spread, partition) {
                Some(pass) => Some(pass),
                None => return api::refusal(&unavailable(NOT_OWNED)),
            },
            (nodes::Place::All | nodes::Place::Any, _) => None,
            _ => return refusal("UnknownOperationException", "Nodes do not ask each other for this"),
        };
        self.answer_here(pace, service, String::new(), action, body).await
    }
}

/// The key of a studio's files that a request comes with; empty without one.
fn key_of(head: &Parts) -> &str {
    head.headers.get(KEY).and_then(|key| key.to_str().ok()).unwrap_or("")
}

/// A refusal in AWS's form.
fn refusal(error: &'static str, message: &str) -> Reply {
    Reply {
        status: if error == "InternalFailure" { 500 } else { 400 },
        body: serde_json::json!({"__type": error, "message": message}).to_string().into_bytes(),
        error: Some(error.into()),
        retry_after_ms: None,
    }
}
