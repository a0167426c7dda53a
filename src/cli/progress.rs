//! Messages on standard error while a stream runs and when it is over.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::latency::Latency;

/// The results of the events so far.
pub(super) struct Totals {
    pub(super) succeeded: u64,
    /// Executions that did not succeed, by error name.
    failed_by: BTreeMap<String, u64>,
    pub(super) failed: u64,
    /// Lines that did not become executions.
    pub(super) not_run: u64,
    pub(super) bytes: u64,
    pub(super) latency: Latency,
    /// Executions that were under way when the run was interrupted.
    pub(super) unfinished: u64,
    pub(super) interrupted: bool,
    started: Instant,
}

impl Totals {
    pub(super) fn new() -> Totals {
        Totals {
            succeeded: 0,
            failed_by: BTreeMap::new(),
            failed: 0,
            not_run: 0,
            bytes: 0,
            latency: Latency::new(),
            unfinished: 0,
            interrupted: false,
            started: Instant::now(),
        }
    }

    #[inline]
    pub(super) fn events(&self) -> u64 {
        self.succeeded + self.failed + self.not_run
    }

    /// Counts an execution that did not succeed. Names beyond the first thousand are summed up: they come from data.
    pub(super) fn fail(&mut self, name: &str) {
        self.failed += 1;
        let name = if self.failed_by.len() < NAMES_MAX { name } else { "others" };
        match self.failed_by.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.failed_by.insert(name.to_owned(), 1);
            }
        }
    }

    /// The final summary: what happened and how fast.
    pub(super) fn summary(mut self) -> String {
        let elapsed = self.started.elapsed();
        let (events, seconds) = (self.events(), elapsed.as_secs_f64().max(1e-9));
        let mut out = if self.interrupted { "Interrupted.\n".to_owned() } else { String::new() };
        out.push_str(&format!("{} event{} in {}", grouped(events), plural(events), time(elapsed)));
        if events > 1 {
            let rate = events as f64 / seconds;
            let megabytes = self.bytes as f64 / seconds / 1e6;
            out.push_str(&format!(
                ": {} events/s, {megabytes:.1} MB/s of input",
                grouped(rate.round() as u64)
            ));
        }
        out.push_str(&format!("\n  succeeded  {}", grouped(self.succeeded)));
        if self.failed > 0 {
            out.push_str(&format!("\n  failed     {}: {}", grouped(self.failed), self.names()));
        }
        if self.not_run > 0 {
            out.push_str(&format!("\n  not run    {} (not JSON, or too large)", grouped(self.not_run)));
        }
        if self.unfinished > 0 {
            out.push_str(&format!("\n  unfinished {} (stopped when interrupted)", grouped(self.unfinished)));
        }
        if let Some([half, most]) = self.latency.quantiles([0.5, 0.99])
            && events > 1
        {
            out.push_str(&format!("\n  per event  p50 {}, p99 {}", time(half), time(most)));
        }
        out.push('\n');
        out
    }

    /// The most frequent error names, with their counts.
    fn names(&self) -> String {
        let mut names: Vec<(&String, &u64)> = self.failed_by.iter().collect();
        names.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let shown = names.iter().take(NAMES_SHOWN_MAX);
        let mut shown: Vec<String> =
            shown.map(|(name, count)| format!("{} {name}", grouped(**count))).collect();
        if names.len() > NAMES_SHOWN_MAX {
            shown.push(format!("and {} other error names", names.len() - NAMES_SHOWN_MAX));
        }
        shown.join(", ")
    }
}

const NAMES_MAX: usize = 1_000;
const NAMES_SHOWN_MAX: usize = 10;

/// The progress line of a stream. On a terminal it is updated in place; elsewhere it is printed at intervals.
pub(super) struct Progress {
    terminal: bool,
    /// Bytes of the input, if it is a file.
    total_bytes: Option<u64>,
    shown: Instant,
    /// Whether the line is on the terminal.
    is_up: bool,
}

const TERMINAL_EVERY: Duration = Duration::from_millis(250);
const LINE_EVERY: Duration = Duration::from_secs(10);

impl Progress {
    /// For an input of `total_bytes`, if that is known.
    pub(super) fn new(total_bytes: Option<u64>) -> Progress {
        Progress { terminal: io::stderr().is_terminal(), total_bytes, shown: Instant::now(), is_up: false }
    }

    /// Prints the progress, if it is due. `running` describes what is under way, for slow executions.
    pub(super) fn tick(&mut self, totals: &Totals, running: Option<&dyn Fn() -> String>) {
        let now = Instant::now();
        let every = if self.terminal { TERMINAL_EVERY } else { LINE_EVERY };
        if now - self.shown < every {
            return;
        }
        self.shown = now;
        let width = if self.terminal { terminal_columns().unwrap_or(80) } else { usize::MAX };
        let running = running.map(|running| running()).unwrap_or_default();
        let line = line(totals, self.total_bytes, &running, now - totals.started, width);
        let mut err = io::stderr().lock();
        let _ = if self.terminal { write!(err, "\r{line}\x1b[K") } else { writeln!(err, "{line}") };
        let _ = err.flush();
        self.is_up = self.terminal;
    }

