//! Events that failed permanently: why, and a listener that is called for each.

use std::fmt;
use std::sync::Arc;

use super::event::Provenance;
use super::failure_report::FailureReport;
use crate::fault::{self, Fault};

/// An event that failed permanently. It is displayed as one line of text, without data of the event except what the
/// cause quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedEvent {
    /// Where it came from.
    pub provenance: Provenance,
    /// The error's name, if it has one.
    pub error: Option<String>,
    /// The cause, if there is one.
    pub cause: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
}

impl fmt::Display for FailedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Provenance { source, id, .. } = &self.provenance;
        write!(f, "{source} {id}: {}", self.error.as_deref().unwrap_or("(no error name)"))?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

/// A listener to events that failed permanently.
pub(super) type Listener = Box<dyn Fn(&FailedEvent) + Send + Sync>;

/// Why an event has no output.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: Option<String>,
    pub(super) cause: Option<String>,
    /// Whether a retry cannot help.
    pub(super) is_final: bool,
    /// The report of the execution, if it was the last one and watched.
    pub(super) failure_report: Option<Arc<FailureReport>>,
}

impl Failure {
    pub(super) fn new(error: &str, cause: impl Into<String>) -> Failure {
        Failure {
            error: Some(error.to_owned()),
            cause: Some(cause.into()),
            is_final: false,
            failure_report: None,
        }
    }

    pub(super) fn of(Fault { error, cause }: Fault) -> Failure {
        Failure { error: error.map(|error| error.to_string()), cause, is_final: false, failure_report: None }
    }

    pub(super) fn timed_out() -> Failure {
        Failure { error: Some(fault::TIMEOUT.to_owned()), cause: None, is_final: false, failure_report: None }
    }

    pub(super) fn poison(cause: impl Into<String>) -> Failure {
        Failure { is_final: true, ..Failure::new(fault::RUNTIME, cause) }
    }
}

/// An event that failed permanently, why, and after how many attempts.
pub(super) type Lost = (u32, Failure, u32);
