//! JSONPath as AWS Step Functions runs it, which is Jayway JsonPath 2.0.0: not RFC 9535, and not today's Jayway.
//!
//! A [`Path`] is parsed once into steps. Plain names and indexes, as in nearly all paths, are followed without any
//! allocation or bookkeeping; everything else goes through one evaluator whose work is bounded. A failure is a small
//! value; AWS's message is made on demand, by following the path once more and recording the way.

mod accept;
mod compare;
mod decimal;
mod filter;
mod program;
mod reference;
mod syntax;
mod walk;

pub use reference::{ReferenceFault, ReferencePath};
pub use syntax::SyntaxError;

use crate::fuel::Fuel;
use crate::json::{Arena, Key, Value};
use crate::query::pattern::{Boundaries, Pattern, PatternError};
use crate::query::{ContextField, Names, Scope, Slot};
use program::Step;
use std::fmt;
use std::sync::Arc;
use walk::Walk;

/// A path, ready to be evaluated.
///
/// A definite path has one value or fails. An indefinite one (wildcards, slices, several indexes, filters, `..`) has an
/// array of its matches, which may be empty.
#[derive(Clone, Debug)]
pub struct Path {
    text: Box<str>,
    root: Root,
    /// Without those that lead to the root's context field.
    steps: Box<[Step]>,
    /// Whether all steps are plain names and indexes.
    direct: bool,
    definite: bool,
}

#[derive(Clone, Debug)]
enum Root {
    Input,
    Context(ContextField),
    Variable(Box<str>, Option<Slot>),
}

/// Why a path has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathFault {
    kind: PathFaultKind,
}

/// The kind of a [`PathFault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathFaultKind {
    /// There is no value at the place: Jayway's `PathNotFoundException`.
    NotFound,
    /// A step cannot be applied to a value, such as an index to an object: Jayway's `InvalidPathException`.
    Invalid,
    /// The root has no value: a variable that is not assigned, or a part that the context object does not have here.
    Unset,
    /// The evaluation would take more work or memory than [`limits`](crate::limits) allow.
    Exhausted,
    /// Cut from outside: the execution is over. Not a fault of the path.
    Cut,
}

impl PathFault {
    /// The kind.
    pub fn kind(self) -> PathFaultKind {
        self.kind
    }

    /// Whether the value is simply missing.
    pub fn is_missing(self) -> bool {
        matches!(self.kind, PathFaultKind::NotFound | PathFaultKind::Unset)
    }

    /// Jayway's message. `path` and `scope` must be those of the evaluation that failed, which is repeated to find the
    /// place.
    pub fn message(self, path: &Path, arena: &mut Arena, scope: &Scope, fuel: &Fuel) -> String {
        let (steps, document) = match &path.root {
            Root::Input => (path.steps.to_vec(), scope.input),
            Root::Variable(name, slot) => match slot.map(|slot| scope.variable(arena, slot)) {
                Some(value) if !value.is_undefined() => (path.steps.to_vec(), value),
                _ => return format!("No results for path: ${name}"),
            },
            Root::Context(field) => {
                let lead = field.steps().iter().map(|name| Step::Name(Key::new(name)));
                let steps = lead.chain(path.steps.iter().cloned()).collect();
                (steps, scope.context.field(arena, ContextField::Whole))
            }
        };
        match walk::message(arena, &steps, document, fuel) {
            Some(message) => message,
            None => format!("No results for path: {path}"),
        }
    }
}

impl From<PathFaultKind> for PathFault {
    fn from(kind: PathFaultKind) -> PathFault {
        PathFault { kind }
    }
}

/// A pattern of a filter, of those that the definition shares if there are any.
fn pattern(source: &str, names: &mut dyn Names) -> Result<Arc<Pattern>, String> {
    let compile = |bytes_max| Pattern::new(source, Boundaries::Any, bytes_max, filter::PATTERN_DEPTH_MAX);
    let unsupported = || "the regular expression is not supported".to_owned();
    match names.regexes() {
        Some(regexes) => regexes.of_path(source, filter::PATTERN_BYTES_MAX, |bytes_max| {
            compile(bytes_max).map_err(|error| (error == PatternError::TooLarge, unsupported()))
        }),
        None => compile(filter::PATTERN_BYTES_MAX).map(Arc::new).map_err(|_| unsupported()),
    }
}

