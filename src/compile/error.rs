//! Errors of definitions: those of the compiler, and those of creating a program or a state machine.

use crate::asl;

/// Why a checked definition cannot be compiled: the location, in AWS's form, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at {location}")]
pub struct Error {
    /// Such as `/States/Charge/Parameters`.
    pub location: String,
    /// What is wrong.
    pub message: String,
}

/// Why a definition is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// It is not valid; warnings are among these as well.
    #[error("{}", asl::explain_invalid(.0))]
    Invalid(Vec<asl::Diagnostic>),
    /// It is valid, but this engine cannot run it.
    #[error("the definition cannot be compiled: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unsupported(Vec<Error>),
    /// It is valid, but these tasks have no handler in the engine: register one for each, or accept that they fail when
    /// they begin.
    #[error("some tasks have no handler: {}. Register a handler for each, or accept that they fail when they begin \
             (`accept_unhandled`)", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unhandled(Vec<Error>),
    /// The engine has a state machine of this name.
    #[error("a state machine '{0}' already exists")]
    NameTaken(String),
    /// The state machine belongs to another engine.
    #[error("the state machine belongs to another engine")]
    Foreign,
}

impl DefinitionError {
    /// The error for users who have the definition before them: each problem with its line of the source, the place
    /// marked. `file` is the name of the definition. What has no place in the text is formatted as by `Display`.
    ///
    /// ```
    /// use expressway::program::Program;
    ///
    /// let definition = r#"{"StartAt": "Hi", "States": {"Hi": {"Type": "Pass", "Ende": true}}}"#;
    /// let error = definition.parse::<Program>().unwrap_err();
    /// assert!(error.excerpts("hi.asl.json", definition).contains("--> hi.asl.json:1:53"));
    /// ```
    #[cfg(feature = "excerpts")]
    pub fn excerpts(&self, file: &str, definition: &str) -> String {
        let shown = match self {
            DefinitionError::Invalid(problems) => {
                let shown = problems.iter().map(|problem| asl::excerpt(problem, file, definition, false));
                Some(shown.collect::<Vec<_>>().join("\n\n"))
            }
            DefinitionError::Unsupported(errors) => located("UNSUPPORTED_FEATURE", errors, file, definition),
            DefinitionError::Unhandled(errors) => located("NO_HANDLER", errors, file, definition),
            DefinitionError::NameTaken(_) | DefinitionError::Foreign => None,
        };
        shown.unwrap_or_else(|| self.to_string())
    }
}

/// Errors of compiling, each with its line of the source; `None` if the text is not JSON, and so not the definition.
#[cfg(feature = "excerpts")]
fn located(code: &str, errors: &[Error], file: &str, definition: &str) -> Option<String> {
    let bytes_max = crate::limits::DEFINITION_BYTES_MAX;
    let source = crate::json::source::read(definition.as_bytes(), bytes_max).ok()?;
    let shown = errors.iter().map(|error| {
        let excerpt = asl::Excerpt {
            severity: Some(asl::Severity::Error),
            code,
            message: &error.message,
            location: Some(&error.location),
            span: asl::span_at(&source.root, &error.location),
            suggestion: None,
        };
        excerpt.text(file, definition, false, asl::EXCERPT_COLUMNS)
    });
    Some(shown.collect::<Vec<_>>().join("\n\n"))
}
