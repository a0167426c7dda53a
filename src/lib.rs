//! Expressway runs AWS Step Functions **Express** workflows in memory.

pub mod asl;
pub mod fault;
pub mod json;
pub mod limits;
pub mod query;
