//! The log on standard error: text for people or JSON for machines, with configurable levels.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use super::Stop;
use super::streams::{self, COMMAND, Level, log as say};

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

/// Says what happens while a command runs, whatever the filter of the log is: with the time and the level, as the log's
/// other lines.
#[cfg(feature = "cli-pipe")]
pub(super) fn say_now(level: Level, text: &str) {
    if say(level, text) {
        return;
    }
    let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
    let (name, colour) = match level {
        Level::Error => ("ERROR", "31"),
        Level::Warn => (" WARN", "33"),
        Level::Info => (" INFO", "32"),
    };
    let line = if io::stderr().is_terminal() && streams::colours_stderr() {
        format!("\x1b[2m{time}\x1b[0m \x1b[{colour}m{name}\x1b[0m {text}\n")
    } else {
        format!("{time} {name} {text}\n")
    };
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Whether it is one word that is neither a level nor a target of this program: as a filter, it would be a target that
/// does not exist.
fn is_no_level(text: &str) -> bool {
    let is_word = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric());
    is_word && text != "expressway" && text.parse::<LevelFilter>().is_err()
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
            let text = || format!("expressway: {dropped} lines of the log were dropped");
            if dropped > 0 && !say(Level::Warn, &text()) {
                let _ = writeln!(io::stderr().lock(), "{}", text());
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
/// The default filter of a command that is to say nothing but what went wrong.
#[cfg(feature = "cli-pipe")]
const QUIET: &str = "expressway=warn";

impl LogSettings {
    /// Starts logging.
    ///
    /// # Errors
    /// When the level is not a valid filter.
    pub(super) fn begin(&self) -> Result<(), Stop> {
        self.begin_by(USUAL)
    }

    /// Starts logging; unless asked for more, only what went wrong.
    ///
    /// # Errors
    /// When the level is not a valid filter.
    #[cfg(feature = "cli-pipe")]
    pub(super) fn begin_quietly(&self) -> Result<(), Stop> {
        self.begin_by(QUIET)
    }

    fn begin_by(&self, usual: &str) -> Result<(), Stop> {
        let asked = self.log_level.clone().or_else(|| std::env::var("RUST_LOG").ok());
        let asked = asked.filter(|asked| !asked.is_empty());
        if let Some(word) = self.log_level.as_deref().filter(|asked| is_no_level(asked)) {
            return Err(Stop::failed(format!(
                "--log-level {word}: levels are off, error, warn, info, debug and trace; a filter of targets is such as \
                 expressway::pipe=debug"
            )));
        }
        let filter = EnvFilter::try_new(asked.as_deref().unwrap_or(usual));
        let (filter, wrong) = match filter {
            Ok(filter) => (filter, Ok(())),
            Err(error) => {
                let asked = asked.as_deref().unwrap_or_default();
                let text = match self.log_level {
                    Some(_) => {
                        format!("--log-level {asked} is no level of the log: {error}; try --log-level info")
                    }
                    None => format!(
                        "the environment variable RUST_LOG={asked} is no level of the log: {error}; try RUST_LOG=info"
                    ),
                };
                (EnvFilter::new(usual), Err(Stop::failed(text)))
            }
        };
        let own = match self.log {
            // Both are shown as text already, whatever the filter says.
            Format::Text => vec![format!("{COMMAND}=off"), "expressway::pipe::trouble=off".to_owned()],
            // A filter of some targets only does not hide why the command ends.
            Format::Json => {
                let level = asked.as_deref().and_then(|asked| asked.parse::<LevelFilter>().ok());
                vec![format!("{COMMAND}={}", level.unwrap_or(LevelFilter::INFO).max(LevelFilter::ERROR))]
            }
        };
        let own =
            own.iter().map(|text| text.parse().unwrap_or_else(|_| unreachable!("{text} is a directive")));
        let filter = own.fold(filter, EnvFilter::add_directive);
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Line);
        start_writing();
        // A subscriber that is already installed stays.
        match self.log {
            Format::Text => {
                let colours = io::stderr().is_terminal() && streams::colours_stderr();
                let _ = lines.with_target(false).with_ansi(colours).try_init();
            }
            Format::Json => {
                let installed = lines.json().flatten_event(true).with_current_span(false).try_init();
                streams::use_json(installed.is_ok());
                std::panic::set_hook(Box::new(|panic| {
                    say(Level::Error, &panic.to_string());
                    flush();
                }));
            }
        }
        wrong
    }

    /// Whether lines are for people.
    #[cfg(feature = "cli-pipe")]
    pub(super) fn is_text(&self) -> bool {
        self.log == Format::Text
    }
}
