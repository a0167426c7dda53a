//! Lambda functions run by processes of this machine, which use Lambda's runtime API (Lambda developer guide, "Using
//! the Lambda runtime API for custom runtimes"): public runtime clients work unmodified, and files of Python and
//! JavaScript only need `python3` or `node`.
//!
//! ```no_run
//! use expressway::runtime::Engine;
//! use expressway::task::aws::Integrations;
//! use expressway::task::functions::Setup;
//!
//! let functions = Setup::new().folder("functions")?.command("tax", "python3 -m awslambdaric tax.handler")?.start()?;
//! let engine = Engine::builder().aws(Integrations::new().functions(functions)).build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A process is started when an invocation finds no idle one, up to a bound for each function; more invocations wait in
//! a queue, which is bounded, too. A process serves one invocation at a time, has its own address on loopback, and is
//! killed, with its child processes, when the invocation's timeout is over or its caller no longer waits. When this
//! process ends, for any reason, all function processes end.

mod bootstrap;
mod folder;
mod host;
mod lines;
mod process;
mod runtime_api;
mod watchdog;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::limits::{LAMBDA_PAYLOAD_BYTES_MAX, LAMBDA_SECONDS_MAX};

/// The functions, and the settings of their processes. Configured, then [started](Setup::start).
#[derive(Clone)]
#[must_use = "functions are answered once they are started"]
pub struct Setup {
    functions: BTreeMap<String, Program>,
    timeout: Duration,
    concurrency_max: usize,
    region: String,
    log: Log,
}

/// The destination of functions' output: called with a function's name and a line.
type Log = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// The command of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    program: String,
    arguments: Vec<String>,
    /// A variable of its environment.
    variable: Option<(&'static str, &'static str)>,
    folder: Option<PathBuf>,
    /// For people.
    shown: String,
}

/// Why functions cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The name is not valid for a function.
    #[error("'{0}' is no name of a function: 1 to 64 letters, digits, hyphens and underscores")]
    Name(String),
    /// Two functions have the same name.
    #[error("there are two functions {0}")]
    Twice(String),
    /// There is nothing to run.
    #[error("the function {0} has an empty command")]
    NoCommand(String),
    /// The folder cannot be read.
    #[error("cannot read the folder of functions {}: {}", .0, crate::os::words(.1))]
    Folder(String, std::io::Error),
    /// There is no function in the folder.
    #[error(
        "there are no functions in {0}: each is a file such as tax.py or tax.mjs, an executable, or a folder"
    )]
    NoFunctions(String),
    /// A folder has nothing that could be run.
    #[error("the folder {0} is no function: it has none of {1}")]
    NotAFunction(String, String),
    /// The thread that manages processes could not be started.
    #[error("cannot start what looks after functions: {}", crate::os::words(.0))]
    Start(#[from] std::io::Error),
}

impl Default for Setup {
    fn default() -> Setup {
        Setup::new()
    }
}

impl Setup {
    /// No functions; an invocation may take a minute, and a function may have 16 processes.
    pub fn new() -> Setup {
        Setup {
            functions: BTreeMap::new(),
            timeout: Duration::from_secs(60),
            concurrency_max: 16,
            region: "us-east-1".to_owned(),
            log: Arc::new(|function, line| {
                tracing::info!(target: "expressway::functions", "{function}: {line}");
            }),
        }
    }

    /// A function that is a command, which `sh` runs in the current folder. It finds the address of the runtime API in
    /// `AWS_LAMBDA_RUNTIME_API`.
    ///
    /// # Errors
    /// When the name is invalid, or already used; when the command is empty.
    pub fn command(self, name: &str, command: &str) -> Result<Setup, SetupError> {
        if command.trim().is_empty() {
            return Err(SetupError::NoCommand(name.to_owned()));
        }
        let program = Program {
            program: "sh".to_owned(),
            arguments: vec!["-c".to_owned(), command.to_owned()],
            variable: None,
            folder: None,
            shown: command.to_owned(),
        };
        self.add(name.to_owned(), program)
    }

