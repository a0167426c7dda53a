//! The query languages: JSONPath as AWS runs it, its intrinsic functions, payload templates, and JSONata. Each is
//! syntax → program → eval. Nothing here knows states or executions: the caller passes a [`Scope`].

pub mod intrinsic;
pub mod java;
pub mod jsonata;
pub mod path;
mod pattern;
mod regex;
mod scope;
pub mod template;

pub use scope::{Context, ContextField, Names, Scope, Slot};

use crate::fuel::Fuel;

/// The environment of an evaluation, so that it stays a pure function.
pub struct Env<'a> {
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// The source of `States.UUID`, `States.MathRandom`, `$random` and `$uuid`.
    pub random: &'a mut dyn FnMut() -> u64,
    /// JSONata's memory, kept from one evaluation to the next.
    pub scratch: &'a mut jsonata::Scratch,
    /// The fuel to charge.
    pub fuel: &'a Fuel<'a>,
}

impl Env<'_> {
    /// The same for JSONata, within AWS's limits.
    pub fn jsonata(&mut self) -> jsonata::Env<'_> {
        jsonata::Env {
            now_ms: self.now_ms as i64,
            random: self.random,
            scratch: self.scratch,
            limits: jsonata::Limits::STEP_FUNCTIONS,
            fuel: self.fuel,
        }
    }
}
