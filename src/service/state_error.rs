//! Why what is stored cannot be used.

use std::path::PathBuf;
use std::time::Duration;

use super::{Error, Exception};
use crate::limits;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Its folder cannot be made.
    #[error("the folder {} cannot be made: {}", path.display(), crate::os::words(error))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The database failed.
    #[error("the stored state cannot be used: {0}")]
    Database(String),
    /// Nothing can be written at present.
    #[error("{why}")]
    Unavailable {
        /// Why.
        why: String,
        /// When it is tried again.
        retry_after: Duration,
    },
    /// The opened file is no longer in its place.
    #[error("the stored state was removed: {0}")]
    Gone(String),
    /// A record is not what this version writes.
    #[error("the stored record of {arn} cannot be read: {why}")]
    Broken {
        /// The resource.
        arn: String,
        /// Why.
        why: String,
    },
}

pub(super) fn database(error: impl Into<redb::Error>) -> StateError {
    StateError::Database(match error.into() {
        redb::Error::DatabaseAlreadyOpen => "it is in use by another process".to_owned(),
        error => error.to_string(),
    })
}

impl From<StateError> for Error {
    fn from(error: StateError) -> Error {
        let retry_after = match &error {
            StateError::Unavailable { retry_after, .. } => *retry_after,
            _ => Duration::from_millis(limits::STORE_RETRY_MS_MIN),
        };
        let message = format!("Nothing was changed: {error}");
        Error { retry_after: Some(retry_after), ..Error::new(Exception::InternalFailure, message) }
    }
}