    /// A function for each of these in a folder, by its name: files `NAME.py`, `NAME.mjs`, `NAME.js` and `NAME.cjs`
    /// that have a function `handler` (or `lambda_handler`), executable files, and folders with an executable
    /// `bootstrap`, or with `index`, `handler`, `app`, `main` or `lambda_function` in Python or JavaScript. Other files
    /// are ignored, and so are names that begin with a dot or an underscore.
    ///
    /// # Errors
    /// When the folder cannot be read, or has no function in it; when a folder in it is not a function; when a name is
    /// invalid, or already used.
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Result<Setup, SetupError> {
        for (name, program) in folder::functions(folder.as_ref())? {
            self = self.add(name, program)?;
        }
        Ok(self)
    }

    fn add(mut self, name: String, program: Program) -> Result<Setup, SetupError> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=64).contains(&name.len()) || !name.bytes().all(is_letter) {
            return Err(SetupError::Name(name));
        }
        if self.functions.contains_key(&name) {
            return Err(SetupError::Twice(name));
        }
        self.functions.insert(name, program);
        Ok(self)
    }

    /// The timeout of an invocation, from when a process has it; a second to 15 minutes.
    pub fn timeout(mut self, timeout: Duration) -> Setup {
        self.timeout = timeout.clamp(Duration::from_secs(1), Duration::from_secs(LAMBDA_SECONDS_MAX));
        self
    }

    /// How many processes a function may have: its concurrency.
    pub fn concurrency_max(mut self, processes: usize) -> Setup {
        self.concurrency_max = processes.clamp(1, 1_000);
        self
    }

    /// The region in the environment of processes (`AWS_REGION`).
    pub fn region(mut self, region: impl Into<String>) -> Setup {
        self.region = region.into();
        self
    }

    /// Sets the destination of functions' output, by default the log with the target `expressway::functions`. It is
    /// called with a function's name and a line, which has no control characters and at most 8 KiB.
    pub fn log(mut self, log: impl Fn(&str, &str) + Send + Sync + 'static) -> Setup {
        self.log = Arc::new(log);
        self
    }

    /// Answers invocations from now on. Processes are started by their first invocations.
    ///
    /// # Errors
    /// When the thread that manages processes cannot be started.
    pub fn start(self) -> Result<Functions, SetupError> {
        let shown = self.functions.iter().map(|(name, it)| (name.clone(), it.shown.clone())).collect();
        let (mail, letters) = mpsc::channel(MAIL_MAX);
        let (ends, ending) = watch::channel(false);
        let thread = host::start(self, letters, ending)?;
        Ok(Functions(Arc::new(Inner { shown, mail, ends, thread: Mutex::new(Some(thread)) })))
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("functions", &self.functions).finish_non_exhaustive()
    }
}

/// Invocations on their way to the thread that dispatches them.
const MAIL_MAX: usize = 1_024;

/// Running functions, until this and all its clones are dropped, or they are [ended](Functions::end).
#[derive(Clone, Debug)]
pub struct Functions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The commands, by the function's name.
    shown: BTreeMap<String, String>,
    mail: mpsc::Sender<Letter>,
    ends: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// An invocation for a process.
#[derive(Debug)]
struct Letter {
    function: String,
    arn: String,
    payload: Vec<u8>,
    client_context: Option<String>,
    /// `None` if the caller does not wait for an answer.
    answer: Option<oneshot::Sender<Result<Answer, Refusal>>>,
}

impl Letter {
    /// Whether the caller has gone away.
    fn is_unwanted(&self) -> bool {
        self.answer.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    fn answer(self, answer: Result<Answer, Refusal>) {
        if let Some(waiting) = self.answer {
            // The caller may be gone.
            let _ = waiting.send(answer);
        }
    }
}

/// The request of an invocation (Lambda API reference, `Invoke`).
#[derive(Debug)]
pub(crate) struct Invocation<'i> {
    /// A name or an ARN, with or without a version or an alias.
    pub(crate) function: &'i str,
    pub(crate) qualifier: Option<&'i str>,
    pub(crate) payload: Vec<u8>,
    /// JSON text.
    pub(crate) client_context: Option<String>,
    /// The caller does not wait for the answer (`InvocationType` `Event`).
    pub(crate) is_event: bool,
}

