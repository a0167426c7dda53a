//! Settings of a service.

use std::time::Duration;

/// Settings of the whole service.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) partition: String,
    pub(super) region: String,
    pub(super) account: String,
    pub(super) express_only: bool,
    /// Bytes of closed executions that are kept.
    pub(super) executions_bytes_max: usize,
    /// Bytes of one execution's history.
    pub(super) history_bytes_max: usize,
    /// How long an execution that is over is kept, and may be redriven.
    pub(super) retention_ms: u64,
    pub(super) redrivable_ms: u64,
    pub(super) open_executions_max: usize,
    /// How long a worker waits for a task.
    pub(super) activity_poll: Duration,
    /// Whether Express executions are kept as Standard ones are.
    pub(super) express_history: bool,
}

/// A region and an account, as in ARNs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The region, such as `us-east-1`.
    pub region: String,
    /// The account: 12 digits.
    pub account: String,
}

/// The partition that a region is in.
pub(super) fn partition_of(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        region if region.starts_with("us-iso-") => "aws-iso",
        region if region.starts_with("us-isob-") => "aws-iso-b",
        region if region.starts_with("eu-isoe-") => "aws-iso-e",
        region if region.starts_with("us-isof-") => "aws-iso-f",
        region if region.starts_with("eusc-") => "aws-eusc",
        _ => "aws",
    }
}
