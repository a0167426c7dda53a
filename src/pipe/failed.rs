//! Events that failed permanently, for a listener that is called for each.

use std::fmt;

use super::event::Provenance;

/// An event that failed for good. Its text is one line for people, and has no data of the event but what the cause
/// quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedEvent {
    /// Where it came from.
    pub provenance: Provenance,
    /// The error's name, if it has one.
    pub error: Option<String>,
    /// What is said of it.
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

/// Hears of events that failed for good.
pub(super) type Listener = Box<dyn Fn(&FailedEvent) + Send + Sync>;
