//! The display during a run: a full-screen view, or a line every second.

mod live;

use std::io::{IsTerminal, Write, stderr};

use crate::session::Progress;
use crate::units::{show_count, show_nanoseconds};

/// Shows how far a run is.
pub enum Screen {
    /// Nothing.
    Quiet,
    /// A line every second.
    Lines {
        /// Seconds that were shown.
        told: usize,
    },
    /// The whole terminal, until it is dropped.
    Live(Box<live::Live>),
}

impl Screen {
    /// What suits where standard error goes.
    pub fn new(quiet: bool, plain: bool, title: &str) -> Screen {
        if quiet {
            return Screen::Quiet;
        }
        let live = if plain || !stderr().is_terminal() { None } else { live::Live::new(title).ok() };
        live.map_or(Screen::Lines { told: 0 }, |live| Screen::Live(Box::new(live)))
    }

    /// Shows how far it is.
    pub fn show(&mut self, progress: &Progress<'_>) {
        match self {
            Screen::Quiet => {}
            Screen::Lines { told } => {
                for second in &progress.seconds[*told..] {
                    let (interval, seconds) = (&second.interval, second.seconds);
                    let at = |percent: f64| {
                        if interval.latency.is_empty() {
                            "-".to_owned()
                        } else {
                            show_nanoseconds(interval.latency.value_at_percentile(percent) as f64)
                        }
                    };
                    note(&format!(
                        "{:>6.1} s {:>12}/s  {:>9} in flight  {:>7} errors  p50 {:>8}  p99 {:>8}  p99.9 {:>8}",
                        second.at,
                        show_count(interval.completed() as f64 / seconds),
                        show_count(second.in_flight as f64),
                        show_count(interval.errors() as f64),
                        at(50.0),
                        at(99.0),
                        at(99.9),
                    ));
                }
                *told = progress.seconds.len();
            }
            // A terminal that went away does not end the run.
            Screen::Live(live) => drop(live.draw(progress)),
        }
    }
}

/// Writes a line to standard error; errors are ignored.
pub fn note(line: &str) {
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}

/// Gives the terminal back as it was, when the process is about to end without dropping anything.
pub fn give_back() {
    if stderr().is_terminal() {
        let _ = live::leave();
    }
}
