//! Why a call has no value.

use super::call::Call;
use super::program::{Function, Node, NodeId};
use crate::fuel::Fuel;
use crate::json::{self, Arena, Value};
use crate::query::path::{Path, PathFault};
use crate::query::{ContextField, Scope};

/// Why a call has no value. AWS reports each as `States.Runtime`.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub(super) kind: FaultKind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum FaultKind {
    Invalid { function: Function, detail: Detail },
    Path { fault: PathFault, path: NodeId },
}

/// What is wrong with the arguments.
#[derive(Clone, Copy, Debug)]
pub(super) enum Detail {
    /// `Invalid arguments in …`, and the part after a colon, if there is one.
    Arguments(&'static str),
    /// A single brace in `States.Format`'s template.
    Brace(char),
    /// The text for `States.StringToJson` is not JSON.
    NotJson(Value),
}

/// The result of a function: a value, or what is wrong.
pub(super) type Outcome = Result<Value, Detail>;

/// The arguments are of the wrong kind; AWS gives no details.
pub(super) const INVALID: Detail = Detail::Arguments("");
/// The result is larger than any state's data may be.
pub(super) const TOO_LARGE: Detail = Detail::Arguments("the result is too large.");
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
            unreachable!("faults of other kinds have returned above, and one of a path names that path");
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
