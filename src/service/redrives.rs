//! The redrives of an execution.

use std::collections::VecDeque;

/// How often an execution was redriven.
#[derive(Clone, Debug, Default)]
pub(super) struct Redrives {
    pub(super) count: u32,
    /// When it was last redriven, in milliseconds since 1970.
    pub(super) last_ms: u64,
    /// The last `clientToken`s, each with its `redriveDate`.
    tokens: VecDeque<(Box<str>, u64)>,
}

/// How long a `clientToken` is valid (API reference, "RedriveExecution").
const TOKEN_MS: u64 = 15 * 60 * 1_000;
const TOKENS_MAX: usize = 10;

impl Redrives {
    pub(super) fn recovered((count, last_ms): (u32, u64)) -> Redrives {
        Redrives { count, last_ms, tokens: VecDeque::new() }
    }

    /// `redriveDate`, in milliseconds since 1970; `None` before the first redrive.
    pub(super) fn date_ms(&self) -> Option<u64> {
        (self.count > 0).then_some(self.last_ms)
    }

    /// Whether a `clientToken` is good still: rows do not have it.
    pub(super) fn has_tokens(&self, now_ms: u64) -> bool {
        self.tokens.iter().any(|(_, date_ms)| now_ms.saturating_sub(*date_ms) < TOKEN_MS)
    }

    /// Counts one more.
    pub(super) fn add(&mut self, token: Option<&str>, date_ms: u64) {
        self.count += 1;
        self.last_ms = date_ms;
        if let Some(token) = token {
            self.tokens.truncate(TOKENS_MAX - 1);
            self.tokens.push_front((token.into(), date_ms));
        }
    }

    /// The `redriveDate` of the redrive with this `clientToken`, while it is valid.
    pub(super) fn of_token(&self, token: &str, now_ms: u64) -> Option<u64> {
        let mut good = self.tokens.iter().filter(|(_, date_ms)| now_ms.saturating_sub(*date_ms) < TOKEN_MS);
        good.find(|(known, _)| **known == *token).map(|&(_, date_ms)| date_ms)
    }
}

/// The description of an execution's redrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedriveDescription {
    /// `redriveCount`
    pub count: u32,
    /// `redriveDate`, in milliseconds since 1970.
    pub date_ms: Option<u64>,
    /// Why `RedriveExecution` refuses it; `None` if it does not.
    pub refused: Option<String>,
    /// Whether its `redriveStatus` is `REDRIVABLE_BY_MAP_RUN`: a redrive of the execution that has the Map redrives it.
    pub by_map_run: bool,
}

impl RedriveDescription {
    /// `redriveStatus`
    pub fn status(&self) -> &'static str {
        match &self.refused {
            None => "REDRIVABLE",
            Some(_) if self.by_map_run => "REDRIVABLE_BY_MAP_RUN",
            Some(_) => "NOT_REDRIVABLE",
        }
    }

    /// `redriveStatusReason`, where it is not redrivable.
    pub fn reason(&self) -> Option<&str> {
        self.refused.as_deref().filter(|_| !self.by_map_run)
    }
}

/// What redrives an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RedrivenBy {
    /// `RedriveExecution`
    Request,
    /// Its Map Run, which is redriven itself.
    MapRun,
}
