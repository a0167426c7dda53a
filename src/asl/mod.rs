//! Amazon States Language: from text to a checked model, with every problem found, each with AWS's message and
//! location.
//!
//! [`read`] runs three passes over the tree of the text: `check` checks each object by itself (with a table of the
//! allowed fields), `graph` the transitions, `scope` the variables. A tree that passes all of them is built into a
//! [`Definition`].
//!
//! What this is not: it resolves no paths, evaluates nothing and does not know the tables of programs. [`crate::query`]
//! checks whether a path or expression is well formed; `compile` turns the model into a program.

mod build;
mod check;
pub mod diagnostic;
#[cfg(feature = "excerpts")]
mod excerpt;
mod fields;
mod forms;
mod graph;
pub mod model;
mod nested;
mod options;
mod place;
#[doc(hidden)]
pub mod placeholders;
mod reach;
mod resource;
mod scope;
mod syntax;
mod timestamp;

pub(crate) use check::data::{not_here, stays_below};
pub use diagnostic::{
    Code, Diagnostic, Severity, did_you_mean, explain_invalid, invalid_definition, suggestions,
};
#[cfg(feature = "excerpts")]
pub(crate) use excerpt::COLUMNS as EXCERPT_COLUMNS;
#[cfg(feature = "excerpts")]
pub use excerpt::{Excerpt, excerpt, excerpt_within};
pub use forms::{Form, StateField, state_fields};
pub use model::{Definition, State};
pub use options::{MachineType, Options, Resources};
#[cfg(feature = "console")]
pub(crate) use resource::integrations;

use crate::json::explain::explain;
use crate::json::source::{self, Source, SourceErrorKind, Sourced, Span};
use crate::limits;
use place::Place;
pub use place::span_at;

/// Reads a definition and finds all its problems. There is a definition only if none of them is an error.
///
/// ```
/// use expressway::asl::{self, Options};
/// let text = r#"{"StartAt": "Hello", "States": {"Hello": {"Type": "Pass", "Nxet": "World"}}}"#;
/// let (definition, problems) = asl::read(text.as_bytes(), &Options::default());
/// assert!(definition.is_none());
/// assert_eq!(problems[0].to_string(),
///     "SCHEMA_VALIDATION_FAILED: Field 'Nxet' is not supported at /States/Hello");
/// assert_eq!(problems[0].suggestion.as_deref(), Some("did you mean `Next`?"));
/// assert_eq!(problems[0].line_column(text), (1, 59));
/// ```
pub fn read(text: &[u8], options: &Options) -> (Option<Definition>, Vec<Diagnostic>) {
    let source = match object(text) {
        Ok(source) => source,
        Err(problem) => return (None, vec![problem]),
    };
    read_source(&source, options)
}

/// Reads a definition in YAML, as [`read`] reads one in JSON; places are those in the YAML text.
#[cfg(feature = "yaml")]
pub fn read_yaml(text: &[u8], options: &Options) -> (Option<Definition>, Vec<Diagnostic>) {
    let source = match std::str::from_utf8(text) {
        Ok(text) => crate::json::yaml::read(text).map_err(|error| (error.message, error.span)),
        Err(error) => {
            let at = error.valid_up_to() as u32;
            Err(("The text is not UTF-8".to_owned(), Span { start: at, end: at + 1 }))
        }
    };
    let refused = |code, message, span| Diagnostic {
        severity: Severity::Error,
        code,
        message,
        location: None,
        span,
        suggestion: None,
    };
    match source {
        Ok(source) if source.root.members().is_none() => {
            let message = NOT_AN_OBJECT.to_owned();
            let mut problem = refused(Code::SchemaValidationFailed, message, source.root.span);
            problem.suggestion = match source.root.span {
                _ if text.trim_ascii().is_empty() => Some(EMPTY.to_owned()),
                nowhere if nowhere == Span::default() => Some("the text has only comments".to_owned()),
                _ => None,
            };
            (None, vec![problem])
        }
        Ok(source) => read_source(&source, options),
        Err((message, span)) => (None, vec![refused(Code::InvalidJsonDescription, message, span)]),
    }
}

fn read_source(source: &Source, options: &Options) -> (Option<Definition>, Vec<Diagnostic>) {
    let Source { root, duplicates } = source;
    let mut check = check::Check::new(*options);
    check.machine(root);
    graph::check(&mut check, root, duplicates);
    scope::check(&mut check, root);
    let definition =
        if check.has_errors() { None } else { build::definition(root, options.resources != Resources::Any) };
    (definition, check.diagnostics)
}

/// Reads a state by itself, as `TestState` takes it: transitions are not checked, and the query language is JSONPath
/// unless the state sets it. Problems are reported as of a machine's state of this name (recorded:
/// `/States/StateName/Branches`).
pub fn read_state(text: &[u8], name: &str, options: &Options) -> (Option<State>, Vec<Diagnostic>) {
    let source = match object(text) {
        Ok(source) => source,
        Err(problem) => return (None, vec![problem]),
    };
    let states = Place::ROOT.field("States");
    let place = states.field(name);
    let mut check = check::Check::new(*options);
    check.lone_state(&source.root, place);
    graph::check_state(&mut check, &source.root, place);
    scope::check_state(&mut check, &source.root, place);
    if check.has_errors() {
        return (None, check.diagnostics);
    }
    let name = Sourced::new(name.to_owned(), Span { start: 0, end: 0 });
    let state = build::state(name, &source.root, place, model::QueryLanguage::JsonPath);
    (state, check.diagnostics)
}

fn object(text: &[u8]) -> Result<Source, Diagnostic> {
    let source = source::read(text, limits::DEFINITION_BYTES_MAX).map_err(|error| unreadable(text, error))?;
    if source.root.members().is_some() {
        return Ok(source);
    }
    Err(Diagnostic {
        severity: Severity::Error,
        code: Code::SchemaValidationFailed,
        message: NOT_AN_OBJECT.into(),
        location: None,
        span: source.root.span,
        suggestion: None,
    })
}

const EMPTY: &str = "the text is empty";
const NOT_AN_OBJECT: &str = "Definition must be a valid JSON object";

fn unreadable(text: &[u8], error: source::SourceError) -> Diagnostic {
    let start = u32::try_from(error.offset).unwrap_or(u32::MAX);
    let mut diagnostic = Diagnostic {
        severity: Severity::Error,
        code: Code::InvalidJsonDescription,
        message: String::new(),
        location: None,
        span: Span { start, end: start.saturating_add(1) },
        suggestion: None,
    };
    if text.iter().all(u8::is_ascii_whitespace) {
        diagnostic.suggestion = Some(EMPTY.to_owned());
    }
    match (error.kind, explain(text.get(..limits::DEFINITION_BYTES_MAX).unwrap_or(text))) {
        (SourceErrorKind::TooLarge, _) => {
            diagnostic.code = Code::SchemaValidationFailed;
            diagnostic.message = format!("Definition is larger than {} bytes", limits::DEFINITION_BYTES_MAX);
        }
        _ if text.iter().all(u8::is_ascii_whitespace) => {
            diagnostic.code = Code::SchemaValidationFailed;
            diagnostic.message = NOT_AN_OBJECT.into();
        }
        (_, Some(why)) => {
            // The location is on a line of its own, as the parser prints it.
            let place = why.place(&String::from_utf8_lossy(text));
            diagnostic.message = format!("{}\n at {place}", why.message);
            diagnostic.location = Some(place);
        }
        (_, None) => diagnostic.message = NOT_AN_OBJECT.into(),
    }
    diagnostic
}
