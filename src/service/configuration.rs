//! Logging, tracing and encryption of a state machine, as AWS checks them.

use serde::{Deserialize, Serialize};

use super::{Error, Exception};
use crate::observe::log::Level;

/// `loggingConfiguration` (API reference, `LoggingConfiguration`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// `level`; `OFF` unless given.
    pub level: LogLevel,
    /// `includeExecutionData`
    pub include_execution_data: bool,
    /// The ARNs of the log groups in `destinations`; `None` without such a member. A destination without a log group is
    /// empty.
    pub destinations: Option<Vec<String>>,
}

/// `level` of a logging configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogLevel {
    /// Every event.
    All,
    /// Failures of all kinds.
    Error,
    /// Failed, aborted and timed-out executions.
    Fatal,
    /// Nothing.
    #[default]
    Off,
}

impl LogLevel {
    /// The level of this name.
    pub fn of(name: &str) -> Option<LogLevel> {
        [LogLevel::All, LogLevel::Error, LogLevel::Fatal, LogLevel::Off]
            .into_iter()
            .find(|level| level.name() == name)
    }

    /// AWS's name.
    pub const fn name(self) -> &'static str {
        match self {
            LogLevel::All => "ALL",
            LogLevel::Error => "ERROR",
            LogLevel::Fatal => "FATAL",
            LogLevel::Off => "OFF",
        }
    }
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Level {
        match level {
            LogLevel::All => Level::All,
            LogLevel::Error => Level::Error,
            LogLevel::Fatal => Level::Fatal,
            LogLevel::Off => Level::Off,
        }
    }
}

impl Logging {
    /// Whether AWS would accept it: a level other than `OFF` demands exactly one destination, an ARN that ends in `:*`,
    /// and a state machine that CloudWatch Logs can name.
    pub(super) fn check(&self, arn: &str) -> Result<(), Error> {
        let refuse = |why: &str| {
            let message = format!("Invalid Logging Configuration: {why}");
            Err(Error::new(Exception::InvalidLoggingConfiguration, message))
        };
        let destinations = self.destinations.as_deref().unwrap_or_default();
        let is_named =
            |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '/' | '-' | '_' | ':');
        match (self.level, destinations) {
            (LogLevel::Off, []) => Ok(()),
            (_, [destination]) => {
                let parts: Vec<&str> = destination.splitn(7, ':').collect();
                let is_group = matches!(*parts, ["arn", _, "logs", _, _, "log-group", _]);
                match () {
                    () if destination.is_empty() => refuse("Must set valid CloudWatch Log Group ARN."),
                    () if !is_group => refuse("Provided ARN is not CloudWatch Logs Log Group ARN."),
                    () if !destination.ends_with(":*") => {
                        refuse("Log Group ARN must be provided with '*' qualifier.")
                    }
                    // Measured, except for its beginning.
                    () if self.level != LogLevel::Off && !arn.chars().all(is_named) => refuse(&format!(
                        "1 validation error detected: Value '{arn}' at 'resourceId' failed to satisfy constraint: \
                         Member must satisfy regular expression pattern: ^[0-9A-Za-z.\\/\\-_:]+$"
                    )),
                    () => Ok(()),
                }
            }
            _ => refuse("Must specify exactly one Log Destination."),
        }
    }
}

/// `encryptionConfiguration` (API reference, `EncryptionConfiguration`). It is stored and returned; nothing is
/// encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// Whether `type` is `CUSTOMER_MANAGED_KMS_KEY` rather than `AWS_OWNED_KEY`.
    pub customer_managed: bool,
    /// `kmsKeyId`
    pub key_id: Option<String>,
    /// `kmsDataKeyReusePeriodSeconds`
    pub reuse_seconds: Option<u32>,
}

impl Encryption {
    pub(super) fn check(&self) -> Result<(), Error> {
        let why = match (self.customer_managed, &self.key_id, self.reuse_seconds) {
            (true, None, _) => "Must set a valid kmsKeyId.",
            (false, Some(_), _) => "Custom kmsKeyId is not allowed when selecting AWS_OWNED_KEY.",
            (false, _, Some(_)) => {
                "Custom kmsDataKeyReusePeriodSeconds is not allowed when selecting AWS_OWNED_KEY."
            }
            _ => return Ok(()),
        };
        let message = format!("Invalid Encryption Configuration: {why}");
        Err(Error::new(Exception::InvalidEncryptionConfiguration, message))
    }

    /// As it is stored: a customer's key has a period.
    pub(super) fn settled(mut self) -> Encryption {
        if self.customer_managed && self.reuse_seconds.is_none() {
            self.reuse_seconds = Some(300);
        }
        self
    }
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// `key`
    pub key: String,
    /// `value`
    pub value: String,
}

/// Bytes, about, of a version, an alias or a tag beside their texts.
pub(super) const ENTRY_BYTES: usize = 128;

/// The memory of tags.
pub(super) fn bytes_of_tags(tags: &[Tag]) -> usize {
    tags.iter().map(|tag| ENTRY_BYTES + tag.key.len() + tag.value.len()).sum()
}
