//! Parallel states (specification, "Parallel State").

use super::execution::Join;
use super::record::Happening;
use super::run::{Run, Stop};
use crate::program::ParallelId;

impl Run<'_, '_> {
    pub(super) fn parallel(&mut self, frame: u32, parallel: ParallelId) -> Result<(), Stop> {
        let effective = self.effective_input(frame)?;
        let branches = &self.program.parallels[parallel].branches;
        self.chain(frame, Happening::ParallelStateStarted);
        let total = branches.len() as u32;
        let join = self.open_join(frame, Join { total, ..Join::default() })?;
        let last_event = self.x.frames[frame as usize].last_event;
        let begun = branches.iter().enumerate().try_for_each(|(index, &workflow)| {
            let nursery = self.nursery(join, workflow);
            self.open_child(&nursery, index as u32, effective, last_event)
        });
        begun.inspect_err(|_| self.stop_children(join, None))
    }
}
