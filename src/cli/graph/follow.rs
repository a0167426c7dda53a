//! Follows an execution, for the displayed path.

use expressway::engine::{EventKind, Listener, Record};
use expressway::json::Arena;
use expressway::picture::Path;
use expressway::program::{Program, StateId};

/// The path so far.
#[derive(Default)]
pub(super) struct Follow {
    pub(super) path: Path,
    /// By record.
    places: Vec<Place>,
}

/// The state before a record: the state that was left last, and whether the previous record is a failure.
#[derive(Clone, Copy, Default)]
struct Place {
    left: Option<StateId>,
    failed: bool,
}

/// Records that are tracked: of longer executions the first ones.
const RECORDS_MAX: usize = 1_000_000;

impl Listener for Follow {
    fn record(&mut self, program: &Program, _: &Arena, record: &Record<'_>) {
        let before = usize::try_from(record.previous).ok().and_then(|at| self.places.get(at));
        let mut place = before.copied().unwrap_or_default();
        match record.event_kind {
            EventKind::StateEntered { state, .. } => {
                self.path.enter(program.name(state));
                if let Some(from) = place.left {
                    self.path.step(program.name(from), Some(program.name(state)), place.failed);
                }
                place = Place::default();
            }
            EventKind::StateExited { state, .. } => {
                self.path.leave(program.name(state));
                self.path.step(program.name(state), None, place.failed);
                place.left = Some(state);
            }
            EventKind::StateAborted { state } => self.path.leave(program.name(state)),
            EventKind::TaskScheduled(_) => place.failed = false,
            EventKind::TaskFailed { .. }
            | EventKind::TaskTimedOut { .. }
            | EventKind::ParallelStateFailed
            | EventKind::MapStateFailed
            | EventKind::EvaluationFailed { .. } => place.failed = true,
            _ => {}
        }
        let at = usize::try_from(record.id).unwrap_or(usize::MAX);
        if at < RECORDS_MAX {
            self.places.resize(self.places.len().max(at + 1), Place::default());
            self.places[at] = place;
        }
    }
}
