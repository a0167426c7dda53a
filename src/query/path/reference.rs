//! Reference paths: paths that denote exactly one place, and so can be written to (specification, "Reference Paths").

use super::program::Step;
use super::{Path, SyntaxError};
use crate::json::{Arena, Value};
use crate::query::{Names, Scope, Slot};

/// A path of names and indexes only, from the input.
#[derive(Clone, Debug)]
pub struct ReferencePath(Path);

/// A value could not be inserted at a [`ReferencePath`]: a value on the way is neither object nor array, or an array
/// has no such element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferenceFault {
    step: usize,
}

/// A reference path for writing has no variables.
struct NoNames;

impl Names for NoNames {
    fn slot(&mut self, _: &str) -> Option<Slot> {
        None
    }
}

impl ReferencePath {
    /// Parses the path of a `ResultPath`.
    ///
    /// # Errors
    /// A text that is not a path; the operators `@`, `,`, `:`, `?`, `*` and `..`; negative indexes; the roots `$$` and
    /// `$name`.
    pub fn parse(text: &str) -> Result<ReferencePath, SyntaxError> {
        let path = Path::parse(text, &mut NoNames)?;
        if path.is_context() || path.variable().is_some() {
            return Err(SyntaxError::new("a reference path that is written to begins with `$.` or `$[`", 0));
        }
        if !path.is_reference() {
            return Err(SyntaxError::new("a reference path has only names and indexes", 0));
        }
        Ok(ReferencePath(path))
    }

    /// Whether it is exactly `$`.
    pub fn is_root(&self) -> bool {
        self.0.is_input_root()
    }

    /// Its source text.
    pub fn source(&self) -> &str {
        self.0.source()
    }

    /// Work of [inserting](ReferencePath::insert) into `into`.
    pub fn work(&self, arena: &Arena, into: Value) -> u64 {
        let mut work = 50;
        super::direct(arena, &self.0.steps, into, |value| work += 4 * value.len() as u64);
        work
    }

    /// `into` with `value` at the path's place. Missing objects on the way are created; everything else is shared with
    /// `into`.
    ///
    /// # Errors
    /// When a value on the way is not an object (for a name) or not an array with such an element (for an index).
    pub fn insert(&self, arena: &mut Arena, into: Value, value: Value) -> Result<Value, ReferenceFault> {
        let steps = &self.0.steps;
        let mut way = Vec::with_capacity(steps.len());
        let mut here = into;
        for (i, step) in steps.iter().enumerate() {
            way.push(here);
            here = match step {
                Step::Name(key) if here.is_object() => arena.get(here, key).unwrap_or(Value::UNDEFINED),
                Step::Name(_) if here.is_undefined() => Value::UNDEFINED,
                Step::Index(index) => arena.item(here, *index as usize).ok_or(ReferenceFault { step: i })?,
                _ => return Err(ReferenceFault { step: i }),
            };
        }
        let mut value = value;
        for (step, &here) in steps.iter().zip(&way).rev() {
            let mark = arena.begin();
            value = match step {
                Step::Index(index) => {
                    for i in 0..here.len() {
                        let item = arena.item(here, i).unwrap_or(Value::NULL);
                        arena.push(if i == *index as usize { value } else { item });
                    }
                    arena.end_array(mark)
                }
                Step::Name(key) => {
                    let mut replaced = false;
                    for i in 0..here.len() {
                        let (name, member) = arena.entry(here, i).unwrap_or((Value::NULL, Value::NULL));
                        let is_it = !replaced && arena.str(name) == key.as_str();
                        replaced |= is_it;
                        arena.push(name);
                        arena.push(if is_it { value } else { member });
                    }
                    if !replaced {
                        let name = arena.string(key.as_str());
                        arena.push(name);
                        arena.push(value);
                    }
                    arena.end_distinct_object(mark)
                }
                _ => value,
            };
        }
        Ok(value)
    }
}

impl ReferenceFault {
    /// AWS's message: which value could not be inserted where.
    pub fn message(self, path: &ReferencePath, arena: &Arena, into: Value) -> String {
        let steps = &path.0.steps[..self.step];
        let here = super::direct(arena, steps, into, |_| ());
        conflict(&path.0, self.step, arena, into, here)
    }
}

impl Path {
    /// Why a path of names and indexes, applied as a Reference Path, leads nowhere; `None` if it leads somewhere, or is
    /// not a Reference Path.
    pub fn conflict(&self, arena: &mut Arena, scope: &Scope) -> Option<String> {
        let document = self.document(arena, scope);
        if document.is_undefined() || !self.is_reference() {
            return None;
        }
        let mut here = document;
        for (at, step) in self.steps.iter().enumerate() {
            let next = super::direct(arena, std::slice::from_ref(step), here, |_| ());
            if next.is_undefined() {
                return Some(conflict(self, at, arena, document, here));
            }
            here = next;
        }
        None
    }
}

fn conflict(path: &Path, at: usize, arena: &Arena, document: Value, here: Value) -> String {
    let show = |value| crate::json::to_string(arena, value);
    if !document.is_container() {
        return format!("Unable to apply ReferencePath {} to input {}", path.source(), show(document));
    }
    let step = match &path.steps[at] {
        Step::Name(key) => key.as_str().to_owned(),
        Step::Index(index) => index.to_string(),
        _ => unreachable!("a reference path has only names and indexes"),
    };
    format!("Unable to apply step \"{step}\" to input {}", show(here))
}

impl std::fmt::Display for ReferencePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
