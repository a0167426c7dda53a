//! Failures of a pipeline's source and sinks: reported at once, again while they last, and when they are over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::ends::{At, Cause, End, Lasting, Progress, Trouble};
use super::stats::Stats;

/// A listener to failures.
pub(super) type Listener = Box<dyn Fn(&Trouble) + Send + Sync>;

/// The interval at which lasting trouble is reported again: longer each time.
const TOLD_AGAIN_MIN: Duration = Duration::from_secs(1);
const TOLD_AGAIN_MAX: Duration = Duration::from_secs(60);

/// Reports failures. All batches under way share it, so that they do not all report the same.
#[derive(Default)]
pub(super) struct Troubles {
    pub(super) listener: Option<Listener>,
    pub(super) stats: Arc<Stats>,
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
        // Some errors have several lines: those of a server that speaks another language, for instance.
        row.why = why.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ");
        if now < row.tell_at {
            return;
        }
        row.tell_at = now + row.wait;
        row.wait = (row.wait * 2).min(TOLD_AGAIN_MAX);
        let (failures, lasted) = (row.failures, now - row.since);
        let (address, why) = (row.address.clone(), Some(row.why.clone()));
        drop(lasting);
        self.tell(&Trouble { end, address, why, failures, lasted });
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
