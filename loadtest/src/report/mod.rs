//! The report of a run: one value from which all formats are written, and that `compare` reads back.

mod files;
mod html;
mod machine;
mod plot;
mod table;
mod verdict;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

pub use files::{Journal, write_all};
pub use machine::Machine;
pub use table::table;

use crate::bill::{self, Bill};
use crate::placement::Processors;
use crate::plan::{Metric, Plan};
use crate::record::{End, Interval};
use crate::search::Trial;
use crate::session::Run;
use crate::usage::Usage;

/// The report of a run. Times are nanoseconds unless their names have another unit.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// The form of this value; readers refuse others.
    pub schema: u32,
    /// What the plan is called.
    pub name: String,
    /// When it was made, in seconds since 1970.
    pub made_at: u64,
    /// What it ran on.
    pub machine: Machine,
    /// When starts were due, in words.
    pub arrivals: String,
    /// Whether starts came at their times, and latencies count from there.
    pub open_model: bool,
    /// Seconds measured.
    pub seconds: f64,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// Executions that ended, per second.
    pub rate: f64,
    /// What was counted and measured of all targets.
    pub total: Figures,
    /// Starts that had not ended when the run was over.
    pub unfinished: u64,
    /// The same for each target.
    pub targets: Vec<TargetReport>,
    /// What happened in each second.
    pub per_second: Vec<SecondReport>,
    /// How the generator itself did.
    pub generator: Generator,
    /// The rate at which steps broke, and why.
    pub broke_at: Option<(f64, String)>,
    /// Thresholds, and whether they were met.
    pub thresholds: Vec<Checked>,
    /// Rates that were tried to find this one.
    #[serde(default)]
    pub search: Vec<Trial>,
    /// What AWS would ask for the same.
    pub bill: Bill,
    /// Latency by percentile, for plots.
    pub curve: Vec<(f64, u64)>,
    /// The plan.
    pub plan: Plan,
}

/// Counts and times.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Figures {
    /// Starts that were sent.
    pub sent: u64,
    /// Sent late.
    pub late: u64,
    /// Due and never sent.
    pub dropped: u64,
    /// Ends.
    pub succeeded: u64,
    /// As above.
    pub failed: u64,
    /// As above.
    pub timed_out: u64,
    /// As above.
    pub aborted: u64,
    /// As above: no room for it.
    pub refused: u64,
    /// As above: no answer, or one that makes no sense.
    pub broken: u64,
    /// Bytes of inputs.
    pub input_bytes: u64,
    /// Bytes of outputs, or of answers.
    pub output_bytes: u64,
    /// Durations in begun steps of 100 ms.
    pub billed_steps: u64,
    /// From when a start was due to its end.
    pub latency: Times,
    /// From when it was sent to its end.
    pub service: Times,
    /// From when it was due to when it was sent.
    pub lateness: Times,
    /// What went wrong, and how often.
    pub problems: BTreeMap<String, u64>,
}

/// A distribution of times, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Times {
    /// How many.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// Half of them took no longer, and so on.
    pub p50: u64,
    /// As above.
    pub p90: u64,
    /// As above.
    pub p99: u64,
    /// As above.
    pub p999: u64,
    /// As above.
    pub p9999: u64,
    /// The longest.
    pub max: u64,
}

/// One target.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct TargetReport {
    /// What it is called.
    pub name: String,
    /// What ran its executions.
    pub engine: String,
    /// The workload's name.
    pub workload: String,
    /// Where it came from.
    pub source: String,
    /// How large the definition is.
    pub definition_bytes: usize,
    /// How large an input is, in the mean.
    pub input_bytes_mean: f64,
    /// Executions that ended, per second.
    pub rate: f64,
    /// What was counted and measured.
    pub figures: Figures,
}

/// One second.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct SecondReport {
    /// Seconds since the beginning.
    pub at: f64,
    /// Starts that were to be sent, per second.
    pub wanted: Option<f64>,
    /// Starts that were sent, per second.
    pub sent: f64,
    /// Executions that ended, per second.
    pub rate: f64,
    /// Counts.
    pub late: u64,
    /// As above.
    pub dropped: u64,
    /// Ends that are no success.
    pub errors: u64,
    /// Starts under way.
    pub in_flight: usize,
    /// Latency.
    pub p50: u64,
    /// As above.
    pub p99: u64,
    /// As above.
    pub p999: u64,
    /// As above.
    pub max: u64,
}

/// How the generator itself did.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Generator {
    /// Threads that sent.
    pub workers: usize,
    /// Which processors they had, and everything else in the process; none where the system decided.
    #[serde(default)]
    pub processors: Option<Processors>,
    /// The share of their time in which they did not wait for something to be due.
    pub busy: f64,
    /// Whether the generator, and not the target, held starts back.
    pub was_bottleneck: bool,
    /// What to think of it, in words.
    pub verdict: Vec<String>,
    /// What the process took, targets in it included.
    pub usage: Usage,
}

/// A checked threshold.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Checked {
    /// The threshold, in words.
    pub threshold: String,
    /// What was measured, with its unit.
    pub measured: String,
    /// Whether it was met.
    pub met: bool,
}

/// The form of reports that this program writes and reads.
pub const SCHEMA: u32 = 1;

fn times(histogram: &Histogram<u64>) -> Times {
    let at = |percent: f64| histogram.value_at_percentile(percent);
    Times {
        count: histogram.len(),
        mean: histogram.mean(),
        p50: at(50.0),
        p90: at(90.0),
        p99: at(99.0),
        p999: at(99.9),
        p9999: at(99.99),
        max: histogram.max(),
    }
}

