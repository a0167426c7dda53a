//! The engine: `advance(program, execution, event, env)`, a pure function.
//!
//! An [`Execution`] is plain data; time, randomness and effects come and go through [`Env`]. Nothing here uses a
//! thread, a clock, a lock or the wire. The driver carries out the [effects](Effect) and feeds back [events](Event);
//! the same function serves a thread of the runtime, a caller in line, and virtual time in tests.
//!
//! One lifecycle for every state: *enter*, perhaps *wait* (for a task, a timer, or branches), then *leave* or *fail*.
//! Branches of a Parallel and iterations of a Map are frames of the same execution, so a join is a counter. Frames run
//! until they park, in FIFO order; a turn ends when all are parked, the budget of transitions or the slice of fuel is
//! used up, or the execution is over.

mod choice;
mod context;
mod effect;
mod event_buffer;
mod execution;
mod fail;
mod flow;
pub(crate) mod identity;
mod join;
mod listener;
mod map;
mod map_run;
mod pack;
mod parallel;
mod record;
mod redrive;
mod run;
mod single_state;
mod snapshot;
mod state;
mod step;
mod task;
mod turn;
mod verify;
mod wait;

pub use effect::{ActivityWork, Effect, Event, TaskCall, TimerKind};
pub use event_buffer::EventBuffer;
pub use execution::{Execution, Outcome, Redrives, Start};
pub use identity::{Identity, Token};
pub use listener::Listener;
pub use map_run::{Item, MapRunRequest, for_items, item_input, threshold_exceeded, too_large_result};
pub use record::{EventKind, EventMask, MetricEvent, Record, Schedule, TaskKind};
pub use single_state::{Visit, Visited, complete_children};
pub use snapshot::{SnapshotError, TooDeep};
pub use step::Step;
pub use turn::{Env, Turn};

use crate::program::Program;
use run::Run;

/// Lets an execution handle an event and continue until it parks, ends, or has used up its budget.
///
/// Events for a stale token are ignored, and so are all events after the end.
pub fn advance(program: &Program, execution: &mut Execution, event: Event, env: &mut Env<'_>) -> Turn {
    let mut run = Run::new(program, execution, env);
    run.take(event);
    let turn = run.turn();
    if cfg!(debug_assertions) {
        execution.verify(program, turn);
    }
    turn
}
