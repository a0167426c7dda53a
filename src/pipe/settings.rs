//! The settings of a pipeline.

use std::time::Duration;

use super::order::KeyOf;

/// The pause between two attempts to reach a source or sink that is unreachable.
pub(super) const AWAY_MIN: Duration = Duration::from_millis(50);
pub(super) const AWAY_MAX: Duration = Duration::from_secs(5);
/// How long a source may take to close.
pub(super) const CLOSE_MAX: Duration = Duration::from_secs(5);

/// How often an event is tried before it becomes a dead letter.
///
/// This applies to whole executions that failed; retries of tasks are the state machine's (`Retry`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// At least 1.
    pub max: u32,
    /// The delay before the second attempt; it doubles from attempt to attempt …
    pub delay: Duration,
    /// … up to this.
    pub delay_max: Duration,
}

impl Default for Attempts {
    /// Three attempts, the second after a second.
    fn default() -> Attempts {
        Attempts { max: 3, delay: Duration::from_secs(1), delay_max: Duration::from_secs(60) }
    }
}

impl Attempts {
    /// The delay after so many attempts.
    pub(super) fn delay_after(&self, attempts: u32) -> Duration {
        let doubled = 1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        self.delay.saturating_mul(doubled).min(self.delay_max)
    }
}

/// All settings.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) attempts: Attempts,
    pub(super) events_max: usize,
    pub(super) bytes_max: usize,
    /// Events that are received at once.
    pub(super) batch: usize,
    pub(super) linger: Duration,
    /// Whether all events of a batch are one execution, whose input is an array.
    pub(super) as_array: bool,
    /// Whether events are wrapped with their provenance.
    pub(super) envelope: bool,
    pub(super) unique: Option<(KeyOf, Duration)>,
    /// Bytes of an execution's history in a dead letter.
    pub(super) history_bytes: Option<usize>,
    /// How long running work may take once the pipeline is to end.
    pub(super) grace: Duration,
    /// How long it may take to open the ends.
    pub(super) open_within: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            attempts: Attempts::default(),
            events_max: 10_000,
            bytes_max: 64 << 20,
            batch: 512,
            linger: Duration::ZERO,
            as_array: false,
            envelope: false,
            unique: None,
            history_bytes: Some(64 << 10),
            grace: Duration::from_secs(30),
            open_within: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_largest() {
        let attempts = Attempts { max: 9, ..Attempts::default() };
        let seconds: Vec<u64> = (1..9).map(|n| attempts.delay_after(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(attempts.delay_after(u32::MAX).as_secs(), 60);
    }
}
