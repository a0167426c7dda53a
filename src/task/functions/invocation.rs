//! Invocations of functions, and their answers.

use tokio::sync::oneshot;

/// An invocation for a process.
#[derive(Debug)]
pub(super) struct QueuedInvocation {
    pub(super) function: String,
    pub(super) arn: String,
    pub(super) payload: Vec<u8>,
    pub(super) client_context: Option<String>,
    /// `None` if the caller does not wait for an answer.
    pub(super) answer: Option<oneshot::Sender<Result<Answer, Refusal>>>,
}

impl QueuedInvocation {
    /// Whether the caller has gone away.
    pub(super) fn is_unwanted(&self) -> bool {
        self.answer.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Answers the caller, if there still is one.
    pub(super) fn answer(self, answer: Result<Answer, Refusal>) {
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

pub(super) fn refusal(status: u16, kind: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { status, kind, message: message.into() }
}
