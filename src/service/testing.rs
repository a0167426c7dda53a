//! `TestState` and `ValidateStateMachineDefinition` as actions.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::builder::partition_of;
use super::test_state::{self, Surroundings, TestState, TestedState};
use super::validate::{self, ValidateStateMachineDefinition, Validation};
use super::{Error, Service};
use crate::asl::Resources;

impl Service {
    /// The same, with a flag that is set when the caller no longer waits: computation for it then stops.
    #[cfg_attr(not(feature = "server"), allow(dead_code, reason = "clients of the server leave"))]
    pub(crate) fn until(&self, departed: Arc<AtomicBool>) -> Service {
        Service { departed: Some(departed), ..self.clone() }
    }

    /// Reports what is wrong with a definition.
    pub fn validate_state_machine_definition(&self, request: ValidateStateMachineDefinition) -> Validation {
        validate::validate(&request)
    }

    /// Runs one state. Tasks that are not mocked are done by the engine's handlers, and a Wait uses the engine's time.
    ///
    /// # Errors
    /// As [`test_state::test_state`].
    pub async fn test_state(&self, request: TestState) -> Result<TestedState, Error> {
        let inner = &*self.inner;
        let surroundings = Surroundings {
            partition: partition_of(self.region()).to_owned(),
            region: self.region().to_owned(),
            account: self.account().to_owned(),
            now_ms: inner.now_ms(),
            seed: inner.ids.next(),
            resources: Resources::Aws,
        };
        let _charge = inner.charge(&request.definition)?;
        let permit = inner.permit(self.caller.as_ref());
        let departed = self.departed.clone();
        let test = test_state::test_state_with(&request, &surroundings, &inner.engine, permit, departed);
        Box::pin(test).await
    }
}