impl Path {
    /// Parses a path. `names` resolves the variable that a path such as `$order.id` begins with.
    ///
    /// # Errors
    /// What Jayway 2.0.0 refuses, a path that does not begin with `$`, and one with more than
    /// [`PATH_STEPS_MAX`](crate::limits::PATH_STEPS_MAX) steps.
    pub fn parse(text: &str, names: &mut dyn Names) -> Result<Path, SyntaxError> {
        let (trimmed, at) = syntax::trim(text);
        let Some(rest) = trimmed.strip_prefix('$') else {
            return Err(SyntaxError::new("a path begins with `$`", at));
        };
        let is_name = !rest.is_empty() && !rest.starts_with(['$', '.', '[']);
        let name = if is_name { &rest[..rest.find(['.', '[']).unwrap_or(rest.len())] } else { "" };
        if is_name && !is_identifier(name) {
            return Err(SyntaxError::new("expected `.`, `[` or the name of a variable after `$`", at + 1));
        }
        let is_context = rest.starts_with('$');
        let skipped = name.len() + usize::from(is_context);
        let rest = &rest[skipped..];
        if !rest.is_empty() && !rest.starts_with(['.', '[']) {
            return Err(SyntaxError::new("expected `.` or `[` after the root", at + 1 + skipped));
        }
        let mut patterns = |source: &str| pattern(source, names);
        let mut steps = syntax::steps(rest, at + 1 + skipped, false, &mut patterns)?;
        let definite = steps.iter().all(Step::is_definite);
        let direct = steps.iter().all(Step::is_direct);
        let root = match is_context {
            true if direct => {
                let (field, lead) = ContextField::resolve(steps.iter().map_while(|step| match step {
                    Step::Name(key) => Some(key.as_str()),
                    _ => None,
                }));
                steps.drain(..lead);
                Root::Context(field)
            }
            true => Root::Context(ContextField::Whole),
            false if is_name => Root::Variable(name.into(), names.slot(name)),
            false => Root::Input,
        };
        Ok(Path { text: text.into(), root, steps: steps.into(), direct, definite })
    }

    /// The value of a path of plain names and indexes from `input`. `Undefined` means that it must be
    /// [evaluated](Path::eval): it is another kind of path, or there is no value.
    #[inline]
    pub fn follow(&self, arena: &Arena, input: Value) -> Value {
        if self.direct && matches!(self.root, Root::Input) {
            direct(arena, &self.steps, input, |_| ())
        } else {
            Value::UNDEFINED
        }
    }

    /// The part of the context object that the path denotes exactly, if any.
    #[inline]
    pub fn as_context_field(&self) -> Option<ContextField> {
        match self.root {
            Root::Context(field) if self.steps.is_empty() => Some(field),
            _ => None,
        }
    }

    /// Work of [following](Path::follow) the path from `input`.
    #[cold]
    pub fn work(&self, arena: &Arena, input: Value) -> u64 {
        let mut work = 0;
        if self.direct && matches!(self.root, Root::Input) {
            direct(arena, &self.steps, input, |value| work += members(value));
        }
        work
    }

    /// The value of the path, or the array of its matches. Past the end of an array is `null`.
    #[inline]
    pub fn eval(&self, arena: &mut Arena, scope: &Scope, fuel: &Fuel) -> Result<Value, PathFault> {
        let found = self.read(arena, scope, fuel)?;
        Ok(if found.is_undefined() { Value::NULL } else { found })
    }

    /// Like [`eval`](Path::eval), for checks of existence: a path that ends past the end of an array has no value. AWS
    /// evaluates like this in Choice rules and in the arguments of intrinsic functions.
    #[inline]
    pub fn find(&self, arena: &mut Arena, scope: &Scope, fuel: &Fuel) -> Result<Value, PathFault> {
        let found = self.read(arena, scope, fuel)?;
        if found.is_undefined() { Err(PathFaultKind::NotFound.into()) } else { Ok(found) }
    }

    #[inline]
    fn read(&self, arena: &mut Arena, scope: &Scope, fuel: &Fuel) -> Result<Value, PathFault> {
        let document = self.document(arena, scope);
        if document.is_undefined() {
            return Err(PathFaultKind::Unset.into());
        }
        if self.direct {
            let mut work = 20;
            let found = direct(arena, &self.steps, document, |value| work += members(value));
            fuel.charge(work).map_err(|_| PathFaultKind::Cut)?;
            if !found.is_undefined() {
                return Ok(found);
            }
        }
        self.walk(arena, document, fuel)
    }

