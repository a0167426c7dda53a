//! A sample of a machine's executions (one in so many), counted state by state and edge by edge: only while a client
//! asks for it, so that it costs nothing otherwise.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Event;

/// How long counting continues after a request.
const ARMED_MS: u64 = 3_000;
/// Executions a second that are counted, roughly.
const EXECUTIONS_MAX: u64 = 500;
/// The shortest interval between two checks of the rate.
const RATE_MS_MIN: u64 = 100;
/// States and edges that are counted; a machine has some ten thousand at most.
const ENTRIES_MAX: usize = 40_000;

/// The sample of a machine's executions.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    /// One in so many executions is counted; 0 while no client asks.
    one_in: AtomicU64,
    until_ms: AtomicU64,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    heat: Heat,
    /// When the rate was last checked, and how many executions had been started then.
    rate_at: Option<(u64, u64)>,
}

/// What was counted of a machine's executions since the first request. Each sampled execution counts for all that it
/// represents.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Heat {
    /// One in so many executions is counted; 0 as long as the rate is not known.
    pub one_in: u64,
    /// Executions that were counted.
    pub sampled: u64,
    /// Executions that the samples represent.
    pub executions: u64,
    /// By their names.
    pub states: HashMap<Box<str>, StateHeat>,
    /// From one state to another; an empty name is the beginning or the end.
    pub edges: HashMap<(Box<str>, Box<str>), u64>,
}

/// The counters of a state.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct StateHeat {
    /// Times that it was entered.
    pub visits: u64,
    /// Failures: of attempts, and of visits that ended the execution.
    pub failed: u64,
    /// Visits that were left.
    pub left: u64,
    /// The total duration of these.
    pub ms: u64,
}

impl Sample {
    /// Whether executions may be counted.
    #[inline]
    pub(crate) fn is_armed(&self) -> bool {
        self.one_in.load(Relaxed) != 0
    }

    /// Whether this execution is counted.
    pub(crate) fn takes(&self, seed: u64, now_ms: u64) -> bool {
        let one_in = self.one_in.load(Relaxed);
        if one_in == 0 {
            return false;
        }
        if now_ms >= self.until_ms.load(Relaxed) {
            // The last request is too long ago.
            self.one_in.store(0, Relaxed);
            return false;
        }
        (seed >> 16).is_multiple_of(one_in)
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        // The sums are valid wherever a panic stops it.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the counts, for a machine of which so many executions were started so far. The sampling rate follows
    /// from the rate of starts.
    pub(crate) fn ask(&self, now_ms: u64, started: u64) -> Heat {
        let mut counted = self.lock();
        if now_ms >= self.until_ms.load(Relaxed) {
            *counted = Counted::default();
            self.one_in.store(0, Relaxed);
        }
        self.until_ms.store(now_ms + ARMED_MS, Relaxed);
        match counted.rate_at {
            None => counted.rate_at = Some((now_ms, started)),
            Some((then, before)) if now_ms.saturating_sub(then) >= RATE_MS_MIN => {
                let a_second = started.saturating_sub(before).saturating_mul(1_000) / (now_ms - then);
                self.one_in.store((a_second / EXECUTIONS_MAX).max(1).next_power_of_two(), Relaxed);
                counted.rate_at = Some((now_ms, started));
            }
            Some(_) => {}
        }
        Heat { one_in: self.one_in.load(Relaxed), ..counted.heat.clone() }
    }

    /// Counts an execution that is over.
    pub(crate) fn count<'e>(&self, events: impl Iterator<Item = &'e Event>) {
        let weight = self.one_in.load(Relaxed).max(1);
        self.lock().heat.count(events, weight);
    }
}

/// The step of an execution's way that an event describes.
#[derive(Clone, Copy)]
struct Way<'e> {
    state: &'e str,
    /// It was left, or a failure is counted already.
    is_settled: bool,
}

impl Heat {
    fn count<'e>(&mut self, events: impl Iterator<Item = &'e Event>, weight: u64) {
        self.sampled += 1;
        self.executions += weight;
        let mut ways: HashMap<u64, Way<'e>> = HashMap::new();
        // When states were entered that are not left yet. Whichever visit is matched, the sum of durations is the same.
        let mut entered: HashMap<&str, VecDeque<u64>> = HashMap::new();
        let mut last: HashMap<u64, &str> = HashMap::new();
        for event in events {
            let event_type = event.event_type.name();
            let before = ways.get(&event.previous).copied();
            let name = event.text("name");
            let way = if event_type.ends_with("StateEntered") {
                self.state(name, |heat| heat.visits += weight);
                let from = last.remove(&event.previous).unwrap_or("");
                self.edge(from, name, weight);
                entered.entry(name).or_default().push_back(event.time_ms);
                let is_fail = event_type.starts_with("Fail");
                if is_fail {
                    self.state(name, |heat| heat.failed += weight);
                }
                Way { state: name, is_settled: is_fail }
            } else if event_type.ends_with("StateExited") {
                if let Some(since) = entered.get_mut(name).and_then(VecDeque::pop_front) {
                    let ms = event.time_ms.saturating_sub(since).saturating_mul(weight);
                    self.state(name, |heat| (heat.left, heat.ms) = (heat.left + weight, heat.ms + ms));
                }
                last.insert(event.id, name);
                Way { state: name, is_settled: true }
            } else {
                let is_failure = event_type.ends_with("Failed") || event_type.ends_with("TimedOut");
                let way = before.unwrap_or(Way { state: "", is_settled: true });
                let counts = is_failure && !way.is_settled && !way.state.is_empty();
                if counts {
                    self.state(way.state, |heat| heat.failed += weight);
                }
                // An attempt that follows may fail again.
                let is_retried = event_type.ends_with("Scheduled");
                Way { is_settled: (way.is_settled || counts) && !is_retried, ..way }
            };
            ways.insert(event.id, way);
        }
        for name in last.into_values() {
            self.edge(name, "", weight);
        }
    }

    fn state(&mut self, name: &str, count: impl FnOnce(&mut StateHeat)) {
        if let Some(heat) = self.states.get_mut(name) {
            count(heat);
        } else if self.states.len() < ENTRIES_MAX {
            count(self.states.entry(name.into()).or_default());
        }
    }

    fn edge(&mut self, from: &str, to: &str, weight: u64) {
        let key = (Box::from(from), Box::from(to));
        if let Some(count) = self.edges.get_mut(&key) {
            *count += weight;
        } else if self.edges.len() < ENTRIES_MAX {
            self.edges.insert(key, weight);
        }
    }
}
