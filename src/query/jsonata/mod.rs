//! JSONata.
use super::{Env, Names, Scope};
use crate::json::{Arena, Value};

/// What `$states` has here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// `$states.result`
    pub result: bool,
    /// `$states.errorOutput`
    pub error_output: bool,
}

/// Which dialect.
#[derive(Clone, Copy, Debug)]
pub enum Profile {
    /// AWS's.
    StepFunctions(Allowed),
}

/// Kept memory.
#[derive(Debug, Default)]
pub struct Scratch {}

/// An expression.
#[derive(Debug)]
pub struct Expr {
    source: Box<str>,
}

/// Why not.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// What.
    pub message: String,
}

/// Why not.
#[derive(Debug)]
pub struct EvalError {}

impl EvalError {
    /// In AWS's words, after the expression and the field.
    pub fn says(&self) -> String {
        String::new()
    }
}

impl Expr {
    /// Compiles.
    pub fn compile(source: &str, _names: &mut dyn Names, _profile: Profile) -> Result<Expr, CompileError> {
        Ok(Expr { source: source.into() })
    }
    /// The text.
    pub fn source(&self) -> &str {
        &self.source
    }
    /// Evaluates.
    pub fn eval(
        &self,
        _arena: &mut Arena,
        _scope: &Scope<'_>,
        _env: &mut Env<'_>,
    ) -> Result<Value, EvalError> {
        Ok(Value::UNDEFINED)
    }
}
