//! `TestState` and `ValidateStateMachineDefinition` as actions.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

#[cfg(feature = "console")]
use super::Exception;
use super::settings::partition_of;
use super::test_state::{self, Surroundings, TestState, TestedState};
use super::validate::{self, ValidateStateMachineDefinition, Validation};
use super::{Error, Service};
#[cfg(feature = "console")]
use crate::asl::MachineType;
use crate::asl::Resources;
#[cfg(feature = "console")]
use crate::runtime::{Handle, MachineSpec, StartOptions};

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

    /// Runs a draft of a state machine that this service does not have: an execution that is not listed, with the
    /// handlers of the engine, limited to the caller's permissions.
    ///
    /// # Errors
    /// `InvalidDefinition`, `InvalidExecutionInput`; `ThrottlingException` when there is no room.
    #[cfg(feature = "console")]
    pub(crate) fn start_draft(
        &self,
        definition: &str,
        machine_type: MachineType,
        input: &str,
        options: StartOptions,
    ) -> Result<Handle, Error> {
        let inner = &*self.inner;
        let _charge = inner.charge(definition)?;
        let arn = self.arn("stateMachine", "Draft");
        let spec = MachineSpec {
            machine_type,
            arn: Some(&arn),
            resources: Some(Resources::AwsAndOurs),
            permit: inner.permit(self.caller.as_ref()),
            ..MachineSpec::new("Draft", definition)
        };
        let machine = inner.engine.create(&spec);
        let machine = machine.map_err(|error| Error::new(Exception::InvalidDefinition, error.to_string()))?;
        Ok(inner.engine.start_with(&machine, input, options)?)
    }
}
