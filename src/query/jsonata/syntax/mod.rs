//! From text to a syntax tree: the tokenizer, the operator-precedence parser, and function signatures.
//!
//! The tree is a flat table in which children come before their parents. It represents the syntax, not the meaning:
//! paths are still chains of `.`, and a `%` is not resolved yet. That is done by [`program`](super::program).

mod error;
mod parse;
mod signature;
mod token;

pub(super) use error::utf16_offset;
pub use error::{CompileError, CompileErrorKind};
pub(super) use parse::{BinaryOp, Syntax, SyntaxId, Tree, parse};
pub(super) use signature::{ParamKind, Signature, kinds};
pub(super) use token::{Literal, quote};
