//! Searches for the highest rate that a target sustains: `--find-max`.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::plan::{Arrivals, Metric, Plan, Threshold};
use crate::report::{self, Report};
use crate::session::{self, Progress, Run};

/// A rate that was tried.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Trial {
    /// Starts a second that were due.
    pub rate: f64,
    /// Executions a second that ended.
    pub reached: f64,
    /// Latency at p99.9, in nanoseconds.
    pub p999: u64,
    /// Whether it was borne.
    pub borne: bool,
    /// Why not.
    pub reason: String,
}

/// The result of a search.
pub struct Found {
    /// The trial with the highest rate that was borne, if any was.
    pub best: Option<(Run, Report)>,
    /// All of them, in order.
    pub trials: Vec<Trial>,
    /// The part of the run that was interrupted.
    pub cut: Option<(Run, Report)>,
}

/// A trial that fails may have met a pause of the machine: it gets another chance.
const CHANCES: usize = 2;
/// The search is over when what is borne and what is not lie this close together.
const CLOSE: f64 = 1.03;
const TRIALS_MAX: usize = 24;

/// Searches, with trials as long as the plan's duration, for the highest rate at which all of `slo` holds, nothing is
/// dropped, and the generator keeps up. `tried` is called with each trial when it is over.
///
/// # Errors
/// When a run cannot begin.
pub fn find_max(
    plan: &Plan,
    slo: &[Threshold],
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&str, &Progress<'_>),
    tried: &mut dyn FnMut(&Trial),
) -> Result<Found, String> {
    let mut found = Found { best: None, trials: Vec::new(), cut: None };
    let mut first = plan.clone();
    first.arrivals = Arrivals::Closed { in_flight: 0 };
    let run =
        session::run(&first, stop, &mut |progress| watch("how fast it is at all (closed model)", progress))?;
    let report = Report::new(&run);
    let (most, workers) = (report.rate, run.workers);
    if run.interrupted || most <= 0.0 {
        found.cut = run.interrupted.then_some((run, report));
        return Ok(found);
    }
    // A closed model keeps everything busy, so hardly more than its rate can be borne.
    let (mut borne, mut not) = (0.0, most * 1.25);
    let mut rate = most * 0.8;
    while found.trials.len() < TRIALS_MAX && not > borne * CLOSE && not > 1.0 {
        let mut passed = false;
        for _ in 0..CHANCES {
            // As many workers as it took to find out.
            let mut trial = Plan { workers, ..plan.clone() };
            trial.arrivals = Arrivals::Constant { rate, poisson: plan.arrivals.is_poisson() };
            trial.thresholds = slo.to_vec();
            let title = format!("{} starts a second", crate::units::show_count(rate));
            let run = session::run(&trial, stop, &mut |progress| watch(&title, progress))?;
            let report = Report::new(&run);
            if run.interrupted || stop.load(Ordering::SeqCst) {
                found.cut = Some((run, report));
                return Ok(found.with_trials());
            }
            let reason = failing(&run, &report, slo, rate);
            passed = reason.is_none();
            let (reached, p999) = (report.rate, report.total.latency.p999);
            let trial = Trial { rate, reached, p999, borne: passed, reason: reason.unwrap_or_default() };
            tried(&trial);
            found.trials.push(trial);
            if passed {
                found.best = Some((run, report));
                break;
            }
        }
        if passed {
            borne = rate
        } else {
            not = rate
        }
        rate = if borne == 0.0 { not / 2.0 } else { (borne + not) / 2.0 };
    }
    Ok(found.with_trials())
}

impl Found {
    /// Writes the trials into the reports.
    fn with_trials(mut self) -> Found {
        for (_, report) in self.best.iter_mut().chain(&mut self.cut) {
            report.search = self.trials.clone();
        }
        self
    }
}

/// Why a trial was not borne.
fn failing(run: &Run, report: &Report, slo: &[Threshold], rate: f64) -> Option<String> {
    for threshold in slo {
        let value = report::measure(threshold.metric, &run.total, run.measured_seconds);
        if !threshold.is_met(value) {
            let shown = value.map_or("nothing".to_owned(), |value| threshold.metric.show(value));
            return Some(format!("{threshold}, but it was {shown}"));
        }
    }
    let total = &run.total;
    let names_errors = slo.iter().any(|threshold| threshold.metric == Metric::Errors);
    match () {
        () if report.generator.was_bottleneck => Some("the generator was the bottleneck".to_owned()),
        () if total.dropped > total.sent / 1_000 => Some(format!("{} were dropped", total.dropped)),
        () if !names_errors && total.errors() > total.sent / 1_000 => {
            Some(format!("{} went wrong", total.errors()))
        }
        () if report.rate < rate * 0.98 => Some("it did not keep up".to_owned()),
        () => None,
    }
}
