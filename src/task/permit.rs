//! Permissions of one state machine's tasks, where those are fewer than their handlers have.

use std::fmt;
use std::sync::Arc;

use super::{AsyncHandler, Attempt, Call, TaskError, TaskFuture};
use crate::program::Task;

/// Asked before a task of a state machine begins: handlers act with the engine's permissions, and the machine's author
/// may have fewer.
pub trait Permit: fmt::Debug + Send + Sync {
    /// Whether it is asked about this task. Called once, when the state machine is created.
    fn concerns(&self, task: &Task) -> bool;

    /// Whether the task may do what its input requests.
    ///
    /// # Errors
    /// The failure of a task without permission.
    fn check(&self, call: &Call<'_>) -> Result<(), TaskError>;
}

/// The handler of a task that needs a permit.
pub(crate) struct Permitted {
    pub(crate) permit: Arc<dyn Permit>,
    pub(crate) handler: Arc<dyn AsyncHandler>,
}

impl AsyncHandler for Permitted {
    fn begin(&self, call: &Call<'_>, attempt: Attempt) -> Result<TaskFuture, TaskError> {
        self.permit.check(call)?;
        self.handler.begin(call, attempt)
    }

    fn wants_attempt(&self) -> bool {
        self.handler.wants_attempt()
    }

    fn calls_out(&self) -> bool {
        self.handler.calls_out()
    }
}
