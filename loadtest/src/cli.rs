//! The command.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;

use crate::plan::{Arrivals, Kind, Plan, Target};
use crate::report::{self, Report};
use crate::session::{self, Progress};
use crate::units::{show_count, show_nanoseconds};

#[derive(Debug, Parser)]
#[command(
    name = "loadtest",
    version,
    about = "Starts executions at a rate, and says how many came through and how long they took"
)]
struct Arguments {
    /// A workload file, TOML or JSON; without one and without options, the canonical workload runs for ten seconds
    file: Option<PathBuf>,
    /// A workload that comes with the program
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// Starts a second (open model)
    #[arg(long, value_parser = crate::units::count, value_name = "RATE")]
    rate: Option<f64>,
    /// How long to measure
    #[arg(long, value_parser = crate::units::duration, value_name = "TIME")]
    duration: Option<Duration>,
    /// What runs the executions
    #[arg(long)]
    target: Option<String>,
}

/// The command, from its arguments to its exit code: 0 when all is well, 1 when a threshold was breached, 2 when it could
/// not be carried out.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let stop = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&stop);
    let listening = ctrlc::set_handler(move || {
        // Whoever asks a second time means now.
        if heard.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
    if let Err(error) = listening {
        eprintln!("loadtest: Ctrl-C will end it without a report: {error}");
    }
    match carry_out(&arguments, &stop) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::from(2)
        }
    }
}

fn carry_out(arguments: &Arguments, stop: &AtomicBool) -> Result<ExitCode, String> {
    let mut plan = match &arguments.file {
        Some(path) => crate::plan::read(path)?,
        None => Plan { targets: vec![Target::default()], ..Plan::default() },
    };
    if let Some(workload) = &arguments.workload {
        plan.targets[0].workload = Some(workload.clone());
    }
    match arguments.target.as_deref() {
        Some("inline") => plan.targets[0].kind = Kind::Inline,
        Some("empty") => plan.targets[0].kind = Kind::Empty,
        _ => {}
    }
    if let Some(duration) = arguments.duration {
        plan.duration = duration;
    }
    if let Some(rate) = arguments.rate {
        plan.arrivals = Arrivals::Constant { rate, poisson: false };
        let report = one(&plan, stop)?;
        println!("{}", report.line());
        return Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::from(1) });
    }
    canonical(plan, stop)
}

fn one(plan: &Plan, stop: &AtomicBool) -> Result<Report, String> {
    let run = session::run(plan, stop, &mut |progress| line(progress))?;
    let report = Report::new(&run);
    print!("{}", report::table(&report));
    Ok(report)
}

fn line(progress: &Progress<'_>) {
    let rate = progress.recent.completed() as f64 / progress.recent_seconds;
    eprintln!(
        "{:>5.1} s  {:>12}/s  p50 {:>8}  p99.9 {:>8}",
        progress.elapsed.as_secs_f64(),
        show_count(rate),
        show_nanoseconds(progress.recent.latency.value_at_percentile(50.0) as f64),
        show_nanoseconds(progress.recent.latency.value_at_percentile(99.9) as f64),
    );
}

/// The highest rate first, in a closed model; then latencies at half of it, in an open one.
fn canonical(mut plan: Plan, stop: &AtomicBool) -> Result<ExitCode, String> {
    plan.duration /= 2;
    plan.name = "throughput".to_owned();
    let fast = one(&plan, stop)?;
    plan.name = "latency at half of it".to_owned();
    plan.arrivals = Arrivals::Constant { rate: (fast.rate / 2.0).floor(), poisson: false };
    let calm = one(&plan, stop)?;
    println!("{} starts/s", show_count(fast.rate));
    println!("{} p99.9 latency", show_nanoseconds(calm.total.latency.p999 as f64));
    println!("{}", calm.line());
    Ok(ExitCode::SUCCESS)
}
