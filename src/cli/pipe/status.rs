//! The progress of a pipeline: a line that is updated on a terminal, elsewhere one line each minute in the log; and the
//! first failures.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use expressway::pipe::{Connection, FailedEvent, Report, Stats};

use crate::cli::progress::{self, grouped};
use crate::cli::{Level, log, streams};

/// Failures that are shown; all are counted.
const TOLD_MAX: u64 = 10;
const TERMINAL_EVERY: Duration = Duration::from_millis(500);
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Reports the first events that fail permanently.
pub(super) struct Failures {
    count: AtomicU64,
    /// Whether there is a sink of dead letters.
    are_kept: bool,
}

impl Failures {
    pub(super) fn new(are_kept: bool) -> Failures {
        Failures { count: AtomicU64::new(0), are_kept }
    }

    pub(super) fn tell(&self, failed: &FailedEvent) {
        let n = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if n <= TOLD_MAX {
            clear();
            log::say_now(Level::Warn, &format!("failed: {}", progress::shortened(&failed.to_string())));
        }
        if n == TOLD_MAX + 1 {
            let rest = if self.are_kept {
                "dead letters hold all of them"
            } else {
                "without `dead_letters`, nothing keeps these events"
            };
            log::say_now(Level::Warn, &format!("Further failures are only counted; {rest}."));
        }
    }
}

/// Removes the line from the terminal.
pub(super) fn clear() {
    if streams::is_json() {
        return;
    }
    let mut err = io::stderr().lock();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K");
    }
}

/// Says that something fails, or that this is over.
pub(super) fn tell(sentence: &str, is_over: bool) {
    clear();
    log::say_now(if is_over { Level::Info } else { Level::Warn }, sentence);
}

/// Reports when a connection that is neither the source nor a sink is lost and made again.
pub(super) fn keep_watching(what: String, connection: Connection) {
    tokio::spawn(async move {
        loop {
            let why = connection.until_lost().await;
            tell(&format!("{what} failed and is retried: {why}"), false);
            connection.until_connected().await;
            tell(&format!("{what} recovered."), true);
        }
    });
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
        let Report { dead, again, redelivered, .. } = report;
        if on_terminal {
            // First, because a narrow terminal cuts the end.
            let failing: String =
                stats.failing().iter().map(|failing| format!("the {} fails, ", failing.end)).collect();
            let line = failing + &line(events, rate, (in_flight, lag), &report);
            let width = terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| width.0);
            let line: String = line.chars().take(usize::from(width).saturating_sub(1)).collect();
            let mut err = io::stderr().lock();
            let _ = write!(err, "\r{line}\x1b[K").and_then(|()| err.flush());
        } else {
            let state = if stats.is_running() { "the pipeline runs" } else { "the pipeline begins, or ends" };
            tracing::info!(
                target: "expressway::pipe",
                events, rate, in_flight, lag, failed = dead, retried = again, redelivered, "{state}"
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
        if streams::colours_stderr() && report.dead > 0 { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
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
