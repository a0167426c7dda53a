//! Variables become slots. A workflow sees the variables of its enclosing workflows and its own; siblings reuse slots,
//! because no two of them are visible at one place.

use std::collections::HashMap;
use std::rc::Rc;

use crate::asl::model as asl;
use crate::query::jsonata::Regexes;
use crate::query::{Names, Slot};

/// The variables of one workflow, outer ones first. Nested workflows share the outer ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables<'d>(Option<Rc<Level<'d>>>);

/// What a workflow adds to the outer variables.
#[derive(Debug)]
struct Level<'d> {
    outer: Variables<'d>,
    slots: HashMap<&'d str, u32>,
    /// How many there are, outer ones included.
    len: u32,
}

impl<'d> Variables<'d> {
    /// The variables of `workflow`, nested in a workflow with those of `self`.
    pub(super) fn enter(self, workflow: &'d asl::Workflow) -> Variables<'d> {
        let len = self.len();
        let mut level = Level { outer: self, slots: HashMap::new(), len };
        for state in &workflow.states {
            level.add(state.assign.as_ref());
            for catcher in &state.catch {
                level.add(catcher.assign.as_ref());
            }
            if let asl::StateKind::Choice(choice) = &state.kind {
                for rule in &choice.rules {
                    level.add(rule.assign.as_ref());
                }
            }
        }
        if level.slots.is_empty() { level.outer } else { Variables(Some(Rc::new(level))) }
    }

    /// The number of variables.
    pub(super) fn len(&self) -> u32 {
        self.0.as_ref().map_or(0, |level| level.len)
    }

    /// The slot of `name`.
    pub(super) fn find(&self, name: &str) -> Option<Slot> {
        let mut around = self;
        while let Some(level) = &around.0 {
            if let Some(&slot) = level.slots.get(name) {
                return Some(Slot(slot));
            }
            around = &level.outer;
        }
        None
    }
}

impl<'d> Level<'d> {
    fn add(&mut self, assign: Option<&'d crate::json::source::Node>) {
        for member in assign.and_then(|assign| assign.members()).unwrap_or_default() {
            let name = variable_name(&member.key.value);
            if !self.slots.contains_key(name) && self.outer.find(name).is_none() {
                self.slots.insert(name, self.len);
                self.len += 1;
            }
        }
    }
}

/// The variable that a member of an `Assign` object sets.
fn variable_name(key: &str) -> &str {
    key.strip_suffix(".$").unwrap_or(key)
}

/// [`Variables`] for the query languages, and what expressions share.
pub(super) struct Lookup<'v, 'd> {
    pub(super) variables: &'v Variables<'d>,
    pub(super) regexes: &'v mut Regexes,
}

impl Names for Lookup<'_, '_> {
    fn slot(&mut self, name: &str) -> Option<Slot> {
        self.variables.find(name)
    }

    fn regexes(&mut self) -> Option<&mut Regexes> {
        Some(self.regexes)
    }
}
