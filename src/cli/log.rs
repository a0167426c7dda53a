//! The log on standard error: text for people or JSON for machines, with configurable levels.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::{Stop, report};

/// Format and level of the log.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub(super) struct LogSettings {
    /// How lines of the log on standard error are written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    log: Format,
    /// How much is logged: error, warn, info, debug, or filters as `expressway::calls=info`; RUST_LOG says the same
    ///
    /// By default failures are logged, and not each call.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For machines: one JSON object a line
    Json,
}

/// Lines that wait to be written. Logging never blocks on a slow reader of standard error:
/// lines for which there is no room are dropped and counted.
static WAITING: OnceLock<SyncSender<Waiting>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);
const WAITING_MAX: usize = 4_096;
/// How long the end of the command waits for the rest of its log.
const FLUSH_WITHIN: Duration = Duration::from_millis(200);

enum Waiting {
    Line(Vec<u8>),
    /// A request to confirm that all lines before were written.
    Flush(SyncSender<()>),
}

/// Writes one line, in one piece.
struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let waits =
            WAITING.get().is_some_and(|waiting| waiting.try_send(Waiting::Line(line.to_vec())).is_ok());
        if !waits {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the thread that writes.
fn start_writing() {
    let (waiting, lines) = sync_channel(WAITING_MAX);
    let write = move || {
        for line in lines {
            match line {
                Waiting::Line(line) => {
                    let _ = io::stderr().lock().write_all(&line);
                }
                Waiting::Flush(done) => {
                    let _ = done.send(());
                }
            }
            let dropped = DROPPED.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                let _ = writeln!(io::stderr().lock(), "expressway: {dropped} lines of the log were dropped");
            }
        }
    };
    if thread::Builder::new().name("log".into()).spawn(write).is_ok() {
        let _ = WAITING.set(waiting);
    }
}

/// Waits until the log is written, for a short time.
pub(super) fn flush() {
    let Some(waiting) = WAITING.get() else { return };
    let (done, written) = sync_channel(1);
    if waiting.try_send(Waiting::Flush(done)).is_ok() {
        let _ = written.recv_timeout(FLUSH_WITHIN);
    }
}

/// The default filter: without a line for each successful call.
const USUAL: &str = "expressway=info,expressway::calls=warn";

impl LogSettings {
    /// Starts logging.
    ///
    /// # Errors
    /// When the level is not a valid filter.
    pub(super) fn begin(&self) -> Result<(), Stop> {
        // What is already shown as text is not logged again.
        let usual = match self.log {
            Format::Text => format!("{USUAL},expressway::pipe::trouble=off"),
            Format::Json => USUAL.to_owned(),
        };
        let asked = self.log_level.clone().or_else(|| std::env::var("RUST_LOG").ok());
        let asked = asked.filter(|asked| !asked.is_empty());
        let filter = EnvFilter::try_new(asked.as_deref().unwrap_or(&usual));
        let filter = filter.map_err(|error| {
            let asked = asked.unwrap_or_default();
            Stop::failed(format!("{asked} is no level of the log: {error}; try --log-level info"))
        })?;
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Line);
        start_writing();
        // A subscriber that is already installed stays.
        let _ = match self.log {
            Format::Text => {
                let colours = io::stderr().is_terminal() && report::colours_stderr();
                lines.with_target(false).with_ansi(colours).try_init()
            }
            Format::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
        };
        Ok(())
    }

    /// Whether lines are for people.
    #[cfg(feature = "cli-pipe")]
    pub(super) fn is_text(&self) -> bool {
        self.log == Format::Text
    }
}
