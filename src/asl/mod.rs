//! Amazon States Language: text to a checked model, with every problem found, each in AWS's words and at its place.
//!
//! What this is not: it resolves no paths, evaluates nothing and knows no tables. [`crate::query`] tells it whether a
//! path or expression is well formed; `compile` turns the model into a program.

pub mod model;

pub use model::Definition;
