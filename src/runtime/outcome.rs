//! How executions end, for users of the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;

use crate::engine;
use crate::fault::{self, Fault};
use crate::json::{self, Arena};

/// The status of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It waits to begin, or runs.
    Running,
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
    /// It timed out.
    TimedOut,
    /// It was stopped.
    Aborted,
}

impl Status {
    pub(super) fn of(outcome: &engine::Outcome) -> Status {
        match outcome {
            engine::Outcome::Succeeded(_) => Status::Succeeded,
            engine::Outcome::Failed(_) => Status::Failed,
            engine::Outcome::TimedOut => Status::TimedOut,
            engine::Outcome::Aborted(_) => Status::Aborted,
        }
    }
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Any but [`Status::Running`].
    pub status: Status,
    /// The fault, when it failed or was aborted.
    pub fault: Option<Fault>,
    /// When it began and ended, in milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended.
    pub stopped_ms: u64,
    output: Vec<u8>,
    /// Its state, when it is kept for a [redrive](super::Engine::redrive).
    pub(super) stopped: Option<Arc<[u8]>>,
}

impl Outcome {
    pub(super) fn new(outcome: &engine::Outcome, arena: &Arena, started_ms: u64, stopped_ms: u64) -> Outcome {
        let mut output = Vec::new();
        if let engine::Outcome::Succeeded(value) = outcome {
            output.reserve_exact(arena.size(*value) as usize + 16);
            json::write(arena, *value, &mut output);
        }
        let fault = match outcome {
            engine::Outcome::Failed(fault) | engine::Outcome::Aborted(fault) => Some(fault.clone()),
            _ => None,
        };
        Outcome { status: Status::of(outcome), fault, started_ms, stopped_ms, output, stopped: None }
    }

    pub(super) fn without_output(status: Status, fault: Option<Fault>, at_ms: u64) -> Outcome {
        Outcome { status, fault, started_ms: at_ms, stopped_ms: at_ms, output: Vec::new(), stopped: None }
    }

    /// As it was recorded.
    pub(crate) fn recovered(
        status: Status,
        fault: Option<Fault>,
        (started_ms, stopped_ms): (u64, u64),
        output: Vec<u8>,
        stopped: Option<Arc<[u8]>>,
    ) -> Outcome {
        Outcome { status, fault, started_ms, stopped_ms, output, stopped }
    }

    /// Its state, if it was started to be [redrivable](super::StartOptions::redrivable) and did not succeed: what
    /// [`Engine::redrive`](super::Engine::redrive) takes.
    pub fn stopped(&self) -> Option<&Arc<[u8]>> {
        self.stopped.as_ref()
    }

    /// The output as compact JSON; empty unless the execution succeeded.
    pub fn json(&self) -> &[u8] {
        &self.output
    }

    /// The output, deserialized.
    ///
    /// # Errors
    /// The fault, if the execution did not succeed; `States.Runtime` if the output has another shape.
    pub fn output<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        match self.status {
            Status::Succeeded => {
                let shape = |error: String| Fault::new(fault::RUNTIME, format!("The output: {error}"));
                let mut arena = Arena::new();
                let value = json::read(&mut arena, &self.output).map_err(|error| shape(error.to_string()))?;
                json::from_value(&arena, value).map_err(|error| shape(error.to_string()))
            }
            _ => {
                Err((self.fault.clone()).unwrap_or(Fault { error: Some(fault::TIMEOUT.into()), cause: None }))
            }
        }
    }
}

/// How many executions there were, by how they ended.
///
/// Every one that was accepted ends exactly once: `accepted` is the sum of the others but `refused`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Accepted.
    pub accepted: u64,
    /// Refused, and so not among those accepted.
    pub refused: u64,
    /// Those that wait to begin, or run.
    pub running: u64,
    /// Succeeded.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Timed out.
    pub timed_out: u64,
    /// Aborted.
    pub aborted: u64,
    /// Of those that failed, those that met a bug of the engine. Should always be 0.
    pub bugs: u64,
}

impl Counts {
    /// Those that are over.
    pub fn ended(&self) -> u64 {
        self.succeeded + self.failed + self.timed_out + self.aborted
    }

