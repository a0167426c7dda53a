//! Problems of definitions with their source lines, as compilers show them.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::{Code, Diagnostic, Severity};

/// Longer lines are cut around the displayed place.
const EXCERPT_BYTES_MAX: usize = 160;
/// Columns of an excerpt if the output is not a terminal.
const COLUMNS: usize = 140;

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
    let renderer = if colours { Renderer::styled() } else { Renderer::plain() }.term_width(columns);
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let (line, column) = diagnostic.line_column(source);
    let (text, span, cut) = place(source, diagnostic.span.start as usize, diagnostic.span.end as usize);
    let mut snippet =
        Snippet::source(text).line_start(line as usize).annotation(AnnotationKind::Primary.span(span));
    let mut notes = Vec::new();
    if cut {
        notes.push(format!("{file}:{line}:{column}"))
    } else {
        snippet = snippet.path(file)
    }
    // The JSON parser's location is the text itself.
    if let Some(location) = &diagnostic.location
        && diagnostic.code != Code::InvalidJsonDescription
    {
        notes.push(format!("at {location}"));
    }
    let message = diagnostic.message.as_str();
    let said = diagnostic.location.as_deref().filter(|_| diagnostic.code == Code::InvalidJsonDescription);
    let message = said.and_then(|place| message.strip_suffix(&format!("\n at {place}"))).unwrap_or(message);
    let mut group = level.primary_title(message).id(diagnostic.code.name()).element(snippet);
    for note in notes {
        group = group.element(Level::NOTE.no_name().message(note));
    }
    if let Some(suggestion) = &diagnostic.suggestion {
        group = group.element(Level::HELP.message(suggestion.as_str()));
    }
    renderer.render(&[group])
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
