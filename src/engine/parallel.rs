//! Parallel states (specification, "Parallel State").

use super::execution::Join;
use super::record::EventKind;
use super::run::{Run, StateError};
use crate::program::ParallelId;

impl Run<'_, '_> {
    pub(super) fn parallel(&mut self, frame: u32, parallel: ParallelId) -> Result<(), StateError> {
        let effective = self.effective_input(frame)?;
        let branches = &self.program.parallels[parallel].branches;
        self.chain(frame, EventKind::ParallelStateStarted);
        let total = branches.len() as u32;
        let join = self.open_join(frame, Join { total, ..Join::default() })?;
        let last_event = self.execution.frames[frame as usize].last_event;
        let begun = branches.iter().enumerate().try_for_each(|(index, &workflow)| {
            let child_template = self.child_template(join, workflow);
            self.open_child(&child_template, index as u32, effective, last_event)
        });
        begun.inspect_err(|_| self.stop_children(join, None))
    }
}
