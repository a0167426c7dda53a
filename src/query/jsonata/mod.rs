//! JSONata 2.0.6 as AWS Step Functions runs it: compiled once into flat tables, evaluated over the arena's values.
//!
//! syntax → program → eval, and the built-in functions by family. One evaluator, no other value type. It does not know
//! states, fields with `{% %}`, or the texts that AWS puts around an error.
//!
//! ```
//! use expressway::fuel::Fuel;
//! use expressway::json::{self, Arena, Value};
//! use expressway::query::{Context, ContextField, Names, Scope, Slot};
//! use expressway::query::jsonata::{Allowed, Env, Expr, Limits, Profile, Scratch};
//!
//! struct Nothing;
//! impl Names for Nothing {
//!     fn slot(&mut self, _: &str) -> Option<Slot> {
//!         None
//!     }
//! }
//! impl Context for Nothing {
//!     fn field(&self, _: &mut Arena, _: ContextField) -> Value {
//!         Value::UNDEFINED
//!     }
//! }
//!
//! let source = "$sum($states.input.items.(price * qty))";
//! let expr = Expr::compile(source, &mut Nothing, Profile::StepFunctions(Allowed::default())).unwrap();
//! let mut arena = Arena::new();
//! let input = json::read(&mut arena, br#"{"items":[{"price":2,"qty":3},{"price":0.5,"qty":4}]}"#).unwrap();
//! let scope = Scope {
//!     input,
//!     result: Value::UNDEFINED,
//!     error_output: Value::UNDEFINED,
//!     variables: Value::UNDEFINED,
//!     context: &Nothing,
//! };
//! let mut scratch = Scratch::default();
//! let mut env = Env {
//!     now_ms: 0,
//!     random: &mut || 4,
//!     scratch: &mut scratch,
//!     limits: Limits::STEP_FUNCTIONS,
//!     fuel: &Fuel::unlimited(),
//! };
//! let total = expr.eval(&mut arena, &scope, &mut env).unwrap();
//! assert_eq!(total.as_int(), Some(8));
//! ```

mod eval;
mod functions;
mod number;
mod program;
mod syntax;

pub use eval::{Env, EvalError, EvalErrorKind, Limits, Scratch};
pub use program::{Allowed, Profile, Regexes};
pub use syntax::{CompileError, CompileErrorKind};

use super::{Names, Scope};
use crate::json::{Arena, Value};

/// The functions for definitions: their names without `$`, and their signatures in JSONata's notation.
pub fn functions() -> impl Iterator<Item = (&'static str, &'static str)> {
    functions::told()
}

/// A compiled expression: immutable, `Send + Sync`, valid for any arena.
#[derive(Clone, Debug)]
pub struct Expr {
    program: program::Program,
    profile: Profile,
}

impl Expr {
    /// Compiles an expression (without the `{%` and `%}` around it).
    ///
    /// # Errors
    /// What the language's parser refuses, and in [`Profile::StepFunctions`] what AWS refuses when a state machine is
    /// created: names at the top level, `$`, `$$`, misplaced parts of `$states`.
    pub fn compile(source: &str, names: &mut dyn Names, profile: Profile) -> Result<Expr, CompileError> {
        Ok(Expr { program: program::compile(source, names, profile)?, profile })
    }

    /// Roughly its bytes, without the automata of its regular expressions.
    pub fn bytes(&self) -> usize {
        let program = &self.program;
        let texts: usize = program.texts.iter().map(|text| size_of::<Box<str>>() + text.len()).sum();
        // The other tables together have about one row per node.
        size_of::<Expr>() + program.source.len() + texts + 3 * size_of_val(&*program.nodes)
    }

    /// Its source text.
    pub fn source(&self) -> &str {
        &self.program.source
    }

    /// Whether it only follows names, as `$states.input.order.id` does.
    pub fn is_path(&self) -> bool {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'$' | b'_' | b'.' | b' ');
        self.program.source.bytes().all(is_part) && !self.program.source.contains("..")
    }

    /// Evaluates it. The value is [`Value::UNDEFINED`] when the expression finds nothing.
    ///
    /// # Errors
    /// An error of JSONata, a bound that was reached, or a result that is a function.
    pub fn eval(&self, arena: &mut Arena, scope: &Scope<'_>, env: &mut Env<'_>) -> Result<Value, EvalError> {
        eval::run(&self.program, self.profile, arena, scope, env)
    }
}
