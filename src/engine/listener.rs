//! Who hears what the engine reports.

use super::event_buffer::EventBuffer;
use super::record::{MetricEvent, Record};
use super::step::Step;
use crate::json::Arena;
use crate::program::Program;

/// Takes records as they happen.
///
/// The values of a record are valid until [`moving`](Listener::moving) is called, or the execution is over: a listener
/// that keeps them copies them then.
pub trait Listener {
    /// One event.
    fn record(&mut self, program: &Program, arena: &Arena, record: &Record<'_>);

    /// An event for counters and traces that is not in the history.
    fn metric_event(&mut self, program: &Program, metric_event: MetricEvent) {
        let _ = (program, metric_event);
    }

    /// A value at a step of a state's processing; most listeners ignore it.
    fn step(&mut self, arena: &Arena, step: Step<'_>) {
        let _ = (arena, step);
    }

    /// The values of all records so far are about to move: they are invalid after this call.
    fn moving(&mut self, program: &Program, arena: &Arena) {
        let _ = (program, arena);
    }

    /// Notes whose values are about to move, or which have become many: a listener that wants them reads them now,
    /// because they are dropped afterwards.
    fn events_due(&mut self, program: &Program, arena: &Arena, event_buffer: &EventBuffer) {
        let _ = (program, arena, event_buffer);
    }
}
