//! An execution with its memory, and what a thread needs to run one; all of it is used again and again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::completion::IdentityRef;
use super::drive::TurnScratch;
use super::machine::Version;
use crate::engine::{self, ActivityWork, Event, Execution, TaskCall, Turn};
use crate::fuel::{Cut, Fuel, Refill, SLICE};
use crate::observe::{Observability, Watch};
use crate::program::{StateId, TaskId};

/// An execution, and the version its identity is of.
#[derive(Debug, Default)]
pub(super) struct ExecutionBuffer {
    pub(super) execution: Execution,
    /// The version's number, and a bit for those that someone waits for; 0 when the identity is nobody's, or of one
    /// execution only.
    names: u64,
    /// Who watches it.
    pub(super) watch: Option<Box<Watch>>,
    /// Of a durable execution: tasks that are to be started when this turn is recorded, and up to which visit that is done
    /// and durable. Of any other, what the last durable one left.
    pub(super) staged: Vec<TaskCall>,
    pub(super) released: u32,
    /// Of a durable execution: its state as of its last record, which the next one is told by; before the first, what
    /// its start said.
    pub(super) recorded: Vec<u8>,
    /// Whether that is how it is now.
    pub(super) is_as_recorded: bool,
    /// Whether tasks wait for the last record to be durable: it goes on then.
    pub(super) is_held: bool,
}

impl ExecutionBuffer {
    /// Nothing of a durable execution that was here before is left.
    pub(super) fn forget_staged(&mut self) {
        self.staged.clear();
        self.released = 0;
        self.recorded.clear();
        self.is_as_recorded = false;
        self.is_held = false;
    }

    /// Takes in a durable execution that was parked as its last record has it; false when that is not readable.
    pub(super) fn restore(&mut self, recorded: Box<[u8]>, fingerprint: u64) -> bool {
        // Its identity is in there.
        self.names = 0;
        self.recorded = recorded.into_vec();
        self.execution.restore(&self.recorded, fingerprint).is_ok()
    }

    /// Sees to it that the execution is called as one of this version, and as it is called itself.
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

/// What a thread has for running executions.
#[derive(Default)]
pub(super) struct WorkerScratch {
    // Buffers go from here to residents and back as they are: a word each, not half a kilobyte.
    #[allow(clippy::vec_box)]
    buffers: Vec<Box<ExecutionBuffer>>,
    pub(super) turn_scratch: Box<TurnScratch>,
    /// Those of turns that were suspended.
    #[allow(clippy::vec_box)]
    turn_scratches: Vec<Box<TurnScratch>>,
}

/// Buffers kept, and bytes each may keep.
const BUFFERS_MAX: usize = 64;
const BUFFER_BYTES_MAX: usize = 256 * 1_024;
/// Kits kept.
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

    /// Takes a buffer back whose execution is over, or was packed.
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

    /// The turn scratch, for a turn on a stack of its own.
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

/// What a turn is taken with.
pub(super) struct Setting<'t> {
    pub(super) version: &'t Version,
    pub(super) now_ms: u64,
    pub(super) ahead_ms: i64,
    pub(super) transitions_max: u32,
    /// Whether the execution is aborted instead of entering one more state.
    pub(super) is_last_state: bool,
    pub(super) fuel: &'t Fuel<'t>,
    /// What shows executions, and the stripe on which they are counted.
    pub(super) shown: (Option<&'t Observability>, usize),
    /// Where random numbers come from, if not from the seed.
    pub(super) random: Option<fn() -> u64>,
    pub(super) activities: Option<&'t dyn Fn(StateId, TaskId) -> ActivityWork>,
}

impl Setting<'_> {
    /// One turn of the engine. After a bug buffer and turn scratch are as new.
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
            // What the panic left half done is thrown away.
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

/// The driver of turns that are short whatever they do: they end between two states.
pub(super) struct GoesOn;

impl Refill for GoesOn {
    fn spent(&self, _: u64) -> Result<u64, Cut> {
        Ok(SLICE)
    }
}
