//! TestState and ValidateStateMachineDefinition compared with recorded answers of AWS, and by cases of our own.

mod recorded;
mod wire;
