//! Why a journal refuses a record, ends, or cannot be opened.

use std::io;

use super::block;
use super::lsn::Lsn;

/// Why a record was not appended. It will not be in the journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No new segment can be made.
    #[error("the journal is full: {0}")]
    Full(String),
    /// The journal's database does not answer, or refuses. Earlier records wait, and are written when it works again.
    #[error("the journal's database is away: {0}")]
    Away(String),
    /// The disk is behind: retry soon.
    #[error("the journal's disk is behind with what was appended before")]
    Busy,
    /// A record is too large.
    #[error("a record of {bytes} bytes is larger than the {bytes_max} that one may have")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The journal has ended.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// The end of a journal: what was not durable by then may be lost, and nothing more is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal has ended, because {doing} block {lsn} in {file} failed: {error}. \
     It is not tried again: the process has to end, and to recover when it starts"
)]
pub struct Failure {
    /// The block that is in doubt.
    pub lsn: Lsn,
    /// The file it was to be in.
    pub file: String,
    /// Writing or syncing.
    pub doing: &'static str,
    /// The system's error.
    pub error: String,
}

/// Why a journal cannot be opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// An error of the system.
    #[error("{what}: {}", crate::os::words(source))]
    Io {
        /// What was attempted.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// The content is not what was written. It is not repaired, because that would lose durable records.
    #[error("the journal is damaged: {file}, offset {offset}: {what}")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A newer release has written it.
    #[error(
        "{file}, offset {offset}, is in version {version} of the journal's format; this release reads up to {}",
        block::VERSION
    )]
    Newer {
        /// The file.
        file: String,
        /// Where in it.
        offset: u64,
        /// The version found.
        version: u16,
    },
    /// Another process owns it.
    #[error("{0} is in use by another process: one journal belongs to one process")]
    Held(String),
    /// The engine cannot hold a journal, because its acknowledged writes are not durable, for example.
    #[error("{0}")]
    Unfit(String),
    /// An option is out of its range.
    #[error("{0}")]
    Options(&'static str),
    /// The disk failed while it was opened.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl JournalError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> JournalError {
        |source| JournalError::Io { what: what.into(), source }
    }
}
