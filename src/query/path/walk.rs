//! The evaluator for general paths, and for messages of failed ones.
//!
//! At most one recursion per step, and [`PATH_STEPS_MAX`](crate::limits::PATH_STEPS_MAX) bounds the steps; descending
//! into a document uses an explicit stack. Every step costs work, and when the work is used up the evaluation ends.

use super::PathFaultKind;
use super::program::{Step, write_name, write_names, write_step, write_steps};
use crate::fuel::Fuel;
use crate::json::{self, Arena, Key, Value};
use crate::limits;

/// Fuel for a step.
const STEP: u64 = 10;

pub(super) type Done = Result<(), PathFaultKind>;

/// One evaluation. Matches are pushed onto the arena's stack; `Undefined` stands for Java's `null`, as for an element
/// past the end of its array; it is `null` in an array of matches. With `TRAIL` it tracks its place in the document, as
/// messages need it; without, that costs nothing.
pub(super) struct Walk<'a, const TRAIL: bool> {
    pub(super) arena: &'a mut Arena,
    steps: &'a [Step],
    pub(super) document: Value,
    /// From this step on all are definite.
    settled: usize,
    /// Whether a missing member is a fault also among several names.
    pub(super) strict: bool,
    /// Whether the document is what a filter is tried on.
    pub(super) in_filter: bool,
    pub(super) work: u32,
    pub(super) fuel: &'a Fuel<'a>,
    pub(super) trail: String,
    pub(super) message: String,
}

/// The message of the fault at which following the steps ends; `None` if it succeeds.
pub(super) fn message(arena: &mut Arena, steps: &[Step], document: Value, fuel: &Fuel<'_>) -> Option<String> {
    let mark = arena.begin();
    let mut walk = Walk::<true>::new(arena, steps, document, fuel);
    let failed = walk.run().is_err();
    let message = walk.message;
    arena.cancel(mark);
    failed.then_some(message)
}

