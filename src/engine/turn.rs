//! One turn of an execution: its environment, and how it ends.

use super::effect::{ActivityWork, Effect};
use super::event_buffer::EventBuffer;
use super::listener::Listener;
use super::record::EventMask;
use crate::fuel::{Cut, Fuel};
use crate::json::Compactor;
use crate::program::{StateId, TaskId};
use crate::query::jsonata::Scratch;

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The execution is over; see [`Execution::outcome`](super::Execution::outcome).
    Done,
    /// Nothing to do until the next event.
    Parked,
    /// The budget of transitions, or the slice of fuel, is used up; send [`Event::Go`](super::Event::Go) after letting others run.
    Yielded,
    /// The fuel's driver cut the work short, perhaps inside a state. The only event that may follow is one that ends
    /// the execution: [`Event::Deadline`](super::Event::Deadline) or [`Event::Abort`](super::Event::Abort).
    Cut(Cut),
}

/// The environment of a turn.
pub struct Env<'e> {
    /// The time by the monotonic clock, in milliseconds since 1970, the same for the whole turn.
    pub now_ms: u64,
    /// How many milliseconds the wall clock is ahead of that one.
    pub ahead_ms: i64,
    /// State transitions this turn may take at most.
    pub transitions_max: u32,
    /// Whether the execution is aborted instead of entering one more state, as for a deleted state machine.
    pub is_last_state: bool,
    /// All work of the turn is charged to it.
    pub fuel: &'e Fuel<'e>,
    /// The turn's effects; the driver empties it.
    pub effects: &'e mut Vec<Effect>,
    /// The listener, if there is one.
    pub listener: Option<&'e mut dyn Listener>,
    /// The events that the listener wants; none without a listener.
    pub event_mask: EventMask,
    /// Where events are buffered, if they are. They are reported to the listener before they are dropped.
    pub event_buffer: Option<&'e mut EventBuffer>,
    /// Compacts arenas, kept between turns.
    pub compactor: &'e mut Compactor,
    /// JSONata's memory, kept between turns.
    pub scratch: &'e mut Scratch,
    /// The source of `States.UUID`, `$uuid` and `$random`; by default, the execution's seed.
    pub random: Option<fn() -> u64>,
    /// How the tasks of activities are done; by default, by a handler.
    pub activities: Option<&'e dyn Fn(StateId, TaskId) -> ActivityWork>,
}

impl Env<'_> {
    /// The time by the wall clock.
    pub(super) fn wall_ms(&self) -> u64 {
        self.now_ms.saturating_add_signed(self.ahead_ms)
    }
}