    /// Those that are over, as [`Ending`](crate::observe::Ending) orders them.
    pub(super) fn endings(&self) -> [u64; 4] {
        [self.succeeded, self.failed, self.timed_out, self.aborted]
    }

    pub(super) fn count(&mut self, status: Status) {
        match status {
            Status::Running => self.running += 1,
            Status::Succeeded => self.succeeded += 1,
            Status::Failed => self.failed += 1,
            Status::TimedOut => self.timed_out += 1,
            Status::Aborted => self.aborted += 1,
        }
    }

    pub(super) fn minus(&self, before: &Counts) -> Counts {
        Counts {
            accepted: self.accepted - before.accepted,
            refused: self.refused - before.refused,
            running: self.running,
            succeeded: self.succeeded - before.succeeded,
            failed: self.failed - before.failed,
            timed_out: self.timed_out - before.timed_out,
            aborted: self.aborted - before.aborted,
            bugs: self.bugs - before.bugs,
        }
    }
}

/// Counts that several threads see. Readers add up ends before beginnings, so they see no end without its beginning.
#[derive(Debug, Default)]
pub(super) struct Counters {
    accepted: AtomicU64,
    refused: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    aborted: AtomicU64,
    bugs: AtomicU64,
    /// Executions that began on their caller's thread; where those are counted, no others end.
    visits: AtomicU64,
}

impl Counters {
    /// An execution begins on its caller's thread. Sequentially consistent with the draining of the engine.
    pub(super) fn enter(&self) {
        self.visits.fetch_add(1, Ordering::SeqCst);
    }

    /// It is over, or was refused after all.
    pub(super) fn leave(&self, status: Option<Status>) {
        match status {
            Some(Status::Succeeded) => self.succeeded.fetch_add(1, Ordering::SeqCst),
            Some(Status::TimedOut) => self.timed_out.fetch_add(1, Ordering::SeqCst),
            Some(Status::Aborted) => self.aborted.fetch_add(1, Ordering::SeqCst),
            Some(Status::Failed | Status::Running) => self.failed.fetch_add(1, Ordering::SeqCst),
            None => self.visits.fetch_sub(1, Ordering::SeqCst),
        };
    }

    /// Executions that run on their caller's thread, and are counted nowhere else. One may begin here and end in
    /// another stripe, so only the sum over all of them is meaningful.
    pub(super) fn visiting(&self) -> u64 {
        let mut ended = Counts::default();
        self.add_ended(&mut ended);
        self.visits.load(Ordering::SeqCst).wrapping_sub(ended.ended())
    }

    pub(super) fn accept(&self, executions: u64) {
        self.accepted.fetch_add(executions, Ordering::Release);
    }

    pub(super) fn refuse(&self, executions: u64) {
        self.refused.fetch_add(executions, Ordering::Relaxed);
    }

    /// Adds executions that ended.
    pub(super) fn end(&self, counts: &Counts) {
        let rows = [
            (&self.succeeded, counts.succeeded),
            (&self.failed, counts.failed),
            (&self.timed_out, counts.timed_out),
            (&self.aborted, counts.aborted),
            (&self.bugs, counts.bugs),
        ];
        for (row, count) in rows {
            if count > 0 {
                row.fetch_add(count, Ordering::Release);
            }
        }
    }

    /// Adds the ended executions to `counts`.
    pub(super) fn add_ended(&self, counts: &mut Counts) {
        counts.succeeded += self.succeeded.load(Ordering::Acquire);
        counts.failed += self.failed.load(Ordering::Acquire);
        counts.timed_out += self.timed_out.load(Ordering::Acquire);
        counts.aborted += self.aborted.load(Ordering::Acquire);
        counts.bugs += self.bugs.load(Ordering::Acquire);
    }

    /// Adds the accepted and refused executions to `counts`.
    pub(super) fn add_accepted(&self, counts: &mut Counts) {
        // What one thread accepts may be taken back by another.
        let accepted =
            self.accepted.load(Ordering::Acquire).wrapping_add(self.visits.load(Ordering::Acquire));
        counts.accepted = counts.accepted.wrapping_add(accepted);
        counts.refused += self.refused.load(Ordering::Acquire);
    }
}