fn figures(interval: &Interval) -> Figures {
    Figures {
        sent: interval.sent,
        late: interval.late,
        dropped: interval.dropped,
        succeeded: interval.count(End::Succeeded),
        failed: interval.count(End::Failed),
        timed_out: interval.count(End::TimedOut),
        aborted: interval.count(End::Aborted),
        refused: interval.count(End::Refused),
        broken: interval.count(End::Broken),
        input_bytes: interval.input_bytes,
        output_bytes: interval.output_bytes,
        billed_steps: interval.billed_steps,
        latency: times(&interval.latency),
        service: times(&interval.service),
        lateness: times(&interval.lateness),
        problems: interval.problems.clone(),
    }
}

/// A measure of what happened in so many seconds; none where there is nothing to measure.
pub fn measure(metric: Metric, interval: &Interval, seconds: f64) -> Option<f64> {
    let at = |histogram: &Histogram<u64>, percent: f64| {
        (!histogram.is_empty()).then(|| histogram.value_at_percentile(percent) as f64)
    };
    let due = interval.sent + interval.dropped;
    let share = |count: u64| (due > 0).then(|| count as f64 / due as f64);
    match metric {
        Metric::Latency(percent) => at(&interval.latency, percent),
        Metric::Service(percent) => at(&interval.service, percent),
        Metric::Lateness(percent) => at(&interval.lateness, percent),
        Metric::Max => at(&interval.latency, 100.0),
        Metric::Rate => (seconds > 0.0).then(|| interval.completed() as f64 / seconds),
        Metric::Errors => share(interval.errors()),
        Metric::Dropped => share(interval.dropped),
        Metric::Late => share(interval.late),
    }
}

impl Report {
    /// The input of a report.
    pub fn new(run: &Run) -> Report {
        let seconds = run.measured_seconds;
        let rate =
            |interval: &Interval| if seconds > 0.0 { interval.completed() as f64 / seconds } else { 0.0 };
        let targets = run.targets.iter().map(|tested| TargetReport {
            name: tested.title.clone(),
            engine: tested.engine.clone(),
            workload: tested.workload.clone(),
            source: tested.source.clone(),
            definition_bytes: tested.definition_bytes,
            input_bytes_mean: tested.input_bytes,
            rate: rate(&tested.interval),
            figures: figures(&tested.interval),
        });
        let thresholds = run.plan.thresholds.iter().map(|threshold| {
            let value = measure(threshold.metric, &run.total, seconds);
            Checked {
                threshold: threshold.to_string(),
                measured: value.map_or("nothing".to_owned(), |value| threshold.metric.show(value)),
                met: threshold.is_met(value),
            }
        });
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Report {
            schema: SCHEMA,
            name: run.plan.name.clone(),
            made_at: since_1970.map_or(0, |time| time.as_secs()),
            machine: Machine::this(),
            arrivals: run.plan.arrivals.describe(),
            open_model: run.plan.arrivals.is_open(),
            seconds,
            interrupted: run.interrupted,
            rate: rate(&run.total),
            total: figures(&run.total),
            unfinished: run.unfinished as u64,
            targets: targets.collect(),
            per_second: run.seconds.iter().map(second).collect(),
            generator: verdict::generator(run),
            broke_at: run.broke_at.clone(),
            thresholds: thresholds.collect(),
            search: Vec::new(),
            bill: bill::bill(&run.targets, seconds),
            curve: curve(&run.total.latency),
            plan: run.plan.clone(),
        }
    }

    /// Whether all thresholds were met.
    pub fn holds(&self) -> bool {
        self.thresholds.iter().all(|checked| checked.met)
    }

    /// The few numbers that matter, as one line of JSON.
    pub fn line(&self) -> String {
        let Figures { latency, late, dropped, .. } = &self.total;
        let errors = self.total.sent.saturating_sub(self.total.succeeded + self.unfinished);
        let value = serde_json::json!({
            "name": self.name,
            "workload": self.targets.iter().map(|target| &*target.workload).collect::<Vec<_>>().join("+"),
            "engine": self.targets.iter().map(|target| &*target.engine).collect::<Vec<_>>().join("+"),
            "model": if self.open_model { "open" } else { "closed" },
            "arrivals": self.arrivals,
            "seconds": self.seconds,
            "starts_per_second": self.rate,
            "p50_ns": latency.p50,
            "p99_ns": latency.p99,
            "p99.9_ns": latency.p999,
            "max_ns": latency.max,
            "errors": errors,
            "late": late,
            "dropped": dropped,
            "generator_was_bottleneck": self.generator.was_bottleneck,
            "commit": self.machine.commit,
        });
        value.to_string()
    }
}

fn second(second: &crate::session::Second) -> SecondReport {
    let (interval, seconds) = (&second.interval, second.seconds);
    let Times { p50, p99, p999, max, .. } = times(&interval.latency);
    SecondReport {
        at: second.at,
        wanted: second.wanted,
        sent: interval.sent as f64 / seconds,
        rate: interval.completed() as f64 / seconds,
        late: interval.late,
        dropped: interval.dropped,
        errors: interval.errors(),
        in_flight: second.in_flight,
        p50,
        p99,
        p999,
        max,
    }
}

/// Latency by percentile, closer together the nearer to 100.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let nines = (0..=60).map(|step| 100.0 - 100.0 * 10f64.powf(-f64::from(step) / 10.0));
    let seen = 100.0 - 100.0 / histogram.len() as f64;
    let mut points: Vec<(f64, u64)> = nines
        .take_while(|percent| *percent <= seen)
        .map(|percent| (percent, histogram.value_at_percentile(percent)))
        .collect();
    points.push((100.0, histogram.max()));
    points
}