    /// Removes the line from the terminal, so that something else can be written.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_up) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// How often the line is checked.
pub(super) const TICK: Duration = TERMINAL_EVERY;

/// Columns of the terminal on standard error, if it is one.
fn terminal_columns() -> Option<usize> {
    terminal_size::terminal_size_of(io::stderr()).map(|(width, _)| usize::from(width.0))
}

/// Columns that a progress line may have.
pub(super) fn columns() -> usize {
    terminal_columns().unwrap_or(COLUMNS_ELSEWHERE)
}

/// In a file lines may be longer than on most terminals.
const COLUMNS_ELSEWHERE: usize = 160;

/// The progress of a stream, in at most `width` columns: the least important parts are left out if there is no room.
fn line(totals: &Totals, total_bytes: Option<u64>, running: &str, elapsed: Duration, width: usize) -> String {
    let rate = totals.events() as f64 / elapsed.as_secs_f64().max(1e-9);
    let mut parts = Vec::new();
    let is_quiet = totals.events() == 0 && !running.is_empty();
    if let Some(total) = total_bytes.filter(|&total| total > 0 && !is_quiet) {
        let share = (totals.bytes as f64 / total as f64).clamp(0.0, 1.0);
        parts.push(format!("{:.0} %", (share * 100.0).floor()));
        // The first few percent do not predict the rest.
        if share >= 0.01 {
            parts.push(format!("{} left", remaining(elapsed.mul_f64((1.0 - share) / share))));
        }
    }
    if !is_quiet {
        parts.push(format!("{} event{}", grouped(totals.events()), plural(totals.events())));
        parts.push(format!("{} failed", grouped(totals.failed + totals.not_run)));
    }
    if !running.is_empty() {
        parts.push(running.to_owned());
    }
    if !is_quiet {
        parts.push(format!("{} events/s", grouped(rate.round() as u64)));
    }
    parts.push(time(elapsed));
    let mut line = String::new();
    for part in parts {
        let separator = if line.is_empty() { "" } else { ", " };
        // The last column stays free: some terminals wrap when it is written.
        if line.chars().count() + separator.len() + part.chars().count() >= width {
            // A state with a long name is better cut than left out, if there is nothing else.
            if line.is_empty() {
                line.extend(part.chars().take(width.saturating_sub(2)).chain(['…']));
            }
            break;
        }
        line.push_str(separator);
        line.push_str(&part);
    }
    line
}

/// A remaining time, in seconds.
fn remaining(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

fn plural(n: u64) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// A number with thousands separators.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time with about three digits and a suitable unit.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match time.as_nanos() {
        0..1_000 => format!("{} ns", time.as_nanos()),
        1_000..1_000_000 => format!("{:.1} µs", seconds * 1e6),
        1_000_000..1_000_000_000 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}

/// A cause on one line of limited length. Causes have data, with any content.
pub(super) fn shortened(cause: &str) -> String {
    let mut chars = cause.chars();
    let mut short: String =
        chars.by_ref().take(CAUSE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let left = chars.as_str().len() as u64;
    if left > 0 {
        short.push_str(&format!("… ({} more bytes)", grouped(left)));
    }
    short
}

const CAUSE_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_share_and_remaining_time_and_fits_the_terminal() {
        let mut totals = Totals::new();
        totals.succeeded = 250_000;
        totals.bytes = 25 << 20;
        let shown = |total, width| line(&totals, total, "", Duration::from_secs(30), width);
        let whole = "25 %, 1 min 30 s left, 250,000 events, 0 failed, 8,333 events/s, 30.00 s";
        assert_eq!(shown(Some(100 << 20), 80), whole);
        assert_eq!(shown(Some(100 << 20), whole.len() + 1), whole);
        assert_eq!(
            shown(Some(100 << 20), whole.len()),
            whole.strip_suffix(", 30.00 s").expect("the last part")
        );
        assert_eq!(shown(Some(100 << 20), 30), "25 %, 1 min 30 s left");
        // The size of a pipe is not known, and an empty file has no percentage.
        assert_eq!(shown(None, 80), "250,000 events, 0 failed, 8,333 events/s, 30.00 s");
        assert_eq!(shown(Some(0), 20), "250,000 events");
        let waits = line(&Totals::new(), None, "line 1 is in `WaitForApproval`", Duration::ZERO, 20);
        assert_eq!(waits, "line 1 is in `Wait…");
        // A file that grows while it is read.
        assert!(shown(Some(1), 80).starts_with("100 %, 0 s left, "));
        assert_eq!(remaining(Duration::from_secs(7_325)), "2 h 2 min");
        // The state of the oldest execution; it is shown alone until the first execution ends.
        let shown =
            |totals: &Totals| line(totals, Some(9), "line 1 is in `Wait`", Duration::from_secs(3), 80);
        assert_eq!(shown(&Totals::new()), "line 1 is in `Wait`, 3.00 s");
        totals = Totals::new();
        totals.succeeded = 6;
        assert_eq!(shown(&totals), "0 %, 6 events, 0 failed, line 1 is in `Wait`, 2 events/s, 3.00 s");
    }
}
