//! Problems of definitions, for people (the source with the place marked) and for machines.

use std::io;
use std::path::Path;

use annotate_snippets::{Group, Level, Renderer};
use expressway::asl::{self, Severity};
use terminal_size::{Height, Width, terminal_size_of};

use super::definition::{Found, NotRun, Written};
use super::stop::{Place, Stop};
use super::streams::{colours_stderr, colours_stdout, counted};

/// Problems of one definition that are shown with their source; the rest is counted.
const SHOWN_MAX: usize = 200;
/// Columns if the output is not a terminal.
const COLUMNS_ELSEWHERE: usize = 140;
/// With fewer columns nothing would be left of a line.
const COLUMNS_MIN: usize = 40;

/// How problems are displayed on a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    colours: bool,
    columns: usize,
}

impl Look {
    pub(super) fn stdout() -> Look {
        Look { colours: colours_stdout(), columns: columns(terminal_size_of(io::stdout())) }
    }

    pub(super) fn stderr() -> Look {
        Look { colours: colours_stderr(), columns: columns(terminal_size_of(io::stderr())) }
    }

    fn renderer(self) -> Renderer {
        if self.colours { Renderer::styled() } else { Renderer::plain() }.term_width(self.columns)
    }
}

/// Those of the terminal, if it is one.
fn columns(terminal: Option<(Width, Height)>) -> usize {
    terminal.map_or(COLUMNS_ELSEWHERE, |(width, _)| usize::from(width.0).max(COLUMNS_MIN))
}

/// Whether what the engine does not run is an error, or only a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotRunHere {
    Error,
    Notice,
}

/// The code for what is valid on AWS and does not run here; AWS has none for it.
const NOT_RUN_HERE: &str = "NOT_RUN_HERE";

/// For people. Ends with a summary line.
pub(super) fn text(found: &Found, text: &[u8], look: Look, not_run: NotRunHere) -> String {
    let renderer = look.renderer();
    // Places refer to the original text; only the displayed text may differ if it is not UTF-8.
    let source = String::from_utf8_lossy(text);
    let mut out = String::new();
    for diagnostic in found.diagnostics.iter().take(SHOWN_MAX) {
        out.push_str(&asl::excerpt_within(diagnostic, &found.file, &source, look.colours, look.columns));
        out.push_str("\n\n");
    }
    for refused in found.refused.iter().take(SHOWN_MAX) {
        let excerpt = not_run_here(refused, not_run);
        out.push_str(&excerpt.text(&found.file, &source, look.colours, look.columns));
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
    let runs = found.program.as_ref().filter(|_| found.refused.is_empty());
    let states = runs.map(|program| counted(program.states.len(), "state"));
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

fn not_run_here(refused: &NotRun, not_run: NotRunHere) -> asl::Excerpt<'_> {
    asl::Excerpt {
        severity: (not_run == NotRunHere::Error).then_some(Severity::Error),
        code: NOT_RUN_HERE,
        message: &refused.message,
        location: Some(&refused.location),
        span: refused.span,
        suggestion: None,
    }
}

/// A problem for machines.
fn row(it: &asl::Excerpt<'_>, source: &str) -> serde_json::Value {
    let (line, column) = asl::diagnostic::line_column(source, it.span.start as usize);
    serde_json::json!({
        "severity": it.severity.map_or("NOTICE", Severity::name),
        "code": it.code,
        "message": it.message,
        "location": it.location,
        "line": line,
        "column": column,
        "start": it.span.start,
        "end": it.span.end,
        "suggestion": it.suggestion,
    })
}

/// The code for what is not known of a project before it is deployed.
const NOT_RESOLVED: &str = "NOT_RESOLVED";
/// The code for a state machine, or a file, that cannot be read.
const NOT_READ: &str = "NOT_READ";

/// A problem of a project for machines, with the members of the other rows, and the file where it stands: that may be
/// another one than the definition's.
fn project_row(severity: &str, code: &str, what: &str, place: &Place) -> serde_json::Value {
    serde_json::json!({
        "severity": severity,
        "code": code,
        "message": what,
        "file": place.file,
        "location": Some(&place.names).filter(|names| !names.is_empty()),
        "line": place.at.map(|(line, _)| line),
        "column": place.at.map(|(_, column)| column),
        "start": null,
        "end": null,
        "suggestion": null,
    })
}

/// For machines: one object on one line.
pub(super) fn json(found: &Found, written: &Written, not_run: NotRunHere) -> String {
    let source = String::from_utf8_lossy(&written.text);
    let refused = found.refused.iter().map(|it| row(&not_run_here(it, not_run), &source));
    let diagnostics = found.diagnostics.iter().map(|it| {
        let problem = asl::Excerpt {
            severity: Some(it.severity),
            code: it.code.name(),
            message: &it.message,
            location: it.location.as_deref(),
            span: it.span,
            suggestion: it.suggestion.as_deref(),
        };
        row(&problem, &source)
    });
    let unresolved =
        written.unresolved.iter().map(|it| project_row("NOTICE", NOT_RESOLVED, &it.what, &it.place));
    let all: Vec<serde_json::Value> = diagnostics.chain(refused).chain(unresolved).collect();
    let result = if found.passes(not_run) { "OK" } else { "FAIL" };
    line(&found.file, written.machine.as_deref(), result, all)
}

/// For machines: a definition, or a part of a project, that cannot be read.
pub(super) fn unread_json(given: &Path, machine: Option<&str>, stop: &Stop) -> String {
    let (place, what) = match stop {
        Stop::At(problem) => (problem.place.clone(), problem.what.clone()),
        stop => (Place { file: given.display().to_string(), ..Place::default() }, stop.to_string()),
    };
    line(&place.file, machine, "FAIL", vec![project_row("ERROR", NOT_READ, &what, &place)])
}

fn line(file: &str, machine: Option<&str>, result: &str, diagnostics: Vec<serde_json::Value>) -> String {
    let line = serde_json::json!({
        "file": file, "machine": machine, "result": result, "diagnostics": diagnostics,
    });
    format!("{line}\n")
}
