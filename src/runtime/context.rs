//! An execution with its memory, and a thread's buffers for running one; all of it is reused.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::completion::IdentityRef;
use super::drive::TurnScratch;
use super::machine::Version;
use crate::engine::{self, ActivityWork, Event, Execution, TaskCall, Turn};
use crate::fuel::{Cut, Fuel, Refill, SLICE};
use crate::observe::{Observability, Watch};
use crate::program::{StateId, TaskId};

/// An execution, and the version its identity belongs to.
#[derive(Debug, Default)]
pub(super) struct ExecutionBuffer {
    pub(super) execution: Execution,
    /// The version's number, and a bit for synchronous executions; 0 when the identity is unset, or of one execution
    /// only.
    names: u64,
    /// Its watchers.
    pub(super) watch: Option<Box<Watch>>,
    /// Of a durable execution: tasks that are to be started when this turn is recorded, and up to which visit that is done
    /// and durable. Of any other, what the last durable one left.
    pub(super) staged: Vec<TaskCall>,
    pub(super) released: u32,
    /// Of a durable execution: its state as of its last record, from which the next record is derived; before the
    /// first, what its start contained.
    pub(super) recorded: Vec<u8>,
    /// Whether `recorded` is the current state.
    pub(super) is_as_recorded: bool,
    /// Whether tasks wait for the last record to be durable: it continues then.
    pub(super) is_held: bool,
}

impl ExecutionBuffer {
    /// Clears what an earlier durable execution left in this buffer.
    pub(super) fn forget_staged(&mut self) {
        self.staged.clear();
        self.released = 0;
        self.recorded.clear();
        self.is_as_recorded = false;
        self.is_held = false;
    }

    /// Restores a durable execution that was parked as its last record has it; false when that is not readable.
    pub(super) fn restore(&mut self, recorded: Box<[u8]>, fingerprint: u64) -> bool {
        // The snapshot has its identity.
        self.names = 0;
        self.recorded = recorded.into_vec();
        self.execution.restore(&self.recorded, fingerprint).is_ok()
    }

    /// Sets the identity: the version's, overridden by the execution's own name and ARN.
    pub(super) fn identify(&mut self, version: &Version, start_identity: IdentityRef<'_>) {
        let names = version.number << 1 | u64::from(start_identity.synchronous);
        if self.names != names {
            self.execution.identity = version.identity.clone();
            self.execution.identity.shows_redrive_count = !start_identity.synchronous;
            self.names = names;
        }
        if start_identity.redrivable {
            self.execution.identity.is_redrivable = true;
            self.names = 0;
        }
        if let Some(name) = start_identity.name {
            self.execution.identity.execution_name = name.into();
            self.names = 0;
        }
        if let Some(arn) = start_identity.arn {
            self.execution.identity.execution_arn = arn.into();
            self.names = 0;
        }
    }
}

/// The engine failed an assertion: the execution is lost, and fails.
#[derive(Debug)]
pub(super) struct Bug;

/// A thread's buffers for running executions.
#[derive(Default)]
pub(super) struct WorkerScratch {
    // Buffers move between here and residents as pointers: a word each, not half a kilobyte.
    #[allow(clippy::vec_box)]
    buffers: Vec<Box<ExecutionBuffer>>,
    pub(super) turn_scratch: Box<TurnScratch>,
    /// Those of suspended turns.
    #[allow(clippy::vec_box)]
    turn_scratches: Vec<Box<TurnScratch>>,
}

/// Buffers kept, and bytes each may keep.
const BUFFERS_MAX: usize = 64;
const BUFFER_BYTES_MAX: usize = 256 * 1_024;
/// Turn scratches kept.
const TURN_SCRATCHES_MAX: usize = 8;

impl WorkerScratch {
    /// A buffer; [reset](Execution::reset) it.
    pub(super) fn buffer(&mut self) -> Box<ExecutionBuffer> {
        self.buffers.pop().unwrap_or_default()
    }

    /// How many buffers are free.
    pub(super) fn buffers(&self) -> usize {
        self.buffers.len()
    }

    /// Takes back the buffer of an execution that is over, or was packed.
    pub(super) fn put_back(&mut self, mut buffer: Box<ExecutionBuffer>) {
        buffer.watch = None;
        if self.buffers.len() < BUFFERS_MAX {
            buffer.execution.shrink_above(BUFFER_BYTES_MAX);
            if buffer.recorded.capacity() > BUFFER_BYTES_MAX {
                buffer.recorded = Vec::new();
            }
            self.buffers.push(buffer);
        }
    }

    /// Lends the turn scratch to a turn on a stack of its own.
    pub(super) fn lend_turn_scratch(&mut self) -> Box<TurnScratch> {
        let other = self.turn_scratches.pop().unwrap_or_default();
        std::mem::replace(&mut self.turn_scratch, other)
    }

    /// Takes back a turn scratch that was lent; its effects are the ones to carry out now.
    pub(super) fn return_kit(&mut self, turn_scratch: Box<TurnScratch>) {
        let other = std::mem::replace(&mut self.turn_scratch, turn_scratch);
        if self.turn_scratches.len() < TURN_SCRATCHES_MAX {
            self.turn_scratches.push(other);
        }
    }
}

/// The settings of a turn.
pub(super) struct Setting<'t> {
    pub(super) version: &'t Version,
    pub(super) now_ms: u64,
    pub(super) ahead_ms: i64,
    pub(super) transitions_max: u32,
    /// Whether the execution is aborted instead of entering one more state.
    pub(super) is_last_state: bool,
    pub(super) fuel: &'t Fuel<'t>,
    /// The observability hub, and the stripe on which executions are counted.
    pub(super) shown: (Option<&'t Observability>, usize),
    /// The source of random numbers, if not the seed.
    pub(super) random: Option<fn() -> u64>,
    pub(super) activities: Option<&'t dyn Fn(StateId, TaskId) -> ActivityWork>,
}

impl Setting<'_> {
    /// One turn of the engine. After a bug, buffer and turn scratch are replaced by new ones.
    pub(super) fn advance(
        &self,
        turn_scratch: &mut TurnScratch,
        buffer: &mut ExecutionBuffer,
        event: Event,
    ) -> Result<Turn, Bug> {
        let (version, (observability, stripe)) = (self.version, self.shown);
        let ExecutionBuffer { execution, watch, .. } = buffer;
        let mut env = turn_scratch.env(self.now_ms, self.transitions_max, self.fuel);
        (env.ahead_ms, env.random, env.activities) = (self.ahead_ms, self.random, self.activities);
        env.is_last_state = self.is_last_state;
        let mut adapter;
        if let Some(watch) = watch {
            (adapter, env.event_mask, env.event_buffer) =
                watch.parts(observability, version.counters.as_deref(), stripe);
            env.listener = Some(&mut adapter);
        }
        let turn =
            catch_unwind(AssertUnwindSafe(|| engine::advance(&version.program, execution, event, &mut env)));
        turn.map_err(|_| {
            // What the panic left half done is dropped.
            let mut watch = buffer.watch.take();
            if let Some(watch) = &mut watch {
                watch.lost();
            }
            *buffer = ExecutionBuffer { watch, ..ExecutionBuffer::default() };
            *turn_scratch = TurnScratch::default();
            Bug
        })
    }
}

/// The driver of turns that are short in any case: they end between two states.
pub(super) struct GoesOn;

impl Refill for GoesOn {
    fn spent(&self, _: u64) -> Result<u64, Cut> {
        Ok(SLICE)
    }
}
