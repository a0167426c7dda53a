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
mod invocation;
mod lines;
mod process;
mod program;
mod runtime_api;
mod setup;
mod watchdog;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};

use crate::limits::LAMBDA_PAYLOAD_BYTES_MAX;
pub(crate) use invocation::{Answer, Invocation, Refusal};
use invocation::{QueuedInvocation, refusal};
pub use program::SetupError;
pub use setup::Setup;

impl Setup {
    /// Answers invocations from now on. Processes are started by their first invocations.
    ///
    /// # Errors
    /// When the thread that manages processes cannot be started.
    pub fn start(self) -> Result<Functions, SetupError> {
        let shown = self.functions.iter().map(|(name, it)| (name.clone(), it.shown.clone())).collect();
        let (queue, invocations) = mpsc::channel(QUEUED_MAX);
        let (ends, ending) = watch::channel(false);
        let thread = host::start(self, invocations, ending)?;
        Ok(Functions(Arc::new(Inner { shown, queue, ends, thread: Mutex::new(Some(thread)) })))
    }
}

/// Invocations on their way to the thread that dispatches them.
const QUEUED_MAX: usize = 1_024;

/// Running functions, until this and all its clones are dropped, or they are [ended](Functions::end).
#[derive(Clone, Debug)]
pub struct Functions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The commands, by the function's name.
    shown: BTreeMap<String, String>,
    queue: mpsc::Sender<QueuedInvocation>,
    ends: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
        let queued = QueuedInvocation {
            function: name.to_owned(),
            arn,
            payload: if payload.is_empty() { b"{}".to_vec() } else { payload },
            client_context,
            answer: (!is_event).then_some(answer),
        };
        let ended = || refusal(500, "ServiceException", "The functions of this machine were ended.");
        self.0.queue.send(queued).await.map_err(|_| ended())?;
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