    /// The value at which the steps start; `Undefined` if the path has no such value.
    #[inline]
    fn document(&self, arena: &mut Arena, scope: &Scope) -> Value {
        match &self.root {
            Root::Input => scope.input,
            Root::Context(field) => scope.context.field(arena, *field),
            Root::Variable(_, slot) => slot.map_or(Value::UNDEFINED, |slot| scope.variable(arena, slot)),
        }
    }

    #[cold]
    fn walk(&self, arena: &mut Arena, document: Value, fuel: &Fuel) -> Result<Value, PathFault> {
        let mark = arena.begin();
        match Walk::<false>::new(arena, &self.steps, document, fuel).run() {
            Ok(()) if self.definite => {
                let first = arena.pushed(mark).first().copied();
                arena.cancel(mark);
                first.ok_or(PathFaultKind::NotFound.into())
            }
            Ok(()) => {
                let bytes = size_of_val(arena.pushed(mark));
                fuel.charge(bytes as u64 / 4).map_err(|_| PathFaultKind::Cut)?;
                let fits = arena.reserve(bytes);
                let found = arena.end_array(mark);
                if fits { Ok(found) } else { Err(PathFaultKind::Exhausted.into()) }
            }
            Err(kind) => {
                arena.cancel(mark);
                Err(kind.into())
            }
        }
    }

    /// Whether the path has one value, rather than an array of matches.
    pub fn is_definite(&self) -> bool {
        self.definite
    }

    /// Whether all its steps are plain names and indexes: following it is fast for any data.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// Its source text.
    pub fn source(&self) -> &str {
        &self.text
    }

    /// Its bytes, roughly, without those of the regular expressions of its filters.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Path>() + 4 * self.text.len()
    }

    /// Whether it is exactly `$`.
    pub fn is_input_root(&self) -> bool {
        self.steps.is_empty() && matches!(self.root, Root::Input)
    }

    /// Whether it denotes exactly one place by names and indexes: the specification's Reference Path, which most fields
    /// that end in `Path` must be. A negative index excludes it.
    pub fn is_reference(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Name(_) | Step::Index(0..)))
    }

    /// Whether it reads the input.
    pub fn is_of_input(&self) -> bool {
        matches!(self.root, Root::Input)
    }

    /// Whether it begins with `$$`.
    pub fn is_context(&self) -> bool {
        matches!(self.root, Root::Context(_))
    }

    /// The variable it begins with.
    pub fn variable(&self) -> Option<&str> {
        match &self.root {
            Root::Variable(name, _) => Some(name),
            _ => None,
        }
    }
}

/// Members that searching for one may visit.
#[inline]
fn members(value: Value) -> u64 {
    if value.is_object() { value.len() as u64 } else { 0 }
}

/// Follows plain names and indexes, as in most paths; `Undefined` if there is no value, or for another kind of step.
/// `visit` is called with each value on the way.
#[inline]
fn direct(arena: &Arena, steps: &[Step], mut value: Value, mut visit: impl FnMut(Value)) -> Value {
    for step in steps {
        visit(value);
        value = match step {
            Step::Name(key) => arena.member(value, key),
            Step::Index(index) => match usize::try_from(*index) {
                Ok(index) => arena.item(value, index).unwrap_or(Value::UNDEFINED),
                Err(_) => Value::UNDEFINED,
            },
            _ => return Value::UNDEFINED,
        };
    }
    value
}

/// The path in Jayway's normal form, with its own root: `$$['Execution']['Id']`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::from("$");
        match &self.root {
            Root::Input => {}
            Root::Context(field) => {
                out.push('$');
                field.steps().iter().for_each(|name| program::write_name(name, &mut out));
            }
            Root::Variable(name, _) => out.push_str(name),
        }
        program::write_steps(&self.steps, &mut out);
        f.write_str(&out)
    }
}

/// Whether `name` is valid for a variable: a letter or `_`, then letters, digits and `_`.
fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c == '_' || c.is_alphabetic())
        && chars.all(|c| c == '_' || c.is_alphanumeric())
}
