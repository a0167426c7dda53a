//! What AWS would bill for executions that go as a run did (AWS Step Functions pricing). Prices are those of US East
//! (N. Virginia) in US dollars, without the free tier and the lower prices of large amounts; AWS changes them.

use serde_json::{Value as Json, json};

const REGION: &str = "us-east-1";
/// Executions that an estimate is of.
const EXECUTIONS: f64 = 1_000.0;
/// For a state transition of a Standard execution, retries included; listed for 1,000.
const PER_TRANSITION: f64 = 0.025 / 1_000.0;
/// For a start of an Express execution; listed for 1,000,000.
const PER_REQUEST: f64 = 1.0 / 1_000_000.0;
/// For a gigabyte of memory that an Express execution has for a second, in the first tier; listed for a GB-hour.
const PER_GB_SECOND: f64 = 0.06 / 3_600.0;
const MB_PER_GB: f64 = 1_024.0;
/// The duration of an Express execution is billed in steps of so many milliseconds.
const STEP_MS: u64 = 100;
/// Its memory is billed in steps of so many MB.
const STEP_MB: u64 = 64;
/// The memory of an Express execution without its definition and its data.
const BASE_BYTES: u64 = 50 * MB;
/// As AWS's examples reckon.
const MB: u64 = 1_000_000;

/// What is billed of an execution.
pub(super) struct Billed {
    /// State transitions: the start, each visit of a state, and each retry.
    pub(super) transitions: u64,
    pub(super) ms: u64,
    /// Bytes of data at once.
    pub(super) data: u64,
}

/// Of a thousand executions with a definition of so many bytes.
///
/// `executions`, `region`, `transitions` and `standard`, `ms`, `bytes`, `mb` and `express`: milliseconds and MB as they are billed,
/// the estimated memory in bytes, and dollars.
pub(super) fn estimate(definition_bytes: usize, billed: &Billed) -> Json {
    let ms = billed.ms.div_ceil(STEP_MS).max(1).saturating_mul(STEP_MS);
    let bytes = (BASE_BYTES.saturating_add(definition_bytes as u64)).saturating_add(billed.data);
    let mb = bytes.div_ceil(MB).div_ceil(STEP_MB) * STEP_MB;
    let gb_seconds = ms as f64 / 1_000.0 * (mb as f64 / MB_PER_GB);
    json!({
        "executions": EXECUTIONS as u64, "region": REGION,
        "transitions": billed.transitions, "standard": EXECUTIONS * billed.transitions as f64 * PER_TRANSITION,
        "ms": ms, "bytes": bytes, "mb": mb,
        "express": EXECUTIONS * (PER_REQUEST + gb_seconds * PER_GB_SECOND),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AWS's example: 50 KB of definition, and 400 steps of a Map with 32 KB each.
    #[test]
    fn memory_is_reckoned_as_aws_does() {
        let told = estimate(50_000, &Billed { transitions: 1, ms: 10_000, data: 400 * 32_000 });
        assert_eq!((&told["bytes"], &told["mb"]), (&json!(62_850_000), &json!(64)));
        // A second of 64 MB is a sixteenth of a GB-second.
        let expected = 1_000.0 * (0.000_001 + 10.0 / 16.0 * 0.06 / 3_600.0);
        assert!((told["express"].as_f64().expect("dollars") - expected).abs() < 1e-12, "{told}");
        let told = estimate(50_000, &Billed { transitions: 1, ms: 10_000, data: 500 * 32_000 });
        assert_eq!(told["mb"], 128, "it is more than 64 MB");
    }

    #[test]
    fn durations_are_rounded_up() {
        for (ms, billed) in [(0, 100), (1, 100), (100, 100), (101, 200), (86_400_000, 86_400_000)] {
            assert_eq!(estimate(0, &Billed { transitions: 1, ms, data: 0 })["ms"], billed, "{ms}");
        }
        let far = estimate(usize::MAX, &Billed { transitions: u64::MAX, ms: u64::MAX, data: u64::MAX });
        assert!(far["express"].as_f64().is_some_and(f64::is_finite), "{far}");
    }

    #[test]
    fn each_transition_of_a_standard_execution_costs() {
        let told = estimate(0, &Billed { transitions: 5, ms: 0, data: 0 });
        assert_eq!((&told["transitions"], told["standard"].as_f64()), (&json!(5), Some(0.125)));
    }
}
