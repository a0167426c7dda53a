//! The intrinsic functions `States.*` of JSONPath workflows (specification, "Intrinsic Functions"), as AWS runs them.
//!
//! AWS's behaviour differs from its documentation in places; this is noted at each function. Among them: a call with
//! the wrong number of arguments is accepted when the state machine is created and fails when it is evaluated.
//!
//! Evaluation is deterministic: random numbers come from the caller. It is bounded: the nesting by the reader, texts and
//! results by [`INTRINSIC_RESULT_BYTES_MAX`](crate::limits::INTRINSIC_RESULT_BYTES_MAX).

mod array;
mod eval;
mod math;
mod program;
mod syntax;
mod text;

pub use program::Function;

use crate::fuel::Fuel;
use crate::json::{self, Arena, Value};
use crate::query::path::{Path, PathFault, SyntaxError};
use crate::query::{ContextField, Names, Scope};
use program::{Node, NodeId};
use std::fmt;

/// A call of an intrinsic function, ready to be evaluated.
#[derive(Clone, Debug)]
pub struct Call {
    text: Box<str>,
    /// Arguments are contiguous, before their call; the outermost call is the last node.
    nodes: Box<[Node]>,
}

/// Why a call has no value. AWS reports each as `States.Runtime`.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    kind: FaultKind,
}

#[derive(Clone, Copy, Debug)]
enum FaultKind {
    Invalid { function: Function, detail: Detail },
    Path { fault: PathFault, path: NodeId },
}

/// What is wrong with the arguments.
#[derive(Clone, Copy, Debug)]
enum Detail {
    /// `Invalid arguments in …`, and the part after a colon, if there is one.
    Arguments(&'static str),
    /// A single brace in `States.Format`'s template.
    Brace(char),
    /// The text for `States.StringToJson` is not JSON.
    NotJson(Value),
}

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

    /// Its source text.
    pub fn source(&self) -> &str {
        &self.text
    }

    /// The outermost function.
    pub fn function(&self) -> Option<Function> {
        match self.nodes.last() {
            Some(Node::Call { function, .. }) => Some(*function),
            _ => None,
        }
    }

    /// The paths among its arguments, at any depth, in the order of the table.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Path(path) => Some(&**path),
            _ => None,
        })
    }

    /// The first function, in the order of the table, that is called with a wrong number of arguments. AWS accepts such
    /// a call and fails when it is evaluated.
    pub fn wrong_arity(&self) -> Option<Function> {
        self.nodes.iter().find_map(|node| match node {
            Node::Call { function, from, to, .. } => {
                (!function.takes((to.0 - from.0) as usize)).then_some(*function)
            }
            _ => None,
        })
    }
}

/// The table, one node per line.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.nodes.iter().enumerate() {
            match node {
                Node::Constant(value) => writeln!(f, "{i}: {}", json::to_string(&Arena::new(), *value))?,
                Node::Text(text) => writeln!(f, "{i}: text {text:?}")?,
                Node::Template(pieces) => writeln!(f, "{i}: template {pieces:?}")?,
                Node::Path(path) => writeln!(f, "{i}: path {path}")?,
                Node::Call { function, from, to, .. } => {
                    writeln!(f, "{i}: {} {}..{}", function.name(), from.0, to.0)?;
                }
            }
        }
        Ok(())
    }
}

impl Fault {
    fn path_node(self, call: &Call) -> Option<&Path> {
        match self.kind {
            FaultKind::Path { path, .. } => match call.nodes.get(path.0 as usize) {
                Some(Node::Path(path)) => Some(path),
                _ => None,
            },
            FaultKind::Invalid { .. } => None,
        }
    }

    /// The cause in AWS's words: the outermost call as it is written, and what is wrong, in it or in a nested call.
    /// `call` and `scope` must be those of the evaluation that failed.
    pub fn message(self, call: &Call, arena: &mut Arena, scope: &Scope, fuel: &Fuel) -> String {
        let source = call.source();
        if let FaultKind::Invalid { function, detail } = self.kind {
            let detail = detail.text(function, arena);
            return format!("There was an error while evaluating the intrinsic function: {source}. {detail}");
        }
        let (FaultKind::Path { fault, .. }, Some(path)) = (self.kind, self.path_node(call)) else {
            unreachable!("a fault that is not the path's was told above, and a path's names it");
        };
        if fault.is_missing() {
            return not_found(arena, call, path.source(), scope.input);
        }
        let error = fault.message(path, arena, scope, fuel);
        format!("The function '{source}' had the following error: Invalid path '{}' : {error}", path.source())
    }

    /// The text in `TestState` when a path into the context object finds nothing: the path is relative to that object's
    /// root (measured of payload templates).
    pub(crate) fn message_of_context(self, call: &Call, arena: &mut Arena, scope: &Scope) -> Option<String> {
        let (FaultKind::Path { fault, .. }, Some(path)) = (self.kind, self.path_node(call)) else {
            return None;
        };
        let source = path.source().strip_prefix('$').filter(|source| source.starts_with('$'))?;
        let document = scope.context.field(arena, ContextField::Whole);
        fault.is_missing().then(|| not_found(arena, call, source, document))
    }
}

fn not_found(arena: &Arena, call: &Call, path: &str, input: Value) -> String {
    let (call, input) = (call.source(), json::to_string(arena, input));
    format!(
        "The function '{call}' had the following error: The JsonPath argument for the field '{path}' could not be \
         found in the input '{input}'"
    )
}

impl Detail {
    fn text(self, function: Function, arena: &Arena) -> String {
        let function = function.name();
        match self {
            Detail::Arguments("") => format!("Invalid arguments in {function}"),
            Detail::Arguments(more) => format!("Invalid arguments in {function}: {more}"),
            Detail::Brace(alone) => {
                let missing = if alone == '{' { '}' } else { '{' };
                format!("Invalid template in {function}: matching '{missing}' not found for '{alone}'.")
            }
            Detail::NotJson(text) => {
                let why = json::explain::without_source(arena.str(text).as_bytes());
                format!("Cannot convert String to Json in {function}, caused by: {why}")
            }
        }
    }
}
