//! Injected faults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::as_duration;

/// What goes wrong on purpose, each with a share of the calls or starts it meets.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Tasks that take longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow: Option<Slow>,
    /// Tasks that fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail: Option<Fail>,
    /// Tasks that block the thread that runs the execution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall: Option<Stall>,
    /// Executions that are aborted. Runtime only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort: Option<Slow>,
    /// Connections that are closed with a request on its way. HTTP only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill: Option<Share>,
}

/// A share, and how long.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// How many of all, 0 to 1.
    pub share: f64,
    /// How long it takes, or after how long it happens.
    #[serde(with = "as_duration")]
    pub after: Duration,
}

/// A share, and an error's name.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// How many of all, 0 to 1.
    pub share: f64,
    /// The error's name.
    #[serde(default = "broken")]
    pub error: String,
}

fn broken() -> String {
    "Loadtest.Broken".to_owned()
}

/// A share, and how long.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// How many of all, 0 to 1.
    pub share: f64,
    /// How long the thread blocks.
    #[serde(rename = "for", with = "as_duration")]
    pub lasts: Duration,
}

/// A share.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// How many of all, 0 to 1.
    pub share: f64,
}

impl Faults {
    pub(super) fn check(&self) -> Result<(), String> {
        let shares = [
            ("slow", self.slow.as_ref().map(|it| it.share)),
            ("fail", self.fail.as_ref().map(|it| it.share)),
            ("stall", self.stall.as_ref().map(|it| it.share)),
            ("abort", self.abort.as_ref().map(|it| it.share)),
            ("kill", self.kill.as_ref().map(|it| it.share)),
        ];
        for (name, share) in shares {
            if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
                return Err(format!("faults.{name}.share lies between 0 and 1"));
            }
        }
        Ok(())
    }
}
