//! The shards of an engine on one thread, each turn on request: for tests, under virtual time.

use super::shard::Shard;

/// The shards of an engine that has no threads.
///
/// ```
/// use expressway::runtime::{Engine, ManualTime, Status};
///
/// let time = ManualTime::at(0);
/// let (engine, mut simulation) = Engine::builder().seed(1).time(time.clone()).simulate()?;
/// let definition = r#"{"StartAt": "Nap", "States": {"Nap": {"Type": "Wait", "Seconds": 60, "End": true}}}"#;
/// let machine = engine.create_state_machine("nap", definition)?;
/// let execution = engine.start(&machine, "{}")?;
/// simulation.settle(0);
/// assert_eq!(execution.status(), Status::Running);
/// simulation.settle(60_000);
/// assert_eq!(execution.status(), Status::Succeeded);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Simulation {
    shards: Vec<Shard>,
}

impl Simulation {
    pub(super) fn new(shards: Vec<Shard>) -> Simulation {
        Simulation { shards }
    }

    /// The shards.
    pub fn shards(&mut self) -> &mut [Shard] {
        &mut self.shards
    }

    /// Lets all shards take turns at `now_ms`, in milliseconds since 1970, until there is nothing left to do at that
    /// time.
    pub fn settle(&mut self, now_ms: u64) {
        loop {
            let mut more = false;
            for shard in &mut self.shards {
                more |= shard.turn(now_ms);
            }
            if !more {
                return;
            }
        }
    }

    /// Flushes what was recorded of executions, as threads of their own do elsewhere: log lines to their sink,
    /// histories to the retained ones.
    pub fn carry(&mut self) {
        if let Some(observability) = self.shards.first().and_then(|shard| shard.shared.observability.as_ref())
        {
            observability.carry_lines();
            observability.carry_histories();
        }
    }

    /// When the next work is due, if any.
    pub fn next_ms(&mut self) -> Option<u64> {
        self.shards.iter_mut().filter_map(Shard::next_ms).min()
    }
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}
