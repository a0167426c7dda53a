//! TestState and ValidateStateMachineDefinition against what AWS was recorded to answer, and by cases of our own.

#[path = "../corpora/mod.rs"]
mod corpora;
mod recorded;
mod wire;
