//! What is wrong with a description: the line, the table, and what was probably meant.

use std::ops::Range;
use std::path::Path;

use expressway::misspelt;
use toml::de::{DeTable, DeValue, Error};

/// A key with its value.
struct Entry<'t> {
    /// The names of the tables that it is in.
    tables: Vec<&'t str>,
    key: &'t str,
    key_span: Range<usize>,
    /// The value, if it is text.
    text: Option<&'t str>,
    value_span: Range<usize>,
    /// The innermost of its tables.
    table_span: Range<usize>,
}

/// The file, the line, the table, what is wrong, and the line itself.
pub(super) fn explained(path: &Path, text: &str, error: &Error) -> String {
    if text.trim_start().starts_with('{') {
        return format!(
            "{}: this is JSON, and pipelines are described in TOML; a definition is named by one: definition = \"{0}\"",
            path.display()
        );
    }
    let unknown = misspelt::unknown(error.message());
    let parsed = DeTable::parse(text).ok();
    let mut entries = Vec::new();
    if let Some(parsed) = &parsed {
        walk(parsed.get_ref(), &parsed.span(), &mut Vec::new(), &mut entries);
    }
    let at = error.span().unwrap_or(0..0);
    // Of a table that is one of several kinds, the error has the table's place only.
    let found = unknown.as_ref().and_then(|unknown| {
        let is_it = |entry: &&Entry<'_>| {
            if unknown.is_field { entry.key == unknown.word } else { entry.text == Some(unknown.word) }
        };
        let mut all = entries.iter().filter(is_it);
        let exact = all.clone().find(|entry| entry.key_span == at || entry.value_span == at);
        exact.or_else(|| all.clone().find(|entry| entry.table_span == at)).or_else(|| all.next())
    });
    let is_field = unknown.as_ref().is_some_and(|it| it.is_field);
    let span = found
        .map_or(at.clone(), |entry| if is_field { entry.key_span.clone() } else { entry.value_span.clone() });
    let is_there = |entry: &&Entry<'_>| entry.value_span == at || entry.table_span == at;
    let tables = found.or_else(|| entries.iter().find(is_there)).map(|it| &it.tables);
    let table = match tables {
        Some(tables) if !tables.is_empty() => format!(", in [{}]", tables.join(".")),
        _ => String::new(),
    };
    let what = unknown.map_or_else(|| plain(error.message()), |unknown| unknown.advice());
    let (line, excerpt) = excerpt(text, &span);
    format!("{}: line {line}{table}: {}\n{excerpt}", path.display(), what.replace('\n', ", "))
}

/// A message of serde with words instead of types.
fn plain(message: &str) -> String {
    let types = [
        ("expected u32", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected usize", "expected a whole number"),
        ("expected f64", "expected a number"),
        (
            "expected internally tagged enum Endpoint",
            "expected a table with a `type`, such as { type = \"stdin\" }",
        ),
        ("invalid socket address syntax", "an address is an IP address and a port, such as 127.0.0.1:9108"),
    ];
    let of_type = types.iter().find_map(|(end, words)| Some(message.strip_suffix(end)?.to_owned() + words));
    of_type.unwrap_or_else(|| message.to_owned())
}

fn walk<'t>(
    table: &'t DeTable<'_>,
    table_span: &Range<usize>,
    tables: &mut Vec<&'t str>,
    entries: &mut Vec<Entry<'t>>,
) {
    for (key, value) in table {
        entries.push(Entry {
            tables: tables.clone(),
            key: key.get_ref(),
            key_span: key.span(),
            text: value.get_ref().as_str(),
            value_span: value.span(),
            table_span: table_span.clone(),
        });
        if let DeValue::Table(inner) = value.get_ref() {
            tables.push(key.get_ref());
            walk(inner, &value.span(), tables, entries);
            tables.pop();
        }
    }
}

/// The number of the line at which a span begins, and the line with the span marked.
fn excerpt(text: &str, span: &Range<usize>) -> (usize, String) {
    let from = span.start.min(text.len());
    let begin = text[..from].rfind('\n').map_or(0, |at| at + 1);
    let rest = &text[begin..];
    let line = rest.split_once('\n').map_or(rest, |(line, _)| line).trim_end();
    let number = text[..begin].matches('\n').count() + 1;
    let to = span.end.min(begin + line.len()).max(from);
    let count = |text: &str| text.chars().count();
    let before: String = text[begin..from].chars().map(|c| if c == '\t' { c } else { ' ' }).collect();
    let marks = "^".repeat(count(&text[from..to]).max(1));
    let gutter = " ".repeat(number.to_string().len());
    (number, format!("{gutter} |\n{number} | {line}\n{gutter} | {before}{marks}"))
}
