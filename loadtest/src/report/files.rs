//! The forms of a report for other programs, and the folder they go to.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Report, SecondReport, second};
use crate::session::{Run, Second};

const SECONDS: &str = "seconds.ndjson";
const TRIALS: &str = "trials.ndjson";
const FILES: [&str; 9] = [
    "report.json",
    "report.html",
    "summary.txt",
    SECONDS,
    "seconds.csv",
    "junit.xml",
    "latency.hgrm",
    "service.hgrm",
    TRIALS,
];

/// What is written during a run, one line of JSON each, so that it survives the end of the process.
#[derive(Debug)]
pub struct Journal {
    folder: Option<PathBuf>,
    name: &'static str,
    /// Once there is something to write.
    file: Option<File>,
    told: usize,
}

impl Journal {
    /// A journal of seconds in a folder, which is made now; without one, nothing. The reports of another run are removed
    /// from it when this one is under way.
    ///
    /// # Errors
    /// When there can be no such folder, with its name.
    pub fn of_seconds(folder: Option<&Path>) -> Result<Journal, String> {
        Journal::new(folder, SECONDS)
    }

    /// The same of the trials of a search.
    ///
    /// # Errors
    /// As above.
    pub fn of_trials(folder: Option<&Path>) -> Result<Journal, String> {
        Journal::new(folder, TRIALS)
    }

    fn new(folder: Option<&Path>, name: &'static str) -> Result<Journal, String> {
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        Ok(Journal { folder: folder.map(Path::to_owned), name, file: None, told: 0 })
    }

    /// Writes the seconds that were not written yet.
    pub fn tell(&mut self, seconds: &[Second]) {
        for it in &seconds[self.told..] {
            self.write(&second(it));
        }
        self.told = seconds.len();
    }

    /// Writes a line.
    pub fn write(&mut self, line: &impl Serialize) {
        if let Some(folder) = self.folder.take() {
            for stale in FILES {
                // A file that cannot be removed cannot be rewritten either, which is reported then.
                let _ = std::fs::remove_file(folder.join(stale));
            }
            self.file = File::create(folder.join(self.name)).ok();
        }
        if let (Some(file), Ok(text)) = (&mut self.file, serde_json::to_string(line)) {
            // A full disk must not end the run; writing the reports will report it.
            let _ = file.write_all((text + "\n").as_bytes());
        }
    }
}

/// Writes all forms into a folder, which is made if it is not there.
///
/// # Errors
/// When a file cannot be written, with its name.
pub fn write_all(folder: &Path, report: &Report, run: &Run) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let json = serde_json::to_string_pretty(report).map_err(|error| format!("report.json: {error}"))?;
    let files = [
        ("report.json", json + "\n"),
        ("report.html", super::html::page(report)),
        ("summary.txt", super::table(report)),
        (SECONDS, ndjson(report)),
        ("seconds.csv", csv(report)),
        ("junit.xml", junit(report)),
        ("latency.hgrm", hgrm(&run.total.latency)),
        ("service.hgrm", hgrm(&run.total.service)),
    ];
    if report.search.is_empty() {
        // They are those of another run.
        let _ = std::fs::remove_file(folder.join(TRIALS));
    }
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn ndjson(report: &Report) -> String {
    let lines = report.per_second.iter().filter_map(|second| serde_json::to_string(second).ok());
    lines.map(|line| line + "\n").collect()
}

fn csv(report: &Report) -> String {
    let mut text = "at_s,wanted_per_s,sent_per_s,ended_per_s,late,dropped,errors,in_flight,p50_ns,p99_ns,p99.9_ns,max_ns\n".to_owned();
    for second in &report.per_second {
        let SecondReport { at, wanted, sent, rate, late, dropped, errors, in_flight, p50, p99, p999, max } =
            second;
        let wanted = wanted.map_or(String::new(), |wanted| format!("{wanted:.1}"));
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{at:.3},{wanted},{sent:.1},{rate:.1},{late},{dropped},{errors},{in_flight},{p50},{p99},{p999},{max}"
        );
    }
    text
}

/// Escapes text for XML and HTML.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML cannot represent these.
            c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Each threshold as a test case.
fn junit(report: &Report) -> String {
    let failures = report.thresholds.iter().filter(|checked| !checked.met).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" time=\"{:.3}\">\n",
        escape(&report.name),
        report.thresholds.len(),
        report.seconds,
    );
    for checked in &report.thresholds {
        let (threshold, measured) = (escape(&checked.threshold), escape(&checked.measured));
        let failure = if checked.met {
            String::new()
        } else {
            format!("<failure message=\"{measured}\">wanted {threshold}, measured {measured}</failure>")
        };
        let _ =
            writeln!(text, "  <testcase classname=\"loadtest\" name=\"{threshold}\">{failure}</testcase>");
    }
    text + "</testsuite>\n"
}

/// HdrHistogram's own form of a distribution, in microseconds.
fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut count = 0;
    for it in histogram.iter_quantiles(5) {
        let quantile = it.quantile_iterated_to();
        let value = it.value_iterated_to() as f64 / 1e3;
        count += it.count_since_last_iteration();
        let rest = if quantile < 1.0 { format!(" {:>14.2}", 1.0 / (1.0 - quantile)) } else { String::new() };
        let _ = writeln!(text, "{value:>12.3} {quantile:>2.12} {count:>10}{rest}");
    }
    let _ = writeln!(
        text,
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n#[Max     = {:>12.3}, Total count    = {:>12}]\n#[Buckets = {:>12}, SubBuckets     = {:>12}]",
        histogram.mean() / 1e3,
        histogram.stdev() / 1e3,
        histogram.max() as f64 / 1e3,
        histogram.len(),
        histogram.buckets(),
        2_048,
    );
    text
}
