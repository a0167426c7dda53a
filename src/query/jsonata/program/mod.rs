//! A compiled expression: flat tables with typed indices. Names are slots, constants are interned, plain chains such as
//! `$states.input.order.id` are direct steps. Immutable; all mutable state is in the evaluator's scratch.
//!
//! It has no values except numbers, so one program works with any arena.

mod chain;
mod draft;
mod emit;
mod profile;
mod regex;
mod scope;
mod tables;

pub use profile::{Allowed, Profile};
pub use regex::Regexes;
pub(super) use tables::*;

use super::syntax::{CompileError, parse};
use crate::query::Names;

/// Compiles an expression.
pub(super) fn compile(
    source: &str,
    names: &mut dyn Names,
    profile: Profile,
) -> Result<Program, CompileError> {
    let result = parse(source).and_then(|tree| {
        let drafts = draft::draft(&tree)?;
        emit::emit(source, &drafts, names, profile)
    });
    result.map_err(|error| error.located(source))
}
