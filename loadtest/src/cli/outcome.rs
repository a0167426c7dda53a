//! What a plan comes to: reports, and an exit code.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::options::Options;
use crate::plan::{Arrivals, Metric, Plan, Threshold};
use crate::report::{self, Report};
use crate::screen::Screen;
use crate::search;
use crate::session::{self, Run};
use crate::units::{show_count, show_nanoseconds};

/// Stopped by a signal, as shells have it.
const INTERRUPTED: u8 = 130;

/// Carries out what was asked for.
pub(super) fn carry_out(options: &Options, stop: &AtomicBool) -> Result<ExitCode, String> {
    let (mut plan, says_when) = options.plan()?;
    if let Some(folder) = &options.out {
        // Found out now rather than after the run.
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    if options.find_max {
        return find_max(options, &plan, stop);
    }
    if !says_when {
        return both(options, plan, stop);
    }
    // Steps go on until it breaks, so they need an end of their own only if it never does.
    if let Arrivals::Steps { every, .. } = plan.arrivals {
        plan.duration = plan.duration.max(every * 2);
    }
    let (run, report) = one(options, &plan, stop)?;
    finish(options.out.as_deref(), &run, &report)?;
    println!("{}", report.line());
    Ok(code(&[&report]))
}

fn one(options: &Options, plan: &Plan, stop: &AtomicBool) -> Result<(Run, Report), String> {
    let mut screen = Screen::new(options.quiet, options.plain, &plan.name);
    let run = session::run(plan, stop, &mut |progress| screen.show(progress))?;
    drop(screen);
    let report = Report::new(&run);
    print!("{}", report::table(&report));
    Ok((run, report))
}

fn finish(folder: Option<&Path>, run: &Run, report: &Report) -> Result<(), String> {
    let Some(folder) = folder else { return Ok(()) };
    report::write_all(folder, report, run)?;
    println!("reports: {}", folder.display());
    Ok(())
}

fn code(reports: &[&Report]) -> ExitCode {
    match () {
        () if reports.iter().any(|report| report.interrupted) => ExitCode::from(INTERRUPTED),
        () if reports.iter().all(|report| report.holds()) => ExitCode::SUCCESS,
        () => ExitCode::from(1),
    }
}

/// The highest rate first, in a closed model; then latencies at half of it, in an open one.
fn both(options: &Options, mut plan: Plan, stop: &AtomicBool) -> Result<ExitCode, String> {
    let name = std::mem::take(&mut plan.name);
    let (rates, others): (Vec<Threshold>, Vec<Threshold>) =
        plan.thresholds.iter().partition(|threshold| threshold.metric == Metric::Rate);
    plan.duration = (plan.duration / 2).max(Duration::from_millis(1));
    let fast = Plan { name: format!("{name}, as fast as it goes"), thresholds: rates, ..plan.clone() };
    let (fast_run, fast) = one(options, &fast, stop)?;
    let folder = options.out.as_deref();
    if fast.interrupted || fast.rate < 1.0 {
        finish(folder, &fast_run, &fast)?;
        println!("{}", fast.line());
        return Ok(code(&[&fast]));
    }
    finish(folder.map(|folder| folder.join("fastest")).as_deref(), &fast_run, &fast)?;
    let rate = (fast.rate / 2.0).max(1.0).floor();
    let arrivals = Arrivals::Constant { rate, poisson: false };
    let calm = Plan { name: format!("{name}, at half of that rate"), arrivals, thresholds: others, ..plan };
    println!();
    let (calm_run, calm) = one(options, &calm, stop)?;
    finish(folder, &calm_run, &calm)?;
    println!("\n{} starts/s", show_count(fast.rate));
    println!("{} p99.9 latency at half of that rate", show_nanoseconds(calm.total.latency.p999 as f64));
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
    println!("{line}");
    Ok(code(&[&fast, &calm]))
}

fn find_max(options: &Options, plan: &Plan, stop: &AtomicBool) -> Result<ExitCode, String> {
    let slo = match options.slo.is_empty() {
        true => vec![Threshold { metric: Metric::Latency(99.9), at_most: true, bound: 1e6 }],
        false => options.slo.clone(),
    };
    let mut plan = plan.clone();
    plan.duration = plan.duration.min(MAX_TRIAL);
    let mut screen: Option<(String, Screen)> = None;
    let found = search::find_max(&plan, &slo, stop, &mut |title, progress| {
        if screen.as_ref().is_none_or(|(shown, _)| shown != title) {
            // The old one gives the terminal back before the new one takes it.
            screen = None;
            screen = Some((title.to_owned(), Screen::new(options.quiet, options.plain, title)));
        }
        if let Some((_, screen)) = &mut screen {
            screen.show(progress);
        }
    })?;
    drop(screen);
    for trial in &found.trials {
        let word = if trial.borne { "borne" } else { "not borne" };
        println!(
            "{:>14}/s  reached {:>14}/s  p99.9 {:>9}  {word}{}{}",
            show_count(trial.rate),
            show_count(trial.reached),
            show_nanoseconds(trial.p999 as f64),
            if trial.reason.is_empty() { "" } else { ": " },
            trial.reason,
        );
    }
    let wanted = slo.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match &found.best {
        Some((run, report)) => {
            println!();
            print!("{}", report::table(report));
            finish(options.out.as_deref(), run, report)?;
            let rate =
                found.trials.iter().filter(|trial| trial.borne).map(|trial| trial.rate).fold(0.0, f64::max);
            println!("{} starts/s is the highest rate with {wanted}", show_count(rate));
            println!("{}", report.line());
        }
        None => println!("no rate was found with {wanted}"),
    }
    Ok(match (&found.best, found.interrupted) {
        (_, true) => ExitCode::from(INTERRUPTED),
        (Some(_), false) => ExitCode::SUCCESS,
        (None, false) => ExitCode::from(1),
    })
}

/// A trial of a search lasts no longer.
const MAX_TRIAL: Duration = Duration::from_secs(3);
