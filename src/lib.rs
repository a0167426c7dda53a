//! Expressway runs AWS Step Functions **Express** workflows in memory.

pub mod asl;
pub mod clock;
pub mod compile;
pub mod engine;
pub mod fault;
mod index;
pub mod json;
pub mod limits;
pub mod observe;
pub mod program;
pub mod query;
pub mod runtime;
pub mod task;
