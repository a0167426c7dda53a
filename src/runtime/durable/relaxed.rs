//! Relaxed durability: a record counts as safe at once, as long as none has waited for the disk longer than allowed.
//! Records are still written and synced in their order, so a crash loses the latest ones and none in between.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::super::clock::Time;
use crate::journal::Lsn;
use crate::limits;

/// What a crash may lose of durable executions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DurabilityMode {
    /// Nothing: acknowledgements and outside effects wait until their records are on the disk.
    #[default]
    Strict,
    /// What happened within so long a time, to the millisecond: nothing waits for the disk unless it is behind by more.
    Relaxed(Duration),
    /// Everything: executions are in memory.
    Memory,
}

impl fmt::Display for DurabilityMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DurabilityMode::Strict => f.write_str("strict"),
            DurabilityMode::Relaxed(loss) => write!(f, "relaxed={}", loss.as_millis()),
            DurabilityMode::Memory => f.write_str("memory"),
        }
    }
}

impl FromStr for DurabilityMode {
    type Err = String;

    fn from_str(text: &str) -> Result<DurabilityMode, String> {
        let wrong = || {
            "expected `strict`, `relaxed`, `relaxed=MS` with milliseconds from 1 to 60000, or `memory`"
                .to_owned()
        };
        let relaxed = |ms| DurabilityMode::Relaxed(Duration::from_millis(ms));
        match text.split_once('=') {
            None if text == "strict" => Ok(DurabilityMode::Strict),
            None if text == "relaxed" => Ok(relaxed(limits::DURABLE_RELAXED_MS)),
            None if text == "memory" => Ok(DurabilityMode::Memory),
            Some(("relaxed", ms)) => match ms.parse() {
                Ok(ms @ 1..=limits::DURABLE_RELAXED_MS_MAX) => Ok(relaxed(ms)),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

/// How far the disk is behind the appended records.
pub(super) struct Lag {
    pub(super) loss_ms_max: u64,
    time: Arc<dyn Time>,
    /// Blocks that may not be durable yet, and when their first records were appended.
    blocks: Mutex<VecDeque<(Lsn, u64)>>,
}

impl Lag {
    pub(super) fn new(loss_ms_max: u64, time: Arc<dyn Time>) -> Lag {
        Lag { loss_ms_max, time, blocks: Mutex::default() }
    }

    /// A record was appended to a block.
    pub(super) fn appended(&self, lsn: Lsn) {
        if self.loss_ms_max == 0 {
            return;
        }
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if blocks.back().is_none_or(|(last, _)| *last < lsn) {
            blocks.push_back((lsn, self.time.steady_ms()));
        }
    }

    /// Whether effects beyond this durable block may take place.
    pub(super) fn is_allowed(&self, durable: Lsn) -> bool {
        if self.loss_ms_max == 0 {
            return false;
        }
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        while blocks.front().is_some_and(|(lsn, _)| *lsn <= durable) {
            blocks.pop_front();
        }
        let waited_ms = |since_ms| self.time.steady_ms().saturating_sub(since_ms);
        blocks.front().is_none_or(|&(_, since_ms)| waited_ms(since_ms) <= self.loss_ms_max)
    }
}
