//! Standard output, which has results only, and standard error, which has what is said to people, or a log in JSON.

use std::io::{self, IsTerminal, Write};
#[cfg(any(feature = "cli-pipe", feature = "cli-serve"))]
use std::sync::atomic::{AtomicBool, Ordering};

use super::stop::Stop;

/// How bad it is what a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Info,
    #[cfg_attr(
        not(any(feature = "cli-pipe", feature = "cli-serve")),
        expect(dead_code, reason = "only what goes on for a while warns")
    )]
    Warn,
    Error,
}

/// Whether standard output is a terminal with colours.
pub(super) fn colours_stdout() -> bool {
    io::stdout().is_terminal() && wanted()
}

/// Whether standard error is.
pub(super) fn colours_stderr() -> bool {
    #[cfg(any(feature = "cli-pipe", feature = "cli-serve"))]
    if is_json() {
        return false;
    }
    io::stderr().is_terminal() && wanted()
}

/// The convention of no-color.org.
fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether all of standard error is JSON.
#[cfg(any(feature = "cli-pipe", feature = "cli-serve"))]
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// The log target of what the command itself says.
#[cfg(any(feature = "cli-pipe", feature = "cli-serve"))]
pub(super) const COMMAND: &str = "expressway::command";

/// Whether standard error has JSON objects only: no colours, no lines that are overwritten.
#[cfg(any(feature = "cli-pipe", feature = "cli-serve"))]
pub(super) fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// Sets whether standard error has JSON objects only.
#[cfg(any(feature = "cli-pipe", feature = "cli-serve"))]
pub(super) fn use_json(is_json: bool) {
    IS_JSON.store(is_json, Ordering::Relaxed);
}

/// Logs what a text log would show as it is, if the log is JSON; else this returns `false`.
#[cfg(any(feature = "cli-pipe", feature = "cli-serve"))]
pub(super) fn log(level: Level, text: &str) -> bool {
    if !is_json() {
        return false;
    }
    let text = text.strip_prefix("expressway: ").unwrap_or(text).trim();
    match level {
        Level::Error => tracing::error!(target: COMMAND, "{text}"),
        Level::Warn => tracing::warn!(target: COMMAND, "{text}"),
        Level::Info => tracing::info!(target: COMMAND, "{text}"),
    }
    true
}

/// Writes a line to standard error; errors are ignored. With `--log json` it becomes a JSON object like all others.
pub(super) fn say(line: &str) {
    say_at(Level::Info, line);
}

/// As [`say`], at this level of a log in JSON.
pub(super) fn say_at(level: Level, line: &str) {
    #[cfg(any(feature = "cli-pipe", feature = "cli-serve"))]
    if log(level, line) {
        return;
    }
    let _ = level;
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes all of `bytes` to standard output.
pub(super) fn print(bytes: &[u8]) -> Result<(), Stop> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Stop::writing(&error))
}

/// `n things`, or `1 thing`.
pub(super) fn counted(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// `there are these things: a, b, c`, of many the first ones.
pub(super) fn some_of(things: &str, names: &[&str]) -> String {
    let more = if names.len() > NAMES_SHOWN_MAX { ", …" } else { "" };
    format!("there are these {things}: {}{more}", names[..names.len().min(NAMES_SHOWN_MAX)].join(", "))
}

const NAMES_SHOWN_MAX: usize = 12;
