//! Metrics as families of rows, and as the text that Prometheus reads.

use std::borrow::Cow;
use std::fmt::Write;

use super::counters::{BOUNDS_US, DurationCounts};

/// The type of a family's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    Gauge,
    /// Of durations, in classes from so many microseconds on.
    Histogram(u64),
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
    Durations(Box<DurationCounts>),
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
        self.rows.push((labels, Number::Durations(Box::new(counts))));
    }
}

/// All of them, in Prometheus's text format.
pub(crate) fn text(families: &[Family]) -> String {
    let mut out = String::new();
    for Family { name, help, kind, rows } in families.iter().filter(|family| !family.rows.is_empty()) {
        let (kind, from_us) = match kind {
            Kind::Counter => ("counter", 0),
            Kind::Gauge => ("gauge", 0),
            Kind::Histogram(from_us) => ("histogram", *from_us),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, number) in rows {
            match number {
                Number::Whole(value) => row(&mut out, name, "", labels, None, value),
                Number::Durations(counts) => durations(&mut out, name, labels, counts, from_us),
            }
        }
    }
    out
}

fn durations(out: &mut String, name: &str, labels: &[(&str, String)], counts: &DurationCounts, from_us: u64) {
    let mut sum = 0;
    for (n, class) in counts.classes.iter().enumerate() {
        sum += class;
        let bound = match BOUNDS_US.get(n) {
            Some(&us) if us < from_us => continue,
            Some(&us) => seconds(us),
            None => "+Inf".to_owned(),
        };
        row(out, name, "_bucket", labels, Some(&bound), sum);
    }
    row(out, name, "_sum", labels, None, seconds(counts.sum_us));
    row(out, name, "_count", labels, None, sum);
}

fn seconds(us: u64) -> String {
    (us as f64 / 1_000_000.0).to_string()
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
