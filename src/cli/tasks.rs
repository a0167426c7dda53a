//! What answers the tasks of a workflow on the command line.

use expressway::engine::{Execution, TaskCall};
use expressway::fault::{self, Fault};
use expressway::program::Program;
use expressway::runtime::inline::{Answer, Tasks};

/// Nothing answers: the command line calls no services. `States.Runtime` because no Retry or Catch should take this for
/// something that happens to workflows.
pub(super) struct Unanswered;

impl Tasks for Unanswered {
    fn start(&mut self, program: &Program, _: &mut Execution, call: &TaskCall) -> Answer {
        let cause = format!(
            "Nothing answers the task {} of state {}: the command line calls no services; give answers with --mock.",
            program.tasks[call.task].resource.arn,
            program.name(call.state)
        );
        Answer::Now(Err(Fault::new(fault::RUNTIME, cause)))
    }
}
