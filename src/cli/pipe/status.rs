//! The progress of a pipeline: a line that is updated on a terminal, elsewhere one line each minute in the log; and the
//! first failures.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use expressway::pipe::{FailedEvent, Report, Stats};

use crate::cli::progress::grouped;
use crate::cli::{report, say, worker};

/// Failures that are shown; all are counted.
const TOLD_MAX: u64 = 10;
const TERMINAL_EVERY: Duration = Duration::from_millis(500);
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Reports the first events that fail permanently.
#[derive(Default)]
pub(super) struct Failures(AtomicU64);

impl Failures {
    pub(super) fn tell(&self, failed: &FailedEvent) {
        let n = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        if n <= TOLD_MAX {
            clear();
            say(&format!("failed: {}", worker::shortened(&failed.to_string())));
        }
        if n == TOLD_MAX + 1 {
            say("Further failures are only counted; dead letters hold all of them.");
        }
    }
}

/// Removes the line from the terminal.
pub(super) fn clear() {
    let mut err = io::stderr().lock();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K");
    }
}

/// Reports the pipeline's progress, for as long as it runs.
pub(super) async fn keep_telling(stats: Arc<Stats>, on_terminal: bool) {
    let on_terminal = on_terminal && io::stderr().is_terminal();
    let every = if on_terminal { TERMINAL_EVERY } else { LOG_EVERY };
    let (mut before, mut at) = (events(&stats.report()), Instant::now());
    loop {
        tokio::time::sleep(every).await;
        let report = stats.report();
        let (now, events) = (Instant::now(), events(&report));
        let rate = ((events - before) as f64 / (now - at).as_secs_f64()) as u64;
        let in_flight = stats.in_flight();
        let lag = stats.lag();
        let Report { dead, again, .. } = report;
        if on_terminal {
            let line = line(events, rate, (in_flight, lag), &report);
            let width = terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| width.0);
            let line: String = line.chars().take(usize::from(width).saturating_sub(1)).collect();
            let mut err = io::stderr().lock();
            let _ = write!(err, "\r{line}\x1b[K").and_then(|()| err.flush());
        } else {
            tracing::info!(
                target: "expressway::pipe",
                events, rate, in_flight, lag, failed = dead, retried = again, "the pipeline runs"
            );
        }
        (before, at) = (events, now);
    }
}

/// Events that are over, each once: repeated attempts are not counted again.
pub(super) fn events(report: &Report) -> u64 {
    report.succeeded + report.dead + report.duplicates + report.unsettled
}

fn line(events: u64, rate: u64, (in_flight, lag): (u64, Option<u64>), report: &Report) -> String {
    let (red, plain) =
        if report::colours_stderr() && report.dead > 0 { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
    let lag = lag.map_or_else(String::new, |lag| format!("{} waiting, ", grouped(lag)));
    format!(
        "{} events, {} events/s, {} in flight, {lag}{red}{} failed{plain}, {} tried again",
        grouped(events),
        grouped(rate),
        grouped(in_flight),
        grouped(report.dead),
        grouped(report.again),
    )
}
