//! For test suites: a service that forgets everything, and other mocks while it runs.

use std::sync::Arc;

use super::Service;
use crate::fault::Fault;
use crate::task::mock::MockConfig;

impl Service {
    /// Forgets everything that was created: state machines with their versions, aliases and tags, activities, and
    /// executions, of which those that run are aborted first; and the mocks that were set while it runs. Counts stay. How
    /// many resources were forgotten.
    ///
    /// # Panics
    /// When the service keeps its [state](super::Builder::state): a call must not delete stored state.
    pub fn forget_everything(&self) -> usize {
        let inner = &*self.inner;
        assert!(inner.store.is_none(), "a service that keeps its state does not forget it");
        let _writing = inner.writing();
        let machines = inner.machines.after(None, usize::MAX);
        // No more executions can be started before running ones are stopped.
        machines.iter().for_each(|machine| drop(inner.machines.remove(&machine.arn)));
        let activities = inner.activities.after(None, usize::MAX);
        activities.iter().for_each(|activity| drop(inner.activities.remove(&activity.arn)));
        inner.mocks.unset();
        let executions = inner.executions.forget_all(Fault { error: None, cause: None });
        machines.len() + activities.len() + executions
    }

    /// From now on, test cases (`#Case` behind the ARN of a state machine) are those of `config`.
    pub fn set_mocks(&self, config: MockConfig) {
        self.inner.mocks.set(Arc::new(config));
    }
}
