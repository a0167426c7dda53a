//! Failures of a pipeline's source and sinks: reported at once, again while they last, and when they are over.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
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
    /// Failed attempts since it last worked.
    pub failures: u64,
    /// For how long it has failed.
    pub lasted: Duration,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trouble { end, address, why, failures, lasted } = self;
        let seconds = lasted.as_secs();
        write!(f, "The {end} {address} ")?;
        match why {
            Some(why) if *failures == 1 => write!(f, "failed and is retried: {why}"),
            Some(why) => write!(f, "still fails after {failures} attempts in {seconds} s: {why}"),
            None => write!(f, "recovered after {failures} failed attempts in {seconds} s."),
        }
    }
}

/// A listener to failures.
pub(super) type Listener = Box<dyn Fn(&Trouble) + Send + Sync>;

/// The interval at which lasting trouble is reported again: longer each time.
const TOLD_AGAIN_MIN: Duration = Duration::from_secs(1);
const TOLD_AGAIN_MAX: Duration = Duration::from_secs(60);

/// Present failures, by end. All batches under way share it, so that they do not all report the same.
#[derive(Default)]
pub(super) struct Troubles {
    pub(super) listener: Option<Listener>,
    source: At,
    sink: At,
    dead_letters: At,
}

#[derive(Default)]
struct At {
    /// Whether anything fails: a cheap check for successful operations.
    any: AtomicBool,
    lasting: Mutex<Option<Lasting>>,
}

struct Lasting {
    since: Instant,
    failures: u64,
    tell_at: Instant,
    wait: Duration,
}

impl Troubles {
    fn at(&self, end: End) -> &At {
        match end {
            End::Source => &self.source,
            End::Sink => &self.sink,
            End::DeadLetters => &self.dead_letters,
        }
    }

    /// An end failed.
    pub(super) fn failed(&self, end: End, address: impl FnOnce() -> String, why: &str) {
        let (at, now) = (self.at(end), Instant::now());
        at.any.store(true, Ordering::Release);
        let mut lasting = at.lasting.lock().unwrap_or_else(PoisonError::into_inner);
        let row =
            lasting.get_or_insert(Lasting { since: now, failures: 0, tell_at: now, wait: TOLD_AGAIN_MIN });
        row.failures += 1;
        if now < row.tell_at {
            return;
        }
        row.tell_at = now + row.wait;
        row.wait = (row.wait * 2).min(TOLD_AGAIN_MAX);
        let (failures, lasted) = (row.failures, now - row.since);
        drop(lasting);
        self.tell(&Trouble { end, address: address(), why: Some(why.to_owned()), failures, lasted });
    }

    /// An operation succeeded.
    pub(super) fn worked(&self, end: End, address: impl FnOnce() -> String) {
        let at = self.at(end);
        if !at.any.load(Ordering::Acquire) {
            return;
        }
        let over = at.lasting.lock().unwrap_or_else(PoisonError::into_inner).take();
        at.any.store(false, Ordering::Release);
        if let Some(Lasting { since, failures, .. }) = over {
            let lasted = since.elapsed();
            self.tell(&Trouble { end, address: address(), why: None, failures, lasted });
        }
    }

    fn tell(&self, trouble: &Trouble) {
        let Trouble { end, address, why, failures, lasted } = trouble;
        let (end, lasted_ms) = (end.to_string(), u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX));
        match why {
            Some(why) => {
                tracing::warn!(end, address, why, failures, lasted_ms, "a pipeline's connection fails");
            }
            None => tracing::info!(end, address, failures, lasted_ms, "a pipeline's connection recovered"),
        }
        if let Some(listener) = &self.listener {
            listener(trouble);
        }
    }
}
