//! Errors of compiling an expression.

use std::fmt;

/// AWS's diagnostic for an error (`CreateStateMachine`, `ValidateStateMachineDefinition`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompileErrorKind {
    /// `INVALID_JSONATA_EXPRESSION`: it does not parse.
    Invalid,
    /// `UNSUPPORTED_JSONATA_EXPRESSION`: it parses, but refers to something that is not available.
    Unsupported,
}

impl CompileErrorKind {
    /// AWS's diagnostic code.
    pub const fn code(self) -> &'static str {
        match self {
            CompileErrorKind::Invalid => "INVALID_JSONATA_EXPRESSION",
            CompileErrorKind::Unsupported => "UNSUPPORTED_JSONATA_EXPRESSION",
        }
    }
}

/// A refused expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// The diagnostic.
    pub kind: CompileErrorKind,
    /// JSONata's code (`S0201`), empty for what only AWS refuses.
    pub code: &'static str,
    /// JSONata's or AWS's message, without the code.
    pub message: String,
    /// The position, in UTF-16 code units from the beginning of the expression; as in the reference implementation this
    /// is the end of the offending token.
    pub position: usize,
    /// The position as a byte offset.
    pub offset: usize,
    /// The offending token, if there is one.
    pub token: Option<String>,
}

impl CompileError {
    pub(in crate::query::jsonata) fn new(
        code: &'static str,
        offset: usize,
        token: Option<&str>,
        message: String,
    ) -> CompileError {
        CompileError {
            kind: CompileErrorKind::Invalid,
            code,
            message,
            position: 0,
            offset,
            token: token.map(str::to_owned),
        }
    }

    pub(in crate::query::jsonata) fn unsupported(
        offset: usize,
        token: &str,
        message: String,
    ) -> CompileError {
        CompileError {
            kind: CompileErrorKind::Unsupported,
            ..CompileError::new("", offset, Some(token), message)
        }
    }

    /// Fills in `position` from `offset`.
    pub(in crate::query::jsonata) fn located(mut self, source: &str) -> CompileError {
        self.position = utf16_offset(source, self.offset);
        self
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            "" => f.write_str(&self.message),
            code => write!(f, "{code}: {}", self.message),
        }
    }
}

impl std::error::Error for CompileError {}

/// The UTF-16 offset of a byte offset; beyond the text, its end.
pub(in crate::query::jsonata) fn utf16_offset(source: &str, offset: usize) -> usize {
    source.char_indices().take_while(|&(at, _)| at < offset).map(|(_, c)| c.len_utf16()).sum()
}
