//! Syntax checks of paths, intrinsic calls and expressions: the only use of [`crate::query`] here.

use super::diagnostic::Code;
use crate::query::intrinsic::Call;
use crate::query::jsonata::{Allowed, CompileErrorKind, Expr, Profile, Regexes};
use crate::query::path::{Path, ReferencePath, SyntaxError};
use crate::query::{Names, Slot};

/// What is wrong with a path such as `$.a[*].b`, `$$.Execution.Id` or `$variable.c`.
pub(super) fn path_error(text: &str, regexes: &mut Regexes) -> Option<SyntaxError> {
    Path::parse(text, &mut Shared(regexes)).err()
}

/// What is wrong with a path that must lead to one node.
pub(super) fn reference_path_error(text: &str, regexes: &mut Regexes) -> Option<SyntaxError> {
    match Path::parse(text, &mut Shared(regexes)) {
        Err(error) => Some(error),
        Ok(path) => (!path.is_definite())
            .then(|| SyntaxError { message: "a reference path leads to one value".into(), offset: 0 }),
    }
}

/// What is wrong with the path of a `ResultPath`.
pub(super) fn result_path_error(text: &str) -> Option<SyntaxError> {
    ReferencePath::parse(text).err()
}

/// What is wrong with an intrinsic call such as `States.Format('{}', $.a)`.
pub(super) fn intrinsic_error(text: &str, regexes: &mut Regexes) -> Option<SyntaxError> {
    // AWS's own linter refuses blanks after a call.
    let end = text.trim_end().len();
    let blanks = (end < text.len())
        .then(|| SyntaxError { message: "nothing may follow the call, not even blanks".into(), offset: end });
    Call::parse(text, &mut Shared(regexes)).err().or(blanks)
}

/// No names, because syntax does not depend on the existing variables; and what expressions and paths share.
struct Shared<'r>(&'r mut Regexes);

impl Names for Shared<'_> {
    fn slot(&mut self, _: &str) -> Option<Slot> {
        None
    }

    fn regexes(&mut self) -> Option<&mut Regexes> {
        Some(self.0)
    }
}

/// What is wrong with a JSONata expression (the text between its marks), and at which byte. `allowed` are its possible
/// references besides `$states.input`, `$states.context` and variables.
pub(super) fn jsonata_error(
    text: &str,
    allowed: Allowed,
    regexes: &mut Regexes,
) -> Option<(Code, SyntaxError)> {
    let error = Expr::compile(text, &mut Shared(regexes), Profile::StepFunctions(allowed)).err()?;
    let code = match error.kind {
        CompileErrorKind::Invalid => Code::InvalidJsonataExpression,
        CompileErrorKind::Unsupported => Code::UnsupportedJsonataExpression,
    };
    Some((code, SyntaxError { message: error.message, offset: error.offset }))
}
