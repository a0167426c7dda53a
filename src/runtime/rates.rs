//! Counters of each state machine, and samples of its executions, for displays.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::metrics::Observed;
use crate::observe::{BOUNDS_US, DurationCounts, Heat, MachineCounters};

/// What was counted of a state machine, of all its versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MachineCounts {
    /// Executions that were accepted.
    pub started: u64,
    /// Executions that are over, in the order of [`Ending`](crate::observe::Ending).
    pub ended: [u64; 4],
    /// Starts that were refused.
    pub throttled: u64,
    /// How long executions took: their number in each class, whose upper bounds are [`MachineCounts::bounds_us`]; the last
    /// class has none.
    pub took: Vec<u64>,
}

impl MachineCounts {
    /// Upper bounds of the classes of durations, in microseconds.
    pub fn bounds_us() -> &'static [u64] {
        &BOUNDS_US
    }
}

impl Observed {
    /// What was counted of each state machine, by its ARN; nothing, unless that is
    /// [counted](crate::observe::Setup::metrics).
    pub fn machines(&self) -> BTreeMap<String, MachineCounts> {
        let mut told: BTreeMap<String, MachineCounts> = BTreeMap::new();
        for machine in self.counted() {
            let counts = told.entry(machine.state_machine_arn.to_string()).or_default();
            let mut took = DurationCounts::default();
            for stripe in &machine.stripes {
                counts.started = counts.started.wrapping_add(stripe.started.load(Relaxed));
                for (sum, ended) in counts.ended.iter_mut().zip(&stripe.ended) {
                    *sum += ended.load(Relaxed);
                }
                stripe.took.add_to(&mut took);
            }
            counts.throttled += machine.throttled.iter().map(|count| count.load(Relaxed)).sum::<u64>();
            counts.took.resize(took.classes.len(), 0);
            for (sum, class) in counts.took.iter_mut().zip(took.classes) {
                *sum += class;
            }
        }
        told
    }

    /// What executions of a state machine do, state by state and edge by edge. One execution in so many is counted, for
    /// three seconds after each call; the first call returns nothing. `None` when machines are not
    /// [counted](crate::observe::Setup::metrics), or none has this ARN. `now_ms` is the time since 1970.
    pub fn heat(&self, state_machine_arn: &str, now_ms: u64) -> Option<Heat> {
        let machine = self.counted().into_iter().find(|it| *it.state_machine_arn == *state_machine_arn)?;
        let started = machine.stripes.iter().map(|stripe| stripe.started.load(Relaxed));
        let started = started.fold(0_u64, u64::wrapping_add);
        Some(machine.sample.ask(now_ms, started))
    }

    fn counted(&self) -> Vec<Arc<MachineCounters>> {
        let Some(observability) = self.shared.observability.as_ref().filter(|it| it.counts) else {
            return Vec::new();
        };
        let mut seen = HashSet::new();
        let mut machines = Vec::new();
        // The newest first: a machine that was deleted and created again has counters of its own.
        for version in observability.versions().into_iter().rev() {
            if seen.insert(Arc::as_ptr(&version.machine)) {
                machines.push(Arc::clone(&version.machine));
            }
        }
        machines
    }
}
