//! Failures of a pipeline's source and sinks: reported at once, again while they last, and when they are over.
//!
//! An end fails for one of two reasons, or for both. Operations on it fail: only one that succeeds shows that this is
//! over. Or it is known to be away although nothing is asked of it: its client reports that the [`Connection`] is lost,
//! or the check fails that is made every few seconds. That is over when it is connected again, or answers a check.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::flow::Stats;

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

/// The connection of a source or sink, whose client reports when it is lost and made again, also while no events flow.
/// Clones are the same connection.
#[derive(Clone, Debug, Default)]
pub struct Connection(Arc<watch::Sender<ConnectionState>>);

#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionState {
    /// How often it was lost: a watcher that is late sees that it was, even if it is connected again.
    pub(super) losses: u64,
    pub(super) why: String,
    pub(super) is_lost: bool,
}

impl Connection {
    /// Reports that it is lost, with the client's words.
    pub fn lost(&self, why: impl Into<String>) {
        let why = why.into();
        self.0.send_modify(|state| {
            *state = ConnectionState { losses: state.losses + 1, why, is_lost: true };
        });
    }

    /// Reports that it is there.
    pub fn connected(&self) {
        self.0.send_if_modified(|state| std::mem::take(&mut state.is_lost));
    }

    /// Waits until it is lost, if it is not, and returns why.
    pub async fn until_lost(&self) -> String {
        let mut state = self.0.subscribe();
        // The sender is `self`.
        let lost = state.wait_for(|state| state.is_lost).await;
        lost.map_or_else(|_| unreachable!("the sender is dropped"), |state| state.why.clone())
    }

    /// Waits until it is there again, if it is lost.
    pub async fn until_connected(&self) {
        let _ = self.0.subscribe().wait_for(|state| !state.is_lost).await;
    }

    pub(super) fn watch(&self) -> watch::Receiver<ConnectionState> {
        self.0.subscribe()
    }
}

/// A listener to failures.
pub(super) type Listener = Box<dyn Fn(&Trouble) + Send + Sync>;

/// The interval at which lasting trouble is reported again: longer each time.
const TOLD_AGAIN_MIN: Duration = Duration::from_secs(1);
const TOLD_AGAIN_MAX: Duration = Duration::from_secs(60);

/// Why an end counts as failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// An operation failed, which is retried.
    Operation,
    /// It is known to be away, while perhaps nothing is asked of it.
    Away,
}

/// Reports failures. All batches under way share it, so that they do not all report the same.
#[derive(Default)]
pub(super) struct Troubles {
    pub(super) listener: Option<Listener>,
    pub(super) stats: Arc<Stats>,
}

/// The state of each end.
#[derive(Debug, Default)]
pub(super) struct Ends([At; 3]);

#[derive(Debug, Default)]
struct At {
    /// Whether anything fails: a cheap check for successful operations.
    any: AtomicBool,
    /// Operations that succeeded.
    worked: AtomicU64,
    /// Reports that it is away.
    away: AtomicU64,
    lasting: Mutex<Option<Lasting>>,
}

#[derive(Debug)]
struct Lasting {
    since: Instant,
    failures: u64,
    tell_at: Instant,
    wait: Duration,
    address: String,
    why: String,
    /// Of an operation, and of the connection.
    causes: [bool; 2],
}

impl Lasting {
    /// Whether all is well once the end is there.
    fn is_there(&mut self) -> bool {
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
    away: u64,
    /// Whether an operation is retried: then a check says nothing new.
    pub(super) is_retried: bool,
}

impl At {
    fn lasting(&self) -> MutexGuard<'_, Option<Lasting>> {
        self.lasting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stats {
    /// The ends that fail at present, with the last error of each; empty while all is well.
    pub fn failing(&self) -> Vec<Trouble> {
        let ends = [End::Source, End::Sink, End::DeadLetters].into_iter().zip(&self.ends.0);
        let failing = ends.filter_map(|(end, at)| {
            at.lasting().as_ref().map(|lasting| Trouble {
                end,
                address: lasting.address.clone(),
                why: Some(lasting.why.clone()),
                failures: lasting.failures,
                lasted: lasting.since.elapsed(),
            })
        });
        failing.collect()
    }
}

impl Troubles {
    fn at(&self, end: End) -> &At {
        &self.stats.ends.0[end as usize]
    }

    /// An end failed.
    pub(super) fn failed(&self, end: End, cause: Cause, address: impl FnOnce() -> String, why: &str) {
        self.stats.away.fetch_add(1, Ordering::Relaxed);
        let (at, now) = (self.at(end), Instant::now());
        let mut lasting = at.lasting();
        at.any.store(true, Ordering::Release);
        at.away.fetch_add(u64::from(cause == Cause::Away), Ordering::Relaxed);
        let row = lasting.get_or_insert_with(|| Lasting {
            since: now,
            failures: 0,
            tell_at: now,
            wait: TOLD_AGAIN_MIN,
            address: address(),
            why: String::new(),
            causes: [false; 2],
        });
        row.failures += 1;
        row.causes[cause as usize] = true;
        why.clone_into(&mut row.why);
        if now < row.tell_at {
            return;
        }
        row.tell_at = now + row.wait;
        row.wait = (row.wait * 2).min(TOLD_AGAIN_MAX);
        let (failures, lasted, address) = (row.failures, now - row.since, row.address.clone());
        drop(lasting);
        self.tell(&Trouble { end, address, why: Some(why.to_owned()), failures, lasted });
    }

    /// An operation succeeded.
    pub(super) fn worked(&self, end: End) {
        let at = self.at(end);
        at.worked.fetch_add(1, Ordering::Relaxed);
        if at.any.load(Ordering::Acquire) {
            self.over(end, |_| true);
        }
    }

    /// An end is connected. Operations that fail for another reason may still fail.
    pub(super) fn is_there(&self, end: End) {
        self.over(end, Lasting::is_there);
    }

    /// An end answered a check that began at `before`: it is there, unless it was reported away in the meantime, as one
    /// is whose connection was lost after it had sent the answer.
    pub(super) fn answered(&self, end: End, before: Progress) {
        let away = &self.at(end).away;
        self.over(end, |lasting| away.load(Ordering::Relaxed) == before.away && lasting.is_there());
    }

    fn over(&self, end: End, is_over: impl FnOnce(&mut Lasting) -> bool) {
        let at = self.at(end);
        let mut lasting = at.lasting();
        if let Some(Lasting { since, failures, address, .. }) = lasting.take_if(is_over) {
            at.any.store(false, Ordering::Release);
            drop(lasting);
            self.tell(&Trouble { end, address, why: None, failures, lasted: since.elapsed() });
        }
    }

    /// What is known of an end at present.
    pub(super) fn progress(&self, end: End) -> Progress {
        let at = self.at(end);
        let lasting = at.lasting();
        Progress {
            worked: at.worked.load(Ordering::Relaxed),
            away: at.away.load(Ordering::Relaxed),
            is_retried: lasting.as_ref().is_some_and(|it| it.causes[Cause::Operation as usize]),
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
