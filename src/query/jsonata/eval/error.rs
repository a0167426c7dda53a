//! Errors of evaluation.

use crate::fuel::Cut;
use std::fmt;

/// The kind of failure; AWS words their causes differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvalErrorKind {
    /// "threw an error during evaluation": JSONata raised an error or reached a bound.
    Thrown,
    /// "returned an unsupported result type": the value is or contains a function.
    UnsupportedResult,
    /// Cut from outside: the execution is over. Not an error of the expression.
    Cut(Cut),
}

/// A failed evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalError {
    /// The kind of failure.
    pub kind: EvalErrorKind,
    /// JSONata's code (`T2001`); bounds have none.
    pub code: Option<&'static str>,
    /// The message, without the code.
    pub message: String,
    /// The position, in UTF-16 code units from the beginning of the expression (the end of the token), if known.
    pub position: Option<usize>,
    /// The operator or the name of the function, if known.
    pub token: Option<String>,
}

/// Stands in messages for the name of the function, which the call knows.
pub(in crate::query::jsonata) const NAME: &str = "\u{0}";

impl EvalError {
    pub(in crate::query::jsonata) fn new(code: &'static str, message: String) -> EvalError {
        EvalError { kind: EvalErrorKind::Thrown, code: Some(code), message, position: None, token: None }
    }

    /// Tells of a function without a name as the reference does.
    #[cold]
    pub(in crate::query::jsonata) fn without_name(&mut self) {
        self.message = self.message.replace(&format!("\"{NAME}\""), "undefined");
    }

    pub(in crate::query::jsonata) fn bound(message: String) -> EvalError {
        EvalError { code: None, ..EvalError::new("", message) }
    }
}

impl EvalError {
    /// AWS's text of it, behind the expression and its field.
    pub fn says(&self) -> String {
        match self.kind {
            EvalErrorKind::Thrown | EvalErrorKind::Cut(_) => {
                // AWS joins errors with a code by a full stop, those without one by a colon.
                let join = if self.code.is_some() { '.' } else { ':' };
                format!("threw an error during evaluation{join} {self}")
            }
            EvalErrorKind::UnsupportedResult => "returned an unsupported result type.".to_owned(),
        }
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            None => f.write_str(&self.message),
            Some(code) => write!(f, "{code}: {}", self.message),
        }
    }
}

impl std::error::Error for EvalError {}

/// The failure of an evaluation inside of the evaluator.
///
/// Wider than the box it holds, so that `Result<Value, Failure>` has a tag of its own: sharing the tag with the value's
/// kind splits the value into a byte and the rest, and reading it back whole stalls (a fifth of an evaluation).
#[derive(Debug)]
pub(in crate::query::jsonata) struct Failure {
    error: Box<EvalError>,
    _width: u64,
}

impl Failure {
    #[cold]
    pub(in crate::query::jsonata) fn new(error: EvalError) -> Failure {
        Failure { error: Box::new(error), _width: 0 }
    }

    pub(in crate::query::jsonata) fn into_error(self) -> EvalError {
        *self.error
    }
}

impl std::ops::Deref for Failure {
    type Target = EvalError;

    fn deref(&self) -> &EvalError {
        &self.error
    }
}

impl std::ops::DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut EvalError {
        &mut self.error
    }
}
