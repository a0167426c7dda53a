//! `TestState`: one state, run by itself (API reference, `TestState`; developer guide, "Testing state machines with
//! TestState API").
//!
//! The state is compiled into a small program of its own, and the engine visits it: nothing is evaluated here. The
//! engine's records of the visit are the inspection data. A [`Test`] does no I/O: it asks for a task or for time to
//! pass, and is given the result.

mod batch;
mod context;
mod drive;
mod mock;
mod model;
mod reader;
mod run;
mod schema;
mod subject;
mod trace;

pub use drive::test_state;
pub(super) use drive::test_state_with;
pub use model::{
    ErrorDetails, FieldValidation, Inspection, InspectionLevel, Mock, MockError, StateConfiguration,
    Surroundings, TestState, TestStatus, TestedState,
};
pub use run::{News, Progress, TaskWanted, Test};