impl<'a, const TRAIL: bool> Walk<'a, TRAIL> {
    pub(super) fn new(
        arena: &'a mut Arena,
        steps: &'a [Step],
        document: Value,
        fuel: &'a Fuel<'a>,
    ) -> Walk<'a, TRAIL> {
        let settled = steps.len() - steps.iter().rev().take_while(|step| step.is_definite()).count();
        let trail = if TRAIL { String::from("$") } else { String::new() };
        Walk {
            arena,
            steps,
            document,
            settled,
            strict: false,
            in_filter: false,
            work: limits::PATH_WORK_MAX,
            fuel,
            trail,
            message: String::new(),
        }
    }

    pub(super) fn run(&mut self) -> Done {
        self.follow(0, self.document)
    }

    /// Continues with step `at`; the trail is unchanged afterwards.
    pub(super) fn follow(&mut self, at: usize, value: Value) -> Done {
        let length = self.trail.len();
        let done = self.go(at, value);
        self.trail.truncate(length);
        done
    }

    fn go(&mut self, mut at: usize, mut value: Value) -> Done {
        let steps = self.steps;
        while let Some(step) = steps.get(at) {
            self.spend(1)?;
            value = match step {
                Step::Name(key) => match self.name(at, key, value)? {
                    Some(member) => member,
                    None => return Ok(()),
                },
                Step::Index(index) => self.place(at, value)?.element(value, i64::from(*index)),
                Step::FromEnd(offset) => {
                    let index = value.len() as i64 + i64::from(*offset);
                    self.place(at, value)?.element(value, index)
                }
                Step::Names(keys) => return self.names(at, keys, value),
                Step::Wildcard => return self.wildcard(at, value),
                Step::Scan => return self.scan(at, value),
                Step::Filter(filter) => return self.filter(at, filter, value),
                Step::Root => return self.root(at, value),
                Step::Indexes(indexes) => {
                    let each = indexes.iter().map(|&index| i64::from(index));
                    return self.place(at, value)?.elements(at, value, each);
                }
                Step::SliceFrom(_) | Step::SliceTo(_) | Step::Slice(..) => {
                    let (from, to) = slice(step, value.len() as i64);
                    return self.place(at, value)?.elements(at, value, from..to);
                }
            };
            at += 1;
        }
        let nothing = value.is_undefined() && self.settled > 0;
        self.arena.push(if nothing { Value::NULL } else { value });
        Ok(())
    }

    pub(super) fn spend(&mut self, work: u32) -> Done {
        self.charge(u64::from(work) * STEP)?;
        match self.work.checked_sub(work) {
            Some(left) => {
                self.work = left;
                Ok(())
            }
            None => {
                self.work = 0;
                self.fail(PathFaultKind::Exhausted, |_, out| {
                    out.push_str("The path takes too much work to evaluate")
                })
            }
        }
    }

    /// Charges work that is not counted as steps.
    pub(super) fn charge(&self, work: u64) -> Done {
        self.fuel.charge(work).map_err(|_| PathFaultKind::Cut)
    }

    /// Ends with a fault whose message is formatted only on demand.
    pub(super) fn fail<T>(
        &mut self,
        kind: PathFaultKind,
        write: impl FnOnce(&Self, &mut String),
    ) -> Result<T, PathFaultKind> {
        if TRAIL {
            let mut message = String::new();
            write(self, &mut message);
            self.message = message;
        }
        Err(kind)
    }

    pub(super) fn trace(&mut self, write: impl FnOnce(&Arena, &mut String)) {
        if TRAIL {
            write(self.arena, &mut self.trail);
        }
    }

    // ---- members ----

    /// The member `key`, or `None` if its absence is not a fault.
    fn name(&mut self, at: usize, key: &Key, value: Value) -> Result<Option<Value>, PathFaultKind> {
        if !value.is_object() {
            return self.not_an_object(at);
        }
        self.spend(value.len() as u32 / 16)?;
        if let Some(member) = self.arena.get(value, key) {
            self.trace(|_, trail| write_name(key.as_str(), trail));
            return Ok(Some(member));
        }
        let last = at + 1 == self.steps.len();
        if !last && at.saturating_sub(1) < self.settled {
            return Ok(None);
        }
        self.fail(PathFaultKind::NotFound, |walk, out| {
            out.push_str(if last { "No results for path: " } else { "Missing property in path " });
            out.push_str(&walk.trail);
            write_name(key.as_str(), out);
        })
    }

    fn not_an_object<T>(&mut self, at: usize) -> Result<T, PathFaultKind> {
        self.fail(PathFaultKind::NotFound, |walk, out| {
            out.push_str("Property ");
            write_step(&walk.steps[at], out);
            out.push_str(" not found in path ");
            out.push_str(&walk.trail);
        })
    }

    fn names(&mut self, at: usize, keys: &[Key], value: Value) -> Done {
        if !value.is_object() {
            return self.not_an_object(at);
        }
        if at + 1 != self.steps.len() {
            return self.fail(PathFaultKind::Invalid, |walk, out| {
                out.push_str("Multi properties can only be used as path leafs: ");
                out.push_str(&walk.trail);
                write_names(keys, out);
            });
        }
        let mark = self.arena.begin();
        for key in keys {
            self.spend(1 + value.len() as u32 / 16)?;
            if let Some(member) = self.arena.get(value, key) {
                let key = self.arena.string(key.as_str());
                self.arena.push(key);
                self.arena.push(member);
            } else if self.strict {
                return self.fail(PathFaultKind::NotFound, |walk, out| {
                    out.push_str("Missing property in path ");
                    out.push_str(&walk.trail);
                    write_names(keys, out);
                });
            }
        }
        let picked = self.arena.end_object(mark);
        self.arena.push(picked);
        Ok(())
    }

    // ---- elements ----

    /// Checks that a step that picks elements can be applied.
    fn place(&mut self, at: usize, value: Value) -> Result<&mut Self, PathFaultKind> {
        if value.is_array() {
            return Ok(self);
        }
        if value.is_undefined() || (value.is_null() && self.is_unwrapped(at)) {
            return self.fail(PathFaultKind::NotFound, |walk, out| {
                out.push_str("The path ");
                out.push_str(&walk.trail);
                out.push_str(" is null");
            });
        }
        self.does_not_apply(at, value, "can only be applied to arrays")
    }

    /// Whether Jackson has unwrapped the value that a step is given, so that null is Java's `null` there: it does so with
    /// members and what it iterates over, while an element that was picked by its index stays a node.
    fn is_unwrapped(&self, at: usize) -> bool {
        let before = |n: usize| at.checked_sub(n).map(|at| &self.steps[at]);
        match (before(2), before(1)) {
            (Some(Step::Scan), _) | (_, Some(Step::Name(_))) => true,
            (_, previous) => previous.is_none() && self.in_filter,
        }
    }

    pub(super) fn does_not_apply<T>(
        &mut self,
        at: usize,
        value: Value,
        why: &str,
    ) -> Result<T, PathFaultKind> {
        self.fail(PathFaultKind::Invalid, |walk, out| {
            out.push_str("Filter: ");
            write_steps(&walk.steps[at..], out);
            out.push(' ');
            out.push_str(why);
            out.push_str(". Current context is: ");
            match walk.arena.as_str(value) {
                Some(text) if walk.trail.ends_with("']") || walk.is_unwrapped(at) => out.push_str(text),
                _ => out.push_str(&json::to_string(walk.arena, value)),
            }
        })
    }

    /// The element, or `Undefined` if the array has none: Jackson returns Java's `null` then, and no exception.
    fn element(&mut self, array: Value, index: i64) -> Value {
        self.trace(|_, trail| write_index(index, trail));
        let element = usize::try_from(index).ok().and_then(|index| self.arena.item(array, index));
        element.unwrap_or(Value::UNDEFINED)
    }

    fn elements(&mut self, at: usize, array: Value, indexes: impl Iterator<Item = i64>) -> Done {
        let length = self.trail.len();
        for index in indexes {
            self.spend(1)?;
            let element = self.element(array, index);
            self.follow(at + 1, element)?;
            self.trail.truncate(length);
        }
        Ok(())
    }

    /// All members or elements. Elements of an array in which the rest of the path is not found are skipped; earlier
    /// matches in them stay.
    fn wildcard(&mut self, at: usize, value: Value) -> Done {
        let length = self.trail.len();
        for i in 0..value.len() {
            self.spend(1)?;
            if let Some((key, member)) = self.arena.entry(value, i) {
                self.trace(|arena, trail| write_name(arena.str(key), trail));
                self.follow(at + 1, if member.is_null() { Value::UNDEFINED } else { member })?;
            } else if let Some(element) = self.arena.item(value, i) {
                self.trace(|_, trail| write_index(i as i64, trail));
                match self.follow(at + 1, element) {
                    Err(PathFaultKind::NotFound) => {}
                    done => done?,
                }
            }
            self.trail.truncate(length);
        }
        Ok(())
    }

    fn root(&mut self, at: usize, value: Value) -> Done {
        let trail = std::mem::take(&mut self.trail);
        self.trace(|_, trail| trail.push('$'));
        let done = self.follow(at + 1, value);
        self.trail = trail;
        done
    }

    // ---- everywhere below ----

    /// Tries the next step on the value and on all containers below it, parents before children. If an array matches
    /// the next step, all its elements continue behind that step, whichever of them it would pick.
    fn scan(&mut self, at: usize, value: Value) -> Done {
        let steps = self.steps;
        let Some(target) = steps.get(at + 1) else {
            return Ok(());
        };
        let start = self.trail.len();
        let mut below: Vec<(Value, usize, Way)> = vec![(value, start, Way::Here)];
        while let Some((value, length, way)) = below.pop() {
            self.spend(1)?;
            self.trail.truncate(length);
            self.trace(|arena, trail| match way {
                Way::Here => {}
                Way::Member(key) => write_name(arena.str(key), trail),
                Way::Element(index) => write_index(index as i64, trail),
            });
            if self.scan_matches(target, value)? {
                if value.is_object() || at + 2 == steps.len() {
                    self.follow(at + 1, value)?;
                } else {
                    self.elements(at + 1, value, 0..value.len() as i64)?;
                }
            }
            let length = self.trail.len();
            self.spend(value.len() as u32 / 8)?;
            for i in (0..value.len()).rev() {
                let (child, way) = match self.arena.entry(value, i) {
                    Some((key, member)) => (member, Way::Member(key)),
                    None => (self.arena.item(value, i).unwrap_or(Value::NULL), Way::Element(i)),
                };
                if child.is_container() {
                    below.push((child, length, way));
                }
            }
        }
        self.trail.truncate(start);
        Ok(())
    }

    fn scan_matches(&mut self, target: &Step, value: Value) -> Result<bool, PathFaultKind> {
        Ok(match target {
            _ if !value.is_container() => false,
            Step::Name(key) => {
                self.spend(value.len() as u32 / 16)?;
                self.arena.get(value, key).is_some()
            }
            Step::Names(keys) => {
                self.spend(keys.len() as u32 * (1 + value.len() as u32 / 16))?;
                value.is_object() && keys.iter().all(|key| self.arena.get(value, key).is_some())
            }
            Step::Wildcard => true,
            Step::Filter(filter) => self.accepts(filter, value)?,
            place => place.is_by_place() && value.is_array(),
        })
    }
}

/// How a nested value is reached from its parent.
enum Way {
    Here,
    Member(Value),
    Element(usize),
}

/// The first index a slice takes and the one behind the last.
fn slice(step: &Step, length: i64) -> (i64, i64) {
    let from_end = |index: i32| i64::from(index) + if index < 0 { length } else { 0 };
    match *step {
        Step::SliceFrom(from) => (from_end(from).max(0), length),
        Step::SliceTo(to) => (0, from_end(to).min(length)),
        Step::Slice(from, to) if length > 0 => (i64::from(from), i64::from(to).min(length)),
        _ => (0, 0),
    }
}

pub(super) fn write_index(index: i64, out: &mut String) {
    out.push('[');
    out.push_str(itoa::Buffer::new().format(index));
    out.push(']');
}
