//! Errors of conversions between Rust types and values, with their place in the value.

use std::fmt;

use crate::limits;

/// A typed struct does not fit a value, or a value cannot be made of it.
#[derive(Debug)]
pub struct Error {
    detail: Box<Detail>,
}

#[derive(Debug)]
struct Detail {
    kind: ErrorKind,
    message: String,
    /// Innermost first, as errors travel outwards.
    path: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// The kind of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The value is not what the type needs, or the type's own code refused it.
    Mismatch,
    /// A map key is neither a string nor a value with an unambiguous text (integer, finite float, boolean, character).
    Key,
    /// Nested deeper than [`limits::JSON_DEPTH_MAX`].
    TooDeep,
    /// The arena's budget of bytes is used up.
    TooLarge,
}

impl Error {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { detail: Box::new(Detail { kind, message: message.into(), path: Vec::new() }) }
    }

    pub(super) fn too_deep() -> Error {
        Error::new(ErrorKind::TooDeep, format!("nested deeper than {} levels", limits::JSON_DEPTH_MAX))
    }

    pub(super) fn too_large() -> Error {
        Error::new(ErrorKind::TooLarge, "the value is too large")
    }

    pub(super) fn in_member(mut self, key: &str) -> Error {
        self.detail.path.push(Step::Key(key.into()));
        self
    }

    pub(super) fn in_item(mut self, index: usize) -> Error {
        self.detail.path.push(Step::Index(index));
        self
    }

    /// The kind of error.
    pub fn kind(&self) -> ErrorKind {
        self.detail.kind
    }

    /// The message, without the place.
    pub fn message(&self) -> &str {
        &self.detail.message
    }

    /// The place in the value, as a path such as `$.lines[2]['unit price']`; `$` is the value itself.
    pub fn path(&self) -> String {
        let mut path = String::from("$");
        for step in self.detail.path.iter().rev() {
            match step {
                Step::Index(index) => path.push_str(&format!("[{index}]")),
                Step::Key(key) if plain(key) => {
                    path.push('.');
                    path.push_str(key);
                }
                Step::Key(key) => {
                    path.push_str("['");
                    path.push_str(&key.replace('\\', "\\\\").replace('\'', "\\'"));
                    path.push_str("']");
                }
            }
        }
        path
    }
}

fn plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.path.is_empty() {
            f.write_str(self.message())
        } else {
            write!(f, "{} at {}", self.message(), self.path())
        }
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Error {
        Error::new(ErrorKind::Mismatch, message.to_string())
    }
}

impl serde::ser::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Error {
        Error::new(ErrorKind::Mismatch, message.to_string())
    }
}
