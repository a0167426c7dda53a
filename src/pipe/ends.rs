//! The state of a pipeline's source and sinks: what fails at present, since when, and why.
//!
//! An end fails for one of two reasons, or for both. Operations on it fail: only one that succeeds shows that this is
//! over. Or it is known to be away although nothing is asked of it: its client reports that the connection is lost, or the
//! check fails that is made every few seconds. That is over when it is connected again, or answers a check.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A source or sink of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where events come from.
    Source,
    /// Where outputs go.
    Sink,
    /// Where dead letters go.
    DeadLetters,
}

impl End {
    /// Its name and its address, if it has one.
    pub(super) fn at(self, address: &str) -> String {
        if address.is_empty() { self.to_string() } else { format!("{self} {address}") }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::Source => "source",
            End::Sink => "sink",
            End::DeadLetters => "dead-letter sink",
        })
    }
}

/// A source or sink that fails, or works again. It is displayed as one line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trouble {
    /// Which one it is.
    pub end: End,
    /// Its [address](super::Sink::address).
    pub address: String,
    /// The error of the broker or the operating system; `None` when it works again.
    pub why: Option<String>,
    /// Failures since it last worked.
    pub failures: u64,
    /// For how long it has failed.
    pub lasted: Duration,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trouble { end, address, why, failures, lasted } = self;
        let (s, seconds) = (if *failures == 1 { "" } else { "s" }, lasted.as_secs());
        write!(f, "The {end} {address} ")?;
        match why {
            Some(why) if *failures == 1 => write!(f, "failed and is retried: {why}"),
            Some(why) => write!(f, "still fails after {failures} attempts in {seconds} s: {why}"),
            None => write!(f, "recovered after {failures} failed attempt{s} in {seconds} s."),
        }
    }
}

/// Why an end counts as failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// An operation failed, which is retried.
    Operation,
    /// It is known to be away, while perhaps nothing is asked of it.
    Away,
}

/// The state of each end.
#[derive(Debug, Default)]
pub(super) struct Ends(pub(super) [At; 3]);

#[derive(Debug, Default)]
pub(super) struct At {
    /// Whether anything fails: a cheap check for successful operations.
    pub(super) any: AtomicBool,
    /// Operations that succeeded.
    pub(super) worked: AtomicU64,
    /// Reports that it is away.
    pub(super) away: AtomicU64,
    pub(super) lasting: Mutex<Option<Lasting>>,
}

#[derive(Debug)]
pub(super) struct Lasting {
    pub(super) since: Instant,
    pub(super) failures: u64,
    pub(super) tell_at: Instant,
    pub(super) wait: Duration,
    pub(super) address: String,
    pub(super) why: String,
    /// Of an operation, and of the connection.
    pub(super) causes: [bool; 2],
}

impl Lasting {
    /// Whether all is well once the end is there.
    pub(super) fn is_there(&mut self) -> bool {
        self.causes[Cause::Away as usize] = false;
        self.causes == [false; 2]
    }
}

/// What is known of an end when a check begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Operations that succeeded.
    pub(super) worked: u64,
    /// Reports that it is away.
    pub(super) away: u64,
    /// Whether an operation is retried: then a check says nothing new.
    pub(super) is_retried: bool,
}

impl At {
    pub(super) fn lasting(&self) -> MutexGuard<'_, Option<Lasting>> {
        self.lasting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
