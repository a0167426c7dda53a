//! Tasks that are answered by the load test itself: with their own input, after some time, and with injected faults.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use expressway::engine::{Execution, TaskCall};
use expressway::fault::Fault;
use expressway::json;
use expressway::program::Program;
use expressway::task::{Answer, AsyncHandler, Attempt, Call, TaskError, TaskFuture, Tasks};

use crate::plan::Faults;

/// A function whose name ends so fails on the first two attempts.
const FAILS_TWICE: &str = "fails-twice";

/// The result of one call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fate {
    /// How long it takes.
    pub(super) time: Duration,
    /// How long the thread blocks before.
    pub(super) stall: Option<Duration>,
    /// The error it fails with.
    pub(super) error: Option<String>,
}

/// Decides the results of calls.
#[derive(Debug)]
pub struct Simulated {
    time: Duration,
    faults: Faults,
    seed: u64,
    calls: AtomicU64,
}

const CAUSE: &str = "The load test makes it fail.";

impl Simulated {
    /// Tasks that take `time`, but for what `faults` do.
    pub fn new(time: Duration, faults: &Faults, seed: u64) -> Simulated {
        Simulated { time, faults: faults.clone(), seed, calls: AtomicU64::new(0) }
    }

    /// The result of the next call of a resource, after `retries` retries.
    pub(super) fn fate(&self, resource: &str, retries: u32) -> Fate {
        let Faults { slow, fail, stall, .. } = &self.faults;
        let storm = resource.ends_with(FAILS_TWICE) && retries < 2;
        let storm = storm.then(|| "Loadtest.Again".to_owned());
        if slow.is_none() && fail.is_none() && stall.is_none() {
            return Fate { time: self.time, stall: None, error: storm };
        }
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut random = fastrand::Rng::with_seed(self.seed ^ call.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut happens = |share: f64| random.f64() < share;
        let slow = slow.as_ref().filter(|slow| happens(slow.share));
        let stall = stall.as_ref().filter(|stall| happens(stall.share));
        let fail = fail.as_ref().filter(|fail| happens(fail.share));
        Fate {
            time: slow.map_or(self.time, |slow| slow.after),
            stall: stall.map(|stall| stall.lasts),
            error: fail.map(|fail| fail.error.clone()).or(storm),
        }
    }
}

impl Tasks for Simulated {
    fn start(&mut self, program: &Program, execution: &mut Execution, call: &TaskCall) -> Answer {
        let fate = self.fate(&program.tasks[call.task].resource.arn, call.attempt);
        if let Some(stall) = fate.stall {
            std::thread::sleep(stall);
        }
        let input = execution.task_input(call.token).unwrap_or_default();
        let result = match fate.error {
            Some(error) => Err(Fault { error: Some(error.into()), cause: Some(CAUSE.to_owned()) }),
            None => Ok(input),
        };
        match u64::try_from(fate.time.as_millis()).unwrap_or(u64::MAX) {
            0 => Answer::Now(result),
            ms => Answer::After(ms, result.map(|value| text(&execution.arena, value))),
        }
    }
}

impl AsyncHandler for Simulated {
    fn begin(&self, call: &Call<'_>, _: Attempt) -> Result<TaskFuture, TaskError> {
        let fate = self.fate(call.resource, call.attempt);
        if let Some(stall) = fate.stall {
            std::thread::sleep(stall);
        }
        let result = match fate.error {
            Some(error) => Err(TaskError::new(error, CAUSE)),
            None => Ok(text(call.arena, call.input)),
        };
        Ok(Box::pin(async move {
            if !fate.time.is_zero() {
                tokio::time::sleep(fate.time).await;
            }
            result
        }))
    }

    fn wants_attempt(&self) -> bool {
        false
    }
}

fn text(arena: &json::Arena, value: json::Value) -> Vec<u8> {
    let mut text = Vec::new();
    json::write(arena, value, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Fail, Slow};

    #[test]
    fn faults_have_their_shares() {
        let faults = Faults {
            slow: Some(Slow { share: 0.25, after: Duration::from_secs(1) }),
            fail: Some(Fail { share: 0.1, error: "Mine".to_owned() }),
            ..Faults::default()
        };
        let simulated = Simulated::new(Duration::ZERO, &faults, 1);
        let fates: Vec<Fate> = (0..10_000).map(|_| simulated.fate("arn", 0)).collect();
        let slow = fates.iter().filter(|fate| fate.time == Duration::from_secs(1)).count();
        let failed = fates.iter().filter(|fate| fate.error.as_deref() == Some("Mine")).count();
        assert!((2_200..2_800).contains(&slow) && (800..1_200).contains(&failed), "{slow} {failed}");
    }

    #[test]
    fn a_storm_is_over_after_two_retries() {
        let simulated = Simulated::new(Duration::ZERO, &Faults::default(), 1);
        let errors: Vec<bool> = (0..4).map(|n| simulated.fate("f:fails-twice", n).error.is_some()).collect();
        assert_eq!(errors, [true, true, false, false]);
    }
}
