//! Problems of definitions, for people (the source with the place marked) and for machines.

use std::io::{self, IsTerminal};
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use expressway::asl::{Code, Diagnostic, Severity};

use super::counted;
use super::definition::Found;

/// More bytes of a line than this are cut out around the place that is shown.
const EXCERPT_BYTES_MAX: usize = 160;
/// Problems of one definition that are shown with their source; the rest is counted.
const SHOWN_MAX: usize = 200;

/// Whether standard output is a terminal that wants colours.
pub(super) fn colours_stdout() -> bool {
    io::stdout().is_terminal() && wanted()
}

/// Whether standard error is.
pub(super) fn colours_stderr() -> bool {
    io::stderr().is_terminal() && wanted()
}

/// The convention of no-color.org.
fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// What the engine does not run is wrong, or only worth a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotRunHere {
    Error,
    Notice,
}

/// What is valid on AWS and does not run here has no code of AWS's.
const NOT_RUN_HERE: &str = "NOT_RUN_HERE";

/// For people. Ends with a line that counts.
pub(super) fn text(found: &Found, text: &[u8], colours: bool, not_run: NotRunHere) -> String {
    let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
    // Places are of the text as it is; only what is shown of it may differ where it is not UTF-8.
    let source = String::from_utf8_lossy(text);
    let mut out = String::new();
    for diagnostic in found.diagnostics.iter().take(SHOWN_MAX) {
        out.push_str(&one(&renderer, &found.file, &source, diagnostic));
        out.push_str("\n\n");
    }
    for refused in found.refused.iter().take(SHOWN_MAX) {
        let level = if not_run == NotRunHere::Error { Level::ERROR } else { Level::NOTE };
        let title = level.primary_title(refused.message.as_str()).id(NOT_RUN_HERE);
        let place = Level::NOTE.no_name().message(format!("at {}", refused.location));
        out.push_str(&renderer.render(&[title.element(place)]));
        out.push_str("\n\n");
    }
    let hidden = (found.diagnostics.len() + found.refused.len()).saturating_sub(2 * SHOWN_MAX);
    if hidden > 0 {
        out.push_str(&format!("… and {}\n", counted(hidden, "more problem")));
    }
    let warnings = match found.warnings() {
        0 => String::new(),
        n => format!(", {}", counted(n, "warning")),
    };
    let states = found.program.as_ref().map(|program| counted(program.states.len(), "state"));
    if let Some(other) = found.other_type {
        let (read, other) = (found.machine_type.name(), other.name());
        let help = format!("as {other} it is accepted: it was read as {read}; say --type {other}");
        out.push_str(&renderer.render(&[Group::with_title(Level::HELP.primary_title(help.as_str()))]));
        out.push_str("\n\n");
    }
    match states {
        Some(states) => out.push_str(&format!("{}: valid, {states}{warnings}\n", found.file)),
        None if found.is_valid() && not_run == NotRunHere::Notice => {
            let places = counted(found.refused.len(), "place");
            out.push_str(&format!("{}: valid on AWS, not run here in {places}{warnings}\n", found.file));
        }
        None => out.push_str(&format!("{}: {}{warnings}\n", found.file, counted(found.errors(), "error"))),
    }
    out
}

fn one(renderer: &Renderer, file: &str, source: &str, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let (line, column) = diagnostic.line_column(source);
    let (excerpt, span, cut) = excerpt(source, diagnostic.span.start as usize, diagnostic.span.end as usize);
    let mut snippet =
        Snippet::source(excerpt).line_start(line as usize).annotation(AnnotationKind::Primary.span(span));
    let mut notes = Vec::new();
    if cut {
        notes.push(format!("{file}:{line}:{column}"))
    } else {
        snippet = snippet.path(file)
    }
    // What the JSON parser says has the text itself for a location.
    if let Some(location) = &diagnostic.location
        && diagnostic.code != Code::InvalidJsonDescription
    {
        notes.push(format!("at {location}"));
    }
    let message = diagnostic.message.as_str();
    let place = diagnostic.location.as_deref().filter(|_| diagnostic.code == Code::InvalidJsonDescription);
    let message = place.and_then(|place| message.strip_suffix(&format!("\n at {place}"))).unwrap_or(message);
    let mut group = level.primary_title(message).id(diagnostic.code.name()).element(snippet);
    for note in notes {
        group = group.element(Level::NOTE.no_name().message(note));
    }
    if let Some(suggestion) = &diagnostic.suggestion {
        group = group.element(Level::HELP.message(suggestion.as_str()));
    }
    renderer.render(&[group])
}

/// The line of a place, the place in it, and whether the line was too long to show whole.
fn excerpt(source: &str, start: usize, end: usize) -> (&str, Range<usize>, bool) {
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

/// For machines: one object on one line.
pub(super) fn json(found: &Found, text: &[u8], not_run: NotRunHere) -> String {
    let source = String::from_utf8_lossy(text);
    let diagnostics = found.diagnostics.iter().map(|it| {
        let (line, column) = it.line_column(&source);
        serde_json::json!({
            "severity": it.severity.name(),
            "code": it.code.name(),
            "message": it.message,
            "location": it.location,
            "line": line,
            "column": column,
            "start": it.span.start,
            "end": it.span.end,
            "suggestion": it.suggestion,
        })
    });
    let severity = if not_run == NotRunHere::Error { Severity::Error.name() } else { "NOTICE" };
    let refused = found.refused.iter().map(|it| {
        serde_json::json!({
            "severity": severity, "code": NOT_RUN_HERE,
            "message": it.message, "location": it.location,
        })
    });
    let all: Vec<serde_json::Value> = diagnostics.chain(refused).collect();
    let result = if found.passes(not_run) { "OK" } else { "FAIL" };
    format!("{}\n", serde_json::json!({ "file": found.file, "result": result, "diagnostics": all }))
}
