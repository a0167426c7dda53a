//! How a command ends.

use std::path::Path;
use std::{fmt, io};

use expressway::asl;
use expressway::os;

/// Why a command ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// Standard output was closed by its reader, as after `| head`.
    #[error("standard output was closed")]
    NobodyReads,
    /// It cannot be carried out; the sentence says why.
    #[error("{0}")]
    Failed(String),
    /// As before, because of what stands at a place of a project.
    #[error("{0}")]
    At(Box<Problem>),
    /// As before, and why was already printed.
    #[error("the definition has errors")]
    AlreadySaid,
}

/// The result of a command that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    Well,
    /// Some of it failed.
    PartlyWrong,
    /// Interrupted before it was done.
    Interrupted,
}

impl Stop {
    pub(super) fn failed(text: impl Into<String>) -> Stop {
        Stop::Failed(text.into())
    }

    /// The stop for an error of writing to standard output.
    pub(super) fn writing(error: &io::Error) -> Stop {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Stop::NobodyReads,
            _ => Stop::failed(format!("cannot write to standard output: {}", os::words(error))),
        }
    }

    /// The stop for what is wrong at a place of a project.
    pub(super) fn at(place: Place, what: impl fmt::Display) -> Stop {
        Stop::At(Box::new(Problem { place, what: what.to_string() }))
    }
}

/// A place in a file of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    /// Line and column, if they are known.
    pub(super) at: Option<(u32, u32)>,
    /// The names that lead to it, such as `Resources/Orders/Properties`; empty where a line says it all.
    pub(super) names: String,
}

impl Place {
    /// The place of a byte of a file.
    pub(super) fn in_text(file: &Path, text: &str, byte: usize) -> Place {
        let at = Some(asl::diagnostic::line_column(text, byte));
        Place { file: file.display().to_string(), at, names: String::new() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.file)?;
        if let Some((line, _)) = self.at {
            write!(out, ":{line}")?;
        }
        if self.names.is_empty() { Ok(()) } else { write!(out, ": {}", self.names) }
    }
}

/// What is wrong at a place of a project, or not known there, and what to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) place: Place,
    pub(super) what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.what)
    }
}
