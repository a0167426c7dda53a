//! What AWS would charge for the same executions.

use serde::{Deserialize, Serialize};

use crate::session::Tested;

/// A bill, in US dollars.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Bill {
    /// Executions.
    pub requests: u64,
    /// For them.
    pub requests_dollars: f64,
    /// Durations in begun steps of 100 ms times memory in begun steps of 64 MB.
    pub gigabyte_seconds: f64,
    /// For them.
    pub duration_dollars: f64,
    /// Both, if it went on like this for thirty days.
    pub month_dollars: f64,
}

const DOLLARS_PER_REQUEST: f64 = 1e-6;
/// Gigabyte-hours of a month, and the dollars for each up to there.
const TIERS: [(f64, f64); 3] = [(1_000.0, 0.06), (5_000.0, 0.03), (f64::INFINITY, 0.016_42)];
/// What an execution takes before it holds anything, and the step of memory that is billed.
const BASE_MEGABYTES: f64 = 50.0;
const STEP_MEGABYTES: f64 = 64.0;

fn duration_dollars(gigabyte_seconds: f64) -> f64 {
    let hours = gigabyte_seconds / 3_600.0;
    let (mut from, mut dollars) = (0.0, 0.0);
    for (until, price) in TIERS {
        dollars += (hours.min(until) - from).max(0.0) * price;
        from = until;
    }
    dollars
}

/// Memory that AWS bills for an execution, in megabytes: its base, the definition and the payload, rounded up.
pub fn megabytes(definition_bytes: usize, payload_bytes: f64) -> f64 {
    let megabytes = BASE_MEGABYTES + (definition_bytes as f64 + payload_bytes) / 1_048_576.0;
    (megabytes / STEP_MEGABYTES).ceil() * STEP_MEGABYTES
}

/// The bill of a run, with the durations that were measured here. A Map's or Parallel's width is not known, and counts as
/// one.
pub fn bill(targets: &[Tested], seconds: f64) -> Bill {
    let mut bill = Bill::default();
    for target in targets {
        let memory = megabytes(target.definition_bytes, target.input_bytes);
        bill.requests += target.interval.completed();
        bill.gigabyte_seconds += target.interval.billed_steps as f64 * 0.1 * memory / 1_024.0;
    }
    bill.requests_dollars = bill.requests as f64 * DOLLARS_PER_REQUEST;
    bill.duration_dollars = duration_dollars(bill.gigabyte_seconds);
    if seconds > 0.0 {
        let times = 30.0 * 86_400.0 / seconds;
        bill.month_dollars = bill.requests_dollars * times + duration_dollars(bill.gigabyte_seconds * times);
    }
    bill
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_billed_in_steps_of_64_megabytes() {
        assert_eq!(megabytes(700, 200.0), 64.0);
        assert_eq!(megabytes(1_048_576, 262_144.0), 64.0);
        assert_eq!(megabytes(0, 20.0 * 1_048_576.0), 128.0);
    }

    #[test]
    fn the_more_hours_the_cheaper_they_are() {
        assert_eq!(duration_dollars(3_600.0), 0.06);
        assert!((duration_dollars(3_600.0 * 2_000.0) - 90.0).abs() < 1e-9);
        assert!((duration_dollars(3_600.0 * 6_000.0) - (60.0 + 120.0 + 16.42)).abs() < 1e-9);
    }
}
