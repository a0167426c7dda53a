//! What the service asks of the engine.

use super::machines::Settings;
use crate::asl::MachineType;
use crate::runtime::{DefinitionError, Engine, Handle, Machine, Outcome, StartError};

/// The engine that runs the executions.
pub(super) struct Driving {
    pub(super) engine: Engine,
}

impl Driving {
    /// A machine for these settings, which nobody finds by its name.
    pub(super) fn make(
        &self,
        _arn: &str,
        name: &str,
        _machine_type: MachineType,
        settings: &Settings,
    ) -> Result<Machine, DefinitionError> {
        self.engine.delete_state_machine(name);
        self.engine.create_state_machine(name, &settings.definition)
    }

    pub(super) fn start(&self, machine: &Machine, name: &str, input: &str) -> Result<Handle, StartError> {
        self.engine.start_named(machine, name, input)
    }

    pub(super) async fn run(
        &self,
        machine: &Machine,
        _name: &str,
        input: &str,
    ) -> Result<Outcome, StartError> {
        self.engine.run(machine, input).await
    }
}
