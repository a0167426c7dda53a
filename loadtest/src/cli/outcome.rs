//! The results of a plan: reports, and an exit code.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::Stop;
use super::options::Options;
use crate::plan::{Arrivals, Metric, Plan, Threshold};
use crate::report::{self, Journal, Report};
use crate::screen::Screen;
use crate::search;
use crate::session::{self, Run};
use crate::units::{show_count, show_nanoseconds};

/// Stopped by a signal, as shells have it.
pub(super) const INTERRUPTED: u8 = 130;

/// Carries out what was asked for.
pub(super) fn carry_out(options: &Options, stop: &Stop) -> Result<ExitCode, String> {
    let (plan, says_when) = options.plan()?;
    if options.find_max {
        return find_max(options, &plan, stop);
    }
    if !says_when {
        return both(options, plan, stop);
    }
    let report = one(options, &plan, stop, options.out.as_deref())?;
    say(&format!("{}\n", report.line()));
    Ok(code(&[&report]))
}

/// Runs a plan, and leaves its reports in a folder: each second as it comes, the rest at the end.
fn one(options: &Options, plan: &Plan, stop: &Stop, folder: Option<&Path>) -> Result<Report, String> {
    let mut journal = Journal::of_seconds(folder)?;
    let mut screen = Screen::new(options.quiet, options.plain, &plan.name);
    let run = session::run(plan, &stop.said, &mut |progress| {
        stop.is_heard(true);
        journal.tell(progress.seconds);
        screen.show(progress);
    })?;
    drop(screen);
    let report = Report::new(&run);
    finish(folder, &run, &report)?;
    stop.is_heard(false);
    Ok(report)
}

/// Writes the reports and prints the table.
fn finish(folder: Option<&Path>, run: &Run, report: &Report) -> Result<(), String> {
    // First what lasts.
    let written = folder.map_or(Ok(()), |folder| report::write_all(folder, report, run));
    say(&report::table(report));
    if let (Some(folder), Ok(())) = (folder, &written) {
        say(&format!("reports: {}\n", folder.display()));
    }
    written
}

/// Prints. A closed output must not lose the reports.
pub(super) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn code(reports: &[&Report]) -> ExitCode {
    match () {
        () if reports.iter().any(|report| report.interrupted) => ExitCode::from(INTERRUPTED),
        () if reports.iter().all(|report| report.holds()) => ExitCode::SUCCESS,
        () => ExitCode::from(1),
    }
}

/// The highest rate first, in a closed model; then latencies at half of it, in an open one.
fn both(options: &Options, mut plan: Plan, stop: &Stop) -> Result<ExitCode, String> {
    let name = std::mem::take(&mut plan.name);
    let (rates, others): (Vec<Threshold>, Vec<Threshold>) =
        plan.thresholds.iter().partition(|threshold| threshold.metric == Metric::Rate);
    plan.duration = (plan.duration / 2).max(Duration::from_millis(1));
    let fast = Plan { name: format!("{name}, as fast as it goes"), thresholds: rates, ..plan.clone() };
    let folder = options.out.as_deref();
    let fast = one(options, &fast, stop, folder.map(|folder| folder.join("fastest")).as_deref())?;
    if fast.interrupted || fast.rate < 1.0 {
        say(&format!("{}\n", fast.line()));
        return Ok(code(&[&fast]));
    }
    let rate = (fast.rate / 2.0).max(1.0).floor();
    let arrivals = Arrivals::Constant { rate, poisson: false };
    let name_of_calm = format!("{name}, at half of that rate");
    // Half of what so many reached, by as many.
    let workers = fast.generator.workers;
    let calm = Plan { name: name_of_calm, arrivals, workers, thresholds: others, ..plan };
    say("\n");
    let calm = one(options, &calm, stop, folder)?;
    let line = serde_json::json!({
        "workload": name,
        "engine": fast.targets.iter().map(|target| &*target.engine).collect::<Vec<_>>().join("+"),
        "processors": fast.machine.processors,
        "starts_per_second": fast.rate,
        "starts_per_second_model": "closed",
        "p99.9_ns": calm.total.latency.p999,
        "p50_ns": calm.total.latency.p50,
        "latency_at_starts_per_second": rate,
        "latency_model": "open, from the intended start",
        "generator_was_bottleneck": calm.generator.was_bottleneck,
        "cpu": fast.machine.cpu,
        "commit": fast.machine.commit,
    });
    say(&format!(
        "\n{} starts/s\n{} p99.9 latency at half of that rate\n{line}\n",
        show_count(fast.rate),
        show_nanoseconds(calm.total.latency.p999 as f64),
    ));
    Ok(code(&[&fast, &calm]))
}

fn find_max(options: &Options, plan: &Plan, stop: &Stop) -> Result<ExitCode, String> {
    let slo = if options.slo.is_empty() {
        vec![Threshold { metric: Metric::Latency(99.9), at_most: true, bound: 1e6 }]
    } else {
        options.slo.clone()
    };
    let mut plan = plan.clone();
    plan.duration = plan.duration.min(MAX_TRIAL);
    let mut journal = Journal::of_trials(options.out.as_deref())?;
    let mut screen: Option<(String, Screen)> = None;
    let found = search::find_max(
        &plan,
        &slo,
        &stop.said,
        &mut |title, progress| {
            stop.is_heard(true);
            if screen.as_ref().is_none_or(|(shown, _)| shown != title) {
                // The old one gives the terminal back before the new one takes it.
                screen = None;
                screen = Some((title.to_owned(), Screen::new(options.quiet, options.plain, title)));
            }
            if let Some((_, screen)) = &mut screen {
                screen.show(progress);
            }
        },
        &mut |trial| journal.write(trial),
    )?;
    drop(screen);
    for trial in &found.trials {
        let word = if trial.borne { "borne" } else { "not borne" };
        say(&format!(
            "{:>14}/s  reached {:>14}/s  p99.9 {:>9}  {word}{}{}\n",
            show_count(trial.rate),
            show_count(trial.reached),
            show_nanoseconds(trial.p999 as f64),
            if trial.reason.is_empty() { "" } else { ": " },
            trial.reason,
        ));
    }
    let wanted = slo.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some((run, report)) = found.best.as_ref().or(found.cut.as_ref()) {
        say("\n");
        finish(options.out.as_deref(), run, report)?;
    }
    match &found.best {
        Some((_, report)) => {
            let borne = found.trials.iter().filter(|trial| trial.borne);
            let rate = borne.map(|trial| trial.rate).fold(0.0, f64::max);
            let so_far = if found.cut.is_some() { " found so far" } else { "" };
            say(&format!(
                "{} starts/s is the highest rate{so_far} with {wanted}\n{}\n",
                show_count(rate),
                report.line()
            ));
        }
        None => say(&format!("no rate was found with {wanted}\n")),
    }
    Ok(match (&found.cut, &found.best) {
        (Some(_), _) => ExitCode::from(INTERRUPTED),
        (None, Some(_)) => ExitCode::SUCCESS,
        (None, None) => ExitCode::from(1),
    })
}

/// A trial of a search lasts no longer.
const MAX_TRIAL: Duration = Duration::from_secs(3);
