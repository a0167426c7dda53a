//! Thresholds of a run: `p99.9 <= 1ms`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units;

/// A bound on a measure.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Threshold {
    /// What is measured.
    pub metric: Metric,
    /// Whether it is the most allowed, rather than the least.
    pub at_most: bool,
    /// The bound: nanoseconds, a rate, or a share from 0 to 1.
    pub bound: f64,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// Latency from when a start was due, at this percentile: `p99.9`.
    Latency(f64),
    /// From when it was really sent: `service.p99`.
    Service(f64),
    /// How late starts were sent: `lateness.p99`.
    Lateness(f64),
    /// The longest latency: `max`.
    Max,
    /// Executions that ended, per second: `rate`.
    Rate,
    /// The share of starts that did not succeed: `errors`.
    Errors,
    /// The share that was never sent: `dropped`.
    Dropped,
    /// The share that was sent late: `late`.
    Late,
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Metric, String> {
        let percentile = |text: &str| {
            let percent = text.strip_prefix('p').and_then(|digits| digits.parse::<f64>().ok());
            percent.filter(|percent| (0.0..=100.0).contains(percent))
        };
        let found = match text {
            "max" => Some(Metric::Max),
            "rate" => Some(Metric::Rate),
            "errors" => Some(Metric::Errors),
            "dropped" => Some(Metric::Dropped),
            "late" => Some(Metric::Late),
            _ => match text.split_once('.') {
                Some(("service", rest)) => percentile(rest).map(Metric::Service),
                Some(("lateness", rest)) => percentile(rest).map(Metric::Lateness),
                _ => percentile(text).map(Metric::Latency),
            },
        };
        found.ok_or_else(|| {
            format!(
                "'{text}' is none of p50 to p100, service.p99, lateness.p99, max, rate, errors, dropped, late"
            )
        })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Metric::Latency(percent) => write!(f, "p{percent}"),
            Metric::Service(percent) => write!(f, "service.p{percent}"),
            Metric::Lateness(percent) => write!(f, "lateness.p{percent}"),
            Metric::Max => f.write_str("max"),
            Metric::Rate => f.write_str("rate"),
            Metric::Errors => f.write_str("errors"),
            Metric::Dropped => f.write_str("dropped"),
            Metric::Late => f.write_str("late"),
        }
    }
}

impl Metric {
    /// A value of it, with its unit.
    pub fn show(&self, value: f64) -> String {
        match self {
            Metric::Rate => format!("{}/s", units::show_count(value)),
            Metric::Errors | Metric::Dropped | Metric::Late => units::show_share(value),
            _ => units::show_nanoseconds(value),
        }
    }

    fn read(&self, text: &str) -> Result<f64, String> {
        match self {
            Metric::Rate => units::count(text),
            Metric::Errors | Metric::Dropped | Metric::Late => units::share(text),
            _ => units::duration(text).map(|duration| duration.as_secs_f64() * 1e9),
        }
    }
}

impl FromStr for Threshold {
    type Err = String;

    /// `p99.9 <= 1ms`, `rate >= 100k`; `=` means "no worse than".
    fn from_str(text: &str) -> Result<Threshold, String> {
        let parts =
            [("<=", Some(true)), (">=", Some(false)), ("<", Some(true)), (">", Some(false)), ("=", None)];
        let found = parts.iter().find_map(|(sign, at_most)| Some((text.split_once(sign)?, *at_most)));
        let Some(((metric, bound), at_most)) = found else {
            return Err(format!("'{text}' is no bound; write it like p99.9 <= 1ms"));
        };
        let metric: Metric = metric.trim().parse()?;
        let bound = metric.read(bound.trim())?;
        Ok(Threshold { metric, at_most: at_most.unwrap_or(metric != Metric::Rate), bound })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.at_most { "<=" } else { ">=" };
        write!(f, "{} {sign} {}", self.metric, self.metric.show(self.bound))
    }
}

impl TryFrom<String> for Threshold {
    type Error = String;

    fn try_from(text: String) -> Result<Threshold, String> {
        text.parse()
    }
}

impl From<Threshold> for String {
    fn from(threshold: Threshold) -> String {
        threshold.to_string()
    }
}

impl Threshold {
    /// Whether a value meets it. What was not measured meets nothing.
    pub fn is_met(&self, value: Option<f64>) -> bool {
        value.is_some_and(|value| if self.at_most { value <= self.bound } else { value >= self.bound })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_read_as_they_print() {
        for text in [
            "p99.9 <= 1.00 ms",
            "rate >= 100,000/s",
            "errors <= 1%",
            "service.p50 <= 250 ns",
            "max <= 2.00 s",
        ] {
            let plain = text.replace(',', "");
            let threshold: Threshold = plain.parse().unwrap();
            assert_eq!(threshold.to_string(), text);
        }
        let threshold: Threshold = "p99.9=1ms".parse().unwrap();
        assert_eq!(
            (threshold.metric, threshold.at_most, threshold.bound),
            (Metric::Latency(99.9), true, 1e6)
        );
        assert!(threshold.is_met(Some(1e6)) && !threshold.is_met(Some(1.1e6)) && !threshold.is_met(None));
        let rate: Threshold = "rate=5k".parse().unwrap();
        assert!(rate.is_met(Some(6e3)) && !rate.is_met(Some(4e3)));
        for wrong in ["p99.9", "p101 <= 1ms", "speed <= 1", "p50 <= soon", "errors <= 120%"] {
            assert!(wrong.parse::<Threshold>().is_err(), "{wrong}");
        }
    }
}