/// The result of an invocation.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) payload: Vec<u8>,
    /// The function failed, and the payload has the error.
    pub(crate) is_error: bool,
    /// The end of its output.
    pub(crate) log_tail: Vec<u8>,
}

/// An invocation that is refused: an error of the API.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
}

fn refusal(status: u16, kind: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { status, kind, message: message.into() }
}

impl Functions {
    /// The names of all functions, and their commands.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.shown.iter().map(|(name, shown)| (name.as_str(), shown.as_str()))
    }

    /// The name of the function for a name or an ARN, if it exists.
    pub fn find(&self, function: &str) -> Option<&str> {
        let (name, _) = named(function);
        self.0.shown.get_key_value(name).map(|(name, _)| name.as_str())
    }

    /// Invokes a function. Dropping the future kills its process.
    pub(crate) async fn invoke(&self, invocation: Invocation<'_>) -> Result<Answer, Refusal> {
        let Invocation { function, qualifier, payload, client_context, is_event } = invocation;
        let (name, named_qualifier) = named(function);
        let qualifier = qualifier.or(named_qualifier);
        let qualified = |arn: String| match qualifier {
            Some(qualifier) => format!("{arn}:{qualifier}"),
            None => arn,
        };
        let arn = if !function.starts_with("arn:") {
            qualified(format!("arn:aws:lambda:us-east-1:123456789012:function:{name}"))
        } else if named_qualifier.is_some() {
            function.to_owned()
        } else {
            qualified(function.to_owned())
        };
        let Some(name) = self.find(name) else {
            let end = if qualifier.is_none() { ":$LATEST" } else { "" };
            return Err(refusal(404, "ResourceNotFoundException", format!("Function not found: {arn}{end}")));
        };
        if payload.len() > LAMBDA_PAYLOAD_BYTES_MAX {
            let bytes = payload.len();
            return Err(refusal(
                413,
                "RequestTooLargeException",
                format!(
                    "Request must be smaller than {LAMBDA_PAYLOAD_BYTES_MAX} bytes for the InvokeFunction operation; it has {bytes}"
                ),
            ));
        }
        let (answer, answered) = oneshot::channel();
        let letter = Letter {
            function: name.to_owned(),
            arn,
            payload: if payload.is_empty() { b"{}".to_vec() } else { payload },
            client_context,
            answer: (!is_event).then_some(answer),
        };
        let ended = || refusal(500, "ServiceException", "The functions of this machine were ended.");
        self.0.mail.send(letter).await.map_err(|_| ended())?;
        if is_event {
            return Ok(Answer::default());
        }
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Ends all processes, and answers no more invocations.
    pub fn end(&self) {
        self.0.end();
    }
}

impl Inner {
    fn end(&self) {
        self.ends.send_replace(true);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic was reported, and its processes ended with its watchdog.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end();
    }
}

/// Name and qualifier of a function: `NAME`, `NAME:ALIAS`, `123456789012:function:NAME`, or an ARN.
fn named(function: &str) -> (&str, Option<&str>) {
    let rest = function.rsplit_once(":function:").map_or(function, |(_, rest)| rest);
    match rest.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (rest, None),
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn functions_are_named_in_four_ways() {
        for (function, name, qualifier) in [
            ("tax", "tax", None),
            ("tax:prod", "tax", Some("prod")),
            ("123456789012:function:tax", "tax", None),
            ("arn:aws:lambda:eu-west-1:123456789012:function:tax", "tax", None),
            ("arn:aws:lambda:eu-west-1:123456789012:function:tax:$LATEST", "tax", Some("$LATEST")),
        ] {
            assert_eq!(named(function), (name, qualifier), "{function}");
        }
    }
}
