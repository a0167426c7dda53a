//! TestState and ValidateStateMachineDefinition against what AWS was recorded to answer, and by cases of our own.

mod recorded;
mod wire;
