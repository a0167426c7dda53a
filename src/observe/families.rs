//! Metrics as families of rows, and as the text that Prometheus reads.

use std::borrow::Cow;
use std::fmt::Write;

use super::view::{BOUNDS_MS, DurationCounts};

/// What a family's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    Gauge,
    Histogram,
}

/// Metrics of one name.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) name: Cow<'static, str>,
    pub(crate) help: Cow<'static, str>,
    pub(crate) kind: Kind,
    pub(crate) rows: Vec<(Vec<(&'static str, String)>, Number)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Number {
    Whole(u64),
    Durations(DurationCounts),
}

impl Family {
    pub(crate) fn new(
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
        help: impl Into<Cow<'static, str>>,
    ) -> Family {
        Family { name: name.into(), help: help.into(), kind, rows: Vec::new() }
    }

    pub(crate) fn one(name: &'static str, kind: Kind, help: &'static str, value: u64) -> Family {
        let mut family = Family::new(name, kind, help);
        family.row(Vec::new(), value);
        family
    }

    pub(crate) fn row(&mut self, labels: Vec<(&'static str, String)>, value: u64) {
        self.rows.push((labels, Number::Whole(value)));
    }

    pub(crate) fn durations(&mut self, labels: Vec<(&'static str, String)>, counts: DurationCounts) {
        self.rows.push((labels, Number::Durations(counts)));
    }
}

/// All of them, in Prometheus's text format.
pub(crate) fn prometheus(families: &[Family]) -> String {
    let mut out = String::new();
    for Family { name, help, kind, rows } in families.iter().filter(|family| !family.rows.is_empty()) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, number) in rows {
            match number {
                Number::Whole(value) => row(&mut out, name, "", labels, None, value),
                Number::Durations(counts) => durations(&mut out, name, labels, counts),
            }
        }
    }
    out
}

fn durations(out: &mut String, name: &str, labels: &[(&str, String)], counts: &DurationCounts) {
    let mut sum = 0;
    for (n, class) in counts.classes.iter().enumerate() {
        sum += class;
        let bound = BOUNDS_MS.get(n).map_or_else(|| "+Inf".to_owned(), |&ms| seconds(ms));
        row(out, name, "_bucket", labels, Some(&bound), sum);
    }
    row(out, name, "_sum", labels, None, seconds(counts.sum_ms));
    row(out, name, "_count", labels, None, sum);
}

fn seconds(ms: u64) -> String {
    (ms as f64 / 1_000.0).to_string()
}

fn row(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(&str, String)],
    bound: Option<&str>,
    value: impl std::fmt::Display,
) {
    out.push_str(name);
    out.push_str(suffix);
    let bound = bound.map(|bound| ("le", bound));
    let labels = labels.iter().map(|(name, value)| (*name, value.as_str())).chain(bound);
    let mut open = '{';
    for (name, value) in labels {
        out.push(open);
        open = ',';
        out.push_str(name);
        out.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    if open == ',' {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}
