//! Problems of definitions with their source lines, as compilers show them.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::diagnostic::line_column;
use super::{Code, Diagnostic, Severity};
use crate::json::source::Span;

/// Longer lines are cut around the displayed place.
const EXCERPT_BYTES_MAX: usize = 160;
/// Columns of an excerpt if the output is not a terminal.
pub(crate) const COLUMNS: usize = 140;

/// A problem with its line of the source, the place marked, and the suggestion if there is one. `file` is the
/// definition's name; `colours` are those of terminals.
///
/// ```
/// use expressway::asl::{self, Options};
/// let text = r#"{"StartAt": "Hello", "States": {"Hello": {"Type": "Pass", "Nxet": "World"}}}"#;
/// let (_, problems) = asl::read(text.as_bytes(), &Options::default());
/// let shown = asl::excerpt(&problems[0], "hello.asl.json", text, false);
/// assert!(shown.contains("--> hello.asl.json:1:59"));
/// assert!(shown.contains("did you mean `Next`?"));
/// ```
pub fn excerpt(diagnostic: &Diagnostic, file: &str, source: &str, colours: bool) -> String {
    excerpt_within(diagnostic, file, source, colours, COLUMNS)
}

/// As [`excerpt`], with at most so many columns for lines of the source.
pub fn excerpt_within(
    diagnostic: &Diagnostic,
    file: &str,
    source: &str,
    colours: bool,
    columns: usize,
) -> String {
    let message = diagnostic.message.as_str();
    // The JSON parser's location is the text itself.
    let is_parsers = diagnostic.code == Code::InvalidJsonDescription;
    let said = diagnostic.location.as_deref().filter(|_| is_parsers);
    Excerpt {
        severity: Some(diagnostic.severity),
        code: diagnostic.code.name(),
        message: said.and_then(|place| message.strip_suffix(&format!("\n at {place}"))).unwrap_or(message),
        location: diagnostic.location.as_deref().filter(|_| !is_parsers),
        span: diagnostic.span,
        suggestion: diagnostic.suggestion.as_deref(),
    }
    .text(file, source, colours, columns)
}

/// What an excerpt is about: a [`Diagnostic`], or what else there is to say of a place in a definition.
#[derive(Clone, Copy, Debug)]
pub struct Excerpt<'e> {
    /// `None` is a note.
    pub severity: Option<Severity>,
    /// The kind of problem.
    pub code: &'e str,
    /// What is wrong.
    pub message: &'e str,
    /// The place in AWS's form.
    pub location: Option<&'e str>,
    /// The place in the text; [`span_at`](super::span_at) finds that of a location.
    pub span: Span,
    /// What to try.
    pub suggestion: Option<&'e str>,
}

impl Excerpt<'_> {
    /// The text, as of [`excerpt_within`].
    pub fn text(&self, file: &str, source: &str, colours: bool, columns: usize) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() }.term_width(columns);
        let level = match self.severity {
            Some(Severity::Error) => Level::ERROR,
            Some(Severity::Warning) => Level::WARNING,
            None => Level::NOTE,
        };
        let (line, column) = line_column(source, self.span.start as usize);
        let (text, span, cut) = place(source, self.span.start as usize, self.span.end as usize);
        let mut snippet =
            Snippet::source(text).line_start(line as usize).annotation(AnnotationKind::Primary.span(span));
        let mut notes = Vec::new();
        if cut {
            notes.push(format!("{file}:{line}:{column}"))
        } else {
            snippet = snippet.path(file)
        }
        notes.extend(self.location.map(|location| format!("at {location}")));
        let mut group = level.primary_title(self.message).id(self.code).element(snippet);
        for note in notes {
            group = group.element(Level::NOTE.no_name().message(note));
        }
        if let Some(suggestion) = self.suggestion {
            group = group.element(Level::HELP.message(suggestion));
        }
        renderer.render(&[group])
    }
}

/// The line of a place, the place in it, and whether the line was too long to show completely.
fn place(source: &str, start: usize, end: usize) -> (&str, Range<usize>, bool) {
    let start = boundary(source, start.min(source.len()));
    let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
    let end = boundary(source, end.clamp(start, line_end));
    if line_end - line_start <= EXCERPT_BYTES_MAX {
        return (&source[line_start..line_end], start - line_start..end - line_start, false);
    }
    let from = boundary(source, start.saturating_sub(EXCERPT_BYTES_MAX / 3).max(line_start));
    let to = boundary(source, (from + EXCERPT_BYTES_MAX).min(line_end));
    (&source[from..to], start - from..end.min(to) - from, true)
}

/// The nearest character boundary at or before `at`.
fn boundary(source: &str, mut at: usize) -> usize {
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}
