//! Events that failed permanently, for a listener that is called for each.

use std::fmt;

use super::event::Provenance;

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
