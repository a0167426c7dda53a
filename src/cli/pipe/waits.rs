//! What a pipeline needs before it has a state machine, beside its source and sinks: what is away is waited for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use expressway::pipe::PipeError;

/// The delay before the next attempt, and the interval at which lasting failures are reported: both double.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
const TOLD_MIN: Duration = Duration::from_secs(1);
const TOLD_MAX: Duration = Duration::from_secs(60);

/// Hears what fails, and, with `true`, what is over.
type Tell = fn(&str, bool);

/// What is waited for at present.
#[derive(Debug)]
pub(super) struct Waits {
    /// How long it may take; by default as long as it needs.
    within: Option<Duration>,
    tell: Tell,
    failing: Mutex<Option<String>>,
}

impl Waits {
    pub(super) fn new(within: Option<Duration>, tell: Tell) -> Waits {
        Waits { within, tell, failing: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The failure that lasts, as a sentence.
    pub(super) fn failing(&self) -> Option<String> {
        self.lock().clone()
    }

    /// Makes attempts until one succeeds, or fails for a reason that stays, which is returned.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        mut attempt: impl AsyncFnMut() -> Result<T, PipeError>,
    ) -> Result<T, String> {
        let begun = Instant::now();
        let (mut failures, mut wait, mut told_again) = (0, RETRY_MIN, TOLD_MIN);
        let mut tell_at = begun;
        let opened = loop {
            let error = match attempt().await {
                Ok(opened) => break opened,
                Err(error) => error,
            };
            let may_mend = matches!(error, PipeError::Away(_) | PipeError::Absent(_));
            if !may_mend || self.within.is_some_and(|within| begun.elapsed() + wait > within) {
                return Err(format!("{what}: {error}"));
            }
            failures += 1;
            let sentence = match failures {
                1 => format!("{what} failed and is retried: {error}"),
                _ => {
                    let seconds = begun.elapsed().as_secs();
                    format!("{what} still fails after {failures} attempts in {seconds} s: {error}")
                }
            };
            if Instant::now() >= tell_at {
                tell_at = Instant::now() + told_again;
                told_again = (told_again * 2).min(TOLD_MAX);
                (self.tell)(&sentence, false);
            }
            *self.lock() = Some(sentence);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_MAX);
        };
        if self.lock().take().is_some() {
            (self.tell)(&format!("{what} recovered."), true);
        }
        Ok(opened)
    }
}
