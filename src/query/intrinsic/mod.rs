//! The intrinsic functions `States.*` of JSONPath workflows (specification, "Intrinsic Functions"), as AWS runs them.
//!
//! AWS's behaviour differs from its documentation in places; this is noted at each function. Among them: a call with
//! the wrong number of arguments is accepted when the state machine is created and fails when it is evaluated.
//!
//! Evaluation is deterministic: random numbers come from the caller. It is bounded: the nesting by the reader, texts and
//! results by [`INTRINSIC_RESULT_BYTES_MAX`](crate::limits::INTRINSIC_RESULT_BYTES_MAX).

mod array;
mod call;
mod eval;
mod fault;
mod math;
mod program;
mod syntax;
mod text;

pub use call::Call;
pub use fault::Fault;
pub use program::Function;

use crate::fuel::Fuel;
use crate::json::{Arena, Value};
use crate::query::path::SyntaxError;
use crate::query::{Names, Scope};

impl Call {
    /// Parses a call such as `States.Format('Hello {}', $.name)`.
    ///
    /// # Errors
    /// An unknown function, an argument that is not a string, number, `null`, `true`, `false`, path or call, a
    /// backslash before anything but `'`, `{`, `}` and `\`, and more than
    /// [`INTRINSIC_DEPTH_MAX`](crate::limits::INTRINSIC_DEPTH_MAX) nested calls.
    pub fn parse(text: &str, names: &mut dyn Names) -> Result<Call, SyntaxError> {
        syntax::parse(text, names)
    }

    /// The value of the call. `random` gives the bits for `States.UUID` and for `States.MathRandom` without a seed; the
    /// work is charged to `fuel`.
    pub fn eval(
        &self,
        arena: &mut Arena,
        scope: &Scope,
        random: &mut dyn FnMut() -> u64,
        fuel: &Fuel,
    ) -> Result<Value, Fault> {
        eval::Evaluation { call: self, arena, scope, random, fuel }.run()
    }
}
