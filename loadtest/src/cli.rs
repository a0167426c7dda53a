//! The command.

mod options;
mod outcome;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};

use self::options::Options;
use crate::compare::{self, Verdict};
use crate::echo;
use crate::screen;
use crate::self_check::{self, Figure};
use crate::workloads::BUILT_IN;

/// Starts executions at a rate, and says how many came through and how long they took.
///
/// Without arguments the canonical workload runs in process on all processors for ten seconds: five as fast as it goes,
/// five at half of that rate, for the latencies.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what changed between two reports, and whether it is more than noise
    Compare {
        /// `report.json` of one run, or its folder
        before: PathBuf,
        /// That of another
        after: PathBuf,
        /// Ends with exit code 1 when something is worse, and more than noise
        #[arg(long)]
        fail_on_worse: bool,
    },
    /// Lists the workloads that come with the program
    Workloads,
    /// Measures the load test itself: what it can send, how late, and what writing down costs
    SelfCheck {
        /// How long each run takes
        #[arg(long, value_parser = crate::units::duration, default_value = "3s")]
        duration: std::time::Duration,
    },
    /// Serves HTTP on one thread and answers everything with the same success: what is left is what the client costs
    Echo {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:8099")]
        listen: std::net::SocketAddr,
    },
}

/// The command, from its arguments to its exit code: 0 when all is well, 1 when a threshold was breached, 2 when it
/// could not be carried out, 130 when it was interrupted.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Some(Command::Compare { before, after, fail_on_worse }) => {
            compare_files(before, after, *fail_on_worse)
        }
        Some(Command::Workloads) => {
            for it in BUILT_IN {
                outcome::say(&format!("{:<10} {}\n", it.name, it.about));
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::SelfCheck { duration }) => self_check(*duration),
        Some(Command::Echo { listen }) => {
            let serving = echo::serve(*listen, |address| outcome::say(&format!("http://{address}\n")));
            serving.map(|()| ExitCode::SUCCESS).map_err(|error| format!("{listen}: {error}"))
        }
        None => outcome::carry_out(&arguments.options, &Stop::on_signals()),
    };
    result.unwrap_or_else(|error| {
        screen::note(&format!("loadtest: {error}"));
        ExitCode::from(2)
    })
}

/// The flags that Ctrl-C and SIGTERM set, and whether a run checks them.
#[derive(Clone, Debug, Default)]
struct Stop {
    said: Arc<AtomicBool>,
    heard: Arc<AtomicBool>,
}

impl Stop {
    /// A flag that signals raise. A second one ends the process, and so does the first where there is nothing yet to report.
    fn on_signals() -> Stop {
        let stop = Stop::default();
        let signalled = stop.clone();
        let listening = ctrlc::set_handler(move || {
            let is_first = !signalled.said.swap(true, Ordering::SeqCst);
            if is_first && signalled.heard.load(Ordering::SeqCst) {
                return;
            }
            screen::give_back();
            screen::note("loadtest: stopped");
            std::process::exit(i32::from(outcome::INTERRUPTED));
        });
        if let Err(error) = listening {
            screen::note(&format!("loadtest: Ctrl-C will end it without a report: {error}"));
        }
        stop
    }

    /// Whether there is a run, which ends on request.
    fn is_heard(&self, heard: bool) {
        self.heard.store(heard, Ordering::SeqCst);
    }
}

fn self_check(duration: std::time::Duration) -> Result<ExitCode, String> {
    let figures = self_check::measure(duration)?;
    outcome::say("| figure | target | measured | met |\n|---|--:|--:|---|\n");
    for Figure { what, target, measured, met } in &figures {
        let met = if *met { "yes" } else { "no" };
        outcome::say(&format!("| {what} | {target} | {measured} | {met} |\n"));
    }
    Ok(ExitCode::from(u8::from(figures.iter().any(|figure| !figure.met))))
}

fn compare_files(
    before: &std::path::Path,
    after: &std::path::Path,
    fail_on_worse: bool,
) -> Result<ExitCode, String> {
    let (before, after) = (compare::read(before)?, compare::read(after)?);
    let changes = compare::compare(&before, &after);
    outcome::say(&compare::table(&before, &after, &changes));
    let is_worse = changes.iter().any(|change| change.verdict == Verdict::Worse);
    Ok(ExitCode::from(u8::from(fail_on_worse && is_worse)))
}
